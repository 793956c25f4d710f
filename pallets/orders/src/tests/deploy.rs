//! `confirm_deployment` and `fail_deployment`.

use super::*;

#[test]
fn paid_time_begins_when_it_is_confirmed() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 2);
		run_to(30);
		events();
		assert_ok!(Rentals::confirm_deployment(signed(PETRA), id, None));
		let ends_at = 30 + 2 * HOURS;
		assert_eq!(
			events(),
			vec![Event::OrderDeployed {
				order: id,
				worker,
				ends_at
			}]
		);
		let record = order(id);
		assert_eq!(
			(
				record.state,
				record.started_at,
				record.ends_at,
				record.proved_to
			),
			(OrderState::Active, 30, ends_at, 30)
		);
		assert_noop!(
			Rentals::confirm_deployment(signed(PETRA), id, None),
			Error::<Test>::WrongState
		);
		assert_noop!(
			Rentals::fail_deployment(signed(PETRA), id, DeployFailure::Unhealthy, None),
			Error::<Test>::WrongState
		);
	});
}

#[test]
fn boundary_of_the_deadline() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		run_to(order(id).matched_at + DEADLINE);
		frame_support::hypothetically!({
			assert_ok!(Rentals::confirm_deployment(signed(PETRA), id, None));
		});
		// The next block ends it, without anybody's call.
		events();
		next_block();
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
		assert_eq!((free(CARLA), held(CARLA)), (FUNDS, (0, 0)));
		let it = machine(worker);
		assert_eq!(
			(it.state, it.order, it.slashes, it.barred_until),
			(WorkerState::Online, None, 1, now() + BAR)
		);
		assert_eq!(
			events(),
			vec![Event::OrderClosed {
				order: id,
				reason: CloseReason::DeployFailed,
				paid: 0,
				fee: 0,
				refunded: Money {
					kai: PRICE,
					credits: 0
				},
				credited: 0,
			}]
		);
	});
}

#[test]
fn fails_when_the_deadline_is_over_and_nobody_noticed() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		System::set_block_number(order(id).deploy_by + 1);
		for call in &worker_calls(id, None)[..2] {
			assert_noop!(
				dispatch(call.clone(), signed(PETRA)),
				Error::<Test>::DeadlineOver
			);
		}
		run_to(now() + 1);
	});
}

#[test]
fn an_image_that_does_not_run_costs_a_tenth_of_an_hour() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 10);
		events();
		assert_ok!(Rentals::fail_deployment(
			signed(PETRA),
			id,
			DeployFailure::ImageUnavailable,
			None
		));
		let setup = PRICE / 10;
		assert_eq!(free(TREASURY), KAI + setup);
		assert_eq!((free(CARLA), held(CARLA)), (FUNDS - setup, (0, 0)));
		assert_eq!(free(PETRA), FUNDS);
		assert_eq!(
			events(),
			vec![
				Event::DeploymentFailed {
					order: id,
					worker,
					reason: DeployFailure::ImageUnavailable
				},
				Event::OrderClosed {
					order: id,
					reason: CloseReason::ImageFailed,
					paid: 0,
					fee: setup,
					refunded: Money {
						kai: 10 * PRICE - setup,
						credits: 0
					},
					credited: 0,
				},
			]
		);
		let it = machine(worker);
		assert_eq!((it.state, it.slashes), (WorkerState::Online, 0));
		assert_eq!(it.barred_until, now() + BAR);
		// It is not matched while it is barred.
		let next = place(DAN, 1);
		run_to(now() + 2);
		assert_eq!(state(next), closed(CloseReason::NoSuitableWorker));
	});
}

#[test]
fn what_is_too_little_for_an_empty_treasury_is_left_to_the_customer() {
	ExtBuilder.build_and_execute(|| {
		assert_ok!(Balances::transfer_all(signed(TREASURY), ANYONE, false));
		assert_ok!(Rentals::set_price(RuntimeOrigin::root(), CLASS, Some(ED)));
		add_machine(PETRA);
		let (id, _) = placed(CARLA, 10);
		assert_ok!(Rentals::fail_deployment(
			signed(PETRA),
			id,
			DeployFailure::StartFailed,
			None
		));
		assert_eq!(free(CARLA), FUNDS);
	});
}

#[test]
fn leaves_it_at_that_where_the_touch_ends_the_order() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		for call in &worker_calls(id, None)[..2] {
			frame_support::hypothetically!({
				with_machine(worker, |machine| {
					machine.open = Some((1, Some(Verdict::Offline)))
				});
				assert_ok!(dispatch(call.clone(), signed(PETRA)));
				assert_eq!(state(id), closed(CloseReason::WorkerFailed));
				assert_eq!(free(CARLA), FUNDS);
			});
		}
	});
}

#[test]
fn fails_when_the_registry_took_the_order_away() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		with_machine(worker, |machine| {
			machine.order = None;
			machine.state = WorkerState::Offline;
		});
		for call in &worker_calls(id, None)[..2] {
			assert_noop!(
				dispatch(call.clone(), signed(PETRA)),
				Error::<Test>::WorkerLost
			);
		}
		assert_ok!(Rentals::close_order(signed(ANYONE), id));
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
	});
}
