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
	/// Rounds that the agent was told of, or will be.
	told: std::collections::BTreeSet<u32>,
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
			told: Default::default(),
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

	/// The running block.
	fn block(&mut self) -> u32 {
		self.ext.execute_with(System::block_number)
	}

	/// Looks at the state of the block as it stands at its end.
	fn at_end<R>(&mut self, look: impl FnOnce() -> R) -> R {
		self.ext.execute_with(|| {
			frame_support::hypothetically!({
				Popw::on_finalize(System::block_number());
				look()
			})
		})
	}

	/// Runs the off-chain worker on the state of the block as it stands at its end.
	fn work(&mut self) {
		self.at_end(|| Popw::offchain_worker(System::block_number()));
	}

	/// The agent will be told of the start of each round that runs and that it was not told of.
	fn expect_starts(&mut self) {
		let running = self.at_end(|| {
			let next = System::block_number() + 1;
			let agents_work = |round: &Round| {
				round.trial_seed.is_some()
					&& matches!(round.phase(next), Phase::Attest | Phase::Commit)
			};
			let rounds = Popw::rounds().into_iter().filter(agents_work);
			rounds.map(|round| round.index).collect::<Vec<_>>()
		});
		for index in running {
			if self.told.insert(index) {
				expect_round(self, index);
			}
		}
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

	/// Runs on a chain that does not stand: its blocks are undone, and local storage is not.
	fn on_a_fork<R>(&mut self, run: impl FnOnce(&mut Self) -> R) -> R {
		let before = heard(|heard| heard.clone());
		self.ext.execute_with(sp_io::storage::start_transaction);
		Branch::set(1);
		let result = run(self);
		self.ext.execute_with(sp_io::storage::rollback_transaction);
		Branch::set(0);
		heard(|heard| *heard = before);
		result
	}

	/// The block of a round's trial.
	fn run_to_trial(&mut self, index: u32) {
		let is_trial = || {
			let next = System::block_number() + 1;
			Rounds::<Test>::get(index).is_some_and(|round| {
				round.trial_seed.is_some() && round.phase(next) == Phase::Attest
			})
		};
		while !self.at_end(is_trial) {
			let next = self.block() + 1;
			self.run_to(next);
		}
	}

	/// The agent will be asked to check these workers.
	fn expect_checks(
		&mut self,
		operator: u32,
		round: u32,
		workers: &[u32],
		answer: Progress<Checked>,
	) {
		let requests: Vec<SeatRequest> = self.at_end(|| {
			let of = |worker: &u32| seat_request_of(operator, round, *worker);
			workers.iter().map(of).collect()
		});
		let reply = |worker: &u32| SeatReply {
			worker: *worker,
			progress: answer.clone(),
		};
		let replies: Vec<SeatReply> = workers.iter().map(reply).collect();
		self.expect(PATH_CHECK, requests, replies.encode());
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
	prove_request_of(0)
}

fn prove_request_of(index: u32) -> ProveRequest {
	let round = Rounds::<Test>::get(index).unwrap();
	let info = Registry::info(0, index).unwrap();
	let committee = Popw::committee(0, index)
		.into_iter()
		.map(|(operator, _)| <Registry as Seats<u64>>::operator(operator, index).unwrap())
		.map(|operator| (operator.key, operator.agent))
		.collect();
	ProveRequest {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		round: index,
		seed: round.trial_seed.unwrap(),
		worker: 0,
		spec: info.spec,
		bench: round.bench,
		reference: Registry::reference(info.spec.gpu_class, index),
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
	seat_request_of(operator, 0, 0)
}

fn seat_request_of(operator: u32, index: u32, worker: u32) -> SeatRequest {
	let round = Rounds::<Test>::get(index).unwrap();
	let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(worker) else {
		panic!("worker {worker} has no open check")
	};
	let info = Registry::info(worker, index).unwrap();
	SeatRequest {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		round: index,
		seed: round.trial_seed.unwrap(),
		worker,
		agent: info.agent,
		spec: info.spec,
		bench: round.bench,
		reference: Registry::reference(info.spec.gpu_class, index),
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
	world.told.insert(index);
	let start = world.at_end(|| {
		let round = Rounds::<Test>::get(index).unwrap();
		RoundStart {
			genesis: kaisar_primitives::authorized::genesis::<Test>(),
			round: index,
			seed: round.trial_seed.unwrap(),
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
		world.expect_starts();
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
	world.expect_starts();
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
	world.expect_starts();
	world.work();
	assert!(world.submitted().is_empty());

	// When the round is over it closes what others left open.
	world.run_to(32);
	world.expect_starts();
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
		world.expect_starts();
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

fn checked() -> Progress<Checked> {
	Progress::Done(Checked {
		verdict: good(),
		receipt: Some(kaisar_primitives::AgentSignature::from_raw([5; 64])),
	})
}

/// A checker's node before round 2, with workers `1 ..= 3` marked for it.
fn before_round_2(operator: u32) -> World {
	let mut world = World::checker(operator);
	for worker in 1..=3 {
		world.ext.execute_with(|| add_marked(worker, 2));
	}
	expect_round(&mut world, 0);
	world.work();
	world
}

#[test]
fn the_start_is_told_again_when_the_chain_has_another_seed() {
	let mut world = before_round_2(1);
	let once = |world: &mut World| {
		world.run_to_trial(2);
		expect_round(world, 2);
		world.work();
		let next = world.block() + 1;
		world.run_to(next);
		world.work();
	};
	world.on_a_fork(once);
	once(&mut world);
}

#[test]
fn the_work_of_a_dead_seed_is_dropped() {
	let mut world = before_round_2(1);
	let receipts = |world: &mut World| {
		world.ext.execute_with(|| {
			let name = kaisar_primitives::agent::receipts_key(1, 2);
			StorageValueRef::persistent(&name)
				.get::<Vec<(u32, kaisar_primitives::AgentSignature)>>()
				.unwrap()
				.unwrap_or_default()
				.len()
		})
	};
	let attest_two = |world: &mut World| {
		world.run_to_trial(2);
		expect_round(world, 2);
		world.work();
		world.ext.execute_with(|| {
			attest_soon(1, 2);
			attest_soon(2, 2);
			run_to(System::block_number() + 2);
		});
	};
	world.on_a_fork(|world| {
		attest_two(world);
		world.expect_checks(1, 2, &[1, 2], checked());
		world.work();
		assert_eq!(receipts(world), 2);
	});
	attest_two(&mut world);
	assert_eq!(
		receipts(&mut world),
		0,
		"a dead seed's receipts show nothing"
	);
	// Both are asked for again, under the seed that stands.
	world.expect_checks(1, 2, &[1, 2], checked());
	world.work();
	assert_eq!(receipts(&mut world), 2);
}

#[test]
fn attestations_that_another_chain_has_elsewhere_are_seen() {
	// The rival has other seeds; or the same ones, since one author made two blocks in its slot. This node ran on
	// the block that stands as well, or only on the one after it.
	for (branch, runs_on_both) in [(0, true), (0, false), (1, true), (1, false)] {
		let mut world = before_round_2(1);
		world.run_to_trial(2);
		expect_round(&mut world, 2);
		world.work();
		let block = world.block() + 1;
		world.run_to(block);
		world.on_a_fork(|world| {
			Branch::set(branch);
			world.ext.execute_with(|| attest(1, 2).unwrap());
			world.work();
		});
		// Here worker 2 is first, and worker 1 follows: the list is as long, and its entry another.
		world.ext.execute_with(|| attest(2, 2).unwrap());
		if runs_on_both {
			world.work();
		}
		world.run_to(block + 1);
		world.ext.execute_with(|| attest(1, 2).unwrap());
		world.expect_checks(1, 2, &[2], Progress::Working);
		world.work();
		world.run_to(block + 2);
		world.expect_checks(1, 2, &[1, 2], Progress::Working);
		world.work();
	}
}

#[test]
fn a_worker_attests_again_at_once_when_the_chain_has_another_seed() {
	let mut world = World::worker();
	let attests = |world: &mut World| {
		world.ext.execute_with(|| {
			heard(|heard| {
				let forced = Forced {
					round: 2,
					verify_only: true,
				};
				heard.workers.get_mut(&0).unwrap().forced = Some(forced);
			});
		});
		world.run_to_trial(2);
		let request = world.at_end(|| prove_request_of(2));
		world.expect(PATH_PROVE, &request, done([9; 32]));
		world.work();
		let calls = world.submitted();
		assert!(
			matches!(
				calls.as_slice(),
				[RuntimeCall::Popw(Call::attest { round: 2, .. })]
			),
			"{calls:?}"
		);
	};
	world.on_a_fork(attests);
	attests(&mut world);
}

#[test]
fn votes_are_cut_by_the_batches_of_their_seats() {
	let mut world = World::checker(1);
	let count = 70u32;
	world.ext.execute_with(|| {
		for worker in 1..count {
			add_marked(worker, 0);
		}
	});
	expect_round(&mut world, 0);
	world.work();
	// The last worker attests first: batches are in the order of attestations.
	let order: Vec<u32> = (0..count).rev().collect();
	world.ext.execute_with(|| {
		for worker in &order {
			attest_soon(*worker, 0);
		}
		run_to(System::block_number() + 2);
	});
	world.expect_checks(1, 0, &order, checked());
	world.work();

	let round = world.ext.execute_with(|| Rounds::<Test>::get(0).unwrap());
	let mut sent = Vec::new();
	while sent.len() < 2 {
		let next = world.block() + 1;
		assert!(next < round.commit_ends());
		world.run_to(next);
		world.expect_starts();
		world.work();
		sent.extend(world.submitted());
	}
	assert_eq!(sent.len(), 2);
	world.include(sent);
	world.run_to(round.commit_ends());
	world.expect_starts();
	world.work();
	let reveals = world.submitted();
	let mut batches: Vec<(u16, Vec<u32>)> = reveals
		.iter()
		.map(|call| match call {
			RuntimeCall::Popw(Call::reveal { batch, votes, .. }) => {
				(*batch, votes.iter().map(|(worker, _)| *worker).collect())
			}
			other => panic!("{other:?}"),
		})
		.collect();
	batches.sort_unstable();
	for (_, workers) in &mut batches {
		workers.sort_unstable();
	}
	assert_eq!(
		batches,
		[
			(0, (6..count).collect::<Vec<_>>()),
			(1, (0..6).collect::<Vec<_>>())
		]
	);
	world.include(reveals);
	world.ext.execute_with(|| {
		for event in System::events() {
			if let RuntimeEvent::Popw(Event::Revealed { skipped, .. }) = event.event {
				assert_eq!(skipped, 0);
			}
		}
	});
}

#[test]
fn an_old_check_is_closed_before_its_worker_is_reported() {
	let mut world = World::checker(1);
	let round = world.ext.execute_with(|| Rounds::<Test>::get(0).unwrap());
	world.ext.execute_with(|| attest_soon(0, 0));
	world.run_to(round.ends());
	let index = world.ext.execute_with(|| {
		let index = NextRound::<Test>::get();
		heard(|heard| {
			let forced = Forced {
				round: index,
				verify_only: true,
			};
			heard.workers.get_mut(&0).unwrap().forced = Some(forced);
		});
		index
	});
	world.run_to_trial(index);
	let late = world.at_end(|| Rounds::<Test>::get(index).unwrap());
	world.run_to(late.attest_ends());
	world.expect_starts();
	world.work();
	let calls = world.submitted();
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
}

#[test]
fn agents_start_at_the_trial_with_its_seed() {
	let mut world = before_round_2(1);
	TrialOffset::set(3);
	let trial = 14;
	let told = |world: &mut World| {
		world.run_to(trial);
		let round = world.at_end(|| Rounds::<Test>::get(2).unwrap());
		assert_eq!(round.trial, trial);
		let seed = round.trial_seed.unwrap();
		assert_ne!(seed, round.seed);
		expect_round(world, 2);
		world.work();
		(round.seed, seed)
	};
	for block in 11..trial {
		world.run_to(block);
		// Told anything, the agent would panic.
		world.work();
	}
	// A rival of the trial's block alone: the round is the same, its trial is not.
	let other = world.on_a_fork(told);
	let this = told(&mut world);
	assert_eq!(this.0, other.0);
	assert_ne!(this.1, other.1);

	let mut world = World::worker();
	TrialOffset::set(3);
	world.ext.execute_with(|| add_marked(0, 2));
	for block in 11..trial {
		world.run_to(block);
		world.work();
	}
	world.run_to(trial);
	let request = world.at_end(|| prove_request_of(2));
	let round = world.at_end(|| Rounds::<Test>::get(2).unwrap());
	assert_eq!(Some(request.seed), round.trial_seed);
	world.expect(PATH_PROVE, &request, done([9; 32]));
	world.work();
	assert_eq!(world.submitted().len(), 1);
}

#[test]
fn a_worker_has_its_old_check_closed_before_it_attests() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest_soon(0, 0));
	let round = world.at_end(|| Rounds::<Test>::get(0).unwrap());
	world.run_to(round.ends());
	let index = world.ext.execute_with(NextRound::<Test>::get);
	heard(|heard| {
		heard.workers.get_mut(&0).unwrap().forced = Some(super::mark(index));
	});
	world.run_to_trial(index);
	let request = world.at_end(|| prove_request_of(index));
	world.expect(PATH_PROVE, &request, done([9; 32]));
	world.work();
	let calls = world.submitted();
	// The attestation would be used up for the closing.
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
}
