//! Tests of attacks and their gain. `docs/orders.md` gives the cost of each.

use super::*;
use frame_support::traits::fungible::MutateFreeze;

/// Returns all KAI of an account, on hold or not.
fn wealth(who: AccountId) -> Balance {
	let (orders, bonds) = held(who);
	free(who) + orders + bonds
}

#[test]
fn a_long_plan_that_is_canceled_early_is_not_cheap() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = try_place(CARLA, ONE, 2_160, Plan::Quarter, 0).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		run_to(order(id).started_at + 2 * HOURS);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(2 * PRICE * 8 / 10));
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		check(worker, now(), Verdict::Fine);
		// The price is that without a plan.
		assert_eq!(order(id).ledger.gross(), Ok(2 * PRICE));
	});
}

#[test]
fn credits_never_become_kai() {
	// Every way of ending an order that was paid in credits.
	let ends: [fn(u32, u32); 9] = [
		|id, _| {
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		},
		|id, _| {
			matched(id);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		},
		|id, _| {
			matched(id);
			let reason = DeployFailure::Unhealthy;
			assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
		},
		|id, _| {
			matched(id);
			run_to(order(id).deploy_by + 1);
		},
		|id, worker| {
			matched(id);
			confirm(id);
			check(worker, now(), Verdict::Offline);
		},
		|id, worker| {
			matched(id);
			confirm(id);
			check(worker, now() + 1, Verdict::Down);
		},
		|id, _| {
			matched(id);
			confirm(id);
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		},
		|id, worker| {
			matched(id);
			confirm(id);
			run_to(now() + HOURS);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
			check(worker, now(), Verdict::Fine);
		},
		|id, _| {
			matched(id);
			confirm(id);
			run_to(order(id).ends_at + 16 * TIMEOUT);
		},
	];
	for end in ends {
		ExtBuilder.build_and_execute(|| {
			let worker = add_machine(PETRA);
			let credits = earn_credits(CARLA, 4);
			let before = wealth(CARLA);
			let id = try_place(CARLA, ONE, 4, Plan::OnDemand, credits).unwrap();
			assert_eq!(order(id).ledger.escrow, Money { kai: 0, credits });
			end(id, worker);
			assert!(order(id).is_closed());
			assert_eq!(wealth(CARLA), before, "no KAI came of it");
			assert!(Credits::<Test>::get(CARLA) <= credits);
		});
	}
}

/// Ends an order of a day after five hours. Returns the customer's KAI and credits, and the machine.
fn after_five_hours(end: impl FnOnce(u32, u32)) -> (Balance, Balance, Machine) {
	let mut result = None;
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 24);
		let started = order(id).started_at;
		for hour in 1..=5 {
			run_to(started + hour * HOURS);
			check(worker, now(), Verdict::Fine);
		}
		run_to(now() + 100);
		end(id, worker);
		assert!(order(id).is_closed());
		result = Some((wealth(CARLA), Credits::<Test>::get(CARLA), machine(worker)));
	});
	result.expect("it ran")
}

#[test]
fn a_tenant_that_silences_or_ends_its_container_gets_no_kai_back_and_hurts_no_stake() {
	let (kai, credits, _) = after_five_hours(|id, worker| {
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		check(worker, now(), Verdict::Fine);
	});
	assert_eq!(kai, FUNDS - 24 * PRICE);
	let attacks: [fn(u32, u32); 3] = [
		// The container stops listening, and a check comes.
		|_, worker| check(worker, now(), Verdict::Down),
		// The customer also reports that, so that a check comes at once.
		|id, worker| {
			assert_ok!(Rentals::report_issue(signed(CARLA), id, Issue::NotServing));
			check(worker, now(), Verdict::Down);
		},
		// The container ends.
		|id, _| {
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		},
	];
	for attack in attacks {
		let (has, got, machine) = after_five_hours(attack);
		assert_eq!(
			(has, got),
			(kai, credits),
			"it pays what a cancellation costs"
		);
		assert_eq!((machine.slashes, machine.barred_until), (0, 0));
		assert_eq!(machine.reliability, Perbill::one());
	}
}

#[test]
fn a_canceled_order_cannot_be_turned_into_kai_by_ending_its_container() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = try_place(CARLA, ONE, 2_160, Plan::Quarter, 0).unwrap();
		matched(id);
		confirm(id);
		// Nothing is proved yet, so an exit would refund the rest in KAI.
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		let spent = order(id).ledger.charged;
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(wealth(CARLA), FUNDS - spent);
		assert_eq!(Credits::<Test>::get(CARLA), spent - PRICE);
	});
}

