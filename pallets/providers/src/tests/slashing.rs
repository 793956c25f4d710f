//! Slashes: queued, increased, canceled, applied; bounties, and suspension.

use super::*;
use kaisar_math::stake::{offline_rate, slash_at};
use sp_runtime::Perquintill;

pub const POOL: Balance = 2 * MINIMUM;

pub fn pool(worker: WorkerId) -> StakePool {
	record(worker).pool
}

/// Registers an online worker of `ALICE`, with a total stake of [`POOL`], that no running round saw in
/// another state.
pub fn worker_with_stake() -> WorkerId {
	let worker = register_online(ALICE, 1);
	assert_ok!(Providers::stake(signed(ALICE), worker, POOL - MINIMUM));
	Popw::pass();
	events();
	worker
}

/// Has a census find the worker offline, at least `blocks` after its last proof. Returns the exact number.
pub fn found_offline(worker: WorkerId, blocks: BlockNumber) -> BlockNumber {
	let proved = record(worker).proved_at.unwrap();
	run_to((proved + blocks - PHASE).max(Providers::now()));
	let census = Popw::start_round(true) + 1;
	assert!(Popw::attest(worker, census));
	let gap = Popw::start_of(census) - proved;
	Popw::close(worker, Outcome::Offline);
	gap
}

/// Has a census find the worker's proof false.
pub fn found_false(worker: WorkerId, finder: Option<&AccountId>) -> BlockNumber {
	let census = Popw::start_round(true) + 1;
	assert!(Popw::attest(worker, census));
	Popw::close_by(worker, online(PROFILE), true, finder);
	Popw::start_of(census)
}

pub fn queued(id: SlashId) -> SlashView<AccountId> {
	Providers::queued_slash(id).expect("it is queued")
}

pub fn percent(percent: u64) -> Perquintill {
	Perquintill::from_percent(percent)
}

/// Returns the maximum amount of the queued slashes against the worker, of the present pool.
pub fn at_stake(worker: WorkerId) -> Balance {
	Providers::worker(worker).unwrap().queued
}

pub fn by_hand(worker: WorkerId, level: SlashLevel) -> SlashId {
	let id = NextSlashId::<Test>::get();
	assert_ok!(Providers::slash(RuntimeOrigin::root(), worker, level));
	id
}

pub fn pass_deferral() {
	run_to(Providers::now() + DEFERRAL);
}

#[test]
fn who_reports_an_absentee_shares_the_bounty_with_who_applies_the_slash() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		run_to(Providers::now() + DAYS);
		let census = Popw::start_round(true) + 1;
		Popw::start_round(false);
		assert!(Popw::absent(worker, census));
		assert_eq!(queued(0).finder, Some(BOB));
		let amount = queued(0).amount;
		assert_eq!(amount, POOL / 10);
		run_to(queued(0).due);
		let before = (Balances::free_balance(BOB), Balances::free_balance(CAROL));
		events();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		let half = amount / 200;
		assert_eq!(
			events(),
			vec![
				Event::Slashed {
					worker,
					slash: Some(0),
					level: SlashLevel::One,
					own: amount,
					own_unbonding: 0,
					delegated: 0,
					unbonding: 0
				},
				Event::BountyPaid {
					worker,
					who: BOB,
					amount: half
				},
				Event::BountyPaid {
					worker,
					who: CAROL,
					amount: half
				},
			]
		);
		assert_eq!(
			(Balances::free_balance(BOB), Balances::free_balance(CAROL)),
			(before.0 + half, before.1 + half)
		);
		assert_eq!(reward_pot(), amount - 2 * half);
		assert_eq!(pot(), POOL - amount);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_noop!(
			Providers::apply_slash(signed(CAROL), 0),
			Error::<Test>::UnknownSlash
		);
	});
}

#[test]
fn without_a_finder_the_applier_has_it_all() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_offline(worker, DAYS);
		pass_deferral();
		let before = Balances::free_balance(CAROL);
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(Balances::free_balance(CAROL), before + POOL / 1_000);
		assert_eq!(reward_pot(), POOL / 10 - POOL / 1_000);
	});
}

#[test]
fn a_bounty_that_would_be_dust_goes_to_the_pot() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_offline(worker, PHASE);
		// Half of a hundredth of it is below the existential deposit.
		let rate = offline_rate(1);
		Slashes::<Test>::mutate(0, |slash| {
			let slash = slash.as_mut().unwrap();
			slash.rate = rate;
			slash.finder = Some(NOBODY);
		});
		Providers::mutate(worker, |record| {
			record.queued.rates = rate.deconstruct().into();
			Ok(())
		})
		.unwrap();
		let amount = queued(0).amount;
		assert!(amount / 200 < ED);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(Balances::free_balance(NOBODY), 0);
		assert_eq!(reward_pot(), amount - amount / 100 + amount / 200);
	});
}

