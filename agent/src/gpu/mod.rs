//! GPUs, through `wgpu`: Vulkan on Linux, its loader and driver found at run time. Nothing of a vendor's
//! is needed to build or to start.
//!
//! What a driver says of itself, its name included, is shown to people and never counts.

mod chain;
mod desk;
mod kernel;
mod memo;
mod memory;
mod product;
mod run;
mod shaders;
mod tensor;

use crate::bench::{
	chain::Shape,
	device::{COPIED, COPIES, Device, DeviceError, MAX_DEVICES, Rated, Run, copied_gbps},
	hash::Hash,
};
use kernel::{Code, Handle, Kernel, Use};
use parking_lot::{Mutex, MutexGuard};
use product::{Chosen, Product};
use std::{
	collections::{BTreeMap, BTreeSet},
	path::PathBuf,
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
	},
	time::Instant,
};
use wgpu::{Adapter, BufferUsages, DeviceType};

/// Which adapters are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
	/// None.
	Off,
	/// GPUs.
	#[default]
	Hardware,
	/// Software that plays a GPU, too. It is as slow as it must be and supports no class: for tests.
	Software,
}

/// Which kernels may compute the product.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernels {
	/// The fastest that is right, on each device.
	#[default]
	Fastest,
	/// The one that runs everywhere.
	Portable,
	/// One on matrix units; a device that has none is not used.
	Tensor,
}

/// How GPUs are used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
	/// Which adapters.
	pub choice: Choice,
	/// Which kernels.
	pub kernels: Kernels,
	/// Folder in which it is remembered which kernel was chosen, and that one crashes the driver; without one nothing is.
	pub memory: Option<PathBuf>,
}

impl From<Choice> for Options {
	fn from(choice: Choice) -> Self {
		Self {
			choice,
			..Default::default()
		}
	}
}

fn instance() -> wgpu::Instance {
	wgpu::Instance::new(wgpu::InstanceDescriptor {
		backends: wgpu::Backends::VULKAN,
		..wgpu::InstanceDescriptor::new_without_display_handle()
	})
}

/// The adapters of a choice, each piece of hardware once.
fn adapters(choice: Choice) -> Vec<Adapter> {
	if choice == Choice::Off {
		return Vec::new();
	}
	let instance = instance();
	let mut seen = BTreeSet::new();
	let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
	found.retain(|adapter| {
		let info = adapter.get_info();
		let wanted = match info.device_type {
			DeviceType::DiscreteGpu | DeviceType::IntegratedGpu | DeviceType::VirtualGpu => true,
			DeviceType::Cpu | DeviceType::Other => choice == Choice::Software,
		};
		// Two drivers can show the same hardware.
		let bus = &info.device_pci_bus_id;
		wanted && (bus.is_empty() || seen.insert(bus.clone()))
	});
	found.truncate(usize::from(MAX_DEVICES));
	found
}

/// The names of the adapters of a choice.
pub fn names(choice: Choice) -> Vec<String> {
	adapters(choice)
		.iter()
		.map(|adapter| adapter.get_info().name)
		.collect()
}

/// All adapters of a choice, ready to work. One that cannot be opened is left out, and said.
pub fn open(options: &Options) -> Vec<Arc<dyn Device>> {
	let mut out: Vec<Arc<dyn Device>> = Vec::new();
	for adapter in adapters(options.choice) {
		let name = adapter.get_info().name;
		match Gpu::open(&adapter, options) {
			Ok(gpu) => out.push(Arc::new(gpu)),
			Err(error) => {
				tracing::warn!(name, %error, "a GPU cannot be used and is not proved. See whether `vulkaninfo` lists it, and its driver's log")
			}
		}
	}
	out
}

/// One GPU.
pub struct Gpu {
	adapter: Adapter,
	options: Options,
	/// Made anew where the device was lost.
	shared: Mutex<Arc<Shared>>,
}

/// What a GPU and its runs share.
struct Shared {
	name: String,
	handle: Handle,
	fill: Kernel,
	product: Product,
	/// What the kernels for the product were found to do.
	rated: Vec<Rated>,
	leaves: Kernel,
	reduce: Kernel,
	/// A benchmark runs: what is not timed gives way.
	timed: AtomicBool,
	/// Held by whoever has work on the device. Locked before `kept`, where both are.
	work: Mutex<()>,
	/// What the last run keeps on the device. The next one takes its place.
	kept: Mutex<Option<(u64, Arc<memory::Memory>)>>,
	/// The walk's kernels, by the number of buffers that the window lies in.
	walks: Mutex<BTreeMap<usize, Arc<Kernel>>>,
}

