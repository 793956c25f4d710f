//! Tests of the members that share an epoch's reward: those with shares held for the whole of it.

use crate::{mock::*, *};
use frame_support::{
	assert_ok,
	traits::fungible::{Inspect, Mutate},
};
use kaisar_primitives::*;
use sp_runtime::Perbill;

const WORKER: PoolId = PoolId::Worker(0);
const OPERATOR: PoolId = PoolId::Checker(0);

fn settle(pool: PoolId) {
	assert_ok!(Rewards::settle(RuntimeOrigin::signed(STRANGER), pool));
}

/// Returns the reward of the only worker that scores: all of an epoch.
fn reward() -> Balance {
	emission(EPOCH, 50)
}

/// Proves time of worker 0 alone, and ends the epoch.
fn epoch() {
	prove(0, 10, 0);
	next_epoch();
	events();
}

fn by(who: AccountId) -> Balance {
	Rewards::claimable_by(WORKER, who)
}

fn owners() -> Balance {
	Rewards::claimable_from(WORKER)
}

#[test]
fn what_is_added_counts_from_the_next_epoch() {
	ExtBuilder::default().build_and_execute(|| {
		// The very first block of the epoch is too late.
		next_epoch();
		stake(0, ANNA, 100 * KAI);
		epoch();
		assert_eq!(by(ANNA), 0);
		assert_eq!(
			owners(),
			2 * reward(),
			"nobody was eligible: the owner's, with what carried over"
		);
		epoch();
		// The commission is 10 %, and the owner has nothing at stake.
		near(by(ANNA), reward() / 10);
		assert_eq!(owners(), 3 * reward() - reward() / 10);
	});
}

#[test]
fn what_is_there_at_genesis_counts_from_the_first_epoch() {
	let mut ext = ExtBuilder::default().build();
	ext.execute_with(|| {
		System::set_block_number(0);
		delegate(0, ANNA, 3);
		System::set_block_number(1);
		delegate(0, BEN, 3);
		let members = Rewards::pool_members(OPERATOR).unwrap();
		assert_eq!(
			(members.shares, members.eligible, members.partial),
			(6, 3, 1)
		);
		assert_ok!(Rewards::do_try_state());
	});
}

#[test]
fn what_is_taken_away_loses_the_epochs_part() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		stake(0, ANNA, 300 * KAI);
		stake(0, BEN, 100 * KAI);
		next_epoch();
		// Anna takes half of hers: in that epoch she shares by the rest.
		assert_eq!(unstake(0, ANNA, 150 * KAI), 150 * KAI);
		epoch();
		let all = 2 * reward();
		near(by(ANNA), all * 150 / 250);
		near(by(BEN), all * 100 / 250);
		// Shares that she adds do not make up for it, and withdrawing those costs nothing more.
		stake(0, ANNA, 500 * KAI);
		unstake(0, ANNA, 500 * KAI);
		unstake(0, BEN, 100 * KAI);
		epoch();
		near(by(ANNA), all * 150 / 250 + reward());
		near(by(BEN), all * 100 / 250);
		assert_eq!(owners(), 0);
	});
}

#[test]
fn who_leaves_and_comes_back_is_new() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, 300 * KAI);
		next_epoch();
		unstake(0, ANNA, 300 * KAI);
		assert!(
			Rewards::pool_members(WORKER).is_none(),
			"with the last member the pool is forgotten"
		);
		stake(0, ANNA, 300 * KAI);
		epoch();
		assert_eq!(by(ANNA), 0);
		assert_eq!(owners(), 2 * reward());
	});
}

#[test]
fn a_worker_without_a_score_pays_nobody_and_time_goes_on() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		stake(0, ANNA, 300 * KAI);
		(0..3).for_each(|_| next_epoch());
		stake(0, BEN, 300 * KAI);
		epoch();
		// Anna held shares all the time, though nobody touched the pool for three epochs.
		near(by(ANNA), 4 * reward());
		assert_eq!(by(BEN), 0);
		epoch();
		near(by(ANNA), 4 * reward() + reward() / 2);
		near(by(BEN), reward() / 2);
	});
}

