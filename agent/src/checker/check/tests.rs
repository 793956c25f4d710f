use super::*;
use crate::{
	checker::rounds::{MAX_HEARD, MAX_HEARD_EACH},
	peer::wire::Push,
	trial::{
		memory::MappedMemory,
		part::Part,
		processor,
		verdict::{
			judge,
			tests::{SEED, job as any_job},
		},
	},
};
use codec::Encode;
use kaisar_math::ClassReference;
use kaisar_primitives::{AgentKey, BenchParams, OrderId, WorkerSpec, agent::RoundStart};
use parking_lot::Mutex;
use sp_core::{H256, sr25519};
use std::{
	path::Path,
	sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A request to a worker's agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
	Connection,
	Receipt,
	Roots,
	Open(Resource, Challenge),
	Bandwidth(u8),
}

/// Behavior of a worker: a reason not to answer the last of these requests.
type Manner = Box<dyn Fn(&[Asked]) -> Option<NoAnswer> + Send + Sync>;

/// A worker's agent in memory, whose lanes ran.
pub struct Worker {
	pair: ed25519::Pair,
	job: Job,
	roots: Roots,
	lanes: processor::Proof,
	manner: Manner,
	/// Changes openings in transit.
	spoil: fn(&mut Vec<u8>),
	/// Resource for whose openings the checker waits.
	hangs: Option<Resource>,
	asked: Mutex<Vec<Asked>>,
	container: bool,
	/// Number of openings being read, and its maximum.
	reading: Arc<(AtomicUsize, AtomicUsize)>,
}

fn pair() -> ed25519::Pair {
	ed25519::Pair::from_seed(&[7; 32])
}

/// A trial at small sizes, of a worker with four cores and two GPUs.
fn job() -> Job {
	Job {
		agent: pair().public(),
		spec: WorkerSpec {
			cpu_cores: 4,
			memory_gb: 8,
			gpu_class: 1,
			gpu_count: 2,
			download_mbps: 400,
			upload_mbps: 300,
			..WorkerSpec::default()
		},
		bench: BenchParams {
			n: 64,
			turns: 1,
			window_mib: 1,
			stages: 4,
			memory_mib: 1,
			disk_mib: 1,
			reads: 1,
			bandwidth_secs: 10,
		},
		reference: Some(ClassReference::LEAST),
		..any_job()
	}
}

impl Worker {
	/// Creates an honest worker.
	pub fn honest() -> Self {
		Self::new(|_| None)
	}

	fn new(manner: impl Fn(&[Asked]) -> Option<NoAnswer> + Send + Sync + 'static) -> Self {
		let job = job();
		let sizes = job.plan();
		let mut memory = MappedMemory::new(sizes.pages).unwrap();
		assert!(memory.fill(&job.base(), || true));
		let (base, start, size) = (job.base(), job.start(&SEED), job.processor(&sizes));
		let lanes = processor::Proof::run(&base, &start, size, memory, || true).unwrap();
		Self {
			pair: pair(),
			roots: Roots {
				gpus: vec![[0; 32]; sizes.gpus.into()],
				sizes,
				processor: lanes.root(),
				disk: [0; 32],
			},
			job,
			lanes,
			manner: Box::new(manner),
			spoil: |_| (),
			hangs: None,
			asked: Mutex::default(),
			container: true,
			reading: Arc::default(),
		}
	}

	/// Creates a worker that starts to open its lanes and never ends.
	pub fn never_opens() -> Self {
		Self {
			hangs: Some(Resource::Processor),
			..Self::honest()
		}
	}

	/// Returns the request to check it.
	pub fn request(&self) -> SeatRequest {
		let job = &self.job;
		SeatRequest {
			genesis: job.genesis,
			round: job.round,
			seed: job.seed,
			trial_seed: SEED,
			worker: job.worker,
			agent: job.agent,
			spec: job.spec,
			bench: job.bench,
			reference: job.reference,
			root: self.roots.root(job),
			open_seed: H256::repeat_byte(8),
			checker: sr25519::Public::from_raw([0; 32]).into(),
			seats: 5,
			full: false,
			window: None,
			rented: false,
			order: None,
		}
	}

	/// Records a request, and fails by the worker's behavior.
	fn ask(&self, asked: Asked) -> Result<(), NoAnswer> {
		let mut all = self.asked.lock();
		all.push(asked);
		(self.manner)(&all).map_or(Ok(()), Err)
	}

