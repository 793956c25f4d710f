//! Tests of bandwidth, on which a checker may have no opinion: its own line was full.

use super::tally::{ANYTHING, UP, check, profile, results};
use crate::{mock::good, *};
use kaisar_primitives::{
	Profile,
	SeatResult::{Correct, Dissenting, Missed},
	Verdict,
};

const NONE: u8 = Verdict::NO_OPINION;

fn bandwidth(tier: u8) -> Option<Verdict> {
	Some(Verdict {
		bandwidth: tier,
		..good()
	})
}

#[test]
fn a_checker_whose_own_line_was_full_agrees_with_any_bandwidth() {
	let old = Profile {
		bandwidth: 3,
		..ANYTHING
	};
	let none = Verdict::NO_OPINION;
	let of = |votes: &[Option<Verdict>], full: bool| {
		let mut check = check(votes);
		check.full = full;
		let tally = Tally::of(&check, Some(&old), &ANYTHING);
		assert!(results(&tally, &check).iter().all(|it| *it == Correct));
		profile(&tally).map(|profile| profile.bandwidth)
	};
	let (silent, two) = (bandwidth(none), bandwidth(2));
	assert_eq!(of(&[two, two, two, silent, silent], true), Some(2));
	// Two opinions of five are not more than half: the tier goes down by one.
	assert_eq!(of(&[two, two, silent, silent, silent], true), Some(2));
	assert_eq!(of(&[silent; 5], true), Some(2));
	assert_eq!(of(&[silent; 5], false), Some(3), "it was not measured");
	let tally = Tally::of(&check(&[silent; 5]), None, &ANYTHING);
	assert_eq!(profile(&tally).map(|profile| profile.bandwidth), Some(0));
}

#[test]
fn bandwidth_and_disk_are_carried_over_unless_measured() {
	let old = Profile {
		bandwidth: 4,
		disk: 3,
		..Default::default()
	};
	let votes = [UP(); 5];
	let mut check = check(&votes);
	check.full = false;
	// A dissent about an unmeasured figure does not count.
	if let Some(vote) = &mut check.committee[0].vote {
		vote.bandwidth = 4;
	}
	let of = |check: &Check, bound: &Profile| {
		let tally = Tally::of(check, Some(&old), bound);
		let found = profile(&tally).unwrap();
		(
			found.bandwidth,
			found.disk,
			found.cpu,
			results(&tally, check)[0],
		)
	};
	assert_eq!(of(&check, &ANYTHING), (4, 3, 1, Correct));
	// Not above a claim that was lowered since.
	let lower = Profile {
		bandwidth: 2,
		disk: 0,
		..ANYTHING
	};
	assert_eq!(of(&check, &lower), (2, 0, 1, Correct));
	check.full = true;
	assert_eq!(of(&check, &ANYTHING), (1, 1, 1, Dissenting));
}

/// Returns the bandwidth tier after a full check, and whether any seat dissented.
fn after(votes: &[Option<Verdict>], old: Option<&Profile>) -> (Option<u8>, bool) {
	let check = check(votes);
	let tally = Tally::of(&check, old, &ANYTHING);
	let dissents = results(&tally, &check).contains(&Dissenting);
	(profile(&tally).map(|profile| profile.bandwidth), dissents)
}

#[test]
fn without_opinions_of_more_than_half_any_opinion_agrees() {
	let old = Profile {
		bandwidth: 2,
		..ANYTHING
	};
	let (four, zero, silent) = (bandwidth(4), bandwidth(0), bandwidth(NONE));
	for votes in [
		[four, four, silent, silent, None],
		[four, four, silent, silent, silent],
		[zero, four, silent, silent, silent],
		[four, silent, silent, None, None],
	] {
		assert_eq!(after(&votes, Some(&old)), (Some(1), false), "{votes:?}");
		// A new worker has no tier to keep: it is verified nevertheless, at the lowest tier.
		assert_eq!(after(&votes, None), (Some(0), false), "{votes:?}");
	}
	// No seat loses by an undecided figure, and a seat without a vote still missed.
	let check = check(&[four, four, silent, silent, None]);
	let tally = Tally::of(&check, Some(&old), &ANYTHING);
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Correct, Missed]
	);
}

#[test]
fn opinions_of_more_than_half_are_held_to_each_other() {
	let (four, one, silent) = (bandwidth(4), bandwidth(1), bandwidth(NONE));
	let old = Profile {
		bandwidth: 2,
		..ANYTHING
	};
	let votes = [four, four, four, one, silent];
	assert_eq!(after(&votes, Some(&old)), (Some(4), true));
}

#[test]
fn only_what_stands_is_lowered_and_only_by_one_tier() {
	let silent = [bandwidth(NONE); 5];
	for tier in 0..=4u8 {
		let old = Profile {
			bandwidth: tier,
			..ANYTHING
		};
		let check = check(&silent);
		let tally = Tally::of(&check, Some(&old), &ANYTHING);
		let found = profile(&tally).unwrap();
		assert_eq!(found.bandwidth, tier.saturating_sub(1));
		// Everything else is as voted.
		let voted = Profile {
			bandwidth: found.bandwidth,
			cpu: 1,
			memory: 1,
			disk: 1,
			gpu_class: 0,
			gpu_count: 0,
		};
		assert_eq!(found, voted);
		assert!(tally.lacks_bandwidth(), "the next check is full");
	}
	let measured = check(&[UP(); 5]);
	assert!(!Tally::of(&measured, None, &ANYTHING).lacks_bandwidth());
}

#[test]
fn a_new_worker_is_verified_and_measured_again_when_the_lines_were_full() {
	use super::*;
	while_attesting(|| {
		attest(0, 0).unwrap();
		to_commit(0);
		let silent = one(0, bandwidth(NONE).unwrap());
		let loud = one(0, bandwidth(4).unwrap());
		let votes = [&silent, &silent, &loud];
		(0..3).for_each(|operator| commit(operator, 0, votes[operator as usize]).unwrap());
		to_reveal(0);
		(0..3).for_each(|operator| reveal(operator, 0, votes[operator as usize]).unwrap());
		let info = heard(|heard| heard.workers[&0].clone());
		assert_eq!(info.standings.now.value, WorkerState::Online);
		assert_eq!(info.profile.map(|profile| profile.bandwidth), Some(0));
		assert!(LastChecks::<Test>::get(0).unwrap().remeasure());
	});
}
