//! Pruning the records of deregistered operators.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok, hypothetically};
use kaisar_primitives::{IsDelegated, Pools, SeatResult, Seats};

type E = Error<Test>;

fn prune(operator: OperatorId) -> DispatchResult {
	Checkers::prune_checker(signed(3), operator)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Registers account 1 as operator 0, with a license of account 10 until round 8; nothing needs its record
/// any more.
fn with_gone(test: impl FnOnce()) {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		assert_ok!(Checkers::delegate_license(signed(10), 0, 1));
		rounds(4, 8);
		Epoch::set(&5);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		rounds(8, 20);
		OldestEpoch::set(&6);
		test();
	});
}

/// Returns the number of entries of operators in the pallet, Popw and Rewards.
fn entries() -> usize {
	let kept: u32 = Kept::get().values().sum();
	let shares = RewardShares::get();
	Operators::<Test>::iter().count()
		+ NumberOf::<Test>::iter().count()
		+ CheckerKeys::<Test>::iter().count()
		+ AgentKeys::<Test>::iter().count()
		+ Members::<Test>::iter().count()
		+ kept as usize
		+ shares.values().filter(|shares| **shares > 0).count()
}

/// An attack in a loop: register with new keys, sit for a license, commit without ever opening, and leave
/// with the deposit. Each turn leaves the entries that 1 KAI pays for; pruning releases the KAI and removes
/// all of them.
#[test]
fn registering_and_leaving_in_a_loop_leaves_what_is_paid_for_and_nothing_at_last() {
	ExtBuilder::build_and_execute(|| {
		let turns = 12u8;
		for turn in 0..turns {
			let next = 4 + 4 * u32::from(turn);
			rounds(next - 2, next);
			let ring = ring(100 + turn);
			let (key, agent, proof) = (ring.checker(), ring.agent(), ring.prove(10));
			assert_ok!(Checkers::register_checker(
				signed(10),
				key,
				agent,
				Perbill::one(),
				proof
			));
			let operator = OperatorId::from(turn);
			assert_ok!(Checkers::delegate_license(signed(10), 0, 10));
			// With one license it may make one commitment in each lane.
			let mut kept = Kept::get();
			kept.insert(operator, 3);
			Kept::set(&kept);
			assert_ok!(Checkers::deregister_checker(signed(10)));
			assert_eq!(
				held(10),
				KEPT * u128::from(turn + 1),
				"a part for each record"
			);
		}
		// A record, two keys, a member here and in Rewards, three commitments; and the account's number.
		assert!(entries() <= 8 * usize::from(turns) + 1);

		rounds(100, 110);
		OldestEpoch::set(&1);
		for operator in 0..OperatorId::from(turns) {
			assert_ok!(prune(operator));
		}
		assert_eq!(entries(), 0);
		assert_eq!((held(10), Balances::free_balance(10)), (0, FUNDS));
		assert!(!Checkers::is_delegated(0));
		assert_eq!(Checkers::active(), 0);
	});
}

#[test]
fn anyone_prunes_what_nothing_needs_and_the_owner_gets_the_rest_of_the_deposit() {
	with_gone(|| {
		let before = Balances::free_balance(1);
		assert_ok!(prune(0));
		assert_eq!(last_event(), Event::CheckerPruned { operator: 0 });
		assert_eq!((held(1), Balances::free_balance(1)), (0, before + KEPT));
		assert_eq!(entries(), 0);
		let pool = PoolId::Checker(0);
		assert_eq!(PaidOut::get(), [(pool, 10)], "members get what is theirs");
		assert_eq!(
			(Checkers::owner(pool), Checkers::shares(pool, &10)),
			(None, 0)
		);
		assert_eq!(Checkers::status(1), None);
		assert_noop!(prune(0), E::UnknownOperator);
		// Its license is free, and was not drawn meanwhile.
		assert_eq!(Checkers::seat(0, 8), None);
		register(2);
		assert_ok!(Checkers::set_auto_accept(signed(2), true));
		assert_ok!(Checkers::delegate_license(signed(10), 0, 2));
		assert_eq!([19, 20].map(|r| Checkers::seat(0, r)), [None, Some(1)]);
		// Numbers are never reused.
		assert_eq!(register(1), 2);
	});
}

#[test]
fn pruning_fails_for_who_is_registered_or_unknown() {
	with_gone(|| {
		register(2);
		OldestEpoch::set(&100);
		rounds(100, 110);
		assert_noop!(prune(1), E::StillNeeded);
		assert_noop!(prune(2), E::UnknownOperator);
	});
}

#[test]
fn boundary_pruning_waits_until_the_last_epoch_has_expired() {
	with_gone(|| {
		OldestEpoch::set(&5);
		assert_noop!(prune(0), E::StillNeeded);
		OldestEpoch::set(&6);
		assert_ok!(prune(0));
	});
}

#[test]
fn boundary_pruning_waits_until_no_round_runs_in_which_it_was_registered() {
	with_gone(|| {
		rounds(7, 20);
		assert_noop!(prune(0), E::StillNeeded);
		rounds(8, 20);
		Census::set(&vec![5]);
		assert_noop!(prune(0), E::StillNeeded);
		Census::set(&vec![]);
		assert_ok!(prune(0));
	});
}

