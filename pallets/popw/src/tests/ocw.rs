//! The off-chain worker, against an agent that answers what the test says.

use super::*;
use crate::*;
use codec::{Decode, Encode};
use frame_support::traits::{Authorize, Hooks};
use kaisar_primitives::{
	CheckerKey, GpuClasses, Outcome, Seats, WorkerKey, WorkerRegistry,
	agent::{
		AgentConfig, Attestation, Checked, PATH_CHECK, PATH_PROVE, PATH_ROUND, Progress,
		ProveRequest, RoundStart, SeatReply, SeatRequest, config_key,
	},
	keys::{CHECKER_KEY_TYPE, WORKER_KEY_TYPE},
};
use parking_lot::RwLock;
use sp_core::{
	Pair,
	offchain::{
		OffchainDbExt, OffchainWorkerExt, TransactionPoolExt,
		testing::{
			OffchainState, PendingRequest, PoolState, TestOffchainExt, TestTransactionPoolExt,
		},
	},
};
use sp_keystore::{Keystore, KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{offchain::storage::StorageValueRef, traits::Dispatchable};
use std::sync::Arc;

const URL: &str = "http://127.0.0.1:9";

struct World {
	ext: sp_io::TestExternalities,
	agent: Arc<RwLock<OffchainState>>,
	pool: Arc<RwLock<PoolState>>,
	keystore: Arc<MemoryKeystore>,
}

impl World {
	/// Worker 0 is due, three operators sit; this node holds no key yet.
	fn new() -> Self {
		let mut ext = attesting();
		let (offchain, agent) = TestOffchainExt::new();
		let (transactions, pool) = TestTransactionPoolExt::new();
		let keystore = Arc::new(MemoryKeystore::new());
		ext.register_extension(OffchainDbExt::new(offchain.clone()));
		ext.register_extension(OffchainWorkerExt::new(offchain));
		ext.register_extension(TransactionPoolExt::new(transactions));
		ext.register_extension(KeystoreExt::from(keystore.clone() as Arc<dyn Keystore>));
		Self {
			ext,
			agent,
			pool,
			keystore,
		}
	}

	fn worker() -> Self {
		let mut world = Self::new();
		let key = pair("worker", 0).public();
		world
			.keystore
			.insert(WORKER_KEY_TYPE, "//worker/0", key.as_ref())
			.unwrap();
		world.ext.execute_with(|| configure(key.as_ref()));
		world
	}

	fn checker(operator: u32) -> Self {
		let mut world = Self::new();
		let key = pair("checker", operator).public();
		let suri = format!("//checker/{operator}");
		world
			.keystore
			.insert(CHECKER_KEY_TYPE, &suri, key.as_ref())
			.unwrap();
		world.ext.execute_with(|| configure(key.as_ref()));
		world
	}

	/// The agent will be asked this next, and will answer so.
	fn expect(&self, path: &str, body: impl Encode, answer: Vec<u8>) {
		self.agent.write().expect_request(PendingRequest {
			method: "POST".into(),
			uri: format!("{URL}{path}"),
			headers: vec![
				("Authorization".into(), "Bearer secret".into()),
				("Content-Type".into(), "application/octet-stream".into()),
			],
			body: body.encode(),
			sent: true,
			response: Some(answer),
			..Default::default()
		});
	}

	/// Runs the off-chain worker on the state of the block as it stands at its end.
	fn work(&mut self) {
		self.ext
			.execute_with(|| Popw::offchain_worker(System::block_number()));
	}

	/// The calls that were submitted since the last look, each of which the pool would take.
	fn submitted(&mut self) -> Vec<RuntimeCall> {
		let transactions = std::mem::take(&mut self.pool.write().transactions);
		self.ext.execute_with(|| {
			// What is submitted now is for the next block.
			frame_support::hypothetically!({
				run_to(System::block_number() + 1);
				transactions
					.iter()
					.map(|bytes| {
						let call = Extrinsic::decode(&mut bytes.as_slice()).unwrap().function;
						call.authorize(frame_support::pallet_prelude::TransactionSource::Local)
							.expect("an authorized call")
							.expect("the pool takes it");
						call
					})
					.collect()
			})
		})
	}

	/// Puts the calls into the next block.
	fn include(&mut self, calls: Vec<RuntimeCall>) {
		self.ext.execute_with(|| {
			run_to(System::block_number() + 1);
			for call in calls {
				call.dispatch(frame_system::RawOrigin::Authorized.into())
					.unwrap();
			}
		});
	}

	fn run_to(&mut self, block: u32) {
		self.ext.execute_with(|| run_to(block));
	}
}

fn configure(key: &[u8]) {
	let config = AgentConfig {
		url: URL.into(),
		token: "secret".into(),
	};
	StorageValueRef::persistent(&config_key(key)).set(&config);
}

fn prove_request() -> ProveRequest {
	let round = Rounds::<Test>::get(0).unwrap();
	let info = Registry::info(0, 0).unwrap();
	let committee = Popw::committee(0, 0)
		.into_iter()
		.map(|(operator, _)| <Registry as Seats<u64>>::operator(operator, 0).unwrap())
		.map(|operator| (operator.key, operator.agent))
		.collect();
	ProveRequest {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		round: 0,
		seed: round.seed,
		worker: 0,
		spec: info.spec,
		bench: round.bench,
		reference: Registry::reference(info.spec.gpu_class, 0),
		order: None,
		committee,
		keep_ms: u64::from(round.ends() - System::block_number() + 2) * 12_000,
	}
}

fn done(root: [u8; 32]) -> Vec<u8> {
	Progress::Done(Attestation { root }).encode()
}

#[test]
fn a_node_without_keys_does_nothing() {
	let mut world = World::new();
	world.work();
	assert!(world.submitted().is_empty());
}

#[test]
fn a_worker_polls_its_agent_and_attests_what_it_says() {
	let mut world = World::worker();
	let mut calls = Vec::new();
	// Its place in the phase is within the first half.
	for block in 2..=8 {
		world.run_to(block);
		let request = world.ext.execute_with(prove_request);
		let answer = match block {
			2 => Progress::<Attestation>::Working.encode(),
			_ => done([9; 32]),
		};
		world.expect(PATH_PROVE, &request, answer);
		world.work();
		let now = world.submitted();
		assert!(
			block > 2 || now.is_empty(),
			"nothing before the proof is there"
		);
		calls.extend(now);
		if !calls.is_empty() {
			break;
		}
	}
	assert!(matches!(
		calls.as_slice(),
		[RuntimeCall::Popw(Call::attest {
			worker: 0,
			round: 0,
			root: [9, ..],
			signature: Some(_)
		})]
	));
	// Not again at the next block, and again some blocks later, had it been lost.
	let mut sent = Vec::new();
	for block in 9..=10 {
		world.run_to(block);
		let request = world.ext.execute_with(prove_request);
		world.expect(PATH_PROVE, &request, done([9; 32]));
		world.work();
		sent.push(world.submitted().len());
	}
	assert!(sent.iter().sum::<usize>() <= 1, "{sent:?}");
}

#[test]
fn a_worker_keeps_its_agent_at_it_after_attesting() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(13);
	// An agent that restarted has to compute the proof again, for the openings.
	let request = world.ext.execute_with(prove_request);
	world.expect(
		PATH_PROVE,
		&request,
		Progress::<Attestation>::Working.encode(),
	);
	world.work();
	assert!(world.submitted().is_empty());
}

