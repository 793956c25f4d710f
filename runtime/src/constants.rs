//! Time, money and weight.

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

/// A slot of BABE, in milliseconds. A block a slot.
pub const SLOT_DURATION: u64 = MILLISECS_PER_BLOCK;
/// The probability with which some validator owns a slot outright: 1 in 4. All other slots have a
/// secondary author, with a VRF output of its own, since rounds need one in every block.
pub const PRIMARY_PROBABILITY: (u64, u64) = (1, 4);
/// Slots of a BABE epoch, which is a session too: an hour.
pub const EPOCH_DURATION_IN_SLOTS: u64 = HOURS as u64;
/// An account that holds less than this is removed.
pub const EXISTENTIAL_DEPOSIT: Balance = MILLI_KAI;
/// The prefix of addresses.
pub const SS58_PREFIX: u16 = 42;

/// BABE's configuration at genesis: every block has a VRF output.
pub const BABE_GENESIS_EPOCH_CONFIG: sp_consensus_babe::BabeEpochConfiguration =
	sp_consensus_babe::BabeEpochConfiguration {
		c: PRIMARY_PROBABILITY,
		allowed_slots: sp_consensus_babe::AllowedSlots::PrimaryAndSecondaryVRFSlots,
	};

/// What storage costs: `items` entries of `bytes` in all.
pub const fn deposit(items: u32, bytes: u32) -> Balance {
	items as Balance * 100 * MILLI_KAI + bytes as Balance * MILLI_KAI
}

/// What hooks may take of a block before its first transaction.
const AVERAGE_ON_INITIALIZE_RATIO: Perbill = Perbill::from_percent(10);
/// What ordinary transactions may take; the rest is left to operational ones, as those of rounds.
const NORMAL_DISPATCH_RATIO: Perbill = Perbill::from_percent(75);
/// A block's work: 4 seconds of a reference machine, a third of a slot, as on the networks for
/// which these machines are the reference. An author takes as much to build a block, and everyone
/// else as much again to import it, before the slot ends. No state proof is ever sent, so its size
/// is not bounded.
const MAXIMUM_BLOCK_WEIGHT: Weight =
	Weight::from_parts(WEIGHT_REF_TIME_PER_SECOND.saturating_mul(4), u64::MAX);
/// The part of a slot in which an author may work on its block.
pub const BLOCK_PROPOSAL_SLOT_PORTION: f32 = 0.5;

/// Weights of ParityDB, the node's database.
pub type DbWeight = frame_support::weights::constants::ParityDbWeight;

parameter_types! {
	/// The limits of a block's work.
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
	/// The limits of a block's size: 5 MiB.
	pub RuntimeBlockLength: BlockLength = BlockLength::builder()
		.max_length(5 * 1024 * 1024)
		.modify_max_length_for_class(frame_support::dispatch::DispatchClass::Normal, |length| {
			*length = NORMAL_DISPATCH_RATIO * *length
		})
		.build();
	/// How long an account's transaction can name its birth block, in blocks: 8 hours.
	pub const BlockHashCount: BlockNumber = 2_400;
}
