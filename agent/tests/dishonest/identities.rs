//! Identities and clocks: hostile address records, two machines with one key, and clocks that are changed.
//! The tests stand in for the nodes and for the DHT between them.
//!
//! No test changes the machine's own clock. An earlier process whose clock was six hours ahead is a real
//! process with a data folder that records that time. A clock that is changed during the test is changed in
//! [`Time`], through which a checking agent reads the system time.

use crate::{
	floods::Victim,
	world::{CHECKERS, Reached, WORKER, World, pair, until},
};
use codec::Encode;
use kaisar_agent::{
	Agent, Time,
	peer::{endpoint::sign, network::Network},
};
use kaisar_primitives::{
	Verdict, WorkerSpec,
	agent::{
		AHEAD_MS, AddressBook, AddressRecord, AddressesFound, Checked, PATH_ADDRESSES, PATH_CHECK,
		SeatReply, SeatRequest,
	},
};
use sp_core::Pair;
use std::{
	io,
	path::Path,
	sync::{Arc, Mutex},
	time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::{TcpListener, UdpSocket};

/// Starts an agent on its own machine: it shares no folder with others.
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

/// Gives an agent records from the DHT, and returns the record that it publishes there.
async fn exchange(world: &World, agent: &impl Reached, records: Vec<Vec<u8>>) -> AddressRecord {
	let book = book(world, agent, records).await;
	AddressRecord::read(&agent.key(), &book.record).unwrap()
}

async fn book(world: &World, agent: &impl Reached, records: Vec<Vec<u8>>) -> AddressBook {
	let found = AddressesFound {
		records,
		chain_ms: now_ms(),
	};
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
	/// Collects this thread's warnings, until the guard is dropped.
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
	// Its own record comes back, which proves nothing.
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
	// Each warning names the other's address first, then its own.
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

	// After a restart, stamps do not fall below the published ones.
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
		// An agent of a private network dials it, which shows that the test would notice.
		assert_eq!(host.try_recv_from(&mut packet).is_ok(), private);
		let called = tokio::time::timeout(Duration::from_millis(100), relay.accept()).await;
		assert!(called.is_err(), "a relay of another was dialed");
	}
}

/// A world without a bandwidth check, in which agents on separate machines find each other by records.
fn apart_world() -> World {
	let mut world = World::new();
	world.bench.bandwidth_secs = 0;
	world
}

/// Starts a checker's agent that knows the worker's agent by this record alone.
async fn checker_that_found(world: &World, name: u8, record: &AddressRecord) -> Agent {
	let checker = apart(world, name, &format!("checker {name}"), true).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	book(world, &checker, vec![record.encode()]).await;
	checker
}

