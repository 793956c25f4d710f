//! Tests of a checker's side.

use super::*;

#[test]
fn a_gpu_is_held_to_the_reference_of_its_round_however_late_it_is_asked() {
	let claim_a_gpu = || heard(|heard| heard.workers.get_mut(&0).unwrap().spec.gpu_class = 11);
	let mut world = World::worker();
	claim_a_gpu();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	// Round 2, which has another key, runs too.
	world.run_to(13);
	let request = world.ext.execute_with(prove_request);
	assert_eq!(request.reference, Registry::reference(11, 0));
	assert_ne!(request.reference, Registry::reference(11, 2));
	let working = Progress::<Attestation>::Working.encode();
	world.expect(PATH_PROVE, &request, working);
	world.work();

	let mut world = World::checker(1);
	claim_a_gpu();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(13);
	expect_round(&mut world, 2);
	expect_round(&mut world, 0);
	let request = SeatRequest {
		// The node did not run on the block that fixed it.
		window: Some(kaisar_primitives::agent::WINDOW_MISSED),
		..world.ext.execute_with(|| seat_request(1))
	};
	assert_eq!(request.reference, Registry::reference(11, 0));
	world.expect(PATH_CHECK, vec![request], reply(Progress::Working));
	world.work();
}

#[test]
fn a_checker_probes_the_container_while_the_order_is_served() {
	for served in [false, true] {
		let mut world = World::checker(1);
		expect_round(&mut world, 0);
		world.work();
		world.ext.execute_with(|| {
			attest(0, 0).unwrap();
			heard(|heard| {
				heard.workers.get_mut(&0).unwrap().order = Some(7);
				heard.serving = if served { vec![7] } else { Vec::new() };
			});
			LastChecks::<Test>::mutate(0, |last| {
				let Some(LastCheck::Open(check)) = last else {
					panic!()
				};
				check.rented = true;
			});
		});
		world.run_to(4);
		let request = SeatRequest {
			rented: true,
			order: served.then_some(7),
			..world.ext.execute_with(|| seat_request(1))
		};
		// Any other request makes the mock fail.
		world.expect(PATH_CHECK, vec![request], reply(Progress::Working));
		world.work();
	}
}

#[test]
fn a_checker_checks_commits_and_reveals_across_restarts() {
	let mut world = World::checker(1);
	// The clock starts with the round.
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());

	// The block after the attestation, from whose randomness the openings are drawn, does not exist yet.
	world.work();
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	world.expect(PATH_CHECK, vec![request.clone()], reply(Progress::Working));
	world.work();
	world.run_to(5);
	let checked = Checked {
		verdict: good(),
		receipt: None,
	};
	world.expect(PATH_CHECK, vec![request], reply(Progress::Done(checked)));
	world.work();
	assert!(
		world.submitted().is_empty(),
		"nothing to submit while workers attest"
	);

	// Round 2 starts in block 11. The node has restarted meanwhile: it knows only its storage.
	let mut commits = Vec::new();
	for block in 12..=18 {
		world.run_to(block);
		world.expect_starts();
		world.work();
		commits.extend(world.submitted());
		if !commits.is_empty() {
			break;
		}
	}
	assert!(matches!(
		commits.as_slice(),
		[RuntimeCall::Popw(Call::commit {
			operator: 1,
			round: 0,
			batch: 0,
			..
		})]
	));
	world.include(commits);

	// So few votes need no spreading: they are revealed as soon as they may be.
	world.run_to(21);
	world.expect_starts();
	world.work();
	let reveals = world.submitted();
	let votes = match reveals.as_slice() {
		[
			RuntimeCall::Popw(Call::reveal {
				operator: 1,
				round: 0,
				votes,
				..
			}),
		] => votes.clone(),
		other => panic!("{other:?}"),
	};
	assert_eq!(votes.to_vec(), [(0, good())]);
	world.include(reveals);
	world.ext.execute_with(|| {
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(0) else {
			panic!()
		};
		assert!(
			check
				.committee
				.iter()
				.any(|seat| seat.operator == 1 && seat.vote.is_some())
		);
	});
	world.run_to(22);
	world.expect_starts();
	world.work();
	assert!(world.submitted().is_empty());

	// When the round is over it closes checks that others left open.
	world.run_to(32);
	world.expect_starts();
	world.work();
	let calls = world.submitted();
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
	world.include(calls);
	world
		.ext
		.execute_with(|| assert_eq!(last_outcome(), Outcome::NoConsensus));
}

