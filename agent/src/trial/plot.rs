//! The plot: nodes on disk, each made of sixteen earlier ones of its group.
//!
//! A group is made in memory, in sequence. A node depends on nodes at all distances before it, so a prover
//! without a part of a group computes tens or hundreds of nodes for one read. A plot belongs to an agent's
//! key and is made once.

use super::{
	hash::{Block, Compress, Hash, fill, fold, key, place_u32, place_u64, stream, u64_at},
	lane::prefetch,
	tree::{Tree, TreeKey},
};
use chacha20::rand_core::Rng;
use codec::{Decode, Encode};

/// Size of a node, in bytes.
pub const NODE: usize = 256;
/// Number of blocks of a node.
const BLOCKS: usize = NODE / 64;
/// Number of earlier nodes that a node is made of.
pub const PARENTS: usize = 16;
/// Size of one read, in bytes.
pub const READ: usize = 4_096;
/// Number of nodes of one read.
pub const NODES: usize = READ / NODE;
/// Level of the trees at which a node covers one read.
pub const READ_LEVEL: u32 = NODES.trailing_zeros();

/// A node, as blocks.
pub type Node = [Block; BLOCKS];

/// Distance, in nodes, at which the parents of later nodes are prefetched from memory.
const AHEAD: usize = 16;
/// Number of nodes that are made between two calls of `goes_on`: some milliseconds.
const STRETCH: usize = 1 << 12;

/// A plot's seed, and the size of its groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Recipe {
	seed: Hash,
	/// Nodes of a group.
	group: u32,
}

/// Number of nodes of a group of 1 GiB.
pub const GROUP: u32 = 1 << 22;
/// Bytes of such a group.
pub const GROUP_BYTES: u64 = GROUP as u64 * NODE as u64;

impl Recipe {
	/// Creates the recipe of an agent's plot on a chain. `group` is the number of nodes of a group, a
	/// multiple of [`NODES`]: [`GROUP`], or fewer on development chains.
	pub fn new(genesis: &Hash, agent: &Hash, group: u32) -> Self {
		Self {
			seed: key("plot", &[genesis, agent]),
			group,
		}
	}

	/// Nodes of a group.
	pub fn group_nodes(&self) -> u32 {
		self.group
	}

	/// Bytes of a group.
	pub fn group_bytes(&self) -> u64 {
		u64::from(self.group) * NODE as u64
	}

	/// Returns whether its groups are smaller than in production.
	pub fn is_small(&self) -> bool {
		self.group < GROUP
	}

	/// Returns a name for its files.
	pub fn name(&self) -> String {
		hex::encode(&key("plot name", &[&self.encode()])[..8])
	}

	/// The tree over a group's nodes.
	pub fn nodes_key(&self, group: u32) -> TreeKey {
		TreeKey::new(&self.seed, "nodes", u64::from(group))
	}

	/// The tree over the groups.
	pub fn groups_key(&self) -> TreeKey {
		TreeKey::new(&self.seed, "groups", 0)
	}

	/// The places of a node's parents in its group, and the block before its first. `None` for the first
	/// sixteen nodes, which have none.
	pub fn parents(&self, group: u32, node: u32) -> Option<([u32; PARENTS], Block)> {
		if (node as usize) < PARENTS {
			return None;
		}
		let mut words = stream(&self.seed, group, node);
		let octaves = node.ilog2() + 1;
		let parents = std::array::from_fn(|_| {
			let (x, y) = (words.next_u32(), words.next_u32());
			let least = 1 << place_u32(x, octaves);
			node - (least + place_u32(y, least.min(node - least + 1)))
		});
		let mut before = [0; 64];
		words.fill_bytes(&mut before);
		Some((parents, before))
	}

	/// A node of the first sixteen.
	fn first(&self, group: u32, node: u32) -> Node {
		let mut bytes = [[0; 64]; BLOCKS];
		fill(&self.seed, group, node, bytes.as_flattened_mut());
		bytes
	}

