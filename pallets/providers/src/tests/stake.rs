use super::*;

#[test]
fn moves_into_the_pot_and_settles_first() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		events();
		Popw::changes();
		assert_ok!(Providers::stake(signed(ALICE), worker, 50 * KAI));
		assert_eq!(record(worker).pool.own, MINIMUM + 50 * KAI);
		assert_eq!(pot(), MINIMUM + 50 * KAI);
		assert_eq!(
			events(),
			vec![Event::Staked {
				worker,
				who: ALICE,
				amount: 50 * KAI
			}]
		);
		assert_eq!(Popw::changes(), vec![(PoolId::Worker(worker), None)]);
	});
}

#[test]
fn boundary_of_the_cap() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let room = MAX_STAKE - MINIMUM;
		assert_noop!(
			Providers::stake(signed(ALICE), worker, room + 1),
			Error::<Test>::StakeCapReached
		);
		assert_ok!(Providers::stake(signed(ALICE), worker, room));
		assert_noop!(
			Providers::stake(signed(ALICE), worker, 1),
			Error::<Test>::StakeCapReached
		);
	});
}

#[test]
fn delegated_stake_counts_for_the_cap_but_not_against_the_minimum() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, MAX_STAKE - MINIMUM));
		// As a slash may leave it.
		Providers::change_pool(worker, &mut record(worker), |record| {
			record.pool.own -= 1;
			Ok(())
		})
		.unwrap();
		assert_noop!(
			Providers::stake(signed(ALICE), worker, 2),
			Error::<Test>::StakeCapReached
		);
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
	});
}

#[test]
fn nothing_fails() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::stake(signed(ALICE), worker, 0),
			Error::<Test>::ZeroAmount
		);
		assert_noop!(
			Providers::unstake(signed(ALICE), worker, 0),
			Error::<Test>::ZeroAmount
		);
	});
}

#[test]
fn more_than_there_is_fails() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let left = Balances::free_balance(ALICE) - KAI;
		assert_ok!(Balances::transfer_allow_death(signed(ALICE), BOB, left));
		let call = RuntimeCall::Providers(Call::stake {
			worker,
			amount: 2 * KAI,
		});
		assert_noop!(dispatch(call, signed(ALICE)), TokenError::FundsUnavailable);
		assert_noop!(
			Providers::unstake(signed(ALICE), worker, MINIMUM + 1),
			Error::<Test>::InsufficientStake
		);
	});
}

#[test]
fn topping_up_ends_a_suspension() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		put_into(worker, WorkerState::Suspended);
		Providers::mutate(worker, |record| {
			record.pool.own = MINIMUM - 10;
			Ok(())
		})
		.unwrap();
		assert_ok!(Providers::stake(signed(ALICE), worker, 9));
		assert_eq!(state(worker), WorkerState::Suspended);
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
		assert_eq!(state(worker), WorkerState::Offline);
	});
}

#[test]
fn unstaking_keeps_the_minimum() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::unstake(signed(ALICE), worker, 1),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(Providers::stake(signed(ALICE), worker, 10));
		assert_noop!(
			Providers::unstake(signed(ALICE), worker, 11),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(Providers::unstake(signed(ALICE), worker, 10));
	});
}

#[test]
fn unbonds_for_its_time_and_is_paid_out() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(ALICE), worker, 30 * KAI));
		events();
		Popw::changes();
		let until = Providers::now() + UNBONDING;
		assert_ok!(Providers::unstake(signed(ALICE), worker, 10 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, 5 * KAI));
		assert_eq!(Popw::changes().len(), 2);
		assert_eq!(
			events(),
			vec![
				Event::Unstaked {
					worker,
					who: ALICE,
					amount: 10 * KAI,
					until
				},
				Event::Unstaked {
					worker,
					who: ALICE,
					amount: 5 * KAI,
					until
				},
			]
		);
		// Stake due in the same block is one piece.
		assert_eq!(Unbondings::<Test>::get(worker, ALICE).len(), 1);
		run_to(Providers::now() + 1);
		assert_ok!(Providers::unstake(signed(ALICE), worker, KAI));
		assert_eq!(record(worker).pool.own_unbonding.part.value, 16 * KAI);

		run_to(until - 1);
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::NothingToWithdraw
		);
		run_to(until);
		let before = Balances::free_balance(ALICE);
		events();
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Balances::free_balance(ALICE), before + 15 * KAI);
		assert_eq!(
			events(),
			vec![Event::Withdrawn {
				worker,
				who: ALICE,
				amount: 15 * KAI
			}]
		);
		assert_eq!(record(worker).pool.own_unbonding.part.value, KAI);
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::NothingToWithdraw
		);
		run_to(until + 1);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert!(!Unbondings::<Test>::contains_key(worker, ALICE));
		assert_eq!(
			record(worker).pool,
			StakePool {
				own: MINIMUM + 14 * KAI,
				..Default::default()
			}
		);
	});
}

#[test]
fn withdrawing_fails_for_who_has_nothing_there() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_noop!(
			Providers::withdraw_unbonded(signed(BOB), worker),
			Error::<Test>::NothingToWithdraw
		);
	});
}

#[test]
fn unbonding_outlasts_the_deferral_by_a_day() {
	ExtBuilder.build_and_execute(|| {
		assert_eq!(Providers::unbonding_period(), UNBONDING);
		Deferral::set(&(6 * DAYS));
		assert_eq!(Providers::unbonding_period(), UNBONDING);
		Deferral::set(&(6 * DAYS + 1));
		assert_eq!(Providers::unbonding_period(), UNBONDING + 1);
	});
}

/// No value of the parameters postpones a slash's due block, or the withdrawal of stake, indefinitely.
#[test]
fn boundary_of_periods() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Deferral::set(&BlockNumber::MAX);
		UnbondingBlocks::set(&BlockNumber::MAX);
		assert_eq!(Providers::unbonding_period(), 366 * DAYS);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		let out = Providers::now() + 366 * DAYS;
		assert_ok!(Providers::slash(
			RuntimeOrigin::root(),
			worker,
			SlashLevel::Two
		));
		run_to(Providers::now() + 365 * DAYS);
		assert_ok!(Providers::apply_slash(signed(BOB), 0));
		run_to(out);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Providers::worker(worker), None);
	});
}

#[test]
fn a_shorter_period_does_not_overtake() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(ALICE), worker, 10));
		assert_ok!(Providers::unstake(signed(ALICE), worker, 5));
		let until = Providers::now() + UNBONDING;
		UnbondingBlocks::set(&DAYS);
		assert_ok!(Providers::unstake(signed(ALICE), worker, 5));
		let queue = Unbondings::<Test>::get(worker, ALICE);
		assert_eq!(
			queue.into_inner(),
			vec![Unbonding {
				shares: 10,
				generation: 0,
				until
			}]
		);
	});
}
