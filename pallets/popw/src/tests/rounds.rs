//! Tests of rounds: their start, their seeds, their removal.

use super::mark;
use crate::{mock::*, rounds, *};
use frame_support::traits::Hooks;
use kaisar_primitives::{BlockSeed, Checks, Forced, RoundKind, WorkerState};

#[test]
fn a_spot_round_starts_every_phase_and_three_are_in_flight() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(1);
		assert!(
			Rounds::<Test>::get(0).is_none(),
			"no record before the block's end"
		);
		assert_eq!(<Popw as Checks>::next_round(), 2);
		run_to(2);
		assert_eq!(
			Rounds::<Test>::get(0).map(|round| (round.start, round.phase_length)),
			Some((1, 10))
		);
		run_to(25);
		let running: Vec<_> = Popw::rounds()
			.iter()
			.map(|r| (r.index, r.phase(25)))
			.collect();
		assert_eq!(
			running,
			[(4, Phase::Attest), (2, Phase::Commit), (0, Phase::Reveal)]
		);
		run_to(32);
		assert!(
			Popw::rounds().iter().all(|round| round.index != 0),
			"over after three phases"
		);
	});
}

#[test]
fn a_round_prepares_until_its_trial_and_has_three_equal_parts_after_it() {
	ExtBuilder::default().build_and_execute(|| {
		TrialOffset::set(8);
		run_to(2);
		let round = Rounds::<Test>::get(0).unwrap();
		assert_eq!((round.start, round.trial, round.trial_seed), (1, 9, None));
		let phase = |block| round.phase(block);
		assert_eq!((phase(0), phase(9)), (Phase::Prepare, Phase::Prepare));
		assert_eq!((phase(10), phase(19)), (Phase::Attest, Phase::Attest));
		assert_eq!((phase(20), phase(29)), (Phase::Commit, Phase::Commit));
		assert_eq!((phase(30), phase(39)), (Phase::Reveal, Phase::Reveal));
		assert_eq!(phase(40), Phase::Over);
		assert_eq!(
			(round.attest_ends(), round.commit_ends(), round.ends()),
			(19, 29, 39)
		);
	});
}

#[test]
fn the_trial_is_seeded_at_its_own_block() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		TrialOffset::set(8);
		add_worker(0, WorkerState::Pending, Some(mark(0)));
		run_to(9);
		assert_eq!(Rounds::<Test>::get(0).unwrap().trial_seed, None);
		assert_eq!(
			attest(0, 0),
			Err(Error::<Test>::WrongPhase.into()),
			"nothing can be attested before the trial"
		);
		run_to(10);
		let running = <Popw as BlockSeed>::seed_of(9).unwrap();
		let seed = rounds::trial_seed_of(0, running);
		let round = Rounds::<Test>::get(0).unwrap();
		assert_eq!(round.trial_seed, Some(seed));
		assert_ne!(round.seed, seed);
		System::assert_has_event(Event::TrialStarted { round: 0, seed }.into());
		attest(0, 0).unwrap();
	});
}

#[test]
fn a_header_and_its_parents_state_give_the_seeds() {
	ExtBuilder::default().build_and_execute(|| {
		TrialOffset::set(8);
		run_to(11);
		let before = RunningHash::<Test>::get();
		let vrf = <Vrf as frame_support::traits::Get<_>>::get().unwrap();
		let hash =
			sp_io::hashing::blake2_256(&[&b"kaisar/vrf"[..], before.as_bytes(), &vrf].concat());
		run_to(12);
		assert_eq!(RunningHash::<Test>::get().as_bytes(), hash);
		let seed = sp_io::hashing::blake2_256(
			&[&b"kaisar/round"[..], &2u32.to_le_bytes(), &hash].concat(),
		);
		assert_eq!(Rounds::<Test>::get(2).unwrap().seed.as_bytes(), seed);
	});
}

