//! Slashes: what checks find, what waits, what is applied, and what a provider can do meanwhile.

use super::*;

const POOL: Balance = 2 * MINIMUM;

fn pool(worker: WorkerId) -> StakePool {
	record(worker).pool
}

/// An online worker of `ALICE`, as much staked again as the minimum, that no running round saw otherwise.
fn worker_with_stake() -> WorkerId {
	let worker = register_online(ALICE, 1);
	assert_ok!(Providers::stake(signed(ALICE), worker, POOL - MINIMUM));
	Popw::pass();
	events();
	worker
}

/// A census finds the worker offline, `blocks` after its last proof at the least. Returns how many exactly.
fn found_offline(worker: WorkerId, blocks: BlockNumber) -> BlockNumber {
	let proved = record(worker).proved_at.unwrap();
	run_to((proved + blocks - PHASE).max(Providers::now()));
	let census = Popw::start_round(true) + 1;
	assert!(Popw::attest(worker, census));
	let gap = Popw::start_of(census) - proved;
	Popw::close(worker, Outcome::Offline);
	gap
}

/// A census finds the worker's proof false.
fn found_false(worker: WorkerId, finder: Option<&AccountId>) -> BlockNumber {
	let census = Popw::start_round(true) + 1;
	assert!(Popw::attest(worker, census));
	Popw::close_by(worker, online(POOR), true, finder);
	Popw::start_of(census)
}

fn queued(id: SlashId) -> QueuedSlash<AccountId> {
	Providers::queued_slash(id).expect("it is queued")
}

fn by_hand(worker: WorkerId, level: SlashLevel) -> SlashId {
	let id = NextSlashId::<Test>::get();
	assert_ok!(Providers::slash(RuntimeOrigin::root(), worker, level));
	id
}

fn pass_deferral() {
	run_to(Providers::now() + DEFERRAL);
}

#[test]
fn found_offline_is_charged_for_the_time_since_the_last_proof() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let gap = found_offline(worker, 1_200);
		let amount = POOL / 10 * Balance::from(gap) / Balance::from(DAYS);
		let due = Providers::now() + DEFERRAL;
		assert_eq!(
			queued(0),
			QueuedSlash {
				worker,
				level: SlashLevel::One,
				amount,
				due,
				finder: None,
			}
		);
		assert_eq!(
			events().last(),
			Some(&Event::SlashQueued {
				slash: 0,
				worker,
				level: SlashLevel::One,
				added: amount,
				amount,
				due
			})
		);
		assert_eq!(
			record(worker).queued,
			Queued {
				amount,
				offline: Some(0),
				malice: None
			}
		);
		// Nothing is taken yet.
		assert_eq!(pool(worker).total(), Ok(POOL));
	});
}

#[test]
fn boundary_of_ten_per_cent_a_check() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_eq!(found_offline(worker, DAYS), DAYS);
		assert_eq!(queued(0).amount, POOL / 10);
	});
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert!(found_offline(worker, 5 * DAYS) > DAYS);
		assert_eq!(queued(0).amount, POOL / 10);
	});
}

