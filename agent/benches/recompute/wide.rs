//! A page recomputed by one core: in sequence, or in vector code, sixteen labels at a time, as their plan
//! orders them.

use super::pages::Graph;
use kaisar_agent::trial::hash::{Block, Compress, Hash, fill, fold, key};

/// Labels that a vector holds.
pub const WIDTH: usize = 16;

/// The block before a page's first.
pub fn first(base: &Hash, number: u64) -> Block {
	let mut first = [0; 64];
	fill(
		&key("page", &[base, &number.to_le_bytes()]),
		0,
		0,
		&mut first,
	);
	first
}

/// All labels of a page, in sequence.
pub fn labels(graph: &Graph, first: &Block) -> Vec<Block> {
	let mut before = *first;
	let mut labels: Vec<Block> = Vec::with_capacity(graph.labels());
	for (label, blocks) in graph.blocks.iter().enumerate() {
		let mut input = [0; 64];
		for block in blocks {
			input
				.iter_mut()
				.zip(&labels[*block])
				.for_each(|(byte, other)| *byte ^= other);
		}
		before = Compress::new().whole(&fold(&before), &input, label as u64);
		labels.push(before);
	}
	labels
}

#[cfg(target_arch = "x86_64")]
pub use super::avx512::seconds;

/// Returns `None`: only AVX-512 has been measured.
#[cfg(not(target_arch = "x86_64"))]
pub fn seconds(_: &Graph, _: &Block, _: &[Block], _: &[Vec<u16>]) -> Option<f64> {
	None
}
