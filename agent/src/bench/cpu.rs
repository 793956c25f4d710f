//! The CPU benchmark: one BLAKE3 chain a core, cut into segments. A checker computes a few segments
//! again, from the state before to the state after.

use crate::bench::hash::{Hash, SegmentOpening, Segments, TreeTag, draw, hash, segment_start};
use rayon::prelude::*;

/// Hashes in a segment.
pub const SEGMENT: usize = 16_384;
/// Segments that a checker computes again.
pub const SAMPLES: usize = 12;

fn first(seed: &Hash, lane: usize) -> Hash {
	hash(
		"kaisar/agent 2026 cpu lane",
		&[seed, &(lane as u64).to_le_bytes()],
	)
}

fn advance(mut state: Hash) -> Hash {
	for _ in 0..SEGMENT {
		state = *blake3::hash(&state).as_bytes();
	}
	state
}

/// Computes `segments` segments in each of `lanes` lanes.
pub fn compute(seed: &Hash, lanes: usize, segments: usize) -> Segments {
	let ends = (0..lanes)
		.into_par_iter()
		.with_max_len(1)
		.map(|lane| {
			let mut state = first(seed, lane);
			(0..segments)
				.map(|_| {
					state = advance(state);
					state
				})
				.collect::<Vec<_>>()
		})
		.collect::<Vec<_>>()
		.concat();
	Segments::new(TreeTag::Cpu, segments, ends)
}

/// The segments that a checker looks at.
pub fn positions(open: &Hash, lanes: usize, segments: usize) -> Vec<usize> {
	draw(open, "cpu/samples", SAMPLES, (lanes * segments) as u64)
		.into_iter()
		.map(|at| at as usize)
		.collect()
}

/// Whether the openings fit.
pub fn verify(
	seed: &Hash,
	lanes: usize,
	segments: usize,
	root: &Hash,
	positions: &[usize],
	openings: &[SegmentOpening],
) -> bool {
	positions.len() == openings.len()
		&& positions
			.par_iter()
			.zip(openings)
			.with_max_len(1)
			.all(|(at, opening)| {
				segment_start(TreeTag::Cpu, root, lanes, segments, *at, opening, |lane| {
					first(seed, lane)
				})
				.is_some_and(|state| advance(state) == opening.after)
			})
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn what_was_computed_verifies_and_nothing_else_does() {
		let seed = [1; 32];
		let done = compute(&seed, 3, 4);
		let at = positions(&[2; 32], 3, 4);
		let openings: Vec<_> = at.iter().map(|at| done.open(*at)).collect();
		let root = done.root();
		assert!(verify(&seed, 3, 4, &root, &at, &openings));
		assert!(!verify(&[2; 32], 3, 4, &root, &[0], &[done.open(0)]));
		assert!(!verify(&seed, 4, 4, &root, &at, &openings) || at.iter().all(|at| *at < 12));
		assert!(!verify(&seed, 3, 4, &root, &at[1..], &openings));
		for index in 0..openings.len() {
			let mut bad = openings.clone();
			bad[index].after[31] ^= 1;
			assert!(!verify(&seed, 3, 4, &root, &at, &bad));
			let mut bad = openings.clone();
			bad[index].before = match bad[index].before.take() {
				Some((mut state, path)) => {
					state[0] ^= 1;
					Some((state, path))
				}
				None => Some(([0; 32], bad[index].path.clone())),
			};
			assert!(!verify(&seed, 3, 4, &root, &at, &bad));
		}
	}
}
