//! Tests that the storage of past rounds is removed as fast as it grows.

use super::{attest_soon, to_commit, to_end};
use crate::{mock::*, rounds::SweepCounts, *};
use frame_support::{traits::Hooks, weights::Weight};
use kaisar_primitives::WorkerState;

/// Gives a seat in a round to every 32nd of `operators`: each has a page of counters of its own.
fn seat(round: u32, operators: u32) {
	for number in 0..operators {
		Popw::take_number(number * COUNTERS_PAGE, round);
	}
}

/// Returns the rounds that have counters, with the number of their pages.
fn pages() -> std::collections::BTreeMap<u32, u32> {
	let mut pages = std::collections::BTreeMap::new();
	for (round, _, _) in CountersOf::<Test>::iter() {
		*pages.entry(round).or_default() += 1;
	}
	pages
}

/// Adds a commitment of an operator in a round, which it never opens.
fn leave_shut(operator: u32, round: u32) {
	let hash = Default::default();
	Commitments::<Test>::insert((operator, Lane::of(round), 0), Commitment { round, hash });
	let (page, place) = Counters::place(operator);
	CountersOf::<Test>::mutate(round, page, |counters| counters[place].committed += 1);
}

#[test]
fn counters_of_a_thousand_operators_do_not_pile_up() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		PhaseLength::set(25);
		let operators = 1_000;
		let mut seen = 0;
		run_to(2);
		for number in 0..20 {
			let round = Popw::rounds().first().unwrap().index;
			seat(round, operators);
			// One of them never opens its commitment.
			leave_shut(number * COUNTERS_PAGE, round);
			run_to(NextStart::<Test>::get() + 1);
			// Only running rounds have any, and one that was over when this phase began.
			let pages = pages();
			assert!(pages.len() <= 5, "{pages:?}");
			assert!(pages.keys().all(|old| old + 8 > round), "{pages:?}");
			seen = seen.max(pages.len());
		}
		assert!(seen >= 2);
		// All commitments of ended rounds were reported.
		heard(|heard| assert!(heard.unopened.len() >= 16, "{}", heard.unopened.len()));
		run_to(System::block_number() + 110);
		assert!(pages().is_empty());
		assert_eq!(Commitments::<Test>::iter().count(), 0);
		heard(|heard| assert_eq!(heard.unopened.len(), 20));
	});
}

#[test]
fn a_block_removes_a_bounded_number_of_pages_and_charges_for_them() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		run_to(2);
		let operators = 2 * SWEEP + 100;
		seat(0, operators);
		let end = Rounds::<Test>::get(0).unwrap().ends();
		run_to(end);
		let charged = |block: u32| {
			Popw::on_finalize(block - 1);
			System::set_block_number(block);
			let left = CountersOf::<Test>::iter_prefix(0).count() as u32;
			let weight = Popw::on_initialize(block);
			let now = CountersOf::<Test>::iter_prefix(0).count() as u32;
			(left - now, weight)
		};
		let removed: Vec<(u32, Weight)> = (1..=4).map(|n| charged(end + n)).collect();
		let counts: Vec<u32> = removed.iter().map(|(count, _)| *count).collect();
		// The steps are pages, and ended rounds.
		assert!(counts[0] >= SWEEP - 8 && counts[0] <= SWEEP, "{counts:?}");
		assert_eq!(counts.iter().sum::<u32>(), operators);
		assert_eq!(counts[3], 0);
		for (count, weight) in removed {
			let of = |steps| {
				<() as WeightInfo>::on_initialize(steps, 0)
					.saturating_add(<() as WeightInfo>::on_finalize())
			};
			let start = <() as WeightInfo>::start_round();
			assert!(weight.all_gte(of(count)), "{count}");
			assert!(
				weight.all_lte(of(count + 8).saturating_add(start)),
				"{count}"
			);
		}
	});
}

#[test]
fn a_network_that_opened_nothing_is_told_of_in_steps() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		run_to(2);
		let operators = 3 * SWEEP_UNOPENED + 5;
		for operator in 0..operators {
			Popw::take_number(operator, 0);
			leave_shut(operator, 0);
		}
		run_to(Rounds::<Test>::get(0).unwrap().ends());
		let mut last = 0;
		for expected in [1, 2, 3, 4, 4] {
			run_to(System::block_number() + 1);
			let told = heard(|heard| heard.unopened.len() as u32);
			assert_eq!(told, (expected * SWEEP_UNOPENED).min(operators));
			assert!(told - last <= SWEEP_UNOPENED);
			last = told;
		}
		assert!(pages().is_empty());
		// Each operator once, and as its first.
		heard(|heard| {
			heard.unopened.sort_unstable();
			heard.unopened.dedup();
			assert_eq!(heard.unopened.len() as u32, operators);
			assert!(heard.unopened.iter().all(|(_, missed)| *missed == 2));
		});
	});
}

#[test]
fn spot_rounds_do_not_wait_for_a_census_that_lasts() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		for worker in 0..40 {
			add_worker(worker, WorkerState::Online, None);
		}
		// It lasts as long as forty spot rounds.
		run_to(2);
		let census = Rounds::<Test>::get(1).unwrap();
		assert_eq!(census.phase_length, 400);
		attest_soon(0, 1);
		to_commit(1);
		let slot = (0, Lane::Census, 0);
		commit(0, 1, &one(0, good())).unwrap();
		while System::block_number() < census.ends() {
			run_to(NextStart::<Test>::get() + 1);
			let round = Popw::rounds().first().unwrap().index;
			if round.is_multiple_of(2) {
				seat(round, 20);
			}
			let spots = pages()
				.into_keys()
				.filter(|round| round.is_multiple_of(2))
				.count();
			assert!(spots <= 4, "{:?}", pages());
			// The storage of the census stays.
			if System::block_number() <= census.ends() {
				assert!(CountersOf::<Test>::contains_key(1, 0));
				assert!(Commitments::<Test>::contains_key(slot));
				assert_eq!(AttestedCount::<Test>::get(1), 1);
			}
		}
		to_end(1);
		assert!(!CountersOf::<Test>::contains_key(1, 0));
		assert!(!Commitments::<Test>::contains_key(slot));
		heard(|heard| assert_eq!(heard.unopened, [(0, 2)]));
		<Popw as kaisar_primitives::Checks>::touch(0);
	});
}

#[test]
fn a_block_is_full_at_either_limit() {
	let of = |steps, unopened| SweepCounts { steps, unopened }.is_full();
	assert!(!of(SWEEP - 1, SWEEP_UNOPENED - 1));
	assert!(of(SWEEP, 0) && of(1, SWEEP_UNOPENED));
}
