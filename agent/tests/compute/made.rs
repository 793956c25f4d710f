//! Openings of the full size without the work: a run that is made up except where a checker looks. This
//! takes advance knowledge of the draw, so the openings serve only to measure the verifier.

use kaisar_agent::trial::{
	device::{DeviceError, Matrix, Place, Shown, Spans, Window},
	hash::{Compress, Hash, Running, fill},
	matrix::{
		KEPT, LINE, Line, STEPS, Seeds, Size, byte_of, first_row, kappa_of, row_of_a, run_all,
		step_kappa, turn_root, verify, walk_lane,
	},
	sample::{Draw, Kind, Reader, Reject},
	tree::{Tree, TreeKey},
};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{Arc, Mutex, PoisonError},
};

/// An H100's turns. Its window is nine times as large, which adds three hashes to each path in the fill's
/// tree: every matrix that stays needs a true tree here.
pub const SIZE: Size = Size {
	n: 4_096,
	window: 512,
	turns: 5_000,
};
/// Source of the seeds.
pub const BASE: Hash = [1; 32];
/// The trial's start.
pub const START: Hash = [2; 32];

/// Positions that the checker draws.
pub fn draw() -> Draw {
	Draw::new(&START, &[3; 32], &[4; 32], &[5; 32])
}

/// Everything that the verifier is given.
pub struct Made {
	/// The GPU's root.
	pub roots: Vec<Hash>,
	/// The openings.
	pub shown: Vec<u8>,
}

impl Made {
	/// Verifies it like a checker.
	pub fn verify(&self, shown: &[u8]) -> Result<Vec<Hash>, Reject> {
		let reader = Reader::new(shown);
		verify(&BASE, &START, &SIZE, &self.roots, &draw(), reader)
	}
}

/// Makes the openings.
pub fn make() -> Made {
	let window: Arc<dyn Window> = Arc::new(MadeUp::new());
	let ran = run_all(vec![window], &BASE, &START, SIZE, &|_, _| (), &|| true).unwrap();
	let mut shown = Vec::new();
	ran.open(&draw(), &mut shown).unwrap();
	Made {
		roots: ran.roots().to_vec(),
		shown,
	}
}

/// A sampled byte of a product.
#[derive(Clone, Copy)]
struct Byte {
	i: u32,
	j: u32,
}

/// True lines of a matrix.
#[derive(Default)]
struct Lines(BTreeMap<u32, Line>);

impl Lines {
	/// Returns a line, made up if it did not exist.
	fn line(&mut self, matrix: Matrix, line: u32) -> &mut Line {
		self.0.entry(line).or_insert_with(|| {
			let mut bytes = [0; LINE];
			let (kind, number) = match matrix {
				Matrix::Filled(t) => (0, t),
				Matrix::Step(step) => (1, step),
			};
			fill(&[kind; 32], number, line, &mut bytes);
			bytes
		})
	}

	fn row(&mut self, matrix: Matrix, j: u32) -> Vec<u8> {
		let each = SIZE.n / LINE as u32;
		let lines = (each * j..).take(each as usize);
		lines.flat_map(|line| *self.line(matrix, line)).collect()
	}

	fn set(&mut self, matrix: Matrix, at: Byte, byte: u8) {
		let place = at.i * SIZE.n + at.j;
		self.line(matrix, place / LINE as u32)[place as usize % LINE] = byte;
	}
}

fn sum(a: &[u8], x: &[u8]) -> i32 {
	a.iter().zip(x).fold(0i32, |sum, (a, x)| {
		sum.wrapping_add(i32::from(*a as i8) * i32::from(*x as i8))
	})
}

/// The tree over a matrix of which only these lines are true; of one that stays, all others are zeros.
fn tree(key: &TreeKey, lines: &Lines, stays: bool) -> Tree {
	let mut leaves = vec![[8; 32]; SIZE.lines() as usize];
	if stays {
		let zeros = vec![[0u8; LINE]; leaves.len()];
		key.leaves(0, &zeros, &mut leaves);
	}
	for (line, bytes) in &lines.0 {
		leaves[*line as usize] = key.leaf(Compress::new(), (*line).into(), bytes);
	}
	Tree::over(key, 0, leaves)
}

type Known = BTreeMap<Matrix, (Lines, Tree)>;

/// A made-up window and run.
struct MadeUp {
	seeds: Seeds,
	roots: Vec<Hash>,
	known: Mutex<Known>,
}

/// The sampled bytes of products of a kind, by product.
fn bytes(kind: Kind, products: u32, of: impl Fn(u32) -> u32) -> BTreeMap<u32, Vec<Byte>> {
	let n = u64::from(SIZE.n);
	let mut by_product: BTreeMap<u32, Vec<Byte>> = BTreeMap::new();
	for place in draw().places(kind, 0, 128, u64::from(products) * n * n) {
		let byte = Byte {
			i: (place / n % n) as u32,
			j: (place % n) as u32,
		};
		let product = of((place / (n * n)) as u32);
		by_product.entry(product).or_default().push(byte);
	}
	by_product
}

