//! Values that change at the start of rounds, as often as their owners like, while rounds in flight need
//! earlier ones.

use crate::{Dated, RoundIndex};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;
use sp_runtime::BoundedVec;

/// Maximum number of earlier values: Popw has at most eight rounds in flight, and four about to start. With
/// parameters as configured, four spot rounds and a census run at a time.
pub const MAX_EARLIER: u32 = 12;

/// A value that changes at the start of rounds, with the earlier values that rounds in flight
/// ([`Checks::in_flight`](crate::Checks::in_flight)) need.
///
/// An earlier value that counts in none of these rounds is dropped at the next change. So the length grows
/// with the number of running rounds, and not with the time since the oldest of them started: a census of
/// hours needs one value. For a round that is not in flight the answer may be wrong.
///
/// ```
/// # use kaisar_primitives::History;
/// let mut state = History::new("idle", 0);
/// state.change("rented", 6, &[4, 5]);
/// state.change("idle", 8, &[5, 6]);
/// assert_eq!([5, 6, 8].map(|round| state.at(round)), [Some(&"idle"), Some(&"rented"), Some(&"idle")]);
/// ```
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct History<V> {
	/// The newest value. It may count only from a later round on.
	pub now: Dated<V>,
	/// The earlier values, oldest first.
	pub earlier: BoundedVec<Dated<V>, ConstU32<MAX_EARLIER>>,
}

impl<V> History<V> {
	/// Returns a history with a first value, which counts from round `since` on.
	pub fn new(value: V, since: RoundIndex) -> Self {
		Self {
			now: Dated { value, since },
			earlier: BoundedVec::new(),
		}
	}

	/// Returns the value in `round`; `None` before the oldest stored value.
	pub fn at(&self, round: RoundIndex) -> Option<&V> {
		self.newest_first()
			.find(|dated| dated.since <= round)
			.map(|dated| &dated.value)
	}

	/// Returns the value in `round`, or else the oldest stored value.
	pub fn at_or_oldest(&self, round: RoundIndex) -> &V {
		let oldest = self.earlier.first().unwrap_or(&self.now);
		self.at(round).unwrap_or(&oldest.value)
	}

	/// Returns all values, newest first.
	pub fn values(&self) -> impl Iterator<Item = &V> {
		self.newest_first().map(|dated| &dated.value)
	}

	/// Returns whether the values are in the order of their rounds.
	pub fn is_ordered(&self) -> bool {
		let dates = || self.newest_first().map(|dated| dated.since);
		dates()
			.zip(dates().skip(1))
			.all(|(later, earlier)| later > earlier)
	}

	/// Sets the value from round `next` on, where `in_flight` are the earlier rounds that are not over, at
	/// most [`MAX_EARLIER`]. A stored value that would count only from `next` on is dropped.
	pub fn change(&mut self, value: V, next: RoundIndex, in_flight: &[RoundIndex]) {
		let last = core::mem::replace(&mut self.now, Dated { value, since: next });
		let mut until = next;
		let mut needed: Vec<_> = core::iter::once(last)
			.chain(core::mem::take(&mut self.earlier).into_iter().rev())
			.filter(|dated| {
				let counts = dated.since..until;
				until = until.min(dated.since);
				in_flight.iter().any(|round| counts.contains(round))
			})
			.take(MAX_EARLIER as usize)
			.collect();
		needed.reverse();
		self.earlier = BoundedVec::truncate_from(needed);
	}

	/// Drops all values but the newest.
	pub fn forget_earlier(&mut self) {
		self.earlier = BoundedVec::new();
	}

	fn newest_first(&self) -> impl Iterator<Item = &Dated<V>> {
		core::iter::once(&self.now).chain(self.earlier.iter().rev())
	}
}

impl<V: PartialEq> History<V> {
	/// Reverts a change from `value` that would count only from round `next` on, and returns whether there
	/// was one: then `value` counts as if it had never changed.
	pub fn undo(&mut self, value: &V, next: RoundIndex) -> bool {
		let undone =
			self.now.since >= next && self.earlier.last().is_some_and(|last| last.value == *value);
		if undone && let Some(last) = self.earlier.pop() {
			self.now = last;
		}
		undone
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn a_history_answers_for_both_sides_of_each_change() {
		let mut line = History::new(1, 0);
		line.change(2, 10, &[8]);
		line.change(3, 12, &[8, 10]);
		assert_eq!(
			[9, 10, 11, 12].map(|round| line.at(round)),
			[Some(&1), Some(&2), Some(&2), Some(&3)]
		);
		// Again for the same round: the value that never counted is dropped.
		line.change(4, 12, &[8, 10]);
		assert_eq!(
			[9, 11, 12].map(|round| line.at(round)),
			[Some(&1), Some(&2), Some(&4)]
		);
		assert_eq!(line.values().copied().collect::<Vec<_>>(), [4, 2, 1]);
	}

	#[test]
	fn a_first_value_is_unknown_before_it_counts() {
		let mut line = History::new(1, 4);
		assert_eq!((line.at(3), line.at(4)), (None, Some(&1)));
		assert_eq!(line.at_or_oldest(3), &1);
		line.change(2, 6, &[4]);
		line.forget_earlier();
		assert_eq!((line.at(5), line.at(6)), (None, Some(&2)));
	}

	#[test]
	fn a_change_that_never_counted_can_be_undone() {
		let mut line = History::new(1, 0);
		line.change(2, 10, &[8]);
		line.change(3, 12, &[8, 10]);
		assert!(!line.undo(&1, 12), "it was a change from 2");
		assert!(!line.undo(&2, 14), "it counts in round 12");
		assert!(line.undo(&2, 12));
		assert_eq!((line.now.since, line.values().count()), (10, 2));
		// Without undoing, a restored value counts only from its own round on.
		line.change(3, 12, &[8, 10]);
		line.change(2, 12, &[8, 10]);
		assert_eq!((line.now.since, line.values().count()), (12, 3));
	}

	#[test]
	fn a_census_of_hours_needs_one_value() {
		let mut line = History::new(0, 0);
		for round in (10u32..2_000).step_by(2) {
			line.change(
				round,
				round,
				&[7, round - 8, round - 6, round - 4, round - 2],
			);
			assert_eq!((line.at(7), line.at(round)), (Some(&0), Some(&round)));
		}
		assert_eq!(line.earlier.len(), 5);
	}

	proptest! {
		#[test]
		fn every_round_in_flight_is_answered_as_it_was(
			steps in prop::collection::vec((0..3u32, 0..4u8, 0..4u32, any::<bool>()), 1..80),
		) {
			let mut line = History::new(0, 0);
			// The value in each round that has started.
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
					prop_assert_eq!(line.at(round), Some(&written[round as usize]));
				}
				prop_assert_eq!(line.at(next), Some(&value));
				prop_assert!(line.is_ordered());
				prop_assert!(line.earlier.len() <= 7);
			}
		}
	}
}
