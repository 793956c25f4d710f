//! Idle time that is not paid, because the machine could not have been rented.

use super::*;

/// Blocks for which a worker is barred after it failed to deploy an order.
const BAR: BlockNumber = 300;

/// Simulates a provider without an engine: an order takes its machine and fails, and the machine is barred.
fn fail_an_order(worker: WorkerId) -> BlockNumber {
	let until = Providers::now() + BAR;
	rent(worker);
	assert_ok!(<Providers as Market>::free(worker, false));
	assert_ok!(<Providers as Market>::bar(worker, until));
	until
}

/// Closes a worker's check of the last census while the engine of orders runs: its agenda reviews the
/// worker when the bar ends.
fn close_after(worker: WorkerId, census: RoundIndex, until: BlockNumber) -> BlockNumber {
	assert!(Popw::attest(worker, census));
	if until > Providers::now() && until <= Popw::start_of(census) + 3 * PHASE {
		run_to(until);
		assert_ok!(<Providers as Market>::review(worker));
	}
	Popw::close(worker, online(PROFILE)).idle
}

#[test]
fn a_machine_without_an_engine_earns_nothing_by_failing_every_order() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		let mut earned = 0;
		for _ in 0..20 {
			let until = fail_an_order(worker);
			while until > Providers::now() {
				let census = Popw::start_round(true) + 1;
				earned += close_after(worker, census, until);
			}
			// Orders lists it again, and the next order takes it.
			assert_ok!(<Providers as Market>::review(worker));
			assert!(<Providers as Market>::candidate(worker).is_some());
		}
		assert_eq!(earned, 0);
		assert!(
			record(worker).proved_at.is_some(),
			"it was there all the time"
		);
	});
}

#[test]
fn a_bar_that_ends_while_a_census_runs_is_not_paid_by_it() {
	// Closed before the bar ends, after it without a review, and after a review.
	for (end, review) in [(400, false), (3, false), (3, true)] {
		ExtBuilder.build_and_execute(|| {
			let worker = register_online(ALICE, 1);
			Popw::pass();
			let census = Popw::approach(0) + 1;
			assert_ok!(<Providers as Market>::bar(worker, Providers::now() + end));
			Popw::start_round(true);
			assert!(Popw::attest(worker, census));
			run_to(Providers::now() + 5);
			if review {
				assert_ok!(<Providers as Market>::review(worker));
				assert_eq!(record(worker).barred_until, 0);
			}
			assert_eq!(Popw::close(worker, online(PROFILE)).idle, 0);
		});
	}
}

#[test]
fn a_bar_that_began_during_the_census_leaves_it_unpaid() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		let until = fail_an_order(worker);
		assert_eq!(close_after(worker, census, until), 0);
	});
}

#[test]
fn after_a_bar_waiting_pays_from_the_next_round() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let until = fail_an_order(worker);
		run_to(until);
		assert_ok!(<Providers as Market>::review(worker));
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, INTERVAL);
		// Without a review, which a late agenda may still owe, the check itself notices.
		let until = fail_an_order(worker);
		run_to(until);
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, INTERVAL);
	});
}

#[test]
fn a_class_that_cannot_be_ordered_earns_nothing_for_waiting() {
	ExtBuilder.build_and_execute(|| {
		let spec = WorkerSpec {
			gpu_class: 1,
			..SPEC
		};
		let profile = Profile {
			gpu_class: 1,
			..PROFILE
		};
		let worker = NextWorkerId::<Test>::get();
		assert_ok!(try_register(ALICE, 1, spec, FUNDS / 100));
		Popw::spot_check(worker, online(profile));
		assert_eq!(Popw::census(worker, online(profile)).idle, 0);
		// A development network pays uncalibrated classes.
		PayUncalibrated::set(&true);
		assert_eq!(Popw::census(worker, online(profile)).idle, INTERVAL);
	});
}