#[test]
fn a_checker_without_a_verdict_does_not_vote() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	let failed = Progress::Failed("no such worker".into());
	world.expect(PATH_CHECK, vec![request], reply(failed));
	world.work();
	for block in [12, 15, 18, 21] {
		world.run_to(block);
		world.expect_starts();
		world.work();
		assert!(
			world.submitted().is_empty(),
			"no vote, rather than a false one"
		);
	}
}

#[test]
fn a_checker_says_who_is_absent() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.run_to(12);
	expect_round(&mut world, 2);
	world.work();
	let calls = world.submitted();
	assert!(
		calls.iter().any(|call| matches!(
			call,
			RuntimeCall::Popw(Call::report_absent {
				worker: 0,
				round: 0
			})
		)),
		"{calls:?}"
	);
}

#[test]
fn a_checker_keeps_the_receipts_of_who_served_it() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(4);
	let request = world.ext.execute_with(|| seat_request(1));
	let receipt = kaisar_primitives::AgentSignature::from_raw([5; 64]);
	let checked = Checked {
		verdict: good(),
		receipt: Some(receipt),
	};
	world.expect(PATH_CHECK, vec![request], reply(Progress::Done(checked)));
	world.work();
	world.ext.execute_with(|| {
		let name = kaisar_primitives::agent::receipts_key(1, 0);
		assert_eq!(
			StorageValueRef::persistent(&name)
				.get::<Vec<(u32, kaisar_primitives::AgentSignature)>>(),
			Ok(Some(vec![(0, receipt)]))
		);
	});
}

#[test]
fn votes_are_cut_by_the_batches_of_their_seats() {
	let mut world = World::checker(1);
	let count = 70u32;
	world.ext.execute_with(|| {
		for worker in 1..count {
			add_marked(worker, 0);
		}
	});
	expect_round(&mut world, 0);
	world.work();
	// The last worker attests first: batches are in the order of attestations.
	let order: Vec<u32> = (0..count).rev().collect();
	world.ext.execute_with(|| {
		for worker in &order {
			attest_soon(*worker, 0);
		}
		run_to(System::block_number() + 2);
	});
	world.expect_checks(1, 0, &order, checked());
	world.work();

	let round = world.ext.execute_with(|| Rounds::<Test>::get(0).unwrap());
	let mut sent = Vec::new();
	while sent.len() < 2 {
		let next = world.block() + 1;
		assert!(next < round.commit_ends());
		world.run_to(next);
		world.expect_starts();
		world.work();
		sent.extend(world.submitted());
	}
	assert_eq!(sent.len(), 2);
	world.include(sent);
	world.run_to(round.commit_ends());
	world.expect_starts();
	world.work();
	let reveals = world.submitted();
	let mut batches: Vec<(u16, Vec<u32>)> = reveals
		.iter()
		.map(|call| match call {
			RuntimeCall::Popw(Call::reveal { batch, votes, .. }) => {
				(*batch, votes.iter().map(|(worker, _)| *worker).collect())
			}
			other => panic!("{other:?}"),
		})
		.collect();
	batches.sort_unstable();
	for (_, workers) in &mut batches {
		workers.sort_unstable();
	}
	assert_eq!(
		batches,
		[
			(0, (6..count).collect::<Vec<_>>()),
			(1, (0..6).collect::<Vec<_>>())
		]
	);
	world.include(reveals);
	world.ext.execute_with(|| {
		for event in System::events() {
			if let RuntimeEvent::Popw(Event::Revealed { skipped, .. }) = event.event {
				assert_eq!(skipped, 0);
			}
		}
	});
}

#[test]
fn an_old_check_is_closed_before_its_worker_is_reported() {
	let mut world = World::checker(1);
	let round = world.ext.execute_with(|| Rounds::<Test>::get(0).unwrap());
	world.ext.execute_with(|| attest_soon(0, 0));
	world.run_to(round.ends());
	let index = world.ext.execute_with(|| {
		let index = NextRound::<Test>::get();
		heard(|heard| {
			let forced = Forced {
				round: index,
				verify_only: true,
			};
			heard.workers.get_mut(&0).unwrap().forced = Some(forced);
		});
		index
	});
	world.run_to_trial(index);
	let late = world.at_end(|| Rounds::<Test>::get(index).unwrap());
	world.run_to(late.attest_ends());
	world.expect_starts();
	world.work();
	let calls = world.submitted();
	assert!(
		matches!(
			calls.as_slice(),
			[RuntimeCall::Popw(Call::finalize { workers })] if workers.to_vec() == [0]
		),
		"{calls:?}"
	);
}

fn claim(worker: u32, agent: kaisar_primitives::AgentKey) -> SeatClaim {
	SeatClaim {
		round: 0,
		worker,
		agent,
	}
}

