//! Checks one worker: its receipt, its roots, the openings of each resource, and in a full check its
//! bandwidth.
//!
//! | behavior of the worker | finding |
//! | --- | --- |
//! | gives no receipt or no roots before the checker's patience ends | the worker is offline |
//! | says that its roots are lost ([`Refusal::Gone`]), or shows others than attested | nothing is shown |
//! | answers a resource's challenge with invalid openings, or has lost them | that resource is not shown |
//! | reads a challenge twice without an answer, or is not ready in time | that resource is not shown |
//! | opens data that contradicts its root | the proof is false |
//!
//! A check that this agent itself cannot make, for lack of memory or of a thread, fails without a verdict.
//!
//! The challenge is derived from the agent's secret, the root and the chain's randomness. It is the same in
//! each try and after a restart, so a worker that refuses it does not get another.

use super::{
	line::{Agents, Answer, Line, NoAnswer, NoBandwidth},
	rounds::Rounds,
	rules::{Attested, Protocol, Rules},
};
use crate::{
	host::time::Time,
	peer::{
		bandwidth::{MeasureWindow, Offer, OwnLine},
		dial::{MEMORY_TIME, Peer},
		wire::{ProofRequest, Refusal},
	},
	trial::{
		hash::Hash,
		job::Job,
		judge::Rates,
		part::Resource,
		proof::{Challenge, Roots, limit},
		sample::Reject,
		verdict::Proved,
	},
};
use anyhow::{Result, anyhow, bail, ensure};
use futures::stream::{FuturesUnordered, StreamExt};
use kaisar_primitives::{
	AgentSignature, Verdict,
	agent::{Checked, SeatRequest},
};
use sp_core::{Pair, ed25519};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
	sync::{OwnedSemaphorePermit, Semaphore, watch},
	task::JoinHandle,
	time::Instant,
};

/// Pause between the first two tries to reach a worker. It doubles with each try.
const RETRY: Duration = Duration::from_millis(500);
/// Longest pause between two tries: thousands of workers are visited at a time, and each try is a handshake.
const RETRY_MOST: Duration = Duration::from_secs(4);
/// Memory for all openings that are read and verified at a time, in KiB: 1 GiB. Openings take theirs when
/// their length is known and the bytes are about to come, so a worker that computes, or is not ready, holds
/// none.
pub const MEMORY_KIB: u32 = 1 << 20;
/// Part of that memory for openings above [`LARGE_KIB`]: half. They wait for each other.
pub const MEMORY_LARGE_KIB: u32 = MEMORY_KIB / 2;
/// Size of the openings of more than three GPUs, in KiB. At the slowest allowed pace they take long.
const LARGE_KIB: u32 = 16 << 10;
/// Number of times that a check waits [`MEMORY_TIME`] for memory before it fails.
const MEMORY_TRIES: u8 = 4;
/// Number of times that a worker may read a challenge without answering it.
const TRIES: u8 = 2;
/// Time from the opening of a window's streams to its start.
const LEAD: Duration = Duration::from_secs(3);
/// Time after a window in which a measurement ends.
const TRAIL: Duration = Duration::from_secs(2);

/// Memory for openings.
#[derive(Clone)]
struct Budget {
	all: Arc<Semaphore>,
	kib: u32,
	large: Arc<Semaphore>,
	large_kib: u32,
}

/// Memory that openings hold.
struct Held {
	_all: OwnedSemaphorePermit,
	_large: Option<OwnedSemaphorePermit>,
}

impl Budget {
	fn new(kib: u32, large_kib: u32) -> Self {
		Self {
			all: Arc::new(Semaphore::new(kib as usize)),
			kib,
			large: Arc::new(Semaphore::new(large_kib as usize)),
			large_kib,
		}
	}

	/// Takes memory for openings of this many bytes, in turn. `None` if they exceed all of the memory.
	async fn take(&self, bytes: usize) -> Option<Held> {
		let kib = u32::try_from(bytes.div_ceil(1_024)).ok()?;
		if kib > self.kib {
			return None;
		}
		let large = match kib {
			0..=LARGE_KIB => None,
			// Openings larger than this part take all of it.
			kib => {
				let large = self.large.clone();
				Some(
					large
						.acquire_many_owned(kib.min(self.large_kib))
						.await
						.ok()?,
				)
			}
		};
		let all = self.all.clone().acquire_many_owned(kib).await.ok()?;
		Some(Held {
			_all: all,
			_large: large,
		})
	}
}