impl MadeUp {
	fn new() -> Self {
		let seeds = Seeds::new(&BASE, &START, 0);
		let mut sampled = bytes(Kind::Fill, SIZE.filled() - 1, |product| product);
		let kept = bytes(Kind::Kept, SIZE.window - 1, |product| {
			KEPT * product + KEPT - 1
		});
		for (product, bytes) in kept {
			sampled.entry(product).or_default().extend(bytes);
		}
		let (mut known, mut roots) = (Known::new(), Vec::new());
		let mut lines = Lines::default();
		for t in 0..SIZE.filled() {
			let here = Matrix::Filled(t);
			let mut next = Lines::default();
			// A row is whole before it is multiplied.
			for byte in sampled.get(&t).into_iter().flatten() {
				let row = match t {
					0 => {
						let row = first_row(&seeds.fill, byte.j, SIZE.n);
						let first = byte.j * SIZE.n / LINE as u32;
						for (line, bytes) in (first..).zip(row.as_chunks::<LINE>().0) {
							lines.0.insert(line, *bytes);
						}
						row
					}
					_ => lines.row(here, byte.j),
				};
				let sum = sum(&row_of_a(&seeds.fill, byte.i, SIZE.n), &row);
				let byte_there = byte_of(sum, t, byte.i, byte.j, 0);
				next.set(Matrix::Filled(t + 1), *byte, byte_there);
			}
			let stays = t.is_multiple_of(KEPT);
			if stays || !lines.0.is_empty() {
				let tree = tree(
					&TreeKey::new(&seeds.fill, "matrix", t.into()),
					&lines,
					stays,
				);
				roots.push(tree.root());
				known.insert(here, (lines, tree));
			} else {
				roots.push([7; 32]);
			}
			lines = next;
		}
		Self {
			seeds,
			roots,
			known: Mutex::new(known),
		}
	}
}

impl Window for MadeUp {
	fn matrices(&self) -> u32 {
		SIZE.window
	}

	fn roots(&self) -> &[Hash] {
		&self.roots
	}

	fn run(
		&self,
		seed: Hash,
		size: Size,
		mut running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError> {
		assert_eq!((seed, size), (self.seeds.trial, SIZE));
		let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
		let each = SIZE.lines();
		let products = bytes(Kind::Products, SIZE.turns * STEPS / 2, |product| product);
		let mut walks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
		let all = u64::from(SIZE.turns * STEPS / 2) * each;
		for place in draw().places(Kind::Walk, 0, 64, all) {
			let lanes = walks.entry((place / each) as u32).or_default();
			lanes.push((place % each) as u32);
		}
		let mut roots = Vec::new();
		let mut before = Lines::default();
		for turn in 0..SIZE.turns {
			if SIZE.span_begins(turn) {
				running = spans.bind(turn, running).ok_or(DeviceError::Canceled)?;
			}
			for step in STEPS * turn..STEPS * (turn + 1) {
				let number = step / 2;
				let here = Matrix::Step(step);
				let mut lines = Lines::default();
				let next = products.get(&(number + 1)).into_iter().flatten();
				if step.is_multiple_of(2) {
					for byte in products.get(&number).into_iter().flatten() {
						let row = match step.checked_sub(1) {
							Some(step) => before.row(Matrix::Step(step), byte.j),
							None => first_row(&seed, byte.j, SIZE.n),
						};
						let sum = sum(&row_of_a(&seed, byte.i, SIZE.n), &row);
						let kappa = match step.is_multiple_of(STEPS) {
							true => kappa_of(&running),
							false => step_kappa(&running, &roots[step as usize - 1], step),
						};
						let value = byte_of(sum, step, byte.i, byte.j, kappa);
						lines.set(here, *byte, value);
					}
					for lane in walks.get(&number).into_iter().flatten() {
						lines.line(here, *lane);
					}
				} else {
					let kappa = step_kappa(&running, &roots[step as usize - 1], step);
					for lane in walks.get(&number).into_iter().flatten() {
						let state = *before.line(Matrix::Step(step - 1), *lane);
						let all = each as u32 * SIZE.window;
						let after = walk_lane(&state, all, kappa, |line| {
							let t = KEPT * (line / each as u32);
							let (lines, _) = &known[&Matrix::Filled(t)];
							let line = lines.0.get(&(line % each as u32));
							Ok::<_, DeviceError>(line.copied().unwrap_or([0; LINE]))
						})?;
						lines.0.insert(*lane, after);
					}
					// The rows of the next product.
					for byte in next {
						lines.row(here, byte.j);
					}
				}
				if lines.0.is_empty() {
					roots.push([9; 32]);
					before = lines;
					continue;
				}
				let tree = tree(&TreeKey::new(&seed, "step", step.into()), &lines, false);
				roots.push(tree.root());
				let copy = Lines(lines.0.clone());
				known.insert(here, (lines, tree));
				before = copy;
			}
			let of_turn = &roots[(STEPS * turn) as usize..];
			running.take(Compress::new(), &turn_root(&seed, turn, of_turn));
		}
		Ok(roots)
	}

	fn show(
		&self,
		_: Hash,
		_: Size,
		_: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
		let show = |place: &Place| {
			let (lines, tree) = &known[&place.matrix];
			let shown = Shown {
				line: lines.0.get(&place.line).copied().unwrap_or([0; LINE]),
				path: tree.path(place.line as usize),
			};
			(*place, shown)
		};
		Ok(wanted.iter().map(show).collect())
	}
}
