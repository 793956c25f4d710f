//! Attacks around a slash: joining, leaving and withdrawing before and after it is queued.

use super::{slashing::*, *};
use kaisar_math::stake::{offline_rate, slash_at};
use proptest::prelude::*;

/// Petra has 650 KAI, and Carol delegates 49,350 without asking: one night's power cut costs Petra the same
/// as it would without Carol.
#[test]
fn an_unasked_delegation_does_not_multiply_the_owners_loss() {
	let loss = |delegated: Balance| {
		ExtBuilder.build().execute_with(|| {
			let worker = register_online(ALICE, 1);
			if delegated > 0 {
				assert_ok!(Providers::stake(signed(CAROL), worker, delegated));
			}
			Popw::pass();
			found_offline(worker, 1_200);
			pass_deferral();
			assert_ok!(Providers::apply_slash(signed(BOB), 0));
			Providers::do_try_state().unwrap();
			(
				MINIMUM - pool(worker).own,
				delegated - pool(worker).delegated.value,
			)
		})
	};
	let (alone, _) = loss(0);
	let (with_carol, carols) = loss(MAX_STAKE - MINIMUM);
	// A sixtieth of each.
	assert_eq!(alone, slash_at(offline_rate(1_200), MINIMUM));
	assert_eq!(with_carol, alone);
	assert_eq!(carols, slash_at(offline_rate(1_200), MAX_STAKE - MINIMUM));
}

/// An owner can choose the amount that others entrust to it, and burn that amount: the drawback of one rate
/// for all.
#[test]
fn an_owner_at_the_minimum_can_burn_what_others_delegated() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, MAX_STAKE - MINIMUM));
		Popw::pass();
		found_false(worker, None);
		found_false(worker, None);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(BOB), 0));
		assert_eq!(pool(worker).own, MINIMUM / 2);
		assert_eq!(pool(worker).delegated.value, (MAX_STAKE - MINIMUM) / 2);
	});
}

#[test]
fn whoever_leaves_before_the_day_is_slashed_like_whoever_stays() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_ok!(Providers::stake(signed(CAROL), worker, 1_000 * KAI));
		assert_ok!(Providers::stake(signed(DAVE), worker, 1_000 * KAI));
		found_false(worker, None);
		found_false(worker, None);
		// The owner and Carol leave, Dave stays.
		assert_ok!(Providers::unstake(signed(CAROL), worker, 1_000 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, POOL - MINIMUM));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::pass();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(queued(0).due);
		assert_ok!(Providers::apply_slash(signed(BOB), 0));
		run_to(Providers::now() + UNBONDING);
		let paid = |who, kai: Balance| {
			let before = Balances::free_balance(who);
			assert_ok!(Providers::withdraw_unbonded(signed(who), worker));
			assert_eq!(Balances::free_balance(who) - before, kai);
		};
		paid(CAROL, 500 * KAI);
		paid(DAVE, 500 * KAI);
		paid(ALICE, POOL / 2);
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(pot(), 0);
	});
}

/// Stake that finishes unbonding between the finding and the slash's due block is still in the pool at that
/// block.
#[test]
fn boundary_of_what_is_withdrawn_while_a_slash_is_queued() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let unstake = |who| {
			run_to(Providers::now() + 1);
			assert_ok!(Providers::stake(signed(who), worker, KAI));
			assert_ok!(Providers::unstake(signed(who), worker, KAI));
			Providers::now() + UNBONDING
		};
		let until = unstake(ALICE);
		assert_eq!(unstake(CAROL), until + 1);
		assert_eq!(unstake(CAROL), until + 2);
		run_to(until);
		let id = by_hand(worker, SlashLevel::One);
		let withdraw = |who| Providers::withdraw_unbonded(signed(who), worker);
		// Unbonded in this very block, and not unbonded yet.
		assert_noop!(withdraw(ALICE), Error::<Test>::SlashPending);
		assert_noop!(withdraw(CAROL), Error::<Test>::NothingToWithdraw);
		// The slash is due first.
		let wait = DEFERRAL + DAYS;
		assert!(queued(id).due < until + wait);
		run_to(until + wait - 1);
		assert_noop!(withdraw(ALICE), Error::<Test>::SlashPending);
		// It was not applied within a day: it no longer holds Alice's stake.
		run_to(until + wait);
		assert_ok!(withdraw(ALICE));
		assert_noop!(withdraw(CAROL), Error::<Test>::SlashPending);
		// Stake that waited long enough is paid out, the rest stays.
		run_to(until + wait + 1);
		let before = Balances::free_balance(CAROL);
		assert_ok!(withdraw(CAROL));
		assert_eq!(Balances::free_balance(CAROL), before + KAI);
		assert_noop!(withdraw(CAROL), Error::<Test>::SlashPending);
		// Once the slash is applied, the rest is free, less its part.
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_ok!(withdraw(CAROL));
		assert_eq!(Balances::free_balance(CAROL), before + KAI + KAI / 10 * 9);
	});
}

