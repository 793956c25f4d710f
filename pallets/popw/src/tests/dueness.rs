//! Tests of the workers that are due, in networks of 100, 40,000 and 1,000,000 workers. Seeds are fixed, and
//! bounds are five standard deviations.

use crate::{mock::*, *};
use codec::Encode;
use kaisar_math::rounds::{Chance, rented_chance};
use kaisar_primitives::{Forced, RoundKind, Standings, WorkerId, WorkerInfo, WorkerState};
use sp_core::H256;

const SIZES: [u32; 3] = [100, 40_000, 1_000_000];

/// Adds any number of equal workers.
fn crowd(state: WorkerState) {
	add_worker(0, state, None);
	heard(|heard| {
		let info: WorkerInfo<u64> = heard.workers.remove(&0).expect("it was just added");
		heard.crowd = Some((0, info));
	});
}

/// Returns a round of a network of `n` workers, all of one state, with a seed of its own.
fn round(kind: RoundKind, n: u32, number: u32) -> Round {
	let base = Rounds::<Test>::get(0).expect("the first round has started");
	Round {
		kind,
		index: 2 * number + u32::from(kind == RoundKind::Census),
		seed: H256::from(sp_io::hashing::blake2_256(&(n, number).encode())),
		online: n,
		rented: n,
		..base
	}
}

fn is_due(worker: WorkerId, round: &Round) -> bool {
	Popw::due(worker, round).is_ok()
}

/// Returns whether `found` of `trials` agrees with a chance, within five standard deviations.
fn is_likely(found: u32, trials: u32, Chance { num, den }: Chance) -> bool {
	let (found, trials) = (i128::from(found), i128::from(trials));
	let (num, den) = (i128::from(num), i128::from(den));
	// (found − trials · p)² ≤ 25 · trials · p · (1 − p), times den².
	let off = found * den - trials * num;
	off * off <= 25 * trials * num * (den - num)
}

fn with_crowd(state: WorkerState, test: impl FnOnce()) {
	ExtBuilder::default().build_and_execute(|| {
		crowd(state);
		run_to(2);
		test();
	});
}

#[test]
fn the_bounds_can_be_missed() {
	let twelfth = Chance { num: 1, den: 12 };
	assert!(is_likely(1_000, 12_000, twelfth));
	// The standard deviation is 30.
	assert!(is_likely(1_151, 12_000, twelfth) && !is_likely(1_152, 12_000, twelfth));
	assert!(!is_likely(0, 12_000, twelfth) && !is_likely(840, 12_000, twelfth));
}

#[test]
fn every_idle_worker_is_due_in_a_census() {
	with_crowd(WorkerState::Online, || {
		for n in SIZES {
			let census = round(RoundKind::Census, n, 3);
			// All workers, whatever the seed: every worker of the small networks, one of 7 of the large one.
			let step = if n > 40_000 { 7 } else { 1 };
			assert!((0..n).step_by(step).all(|worker| is_due(worker, &census)));
		}
	});
}

#[test]
fn no_other_worker_is_due_in_a_census() {
	for state in [
		WorkerState::Pending,
		WorkerState::Rented,
		WorkerState::Offline,
		WorkerState::Suspended,
	] {
		with_crowd(state, || {
			let census = round(RoundKind::Census, 40_000, 3);
			assert!(
				(0..40_000)
					.step_by(7)
					.all(|worker| !is_due(worker, &census))
			);
		});
	}
}

#[test]
fn nobody_is_due_in_a_spot_round_but_who_is_rented_or_forced() {
	for state in [
		WorkerState::Pending,
		WorkerState::Online,
		WorkerState::Offline,
		WorkerState::Suspended,
	] {
		with_crowd(state, || {
			let spot = round(RoundKind::Spot, 40_000, 3);
			assert!((0..40_000).step_by(7).all(|worker| !is_due(worker, &spot)));
		});
	}
}

