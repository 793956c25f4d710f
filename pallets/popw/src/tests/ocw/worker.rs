//! Tests of a worker's side.

use super::*;

#[test]
fn a_node_without_keys_does_nothing() {
	let mut world = World::new();
	world.work();
	assert!(world.submitted().is_empty());
}

#[test]
fn a_worker_polls_its_agent_and_attests_what_it_says() {
	let mut world = World::worker();
	let mut calls = Vec::new();
	// Its position in the phase is within the first half.
	for block in 2..=8 {
		world.run_to(block);
		let request = world.ext.execute_with(prove_request);
		let answer = match block {
			2 => Progress::<Attestation>::Working.encode(),
			_ => done([9; 32]),
		};
		world.expect(PATH_PROVE, &request, answer);
		world.work();
		let now = world.submitted();
		assert!(
			block > 2 || now.is_empty(),
			"nothing before the proof is there"
		);
		calls.extend(now);
		if !calls.is_empty() {
			break;
		}
	}
	assert!(matches!(
		calls.as_slice(),
		[RuntimeCall::Popw(Call::attest {
			worker: 0,
			round: 0,
			root: [9, ..],
			signature: Some(_)
		})]
	));
	// Not sent again at the next block, but some blocks later, as if it had been lost.
	let mut sent = Vec::new();
	for block in 9..=10 {
		world.run_to(block);
		let request = world.ext.execute_with(prove_request);
		world.expect(PATH_PROVE, &request, done([9; 32]));
		world.work();
		sent.push(world.submitted().len());
	}
	assert!(sent.iter().sum::<usize>() <= 1, "{sent:?}");
}

#[test]
fn a_worker_keeps_its_agent_at_it_after_attesting() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(13);
	// An agent that restarted has to compute the proof again, for the openings.
	let request = world.ext.execute_with(prove_request);
	world.expect(
		PATH_PROVE,
		&request,
		Progress::<Attestation>::Working.encode(),
	);
	world.work();
	assert!(world.submitted().is_empty());
}

#[test]
fn a_worker_closes_its_check_when_the_round_is_over() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(32);
	world.work();
	assert!(matches!(
		world.submitted().as_slice(),
		[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
	));
}

#[test]
fn an_agent_that_answers_garbage_is_left_alone_for_a_while_and_comes_back() {
	for garbage in [vec![0xff; 7], vec![1; 200_000], Vec::new()] {
		let mut world = World::worker();
		let request = world.ext.execute_with(prove_request);
		world.expect(PATH_PROVE, &request, garbage);
		world.work();
		// If asked again too early, the mock would have no answer and panic.
		world.run_to(3);
		world.work();
		assert!(world.submitted().is_empty());
		let mut calls = Vec::new();
		for block in 4..=8 {
			world.run_to(block);
			let request = world.ext.execute_with(prove_request);
			world.expect(PATH_PROVE, &request, done([9; 32]));
			world.work();
			calls.extend(world.submitted());
			if !calls.is_empty() {
				break;
			}
		}
		assert_eq!(calls.len(), 1, "it attests once the agent is back");
	}
}

#[test]
fn a_key_without_an_agent_stays_quiet() {
	let mut world = World::new();
	let key: WorkerKey = pair("worker", 0).public().into();
	world
		.keystore
		.insert(WORKER_KEY_TYPE, "//worker/0", key.as_ref())
		.unwrap();
	world.work();
	assert!(world.submitted().is_empty());
}

#[test]
fn a_worker_has_its_old_check_closed_before_it_attests() {
	let mut world = World::worker();
	world.ext.execute_with(|| attest_soon(0, 0));
	let round = world.at_end(|| Rounds::<Test>::get(0).unwrap());
	world.run_to(round.ends());
	let index = world.ext.execute_with(NextRound::<Test>::get);
	heard(|heard| {
		heard.workers.get_mut(&0).unwrap().forced = Some(super::mark(index));
	});
	world.run_to_trial(index);
	let request = world.at_end(|| prove_request_of(index));
	world.expect(PATH_PROVE, &request, done([9; 32]));
	world.work();
	let calls = world.submitted();
	// The closing would use up the attestation.
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
}

