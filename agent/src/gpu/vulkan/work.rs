//! Work on a GPU: fills, turns, trees, and reading lines back.

use super::{
	Opened,
	kernel::Kernel,
	memory::{BATCH, KNOWN_ROOT, Matrices, Memory, STAGING, STATE, STATE_KAPPA, STRIDE},
	shaders::{self, NONE},
};
use crate::{
	gpu::backend::{ROOTS, lost},
	trial::{
		device::{DeviceError, Matrix, Shown},
		hash::{Hash, Running},
		matrix::{
			KEPT, LINE, Line, STEPS, Size, filled_key, first, kappa_of, step_key, turn_key, walk_of,
		},
		tree::TreeKey,
	},
};
use std::ops::Range;
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePass, ComputePassDescriptor};

/// Multiplications submitted together: a fraction of a second on any GPU worth renting, so that no driver's
/// watchdog fires.
const BATCH_PRODUCTS: u64 = 1 << 42;

/// A device and the memory of a window on it, both used by one thread at a time.
#[derive(Clone, Copy)]
pub struct Work<'a> {
	pub gpu: &'a Opened,
	pub memory: &'a Memory,
}

/// Commands to submit together, with the parameters of their dispatches.
struct Batch<'a> {
	work: Work<'a>,
	encoder: CommandEncoder,
	/// Ended before any copy.
	pass: Option<ComputePass<'static>>,
	params: Vec<u8>,
	slots: Vec<u8>,
	/// Whether any of them walks.
	walks: bool,
}

/// Values derived from a tree's root.
#[derive(Clone, Copy)]
struct After {
	mode: u32,
	step: u32,
	/// The slot of the step that gets the next κ.
	slot: u32,
	/// The key of the turn's tree, if the turn is over.
	turn: Hash,
}

impl After {
	const NOTHING: Self = Self {
		mode: 0,
		step: 0,
		slot: NONE,
		turn: [0; 32],
	};
}

fn push(bytes: &mut Vec<u8>, words: &[u32], keys: &[&Hash]) -> u32 {
	let offset = bytes.len();
	for word in words {
		bytes.extend_from_slice(&word.to_le_bytes());
	}
	for key in keys {
		bytes.extend_from_slice(&key[..]);
	}
	bytes.resize(offset + STRIDE as usize, 0);
	offset as u32
}

impl<'a> Batch<'a> {
	fn new(work: Work<'a>) -> Self {
		Self {
			encoder: work.gpu.handle.encoder(),
			work,
			pass: None,
			params: Vec::new(),
			slots: Vec::new(),
			walks: false,
		}
	}

	fn dispatch(&mut self, kernel: &Kernel, bound: &BindGroup, offset: u32, groups: (u32, u32)) {
		let pass = self.pass.get_or_insert_with(|| {
			let pass = ComputePassDescriptor::default();
			self.encoder.begin_compute_pass(&pass).forget_lifetime()
		});
		kernel.dispatch_in(pass, bound, offset, groups);
	}

	fn copy(&mut self, from: (&Buffer, u64), to: (&Buffer, u64), size: u64) {
		self.pass = None;
		self.encoder
			.copy_buffer_to_buffer(from.0, from.1, to.0, to.1, Some(size));
	}

	/// Fills `A` or the first matrix.
	fn rows(&mut self, of: &Matrices, which: usize, seed: &Hash) {
		let Work { gpu, memory } = self.work;
		let words = [memory.n, 0, 0, which as u32, 0, 0, 0, 0];
		let offset = push(&mut self.params, &words, &[seed, &[0; 32]]);
		let groups = (memory.matrix() / 64).div_ceil(256) as u32;
		self.dispatch(&gpu.fill, &of.rows[which], offset, (groups, 1));
	}

	/// Multiplies matrix `from` into the other one. κ is 0 until the device writes another.
	fn product(&mut self, of: &Matrices, from: usize, t: u32) {
		let Work { gpu, memory } = self.work;
		let offset = push(&mut self.slots, &[memory.n, t, 0], &[]);
		let groups = gpu.product.groups(memory.n);
		let kernel = gpu.product.kernel();
		self.dispatch(kernel, &of.product[from], offset, groups);
	}

