//! Property tests: random sequences of all operations, with the invariants after each step.

use crate::{mock::*, *};
use kaisar_primitives::{Forced, Outcome, RoundKind, Verdict, WorkerState};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
	Blocks(u32),
	Attest(u32, u32),
	Commit(u32, u32, u16, u8),
	Reveal(u32, u32, u16, u8),
	Absent(u32, u32),
	Finalize(Vec<u32>),
	Force(u32),
	/// Parameters: phase length, trial offset, committee size and minimum number of operators.
	Set(u32, u32, u8, u8),
}

const WORKERS: u32 = 6;
const OPERATORS: u32 = 5;

fn op() -> impl Strategy<Value = Op> {
	let worker = 0..WORKERS + 1;
	let operator = 0..OPERATORS + 1;
	// Rounds, counted back from the next one.
	let back = 0..9u32;
	prop_oneof![
		4 => (1..7u32).prop_map(Op::Blocks),
		4 => (worker.clone(), back.clone()).prop_map(|(w, r)| Op::Attest(w, r)),
		4 => (operator.clone(), back.clone(), 0..2u16, any::<u8>())
			.prop_map(|(o, r, b, s)| Op::Commit(o, r, b, s % 3)),
		4 => (operator, back.clone(), 0..2u16, any::<u8>())
			.prop_map(|(o, r, b, s)| Op::Reveal(o, r, b, s % 3)),
		1 => (worker.clone(), back).prop_map(|(w, r)| Op::Absent(w, r)),
		1 => prop::collection::vec(worker.clone(), 0..4).prop_map(Op::Finalize),
		2 => worker.prop_map(Op::Force),
		1 => (0..9u32, 0..9u32, 0..7u8, 0..5u8).prop_map(|(l, t, s, m)| Op::Set(l, t, s, m)),
	]
}

/// Returns the votes that `variant` encodes.
fn votes(variant: u8) -> kaisar_primitives::Votes {
	(0..WORKERS)
		.map(|worker| {
			let verdict = match (variant, worker % 2) {
				(0, _) | (1, 0) => good(),
				_ => Verdict::OFFLINE,
			};
			(worker, verdict)
		})
		.collect::<Vec<_>>()
		.try_into()
		.unwrap()
}

/// Does a step. Returns whether it succeeded. A failed call's reports to the registries are rolled back with
/// its storage.
fn apply(op: Op) -> bool {
	let before = heard(|heard| heard.clone());
	let done = attempt(op).is_ok();
	if !done {
		heard(|heard| *heard = before);
	}
	done
}

/// The number of commitments that each operator made and did not open.
#[derive(Default)]
struct Shut([u32; OPERATORS as usize + 1]);

impl Shut {
	fn note(&mut self, op: &Op) {
		match op {
			Op::Commit(operator, ..) => self.0[*operator as usize] += 1,
			Op::Reveal(operator, ..) => self.0[*operator as usize] -= 1,
			_ => {}
		}
	}

	/// Asserts, once everything is over, that each of them counted as twice as many missed seats as the one
	/// before.
	fn judge(&self) {
		for (operator, shut) in (0..).zip(self.0) {
			let told = heard(|heard| {
				let own = heard.unopened.iter().filter(|told| told.0 == operator);
				own.map(|told| told.1).sum::<u32>()
			});
			let expected: u32 = (1..=shut).map(kaisar_math::committee::unopened_seats).sum();
			assert_eq!(told, expected, "operator {operator}: {shut}");
		}
		assert_eq!(Commitments::<Test>::iter().count(), 0);
		assert_eq!(CountersOf::<Test>::iter().count(), 0);
	}
}

fn attempt(op: Op) -> sp_runtime::DispatchResult {
	let round = |back: u32| NextRound::<Test>::get().saturating_sub(back);
	let salt = |operator: u32, variant: u8| [operator as u8 ^ variant; 32];
	let signed = |operator: u32| RuntimeOrigin::signed(operator_account(operator));
	match op {
		Op::Blocks(count) => run_to(System::block_number() + count),
		Op::Attest(worker, back) => attest(worker, round(back))?,
		Op::Commit(operator, back, batch, variant) => {
			let round = round(back);
			let hash = hash_of(
				operator,
				round,
				batch,
				&votes(variant),
				salt(operator, variant),
			);
			Popw::commit(signed(operator), operator, round, batch, hash, None)
				.map_err(|error| error.error)?;
		}
		Op::Reveal(operator, back, batch, variant) => {
			let (votes, salt) = (votes(variant), salt(operator, variant));
			let origin = signed(operator);
			Popw::reveal(origin, operator, round(back), batch, votes, salt, None)
				.map_err(|error| error.error)?;
		}
		Op::Absent(worker, back) => {
			Popw::report_absent(RuntimeOrigin::signed(1), worker, round(back))
				.map_err(|error| error.error)?;
		}
		Op::Finalize(workers) => {
			Popw::finalize(RuntimeOrigin::signed(1), workers.try_into().unwrap())
				.map_err(|error| error.error)?;
		}
		Op::Force(worker) => <Popw as kaisar_primitives::Checks>::force(worker)?,
		Op::Set(length, offset, size, least) => {
			PhaseLength::set(length);
			TrialOffset::set(offset);
			CommitteeSize::set(size);
			MinOperators::set(least);
		}
	}
	Ok(())
}

/// Asserts the reports to the registries after every step.
fn judge() {
	Popw::do_try_state().expect("the invariants hold");
	heard(|heard| {
		// A check is closed once. It is of a round that began after the worker's check before it was over,
		// so it prepared with all others.
		let mut last = std::collections::BTreeMap::new();
		for (worker, closing, over) in &heard.closed {
			let before = last.insert(*worker, (closing.round, *over));
			assert!(before.is_none_or(|(round, over)| {
				round < closing.round && over < closing.round_start
			}));
			// Only a census credits idle time, and only a decided check is slashed.
			let census = RoundKind::of(closing.round) == RoundKind::Census;
			assert!(closing.credit == 0 || closing.rented || census);
			assert!(!closing.slashes || closing.outcome != Outcome::NoConsensus);
		}
		// An operator that was paid for a seat had voted: it has no more correct seats than reveals.
		for operator in 0..OPERATORS {
			let correct = heard
				.seats
				.iter()
				.filter(|(o, correct)| *o == operator && *correct);
			let reveals = heard
				.revealed
				.iter()
				.filter(|(o, _)| *o == operator)
				.count();
			assert!(correct.count() <= reveals * WORKERS as usize);
		}
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(48),
		failure_persistence: None,
		..Default::default()
	})]

	#[test]
	fn nothing_breaks_the_invariants(ops in prop::collection::vec(op(), 1..120)) {
		ExtBuilder::default().operators(OPERATORS).build_and_execute(|| {
			PhaseLength::set(4);
			TrialOffset::set(2);
			CheckPeriod::set(2);
			for worker in 0..WORKERS {
				let state =
					if worker % 2 == 0 { WorkerState::Online } else { WorkerState::Pending };
				add_worker(worker, state, Some(Forced { round: 0, verify_only: true }));
			}
			run_to(4);
			let mut shut = Shut::default();
			for op in ops {
				if apply(op.clone()) {
					shut.note(&op);
				}
				judge();
			}
			// Long enough for every round that has attestations to be over and swept.
			run_to(System::block_number() + 100);
			Popw::do_try_state().expect("the invariants hold");
			shut.judge();
		});
	}
}
