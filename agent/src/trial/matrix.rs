//! The GPU's part in plain code: the checker's verifier, and the oracle for every kernel.
//!
//! Matrices are n × n bytes, and are kept and shown in lines of 1 KiB.

mod run;
mod verify;

use super::{
	hash::{Compress, Hash, Running, fill, key, place_u32, u32_at},
	part::MARKS,
	sample::{Draw, Kind, Reject},
	tree::{Tree, TreeKey},
};
use rayon::prelude::*;
pub use run::{Ran, run_all};
use std::convert::Infallible;
pub use verify::verify;

/// Length of a line, in bytes: the size of one read of a walk, and of the state of a walk's lane.
pub const LINE: usize = 1_024;
/// Number of words of a line.
const WORDS: usize = LINE / 4;
/// One of this number of the fill's matrices stays in memory.
pub const KEPT: u32 = 8;
/// Steps of a turn: products and walks, one after the other.
pub const STEPS: u32 = 16;
/// Products of a turn, and walks.
const HALF: u32 = STEPS / 2;
/// Dependent reads of a lane in a walk.
pub const READS: usize = 8;
/// Maximum number of spans of a trial.
const SPANS: u32 = 64;
/// Samples of each kind.
pub(super) const FILLS: u32 = 128;
pub(super) const PRODUCTS: u32 = 128;
pub(super) const WALKS: u32 = 64;

/// A line.
pub type Line = [u8; LINE];

/// Sizes of a GPU's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
	/// Rows and columns of the matrices: a power of two, 64 … 16,384.
	pub n: u32,
	/// Matrices that stay in memory, 2 … 2²⁰, and fewer than 2³² lines in all.
	pub window: u32,
	/// Turns, 1 … 2²⁰.
	pub turns: u32,
}

impl Size {
	/// Maximum number of GPUs of a worker. A checker receives openings of 5.5 MB for each, and the half of
	/// its memory that large ones may take has room for six workers with 16.
	pub const MAX_GPUS: usize = 16;

	/// Returns the maximum number of matrices of n × n bytes in a window: a walk addresses all lines by 32
	/// bits.
	pub fn most_window(n: u32) -> u64 {
		let lines = (u64::from(n) * u64::from(n) / LINE as u64).max(1);
		(u64::from(u32::MAX) / lines).min(1 << 20)
	}

	/// Fails if a size is out of range.
	pub fn check(&self) -> Result<(), Reject> {
		let within = (64..=16_384).contains(&self.n)
			&& self.n.is_power_of_two()
			&& (2..=Self::most_window(self.n)).contains(&self.window.into())
			&& (1..=1 << 20).contains(&self.turns);
		within.then_some(()).ok_or(Reject::Size)
	}

	/// Lines of the window.
	fn window_lines(&self) -> u32 {
		self.lines() as u32 * self.window
	}

	/// Lines of a matrix.
	pub fn lines(&self) -> u64 {
		u64::from(self.n) * u64::from(self.n) / LINE as u64
	}

	/// Returns the number of matrices of the fill, including those that do not stay.
	pub fn filled(&self) -> u32 {
		filled_of(self.window)
	}

	/// Spans of the turns.
	pub fn spans(&self) -> u32 {
		self.turns.min(SPANS)
	}

	/// Returns the number of turns of each span except the last, which has the remaining turns too.
	fn span_turns(&self) -> u32 {
		self.turns / self.spans().max(1)
	}

	/// The turns before which the GPUs of a worker are bound to each other: the first of each span but the
	/// first.
	pub fn span_begins(&self, turn: u32) -> bool {
		let each = self.span_turns();
		turn > 0 && turn.is_multiple_of(each) && turn / each < self.spans()
	}

	/// Spans from one mark to the next.
	fn mark_spans(&self) -> u32 {
		self.spans().div_ceil(MARKS.into()).max(1)
	}

	/// Number of marks, at most [`MARKS`].
	pub fn marks(&self) -> u8 {
		self.spans().div_ceil(self.mark_spans()) as u8
	}

	/// Turns that are done at a mark; all of them at the last.
	pub fn mark_turns(&self, mark: u8) -> u32 {
		let spans = (u32::from(mark) + 1) * self.mark_spans();
		if spans < self.spans() {
			spans * self.span_turns()
		} else {
			self.turns
		}
	}

