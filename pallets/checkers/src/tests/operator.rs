//! Registering, keys, commission, auto-accept, offline and online, deregistering.

use crate::{mock::*, *};
use codec::Decode;
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Pools, SeatResult, Seats};
use sp_runtime::{DispatchError, TokenError};

type E = Error<Test>;

fn percent(n: u32) -> Perbill {
	Perbill::from_percent(n)
}

fn register_with(account: AccountId, ring: &KeyRing, commission: Perbill) -> DispatchResult {
	let proof = ring.prove(account);
	Checkers::register_checker(
		signed(account),
		ring.checker(),
		ring.agent(),
		commission,
		proof,
	)
}

fn set_keys(account: AccountId, ring: &KeyRing) -> DispatchResult {
	Checkers::set_checker_keys(
		signed(account),
		ring.checker(),
		ring.agent(),
		ring.prove(account),
	)
}

fn keys_in(operator: OperatorId, round: RoundIndex) -> CheckerKey {
	<Checkers as Seats<_>>::operator(operator, round)
		.unwrap()
		.key
}

#[test]
fn registering_takes_the_deposit_and_counts_from_the_next_round() {
	ExtBuilder::build_and_execute(|| {
		assert_eq!(Checkers::status(1), None);
		assert_ok!(register_with(1, &ring(1), percent(15)));
		assert_eq!(
			last_event(),
			Event::CheckerRegistered {
				operator: 0,
				account: 1,
				checker_key: ring(1).checker(),
				agent_key: ring(1).agent(),
				commission: percent(15),
				from_round: 4,
			}
		);
		assert_eq!(held(1), DEPOSIT);
		assert_eq!(Checkers::number(&1), Some(0));
		assert_eq!(Checkers::by_key(&ring(1).checker()), Some(0));
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Pending));
		assert_eq!(
			Checkers::terms(PoolId::Checker(0))
				.commission
				.in_epoch(Epoch::get()),
			percent(15)
		);
		assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(1));
		assert_eq!(Checkers::owner(PoolId::Worker(0)), None);
		assert_eq!(
			Checkers::terms(PoolId::Worker(0))
				.commission
				.in_epoch(Epoch::get()),
			Perbill::zero()
		);
		assert_eq!(Checkers::operator_of(1).unwrap().1, record(0));
		assert_eq!(register(2), 1);
	});
}

#[test]
fn all_calls_want_a_signed_origin() {
	ExtBuilder::build_and_execute(|| {
		let bad = DispatchError::BadOrigin;
		for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
			let o = || origin.clone();
			let (key, agent, proof) = (ring(1).checker(), ring(1).agent(), ring(1).prove(1));
			assert_noop!(
				Checkers::register_checker(o(), key.clone(), agent, percent(1), proof.clone()),
				bad
			);
			assert_noop!(Checkers::set_checker_keys(o(), key, agent, proof), bad);
			assert_noop!(Checkers::set_commission(o(), percent(1)), bad);
			assert_noop!(Checkers::set_auto_accept(o(), true), bad);
			assert_noop!(Checkers::delegate_license(o(), 0, 1), bad);
			assert_noop!(Checkers::accept_delegation(o(), 0), bad);
			assert_noop!(Checkers::reject_delegation(o(), 0), bad);
			assert_noop!(Checkers::revoke_delegation(o(), 0), bad);
			assert_noop!(Checkers::go_offline(o()), bad);
			assert_noop!(Checkers::go_online(o()), bad);
			assert_noop!(Checkers::deregister_checker(o()), bad);
			assert_noop!(Checkers::prune_checker(o(), 0), bad);
			let receipt = receipt(7, 6, &ring(1).checker());
			assert_noop!(Checkers::annul_strike(o(), 7, 6, receipt), bad);
		}
	});
}

