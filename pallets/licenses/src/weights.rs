//! Weights of the calls.
//!
//! To be replaced by benchmark output. Until then each is the maximum that the call reads and writes,
//! counted by hand, with 1 to 2 kB of trie nodes a read.

#![allow(missing_docs)]

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};

/// Weights that the pallet needs.
pub trait WeightInfo {
	fn set_sale() -> Weight;
	fn set_whitelist(n: u32) -> Weight;
	fn purchase(n: u32) -> Weight;
}

/// Weights with the runtime's cost of a read and a write.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// The sale.
	fn set_sale() -> Weight {
		Weight::from_parts(20_000_000, 2_000).saturating_add(T::DbWeight::get().reads_writes(1, 1))
	}
	/// The whitelist's entry of each account.
	fn set_whitelist(n: u32) -> Weight {
		let n = u64::from(n);
		Weight::from_parts(15_000_000, 2_000)
			.saturating_add(Weight::from_parts(3_000_000, 2_000).saturating_mul(n))
			.saturating_add(T::DbWeight::get().reads_writes(n, n))
	}
	/// Sale, whitelist, purchases, licenses minted, the collection's id, an item of the referrer, the
	/// accounts of the referrer, the treasury and the buyer, and the collection's details, counts and
	/// settings. For each license its item, settings and metadata are read, and they, the owner's index and
	/// the block of minting written. Each license makes three events.
	fn purchase(n: u32) -> Weight {
		let n = u64::from(n);
		Weight::from_parts(160_000_000, 20_000)
			.saturating_add(Weight::from_parts(90_000_000, 7_000).saturating_mul(n))
			.saturating_add(T::DbWeight::get().reads_writes(12, 6))
			.saturating_add(T::DbWeight::get().reads_writes(3, 5).saturating_mul(n))
	}
}

impl WeightInfo for () {
	/// The sale.
	fn set_sale() -> Weight {
		Weight::from_parts(20_000_000, 2_000)
			.saturating_add(RocksDbWeight::get().reads_writes(1, 1))
	}
	/// The whitelist's entry of each account.
	fn set_whitelist(n: u32) -> Weight {
		let n = u64::from(n);
		Weight::from_parts(15_000_000, 2_000)
			.saturating_add(Weight::from_parts(3_000_000, 2_000).saturating_mul(n))
			.saturating_add(RocksDbWeight::get().reads_writes(n, n))
	}
	/// Sale, whitelist, purchases, licenses minted, the collection's id, an item of the referrer, the
	/// accounts of the referrer, the treasury and the buyer, and the collection's details, counts and
	/// settings. For each license its item, settings and metadata are read, and they, the owner's index and
	/// the block of minting written. Each license makes three events.
	fn purchase(n: u32) -> Weight {
		let n = u64::from(n);
		Weight::from_parts(160_000_000, 20_000)
			.saturating_add(Weight::from_parts(90_000_000, 7_000).saturating_mul(n))
			.saturating_add(RocksDbWeight::get().reads_writes(12, 6))
			.saturating_add(RocksDbWeight::get().reads_writes(3, 5).saturating_mul(n))
	}
}
