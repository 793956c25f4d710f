//! Access through a worker's agent to a container.

use crate::world::{CHECKERS, Shelf, WORKER, World, pair, server, until, web};
use iroh::{Endpoint, EndpointAddr, SecretKey, endpoint::presets};
use kaisar_agent::{Agent, containers::Served};
use kaisar_primitives::{
	OrderId,
	agent::{Attestation, PATH_PROVE, Progress},
};
use kaisar_tunnel::{ALPN, DialRule, Refusal, Target, Tunnel, TunnelError};
use sp_core::Pair;
use std::{
	net::SocketAddr,
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{TcpListener, TcpStream},
	time::timeout,
};

const ORDER: OrderId = 5;
const CLIENT: u8 = 77;

fn served(world: &World, address: SocketAddr) -> Served {
	Served {
		genesis: world.genesis,
		worker: 7,
		client: pair(CLIENT).public(),
		ports: vec![(8_080, address)],
		customer_until: None,
	}
}

fn target(world: &World, agent: &Agent) -> Target {
	Target {
		genesis: world.genesis.0,
		order: ORDER,
		agent: agent.key().0,
		addresses: agent.addrs(),
		relays: Vec::new(),
		rule: DialRule {
			private: true,
			..Default::default()
		},
	}
}

async fn open(world: &World, agent: &Agent, name: u8) -> Result<Tunnel, TunnelError> {
	Tunnel::open(&[name; 32], &target(world, agent), None).await
}

fn refused(opened: Result<Tunnel, TunnelError>) -> Refusal {
	match opened {
		Err(TunnelError::Refused(refusal)) => refusal,
		other => panic!("{other:?}"),
	}
}

