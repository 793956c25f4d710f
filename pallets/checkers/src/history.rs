//! What something was in each round that is in flight. Pure.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, pallet_prelude::ConstU32};
use kaisar_primitives::{Dated, RoundIndex};
use scale_info::TypeInfo;

/// Maximum number of earlier values: Popw has at most eight rounds in flight, and four that are about to start.
/// With parameters as they are set, four spot rounds run beside a census.
pub const MAX_EARLIER: u32 = 12;

/// A value that changes at the start of rounds, with as many earlier ones as rounds in flight
/// ([`Checks::in_flight`](kaisar_primitives::Checks::in_flight)) can ask for.
///
/// An earlier value that counts in none of these rounds is dropped at the next change. So what is kept
/// grows with the rounds that run, and not with the time since the oldest of them: a census of hours
/// needs one value.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct History<V> {
	/// The newest value. It may count only from a later round on.
	pub now: Dated<V>,
	/// The values before it, the oldest first.
	pub earlier: BoundedVec<Dated<V>, ConstU32<MAX_EARLIER>>,
}

impl<V: PartialEq> History<V> {
	/// A first value, of all rounds.
	pub fn new(value: V) -> Self {
		Self {
			now: Dated { value, since: 0 },
			earlier: BoundedVec::new(),
		}
	}

	/// Returns the value in `round`, or the oldest value that is still known.
	pub fn at(&self, round: RoundIndex) -> &V {
		let oldest = self.earlier.first().unwrap_or(&self.now);
		let in_force = self.newest_first().find(|dated| dated.since <= round);
		&in_force.unwrap_or(oldest).value
	}

	/// Returns all values, the newest first.
	pub fn values(&self) -> impl Iterator<Item = &V> {
		self.newest_first().map(|dated| &dated.value)
	}

	/// Whether the values are in the order of their rounds.
	#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
	pub(crate) fn is_ordered(&self) -> bool {
		let dates = || self.newest_first().map(|dated| dated.since);
		dates()
			.zip(dates().skip(1))
			.all(|(later, earlier)| later > earlier)
	}

	/// Sets the value from round `next` on, where `in_flight` are the at most [`MAX_EARLIER`] rounds before it
	/// that are not over.
	pub fn change(&mut self, value: V, next: RoundIndex, in_flight: &[RoundIndex]) {
		if self.now.since >= next {
			// The last change never counted.
			self.now.value = value;
			let undone = |before: &Dated<V>| before.value == self.now.value;
			if self.earlier.last().is_some_and(undone)
				&& let Some(before) = self.earlier.pop()
			{
				self.now = before;
			}
			return;
		}
		let last = core::mem::replace(&mut self.now, Dated { value, since: next });
		let mut until = next;
		let mut needed: alloc::vec::Vec<_> = core::iter::once(last)
			.chain(core::mem::take(&mut self.earlier).into_iter().rev())
			.filter(|dated| {
				let counts = dated.since..core::mem::replace(&mut until, dated.since);
				in_flight.iter().any(|round| counts.contains(round))
			})
			.take(MAX_EARLIER as usize)
			.collect();
		needed.reverse();
		self.earlier = BoundedVec::truncate_from(needed);
	}

	fn newest_first(&self) -> impl Iterator<Item = &Dated<V>> {
		core::iter::once(&self.now).chain(self.earlier.iter().rev())
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn a_history_answers_for_both_sides_of_each_change() {
		let mut line = History::new(1);
		line.change(2, 10, &[8]);
		line.change(3, 12, &[8, 10]);
		assert_eq!([9, 10, 11, 12].map(|round| *line.at(round)), [1, 2, 2, 3]);
		// Again for the same round: the value that never counted is dropped.
		line.change(4, 12, &[8, 10]);
		assert_eq!([9, 11, 12].map(|round| *line.at(round)), [1, 2, 4]);
		// And undone before it counted: as if it had never been.
		line.change(2, 12, &[8, 10]);
		assert_eq!((line.now.since, line.values().count()), (10, 2));
	}

	#[test]
	fn a_census_of_hours_needs_one_value() {
		let mut line = History::new(0);
		for round in (10u32..2_000).step_by(2) {
			line.change(
				round,
				round,
				&[7, round - 8, round - 6, round - 4, round - 2],
			);
			assert_eq!((*line.at(7), *line.at(round)), (0, round));
		}
		assert_eq!(line.earlier.len(), 5);
	}

	proptest! {
		#[test]
		fn every_round_in_flight_is_answered_as_it_was(
			steps in prop::collection::vec((0..3u32, 0..4u8, 0..4u32, any::<bool>()), 1..80),
		) {
			let mut line = History::new(0);
			// What it was in each round that has started.
			let mut written = vec![0u8; 2];
			let (mut current, mut first, mut census) = (0u8, 0u32, 1u32);
			for (rounds, value, lag, over) in steps {
				for _ in 0..rounds {
					written.extend([current; 2]);
				}
				let next = written.len() as u32;
				first = first.max(next.saturating_sub(2 * (lag + 2)));
				if over {
					census = next - 1;
				}
				let in_flight: Vec<_> = (first..next).chain([census]).collect();
				line.change(value, next, &in_flight);
				current = value;
				for round in in_flight {
					prop_assert_eq!(*line.at(round), written[round as usize]);
				}
				prop_assert_eq!(*line.at(next), value);
				prop_assert!(line.earlier.len() <= 7);
			}
		}
	}
}
