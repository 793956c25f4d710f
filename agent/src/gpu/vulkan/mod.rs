//! GPUs through `wgpu`: Vulkan on Linux, its loader and driver found at run time.

mod adapter;
mod kernel;
mod memory;
mod product;
mod shaders;
mod tensor;
mod work;

use super::{
	Card, Choice, Kernels, Options,
	backend::{Backend, Source},
};
use crate::trial::{
	device::{COPIED, COPIES, DeviceError, Matrix, Rated, Shown, copied_gbps},
	hash::{Hash, Running},
	matrix::Size,
};
use adapter::{adapters, card_of};
use kernel::{Code, Handle, Kernel, Use};
use memory::Memory;
use parking_lot::Mutex;
use product::{Chosen, Product};
use std::{
	collections::BTreeMap,
	ops::Range,
	path::{Path, PathBuf},
	sync::Arc,
	time::Instant,
};
use wgpu::{Adapter, BufferUsages};
use work::Work;

/// A GPU that Vulkan shows.
pub(super) struct Vulkan {
	card: Card,
	adapter: Adapter,
	choice: Choice,
	/// Folder of what is remembered of kernels.
	memory: Option<PathBuf>,
}

/// Finds the GPUs of the options' choice. Each look has an instance of its own, which finds drivers that came since the
/// last one.
pub(super) fn find(options: &Options) -> Vec<Vulkan> {
	let found = adapters(options.choice).into_iter();
	found.map(|adapter| Vulkan::new(adapter, options)).collect()
}

impl Vulkan {
	fn new(adapter: Adapter, options: &Options) -> Self {
		Self {
			card: card_of(&adapter),
			adapter,
			choice: options.choice,
			memory: options.memory.clone(),
		}
	}
}

impl Source for Vulkan {
	type Backend = Opened;

	fn card(&self) -> &Card {
		&self.card
	}

	fn open(&self, kernels: Kernels) -> Result<Opened, DeviceError> {
		Opened::new(&self.adapter, kernels, self.memory.as_deref())
	}

	fn open_again(&self, kernels: Kernels) -> Result<Opened, DeviceError> {
		let mut found = adapters(self.choice).into_iter();
		let fresh = found.find(|adapter| card_of(adapter).is_same(&self.card));
		let adapter = fresh.as_ref().unwrap_or(&self.adapter);
		Opened::new(adapter, kernels, self.memory.as_deref())
	}

	fn try_each(&self) -> Vec<(String, Result<(), DeviceError>)> {
		product::try_each(&self.adapter)
	}
}

/// A device with its kernels.
pub(super) struct Opened {
	name: String,
	handle: Handle,
	fill: Kernel,
	product: Product,
	/// The kernels for the product, with their measured speeds.
	rated: Vec<Rated>,
	leaves: Kernel,
	reduce: Kernel,
	top: Kernel,
	/// The walk's kernels, by the number of buffers that the window lies in.
	walks: Mutex<BTreeMap<usize, Arc<Kernel>>>,
}

impl Opened {
	fn new(
		adapter: &Adapter,
		kernels: Kernels,
		memory: Option<&Path>,
	) -> Result<Self, DeviceError> {
		let Chosen {
			handle,
			product,
			rated,
		} = product::choose(adapter, kernels, memory)?;
		let kernel = |name, code: String, uses: &[Use]| handle.kernel(name, Code::Wgsl(code), uses);
		use Use::{Read, Write};
		Ok(Self {
			name: adapter.get_info().name,
			fill: kernel("fill", shaders::fill(), &[Write])?,
			leaves: kernel("leaves", shaders::leaves(), &[Read, Write])?,
			reduce: kernel("reduce", shaders::reduce(), &[Write])?,
			top: kernel("top", shaders::top(), &[Write; 4])?,
			product,
			rated,
			handle,
			walks: Mutex::default(),
		})
	}