/// Strikes belong to the account: they ban its last registration, and each names the registration that
/// voted.
#[test]
fn pruning_waits_for_strikes() {
	with_gone(|| {
		register(1);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		rounds(20, 30);
		for round in [6, 7] {
			Checkers::credit(0, 7, round, 1, SeatResult::Dissenting, true);
		}
		assert!(matches!(
			Checkers::status(1),
			Some(CheckerStatus::Banned { .. })
		));
		for operator in [0, 1] {
			assert_noop!(prune(operator), E::StillNeeded);
		}
		// Without the records there would be no ban, and a cheat would register again.
		for round in [6, 7] {
			let receipt = receipt(7, round, &ring(1).checker());
			assert_ok!(Checkers::annul_strike(signed(1), 7, round, receipt));
		}
		hypothetically!({
			assert_ok!(prune(1));
			assert_ok!(prune(0));
		});
		assert_ok!(prune(0));
		assert_ok!(prune(1));
		assert_eq!(entries(), 0);
	});
}

#[test]
fn an_operator_with_many_members_and_commitments_is_pruned_in_steps() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		let members = u64::from(2 * MAX_PRUNED + 5);
		for n in 0..members {
			let license = 1_000 + n as LicenseId;
			give(license, 1_000 + n);
			assert_ok!(Checkers::delegate_license(signed(1_000 + n), license, 1));
		}
		Kept::set(&[(0, MAX_PRUNED)].into());
		assert_ok!(Checkers::deregister_checker(signed(1)));
		rounds(20, 30);
		OldestEpoch::set(&1);
		let mut steps = 0;
		while Operators::<Test>::contains_key(0) {
			let left = entries();
			let paid = Checkers::prune_checker(signed(3), 0).unwrap().actual_weight;
			assert!(left - entries() <= 2 * MAX_PRUNED as usize + 4);
			let most = <() as WeightInfo>::prune_checker(MAX_PRUNED);
			assert!(paid.is_some_and(|weight| weight.all_lte(most)));
			Checkers::do_try_state().expect("the invariants hold between steps");
			shares_are_known();
			steps += 1;
		}
		assert_eq!((steps, entries()), (4, 0));
		assert_eq!(PaidOut::get().len() as u64, members);
		assert_eq!(held(1), 0);
	});
}

#[test]
fn keys_of_who_has_gone_go_with_the_next_registration() {
	with_gone(|| {
		let new = |n| {
			let (key, agent, proof) = (ring(n).checker(), ring(n).agent(), ring(n).prove(1));
			Checkers::register_checker(signed(1), key, agent, Perbill::zero(), proof)
		};
		hypothetically!({
			// A running round still uses the old keys.
			rounds(7, 20);
			assert_ok!(new(2));
			assert_eq!(Checkers::by_key(&ring(1).checker()), Some(0));
		});
		assert_ok!(new(2));
		assert_eq!(Checkers::by_key(&ring(1).checker()), None);
		assert_eq!(Checkers::by_key(&ring(2).checker()), Some(1));
		assert_eq!(AgentKeys::<Test>::iter().count(), 1);
		// Pruning the old record does not remove the new keys.
		assert_ok!(prune(0));
		assert_eq!(Checkers::by_key(&ring(2).checker()), Some(1));
		assert_eq!(Checkers::number(&1), Some(1));
	});
}

#[test]
fn pruning_leaves_keys_that_are_anothers_by_now() {
	with_gone(|| {
		let (key, agent, proof) = (ring(1).checker(), ring(1).agent(), ring(1).prove(2));
		assert_ok!(Checkers::register_checker(
			signed(2),
			key.clone(),
			agent,
			Perbill::zero(),
			proof
		));
		assert_ok!(prune(0));
		assert_eq!(Checkers::by_key(&key), Some(1));
	});
}

/// A check that was left open for a year.
#[test]
fn late_news_of_a_pruned_operator_change_nothing() {
	with_gone(|| {
		assert_ok!(prune(0));
		for result in [SeatResult::Missed, SeatResult::Dissenting] {
			Checkers::credit(0, 7, 6, 1, result, false);
		}
		assert_eq!(<Checkers as Seats<_>>::operator(0, 6), None);
		assert_eq!(entries(), 0);
	});
}

/// A preset with a deposit below the record's part.
#[test]
fn the_records_part_is_held_whatever_the_deposit_is() {
	ExtBuilder::build_and_execute(|| {
		OperatorDeposit::set(&0);
		register(1);
		assert_eq!(held(1), KEPT);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_eq!(held(1), KEPT);
	});
}

#[test]
fn all_operators_come_in_pages_by_number() {
	with_gone(|| {
		let numbers: Vec<_> = [2, 3].map(register).to_vec();
		assert_eq!(numbers, [1, 2]);
		let page = |from, limit| {
			let (page, next) = Checkers::operators(from, limit);
			let numbers: Vec<_> = page.iter().map(|(operator, _)| *operator).collect();
			(numbers, next)
		};
		assert_eq!(page(0, 2), (vec![0, 1], Some(2)));
		assert_eq!(page(2, 2), (vec![2], None));
		let (all, _) = Checkers::operators(0, u32::MAX);
		assert!(all.iter().all(|(operator, record)| {
			Operators::<Test>::get(operator).as_ref() == Some(record)
		}));
		// A removed record is skipped.
		assert_ok!(prune(0));
		assert_eq!(page(0, 1), (vec![], Some(1)));
		assert_eq!(page(0, u32::MAX), (vec![1, 2], None));
		assert_eq!(page(3, 1), (vec![], None));
	});
}
