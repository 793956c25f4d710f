//! The rate of a plain copy within a GPU's memory: the yardstick for walks.
//!
//! A driver's copy command may be far slower than the memory: on an H200 it reached 751 GB/s, a kernel
//! 3,937. So both are measured, and the faster counts.

use super::{
	kernel::{Code, Handle, Use},
	memory::STORAGE,
	product::PARAMS,
	shaders,
};
use crate::trial::device::{COPIED, COPIES, DeviceError, copied_gbps};
use std::time::Instant;
use wgpu::{BindGroup, Buffer, BufferUsages, CommandEncoder};

/// Size of a buffer, in bytes, that no cache holds.
const LARGE: u64 = 1 << 30;

/// A buffer, its copy, and the kernel that makes it.
struct Copy<'a> {
	handle: &'a Handle,
	size: u64,
	from: Buffer,
	to: Buffer,
	kernel: super::Kernel,
	bound: BindGroup,
}

impl<'a> Copy<'a> {
	fn new(handle: &'a Handle, size: u64) -> Result<Self, DeviceError> {
		let from = handle.buffer("copied", size, STORAGE)?;
		let to = handle.buffer("copy", size, STORAGE)?;
		let params = handle.buffer("copy: parameters", PARAMS, BufferUsages::UNIFORM)?;
		let code = Code::Wgsl(shaders::copy());
		let kernel = handle.kernel("copy", code, &[Use::Read, Use::Write])?;
		let bound = handle.bind(&kernel, &params, PARAMS, &[&from, &to])?;
		Ok(Self {
			handle,
			size,
			from,
			to,
			kernel,
			bound,
		})
	}

	fn by_command(&self, encoder: &mut CommandEncoder) {
		encoder.copy_buffer_to_buffer(&self.from, 0, &self.to, 0, Some(self.size));
	}

	fn by_kernel(&self, encoder: &mut CommandEncoder) {
		let groups = (self.size / u64::from(shaders::COPIED)) as u32;
		self.kernel.dispatch(encoder, &self.bound, 0, (groups, 1));
	}

	/// Measures one way to copy, in 10⁹ bytes per second.
	fn gbps(&self, copy: impl Fn(&mut CommandEncoder)) -> Result<f64, DeviceError> {
		let run = |times| {
			let mut encoder = self.handle.encoder();
			for _ in 0..times {
				copy(&mut encoder);
			}
			self.handle.submit(encoder);
			self.handle.wait()
		};
		// The first one makes the driver back the memory.
		run(1)?;
		let start = Instant::now();
		run(COPIES)?;
		Ok(copied_gbps(self.size, start.elapsed()))
	}
}

/// Measures copies between buffers that no cache holds, or the largest that fit; on software, between small
/// ones.
pub fn gbps(handle: &Handle, software: bool) -> Result<f64, DeviceError> {
	let limits = &handle.limits;
	let least = COPIED as u64;
	let mut size = match software {
		true => least,
		false => LARGE
			.min(limits.max_buffer_size)
			.min(limits.max_storage_buffer_binding_size),
	};
	size -= size % u64::from(shaders::COPIED);
	let copy = loop {
		match Copy::new(handle, size) {
			Err(DeviceError::Memory(_)) if size >= 2 * least => size /= 2,
			made => break made?,
		}
	};
	let by_command = copy.gbps(|encoder| copy.by_command(encoder))?;
	let by_kernel = copy.gbps(|encoder| copy.by_kernel(encoder))?;
	tracing::debug!(size, by_command, by_kernel, "copies, GB/s");
	Ok(by_command.max(by_kernel))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::gpu::vulkan::tests::software;

	#[test]
	fn the_kernel_copies_everything() {
		let device = software();
		let shared = device.0.shared().unwrap();
		let handle = &shared.backend.handle;
		let size = 3 * u64::from(shaders::COPIED);
		let copy = Copy::new(handle, size).unwrap();
		let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
		handle.queue.write_buffer(&copy.from, 0, &bytes);
		let mappable = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
		let staging = handle.buffer("staging", size, mappable).unwrap();
		let mut encoder = handle.encoder();
		copy.by_kernel(&mut encoder);
		encoder.copy_buffer_to_buffer(&copy.to, 0, &staging, 0, Some(size));
		handle.submit(encoder);
		assert!(handle.read(&staging, size).unwrap() == bytes);
	}
}
