//! Tests of marks, scopes and credits: the purpose of a check, and the time that it may prove.

use super::{mark, while_attesting};
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Checks, Forced, Outcome, Profile, Standings, Verdict, WorkerState};

/// Returns the mark of worker 0.
fn marked() -> Option<u32> {
	heard(|heard| heard.workers[&0].forced.map(|mark| mark.round))
}

fn open_check(worker: u32) -> Check {
	match LastChecks::<Test>::get(worker) {
		Some(LastCheck::Open(check)) => check,
		other => panic!("no open check: {other:?}"),
	}
}

/// Has a worker attest in a round, and all three operators vote with this verdict.
fn check_by_all(worker: u32, index: u32, verdict: Verdict) {
	let round = Rounds::<Test>::get(index).unwrap();
	run_to(System::block_number().max(round.trial + 1));
	attest(worker, index).unwrap();
	let votes = one(worker, verdict);
	run_to(round.attest_ends() + 1);
	for operator in 0..3 {
		commit(operator, index, &votes).unwrap();
	}
	run_to(round.commit_ends() + 1);
	for operator in 0..3 {
		reveal(operator, index, &votes).unwrap();
	}
	assert!(!is_open(worker));
}

#[test]
fn a_mark_never_falls_due_in_a_round_that_has_begun() {
	// Once, a worker whose check was closed in the first half of an attest part became due in it, while the
	// checkers' clocks had run since its start: they found that it had no GPU, though it was honest.
	while_attesting(|| {
		attest(0, 0).unwrap();
		heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(mark(4)));
		let votes = one(0, good());
		run_to(12);
		for operator in 0..3 {
			commit(operator, 0, &votes).unwrap();
		}
		// Round 4 starts in block 21; the last vote comes in block 22.
		run_to(22);
		for operator in 0..3 {
			reveal(operator, 0, &votes).unwrap();
		}
		assert_noop!(attest(0, 4), Error::<Test>::NotDue);
		assert!(!<Popw as Checks>::is_due(0));
		assert_eq!(marked(), Some(6), "the first that starts after it");
		run_to(32);
		assert_noop!(
			Popw::report_absent(RuntimeOrigin::signed(1), 0, 4),
			Error::<Test>::NotDue
		);
		assert_ok!(attest(0, 6));
	});
}

#[test]
fn boundary_of_a_check_that_ends_with_a_rounds_first_block() {
	for (closes, due) in [(29, true), (31, false)] {
		while_attesting(|| {
			attest(0, 0).unwrap();
			heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(mark(6)));
			let votes = one(0, good());
			run_to(12);
			for operator in 0..3 {
				commit(operator, 0, &votes).unwrap();
			}
			run_to(closes);
			for operator in 0..3 {
				reveal(operator, 0, &votes).unwrap();
			}
			// Round 6 starts in block 31.
			run_to(32);
			assert_eq!(Popw::is_due(0, 6), due);
			assert_eq!(marked(), Some(if due { 6 } else { 8 }));
		});
	}
}

#[test]
fn a_mark_of_a_round_that_is_over_moves_on() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(mark(2)));
		// Nobody closed the check, and rounds 0 and 2 have long been over.
		run_to(95);
		<Popw as Checks>::touch(0);
		assert_eq!(marked(), Some(<Popw as Checks>::next_round()));
	});
}

#[test]
fn a_worker_is_marked_for_a_round_four_blocks_ahead() {
	while_attesting(|| {
		run_to(7);
		assert_ok!(<Popw as Checks>::force(0));
		assert_eq!(marked(), Some(2), "round 2 starts in block 11");
		run_to(8);
		assert_ok!(<Popw as Checks>::force(0));
		assert_eq!(marked(), Some(4));
	});
}

#[test]
fn a_marked_idle_worker_is_checked_in_full_and_a_rented_one_for_its_service() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_worker(0, WorkerState::Online, Some(mark(0)));
		let of_rented = Forced {
			round: 0,
			verify_only: false,
		};
		add_worker(1, WorkerState::Rented, Some(of_rented));
		run_to(2);
		attest(0, 0).unwrap();
		attest(1, 0).unwrap();
		let scope = |worker| {
			let check = open_check(worker);
			(check.full, check.rented, check.credit)
		};
		assert_eq!(
			scope(0),
			(true, false, 0),
			"no solitary check credits idle time"
		);
		// 7 · 10 · 12 and the round's 30.
		assert_eq!(scope(1), (false, true, 870));
	});
}

#[test]
fn only_a_census_credits_idle_time() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		add_worker(1, WorkerState::Pending, Some(mark(0)));
		run_to(2);
		check_by_all(0, 1, good());
		heard(|heard| {
			// Phases of 10, the next census after 40 blocks at the earliest, and at once.
			assert_eq!(heard.closed[0].1.credit, 40);
			assert_eq!(heard.proved[0].1.idle, 40);
		});
	});
	// The time that a solitary check of the same worker proves.
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_worker(0, WorkerState::Online, Some(mark(0)));
		run_to(2);
		check_by_all(0, 0, good());
		heard(|heard| {
			assert_eq!(heard.closed[0].1.credit, 0);
			assert!(heard.proved.is_empty());
		});
	});
}