#[test]
fn boundary_of_the_deferral() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_offline(worker, DAYS);
		let due = queued(0).due;
		run_to(due - 1);
		assert_noop!(
			Providers::apply_slash(signed(CAROL), 0),
			Error::<Test>::SlashDeferred
		);
		assert_ok!(frame_support::hypothetically!(Providers::cancel_slash(
			RuntimeOrigin::root(),
			0
		)));
		run_to(due);
		assert_noop!(
			Providers::cancel_slash(RuntimeOrigin::root(), 0),
			Error::<Test>::DeferralOver
		);
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		for id in [0, 1] {
			assert_noop!(
				Providers::cancel_slash(RuntimeOrigin::root(), id),
				Error::<Test>::UnknownSlash
			);
			assert_noop!(
				Providers::apply_slash(signed(CAROL), id),
				Error::<Test>::UnknownSlash
			);
		}
	});
}

#[test]
fn a_canceled_slash_takes_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_offline(worker, DAYS);
		events();
		assert_ok!(Providers::cancel_slash(RuntimeOrigin::root(), 0));
		assert_eq!(
			events(),
			vec![Event::SlashCancelled {
				slash: 0,
				worker,
				level: SlashLevel::One,
				amount: POOL / 10
			}]
		);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_eq!((pot(), reward_pot()), (POOL, 0));
	});
}

#[test]
fn a_later_finding_is_added_and_does_not_move_the_day() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let first = found_offline(worker, DAYS);
		let slash = queued(0);
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		Popw::spot_check(worker, online(PROFILE));
		Popw::pass();
		let second = found_offline(worker, 1_000);
		let rate = queued(0).rate;
		assert_eq!(rate, percent(10) + offline_rate(second));
		assert_eq!(queued(0).due, slash.due);
		assert_eq!(NextSlashId::<Test>::get(), 1);
		assert_eq!(record(worker).queued.most(), rate);
		// Together at most the rate over the time covered.
		let all = Balance::from(first + second);
		assert!(queued(0).amount <= POOL / 10 * all / Balance::from(DAYS));
	});
}

#[test]
fn what_is_found_after_the_day_is_a_slash_of_its_own() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_offline(worker, 1_000);
		let first = queued(0);
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		Popw::spot_check(worker, online(PROFILE));
		run_to(first.due);
		found_offline(worker, 1_000);
		assert_eq!(queued(0), first);
		assert_eq!(record(worker).queued.offline, Some(1));
		assert_eq!(record(worker).queued.most(), first.rate + queued(1).rate);
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(record(worker).queued.offline, Some(1));
		// Of the remainder after the first one.
		let left = POOL - first.amount;
		assert_eq!(queued(1).amount, slash_at(queued(1).rate, left));
		let all = first.amount + queued(1).amount;
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 1));
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_eq!(pot(), POOL - all);
	});
}

#[test]
fn by_hand_level_one_and_two_wait_and_level_three_does_not() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_ok!(Providers::stake(signed(CAROL), worker, 200 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 50 * KAI));
		let total = POOL + 200 * KAI;
		assert_eq!(queued(by_hand(worker, SlashLevel::One)).amount, total / 10);
		assert_eq!(queued(by_hand(worker, SlashLevel::Two)).amount, total / 2);
		// Findings of checks are added to neither.
		assert_eq!(
			(record(worker).queued.offline, record(worker).queued.malice),
			(None, None)
		);
		events();
		by_hand(worker, SlashLevel::Three);
		assert_eq!(
			events()[0],
			Event::Slashed {
				worker,
				slash: None,
				level: SlashLevel::Three,
				own: POOL,
				own_unbonding: 0,
				delegated: 150 * KAI,
				unbonding: 50 * KAI
			}
		);
		assert_eq!((pot(), reward_pot()), (0, total));
		assert_eq!(state(worker), WorkerState::Suspended);
		for level in [SlashLevel::One, SlashLevel::Two, SlashLevel::Three] {
			assert_noop!(
				Providers::slash(RuntimeOrigin::root(), worker, level),
				Error::<Test>::NothingToSlash
			);
		}
		// Queued slashes find nothing any more, and are removed once applied.
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_ok!(Providers::apply_slash(signed(CAROL), 1));
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_eq!(reward_pot(), total);
	});
}

#[test]
fn every_part_of_a_pool_loses_the_same_rate() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(ALICE), worker, 50 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, 50 * KAI));
		assert_ok!(Providers::stake(signed(CAROL), worker, 300 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		let mut left = [650, 50, 200, 100].map(|kai| kai * KAI);
		for level in [SlashLevel::Two, SlashLevel::One, SlashLevel::Two] {
			let rate = if level == SlashLevel::Two { 2 } else { 10 };
			let taken = left.map(|part| part / rate);
			let id = by_hand(worker, level);
			assert_eq!(queued(id).amount, taken.iter().sum::<Balance>());
			pass_deferral();
			events();
			assert_ok!(Providers::apply_slash(signed(BOB), id));
			let [own, own_unbonding, delegated, unbonding] = taken;
			assert_eq!(
				events()[0],
				Event::Slashed {
					worker,
					slash: Some(id),
					level,
					own,
					own_unbonding,
					delegated,
					unbonding
				}
			);
			for (part, taken) in left.iter_mut().zip(taken) {
				*part -= taken;
			}
			let pool = pool(worker);
			assert_eq!(
				left,
				[
					pool.own,
					pool.own_unbonding.part.value,
					pool.delegated.value,
					pool.unbonding.part.value
				]
			);
		}
	});
}

