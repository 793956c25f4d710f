//! Tests of `extend_order`.

use super::*;

fn extend(id: u32, hours: u32) -> sp_runtime::DispatchResult {
	Rentals::extend_order(signed(CARLA), id, hours, Balance::MAX)
}

#[test]
fn more_hours_cost_todays_price_and_the_first_ones_keep_theirs() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		let (started, ends_at) = (order(id).started_at, order(id).ends_at);
		assert_ok!(Rentals::set_price(
			RuntimeOrigin::root(),
			CLASS,
			Some(2 * REFERENCE)
		));
		events();
		// All workers of the class are rented.
		let today = 2 * REFERENCE * 95 / 100;
		assert_ok!(extend(id, 2));
		assert_eq!(
			events(),
			vec![Event::OrderExtended {
				order: id,
				hours: 2,
				unit_price: today,
				charged: 2 * today,
				ends_at: ends_at + 2 * HOURS,
			}]
		);
		assert_eq!(held(CARLA).0, PRICE + 2 * today);
		// Half an hour into the second.
		run_to(started + HOURS + 150);
		check(worker, now(), Verdict::Fine);
		assert_eq!(order(id).ledger.gross(), Ok(PRICE + today / 2));
		// The old end has no effect.
		run_to(ends_at + 10);
		assert_eq!(state(id), OrderState::Active);
		run_to(ends_at + 2 * HOURS);
		assert_eq!(state(id), OrderState::Closing);
		check(worker, now(), Verdict::Fine);
		assert_eq!(free(CARLA), FUNDS - PRICE - 2 * today);
	});
}

#[test]
fn boundary_of_the_limits() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		assert_noop!(extend(id, 0), Error::<Test>::TooFewHours);
		assert_noop!(extend(id, 8_760), Error::<Test>::TooManyHours);
		assert_noop!(
			Rentals::extend_order(signed(CARLA), id, u32::MAX, Balance::MAX),
			DispatchError::Arithmetic(sp_runtime::ArithmeticError::Overflow)
		);
		let today = REFERENCE * 95 / 100;
		assert_noop!(
			Rentals::extend_order(signed(CARLA), id, 1, today - 1),
			Error::<Test>::PriceAboveLimit
		);
		frame_support::hypothetically!({
			assert_ok!(extend(id, 8_759));
			assert_noop!(extend(id, 1), Error::<Test>::TooManyHours);
		});
		for _ in 0..7 {
			assert_ok!(Rentals::extend_order(signed(CARLA), id, 1, today));
		}
		assert_noop!(extend(id, 1), Error::<Test>::TooManyExtensions);
		assert_ok!(Rentals::set_price(RuntimeOrigin::root(), CLASS, None));
		assert_noop!(extend(id, 1), Error::<Test>::NoPrice);
	});
}

#[test]
fn boundary_of_the_floor_that_the_worker_was_offered_for() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.floor = PRICE);
		let (id, _) = deployed(CARLA, 1);
		// The owner's new floor does not bind the order.
		with_machine(worker, |machine| machine.floor = 100 * PRICE);
		let set = |reference| {
			assert_ok!(Rentals::set_price(
				RuntimeOrigin::root(),
				CLASS,
				Some(reference)
			));
		};
		// 0.95 of the reference, rounded up.
		let least = PRICE * 100 / 95;
		set(least);
		frame_support::hypothetically!({
			assert_ok!(extend(id, 1));
		});
		set(least - 2);
		assert_noop!(extend(id, 1), Error::<Test>::PriceBelowFloor);
	});
}

#[test]
fn an_extension_keeps_the_plan() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = try_place(CARLA, ONE, 720, Plan::Month, 0).unwrap();
		matched(id);
		confirm(id);
		let before = order(id).ledger.charged;
		assert_ok!(extend(id, 10));
		let today = REFERENCE * 95 / 100;
		assert_eq!(order(id).ledger.charged - before, 10 * today * 9 / 10);
	});
}

#[test]
fn fails_unless_its_time_runs() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		assert_noop!(extend(id, 1), Error::<Test>::WrongState);
		matched(id);
		assert_noop!(extend(id, 1), Error::<Test>::WrongState);
		confirm(id);
		System::set_block_number(order(id).ends_at);
		// Past its end, though no hook has run.
		assert_noop!(extend(id, 1), Error::<Test>::WrongState);
		System::set_block_number(now() - 1);
		frame_support::hypothetically!({
			assert_ok!(extend(id, 1));
		});
		run_to(order(id).ends_at);
		assert_noop!(extend(id, 1), Error::<Test>::WrongState);
	});
}

#[test]
fn fails_without_the_kai() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		assert_ok!(Balances::transfer_allow_death(
			signed(CARLA),
			ANYONE,
			free(CARLA) - KAI
		));
		assert_noop!(extend(id, 1), TokenError::FundsUnavailable);
	});
}