#[test]
fn no_consensus_in_a_census_buys_no_solitary_check() {
	// It once marked the worker for the next spot round, which credited hours to the one of several
	// identities that had their only GPU by then.
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		run_to(2);
		attest(0, 1).unwrap();
		CheckPeriod::set(u32::MAX);
		run_to(32);
		<Popw as Checks>::touch(0);
		assert_eq!(last_outcome(), Outcome::NoConsensus);
		for now in 32..80 {
			run_to(now);
			assert!(!<Popw as Checks>::is_due(0), "block {now}");
		}
		heard(|heard| assert!(heard.proved.is_empty()));
	});
}

#[test]
fn all_workers_of_an_owner_are_measured_in_full_together() {
	// When full checks were drawn for each worker, four of 64 on one line were measured at a time.
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		for worker in 0..640 {
			add_worker(worker, WorkerState::Online, None);
		}
		heard(|heard| {
			for (worker, info) in &mut heard.workers {
				info.owner = u64::from(worker % 160);
			}
		});
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		let full: Vec<bool> = (0..640)
			.map(|worker| Popw::due(worker, &census).unwrap().full)
			.collect();
		for (worker, is_full) in full.iter().enumerate() {
			assert_eq!(*is_full, full[worker % 160], "worker {worker}");
		}
		// 160 draws of 1/16: mean 10, standard deviation 3.
		let owners = full[..160].iter().filter(|is_full| **is_full).count();
		assert!((1..=25).contains(&owners), "{owners}");
	});
}

#[test]
fn a_check_after_one_that_lowered_a_tier_is_full() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		assert!(!Popw::due(0, &census).unwrap().full, "by this seed");
		let weaker = Verdict {
			memory: 0,
			..good()
		};
		check_by_all(0, 1, weaker);
		assert!(LastChecks::<Test>::get(0).unwrap().remeasure());
		let full_in = |index: u32| {
			let census = Rounds::<Test>::get(index).unwrap();
			Popw::due(0, &census).unwrap().full
		};
		run_to(42);
		assert!(full_in(9));
		// A full check that decides nothing is followed by another one; one that finds what is known is not.
		attest(0, 9).unwrap();
		run_to(82);
		<Popw as Checks>::touch(0);
		assert!(LastChecks::<Test>::get(0).unwrap().remeasure());
		assert!(full_in(17));
		check_by_all(0, 17, weaker);
		assert!(!LastChecks::<Test>::get(0).unwrap().remeasure());
	});
}

#[test]
fn a_measurement_that_is_due_outlasts_a_rental() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		run_to(2);
		let weaker = Verdict {
			memory: 0,
			..good()
		};
		check_by_all(0, 1, weaker);
		let due = || LastChecks::<Test>::get(0).unwrap().remeasure();
		assert!(due());
		// Its next check is of its rental, and measures nothing; the order ends.
		let enter = |state| {
			let at = NextRound::<Test>::get();
			heard(|heard| {
				let worker = heard.workers.get_mut(&0).unwrap();
				worker.standings = Standings::new(state, at);
				worker.forced = (state == WorkerState::Rented).then(|| mark(at));
			});
			at
		};
		let spot = enter(WorkerState::Rented);
		run_to(NextStart::<Test>::get() + 1);
		check_by_all(0, spot, good());
		assert!(due());
		enter(WorkerState::Online);
		run_to(82);
		assert!(
			Popw::due(0, &Rounds::<Test>::get(17).unwrap())
				.unwrap()
				.full
		);
		check_by_all(0, 17, weaker);
		assert!(!due());
	});
}

#[test]
fn a_profile_never_exceeds_the_claim() {
	while_attesting(|| {
		let everything = Verdict {
			bandwidth: 4,
			cpu: 200,
			memory: 4,
			disk: 4,
			gpu_class: 1,
			gpu_count: 255,
			..good()
		};
		check_by_all(0, 0, everything);
		let bound = Profile {
			bandwidth: 2,
			cpu: 2,
			memory: 2,
			disk: 2,
			gpu_class: 0,
			gpu_count: 0,
		};
		assert_eq!(
			last_outcome(),
			Outcome::Online {
				profile: Some(bound),
				service: true
			}
		);
	});
}

#[test]
fn an_attestation_that_closes_an_old_check_is_used_up() {
	// The call once failed after its touch, which undid the touch, and could be sent again each block.
	while_attesting(|| {
		attest(0, 0).unwrap();
		heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(mark(4)));
		run_to(32);
		// Round 6 has started; the mark is for round 4, which began while the check was open.
		heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(mark(6)));
		run_to(33);
		let info = Popw::attest(RuntimeOrigin::signed(owner(0)), 0, 6, [7; 32], None).unwrap();
		assert_eq!(info.actual_weight, Some(<() as WeightInfo>::finalize(0, 1)));
		assert!(
			!is_open(0),
			"the old check is closed, and no new one is open"
		);
		assert_noop!(attest(0, 6), Error::<Test>::NotDue);
	});
}

