//! The chain of int8 matrix products that anyone can check: the pure Rust reference, which is also
//! the verifier and the oracle of every other implementation.
//!
//! `X_{t+1}[i][j] = f(Σ_k A[i][k] · X_t[j][k], t, i, j)`, sums in wrapping 32-bit integers. `A` and
//! `X_0` come from ChaCha8, each row a stream of its own. Over the rows of each `X_t`, `t ≥ 1`,
//! stands a Merkle tree; a tree over their roots gives the chain's root. `docs/benchmark.md` has the
//! exact definition.

use crate::bench::hash::{Hash, Tree, TreeTag, climb, depth, derive, draw, fill, leaf, root_above};
use codec::Encode;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of the product that are computed together in registers.
const BLOCK: usize = 4;
/// Rows of `A` that stay in the cache while all of `X` goes by; divides every `n`.
const TILE: usize = 32;

/// How big a chain is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
	/// Rows and columns; a multiple of 64.
	pub n: usize,
	/// Steps.
	pub steps: usize,
}

/// One sampled element: `X_{t+1}[i][j]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
	/// The step.
	pub t: usize,
	/// The row of the product, and of `A`.
	pub i: usize,
	/// The column of the product: the row of `X_t`.
	pub j: usize,
}

/// A row of an `X_t` and what leads from it to the chain's root.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct RowOpening {
	/// The row.
	pub bytes: Vec<u8>,
	/// Its path in the tree over the rows.
	pub path: Vec<Hash>,
	/// The step's path in the tree over the steps, up to [`Tops`].
	pub root_path: Vec<Hash>,
}

/// What proves one sampled element.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct Sample {
	/// Row `j` of `X_t`; none where `t` is 0, since the verifier derives it.
	pub x: Option<RowOpening>,
	/// Row `i` of `X_{t+1}`.
	pub y: RowOpening,
}

/// Openings of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct ChainOpening {
	/// The top of the tree over the steps.
	pub tops: Tops,
	/// One for each position that was drawn.
	pub samples: Vec<Sample>,
}

/// One level of the tree over the steps' roots, all of it: what many openings have in common is sent
/// once. It is the leaves' level up to [`MAX_TOPS`] steps, and a higher one beyond.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct Tops(pub Vec<Hash>);

/// Longest path in a tree over the rows or the steps: 16,384 rows, 65,536 steps.
pub const MAX_DEPTH: usize = 16;

/// Most nodes of [`Tops`].
pub const MAX_TOPS: usize = 1_024;

/// The level that is sent of the tree over this many steps.
fn tops_level(steps: usize) -> usize {
	depth(steps).saturating_sub(MAX_TOPS.trailing_zeros() as usize)
}

impl Tops {
	/// Whether it is a whole level of the tree with this root.
	pub fn fit(&self, steps: usize, root: &Hash) -> Result<(), ChainError> {
		let level = tops_level(steps);
		if self.0.len() != 1 << (depth(steps) - level) {
			return Err(ChainError::Shape);
		}
		// Where the leaves themselves are sent, each step must have one.
		if level == 0 && self.0[..steps].contains(&[0; 32]) {
			return Err(ChainError::Shape);
		}
		match root_above(TreeTag::Steps, level, &self.0) {
			Some(found) if found == *root => Ok(()),
			_ => Err(ChainError::Root),
		}
	}

	/// Whether a leaf is row `row` of `X_t` of the chain of this shape.
	pub fn row_fits(
		&self,
		shape: Shape,
		(t, row): Place,
		leaf: Hash,
		path: &[Hash],
		root_path: &[Hash],
	) -> Result<(), ChainError> {
		let level = tops_level(shape.steps);
		if path.len() != depth(shape.n) || root_path.len() != level {
			return Err(ChainError::Shape);
		}
		if row >= shape.n || t == 0 || t > shape.steps {
			return Err(ChainError::Row);
		}
		let root = climb(TreeTag::Rows, leaf, row, path);
		let top = climb(TreeTag::Steps, step_leaf(t, &root), t - 1, root_path);
		if self.0.get((t - 1) >> level) == Some(&top) {
			Ok(())
		} else {
			Err(ChainError::Row)
		}
	}
}

/// A step `t` and a row of `X_t`.
pub type Place = (usize, usize);
/// The rows that were asked for, each with its path in the tree over the rows.
pub type Rows = BTreeMap<Place, (Vec<u8>, Vec<Hash>)>;

