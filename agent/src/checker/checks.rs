//! The checks that this agent was asked to make, and what came of them.

use super::check::Checker;
use crate::{
	bench::{
		hash::{Hash, hash},
		job::Job,
	},
	host::{
		clock::wall_ms,
		kept::Kept,
		report::{self, Report},
	},
};
use codec::Encode;
use kaisar_primitives::{
	Verdict,
	agent::{Checked, Progress, SeatReply, SeatRequest},
};
use std::{io, path::Path, sync::Arc};
use tokio::sync::{Semaphore, watch};

/// Most checks that are kept at a time.
pub(super) const MAX_CHECKS: usize = 8_192;
/// Most checks that are made at a time, of claims whose openings take [`ORDINARY_KIB`] at most: 1 GiB of memory
/// together.
const CHECKS_AT_ONCE: usize = 16;
/// Memory for the openings of an ordinary claim, in KiB: 64 MiB, enough for six GPUs.
const ORDINARY_KIB: u32 = 64 << 10;
/// Memory for the openings of all larger claims that are checked at a time, in KiB: 1 GiB, six of 16 GPUs. They
/// wait for each other, and ordinary claims never wait for them.
const LARGE_KIB: u32 = 1 << 20;

/// Memory that a check may take for openings, in KiB: the message, and what is decoded of it.
fn openings_kib(job: &Job, request: &SeatRequest) -> u32 {
	if request.rented {
		return 0;
	}
	let kib = 2 * job.openings_limit().div_ceil(1_024);
	// One that is larger than all together has it for itself.
	u32::try_from(kib).unwrap_or(u32::MAX).min(LARGE_KIB)
}

/// State of a check.
#[derive(Clone)]
enum Check {
	Working,
	Done(Checked),
	Failed(String),
}

impl Check {
	fn progress(&self) -> Progress<Checked> {
		match self {
			Self::Working => Progress::Working,
			Self::Done(checked) => Progress::Done(checked.clone()),
			Self::Failed(error) => Progress::Failed(error.clone()),
		}
	}
}

/// The checks, under one lock.
pub struct Checks {
	checker: Checker,
	checks: Kept<Hash, Check>,
	/// Places for ordinary checks.
	at_once: Semaphore,
	/// KiB of memory for the openings of large ones. Either is taken before a check begins, so a worker that sends
	/// slowly takes no time from the deadline of another.
	large: Semaphore,
	report: Arc<Report>,
	/// True once the agent is to stop.
	stopping: watch::Receiver<bool>,
}

/// A verdict in short.
fn in_words(verdict: &Verdict) -> String {
	match verdict {
		Verdict { online: false, .. } => "offline".into(),
		Verdict { service: false, .. } => "its customer's container does not answer".into(),
		Verdict { proof: false, .. } => "no proof".into(),
		verdict => format!(
			"proved: GPU class {} × {}, tiers: CPU {}, memory {}, disk {}, bandwidth {}",
			verdict.gpu_class,
			verdict.gpu_count,
			verdict.cpu,
			verdict.memory,
			verdict.disk,
			verdict.bandwidth
		),
	}
}

impl Checks {
	/// The checks before the last stop.
	pub fn new(
		data: &Path,
		checker: Checker,
		report: Arc<Report>,
		stopping: watch::Receiver<bool>,
	) -> io::Result<Self> {
		let checks = Kept::new(data, "checks", MAX_CHECKS, |id| *id)?;
		checks.load(MAX_CHECKS, |_, (id, checked): (Hash, Checked)| {
			Some((id, Check::Done(checked)))
		});
		Ok(Self {
			checker,
			checks,
			at_once: Semaphore::new(CHECKS_AT_ONCE),
			large: Semaphore::new(LARGE_KIB as usize),
			report,
			stopping,
		})
	}

	/// Takes requests to check and says how far each is.
	pub fn check(self: &Arc<Self>, requests: Vec<SeatRequest>) -> Vec<SeatReply> {
		requests
			.into_iter()
			.map(|request| SeatReply {
				worker: request.worker,
				progress: self.check_one(request),
			})
			.collect()
	}