#[test]
fn a_gpu_is_held_to_the_reference_of_its_round_however_late_it_is_asked() {
	let claim_a_gpu = || heard(|heard| heard.workers.get_mut(&0).unwrap().spec.gpu_class = 11);
	let mut world = World::worker();
	claim_a_gpu();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	// Round 2 runs too, which has another.
	world.run_to(13);
	let request = world.ext.execute_with(prove_request);
	assert_eq!(request.reference, Registry::reference(11, 0));
	assert_ne!(request.reference, Registry::reference(11, 2));
	let working = Progress::<Attestation>::Working.encode();
	world.expect(PATH_PROVE, &request, working);
	world.work();

	let mut world = World::checker(1);
	claim_a_gpu();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(13);
	expect_round(&mut world, 2);
	expect_round(&mut world, 0);
	let request = world.ext.execute_with(|| seat_request(1));
	assert_eq!(request.reference, Registry::reference(11, 0));
	world.expect(PATH_CHECK, vec![request], reply(Progress::Working));
	world.work();
}

#[test]
fn a_worker_closes_its_check_when_the_round_is_over() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(32);
	world.work();
	assert!(matches!(
		world.submitted().as_slice(),
		[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
	));
}

#[test]
fn an_agent_that_answers_garbage_is_left_alone_for_a_while_and_comes_back() {
	for garbage in [vec![0xff; 7], vec![1; 200_000], Vec::new()] {
		let mut world = World::worker();
		let request = world.ext.execute_with(prove_request);
		world.expect(PATH_PROVE, &request, garbage);
		world.work();
		// Asked again too early, the mock would have no answer and panic.
		world.run_to(3);
		world.work();
		assert!(world.submitted().is_empty());
		let mut calls = Vec::new();
		for block in 4..=8 {
			world.run_to(block);
			let request = world.ext.execute_with(prove_request);
			world.expect(PATH_PROVE, &request, done([9; 32]));
			world.work();
			calls.extend(world.submitted());
			if !calls.is_empty() {
				break;
			}
		}
		assert_eq!(calls.len(), 1, "it attests once the agent is back");
	}
}

