//! Tests of parameters at their limits: whatever governance sets, rounds continue, and recover once it is
//! corrected.

use super::*;
use crate::params;
use frame_support::assert_ok;
use kaisar_primitives::{BenchParams, Checks, Outcome};

#[test]
fn the_next_round_has_the_values_that_were_set_right() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		PhaseLength::set(u32::MAX);
		TrialOffset::set(u32::MAX);
		MaxDue::set(0);
		GapPeriods::set(u32::MAX);
		CommitteeSize::set(u8::MAX);
		MinOperators::set(u8::MAX);
		run_to(2);
		let round = Rounds::<Test>::get(1).unwrap();
		assert_eq!(
			(
				round.phase_length,
				round.committee_size,
				round.min_operators
			),
			(*params::PHASE_LENGTH.end(), 15, 15)
		);
		assert!(NextStart::<Test>::get() <= 1 + *params::PHASE_LENGTH.end());
		// With the value corrected, the next round starts as usual.
		PhaseLength::set(10);
		TrialOffset::set(0);
		CommitteeSize::set(0);
		MinOperators::set(0);
		run_to(2 + *params::PHASE_LENGTH.end());
		let round = Rounds::<Test>::get(2).unwrap();
		assert_eq!(
			(
				round.phase_length,
				round.committee_size,
				round.min_operators
			),
			(10, 1, 1)
		);
	});
}

/// Returns a trial with every figure at one of its limits.
fn bench(end: u32) -> BenchParams {
	BenchParams {
		n: end,
		turns: end,
		window_mib: end,
		stages: end,
		memory_mib: end,
		disk_mib: end,
		reads: end,
		bandwidth_secs: end as u8,
	}
}

/// Has all workers attest where they may, for `blocks`.
fn live(blocks: u32) {
	let end = System::block_number() + blocks;
	while System::block_number() < end {
		run_to(System::block_number() + 1);
		for round in Popw::rounds() {
			for worker in 0..2 {
				let _ = attest(worker, round.index);
			}
		}
		Popw::do_try_state().expect("the invariants hold");
	}
}

/// Sets the mock's values, and has a new worker verified.
fn recover() {
	PhaseLength::set(10);
	TrialOffset::set(0);
	CheckPeriod::set(u32::MAX);
	MaxDue::set(40_000);
	GapPeriods::set(7);
	CommitteeSize::set(3);
	MinOperators::set(3);
	Bench::set(BenchParams::default());
	let next = <Popw as Checks>::next_round();
	add_marked(2, next);
	// At most four hours, and the rounds in flight.
	let latest = System::block_number() + 6 * params::PHASE_LENGTH.end();
	while attest(2, next).is_err() {
		run_to(System::block_number() + 1);
		assert!(System::block_number() < latest, "round {next} has not come");
	}
	let operators = seated(2, next);
	let votes = one(2, good());
	to_commit(next);
	for operator in &operators {
		assert_ok!(commit(*operator, next, &votes));
	}
	to_reveal(next);
	for operator in &operators {
		assert_ok!(reveal(*operator, next, &votes));
	}
	to_end(next);
	<Popw as Checks>::touch(2);
	assert!(matches!(last_outcome(), Outcome::Online { .. }));
}

#[test]
fn no_value_of_a_parameter_jams_a_round() {
	let set: [fn(u32); 8] = [
		|value| PhaseLength::set(value),
		|value| TrialOffset::set(value),
		|value| CheckPeriod::set(value),
		|value| MaxDue::set(value),
		|value| GapPeriods::set(value),
		|value| CommitteeSize::set(value as u8),
		|value| MinOperators::set(value as u8),
		|value| Bench::set(bench(value)),
	];
	let try_out = |set: &dyn Fn()| {
		ExtBuilder::default().operators(3).build_and_execute(|| {
			add_worker(0, WorkerState::Online, None);
			add_worker(1, WorkerState::Rented, None);
			set();
			live(60);
			recover();
		});
	};
	for value in [0, u32::MAX] {
		for set in set {
			try_out(&|| set(value));
		}
		try_out(&|| set.iter().for_each(|set| set(value)));
	}
}

#[test]
fn a_round_asks_for_no_more_than_an_agent_does_and_credits_within_reason() {
	for (value, n, stages) in [(0, 64, 1), (u32::MAX, 16_384, 1 << 20)] {
		ExtBuilder::default().build_and_execute(|| {
			Bench::set(bench(value));
			GapPeriods::set(value);
			CheckPeriod::set(value);
			run_to(2);
			let round = round(0);
			assert_eq!((round.bench.n, round.bench.stages), (n, stages));
			assert_eq!(round.bench, bench(value).held());
			// No check credits a year.
			assert!(
				(30..=100 * 12 * 10 + 30).contains(&round.credit),
				"{}",
				round.credit
			);
		});
	}
}

#[test]
fn a_closing_call_lives_no_longer_than_the_longest_phase() {
	attested(1, || {
		to_end(0);
		PhaseLength::set(u32::MAX);
		let call = Call::<Test>::finalize {
			workers: vec![0].try_into().unwrap(),
		};
		let (valid, _) = frame_support::traits::Authorize::authorize(
			&RuntimeCall::Popw(call),
			sp_runtime::transaction_validity::TransactionSource::External,
		)
		.expect("a call without a sender is authorized")
		.expect("the check is over");
		assert_eq!(valid.longevity, u64::from(*params::PHASE_LENGTH.end()));
	});
}
