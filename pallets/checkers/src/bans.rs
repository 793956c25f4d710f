//! What an incorrect calculation is worth: strikes and the bans that follow from them. Pure.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, pallet_prelude::ConstU32};
use kaisar_primitives::{AgentKey, OperatorId, RoundIndex, WorkerId, keys::receipt_payload};
use scale_info::TypeInfo;
use sp_core::H256;

/// Milliseconds in a day.
pub const DAY: u64 = 24 * 60 * 60 * 1_000;
/// For how long a strike can be annulled, in milliseconds.
pub const ANNUL_PERIOD: u64 = DAY;
/// An account with more strikes than this is banned for good.
pub const MOST_STRIKES: usize = 10;
/// Strikes that are kept: those that lead to a ban for good, and a few more from rounds that ran
/// at that time. So as long as it matters, all of them are there, and annulling one leaves exactly
/// the ban that there would be without it.
pub const MAX_STRIKES: u32 = 16;
/// Workers of a strike that are kept.
pub const MAX_SERVED: u32 = 4;

/// A lone vote "online": the worker, and who can prove that it answered.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct LoneVote {
	/// The worker.
	pub worker: WorkerId,
	/// Its agent's key in that round.
	pub agent: AgentKey,
}

/// An incorrect calculation: one or more lone votes "online" of an operator in a round. However
/// many, they count once; and to annul it, all that are kept have to be.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Strike {
	/// The registration that voted.
	pub operator: OperatorId,
	/// In which round.
	pub round: RoundIndex,
	/// When the first of them was found, in milliseconds of chain time.
	pub at: u64,
	/// The round's seed. Kept, as the round's record may be gone before the strike is final.
	pub seed: H256,
	/// The operator's checker key in that round. Kept, as the operator may have others by then.
	pub key: sp_core::sr25519::Public,
	/// The workers it was alone about, the first [`MAX_SERVED`] of them.
	pub votes: BoundedVec<LoneVote, ConstU32<MAX_SERVED>>,
}

impl Strike {
	/// Whether it can still be annulled at the time `now`.
	pub fn can_be_annulled(&self, now: u64) -> bool {
		now.saturating_sub(self.at) <= ANNUL_PERIOD
	}

	/// Returns the payload that the agent of `worker` signs as the receipt of this operator in this round.
	pub fn receipt_payload(&self, genesis: H256, worker: WorkerId) -> [u8; 32] {
		receipt_payload(genesis, self.round, self.seed, worker, &self.key.into())
	}
}

/// The strikes of an account that were not annulled, by time.
pub type Strikes = BoundedVec<Strike, ConstU32<MAX_STRIKES>>;

/// Until when strikes at these times (in milliseconds, in order) ban; `u64::MAX` for good. `None` if
/// they never did.
///
/// Each strike is looked at with those before it; with `n7` and `n30` the number of them in the 7 and
/// 30 days up to it, itself included, and `n` all:
///
/// | condition, first that holds | ban from then on |
/// | --- | --- |
/// | n > 10 | for good |
/// | n30 ≥ 5 | 180 days |
/// | n7 ≥ 2 | 30 days |
///
/// The ban that lasts longest holds: none shortens an earlier one. A strike that is exactly 7 (30)
/// days old is not in the last 7 (30) days any more.
pub fn banned_until(times: impl Iterator<Item = u64> + Clone) -> Option<u64> {
	let verdict = |(index, at): (usize, u64)| {
		let within = |days: u64| {
			times
				.clone()
				.take(index.saturating_add(1))
				.filter(|time| at.saturating_sub(*time) < days.saturating_mul(DAY))
				.count()
		};
		let days = if index >= MOST_STRIKES {
			return Some(u64::MAX);
		} else if within(30) >= 5 {
			180
		} else if within(7) >= 2 {
			30
		} else {
			return None;
		};
		Some(at.saturating_add(DAY.saturating_mul(days)))
	};
	times.clone().enumerate().filter_map(verdict).max()
}

/// Some rounds in a row: `from ≤ round < until`.
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
pub struct Rounds {
	/// The first.
	pub from: RoundIndex,
	/// The first no more; [`Rounds::OPEN`] while no end is set.
	pub until: RoundIndex,
}

impl Rounds {
	/// The end of what has none.
	pub const OPEN: RoundIndex = RoundIndex::MAX;

	/// Whether it is no round at all.
	pub fn is_empty(&self) -> bool {
		self.from >= self.until
	}

	/// Whether `round` is one of them.
	pub fn covers(&self, round: RoundIndex) -> bool {
		self.from <= round && round < self.until
	}
}

/// A ban. It stops seats from a round on, until its time is over *and* the operator has come back.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Ban {
	/// The rounds without seats, open until the operator is back.
	pub rounds: Rounds,
	/// Those of the ban before it, in case a round of them still runs.
	pub before: Rounds,
	/// When it may come back, in milliseconds of chain time; `u64::MAX` for never.
	pub until: u64,
}