#[test]
fn only_who_was_online_or_rented_at_the_rounds_start_is_slashed() {
	ExtBuilder.build_and_execute(|| {
		// Pending: it never said that it works.
		let pending = register(ALICE, 1);
		let round = Popw::start_round(false);
		Popw::start_round(false);
		assert!(Popw::absent(pending, round));
		assert_eq!(record(pending).queued, Queued::default());
		// Back, and not verified yet.
		let back = register_online(ALICE, 2);
		Popw::pass();
		assert_ok!(Providers::go_offline(signed(ALICE), back));
		Popw::pass();
		assert_ok!(Providers::go_online(signed(ALICE), back));
		Popw::spot_check(back, Outcome::Offline);
		assert_eq!(record(back).queued, Queued::default());
		// Leaving counts from the next round.
		let leaving = register_online(ALICE, 3);
		Popw::pass();
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::go_offline(signed(ALICE), leaving));
		assert!(Popw::attest(leaving, census));
		Popw::close(leaving, Outcome::Offline);
		assert!(record(leaving).queued.amount > 0);
		// A rented one, found by a spot round.
		let rented = register_online(ALICE, 4);
		Popw::pass();
		assert_ok!(<Providers as Market>::rent(rented, 7));
		assert_ok!(<Popw as Checks>::force(rented));
		Popw::spot_check(rented, Outcome::Offline);
		assert!(record(rented).queued.amount > 0);
		// It lost its order.
		assert_eq!(
			(state(rented), record(rented).order),
			(WorkerState::Offline, None)
		);
	});
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
		assert_eq!(record(worker).queued, Queued::default());
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
		// Small enough that half of a hundredth of it brings nobody to life.
		Slashes::<Test>::mutate(0, |slash| {
			let slash = slash.as_mut().unwrap();
			slash.amount = ED;
			slash.finder = Some(NOBODY);
		});
		Providers::mutate(worker, |record| {
			record.queued.amount = ED;
			Ok(())
		})
		.unwrap();
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(Balances::free_balance(NOBODY), 0);
		assert_eq!(reward_pot(), ED - ED / 200);
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
fn a_cancelled_slash_takes_nothing() {
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
		assert_eq!(record(worker).queued, Queued::default());
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
		let added = POOL / 10 * Balance::from(second) / Balance::from(DAYS);
		assert_eq!(queued(0).amount, slash.amount + added);
		assert_eq!(queued(0).due, slash.due);
		assert_eq!(NextSlashId::<Test>::get(), 1);
		assert_eq!(record(worker).queued.amount, slash.amount + added);
		// Together no more than the rate over the time covered.
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
		let all = first.amount + queued(1).amount;
		assert_eq!(record(worker).queued.amount, all);
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(record(worker).queued.offline, Some(1));
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 1));
		assert_eq!(record(worker).queued, Queued::default());
		assert_eq!(pot(), POOL - all);
	});
}

#[test]
fn a_false_proof_is_an_accident_once_and_malice_twice() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_false(worker, None);
		assert_eq!(record(worker).queued, Queued::default());
		found_false(worker, Some(&DAVE));
		assert_eq!(queued(0).level, SlashLevel::Two);
		assert_eq!((queued(0).amount, queued(0).finder), (POOL / 2, Some(DAVE)));
		assert_eq!(record(worker).queued.malice, Some(0));
	});
}

#[test]
fn a_good_proof_in_between_ends_the_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_false(worker, None);
		Popw::census(worker, online(PROFILE));
		assert_eq!(
			(record(worker).false_proofs, record(worker).false_time),
			(0, None)
		);
		found_false(worker, None);
		assert_eq!(record(worker).queued, Queued::default());
		// A check that came to nothing says nothing.
		Popw::census(worker, Outcome::NoConsensus);
		Popw::pass();
		found_false(worker, None);
		assert_eq!(queued(0).amount, POOL / 2);
	});
}

#[test]
fn malice_that_goes_on_is_charged_by_time_after_the_first_day() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let since = found_false(worker, None);
		found_false(worker, None);
		run_to(since + DAYS / 2);
		found_false(worker, None);
		assert_eq!(queued(0).amount, POOL / 2, "the first day was charged");
		run_to(since + DAYS + DAYS / 2 - PHASE);
		let at = found_false(worker, None);
		assert_eq!(at - since, DAYS + DAYS / 2);
		assert_eq!(queued(0).amount, POOL / 2 + POOL / 4);
		// Never more than there is.
		run_to(queued(0).due - 2 * PHASE);
		let at = found_false(worker, None);
		let lasted = Balance::from(at - since);
		assert_eq!(queued(0).amount, POOL / 2 * lasted / Balance::from(DAYS));
		run_to(queued(0).due + 10 * DAYS);
		found_false(worker, None);
		assert_eq!(record(worker).queued.amount, POOL);
		found_false(worker, None);
		assert_eq!(record(worker).queued.amount, POOL);
	});
}

#[test]
fn a_false_proof_proves_no_time() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		let proved = Popw::close_with(worker, online(PROFILE), true);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(Providers::pending_time(worker), Some((0, 0)));
	});
}

