//! The plot on disk, and the trial that reads it.
//!
//! One file holds whole groups in order, a second one the hash of each read, a third one the root of each group. A
//! killed process or a power cut leaves at most a partial group, which the next process truncates.

use super::{
	hash::{Compress, Hash},
	plot::{
		GROUP, NODE, NODES, Node, PARENTS, READ, READ_LEVEL, Recipe, first_state, next_state,
		read_of,
	},
	sample::{Draw, Kind, Reader, Reject},
	tree::{Tree, TreeKey, path_length},
};
use rayon::prelude::*;
use std::{
	fs::{File, OpenOptions},
	io,
	os::unix::fs::FileExt,
	path::Path,
};

/// Strands of a trial.
pub const STRANDS: u32 = 8;
/// Samples of a check.
const SAMPLES: u32 = 64;
/// Bytes of a read's hash in the trees.
const HASH: u64 = size_of::<Hash>() as u64;

/// Sizes of the disk's trial. A worker without a plot runs none, and its disk has root 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
	/// Groups of the plot, at least one.
	pub groups: u32,
	/// Reads of each strand, 1 … 2²⁰.
	pub reads: u32,
}

impl Size {
	/// Fails on sizes outside their limits.
	pub fn check(&self) -> Result<(), Reject> {
		let within = self.groups >= 1 && (1..=1 << 20).contains(&self.reads);
		within.then_some(()).ok_or(Reject::Size)
	}
}

/// A plot in its folder.
pub struct Plot {
	recipe: Recipe,
	data: File,
	hashes: File,
	roots: File,
	groups: u32,
}

