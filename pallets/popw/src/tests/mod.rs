//! By call, and a file for what runs through all of them.

mod absent;
mod attest;
mod authorize;
mod checks;
mod commit;
mod dueness;
mod finder;
mod ocw;
mod orders;
mod properties;
mod reveal;
mod rounds;
mod tally;

use crate::mock::*;
use kaisar_primitives::{Forced, WorkerState};

/// A mark for a round.
pub fn mark(round: u32) -> Forced {
	Forced {
		round,
		verify_only: true,
	}
}

/// The operators that sit for a worker in a round, in the order of their numbers.
pub fn seated(worker: u32, round: u32) -> Vec<u32> {
	let mut operators: Vec<_> = Popw::committee(worker, round)
		.into_iter()
		.map(|(operator, _)| operator)
		.collect();
	operators.sort_unstable();
	operators
}

/// Worker 0 forced in the first round, three operators, and block 2: the first round's attest phase.
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