impl Gpu {
	/// Opens an adapter.
	pub fn open(adapter: &Adapter, options: &Options) -> Result<Self, DeviceError> {
		Ok(Self {
			adapter: adapter.clone(),
			options: options.clone(),
			shared: Mutex::new(Arc::new(Shared::open(adapter, options)?)),
		})
	}

	/// The device. One that was lost is opened again; if that was over a kernel on matrix units, without them from
	/// then on: that it does what it should for a moment does not mean that it does for a chain.
	fn shared(&self) -> Result<Arc<Shared>, DeviceError> {
		let mut shared = self.shared.lock();
		if shared.handle.has_failed() {
			let kernels = match self.options.kernels {
				Kernels::Fastest => Kernels::Portable,
				asked => asked,
			};
			tracing::warn!(name = shared.name, "opening a lost GPU again");
			let options = Options {
				kernels,
				..self.options.clone()
			};
			*shared = Arc::new(Shared::open(&self.adapter, &options)?);
		}
		Ok(shared.clone())
	}
}

impl Device for Gpu {
	fn name(&self) -> String {
		self.adapter.get_info().name
	}

	fn kernels(&self) -> Vec<Rated> {
		let shared = self.shared.lock();
		shared.rated.clone()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let shared = self.shared()?;
		let _work = shared.idle()?;
		let handle = &shared.handle;
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

	fn start(&self, seed: Hash, shape: Shape, window: usize) -> Result<Box<dyn Run>, DeviceError> {
		let run = run::GpuRun::start(self.shared()?, seed, shape, window)?;
		Ok(Box::new(run))
	}
}

/// Marks that a benchmark runs, for as long as it is there.
struct Timed(Arc<Shared>);

impl Timed {
	fn begin(shared: &Arc<Shared>) -> Self {
		shared.timed.store(true, Ordering::SeqCst);
		Self(shared.clone())
	}
}

impl Drop for Timed {
	fn drop(&mut self) {
		self.0.timed.store(false, Ordering::SeqCst);
	}
}

impl Shared {
	fn open(adapter: &Adapter, options: &Options) -> Result<Self, DeviceError> {
		let Chosen {
			handle,
			product,
			rated,
		} = product::choose(adapter, options)?;
		let kernel = |name, code: String, uses: &[Use]| handle.kernel(name, Code::Wgsl(code), uses);
		use Use::{Read, Write};
		Ok(Self {
			name: adapter.get_info().name,
			fill: kernel("fill", shaders::fill(), &[Write])?,
			leaves: kernel("leaves", shaders::leaves(), &[Read, Write])?,
			reduce: kernel("reduce", shaders::reduce(), &[Read, Write])?,
			product,
			rated,
			handle,
			timed: AtomicBool::new(false),
			work: Mutex::new(()),
			kept: Mutex::new(None),
			walks: Mutex::default(),
		})
	}

	/// The walk's kernel over a window in so many buffers.
	fn walk_kernel(&self, buffers: usize) -> Result<Arc<Kernel>, DeviceError> {
		let mut walks = self.walks.lock();
		if let Some(kernel) = walks.get(&buffers) {
			return Ok(kernel.clone());
		}
		let mut uses = vec![Use::Write; 2];
		uses.resize(2 + buffers, Use::Read);
		let code = Code::Wgsl(shaders::walk(buffers));
		let made = Arc::new(self.handle.kernel("walk", code, &uses)?);
		walks.insert(buffers, made.clone());
		Ok(made)
	}

	/// For what is not timed: the device, unless a benchmark has it.
	fn idle(&self) -> Result<MutexGuard<'_, ()>, DeviceError> {
		let guard = self.work.lock();
		self.give_way()?;
		Ok(guard)
	}

	/// Whether a benchmark waits for the device.
	fn give_way(&self) -> Result<(), DeviceError> {
		if self.timed.load(Ordering::SeqCst) {
			Err(DeviceError::Busy)
		} else {
			Ok(())
		}
	}
}
