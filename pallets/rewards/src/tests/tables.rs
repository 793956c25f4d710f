//! Tests of `set_score_table`, `set_class_score` and `set_class_reference`.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_math::{
	ClassReference, ScoreTable,
	classes::{self, CLASSES},
	score::MAX_CLASS_SCORE,
};
use kaisar_primitives::GpuClasses;
use sp_runtime::DispatchError;

#[test]
fn governance_changes_the_table() {
	ExtBuilder::default().build_and_execute(|| {
		let old = ScoreTable::default();
		let new = ScoreTable {
			gpu: 4,
			tiers: [0, 0, 0, 1, 1],
			..old
		};
		assert_ok!(Rewards::set_score_table(RuntimeOrigin::root(), new));
		assert_eq!(events(), [Event::ScoreTableSet { old, new }]);
		assert_eq!(Table::<Test>::get(), new);
	});
}

#[test]
fn fails_where_a_higher_tier_scores_less() {
	ExtBuilder::default().build_and_execute(|| {
		let table = ScoreTable {
			tiers: [0, 20, 19, 60, 80],
			..Default::default()
		};
		assert_noop!(
			Rewards::set_score_table(RuntimeOrigin::root(), table),
			Error::<Test>::InvalidScoreTable
		);
		assert_noop!(
			Rewards::set_score_table(RuntimeOrigin::signed(RICH), ScoreTable::default()),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn governance_appends_and_changes_classes() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(Rewards::set_class_score(
			RuntimeOrigin::root(),
			34,
			MAX_CLASS_SCORE
		));
		assert_ok!(Rewards::set_class_score(RuntimeOrigin::root(), 11, 80));
		assert_eq!(
			events(),
			[
				Event::ClassScoreSet {
					class: 34,
					old: None,
					new: MAX_CLASS_SCORE
				},
				Event::ClassScoreSet {
					class: 11,
					old: Some(75),
					new: 80
				},
			]
		);
		assert_eq!(Rewards::class_score(34), Some(MAX_CLASS_SCORE));
		assert_eq!(Rewards::class_score(0), Some(0));
	});
}

#[test]
fn fails_for_no_class_and_for_scores_out_of_range() {
	ExtBuilder::default().build_and_execute(|| {
		for (class, score) in [(0, 1), (1, MAX_CLASS_SCORE + 1)] {
			assert_noop!(
				Rewards::set_class_score(RuntimeOrigin::root(), class, score),
				Error::<Test>::InvalidClassScore
			);
		}
		assert_noop!(
			Rewards::set_class_score(RuntimeOrigin::signed(RICH), 1, 1),
			DispatchError::BadOrigin
		);
	});
}

/// A reference as `kaisar-agent calibrate` prints it.
const MEASURED: ClassReference = ClassReference {
	trial_turns: 2_345,
	memory_gb: 24,
	calibrated: true,
};

fn first(class: u16) -> Option<ClassReference> {
	classes::get(class).map(|class| class.reference())
}

#[test]
fn a_chain_starts_with_what_was_measured_and_floors_for_the_others() {
	ExtBuilder::default().build_and_execute(|| {
		for class in &CLASSES {
			assert_eq!(Rewards::class_reference(class.id), Some(class.reference()));
			assert_eq!(
				<Rewards as GpuClasses>::reference(class.id, 0),
				Some(class.reference())
			);
		}
		assert_eq!(Rewards::class_reference(0), None);
		assert_eq!(Rewards::class_reference(34), None);
	});
}

#[test]
fn a_reference_counts_from_the_next_round() {
	ExtBuilder::default().build_and_execute(|| {
		ROUNDS.set((8, 4));
		let set = |reference| Rewards::set_class_reference(RuntimeOrigin::root(), 11, reference);
		assert_ok!(set(Some(MEASURED)));
		assert_eq!(
			events(),
			[Event::ClassReferenceSet {
				class: 11,
				old: first(11),
				new: Some(MEASURED),
				from: 8
			}]
		);
		// Checks of a running round are still measured by the old one.
		for round in 0..8 {
			assert_eq!(
				<Rewards as GpuClasses>::reference(11, round),
				first(11),
				"{round}"
			);
		}
		assert_eq!(<Rewards as GpuClasses>::reference(11, 8), Some(MEASURED));
		assert_eq!(
			<Rewards as GpuClasses>::reference(11, 9),
			Some(MEASURED),
			"the census"
		);
		assert_eq!(Rewards::class_reference(11), Some(MEASURED));

		// Removed while rounds run that are measured by either.
		ROUNDS.set((12, 6));
		assert_ok!(set(None));
		assert_eq!(<Rewards as GpuClasses>::reference(11, 6), first(11));
		assert_eq!(<Rewards as GpuClasses>::reference(11, 11), Some(MEASURED));
		assert_eq!(<Rewards as GpuClasses>::reference(11, 12), None);
		assert_eq!(Rewards::class_reference(11), None);
		// No other class has changed.
		assert_eq!(Rewards::class_reference(10), first(10));
	});
}

#[test]
fn what_was_set_for_a_round_that_has_not_started_is_replaced() {
	ExtBuilder::default().build_and_execute(|| {
		ROUNDS.set((8, 4));
		let slower = ClassReference {
			trial_turns: 2_000,
			..MEASURED
		};
		for reference in [Some(MEASURED), None, Some(slower)] {
			assert_ok!(Rewards::set_class_reference(
				RuntimeOrigin::root(),
				11,
				reference
			));
		}
		assert_eq!(ClassReferences::<Test>::get(11).len(), 2);
		assert_eq!(<Rewards as GpuClasses>::reference(11, 7), first(11));
		assert_eq!(<Rewards as GpuClasses>::reference(11, 8), Some(slower));
	});
}

#[test]
fn boundary_of_references_while_a_round_runs() {
	ExtBuilder::default().build_and_execute(|| {
		let set = |number| {
			let reference = ClassReference {
				trial_turns: 1_000 + number,
				..MEASURED
			};
			Rewards::set_class_reference(RuntimeOrigin::root(), 11, Some(reference))
		};
		// A long census: round 1 is still voted on while spot rounds come and go.
		for number in 1..MAX_REFERENCES {
			ROUNDS.set((number * 2, 1));
			assert_ok!(set(number));
		}
		ROUNDS.set((MAX_REFERENCES * 2, 1));
		assert_noop!(set(99), Error::<Test>::TooManyReferences);
		assert_eq!(<Rewards as GpuClasses>::reference(11, 1), first(11));
		assert_eq!(
			<Rewards as GpuClasses>::reference(11, 5).map(|one| one.trial_turns),
			Some(1_002)
		);
		// It is over; the round after it is measured by the first one set.
		ROUNDS.set((MAX_REFERENCES * 2, 2));
		assert_ok!(set(99));
		assert_eq!(
			<Rewards as GpuClasses>::reference(11, 3).map(|one| one.trial_turns),
			Some(1_001)
		);
		// Old references do not accumulate.
		ROUNDS.set((100, 98));
		assert_ok!(set(100));
		assert_eq!(ClassReferences::<Test>::get(11).len(), 2);
	});
}

#[test]
fn fails_for_references_that_no_work_can_be_sized_by() {
	ExtBuilder::default().build_and_execute(|| {
		let set = |class, reference| {
			Rewards::set_class_reference(RuntimeOrigin::root(), class, reference)
		};
		for class in [0, 34] {
			assert_noop!(set(class, Some(MEASURED)), Error::<Test>::UnknownClass);
			assert_noop!(set(class, None), Error::<Test>::UnknownClass);
		}
		for bad in [
			ClassReference {
				trial_turns: 0,
				..MEASURED
			},
			ClassReference {
				trial_turns: ClassReference::MOST.trial_turns + 1,
				..MEASURED
			},
			ClassReference {
				memory_gb: 0,
				..MEASURED
			},
			ClassReference {
				memory_gb: ClassReference::MOST.memory_gb + 1,
				..MEASURED
			},
		] {
			assert_noop!(set(11, Some(bad)), Error::<Test>::InvalidClassReference);
		}
		assert_ok!(set(11, Some(ClassReference::LEAST)));
		assert_noop!(
			Rewards::set_class_reference(RuntimeOrigin::signed(RICH), 11, None),
			DispatchError::BadOrigin
		);
	});
}

#[test]
fn classes_are_shown_by_name_with_what_they_score() {
	ExtBuilder::default().build_and_execute(|| {
		assert_ok!(Rewards::set_class_score(RuntimeOrigin::root(), 300, 125));
		let all = Rewards::classes(0, u32::MAX);
		assert_eq!(all.len(), CLASSES.len());
		for (view, known) in all.iter().zip(&CLASSES) {
			assert_eq!(
				(view.gpu_class, view.score, view.memory_gb),
				(known.id, known.score, Some(known.memory_gb))
			);
			assert_eq!(view.name.as_deref(), Some(known.name.as_bytes()));
			assert_eq!(view.reference, Rewards::class_reference(known.id));
			assert_eq!(view.paid, <Rewards as GpuClasses>::is_paid(known.id));
		}
		// A class added by governance has no name, and is on its page.
		let added = Rewards::classes(256, 256);
		assert_eq!(added.len(), 1);
		assert_eq!(
			(added[0].gpu_class, added[0].name.clone(), added[0].score),
			(300, None, 125)
		);
		assert_eq!(Rewards::classes(11, 2).len(), 2);
		assert!(Rewards::classes(u16::MAX, u32::MAX).is_empty());
	});
}
