use super::*;

#[test]
fn leaving_counts_from_the_next_round() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let round = Popw::start_round(true);
		events();
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![Event::WorkerStateChanged {
				worker,
				old: WorkerState::Online,
				new: WorkerState::Offline,
				since
			}]
		);
		assert_eq!(
			record(worker).standings.at(round + 1),
			Some(&WorkerState::Online)
		);
		assert_eq!(
			record(worker).standings.at(since),
			Some(&WorkerState::Offline)
		);
		// The census continues, and credits its interval.
		assert_eq!(Popw::due(worker, round + 1), Some(false));
		assert!(Popw::attest(worker, round + 1));
		assert_eq!(Popw::close(worker, online(PROFILE)).idle, INTERVAL);
		assert_eq!(state(worker), WorkerState::Offline);
		// The next one does not see it.
		let next = Popw::start_round(true);
		assert_eq!(Popw::due(worker, next + 1), None);
	});
}

#[test]
fn leaving_does_not_end_a_check_that_is_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::start_round(false);
		// Coming back would hide that it was online in the census.
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::CheckRunning
		);
		assert!(Popw::absent(worker, census));
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		assert!(!Popw::absent(worker, census));
	});
}

#[test]
fn leaving_ends_a_verification_that_is_still_to_come() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		assert_eq!(record(worker).forced, None);
		let round = Popw::start_round(false);
		assert_eq!(Popw::due(worker, round), None);
	});
}

#[test]
fn coming_back_is_verified_once_and_credits_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::pass();
		events();
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		let round = Popw::next_round();
		assert_eq!(
			events(),
			vec![
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Offline,
					new: WorkerState::Pending,
					since: round
				},
				Event::WorkerForced {
					worker,
					round,
					verify_only: true
				},
			]
		);
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(Providers::pending_time(worker), Some(0));
		assert_eq!(state(worker), WorkerState::Online);
		let next = Popw::start_round(false);
		assert_eq!(Popw::due(worker, next), None);
	});
}

#[test]
fn go_offline_fails_in_the_wrong_state() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let call = || Providers::go_offline(signed(ALICE), worker);
		put_into(worker, WorkerState::Rented);
		assert_noop!(call(), Error::<Test>::WorkerRented);
		put_into(worker, WorkerState::Suspended);
		assert_noop!(call(), Error::<Test>::WorkerSuspended);
		put_into(worker, WorkerState::Offline);
		assert_noop!(call(), Error::<Test>::WrongState);
	});
}

#[test]
fn go_online_fails_in_the_wrong_state() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let call = || Providers::go_online(signed(ALICE), worker);
		assert_noop!(call(), Error::<Test>::WrongState);
		put_into(worker, WorkerState::Rented);
		assert_noop!(call(), Error::<Test>::WorkerRented);
		put_into(worker, WorkerState::Suspended);
		assert_noop!(call(), Error::<Test>::WorkerSuspended);
	});
}

#[test]
fn go_online_fails_where_the_worker_is_due_already() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::AlreadyDue
		);
		let round = Popw::start_round(false);
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::CheckRunning
		);
		assert!(Popw::attest(worker, round));
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::CheckRunning
		);
	});
}

#[test]
fn go_online_helps_a_worker_that_missed_its_round_unnoticed() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(state(worker), WorkerState::Online);
	});
}

#[test]
fn go_online_fails_under_the_minimum_of_today() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		BaseStake::set(&(BASE + 1));
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
		assert_ok!(Providers::go_online(signed(ALICE), worker));
	});
}

#[test]
fn failed_verifications_double_the_delay() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		for delay in [1, 2, 4, 8] {
			let round = record(worker).forced.unwrap().round;
			while Popw::next_round() < round {
				let early = Popw::start_round(false);
				assert_eq!(Popw::due(worker, early), None);
			}
			let proved = Popw::spot_check(worker, online(POOR));
			assert_eq!(proved.idle, 0);
			assert_eq!(state(worker), WorkerState::Pending);
			assert_eq!(record(worker).forced, None);

			let next = Popw::next_round();
			assert_ok!(Providers::go_online(signed(ALICE), worker));
			assert_eq!(
				record(worker).forced,
				Some(Forced {
					round: next + 2 * delay,
					verify_only: true
				})
			);
			assert_noop!(
				Providers::go_online(signed(ALICE), worker),
				Error::<Test>::AlreadyDue
			);
		}
		// A success resets the delay.
		while Popw::next_round() < record(worker).forced.unwrap().round {
			Popw::start_round(false);
		}
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!((record(worker).failures, record(worker).retry_from), (0, 0));
	});
}

#[test]
fn the_delay_is_bounded() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Providers::mutate(worker, |record| {
			record.failures = u8::MAX;
			Providers::delay_verification(record);
			assert_eq!(record.retry_from, 2 * 4_096);
			assert_eq!(record.failures, u8::MAX);
			Ok(())
		})
		.unwrap();
	});
}
