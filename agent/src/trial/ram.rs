//! Memory filled from a round's seed, page by page.
//!
//! A page depends only on the seed and its number, so a checker computes just the page that it verifies.
//! That takes 1,536 compressions in sequence, each over blocks that the one before names: about 1,700 times
//! a read of the page. A prover that keeps half of a page still computes more than a third of it for a read,
//! but not all of that in sequence: `docs/recomputation.md`.

use super::hash::{Block, Compress, Hash, fill, fold, key, place_u32, u32_at};
use std::collections::BTreeSet;

/// Bytes of a page.
pub const PAGE: usize = 32 << 10;
/// Size of a cell, in bytes: the size of one read.
pub const CELL: usize = 64;
/// Cells of a page.
pub const CELLS: usize = PAGE / CELL;
/// Passes over a page.
const PASSES: usize = 3;
/// Drawn blocks that enter each block: one by each word of the block before. With four, labels kept from all
/// passes break the chains, and other cores recompute a fifth of the memory in time
/// (`docs/recomputation.md`).
const EARLIER: usize = 16;

/// A page, as blocks.
pub type Page = [Block; CELLS];

/// Fills page `number` of the memory whose proof's base is `base`.
pub fn fill_page(compress: Compress, base: &Hash, number: u64, page: &mut Page) {
	fill_drawing(compress, base, number, page, |_, _| ());
}

/// Does the same, and reports each label's drawn places. Label `512 · pass + i` is the block at `i` after a
/// pass.
#[inline(always)]
fn fill_drawing(
	compress: Compress,
	base: &Hash,
	number: u64,
	page: &mut Page,
	mut drawn: impl FnMut(usize, &[usize]),
) {
	let seed = key("page", &[base, &number.to_le_bytes()]);
	let mut last: Block = [0; 64];
	fill(&seed, 0, 0, &mut last);
	for pass in 0..PASSES {
		for at in 0..CELLS {
			// The first pass draws from earlier blocks only, and the block at `at` counts as zeros.
			let (count, mut input) = match pass {
				0 => (at, [0; 64]),
				_ => (CELLS, page[at]),
			};
			let label = pass * CELLS + at;
			let mut places = [0; EARLIER];
			let places = match count {
				0 => &places[..0],
				_ => {
					for (word, place) in places.iter_mut().enumerate() {
						*place = place_u32(u32_at(&last, 4 * word), count as u32) as usize;
						xor(&mut input, &page[*place]);
					}
					&places[..]
				}
			};
			drawn(label, places);
			last = compress.whole(&fold(&last), &input, label as u64);
			page[at] = last;
		}
	}
}

/// Returns the labels whose blocks enter the input of each label of a page. Each label also takes the fold
/// of the one before it. Two equal blocks cancel out and are not listed.
#[doc(hidden)]
pub fn page_graph(base: &Hash, number: u64) -> Vec<Vec<usize>> {
	let mut page = Box::new([[0; CELL]; CELLS]);
	let mut graph = Vec::with_capacity(PASSES * CELLS);
	fill_drawing(Compress::new(), base, number, &mut page, |label, places| {
		let (pass, at) = (label / CELLS, label % CELLS);
		let newest = |from: usize| {
			if from < at {
				label - at + from
			} else {
				label - at + from - CELLS
			}
		};
		let mut blocks = BTreeSet::new();
		let earlier = (pass > 0).then_some(at);
		for from in earlier.iter().chain(places) {
			let block = newest(*from);
			if !blocks.remove(&block) {
				blocks.insert(block);
			}
		}
		graph.push(Vec::from_iter(blocks));
	});
	graph
}

