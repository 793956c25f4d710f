//! Tests of the tally.

use crate::{mock::good, *};
use kaisar_primitives::{Outcome, Profile, SeatResult, Verdict};
use proptest::prelude::*;

/// Returns a check with a seat of weight 1 for each vote, `None` for an unrevealed one.
pub(super) fn check(votes: &[Option<Verdict>]) -> Check {
	weighed(&votes.iter().map(|vote| (*vote, 1)).collect::<Vec<_>>())
}

/// Returns a check of size 5, or more if the weights sum to more.
fn weighed(votes: &[(Option<Verdict>, u8)]) -> Check {
	let weight: u8 = votes.iter().map(|(_, weight)| weight).sum();
	Check {
		round: 0,
		round_start: 0,
		ends: 30,
		attested_at: 1,
		root: [0; 32],
		size: weight.max(5),
		min_operators: 3,
		committee: votes
			.iter()
			.enumerate()
			.map(|(operator, (vote, weight))| Seat {
				operator: operator as u32,
				number: 0,
				weight: *weight,
				vote: *vote,
			})
			.collect::<Vec<_>>()
			.try_into()
			.unwrap(),
		full: true,
		rented: false,
		remeasure: false,
		credit: 0,
	}
}

/// The profile that a claim of everything allows, with GPUs of class 1.
pub(super) const ANYTHING: Profile = Profile {
	bandwidth: 4,
	cpu: 4,
	memory: 4,
	disk: 4,
	gpu_class: 1,
	gpu_count: 16,
};

pub(super) const UP: fn() -> Option<Verdict> = || Some(good());
const DOWN: Option<Verdict> = Some(Verdict::OFFLINE);

fn gpu(class: u16, count: u8) -> Option<Verdict> {
	Some(Verdict {
		gpu_class: class,
		gpu_count: count,
		..good()
	})
}

fn cpu(tier: u8) -> Option<Verdict> {
	Some(Verdict {
		cpu: tier,
		..good()
	})
}

fn untimed() -> Option<Verdict> {
	Some(Verdict {
		timed: false,
		..good()
	})
}

fn false_proof() -> Option<Verdict> {
	Some(Verdict {
		proof: false,
		..good()
	})
}

fn tally(check: &Check) -> Tally {
	Tally::of(check, None, &ANYTHING)
}

pub(super) fn profile(tally: &Tally) -> Option<Profile> {
	match tally.outcome {
		Outcome::Online { profile, .. } => profile,
		other => panic!("{other:?}"),
	}
}

pub(super) fn results(tally: &Tally, check: &Check) -> Vec<SeatResult> {
	(0..check.committee.len())
		.map(|index| tally.seat(check, index).0)
		.collect()
}

use SeatResult::{Abstained, Correct, Dissenting, Missed};

#[test]
fn majorities_are_of_the_committees_size() {
	let up = UP();
	let outcome = |votes: &[Option<Verdict>]| tally(&check(votes)).outcome;
	assert!(matches!(
		outcome(&[up, up, up, None, None]),
		Outcome::Online { .. }
	));
	assert!(matches!(
		outcome(&[up, up, up, DOWN, DOWN]),
		Outcome::Online { .. }
	));
	assert_eq!(outcome(&[up, up, DOWN, DOWN, None]), Outcome::NoConsensus);
	assert_eq!(outcome(&[DOWN, DOWN, DOWN, up, None]), Outcome::Offline);
	assert_eq!(
		outcome(&[up, up]),
		Outcome::NoConsensus,
		"two seats filled of five"
	);
	assert_eq!(outcome(&[]), Outcome::NoConsensus);
}

#[test]
fn votes_count_by_weight() {
	let up = UP();
	let of = |votes: &[(Option<Verdict>, u8)]| tally(&weighed(votes)).outcome;
	assert!(matches!(
		of(&[(up, 3), (DOWN, 1), (DOWN, 1)]),
		Outcome::Online { .. }
	));
	assert_eq!(of(&[(up, 1), (up, 1), (DOWN, 3)]), Outcome::Offline);
	// An added seat makes the size six: three are not more than half of it.
	assert_eq!(of(&[(up, 3), (DOWN, 2), (DOWN, 1)]), Outcome::NoConsensus);
}

#[test]
fn fewer_than_three_operators_decide_nothing() {
	let up = UP();
	for votes in [&[(up, 5)][..], &[(up, 3), (up, 2)], &[(DOWN, 4), (DOWN, 1)]] {
		assert_eq!(tally(&weighed(votes)).outcome, Outcome::NoConsensus);
	}
	let mut check = weighed(&[(up, 3), (up, 2)]);
	check.min_operators = 2;
	assert!(matches!(tally(&check).outcome, Outcome::Online { .. }));
}