fn shows_memory(checked: &Checked) -> bool {
	let Verdict { online, proof, .. } = checked.verdict;
	online && proof && checked.verdict.memory == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_that_did_not_prove_serves_nobody_in_its_name() {
	let world = apart_world();
	// One machine proves. Another has the same key, and is reached by the checkers.
	let proves = apart(&world, WORKER, "one", true).await;
	let serves = apart(&world, WORKER, "two", true).await;
	let (one, two) = (
		exchange(&world, &proves, Vec::new()).await,
		exchange(&world, &serves, Vec::new()).await,
	);
	let root = world.prove(&proves).await;
	let checkers = [
		checker_that_found(&world, CHECKERS[0], &one).await,
		checker_that_found(&world, CHECKERS[1], &two).await,
	];
	let checked = [0, 1].map(|at| world.check(&checkers[at], world.seat(CHECKERS[at], root)));
	let checked = futures::future::join_all(checked).await;
	assert!(shows_memory(&checked[0]), "{checked:?}");
	assert_eq!(checked[1].verdict, Verdict::OFFLINE);
	assert_eq!(checked[1].receipt, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_copy_that_proves_the_same_is_found_whichever_is_reached() {
	let world = apart_world();
	let one = apart(&world, WORKER, "one", true).await;
	let two = apart(&world, WORKER, "two", true).await;
	let records = [
		exchange(&world, &one, Vec::new()).await,
		exchange(&world, &two, Vec::new()).await,
	];
	// The nodes of both ask for the trial, and one of them attests its root.
	let root = world.prove(&one).await;
	assert_eq!(
		world.prove(&two).await,
		root,
		"equal machines show the same"
	);
	let checkers = [
		checker_that_found(&world, CHECKERS[0], &records[0]).await,
		checker_that_found(&world, CHECKERS[1], &records[1]).await,
	];
	let checked = [0, 1].map(|at| world.check(&checkers[at], world.seat(CHECKERS[at], root)));
	let checked = futures::future::join_all(checked).await;
	assert!(checked.iter().all(shows_memory), "{checked:?}");
}

/// Checks a twin that is smaller than the machine that proved, and that ran its own trial, as the worker
/// that the chain knows by this claim and this root.
async fn smaller_twin(
	known: impl Fn(WorkerSpec, [u8; 32], WorkerSpec, [u8; 32]) -> (WorkerSpec, [u8; 32]),
) -> Checked {
	let mut world = apart_world();
	let large = apart(&world, WORKER, "one", true).await;
	let small = apart(&world, WORKER, "two", true).await;
	let record = exchange(&world, &small, Vec::new()).await;
	let claimed = world.spec;
	let root = world.prove(&large).await;
	// The smaller machine runs fewer lanes.
	world.spec.cpu_cores = 1;
	let own = (world.spec, world.prove(&small).await);
	assert_ne!(own.1, root);
	let checker = checker_that_found(&world, CHECKERS[0], &record).await;
	let (spec, root) = known(claimed, root, own.0, own.1);
	let seat = SeatRequest {
		spec,
		..world.seat(CHECKERS[0], root)
	};
	world.check(&checker, seat).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_twin_shows_nothing_under_the_root_that_the_larger_attested() {
	let checked = smaller_twin(|claimed, root, _, _| (claimed, root)).await;
	let verdict = checked.verdict;
	assert!(verdict.online && verdict.proof, "{verdict:?}");
	assert_eq!((verdict.cpu, verdict.memory, verdict.disk), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_one_attested_root_for_a_worker_each_twin_shows_its_own() {
	let checked = smaller_twin(|_, _, spec, root| (spec, root)).await;
	assert!(shows_memory(&checked), "{checked:?}");
}

const SIX_HOURS: i64 = 6 * 60 * 60 * 1_000;

/// Changes the clock in the data folder of a stopped agent.
fn change_clock(data: &Path, change: impl FnOnce(&mut serde_json::Value)) {
	let file = data.join("clock.json");
	let mut clock = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
	change(&mut clock);
	std::fs::write(&file, serde_json::to_vec(&clock).unwrap()).unwrap();
}

fn add_ms(value: &mut serde_json::Value, ms: i64) {
	*value = (value.as_i64().unwrap() + ms).into();
}

/// Returns the record that an agent of this machine has published.
fn left_behind(world: &World) -> AddressRecord {
	let key = pair(WORKER).public();
	let file = world.path().join("peers").join(hex::encode(key.0));
	AddressRecord::read(&key, &std::fs::read(file).unwrap()).unwrap()
}

/// Runs a worker's agent in a process whose clock is six hours ahead, and then elsewhere in one with a right
/// clock and without its folder. A checker's agent on another machine knows the record of the first. Returns
/// its finding on the second, whose node may or may not find that record too.
async fn after_a_clock_that_was_ahead(ahead: bool, meets: bool) -> (u64, Checked) {
	let world = apart_world();
	let data = world.path().join(WORKER.to_string());
	// Run it once, so that its folder has a clock to change.
	Victim::start(&world, WORKER, "production")
		.await
		.kill()
		.await;
	if ahead {
		change_clock(&data, |clock| add_ms(&mut clock["now_ms"], SIX_HOURS));
	}
	// Its node reports the chain's time, which is right.
	let first = Victim::start(&world, WORKER, "production").await;
	exchange(&world, &first, Vec::new()).await;
	first.kill().await;
	let before = left_behind(&world);
	std::fs::remove_dir_all(&data).unwrap();
	let checker = checker_that_found(&world, CHECKERS[0], &before).await;

	let worker = Victim::start(&world, WORKER, "production").await;
	let found = if meets {
		vec![before.encode()]
	} else {
		Vec::new()
	};
	let record = exchange(&world, &worker, found).await;
	exchange(&world, &checker, vec![record.encode()]).await;
	let root = world.prove(&worker).await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	(before.stamp, checked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_process_ran_six_hours_ahead_is_reached_once_it_meets_its_own_record() {
	let (stamp, checked) = after_a_clock_that_was_ahead(true, true).await;
	let ahead = stamp.saturating_sub(now_ms());
	assert!(ahead <= AHEAD_MS, "no stamp is from the future: {ahead} ms");
	assert!(ahead > AHEAD_MS * 9 / 10, "{ahead} ms");
	assert!(shows_memory(&checked), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_clock_was_right_needs_to_meet_no_record() {
	let (stamp, checked) = after_a_clock_that_was_ahead(false, false).await;
	assert!(stamp <= now_ms());
	assert!(shows_memory(&checked), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_own_record_an_agent_whose_clock_was_ahead_is_not_found() {
	let (_, checked) = after_a_clock_that_was_ahead(true, false).await;
	assert_eq!(checked.verdict, Verdict::OFFLINE);
}

/// Lets a worker's agent prove, restart with a changed clock, and be checked.
async fn restarted(change: impl FnOnce(&mut serde_json::Value)) -> Checked {
	let world = apart_world();
	let worker = Victim::start(&world, WORKER, "production").await;
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(5)).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	worker.kill().await;
	change_clock(&world.path().join(WORKER.to_string()), change);
	let _worker = Victim::start(&world, WORKER, "production").await;
	// Without a new request, it has its stored proof.
	world.check(&checker, world.seat(CHECKERS[0], root)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_keeps_stays_where_the_systems_time_was_set_over_a_restart() {
	// The system's time was six hours behind before, ahead, and right.
	for set_by in [-SIX_HOURS, SIX_HOURS, 0] {
		let checked = restarted(|clock| add_ms(&mut clock["reading"]["wall_ms"], set_by)).await;
		assert!(shows_memory(&checked), "{set_by}: {checked:?}");
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_time_since_the_boot_what_a_worker_keeps_expires_when_the_time_is_set() {
	let checked = restarted(|clock| {
		add_ms(&mut clock["reading"]["wall_ms"], -SIX_HOURS);
		clock["reading"]["boot"] = serde_json::Value::Null;
	})
	.await;
	assert_eq!(checked.verdict, Verdict::OFFLINE);
}

/// Checks a worker that is down when the check starts and returns after the checker's system time was set
/// six hours ahead; the time is set back before the bandwidth is measured.
async fn checked_while_time_is_set(time: Time, set: bool) -> Verdict {
	let mut world = World::new();
	world.bench.bandwidth_secs = 3;
	let worker = world.agent(WORKER).await;
	let mut config = world.config(CHECKERS[0], Duration::from_secs(30));
	config.time = time.clone();
	let checker = Agent::start(config).await.unwrap();
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	worker.stop().await;
	let seat = SeatRequest {
		seats: 1,
		window: Some(now_ms() + 8_000),
		..world.seat(CHECKERS[0], root)
	};
	let _: Vec<SeatReply> = world.ask(&checker, PATH_CHECK, vec![seat.clone()]).await;
	let wait = async |ms| tokio::time::sleep(Duration::from_millis(ms)).await;
	wait(1_500).await;
	if set {
		time.set_system_ahead(SIX_HOURS);
	}
	wait(1_000).await;
	let _worker = world.agent(WORKER).await;
	wait(3_000).await;
	time.set_system_ahead(0);
	world.check(&checker, seat).await.verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkers_time_that_is_set_in_a_check_changes_no_verdict() {
	for set in [true, false] {
		// Other programs on the machine can make the measured line too slow.
		let mut tries = 0;
		loop {
			let verdict = checked_while_time_is_set(Time::real(), set).await;
			assert!(
				verdict.online && verdict.proof && verdict.timed,
				"{verdict:?}"
			);
			assert_eq!(verdict.memory, 1, "{verdict:?}");
			tries += 1;
			if verdict.bandwidth == 1 {
				break;
			}
			assert!(verdict.bandwidth == 0 && tries < 3, "{verdict:?}");
		}
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_clock_of_its_own_a_checker_whose_time_is_set_finds_an_honest_worker_offline() {
	let verdict = checked_while_time_is_set(Time::jumping(), true).await;
	assert_eq!(verdict, Verdict::OFFLINE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checker_whose_time_is_wrong_when_the_window_is_named_has_no_opinion_on_bandwidth() {
	let mut world = World::new();
	world.bench.bandwidth_secs = 1;
	let worker = world.agent(WORKER).await;
	let mut config = world.config(CHECKERS[0], Duration::from_secs(5));
	let time = Time::real();
	config.time = time.clone();
	let checker = Agent::start(config).await.unwrap();
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	time.set_system_ahead(SIX_HOURS);
	let verdict = world
		.check(&checker, world.seat(CHECKERS[0], root))
		.await
		.verdict;
	assert!(verdict.online && verdict.proof, "{verdict:?}");
	assert_eq!(
		(verdict.memory, verdict.bandwidth),
		(1, Verdict::NO_OPINION)
	);
}
