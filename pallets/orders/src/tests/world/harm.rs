//! Tests of an order's cost to its provider's stake: nothing through its tenant's acts, and each span of
//! time once.

use super::{chain::block, *};
use kaisar_primitives::{Checks, CloseReason, Plan, Requirement, RoundKind};
use pallet_providers::Slashes;

/// Returns the actors of a world in which Petra's machine is verified and idle. No census comes: only marks
/// and random checks of rented workers examine the machine.
fn listed() -> Actors {
	CheckPeriod::set(&u32::MAX);
	dispatch(registration(PETRA, 1, spec(0)), signed(PETRA)).expect("it can be registered");
	let mut actors = Actors::default();
	while record(0).place.is_none() {
		block(&mut actors);
	}
	actors
}

/// Places an order of Carla's, which only Petra's machine can get.
fn place(hours: u32) {
	let placing = model::Placing {
		requirement: Requirement {
			gpu_class: 11,
			gpu_count: 1,
			..Default::default()
		},
		hours,
		plan: Plan::OnDemand,
		max_price: Balance::MAX,
		credits: 0,
		deploy_blocks: 0,
	};
	dispatch(model::Act::Place(placing).call(), signed(CARLA)).expect("Carla is rich");
}

fn ordered(hours: u32) -> Actors {
	let actors = listed();
	place(hours);
	actors
}

fn order() -> OrderOf<World> {
	Orders::<World>::get(0).expect("it is kept")
}

fn closed() -> Option<CloseReason> {
	match order().state {
		OrderState::Closed { reason } => Some(reason),
		_ => None,
	}
}

/// Deploys an order two blocks after its match, and has a check prove its first hour.
fn running(hours: u32) -> Actors {
	let mut actors = ordered(hours);
	while order().state != OrderState::Deploying {
		block(&mut actors);
	}
	let confirm = Call::confirm_deployment {
		order: 0,
		signature: None,
	};
	dispatch(confirm, signed(PETRA)).expect("it can be confirmed");
	while order().proved < HOURS {
		block(&mut actors);
	}
	actors
}

fn report(actors: &mut Actors) {
	let report = Call::report_issue {
		order: 0,
		reason: kaisar_primitives::Issue::NotServing,
	};
	dispatch(report, signed(CARLA)).expect("it runs");
	while closed().is_none() {
		block(actors);
	}
}

/// Returns the blocks of absence that the queued slashes charge, at 10 % a day.
fn charged() -> BlockNumber {
	let rate: u128 = Slashes::<World>::iter_keys()
		.filter_map(Providers::queued_slash)
		.map(|slash| u128::from(slash.rate.deconstruct()))
		.sum();
	let day = u128::from(24 * HOURS);
	u32::try_from((rate * 10 * day + day).div_euclid(1_000_000_000_000_000_000)).expect("it fits")
}

#[test]
fn a_tenant_that_silences_its_container_hurts_no_stake_and_gets_no_kai_back() {
	world(1).execute_with(|| {
		let mut actors = running(24);
		actors.manners.insert(0, Manner::Down);
		report(&mut actors);
		assert_eq!(closed(), Some(CloseReason::ServiceDown));
		assert_eq!(Slashes::<World>::iter().count(), 0);
		assert_eq!(record(0).state(), WorkerState::Online);
		let history = record(0).history;
		assert_eq!(history.bits.count_ones(), u32::from(history.entries));
		let ledger = order().ledger;
		assert_eq!(ledger.refunded, Money::default());
		assert!(ledger.credited > 0 && ledger.setup > 0);
		// The machine is listed again once a full check supports its claim.
		actors.manners.clear();
		assert!(record(0).is_marked());
		while record(0).place.is_none() {
			block(&mut actors);
		}
		invariants();
		invariants_of_others();
	});
}

#[test]
fn a_reboot_while_rented_is_charged_from_the_last_proof_and_the_customer_is_whole() {
	world(1).execute_with(|| {
		let mut actors = running(24);
		let paid = order().ledger.gross().expect("it fits");
		let since = record(0).proved_at.expect("it was proved");
		actors.manners.insert(0, Manner::Silent);
		report(&mut actors);
		assert_eq!(closed(), Some(CloseReason::WorkerFailed));
		let absence = now() - since;
		assert!(
			charged() <= absence && charged() + 30 > absence,
			"{} of {absence}",
			charged()
		);
		// Everything but the price of proved time is refunded in KAI, and the bond returned.
		let ledger = order().ledger;
		assert_eq!((ledger.credited, ledger.setup), (0, 0));
		let others = ledger.refunded.kai + ledger.gross().expect("it fits");
		assert_eq!(others, ledger.charged);
		assert!(ledger.gross().expect("it fits") >= paid);
		invariants();
		invariants_of_others();
	});
}

