//! The stories of the crate's documentation.

use crate::{mock::*, *};
use frame_support::{assert_ok, traits::fungible::Inspect};
use kaisar_math::RedeemTerm;
use kaisar_primitives::*;

#[docify::export]
#[test]
fn a_worker_earns_and_its_owner_claims() {
	ExtBuilder::default().build_and_execute(|| {
		// Checks prove ten blocks of one worker, and thirty of another.
		prove(0, 10, 0);
		prove(1, 30, 0);
		// The epoch ends. Half of its emission is for workers, a quarter of that for the first.
		next_epoch();
		let reward = emission(EPOCH, 50) / 4;
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), reward);
		// The claim settles the worker first.
		events();
		assert_ok!(Rewards::claim_worker(RuntimeOrigin::signed(OWNERS), 0));
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: PoolId::Worker(0),
					epoch: 0,
					reward,
					carried: 0
				},
				Event::WorkerClaimed {
					worker: 0,
					who: OWNERS,
					amount: reward
				},
			]
		);
		assert_eq!(Balances::balance(&OWNERS), reward);
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), 0);
	});
}

#[docify::export]
#[test]
fn an_operator_redeems_its_vkai_after_ninety_days() {
	ExtBuilder::default().build_and_execute(|| {
		let operator = RuntimeOrigin::signed(OPERATORS);
		// A correct vote earns vKAI.
		seats(0, 1, 0);
		next_epoch();
		assert_ok!(Rewards::claim_checker(operator.clone()));
		let earned = Rewards::vkai(OPERATORS);
		assert!(earned > 0);
		// Half of it is paid in KAI after 90 days. The other half is for the checkers of this epoch.
		assert_ok!(Rewards::redeem(
			operator.clone(),
			earned,
			RedeemTerm::Days90
		));
		let due = System::block_number() + 90 * DAYS;
		let pays = earned / 2;
		assert_eq!(
			Rewards::redemptions_of(OPERATORS),
			[Redemption { id: 0, pays, due }]
		);
		assert_eq!(Rewards::vkai(OPERATORS), 0);
		assert_eq!(Carry::<Test>::get(Pot::Checkers), earned - pays);
		System::set_block_number(due);
		assert_ok!(Rewards::withdraw_redemption(operator, 0));
		assert_eq!(Balances::balance(&OPERATORS), pays);
	});
}