	/// Returns the number of requests for its receipt.
	pub fn receipts(&self) -> usize {
		let asked = self.asked.lock();
		asked
			.iter()
			.filter(|asked| **asked == Asked::Receipt)
			.count()
	}

	/// Returns the challenges that it has read.
	fn challenges(&self) -> Vec<Challenge> {
		let asked = self.asked.lock();
		let challenge = |asked: &Asked| match asked {
			Asked::Open(_, challenge) => Some(*challenge),
			_ => None,
		};
		asked.iter().filter_map(challenge).collect()
	}
}

/// A connection to it.
pub struct Here(Arc<Worker>);

/// A network with one worker's agent.
pub struct Network(Arc<Worker>);

impl Agents for Network {
	type Line = Here;

	async fn connect(&self, _: &AgentKey) -> Result<Here> {
		self.0.ask(Asked::Connection)?;
		Ok(Here(self.0.clone()))
	}

	async fn container(&self, _: &SeatRequest, _: OrderId) -> Result<bool> {
		Ok(self.0.container)
	}
}

/// Openings in memory.
pub struct Sent(Vec<u8>, Arc<(AtomicUsize, AtomicUsize)>);

impl Answer for Sent {
	fn length(&self) -> usize {
		self.0.len()
	}

	async fn read(self, time: &Time) -> Result<Vec<u8>, NoAnswer> {
		let (reading, most) = &*self.1;
		most.fetch_max(reading.fetch_add(1, SeqCst) + 1, SeqCst);
		time.sleep(Duration::from_secs(1)).await;
		reading.fetch_sub(1, SeqCst);
		Ok(self.0)
	}
}

impl Line for Here {
	type Answer = Sent;

	async fn receipt(&self, which: &ProofRequest) -> Result<AgentSignature, NoAnswer> {
		self.0.ask(Asked::Receipt)?;
		Ok(self.0.pair.sign(&which.receipt_payload()))
	}

	async fn roots(&self, _: &ProofRequest) -> Result<Roots, NoAnswer> {
		self.0.ask(Asked::Roots)?;
		Ok(self.0.roots.clone())
	}

	async fn open(
		&self,
		_: &ProofRequest,
		resource: Resource,
		challenge: Challenge,
		limit: usize,
	) -> Result<Sent, NoAnswer> {
		let worker = &self.0;
		worker.ask(Asked::Open(resource, challenge))?;
		if worker.hangs == Some(resource) {
			std::future::pending::<()>().await;
		}
		let mut bytes = Vec::new();
		if resource == Resource::Processor {
			let draw = challenge.draw(&worker.job, &SEED, &worker.roots.root(&worker.job));
			worker.lanes.open(&draw, &mut bytes);
		}
		(worker.spoil)(&mut bytes);
		assert!(bytes.len() <= limit);
		Ok(Sent(bytes, worker.reading.clone()))
	}

	async fn bandwidth(
		&self,
		which: &ProofRequest,
		_: MeasureWindow,
		_: Offer,
		_: u8,
	) -> Result<Rates, NoBandwidth> {
		let seat = which.checker.encode()[1];
		let asked = self.0.ask(Asked::Bandwidth(seat));
		asked.map_err(NoBandwidth::NotServed)?;
		Ok(Rates {
			down_mbps: 2_000,
			up_mbps: 2_000,
		})
	}

	fn close(&self) {}
}

/// Creates a checker of a worker whose trial starts now, with state in `dir`.
pub fn checker(
	worker: &Arc<Worker>,
	time: &Time,
	secret: Hash,
	own_line: OwnLine,
	dir: &Path,
) -> Checker<Network> {
	let rounds = Arc::new(Rounds::new(dir, time.clone(), MAX_HEARD, MAX_HEARD_EACH).unwrap());
	rounds.begin(RoundStart {
		genesis: worker.job.genesis,
		round: worker.job.round,
		seed: worker.job.seed,
		trial_seed: SEED,
		late: false,
		keep_ms: 100_000_000,
	});
	Checker::new(
		Arc::new(Network(worker.clone())),
		secret,
		rounds,
		Arc::new(Semaphore::new(2)),
		time.clone(),
		own_line,
		// A second of this clock is a millisecond.
		Duration::from_secs(30_000),
	)
}