/// Fetches the page over a local port, like `kaisar connect`.
async fn page(tunnel: &Tunnel) -> String {
	let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
	let local = listener.local_addr().unwrap();
	let fetch = async {
		let mut tcp = TcpStream::connect(local).await.unwrap();
		tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
		let mut page = String::new();
		tcp.read_to_string(&mut page).await.unwrap();
		page
	};
	tokio::select! {
		page = timeout(Duration::from_secs(20), fetch) => page.unwrap(),
		ended = tunnel.forward(listener) => panic!("{ended:?}"),
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_reaches_its_container_and_nobody_else_does() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let (second_at, _second) = server(async |mut tcp: TcpStream| {
		let _ = tcp.write_all(b"another port").await;
	})
	.await;
	let shelf = Shelf::default();
	let agent = world.agent_serving(WORKER, &shelf).await;
	// Not deployed yet.
	let not_served = Refusal::NotServed;
	assert_eq!(refused(open(&world, &agent, CLIENT).await), not_served);
	let mut order = served(&world, address);
	order.ports.push((9_000, second_at));
	shelf.put(ORDER, order);

	let tunnel = open(&world, &agent, CLIENT).await.unwrap();
	assert!(page(&tunnel).await.ends_with("hello"));
	let there = target(&world, &agent);
	let second = Tunnel::open(&[CLIENT; 32], &there, Some(9_000))
		.await
		.unwrap();
	let (_send, mut recv) = second.stream().await.unwrap();
	assert_eq!(recv.read_to_end(100).await.unwrap(), b"another port");
	let opened = Tunnel::open(&[CLIENT; 32], &there, Some(9_001)).await;
	let refusal = refused(opened);
	assert_eq!(
		refusal.to_string(),
		"the order serves ports 8080 and 9000, not 9001"
	);
	// Both ports over one connection.
	tunnel.ask(Some(9_000)).await.unwrap();
	let other = TunnelError::Refused(refusal);
	assert_eq!(tunnel.ask(Some(9_001)).await.unwrap_err(), other);
	// Until the container answers, no port is wrong.
	let mut down = served(&world, address);
	down.ports.clear();
	shelf.put(ORDER, down);
	let asked = tunnel.ask(Some(9_000)).await.unwrap_err();
	assert_eq!(asked, TunnelError::Refused(Refusal::NotReady));
	let mut up = served(&world, address);
	up.ports.push((9_000, second_at));
	shelf.put(ORDER, up);

	let unknown = Target {
		order: ORDER + 1,
		..there.clone()
	};
	let elsewhere = Target {
		genesis: [9; 32],
		..there.clone()
	};
	for (name, target) in [
		(CLIENT + 1, &there),
		(CLIENT + 1, &unknown),
		(CLIENT, &unknown),
		(CLIENT, &elsewhere),
		// No check is running.
		(CHECKERS[0], &there),
	] {
		let opened = Tunnel::open(&[name; 32], target, None).await;
		assert_eq!(refused(opened), not_served, "{name} {target:?}");
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_customers_time_is_the_agents_clock() {
	let world = World::new();
	let (address, _echo) = server(async |mut tcp: TcpStream| {
		let (mut from, mut to) = tcp.split();
		let _ = tokio::io::copy(&mut from, &mut to).await;
	})
	.await;
	let shelf = Shelf::default();
	let agent = world.agent_serving(WORKER, &shelf).await;
	let ends = Instant::now() + Duration::from_secs(3);
	shelf.put(
		ORDER,
		Served {
			customer_until: Some(ends),
			..served(&world, address)
		},
	);
	let tunnel = open(&world, &agent, CLIENT).await.unwrap();
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	send.write_all(b"a").await.unwrap();
	let mut byte = [0];
	recv.read_exact(&mut byte).await.unwrap();
	let closed = timeout(Duration::from_secs(20), tunnel.closed())
		.await
		.unwrap();
	assert_eq!(closed, TunnelError::Refused(Refusal::Over));
	assert!(Instant::now() >= ends, "not a moment too early");
	assert!(ends.elapsed() < Duration::from_secs(2), "nor late");
	assert!(recv.read(&mut byte).await.is_err());
	// The container runs until the order is closed, but the customer is no longer admitted.
	assert_eq!(refused(open(&world, &agent, CLIENT).await), Refusal::Over);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committee_may_probe_while_its_check_goes_on_and_nothing_else() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	shelf.put(ORDER, served(&world, address));
	let agent = world.agent_serving(WORKER, &shelf).await;
	let mut request = world.prove_request();
	request.order = Some(ORDER);
	request.committee.truncate(2);
	request.keep_ms = 4_000;
	let kept = Instant::now();
	let _: Progress<Attestation> = world.ask(&agent, PATH_PROVE, &request).await;

	let tunnel = open(&world, &agent, CHECKERS[0]).await.unwrap();
	assert_eq!(tunnel.answers().await, Ok(true));
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	send.write_all(b"GET /private HTTP/1.0\r\n\r\n")
		.await
		.unwrap();
	assert!(recv.read_to_end(100).await.is_err(), "only the probe");
	assert_eq!(
		refused(open(&world, &agent, CHECKERS[2]).await),
		Refusal::NotServed,
		"it is in no committee"
	);
	// The checkers do not sit for another worker of this agent.
	shelf.put(
		ORDER,
		Served {
			worker: 8,
			..served(&world, address)
		},
	);
	assert_eq!(
		refused(open(&world, &agent, CHECKERS[1]).await),
		Refusal::NotServed
	);
	shelf.put(ORDER, served(&world, address));
	open(&world, &agent, CHECKERS[1]).await.unwrap();
	// The order is over.
	tokio::time::sleep_until((kept + Duration::from_millis(4_100)).into()).await;
	assert_eq!(
		refused(open(&world, &agent, CHECKERS[1]).await),
		Refusal::NotServed
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_the_tunnel_takes_nothing_from_the_checkers() {
	let world = World::new();
	let agent = world.agent(WORKER).await;
	let checker = world.agent(CHECKERS[0]).await;
	let root = world.prove(&agent).await;
	let mut crowd = Vec::new();
	let mut addr = EndpointAddr::new(iroh::PublicKey::from_bytes(&agent.key().0).unwrap());
	for address in agent.addrs() {
		addr = addr.with_ip_addr(address);
	}
	// More connections than a server takes of one key, with a known key that no agent has.
	for _ in 0..40 {
		let endpoint = Endpoint::builder(presets::Minimal)
			.secret_key(SecretKey::from_bytes(&[CHECKERS[0]; 32]))
			.clear_ip_transports()
			.bind_addr("127.0.0.1:0")
			.unwrap()
			.bind()
			.await
			.unwrap();
		let connection = endpoint.connect(addr.clone(), ALPN).await;
		crowd.push((endpoint, connection));
	}
	let inside = || {
		let connections = crowd
			.iter()
			.filter_map(|(_, connected)| connected.as_ref().ok());
		let open = connections.filter(|connection| connection.close_reason().is_none());
		open.count()
	};
	until(Duration::from_secs(5), async || {
		(inside() <= 4).then_some(())
	})
	.await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	assert!(
		checked.verdict.online && checked.verdict.proof,
		"{checked:?}"
	);
}