impl Plot {
	/// Opens or creates a plot in `dir`, where it has the name `name`.
	pub fn open(dir: &Path, name: &str, recipe: Recipe) -> io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		let open = |name: String| {
			let mut options = OpenOptions::new();
			options.read(true).write(true).create(true).truncate(false);
			options.open(dir.join(name))
		};
		let data = open(format!("{name}.plot"))?;
		let hashes = open(format!("{name}.tree"))?;
		let roots = open(format!("{name}.roots"))?;
		let whole = |file: &File, each: u64| Ok::<_, io::Error>(file.metadata()?.len() / each);
		let groups = whole(&data, recipe.group_bytes())?
			.min(whole(&hashes, hash_bytes(&recipe))?)
			.min(whole(&roots, HASH)?);
		let mut plot = Self {
			recipe,
			data,
			hashes,
			roots,
			groups: u32::try_from(groups).unwrap_or(u32::MAX),
		};
		plot.shrink(plot.groups)?;
		// Lengths may have reached the disk before contents.
		if let Some(last) = plot.groups.checked_sub(1)
			&& !plot.is_intact(last)?
		{
			let own = plot.groups > 1 && plot.is_intact(last - 1)?;
			plot.shrink(if own { last } else { 0 })?;
		}
		Ok(plot)
	}

	/// Returns whether a group's files agree, and its first node is the recipe's.
	fn is_intact(&self, group: u32) -> io::Result<bool> {
		let mut nodes = vec![[[0; 64]; NODE / 64]; self.recipe.group_nodes() as usize];
		let at = u64::from(group) * self.recipe.group_bytes();
		let bytes = nodes.as_flattened_mut().as_flattened_mut();
		self.data.read_exact_at(bytes, at)?;
		let tree = self
			.recipe
			.group_tree(group, self.recipe.read_hashes(group, &nodes));
		let first = self.recipe.node(Compress::new(), group, 0, |_, _| nodes[0]);
		Ok(nodes[0] == first
			&& self.group_tree(group)?.lowest() == tree.lowest()
			&& self.root(group)? == tree.root())
	}

	/// Its whole groups.
	pub fn groups(&self) -> u32 {
		self.groups
	}

	/// Truncates the plot to `groups` groups.
	pub fn shrink(&mut self, groups: u32) -> io::Result<()> {
		self.groups = self.groups.min(groups);
		let groups = u64::from(self.groups);
		self.data.set_len(groups * self.recipe.group_bytes())?;
		self.hashes.set_len(groups * hash_bytes(&self.recipe))?;
		self.roots.set_len(groups * HASH)
	}

	/// Makes groups until the plot has `groups`, `at_once` at a time. Calls `goes_on` with the current number before
	/// each batch and stops when it returns false. After an error the plot has whole groups only.
	pub fn grow(
		&mut self,
		groups: u32,
		at_once: u32,
		mut goes_on: impl FnMut(u32) -> bool,
	) -> io::Result<()> {
		while self.groups < groups && goes_on(self.groups) {
			let some = self.groups..groups.min(self.groups + at_once.max(1));
			let made: Vec<_> = some
				.into_par_iter()
				.map(|group| {
					let mut nodes = vec![[[0; 64]; NODE / 64]; self.recipe.group_nodes() as usize];
					self.recipe.make_group(Compress::new(), group, &mut nodes);
					let hashes = self.recipe.read_hashes(group, &nodes);
					(nodes, hashes)
				})
				.collect();
			for (nodes, hashes) in made {
				if let Err(error) = self.append(&nodes, &hashes) {
					self.shrink(self.groups)?;
					return Err(error);
				}
			}
		}
		Ok(())
	}

	fn append(&mut self, nodes: &[Node], hashes: &[Hash]) -> io::Result<()> {
		let group = u64::from(self.groups);
		let bytes = nodes.as_flattened().as_flattened();
		self.data
			.write_all_at(bytes, group * self.recipe.group_bytes())?;
		self.hashes
			.write_all_at(hashes.as_flattened(), group * hash_bytes(&self.recipe))?;
		// A group counts once its root is written, which comes last.
		self.data.sync_data()?;
		self.hashes.sync_data()?;
		let root = self.recipe.group_tree(self.groups, hashes.to_vec()).root();
		self.roots.write_all_at(&root, group * HASH)?;
		self.roots.sync_data()?;
		self.groups += 1;
		Ok(())
	}

	fn read(&self, group: u32, read: u64) -> io::Result<[u8; READ]> {
		let mut bytes = [0; READ];
		let at = u64::from(group) * self.recipe.group_bytes() + read * READ as u64;
		self.data.read_exact_at(&mut bytes, at)?;
		Ok(bytes)
	}

	fn group_tree(&self, group: u32) -> io::Result<Tree> {
		let mut hashes = vec![[0; 32]; reads_of(&self.recipe) as usize];
		let at = u64::from(group) * hash_bytes(&self.recipe);
		self.hashes.read_exact_at(hashes.as_flattened_mut(), at)?;
		Ok(self.recipe.group_tree(group, hashes))
	}

	fn root(&self, group: u32) -> io::Result<Hash> {
		let mut root = [0; 32];
		self.roots
			.read_exact_at(&mut root, u64::from(group) * HASH)?;
		Ok(root)
	}

	/// Returns the tree over the roots of the first `groups` groups.
	fn groups_tree(&self, groups: u32) -> io::Result<Tree> {
		let compress = Compress::new();
		let key = self.recipe.groups_key();
		let leaves: io::Result<Vec<Hash>> = (0..groups)
			.map(|group| Ok(key.leaf(compress, group.into(), &self.root(group)?)))
			.collect();
		Ok(Tree::over(&key, 0, leaves?))
	}
}

/// Reads of a group.
fn reads_of(recipe: &Recipe) -> u64 {
	u64::from(recipe.group_nodes()) / NODES as u64
}

fn hash_bytes(recipe: &Recipe) -> u64 {
	reads_of(recipe) * HASH
}

/// A plot with its trees computed, so that a trial hashes nothing while the clock runs.
pub struct Ready {
	plot: Plot,
	size: Size,
	groups: Tree,
}

impl Ready {
	/// The first groups of a plot; `None` if it has fewer.
	pub fn new(plot: Plot, size: Size) -> io::Result<Option<Self>> {
		if plot.groups < size.groups || size.check().is_err() {
			return Ok(None);
		}
		let groups = plot.groups_tree(size.groups)?;
		Ok(Some(Self { plot, size, groups }))
	}
}

/// The strands that have run.
pub struct Proof {
	ready: Ready,
	start: Hash,
	/// The states of each strand after each read.
	states: Vec<Vec<Hash>>,
	strands: Vec<Tree>,
	tree: Tree,
}