#[test]
fn two_colluding_seats_beside_a_served_one_award_nothing() {
	// The worker serves two friends and one honest seat, and refuses the other two. The friends
	// claim 255 GPUs of a class for a machine that claims none.
	let lie = Some(Verdict {
		bandwidth: 4,
		cpu: 4,
		memory: 4,
		disk: 4,
		gpu_class: 1,
		gpu_count: 255,
		..good()
	});
	let claim = Profile {
		bandwidth: 1,
		cpu: 1,
		memory: 1,
		disk: 1,
		gpu_class: 0,
		gpu_count: 0,
	};
	for other in [DOWN, None] {
		let check = check(&[lie, lie, UP(), other, other]);
		let tally = Tally::of(&check, Some(&claim), &claim);
		assert_eq!(profile(&tally), None, "nothing is decided");
		assert!(!tally.slashes && !tally.false_proof);
	}
	// Even all five of them do not exceed the claim.
	let tally = Tally::of(&check(&[lie; 5]), Some(&claim), &claim);
	assert_eq!(profile(&tally), Some(claim));
}

#[test]
fn tiers_are_what_more_than_half_reach_and_one_step_is_no_dissent() {
	let check = check(&[cpu(1), cpu(2), cpu(2), cpu(3), cpu(4)]);
	let tally = tally(&check);
	assert_eq!(profile(&tally).map(|profile| profile.cpu), Some(2));
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Correct, Dissenting]
	);
}

#[test]
fn missing_votes_and_offline_ones_count_as_nothing() {
	// The highest tier that three of five reach, though two of the three voted for more.
	let check = check(&[cpu(1), cpu(2), cpu(2), DOWN, None]);
	let tally = tally(&check);
	assert_eq!(profile(&tally).map(|profile| profile.cpu), Some(1));
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Dissenting, Missed]
	);
}

#[test]
fn tiers_beyond_the_table_are_the_highest() {
	let tally = tally(&check(&[cpu(200), cpu(4), cpu(3), None, None]));
	assert_eq!(profile(&tally).map(|profile| profile.cpu), Some(3));
	let votes = [cpu(200); 5];
	let tally = self::tally(&check(&votes));
	assert_eq!(profile(&tally).map(|profile| profile.cpu), Some(4));
}

#[test]
fn a_class_needs_more_than_half_of_the_size_class_0_too() {
	let gpus = |votes: &[Option<Verdict>]| {
		profile(&tally(&check(votes))).map(|profile| (profile.gpu_class, profile.gpu_count))
	};
	let (one, none) = (gpu(1, 8), gpu(0, 0));
	assert_eq!(gpus(&[one, one, one, none, None]), Some((1, 8)));
	assert_eq!(gpus(&[one, one, none, DOWN, None]), None);
	assert_eq!(gpus(&[one, one, none, none, None]), None);
	assert_eq!(gpus(&[none, none, none, one, one]), Some((0, 0)));
	// The count is the one that more than half reach.
	assert_eq!(
		gpus(&[gpu(1, 8), gpu(1, 8), gpu(1, 7), None, None]),
		Some((1, 7))
	);
	// A count far from it does not agree.
	assert_eq!(gpus(&[gpu(1, 8), gpu(1, 8), gpu(1, 4), None, None]), None);
}

#[test]
fn hardware_is_decided_by_votes_that_agree_with_all_of_it() {
	// Each figure has a majority, but no majority agrees with all figures.
	let mut high_cpu = good();
	high_cpu.cpu = 4;
	let mut high_memory = good();
	high_memory.memory = 4;
	let mut high_both = high_cpu;
	high_both.memory = 4;
	let check = check(&[
		Some(high_cpu),
		Some(high_memory),
		Some(high_both),
		None,
		None,
	]);
	let tally = tally(&check);
	assert_eq!(profile(&tally), None);
	// No vote is wrong about an undecided figure.
	assert_eq!(
		results(&tally, &check),
		[Correct, Correct, Correct, Missed, Missed]
	);
}

#[test]
fn two_votes_beside_a_dead_seat_take_no_gpu_and_let_none_stand_unproved() {
	// An honest worker with a GPU; two hostile seats vote that it has none, one seat is dead.
	let old = ANYTHING;
	let honest = gpu(1, 16).map(|vote| Verdict {
		bandwidth: 4,
		cpu: 4,
		memory: 4,
		disk: 4,
		..vote
	});
	let check = check(&[honest, honest, gpu(0, 0), gpu(0, 0), None]);
	let tally = Tally::of(&check, Some(&old), &ANYTHING);
	// The known profile stays, and `None` credits no time and verifies nothing.
	assert_eq!(profile(&tally), None);
	assert!(!tally.false_proof && !tally.slashes);
}

