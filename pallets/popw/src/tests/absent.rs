//! Tests of `report_absent`.

use super::while_attesting;
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::WorkerState;
use sp_runtime::DispatchError;

fn report(worker: u32, round: u32) -> frame_support::dispatch::DispatchResultWithPostInfo {
	Popw::report_absent(RuntimeOrigin::signed(1), worker, round)
}

#[test]
fn finds_the_worker_offline_once_and_costs_nothing() {
	while_attesting(|| {
		run_to(12);
		let info = report(0, 0).unwrap();
		assert_eq!(info.pays_fee, frame_support::dispatch::Pays::No);
		System::assert_last_event(
			Event::AbsentReported {
				worker: 0,
				round: 0,
				reporter: Some(1),
			}
			.into(),
		);
		heard(|heard| {
			assert_eq!(heard.absent, [(0, 0, Some(1))]);
			assert_eq!(heard.workers[&0].standings.now.value, WorkerState::Offline);
		});
		assert_noop!(report(0, 0), Error::<Test>::AlreadyAttested);
	});
}

#[test]
fn boundary_from_the_end_of_the_attest_phase_to_the_end_of_the_round() {
	while_attesting(|| {
		run_to(11);
		assert_noop!(report(0, 0), Error::<Test>::WrongPhase);
		run_to(12);
		assert_ok!(frame_support::hypothetically!(report(0, 0)));
		run_to(31);
		assert_ok!(frame_support::hypothetically!(report(0, 0)));
		run_to(32);
		assert_noop!(report(0, 0), Error::<Test>::WrongPhase);
	});
}

#[test]
fn fails_for_who_attested_or_was_not_due() {
	while_attesting(|| {
		add_worker(1, WorkerState::Online, None);
		attest(0, 0).unwrap();
		run_to(12);
		assert_noop!(report(0, 0), Error::<Test>::AlreadyAttested);
		assert_noop!(report(1, 0), Error::<Test>::NotDue);
		assert_noop!(report(9, 0), Error::<Test>::UnknownWorker);
		assert_noop!(report(0, 50), Error::<Test>::UnknownRound);
		let unsigned = Popw::report_absent(RuntimeOrigin::none(), 0, 0);
		assert_noop!(unsigned, DispatchError::BadOrigin);
	});
}

#[test]
fn is_due_until_the_round_is_over() {
	use kaisar_primitives::Checks;
	while_attesting(|| {
		assert!(<Popw as Checks>::is_due(0));
		run_to(31);
		assert!(<Popw as Checks>::is_due(0), "it can still be reported");
		run_to(32);
		assert!(!<Popw as Checks>::is_due(0));
	});
}