#[test]
fn four_spot_rounds_are_in_flight_at_most() {
	ExtBuilder::default().build_and_execute(|| {
		// More than a phase is cut to one.
		TrialOffset::set(u32::MAX);
		for now in 2..120 {
			run_to(now);
			let running = Popw::rounds();
			assert!(running.iter().all(|round| round.trial == round.start + 10));
			// Also, one is in its last block when the next one starts.
			let lasting = running.iter().filter(|round| round.ends() > now);
			assert!(lasting.count() <= 4);
			if now > 40 {
				assert!(running.len() >= 4);
			}
		}
	});
}

#[test]
fn the_seed_is_of_the_first_blocks_vrf_and_all_before_it() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(30);
		let seeds: std::collections::BTreeSet<_> = Rounds::<Test>::iter()
			.map(|(_, round)| round.seed)
			.collect();
		assert_eq!(seeds.len(), 3);
		let running = <Popw as BlockSeed>::seed_of(11).unwrap();
		assert_eq!(
			Rounds::<Test>::get(2).unwrap().seed,
			rounds::seed_of(2, running)
		);
		assert_ne!(
			<Popw as BlockSeed>::seed_of(11),
			<Popw as BlockSeed>::seed_of(12)
		);
	});
}

#[test]
fn numbers_are_fixed_before_the_extrinsics_of_the_first_block() {
	ExtBuilder::default().operators(1).build_and_execute(|| {
		run_to(1);
		// The author of block 1 may know its seed: additions in it must not count.
		add_operator(1, 10);
		PhaseLength::set(99);
		run_to(2);
		let round = Rounds::<Test>::get(0).unwrap();
		assert_eq!(
			(round.minted, round.active, round.phase_length),
			(10, 10, 10)
		);
	});
}

#[test]
fn the_author_of_the_last_blocks_before_a_start_moves_no_draw() {
	// An author with the slots of blocks 8 … 11 knows the seed of round 2 already in block 8,
	// and could buy licenses until the draws, which are modulo the licenses minted, suited it.
	for (block, counts) in [(7, true), (8, false), (9, false), (10, false), (11, false)] {
		ExtBuilder::default().operators(3).build_and_execute(|| {
			run_to(block);
			add_operator(3, 1);
			run_to(12);
			let minted = Rounds::<Test>::get(2).unwrap().minted;
			assert_eq!(minted, 30 + u32::from(counts), "bought in block {block}");
		});
	}
}

#[test]
fn a_change_counts_from_a_round_at_least_four_blocks_ahead() {
	for length in [1, 2, 3, 4, 5, 10] {
		ExtBuilder::default().build_and_execute(|| {
			assert_eq!(<Popw as Checks>::next_round(), 0, "genesis counts at once");
			PhaseLength::set(length);
			let named: Vec<_> = (1..60)
				.map(|now| {
					run_to(now);
					(now, <Popw as Checks>::next_round())
				})
				.collect();
			run_to(100);
			for (now, round) in named {
				let start = |index| Rounds::<Test>::get(index).unwrap().start;
				assert!(start(round) >= now + NOTICE, "{round} in block {now}");
				assert!(
					start(round - 2) < now + NOTICE,
					"{round} in block {now} is not the first"
				);
			}
		});
	}
}

#[test]
fn a_changed_phase_length_counts_from_the_next_round() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(5);
		PhaseLength::set(20);
		run_to(40);
		let of = |index| Rounds::<Test>::get(index).map(|r| (r.start, r.phase_length));
		assert_eq!(
			(of(0), of(2), of(4)),
			(Some((1, 10)), Some((11, 20)), Some((31, 20)))
		);
	});
}