#[test]
fn a_key_without_an_agent_stays_quiet() {
	let mut world = World::new();
	let key: WorkerKey = pair("worker", 0).public().into();
	world
		.keystore
		.insert(WORKER_KEY_TYPE, "//worker/0", key.as_ref())
		.unwrap();
	world.work();
	assert!(world.submitted().is_empty());
}

fn seat_request(operator: u32) -> SeatRequest {
	let round = Rounds::<Test>::get(0).unwrap();
	let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(0) else {
		panic!()
	};
	SeatRequest {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		round: 0,
		seed: round.seed,
		worker: 0,
		agent: Registry::info(0, 0).unwrap().agent,
		spec: Registry::info(0, 0).unwrap().spec,
		bench: round.bench,
		reference: Registry::reference(Registry::info(0, 0).unwrap().spec.gpu_class, 0),
		root: [7; 32],
		open_seed: BlockSeeds::<Test>::get(check.attested_at + 1).unwrap(),
		checker: CheckerKey::from(pair("checker", operator).public()),
		seats: 3,
		full: true,
		rented: false,
		order: None,
	}
}

fn expect_round(world: &mut World, index: u32) {
	let start = world.ext.execute_with(|| {
		let round = Rounds::<Test>::get(index).unwrap();
		RoundStart {
			genesis: kaisar_primitives::authorized::genesis::<Test>(),
			round: index,
			seed: round.seed,
			keep_ms: u64::from(round.ends() - System::block_number() + 2) * 12_000,
		}
	});
	world.expect(PATH_ROUND, &start, ().encode());
}

fn reply(progress: Progress<Checked>) -> Vec<u8> {
	vec![SeatReply {
		worker: 0,
		progress,
	}]
	.encode()
}

#[test]
fn a_checker_probes_the_container_while_the_order_is_served() {
	for served in [false, true] {
		let mut world = World::checker(1);
		expect_round(&mut world, 0);
		world.work();
		world.ext.execute_with(|| {
			attest(0, 0).unwrap();
			heard(|heard| {
				heard.workers.get_mut(&0).unwrap().order = Some(7);
				heard.serving = if served { vec![7] } else { Vec::new() };
			});
			LastChecks::<Test>::mutate(0, |last| {
				let Some(LastCheck::Open(check)) = last else {
					panic!()
				};
				check.rented = true;
			});
		});
		world.run_to(4);
		let request = SeatRequest {
			rented: true,
			order: served.then_some(7),
			..world.ext.execute_with(|| seat_request(1))
		};
		// Another request than this one makes the mock fail.
		world.expect(PATH_CHECK, vec![request], reply(Progress::Working));
		world.work();
	}
}

