//! The stories of the crate's documentation.

use super::*;

#[docify::export]
#[test]
fn carla_rents_a_gpu_for_two_hours() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		// The price of two hours is held on Carla's account.
		let id = place(CARLA, 2);
		assert_eq!(state(id), OrderState::Matching);
		assert_eq!(held(CARLA).0, 2 * PRICE);
		// Two blocks later a worker is drawn.
		run_to(3);
		assert_eq!(state(id), OrderState::Deploying);
		assert_eq!(machine(worker).order, Some(id));
		// Petra's agent starts the container, and paid time runs.
		run_to(20);
		confirm(id);
		assert_eq!(state(id), OrderState::Active);
		let started = order(id).started_at;
		assert_eq!(order(id).ends_at, started + 2 * HOURS);
		// An hour later a check proves that hour. A tenth of its price is the protocol fee.
		run_to(started + HOURS + 5);
		let before = free(PETRA);
		events();
		check(worker, started + HOURS, Verdict::Fine);
		assert_eq!(
			events(),
			vec![Event::OrderPaid {
				order: id,
				worker,
				to: PETRA,
				amount: PRICE * 9 / 10,
				fee: PRICE / 10,
				proved: HOURS,
			}]
		);
		assert_eq!(free(PETRA) - before, PRICE * 9 / 10);
		assert_eq!(FeesPaid::get(), PRICE / 10);
		// The end of paid time forces a check, which proves the tail.
		run_to(started + 2 * HOURS);
		assert_eq!(state(id), OrderState::Closing);
		assert_eq!(machine(worker).forced, 1);
		run_to(now() + 30);
		check(worker, started + 2 * HOURS + 5, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Expired));
		assert_eq!(free(PETRA) - before, 2 * PRICE * 9 / 10);
		assert_eq!(held(CARLA), (0, 0));
		assert_eq!(free(CARLA), FUNDS - 2 * PRICE);
		assert_eq!(machine(worker).state, WorkerState::Online);
		// A closed order is removed after its history.
		run_to(order(id).closed_at + HISTORY);
		assert_eq!(Orders::<Test>::get(id), None);
	});
}

#[docify::export]
#[test]
fn carla_cancels_and_pays_her_next_order_with_credits() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 10);
		let started = order(id).started_at;
		run_to(started + 2 * HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		assert_eq!(state(id), OrderState::Closing);
		// A check proves the two hours up to the cancellation; the other eight become credits.
		run_to(now() + 50);
		check(worker, started + 2 * HOURS + 10, Verdict::Fine);
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		assert_eq!(free(PETRA), FUNDS + 2 * PRICE * 9 / 10);
		assert_eq!(Credits::<Test>::get(CARLA), 8 * PRICE);
		// A check of the idle worker: it can be rented again.
		check(worker, now(), Verdict::Fine);
		// The next order takes nothing but credits.
		let next = try_place(CARLA, ONE, 3, Plan::OnDemand, 8 * PRICE).unwrap();
		let Money { kai, credits } = order(next).ledger.escrow;
		assert_eq!((kai, credits), (0, 3 * PRICE));
		assert_eq!(Credits::<Test>::get(CARLA), 5 * PRICE);
		assert_eq!(free(CARLA), FUNDS - 10 * PRICE);
	});
}
