//! Weights of `pallet-rewards`.
//!
//! **Computed by hand, to be replaced by the benchmarks' output** (`src/benchmarking.rs`): the reads and
//! writes of each call are counted, each key's proof is taken as `PROOF` bytes, and the time as 25 µs a
//! call and 2 µs a key.

#![allow(clippy::unnecessary_cast)]

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};
use kaisar_primitives::MAX_COMMITTEE;

/// Proof size of one key: a path in a trie of some millions of keys.
const PROOF: u64 = 3_000;
/// Seats of the largest committee.
const SEATS: u64 = MAX_COMMITTEE as u64;
/// Keys read and written when a check is closed: the check, its round, the seats' operators, the worker's
/// and the operators' scores, totals; the worker's listing under another profile, and its slashes. (As
/// Providers and Orders have it.)
const CLOSING: u64 = 10 + 3 * SEATS + 2 * 11 + 3;
/// Further keys of each seat's operator: its members, a stored rate and its claim, if the check is its first
/// touch in an epoch; the totals of that epoch, and the amount owed.
const SEATS_SETTLED: u64 = 3 * SEATS + 2;
/// Keys of an order that the worker serves: 12 of a payment, and 23 of its end. (As Orders has it.)
const ORDER: u64 = 12 + 23;
/// Parameters and references that a score reads: the boost's stake, the weight without GPUs, the class and
/// its reference, whether uncalibrated classes are paid.
const SCORING: u64 = 5;
/// Keys read by a touch of a rented worker whose check is over.
const TOUCH_READS: u64 = CLOSING + SEATS_SETTLED + ORDER + SCORING;
/// Keys written by it.
const TOUCH_WRITES: u64 = CLOSING + SEATS_SETTLED + ORDER;

fn base(reads: u64, writes: u64) -> Weight {
	Weight::from_parts(25_000_000 + 2_000_000 * (reads + writes), PROOF * reads)
}

/// The weights of the calls and the hook.
pub trait WeightInfo {
	/// Returns the weight of `settle`, with a check of a rented worker closed at the touch.
	fn settle() -> Weight;
	/// Returns the weight of `claim_worker`, with a check of a rented worker closed at the touch and an
	/// epoch settled.
	fn claim_worker() -> Weight;
	/// Returns the weight of `claim_checker`, with an epoch settled.
	fn claim_checker() -> Weight;
	/// Returns the weight of `claim_delegation`, with an epoch settled and a stored rate.
	fn claim_delegation() -> Weight;
	/// Returns the weight of `redeem`.
	fn redeem() -> Weight;
	/// Returns the weight of `withdraw_redemption`.
	fn withdraw_redemption() -> Weight;
	/// Returns the weight of `set_score_table`.
	fn set_score_table() -> Weight;
	/// Returns the weight of `set_class_score`.
	fn set_class_score() -> Weight;
	/// Returns the weight of `set_class_reference`.
	fn set_class_reference() -> Weight;
	/// Returns the weight of a block within an epoch.
	fn within_epoch() -> Weight;
	/// Returns the weight of the block that ends an epoch.
	fn end_epoch() -> Weight;
}

/// Weights with the runtime's database.
pub struct SubstrateWeight<T>(PhantomData<T>);

macro_rules! weights {
	($db:expr) => {
		fn settle() -> Weight {
			// Owner, current epoch, record, totals, carry, owed, members, value, commission, claim |
			// record, totals, carry, owed, members, a noted rate, claim.
			let (reads, writes) = (TOUCH_READS + 10, TOUCH_WRITES + 7);
			base(reads, writes).saturating_add($db.reads_writes(reads, writes))
		}
		fn claim_worker() -> Weight {
			// As above, with the pot's and the owner's accounts.
			let (reads, writes) = (TOUCH_READS + 12, TOUCH_WRITES + 9);
			base(reads, writes).saturating_add($db.reads_writes(reads, writes))
		}
		fn claim_checker() -> Weight {
			// Number, current epoch, record, totals, owner, owed, members, value, commission, claim, vKAI |
			// record, totals, owed, members, a noted rate, claim, vKAI.
			let (reads, writes) = (11, 7);
			base(reads, writes).saturating_add($db.reads_writes(reads, writes))
		}
		fn claim_delegation() -> Weight {
			// As for `settle` without the touch, with the member, the rate that it needs, and either its and
			// the pot's accounts or its vKAI.
			let (reads, writes) = (14, 11);
			base(reads, writes).saturating_add($db.reads_writes(reads, writes))
		}
		fn redeem() -> Weight {
			// vKAI, number, owed, redemptions, carry | all of them.
			base(5, 5).saturating_add($db.reads_writes(5, 5))
		}
		fn withdraw_redemption() -> Weight {
			// Redemptions, owed, two accounts | all of them.
			base(4, 4).saturating_add($db.reads_writes(4, 4))
		}
		fn set_score_table() -> Weight {
			base(1, 1).saturating_add($db.reads_writes(1, 1))
		}
		fn set_class_score() -> Weight {
			base(1, 1).saturating_add($db.reads_writes(1, 1))
		}
		fn set_class_reference() -> Weight {
			// Score, references, the next round and its start, and the rounds in flight, eight at most: a
			// list of them, and the one that starts | references.
			base(17, 1).saturating_add($db.reads_writes(17, 1))
		}
		fn within_epoch() -> Weight {
			base(1, 0).saturating_add($db.reads_writes(1, 0))
		}
		fn end_epoch() -> Weight {
			// Current epoch, five params, issuance, three accounts, reserve, carry, oldest, the two oldest
			// epochs looked at and taken, validators | epoch, two dropped, oldest, carry, current,
			// validators, issuance, accounts.
			let (reads, writes) = (23, 14);
			base(reads, writes).saturating_add($db.reads_writes(reads, writes))
		}
	};
}

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	weights!(T::DbWeight::get());
}

impl WeightInfo for () {
	weights!(RocksDbWeight::get());
}