/// A chain of small slashes, one a day, never applied: Carol can withdraw three days after her stake
/// unbonded.
#[test]
fn a_chain_of_small_slashes_holds_nobody_for_longer() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		let until = Providers::now() + UNBONDING;
		while Providers::now() + DAYS < until + DEFERRAL + DAYS {
			run_to(Providers::now() + DAYS);
			by_hand(worker, SlashLevel::One);
			assert!(Providers::withdraw_unbonded(signed(CAROL), worker).is_err());
		}
		run_to(until + DEFERRAL + DAYS);
		by_hand(worker, SlashLevel::One);
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Balances::free_balance(CAROL), FUNDS);
	});
}

/// First or last: two accounts that withdraw after the slash lose the same.
#[test]
fn the_order_of_withdrawals_makes_no_difference() {
	let paid = |order: [AccountId; 2]| {
		ExtBuilder.build().execute_with(|| {
			let worker = register(ALICE, 1);
			for who in order {
				assert_ok!(Providers::stake(signed(who), worker, 100 * KAI));
				assert_ok!(Providers::unstake(signed(who), worker, 100 * KAI));
			}
			run_to(Providers::now() + UNBONDING - DAYS);
			let id = by_hand(worker, SlashLevel::Two);
			run_to(queued(id).due + DAYS);
			for who in order {
				assert_noop!(
					Providers::withdraw_unbonded(signed(who), worker),
					Error::<Test>::SlashPending
				);
			}
			assert_ok!(Providers::apply_slash(signed(BOB), id));
			for who in order {
				assert_ok!(Providers::withdraw_unbonded(signed(who), worker));
			}
			[CAROL, DAVE].map(Balances::free_balance)
		})
	};
	assert_eq!(paid([CAROL, DAVE]), paid([DAVE, CAROL]));
	assert_eq!(paid([CAROL, DAVE]), [FUNDS - 50 * KAI; 2]);
}

#[test]
fn delegators_wait_to_join_while_a_slash_is_queued() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 100 * KAI));
		let id = by_hand(worker, SlashLevel::One);
		for who in [CAROL, DAVE] {
			assert_noop!(
				Providers::stake(signed(who), worker, KAI),
				Error::<Test>::SlashPending
			);
		}
		// The owner may top up: it knows of the queued slash, which also takes from the added stake.
		assert_ok!(Providers::stake(signed(ALICE), worker, 100 * KAI));
		assert_eq!(queued(id).amount, (MINIMUM + 200 * KAI) / 10);
		assert_ok!(frame_support::hypothetically!({
			assert_ok!(Providers::cancel_slash(RuntimeOrigin::root(), id));
			Providers::stake(signed(DAVE), worker, KAI)
		}));
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_ok!(Providers::stake(signed(DAVE), worker, KAI));
	});
}

#[test]
fn what_unbonds_is_still_there_when_a_slash_of_that_day_is_due() {
	ExtBuilder.build_and_execute(|| {
		UnbondingBlocks::set(&1);
		Deferral::set(&(5 * DAYS));
		let worker = worker_with_stake();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		let out = Providers::unbonding(worker, ALICE)[0].until;
		let id = by_hand(worker, SlashLevel::Two);
		assert_eq!(out, queued(id).due + DAYS);
	});
}

#[test]
fn delegators_of_a_deregistered_worker_wait_for_a_slash() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 1_350 * KAI));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING - 1);
		let id = by_hand(worker, SlashLevel::Two);
		run_to(Providers::now() + 1);
		for who in [ALICE, CAROL] {
			assert_noop!(
				Providers::withdraw_unbonded(signed(who), worker),
				Error::<Test>::SlashPending
			);
		}
		run_to(queued(id).due);
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		assert_eq!(Balances::free_balance(CAROL), FUNDS - 675 * KAI);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(pot(), 0);
	});
}

