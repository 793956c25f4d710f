//! Which worker gets an order.

use super::*;
use crate::matching::PATIENCE;
use sp_runtime::Perbill;

fn chosen(id: u32) -> u32 {
	order(id).worker.expect("it was matched")
}

#[test]
fn boundary_of_two_blocks() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		let id = place(CARLA, 1);
		run_to(2);
		assert_eq!(state(id), OrderState::Matching);
		events();
		run_to(3);
		assert_eq!(
			events(),
			vec![Event::OrderMatched {
				order: id,
				worker,
				deploy_by: 3 + DEADLINE
			}]
		);
		assert_eq!(machine(worker).state, WorkerState::Rented);
		assert_eq!(Rentals::waiting(), 0);
	});
}

#[test]
fn all_goes_back_where_nobody_fits() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 2);
		let free_before = free(CARLA);
		let two = Requirement {
			gpu_count: 2,
			..ONE
		};
		let id = try_place(CARLA, two, 2, Plan::OnDemand, credits).unwrap();
		events();
		run_to(now() + 2);
		assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
		assert_eq!(
			(free(CARLA), Credits::<Test>::get(CARLA)),
			(free_before, credits)
		);
		let refunded = Money {
			kai: 2 * 2 * PRICE - credits,
			credits,
		};
		assert!(events().contains(&Event::OrderClosed {
			order: id,
			reason: CloseReason::NoSuitableWorker,
			paid: 0,
			fee: 0,
			refunded,
			credited: 0,
		}));
	});
}

#[test]
fn who_does_not_fit_is_dropped() {
	// Each of these is the only other one, and by far the better one.
	let spoil: [fn(&mut Machine); 10] = [
		|machine| machine.profile.gpu_class = 12,
		|machine| machine.profile.gpu_count = 2,
		|machine| machine.profile.bandwidth = 0,
		|machine| machine.profile.cpu = 0,
		|machine| machine.profile.memory = 0,
		|machine| machine.profile.disk = 0,
		|machine| machine.region = *b"FR",
		|machine| machine.floor = PRICE + 1,
		|machine| machine.barred_until = 1_000,
		|machine| machine.due = true,
	];
	for spoil in spoil {
		ExtBuilder.build_and_execute(|| {
			let requirement = Requirement {
				min_bandwidth: 1,
				min_cpu: 1,
				min_memory: 1,
				min_disk: 1,
				region: Some(*b"DE"),
				..ONE
			};
			let poor = add_machine(PETRA);
			let better = add_machine(PETRA);
			with_machine(poor, |machine| machine.reliability = Perbill::zero());
			with_machine(better, spoil);
			let id = try_place(CARLA, requirement, 1, Plan::OnDemand, 0).unwrap();
			matched(id);
			assert_eq!(chosen(id), poor);
		});
	}
}

#[test]
fn an_order_waits_for_workers_that_are_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.due = true);
		let id = place(CARLA, 1);
		run_to(now() + 12);
		assert_eq!((state(id), Rentals::waiting()), (OrderState::Matching, 0));
		with_machine(worker, |machine| machine.due = false);
		run_to(now() + 5);
		assert_eq!(chosen(id), worker);
	});
}

#[test]
fn boundary_of_waiting_for_workers_that_are_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.due = true);
		let (free_before, id) = (free(CARLA), place(CARLA, 1));
		let placed = now();
		// It can be cancelled meanwhile.
		let other = place(DAN, 1);
		run_to(placed + 10);
		assert_ok!(Rentals::cancel_order(signed(DAN), other));
		run_to(placed + PATIENCE - 1);
		assert_eq!(state(id), OrderState::Matching);
		run_to(placed + PATIENCE + 5);
		assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
		assert_eq!(free(CARLA), free_before);
	});
}

#[test]
fn boundary_of_the_price_floor() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.floor = PRICE);
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!((chosen(id), order(id).floor), (worker, PRICE));
	});
}

#[test]
fn a_plan_that_pays_less_than_the_floor_is_not_for_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.floor = PRICE);
		let id = try_place(CARLA, ONE, 720, Plan::Month, 0).unwrap();
		run_to(3);
		assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
	});
}

