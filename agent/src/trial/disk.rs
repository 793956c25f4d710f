//! The plot on disk, and the trial that reads it.
//!
//! One file holds whole groups in order, a second one the hash of each read, a third one the root of each
//! group. A killed process or a power cut leaves at most a partial group, which the next process truncates.

use super::{
	hash::{Compress, Hash},
	memory::MappedMemory,
	plot::{
		GROUP, NODE, NODES, Node, PARENTS, READ, READ_LEVEL, Recipe, next_state, read_of,
		strand_seed,
	},
	ram::PAGE,
	sample::{Draw, Kind, Reader, Reject},
	tree::{Tree, TreeKey, path_length},
};
use parking_lot::{Condvar, Mutex};
use std::{
	fs::{File, OpenOptions},
	io,
	os::unix::fs::FileExt,
	path::Path,
	sync::{
		Arc,
		atomic::{AtomicU32, Ordering},
	},
};

/// Number of strands of a trial.
pub const STRANDS: u32 = 8;
/// Number of samples of a check.
pub(super) const SAMPLES: u32 = 64;
/// Length of a read's hash in the trees, in bytes.
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
	/// Fails if a size is out of range.
	pub fn check(&self) -> Result<(), Reject> {
		let within = self.groups >= 1 && (1..=1 << 20).contains(&self.reads);
		within.then_some(()).ok_or(Reject::Size)
	}
}

/// Maximum number of bytes that are written between two flushes: a growing plot stops between two of them.
const CHUNK: usize = 64 << 20;

/// A plot in its folder, owned by its only writer.
pub struct Plot(View);

/// The whole groups of a plot, for reading. Groups that are added later do not disturb it. After a shrink,
/// reads of removed groups fail; other bytes never take their place.
#[derive(Clone)]
pub struct View {
	files: Arc<Files>,
	groups: u32,
}

struct Files {
	recipe: Recipe,
	data: File,
	hashes: File,
	roots: File,
}

/// Extensions of a plot's files.
pub const EXTENSIONS: [&str; 3] = ["plot", "tree", "roots"];

/// Returns the size of a group on disk, in bytes.
pub fn bytes_on_disk(recipe: &Recipe) -> u64 {
	recipe.group_bytes() + hash_bytes(recipe) + HASH
}

/// Groups that threads have added, in their order.
struct Growing<'a> {
	plot: &'a mut Plot,
	/// Number of the next group; no group is added once it is `None`.
	next: Option<u32>,
	result: io::Result<()>,
}

