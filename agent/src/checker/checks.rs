//! The checks that the node requested from this agent, and their verdicts.

use super::{check::Checker, line::Agents};
use crate::{
	host::{
		clock::wall_ms,
		expiring::ExpiringMap,
		report::{self, Report},
	},
	peer::dial::Peer,
	trial::{
		hash::{Hash, key},
		job::Job,
	},
};
use codec::Encode;
use kaisar_primitives::{
	Verdict,
	agent::{Checked, Progress, SeatReply, SeatRequest},
};
use std::{io, path::Path, sync::Arc};
use tokio::sync::{Semaphore, watch};

/// Maximum number of checks that are kept: those of two rounds in which the operator has 20,000 seats, half
/// of a census with `MaxDue` = 40,000. A completed check takes 300 bytes, 12 MB in all. A check that waits
/// for a place or for its window takes up to 6 KiB, 240 MiB in all.
pub(super) const MAX_CHECKS: usize = 40_960;
/// Maximum number of workers that are visited at a time. Each takes a task and a connection, some 100 KB;
/// the memory for openings has its own bound ([`Checker`]). A worker that is never ready keeps its place
/// until the checker's patience ends, so there are more places than ready workers need.
const VISITS: usize = 4_096;

/// State of a check.
#[derive(Clone)]
enum CheckState {
	/// In progress, with the start of the bandwidth window once the node names it.
	Working(watch::Sender<Option<u64>>),
	Done(Checked),
	Failed(String),
}

impl CheckState {
	fn progress(&self) -> Progress<Checked> {
		match self {
			Self::Working(_) => Progress::Working,
			Self::Done(checked) => Progress::Done(checked.clone()),
			Self::Failed(error) => Progress::Failed(error.clone()),
		}
	}
}

/// All checks, under one lock.
pub struct Checks<A = Peer> {
	checker: Checker<A>,
	checks: ExpiringMap<Hash, CheckState>,
	/// Places for visits. A check takes one before it visits its worker; its deadline starts then.
	visits: Semaphore,
	report: Arc<Report>,
	/// True once the agent stops.
	stopping: watch::Receiver<bool>,
}

/// Formats a verdict in short.
fn in_words(verdict: &Verdict) -> String {
	match verdict {
		Verdict { online: false, .. } => "offline".into(),
		Verdict { service: false, .. } => "its customer's container does not answer".into(),
		Verdict { proof: false, .. } => "a false proof".into(),
		verdict => format!(
			"proved: GPU class {} × {}, tiers: CPU {}, memory {}, disk {}, bandwidth {}",
			verdict.gpu_class,
			verdict.gpu_count,
			verdict.cpu,
			verdict.memory,
			verdict.disk,
			match verdict.bandwidth {
				Verdict::NO_OPINION => "not measured".into(),
				tier => tier.to_string(),
			}
		),
	}
}

/// Returns the id of a check. It excludes the window, which the node names later than the rest.
fn id_of(request: &SeatRequest) -> Hash {
	let request = SeatRequest {
		window: None,
		..request.clone()
	};
	key("check", &[&request.encode()])
}

impl<A: Agents> Checks<A> {
	/// Restores the checks from before the last stop.
	pub fn new(
		data: &Path,
		checker: Checker<A>,
		report: Arc<Report>,
		stopping: watch::Receiver<bool>,
	) -> io::Result<Self> {
		let checks = ExpiringMap::new(data, "checks", MAX_CHECKS, |id| *id)?;
		checks.load(MAX_CHECKS, |_, (id, checked): (Hash, Checked)| {
			Some((id, CheckState::Done(checked)))
		});
		Ok(Self {
			checker,
			checks,
			visits: Semaphore::new(VISITS),
			report,
			stopping,
		})
	}

