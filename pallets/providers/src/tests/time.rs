//! Proved time: idle time is sampled by censuses, rented time is pending. The latter is compared with a
//! plain model that stores every block.

use super::*;
use proptest::prelude::*;

#[test]
fn a_census_stands_for_an_interval_whatever_came_before() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		for passed in [1, 10 * INTERVAL] {
			run_to(Providers::now() + passed);
			let proved = Popw::census(worker, online(PROFILE));
			assert_eq!((proved.idle, proved.rented), (INTERVAL, 0));
			assert_eq!(proved.profile, PROFILE);
		}
	});
}

#[test]
fn no_check_but_a_census_credits_idle_time() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		run_to(Providers::now() + 10 * INTERVAL);
		assert_ok!(<Popw as Checks>::force(worker));
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (0, 0));
	});
}

#[test]
fn boundary_of_the_floor_at_which_waiting_pays() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		HighestPrice::set(&Some(2 * KAI));
		let waits = |floor| {
			assert_ok!(Providers::set_price_floor(signed(ALICE), worker, floor));
			let proved = Popw::census(worker, online(PROFILE));
			assert_eq!(Providers::idle_workers(11, 1, None), 1);
			proved.idle
		};
		// While its class has no price, any floor is accepted.
		assert_eq!(waits(2 * KAI), INTERVAL);
		TodaysPrice::set(&Some(KAI));
		assert_eq!(waits(KAI + 1), 0);
		assert_eq!(waits(KAI), INTERVAL);
		assert_eq!(waits(0), INTERVAL);
	});
}

#[test]
fn a_floor_that_comes_down_for_the_check_does_not_pay() {
	ExtBuilder.build_and_execute(|| {
		// The machine can be rented only when a census is about to be closed.
		let worker = register_online(ALICE, 1);
		TodaysPrice::set(&Some(KAI));
		let floor = |price| {
			assert_ok!(Providers::set_price_floor(signed(ALICE), worker, price));
		};
		floor(u128::MAX);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		floor(0);
		assert_eq!(Popw::close(worker, online(PROFILE)).idle, 0);
		// The next census finds it waiting.
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, INTERVAL);
		// A worker that could be rented all the time may lower its floor at any time.
		floor(KAI);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		floor(KAI / 2);
		assert_eq!(Popw::close(worker, online(PROFILE)).idle, INTERVAL);
	});
}

#[test]
fn rented_time_is_credited_up_to_the_rounds_start() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		let since = Providers::now();
		run_to(since + 100);
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		let start = Popw::start_of(round);
		run_to(start + 60);
		let proved = Popw::close(worker, UNDECIDED);
		assert_eq!((proved.idle, proved.rented), (0, start - since));
		assert_eq!(proved.profile, PROFILE);
		assert_eq!(Providers::pending_time(worker), Some(60));
	});
}

#[test]
fn boundary_of_the_longest_gap() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		for more in [0, 1] {
			run_to(Providers::now() + MAX_GAP - PHASE + more);
			assert_ok!(<Popw as Checks>::force(worker));
			assert_eq!(Popw::spot_check(worker, UNDECIDED).rented, MAX_GAP);
			// Any time above the limit is void.
			assert_eq!(Providers::pending_time(worker), Some(0));
		}
	});
}

#[test]
fn a_false_proof_empties_rented_time() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		run_to(Providers::now() + 100);
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		let proved = Popw::close_with(worker, UNDECIDED, true);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(Providers::pending_time(worker), Some(0));
	});
}

#[test]
fn the_orders_close_empties_rented_time() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		free(worker);
		assert_eq!(Providers::pending_time(worker), Some(0));
		assert_eq!(Popw::close(worker, UNDECIDED).rented, 0);
		// The next order does not get the time of the one before.
		Popw::spot_check(worker, online(PROFILE));
		rent(worker);
		let since = Providers::now();
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		let proved = Popw::spot_check(worker, UNDECIDED);
		assert_eq!(
			proved.rented,
			Popw::start_of(Popw::next_round() - 2) - since
		);
	});
}

#[derive(Clone, Copy, Debug)]
enum Step {
	/// Blocks pass, then an order begins or ends.
	Blocks(u8, bool),
	/// A round that started this many blocks ago is closed.
	Credit(u8, u8),
	/// The pending time is voided.
	Empty,
}

fn step() -> impl Strategy<Value = Step> {
	prop_oneof![
		6 => (0u8..20, any::<bool>()).prop_map(|(blocks, rented)| Step::Blocks(blocks, rented)),
		3 => (0u8..60, 10u8..90).prop_map(|(ago, most)| Step::Credit(ago, most)),
		1 => Just(Step::Empty),
	]
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(256),
		rng_seed: kaisar_test_support::property::seed(2),
		..ProptestConfig::default()
	})]

	#[test]
	fn agrees_with_a_model_of_every_block(steps in prop::collection::vec(step(), 1..60)) {
		let mut time = PendingTime::default();
		// Whether each block so far is rented and not yet proved.
		let mut blocks: Vec<bool> = Vec::new();
		let mut rented = false;
		for step in steps {
			let now = blocks.len() as u32;
			match step {
				Step::Blocks(passed, new) => {
					blocks.extend(core::iter::repeat_n(rented, passed.into()));
					let now = blocks.len() as u32;
					if new && !rented {
						time = PendingTime::rent(now);
					} else if rented && !new {
						time = PendingTime::default();
						blocks.fill(false);
					}
					rented = new;
				},
				Step::Credit(ago, most) => {
					let start = now.saturating_sub(ago.into());
					let due = blocks.iter().take(start as usize).filter(|block| **block).count();
					let credited = time.credit(start, most.into());
					prop_assert_eq!(credited, (due as u32).min(most.into()));
					blocks.iter_mut().take(start as usize).for_each(|block| *block = false);
				},
				Step::Empty => {
					time.empty(now);
					blocks.fill(false);
				},
			}
			let now = blocks.len() as u32;
			let pending = blocks.iter().filter(|block| **block).count() as u32;
			prop_assert_eq!(time.at(now), pending);
			prop_assert_eq!(time.since.is_some(), rented);
		}
	}
}
