//! Tests of ends by the container: `report_exit`, and a check that finds it without an answer while the
//! machine is online. They cost the customer as much as a cancellation, and nobody is slashed.

use super::*;

/// Ends the container of an order on a worker.
type End = fn(u32, u32);

/// Ways in which a container's end is detected.
const ENDS: [(End, CloseReason); 2] = [
	(
		|id, _| {
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 137, None));
		},
		CloseReason::Exited,
	),
	(
		|_, worker| check(worker, now(), Verdict::Down),
		CloseReason::ServiceDown,
	),
];

#[test]
fn the_customer_pays_what_was_used_and_the_provider_gets_what_was_proved() {
	for (end, reason) in ENDS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = deployed(CARLA, 5);
			let started = order(id).started_at;
			run_to(started + HOURS + 200);
			check(worker, started + HOURS, Verdict::Fine);
			events();
			end(id, worker);
			let tail = price_of(200);
			let events = events();
			if reason == CloseReason::Exited {
				assert_eq!(
					events[0],
					Event::ContainerExited {
						order: id,
						worker,
						code: 137
					}
				);
			}
			assert_eq!(
				events.last(),
				Some(&Event::OrderClosed {
					order: id,
					reason,
					paid: PRICE * 9 / 10,
					fee: PRICE / 10 + tail,
					refunded: Money::default(),
					credited: 4 * PRICE - tail,
				})
			);
			// The treasury gets the price of unproved time.
			assert_eq!(order(id).ledger.setup, tail);
			assert_eq!(free(TREASURY), KAI + PRICE / 10 + tail);
			assert_eq!(free(PETRA), FUNDS + PRICE * 9 / 10);
			assert_eq!(free(CARLA), FUNDS - 5 * PRICE);
			assert_eq!(Credits::<Test>::get(CARLA), 4 * PRICE - tail);
			// The machine is not penalized, but a full check has to come first.
			let it = machine(worker);
			assert_eq!((it.state, it.order), (WorkerState::Online, None));
			assert_eq!((it.slashes, it.barred_until), (0, 0));
			assert!(it.unproved);
			assert_eq!(it.reliability, Perbill::one());
		});
	}
}

#[test]
fn it_costs_what_a_cancellation_costs() {
	for (end, _) in ENDS {
		for (hours, plan, ran) in [
			(10, Plan::OnDemand, HOURS / 2),
			(10, Plan::OnDemand, 3 * HOURS + 7),
			(10, Plan::OnDemand, 10 * HOURS - 1),
			(2_160, Plan::Quarter, 3 * HOURS),
			(720, Plan::Month, 10 * HOURS + 11),
		] {
			ExtBuilder.build_and_execute(|| {
				add_machine(PETRA);
				let id = try_place(CARLA, ONE, hours, plan, 0).unwrap();
				let (_, worker) = matched(id);
				confirm(id);
				let started = order(id).started_at;
				run_to(started + 20);
				check(worker, now(), Verdict::Fine);
				run_to(started + ran);
				let mut credits = 0;
				frame_support::hypothetically!({
					assert_ok!(Rentals::cancel_order(signed(CARLA), id));
					check(worker, now(), Verdict::Fine);
					credits = Credits::<Test>::get(CARLA);
				});
				end(id, worker);
				assert_eq!(Credits::<Test>::get(CARLA), credits, "{plan:?} {ran}");
				assert_eq!(order(id).ledger.refunded, Money::default());
			});
		}
	}
}

#[test]
fn an_hour_is_the_least_and_before_any_proof_the_rest_goes_back_in_kind() {
	for (end, reason) in ENDS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let credits = earn_credits(CARLA, 4);
			let (kai, treasury) = (free(CARLA), free(TREASURY));
			// Four hours in credits, six in KAI: the hour is paid in credits.
			let id = try_place(CARLA, ONE, 10, Plan::OnDemand, credits).unwrap();
			let (_, worker) = matched(id);
			confirm(id);
			run_to(now() + 7);
			end(id, worker);
			assert_eq!(state(id), closed(reason));
			assert_eq!(free(CARLA), kai);
			assert_eq!(Credits::<Test>::get(CARLA), credits - PRICE);
			assert_eq!(order(id).ledger.credited, 0);
			assert_eq!(free(TREASURY) - treasury, PRICE);
		});
	}
}

