//! Tests of the pools of former operators, when their records are pruned.

use crate::{mock::*, *};
use frame_support::assert_ok;
use kaisar_primitives::*;

const OPERATOR: PoolId = PoolId::Checker(0);

fn expired(pool: PoolId, last: EpochIndex) -> bool {
	<Rewards as RetiredPools<_>>::has_expired(pool, last)
}

/// Ends epochs until `epoch` is no longer in the history.
fn forget(epoch: EpochIndex) {
	while Oldest::<Test>::get() <= epoch {
		next_epoch();
	}
}

#[test]
fn a_pool_has_expired_with_its_last_epoch_and_its_last_score() {
	ExtBuilder::default().build_and_execute(|| {
		seats(0, 3, 0);
		let last = Current::<Test>::get().index;
		assert!(!expired(OPERATOR, last));
		for _ in 0..HistoryDepth::get() {
			next_epoch();
			assert!(!expired(OPERATOR, last));
		}
		next_epoch();
		assert!(expired(OPERATOR, last));
		assert!(expired(PoolId::Checker(77), last), "it never had a seat");
		// A check that was closed late scored after the operator had left.
		seats(0, 1, 0);
		assert!(!expired(OPERATOR, last));
		forget(Current::<Test>::get().index);
		assert!(expired(OPERATOR, last));
		assert!(!expired(PoolId::Worker(0), last), "workers' are not pruned");
	});
}

/// Asserts that holders who never claimed lose nothing, and that neither they nor the pool leave storage
/// behind.
#[test]
fn members_are_paid_what_they_can_claim_and_the_pool_goes_with_the_last() {
	ExtBuilder::default().build_and_execute(|| {
		commission(OPERATOR, 50);
		delegate(0, ANNA, 3);
		delegate(0, BEN, 1);
		next_epoch();
		// Added in the epoch that pays: it needs a rate of its own.
		delegate(0, BEN, 2);
		seats(0, 9, 1);
		let last = Current::<Test>::get().index;
		next_epoch();
		assert_ok!(Rewards::settle(RuntimeOrigin::signed(STRANGER), OPERATOR));
		forget(last);
		let due = [ANNA, BEN].map(|who| Rewards::claimable_by(OPERATOR, who));
		assert!(due.iter().all(|due| *due > KAI));
		for (who, licenses) in [(ANNA, 3), (BEN, 3)] {
			delegate(0, who, -licenses);
			assert_ok!(<Rewards as RetiredPools<_>>::pay_out(OPERATOR, &who));
			// Nothing is paid twice.
			assert_ok!(<Rewards as RetiredPools<_>>::pay_out(OPERATOR, &who));
		}
		assert_eq!([ANNA, BEN].map(VKai::<Test>::get), due);
		assert_eq!(Members::<Test>::iter().count(), 0);
		assert_eq!(MemberPools::<Test>::iter().count(), 0);
		assert_eq!(Rates::<Test>::iter().count(), 0);
	});
}
