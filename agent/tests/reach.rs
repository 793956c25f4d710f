//! Agents that reach each other over common networks. Each host is a network namespace, and each agent the
//! real program with the options that its operator would give. A test takes the place of the nodes and of
//! the DHT between them: it carries the agents' records, and asks for a check. Needs root, iproute2 and
//! iptables (`scripts/setup.sh` installs them).
#![cfg(target_os = "linux")]

#[path = "suite/world.rs"]
mod world;

use clap::Parser;
use codec::{Decode, DecodeAll, Encode};
use kaisar_primitives::{
	AgentKey, Verdict,
	agent::{
		AddressBook, AddressRecord, AddressesFound, Attestation, PATH_ADDRESSES, PATH_CHECK,
		PATH_PROVE, PATH_ROUND, Progress, RoundStart, SeatReply,
	},
};
use kaisar_test_support::netns::{Namespace, ip};
use sp_core::Pair;
use std::{
	io::{BufRead, BufReader},
	net::Ipv4Addr,
	path::PathBuf,
	process::{Child, Command, Stdio},
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	thread::sleep,
	time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::net::UdpSocket;
use world::{CHECKERS, TOKEN, WORKER, World, pair};

/// Addresses of the test's internet, which sort after private ones.
const CHECKER_AT: &str = "193.5.0.11";
const WORKER_AT: &str = "193.5.0.22";
const RELAY_AT: &str = "193.5.0.33";
const GATE_AT: &str = "193.5.0.1";
/// The worker behind the gateway, and the gateway as it sees it.
const INSIDE: &str = "10.0.0.2";
const GATE_INSIDE: &str = "10.0.0.1";
/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(90);

/// A bridge that connects all public hosts.
struct Internet {
	hub: Namespace,
	_alone: MutexGuard<'static, ()>,
}

/// This machine's time, in milliseconds since 1970.
fn now_ms() -> u64 {
	let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
	since.as_millis() as u64
}

impl Internet {
	fn new() -> Self {
		static ALONE: Mutex<()> = Mutex::new(());
		let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
		let _ = tracing_subscriber::fmt().with_test_writer().try_init();
		let hub = Namespace::new();
		ip(&format!("-n {} link add hub type bridge", hub.name()));
		ip(&format!("-n {} link set hub up", hub.name()));
		Self { hub, _alone: alone }
	}

	/// A host with an interface `net` on the internet; `port` names the hub's end.
	fn public(&self, port: &str, addresses: &[&str]) -> Arc<Namespace> {
		let host = Namespace::new();
		let (hub, space) = (self.hub.name(), host.name());
		ip(&format!(
			"-n {hub} link add {port} type veth peer name net netns {space}"
		));
		ip(&format!("-n {hub} link set {port} master hub up"));
		for address in addresses {
			let nodad = if address.contains(':') { "nodad" } else { "" };
			ip(&format!("-n {space} addr add {address} dev net {nodad}"));
		}
		ip(&format!("-n {space} link set net up"));
		Arc::new(host)
	}

	/// A host behind a gateway on the internet; rules of iptables make it a NAT. Returns both.
	fn behind(&self, rules: &[&str]) -> (Arc<Namespace>, Arc<Namespace>) {
		let gate = self.public("gate", &[&format!("{GATE_AT}/16")]);
		let inside = Namespace::new();
		{
			let (gate, inside) = (gate.name(), inside.name());
			ip(&format!(
				"-n {gate} link add home type veth peer name net netns {inside}"
			));
			ip(&format!("-n {gate} addr add {GATE_INSIDE}/24 dev home"));
			ip(&format!("-n {gate} link set home up"));
			ip(&format!("-n {inside} addr add {INSIDE}/24 dev net"));
			ip(&format!("-n {inside} link set net up"));
			ip(&format!("-n {inside} route add default via {GATE_INSIDE}"));
		}
		let forwarding = gate.spawn(async || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"));
		forwarding.join().unwrap().unwrap();
		for rule in rules {
			nat(gate.name(), rule);
		}
		(Arc::new(inside), gate)
	}
}

/// Adds a rule to a gateway's table of translations.
fn nat(gate: &str, rule: &str) {
	let command = format!("netns exec {gate} iptables -w -t nat -A {rule}");
	ip(&command);
}

/// An agent on a host.
struct Host {
	space: Arc<Namespace>,
	name: u8,
	url: String,
	log: PathBuf,
	child: Child,
}

impl Host {
	/// Starts the agent's program and waits until it is ready.
	fn start(world: &World, space: &Arc<Namespace>, name: u8, args: &[&str]) -> Self {
		let dir = world.path().join(name.to_string());
		std::fs::create_dir_all(&dir).unwrap();
		std::fs::write(dir.join("token"), TOKEN).unwrap();
		std::fs::write(dir.join("key"), hex::encode([name; 32])).unwrap();
		let log = dir.join("log");
		let mut child = Command::new("ip")
			.args(["netns", "exec", space.name()])
			.arg(env!("CARGO_BIN_EXE_kaisar-agent"))
			.args([
				"run",
				"--gpus",
				"off",
				"--no-engine",
				"--exit-on-stdin-close",
			])
			.args(["--token-file", dir.join("token").to_str().unwrap()])
			.args(["--key-file", dir.join("key").to_str().unwrap()])
			.args(["--peers-dir", dir.join("peers").to_str().unwrap()])
			.args(["--data-dir", dir.join("data").to_str().unwrap()])
			.args(args)
			.env("RUST_LOG", "info,kaisar_agent=debug,portmapper=debug")
			.stdin(Stdio::piped())
			.stdout(Stdio::piped())
			.stderr(std::fs::File::create(&log).unwrap())
			.spawn()
			.unwrap();
		let mut line = String::new();
		let mut stdout = BufReader::new(child.stdout.take().unwrap());
		stdout.read_line(&mut line).unwrap();
		let ready: serde_json::Value = serde_json::from_str(&line)
			.unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(&log).unwrap()));
		Self {
			space: space.clone(),
			name,
			url: ready["ready"]["url"].as_str().unwrap().into(),
			log,
			child,
		}
	}

	fn key(&self) -> AgentKey {
		pair(self.name).public()
	}

	fn log(&self) -> String {
		std::fs::read_to_string(&self.log).unwrap()
	}

	/// Sends a request like the agent's node, on the host's loopback address.
	fn ask<T: Decode + Send + 'static>(&self, path: &str, body: impl Encode) -> T {
		let (url, body) = (format!("{}{path}", self.url), body.encode());
		let asked = self.space.spawn(async move || {
			let client = reqwest::Client::builder().no_proxy().build().unwrap();
			let request = client.post(url).bearer_auth(TOKEN).body(body);
			let answer = request.send().await.unwrap();
			assert_eq!(answer.status().as_u16(), 200);
			answer.bytes().await.unwrap().to_vec()
		});
		T::decode_all(&mut &asked.join().unwrap()[..]).unwrap()
	}

	/// Gives it records from the DHT, and returns the record that it publishes there.
	fn exchange(&self, records: &[Vec<u8>]) -> Option<AddressRecord> {
		let found = AddressesFound {
			records: records.to_vec(),
			chain_ms: now_ms(),
		};
		let book: AddressBook = self.ask(PATH_ADDRESSES, found);
		AddressRecord::read(&self.key(), &book.record)
	}

	/// Waits until the record that it publishes in the DHT meets the condition.
	fn publishes(&self, wanted: impl Fn(&AddressRecord) -> bool) -> AddressRecord {
		let deadline = Instant::now() + LIMIT;
		loop {
			let record = self.exchange(&[]);
			if let Some(record) = record.filter(&wanted) {
				return record;
			}
			assert!(Instant::now() < deadline, "{}", self.log());
			sleep(Duration::from_millis(200));
		}
	}
}