	/// Computes a node from its parents.
	pub fn node(
		&self,
		compress: Compress,
		group: u32,
		node: u32,
		parent: impl Fn(usize, u32) -> Node,
	) -> Node {
		match self.parents(group, node) {
			Some(parents) => Self::descend(compress, node, parents, parent),
			None => self.first(group, node),
		}
	}

	/// A node with parents.
	fn descend(
		compress: Compress,
		node: u32,
		(parents, mut last): ([u32; PARENTS], Block),
		parent: impl Fn(usize, u32) -> Node,
	) -> Node {
		let mut input = [[0u64; NODE / 8 / BLOCKS]; BLOCKS];
		for (at, place) in parents.into_iter().enumerate() {
			let parent = parent(at, place);
			for (words, block) in input.iter_mut().zip(&parent) {
				for (at, word) in words.iter_mut().enumerate() {
					*word ^= u64_at(block, 8 * at);
				}
			}
		}
		std::array::from_fn(|at| {
			let mut block = [0; 64];
			for (bytes, word) in block.chunks_exact_mut(8).zip(input[at]) {
				bytes.copy_from_slice(&word.to_le_bytes());
			}
			let place = BLOCKS as u64 * u64::from(node) + at as u64;
			last = compress.whole(&fold(&last), &block, place);
			last
		})
	}

	/// Makes a group in memory, as long as `goes_on` is true. Returns whether the group is whole.
	pub fn make_group(
		&self,
		compress: Compress,
		group: u32,
		nodes: &mut [Node],
		goes_on: impl Fn() -> bool,
	) -> bool {
		// The parents of the next nodes are known before their bytes are needed.
		let parents = |at: usize| self.parents(group, at as u32);
		let mut coming: [_; AHEAD] = std::array::from_fn(parents);
		for at in 0..nodes.len() {
			if at % STRETCH == 0 && !goes_on() {
				return false;
			}
			let (before, rest) = nodes.split_at_mut(at);
			rest[0] = match coming[at % AHEAD].take() {
				Some(known) => Self::descend(compress, at as u32, known, |_, place| {
					before[place as usize]
				}),
				None => self.first(group, at as u32),
			};
			let next = parents(at + AHEAD);
			for place in next.iter().flat_map(|(parents, _)| parents) {
				if let Some(node) = nodes.get(*place as usize) {
					node.iter().for_each(prefetch);
				}
			}
			coming[at % AHEAD] = next;
		}
		true
	}

	/// Returns the hashes of a group's reads in its tree.
	pub fn read_hashes(&self, group: u32, nodes: &[Node]) -> Vec<Hash> {
		let key = self.nodes_key(group);
		let pieces: &[[u8; NODE]] = flat(nodes);
		let mut level = vec![[0; 32]; pieces.len()];
		key.leaves(0, pieces, &mut level);
		for above in 1..=READ_LEVEL {
			level = key.above(above, &level);
		}
		level
	}

	/// The tree over a group's reads, from [`READ_LEVEL`] on.
	pub fn group_tree(&self, group: u32, reads: Vec<Hash>) -> Tree {
		Tree::over(&self.nodes_key(group), READ_LEVEL, reads)
	}

	/// Returns the hash of one read, whose first node is `first`.
	pub fn read_hash(&self, compress: Compress, group: u32, first: u32, read: &[u8; READ]) -> Hash {
		let key = self.nodes_key(group);
		let mut level = Vec::with_capacity(NODES);
		for (at, node) in read.chunks_exact(NODE).enumerate() {
			level.push(key.leaf(compress, u64::from(first) + at as u64, node));
		}
		let mut place = u64::from(first);
		for above in 1..=READ_LEVEL {
			place /= 2;
			level = level
				.chunks_exact(2)
				.enumerate()
				.map(|(at, pair)| key.node(compress, above, place + at as u64, &pair[0], &pair[1]))
				.collect();
		}
		level[0]
	}
}

/// Nodes as plain bytes.
fn flat(nodes: &[Node]) -> &[[u8; NODE]] {
	nodes.as_flattened().as_flattened().as_chunks().0
}

