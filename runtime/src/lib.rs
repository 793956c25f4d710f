//! # The chain's state machine
//!
//! Kaisar's runtime: the pallets of polkadot-sdk that make a chain (BABE, GRANDPA, balances, fees,
//! treasury, parameters …) and the pallets that make this one — `Providers`, `Licenses`,
//! `Checkers`, `Popw`, `Rewards`, `Orders`.
//!
//! - [`configs`] says how each pallet is set up; [`configs::params`] lists every number that
//!   governance can change, with its value in production.
//! - [`presets`] are the three chains that this one WASM can start: `development`, `local`,
//!   `staging`.
//! - [`fees`] says what a transaction costs and who gets it, [`constants`] the figures of time and
//!   money.
//!
//! Pallet indices are part of the public interface and locked by a test: 0 – 19 make the chain, 20 –
//! 29 are kept for staking, offences and governance, 30 and up are Kaisar's own.

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "512"]
// FRAME's macros make public items that cannot be documented.
#![allow(missing_docs)]

extern crate alloc;

/// The WASM, as the build made it.
#[cfg(feature = "std")]
mod wasm {
	include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));
}
#[cfg(feature = "std")]
pub use wasm::*;

#[cfg(feature = "runtime-benchmarks")]
#[macro_use]
mod benches;

pub mod apis;
pub mod configs;
pub mod constants;
pub mod fees;
pub mod presets;
pub mod priority;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use sp_runtime::{
	MultiAddress, MultiSignature, generic, impl_opaque_keys,
	traits::{BlakeTwo256, IdentifyAccount, Verify},
};
use sp_version::RuntimeVersion;

pub use apis::RuntimeApi;
#[cfg(feature = "std")]
pub use apis::RuntimeApiImpl;
pub use configs::params::RuntimeParameters;
pub use kaisar_primitives::{Balance, BlockNumber};

/// A signature of a transaction.
pub type Signature = MultiSignature;
/// An account: the public key, or the hash of one.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// An account as transactions name it.
pub type Address = MultiAddress<AccountId, ()>;
/// The number of an account's transactions.
pub type Nonce = u32;
/// A hash.
pub type Hash = sp_core::H256;
/// A block's header.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// A block with its justification.
pub type SignedBlock = generic::SignedBlock<Block>;
/// A block's id.
pub type BlockId = generic::BlockId<Block>;

/// What every transaction carries. `AuthorizeCall` comes first, since it makes the origin of
/// fee-less calls; `WeightReclaim` last, since it gives back what all before it did not use.
pub type TxExtension = (
	frame_system::AuthorizeCall<Runtime>,
	frame_system::CheckNonZeroSender<Runtime>,
	frame_system::CheckSpecVersion<Runtime>,
	frame_system::CheckTxVersion<Runtime>,
	frame_system::CheckGenesis<Runtime>,
	frame_system::CheckEra<Runtime>,
	frame_system::CheckNonce<Runtime>,
	frame_system::CheckWeight<Runtime>,
	priority::ChargeTransactionPayment,
	frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
	frame_system::WeightReclaim<Runtime>,
);

/// A transaction.
pub type UncheckedExtrinsic =
	generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What the signer of a transaction signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// Runs blocks.
pub type Executive = frame_executive::Executive<
	Runtime,
	Block,
	frame_system::ChainContext<Runtime>,
	Runtime,
	AllPalletsWithSystem,
>;

impl_opaque_keys! {
	/// The keys of a validator.
	pub struct SessionKeys {
		/// Authors blocks.
		pub babe: Babe,
		/// Votes on finality.
		pub grandpa: Grandpa,
	}
}

/// The version of the runtime.
#[sp_version::runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
	spec_name: alloc::borrow::Cow::Borrowed("kaisar"),
	impl_name: alloc::borrow::Cow::Borrowed("kaisar-node"),
	authoring_version: 1,
	spec_version: 100,
	impl_version: 1,
	apis: apis::RUNTIME_API_VERSIONS,
	transaction_version: 1,
	system_version: 1,
};

/// Types for whoever needs blocks but not what is in them.
pub mod opaque {
	use super::*;
	pub use sp_runtime::OpaqueExtrinsic as UncheckedExtrinsic;

	/// A header.
	pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
	/// A block whose transactions are bytes.
	pub type Block = generic::Block<Header, UncheckedExtrinsic>;
	/// A block's id.
	pub type BlockId = generic::BlockId<Block>;
}

#[frame_support::runtime]
mod runtime {
	#[runtime::runtime]
	#[runtime::derive(
		RuntimeCall,
		RuntimeEvent,
		RuntimeError,
		RuntimeOrigin,
		RuntimeFreezeReason,
		RuntimeHoldReason,
		RuntimeSlashReason,
		RuntimeLockId,
		RuntimeTask,
		RuntimeViewFunction
	)]
	pub struct Runtime;

	#[runtime::pallet_index(0)]
	pub type System = frame_system;
	#[runtime::pallet_index(1)]
	pub type Timestamp = pallet_timestamp;
	#[runtime::pallet_index(2)]
	pub type Babe = pallet_babe;
	#[runtime::pallet_index(3)]
	pub type Authorship = pallet_authorship;
	#[runtime::pallet_index(4)]
	pub type Session = pallet_session;
	#[runtime::pallet_index(5)]
	pub type Historical = pallet_session::historical;
	#[runtime::pallet_index(6)]
	pub type Grandpa = pallet_grandpa;
	#[runtime::pallet_index(7)]
	pub type Balances = pallet_balances;
	#[runtime::pallet_index(8)]
	pub type TransactionPayment = pallet_transaction_payment;
	#[runtime::pallet_index(9)]
	pub type Utility = pallet_utility;
	#[runtime::pallet_index(10)]
	pub type Multisig = pallet_multisig;
	#[runtime::pallet_index(11)]
	pub type Proxy = pallet_proxy;
	#[runtime::pallet_index(12)]
	pub type Preimage = pallet_preimage;
	#[runtime::pallet_index(13)]
	pub type Scheduler = pallet_scheduler;
	#[runtime::pallet_index(14)]
	pub type Parameters = pallet_parameters;
	#[runtime::pallet_index(15)]
	pub type Treasury = pallet_treasury;
	#[runtime::pallet_index(16)]
	pub type Nfts = pallet_nfts;
	#[runtime::pallet_index(17)]
	pub type Sudo = pallet_sudo;

	// Kaisar's own. Genesis is built in this order: licenses are there before checkers delegate them.
	#[runtime::pallet_index(30)]
	pub type Providers = pallet_providers;
	#[runtime::pallet_index(31)]
	pub type Licenses = pallet_licenses;
	#[runtime::pallet_index(32)]
	pub type Checkers = pallet_checkers;
	#[runtime::pallet_index(33)]
	pub type Popw = pallet_popw;
	#[runtime::pallet_index(34)]
	pub type Rewards = pallet_rewards;
	#[runtime::pallet_index(35)]
	pub type Orders = pallet_orders;
}
