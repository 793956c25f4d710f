//! What votes come to.

use crate::{mock::good, *};
use kaisar_primitives::{Outcome, Profile, SeatResult, Verdict};

/// A check with a seat for each vote, `None` for one that was not revealed.
fn check(votes: &[Option<Verdict>]) -> Check {
	Check {
		round: 0,
		round_start: 0,
		ends: 30,
		attested_at: 1,
		root: [0; 32],
		size: 5,
		committee: votes
			.iter()
			.enumerate()
			.map(|(operator, vote)| Seat {
				operator: operator as u32,
				number: 0,
				vote: *vote,
			})
			.collect::<Vec<_>>()
			.try_into()
			.unwrap(),
		verify_only: false,
		full: true,
		rented: false,
		max_gap: 100,
	}
}

fn gpu(class: u16, count: u8) -> Verdict {
	Verdict {
		gpu_class: class,
		gpu_count: count,
		..good()
	}
}

fn profile(tally: &Tally) -> Profile {
	match tally.outcome {
		Outcome::Online {
			profile: Some(profile),
			..
		} => profile,
		other => panic!("{other:?}"),
	}
}

fn results(tally: &Tally, check: &Check) -> Vec<SeatResult> {
	(0..check.committee.len())
		.map(|index| tally.seat(check, index).0)
		.collect()
}

use SeatResult::{Correct, Dissenting, Missed};

#[test]
fn majorities_are_of_the_committees_size() {
	let up = Some(good());
	let down = Some(Verdict::OFFLINE);
	let outcome = |votes: &[Option<Verdict>]| Tally::of(&check(votes), None).outcome;
	assert!(matches!(
		outcome(&[up, up, up, None, None]),
		Outcome::Online { .. }
	));
	assert!(matches!(
		outcome(&[up, up, up, down, down]),
		Outcome::Online { .. }
	));
	assert_eq!(outcome(&[up, up, down, down, None]), Outcome::NoConsensus);
	assert_eq!(outcome(&[down, down, down, up, None]), Outcome::Offline);
	assert_eq!(
		outcome(&[up, up]),
		Outcome::NoConsensus,
		"two seats filled of five"
	);
	assert_eq!(outcome(&[]), Outcome::NoConsensus);
}

#[test]
fn tiers_are_medians_and_one_step_is_no_dissent() {
	let cpu = |tier| {
		Some(Verdict {
			cpu: tier,
			..good()
		})
	};
	let check = check(&[cpu(0), cpu(2), cpu(2), cpu(3), cpu(4)]);
	let tally = Tally::of(&check, None);
	assert_eq!(profile(&tally).cpu, 2);
	assert_eq!(
		results(&tally, &check),
		[Dissenting, Correct, Correct, Correct, Dissenting]
	);
}

#[test]
fn offline_votes_do_not_pull_tiers_down() {
	let check = check(&[
		Some(good()),
		Some(good()),
		Some(good()),
		Some(Verdict::OFFLINE),
		None,
	]);
	let tally = Tally::of(&check, None);
	assert_eq!(profile(&tally).cpu, 1);
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Dissenting, Missed]
	);
}

#[test]
fn a_gpu_needs_more_than_half() {
	let check = check(&[
		Some(gpu(1, 8)),
		Some(gpu(1, 8)),
		Some(gpu(1, 8)),
		Some(gpu(0, 0)),
		None,
	]);
	let tally = Tally::of(&check, None);
	assert_eq!(
		(profile(&tally).gpu_class, profile(&tally).gpu_count),
		(1, 8)
	);
	assert_eq!(results(&tally, &check)[3], Dissenting);
}