fn strand_key(start: &Hash, strand: u32) -> TreeKey {
	TreeKey::new(start, "strand", u64::from(strand))
}

fn root_key(start: &Hash) -> TreeKey {
	TreeKey::new(start, "disk", 0)
}

/// Leaves of the root's tree: the strands, and the plot.
const TOP: u64 = STRANDS as u64 + 1;

impl Proof {
	/// Runs all strands in parallel.
	pub fn run(ready: Ready, start: &Hash) -> io::Result<Self> {
		let (plot, size) = (&ready.plot, ready.size);
		let each = reads_of(&plot.recipe);
		let all = each * u64::from(size.groups);
		let states: io::Result<Vec<Vec<Hash>>> = std::thread::scope(|scope| {
			let strand = |strand| {
				let mut state = first_state(start, &ready.groups.root(), strand);
				let mut states = Vec::with_capacity(size.reads as usize);
				for _ in 0..size.reads {
					let read = read_of(&state, all);
					state = next_state(&state, &plot.read((read / each) as u32, read % each)?);
					states.push(state);
				}
				Ok(states)
			};
			let running: Vec<_> = (0..STRANDS)
				.map(|number| scope.spawn(move || strand(number)))
				.collect();
			let crashed = |_| Err(io::Error::other("a strand crashed"));
			running
				.into_iter()
				.map(|strand| strand.join().unwrap_or_else(crashed))
				.collect()
		});
		let states = states?;
		let compress = Compress::new();
		let strands: Vec<Tree> = (0..STRANDS)
			.zip(&states)
			.map(|(strand, states)| {
				let key = strand_key(start, strand);
				let leaf = |(at, state): (usize, &Hash)| key.leaf(compress, at as u64, state);
				Tree::over(&key, 0, states.iter().enumerate().map(leaf).collect())
			})
			.collect();
		let key = root_key(start);
		let roots = strands.iter().map(Tree::root).chain([ready.groups.root()]);
		let leaves = roots
			.enumerate()
			.map(|(at, root)| key.leaf(compress, at as u64, &root));
		Ok(Self {
			tree: Tree::over(&key, 0, leaves.collect()),
			start: *start,
			states,
			strands,
			ready,
		})
	}

	/// Its root.
	pub fn root(&self) -> Hash {
		self.tree.root()
	}

	/// Returns the plot.
	pub fn into_plot(self) -> Plot {
		self.ready.plot
	}

	/// Appends the openings of a draw to `out`.
	pub fn open(&self, draw: &Draw, out: &mut Vec<u8>) -> io::Result<()> {
		let Size { reads, .. } = self.ready.size;
		out.extend_from_slice(&self.ready.groups.root());
		out.extend_from_slice(self.tree.path(STRANDS as usize).as_flattened());
		for At { strand, read, node } in samples(draw, reads) {
			let states = &self.states[strand as usize];
			let tree = &self.strands[strand as usize];
			out.extend_from_slice(&tree.root());
			out.extend_from_slice(self.tree.path(strand as usize).as_flattened());
			let open_state = |read: usize, out: &mut Vec<u8>| {
				out.extend_from_slice(&states[read]);
				out.extend_from_slice(tree.path(read).as_flattened());
			};
			open_state(read as usize, out);
			let before = match read.checked_sub(1) {
				Some(before) => {
					open_state(before as usize, out);
					states[before as usize]
				}
				None => first_state(&self.start, &self.ready.groups.root(), strand),
			};
			self.open_read(&before, node, out)?;
		}
		Ok(())
	}

