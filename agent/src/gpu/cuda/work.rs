//! Work on a GPU: fills, turns, trees, and reading lines back. Everything is queued in order in one stream;
//! κ of a step and the running hash stay on the GPU, so that nothing waits for the host within a span.

use super::{
	Cuda,
	driver::{Begin, Kernel, Place},
	layout::{
		Address, After, Copy16, DONE_COLUMNS, Fill, Gather, LANES, LEAVES, Product, State, THREADS,
		Tree, Walk, YARDSTICK_READS, param,
	},
	memory::{Matrices, Memory, SHOWN},
};
use crate::{
	gpu::backend::{Backend, ROOTS, lost},
	trial::{
		device::{COPIES, DeviceError, Matrix, Rated, Shown, copied_gbps},
		hash::{Hash, Running},
		matrix::{
			KEPT, LINE, Line, STEPS, Size, filled_key, filled_of, kappa_of, step_key, turn_key,
		},
		tree::TreeKey,
	},
};
use std::{ops::Range, sync::atomic::Ordering};

/// Multiplications of a fill that are queued together: few enough that it can be canceled soon.
const BATCH_PRODUCTS: u64 = 1 << 42;
/// Maximum products queued together.
const BATCH: u64 = 128;
/// Size of a plain copy in bytes: more than any cache holds.
const COPIED: u64 = 1 << 30;
/// Minimum size of a plain copy, if memory is short.
const COPIED_LEAST: u64 = 1 << 20;
/// Place for a root that is never read.
const NOBODY: u32 = ROOTS;

/// The matrix to build a tree over, and the use of its root.
struct Over {
	lines: Place,
	key: TreeKey,
	root: u32,
	after: After,
	step: u32,
	turn: Hash,
	/// The preceding work is the product that makes the matrix, and it marks its finished parts.
	told: bool,
}

impl Cuda {
	/// Fills `A` or the first matrix.
	pub(super) fn rows(
		&self,
		memory: &Memory,
		to: Place,
		stream: u32,
		key: &Hash,
	) -> Result<(), DeviceError> {
		let mut params = Fill {
			rows: to.into(),
			n: memory.n,
			stream,
			key: *key,
		};
		let blocks = (memory.matrix() / 64).div_ceil(THREADS.into()) as u32;
		// SAFETY: the parameters are those of `fill`, which writes a matrix.
		unsafe {
			self.base
				.fill
				.run(blocks, Begin::After, &mut [param(&mut params)])
		}
	}

	/// Fills `A` and the first of two matrices from a seed.
	fn begin_with(&self, memory: &Memory, of: &Matrices, seed: &Hash) -> Result<(), DeviceError> {
		self.rows(memory, of.a.start(), 0, seed)?;
		self.rows(memory, of.x[0].start(), 1, seed)
	}

	/// Multiplies one of the two matrices into the other, with κ of the state if `keyed`. Returns whether
	/// the product marks its finished parts.
	pub(super) fn multiply(
		&self,
		memory: &Memory,
		of: &Matrices,
		from: usize,
		t: u32,
		keyed: bool,
		begin: Begin,
	) -> Result<bool, DeviceError> {
		let recipe = &self.product.recipe;
		// Without early launches nothing reads the marks.
		let tells = recipe.pairs && self.early;
		let mut params = Product {
			a: of.a.start().into(),
			x: of.x[from].start().into(),
			y: of.x[1 - from].start().into(),
			state: if keyed {
				memory.state.start().into()
			} else {
				Address::NONE
			},
			done: if tells {
				memory.done.start().into()
			} else {
				Address::NONE
			},
			n: memory.n,
			t,
			epoch: memory.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
			unused: 0,
		};
		let tiles = memory.n / recipe.tile.0 * (memory.n / recipe.tile.1);
		let kernel = &self.product.kernel;
		match &of.maps {
			None => {
				let blocks = tiles;
				// SAFETY: the parameters are those of a product, and point to matrices, the state and the
				// marks.
				unsafe { kernel.run(blocks, begin, &mut [param(&mut params)])? };
			}
			Some((map_a, map_x)) => {
				let (mut map_a, mut map_x) = (*map_a, map_x[from]);
				let blocks = tiles.min(self.multiprocessors / 2 * 2).max(2);
				let mut all = [map_a.param(), map_x.param(), param(&mut params)];
				// SAFETY: the same, and the tensor maps are of the same matrices.
				unsafe { kernel.run(blocks, begin, &mut all)? };
			}
		}
		Ok(tells)
	}

