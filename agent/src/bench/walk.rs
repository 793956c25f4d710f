//! The walk over a device's memory: dependent reads all over the last `X_t` of the matrix chain, which
//! stay where they were computed. It proves that they are there, and how fast that memory is.
//!
//! Each lane has a state of 16 words. A read takes a line of 1 KiB, a whole chunk of BLAKE3, from a
//! place that the state names, and mixes all of it into the state. After each *leg* of [`READS`] reads
//! the state goes into the lane's running digest; after each *stage* of some legs state and digest are
//! kept, and a tree stands over all that was kept.
//!
//! A checker samples a leg. It is shown the states between the legs of its stage, which the digest
//! binds, and the lines that the leg read, each as a chunk under its row's leaf in the chain's tree. So
//! it needs none of the memory.

use crate::bench::{
	chain::{self, ChainError, Place, Rows, Shape, Steps, Tops},
	hash::{Hash, Kind, Tree, TreeTag, depth, draw, leaf, place, stream, verify_path},
};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use chacha20::rand_core::Rng;
use codec::{Decode, Encode};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that one read takes: a chunk of BLAKE3.
pub const LINE: usize = blake3::CHUNK_LEN;
/// Words of a lane's state; as many threads of a kernel make a lane.
pub const WORDS: usize = 16;
/// Reads in a leg.
pub const READS: usize = 32;
/// Legs that a checker computes again.
pub const SAMPLES: usize = 4;
/// Bytes that are kept of a lane after a stage: its state and its digest.
pub const KEPT: usize = WORDS * 4 + 32;

/// A lane's state.
pub type State = [u32; WORDS];

/// How much a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
	/// The chain that it walks over.
	pub shape: Shape,
	/// The last so many `X_t` are walked over.
	pub window: usize,
	/// Lanes; a multiple of four.
	pub lanes: usize,
	/// Stages of each lane.
	pub stages: usize,
	/// Legs in a stage.
	pub legs: usize,
}

impl Walk {
	/// Lines of one `X_t`.
	fn lines_of_step(&self) -> usize {
		self.shape.n * self.shape.n / LINE
	}

	/// Lines that are walked over.
	pub fn lines(&self) -> usize {
		self.window * self.lines_of_step()
	}

	/// Bytes that all lanes read together.
	pub fn volume(&self) -> u64 {
		[self.lanes, self.stages, self.legs, READS, LINE]
			.into_iter()
			.fold(1u64, |all, part| all.saturating_mul(part as u64))
	}

	/// Where a line is: its row, and its chunk within the row.
	pub fn place_of(&self, line: usize) -> (Place, usize) {
		let chunks = self.shape.n / LINE;
		let (step, within) = (line / self.lines_of_step(), line % self.lines_of_step());
		let t = self.shape.steps - self.window + 1 + step;
		((t, within / chunks), within % chunks)
	}

	/// Whether numbers of this size can be walked at all.
	pub fn is_possible(&self) -> bool {
		let Shape { n, steps } = self.shape;
		n >= LINE
			&& n.is_power_of_two()
			&& (1..=steps).contains(&self.window)
			&& self.lines() <= u32::MAX as usize
			&& self.lanes.is_multiple_of(4)
			&& self.lanes > 0
			&& self.stages > 0
			&& self.legs > 0
	}
}

/// State and digest with which a lane begins.
pub fn first(seed: &Hash, lane: usize) -> (State, Hash) {
	let mut rng = stream(seed, lane as u64);
	let mut state = [0; WORDS];
	for word in &mut state {
		*word = rng.next_u32();
	}
	let mut digest = [0; 32];
	rng.fill_bytes(&mut digest);
	(state, digest)
}

/// The line that a state reads next, in its `read`-th read of a leg.
#[inline]
pub fn next_line(state: &State, read: usize, lines: usize) -> usize {
	let word = |offset: usize| state[(read + offset) % WORDS];
	let at = (word(0) ^ word(4) ^ word(8) ^ word(12)).wrapping_mul(0x9E37_79B1);
	((u64::from(at) * lines as u64) >> 32) as usize
}

