//! Tests of workers that are matched while a census checks their earlier state: proof and container do not
//! share the machine.

use super::{chain::block, *};
use kaisar_primitives::{Plan, Requirement, RoundKind};

/// Returns the actors of a world with two machines that are verified and idle. Number 1 is in the US, and
/// attests at the last moment.
fn machines() -> Actors {
	CheckPeriod::set(&u32::MAX);
	for (seed, choice) in [(1, 0), (2, 3)] {
		let call = registration(PETRA, seed, spec(choice));
		dispatch(call, signed(PETRA)).expect("it can be registered");
	}
	let mut actors = Actors::default();
	while record(0).place.is_none() || record(1).place.is_none() {
		block(&mut actors);
	}
	// From now on it counts as idle in a round.
	for _ in 0..3 * PHASE {
		block(&mut actors);
	}
	actors
}

/// Places an order for machine 1.
fn place() {
	let placing = model::Placing {
		requirement: Requirement {
			gpu_class: 11,
			gpu_count: 1,
			region: Some(*b"US"),
			..Default::default()
		},
		hours: 1,
		plan: Plan::OnDemand,
		max_price: Balance::MAX,
		credits: 0,
		deploy_blocks: 0,
	};
	dispatch(model::Act::Place(placing).call(), signed(CARLA)).expect("Carla is rich");
}

fn order() -> OrderOf<World> {
	Orders::<World>::get(0).expect("it is kept")
}

fn census() -> Option<Round> {
	Popw::rounds()
		.into_iter()
		.find(|round| round.kind == RoundKind::Census)
}

fn proves_until() -> Option<BlockNumber> {
	<Popw as Checks>::proves_until(1)
}

fn until(actors: &mut Actors, done: impl Fn() -> bool) {
	for _ in 0..1_000 {
		if done() {
			return;
		}
		block(actors);
	}
	panic!("it never comes");
}

#[test]
fn a_worker_that_is_matched_in_a_census_deploys_after_its_openings() {
	world(1).execute_with(|| {
		let mut actors = machines();
		CheckPeriod::set(&1);
		until(&mut actors, || census().is_some());
		// Matching pauses until one block after the trial.
		place();
		until(&mut actors, || order().state == OrderState::Deploying);
		let round = census().expect("it runs");
		assert_eq!(now(), round.trial + 2);
		assert!(<Popw as Checks>::is_due(1));
		// It has not attested: that may take until the end of the part, and the openings a phase from then.
		assert_eq!(order().deploy_by, round.attest_ends() + PHASE + DEADLINE);
		until(&mut actors, || <Popw as Checks>::is_open(1));
		let attested = now();
		assert_eq!(attested, round.attest_ends());
		while now() <= attested + PHASE {
			assert_eq!(proves_until(), Some(attested + PHASE));
			assert!(<Popw as Checks>::looks_back(1, order().matched_at));
			block(&mut actors);
		}
		assert_eq!(proves_until(), None);
		invariants();
		invariants_of_others();
	});
}

#[test]
fn a_worker_that_attested_before_its_match_deploys_after_its_openings() {
	world(1).execute_with(|| {
		let mut actors = machines();
		CheckPeriod::set(&1);
		until(&mut actors, || {
			census().is_some_and(|round| now() > round.trial)
		});
		// This time it attests at once.
		let attest = pallet_popw::Call::attest {
			worker: 1,
			round: census().expect("it runs").index,
			root: [7; 32],
			signature: None,
		};
		dispatch(attest, signed(PETRA)).expect("it is due");
		let attested = now();
		place();
		until(&mut actors, || order().state == OrderState::Deploying);
		assert_eq!(now(), attested + 2);
		assert_eq!(order().deploy_by, attested + PHASE + DEADLINE);
		assert_eq!(proves_until(), Some(attested + PHASE));
		until(&mut actors, || now() > attested + PHASE);
		// The check is open for longer, but needs no computation.
		assert_eq!(proves_until(), None);
		assert!(<Popw as Checks>::looks_back(1, order().matched_at));
		invariants();
		invariants_of_others();
	});
}

#[test]
fn a_worker_that_is_matched_just_before_a_census_waits_for_its_seed() {
	// The match is `notice` blocks before the start of a round, which starts a census or not.
	for (notice, drawn) in [(0, true), (2, true), (3, true), (4, true), (2, false)] {
		world(1).execute_with(|| {
			let mut actors = machines();
			let start = pallet_popw::NextStart::<World>::get() + 2 * PHASE;
			until(&mut actors, || now() + notice + 2 == start);
			place();
			let is_matched = || order().state == OrderState::Deploying;
			until(&mut actors, || is_matched() || now() + 1 == start);
			if drawn {
				CheckPeriod::set(&1);
			}
			until(&mut actors, is_matched);
			assert_eq!(now() + notice, start);
			let trial = start + TrialOffset::get();
			let counts = notice < 4;
			let last = trial + 2 * PHASE;
			let expected = if counts { last } else { now() };
			assert_eq!(order().deploy_by, expected + DEADLINE, "{notice}");
			assert_eq!(proves_until(), counts.then_some(last));
			until(&mut actors, || now() > start);
			// Now the seed is known.
			assert_eq!(census().is_some(), drawn);
			assert_eq!(proves_until().is_some(), counts && drawn);
			assert_eq!(<Popw as Checks>::is_due(1), counts && drawn);
			invariants();
			invariants_of_others();
		});
	}
}

#[test]
fn a_check_of_the_rental_itself_holds_nothing_back() {
	world(1).execute_with(|| {
		let mut actors = machines();
		// The next round is the first to see it rented.
		let start = pallet_popw::NextStart::<World>::get() + 2 * PHASE;
		until(&mut actors, || now() + 6 == start);
		place();
		until(&mut actors, || order().state == OrderState::Deploying);
		assert_eq!(order().deploy_by, now() + DEADLINE);
		let matched = now();
		<Popw as Checks>::force(1).expect("it is there");
		until(&mut actors, || <Popw as Checks>::is_due(1));
		assert_eq!(proves_until(), None);
		until(&mut actors, || <Popw as Checks>::is_open(1));
		assert_eq!(proves_until(), None);
		assert!(!<Popw as Checks>::looks_back(1, matched));
	});
}
