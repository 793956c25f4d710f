//! Merkle trees whose every hash is bound to its tree, level and place.

use super::hash::{Block, Compress, Hash, PLATFORM, key};
use blake3::{IncrementCounter, platform::words_from_le_bytes_32};

/// Hashes per call, for the widest vectors.
const AT_ONCE: usize = 16;

/// Key of a tree, different for each seed, kind and number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeKey(Hash);

impl TreeKey {
	/// `K(tree; seed, kind, number)`.
	pub fn new(seed: &Hash, kind: &str, number: u64) -> Self {
		Self(key("tree", &[seed, kind.as_bytes(), &number.to_le_bytes()]))
	}

	/// Returns its bytes.
	pub(crate) fn bytes(&self) -> &Hash {
		&self.0
	}

	/// Leaf `p` over these bytes, which are followed by zeros up to a whole block.
	pub fn leaf(&self, compress: Compress, place: u64, data: &[u8]) -> Hash {
		let mut value = self.0;
		for part in data.chunks(64) {
			let mut block: Block = [0; 64];
			block[..part.len()].copy_from_slice(part);
			value = compress.half(&value, &block, place);
		}
		value
	}

	/// Leaves over pieces of `N` bytes, a multiple of 64, the first of them at place `first`.
	pub fn leaves<const N: usize>(&self, first: u64, pieces: &[[u8; N]], out: &mut [Hash]) {
		let words = words_from_le_bytes_32(&self.0);
		for (at, (some, out)) in pieces
			.chunks(AT_ONCE)
			.zip(out.chunks_mut(AT_ONCE))
			.enumerate()
		{
			let mut inputs = [&some[0]; AT_ONCE];
			for (input, piece) in inputs.iter_mut().zip(some) {
				*input = piece;
			}
			PLATFORM.hash_many(
				&inputs[..some.len()],
				&words,
				first + (at * AT_ONCE) as u64,
				IncrementCounter::Yes,
				0,
				0,
				0,
				out.as_flattened_mut(),
			);
		}
	}

	/// Node `p` of a level, 1 or higher, over its two children.
	pub fn node(
		&self,
		compress: Compress,
		level: u32,
		place: u64,
		left: &Hash,
		right: &Hash,
	) -> Hash {
		let mut block: Block = [0; 64];
		block[..32].copy_from_slice(left);
		block[32..].copy_from_slice(right);
		compress.half(&self.0, &block, counter(level, place))
	}

	/// Returns the level above, with half as many nodes; a last node without a sibling moves up unchanged.
	pub fn above(&self, level: u32, below: &[Hash]) -> Vec<Hash> {
		let words = words_from_le_bytes_32(&self.0);
		let (pairs, rest) = below.as_chunks::<2>();
		let mut nodes = vec![[0; 32]; pairs.len()];
		for (at, (some, out)) in pairs
			.chunks(AT_ONCE)
			.zip(nodes.chunks_mut(AT_ONCE))
			.enumerate()
		{
			let mut inputs = [[0; 64]; AT_ONCE];
			for (input, pair) in inputs.iter_mut().zip(some) {
				input.copy_from_slice(pair.as_flattened());
			}
			let inputs = inputs.each_ref();
			PLATFORM.hash_many(
				&inputs[..some.len()],
				&words,
				counter(level, (at * AT_ONCE) as u64),
				IncrementCounter::Yes,
				0,
				0,
				0,
				out.as_flattened_mut(),
			);
		}
		nodes.extend(rest);
		nodes
	}

	/// The root over a level's nodes, all of them.
	pub fn root_over(&self, mut level: u32, mut nodes: Vec<Hash>) -> Hash {
		while nodes.len() > 1 {
			level += 1;
			nodes = self.above(level, &nodes);
		}
		nodes.pop().unwrap_or_default()
	}

	/// Returns the node that a path leads to, from place `place` of a level of `count` nodes, at most
	/// `levels` up; `None` if the path has the wrong number of hashes.
	pub fn climb(
		&self,
		compress: Compress,
		mut level: u32,
		mut place: u64,
		mut count: u64,
		mut at: Hash,
		path: &[Hash],
	) -> Option<Hash> {
		if place >= count {
			return None;
		}
		let mut path = path.iter();
		while count > 1 {
			level += 1;
			let is_last_alone = place + 1 == count && count % 2 == 1;
			if !is_last_alone {
				let sibling = path.next()?;
				at = if place.is_multiple_of(2) {
					self.node(compress, level, place / 2, &at, sibling)
				} else {
					self.node(compress, level, place / 2, sibling, &at)
				};
			}
			place /= 2;
			count = count.div_ceil(2);
		}
		path.next().is_none().then_some(at)
	}
}

