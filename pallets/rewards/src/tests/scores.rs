//! Tests of the contributions of closed checks to the scores.

use crate::{mock::*, *};
use frame_support::assert_ok;
use kaisar_math::{
	ClassReference,
	score::{BOOST_ONE, CHECKER_ONE},
};
use kaisar_primitives::*;
use sp_runtime::Perbill;

fn home() -> Profile {
	// 2 · 0.4 + 0.2 · 3 + 3 · 0.75
	Profile {
		bandwidth: 2,
		cpu: 1,
		memory: 1,
		disk: 1,
		gpu_class: 11,
		gpu_count: 1,
	}
}

#[test]
fn time_weighs_by_stake_and_hardware() {
	ExtBuilder::default().build_and_execute(|| {
		let proved = Proved {
			idle: 30,
			rented: 10,
			stake: 25_000 * KAI,
			profile: home(),
		};
		on_proved(7, &proved);
		let unit = u128::from(BOOST_ONE) * 3 / 2 * 365;
		let record = WorkerScores::<Test>::get(7).unwrap();
		assert_eq!(
			(record.idle, record.rented, record.pod),
			(30 * unit, 10 * unit, 10 * 3 * unit)
		);
		// Stake above the maximum counts as the maximum.
		on_proved(
			7,
			&Proved {
				stake: u128::MAX,
				idle: 40,
				rented: 0,
				..proved
			},
		);
		let record = WorkerScores::<Test>::get(7).unwrap();
		assert_eq!(
			record.idle,
			30 * unit + 40 * u128::from(BOOST_ONE) * 2 * 365
		);
		let scores = Current::<Test>::get().scores;
		assert_eq!(
			(scores.idle, scores.rented, scores.pod),
			(record.idle, record.rented, record.pod)
		);
		assert_eq!(
			<Rewards as RunningScores>::of_worker(7),
			Some(RunningScore {
				epoch: 0,
				idle: record.idle,
				rented: record.rented,
				pod: record.pod
			})
		);
		assert_eq!(
			Rewards::running_score(PoolId::Worker(7)),
			Some(PoolScore::Worker(record))
		);
		assert_eq!(Rewards::running_score(PoolId::Worker(8)), None);
	});
}

/// Returns the score of a block of a machine, idle and without stake.
fn score_of_block(profile: Profile) -> u128 {
	let before = WorkerScores::<Test>::get(0).unwrap_or_default().idle;
	on_proved(
		0,
		&Proved {
			idle: 1,
			profile,
			..Default::default()
		},
	);
	WorkerScores::<Test>::get(0).unwrap_or_default().idle - before
}

#[test]
fn a_machine_without_gpus_weighs_by_its_cores() {
	ExtBuilder::default().build_and_execute(|| {
		let server = |cpu| Profile {
			cpu,
			gpu_class: 0,
			gpu_count: 0,
			..home()
		};
		// 2 · 0.4 + 0.2 · 2, and the CPU's 0.2 a tier.
		for (cpu, hundredths, cores) in [
			(0, 120, 0),
			(1, 140, 4),
			(2, 160, 32),
			(3, 180, 64),
			(4, 200, 129),
		] {
			assert_eq!(
				score_of_block(server(cpu)),
				u128::from(BOOST_ONE) * hundredths * cores / 1_290,
				"tier {cpu}"
			);
		}
		CpuOnlyWeight::set(Perbill::one());
		assert_eq!(score_of_block(server(4)), u128::from(BOOST_ONE) * 200);
		CpuOnlyWeight::set(Perbill::from_percent(10));
	});
}

#[test]
fn gpus_of_a_class_that_is_not_paid_are_none() {
	ExtBuilder::default().build_and_execute(|| {
		let none = Profile {
			gpu_class: 0,
			gpu_count: 0,
			..home()
		};
		let without = score_of_block(none);
		let with = score_of_block(home());
		assert_eq!(with, u128::from(BOOST_ONE) * 365);
		// A GPU of an unknown class.
		let unknown = Profile {
			gpu_class: 999,
			..home()
		};
		assert!(!<Rewards as GpuClasses>::is_paid(999));
		assert_eq!(score_of_block(unknown), without);
		// In production, a GPU of a class with only a floor, or without a reference.
		PayUncalibrated::set(false);
		assert!(<Rewards as GpuClasses>::is_paid(0));
		assert!(!<Rewards as GpuClasses>::is_paid(11));
		assert_eq!(score_of_block(home()), without);
		let set = |reference| {
			assert_ok!(Rewards::set_class_reference(
				RuntimeOrigin::root(),
				11,
				reference
			));
		};
		set(None);
		assert_eq!(score_of_block(home()), without);
		set(Some(ClassReference::MOST));
		assert!(<Rewards as GpuClasses>::is_paid(11));
		assert_eq!(score_of_block(home()), with);
		// The minimum stake does not depend on the reference.
		assert_eq!(<Rewards as GpuClasses>::score(12), Some(25));
		assert!(!<Rewards as GpuClasses>::is_paid(12));
	});
}