impl Checker<Network> {
	/// Returns whether no openings are read or verified.
	pub fn is_all_memory_free(&self) -> bool {
		self.memory.all.available_permits() == self.memory.kib as usize
			&& self.memory.large.available_permits() == self.memory.large_kib as usize
	}

	/// Stops the verification of openings from now on.
	pub fn computes_no_more(&self) {
		self.computing.close();
	}
}

/// Lets time pass until some work is done.
pub async fn pass<T>(time: &Time, work: impl Future<Output = T>) -> T {
	let pass = async {
		loop {
			tokio::time::sleep(Duration::from_millis(1)).await;
			time.advance(Duration::from_secs(1));
		}
	};
	tokio::select! {
		biased;
		output = work => output,
		() = pass => unreachable!("time does not end"),
	}
}

/// A checker's agent with a clock that stands still, and its folder.
struct World {
	time: Time,
	worker: Arc<Worker>,
	checker: Checker<Network>,
	_dir: tempfile::TempDir,
}

impl World {
	fn new(worker: Worker) -> Self {
		Self::with(
			Arc::new(worker),
			Time::driven(),
			[1; 32],
			OwnLine::default(),
		)
	}

	fn with(worker: Arc<Worker>, time: Time, secret: Hash, own_line: OwnLine) -> Self {
		let dir = tempfile::tempdir().unwrap();
		let checker = checker(&worker, &time, secret, own_line, dir.path());
		Self {
			time,
			worker,
			checker,
			_dir: dir,
		}
	}

	/// Does the same with an impatient checker.
	fn impatient(mut self) -> Self {
		self.checker.patience = Duration::from_secs(60);
		self
	}

	/// Lets time pass until some work is done.
	async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
		pass(&self.time, work).await
	}

	async fn check(&self) -> (Verdict, String) {
		self.check_with(self.worker.request()).await
	}

	async fn check_with(&self, request: SeatRequest) -> (Verdict, String) {
		let (_named, window) = watch::channel(request.window);
		let job = Job::of_seat(&request).unwrap();
		let check = self.checker.check(&job, &request, window, async {});
		let (checked, why) = self.pass(check).await.unwrap();
		(checked.verdict, why)
	}

	/// Memory for the openings of one worker's lanes at a time.
	fn narrow(mut self) -> Self {
		let worker = &self.worker;
		let request = worker.request();
		// The openings' length depends on the draw.
		let challenge = Challenge::new(&self.checker.secret, &request.root, request.open_seed);
		let draw = challenge.draw(&worker.job, &SEED, &request.root);
		let mut openings = Vec::new();
		worker.lanes.open(&draw, &mut openings);
		let kib = openings.len().div_ceil(1_024) as u32;
		self.checker.memory = Budget::new(kib, kib);
		self
	}
}

fn lost() -> Option<NoAnswer> {
	Some(NoAnswer::Lost(anyhow::anyhow!("reset")))
}

fn refused(refusal: Refusal) -> Option<NoAnswer> {
	Some(NoAnswer::Refused(refusal))
}

/// Returns whether the worker is online, has no false proof, and shows these tiers of processor and memory.
fn shows(verdict: &Verdict, cpu: u8, memory: u8) -> bool {
	verdict.online
		&& verdict.service
		&& verdict.proof
		&& verdict.timed
		&& (verdict.cpu, verdict.memory) == (cpu, memory)
}

#[tokio::test]
async fn an_honest_worker_shows_what_it_ran() {
	let world = World::new(Worker::honest());
	let (verdict, why) = world.check().await;
	assert!(shows(&verdict, 1, 1), "{verdict:?} {why}");
	assert_eq!((verdict.gpu_class, verdict.gpu_count), (0, 0));
	assert!(
		why.contains("nothing of the GPUs is shown: it has no root"),
		"{why}"
	);
}

