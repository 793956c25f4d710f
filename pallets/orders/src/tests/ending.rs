//! Tests of an order's end, and of the check for which it waits.

use super::*;
use crate::agenda::RETRY;

/// Returns an order of an hour at its end, with nothing proved, and its worker.
fn at_its_end() -> (u32, u32) {
	add_machine(PETRA);
	let (id, worker) = deployed(CARLA, 1);
	run_to(order(id).ends_at);
	assert_eq!(state(id), OrderState::Closing);
	assert_eq!(machine(worker).forced, 1);
	(id, worker)
}

#[test]
fn boundary_of_the_rounds_start() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		let ends_at = order(id).ends_at;
		run_to(now() + 10);
		check(worker, ends_at - 1, Verdict::Fine);
		// That was not the last check: its time is paid, and another check is forced.
		assert_eq!(state(id), OrderState::Closing);
		assert_eq!(order(id).ledger.gross(), Ok(price_of(HOURS - 1)));
		assert_eq!(machine(worker).forced, 2);
		check(worker, ends_at, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
		// Freeing the worker makes it due in a full check.
		assert_eq!(machine(worker).forced, 3);
	});
}

#[test]
fn after_two_checks_without_consensus_the_tail_is_paid() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		let ends_at = order(id).ends_at;
		for start in [ends_at - 1, ends_at] {
			check(worker, start, Verdict::NoConsensus);
			assert_eq!(state(id), OrderState::Closing);
		}
		check(worker, ends_at + 25, Verdict::NoConsensus);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}

#[test]
fn a_canceled_order_is_paid_for_likewise() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		run_to(order(id).started_at + 2 * HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		for _ in 0..2 {
			check(worker, now(), Verdict::NoConsensus);
		}
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		assert_eq!(order(id).ledger.gross(), Ok(2 * PRICE));
		assert_eq!(Credits::<Test>::get(CARLA), 8 * PRICE);
	});
}

#[test]
fn a_worker_that_is_gone_at_the_end_has_failed() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		check(worker, now(), Verdict::Offline);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(free(CARLA), FUNDS);
	});
}

#[test]
fn where_no_check_ever_comes_the_tail_goes_back() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		let ends_at = order(id).ends_at;
		// The check is forced again at each visit.
		for look in 1..16 {
			run_to(ends_at + look * TIMEOUT - 1);
			assert_eq!(machine(worker).forced, look);
			next_block();
			assert_eq!(machine(worker).forced, look + 1);
		}
		run_to(ends_at + 16 * TIMEOUT - 1);
		assert_eq!(state(id), OrderState::Closing);
		next_block();
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(free(CARLA), FUNDS);
		assert_eq!(machine(worker).state, WorkerState::Online);
		assert!(machine(worker).unproved);
	});
}

#[test]
fn of_a_canceled_order_too_and_the_rest_becomes_credits() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		let started = order(id).started_at;
		run_to(started + 3 * HOURS);
		check(worker, started + 2 * HOURS, Verdict::Fine);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		run_to(now() + 16 * TIMEOUT);
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		// Two hours are paid, the third is refunded, seven are credited.
		let ledger = order(id).ledger;
		assert_eq!(ledger.gross(), Ok(2 * PRICE));
		assert_eq!(
			ledger.refunded,
			Money {
				kai: PRICE,
				credits: 0
			}
		);
		assert_eq!(ledger.credited, 7 * PRICE);
	});
}

#[test]
fn a_check_that_is_under_way_is_waited_for_but_not_for_ever() {
	let under_way: [fn(&mut Machine); 2] = [
		|machine| machine.due = true,
		|machine| machine.open = Some((now() - 1, None)),
	];
	for under_way in under_way {
		ExtBuilder.build_and_execute(|| {
			let (id, worker) = at_its_end();
			let ends_at = order(id).ends_at;
			with_machine(worker, under_way);
			run_to(ends_at + 16 * TIMEOUT - 1);
			assert_eq!(machine(worker).forced, 1);
			assert_eq!(state(id), OrderState::Closing);
			next_block();
			assert_eq!(state(id), closed(CloseReason::Expired));
			assert_eq!(free(CARLA), FUNDS);
		});
	}
}