/// A finding, and the milliseconds that its openings waited for memory.
type Settled = (u64, Finding);

/// Finding on openings whose length came.
#[derive(Debug)]
enum Finding {
	/// The marks of GPUs, or the reason for the rejection.
	Verified(Result<Vec<Hash>, Reject>),
	/// The openings did not come.
	Lost(NoAnswer),
	/// No memory became free for them in time.
	NoMemory,
	/// This agent cannot verify them.
	Failed(String),
}

/// The part of an agent that checks workers.
pub struct Checker<A = Peer> {
	agents: Arc<A>,
	/// Secret that challenges are derived from.
	secret: Hash,
	rounds: Arc<Rounds>,
	/// Permits to verify openings.
	computing: Arc<Semaphore>,
	memory: Budget,
	time: Time,
	rules: Arc<dyn Rules>,
	own_line: OwnLine,
	/// Time for a worker to serve a check.
	patience: Duration,
	/// Bandwidth over a relay counts. Always false, except in a test of the consequences.
	relayed_counts: bool,
}

/// State of a resource in a check.
#[derive(Debug)]
enum Opening {
	/// Not verified yet. The worker read the challenge without an answer this number of times.
	Open(u8),
	/// Being read and verified. The worker read the challenge without an answer this number of times before.
	Answered(u8, JoinHandle<Settled>),
	/// Verified. The GPUs have marks.
	Proved(Vec<Hash>),
	/// Not shown.
	Nothing(String),
	/// Contradicted by an opening.
	False(Reject),
}

/// Findings of a check so far, which stay between its tries.
#[derive(Default)]
struct Visit {
	receipt: Option<AgentSignature>,
	/// A rented worker serves its customer, as far as the check can tell.
	serves: bool,
	roots: Option<Roots>,
	/// Reason why the worker shows nothing.
	nothing: Option<String>,
	openings: BTreeMap<Resource, Opening>,
	/// Reason why the check was given up.
	gave_up: Option<String>,
	/// Reason why this agent cannot make the check.
	failed: Option<String>,
	/// Number of times that no memory was free for openings.
	no_memory: u8,
}

impl Visit {
	/// Returns whether the visit allows a verdict on the worker's resources.
	fn is_served(&self) -> bool {
		self.receipt.is_some() && (self.roots.is_some() || self.nothing.is_some())
	}

	/// Returns the opening that contradicts its root.
	fn contradiction(&self) -> Option<(Resource, Reject)> {
		self.openings
			.iter()
			.find_map(|(resource, opening)| match opening {
				Opening::False(reject) => Some((*resource, *reject)),
				_ => None,
			})
	}

	/// Returns the resources to open.
	fn pending(&self) -> Vec<Resource> {
		let pending = self.openings.iter();
		pending
			.filter(|(_, opening)| matches!(opening, Opening::Open(_)))
			.map(|(resource, _)| *resource)
			.collect()
	}

	/// Takes roots under the attested one, and decides which resources to open.
	fn take(&mut self, job: &Job, roots: Roots, full: bool) {
		let plan = job.plan();
		let claimed = |resource| match resource {
			Resource::Gpus => plan.gpus > 0,
			Resource::Processor => true,
			Resource::Disk => full && plan.groups > 0,
		};
		for resource in Resource::ALL
			.into_iter()
			.filter(|resource| claimed(*resource))
		{
			let opening = if !roots.has(resource) {
				Opening::Nothing("it has no root".into())
			} else if resource == Resource::Gpus && roots.sizes.gpus > plan.gpus {
				let (ran, planned) = (roots.sizes.gpus, plan.gpus);
				Opening::Nothing(format!("{ran} ran, but only {planned} are claimed"))
			} else {
				Opening::Open(0)
			};
			self.openings.insert(resource, opening);
		}
		self.roots = Some(roots);
	}

	/// Records the answer to the challenge of a resource. Fails if the checker must ask again.
	fn note(
		&mut self,
		resource: Resource,
		answer: Result<JoinHandle<Settled>, NoAnswer>,
	) -> Result<()> {
		let tries = match self.openings.get(&resource) {
			Some(Opening::Open(tries)) => *tries,
			_ => return Ok(()),
		};
		match answer {
			Ok(finding) => {
				let answered = Opening::Answered(tries, finding);
				self.openings.insert(resource, answered);
				Ok(())
			}
			Err(error) => self.note_lost(resource, tries, error),
		}
	}

