//! Hashes, Merkle trees and seeded streams: the vocabulary of every proof here.
//!
//! Each use of a hash has a domain of its own, and each leaf and node is bound to its tree and its
//! place, so nothing that was opened for one purpose can be shown for another.

use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use codec::Encode;
use rayon::prelude::*;

/// 32 bytes of BLAKE3.
pub type Hash = [u8; 32];

/// `BLAKE3-derive-key(domain, parts)`, each part preceded by its length.
pub fn hash(domain: &str, parts: &[&[u8]]) -> Hash {
	let mut hasher = blake3::Hasher::new_derive_key(domain);
	for part in parts {
		hasher.update(&(part.len() as u64).to_le_bytes());
		hasher.update(part);
	}
	*hasher.finalize().as_bytes()
}

/// A seed derived from another, for one purpose.
pub fn derive(seed: &Hash, purpose: &str) -> Hash {
	hash("kaisar/agent 2026 derive", &[seed, purpose.as_bytes()])
}

/// The ChaCha8 key stream of `seed` with stream number `stream` (64-bit counter, 64-bit stream).
pub fn stream(seed: &Hash, stream: u64) -> ChaCha8Rng {
	let mut rng = ChaCha8Rng::from_seed(*seed);
	rng.set_stream(stream);
	rng
}

/// Fills `out` from the beginning of a stream.
pub fn fill(seed: &Hash, number: u64, out: &mut [u8]) {
	stream(seed, number).fill_bytes(out);
}

/// `count` numbers below `bound`, drawn from a seed. The bias is below 2⁻³² for every bound used.
pub fn draw(seed: &Hash, purpose: &str, count: usize, bound: u64) -> Vec<u64> {
	let mut rng = stream(&derive(seed, purpose), 0);
	(0..count).map(|_| rng.next_u64() % bound.max(1)).collect()
}

/// Which tree a leaf or node belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TreeTag {
	/// Rows of one step of the matrix chain.
	Rows = 1,
	/// Ends of the segments of the CPU chains.
	Cpu = 2,
	/// Ends of the segments of the memory walk.
	Memory = 3,
	/// States of the disk walk.
	Disk = 4,
	/// Roots of the steps of the matrix chain.
	Steps = 5,
	/// States of the walk over a device's memory.
	Walk = 6,
}

/// The key under which a leaf or a node is hashed. It holds the place and nothing else, so each place
/// of each tree has a function of its own, and the data begins on a block's border: a kernel hashes
/// whole words, and a node is one compression.
pub fn place(kind: Kind, tag: TreeTag, level: usize, index: u64) -> Hash {
	let mut key = *b"kaisar/agent 26\0................";
	key[16] = kind as u8;
	key[17] = tag as u8;
	key[18] = level as u8;
	key[19..24].fill(0);
	key[24..].copy_from_slice(&index.to_le_bytes());
	key
}

/// What stands at a place of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
	/// Data.
	Leaf = 0,
	/// The hash of two others.
	Node = 1,
}

/// The leaf `index` of a tree over `data`.
pub fn leaf(tag: TreeTag, index: u64, data: &[u8]) -> Hash {
	*blake3::keyed_hash(&place(Kind::Leaf, tag, 0, index), data).as_bytes()
}

fn node(tag: TreeTag, level: usize, index: u64, left: &Hash, right: &Hash) -> Hash {
	let mut input = [0u8; 64];
	input[..32].copy_from_slice(left);
	input[32..].copy_from_slice(right);
	*blake3::keyed_hash(&place(Kind::Node, tag, level, index), &input).as_bytes()
}

/// Nodes of a path in a tree of `count` leaves.
pub fn depth(count: usize) -> usize {
	count.max(1).next_power_of_two().trailing_zeros() as usize
}

/// A Merkle tree, all of it. Missing leaves up to the next power of two are zero.
#[derive(Clone, Debug)]
pub struct Tree {
	levels: Vec<Vec<Hash>>,
}