	fn check_one(self: &Arc<Self>, request: SeatRequest) -> Progress<Checked> {
		let id = hash("kaisar/agent 2026 check", &[&request.encode()]);
		let rounds = self.checker.rounds();
		let expires = rounds.expiry(request.genesis, request.round, request.seed);
		let mut checks = self.checks.lock();
		if let Some(check) = checks.get(&id) {
			return check.value.progress();
		}
		if checks.is_full() {
			// The node asks again, and until then something expires.
			return Progress::Working;
		}
		let job = match Job::of_seat(&request) {
			Ok(job) => job,
			Err(error) => {
				let failed = Check::Failed(error.to_string());
				return checks.insert(id, expires, failed).value.progress();
			}
		};
		checks.insert(id, expires, Check::Working);
		drop(checks);
		// From here on its roots are worth a file.
		rounds.keep(&job);
		tokio::spawn(self.clone().make(id, expires, job, request));
		Progress::Working
	}

	/// Makes a check, unless the agent stops first.
	async fn make(self: Arc<Self>, id: Hash, expires: u64, job: Job, request: SeatRequest) {
		let mut stopping = self.stopping.clone();
		let work = async {
			let _permit = match openings_kib(&job, &request) {
				0..=ORDINARY_KIB => self.at_once.acquire().await,
				kib => self.large.acquire_many(kib).await,
			};
			self.checker.check(&job, &request).await
		};
		let (checked, why) = tokio::select! {
			checked = work => checked,
			_ = stopping.wait_for(|stopping| *stopping) => return,
		};
		let (worker, round) = (request.worker, request.round);
		let verdict = in_words(&checked.verdict);
		let Verdict {
			online,
			service,
			proof,
			..
		} = checked.verdict;
		if online && service && proof {
			tracing::debug!(worker, round, "{verdict}: {why}");
		} else {
			tracing::warn!(worker, round, "{verdict}: {why}");
		}
		let at = wall_ms();
		self.report.check(
			online && service,
			proof,
			report::Check {
				at,
				round,
				worker,
				verdict,
				why,
			},
		);
		let done = Check::Done(checked.clone());
		self.checks.lock().insert(id, expires, done);
		self.checks.store(&id, expires, &(id, checked));
	}

	/// Drops what has expired.
	pub fn sweep(&self) {
		self.checks.sweep(|_| false);
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::bench::job::tests::{BENCH, spec};
	use kaisar_primitives::{AgentKey, BenchParams, WorkerSpec};
	use sp_core::{H256, sr25519};

	fn kib(gpus: u8, samples: u16, rented: bool) -> u32 {
		let request = SeatRequest {
			genesis: H256::zero(),
			round: 4,
			seed: H256::zero(),
			worker: 7,
			agent: AgentKey::from_raw([1; 32]),
			spec: WorkerSpec {
				gpu_class: if gpus > 0 { 1 } else { 0 },
				gpu_count: gpus,
				..spec()
			},
			bench: BenchParams {
				n: 8_192,
				samples,
				..BENCH
			},
			reference: None,
			root: [0; 32],
			open_seed: H256::zero(),
			checker: sr25519::Public::from_raw([2; 32]).into(),
			seats: 3,
			full: true,
			rented,
			order: None,
		};
		openings_kib(&Job::of_seat(&request).unwrap(), &request)
	}

	#[test]
	fn boundary_of_the_memory_for_openings_that_checks_at_a_time_take() {
		// With the samples of production.
		assert!(kib(6, 256, false) <= ORDINARY_KIB && kib(7, 256, false) > ORDINARY_KIB);
		assert!(kib(0, 256, false) < ORDINARY_KIB);
		assert_eq!(CHECKS_AT_ONCE as u32 * ORDINARY_KIB, LARGE_KIB);
		assert_eq!(LARGE_KIB / kib(16, 256, false), 6);
		// More than all together is still checked.
		assert_eq!(kib(16, 1_024, false), kib(16, 1_024, false).min(LARGE_KIB));
		assert_eq!(kib(16, 256, true), 0, "a rented worker opens nothing");
	}
}
