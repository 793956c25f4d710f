//! Memory filled from a round's seed, page by page.
//!
//! A page depends on the seed and its number alone, so a checker computes the one that it looks at. It takes 1,536
//! compressions in sequence, each over blocks that the one before names: about 1,700 times a read of it, and a
//! partly omitted page costs nearly as much.

use super::hash::{Block, Compress, Hash, fill, fold, key, place_u32, u32_at};

/// Bytes of a page.
pub const PAGE: usize = 32 << 10;
/// Bytes of a cell: what one read takes.
pub const CELL: usize = 64;
/// Cells of a page.
pub const CELLS: usize = PAGE / CELL;
/// Passes over a page.
const PASSES: usize = 3;
/// Drawn blocks that enter each block.
const EARLIER: usize = 4;

/// A page, as blocks.
pub type Page = [Block; CELLS];

/// Fills page `number` of the memory whose proof's base is `base`.
pub fn fill_page(compress: Compress, base: &Hash, number: u64, page: &mut Page) {
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
			if count > 0 {
				for word in 0..EARLIER {
					let from = place_u32(u32_at(&last, 4 * word), count as u32) as usize;
					xor(&mut input, &page[from]);
				}
			}
			last = compress.whole(&fold(&last), &input, (pass * CELLS + at) as u64);
			page[at] = last;
		}
	}
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
		// Another implementation has to come to the same: the blocks of page 5 of base 1.
		let page = page(1, 5);
		let sums: Vec<u64> = [0, 1, 511].map(|at| u64_at(&page[at], 0)).to_vec();
		assert_eq!(sums, EXPECTED);
	}

	const EXPECTED: [u64; 3] = [
		8_883_710_766_040_146_496,
		4_416_515_773_905_399_297,
		1_157_349_529_009_374_632,
	];
}