#[test]
fn untimed_votes_say_nothing_of_hardware() {
	let up = UP();
	// Three of five find it online; only two could judge times.
	let check_of_two = check(&[up, up, untimed(), None, None]);
	let tally_of_two = tally(&check_of_two);
	assert_eq!(profile(&tally_of_two), None);
	assert_eq!(
		results(&tally_of_two, &check_of_two),
		[Correct, Correct, Abstained, Missed, Missed]
	);
	let check_of_three = check(&[up, up, up, untimed(), DOWN]);
	let tally_of_three = tally(&check_of_three);
	assert!(profile(&tally_of_three).is_some());
	assert_eq!(
		results(&tally_of_three, &check_of_three),
		[Correct, Correct, Correct, Abstained, Dissenting]
	);
	// Offline needs no judgment of times.
	let check_of_down = check(&[DOWN, DOWN, DOWN, untimed(), None]);
	assert_eq!(
		results(&tally(&check_of_down), &check_of_down),
		[Correct, Correct, Correct, Dissenting, Missed]
	);
}

#[test]
fn an_untimed_vote_counts_for_the_proof() {
	let untimed_false = Some(Verdict {
		timed: false,
		proof: false,
		..good()
	});
	let check = check(&[false_proof(), false_proof(), untimed_false, untimed(), UP()]);
	let tally = tally(&check);
	assert!(tally.false_proof);
	assert_eq!(
		results(&tally, &check)[2..],
		[Abstained, Dissenting, Dissenting]
	);
}

#[test]
fn a_rented_worker_is_judged_on_its_service_alone() {
	let dead = Some(Verdict {
		service: false,
		timed: false,
		..good()
	});
	let of = |votes: &[Option<Verdict>]| {
		let mut check = check(votes);
		check.rented = true;
		check.full = false;
		let tally = Tally::of(&check, Some(&ANYTHING), &ANYTHING);
		assert!(!tally.false_proof, "a rented worker is not benchmarked");
		(tally.outcome, results(&tally, &check))
	};
	let online = |service| Outcome::Online {
		profile: None,
		service,
	};
	assert_eq!(
		of(&[dead, dead, dead, untimed(), None]),
		(
			online(false),
			vec![Correct, Correct, Correct, Dissenting, Missed]
		)
	);
	// Two of five do not end an order; checkers that judge no times are paid.
	assert_eq!(
		of(&[dead, dead, untimed(), untimed(), untimed()]),
		(
			online(true),
			vec![Dissenting, Dissenting, Correct, Correct, Correct]
		)
	);
	assert_eq!(of(&[false_proof(); 5]).0, online(true));
	// A worker that is not rented has no service to answer.
	assert!(matches!(
		tally(&check(&[dead; 5])).outcome,
		Outcome::Online { service: true, .. }
	));
}

#[test]
fn a_false_proof_is_an_opening_that_contradicts_the_root() {
	let (bad, up) = (false_proof(), UP());
	let of = |votes: &[Option<Verdict>]| {
		let tally = tally(&check(votes));
		(tally.false_proof, tally.slashes)
	};
	assert_eq!(of(&[bad, bad, bad, up, up]), (true, false));
	assert_eq!(of(&[bad, bad, up, up, up]), (false, false));
	assert_eq!(of(&[bad, bad, None, None, None]), (false, false));
	assert_eq!(
		of(&[DOWN; 5]),
		(false, true),
		"a worker that is offline has shown no false proof"
	);
	// A lost or weaker GPU lowers the profile but is not a fraud.
	let check = check(&[gpu(0, 0); 5]);
	let tally = Tally::of(&check, Some(&ANYTHING), &ANYTHING);
	assert!(!tally.false_proof && !tally.slashes);
	assert_eq!(profile(&tally).map(|profile| profile.gpu_class), Some(0));
}

#[test]
fn a_slash_needs_more_than_three_quarters_of_the_size() {
	let (bad, up) = (false_proof(), UP());
	let slashes = |votes: &[Option<Verdict>]| tally(&check(votes)).slashes;
	assert!(slashes(&[DOWN, DOWN, DOWN, DOWN, up]));
	assert!(!slashes(&[DOWN, DOWN, DOWN, up, up]));
	assert!(!slashes(&[DOWN, DOWN, DOWN, None, None]));
	assert!(slashes(&[bad, bad, bad, bad, None]));
	assert!(!slashes(&[bad, bad, bad, None, None]));
	// Three of four, one of which was added: not more than three quarters.
	let check = weighed(&[(DOWN, 3), (DOWN, 1), (up, 1), (up, 1)]);
	assert_eq!(tally(&check).outcome, Outcome::Offline);
	assert!(!tally(&check).slashes);
}

