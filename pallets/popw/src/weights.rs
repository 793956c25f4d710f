//! Weights of the calls.
//!
//! Derived from the reads and writes of each call and the sizes of what they touch; to be replaced
//! by the output of the benchmarks.

use core::marker::PhantomData;
use frame_support::{traits::Get, weights::Weight};

/// What the calls and hooks cost.
pub trait WeightInfo {
	/// [`crate::Call::attest`] whose committee takes `d` draws.
	fn attest(d: u32) -> Weight;
	/// Checking an attestation in the pool.
	fn authorize_attest() -> Weight;
	/// [`crate::Call::commit`].
	fn commit() -> Weight;
	/// Checking a commitment in the pool.
	fn authorize_commit() -> Weight;
	/// [`crate::Call::reveal`] of `v` votes that closes `c` checks.
	fn reveal(v: u32, c: u32) -> Weight;
	/// Checking a reveal of `v` votes in the pool.
	fn authorize_reveal(v: u32) -> Weight;
	/// [`crate::Call::report_absent`].
	fn report_absent() -> Weight;
	/// Checking a report in the pool.
	fn authorize_report_absent() -> Weight;
	/// [`crate::Call::finalize`] of `c` checks.
	fn finalize(c: u32) -> Weight;
	/// Checking `c` workers in the pool.
	fn authorize_finalize(c: u32) -> Weight;
	/// A block that starts no round and removes `p` pages of old lists.
	fn on_initialize(p: u32) -> Weight;
	/// What a round's start adds.
	fn start_round() -> Weight;
	/// Folding the block's VRF output, and seeding a round.
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

/// Figures for a runtime.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
	// Round, worker, last check, count, page; each draw a licence page and an operator.
	fn attest(d: u32) -> Weight {
		figure::<T::DbWeight>(100, 5, 4)
			.saturating_add(figure::<T::DbWeight>(10, 2, 0).saturating_mul(d.into()))
	}
	// The signature is most of it.
	fn authorize_attest() -> Weight {
		figure::<T::DbWeight>(60, 3, 0)
	}
	fn commit() -> Weight {
		figure::<T::DbWeight>(20, 4, 1)
	}
	fn authorize_commit() -> Weight {
		figure::<T::DbWeight>(60, 4, 0)
	}
	// A vote reads and writes its check. Closing reads and writes the worker, its score and the
	// epoch's totals, and up to five operators and their scores.
	fn reveal(v: u32, c: u32) -> Weight {
		figure::<T::DbWeight>(30, 4, 2)
			.saturating_add(figure::<T::DbWeight>(8, 1, 1).saturating_mul(v.into()))
			.saturating_add(figure::<T::DbWeight>(60, 14, 13).saturating_mul(c.into()))
	}
	fn authorize_reveal(v: u32) -> Weight {
		figure::<T::DbWeight>(60, 3, 0)
			.saturating_add(Weight::from_parts(100_000, 0).saturating_mul(v.into()))
	}
	fn report_absent() -> Weight {
		figure::<T::DbWeight>(40, 6, 5)
	}
	fn authorize_report_absent() -> Weight {
		figure::<T::DbWeight>(20, 3, 0)
	}
	fn finalize(c: u32) -> Weight {
		figure::<T::DbWeight>(15, 1, 0)
			.saturating_add(figure::<T::DbWeight>(70, 15, 14).saturating_mul(c.max(1).into()))
	}
	fn authorize_finalize(c: u32) -> Weight {
		figure::<T::DbWeight>(5, 1, 0).saturating_mul(c.max(1).into())
	}
	fn on_initialize(p: u32) -> Weight {
		figure::<T::DbWeight>(5, 5, 2)
			.saturating_add(figure::<T::DbWeight>(5, 1, 1).saturating_mul(p.into()))
	}
	fn start_round() -> Weight {
		figure::<T::DbWeight>(20, 8, 6)
	}
	fn on_finalize() -> Weight {
		figure::<T::DbWeight>(15, 4, 6)
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
	fn commit() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn authorize_commit() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn reveal(v: u32, c: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(v) * 10 + u64::from(c) * 100, 0)
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
	fn finalize(c: u32) -> Weight {
		Weight::from_parts(1_000 + u64::from(c) * 100, 0)
	}
	fn authorize_finalize(_: u32) -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn on_initialize(_: u32) -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn start_round() -> Weight {
		Weight::from_parts(1_000, 0)
	}
	fn on_finalize() -> Weight {
		Weight::from_parts(1_000, 0)
	}
}