/// `2⁵⁶ · level + place`.
fn counter(level: u32, place: u64) -> u64 {
	(u64::from(level) << 56) + place
}

/// A tree from one level up.
#[derive(Clone, Debug)]
pub struct Tree {
	/// Levels from the lowest that is kept up to the root.
	levels: Vec<Vec<Hash>>,
}

impl Tree {
	/// The tree over the nodes of a level, 0 for leaves.
	pub fn over(key: &TreeKey, lowest: u32, nodes: Vec<Hash>) -> Self {
		let mut levels = vec![nodes];
		let mut level = lowest;
		while levels[levels.len() - 1].len() > 1 {
			level += 1;
			levels.push(key.above(level, &levels[levels.len() - 1]));
		}
		Self { levels }
	}

	/// Returns its root; zeros over nothing.
	pub fn root(&self) -> Hash {
		self.levels[self.levels.len() - 1]
			.first()
			.copied()
			.unwrap_or_default()
	}

	/// The nodes of the lowest level that is kept.
	pub fn lowest(&self) -> &[Hash] {
		&self.levels[0]
	}

	/// Returns the siblings from a place of the lowest level up to the root; a node without a sibling adds
	/// none.
	pub fn path(&self, mut place: usize) -> Vec<Hash> {
		let mut path = Vec::with_capacity(self.levels.len());
		for level in &self.levels[..self.levels.len() - 1] {
			if let Some(sibling) = level.get(place ^ 1) {
				path.push(*sibling);
			}
			place /= 2;
		}
		path
	}
}

/// The number of siblings on the path from a place of a level of `count` nodes.
pub fn path_length(mut place: u64, mut count: u64) -> usize {
	let mut length = 0;
	while count > 1 {
		length += usize::from(place + 1 != count || count.is_multiple_of(2));
		place /= 2;
		count = count.div_ceil(2);
	}
	length
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	fn leaves(key: &TreeKey, count: usize) -> Vec<Hash> {
		let data: Vec<[u8; 128]> = (0..count).map(|at| [at as u8; 128]).collect();
		let mut leaves = vec![[0; 32]; count];
		key.leaves(0, &data, &mut leaves);
		leaves
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

		#[test]
		fn a_path_proves_its_leaf_and_no_other(count in 1usize..200, at in 0usize..200, flip in 0usize..2_000) {
			let at = at % count;
			let compress = Compress::new();
			let key = TreeKey::new(&[1; 32], "test", 0);
			let leaves = leaves(&key, count);
			for place in [0, at, count - 1] {
				let one = key.leaf(compress, place as u64, &[place as u8; 128]);
				prop_assert_eq!(one, leaves[place], "many at a time are as one");
			}
			let tree = Tree::over(&key, 0, leaves.clone());
			prop_assert_eq!(tree.root(), key.root_over(0, leaves.clone()));
			let path = tree.path(at);
			prop_assert_eq!(path.len(), path_length(at as u64, count as u64));
			let climb = |key: &TreeKey, place: usize, count: usize, leaf: Hash, path: &[Hash]| {
				key.climb(compress, 0, place as u64, count as u64, leaf, path)
			};
			prop_assert_eq!(climb(&key, at, count, leaves[at], &path), Some(tree.root()));
			prop_assert_eq!(climb(&key, count, count, leaves[at], &path), None);
			if count > 1 {
				let wrong = [
					climb(&TreeKey::new(&[1; 32], "test", 1), at, count, leaves[at], &path),
					climb(&TreeKey::new(&[1; 32], "other", 0), at, count, leaves[at], &path),
					climb(&key, (at + 1) % count, count, leaves[at], &path),
					climb(&key, at, count, leaves[at], &path[1..]),
					climb(&key, at, count, leaves[(at + 1) % count], &path),
				];
				prop_assert!(!wrong.contains(&Some(tree.root())));
				let mut bad = path.clone();
				let hash = flip % bad.len();
				bad[hash][flip / 8 % 32] ^= 1 << (flip % 8);
				prop_assert_ne!(climb(&key, at, count, leaves[at], &bad), Some(tree.root()));
				let longer = [path.as_slice(), &[[0; 32]]].concat();
				prop_assert_eq!(climb(&key, at, count, leaves[at], &longer), None);
			}
		}
	}
}