impl Drop for Host {
	fn drop(&mut self) {
		let _ = self.child.kill();
		let _ = self.child.wait();
	}
}

/// A worker's agent and a checker's, whose nodes found their records in the DHT.
struct Two {
	world: World,
	worker: Host,
	checker: Host,
}

impl Two {
	fn start(worker: (&Arc<Namespace>, &[&str]), checker: (&Arc<Namespace>, &[&str])) -> Self {
		let world = World::new();
		Self {
			worker: Host::start(&world, worker.0, WORKER, worker.1),
			checker: Host::start(&world, checker.0, CHECKERS[0], checker.1),
			world,
		}
	}

	/// Gives each the other's record, and returns both records.
	fn meet(&self, wanted: impl Fn(&AddressRecord) -> bool) -> (AddressRecord, AddressRecord) {
		let worker = self.worker.publishes(wanted);
		let checker = self.checker.publishes(|_| true);
		self.worker.exchange(&[checker.encode()]);
		self.checker.exchange(&[worker.encode()]);
		(worker, checker)
	}

	/// Lets the worker run its trial and the checker check it.
	fn check(&self) -> Verdict {
		let start = RoundStart {
			genesis: self.world.genesis,
			round: 4,
			seed: self.world.round_seed,
			trial_seed: self.world.seed,
			late: false,
			keep_ms: 600_000,
		};
		self.checker.ask::<()>(PATH_ROUND, start);
		let deadline = Instant::now() + LIMIT;
		let request = self.world.prove_request();
		let root = loop {
			match self
				.worker
				.ask::<Progress<Attestation>>(PATH_PROVE, request.clone())
			{
				Progress::Done(attestation) => break attestation.root,
				Progress::Failed(error) => panic!("{error}"),
				Progress::Working => assert!(Instant::now() < deadline),
			}
			sleep(Duration::from_millis(100));
		};
		let seat = self.world.seat(CHECKERS[0], root);
		loop {
			let mut replies: Vec<SeatReply> = self.checker.ask(PATH_CHECK, vec![seat.clone()]);
			match replies.remove(0).progress {
				Progress::Done(checked) => return checked.verdict,
				Progress::Failed(error) => panic!("{error}"),
				Progress::Working => assert!(Instant::now() < deadline),
			}
			sleep(Duration::from_millis(200));
		}
	}

