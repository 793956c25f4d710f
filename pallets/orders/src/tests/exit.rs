//! `report_exit`.

use super::*;

#[test]
fn only_what_was_proved_is_paid() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 5);
		let started = order(id).started_at;
		run_to(started + HOURS + 200);
		check(worker, started + HOURS, Verdict::Fine);
		events();
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 137, None));
		assert_eq!(
			events(),
			vec![
				Event::ContainerExited {
					order: id,
					worker,
					code: 137
				},
				Event::OrderClosed {
					order: id,
					reason: CloseReason::Exited,
					paid: PRICE * 9 / 10,
					fee: PRICE / 10,
					refunded: Money {
						kai: 4 * PRICE,
						credits: 0
					},
					credited: 0,
				},
			]
		);
		assert_eq!(free(CARLA), FUNDS - PRICE);
		let it = machine(worker);
		assert_eq!(
			(it.state, it.slashes, it.barred_until),
			(WorkerState::Online, 0, now() + BAR)
		);
	});
}

#[test]
fn of_an_order_at_its_end_the_tail_goes_back() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		run_to(order(id).ends_at + 5);
		assert_eq!(state(id), OrderState::Closing);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(free(CARLA), FUNDS);
	});
}

#[test]
fn of_a_cancelled_order_what_was_not_used_becomes_credits_all_the_same() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 10);
		run_to(order(id).started_at + 2 * HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 0, None));
		assert_eq!(state(id), closed(CloseReason::Exited));
		// Two hours were used and not proved.
		assert_eq!(free(CARLA), FUNDS - 8 * PRICE);
		assert_eq!(Credits::<Test>::get(CARLA), 8 * PRICE);
	});
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
		// It confirmed an hour: that is paid.
		frame_support::hypothetically!({
			over(Verdict::Fine);
			assert_ok!(Rentals::report_exit(signed(PETRA), id, 1, None));
			assert_eq!(state(id), closed(CloseReason::Exited));
			assert_eq!(free(CARLA), FUNDS - PRICE);
		});
		// It found it down: no report comes before that.
		over(Verdict::Down);
		assert_ok!(Rentals::report_exit(signed(PETRA), id, 1, None));
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(machine(worker).slashes, 1);
	});
}
