//! The checker's clock: starts of trials, and arrivals of their parts.

use crate::{
	host::{
		expiring::{Expiring, ExpiringMap},
		time::Time,
	},
	peer::wire::{Push, Trial},
	trial::{
		hash::{Hash, key},
		job::Job,
		part::{Part, Parts, Resource},
		proof::Roots,
		verdict::Arrivals,
	},
};
use codec::{Decode, Encode};
use kaisar_primitives::{AgentKey, RoundIndex, agent::RoundStart};
use sp_core::H256;
use std::{io, path::Path};

/// Maximum number of rounds whose start is kept.
const MAX_ROUNDS: usize = 1_024;
/// Maximum number of trials whose parts are kept, about 300 bytes each and 1 KB for a worker with GPUs: one
/// of every admitted worker.
pub const MAX_HEARD: usize = 1 << 20;
/// Maximum number of them per agent: for the rounds in which it is admitted, and the seeds that a fork gives
/// them.
pub const MAX_HEARD_EACH: usize = 8;
/// Maximum time for which a round is kept, whatever the node asks: a week.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Time for which parts and checks are kept if the round's start is not known.
const DEFAULT_KEEP_MS: u64 = 3_600 * 1_000;

/// A chain, a round and the seed of its trial.
type RoundId = (H256, RoundIndex, H256);
/// A worker's agent and one of its trials.
type ReceivedId = (AgentKey, Hash);

/// Stored form of a round's start.
#[derive(Encode, Decode)]
struct KeptRound {
	start: RoundStart,
	at: u64,
}

/// The signed parts of one worker's trial, and their arrivals.
#[derive(Clone, Default, Encode, Decode)]
struct ReceivedParts {
	/// The first arrival of each part, by its number, with its hash.
	at: Vec<(u8, u64, Hash)>,
	/// A check of the trial was requested, so that its parts are stored. Earlier pushes stay in memory.
	asked: bool,
	/// The round. Its start sets the date of expiry, and may come later than the parts.
	round: RoundId,
}

/// Stored form of a trial's parts.
#[derive(Encode, Decode)]
struct StoredParts {
	agent: AgentKey,
	job: Hash,
	heard: ReceivedParts,
}

/// The rounds under way, by this agent's clock.
///
/// Its two maps are never locked together.
pub struct Rounds {
	time: Time,
	/// The start of this agent.
	since: u64,
	/// The start of each round. `None` if the node named it late.
	began: ExpiringMap<RoundId, Option<u64>>,
	heard: ExpiringMap<ReceivedId, ReceivedParts>,
	/// Maximum number of trials of one agent.
	heard_each: usize,
}

impl Rounds {
	/// Restores the rounds from before the last stop. Parts of at most `heard` trials are kept, and of
	/// `heard_each` per agent: [`MAX_HEARD`] and [`MAX_HEARD_EACH`], except in tests of these bounds.
	pub fn new(data: &Path, time: Time, heard: usize, heard_each: usize) -> io::Result<Self> {
		let round_file = |id: &RoundId| key("round file", &[&id.encode()]);
		let heard_file = |id: &ReceivedId| key("heard file", &[&id.encode()]);
		let rounds = Self {
			since: time.now_ms(),
			time,
			began: ExpiringMap::new(data, "rounds", MAX_ROUNDS, round_file)?,
			heard: ExpiringMap::new(data, "heard", heard, heard_file)?,
			heard_each,
		};
		rounds.began.load(MAX_ROUNDS, |_, kept: KeptRound| {
			let id = (kept.start.genesis, kept.start.round, kept.start.trial_seed);
			Some((id, (!kept.start.late).then_some(kept.at)))
		});
		// The node requested all of them. A lower bound would remove files of the others.
		rounds.heard.load(heard, |_, kept: StoredParts| {
			Some(((kept.agent, kept.job), kept.heard))
		});
		Ok(rounds)
	}

