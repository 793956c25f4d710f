//! Rounds start, are seeded, and go.

use crate::{mock::*, *};
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
fn phases_are_of_equal_length_and_begin_after_the_seed() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(2);
		let round = Rounds::<Test>::get(0).unwrap();
		let phase = |block| round.phase(block);
		assert_eq!(phase(0), Phase::Starting);
		assert_eq!(phase(1), Phase::Starting);
		assert_eq!((phase(2), phase(11)), (Phase::Attest, Phase::Attest));
		assert_eq!((phase(12), phase(21)), (Phase::Commit, Phase::Commit));
		assert_eq!((phase(22), phase(31)), (Phase::Reveal, Phase::Reveal));
		assert_eq!(phase(32), Phase::Over);
		assert_eq!(
			(round.attest_ends(), round.commit_ends(), round.ends()),
			(11, 21, 31)
		);
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
			crate::rounds::seed_of(2, running)
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
		// Whoever writes block 1 may know its seed: what is added in it must not count.
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
fn a_changed_phase_length_counts_from_the_next_round() {
	ExtBuilder::default().build_and_execute(|| {
		run_to(5);
		PhaseLength::set(4);
		run_to(20);
		let of = |index| Rounds::<Test>::get(index).map(|r| (r.start, r.phase_length));
		assert_eq!(
			(of(0), of(2), of(4)),
			(Some((1, 10)), Some((11, 4)), Some((15, 4)))
		);
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
fn no_census_starts_while_one_is_in_its_attest_phase() {
	ExtBuilder::default().build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		for worker in 0..3 {
			add_worker(worker, WorkerState::Online, None);
		}
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		assert_eq!((census.phase_length, census.start), (30, 1));
		run_to(32);
		assert_eq!(
			(Rounds::<Test>::get(3), Rounds::<Test>::get(5)),
			(None, None)
		);
		run_to(42);
		assert!(Rounds::<Test>::get(9).is_some() || Rounds::<Test>::get(7).is_some());
		run_to(400);
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
		PhaseLength::set(1);
		add_worker(
			0,
			WorkerState::Pending,
			Some(Forced {
				round: 0,
				verify_only: true,
			}),
		);
		run_to(2);
		attest(0, 0).unwrap();
		assert_eq!(Attested::<Test>::iter().count(), 1);
		run_to(10);
		assert_eq!(
			(
				Attested::<Test>::iter().count(),
				AttestedCount::<Test>::iter().count()
			),
			(0, 0)
		);
		run_to(SEED_DEPTH + 700);
		assert!(Rounds::<Test>::iter().count() <= ROUND_DEPTH as usize + 1);
		assert_eq!(BlockSeeds::<Test>::iter().count(), SEED_DEPTH as usize);
		assert!(
			is_open(0),
			"what was not touched stays, and is closed at the next touch"
		);
		<Popw as Checks>::touch(0);
		assert!(!is_open(0));
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
