//! Tests of the whole emission, epoch by epoch, for epochs of any length and with any funding and claims.

use crate::{mock::*, *};
use frame_support::traits::fungible::{Inspect, Mutate};
use kaisar_math::{Split, emission::MAX_SUPPLY};
use kaisar_primitives::*;
use proptest::prelude::*;
use sp_runtime::Perbill;

/// Returns the emission of blocks 1 … `n`, in KAI, computed independently.
fn emitted(n: u128) -> u128 {
	let period = 10_512_000;
	15 * n.min(period)
		+ 13 * n.saturating_sub(period).min(period)
		+ 11 * n.saturating_sub(2 * period).min(period)
}

#[derive(Clone, Debug)]
struct Epoch {
	length: u32,
	/// The shares of providers and checkers, in per cent; validators get the rest.
	split: (u32, u32),
	/// The number of blocks after which an era ends within the epoch, if one does.
	era: Option<u32>,
	put: Balance,
	scored: bool,
}

fn epoch() -> impl Strategy<Value = Epoch> {
	(
		prop_oneof![1u32..300_000, Just(100_800), 300_000u32..2_628_000],
		(0u32..=60, 0u32..=40),
		prop::option::of(0u32..400_000),
		0..1_000 * KAI,
		any::<bool>(),
	)
		.prop_map(|(length, split, era, put, scored)| Epoch {
			length,
			split,
			era,
			put,
			scored,
		})
}

/// Ends an era: mints the share due to validators. Returns it.
fn pay_era() -> Balance {
	let due = Rewards::take_validators_share();
	Balances::mint_into(&STRANGER, due).unwrap();
	due
}

proptest! {
	#![proptest_config(ProptestConfig {
		rng_seed: kaisar_test_support::property::seed(11),
		..ProptestConfig::with_cases(kaisar_test_support::property::cases(24))
	})]

	#[test]
	fn nothing_is_minted_past_the_cap_and_nothing_is_left(
		epochs in prop::collection::vec(epoch(), 40..60), last in epoch(),
	) {
		let rich = MAX_SUPPLY - 409_968_000 * KAI - RESERVE - KAI - 2 * MILLI_KAI;
		ExtBuilder { rich, epoch: epochs[0].length, ..Default::default() }.build_and_execute(|| {
			let genesis = Balances::total_issuance();
			assert_eq!(genesis, MAX_SUPPLY - 409_968_000 * KAI);
			let (mut rounding, mut ends) = (0, 0);
			for epoch in epochs.iter().chain(std::iter::once(&last)) {
				let percent = Perbill::from_percent;
				let (providers, checkers) = epoch.split;
				EmissionSplit::set(Split {
					providers: percent(providers),
					checkers: percent(checkers),
					validators: percent(100 - providers - checkers),
				});
				// Both count from the next epoch. The last one outlasts the emission.
				let current = Current::<Test>::get();
				if std::ptr::eq(epoch, &last) {
					Current::<Test>::mutate(|current| {
						current.length = current.length.max(31_540_000_u32.saturating_sub(current.start))
					});
				}
				EpochLength::set(epoch.length);
				if let Some(after) = epoch.era {
					System::set_block_number(current.start + after.min(current.length - 1));
					pay_era();
					rounding += 1;
				}
				Rewards::put(Pot::Checkers, &RICH, epoch.put).unwrap();
				if epoch.scored {
					prove(0, 10, 3);
					seats(0, 1, 0);
				}
				next_epoch();
				rounding += 3;
				ends = u128::from(Current::<Test>::get().start) - 1;
				let due = Validators::<Test>::get().amount;
				let issued = Balances::total_issuance();
				assert!(issued + due <= MAX_SUPPLY);
				// In step with the emission, except for the rounding of the split, below a unit a share.
				let whole = genesis + emitted(ends) * KAI;
				assert!(issued + due <= whole && whole - (issued + due) < rounding);
				// The reserve is released in step, to the unit.
				let out = RESERVE / KAI * emitted(ends) * KAI / 409_968_000;
				assert_eq!(Balances::balance(&Rewards::reserve_account()), RESERVE - out);
				Rewards::do_try_state().unwrap();
			}
			assert!(ends >= 31_536_000);
			pay_era();
			let issued = Balances::total_issuance();
			assert!(issued <= MAX_SUPPLY && MAX_SUPPLY - issued < rounding + 1);
			assert_eq!(Balances::balance(&Rewards::reserve_account()), 0);
			// And never again.
			next_epoch();
			assert_eq!(pay_era(), 0);
			assert_eq!(Balances::total_issuance(), issued);
		});
	}
}

#[test]
fn by_epochs_of_the_published_length_the_cap_is_reached_to_the_unit() {
	let rich = MAX_SUPPLY - 409_968_000 * KAI - RESERVE - KAI - 2 * MILLI_KAI;
	ExtBuilder {
		rich,
		epoch: 100_800,
		..Default::default()
	}
	.build_and_execute(|| {
		let mut paid = 0;
		while Balances::total_issuance() < MAX_SUPPLY {
			let before = Rewards::current_epoch().start;
			assert!(
				before <= 31_536_000 + 100_800,
				"the emission came to its end"
			);
			next_epoch();
			paid += pay_era();
			let ends = u128::from(Rewards::current_epoch().start) - 1;
			assert_eq!(
				Balances::total_issuance(),
				MAX_SUPPLY - (409_968_000 - emitted(ends)) * KAI
			);
		}
		assert_eq!(Balances::total_issuance(), MAX_SUPPLY);
		assert_eq!(Balances::balance(&Rewards::reserve_account()), 0);
		assert_eq!(paid, 409_968_000 * KAI * 3 / 10);
		assert_eq!(Rewards::free_of(&checker_pot()), 200_000_000 * KAI);
		assert_eq!(Rewards::free_of(&provider_pot()), 204_984_000 * KAI);
	});
}