	/// Records the start of a round's trial. The first call counts. Parts that came before are kept as long
	/// as the round.
	pub fn begin(&self, start: RoundStart) {
		let at = self.time.now_ms();
		let expires = at + start.keep_ms.min(MAX_KEEP_MS);
		let id = (start.genesis, start.round, start.trial_seed);
		let mut began = self.began.lock();
		if began.get(&id).is_some() {
			return;
		}
		let dropped = began.make_room().map(|(key, _)| key);
		began.insert(id, expires, (!start.late).then_some(at));
		drop(began);
		self.began.forget(dropped);
		tracing::debug!(round = start.round, "a round's trial began");
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

	/// Returns the date until which state of a round is kept.
	pub fn expiry(&self, genesis: H256, round: RoundIndex, trial_seed: H256) -> u64 {
		let began = self.began.lock();
		began
			.get(&(genesis, round, trial_seed))
			.map_or(self.time.now_ms() + DEFAULT_KEEP_MS, |timed| timed.expires)
	}

	/// Records a part when it comes from a worker's agent, which has signed it and is admitted.
	pub fn receive(&self, agent: &AgentKey, push: &Push) {
		let Some(part) = push.part() else { return };
		let now = self.time.now_ms();
		self.change(agent, &push.trial, |heard| {
			note(heard, part, push.hash, now)
		});
	}

	/// Records the roots that a worker's agent sent on request. Earlier arrivals stand.
	pub fn hear_all(&self, job: &Job, trial_seed: &H256, roots: &Roots) {
		let now = self.time.now_ms();
		let parts = [
			(Resource::Processor, Part::Processor, roots.processor),
			(Resource::Disk, Part::Disk, roots.disk),
		];
		self.change(&job.agent, &trial_of(job, trial_seed), |heard| {
			let mut news = false;
			for (resource, part, root) in parts {
				news |= roots.has(resource) && note(heard, part, root, now);
			}
			news
		});
	}

	/// Stores the parts of a trial from now on, since a check of it was requested.
	pub fn keep(&self, job: &Job, trial_seed: &H256) {
		self.change(&job.agent, &trial_of(job, trial_seed), |heard| {
			!std::mem::replace(&mut heard.asked, true)
		});
	}

	/// Changes the parts of a trial. Stores them if `change` returns true, or if they expire later than
	/// before: a worker that pushes the same part a thousand times causes no writes.
	fn change(
		&self,
		agent: &AgentKey,
		trial: &Trial,
		change: impl FnOnce(&mut ReceivedParts) -> bool,
	) {
		let round = (trial.genesis, trial.round, trial.seed);
		let began = self.began.lock().get(&round).map(|timed| timed.expires);
		let id = (*agent, trial.job_id());
		let mut all = self.heard.lock();
		let mut dropped = None;
		if all.get(&id).is_none() {
			let own = (*agent, [0; 32])..=(*agent, [0xff; 32]);
			dropped = all.make_room_in(own, self.heard_each);
			if all.is_full() {
				return;
			}
			let expires = began.unwrap_or_else(|| self.time.now_ms() + DEFAULT_KEEP_MS);
			let heard = ReceivedParts {
				round,
				..ReceivedParts::default()
			};
			all.insert(id, expires, heard);
		}
		let Some(timed) = all.get_mut(&id) else {
			return;
		};
		let mut changed = change(&mut timed.value);
		// The part came before the round's start was known.
		if let Some(began) = began
			&& began > timed.expires
		{
			timed.expires = began;
			changed = true;
		}
		let kept = (changed && timed.value.asked).then(|| timed.clone());
		drop(all);
		// A trial without a requested check has no file.
		let dropped = dropped.filter(|(_, heard)| heard.asked);
		self.heard.forget(dropped.map(|(id, _)| id));
		self.store(&id, kept);
	}

	/// Returns whether a check of this trial was requested.
	pub fn is_asked(&self, agent: &AgentKey, trial: &Trial) -> bool {
		let heard = self.heard.lock();
		let timed = heard.get(&(*agent, trial.job_id()));
		timed.is_some_and(|timed| timed.value.asked)
	}

	fn store(&self, id: &ReceivedId, kept: Option<Expiring<ReceivedParts>>) {
		if let Some(Expiring { expires, value }) = kept {
			let (agent, job) = *id;
			let heard = value;
			self.heard
				.store(id, expires, &StoredParts { agent, job, heard });
		}
	}

	/// Returns the arrivals of a worker's parts. A round that began before this agent started has no start,
	/// unless all parts of these roots had come by then: other parts may have come while the agent was down,
	/// or may be lost with its memory.
	pub fn arrivals(&self, job: &Job, trial_seed: &H256, roots: &Roots) -> Arrivals {
		let round = (job.genesis, job.round, *trial_seed);
		let start = self.began.lock().get(&round).and_then(|timed| timed.value);
		let id = (job.agent, trial_of(job, trial_seed).job_id());
		let mut at = Parts::<Option<(u64, Hash)>>::default();
		if let Some(timed) = self.heard.lock().get(&id) {
			for (number, arrived, hash) in &timed.value.at {
				if let Some(part) = Part::of_number(*number) {
					at.set(part, Some((*arrived, *hash)));
				}
			}
		}
		let had_come = |part| at.get(part).is_some_and(|(at, _)| at <= self.since);
		let was_here =
			start.is_some_and(|start| start >= self.since) || parts_of(job, roots).all(had_come);
		Arrivals {
			start: start.filter(|_| was_here),
			at,
		}
	}

	/// Drops expired rounds and parts.
	pub fn sweep(&self) {
		self.began.sweep(|_| false);
		self.heard.sweep(|_| false);
	}
}

/// Records a part. Returns whether it is the first of its kind, which counts.
fn note(heard: &mut ReceivedParts, part: Part, hash: Hash, now: u64) -> bool {
	let number = part.number();
	let first = heard.at.iter().all(|(heard, ..)| *heard != number);
	if first {
		heard.at.push((number, now, hash));
	}
	first
}

/// Returns the parts of a trial with these roots.
fn parts_of(job: &Job, roots: &Roots) -> impl Iterator<Item = Part> {
	let marks = match roots.has(Resource::Gpus) {
		true => job.gpu(&roots.sizes).marks(),
		false => 0,
	};
	let one = |part, resource| roots.has(resource).then_some(part);
	(0..marks)
		.map(Part::Mark)
		.chain(one(Part::Processor, Resource::Processor))
		.chain(one(Part::Disk, Resource::Disk))
}

fn trial_of(job: &Job, trial_seed: &H256) -> Trial {
	Trial {
		genesis: job.genesis,
		round: job.round,
		seed: *trial_seed,
		worker: job.worker,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::verdict::tests::{SEED, job};
	use sp_core::{Pair, ed25519};
	use std::time::Duration;

	fn rounds(dir: &tempfile::TempDir, time: &Time) -> Rounds {
		Rounds::new(dir.path(), time.clone(), MAX_HEARD, MAX_HEARD_EACH).unwrap()
	}

	fn start(keep_ms: u64) -> RoundStart {
		let job = job();
		RoundStart {
			genesis: job.genesis,
			round: job.round,
			seed: job.seed,
			trial_seed: SEED,
			late: false,
			keep_ms,
		}
	}

	fn roots() -> Roots {
		Roots {
			sizes: job().plan(),
			gpus: Vec::new(),
			processor: [1; 32],
			disk: [2; 32],
		}
	}

	fn arrivals(rounds: &Rounds) -> Arrivals {
		rounds.arrivals(&job(), &SEED, &roots())
	}

	#[test]
	fn arrivals_outlive_a_restart_once_they_are_complete() {
		let dir = tempfile::tempdir().unwrap();
		let time = Time::driven();
		let all = rounds(&dir, &time);
		assert_eq!(arrivals(&all).start, None);
		all.begin(start(600_000));
		all.keep(&job(), &SEED);
		time.advance(Duration::from_secs(10));
		all.hear_all(&job(), &SEED, &roots());
		let before = arrivals(&all);
		let after = Some(Duration::from_secs(10));
		assert_eq!(before.after(Part::Processor, &[1; 32]), after);
		assert_eq!(before.after(Part::Disk, &[2; 32]), after);
		// The first call counts: neither the start nor a part moves.
		time.advance(Duration::from_secs(10));
		all.begin(start(1_200_000));
		all.hear_all(&job(), &SEED, &roots());
		assert_eq!(arrivals(&all), before);
		let again = rounds(&dir, &time);
		assert_eq!(arrivals(&again), before);
		let expiry = |rounds: &Rounds| rounds.expiry(job().genesis, job().round, SEED);
		assert_eq!(expiry(&again), expiry(&all));
	}

	#[test]
	fn a_part_that_comes_first_with_another_hash_or_not_at_all_has_no_arrival() {
		let dir = tempfile::tempdir().unwrap();
		let time = Time::driven();
		let all = rounds(&dir, &time);
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let job = Job {
			agent: pair.public(),
			..job()
		};
		all.begin(start(600_000));
		let trial = trial_of(&job, &SEED);
		let receive = |part, hash| all.receive(&job.agent, &Push::signed(&pair, trial, part, hash));
		// A root sent before it is known, and corrected at 9 s.
		receive(Part::Processor, [9; 32]);
		time.advance(Duration::from_secs(9));
		receive(Part::Processor, [1; 32]);
		receive(Part::Mark(3), [3; 32]);
		let heard = all.arrivals(&job, &SEED, &roots());
		assert_eq!(heard.after(Part::Processor, &[1; 32]), None);
		assert_eq!(heard.after(Part::Mark(2), &[3; 32]), None);
		let at = Some(Duration::from_secs(9));
		assert_eq!(heard.after(Part::Mark(3), &[3; 32]), at);
	}

	#[test]
	fn a_trial_of_another_seed_of_the_round_is_another() {
		let dir = tempfile::tempdir().unwrap();
		let time = Time::driven();
		let all = rounds(&dir, &time);
		all.begin(start(600_000));
		all.hear_all(&job(), &SEED, &roots());
		let forked = H256::repeat_byte(77);
		let other = all.arrivals(&job(), &forked, &roots());
		assert_eq!((other.start, other.at), (None, Parts::default()));
		time.advance(Duration::from_secs(5));
		all.begin(RoundStart {
			trial_seed: forked,
			..start(600_000)
		});
		let other = all.arrivals(&job(), &forked, &roots());
		assert_eq!(other.start, Some(time.now_ms()));
		assert!(arrivals(&all).start < other.start);
	}

	fn push(seed: u8, trial: Trial) -> (AgentKey, Push) {
		let pair = ed25519::Pair::from_seed(&[seed; 32]);
		let push = Push::signed(&pair, trial, Part::Disk, [7; 32]);
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
		let rounds = rounds(&dir, &Time::real());
		let (agent, first) = push(2, trial(0));
		rounds.receive(&agent, &first);
		for number in 0..MAX_HEARD_EACH as u32 + 10 {
			let (agent, push) = push(1, trial(number));
			rounds.receive(&agent, &push);
		}
		let heard = rounds.heard.lock();
		assert_eq!(heard.iter().count(), MAX_HEARD_EACH + 1);
		assert!(heard.get(&(agent, first.trial.job_id())).is_some());
	}

	fn files(dir: &tempfile::TempDir) -> usize {
		std::fs::read_dir(dir.path().join("heard")).unwrap().count()
	}

	#[test]
	fn only_trials_that_a_check_asks_for_are_on_disk() {
		let dir = tempfile::tempdir().unwrap();
		let all = rounds(&dir, &Time::real());
		for number in 0..2_000 {
			let (agent, push) = push((number % 200) as u8, trial(number));
			all.receive(&agent, &push);
		}
		assert_eq!(files(&dir), 0);
		all.hear_all(&job(), &SEED, &roots());
		assert_eq!(files(&dir), 0);
		all.keep(&job(), &SEED);
		assert_eq!(files(&dir), 1);
		let again = rounds(&dir, &Time::real());
		assert_eq!(again.heard.lock().iter().count(), 1);
		assert_eq!(arrivals(&again).start, None);
	}

	#[test]
	fn parts_that_come_before_the_start_are_kept_as_long_as_the_round() {
		let dir = tempfile::tempdir().unwrap();
		let all = rounds(&dir, &Time::real());
		let other = H256::zero();
		all.hear_all(&job(), &SEED, &roots());
		all.hear_all(&job(), &other, &roots());
		all.keep(&job(), &SEED);
		all.begin(start(24 * 3_600 * 1_000));
		let expires = |rounds: &Rounds, seed: &H256| {
			let heard = rounds.heard.lock();
			let id = (job().agent, trial_of(&job(), seed).job_id());
			heard.get(&id).unwrap().expires
		};
		let ends = all.expiry(job().genesis, job().round, SEED);
		assert_eq!(expires(&all, &SEED), ends);
		assert!(expires(&all, &other) < ends, "another trial's");
		assert_eq!(expires(&rounds(&dir, &Time::real()), &SEED), ends);
		// A part that came before the start is not late.
		let early = arrivals(&all).after(Part::Disk, &[2; 32]);
		assert_eq!(early, Some(Duration::ZERO));
	}

	#[test]
	fn a_push_without_news_writes_no_file() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = rounds(&dir, &Time::real());
		let pair = ed25519::Pair::from_seed(&[1; 32]);
		let job = Job {
			agent: pair.public(),
			..job()
		};
		rounds.begin(start(600_000));
		rounds.keep(&job, &SEED);
		let trial = trial_of(&job, &SEED);
		let push = |hash| Push::signed(&pair, trial, Part::Disk, [hash; 32]);
		rounds.receive(&job.agent, &push(7));
		// Stored values are restored.
		std::fs::remove_dir_all(dir.path().join("heard")).unwrap();
		std::fs::create_dir(dir.path().join("heard")).unwrap();
		rounds.receive(&job.agent, &push(7));
		rounds.receive(&job.agent, &push(8));
		rounds.keep(&job, &SEED);
		assert_eq!(files(&dir), 0);
		rounds.hear_all(&job, &SEED, &roots());
		assert_eq!(files(&dir), 1, "the other part is new");
	}

	#[test]
	fn all_checked_trials_outlive_a_restart() {
		let dir = tempfile::tempdir().unwrap();
		let all = rounds(&dir, &Time::real());
		all.begin(start(600_000));
		let count = super::super::checks::MAX_CHECKS + 10;
		for worker in 0..count {
			let mut agent = [0; 32];
			agent[..8].copy_from_slice(&worker.to_le_bytes());
			let job = Job {
				agent: AgentKey::from_raw(agent),
				..job()
			};
			all.keep(&job, &SEED);
		}
		let again = rounds(&dir, &Time::real());
		assert_eq!(again.heard.lock().iter().count(), count);
	}

	#[test]
	fn an_agent_that_was_away_measures_no_time() {
		let dir = tempfile::tempdir().unwrap();
		let time = Time::driven();
		let all = rounds(&dir, &time);
		all.begin(start(600_000));
		all.keep(&job(), &SEED);
		time.advance(Duration::from_millis(2));
		let again = rounds(&dir, &time);
		time.advance(Duration::from_millis(2));
		again.hear_all(&job(), &SEED, &roots());
		assert_eq!(arrivals(&again).start, None);
		// The node names the start of this round too late.
		let late = Job {
			round: job().round + 4,
			..job()
		};
		again.begin(RoundStart {
			round: late.round,
			late: true,
			..start(600_000)
		});
		again.hear_all(&late, &SEED, &roots());
		assert_eq!(again.arrivals(&late, &SEED, &roots()).start, None);
		let known = again.expiry(late.genesis, late.round, SEED);
		assert_eq!(
			known,
			time.now_ms() + 600_000,
			"it is kept as long as the round"
		);
		// The agent was up for all of the next round.
		let next = RoundStart {
			round: job().round + 2,
			..start(600_000)
		};
		let job = Job {
			round: next.round,
			..job()
		};
		again.begin(next);
		again.hear_all(&job, &SEED, &roots());
		assert!(again.arrivals(&job, &SEED, &roots()).start.is_some());
	}

	#[test]
	fn expired_state_is_swept() {
		let dir = tempfile::tempdir().unwrap();
		let rounds = rounds(&dir, &Time::real());
		rounds.begin(start(0));
		rounds.hear_all(&job(), &SEED, &roots());
		rounds.sweep();
		assert_eq!(rounds.began.lock().iter().count(), 0);
		assert_eq!(rounds.heard.lock().iter().count(), 0);
	}
}