/// Mixes a sum and its place to one byte.
#[inline(always)]
pub fn mix(sum: i32, t: u32, i: u32, j: u32) -> i8 {
	let place = t
		.wrapping_mul(0x9E37_79B1)
		.wrapping_add(i.wrapping_mul(0x85EB_CA77))
		.wrapping_add(j.wrapping_mul(0xC2B2_AE3D));
	let mut h = (sum as u32) ^ place;
	h ^= h >> 15;
	h = h.wrapping_mul(0x2C1B_3C6D);
	h ^= h >> 12;
	h = h.wrapping_mul(0x297A_2D39);
	h ^= h >> 15;
	(h >> 24) as u8 as i8
}

/// Row `index` of `A`.
pub fn row_of_a(seed: &Hash, index: usize, out: &mut [u8]) {
	fill(&derive(seed, "chain/A"), index as u64, out);
}

/// Row `index` of `X_0`.
pub fn row_of_x0(seed: &Hash, index: usize, out: &mut [u8]) {
	fill(&derive(seed, "chain/X0"), index as u64, out);
}

fn matrix(seed: &Hash, n: usize, row: impl Fn(&Hash, usize, &mut [u8]) + Sync) -> Vec<u8> {
	let mut out = vec![0u8; n * n];
	out.par_chunks_mut(n)
		.enumerate()
		.for_each(|(index, bytes)| row(seed, index, bytes));
	out
}

/// Widened once a step, so that the inner loop multiplies pairs of 16-bit numbers.
fn widen(bytes: &[u8]) -> Vec<i16> {
	bytes
		.par_iter()
		.with_min_len(1 << 14)
		.map(|byte| i16::from(*byte as i8))
		.collect()
}