/// Mixes a line into a state. Word `k` takes the 16-byte parts `k`, `k + 16`, `k + 32` and `k + 48`,
/// and its right neighbour.
pub fn absorb(state: &mut State, line: &[u8; LINE]) {
	let before = *state;
	for (k, word) in state.iter_mut().enumerate() {
		let mut h = *word;
		for part in 0..LINE / (16 * WORDS) {
			let bytes = &line[(k + part * WORDS) * 16..][..16];
			for bytes in bytes.chunks_exact(4) {
				let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
				h = (h.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B1);
			}
		}
		h = h.wrapping_add(before[(k + 1) % WORDS]);
		h ^= h >> 15;
		h = h.wrapping_mul(0x2C1B_3C6D);
		*word = h ^ (h >> 13);
	}
}

fn bytes_of(state: &State) -> [u8; WORDS * 4] {
	let mut out = [0; WORDS * 4];
	for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
		bytes.copy_from_slice(&word.to_le_bytes());
	}
	out
}

/// The digest after a leg that ended in `state`.
pub fn digest(before: &Hash, state: &State) -> Hash {
	*blake3::keyed_hash(before, &bytes_of(state)).as_bytes()
}

/// Runs one leg; `read` gives a line.
pub fn leg<E>(
	state: &mut State,
	lines: usize,
	mut read: impl FnMut(usize) -> Result<[u8; LINE], E>,
) -> Result<(), E> {
	for number in 0..READS {
		let line = read(next_line(state, number, lines))?;
		absorb(state, &line);
	}
	Ok(())
}

/// What is kept of a lane after a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Kept {
	/// Its state.
	pub state: State,
	/// Its digest.
	pub digest: Hash,
}

impl Kept {
	/// As it lies in a kernel's memory, and under its leaf.
	pub fn bytes(&self) -> [u8; KEPT] {
		let mut out = [0; KEPT];
		out[..WORDS * 4].copy_from_slice(&bytes_of(&self.state));
		out[WORDS * 4..].copy_from_slice(&self.digest);
		out
	}

	/// From a kernel's memory.
	pub fn of_bytes(bytes: &[u8; KEPT]) -> Self {
		let mut state = [0; WORDS];
		for (word, bytes) in state.iter_mut().zip(bytes.chunks_exact(4)) {
			*word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
		}
		let mut digest = [0; 32];
		digest.copy_from_slice(&bytes[WORDS * 4..]);
		Self { state, digest }
	}

	fn leaf(&self, index: usize) -> Hash {
		leaf(TreeTag::Walk, index as u64, &self.bytes())
	}
}

/// All that was kept, stage by stage and in each lane by lane, and the tree over it.
pub struct Done {
	walk: Walk,
	seed: Hash,
	kept: Vec<Kept>,
	tree: Tree,
}

impl Done {
	/// From what the lanes kept: those of the first stage, then those of the second …
	pub fn new(walk: Walk, seed: Hash, kept: Vec<Kept>) -> Self {
		let leaves = kept
			.par_iter()
			.with_min_len(1 << 10)
			.enumerate()
			.map(|(index, kept)| kept.leaf(index))
			.collect();
		Self {
			walk,
			seed,
			kept,
			tree: Tree::new(TreeTag::Walk, leaves),
		}
	}

	/// Its root.
	pub fn root(&self) -> Hash {
		self.tree.root()
	}

	/// What was walked.
	pub fn walk(&self) -> &Walk {
		&self.walk
	}

	/// What lane `lane` had before stage `stage`.
	pub fn before(&self, stage: usize, lane: usize) -> Kept {
		match stage.checked_sub(1) {
			Some(stage) => self.kept[stage * self.walk.lanes + lane],
			None => {
				let (state, digest) = first(&self.seed, lane);
				Kept { state, digest }
			}
		}
	}
}