#[test]
fn the_owner_shares_by_its_stake() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 50);
		own_stake(0, 600 * KAI);
		stake(0, ANNA, 400 * KAI);
		next_epoch();
		epoch();
		let all = 2 * reward();
		near(by(ANNA), all / 2 * 400 / 1_000);
		assert_eq!(owners(), all - all / 2 * 400 / 1_000);
	});
}

#[test]
fn an_owner_cannot_stake_for_the_epochs_last_block() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 300 * KAI);
		next_epoch();
		own_stake(0, 50_000 * KAI);
		epoch();
		near(by(ANNA), 2 * reward() * 3 / 4);
		// Nor take it out in between: the least counts. Stake held all the time counts.
		own_stake(0, 200 * KAI);
		own_stake(0, 700 * KAI);
		let before = by(ANNA);
		epoch();
		near(by(ANNA) - before, reward() * 3 / 5);
		let before = by(ANNA);
		epoch();
		near(by(ANNA) - before, reward() * 3 / 10);
	});
}

#[test]
fn values_are_of_the_epochs_end() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 300 * KAI);
		next_epoch();
		prove(0, 10, 0);
		// All lose a half, then the owner the rest; the number of shares stays.
		slash(0, Perbill::from_percent(50));
		own_stake(0, 0);
		epoch();
		near(by(ANNA), 2 * reward());
		own_stake(0, 150 * KAI);
		next_epoch();
		epoch();
		near(by(ANNA), 2 * reward() + 2 * reward() / 2);
		// A slash in the next epoch does not change the one that is over.
		let before = by(ANNA);
		prove(0, 10, 0);
		next_epoch();
		slash(0, Perbill::from_percent(50));
		near(by(ANNA) - before, reward() / 2);
	});
}

#[test]
fn delegators_who_lost_all_keep_what_was_earned() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 300 * KAI);
		next_epoch();
		prove(0, 10, 0);
		slash(0, Perbill::one());
		epoch();
		// Nobody has anything left: the delegators' part is theirs, not that of the owner who lost their
		// stake.
		near(by(ANNA), 2 * reward());
		assert_eq!(owners(), 0);
		// An owner with new stake beside shares that are worth nothing takes all.
		own_stake(0, 100 * KAI);
		next_epoch();
		epoch();
		near(by(ANNA), 2 * reward());
		assert_eq!(owners(), 2 * reward());
		// A member who returns worthless shares can still claim.
		assert_eq!(unstake(0, ANNA, 300 * KAI), 0);
		near(by(ANNA), 2 * reward());
	});
}

#[test]
fn clearing_worthless_shares_away_takes_nothing_of_what_they_earned() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 300 * KAI);
		stake(0, BEN, 100 * KAI);
		next_epoch();
		prove(0, 10, 0);
		// Cleo joins, and everything is slashed; then somebody clears all shares.
		stake(0, CLEO, 400 * KAI);
		slash(0, Perbill::one());
		for (who, shares) in [(ANNA, 300), (CLEO, 400), (BEN, 100)] {
			assert_eq!(unstake(0, who, shares * KAI), 0);
		}
		// Cleo has nothing to claim.
		assert!(Rewards::member(WORKER, CLEO).is_none());
		let members = Rewards::pool_members(WORKER).unwrap();
		assert_eq!((members.shares, members.eligible), (0, 400 * KAI));
		own_stake(0, 100 * KAI);
		epoch();
		near(by(ANNA), 2 * reward() * 3 / 4);
		near(by(BEN), 2 * reward() / 4);
		assert_eq!(owners(), 0);
		// They earn nothing in later epochs.
		epoch();
		near(by(ANNA), 2 * reward() * 3 / 4);
		assert_eq!(owners(), reward());
		for who in [ANNA, BEN] {
			assert_ok!(Rewards::claim_delegation(
				RuntimeOrigin::signed(who),
				WORKER
			));
		}
		assert!(Rewards::pool_members(WORKER).is_none());
		assert_eq!(
			(
				Members::<Test>::iter().count(),
				Rates::<Test>::iter().count()
			),
			(0, 0)
		);
	});
}

