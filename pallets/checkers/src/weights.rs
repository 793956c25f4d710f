//! Weights of the calls.
//!
//! To be replaced by benchmark output. Until then each is what the call reads and writes at most,
//! counted by hand, with about 6.2 kB of proof for a page of the licence table, 0.6 kB for an
//! operator's record and 1 to 2 kB of trie nodes a read; "the pool's settlement" is what Rewards
//! does before a change, 5 reads and 4 writes.

#![allow(missing_docs)]

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};

/// Weights that the pallet needs.
pub trait WeightInfo {
	fn register_checker() -> Weight;
	fn set_checker_keys() -> Weight;
	fn set_commission() -> Weight;
	fn set_auto_accept() -> Weight;
	fn delegate_license() -> Weight;
	fn accept_delegation() -> Weight;
	fn reject_delegation() -> Weight;
	fn revoke_delegation() -> Weight;
	fn go_offline() -> Weight;
	fn go_online() -> Weight;
	fn deregister_checker() -> Weight;
}

/// Weights with the runtime's cost of a read and a write.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// Number, account's number, two key owners, the deposit's account and holds; two signatures.
	fn register_checker() -> Weight {
		Weight::from_parts(180_000_000, 14_500)
			.saturating_add(T::DbWeight::get().reads_writes(8, 6))
	}
	/// Number, record, two key owners, rounds, genesis hash; two signatures.
	fn set_checker_keys() -> Weight {
		Weight::from_parts(160_000_000, 12_500)
			.saturating_add(T::DbWeight::get().reads_writes(8, 5))
	}
	/// Number, record, epoch, the pool's settlement.
	fn set_commission() -> Weight {
		Weight::from_parts(50_000_000, 14_000).saturating_add(T::DbWeight::get().reads_writes(7, 4))
	}
	/// Number and record.
	fn set_auto_accept() -> Weight {
		Weight::from_parts(20_000_000, 6_500).saturating_add(T::DbWeight::get().reads_writes(2, 1))
	}
	/// Holder, delegation, two operators, a page, member, count, rounds, the pool's settlement.
	fn delegate_license() -> Weight {
		Weight::from_parts(90_000_000, 30_000)
			.saturating_add(T::DbWeight::get().reads_writes(15, 9))
	}
	/// Number, record, delegation, a page, member, count, rounds, the pool's settlement.
	fn accept_delegation() -> Weight {
		Weight::from_parts(80_000_000, 28_000)
			.saturating_add(T::DbWeight::get().reads_writes(14, 9))
	}
	/// Number, record, delegation.
	fn reject_delegation() -> Weight {
		Weight::from_parts(25_000_000, 9_000).saturating_add(T::DbWeight::get().reads_writes(3, 1))
	}
	/// Holder, delegation, record, a page, member, count, rounds, the pool's settlement.
	fn revoke_delegation() -> Weight {
		Weight::from_parts(80_000_000, 28_000)
			.saturating_add(T::DbWeight::get().reads_writes(14, 9))
	}
	/// Number, record, rounds, count.
	fn go_offline() -> Weight {
		Weight::from_parts(30_000_000, 9_000).saturating_add(T::DbWeight::get().reads_writes(6, 2))
	}
	/// Number, record, rounds, count, time.
	fn go_online() -> Weight {
		Weight::from_parts(30_000_000, 9_500).saturating_add(T::DbWeight::get().reads_writes(7, 2))
	}
	/// Number, record, rounds, count, the deposit's account and holds, the pool's settlement.
	fn deregister_checker() -> Weight {
		Weight::from_parts(70_000_000, 18_000)
			.saturating_add(T::DbWeight::get().reads_writes(11, 7))
	}
}

impl WeightInfo for () {
	/// Number, account's number, two key owners, the deposit's account and holds; two signatures.
	fn register_checker() -> Weight {
		Weight::from_parts(180_000_000, 14_500)
			.saturating_add(RocksDbWeight::get().reads_writes(8, 6))
	}
	/// Number, record, two key owners, rounds, genesis hash; two signatures.
	fn set_checker_keys() -> Weight {
		Weight::from_parts(160_000_000, 12_500)
			.saturating_add(RocksDbWeight::get().reads_writes(8, 5))
	}
	/// Number, record, epoch, the pool's settlement.
	fn set_commission() -> Weight {
		Weight::from_parts(50_000_000, 14_000)
			.saturating_add(RocksDbWeight::get().reads_writes(7, 4))
	}
	/// Number and record.
	fn set_auto_accept() -> Weight {
		Weight::from_parts(20_000_000, 6_500)
			.saturating_add(RocksDbWeight::get().reads_writes(2, 1))
	}
	/// Holder, delegation, two operators, a page, member, count, rounds, the pool's settlement.
	fn delegate_license() -> Weight {
		Weight::from_parts(90_000_000, 30_000)
			.saturating_add(RocksDbWeight::get().reads_writes(15, 9))
	}
	/// Number, record, delegation, a page, member, count, rounds, the pool's settlement.
	fn accept_delegation() -> Weight {
		Weight::from_parts(80_000_000, 28_000)
			.saturating_add(RocksDbWeight::get().reads_writes(14, 9))
	}
	/// Number, record, delegation.
	fn reject_delegation() -> Weight {
		Weight::from_parts(25_000_000, 9_000)
			.saturating_add(RocksDbWeight::get().reads_writes(3, 1))
	}
	/// Holder, delegation, record, a page, member, count, rounds, the pool's settlement.
	fn revoke_delegation() -> Weight {
		Weight::from_parts(80_000_000, 28_000)
			.saturating_add(RocksDbWeight::get().reads_writes(14, 9))
	}
	/// Number, record, rounds, count.
	fn go_offline() -> Weight {
		Weight::from_parts(30_000_000, 9_000)
			.saturating_add(RocksDbWeight::get().reads_writes(6, 2))
	}
	/// Number, record, rounds, count, time.
	fn go_online() -> Weight {
		Weight::from_parts(30_000_000, 9_500)
			.saturating_add(RocksDbWeight::get().reads_writes(7, 2))
	}
	/// Number, record, rounds, count, the deposit's account and holds, the pool's settlement.
	fn deregister_checker() -> Weight {
		Weight::from_parts(70_000_000, 18_000)
			.saturating_add(RocksDbWeight::get().reads_writes(11, 7))
	}
}