	/// The mark that is due after this number of turns.
	fn mark_at(&self, turns: u32) -> Option<u8> {
		let spans = if turns == self.turns {
			self.spans()
		} else {
			turns / self.span_turns()
		};
		let due = spans == self.spans() || spans.is_multiple_of(self.mark_spans());
		due.then(|| (spans.div_ceil(self.mark_spans()) - 1) as u8)
	}
}

/// Matrices of a fill of which `window` stay.
pub(crate) fn filled_of(window: u32) -> u32 {
	window.saturating_sub(1) * KEPT + 1
}

/// A GPU's seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seeds {
	/// Of the fill.
	pub fill: Hash,
	/// Of the trial.
	pub trial: Hash,
}

impl Seeds {
	/// GPU `number` of the proof.
	pub fn new(base: &Hash, start: &Hash, number: u8) -> Self {
		Self {
			fill: key("fill", &[base, &[number]]),
			trial: key("gpu", &[start, &[number]]),
		}
	}
}

/// `f(sum, t, i, j, κ)`: the byte that a product's sum becomes.
#[inline]
pub fn byte_of(sum: i32, t: u32, i: u32, j: u32, kappa: u32) -> u8 {
	let place = t
		.wrapping_mul(0x9E37_79B1)
		.wrapping_add(i.wrapping_mul(0x85EB_CA77))
		.wrapping_add(j.wrapping_mul(0xC2B2_AE3D))
		.wrapping_add(kappa);
	let mut h = sum as u32 ^ place;
	h ^= h >> 15;
	h = h.wrapping_mul(0x2C1B_3C6D);
	h ^= h >> 12;
	h = h.wrapping_mul(0x297A_2D39);
	h ^= h >> 15;
	(h >> 24) as u8
}

/// A row of the fixed factor.
pub fn row_of_a(seed: &Hash, i: u32, n: u32) -> Vec<u8> {
	let mut row = vec![0; n as usize];
	fill(seed, 0, i, &mut row);
	row
}

/// A row of the matrix that a seed begins with.
pub fn first_row(seed: &Hash, i: u32, n: u32) -> Vec<u8> {
	let mut row = vec![0; n as usize];
	fill(seed, 1, i, &mut row);
	row
}

/// The matrix that a seed begins with.
#[doc(hidden)]
pub fn first(seed: &Hash, n: u32) -> Vec<u8> {
	(0..n).flat_map(|i| first_row(seed, i, n)).collect()
}

fn dot(a: &[u8], x: &[u8]) -> i32 {
	a.iter().zip(x).fold(0i32, |sum, (a, x)| {
		sum.wrapping_add(i32::from(*a as i8) * i32::from(*x as i8))
	})
}

/// The matrix after `x` in step `t`.
pub fn product_of(seed: &Hash, x: &[u8], n: u32, t: u32, kappa: u32) -> Vec<u8> {
	let mut next = vec![0; x.len()];
	let rows = next.par_chunks_exact_mut(n as usize).enumerate();
	rows.for_each(|(i, row)| {
		let a = row_of_a(seed, i as u32, n);
		for (j, (byte, x)) in (0..).zip(row.iter_mut().zip(x.chunks_exact(n as usize))) {
			*byte = byte_of(dot(&a, x), t, i as u32, j, kappa);
		}
	});
	next
}

/// Mixes a word of a lane.
#[inline]
fn mix(mut h: u32) -> u32 {
	h ^= h >> 15;
	h = h.wrapping_mul(0x2C1B_3C6D);
	h ^ h >> 13
}

/// The line of the window that a lane reads next.
#[inline]
fn line_of(s: &[u32; WORDS], lines: u32, kappa: u32) -> u32 {
	let all = s.iter().fold(0, |all, word| all ^ word);
	place_u32(all.wrapping_mul(0x9E37_79B1) ^ kappa, lines)
}

/// A lane after one read.
#[inline]
fn read(s: &[u32; WORDS], line: &Line) -> [u32; WORDS] {
	std::array::from_fn(|k| {
		let x = u32_at(line, 4 * k);
		mix((s[k].rotate_left(5) ^ x).wrapping_add(s[(k + 1) % WORDS]))
	})
}

