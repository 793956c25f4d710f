//! Address records: hostile ones, those of a clock that was ahead, and those of two agents with one key. The
//! tests take the place of the nodes and of the DHT between them.

use crate::world::{CHECKERS, WORKER, World, pair, until};
use codec::Encode;
use kaisar_agent::{
	Agent,
	peer::{endpoint::sign, network::Network},
};
use kaisar_primitives::{
	Verdict,
	agent::{AddressBook, AddressRecord, AddressesFound, PATH_ADDRESSES},
};
use std::{
	io,
	sync::{Arc, Mutex},
	time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::{TcpListener, UdpSocket};

/// An agent of a machine of its own: it shares no folder with others.
async fn apart(world: &World, name: u8, machine: &str, private: bool) -> Agent {
	let mut config = world.config(name, Duration::from_secs(2));
	config.peers_dir = world.path().join(machine).join("peers");
	config.data_dir = world.path().join(machine).join("data");
	config.network = Network {
		publish_private: private,
		..Network::local([127, 0, 0, 1].into())
	};
	Agent::start(config).await.unwrap()
}

/// Gives an agent records from the DHT, and returns the one that it leaves there.
async fn exchange(world: &World, agent: &Agent, records: Vec<Vec<u8>>) -> AddressRecord {
	let book = book(world, agent, records).await;
	AddressRecord::read(&agent.key(), &book.record).unwrap()
}

async fn book(world: &World, agent: &Agent, records: Vec<Vec<u8>>) -> AddressBook {
	let found = AddressesFound { records };
	world.ask(agent, PATH_ADDRESSES, found).await
}

/// Log lines of the agents of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
	fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
		self.0.lock().unwrap().extend_from_slice(bytes);
		Ok(bytes.len())
	}

	fn flush(&mut self) -> io::Result<()> {
		Ok(())
	}
}

impl Log {
	/// Collects what this thread says at warn, until the guard is dropped.
	fn collect(&self) -> tracing::subscriber::DefaultGuard {
		let log = self.clone();
		let subscriber = tracing_subscriber::fmt()
			.with_max_level(tracing::Level::WARN)
			.with_ansi(false)
			.with_writer(move || log.clone())
			.finish();
		tracing::subscriber::set_default(subscriber)
	}

	fn lines_with(&self, text: &str) -> Vec<String> {
		let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
		let lines = log.lines().filter(|line| line.contains(text));
		lines.map(Into::into).collect()
	}
}

fn now_ms() -> u64 {
	let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
	since.as_millis() as u64
}

#[tokio::test]
async fn two_agents_with_one_key_notice_each_other() {
	let log = Log::default();
	let _collecting = log.collect();
	let world = World::new();
	let one = apart(&world, WORKER, "one", true).await;
	let itself = book(&world, &one, Vec::new()).await.wanted;
	assert_eq!(itself, [one.key()], "it looks for records of its own key");
	// Its own record comes back, which says nothing.
	let own = exchange(&world, &one, Vec::new()).await;
	assert_eq!(exchange(&world, &one, vec![own.encode()]).await, own);
	assert!(log.lines_with("with this agent's key").is_empty());

	let two = apart(&world, WORKER, "two", true).await;
	// The DHT keeps the newest record, which both nodes find and leave their own beside.
	let mut newest = own.clone();
	let mut stamps = Vec::new();
	for _ in 0..20 {
		for agent in [&two, &one] {
			let record = exchange(&world, agent, vec![newest.encode()]).await;
			if record.stamp > newest.stamp {
				newest = record;
			}
			stamps.push(newest.stamp);
		}
	}
	let warnings = log.lines_with("with this agent's key");
	assert_eq!(warnings.len(), 2, "{warnings:?}");
	// Each names the other's address first, and its own.
	let port = |agent: &Agent| agent.addrs()[0].to_string();
	let names = |first: &Agent, second: &Agent| {
		let text = format!("addresses {}, this one {}.", port(first), port(second));
		warnings.iter().any(|warning| warning.contains(&text))
	};
	assert!(names(&one, &two) && names(&two, &one), "{warnings:?}");
	// They do not outbid each other without end.
	assert!(
		stamps[8..].iter().all(|stamp| *stamp == stamps[8]),
		"{stamps:?}"
	);
}

#[tokio::test]
async fn two_agents_with_one_key_on_one_machine_notice_each_other() {
	let log = Log::default();
	let _collecting = log.collect();
	let world = World::new();
	let one = world.agent(WORKER).await;
	let mut config = world.config(WORKER, Duration::from_secs(2));
	config.data_dir = world.path().join("two");
	let two = Agent::start(config).await.unwrap();
	let warned = async || {
		let warnings = log.lines_with("with this agent's key");
		(warnings.len() >= 2).then_some(warnings)
	};
	let warnings = until(Duration::from_secs(60), warned).await;
	assert_eq!(warnings.len(), 2, "{warnings:?}");
	one.stop().await;
	two.stop().await;
}

#[tokio::test]
async fn an_agent_whose_clock_was_ahead_is_reached_at_once() {
	let log = Log::default();
	let _collecting = log.collect();
	let mut world = World::new();
	world.bench.bandwidth_secs = 0;
	// It ran with a clock six hours ahead, at an address that it no longer has, and others know that record.
	let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
	let address = gone.local_addr().unwrap().to_string();
	let ahead = now_ms() + 6 * 60 * 60 * 1_000;
	let before = sign(&pair(WORKER), vec![address], Vec::new(), ahead).encode();
	let checker = apart(&world, CHECKERS[0], "checker", true).await;
	exchange(&world, &checker, vec![before.clone()]).await;

	let worker = apart(&world, WORKER, "worker", true).await;
	let record = exchange(&world, &worker, vec![before]).await;
	assert!(record.stamp > ahead);
	let warnings = log.lines_with("with this agent's key");
	assert!(warnings.is_empty(), "its own past is no twin: {warnings:?}");
	exchange(&world, &checker, vec![record.encode()]).await;
	let root = world.prove(&worker).await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	assert!(checked.verdict.online && checked.verdict.proof);

	// A restart does not fall back behind what it published.
	worker.stop().await;
	let worker = apart(&world, WORKER, "worker", true).await;
	let again = exchange(&world, &worker, Vec::new()).await;
	assert!(again.stamp > record.stamp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_makes_no_agent_dial_private_hosts_or_relays_of_others() {
	// Hosts of the checker's network that a hostile worker names in its record.
	let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
	let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
	let hostile = sign(
		&pair(WORKER),
		vec![host.local_addr().unwrap().to_string()],
		vec![format!("http://{}", relay.local_addr().unwrap())],
		now_ms(),
	)
	.encode();
	let mut packet = [0; 2_000];
	for private in [false, true] {
		let world = World::new();
		let checker = apart(&world, CHECKERS[0], "checker", private).await;
		book(&world, &checker, vec![hostile.clone()]).await;
		let checked = world
			.check(&checker, world.seat(CHECKERS[0], [5; 32]))
			.await;
		assert_eq!(checked.verdict, Verdict::OFFLINE);
		// An agent of a private network dials it, which shows that the first would have been noticed.
		assert_eq!(host.try_recv_from(&mut packet).is_ok(), private);
		let called = tokio::time::timeout(Duration::from_millis(100), relay.accept()).await;
		assert!(called.is_err(), "a relay of another was dialed");
	}
}