#[test]
fn a_long_plan_is_not_left_for_kai_by_a_machine_that_goes_away_after_the_cancellation() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		// 90 days at 2.40 KAI an hour: 5,184 KAI.
		let id = try_place(CARLA, ONE, 2_160, Plan::Quarter, 0).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		let started = order(id).started_at;
		// Twelve hours are proved; the last two hours of the day's 24 are not.
		for hours in [12, 22] {
			System::set_block_number(started + hours * HOURS);
			check(worker, now(), Verdict::Fine);
		}
		System::set_block_number(started + 24 * HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		// The provider is an accomplice, and pulls the plug.
		check(worker, now(), Verdict::Offline);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		// The 22 proved hours cost 66 KAI on demand, which is the plan that a day has earned, and are paid.
		// The other 2 h, 6 KAI, are refunded. Before the mend, 5,131.20 KAI were.
		let kai = |hundredths: Balance| hundredths * KAI / 100;
		let ledger = order(id).ledger;
		assert_eq!(ledger.gross(), Ok(kai(6_600)));
		assert_eq!(wealth(CARLA), FUNDS - kai(518_400) + kai(600));
		assert_eq!(Credits::<Test>::get(CARLA), kai(511_200));
		next_block();
	});
}

#[test]
fn confirming_and_reporting_an_exit_at_once_makes_no_machine_reliable() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		for _ in 0..32 {
			let (id, _) = deployed(CARLA, 1);
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
			// A full check finds everything as claimed, and lists the worker again.
			check(worker, now(), Verdict::Fine);
		}
		assert_eq!(machine(worker).deployed, 0);
	});
}

#[test]
fn a_long_deadline_holds_no_rivals_machine_below_its_price() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let place = |hours, deploy_blocks| {
			Rentals::place_order(
				signed(DAN),
				ONE,
				Workload {
					deploy_blocks,
					..workload()
				},
				hours,
				Plan::OnDemand,
				Balance::MAX,
				0,
				client_key(),
			)
		};
		// Two hours of a machine for one hour's price.
		for blocks in [301, 600] {
			assert_noop!(place(1, blocks), Error::<Test>::InvalidWorkload);
		}
		for (hours, blocks) in [(1, 300), (2, 600)] {
			let (before, id) = (wealth(DAN), NextOrderId::<Test>::get());
			assert_ok!(place(hours, blocks));
			matched(id);
			run_to(order(id).deploy_by);
			assert_ok!(Rentals::cancel_order(signed(DAN), id));
			assert_eq!(before - wealth(DAN), price_of(blocks.into()));
		}
	});
}

#[test]
fn a_customer_with_a_bad_image_neither_bars_nor_ranks_down_a_rival() {
	ExtBuilder.build_and_execute(|| {
		// Petra's machine is the best of its class, Mallory's is as reliable and slower.
		let best = add_machine(PETRA);
		let mallorys = add_machine(DAN);
		with_machine(mallorys, |machine| machine.profile.bandwidth = 1);
		for reason in [
			DeployFailure::ImageUnavailable,
			DeployFailure::ContainerExited,
			DeployFailure::Unhealthy,
			DeployFailure::SealedMissing,
		] {
			// Mallory orders from a second account, and Petra's node reports the failure truthfully.
			let (id, worker) = placed(ANYONE, 1);
			assert_eq!(worker, best);
			assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
		}
		// Nothing has changed: the next order is Petra's.
		assert_eq!(placed(CARLA, 1).1, best);
		assert_eq!(machine(best).reliability, Perbill::one());
		// And it cost Mallory 0.1 h each time.
		assert_eq!(wealth(ANYONE), FUNDS - 4 * PRICE / 10);
		assert_eq!(wealth(TREASURY), KAI + 4 * PRICE / 10);
	});
}

#[test]
fn a_machine_without_an_engine_costs_its_customer_nothing() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		run_to(now() + 60);
		let reason = DeployFailure::NoEngine;
		assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
		assert_eq!((wealth(CARLA), wealth(TREASURY)), (FUNDS, KAI));
		assert_eq!(order(id).ledger.setup, 0);
		// A worker that fails orders at will is barred.
		assert_eq!(machine(worker).barred_until, now() + BAR);
	});
}

#[test]
fn a_provider_that_blames_its_customer_is_paid_nothing_but_spared_the_bar() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		let reason = DeployFailure::ImageUnavailable;
		assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
		assert_eq!(wealth(PETRA), FUNDS);
		assert_eq!(machine(worker).barred_until, 0);
		assert_eq!(wealth(CARLA), FUNDS - PRICE / 10);
	});
}

#[test]
fn a_provider_that_reports_an_exit_at_once_makes_no_credits_of_its_customers_kai() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = try_place(CARLA, ONE, 2_160, Plan::Quarter, 0).unwrap();
		matched(id);
		confirm(id);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(wealth(PETRA), FUNDS);
		assert_eq!(Credits::<Test>::get(CARLA), 0);
		// The treasury gets the price of an hour on demand.
		assert_eq!(wealth(CARLA), FUNDS - PRICE);
		assert_eq!(wealth(TREASURY), KAI + PRICE);
	});
}

