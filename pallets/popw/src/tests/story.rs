//! The stories of the crate's documentation.

use super::{add_marked, seated, to_commit, to_reveal};
use crate::{mock::*, *};
use frame_support::assert_ok;
use kaisar_primitives::{Outcome, WorkerState};

#[docify::export]
#[test]
fn a_committee_of_three_verifies_a_new_worker() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		// A new worker is due in the first round. It attests, and its committee is drawn.
		add_marked(0, 0);
		run_to(2);
		assert_ok!(attest(0, 0));
		assert!(is_open(0));
		assert_eq!(seated(0, 0), [0, 1, 2]);
		// The operators measure the machine, and commit to their votes.
		to_commit(0);
		let votes = one(0, good());
		for operator in 0..3 {
			assert_ok!(commit(operator, 0, &votes));
		}
		// A part later they reveal them. The last vote closes the check.
		to_reveal(0);
		for operator in 0..3 {
			assert!(is_open(0));
			assert_ok!(reveal(operator, 0, &votes));
		}
		assert!(!is_open(0));
		assert!(matches!(last_outcome(), Outcome::Online { .. }));
		System::assert_has_event(
			Event::Revealed {
				operator: 2,
				round: 0,
				batch: 0,
				counted: 1,
				skipped: 0,
			}
			.into(),
		);
		heard(|heard| {
			assert_eq!(heard.workers[&0].standings.now.value, WorkerState::Online);
			assert!(heard.seats.iter().all(|(_, correct)| *correct));
		});
	});
}

#[docify::export]
#[test]
fn a_worker_that_does_not_attest_is_offline() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_marked(0, 0);
		run_to(2);
		// The attest part ends without its attestation: anyone may report it, for nothing.
		to_commit(0);
		let reporter = 1;
		assert_ok!(Popw::report_absent(RuntimeOrigin::signed(reporter), 0, 0));
		System::assert_last_event(
			Event::AbsentReported {
				worker: 0,
				round: 0,
				reporter: Some(reporter),
			}
			.into(),
		);
		heard(|heard| {
			assert_eq!(heard.workers[&0].standings.now.value, WorkerState::Offline);
		});
	});
}
