//! Tests of `settle`, and of every other touch that settles.

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
		// An ended check is closed first.
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
		assert_eq!(WorkerScores::<Test>::get(0).unwrap().idle, score_of(5));
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
fn rented_blocks_pay_no_more_than_half_of_their_fees() {
	ExtBuilder::default().build_and_execute(|| {
		// Two rented all the time, one idle: the idle one has one unit of nine.
		prove(0, 50, 50);
		prove(1, 50, 50);
		prove(2, 50, 0);
		assert_ok!(Rewards::note_protocol_fee(0, KAI));
		assert_ok!(Rewards::note_protocol_fee(0, 3 * KAI));
		assert_ok!(Rewards::note_protocol_fee(1, 100 * KAI));
		assert_eq!(Current::<Test>::get().fees, 104 * KAI);
		next_epoch();
		events();
		let all = emission(EPOCH, 50);
		let totals = Rewards::epoch_totals(0).unwrap();
		assert_eq!((totals.rent_reward, totals.fees), (52 * KAI, 104 * KAI));
		assert_eq!(totals.idle_reward, all - 52 * KAI);
		// The fees are short overall, so each is paid by its own, and the idle one gets the rest at once.
		for (worker, reward) in [(0, 2 * KAI), (1, 50 * KAI), (2, all - 52 * KAI)] {
			let pool = PoolId::Worker(worker);
			assert_eq!(Rewards::claimable_from(pool), reward);
			assert_ok!(settle(pool));
			assert_eq!(
				events(),
				[Event::Settled {
					pool,
					epoch: 0,
					reward,
					carried: 0
				}]
			);
		}
		assert_eq!(Carry::<Test>::get(Pot::Providers), 0);
		assert_eq!(Epochs::<Test>::get(0).unwrap().providers_left, 0);
	});
}

#[test]
fn what_one_leaves_of_its_fees_is_not_anothers() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 50, 50);
		prove(1, 50, 50);
		prove(2, 50, 0);
		assert_ok!(Rewards::note_protocol_fee(0, 4 * KAI));
		assert_ok!(Rewards::note_protocol_fee(1, 10_000 * KAI));
		// Fees without a score are only part of the sum.
		assert_ok!(Rewards::note_protocol_fee(3, 10_000 * KAI));
		next_epoch();
		events();
		// Each unit is worth a ninth; fees are more than enough overall.
		let unit = emission(EPOCH, 50) / 9;
		let left = unit * 4 - 2 * KAI;
		for (worker, reward, carried) in [
			(0, 2 * KAI, left),
			(1, 4 * unit, 0),
			(2, unit, 0),
			(3, 0, 0),
		] {
			let pool = PoolId::Worker(worker);
			assert_ok!(settle(pool));
			let [
				Event::Settled {
					reward: paid,
					carried: over,
					..
				},
			] = events()[..]
			else {
				panic!("it is settled once");
			};
			near(paid, reward);
			near(over, carried);
		}
		// The excess belongs to the running epoch.
		near(Carry::<Test>::get(Pot::Providers), left);
		assert!(Epochs::<Test>::get(0).unwrap().providers_left < 8);
	});
}

#[test]
fn fees_count_in_their_epoch_alone() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(Rewards::note_protocol_fee(0, 1_000 * KAI));
		next_epoch();
		assert_eq!(Current::<Test>::get().fees, 0);
		prove(0, 50, 50);
		prove(1, 50, 0);
		next_epoch();
		assert_ok!(settle(PoolId::Worker(0)));
		assert_eq!(Rewards::claimable_from(PoolId::Worker(0)), 0);
		// The first epoch's reward carried over.
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(1)),
			emission(2 * EPOCH, 50)
		);
	});
}

#[test]
fn the_limit_is_the_epochs_own_and_never_above_the_fees() {
	ExtBuilder::default().build_and_execute(|| {
		for (cap, twentieths) in [((1, 20), 1), ((1, 1), 20), ((2, 1), 20), ((0, 1), 0)] {
			let before = Rewards::claimable_from(PoolId::Worker(0));
			prove(0, 50, 50);
			assert_ok!(Rewards::note_protocol_fee(0, 20 * KAI));
			PodFeeCap::set(FixedU128::from(cap));
			next_epoch();
			PodFeeCap::set(FixedU128::from_u32(0));
			assert_ok!(settle(PoolId::Worker(0)));
			assert_eq!(
				Rewards::claimable_from(PoolId::Worker(0)) - before,
				twentieths * KAI
			);
		}
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
		// A reward settled in time never expires.
		(0..6).for_each(|_| next_epoch());
		assert_eq!(
			Rewards::claimable_from(PoolId::Worker(1)),
			emission(EPOCH, 50) / 2
		);
	});
}

#[test]
fn a_score_beyond_its_total_pays_nothing() {
	// No call can cause that: the test corrupts the state.
	ExtBuilder::default().build().execute_with(|| {
		prove(0, 10, 0);
		next_epoch();
		Epochs::<Test>::mutate(0, |totals| totals.as_mut().unwrap().scores.idle = 1);
		TOUCHED.take();
		assert_noop!(settle(PoolId::Worker(0)), Error::<Test>::Overflow);
		assert!(Rewards::do_try_state().is_err());
	});
}
