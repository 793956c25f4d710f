//! Tests of `commit`.

use super::{add_marked, attest_soon, attested, to_commit, to_reveal, while_attesting};
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use sp_core::H256;
use sp_runtime::DispatchError;

fn try_commit(operator: u32, round: u32, batch: u16) -> sp_runtime::DispatchResult {
	let origin = RuntimeOrigin::signed(operator_account(operator));
	Popw::commit(origin, operator, round, batch, H256::repeat_byte(1), None)
		.map(|_| ())
		.map_err(|error| error.error)
}

#[test]
fn keeps_the_hash() {
	attested(1, || {
		to_commit(0);
		assert_ok!(try_commit(0, 0, 0));
		System::assert_last_event(
			Event::Committed {
				operator: 0,
				round: 0,
				batch: 0,
			}
			.into(),
		);
		assert_eq!(
			Commitments::<Test>::get((0, Lane::SpotA, 0)),
			Some(Commitment {
				round: 0,
				hash: H256::repeat_byte(1)
			})
		);
	});
}

#[test]
fn fails_outside_its_phase() {
	attested(1, || {
		let round = Rounds::<Test>::get(0).unwrap();
		run_to(round.attest_ends());
		assert_noop!(try_commit(0, 0, 0), Error::<Test>::WrongPhase);
		run_to(round.commit_ends());
		assert_ok!(frame_support::hypothetically!(try_commit(0, 0, 0)));
		to_reveal(0);
		assert_noop!(try_commit(0, 0, 0), Error::<Test>::WrongPhase);
		assert_noop!(try_commit(0, 100, 0), Error::<Test>::UnknownRound);
	});
}

#[test]
fn fails_for_others_than_the_operator() {
	attested(1, || {
		to_commit(0);
		let hash = H256::repeat_byte(1);
		let origin = RuntimeOrigin::signed(operator_account(1));
		assert_noop!(
			Popw::commit(origin, 0, 0, 0, hash, None),
			Error::<Test>::NotOperator
		);
		assert_noop!(try_commit(77, 0, 0), Error::<Test>::UnknownOperator);
		let unsigned = Popw::commit(RuntimeOrigin::none(), 0, 0, 0, hash, None);
		assert_noop!(unsigned, DispatchError::BadOrigin);
		let signature = Some(sp_core::sr25519::Signature::from_raw([0; 64]));
		let origin = RuntimeOrigin::signed(operator_account(0));
		assert_noop!(
			Popw::commit(origin, 0, 0, 0, hash, signature),
			Error::<Test>::SignatureNotExpected
		);
	});
}

#[test]
fn fails_without_a_license() {
	while_attesting(|| {
		heard(|heard| heard.operators.get_mut(&0).unwrap().licenses = 0);
		to_commit(0);
		assert_noop!(try_commit(0, 0, 0), Error::<Test>::NoLicense);
	});
}

#[test]
fn boundary_of_the_batch_number() {
	for (seats, batches) in [(0, 0u16), (1, 1), (64, 1), (65, 2)] {
		attested(seats, || {
			to_commit(0);
			if let Some(last) = batches.checked_sub(1) {
				assert_ok!(try_commit(0, 0, last));
			}
			assert_noop!(try_commit(0, 0, batches), Error::<Test>::BatchTooHigh);
		});
	}
}

#[test]
fn fails_the_second_time() {
	attested(1, || {
		to_commit(0);
		assert_ok!(try_commit(0, 0, 0));
		assert_noop!(try_commit(0, 0, 0), Error::<Test>::AlreadyCommitted);
	});
}

#[test]
fn rounds_next_to_each_other_do_not_overwrite_and_later_ones_do() {
	attested(1, || {
		// Workers 1 and 2 attest in the next two rounds.
		for (worker, round) in [(1, 2), (2, 4)] {
			add_marked(worker, round);
		}
		to_commit(0);
		assert_ok!(try_commit(0, 0, 0));
		attest_soon(1, 2);
		to_commit(2);
		assert_ok!(try_commit(0, 2, 0));
		assert!(
			Popw::rounds().iter().any(|round| round.index == 0),
			"round 0 may still be revealed"
		);
		assert_eq!(Commitments::<Test>::iter().count(), 2);
		attest_soon(2, 4);
		to_commit(4);
		assert_ok!(try_commit(0, 4, 0));
		let kept = Commitments::<Test>::get((0, Lane::SpotA, 0)).unwrap();
		assert_eq!(kept.round, 4);
	});
}