#[test]
fn seats_count_by_weight_and_an_abstention_is_no_error() {
	ExtBuilder::default().build_and_execute(|| {
		on_seat(1, 3, SeatResult::Correct);
		on_seat(1, 1, SeatResult::Dissenting);
		on_seat(1, 2, SeatResult::Missed);
		on_seat(1, 5, SeatResult::Abstained);
		let counts = CheckerScores::<Test>::get(1).unwrap();
		assert_eq!((counts.correct, counts.seats), (3, 6));
		assert_eq!(
			Current::<Test>::get().scores.checkers,
			3 * CHECKER_ONE * 3 / 6
		);
		// An operator that only abstains has no score.
		on_seat(2, 5, SeatResult::Abstained);
		assert_eq!(CheckerScores::<Test>::get(2), None);
	});
}

#[test]
fn commitments_that_are_never_opened_are_missed_seats() {
	ExtBuilder::default().build_and_execute(|| {
		on_seat(1, 6, SeatResult::Correct);
		Rewards::on_unopened(1, 0);
		assert_eq!(Current::<Test>::get().scores.checkers, 6 * CHECKER_ONE);
		Rewards::on_unopened(1, 6);
		let counts = CheckerScores::<Test>::get(1).unwrap();
		assert_eq!((counts.correct, counts.seats), (6, 12));
		assert_eq!(Current::<Test>::get().scores.checkers, 3 * CHECKER_ONE);
		// However many, the error rate is at most 100 %.
		(0..2).for_each(|_| Rewards::on_unopened(1, u32::MAX));
		assert_eq!(CheckerScores::<Test>::get(1).unwrap().seats, u32::MAX);
		assert!(Current::<Test>::get().scores.checkers < CHECKER_ONE);
		// In a later epoch, they settle the earlier earnings.
		next_epoch();
		Rewards::on_unopened(1, 1);
		assert!(Rewards::claimable(OPERATORS + 1) > 0);
		assert_eq!(Current::<Test>::get().scores.checkers, 0);
	});
}

#[test]
fn checkers_scores_are_kept_by_difference() {
	ExtBuilder::default().build_and_execute(|| {
		seats(1, 90, 0);
		assert_eq!(Current::<Test>::get().scores.checkers, 90 * CHECKER_ONE);
		// Ten wrong seats lower the score and the total: 90 · 0.9.
		seats(1, 0, 10);
		assert_eq!(Current::<Test>::get().scores.checkers, 81 * CHECKER_ONE);
		seats(2, 4, 0);
		assert_eq!(Current::<Test>::get().scores.checkers, 85 * CHECKER_ONE);
		assert_eq!(
			Rewards::running_score(PoolId::Checker(1)),
			Some(PoolScore::Checker {
				counts: CheckerScore {
					epoch: 0,
					correct: 90,
					seats: 100
				},
				score: 81 * CHECKER_ONE
			})
		);
		// The next epoch starts clean.
		next_epoch();
		seats(1, 1, 0);
		assert_eq!(Current::<Test>::get().scores.checkers, CHECKER_ONE);
	});
}

#[test]
fn a_new_table_holds_from_then_on() {
	ExtBuilder::default().build_and_execute(|| {
		prove(0, 1, 0);
		let table = Table::<Test>::get();
		assert_ok!(Rewards::set_score_table(
			RuntimeOrigin::root(),
			kaisar_math::ScoreTable {
				gpu: 2 * table.gpu,
				..table
			}
		));
		prove(1, 1, 0);
		assert_eq!(
			WorkerScores::<Test>::get(1).unwrap().idle,
			2 * WorkerScores::<Test>::get(0).unwrap().idle
		);
	});
}