/// A leg that a checker samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leg {
	/// Its lane.
	pub lane: usize,
	/// Its stage.
	pub stage: usize,
	/// Which of the stage's legs it is.
	pub leg: usize,
}

/// The legs that a checker looks at.
pub fn positions(open: &Hash, walk: &Walk) -> Vec<Leg> {
	let below = |number: u64, bound: usize| (number % bound as u64) as usize;
	draw(open, "walk/samples", SAMPLES * 3, u64::MAX)
		.chunks_exact(3)
		.map(|at| Leg {
			lane: below(at[0], walk.lanes),
			stage: below(at[1], walk.stages),
			leg: below(at[2], walk.legs),
		})
		.collect()
}

/// One line that a leg read, and what leads from it to the chain's root.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct LineOpening {
	/// The line.
	pub line: Vec<u8>,
	/// Its siblings among the chunks of its row.
	pub chunks: Vec<Hash>,
	/// The row's path in the tree over the rows.
	pub path: Vec<Hash>,
	/// The step's path in the tree over the steps, up to [`Tops`].
	pub root_path: Vec<Hash>,
}

/// What proves one leg.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct LegOpening {
	/// What was kept before its stage, with its path; none for the first stage.
	pub before: Option<(Kept, Vec<Hash>)>,
	/// What was kept after it.
	pub after: Kept,
	/// Its path.
	pub path: Vec<Hash>,
	/// The states after each leg of the stage but the last.
	pub states: Vec<State>,
	/// The lines that the sampled leg read.
	pub lines: Vec<LineOpening>,
}

/// What a worker reads again to open some legs.
pub struct Traced {
	/// For each leg: the states after each leg of its stage.
	pub states: Vec<Vec<State>>,
	/// For each leg: the lines that it read.
	pub lines: Vec<Vec<usize>>,
}

impl Traced {
	/// The rows that opening the legs takes.
	pub fn rows(&self, walk: &Walk) -> BTreeSet<Place> {
		let lines = self.lines.iter().flatten();
		lines.map(|line| walk.place_of(*line).0).collect()
	}
}

/// Walks a leg again, from the states of its stage, and notes which lines it reads.
pub fn trace<E>(
	done: &Done,
	legs: &[Leg],
	states: Vec<Vec<State>>,
	mut read: impl FnMut(usize) -> Result<[u8; LINE], E>,
) -> Result<Traced, E> {
	let lines = done.walk.lines();
	let mut all = Vec::with_capacity(legs.len());
	for (at, states) in legs.iter().zip(&states) {
		let mut state = match at.leg.checked_sub(1) {
			Some(before) => states[before],
			None => done.before(at.stage, at.lane).state,
		};
		let mut taken = Vec::with_capacity(READS);
		leg(&mut state, lines, |line| {
			taken.push(line);
			read(line)
		})?;
		all.push(taken);
	}
	Ok(Traced { states, lines: all })
}

/// Opens legs that were traced; `None` where a row is missing among `rows`.
pub fn open(
	done: &Done,
	steps: &Steps,
	legs: &[Leg],
	traced: Traced,
	rows: &Rows,
) -> Option<Vec<LegOpening>> {
	let walk = &done.walk;
	let mut levels: BTreeMap<Place, Vec<Vec<Hash>>> = BTreeMap::new();
	let mut line = |line: usize| {
		let (at, chunk) = walk.place_of(line);
		let (bytes, path) = rows.get(&at)?;
		let levels = levels.entry(at).or_insert_with(|| chunk_levels(at, bytes));
		Some(LineOpening {
			line: bytes[chunk * LINE..][..LINE].to_vec(),
			chunks: siblings(levels, chunk),
			path: path.clone(),
			root_path: steps.path(at.0),
		})
	};
	let mut out = Vec::with_capacity(legs.len());
	for ((at, mut states), lines) in legs.iter().zip(traced.states).zip(traced.lines) {
		let index = at.stage * walk.lanes + at.lane;
		states.pop();
		out.push(LegOpening {
			before: at.stage.checked_sub(1).map(|_| {
				let before = index - walk.lanes;
				(done.kept[before], done.tree.path(before))
			}),
			after: done.kept[index],
			path: done.tree.path(index),
			states,
			lines: lines.into_iter().map(&mut line).collect::<Option<_>>()?,
		});
	}
	Some(out)
}