fn words_of(line: &Line) -> [u32; WORDS] {
	std::array::from_fn(|at| u32_at(line, 4 * at))
}

fn line_from(words: &[u32; WORDS]) -> Line {
	let mut line = [0; LINE];
	for (bytes, word) in line.chunks_exact_mut(4).zip(words) {
		bytes.copy_from_slice(&word.to_le_bytes());
	}
	line
}

/// A lane after all its reads; `window` gives a line, of `lines`.
pub fn walk_lane<E>(
	state: &Line,
	lines: u32,
	kappa: u32,
	mut window: impl FnMut(u32) -> Result<Line, E>,
) -> Result<Line, E> {
	let mut s = words_of(state);
	for _ in 0..READS {
		let line = window(line_of(&s, lines, kappa))?;
		s = read(&s, &line);
	}
	Ok(line_from(&s))
}

/// Walks all lanes of a matrix over a window.
pub(crate) fn walk_of(z: &mut [u8], window: &[u8], kappa: u32) {
	let window = lines_of(window);
	let lanes = z.as_chunks_mut::<LINE>().0;
	lanes.par_iter_mut().for_each(|state| {
		let there = |line: u32| Ok::<_, Infallible>(window[line as usize]);
		let Ok(after) = walk_lane(state, window.len() as u32, kappa, there);
		*state = after;
	});
}

/// Lines of bytes.
#[doc(hidden)]
pub fn lines_of(matrix: &[u8]) -> &[Line] {
	matrix.as_chunks().0
}

/// The tree over a matrix.
#[doc(hidden)]
pub fn tree_over(key: &TreeKey, matrix: &[u8]) -> Tree {
	let lines = lines_of(matrix);
	let mut leaves = vec![[0; 32]; lines.len()];
	key.leaves(0, lines, &mut leaves);
	Tree::over(key, 0, leaves)
}

/// The key of the tree over matrix `t` of the fill.
#[doc(hidden)]
pub fn filled_key(fill: &Hash, t: u32) -> TreeKey {
	TreeKey::new(fill, "matrix", t.into())
}

/// The key of the tree over the result of a step, counted over all turns.
#[doc(hidden)]
pub fn step_key(trial: &Hash, step: u32) -> TreeKey {
	TreeKey::new(trial, "step", step.into())
}

/// Returns the key of the tree over the matrices of the fill.
fn fill_key(fill: &Hash) -> TreeKey {
	TreeKey::new(fill, "fill", 0)
}

/// Returns the tree over the matrices of the fill.
fn fill_tree(fill: &Hash, roots: &[Hash]) -> Tree {
	tree_of_roots(&fill_key(fill), roots)
}

/// Returns the key of the tree over the roots of a turn's steps.
pub(crate) fn turn_key(trial: &Hash, turn: u32) -> TreeKey {
	TreeKey::new(trial, "turn", turn.into())
}

/// Returns the tree over the roots of a turn's steps.
fn turn_tree(trial: &Hash, turn: u32, roots: &[Hash]) -> Tree {
	tree_of_roots(&turn_key(trial, turn), roots)
}

/// The root over the roots of a turn's steps.
pub fn turn_root(trial: &Hash, turn: u32, roots: &[Hash]) -> Hash {
	turn_tree(trial, turn, roots).root()
}

fn tree_of_roots(key: &TreeKey, roots: &[Hash]) -> Tree {
	let leaf = |(place, root): (u64, &Hash)| key.leaf(Compress::new(), place, root);
	Tree::over(key, 0, (0..).zip(roots).map(leaf).collect())
}

/// κ of a turn's first product.
pub fn kappa_of(running: &Running) -> u32 {
	u32_at(running.state(), 0)
}

/// κ of the other steps of a turn, of the root of the step before. With the turn's κ alone a prover could
/// change a byte of a product's line until its lane reads only lines that it holds, and rows could go from
/// one device to another and back while both compute: now no byte of a step is known before the whole step
/// before it is.
pub fn step_kappa(running: &Running, before: &Hash, step: u32) -> u32 {
	let mut block = [0; 64];
	block[..32].copy_from_slice(before);
	let counter = 1 << 63 | u64::from(step);
	let hash = Compress::new().half(running.state(), &block, counter);
	u32_at(&hash, 0)
}

