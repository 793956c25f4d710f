//! Tests of the off-chain worker, with an agent that gives the test's answers.

mod checker;
mod forks;
mod seats;
mod start;
mod storage;
mod window;
mod worker;

use super::*;
use crate::*;
use codec::{Decode, Encode};
use frame_support::traits::{Authorize, Hooks};
use kaisar_primitives::{
	CheckerKey, GpuClasses, Outcome, RoundKind, Seats, WorkerKey, WorkerRegistry,
	agent::{
		AgentConfig, Attestation, Checked, PATH_CHECK, PATH_PREPARE, PATH_PROVE, PATH_ROUND,
		PATH_SEATS, PrepareRequest, Prepared, Progress, ProveRequest, RoundStart, SeatAnswers,
		SeatClaim, SeatReply, SeatRequest, SeatRound, config_key,
	},
	keys::{CHECKER_KEY_TYPE, WORKER_KEY_TYPE},
	offchain::{Agent, until},
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
	/// Rounds that were or will be announced to the agent.
	told: std::collections::BTreeSet<u32>,
	/// The operator whose key this node holds.
	operator: Option<u32>,
	/// The same for worker 0.
	works: bool,
	/// Requests that the next run makes, without those of every run.
	expected: std::cell::RefCell<Vec<PendingRequest>>,
	/// Claims that the agent hands out at the next run, answer by answer.
	claims: Vec<Vec<SeatClaim>>,
}