impl Tree {
	/// The tree over these leaves.
	pub fn new(tag: TreeTag, mut leaves: Vec<Hash>) -> Self {
		leaves.resize(leaves.len().max(1).next_power_of_two(), [0; 32]);
		let mut levels = vec![leaves];
		while levels[levels.len() - 1].len() > 1 {
			let level = levels.len();
			let above = levels[level - 1]
				.par_chunks_exact(2)
				.with_min_len(1 << 10)
				.enumerate()
				.map(|(index, pair)| node(tag, level, index as u64, &pair[0], &pair[1]))
				.collect();
			levels.push(above);
		}
		Self { levels }
	}

	/// Its root.
	pub fn root(&self) -> Hash {
		self.levels[self.levels.len() - 1][0]
	}

	/// The siblings from leaf `index` up to the root.
	pub fn path(&self, index: usize) -> Vec<Hash> {
		self.path_to(index, self.levels.len() - 1)
	}

	/// The siblings from leaf `index` up to its node at `level`.
	pub fn path_to(&self, index: usize, level: usize) -> Vec<Hash> {
		self.levels[..level]
			.iter()
			.enumerate()
			.map(|(level, hashes)| hashes[(index >> level) ^ 1])
			.collect()
	}

	/// All nodes of a level; the leaves are level 0.
	pub fn level(&self, level: usize) -> &[Hash] {
		&self.levels[level]
	}
}

/// The root above all nodes of a level; `None` where they are not a power of two.
pub fn root_above(tag: TreeTag, mut level: usize, nodes: &[Hash]) -> Option<Hash> {
	if !nodes.len().is_power_of_two() {
		return None;
	}
	let mut nodes = nodes.to_vec();
	while nodes.len() > 1 {
		level += 1;
		nodes = nodes
			.chunks_exact(2)
			.enumerate()
			.map(|(index, pair)| node(tag, level, index as u64, &pair[0], &pair[1]))
			.collect();
	}
	nodes.first().copied()
}

/// Whether `leaf` is at `index` in the tree of `count` leaves with this root.
pub fn verify_path(
	tag: TreeTag,
	leaf: Hash,
	index: usize,
	count: usize,
	path: &[Hash],
	root: &Hash,
) -> bool {
	index < count && path.len() == depth(count) && climb(tag, leaf, index, path) == *root
}

/// The node that a path leads to from the leaf `index`.
pub fn climb(tag: TreeTag, leaf: Hash, index: usize, path: &[Hash]) -> Hash {
	let mut at = leaf;
	for (level, sibling) in path.iter().enumerate() {
		let position = index >> level;
		let (left, right) = if position & 1 == 0 {
			(&at, sibling)
		} else {
			(sibling, &at)
		};
		at = node(tag, level + 1, (position >> 1) as u64, left, right);
	}
	at
}

/// A step of a long computation: the state before it and after it, both in the tree of states.
///
/// The state before the first step is derived by the verifier; it is not sent.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct SegmentOpening {
	/// State before, absent for the first of its lane.
	pub before: Option<(Hash, Vec<Hash>)>,
	/// State after.
	pub after: Hash,
	/// Path of the state after.
	pub path: Vec<Hash>,
}

/// States at the ends of the segments of several lanes, and the tree over them.
#[derive(Clone, Debug)]
pub struct Segments {
	tag: TreeTag,
	segments: usize,
	ends: Vec<Hash>,
	tree: Tree,
}

impl Segments {
	/// From the ends of each lane in turn, `segments` in each.
	pub fn new(tag: TreeTag, segments: usize, ends: Vec<Hash>) -> Self {
		let leaves = ends
			.iter()
			.enumerate()
			.map(|(index, end)| leaf(tag, index as u64, end))
			.collect();
		Self {
			tag,
			segments,
			tree: Tree::new(tag, leaves),
			ends,
		}
	}

	/// Root over all ends.
	pub fn root(&self) -> Hash {
		self.tree.root()
	}

	/// Opens segment `index`, counted over all lanes.
	pub fn open(&self, index: usize) -> SegmentOpening {
		debug_assert!(
			index < self.ends.len(),
			"{:?} has no segment {index}",
			self.tag
		);
		let before = (!index.is_multiple_of(self.segments))
			.then(|| (self.ends[index - 1], self.tree.path(index - 1)));
		SegmentOpening {
			before,
			after: self.ends[index],
			path: self.tree.path(index),
		}
	}
}

