//! What the votes of a check come to. Pure: no storage, no runtime.

use crate::Check;
use kaisar_math::committee::{is_majority, is_near, median};
use kaisar_primitives::{Outcome, Profile, SeatResult, Verdict};

/// The outcome of a check, and what every seat did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
	/// What it came to.
	pub outcome: Outcome,
	/// More than half of the votes find the proof false, or class 0 where a class is verified.
	pub false_proof: bool,
	/// The votes agreed on a GPU.
	gpu: Option<(u16, u8)>,
	/// What the majority of those that found it online says of the proof.
	proof: bool,
	/// The medians before anything was carried over.
	medians: Profile,
	/// Bandwidth and disk count.
	full: bool,
	/// Liveness and service alone count.
	rented: bool,
	/// The seat whose lone vote "online" stands against a full tally of "offline".
	lone: Option<usize>,
}

impl Tally {
	/// Tallies the votes that were revealed. `old` is the profile that stands.
	pub fn of(check: &Check, old: Option<&Profile>) -> Self {
		let votes = || check.committee.iter().filter_map(|seat| seat.vote.as_ref());
		let online = || votes().filter(|vote| vote.online);
		let count = |of: &dyn Fn(&Verdict) -> bool| votes().filter(|vote| of(vote)).count() as u32;
		let size = u32::from(check.size);
		let cast = votes().count() as u32;
		let ups = online().count() as u32;
		let downs = cast.saturating_sub(ups);

		let tier = |of: &dyn Fn(&Verdict) -> u8| {
			let mut tiers = [0u8; kaisar_primitives::MAX_COMMITTEE as usize];
			let mut len = 0;
			for (slot, vote) in tiers.iter_mut().zip(online()) {
				*slot = of(vote);
				len += 1;
			}
			median(&mut tiers[..len]).unwrap_or(0)
		};
		let gpu = online()
			.map(|vote| (vote.gpu_class, vote.gpu_count))
			.find(|gpu| {
				is_majority(
					online()
						.filter(|vote| (vote.gpu_class, vote.gpu_count) == *gpu)
						.count() as u32,
					ups,
				)
			});
		let medians = Profile {
			bandwidth: tier(&|vote| vote.bandwidth),
			cpu: tier(&|vote| vote.cpu),
			memory: tier(&|vote| vote.memory),
			disk: tier(&|vote| vote.disk),
			gpu_class: gpu.map_or(0, |gpu| gpu.0),
			gpu_count: gpu.map_or(0, |gpu| gpu.1),
		};
		let proof = is_majority(online().filter(|vote| vote.proof).count() as u32, ups);

		let outcome = if is_majority(ups, size) {
			let mut profile = medians;
			if let Some(old) = old {
				if check.rented {
					profile = *old;
				} else {
					if !check.full {
						profile.bandwidth = old.bandwidth;
						profile.disk = old.disk;
					}
					if gpu.is_none() {
						profile.gpu_class = old.gpu_class;
						profile.gpu_count = old.gpu_count;
					}
				}
			}
			let service = is_majority(online().filter(|vote| vote.service).count() as u32, ups);
			Outcome::Online {
				profile: Some(profile),
				service,
			}
		} else if is_majority(downs, size) {
			Outcome::Offline
		} else {
			Outcome::NoConsensus
		};

		let had_gpu = old.is_some_and(|old| old.gpu_class != 0);
		let false_proof = !check.rented
			&& is_majority(
				count(&|vote| vote.online && (!vote.proof || (had_gpu && vote.gpu_class == 0))),
				size,
			);
		let full_tally = cast == size && check.committee.len() as u32 == size;
		let lone = if full_tally && ups == 1 && size > 2 {
			check
				.committee
				.iter()
				.position(|seat| seat.vote.is_some_and(|vote| vote.online))
		} else {
			None
		};

		Self {
			outcome,
			false_proof,
			gpu,
			proof,
			medians,
			full: check.full,
			rented: check.rented,
			lone,
		}
	}

	/// What the seat at `index` did, and whether it is the lone vote "online" of a full tally.
	pub fn seat(&self, check: &Check, index: usize) -> (SeatResult, bool) {
		let Some(vote) = check.committee.get(index).and_then(|seat| seat.vote) else {
			return (SeatResult::Missed, false);
		};
		let correct = match self.outcome {
			Outcome::NoConsensus => false,
			Outcome::Offline => !vote.online,
			Outcome::Online { service, .. } => vote.online && self.agrees(&vote, service),
		};
		(
			if correct {
				SeatResult::Correct
			} else {
				SeatResult::Dissenting
			},
			self.lone == Some(index),
		)
	}

	/// Whether a vote that found the worker online is close enough to the others of that opinion.
	fn agrees(&self, vote: &Verdict, service: bool) -> bool {
		if self.rented {
			return vote.service == service;
		}
		vote.proof == self.proof
			&& self
				.gpu
				.is_none_or(|gpu| gpu == (vote.gpu_class, vote.gpu_count))
			&& is_near(vote.cpu, self.medians.cpu)
			&& is_near(vote.memory, self.medians.memory)
			&& (!self.full
				|| (is_near(vote.bandwidth, self.medians.bandwidth)
					&& is_near(vote.disk, self.medians.disk)))
	}
}