	/// Records that openings did not come. Fails if the checker must ask again.
	fn note_lost(&mut self, resource: Resource, tries: u8, error: NoAnswer) -> Result<()> {
		let (opening, open) = match error {
			// The challenge stays the same, so the worker gains nothing.
			NoAnswer::Refused(Refusal::NotReady) => (Opening::Open(tries), Some(error)),
			NoAnswer::Refused(Refusal::Gone) | NoAnswer::Garbage(_) => {
				(Opening::Nothing(error.to_string()), None)
			}
			error if tries + 1 >= TRIES => {
				let why = format!(
					"the worker read its challenge {TRIES} times without an answer; last error: {error}"
				);
				(Opening::Nothing(why), None)
			}
			error => (Opening::Open(tries + 1), Some(error)),
		};
		self.openings.insert(resource, opening);
		match open {
			Some(error) => bail!("{resource}: {error}"),
			None => Ok(()),
		}
	}

	/// Waits until all openings that came are verified. Returns the longest wait for memory, in
	/// milliseconds. Fails if the checker must ask for some again.
	async fn settle(&mut self) -> (u64, Result<()>) {
		let (mut longest, mut open, mut no_memory) = (0, Ok(()), false);
		for resource in Resource::ALL {
			let Some(Opening::Answered(tries, finding)) = self.openings.get_mut(&resource) else {
				continue;
			};
			let tries = *tries;
			let settled = finding.await;
			let (waited, finding) =
				settled.unwrap_or_else(|error| (0, Finding::Failed(error.to_string())));
			longest = longest.max(waited);
			let opening = match finding {
				Finding::Verified(Ok(marks)) => Opening::Proved(marks),
				Finding::Verified(Err(reject @ (Reject::Size | Reject::Length))) => {
					Opening::Nothing(in_words(reject))
				}
				Finding::Verified(Err(reject)) => Opening::False(reject),
				Finding::Lost(error) => {
					if let Err(error) = self.note_lost(resource, tries, error) {
						open = Err(error);
					}
					continue;
				}
				Finding::NoMemory => {
					no_memory = true;
					open = Err(anyhow!("{resource}: this agent has no memory for them yet"));
					Opening::Open(tries)
				}
				Finding::Failed(why) => {
					let why = format!("this agent cannot verify {resource}: {why}");
					self.failed = Some(why.clone());
					Opening::Nothing(why)
				}
			};
			self.openings.insert(resource, opening);
		}
		if no_memory {
			self.no_memory += 1;
			if self.no_memory >= MEMORY_TRIES {
				self.failed = Some("this agent has no memory for openings".into());
			}
		}
		(longest, open)
	}

	/// Ends a check in which resources may still be open.
	fn give_up(&mut self, why: String) {
		for opening in self.openings.values_mut() {
			if matches!(opening, Opening::Open(_)) {
				*opening = Opening::Nothing(why.clone());
			}
		}
		self.gave_up = Some(why);
	}

	fn proved(&self) -> Proved {
		let proved = |resource| match self.openings.get(&resource) {
			Some(Opening::Proved(marks)) => Some(marks.clone()),
			_ => None,
		};
		Proved {
			gpus: proved(Resource::Gpus),
			processor: proved(Resource::Processor).is_some(),
			disk: proved(Resource::Disk).is_some(),
		}
	}

	/// Returns the reasons why claimed resources are not shown.
	fn remarks(&self) -> Vec<String> {
		let nothing = self.nothing.iter();
		let nothing = nothing.map(|why| format!("nothing is shown: {why}"));
		let openings = self.openings.iter();
		let openings = openings.filter_map(|(resource, opening)| match opening {
			Opening::Nothing(why) => Some(format!("nothing of {resource} is shown: {why}")),
			_ => None,
		});
		nothing.chain(openings).collect()
	}
}

/// Bandwidth of a worker, with a remark. `None` is no opinion.
#[derive(Default)]
struct Measured {
	rates: Option<Rates>,
	remark: Option<String>,
}