#[test]
fn shares_that_were_worthless_before_the_epoch_earn_nothing_in_it() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 300 * KAI);
		slash(0, Perbill::one());
		own_stake(0, 100 * KAI);
		next_epoch();
		prove(0, 10, 0);
		assert_eq!(unstake(0, ANNA, 300 * KAI), 0);
		epoch();
		assert_eq!((by(ANNA), owners()), (0, 2 * reward()));
	});
}

#[test]
fn a_commission_holds_after_a_whole_epochs_notice() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, 300 * KAI);
		next_epoch();
		let mut before = 0;
		announce(WORKER, Perbill::from_percent(40));
		for percent in [20, 10, 40] {
			epoch();
			// The first epoch's reward had carried over: twice 10 %.
			near(by(ANNA) - before, reward() * percent / 100);
			before = by(ANNA);
		}
		// Settled late, on the terms of its epoch.
		prove(0, 10, 0);
		next_epoch();
		announce(WORKER, Perbill::zero());
		(0..3).for_each(|_| next_epoch());
		near(by(ANNA) - before, reward() * 40 / 100);
	});
}

#[test]
fn licenses_share_the_commission_in_vkai() {
	ExtBuilder::default().build_and_execute(|| {
		commission(OPERATOR, 30);
		delegate(0, ANNA, 2);
		delegate(0, OPERATORS, 1);
		next_epoch();
		delegate(0, BEN, 5);
		seats(0, 9, 1);
		next_epoch();
		let all = Rewards::epoch_totals(1).unwrap().checker_reward;
		let members = all * 3 / 10;
		events();
		settle(OPERATOR);
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: OPERATOR,
					epoch: 1,
					reward: all,
					carried: 0
				},
				Event::MembersRewarded {
					pool: OPERATOR,
					epoch: 1,
					amount: members
				},
			]
		);
		assert_eq!(Rewards::claimable(OPERATORS), all - members);
		// Two of the three licenses held all the time; the third is the operator's own.
		near(Rewards::claimable_by(OPERATOR, ANNA), members * 2 / 3);
		near(Rewards::claimable_by(OPERATOR, OPERATORS), members / 3);
		assert_eq!(Rewards::claimable_by(OPERATOR, BEN), 0);
		assert_eq!(Rewards::pool_members(OPERATOR).unwrap().left, members);
	});
}

#[test]
fn an_operator_that_leaves_takes_nothing_of_its_license_holders() {
	ExtBuilder::default().build_and_execute(|| {
		commission(OPERATOR, 100);
		delegate(0, ANNA, 2);
		next_epoch();
		seats(0, 5, 0);
		// In the last block of the epoch it deregisters, and registers again.
		let again = reregister(0);
		assert_eq!(again, 10);
		// A check that was running is closed after that.
		seats(0, 1, 0);
		next_epoch();
		let all = Rewards::epoch_totals(1).unwrap().checker_reward;
		settle(OPERATOR);
		near(Rewards::claimable_by(OPERATOR, ANNA), all);
		assert_eq!(Rewards::claimable(OPERATORS), 0);
		assert_ok!(Rewards::claim_delegation(
			RuntimeOrigin::signed(ANNA),
			OPERATOR
		));
		// The new number is another pool, in which all members are new.
		delegate(again, ANNA, 2);
		seats(again, 1, 0);
		next_epoch();
		assert_eq!(Rewards::claimable_by(PoolId::Checker(again), ANNA), 0);
		let all = Rewards::epoch_totals(2).unwrap().checker_reward;
		assert_eq!(Rewards::claimable(OPERATORS), all);
	});
}

