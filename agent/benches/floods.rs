//! Costs of floods to the agent and to the program that makes them, with a yardstick in the same run: the
//! processor time of both, and the memory of the agent's binary in its own process.
//!
//! `cargo bench --profile dev --workspace --bench floods` takes half a minute. Other programs on the machine
//! slow both down, but hardly change their processor time.

#[path = "../tests/suite/world.rs"]
mod world;

use iroh::{Endpoint, endpoint::Connection};
use kaisar_agent::{
	peer::wire::{ALPN, Introduced, Push, Refusal, Request, Trial},
	trial::part::Part,
};
use kaisar_primitives::{AgentKey, WorkerId, agent::SeatClaim};
use sp_core::{H256, Pair, ed25519};
use std::{
	hint::black_box,
	net::SocketAddr,
	process::Stdio,
	sync::{
		Arc,
		atomic::{AtomicUsize, Ordering},
	},
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncBufReadExt, BufReader},
	process::{Child, Command},
	task::JoinSet,
	time::{sleep, timeout},
};
use world::{CHECKERS, Reached, TOKEN, World, address, ask, endpoint, introduction, range};

/// Length of each flood.
const LENGTH: Duration = Duration::from_secs(4);

/// The agent's binary in its own process.
struct Process {
	child: Child,
	url: String,
	key: AgentKey,
	addrs: Vec<SocketAddr>,
}