#[test]
fn operators_calls_fail_for_who_is_none() {
	ExtBuilder::build_and_execute(|| {
		register(2);
		assert_ok!(Checkers::deregister_checker(signed(2)));
		// One account never was an operator, the other is not any more.
		for account in [1, 2] {
			assert_noop!(set_keys(account, &ring(9)), E::NotRegistered);
			assert_noop!(
				Checkers::set_commission(signed(account), percent(1)),
				E::NotRegistered
			);
			assert_noop!(
				Checkers::set_auto_accept(signed(account), true),
				E::NotRegistered
			);
			assert_noop!(
				Checkers::accept_delegation(signed(account), 0),
				E::NotRegistered
			);
			assert_noop!(
				Checkers::reject_delegation(signed(account), 0),
				E::NotRegistered
			);
			assert_noop!(Checkers::go_offline(signed(account)), E::NotRegistered);
			assert_noop!(Checkers::go_online(signed(account)), E::NotRegistered);
			assert_noop!(
				Checkers::deregister_checker(signed(account)),
				E::NotRegistered
			);
		}
	});
}

#[test]
fn registering_fails_when_registered() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_noop!(register_with(1, &ring(2), percent(1)), E::AlreadyRegistered);
	});
}

#[test]
fn registering_fails_with_zero_keys() {
	ExtBuilder::build_and_execute(|| {
		let proof = || ring(1).prove(1);
		let zero_checker = CheckerKey::from(sp_core::sr25519::Public::from_raw([0; 32]));
		let zero_agent = AgentKey::from_raw([0; 32]);
		assert_noop!(
			Checkers::register_checker(
				signed(1),
				zero_checker.clone(),
				ring(1).agent(),
				percent(1),
				proof()
			),
			E::ZeroKey
		);
		assert_noop!(
			Checkers::register_checker(
				signed(1),
				ring(1).checker(),
				zero_agent,
				percent(1),
				proof()
			),
			E::ZeroKey
		);
		register(1);
		assert_noop!(
			Checkers::set_checker_keys(signed(1), zero_checker, ring(1).agent(), proof()),
			E::ZeroKey
		);
	});
}

#[test]
fn registering_fails_with_anothers_key() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		// Either key alone, even though both are proved.
		let stolen_checker = KeyRing(ring(1).0, ring(2).1);
		let stolen_agent = KeyRing(ring(2).0, ring(1).1);
		assert_noop!(register_with(2, &stolen_checker, percent(1)), E::KeyInUse);
		assert_noop!(register_with(2, &stolen_agent, percent(1)), E::KeyInUse);
	});
}

#[test]
fn registering_fails_with_a_wrong_proof() {
	ExtBuilder::build_and_execute(|| {
		let ring1 = ring(1);
		let with = |proof| {
			Checkers::register_checker(signed(1), ring1.checker(), ring1.agent(), percent(1), proof)
		};
		// The proof of another account, of a worker, of another checker key, of another agent key.
		assert_noop!(with(ring1.prove(2)), E::InvalidProof);
		assert_noop!(with(ring1.prove_as(KeyRole::Worker, 1)), E::InvalidProof);
		assert_noop!(
			with(KeyRing(ring(2).0, ring(1).1).prove(1)),
			E::InvalidProof
		);
		assert_noop!(
			with(KeyRing(ring(1).0, ring(2).1).prove(1)),
			E::InvalidProof
		);
		assert_ok!(with(ring1.prove(1)));
		// The same for a change of keys.
		let ring3 = ring(3);
		assert_noop!(
			Checkers::set_checker_keys(signed(1), ring3.checker(), ring3.agent(), ring3.prove(2)),
			E::InvalidProof
		);
	});
}

#[test]
fn registering_fails_without_the_deposit() {
	ExtBuilder::build_and_execute(|| {
		OperatorDeposit::set(&(FUNDS - 1));
		assert_ok!(register_with(1, &ring(1), percent(1)));
		OperatorDeposit::set(&FUNDS);
		assert_noop!(
			register_with(2, &ring(2), percent(1)),
			TokenError::FundsUnavailable
		);
	});
}

#[test]
fn boundary_a_commission_is_at_most_all() {
	ExtBuilder::build_and_execute(|| {
		assert_ok!(register_with(1, &ring(1), Perbill::one()));
		assert_ok!(Checkers::set_commission(signed(1), Perbill::one()));
		// A larger value cannot even be decoded.
		assert!(Perbill::decode(&mut &1_000_000_001u32.encode()[..]).is_err());
	});
}

