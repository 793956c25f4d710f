//! The effects on delegations, seats, commitments and rewards when a license, an operator or its keys are
//! removed.

use super::*;
use frame_support::{assert_noop, traits::Authorize};
use kaisar_primitives::{IsDelegated, Pools, Seats};
use sp_runtime::transaction_validity::TransactionSource;

type E = Error<World>;

/// Registers accounts 1, 2 and 3 as operators 0, 1 and 2; account 10 has licenses 0 … 3, and each operator
/// has one of them.
fn with_three(test: impl FnOnce()) {
	world(&[(10, 4)], || {
		CommitteeSize::set(&3);
		for n in 1..=3 {
			register(n);
			let license = u32::from(n - 1);
			assert_ok!(Checkers::delegate_license(signed(10), license, account(n)));
		}
		test();
	});
}

fn up(_: OperatorId) -> Option<Verdict> {
	Some(UP)
}

/// Returns the operators that would sit for a worker in the next round.
fn drawn_next() -> Vec<OperatorId> {
	let running = attest(99);
	running.committee
}

#[test]
fn a_license_is_transferred_after_its_year_and_without_delegation() {
	with_three(|| {
		let locked = DispatchError::from(pallet_nfts::Error::<World>::ItemLocked);
		assert_noop!(transfer(10, 3, 11), locked);
		run_to(LOCK + 1);
		assert_ok!(transfer(10, 3, 11));
		// Delegated, or pending.
		assert_noop!(transfer(10, 0, 11), locked);
		assert_noop!(burn(10, 0), locked);
		assert_ok!(Checkers::set_auto_accept(signed(1), false));
		assert_ok!(Checkers::delegate_license(signed(11), 3, account(1)));
		assert_noop!(transfer(11, 3, 12), locked);
		assert_ok!(Checkers::reject_delegation(signed(1), 3));
		assert_ok!(transfer(11, 3, 12));

		// In the middle of a round: its commitments, reveals and seats are not affected.
		let running = attest(0);
		assert_eq!(running.committee.len(), 3);
		running.commit(up);
		assert_ok!(Checkers::revoke_delegation(signed(10), 0));
		assert_ok!(transfer(10, 0, 11));
		assert_eq!(Checkers::seat(0, running.round), Some(0));
		running.reveal(up);
		assert_eq!(Earned::get()[&0], (1, 1));
		// The old holder keeps its earlier rewards: Rewards settled them before its share was removed.
		assert_eq!(Shares::get()[&(0, account(10))], 0);
		assert_eq!(Checkers::shares(PoolId::Checker(0), &account(10)), 0);
		assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(account(1)));
		assert!(!drawn_next().contains(&0));

		// The new holder delegates it to another operator; the old holder cannot revoke that.
		assert_noop!(Checkers::revoke_delegation(signed(10), 0), E::NotHolder);
		assert_ok!(Checkers::delegate_license(signed(11), 0, account(2)));
		assert_eq!(Checkers::terms(PoolId::Checker(1)).value.shares, 2);
		assert_eq!(Shares::get()[&(1, account(11))], 1);
	});
}

#[test]
fn a_burnt_license_is_an_empty_draw() {
	with_three(|| {
		run_to(LOCK + 1);
		assert_ok!(Checkers::revoke_delegation(signed(10), 2));
		assert_ok!(burn(10, 2));
		assert_noop!(
			Checkers::delegate_license(signed(10), 2, account(3)),
			E::UnknownLicense
		);
		assert_eq!(Checkers::license(2), None);
		assert_eq!((Checkers::minted(), Checkers::active()), (4, 2));
		let mut seats = drawn_next();
		seats.sort_unstable();
		assert_eq!(seats, [0, 1]);
	});
}

