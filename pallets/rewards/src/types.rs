//! Types of the pallet's storage and views.

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
	/// Score of all operators.
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
	/// The name, such as `GPU_RTX_4090`; `None` for a class that was added after this runtime was built.
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

/// The running epoch.
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
	/// The number of its blocks; fixed when it began.
	pub length: BlockNumber,
	/// The split of its emission; fixed when it began.
	pub split: Split,
	/// The scores in it so far.
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
	/// The epoch at whose start these totals are dropped: a score that is not settled before that expires.
	pub expires: EpochIndex,
	/// Its total scores.
	pub scores: Scores,
	/// The protocol fees that orders paid in it.
	pub fees: Balance,
	/// `PoC_Total_Reward`, which determines the price of PoC of rented blocks.
	pub poc_reward: Balance,
	/// `PoD_Total_Reward`, which determines the price of PoD.
	pub pod_reward: Balance,
	/// `For_Rent`, from which PoC and PoD of rented blocks are paid, each worker by its fees at most.
	pub rent_reward: Balance,
	/// The KAI that PoC of idle blocks shares.
	pub idle_reward: Balance,
	/// The KAI that checkers' scores share.
	pub checker_reward: Balance,
	/// The maximum reward of rented blocks, as a multiple of their fees.
	pub pod_fee_cap: FixedU128,
	/// The unsettled rest of the rewards of rented and idle blocks.
	pub providers_left: Balance,
	/// The unsettled rest of the checkers' reward.
	pub checkers_left: Balance,
}

impl EpochTotals {
	/// Returns the division of the workers' reward.
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

	/// Returns the unsettled rest in `pot`.
	pub fn left(&self, pot: Pot) -> Balance {
		match pot {
			Pot::Providers => self.providers_left,
			Pot::Checkers => self.checkers_left,
		}
	}
}

/// A worker's running score, of at most one unsettled epoch, and its settled and unclaimed reward.
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
	/// The epoch of the scores and fees.
	pub epoch: EpochIndex,
	/// Its PoC score of idle blocks.
	pub idle: u128,
	/// Its PoC score of rented blocks.
	pub rented: u128,
	/// Its PoD score.
	pub pod: u128,
	/// Protocol fees that its orders paid in that epoch.
	pub fees: Balance,
	/// The KAI that its owner can claim, without the reward of the scores above.
	pub claimable: Balance,
}

impl WorkerScore {
	/// Returns the worker's work in the epoch.
	pub(crate) fn work(&self) -> Work {
		Work {
			idle: self.idle,
			rented: self.rented,
			pod: self.pod,
			fees: self.fees,
		}
	}
}

/// An operator's running score, of at most one unsettled epoch. Settled rewards are credited to its account.
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
	/// The epoch of the counts.
	pub epoch: EpochIndex,
	/// The weight of its seats that voted with the outcome.
	pub correct: u32,
	/// The weight of all its seats except those that abstained, including missed ones.
	pub seats: u32,
}

impl CheckerScore {
	/// Returns `correct · (1 − Error_Rate)`, in units of [`score::CHECKER_ONE`].
	pub fn score(&self) -> u128 {
		score::checker(self.correct, self.seats)
	}
}

/// A pool's running score, as a view function shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub enum PoolScore {
	/// A worker's score.
	Worker(WorkerScore),
	/// An operator's score.
	Checker {
		/// The counts of its seats.
		counts: CheckerScore,
		/// The score that follows from the counts.
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
	/// The share emitted and not taken yet.
	pub amount: Balance,
}

/// The members of a pool, as a whole: a worker's delegators, or an operator's license holders.
///
/// The figures of `epoch` hold for every later epoch too in which no shares changed, except `eligible`,
/// which is then all of `shares`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct MemberPool {
	/// The epoch of `eligible` and `owner_least`.
	pub epoch: EpochIndex,
	/// All members' shares now.
	pub shares: u128,
	/// The shares held all the time since `epoch` began, or until they were worth nothing.
	pub eligible: u128,
	/// Members whose eligible shares in `epoch` differ from those in the epochs after it.
	pub partial: u32,
	/// Members with an entry in [`Members`](crate::Members).
	pub members: u32,
	/// The owner's least stake in `epoch`, up to the last change.
	pub owner_least: Balance,
	/// Whether all shares were worth nothing before the last change, because the pool was slashed to zero.
	pub worthless: bool,
	/// The earnings of a share in all epochs before `epoch`.
	pub rate: PerShare,
	/// The KAI or vKAI settled for members and not claimed.
	pub left: Balance,
}

impl MemberPool {
	/// Returns a pool that gets its first member in `epoch`, while its owner's stake is `owner`.
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
	/// The epoch of `eligible`. In later ones all of `shares` are eligible.
	pub epoch: EpochIndex,
	/// Its shares now.
	pub shares: u128,
	/// The shares that it held all the time since `epoch` began, or until they were worth nothing.
	pub eligible: u128,
	/// The pool's rate before `epoch`.
	pub seen: PerShare,
	/// The amount that it can claim for the epochs before `epoch`.
	pub owed: Exact,
}

impl PoolMember {
	/// Returns a member without shares yet, in a pool whose rate is `seen`.
	pub fn new(epoch: EpochIndex, seen: PerShare) -> Self {
		Self {
			epoch,
			shares: 0,
			eligible: 0,
			seen,
			owed: Exact::default(),
		}
	}

	/// Returns whether its eligible shares in `epoch` differ from those in the epochs after it.
	pub fn is_partial(&self) -> bool {
		self.eligible != self.shares
	}
}

/// A pool's rate at the end of an epoch in which fewer shares of some members counted than after it. Stored
/// until all of them are settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct NotedRate {
	/// The earnings of a share up to the end of the epoch.
	pub rate: PerShare,
	/// The number of members that still need it.
	pub members: u32,
}

/// The number of a redemption. Dense from 0.
pub type RedemptionId = u32;

/// A redemption of vKAI for KAI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Redemption {
	/// Its number.
	pub id: RedemptionId,
	/// The KAI that it pays.
	pub pays: Balance,
	/// The first block in which it can be withdrawn.
	pub due: BlockNumber,
}

/// A page of the amounts that an account can claim as a member.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo)]
pub struct DelegationPage {
	/// Pools, and the amount that `claim_delegation` pays from each now: KAI for a worker, vKAI for an
	/// operator.
	pub claims: alloc::vec::Vec<(PoolId, Balance)>,
	/// The pool after which to continue, if there may be more.
	pub next: Option<PoolId>,
}
