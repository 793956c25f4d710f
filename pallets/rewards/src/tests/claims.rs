//! Tests of `claim_worker` and `claim_checker`.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, traits::fungible::Inspect};
use kaisar_primitives::*;
use sp_runtime::{DispatchError, TokenError};

fn claim_worker(who: AccountId, worker: WorkerId) -> sp_runtime::DispatchResult {
	Rewards::claim_worker(RuntimeOrigin::signed(who), worker)
}

fn claim_checker(who: AccountId) -> sp_runtime::DispatchResult {
	Rewards::claim_checker(RuntimeOrigin::signed(who))
}

#[test]
fn an_owner_is_paid_over_any_number_of_epochs() {
	ExtBuilder::default().build_and_execute(|| {
		for _ in 0..3 {
			prove(0, 10, 0);
			prove(1, 20, 0);
			next_epoch();
		}
		events();
		let reward = emission(EPOCH, 50) / 3;
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), 3 * reward);
		assert_ok!(claim_worker(OWNERS, 0));
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: PoolId::Worker(0),
					epoch: 2,
					reward,
					carried: 0
				},
				Event::WorkerClaimed {
					worker: 0,
					who: OWNERS,
					amount: 3 * reward
				},
			]
		);
		assert_eq!(Balances::balance(&OWNERS), 3 * reward);
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), 0);
		assert_eq!(Owed::<Test>::get(Pot::Providers), 4 * reward);
		assert_eq!(TOUCHED.take(), [0]);
	});
}

#[test]
fn a_worker_pays_its_owner_alone() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		next_epoch();
		assert_noop!(claim_worker(OWNERS + 1, 0), Error::<Test>::NotOwner);
		assert_noop!(claim_worker(OWNERS, 1_000_000), Error::<Test>::UnknownPool);
		assert_noop!(
			Rewards::claim_worker(RuntimeOrigin::none(), 0),
			DispatchError::BadOrigin
		);
		assert_noop!(
			Rewards::claim_worker(RuntimeOrigin::root(), 0),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn a_claim_repeated_pays_nothing() {
	ExtBuilder::default().build_and_execute(|| {
		assert_noop!(claim_worker(OWNERS, 0), Error::<Test>::NothingToClaim);
		prove(0, 10, 0);
		// The running epoch pays when it is over.
		assert_noop!(claim_worker(OWNERS, 0), Error::<Test>::NothingToClaim);
		next_epoch();
		assert_ok!(claim_worker(OWNERS, 0));
		assert_noop!(claim_worker(OWNERS, 0), Error::<Test>::NothingToClaim);
		prove(0, 10, 0);
		assert_noop!(claim_worker(OWNERS, 0), Error::<Test>::NothingToClaim);
	});
}

#[test]
fn the_last_unit_can_be_claimed_and_the_pot_lives_on() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		next_epoch();
		assert_ok!(claim_worker(OWNERS, 0));
		assert_eq!(Balances::balance(&OWNERS), emission(EPOCH, 50));
		assert_eq!(Balances::balance(&provider_pot()), MILLI_KAI);
	});
}

#[test]
fn too_little_for_a_new_account_stays_claimable() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 1, 0);
		prove(1, 100_000_000, 0);
		next_epoch();
		assert_ok!(Rewards::settle(
			RuntimeOrigin::signed(RICH),
			PoolId::Worker(0)
		));
		let amount = Rewards::claimable_from(PoolId::Worker(0));
		assert!(amount > 0 && amount < MILLI_KAI);
		TOUCHED.take();
		assert_noop!(claim_worker(OWNERS, 0), TokenError::BelowMinimum);
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), amount);
		assert_ok!(Balances::transfer_allow_death(
			RuntimeOrigin::signed(RICH),
			OWNERS,
			KAI
		));
		assert_ok!(claim_worker(OWNERS, 0));
		assert_eq!(Balances::balance(&OWNERS), KAI + amount);
	});
}

#[test]
fn a_checker_is_paid_in_vkai() {
	ExtBuilder::default().build_and_execute(|| {
		seats(0, 9, 1);
		next_epoch();
		events();
		let reward = Epochs::<Test>::get(0).unwrap().checker_reward;
		assert_ok!(claim_checker(OPERATORS));
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: PoolId::Checker(0),
					epoch: 0,
					reward,
					carried: 0
				},
				Event::CheckerClaimed {
					who: OPERATORS,
					amount: reward
				},
			]
		);
		assert_eq!(Rewards::vkai(OPERATORS), reward);
		assert_eq!(Rewards::claimable(OPERATORS), 0);
		// No KAI moves: it backs the vKAI.
		assert_eq!(Balances::balance(&OPERATORS), 0);
		assert_eq!(Owed::<Test>::get(Pot::Checkers), reward);
		assert_eq!(Rewards::free_of(&checker_pot()), reward);
		assert_noop!(claim_checker(OPERATORS), Error::<Test>::NothingToClaim);
		seats(0, 1, 0);
		next_epoch();
		let second = Rewards::claimable(OPERATORS);
		assert_ok!(claim_checker(OPERATORS));
		assert_eq!(Rewards::vkai(OPERATORS), reward + second);
	});
}

#[test]
fn who_is_no_checker_has_nothing_to_claim() {
	ExtBuilder::default().build_and_execute(|| {
		assert_noop!(claim_checker(STRANGER), Error::<Test>::NothingToClaim);
		assert_noop!(claim_checker(OPERATORS), Error::<Test>::NothingToClaim);
		assert_noop!(
			Rewards::claim_checker(RuntimeOrigin::none()),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn an_account_claims_what_its_old_numbers_earned() {
	ExtBuilder::default().build_and_execute(|| {
		seats(0, 1, 0);
		// It deregisters and registers again: a new number, the same account.
		NUMBERS.with_borrow_mut(|all| all.insert(50, OPERATORS));
		seats(50, 1, 0);
		next_epoch();
		let each = Epochs::<Test>::get(0).unwrap().checker_reward / 2;
		assert_eq!(Rewards::claimable(OPERATORS), each);
		assert_ok!(Rewards::settle(
			RuntimeOrigin::signed(STRANGER),
			PoolId::Checker(0)
		));
		assert_eq!(Rewards::claimable(OPERATORS), 2 * each);
		assert_ok!(claim_checker(OPERATORS));
		assert_eq!(Rewards::vkai(OPERATORS), 2 * each);
	});
}