/// Checks the places of an opening in the tree and returns the state from which the segment must be
/// recomputed; `first` gives the state at a lane's beginning.
pub fn segment_start(
	tag: TreeTag,
	root: &Hash,
	lanes: usize,
	segments: usize,
	index: usize,
	opening: &SegmentOpening,
	first: impl FnOnce(usize) -> Hash,
) -> Option<Hash> {
	let count = lanes.checked_mul(segments)?;
	let after = leaf(tag, index as u64, &opening.after);
	if !verify_path(tag, after, index, count, &opening.path, root) {
		return None;
	}
	match (&opening.before, index.is_multiple_of(segments)) {
		(None, true) => Some(first(index / segments)),
		(Some((state, path)), false) => {
			let before = leaf(tag, index as u64 - 1, state);
			verify_path(tag, before, index - 1, count, path, root).then_some(*state)
		}
		_ => None,
	}
}

/// Fills `out` (a multiple of 32 bytes) so that no part of it can be had without computing what
/// comes before it: each block is the hash of the one before and of an earlier one that the block
/// before names. Recomputing costs much more than reading, which is what makes it worth keeping.
pub fn fill_linked(seed: &Hash, index: u64, out: &mut [u8]) {
	let mut input = [0u8; 64];
	input[..32].copy_from_slice(seed);
	input[32..40].copy_from_slice(&index.to_le_bytes());
	let mut last = *blake3::hash(&input[..40]).as_bytes();
	for block in 0..out.len() / 32 {
		if block > 0 {
			let pointer = u32::from_le_bytes([last[0], last[1], last[2], last[3]]);
			let earlier = ((u64::from(pointer) * block as u64) >> 32) as usize * 32;
			input[..32].copy_from_slice(&last);
			input[32..].copy_from_slice(&out[earlier..earlier + 32]);
			last = *blake3::hash(&input).as_bytes();
		}
		out[block * 32..][..32].copy_from_slice(&last);
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	proptest! {
		#![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

		#[test]
		fn a_path_proves_its_leaf_and_no_other(count in 1usize..70, index in 0usize..70, flip in 0usize..256) {
			let index = index % count;
			let leaves: Vec<_> = (0..count).map(|i| leaf(TreeTag::Rows, i as u64, &[i as u8])).collect();
			let tree = Tree::new(TreeTag::Rows, leaves.clone());
			let path = tree.path(index);
			let root = tree.root();
			prop_assert!(verify_path(TreeTag::Rows, leaves[index], index, count, &path, &root));
			prop_assert!(!verify_path(TreeTag::Cpu, leaves[index], index, count, &path, &root) || count == 1);
			if count > 1 {
				prop_assert!(!verify_path(TreeTag::Rows, leaves[index], (index + 1) % count, count, &path, &root));
				let mut bad = path.clone();
				let level = flip % bad.len();
				bad[level][flip / 8] ^= 1 << (flip % 8);
				prop_assert!(!verify_path(TreeTag::Rows, leaves[index], index, count, &bad, &root));
				prop_assert!(!verify_path(TreeTag::Rows, leaves[index], index, count, &path[1..], &root));
			}
			prop_assert!(!verify_path(TreeTag::Rows, leaves[index], count, count, &path, &root));
		}
	}

	#[test]
	fn streams_are_addressable_and_differ() {
		let (mut a, mut b) = ([0u8; 128], [0u8; 128]);
		fill(&[7; 32], 1, &mut a);
		fill(&[7; 32], 1, &mut b);
		assert_eq!(a, b);
		fill(&[7; 32], 2, &mut b);
		assert_ne!(a, b);
		fill(&[8; 32], 1, &mut b);
		assert_ne!(a, b);
	}

	#[test]
	fn linked_blocks_do_not_repeat() {
		let mut page = vec![0u8; 4096];
		fill_linked(&[1; 32], 9, &mut page);
		let blocks: std::collections::HashSet<_> = page.chunks(32).map(<[u8]>::to_vec).collect();
		assert_eq!(blocks.len(), 128);
	}
}