	/// Checks the worker, and shows both agents' logs on failure.
	fn proves(&self) -> Verdict {
		let verdict = self.check();
		assert!(
			verdict.online && verdict.proof,
			"{verdict:?}\nthe worker:\n{}\nthe checker:\n{}",
			self.worker.log(),
			self.checker.log()
		);
		verdict
	}
}

/// Returns whether this is the record's first address, and none of its addresses is private.
fn only(record: &AddressRecord, address: &str) -> bool {
	record.addresses == [address]
}

#[test]
fn an_agent_behind_1_to_1_nat_is_reached_at_its_external_address() {
	let internet = Internet::new();
	let (inside, _gate) = internet.behind(&[
		&format!("PREROUTING -i net -d {GATE_AT} -j DNAT --to-destination {INSIDE}"),
		&format!("POSTROUTING -o net -j SNAT --to-source {GATE_AT}"),
	]);
	let checker = internet.public("checker", &[&format!("{CHECKER_AT}/16")]);
	let two = Two::start(
		(&inside, &["--external-address", GATE_AT]),
		(&checker, &["--port", "30501"]),
	);
	let (worker, checker) = two.meet(|_| true);
	assert!(only(&worker, &format!("{GATE_AT}:30500")), "{worker:?}");
	assert!(
		only(&checker, &format!("{CHECKER_AT}:30501")),
		"{checker:?}"
	);
	two.proves();
}

#[test]
fn an_agent_behind_nat_is_reached_at_a_forwarded_port() {
	let internet = Internet::new();
	let (inside, _gate) = internet.behind(&[
		&format!("PREROUTING -i net -p udp --dport 4000 -j DNAT --to-destination {INSIDE}:30500"),
		"POSTROUTING -o net -j MASQUERADE",
	]);
	let checker = internet.public("checker", &[&format!("{CHECKER_AT}/16")]);
	let external = format!("{GATE_AT}:4000");
	let two = Two::start(
		(&inside, &["--external-address", &external]),
		(&checker, &[]),
	);
	let (worker, _) = two.meet(|_| true);
	assert!(only(&worker, &external), "{worker:?}");
	two.proves();
}

/// A gateway that speaks NAT-PMP (RFC 6886), and not PCP: it forwards ports from 40,000 on, by iptables.
async fn nat_pmp(gate: String) {
	let socket = UdpSocket::bind((GATE_INSIDE, 5_351)).await.unwrap();
	let began = Instant::now();
	let mut request = [0; 1_100];
	loop {
		let (length, from) = socket.recv_from(&mut request).await.unwrap();
		let epoch = (began.elapsed().as_secs() as u32).to_be_bytes();
		let mut answer = Vec::new();
		match request[..length] {
			// The external address.
			[0, 0] => {
				answer.extend([0, 128, 0, 0]);
				answer.extend(epoch);
				answer.extend(GATE_AT.parse::<Ipv4Addr>().unwrap().octets());
			}
			// A mapping of a UDP port; with a lifetime of 0, its end.
			[0, 1, _, _, inner_high, inner_low, _, _, ref lifetime @ ..] if lifetime.len() == 4 => {
				let inner = u16::from_be_bytes([inner_high, inner_low]);
				let outer = 40_000 + inner % 1_000;
				if lifetime != [0; 4] {
					nat(
						&gate,
						&format!(
							"PREROUTING -i net -p udp --dport {outer} -j DNAT --to-destination {}:{inner}",
							from.ip()
						),
					);
				}
				answer.extend([0, 129, 0, 0]);
				answer.extend(epoch);
				answer.extend(inner.to_be_bytes());
				answer.extend(outer.to_be_bytes());
				answer.extend(lifetime);
			}
			// Another version.
			[_, operation, ..] => {
				answer.extend([0, operation | 128, 0, 1]);
				answer.extend(epoch);
			}
			_ => continue,
		}
		socket.send_to(&answer, from).await.unwrap();
	}
}