impl Ban {
	/// A ban until the time `until` that counts from round `from` on, of an operator whose last ban
	/// was `last`. If that one is still on, it is the same ban with another end.
	pub fn new(last: Option<Self>, from: RoundIndex, until: u64) -> Self {
		let before = match last {
			Some(ban) if ban.is_on() => return Self { until, ..ban },
			// It was annulled before its first round began.
			Some(ban) if ban.rounds.is_empty() => ban.before,
			Some(ban) => ban.rounds,
			None => Rounds::default(),
		};
		Self {
			rounds: Rounds {
				from,
				until: Rounds::OPEN,
			},
			before,
			until,
		}
	}

	/// Whether the operator has not come back from it.
	pub fn is_on(&self) -> bool {
		self.rounds.until == Rounds::OPEN
	}

	/// Whether the operator has no seats in `round` because of it.
	pub fn covers(&self, round: RoundIndex) -> bool {
		self.rounds.covers(round) || self.before.covers(round)
	}

	/// Whether the operator can come back in round `next`: the next ban, which cannot wait, must not
	/// have to forget a round that runs, of which `oldest` is the oldest.
	pub fn may_end(&self, next: RoundIndex, oldest: RoundIndex) -> bool {
		self.before.is_empty() || self.before.until <= oldest || self.rounds.from >= next
	}

	/// The operator is back from round `next` on.
	pub fn end(&mut self, next: RoundIndex) {
		if self.is_on() {
			self.rounds.until = next;
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn until(days: &[u64]) -> Option<u64> {
		banned_until(days.iter().map(|day| day * DAY)).map(|time| match time {
			u64::MAX => time,
			time => time / DAY,
		})
	}

	#[test]
	fn boundary_two_within_seven_days() {
		assert_eq!(until(&[]), None);
		assert_eq!(until(&[3]), None);
		assert_eq!(until(&[3, 10]), None);
		assert_eq!(until(&[3, 9]), Some(39));
		assert_eq!(banned_until([0, 7 * DAY].into_iter()), None);
		assert_eq!(
			banned_until([0, 7 * DAY - 1].into_iter()),
			Some(37 * DAY - 1)
		);
		// What is long ago does not count, but its ban may last.
		assert_eq!(until(&[3, 9, 17]), Some(39));
		assert_eq!(until(&[3, 9, 17, 20]), Some(50));
	}

	#[test]
	fn boundary_five_within_thirty_days() {
		assert_eq!(until(&[0, 7, 14, 21]), None);
		assert_eq!(until(&[0, 7, 14, 21, 28]), Some(208));
		assert_eq!(until(&[0, 7, 14, 21, 30]), None);
		assert_eq!(
			banned_until(
				[0, 7, 14, 21, 30]
					.map(|day| (day * DAY).saturating_sub(1))
					.into_iter()
			),
			Some(210 * DAY - 1),
			"a millisecond less than 30 days after the first"
		);
		// The heavier ban goes before the lighter one.
		assert_eq!(until(&[0, 0, 0, 0]), Some(30));
		assert_eq!(until(&[0, 0, 0, 0, 0]), Some(180));
	}

	#[test]
	fn boundary_more_than_ten_ever() {
		let months = |count: u64| (0..count).map(|month| month * 40).collect::<Vec<_>>();
		assert_eq!(until(&months(10)), None);
		assert_eq!(until(&months(11)), Some(u64::MAX));
		assert_eq!(until(&months(16)), Some(u64::MAX));
	}

	#[test]
	fn a_ban_never_shortens_an_earlier_one() {
		// Five in a week, and two more half a year later less a bit.
		assert_eq!(until(&[0, 1, 2, 3, 4, 100, 101]), Some(184));
		assert_eq!(until(&[0, 1, 2, 3, 4, 160, 161]), Some(191));
	}

	#[test]
	fn a_second_ban_during_the_first_is_the_same_ban() {
		let first = Ban::new(None, 10, 1_000);
		assert!(first.is_on());
		assert_eq!(
			[9, 10, 99].map(|round| first.covers(round)),
			[false, true, true]
		);
		let second = Ban::new(Some(first), 12, 2_000);
		assert_eq!(
			second,
			Ban {
				until: 2_000,
				..first
			}
		);
	}

	#[test]
	fn a_ban_soon_after_another_forgets_no_running_round() {
		let mut first = Ban::new(None, 10, 1_000);
		first.end(14);
		let second = Ban::new(Some(first), 18, 2_000);
		let covered = |ban: &Ban| [9, 10, 13, 14, 17, 18, 99].map(|round| ban.covers(round));
		assert_eq!(
			covered(&second),
			[false, true, true, false, false, true, true]
		);
		// Coming back has to wait until the first ban's rounds are over, since a third could follow.
		assert!(!second.may_end(20, 13));
		assert!(second.may_end(20, 14));
		// Unless the second never counted.
		assert!(second.may_end(18, 13));
		let mut annulled = second;
		annulled.end(18);
		let third = Ban::new(Some(annulled), 18, 3_000);
		assert_eq!(covered(&third), covered(&second));
	}
}
