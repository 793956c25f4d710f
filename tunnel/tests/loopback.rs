//! Tests of the tunnel over real endpoints, with real TCP servers as containers.

use iroh::{
	Endpoint, EndpointAddr, SecretKey,
	endpoint::{Connection, VarInt, presets},
};
use kaisar_tunnel::{
	ALPN, DialRule, Door, Gate, Open, Pass, Purpose, Refusal, Server, Target, Tunnel, TunnelError,
	places, probe,
	server::Limits,
	wire::{self, CLOSE_BAD},
};
use std::{
	net::SocketAddr,
	sync::{Arc, Mutex},
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{TcpListener, TcpStream, UdpSocket},
	task::JoinSet,
	time::timeout,
};

const GENESIS: [u8; 32] = [1; 32];
const ORDER: u32 = 7;
const CLIENT: [u8; 32] = [2; 32];
const STRANGER: [u8; 32] = [3; 32];
const LIMITS: Limits = Limits {
	newcomer_time: Duration::from_secs(10),
	connections: 256,
	probes: 64,
	connections_each: 4,
	streams: 1_024,
	grace: Duration::from_millis(1_500),
};

/// Gate that serves one order to one key, on port 80 of its container and, if it is set, on port 22.
#[derive(Clone)]
struct OneOrder(
	Arc<Mutex<Result<Pass, Refusal>>>,
	Arc<Mutex<Option<SocketAddr>>>,
);

impl OneOrder {
	fn at(address: SocketAddr) -> Self {
		let pass = Pass {
			address,
			until: None,
			probe: false,
		};
		Self(Arc::new(Mutex::new(Ok(pass))), Arc::default())
	}

	fn set_second(&self, address: SocketAddr) {
		*self.1.lock().unwrap() = Some(address);
	}

	fn set(&self, leads: Result<Pass, Refusal>) {
		*self.0.lock().unwrap() = leads;
	}
}

impl Gate for OneOrder {
	fn knows(&self, client: &[u8; 32]) -> bool {
		client == SecretKey::from_bytes(&CLIENT).public().as_bytes()
	}

	fn admit(&self, client: &[u8; 32], open: &Open) -> Result<Pass, Refusal> {
		if !self.knows(client) || (open.genesis, open.order) != (GENESIS, ORDER) {
			return Err(Refusal::NotServed);
		}
		let pass = (*self.0.lock().unwrap())?;
		let second = *self.1.lock().unwrap();
		match (open.port, second) {
			(None | Some(80), _) => Ok(pass),
			(Some(22), Some(address)) => Ok(Pass { address, ..pass }),
			(Some(asked), second) => Err(Refusal::NoSuchPort {
				asked,
				served: [80].into_iter().chain(second.map(|_| 22)).collect(),
			}),
		}
	}
}

/// The part of a worker's agent that the tunnel needs.
struct Agent {
	endpoint: Endpoint,
	_serving: JoinSet<()>,
}

impl Agent {
	async fn start(gate: OneOrder, limits: Limits) -> Self {
		let endpoint = Endpoint::builder(presets::Minimal)
			.secret_key(SecretKey::from_bytes(&[9; 32]))
			.alpns(vec![ALPN.to_vec()])
			.clear_ip_transports()
			.bind_addr("127.0.0.1:0")
			.unwrap()
			.bind()
			.await
			.unwrap();
		let door = Door::new(places::Limits::default());
		let server = Arc::new(Server::new(gate, door, limits));
		let mut serving = JoinSet::new();
		let accepting = endpoint.clone();
		serving.spawn(async move {
			let mut connections = JoinSet::new();
			while let Some(incoming) = accepting.accept().await {
				let server = server.clone();
				connections.spawn(async move { server.welcome(incoming).await });
			}
		});
		Self {
			endpoint,
			_serving: serving,
		}
	}

	fn target(&self) -> Target {
		Target {
			genesis: GENESIS,
			order: ORDER,
			agent: *self.endpoint.id().as_bytes(),
			addresses: self.endpoint.bound_sockets(),
			relays: Vec::new(),
			rule: DialRule {
				private: true,
				..Default::default()
			},
		}
	}

