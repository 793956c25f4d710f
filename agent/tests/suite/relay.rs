//! Agents that reach each other over a relay only, a real one: one has an IPv4 address, the other an IPv6
//! address, and there is no way between them.

use crate::world::{CHECKERS, Shelf, WORKER, World, pair, server, web};
use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use kaisar_agent::{Agent, Bounds, containers::Served, peer::network::Network};
use kaisar_primitives::{
	Verdict,
	agent::{Attestation, PATH_PROVE, Progress, ProveRequest, SeatRequest},
};
use kaisar_tunnel::{DialRule, Target, Tunnel};
use sp_core::Pair;
use std::{sync::Arc, time::Duration};

const CLIENT: u8 = 77;

/// A relay, and its URL.
async fn relay() -> (Server, String) {
	let mut config = ServerConfig::default();
	config.relay = Some(RelayConfig::new(([127, 0, 0, 1], 0)));
	let relay = Server::spawn(config).await.unwrap();
	let url = format!("http://{}", relay.http_addr().unwrap());
	(relay, url)
}

async fn start(world: &World, name: u8, bind: &str, relay: &str, shelf: &Shelf) -> Agent {
	start_within(world, name, bind, relay, shelf, Bounds::default()).await
}

async fn start_within(
	world: &World,
	name: u8,
	bind: &str,
	relay: &str,
	shelf: &Shelf,
	bounds: Bounds,
) -> Agent {
	let mut config = world.config(name, Duration::from_secs(30));
	config.network = Network {
		relays: vec![relay.parse().unwrap()],
		..Network::local(bind.parse().unwrap())
	};
	let shelf = shelf.clone();
	Agent::start_within(config, bounds, |_| Arc::new(shelf))
		.await
		.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bandwidth_over_a_relay_does_not_count() {
	let mut world = World::new();
	// Within any relay's rate, and enough for a tier.
	(world.spec.download_mbps, world.spec.upload_mbps) = (100, 100);
	world.bench.bandwidth_secs = 3;
	let (_relay, url) = relay().await;
	let shelf = Shelf::default();
	let worker = start(&world, WORKER, "::1", &url, &shelf).await;
	let direct = start(&world, CHECKERS[0], "::1", &url, &shelf).await;
	let relayed = start(&world, CHECKERS[1], "127.0.0.1", &url, &shelf).await;
	let root = world.prove(&worker).await;
	let verdict = async |checker, name| {
		let mut seat = world.seat(name, root);
		// One after the other, so that each measures the whole line.
		seat.seats = 1;
		world.check(checker, seat).await.verdict
	};
	let measured = verdict(&direct, CHECKERS[0]).await;
	assert!(measured.proof && measured.bandwidth >= 1, "{measured:?}");
	// All other resources are checked as usual.
	let unmeasured = verdict(&relayed, CHECKERS[1]).await;
	assert!(unmeasured.online && unmeasured.proof, "{unmeasured:?}");
	assert_eq!(unmeasured.bandwidth, 0, "{unmeasured:?}");
	// The same checker, if bandwidth over a relay counted.
	let bounds = Bounds {
		relayed_counts: true,
		..Bounds::default()
	};
	let (name, bind) = (CHECKERS[2], "127.0.0.1");
	let counting = start_within(&world, name, bind, &url, &shelf, bounds).await;
	let measured = verdict(&counting, name).await;
	assert!(measured.bandwidth >= 1, "{measured:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_behind_a_relay_is_reached_and_probed() {
	let world = World::new();
	let (_relay, url) = relay().await;
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	shelf.put(
		5,
		Served {
			genesis: world.genesis,
			worker: 7,
			client: pair(CLIENT).public(),
			ports: vec![(80, address)],
			customer_until: None,
		},
	);
	let worker = start(&world, WORKER, "::1", &url, &shelf).await;
	let checker = start(&world, CHECKERS[0], "127.0.0.1", &url, &shelf).await;
	let request = ProveRequest {
		order: Some(5),
		..world.prove_request()
	};
	let attested = world.ask(&worker, PATH_PROVE, &request).await;
	let Progress::Done(Attestation { root }) = attested else {
		panic!("{attested:?}")
	};
	let seat = SeatRequest {
		rented: true,
		order: Some(5),
		..world.seat(CHECKERS[0], root)
	};
	let checked = world.check(&checker, seat).await;
	assert_eq!(
		checked.verdict,
		Verdict {
			online: true,
			service: true,
			timed: true,
			proof: true,
			..Verdict::OFFLINE
		}
	);

	let target = Target {
		genesis: world.genesis.0,
		order: 5,
		agent: worker.key().0,
		addresses: Vec::new(),
		rule: DialRule {
			private: false,
			relays: vec![url.parse().unwrap()],
		},
		relays: vec![url],
	};
	let tunnel = Tunnel::open(&[CLIENT; 32], &target, None).await.unwrap();
	let (mut send, mut recv) = tunnel.stream().await.unwrap();
	send.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
	let page = recv.read_to_end(1_000).await.unwrap();
	assert!(page.ends_with(b"hello"));
	tunnel.close().await;
}