impl Plot {
	/// Opens or creates the plot `name` in `dir`.
	pub fn open(dir: &Path, name: &str, recipe: Recipe) -> io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		let open = |extension: &str| {
			let mut options = OpenOptions::new();
			options.read(true).write(true).create(true).truncate(false);
			options.open(dir.join(format!("{name}.{extension}")))
		};
		let [data, hashes, roots] = EXTENSIONS;
		let (data, hashes, roots) = (open(data)?, open(hashes)?, open(roots)?);
		let whole = |file: &File, each: u64| Ok::<_, io::Error>(file.metadata()?.len() / each);
		let groups = whole(&data, recipe.group_bytes())?
			.min(whole(&hashes, hash_bytes(&recipe))?)
			.min(whole(&roots, HASH)?);
		let mut plot = Self(View {
			files: Arc::new(Files {
				recipe,
				data,
				hashes,
				roots,
			}),
			groups: u32::try_from(groups).unwrap_or(u32::MAX),
		});
		plot.shrink(plot.0.groups)?;
		// Lengths may have reached the disk before contents.
		if let Some(last) = plot.0.groups.checked_sub(1)
			&& !plot.0.is_intact(last)?
		{
			let own = last > 0 && plot.0.is_intact(last - 1)?;
			plot.shrink(if own { last } else { 0 })?;
		}
		Ok(plot)
	}

	/// Returns its whole groups.
	pub fn groups(&self) -> u32 {
		self.0.groups
	}

	/// Returns its whole groups, for reading.
	pub fn view(&self) -> View {
		self.0.clone()
	}

	/// Truncates the plot to `groups` groups.
	pub fn shrink(&mut self, groups: u32) -> io::Result<()> {
		let View {
			files,
			groups: whole,
		} = &mut self.0;
		*whole = (*whole).min(groups);
		let groups = u64::from(*whole);
		// Remove the roots first: a group without a root does not count, even if a later step fails.
		files.roots.set_len(groups * HASH)?;
		files.hashes.set_len(groups * hash_bytes(&files.recipe))?;
		files.data.set_len(groups * files.recipe.group_bytes())
	}

	/// Makes groups until the plot has `groups`, in `at_once` threads with a group each in memory. Returns
	/// early once `goes_on` is false; it is called every few milliseconds, and during writes at least every
	/// 64 MiB. Calls `added` with the number of groups after each. The plot has whole groups only, even
	/// after an error.
	pub fn grow(
		&mut self,
		groups: u32,
		at_once: u32,
		goes_on: impl Fn() -> bool + Sync,
		added: impl Fn(u32) + Sync,
	) -> io::Result<()> {
		let recipe = self.0.files.recipe;
		let first = self.groups();
		let lacking = groups.saturating_sub(first);
		let unmade = AtomicU32::new(first);
		let turn = Condvar::new();
		let growing = Mutex::new(Growing {
			plot: self,
			next: Some(first),
			result: Ok(()),
		});
		let work = || {
			// No group follows a missing one, whatever happened to its thread.
			let _end = Ends(&growing, &turn);
			let mut memory = match MappedMemory::new(recipe.group_bytes().div_ceil(PAGE as u64)) {
				Ok(memory) => memory,
				Err(error) => {
					let mut growing = growing.lock();
					growing.next = None;
					growing.result = Err(error);
					return;
				}
			};
			let all: &mut [Node] = memory.cells_mut().as_chunks_mut().0;
			let nodes = &mut all[..recipe.group_nodes() as usize];
			loop {
				let group = unmade.fetch_add(1, Ordering::Relaxed);
				if group >= groups {
					break;
				}
				if !recipe.make_group(Compress::new(), group, nodes, &goes_on) {
					growing.lock().next = None;
					break;
				}
				let hashes = recipe.read_hashes(group, nodes);
				let mut growing = growing.lock();
				while growing.next.is_some_and(|next| next < group) {
					turn.wait(&mut growing);
				}
				if growing.next != Some(group) {
					break;
				}
				match growing.plot.append(nodes, &hashes, &goes_on) {
					Ok(true) => {
						growing.next = Some(group + 1);
						added(group + 1);
					}
					Ok(false) => growing.next = None,
					Err(error) => {
						growing.next = None;
						growing.result = Err(error);
					}
				}
				turn.notify_all();
			}
		};
		std::thread::scope(|scope| {
			for _ in 1..at_once.min(lacking) {
				scope.spawn(work);
			}
			if lacking > 0 {
				work();
			}
		});
		growing.into_inner().result
	}

	/// Adds a group. Returns false without adding it once `goes_on` is false.
	fn append(
		&mut self,
		nodes: &[Node],
		hashes: &[Hash],
		goes_on: impl Fn() -> bool,
	) -> io::Result<bool> {
		let groups = self.0.groups;
		let written = self.write(nodes, hashes, goes_on);
		if let Ok(true) = written {
			self.0.groups += 1;
		} else {
			self.shrink(groups)?;
		}
		written
	}

	fn write(
		&self,
		nodes: &[Node],
		hashes: &[Hash],
		goes_on: impl Fn() -> bool,
	) -> io::Result<bool> {
		let View { files, groups } = &self.0;
		let (recipe, number) = (&files.recipe, u64::from(*groups));
		let mut at = number * recipe.group_bytes();
		for chunk in nodes.as_flattened().as_flattened().chunks(CHUNK) {
			if !goes_on() {
				return Ok(false);
			}
			files.data.write_all_at(chunk, at)?;
			files.data.sync_data()?;
			forget(&files.data, at, chunk.len());
			at += chunk.len() as u64;
		}
		files
			.hashes
			.write_all_at(hashes.as_flattened(), number * hash_bytes(recipe))?;
		files.hashes.sync_data()?;
		// A group counts once its root is written, which comes last.
		let root = recipe.group_tree(*groups, hashes.to_vec()).root();
		files.roots.write_all_at(&root, number * HASH)?;
		files.roots.sync_data()?;
		Ok(true)
	}
}

