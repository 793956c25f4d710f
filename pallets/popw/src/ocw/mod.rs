//! The off-chain worker: at each imported block it finds the work due for the keys in this node's keystore,
//! asks the agents, and submits their answers, fee-less.
//!
//! It never waits: an agent works in the background and is polled ([`offchain::Agent`]), and every request
//! has a deadline of a fraction of a second, a request that starts a trial one of 3 s. Data that must
//! survive a restart, the votes and the salt above all, is in persistent local storage before anything is
//! submitted. A lock keeps the off-chain workers of two blocks from doing the same work. Trials are started
//! before it is taken (`start.rs`).
//!
//! It runs after every block that is the best one for a moment, and local storage is not rolled back when
//! another chain turns out to be better. So everything stored about a round is stored with a seed of that
//! round, and starts afresh when the chain has another seed.

mod checker;
pub(crate) mod round_work;
mod start;
pub(crate) mod window;
mod worker;

use crate::{pallet::*, *};
use codec::{Decode, Encode};
use kaisar_primitives::{
	BlockNumber, CheckerKey, RoundIndex, WorkerId, WorkerKey,
	authorized::genesis,
	offchain::{self, POPW_LOCK, forget, may_send, read, submit},
};
use sp_core::H256;
use sp_runtime::{
	RuntimeAppPublic,
	offchain::{
		Duration, Timestamp,
		storage::StorageValueRef,
		storage_lock::{StorageLock, Time},
	},
};

/// Timeout of the lock, for a node that dies while it holds it.
const LOCK: Duration = Duration::from_millis(10_000);

/// Part of a phase, as one in this number, for which no submission is planned, so that stragglers still get
/// in.
const STRAGGLERS: BlockNumber = 8;

/// Runs after block `now` was imported.
pub fn run<T: Config>(now: BlockNumber) {
	let workers = WorkerKey::all();
	let checkers = CheckerKey::all();
	if workers.is_empty() && checkers.is_empty() {
		return;
	}
	if !checkers.is_empty() {
		window::note::<T>(now);
	}
	let rounds = Pallet::<T>::running_rounds(now);
	let started = start::start::<T>(&workers, &checkers, &rounds, now);
	let mut lock = StorageLock::<Time>::with_deadline(POPW_LOCK, LOCK);
	let Ok(_guard) = lock.try_lock() else { return };

	let until = offchain::until();
	for key in &workers {
		worker::serve::<T>(key, &rounds, &started, now, until);
	}
	for key in &checkers {
		checker::serve::<T>(key, &rounds, &started, now, until);
	}
	round_work::clean_up_all::<T>(&rounds, now);
}

/// Returns a position for `key` among `slots` blocks, so that nodes do not all submit in the same one.
fn spread(key: &[u8], seed: H256, slots: BlockNumber) -> BlockNumber {
	let hash = (b"kaisar/spread", key, seed).using_encoded(sp_io::hashing::blake2_256);
	let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
	number.checked_rem(slots).unwrap_or(0)
}

/// Returns the number of blocks of a phase over which `load` submissions are spread: as many as are needed
/// at `rate` a block, but at most seven eighths of the phase, so that stragglers still get in. With little
/// load nobody waits.
fn spread_over(load: u64, rate: u64, phase: BlockNumber) -> BlockNumber {
	let most = phase.saturating_sub(phase.div_ceil(STRAGGLERS)).max(1);
	let needed = load.div_ceil(rate.max(1));
	u32::try_from(needed).unwrap_or(u32::MAX).clamp(1, most)
}

/// Returns the milliseconds from now until a round is over and nobody asks about it any more, at 12 s a
/// block.
fn keep_ms(round: &Round, now: BlockNumber) -> u64 {
	u64::from(round.ends().saturating_sub(now).saturating_add(2))
		.saturating_mul(kaisar_primitives::MILLISECS_PER_BLOCK)
}

/// Closes checks that are over, unless this node has just tried.
fn finalize<T: Config>(workers: alloc::vec::Vec<WorkerId>, now: BlockNumber) {
	for chunk in workers.chunks(MAX_FINALIZE as usize) {
		if may_send((b"finalize", chunk), now) {
			let workers = sp_runtime::BoundedVec::truncate_from(chunk.to_vec());
			submit::<T, _>(Call::finalize { workers });
		}
	}
}

/// The name of a submission for a round. It includes the round's seed: on another chain it has to be sent
/// again.
type Sent = (&'static [u8; 6], u32, RoundIndex, u16, H256);

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn submissions_are_spread_as_wide_as_the_load_needs() {
		// Few workers: at once.
		assert_eq!(spread_over(0, 1_000, 25), 1);
		assert_eq!(spread_over(1_000, 1_000, 25), 1);
		assert_eq!(spread_over(1_001, 1_000, 25), 2);
		// A census of 10⁶ workers in phases of 625 blocks: all but the last eighth.
		assert_eq!(spread_over(1_000_000, 1_000, 625), 546);
		assert_eq!(spread_over(5_000_000, 4_000, 625), 546);
		assert_eq!(
			spread_over(u64::MAX, 0, u32::MAX),
			u32::MAX - u32::MAX.div_ceil(STRAGGLERS)
		);
		assert_eq!(spread_over(5, 1, 1), 1);
	}

	#[test]
	fn a_place_is_among_the_slots() {
		for key in 0..100u8 {
			assert!(spread(&[key; 32], H256::zero(), 7) < 7);
		}
		assert_eq!(spread(&[1; 32], H256::zero(), 0), 0);
	}
}
