//! Tests of `report_issue` and the bond.

use super::*;
use frame_support::traits::{fungible::MutateHold, tokens::Precision};

fn report(id: u32) -> sp_runtime::DispatchResult {
	Rentals::report_issue(signed(CARLA), id, Issue::Unreachable)
}

#[test]
fn a_bond_is_held_and_the_worker_is_due() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		events();
		assert_ok!(report(id));
		assert_eq!(held(CARLA), (5 * PRICE, BOND));
		assert_eq!(machine(worker).forced, 1);
		assert_eq!(
			events(),
			vec![Event::IssueReported {
				order: id,
				worker,
				reason: Issue::Unreachable,
				bond: BOND
			}]
		);
		assert_noop!(report(id), Error::<Test>::IssueOpen);
	});
}

#[test]
fn it_is_the_providers_if_all_is_well() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		run_to(100);
		assert_ok!(report(id));
		events();
		// A round that began before does not resolve it, and another check is forced.
		check(worker, 99, Verdict::Fine);
		assert_eq!(held(CARLA).1, BOND);
		assert_eq!(machine(worker).forced, 2);
		let before = free(PETRA);
		check(worker, 100, Verdict::Fine);
		assert_eq!(held(CARLA).1, 0);
		assert_eq!(
			free(PETRA) - before,
			BOND + order(id).ledger.paid - price_of(96) * 9 / 10
		);
		assert!(events().contains(&Event::IssueResolved {
			order: id,
			returned: false,
			bond: BOND
		}));
		// Another issue can be reported.
		assert_ok!(report(id));
	});
}

#[test]
fn a_bond_that_cannot_be_moved_costs_no_proof() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		run_to(100);
		assert_ok!(report(id));
		let reason = HoldReason::IssueBond.into();
		Balances::release(&reason, &CARLA, BOND, Precision::Exact).unwrap();
		events();
		check(worker, 105, Verdict::Fine);
		assert!(
			events()
				.iter()
				.any(|event| matches!(event, Event::OrderFailed { order, .. } if *order == id))
		);
		assert!(order(id).ledger.paid > 0 && order(id).proved > 0);
		assert!(order(id).issue.is_some());
		// The next check resolves it.
		Balances::hold(&reason, &CARLA, BOND).unwrap();
		check(worker, 110, Verdict::Fine);
		assert_eq!((order(id).issue, held(CARLA).1), (None, 0));
	});
}

#[test]
fn it_is_back_if_the_worker_is_offline_or_the_service_down() {
	for (verdict, reason) in [
		(Verdict::Offline, CloseReason::WorkerFailed),
		(Verdict::Down, CloseReason::ServiceDown),
	] {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = deployed(CARLA, 5);
			run_to(100);
			assert_ok!(report(id));
			events();
			check(worker, 105, verdict);
			assert_eq!(state(id), closed(reason));
			assert_eq!(held(CARLA), (0, 0));
			// Nothing was proved: everything is refunded, except an hour where the service was down.
			let used = if verdict == Verdict::Down { PRICE } else { 0 };
			assert_eq!(free(CARLA), FUNDS - used);
			assert!(events().contains(&Event::IssueResolved {
				order: id,
				returned: true,
				bond: BOND
			}));
		});
	}
}

#[test]
fn it_is_back_after_two_checks_without_consensus() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		run_to(100);
		assert_ok!(report(id));
		for start in [99, 100] {
			check(worker, start, Verdict::NoConsensus);
			assert_eq!(held(CARLA).1, BOND);
		}
		check(worker, 130, Verdict::NoConsensus);
		assert_eq!(held(CARLA).1, 0);
		assert_eq!(state(id), OrderState::Active);
	});
}

#[test]
fn it_is_back_where_the_order_ends_otherwise() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 5);
		assert_ok!(report(id));
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 1, None));
		assert_eq!((free(CARLA), held(CARLA)), (FUNDS - PRICE, (0, 0)));
	});
}

#[test]
fn at_the_orders_end_it_waits_for_the_last_check() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		run_to(100);
		assert_ok!(report(id));
		run_to(order(id).ends_at);
		assert_eq!(held(CARLA).1, BOND);
		let before = free(PETRA);
		check(worker, now() + 5, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(free(PETRA) - before, BOND + PRICE * 9 / 10);
	});
}

#[test]
fn who_rents_its_own_machine_has_it_back_either_way() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(PETRA, 1);
		next_block();
		assert_ok!(Rentals::report_issue(signed(PETRA), id, Issue::Other));
		check(worker, now(), Verdict::Fine);
		assert_eq!(held(PETRA).1, 0);
	});
}

#[test]
fn fails_unless_its_time_runs() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		assert_noop!(report(id), Error::<Test>::WrongState);
		matched(id);
		assert_noop!(report(id), Error::<Test>::WrongState);
		confirm(id);
		run_to(order(id).ends_at);
		assert_noop!(report(id), Error::<Test>::WrongState);
	});
}

#[test]
fn fails_without_the_kai_for_the_bond() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		Bond::set(&FUNDS);
		assert_noop!(report(id), TokenError::FundsUnavailable);
	});
}

#[test]
fn a_bond_stays_what_it_was() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		assert_ok!(report(id));
		Bond::set(&KAI);
		check(worker, now(), Verdict::Offline);
		assert_eq!(free(CARLA), FUNDS);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
	});
}
