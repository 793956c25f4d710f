//! The tests' machine: agents over QUIC and loopback HTTP, driven like by their nodes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use codec::{Decode, DecodeAll, Encode};
use iroh::{
	Endpoint, EndpointAddr, SecretKey,
	endpoint::{Connection, presets},
};
use kaisar_agent::{
	Agent, Config, Time,
	containers::{Served, Settings},
	gpu::Choice,
	now_wall_ms,
	peer::{
		endpoint::Peers,
		network::Network,
		wire::{self, Introduction, MAX_REPLY, Refusal, Request},
	},
	trial::{
		device::Device,
		disk::{Plot, Ready},
		job::Job,
		run::{Machine, Prepared as Filled, Proof},
	},
	worker::doorkeeper::ServedOrders,
};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, CheckerKey, ClientKey, OrderId, WorkerSpec,
	agent::{
		Attestation, Checked, PATH_CHECK, PATH_PREPARE, PATH_PROVE, PATH_ROUND, PATH_SEATS,
		PrepareRequest, Prepared, Progress, ProveRequest, RoundStart, SeatAnswers, SeatClaim,
		SeatReply, SeatRequest, SeatRound,
	},
	keys::receipt_payload,
};
use sp_core::{H256, Pair, ed25519, sr25519};
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::Path,
	sync::{Arc, Mutex},
	time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{TcpListener, TcpStream},
	task::JoinSet,
};

pub const TOKEN: &str = "a token of the tests";
pub const BENCH: BenchParams = BenchParams {
	n: 128,
	turns: 2,
	window_mib: 1,
	stages: 4,
	memory_mib: 4,
	disk_mib: 8,
	reads: 8,
	bandwidth_secs: 1,
};
/// The seed of the round.
pub const ROUND_SEED: H256 = H256::repeat_byte(7);
pub const WORKER: u8 = 1;
pub const CHECKERS: [u8; 3] = [11, 12, 13];

pub fn spec() -> WorkerSpec {
	WorkerSpec {
		cpu_cores: 2,
		memory_gb: 8,
		disk_gb: 10,
		download_mbps: 90,
		upload_mbps: 90,
		region: *b"DE",
		..Default::default()
	}
}

pub fn pair(name: u8) -> ed25519::Pair {
	ed25519::Pair::from_seed(&[name; 32])
}

pub fn checker_key(name: u8) -> CheckerKey {
	sr25519::Pair::from_seed(&[name; 32]).public().into()
}

pub fn committee() -> Vec<(CheckerKey, AgentKey)> {
	CHECKERS
		.map(|name| (checker_key(name), pair(name).public()))
		.to_vec()
}

/// An agent, in this process or another, reachable for its node and other agents.
pub trait Reached {
	/// Base URL of its HTTP service.
	fn url(&self) -> &str;

	/// Its key.
	fn key(&self) -> AgentKey;

	/// Addresses of its QUIC endpoint.
	fn addrs(&self) -> Vec<SocketAddr>;
}

impl Reached for Agent {
	fn url(&self) -> &str {
		Self::url(self)
	}

	fn key(&self) -> AgentKey {
		Self::key(self)
	}

	fn addrs(&self) -> Vec<SocketAddr> {
		Self::addrs(self)
	}
}

/// Returns the settings of an agent with its folders in `dir`.
pub fn config_in(dir: &Path, name: u8, patience: Duration) -> Config {
	Config {
		listen: "127.0.0.1:0".parse().unwrap(),
		token: TOKEN.into(),
		secret: [name; 32],
		peers_dir: dir.join("peers"),
		data_dir: dir.join(name.to_string()),
		network: Network::local([127, 0, 0, 1].into()),
		patience,
		own_line: None,
		time: Time::real(),
		gpus: Choice::Off.into(),
		containers: Settings::default(),
	}
}

/// A machine of the tests: its folders outlive its agent.
pub struct World {
	pub dir: TempDir,
	pub client: reqwest::Client,
	pub genesis: H256,
	/// The seed of the round.
	pub round_seed: H256,
	/// The seed of the trial.
	pub seed: H256,
	pub bench: BenchParams,
	pub spec: WorkerSpec,
	pub reference: Option<ClassReference>,
	pub gpus: Choice,
	pub containers: Settings,
}

impl World {
	pub fn new() -> Self {
		Self {
			dir: tempfile::tempdir().unwrap(),
			// A kept connection may be closed before its next use.
			client: reqwest::Client::builder()
				.pool_max_idle_per_host(0)
				.build()
				.unwrap(),
			genesis: H256::repeat_byte(1),
			round_seed: ROUND_SEED,
			seed: H256::repeat_byte(2),
			bench: BENCH,
			spec: spec(),
			reference: None,
			gpus: Choice::Off,
			containers: Settings::default(),
		}
	}