#[test]
fn a_worker_that_is_gone_still_pays() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		own_stake(0, 100 * KAI);
		stake(0, ANNA, 100 * KAI);
		next_epoch();
		epoch();
		// All stake leaves, and the registry removes the pool.
		own_stake(0, 0);
		unstake(0, ANNA, 100 * KAI);
		assert_ok!(Rewards::on_change(WORKER, Partners::terms(WORKER), None));
		POOLS.with_borrow_mut(|pools| {
			pools.remove(&WORKER);
		});
		next_epoch();
		near(by(ANNA), reward());
		assert_eq!(owners(), reward());
		assert_ok!(Rewards::claim_delegation(
			RuntimeOrigin::signed(ANNA),
			WORKER
		));
		assert_ok!(Rewards::claim_worker(RuntimeOrigin::signed(OWNERS), 0));
		assert!(Rewards::pool_members(WORKER).is_none());
		assert_eq!(Owed::<Test>::get(Pot::Providers), 0);
	});
}

#[test]
fn an_expired_score_pays_members_nothing_and_they_stay_members() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		stake(0, ANNA, 100 * KAI);
		next_epoch();
		stake(0, BEN, 100 * KAI);
		prove(0, 10, 0);
		(0..6).for_each(|_| next_epoch());
		settle(WORKER);
		assert_eq!((by(ANNA), by(BEN)), (0, 0));
		let carried = Carry::<Test>::get(Pot::Providers);
		epoch();
		let shared = carried + reward();
		near(by(ANNA), shared / 2);
		near(by(BEN), shared / 2);
	});
}

#[test]
fn rates_are_noted_for_who_needs_them_and_then_forgotten() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		stake(0, ANNA, 100 * KAI);
		next_epoch();
		epoch();
		// Both have shares that count from the next epoch.
		stake(0, ANNA, 100 * KAI);
		stake(0, BEN, 200 * KAI);
		assert_eq!(Rewards::pool_members(WORKER).unwrap().partial, 2);
		epoch();
		settle(WORKER);
		let noted = Rates::<Test>::get(WORKER, 2).unwrap();
		assert_eq!((noted.members, Rates::<Test>::iter().count()), (2, 1));
		epoch();
		epoch();
		assert_ok!(Rewards::claim_delegation(
			RuntimeOrigin::signed(ANNA),
			WORKER
		));
		assert_eq!(Rates::<Test>::get(WORKER, 2).unwrap().members, 1);
		// She earned the first two epochs alone, and half of the next two.
		near(Balances::balance(&ANNA), 3 * reward() + reward());
		assert_ok!(Rewards::claim_delegation(
			RuntimeOrigin::signed(BEN),
			WORKER
		));
		assert_eq!(Rates::<Test>::iter().count(), 0);
		near(Balances::balance(&BEN), reward());
		// A member who withdraws shares added in the same epoch needs no rate.
		stake(0, BEN, 7 * KAI);
		unstake(0, BEN, 7 * KAI);
		assert_eq!(Rewards::pool_members(WORKER).unwrap().partial, 0);
		epoch();
		settle(WORKER);
		assert_eq!(Rates::<Test>::iter().count(), 0);
	});
}

#[test]
fn fractions_are_kept_and_what_is_left_in_the_end_carries_over() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		// Three equal members, and rewards not divisible by three.
		for who in [ANNA, BEN, CLEO] {
			assert_ok!(Balances::mint_into(&who, KAI));
			stake(0, who, KAI);
		}
		next_epoch();
		let mut put = 0;
		for n in 0..7 {
			let owed = Owed::<Test>::get(Pot::Providers);
			assert_ok!(Rewards::put(Pot::Providers, &RICH, 1_000 + n));
			epoch();
			settle(WORKER);
			put += Owed::<Test>::get(Pot::Providers) - owed;
			// Anna claims each time, the others at the end: nobody loses by it.
			assert_ok!(Rewards::claim_delegation(
				RuntimeOrigin::signed(ANNA),
				WORKER
			));
		}
		assert_ne!(put % 3, 0);
		for who in [BEN, CLEO] {
			assert_ok!(Rewards::claim_delegation(
				RuntimeOrigin::signed(who),
				WORKER
			));
		}
		let paid = [ANNA, BEN, CLEO].map(|who| Balances::balance(&who) - KAI);
		assert_eq!(paid, [put / 3; 3]);
		let left = put - 3 * (put / 3);
		assert_eq!(Rewards::pool_members(WORKER).unwrap().left, left);
		let carry = Carry::<Test>::get(Pot::Providers);
		for who in [ANNA, BEN, CLEO] {
			unstake(0, who, KAI);
		}
		assert_eq!(Carry::<Test>::get(Pot::Providers), carry + left);
		assert_eq!(Owed::<Test>::get(Pot::Providers), 0);
	});
}