/// An account's action around a slash, after it has waited for some blocks.
#[derive(Clone, Copy, Debug)]
enum Act {
	Stake(u32),
	/// A part of its stake, in 255ths.
	Unstake(u8),
	Withdraw,
	/// Only by the owner.
	Deregister,
}

const STAKERS: [AccountId; 3] = [ALICE, CAROL, DAVE];

fn act() -> impl Strategy<Value = (BlockNumber, Act)> {
	let act = prop_oneof![
		2 => any::<u32>().prop_map(Act::Stake),
		4 => any::<u8>().prop_map(Act::Unstake),
		4 => Just(Act::Withdraw),
		1 => Just(Act::Deregister),
	];
	(0..DAYS, act)
}

/// Tries an action, and returns whether it succeeded.
fn try_to(worker: WorkerId, who: AccountId, act: Act) -> bool {
	let part = |of: Balance, part: u8| of * Balance::from(part) / 255;
	let call = match act {
		Act::Stake(amount) => Call::stake {
			worker,
			amount: Balance::from(amount) * (KAI / 1_000_000) + KAI,
		},
		Act::Unstake(of) => {
			let stake = if who == ALICE {
				pool(worker).own
			} else {
				Providers::delegation(worker, who).value
			};
			Call::unstake {
				worker,
				amount: part(stake, of),
			}
		}
		Act::Withdraw => Call::withdraw_unbonded { worker },
		Act::Deregister => Call::deregister_worker { worker },
	};
	dispatch(RuntimeCall::Providers(call), signed(who)).is_ok()
}

/// Three accounts stake and unstake within the unbonding time before a slash of this level is queued. Then
/// `mover` acts, until the slash is applied within a day of its due block. Returns the final balance of
/// each.
fn balances_after(
	before: &[(BlockNumber, usize, Act)],
	level: SlashLevel,
	mover: Option<(AccountId, &[(BlockNumber, Act)])>,
) -> [Balance; 3] {
	ExtBuilder.build().execute_with(|| {
		let worker = register(ALICE, 1);
		Popw::pass();
		for who in STAKERS {
			assert_ok!(Providers::stake(signed(who), worker, 1_000 * KAI));
		}
		let start = Providers::now();
		for (wait, who, act) in before {
			run_to((Providers::now() + wait / 2).min(start + UNBONDING));
			try_to(worker, STAKERS[*who], *act);
		}
		run_to(start + UNBONDING);
		let id = by_hand(worker, level);
		let applied = queued(id).due + DAYS - 1;
		if let Some((who, acts)) = mover {
			for (wait, act) in acts {
				run_to((Providers::now() + wait).min(applied));
				try_to(worker, who, *act);
				Providers::do_try_state().unwrap();
			}
		}
		run_to(applied);
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		Providers::do_try_state().unwrap();
		try_to(worker, ALICE, Act::Deregister);
		run_to(applied + 2 * UNBONDING);
		for who in STAKERS {
			try_to(worker, who, Act::Withdraw);
		}
		assert_eq!((Providers::worker(worker), pot()), (None, 0));
		STAKERS.map(Balances::free_balance)
	})
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(64),
		rng_seed: kaisar_test_support::property::seed(7),
		..ProptestConfig::default()
	})]

	/// By no calls between a finding and its slash does an account end with more than it would have without
	/// acting, and the balances of the others are unchanged.
	#[test]
	fn nobody_gains_by_moving_around_a_slash(
		before in prop::collection::vec(
			act().prop_flat_map(|(wait, act)| (Just(wait), 0..STAKERS.len(), Just(act))),
			0..8,
		),
		malice: bool,
		mover in 0..STAKERS.len(),
		acts in prop::collection::vec(act(), 1..8),
	) {
		let level = if malice { SlashLevel::Two } else { SlashLevel::One };
		// Deregistering by the owner belongs to its actions, not to the time before.
		let before: Vec<_> = before
			.into_iter()
			.filter(|(_, _, act)| !matches!(act, Act::Deregister | Act::Withdraw))
			.collect();
		let idle = balances_after(&before, level, None);
		let moved = balances_after(&before, level, Some((STAKERS[mover], &acts)));
		for (index, (idle, moved)) in idle.into_iter().zip(moved).enumerate() {
			// A unit or the price of a share for each step.
			prop_assert!(moved <= idle + 100, "{index}: {moved} > {idle}");
			prop_assert!(index == mover || moved + 100 >= idle, "{index}: {moved} < {idle}");
		}
	}
}