impl World {
	/// Returns a world in which worker 0 is due and three operators sit; this node has no key yet.
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
			operator: None,
			works: false,
			expected: Default::default(),
			claims: Vec::new(),
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
		world.works = true;
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
		world.operator = Some(operator);
		world
	}

	/// Expects this request to the agent next, and sets its answer.
	fn expect(&self, path: &str, body: impl Encode, answer: Vec<u8>) {
		self.expected.borrow_mut().push(PendingRequest {
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

	/// Returns the running block.
	fn block(&mut self) -> u32 {
		self.ext.execute_with(System::block_number)
	}

	/// Reads the state at the end of the block.
	fn at_end<R>(&mut self, look: impl FnOnce() -> R) -> R {
		self.ext.execute_with(|| {
			frame_support::hypothetically!({
				Popw::on_finalize(System::block_number());
				look()
			})
		})
	}

	/// Runs the off-chain worker on the state at the end of the block.
	fn work(&mut self) {
		self.expect_what_every_run_asks();
		self.work_exactly();
	}

	/// Does the same where the agent gets no requests but those expected one by one.
	fn work_exactly(&mut self) {
		for request in self.expected.take() {
			self.agent.write().expect_request(request);
		}
		self.at_end(|| Popw::offchain_worker(System::block_number()));
	}

	/// Expects the requests of every run: a worker's agent gets its committees first, and a checker's is
	/// asked for claims last.
	fn expect_what_every_run_asks(&mut self) {
		let (operator, works) = (self.operator, self.works);
		let (prepares, seats) = self.at_end(|| {
			let now = System::block_number();
			let answers = |key: &[u8]| Agent::of(key, now, until()).is_some();
			let worker = works && answers(pair("worker", 0).public().as_ref());
			let rounds = Popw::rounds().into_iter();
			let prepares: Vec<_> = rounds
				.filter(|round| {
					worker && round.phase(now + 1) == Phase::Prepare && Popw::is_due(0, round.index)
				})
				.map(|round| prepare_request_of(round.index))
				.collect();
			let checker =
				operator.filter(|operator| answers(pair("checker", *operator).public().as_ref()));
			(prepares, checker.map(seat_rounds).unwrap_or_default())
		});
		let expected = self.expected.take();
		for request in prepares {
			let members = request.committee.len() as u32;
			let connected = members;
			self.expect(
				PATH_PREPARE,
				&request,
				Prepared { members, connected }.encode(),
			);
		}
		self.expected.borrow_mut().extend(expected);
		if seats.is_empty() {
			return;
		}
		let mut answers = Vec::new();
		for claims in std::mem::take(&mut self.claims)
			.into_iter()
			.chain([Vec::new()])
		{
			let request = self.at_end(|| SeatAnswers {
				genesis: kaisar_primitives::authorized::genesis::<Test>(),
				rounds: seats.clone(),
				answers: std::mem::take(&mut answers),
			});
			self.expect(PATH_SEATS, &request, claims.encode());
			let sits = |claim: SeatClaim| (claim, sits(operator.unwrap_or_default(), &claim));
			answers = self.at_end(|| claims.into_iter().map(sits).collect());
		}
	}

	/// Expects the announcement of each running round that was not announced yet.
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

	/// Returns the calls submitted since the last call, each of which the pool would accept.
	fn submitted(&mut self) -> Vec<RuntimeCall> {
		let transactions = std::mem::take(&mut self.pool.write().transactions);
		self.ext.execute_with(|| {
			// Calls submitted now are for the next block.
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

	/// Includes the calls in the next block.
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

	/// Runs on a chain that is abandoned: its blocks are undone, and local storage is not.
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

	/// Runs to the block of a round's trial.
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

	/// Expects requests to the agent to check these workers.
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

/// Returns the rounds whose workers an operator's agent may admit.
fn seat_rounds(name: u32) -> Vec<SeatRound> {
	let now = System::block_number();
	let key = CheckerKey::from(pair("checker", name).public());
	let Some(operator) = <Registry as Seats<u64>>::by_key(&key) else {
		return Vec::new();
	};
	let open = |round: &Round| {
		matches!(round.phase(now + 1), Phase::Prepare | Phase::Attest)
			&& <Registry as Seats<u64>>::operator(operator, round.index)
				.is_some_and(|info| info.key == key)
	};
	let rounds = Popw::rounds().into_iter().filter(open);
	rounds
		.map(|round| SeatRound {
			round: round.index,
			seed: round.seed,
			keep_ms: u64::from(round.ends() - now + 2) * 12_000,
		})
		.collect()
}

/// Returns whether the operator sits for a worker that has this agent.
fn sits(operator: u32, claim: &SeatClaim) -> bool {
	Registry::info(claim.worker, claim.round).is_some_and(|info| info.agent == claim.agent)
		&& Popw::committee(claim.worker, claim.round)
			.iter()
			.any(|(other, _)| *other == operator)
}

fn prepare_request_of(index: u32) -> PrepareRequest {
	let round = Rounds::<Test>::get(index).unwrap();
	let info = Registry::info(0, index).unwrap();
	let committee = Popw::committee(0, index).into_iter();
	PrepareRequest {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		round: index,
		seed: round.seed,
		worker: 0,
		spec: info.spec,
		bench: round.bench,
		reference: Registry::reference(info.spec.gpu_class, index),
		trial_ms: u64::from(round.trial - System::block_number()) * 12_000,
		committee: committee
			.map(|(operator, _)| <Registry as Seats<u64>>::operator(operator, index).unwrap())
			.map(|operator| (operator.key, operator.agent))
			.collect(),
		runs: info.standings.at(index) != Some(&WorkerState::Rented),
		spread_ms: match round.kind {
			RoundKind::Census => u64::from(round.online),
			RoundKind::Spot => u64::from(round.rented),
		} * 2,
		keep_ms: u64::from(round.ends() - System::block_number() + 2) * 12_000,
	}
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
		seed: round.seed,
		trial_seed: round.trial_seed.unwrap(),
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
		seed: round.seed,
		trial_seed: round.trial_seed.unwrap(),
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
		// The chain fixes the window in the commit part.
		window: None,
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
			seed: round.seed,
			trial_seed: round.trial_seed.unwrap(),
			keep_ms: u64::from(round.ends() - System::block_number() + 2) * 12_000,
			late: System::block_number() != round.trial,
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

fn checked() -> Progress<Checked> {
	Progress::Done(Checked {
		verdict: good(),
		receipt: Some(kaisar_primitives::AgentSignature::from_raw([5; 64])),
	})
}

/// Returns a checker's node before round 2, with workers `1 ..= 3` marked for it.
fn before_round_2(operator: u32) -> World {
	let mut world = World::checker(operator);
	for worker in 1..=3 {
		world.ext.execute_with(|| add_marked(worker, 2));
	}
	expect_round(&mut world, 0);
	world.work();
	world
}