#[tokio::test]
async fn a_worker_that_refuses_draws_it_does_not_like_gets_no_other() {
	// It looks at the drawn places, and answers one draw of 128.
	let likes = |challenge: &Challenge| challenge.nonce[0] < 2;
	let picky = move |asked: &[Asked]| match asked.last() {
		Some(Asked::Open(_, challenge)) if !likes(challenge) => lost(),
		_ => None,
	};
	let world = World::new(Worker::new(picky));
	let (verdict, why) = world.check().await;
	assert!(shows(&verdict, 0, 0), "{verdict:?} {why}");
	assert!(why.contains("2 times without an answer"), "{why}");
	// The checker's agent restarts with the same key.
	let again = World::with(
		world.worker.clone(),
		Time::driven(),
		[1; 32],
		OwnLine::default(),
	);
	again.check().await;
	let challenges = world.worker.challenges();
	assert_eq!(challenges.len(), 4);
	assert!(
		challenges
			.iter()
			.all(|challenge| *challenge == challenges[0])
	);
	assert!(!likes(&challenges[0]), "the draw is a disliked one");
	// Another agent has its own draw.
	let other = World::with(
		world.worker.clone(),
		Time::driven(),
		[2; 32],
		OwnLine::default(),
	);
	other.check().await;
	assert_ne!(world.worker.challenges()[4], challenges[0]);
}

#[tokio::test]
async fn a_lost_connection_and_a_busy_worker_are_tried_again() {
	// Once lost, then busy for a hundred tries.
	let busy = |asked: &[Asked]| match asked.last() {
		Some(Asked::Open(..)) => {
			let opens = asked
				.iter()
				.filter(|asked| matches!(asked, Asked::Open(..)));
			match opens.count() {
				1 => lost(),
				2..=100 => refused(Refusal::NotReady),
				_ => None,
			}
		}
		// Before its challenge is read nothing counts.
		_ if asked.len() < 40 => lost(),
		_ => None,
	};
	let world = World::new(Worker::new(busy));
	let (verdict, why) = world.check().await;
	assert!(shows(&verdict, 1, 1), "{verdict:?} {why}");
	assert_eq!(world.worker.challenges().len(), 101);
}

#[tokio::test]
async fn a_worker_that_is_never_ready_shows_nothing_once_patience_is_over() {
	let never = |asked: &[Asked]| match asked.last() {
		Some(Asked::Open(..)) => refused(Refusal::NotReady),
		_ => None,
	};
	let world = World::new(Worker::new(never)).impatient();
	let (verdict, why) = world.check().await;
	assert!(shows(&verdict, 0, 0), "{verdict:?} {why}");
	assert!(why.contains("within 60 s"), "{why}");
}

#[tokio::test]
async fn a_worker_that_lost_its_proof_shows_nothing_and_has_not_lied() {
	// It restarted before the openings, and lost its roots or its lanes.
	let forgets = |resource: bool| {
		move |asked: &[Asked]| match asked.last() {
			Some(Asked::Open(..)) if resource => refused(Refusal::Gone),
			Some(Asked::Roots) if !resource => refused(Refusal::Gone),
			_ => None,
		}
	};
	for resource in [true, false] {
		let world = World::new(Worker::new(forgets(resource)));
		let (verdict, why) = world.check().await;
		assert!(shows(&verdict, 0, 0), "{verdict:?} {why}");
		// At once.
		let asked = world.worker.asked.lock();
		let connections = asked.iter().filter(|asked| **asked == Asked::Connection);
		assert_eq!(connections.count(), 1);
	}
}

#[tokio::test]
async fn other_roots_than_the_attested_ones_and_garbage_show_nothing() {
	let world = World::new(Worker::honest());
	let request = SeatRequest {
		root: [9; 32],
		..world.worker.request()
	};
	let (verdict, why) = world.check_with(request).await;
	assert!(shows(&verdict, 0, 0), "{verdict:?} {why}");
	assert_eq!(world.worker.challenges(), []);

	let garbage = |asked: &[Asked]| match asked.last() {
		Some(Asked::Open(..)) => Some(NoAnswer::Garbage(anyhow::anyhow!("no message"))),
		_ => None,
	};
	let spoils: [fn(&mut Vec<u8>); 3] = [
		|bytes| bytes.truncate(bytes.len() - 1),
		|bytes| bytes.push(0),
		|bytes| bytes.clear(),
	];
	let mut workers = vec![Worker::new(garbage)];
	workers.extend(spoils.map(|spoil| Worker {
		spoil,
		..Worker::honest()
	}));
	for worker in workers {
		let world = World::new(worker);
		let (verdict, why) = world.check().await;
		assert!(shows(&verdict, 0, 0), "{verdict:?} {why}");
		assert_eq!(world.worker.challenges().len(), 1);
	}
}