#[test]
fn an_incorrect_calculation_is_one_operators_vote_online_against_all_others() {
	let up = UP();
	let lone = |votes: &[(Option<Verdict>, u8)]| {
		let check = weighed(votes);
		let tally = tally(&check);
		(0..check.committee.len())
			.filter(|index| tally.seat(&check, *index).1)
			.collect::<Vec<_>>()
	};
	let one =
		|votes: &[Option<Verdict>]| lone(&votes.iter().map(|vote| (*vote, 1)).collect::<Vec<_>>());
	assert_eq!(one(&[DOWN, up, DOWN, DOWN, DOWN]), [1]);
	assert!(
		one(&[DOWN, up, DOWN, DOWN, None]).is_empty(),
		"one did not vote"
	);
	assert!(one(&[DOWN, up, up, DOWN, DOWN]).is_empty(), "two of them");
	assert!(
		one(&[up, DOWN, up, up, up]).is_empty(),
		"a vote offline never makes one"
	);
	// Counted by operators, whatever their weights.
	assert_eq!(lone(&[(up, 2), (DOWN, 2), (DOWN, 1)]), [0]);
	assert!(
		lone(&[(up, 3), (DOWN, 1), (DOWN, 1)]).is_empty(),
		"the outcome is online"
	);
}

fn verdict() -> impl Strategy<Value = Option<Verdict>> {
	let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
	let tiers = (prop_oneof![0..6u8, Just(255u8)], 0..6u8, 0..6u8, 0..6u8);
	prop::option::weighted(0.9, (flags, tiers, 0..3u16, 0..20u8)).prop_map(|drawn| {
		drawn.map(
			|((online, service, timed, proof), (bandwidth, cpu, memory, disk), class, count)| {
				Verdict {
					// Mostly online, so that something is decided.
					online: online || timed,
					service,
					timed,
					proof,
					bandwidth,
					cpu,
					memory,
					disk,
					gpu_class: class,
					gpu_count: count,
				}
			},
		)
	})
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(512),
		failure_persistence: None,
		..Default::default()
	})]

	/// Asserts that nothing is decided, whatever at most half of the size votes while the others miss.
	#[test]
	fn no_half_of_a_committee_decides_anything(
		votes in prop::collection::vec((verdict(), 1..3u8), 1..8), rented: bool, full: bool,
	) {
		let mut check = weighed(&votes);
		(check.rented, check.full) = (rented, full);
		let cast: u8 = check
			.committee
			.iter()
			.filter(|seat| seat.vote.is_some())
			.map(|seat| seat.weight)
			.sum();
		check.size = check.size.max(cast * 2);
		let tally = tally(&check);
		prop_assert_eq!(tally.outcome, Outcome::NoConsensus);
		prop_assert!(!tally.false_proof && !tally.slashes);
	}

	/// Asserts that a profile is within the claim, that more than half of the size named its class and is
	/// correct about it, and that three quarters stand behind every slash.
	#[test]
	fn a_profile_is_within_the_claim_and_has_a_majority_behind_it(
		votes in prop::collection::vec((verdict(), 1..3u8), 1..8), full: bool, claim in 0..3u16,
	) {
		let mut check = weighed(&votes);
		check.full = full;
		let bound = Profile { bandwidth: 2, cpu: 3, memory: 1, disk: 2, gpu_class: claim, gpu_count: 4 };
		let old = Profile { gpu_class: claim, gpu_count: 9, ..ANYTHING };
		let tally = Tally::of(&check, Some(&old), &bound);
		let size = u32::from(check.size);
		let weight_of = |of: &dyn Fn(&Verdict) -> bool| -> u32 {
			check
				.committee
				.iter()
				.filter(|seat| seat.vote.as_ref().is_some_and(of))
				.map(|seat| u32::from(seat.weight))
				.sum()
		};
		if let Outcome::Online { profile: Some(profile), .. } = tally.outcome {
			prop_assert_eq!(profile.lesser(&bound), profile);
			let class = profile.gpu_class;
			if class != 0 {
				let named = weight_of(&|vote| {
					vote.online && vote.timed && vote.gpu_class == class && vote.gpu_count >= profile.gpu_count
				});
				prop_assert!(named * 2 > size);
			}
			let judged = weight_of(&|vote| vote.online && vote.timed && vote.cpu >= profile.cpu);
			prop_assert!(judged * 2 > size);
		}
		if tally.slashes {
			let found = weight_of(&|vote| !vote.online).max(weight_of(&|vote| !vote.proof));
			prop_assert!(found * 4 > size * 3);
		}
		// A paid seat had voted for the outcome.
		for (index, seat) in check.committee.iter().enumerate() {
			let (result, lone) = tally.seat(&check, index);
			prop_assert_eq!(result == Missed, seat.vote.is_none());
			if result == Correct {
				let online = matches!(tally.outcome, Outcome::Online { .. });
				prop_assert!(tally.outcome != Outcome::NoConsensus);
				prop_assert_eq!(seat.vote.map(|vote| vote.online), Some(online));
			}
			prop_assert!(!lone || tally.outcome == Outcome::Offline);
		}
	}
}