#[test]
fn new_keys_count_from_the_next_round() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(set_keys(1, &ring(2)));
		assert_eq!(
			last_event(),
			Event::CheckerKeysSet {
				operator: 0,
				old_checker_key: ring(1).checker(),
				old_agent_key: ring(1).agent(),
				checker_key: ring(2).checker(),
				agent_key: ring(2).agent(),
				from_round: 4,
			}
		);
		assert_eq!(keys_in(0, 3), ring(1).checker());
		assert_eq!(keys_in(0, 4), ring(2).checker());
		assert_eq!(
			<Checkers as Seats<_>>::operator(0, 3).unwrap().agent,
			ring(1).agent()
		);
		// Both keys belong to the operator, and to no other.
		assert_eq!(Checkers::by_key(&ring(1).checker()), Some(0));
		assert_eq!(Checkers::by_key(&ring(2).checker()), Some(0));
		assert_noop!(register_with(2, &ring(1), percent(1)), E::KeyInUse);
		assert_noop!(register_with(2, &ring(2), percent(1)), E::KeyInUse);
		register(3);
		assert_noop!(set_keys(3, &ring(1)), E::KeyInUse);
	});
}

#[test]
fn keys_changed_twice_before_a_round_forget_the_ones_between() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(set_keys(1, &ring(2)));
		assert_ok!(set_keys(1, &ring(3)));
		assert_eq!(
			(keys_in(0, 3), keys_in(0, 4)),
			(ring(1).checker(), ring(3).checker())
		);
		assert_eq!(Checkers::by_key(&ring(2).checker()), None);
		// And back to the old keys.
		assert_ok!(set_keys(1, &ring(1)));
		assert_eq!(
			(keys_in(0, 3), keys_in(0, 4)),
			(ring(1).checker(), ring(1).checker())
		);
		assert_eq!(Checkers::by_key(&ring(3).checker()), None);
		assert_ok!(register_with(2, &ring(2), percent(1)));
	});
}

#[test]
fn one_key_can_be_changed_alone() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(set_keys(1, &KeyRing(ring(2).0, ring(1).1)));
		rounds(4, 6);
		assert_ok!(set_keys(1, &KeyRing(ring(3).0, ring(1).1)));
		assert_eq!(Checkers::by_key(&ring(1).checker()), None);
		assert_eq!(AgentKeys::<Test>::get(ring(1).agent()), Some(0));
	});
}

/// Keys can be changed in every round, however long a census runs.
#[test]
fn new_keys_are_never_refused_and_those_of_rounds_in_flight_never_forgotten() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		Census::set(&vec![3]);
		for n in 2..40u8 {
			let next = 2 * u32::from(n);
			rounds(next.saturating_sub(10).max(4), next);
			assert_ok!(set_keys(1, &ring(n)));
			assert_eq!(keys_in(0, 3), ring(1).checker());
			for round in OldestRound::get()..=next {
				let expected = ring((round / 2) as u8).checker();
				assert_eq!(keys_in(0, round), expected, "round {round}");
			}
		}
		// Keys that no round in flight needs are free.
		assert_eq!(Checkers::by_key(&ring(5).checker()), None);
		assert_eq!(CheckerKeys::<Test>::iter().count(), 7);
		assert_eq!(AgentKeys::<Test>::iter().count(), 7);
		Census::set(&vec![]);
		rounds(78, 80);
		assert_ok!(set_keys(1, &ring(40)));
		assert_eq!(CheckerKeys::<Test>::iter().count(), 2);
	});
}

#[test]
fn a_commission_has_one_whole_epochs_notice() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		Epoch::set(&7);
		assert_ok!(Checkers::set_commission(signed(1), percent(30)));
		assert_eq!(
			last_event(),
			Event::CommissionSet {
				operator: 0,
				old: percent(10),
				new: percent(30),
				from_epoch: 9
			}
		);
		// The change was reported to Rewards while the old commission was in force.
		assert_eq!(
			Told::get(),
			vec![(PoolId::Checker(0), None, 0, percent(10))]
		);
		let pool = PoolId::Checker(0);
		for (epoch, expected) in [(7, 10), (8, 10), (9, 30), (10, 30)] {
			Epoch::set(&epoch);
			assert_eq!(
				Checkers::terms(pool).commission.in_epoch(Epoch::get()),
				percent(expected),
				"epoch {epoch}"
			);
			assert_eq!(
				Checkers::terms(pool).commission.in_epoch(epoch),
				percent(expected)
			);
		}
	});
}

