//! Tests of `confirm_deployment` and `fail_deployment`.

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
		// The next block ends it, without a call.
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

const CUSTOMERS: [DeployFailure; 4] = [
	DeployFailure::ImageUnavailable,
	DeployFailure::ContainerExited,
	DeployFailure::Unhealthy,
	DeployFailure::SealedMissing,
];
const PROVIDERS: [DeployFailure; 5] = [
	DeployFailure::NoEngine,
	DeployFailure::NoSpace,
	DeployFailure::PullFailed,
	DeployFailure::PlatformMismatch,
	DeployFailure::StartFailed,
];

fn fail(id: u32, reason: DeployFailure) {
	assert_ok!(Rentals::fail_deployment(signed(PETRA), id, reason, None));
}

#[test]
fn the_customers_fault_costs_the_set_up_and_nothing_else() {
	for reason in CUSTOMERS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = placed(CARLA, 10);
			let before = machine(worker);
			events();
			fail(id, reason);
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
						reason
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
			// The worker is idle, as reliable as before, neither barred nor marked.
			let it = machine(worker);
			assert_eq!((it.state, it.slashes), (WorkerState::Online, 0));
			assert_eq!(it.reliability, before.reliability);
			assert_eq!((it.barred_until, it.forced), (0, 0));
			let next = place(DAN, 1);
			run_to(now() + 2);
			assert_eq!(order(next).worker, Some(worker));
		});
	}
}

#[test]
fn the_set_up_is_the_time_since_the_match() {
	let setup_after = |blocks| {
		let mut setup = 0;
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, _) = placed(CARLA, 10);
			run_to(order(id).matched_at + blocks);
			fail(id, DeployFailure::Unhealthy);
			setup = order(id).ledger.setup;
		});
		setup
	};
	for (blocks, charged) in [(0, SETUP), (SETUP, SETUP), (SETUP + 1, SETUP + 1), (75, 75)] {
		assert_eq!(setup_after(blocks), price_of(charged), "{blocks} blocks");
	}
}

#[test]
fn the_providers_fault_costs_the_customer_nothing_and_bars_the_worker() {
	for reason in PROVIDERS {
		ExtBuilder.build_and_execute(|| {
			add_machine(PETRA);
			let (id, worker) = placed(CARLA, 10);
			let before = machine(worker);
			run_to(now() + 40);
			events();
			fail(id, reason);
			assert_eq!((free(CARLA), held(CARLA)), (FUNDS, (0, 0)));
			assert_eq!((free(TREASURY), free(PETRA)), (KAI, FUNDS));
			assert_eq!(
				events()[1],
				Event::OrderClosed {
					order: id,
					reason: CloseReason::DeployFailed,
					paid: 0,
					fee: 0,
					refunded: Money {
						kai: 10 * PRICE,
						credits: 0
					},
					credited: 0,
				}
			);
			let it = machine(worker);
			assert_eq!((it.state, it.slashes), (WorkerState::Online, 0));
			assert!(it.reliability < before.reliability);
			let until = now() + BAR;
			assert_eq!(it.barred_until, until);
			// It is not matched while it is barred.
			let next = place(DAN, 1);
			run_to(now() + 2);
			assert_eq!(state(next), closed(CloseReason::NoSuitableWorker));
			// The agenda reviews the worker at the bar's end, and removes the order later.
			run_to(until - 1);
			assert_eq!(machine(worker).reviews, 0);
			next_block();
			assert_eq!(machine(worker).reviews, 1);
			run_to(order(id).closed_at + HISTORY);
			assert_eq!(Orders::<Test>::get(id), None);
		});
	}
}

#[test]
fn a_missed_deadline_is_reviewed_likewise() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		run_to(order(id).deploy_by + 1);
		let until = machine(worker).barred_until;
		assert_eq!(until, now() + BAR);
		run_to(until);
		assert_eq!(machine(worker).reviews, 1);
	});
}

#[test]
fn an_order_is_forgotten_though_its_worker_is_gone() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		fail(id, DeployFailure::NoEngine);
		Machines::remove(worker);
		MachineCount::put(0);
		run_to(order(id).closed_at + HISTORY);
		assert_eq!(Orders::<Test>::get(id), None);
	});
}

#[test]
fn a_deployment_counts_for_the_worker_once_a_check_proves_some_of_it() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 5);
		confirm(id);
		let started = order(id).started_at;
		let counted = |verdict| {
			check(worker, now(), verdict);
			machine(worker).deployed
		};
		// In the first block of paid time there is nothing to prove yet.
		assert_eq!(machine(worker).deployed, 0);
		assert_eq!(counted(Verdict::Fine), 0);
		run_to(started + 100);
		assert_eq!(counted(Verdict::NoConsensus), 0);
		assert_eq!(counted(Verdict::Fine), 1);
		// Counted once an order.
		run_to(started + 200);
		assert_eq!(counted(Verdict::Fine), 1);
	});
}

#[test]
fn the_deadline_begins_when_the_machine_has_proved_what_it_was() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.proves_until = Some(40));
		let (id, _) = placed(CARLA, 1);
		assert_eq!(order(id).matched_at, 3);
		assert_eq!(order(id).deploy_by, 40 + DEADLINE);
		run_to(40 + DEADLINE);
		frame_support::hypothetically!(confirm(id));
		next_block();
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
		assert_eq!(machine(worker).slashes, 1);
	});
}

#[test]
fn a_deployment_has_no_more_time_than_was_bought() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		DeployDeadline::set(&(2 * HOURS));
		let (id, _) = placed(CARLA, 1);
		assert_eq!(order(id).deploy_by, order(id).matched_at + HOURS);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		let (id, _) = placed(CARLA, 3);
		assert_eq!(order(id).deploy_by, order(id).matched_at + 2 * HOURS);
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
			DeployFailure::Unhealthy,
			None
		));
		assert_eq!(state(id), closed(CloseReason::ImageFailed));
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