	/// Walks all lanes of a matrix over some matrices of the window, with `walk` or its yardstick.
	fn walk_over(
		&self,
		kernel: &Kernel,
		memory: &Memory,
		z: Place,
		window: Range<u32>,
	) -> Result<(), DeviceError> {
		let first = memory.kept(KEPT * window.start);
		let first = first.ok_or_else(|| lost("a matrix is not in its window: a bug"))?;
		let mut params = Walk {
			z: z.into(),
			window: first.into(),
			state: memory.state.start().into(),
			lines: (window.end - window.start) * memory.lines(),
			unused: 0,
		};
		let blocks = memory.lines() / LANES;
		// SAFETY: both kernels have these parameters, and read only lines of the window.
		unsafe { kernel.run(blocks, self.begin(), &mut [param(&mut params)]) }
	}

	/// Builds a tree.
	fn tree(&self, memory: &Memory, over: &Over) -> Result<(), DeviceError> {
		let tree = 1 - memory.last.load(Ordering::Relaxed);
		memory.last.store(tree, Ordering::Relaxed);
		let lines = memory.lines();
		let mut params = Tree {
			lines: over.lines.into(),
			nodes: memory.nodes[tree].start().into(),
			roots: memory.roots.start().into(),
			state: memory.state.start().into(),
			arrived: memory.arrived.at(64 * tree as u64).into(),
			done: if over.told {
				memory.done.start().into()
			} else {
				Address::NONE
			},
			count: lines,
			n: memory.n,
			epoch: memory.epoch.load(Ordering::Relaxed),
			root: over.root,
			first: (over.step - over.step % STEPS) % ROOTS,
			after: over.after,
			step: over.step,
			one: 1,
			key: *over.key.bytes(),
			turn: over.turn,
		};
		let blocks = lines.div_ceil(LEAVES);
		// SAFETY: the parameters are those of `tree`, and its nodes and roots have room.
		unsafe {
			self.base
				.tree
				.run(blocks, self.begin(), &mut [param(&mut params)])
		}
	}

	/// Returns the start of a kernel that itself waits for its data.
	fn begin(&self) -> Begin {
		if self.early {
			Begin::Early
		} else {
			Begin::After
		}
	}

	/// Measures copies by the GPU's copy engines or by a kernel, in 10⁹ bytes per second.
	fn copied(
		&self,
		from: Place,
		to: Place,
		size: u64,
		by_kernel: bool,
	) -> Result<f64, DeviceError> {
		let once = || {
			if !by_kernel {
				return self.context.copy(from, to, size);
			}
			let mut params = Copy16 {
				from: from.into(),
				to: to.into(),
				count: size / 16,
			};
			let blocks = 16 * self.multiprocessors;
			// SAFETY: the parameters are those of `copy`, and both places have that many bytes.
			unsafe {
				self.base
					.copy
					.run(blocks, Begin::After, &mut [param(&mut params)])
			}
		};
		// The first one makes the driver back the memory.
		once()?;
		let took = self
			.context
			.timed(|| (0..COPIES).try_for_each(|_| once()))?;
		Ok(copied_gbps(size, took))
	}
}

impl Backend for Cuda {
	type Memory = Memory;

	/// The width of a tile.
	const LEAST_ROWS: u32 = DONE_COLUMNS;

	fn take(&self, n: u32, window: u32) -> Result<Memory, DeviceError> {
		Memory::new(self, n, window)
	}

	fn matrices(memory: &Memory) -> u32 {
		memory.matrices
	}

