//! The buffers of one window on a GPU, and the kernels bound to them.

use super::{Opened, kernel::Kernel, product, ring::Ring};
use crate::{
	gpu::backend::ROOTS,
	trial::{device::DeviceError, matrix::LINE},
};
use std::{num::NonZeroU64, sync::Arc};
use wgpu::{BindGroup, BindingResource, Buffer, BufferUsages};

/// Bytes from the parameters of one dispatch to those of the next.
pub const STRIDE: u64 = 256;
/// Size in bytes of the parameters of trees and of `fill`.
pub const PARAMS: u64 = 96;
/// Size in bytes of the parameters of a walk and of a product.
pub const SLOT: u64 = product::PARAMS;
/// Maximum number of steps submitted together.
pub const BATCH: u32 = 128;
/// Parameter entries per tree.
const TREE: u32 = 2;
/// Place for a root that is not needed, after those of the steps.
pub const KNOWN_ROOT: u32 = ROOTS;
/// Maximum bytes read back at a time.
pub const STAGING: u64 = 16 << 20;
/// Size in bytes of the state: the running hash, and κ of the next step.
pub const STATE: u64 = 48;
/// Byte offset of κ in the state.
pub const STATE_KAPPA: u64 = 32;

/// Usages of a buffer that kernels read and write, and that is copied from and to.
pub const STORAGE: BufferUsages = BufferUsages::STORAGE
	.union(BufferUsages::COPY_SRC)
	.union(BufferUsages::COPY_DST);

/// The buffers of one window.
pub struct Memory {
	pub n: u32,
	/// The working matrices of the fill; apart from the trial's, since openings repeat both side by side.
	pub fill: Matrices,
	pub trial: Matrices,
	/// The nodes of a tree, level by level.
	pub nodes: Buffer,
	pub roots: Buffer,
	pub state: Buffer,
	/// The parameters of trees.
	pub params: Buffer,
	/// The parameters of products and walks. The device writes their κ.
	pub slots: Buffer,
	pub staging: Buffer,
	pub(super) ring: Ring,
	pub(super) walk: Arc<Kernel>,
	pub bound: Bound,
}

/// Two matrices (each product reads one and writes the other), and the kernels bound to them. Of two
/// bindings, the first reads the first matrix.
pub struct Matrices {
	pub x: [Buffer; 2],
	/// Fill the fixed factor and the first matrix.
	pub rows: [BindGroup; 2],
	pub product: [BindGroup; 2],
	pub leaves: [BindGroup; 2],
}

/// The other kernels, bound to the buffers.
pub struct Bound {
	pub walk: [BindGroup; 2],
	pub reduce: BindGroup,
	pub top: BindGroup,
}

impl Memory {
	/// Allocates memory for `window` matrices of n × n bytes, or for as many as fit, in buffers of at most
	/// `most` bytes or the driver's limit.
	pub fn new(gpu: &Opened, n: u32, window: u32, most: Option<u64>) -> Result<Self, DeviceError> {
		let handle = &gpu.handle;
		let matrix = u64::from(n) * u64::from(n);
		let limits = &handle.limits;
		let most = limits
			.max_buffer_size
			.min(limits.max_storage_buffer_binding_size)
			.min(most.unwrap_or(u64::MAX));
		if matrix > most {
			return Err(DeviceError::Memory(format!(
				"a matrix of {matrix} bytes exceeds the maximum of a buffer, {most} bytes"
			)));
		}
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let mappable = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
		let lines = matrix / LINE as u64;
		let nodes = handle.buffer("nodes", 2 * lines * 32, STORAGE)?;
		let roots = handle.buffer("roots", (u64::from(KNOWN_ROOT) + 1) * 32, STORAGE)?;
		let state = handle.buffer("state", STATE, STORAGE)?;
		let params = handle.buffer("parameters", u64::from(BATCH * TREE) * STRIDE, uniform)?;
		let slots = handle.buffer("slots", u64::from(BATCH) * STRIDE, uniform | STORAGE)?;
		let staging = handle.buffer("staging", STAGING, mappable)?;
		let matrices_of = || Matrices::new(gpu, matrix, [&params, &slots, &nodes]);
		let (fill, trial) = (matrices_of()?, matrices_of()?);
		let ring = Ring::take(gpu, matrix, window, most)?;
		let walk = gpu.walk_kernel(ring.bound().len())?;
		let tree = |kernel, buffers: &[&Buffer]| handle.bind(kernel, &params, PARAMS, buffers);
		let lanes = |z| ring.bind(handle, &walk, &slots, z);
		let bound = Bound {
			walk: [lanes(&trial.x[0])?, lanes(&trial.x[1])?],
			reduce: tree(&gpu.reduce, &[&nodes])?,
			top: tree(&gpu.top, &[&nodes, &roots, &state, &slots])?,
		};
		Ok(Self {
			n,
			fill,
			trial,
			nodes,
			roots,
			state,
			params,
			slots,
			staging,
			ring,
			walk,
			bound,
		})
	}

	/// Returns the size of a matrix in bytes.
	pub fn matrix(&self) -> u64 {
		u64::from(self.n) * u64::from(self.n)
	}

	/// Returns the number of lines of a matrix.
	pub fn lines(&self) -> u32 {
		(self.matrix() / LINE as u64) as u32
	}

	/// Returns the number of lines in each buffer of the window except the last.
	pub fn lines_each(&self) -> u32 {
		self.ring.each * self.lines()
	}

	/// Binds the kernel of leaves to a matrix at an offset in a buffer.
	pub fn leaves_of(
		&self,
		gpu: &Opened,
		buffer: &Buffer,
		offset: u64,
	) -> Result<BindGroup, DeviceError> {
		let x = BindingResource::Buffer(wgpu::BufferBinding {
			buffer,
			offset,
			size: NonZeroU64::new(self.matrix()),
		});
		let parts = vec![x, self.nodes.as_entire_binding()];
		let handle = &gpu.handle;
		handle.bind_parts(&gpu.leaves, &self.params, PARAMS, parts)
	}
}

impl Matrices {
	fn new(
		gpu: &Opened,
		matrix: u64,
		[params, slots, nodes]: [&Buffer; 3],
	) -> Result<Self, DeviceError> {
		let handle = &gpu.handle;
		let a = handle.buffer("A", matrix, STORAGE)?;
		let even = handle.buffer("X even", matrix, STORAGE)?;
		let odd = handle.buffer("X odd", matrix, STORAGE)?;
		let tree = |kernel, buffers: &[&Buffer]| handle.bind(kernel, params, PARAMS, buffers);
		let product = |buffers: &[&Buffer]| {
			let kernel = gpu.product.kernel();
			handle.bind(kernel, slots, SLOT, buffers)
		};
		Ok(Self {
			rows: [tree(&gpu.fill, &[&a])?, tree(&gpu.fill, &[&even])?],
			product: [product(&[&a, &even, &odd])?, product(&[&a, &odd, &even])?],
			leaves: [
				tree(&gpu.leaves, &[&even, nodes])?,
				tree(&gpu.leaves, &[&odd, nodes])?,
			],
			x: [even, odd],
		})
	}
}
