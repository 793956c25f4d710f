//! GPUs through `wgpu`: Vulkan on Linux, with its loader and drivers found at run time.

mod adapter;
mod address;
mod copy;
mod kernel;
mod memory;
mod product;
mod ring;
mod shaders;
mod tensor;
mod work;

use super::{
	Card, Choice, Cut, Kernels, Options,
	backend::{Backend, Source, contained, lost},
};
use crate::trial::{
	device::{DeviceError, Matrix, Rated, Shown},
	hash::{Hash, Running},
	matrix::Size,
};
use adapter::{adapters, card_of};
use kernel::{Code, Handle, Kernel, Use};
use memory::Memory;
use parking_lot::Mutex;
use product::{Chosen, Product};
use ring::Reach;
use std::{
	collections::BTreeMap,
	ops::Range,
	path::{Path, PathBuf},
	sync::Arc,
};
use wgpu::{Adapter, DeviceType};
use work::Work;

/// A GPU that Vulkan shows.
pub(super) struct Vulkan {
	card: Card,
	adapter: Adapter,
	choice: Choice,
	/// Folder for the record of chosen kernels.
	memory: Option<PathBuf>,
	cut: Cut,
}

/// Finds the GPUs of the options' choice. Each scan makes a new instance, which finds drivers installed
/// since the last one.
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
			cut: options.cut,
		}
	}

	/// Opens an adapter, with the fastest correct way for walks to reach their window.
	fn opened(&self, adapter: &Adapter, kernels: Kernels) -> Result<Opened, DeviceError> {
		let memory = self.memory.as_deref();
		let opened = Opened::new(adapter, kernels, memory, self.cut)?;
		if opened.reach == Reach::Branches {
			if !opened.handle.addresses {
				tracing::warn!(
					gpu = %self.card,
					"a GPU's driver lacks buffer addresses (Vulkan's bufferDeviceAddress), so walks over windows in \
					 many buffers are slow. Install a newer driver"
				);
			}
			return Ok(opened);
		}
		match contained(|| opened.try_walk()) {
			Ok(()) => return Ok(opened),
			// A customer may hold all memory. Checkers verify the results later.
			Err(DeviceError::Memory(error)) => {
				tracing::warn!(
					gpu = %self.card,
					error,
					"too little free memory on a GPU to verify its walks; using them unverified. Unless a customer \
					 uses the GPU, stop the program that holds its memory"
				);
				return Ok(opened);
			}
			Err(error) => tracing::warn!(
				gpu = %self.card,
				%error,
				"a GPU's walks by buffer addresses cannot be used; using slower ones. A newer driver may help"
			),
		}
		drop(opened);
		let cut = Cut {
			branches: true,
			..self.cut
		};
		Opened::new(adapter, kernels, memory, cut)
	}
}

impl Source for Vulkan {
	type Backend = Opened;

	fn card(&self) -> &Card {
		&self.card
	}

	fn open(&self, kernels: Kernels) -> Result<Opened, DeviceError> {
		self.opened(&self.adapter, kernels)
	}

	fn open_again(&self, kernels: Kernels) -> Result<Opened, DeviceError> {
		let mut found = adapters(self.choice).into_iter();
		let fresh = found.find(|adapter| card_of(adapter).is_same(&self.card));
		let adapter = fresh.as_ref().unwrap_or(&self.adapter);
		self.opened(adapter, kernels)
	}

	fn try_each(&self) -> Vec<(String, Result<(), DeviceError>)> {
		product::try_each(&self.adapter)
	}
}

/// An open device with its kernels.
pub(super) struct Opened {
	name: String,
	/// Set for software Vulkan.
	software: bool,
	handle: Handle,
	fill: Kernel,
	product: Product,
	/// The kernels for the product, with their measured rates.
	rated: Vec<Rated>,
	leaves: Kernel,
	reduce: Kernel,
	top: Kernel,
	cut: Cut,
	reach: Reach,
	/// The walk's kernels, by the number of buffers they bind.
	walks: Mutex<BTreeMap<usize, Arc<Kernel>>>,
}

