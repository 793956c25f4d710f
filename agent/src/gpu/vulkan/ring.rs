//! The kept matrices of a window, in as many buffers as they take, and the ways for walks to reach them.

use super::{
	Opened, address,
	kernel::{Code, Handle, Kernel, Use},
	memory::{SLOT, STORAGE},
	shaders,
};
use crate::{
	gpu::Cut,
	trial::{device::DeviceError, matrix::KEPT},
};
use std::{iter, sync::Arc};
use wgpu::{BindGroup, Buffer};

/// The way for a walk to reach a line of a window in several buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
	/// By the buffer's address: as fast over many buffers as over one.
	Addresses,
	/// By a branch for each buffer. Works everywhere, but slows down with the number of buffers: on an H200
	/// with 62 buffers it ran at a 164th of the memory's rate.
	Branches,
}

impl Reach {
	/// Returns the fastest way that a device supports.
	pub fn best(handle: &Handle, cut: Cut) -> Self {
		match handle.addresses && !cut.branches {
			true => Self::Addresses,
			false => Self::Branches,
		}
	}

	/// Makes the walk's kernel for this number of bound buffers to read.
	pub fn kernel(self, handle: &Handle, bound: usize) -> Result<Kernel, DeviceError> {
		let code = match self {
			Self::Addresses => Code::Spirv(address::kernel(&shaders::walk_by_addresses())?),
			Self::Branches => Code::Wgsl(shaders::walk_by_branches(bound)),
		};
		let reads = iter::repeat_n(Use::Read, bound);
		let uses: Vec<Use> = iter::once(Use::Write).chain(reads).collect();
		handle.kernel("walk", code, &uses)
	}
}

/// The kept matrices.
pub struct Ring {
	buffers: Arc<[Buffer]>,
	/// The buffers' addresses, if walks use them.
	pub addresses: Option<Buffer>,
	/// Size of a matrix, in bytes.
	matrix: u64,
	/// Number of matrices in each buffer except the last.
	pub each: u32,
	/// Number of all matrices.
	pub matrices: u32,
}

impl Ring {
	/// Allocates buffers for a window, or for as much of it as fits. `most` is the maximum size of a buffer
	/// in bytes.
	pub fn take(gpu: &Opened, matrix: u64, window: u32, most: u64) -> Result<Self, DeviceError> {
		let handle = &gpu.handle;
		let each = (most / matrix) as u32;
		let window = match gpu.reach {
			Reach::Addresses => window,
			Reach::Branches => {
				// A walk also binds its lanes.
				let buffers = handle.limits.max_storage_buffers_per_shader_stage;
				window.min(each.saturating_mul(buffers.saturating_sub(1)))
			}
		};
		let (mut buffers, mut addresses) = (Vec::new(), Vec::new());
		let (mut room, mut wanted) = (0, each);
		while room < window && wanted > 0 {
			wanted = wanted.min(window - room);
			let size = u64::from(wanted) * matrix;
			let taken = match gpu.reach {
				Reach::Addresses => handle.addressed("window", size, STORAGE),
				Reach::Branches => handle
					.buffer("window", size, STORAGE)
					.map(|buffer| (buffer, 0)),
			};
			match taken {
				Ok((buffer, address)) => {
					buffers.push(buffer);
					addresses.extend(address.to_le_bytes());
					room += wanted;
					// Only the last buffer may be smaller than the others.
					if wanted < each {
						break;
					}
				}
				Err(DeviceError::Memory(error)) => {
					tracing::debug!(
						name = gpu.name,
						room,
						window,
						error,
						"no room for a buffer this large"
					);
					wanted /= 2;
				}
				Err(error) => return Err(error),
			}
		}
		if room < 2 {
			return Err(DeviceError::Memory(
				"no room for a window of 2 matrices, the minimum; stop other programs that use the GPU"
					.into(),
			));
		}
		let addresses = match gpu.reach {
			Reach::Addresses => {
				let table = handle.buffer("addresses", addresses.len() as u64, STORAGE)?;
				handle.queue.write_buffer(&table, 0, &addresses);
				Some(table)
			}
			Reach::Branches => None,
		};
		Ok(Self {
			buffers: buffers.into(),
			addresses,
			matrix,
			each,
			matrices: room,
		})
	}

	/// Returns the buffers that a walk binds to read: the table of addresses, or the window's buffers
	/// themselves.
	pub fn bound(&self) -> &[Buffer] {
		match &self.addresses {
			Some(table) => std::slice::from_ref(table),
			None => &self.buffers,
		}
	}

	/// Returns the buffers, for the caller to hold while a walk reads them: reads by address do not hold
	/// them.
	pub fn buffers(&self) -> Arc<[Buffer]> {
		self.buffers.clone()
	}

	/// Returns the buffer and offset of `X_t`, if it is kept.
	pub fn place(&self, t: u32) -> Option<(&Buffer, u64)> {
		let u = t / KEPT;
		let buffer = self.buffers.get((u / self.each) as usize)?;
		let offset = u64::from(u % self.each) * self.matrix;
		(t.is_multiple_of(KEPT) && u < self.matrices).then_some((buffer, offset))
	}

	/// Binds a walk whose lanes are the lines of matrix `z`.
	pub fn bind(
		&self,
		handle: &Handle,
		walk: &Kernel,
		slots: &Buffer,
		z: &Buffer,
	) -> Result<BindGroup, DeviceError> {
		let buffers: Vec<&Buffer> = iter::once(z).chain(self.bound()).collect();
		handle.bind(walk, slots, SLOT, &buffers)
	}
}
