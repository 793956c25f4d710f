//! The matrix chain on a GPU: its steps, and rows of them.

use super::{
	Shared,
	kernel::Kernel,
	memory::{BATCH, DISPATCHES, Memory, PARAMS, PARAMS_STRIDE, STAGING},
	shaders,
};
use crate::bench::{
	chain::{Rows, Shape},
	device::DeviceError,
	hash::{Hash, Tree, TreeTag, derive},
	walk::LINE,
};
use std::{ops::Range, sync::Arc};
use wgpu::{BindGroup, BindingResource, Buffer, CommandEncoder};

/// Products that are submitted together: a fraction of a second on any GPU that is worth renting, and
/// far from where a driver takes a kernel to be stuck.
const BATCH_PRODUCTS: u64 = 1 << 42;

/// The parameters of a dispatch, as the kernels read them.
fn params(n: usize, t: usize, level: usize, pairs: usize, out: usize, key: &Hash) -> [u8; 64] {
	let mut bytes = [0; 64];
	for (at, value) in [n, t, level, pairs, out].into_iter().enumerate() {
		bytes[at * 4..][..4].copy_from_slice(&(value as u32).to_le_bytes());
	}
	bytes[32..].copy_from_slice(key);
	bytes
}

/// Work on the way along a chain.
#[derive(Clone, Copy)]
pub struct Tasks {
	/// Build the trees over the rows.
	pub trees: bool,
	/// Fill the window.
	pub keep: bool,
	/// The clock runs: do not give way to a benchmark that begins.
	pub timed: bool,
}

/// A chain on a GPU: the device, and the parameters.
pub struct GpuChain {
	pub shared: Arc<Shared>,
	pub seed: Hash,
	pub shape: Shape,
}

impl GpuChain {
	pub fn dispatch(
		&self,
		encoder: &mut CommandEncoder,
		kernel: &Kernel,
		bound: &BindGroup,
		entry: usize,
		groups: (u32, u32),
	) {
		let offset = entry as u32 * PARAMS_STRIDE as u32;
		kernel.dispatch(encoder, bound, offset, groups);
	}

	fn write_params(&self, memory: &Memory, entries: &[[u8; 64]]) {
		let mut bytes = vec![0; entries.len() * PARAMS_STRIDE as usize];
		for (to, from) in bytes.chunks_exact_mut(PARAMS_STRIDE as usize).zip(entries) {
			to[..64].copy_from_slice(from);
		}
		self.shared
			.handle
			.queue
			.write_buffer(&memory.params, 0, &bytes);
	}

	/// Fills `A` and `X_0`.
	pub fn begin(&self, memory: &Memory) -> Result<(), DeviceError> {
		let n = self.shape.n;
		let keys = ["chain/A", "chain/X0"].map(|purpose| derive(&self.seed, purpose));
		self.write_params(memory, &keys.map(|key| params(n, 0, 0, 0, 0, &key)));
		let mut encoder = self.shared.handle.encoder();
		let groups = ((n * n / 64).div_ceil(256) as u32, 1);
		for (entry, bound) in memory.bound.fill.iter().enumerate() {
			self.dispatch(&mut encoder, &self.shared.fill, bound, entry, groups);
		}
		self.shared.handle.submit(encoder);
		self.shared.handle.wait()
	}

	/// Number of steps that are submitted together.
	fn batch(&self) -> usize {
		let products = (self.shape.n as u64).pow(3).max(1);
		(BATCH_PRODUCTS / products).clamp(1, BATCH as u64) as usize
	}

	/// Goes from `X_t` at the range's start to the one at its end.
	pub fn go(
		&self,
		memory: &Memory,
		range: Range<usize>,
		tasks: Tasks,
	) -> Result<(), DeviceError> {
		let Shape { n, steps } = self.shape;
		let none = [0; 32];
		let product = &self.shared.product;
		let chunks = (n * n / LINE) as u32 / shaders::CHUNKS;
		let groups = n / shaders::LEAVES as usize;
		let mut t = range.start;
		while t < range.end {
			if !tasks.timed {
				self.shared.give_way()?;
			}
			let count = self.batch().min(range.end - t);
			let mut entries = Vec::with_capacity(count * DISPATCHES);
			for t in t..t + count {
				entries.push(params(n, t, 0, 0, 0, &none));
				entries.push(params(n, t + 1, 0, 0, 0, &none));
				entries.push(params(n, 0, 0, shaders::LEAVES as usize / 2, 0, &none));
				let level = shaders::LEAVES.trailing_zeros() as usize;
				entries.push(params(n, 0, level, groups / 2, t * 2, &none));
			}
			self.write_params(memory, &entries);
			let mut encoder = self.shared.handle.encoder();
			for at in 0..count {
				let (t, entry) = (t + at, at * DISPATCHES);
				let odd = t % 2;
				let step = &memory.bound.step[odd];
				self.dispatch(
					&mut encoder,
					product.kernel(),
					step,
					entry,
					product.groups(n),
				);
				if tasks.trees {
					let leaves = &memory.bound.leaves[1 - odd];
					self.dispatch(
						&mut encoder,
						&self.shared.leaves,
						leaves,
						entry + 1,
						(chunks, 1),
					);
					let [low, high] = &memory.bound.reduce;
					let reduce = &self.shared.reduce;
					self.dispatch(&mut encoder, reduce, low, entry + 2, (groups as u32, 1));
					self.dispatch(&mut encoder, reduce, high, entry + 3, (1, 1));
				}
				let oldest = steps - memory.window + 1;
				if tasks.keep && t + 1 >= oldest {
					let (buffer, offset) = self.slot(memory, t + 1 - oldest);
					let x = &memory.x[1 - odd];
					encoder.copy_buffer_to_buffer(x, 0, buffer, offset, Some((n * n) as u64));
				}
			}
			self.shared.handle.submit(encoder);
			self.shared.handle.wait()?;
			t += count;
		}
		Ok(())
	}

