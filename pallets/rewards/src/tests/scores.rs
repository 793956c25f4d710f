//! What closed checks add to the scores.

use crate::{mock::*, *};
use frame_support::assert_ok;
use kaisar_math::score::{BOOST_ONE, CHECKER_ONE};
use kaisar_primitives::*;

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
		assert_eq!((record.poc, record.pod), (40 * unit, 10 * 3 * unit));
		// More stake than the maximum is the maximum.
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
		assert_eq!(record.poc, 40 * unit + 40 * u128::from(BOOST_ONE) * 2 * 365);
		assert_eq!(Current::<Test>::get().scores.poc, record.poc);
		assert_eq!(
			Rewards::running_score(PoolId::Worker(7)),
			Some(PoolScore::Worker(record))
		);
		assert_eq!(Rewards::running_score(PoolId::Worker(8)), None);
	});
}

#[test]
fn an_unknown_class_scores_nothing_for_its_gpus() {
	ExtBuilder::default().build_and_execute(|| {
		let profile = Profile {
			gpu_class: 999,
			..home()
		};
		on_proved(
			0,
			&Proved {
				idle: 1,
				rented: 0,
				stake: 0,
				profile,
			},
		);
		assert_eq!(
			WorkerScores::<Test>::get(0).unwrap().poc,
			u128::from(BOOST_ONE) * 140
		);
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
				tiers: [0, 40, 40, 60, 80],
				..table
			}
		));
		prove(1, 1, 0);
		assert_eq!(
			WorkerScores::<Test>::get(1).unwrap().poc,
			2 * WorkerScores::<Test>::get(0).unwrap().poc
		);
	});
}