#[test]
fn no_round_is_lost_when_the_phase_length_shrinks() {
	// Only the last four spot rounds were once considered.
	ExtBuilder::default().operators(3).build_and_execute(|| {
		PhaseLength::set(25);
		add_worker(0, WorkerState::Pending, Some(mark(0)));
		add_worker(1, WorkerState::Pending, Some(mark(0)));
		run_to(2);
		attest(0, 0).unwrap();
		PhaseLength::set(2);
		let votes = one(0, good());
		for now in 3..=76 {
			run_to(now);
			let running = Popw::rounds();
			assert!(running.len() < MAX_IN_FLIGHT as usize);
			assert!(running.iter().any(|round| round.index == 0), "block {now}");
			assert_eq!(<Popw as Checks>::oldest_round(), 0);
			assert!(<Popw as Checks>::is_due(1), "its absence can be reported");
			// No commitment that can still be opened is overwritten: rounds of one lane do not overlap.
			for one in &running {
				let overlaps = |other: &&Round| {
					other.index != one.index
						&& Lane::of(other.index) == Lane::of(one.index)
						&& (one.attest_ends()..one.ends()).contains(&other.attest_ends())
				};
				assert!(!running.iter().any(|other| overlaps(&other)));
			}
			match now {
				27 => (0..3).for_each(|operator| commit(operator, 0, &votes).unwrap()),
				70 => (0..3).for_each(|operator| reveal(operator, 0, &votes).unwrap()),
				_ => {}
			}
		}
		assert!(!is_open(0));
		run_to(90);
		// And rounds are short again.
		assert!(Popw::rounds().iter().all(|round| round.phase_length == 2));
		assert!(NextRound::<Test>::get() >= 14);
	});
}

#[test]
fn a_census_follows_the_seed_once_in_a_check_period() {
	ExtBuilder::default().build_and_execute(|| {
		CheckPeriod::set(8);
		PhaseLength::set(1);
		let rounds = 300;
		run_to(rounds + 1);
		let census = Rounds::<Test>::iter()
			.filter(|(_, r)| r.kind == RoundKind::Census)
			.count();
		// 300 draws of 1/8: mean 37.5, standard deviation 5.7; the seeds are fixed.
		assert!((20..=55).contains(&census), "{census}");
		assert!(Rounds::<Test>::iter().all(|(index, round)| RoundKind::of(index) == round.kind));
	});
}

#[test]
fn one_census_runs_at_a_time() {
	// Two censuses were once voted on at once, in one lane of commitments.
	ExtBuilder::default().build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		TrialOffset::set(8);
		for worker in 0..3 {
			add_worker(worker, WorkerState::Online, None);
		}
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		assert_eq!(
			(census.phase_length, census.start, census.ends()),
			(30, 1, 99)
		);
		run_to(400);
		let mut censuses: Vec<_> = Rounds::<Test>::iter_values()
			.filter(|round| round.kind == RoundKind::Census)
			.collect();
		censuses.sort_unstable_by_key(|round| round.index);
		let starts: Vec<_> = censuses.iter().map(|round| round.start).collect();
		// At once, with the first spot round after the census before.
		assert_eq!(starts, [1, 101, 201, 301]);
		// Each of them credits that interval.
		assert!(censuses.iter().all(|round| round.credit == 100));
	});
}

#[test]
fn a_census_prepares_until_one_block_after_its_trial() {
	ExtBuilder::default().build_and_execute(|| {
		CheckPeriod::set(1);
		TrialOffset::set(8);
		add_worker(0, WorkerState::Online, None);
		let prepares = <Popw as Checks>::census_prepares;
		run_to(1);
		assert!(!prepares(), "nobody knows yet");
		for now in 2..40 {
			run_to(now);
			assert_eq!(prepares(), now <= 10, "block {now}");
		}
	});
}

#[test]
fn a_round_notes_what_its_checks_may_credit() {
	ExtBuilder::default().build_and_execute(|| {
		PhaseLength::set(25);
		TrialOffset::set(20);
		// One in u32::MAX, so that the test has to force the census.
		CheckPeriod::set(48);
		add_worker(0, WorkerState::Rented, None);
		run_to(1);
		let Start { spot, census, .. } = Starting::<Test>::get().unwrap();
		// 7 · 25 · 12 and the round's 95; 47 · 25 and 95 rounded up.
		assert_eq!((spot.credit, census.credit), (2_195, 1_275));
	});
}

