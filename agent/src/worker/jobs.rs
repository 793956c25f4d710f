//! The benchmarks that this agent was asked to run: how far each is, and who may ask about it.

use crate::{
	bench::{hash::Hash, job::Job, proof::Proof},
	host::{
		kept::{Kept, Timed},
		report::Report,
		store::now_ms,
	},
	peer::wire::{Refusal, Trial, Which},
};
use kaisar_primitives::{
	AgentKey, CheckerKey, WorkerId,
	agent::{Attestation, Progress, ProveRequest},
};
use sp_core::H256;
use std::{
	collections::BTreeMap,
	io,
	path::Path,
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
	},
	time::Duration,
};
use tokio::sync::mpsc;

/// Most benchmarks that are kept or wait at a time.
const MAX_JOBS: usize = 32;
/// Longest that a benchmark is kept, whatever is asked: a week.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Time for which an unopened proof keeps the GPUs' memory.
const GPU_MEMORY_KEPT_MS: u64 = 600 * 1_000;
/// Most openings and bandwidth streams that a checker is served in a round.
const MAX_SERVED: u32 = 24;

/// State of a benchmark.
pub enum JobState {
	/// Waits or runs.
	Working,
	/// Is done.
	Done(Arc<Proof>),
	/// The worker serves an order, and runs no benchmark: this is what it attests.
	Present(Hash),
	/// The round has another seed by now: it is not computed, unless it is asked for again.
	Superseded,
	/// Cannot be done.
	Failed(String),
}

impl JobState {
	fn progress(&self) -> Progress<Attestation> {
		match self {
			Self::Working | Self::Superseded => Progress::Working,
			Self::Done(proof) => Progress::Done(Attestation { root: proof.root }),
			Self::Present(root) => Progress::Done(Attestation { root: *root }),
			Self::Failed(error) => Progress::Failed(error.clone()),
		}
	}
}

/// A benchmark that this agent was asked to run.
struct Entry {
	job: Job,
	committee: Vec<(CheckerKey, AgentKey)>,
	state: JobState,
	/// Whether it is to be given up.
	stop: Arc<AtomicBool>,
	/// Number of costly answers to each checker's agent.
	served: BTreeMap<AgentKey, u32>,
	/// When it was last opened, or done.
	used: u64,
}

impl Entry {
	fn new(job: Job, request: &ProveRequest) -> Self {
		let state = match request.order {
			Some(_) => JobState::Present(job.rented_root()),
			None => JobState::Working,
		};
		Self {
			job,
			committee: request.committee.clone(),
			state,
			stop: Arc::default(),
			served: BTreeMap::new(),
			used: now_ms(),
		}
	}
}

/// A benchmark whose turn it is.
pub struct Turn {
	/// The job.
	pub job: Job,
	/// Agents of its committee.
	pub committee: Vec<AgentKey>,
	/// When its round is over.
	pub expires: u64,
	/// Set when the round has another seed.
	pub stop: Arc<AtomicBool>,
	/// The proof, if the benchmark was done before the round had another seed for a while.
	pub done: Option<Arc<Proof>>,
}

/// The benchmarks, under one lock.
pub struct Jobs {
	agent: AgentKey,
	entries: Kept<Hash, Entry>,
	queue: mpsc::Sender<Hash>,
	report: Arc<Report>,
}

impl Jobs {
	/// The benchmarks of the agent with this key, those before the last stop included; and the queue of
	/// the ones that are to be run.
	pub fn new(
		data: &Path,
		agent: AgentKey,
		report: Arc<Report>,
	) -> io::Result<(Self, mpsc::Receiver<Hash>)> {
		let (queue, queued) = mpsc::channel(MAX_JOBS);
		let jobs = Self {
			agent,
			entries: Kept::new(data, "jobs", MAX_JOBS, |id| *id)?,
			queue,
			report,
		};
		jobs.entries.load(MAX_JOBS, |_, request: ProveRequest| {
			let job = Job::of_prove(&request, agent).ok()?;
			let id = id_of(&job);
			let (round, worker) = (job.round, job.worker);
			let entry = Entry::new(job, &request);
			if matches!(entry.state, JobState::Working) {
				jobs.queue.try_send(id).ok()?;
				tracing::info!(
					round,
					worker,
					"computing the proof of a round again after a restart"
				);
			}
			Some((id, entry))
		});
		Ok((jobs, queued))
	}