#[test]
fn of_a_canceled_order_what_was_not_used_becomes_credits_all_the_same() {
	for (end, reason) in ENDS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = deployed(CARLA, 10);
			run_to(order(id).started_at + 2 * HOURS);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
			run_to(now() + 20);
			end(id, worker);
			assert_eq!(state(id), closed(reason));
			// Two hours were used, and not proved.
			assert_eq!(order(id).ledger.setup, 2 * PRICE);
			assert_eq!(free(CARLA), FUNDS - 10 * PRICE);
			assert_eq!(Credits::<Test>::get(CARLA), 8 * PRICE);
		});
	}
}

#[test]
fn of_an_order_at_its_end_all_time_was_used() {
	for (end, reason) in ENDS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = deployed(CARLA, 2);
			let started = order(id).started_at;
			run_to(started + HOURS);
			check(worker, now(), Verdict::Fine);
			run_to(order(id).ends_at + 5);
			assert_eq!(state(id), OrderState::Closing);
			end(id, worker);
			assert_eq!(state(id), closed(reason));
			assert_eq!(order(id).ledger.gross(), Ok(PRICE));
			assert_eq!(order(id).ledger.setup, PRICE);
		});
	}
}

#[test]
fn time_that_a_check_lost_is_not_used_time() {
	for (end, _) in ENDS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = deployed(CARLA, 100);
			let started = order(id).started_at;
			System::set_block_number(started + MAX_GAP + 500);
			check(worker, now(), Verdict::Fine);
			let later = now() + 100;
			System::set_block_number(later);
			end(id, worker);
			let ledger = order(id).ledger;
			assert_eq!(ledger.gross(), Ok(price_of(MAX_GAP)));
			assert_eq!(ledger.setup, price_of(100));
			assert_eq!(ledger.credited, 100 * PRICE - price_of(MAX_GAP + 100));
			next_block();
		});
	}
}

#[test]
fn fails_while_nothing_runs() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let exit = |id| Rentals::report_exit(signed(PETRA), id, 1, None);
		let (id, _) = placed(CARLA, 1);
		assert_noop!(exit(id), Error::<Test>::WrongState);
		confirm(id);
		assert_ok!(exit(id));
		assert_noop!(exit(id), Error::<Test>::WrongState);
	});
}

#[test]
fn a_check_that_is_over_is_closed_first() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + 400);
		let over = |verdict| {
			with_machine(worker, |machine| {
				machine.open = Some((started + HOURS, Some(verdict)))
			})
		};
		// It confirmed an hour, which is paid.
		frame_support::hypothetically!({
			over(Verdict::Fine);
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 1, None));
			assert_eq!(state(id), closed(CloseReason::Exited));
			assert_eq!(order(id).ledger.gross(), Ok(PRICE));
		});
		// It found the container down, which a report cannot preempt.
		over(Verdict::Down);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 1, None));
		assert_eq!(state(id), closed(CloseReason::ServiceDown));
	});
}

#[test]
fn what_was_found_stands_though_its_money_has_to_wait() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + HOURS);
		check(worker, now(), Verdict::Fine);
		run_to(started + 2 * HOURS);
		Refused::put(Refusal::Free(worker));
		check(worker, now(), Verdict::Down);
		assert_eq!((state(id), order(id).down), (OrderState::Active, true));
		// The time that passes meanwhile is not charged, and no check changes the finding.
		run_to(now() + 10);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(PRICE));
		Refused::kill();
		run_to(now() + crate::agenda::RETRY);
		assert_eq!(state(id), closed(CloseReason::ServiceDown));
		assert_eq!(order(id).ledger.setup, PRICE);
		assert_eq!(Credits::<Test>::get(CARLA), 3 * PRICE);
	});
}
