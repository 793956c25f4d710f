//! Findings that are still possible against a worker, and the calls of its owner refused meanwhile.

use super::*;

#[test]
fn a_census_that_lasts_for_hours_holds_nobody_who_attested() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_long_census(1_800);
		assert!(Popw::attest(worker, census));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		let back = || Providers::go_online(signed(ALICE), worker);
		assert_noop!(back(), Error::<Test>::CheckRunning);
		// Its check is closed, and the census continues for hours.
		Popw::close(worker, online(PROFILE));
		run_to(Providers::now() + 200);
		assert!(Popw::oldest_round() <= census);
		assert_ok!(back());
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn one_that_was_found_may_come_back_at_once() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_long_census(1_800);
		run_to(Providers::now() + 200);
		assert!(Popw::absent(worker, census));
		assert_ok!(Providers::go_online(signed(ALICE), worker));
	});
}

#[test]
fn an_absence_that_can_be_reported_holds_it_until_the_round_is_over() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_long_census(400);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		let calls = || {
			[
				Providers::go_online(signed(ALICE), worker),
				Providers::update_worker(signed(ALICE), worker, SPEC),
			]
		};
		// In the attest phase, and after it, until the round is over.
		let start = Popw::start_of(census);
		for block in [start + 1, start + 400, start + 401, start + 1_200] {
			run_to(block);
			for result in calls() {
				assert_eq!(result, Err(Error::<Test>::CheckRunning.into()));
			}
		}
		run_to(start + 1_201);
		assert_ok!(Providers::go_online(signed(ALICE), worker));
	});
}

#[test]
fn a_census_that_did_not_see_it_does_not_hold_it() {
	ExtBuilder.build_and_execute(|| {
		// It came online while the census ran.
		let worker = register(ALICE, 1);
		let census = Popw::start_long_census(1_800);
		assert!(Popw::attest(worker, census - 1));
		Popw::close(worker, online(PROFILE));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		run_to(Providers::now() + 200);
		assert_ok!(Providers::update_worker(signed(ALICE), worker, SPEC));
	});
}

#[test]
fn a_record_that_goes_takes_its_last_check_along() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING);
		assert!(Popw::forgotten().is_empty());
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Popw::forgotten(), vec![worker]);
		assert_eq!(Workers::<Test>::get(worker), None);
	});
}

#[test]
fn a_round_that_is_about_to_start_holds_a_worker_that_it_sees() {
	for blocks in 1..NOTICE {
		ExtBuilder.build_and_execute(|| {
			let (seen, away) = (register_online(ALICE, 1), register(ALICE, 2));
			Popw::spot_check(away, Outcome::Offline);
			Popw::pass();
			let spot = Popw::approach(blocks);
			let smaller = WorkerSpec {
				cpu_cores: 4,
				..SPEC
			};
			// Leaving counts from the next round, so this one checks it by its present claim.
			assert_ok!(Providers::go_offline(signed(ALICE), seen));
			for result in [
				Providers::update_worker(signed(ALICE), seen, smaller),
				Providers::go_online(signed(ALICE), seen),
			] {
				assert_eq!(result, Err(Error::<Test>::CheckRunning.into()));
			}
			assert_ok!(Providers::go_online(signed(ALICE), away));
			assert_eq!(record(away).forced.unwrap().round, spot + 2);
			Popw::start_round(true);
			assert!(Popw::attest(seen, spot + 1));
		});
	}
}
