//! Weights of the calls.
//!
//! Derived from the reads and writes of each call and the sizes of the items, and tested against the load of
//! a census (`cargo bench -p kaisar-runtime --bench census`, `docs/popw.md`); to be replaced by the output
//! of the benchmarks.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// The weights of the calls and hooks.
pub trait WeightInfo {
	/// Returns the weight of [`crate::Call::attest`] whose committee takes `d` draws.
	fn attest(d: u32) -> Weight;
	/// Returns the weight of checking an attestation in the pool.
	fn authorize_attest() -> Weight;
	/// Returns the weight of [`crate::Call::commit`] to a slot with `u` older unopened commitments (0 or 1).
	fn commit(u: u32) -> Weight;
	/// Returns the weight of checking a commitment in the pool.
	fn authorize_commit() -> Weight;
	/// Returns the weight of [`crate::Call::reveal`] of `v` votes that closes `c` checks which confirm the
	/// known facts, and `h` others.
	fn reveal(v: u32, c: u32, h: u32) -> Weight;
	/// Returns the weight of checking a reveal of `v` votes in the pool.
	fn authorize_reveal(v: u32) -> Weight;
	/// Returns the weight of [`crate::Call::report_absent`].
	fn report_absent() -> Weight;
	/// Returns the weight of checking a report in the pool.
	fn authorize_report_absent() -> Weight;
	/// Returns the weight of [`crate::Call::finalize`] of `c` checks which confirm the known facts, and `h`
	/// others.
	fn finalize(c: u32, h: u32) -> Weight;
	/// Returns the weight of checking `c` workers in the pool.
	fn authorize_finalize(c: u32) -> Weight;
	/// Returns the weight of the start of a block without a new round, with `p` steps of the removal of past
	/// rounds, which find `u` unopened commitments.
	fn on_initialize(p: u32, u: u32) -> Weight;
	/// Returns the additional weight of a round's start.
	fn start_round() -> Weight;
	/// Returns the weight of folding the block's VRF output, and of seeding rounds.
	fn on_finalize() -> Weight;
}

/// Proof size of one leaf in a trie of a million entries: six branch nodes of at most 512 bytes and
/// the value.
const LEAF: u64 = 3_200;

fn figure<D: Get<frame_support::weights::RuntimeDbWeight>>(
	micros: u64,
	reads: u64,
	writes: u64,
) -> Weight {
	Weight::from_parts(micros.saturating_mul(1_000_000), LEAF.saturating_mul(reads))
		.saturating_add(D::get().reads_writes(reads, writes))
}

/// Returns the weight of closing a check that confirms the known facts: the check, the worker, its score.
fn confirming<D: Get<frame_support::weights::RuntimeDbWeight>>() -> Weight {
	figure::<D>(40, 3, 3)
}

/// Returns the weight of closing any other check: also up to eleven figures of the registry, a queued slash,
/// a strike, and a mark that moves. The rounds in flight, by which the worker's earlier states are stored,
/// are hot: each block's hooks read them.
fn changing<D: Get<frame_support::weights::RuntimeDbWeight>>() -> Weight {
	figure::<D>(200, 3 + 11 + 3 + 8 + 1, 3 + 11 + 3 + 4)
}

/// Returns the weight of counting an unopened commitment: the commitment, the record of such, and the work
/// of Rewards. That is the epoch's totals and the operator's score; and with the first seat of an epoch the
/// pool's terms and owner, and of the epoch before its totals, the reward owed, and the parts of the members
/// and of the owner.
fn unopened<D: Get<frame_support::weights::RuntimeDbWeight>>() -> Weight {
	figure::<D>(40, 2 + 2 + 8, 2 + 2 + 6)
}