	/// Takes a request to prove and says how far it is. `None` where there is no room for more.
	///
	/// Of one round and worker only the seed that was asked for last is computed: after a fork the node asks by
	/// the seed that stands, and would wait for a proof that nobody needs. A seed that is back is computed anew.
	pub fn prove(&self, request: ProveRequest) -> Option<Progress<Attestation>> {
		let job = match Job::of_prove(&request, self.agent) {
			Ok(job) => job,
			Err(error) => return Some(Progress::Failed(error.to_string())),
		};
		let id = id_of(&job);
		let mut entries = self.entries.lock();
		let mut is_back = false;
		for Timed { value: other, .. } in entries.iter() {
			let same = (other.job.genesis, other.job.round, other.job.worker)
				== (job.genesis, job.round, job.worker);
			if same {
				let stop = other.job.seed != job.seed;
				let stopped = other.stop.swap(stop, Ordering::Relaxed);
				is_back |= stopped && !stop;
			}
		}
		if let Some(Timed { value: entry, .. }) = entries.get_mut(&id) {
			match entry.state {
				JobState::Superseded => {
					self.queue.try_send(id).ok()?;
					entry.state = JobState::Working;
				}
				// Its committee was another one meanwhile, and has to have the roots.
				JobState::Done(_) if is_back => {
					let _ = self.queue.try_send(id);
				}
				_ => (),
			}
			// What is running or attested does not change, neither for another claim nor for an order.
			return Some(match &entry.state {
				JobState::Failed(_) if entry.job != job => Progress::Working,
				state => state.progress(),
			});
		}
		if entries.is_full() {
			return None;
		}
		let expires = now_ms() + request.keep_ms.min(MAX_KEEP_MS);
		let entry = Entry::new(job, &request);
		let progress = entry.state.progress();
		if progress == Progress::Working {
			self.queue.try_send(id).ok()?;
		}
		entries.insert(id, expires, entry);
		drop(entries);
		self.entries.store(&id, expires, &request);
		Some(progress)
	}

	/// The benchmark whose turn it is. `None` if it was dropped meanwhile, or its round is over: then it
	/// has failed.
	pub fn turn(&self, id: &Hash) -> Option<Turn> {
		let mut entries = self.entries.lock();
		let Timed { expires, value } = entries.get_mut(id)?;
		if *expires <= now_ms() {
			value.state = JobState::Failed("its round is over".into());
			return None;
		}
		let done = match &value.state {
			JobState::Done(proof) => Some(proof.clone()),
			_ => None,
		};
		if value.stop.load(Ordering::Relaxed) {
			if done.is_none() {
				value.state = JobState::Superseded;
			}
			return None;
		}
		Some(Turn {
			job: value.job.clone(),
			committee: value.committee.iter().map(|(_, agent)| *agent).collect(),
			expires: *expires,
			stop: value.stop.clone(),
			done,
		})
	}

	/// Notes how a benchmark ended.
	pub fn finish(&self, id: &Hash, state: JobState) {
		if let Some(Timed { value, .. }) = self.entries.lock().get_mut(id) {
			value.state = state;
			value.used = now_ms();
		}
	}

	/// Checks that this agent runs or ran that benchmark and that the asker is in its committee under that
	/// key; returns the longest that a bandwidth measurement of it may take.
	pub fn served(&self, remote: &AgentKey, which: &Which) -> Result<Duration, Refusal> {
		let entries = self.entries.lock();
		let entry = served(entries.get(&which.job_id()), remote, which)?;
		self.report.reached();
		Ok(Duration::from_secs(
			u64::from(entry.job.bench.bandwidth_secs) + 10,
		))
	}

	/// A proof that is done, for a member of its committee.
	pub fn proof(&self, remote: &AgentKey, which: &Which) -> Result<Arc<Proof>, Refusal> {
		let entries = self.entries.lock();
		match &served(entries.get(&which.job_id()), remote, which)?.state {
			JobState::Done(proof) => Ok(proof.clone()),
			JobState::Working | JobState::Superseded => Err(Refusal::NotReady),
			JobState::Present(_) | JobState::Failed(_) => Err(Refusal::NotServed),
		}
	}

	/// Counts what costs. A flood of one checker does not take from the others.
	pub fn spend(&self, remote: &AgentKey, which: &Which) -> Result<(), Refusal> {
		let mut entries = self.entries.lock();
		let entry = entries.get_mut(&which.job_id()).ok_or(Refusal::NotServed)?;
		let entry = &mut entry.value;
		let spent = entry.served.entry(*remote).or_default();
		if *spent >= MAX_SERVED {
			return Err(Refusal::Spent);
		}
		*spent += 1;
		entry.used = now_ms();
		Ok(())
	}