#[test]
fn a_checker_says_which_agents_may_push_in_the_same_block() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	let (own, seats) = world.at_end(|| {
		let own = Registry::info(0, 0).unwrap().agent;
		(own, seat_rounds(1))
	});
	let other = kaisar_primitives::AgentKey::from_raw([9; 32]);
	let unknown_round = SeatClaim {
		round: 99,
		..claim(0, own)
	};
	let claims = vec![
		claim(0, own),
		// Another worker's agent; a worker that does not exist.
		claim(0, other),
		claim(77, own),
		// A round that this key does not name: another key of the operator may.
		unknown_round,
	];
	let answers: Vec<_> = claims.iter().copied().zip([true, false, false]).collect();
	let first = (Vec::new(), claims);
	let second = (answers, Vec::new());
	for (answers, claims) in [first, second] {
		let request = world.at_end(|| SeatAnswers {
			genesis: kaisar_primitives::authorized::genesis::<Test>(),
			rounds: seats.clone(),
			answers,
		});
		world.expect(PATH_SEATS, &request, claims.encode());
	}
	world.work_exactly();
}

#[test]
fn a_flood_of_claims_is_answered_in_bounded_batches_each_block() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	let seats = world.at_end(|| seat_rounds(1));
	let genesis = world.at_end(kaisar_primitives::authorized::genesis::<Test>);
	let batch = |number: u32| -> Vec<SeatClaim> {
		let workers = number * 3..number * 3 + 3;
		let agent = kaisar_primitives::AgentKey::from_raw([9; 32]);
		workers.map(|worker| claim(1_000 + worker, agent)).collect()
	};
	// The agent always has more claims: after 16 batches the node stops, with the last one answered.
	let mut answers = Vec::new();
	for number in 0..=16 {
		let request = SeatAnswers {
			genesis,
			rounds: seats.clone(),
			answers,
		};
		world.expect(PATH_SEATS, &request, batch(number).encode());
		answers = batch(number)
			.into_iter()
			.map(|claim| (claim, false))
			.collect();
	}
	world.work_exactly();
}

#[test]
fn a_checker_that_looks_up_slowly_sends_the_answers_that_it_has() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	let seats = world.at_end(|| seat_rounds(1));
	let genesis = world.at_end(kaisar_primitives::authorized::genesis::<Test>);
	let agent = kaisar_primitives::AgentKey::from_raw([9; 32]);
	let claims: Vec<_> = (0..20).map(|worker| claim(1_000 + worker, agent)).collect();
	let asked = |answers| SeatAnswers {
		genesis,
		rounds: seats.clone(),
		answers,
	};
	world.expect(PATH_SEATS, asked(Vec::new()), claims.encode());
	// Five of them take half a second, the limit. The agent hands out the others again.
	let answered = claims.iter().take(5).map(|claim| (*claim, false));
	world.expect(PATH_SEATS, asked(answered.collect()), claims[5..].encode());
	heard(|heard| heard.info_takes_ms = 100);
	world.work_exactly();
}

#[test]
fn while_its_key_is_replaced_each_key_answers_for_its_own_rounds() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	let own = world.at_end(|| Registry::info(0, 0).unwrap().agent);
	let seats = world.at_end(|| seat_rounds(1));
	let genesis = world.at_end(kaisar_primitives::authorized::genesis::<Test>);
	// An agent of another version hands out all waiting claims.
	let next = SeatClaim {
		round: 2,
		..claim(0, own)
	};
	let nothing = SeatAnswers {
		genesis,
		rounds: seats,
		answers: Vec::new(),
	};
	world.expect(PATH_SEATS, &nothing, vec![next].encode());
	world.work_exactly();
}

#[test]
fn an_operator_admits_no_agent_of_a_worker_that_it_does_not_sit_for() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	let own = world.at_end(|| Registry::info(0, 0).unwrap().agent);
	assert!(world.at_end(|| sits(1, &claim(0, own))));
	// Without a license it is drawn for no worker.
	heard(|heard| heard.licenses.retain(|_, operator| *operator != 1));
	let seats = world.at_end(|| seat_rounds(1));
	let genesis = world.at_end(kaisar_primitives::authorized::genesis::<Test>);
	let asked = |answers| SeatAnswers {
		genesis,
		rounds: seats.clone(),
		answers,
	};
	world.expect(PATH_SEATS, asked(Vec::new()), vec![claim(0, own)].encode());
	let no = vec![(claim(0, own), false)];
	world.expect(PATH_SEATS, asked(no), Vec::<SeatClaim>::new().encode());
	world.work_exactly();
}
