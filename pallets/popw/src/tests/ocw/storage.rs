//! Tests that a node's local storage is cleaned up.

use super::*;
use kaisar_primitives::{
	agent::receipts_key,
	offchain::{forget, may_send},
};

impl World {
	/// Returns the number of entries of persistent local storage, and their length as text.
	fn stored(&self) -> (usize, usize) {
		let text = format!("{:?}", self.agent.read().persistent_storage);
		(text.matches("]: [").count(), text.len())
	}

	fn has(&mut self, key: &[u8]) -> bool {
		self.agent.read().persistent_storage.get(key).is_some()
	}
}

#[test]
fn a_thing_is_sent_again_after_three_blocks() {
	World::new().ext.execute_with(|| {
		assert!(may_send((b"this", 1), 10));
		assert!(may_send((b"this", 2), 10), "another one");
		assert!(!may_send((b"this", 1), 10) && !may_send((b"this", 1), 12));
		assert!(may_send((b"this", 1), 13));
		forget((b"this", 1));
		assert!(may_send((b"this", 1), 13));
		// The chain was purged.
		assert!(may_send((b"this", 1), 5));
		assert!(!may_send((b"this", 1), 6));
	});
}

#[test]
fn what_was_sent_does_not_pile_up() {
	let mut world = World::new();
	let mut send = |blocks: std::ops::Range<u32>| {
		world.ext.execute_with(|| {
			for now in blocks {
				for worker in 0..40u32 {
					assert!(may_send((b"attest", worker, now), now));
				}
			}
		});
		world.stored()
	};
	send(0..100);
	let (entries, length) = send(100..200);
	assert!(entries <= 256, "{entries}");
	let (later, longer) = send(200..400);
	assert!(later <= 256, "{later}");
	assert!(longer < length + length / 4, "{length} {longer}");
}

#[test]
fn rounds_leave_nothing_on_a_checkers_node() {
	let mut world = World::checker(1);
	let mut rounds = |count: u32| {
		for _ in 0..count {
			let next = world.ext.execute_with(NextStart::<Test>::get);
			// A worker is absent in each round, and reported again and again.
			let index = world.ext.execute_with(NextRound::<Test>::get);
			heard(|heard| heard.workers.get_mut(&0).unwrap().forced = Some(super::mark(index)));
			for block in next..next + 10 {
				world.run_to(block);
				world.expect_starts();
				world.work();
				world.submitted();
			}
		}
		world.stored()
	};
	let (entries, _) = rounds(8);
	let (later, _) = rounds(40);
	// The lists of sent calls and the times of blocks fill up; everything else stays as large as before.
	let sent = (0..=255u8).map(|list| (b"kaisar/sent", list).encode());
	let times = (0..crate::ocw::window::HEIGHTS).map(crate::ocw::window::notes_key);
	let lists = sent.chain(times).filter(|key| world.has(key)).count();
	assert!(
		lists <= 256 + 256 && later <= entries + lists,
		"{entries} {later}"
	);
	assert!(later - lists <= 10, "{later} {lists}");
}

#[test]
fn receipts_go_with_their_rounds_even_if_the_node_was_down() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	world.ext.execute_with(|| attest(0, 0).unwrap());
	world.run_to(4);
	world.expect_checks(1, 0, &[0], checked());
	world.work();
	let receipts = receipts_key(1, 0);
	assert!(world.has(&receipts));
	// The check is closed and the round over: a strike from it can still be annulled.
	let work_for = |world: &mut World, blocks: u32| {
		for _ in 0..blocks {
			let next = world.block() + 1;
			world.run_to(next);
			world.expect_starts();
			world.work();
			world.submitted();
		}
	};
	world.run_to(35);
	world
		.ext
		.execute_with(|| <Popw as kaisar_primitives::Checks>::touch(0));
	heard(|heard| heard.workers.clear());
	work_for(&mut world, 40);
	assert!(world.has(&receipts));
	// The node is down for days, past the end of the round's record.
	world.run_to(RECORD_DEPTH + 2_000);
	work_for(&mut world, 45);
	assert!(!world.has(&receipts));
}

#[test]
fn the_duties_of_an_operator_that_registered_anew_are_cleaned_up() {
	let mut world = World::checker(1);
	expect_round(&mut world, 0);
	world.work();
	let work = crate::ocw::round_work::round_work_key(1, 0);
	assert!(world.has(&work));
	heard(|heard| {
		let info = heard.operators.remove(&1).unwrap();
		heard.operators.insert(4, info);
		heard.workers.clear();
	});
	world.run_to(35);
	world.expect_starts();
	world.work();
	assert!(!world.has(&work));
}
