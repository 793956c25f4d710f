//! `settle`, and every other touch that settles.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, assert_storage_noop};
use kaisar_primitives::*;
use sp_runtime::{DispatchError, FixedU128};

fn settle(pool: PoolId) -> sp_runtime::DispatchResult {
	Rewards::settle(RuntimeOrigin::signed(STRANGER), pool)
}

#[test]
fn anyone_settles_a_worker() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		prove(1, 30, 0);
		next_epoch();
		events();
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(0)),
			emission(EPOCH, 50) / 4
		);
		assert_ok!(settle(PoolId::Worker(0)));
		let reward = emission(EPOCH, 50) / 4;
		assert_eq!(
			events(),
			[Event::Settled {
				pool: PoolId::Worker(0),
				epoch: 0,
				reward,
				carried: 0
			}]
		);
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), reward);
		assert_eq!(Owed::<Test>::get(Pot::Providers), reward);
		assert_eq!(Epochs::<Test>::get(0).unwrap().providers_left, 3 * reward);
		// What is over is closed first.
		assert_eq!(TOUCHED.take(), [0]);
	});
}

#[test]
fn settling_again_changes_nothing() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		seats(0, 1, 0);
		assert_storage_noop!(settle(PoolId::Worker(0)).unwrap());
		next_epoch();
		assert_ok!(settle(PoolId::Worker(0)));
		assert_ok!(settle(PoolId::Checker(0)));
		events();
		assert_storage_noop!(settle(PoolId::Worker(0)).unwrap());
		assert_storage_noop!(settle(PoolId::Checker(0)).unwrap());
		// A pool that never scored.
		assert_storage_noop!(settle(PoolId::Worker(3)).unwrap());
		assert_storage_noop!(settle(PoolId::Checker(3)).unwrap());
		assert!(events().is_empty());
	});
}

#[test]
fn fails_for_unknown_pools_and_unsigned() {
	ExtBuilder::default().build_and_execute(|| {
		assert_noop!(
			settle(PoolId::Worker(1_000_000)),
			Error::<Test>::UnknownPool
		);
		assert_noop!(settle(PoolId::Checker(99)), Error::<Test>::UnknownPool);
		assert_noop!(
			Rewards::settle(RuntimeOrigin::none(), PoolId::Worker(0)),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn an_operators_reward_goes_to_its_account() {
	ExtBuilder::default().build_and_execute(|| {
		seats(0, 3, 0);
		seats(1, 9, 0);
		next_epoch();
		events();
		let all = Epochs::<Test>::get(0).unwrap().checker_reward;
		assert_eq!(Rewards::claimable(OPERATORS), all / 4);
		assert_ok!(settle(PoolId::Checker(0)));
		assert_eq!(CheckerClaims::<Test>::get(OPERATORS), all / 4);
		assert_eq!(Rewards::claimable(OPERATORS), all / 4);
		assert_eq!(
			events(),
			[Event::Settled {
				pool: PoolId::Checker(0),
				epoch: 0,
				reward: all / 4,
				carried: 0
			}]
		);
	});
}

#[test]
fn the_next_score_settles_the_last_epoch() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		seats(0, 1, 0);
		next_epoch();
		prove(0, 5, 0);
		seats(0, 1, 0);
		assert_eq!(
			WorkerScores::<Test>::get(0).unwrap().claimable,
			emission(EPOCH, 50)
		);
		assert_eq!(WorkerScores::<Test>::get(0).unwrap().poc, score_of(5));
		assert!(CheckerClaims::<Test>::get(OPERATORS) > 0);
		next_epoch();
		assert_ok!(settle(PoolId::Worker(0)));
		assert_eq!(
			WorkerScores::<Test>::get(0).unwrap().claimable,
			emission(2 * EPOCH, 50)
		);
	});
}

#[test]
fn a_change_of_the_pool_settles_it() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 10, 0);
		seats(0, 1, 0);
		next_epoch();
		for pool in [PoolId::Worker(0), PoolId::Checker(0), PoolId::Worker(77)] {
			assert_ok!(Rewards::on_change(pool, Partners::terms(pool), None));
		}
		assert_eq!(Owed::<Test>::get(Pot::Providers), emission(EPOCH, 50));
		assert!(Owed::<Test>::get(Pot::Checkers) > 0);
		// The registries touch the worker themselves.
		assert!(TOUCHED.take().is_empty());
	});
}

