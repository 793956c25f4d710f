//! Tests, by call and by subject.

mod absent;
mod attest;
mod authorize;
mod bandwidth;
mod checks;
mod commit;
mod commitments;
mod dueness;
mod finder;
mod ocw;
mod orders;
mod params;
mod properties;
mod reveal;
mod rounds;
mod story;
mod sweep;
mod tally;

use crate::{mock::*, *};
use kaisar_primitives::{Forced, WorkerState};

/// Returns a mark for a round.
pub fn mark(round: u32) -> Forced {
	Forced {
		round,
		verify_only: true,
	}
}

/// Returns the operators that sit for a worker in a round, in the order of their numbers.
pub fn seated(worker: u32, round: u32) -> Vec<u32> {
	let mut operators: Vec<_> = Popw::committee(worker, round)
		.into_iter()
		.map(|(operator, _)| operator)
		.collect();
	operators.sort_unstable();
	operators
}

/// Returns a world with worker 0 forced in the first round and three operators, in block 2: the first
/// round's attest part.
pub fn attesting() -> sp_io::TestExternalities {
	let mut ext = ExtBuilder::default().operators(3).build();
	ext.execute_with(|| {
		add_worker(
			0,
			WorkerState::Pending,
			Some(Forced {
				round: 0,
				verify_only: true,
			}),
		);
		run_to(2);
	});
	ext
}

/// Runs a test in [`attesting`]'s world, and the invariants after it.
pub fn while_attesting(test: impl FnOnce()) {
	attesting().execute_with(|| {
		test();
		Popw::do_try_state().expect("the invariants hold");
	});
}

fn round(index: u32) -> Round {
	Rounds::<Test>::get(index).expect("the round has started")
}

/// Runs to the first block of a round's commit part.
pub fn to_commit(index: u32) {
	run_to(round(index).attest_ends() + 1);
}

/// Runs to the first block of a round's reveal part.
pub fn to_reveal(index: u32) {
	run_to(round(index).commit_ends() + 1);
}

/// Runs to the first block after a round.
pub fn to_end(index: u32) {
	run_to(round(index).ends() + 1);
}

/// Adds a worker that is marked for a round, in which it is to be verified.
pub fn add_marked(worker: u32, round: u32) {
	let forced = Forced {
		round,
		verify_only: true,
	};
	add_worker(worker, WorkerState::Pending, Some(forced));
}

/// Has workers `0 .. count` attest in the first round, runs a test, and the invariants after it.
pub fn attested(count: u32, test: impl FnOnce()) {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		for worker in 0..count {
			add_marked(worker, 0);
		}
		run_to(2);
		if count > 0 {
			attest_soon(0, 0);
		}
		for worker in 1..count {
			attest(worker, 0).unwrap();
		}
		test();
	});
}

/// Has the worker attest in the first block in which it may, from this one on.
pub fn attest_soon(worker: u32, round: u32) {
	for _ in 0..100 {
		if attest(worker, round).is_ok() {
			return;
		}
		run_to(System::block_number() + 1);
	}
	panic!("worker {worker} cannot attest in round {round}");
}
