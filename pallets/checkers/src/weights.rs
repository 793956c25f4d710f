//! Weights of the calls.
//!
//! To be replaced by benchmark output. Until then each is the maximum that the call reads and writes,
//! counted by hand, with about 6.2 kB of proof for a page of the license table, 1 kB for an operator's
//! record and 1 to 2 kB of trie nodes a read. "The pool's settlement" is the work of Rewards before and
//! after a change: 7 reads and 6 writes if a member's shares change, 5 reads and 4 writes otherwise.
//! "Rounds" are the next one, the one about to start, the running spot rounds and a census, with their
//! lists: 15 reads. "Earlier keys" are twelve of each kind.

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
	fn prune_checker(n: u32) -> Weight;
	fn annul_strike() -> Weight;
	fn authorize_annul_strike() -> Weight;
}

/// Weights with the runtime's cost of a read and a write.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	/// Number, account's number, its last record and its earlier keys, time, two key owners, rounds, the
	/// deposit's account and holds; two signatures.
	fn register_checker() -> Weight {
		Weight::from_parts(205_000_000, 65_000)
			.saturating_add(T::DbWeight::get().reads_writes(50, 30))
	}
	/// Number, record, two key owners, rounds, genesis hash, earlier keys removed; two signatures.
	fn set_checker_keys() -> Weight {
		Weight::from_parts(185_000_000, 55_000)
			.saturating_add(T::DbWeight::get().reads_writes(20, 29))
	}
	/// Number, record, epoch, the pool's settlement.
	fn set_commission() -> Weight {
		Weight::from_parts(50_000_000, 14_000).saturating_add(T::DbWeight::get().reads_writes(7, 4))
	}
	/// Number and record.
	fn set_auto_accept() -> Weight {
		Weight::from_parts(20_000_000, 6_500).saturating_add(T::DbWeight::get().reads_writes(2, 1))
	}
	/// Holder and collection, delegation, three operators, a page, member, count, rounds, the pool's
	/// settlement.
	fn delegate_license() -> Weight {
		Weight::from_parts(110_000_000, 50_000)
			.saturating_add(T::DbWeight::get().reads_writes(31, 11))
	}
	/// Number, record, delegation, the last operator, a page, member, count, rounds, the pool's
	/// settlement.
	fn accept_delegation() -> Weight {
		Weight::from_parts(100_000_000, 48_000)
			.saturating_add(T::DbWeight::get().reads_writes(29, 11))
	}
	/// Number, record, delegation.
	fn reject_delegation() -> Weight {
		Weight::from_parts(25_000_000, 9_000).saturating_add(T::DbWeight::get().reads_writes(3, 1))
	}
	/// Holder and collection, delegation, record, a page, member, count, rounds, the pool's
	/// settlement.
	fn revoke_delegation() -> Weight {
		Weight::from_parts(100_000_000, 48_000)
			.saturating_add(T::DbWeight::get().reads_writes(29, 11))
	}
	/// Number, record, rounds, count.
	fn go_offline() -> Weight {
		Weight::from_parts(45_000_000, 25_000)
			.saturating_add(T::DbWeight::get().reads_writes(18, 2))
	}
	/// Number, record, rounds, count, time.
	fn go_online() -> Weight {
		Weight::from_parts(45_000_000, 25_500)
			.saturating_add(T::DbWeight::get().reads_writes(19, 2))
	}
	/// Number, record, rounds, count, the deposit's account and holds, the pool's settlement.
	fn deregister_checker() -> Weight {
		Weight::from_parts(70_000_000, 18_000)
			.saturating_add(T::DbWeight::get().reads_writes(11, 7))
	}
	/// Record, account's number, strikes, rounds, the epochs' end, score, earlier keys, the deposit's
	/// account and holds. For each member, at most: member, record, the pool's settlement, claim and vKAI.
	fn prune_checker(n: u32) -> Weight {
		Weight::from_parts(90_000_000, 60_000)
			.saturating_add(Weight::from_parts(60_000_000, 9_000).saturating_mul(n.into()))
			.saturating_add(T::DbWeight::get().reads_writes(47, 29))
			.saturating_add(
				T::DbWeight::get()
					.reads_writes(10, 9)
					.saturating_mul(n.into()),
			)
	}
	/// The vote's account, strikes (up to 3 kB), time, number, record, rounds, count; one signature.
	fn annul_strike() -> Weight {
		Weight::from_parts(120_000_000, 33_000)
			.saturating_add(T::DbWeight::get().reads_writes(21, 4))
	}
	/// The same, without writes.
	fn authorize_annul_strike() -> Weight {
		Weight::from_parts(105_000_000, 32_000).saturating_add(T::DbWeight::get().reads(20))
	}
}

