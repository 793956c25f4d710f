//! Floods: programs with many keys, addresses or bytes that try to keep others out, to fill memory or a
//! disk, or that answer only selected challenges.

use crate::world::{
	CHECKERS, Reached, Shelf, WORKER, World, address, ask, bind_endpoint, config_in, endpoint,
	files, introduction, is_the_workers, own_addr, pair, ran, range, receipt, rogue, server,
	stranger, until, web,
};
use codec::{Decode, DecodeAll};
use iroh::{
	EndpointAddr,
	endpoint::{Connection, SendStream, VarInt},
};
use kaisar_agent::{
	Agent, Bounds,
	containers::Served,
	fuzzing, now_wall_ms,
	peer::{
		endpoint::Peers,
		network::Unread,
		wire::{
			self, ALPN, Introduced, MAX_REQUEST, OpeningsReply, Push, Refusal, Request, RootsReply,
			Trial,
		},
	},
	trial::{
		job::Job,
		part::{Part, Resource},
		proof::{self, Challenge, Roots},
	},
};
use kaisar_primitives::{
	AgentKey, BenchParams, Verdict, WorkerId,
	agent::{
		Attestation, PATH_CHECK, PATH_PREPARE, PATH_PROVE, Prepared, Progress, SeatClaim,
		SeatReply, SeatRequest, WINDOW_MISSED,
	},
};
use kaisar_tunnel::{DialRule, Target, Tunnel, places};
use sp_core::{H256, Pair, ed25519};
use std::{
	net::SocketAddr,
	path::Path,
	process::Stdio,
	sync::{
		Arc, Mutex,
		atomic::{AtomicUsize, Ordering},
	},
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncBufReadExt, AsyncReadExt, BufReader},
	process::{Child, Command},
	task::JoinSet,
	time::{sleep, timeout},
};

/// Variable with the settings of a [`Victim`].
const VICTIM: &str = "KAISAR_TEST_VICTIM";
const LIMIT: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// Named bounds of a [`Victim`].
fn bounds(name: &str) -> (Bounds, Unread) {
	let (bounds, unread) = (Bounds::default(), Unread::default());
	match name {
		"production" => (bounds, unread),
		// An eighth of production's.
		"little memory" => (
			Bounds {
				memory_kib: (128 << 10, 64 << 10),
				..bounds
			},
			unread,
		),
		"any memory" => (
			Bounds {
				memory_kib: (u32::MAX, u32::MAX),
				..bounds
			},
			unread,
		),
		// iroh's own bounds, with 16 streams.
		"any unread" => (
			bounds,
			Unread {
				accepted: VarInt::MAX,
				busy: VarInt::MAX,
				streams: VarInt::from_u32(16),
			},
		),
		_ => panic!("no bounds have the name {name}"),
	}
}

/// An agent in its own process, so that its memory and its clock are separate.
pub struct Victim {
	key: AgentKey,
	url: String,
	addrs: Vec<SocketAddr>,
	process: Child,
}

impl Victim {
	/// Starts it with the folders of a world, within bounds of this name.
	pub async fn start(world: &World, name: u8, bounds: &str) -> Self {
		let dir = world.path().display();
		let mut process = Command::new(std::env::current_exe().unwrap())
			.args(["--exact", "floods::victim", "--ignored", "--nocapture"])
			.env(VICTIM, format!("{name}|{bounds}|{dir}"))
			.stdin(Stdio::piped())
			.stdout(Stdio::piped())
			.kill_on_drop(true)
			.spawn()
			.unwrap();
		let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
		let said = async {
			loop {
				let line = lines.next_line().await.unwrap().expect("it starts");
				if let Some(said) = line.strip_prefix("victim ") {
					return said.to_owned();
				}
			}
		};
		let said = timeout(LIMIT, said).await.unwrap();
		let mut said = said.split(' ');
		Self {
			key: pair(name).public(),
			url: said.next().unwrap().into(),
			addrs: said.map(|addr| addr.parse().unwrap()).collect(),
			process,
		}
	}

	/// Returns a field of `/proc/PID/status`, in bytes.
	fn status(&self, field: &str) -> usize {
		let status = format!("/proc/{}/status", self.process.id().unwrap());
		let status = std::fs::read_to_string(status).unwrap();
		let line = status.lines().find(|line| line.starts_with(field)).unwrap();
		let kib = line.split_whitespace().nth(1).unwrap();
		kib.parse::<usize>().unwrap() << 10
	}

	/// Starts to measure its memory; the result returns the maximum since then, in bytes above the current
	/// size.
	fn measure(&self) -> impl Fn() -> usize + '_ {
		let peak = format!("/proc/{}/clear_refs", self.process.id().unwrap());
		std::fs::write(peak, "5").unwrap();
		let before = self.status("VmRSS:");
		move || self.status("VmHWM:").saturating_sub(before)
	}

	/// Kills it, like a crash.
	pub async fn kill(mut self) {
		self.process.kill().await.unwrap();
	}
}

impl Reached for Victim {
	fn url(&self) -> &str {
		&self.url
	}

