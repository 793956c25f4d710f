//! Tests of the choice of an order's worker.

use super::*;
use crate::matching::{Effort, MAX_TOUCHED};
use frame_support::{traits::Hooks, weights::Weight};
use kaisar_primitives::Arch;
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
	// With each of these changes the other worker, by far the better one, does not fit.
	let spoil: [fn(&mut Machine); 13] = [
		|machine| machine.profile.gpu_class = 12,
		|machine| machine.profile.gpu_count = 2,
		|machine| machine.profile.bandwidth = 0,
		|machine| machine.profile.cpu = 0,
		|machine| machine.profile.memory = 0,
		|machine| machine.profile.disk = 0,
		|machine| machine.region = *b"FR",
		|machine| machine.floor = PRICE + 1,
		|machine| machine.unlisted = true,
		|machine| machine.unproved = true,
		|machine| machine.arch = Arch::Arm64,
		|machine| machine.driver = 534,
		|machine| machine.cuda = 1_203,
	];
	for spoil in spoil {
		ExtBuilder.build_and_execute(|| {
			let requirement = Requirement {
				min_bandwidth: 1,
				min_cpu: 1,
				min_memory: 1,
				min_disk: 1,
				region: Some(*b"DE"),
				arch: Some(Arch::Amd64),
				min_driver: Some(535),
				min_cuda: Some(1_204),
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
fn a_worker_that_is_due_is_not_passed_over() {
	ExtBuilder.build_and_execute(|| {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| machine.due = true);
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!(chosen(id), worker);
	});
}

#[test]
fn matching_rests_while_a_census_prepares_and_the_queue_keeps_its_order() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		CensusPrepares::put(true);
		let first = place(CARLA, 1);
		run_to(now() + 5);
		let second = place(DAN, 1);
		run_to(now() + 40);
		Rentals::on_idle(now(), Weight::MAX);
		assert_eq!(Rentals::waiting(), 2);
		// The order can be canceled meanwhile.
		let third = place(DAN, 1);
		assert_ok!(Rentals::cancel_order(signed(DAN), third));
		CensusPrepares::put(false);
		next_block();
		assert_eq!(state(first), OrderState::Deploying);
		assert_eq!(state(second), closed(CloseReason::NoSuitableWorker));
		assert_eq!(free(DAN), FUNDS);
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
			machine.reliability = Perbill::from_percent(80);
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
fn boundary_of_reliability_in_eighths() {
	// Three failures of 32 cost nothing; a fourth costs a rank.
	for (confirmed, behind) in [(29, false), (28, true)] {
		ExtBuilder.build_and_execute(|| {
			let (spotless, other) = (add_machine(PETRA), add_machine(PETRA));
			with_machine(other, |machine| {
				machine.reliability = Perbill::from_rational(confirmed, 32u32);
				machine.profile.bandwidth = 3;
			});
			let id = place(CARLA, 1);
			matched(id);
			assert_eq!(chosen(id) == spotless, behind);
		});
	}
}

/// Matches an order with this seed.
fn match_with(id: u32, seed: u64) -> Effort {
	let seed = sp_core::H256(sp_io::hashing::blake2_256(&seed.to_le_bytes()));
	Rentals::match_order(id, order(id), seed).unwrap()
}

#[test]
fn among_equals_it_is_by_lot_and_by_draw() {
	ExtBuilder.build_and_execute(|| {
		// A bucket of at most `MatchDraws` workers is read whole; a larger one is drawn from.
		for count in [4u32, 40] {
			while MachineCount::get() < count {
				add_machine(PETRA);
			}
			let mut times = vec![0u32; count as usize];
			for seed in 0..400u64 {
				let id = place(CARLA, 1);
				let effort = match_with(id, seed);
				// A worker drawn twice is replaced by another draw.
				assert!(effort.draws >= count.min(8) && effort.draws < 20);
				assert_eq!((effort.touched, effort.reviewed), (0, 0));
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

/// Adds workers with an ended check that found them offline and that nobody has closed yet.
fn overdue(count: u32) {
	for _ in 0..count {
		let worker = add_machine(PETRA);
		with_machine(worker, |machine| {
			machine.open = Some((1, Some(Verdict::Offline)))
		});
	}
}

fn still_open() -> usize {
	(0..MachineCount::get())
		.filter(|worker| machine(*worker).open.is_some())
		.count()
}

#[test]
fn no_more_than_two_checks_are_closed_for_an_order() {
	ExtBuilder.build_and_execute(|| {
		overdue(4);
		let there = add_machine(PETRA);
		with_machine(there, |machine| {
			machine.reliability = Perbill::from_percent(10)
		});
		let id = place(CARLA, 1);
		matched(id);
		assert_eq!((chosen(id), still_open()), (there, 2));
	});
}

#[test]
fn an_order_whose_tries_closed_checks_goes_on_trying() {
	ExtBuilder.build_and_execute(|| {
		overdue(5);
		let there = add_machine(PETRA);
		with_machine(there, |machine| {
			machine.reliability = Perbill::from_percent(10);
			machine.open = Some((1, None));
		});
		let id = place(CARLA, 1);
		let (mut blocks, mut closed) = (0, 0);
		while state(id) == OrderState::Matching {
			next_block();
			blocks += 1;
			let before = closed;
			closed = 5 - (still_open() - 1);
			assert!(closed - before <= MAX_TOUCHED as usize);
		}
		assert_eq!((chosen(id), closed, blocks), (there, 5, 4));
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
		// One order is canceled, and costs next to nothing.
		assert_ok!(Rentals::cancel_order(signed(CARLA), orders[3]));
		// Room for about ten at a time.
		let most = Rentals::heaviest_match(30).saturating_mul(2);
		let one = <() as WeightInfo>::match_order(8, 0, 0);
		let budget = most.saturating_add(one.saturating_mul(9));
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

#[test]
fn matching_goes_on_in_what_the_block_left() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..60 {
			add_machine(PETRA);
		}
		// The hook has room for no order.
		HookWeight::set(&Weight::from_parts(1, 1));
		let orders: Vec<_> = (0..60).map(|_| place(CARLA, 1)).collect();
		next_block();
		Rentals::on_idle(now(), Weight::MAX);
		assert_eq!(
			Rentals::waiting(),
			60,
			"none is matched in the block after its own"
		);
		next_block();
		assert_eq!(Rentals::waiting(), 60);
		let most = Rentals::heaviest_match(32);
		let one = <() as WeightInfo>::match_order(8, 0, 0);
		let left = most.saturating_add(one.saturating_mul(20));
		assert!(Rentals::on_idle(now(), left).all_lte(left));
		let waiting = Rentals::waiting();
		assert!(waiting < 50 && waiting > 0, "{waiting}");
		Rentals::on_idle(now(), Weight::MAX);
		assert!(orders.iter().all(|id| state(*id) == OrderState::Deploying));
	});
}
