//! Checks of workers that serve an order: the container is probed, and no trial is judged.

use crate::world::{CHECKERS, Shelf, WORKER, World, pair, server, web};
use kaisar_agent::{Agent, containers::Served};
use kaisar_primitives::{
	OrderId, Verdict,
	agent::{Attestation, Checked, PATH_PROVE, Progress, ProveRequest, SeatRequest},
};
use sp_core::Pair;
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};

const ORDER: OrderId = 5;

const SERVES: Verdict = Verdict {
	online: true,
	service: true,
	timed: true,
	proof: true,
	..Verdict::OFFLINE
};
const DOES_NOT_SERVE: Verdict = Verdict {
	service: false,
	..SERVES
};

fn put(world: &World, shelf: &Shelf, address: SocketAddr) {
	shelf.put(
		ORDER,
		Served {
			genesis: world.genesis,
			worker: 7,
			client: pair(77).public(),
			ports: vec![(8_080, address)],
			customer_until: None,
		},
	);
}

fn rented(world: &World) -> ProveRequest {
	ProveRequest {
		order: Some(ORDER),
		..world.prove_request()
	}
}

/// Attests. A rented worker computes nothing, so it answers at once.
async fn attest(world: &World, worker: &Agent) -> [u8; 32] {
	match world.ask(worker, PATH_PROVE, &rented(world)).await {
		Progress::Done(Attestation { root }) => root,
		other => panic!("{other:?}"),
	}
}

fn seat(world: &World, checker: u8, root: [u8; 32]) -> SeatRequest {
	SeatRequest {
		rented: true,
		order: Some(ORDER),
		..world.seat(checker, root)
	}
}

/// Returns the result of a checker with little patience.
async fn verdict(world: &World, root: [u8; 32]) -> Checked {
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(3)).await;
	let checked = world.check(&checker, seat(world, CHECKERS[0], root)).await;
	checker.stop().await;
	checked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_answers() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	put(&world, &shelf, address);
	let worker = world.agent_serving(WORKER, &shelf).await;
	let mut checkers = Vec::new();
	for name in CHECKERS {
		checkers.push(world.agent(name).await);
	}
	world.start_round(&checkers).await;
	let root = attest(&world, &worker).await;
	assert_eq!(attest(&world, &worker).await, root);
	let checks = (0..3).map(|at| world.check(&checkers[at], seat(&world, CHECKERS[at], root)));
	for (at, checked) in futures::future::join_all(checks)
		.await
		.into_iter()
		.enumerate()
	{
		assert_eq!(checked.verdict, SERVES);
		assert!(world.receipt_fits(&checked, CHECKERS[at]));
	}
	// The root is this worker's, of this round.
	let other = world
		.check(&checkers[0], seat(&world, CHECKERS[0], [9; 32]))
		.await;
	assert_eq!(
		other.verdict,
		Verdict {
			proof: false,
			..SERVES
		}
	);
	let mut request = rented(&world);
	request.round += 1;
	let next: Progress<Attestation> = world.ask(&worker, PATH_PROVE, &request).await;
	assert_ne!(next, Progress::Done(Attestation { root }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_do_not_answer() {
	let world = World::new();
	let shelf = Shelf::default();
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = attest(&world, &worker).await;
	let check = async || {
		let checked = verdict(&world, root).await;
		assert!(world.receipt_fits(&checked, CHECKERS[0]), "it is there");
		// The result of the same check would be kept.
		let _ = std::fs::remove_dir_all(world.path().join(CHECKERS[0].to_string()));
		checked.verdict
	};
	// The order has no container.
	assert_eq!(check().await, DOES_NOT_SERVE);
	// The container does not listen.
	let gone = {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		listener.local_addr().unwrap()
	};
	put(&world, &shelf, gone);
	assert_eq!(check().await, DOES_NOT_SERVE);
	// The container closes every connection.
	let (closing, _closing) = server(async |tcp: TcpStream| drop(tcp)).await;
	put(&world, &shelf, closing);
	assert_eq!(check().await, DOES_NOT_SERVE);
	// Now the container answers.
	let (address, _web) = server(web).await;
	put(&world, &shelf, address);
	assert_eq!(check().await, SERVES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_away_for_a_moment_serves() {
	let world = World::new();
	let shelf = Shelf::default();
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = attest(&world, &worker).await;
	// Each connection but the first two is answered.
	let (tried, mut tries) = tokio::sync::mpsc::unbounded_channel();
	let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
	let (address, _web) = server(move |tcp| {
		let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
		tried.send(number).unwrap();
		async move {
			if number >= 2 {
				web(tcp).await;
			}
		}
	})
	.await;
	put(&world, &shelf, address);
	let checker = world.agent(CHECKERS[0]).await;
	let checked = world.check(&checker, seat(&world, CHECKERS[0], root)).await;
	assert_eq!(checked.verdict, SERVES);
	let mut made = 0;
	while tries.try_recv().is_ok() {
		made += 1;
	}
	assert_eq!(made, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rented_worker_that_is_not_there_is_offline() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	put(&world, &shelf, address);
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = attest(&world, &worker).await;
	worker.stop().await;
	assert_eq!(
		verdict(&world, root).await,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_not_served_yet_or_any_more_is_not_asked_for() {
	let world = World::new();
	let worker = world.agent_serving(WORKER, &Shelf::default()).await;
	let root = attest(&world, &worker).await;
	let checker = world.agent(CHECKERS[0]).await;
	let request = SeatRequest {
		order: None,
		..seat(&world, CHECKERS[0], root)
	};
	assert_eq!(world.check(&checker, request).await.verdict, SERVES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rented_worker_that_restarts_attests_the_same_and_still_serves() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	put(&world, &shelf, address);
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = attest(&world, &worker).await;
	worker.stop().await;
	let worker = world.agent_serving(WORKER, &shelf).await;
	// Its node has not asked again yet.
	assert_eq!(verdict(&world, root).await.verdict, SERVES);
	assert_eq!(attest(&world, &worker).await, root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_attested_stands_though_an_order_begins_or_ends() {
	let world = World::new();
	let (address, _web) = server(web).await;
	let shelf = Shelf::default();
	put(&world, &shelf, address);
	// Its order ended between the attestation and the check, so the request names none.
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = attest(&world, &worker).await;
	assert_eq!(world.prove(&worker).await, root);
	let checked = verdict(&world, root).await;
	assert_eq!(checked.verdict, SERVES);
	worker.stop().await;

	// It ran a trial all the same. A rented worker is judged on its presence and its service only.
	let mut world = World::new();
	world.seed = sp_core::H256::repeat_byte(8);
	put(&world, &shelf, address);
	let worker = world.agent_serving(WORKER, &shelf).await;
	let root = world.prove(&worker).await;
	assert_eq!(attest(&world, &worker).await, root);
	let checked = verdict(&world, root).await;
	assert_eq!(
		checked.verdict,
		Verdict {
			proof: false,
			..SERVES
		}
	);
	// A worker that attests as a rented one without an order proves nothing.
	world.round_seed = sp_core::H256::repeat_byte(10);
	world.seed = sp_core::H256::repeat_byte(11);
	let root = attest(&world, &worker).await;
	let checker = world.agent_with(CHECKERS[1], Duration::from_secs(3)).await;
	let mut request = world.seat(CHECKERS[1], root);
	request.full = false;
	let checked = world.check(&checker, request).await;
	assert_eq!(checked.verdict, Verdict::OFFLINE);
}
