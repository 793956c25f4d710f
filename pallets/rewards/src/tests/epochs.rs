//! Tests of the epoch's end: minting, totals, carry and expiry.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, traits::fungible::Inspect};
use kaisar_math::{
	Ratio, Schedule, Split,
	emission::{GENESIS_ALLOCATION, MAX_SUPPLY},
};
use kaisar_primitives::*;
use sp_runtime::{Perbill, TokenError};

#[test]
fn genesis_founds_the_pots_and_the_tables() {
	ExtBuilder::default().build_and_execute(|| {
		let current = Current::<Test>::get();
		assert_eq!(
			(current.index, current.start, current.length),
			(0, 1, EPOCH)
		);
		assert_eq!(Balances::balance(&provider_pot()), MILLI_KAI);
		assert_eq!(Balances::balance(&checker_pot()), MILLI_KAI);
		assert_eq!(Balances::balance(&Rewards::reserve_account()), RESERVE);
		assert_eq!(Rewards::class_score(11), Some(75));
		assert_eq!(Rewards::class_score(34), None);
		assert_eq!(ClassScores::<Test>::iter().count(), 33);
	});
}

#[test]
fn an_epoch_ends_after_its_last_block() {
	ExtBuilder::default().build_and_execute(|| {
		while System::block_number() < EPOCH {
			next_block();
		}
		assert!(events().is_empty());
		assert_eq!(Current::<Test>::get().index, 0);
		next_block();
		let current = Current::<Test>::get();
		assert_eq!((current.index, current.start), (1, EPOCH + 1));
		assert_eq!(events().len(), 1);
	});
}

#[test]
fn both_shares_are_minted_in_one_step() {
	ExtBuilder::default().build_and_execute(|| {
		let issued = Balances::total_issuance();
		prove(0, 60, 0);
		prove(1, 60, 20);
		assert_ok!(Rewards::note_protocol_fee(1, 2_000 * KAI));
		seats(0, 3, 1);
		next_epoch();
		let providers = emission(EPOCH, 50);
		let reserve = Schedule::KAISAR.released(RESERVE, 0, EPOCH).unwrap();
		let checkers = emission(EPOCH, 20) + reserve;
		assert_eq!(providers, 750 * KAI);
		assert_eq!(
			events(),
			[Event::EpochEnded {
				epoch: 0,
				providers,
				checkers,
				poc_score: score_of(120),
				pod_score: score_of(60),
				checker_score: 9 * kaisar_math::score::CHECKER_ONE / 4,
			}]
		);
		assert_eq!(Rewards::free_of(&provider_pot()), providers);
		assert_eq!(Rewards::free_of(&checker_pot()), checkers);
		assert_eq!(
			Balances::balance(&Rewards::reserve_account()),
			RESERVE - reserve
		);
		assert_eq!(Balances::total_issuance(), issued + emission(EPOCH, 70));
		let totals = Rewards::epoch_totals(0).unwrap();
		assert_eq!((totals.start, totals.end), (1, EPOCH));
		// PoC and PoD share by their scores, and so do idle and rented blocks.
		assert_eq!(totals.poc_reward, 500 * KAI);
		assert_eq!(totals.pod_reward, 250 * KAI);
		assert_eq!(totals.rent_reward, 750 * KAI * 80 / 180);
		assert_eq!(totals.idle_reward, 750 * KAI - totals.rent_reward);
		// The validators' share is recorded, not minted.
		assert_eq!(Validators::<Test>::get().amount, emission(EPOCH, 30));
		assert_eq!(Current::<Test>::get().scores, Scores::default());
	});
}

#[test]
fn a_period_that_ends_within_an_epoch_is_no_special_case() {
	ExtBuilder::default().build_and_execute(|| {
		Current::<Test>::mutate(|current| current.start = 10_512_000 - 39);
		prove(0, 1, 0);
		next_epoch();
		assert_eq!(
			Rewards::epoch_totals(0).unwrap().poc_reward,
			(40 * 15 + 60 * 13) * KAI / 2
		);
	});
}

#[test]
fn nothing_is_minted_after_the_emission() {
	ExtBuilder::default().build_and_execute(|| {
		Current::<Test>::mutate(|current| current.start = 31_536_001);
		prove(0, 1, 0);
		let issued = Balances::total_issuance();
		next_epoch();
		assert_eq!(Balances::total_issuance(), issued);
		assert_eq!(Rewards::epoch_totals(0).unwrap().poc_reward, 0);
		assert_eq!(Rewards::emission_left(), 0);
	});
}

