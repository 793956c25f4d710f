//! Identifiers and the units of the chain.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// An amount of KAI, in units of 10⁻¹⁸ KAI.
pub type Balance = u128;
/// The number of a block. A block stands for 12 s of the chain's time.
pub type BlockNumber = u32;
/// A worker: one machine of a provider. Dense from 0, never reused.
pub type WorkerId = u32;
/// A registration of a checker operator. Each registration has a new number, so that everything tied to the
/// old one ends at once.
pub type OperatorId = u32;
/// A checker license: the item id in the license collection. Dense from 0.
pub type LicenseId = u32;
/// A round. Even numbers are spot rounds; the odd number after one is the census that its seed may have
/// started. See [`crate::RoundKind::of`].
pub type RoundIndex = u32;
/// A reward epoch. Dense from 0.
pub type EpochIndex = u32;
/// An order of a customer. Dense from 0.
pub type OrderId = u32;
/// A GPU class of the class table. 0 is "no GPU".
pub type GpuClass = u16;

/// 1 KAI.
pub const KAI: Balance = 1_000_000_000_000_000_000;
/// 0.001 KAI.
pub const MILLI_KAI: Balance = KAI / 1_000;
/// 0.000001 KAI.
pub const MICRO_KAI: Balance = KAI / 1_000_000;

/// Milliseconds of chain time a block stands for.
pub const MILLISECS_PER_BLOCK: u64 = 12_000;
/// Blocks in an hour of chain time.
pub const HOURS: BlockNumber = (3_600_000 / MILLISECS_PER_BLOCK) as BlockNumber;
/// Blocks in a day of chain time.
pub const DAYS: BlockNumber = 24 * HOURS;

/// A recipient of rewards: a worker with its delegators, or an operator with its license holders.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum PoolId {
	/// A worker; its members hold stake.
	Worker(WorkerId),
	/// An operator; its members hold licenses.
	Checker(OperatorId),
}

/// Maximum number of entries in a page that a view function returns.
pub const MAX_PAGE: u32 = 256;
