//! # The chain's state machine
//!
//! Kaisar's runtime consists of the pallets of polkadot-sdk that make a chain (BABE, GRANDPA, balances,
//! fees, treasury, parameters …) and Kaisar's own: `Providers`, `Licenses`, `Checkers`, `Popw`, `Rewards`
//! and `Orders`.
//!
//! - [`configs`] configures each pallet; [`configs::params`] lists every parameter that governance can
//!   change, with its value in production.
//! - [`presets`] has the genesis of the three chains that this one WASM can start: `development`, `local`
//!   and `staging`.
//! - [`fees`] defines transaction fees and their recipients, [`constants`] the figures of time and money.
//!
//! Pallet indices are part of the public interface, and a test locks them: 0 – 19 are of the pallets that
//! make a chain, 20 – 29 are reserved for staking, offenses and governance, and those from 30 on are
//! Kaisar's own.
//!
//! # The crates
//!
//! Read them in this order: the vocabulary, the pallets from the workers to their orders, the programs.
//!
//! | Crate | Contents |
//! | --- | --- |
//! | [`kaisar_primitives`] | shared types and identifiers, and the traits between pallets |
//! | [`kaisar_math`] | the formulas of scores, prices, emission and rewards |
//! | [`pallet_providers`] | the registry of workers: claims, stake, slashing, proved hardware |
//! | [`pallet_licenses`] | the checkers' licenses, and their sale |
//! | [`pallet_checkers`] | operators of checkers, delegated licenses, strikes and bans |
//! | [`pallet_popw`] | rounds, committees, and their votes on workers |
//! | [`pallet_rewards`] | epochs, emission, and claims |
//! | [`pallet_orders`] | rentals: prices, matching, escrow, and payments |
//! | [`kaisar_node`](../kaisar_node/index.html) | the node, which also runs the agents of providers and checkers |
//! | [`kaisar_agent`](../kaisar_agent/index.html) | the agent, which proves a machine, checks others, and runs containers |
//! | [`kaisar_tunnel`](../kaisar_tunnel/index.html) | the tunnel from a customer to a container |
//! | [`kaisar_relay`](../kaisar_relay/index.html) | the relay for agents that cannot be reached at any address |
//! | [`kaisar`](../kaisar/index.html) | the command line of customers, providers and delegators |
//! | [`kaisar_simulation`](../kaisar_simulation/index.html) | plays of strategies against this runtime |

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "512"]
// FRAME's macros generate public items that cannot be documented.
#![allow(missing_docs)]

extern crate alloc;

/// The runtime's WASM, as the build script makes it.
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

/// Signature of a transaction.
pub type Signature = MultiSignature;
/// Id of an account: a public key, or the hash of one.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// Address of an account in a transaction.
pub type Address = MultiAddress<AccountId, ()>;
/// Number of an account's transactions.
pub type Nonce = u32;
/// Hash of a block, or of state.
pub type Hash = sp_core::H256;
/// Header of a block.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// Block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// Block with its justification.
pub type SignedBlock = generic::SignedBlock<Block>;
/// Id of a block: its hash or its number.
pub type BlockId = generic::BlockId<Block>;

/// Extensions of every transaction. `AuthorizeCall` comes first, since it creates the origin of fee-less
/// calls; `WeightReclaim` comes last, since it returns the weight that all the others did not use.
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

/// Transaction, or inherent.
pub type UncheckedExtrinsic =
	generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// Payload that the signer of a transaction signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// Executor of blocks.
pub type Executive = frame_executive::Executive<
	Runtime,
	Block,
	frame_system::ChainContext<Runtime>,
	Runtime,
	AllPalletsWithSystem,
>;

impl_opaque_keys! {
	/// Session keys of a validator.
	pub struct SessionKeys {
		/// Key that authors blocks.
		pub babe: Babe,
		/// Key that votes on finality.
		pub grandpa: Grandpa,
	}
}

/// Version of the runtime.
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

/// Types for code that handles blocks without decoding their transactions.
pub mod opaque {
	use super::*;
	pub use sp_runtime::OpaqueExtrinsic as UncheckedExtrinsic;

	/// Header of a block.
	pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
	/// Block whose transactions are bytes.
	pub type Block = generic::Block<Header, UncheckedExtrinsic>;
	/// Id of a block: its hash or its number.
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

	// Kaisar's own pallets. Genesis is built in this order, so licenses exist before checkers delegate them.
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