impl Measured {
	/// Returns a measurement that found no bandwidth.
	fn none(why: impl ToString) -> Self {
		Self {
			rates: Some(Rates::default()),
			remark: Some(format!("no bandwidth counts: {}", why.to_string())),
		}
	}

	/// Returns no opinion, since the checker could not measure.
	fn no_opinion(why: impl ToString) -> Self {
		Self {
			rates: None,
			remark: Some(format!("no opinion on the bandwidth: {}", why.to_string())),
		}
	}
}

impl<A: Agents> Checker<A> {
	/// Creates a checker that reaches workers by `agents` and derives its challenges from `secret`
	/// ([`secret_of`](super::rules::secret_of)).
	pub fn new(
		agents: Arc<A>,
		secret: Hash,
		rounds: Arc<Rounds>,
		computing: Arc<Semaphore>,
		time: Time,
		own_line: OwnLine,
		patience: Duration,
	) -> Self {
		Self {
			agents,
			secret,
			rounds,
			computing,
			memory: Budget::new(MEMORY_KIB, MEMORY_LARGE_KIB),
			time,
			rules: Arc::new(Protocol),
			own_line,
			patience,
			relayed_counts: false,
		}
	}

	/// Sets the memory for openings, in KiB, and whether bandwidth over a relay counts.
	pub fn bounded(mut self, memory_kib: u32, memory_large_kib: u32, relayed_counts: bool) -> Self {
		self.memory = Budget::new(memory_kib, memory_large_kib);
		self.relayed_counts = relayed_counts;
		self
	}

	/// Sets the rules.
	pub fn by(mut self, rules: Arc<dyn Rules>) -> Self {
		self.rules = rules;
		self
	}

	/// Returns the rounds under way.
	pub fn rounds(&self) -> &Rounds {
		&self.rounds
	}

	/// Checks one worker. Returns a verdict with its reasons, or the reason why this agent cannot make the
	/// check. Visits the worker once `place` resolves, and holds the place during the visit only. Measures
	/// bandwidth in the chain's window, whenever `window` names it.
	pub async fn check<R: Send>(
		&self,
		job: &Job,
		request: &SeatRequest,
		window: watch::Receiver<Option<u64>>,
		place: impl Future<Output = R> + Send,
	) -> Result<(Checked, String), String> {
		let visit = async {
			let _place = place.await;
			// Boxed, so that a check that waits for its place or its window takes little memory.
			Box::pin(self.visit(job, request)).await
		};
		let measure = self.measure(job, request, window);
		tokio::pin!(visit, measure);
		let mut measured = None;
		let visit = loop {
			tokio::select! {
				visit = &mut visit => break visit,
				done = &mut measure, if measured.is_none() => measured = Some(done),
			}
		};
		if let Some(why) = &visit.failed
			&& visit.contradiction().is_none()
		{
			return Err(why.clone());
		}
		// The bandwidth of a worker that is offline or has a false proof is not measured.
		let counts = visit.is_served() && visit.contradiction().is_none();
		let measured = match measured {
			None if counts => measure.await,
			measured => measured.unwrap_or_default(),
		};
		Ok(self.conclude(job, request, &visit, measured))
	}

	/// Visits a worker until all is found or the patience ends.
	async fn visit(&self, job: &Job, request: &SeatRequest) -> Visit {
		let mut deadline = self.time.now_ms() + self.patience.as_millis() as u64;
		let mut visit = Visit::default();
		let mut tries = 0u32;
		let mut last = String::from("the connection did not complete");
		loop {
			let mut line = None;
			let tried = self.try_visit(job, request, tries, &mut visit, &mut line);
			let tried = self.time.before_ms(deadline, tried).await;
			tries += 1;
			// Time that this agent itself needed does not count against the worker.
			let (waited, settled) = visit.settle().await;
			deadline += waited;
			if let Some(line) = line {
				line.close();
			}
			if visit.contradiction().is_some() || visit.failed.is_some() {
				return visit;
			}
			match tried.map(|tried| tried.and(settled)) {
				Some(Ok(())) => return visit,
				Some(Err(error)) => {
					// Logged at growing intervals, not at each try.
					if tries.is_power_of_two() {
						tracing::debug!(worker = request.worker, tries, "not yet: {error:#}");
					}
					last = format!("{error:#}");
				}
				None => (),
			}
			let retry = self.retry_after(tries);
			if self.time.now_ms() + retry.as_millis() as u64 >= deadline {
				let secs = self.patience.as_secs();
				visit.give_up(format!(
					"not served within {secs} s (tries: {tries}); the last try failed with: {last}"
				));
				return visit;
			}
			self.time.sleep(retry).await;
		}
	}

