//! Tests of `cancel_order`.

use super::*;

fn cancel(id: u32) -> sp_runtime::DispatchResult {
	Rentals::cancel_order(signed(CARLA), id)
}

#[test]
fn before_it_is_matched_all_goes_back() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		events();
		assert_ok!(cancel(id));
		assert_eq!(
			events(),
			vec![Event::OrderClosed {
				order: id,
				reason: CloseReason::Cancelled,
				paid: 0,
				fee: 0,
				refunded: Money {
					kai: PRICE,
					credits: 0
				},
				credited: 0,
			}]
		);
		assert_eq!(free(CARLA), FUNDS);
		run_to(10);
		assert_eq!(machine(0).state, WorkerState::Online);
		assert_eq!(Rentals::waiting(), 0);
	});
}

#[test]
fn before_it_runs_the_set_up_goes_to_the_treasury() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 2);
		let before = free(CARLA);
		// Paid in both kinds: credits are used first.
		let id = try_place(CARLA, ONE, 10, Plan::OnDemand, credits).unwrap();
		let (_, worker) = matched(id);
		let treasury = free(TREASURY);
		assert_ok!(cancel(id));
		let setup = PRICE / 10;
		assert_eq!(free(TREASURY) - treasury, setup);
		assert_eq!(free(CARLA), before);
		assert_eq!(Credits::<Test>::get(CARLA), credits - setup);
		let it = machine(worker);
		assert_eq!(
			(it.state, it.barred_until, it.slashes, it.unproved),
			(WorkerState::Online, 0, 0, false)
		);
		// Holding a machine for a quarter of an hour costs a quarter of an hour.
		let (id, _) = placed(CARLA, 10);
		run_to(order(id).matched_at + 75);
		assert_ok!(cancel(id));
		assert_eq!(order(id).ledger.setup, price_of(75));
	});
}

#[test]
fn after_that_what_was_used_is_paid_and_the_rest_becomes_credits() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		let started = order(id).started_at;
		run_to(started + 2 * HOURS);
		events();
		assert_ok!(cancel(id));
		assert_eq!(
			events(),
			vec![Event::OrderClosing {
				order: id,
				reason: CloseReason::Cancelled,
				ends_at: now()
			}]
		);
		assert_eq!(machine(worker).forced, 1);
		assert_noop!(cancel(id), Error::<Test>::WrongState);
		run_to(now() + 50);
		check(worker, started + 2 * HOURS + 10, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		assert_eq!(free(CARLA), FUNDS - 10 * PRICE);
		assert_eq!(Credits::<Test>::get(CARLA), 8 * PRICE);
		assert_eq!(free(PETRA), FUNDS + 2 * PRICE * 9 / 10);
		assert_eq!(free(Rentals::pot()), ED + 8 * PRICE);
		assert_eq!(order(id).ledger.credited, 8 * PRICE);
		assert_noop!(cancel(id), Error::<Test>::WrongState);
	});
}

#[test]
fn an_hour_is_the_least() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		for (used, due) in [(1, HOURS), (HOURS - 1, HOURS), (HOURS + 1, HOURS + 1)] {
			frame_support::hypothetically!({
				let (id, worker) = deployed(CARLA, 10);
				run_to(order(id).started_at + used);
				assert_ok!(cancel(id));
				check(worker, now(), Verdict::Fine);
				assert_eq!(order(id).ledger.gross(), Ok(price_of(due)), "{used} blocks");
			});
		}
	});
}

#[test]
fn the_plan_has_to_be_earned() {
	// Used hours of a plan of 90 days, and the part of the price that remains with the earned plan.
	for (hours, percent) in [(10, 100), (719, 100), (720, 90), (2_159, 90), (2_160, 80)] {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let id = try_place(CARLA, ONE, 3_000, Plan::Quarter, 0).unwrap();
			let (_, worker) = matched(id);
			confirm(id);
			let started = order(id).started_at;
			// Checks come often enough to prove all the time.
			while now() < started + hours * HOURS {
				let next = (now() + MAX_GAP).min(started + hours * HOURS);
				System::set_block_number(next);
				check(worker, now(), Verdict::Fine);
			}
			assert_ok!(cancel(id));
			check(worker, now(), Verdict::Fine);
			let due = PRICE * Balance::from(hours) * percent / 100;
			assert_eq!(order(id).ledger.gross(), Ok(due), "{hours} hours");
			assert_eq!(Credits::<Test>::get(CARLA), PRICE * 3_000 * 80 / 100 - due);
			next_block();
		});
	}
}

#[test]
fn what_the_earned_plan_costs_more_than_was_charged_is_not_paid() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = try_place(CARLA, ONE, 720, Plan::Month, 0).unwrap();
		let (_, worker) = matched(id);
		confirm(id);
		let end = order(id).started_at + 719 * HOURS;
		while now() < end {
			System::set_block_number((now() + MAX_GAP).min(end));
			check(worker, now(), Verdict::Fine);
		}
		assert_ok!(cancel(id));
		check(worker, now(), Verdict::Fine);
		let Ledger {
			charged, credited, ..
		} = order(id).ledger;
		assert_eq!(order(id).ledger.gross(), Ok(charged));
		assert_eq!(credited, 0);
		next_block();
	});
}

#[test]
fn if_the_worker_is_found_offline_only_the_tail_goes_back() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		run_to(order(id).started_at + HOURS);
		check(worker, now(), Verdict::Fine);
		run_to(now() + HOURS);
		assert_ok!(cancel(id));
		check(worker, now(), Verdict::Offline);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		let ledger = order(id).ledger;
		assert_eq!(ledger.gross(), Ok(PRICE));
		assert_eq!((ledger.refunded.kai, ledger.credited), (PRICE, 8 * PRICE));
		assert_eq!(free(CARLA), FUNDS - 9 * PRICE);
	});
}

#[test]
fn past_its_end_it_is_canceled_at_its_end() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		let ends_at = order(id).ends_at;
		// No hook has run yet.
		System::set_block_number(ends_at + 5);
		assert_ok!(cancel(id));
		assert_eq!(order(id).ends_at, ends_at);
		next_block();
	});
}