#[tokio::test]
async fn an_opening_that_contradicts_its_root_is_a_false_proof() {
	let world = World::new(Worker {
		spoil: |bytes| bytes[5] ^= 1,
		..Worker::honest()
	});
	let (verdict, why) = world.check().await;
	assert!(verdict.online && verdict.service && !verdict.proof, "{why}");
	assert_eq!((verdict.cpu, verdict.memory), (0, 0));
	assert!(why.contains("contradict the attested root"), "{why}");
}

#[tokio::test]
async fn a_resource_that_is_not_opened_takes_none_with_it() {
	// Its GPUs have roots, and are never opened.
	let silent = |asked: &[Asked]| match asked.last() {
		Some(Asked::Open(Resource::Gpus, _)) => lost(),
		_ => None,
	};
	let mut worker = Worker::new(silent);
	worker.roots.gpus = vec![[5; 32]; 2];
	let world = World::new(worker);
	let (verdict, why) = world.check().await;
	assert!(
		shows(&verdict, 1, 1) && verdict.gpu_class == 0,
		"{verdict:?} {why}"
	);
	assert!(
		why.contains("nothing of the GPUs is shown: the worker read"),
		"{why}"
	);
	// The lanes were opened once.
	assert_eq!(world.worker.challenges().len(), 3);

	// The GPUs' openings let the checker wait.
	let mut worker = Worker::honest();
	worker.roots.gpus = vec![[5; 32]; 2];
	worker.hangs = Some(Resource::Gpus);
	let world = World::new(worker).impatient();
	let (verdict, why) = world.check().await;
	assert!(
		shows(&verdict, 1, 1) && verdict.gpu_class == 0,
		"{verdict:?} {why}"
	);
	assert!(
		why.contains("nothing of the GPUs is shown: not served within 60 s (tries: 1)"),
		"{why}"
	);
}

#[tokio::test]
async fn boundary_more_gpus_than_are_claimed_are_not_opened() {
	for (gpus, opened) in [(2, 2), (3, 1)] {
		let mut worker = Worker::honest();
		worker.roots.gpus = vec![[5; 32]; usize::from(gpus)];
		worker.roots.sizes.gpus = gpus;
		let world = World::new(worker);
		world.check().await;
		assert_eq!(world.worker.challenges().len(), opened, "{gpus} GPUs");
	}
}

#[tokio::test]
async fn a_worker_without_receipt_or_roots_is_offline() {
	for (silent, receipt) in [
		(Asked::Connection, false),
		(Asked::Receipt, false),
		(Asked::Roots, true),
	] {
		let manner = move |asked: &[Asked]| match asked.last() {
			Some(last) if *last == silent => refused(Refusal::NotServed),
			_ => None,
		};
		let world = World::new(Worker::new(manner)).impatient();
		let request = world.worker.request();
		let (_named, window) = watch::channel(None);
		let check = world
			.checker
			.check(&world.worker.job, &request, window, async {});
		let (checked, why) = world.pass(check).await.unwrap();
		assert_eq!(checked.verdict, Verdict::OFFLINE, "{why}");
		assert_eq!(checked.receipt.is_some(), receipt, "{why}");
	}
}

#[tokio::test]
async fn a_rented_worker_answers_for_its_container() {
	for container in [true, false] {
		let world = World::new(Worker {
			container,
			..Worker::honest()
		});
		let request = SeatRequest {
			rented: true,
			order: Some(3),
			root: world.worker.job.rented_root(),
			..world.worker.request()
		};
		let (verdict, why) = world.impatient().check_with(request).await;
		assert!(verdict.online && verdict.proof, "{why}");
		assert_eq!(verdict.service, container, "{why}");
	}
}

#[tokio::test]
async fn boundary_openings_wait_for_memory_in_turn_and_give_it_back() {
	let world = World::new(Worker::honest()).narrow();
	let request = world.worker.request();
	let check = || async {
		let (_named, window) = watch::channel(None);
		let check = world
			.checker
			.check(&world.worker.job, &request, window, async {});
		check.await.unwrap()
	};
	// The real clock governs their computation.
	let slowly = async {
		loop {
			tokio::time::sleep(Duration::from_millis(1)).await;
			world.time.advance(Duration::from_millis(10));
		}
	};
	let checks = tokio::select! {
		checks = futures::future::join_all((0..5).map(|_| check())) => checks,
		() = slowly => unreachable!(),
	};
	for (checked, why) in checks {
		assert!(shows(&checked.verdict, 1, 1), "{:?} {why}", checked.verdict);
	}
	assert_eq!(world.worker.reading.1.load(SeqCst), 1);
	assert!(world.checker.is_all_memory_free());
}