	/// Returns the pause after this number of tries, a small part of the patience.
	fn retry_after(&self, tries: u32) -> Duration {
		let most = (self.patience / 16).clamp(RETRY, RETRY_MOST);
		let doubled = RETRY.saturating_mul(1 << tries.saturating_sub(1).min(8));
		doubled.min(most)
	}

	/// Tries to complete a visit, after a number of earlier tries. An error means that the worker did not
	/// serve this time. The caller closes the line.
	async fn try_visit(
		&self,
		job: &Job,
		request: &SeatRequest,
		tries: u32,
		visit: &mut Visit,
		line: &mut Option<A::Line>,
	) -> Result<()> {
		let which = which_of(job, request);
		let line = line.insert(self.agents.connect(&job.agent).await?);
		let signature = line.receipt(&which).await?;
		let payload = which.receipt_payload();
		ensure!(
			ed25519::Pair::verify(&signature, payload, &job.agent),
			"the receipt is not the worker's"
		);
		visit.receipt = Some(signature);
		if request.rented {
			// Without a served order there is no container to ask.
			if let Some(order) = request.order {
				let answers = self.agents.container(request, order).await?;
				ensure!(answers, "the container closes the checker's stream");
			}
			visit.serves = true;
			return Ok(());
		}
		if visit.roots.is_none() {
			match line.roots(&which).await {
				Ok(roots) if roots.is_whole() && roots.root(job) == request.root => {
					// Roots that were not pushed before count as arrived now.
					self.rounds.hear_all(job, &request.trial_seed, &roots);
					visit.take(job, roots, request.full);
				}
				Ok(_) => visit.nothing = Some("its roots are not under the attested root".into()),
				Err(error @ (NoAnswer::Refused(Refusal::Gone) | NoAnswer::Garbage(_))) => {
					visit.nothing = Some(error.to_string());
				}
				Err(error) => bail!("roots: {error}"),
			}
		}
		let challenge = self
			.rules
			.challenge(&self.secret, &request.root, request.open_seed, tries);
		self.open_pending(job, request, challenge, line, visit)
			.await
	}

	/// Opens all pending resources concurrently.
	async fn open_pending(
		&self,
		job: &Job,
		request: &SeatRequest,
		challenge: Challenge,
		line: &A::Line,
		visit: &mut Visit,
	) -> Result<()> {
		let Some(roots) = visit.roots.clone() else {
			return Ok(());
		};
		let attested = Attested {
			job: job.clone(),
			trial_seed: request.trial_seed,
			root: request.root,
			roots,
		};
		let which = &which_of(job, request);
		let sizes = &attested.roots.sizes;
		let mut opening: FuturesUnordered<_> = visit
			.pending()
			.into_iter()
			.map(|resource| async move {
				let limit = limit(job, sizes, resource);
				let answer = line.open(which, resource, challenge, limit).await;
				(resource, answer)
			})
			.collect();
		let mut open = Ok(());
		// In the order of arrival: one that hangs until the patience ends does not delay the others.
		while let Some((resource, answer)) = opening.next().await {
			// Each is verified as soon as it is read, and does not wait for others while it holds memory.
			let answer =
				answer.map(|answer| self.take(attested.clone(), resource, challenge, answer));
			if let Err(error) = visit.note(resource, answer) {
				open = Err(error);
			}
		}
		open
	}

	/// Starts to read and verify openings whose length came, once memory for them is free.
	fn take(
		&self,
		attested: Attested,
		resource: Resource,
		challenge: Challenge,
		answer: <A::Line as Line>::Answer,
	) -> JoinHandle<Settled> {
		let rules = self.rules.clone();
		let (memory, time, computing) = (
			self.memory.clone(),
			self.time.clone(),
			self.computing.clone(),
		);
		let verify = move |bytes: &[u8]| rules.verify(&attested, resource, &challenge, bytes);
		tokio::spawn(async move {
			let asked = time.now_ms();
			let until = asked + MEMORY_TIME.as_millis() as u64;
			let held = time.before_ms(until, memory.take(answer.length())).await;
			let waited = time.now_ms() - asked;
			let finding = match held {
				Some(Some(held)) => read_and_verify(answer, held, &time, &computing, verify).await,
				Some(None) => {
					Finding::Failed("they are larger than all of its memory for openings".into())
				}
				None => Finding::NoMemory,
			};
			(waited, finding)
		})
	}

