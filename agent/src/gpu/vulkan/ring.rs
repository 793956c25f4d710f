//! The matrices of a window that stay, in as many buffers as they take, and how walks reach them.

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

/// How a walk reaches a line of a window that lies in several buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
	/// By the address of its buffer: as fast over many buffers as over one.
	Addresses,
	/// By a branch for each buffer. Runs everywhere, and slower the more buffers there are: on an H200 with 62 buffers 164
	/// times slower than the memory.
	Branches,
}

impl Reach {
	/// Returns the best that a device has.
	pub fn best(handle: &Handle, cut: Cut) -> Self {
		match handle.addresses && !cut.branches {
			true => Self::Addresses,
			false => Self::Branches,
		}
	}

	/// Makes the walk's kernel that binds this number of buffers to read.
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

/// The matrices that stay.
pub struct Ring {
	buffers: Arc<[Buffer]>,
	/// Their addresses, where walks use them.
	pub addresses: Option<Buffer>,
	/// Bytes of a matrix.
	matrix: u64,
	/// Matrices of each buffer but the last.
	pub each: u32,
	/// All of them.
	pub matrices: u32,
}

impl Ring {
	/// Takes buffers for a window, or for as much of it as there is room for. `most` is the most bytes of a buffer.
	pub fn take(gpu: &Opened, matrix: u64, window: u32, most: u64) -> Result<Self, DeviceError> {
		let handle = &gpu.handle;
		let each = (most / matrix) as u32;
		let window = match gpu.reach {
			Reach::Addresses => window,
			Reach::Branches => {
				// A walk binds one buffer more.
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
						"less memory than that"
					);
					wanted /= 2;
				}
				Err(error) => return Err(error),
			}
		}
		if room < 2 {
			return Err(DeviceError::Memory("none is left for the window".into()));
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

	/// Returns the buffers that a walk binds to read: the addresses, or the buffers themselves.
	pub fn bound(&self) -> &[Buffer] {
		match &self.addresses {
			Some(table) => std::slice::from_ref(table),
			None => &self.buffers,
		}
	}

	/// Returns the buffers, to be held while a walk reads them: it does not hold them by their addresses.
	pub fn buffers(&self) -> Arc<[Buffer]> {
		self.buffers.clone()
	}

	/// Returns the place of `X_t`, if it stays.
	pub fn place(&self, t: u32) -> Option<(&Buffer, u64)> {
		let u = t / KEPT;
		let buffer = self.buffers.get((u / self.each) as usize)?;
		let offset = u64::from(u % self.each) * self.matrix;
		(t.is_multiple_of(KEPT) && u < self.matrices).then_some((buffer, offset))
	}

	/// Binds a walk whose lanes are a matrix.
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