	fn fill(
		&self,
		memory: &Memory,
		seed: &Hash,
		trees: bool,
		go_on: &dyn Fn() -> Result<(), DeviceError>,
	) -> Result<Vec<Hash>, DeviceError> {
		let filled = filled_of(memory.matrices);
		let batch = (BATCH_PRODUCTS / u64::from(memory.n).pow(3)).clamp(1, BATCH) as u32;
		let mut roots = Vec::new();
		self.begin_with(memory, &memory.fill, seed)?;
		let (mut t, mut x) = (0, 0);
		while t < filled {
			go_on()?;
			let end = (t + batch).min(filled);
			for (root, t) in (0..).zip(t..end) {
				let mut told = false;
				if t > 0 {
					told = self.multiply(memory, &memory.fill, x, t - 1, false, Begin::After)?;
					x = 1 - x;
				}
				let at = memory.fill.x[x].start();
				if trees {
					let over = Over {
						root,
						told,
						..Over::only(at, filled_key(seed, t))
					};
					self.tree(memory, &over)?;
				}
				if let Some(kept) = memory.kept(t) {
					self.context.copy(at, kept, memory.matrix())?;
				}
			}
			if trees {
				roots.extend(self.roots(memory, 0..end - t)?);
			} else {
				self.wait()?;
			}
			t = end;
		}
		Ok(roots)
	}

	fn begin(&self, memory: &Memory, seed: &Hash) -> Result<(), DeviceError> {
		self.begin_with(memory, &memory.trial, seed)
	}

	fn set_running(&self, memory: &Memory, running: &Running) -> Result<(), DeviceError> {
		let state = State {
			running: *running.state(),
			kappa: kappa_of(running),
			unused: [0; 3],
		};
		self.context.write(memory.state.start(), &state.bytes())
	}

	fn running(&self, memory: &Memory) -> Result<Hash, DeviceError> {
		let bytes = self.context.read(memory.state.start(), 32)?;
		bytes
			.try_into()
			.map_err(|_| lost("it returned fewer bytes than requested"))
	}

	fn steps(
		&self,
		memory: &Memory,
		seed: &Hash,
		size: &Size,
		steps: Range<u32>,
		mut x: usize,
	) -> Result<usize, DeviceError> {
		let first = steps.start;
		for step in steps {
			let mut told = false;
			if step.is_multiple_of(2) {
				// A product runs beside the tree over the matrix that it multiplies, whose κ it needs late.
				// Other preceding work may still be running when it needs the results.
				let begin = if step > first {
					self.begin()
				} else {
					Begin::After
				};
				told = self.multiply(memory, &memory.trial, x, step, true, begin)?;
				x = 1 - x;
			} else {
				self.walk_over(
					&self.base.walk,
					memory,
					memory.trial.x[x].start(),
					0..size.window,
				)?;
			}
			let ends = (step + 1).is_multiple_of(STEPS);
			let over = Over {
				lines: memory.trial.x[x].start(),
				key: step_key(seed, step),
				root: step % ROOTS,
				after: if ends { After::Turn } else { After::Step },
				step,
				turn: match ends {
					true => *turn_key(seed, step / STEPS).bytes(),
					false => [0; 32],
				},
				told,
			};
			self.tree(memory, &over)?;
		}
		Ok(x)
	}

	fn walk(&self, memory: &Memory, part: Range<u32>, times: u32) -> Result<(), DeviceError> {
		let z = memory.trial.x[0].start();
		(0..times).try_for_each(|_| self.walk_over(&self.base.walk, memory, z, part.clone()))
	}

	fn reads(&self, memory: &Memory, times: u32) -> Option<Result<u64, DeviceError>> {
		let z = memory.trial.x[0].start();
		let kernel = self.base.reads.as_ref()?;
		let once = |_| self.walk_over(kernel, memory, z, 0..memory.matrices);
		let all = (0..times).try_for_each(once);
		let bytes = u64::from(YARDSTICK_READS) * memory.matrix() * u64::from(times);
		Some(all.map(|()| bytes))
	}

	fn products(&self, memory: &Memory, times: u32) -> Result<(), DeviceError> {
		let once = |_| self.multiply(memory, &memory.trial, 0, 1, false, Begin::After);
		(0..times).try_for_each(|time| once(time).map(|_| ()))
	}

