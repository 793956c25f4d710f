//! What somebody might try, and what it brings. `docs/orders.md` says what each costs.

use super::*;
use frame_support::traits::fungible::MutateFreeze;

/// All the KAI that an account has, on hold or not.
fn wealth(who: AccountId) -> Balance {
	let (orders, bonds) = held(who);
	free(who) + orders + bonds
}

#[test]
fn a_long_plan_that_is_cancelled_early_is_not_cheap() {
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
		// As dear as without a plan.
		assert_eq!(order(id).ledger.gross(), Ok(2 * PRICE));
	});
}

#[test]
fn credits_never_become_kai() {
	// Every way in which an order that was paid in credits can end.
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
			run_to(order(id).ends_at + 2 * TIMEOUT);
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

#[test]
fn a_tenant_that_ends_its_own_container_saves_what_was_not_proved_and_no_more() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 24);
		let started = order(id).started_at;
		for hour in 1..=5 {
			run_to(started + hour * HOURS);
			check(worker, now(), Verdict::Fine);
		}
		run_to(now() + 100);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(wealth(CARLA), FUNDS - 5 * PRICE);
		// The provider's stake is untouched.
		assert_eq!(machine(worker).slashes, 0);
	});
}

#[test]
fn a_bogus_image_costs_its_sender_and_not_the_network() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		for _ in 0..3 {
			with_machine(worker, |machine| machine.barred_until = 0);
			let (id, _) = placed(CARLA, 1);
			let reason = DeployFailure::ImageUnavailable;
			assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
		}
		assert_eq!(wealth(CARLA), FUNDS - 3 * PRICE / 10);
		assert_eq!(wealth(TREASURY), KAI + 3 * PRICE / 10);
		assert_eq!(machine(worker).slashes, 0);
	});
}

#[test]
fn a_short_order_that_meets_no_check_is_paid_all_the_same() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		// No random check in the whole hour. Nothing to be gained: its end forces one.
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
		// What demand may earn it is bounded by what it has paid as fees.
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
		let reliability = machine(worker).reliability;
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(wealth(PETRA), FUNDS + PRICE * 9 / 10);
		// And it is less reliable, and idle for an hour.
		assert!(machine(worker).reliability < reliability);
		assert_eq!(machine(worker).barred_until, now() + BAR);
	});
}

#[test]
fn nobody_knows_the_match_before_the_order_is_placed() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..50 {
			add_machine(PETRA);
		}
		// The same order, placed in different blocks, finds different workers: what decides is the block
		// after it.
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
fn placing_and_cancelling_in_a_loop_holds_nothing_up() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		for _ in 0..500 {
			let id = place(DAN, 1);
			assert_ok!(Rentals::cancel_order(signed(DAN), id));
		}
		let id = place(CARLA, 1);
		run_to(3);
		// They cost a read each: the order behind them is matched in its block.
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
		// All that she has, what is on hold included.
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