/// The dot product of two rows of signed bytes.
#[inline(always)]
fn dot_body(a: &[u8], x: &[u8]) -> i32 {
	a.iter().zip(x).fold(0i32, |sum, (a, x)| {
		let product = i32::from(i16::from(*a as i8) * i16::from(*x as i8));
		sum.wrapping_add(product)
	})
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(a: &[u8], x: &[u8]) -> i32 {
	dot_body(a, x)
}

fn dot(a: &[u8], x: &[u8]) -> i32 {
	#[cfg(target_arch = "x86_64")]
	if is_x86_feature_detected!("avx2") {
		// SAFETY: the feature it needs was just found.
		return unsafe { dot_avx2(a, x) };
	}
	dot_body(a, x)
}

/// Up to `TILE` rows of the product.
#[inline(always)]
fn tile_body(a: &[i16], x: &[i16], n: usize, t: u32, first: u32, out: &mut [u8]) {
	for (j, row) in x.chunks_exact(n).enumerate() {
		for (block, a) in a.chunks_exact(BLOCK * n).enumerate() {
			let (a0, rest) = a.split_at(n);
			let (a1, rest) = rest.split_at(n);
			let (a2, a3) = rest.split_at(n);
			let a3 = &a3[..n];
			let mut sums = [0i32; BLOCK];
			for k in 0..n {
				let x = i32::from(row[k]);
				sums[0] = sums[0].wrapping_add(i32::from(a0[k]).wrapping_mul(x));
				sums[1] = sums[1].wrapping_add(i32::from(a1[k]).wrapping_mul(x));
				sums[2] = sums[2].wrapping_add(i32::from(a2[k]).wrapping_mul(x));
				sums[3] = sums[3].wrapping_add(i32::from(a3[k]).wrapping_mul(x));
			}
			for (r, sum) in sums.into_iter().enumerate() {
				let i = block * BLOCK + r;
				out[i * n + j] = mix(sum, t, first + i as u32, j as u32) as u8;
			}
		}
	}
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn tile_avx2(a: &[i16], x: &[i16], n: usize, t: u32, first: u32, out: &mut [u8]) {
	tile_body(a, x, n, t, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile_avx512(a: &[i16], x: &[i16], n: usize, t: u32, first: u32, out: &mut [u8]) {
	tile_body(a, x, n, t, first, out);
}

fn tile(a: &[i16], x: &[i16], n: usize, t: u32, first: u32, out: &mut [u8]) {
	#[cfg(target_arch = "x86_64")]
	{
		if is_x86_feature_detected!("avx512bw")
			&& is_x86_feature_detected!("avx512vl")
			&& is_x86_feature_detected!("avx512vnni")
		{
			// SAFETY: the features it needs were just found.
			return unsafe { tile_avx512(a, x, n, t, first, out) };
		}
		if is_x86_feature_detected!("avx2") {
			// SAFETY: the feature it needs was just found.
			return unsafe { tile_avx2(a, x, n, t, first, out) };
		}
	}
	tile_body(a, x, n, t, first, out);
}

/// `X_{t+1}` from `X_t`.
fn step(a: &[i16], x: &[u8], n: usize, t: usize) -> Vec<u8> {
	let x = widen(x);
	let mut out = vec![0u8; n * n];
	out.par_chunks_mut(TILE * n)
		.zip(a.par_chunks(TILE * n))
		.enumerate()
		.for_each(|(index, (out, a))| tile(a, &x, n, t as u32, (index * TILE) as u32, out));
	out
}

/// The leaf's index of row `row` of `X_t` in the tree over its rows.
pub fn row_index(t: usize, row: usize) -> u64 {
	((t as u64) << 32) | row as u64
}

fn row_leaf(t: usize, row: usize, bytes: &[u8]) -> Hash {
	leaf(TreeTag::Rows, row_index(t, row), bytes)
}

/// The tree over the rows of `X_t`.
pub(crate) fn step_tree(x: &[u8], n: usize, t: usize) -> Tree {
	let leaves = x
		.par_chunks(n)
		.enumerate()
		.map(|(row, bytes)| row_leaf(t, row, bytes))
		.collect::<Vec<_>>();
	Tree::new(TreeTag::Rows, leaves)
}

fn step_leaf(t: usize, root: &Hash) -> Hash {
	leaf(TreeTag::Steps, t as u64 - 1, root)
}

/// The roots of the steps, and the tree over them.
pub struct Steps {
	tree: Tree,
	steps: usize,
}

impl Steps {
	/// From the roots of `X_1`, `X_2` …
	pub fn new(roots: &[Hash]) -> Self {
		let leaves = roots
			.iter()
			.enumerate()
			.map(|(index, root)| step_leaf(index + 1, root))
			.collect();
		Self {
			tree: Tree::new(TreeTag::Steps, leaves),
			steps: roots.len(),
		}
	}

	/// The chain's root.
	pub fn root(&self) -> Hash {
		self.tree.root()
	}

	/// What all openings have in common.
	pub fn tops(&self) -> Tops {
		Tops(self.tree.level(tops_level(self.steps)).to_vec())
	}

	/// The path of `X_t`'s root up to the tops.
	pub fn path(&self, t: usize) -> Vec<Hash> {
		self.tree.path_to(t - 1, tops_level(self.steps))
	}

	/// Opens a row that is among `rows`.
	fn row(&self, rows: &Rows, place: Place) -> Option<RowOpening> {
		let (bytes, path) = rows.get(&place)?.clone();
		Some(RowOpening {
			bytes,
			path,
			root_path: self.path(place.0),
		})
	}

	/// Opens positions, in their order; `None` where a row is missing among `rows`.
	pub fn open(&self, positions: &[Position], rows: &Rows) -> Option<ChainOpening> {
		let sample = |at: &Position| {
			let x = match at.t {
				0 => None,
				t => Some(self.row(rows, (t, at.j))?),
			};
			let y = self.row(rows, (at.t + 1, at.i))?;
			Some(Sample { x, y })
		};
		Some(ChainOpening {
			tops: self.tops(),
			samples: positions.iter().map(sample).collect::<Option<_>>()?,
		})
	}
}

/// The rows that opening these positions takes.
pub fn rows_of(positions: &[Position]) -> BTreeSet<Place> {
	let x = positions.iter().filter(|at| at.t > 0);
	x.map(|at| (at.t, at.j))
		.chain(positions.iter().map(|at| (at.t + 1, at.i)))
		.collect()
}

/// Where a checker looks: `count` positions drawn from a seed.
pub fn positions(seed: &Hash, shape: Shape, count: usize) -> Vec<Position> {
	draw(seed, "chain/samples", count * 3, u64::MAX)
		.chunks_exact(3)
		.map(|at| Position {
			t: (at[0] % shape.steps as u64) as usize,
			i: (at[1] % shape.n as u64) as usize,
			j: (at[2] % shape.n as u64) as usize,
		})
		.collect()
}

/// A computed chain, with what is needed to open it.
pub struct Chain {
	seed: Hash,
	shape: Shape,
	every: usize,
	checkpoints: BTreeMap<usize, Vec<u8>>,
	steps: Steps,
}

impl Chain {
	/// Computes the chain. At most about `budget` bytes of checkpoints are kept; what is between
	/// two of them is computed again when it is opened.
	pub fn compute(seed: Hash, shape: Shape, budget: usize) -> Self {
		Self::compute_with(seed, shape, budget, |_, _| ())
	}

	/// As [`Self::compute`], with a hand on each step's result: how the tests cheat.
	pub(crate) fn compute_with(
		seed: Hash,
		shape: Shape,
		budget: usize,
		tamper: impl Fn(usize, &mut Vec<u8>),
	) -> Self {
		let Shape { n, steps } = shape;
		let every = ((steps + 1) * n * n).div_ceil(budget.max(n * n)).max(1);
		let a = widen(&matrix(&seed, n, row_of_a));
		let mut x = matrix(&seed, n, row_of_x0);
		let mut checkpoints = BTreeMap::new();
		let mut roots = Vec::with_capacity(steps);
		for t in 0..steps {
			let mut next = step(&a, &x, n, t);
			tamper(t + 1, &mut next);
			roots.push(step_tree(&next, n, t + 1).root());
			if t.is_multiple_of(every) {
				checkpoints.insert(t, x);
			}
			x = next;
		}
		checkpoints.insert(steps, x);
		Self {
			seed,
			shape,
			every,
			checkpoints,
			steps: Steps::new(&roots),
		}
	}

	/// Its root.
	pub fn root(&self) -> Hash {
		self.steps.root()
	}

	/// The tree over its steps.
	pub fn steps(&self) -> &Steps {
		&self.steps
	}

	/// All of `X_t`, if it was kept.
	pub fn kept(&self, t: usize) -> Option<&[u8]> {
		self.checkpoints.get(&t).map(Vec::as_slice)
	}

	/// Opens positions, in their order.
	pub fn open(&self, positions: &[Position]) -> ChainOpening {
		let rows = self.rows(&rows_of(positions));
		self.steps.open(positions, &rows).unwrap_or(ChainOpening {
			tops: self.steps.tops(),
			samples: Vec::new(),
		})
	}

	/// Rows of the `X_t`, computed again from the checkpoint before where need be.
	pub fn rows(&self, wanted: &BTreeSet<Place>) -> Rows {
		let n = self.shape.n;
		let mut steps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
		for (t, row) in wanted {
			if (1..=self.shape.steps).contains(t) && *row < n {
				steps.entry(*t).or_default().push(*row);
			}
		}
		let mut rows = Rows::new();
		let mut a: Option<Vec<i16>> = None;
		let mut at: Option<(usize, Vec<u8>)> = None;
		for (t, wanted) in steps {
			let known = self.checkpoints.get(&t);
			let computed;
			let x: &[u8] = if let Some(x) = known {
				x
			} else {
				let from = match at.take() {
					Some((from, x)) if from < t && t - from <= self.every => (from, x),
					_ => {
						let from = t - t % self.every;
						(
							from,
							self.checkpoints.get(&from).cloned().unwrap_or_default(),
						)
					}
				};
				let a = a.get_or_insert_with(|| widen(&matrix(&self.seed, n, row_of_a)));
				let (mut now, mut x) = from;
				while now < t {
					x = step(a, &x, n, now);
					now += 1;
				}
				computed = at.insert((t, x));
				&computed.1
			};
			let tree = step_tree(x, n, t);
			for row in wanted {
				rows.insert((t, row), (x[row * n..][..n].to_vec(), tree.path(row)));
			}
		}
		rows
	}
}

/// Why an opening does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
	/// Not as many roots, samples, bytes or hashes as there must be.
	#[error("the opening has the wrong shape")]
	Shape,
	/// The steps' roots are not under the attested one.
	#[error("the roots of the steps are not those attested")]
	Root,
	/// A row is not where it should be.
	#[error("a row is not in its tree")]
	Row,
	/// A row was not computed as it should have been.
	#[error("an element is not the product that it should be")]
	Product,
}

/// Checks openings of the chain with this seed, shape and root.
pub fn verify(
	seed: &Hash,
	shape: Shape,
	root: &Hash,
	positions: &[Position],
	opening: &ChainOpening,
) -> Result<(), ChainError> {
	let Shape { n, steps } = shape;
	if opening.samples.len() != positions.len() {
		return Err(ChainError::Shape);
	}
	opening.tops.fit(steps, root)?;
	let row = |t: usize, row: usize, opened: &RowOpening| {
		if opened.bytes.len() != n {
			return Err(ChainError::Shape);
		}
		let leaf = row_leaf(t, row, &opened.bytes);
		opening
			.tops
			.row_fits(shape, (t, row), leaf, &opened.path, &opened.root_path)
	};
	let (seed_a, seed_x) = (derive(seed, "chain/A"), derive(seed, "chain/X0"));
	let (mut a, mut x0) = (vec![0u8; n], vec![0u8; n]);
	for (at, sample) in positions.iter().zip(&opening.samples) {
		let x: &[u8] = match (&sample.x, at.t) {
			(None, 0) => {
				fill(&seed_x, at.j as u64, &mut x0);
				&x0
			}
			(Some(x), 1..) => {
				row(at.t, at.j, x)?;
				&x.bytes
			}
			_ => return Err(ChainError::Shape),
		};
		row(at.t + 1, at.i, &sample.y)?;
		fill(&seed_a, at.i as u64, &mut a);
		let expected = mix(dot(&a, x), at.t as u32, at.i as u32, at.j as u32);
		if sample.y.bytes[at.j] as i8 != expected {
			return Err(ChainError::Product);
		}
	}
	Ok(())
}

#[cfg(test)]
mod tests;
