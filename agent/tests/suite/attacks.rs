//! Attempts of dishonest agents over the wire, and their results. What needs no wire is tested where it is
//! decided: in `trial/`, `checker/` and `peer/bandwidth.rs`.

use crate::world::{
	BENCH, CHECKERS, WORKER, World, bind_endpoint, checker_key, pair, ran, receipt, rogue, spec,
};
use codec::Encode;
use iroh::endpoint::Connection;
use kaisar_agent::{
	gpu::Choice,
	peer::{
		endpoint::Peers,
		wire::{
			self, Introduced, Introduction, MAX_REPLY, OpeningsReply, ProofRequest, Push, Refusal,
			Request, RootsReply, Trial,
		},
	},
	trial::{
		device::{Device, DeviceError, Processor, Window},
		job::{Job, Sizes},
		part::{Part, Resource},
		proof::{Challenge, Roots, limit},
	},
};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	BenchParams, WorkerSpec,
	agent::{Checked, SeatClaim},
};
use sp_core::{H256, Pair};
use std::{sync::Arc, time::Duration};

fn which(world: &World, checker: u8) -> ProofRequest {
	ProofRequest {
		genesis: world.genesis,
		round: 4,
		seed: world.seed,
		worker: 7,
		checker: checker_key(checker),
	}
}

/// A fake checker with the key, and with requests from the test.
async fn connect(world: &World, checker: u8) -> (iroh::Endpoint, Connection) {
	let bind = Some("127.0.0.1:0".parse().unwrap());
	let endpoint = bind_endpoint(&[checker; 32], bind, None, &[wire::ALPN])
		.await
		.unwrap();
	let peers = Peers::new(&world.path().join("peers")).unwrap();
	let addr = peers.lookup(&pair(WORKER).public()).unwrap();
	let connection = endpoint.connect(addr, wire::ALPN).await.unwrap();
	(endpoint, connection)
}

async fn ask<T: codec::DecodeWithMemTracking>(
	connection: &Connection,
	request: &Request,
) -> Result<T, Refusal> {
	let (mut send, mut recv) = connection.open_bi().await.unwrap();
	wire::write(&mut send, request).await.unwrap();
	wire::read(&mut recv, MAX_REPLY).await.unwrap()
}