#[test]
fn rented_workers_are_drawn_with_their_chance() {
	with_crowd(WorkerState::Rented, || {
		for (n, rounds) in [(100, 400), (40_000, 2), (1_000_000, 1)] {
			let chance = rented_chance(40_000, n);
			let (mut due, mut drawn) = (0, 0);
			for number in 0..rounds {
				let spot = round(RoundKind::Spot, n, number);
				drawn += n;
				due += (0..n).filter(|worker| is_due(*worker, &spot)).count() as u32;
			}
			assert!(
				is_likely(due, drawn, chance),
				"{n} workers: {due} of {drawn}, by {chance:?}"
			);
		}
	});
}

#[test]
fn the_chance_is_one_in_twelve_until_the_load_forbids_it() {
	for (n, expected) in [(100, (1, 12)), (40_000, (1, 12)), (1_000_000, (1, 100))] {
		let Chance { num, den } = rented_chance(40_000, n);
		assert_eq!(num * expected.1, den * expected.0, "{n} workers");
	}
}

#[test]
fn no_rented_worker_is_drawn_more_often_than_another() {
	with_crowd(WorkerState::Rented, || {
		// 300 rounds each, 25 of them due, with a standard deviation of 4.8.
		let (workers, rounds) = (200, 300);
		let twelfth = Chance { num: 1, den: 12 };
		let mut all = 0;
		for worker in 0..workers {
			let due = (0..rounds)
				.filter(|number| is_due(worker, &round(RoundKind::Spot, workers, *number)))
				.count() as u32;
			assert!(is_likely(due, rounds, twelfth), "worker {worker}: {due}");
			all += due;
		}
		assert!(is_likely(all, workers * rounds, twelfth));
	});
}

#[test]
fn being_due_in_one_round_says_nothing_of_the_next() {
	with_crowd(WorkerState::Rented, || {
		let n = 40_000;
		let (first, second) = (round(RoundKind::Spot, n, 1), round(RoundKind::Spot, n, 2));
		let due: Vec<WorkerId> = (0..n).filter(|worker| is_due(*worker, &first)).collect();
		let again = due
			.iter()
			.filter(|worker| is_due(**worker, &second))
			.count() as u32;
		assert!(is_likely(again, due.len() as u32, rented_chance(40_000, n)));
		// Nor does its neighbor's.
		let next = due
			.iter()
			.filter(|worker| is_due(**worker + 1, &first))
			.count() as u32;
		assert!(is_likely(next, due.len() as u32, rented_chance(40_000, n)));
	});
}

#[test]
fn a_forced_worker_is_due_once_and_alone() {
	for n in SIZES {
		with_crowd(WorkerState::Online, || {
			let spots: Vec<Round> = (0..6)
				.map(|number| round(RoundKind::Spot, n, number))
				.collect();
			let forced = n / 2;
			add_worker(
				forced,
				WorkerState::Online,
				Some(Forced {
					round: spots[3].index,
					verify_only: false,
				}),
			);
			let due: Vec<u32> = spots
				.iter()
				.filter(|round| is_due(forced, round))
				.map(|round| round.index)
				.collect();
			assert_eq!(due, [spots[3].index]);
			let others = [0, 1, forced - 1, forced + 1, n - 1];
			assert!(others.iter().all(|other| !is_due(*other, &spots[3])));
			// A census of the same block covers it instead, if one starts.
			let census = Round {
				index: spots[3].index + 1,
				kind: RoundKind::Census,
				..spots[3]
			};
			assert!(is_due(forced, &census) && is_due(0, &census));
			Rounds::<Test>::insert(census.index, census);
			assert!(!is_due(forced, &spots[3]));
			Rounds::<Test>::remove(census.index);
		});
	}
}

#[test]
fn a_worker_counts_as_it_stood_at_the_rounds_start() {
	with_crowd(WorkerState::Offline, || {
		let census = round(RoundKind::Census, 100, 3);
		let mut standings = Standings::new(WorkerState::Online, 2);
		standings.change(WorkerState::Offline, census.index + 1, &[census.index]);
		add_worker(1, WorkerState::Online, None);
		heard(|heard| heard.workers.get_mut(&1).expect("it is there").standings = standings);
		assert!(is_due(1, &census), "leaving counts from the next round");
		let next = round(RoundKind::Census, 100, 4);
		assert!(!is_due(1, &next));
	});
}
