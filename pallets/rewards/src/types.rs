//! What the pallet stores.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_math::score;
use kaisar_primitives::{Balance, BlockNumber, EpochIndex, Pot};
use scale_info::TypeInfo;
use sp_runtime::FixedU128;

/// The total scores of an epoch, in the units of [`kaisar_math::score`].
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
pub struct Scores {
	/// Capacity: proved time online.
	pub poc: u128,
	/// Demand: proved time rented.
	pub pod: u128,
	/// All operators'.
	pub checkers: u128,
}

/// The epoch that runs.
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
pub struct RunningEpoch {
	/// Its number.
	pub index: EpochIndex,
	/// Its first block.
	pub start: BlockNumber,
	/// How many blocks it has; fixed when it began.
	pub length: BlockNumber,
	/// What was scored in it so far.
	pub scores: Scores,
}

/// An epoch that is over: its totals, from which every pool settles.
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
pub struct EpochTotals {
	/// Its first block.
	pub start: BlockNumber,
	/// Its last block.
	pub end: BlockNumber,
	/// Its total scores.
	pub scores: Scores,
	/// What PoC scores share.
	pub poc_reward: Balance,
	/// What PoD scores share.
	pub pod_reward: Balance,
	/// What checkers' scores share.
	pub checker_reward: Balance,
	/// The limit on PoD by protocol fees that holds for it.
	pub pod_fee_cap: FixedU128,
	/// What is not settled yet of the PoC and PoD rewards.
	pub providers_left: Balance,
	/// What is not settled yet of the checkers' reward.
	pub checkers_left: Balance,
}

impl EpochTotals {
	/// What is not settled yet and lies in `pot`.
	pub fn left(&self, pot: Pot) -> Balance {
		match pot {
			Pot::Providers => self.providers_left,
			Pot::Checkers => self.checkers_left,
		}
	}
}

/// A worker's running score, of at most one unsettled epoch, and what is settled and not claimed.
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
pub struct WorkerScore {
	/// The epoch that the scores and fees are of.
	pub epoch: EpochIndex,
	/// Its PoC score.
	pub poc: u128,
	/// Its PoD score.
	pub pod: u128,
	/// Protocol fees that its orders paid in that epoch.
	pub fees: Balance,
	/// What its owner can claim, without what the scores above will come to.
	pub claimable: Balance,
}

/// An operator's running score, of at most one unsettled epoch. What is settled is credited to its
/// account.
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
pub struct CheckerScore {
	/// The epoch that the counts are of.
	pub epoch: EpochIndex,
	/// Seats that voted as the outcome.
	pub correct: u32,
	/// All its seats.
	pub seats: u32,
}

impl CheckerScore {
	/// `correct · (1 − Error_Rate)`, in units of [`score::CHECKER_ONE`].
	pub fn score(&self) -> u128 {
		score::checker(self.correct, self.seats)
	}
}

/// A pool's running score, as a view function tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub enum PoolScore {
	/// A worker's.
	Worker(WorkerScore),
	/// An operator's, with what its counts come to.
	Checker {
		/// The counts.
		counts: CheckerScore,
		/// Their score.
		score: u128,
	},
}

/// The validators' share of the emission, which `pallet-staking` mints with its eras.
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
pub struct ValidatorsDue {
	/// The last block whose share is in `amount` or was taken.
	pub until: BlockNumber,
	/// Emitted, and not taken yet.
	pub amount: Balance,
}