/// Operator 0's registration ends by `leave`, between committing and revealing.
fn leaves_in_the_middle_of_a_round(leave: impl FnOnce()) {
	let running = attest(0);
	running.commit(up);
	leave();
	assert_eq!(
		record(0).gone.map(|gone| gone.from_round),
		Some(<Popw as Checks>::next_round())
	);
	// For their holder, delegations end at once.
	assert!(!Checkers::is_delegated(0));
	assert_noop!(Checkers::revoke_delegation(signed(10), 0), E::NotDelegated);
	assert_ok!(Checkers::delegate_license(signed(10), 0, account(2)));
	// The seat stays, its commitment is opened, and the work is credited.
	assert_eq!(Checkers::seat(0, running.round), Some(0));
	running.reveal(up);
	assert_eq!(Earned::get()[&0], (1, 1));
	// Earlier rewards stay claimable: by the account, and by the unchanged shares.
	assert_eq!(Checkers::owner(PoolId::Checker(0)), Some(account(1)));
	assert_eq!(Checkers::shares(PoolId::Checker(0), &account(10)), 1);
	assert_eq!(Checkers::terms(PoolId::Checker(0)).value.shares, 1);
	assert_eq!(
		Checkers::terms(PoolId::Checker(0)).commission.in_epoch(0),
		Perbill::from_percent(10)
	);
	// From the next round on the license works for the other operator alone.
	assert_eq!(Checkers::seat(0, running.round + 2 * 3), Some(1));
	assert_eq!(Checkers::terms(PoolId::Checker(1)).value.shares, 2);
	let mut seats = drawn_next();
	seats.sort_unstable();
	assert_eq!(seats, [1, 2]);
	let held = |n: u8| {
		use frame_support::traits::fungible::InspectHold;
		Balances::balance_on_hold(&HoldReason::OperatorDeposit.into(), &account(n))
	};
	assert_eq!((held(1), held(2)), (KEPT, DEPOSIT));
}

#[test]
fn deregistering_ends_what_is_to_come_and_nothing_that_runs() {
	with_three(|| {
		leaves_in_the_middle_of_a_round(|| {
			assert_ok!(Checkers::deregister_checker(signed(1)));
		});
		assert_eq!(register(1), 3);
	});
}

#[test]
fn a_ban_for_good_ends_what_is_to_come_and_nothing_that_runs() {
	with_three(|| {
		// Ten earlier strikes, too far apart for a ban.
		next_block();
		run_to(10);
		for number in 0..10 {
			Ahead::set(&(number * 40 * DAY));
			Checkers::strike(0, 7, last_trial().expect("there was one"));
			run_to(System::block_number() + PHASE);
		}
		assert_eq!(Checkers::status(account(1)), Some(CheckerStatus::Ready));
		leaves_in_the_middle_of_a_round(|| {
			Checkers::strike(0, 8, last_trial().expect("there was one"));
		});
		assert_eq!(
			Checkers::status(account(1)),
			Some(CheckerStatus::Banned { until: u64::MAX })
		);
		let (key, agent, proof) = keys(1, 1);
		assert_noop!(
			Checkers::register_checker(signed(1), key, agent, Perbill::zero(), proof),
			E::Banned
		);
	});
}

#[test]
fn deregistering_does_not_avoid_the_price_of_a_shut_commitment() {
	with_three(|| {
		let running = attest(0);
		running.commit(up);
		// Knowing the votes, it deregisters, and registers again with another number.
		assert_ok!(Checkers::deregister_checker(signed(1)));
		running.reveal(|operator| (operator != 0).then_some(UP));
		// Its seat was missed, and the commitment counts as two more.
		assert_eq!(Earned::get()[&0], (0, 3));
		let (key, agent, proof) = keys(1, 33);
		let again = NextOperator::<World>::get();
		assert_ok!(Checkers::register_checker(
			signed(1),
			key,
			agent,
			Perbill::zero(),
			proof
		));
		assert!(again > 0 && !Earned::get().contains_key(&again));
	});
}

#[test]
fn a_ban_for_a_time_ends_no_delegation() {
	with_three(|| {
		let running = attest(0);
		running.commit(up);
		for round in [running.round, running.round - 2] {
			Checkers::strike(0, 8, round);
		}
		assert!(Checkers::is_delegated(0));
		running.reveal(up);
		assert_eq!(Earned::get()[&0], (1, 1));
		let mut seats = drawn_next();
		seats.sort_unstable();
		assert_eq!(seats, [1, 2]);
		assert_eq!(Checkers::terms(PoolId::Checker(0)).value.shares, 1);
		// A holder need not wait for its operator.
		assert_ok!(Checkers::revoke_delegation(signed(10), 0));
		assert_ok!(Checkers::delegate_license(signed(10), 0, account(2)));
	});
}

/// Returns whether the pool accepts a commitment of operator 0 in `round` signed by keys number `keys`.
fn may_commit(round: RoundIndex, keys: u8) -> bool {
	let hash = H256::repeat_byte(1);
	let seed = pallet_popw::Rounds::<World>::get(round)
		.expect("it is a round")
		.seed;
	let arguments = (0u32, round, 0u16, hash);
	let payload = (b"kaisar/commit", System::block_hash(0), seed, arguments)
		.using_encoded(sp_io::hashing::blake2_256);
	let call = RuntimeCall::Popw(pallet_popw::Call::commit {
		operator: 0,
		round,
		batch: 0,
		hash,
		signature: Some(checker_pair(keys).sign(&payload)),
	});
	call.authorize(TransactionSource::External)
		.expect("it has an authorization")
		.is_ok()
}

