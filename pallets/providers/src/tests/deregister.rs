use super::*;

#[test]
fn deposit_back_at_once_stake_unbonds_record_goes_last() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		events();
		Popw::changes();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		let until = Providers::now() + UNBONDING;
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![
				Event::Unstaked {
					worker,
					who: ALICE,
					amount: MINIMUM,
					until
				},
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Online,
					new: WorkerState::Offline,
					since
				},
				Event::WorkerDeregistered {
					worker,
					owner: ALICE
				},
			]
		);
		assert_eq!(Popw::changes(), vec![(PoolId::Worker(worker), None)]);
		assert_eq!(Balances::reserved_balance(ALICE), 0);
		assert_eq!(Balances::free_balance(ALICE), FUNDS - FEE - MINIMUM);
		assert_eq!(Counts::<Test>::get(), StateCounts::default());
		assert!(Providers::workers_of(ALICE, None, 10).is_empty());
		// Its keys are free.
		assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));

		run_to(until - 1);
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::NothingToWithdraw
		);
		run_to(until);
		events();
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(
			events(),
			vec![
				Event::Withdrawn {
					worker,
					who: ALICE,
					amount: MINIMUM
				},
				Event::WorkerRemoved { worker },
			]
		);
		assert_eq!(Balances::free_balance(ALICE), FUNDS - FEE);
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::info(worker, since),
			None
		);
		// Rewards still finds the owner.
		assert_eq!(
			<Providers as Pools<AccountId>>::owner(PoolId::Worker(worker)),
			Some(ALICE)
		);
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::UnknownWorker
		);
	});
}

#[test]
fn a_check_that_runs_goes_on() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		// Its keys are needed until the check is closed.
		assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
		assert_eq!(Popw::close(worker, online(PROFILE)).idle, INTERVAL);
		assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));
		assert_eq!(state(worker), WorkerState::Offline);
	});
}

#[test]
fn a_check_that_is_due_goes_on_and_finds_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		Popw::start_round(false);
		events();
		assert!(Popw::absent(worker, census));
		assert!(matches!(
			events()[..],
			[
				Event::FoundOffline {
					state: WorkerState::Offline,
					attested: false,
					..
				},
				Event::SlashQueued { .. }
			]
		));
	});
}

#[test]
fn what_unbonds_stays_while_a_check_goes_on() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		// The votes of this census arrive for longer than stake unbonds.
		let census = Popw::start_long_census(UNBONDING);
		assert!(Popw::attest(worker, census));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING);
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::CheckRunning
		);
		run_to(Popw::start_of(census) + 3 * UNBONDING + 1);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert!(!Popw::is_open(worker));
	});
}

#[test]
fn in_every_state_but_rented() {
	ExtBuilder.build_and_execute(|| {
		for (seed, state) in [
			(1, WorkerState::Pending),
			(2, WorkerState::Online),
			(3, WorkerState::Offline),
			(4, WorkerState::Suspended),
		] {
			let worker = register(ALICE, seed);
			put_into(worker, state);
			assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		}
		let worker = register(ALICE, 5);
		put_into(worker, WorkerState::Rented);
		assert_noop!(
			Providers::deregister_worker(signed(ALICE), worker),
			Error::<Test>::WorkerRented
		);
	});
}

#[test]
fn a_full_queue_does_not_stand_in_the_way() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(ALICE), worker, 100));
		for _ in 1..MAX_UNBONDING {
			run_to(Providers::now() + 1);
			assert_ok!(Providers::unstake(signed(ALICE), worker, 1));
		}
		run_to(Providers::now() + 1);
		assert_noop!(
			Providers::unstake(signed(ALICE), worker, 1),
			Error::<Test>::TooManyUnbondings
		);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(pot(), 0);
	});
}

#[test]
fn a_worker_whose_stake_is_gone_leaves_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		// As after a slash of everything.
		Providers::mutate(worker, |record| {
			record.pool = StakePool::default();
			Ok(())
		})
		.unwrap();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		assert_eq!(Providers::worker(worker), None);
		assert!(DepartedWorkers::<Test>::contains_key(worker));
	});
}

#[test]
fn a_round_that_is_about_to_start_finds_the_worker_by_its_keys() {
	for blocks in 1..NOTICE {
		ExtBuilder.build_and_execute(|| {
			let worker = register_online(ALICE, 1);
			Popw::pass();
			let spot = Popw::approach(blocks);
			assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
			// Its node finds it by its key, and the key cannot be taken meanwhile.
			let found = || <Providers as WorkerRegistry<AccountId>>::by_key(&keys(1).worker);
			assert_eq!(found(), Some(worker));
			assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
			assert_eq!(Popw::start_round(true), spot);
			let census = spot + 1;
			assert_eq!(Popw::due(worker, census), Some(false));
			assert_eq!(found(), Some(worker));
			assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
			// So it attests and is paid, and nothing is slashed.
			assert!(Popw::attest(worker, census));
			assert_eq!(Popw::close(worker, online(PROFILE)).idle, INTERVAL);
			assert!(!record(worker).queued.is_pending());
			assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));
			assert_eq!(found(), Some(worker + 1));
		});
	}
}

#[test]
fn a_check_that_closes_leaves_the_keys_to_the_round_that_is_about_to_start() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let first = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, first));
		let second = Popw::approach(2) + 1;
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		Popw::close(worker, online(PROFILE));
		assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
		Popw::start_round(true);
		assert!(Popw::attest(worker, second));
	});
}

#[test]
fn a_marked_worker_keeps_its_keys_for_the_round_of_its_mark() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let spot = Popw::approach(3);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
		Popw::start_round(false);
		assert!(Popw::attest(worker, spot));
		Popw::close(worker, online(PROFILE));
		assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));
	});
}

#[test]
fn the_same_machine_comes_back_when_nobody_reported_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		let census = Popw::start_round(true) + 1;
		assert!(Popw::due(worker, census).is_some());
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		// It does not attest, and is not reported while that is possible.
		run_to(Popw::start_of(census) + 3 * PHASE);
		assert_noop!(
			try_register(ALICE, 1, SPEC, MINIMUM),
			Error::<Test>::KeyInUse
		);
		run_to(Providers::now() + 1);
		assert_ok!(try_register(ALICE, 1, SPEC, MINIMUM));
		// The old record is removed with its stake, but the new worker's keys stay.
		run_to(Providers::now() + UNBONDING);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::by_key(&keys(1).worker),
			Some(worker + 1)
		);
	});
}
