//! Windows in plain code, whose turns run honestly or not. They store all their work, so that openings
//! repeat nothing.

use kaisar_agent::trial::{
	device::{DeviceError, Matrix, Place, Shown, Spans, Window},
	hash::{Compress, Hash, Running},
	matrix::{
		KEPT, Line, READS, STEPS, Size, filled_key, first, kappa_of, lines_of, product_of,
		step_kappa, step_key, tree_over, turn_root, walk_lane,
	},
};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{
		Mutex,
		atomic::{AtomicU64, Ordering::Relaxed},
	},
};

/// Manner of running turns.
#[derive(Clone, Copy)]
pub enum Manner {
	/// Honest.
	Honest,
	/// The second turn of each span runs concurrently with the first, from a made-up matrix and with a
	/// made-up hash.
	Cut,
	/// Every second matrix of the window is kept. The others are computed when they are read.
	HalfKept,
	/// One row of each twenty of a product is not computed.
	RowsMadeUp,
	/// One product of each twenty is not computed.
	StepsSkipped,
}

/// A window with a manner of running turns.
pub struct Plain {
	manner: Manner,
	seed: Hash,
	n: u32,
	/// All matrices of the fill.
	filled: Vec<Vec<u8>>,
	roots: Vec<Hash>,
	/// The results of the last run's steps.
	steps: Mutex<Vec<Vec<u8>>>,
	/// Number of missing matrices that reads hit, each counted once per read of all lanes.
	met: AtomicU64,
	/// Matrices that were computed for reads. Each is computed once here; `met` counts the real cost.
	computed: Mutex<BTreeMap<u32, Vec<u8>>>,
}

impl Plain {
	/// Fills a window.
	pub fn fill(manner: Manner, seed: Hash, n: u32, window: u32) -> Self {
		let mut filled = vec![first(&seed, n)];
		for t in 1..=(window - 1) * KEPT {
			filled.push(product_of(&seed, &filled[t as usize - 1], n, t - 1, 0));
		}
		let all = (0..).zip(&filled);
		let roots = all.map(|(t, x)| tree_over(&filled_key(&seed, t), x).root());
		Self {
			manner,
			seed,
			n,
			roots: roots.collect(),
			filled,
			steps: Mutex::default(),
			met: AtomicU64::new(0),
			computed: Mutex::default(),
		}
	}

	/// Returns the number of missing matrices that reads hit, each counted once per read of all lanes.
	pub fn met(&self) -> u64 {
		self.met.load(Relaxed)
	}

	/// Returns whether matrix `u` of the window is kept.
	fn has(&self, u: u32) -> bool {
		!matches!(self.manner, Manner::HalfKept) || u.is_multiple_of(2)
	}

	/// Computes matrix `u` of the window from the one that is kept before it.
	fn compute(&self, u: u32) -> Vec<u8> {
		let from = KEPT * (u - 1);
		let mut x = self.filled[from as usize].clone();
		for t in from..KEPT * u {
			x = product_of(&self.seed, &x, self.n, t, 0);
		}
		x
	}

	fn walk(&self, z: &mut [u8], size: &Size, kappa: u32) {
		let lines = size.lines() as u32;
		// The lanes read concurrently: a missing matrix is computed once for a read of all of them.
		let mut met: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); READS];
		let mut computed = self.computed.lock().unwrap();
		for state in z.as_chunks_mut::<1_024>().0 {
			let mut read = 0;
			let after = walk_lane(state, lines * size.window, kappa, |line| {
				let (u, line) = (line / lines, line % lines);
				let matrix = match self.has(u) {
					true => &self.filled[(KEPT * u) as usize],
					false => {
						met[read].insert(u);
						computed.entry(u).or_insert_with(|| self.compute(u))
					}
				};
				read += 1;
				Ok::<Line, DeviceError>(lines_of(matrix)[line as usize])
			});
			*state = after.unwrap();
		}
		let met: usize = met.iter().map(BTreeSet::len).sum();
		self.met.fetch_add(met as u64, Relaxed);
	}

	fn product(&self, seed: &Hash, z: &[u8], step: u32, kappa: u32) -> Vec<u8> {
		if matches!(self.manner, Manner::StepsSkipped) && step.is_multiple_of(40) {
			return z.to_vec();
		}
		let mut z = product_of(seed, z, self.n, step, kappa);
		if matches!(self.manner, Manner::RowsMadeUp) {
			for row in z.chunks_mut(self.n as usize).step_by(20) {
				row.fill(step as u8);
			}
		}
		z
	}
}

impl Window for Plain {
	fn matrices(&self) -> u32 {
		(self.filled.len() as u32 - 1) / KEPT + 1
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
		let mut z = first(&seed, self.n);
		let (mut all, mut steps) = (Vec::new(), Vec::new());
		for turn in 0..size.turns {
			let mut known = running;
			if size.span_begins(turn) {
				running = spans.bind(turn, running).ok_or(DeviceError::Canceled)?;
				known = running;
			} else if matches!(self.manner, Manner::Cut) && turn > 0 {
				known = Running::new(&[turn as u8; 32]);
				z = first(&[turn as u8; 32], self.n);
			}
			let mut roots: Vec<Hash> = Vec::new();
			for step in STEPS * turn..STEPS * (turn + 1) {
				let kappa = match roots.last() {
					Some(before) => step_kappa(&known, before, step),
					None => kappa_of(&known),
				};
				match step.is_multiple_of(2) {
					true => z = self.product(&seed, &z, step, kappa),
					false => self.walk(&mut z, &size, kappa),
				}
				roots.push(tree_over(&step_key(&seed, step), &z).root());
				steps.push(z.clone());
			}
			running.take(Compress::new(), &turn_root(&seed, turn, &roots));
			all.extend(roots);
		}
		*self.steps.lock().unwrap() = steps;
		Ok(all)
	}

	fn show(
		&self,
		seed: Hash,
		_: Size,
		_: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		let steps = self.steps.lock().unwrap();
		let mut shown = BTreeMap::new();
		let mut last = None;
		for place in wanted {
			let (key, bytes) = match place.matrix {
				Matrix::Filled(t) => (filled_key(&self.seed, t), &self.filled[t as usize]),
				Matrix::Step(step) => (step_key(&seed, step), &steps[step as usize]),
			};
			let (_, tree) = match last.take() {
				Some((matrix, tree)) if matrix == place.matrix => (matrix, tree),
				_ => (place.matrix, tree_over(&key, bytes)),
			};
			let one = Shown {
				line: lines_of(bytes)[place.line as usize],
				path: tree.path(place.line as usize),
			};
			shown.insert(*place, one);
			last = Some((place.matrix, tree));
		}
		Ok(shown)
	}
}