	fn open_read(&self, before: &Hash, node: u32, out: &mut Vec<u8>) -> io::Result<()> {
		let plot = &self.ready.plot;
		let recipe = &plot.recipe;
		let each = reads_of(recipe);
		let read = read_of(before, each * u64::from(self.ready.size.groups));
		let (group, read) = ((read / each) as u32, read % each);
		let tree = plot.group_tree(group)?;
		out.extend_from_slice(&plot.read(group, read)?);
		out.extend_from_slice(tree.path(read as usize).as_flattened());
		out.extend_from_slice(self.ready.groups.path(group as usize).as_flattened());
		let node = read as u32 * NODES as u32 + node;
		let key = recipe.nodes_key(group);
		let compress = Compress::new();
		for parent in recipe
			.parents(group, node)
			.map(|(parents, _)| parents)
			.into_iter()
			.flatten()
		{
			let (read, within) = (parent / NODES as u32, parent as usize % NODES);
			let bytes = plot.read(group, read.into())?;
			let nodes: &[[u8; NODE]] = bytes.as_chunks().0;
			out.extend_from_slice(&nodes[within]);
			// From the leaf up to the node that stands for the read.
			let mut level: Vec<Hash> = (0..)
				.zip(nodes)
				.map(|(at, node)| key.leaf(compress, u64::from(read) * NODES as u64 + at, node))
				.collect();
			let mut place = u64::from(read) * NODES as u64;
			let mut at = within;
			for above in 1..=READ_LEVEL {
				out.extend_from_slice(&level[at ^ 1]);
				at /= 2;
				place /= 2;
				level = (0..)
					.zip(level.as_chunks::<2>().0)
					.map(|(at, [left, right])| key.node(compress, above, place + at, left, right))
					.collect();
			}
			out.extend_from_slice(tree.path(read as usize).as_flattened());
		}
		Ok(())
	}
}

struct At {
	strand: u32,
	read: u32,
	/// Of those of the read.
	node: u32,
}

fn samples(draw: &Draw, reads: u32) -> Vec<At> {
	let all = u64::from(STRANDS) * u64::from(reads) * NODES as u64;
	let at = |place: u64| {
		let (read, node) = (place / NODES as u64, place % NODES as u64);
		At {
			strand: (read / u64::from(reads)) as u32,
			read: (read % u64::from(reads)) as u32,
			node: node as u32,
		}
	};
	draw.places(Kind::Disk, 0, SAMPLES, all)
		.into_iter()
		.map(at)
		.collect()
}

/// Verifies the openings of a draw against the disk's root.
pub fn verify(
	recipe: &Recipe,
	start: &Hash,
	size: &Size,
	root: &Hash,
	draw: &Draw,
	shown: &mut Reader,
) -> Result<(), Reject> {
	size.check()?;
	let compress = Compress::new();
	let plot: &Hash = shown.array()?;
	let top = |place: u32, leaf: &Hash, shown: &mut Reader| {
		let key = root_key(start);
		let leaf = key.leaf(compress, place.into(), leaf);
		let path = shown.arrays(path_length(place.into(), TOP))?;
		let there = key.climb(compress, 0, place.into(), TOP, leaf, path) == Some(*root);
		there.then_some(()).ok_or(Reject::Place(Kind::Disk))
	};
	top(STRANDS, plot, shown)?;
	for at in samples(draw, size.reads) {
		let tree: &Hash = shown.array()?;
		top(at.strand, tree, shown)?;
		let key = strand_key(start, at.strand);
		let state = |read: u32, shown: &mut Reader| -> Result<Hash, Reject> {
			let state: &Hash = shown.array()?;
			let (place, count) = (u64::from(read), u64::from(size.reads));
			let leaf = key.leaf(compress, place, state);
			let path = shown.arrays(path_length(place, count))?;
			let there = key.climb(compress, 0, place, count, leaf, path) == Some(*tree);
			there.then_some(*state).ok_or(Reject::Place(Kind::Disk))
		};
		let after = state(at.read, shown)?;
		let before = match at.read.checked_sub(1) {
			Some(before) => state(before, shown)?,
			None => first_state(start, plot, at.strand),
		};
		let read = verify_read(recipe, size.groups, plot, &before, at.node, shown)?;
		if next_state(&before, read) != after {
			return Err(Reject::Wrong(Kind::Disk));
		}
	}
	Ok(())
}

