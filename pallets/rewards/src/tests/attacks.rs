//! Tests of attempts to earn more than one's part, and of their gain.

use crate::{mock::*, *};
use frame_support::{assert_ok, traits::fungible::Mutate};
use kaisar_primitives::*;

/// Blocks of a whole epoch.
const WHOLE: BlockNumber = 100_800;

/// Machines, their stakes in KAI, and their shares of all workers in per cent: the network of
/// `docs/rewards.md`.
const NETWORK: [(Profile, Balance, u32); 3] =
	[(HOME, 650, 70), (H100S, 16_500, 10), (SERVER, 500, 20)];
const HOME: Profile = Profile {
	bandwidth: 2,
	cpu: 1,
	memory: 1,
	disk: 1,
	gpu_class: 11,
	gpu_count: 1,
};
const H100S: Profile = Profile {
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 1,
	gpu_count: 8,
};
const SERVER: Profile = Profile {
	bandwidth: 3,
	cpu: 2,
	memory: 2,
	disk: 2,
	gpu_class: 0,
	gpu_count: 0,
};

/// Has `count` machines prove a whole epoch, all of them under one number.
fn machines(worker: WorkerId, count: u32, profile: Profile, stake: Balance, rented: bool) {
	let mut left = count;
	while left > 0 {
		// As many as fit into a number of blocks.
		let now = left.min(40_000);
		left -= now;
		let blocks = now * WHOLE;
		on_proved(
			worker,
			&Proved {
				idle: if rented { 0 } else { blocks },
				rented: if rented { blocks } else { 0 },
				stake: stake * KAI,
				profile,
			},
		);
	}
}

/// Adds a network of `workers` idle machines, as workers 0, 1 and 2.
fn idle_network(workers: u32) {
	for (n, (profile, stake, of_hundred)) in (0..).zip(NETWORK) {
		machines(n, workers / 100 * of_hundred, profile, stake, false);
	}
}

fn all_of_the_network() -> Balance {
	(0..3)
		.map(|worker| Rewards::claimable_from(PoolId::Worker(worker)))
		.sum()
}

fn fee(worker: WorkerId, amount: Balance) {
	assert_ok!(<Rewards as ProtocolFees<AccountId>>::pay(
		worker, &RICH, amount
	));
}

fn epoch_of_two_weeks() -> ExtBuilder {
	ExtBuilder {
		epoch: WHOLE,
		..Default::default()
	}
}

/// Machines that do not exist, rented by their owners for a whole epoch on a plan of 90 days: the protocol's
/// part of the rent at the prices of a development chain, in KAI.
const SELF_RENTED: [(Profile, Balance, Balance); 2] = [(H100S, 16_500, 1_613), (HOME, 650, 15)];

#[test]
fn renting_from_oneself_loses_half_of_the_fee_in_every_network() {
	for (profile, stake, paid) in SELF_RENTED {
		for workers in [0, 100, 1_000, 10_000, 100_000] {
			epoch_of_two_weeks().build_and_execute(|| {
				idle_network(workers);
				machines(9, 1, profile, stake, true);
				fee(9, paid * KAI);
				next_epoch();
				let earned = Rewards::claimable_from(PoolId::Worker(9));
				assert!(
					earned <= paid * KAI / 2,
					"{earned} of {paid} KAI among {workers}, class {}",
					profile.gpu_class
				);
			});
		}
	}
}

#[test]
fn fake_rentals_dilute_no_idle_machine() {
	let network = |fakes: u32, paid: Balance| {
		let (mut honest, mut faked) = (0, 0);
		epoch_of_two_weeks().build_and_execute(|| {
			idle_network(1_000);
			(0..fakes).for_each(|n| {
				// With the largest boost.
				machines(10 + n, 1, H100S, 50_000, true);
				fee(10 + n, paid);
			});
			next_epoch();
			honest = all_of_the_network();
			faked = (0..fakes)
				.map(|n| Rewards::claimable_from(PoolId::Worker(10 + n)))
				.sum();
		});
		(honest, faked)
	};
	let (alone, _) = network(0, 0);
	for paid in [0, MILLI_KAI, KAI, 1_613 * KAI] {
		let (honest, faked) = network(255, paid);
		let fees = 255 * paid;
		assert!(faked <= fees / 2, "{faked} of {fees}");
		// They take from others half of their payment, and not more.
		assert!(alone - honest <= fees / 2 + 3, "{alone} {honest} {fees}");
	}
}

#[test]
fn a_tenant_that_pays_only_its_own_machine_lifts_no_other_limit() {
	epoch_of_two_weeks().build_and_execute(|| {
		idle_network(1_000);
		machines(9, 1, H100S, 16_500, true);
		machines(10, 1, H100S, 16_500, true);
		fee(10, 100_000 * KAI);
		next_epoch();
		assert_eq!(Rewards::claimable_from(PoolId::Worker(9)), 0);
		assert!(Rewards::claimable_from(PoolId::Worker(10)) > 0);
	});
}

#[test]
fn a_split_changed_within_an_epoch_counts_from_the_next() {
	use kaisar_math::Split;
	use sp_runtime::Perbill;
	let percent = Perbill::from_percent;
	ExtBuilder::default().build_and_execute(|| {
		let issued = Balances::total_issuance();
		prove(0, 1, 0);
		seats(0, 1, 0);
		System::set_block_number(51);
		// An era ends: its validators are paid for half of the epoch.
		let era = Rewards::take_validators_share();
		assert_ok!(Balances::mint_into(&STRANGER, era));
		EmissionSplit::set(Split {
			providers: percent(70),
			checkers: percent(30),
			validators: percent(0),
		});
		next_epoch();
		let due = Validators::<Test>::get().amount;
		let emitted = Balances::total_issuance() + due - issued;
		assert_eq!(emitted, emission(EPOCH, 100), "no epoch emits more");
		assert_eq!(era + due, emission(EPOCH, 30));
		// From here on the new split counts.
		next_epoch();
		assert_eq!(
			Balances::total_issuance() + due - issued,
			2 * emission(EPOCH, 100)
		);
		assert_eq!(Validators::<Test>::get().amount, due);
	});
}