#[inline]
fn xor(into: &mut Block, other: &Block) {
	for (byte, other) in into.iter_mut().zip(other) {
		*byte ^= other;
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::hash::u64_at;

	fn page(base: u8, number: u64) -> Box<Page> {
		let mut page = Box::new([[0; 64]; CELLS]);
		fill_page(Compress::new(), &[base; 32], number, &mut page);
		page
	}

	#[test]
	fn a_page_is_of_its_seed_and_number() {
		let one = page(1, 0);
		assert_eq!(one, page(1, 0));
		assert_ne!(one, page(1, 1));
		assert_ne!(one, page(2, 0));
		// The page's earlier contents do not matter.
		let mut dirty = Box::new([[7; 64]; CELLS]);
		fill_page(Compress::new(), &[1; 32], 0, &mut dirty);
		assert_eq!(one, dirty);
		let blocks: std::collections::BTreeSet<_> = one.iter().collect();
		assert_eq!(blocks.len(), CELLS);
	}

	#[test]
	fn a_page_stays_what_it_is() {
		// Another implementation must compute the same blocks of page 5 of base 1.
		let page = page(1, 5);
		let sums: Vec<u64> = [0, 1, 511].map(|at| u64_at(&page[at], 0)).to_vec();
		assert_eq!(sums, EXPECTED);
	}

	/// Returns the labels that each label of a page is made of. Label `512 · pass + i` is the block at `i`
	/// after a pass.
	fn graph(page_of: u8) -> Vec<Vec<usize>> {
		let base = [page_of; 32];
		let seed = key("page", &[&base, &0u64.to_le_bytes()]);
		let mut last: Block = [0; 64];
		fill(&seed, 0, 0, &mut last);
		let mut page = [[0; 64]; CELLS];
		let mut made_of = Vec::new();
		for pass in 0..PASSES {
			for at in 0..CELLS {
				let label = pass * CELLS + at;
				let mut of = Vec::from_iter(label.checked_sub(1));
				let (count, mut input) = match pass {
					0 => (at, [0; 64]),
					_ => (CELLS, page[at]),
				};
				of.extend(label.checked_sub(CELLS));
				for word in 0..if count > 0 { EARLIER } else { 0 } {
					let from = place_u32(u32_at(&last, 4 * word), count as u32) as usize;
					xor(&mut input, &page[from]);
					let newest = if from < at { pass } else { pass - 1 };
					of.push(newest * CELLS + from);
				}
				last = Compress::new().whole(&fold(&last), &input, label as u64);
				page[at] = last;
				made_of.push(of);
			}
		}
		let whole = &*super::tests::page(page_of, 0);
		assert_eq!(&page, whole, "the graph is that of the page");
		made_of
	}

	/// Returns the labels to compute for one label, if only some are kept.
	fn computed(made_of: &[Vec<usize>], kept: &[bool], label: usize) -> usize {
		let mut seen = vec![false; made_of.len()];
		let mut open = vec![label];
		let mut count = 0;
		while let Some(label) = open.pop() {
			if kept[label] || std::mem::replace(&mut seen[label], true) {
				continue;
			}
			count += 1;
			open.extend(&made_of[label]);
		}
		count
	}

	/// Returns the part of a page's labels that a read takes on average.
	fn cost(made_of: &[Vec<usize>], kept: &[bool]) -> f64 {
		let last = made_of.len() - CELLS;
		let all: usize = (last..made_of.len())
			.map(|label| computed(made_of, kept, label))
			.sum();
		all as f64 / (CELLS * made_of.len()) as f64
	}

	#[test]
	fn half_of_a_page_kept_leaves_much_to_compute_for_each_read() {
		let made_of = graph(3);
		let labels = made_of.len();
		let keep =
			|keeps: &dyn Fn(usize) -> bool| -> Vec<bool> { (0..labels).map(keeps).collect() };
		assert_eq!(cost(&made_of, &keep(&|label| label >= labels - CELLS)), 0.0);
		let nothing = cost(&made_of, &keep(&|_| false));
		assert!(nothing > 0.8, "without anything kept: {nothing}");
		// Half of the memory: 256 labels, of the last pass or of all.
		let last = labels - CELLS;
		let halves: [(&str, Vec<bool>); 5] = [
			(
				"every second",
				keep(&|label| label >= last && label % 2 == 0),
			),
			(
				"the first half",
				keep(&|label| label >= last && label < last + CELLS / 2),
			),
			("the second half", keep(&|label| label >= last + CELLS / 2)),
			("every sixth of all passes", keep(&|label| label % 6 == 0)),
			(
				"every fourth of the last two",
				keep(&|label| label >= CELLS && label % 4 == 0),
			),
		];
		for (name, kept) in halves {
			let count = kept.iter().filter(|kept| **kept).count();
			assert!(count <= CELLS / 2, "{name}: {count}");
			let cost = cost(&made_of, &kept);
			println!("{name}: {cost:.3} of a page a read");
			// A page takes 1,700 times a read.
			assert!(cost > 0.25, "{name}: {cost}");
		}
	}

	#[test]
	fn labels_of_all_passes_leave_short_chains_but_many_compressions() {
		let made_of = graph(3);
		let kept: Vec<bool> = (0..made_of.len()).map(|label| label % 6 == 0).collect();
		let mut chains = vec![0; made_of.len()];
		for (label, of) in made_of
			.iter()
			.enumerate()
			.filter(|(label, _)| !kept[*label])
		{
			chains[label] = 1 + of.iter().map(|of| chains[*of]).max().unwrap_or(0);
		}
		let last = made_of.len() - CELLS;
		let chain = chains[last..].iter().sum::<usize>() as f64 / (CELLS * made_of.len()) as f64;
		let cost = cost(&made_of, &kept);
		println!("{cost:.3} of a page a read, {chain:.3} in sequence");
		// With cores for all concurrent work, only the chain counts: `docs/recomputation.md`.
		// With four draws in place of sixteen it was less than a tenth.
		assert!(
			cost > 0.5 && (0.15..0.25).contains(&chain),
			"{cost}, {chain}"
		);
	}

	#[test]
	fn a_pages_graph_gives_its_labels() {
		let mut last: Block = [0; 64];
		fill(
			&key("page", &[&[3; 32], &0u64.to_le_bytes()]),
			0,
			0,
			&mut last,
		);
		let mut labels: Vec<Block> = Vec::new();
		for (label, blocks) in page_graph(&[3; 32], 0).into_iter().enumerate() {
			let mut input = [0; 64];
			for block in blocks {
				xor(&mut input, &labels[block]);
			}
			last = Compress::new().whole(&fold(&last), &input, label as u64);
			labels.push(last);
		}
		assert_eq!(labels[labels.len() - CELLS..], page(3, 0)[..]);
	}

	const EXPECTED: [u64; 3] = [
		4_737_157_294_088_493_172,
		427_758_404_843_532_726,
		16_698_671_800_075_586_848,
	];
}