#[test]
fn an_agent_behind_nat_has_its_gateway_forward_a_port() {
	let internet = Internet::new();
	let (inside, gate) = internet.behind(&["POSTROUTING -o net -j MASQUERADE"]);
	let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
	let name = gate.name().to_owned();
	let serving = gate.spawn(async move || {
		tokio::select! {
			() = nat_pmp(name) => (),
			_ = stopped => (),
		}
	});
	let checker = internet.public("checker", &[&format!("{CHECKER_AT}/16")]);
	let two = Two::start((&inside, &[]), (&checker, &[]));
	let mapped = format!("{GATE_AT}:40500");
	let (worker, _) = two.meet(|record| !record.addresses.is_empty());
	assert!(only(&worker, &mapped), "{worker:?}");
	two.proves();
	let said = format!("the gateway forwards UDP {mapped} to this agent's port 30500");
	assert!(two.worker.log().contains(&said), "{}", two.worker.log());
	drop(stop);
	serving.join().unwrap();
}

#[test]
fn agents_behind_nat_without_any_port_meet_through_our_relay() {
	let internet = Internet::new();
	// It gives each connection a random port, so nobody can guess one.
	let (inside, _gate) = internet.behind(&["POSTROUTING -o net -j MASQUERADE --random-fully"]);
	let checker = internet.public("checker", &[&format!("{CHECKER_AT}/16")]);
	let relay = internet.public("relay", &[&format!("{RELAY_AT}/16")]);
	let listen = format!("{RELAY_AT}:3340");
	let options = kaisar_relay::Options::parse_from(["kaisar-relay", "--listen", &listen]);
	let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
	let relaying = relay.spawn(async move || {
		let relay = kaisar_relay::Relay::start(options).await.unwrap();
		let _ = stopped.await;
		relay.stop().await.unwrap();
	});
	let url = format!("http://{listen}");
	let two = Two::start(
		(&inside, &["--no-port-mapping", "--relay-url", &url]),
		// This gateway drops unsolicited packets, like a firewall.
		(&checker, &["--relay-url", &url]),
	);
	let (worker, _) = two.meet(|record| !record.relays.is_empty());
	assert_eq!(worker.relays, [format!("{url}/")]);
	assert!(worker.addresses.is_empty(), "{worker:?}");
	two.proves();
	drop(stop);
	relaying.join().unwrap();
}

#[test]
fn an_agent_that_nobody_can_reach_says_so() {
	let internet = Internet::new();
	let (inside, _gate) = internet.behind(&["POSTROUTING -o net -j MASQUERADE"]);
	let world = World::new();
	let host = Host::start(&world, &inside, WORKER, &[]);
	let deadline = Instant::now() + LIMIT;
	while !host.log().contains("cannot reach this one") {
		assert!(Instant::now() < deadline, "{}", host.log());
		sleep(Duration::from_millis(200));
	}
	let log = host.log();
	assert!(
		log.contains(INSIDE) && log.contains("--external-address"),
		"{log}"
	);
	assert_eq!(host.exchange(&[]), None, "nothing private is published");
}

#[test]
fn agents_with_ipv6_only_reach_each_other() {
	let internet = Internet::new();
	let worker = internet.public("worker", &["2a01:4f8:1::22/64"]);
	let checker = internet.public("checker", &["2a01:4f8:1::11/64"]);
	let two = Two::start((&worker, &[]), (&checker, &[]));
	let (worker, _) = two.meet(|record| !record.addresses.is_empty());
	assert!(only(&worker, "[2a01:4f8:1::22]:30500"), "{worker:?}");
	two.proves();
}

#[test]
fn a_host_with_twenty_bridges_publishes_its_public_addresses() {
	let internet = Internet::new();
	let worker = internet.public("worker", &[&format!("{WORKER_AT}/16"), "2a01:4f8:1::22/64"]);
	for bridge in 1..=20 {
		let space = worker.name();
		ip(&format!("-n {space} link add br{bridge} type bridge"));
		for address in [
			format!("172.20.{bridge}.1/24"),
			format!("fd00:{bridge}::1/64"),
		] {
			ip(&format!("-n {space} addr add {address} dev br{bridge}"));
		}
		ip(&format!("-n {space} link set br{bridge} up"));
	}
	let checker = internet.public("checker", &[&format!("{CHECKER_AT}/16")]);
	let two = Two::start((&worker, &[]), (&checker, &[]));
	let (worker, _) = two.meet(|record| record.addresses.len() == 2);
	let public = [
		format!("{WORKER_AT}:30500"),
		"[2a01:4f8:1::22]:30500".into(),
	];
	assert_eq!(worker.addresses, public);
	two.proves();
}