/// Wakes the threads that wait for a group which this thread did not make.
struct Ends<'a, 'b>(&'a Mutex<Growing<'b>>, &'a Condvar);

impl Drop for Ends<'_, '_> {
	fn drop(&mut self) {
		if std::thread::panicking() {
			self.0.lock().next = None;
		}
		self.1.notify_all();
	}
}

/// Drops written bytes from the page cache: nothing reads them soon, and other programs need the memory.
fn forget(file: &File, at: u64, length: usize) {
	use std::os::fd::AsRawFd;
	let (at, length) = (at as libc::off_t, length as libc::off_t);
	// SAFETY: the descriptor is open, and the call touches no memory of this process. It is only advice, so
	// its result does not matter.
	unsafe {
		libc::posix_fadvise(file.as_raw_fd(), at, length, libc::POSIX_FADV_DONTNEED);
	}
}

impl View {
	/// Returns its whole groups.
	pub fn groups(&self) -> u32 {
		self.groups
	}

	/// Returns the plot after it grew or shrank to `groups` groups.
	pub fn with_groups(&self, groups: u32) -> Self {
		Self {
			files: self.files.clone(),
			groups,
		}
	}

	/// Returns its recipe.
	pub fn recipe(&self) -> &Recipe {
		&self.files.recipe
	}

	/// Returns whether a group's files agree and its first node follows from the recipe.
	fn is_intact(&self, group: u32) -> io::Result<bool> {
		let recipe = self.recipe();
		let mut nodes = vec![[[0; 64]; NODE / 64]; recipe.group_nodes() as usize];
		let at = u64::from(group) * recipe.group_bytes();
		let bytes = nodes.as_flattened_mut().as_flattened_mut();
		self.files.data.read_exact_at(bytes, at)?;
		let tree = recipe.group_tree(group, recipe.read_hashes(group, &nodes));
		let first = recipe.node(Compress::new(), group, 0, |_, _| nodes[0]);
		Ok(nodes[0] == first
			&& self.group_tree(group)?.lowest() == tree.lowest()
			&& self.root(group)? == tree.root())
	}

	fn read(&self, group: u32, read: u64) -> io::Result<[u8; READ]> {
		let mut bytes = [0; READ];
		let at = u64::from(group) * self.recipe().group_bytes() + read * READ as u64;
		self.files.data.read_exact_at(&mut bytes, at)?;
		Ok(bytes)
	}

	fn group_tree(&self, group: u32) -> io::Result<Tree> {
		let mut hashes = vec![[0; 32]; reads_of(self.recipe()) as usize];
		let at = u64::from(group) * hash_bytes(self.recipe());
		self.files
			.hashes
			.read_exact_at(hashes.as_flattened_mut(), at)?;
		Ok(self.recipe().group_tree(group, hashes))
	}

	fn root(&self, group: u32) -> io::Result<Hash> {
		let mut root = [0; 32];
		self.files
			.roots
			.read_exact_at(&mut root, u64::from(group) * HASH)?;
		Ok(root)
	}

	/// Returns the tree over the roots of the first `groups` groups.
	fn groups_tree(&self, groups: u32) -> io::Result<Tree> {
		let compress = Compress::new();
		let key = self.recipe().groups_key();
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

/// A plot with its trees computed, so that a trial computes no hashes while the clock runs.
pub struct Ready {
	plot: View,
	size: Size,
	groups: Tree,
}

impl Ready {
	/// Takes the first groups of a plot; `None` if it has fewer.
	pub fn new(plot: View, size: Size) -> io::Result<Option<Self>> {
		if plot.groups < size.groups || size.check().is_err() {
			return Ok(None);
		}
		let groups = plot.groups_tree(size.groups)?;
		Ok(Some(Self { plot, size, groups }))
	}
}

/// Strands that have run.
pub struct Proof {
	ready: Arc<Ready>,
	start: Hash,
	/// States of each strand after each read.
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

/// Number of leaves of the root's tree: the strands, and the plot.
const TOP: u64 = STRANDS as u64 + 1;

impl Proof {
	/// Runs all strands in parallel. Fails with [`io::ErrorKind::TimedOut`] once `goes_on` is false.
	pub fn run(
		ready: impl Into<Arc<Ready>>,
		start: &Hash,
		goes_on: impl Fn() -> bool + Sync,
	) -> io::Result<Self> {
		let ready = ready.into();
		let (plot, size) = (&ready.plot, ready.size);
		let each = reads_of(plot.recipe());
		let all = each * u64::from(size.groups);
		let states: io::Result<Vec<Vec<Hash>>> = std::thread::scope(|scope| {
			let goes_on = &goes_on;
			let strand = |strand| {
				let seed = strand_seed(start, &ready.groups.root(), strand);
				let mut state = seed;
				let mut states = Vec::with_capacity(size.reads as usize);
				for _ in 0..size.reads {
					if !goes_on() {
						return Err(io::ErrorKind::TimedOut.into());
					}
					let read = read_of(&state, all);
					state = next_state(
						&seed,
						&state,
						&plot.read((read / each) as u32, read % each)?,
					);
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

	/// Returns its root.
	pub fn root(&self) -> Hash {
		self.tree.root()
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
				None => strand_seed(&self.start, &self.ready.groups.root(), strand),
			};
			self.open_read(&before, node, out)?;
		}
		Ok(())
	}

	fn open_read(&self, before: &Hash, node: u32, out: &mut Vec<u8>) -> io::Result<()> {
		let plot = &self.ready.plot;
		let recipe = plot.recipe();
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
			// The path from the leaf up to the node of the read.
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
		let seed = strand_seed(start, plot, at.strand);
		let after = state(at.read, shown)?;
		let before = match at.read.checked_sub(1) {
			Some(before) => state(before, shown)?,
			None => seed,
		};
		let read = verify_read(recipe, size.groups, plot, &before, at.node, shown)?;
		if next_state(&seed, &before, read) != after {
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
		plot.grow(groups, 2, || true, |_| ()).unwrap();
		assert_eq!(plot.groups(), groups);
		plot
	}

	fn proof(dir: &TempDir) -> Proof {
		let ready = Ready::new(plot(dir, SIZE.groups).view(), SIZE)
			.unwrap()
			.unwrap();
		Proof::run(ready, &START, || true).unwrap()
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
		assert!(plot.append(&garbage, &hashes, || true).unwrap());
		let ready = Ready::new(plot.view(), SIZE).unwrap().unwrap();
		let proof = Proof::run(ready, &START, || true).unwrap();
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

	/// Returns openings of strands with these states over the whole plot, like those of a dishonest prover
	/// that builds its trees over made-up states.
	fn shown_over(dir: &TempDir, states: impl Fn(u32, &Hash) -> Vec<Hash>) -> (Hash, Vec<u8>) {
		let mut proof = proof(dir);
		let root = proof.ready.groups.root();
		let compress = Compress::new();
		for strand in 0..STRANDS {
			let all = states(strand, &root);
			let key = strand_key(&START, strand);
			let leaves = (0..)
				.zip(&all)
				.map(|(at, state)| key.leaf(compress, at, state));
			proof.strands[strand as usize] = Tree::over(&key, 0, leaves.collect());
			proof.states[strand as usize] = all;
		}
		let key = root_key(&START);
		let roots = proof.strands.iter().map(Tree::root).chain([root]);
		let leaves = (0..)
			.zip(roots)
			.map(|(at, root)| key.leaf(compress, at, &root));
		proof.tree = Tree::over(&key, 0, leaves.collect());
		let mut shown = Vec::new();
		proof.open(&draw(1), &mut shown).unwrap();
		(proof.root(), shown)
	}

	/// Returns the states of a trial's strand that begins with `first`.
	fn walked(dir: &TempDir, seed: &Hash, first: Hash) -> Vec<Hash> {
		let plot = plot(dir, SIZE.groups).view();
		let each = reads_of(plot.recipe());
		let mut state = first;
		(0..SIZE.reads)
			.map(|_| {
				let read = read_of(&state, each * u64::from(SIZE.groups));
				let page = plot.read((read / each) as u32, read % each).unwrap();
				state = next_state(seed, &state, &page);
				state
			})
			.collect()
	}

	#[test]
	fn reads_of_another_trial_are_not_shown_again() {
		// The prover read them once, without a time limit, and kept their pages and paths without the plot.
		let dir = tempfile::tempdir().unwrap();
		let seed_of = |start: &Hash, strand, root: &Hash| strand_seed(start, root, strand);
		let honest = shown_over(&dir, |strand, root| {
			let seed = seed_of(&START, strand, root);
			walked(&dir, &seed, seed)
		});
		assert_eq!(
			checked(&SIZE, &honest.0, &draw(1), &honest.1),
			Ok(()),
			"the test itself is sound"
		);
		let replayed = shown_over(&dir, |strand, root| {
			let seed = seed_of(&[0x77; 32], strand, root);
			walked(&dir, &seed, seed)
		});
		let wrong = Err(Reject::Wrong(Kind::Disk));
		assert_eq!(checked(&SIZE, &replayed.0, &draw(1), &replayed.1), wrong);
		// A strand by this trial's rule, from a state that was known before: detected at a draw of its first
		// read.
		let plots = shown_over(&dir, |strand, root| {
			let other = seed_of(&START, strand, &[9; 32]);
			assert_ne!(
				other,
				seed_of(&START, strand, root),
				"the plot is fixed before it is read"
			);
			walked(&dir, &other, other)
		});
		assert_eq!(checked(&SIZE, &plots.0, &draw(1), &plots.1), wrong);
	}

	#[test]
	fn a_plot_that_is_stopped_has_whole_groups_only() {
		let dir = tempfile::tempdir().unwrap();
		let mut plot = plot(&dir, 1);
		// Stop at each call of `goes_on` in turn, in threads that make groups, that wait, and in the one
		// that writes.
		for questions in 0..24 {
			let left = AtomicU32::new(questions);
			let less = |left: u32| left.checked_sub(1);
			let goes_on = || {
				left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
					.is_ok()
			};
			let seen = Mutex::new(Vec::new());
			plot.grow(4, 3, goes_on, |groups| seen.lock().push(groups))
				.unwrap();
			let groups = plot.groups();
			assert_eq!(seen.into_inner(), Vec::from_iter(2..=groups));
			let length = std::fs::metadata(dir.path().join("test.plot"))
				.unwrap()
				.len();
			assert_eq!(length, u64::from(groups) * recipe().group_bytes());
			plot.shrink(1).unwrap();
		}
		plot.grow(4, 3, || true, |_| ()).unwrap();
		assert_eq!(plot.groups(), 4);
		let first = tempfile::tempdir().unwrap();
		let other = super::tests::plot(&first, 4);
		let root = |plot: &Plot| plot.0.groups_tree(4).unwrap().root();
		assert_eq!(root(&plot), root(&other), "the order of its makers");
	}

	#[test]
	fn a_plot_that_shrinks_shows_nothing_false_and_comes_back() {
		let dir = tempfile::tempdir().unwrap();
		let mut plot = plot(&dir, SIZE.groups);
		let ready = Ready::new(plot.view(), SIZE).unwrap().unwrap();
		let proof = Proof::run(ready, &START, || true).unwrap();
		let shown = |nonce| {
			let mut shown = Vec::new();
			proof.open(&draw(nonce), &mut shown).map(|()| shown)
		};
		// More groups do not disturb it.
		plot.grow(SIZE.groups + 2, 1, || true, |_| ()).unwrap();
		let before = shown(1).unwrap();
		assert_eq!(checked(&SIZE, &proof.root(), &draw(1), &before), Ok(()));
		plot.shrink(0).unwrap();
		assert!(shown(1).is_err());
		assert!(
			Proof::run(
				Ready {
					plot: plot.view().with_groups(SIZE.groups),
					size: SIZE,
					groups: Tree::over(&recipe().groups_key(), 0, vec![[0; 32]]),
				},
				&START,
				|| true
			)
			.is_err()
		);
		plot.grow(SIZE.groups, 2, || true, |_| ()).unwrap();
		assert_eq!(shown(1).unwrap(), before);
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
			assert!(Ready::new(plot(&dir, 3).view(), size).unwrap().is_none());
		}
	}

	#[test]
	fn a_plot_is_whole_groups_whatever_happens() {
		let dir = tempfile::tempdir().unwrap();
		let before = plot(&dir, 3).0.groups_tree(3).unwrap().root();
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
		cut.grow(3, 1, || true, |_| ()).unwrap();
		drop(cut);
		// A power cut: the length of the hashes is there, their last block is not.
		let (length, hashes) = file("test.tree");
		hashes.write_all_at(&[0; 64], length - 64).unwrap();
		let mut cut = Plot::open(dir.path(), "test", recipe()).unwrap();
		assert_eq!(cut.groups(), 2);
		assert_eq!(file("test.plot").0, 2 * recipe().group_bytes());
		cut.grow(3, 1, || true, |_| ()).unwrap();
		assert_eq!(cut.0.groups_tree(3).unwrap().root(), before);
		// The plot shrinks, and grows back to the same bytes.
		cut.shrink(1).unwrap();
		assert_eq!(file("test.plot").0, recipe().group_bytes());
		assert!(Ready::new(cut.view(), SIZE).unwrap().is_none());
		let mut back = Plot::open(dir.path(), "test", recipe()).unwrap();
		back.grow(3, 4, || true, |_| ()).unwrap();
		assert_eq!(back.0.groups_tree(3).unwrap().root(), before);
	}
}
