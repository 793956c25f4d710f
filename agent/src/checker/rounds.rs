//! When rounds began, and when the roots of workers' stages came: the checker's clock.

use crate::{
	bench::{
		evidence::Clock,
		hash::{Hash, hash},
		job::Job,
		stage::{Stage, Stages},
	},
	host::{
		kept::{Kept, Timed},
		store::now_ms,
	},
	peer::wire::{Push, job_id},
};
use codec::{Decode, Encode};
use kaisar_primitives::{AgentKey, RoundIndex, agent::RoundStart};
use sp_core::H256;
use std::{io, path::Path};

/// Most rounds of which the start is kept.
const MAX_ROUNDS: usize = 1_024;
/// Most workers of whose progress is kept what was heard, before any check asked for it.
const MAX_HEARD: usize = 65_536;
/// The same, of one agent.
const MAX_HEARD_EACH: usize = 256;
/// Longest that a round is kept, whatever is asked: a week.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Time for which roots and checks are kept if the round's start is not known.
const DEFAULT_KEEP_MS: u64 = 3_600 * 1_000;

/// A chain, a round and its seed.
type RoundId = (H256, RoundIndex, H256);
/// A worker's agent, and a benchmark of its.
type HeardId = (AgentKey, Hash);

/// A round's start as it is stored.
#[derive(Encode, Decode)]
struct KeptRound {
	start: RoundStart,
	at: u64,
}

/// The signed roots of one worker's stages, and when they came.
#[derive(Clone, Default, Encode, Decode)]
struct Heard {
	at: Stages<Option<u64>>,
	roots: Stages<Option<Hash>>,
}

/// The same as it is stored.
#[derive(Encode, Decode)]
struct KeptHeard {
	agent: AgentKey,
	job: Hash,
	heard: Heard,
}

/// The rounds that are under way, by this agent's clock.
///
/// Its two maps are never locked together.
pub struct Rounds {
	/// When each round began.
	began: Kept<RoundId, u64>,
	heard: Kept<HeardId, Heard>,
}

impl Rounds {
	/// The rounds before the last stop.
	pub fn new(data: &Path) -> io::Result<Self> {
		let round_file = |id: &RoundId| hash("kaisar/agent 2026 round file", &[&id.encode()]);
		let heard_file = |id: &HeardId| hash("kaisar/agent 2026 heard file", &[&id.encode()]);
		let rounds = Self {
			began: Kept::new(data, "rounds", MAX_ROUNDS, round_file)?,
			heard: Kept::new(data, "heard", MAX_HEARD, heard_file)?,
		};
		rounds.began.load(|_, kept: KeptRound| {
			let id = (kept.start.genesis, kept.start.round, kept.start.seed);
			Some((id, kept.at))
		});
		rounds
			.heard
			.load(|_, kept: KeptHeard| Some(((kept.agent, kept.job), kept.heard)));
		Ok(rounds)
	}

	/// Notes that a round began. The first time counts.
	pub fn begin(&self, start: RoundStart) {
		let at = now_ms();
		let expires = at + start.keep_ms.min(MAX_KEEP_MS);
		let id = (start.genesis, start.round, start.seed);
		let mut began = self.began.lock();
		if began.get(&id).is_some() {
			return;
		}
		began.make_room();
		began.insert(id, expires, at);
		drop(began);
		tracing::debug!(round = start.round, "a round began");
		self.began.store(&id, expires, &KeptRound { start, at });
	}

	/// Until when what belongs to a round is kept.
	pub fn expiry(&self, genesis: H256, round: RoundIndex, seed: H256) -> u64 {
		let began = self.began.lock();
		began
			.get(&(genesis, round, seed))
			.map_or(now_ms() + DEFAULT_KEEP_MS, |timed| timed.expires)
	}

	/// Notes a stage's root as it comes from a worker's agent, which has signed it.
	pub fn hear(&self, agent: &AgentKey, push: &Push) {
		if let Some(stage) = push.stage() {
			self.note(agent, push.job, stage, push.root);
		}
	}

	/// Notes the roots that a worker's agent named when it was asked. What was heard before stands.
	pub fn hear_all(&self, job: &Job, roots: &Stages<Hash>) {
		for (stage, root) in roots.iter() {
			self.note(&job.agent, id_of(job), stage, *root);
		}
	}