#[test]
fn a_worker_is_held_while_something_can_be_held_against_it() {
	let held = <Popw as Checks>::is_held;
	while_attesting(|| {
		assert!(held(0), "it is due");
		attest(0, 0).unwrap();
		assert!(held(0), "its check is open");
		add_worker(1, WorkerState::Online, None);
		assert!(
			!held(1),
			"a running round that is not about it does not matter"
		);
		run_to(32);
		<Popw as Checks>::touch(0);
		assert!(!held(0));
		// No change counts in a round that starts within the notice, and in its first block nobody but its
		// author knows whether it starts a census.
		let (spot, start) = (Popw::next_round(), 41);
		add_worker(2, WorkerState::Pending, Some(mark(spot)));
		add_worker(3, WorkerState::Pending, Some(mark(spot + 2)));
		add_worker(4, WorkerState::Offline, None);
		let holds = || [1, 2, 3, 4].map(held);
		run_to(start - NOTICE);
		assert_eq!(Popw::next_round(), spot);
		assert_eq!(holds(), [false; 4]);
		for block in start - NOTICE + 1..=start {
			run_to(block);
			assert_eq!(Popw::next_round(), spot + 2);
			assert_eq!(holds(), [true, true, false, false], "block {block}");
		}
		// The round starts no census, and only the mark counts.
		run_to(start + 1);
		assert_eq!(holds(), [false, true, false, false]);
	});
	// A census in which it has attested, however long that runs.
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		for worker in 0..5 {
			add_worker(worker, WorkerState::Online, None);
		}
		run_to(2);
		assert!(held(0));
		check_by_all(0, 1, good());
		let census = Rounds::<Test>::get(1).unwrap();
		assert!(System::block_number() + 20 < census.ends());
		assert!(!held(0) && held(1));
	});
}

#[test]
fn closing_is_cheap_only_if_it_says_nothing_new() {
	// Any outcome "online" once counted as confirming.
	let weight_of = |claimed: u16, verdict: Verdict| {
		let mut weight = None;
		ExtBuilder::default().operators(3).build_and_execute(|| {
			CheckPeriod::set(1);
			add_worker(0, WorkerState::Online, None);
			heard(|heard| {
				let spec = &mut heard.workers.get_mut(&0).unwrap().spec;
				(spec.cpu_cores, spec.memory_gb) = (claimed, 4);
			});
			run_to(2);
			attest(0, 1).unwrap();
			let votes = one(0, verdict);
			run_to(12);
			for operator in 0..3 {
				commit(operator, 1, &votes).unwrap();
			}
			run_to(22);
			for operator in 0..2 {
				reveal(operator, 1, &votes).unwrap();
			}
			let last = RuntimeOrigin::signed(operator_account(2));
			weight = Popw::reveal(last, 2, 1, 0, votes, [2; 32], None)
				.unwrap()
				.actual_weight;
		});
		weight.unwrap()
	};
	let confirming = <() as WeightInfo>::reveal(1, 1, 0);
	let changing = <() as WeightInfo>::reveal(1, 0, 1);
	let weight = |verdict| weight_of(4, verdict);
	assert_eq!(weight(good()), confirming);
	// The earlier profile, which is below the claim: the second time it costs the state.
	assert_eq!(weight_of(32, good()), changing);
	for changed in [
		Verdict { cpu: 0, ..good() },
		Verdict {
			proof: false,
			..good()
		},
		Verdict::OFFLINE,
	] {
		assert_eq!(weight(changed), changing);
	}
}

#[test]
fn a_worker_that_is_checked_elsewhere_at_its_start_is_not_absent_in_a_census() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		TrialOffset::set(5);
		add_worker(0, WorkerState::Online, Some(mark(0)));
		add_worker(1, WorkerState::Online, None);
		run_to(10);
		CheckPeriod::set(1);
		// Round 0 attests in blocks 7 … 16; census 3 starts in block 11 and attests in 17 … 26.
		run_to(12);
		CheckPeriod::set(u32::MAX);
		assert!(Popw::is_due(0, 3) && Popw::is_due(0, 0));
		attest(0, 0).unwrap();
		assert_noop!(attest(0, 3), Error::<Test>::WrongPhase);
		run_to(17);
		assert_noop!(attest(0, 3), Error::<Test>::CheckOpen);
		run_to(40);
		let absent = |worker| Popw::report_absent(RuntimeOrigin::signed(1), worker, 3);
		// The first call closes the ended check.
		assert_ok!(absent(0));
		assert_noop!(absent(0), Error::<Test>::NotDue);
		assert_ok!(absent(1));
		heard(|heard| {
			assert_eq!(heard.absent.len(), 1);
			assert_eq!(heard.absent[0].0, 1);
		});
	});
}
