//! Rounds driven by nodes, and their failures.

use crate::{
	attacks,
	world::{BENCH, CHECKERS, TOKEN, WORKER, World, checker_key, pair, receipt, rogue},
};
use codec::Encode;
use kaisar_agent::{Agent, Config, peer::wire};
use kaisar_primitives::{
	BenchParams, Verdict,
	agent::{
		AgentStatus, Attestation, Checked, PATH_CHECK, PATH_PREPARE, PATH_PROVE, PATH_ROUND,
		PATH_SEATS, PATH_STATUS, Progress, ProveRequest, SeatAnswers, SeatClaim, SeatReply,
		SeatRequest,
	},
};
use sp_core::{H256, Pair};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_from_start_to_verdict() {
	let mut world = World::new();
	world.spec.disk_gb = 6_000;
	let worker = world.agent(WORKER).await;
	let mut checkers = Vec::new();
	for name in CHECKERS {
		checkers.push(world.agent(name).await);
	}
	// The last checker's agent does not receive the start of the round.
	world.prepare(&worker, &checkers).await;
	world.start_round(&checkers[..2]).await;
	let root = world.prove(&worker).await;
	assert_eq!(
		world.prove(&worker).await,
		root,
		"asking again gives the same"
	);

	let checks = (0..3).map(|at| world.check(&checkers[at], world.seat(CHECKERS[at], root)));
	for (at, checked) in futures::future::join_all(checks)
		.await
		.into_iter()
		.enumerate()
	{
		let verdict = checked.verdict;
		assert!(
			verdict.online && verdict.proof && verdict.service,
			"{verdict:?}"
		);
		assert_eq!((verdict.gpu_class, verdict.gpu_count), (0, 0));
		// The agent without the start says so. Two cores are below the lowest tier.
		assert_eq!(verdict.timed, at < 2);
		assert_eq!(
			(verdict.cpu, verdict.memory, verdict.disk),
			(0, 1, 3),
			"{verdict:?}"
		);
		assert!(verdict.bandwidth <= 1, "no more than is claimed");
		assert!(world.receipt_fits(&checked, CHECKERS[at]));
		// A second request does not start a second check: its nonce would differ.
		let again = world
			.check(&checkers[at], world.seat(CHECKERS[at], root))
			.await;
		assert_eq!(again, checked);
	}

	// A root that the worker does not have: it answers, and shows nothing.
	let checked = world
		.check(&checkers[0], world.seat(CHECKERS[0], [9; 32]))
		.await;
	assert!(checked.verdict.online && checked.verdict.proof);
	assert_eq!((checked.verdict.memory, checked.verdict.disk), (0, 0));
	assert!(checked.receipt.is_some());

	let status: AgentStatus = world.ask(&worker, PATH_STATUS, ()).await;
	assert_eq!((status.agent, status.gpus), (pair(WORKER).public(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures a round of development size: run it alone, with --nocapture"]
async fn how_long_a_development_round_takes() {
	let mut world = World::new();
	world.bench = BenchParams {
		n: 1_024,
		turns: 4,
		window_mib: 8,
		stages: 64,
		memory_mib: 64,
		disk_mib: 64,
		reads: 32,
		bandwidth_secs: 1,
	};
	let worker = world.agent(WORKER).await;
	let mut checkers = Vec::new();
	for name in CHECKERS {
		checkers.push(world.agent(name).await);
	}
	for round in 0..3u8 {
		world.seed = H256::repeat_byte(round);
		world.prepare(&worker, &checkers).await;
		world.start_round(&checkers).await;
		let start = Instant::now();
		let root = world.prove(&worker).await;
		println!("round {round}: proof {:?}", start.elapsed());
		let start = Instant::now();
		let checks = (0..3).map(|at| world.check(&checkers[at], world.seat(CHECKERS[at], root)));
		for checked in futures::future::join_all(checks).await {
			assert!(checked.verdict.proof);
			println!("  {:?}", checked.verdict);
		}
		println!("  checks {:?}", start.elapsed());
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_its_committee_only() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let outsider = world.agent_with(99, Duration::from_secs(2)).await;
	let impostor = world.agent_with(98, Duration::from_secs(2)).await;
	let root = world.prove(&worker).await;
	// The asker is not in the committee.
	let checked = world.check(&outsider, world.seat(99, root)).await;
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
	// Another agent asks in the name of a checker in the committee.
	let checked = world.check(&impostor, world.seat(CHECKERS[0], root)).await;
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_answers_only_some_checkers() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let served = world.agent(CHECKERS[0]).await;
	let shunned = world.agent_with(CHECKERS[1], Duration::from_secs(2)).await;
	// The worker's node leaves a checker out of the committee.
	let mut request = world.prove_request();
	request.committee.truncate(1);
	let _: Progress<Attestation> = world.ask(&worker, PATH_PROVE, &request).await;
	let root = world.prove(&worker).await;
	let checked = world.check(&served, world.seat(CHECKERS[0], root)).await;
	assert!(checked.verdict.online && checked.verdict.proof);
	let checked = world.check(&shunned, world.seat(CHECKERS[1], root)).await;
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_not_there_is_offline() {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(2)).await;
	// The worker never published an address.
	let checked = world
		.check(&checker, world.seat(CHECKERS[0], [0; 32]))
		.await;
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
	// The worker published an address and stopped.
	world.agent(WORKER).await.stop().await;
	let mut request = world.seat(CHECKERS[0], [1; 32]);
	request.full = false;
	let checked = world.check(&checker, request).await;
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_restart_in_the_middle_of_a_round() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let checker = world.agent(CHECKERS[0]).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	// A restart right after the request, and one after the proof.
	let _: Progress<Attestation> = world.ask(&worker, PATH_PROVE, &world.prove_request()).await;
	worker.stop().await;
	let worker = world.agent(WORKER).await;
	let root = world.prove(&worker).await;
	worker.stop().await;
	let worker = world.agent(WORKER).await;
	// Without a new request, it computes the proof again by itself.
	checker.stop().await;
	let checker = world.agent(CHECKERS[0]).await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	assert!(
		checked.verdict.online && checked.verdict.proof,
		"{checked:?}"
	);
	// The result outlives the checker's agent, and the worker.
	checker.stop().await;
	worker.stop().await;
	let checker = world.agent(CHECKERS[0]).await;
	let replies: Vec<SeatReply> = world
		.ask(&checker, PATH_CHECK, vec![world.seat(CHECKERS[0], root)])
		.await;
	assert_eq!(replies[0].progress, Progress::Done(checked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_and_hurt_nobody() {
	let world = World::new();
	let agent = world.agent(WORKER).await;
	let status =
		async |path: &str, token: &str, body: Vec<u8>| world.raw(&agent, path, token, body).await.0;
	for token in [
		"",
		"a token of the test",
		"a token of the tests and more",
		"Bearer",
	] {
		assert_eq!(
			status(PATH_STATUS, token, Vec::new()).await,
			401,
			"{token:?}"
		);
	}
	assert_eq!(status("/v1/nothing", TOKEN, Vec::new()).await, 404);
	assert_eq!(status("/v1/nothing", "wrong", Vec::new()).await, 401);
	for path in [PATH_ROUND, PATH_PREPARE, PATH_PROVE, PATH_CHECK, PATH_SEATS] {
		assert_eq!(status(path, TOKEN, vec![0xff; 64]).await, 400, "{path}");
		assert_eq!(status(path, TOKEN, Vec::new()).await, 400, "{path}");
	}
	assert_eq!(status(PATH_STATUS, TOKEN, vec![1]).await, 400);
	// 10 MB of garbage: refused, or cut off during the transfer.
	for path in [PATH_ROUND, PATH_PROVE, PATH_CHECK, PATH_STATUS] {
		let sent = world
			.client
			.post(format!("{}{path}", agent.url()))
			.bearer_auth(TOKEN)
			.body(vec![0xa5; 10 << 20])
			.send()
			.await;
		if let Ok(answer) = sent {
			assert_eq!(answer.status().as_u16(), 413, "{path}");
		}
	}
	// Too many seats, within the limit of bytes.
	let seats = vec![world.seat(CHECKERS[0], [0; 32]); 257];
	assert_eq!(status(PATH_CHECK, TOKEN, seats.encode()).await, 400);
	let claim = SeatClaim {
		round: 4,
		worker: 7,
		agent: agent.key(),
	};
	let answers = SeatAnswers {
		answers: vec![(claim, true); 1_601],
		..Default::default()
	};
	assert_eq!(status(PATH_SEATS, TOKEN, answers.encode()).await, 400);
	// Work out of range.
	for bench in [
		BenchParams {
			n: u32::MAX,
			..BENCH
		},
		BenchParams { stages: 0, ..BENCH },
		BenchParams {
			reads: u32::MAX,
			..BENCH
		},
	] {
		let request = ProveRequest {
			bench,
			..world.prove_request()
		};
		let progress: Progress<Attestation> = world.ask(&agent, PATH_PROVE, request).await;
		assert!(matches!(progress, Progress::Failed(_)));
		let request = SeatRequest {
			bench,
			..world.seat(CHECKERS[0], [0; 32])
		};
		let replies: Vec<SeatReply> = world.ask(&agent, PATH_CHECK, vec![request]).await;
		assert!(matches!(replies[0].progress, Progress::Failed(_)));
	}
	let _: AgentStatus = world.ask(&agent, PATH_STATUS, ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_said() {
	let world = World::new();
	let agent = world.agent(WORKER).await;
	let mut refused = 0;
	for worker in 0..40 {
		let request = ProveRequest {
			worker,
			..world.prove_request()
		};
		let (status, _) = world.raw(&agent, PATH_PROVE, TOKEN, request.encode()).await;
		match status {
			200 => (),
			503 => refused += 1,
			other => panic!("{other}"),
		}
	}
	assert_eq!(refused, 8, "32 are kept");
}

#[tokio::test]
async fn two_agents_do_not_share_a_folder() {
	let world = World::new();
	let _first = world.agent(WORKER).await;
	let second = Agent::start(Config {
		secret: [2; 32],
		data_dir: world.path().join(WORKER.to_string()),
		..world.config(2, Duration::from_secs(1))
	})
	.await;
	assert!(second.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_answers_garbage() {
	// Start of the garbage, and the checker's finding.
	for stage in 0..3 {
		let world = World::new();
		let checker = world.agent_with(CHECKERS[0], Duration::from_secs(3)).await;
		let root = attacks::attested(&world, &attacks::roots());
		let mut request = world.seat(CHECKERS[0], root);
		request.full = false;
		let act = async |send: &mut iroh::endpoint::SendStream, request: wire::Request| {
			let _ = match request {
				wire::Request::Hello(which) if stage > 0 => {
					wire::write(send, &receipt(&which)).await
				}
				wire::Request::Roots(_) if stage > 1 => {
					wire::write(send, &wire::RootsReply::Ok(attacks::roots())).await
				}
				// 10 MB that start with an even larger length.
				_ => send
					.write_all(&vec![0xff; 10 << 20])
					.await
					.map_err(|error| wire::WireError::Io(error.into())),
			};
		};
		let checked = tokio::select! {
			checked = world.check(&checker, request) => checked,
			() = rogue(&world, act) => unreachable!(),
		};
		// A worker that gave its receipt is online and shows nothing: garbage contradicts no root.
		let verdict = checked.verdict;
		assert_eq!(verdict.online, stage > 0, "stage {stage}");
		assert_eq!(
			(verdict.proof, verdict.memory),
			(stage > 0, 0),
			"stage {stage}"
		);
		assert_eq!(
			world.receipt_fits(&checked, CHECKERS[0]),
			stage > 0,
			"stage {stage}"
		);
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hangs() {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(2)).await;
	let start = Instant::now();
	let act = async |_: &mut iroh::endpoint::SendStream, _| {
		tokio::time::sleep(Duration::from_secs(3_600)).await;
	};
	let checked = tokio::select! {
		checked = world.check(&checker, world.seat(CHECKERS[0], [5; 32])) => checked,
		() = rogue(&world, act) => unreachable!(),
	};
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
	assert!(start.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_another_key_is_none() {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(2)).await;
	let act = async |send: &mut iroh::endpoint::SendStream, request| {
		if let wire::Request::Hello(which) = request {
			let payload = wire::ProofRequest {
				checker: checker_key(CHECKERS[1]),
				..which.clone()
			}
			.receipt_payload();
			let forged: Result<_, wire::Refusal> = Ok(pair(WORKER).sign(&payload));
			let _ = wire::write(send, &forged).await;
		}
	};
	let checked = tokio::select! {
		checked = world.check(&checker, world.seat(CHECKERS[0], [5; 32])) => checked,
		() = rogue(&world, act) => unreachable!(),
	};
	assert_eq!(
		checked,
		Checked {
			verdict: Verdict::OFFLINE,
			receipt: None
		}
	);
}