#[test]
fn a_service_that_does_not_answer_is_charged_and_proves_no_rent() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_ok!(<Providers as Market>::rent(worker, 7));
		let last_proof = record(worker).proved_at;
		run_to(last_proof.unwrap() + 1_440 - PHASE);
		assert_ok!(<Popw as Checks>::force(worker));
		events();
		let silent = Outcome::Online {
			profile: Some(PROFILE),
			service: false,
		};
		let proved = Popw::spot_check(worker, silent);
		assert!(proved.idle > 0);
		assert_eq!(proved.rented, 0);
		assert!(events().contains(&Event::ServiceDown {
			worker,
			round: Popw::next_round() - 2,
			last_proof
		}));
		assert_eq!(queued(0).amount, POOL / 10 / 5);
		// The order is its customer's to close.
		assert_eq!(state(worker), WorkerState::Rented);
	});
}

#[test]
fn a_service_of_an_order_that_is_over_is_not_charged() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let silent = Outcome::Online {
			profile: Some(PROFILE),
			service: false,
		};
		let rent = <Providers as Market>::rent;
		let free = |worker| <Providers as Market>::free(worker, true);
		assert_ok!(rent(worker, 7));
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		// The order is closed while the votes come in.
		assert_ok!(free(worker));
		let proved = Popw::close_with(worker, silent, false);
		assert_eq!((proved.rented, Providers::queued_slash(0)), (0, None));

		// And the next one has begun before the votes are in.
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		assert_ok!(rent(worker, 8));
		Popw::close_with(worker, silent, false);
		assert_eq!(Providers::queued_slash(0), None);
		assert_eq!(Providers::reliability(worker), Some(Perbill::one()));
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
		// What checks find is added to neither.
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
		// What waits finds nothing any more, and is gone when it was applied.
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_ok!(Providers::apply_slash(signed(CAROL), 1));
		assert_eq!(record(worker).queued, Queued::default());
		assert_eq!(reward_pot(), total);
	});
}

#[test]
fn the_owner_bears_it_first_then_delegators_then_what_unbonds() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(ALICE), worker, 50 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, 50 * KAI));
		assert_ok!(Providers::stake(signed(CAROL), worker, 300 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		// 650 own, 50 of it unbonding, 200 delegated, 100 unbonding: 1,000.
		let total = |worker| pool(worker).total().unwrap();
		let mut left = total(worker);
		for row in [[500, 0, 0, 0], [150, 50, 50, 0], [0, 0, 125, 0]] {
			let id = by_hand(worker, SlashLevel::Two);
			pass_deferral();
			events();
			assert_ok!(Providers::apply_slash(signed(BOB), id));
			let [own, own_unbonding, delegated, unbonding] = row.map(|kai| kai * KAI);
			assert_eq!(
				events()[0],
				Event::Slashed {
					worker,
					slash: Some(id),
					level: SlashLevel::Two,
					own,
					own_unbonding,
					delegated,
					unbonding
				}
			);
			left -= left / 2;
			assert_eq!(total(worker), left);
		}
		by_hand(worker, SlashLevel::Two);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(BOB), 3));
		let StakePool {
			delegated,
			unbonding,
			..
		} = pool(worker);
		assert_eq!((delegated.value, unbonding.part.value), (0, 125 * KAI / 2));
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
		// It earns nothing meanwhile, and no call but one leads out.
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
fn topping_up_does_not_hide_from_a_check_that_is_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		by_hand(worker, SlashLevel::One);
		pass_deferral();
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::apply_slash(signed(ALICE), 0));
		Popw::start_round(false);
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM));
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(Popw::absent(worker, census));
		assert!(record(worker).queued.amount > 0);
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
		// Topped up in time, it is not.
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
		// Found offline, it loses the order.
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

