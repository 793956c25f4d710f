//! Values that change at the start of a round or an epoch.
//!
//! A change never counts at once: it names the first round or epoch in which it counts. Until nothing
//! refers to the time before, both values are needed.

use crate::{EpochIndex, RoundIndex};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_runtime::Perbill;

/// A value and the first round (or epoch) in which it counts.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Dated<V, Time = RoundIndex> {
	/// The value.
	pub value: V,
	/// The first round or epoch in which it counts.
	pub since: Time,
}

/// The last two values of a quantity: enough to answer for every running round, provided that no change
/// drops a value that one of them still needs ([`may_change`](Self::may_change)). Where changes cannot be
/// refused, [`History`](crate::History) stores as many values as needed.
///
/// ```
/// # use kaisar_primitives::Timeline;
/// let mut keys = Timeline::new("old", 0);
/// keys.change("new", 6);
/// assert_eq!((keys.at(5), keys.at(6)), (Some(&"old"), Some(&"new")));
/// ```
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Timeline<V, Time = RoundIndex> {
	/// The newest value. It may count only from a later round or epoch on.
	pub now: Dated<V, Time>,
	/// The value before it, if any.
	pub before: Option<Dated<V, Time>>,
}

impl<V, Time: Copy + Ord> Timeline<V, Time> {
	/// Returns a timeline with a first value, which counts from `since` on.
	pub fn new(value: V, since: Time) -> Self {
		Self {
			now: Dated { value, since },
			before: None,
		}
	}

	/// Returns the value at `time`; `None` before the oldest stored value.
	pub fn at(&self, time: Time) -> Option<&V> {
		self.newest_first()
			.find(|dated| dated.since <= time)
			.map(|dated| &dated.value)
	}

	/// Returns the value at `time`, or else the oldest stored value.
	pub fn at_or_oldest(&self, time: Time) -> &V {
		let oldest = self.before.as_ref().unwrap_or(&self.now);
		self.at(time).unwrap_or(&oldest.value)
	}

	/// Returns both values, the newer one first.
	pub fn values(&self) -> impl Iterator<Item = &V> {
		self.newest_first().map(|dated| &dated.value)
	}

	/// Returns whether a change that counts from `next` on drops no value that counts at `oldest` or later.
	pub fn may_change(&self, next: Time, oldest: Time) -> bool {
		self.now.since >= next || self.now.since <= oldest
	}

	/// Sets the value from `next` on, and returns the dropped value: one that never counted, or the older
	/// of the two.
	pub fn change(&mut self, value: V, next: Time) -> Option<V> {
		let counted = self.now.since < next;
		self.put(value, next, counted)
	}

	/// Makes `value` the newest. The newest value so far becomes the older one if it `counted`, and is
	/// dropped otherwise.
	fn put(&mut self, value: V, since: Time, counted: bool) -> Option<V> {
		let last = core::mem::replace(&mut self.now, Dated { value, since });
		let dropped = if counted {
			self.before.replace(last)
		} else {
			Some(last)
		};
		dropped.map(|dated| dated.value)
	}

	fn newest_first(&self) -> impl Iterator<Item = &Dated<V, Time>> {
		core::iter::once(&self.now).chain(&self.before)
	}
}

impl Timeline<u32> {
	/// Changes a count from round `next` on. The older value becomes the largest count of all rounds from
	/// `oldest` on, so the answer for a running round is never too small.
	pub fn change_count(&mut self, value: u32, next: RoundIndex, oldest: RoundIndex) {
		let still_counts = self.now.since < next && self.now.since > oldest;
		let dropped = self.change(value, next).filter(|_| still_counts);
		if let (Some(before), Some(dropped)) = (&mut self.before, dropped) {
			before.value = before.value.max(dropped);
		}
	}
}

/// The reason why a commission cannot be announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnounceError {
	/// An announced commission is not in force yet.
	Pending,
	/// No epoch is left in which it could count.
	LastEpoch,
}

/// The number of epochs from the announcement of a commission to the first in which it counts: one whole
/// epoch lies between, in which members can leave.
const COMMISSION_NOTICE: u32 = 2;

/// The part of a pool's reward that goes to its members, by epoch.
pub type Commission = Timeline<Perbill, EpochIndex>;

