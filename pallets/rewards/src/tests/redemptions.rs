//! Tests of `redeem` and `withdraw_redemption`.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, traits::fungible::Inspect};
use kaisar_math::RedeemTerm::{self, *};
use kaisar_primitives::*;
use sp_runtime::{ArithmeticError, DispatchError};

fn redeem(who: AccountId, amount: Balance, term: RedeemTerm) -> sp_runtime::DispatchResult {
	Rewards::redeem(RuntimeOrigin::signed(who), amount, term)
}

fn withdraw(who: AccountId, id: RedemptionId) -> sp_runtime::DispatchResult {
	Rewards::withdraw_redemption(RuntimeOrigin::signed(who), id)
}

/// Earns vKAI for [`OPERATORS`]. Returns the amount. The checker pot has no carry then.
fn earn() -> Balance {
	seats(0, 1, 0);
	next_epoch();
	assert_ok!(Rewards::claim_checker(RuntimeOrigin::signed(OPERATORS)));
	assert_eq!(Carry::<Test>::get(Pot::Checkers), 0);
	events();
	Rewards::vkai(OPERATORS)
}

#[test]
fn the_worked_example() {
	for (term, days, pays) in [
		(Days30, 30, 2_500),
		(Days90, 90, 5_000),
		(Days180, 180, 10_000),
	] {
		ExtBuilder::default().build_and_execute(|| {
			// The reward of an epoch is below the example's: the pot is funded with the difference.
			assert_ok!(Rewards::put(Pot::Checkers, &RICH, 10_000 * KAI));
			let had = earn();
			let (owed, now) = (Owed::<Test>::get(Pot::Checkers), System::block_number());
			let (amount, pays) = (10_000 * KAI, pays * KAI);
			let due = now + days * DAYS;
			assert_ok!(redeem(OPERATORS, amount, term));
			assert_eq!(
				events(),
				[Event::RedemptionStarted {
					who: OPERATORS,
					id: 0,
					amount,
					pays,
					due
				}]
			);
			assert_eq!(Rewards::vkai(OPERATORS), had - amount);
			assert_eq!(
				Rewards::redemptions_of(OPERATORS),
				[Redemption { id: 0, pays, due }]
			);
			// The forfeited part belongs to the running epoch at once.
			assert_eq!(Carry::<Test>::get(Pot::Checkers), amount - pays);
			assert_eq!(Owed::<Test>::get(Pot::Checkers), owed - (amount - pays));

			System::set_block_number(due - 1);
			assert_noop!(withdraw(OPERATORS, 0), Error::<Test>::RedemptionNotDue);
			System::set_block_number(due);
			assert_ok!(withdraw(OPERATORS, 0));
			assert_eq!(
				events(),
				[Event::RedemptionWithdrawn {
					who: OPERATORS,
					id: 0,
					amount: pays
				}]
			);
			assert_eq!(Balances::balance(&OPERATORS), pays);
			assert!(!Redemptions::<Test>::contains_key(OPERATORS));
			assert_noop!(withdraw(OPERATORS, 0), Error::<Test>::UnknownRedemption);
		});
	}
}

#[test]
fn what_is_given_up_pays_the_next_checkers() {
	ExtBuilder::default().build_and_execute(|| {
		let had = earn();
		assert_ok!(redeem(OPERATORS, had, Days30));
		assert!(!VKai::<Test>::contains_key(OPERATORS));
		seats(1, 1, 0);
		next_epoch();
		let totals = Rewards::epoch_totals(1).unwrap();
		let reserve = kaisar_math::Schedule::KAISAR
			.released(RESERVE, EPOCH, 2 * EPOCH)
			.unwrap();
		assert_eq!(
			totals.checker_reward,
			emission(EPOCH, 20) + reserve + had - had / 4
		);
	});
}

#[test]
fn fails_below_the_least_and_above_what_is_there() {
	ExtBuilder::default().build_and_execute(|| {
		let had = earn();
		assert_noop!(
			redeem(OPERATORS, KAI - 1, Days180),
			Error::<Test>::RedemptionTooSmall
		);
		assert_noop!(
			redeem(OPERATORS, had + 1, Days180),
			Error::<Test>::InsufficientVKai
		);
		assert_noop!(
			redeem(STRANGER, KAI, Days180),
			Error::<Test>::InsufficientVKai
		);
		assert_noop!(
			Rewards::redeem(RuntimeOrigin::none(), KAI, Days180),
			DispatchError::BadOrigin
		);
		assert_noop!(
			Rewards::withdraw_redemption(RuntimeOrigin::none(), 0),
			DispatchError::BadOrigin
		);
		// The minimum, and then all of the rest.
		assert_ok!(redeem(OPERATORS, KAI, Days180));
		assert_ok!(redeem(OPERATORS, had - KAI, Days180));
		assert_eq!(Owed::<Test>::get(Pot::Checkers), had);
	});
}

#[test]
fn as_many_as_are_allowed_and_not_one_more() {
	ExtBuilder::default().build_and_execute(|| {
		earn();
		for _ in 0..32 {
			assert_ok!(redeem(OPERATORS, KAI, Days30));
		}
		assert_noop!(
			redeem(OPERATORS, KAI, Days30),
			Error::<Test>::TooManyRedemptions
		);
		System::set_block_number(System::block_number() + 30 * DAYS);
		// In any order, each once, and only by its account.
		assert_noop!(withdraw(STRANGER, 7), Error::<Test>::UnknownRedemption);
		assert_ok!(withdraw(OPERATORS, 7));
		assert_noop!(withdraw(OPERATORS, 7), Error::<Test>::UnknownRedemption);
		assert_ok!(redeem(OPERATORS, KAI, Days30));
		let ids: Vec<_> = Rewards::redemptions_of(OPERATORS)
			.iter()
			.map(|open| open.id)
			.collect();
		assert_eq!(ids, (0..33).filter(|id| *id != 7).collect::<Vec<_>>());
	});
}

#[test]
fn vkai_and_redemptions_are_backed_to_the_last_unit() {
	ExtBuilder::default().build_and_execute(|| {
		let had = earn();
		assert_ok!(redeem(OPERATORS, had, Days180));
		System::set_block_number(System::block_number() + 180 * DAYS);
		assert_ok!(withdraw(OPERATORS, 0));
		assert_eq!(Balances::balance(&OPERATORS), had);
		assert_eq!(Rewards::free_of(&checker_pot()), 0);
		assert_eq!(Balances::balance(&checker_pot()), MILLI_KAI);
	});
}

#[test]
fn numbers_and_blocks_that_run_out_are_errors() {
	ExtBuilder::default().build_and_execute(|| {
		earn();
		let now = System::block_number();
		System::set_block_number(BlockNumber::MAX - 30 * DAYS + 1);
		assert_noop!(redeem(OPERATORS, KAI, Days30), ArithmeticError::Overflow);
		System::set_block_number(now);
		NextRedemptionId::<Test>::put(RedemptionId::MAX);
		assert_noop!(redeem(OPERATORS, KAI, Days30), ArithmeticError::Overflow);
	});
}
