//! Weights of the calls.
//!
//! Worked out from what each call reads and writes, to be replaced by benchmark output
//! (`benchmarking.rs`). Calls that touch a worker include closing a check of the largest committee.

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};
use kaisar_primitives::MAX_COMMITTEE;

/// Weights of the calls of this pallet.
pub trait WeightInfo {
	/// Of `register_worker`.
	fn register_worker() -> Weight;
	/// Of `update_worker`.
	fn update_worker() -> Weight;
	/// Of `set_worker_keys`.
	fn set_worker_keys() -> Weight;
	/// Of `set_commission`.
	fn set_commission() -> Weight;
	/// Of `set_price_floor`.
	fn set_price_floor() -> Weight;
	/// Of `go_offline`.
	fn go_offline() -> Weight;
	/// Of `go_online`.
	fn go_online() -> Weight;
	/// Of `deregister_worker`.
	fn deregister_worker() -> Weight;
	/// Of `stake`.
	fn stake() -> Weight;
	/// Of `unstake`.
	fn unstake() -> Weight;
	/// Of `withdraw_unbonded`.
	fn withdraw_unbonded() -> Weight;
}

/// Time of a call without its database accesses, in ps.
const CALL: u64 = 30_000_000;
/// Time of verifying two signatures, in ps.
const TWO_SIGNATURES: u64 = 120_000_000;
/// Proof size of a worker's record.
const RECORD: u64 = 4_000;
/// Proof size of any other item.
const ITEM: u64 = 3_600;
/// Items read and written when a check is closed: the check, its round, the seats' operators, the
/// worker's and the operators' scores, totals.
const CLOSING: u64 = 10 + 3 * MAX_COMMITTEE as u64;

/// A call that reads and writes that many items besides the worker's record.
fn call<D: Get<frame_support::weights::RuntimeDbWeight>>(
	time: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	Weight::from_parts(CALL + time, RECORD + reads * ITEM)
		.saturating_add(D::get().reads_writes(reads + 1, writes + 1))
}

/// The same, of a call that touches the worker.
fn touching<D: Get<frame_support::weights::RuntimeDbWeight>>(
	time: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	call::<D>(time, reads + CLOSING, writes + CLOSING)
}

/// Weights on the runtime's database.
pub struct SubstrateWeight<T>(PhantomData<T>);

/// The weights, on a database.
macro_rules! weights {
	($db:ty) => {
		fn register_worker() -> Weight {
			// Next number, two keys and their holders, epoch, rounds, counts, owner's index; caller,
			// pot, treasury, hold.
			call::<$db>(TWO_SIGNATURES, 13, 9)
		}
		fn update_worker() -> Weight {
			touching::<$db>(0, 7, 3)
		}
		fn set_worker_keys() -> Weight {
			// Two keys of three generations, and the holders of two.
			touching::<$db>(TWO_SIGNATURES, 9, 6)
		}
		fn set_commission() -> Weight {
			// Settling the pool.
			touching::<$db>(0, 6, 3)
		}
		fn set_price_floor() -> Weight {
			touching::<$db>(0, 0, 0)
		}
		fn go_offline() -> Weight {
			touching::<$db>(0, 3, 1)
		}
		fn go_online() -> Weight {
			touching::<$db>(0, 7, 1)
		}
		fn deregister_worker() -> Weight {
			// Settling, queue, hold, counts, index, four keys, the note of the owner.
			touching::<$db>(0, 15, 13)
		}
		fn stake() -> Weight {
			touching::<$db>(0, 10, 6)
		}
		fn unstake() -> Weight {
			touching::<$db>(0, 10, 4)
		}
		fn withdraw_unbonded() -> Weight {
			touching::<$db>(0, 12, 10)
		}
	};
}

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	weights!(T::DbWeight);
}

impl WeightInfo for () {
	weights!(RocksDbWeight);
}
