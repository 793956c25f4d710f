//! The trials that the node requested: their progress, and access to their proofs.
//!
//! A job belongs to a round's seed, and its trial to the trial's seed. Sizes are stored before a trial
//! starts, and roots before they are attested: after a restart, the same proof is computed again, or a
//! resource is gone. It never has another root.

use crate::{
	host::{
		expiring::{Expiring, ExpiringMap},
		report::Report,
		store::now_ms,
	},
	peer::wire::{ProofRequest, Refusal, Trial},
	trial::{
		hash::{Hash, key},
		job::{Job, Sizes},
		proof::Roots,
		run::{Prepared, Proof},
	},
};
use codec::{Decode, Encode};
use kaisar_primitives::{
	AgentKey, CheckerKey, WorkerId,
	agent::{Attestation, PrepareRequest, Progress, ProveRequest},
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
use tokio::sync::Notify;

/// Maximum number of jobs.
const MAX_JOBS: usize = 32;
/// Maximum time for which a job is kept, whatever the node asks: a week.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Time for which an unopened proof keeps memory, of the machine and of GPUs.
const MEMORY_KEPT_MS: u64 = 600 * 1_000;
/// Delay of a trial's start after which the agent no longer waits for it.
const TRIAL_LATE_MS: u64 = 120 * 1_000;
/// Maximum number of openings and bandwidth streams for a checker in a round.
const MAX_SERVED: u32 = 24;

/// State of a job.
enum State {
	/// Waits for its preparation or its trial, or is in one of them.
	Working,
	/// Its memory is filled.
	Prepared(Arc<Prepared>),
	/// The proof of the last requested trial is complete.
	Done(Arc<Proof>),
	/// The worker serves an order and runs no trial; it attests this root.
	Present(Hash),
	/// Failed, for this reason.
	Failed(String),
}

/// A job of this agent.
struct Entry {
	job: Job,
	committee: Vec<(CheckerKey, AgentKey)>,
	/// Seed of the trial, once it is known.
	trial: Option<H256>,
	/// Expected time of the trial's block, by [`now_ms`].
	trial_at: u64,
	/// Sizes of its work, once they are fixed.
	sizes: Option<Sizes>,
	/// Roots of the trial, once it has run.
	roots: Option<Roots>,
	state: State,
	/// Tells its running work to stop.
	stop: Arc<AtomicBool>,
	/// The round has another seed by now. The job is not computed, unless it is requested again.
	superseded: bool,
	/// Number of costly answers to each checker's agent.
	served: BTreeMap<AgentKey, u32>,
	/// Last opening or completion, by [`now_ms`].
	used: u64,
}

/// Stored form of a job.
#[derive(Encode, Decode)]
struct KeptJob {
	job: Job,
	rented: bool,
	committee: Vec<(CheckerKey, AgentKey)>,
	trial: Option<H256>,
	sizes: Option<Sizes>,
	roots: Option<Roots>,
}

impl Entry {
	fn new(job: Job, committee: Vec<(CheckerKey, AgentKey)>, rented: bool) -> Self {
		let state = match rented {
			true => State::Present(job.rented_root()),
			false => State::Working,
		};
		Self {
			job,
			committee,
			trial: None,
			trial_at: now_ms(),
			sizes: None,
			roots: None,
			state,
			stop: Arc::default(),
			superseded: false,
			served: BTreeMap::new(),
			used: now_ms(),
		}
	}

	fn kept(&self) -> KeptJob {
		KeptJob {
			job: self.job.clone(),
			rented: matches!(self.state, State::Present(_)),
			committee: self.committee.clone(),
			trial: self.trial,
			sizes: self.sizes,
			roots: self.roots.clone(),
		}
	}

	fn progress(&self) -> Progress<Attestation> {
		// The roots belong to the requested trial. After a restart they exist before the proof.
		if let Some(roots) = &self.roots {
			let root = roots.root(&self.job);
			return Progress::Done(Attestation { root });
		}
		match &self.state {
			State::Present(root) => Progress::Done(Attestation { root: *root }),
			State::Failed(error) => Progress::Failed(error.clone()),
			_ => Progress::Working,
		}
	}

	/// Requests the trial with this seed, in place of another one. Returns whether that is a change.
	fn try_trial(&mut self, seed: H256) -> bool {
		if self.trial == Some(seed) {
			return false;
		}
		// A fork: running work belongs to the other trial. The filled memory stays, since the round is the
		// same.
		if self.trial.replace(seed).is_some() {
			self.stop_running();
			self.roots = None;
			if let State::Done(proof) = &self.state {
				self.state = match proof.prepared() {
					prepared if prepared.is_whole() => State::Prepared(prepared.clone()),
					_ => State::Working,
				};
			}
		}
		true
	}

	fn stop_running(&mut self) {
		self.stop.store(true, Ordering::Relaxed);
		self.stop = Arc::default();
	}
}

/// Next piece of work.
pub enum Next {
	/// Fill the memory.
	Prepare {
		/// Id of the job.
		id: Hash,
		/// The job.
		job: Job,
		/// Its sizes, if they are fixed.
		sizes: Option<Sizes>,
		/// Its trial has run before, so that it is not judged by time.
		again: bool,
		/// Time until the trial.
		left: Duration,
		/// Set when the work is no longer wanted.
		stop: Arc<AtomicBool>,
	},
	/// Run the trial.
	Run {
		/// Id of the job.
		id: Hash,
		/// Its memory.
		prepared: Arc<Prepared>,
		/// Seed of the trial.
		trial_seed: H256,
		/// Roots, if they were known before a restart.
		roots: Option<Roots>,
		/// Agents of the committee.
		committee: Vec<AgentKey>,
		/// End of the round, by [`now_ms`].
		expires: u64,
		/// Set when the work is no longer wanted.
		stop: Arc<AtomicBool>,
	},
}

/// All jobs, under one lock.
pub struct Jobs {
	agent: AgentKey,
	entries: ExpiringMap<Hash, Entry>,
	/// Wakes the task that runs the work.
	news: Notify,
	report: Arc<Report>,
}

/// Returns the id of a job.
fn id_of(job: &Job) -> Hash {
	key("job", &[&job.base()])
}

impl Jobs {
	/// Restores the jobs of the agent with this key from before the last stop.
	pub fn new(data: &Path, agent: AgentKey, report: Arc<Report>) -> io::Result<Self> {
		let jobs = Self {
			agent,
			entries: ExpiringMap::new(data, "jobs", MAX_JOBS, |id| *id)?,
			news: Notify::new(),
			report,
		};
		jobs.entries.load(MAX_JOBS, |_, kept: KeptJob| {
			let (round, worker) = (kept.job.round, kept.job.worker);
			if !kept.rented && kept.trial.is_some() {
				tracing::info!(
					round,
					worker,
					"computing a round's proof again after a restart"
				);
			}
			let entry = Entry {
				trial: kept.trial,
				sizes: kept.sizes,
				roots: kept.roots,
				..Entry::new(kept.job, kept.committee, kept.rented)
			};
			(entry.job.agent == agent).then(|| (id_of(&entry.job), entry))
		});
		jobs.news.notify_one();
		Ok(jobs)
	}

	/// Takes a request to prepare. Fails with the reason why the job is not possible.
	pub fn prepare(&self, request: &PrepareRequest) -> Result<(), String> {
		let job = Job::of_prepare(request, self.agent).map_err(|error| error.to_string())?;
		let (committee, rented) = (request.committee.clone(), !request.runs);
		let trial_at = now_ms() + request.trial_ms.min(MAX_KEEP_MS);
		self.ask(job, committee, rented, request.keep_ms, |entry| {
			entry.trial_at = trial_at;
			false
		})
		.map(|_: Progress<_>| ())
	}

	/// Takes a request to prove, and returns its progress. Fails if the number of jobs has reached its
	/// maximum.
	pub fn prove(&self, request: &ProveRequest) -> Result<Progress<Attestation>, String> {
		let job = match Job::of_prove(request, self.agent) {
			Ok(job) => job,
			Err(error) => return Ok(Progress::Failed(error.to_string())),
		};
		let (committee, rented) = (request.committee.clone(), request.order.is_some());
		self.ask(job, committee, rented, request.keep_ms, |entry| {
			entry.try_trial(request.trial_seed)
		})
	}

	/// Takes a request for a job. Of one round and worker, only the last requested seed is computed: after a
	/// fork the node asks by the new seed, and would otherwise wait for the proof of the old one.
	fn ask(
		&self,
		job: Job,
		committee: Vec<(CheckerKey, AgentKey)>,
		rented: bool,
		keep_ms: u64,
		change: impl FnOnce(&mut Entry) -> bool,
	) -> Result<Progress<Attestation>, String> {
		let id = id_of(&job);
		let expires = now_ms() + keep_ms.min(MAX_KEEP_MS);
		let mut entries = self.entries.lock();
		for (other, timed) in entries.iter_mut() {
			let entry = &mut timed.value;
			let same = (entry.job.genesis, entry.job.round, entry.job.worker)
				== (job.genesis, job.round, job.worker);
			if same {
				let before = std::mem::replace(&mut entry.superseded, *other != id);
				if entry.superseded && !before {
					entry.stop_running();
					tracing::info!(
						round = job.round,
						worker = job.worker,
						"the round has another seed: dropping its trial"
					);
				}
			}
		}
		if entries.get(&id).is_none() {
			if entries.is_full() {
				return Err(format!("the agent has {MAX_JOBS} jobs, the maximum"));
			}
			entries.insert(id, expires, Entry::new(job, committee, rented));
		}
		let Some(Expiring { expires, value }) = entries.get_mut(&id) else {
			return Err("the job is gone".into());
		};
		// A prepared or attested job does not change, neither for another claim nor for an order.
		let is_new = value.trial.is_none() && value.sizes.is_none();
		let is_trial = change(value);
		let (progress, expires) = (value.progress(), *expires);
		let kept = (is_trial || is_new).then(|| value.kept());
		if is_trial {
			// Stop filling memory for another job.
			for (_, timed) in entries.iter_mut() {
				if matches!(timed.value.state, State::Working) && timed.value.trial.is_none() {
					timed.value.stop_running();
				}
			}
		}
		drop(entries);
		if let Some(kept) = kept {
			self.entries.store(&id, expires, &kept);
		}
		self.news.notify_one();
		Ok(progress)
	}

	/// Waits for the next piece of work. Only one runs at a time: memory is filled for one job, and a trial
	/// has the machine to itself. A requested trial comes first.
	pub async fn next(&self) -> Next {
		loop {
			let due = self.take_next();
			match due {
				Ok(next) => return next,
				Err(wait) => {
					let _ = tokio::time::timeout(wait, self.news.notified()).await;
				}
			}
		}
	}

	/// Returns the next piece of work, or the longest time to wait for it.
	fn take_next(&self) -> Result<Next, Duration> {
		let now = now_ms();
		let mut entries = self.entries.lock();
		let wanted = |timed: &Expiring<Entry>| timed.expires > now && !timed.value.superseded;
		let mut first: Option<(bool, u64, Hash)> = None;
		let mut waiting = false;
		for (id, timed) in entries.iter_mut() {
			if !wanted(timed) {
				continue;
			}
			let entry = &timed.value;
			let late = entry.trial_at + TRIAL_LATE_MS < now;
			let due = match &entry.state {
				State::Working => entry.trial.is_some() || !late,
				State::Prepared(_) => {
					waiting |= entry.trial.is_none() && !late;
					entry.trial.is_some()
				}
				_ => false,
			};
			if due {
				let order = (entry.trial.is_none(), entry.trial_at, *id);
				first = Some(first.map_or(order, |first| first.min(order)));
			}
		}
		let (no_trial, _, id) = first.ok_or(Duration::from_secs(60))?;
		if no_trial && waiting {
			// Another job has the memory until its trial.
			return Err(Duration::from_secs(1));
		}
		// Other jobs release their memory; openings fill it again if they need it. The release happens after
		// the lock, since hundreds of GB take seconds, in which the node would wait for the lock.
		let mut dropped = Vec::new();
		let mut released = Vec::new();
		for (other, timed) in entries.iter_mut() {
			let entry = &mut timed.value;
			if *other == id {
				continue;
			}
			match &entry.state {
				State::Prepared(_) => {
					dropped.push(std::mem::replace(&mut entry.state, State::Working));
				}
				State::Done(proof) => released.push(proof.clone()),
				_ => (),
			}
		}
		let Some(Expiring { expires, value }) = entries.get_mut(&id) else {
			return Err(Duration::ZERO);
		};
		let next = match (&value.state, value.trial) {
			(State::Prepared(prepared), Some(trial_seed)) => Next::Run {
				id,
				prepared: prepared.clone(),
				trial_seed,
				roots: value.roots.clone(),
				committee: value.committee.iter().map(|(_, agent)| *agent).collect(),
				expires: *expires,
				stop: value.stop.clone(),
			},
			_ => Next::Prepare {
				id,
				job: value.job.clone(),
				sizes: value.sizes,
				again: value.roots.is_some(),
				left: Duration::from_millis(value.trial_at.saturating_sub(now)),
				stop: value.stop.clone(),
			},
		};
		drop(entries);
		drop(dropped);
		for proof in released {
			proof.release();
		}
		Ok(next)
	}

	/// Records that a job is prepared, after its sizes are stored.
	pub fn prepared(&self, id: &Hash, prepared: Arc<Prepared>) {
		self.write(id, |entry| entry.sizes = Some(*prepared.sizes()));
		self.change(id, |entry| entry.state = State::Prepared(prepared));
	}

	/// Records that a trial has run, after its roots are stored.
	pub fn done(&self, id: &Hash, proof: Arc<Proof>) {
		let is_of = |entry: &Entry| entry.trial == Some(proof.trial_seed());
		self.write(id, |entry| {
			if is_of(entry) {
				entry.roots = Some(proof.roots().clone());
			}
		});
		self.change(id, |entry| {
			if is_of(entry) {
				entry.state = State::Done(proof.clone());
			}
		});
	}

	/// Records that a job failed.
	pub fn failed(&self, id: &Hash, error: String) {
		self.change(id, |entry| entry.state = State::Failed(error));
	}

	fn change(&self, id: &Hash, change: impl FnOnce(&mut Entry)) {
		if let Some(Expiring { value, .. }) = self.entries.lock().get_mut(id) {
			change(value);
			value.used = now_ms();
		}
	}

	/// Changes a job and stores it.
	fn write(&self, id: &Hash, change: impl FnOnce(&mut Entry)) {
		let mut entries = self.entries.lock();
		let Some(Expiring { expires, value }) = entries.get_mut(id) else {
			return;
		};
		change(value);
		let (expires, kept) = (*expires, value.kept());
		drop(entries);
		self.entries.store(id, expires, &kept);
	}

	/// Checks that this agent runs or ran that trial, and that the asker is in its committee under that key.
	/// Returns the longest duration of a bandwidth measurement.
	pub fn served(&self, remote: &AgentKey, which: &ProofRequest) -> Result<Duration, Refusal> {
		self.with(remote, which, |entry| {
			self.report.reached();
			Ok(Duration::from_secs(
				u64::from(entry.job.bench.bandwidth_secs) + 10,
			))
		})
	}

	/// Returns the roots of a trial to a member of its committee.
	pub fn roots(&self, remote: &AgentKey, which: &ProofRequest) -> Result<Roots, Refusal> {
		self.with(remote, which, |entry| match &entry.state {
			State::Present(_) => Err(Refusal::NotServed),
			// An attested trial has roots, even if it cannot be computed again.
			State::Failed(_) => entry.roots.clone().ok_or(Refusal::NotServed),
			_ => entry.roots.clone().ok_or(Refusal::NotReady),
		})
	}

	/// Returns a complete proof to a member of its committee.
	pub fn proof(&self, remote: &AgentKey, which: &ProofRequest) -> Result<Arc<Proof>, Refusal> {
		self.with(remote, which, |entry| match &entry.state {
			State::Done(proof) => Ok(proof.clone()),
			State::Working | State::Prepared(_) => Err(Refusal::NotReady),
			State::Present(_) => Err(Refusal::NotServed),
			State::Failed(_) if entry.roots.is_some() => Err(Refusal::Gone),
			State::Failed(_) => Err(Refusal::NotServed),
		})
	}

	/// Calls `act` with a job that has not expired, if the asker is in its committee under the key that it
	/// names.
	fn with<T>(
		&self,
		remote: &AgentKey,
		which: &ProofRequest,
		act: impl FnOnce(&mut Entry) -> Result<T, Refusal>,
	) -> Result<T, Refusal> {
		let mut entries = self.entries.lock();
		let now = now_ms();
		let entry = entries.iter_mut().map(|(_, timed)| timed).find(|timed| {
			let Expiring { expires, value } = timed;
			*expires > now
				&& trial_of(&value.job, value.trial).is_some_and(|trial| trial == which.trial())
				&& value
					.committee
					.iter()
					.any(|(key, agent)| *key == which.checker && agent == remote)
		});
		act(&mut entry.ok_or(Refusal::NotServed)?.value)
	}

	/// Counts a costly answer. Each checker has its own limit, so that a flood from one does not affect the
	/// others.
	pub fn spend(&self, remote: &AgentKey, which: &ProofRequest) -> Result<(), Refusal> {
		self.with(remote, which, |entry| {
			let spent = entry.served.entry(*remote).or_default();
			if *spent >= MAX_SERVED {
				return Err(Refusal::Spent);
			}
			*spent += 1;
			entry.used = now_ms();
			Ok(())
		})
	}

	/// Takes back the last [`spend`](Self::spend), whose answer was not possible now.
	pub fn give_back(&self, remote: &AgentKey, which: &ProofRequest) {
		let _ = self.with(remote, which, |entry| {
			if let Some(spent) = entry.served.get_mut(remote) {
				*spent = spent.saturating_sub(1);
			}
			Ok(())
		});
	}

	/// Returns whether an agent is in the committee of a kept job.
	pub fn knows(&self, agent: &AgentKey) -> bool {
		let now = now_ms();
		self.entries
			.lock()
			.iter()
			.any(|Expiring { expires, value }| {
				*expires > now && value.committee.iter().any(|(_, member)| member == agent)
			})
	}

	/// Returns the end of the time in which a checker's agent is in the committee of a kept check of this
	/// worker.
	pub fn checked_until(
		&self,
		checker: &AgentKey,
		genesis: H256,
		worker: WorkerId,
	) -> Option<u64> {
		self.entries
			.lock()
			.iter()
			.filter(|Expiring { value, .. }| {
				(value.job.genesis, value.job.worker) == (genesis, worker)
					&& value.committee.iter().any(|(_, agent)| agent == checker)
			})
			.map(|timed| timed.expires)
			.max()
	}

	/// Drops expired jobs, and releases memory of the machine and of GPUs that is no longer needed; at once
	/// if the machine is `rented`.
	pub fn sweep(&self, rented: bool) {
		let now = now_ms();
		let mut dropped = Vec::new();
		let mut released = Vec::new();
		self.entries.sweep(|entry| {
			if let State::Done(proof) = &entry.state
				&& (rented || entry.used + MEMORY_KEPT_MS < now)
			{
				released.push(proof.clone());
			}
			// Its trial ran without this job, or never.
			let is_late = entry.trial.is_none() && entry.trial_at + TRIAL_LATE_MS < now;
			if matches!(entry.state, State::Prepared(_)) && (entry.superseded || is_late) {
				dropped.push(std::mem::replace(&mut entry.state, State::Working));
			}
			false
		});
		for proof in released {
			proof.release();
		}
	}
}

/// Returns the trial of a job by the name that other agents use.
pub fn trial_of(job: &Job, trial_seed: Option<H256>) -> Option<Trial> {
	Some(Trial {
		genesis: job.genesis,
		round: job.round,
		seed: trial_seed?,
		worker: job.worker,
	})
}

#[cfg(test)]
mod tests;
