//! Tests of the start of a trial: at its block, whatever happened before.

use super::*;
use kaisar_primitives::offchain::POPW_LOCK;
use sp_runtime::offchain::storage_lock::{StorageLock, Time};

/// The block of round 2's trial.
const TRIAL: u32 = 14;

/// Returns a worker's node in the block before the trial of round 2, in which worker 0 is due.
fn worker_before_the_trial() -> World {
	let mut world = World::worker();
	TrialOffset::set(3);
	world.ext.execute_with(|| add_marked(0, 2));
	for block in 11..TRIAL - 1 {
		world.run_to(block);
		world.work();
	}
	world.run_to(TRIAL - 1);
	world
}

/// Returns a checker's node in the block before the trial of round 2.
fn checker_before_the_trial() -> World {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	TrialOffset::set(3);
	for block in 11..TRIAL - 1 {
		world.run_to(block);
		world.work();
		world.submitted();
	}
	world.run_to(TRIAL - 1);
	world
}

/// Expects a request to the agent for the proof of round 2 at the trial.
fn expect_proof(world: &mut World) {
	world.run_to(TRIAL);
	let request = world.at_end(|| prove_request_of(2));
	world.expect(PATH_PROVE, &request, done([9; 32]));
}

/// Expects the announcement that the trial of round 2 began now, or earlier.
fn expect_start(world: &mut World, late: bool) {
	let start = world.at_end(|| {
		let round = Rounds::<Test>::get(2).unwrap();
		assert_eq!(round.trial, TRIAL);
		RoundStart {
			genesis: kaisar_primitives::authorized::genesis::<Test>(),
			round: 2,
			seed: round.seed,
			trial_seed: round.trial_seed.unwrap(),
			keep_ms: u64::from(round.ends() - System::block_number() + 2) * 12_000,
			late,
		}
	});
	world.expect(PATH_ROUND, &start, ().encode());
}

/// Expects a request to the agent for claims, and sets its answer.
fn expect_claims(world: &mut World, answer: Vec<u8>) {
	let request = world.at_end(|| SeatAnswers {
		genesis: kaisar_primitives::authorized::genesis::<Test>(),
		rounds: seat_rounds(1),
		answers: Vec::new(),
	});
	world.expect(PATH_SEATS, &request, answer);
}

/// Runs the off-chain worker while that of another block holds the lock. The agent gets no requests but
/// those expected.
fn work_while_locked(world: &mut World) {
	for request in world.expected.take() {
		world.agent.write().expect_request(request);
	}
	world.at_end(|| {
		let mut lock = StorageLock::<Time>::new(POPW_LOCK);
		let _guard = lock.try_lock().unwrap();
		Popw::offchain_worker(System::block_number());
	});
}

const GARBAGE: [u8; 7] = [0xff; 7];

#[test]
fn a_worker_whose_agent_failed_in_the_block_before_starts_at_the_trial() {
	let mut world = worker_before_the_trial();
	let request = world.at_end(|| prepare_request_of(2));
	world.expect(PATH_PREPARE, &request, GARBAGE.to_vec());
	world.work_exactly();
	expect_proof(&mut world);
	world.work_exactly();
	assert_eq!(world.submitted().len(), 1, "its answer counts");
}

#[test]
fn a_checker_whose_agent_failed_in_the_block_before_has_the_start_at_the_trial() {
	let mut world = checker_before_the_trial();
	expect_claims(&mut world, GARBAGE.to_vec());
	world.work_exactly();
	world.submitted();
	world.run_to(TRIAL);
	expect_start(&mut world, false);
	expect_claims(&mut world, Vec::<SeatClaim>::new().encode());
	world.work_exactly();
	// Once is enough.
	world.submitted();
	world.run_to(TRIAL + 1);
	expect_claims(&mut world, Vec::<SeatClaim>::new().encode());
	world.work_exactly();
}

#[test]
fn a_trial_starts_while_the_run_of_the_block_before_holds_the_lock() {
	let mut world = worker_before_the_trial();
	expect_proof(&mut world);
	work_while_locked(&mut world);
	assert!(world.submitted().is_empty(), "the rest waits for the lock");

	let mut world = checker_before_the_trial();
	world.run_to(TRIAL);
	expect_start(&mut world, false);
	work_while_locked(&mut world);
	// An announcement without the lock is not stored: the agent has it, and the first one counts.
	world.run_to(TRIAL + 1);
	expect_start(&mut world, true);
	expect_claims(&mut world, Vec::<SeatClaim>::new().encode());
	world.work_exactly();
}

#[test]
fn an_agent_that_fails_at_the_trial_is_asked_again_in_the_same_run() {
	let mut world = worker_before_the_trial();
	world.run_to(TRIAL);
	let request = world.at_end(|| prove_request_of(2));
	world.expect(PATH_PROVE, &request, GARBAGE.to_vec());
	expect_proof(&mut world);
	world.work_exactly();
	assert_eq!(world.submitted().len(), 1);
}

#[test]
fn a_checker_that_was_away_at_the_trial_starts_no_clock() {
	let mut world = checker_before_the_trial();
	world.run_to(TRIAL + 1);
	expect_start(&mut world, true);
	world.work();
}

#[test]
fn a_checker_that_ran_on_a_rival_of_the_trials_block_starts_no_clock() {
	let mut world = checker_before_the_trial();
	world.on_a_fork(|world| {
		world.run_to(TRIAL);
		expect_start(world, false);
		world.work();
	});
	world.run_to(TRIAL + 1);
	expect_start(&mut world, true);
	world.work();
}
