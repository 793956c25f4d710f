//! What the pallet stores.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_math::{
	ClassReference, Split,
	members::{Exact, PerShare},
	reward::{Division, Work},
	score,
};
use kaisar_primitives::{Balance, BlockNumber, EpochIndex, GpuClass, PoolId, Pot};
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
	/// PoC of idle blocks.
	pub idle: u128,
	/// PoC of rented blocks.
	pub rented: u128,
	/// PoD of rented blocks.
	pub pod: u128,
	/// All operators'.
	pub checkers: u128,
}

impl Scores {
	/// Returns the scores of workers, with the protocol fees that their orders paid.
	pub(crate) fn work(&self, fees: Balance) -> Work {
		Work {
			idle: self.idle,
			rented: self.rented,
			pod: self.pod,
			fees,
		}
	}
}

/// A GPU class as a view function shows it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct ClassView {
	/// Its id.
	pub gpu_class: GpuClass,
	/// Its name, such as `GPU_RTX_4090`; none for a class that was added after this runtime was built.
	pub name: Option<Vec<u8>>,
	/// The least memory with which such a GPU is sold, in GB of 10⁹ bytes, where it is known.
	pub memory_gb: Option<u32>,
	/// The score of one GPU, in hundredths.
	pub score: u32,
	/// The reference for one GPU from the next round on, if there is one.
	pub reference: Option<ClassReference>,
	/// Whether GPUs of the class earn and can be ordered.
	pub paid: bool,
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
	/// The split of its emission; fixed when it began.
	pub split: Split,
	/// What was scored in it so far.
	pub scores: Scores,
	/// Protocol fees that orders paid in it so far.
	pub fees: Balance,
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
	/// The epoch with whose start its totals are dropped: a score that is not settled before expires.
	pub expires: EpochIndex,
	/// Its total scores.
	pub scores: Scores,
	/// The protocol fees that orders paid in it.
	pub fees: Balance,
	/// `PoC_Total_Reward`: the price of PoC of rented blocks follows from it.
	pub poc_reward: Balance,
	/// `PoD_Total_Reward`: the price of PoD follows from it.
	pub pod_reward: Balance,
	/// `For_Rent`: what PoC and PoD of rented blocks are paid from, each worker by its fees at most.
	pub rent_reward: Balance,
	/// What PoC of idle blocks shares.
	pub idle_reward: Balance,
	/// What checkers' scores share.
	pub checker_reward: Balance,
	/// The limit on what rented blocks earn for their fees.
	pub pod_fee_cap: FixedU128,
	/// What is not settled yet of the rewards of rented and idle blocks.
	pub providers_left: Balance,
	/// What is not settled yet of the checkers' reward.
	pub checkers_left: Balance,
}

impl EpochTotals {
	/// Returns how the workers' reward is divided.
	pub(crate) fn division(&self) -> Division {
		Division {
			work: self.scores.work(self.fees),
			cap: self.pod_fee_cap,
			poc: self.poc_reward,
			pod: self.pod_reward,
			rent: self.rent_reward,
			idle: self.idle_reward,
		}
	}

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
	/// Its PoC score of idle blocks.
	pub idle: u128,
	/// Its PoC score of rented blocks.
	pub rented: u128,
	/// Its PoD score.
	pub pod: u128,
	/// Protocol fees that its orders paid in that epoch.
	pub fees: Balance,
	/// What its owner can claim, without what the scores above will come to.
	pub claimable: Balance,
}

impl WorkerScore {
	/// Returns what the worker did in its epoch.
	pub(crate) fn work(&self) -> Work {
		Work {
			idle: self.idle,
			rented: self.rented,
			pod: self.pod,
			fees: self.fees,
		}
	}
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
	/// The weight of its seats that voted as the outcome.
	pub correct: u32,
	/// The weight of all its seats but those that abstained, with what it missed.
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

/// The members of a pool, as a whole: who delegates stake to a worker, or licenses to an operator.
///
/// What is said of `epoch` holds for every later one too in which nobody's shares changed, but for
/// `eligible`, which is then all of `shares`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct MemberPool {
	/// The epoch that `eligible` and `owner_least` are of.
	pub epoch: EpochIndex,
	/// All members' shares now.
	pub shares: u128,
	/// The shares that were there all the time since `epoch` began, or until they were worth nothing.
	pub eligible: u128,
	/// Members whose shares in `epoch` are others than in the epochs after it.
	pub partial: u32,
	/// Members with an entry in [`Members`](crate::Members).
	pub members: u32,
	/// The least that the owner had at stake in `epoch`, up to the last change.
	pub owner_least: Balance,
	/// Before the last change all shares were worth nothing: slashed to the end.
	pub worthless: bool,
	/// What a share earned in all epochs before `epoch`.
	pub rate: PerShare,
	/// Settled for members, and not claimed.
	pub left: Balance,
}

impl MemberPool {
	/// A pool that gets its first member in `epoch`, while its owner has `owner` at stake.
	pub fn new(epoch: EpochIndex, owner: Balance) -> Self {
		Self {
			epoch,
			shares: 0,
			eligible: 0,
			partial: 0,
			members: 0,
			owner_least: owner,
			worthless: false,
			rate: PerShare::default(),
			left: 0,
		}
	}
}

/// A member of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct PoolMember {
	/// The epoch that `eligible` is of. In later ones all of `shares` are.
	pub epoch: EpochIndex,
	/// Its shares now.
	pub shares: u128,
	/// Those that it had all the time since `epoch` began, or until they were worth nothing.
	pub eligible: u128,
	/// The pool's rate before `epoch`.
	pub seen: PerShare,
	/// What it can claim of the epochs before `epoch`.
	pub owed: Exact,
}

impl PoolMember {
	/// A member without shares yet, in a pool whose rate is `seen`.
	pub fn new(epoch: EpochIndex, seen: PerShare) -> Self {
		Self {
			epoch,
			shares: 0,
			eligible: 0,
			seen,
			owed: Exact::default(),
		}
	}

	/// Whether other shares count in `epoch` than in the epochs after it.
	pub fn is_partial(&self) -> bool {
		self.eligible != self.shares
	}
}

/// A pool's rate at the end of an epoch in which other shares of some members counted than after it.
/// Kept until all of them were settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct NotedRate {
	/// What a share earned up to and in the epoch.
	pub rate: PerShare,
	/// How many members need it.
	pub members: u32,
}

/// The number of a redemption. Dense from 0.
pub type RedemptionId = u32;

/// vKAI that becomes KAI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Redemption {
	/// Its number.
	pub id: RedemptionId,
	/// What it pays, in KAI.
	pub pays: Balance,
	/// The first block in which it can be withdrawn.
	pub due: BlockNumber,
}

/// A page of what an account can claim as a member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo)]
pub struct DelegationPage {
	/// Pools, and what `claim_delegation` pays from each now: KAI for a worker, vKAI for an operator.
	pub claims: alloc::vec::Vec<(PoolId, Balance)>,
	/// After which pool to ask on, if there may be more.
	pub next: Option<PoolId>,
}
