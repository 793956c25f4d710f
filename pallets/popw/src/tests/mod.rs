//! By call, and a file for what runs through all of them.

mod absent;
mod attest;
mod authorize;
mod commit;
mod commitments;
mod dueness;
mod finder;
mod ocw;
mod orders;
mod properties;
mod reveal;
mod rounds;
mod tally;

use crate::{mock::*, *};
use kaisar_primitives::{Forced, WorkerState};

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

fn round(index: u32) -> Round {
	Rounds::<Test>::get(index).expect("the round has started")
}

/// The first block of a round's commit phase.
pub fn to_commit(index: u32) {
	run_to(round(index).attest_ends() + 1);
}

/// The first block of a round's reveal phase.
pub fn to_reveal(index: u32) {
	run_to(round(index).commit_ends() + 1);
}

/// The first block after a round.
pub fn to_end(index: u32) {
	run_to(round(index).ends() + 1);
}