	fn note(&self, agent: &AgentKey, job: Hash, stage: Stage, root: Hash) {
		let now = now_ms();
		let id = (*agent, job);
		let mut all = self.heard.lock();
		if all.get(&id).is_none() {
			all.make_room_in((*agent, [0; 32])..=(*agent, [0xff; 32]), MAX_HEARD_EACH);
			all.make_room();
			all.insert(id, now + DEFAULT_KEEP_MS, Heard::default());
		}
		let Some(Timed { expires, value }) = all.get_mut(&id) else {
			return;
		};
		if value.at[stage].is_some() {
			return;
		}
		value.at[stage] = Some(now);
		value.roots[stage] = Some(root);
		if stage == Stage::LAST {
			let (expires, heard) = (*expires, value.clone());
			drop(all);
			let agent = *agent;
			self.heard
				.store(&id, expires, &KeptHeard { agent, job, heard });
		}
	}

	/// When a worker's stages came whose roots turned out to be these.
	pub fn clock(&self, job: &Job, roots: &Stages<Hash>) -> Clock {
		let round = (job.genesis, job.round, job.seed);
		let start = self.began.lock().get(&round).map(|timed| timed.value);
		let heard = self.heard.lock().get(&(job.agent, id_of(job))).cloned();
		let heard = heard.map(|timed| timed.value).unwrap_or_default();
		let heard = Stages::from_fn(|stage| heard.at[stage].zip(heard.roots[stage]));
		Clock::of_heard(start, &heard, roots, now_ms())
	}

	/// Drops what has expired.
	pub fn sweep(&self) {
		self.began.sweep(|_| false);
		self.heard.sweep(|_| false);
	}
}

fn id_of(job: &Job) -> Hash {
	job_id(&job.genesis, job.round, &job.seed, job.worker)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::bench::job::tests::job;
	use sp_core::{Pair, ed25519};

	fn start(keep_ms: u64) -> RoundStart {
		let job = job();
		RoundStart {
			genesis: job.genesis,
			round: job.round,
			seed: job.seed,
			keep_ms,
		}
	}

	fn roots() -> Stages<Hash> {
		Stages::from_fn(|stage| [stage.number(); 32])
	}

	#[test]
	fn what_was_heard_and_when_outlives_a_restart_once_it_is_complete() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let job = job();
		assert_eq!(rounds.clock(&job, &roots()).start, None);
		rounds.begin(start(600_000));
		rounds.hear_all(&job, &roots());
		let clock = rounds.clock(&job, &roots());
		assert!(clock.start.is_some());
		// The first time counts, and neither the start nor a root moves.
		rounds.begin(start(1_200_000));
		rounds.hear_all(&job, &roots());
		assert_eq!(rounds.clock(&job, &roots()), clock);
		let again = Rounds::new(dir.path()).unwrap();
		assert_eq!(again.clock(&job, &roots()), clock);
		assert_eq!(
			again.expiry(job.genesis, job.round, job.seed),
			rounds.expiry(job.genesis, job.round, job.seed)
		);
	}

	#[test]
	fn boundary_one_agent_fills_its_own_share_alone() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let (flooding, other) = ([1; 32], [2; 32]);
		let push = |seed: &[u8; 32], number: u32| {
			let pair = ed25519::Pair::from_seed(seed);
			let job = hash("a job of this test", &[&number.to_le_bytes()]);
			(
				pair.public(),
				Push::signed(&pair, job, Stage::Chain, [7; 32]),
			)
		};
		let (agent, first) = push(&other, 0);
		rounds.hear(&agent, &first);
		for number in 0..MAX_HEARD_EACH as u32 + 10 {
			let (agent, push) = push(&flooding, number);
			rounds.hear(&agent, &push);
		}
		let heard = rounds.heard.lock();
		assert_eq!(heard.iter().count(), MAX_HEARD_EACH + 1);
		assert!(heard.get(&(agent, first.job)).is_some());
	}

	#[test]
	fn what_has_expired_is_swept() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		rounds.begin(start(0));
		rounds.hear_all(&job(), &roots());
		rounds.sweep();
		assert_eq!(rounds.began.lock().iter().count(), 0);
		assert_eq!(rounds.heard.lock().iter().count(), 1);
	}
}