impl WeightInfo for () {
	/// Number, account's number, its last record and its earlier keys, time, two key owners, rounds, the
	/// deposit's account and holds; two signatures.
	fn register_checker() -> Weight {
		Weight::from_parts(205_000_000, 65_000)
			.saturating_add(RocksDbWeight::get().reads_writes(50, 30))
	}
	/// Number, record, two key owners, rounds, genesis hash, earlier keys removed; two signatures.
	fn set_checker_keys() -> Weight {
		Weight::from_parts(185_000_000, 55_000)
			.saturating_add(RocksDbWeight::get().reads_writes(20, 29))
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
	/// Holder and collection, delegation, three operators, a page, member, count, rounds, the pool's
	/// settlement.
	fn delegate_license() -> Weight {
		Weight::from_parts(110_000_000, 50_000)
			.saturating_add(RocksDbWeight::get().reads_writes(31, 11))
	}
	/// Number, record, delegation, the last operator, a page, member, count, rounds, the pool's
	/// settlement.
	fn accept_delegation() -> Weight {
		Weight::from_parts(100_000_000, 48_000)
			.saturating_add(RocksDbWeight::get().reads_writes(29, 11))
	}
	/// Number, record, delegation.
	fn reject_delegation() -> Weight {
		Weight::from_parts(25_000_000, 9_000)
			.saturating_add(RocksDbWeight::get().reads_writes(3, 1))
	}
	/// Holder and collection, delegation, record, a page, member, count, rounds, the pool's
	/// settlement.
	fn revoke_delegation() -> Weight {
		Weight::from_parts(100_000_000, 48_000)
			.saturating_add(RocksDbWeight::get().reads_writes(29, 11))
	}
	/// Number, record, rounds, count.
	fn go_offline() -> Weight {
		Weight::from_parts(45_000_000, 25_000)
			.saturating_add(RocksDbWeight::get().reads_writes(18, 2))
	}
	/// Number, record, rounds, count, time.
	fn go_online() -> Weight {
		Weight::from_parts(45_000_000, 25_500)
			.saturating_add(RocksDbWeight::get().reads_writes(19, 2))
	}
	/// Number, record, rounds, count, the deposit's account and holds, the pool's settlement.
	fn deregister_checker() -> Weight {
		Weight::from_parts(70_000_000, 18_000)
			.saturating_add(RocksDbWeight::get().reads_writes(11, 7))
	}
	/// Record, account's number, strikes, rounds, the epochs' end, score, earlier keys, the deposit's
	/// account and holds. For each member, at most: member, record, the pool's settlement, claim and vKAI.
	fn prune_checker(n: u32) -> Weight {
		Weight::from_parts(90_000_000, 60_000)
			.saturating_add(Weight::from_parts(60_000_000, 9_000).saturating_mul(n.into()))
			.saturating_add(RocksDbWeight::get().reads_writes(47, 29))
			.saturating_add(
				RocksDbWeight::get()
					.reads_writes(10, 9)
					.saturating_mul(n.into()),
			)
	}
	/// The vote's account, strikes (up to 3 kB), time, number, record, rounds, count; one signature.
	fn annul_strike() -> Weight {
		Weight::from_parts(120_000_000, 33_000)
			.saturating_add(RocksDbWeight::get().reads_writes(21, 4))
	}
	/// The same, without writes.
	fn authorize_annul_strike() -> Weight {
		Weight::from_parts(105_000_000, 32_000).saturating_add(RocksDbWeight::get().reads(20))
	}
}
