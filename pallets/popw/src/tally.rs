//! The tally of a check's votes. Pure: no storage, no runtime.
//!
//! Every decision needs more than half of the committee's size, whoever missed or abstained. So the most
//! that two seats beside a dead one can achieve is that nothing is decided. Votes count by their seats'
//! weight.

use crate::{Check, Seat};
use alloc::vec::Vec;
use kaisar_math::{
	committee::{exceeds_three_quarters, is_majority, is_near, reached},
	tiers::MAX_TIER,
};
use kaisar_primitives::{Outcome, Profile, SeatResult, Verdict};

/// The outcome of a check, and the result of every seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
	/// The outcome.
	pub outcome: Outcome,
	/// Whether votes of more than half of the size found an opening that contradicts the attested root.
	pub false_proof: bool,
	/// Whether votes of more than three quarters of the size found a fault that is slashed.
	pub slashes: bool,
	/// The hardware by vote; `None` if undecided.
	found: Option<VotedHardware>,
	/// Whether bandwidth and disk count.
	full: bool,
	/// Whether only presence and service count.
	rented: bool,
	/// The seat whose vote "online" is the only one against all others' "offline".
	lone: Option<usize>,
}

/// Hardware by vote, before it is bounded by the claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct VotedHardware {
	profile: Profile,
	/// Whether votes of more than half of the size have an opinion on the bandwidth. Otherwise no vote
	/// agrees or disagrees about it: the profile has the current tier, lowered by one.
	has_bandwidth: bool,
}

/// Votes with their seats' weights.
type Weighed<'a> = Vec<(&'a Verdict, u32)>;

fn weight_of(votes: &Weighed, of: impl Fn(&Verdict) -> bool) -> u32 {
	votes
		.iter()
		.filter(|(vote, _)| of(vote))
		.fold(0, |sum, (_, weight)| sum.saturating_add(*weight))
}

impl Tally {
	/// Tallies the revealed votes. `old` is the current profile, `bound` the best one that the worker's
	/// claim allows.
	pub fn of(check: &Check, old: Option<&Profile>, bound: &Profile) -> Self {
		let size = u32::from(check.size);
		let votes: Weighed = check
			.committee
			.iter()
			.filter_map(|seat: &Seat| Some((seat.vote.as_ref()?, u32::from(seat.weight))))
			.collect();
		let enough = check.committee.len() >= usize::from(check.min_operators);
		let decided = |weight| enough && is_majority(weight, size);

		let ups = weight_of(&votes, |vote| vote.online);
		let downs = weight_of(&votes, |vote| !vote.online);
		let false_votes = weight_of(&votes, |vote| vote.online && !vote.proof);
		let silent = weight_of(&votes, |vote| vote.online && !vote.service);
		let false_proof = !check.rented && decided(false_votes);

		let found = (!check.rented && decided(ups))
			.then(|| hardware(check, &votes, old))
			.flatten();
		let outcome = if decided(ups) {
			Outcome::Online {
				profile: found.map(|found| stands(check, found.profile, old).lesser(bound)),
				service: !(check.rented && decided(silent)),
			}
		} else if decided(downs) {
			Outcome::Offline
		} else {
			Outcome::NoConsensus
		};
		let slashes = match outcome {
			Outcome::Offline => exceeds_three_quarters(downs, size),
			Outcome::Online { .. } => false_proof && exceeds_three_quarters(false_votes, size),
			Outcome::NoConsensus => false,
		};

		let all_voted = votes.len() == check.committee.len();
		let one_up = votes.iter().filter(|(vote, _)| vote.online).count() == 1;
		let lone = (outcome == Outcome::Offline && all_voted && one_up)
			.then(|| {
				check
					.committee
					.iter()
					.position(|seat| seat.vote.is_some_and(|vote| vote.online))
			})
			.flatten();

		Self {
			outcome,
			false_proof,
			slashes,
			found,
			full: check.full,
			rented: check.rented,
			lone,
		}
	}

	/// Returns whether bandwidth was to be measured but too few checkers had an opinion, as when their lines
	/// are full.
	pub(crate) fn lacks_bandwidth(&self) -> bool {
		self.full && self.found.is_some_and(|found| !found.has_bandwidth)
	}