#[test]
fn without_a_majority_the_old_gpu_stands_and_nobody_is_wrong() {
	let old = Profile {
		gpu_class: 1,
		gpu_count: 4,
		..Default::default()
	};
	let check = check(&[
		Some(gpu(1, 4)),
		Some(gpu(1, 3)),
		Some(gpu(0, 0)),
		Some(gpu(2, 4)),
		None,
	]);
	let first = Tally::of(&check, Some(&old));
	assert_eq!(
		(profile(&first).gpu_class, profile(&first).gpu_count),
		(1, 4)
	);
	assert_eq!(
		results(&first, &check),
		[Correct, Correct, Correct, Correct, Missed]
	);
}

#[test]
fn bandwidth_and_disk_are_carried_over_unless_measured() {
	let old = Profile {
		bandwidth: 4,
		disk: 3,
		..Default::default()
	};
	let votes = [Some(good()); 5];
	let mut check = check(&votes);
	check.full = false;
	// A dissent in what was not measured is none.
	if let Some(vote) = &mut check.committee[0].vote {
		vote.bandwidth = 4;
	}
	let tally = Tally::of(&check, Some(&old));
	assert_eq!(
		(
			profile(&tally).bandwidth,
			profile(&tally).disk,
			profile(&tally).cpu
		),
		(4, 3, 1)
	);
	assert_eq!(results(&tally, &check)[0], Correct);
	check.full = true;
	let tally = Tally::of(&check, Some(&old));
	assert_eq!((profile(&tally).bandwidth, profile(&tally).disk), (1, 1));
	assert_eq!(results(&tally, &check)[0], Dissenting);
}

#[test]
fn a_rented_worker_keeps_its_profile_and_is_judged_on_its_service() {
	let old = Profile {
		gpu_class: 1,
		gpu_count: 4,
		cpu: 4,
		..Default::default()
	};
	let dead = Some(Verdict {
		service: false,
		..good()
	});
	let mut check = check(&[dead, dead, dead, Some(good()), None]);
	check.rented = true;
	let tally = Tally::of(&check, Some(&old));
	assert_eq!(profile(&tally), old);
	assert!(matches!(
		tally.outcome,
		Outcome::Online { service: false, .. }
	));
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Dissenting, Missed]
	);
	assert!(!tally.false_proof, "a rented worker is not benchmarked");
}

#[test]
fn a_false_proof_is_found_by_more_than_half_of_the_size() {
	let bad = Some(Verdict {
		proof: false,
		..good()
	});
	let up = Some(good());
	let of = |votes: &[Option<Verdict>]| Tally::of(&check(votes), None).false_proof;
	assert!(of(&[bad, bad, bad, up, up]));
	assert!(!of(&[bad, bad, up, up, up]));
	let offline = Some(Verdict::OFFLINE);
	assert!(
		!of(&[offline; 5]),
		"who is offline has shown no false proof"
	);
	let had = Profile {
		gpu_class: 1,
		gpu_count: 1,
		..Default::default()
	};
	let none = Some(gpu(0, 0));
	let check = check(&[none, none, none, Some(gpu(1, 1)), None]);
	assert!(Tally::of(&check, Some(&had)).false_proof);
	assert!(!Tally::of(&check, None).false_proof);
}

#[test]
fn an_incorrect_calculation_is_the_lone_vote_online_of_a_full_tally() {
	let up = Some(good());
	let down = Some(Verdict::OFFLINE);
	let lone = |votes: &[Option<Verdict>]| {
		let check = check(votes);
		let tally = Tally::of(&check, None);
		(0..check.committee.len())
			.filter(|index| tally.seat(&check, *index).1)
			.collect::<Vec<_>>()
	};
	assert_eq!(lone(&[down, up, down, down, down]), [1]);
	assert!(
		lone(&[down, up, down, down, None]).is_empty(),
		"one did not vote"
	);
	assert!(lone(&[down, up, up, down, down]).is_empty(), "two of them");
	assert!(
		lone(&[up, down, up, up, up]).is_empty(),
		"a vote offline never makes one"
	);
	assert!(
		lone(&[down, up, down, down]).is_empty(),
		"a seat was not filled"
	);
}
