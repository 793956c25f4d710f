//! Weights of the calls and hooks.
//!
//! Computed from the reads and writes of each, to be replaced by the output of the benchmarks
//! (`benchmarking.rs`). A call that touches a worker includes closing a check of the largest committee.

use core::marker::PhantomData;
use frame_support::{
	traits::Get,
	weights::{Weight, constants::RocksDbWeight},
};
use kaisar_primitives::MAX_COMMITTEE;

/// The weights of the calls and hooks.
pub trait WeightInfo {
	/// Returns the weight of `place_order`.
	fn place_order() -> Weight;
	/// Returns the weight of `confirm_deployment`.
	fn confirm_deployment() -> Weight;
	/// Returns the weight of `fail_deployment`.
	fn fail_deployment() -> Weight;
	/// Returns the weight of `report_exit`.
	fn report_exit() -> Weight;
	/// Returns the weight of checking one of these three calls in the pool.
	fn authorize_worker() -> Weight;
	/// Returns the weight of `extend_order`.
	fn extend_order() -> Weight;
	/// Returns the weight of `cancel_order`.
	fn cancel_order() -> Weight;
	/// Returns the weight of `report_issue`.
	fn report_issue() -> Weight;
	/// Returns the weight of `close_order`.
	fn close_order() -> Weight;
	/// Returns the weight of `set_price` and `set_cost`.
	fn set_price() -> Weight;
	/// Returns the weight of `set_contingency`.
	fn set_contingency() -> Weight;
	/// Returns the weight of `set_oracle`.
	fn set_oracle() -> Weight;
	/// Returns the weight of `set_template`.
	fn set_template() -> Weight;
	/// Returns the weight of `set_client_key`.
	fn set_client_key() -> Weight;
	/// Returns the weight of reading the queue.
	fn match_orders() -> Weight;
	/// Returns the weight of reading an entry of the queue.
	fn match_look() -> Weight;
	/// Returns the weight of matching an order for which `d` workers are drawn, `t` touched, and `r`
	/// reviewed.
	fn match_order(d: u32, t: u32, r: u32) -> Weight;
	/// Returns the weight of reading the agenda.
	fn agenda() -> Weight;
	/// Returns the weight of one block of the agenda.
	fn agenda_block() -> Weight;
	/// Returns the weight of a stale entry.
	fn agenda_stale() -> Weight;
	/// Returns the weight of removing an order.
	fn agenda_forget() -> Weight;
	/// Returns the weight of a bar's end: the worker is reviewed, and its order kept or removed.
	fn agenda_review() -> Weight;
	/// Returns the weight of ending an order's paid time.
	fn agenda_end() -> Weight;
	/// Returns the weight of any other step of an order.
	fn agenda_other() -> Weight;
	/// Returns the additional weight of closing a check whose worker serves an order: the payment, or the
	/// order's end. Part of Popw's weights.
	fn on_order_checked() -> Weight;
}

/// Time of a call without its database accesses, in ps.
const CALL: u64 = 30_000_000;
/// Time of verifying a signature, in ps.
const SIGNATURE: u64 = 60_000_000;
/// Time of a step in a hook without its database accesses, in ps.
const STEP: u64 = 10_000_000;
/// Proof size of an item.
const ITEM: u64 = 3_600;
/// Items read and written when a check is closed: the check, its round, the seats' operators, the worker's
/// and the operators' scores, totals; the worker's listing under another profile, two prices, its slashes,
/// and the rounds in flight. (As Providers has it.)
const CLOSING: u64 = 10 + 3 * MAX_COMMITTEE as u64 + 2 * 11 + 2 * 2 + 3 + ROUNDS;
/// Items read to find the rounds in flight, as for each change of a worker's state.
const ROUNDS: u64 = 5;
/// Items of an order's payment: the customer's account and holds, the pot, the owner; the treasury, or both
/// reward pots and their carry; all credits; the worker, the next round and its score, the running epoch;
/// two parameters.
const PAYMENT: u64 = 15;
/// Items of a worker that enters or leaves the index: its record, and in each of its two buckets the length,
/// its page, the last page, and the record of the worker that moves.
const LISTING: u64 = 1 + 2 * 4;
/// Further items of an order's end: its record, its workload, a page of the agenda and its length; the
/// customer's account, holds and credits; the bond's; the worker, its listing and a mark for the next round.
/// (The rounds in flight are among the items read to close a check.)
const ENDING: u64 = 4 + 3 + 2 + 4 + 11;
/// Items read to find until when a worker owes proofs from before it was rented: its check, its record, the
/// rounds in flight and their list; the next round and its start, one that starts in this block; two
/// parameters.
const PROVING: u64 = 2 + MAX_IN_FLIGHT + 1 + 3 + 2;
/// Maximum number of rounds in flight. (As Popw has it.)
const MAX_IN_FLIGHT: u64 = 8;

fn items<D: Get<frame_support::weights::RuntimeDbWeight>>(
	time: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	Weight::from_parts(time, ITEM.saturating_mul(reads))
		.saturating_add(D::get().reads_writes(reads, writes))
}