	/// Returns the result of the seat at `index`, and whether it is the lone vote "online".
	pub fn seat(&self, check: &Check, index: usize) -> (SeatResult, bool) {
		let Some(vote) = check.committee.get(index).and_then(|seat| seat.vote) else {
			return (SeatResult::Missed, false);
		};
		let result = match self.outcome {
			Outcome::Online { service, .. } if vote.online => self.judge(&vote, service),
			Outcome::Offline if !vote.online => SeatResult::Correct,
			_ => SeatResult::Dissenting,
		};
		(result, self.lone == Some(index))
	}

	/// Judges a vote "online" on an online worker.
	fn judge(&self, vote: &Verdict, service: bool) -> SeatResult {
		let correct = if self.rented {
			vote.service == service
		} else if vote.proof == self.false_proof {
			false
		} else if !vote.timed {
			return SeatResult::Abstained;
		} else {
			self.found
				.is_none_or(|found| agrees(vote, &found, self.full))
		};
		if correct {
			SeatResult::Correct
		} else {
			SeatResult::Dissenting
		}
	}
}

/// Returns whether a vote agrees with all of the hardware: with the class exactly, with count and tiers
/// within one step.
fn agrees(vote: &Verdict, found: &VotedHardware, full: bool) -> bool {
	let VotedHardware {
		profile: found,
		has_bandwidth,
	} = found;
	let bandwidth = || {
		!has_bandwidth
			|| vote.bandwidth == Verdict::NO_OPINION
			|| is_near(tier(vote.bandwidth), found.bandwidth)
	};
	vote.gpu_class == found.gpu_class
		&& is_near(count(vote, found.gpu_class), found.gpu_count)
		&& is_near(tier(vote.cpu), found.cpu)
		&& is_near(tier(vote.memory), found.memory)
		&& (!full || (bandwidth() && is_near(tier(vote.disk), found.disk)))
}

fn tier(vote: u8) -> u8 {
	vote.min(MAX_TIER)
}

/// Returns the number of GPUs of a class by a vote.
fn count(vote: &Verdict, class: u16) -> u8 {
	if class != 0 && vote.gpu_class == class {
		vote.gpu_count
	} else {
		0
	}
}

/// Returns the hardware by the timed votes, if votes of more than half of the size agree with all of it.
fn hardware(check: &Check, votes: &Weighed, old: Option<&Profile>) -> Option<VotedHardware> {
	let size = u32::from(check.size);
	let timed: Weighed = votes
		.iter()
		.filter(|(vote, _)| vote.online && vote.timed)
		.copied()
		.collect();
	let gpu_class = timed
		.iter()
		.map(|(vote, _)| vote.gpu_class)
		.find(|class| is_majority(weight_of(&timed, |vote| vote.gpu_class == *class), size))?;
	let reach = |of: &dyn Fn(&Verdict) -> Option<u8>| {
		let values: Vec<(u8, u32)> = timed
			.iter()
			.filter_map(|(vote, weight)| Some((of(vote)?, *weight)))
			.collect();
		reached(&values, size)
	};
	let opinion =
		|vote: &Verdict| (vote.bandwidth != Verdict::NO_OPINION).then(|| tier(vote.bandwidth));
	let opinions = weight_of(&timed, |vote| opinion(vote).is_some());
	let has_bandwidth = is_majority(opinions, size);
	let bandwidth = if has_bandwidth {
		reach(&opinion)
	} else {
		old.map_or(0, |old| old.bandwidth.saturating_sub(1))
	};
	let profile = Profile {
		bandwidth,
		cpu: reach(&|vote| Some(tier(vote.cpu))),
		memory: reach(&|vote| Some(tier(vote.memory))),
		disk: reach(&|vote| Some(tier(vote.disk))),
		gpu_class,
		gpu_count: reach(&|vote| Some(count(vote, gpu_class))),
	};
	let found = VotedHardware {
		profile,
		has_bandwidth,
	};
	let agreeing = weight_of(&timed, |vote| agrees(vote, &found, check.full));
	is_majority(agreeing, size).then_some(found)
}

/// Returns the profile after a check: tiers that were not measured are carried over.
fn stands(check: &Check, found: Profile, old: Option<&Profile>) -> Profile {
	match old {
		Some(old) if !check.full => Profile {
			bandwidth: old.bandwidth,
			disk: old.disk,
			..found
		},
		_ => found,
	}
}
