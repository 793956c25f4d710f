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
	peer::wire::{Push, Trial},
};
use codec::{Decode, Encode};
use kaisar_primitives::{AgentKey, RoundIndex, agent::RoundStart};
use sp_core::H256;
use std::{io, path::Path};

/// Most rounds of which the start is kept.
const MAX_ROUNDS: usize = 1_024;
/// Most benchmarks whose roots are kept, about 500 bytes each: one of every worker that is admitted.
const MAX_HEARD: usize = 1 << 20;
/// Most of one agent: of the rounds in which it is admitted, and of the seeds that a fork gives them.
const MAX_HEARD_EACH: usize = 8;
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
	/// Whether a check of it was asked for, so that it is stored. What workers push before that stays in
	/// memory.
	asked: bool,
	/// The round, whose start says until when this is kept and may come later.
	round: RoundId,
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
	/// When this agent started.
	since: u64,
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
			since: now_ms(),
			began: Kept::new(data, "rounds", MAX_ROUNDS, round_file)?,
			heard: Kept::new(data, "heard", MAX_HEARD, heard_file)?,
		};
		rounds.began.load(MAX_ROUNDS, |_, kept: KeptRound| {
			let id = (kept.start.genesis, kept.start.round, kept.start.seed);
			Some((id, kept.at))
		});
		// All of them were asked for by the node. A bound below would remove the others' files.
		rounds.heard.load(MAX_HEARD, |_, kept: KeptHeard| {
			Some(((kept.agent, kept.job), kept.heard))
		});
		Ok(rounds)
	}

	/// Notes that a round began. The first time counts. Roots that came before are kept as long as the round.
	pub fn begin(&self, start: RoundStart) {
		let at = now_ms();
		let expires = at + start.keep_ms.min(MAX_KEEP_MS);
		let id = (start.genesis, start.round, start.seed);
		let mut began = self.began.lock();
		if began.get(&id).is_some() {
			return;
		}
		let dropped = began.make_room().map(|(key, _)| key);
		began.insert(id, expires, at);
		drop(began);
		self.began.forget(dropped);
		tracing::debug!(round = start.round, "a round began");
		self.began.store(&id, expires, &KeptRound { start, at });
		let mut stored = Vec::new();
		for (key, timed) in self.heard.lock().iter_mut() {
			if timed.value.round == id && timed.expires < expires {
				timed.expires = expires;
				if timed.value.asked {
					stored.push((*key, timed.clone()));
				}
			}
		}
		for (key, kept) in stored {
			self.store(&key, Some(kept));
		}
	}

	/// Until when what belongs to a round is kept.
	pub fn expiry(&self, genesis: H256, round: RoundIndex, seed: H256) -> u64 {
		let began = self.began.lock();
		began
			.get(&(genesis, round, seed))
			.map_or(now_ms() + DEFAULT_KEEP_MS, |timed| timed.expires)
	}

	/// Notes a stage's root as it comes from a worker's agent, which has signed it and is admitted.
	pub fn hear(&self, agent: &AgentKey, push: &Push) {
		let Some(stage) = push.stage() else { return };
		self.change(agent, &push.trial, |heard| note(heard, stage, push.root));
	}

	/// Notes the roots that a worker's agent named when it was asked. What was heard before stands.
	pub fn hear_all(&self, job: &Job, roots: &Stages<Hash>) {
		self.change(&job.agent, &trial_of(job), |heard| {
			let mut news = false;
			for (stage, root) in roots.iter() {
				news |= note(heard, stage, *root);
			}
			news
		});
	}

	/// Keeps what was heard of a benchmark, and will be, over a restart: a check of it was asked for.
	pub fn keep(&self, job: &Job) {
		self.change(&job.agent, &trial_of(job), |heard| {
			!std::mem::replace(&mut heard.asked, true)
		});
	}

	/// Changes what was heard of a benchmark. Stores it if `change` returns that it did, or if it is kept for
	/// longer than before: a worker may say the same a thousand times, which costs no file.
	fn change(&self, agent: &AgentKey, trial: &Trial, change: impl FnOnce(&mut Heard) -> bool) {
		let round = (trial.genesis, trial.round, trial.seed);
		let began = self.began.lock().get(&round).map(|timed| timed.expires);
		let id = (*agent, trial.job_id());
		let mut all = self.heard.lock();
		let mut dropped = None;
		if all.get(&id).is_none() {
			let own = (*agent, [0; 32])..=(*agent, [0xff; 32]);
			dropped = all.make_room_in(own, MAX_HEARD_EACH);
			if all.is_full() {
				return;
			}
			let expires = began.unwrap_or_else(|| now_ms() + DEFAULT_KEEP_MS);
			let heard = Heard {
				round,
				..Heard::default()
			};
			all.insert(id, expires, heard);
		}
		let Some(timed) = all.get_mut(&id) else {
			return;
		};
		let mut changed = change(&mut timed.value);
		// It came before the round's start was known.
		if let Some(began) = began
			&& began > timed.expires
		{
			timed.expires = began;
			changed = true;
		}
		let kept = (changed && timed.value.asked).then(|| timed.clone());
		drop(all);
		// Of what nobody asked for there is no file.
		let dropped = dropped.filter(|(_, heard)| heard.asked);
		self.heard.forget(dropped.map(|(id, _)| id));
		self.store(&id, kept);
	}

	/// Returns whether a check of this benchmark was asked for.
	pub fn is_asked(&self, agent: &AgentKey, trial: &Trial) -> bool {
		let heard = self.heard.lock();
		let timed = heard.get(&(*agent, trial.job_id()));
		timed.is_some_and(|timed| timed.value.asked)
	}

	fn store(&self, id: &HeardId, kept: Option<Timed<Heard>>) {
		if let Some(Timed { expires, value }) = kept {
			let (agent, job) = *id;
			let heard = value;
			self.heard
				.store(id, expires, &KeptHeard { agent, job, heard });
		}
	}

	/// When a worker's stages came whose roots turned out to be these. Of a round that began before this
	/// agent started no start is known, unless all roots had come by then: others may have come while the
	/// agent was away, or been lost with its memory.
	pub fn clock(&self, job: &Job, roots: &Stages<Hash>) -> Clock {
		let round = (job.genesis, job.round, job.seed);
		let start = self.began.lock().get(&round).map(|timed| timed.value);
		let heard = self
			.heard
			.lock()
			.get(&(job.agent, trial_of(job).job_id()))
			.cloned();
		let heard = heard.map(|timed| timed.value).unwrap_or_default();
		let mut times = heard.at.iter();
		let was_here = start.is_some_and(|start| start >= self.since)
			|| times.all(|(_, at)| at.is_some_and(|at| at <= self.since));
		let start = start.filter(|_| was_here);
		let heard = Stages::from_fn(|stage| heard.at[stage].zip(heard.roots[stage]));
		Clock::of_heard(start, &heard, roots, now_ms())
	}

	/// Drops what has expired.
	pub fn sweep(&self) {
		self.began.sweep(|_| false);
		self.heard.sweep(|_| false);
	}
}