	/// Takes requests to check, and returns the progress of each.
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
		let id = id_of(&request);
		let rounds = self.checker.rounds();
		let expires = rounds.expiry(request.genesis, request.round, request.trial_seed);
		let mut checks = self.checks.lock();
		if let Some(check) = checks.get(&id) {
			if let CheckState::Working(window) = &check.value {
				// The first window that the node names stands.
				window.send_if_modified(|window| {
					let news = window.is_none() && request.window.is_some();
					*window = window.or(request.window);
					news
				});
			}
			return check.value.progress();
		}
		if checks.is_full() {
			// The node asks again, and checks expire until then.
			return Progress::Working;
		}
		let job = match Job::of_seat(&request) {
			Ok(job) => job,
			Err(error) => {
				let failed = CheckState::Failed(error.to_string());
				return checks.insert(id, expires, failed).value.progress();
			}
		};
		let window = watch::Sender::new(request.window);
		let named = window.subscribe();
		checks.insert(id, expires, CheckState::Working(window));
		drop(checks);
		// From here on, the trial's parts are stored.
		rounds.keep(&job, &request.trial_seed);
		tokio::spawn(self.clone().make(id, expires, job, request, named));
		Progress::Working
	}

	/// Makes a check, unless the agent stops first.
	async fn make(
		self: Arc<Self>,
		id: Hash,
		expires: u64,
		job: Job,
		request: SeatRequest,
		window: watch::Receiver<Option<u64>>,
	) {
		let mut stopping = self.stopping.clone();
		let place = self.visits.acquire();
		let checked = tokio::select! {
			checked = self.checker.check(&job, &request, window, place) => checked,
			_ = stopping.wait_for(|stopping| *stopping) => return,
		};
		let (worker, round) = (request.worker, request.round);
		let (checked, why) = match checked {
			Ok(checked) => checked,
			Err(why) => {
				tracing::error!(worker, round, "this agent gives no verdict: {why}");
				self.checks
					.lock()
					.insert(id, expires, CheckState::Failed(why));
				return;
			}
		};
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
			report::CompletedCheck {
				at,
				round,
				worker,
				verdict,
				why,
			},
		);
		let done = CheckState::Done(checked.clone());
		self.checks.lock().insert(id, expires, done);
		self.checks.store(&id, expires, &(id, checked));
	}

	/// Drops expired checks.
	pub fn sweep(&self) {
		self.checks.sweep(|_| false);
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{
		checker::check::tests::{Network, Worker, checker, pass},
		host::time::Time,
		peer::bandwidth::OwnLine,
	};
	use sp_core::{H256, sr25519};
	use std::time::Duration;

	fn request() -> SeatRequest {
		Worker::honest().request()
	}

	#[test]
	fn the_id_of_a_check_depends_on_its_whole_request_except_the_window() {
		let named = |change: fn(&mut SeatRequest)| {
			let mut request = request();
			change(&mut request);
			id_of(&request)
		};
		let id = named(|_| ());
		assert_eq!(named(|request| request.window = Some(7)), id);
		let others: [fn(&mut SeatRequest); 5] = [
			|request| request.trial_seed = H256::zero(),
			|request| request.open_seed = H256::repeat_byte(1),
			|request| request.root = [1; 32],
			|request| request.checker = sr25519::Public::from_raw([3; 32]).into(),
			|request| request.order = Some(1),
		];
		for other in others {
			assert_ne!(named(other), id);
		}
	}

	struct Asked {
		checks: Arc<Checks<Network>>,
		_stop: watch::Sender<bool>,
	}

	impl Asked {
		fn new(worker: &Arc<Worker>, time: &Time, dir: &Path) -> Self {
			let stop = watch::Sender::new(false);
			let checker = checker(worker, time, [1; 32], OwnLine::default(), dir);
			let checks = Checks::new(dir, checker, Arc::default(), stop.subscribe());
			Self {
				checks: Arc::new(checks.unwrap()),
				_stop: stop,
			}
		}

		fn progress(&self, request: &SeatRequest) -> Progress<Checked> {
			self.checks.check_one(request.clone())
		}

		/// Polls until the check is done.
		async fn done(&self, request: &SeatRequest) -> Checked {
			loop {
				match self.progress(request) {
					Progress::Done(checked) => return checked,
					Progress::Working => tokio::time::sleep(Duration::from_millis(1)).await,
					Progress::Failed(error) => panic!("{error}"),
				}
			}
		}
	}

	#[tokio::test]
	async fn a_window_that_is_named_later_belongs_to_the_same_check() {
		let dir = tempfile::tempdir().unwrap();
		let (time, worker) = (Time::driven(), Arc::new(Worker::honest()));
		let asked = Asked::new(&worker, &time, dir.path());
		let first = SeatRequest {
			full: true,
			..worker.request()
		};
		let named = |after_secs: u64| SeatRequest {
			window: Some(time.wall_ms() + after_secs * 1_000),
			..first.clone()
		};
		assert_eq!(asked.progress(&first), Progress::Working);
		// The worker is opened, and the check waits for its window.
		let opened = async {
			while worker.receipts() == 0 {
				tokio::task::yield_now().await;
			}
		};
		pass(&time, opened).await;
		assert_eq!(asked.progress(&first), Progress::Working);
		// The first window stands.
		assert_eq!(asked.progress(&named(100)), Progress::Working);
		let later = named(10_000_000);
		assert_eq!(asked.progress(&later), Progress::Working);
		let checked = pass(&time, asked.done(&later)).await;
		assert_eq!((checked.verdict.cpu, checked.verdict.bandwidth), (1, 2));
		assert_eq!(asked.progress(&first), Progress::Done(checked.clone()));
		assert_eq!(worker.receipts(), 1);
		// The verdict outlives a restart.
		let again = Asked::new(&worker, &time, dir.path());
		assert_eq!(again.progress(&first), Progress::Done(checked));
		assert_eq!(worker.receipts(), 1);
	}

	/// Returns requests for this number of seats.
	fn of_seats(worker: &Worker, seats: u16) -> impl Iterator<Item = SeatRequest> {
		let seat = |number: u16| {
			let mut key = [0; 32];
			key[..2].copy_from_slice(&number.to_le_bytes());
			sr25519::Public::from_raw(key).into()
		};
		let request = worker.request();
		(0..seats).map(move |number| SeatRequest {
			checker: seat(number),
			..request.clone()
		})
	}

	#[tokio::test]
	async fn workers_that_are_not_ready_do_not_block_visits_to_others() {
		let dir = tempfile::tempdir().unwrap();
		let time = Time::driven();
		let worker = Arc::new(Worker::never_opens());
		let asked = Asked::new(&worker, &time, dir.path());
		for request in of_seats(&worker, 500) {
			assert_eq!(asked.progress(&request), Progress::Working);
		}
		// The clock stands still.
		for _ in 0..10_000 {
			tokio::task::yield_now().await;
		}
		assert_eq!(worker.receipts(), 500);
		assert!(asked.checks.checker.is_all_memory_free());
	}

	#[tokio::test]
	async fn a_check_that_the_agent_cannot_make_fails_without_a_verdict() {
		let dir = tempfile::tempdir().unwrap();
		let (time, worker) = (Time::driven(), Arc::new(Worker::honest()));
		let asked = Asked::new(&worker, &time, dir.path());
		asked.checks.checker.computes_no_more();
		let request = worker.request();
		let progress = async {
			loop {
				match asked.progress(&request) {
					Progress::Working => tokio::time::sleep(Duration::from_millis(1)).await,
					progress => return progress,
				}
			}
		};
		let progress = pass(&time, progress).await;
		assert!(matches!(progress, Progress::Failed(_)), "{progress:?}");
	}

	#[tokio::test]
	async fn boundary_a_check_that_waits_takes_little_memory() {
		let dir = tempfile::tempdir().unwrap();
		let (time, worker) = (Time::driven(), Arc::new(Worker::honest()));
		let asked = Asked::new(&worker, &time, dir.path());
		let request = worker.request();
		let job = Job::of_seat(&request).unwrap();
		let (_named, window) = watch::channel(None);
		let id = id_of(&request);
		let waiting = asked.checks.clone().make(id, 0, job, request, window);
		let waiting = size_of_val(&waiting);
		assert!(waiting <= 6 << 10, "{waiting} bytes");
		let done = size_of::<(Hash, crate::host::expiring::Expiring<CheckState>)>();
		assert!(done <= 300, "{done} bytes");
	}
}