	pub fn path(&self) -> &Path {
		self.dir.path()
	}

	pub async fn agent(&self, name: u8) -> Agent {
		self.agent_with(name, Duration::from_secs(30)).await
	}

	pub async fn agent_with(&self, name: u8, patience: Duration) -> Agent {
		Agent::start(self.config(name, patience)).await.unwrap()
	}

	/// Starts a worker's agent whose containers are servers of the test.
	pub async fn agent_serving(&self, name: u8, orders: &Shelf) -> Agent {
		let config = self.config(name, Duration::from_secs(30));
		let orders = orders.clone();
		Agent::start_with(config, |_| Arc::new(orders))
			.await
			.unwrap()
	}

	pub fn config(&self, name: u8, patience: Duration) -> Config {
		let config = config_in(self.path(), name, patience);
		Config {
			gpus: if name == WORKER {
				self.gpus
			} else {
				Choice::Off
			}
			.into(),
			containers: self.containers.clone(),
			..config
		}
	}

	pub async fn raw(
		&self,
		agent: &impl Reached,
		path: &str,
		token: &str,
		body: Vec<u8>,
	) -> (u16, Vec<u8>) {
		let answer = self
			.client
			.post(format!("{}{path}", agent.url()))
			.bearer_auth(token)
			.body(body)
			.send()
			.await
			.unwrap();
		(
			answer.status().as_u16(),
			answer.bytes().await.unwrap().to_vec(),
		)
	}

	pub async fn ask<T: Decode>(&self, agent: &impl Reached, path: &str, body: impl Encode) -> T {
		let (status, bytes) = self.raw(agent, path, TOKEN, body.encode()).await;
		assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
		T::decode_all(&mut &bytes[..]).unwrap()
	}

	pub async fn start_round(&self, agents: &[impl Reached]) {
		let start = RoundStart {
			genesis: self.genesis,
			round: 4,
			seed: self.round_seed,
			trial_seed: self.seed,
			late: false,
			keep_ms: 600_000,
		};
		for agent in agents {
			self.ask::<()>(agent, PATH_ROUND, &start).await;
		}
	}

	/// A checker's node at a block: it answers its agent's claims, yes to those of `admitted`. Returns how
	/// many it answered.
	pub async fn answer_claims(
		&self,
		checker: &impl Reached,
		admitted: impl Fn(&SeatClaim) -> bool,
	) -> usize {
		self.answer_claims_under(self.round_seed, checker, admitted)
			.await
	}

	/// Does the same for a round with this seed.
	pub async fn answer_claims_under(
		&self,
		seed: H256,
		checker: &impl Reached,
		admitted: impl Fn(&SeatClaim) -> bool,
	) -> usize {
		let mut answers = Vec::new();
		let mut count = 0;
		loop {
			let request = SeatAnswers {
				genesis: self.genesis,
				rounds: vec![SeatRound {
					round: 4,
					seed,
					keep_ms: 600_000,
				}],
				answers,
			};
			let claims: Vec<SeatClaim> = self.ask(checker, PATH_SEATS, &request).await;
			if claims.is_empty() {
				return count;
			}
			count += claims.len();
			answers = claims
				.into_iter()
				.map(|claim| (claim, admitted(&claim)))
				.collect();
		}
	}

	pub fn prepare_request(&self) -> PrepareRequest {
		PrepareRequest {
			genesis: self.genesis,
			round: 4,
			seed: self.round_seed,
			worker: 7,
			spec: self.spec,
			bench: self.bench,
			reference: self.reference,
			trial_ms: 60_000,
			committee: committee(),
			runs: true,
			spread_ms: 0,
			keep_ms: 600_000,
		}
	}

	/// The prepare part of a round: the worker's agent introduces itself to the committee, whose agents'
	/// nodes admit it, until it is connected to these checkers.
	pub async fn prepare(&self, worker: &impl Reached, checkers: &[impl Reached]) {
		let request = PrepareRequest {
			committee: committee()
				.into_iter()
				.filter(|(_, agent)| checkers.iter().any(|checker| checker.key() == *agent))
				.collect(),
			..self.prepare_request()
		};
		until(Duration::from_secs(60), async || {
			for checker in checkers {
				self.answer_claims(checker, is_the_workers).await;
			}
			let prepared: Prepared = self.ask(worker, PATH_PREPARE, &request).await;
			(prepared.connected as usize == checkers.len()).then_some(())
		})
		.await;
	}

