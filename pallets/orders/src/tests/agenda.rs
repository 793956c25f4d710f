//! Tests of the work that needs no call.

use super::*;
use crate::agenda::RETRY;
use frame_support::{traits::Hooks, weights::Weight};

/// Creates orders whose time ends in the same block, each with a worker of its own.
fn ending_together(count: u32) -> (Vec<u32>, BlockNumber) {
	let ends_at = now() + HOURS;
	let orders: Vec<_> = (0..count).map(|_| place(CARLA, 1)).collect();
	for id in &orders {
		let id = *id;
		let worker = add_machine(PETRA);
		let mut it = order(id);
		// The state after matching and deploying.
		with_machine(worker, |machine| {
			machine.state = WorkerState::Rented;
			machine.order = Some(id);
			machine.since = now();
		});
		it.state = OrderState::Active;
		it.worker = Some(worker);
		it.started_at = now();
		it.proved_to = now();
		it.ends_at = ends_at;
		Rentals::schedule(id, &mut it, ends_at).unwrap();
		Orders::<Test>::insert(id, it);
	}
	(orders, ends_at)
}

#[test]
fn ten_thousand_orders_that_end_together_are_done_in_a_few_blocks() {
	ExtBuilder.build_and_execute(|| {
		let (orders, ends_at) = ending_together(10_000);
		QueueEnds::<Test>::kill();
		let _ = Queue::<Test>::clear(u32::MAX, None);
		System::set_block_number(ends_at - 1);
		AgendaCursor::<Test>::put(Cursor {
			block: ends_at,
			position: 0,
		});
		let budget = HookWeight::get();
		let mut blocks = 0u32;
		let left = || {
			orders
				.iter()
				.filter(|id| state(**id) == OrderState::Active)
				.count()
		};
		while left() > 0 {
			let used = next_block();
			assert!(used.all_lte(budget), "{used:?}");
			let before = left();
			// A half-empty block processes more of them.
			let idle = Weight::from_parts(budget.ref_time() * 2, budget.proof_size() * 2);
			assert!(Rentals::on_idle(now(), idle).all_lte(idle));
			assert!(left() < before || left() == 0);
			blocks += 1;
		}
		assert!(blocks <= 10, "{blocks} blocks");
		// In order, and each worker is due in a check.
		assert!(orders.iter().all(|id| state(*id) == OrderState::Closing));
		assert!((0..10_000).all(|worker| machine(worker).forced == 1));
	});
}

#[test]
fn an_order_that_fails_stops_no_other() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..3 {
			add_machine(PETRA);
		}
		let orders: Vec<_> = (0..3).map(|_| place(CARLA, 1)).collect();
		run_to(3);
		let stuck = order(orders[1]).worker.unwrap();
		Refused::put(Refusal::Free(stuck));
		events();
		run_to(3 + DEADLINE + 1);
		let reasons: Vec<_> = orders.iter().map(|id| state(*id)).collect();
		let over = closed(CloseReason::DeployFailed);
		assert_eq!(reasons, vec![over, OrderState::Deploying, over]);
		assert!(events().contains(&Event::OrderFailed {
			order: orders[1],
			error: DispatchError::Unavailable
		}));
		// The step was rolled back, including the slash.
		assert_eq!(machine(stuck).slashes, 0);
		run_to(now() + RETRY);
		assert_eq!(state(orders[1]), OrderState::Deploying);
		Refused::kill();
		run_to(now() + RETRY);
		assert_eq!(state(orders[1]), over);
		assert_eq!(machine(stuck).slashes, 1);
	});
}

#[test]
fn a_check_whose_order_fails_is_made_up_for() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		Refused::put(Refusal::Free(worker));
		check(worker, now() + 1, Verdict::Down);
		// Popw has closed its check, and the order could not be closed.
		assert_eq!(state(id), OrderState::Active);
		let aside = now() + RETRY;
		run_to(aside - 1);
		Refused::kill();
		run_to(aside);
		assert_eq!(state(id), closed(CloseReason::ServiceDown));
		assert_eq!(free(CARLA), FUNDS - PRICE);
	});
}

#[test]
fn what_was_put_aside_for_nothing_goes_on() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		for end in [0, HOURS] {
			let (id, worker) = placed(CARLA, 1);
			if end > 0 {
				confirm(id);
			}
			Rentals::put_aside(id, DispatchError::Other("test"));
			run_to(now() + RETRY);
			let it = order(id);
			let natural = if end > 0 {
				it.ends_at
			} else {
				it.deploy_by + 1
			};
			assert_eq!(it.wake, natural);
			assert_ok!(Rentals::cancel_order(signed(CARLA), id));
			check(worker, now(), Verdict::Fine);
		}
	});
}