#[test]
fn a_checker_checks_commits_and_reveals_across_restarts() {
	let mut world = World::checker(1);
	// The clock starts with the round.
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());

	// The block after the attestation, whose randomness the openings are drawn from, is not there.
	world.work();
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	world.expect(PATH_CHECK, vec![request.clone()], reply(Progress::Working));
	world.work();
	world.run_to(5);
	let checked = Checked {
		verdict: good(),
		receipt: None,
	};
	world.expect(PATH_CHECK, vec![request], reply(Progress::Done(checked)));
	world.work();
	assert!(
		world.submitted().is_empty(),
		"nothing to submit while workers attest"
	);

	// Round 2 starts in block 11. Its node has restarted meanwhile: all it knows is in storage.
	let mut commits = Vec::new();
	for block in 12..=18 {
		world.run_to(block);
		if block == 12 {
			expect_round(&mut world, 2);
		}
		world.work();
		commits.extend(world.submitted());
		if !commits.is_empty() {
			break;
		}
	}
	assert!(matches!(
		commits.as_slice(),
		[RuntimeCall::Popw(Call::commit {
			operator: 1,
			round: 0,
			batch: 0,
			..
		})]
	));
	world.include(commits);

	// So few votes need no spreading: they are revealed as soon as they may be.
	world.run_to(21);
	world.work();
	let reveals = world.submitted();
	let votes = match reveals.as_slice() {
		[
			RuntimeCall::Popw(Call::reveal {
				operator: 1,
				round: 0,
				votes,
				..
			}),
		] => votes.clone(),
		other => panic!("{other:?}"),
	};
	assert_eq!(votes.to_vec(), [(0, good())]);
	world.include(reveals);
	world.ext.execute_with(|| {
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(0) else {
			panic!()
		};
		assert!(
			check
				.committee
				.iter()
				.any(|seat| seat.operator == 1 && seat.vote.is_some())
		);
	});
	world.run_to(22);
	expect_round(&mut world, 4);
	world.work();
	assert!(world.submitted().is_empty());

	// When the round is over it closes what others left open.
	world.run_to(32);
	expect_round(&mut world, 6);
	world.work();
	let calls = world.submitted();
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
	world.include(calls);
	world
		.ext
		.execute_with(|| assert_eq!(last_outcome(), Outcome::NoConsensus));
}

#[test]
fn a_checker_without_a_verdict_does_not_vote() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	let failed = Progress::Failed("no such worker".into());
	world.expect(PATH_CHECK, vec![request], reply(failed));
	world.work();
	for block in [12, 15, 18, 21] {
		world.run_to(block);
		if block == 12 {
			expect_round(&mut world, 2);
		}
		world.work();
		assert!(
			world.submitted().is_empty(),
			"no vote, rather than a false one"
		);
	}
}

#[test]
fn a_checker_says_who_is_absent() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.run_to(12);
	expect_round(&mut world, 2);
	world.work();
	let calls = world.submitted();
	assert!(
		calls.iter().any(|call| matches!(
			call,
			RuntimeCall::Popw(Call::report_absent {
				worker: 0,
				round: 0
			})
		)),
		"{calls:?}"
	);
}

#[test]
fn a_checker_keeps_the_receipts_of_who_served_it() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	let receipt = kaisar_primitives::AgentSignature::from_raw([5; 64]);
	let checked = Checked {
		verdict: good(),
		receipt: Some(receipt),
	};
	world.expect(PATH_CHECK, vec![request], reply(Progress::Done(checked)));
	world.work();
	world.ext.execute_with(|| {
		let name = kaisar_primitives::agent::receipts_key(1, 0);
		assert_eq!(
			StorageValueRef::persistent(&name)
				.get::<Vec<(u32, kaisar_primitives::AgentSignature)>>(),
			Ok(Some(vec![(0, receipt)]))
		);
	});
}