/// The first running hash of a GPU. It depends on the fill, so that the window is fixed before it is walked.
pub(crate) fn first_hash(seeds: &Seeds, fill: &Hash) -> Running {
	Running::over(&[&seeds.trial, fill])
}

/// Binds the running hashes of a worker's GPUs to each other: h ← K(span; all of them, its own number).
fn bind(running: &mut [Running]) {
	let before: Vec<Hash> = running.iter().map(|one| *one.state()).collect();
	for (number, one) in (0u8..).zip(running) {
		one.bind(&before, number);
	}
}

/// A mark: `K(mark; number, the running hashes of all GPUs)`, before they are bound.
fn mark_of(number: u8, running: &[Running]) -> Hash {
	let number = [number];
	let states = running.iter().map(|one| &one.state()[..]);
	let parts: Vec<&[u8]> = std::iter::once(&number[..]).chain(states).collect();
	key("mark", &parts)
}

/// `K(root of gpu; last hash, fill root)`.
fn root_of(last: &Hash, fill: &Hash) -> Hash {
	key("root of gpu", &[last, fill])
}

/// A sampled byte of a product.
#[derive(Clone, Copy, Debug)]
struct Byte {
	/// The product, counted from 0.
	product: u32,
	i: u32,
	j: u32,
}

fn bytes_at(places: Vec<u64>, n: u32) -> Vec<Byte> {
	let n = u64::from(n);
	let at = |place: u64| Byte {
		product: (place / (n * n)) as u32,
		i: (place / n % n) as u32,
		j: (place % n) as u32,
	};
	places.into_iter().map(at).collect()
}

/// The samples of one GPU in a draw.
struct Samples {
	/// Samples of all products of the fill, and of those whose results stay.
	fills: Vec<Byte>,
	products: Vec<Byte>,
	/// Walks, counted from 0, and lanes.
	walks: Vec<(u32, u64)>,
}

impl Samples {
	fn new(draw: &Draw, gpu: u8, size: &Size) -> Self {
		let matrix = u64::from(size.n) * u64::from(size.n);
		let fills = u64::from(size.filled() - 1) * matrix;
		let products = u64::from(size.turns) * u64::from(HALF) * matrix;
		let walks = u64::from(size.turns) * u64::from(HALF) * size.lines();
		let walk = |place: u64| ((place / size.lines()) as u32, place % size.lines());
		// Walks read only the results that stay, one in eight: a prover that makes up only those would be
		// detected an eighth as often.
		let stay = u64::from(size.window - 1) * matrix;
		let mut kept = bytes_at(draw.places(Kind::Kept, gpu, FILLS, stay), size.n);
		for byte in &mut kept {
			byte.product = KEPT * byte.product + KEPT - 1;
		}
		let all = bytes_at(draw.places(Kind::Fill, gpu, FILLS, fills), size.n);
		Self {
			fills: all.into_iter().chain(kept).collect(),
			products: bytes_at(draw.places(Kind::Products, gpu, PRODUCTS, products), size.n),
			walks: draw
				.places(Kind::Walk, gpu, WALKS, walks)
				.into_iter()
				.map(walk)
				.collect(),
		}
	}
}

/// The step that a product or a walk is, counted over all turns.
fn step_of(number: u32, is_walk: bool) -> u32 {
	2 * number + u32::from(is_walk)
}

/// The lines in which row `j` lies: the first, and how many.
fn lines_of_row(j: u32, n: u32) -> (u64, usize) {
	let first = u64::from(j) * u64::from(n) / LINE as u64;
	(first, (n as usize).div_ceil(LINE))
}

/// The line in which a byte of a product lies.
fn line_at(byte: &Byte, n: u32) -> u64 {
	(u64::from(byte.i) * u64::from(n) + u64::from(byte.j)) / LINE as u64
}

/// The matrix of the fill in which a line of the window lies, and the line there.
fn place_in_window(line: u32, size: &Size) -> (u32, u32) {
	let lines = size.lines() as u32;
	(line / lines * KEPT, line % lines)
}

/// The row among its lines.
fn row_in(lines: &[Line], j: u32, n: u32) -> &[u8] {
	let from = j as usize * n as usize % LINE;
	&lines.as_flattened()[from..][..n as usize]
}

#[cfg(test)]
mod tests;