#[test]
fn while_a_slash_waits_a_provider_cannot_take_what_it_reaches() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		// An old piece, which is out before the slash is due.
		assert_ok!(Providers::stake(signed(ALICE), worker, 100 * KAI));
		assert_ok!(Providers::unstake(signed(ALICE), worker, 100 * KAI));
		let out = Providers::now() + UNBONDING;
		run_to(out - DAYS);
		Popw::census(worker, online(PROFILE));
		let id = by_hand(worker, SlashLevel::Two);
		let half = (POOL + 100 * KAI) / 2;
		assert_eq!(queued(id).amount, half);
		// It may leave, take stake out, and deregister: all of it stays within reach.
		assert_ok!(Providers::unstake(signed(ALICE), worker, POOL - MINIMUM));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::pass();
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		assert_eq!(pool(worker).owners(), Ok(POOL + 100 * KAI));
		// What is out may go as long as the rest covers the slash.
		Popw::pass();
		run_to(out);
		assert!(Providers::now() < queued(id).due);
		assert_ok!(frame_support::hypothetically!(
			Providers::withdraw_unbonded(signed(ALICE), worker)
		));
		Providers::mutate(worker, |record| {
			record.queued.amount = POOL;
			Ok(())
		})
		.unwrap();
		assert_ok!(frame_support::hypothetically!(
			Providers::withdraw_unbonded(signed(ALICE), worker)
		));
		Providers::mutate(worker, |record| {
			record.queued.amount = POOL + 1;
			Ok(())
		})
		.unwrap();
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), worker),
			Error::<Test>::SlashPending
		);
		Providers::mutate(worker, |record| {
			record.queued.amount = half;
			Ok(())
		})
		.unwrap();

		// Applied to a worker that was deregistered.
		run_to(queued(id).due);
		assert_ok!(Providers::apply_slash(signed(BOB), id));
		assert_eq!(pool(worker).own_unbonding.part.value, half);
		assert_eq!(state(worker), WorkerState::Offline);
		run_to(Providers::now() + UNBONDING);
		let before = Balances::free_balance(ALICE);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Balances::free_balance(ALICE), before + half);
		assert_eq!(Providers::worker(worker), None);
		assert_eq!(pot(), 0);
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
fn boundary_of_what_delegators_can_move_while_a_slash_waits() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 300 * KAI));
		assert_ok!(Providers::unstake(signed(CAROL), worker, 100 * KAI));
		by_hand(worker, SlashLevel::Two);
		let queue = |amount| {
			Slashes::<Test>::mutate(0, |slash| slash.as_mut().unwrap().amount = amount);
			Providers::mutate(worker, |record| {
				record.queued.amount = amount;
				Ok(())
			})
			.unwrap();
		};
		// What the owner has covers it: delegators come and go.
		queue(MINIMUM);
		let stake = || Providers::stake(signed(DAVE), worker, KAI);
		let unstake = || Providers::unstake(signed(CAROL), worker, KAI);
		assert_ok!(frame_support::hypothetically!(stake()));
		assert_ok!(frame_support::hypothetically!(unstake()));
		// A unit of theirs is at stake: nobody leaves the others alone with it, nor joins unawares.
		queue(MINIMUM + 1);
		assert_noop!(stake(), Error::<Test>::SlashPending);
		assert_noop!(unstake(), Error::<Test>::SlashPending);
		// What unbonds is behind them.
		run_to(Providers::now() + UNBONDING);
		let withdraw = || Providers::withdraw_unbonded(signed(CAROL), worker);
		queue(MINIMUM + 200 * KAI);
		assert_ok!(frame_support::hypothetically!(withdraw()));
		queue(MINIMUM + 200 * KAI + 1);
		assert_noop!(withdraw(), Error::<Test>::SlashPending);
		// And the owner's topping up lets them go.
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
		assert_ok!(withdraw());
		assert_noop!(unstake(), Error::<Test>::SlashPending);
		// Anyone can end it.
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(pool(worker).delegated.value, 0);
	});
}

#[test]
fn delegators_of_a_deregistered_worker_wait_for_a_slash_that_reaches_them() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::stake(signed(CAROL), worker, 1_350 * KAI));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING - 1);
		// 2,000 KAI in all: a thousand, of which the owner bears 650.
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
		assert_eq!(Balances::free_balance(CAROL), FUNDS - 350 * KAI);
		// The owner's piece is worth nothing; taking it is the end of the worker.
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		assert_eq!(Providers::worker(worker), None);
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
fn a_check_of_a_deregistered_worker_still_finds_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		run_to(record(worker).proved_at.unwrap() + DAYS);
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		Popw::start_round(false);
		assert!(Popw::absent(worker, census));
		assert_eq!(queued(0).amount, POOL / 10);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(pool(worker).own_unbonding.part.value, POOL / 10 * 9);
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