	fn key(&self) -> AgentKey {
		self.key
	}

	fn addrs(&self) -> Vec<SocketAddr> {
		self.addrs.clone()
	}
}

#[test]
#[ignore = "the process of a Victim, which others start"]
fn victim() {
	let Ok(settings) = std::env::var(VICTIM) else {
		return;
	};
	let mut settings = settings.splitn(3, '|');
	let name = settings.next().unwrap().parse().unwrap();
	let (bounds, unread) = bounds(settings.next().unwrap());
	let mut config = config_in(Path::new(settings.next().unwrap()), name, LIMIT);
	config.network.unread = unread;
	let runtime = tokio::runtime::Runtime::new().unwrap();
	runtime.block_on(async {
		let start = Agent::start_within(config, bounds, |containers| Arc::new(containers));
		let agent = start.await.unwrap();
		let addrs = agent.addrs();
		let addrs = addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
		println!("\nvictim {} {}", agent.url(), addrs.join(" "));
		// Until the test ends, or its parent process.
		let _ = tokio::io::stdin().read_u8().await;
		agent.stop().await;
	});
	// Tasks that still run are not awaited.
	std::process::exit(0);
}

/// The key pair of dishonest worker number `number`.
fn worker_pair(number: u16) -> ed25519::Pair {
	let mut seed = [0xfd; 32];
	seed[..2].copy_from_slice(&number.to_le_bytes());
	ed25519::Pair::from_seed(&seed)
}

/// A dishonest worker's agent with its own key, and with a handler of connections from the test.
async fn hostile<F: Future<Output = ()> + Send + 'static>(
	world: &World,
	number: u16,
	act: impl Fn(Connection) -> F + Send + 'static,
) -> JoinSet<()> {
	let pair = worker_pair(number);
	let bind = Some("127.0.0.1:0".parse().unwrap());
	let alpns = [ALPN, kaisar_tunnel::ALPN];
	let endpoint = bind_endpoint(&pair.seed(), bind, None, &alpns)
		.await
		.unwrap();
	let peers = Peers::new(&world.path().join("peers")).unwrap();
	peers.publish(&pair, &own_addr(&endpoint), 1).unwrap();
	let mut tasks = JoinSet::new();
	tasks.spawn(async move {
		let mut connections = JoinSet::new();
		while let Some(incoming) = endpoint.accept().await {
			if let Ok(connection) = incoming.accept().unwrap().await {
				connections.spawn(act(connection));
			}
		}
	});
	tasks
}

/// Opens the maximum number of streams, and sends the maximum on each. On the first it sends part of a
/// request, which the agent waits for.
async fn fill_streams(connection: Connection) {
	let mut streams = JoinSet::new();
	if let Ok(Ok((mut send, recv))) = timeout(LIMIT, connection.open_bi()).await {
		// Part of a request's length.
		let _ = send.write_all(&[40]).await;
		streams.spawn(async move {
			let _ = send.stopped().await;
			drop(recv);
		});
	}
	while let Ok(Ok((mut send, recv))) =
		timeout(Duration::from_millis(500), connection.open_bi()).await
	{
		streams.spawn(async move {
			while send.write_all(&[0; 16 << 10]).await.is_ok() {}
			drop(recv);
		});
	}
	connection.closed().await;
}

/// Number of dishonest workers in a flood of full streams, and of strangers.
const FILLERS: u16 = 16;