	/// Measures bandwidth in the window that the chain fixes for all seats. A worker that does not serve the
	/// window has no bandwidth. The checker has no opinion if its node does not name the window in time, or
	/// if its own line is full.
	async fn measure(
		&self,
		job: &Job,
		request: &SeatRequest,
		mut window: watch::Receiver<Option<u64>>,
	) -> Measured {
		let length = Duration::from_secs(job.bench.bandwidth_secs.into());
		if !request.full || request.rented {
			return Measured {
				rates: Some(Rates::default()),
				remark: None,
			};
		}
		if length.is_zero() {
			return Measured::no_opinion("the round does not measure bandwidth");
		}
		let (down, up) = (job.spec.download_mbps, job.spec.upload_mbps);
		let Some(offer) = Offer::for_claim(down, up, request.seats) else {
			return Measured::none("the claim is below the lowest tier");
		};
		let over = self
			.rounds
			.expiry(job.genesis, job.round, request.trial_seed);
		let named = async {
			let named = window.wait_for(Option::is_some).await;
			named.ok().and_then(|named| *named)
		};
		let Some(Some(start)) = self.time.before_ms(over, named).await else {
			return Measured::no_opinion("the node did not name the window");
		};
		let millis = |time: Duration| time.as_millis() as u64;
		// The first fifth does not count. A seat that joins later misses part of the rest.
		let latest = start.saturating_add(millis(length / 5));
		let (wall, now) = (self.time.wall_ms(), self.time.now_ms());
		if wall >= latest {
			return Measured::no_opinion(format!(
				"the node named the window {} ms too late",
				wall - latest
			));
		}
		// The system's time may be set meanwhile; the agent's clock is not affected.
		let at = |date: u64| now.saturating_add(date).saturating_sub(wall);
		let begin = at(start.saturating_sub(millis(LEAD)));
		let end = at(start.saturating_add(millis(length + TRAIL)));
		let (start, latest) = (at(start), at(latest));
		let begun = self.time.before_ms(over, self.time.sleep_until_ms(begin));
		if begun.await.is_none() {
			return Measured::no_opinion("the window begins after the round");
		}
		let Some(_taken) = self.own_line.take(&offer) else {
			return Measured::no_opinion("this agent's own line is full");
		};
		let measuring = async {
			loop {
				let now = self.time.now_ms();
				let starts = Instant::now() + Duration::from_millis(start.saturating_sub(now));
				let since = Duration::from_millis(now.saturating_sub(start));
				let window =
					MeasureWindow::new(starts.checked_sub(since).unwrap_or(starts), length);
				match Box::pin(self.try_measure(job, request, window, offer)).await {
					Err(NoBandwidth::NotServed(error))
						if latest > self.time.now_ms() + RETRY.as_millis() as u64 =>
					{
						tracing::debug!(worker = request.worker, "bandwidth: {error}");
						self.time.sleep(RETRY).await;
					}
					Err(error) => return Measured::none(error),
					Ok(rates) => {
						let Rates { down_mbps, up_mbps } = rates;
						let remark = format!(
							"{down_mbps}/{up_mbps} Mb/s measured down/up of {down}/{up} claimed"
						);
						return Measured {
							rates: Some(rates),
							remark: Some(remark),
						};
					}
				}
			}
		};
		let measured = self.time.before_ms(end, measuring).await;
		measured.unwrap_or_else(|| Measured::none("the worker did not serve the window"))
	}

	async fn try_measure(
		&self,
		job: &Job,
		request: &SeatRequest,
		window: MeasureWindow,
		offer: Offer,
	) -> Result<Rates, NoBandwidth> {
		let line = self.agents.connect(&job.agent).await;
		let line = line.map_err(|error| NoBandwidth::NotServed(NoAnswer::Lost(error)))?;
		let which = which_of(job, request);
		let rates = line.bandwidth(&which, window, offer, request.seats).await;
		line.close();
		match rates {
			Err(NoBandwidth::Relayed(rates)) if self.relayed_counts => Ok(rates),
			rates => rates,
		}
	}