	async fn open(&self) -> Result<Tunnel, TunnelError> {
		Tunnel::open(&CLIENT, &self.target(), None).await
	}

	/// Opens a connection that a test drives itself.
	async fn raw(&self, secret: &[u8; 32]) -> Result<Connection, iroh::endpoint::ConnectError> {
		let endpoint = Endpoint::builder(presets::Minimal)
			.secret_key(SecretKey::from_bytes(secret))
			.bind()
			.await
			.unwrap();
		let mut addr = EndpointAddr::new(self.endpoint.id());
		for address in self.endpoint.bound_sockets() {
			addr = addr.with_ip_addr(address);
		}
		let connection = endpoint.connect(addr, ALPN).await;
		// The endpoint has to live as long as its connection.
		std::mem::forget(endpoint);
		connection
	}
}

/// Starts a container that runs `act` on each connection.
async fn container<F: Future<Output = ()> + Send + 'static>(
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

async fn echo(mut tcp: TcpStream) {
	let (mut from, mut to) = tcp.split();
	let _ = tokio::io::copy(&mut from, &mut to).await;
	let _ = to.shutdown().await;
}

/// Starts an agent with an echoing container, and opens a tunnel to it.
async fn echoing() -> (Agent, OneOrder, Tunnel, JoinSet<()>) {
	let (address, tasks) = container(echo).await;
	let gate = OneOrder::at(address);
	let agent = Agent::start(gate.clone(), LIMITS).await;
	let tunnel = agent.open().await.unwrap();
	(agent, gate, tunnel, tasks)
}

async fn says(tunnel: &Tunnel, what: &[u8]) -> Vec<u8> {
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	send.write_all(what).await.unwrap();
	send.finish().unwrap();
	recv.read_to_end(1 << 20).await.unwrap()
}

/// Forwards a local port over the tunnel.
async fn forwarded(tunnel: &Arc<Tunnel>) -> (SocketAddr, JoinSet<Result<(), TunnelError>>) {
	let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
	let address = listener.local_addr().unwrap();
	let mut tasks = JoinSet::new();
	let tunnel = tunnel.clone();
	tasks.spawn(async move { tunnel.forward(listener).await });
	(address, tasks)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
	timeout(Duration::from_secs(20), what)
		.await
		.expect("it ends within 20 s")
}