#[test]
fn emission_left_counts_down() {
	ExtBuilder::default().build_and_execute(|| {
		System::set_block_number(0);
		assert_eq!(Rewards::emission_left(), 409_968_000 * KAI);
		System::set_block_number(10_512_001);
		assert_eq!(
			Rewards::emission_left(),
			(409_968_000 - 15 * 10_512_000 - 13) * KAI
		);
	});
}

#[test]
fn a_new_length_counts_from_the_next_epoch() {
	ExtBuilder::default().build_and_execute(|| {
		EpochLength::set(7);
		assert_eq!(Rewards::current_epoch().length, EPOCH);
		next_epoch();
		assert_eq!(System::block_number(), EPOCH + 1);
		assert_eq!(Rewards::current_epoch().length, 7);
		next_epoch();
		assert_eq!(System::block_number(), EPOCH + 8);
		// An epoch without blocks would never end, and one with too many could not be shortened.
		EpochLength::set(0);
		next_epoch();
		assert_eq!(Rewards::current_epoch().length, 1);
		EpochLength::set(u32::MAX);
		next_epoch();
		assert_eq!(Rewards::current_epoch().length, 365 * 7_200);
		next_epoch();
	});
}

#[test]
fn what_nobody_earned_carries_over() {
	ExtBuilder::default().build_and_execute(|| {
		next_epoch();
		assert_eq!(Carry::<Test>::get(Pot::Providers), emission(EPOCH, 50));
		assert_eq!(
			Carry::<Test>::get(Pot::Checkers),
			emission(EPOCH, 20) + Schedule::KAISAR.released(RESERVE, 0, EPOCH).unwrap()
		);
		prove(0, 1, 0);
		next_epoch();
		assert_eq!(Carry::<Test>::get(Pot::Providers), 0);
		assert_eq!(
			Rewards::epoch_totals(1).unwrap().poc_reward,
			emission(2 * EPOCH, 50)
		);
	});
}

#[test]
fn a_fixed_ratio_carries_its_excess_over() {
	ExtBuilder::default().build_and_execute(|| {
		PodRatio::set(Ratio::Fixed(Perbill::from_percent(50)));
		prove(0, 90, 0);
		prove(1, 10, 3);
		next_epoch();
		let totals = Rewards::epoch_totals(0).unwrap();
		assert_eq!(totals.poc_reward, 375 * KAI);
		// 9 units of PoD earn no more than 9 of the 100 units of PoC.
		assert_eq!(totals.pod_reward, 375 * KAI * 9 / 100);
		assert_eq!(
			Carry::<Test>::get(Pot::Providers),
			emission(EPOCH, 50) - totals.poc_reward - totals.pod_reward
		);
		// The amount that the cap withholds goes to idle blocks.
		assert_eq!(totals.rent_reward, 0);
		assert_eq!(totals.idle_reward, totals.poc_reward + totals.pod_reward);
	});
}

#[test]
fn the_cap_holds_with_what_validators_are_due() {
	ExtBuilder::default().build_and_execute(|| {
		let due = emission(EPOCH, 30);
		MaxSupply::set(Balances::total_issuance() + due + emission(EPOCH, 50) + 1);
		prove(0, 1, 0);
		seats(0, 1, 0);
		next_epoch();
		let totals = Rewards::epoch_totals(0).unwrap();
		assert_eq!(totals.poc_reward, emission(EPOCH, 50));
		assert_eq!(
			totals.checker_reward,
			1 + Schedule::KAISAR.released(RESERVE, 0, EPOCH).unwrap()
		);
		assert_eq!(Balances::total_issuance() + due, MaxSupply::get());
		next_epoch();
		assert_eq!(Balances::total_issuance() + due, MaxSupply::get());
	});
}

#[test]
fn the_whole_emission_reaches_the_cap_to_the_unit() {
	let rich = GENESIS_ALLOCATION - RESERVE - KAI - 2 * MILLI_KAI;
	ExtBuilder {
		rich,
		epoch: 100_800,
		..Default::default()
	}
	.build_and_execute(|| {
		assert_eq!(Balances::total_issuance(), GENESIS_ALLOCATION);
		while Rewards::current_epoch().start <= 31_536_000 {
			let due = Validators::<Test>::get().amount;
			assert!(Balances::total_issuance() + due <= MAX_SUPPLY);
			next_epoch();
		}
		assert_eq!(
			Balances::total_issuance() + Validators::<Test>::get().amount,
			MAX_SUPPLY
		);
		assert_eq!(Balances::balance(&Rewards::reserve_account()), 0);
		assert_eq!(Rewards::free_of(&checker_pot()), 200_000_000 * KAI);
		assert_eq!(Rewards::free_of(&provider_pot()), 204_984_000 * KAI);
		// Nobody scored: everything waits for later scores.
		assert_eq!(Carry::<Test>::get(Pot::Checkers), 200_000_000 * KAI);
	});
}