	/// Takes back the last [`spend`](Self::spend): what it was for could not be done now.
	pub fn give_back(&self, remote: &AgentKey, which: &Which) {
		let mut entries = self.entries.lock();
		let entry = entries.get_mut(&which.job_id());
		if let Some(spent) = entry.and_then(|entry| entry.value.served.get_mut(remote)) {
			*spent = spent.saturating_sub(1);
		}
	}

	/// Returns whether an agent is in the committee of a benchmark that is kept.
	pub fn knows(&self, agent: &AgentKey) -> bool {
		let now = now_ms();
		self.entries.lock().iter().any(|Timed { expires, value }| {
			*expires > now && value.committee.iter().any(|(_, member)| member == agent)
		})
	}

	/// Until when a checker's agent is in the committee of a check of this worker that is kept here.
	pub fn checked_until(
		&self,
		checker: &AgentKey,
		genesis: H256,
		worker: WorkerId,
	) -> Option<u64> {
		self.entries
			.lock()
			.iter()
			.filter(|Timed { value, .. }| {
				(value.job.genesis, value.job.worker) == (genesis, worker)
					&& value.committee.iter().any(|(_, agent)| agent == checker)
			})
			.map(|timed| timed.expires)
			.max()
	}

	/// Drops what has expired, and gives back the GPUs' memory that nobody needs any more: to a customer
	/// at once, if the machine is `rented`.
	pub fn sweep(&self, rented: bool) {
		let now = now_ms();
		self.entries.sweep(|entry| {
			// A customer's programs need the GPUs' memory more than a proof does.
			if let JobState::Done(proof) = &entry.state
				&& (rented || entry.used + GPU_MEMORY_KEPT_MS < now)
			{
				proof.release();
			}
			// What runs is never dropped: there is one at a time.
			matches!(entry.state, JobState::Working)
		});
	}
}

fn id_of(job: &Job) -> Hash {
	trial_of(job).job_id()
}

/// The benchmark, as it is named to others.
pub fn trial_of(job: &Job) -> Trial {
	Trial {
		genesis: job.genesis,
		round: job.round,
		seed: job.seed,
		worker: job.worker,
	}
}

/// A benchmark, if it has not expired and the asker is in its committee under the key that it names.
fn served<'a>(
	entry: Option<&'a Timed<Entry>>,
	remote: &AgentKey,
	which: &Which,
) -> Result<&'a Entry, Refusal> {
	let Timed { expires, value } = entry.ok_or(Refusal::NotServed)?;
	let known = value
		.committee
		.iter()
		.any(|(key, agent)| *key == which.checker && agent == remote);
	if !known || *expires <= now_ms() {
		return Err(Refusal::NotServed);
	}
	Ok(value)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::bench::job::tests::{BENCH, spec};

	fn request(seed: u8) -> ProveRequest {
		ProveRequest {
			genesis: H256::zero(),
			round: 4,
			seed: H256::repeat_byte(seed),
			worker: 7,
			spec: spec(),
			bench: BENCH,
			reference: None,
			order: None,
			committee: Vec::new(),
			keep_ms: 600_000,
		}
	}

	#[test]
	fn of_a_rounds_seeds_only_the_last_one_asked_for_is_computed() {
		let dir = tempfile::tempdir().unwrap();
		let (jobs, mut queue) =
			Jobs::new(dir.path(), AgentKey::from_raw([1; 32]), Arc::default()).unwrap();
		let ask = |seed| assert_eq!(jobs.prove(request(seed)), Some(Progress::Working));
		let mut next = || queue.try_recv().unwrap();
		ask(1);
		let first = next();
		let running = jobs.turn(&first).unwrap();
		let stopped = || running.stop.load(Ordering::Relaxed);
		assert!(!stopped());

		// A fork has another seed: what runs is given up.
		ask(2);
		assert!(stopped());
		jobs.finish(&first, JobState::Superseded);
		// The first seed's chain is back before the second one's turn.
		ask(1);
		assert!(jobs.turn(&next()).is_none());
		let again = next();
		assert_eq!(again, first);
		assert!(
			jobs.turn(&again)
				.is_some_and(|turn| !turn.stop.load(Ordering::Relaxed))
		);
		// Another round is none of that.
		let other = ProveRequest {
			round: 6,
			..request(3)
		};
		assert_eq!(jobs.prove(other), Some(Progress::Working));
		assert!(jobs.turn(&next()).is_some() && jobs.turn(&first).is_some());
	}
}