/// Returns bytes that do not repeat.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
	let mut state = seed | 1;
	let mut out = Vec::with_capacity(length + 8);
	while out.len() < length {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		out.extend(state.to_le_bytes());
	}
	out.truncate(length);
	out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_orders_key_gets_through() {
	let (agent, _, tunnel, _container) = echoing().await;
	assert_eq!(says(&tunnel, b"hello").await, b"hello");
	assert!(!tunnel.is_relayed());

	// Another key, another order, another chain: all get the answer that a stranger gets.
	let refused = TunnelError::Refused(Refusal::NotServed);
	let target = agent.target();
	let other_order = Target {
		order: ORDER + 1,
		..target.clone()
	};
	let other_chain = Target {
		genesis: [4; 32],
		..target.clone()
	};
	for (secret, target) in [
		(STRANGER, &target),
		(STRANGER, &other_order),
		(CLIENT, &other_order),
		(CLIENT, &other_chain),
	] {
		let opened = Tunnel::open(&secret, target, None).await;
		assert_eq!(opened.unwrap_err(), refused);
	}
	tunnel.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_there_is_and_one_that_there_is_not() {
	let (agent, _, _tunnel, _container) = echoing().await;
	let tunnel = Tunnel::open(&CLIENT, &agent.target(), Some(80))
		.await
		.unwrap();
	assert_eq!(says(&tunnel, b"hello").await, b"hello");
	let opened = Tunnel::open(&CLIENT, &agent.target(), Some(81)).await;
	assert_eq!(
		opened.unwrap_err().to_string(),
		"the agent refuses: the order serves port 80, not 81"
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ports_are_forwarded_over_one_connection() {
	let (first, _first) = container(async |mut tcp| tcp.write_all(b"first").await.unwrap()).await;
	let (second, _second) =
		container(async |mut tcp| tcp.write_all(b"second").await.unwrap()).await;
	let gate = OneOrder::at(first);
	gate.set_second(second);
	let limits = Limits {
		connections_each: 1,
		..LIMITS
	};
	let agent = Agent::start(gate, limits).await;
	let tunnel = agent.open().await.unwrap();
	tunnel.ask(Some(22)).await.unwrap();
	assert_eq!(
		tunnel.ask(Some(23)).await.unwrap_err().to_string(),
		"the agent refuses: the order serves ports 80 and 22, not 23"
	);
	let tunnel = Arc::new(tunnel);
	let (by_default, _forwarding) = forwarded(&tunnel).await;
	let mut locals = vec![(by_default, "first")];
	let mut forwards = JoinSet::new();
	for (port, says) in [(80, "first"), (22, "second")] {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		locals.push((listener.local_addr().unwrap(), says));
		let tunnel = tunnel.clone();
		forwards.spawn(async move { tunnel.forward_to(listener, Some(port)).await });
	}
	for (local, says) in locals.into_iter().rev() {
		let mut answer = String::new();
		let mut tcp = TcpStream::connect(local).await.unwrap();
		soon(tcp.read_to_string(&mut answer)).await.unwrap();
		assert_eq!(answer, says);
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_stays_with_the_order_that_it_was_let_in_for() {
	let (agent, _, _tunnel, _container) = echoing().await;
	let connection = agent.raw(&CLIENT).await.unwrap();
	let answer = async |order| {
		let (mut send, mut recv) = connection.open_bi().await.unwrap();
		let open = Open {
			genesis: GENESIS,
			order,
			port: None,
			purpose: Purpose::Ask,
		};
		wire::write(&mut send, &open).await.unwrap();
		wire::read::<Result<(), Refusal>, _>(&mut recv)
			.await
			.unwrap()
	};
	assert_eq!(answer(ORDER + 1).await, Err(Refusal::NotServed));
	assert_eq!(answer(ORDER).await, Ok(()));
	assert_eq!(answer(ORDER + 1).await, Err(Refusal::NotServed));
	assert_eq!(answer(ORDER).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_ends_its_direction_by_itself() {
	// The container answers only after the client's last byte, which it recognizes only by the end.
	let (address, _container) = container(async |mut tcp| {
		let mut all = Vec::new();
		tcp.read_to_end(&mut all).await.unwrap();
		tcp.write_all(format!("{} bytes", all.len()).as_bytes())
			.await
			.unwrap();
	})
	.await;
	let gate = OneOrder::at(address);
	let agent = Agent::start(gate.clone(), LIMITS).await;
	let tunnel = Arc::new(agent.open().await.unwrap());
	let (local, _forward) = forwarded(&tunnel).await;
	let mut tcp = TcpStream::connect(local).await.unwrap();
	tcp.write_all(&bytes(1, 100_000)).await.unwrap();
	tcp.shutdown().await.unwrap();
	let mut answer = String::new();
	soon(tcp.read_to_string(&mut answer)).await.unwrap();
	assert_eq!(answer, "100000 bytes");

	// The container ends its direction first, and continues to read.
	let (heard, mut hears) = tokio::sync::mpsc::channel(1);
	let (address, _container) = container(move |mut tcp| {
		let heard = heard.clone();
		async move {
			tcp.write_all(b"welcome").await.unwrap();
			tcp.shutdown().await.unwrap();
			let mut all = Vec::new();
			tcp.read_to_end(&mut all).await.unwrap();
			heard.send(all).await.unwrap();
		}
	})
	.await;
	gate.set(Ok(Pass {
		address,
		until: None,
		probe: false,
	}));
	let mut tcp = TcpStream::connect(local).await.unwrap();
	let mut greeting = String::new();
	soon(tcp.read_to_string(&mut greeting)).await.unwrap();
	assert_eq!(greeting, "welcome");
	tcp.write_all(b"goodbye").await.unwrap();
	drop(tcp);
	assert_eq!(soon(hears.recv()).await.unwrap(), b"goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_come_through_as_they_are() {
	let (_agent, _, tunnel, _container) = echoing().await;
	let tunnel = Arc::new(tunnel);
	let (local, _forward) = forwarded(&tunnel).await;
	let sent = bytes(5, 100_000_000);
	let mut tcp = TcpStream::connect(local).await.unwrap();
	let (mut from, mut to) = tcp.split();
	let write = async {
		to.write_all(&sent).await.unwrap();
		to.shutdown().await.unwrap();
	};
	let mut came = Vec::with_capacity(sent.len());
	let read = from.read_to_end(&mut came);
	let (_, read) = timeout(Duration::from_secs(120), async {
		tokio::join!(write, read)
	})
	.await
	.unwrap();
	assert_eq!(read.unwrap(), sent.len());
	assert!(came == sent, "they are changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_keep_apart() {
	let (_agent, _, tunnel, _container) = echoing().await;
	let tunnel = Arc::new(tunnel);
	let (local, _forward) = forwarded(&tunnel).await;
	// Three times the number that is carried at a time.
	let mut all = JoinSet::new();
	for number in 0..192u64 {
		all.spawn(async move {
			let sent = bytes(number + 1, 20_000);
			let mut tcp = TcpStream::connect(local).await.unwrap();
			tcp.write_all(&sent).await.unwrap();
			tcp.shutdown().await.unwrap();
			let mut came = Vec::new();
			tcp.read_to_end(&mut came).await.unwrap();
			assert!(came == sent, "connection {number}");
		});
	}
	while let Some(done) = soon(all.join_next()).await {
		done.unwrap();
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_cut_when_the_customers_time_is_over() {
	let (agent, gate, tunnel, _container) = echoing().await;
	let tunnel = Arc::new(tunnel);
	let (local, mut forward) = forwarded(&tunnel).await;
	let mut tcp = TcpStream::connect(local).await.unwrap();
	let mut byte = [0];
	tcp.write_all(b"a").await.unwrap();
	tcp.read_exact(&mut byte).await.unwrap();

	let pass = (*gate.0.lock().unwrap()).unwrap();
	let begin = Instant::now();
	let ends = begin + Duration::from_millis(1_500);
	// The answers of an agent: a pass until a time, and its end from then on.
	gate.set(Ok(Pass {
		until: Some(ends),
		..pass
	}));
	let over = gate.clone();
	tokio::spawn(async move {
		tokio::time::sleep_until(ends.into()).await;
		over.set(Err(Refusal::Over));
	});
	// The stream does not end properly: it is cut off.
	let read = soon(tcp.read(&mut byte)).await;
	assert_eq!(
		read.unwrap_err().kind(),
		std::io::ErrorKind::ConnectionReset
	);
	let took = begin.elapsed();
	assert!(
		took >= Duration::from_millis(1_500) && took < Duration::from_millis(3_500),
		"{took:?}"
	);
	let over = TunnelError::Refused(Refusal::Over);
	assert_eq!(soon(tunnel.closed()).await, over);
	assert_eq!(
		soon(forward.join_next()).await.unwrap().unwrap(),
		Err(over.clone())
	);
	assert_eq!(agent.open().await.unwrap_err(), over);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_cut_as_well_and_an_extended_one_is_not() {
	let (_agent, gate, tunnel, _container) = echoing().await;
	let pass = (*gate.0.lock().unwrap()).unwrap();
	for _ in 0..3 {
		gate.set(Ok(Pass {
			until: Some(Instant::now() + Duration::from_millis(1_200)),
			..pass
		}));
		let closed = timeout(Duration::from_millis(1_000), tunnel.closed()).await;
		assert!(closed.is_err(), "it was extended");
	}
	// A container may be away for a while without ending the connection.
	gate.set(Err(Refusal::NotReady));
	let closed = timeout(Duration::from_millis(2_500), tunnel.closed()).await;
	assert!(closed.is_err());
	assert_eq!(
		tunnel.stream().await.unwrap_err(),
		TunnelError::Refused(Refusal::NotReady)
	);
	gate.set(Ok(pass));
	assert_eq!(says(&tunnel, b"back").await, b"back");
	// The gate does not know the order for a moment, and then for too long.
	gate.set(Err(Refusal::NotServed));
	let closed = timeout(Duration::from_millis(1_300), tunnel.closed()).await;
	assert!(closed.is_err());
	gate.set(Ok(pass));
	soon(async {
		while tunnel.stream().await.is_err() {
			tokio::task::yield_now().await;
		}
	})
	.await;
	gate.set(Err(Refusal::NotServed));
	assert_eq!(
		soon(tunnel.closed()).await,
		TunnelError::Refused(Refusal::NotServed)
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_does_not_listen() {
	let address = {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		listener.local_addr().unwrap()
	};
	let agent = Agent::start(OneOrder::at(address), LIMITS).await;
	let tunnel = Arc::new(agent.open().await.unwrap());
	assert_eq!(
		tunnel.stream().await.unwrap_err(),
		TunnelError::Refused(Refusal::NotReady)
	);
	// The tunnel stays open, and a local connection is reset.
	let (local, _forward) = forwarded(&tunnel).await;
	for _ in 0..2 {
		// The reset may arrive before the first read.
		let read = soon(async { TcpStream::connect(local).await?.read(&mut [0]).await }).await;
		assert_eq!(
			read.unwrap_err().kind(),
			std::io::ErrorKind::ConnectionReset
		);
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_is_never_taken_for_what_ends() {
	// The container sends something and crashes.
	let (address, _container) = container(async |mut tcp| {
		tcp.write_all(b"half of").await.unwrap();
		let mut byte = [0];
		let _ = tcp.read(&mut byte).await;
		tcp.set_zero_linger().unwrap();
	})
	.await;
	let gate = OneOrder::at(address);
	let agent = Agent::start(gate.clone(), LIMITS).await;
	let tunnel = Arc::new(agent.open().await.unwrap());
	let (local, _forward) = forwarded(&tunnel).await;
	let mut tcp = TcpStream::connect(local).await.unwrap();
	let mut half = [0; 7];
	tcp.read_exact(&mut half).await.unwrap();
	tcp.write_all(b"x").await.unwrap();
	let read = soon(tcp.read(&mut half)).await;
	assert_eq!(
		read.unwrap_err().kind(),
		std::io::ErrorKind::ConnectionReset
	);

	// The client crashes, and the container sees a crash.
	let (ended, mut ends) = tokio::sync::mpsc::channel(1);
	let (address, _container) = container(move |mut tcp| {
		let ended = ended.clone();
		async move {
			let mut all = Vec::new();
			let read = tcp.read_to_end(&mut all).await;
			ended
				.send(read.map_err(|error| error.kind()))
				.await
				.unwrap();
		}
	})
	.await;
	gate.set(Ok(Pass {
		address,
		until: None,
		probe: false,
	}));
	let mut tcp = TcpStream::connect(local).await.unwrap();
	tcp.write_all(b"half of").await.unwrap();
	tcp.set_zero_linger().unwrap();
	drop(tcp);
	assert_eq!(
		soon(ends.recv()).await.unwrap(),
		Err(std::io::ErrorKind::ConnectionReset)
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_huge_lengths_end_a_connection_and_hurt_no_other() {
	let (agent, _, tunnel, _container) = echoing().await;
	for garbage in [
		vec![0xff; 1 << 20],
		vec![0xff, 0xff],
		vec![3, 0, 1, 2, 3],
		[vec![64, 0], vec![0xa5; 64]].concat(),
	] {
		let connection = agent.raw(&CLIENT).await.unwrap();
		let (mut send, _recv) = connection.open_bi().await.unwrap();
		let _ = send.write_all(&garbage).await;
		assert_eq!(closed_with(&connection).await, CLOSE_BAD.into());
	}
	assert_eq!(says(&tunnel, b"hello").await, b"hello");
}

async fn closed_with(connection: &Connection) -> VarInt {
	match soon(connection.closed()).await {
		iroh::endpoint::ConnectionError::ApplicationClosed(close) => close.error_code,
		other => panic!("{other}"),
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_does_not_stay() {
	let (address, _container) = container(echo).await;
	let limits = Limits {
		newcomer_time: Duration::from_millis(800),
		..LIMITS
	};
	let agent = Agent::start(OneOrder::at(address), limits).await;
	let tunnel = agent.open().await.unwrap();
	// No stream at all, and many that send a byte at a time.
	for slow in [false, true] {
		let connection = agent.raw(&CLIENT).await.unwrap();
		let begin = Instant::now();
		let mut streams = Vec::new();
		if slow {
			for _ in 0..8 {
				let (mut send, recv) = connection.open_bi().await.unwrap();
				send.write_all(&[40]).await.unwrap();
				streams.push((send, recv));
			}
		}
		let code = closed_with(&connection).await;
		assert_eq!(code, Refusal::NotServed.close_code().into());
		assert!(begin.elapsed() < Duration::from_secs(3));
	}
	// An admitted connection may stay idle, but its streams may not.
	let connection = agent.raw(&CLIENT).await.unwrap();
	let kept = Tunnel::on(connection.clone(), GENESIS, ORDER, None)
		.await
		.unwrap();
	let (mut send, mut recv) = connection.open_bi().await.unwrap();
	send.write_all(&[40]).await.unwrap();
	let ended = soon(recv.read_to_end(10)).await;
	assert!(ended.is_ok_and(|answer| answer.is_empty()));
	assert_eq!(says(&kept, b"hello").await, b"hello");
	assert_eq!(says(&tunnel, b"hello").await, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_sent_away_right_after_the_handshake() {
	let (address, _container) = container(echo).await;
	let limits = Limits {
		// A connection that is closed within the test's timeout was not closed by this limit.
		newcomer_time: Duration::from_secs(3_600),
		..LIMITS
	};
	let agent = Agent::start(OneOrder::at(address), limits).await;
	for _ in 0..100 {
		let connection = agent.raw(&STRANGER).await.unwrap();
		let code = closed_with(&connection).await;
		assert_eq!(code, Refusal::NotServed.close_code().into());
	}
	assert_eq!(says(&agent.open().await.unwrap(), b"hello").await, b"hello");
}

/// Starts a client at `source` that never finishes its handshake: it answers the retry, and all later
/// packets are lost. It sends as long as the returned value is kept.
async fn half_open(agent: SocketAddr, id: iroh::EndpointId, source: &str) -> JoinSet<()> {
	let outside = UdpSocket::bind((source, 0)).await.unwrap();
	let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
	let addr = EndpointAddr::new(id).with_ip_addr(inside.local_addr().unwrap());
	let mut tasks = JoinSet::new();
	tasks.spawn(async move {
		let (mut there, mut back) = ([0; 2_048], [0; 2_048]);
		let (mut client, mut answers) = (None, 0);
		loop {
			tokio::select! {
				sent = inside.recv_from(&mut there) => {
					let (length, from) = sent.unwrap();
					client = Some(from);
					// The second flight has the token. No flight finishes the handshake.
					if answers < 2 {
						outside.send_to(&there[..length], agent).await.unwrap();
					}
				},
				answer = outside.recv_from(&mut back) => {
					let Ok((length, _)) = answer else { continue };
					answers += 1;
					// Only the retry packet passes.
					if let (1, Some(client)) = (answers, client) {
						inside.send_to(&back[..length], client).await.unwrap();
					}
				},
			}
		}
	});
	tasks.spawn(async move {
		let endpoint = Endpoint::builder(presets::Minimal)
			.clear_ip_transports()
			.bind_addr("127.0.0.1:0")
			.unwrap()
			.bind()
			.await
			.unwrap();
		let _ = endpoint.connect(addr, ALPN).await;
	});
	tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_never_finishes_its_handshakes_does_not_hold_the_door() {
	let (leads_to, _container) = container(echo).await;
	let agent = Agent::start(OneOrder::at(leads_to), LIMITS).await;
	let address = agent.endpoint.bound_sockets()[0];
	// More connections than places, from enough ranges.
	let mut crowd = Vec::new();
	for host in 0..140u8 {
		let source = format!("127.7.{}.{}", host / 4, host % 4 + 1);
		crowd.push(half_open(address, agent.endpoint.id(), &source).await);
	}
	// They are past their tenure, and their time is not over yet.
	tokio::time::sleep(Duration::from_secs(1)).await;
	// On a busy machine some of them are younger, and a customer tries again.
	let tunnel = soon(async {
		loop {
			match agent.open().await {
				Ok(tunnel) => return tunnel,
				Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
			}
		}
	})
	.await;
	assert_eq!(says(&tunnel, b"hello").await, b"hello");
	drop(crowd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_so_many_connections_and_streams() {
	let (address, _container) = container(echo).await;
	let limits = Limits {
		connections_each: 2,
		streams: 3,
		..LIMITS
	};
	let agent = Agent::start(OneOrder::at(address), limits).await;
	let first = agent.open().await.unwrap();
	let second = agent.open().await.unwrap();
	let busy = TunnelError::Refused(Refusal::Busy);
	assert_eq!(agent.open().await.unwrap_err(), busy);
	let mut streams = Vec::new();
	for tunnel in [&first, &second, &first] {
		streams.push(tunnel.stream().await.unwrap());
	}
	assert_eq!(second.stream().await.unwrap_err(), busy);
	// Dropped streams are free again.
	drop(streams);
	soon(async {
		while second.stream().await.is_err() {
			tokio::task::yield_now().await;
		}
	})
	.await;
	first.close().await;
	soon(async {
		while agent.open().await.is_err() {
			tokio::task::yield_now().await;
		}
	})
	.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_makes_no_client_dial_private_hosts_or_relays_of_others() {
	// A hostile record names a host in the customer's network, and a relay on it. Both record calls.
	let host = UdpSocket::bind("127.0.0.1:0").await.unwrap();
	let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
	let (agent, _, tunnel, _container) = echoing().await;
	tunnel.close().await;
	let hostile = Target {
		addresses: vec![host.local_addr().unwrap()],
		relays: vec![
			format!("http://{}", relay.local_addr().unwrap()),
			"not a URL".into(),
		],
		rule: DialRule::default(),
		..agent.target()
	};
	let opened = Tunnel::open(&CLIENT, &hostile, None).await.unwrap_err();
	assert!(matches!(opened, TunnelError::Undialable(_)), "{opened}");
	assert!(opened.to_string().contains("1 are private"), "{opened}");
	// The same with an additional public address, which is dialed. It is in a range that is not routed here.
	let mixed = Target {
		addresses: vec![host.local_addr().unwrap(), "[2a00:1::1]:9".parse().unwrap()],
		..hostile
	};
	let dialed = Tunnel::open(&CLIENT, &mixed, None);
	let dialed = tokio::time::timeout(Duration::from_secs(3), dialed).await;
	assert!(!matches!(dialed, Ok(Ok(_))));
	let mut packet = [0; 2_000];
	assert!(host.try_recv_from(&mut packet).is_err(), "a packet came");
	let called = tokio::time::timeout(Duration::from_millis(100), relay.accept()).await;
	assert!(called.is_err(), "the record's relay was dialed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_goes_away_and_one_that_was_never_there() {
	let (agent, _, tunnel, _container) = echoing().await;
	let target = agent.target();
	agent.endpoint.close().await;
	assert!(matches!(soon(tunnel.closed()).await, TunnelError::Lost(_)));
	assert!(matches!(
		tunnel.stream().await.unwrap_err(),
		TunnelError::Lost(_)
	));
	let nowhere = Target {
		addresses: Vec::new(),
		..target.clone()
	};
	let opened = Tunnel::open(&CLIENT, &nowhere, None).await;
	assert!(matches!(opened, Err(TunnelError::Undialable(_))));
	// Another agent at that address is not mistaken for the right one.
	let (address, _container) = container(echo).await;
	let other = Agent::start(OneOrder::at(address), LIMITS).await;
	let impostor = Target {
		agent: *SecretKey::from_bytes(&[8; 32]).public().as_bytes(),
		..other.target()
	};
	let opened = Tunnel::open(&CLIENT, &impostor, None).await;
	assert!(matches!(opened.unwrap_err(), TunnelError::Unreachable(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_finds_out_whether_something_answers() {
	// A web server; a server of another protocol that waits for the client; a server that sends first.
	let (web, _web) = container(async |mut tcp| {
		let mut request = vec![0; probe::PROBE.len()];
		tcp.read_exact(&mut request).await.unwrap();
		assert_eq!(request, probe::PROBE);
		tcp.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
	})
	.await;
	let (silent, _silent) = container(async |mut tcp| {
		let mut all = Vec::new();
		let _ = tcp.read_to_end(&mut all).await;
	})
	.await;
	let (greeting, _greeting) = container(async |mut tcp| {
		tcp.write_all(b"220 welcome\r\n").await.unwrap();
		let mut all = Vec::new();
		let _ = tcp.read_to_end(&mut all).await;
	})
	.await;
	// A server that closes at once, and one that breaks.
	let (closing, _closing) = container(async |tcp| drop(tcp)).await;
	let (breaking, _breaking) = container(async |tcp| tcp.set_zero_linger().unwrap()).await;

	let gate = OneOrder::at(web);
	let agent = Agent::start(gate.clone(), LIMITS).await;
	let tunnel = agent.open().await.unwrap();
	for probe in [true, false] {
		for (address, answers) in [
			(web, true),
			(silent, true),
			(greeting, true),
			(closing, false),
			(breaking, false),
		] {
			gate.set(Ok(Pass {
				address,
				until: None,
				probe,
			}));
			// A server that breaks at once may do so before the agent has noticed the connection.
			let found = soon(tunnel.answers()).await;
			assert_eq!(found == Ok(true), answers, "{address} {probe}: {found:?}");
		}
	}
	gate.set(Err(Refusal::NotReady));
	assert_eq!(
		tunnel.answers().await,
		Err(TunnelError::Refused(Refusal::NotReady))
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_probe_can_do_nothing_else() {
	let (heard, mut hears) = tokio::sync::mpsc::channel(8);
	let (address, _container) = container(move |mut tcp| {
		let heard = heard.clone();
		async move {
			let mut said = vec![0; 256];
			let length = tcp.read(&mut said).await.unwrap_or(0);
			heard.send(said[..length].to_vec()).await.unwrap();
			let _ = tcp.write_all(b"a secret of the customer").await;
		}
	})
	.await;
	let gate = OneOrder::at(address);
	gate.set(Ok(Pass {
		address,
		until: None,
		probe: true,
	}));
	let agent = Agent::start(gate, LIMITS).await;
	let tunnel = agent.open().await.unwrap();
	// The client gets one byte, whatever follows the probe.
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	send.write_all(&[probe::PROBE, b"and more"].concat())
		.await
		.unwrap();
	assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"a");
	assert_eq!(soon(hears.recv()).await.unwrap(), probe::PROBE);
	// It cannot send any other request.
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	let request = b"GET /private HTTP/1.0\r\n\r\n";
	send.write_all(request).await.unwrap();
	assert!(soon(recv.read_to_end(100)).await.is_err());
	assert_eq!(soon(hears.recv()).await.unwrap(), b"");
}
