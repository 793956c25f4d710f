//! Tests of payments by checks while an order runs.

use super::*;
use kaisar_primitives::{ClosedCheck, Closing, OnClosed, Outcome, Proved};

#[test]
fn a_proof_pays_up_to_its_rounds_start() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + 200);
		events();
		check(worker, started + 100, Verdict::Fine);
		let due = price_of(100);
		assert_eq!(
			events(),
			vec![Event::OrderPaid {
				order: id,
				worker,
				to: PETRA,
				amount: due * 9 / 10,
				fee: due / 10,
				proved: 100,
			}]
		);
		assert_eq!(held(CARLA).0, 5 * PRICE - due);
		// The same round pays once.
		check(worker, started + 100, Verdict::Fine);
		assert_eq!(events(), vec![]);
		check(worker, started + 150, Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(price_of(150)));
	});
}

#[test]
fn a_round_that_began_before_the_order_pays_nothing() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 5);
		run_to(50);
		check(worker, 45, Verdict::Fine);
		assert_eq!(state(id), OrderState::Deploying);
		confirm(id);
		for start in [1, 20, 50] {
			check(worker, start, Verdict::Fine);
			assert_eq!(order(id).ledger.paid, 0);
		}
	});
}

#[test]
fn a_check_that_looked_at_the_idle_machine_takes_nothing_from_its_order() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + 3);
		// The worker was rented in the last blocks before the round, in which it still counts as idle.
		let closing = Closing {
			round: 0,
			round_start: now(),
			outcome: Outcome::Online {
				profile: Some(PROFILE),
				service: true,
			},
			rented: false,
			full: false,
			credit: 1_275,
			false_proof: false,
			slashes: false,
		};
		Rentals::on_closed(&ClosedCheck {
			worker,
			order: Some(id),
			closing: &closing,
			proved: Proved {
				idle: 1_275,
				..Default::default()
			},
			seats: &[],
		});
		assert_eq!(order(id).proved_to, started);
		run_to(started + HOURS);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}

#[test]
fn no_more_is_paid_than_was_proved() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 100);
		let started = order(id).started_at;
		// More than a check may credit: the rest is never credited.
		System::set_block_number(started + MAX_GAP + 500);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).proved, MAX_GAP);
		let later = now() + 100;
		System::set_block_number(later);
		check(worker, later, Verdict::Fine);
		assert_eq!(order(id).proved, MAX_GAP + 100);
		assert_eq!(order(id).ledger.gross(), Ok(price_of(MAX_GAP + 100)));
		// At the order's end its price is refunded.
		let end = order(id).ends_at;
		while now() < end {
			System::set_block_number((now() + MAX_GAP).min(end));
			check(worker, now(), Verdict::Fine);
		}
		assert_ok!(Rentals::close_order(signed(ANYONE), id));
		check(worker, now(), Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(order(id).ledger.refunded.kai, price_of(500));
	});
}

#[test]
fn credits_pay_first() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 1);
		let before = free(CARLA);
		let id = try_place(CARLA, ONE, 3, Plan::OnDemand, credits).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		let started = order(id).started_at;
		run_to(started + 3 * HOURS - 1);
		check(worker, started + HOURS / 2, Verdict::Fine);
		let escrow = |kai, credits| {
			assert_eq!(order(id).ledger.escrow, Money { kai, credits });
		};
		escrow(2 * PRICE, PRICE / 2);
		check(worker, started + 2 * HOURS, Verdict::Fine);
		escrow(PRICE, 0);
		// The rest is KAI, and is refunded as KAI.
		check(worker, now(), Verdict::Offline);
		assert_eq!(free(CARLA), before - PRICE);
		assert_eq!(TotalCredits::<Test>::get(), 0);
		assert_eq!(free(Rentals::pot()), ED);
	});
}

#[test]
fn a_worker_that_is_gone_loses_what_it_has_not_proved() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + 2 * HOURS);
		check(worker, started + HOURS, Verdict::Fine);
		check(worker, started + 2 * HOURS, Verdict::Offline);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(free(CARLA), FUNDS - PRICE);
		let it = machine(worker);
		assert_eq!(
			(it.state, it.order, it.slashes),
			(WorkerState::Offline, None, 1)
		);
	});
}

#[test]
fn found_offline_it_has_lost_the_order_whatever_round_it_was() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 5);
		check(worker, 1, Verdict::Offline);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(free(CARLA), FUNDS);
	});
}

#[test]
fn a_service_that_was_not_there_yet_cannot_be_down() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 5);
		check(worker, now() + 1, Verdict::Down);
		assert_eq!(state(id), OrderState::Deploying);
		confirm(id);
		// A round that began before the worker had the order.
		check(worker, order(id).matched_at, Verdict::Down);
		assert_eq!(state(id), OrderState::Active);
		check(worker, order(id).matched_at + 1, Verdict::Down);
		assert_eq!(state(id), closed(CloseReason::ServiceDown));
	});
}

#[test]
fn without_consensus_nothing_is_paid_or_lost() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + HOURS);
		for _ in 0..5 {
			check(worker, now(), Verdict::NoConsensus);
		}
		assert_eq!(order(id).ledger.paid, 0);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
	});
}

#[test]
fn a_payment_that_fails_is_made_up_for_by_the_next() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + 2 * HOURS);
		Refused::put(Refusal::Fees);
		events();
		check(worker, started + HOURS, Verdict::Fine);
		assert_eq!(
			events(),
			vec![Event::OrderFailed {
				order: id,
				error: DispatchError::Unavailable
			}]
		);
		// The proof stands.
		assert_eq!((order(id).proved, order(id).ledger.paid), (HOURS, 0));
		assert_eq!(held(CARLA).0, 5 * PRICE);
		Refused::kill();
		check(worker, started + 2 * HOURS, Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(2 * PRICE));
	});
}

#[test]
fn what_would_not_bring_the_owner_to_life_goes_to_the_treasury() {
	ExtBuilder.build_and_execute(|| {
		assert_ok!(Rentals::set_price(RuntimeOrigin::root(), CLASS, Some(ED)));
		add_machine(1_234);
		let (id, worker) = deployed(CARLA, 5);
		let charged = order(id).ledger.charged;
		let before = free(TREASURY);
		run_to(order(id).started_at + HOURS);
		check(worker, now(), Verdict::Fine);
		assert_eq!((free(1_234), free(TREASURY) - before), (0, charged / 5));
	});
}

#[test]
fn rounding_is_for_the_customer_and_never_more_than_a_unit() {
	ExtBuilder.build_and_execute(|| {
		// 7 units an hour: 0.75 · 9, rounded up.
		assert_ok!(Rentals::set_price(RuntimeOrigin::root(), CLASS, Some(9)));
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		assert_eq!(order(id).ledger.charged, 70);
		let started = order(id).started_at;
		for passed in (1..10 * HOURS).step_by(37) {
			run_to(started + passed);
			check(worker, now(), Verdict::Fine);
			let exact = 7 * u128::from(passed) / u128::from(HOURS);
			assert_eq!(order(id).ledger.gross(), Ok(exact));
		}
		run_to(order(id).ends_at);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(70));
	});
}