	/// Walks all lanes of matrix `z` over matrices of the window.
	fn walk(&mut self, z: usize, window: Range<u32>) {
		let memory = self.work.memory;
		let lines = memory.lines();
		let count = window.end - window.start;
		let words = [count * lines, memory.lines_each(), 0, window.start * lines];
		let offset = push(&mut self.slots, &words, &[]);
		let across = lines.min(shaders::LANES);
		let groups = (across, lines / across);
		self.walks = true;
		self.dispatch(&memory.walk, &memory.bound.walk[z], offset, groups);
	}

	/// Builds the tree over the matrix that the kernel of leaves is bound to, and stores its root at place
	/// `root`.
	fn tree(&mut self, leaves: &BindGroup, key: &TreeKey, root: u32, after: &After) {
		let Work { gpu, memory } = self.work;
		let lines = memory.lines();
		let groups = lines / shaders::REDUCED;
		let level = shaders::REDUCED.trailing_zeros();
		let keys = [key.bytes(), &after.turn];
		let low = [lines, 0, shaders::REDUCED / 2, 0, 0, 0, 0, 0];
		let low = push(&mut self.params, &low, &keys);
		let slot = match after.slot {
			NONE => NONE,
			slot => slot * (STRIDE as u32 / 4) + 2,
		};
		let first = (after.step - after.step % STEPS) % ROOTS;
		let top = [
			lines,
			level,
			groups / 2,
			root,
			after.mode,
			after.step,
			slot,
			first,
		];
		let top = push(&mut self.params, &top, &keys);
		let hashed = (lines / shaders::LEAVES, 1);
		self.dispatch(&gpu.leaves, leaves, low, hashed);
		self.dispatch(&gpu.reduce, &memory.bound.reduce, low, (groups, 1));
		self.dispatch(&gpu.top, &memory.bound.top, top, (1, 1));
	}

	fn submit(mut self) {
		let Work { gpu, memory } = self.work;
		self.pass = None;
		let queue = &gpu.handle.queue;
		for (buffer, bytes) in [(&memory.params, &self.params), (&memory.slots, &self.slots)] {
			if !bytes.is_empty() {
				queue.write_buffer(buffer, 0, bytes);
			}
		}
		gpu.handle.submit(self.encoder);
		if self.walks {
			gpu.handle.hold(memory.ring.buffers());
		}
	}
}