#[test]
fn an_announced_commission_stays_until_it_was_in_force() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_commission(signed(1), percent(30)));
		// Holders that joined for the 30 % get it.
		for epoch in [0, 1] {
			Epoch::set(&epoch);
			assert_noop!(
				Checkers::set_commission(signed(1), percent(0)),
				Error::<Test>::CommissionPending
			);
		}
		let pool = PoolId::Checker(0);
		assert_eq!(Checkers::terms(pool).commission.in_epoch(2), percent(30));
		// A commission in force is kept by the next change.
		Epoch::set(&2);
		assert_ok!(Checkers::set_commission(signed(1), percent(5)));
		assert_eq!(Checkers::terms(pool).commission.in_epoch(3), percent(30));
		assert_eq!(Checkers::terms(pool).commission.in_epoch(4), percent(5));
	});
}

#[test]
fn a_refusal_of_rewards_changes_nothing() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 1));
		RewardsRefuse::set(&true);
		let refused = DispatchError::Other("rewards refuse");
		assert_noop!(Checkers::set_commission(signed(1), percent(1)), refused);
		assert_noop!(Checkers::accept_delegation(signed(1), 0), refused);
		assert_noop!(Checkers::deregister_checker(signed(1)), refused);
		RewardsRefuse::set(&false);
		assert_ok!(Checkers::accept_delegation(signed(1), 0));
		RewardsRefuse::set(&true);
		assert_noop!(Checkers::revoke_delegation(signed(10), 0), refused);
	});
}

#[test]
fn auto_accept_is_told_with_old_and_new() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		assert_eq!(
			last_event(),
			Event::AutoAcceptSet {
				operator: 0,
				old: false,
				new: true
			}
		);
		assert!(record(0).auto_accept);
		assert_ok!(Checkers::set_auto_accept(signed(1), false));
		assert_eq!(
			last_event(),
			Event::AutoAcceptSet {
				operator: 0,
				old: true,
				new: false
			}
		);
	});
}

#[test]
fn offline_and_online_count_from_the_next_round() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		for license in [0, 1, 300] {
			assert_ok!(Checkers::delegate_license(signed(10), license, 1));
		}
		assert_eq!(Checkers::active(), 3);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Ready));
		assert_noop!(Checkers::go_online(signed(1)), E::AlreadyOnline);

		rounds(4, 8);
		assert_ok!(Checkers::go_offline(signed(1)));
		assert_eq!(
			last_event(),
			Event::WentOffline {
				operator: 0,
				from_round: 8,
				missed: false
			}
		);
		assert_eq!(Checkers::active(), 0);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Offline));
		assert_eq!(
			(Checkers::seat(300, 7), Checkers::seat(300, 8)),
			(Some(0), None)
		);
		assert_noop!(Checkers::go_offline(signed(1)), E::AlreadyOffline);

		// Licenses that come and go meanwhile do not count.
		assert_ok!(Checkers::delegate_license(signed(10), 2, 1));
		assert_ok!(Checkers::revoke_delegation(signed(10), 0));
		assert_ok!(Checkers::delegate_license(signed(10), 3, 1));
		assert_eq!(Checkers::active(), 0);

		rounds(8, 10);
		assert_ok!(Checkers::go_online(signed(1)));
		assert_eq!(
			last_event(),
			Event::WentOnline {
				operator: 0,
				from_round: 10
			}
		);
		assert_eq!(Checkers::active(), 4);
		assert_eq!(
			(Checkers::seat(300, 9), Checkers::seat(300, 10)),
			(None, Some(0))
		);
	});
}

#[test]
fn going_off_and_on_before_it_counts_is_as_if_it_had_never_been() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		rounds(4, 8);
		assert_ok!(Checkers::go_offline(signed(1)));
		assert_ok!(Checkers::go_online(signed(1)));
		let History { now, earlier } = record(0).in_draw;
		assert_eq!((now.value, now.since, earlier.len()), (true, 4, 0));
	});
}