#[test]
fn a_census_longer_than_records_are_kept_keeps_its_own() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		PhaseLength::set(60);
		for worker in 0..50 {
			add_worker(worker, WorkerState::Online, None);
		}
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		assert!(census.ends() > RECORD_DEPTH);
		assert!(census.trial_seed.is_some());
		attest(0, 1).unwrap();
		CheckPeriod::set(u32::MAX);
		run_to(census.ends());
		assert!(Rounds::<Test>::contains_key(1));
		assert_eq!(<Popw as Checks>::round_seed(1), census.trial_seed);
		assert_eq!(AttestedCount::<Test>::get(1), 1, "its list, too");
		run_to(census.ends() + RECORD_DEPTH + 60);
		assert!(!Rounds::<Test>::contains_key(1));
		assert_eq!(AttestedCount::<Test>::iter().count(), 0);
		// The records that it held back are removed with it, some at each start.
		run_to(census.ends() + 2 * RECORD_DEPTH);
		assert!(Rounds::<Test>::iter().count() <= RECORD_DEPTH as usize / 60 + 6);
	});
}

#[test]
fn census_phases_grow_with_the_network() {
	ExtBuilder::default().build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(2);
		for worker in 0..5 {
			add_worker(worker, WorkerState::Online, None);
		}
		run_to(2);
		assert_eq!(Rounds::<Test>::get(1).unwrap().phase_length, 30);
		assert_eq!(Rounds::<Test>::get(0).unwrap().phase_length, 10);
	});
}

#[test]
fn records_lists_and_seeds_do_not_pile_up() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		PhaseLength::set(4);
		add_worker(0, WorkerState::Pending, Some(mark(0)));
		run_to(2);
		attest(0, 0).unwrap();
		assert_eq!(Attested::<Test>::iter().count(), 1);
		run_to(20);
		assert_eq!(
			(
				Attested::<Test>::iter().count(),
				AttestedCount::<Test>::iter().count()
			),
			(0, 0)
		);
		run_to(RECORD_DEPTH + 200);
		assert!(Rounds::<Test>::iter().count() <= RECORD_DEPTH as usize / 4 + 6);
		assert!(Rounds::<Test>::get(0).is_none());
		assert_eq!(BlockSeeds::<Test>::iter().count(), SEED_DEPTH as usize);
		assert!(
			is_open(0),
			"what was not touched stays, and is closed at the next touch"
		);
		<Popw as Checks>::touch(0);
		assert!(!is_open(0));
		<Popw as Checks>::forget(0);
		assert_eq!(LastChecks::<Test>::iter().count(), 0);
	});
}

#[test]
fn hooks_say_what_they_cost() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(1);
		System::set_block_number(2);
		let quiet = Popw::on_initialize(2);
		System::set_block_number(11);
		let starts = Popw::on_initialize(11);
		assert!(starts.ref_time() > quiet.ref_time() && quiet.ref_time() > 0);
	});
}

#[test]
fn the_oldest_round_is_the_first_one_that_is_not_over() {
	ExtBuilder::default().build_and_execute(|| {
		let oldest = <Popw as Checks>::oldest_round;
		assert_eq!(oldest(), 0);
		run_to(1);
		assert_eq!(
			(oldest(), <Popw as Checks>::next_round()),
			(0, 2),
			"the one that starts now"
		);
		run_to(31);
		assert_eq!(oldest(), 0);
		run_to(32);
		assert_eq!(oldest(), 2);
		PhaseLength::set(100);
		// Round 6 started in block 31 with phases of 10, round 8 in block 41 with phases of 100.
		run_to(61);
		assert_eq!(oldest(), 6);
		run_to(62);
		assert_eq!(oldest(), 8);
	});
}

#[test]
fn an_operator_is_seated_while_its_check_runs() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_operator(3, 0);
		add_worker(
			0,
			WorkerState::Pending,
			Some(Forced {
				round: 0,
				verify_only: true,
			}),
		);
		run_to(2);
		assert!(!<Popw as Checks>::is_seated(0));
		attest(0, 0).unwrap();
		assert!(<Popw as Checks>::is_seated(0) && !<Popw as Checks>::is_seated(3));
		run_to(32);
		assert!(!<Popw as Checks>::is_seated(0));
	});
}
