//! The chain of int8 matrix products that anyone can check: the pure Rust reference, which is also
//! the verifier and the oracle of every other implementation.
//!
//! `X_{t+1}[i][j] = f(Σ_k A[i][k] · X_t[j][k], t, i, j)`, sums in wrapping 32-bit integers. `A` and
//! `X_0` come from ChaCha8, each row a stream of its own. Over the rows of each `X_t`, `t ≥ 1`,
//! stands a Merkle tree; a tree over their roots gives the chain's root. `docs/benchmark.md` has the
//! exact definition.

use crate::hash::{Hash, Tree, TreeTag, depth, derive, draw, fill, leaf, verify_path};
use codec::{Decode, Encode};
use rayon::prelude::*;
use std::collections::BTreeMap;

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

/// What proves one sampled element.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Sample {
	/// Row `j` of `X_t`; empty where `t` is 0, since the verifier derives it.
	pub x: Vec<u8>,
	/// Its path.
	pub x_path: Vec<Hash>,
	/// Row `i` of `X_{t+1}`.
	pub y: Vec<u8>,
	/// Its path.
	pub y_path: Vec<Hash>,
}

/// Openings of a chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChainOpening {
	/// The roots of `X_1 … X_steps`.
	pub step_roots: Vec<Hash>,
	/// One for each position that was drawn.
	pub samples: Vec<Sample>,
}

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