#[tokio::test]
async fn a_wait_for_memory_is_not_the_workers_time() {
	// Longer than the patience, and shorter than the checker's own time.
	for (secs, comes) in [(100, true), (1_000, false)] {
		let world = World::new(Worker::honest()).narrow().impatient();
		let all = world.checker.memory.kib as usize * 1_024;
		let taken = world.checker.memory.take(all).await;
		assert!(taken.is_some());
		let free = async {
			world.time.sleep(Duration::from_secs(secs)).await;
			drop(taken);
			std::future::pending::<()>().await;
		};
		let request = world.worker.request();
		let (_named, window) = watch::channel(None);
		let check = world
			.checker
			.check(&world.worker.job, &request, window, async {});
		let checked = tokio::select! {
			checked = world.pass(check) => checked,
			() = free => unreachable!(),
		};
		match checked {
			Ok((checked, why)) => {
				let verdict = checked.verdict;
				assert!(comes && shows(&verdict, 1, 1), "{secs} {verdict:?} {why}");
			}
			Err(why) => assert!(!comes && why.contains("no memory"), "{secs} {why}"),
		}
	}
}

#[tokio::test]
async fn boundary_openings_above_all_memory_are_not_read() {
	let memory = Budget::new(40 << 10, 20 << 10);
	assert!(memory.take((40 << 20) + 1).await.is_none());
	let all = memory.take(40 << 20).await;
	assert!(all.is_some() && memory.all.available_permits() == 0);
	drop(all);
	// Large ones leave room for others.
	let _large = memory.take(20 << 20).await;
	let others = memory.take(LARGE_KIB as usize * 1_024).await;
	assert!(others.is_some());
	let second = memory.take(17 << 20);
	let waits = futures::FutureExt::now_or_never(second);
	assert!(waits.is_none());
}

/// A request of a full check by a seat, with a window 1,000 s from now.
fn full(world: &World, seat: u8) -> SeatRequest {
	SeatRequest {
		full: true,
		window: Some(world.time.wall_ms() + 1_000_000),
		checker: sr25519::Public::from_raw([seat; 32]).into(),
		..world.worker.request()
	}
}

/// Makes full checks of five seats at the same time, and returns the tiers of bandwidth that they find.
async fn five_seats(world: &World) -> Vec<u8> {
	let checks = (0..5).map(|seat| {
		let request = full(world, seat);
		async move {
			let (_named, window) = watch::channel(request.window);
			let check = world
				.checker
				.check(&world.worker.job, &request, window, async {});
			check.await.unwrap().0.verdict.bandwidth
		}
	});
	world.pass(futures::future::join_all(checks)).await
}

#[tokio::test]
async fn all_seats_measure_in_the_window_and_one_that_is_not_served_then_finds_nothing() {
	let world = World::new(Worker::honest());
	assert_eq!(five_seats(&world).await, [2; 5]);

	// A worker that serves one seat after the other, 12 s each.
	let time = Time::driven();
	let window = time.wall_ms() + 1_000_000;
	let clock = time.clone();
	let one_by_one = move |asked: &[Asked]| match asked.last() {
		Some(Asked::Bandwidth(seat)) => {
			let turn = clock.wall_ms().saturating_sub(window) / 12_000;
			(turn != u64::from(*seat)).then_some(NoAnswer::Refused(Refusal::NotServed))
		}
		_ => None,
	};
	let worker = Arc::new(Worker::new(one_by_one));
	let world = World::with(worker, time, [1; 32], OwnLine::default());
	assert_eq!(five_seats(&world).await, [2, 0, 0, 0, 0]);
	// It ends with the window.
	assert!(world.time.wall_ms() < window + 24_000);
}

