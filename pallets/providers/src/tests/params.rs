//! Parameters at their limits: checks, slashes and withdrawals still work, and calls work again with a
//! valid value.

use super::{
	slashing::{by_hand, pass_deferral, worker_with_stake},
	*,
};

/// Restores the mock's values.
fn recover() {
	Fee::set(&FEE);
	BaseStake::set(&BASE);
	StakePerScore::set(&(200 * KAI));
	MaxStake::set(&MAX_STAKE);
	UnbondingBlocks::set(&UNBONDING);
	Deferral::set(&DEFERRAL);
	Bounty::set(&Perbill::from_percent(1));
}

/// A worker is found offline, slashed, and comes back; another is registered, unstakes and leaves.
fn live(worker: WorkerId) {
	for amount in [1, KAI] {
		let _ = Providers::stake(signed(ALICE), worker, amount);
		let _ = Providers::stake(signed(CAROL), worker, amount);
		let _ = Providers::unstake(signed(ALICE), worker, amount);
		let _ = Providers::unstake(signed(CAROL), worker, amount);
	}
	let _ = Providers::go_offline(signed(ALICE), worker);
	let _ = Providers::go_online(signed(ALICE), worker);
	let _ = try_register(BOB, 9, SPEC, MINIMUM);
	Providers::do_try_state().expect("all invariants hold");
}

#[test]
fn no_parameter_makes_a_call_impossible_for_ever() {
	let amounts: [fn(Balance); 4] = [
		|value| Fee::set(&value),
		|value| BaseStake::set(&value),
		|value| StakePerScore::set(&value),
		|value| MaxStake::set(&value),
	];
	let blocks: [fn(Balance); 3] = [
		|value| UnbondingBlocks::set(&(value.min(u32::MAX.into()) as u32)),
		|value| Deferral::set(&(value.min(u32::MAX.into()) as u32)),
		|value| Bounty::set(&Perbill::from_parts(value.min(1_000_000_000) as u32)),
	];
	let all: Vec<_> = amounts.into_iter().chain(blocks).collect();
	let try_out = |set: &dyn Fn()| {
		ExtBuilder.build_and_execute(|| {
			let worker = worker_with_stake();
			assert_ok!(Providers::stake(signed(CAROL), worker, KAI));
			let slash = by_hand(worker, SlashLevel::One);
			pass_deferral();
			set();
			live(worker);
			// A queued slash is applied, whatever the minimum is now.
			assert_ok!(Providers::apply_slash(signed(DAVE), slash));
			live(worker);
			recover();
			// The minimum stake brings it back, and all unbonded stake can be withdrawn within a year.
			assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM));
			run_to(Providers::now() + 366 * DAYS);
			Popw::pass();
			if state(worker) != WorkerState::Online {
				assert_ok!(Providers::go_online(signed(ALICE), worker));
				Popw::spot_check(worker, online(PROFILE));
			}
			assert_eq!(state(worker), WorkerState::Online);
			assert_ok!(try_register(BOB, 10, SPEC, MINIMUM));
			assert_ok!(Providers::stake(signed(CAROL), worker, KAI));
			assert_ok!(Providers::unstake(signed(CAROL), worker, KAI));
			assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
			run_to(Providers::now() + 366 * DAYS);
			assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
			assert_ok!(Providers::withdraw_unbonded(signed(CAROL), worker));
		});
	};
	for value in [0, Balance::MAX] {
		for set in &all {
			try_out(&|| set(value));
		}
		try_out(&|| all.iter().for_each(|set| set(value)));
	}
}

#[test]
fn a_minimum_above_all_kai_fails_by_its_own_error() {
	ExtBuilder.build_and_execute(|| {
		for set in [BaseStake::set, StakePerScore::set] {
			set(&Balance::MAX);
			assert_noop!(
				try_register(ALICE, 1, SPEC, MINIMUM),
				Error::<Test>::StakeBelowMinimum
			);
			recover();
		}
	});
}