#[test]
fn holding_a_machine_without_running_anything_costs_its_time() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let mut used = 0;
		for _ in 0..4 {
			let (id, _) = placed(DAN, 1);
			run_to(order(id).deploy_by);
			used += DEADLINE;
			assert_ok!(Rentals::cancel_order(signed(DAN), id));
		}
		assert_eq!(wealth(DAN), FUNDS - price_of(used));
	});
}

#[test]
fn credits_spent_on_ones_own_machine_become_kai_less_the_fee() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(PETRA, 9);
		let before = wealth(PETRA);
		let id = try_place(PETRA, ONE, 9, Plan::OnDemand, credits).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		run_to(order(id).ends_at);
		check(worker, now(), Verdict::Fine);
		assert_eq!(Credits::<Test>::get(PETRA), 0);
		assert_eq!(wealth(PETRA) - before, credits * 9 / 10);
	});
}

#[test]
fn rentals_cannot_be_chained_without_a_check_between_them() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(PETRA, 1);
		// The next order is placed just before the first one ends.
		run_to(order(id).ends_at - 1);
		let next = place(PETRA, 1);
		next_block();
		check(worker, now(), Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		next_block();
		assert_eq!(state(next), closed(CloseReason::NoSuitableWorker));
		// Only a check of the idle machine lists it again.
		check(worker, now(), Verdict::Fine);
		assert_eq!(placed(PETRA, 1).1, worker);
	});
}

#[test]
fn a_short_order_that_meets_no_check_is_paid_all_the_same() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		// No random check in the whole hour. That gains nothing: the order's end forces one.
		run_to(order(id).ends_at);
		assert_eq!(machine(worker).forced, 1);
		check(worker, now(), Verdict::Fine);
		assert_eq!(wealth(CARLA), FUNDS - PRICE);
	});
}

#[test]
fn renting_from_oneself_costs_the_fee() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(PETRA, 10);
		let end = order(id).ends_at;
		run_to(end);
		check(worker, end, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		// The reward for demand is bounded by the fees paid.
		assert_eq!(wealth(PETRA), FUNDS - 10 * PRICE / 10);
		assert_eq!(FeesPaid::get(), 10 * PRICE / 10);
	});
}

#[test]
fn a_provider_that_reports_an_exit_is_paid_for_nothing_it_has_not_proved() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + HOURS);
		check(worker, now(), Verdict::Fine);
		run_to(now() + HOURS);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(wealth(PETRA), FUNDS + PRICE * 9 / 10);
		// The treasury gets the price of unproved time, so ending the order before the check gained nothing.
		assert_eq!(wealth(TREASURY), KAI + PRICE / 10 + PRICE);
	});
}

#[test]
fn nobody_knows_the_match_before_the_order_is_placed() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..50 {
			add_machine(PETRA);
		}
		// The same order, placed in different blocks, finds different workers: the block after it decides.
		let mut found = std::collections::BTreeSet::new();
		for wait in 0..10 {
			frame_support::hypothetically!({
				System::set_block_number(1 + wait);
				let id = place(CARLA, 1);
				matched(id);
				found.insert(order(id).worker.unwrap());
			});
		}
		assert!(found.len() > 5, "{found:?}");
	});
}

#[test]
fn placing_and_canceling_in_a_loop_holds_nothing_up() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		for _ in 0..500 {
			let id = place(DAN, 1);
			assert_ok!(Rentals::cancel_order(signed(DAN), id));
		}
		let id = place(CARLA, 1);
		run_to(3);
		// Canceled orders cost a read each: the order behind them is matched in its block.
		assert_eq!(state(id), OrderState::Deploying);
		assert_eq!(wealth(DAN), FUNDS);
	});
}

#[test]
fn false_reports_cost_their_bond() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		let before = wealth(PETRA);
		for _ in 0..3 {
			run_to(now() + 25);
			assert_ok!(Rentals::report_issue(signed(CARLA), id, Issue::Other));
			check(worker, now(), Verdict::Fine);
		}
		let paid = order(id).ledger.paid;
		assert_eq!(wealth(PETRA) - before, 3 * BOND + paid);
	});
}

#[test]
fn what_is_frozen_is_paid_and_given_back_all_the_same() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 10);
		assert_ok!(Rentals::report_issue(signed(CARLA), id, Issue::Other));
		// Everything that she has, including the amount on hold.
		assert_ok!(<Balances as MutateFreeze<AccountId>>::set_freeze(
			b"somewher",
			&CARLA,
			FUNDS
		));
		run_to(order(id).started_at + HOURS);
		let before = free(PETRA);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
		assert_eq!(free(PETRA) - before, BOND + PRICE * 9 / 10);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		check(worker, now(), Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		assert_eq!(Credits::<Test>::get(CARLA), 9 * PRICE);
	});
}
