//! The processor as a device, in plain code: the oracle of every kernel, for tests and development.

use super::{
	COPIED, COPIES, Device, DeviceError, Matrix, Place, Shown, Spans, Window, copied_gbps,
};
use crate::trial::{
	hash::{Compress, Hash, Running},
	matrix::{
		KEPT, STEPS, Size, filled_key, filled_of, first, kappa_of, lines_of, product_of,
		step_kappa, step_key, tree_over, turn_root, walk_of,
	},
};
use parking_lot::Mutex;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
	time::Instant,
};

/// The processor.
pub struct Processor;

impl Device for Processor {
	fn name(&self) -> String {
		"the processor, in plain code".into()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let from = vec![1u8; COPIED];
		let mut to = vec![0u8; COPIED];
		let start = Instant::now();
		for _ in 0..COPIES {
			to.copy_from_slice(std::hint::black_box(&from));
			std::hint::black_box(&mut to);
		}
		Ok(copied_gbps(COPIED as u64, start.elapsed()))
	}

	fn fill(
		&self,
		seed: Hash,
		n: u32,
		window: u32,
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Result<Box<dyn Window>, DeviceError> {
		let size = Size {
			n,
			window,
			turns: 1,
		};
		size.check().map_err(|_| DeviceError::Shape)?;
		let mut roots = Vec::new();
		let kept = kept(&seed, size, wanted, |root| roots.push(root))?;
		Ok(Box::new(Filled {
			seed,
			n,
			matrices: window,
			roots,
			kept: Mutex::new(Some(Arc::new(kept))),
		}))
	}
}

/// Computes the fill, and returns the matrices that stay, one after the other.
fn kept(
	seed: &Hash,
	size: Size,
	wanted: &(dyn Fn() -> bool + Sync),
	mut root: impl FnMut(Hash),
) -> Result<Vec<u8>, DeviceError> {
	let mut x = first(seed, size.n);
	let mut kept = Vec::new();
	for t in 0..size.filled() {
		if !wanted() {
			return Err(DeviceError::Canceled);
		}
		if t > 0 {
			x = product_of(seed, &x, size.n, t - 1, 0);
		}
		root(tree_over(&filled_key(seed, t), &x).root());
		if t.is_multiple_of(KEPT) {
			kept.extend_from_slice(&x);
		}
	}
	Ok(kept)
}

/// A filled window in RAM.
struct Filled {
	seed: Hash,
	n: u32,
	matrices: u32,
	roots: Vec<Hash>,
	/// `None` after a release.
	kept: Mutex<Option<Arc<Vec<u8>>>>,
}

impl Filled {
	fn kept(&self) -> Result<Arc<Vec<u8>>, DeviceError> {
		let mut there = self.kept.lock();
		if let Some(kept) = &*there {
			return Ok(kept.clone());
		}
		let size = Size {
			n: self.n,
			window: self.matrices,
			turns: 1,
		};
		let again = Arc::new(kept(&self.seed, size, &|| true, |_| ())?);
		*there = Some(again.clone());
		Ok(again)
	}

	fn matrix<'a>(&self, kept: &'a [u8], u: u32) -> &'a [u8] {
		let matrix = self.n as usize * self.n as usize;
		&kept[u as usize * matrix..][..matrix]
	}
}

/// A run in plain code.
struct Turns<'a> {
	seed: &'a Hash,
	size: Size,
	/// The matrices of the window.
	window: &'a [u8],
	z: Vec<u8>,
}

impl Turns<'_> {
	/// Runs a turn, and returns the roots of its steps. `each` gets each step with its result.
	fn turn(
		&mut self,
		turn: u32,
		running: &Running,
		mut each: impl FnMut(u32, &[u8]),
	) -> Vec<Hash> {
		let mut roots: Vec<Hash> = Vec::new();
		for step in STEPS * turn..STEPS * (turn + 1) {
			let kappa = match roots.last() {
				Some(before) => step_kappa(running, before, step),
				None => kappa_of(running),
			};
			match step.is_multiple_of(2) {
				true => self.z = product_of(self.seed, &self.z, self.size.n, step, kappa),
				false => walk_of(&mut self.z, self.window, kappa),
			}
			each(step, &self.z);
			roots.push(tree_over(&step_key(self.seed, step), &self.z).root());
		}
		roots
	}
}