#[tokio::test]
async fn a_checker_that_cannot_measure_has_no_opinion() {
	// Its node never names the window.
	let world = World::new(Worker::honest());
	let request = SeatRequest {
		window: None,
		..full(&world, 0)
	};
	world.time.advance(Duration::from_secs(99_000));
	let (verdict, why) = world.check_with(request).await;
	assert_eq!(verdict.bandwidth, Verdict::NO_OPINION, "{why}");
	assert!(shows(&verdict, 1, 1), "{why}");
	let world = World::new(Worker::honest());
	world.time.advance(Duration::from_secs(99_000));
	// Or the node names it after the round, or names one that has passed.
	for window in [u64::MAX, 0] {
		let request = SeatRequest {
			window: Some(window),
			..full(&world, 0)
		};
		let (verdict, why) = world.check_with(request).await;
		assert_eq!(verdict.bandwidth, Verdict::NO_OPINION, "{why}");
	}
	// Or when a fifth of it has passed.
	for (late_ms, expected) in [(1_999, 2), (2_000, Verdict::NO_OPINION)] {
		let request = SeatRequest {
			window: Some(world.time.wall_ms() - late_ms),
			..full(&world, 0)
		};
		let (verdict, why) = world.check_with(request).await;
		assert_eq!(verdict.bandwidth, expected, "{why}");
	}
	// Its own line carries two seats' parts of 75 Mb/s down, and 56 back.
	let own_line = OwnLine::of_mbps(160, 160);
	let world = World::with(world.worker.clone(), Time::driven(), [1; 32], own_line);
	let taken = world
		.checker
		.own_line
		.take(&Offer::for_claim(400, 300, 5).unwrap());
	assert!(taken.is_some());
	let (verdict, _) = world.check_with(full(&world, 0)).await;
	assert_eq!(verdict.bandwidth, 2);
	let more = world
		.checker
		.own_line
		.take(&Offer::for_claim(400, 300, 5).unwrap());
	assert!(more.is_some());
	let (verdict, why) = world.check_with(full(&world, 0)).await;
	assert_eq!(verdict.bandwidth, Verdict::NO_OPINION, "{why}");
}

#[tokio::test]
async fn a_check_that_waits_for_its_window_holds_no_room() {
	let world = World::new(Worker::honest());
	let request = SeatRequest {
		window: None,
		..full(&world, 0)
	};
	let (named, window) = watch::channel(None);
	let places = Semaphore::new(1);
	let check = world
		.checker
		.check(&world.worker.job, &request, window, places.acquire());
	let name = async {
		// The lanes are opened, and the place is free again.
		while world.worker.challenges().is_empty() {
			tokio::task::yield_now().await;
		}
		drop(places.acquire().await);
		named.send_replace(Some(world.time.wall_ms() + 100_000));
	};
	let (checked, ()) = world.pass(futures::future::join(check, name)).await;
	let (checked, why) = checked.unwrap();
	assert!(
		shows(&checked.verdict, 1, 1) && checked.verdict.bandwidth == 2,
		"{why}"
	);
}

#[tokio::test]
async fn sizes_of_production_are_judged_by_a_driven_clock_while_small_ones_are_computed() {
	for (secs, cores) in [(12, 40), (16, 28), (20, 22), (21, 0)] {
		let world = World::new(Worker::honest());
		let worker = &world.worker;
		let trial = crate::peer::wire::Trial {
			genesis: worker.job.genesis,
			round: worker.job.round,
			seed: SEED,
			worker: worker.job.worker,
		};
		world.time.advance(Duration::from_secs(secs));
		let root = worker.roots.processor;
		let push = Push::signed(&worker.pair, trial, Part::Processor, root);
		world.checker.rounds().receive(&worker.job.agent, &push);
		let mut visit = Visit::default();
		let request = worker.request();
		let checker = &world.checker;
		checker
			.try_visit(&worker.job, &request, 0, &mut visit, &mut None)
			.await
			.unwrap();
		let (waited, settled) = world.pass(visit.settle()).await;
		assert!(waited == 0 && settled.is_ok());
		assert!(visit.proved().processor);

		// The same roots as of 40 lanes, by the times of the checker's clock.
		let mut claimed = worker.job.clone();
		claimed.bench = BenchParams::FULL;
		claimed.spec.cpu_cores = 40;
		let mut roots = worker.roots.clone();
		roots.sizes = claimed.plan();
		let arrivals = world.checker.rounds().arrivals(&claimed, &SEED, &roots);
		let (verdict, _) = judge(&claimed, &roots, &visit.proved(), &arrivals, None, false);
		assert_eq!(
			verdict.cpu,
			kaisar_math::tiers::cpu(cores),
			"after {secs} s"
		);
		let expected = if cores > 0 { 1 } else { 0 };
		assert_eq!(verdict.memory, expected, "after {secs} s");
	}
}
