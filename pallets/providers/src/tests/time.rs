//! Pending time against a plain model that keeps every block.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
	/// Blocks pass, then the state changes.
	Change(u8, WorkerState),
	/// A round that started that many blocks ago is closed.
	Credit(u8),
	/// The amounts are voided.
	Empty,
}

fn step() -> impl Strategy<Value = Step> {
	let state = prop_oneof![
		Just(WorkerState::Pending),
		Just(WorkerState::Online),
		Just(WorkerState::Rented),
		Just(WorkerState::Offline),
		Just(WorkerState::Suspended),
	];
	prop_oneof![
		6 => (0u8..20, state).prop_map(|(blocks, state)| Step::Change(blocks, state)),
		3 => (0u8..60).prop_map(Step::Credit),
		1 => Just(Step::Empty),
	]
}

/// Blocks that are pending in the model, up to a block.
fn pending(blocks: &[WorkerState], from: u32, to: u32) -> (u32, u32) {
	let in_between = blocks.iter().take(to as usize).skip(from as usize);
	let rented = in_between
		.clone()
		.filter(|state| **state == WorkerState::Rented)
		.count() as u32;
	let idle = in_between
		.filter(|state| **state == WorkerState::Online)
		.count() as u32;
	(idle + rented, rented)
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(256),
		rng_seed: kaisar_test_support::property::seed(2),
		..ProptestConfig::default()
	})]

	#[test]
	fn agrees_with_a_model_of_every_block(steps in prop::collection::vec(step(), 1..60)) {
		let mut time = PendingTime::empty(0);
		let mut state = WorkerState::Pending;
		// The state in each block so far, the first block that is still pending, and when the state
		// changed.
		let mut blocks: Vec<WorkerState> = Vec::new();
		let mut from = 0u32;
		let mut changes: Vec<u32> = vec![0, 0];
		let mut exact = true;
		for step in steps {
			let now = blocks.len() as u32;
			match step {
				Step::Change(passed, new) => {
					blocks.extend(core::iter::repeat_n(state, passed.into()));
					let now = blocks.len() as u32;
					time.change(state, new, now);
					if changes.last() != Some(&now) {
						changes.push(now);
					}
					state = new;
				},
				Step::Credit(ago) => {
					let start = now.saturating_sub(ago.into()).max(from);
					let known = time.at(state, now);
					let (online, rented) = time.credit(state, start, u32::MAX);
					let (all, all_rented) = pending(&blocks, from, start);
					prop_assert!(online <= all && rented <= all_rented, "never too much");
					prop_assert!(rented <= online);
					if exact && start >= changes[changes.len() - 2] {
						prop_assert_eq!((online, rented), (all, all_rented));
					}
					let left = time.at(state, now);
					prop_assert_eq!(known.online, online + left.online, "nothing is lost");
					prop_assert_eq!(known.rented, rented + left.rented, "nothing is lost");
					// Where less was credited, it is credited later.
					exact &= (online, rented) == (all, all_rented);
					if !exact {
						return Ok(());
					}
					from = start;
				},
				Step::Empty => {
					time = PendingTime::empty(now);
					from = now;
				},
			}
			if exact {
				let now = blocks.len() as u32;
				let mark = time.at(state, now);
				prop_assert_eq!((mark.online, mark.rented), pending(&blocks, from, now));
			}
		}
	}
}

#[test]
fn a_credit_is_capped_for_both_together() {
	let mut time = PendingTime::empty(0);
	time.change(WorkerState::Pending, WorkerState::Rented, 10);
	assert_eq!(time.credit(WorkerState::Rented, 110, 60), (60, 60));
	// What was above it is void.
	let left = time.at(WorkerState::Rented, 110);
	assert_eq!((left.online, left.rented), (0, 0));
}

#[test]
fn a_change_after_the_start_does_not_change_what_is_credited() {
	let mut time = PendingTime::empty(0);
	time.change(WorkerState::Pending, WorkerState::Online, 0);
	time.change(WorkerState::Online, WorkerState::Offline, 100);
	assert_eq!(time.credit(WorkerState::Offline, 70, u32::MAX), (70, 0));
	assert_eq!(time.at(WorkerState::Offline, 500).online, 30);
}

#[test]
fn many_changes_after_the_start_never_credit_too_much() {
	let mut time = PendingTime::empty(0);
	time.change(WorkerState::Pending, WorkerState::Online, 0);
	time.change(WorkerState::Online, WorkerState::Rented, 100);
	time.change(WorkerState::Rented, WorkerState::Online, 120);
	time.change(WorkerState::Online, WorkerState::Rented, 140);
	// At block 90: 90 online, none rented.
	assert_eq!(time.credit(WorkerState::Rented, 90, u32::MAX), (90, 0));
	let left = time.at(WorkerState::Rented, 150);
	assert_eq!((left.online, left.rented), (60, 30));
}
