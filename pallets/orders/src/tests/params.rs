//! Parameters at their ends: whatever governance sets, no hook is jammed.

use super::*;
use crate::params;
use frame_support::weights::Weight;

/// The life of three orders: one that is never deployed, one that runs to its end, one that is canceled.
fn live() {
	let workers: Vec<_> = (0..3).map(|_| add_machine(PETRA)).collect();
	let orders: Vec<_> = (0..3).map(|_| place(CARLA, 1)).collect();
	run_to(now() + 2);
	for id in &orders {
		assert_eq!(state(*id), OrderState::Deploying, "it was matched");
	}
	confirm(orders[1]);
	assert_ok!(Rentals::cancel_order(signed(CARLA), orders[2]));
	run_to(order(orders[1]).ends_at.max(order(orders[0]).deploy_by) + 1);
	assert_eq!(state(orders[0]), closed(CloseReason::DeployFailed));
	if !order_is_gone(orders[1]) {
		// No check comes: it is looked for, and at last done without.
		let mut looks = 0;
		while !order_is_gone(orders[1]) && !order(orders[1]).is_closed() {
			System::set_block_number(order(orders[1]).wake);
			Rentals::run_agenda(now(), Weight::MAX);
			looks += 1;
			assert!(looks < 40);
		}
	}
	// Orders are forgotten, and bars end.
	let last = [*params::HISTORY.end(), *params::BAR_BLOCKS.end()].map(|blocks| now() + blocks);
	for block in last {
		System::set_block_number(block.max(now()) + 1);
		Rentals::run_agenda(now(), Weight::MAX);
		Rentals::run_agenda(now(), Weight::MAX);
	}
	assert!(orders.iter().all(|id| order_is_gone(*id)));
	assert!(workers.iter().any(|worker| machine(*worker).reviews > 0));
	assert_eq!(AgendaLen::<Test>::iter().count(), 0);
}

fn order_is_gone(id: u32) -> bool {
	!Orders::<Test>::contains_key(id)
}

#[test]
fn no_parameter_jams_a_hook() {
	let set: [fn(u32); 6] = [
		|value| MatchDraws::set(&value),
		|value| DeployDeadline::set(&value),
		|value| ClosingTimeout::set(&value),
		|value| History::set(&value),
		|value| BarBlocks::set(&value),
		|value| SetupBlocks::set(&value),
	];
	for set in set {
		for value in [0, u32::MAX] {
			ExtBuilder.build_and_execute(|| {
				set(value);
				live();
			});
		}
	}
	for value in [0, u32::MAX] {
		ExtBuilder.build_and_execute(|| {
			set.iter().for_each(|set| set(value));
			live();
		});
	}
}

#[test]
fn a_set_up_never_costs_more_than_an_hour_of_waiting() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		SetupBlocks::set(&u32::MAX);
		let (id, _) = placed(CARLA, 24);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
		assert_eq!(free(CARLA), FUNDS - PRICE);
	});
}

#[test]
fn the_most_draws_fit_into_a_hook() {
	ExtBuilder.build_and_execute(|| {
		MatchDraws::set(&u32::MAX);
		for _ in 0..200 {
			let worker = add_machine(PETRA);
			with_machine(worker, |machine| machine.floor = Balance::MAX);
		}
		let id = place(CARLA, 1);
		next_block();
		assert!(next_block().all_lte(HookWeight::get()));
		assert_eq!(state(id), closed(CloseReason::NoSuitableWorker));
	});
}