/// Asks for openings.
async fn open(connection: &Connection, request: &Request, most: usize) -> OpeningsReply {
	let (mut send, mut recv) = connection.open_bi().await.unwrap();
	wire::write(&mut send, request).await.unwrap();
	wire::read_openings(&mut recv, most).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checker_that_floods_takes_nothing_from_the_others() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let root = world.prove(&worker).await;
	let (_endpoint, connection) = connect(&world, CHECKERS[0]).await;
	let challenge = Challenge {
		open_seed: H256::zero(),
		nonce: [0; 32],
	};
	let job = Job::of_prove(&world.prove_request(), worker.key()).unwrap();
	let most = limit(&job, &job.plan(), Resource::Processor);
	let mut refused = 0;
	for _ in 0..40 {
		let request = Request::Open(which(&world, CHECKERS[0]), Resource::Processor, challenge);
		match open(&connection, &request, most).await {
			Ok(openings) => assert!(!openings.is_empty()),
			Err(refusal) => {
				assert_eq!(refusal, Refusal::Spent);
				refused += 1;
			}
		}
	}
	assert_eq!(refused, 16, "24 are served in a round");
	// Cheap requests are still answered, in its own name only.
	let hello = Request::Hello(which(&world, CHECKERS[0]));
	assert!(
		ask::<kaisar_primitives::AgentSignature>(&connection, &hello)
			.await
			.is_ok()
	);
	let hello = Request::Hello(which(&world, CHECKERS[1]));
	assert_eq!(
		ask::<kaisar_primitives::AgentSignature>(&connection, &hello).await,
		Err(Refusal::NotServed)
	);
	let other = world.agent(CHECKERS[1]).await;
	let checked = world.check(&other, world.seat(CHECKERS[1], root)).await;
	assert!(checked.verdict.online && checked.verdict.proof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_of_one_agent_are_closed() {
	let world = World::new();
	let worker = world.agent(WORKER).await;
	let root = world.prove(&worker).await;
	let (endpoint, first) = connect(&world, CHECKERS[0]).await;
	let peers = Peers::new(&world.path().join("peers")).unwrap();
	let mut open = vec![first];
	for _ in 0..15 {
		let addr = peers.lookup(&pair(WORKER).public()).unwrap();
		open.push(endpoint.connect(addr, wire::ALPN).await.unwrap());
	}
	let mut closed = 0;
	for connection in &open {
		let hello = which(&world, CHECKERS[0]).encode();
		// It answers, or the connection was closed.
		let answered = async {
			let (mut send, mut recv) = connection.open_bi().await.ok()?;
			send.write_all(&(hello.len() as u32 + 1).to_le_bytes())
				.await
				.ok()?;
			send.write_all(&[1]).await.ok()?;
			send.write_all(&hello).await.ok()?;
			wire::read_frame(&mut recv, MAX_REPLY).await.ok()
		};
		closed += usize::from(answered.await.is_none());
	}
	assert_eq!(closed, 8, "8 of one agent stay");
	let other = world.agent(CHECKERS[1]).await;
	let checked = world.check(&other, world.seat(CHECKERS[1], root)).await;
	assert!(checked.verdict.online && checked.verdict.proof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_in_anothers_name_is_refused() {
	let world = World::new();
	let checker = world.agent(CHECKERS[0]).await;
	let bind = Some("127.0.0.1:0".parse().unwrap());
	let endpoint = bind_endpoint(&[77; 32], bind, None, &[wire::ALPN])
		.await
		.unwrap();
	let peers = Peers::new(&world.path().join("peers")).unwrap();
	let addr = peers.lookup(&checker.key()).unwrap();
	let connection = endpoint.connect(addr, wire::ALPN).await.unwrap();
	let trial = Trial {
		genesis: world.genesis,
		round: 4,
		seed: world.seed,
		worker: 9,
	};
	let introduction = Request::Introduce(Introduction {
		genesis: world.genesis,
		round: 4,
		worker: 9,
	});
	// It has its own worker, and is admitted for it.
	let mut connection = connection;
	while ask::<Introduced>(&connection, &introduction).await != Ok(Introduced::Admitted) {
		let is_own = |claim: &SeatClaim| (claim.worker, claim.agent) == (9, pair(77).public());
		world.answer_claims(&checker, is_own).await;
		let addr = peers.lookup(&checker.key()).unwrap();
		connection = endpoint.connect(addr, wire::ALPN).await.unwrap();
	}
	let another = Trial { worker: 7, ..trial };
	for (signer, trial, expected) in [
		(77, trial, Ok(())),
		(WORKER, trial, Err(Refusal::Bad)),
		(77, another, Err(Refusal::NotServed)),
		(WORKER, another, Err(Refusal::NotServed)),
	] {
		let push = Push::signed(&pair(signer), trial, Part::Processor, [1; 32]);
		let answer = ask::<()>(&connection, &Request::Push(push)).await;
		assert_eq!(answer, expected);
	}
}

/// Plausible roots without a trial.
pub fn roots() -> Roots {
	Roots {
		sizes: Sizes {
			lanes: 2,
			pages: 128,
			groups: 1,
			..Sizes::default()
		},
		gpus: Vec::new(),
		processor: [5; 32],
		disk: [6; 32],
	}
}

/// Returns the root that a worker with these roots attests.
pub fn attested(world: &World, roots: &Roots) -> [u8; 32] {
	let job = Job::of_prove(&world.prove_request(), pair(WORKER).public());
	roots.root(&job.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_crashes_in_the_middle_of_an_answer() {
	// It ends the stream after half of a valid answer, each time.
	for at in 0..3 {
		let world = World::new();
		let checker = world.agent_with(CHECKERS[0], Duration::from_secs(2)).await;
		let mut request = world.seat(CHECKERS[0], attested(&world, &roots()));
		request.full = false;
		let act = async |send: &mut iroh::endpoint::SendStream, request: Request| {
			let _ = match request {
				Request::Hello(which) if at > 0 => wire::write(send, &receipt(&which)).await,
				Request::Roots(_) if at > 1 => wire::write(send, &RootsReply::Ok(roots())).await,
				_ => {
					let mut half = 1_000u32.to_le_bytes().to_vec();
					half.extend([0; 500]);
					let sent = send.write_all(&half).await;
					sent.map_err(|error| wire::WireError::Io(error.into()))
				}
			};
		};
		let checked = tokio::select! {
			checked = world.check(&checker, request) => checked,
			() = rogue(&world, act) => unreachable!(),
		};
		// A worker that named its roots is online and shows nothing.
		let verdict = checked.verdict;
		assert_eq!(verdict.online, at > 1, "at {at}");
		assert_eq!((verdict.proof, verdict.cpu), (at > 1, 0), "at {at}");
		assert_eq!(world.receipt_fits(&checked, CHECKERS[0]), at > 0, "at {at}");
	}
}

/// Serves the trial of one job in place of another, whose attested root covers its roots.
async fn served_in_place(seed: Option<H256>, other: impl Fn(Job) -> Job) -> Checked {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(5)).await;
	let job = Job::of_prove(&world.prove_request(), pair(WORKER).public()).unwrap();
	let proof = &ran(&other(job.clone()), seed.unwrap_or(world.seed), &[]);
	let act = async |send: &mut iroh::endpoint::SendStream, request: Request| {
		let _ = match request {
			Request::Hello(which) => wire::write(send, &receipt(&which)).await,
			Request::Roots(_) => wire::write(send, &RootsReply::Ok(proof.roots().clone())).await,
			Request::Open(_, resource, challenge) => {
				let openings = proof.open(resource, &challenge).unwrap();
				wire::write_openings(send, &Ok(openings)).await
			}
			_ => Ok(()),
		};
	};
	let mut request = world.seat(CHECKERS[0], proof.roots().root(&job));
	request.full = false;
	tokio::select! {
		checked = world.check(&checker, request) => checked,
		() = rogue(&world, act) => unreachable!(),
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_of_another_round_worker_or_agent_is_found_to_be_false() {
	let honest = served_in_place(None, |job| job).await;
	assert!(
		honest.verdict.online && honest.verdict.proof,
		"the test itself is sound"
	);
	type Change = fn(Job) -> Job;
	let guessed = Some(H256::repeat_byte(9));
	let others: [(&str, Option<H256>, Change); 6] = [
		("replayed", None, |job| Job { round: 2, ..job }),
		("run before the trial's seed was known", guessed, |job| job),
		("another worker's", None, |job| Job { worker: 8, ..job }),
		("copied from another agent", None, |job| Job {
			agent: pair(2).public(),
			..job
		}),
		("with fewer stages", None, |job| Job {
			bench: BenchParams { stages: 3, ..BENCH },
			..job
		}),
		("of another fork", None, |job| Job {
			seed: H256::zero(),
			..job
		}),
	];
	for (name, seed, other) in others {
		let checked = served_in_place(seed, other).await;
		assert!(checked.verdict.online && !checked.verdict.proof, "{name}");
		assert_eq!(checked.verdict.cpu, 0, "{name}");
	}
}

#[test]
fn a_name_is_no_evidence() {
	struct Named(&'static str);
	impl Device for Named {
		fn name(&self) -> String {
			self.0.into()
		}
		fn copy_gbps(&self) -> Result<f64, DeviceError> {
			Err(DeviceError::Shape)
		}
		fn fill(
			&self,
			seed: [u8; 32],
			n: u32,
			window: u32,
			wanted: &(dyn Fn() -> bool + Sync),
		) -> Result<Box<dyn Window>, DeviceError> {
			Processor.fill(seed, n, window, wanted)
		}
	}
	let job = Job {
		genesis: H256::zero(),
		round: 0,
		seed: H256::zero(),
		worker: 0,
		agent: pair(WORKER).public(),
		spec: WorkerSpec {
			gpu_class: 1,
			gpu_count: 1,
			..spec()
		},
		bench: BENCH,
		reference: None,
	};
	let roots = ["NVIDIA H100 80GB HBM3", "a toaster"].map(|name| {
		let devices: [Arc<dyn Device>; 1] = [Arc::new(Named(name))];
		ran(&job, H256::zero(), &devices).roots().clone()
	});
	assert!(roots[0].has(Resource::Gpus));
	assert_eq!(roots[0], roots[1], "nothing that is sent knows the name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_a_software_gpu_is_checked_like_any_other() {
	let mut world = World::new();
	world.gpus = Choice::Software;
	world.spec.gpu_class = 1;
	world.spec.gpu_count = 2;
	world.bench.n = 1_024;
	world.bench.window_mib = 2;
	world.reference = Some(ClassReference::LEAST);
	let worker = world.agent(WORKER).await;
	let checker = world.agent(CHECKERS[0]).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	let verdict = checked.verdict;
	assert!(verdict.online && verdict.proof, "{checked:?}");
	// One GPU ran, so one is shown, not the two claimed.
	assert_eq!(
		(verdict.gpu_class, verdict.gpu_count),
		(1, 1),
		"{checked:?}"
	);
}