#[test]
fn looks_do_not_count_while_a_check_from_before_the_match_is_open() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		// A census of a million workers, which began in block 1 and lasts for hours.
		let (id, _) = deployed(CARLA, 1);
		let matched_at = order(id).matched_at;
		with_machine(worker, |machine| machine.open = Some((matched_at, None)));
		let ends_at = order(id).ends_at;
		run_to(ends_at + 20 * TIMEOUT);
		assert_eq!(state(id), OrderState::Closing);
		assert_eq!(machine(worker).forced, 1);
		// It is over, and the order's own check is forced, which pays an honest provider.
		check(worker, matched_at, Verdict::Fine);
		assert_eq!(machine(worker).forced, 2);
		assert_eq!(state(id), OrderState::Closing);
		run_to(now() + TIMEOUT - 1);
		check(worker, now() - 90, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}

#[test]
fn after_such_a_check_sixteen_looks_are_left() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		let ends_at = order(id).ends_at;
		with_machine(worker, |machine| machine.open = Some((1, None)));
		run_to(ends_at + 3 * TIMEOUT);
		check(worker, 1, Verdict::Fine);
		run_to(ends_at + 19 * TIMEOUT - 1);
		assert_eq!(state(id), OrderState::Closing);
		next_block();
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(free(CARLA), FUNDS);
	});
}

/// Cancels an order of ten hours, paid in credits except for `hours` of them, of which one hour was proved
/// and two more were not. Returns the amounts refunded and credited, and the KAI that it cost.
fn canceled_in_both_kinds(hours: u32, last: fn(u32)) -> (Money, Balance, Balance) {
	let mut result = None;
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 10 - hours);
		let before = free(CARLA);
		let id = try_place(CARLA, ONE, 10, Plan::OnDemand, credits).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		let started = order(id).started_at;
		run_to(started + HOURS);
		check(worker, now(), Verdict::Fine);
		run_to(started + 3 * HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		last(worker);
		assert!(order(id).is_closed());
		let ledger = order(id).ledger;
		assert_eq!(ledger.gross(), Ok(PRICE));
		result = Some((ledger.refunded, ledger.credited, before - free(CARLA)));
	});
	result.expect("it ran")
}

#[test]
fn a_tail_goes_back_in_kai_as_far_as_kai_was_paid() {
	let ends: [fn(u32); 2] = [
		|_| run_to(now() + 16 * TIMEOUT),
		|worker| check(worker, now(), Verdict::Offline),
	];
	for end in ends {
		let money = |kai, credits| Money {
			kai: kai * PRICE,
			credits: credits * PRICE,
		};
		let back = canceled_in_both_kinds(6, end);
		assert_eq!(back, (money(2, 0), 7 * PRICE, 4 * PRICE));
		let back = canceled_in_both_kinds(1, end);
		assert_eq!(back, (money(1, 1), 7 * PRICE, 0));
	}
}

#[test]
fn a_check_that_is_over_is_closed_before_the_agenda_decides() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		let ends_at = order(id).ends_at;
		with_machine(worker, |machine| {
			machine.open = Some((ends_at, Some(Verdict::Fine)))
		});
		run_to(ends_at + TIMEOUT);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}

#[test]
fn an_end_whose_money_could_not_be_dealt_with_is_tried_again() {
	ExtBuilder.build_and_execute(|| {
		let (id, worker) = at_its_end();
		Refused::put(Refusal::Fees);
		events();
		check(worker, now(), Verdict::Fine);
		let failed = Event::OrderFailed {
			order: id,
			error: DispatchError::Unavailable,
		};
		assert_eq!(events(), vec![failed.clone()]);
		assert_eq!(state(id), OrderState::Closing);
		run_to(now() + RETRY);
		assert_eq!(events(), vec![failed]);
		Refused::kill();
		// The proof stands, and no further check is needed.
		run_to(now() + RETRY);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}