	/// Where in the ring a slot of the window is.
	pub fn slot<'a>(&self, memory: &'a Memory, slot: usize) -> (&'a Buffer, u64) {
		let matrix = (self.shape.n * self.shape.n) as u64;
		let buffer = &memory.ring[slot / memory.slots];
		(buffer, (slot % memory.slots) as u64 * matrix)
	}

	/// Copies parts of buffers to where they can be read, and reads them.
	pub fn fetch(
		&self,
		memory: &Memory,
		parts: &[(&Buffer, u64, u64)],
	) -> Result<Vec<u8>, DeviceError> {
		let pieces = parts.iter().flat_map(|(buffer, offset, length)| {
			(0..*length).step_by(STAGING as usize).map(move |from| {
				let size = STAGING.min(length - from);
				(*buffer, offset + from, size)
			})
		});
		let mut out = Vec::new();
		let mut pieces = pieces.peekable();
		while pieces.peek().is_some() {
			let mut encoder = self.shared.handle.encoder();
			let mut size = 0;
			while let Some((buffer, offset, length)) =
				pieces.next_if(|(_, _, length)| size + length <= STAGING)
			{
				encoder.copy_buffer_to_buffer(buffer, offset, &memory.staging, size, Some(length));
				size += length;
			}
			self.shared.handle.submit(encoder);
			out.extend(self.shared.handle.read(&memory.staging, size)?);
		}
		Ok(out)
	}

	/// Some rows of `X_t`, which lies in `memory.x[t % 2]`, with their paths.
	pub fn rows(
		&self,
		memory: &Memory,
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let (bound, x) = (&memory.bound.leaves[t % 2], &memory.x[t % 2]);
		self.rows_of(memory, (bound, x, 0), t, wanted, rows)
	}

	/// The same of an `X_t` of the window. What lies in `memory.x` stays.
	pub fn kept_rows(
		&self,
		memory: &Memory,
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let Shape { n, steps } = self.shape;
		let (buffer, offset) = self.slot(memory, t + memory.window - steps - 1);
		let x = BindingResource::Buffer(wgpu::BufferBinding {
			buffer,
			offset,
			size: std::num::NonZeroU64::new((n * n) as u64),
		});
		let parts = vec![x, memory.leaves.as_entire_binding()];
		let kernel = &self.shared.leaves;
		let bound = self
			.shared
			.handle
			.bind_parts(kernel, &memory.params, PARAMS, parts)?;
		self.rows_of(memory, (&bound, buffer, offset), t, wanted, rows)
	}

	/// The same of an `X_t` that lies at an offset in a buffer and is bound to the leaves' kernel.
	fn rows_of(
		&self,
		memory: &Memory,
		(bound, x, offset): (&BindGroup, &Buffer, u64),
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let n = self.shape.n;
		self.write_params(memory, &[params(n, t, 0, 0, 0, &[0; 32])]);
		let mut encoder = self.shared.handle.encoder();
		let chunks = (n * n / LINE) as u32 / shaders::CHUNKS;
		self.dispatch(&mut encoder, &self.shared.leaves, bound, 0, (chunks, 1));
		self.shared.handle.submit(encoder);
		let mut parts = vec![(&memory.leaves, 0, n as u64 * 32)];
		let place = |row: &usize| (x, offset + (row * n) as u64, n as u64);
		parts.extend(wanted.iter().map(place));
		let bytes = self.fetch(memory, &parts)?;
		let (leaves, bytes) = bytes.split_at(n * 32);
		let leaves = leaves
			.chunks_exact(32)
			.map(|leaf| std::array::from_fn(|at| leaf[at]))
			.collect();
		let tree = Tree::new(TreeTag::Rows, leaves);
		for (row, bytes) in wanted.iter().zip(bytes.chunks_exact(n)) {
			rows.insert((t, *row), (bytes.to_vec(), tree.path(*row)));
		}
		Ok(())
	}
}