impl Reached for Process {
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

impl Process {
	async fn start(world: &World) -> Self {
		let dir = world.path();
		std::fs::write(dir.join("token"), TOKEN).unwrap();
		std::fs::write(dir.join("key"), hex::encode([CHECKERS[0]; 32])).unwrap();
		for file in ["token", "key"] {
			use std::os::unix::fs::PermissionsExt;
			let owner_only = std::fs::Permissions::from_mode(0o600);
			std::fs::set_permissions(dir.join(file), owner_only).unwrap();
		}
		let mut child = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"))
			.args(["run", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1:0"])
			.args(["--gpus", "off", "--exit-on-stdin-close"])
			.arg("--token-file")
			.arg(dir.join("token"))
			.arg("--key-file")
			.arg(dir.join("key"))
			.arg("--peers-dir")
			.arg(dir.join("peers"))
			.arg("--data-dir")
			.arg(dir.join("data"))
			.stdin(Stdio::piped())
			.stdout(Stdio::piped())
			.stderr(Stdio::null())
			.kill_on_drop(true)
			.spawn()
			.unwrap();
		let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
		let line = lines.next_line().await.unwrap().expect("it starts");
		let said = &serde_json::from_str::<serde_json::Value>(&line).unwrap()["ready"];
		let addrs = said["addrs"].as_array().unwrap().iter();
		Self {
			child,
			url: said["url"].as_str().unwrap().into(),
			key: world::pair(CHECKERS[0]).public(),
			addrs: addrs
				.map(|addr| addr.as_str().unwrap().parse().unwrap())
				.collect(),
		}
	}

	/// Returns its processor time.
	fn time(&self) -> Duration {
		time_of(&self.child.id().unwrap().to_string())
	}

	/// Returns its memory, in KiB.
	fn memory(&self) -> usize {
		let status = format!("/proc/{}/status", self.child.id().unwrap());
		let status = std::fs::read_to_string(status).unwrap();
		let line = status.lines().find(|line| line.starts_with("VmRSS:"));
		let kib = line.unwrap().split_whitespace().nth(1).unwrap();
		kib.parse().unwrap()
	}
}

/// Returns the processor time of a process, in hundredths of a second.
fn time_of(process: &str) -> Duration {
	let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
	let (_, fields) = stat.rsplit_once(')').unwrap();
	let fields: Vec<&str> = fields.split_whitespace().collect();
	let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
	Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Prints a row: an action, its count, and its cost to both sides.
async fn row(name: &str, agent: &Process, flood: impl Future<Output = usize>) {
	let before = (Instant::now(), agent.time(), time_of("self"));
	let count = flood.await;
	let took = before.0.elapsed().as_secs_f64();
	let (victim, attacker) = (agent.time() - before.1, time_of("self") - before.2);
	let micros = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
	println!(
		"{name:<44} {count:>7} {:>8.0} {:>11.0} {:>11.0} {:>10.0}",
		count as f64 / took,
		micros(victim),
		micros(attacker),
		1e6 / micros(victim),
	);
}

/// Repeats an action on several tasks until the time is over. Returns the count.
async fn repeat<F: Future<Output = usize> + Send + 'static>(
	tasks: usize,
	act: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> usize {
	let count = Arc::<AtomicUsize>::default();
	let mut all = JoinSet::new();
	for task in 0..tasks {
		let (act, count) = (act.clone(), count.clone());
		all.spawn(async move {
			loop {
				count.fetch_add(act(task).await, Ordering::Relaxed);
			}
		});
	}
	sleep(LENGTH).await;
	all.shutdown().await;
	count.load(Ordering::Relaxed)
}

fn pair(number: u16) -> ed25519::Pair {
	let mut seed = [0xfc; 32];
	seed[..2].copy_from_slice(&number.to_le_bytes());
	ed25519::Pair::from_seed(&seed)
}

/// Connects, and is admitted for a worker of this number.
async fn admitted(world: &World, agent: &Process, number: u16) -> (Endpoint, Connection) {
	let mine = endpoint(&pair(number).seed(), range(number)).await;
	loop {
		if let Ok(connection) = mine.connect(address(agent), ALPN).await {
			let request = introduction(world, number.into());
			let introduced = ask::<Introduced>(&connection, &request).await;
			if let Ok(Ok(Introduced::Admitted)) = introduced {
				return (mine, connection);
			}
		}
		let own = |claim: &SeatClaim| claim.agent == pair(number).public();
		world.answer_claims(agent, own).await;
	}
}

/// A push of a trial that does not exist.
fn push(world: &World, number: u16, trial: u64) -> Request {
	let trial = Trial {
		genesis: world.genesis,
		round: 4,
		seed: H256::from_low_u64_be(trial),
		worker: WorkerId::from(number),
	};
	Request::Push(Push::signed(&pair(number), trial, Part::Processor, [1; 32]))
}

/// Returns the number of signatures that one core verifies in a second.
fn yardstick() -> f64 {
	let signature = pair(0).sign(b"yardstick");
	let key = pair(0).public();
	let (start, mut count) = (Instant::now(), 0);
	while start.elapsed() < Duration::from_secs(1) {
		for _ in 0..100 {
			assert!(ed25519::Pair::verify(
				black_box(&signature),
				b"yardstick",
				&key
			));
		}
		count += 100;
	}
	f64::from(count) / start.elapsed().as_secs_f64()
}

fn main() {
	let runtime = tokio::runtime::Runtime::new().unwrap();
	runtime.block_on(floods());
	// Floods that still run are not awaited.
	runtime.shutdown_background();
}

async fn floods() {
	// In this profile iroh and tokio are not optimized, so all of it costs less in a release.
	println!(
		"yardstick: one core verifies {:.0} ed25519 signatures a second",
		yardstick()
	);
	println!(
		"{:<44} {:>7} {:>8} {:>11} {:>11} {:>10}",
		"flood", "count", "a second", "agent, µs", "flood, µs", "a core's"
	);
	let world = Arc::new(World::new());
	let agent = Arc::new(Process::start(&world).await);
	world.answer_claims(&*agent, |_| true).await;

	let idle = (agent.time(), time_of("self"));
	sleep(LENGTH).await;
	println!(
		"in {} s without a flood: agent {} ms, this program {} ms",
		LENGTH.as_secs(),
		(agent.time() - idle.0).as_millis(),
		(time_of("self") - idle.1).as_millis()
	);

	// One range of addresses: four places, and all others are refused after their retry packet.
	let stranger = endpoint(&[0xfb; 32], range(9_000)).await;
	let target = address(&*agent);
	row("handshakes that are refused", &agent, {
		let (stranger, target) = (stranger.clone(), target.clone());
		repeat(16, move |_| {
			let (stranger, target) = (stranger.clone(), target.clone());
			async move {
				let connected = stranger.connect(target, ALPN).await;
				usize::from(connected.is_err())
			}
		})
	})
	.await;
	// A stranger that asks at once, from one of many ranges, so that it gets a place.
	let mut strangers = Vec::new();
	for number in 0..32 {
		strangers.push(endpoint(&pair(1_000 + number).seed(), range(number)).await);
	}
	let strangers = Arc::new(strangers);
	row("connections of strangers, each with a push", &agent, {
		let (strangers, target, world) = (strangers.clone(), target.clone(), world.clone());
		repeat(32, move |task| {
			let (strangers, target) = (strangers.clone(), target.clone());
			let request = push(&world, 1_000 + task as u16, 0);
			async move {
				let Ok(connection) = strangers[task].connect(target, ALPN).await else {
					return 0;
				};
				let answer = ask::<()>(&connection, &request).await;
				connection.close(0u32.into(), b"");
				usize::from(matches!(answer, Ok(Err(Refusal::NotServed))))
			}
		})
	})
	.await;
	let (_mine, connection) = admitted(&world, &agent, 1).await;
	let next = Arc::<AtomicUsize>::default();
	for (name, worker, changes) in [
		("pushes of an admitted worker, the same part", 1, false),
		("pushes of an admitted worker, made-up trials", 1, true),
		("pushes in another worker's name", 2, true),
	] {
		let (connection, world, next) = (connection.clone(), world.clone(), next.clone());
		let flood = repeat(16, move |_| {
			let number = next.fetch_add(1, Ordering::Relaxed) as u64;
			let request = push(&world, worker, if changes { number } else { 0 });
			let connection = connection.clone();
			async move { usize::from(ask::<()>(&connection, &request).await.is_ok()) }
		});
		row(name, &agent, flood).await;
	}

	// Connections that send nothing after their admission.
	const IDLE: u16 = 256;
	let before = agent.memory();
	let mut idle = Vec::new();
	for number in 100..100 + IDLE {
		let connected = admitted(&world, &agent, number);
		idle.push(timeout(Duration::from_secs(60), connected).await.unwrap());
	}
	sleep(Duration::from_secs(2)).await;
	let open = idle
		.iter()
		.filter(|(_, connection)| connection.close_reason().is_none());
	println!(
		"{} idle connections of admitted workers: {} KiB each",
		open.count(),
		agent.memory().saturating_sub(before) / usize::from(IDLE)
	);
}