/// Returns the block in which worker 0 attests in a very large census, whose attestations are spread over
/// the phase.
fn attests_at(order: Option<u32>) -> u32 {
	let mut world = World::worker();
	world.ext.execute_with(|| {
		add_worker(0, WorkerState::Online, Some(super::mark(0)));
		// As a match does; it counts from the next round.
		heard(|heard| {
			let info = heard.workers.get_mut(&0).unwrap();
			if order.is_some() {
				info.order = order;
				info.standings.change(
					WorkerState::Rented,
					2,
					&<Popw as kaisar_primitives::Checks>::in_flight(),
				);
			}
		});
		// A spot round is spread by the workers rented in it.
		let crowd = |round: &mut Option<Round>| round.as_mut().unwrap().rented = 1_000_000;
		Rounds::<Test>::mutate(0, crowd);
	});
	for block in 2..=11 {
		world.run_to(block);
		let request = world.ext.execute_with(prove_request);
		world.expect(PATH_PROVE, &request, done([9; 32]));
		world.work();
		if !world.submitted().is_empty() {
			return block;
		}
	}
	panic!("it does not attest")
}

#[test]
fn a_worker_that_is_matched_before_it_attested_does_so_at_once() {
	assert!(
		attests_at(None) > 2,
		"its place in the phase is a later one"
	);
	assert_eq!(attests_at(Some(7)), 2);
}

#[test]
fn a_workers_agent_knows_its_committee_from_the_rounds_start_on() {
	let mut world = World::worker();
	TrialOffset::set(5);
	// It is due in the next round, but not in the running one.
	let index = world.ext.execute_with(NextRound::<Test>::get);
	heard(|heard| {
		heard.workers.get_mut(&0).unwrap().forced = Some(super::mark(index));
	});
	let prepares = |round: Round| {
		let next = System::block_number() + 1;
		round.phase(next) == Phase::Prepare && Popw::is_due(0, index)
	};
	let mut blocks = 0;
	loop {
		let next = world.block() + 1;
		world.run_to(next);
		let round = world.at_end(|| Rounds::<Test>::get(index));
		let Some(round) = round else { continue };
		if !world.at_end(|| prepares(round)) {
			break;
		}
		blocks += 1;
		let request = world.at_end(|| prepare_request_of(index));
		assert!(request.runs && request.committee.len() == 3);
		// The mock fails on any other request, and on a missing one.
		world.work();
	}
	assert_eq!(blocks, 5, "at each block from the start to the trial");
}

#[test]
fn introductions_of_a_large_census_are_spread_over_half_of_the_prepare_part() {
	let mut world = World::worker();
	TrialOffset::set(5);
	// It is due in the next round, but not in the running one.
	let index = world.ext.execute_with(NextRound::<Test>::get);
	heard(|heard| {
		heard.workers.get_mut(&0).unwrap().forced = Some(super::mark(index));
	});
	while world
		.ext
		.execute_with(|| Rounds::<Test>::get(index).is_none())
	{
		let next = world.block() + 1;
		world.run_to(next);
	}
	for (rented, is_large) in [(10, false), (1_000_000, true)] {
		let request = world.ext.execute_with(|| {
			Rounds::<Test>::mutate(index, |round| round.as_mut().unwrap().rented = rented);
			prepare_request_of(index)
		});
		let round = world.at_end(|| Rounds::<Test>::get(index).unwrap());
		let spread_ms = match is_large {
			false => 20,
			true => u64::from(round.trial - world.block()) * 6_000,
		};
		let members = request.committee.len() as u32;
		let answer = Prepared {
			members,
			connected: 0,
		};
		let request = PrepareRequest {
			spread_ms,
			..request
		};
		world.expect(PATH_PREPARE, &request, answer.encode());
		world.work_exactly();
	}
}