fn row_key((t, row): Place) -> Hash {
	place(Kind::Leaf, TreeTag::Rows, 0, chain::row_index(t, row))
}

/// The values of the tree over a row's chunks, level by level, without its root.
fn chunk_levels(at: Place, row: &[u8]) -> Vec<Vec<Hash>> {
	let key = row_key(at);
	let chunks = row.chunks_exact(LINE).enumerate();
	let mut levels: Vec<Vec<Hash>> = vec![
		chunks
			.map(|(chunk, bytes)| chunk_value(&key, chunk, bytes))
			.collect(),
	];
	while levels[levels.len() - 1].len() > 2 {
		let above = levels[levels.len() - 1]
			.chunks_exact(2)
			.map(|pair| merge_subtrees_non_root(&pair[0], &pair[1], Mode::KeyedHash(&key)))
			.collect();
		levels.push(above);
	}
	levels
}

/// The siblings of a chunk, up to but without the row's leaf.
fn siblings(levels: &[Vec<Hash>], chunk: usize) -> Vec<Hash> {
	levels
		.iter()
		.enumerate()
		.filter_map(|(level, values)| values.get((chunk >> level) ^ 1).copied())
		.collect()
}

fn chunk_value(key: &Hash, chunk: usize, bytes: &[u8]) -> Hash {
	let mut hasher = blake3::Hasher::new_keyed(key);
	hasher.set_input_offset((chunk * LINE) as u64);
	hasher.update(bytes);
	hasher.finalize_non_root()
}

/// The leaf of a row of which one chunk is shown.
fn row_leaf(
	at: Place,
	chunks: usize,
	chunk: usize,
	line: &[u8; LINE],
	siblings: &[Hash],
) -> Option<Hash> {
	if siblings.len() != depth(chunks) {
		return None;
	}
	let key = row_key(at);
	if chunks == 1 {
		return Some(*blake3::keyed_hash(&key, line).as_bytes());
	}
	let mut value = chunk_value(&key, chunk, line);
	for (level, sibling) in siblings.iter().enumerate() {
		let (left, right) = match (chunk >> level) & 1 {
			0 => (&value, sibling),
			_ => (sibling, &value),
		};
		let mode = Mode::KeyedHash(&key);
		if level + 1 == siblings.len() {
			return Some(*merge_subtrees_root(left, right, mode).as_bytes());
		}
		value = merge_subtrees_non_root(left, right, mode);
	}
	None
}

/// Why an opening of the walk does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalkError {
	/// Not as many legs, states, lines, bytes or hashes as there must be.
	#[error("the opening has the wrong shape")]
	Shape,
	/// A kept state is not under the attested root.
	#[error("a state is not in its tree")]
	State,
	/// The states between the legs are not those of which the digest was kept.
	#[error("the states are not those that were kept")]
	Digest,
	/// A line is not where the chain left it.
	#[error("a line: {0}")]
	Line(#[from] ChainError),
	/// The lines do not lead from one state to the next.
	#[error("a leg does not end in the state that it should")]
	Leg,
}