/// Figures for a runtime.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	// Worker and last check; each draw an operator's record. The round's record, count and list, the
	// licenses' pages and those of the operators' counters are the same for many attestations of a block:
	// `on_initialize` pays for them.
	fn attest(d: u32) -> Weight {
		figure::<T::DbWeight>(50, 2, 2)
			.saturating_add(figure::<T::DbWeight>(10, 1, 0).saturating_mul(d.into()))
	}
	// The signature is most of it. The call reads the same items again, from memory.
	fn authorize_attest() -> Weight {
		figure::<T::DbWeight>(60, 1, 0)
	}
	// The operator, the slot, the round of its commitment, the counters.
	fn commit(u: u32) -> Weight {
		figure::<T::DbWeight>(40, 4, 2)
			.saturating_add(unopened::<T::DbWeight>().saturating_mul(u.into()))
	}
	fn authorize_commit() -> Weight {
		figure::<T::DbWeight>(60, 1, 0)
	}
	// A vote reads and writes its check. Closing reads and writes the worker and its score; the epoch's
	// totals and the pages of operators' scores are hot, and `on_initialize` pays for them.
	fn reveal(v: u32, c: u32, h: u32) -> Weight {
		figure::<T::DbWeight>(35, 4, 3)
			.saturating_add(figure::<T::DbWeight>(5, 1, 1).saturating_mul(v.into()))
			.saturating_add(confirming::<T::DbWeight>().saturating_mul(c.into()))
			.saturating_add(changing::<T::DbWeight>().saturating_mul(h.into()))
	}
	fn authorize_reveal(v: u32) -> Weight {
		figure::<T::DbWeight>(60, 1, 0)
			.saturating_add(Weight::from_parts(100_000, 0).saturating_mul(v.into()))
	}
	// It finds the worker offline, like a check that changes something: up to eleven figures of the registry
	// and a slash.
	fn report_absent() -> Weight {
		figure::<T::DbWeight>(40, 4, 1).saturating_add(changing::<T::DbWeight>())
	}
	// The rounds of this block and the one before it, the worker and its last check.
	fn authorize_report_absent() -> Weight {
		figure::<T::DbWeight>(20, 4, 0)
	}
	fn finalize(c: u32, h: u32) -> Weight {
		figure::<T::DbWeight>(15, 1, 0)
			.saturating_add(confirming::<T::DbWeight>().saturating_mul(c.into()))
			.saturating_add(changing::<T::DbWeight>().saturating_mul(h.into()))
	}
	fn authorize_finalize(c: u32) -> Weight {
		figure::<T::DbWeight>(5, 1, 0).saturating_mul(c.max(1).into())
	}
	// With the network's numbers, and the hot items of a census: a round's record, count and list, a hundred
	// pages of licenses and as many of scores and of counters, of which a block writes no more than it has
	// verdicts. A step of the sweep finds a page and removes it, reads the slot of a commitment, or finds
	// that a round is over and has no page left. The page at which it stops is written once.
	fn on_initialize(p: u32, u: u32) -> Weight {
		figure::<T::DbWeight>(10, 5 + 5 + 5 + 300, 3 + 4 + 200)
			.saturating_add(figure::<T::DbWeight>(5, 3, 1).saturating_mul(p.into()))
			.saturating_add(unopened::<T::DbWeight>().saturating_mul(u.into()))
	}
	// With the removal of up to eight old records.
	fn start_round() -> Weight {
		figure::<T::DbWeight>(30, 10 + 8, 4 + 8)
	}
	// The seeds of a spot round, of a census and of their trials: at most two of each in a block.
	fn on_finalize() -> Weight {
		figure::<T::DbWeight>(20, 4 + 4, 5 + 4)
	}
}

/// Figures for tests.
impl WeightInfo for () {
	fn attest(d: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(d) * 10, 0)
	}
	fn authorize_attest() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn commit(u: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(u) * 100, 0)
	}
	fn authorize_commit() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn reveal(v: u32, c: u32, h: u32) -> Weight {
		Weight::from_parts(
			1_000 + u64::from(v) * 10 + u64::from(c) * 100 + u64::from(h) * 1_000,
			0,
		)
	}
	fn authorize_reveal(_: u32) -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn report_absent() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn authorize_report_absent() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn finalize(c: u32, h: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(c) * 100 + u64::from(h) * 1_000, 0)
	}
	fn authorize_finalize(_: u32) -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn on_initialize(p: u32, u: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(p) * 10 + u64::from(u) * 100, 0)
	}
	fn start_round() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn on_finalize() -> Weight {
		Weight::from_parts(1_000, 0)
	}
}