/// Weights with the runtime's database.
pub struct SubstrateWeight<T>(PhantomData<T>);

/// Defines the weights for a database.
macro_rules! weights {
	($db:ty) => {
		fn place_order() -> Weight {
			// The class and whether it is paid; price, switch, utilization, plans, template; number,
			// account, holds, credits; the order, its workload, the index, the queue and its ends.
			items::<$db>(CALL, 17, 10)
		}
		fn confirm_deployment() -> Weight {
			// The order, the worker, the next round; a page of the agenda and its length. The check that it
			// closes can pay for the order, or end it.
			items::<$db>(
				CALL,
				CLOSING + PAYMENT + ENDING + 6,
				CLOSING + PAYMENT + ENDING + 3,
			)
		}
		fn fail_deployment() -> Weight {
			items::<$db>(CALL, CLOSING + PAYMENT + ENDING, CLOSING + PAYMENT + ENDING)
		}
		fn report_exit() -> Weight {
			items::<$db>(CALL, CLOSING + PAYMENT + ENDING, CLOSING + PAYMENT + ENDING)
		}
		fn authorize_worker() -> Weight {
			// The order, the worker, the next round, the genesis hash.
			items::<$db>(SIGNATURE, 4, 0)
		}
		fn extend_order() -> Weight {
			// The order; price, switch, utilization, plans; account, holds; a page and its length.
			items::<$db>(
				CALL,
				CLOSING + PAYMENT + ENDING + 10,
				CLOSING + PAYMENT + ENDING + 5,
			)
		}
		fn cancel_order() -> Weight {
			items::<$db>(CALL, CLOSING + PAYMENT + ENDING, CLOSING + PAYMENT + ENDING)
		}
		fn report_issue() -> Weight {
			// The order, account, holds, the bond's size, the next round, the worker.
			items::<$db>(
				CALL,
				CLOSING + PAYMENT + ENDING + 7,
				CLOSING + PAYMENT + ENDING + 4,
			)
		}
		fn close_order() -> Weight {
			items::<$db>(
				CALL,
				CLOSING + PAYMENT + ENDING + 4,
				CLOSING + PAYMENT + ENDING + 4,
			)
		}
		fn set_price() -> Weight {
			items::<$db>(CALL, 2, 1)
		}
		fn set_contingency() -> Weight {
			items::<$db>(CALL, 1, 1)
		}
		fn set_oracle() -> Weight {
			items::<$db>(CALL, 1, 1)
		}
		fn set_template() -> Weight {
			items::<$db>(CALL, 1, 1)
		}
		fn set_client_key() -> Weight {
			// The order; the workload.
			items::<$db>(CALL, 2, 1)
		}
		fn match_orders() -> Weight {
			// The queue's ends; a seed, or the running hash and the block's output; the census and its
			// round.
			items::<$db>(STEP, 5, 1)
		}
		fn match_look() -> Weight {
			// An entry, the order, a bucket's length, a parameter.
			items::<$db>(STEP / 5, 4, 1)
		}
		fn match_order(d: u32, t: u32, r: u32) -> Weight {
			// A draw reads a page of the bucket, a worker's record and its price; one that fits also whether
			// it has a check open, and its record again. One worker is rented, whose proof may still run
			// (the rounds in flight are read for it), or the price is refunded. A reviewed worker leaves
			// both of its buckets.
			items::<$db>(STEP, 2 + ENDING + PROVING, 2 + ENDING)
				.saturating_add(items::<$db>(STEP / 2, 4, 0).saturating_mul(d.into()))
				.saturating_add(items::<$db>(STEP, CLOSING, CLOSING).saturating_mul(t.into()))
				.saturating_add(items::<$db>(STEP, LISTING + 2, LISTING).saturating_mul(r.into()))
		}
		fn agenda() -> Weight {
			items::<$db>(STEP, 1, 1)
		}
		fn agenda_block() -> Weight {
			items::<$db>(STEP / 10, 1, 1)
		}
		fn agenda_stale() -> Weight {
			// The order; each page is read and removed once.
			items::<$db>(STEP / 5, 2, 1)
		}
		fn agenda_forget() -> Weight {
			// The order, the index; a page.
			items::<$db>(STEP, 2, 3)
		}
		fn agenda_review() -> Weight {
			// The worker, the next round, the price book, its listing; a page and its length, or the removed
			// order; the length of the history.
			items::<$db>(STEP, LISTING + 9, LISTING + 5)
		}
		fn agenda_end() -> Weight {
			// The order, the worker, the next and the oldest round, the timeout; a page, another one and its
			// length.
			items::<$db>(STEP, 8, 5)
		}
		fn agenda_other() -> Weight {
			// With a fault: a slash, its number.
			items::<$db>(
				STEP,
				CLOSING + PAYMENT + ENDING + 4,
				CLOSING + PAYMENT + ENDING + 4,
			)
		}
		fn on_order_checked() -> Weight {
			items::<$db>(STEP, PAYMENT + ENDING, PAYMENT + ENDING)
		}
	};
}

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	weights!(T::DbWeight);
}

impl WeightInfo for () {
	weights!(RocksDbWeight);
}