#[test]
fn the_best_is_the_most_reliable_then_the_one_with_most_bandwidth() {
	ExtBuilder.build_and_execute(|| {
		let workers: Vec<_> = (0..3).map(|_| add_machine(PETRA)).collect();
		with_machine(workers[0], |machine| {
			machine.profile.bandwidth = 4;
			machine.reliability = Perbill::from_percent(90);
		});
		with_machine(workers[1], |machine| machine.profile.bandwidth = 3);
		let first = place(CARLA, 1);
		matched(first);
		assert_eq!(chosen(first), workers[1]);
		let second = place(CARLA, 1);
		matched(second);
		assert_eq!(chosen(second), workers[2]);
		let third = place(CARLA, 1);
		matched(third);
		assert_eq!(chosen(third), workers[0]);
	});
}

#[test]
fn among_equals_it_is_by_lot_and_by_draw() {
	ExtBuilder.build_and_execute(|| {
		// Up to as many as are drawn, all of them are looked at; above that, eight are drawn.
		for count in [4u32, 40] {
			while MachineCount::get() < count {
				add_machine(PETRA);
			}
			let mut times = vec![0u32; count as usize];
			for seed in 0..400u64 {
				let id = place(CARLA, 1);
				let seed = sp_core::H256(sp_io::hashing::blake2_256(&seed.to_le_bytes()));
				let looked = Rentals::match_one(id, seed).unwrap();
				assert_eq!(looked, Some((count.min(8), 0)));
				times[chosen(id) as usize] += 1;
				assert_ok!(Rentals::cancel_order(signed(CARLA), id));
			}
			let mean = 400 / count;
			assert!(
				times.iter().all(|times| *times > 0 && *times < 4 * mean),
				"{times:?}"
			);
		}
	});
}

#[test]
fn a_worker_is_touched_before_it_is_rented() {
	ExtBuilder.build_and_execute(|| {
		let (gone, there) = (add_machine(PETRA), add_machine(PETRA));
		with_machine(there, |machine| {
			machine.reliability = Perbill::from_percent(10)
		});
		with_machine(gone, |machine| {
			machine.open = Some((1, Some(Verdict::Offline)))
		});
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!(chosen(id), there);
		assert_eq!(machine(gone).state, WorkerState::Offline);
	});
}

#[test]
fn no_more_than_two_checks_are_closed_for_an_order() {
	ExtBuilder.build_and_execute(|| {
		let over = |worker| {
			with_machine(worker, |machine| {
				machine.open = Some((1, Some(Verdict::Offline)))
			});
		};
		(0..4).for_each(|_| over(add_machine(PETRA)));
		let there = add_machine(PETRA);
		with_machine(there, |machine| {
			machine.reliability = Perbill::from_percent(10)
		});
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!(chosen(id), there);
		let closed = (0..4)
			.filter(|worker| machine(*worker).open.is_none())
			.count();
		assert_eq!(closed, 2);
	});
}

#[test]
fn the_next_best_is_taken_where_the_registry_refuses() {
	ExtBuilder.build_and_execute(|| {
		let (best, other) = (add_machine(PETRA), add_machine(PETRA));
		with_machine(other, |machine| {
			machine.reliability = Perbill::from_percent(10)
		});
		Refused::put(Refusal::Rent(best));
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!(chosen(id), other);
	});
}

#[test]
fn orders_wait_for_randomness() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		NoSeeds::put(true);
		let id = place(CARLA, 1);
		run_to(10);
		assert_eq!(state(id), OrderState::Matching);
		NoSeeds::put(false);
		run_to(11);
		assert_eq!(state(id), OrderState::Deploying);
	});
}

#[test]
fn the_queue_is_served_in_order_and_by_weight() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..30 {
			add_machine(PETRA);
		}
		let orders: Vec<_> = (0..30).map(|_| place(CARLA, 1)).collect();
		// One of them is cancelled, and costs next to nothing.
		assert_ok!(Rentals::cancel_order(signed(CARLA), orders[3]));
		// Room for about ten at a time.
		let budget = HookWeight::get().saturating_div(12);
		HookWeight::set(&budget);
		let mut blocks = 0;
		run_to(2);
		while Rentals::waiting() > 0 {
			assert!(next_block().all_lte(budget));
			blocks += 1;
			let done: Vec<_> = orders
				.iter()
				.filter(|id| **id != orders[3])
				.map(|id| state(*id) != OrderState::Matching)
				.collect();
			assert!(done.is_sorted_by(|a, b| a >= b), "in order: {done:?}");
		}
		assert!(blocks > 2 && blocks < 6, "{blocks}");
		let matched = orders
			.iter()
			.filter(|id| state(**id) == OrderState::Deploying)
			.count();
		assert_eq!(matched, 29);
	});
}