#[inline(always)]
fn dot(a: &[i16], x: &[i16]) -> i32 {
	a.iter().zip(x).fold(0i32, |sum, (a, x)| {
		sum.wrapping_add(i32::from(*a).wrapping_mul(i32::from(*x)))
	})
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

fn row_leaf(t: usize, row: usize, bytes: &[u8]) -> Hash {
	leaf(TreeTag::Rows, ((t as u64) << 32) | row as u64, bytes)
}

/// The tree over the rows of `X_t`.
fn step_tree(x: &[u8], n: usize, t: usize) -> Tree {
	let leaves = x
		.par_chunks(n)
		.enumerate()
		.map(|(row, bytes)| row_leaf(t, row, bytes))
		.collect::<Vec<_>>();
	Tree::new(TreeTag::Rows, leaves)
}

/// The chain's root from the roots of its steps.
fn root_of(step_roots: &[Hash]) -> Hash {
	let leaves = step_roots
		.iter()
		.enumerate()
		.map(|(index, root)| leaf(TreeTag::Steps, index as u64, root))
		.collect();
	Tree::new(TreeTag::Steps, leaves).root()
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
	step_roots: Vec<Hash>,
	root: Hash,
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
		let mut step_roots = Vec::with_capacity(steps);
		for t in 0..steps {
			let mut next = step(&a, &x, n, t);
			tamper(t + 1, &mut next);
			step_roots.push(step_tree(&next, n, t + 1).root());
			if t.is_multiple_of(every) {
				checkpoints.insert(t, x);
			}
			x = next;
		}
		checkpoints.insert(steps, x);
		let root = root_of(&step_roots);
		Self {
			seed,
			shape,
			every,
			checkpoints,
			step_roots,
			root,
		}
	}

	/// Its root.
	pub fn root(&self) -> Hash {
		self.root
	}

	/// Opens positions, in their order.
	pub fn open(&self, positions: &[Position]) -> ChainOpening {
		let Shape { n, steps } = self.shape;
		let mut samples = vec![
			Sample {
				x: Vec::new(),
				x_path: Vec::new(),
				y: Vec::new(),
				y_path: Vec::new()
			};
			positions.len()
		];
		// Which rows of which X are wanted: (sample, row, is it x).
		let mut wanted: BTreeMap<usize, Vec<(usize, usize, bool)>> = BTreeMap::new();
		for (index, at) in positions.iter().enumerate() {
			if at.t > 0 {
				wanted.entry(at.t).or_default().push((index, at.j, true));
			}
			wanted
				.entry(at.t + 1)
				.or_default()
				.push((index, at.i, false));
		}
		let mut a: Option<Vec<i16>> = None;
		let mut at: Option<(usize, Vec<u8>)> = None;
		for (t, rows) in wanted {
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
				while now < t.min(steps) {
					x = step(a, &x, n, now);
					now += 1;
				}
				computed = at.insert((t, x));
				&computed.1
			};
			let tree = step_tree(x, n, t);
			for (index, row, is_x) in rows {
				let bytes = x[row * n..][..n].to_vec();
				let sample = &mut samples[index];
				if is_x {
					(sample.x, sample.x_path) = (bytes, tree.path(row));
				} else {
					(sample.y, sample.y_path) = (bytes, tree.path(row));
				}
			}
		}
		ChainOpening {
			step_roots: self.step_roots.clone(),
			samples,
		}
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
	if opening.step_roots.len() != steps || opening.samples.len() != positions.len() {
		return Err(ChainError::Shape);
	}
	if root_of(&opening.step_roots) != *root {
		return Err(ChainError::Root);
	}
	let mut a = vec![0u8; n];
	let mut x0 = vec![0u8; n];
	for (at, sample) in positions.iter().zip(&opening.samples) {
		if sample.y.len() != n || sample.y_path.len() != depth(n) {
			return Err(ChainError::Shape);
		}
		let x: &[u8] = if at.t == 0 {
			if !sample.x.is_empty() || !sample.x_path.is_empty() {
				return Err(ChainError::Shape);
			}
			row_of_x0(seed, at.j, &mut x0);
			&x0
		} else {
			if sample.x.len() != n {
				return Err(ChainError::Shape);
			}
			let hash = row_leaf(at.t, at.j, &sample.x);
			let root = &opening.step_roots[at.t - 1];
			if !verify_path(TreeTag::Rows, hash, at.j, n, &sample.x_path, root) {
				return Err(ChainError::Row);
			}
			&sample.x
		};
		let hash = row_leaf(at.t + 1, at.i, &sample.y);
		let root = &opening.step_roots[at.t];
		if !verify_path(TreeTag::Rows, hash, at.i, n, &sample.y_path, root) {
			return Err(ChainError::Row);
		}
		row_of_a(seed, at.i, &mut a);
		let a: Vec<i16> = a.iter().map(|byte| i16::from(*byte as i8)).collect();
		let x: Vec<i16> = x.iter().map(|byte| i16::from(*byte as i8)).collect();
		let expected = mix(dot(&a, &x), at.t as u32, at.i as u32, at.j as u32);
		if sample.y[at.j] as i8 != expected {
			return Err(ChainError::Product);
		}
	}
	Ok(())
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	const SHAPE: Shape = Shape { n: 64, steps: 5 };

	/// The definition, word for word.
	fn naive(seed: &Hash, shape: Shape) -> Vec<Vec<u8>> {
		let n = shape.n;
		let a = matrix(seed, n, row_of_a);
		let mut all = vec![matrix(seed, n, row_of_x0)];
		for t in 0..shape.steps {
			let x = &all[t];
			let mut y = vec![0u8; n * n];
			for i in 0..n {
				for j in 0..n {
					let sum = (0..n).fold(0i32, |sum, k| {
						sum.wrapping_add(
							i32::from(a[i * n + k] as i8) * i32::from(x[j * n + k] as i8),
						)
					});
					y[i * n + j] = mix(sum, t as u32, i as u32, j as u32) as u8;
				}
			}
			all.push(y);
		}
		all
	}

	#[test]
	fn agrees_with_the_definition() {
		for n in [64, 128] {
			let shape = Shape { n, steps: 3 };
			let all = naive(&[3; 32], shape);
			let chain = Chain::compute([3; 32], shape, usize::MAX);
			assert_eq!(chain.checkpoints.len(), 4);
			for (t, x) in &chain.checkpoints {
				assert_eq!(x, &all[*t], "n = {n}, t = {t}");
			}
		}
	}

	#[test]
	fn every_instruction_set_gives_the_same() {
		let n = 128;
		let a = widen(&matrix(&[5; 32], n, row_of_a));
		let x = matrix(&[5; 32], n, row_of_x0);
		let fast = step(&a, &x, n, 7);
		let x = widen(&x);
		let mut plain = vec![0u8; n * n];
		for (index, out) in plain.chunks_mut(BLOCK * n).enumerate() {
			let a = &a[index * BLOCK * n..][..BLOCK * n];
			tile_body(a, &x, n, 7, (index * BLOCK) as u32, out);
		}
		assert_eq!(fast, plain);
	}

	#[test]
	fn openings_do_not_depend_on_checkpoints() {
		let n = SHAPE.n;
		let at = positions(&[9; 32], SHAPE, 40);
		let all = Chain::compute([1; 32], SHAPE, usize::MAX);
		let few = Chain::compute([1; 32], SHAPE, 2 * n * n);
		assert!(few.checkpoints.len() < all.checkpoints.len());
		assert_eq!(all.root(), few.root());
		assert_eq!(all.open(&at), few.open(&at));
		assert_eq!(
			verify(&[1; 32], SHAPE, &few.root(), &at, &few.open(&at)),
			Ok(())
		);
	}

	#[test]
	fn fewer_steps_than_claimed_are_refused() {
		let short = Chain::compute([1; 32], Shape { steps: 4, ..SHAPE }, usize::MAX);
		let at = positions(&[2; 32], Shape { steps: 4, ..SHAPE }, 8);
		let opening = short.open(&at);
		assert_eq!(
			verify(&[1; 32], SHAPE, &short.root(), &at, &opening),
			Err(ChainError::Shape)
		);
		// The same with the last root repeated: the product does not fit.
		let mut padded = short.open(&[Position { t: 3, i: 5, j: 6 }]);
		padded.step_roots.push(padded.step_roots[3]);
		let root = root_of(&padded.step_roots);
		let at = [Position { t: 4, i: 5, j: 6 }];
		assert!(verify(&[1; 32], SHAPE, &root, &at, &padded).is_err());
	}

	#[test]
	fn another_seed_is_refused() {
		let chain = Chain::compute([1; 32], SHAPE, usize::MAX);
		let at = positions(&[2; 32], SHAPE, 8);
		let opening = chain.open(&at);
		assert_eq!(
			verify(&[1; 32], SHAPE, &chain.root(), &at, &opening),
			Ok(())
		);
		assert_eq!(
			verify(&[2; 32], SHAPE, &chain.root(), &at, &opening),
			Err(ChainError::Product)
		);
	}

	#[test]
	fn bad_rows_are_found_as_often_as_promised() {
		// A share of 1/8 of all rows of all steps is made up. With s samples it stays hidden with
		// probability of at most (1 − g/2)^s; a sample that falls on a made-up row as the product
		// finds it unless the byte fits by chance, one that falls on it as the factor does too.
		let n = SHAPE.n;
		let chain = Chain::compute_with([4; 32], SHAPE, usize::MAX, |_, x| {
			for row in (0..n).step_by(8) {
				x[row * n..][..n].fill(0x55);
			}
		});
		let (tries, samples) = (200, 16);
		let found = (0..tries)
			.filter(|at: &u64| {
				let mut seed = [0; 32];
				seed[..8].copy_from_slice(&at.to_le_bytes());
				let at = positions(&seed, SHAPE, samples);
				verify(&[4; 32], SHAPE, &chain.root(), &at, &chain.open(&at)).is_err()
			})
			.count();
		let promised = 1.0 - (1.0f64 - 1.0 / 16.0).powi(samples as i32);
		// Three standard deviations of slack below what is promised.
		let slack = 3.0 * (promised * (1.0 - promised) / tries as f64).sqrt();
		assert!(
			found as f64 / tries as f64 >= promised - slack,
			"found {found} of {tries}, promised {promised}"
		);
	}

	#[test]
	fn one_bad_row_among_many_is_found_when_it_is_drawn() {
		let n = SHAPE.n;
		let chain = Chain::compute_with([4; 32], SHAPE, usize::MAX, |t, x| {
			if t == 3 {
				x[17 * n] ^= 1;
			}
		});
		let bad = [Position { t: 2, i: 17, j: 0 }];
		let good = [Position { t: 2, i: 18, j: 0 }];
		assert_eq!(
			verify(&[4; 32], SHAPE, &chain.root(), &bad, &chain.open(&bad)),
			Err(ChainError::Product)
		);
		assert_eq!(
			verify(&[4; 32], SHAPE, &chain.root(), &good, &chain.open(&good)),
			Ok(())
		);
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

		#[test]
		fn one_flipped_bit_is_rejected(bit in any::<prop::sample::Index>(), open in any::<[u8; 32]>()) {
			let chain = Chain::compute([6; 32], Shape { n: 64, steps: 3 }, usize::MAX);
			let shape = Shape { n: 64, steps: 3 };
			let at = positions(&open, shape, 3);
			let opening = chain.open(&at);
			prop_assert_eq!(verify(&[6; 32], shape, &chain.root(), &at, &opening), Ok(()));
			let mut bytes = opening.encode();
			let bit = bit.index(bytes.len() * 8);
			bytes[bit / 8] ^= 1 << (bit % 8);
			let accepted = ChainOpening::decode(&mut &bytes[..])
				.is_ok_and(|other| verify(&[6; 32], shape, &chain.root(), &at, &other).is_ok());
			prop_assert!(!accepted);
		}
	}
}