	fn filled(
		&self,
		memory: &Memory,
		before: Option<(u32, usize)>,
		to: u32,
	) -> Result<usize, DeviceError> {
		let stays = to - to % KEPT;
		let (from, mut x) = match before.filter(|(t, _)| (stays..=to).contains(t)) {
			Some(before) => before,
			None => {
				let kept = memory.kept(stays);
				let kept = kept.ok_or_else(|| lost("a matrix is not in its window: a bug"))?;
				self.context
					.copy(kept, memory.fill.x[0].start(), memory.matrix())?;
				(stays, 0)
			}
		};
		for t in from..to {
			self.multiply(memory, &memory.fill, x, t, false, Begin::After)?;
			x = 1 - x;
		}
		Ok(x)
	}

	fn show(
		&self,
		memory: &Memory,
		seed: &Hash,
		matrix: Matrix,
		x: usize,
		lines: &[u32],
	) -> Result<Vec<(u32, Shown)>, DeviceError> {
		let at = match matrix {
			Matrix::Step(_) => memory.trial.x[x].start(),
			Matrix::Filled(t) => memory.kept(t).unwrap_or(memory.fill.x[x].start()),
		};
		if let Matrix::Filled(t) = matrix {
			self.tree(memory, &Over::only(at, filled_key(seed, t)))?;
		}
		let levels = memory.lines().trailing_zeros();
		let each = LINE + 32 * levels as usize;
		let mut shown = Vec::new();
		for lines in lines.chunks(SHOWN as usize) {
			let which: Vec<u8> = lines.iter().flat_map(|line| line.to_le_bytes()).collect();
			self.context.write(memory.which.start(), &which)?;
			let mut params = Gather {
				lines: at.into(),
				nodes: memory.nodes[memory.last.load(Ordering::Relaxed)]
					.start()
					.into(),
				which: memory.which.start().into(),
				out: memory.shown.start().into(),
				count: memory.lines(),
				levels,
			};
			let blocks = lines.len() as u32;
			// SAFETY: the parameters are those of `gather`; the lines are within the matrix, and there is
			// room for all of them.
			unsafe {
				self.base
					.gather
					.run(blocks, Begin::After, &mut [param(&mut params)])?
			};
			let bytes = self
				.context
				.read(memory.shown.start(), (each * lines.len()) as u64)?;
			for (number, bytes) in lines.iter().zip(bytes.chunks_exact(each)) {
				let (data, path) = bytes.split_at(LINE);
				let mut line: Line = [0; LINE];
				line.copy_from_slice(data);
				let path = path.as_chunks().0.to_vec();
				shown.push((*number, Shown { line, path }));
			}
		}
		Ok(shown)
	}

	fn roots(&self, memory: &Memory, places: Range<u32>) -> Result<Vec<Hash>, DeviceError> {
		let count = u64::from(places.end - places.start);
		let from = memory.roots.at(u64::from(places.start) * 32);
		let bytes = self.context.read(from, count * 32)?;
		Ok(bytes.as_chunks().0.to_vec())
	}

	fn wait(&self) -> Result<(), DeviceError> {
		self.context.wait()
	}

	fn has_failed(&self) -> bool {
		self.failed.load(Ordering::SeqCst)
	}

	fn fail(&self) {
		self.failed.store(true, Ordering::SeqCst);
		self.context.close();
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let mut size = COPIED;
		let (from, to) = loop {
			let taken = (self.context.buffer(size), self.context.buffer(size));
			match taken {
				(Ok(from), Ok(to)) => break (from, to),
				(Err(DeviceError::Memory(_)), _) | (_, Err(DeviceError::Memory(_)))
					if size > COPIED_LEAST =>
				{
					size /= 2
				}
				(from, to) => return Err(from.err().or(to.err()).unwrap_or(DeviceError::Shape)),
			}
		};
		let rate = |by_kernel| self.copied(from.start(), to.start(), size, by_kernel);
		Ok(rate(false)?.max(rate(true)?))
	}

	fn rated(&self) -> Vec<Rated> {
		self.rated.clone()
	}
}

impl Over {
	/// Describes a tree of which only the nodes are needed.
	fn only(lines: Place, key: TreeKey) -> Self {
		Self {
			lines,
			key,
			root: NOBODY,
			after: After::Nothing,
			step: 0,
			turn: [0; 32],
			told: false,
		}
	}
}
