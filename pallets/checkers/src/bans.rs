//! Strikes for incorrect calculations, and the bans that follow from them. Pure.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{BoundedVec, pallet_prelude::ConstU32};
use kaisar_primitives::{
	AgentKey, BlockNumber, DAYS, OperatorId, RoundIndex, WorkerId, keys::receipt_payload,
};
use scale_info::TypeInfo;
use sp_core::H256;

/// Milliseconds in a day.
pub const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Time after which a strike is final, in milliseconds, if [`ANNUL_BLOCKS`] have also passed.
pub const ANNUL_PERIOD: u64 = DAY;
/// Blocks after which a strike is final, if [`ANNUL_PERIOD`] has also passed. While the chain stands still,
/// no strike can be annulled, and time alone would make strikes final.
pub const ANNUL_BLOCKS: BlockNumber = DAYS;
/// Strikes within [`WEEK_DAYS`] that ban for [`WEEK_BAN_DAYS`]. A single strike bans nobody: a worker can
/// cause it by serving one checker alone, which cannot annul it if its node is down for a day.
pub const WEEK_STRIKES: usize = 2;
/// Days, up to a strike, in which [`WEEK_STRIKES`] ban.
pub const WEEK_DAYS: u64 = 7;
/// Days of a ban for [`WEEK_STRIKES`]: a month without income, for a checker that votes "online" without
/// measuring.
pub const WEEK_BAN_DAYS: u64 = 30;
/// Strikes within [`MONTH_DAYS`] that ban for [`MONTH_BAN_DAYS`]: as many as an account collects that lets a
/// week pass after each.
pub const MONTH_STRIKES: usize = 5;
/// Days, up to a strike, in which [`MONTH_STRIKES`] ban.
pub const MONTH_DAYS: u64 = 30;
/// Days of a ban for [`MONTH_STRIKES`]: six times [`WEEK_BAN_DAYS`], for strikes that are no accident.
pub const MONTH_BAN_DAYS: u64 = 180;
/// An account with more strikes than this is banned for good: strikes so far apart that no ban follows from
/// them add up as well.
pub const MOST_STRIKES: usize = 10;
/// Maximum number of strikes stored: those that lead to a ban for good, and a few more from rounds that ran
/// at that time. So all strikes are stored for as long as they matter, and annulling one leaves exactly the
/// ban that would be in force without it.
pub const MAX_STRIKES: u32 = 16;
/// Maximum number of votes stored with a strike, which bounds its record. All that are stored have to be
/// annulled.
pub const MAX_SERVED: u32 = 4;

/// A lone vote "online": the worker, and the key with which its agent can prove that it answered.
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
	/// The agent's key in that round.
	pub agent: AgentKey,
}

/// An incorrect calculation: one or more lone votes "online" of an operator in a round. They count once,
/// whatever their number; to annul the strike, all stored votes must be annulled.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Strike {
	/// The registration that voted.
	pub operator: OperatorId,
	/// The round of the votes.
	pub round: RoundIndex,
	/// The time at which the first of them was found, in milliseconds of chain time.
	pub at: u64,
	/// The block in which the first of them was found.
	pub block: BlockNumber,
	/// The seed of the round's trial. Stored because the round's record may be removed before the strike is
	/// final.
	pub seed: H256,
	/// The operator's checker key in that round. Stored because the operator may have changed its keys
	/// since.
	pub key: sp_core::sr25519::Public,
	/// The lone votes, the first [`MAX_SERVED`] of them.
	pub votes: BoundedVec<LoneVote, ConstU32<MAX_SERVED>>,
}

impl Strike {
	/// Returns whether it can still be annulled in this block, at the time `now`.
	pub fn can_be_annulled(&self, now: u64, block: BlockNumber) -> bool {
		now.saturating_sub(self.at) <= ANNUL_PERIOD
			|| block.saturating_sub(self.block) <= ANNUL_BLOCKS
	}

	/// Returns the payload that the agent of `worker` signs as the receipt of this operator in this round.
	pub fn receipt_payload(&self, genesis: H256, worker: WorkerId) -> [u8; 32] {
		receipt_payload(genesis, self.round, self.seed, worker, &self.key.into())
	}
}

/// The strikes of an account that were not annulled, by time.
pub type Strikes = BoundedVec<Strike, ConstU32<MAX_STRIKES>>;

/// Returns the end of the ban that strikes at these times (in milliseconds, in order) bring; `u64::MAX` for
/// good. `None` if they bring none.
///
/// Each strike is judged together with those before it; `n7` and `n30` are their numbers in the 7 and 30
/// days up to it, itself included, and `n` is the number of all:
///
/// | condition, first that holds | ban from then on |
/// | --- | --- |
/// | n > 10 | for good |
/// | n30 ≥ 5 | 180 days |
/// | n7 ≥ 2 | 30 days |
///
/// The ban that ends last holds: none shortens an earlier one. A strike that is exactly 7 (30) days old is
/// no longer within the last 7 (30) days.
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
		} else if within(MONTH_DAYS) >= MONTH_STRIKES {
			MONTH_BAN_DAYS
		} else if within(WEEK_DAYS) >= WEEK_STRIKES {
			WEEK_BAN_DAYS
		} else {
			return None;
		};
		Some(at.saturating_add(DAY.saturating_mul(days)))
	};
	times.clone().enumerate().filter_map(verdict).max()
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
		// A strike of long ago does not count, but its ban may last.
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
		// The heavier ban takes precedence over the lighter one.
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
		// Five within a week, and two more within half a year.
		assert_eq!(until(&[0, 1, 2, 3, 4, 100, 101]), Some(184));
		assert_eq!(until(&[0, 1, 2, 3, 4, 160, 161]), Some(191));
	}
}