fn verify_read<'a>(
	recipe: &Recipe,
	groups: u32,
	plot: &Hash,
	before: &Hash,
	node: u32,
	shown: &mut Reader<'a>,
) -> Result<&'a [u8; READ], Reject> {
	let misplaced = Reject::Place(Kind::Disk);
	let compress = Compress::new();
	let each = reads_of(recipe);
	let read = read_of(before, each * u64::from(groups));
	let (group, read) = ((read / each) as u32, read % each);
	let first = read as u32 * NODES as u32;
	let nodes = u64::from(recipe.group_nodes());

	let bytes = shown.array()?;
	let path = shown.arrays(path_length(read, each))?;
	let key = recipe.nodes_key(group);
	let hash = recipe.read_hash(compress, group, first, bytes);
	let tree = key
		.climb(compress, READ_LEVEL, read, each, hash, path)
		.ok_or(misplaced)?;
	let path = shown.arrays(path_length(group.into(), groups.into()))?;
	let over = recipe.groups_key();
	let leaf = over.leaf(compress, group.into(), &tree);
	if over.climb(compress, 0, group.into(), groups.into(), leaf, path) != Some(*plot) {
		return Err(misplaced);
	}

	let mut parents = [[[0; 64]; NODE / 64]; PARENTS];
	let places = recipe
		.parents(group, first + node)
		.map(|(places, _)| places);
	for (parent, place) in parents.iter_mut().zip(places.into_iter().flatten()) {
		let bytes: &[u8; NODE] = shown.array()?;
		let path = shown.arrays(path_length(place.into(), nodes))?;
		let leaf = key.leaf(compress, place.into(), bytes);
		if key.climb(compress, 0, place.into(), nodes, leaf, path) != Some(tree) {
			return Err(misplaced);
		}
		parent.as_flattened_mut().copy_from_slice(bytes);
	}
	let right = recipe.node(compress, group, first + node, |at, _| parents[at]);
	if right.as_flattened() != &bytes[node as usize * NODE..][..NODE] {
		return Err(Reject::Wrong(Kind::Disk));
	}
	Ok(bytes)
}

