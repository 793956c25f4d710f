//! Tests of the protocol's part of rentals.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, traits::fungible::Inspect};
use kaisar_primitives::*;
use sp_runtime::TokenError;

fn pay(worker: WorkerId, amount: Balance) -> sp_runtime::DispatchResult {
	<Rewards as ProtocolFees<AccountId>>::pay(worker, &RICH, amount)
}

const LAST: BlockNumber = 31_536_000;

#[test]
fn the_treasury_gets_it_while_the_emission_runs() {
	ExtBuilder::default().build_and_execute(|| {
		for now in [0, 1, LAST] {
			System::set_block_number(now);
			events();
			let before = Balances::total_balance(&TREASURY);
			assert_ok!(pay(4, 3 * KAI));
			assert_eq!(Balances::total_balance(&TREASURY), before + 3 * KAI);
			if now > 0 {
				assert_eq!(
					events(),
					[Event::ProtocolFeePaid {
						worker: 4,
						from: RICH,
						amount: 3 * KAI
					}]
				);
			}
		}
		assert_eq!(Carry::<Test>::get(Pot::Providers), 0);
		assert_eq!(WorkerScores::<Test>::get(4).unwrap().fees, 9 * KAI);
	});
}

#[test]
fn the_pots_get_half_each_once_the_emission_has_ended() {
	ExtBuilder::default().build_and_execute(|| {
		System::set_block_number(LAST + 1);
		events();
		assert_ok!(pay(4, 3 * KAI + 1));
		let (checkers, providers) = (3 * KAI / 2, 3 * KAI / 2 + 1);
		assert_eq!(
			events(),
			[
				Event::PotFunded {
					pot: Pot::Checkers,
					from: RICH,
					amount: checkers
				},
				Event::PotFunded {
					pot: Pot::Providers,
					from: RICH,
					amount: providers
				},
				Event::ProtocolFeePaid {
					worker: 4,
					from: RICH,
					amount: 3 * KAI + 1
				},
			]
		);
		assert_eq!(Carry::<Test>::get(Pot::Checkers), checkers);
		assert_eq!(Carry::<Test>::get(Pot::Providers), providers);
		assert_eq!(Balances::total_balance(&TREASURY), 0);
		// It counts toward the worker's maximum reward for demand, as before.
		assert_eq!(WorkerScores::<Test>::get(4).unwrap().fees, 3 * KAI + 1);
		// The smallest fee goes to one pot.
		assert_ok!(pay(4, 1));
		assert_eq!(Carry::<Test>::get(Pot::Providers), providers + 1);
	});
}

#[test]
fn rentals_pay_the_network_after_the_emission() {
	ExtBuilder::default().build_and_execute(|| {
		Current::<Test>::mutate(|current| current.start = LAST + 1);
		System::set_block_number(LAST + 1);
		assert_ok!(pay(0, 10 * KAI));
		prove(0, 10, 0);
		seats(0, 1, 0);
		next_epoch();
		let totals = Rewards::epoch_totals(0).unwrap();
		assert_eq!(totals.poc_reward, 5 * KAI);
		assert_eq!(totals.checker_reward, 5 * KAI);
	});
}

#[test]
fn a_treasury_that_is_spent_stops_no_payment() {
	ExtBuilder::default().build_and_execute(|| {
		// The treasury is empty, and the fee is too small to create its account.
		assert_eq!(Balances::total_balance(&TREASURY), 0);
		let least = Balances::minimum_balance();
		events();
		assert_ok!(pay(4, least - 1));
		assert_eq!(Balances::total_balance(&TREASURY), 0);
		assert_eq!(Carry::<Test>::get(Pot::Providers), least - 1);
		assert_eq!(
			events()[0],
			Event::PotFunded {
				pot: Pot::Providers,
				from: RICH,
				amount: least - 1
			}
		);
		// It counts like any other fee.
		assert_eq!(WorkerScores::<Test>::get(4).unwrap().fees, least - 1);
		// Fees that the treasury can receive go to it again, the smallest too.
		assert_ok!(pay(4, least));
		assert_ok!(pay(4, 1));
		assert_eq!(Balances::total_balance(&TREASURY), least + 1);
		assert_eq!(Carry::<Test>::get(Pot::Providers), least - 1);
	});
}

#[test]
fn nothing_is_noted_where_nothing_is_paid() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(pay(4, 0));
		assert!(events().is_empty() && WorkerScores::<Test>::get(4).is_none());
		for now in [1, LAST + 1] {
			System::set_block_number(now);
			assert_noop!(pay(4, 2_000_000 * KAI), TokenError::FundsUnavailable);
		}
	});
}