/// Checks openings of the walk with this seed and root, over the chain under these tops (which are
/// known to fit its root).
pub fn verify(
	seed: &Hash,
	walk: &Walk,
	tops: &Tops,
	root: &Hash,
	legs: &[Leg],
	openings: &[LegOpening],
) -> Result<(), WalkError> {
	if !walk.is_possible() || legs.len() != openings.len() {
		return Err(WalkError::Shape);
	}
	let count = walk.lanes * walk.stages;
	let (lines, chunks) = (walk.lines(), walk.shape.n / LINE);
	for (at, opening) in legs.iter().zip(openings) {
		if opening.states.len() + 1 != walk.legs || opening.lines.len() != READS {
			return Err(WalkError::Shape);
		}
		let index = at.stage * walk.lanes + at.lane;
		let before = match (&opening.before, at.stage) {
			(None, 0) => {
				let (state, digest) = first(seed, at.lane);
				Kept { state, digest }
			}
			(Some((kept, path)), 1..) => {
				let index = index - walk.lanes;
				if !verify_path(TreeTag::Walk, kept.leaf(index), index, count, path, root) {
					return Err(WalkError::State);
				}
				*kept
			}
			_ => return Err(WalkError::Shape),
		};
		let after = opening.after.leaf(index);
		if !verify_path(TreeTag::Walk, after, index, count, &opening.path, root) {
			return Err(WalkError::State);
		}
		let states = || opening.states.iter().chain([&opening.after.state]);
		if states().fold(before.digest, |before, state| digest(&before, state))
			!= opening.after.digest
		{
			return Err(WalkError::Digest);
		}
		let mut state = match at.leg.checked_sub(1) {
			Some(before) => opening.states[before],
			None => before.state,
		};
		let mut shown = opening.lines.iter();
		leg(&mut state, lines, |line| {
			let shown = shown.next().ok_or(WalkError::Shape)?;
			let bytes: [u8; LINE] = shown
				.line
				.as_slice()
				.try_into()
				.map_err(|_| WalkError::Shape)?;
			let (place, chunk) = walk.place_of(line);
			let leaf =
				row_leaf(place, chunks, chunk, &bytes, &shown.chunks).ok_or(WalkError::Shape)?;
			tops.row_fits(walk.shape, place, leaf, &shown.path, &shown.root_path)?;
			Ok::<_, WalkError>(bytes)
		})?;
		if Some(&state) != states().nth(at.leg) {
			return Err(WalkError::Leg);
		}
	}
	Ok(())
}

/// The walk as the processor does it: the reference. `x` gives all of an `X_t` of the
/// window.
pub fn compute<'a>(seed: Hash, walk: Walk, x: impl Fn(usize) -> &'a [u8] + Sync) -> Done {
	let mut kept: Vec<Kept> = Vec::with_capacity(walk.lanes * walk.stages);
	for stage in 0..walk.stages {
		let after: Vec<Kept> = (0..walk.lanes)
			.into_par_iter()
			.map(|lane| {
				let mut now = match stage.checked_sub(1) {
					Some(before) => kept[before * walk.lanes + lane],
					None => {
						let (state, digest) = first(&seed, lane);
						Kept { state, digest }
					}
				};
				for state in stage_states(&walk, now.state, &x) {
					now.digest = digest(&now.digest, &state);
					now.state = state;
				}
				now
			})
			.collect();
		kept.extend(after);
	}
	Done::new(walk, seed, kept)
}

/// The states after each leg of a stage that begins with `state`.
pub fn stage_states<'a>(
	walk: &Walk,
	mut state: State,
	x: impl Fn(usize) -> &'a [u8],
) -> Vec<State> {
	let lines = walk.lines();
	(0..walk.legs)
		.map(|_| {
			for number in 0..READS {
				let line = line_of(walk, next_line(&state, number, lines), &x);
				absorb(&mut state, &line);
			}
			state
		})
		.collect()
}

/// A line of the `X_t` that `x` gives.
pub fn line_of<'a>(walk: &Walk, line: usize, x: impl Fn(usize) -> &'a [u8]) -> [u8; LINE] {
	let ((t, row), chunk) = walk.place_of(line);
	let mut out = [0; LINE];
	out.copy_from_slice(&x(t)[row * walk.shape.n + chunk * LINE..][..LINE]);
	out
}
