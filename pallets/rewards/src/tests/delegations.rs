//! Tests of `claim_delegation`, and of the views of members' claims.

use crate::{mock::*, *};
use frame_support::{
	assert_noop, assert_ok, assert_storage_noop,
	traits::fungible::{Inspect, Mutate},
};
use kaisar_primitives::*;
use sp_runtime::{DispatchError, TokenError};

const WORKER: PoolId = PoolId::Worker(0);
const OPERATOR: PoolId = PoolId::Checker(0);

fn claim(who: AccountId, pool: PoolId) -> sp_runtime::DispatchResult {
	Rewards::claim_delegation(RuntimeOrigin::signed(who), pool)
}

#[test]
fn a_delegator_is_paid_in_kai() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, 100 * KAI);
		next_epoch();
		prove(0, 10, 0);
		next_epoch();
		events();
		let reward = emission(2 * EPOCH, 50);
		let (part, amount) = (reward / 10, Rewards::claimable_by(WORKER, ANNA));
		near(amount, part);
		assert_storage_noop!(Rewards::claimable_by(WORKER, ANNA));
		assert_ok!(claim(ANNA, WORKER));
		assert_eq!(
			events(),
			[
				Event::Settled {
					pool: WORKER,
					epoch: 1,
					reward,
					carried: 0
				},
				Event::MembersRewarded {
					pool: WORKER,
					epoch: 1,
					amount: part
				},
				Event::DelegationClaimed {
					pool: WORKER,
					who: ANNA,
					amount
				},
			]
		);
		assert_eq!(Balances::balance(&ANNA), amount);
		assert_eq!(Owed::<Test>::get(Pot::Providers), reward - amount);
		assert_eq!(Rewards::pool_members(WORKER).unwrap().left, part - amount);
		// No check is closed for it: its time would not be paid yet.
		assert!(TOUCHED.take().is_empty());
		assert_noop!(claim(ANNA, WORKER), Error::<Test>::NothingToClaim);
		assert_eq!(Rewards::claimable_by(WORKER, ANNA), 0);
	});
}

#[test]
fn a_license_holder_is_paid_in_vkai() {
	ExtBuilder::default().build_and_execute(|| {
		delegate(0, ANNA, 1);
		next_epoch();
		seats(0, 3, 0);
		next_epoch();
		events();
		let reward = Rewards::epoch_totals(1).unwrap().checker_reward;
		let amount = reward / 10;
		assert_ok!(claim(ANNA, OPERATOR));
		assert_eq!(
			events().pop(),
			Some(Event::DelegationClaimed {
				pool: OPERATOR,
				who: ANNA,
				amount
			})
		);
		assert_eq!(Rewards::vkai(ANNA), amount);
		assert_eq!(Balances::balance(&ANNA), 0);
		assert_eq!(Owed::<Test>::get(Pot::Checkers), reward);
		assert_noop!(claim(ANNA, OPERATOR), Error::<Test>::NothingToClaim);
	});
}

#[test]
fn fails_for_who_is_no_member_and_for_pools_that_are_none() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, KAI);
		next_epoch();
		prove(0, 10, 0);
		next_epoch();
		assert_noop!(claim(BEN, WORKER), Error::<Test>::NothingToClaim);
		assert_noop!(
			claim(ANNA, PoolId::Worker(1)),
			Error::<Test>::NothingToClaim
		);
		assert_noop!(
			claim(ANNA, PoolId::Worker(1_000_000)),
			Error::<Test>::UnknownPool
		);
		assert_noop!(claim(ANNA, PoolId::Checker(99)), Error::<Test>::UnknownPool);
		// The owner's own part is not a member's.
		assert_noop!(claim(OWNERS, WORKER), Error::<Test>::NothingToClaim);
		assert_noop!(
			Rewards::claim_delegation(RuntimeOrigin::none(), WORKER),
			DispatchError::BadOrigin
		);
		assert_noop!(
			Rewards::claim_delegation(RuntimeOrigin::root(), WORKER),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn too_little_for_a_new_account_stays_claimable() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, KAI);
		stake(0, BEN, 49_999_999 * KAI);
		next_epoch();
		prove(0, 1, 0);
		next_epoch();
		let amount = Rewards::claimable_by(WORKER, ANNA);
		assert!(amount > 0 && amount < MILLI_KAI, "{amount}");
		assert_noop!(claim(ANNA, WORKER), TokenError::BelowMinimum);
		assert_ok!(Balances::mint_into(&ANNA, KAI));
		assert_ok!(claim(ANNA, WORKER));
		assert_eq!(Balances::balance(&ANNA), KAI + amount);
	});
}

#[test]
fn who_has_left_can_claim_and_is_then_forgotten() {
	ExtBuilder::default().build_and_execute(|| {
		stake(0, ANNA, KAI);
		stake(0, BEN, KAI);
		next_epoch();
		prove(0, 1, 0);
		next_epoch();
		unstake(0, ANNA, KAI);
		let owed = Rewards::claimable_by(WORKER, ANNA);
		assert!(owed > 0);
		// Epochs in which she has no shares change nothing for her.
		prove(0, 1, 0);
		next_epoch();
		assert_eq!(Rewards::claimable_by(WORKER, ANNA), owed);
		assert_ok!(claim(ANNA, WORKER));
		assert!(Rewards::member(WORKER, ANNA).is_none());
		assert_eq!(Rewards::pool_members(WORKER).unwrap().members, 1);
	});
}

#[test]
fn an_account_sees_all_its_pools_page_by_page() {
	ExtBuilder::default().build_and_execute(|| {
		for worker in 0..5 {
			stake(worker, ANNA, KAI);
		}
		delegate(3, ANNA, 2);
		stake(0, BEN, KAI);
		next_epoch();
		(0..5).for_each(|worker| prove(worker, 10, 0));
		seats(3, 1, 0);
		next_epoch();

		let all = Rewards::delegations_of(ANNA, None, 100);
		assert_eq!((all.claims.len(), all.next), (6, None));
		for (pool, amount) in &all.claims {
			assert!(*amount > 0);
			assert_eq!(*amount, Rewards::claimable_by(*pool, ANNA));
		}
		// In pages: each pool once, in the same order.
		let mut paged = Vec::new();
		let mut after = None;
		loop {
			let page = Rewards::delegations_of(ANNA, after, 2);
			assert!(page.claims.len() <= 2);
			paged.extend(page.claims);
			after = page.next;
			if after.is_none() {
				break;
			}
		}
		assert_eq!(paged, all.claims);
		// A page has at least one entry if there is any, and is bounded.
		assert_eq!(Rewards::delegations_of(ANNA, None, 0).claims.len(), 1);
		assert_eq!(Rewards::delegations_of(ANNA, None, u32::MAX), all);
		assert_eq!(
			Rewards::delegations_of(CLEO, None, 9),
			DelegationPage::default()
		);
		assert_storage_noop!(Rewards::delegations_of(ANNA, None, 9));
	});
}

#[test]
fn a_view_of_what_cannot_be_settled_is_nothing() {
	// No call can cause that: the test corrupts the state.
	ExtBuilder::default().build().execute_with(|| {
		stake(0, ANNA, KAI);
		next_epoch();
		prove(0, 10, 0);
		next_epoch();
		Epochs::<Test>::mutate(1, |totals| totals.as_mut().unwrap().scores.idle = 1);
		assert_eq!(Rewards::claimable_by(WORKER, ANNA), 0);
		assert_eq!(Rewards::claimable_from(WORKER), 0);
		assert_noop!(claim(ANNA, WORKER), Error::<Test>::Overflow);
	});
}