/// Adds those of the wanted lines that lie in a matrix.
fn show(
	matrix: Matrix,
	lines: &BTreeSet<u32>,
	bytes: &[u8],
	seed: &Hash,
	shown: &mut BTreeMap<Place, Shown>,
) {
	let key = match matrix {
		Matrix::Filled(t) => filled_key(seed, t),
		Matrix::Step(step) => step_key(seed, step),
	};
	let tree = tree_over(&key, bytes);
	for line in lines {
		let one = Shown {
			line: lines_of(bytes)[*line as usize],
			path: tree.path(*line as usize),
		};
		shown.insert(
			Place {
				matrix,
				line: *line,
			},
			one,
		);
	}
}

impl Window for Filled {
	fn matrices(&self) -> u32 {
		self.matrices
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
		if size.n != self.n || size.window > self.matrices {
			return Err(DeviceError::Shape);
		}
		let kept = self.kept()?;
		let window = size.window as usize * size.n as usize * size.n as usize;
		let mut turns = Turns {
			seed: &seed,
			size,
			window: &kept[..window],
			z: first(&seed, size.n),
		};
		let mut roots = Vec::new();
		for turn in 0..size.turns {
			if size.span_begins(turn) {
				running = spans.bind(turn, running).ok_or(DeviceError::Canceled)?;
			}
			let of_turn = turns.turn(turn, &running, |_, _| ());
			running.take(Compress::new(), &turn_root(&seed, turn, &of_turn));
			roots.extend(of_turn);
		}
		Ok(roots)
	}

	fn show(
		&self,
		seed: Hash,
		size: Size,
		hashes: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		let kept = self.kept()?;
		let mut by_matrix: BTreeMap<Matrix, BTreeSet<u32>> = BTreeMap::new();
		for place in wanted {
			let there = match place.matrix {
				Matrix::Filled(t) => t < filled_of(self.matrices),
				Matrix::Step(step) => step < STEPS * size.turns,
			};
			if !there || u64::from(place.line) >= size.lines() {
				return Err(DeviceError::Shape);
			}
			by_matrix
				.entry(place.matrix)
				.or_default()
				.insert(place.line);
		}
		let mut shown = BTreeMap::new();
		// The matrix of the fill that was computed last: the next one wanted may follow from it.
		let mut at: Option<(u32, Vec<u8>)> = None;
		for (matrix, lines) in &by_matrix {
			let Matrix::Filled(t) = *matrix else {
				continue;
			};
			let from = t - t % KEPT;
			let (mut number, mut x) = match at.take() {
				Some((number, x)) if (from..=t).contains(&number) => (number, x),
				_ => (from, self.matrix(&kept, from / KEPT).to_vec()),
			};
			while number < t {
				x = product_of(&self.seed, &x, self.n, number, 0);
				number += 1;
			}
			show(*matrix, lines, &x, &self.seed, &mut shown);
			at = Some((number, x));
		}
		let last = match by_matrix.last_key_value() {
			Some((Matrix::Step(step), _)) => step / STEPS + 1,
			_ => 0,
		};
		let window = size.window as usize * size.n as usize * size.n as usize;
		let mut turns = Turns {
			seed: &seed,
			size,
			window: &kept[..window],
			z: first(&seed, size.n),
		};
		for (turn, running) in (0..last).zip(hashes) {
			turns.turn(turn, running, |step, z| {
				let matrix = Matrix::Step(step);
				if let Some(lines) = by_matrix.get(&matrix) {
					show(matrix, lines, z, &seed, &mut shown);
				}
			});
		}
		Ok(shown)
	}

	fn release(&self) {
		*self.kept.lock() = None;
	}
}
