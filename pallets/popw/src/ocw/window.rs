//! The windows in which all seats measure the bandwidth of all workers of an owner.
//!
//! The chain fixes a block for each owner ([`Round::window_block`]), and the window begins three block times
//! after it. Where the round's trial is that of production ([`BenchParams::is_full`]), a block's time is its
//! slot's, which all nodes read alike in its state. Otherwise times are no evidence, and blocks may come
//! faster than slots: a development chain seals one a second and lets its time run ahead of the clock. There
//! a block time is a second, and counts from the block's import.
//!
//! The state has the time of the newest block only, so each node notes the time of each imported block,
//! together with the running hash after the block. A note does not apply to another chain, and a node that
//! returns to this chain finds it again.
//!
//! [`BenchParams::is_full`]: kaisar_primitives::BenchParams::is_full

use super::*;
use alloc::vec::Vec;
use frame_support::traits::Time as _;
use kaisar_primitives::agent::WINDOW_MISSED;

/// Heights whose times are stored, about 50 minutes: a window is over within 9 blocks.
pub const HEIGHTS: BlockNumber = 256;
/// Competing blocks of one height whose times are stored.
const RIVALS: usize = 4;

/// The times of a block.
#[derive(Encode, Decode)]
struct Note {
	block: BlockNumber,
	/// The running hash after the block.
	seed: H256,
	/// The block's timestamp, in milliseconds since 1970.
	stamp: u64,
	/// The time at which this node first ran on it, in milliseconds since 1970.
	imported: u64,
}

/// Returns the local storage key of the notes of a height. They overwrite those of [`HEIGHTS`] blocks
/// before.
pub fn notes_key(block: BlockNumber) -> Vec<u8> {
	let place = block.checked_rem(HEIGHTS).unwrap_or(0);
	(b"kaisar/popw/times", place).encode()
}

/// Notes the times of block `now`. It needs no lock: no later block writes the same note.
pub fn note<T: Config>(now: BlockNumber) {
	let Some(seed) = BlockSeeds::<T>::get(now) else {
		return;
	};
	let name = notes_key(now);
	let mut notes: Vec<Note> = read(&name).unwrap_or_default();
	notes.retain(|note| note.block == now);
	if notes.iter().any(|note| note.seed == seed) {
		return;
	}
	let old = notes.len().saturating_sub(RIVALS.saturating_sub(1));
	notes.drain(..old);
	notes.push(Note {
		block: now,
		seed,
		stamp: T::Time::now(),
		imported: sp_io::offchain::timestamp().unix_millis(),
	});
	StorageValueRef::persistent(&name).set(&notes);
}

/// Returns the start of the window fixed by `block`, in milliseconds since 1970. `None` before that block,
/// [`WINDOW_MISSED`] if this node did not run on it.
pub fn begins<T: Config>(round: &Round, block: BlockNumber, now: BlockNumber) -> Option<u64> {
	if now < block {
		return None;
	}
	let seed = BlockSeeds::<T>::get(block);
	let notes: Vec<Note> = read(&notes_key(block)).unwrap_or_default();
	let note = notes
		.iter()
		.find(|note| note.block == block && Some(note.seed) == seed);
	Some(note.map_or(WINDOW_MISSED, |note| {
		let from = if round.bench.is_full() {
			note.stamp
		} else {
			note.imported
		};
		from.saturating_add(round.window_delay_ms())
	}))
}
