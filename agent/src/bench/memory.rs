//! The memory walk: memory is filled from a seed, then each lane makes dependent reads all over it.
//!
//! A page costs about 8 µs to compute and 0.1 µs to read, so whoever does not keep what it claims to
//! have takes many times as long. A checker needs no memory: it computes the pages that a sampled
//! segment reads.

use crate::bench::hash::{
	Hash, SegmentOpening, Segments, TreeTag, derive, draw, fill_linked, hash, segment_start,
};
use rayon::prelude::*;

/// Bytes of a page.
pub const PAGE: usize = 4_096;
/// Reads in a segment.
pub const SEGMENT: usize = 256;
/// Segments of each lane.
pub const SEGMENTS: usize = 2_048;
/// Segments that a checker computes again.
pub const SAMPLES: usize = 8;

fn first(seed: &Hash, lane: usize) -> Hash {
	hash(
		"kaisar/agent 2026 memory lane",
		&[seed, &(lane as u64).to_le_bytes()],
	)
}

fn words(state: &Hash) -> [u64; 4] {
	let mut out = [0; 4];
	for (word, bytes) in out.iter_mut().zip(state.chunks_exact(8)) {
		let mut buffer = [0; 8];
		buffer.copy_from_slice(bytes);
		*word = u64::from_le_bytes(buffer);
	}
	out
}

/// Reads `SEGMENT` words, each at a place that depends on the word before.
fn advance(state: Hash, bytes: u64, mut read: impl FnMut(u64) -> u64) -> Hash {
	let mut s = words(&state);
	for step in 0..SEGMENT {
		let at = ((u128::from(s[step & 3]) * u128::from(bytes / 8)) >> 64) as u64;
		let value = read(at);
		let mixed = (s[step & 3] ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
		let next = (step + 1) & 3;
		s[next] = (s[next] ^ mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
		s[next] ^= s[next] >> 32;
	}
	let mut out = [0; 32];
	for (bytes, word) in out.chunks_exact_mut(8).zip(s) {
		bytes.copy_from_slice(&word.to_le_bytes());
	}
	*blake3::hash(&out).as_bytes()
}

fn word_at(memory: &[u8], at: u64) -> u64 {
	let at = at as usize * 8;
	let mut buffer = [0; 8];
	buffer.copy_from_slice(&memory[at..at + 8]);
	u64::from_le_bytes(buffer)
}

/// Fills `mib` MiB and walks over it with `lanes` lanes. `None` where it cannot be allocated.
pub fn compute(seed: &Hash, lanes: usize, mib: usize) -> Option<Segments> {
	let bytes = mib.checked_mul(1 << 20)?;
	let mut memory = Vec::new();
	memory.try_reserve_exact(bytes).ok()?;
	memory.resize(bytes, 0u8);
	let pages = derive(seed, "memory/pages");
	memory
		.par_chunks_mut(PAGE)
		.enumerate()
		.for_each(|(index, page)| fill_linked(&pages, index as u64, page));
	let ends = (0..lanes)
		.into_par_iter()
		.with_max_len(1)
		.map(|lane| {
			let mut state = first(seed, lane);
			(0..SEGMENTS)
				.map(|_| {
					state = advance(state, bytes as u64, |at| word_at(&memory, at));
					state
				})
				.collect::<Vec<_>>()
		})
		.collect::<Vec<_>>()
		.concat();
	Some(Segments::new(TreeTag::Memory, SEGMENTS, ends))
}

/// The segments that a checker looks at.
pub fn positions(open: &Hash, lanes: usize) -> Vec<usize> {
	draw(open, "memory/samples", SAMPLES, (lanes * SEGMENTS) as u64)
		.into_iter()
		.map(|at| at as usize)
		.collect()
}

/// Whether the openings fit.
pub fn verify(
	seed: &Hash,
	lanes: usize,
	mib: usize,
	root: &Hash,
	positions: &[usize],
	openings: &[SegmentOpening],
) -> bool {
	let pages = derive(seed, "memory/pages");
	positions.len() == openings.len()
		&& positions
			.par_iter()
			.zip(openings)
			.with_max_len(1)
			.all(|(at, opening)| {
				let Some(state) = segment_start(
					TreeTag::Memory,
					root,
					lanes,
					SEGMENTS,
					*at,
					opening,
					|lane| first(seed, lane),
				) else {
					return false;
				};
				let mut page = [0u8; PAGE];
				let words = (PAGE / 8) as u64;
				let end = advance(state, (mib as u64) << 20, |at| {
					// Only as much of the page as is read.
					let within = at % words;
					let needed = (within as usize * 8 / 32 + 1) * 32;
					fill_linked(&pages, at / words, &mut page[..needed]);
					word_at(&page, within)
				});
				end == opening.after
			})
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn what_was_walked_verifies_without_the_memory() {
		let seed = [1; 32];
		let done = compute(&seed, 2, 2).unwrap();
		let at = positions(&[2; 32], 2);
		let openings: Vec<_> = at.iter().map(|at| done.open(*at)).collect();
		let root = done.root();
		assert!(verify(&seed, 2, 2, &root, &at, &openings));
		assert!(
			!verify(&[3; 32], 2, 2, &root, &at, &openings),
			"another seed"
		);
		assert!(
			!verify(&seed, 2, 3, &root, &at, &openings),
			"less memory than claimed"
		);
		let mut bad = openings.clone();
		bad[3].path[0][0] ^= 1;
		assert!(!verify(&seed, 2, 2, &root, &at, &bad));
	}

	#[test]
	fn what_cannot_be_allocated_is_said() {
		assert!(compute(&[1; 32], 1, usize::MAX >> 21).is_none());
	}
}