/// Returns the memory, in MiB, that a checker's agent takes while it visits dishonest workers that send
/// unsolicited bytes, and while strangers do the same.
async fn unread(bounds: &str) -> (usize, usize) {
	// For some seconds, or until the limit is exceeded. A stranger keeps its place for five.
	let most = async |peak: &dyn Fn() -> usize| {
		let since = Instant::now();
		while since.elapsed() < Duration::from_millis(4_500) && peak() < 300 * MIB {
			sleep(Duration::from_millis(100)).await;
		}
		peak() / MIB
	};
	let world = World::new();
	let checker = Victim::start(&world, CHECKERS[0], bounds).await;
	let mut workers = Vec::new();
	for number in 0..FILLERS {
		workers.push(hostile(&world, number, fill_streams).await);
	}
	let peak = checker.measure();
	let seats: Vec<SeatRequest> = (0..FILLERS)
		.map(|number| SeatRequest {
			worker: number.into(),
			agent: worker_pair(number).public(),
			..world.seat(CHECKERS[0], [5; 32])
		})
		.collect();
	let _: Vec<SeatReply> = world.ask(&checker, PATH_CHECK, seats).await;
	let visited = most(&peak).await;
	drop(workers);

	let checker = Victim::start(&world, CHECKERS[1], bounds).await;
	let peak = checker.measure();
	let mut strangers = JoinSet::new();
	for number in 0..FILLERS {
		let endpoint = stranger(number, range(number)).await;
		let target = address(&checker);
		strangers.spawn(async move {
			let connection = endpoint.connect(target, ALPN).await.unwrap();
			fill_streams(connection).await;
		});
	}
	(visited, most(&peak).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_nobody_reads_take_little_memory() {
	let (visited, strangers) = unread("production").await;
	println!("visited: {visited} MiB, strangers: {strangers} MiB");
	assert!(visited < 40, "{visited} MiB");
	assert!(strangers < 40, "{strangers} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_their_bound_bytes_that_nobody_reads_fill_memory() {
	let (visited, strangers) = unread("any unread").await;
	println!("visited: {visited} MiB, strangers: {strangers} MiB");
	// The amount grows with time, and with the idle part of the machine.
	assert!(visited > 80, "{visited} MiB");
	assert!(strangers > 80, "{strangers} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_worker_is_opened_and_measured_within_the_bound_on_unread_bytes() {
	let mut world = World::new();
	world.bench.bandwidth_secs = 3;
	let worker = world.agent(WORKER).await;
	let checker = world.agent(CHECKERS[0]).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	// Other programs on the machine can make the measured line too slow.
	for open_seed in 0..3 {
		let seat = SeatRequest {
			// This measurement takes the whole line.
			seats: 1,
			open_seed: H256::repeat_byte(open_seed),
			..world.seat(CHECKERS[0], root)
		};
		let verdict = world.check(&checker, seat).await.verdict;
		assert_eq!(verdict.memory, 1);
		if verdict.bandwidth == 1 {
			return;
		}
	}
	panic!("found too slow, three times");
}

/// A seat that checks a dishonest worker, and the roots that this one shows: of four GPUs, at production's
/// sizes.
fn large_claim(world: &World, number: u16) -> (SeatRequest, Roots) {
	let claim = fuzzing::job(4);
	let mut seat = SeatRequest {
		worker: 100 + WorkerId::from(number),
		agent: worker_pair(number).public(),
		spec: claim.spec,
		bench: BenchParams::FULL,
		reference: claim.reference,
		window: Some(WINDOW_MISSED),
		..world.seat(CHECKERS[0], [0; 32])
	};
	let job = Job::of_seat(&seat).unwrap();
	let sizes = job.plan();
	let roots = Roots {
		gpus: vec![[5; 32]; sizes.gpus.into()],
		sizes,
		processor: [5; 32],
		disk: [5; 32],
	};
	seat.root = roots.root(&job);
	(seat, roots)
}

/// Ways of dishonest workers to send their openings.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bomb {
	/// All but the last byte, which never comes.
	Held,
	/// Single bytes with pauses.
	Dripped,
	/// One byte more than is allowed.
	TooLong,
}

/// Dishonest workers that send openings of the maximum length.
struct Bombs {
	seats: Vec<SeatRequest>,
	/// Number of requests to open their GPUs.
	asked: Arc<AtomicUsize>,
	/// Number of such openings that were received except for the last byte.
	taken: Arc<AtomicUsize>,
	_tasks: Vec<JoinSet<()>>,
}

impl Bombs {
	async fn start(world: &World, count: u16, manner: Bomb) -> Self {
		let (asked, taken) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
		let (mut seats, mut tasks) = (Vec::new(), Vec::new());
		for number in 0..count {
			let (seat, roots) = large_claim(world, number);
			let limits = Resource::ALL.map(|resource| {
				proof::limit(&Job::of_seat(&seat).unwrap(), &roots.sizes, resource)
			});
			let (asked, taken) = (asked.clone(), taken.clone());
			let converse = move |connection: Connection| {
				let (roots, asked, taken) = (roots.clone(), asked.clone(), taken.clone());
				async move {
					let mut streams = JoinSet::new();
					while let Ok((send, mut recv)) = connection.accept_bi().await {
						let (roots, asked, taken) = (roots.clone(), asked.clone(), taken.clone());
						streams.spawn(async move {
							let request: Request =
								wire::read(&mut recv, MAX_REQUEST).await.unwrap();
							let open = matches!(request, Request::Open(_, Resource::Gpus, _));
							asked.fetch_add(usize::from(open), Ordering::Relaxed);
							let pair = worker_pair(number);
							// The checker may close the stream at any time.
							let taken = open.then_some(&*taken);
							let _ =
								bomb(send, request, &pair, &roots, &limits, manner, taken).await;
						});
					}
				}
			};
			tasks.push(hostile(world, number, converse).await);
			seats.push(seat);
		}
		Self {
			seats,
			asked,
			taken,
			_tasks: tasks,
		}
	}
}

/// Answers like a dishonest worker.
async fn bomb(
	mut send: SendStream,
	request: Request,
	pair: &ed25519::Pair,
	roots: &Roots,
	limits: &[usize],
	manner: Bomb,
	taken: Option<&AtomicUsize>,
) -> anyhow::Result<()> {
	let resource = match request {
		Request::Hello(which) => {
			let receipt: Result<_, Refusal> = Ok(pair.sign(&which.receipt_payload()));
			wire::write(&mut send, &receipt).await?;
			return Ok(send.finish()?);
		}
		Request::Roots(_) => {
			wire::write(&mut send, &RootsReply::Ok(roots.clone())).await?;
			return Ok(send.finish()?);
		}
		Request::Open(_, resource, _) => resource,
		_ => return Ok(()),
	};
	let place = Resource::ALL.iter().position(|other| *other == resource);
	let limit = limits[place.unwrap()];
	let length = match manner {
		Bomb::TooLong => limit + 1,
		_ => limit,
	};
	send.write_all(&(length as u32 + 1).to_le_bytes()).await?;
	send.write_all(&[0]).await?;
	let mut rest = length - 1;
	let chunk = vec![0; 64 << 10];
	while rest > 0 && manner != Bomb::Dripped {
		let some = rest.min(chunk.len());
		send.write_all(&chunk[..some]).await?;
		rest -= some;
	}
	if let Some(taken) = taken {
		taken.fetch_add(1, Ordering::Relaxed);
	}
	loop {
		sleep(Duration::from_millis(100)).await;
		if manner == Bomb::Dripped {
			send.write_all(&[0]).await?;
		}
	}
}

/// Number of concurrent dishonest workers.
const BOMBS: u16 = 32;
/// Maximum memory, in MiB, of an agent with a budget of 128 MiB: for each worker it also has 5 MB of unread
/// bytes, and the part of them that the allocator does not release.
const BOMBED: usize = 128 + 8 * BOMBS as usize;

/// Lets a checker's agent check dishonest workers that hold back their openings. Returns its memory, in MiB,
/// its finding on an honest worker meanwhile, and the number of openings that it holds except for the last
/// byte.
async fn bombed(bounds: &str) -> (usize, Verdict, usize) {
	let world = World::new();
	let checker = Victim::start(&world, CHECKERS[0], bounds).await;
	let worker = world.agent(WORKER).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	let bombs = Bombs::start(&world, BOMBS, Bomb::Held).await;
	let peak = checker.measure();
	let _: Vec<SeatReply> = world.ask(&checker, PATH_CHECK, bombs.seats.clone()).await;
	until(LIMIT, async || {
		(bombs.asked.load(Ordering::Relaxed) >= usize::from(BOMBS)).then_some(())
	})
	.await;
	// All bytes have come.
	let taken = || bombs.taken.load(Ordering::Relaxed);
	let mut last = (Instant::now(), 0);
	until(LIMIT, async || {
		if taken() != last.1 {
			last = (Instant::now(), taken());
		}
		// Three fit any budget.
		let waited = last.1 >= 3 && last.0.elapsed() > Duration::from_secs(4);
		(waited || taken() == usize::from(BOMBS)).then_some(())
	})
	.await;
	let seat = SeatRequest {
		full: false,
		..world.seat(CHECKERS[0], root)
	};
	let checked = world.check(&checker, seat).await;
	(peak() / MIB, checked.verdict, taken())
}

/// The openings of four GPUs, of lanes and of a disk, in MiB.
fn bomb_mib() -> usize {
	let (seat, roots) = large_claim(&World::new(), 0);
	let job = Job::of_seat(&seat).unwrap();
	let limits = Resource::ALL.map(|resource| proof::limit(&job, &roots.sizes, resource));
	limits.into_iter().sum::<usize>() / MIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_openings_bomb_takes_no_more_than_the_memory_for_openings_and_an_honest_worker_is_found()
{
	let (mib, verdict, taken) = bombed("little memory").await;
	println!(
		"{taken} of {BOMBS} workers, {} MiB each: {mib} MiB",
		bomb_mib()
	);
	// Three sets of GPUs' openings fit into the half that is for large ones.
	assert_eq!(taken, 3);
	assert!(mib < BOMBED, "{mib} MiB");
	assert!(verdict.online && verdict.proof, "{verdict:?}");
	assert_eq!(verdict.memory, 1, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_budget_an_openings_bomb_grows_with_its_workers() {
	let (mib, _, taken) = bombed("any memory").await;
	println!(
		"{taken} of {BOMBS} workers, {} MiB each: {mib} MiB",
		bomb_mib()
	);
	// On a busy machine, some are too slow.
	assert!(taken > usize::from(BOMBS) / 2, "{taken}");
	let all = taken * bomb_mib();
	assert!(mib > BOMBED.max(all * 3 / 4), "{mib} MiB of {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_that_drip_or_are_too_long_give_their_memory_back_in_seconds() {
	for manner in [Bomb::Dripped, Bomb::TooLong] {
		let world = World::new();
		let checker = world.agent(CHECKERS[0]).await;
		let bombs = Bombs::start(&world, 1, manner).await;
		let since = Instant::now();
		let verdict = timeout(LIMIT, async {
			loop {
				let replies: Vec<SeatReply> =
					world.ask(&checker, PATH_CHECK, bombs.seats.clone()).await;
				match &replies[0].progress {
					Progress::Working => sleep(Duration::from_millis(50)).await,
					Progress::Done(checked) => return checked.verdict,
					Progress::Failed(error) => panic!("{error}"),
				}
			}
		})
		.await
		.unwrap();
		// Slow openings are requested twice, 3 s each. With the checker's patience alone it would take 30 s.
		assert!(since.elapsed() < Duration::from_secs(15), "{manner:?}");
		assert!(verdict.online && verdict.proof, "{manner:?}: {verdict:?}");
		assert_eq!((verdict.gpu_count, verdict.cpu), (0, 0), "{manner:?}");
		let asked = bombs.asked.load(Ordering::Relaxed);
		assert_eq!(asked, if manner == Bomb::Dripped { 2 } else { 1 });
	}
}

/// Pause of a stranger before it reconnects.
const AT_ONCE: Duration = Duration::from_millis(20);

/// Strangers that connect, send nothing, and reconnect after a pause when they are closed: `count` of them
/// with a key and a range of addresses each, and `each` connections at a time. Counts their connections.
async fn flood(
	target: EndpointAddr,
	alpn: &'static [u8],
	count: u16,
	each: u16,
	pause: Duration,
) -> (JoinSet<()>, Arc<AtomicUsize>) {
	let mut tasks = JoinSet::new();
	let made = Arc::<AtomicUsize>::default();
	for number in 0..count {
		let endpoint = stranger(number, range(number)).await;
		for connection in 0..each {
			let (endpoint, target, made) = (endpoint.clone(), target.clone(), made.clone());
			// Spread over time: all at once would cost this machine more than the agents.
			let first = pause * (u32::from(number) * u32::from(each) + u32::from(connection))
				/ (u32::from(count) * u32::from(each));
			tasks.spawn(async move {
				sleep(first).await;
				loop {
					if let Ok(connection) = endpoint.connect(target.clone(), alpn).await {
						made.fetch_add(1, Ordering::Relaxed);
						connection.closed().await;
					}
					sleep(pause).await;
				}
			});
		}
	}
	(tasks, made)
}

/// Waits until the strangers have taken all places.
async fn all_places_taken(made: &AtomicUsize) {
	until(LIMIT, async || {
		(made.load(Ordering::Relaxed) >= 64).then_some(())
	})
	.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_keeps_neither_workers_nor_checkers_out() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let checker = world.agent(CHECKERS[0]).await;
	// 80 ranges of addresses for 64 places, at both.
	let (_crowd, at_worker) = flood(address(&worker), ALPN, 80, 1, AT_ONCE).await;
	let (_other_crowd, at_checker) = flood(address(&checker), ALPN, 80, 1, AT_ONCE).await;
	all_places_taken(&at_worker).await;
	all_places_taken(&at_checker).await;
	// The worker's agent, a stranger to the checker's, introduces itself and is admitted; the checker's is
	// in the committee.
	let checkers = [checker];
	world.prepare(&worker, &checkers).await;
	world.start_round(&checkers).await;
	let root = world.prove(&worker).await;
	let checked = world
		.check(&checkers[0], world.seat(CHECKERS[0], root))
		.await;
	assert!(checked.verdict.online && checked.verdict.proof && checked.verdict.timed);
	assert!(world.receipt_fits(&checked, CHECKERS[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_strangers_keep_nobody_out_that_is_expected() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let checkers = [world.agent(CHECKERS[0]).await];
	world.prepare(&worker, &checkers).await;
	world.start_round(&checkers).await;
	// 1,024 connections from 256 ranges, each of which has four: 16 times as many as there are places.
	let (_crowd, at_worker) = flood(address(&worker), ALPN, 256, 4, Duration::from_secs(10)).await;
	let (_other_crowd, at_checker) =
		flood(address(&checkers[0]), ALPN, 256, 4, Duration::from_secs(10)).await;
	all_places_taken(&at_worker).await;
	all_places_taken(&at_checker).await;
	// The worker's agent restarts and reconnects from the address where it was admitted before.
	worker.stop().await;
	let worker = world.agent(WORKER).await;
	let since = Instant::now();
	let request = world.prepare_request();
	until(LIMIT, async || {
		let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		(prepared.connected == 1).then_some(())
	})
	.await;
	println!("connected after {:?}", since.elapsed());
	let root = world.prove(&worker).await;
	let since = Instant::now();
	let seat = SeatRequest {
		full: false,
		..world.seat(CHECKERS[0], root)
	};
	let checked = world.check(&checkers[0], seat).await;
	println!("checked after {:?}", since.elapsed());
	let made = at_worker.load(Ordering::Relaxed) + at_checker.load(Ordering::Relaxed);
	println!("strangers' connections: {made}");
	assert_eq!(checked.verdict.memory, 1, "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_that_say_what_they_want_are_all_heard() {
	// Four times the number of places, from as many ranges, all at once.
	const NEWCOMERS: u16 = 256;
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	world.answer_claims(&checker, |_| true).await;
	let mut newcomers = JoinSet::new();
	for number in 0..NEWCOMERS {
		let endpoint = stranger(number, range(number)).await;
		let (target, request) = (address(&checker), introduction(&world, number.into()));
		newcomers.spawn(async move {
			loop {
				if let Ok(connection) = endpoint.connect(target.clone(), ALPN).await
					&& ask::<Introduced>(&connection, &request).await.is_ok()
				{
					return;
				}
				sleep(Duration::from_millis(200)).await;
			}
		});
	}
	let since = Instant::now();
	timeout(LIMIT, newcomers.join_all()).await.unwrap();
	println!("{NEWCOMERS} newcomers were heard in {:?}", since.elapsed());
	let claims = world.answer_claims(&checker, |_| true).await;
	assert_eq!(claims, usize::from(NEWCOMERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_limits_at_the_door_as_few_strangers_as_there_are_places_keep_others_out() {
	const FOREVER: Duration = Duration::from_secs(3_600);
	let bounds = Bounds {
		door: places::Limits {
			strangers_each: 64,
			time: FOREVER,
			tenure: FOREVER,
			expected: 0,
			..Bounds::default().door
		},
		..Bounds::default()
	};
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let config = world.config(CHECKERS[0], LIMIT);
	let start = Agent::start_within(config, bounds, |containers| Arc::new(containers));
	let checker = start.await.unwrap();
	let (_crowd, made) = flood(address(&checker), ALPN, 16, 4, AT_ONCE).await;
	all_places_taken(&made).await;
	let request = world.prepare_request();
	let since = Instant::now();
	while since.elapsed() < Duration::from_secs(6) {
		world.answer_claims(&checker, is_the_workers).await;
		let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		assert_eq!(prepared.connected, 0, "it was let in");
		sleep(Duration::from_millis(100)).await;
	}
	assert_eq!(made.load(Ordering::Relaxed), 64);
}

/// Bounds with room for the parts of 64 trials.
fn room_for_64(each: usize, admission: bool) -> Bounds {
	Bounds {
		heard: (64, each),
		admission,
		..Bounds::default()
	}
}

/// A push of a trial that does not exist.
fn made_up(world: &World, pair: &ed25519::Pair, number: u64, worker: WorkerId) -> Request {
	let trial = Trial {
		genesis: world.genesis,
		round: 4,
		seed: H256::from_low_u64_be(number),
		worker,
	};
	Request::Push(Push::signed(pair, trial, Part::Processor, [1; 32]))
}

/// Connects to a checker's agent, and is admitted for a worker.
async fn admitted(
	world: &World,
	checker: &impl Reached,
	name: u8,
	worker: WorkerId,
) -> (iroh::Endpoint, Connection) {
	let mine = endpoint(&[name; 32], range(name.into())).await;
	let connection = until(LIMIT, async || {
		let connection = mine.connect(address(checker), ALPN).await.ok()?;
		let introduced = ask::<Introduced>(&connection, &introduction(world, worker)).await;
		let its = |claim: &SeatClaim| {
			is_the_workers(claim) || (claim.worker, claim.agent) == (worker, pair(name).public())
		};
		world.answer_claims(checker, its).await;
		matches!(introduced, Ok(Ok(Introduced::Admitted))).then_some(connection)
	})
	.await;
	(mine, connection)
}

/// Sends pushes, 16 at a time, and returns the answers.
async fn push_all(connection: &Connection, pushes: &[Request]) -> Vec<Result<(), Refusal>> {
	let mut answers = Vec::new();
	for some in pushes.chunks(16) {
		let some = some.iter().map(|push| ask::<()>(connection, push));
		let some = futures::future::join_all(some).await;
		answers.extend(some.into_iter().map(|answer| answer.unwrap()));
	}
	answers
}

/// A checker's agent within bounds, a worker's agent that is admitted there, and their round.
async fn round_within(bounds: Bounds) -> (World, Agent, [Agent; 1]) {
	let mut world = World::new();
	world.spec.disk_gb = 6_000;
	let worker = world.agent(WORKER).await;
	let config = world.config(CHECKERS[0], LIMIT);
	let start = Agent::start_within(config, bounds, |containers| Arc::new(containers));
	let checkers = [start.await.unwrap()];
	world.prepare(&worker, &checkers).await;
	world.start_round(&checkers).await;
	(world, worker, checkers)
}

/// The parts of trials that a checker's agent has stored, each with the time of its arrival.
#[derive(Decode)]
struct Stored {
	_expires: u64,
	agent: AgentKey,
	_trial: [u8; 32],
	parts: Vec<(u8, u64, [u8; 32])>,
	_rest: (bool, (H256, u32, H256)),
}

/// Runs a worker's trial and its check. Returns the number of its parts that the checker's agent had
/// received by then.
async fn parts_heard(world: &World, worker: &Agent, checker: &Agent) -> usize {
	let root = world.prove(worker).await;
	sleep(Duration::from_secs(1)).await;
	let asked = now_wall_ms();
	let seat = SeatRequest {
		window: Some(WINDOW_MISSED),
		..world.seat(CHECKERS[0], root)
	};
	let verdict = world.check(checker, seat).await.verdict;
	assert!(verdict.online && verdict.proof, "{verdict:?}");
	let data = world.path().join(CHECKERS[0].to_string());
	heard_before(&data, &worker.key(), asked)
}

/// Returns the number of a worker's parts that the checker's agent with this data folder had received by a
/// date.
pub fn heard_before(data: &Path, worker: &AgentKey, date: u64) -> usize {
	let stored = std::fs::read_dir(data.join("heard")).unwrap().map(|file| {
		let bytes = std::fs::read(file.unwrap().path()).unwrap();
		Stored::decode_all(&mut &bytes[..]).unwrap()
	});
	let its = stored.filter(|stored| stored.agent == *worker);
	its.flat_map(|stored| stored.parts)
		.filter(|(_, at, _)| *at < date)
		.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pushes_writes_nothing_and_displaces_and_delays_no_other_workers_parts() {
	let (world, worker, checkers) = round_within(room_for_64(8, true)).await;
	let checker = &checkers[0];
	let heard = world.path().join(CHECKERS[0].to_string()).join("heard");
	// Two other admitted workers' agents: one pushes the same part at intervals, and measures the time.
	let (_mine, steady) = admitted(&world, checker, 78, 10).await;
	let times = async |count: usize| {
		let push = made_up(&world, &pair(78), 0, 10);
		let mut times = Vec::new();
		for _ in 0..count {
			let since = Instant::now();
			assert_eq!(ask::<()>(&steady, &push).await.unwrap(), Ok(()));
			times.push(since.elapsed());
			sleep(Duration::from_millis(10)).await;
		}
		times.sort_unstable();
		(times[count / 2], times[count * 95 / 100])
	};
	let quiet = times(100).await;
	// The other is dishonest, and pushes roots of made-up seeds, and the same root repeatedly.
	let (_its, flooding) = admitted(&world, checker, 77, 9).await;
	let before = files(world.path());
	let pushes: Vec<Request> = (0..10_000)
		.map(|number| made_up(&world, &pair(77), number / 2, 9))
		.collect();
	let since = Instant::now();
	let flood = async {
		let answers = push_all(&flooding, &pushes).await;
		assert!(answers.iter().all(Result::is_ok));
		since.elapsed()
	};
	let (took, flooded) = tokio::join!(flood, times(100));
	println!(
		"10,000 pushes in {took:?}; another's, half and 95 %: {quiet:?}, meanwhile {flooded:?}"
	);
	let most = 20 * quiet.1 + Duration::from_millis(50);
	assert!(flooded.1 < most, "{flooded:?} of {quiet:?}");
	// It may not push for the honest worker.
	let answers = push_all(&flooding, &[made_up(&world, &pair(77), 0, 7)]).await;
	assert_eq!(answers, [Err(Refusal::NotServed)]);
	assert_eq!(files(world.path()), before);
	assert_eq!(files(&heard), 0);
	// The honest one's roots come now.
	assert_eq!(parts_heard(&world, &worker, checker).await, 2);
	assert_eq!(files(&heard), 1, "what was checked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pushes_of_seven_honest_workers_displace_no_others() {
	let (world, worker, checkers) = round_within(room_for_64(8, true)).await;
	for number in 0..7 {
		// An honest agent has eight trials at most: of four rounds, with a fork each.
		let name = 80 + number;
		let (_endpoint, connection) = admitted(&world, &checkers[0], name, name.into()).await;
		let pushes: Vec<Request> = (0..8)
			.map(|trial| made_up(&world, &pair(name), trial, name.into()))
			.collect();
		let answers = push_all(&connection, &pushes).await;
		assert!(answers.iter().all(Result::is_ok), "{answers:?}");
	}
	let heard = parts_heard(&world, &worker, &checkers[0]).await;
	assert_eq!(heard, 2, "the lanes and the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_share_for_each_agent_the_pushes_of_one_displace_the_others() {
	let (world, worker, checkers) = round_within(room_for_64(64, true)).await;
	let (_its, flooding) = admitted(&world, &checkers[0], 77, 9).await;
	let pushes: Vec<Request> = (0..64)
		.map(|number| made_up(&world, &pair(77), number, 9))
		.collect();
	let answers = push_all(&flooding, &pushes).await;
	assert!(answers.iter().all(Result::is_ok));
	let heard = parts_heard(&world, &worker, &checkers[0]).await;
	assert_eq!(heard, 0);
}

/// Eight strangers, each with a key and a range of its own, push eight made-up parts each. Returns their
/// answers.
async fn strangers_push(world: &World, checker: &Agent) -> Vec<Result<(), Refusal>> {
	let mut answers = Vec::new();
	for number in 0..8 {
		let name = 80 + number;
		let mine = endpoint(&[name; 32], range(name.into())).await;
		for trial in 0..8 {
			let connection = mine.connect(address(checker), ALPN).await.unwrap();
			let push = made_up(world, &pair(name), trial, name.into());
			answers.push(ask::<()>(&connection, &push).await.unwrap());
			connection.close(0u32.into(), b"");
		}
	}
	answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_pushes_are_not_taken() {
	let (world, worker, checkers) = round_within(room_for_64(8, true)).await;
	let answers = strangers_push(&world, &checkers[0]).await;
	assert!(
		answers
			.iter()
			.all(|answer| *answer == Err(Refusal::NotServed))
	);
	let heard = parts_heard(&world, &worker, &checkers[0]).await;
	assert_eq!(heard, 2, "the lanes and the disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_admission_strangers_pushes_displace_the_others() {
	let (world, worker, checkers) = round_within(room_for_64(8, false)).await;
	let answers = strangers_push(&world, &checkers[0]).await;
	assert!(answers.iter().all(Result::is_ok), "{answers:?}");
	let heard = parts_heard(&world, &worker, &checkers[0]).await;
	assert_eq!(heard, 0);
}

/// Ways of a worker to refuse a challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refuses {
	/// It answers that it is not ready.
	NotReady,
	/// It resets the stream.
	Resets,
	/// It lets the checker wait.
	Hangs,
	/// It does not refuse: it is honest.
	Never,
}

/// Checks a worker that ran its trial and refuses 127 draws of 128. Returns the finding, and the number of
/// challenges that it has read.
async fn refusing(refuses: Refuses) -> (Verdict, Vec<Challenge>) {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(5)).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let job = Job::of_prove(&world.prove_request(), pair(WORKER).public()).unwrap();
	let proof = tokio::task::block_in_place(|| ran(&job, world.seed, &[]));
	let challenges = Mutex::new(Vec::new());
	let act = async |send: &mut SendStream, request: Request| {
		let _ = match request {
			Request::Hello(which) => wire::write(send, &receipt(&which)).await,
			Request::Roots(_) => wire::write(send, &RootsReply::Ok(proof.roots().clone())).await,
			Request::Open(_, resource, challenge) => {
				challenges.lock().unwrap().push(challenge);
				let likes = challenge.nonce[0] < 2;
				match refuses {
					Refuses::NotReady if !likes => {
						let refusal = OpeningsReply::Err(Refusal::NotReady);
						wire::write_openings(send, &refusal).await
					}
					Refuses::Resets if !likes => {
						let _ = send.reset(0u32.into());
						Ok(())
					}
					Refuses::Hangs if !likes => {
						sleep(Duration::from_secs(20)).await;
						Ok(())
					}
					_ => {
						let openings = proof.open(resource, &challenge).unwrap();
						wire::write_openings(send, &Ok(openings)).await
					}
				}
			}
			_ => Ok(()),
		};
	};
	let seat = SeatRequest {
		full: false,
		..world.seat(CHECKERS[0], proof.roots().root(&job))
	};
	let checked = tokio::select! {
		checked = world.check(&checker, seat) => checked,
		() = rogue(&world, act) => unreachable!(),
	};
	(checked.verdict, challenges.into_inner().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn refusals_of_draws_that_a_worker_does_not_like_show_nothing() {
	let all = [Refuses::NotReady, Refuses::Resets, Refuses::Hangs];
	let all = all.map(|refuses| async move {
		let (verdict, challenges) = refusing(refuses).await;
		let first = challenges[0];
		println!("{refuses:?}: {} tries", challenges.len());
		assert!(first.nonce[0] >= 2, "the draw is a disliked one");
		assert!(challenges.iter().all(|challenge| *challenge == first));
		if refuses == Refuses::Resets {
			assert_eq!(challenges.len(), 2);
		}
		assert!(verdict.online && verdict.proof, "{refuses:?}: {verdict:?}");
		assert_eq!((verdict.cpu, verdict.memory), (0, 0), "{refuses:?}");
	});
	futures::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_an_honest_twin_that_is_found() {
	let (verdict, challenges) = refusing(Refuses::Never).await;
	assert_eq!(challenges.len(), 1);
	assert!(verdict.online && verdict.proof, "{verdict:?}");
	assert_eq!(verdict.memory, 1, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_at_the_tunnel_keeps_neither_the_customer_nor_a_probe_out() {
	const CLIENT: u8 = 77;
	let world = World::new();
	let (web_address, _web) = server(web).await;
	let shelf = Shelf::default();
	let order = Served {
		genesis: world.genesis,
		worker: 7,
		client: pair(CLIENT).public(),
		ports: vec![(8_080, web_address)],
		customer_until: None,
	};
	shelf.put(5, order);
	let agent = world.agent_serving(WORKER, &shelf).await;
	let request = kaisar_primitives::agent::ProveRequest {
		order: Some(5),
		..world.prove_request()
	};
	let _: Progress<Attestation> = world.ask(&agent, PATH_PROVE, &request).await;
	let (_crowd, made) = flood(address(&agent), kaisar_tunnel::ALPN, 80, 1, AT_ONCE).await;
	all_places_taken(&made).await;
	let target = Target {
		genesis: world.genesis.0,
		order: 5,
		agent: agent.key().0,
		addresses: agent.addrs(),
		relays: Vec::new(),
		rule: DialRule {
			private: true,
			..DialRule::default()
		},
	};
	for (name, probes) in [(CLIENT, false), (CHECKERS[0], true)] {
		let tunnel = until(Duration::from_secs(60), async || {
			Tunnel::open(&[name; 32], &target, None).await.ok()
		})
		.await;
		if probes {
			assert_eq!(tunnel.answers().await, Ok(true));
		} else {
			let (mut send, mut recv) = tunnel.stream().await.unwrap();
			send.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
			let page = recv.read_to_end(1_000).await.unwrap();
			assert!(page.ends_with(b"hello"));
		}
		tunnel.close().await;
	}
}