impl Work<'_> {
	/// Returns the number of steps to submit together.
	fn batch(&self) -> u32 {
		let products = u64::from(self.memory.n).pow(3);
		(BATCH_PRODUCTS / products).clamp(1, BATCH.into()) as u32
	}

	/// Fills `A` and the first of the two matrices from a seed.
	pub fn begin(&self, of: &Matrices, seed: &Hash) {
		let mut batch = Batch::new(*self);
		batch.rows(of, 0, seed);
		batch.rows(of, 1, seed);
		batch.submit();
	}

	/// Fills the window, and returns the roots of all matrices if `trees`: then a trial follows, which is
	/// rehearsed.
	pub fn fill(
		&self,
		seed: &Hash,
		trees: bool,
		go_on: &dyn Fn() -> Result<(), DeviceError>,
	) -> Result<Vec<Hash>, DeviceError> {
		let memory = self.memory;
		let filled = crate::trial::matrix::filled_of(memory.ring.matrices);
		let mut roots = Vec::new();
		self.begin(&memory.fill, seed);
		let (mut t, mut x) = (0, 0);
		while t < filled {
			go_on()?;
			let end = (t + self.batch()).min(filled);
			let mut batch = Batch::new(*self);
			for (root, t) in (0..).zip(t..end) {
				if t > 0 {
					batch.product(&memory.fill, x, t - 1);
					x = 1 - x;
				}
				if trees {
					let leaves = &memory.fill.leaves[x];
					batch.tree(leaves, &filled_key(seed, t), root, &After::NOTHING);
				}
				if let Some(kept) = memory.ring.place(t) {
					batch.copy((&memory.fill.x[x], 0), kept, memory.matrix());
				}
			}
			batch.submit();
			if trees {
				roots.extend(self.roots(0..end - t)?);
			} else {
				self.gpu.handle.wait()?;
			}
			t = end;
		}
		if trees {
			self.rehearse(seed)?;
		}
		Ok(roots)
	}

	/// Runs a product and a walk of a trial with their trees, before the trial's clock runs: a driver may
	/// finish compiling a kernel, or back a buffer with memory, only at the first use.
	fn rehearse(&self, seed: &Hash) -> Result<(), DeviceError> {
		let Self { gpu, memory } = *self;
		let size = Size {
			n: memory.n,
			window: memory.ring.matrices,
			turns: 1,
		};
		self.begin(&memory.trial, seed);
		self.set_running(&Running::over(&[seed]));
		self.steps(seed, &size, 0..2, 0);
		gpu.handle.wait()
	}

	/// Sets the running hash, from which the next step's κ follows.
	pub fn set_running(&self, running: &Running) {
		let mut state = [0; STATE as usize];
		state[..32].copy_from_slice(running.state());
		let kappa = STATE_KAPPA as usize;
		state[kappa..][..4].copy_from_slice(&kappa_of(running).to_le_bytes());
		let queue = &self.gpu.handle.queue;
		queue.write_buffer(&self.memory.state, 0, &state);
	}

	/// Reads back the running hash.
	pub fn running(&self) -> Result<Hash, DeviceError> {
		let bytes = self.fetch(&[(&self.memory.state, 0, 32)])?;
		bytes
			.try_into()
			.map_err(|_| lost("it returned fewer bytes than requested"))
	}

	/// Runs steps on matrix `x`, and returns which matrix holds the result. Does not wait for them. Each
	/// root is stored at its step's number modulo [`ROOTS`].
	pub fn steps(&self, seed: &Hash, size: &Size, steps: Range<u32>, mut x: usize) -> usize {
		let memory = self.memory;
		let mut first = steps.start;
		while first < steps.end {
			let end = (first + self.batch()).min(steps.end);
			let mut batch = Batch::new(*self);
			let kappa = (&memory.state, STATE_KAPPA);
			// κ of the first step is in the state. The parameters are written before all commands.
			batch.copy(kappa, (&memory.slots, 8), 4);
			for step in first..end {
				let is_walk = !step.is_multiple_of(2);
				if is_walk {
					batch.walk(x, 0..size.window);
				} else {
					batch.product(&memory.trial, x, step);
					x = 1 - x;
				}
				let turn = step / STEPS;
				let ends = (step + 1).is_multiple_of(STEPS);
				let after = After {
					mode: match ends {
						false => shaders::STEP,
						true => shaders::TURN,
					},
					step,
					slot: if step + 1 < end {
						step + 1 - first
					} else {
						NONE
					},
					turn: if ends {
						*turn_key(seed, turn).bytes()
					} else {
						[0; 32]
					},
				};
				let leaves = &memory.trial.leaves[x];
				batch.tree(leaves, &step_key(seed, step), step % ROOTS, &after);
			}
			batch.submit();
			first = end;
		}
		x
	}

	/// Walks all lanes of the trial's first matrix over part of the window, with κ = 0.
	pub fn walk(&self, part: Range<u32>, times: u32) {
		let mut batch = Batch::new(*self);
		for _ in 0..times {
			batch.walk(0, part.clone());
		}
		batch.submit();
	}

	/// Multiplies the trial's first matrix `times` times.
	pub fn products(&self, times: u32) {
		let mut batch = Batch::new(*self);
		for _ in 0..times {
			batch.product(&self.memory.trial, 0, 1);
		}
		batch.submit();
	}

	/// Computes `X_to` of the fill, from `before` (an earlier result's number and place), or from the last
	/// kept matrix before it. Returns its place.
	pub fn filled(&self, before: Option<(u32, usize)>, to: u32) -> Result<usize, DeviceError> {
		let memory = self.memory;
		let mut batch = Batch::new(*self);
		let stays = to - to % KEPT;
		let (from, mut x) = match before.filter(|(t, _)| (stays..=to).contains(t)) {
			Some(before) => before,
			None => {
				let kept = memory.ring.place(stays);
				let kept = kept.ok_or_else(|| lost("a matrix is not in its window: a bug"))?;
				batch.copy(kept, (&memory.fill.x[0], 0), memory.matrix());
				(stays, 0)
			}
		};
		for t in from..to {
			batch.product(&memory.fill, x, t);
			x = 1 - x;
		}
		batch.submit();
		Ok(x)
	}

	/// Returns whether a walk over the window equals the processor's. Overwrites the window and the trial's
	/// matrices.
	pub fn walks_rightly(&self) -> Result<bool, DeviceError> {
		const SEED: Hash = [0x77; 32];
		let Self { gpu, memory } = *self;
		let size = Size {
			n: memory.n,
			window: memory.ring.matrices,
			turns: 1,
		};
		// Any bytes serve as the window.
		let mut window = Vec::new();
		for u in 0..size.window {
			let bytes = first(&[u as u8; 32], size.n);
			let place = memory.ring.place(KEPT * u);
			let (buffer, offset) =
				place.ok_or_else(|| lost("a matrix is not in its window: a bug"))?;
			gpu.handle.queue.write_buffer(buffer, offset, &bytes);
			window.extend(bytes);
		}
		self.begin(&memory.trial, &SEED);
		let mut expected = first(&SEED, size.n);
		let running = Running::over(&[&SEED]);
		self.set_running(&running);
		let x = self.steps(&SEED, &size, 1..2, 0);
		walk_of(&mut expected, &window, kappa_of(&running));
		Ok(self.fetch(&[(&memory.trial.x[x], 0, memory.matrix())])? == expected)
	}

	/// Returns lines of a matrix with their paths: a matrix of the fill, in the window or at place `x` of
	/// the fill's two, or the last step's, whose tree was built last.
	pub fn show(
		&self,
		seed: &Hash,
		matrix: Matrix,
		x: usize,
		lines: &[u32],
	) -> Result<Vec<(u32, Shown)>, DeviceError> {
		let Self { gpu, memory } = *self;
		let in_window;
		let (leaves, buffer, offset) = match (matrix, x) {
			(Matrix::Step(_), x) => (&memory.trial.leaves[x], &memory.trial.x[x], 0),
			(Matrix::Filled(t), x) => match memory.ring.place(t) {
				Some((buffer, offset)) => {
					in_window = memory.leaves_of(gpu, buffer, offset)?;
					(&in_window, buffer, offset)
				}
				None => (&memory.fill.leaves[x], &memory.fill.x[x], 0),
			},
		};
		if let Matrix::Filled(t) = matrix {
			let mut batch = Batch::new(*self);
			batch.tree(leaves, &filled_key(seed, t), KNOWN_ROOT, &After::NOTHING);
			batch.submit();
		}
		let all = memory.lines();
		let levels = all.trailing_zeros();
		let mut parts = Vec::new();
		for line in lines {
			let line_bytes = LINE as u64;
			parts.push((buffer, offset + u64::from(*line) * line_bytes, line_bytes));
			for level in 0..levels {
				let sibling = (line >> level) ^ 1;
				let node = u64::from(2 * all - ((2 * all) >> level) + sibling);
				parts.push((&memory.nodes, node * 32, 32));
			}
		}
		let bytes = self.fetch(&parts)?;
		let each = LINE + 32 * levels as usize;
		let shown = lines.iter().zip(bytes.chunks_exact(each));
		let shown = shown.map(|(line, bytes)| {
			let (data, path) = bytes.split_at(LINE);
			let mut one: Line = [0; LINE];
			one.copy_from_slice(data);
			let path = path.as_chunks().0.to_vec();
			(*line, Shown { line: one, path })
		});
		Ok(shown.collect())
	}

	/// Reads back roots by their places.
	pub fn roots(&self, places: Range<u32>) -> Result<Vec<Hash>, DeviceError> {
		let (from, count) = (
			u64::from(places.start),
			u64::from(places.end - places.start),
		);
		let bytes = self.fetch(&[(&self.memory.roots, from * 32, count * 32)])?;
		Ok(bytes.as_chunks().0.to_vec())
	}

	/// Reads back parts of buffers.
	fn fetch(&self, parts: &[(&Buffer, u64, u64)]) -> Result<Vec<u8>, DeviceError> {
		let Self { gpu, memory } = *self;
		let pieces = parts.iter().flat_map(|(buffer, offset, length)| {
			(0..*length).step_by(STAGING as usize).map(move |from| {
				let size = STAGING.min(length - from);
				(*buffer, offset + from, size)
			})
		});
		let mut out = Vec::new();
		let mut pieces = pieces.peekable();
		while pieces.peek().is_some() {
			let mut encoder = gpu.handle.encoder();
			let mut size = 0;
			while let Some((buffer, offset, length)) =
				pieces.next_if(|(_, _, length)| size + length <= STAGING)
			{
				encoder.copy_buffer_to_buffer(buffer, offset, &memory.staging, size, Some(length));
				size += length;
			}
			gpu.handle.submit(encoder);
			out.extend(gpu.handle.read(&memory.staging, size)?);
		}
		Ok(out)
	}
}

#[cfg(test)]
mod tests;