#[test]
fn new_keys_count_from_the_next_round_and_the_old_ones_until_then() {
	with_three(|| {
		let running = attest(0);
		let (key, agent, proof) = keys(1, 33);
		assert_ok!(Checkers::set_checker_keys(signed(1), key, agent, proof));
		let rotated = <Popw as Checks>::next_round();
		// The running round uses the old key to its end, also for receipts.
		run_to(start_of(running.round) + TRIAL + PHASE + 1);
		assert!(may_commit(running.round, 1));
		assert!(!may_commit(running.round, 33));
		let hash = hash_of(0, running.round, &running.votes(UP));
		assert_ok!(Popw::commit(signed(1), 0, running.round, 0, hash, None));

		// The next round uses the new key.
		attest_in(1, rotated);
		running.reveal(|operator| (operator == 0).then_some(UP));
		run_to(start_of(rotated) + TRIAL + PHASE + 1);
		assert!(may_commit(rotated, 33));
		assert!(!may_commit(rotated, 1));
		assert_eq!(
			Checkers::seat(0, rotated),
			Some(0),
			"licenses and seats stay"
		);
		Checkers::strike(0, running.worker, running.round);
		let old = receipt(running.worker, running.round, 1);
		let new = receipt(running.worker, running.round, 33);
		let annul =
			|receipt| Checkers::annul_strike(signed(1), running.worker, running.round, receipt);
		assert_noop!(annul(new), E::InvalidReceipt);
		assert_ok!(annul(old));
	});
}

/// With real rounds: a census takes 120 times as long as a spot round.
#[test]
fn an_operator_put_offline_comes_back_at_once_while_a_census_runs() {
	with_three(|| {
		// Its length follows from the number of workers a few blocks earlier.
		Idle::set(&(120 * MaxDue::get()));
		run_to(10);
		CheckPeriod::set(&1);
		let census = loop {
			next_block();
			let running = <Popw as Checks>::in_flight();
			if let Some(census) = running.into_iter().find(|round| round % 2 == 1) {
				break census;
			}
		};
		CheckPeriod::set(&u32::MAX);
		for outage in 0..3 {
			// Its machine fails, and three rounds later the operator is offline.
			for worker in 1..=3 {
				assert_eq!(Checkers::status(account(1)), Some(CheckerStatus::Ready));
				check(worker, |operator| (operator != 0).then_some(UP));
			}
			assert_eq!(Checkers::status(account(1)), Some(CheckerStatus::Offline));
			assert!(<Popw as Checks>::in_flight().contains(&census));
			// Repaired, and with another key in addition.
			let (key, agent, proof) = keys(1, 40 + outage);
			assert_ok!(Checkers::set_checker_keys(signed(1), key, agent, proof));
			assert_ok!(Checkers::go_online(signed(1)));
			// In the census it sits as it did at the start.
			assert_eq!(Checkers::seat(0, census), Some(0));
			let old = checker_pair(1).public();
			let info = <Checkers as Seats<_>>::operator(0, census);
			assert_eq!(info.map(|info| info.key), Some(old.into()));
			assert!(check(4, up).committee.contains(&0));
		}
	});
}

#[test]
fn pruning_leaves_nothing_of_an_operator() {
	with_three(|| {
		let prune = || Checkers::prune_checker(signed(2), 0);
		let running = attest(0);
		// It commits, and never opens.
		running.commit(|operator| (operator == 0).then_some(UP));
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_noop!(prune(), E::StillNeeded);
		run_to(start_of(running.round) + 10 * PHASE);
		assert_ok!(prune());
		assert_eq!(
			pallet_popw::Commitments::<World>::iter_prefix((0,)).count(),
			0
		);
		assert!(!pallet_popw::Withheld::<World>::contains_key(0));
		assert_eq!(Checkers::operator_of(account(1)), None);
		assert_eq!(Balances::free_balance(account(1)), FUNDS);
		// The check in which it had a seat is closed only now.
		assert!(<Popw as Checks>::is_open(0));
		<Popw as Checks>::touch(0);
		assert!(!<Popw as Checks>::is_open(0));
		let mut seats = drawn_next();
		seats.sort_unstable();
		assert_eq!(seats, [1, 2]);
		// The holder can delegate the license again.
		assert_ok!(Checkers::delegate_license(signed(10), 0, account(2)));
	});
}