#[test]
fn below_the_minimum_a_worker_is_suspended_until_it_is_topped_up() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		found_offline(worker, DAYS);
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		Popw::spot_check(worker, online(PROFILE));
		Popw::pass();
		run_to(queued(0).due);
		assert_eq!(state(worker), WorkerState::Online);
		events();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(
			events().last(),
			Some(&Event::WorkerStateChanged {
				worker,
				old: WorkerState::Online,
				new: WorkerState::Suspended,
				since: Popw::next_round()
			})
		);
		assert!(record(worker).short);
		assert_eq!(Providers::idle_workers(11, 1, None), 0);
		// It earns nothing meanwhile, and only one call ends the suspension.
		Popw::pass();
		let pending = Providers::pending_time(worker);
		run_to(Providers::now() + 100);
		assert_eq!(Providers::pending_time(worker), pending);
		assert_noop!(
			Providers::go_online(signed(ALICE), worker),
			Error::<Test>::WorkerSuspended
		);
		assert_noop!(
			Providers::go_offline(signed(ALICE), worker),
			Error::<Test>::WorkerSuspended
		);
		assert_noop!(
			Providers::update_worker(signed(ALICE), worker, SPEC),
			Error::<Test>::WorkerSuspended
		);
		let missing = MINIMUM / 10;
		assert_ok!(Providers::stake(signed(ALICE), worker, missing - 1));
		assert_eq!(state(worker), WorkerState::Suspended);
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(!record(worker).short);
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(state(worker), WorkerState::Online);
	});
}

#[test]
fn a_rented_worker_is_suspended_when_its_order_closes() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(<Providers as Market>::rent(worker, 7));
		by_hand(worker, SlashLevel::One);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(state(worker), WorkerState::Rented);
		assert_ok!(<Providers as Market>::free(worker, true));
		assert_eq!(state(worker), WorkerState::Suspended);
	});
	ExtBuilder.build_and_execute(|| {
		// If topped up in time, it is not suspended.
		let worker = register_online(ALICE, 1);
		assert_ok!(<Providers as Market>::rent(worker, 7));
		by_hand(worker, SlashLevel::One);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM / 10));
		assert_eq!(state(worker), WorkerState::Rented);
		assert_ok!(<Providers as Market>::free(worker, true));
		assert_eq!(state(worker), WorkerState::Online);
	});
	ExtBuilder.build_and_execute(|| {
		// If found offline, it loses the order.
		let worker = register_online(ALICE, 1);
		assert_ok!(<Providers as Market>::rent(worker, 7));
		by_hand(worker, SlashLevel::One);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_ok!(<Popw as Checks>::force(worker));
		Popw::spot_check(worker, Outcome::Offline);
		assert_eq!(state(worker), WorkerState::Suspended);
		assert_eq!(record(worker).order, None);
	});
}

/// Stake taken out before the slash is applied still counts for its amount.
#[test]
fn events_give_the_amount_as_of_their_block() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let id = by_hand(worker, SlashLevel::Two);
		assert_ok!(Providers::stake(signed(ALICE), worker, 100 * KAI));
		events();
		assert_ok!(frame_support::hypothetically!({
			let canceled = Providers::cancel_slash(RuntimeOrigin::root(), id);
			assert_eq!(
				events(),
				vec![Event::SlashCancelled {
					slash: id,
					worker,
					level: SlashLevel::Two,
					amount: POOL / 2 + 50 * KAI
				}]
			);
			canceled
		}));
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_eq!(pool(worker).own, POOL / 2 + 50 * KAI);
	});
}

#[test]
fn the_last_slash_takes_the_record_of_an_empty_worker_along() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let id = by_hand(worker, SlashLevel::Two);
		by_hand(worker, SlashLevel::Three);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		assert!(
			Providers::worker(worker).is_some(),
			"a slash is still queued"
		);
		pass_deferral();
		events();
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_eq!(events().last(), Some(&Event::WorkerRemoved { worker }));
	});
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let id = by_hand(worker, SlashLevel::Two);
		by_hand(worker, SlashLevel::Three);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		assert_ok!(Providers::cancel_slash(RuntimeOrigin::root(), id));
		assert_eq!(Providers::worker(worker), None);
	});
}

#[test]
fn pools_are_settled_before_they_are_slashed() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let id = by_hand(worker, SlashLevel::One);
		pass_deferral();
		Popw::changes();
		assert_ok!(Providers::apply_slash(signed(CAROL), id));
		by_hand(worker, SlashLevel::Three);
		assert_eq!(Popw::changes(), vec![(PoolId::Worker(worker), None); 2]);
	});
}