#[test]
fn demand_pays_no_more_than_its_fees() {
	ExtBuilder::default().build_and_execute(|| {
		// Both rented all the time: three quarters of the reward are for demand.
		prove(0, 50, 50);
		prove(1, 50, 50);
		assert_ok!(Rewards::note_protocol_fee(0, KAI));
		assert_ok!(Rewards::note_protocol_fee(0, 2 * KAI));
		assert_ok!(Rewards::note_protocol_fee(1, 1_000 * KAI));
		next_epoch();
		events();
		let half = emission(EPOCH, 50) / 2;
		let (poc, pod) = (half / 4, half * 3 / 4);
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), poc + 3 * KAI);
		assert_ok!(settle(PoolId::Worker(0)));
		assert_ok!(settle(PoolId::Worker(1)));
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: PoolId::Worker(0),
					epoch: 0,
					reward: poc + 3 * KAI,
					carried: pod - 3 * KAI
				},
				Event::Settled {
					pool: PoolId::Worker(1),
					epoch: 0,
					reward: poc + pod,
					carried: 0
				},
			]
		);
		// The excess is the running epoch's.
		assert_eq!(Carry::<Test>::get(Pot::Providers), pod - 3 * KAI);
		assert_eq!(Epochs::<Test>::get(0).unwrap().providers_left, 0);
	});
}

#[test]
fn fees_count_in_their_epoch_alone() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(Rewards::note_protocol_fee(0, 1_000 * KAI));
		next_epoch();
		prove(0, 50, 50);
		next_epoch();
		assert_ok!(settle(PoolId::Worker(0)));
		// The first epoch's reward carried over; PoC's quarter of both is paid.
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(0)),
			emission(2 * EPOCH, 50) / 4
		);
	});
}

#[test]
fn the_limit_is_the_epochs_own() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 50, 50);
		assert_ok!(Rewards::note_protocol_fee(0, KAI));
		PodFeeCap::set(FixedU128::from_u32(2));
		next_epoch();
		PodFeeCap::set(FixedU128::from_u32(0));
		assert_ok!(settle(PoolId::Worker(0)));
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(0)),
			emission(EPOCH, 50) / 4 + 2 * KAI
		);
	});
}

#[test]
fn boundary_a_score_expires_with_the_history() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 1, 0);
		seats(0, 1, 0);
		prove(1, 1, 0);
		(0..4).for_each(|_| next_epoch());
		assert_ok!(settle(PoolId::Worker(1)));
		assert!(Rewards::claimable_from(PoolId::Worker(1)) > 0);
		next_epoch();
		events();
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), 0);
		assert_ok!(settle(PoolId::Worker(0)));
		assert_ok!(settle(PoolId::Checker(0)));
		assert_eq!(
			events(),
			[
				Event::Expired {
					pool: PoolId::Worker(0),
					epoch: 0
				},
				Event::Expired {
					pool: PoolId::Checker(0),
					epoch: 0
				},
			]
		);
		// What was settled in time never expires.
		(0..6).for_each(|_| next_epoch());
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(1)),
			emission(EPOCH, 50) / 2
		);
	});
}

#[test]
fn a_score_beyond_its_total_pays_nothing() {
	// No call can bring that about: the state is broken by hand.
	ExtBuilder::default().build().execute_with(|| {
		prove(0, 10, 0);
		next_epoch();
		Epochs::<Test>::mutate(0, |totals| totals.as_mut().unwrap().scores.poc = 1);
		TOUCHED.take();
		assert_noop!(settle(PoolId::Worker(0)), Error::<Test>::Overflow);
		assert!(Rewards::do_try_state().is_err());
	});
}
