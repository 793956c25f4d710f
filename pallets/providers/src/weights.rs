//! Weights of the calls.
//!
//! Derived from the items that each call reads and writes, to be replaced by benchmark output
//! (`benchmarking.rs`). Calls that touch a worker include closing a check by the largest committee, of a
//! rented worker, with the payment and the end of its order.

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};
use kaisar_primitives::MAX_COMMITTEE;

/// Weights of the calls of this pallet.
#[allow(missing_docs)]
pub trait WeightInfo {
	fn register_worker() -> Weight;
	fn update_worker() -> Weight;
	fn set_worker_keys() -> Weight;
	fn set_commission() -> Weight;
	fn set_price_floor() -> Weight;
	fn go_offline() -> Weight;
	fn go_online() -> Weight;
	fn deregister_worker() -> Weight;
	fn stake() -> Weight;
	fn unstake() -> Weight;
	fn withdraw_unbonded() -> Weight;
	fn slash() -> Weight;
	fn cancel_slash() -> Weight;
	fn apply_slash() -> Weight;
	fn clear_worthless() -> Weight;
	fn set_delegation_cap() -> Weight;
}

/// Time of a call without its database accesses, in ps.
const CALL: u64 = 30_000_000;
/// Time of verifying two signatures, in ps.
const TWO_SIGNATURES: u64 = 120_000_000;
/// Proof size of a worker's record.
const RECORD: u64 = 4_000;
/// Proof size of any other item.
const ITEM: u64 = 3_600;
/// Items read and written when a worker enters or leaves the totals and the indices: counters, totals,
/// those of its class, the heads and the last pages of two buckets, the pages of its positions, and the
/// records of the two workers that move into them.
const LISTING: u64 = 3 + 2 * 4;
/// Items read for a price: the reference, and the use of its class.
const PRICE: u64 = 2;
/// Items read for the rounds in flight, as for each change of state.
const ROUNDS: u64 = 5;
/// Items read for what is held against a worker: the rounds in flight, its last check, and for each of four
/// spot rounds and a census the round and the worker's record.
const HELD: u64 = ROUNDS + 1 + 5 * 2;
/// Items read and written when a check is closed: the check, its round, the seats' operators, the worker's
/// and the operators' scores, totals; the worker's listing by another profile, two prices, its slashes, and
/// the rounds in flight.
const CLOSING: u64 = 10 + 3 * MAX_COMMITTEE as u64 + 2 * LISTING + 2 * PRICE + 3 + ROUNDS;
/// Items of each seat's operator, if the check is its first touch in an epoch: its members, a recorded rate
/// and its claim; the totals of that epoch, and the amount owed. (As in Rewards.)
const SEATS_SETTLED: u64 = 3 * MAX_COMMITTEE as u64 + 2;
/// Items of the order that the worker serves: 12 for a payment, and 24 for its end. (As in Orders.)
const ORDER: u64 = 12 + 24;
/// Items read for a score: the boost's stake, the weight without GPUs, the class and its reference, and
/// whether uncalibrated classes are paid.
const SCORING: u64 = 5;
/// Items read and written by a touch of a rented worker whose check is over.
const TOUCH: u64 = CLOSING + SEATS_SETTLED + ORDER + SCORING;
/// Items of Rewards read and written when a pool is settled: its score, the running epoch, the totals of
/// the epoch before, two sums.
const SETTLING: u64 = 5;
/// The same for a member: the pool's members, the member, the rate of an epoch, its index.
const MEMBER: u64 = 4;

/// Returns the weight of a call that reads and writes these numbers of items, and the worker's record.
fn call<D: Get<frame_support::weights::RuntimeDbWeight>>(
	time: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	Weight::from_parts(CALL + time, RECORD + reads * ITEM)
		.saturating_add(D::get().reads_writes(reads + 1, writes + 1))
}

/// Returns the same for a call that touches the worker: any of them can end the order of a rented one.
fn touching<D: Get<frame_support::weights::RuntimeDbWeight>>(
	time: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	call::<D>(time, reads + TOUCH, writes + TOUCH)
}

/// Weights on the runtime's database.
pub struct SubstrateWeight<T>(PhantomData<T>);

/// Defines the weights for a database.
macro_rules! weights {
	($db:ty) => {
		fn register_worker() -> Weight {
			// Next number, two keys and their holders, epoch, rounds, counts, owner's index; caller, pot,
			// treasury, hold. Whatever is held against two deregistered holders.
			call::<$db>(TWO_SIGNATURES, 13 + 2 * HELD, 9)
		}
		fn update_worker() -> Weight {
			touching::<$db>(0, 7 + HELD + LISTING, 3 + LISTING)
		}
		fn set_worker_keys() -> Weight {
			// Two keys of three generations, and the holders of two, with whatever is held against them.
			touching::<$db>(TWO_SIGNATURES, 9 + 3 * HELD, 6)
		}
		fn set_commission() -> Weight {
			touching::<$db>(0, 1 + SETTLING, SETTLING)
		}
		fn set_price_floor() -> Weight {
			// The rounds; today's price and the highest.
			touching::<$db>(0, 1 + LISTING + 2 * PRICE, LISTING)
		}
		fn go_offline() -> Weight {
			touching::<$db>(0, 3 + ROUNDS + LISTING, 1 + LISTING)
		}
		fn go_online() -> Weight {
			touching::<$db>(0, 7 + HELD, 1)
		}
		fn deregister_worker() -> Weight {
			// Queue, hold, index, four keys, the note of the owner, rounds and parameters. Its last check
			// is forgotten.
			touching::<$db>(0, 13 + HELD + SETTLING + LISTING, 12 + SETTLING + LISTING)
		}
		fn stake() -> Weight {
			// A delegation, the caller, the pot, parameters. May end a suspension.
			touching::<$db>(0, 8 + ROUNDS + SETTLING + MEMBER, 3 + SETTLING + MEMBER)
		}
		fn unstake() -> Weight {
			// A delegation, a queue, parameters.
			touching::<$db>(0, 8 + SETTLING + MEMBER, 2 + SETTLING + MEMBER)
		}
		fn withdraw_unbonded() -> Weight {
			// A delegation, a queue, the caller, the pot, a parameter; four keys, the note of the owner and
			// the last check.
			touching::<$db>(0, 13 + HELD + SETTLING + MEMBER, 11 + SETTLING + MEMBER)
		}
		fn slash() -> Weight {
			// At once: the pot, the provider pot and its contents; the worker is suspended.
			touching::<$db>(0, 8 + HELD + SETTLING + LISTING, 4 + SETTLING + LISTING)
		}
		fn cancel_slash() -> Weight {
			// The slash; four keys and the note of the owner.
			touching::<$db>(0, 1 + HELD + SETTLING, 7 + SETTLING)
		}
		fn apply_slash() -> Weight {
			// As by hand, plus the slash, two bounties, four keys and the note of the owner.
			touching::<$db>(0, 12 + HELD + SETTLING + LISTING, 12 + SETTLING + LISTING)
		}
		fn clear_worthless() -> Weight {
			// A delegation and a queue; four keys and the note of the owner.
			touching::<$db>(0, 2 + HELD + SETTLING + MEMBER, 8 + SETTLING + MEMBER)
		}
		fn set_delegation_cap() -> Weight {
			touching::<$db>(0, 0, 0)
		}
	};
}

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	weights!(T::DbWeight);
}

impl WeightInfo for () {
	weights!(RocksDbWeight);
}
