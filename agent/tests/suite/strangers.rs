//! Strangers, and workers' agents that introduce themselves: admission, its duration, and refusals.

use crate::world::{
	CHECKERS, WORKER, World, address, ask, bind_endpoint, committee, endpoint, files, introduction,
	is_the_workers, own_addr, pair, range, stranger, until,
};
use codec::Encode;
use iroh::endpoint::ConnectionError;
use kaisar_agent::{
	peer::{
		endpoint::Peers,
		wire::{
			self, ALPN, CLOSE_ROOM, Introduced, MAX_REQUEST, ProofRequest, Push, Refusal, Request,
			Trial,
		},
	},
	trial::part::Part,
};
use kaisar_primitives::{
	AgentSignature, Verdict,
	agent::{PATH_PREPARE, PrepareRequest, Prepared, SeatClaim},
};
use sp_core::{H256, Pair};
use std::{
	sync::{
		Arc, Mutex,
		atomic::{AtomicUsize, Ordering},
	},
	time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_holds_a_place_for_seconds_and_may_only_introduce_itself() {
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	world.answer_claims(&checker, is_the_workers).await;
	let mine = stranger(0, range(0)).await;
	let connect = async || mine.connect(address(&checker), ALPN).await.unwrap();

	// A stranger that sends nothing, or part of a request, on a connection that stays alive.
	for begins in [false, true] {
		let connection = connect().await;
		let since = Instant::now();
		let stream = if begins {
			let (mut send, recv) = connection.open_bi().await.unwrap();
			send.write_all(&[40]).await.unwrap();
			Some((send, recv))
		} else {
			None
		};
		timeout(Duration::from_secs(60), connection.closed())
			.await
			.expect("nobody stays without a word");
		assert!(since.elapsed() > Duration::from_secs(3), "it had its time");
		drop(stream);
	}

	// Its other requests are refused, and its connection is closed.
	let which = ProofRequest {
		genesis: world.genesis,
		round: 4,
		seed: world.seed,
		worker: 7,
		checker: committee()[0].0.clone(),
	};
	let trial = Trial {
		genesis: world.genesis,
		round: 4,
		seed: world.seed,
		worker: 7,
	};
	let push = Push::signed(&pair(77), trial, Part::Processor, [1; 32]);
	for request in [
		Request::Hello(which.clone()),
		Request::Bandwidth(which),
		Request::Push(push),
	] {
		let connection = connect().await;
		let answer = ask::<AgentSignature>(&connection, &request).await.unwrap();
		assert_eq!(answer, Err(Refusal::NotServed), "{request:?}");
		timeout(Duration::from_secs(3), connection.closed())
			.await
			.expect("its place is free at once");
	}
	let connection = connect().await;
	let answer = ask::<Introduced>(&connection, &introduction(&world, 7)).await;
	assert!(matches!(answer.unwrap(), Ok(Introduced::ComeBack { .. })));
	timeout(Duration::from_secs(3), connection.closed())
		.await
		.expect("its place is free at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_worker_it_is_not_is_not_admitted() {
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	world.answer_claims(&checker, is_the_workers).await;
	let rogue = endpoint(&[77; 32], range(1)).await;
	let introduce = async |worker| {
		let connection = rogue.connect(address(&checker), ALPN).await.unwrap();
		let introduced = ask::<Introduced>(&connection, &introduction(&world, worker)).await;
		(connection, introduced.unwrap().unwrap())
	};
	let (_, introduced) = introduce(7).await;
	assert!(matches!(introduced, Introduced::ComeBack { .. }));
	assert_eq!(world.answer_claims(&checker, is_the_workers).await, 1);
	let (connection, introduced) = introduce(7).await;
	assert_eq!(introduced, Introduced::Denied);
	drop(connection);
	// The node is not asked about it again.
	assert_eq!(world.answer_claims(&checker, is_the_workers).await, 0);

	// The worker's own agent is not affected, and is admitted for this worker only.
	let worker = world.agent(WORKER).await;
	let checkers = [checker];
	world.prepare(&worker, &checkers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_that_a_check_asked_for_outlive_a_restart() {
	let mut world = World::new();
	world.spec.disk_gb = 6_000;
	let worker = world.agent(WORKER).await;
	let checkers = [world
		.agent_with(CHECKERS[0], Duration::from_secs(600))
		.await];
	world.prepare(&worker, &checkers).await;
	world.start_round(&checkers).await;
	let root = world.prove(&worker).await;
	let (data, [checker]) = (world.path().join(CHECKERS[0].to_string()), checkers);
	// The check cannot end, since the worker is down; the agent stops meanwhile.
	worker.stop().await;
	let seat = world.seat(CHECKERS[0], root);
	let _: Vec<kaisar_primitives::agent::SeatReply> = world
		.ask(
			&checker,
			kaisar_primitives::agent::PATH_CHECK,
			vec![seat.clone()],
		)
		.await;
	checker.stop().await;
	assert_eq!(files(&data.join("heard")), 1);
	let checker = world.agent(CHECKERS[0]).await;
	let _worker = world.agent(WORKER).await;
	let checked = world.check(&checker, seat).await;
	let Verdict { memory, disk, .. } = checked.verdict;
	assert_eq!((memory, disk), (1, 3), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_committee_is_looked_for_from_the_rounds_start_on() {
	use kaisar_primitives::agent::{AddressBook, AddressesFound, PATH_ADDRESSES};
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let request = world.prepare_request();
	let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
	assert_eq!((prepared.members, prepared.connected), (3, 0));
	let nothing = AddressesFound::default();
	let mut wanted = world
		.ask::<AddressBook>(&worker, PATH_ADDRESSES, &nothing)
		.await
		.wanted;
	// It searches for itself too: another record of its key would be a twin's.
	wanted.retain(|agent| *agent != worker.key());
	wanted.sort();
	let mut agents: Vec<_> = committee().into_iter().map(|(_, agent)| agent).collect();
	agents.sort();
	assert_eq!(wanted, agents);
	// One is found late: the agent connects to it before the trial, however long the pauses had become.
	tokio::time::sleep(Duration::from_secs(3)).await;
	let checker = world.agent(CHECKERS[1]).await;
	until(Duration::from_secs(60), async || {
		world.answer_claims(&checker, is_the_workers).await;
		let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		(prepared.connected == 1).then_some(())
	})
	.await;
}

/// A fake checker's agent. It gives all introductions the same answer, and records the roots.
struct Rogue {
	/// Number of connections to it.
	made: Arc<AtomicUsize>,
	pushes: Arc<Mutex<Vec<Push>>>,
	_tasks: JoinSet<()>,
}

impl Rogue {
	/// Closes connection number `n` with code `closes(n)` once it was introduced.
	async fn start(
		world: &World,
		name: u8,
		introduced: Introduced,
		closes: fn(usize) -> Option<u32>,
	) -> Self {
		let bind = Some("127.0.0.1:0".parse().unwrap());
		let endpoint = bind_endpoint(&[name; 32], bind, None, &[ALPN])
			.await
			.unwrap();
		let peers = Peers::new(&world.path().join("peers")).unwrap();
		peers.publish(&pair(name), &own_addr(&endpoint), 1).unwrap();
		let made = Arc::<AtomicUsize>::default();
		let pushes = Arc::<Mutex<Vec<Push>>>::default();
		let mut tasks = JoinSet::new();
		let (counter, noted) = (made.clone(), pushes.clone());
		tasks.spawn(async move {
			let mut connections = JoinSet::new();
			while let Some(incoming) = endpoint.accept().await {
				let Ok(connection) = incoming.accept().unwrap().await else {
					continue;
				};
				let code = closes(counter.fetch_add(1, Ordering::Relaxed));
				let noted = noted.clone();
				connections.spawn(async move {
					while let Ok((mut send, mut recv)) = connection.accept_bi().await {
						let request: Request = wire::read(&mut recv, MAX_REQUEST).await.unwrap();
						let reply = match request {
							Request::Introduce(_) => Ok::<_, Refusal>(introduced).encode(),
							Request::Push(push) => {
								noted.lock().unwrap().push(push);
								Ok::<_, Refusal>(()).encode()
							}
							_ => Err::<(), _>(Refusal::NotServed).encode(),
						};
						let mut message = (reply.len() as u32).to_le_bytes().to_vec();
						message.extend(reply);
						let _ = send.write_all(&message).await;
						let _ = send.finish();
						if let Some(code) = code {
							let _ = send.stopped().await;
							connection.close(code.into(), b"");
						}
					}
				});
			}
		});
		Self {
			made,
			pushes,
			_tasks: tasks,
		}
	}

	fn made(&self) -> usize {
		self.made.load(Ordering::Relaxed)
	}

	/// Returns whether all roots of a trial came.
	fn has_all_of(&self, seed: H256) -> bool {
		let pushes = self.pushes.lock().unwrap();
		let mut of = pushes.iter().filter(|push| push.trial.seed == seed);
		of.any(|push| push.part() == Some(Part::Processor))
	}
}

/// The worker's agent gets a committee of the first checker only.
fn prepare_one(world: &World) -> PrepareRequest {
	PrepareRequest {
		committee: committee().into_iter().take(1).collect(),
		..world.prepare_request()
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_gave_way_stays_away_until_it_has_a_root() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let first = |number| (number == 0).then_some(CLOSE_ROOM);
	let checker = Rogue::start(&world, CHECKERS[0], Introduced::Admitted, first).await;
	let request = prepare_one(&world);
	until(Duration::from_secs(60), async || {
		let _: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		(checker.made() > 0).then_some(())
	})
	.await;
	tokio::time::sleep(Duration::from_secs(3)).await;
	assert_eq!(checker.made(), 1, "its place is for another");
	let prepared: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
	assert_eq!(prepared.connected, 1, "its roots will be taken");
	world.prove(&worker).await;
	until(Duration::from_secs(60), async || {
		checker.has_all_of(world.seed).then_some(())
	})
	.await;
	assert_eq!(checker.made(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkers_that_close_or_defer_make_no_worker_spin() {
	// The pauses double after each connection that did not stay: 5 connections in 3 s.
	let closing = (Introduced::Admitted, Some(0), 6);
	// The shortest pause that counts is 200 ms.
	let deferring = (Introduced::ComeBack { ms: 0 }, None, 16);
	for (introduced, code, most) in [closing, deferring] {
		let world = World::new();
		let worker = world.agent(WORKER).await;
		let closes = match code {
			Some(_) => |_| Some(0),
			None => |_| None,
		};
		let since = Instant::now();
		let checker = Rogue::start(&world, CHECKERS[0], introduced, closes).await;
		let request = prepare_one(&world);
		let _: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
		tokio::time::sleep(Duration::from_secs(3)).await;
		let (made, elapsed) = (checker.made(), since.elapsed());
		assert!(made > 1, "it tries again");
		// A busy machine makes fewer connections.
		let late = elapsed.saturating_sub(Duration::from_secs(3)).as_millis() / 200;
		assert!(
			made <= most + late as usize,
			"{introduced:?}: {made} in {elapsed:?}"
		);
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_room_is_told_to_come_back_with_a_root() {
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	world.answer_claims(&checker, |_| true).await;
	let mine = endpoint(&[77; 32], range(1)).await;
	let first = until(Duration::from_secs(60), async || {
		let connection = mine.connect(address(&checker), ALPN).await.ok()?;
		let introduced = ask::<Introduced>(&connection, &introduction(&world, 9)).await;
		world.answer_claims(&checker, |_| true).await;
		matches!(introduced, Ok(Ok(Introduced::Admitted))).then_some(connection)
	})
	.await;
	let mut others = Vec::new();
	for _ in 0..2 {
		let connection = mine.connect(address(&checker), ALPN).await.unwrap();
		let introduced = ask::<Introduced>(&connection, &introduction(&world, 9)).await;
		assert_eq!(introduced.unwrap(), Ok(Introduced::Admitted));
		others.push(connection);
	}
	let reason = timeout(Duration::from_secs(60), first.closed()).await;
	let Ok(ConnectionError::ApplicationClosed(close)) = reason else {
		panic!("{reason:?}");
	};
	assert_eq!(close.error_code, CLOSE_ROOM.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reorganization_roots_are_taken_over_the_same_connection() {
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	let is_mine = |claim: &SeatClaim| (claim.worker, claim.agent) == (9, pair(77).public());
	world.answer_claims(&checker, is_mine).await;
	let mine = endpoint(&[77; 32], range(1)).await;
	let connection = until(Duration::from_secs(60), async || {
		let connection = mine.connect(address(&checker), ALPN).await.ok()?;
		let introduced = ask::<Introduced>(&connection, &introduction(&world, 9)).await;
		world.answer_claims(&checker, is_mine).await;
		matches!(introduced, Ok(Ok(Introduced::Admitted))).then_some(connection)
	})
	.await;
	let push = |seed| {
		let trial = Trial {
			genesis: world.genesis,
			round: 4,
			seed: H256::repeat_byte(seed),
			worker: 9,
		};
		Request::Push(Push::signed(&pair(77), trial, Part::Processor, [1; 32]))
	};
	// A block with another seed of the round: the node must confirm the same worker again at once.
	let fork = H256::repeat_byte(8);
	let asked = world.answer_claims_under(fork, &checker, is_mine).await;
	assert_eq!(asked, 1);
	assert_eq!(ask::<()>(&connection, &push(5)).await.unwrap(), Ok(()));
	// On a third fork, the operator does not sit for it.
	let third = H256::repeat_byte(9);
	world.answer_claims_under(third, &checker, |_| false).await;
	let refused = Err(Refusal::NotServed);
	assert_eq!(ask::<()>(&connection, &push(6)).await.unwrap(), refused);
	// When the second fork is back, it does.
	world.answer_claims_under(fork, &checker, is_mine).await;
	assert_eq!(ask::<()>(&connection, &push(7)).await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committee_is_kept_until_the_date_that_was_named_last() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let request = prepare_one(&world);
	for keep_ms in [1_500, 600_000] {
		let request = PrepareRequest {
			keep_ms,
			..request.clone()
		};
		let _: Prepared = world.ask(&worker, PATH_PREPARE, &request).await;
	}
	tokio::time::sleep(Duration::from_secs(8)).await;
	let checker = Rogue::start(&world, CHECKERS[0], Introduced::Admitted, |_| None).await;
	until(Duration::from_secs(30), async || {
		(checker.made() > 0).then_some(())
	})
	.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_roots_of_a_seed_that_is_back_are_pushed_to_those_that_lack_them() {
	let mut world = World::new();
	let worker = world.agent(WORKER).await;
	let _: Prepared = world
		.ask(&worker, PATH_PREPARE, &world.prepare_request())
		.await;
	let seed = world.seed;
	let root = world.prove(&worker).await;
	let fork = H256::repeat_byte(9);
	world.seed = fork;
	world.prove(&worker).await;
	let late = Rogue::start(&world, CHECKERS[1], Introduced::Admitted, |_| None).await;
	until(Duration::from_secs(60), async || {
		late.has_all_of(fork).then_some(())
	})
	.await;
	assert!(!late.has_all_of(seed));
	world.seed = seed;
	assert_eq!(world.prove(&worker).await, root);
	until(Duration::from_secs(60), async || {
		late.has_all_of(seed).then_some(())
	})
	.await;
}