#[test]
fn validators_share_is_taken_by_block_difference() {
	ExtBuilder::default().build_and_execute(|| {
		System::set_block_number(41);
		assert_eq!(Rewards::take_validators_share(), emission(40, 30));
		assert_eq!(Rewards::take_validators_share(), 0);
		next_epoch();
		assert_eq!(
			Validators::<Test>::get(),
			ValidatorsDue {
				until: 100,
				amount: emission(60, 30)
			}
		);
		assert_eq!(Rewards::take_validators_share(), emission(60, 30));
	});
}

#[test]
fn a_split_over_the_whole_mints_no_more_than_the_emission() {
	ExtBuilder::default().build_and_execute(|| {
		let all = Perbill::one();
		EmissionSplit::set(Split {
			providers: all,
			checkers: all,
			validators: all,
		});
		next_epoch();
		let issued = Balances::total_issuance();
		next_epoch();
		assert_eq!(Balances::total_issuance(), issued + emission(EPOCH, 100));
	});
}

#[test]
fn what_is_put_in_is_the_running_epochs() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(Rewards::put(Pot::Providers, &RICH, 5 * KAI));
		assert_eq!(
			events(),
			[Event::PotFunded {
				pot: Pot::Providers,
				from: RICH,
				amount: 5 * KAI
			}]
		);
		assert_ok!(Rewards::put(Pot::Checkers, &RICH, 0));
		assert!(events().is_empty());
		prove(0, 1, 0);
		next_epoch();
		assert_eq!(
			Rewards::epoch_totals(0).unwrap().poc_reward,
			emission(EPOCH, 50) + 5 * KAI
		);
		assert_noop!(
			Rewards::put(Pot::Providers, &STRANGER, 2 * KAI),
			TokenError::FundsUnavailable
		);
	});
}

#[test]
fn history_is_dropped_and_what_it_kept_carries_over() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 1, 0);
		next_epoch();
		for _ in 0..3 {
			next_epoch();
			assert_eq!(Oldest::<Test>::get(), 0);
		}
		assert_eq!(Carry::<Test>::get(Pot::Providers), 3 * emission(EPOCH, 50));
		assert!(Rewards::epoch_totals(0).is_some());
		next_epoch();
		// Four epochs are stored; the unsettled part of epoch 0 carries over.
		assert_eq!(Oldest::<Test>::get(), 1);
		assert!(Rewards::epoch_totals(0).is_none());
		assert_eq!(Carry::<Test>::get(Pot::Providers), 5 * emission(EPOCH, 50));
	});
}

#[test]
fn a_lower_depth_expires_nothing_early() {
	ExtBuilder::default().build_and_execute(|| {
		let history = || (Oldest::<Test>::get(), Epochs::<Test>::iter().count());
		prove(0, 1, 0);
		(0..2).for_each(|_| next_epoch());
		let due = Rewards::claimable_from(PoolId::Worker(0));
		assert!(due > 0);
		// Whatever governance sets now, epochs 0 and 1 are stored for four epochs, as promised.
		HistoryDepth::set(0);
		for _ in 2..5 {
			assert_eq!(Oldest::<Test>::get(), 0);
			assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), due);
			next_epoch();
		}
		// Later ones are stored for one, the minimum; the history catches up by two epochs at once.
		assert_eq!(history(), (1, 4));
		next_epoch();
		assert_eq!(history(), (3, 3));
		next_epoch();
		assert_eq!(history(), (5, 2));
		(0..3).for_each(|_| next_epoch());
		assert_eq!(history(), (9, 1));
		// A greater depth restores nothing, and counts for epochs that end from now on.
		HistoryDepth::set(4);
		next_epoch();
		assert_eq!(history(), (10, 1));
		(0..3).for_each(|_| next_epoch());
		assert_eq!(history(), (10, 4));
		next_epoch();
		assert_eq!(history(), (11, 4));
	});
}
