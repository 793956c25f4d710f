//! Tests of a provider that rents its own machine again and again, so that no check examines its hardware.

use super::*;
use kaisar_primitives::{Plan, Requirement};

/// Runs the next block, with all hooks and the calls of machines and checkers.
pub fn block(actors: &mut Actors) {
	Rentals::on_idle(now(), PLENTY);
	Popw::on_finalize(now());
	forget_events();
	System::set_block_number(now() + 1);
	Popw::on_initialize(now());
	Rewards::on_initialize(now());
	Rentals::on_initialize(now());
	for (who, call) in actors.calls() {
		let _ = dispatch(call, signed(who));
	}
}

fn is_open(id: OrderId, state: OrderState) -> bool {
	Orders::<World>::get(id).is_some_and(|order| order.state == state)
}

/// Keeps an order of Petra's accomplice in the queue, and cancels the running one as soon as another waits.
/// The machine is `stripped` of its GPU in its first rental, or not. Returns how many times it was rented in
/// `blocks`.
fn rentals(blocks: u32, stripped: bool) -> u32 {
	let mut rentals = 0;
	world(1).execute_with(|| {
		// No census: only checks that orders cause examine the machine.
		CheckPeriod::set(&u32::MAX);
		dispatch(registration(PETRA, 1, spec(0)), signed(PETRA)).expect("it can be registered");
		let mut actors = Actors::default();
		while record(0).state() != WorkerState::Online {
			block(&mut actors);
		}
		let requirement = Requirement {
			gpu_class: 11,
			gpu_count: 1,
			..Default::default()
		};
		let placing = model::Placing {
			requirement,
			hours: 1,
			plan: Plan::OnDemand,
			max_price: Balance::MAX,
			credits: 0,
			deploy_blocks: 0,
		};
		let (mut last, mut freed) = (None, None);
		for _ in 0..blocks {
			block(&mut actors);
			let serves = record(0).order;
			if serves != last {
				if last.is_some() {
					freed = Some(now());
				}
				if let Some(id) = serves {
					rentals += 1;
					let proved = LastFull::get(0);
					assert!(
						freed.is_none() || proved >= freed,
						"{id}: {proved:?}, {freed:?}"
					);
					if stripped {
						actors.manners.insert(0, Manner::Stripped);
					}
				}
				last = serves;
			}
			if let Some(order) = serves {
				let confirm = Call::confirm_deployment {
					order,
					signature: None,
				};
				let _ = dispatch(confirm, signed(PETRA));
			}
			let next = NextOrderId::<World>::get();
			if !(0..next).any(|id| is_open(id, OrderState::Matching)) {
				let place = model::Act::Place(placing).call();
				dispatch(place, signed(CARLA)).expect("Carla is rich");
			} else if let Some(order) = serves {
				let _ = dispatch(Call::cancel_order { order }, signed(CARLA));
			}
		}
		invariants();
		invariants_of_others();
	});
	rentals
}

#[test]
fn no_rental_follows_another_without_a_full_check() {
	assert!(rentals(500, false) >= 4);
}

#[test]
fn a_machine_that_lost_its_gpu_while_it_was_rented_is_rented_once() {
	assert_eq!(rentals(500, true), 1);
}