#[test]
fn a_change_of_shares_settles_the_pool_on_the_terms_before_it() {
	ExtBuilder::default().build_and_execute(|| {
		commission(WORKER, 100);
		stake(0, ANNA, KAI);
		next_epoch();
		epoch();
		let change = |terms, before, after| {
			let who = &BEN;
			let change = SharesChange { who, before, after };
			Rewards::on_change(WORKER, terms, Some(change))
		};
		let terms = Partners::terms(WORKER);
		// The registry has other terms by now.
		commission(WORKER, 0);
		assert_ok!(change(terms, 0, 5));
		near(by(ANNA), 2 * reward());
		assert_eq!(by(BEN), 0);
		// Makes the registry agree again.
		assert_ok!(change(Partners::terms(WORKER), 5, 0));
		assert!(Rewards::member(WORKER, BEN).is_none());
	});
}

#[test]
#[should_panic(expected = "a rate is noted for all members that need it")]
fn a_lost_rate_is_an_impossible_state() {
	ExtBuilder::default().build().execute_with(|| {
		stake(0, ANNA, KAI);
		next_epoch();
		settle(WORKER);
		Rates::<Test>::remove(WORKER, 0);
		assert!(Rewards::do_try_state().is_err());
		let _ = Rewards::claim_delegation(RuntimeOrigin::signed(ANNA), WORKER);
	});
}

#[test]
fn broken_sums_are_found() {
	let broken = |break_it: fn()| {
		ExtBuilder::default().build().execute_with(|| {
			commission(WORKER, 100);
			stake(0, ANNA, KAI);
			stake(0, BEN, KAI);
			next_epoch();
			epoch();
			settle(WORKER);
			assert_ok!(Rewards::do_try_state());
			break_it();
			Rewards::do_try_state().unwrap_err()
		})
	};
	fn change(change: fn(&mut MemberPool)) {
		MemberPools::<Test>::mutate(WORKER, |members| change(members.as_mut().unwrap()));
	}
	let errors = [
		broken(|| change(|members| members.eligible -= 1)),
		broken(|| change(|members| members.shares += 1)),
		broken(|| change(|members| members.members += 1)),
		broken(|| change(|members| members.partial += 1)),
		broken(|| {
			change(|members| members.left -= 2);
			Owed::<Test>::mutate(Pot::Providers, |owed| *owed -= 2);
			Carry::<Test>::mutate(Pot::Providers, |carry| *carry += 2);
		}),
		broken(|| change(|members| members.left += 1)),
		broken(|| Members::<Test>::remove(ANNA, WORKER)),
		broken(|| MemberPools::<Test>::remove(WORKER)),
		broken(|| Rates::<Test>::mutate(WORKER, 0, |noted| noted.as_mut().unwrap().members = 1)),
	];
	let expected = [
		"3: a pool's eligible shares are its members'",
		"3: a pool's shares are its members'",
		"3: a pool counts its members",
		"3: a pool counts its members",
		"1: a pool covers what its members can claim",
		"1: owed to workers' owners and delegators",
		"3: a pool's eligible shares are its members'",
		"1: owed to workers' owners and delegators",
		"3: a rate is noted for as many as need it",
	];
	assert_eq!(errors, expected.map(sp_runtime::TryRuntimeError::Other));
}