/// Returns a strand's seed, which is its first state and the key of all that follow. So no state is another
/// trial's. It depends on the plot's root, so that a plot is fixed before it is read: otherwise a prover
/// could alter a node of each read until the next one leads to a page that it holds.
pub fn strand_seed(start: &Hash, plot: &Hash, strand: u32) -> Hash {
	key("strand", &[start, plot, &strand.to_le_bytes()])
}

/// The read that a state leads to.
pub fn read_of(state: &Hash, reads: u64) -> u64 {
	place_u64(u64_at(state, 0), reads)
}

/// The state after a read, in the strand with this seed.
pub fn next_state(seed: &Hash, state: &Hash, read: &[u8; READ]) -> Hash {
	let mut hasher = blake3::Hasher::new_keyed(seed);
	hasher.update(state);
	hasher.update(read);
	*hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
	use super::*;
	use std::collections::BTreeSet;

	const SMALL: u32 = 1 << 10;

	fn recipe() -> Recipe {
		Recipe::new(&[1; 32], &[2; 32], SMALL)
	}

	fn group(number: u32) -> Vec<Node> {
		let mut nodes = vec![[[0; 64]; BLOCKS]; SMALL as usize];
		assert!(recipe().make_group(Compress::new(), number, &mut nodes, || true));
		nodes
	}

	#[test]
	fn parents_are_earlier_at_all_distances() {
		let recipe = Recipe::new(&[1; 32], &[2; 32], GROUP);
		for node in [16, 17, 31, 32, 1_000, GROUP - 1] {
			let (parents, _) = recipe.parents(0, node).unwrap();
			assert!(
				parents.iter().all(|parent| *parent < node),
				"{node}: {parents:?}"
			);
		}
		// All octaves of distances are equally frequent.
		let mut octaves = [0u32; 22];
		for node in GROUP - 4_096..GROUP {
			for parent in recipe.parents(3, node).unwrap().0 {
				octaves[(node - parent).ilog2() as usize] += 1;
			}
		}
		let mean = 4_096 * 16 / 22;
		assert!(
			octaves.iter().all(|count| count.abs_diff(mean) < mean / 5),
			"{octaves:?}"
		);
		assert!((0..16).all(|node| recipe.parents(0, node).is_none()));
	}

	#[test]
	fn a_node_is_had_from_its_parents() {
		let nodes = group(7);
		let compress = Compress::new();
		for at in [0, 15, 16, 500, SMALL - 1] {
			let again = recipe().node(compress, 7, at, |_, place| nodes[place as usize]);
			assert_eq!(again, nodes[at as usize]);
		}
		// Another group, agent, or chain shares nothing.
		assert!(group(8).iter().all(|node| !nodes.contains(node)));
		for other in [
			Recipe::new(&[1; 32], &[3; 32], SMALL),
			Recipe::new(&[3; 32], &[2; 32], SMALL),
		] {
			assert_ne!(other.first(7, 0), nodes[0]);
		}
	}

	#[test]
	fn a_read_stands_in_its_groups_tree() {
		let (recipe, nodes) = (recipe(), group(7));
		let hashes = recipe.read_hashes(7, &nodes);
		assert_eq!(hashes.len(), SMALL as usize / NODES);
		let compress = Compress::new();
		for at in [0, 5, hashes.len() - 1] {
			let mut read = [0; READ];
			read.copy_from_slice(nodes[at * NODES..][..NODES].as_flattened().as_flattened());
			let first = (at * NODES) as u32;
			assert_eq!(recipe.read_hash(compress, 7, first, &read), hashes[at]);
			read[READ - 1] ^= 1;
			assert_ne!(recipe.read_hash(compress, 7, first, &read), hashes[at]);
		}
		let key = recipe.nodes_key(7);
		let leaves: Vec<Hash> = (0..SMALL)
			.map(|at| key.leaf(compress, at.into(), nodes[at as usize].as_flattened()))
			.collect();
		assert_eq!(
			recipe.group_tree(7, hashes).root(),
			key.root_over(0, leaves)
		);
	}

	/// Returns the average number of reads for one page, if missing nodes are computed from their parents.
	fn reads_a_page(recipe: &Recipe, kept: &[bool]) -> f64 {
		let nodes = kept.len();
		let parents: Vec<Vec<u32>> = (0..nodes as u32)
			.map(|node| {
				recipe
					.parents(0, node)
					.map_or(Vec::new(), |(parents, _)| parents.to_vec())
			})
			.collect();
		let mut all = 0;
		let pages = nodes / NODES;
		// A sample of the pages, from all over the group.
		let step = (pages / 64).max(1);
		let sampled: Vec<usize> = (0..pages).step_by(step).collect();
		for page in &sampled {
			let mut read = BTreeSet::from([*page]);
			let mut seen = vec![false; nodes];
			let mut open: Vec<usize> = (page * NODES..(page + 1) * NODES).collect();
			while let Some(node) = open.pop() {
				if kept[node] {
					read.insert(node / NODES);
				} else if !std::mem::replace(&mut seen[node], true) {
					open.extend(parents[node].iter().map(|parent| *parent as usize));
				}
			}
			all += read.len();
		}
		all as f64 / sampled.len() as f64
	}

	#[test]
	fn nodes_that_are_left_out_cost_many_pages_for_one() {
		const NODES_ALL: usize = 1 << 14;
		let recipe = Recipe::new(&[1; 32], &[2; 32], NODES_ALL as u32);
		let without = |left_out: &dyn Fn(usize) -> bool| -> Vec<bool> {
			(0..NODES_ALL).map(|node| !left_out(node)).collect()
		};
		assert_eq!(reads_a_page(&recipe, &without(&|_| false)), 1.0);
		for (percent, least) in [(5, 6.0), (10, 12.0), (20, 40.0), (30, 200.0), (50, 500.0)] {
			// Scattered, so that as few missing nodes as possible are each other's parents.
			let every = 100 / percent;
			let scattered = reads_a_page(&recipe, &without(&|node| node % every == every - 1));
			let random = reads_a_page(
				&recipe,
				&without(&|node| {
					let hash = key("left out", &[&(node as u64).to_le_bytes()]);
					u64_at(&hash, 0) % 100 < percent as u64
				}),
			);
			println!("{percent} % left out: {scattered:.1} and {random:.1} reads a page");
			assert!(
				scattered > least && random > least,
				"{percent} %: {scattered}, {random}"
			);
		}
	}

	/// Leaves out, from the first to the last, the nodes that take at most this number of reads and computed
	/// nodes.
	fn kept_where_dear(recipe: &Recipe, nodes: usize, reads: usize, computed: usize) -> Vec<bool> {
		let mut needs: Vec<Option<(BTreeSet<usize>, BTreeSet<u32>)>> = Vec::new();
		for node in 0..nodes as u32 {
			let (mut pages, mut open) = (BTreeSet::new(), BTreeSet::from([node]));
			let parents = recipe.parents(0, node).map(|(parents, _)| parents);
			for parent in parents.into_iter().flatten() {
				match &needs[parent as usize] {
					Some((more, others)) => {
						pages.extend(more);
						open.extend(others);
					}
					None => drop(pages.insert(parent as usize / NODES)),
				}
			}
			let cheap = pages.len() <= reads && open.len() <= computed;
			needs.push(cheap.then_some((pages, open)));
		}
		needs.iter().map(Option::is_none).collect()
	}

	#[test]
	fn nodes_that_are_left_out_where_cheap_cost_many_pages_for_one() {
		const NODES_ALL: usize = 1 << 14;
		let recipe = Recipe::new(&[1; 32], &[2; 32], NODES_ALL as u32);
		// A search takes a third fewer reads: `docs/recomputation.md`.
		for (limit, percent, least) in
			[(10, 7, 8.0), (16, 12, 14.0), (32, 16, 30.0), (64, 19, 50.0)]
		{
			let kept = kept_where_dear(&recipe, NODES_ALL, limit, limit);
			let share = 100 * kept.iter().filter(|kept| !**kept).count() / NODES_ALL;
			let reads = reads_a_page(&recipe, &kept);
			println!("{share} % left out: {reads:.1} reads a page");
			assert!(share >= percent && reads > least, "{share} %: {reads}");
		}
	}
}