#[test]
fn a_worker_that_was_lost_is_noticed_at_the_next_look() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		with_machine(worker, |machine| {
			machine.order = None;
			machine.state = WorkerState::Offline;
		});
		run_to(order(id).ends_at);
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(free(CARLA), FUNDS);
	});
}

#[test]
fn entries_that_do_not_count_do_nothing() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		let first = order(id).ends_at;
		assert_ok!(Rentals::extend_order(signed(CARLA), id, 1, Balance::MAX));
		run_to(first + 1);
		assert_eq!((state(id), machine(worker).forced), (OrderState::Active, 0));
		// Canceled: the entry of its next end is stale, too.
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		check(worker, now(), Verdict::Fine);
		run_to(first + HOURS + 1);
		assert_eq!(state(id), closed(CloseReason::Cancelled));
		run_to(order(id).closed_at + HISTORY);
		assert_eq!(AgendaLen::<Test>::iter().count(), 0);
		assert_eq!(Agenda::<Test>::iter().count(), 0);
	});
}

#[test]
fn a_matching_that_fails_is_made_up_for_by_a_refund() {
	ExtBuilder.build_and_execute(|| {
		let id = place(CARLA, 1);
		// The record is corrupted: the money to refund is missing.
		let kept = order(id).ledger;
		Orders::<Test>::mutate(id, |order| {
			order.as_mut().unwrap().ledger.escrow.kai *= 2;
		});
		run_to(3);
		assert_eq!(state(id), OrderState::Matching);
		assert_eq!(Rentals::waiting(), 0);
		Orders::<Test>::mutate(id, |order| order.as_mut().unwrap().ledger = kept);
		run_to(3 + RETRY);
		assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
	});
}

#[test]
fn boundary_of_forgetting() {
	ExtBuilder.build_and_execute(|| {
		let id = place(CARLA, 1);
		run_to(3);
		run_to(3 + HISTORY - 1);
		assert!(Rentals::order(id).is_some());
		next_block();
		assert_eq!(Rentals::order(id), None);
		assert_eq!(Workloads::<Test>::iter().count(), 0);
		assert_eq!(OrdersByCustomer::<Test>::iter().count(), 0);
	});
}

#[test]
fn a_budget_of_nothing_does_nothing_and_loses_nothing() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		System::set_block_number(order(id).deploy_by + 1);
		assert_eq!(Rentals::run_agenda(now(), Weight::zero()), Weight::zero());
		let little = <() as WeightInfo>::agenda();
		assert!(Rentals::run_agenda(now(), little).any_gt(Weight::zero()));
		assert_eq!(state(id), OrderState::Deploying);
		Rentals::run_agenda(now(), Weight::MAX);
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
	});
}

#[test]
fn a_bar_ends_by_the_agenda_and_the_worker_is_listed_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		run_to(order(id).deploy_by + 1);
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
		let over = now() + BAR;
		run_to(over - 1);
		assert!(!machine(worker).is_listed());
		next_block();
		assert!(machine(worker).is_listed());
		// The order stays in storage as long as any other, and is then removed.
		run_to(order(id).closed_at + HISTORY - 1);
		assert!(Rentals::order(id).is_some());
		next_block();
		assert_eq!(Rentals::order(id), None);
		assert_eq!(AgendaLen::<Test>::iter().count(), 0);
	});
}

#[test]
fn a_bar_outlasts_the_history_of_its_order() {
	ExtBuilder.build_and_execute(|| {
		History::set(&10);
		let worker = add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		run_to(order(id).deploy_by + 1);
		run_to(now() + BAR - 1);
		assert!(!machine(worker).is_listed());
		next_block();
		assert!(machine(worker).is_listed());
		assert!(Rentals::order(id).is_none());
	});
}

#[test]
fn a_worker_that_is_gone_does_not_keep_its_order() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		run_to(order(id).deploy_by + 1);
		Machines::remove(worker);
		MachineCount::put(0);
		events();
		run_to(now() + HISTORY);
		assert_eq!(Rentals::order(id), None);
		assert_eq!(events(), vec![]);
	});
}

#[test]
fn a_review_that_fails_is_tried_again_and_stops_no_other() {
	ExtBuilder.build_and_execute(|| {
		let workers: Vec<_> = (0..3).map(|_| add_machine(PETRA)).collect();
		let orders: Vec<_> = (0..3).map(|_| place(CARLA, 1)).collect();
		run_to(3 + DEADLINE + 1);
		let over = now() + BAR;
		let stuck = order(orders[1]).worker.unwrap();
		Refused::put(Refusal::Review(stuck));
		run_to(over);
		let listed = |worker: &u32| machine(*worker).is_listed();
		assert!(
			workers
				.iter()
				.all(|worker| listed(worker) == (*worker != stuck))
		);
		Refused::kill();
		run_to(over + RETRY);
		assert!(workers.iter().all(listed));
	});
}