	pub fn prove_request(&self) -> ProveRequest {
		ProveRequest {
			genesis: self.genesis,
			round: 4,
			seed: self.round_seed,
			trial_seed: self.seed,
			worker: 7,
			spec: self.spec,
			bench: self.bench,
			reference: self.reference,
			order: None,
			committee: committee(),
			keep_ms: 600_000,
		}
	}

	pub async fn prove(&self, worker: &impl Reached) -> [u8; 32] {
		let request = self.prove_request();
		until(Duration::from_secs(60), async || {
			match self
				.ask::<Progress<Attestation>>(worker, PATH_PROVE, &request)
				.await
			{
				Progress::Working => None,
				Progress::Done(attestation) => Some(attestation.root),
				Progress::Failed(error) => panic!("{error}"),
			}
		})
		.await
	}

	pub fn seat(&self, checker: u8, root: [u8; 32]) -> SeatRequest {
		SeatRequest {
			genesis: self.genesis,
			round: 4,
			seed: self.round_seed,
			trial_seed: self.seed,
			worker: 7,
			agent: pair(WORKER).public(),
			spec: self.spec,
			bench: self.bench,
			reference: self.reference,
			root,
			open_seed: H256::repeat_byte(3),
			checker: checker_key(checker),
			seats: 3,
			full: true,
			window: Some(now_wall_ms() + 1_500),
			rented: false,
			order: None,
		}
	}

	pub async fn check(&self, checker: &impl Reached, request: SeatRequest) -> Checked {
		until(Duration::from_secs(60), async || {
			let replies: Vec<SeatReply> =
				self.ask(checker, PATH_CHECK, vec![request.clone()]).await;
			assert_eq!((replies.len(), replies[0].worker), (1, 7));
			match replies.into_iter().next().unwrap().progress {
				Progress::Working => None,
				Progress::Done(checked) => Some(checked),
				Progress::Failed(error) => panic!("{error}"),
			}
		})
		.await
	}

	pub fn receipt_fits(&self, checked: &Checked, checker: u8) -> bool {
		let payload = receipt_payload(self.genesis, 4, self.seed, 7, &checker_key(checker));
		checked
			.receipt
			.is_some_and(|receipt| ed25519::Pair::verify(&receipt, payload, &pair(WORKER).public()))
	}
}

/// The chain's record: worker 7 has this agent.
pub fn is_the_workers(claim: &SeatClaim) -> bool {
	(claim.worker, claim.agent) == (7, pair(WORKER).public())
}

/// Served orders, in place of an agent's containers.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<OrderId, Served>>>);

impl Shelf {
	pub fn put(&self, order: OrderId, served: Served) {
		self.0.lock().unwrap().insert(order, served);
	}

	pub fn remove(&self, order: OrderId) {
		self.0.lock().unwrap().remove(&order);
	}
}

impl ServedOrders for Shelf {
	fn served(&self, order: OrderId) -> Option<Served> {
		self.0.lock().unwrap().get(&order).cloned()
	}

	fn is_client(&self, key: &ClientKey) -> bool {
		let orders = self.0.lock().unwrap();
		orders.values().any(|served| served.client == *key)
	}
}

/// A server with a handler from the test.
pub async fn server<F: Future<Output = ()> + Send + 'static>(
	act: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinSet<()>) {
	let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
	let address = listener.local_addr().unwrap();
	let mut tasks = JoinSet::new();
	tasks.spawn(async move {
		let mut connections = JoinSet::new();
		loop {
			let (tcp, _) = listener.accept().await.unwrap();
			connections.spawn(act(tcp));
		}
	});
	(address, tasks)
}

/// Answers one request like a web server.
pub async fn web(mut tcp: TcpStream) {
	let mut request = [0; 256];
	if tcp.read(&mut request).await.is_ok_and(|length| length > 0) {
		let _ = tcp.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").await;
	}
}

/// Polls like a node at each block.
pub async fn until<T>(limit: Duration, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
	let deadline = Instant::now() + limit;
	loop {
		if let Some(value) = poll().await {
			return value;
		}
		assert!(Instant::now() < deadline, "it took too long");
		tokio::time::sleep(Duration::from_millis(20)).await;
	}
}

/// Creates an endpoint of a program other than the agent.
pub async fn bind_endpoint(
	secret: &[u8; 32],
	bind: Option<SocketAddr>,
	relay: Option<&str>,
	alpns: &[&[u8]],
) -> anyhow::Result<Endpoint> {
	let network = Network {
		bind,
		relays: relay.map(|url| url.parse().unwrap()).into_iter().collect(),
		..Network::local([127, 0, 0, 1].into())
	};
	network.endpoint(secret, alpns).await
}

