//! The buffers of one chain on a GPU, and the kernels bound to them.

use super::Shared;
use crate::bench::{chain::Shape, device::DeviceError};
use std::sync::atomic::AtomicUsize;
use wgpu::{BindGroup, Buffer, BufferUsages};

/// Bytes between the parameters of two dispatches.
pub const PARAMS_STRIDE: u64 = 256;
/// Bytes of a dispatch's parameters.
pub const PARAMS: u64 = 64;
/// Steps that are submitted together, at most.
pub const BATCH: usize = 32;
/// Bytes that are read back at a time.
pub const STAGING: u64 = 16 << 20;
/// Dispatches of a step.
pub const DISPATCHES: usize = 4;

/// A buffer that kernels read and write, and that is copied from and to.
pub const STORAGE: BufferUsages = BufferUsages::STORAGE
	.union(BufferUsages::COPY_SRC)
	.union(BufferUsages::COPY_DST);

/// The buffers of one chain. What nobody copies from is held by what it is bound to.
pub struct Memory {
	/// `X_t` for even and for odd `t`.
	pub x: [Buffer; 2],
	pub leaves: Buffer,
	pub roots: Buffer,
	pub params: Buffer,
	pub staging: Buffer,
	pub ring: Vec<Buffer>,
	/// `X_t` that fit into one buffer of the ring.
	pub slots: usize,
	pub window: usize,
	pub bound: Bound,
	/// The step whose `X_t` lies in `x` since openings went there. Whoever has the device reads and
	/// writes it.
	pub at: AtomicUsize,
}

/// No step: what lies in `x` is of no use.
pub const NOWHERE: usize = usize::MAX;

/// The kernels of a step, bound to the buffers. Of two, the first is for even `t`.
pub struct Bound {
	pub fill: [BindGroup; 2],
	pub step: [BindGroup; 2],
	pub leaves: [BindGroup; 2],
	pub reduce: [BindGroup; 2],
}

impl Memory {
	/// Room for a chain, and for as much of its window as there is.
	pub fn new(shared: &Shared, shape: Shape, window: usize) -> Result<Self, DeviceError> {
		let Shape { n, steps } = shape;
		let handle = &shared.handle;
		let matrix = (n * n) as u64;
		let limits = &handle.limits;
		let most = limits
			.max_buffer_size
			.min(limits.max_storage_buffer_binding_size);
		if matrix > most {
			return Err(DeviceError::Memory(format!(
				"a buffer takes {most} bytes at most, a matrix {matrix}"
			)));
		}
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let mappable = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
		let a = handle.buffer("A", matrix, STORAGE)?;
		let x = [
			handle.buffer("X even", matrix, STORAGE)?,
			handle.buffer("X odd", matrix, STORAGE)?,
		];
		let leaves = handle.buffer("leaves", n as u64 * 32, STORAGE)?;
		let nodes = handle.buffer("nodes", n as u64 * 32, STORAGE)?;
		let roots = handle.buffer("roots", steps as u64 * 32, STORAGE)?;
		let entries = (BATCH * DISPATCHES) as u64;
		let params = handle.buffer("parameters", entries * PARAMS_STRIDE, uniform)?;
		let staging = handle.buffer("staging", STAGING, mappable)?;
		let slots = (most / matrix) as usize;
		// The walk binds two buffers more.
		let buffers = limits.max_storage_buffers_per_shader_stage as usize;
		let window = window.min(steps).min(slots * buffers.saturating_sub(2));
		let (ring, window) = ring(shared, matrix, slots, window)?;
		let bound = Bound::new(shared, &params, &a, &x, [&leaves, &nodes, &roots])?;
		Ok(Self {
			x,
			leaves,
			roots,
			params,
			staging,
			ring,
			slots,
			window,
			bound,
			at: AtomicUsize::new(NOWHERE),
		})
	}
}

/// Buffers of `slots` matrices each for a window, or for as much of it as there is room for; and how much
/// that is.
fn ring(
	shared: &Shared,
	matrix: u64,
	slots: usize,
	window: usize,
) -> Result<(Vec<Buffer>, usize), DeviceError> {
	let mut ring = Vec::new();
	let (mut room, mut wanted) = (0, slots);
	while room < window && wanted > 0 {
		wanted = wanted.min(window - room);
		let size = wanted as u64 * matrix;
		match shared.handle.buffer("window", size, STORAGE) {
			Ok(buffer) => {
				ring.push(buffer);
				room += wanted;
				// Only the last buffer may be smaller than the others.
				if wanted < slots {
					break;
				}
			}
			Err(DeviceError::Memory(error)) => {
				tracing::debug!(
					name = shared.name,
					room,
					window,
					error,
					"less memory than that"
				);
				wanted /= 2;
			}
			Err(error) => return Err(error),
		}
	}
	if room == 0 {
		return Err(DeviceError::Memory("none is left for the window".into()));
	}
	Ok((ring, room))
}

impl Bound {
	fn new(
		shared: &Shared,
		params: &Buffer,
		a: &Buffer,
		[even, odd]: &[Buffer; 2],
		[leaves, nodes, roots]: [&Buffer; 3],
	) -> Result<Self, DeviceError> {
		let bind =
			|kernel, buffers: &[&Buffer]| shared.handle.bind(kernel, params, PARAMS, buffers);
		let product = shared.product.kernel();
		Ok(Self {
			fill: [bind(&shared.fill, &[a])?, bind(&shared.fill, &[even])?],
			step: [
				bind(product, &[a, even, odd])?,
				bind(product, &[a, odd, even])?,
			],
			leaves: [
				bind(&shared.leaves, &[even, leaves])?,
				bind(&shared.leaves, &[odd, leaves])?,
			],
			reduce: [
				bind(&shared.reduce, &[leaves, nodes])?,
				bind(&shared.reduce, &[nodes, roots])?,
			],
		})
	}
}