/// Notes a root, and returns whether it is the first of its stage, which counts.
fn note(heard: &mut Heard, stage: Stage, root: Hash) -> bool {
	let first = heard.at[stage].is_none();
	if first {
		heard.at[stage] = Some(now_ms());
		heard.roots[stage] = Some(root);
	}
	first
}

fn trial_of(job: &Job) -> Trial {
	Trial {
		genesis: job.genesis,
		round: job.round,
		seed: job.seed,
		worker: job.worker,
	}
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
		rounds.keep(&job);
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

	fn push(seed: u8, trial: Trial) -> (AgentKey, Push) {
		let pair = ed25519::Pair::from_seed(&[seed; 32]);
		let push = Push::signed(&pair, trial, Stage::LAST, [7; 32]);
		(pair.public(), push)
	}

	fn trial(number: u32) -> Trial {
		Trial {
			genesis: H256::repeat_byte(1),
			round: 4,
			seed: H256::from_low_u64_be(number.into()),
			worker: 7,
		}
	}

	#[test]
	fn boundary_one_agent_fills_its_own_share_alone() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let (agent, first) = push(2, trial(0));
		rounds.hear(&agent, &first);
		for number in 0..MAX_HEARD_EACH as u32 + 10 {
			let (agent, push) = push(1, trial(number));
			rounds.hear(&agent, &push);
		}
		let heard = rounds.heard.lock();
		assert_eq!(heard.iter().count(), MAX_HEARD_EACH + 1);
		assert!(heard.get(&(agent, first.trial.job_id())).is_some());
	}

	#[test]
	fn only_what_a_check_asks_for_is_on_disk() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let files = || std::fs::read_dir(dir.path().join("heard")).unwrap().count();
		for number in 0..2_000 {
			let (agent, push) = push((number % 200) as u8, trial(number));
			rounds.hear(&agent, &push);
		}
		assert_eq!(files(), 0);
		let job = job();
		rounds.hear_all(&job, &roots());
		assert_eq!(files(), 0);
		rounds.keep(&job);
		assert_eq!(files(), 1);
		let again = Rounds::new(dir.path()).unwrap();
		assert_eq!(again.heard.lock().iter().count(), 1);
		assert_eq!(again.clock(&job, &roots()).start, None);
	}

	#[test]
	fn roots_that_come_before_the_rounds_start_are_kept_as_long_as_the_round() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let job = job();
		let other = Job {
			seed: H256::zero(),
			..job.clone()
		};
		rounds.hear_all(&job, &roots());
		rounds.hear_all(&other, &roots());
		rounds.keep(&job);
		let day = 24 * 3_600 * 1_000;
		rounds.begin(start(day));
		let expires = |rounds: &Rounds, job: &Job| {
			let heard = rounds.heard.lock();
			heard
				.get(&(job.agent, trial_of(job).job_id()))
				.unwrap()
				.expires
		};
		let ends = rounds.expiry(job.genesis, job.round, job.seed);
		assert_eq!(expires(&rounds, &job), ends);
		assert!(expires(&rounds, &other) < ends, "another round's");
		assert_eq!(expires(&Rounds::new(dir.path()).unwrap(), &job), ends);
	}

	#[test]
	fn what_says_nothing_new_writes_no_file() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let job = Job {
			agent: pair.public(),
			..job()
		};
		rounds.begin(start(600_000));
		rounds.keep(&job);
		let push = |root| Push::signed(&pair, trial_of(&job), Stage::LAST, [root; 32]);
		rounds.hear(&job.agent, &push(7));
		// What is written comes back.
		std::fs::remove_dir_all(dir.path().join("heard")).unwrap();
		std::fs::create_dir(dir.path().join("heard")).unwrap();
		let files = || std::fs::read_dir(dir.path().join("heard")).unwrap().count();
		rounds.hear(&job.agent, &push(7));
		rounds.hear(&job.agent, &push(8));
		rounds.keep(&job);
		assert_eq!(files(), 0);
		rounds.hear_all(&job, &roots());
		assert_eq!(files(), 1, "the other stages are new");
	}

	#[test]
	fn all_that_was_checked_outlives_a_restart() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		rounds.begin(start(600_000));
		let count = super::super::checks::MAX_CHECKS + 10;
		for worker in 0..count {
			let mut agent = [0; 32];
			agent[..8].copy_from_slice(&worker.to_le_bytes());
			rounds.keep(&Job {
				agent: AgentKey::from_raw(agent),
				..job()
			});
		}
		let again = Rounds::new(dir.path()).unwrap();
		assert_eq!(again.heard.lock().iter().count(), count);
	}

	#[test]
	fn an_agent_that_was_away_measures_no_time() {
		let dir = tempfile::tempdir().unwrap();
		let job = job();
		let rounds = Rounds::new(dir.path()).unwrap();
		rounds.begin(start(600_000));
		rounds.keep(&job);
		std::thread::sleep(std::time::Duration::from_millis(2));
		let again = Rounds::new(dir.path()).unwrap();
		std::thread::sleep(std::time::Duration::from_millis(2));
		again.hear_all(&job, &roots());
		assert_eq!(again.clock(&job, &roots()).start, None);
		// The next round it has seen from its start.
		let next = RoundStart {
			round: job.round + 2,
			..start(600_000)
		};
		again.begin(next.clone());
		let next = Job {
			round: next.round,
			..job
		};
		again.hear_all(&next, &roots());
		assert!(again.clock(&next, &roots()).start.is_some());
	}

	#[test]
	fn what_has_expired_is_swept() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = Rounds::new(dir.path()).unwrap();
		rounds.begin(start(0));
		rounds.hear_all(&job(), &roots());
		rounds.sweep();
		assert_eq!(rounds.began.lock().iter().count(), 0);
		assert_eq!(rounds.heard.lock().iter().count(), 0);
	}
}