impl Opened {
	fn new(
		adapter: &Adapter,
		kernels: Kernels,
		memory: Option<&Path>,
		cut: Cut,
	) -> Result<Self, DeviceError> {
		let Chosen {
			handle,
			product,
			rated,
		} = product::choose(adapter, kernels, memory)?;
		let kernel = |name, code: String, uses: &[Use]| handle.kernel(name, Code::Wgsl(code), uses);
		use Use::{Read, Write};
		let info = adapter.get_info();
		Ok(Self {
			name: info.name,
			software: info.device_type == DeviceType::Cpu,
			fill: kernel("fill", shaders::fill(), &[Write])?,
			leaves: kernel("leaves", shaders::leaves(), &[Read, Write])?,
			reduce: kernel("reduce", shaders::reduce(), &[Write])?,
			top: kernel("top", shaders::top(), &[Write; 4])?,
			product,
			rated,
			reach: Reach::best(&handle, cut),
			cut,
			handle,
			walks: Mutex::default(),
		})
	}

	/// Returns the walk's kernel for this number of bound buffers to read.
	fn walk_kernel(&self, bound: usize) -> Result<Arc<Kernel>, DeviceError> {
		let mut walks = self.walks.lock();
		if let Some(kernel) = walks.get(&bound) {
			return Ok(kernel.clone());
		}
		let made = Arc::new(self.reach.kernel(&self.handle, bound)?);
		walks.insert(bound, made.clone());
		Ok(made)
	}

	/// Fails unless a walk over two buffers is correct.
	fn try_walk(&self) -> Result<(), DeviceError> {
		let n = Self::LEAST_ROWS;
		let matrix = u64::from(n) * u64::from(n);
		let memory = Memory::new(self, n, 2, Some(matrix))?;
		match self.work(&memory).walks_rightly()? {
			true => Ok(()),
			false => Err(lost("its results differ from the processor's")),
		}
	}

	fn work<'a>(&'a self, memory: &'a Memory) -> Work<'a> {
		Work { gpu: self, memory }
	}

	/// Returns the number of kernels, buffers and bindings made.
	#[cfg(test)]
	pub fn made(&self) -> u32 {
		self.handle.made()
	}

	/// Destroys the device, as when the GPU falls off the bus.
	#[cfg(test)]
	pub fn destroy(&self) {
		self.handle.destroy();
	}
}

impl Backend for Opened {
	type Memory = Memory;

	/// Smaller matrices have fewer lines than one workgroup reduces.
	const LEAST_ROWS: u32 = 1_024;

	fn take(&self, n: u32, window: u32) -> Result<Memory, DeviceError> {
		Memory::new(self, n, window, self.cut.most)
	}

	fn matrices(memory: &Memory) -> u32 {
		memory.ring.matrices
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

	fn walk(&self, memory: &Memory, part: Range<u32>, times: u32) -> Result<(), DeviceError> {
		self.work(memory).walk(part, times);
		Ok(())
	}

	fn products(&self, memory: &Memory, times: u32) -> Result<(), DeviceError> {
		self.work(memory).products(times);
		Ok(())
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
		copy::gbps(&self.handle, self.software)
	}

	fn rated(&self) -> Vec<Rated> {
		self.rated.clone()
	}
}

#[cfg(test)]
pub(super) mod tests {
	use super::*;
	use crate::gpu::Gpu;

	/// Opens software Vulkan, with windows split according to `cut`.
	pub fn software_cut(cut: Cut) -> Gpu<Vulkan> {
		let options = Options {
			choice: Choice::Software,
			cut,
			..Default::default()
		};
		find(&options)
			.pop()
			.map(|gpu| Gpu::open(gpu, Kernels::Fastest).unwrap())
			.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers")
	}

	/// Opens software Vulkan.
	pub fn software() -> Gpu<Vulkan> {
		software_cut(Cut::default())
	}
}
