//! Tests of parameters at their limits: no value set by governance jams a hook.

use super::*;
use crate::params;
use frame_support::weights::Weight;
use kaisar_primitives::PlanRates;

/// Runs the agenda of an order's next entry, skipping all blocks between.
fn wake(id: u32) {
	let block = order(id).wake;
	System::set_block_number(block.max(now()));
	AgendaCursor::<Test>::put(Cursor { block, position: 0 });
	Rentals::run_agenda(block, Weight::MAX);
}

/// Runs an order's entries until it is closed, and then until it is removed. Returns the reason of its
/// close, and the number of entries run.
fn wake_to_the_end(id: u32) -> (CloseReason, u32) {
	let (mut reason, mut times) = (None, 0);
	while let Some(order) = Orders::<Test>::get(id) {
		if let OrderState::Closed { reason: known } = order.state {
			reason = Some(known);
		}
		assert!(order.wake < 100_000_000, "within reason");
		assert!(times < 40, "it ends");
		wake(id);
		times += 1;
	}
	(
		reason.expect("it was closed before it was forgotten"),
		times,
	)
}

/// Runs the lives of three orders: one that is never deployed, one that is canceled, one that runs to its
/// end without a check.
fn live() {
	let workers: Vec<_> = (0..3).map(|_| add_machine(PETRA)).collect();
	let [missed, canceled, served] = [1, 1, 1].map(|hours| place(CARLA, hours));
	run_to(now() + 2);
	for id in [missed, canceled, served] {
		assert_eq!(state(id), OrderState::Deploying, "it was matched");
	}
	let until_deadline = order(missed).deploy_by - now();
	assert!(params::DEPLOY_DEADLINE.contains(&until_deadline));
	confirm(served);
	let late = order(missed).worker.unwrap();
	assert_ok!(Rentals::cancel_order(signed(CARLA), canceled));
	assert!(order(canceled).is_closed());
	let (reason, times) = wake_to_the_end(missed);
	assert_eq!(reason, CloseReason::DeployFailed);
	assert!(times <= 3 && machine(late).is_listed(), "the bar ended");
	// The agenda visits the order the maximum number of times.
	assert_eq!(wake_to_the_end(served).0, CloseReason::Expired);
	Rentals::run_agenda(now(), Weight::MAX);
	AgendaCursor::<Test>::kill();
	let left = Orders::<Test>::iter_keys().collect::<Vec<_>>();
	assert!(left.iter().all(|id| *id == canceled));
	assert!(
		workers
			.iter()
			.all(|worker| machine(*worker).order.is_none())
	);
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
fn no_amount_or_rate_jams_an_order() {
	let set: [fn(bool); 3] = [
		|most| Bond::set(&if most { Balance::MAX } else { 0 }),
		|most| {
			Fee::set(&if most {
				Perbill::one()
			} else {
				Perbill::zero()
			})
		},
		|most| {
			let rate = if most {
				Perbill::one()
			} else {
				Perbill::zero()
			};
			Rates::set(&PlanRates {
				month: rate,
				quarter: rate,
			});
		},
	];
	for most in [false, true] {
		for set in set {
			ExtBuilder.build_and_execute(|| {
				add_machine(PETRA);
				add_machine(PETRA);
				let (running, worker) = deployed(CARLA, 24);
				set(most);
				// A report whose bond cannot be held fails, and changes nothing.
				let report = || Rentals::report_issue(signed(CARLA), running, Issue::Unreachable);
				if report().is_err() {
					assert!(order(running).issue.is_none());
				}
				let planned = try_place(CARLA, ONE, 720, Plan::Month, 0);
				if let Ok(id) = planned {
					assert!(matched(id).1 != worker);
					assert_ok!(Rentals::cancel_order(signed(CARLA), id));
				}
				run_to(200);
				check(worker, 150, Verdict::Fine);
				assert!(order(running).proved > 0, "it is paid as it is proved");
				Fee::set(&Perbill::from_percent(10));
				Bond::set(&BOND);
				Rates::set(&PlanRates::default());
				if order(running).issue.is_none() {
					assert_ok!(report());
				}
				run_to(300);
				check(worker, 250, Verdict::Fine);
				assert_eq!(held(CARLA).1, 0, "the bond is decided");
				assert_ok!(try_place(CARLA, ONE, 720, Plan::Month, 0));
			});
		}
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

#[test]
fn a_call_of_providers_that_touches_pays_for_the_end_of_an_order() {
	// Canceling touches the worker, pays its order and ends it. So does a touch that closes the check of a
	// rented worker, and setting a cap does nothing else.
	let ending = <() as WeightInfo>::cancel_order();
	assert!(<() as pallet_providers::WeightInfo>::set_delegation_cap().all_gte(ending));
}
