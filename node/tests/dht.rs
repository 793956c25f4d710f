//! Attacks on the records of agents' addresses: a program that speaks Kademlia sends arbitrary records, with
//! any expiry, to a real node.

use codec::Encode;
use futures::StreamExt;
use kaisar_primitives::agent::{AddressBook, AddressRecord, address_key};
use litep2p::{
	Litep2p, Litep2pEvent,
	config::ConfigBuilder,
	crypto::ed25519::Keypair,
	protocol::libp2p::kademlia::{
		ConfigBuilder as KademliaConfig, KademliaEvent, KademliaHandle, Quorum, Record, RecordKey,
	},
	transport::tcp::config::Config as Tcp,
	types::{multiaddr::Multiaddr, protocol::ProtocolName},
};
use sp_core::{Pair, ed25519};
use std::{
	collections::BTreeSet,
	io::{BufRead, BufReader, Read, Write},
	net::{TcpListener, TcpStream},
	path::{Path, PathBuf},
	process::{Child, Command, Stdio},
	time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Key of the node, from which its peer id follows.
const NODE_KEY: [u8; 32] = [7; 32];
/// Timeout of each step.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A node of a development chain.
struct Node {
	process: Child,
	p2p: u16,
	genesis: String,
	_folder: tempfile::TempDir,
}

impl Node {
	/// Starts a node whose agent reports this record; without a record the node has no agents.
	fn start(agent: Option<&AddressRecord>) -> Self {
		let folder = tempfile::tempdir().expect("a temporary folder can be created");
		let agents = match agent {
			None => vec!["--no-agents".into()],
			Some(record) => {
				let token = folder.path().join("token");
				std::fs::write(&token, "token").expect("the token can be written");
				vec![
					format!("--agent-url={}", serve(record)),
					format!("--agent-token-file={}", token.display()),
				]
			}
		};
		// The port is free again at once, and the node takes it.
		let p2p = TcpListener::bind("127.0.0.1:0")
			.and_then(|port| port.local_addr())
			.expect("a port is free")
			.port();
		let binary = Path::new(env!("CARGO_BIN_EXE_kaisar-node"));
		let cache: PathBuf = binary.with_file_name("wasm-cache");
		let mut process = Command::new(binary)
			.args(["--dev", "--sealing=manual", "--rpc-port=0"])
			.args(agents)
			.args([
				"--no-prometheus",
				"--no-telemetry",
				"--no-mdns",
				"--node-key",
			])
			.arg(hex::encode(NODE_KEY))
			.arg(format!("--listen-addr=/ip4/127.0.0.1/tcp/{p2p}"))
			.arg("--base-path")
			.arg(folder.path())
			.arg("--wasm-cache")
			.arg(cache)
			.env("NO_COLOR", "1")
			.stderr(Stdio::piped())
			.spawn()
			.expect("the node starts");
		let log = BufReader::new(process.stderr.take().expect("the standard error is piped"));
		let mut lines = log.lines().map_while(Result::ok);
		let rpc = lines.find_map(|line| {
			let (_, address) = line.split_once("Running JSON-RPC server: addr=")?;
			let (_, port) = address.split(',').next()?.rsplit_once(':')?;
			port.parse::<u16>().ok()
		});
		let rpc = rpc.expect("the node serves RPC");
		std::thread::spawn(move || lines.for_each(drop));
		let genesis = genesis(rpc);
		Self {
			process,
			p2p,
			genesis,
			_folder: folder,
		}
	}
}

impl Drop for Node {
	fn drop(&mut self) {
		let _ = self.process.kill();
		let _ = self.process.wait();
	}
}

/// Returns the hash of the chain's genesis block, in hex.
fn genesis(rpc: u16) -> String {
	let body = r#"{"id":1,"jsonrpc":"2.0","method":"chain_getBlockHash","params":[0]}"#;
	let mut stream = TcpStream::connect(("127.0.0.1", rpc)).expect("the node listens");
	write!(
		stream,
		"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n\
		 content-length: {}\r\n\r\n{body}",
		body.len()
	)
	.expect("the node reads the request");
	let mut answer = String::new();
	stream
		.read_to_string(&mut answer)
		.expect("the node answers");
	let (_, hash) = answer.split_once(r#""result":"0x"#).expect("a hash");
	hash[..64].into()
}

/// Starts an agent that answers every request with this record, and returns its URL.
fn serve(record: &AddressRecord) -> String {
	let book = AddressBook {
		agent: record.agent,
		record: record.encode(),
		wanted: Vec::new(),
	}
	.encode();
	let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
	let address = listener.local_addr().expect("the socket is bound");
	std::thread::spawn(move || {
		for stream in listener.incoming().flatten() {
			// The node may end meanwhile.
			let _ = answer(stream, &book);
		}
	});
	format!("http://{address}")
}

/// Reads a request and sends this answer.
fn answer(stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
	let mut stream = BufReader::new(stream);
	let mut length = 0;
	loop {
		let mut line = String::new();
		stream.read_line(&mut line)?;
		if line.trim().is_empty() {
			break;
		}
		if let Some(value) = line.strip_prefix("content-length: ") {
			length = value.trim().parse().unwrap_or(0);
		}
	}
	std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink())?;
	let mut stream = stream.into_inner();
	write!(
		stream,
		"HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
		body.len()
	)?;
	stream.write_all(body)
}

/// A peer that sends arbitrary records.
struct Attacker {
	kademlia: KademliaHandle,
	node: litep2p::PeerId,
}

impl Attacker {
	async fn meet(node: &Node) -> Self {
		let protocol = ProtocolName::from(format!("/{}/kad", node.genesis));
		let (kademlia, handle) = KademliaConfig::new()
			.with_protocol_names(vec![protocol])
			.build();
		let config = ConfigBuilder::new()
			.with_tcp(Tcp::default())
			.with_libp2p_kademlia(kademlia)
			.build();
		let mut network = Litep2p::new(config).expect("the peer starts");
		let secret = litep2p::crypto::ed25519::SecretKey::try_from_bytes(NODE_KEY);
		let key = Keypair::from(secret.expect("32 bytes"));
		let peer =
			litep2p::PeerId::from_public_key(&litep2p::crypto::PublicKey::Ed25519(key.public()));
		let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", node.p2p)
			.parse()
			.expect("an address");
		handle.add_known_peer(peer, vec![address.clone()]).await;
		// The node may serve RPC before it listens to peers.
		let deadline = Instant::now() + PATIENCE;
		loop {
			let dialed = network.dial_address(address.clone()).await;
			dialed.expect("the peer dials");
			match network.next_event().await {
				Some(Litep2pEvent::ConnectionEstablished { .. }) => break,
				other => assert!(Instant::now() < deadline, "no connection: {other:?}"),
			}
			tokio::time::sleep(Duration::from_millis(100)).await;
		}
		tokio::spawn(async move { while network.next_event().await.is_some() {} });
		Self {
			kademlia: handle,
			node: peer,
		}
	}

	/// Asks the node to keep a record for this time, and waits until it has processed the request.
	async fn put(&mut self, record: &AddressRecord, time: Duration) {
		let query = self.ask_to_keep(record, time).await;
		self.settle(BTreeSet::from([query])).await;
	}

	async fn ask_to_keep(&mut self, record: &AddressRecord, time: Duration) -> usize {
		let record = Record {
			key: RecordKey::from(address_key(&record.agent).to_vec()),
			value: record.encode(),
			publisher: None,
			expires: Some(Instant::now() + time),
		};
		let query = self
			.kademlia
			.put_record_to_peers(record, vec![self.node], false, Quorum::One)
			.await;
		query.0
	}

	/// Waits until the node has acknowledged these messages.
	async fn settle(&mut self, mut queries: BTreeSet<usize>) {
		while !queries.is_empty() {
			match self.next().await {
				KademliaEvent::PutRecordSuccess { query_id, .. } => {
					queries.remove(&query_id.0);
				}
				KademliaEvent::QueryFailed { query_id } => {
					assert!(
						!queries.contains(&query_id.0),
						"the node takes each message"
					);
				}
				_ => (),
			}
		}
	}

	/// Waits until the node returns a record with this stamp for an agent.
	async fn await_stamp(&mut self, agent: &ed25519::Public, stamp: u64) {
		let deadline = Instant::now() + PATIENCE;
		loop {
			let given = self.stamp(agent).await;
			if given == Some(stamp) {
				return;
			}
			assert!(
				Instant::now() < deadline,
				"the node returns {given:?} instead of {stamp}"
			);
			tokio::time::sleep(Duration::from_millis(20)).await;
		}
	}

	/// Returns the stamp of the record that the node returns for an agent.
	async fn stamp(&mut self, agent: &ed25519::Public) -> Option<u64> {
		let key = RecordKey::from(address_key(agent).to_vec());
		let query = self.kademlia.get_record(key, Quorum::One).await;
		let mut found = None;
		loop {
			match self.next().await {
				KademliaEvent::GetRecordPartialResult { query_id, record } if query_id == query => {
					found = AddressRecord::read(agent, &record.record.value);
				}
				KademliaEvent::GetRecordSuccess { query_id }
				| KademliaEvent::QueryFailed { query_id }
					if query_id == query =>
				{
					return found.map(|record| record.stamp);
				}
				_ => (),
			}
		}
	}

	async fn next(&mut self) -> KademliaEvent {
		let next = tokio::time::timeout(PATIENCE, self.kademlia.next()).await;
		next.expect("the node answers")
			.expect("the peer is running")
	}
}

/// Returns the key of an operator's agent on the development chain.
fn checker(number: u8) -> ed25519::Pair {
	let path = format!("//Checker{number}//agent");
	ed25519::Pair::from_string(&path, None).expect("the secret is valid")
}

fn signed(pair: &ed25519::Pair, stamp: u64) -> AddressRecord {
	let (addresses, relays) = (vec!["193.5.0.1:30500".to_string()], Vec::new());
	let payload = AddressRecord::payload(&pair.public(), &addresses, &relays, stamp);
	AddressRecord {
		agent: pair.public(),
		addresses,
		relays,
		stamp,
		signature: pair.sign(&payload),
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_neither_freezes_nor_shuts_out_an_agents_addresses() {
	let node = Node::start(None);
	let mut attacker = Attacker::meet(&node).await;
	let [petra, carla, dan] = [1, 2, 3].map(checker);
	let mut turn = 0;
	// A node acknowledges a message before it processes it, and processes messages in order. So all are
	// processed once a later record of Carla's can be read.
	let mut looked = async |attacker: &mut Attacker| {
		turn += 1;
		attacker.put(&signed(&carla, turn), DAY).await;
		attacker.await_stamp(&carla.public(), turn).await;
	};

	// Petra's genuine record, with an expiry of a hundred years. Then her address changes.
	attacker.put(&signed(&petra, 5), 36_500 * DAY).await;
	looked(&mut attacker).await;
	assert_eq!(attacker.stamp(&petra.public()).await, Some(5));
	attacker.put(&signed(&petra, 7), DAY).await;
	looked(&mut attacker).await;
	assert_eq!(
		attacker.stamp(&petra.public()).await,
		Some(7),
		"the newest stands"
	);
	// The old record again.
	attacker.put(&signed(&petra, 5), 36_500 * DAY).await;
	looked(&mut attacker).await;
	assert_eq!(
		attacker.stamp(&petra.public()).await,
		Some(7),
		"no old one returns"
	);

	// A record with a stamp from the future would stay until then.
	let now = SystemTime::now()
		.duration_since(UNIX_EPOCH)
		.expect("the clock is past 1970");
	let now = now.as_millis() as u64;
	attacker.put(&signed(&dan, now + 3_600_000), DAY).await;
	looked(&mut attacker).await;
	assert_eq!(attacker.stamp(&dan.public()).await, None);

	// More records of made-up agents than the store holds, and then that of a new one.
	let made_up = |number: u32| {
		let mut seed = [9; 32];
		seed[..4].copy_from_slice(&number.to_le_bytes());
		signed(&ed25519::Pair::from_seed(&seed), 1)
	};
	for turn in 0..22 {
		let mut asked = BTreeSet::new();
		for number in turn * 50..(turn + 1) * 50 {
			let record = made_up(number);
			asked.insert(attacker.ask_to_keep(&record, 36_500 * DAY).await);
		}
		attacker.settle(asked).await;
	}
	looked(&mut attacker).await;
	assert_eq!(
		attacker.stamp(&made_up(0).agent).await,
		None,
		"the chain does not know it"
	);
	attacker.put(&signed(&dan, now), DAY).await;
	looked(&mut attacker).await;
	assert_eq!(attacker.stamp(&dan.public()).await, Some(now));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_gives_the_newer_record_of_an_agent_that_moved_away() {
	let petra = checker(1);
	let node = Node::start(Some(&signed(&petra, 5)));
	let mut peer = Attacker::meet(&node).await;
	peer.await_stamp(&petra.public(), 5).await;
	// Another node publishes for her now.
	for stamp in [7, 8] {
		peer.put(&signed(&petra, stamp), DAY).await;
		peer.await_stamp(&petra.public(), stamp).await;
	}
}