#[test]
fn deregistering_ends_all_delegations_at_the_next_round() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		for license in [0, 1, 300] {
			assert_ok!(Checkers::delegate_license(signed(10), license, 1));
		}
		rounds(4, 8);
		Told::set(&vec![]);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_eq!(
			last_event(),
			Event::CheckerDeregistered {
				operator: 0,
				account: 1,
				from_round: 8
			}
		);
		assert_eq!(
			Told::get(),
			vec![(PoolId::Checker(0), None, 3, percent(10))]
		);
		assert_eq!(held(1), KEPT);
		assert_eq!(Checkers::active(), 0);
		assert_eq!(
			(Checkers::seat(300, 7), Checkers::seat(300, 8)),
			(Some(0), None)
		);
		assert_eq!(Checkers::status(1), None);
		assert_eq!(Checkers::number(&1), None);
		// Running rounds and rewards are not affected.
		assert_eq!(keys_in(0, 7), ring(1).checker());
		assert_eq!(<Checkers as Seats<_>>::operator(0, 7).unwrap().licenses, 3);
		assert_eq!(<Checkers as Seats<_>>::operator(0, 8).unwrap().licenses, 0);
		assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(1));
		assert_eq!(
			Checkers::terms(PoolId::Checker(0))
				.commission
				.in_epoch(Epoch::get()),
			percent(10)
		);
		// Late reports have no effect on a registration that has ended.
		for round in [4, 5, 6, 7] {
			Checkers::credit(0, 0, round, 1, SeatResult::Missed, false);
		}
		assert!(record(0).online);
	});
}

#[test]
fn a_new_registration_has_a_new_number_and_none_of_the_old_licenses() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 1));
		assert_ok!(Checkers::accept_delegation(signed(1), 0));
		rounds(4, 8);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		// With the same keys, which are free again.
		assert_eq!(register(1), 1);
		assert_eq!(Checkers::number(&1), Some(1));
		assert_eq!(Checkers::by_key(&ring(1).checker()), Some(1));
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Pending));
		assert_eq!(
			(Checkers::seat(0, 7), Checkers::seat(0, 8)),
			(Some(0), None)
		);
		assert_ok!(Checkers::delegate_license(signed(10), 0, 1));
		assert_ok!(Checkers::accept_delegation(signed(1), 0));
		assert_eq!(
			(Checkers::seat(0, 7), Checkers::seat(0, 8)),
			(Some(0), Some(1))
		);
		assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(1));
		assert_eq!(Checkers::owner(PoolId::Checker(1)), Some(1));
	});
}

#[test]
fn keys_of_an_operator_that_has_gone_can_be_anothers_but_stay_its_own_in_running_rounds() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_eq!(Checkers::by_key(&ring(1).checker()), Some(0));
		assert_ok!(register_with(2, &ring(1), percent(1)));
		assert_eq!(Checkers::by_key(&ring(1).checker()), Some(1));
		assert_eq!(keys_in(0, 3), ring(1).checker());
	});
}

#[test]
fn the_deposit_released_is_the_one_that_was_held() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		OperatorDeposit::set(&500);
		register(2);
		assert_eq!((held(1), held(2)), (DEPOSIT, 500));
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_ok!(Checkers::deregister_checker(signed(2)));
		assert_eq!((held(1), held(2)), (KEPT, KEPT));
		assert_eq!(
			(Balances::free_balance(1), Balances::free_balance(2)),
			(FUNDS - KEPT, FUNDS - KEPT)
		);
	});
}

#[test]
fn the_status_is_checking_with_a_seat_in_a_running_round() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		Seated::set(&vec![0]);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Checking));
		Seated::set(&vec![]);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Pending));
	});
}

#[test]
fn no_deposit_keeps_operators_out_for_ever() {
	ExtBuilder::build_and_execute(|| {
		OperatorDeposit::set(&u128::MAX);
		assert!(register_with(1, &ring(1), percent(10)).is_err());
		assert_eq!(held(1), 0);
		OperatorDeposit::set(&0);
		assert_ok!(register_with(1, &ring(1), percent(10)));
		assert!(held(1) > 0, "the record costs its part");
		// Neither extreme keeps an operator from leaving with its deposit.
		OperatorDeposit::set(&u128::MAX);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		OperatorDeposit::set(&DEPOSIT);
		assert_ok!(register_with(2, &ring(2), percent(10)));
		assert_eq!(held(2), DEPOSIT);
	});
}
