//! Tests of parameters at their limits: epochs end, pay and expire, whatever governance sets.

use crate::{epochs::HISTORY_DEPTH, mock::*, *};
use frame_support::assert_ok;
use kaisar_math::{KAI, Ratio, Split};
use kaisar_primitives::*;
use sp_runtime::{FixedU128, Perbill};

/// Sets the mock's values.
fn recover() {
	EpochLength::set(EPOCH);
	EmissionSplit::set(Split::default());
	PodRatio::set(Ratio::Automatic);
	PodFeeCap::set(FixedU128::from_rational(1, 2));
	CpuOnlyWeight::set(Perbill::from_percent(10));
	MaxStake::set(50_000 * KAI);
	HistoryDepth::set(4);
}

/// Runs an epoch in which a worker is idle and rented, a server is idle, and a checker votes.
fn live() {
	prove(0, 60, 20);
	on_proved(
		1,
		&Proved {
			idle: 60,
			rented: 0,
			stake: KAI,
			profile: Profile {
				cpu: 3,
				..Default::default()
			},
		},
	);
	assert_ok!(Rewards::note_protocol_fee(0, 20 * KAI));
	seats(0, 3, 1);
	next_epoch();
	Rewards::do_try_state().expect("the invariants hold");
}

/// Settles the worker's part of the last epoch. Returns it.
fn earned() -> Balance {
	assert_ok!(Rewards::settle(
		RuntimeOrigin::signed(RICH),
		PoolId::Worker(0)
	));
	Rewards::claimable_from(PoolId::Worker(0))
}

#[test]
fn no_parameter_keeps_an_epoch_from_ending_and_paying() {
	let whole = |part| Split {
		providers: part,
		checkers: part,
		validators: part,
	};
	let set: [fn(bool); 6] = [
		|most| EpochLength::set(if most { u32::MAX } else { 0 }),
		|most| {
			PodFeeCap::set(if most {
				FixedU128::from_inner(u128::MAX)
			} else {
				FixedU128::from_inner(0)
			})
		},
		|most| {
			CpuOnlyWeight::set(if most {
				Perbill::one()
			} else {
				Perbill::zero()
			})
		},
		|most| MaxStake::set(if most { Balance::MAX } else { 0 }),
		|most| HistoryDepth::set(if most { u32::MAX } else { 0 }),
		|most| {
			PodRatio::set(Ratio::Fixed(if most {
				Perbill::one()
			} else {
				Perbill::zero()
			}))
		},
	];
	let try_out = |set: &dyn Fn()| {
		ExtBuilder::default().build_and_execute(|| {
			set();
			(0..3).for_each(|_| live());
			recover();
			live();
			let before = earned();
			live();
			assert!(earned() > before, "it is paid again");
			// Epochs are stored as long as promised; then the history catches up, by one epoch an epoch.
			(0..2 * HISTORY_DEPTH.end()).for_each(|_| next_epoch());
			assert!(Epochs::<Test>::iter().count() <= 4, "the history caught up");
		});
	};
	for most in [false, true] {
		for set in set {
			try_out(&|| set(most));
		}
		try_out(&|| set.iter().for_each(|set| set(most)));
	}
	try_out(&|| EmissionSplit::set(whole(Perbill::one())));
	try_out(&|| EmissionSplit::set(whole(Perbill::zero())));
}

#[test]
fn boundary_of_the_history() {
	ExtBuilder::default().build_and_execute(|| {
		HistoryDepth::set(u32::MAX);
		let most = *HISTORY_DEPTH.end();
		(0..most).for_each(|_| next_epoch());
		assert_eq!(
			(Oldest::<Test>::get(), Epochs::<Test>::iter().count()),
			(0, most as usize)
		);
		(0..10).for_each(|_| next_epoch());
		assert_eq!(
			(Oldest::<Test>::get(), Epochs::<Test>::iter().count()),
			(10, most as usize)
		);
	});
}