#[test]
fn confirming_and_reporting_an_exit_at_once_adds_nothing_to_a_history() {
	world(1).execute_with(|| {
		let mut actors = ordered(1);
		while order().state != OrderState::Deploying {
			block(&mut actors);
		}
		let before = record(0).history;
		let signature = None;
		let confirm = Call::confirm_deployment {
			order: 0,
			signature,
		};
		dispatch(confirm, signed(PETRA)).expect("it can be confirmed");
		block(&mut actors);
		let exit = Call::report_exit {
			order: 0,
			code: 0,
			signature,
		};
		dispatch(exit, signed(PETRA)).expect("it runs");
		assert_eq!(closed(), Some(CloseReason::Exited));
		assert_eq!(record(0).history, before);
	});
}

#[test]
fn an_order_closes_though_nobody_can_take_what_it_pays() {
	world(1).execute_with(|| {
		// An hour for a tenth of the existential deposit.
		let price = Call::set_price {
			class: 11,
			reference: Some(ED / 10),
		};
		dispatch(price, RuntimeOrigin::root()).expect("it is a price");
		let mut actors = ordered(1);
		while order().state != OrderState::Deploying {
			block(&mut actors);
		}
		let confirm = Call::confirm_deployment {
			order: 0,
			signature: None,
		};
		dispatch(confirm, signed(PETRA)).expect("it can be confirmed");
		// The treasury spends all its KAI.
		let spend = pallet_balances::Call::transfer_all {
			dest: ANYONE,
			keep_alive: false,
		};
		dispatch(spend, signed(TREASURY)).expect("it can be spent");
		assert_eq!(Balances::free_balance(TREASURY), 0);
		while closed().is_none() {
			block(&mut actors);
			let failed = System::events().into_iter().any(|record| {
				matches!(
					record.event,
					RuntimeEvent::Rentals(Event::OrderFailed { .. })
				)
			});
			assert!(!failed, "its money waits for ever");
		}
		assert_eq!(closed(), Some(CloseReason::Expired));
		let ledger = order().ledger;
		assert!(ledger.fees > 0 && ledger.fees < ED);
		assert_eq!(ledger.fees, ledger.charged / 10);
		invariants();
		invariants_of_others();
	});
}

#[test]
fn a_machine_that_dies_before_its_match_is_charged_for_its_absence_once() {
	world(1).execute_with(|| {
		let mut actors = ordered(1);
		let since = record(0).proved_at.expect("it was verified");
		actors.manners.insert(0, Manner::Silent);
		while closed().is_none() {
			block(&mut actors);
		}
		assert_eq!(closed(), Some(CloseReason::DeployFailed));
		let missed = charged();
		assert!(missed > 0 && missed <= now() - since);
		// A census finds it offline, too.
		CheckPeriod::set(&1);
		while record(0).state() == WorkerState::Online {
			block(&mut actors);
		}
		assert!(
			charged() >= missed && charged() <= now() - since,
			"{}",
			charged()
		);
		invariants();
		invariants_of_others();
	});
}

/// Covers a machine of Petra's that is off when a census starts. Carla, her accomplice, orders it and
/// cancels the order in the next round, while it is being deployed: the machine is idle again, as of a round
/// that began after the census.
#[test]
fn an_order_that_is_canceled_hides_no_absence_from_a_census() {
	world(1).execute_with(|| {
		let mut actors = listed();
		CheckPeriod::set(&1);
		let census = loop {
			block(&mut actors);
			let sees = |round: &pallet_popw::Round| {
				round.kind == RoundKind::Census && round.index > record(0).standings.now.since
			};
			if let Some(round) = Popw::rounds().into_iter().find(sees) {
				break round;
			}
		};
		CheckPeriod::set(&u32::MAX);
		actors.manners.insert(0, Manner::Silent);
		place(1);
		while order().state != OrderState::Deploying {
			block(&mut actors);
		}
		let next = <Popw as Checks>::next_round();
		while <Popw as Checks>::next_round() == next {
			block(&mut actors);
		}
		dispatch(Call::cancel_order { order: 0 }, signed(CARLA)).expect("it is deployed");
		assert_eq!(record(0).state(), WorkerState::Online);
		assert!(
			now() <= census.attest_ends(),
			"its absence is reported later"
		);
		assert_eq!(charged(), 0);
		while now() <= census.attest_ends() {
			block(&mut actors);
		}
		assert_eq!(record(0).state(), WorkerState::Offline);
		assert!(charged() > 0);
		invariants();
		invariants_of_others();
	});
}