/// The recipe of a plot in groups of 1 GiB.
pub fn full(genesis: &Hash, agent: &Hash) -> Recipe {
	Recipe::new(genesis, agent, GROUP)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::sample::tests::believes_nothing_else;
	use tempfile::TempDir;

	const START: Hash = [2; 32];
	const SIZE: Size = Size {
		groups: 3,
		reads: 40,
	};

	fn recipe() -> Recipe {
		Recipe::new(&[1; 32], &[5; 32], 1 << 10)
	}

	fn plot(dir: &TempDir, groups: u32) -> Plot {
		let mut plot = Plot::open(dir.path(), "test", recipe()).unwrap();
		plot.grow(groups, 2, |_| true).unwrap();
		assert_eq!(plot.groups(), groups);
		plot
	}

	fn proof(dir: &TempDir) -> Proof {
		let ready = Ready::new(plot(dir, SIZE.groups), SIZE).unwrap().unwrap();
		Proof::run(ready, &START).unwrap()
	}

	fn draw(nonce: u8) -> Draw {
		Draw::new(&START, &[3; 32], &[4; 32], &[nonce; 32])
	}

	fn checked(size: &Size, root: &Hash, draw: &Draw, shown: &[u8]) -> Result<(), Reject> {
		let mut reader = Reader::new(shown);
		verify(&recipe(), &START, size, root, draw, &mut reader)?;
		reader.end()
	}

	#[test]
	fn what_was_read_is_believed() {
		let dir = tempfile::tempdir().unwrap();
		let proof = proof(&dir);
		for nonce in 0..4 {
			let mut shown = Vec::new();
			proof.open(&draw(nonce), &mut shown).unwrap();
			assert_eq!(checked(&SIZE, &proof.root(), &draw(nonce), &shown), Ok(()));
		}
	}

	#[test]
	fn other_sizes_draws_roots_or_bytes_are_not() {
		let dir = tempfile::tempdir().unwrap();
		let proof = proof(&dir);
		let root = proof.root();
		let mut shown = Vec::new();
		proof.open(&draw(1), &mut shown).unwrap();
		for size in [Size { groups: 4, ..SIZE }, Size { reads: 41, ..SIZE }] {
			assert!(checked(&size, &root, &draw(1), &shown).is_err(), "{size:?}");
		}
		assert!(checked(&SIZE, &root, &draw(2), &shown).is_err());
		assert!(checked(&SIZE, &[0; 32], &draw(1), &shown).is_err());
		believes_nothing_else(&shown, 1_009, |shown| {
			checked(&SIZE, &root, &draw(1), shown)
		});
	}

	#[test]
	fn a_node_that_is_made_up_is_wrong() {
		let dir = tempfile::tempdir().unwrap();
		let mut plot = plot(&dir, SIZE.groups);
		// Garbage in place of the last group, with trees that are true to it.
		plot.shrink(2).unwrap();
		let garbage = vec![[[7; 64]; NODE / 64]; 1 << 10];
		let hashes = recipe().read_hashes(2, &garbage);
		plot.append(&garbage, &hashes).unwrap();
		let proof = Proof::run(Ready::new(plot, SIZE).unwrap().unwrap(), &START).unwrap();
		let mut shown = Vec::new();
		proof.open(&draw(1), &mut shown).unwrap();
		assert_eq!(
			checked(&SIZE, &proof.root(), &draw(1), &shown),
			Err(Reject::Wrong(Kind::Disk))
		);
	}

	#[test]
	fn another_agents_plot_is_not_taken_for_ones_own() {
		let dir = tempfile::tempdir().unwrap();
		plot(&dir, 2);
		let other = Recipe::new(&[1; 32], &[6; 32], 1 << 10);
		assert_eq!(Plot::open(dir.path(), "test", other).unwrap().groups(), 0);
	}

	#[test]
	fn reads_depend_on_the_plot_that_was_fixed_before() {
		// Half of a plot, with made-up nodes in its place: each change of a node, to steer the next read to a page that
		// is there, changes the plot's root, and with it every read.
		let states: Vec<Hash> = [[8; 32], [9; 32]]
			.map(|plot| first_state(&START, &plot, 0))
			.to_vec();
		assert_ne!(states[0], states[1]);
	}

	#[test]
	fn boundary_sizes_outside_their_limits_are_refused() {
		let dir = tempfile::tempdir().unwrap();
		for size in [
			Size { groups: 0, ..SIZE },
			Size { reads: 0, ..SIZE },
			Size {
				reads: (1 << 20) + 1,
				..SIZE
			},
		] {
			assert_eq!(checked(&size, &[0; 32], &draw(1), &[]), Err(Reject::Size));
			assert!(Ready::new(plot(&dir, 3), size).unwrap().is_none());
		}
	}

	#[test]
	fn a_plot_is_whole_groups_whatever_happens() {
		let dir = tempfile::tempdir().unwrap();
		let before = plot(&dir, 3).groups_tree(3).unwrap().root();
		let file = |name: &str| {
			let file = OpenOptions::new()
				.write(true)
				.open(dir.path().join(name))
				.unwrap();
			(file.metadata().unwrap().len(), file)
		};
		// Killed while it wrote the third group's hashes.
		let (length, hashes) = file("test.tree");
		hashes.set_len(length - 1).unwrap();
		let mut cut = Plot::open(dir.path(), "test", recipe()).unwrap();
		assert_eq!(cut.groups(), 2);
		cut.grow(3, 1, |_| true).unwrap();
		drop(cut);
		// A power cut: the length of the hashes is there, their last block is not.
		let (length, hashes) = file("test.tree");
		hashes.write_all_at(&[0; 64], length - 64).unwrap();
		let mut cut = Plot::open(dir.path(), "test", recipe()).unwrap();
		assert_eq!(cut.groups(), 2);
		assert_eq!(file("test.plot").0, 2 * recipe().group_bytes());
		cut.grow(3, 1, |_| true).unwrap();
		assert_eq!(cut.groups_tree(3).unwrap().root(), before);
		// It gives way, and comes back as it was.
		cut.shrink(1).unwrap();
		assert_eq!(file("test.plot").0, recipe().group_bytes());
		assert!(Ready::new(cut, SIZE).unwrap().is_none());
		let mut back = Plot::open(dir.path(), "test", recipe()).unwrap();
		back.grow(3, 4, |groups| groups < 2).unwrap();
		assert_eq!(back.groups(), 3, "it is asked before each time");
		assert_eq!(back.groups_tree(3).unwrap().root(), before);
	}
}
