//! Constants of time, money and weight.

use frame_support::{
	parameter_types,
	weights::{
		Weight,
		constants::{BlockExecutionWeight, ExtrinsicBaseWeight, WEIGHT_REF_TIME_PER_SECOND},
	},
};
use frame_system::limits::{BlockLength, BlockWeights};
use kaisar_primitives::{Balance, BlockNumber, HOURS, MILLI_KAI, MILLISECS_PER_BLOCK};
use sp_runtime::Perbill;

/// Length of a BABE slot, in milliseconds. Every slot has a block.
pub const SLOT_DURATION: u64 = MILLISECS_PER_BLOCK;
/// Probability with which a slot has a primary author: 1 in 4. All other slots have a secondary author with
/// a VRF output of its own, since rounds need one in every block.
pub const PRIMARY_PROBABILITY: (u64, u64) = (1, 4);
/// Length of a BABE epoch, and of a session, in slots: an hour.
pub const EPOCH_DURATION_IN_SLOTS: u64 = HOURS as u64;
/// Least balance of an account, in KAI units; an account that holds less is removed.
pub const EXISTENTIAL_DEPOSIT: Balance = MILLI_KAI;
/// Prefix of SS58 addresses.
pub const SS58_PREFIX: u16 = 42;

/// BABE's configuration at genesis, with a VRF output in every block.
pub const BABE_GENESIS_EPOCH_CONFIG: sp_consensus_babe::BabeEpochConfiguration =
	sp_consensus_babe::BabeEpochConfiguration {
		c: PRIMARY_PROBABILITY,
		allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
	};

/// Returns the deposit for `items` entries of storage with `bytes` bytes in all, in KAI units.
pub const fn deposit(items: u32, bytes: u32) -> Balance {
	items as Balance * 100 * MILLI_KAI + bytes as Balance * MILLI_KAI
}

/// Part of a block that hooks may use before its first transaction.
const AVERAGE_ON_INITIALIZE_RATIO: Perbill = Perbill::from_percent(10);
/// Part of a block that ordinary transactions may use. The rest is reserved for operational ones, such as
/// those of rounds.
const NORMAL_DISPATCH_RATIO: Perbill = Perbill::from_percent(75);
/// Limit on a block's work: 4 seconds of the reference machine, a third of a slot, as on the networks for
/// which that machine is the reference. The author needs this time to build a block, and then everyone else
/// needs it to import the block, all before the slot ends. No state proof is ever sent, so its size is not
/// limited.
const MAXIMUM_BLOCK_WEIGHT: Weight =
	Weight::from_parts(WEIGHT_REF_TIME_PER_SECOND.saturating_mul(4), u64::MAX);
/// Part of a slot in which an author may work on its block.
pub const BLOCK_PROPOSAL_SLOT_PORTION: f32 = 0.5;

/// Weights of ParityDB, the node's database.
pub type DbWeight = frame_support::weights::constants::ParityDbWeight;

parameter_types! {
	/// Limits on a block's work.
	pub RuntimeBlockWeights: BlockWeights = BlockWeights::builder()
		.base_block(BlockExecutionWeight::get())
		.for_class(frame_support::dispatch::DispatchClass::all(), |weights| {
			weights.base_extrinsic = ExtrinsicBaseWeight::get();
		})
		.for_class(frame_support::dispatch::DispatchClass::Normal, |weights| {
			weights.max_total = Some(NORMAL_DISPATCH_RATIO * MAXIMUM_BLOCK_WEIGHT);
		})
		.for_class(frame_support::dispatch::DispatchClass::Operational, |weights| {
			weights.max_total = Some(MAXIMUM_BLOCK_WEIGHT);
			weights.reserved =
				Some(MAXIMUM_BLOCK_WEIGHT - NORMAL_DISPATCH_RATIO * MAXIMUM_BLOCK_WEIGHT);
		})
		.avg_block_initialization(AVERAGE_ON_INITIALIZE_RATIO)
		.build_or_panic();
	/// Limits on a block's length: 5 MiB.
	pub RuntimeBlockLength: BlockLength = BlockLength::builder()
		.max_length(5 * 1024 * 1024)
		.modify_max_length_for_class(frame_support::dispatch::DispatchClass::Normal, |length| {
			*length = NORMAL_DISPATCH_RATIO * *length
		})
		.build();
	/// Blocks for which a transaction can refer to the block of its birth: 8 hours.
	pub const BlockHashCount: BlockNumber = 2_400;
}