impl Commission {
	/// Returns the commission in `epoch`.
	pub fn in_epoch(&self, epoch: EpochIndex) -> Perbill {
		*self.at_or_oldest(epoch)
	}

	/// Announces a commission in epoch `now`, and returns the first epoch in which it counts: after one
	/// whole epoch. Until then no other can be announced, so that members can rely on the notice.
	pub fn announce(
		&mut self,
		value: Perbill,
		now: EpochIndex,
	) -> Result<EpochIndex, AnnounceError> {
		if self.announced(now).is_some() {
			return Err(AnnounceError::Pending);
		}
		let from = now
			.checked_add(COMMISSION_NOTICE)
			.ok_or(AnnounceError::LastEpoch)?;
		self.put(value, from, true);
		Ok(from)
	}

	/// Returns the commission announced but not yet in force in epoch `now`, with the first epoch in which
	/// it counts.
	pub fn announced(&self, now: EpochIndex) -> Option<(EpochIndex, Perbill)> {
		(self.now.since > now).then_some((self.now.since, self.now.value))
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_timeline_answers_for_both_sides_of_a_change() {
		let mut line = Timeline::new(1, 0);
		assert!(line.may_change(10, 4));
		assert_eq!(line.change(2, 10), None);
		assert_eq!((line.at(9), line.at(10)), (Some(&1), Some(&2)));
		// Again for the same round: the value that never counted is dropped.
		assert!(line.may_change(10, 4));
		assert_eq!(line.change(3, 10), Some(2));
		assert_eq!((line.at(9), line.at(10)), (Some(&1), Some(&3)));
		// Round 9 still runs: its value would be dropped.
		assert!(!line.may_change(12, 9));
		assert!(line.may_change(12, 10));
		assert_eq!(line.change(4, 12), Some(1));
		assert_eq!((line.at(11), line.at(12)), (Some(&3), Some(&4)));
		assert_eq!((line.at(9), line.at_or_oldest(9)), (None, &3));
		assert_eq!(line.values().copied().collect::<Vec<_>>(), [4, 3]);
	}

	#[test]
	fn a_first_value_is_unknown_before_it_counts() {
		let line = Timeline::new(1, 4);
		assert_eq!((line.at(3), line.at(4)), (None, Some(&1)));
		assert_eq!(line.at_or_oldest(3), &1);
	}

	#[test]
	fn a_count_before_is_the_largest_of_all_running_rounds() {
		let mut count = Timeline::new(0, 0);
		count.change_count(100, 10, 4);
		count.change_count(0, 12, 8);
		assert_eq!([11, 12].map(|round| *count.at_or_oldest(round)), [100, 0]);
		// Round 11 still runs.
		count.change_count(1, 14, 11);
		assert_eq!(
			[11, 13, 14].map(|round| *count.at_or_oldest(round)),
			[100, 100, 1]
		);
		// And now no round before 14 does.
		count.change_count(2, 16, 14);
		assert_eq!([15, 16].map(|round| *count.at_or_oldest(round)), [1, 2]);
	}

	#[test]
	fn a_commission_counts_after_one_whole_epoch() {
		let percent = Perbill::from_percent;
		let mut commission = Commission::default();
		assert_eq!(commission.announce(percent(10), 3), Ok(5));
		assert_eq!(commission.announced(3), Some((5, percent(10))));
		assert_eq!(
			[4, 5].map(|epoch| commission.in_epoch(epoch)),
			[percent(0), percent(10)]
		);
		// Members who rely on the commission announced for epoch 5 get it.
		for epoch in [3, 4] {
			let again = commission.announce(percent(20), epoch);
			assert_eq!(again, Err(AnnounceError::Pending));
		}
		assert_eq!(commission.in_epoch(5), percent(10));
		// Once in force, it can be followed by another, again with notice.
		assert_eq!(commission.announce(percent(30), 5), Ok(7));
		assert_eq!(
			[6, 7].map(|epoch| commission.in_epoch(epoch)),
			[percent(10), percent(30)]
		);
		assert_eq!(commission.announced(7), None);
		assert_eq!(
			commission.announce(percent(1), EpochIndex::MAX),
			Err(AnnounceError::LastEpoch)
		);
	}
}