	/// Concludes the verdict of a visit.
	fn conclude(
		&self,
		job: &Job,
		request: &SeatRequest,
		visit: &Visit,
		measured: Measured,
	) -> (Checked, String) {
		let receipt = visit.receipt;
		let gave_up = visit.gave_up.clone().unwrap_or_default();
		if request.rented && receipt.is_some() {
			let why = match request.order {
				_ if !visit.serves => gave_up,
				Some(order) => format!("it is rented, and the container of order {order} answers"),
				None => "it is rented and reachable".into(),
			};
			let verdict = present(job, request, visit.serves);
			return (Checked { verdict, receipt }, why);
		}
		if !visit.is_served() {
			let hello = match receipt {
				Some(_) => "it gave only its receipt",
				None => "it gave no receipt",
			};
			let why = format!(
				"{gave_up}; {hello}. If many workers are found offline, check this machine's own network"
			);
			let verdict = Verdict::OFFLINE;
			return (Checked { verdict, receipt }, why);
		}
		if let Some((resource, reject)) = visit.contradiction() {
			let verdict = Verdict {
				online: true,
				service: true,
				timed: true,
				..Verdict::OFFLINE
			};
			let why = format!(
				"the openings of {resource} contradict the attested root: {}",
				in_words(reject)
			);
			return (Checked { verdict, receipt }, why);
		}
		let proved = visit.proved();
		let roots = visit.roots.clone().unwrap_or_else(nothing);
		let arrivals = self.rounds.arrivals(job, &request.trial_seed, &roots);
		tracing::debug!(worker = request.worker, ?arrivals, "timed");
		let (mut verdict, remarks) = self.rules.judge(
			job,
			&roots,
			&proved,
			&arrivals,
			measured.rates,
			request.full,
		);
		// A worker that shows nothing needs no timing.
		verdict.timed |= proved.is_empty();
		let mut why = visit.remarks();
		why.extend(remarks);
		why.extend(measured.remark);
		if why.is_empty() {
			why.push("all claims are shown".into());
		}
		(Checked { verdict, receipt }, why.join("; "))
	}
}

/// Reads openings into the memory held for them, and verifies them on one thread.
async fn read_and_verify(
	answer: impl Answer,
	held: Held,
	time: &Time,
	computing: &Semaphore,
	verify: impl FnOnce(&[u8]) -> Result<Vec<Hash>, Reject> + Send + 'static,
) -> Finding {
	let bytes = match answer.read(time).await {
		Ok(bytes) => bytes,
		Err(error) => return Finding::Lost(error),
	};
	let Ok(_permit) = computing.acquire().await else {
		return Finding::Failed("it is shutting down".into());
	};
	let verified = tokio::task::spawn_blocking(move || {
		let verified = verify(&bytes);
		drop((bytes, held));
		verified
	});
	match verified.await {
		Ok(verified) => Finding::Verified(verified),
		Err(error) => {
			tracing::error!("cannot verify openings: {error}");
			Finding::Failed(error.to_string())
		}
	}
}

fn which_of(job: &Job, request: &SeatRequest) -> ProofRequest {
	ProofRequest {
		genesis: job.genesis,
		round: job.round,
		seed: request.trial_seed,
		worker: job.worker,
		checker: request.checker.clone(),
	}
}

/// Returns the roots of a worker that shows nothing.
fn nothing() -> Roots {
	Roots {
		sizes: Default::default(),
		gpus: Vec::new(),
		processor: [0; 32],
		disk: [0; 32],
	}
}

/// Returns the verdict on a rented worker that is reachable. It ran no trial.
fn present(job: &Job, request: &SeatRequest, service: bool) -> Verdict {
	Verdict {
		online: true,
		service,
		timed: true,
		proof: request.root == job.rented_root(),
		..Verdict::OFFLINE
	}
}

/// Formats a rejection.
fn in_words(reject: Reject) -> String {
	match reject {
		Reject::Size => "its sizes are out of range".into(),
		Reject::Length => "the openings have the wrong length".into(),
		Reject::Root => "the opened roots differ".into(),
		Reject::Place(kind) => format!("a sample is at the wrong place ({kind:?})"),
		Reject::Wrong(kind) => format!("a sample was computed wrongly ({kind:?})"),
	}
}

#[cfg(test)]
pub(super) mod tests;