	/// The walk's kernel over a window in this number of buffers.
	fn walk_kernel(&self, buffers: usize) -> Result<Arc<Kernel>, DeviceError> {
		let mut walks = self.walks.lock();
		if let Some(kernel) = walks.get(&buffers) {
			return Ok(kernel.clone());
		}
		let mut uses = vec![Use::Write];
		uses.resize(1 + buffers, Use::Read);
		let code = Code::Wgsl(shaders::walk(buffers));
		let made = Arc::new(self.handle.kernel("walk", code, &uses)?);
		walks.insert(buffers, made.clone());
		Ok(made)
	}

	fn work<'a>(&'a self, memory: &'a Memory) -> Work<'a> {
		Work { gpu: self, memory }
	}

	/// Has the driver take the device away, as it does where the GPU falls off the bus.
	#[cfg(test)]
	pub fn destroy(&self) {
		self.handle.destroy();
	}
}

impl Backend for Opened {
	type Memory = Memory;

	/// Smaller matrices have fewer lines than a workgroup reduces.
	const LEAST_ROWS: u32 = 1_024;

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
		self.work(memory).fill(seed, trees, go_on)
	}

	fn begin(&self, memory: &Memory, seed: &Hash) -> Result<(), DeviceError> {
		self.work(memory).begin(&memory.trial, seed);
		Ok(())
	}

	fn set_running(&self, memory: &Memory, running: &Running) -> Result<(), DeviceError> {
		self.work(memory).set_running(running);
		Ok(())
	}

	fn running(&self, memory: &Memory) -> Result<Hash, DeviceError> {
		self.work(memory).running()
	}

	fn steps(
		&self,
		memory: &Memory,
		seed: &Hash,
		size: &Size,
		steps: Range<u32>,
		x: usize,
	) -> Result<usize, DeviceError> {
		Ok(self.work(memory).steps(seed, size, steps, x))
	}

	fn filled(
		&self,
		memory: &Memory,
		before: Option<(u32, usize)>,
		to: u32,
	) -> Result<usize, DeviceError> {
		self.work(memory).filled(before, to)
	}

	fn show(
		&self,
		memory: &Memory,
		seed: &Hash,
		matrix: Matrix,
		x: usize,
		lines: &[u32],
	) -> Result<Vec<(u32, Shown)>, DeviceError> {
		self.work(memory).show(seed, matrix, x, lines)
	}

	fn roots(&self, memory: &Memory, places: Range<u32>) -> Result<Vec<Hash>, DeviceError> {
		self.work(memory).roots(places)
	}

	fn wait(&self) -> Result<(), DeviceError> {
		self.handle.wait()
	}

	fn has_failed(&self) -> bool {
		self.handle.has_failed()
	}

	fn fail(&self) {
		self.handle.fail();
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let handle = &self.handle;
		let size = (COPIED as u64).min(handle.limits.max_buffer_size);
		let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let from = handle.buffer("from", size, usage)?;
		let to = handle.buffer("to", size, usage)?;
		let copy = |times| {
			let mut encoder = handle.encoder();
			for _ in 0..times {
				encoder.copy_buffer_to_buffer(&from, 0, &to, 0, Some(size));
			}
			handle.submit(encoder);
			handle.wait()
		};
		// The first makes the memory real.
		copy(1)?;
		let start = Instant::now();
		copy(COPIES)?;
		Ok(copied_gbps(size, start.elapsed()))
	}

	fn rated(&self) -> Vec<Rated> {
		self.rated.clone()
	}
}

#[cfg(test)]
pub(super) mod tests {
	use super::*;
	use crate::gpu::Gpu;

	/// Software that plays a GPU.
	pub fn software() -> Gpu<Vulkan> {
		let found = find(&Choice::Software.into()).pop();
		found
			.map(|gpu| Gpu::open(gpu, Kernels::Fastest).unwrap())
			.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers")
	}
}