/// Returns the addresses of such an endpoint.
pub fn own_addr(endpoint: &Endpoint) -> EndpointAddr {
	let mut addr = endpoint.addr();
	for socket in endpoint.bound_sockets() {
		addr = addr.with_ip_addr(socket);
	}
	addr
}

/// A dishonest worker with the key, and with a handler from the test.
pub async fn rogue(
	world: &World,
	act: impl AsyncFn(&mut iroh::endpoint::SendStream, wire::Request),
) {
	let bind = Some("127.0.0.1:0".parse().unwrap());
	let alpns = [wire::ALPN, kaisar_tunnel::ALPN];
	let endpoint = bind_endpoint(&[WORKER; 32], bind, None, &alpns)
		.await
		.unwrap();
	let peers = Peers::new(&world.path().join("peers")).unwrap();
	peers
		.publish(&pair(WORKER), &own_addr(&endpoint), 1)
		.unwrap();
	while let Some(incoming) = endpoint.accept().await {
		let Ok(connection) = incoming.accept().unwrap().await else {
			continue;
		};
		while let Ok((mut send, mut recv)) = connection.accept_bi().await {
			let Ok(request) = wire::read(&mut recv, wire::MAX_REQUEST).await else {
				continue;
			};
			act(&mut send, request).await;
			let _ = send.finish();
		}
	}
}

pub fn receipt(
	which: &wire::ProofRequest,
) -> Result<kaisar_primitives::AgentSignature, wire::Refusal> {
	Ok(pair(WORKER).sign(&which.receipt_payload()))
}

/// A stranger with its own address.
pub async fn stranger(key: u16, from: SocketAddr) -> Endpoint {
	let mut secret = [0xfe; 32];
	secret[..2].copy_from_slice(&key.to_le_bytes());
	endpoint(&secret, from).await
}

/// An endpoint of a program that is not our agent, with iroh's own settings.
pub async fn endpoint(secret: &[u8; 32], from: SocketAddr) -> Endpoint {
	Endpoint::builder(presets::Minimal)
		.secret_key(SecretKey::from_bytes(secret))
		.clear_ip_transports()
		.bind_addr(from)
		.unwrap()
		.bind()
		.await
		.unwrap()
}

/// The addresses of an agent.
pub fn address(agent: &impl Reached) -> EndpointAddr {
	let id = iroh::PublicKey::from_bytes(&agent.key().0).unwrap();
	let addr = EndpointAddr::new(id);
	agent
		.addrs()
		.into_iter()
		.fold(addr, EndpointAddr::with_ip_addr)
}

/// Returns an address in its own /24.
pub fn range(number: u16) -> SocketAddr {
	let [high, low] = number.to_be_bytes();
	SocketAddr::from(([127, 100 + high, low, 1], 0))
}

/// Sends a request to an agent over a connection.
pub async fn ask<T: codec::DecodeWithMemTracking>(
	connection: &Connection,
	request: &Request,
) -> anyhow::Result<Result<T, Refusal>> {
	let (mut send, mut recv) = connection.open_bi().await?;
	wire::write(&mut send, request).await?;
	Ok(wire::read(&mut recv, MAX_REPLY).await?)
}

/// The introduction for a worker.
pub fn introduction(world: &World, worker: u32) -> Request {
	Request::Introduce(Introduction {
		genesis: world.genesis,
		round: 4,
		worker,
	})
}

/// Files below a folder.
pub fn files(dir: &Path) -> usize {
	let Ok(entries) = std::fs::read_dir(dir) else {
		return 0;
	};
	entries
		.flatten()
		.map(|entry| {
			if entry.path().is_dir() {
				files(&entry.path())
			} else {
				1
			}
		})
		.sum()
}

/// Runs the trial of a job on these devices, with its own plot.
pub fn ran(job: &Job, seed: H256, devices: &[Arc<dyn Device>]) -> Proof {
	let dir = tempfile::tempdir().unwrap();
	let groups = job.plan().groups;
	let open = || Plot::open(dir.path(), "test", job.recipe());
	open().unwrap().grow(groups, 1, || true, |_| ()).unwrap();
	let machine = Machine {
		devices: devices.to_vec(),
		undisturbed: Box::new(()),
		memory: 1 << 30,
		memory_again: 1 << 30,
		groups,
		plot: &|size| Ready::new(open()?.view(), size),
	};
	let prepared = Filled::new(job, None, machine, None, &|| true).unwrap();
	Arc::new(prepared).run(seed, &|_, _| (), &|| true).unwrap()
}
