//! `set_score_table` and `set_class_score`.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_math::{ScoreTable, score::MAX_CLASS_SCORE};
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
