//! GPUs, through `wgpu`: Vulkan on Linux, its loader and driver found at run time. Nothing of a vendor's
//! is needed to build or to start.
//!
//! What a driver says of itself, its name included, is shown to people and never counts.

mod desk;
mod run;
mod shaders;

use crate::{
	chain::Shape,
	device::{COPIED, COPIES, Device, DeviceError, Run, copied_gbps},
	hash::Hash,
};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{
		Arc, Mutex, PoisonError,
		atomic::{AtomicBool, Ordering},
		mpsc,
	},
	time::Instant,
};
use wgpu::{
	Adapter, BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout,
	BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingResource, BindingType, Buffer,
	BufferBindingType, BufferDescriptor, BufferUsages, ComputePipeline, DeviceType, ShaderStages,
};

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

/// The most GPUs of one machine that are used.
pub const MAX_DEVICES: usize = 16;

fn lost(error: impl std::fmt::Display) -> DeviceError {
	DeviceError::Lost(error.to_string())
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
	found.truncate(MAX_DEVICES);
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
pub fn open(choice: Choice) -> Vec<Arc<dyn Device>> {
	let mut out: Vec<Arc<dyn Device>> = Vec::new();
	for adapter in adapters(choice) {
		let name = adapter.get_info().name;
		match Gpu::open(&adapter) {
			Ok(gpu) => out.push(Arc::new(gpu)),
			Err(error) => tracing::warn!(name, %error, "a GPU cannot be used"),
		}
	}
	out
}

/// A kernel, ready to be bound.
struct Kernel {
	layout: BindGroupLayout,
	pipeline: ComputePipeline,
}

/// One GPU.
pub struct Gpu {
	shared: Arc<Shared>,
}

/// What a GPU and its runs share.
struct Shared {
	name: String,
	device: wgpu::Device,
	queue: wgpu::Queue,
	limits: wgpu::Limits,
	fill: Kernel,
	step: Kernel,
	leaves: Kernel,
	reduce: Kernel,
	/// A benchmark runs: what is not timed gives way.
	timed: AtomicBool,
	/// Held by whoever has work on the device.
	work: Mutex<()>,
	/// What the last run keeps on the device. The next one takes its place.
	kept: Mutex<Option<(u64, Arc<run::Memory>)>>,
	/// The walk's kernels, by the number of buffers that the window lies in.
	walks: Mutex<BTreeMap<usize, Arc<Kernel>>>,
}

/// How a kernel uses a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
	/// Reads it.
	Read,
	/// Writes it.
	Write,
}

impl Gpu {
	/// Opens an adapter.
	pub fn open(adapter: &Adapter) -> Result<Self, DeviceError> {
		let limits = adapter.limits();
		let descriptor = wgpu::DeviceDescriptor {
			label: Some("kaisar"),
			required_limits: limits.clone(),
			..Default::default()
		};
		let (device, queue) =
			pollster::block_on(adapter.request_device(&descriptor)).map_err(lost)?;
		let kernel = |name, code: String, uses: &[Use]| kernel(&device, name, &code, uses);
		use Use::{Read, Write};
		Ok(Self {
			shared: Arc::new(Shared {
				name: adapter.get_info().name,
				fill: kernel("fill", shaders::fill(), &[Write])?,
				step: kernel("step", shaders::step(), &[Read, Read, Write])?,
				leaves: kernel("leaves", shaders::leaves(), &[Read, Write])?,
				reduce: kernel("reduce", shaders::reduce(), &[Read, Write])?,
				device,
				queue,
				limits,
				timed: AtomicBool::new(false),
				work: Mutex::new(()),
				kept: Mutex::new(None),
				walks: Mutex::default(),
			}),
		})
	}
}

impl Device for Gpu {
	fn name(&self) -> String {
		self.shared.name.clone()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let shared = &self.shared;
		let _work = shared.idle()?;
		let size = (COPIED as u64).min(shared.limits.max_buffer_size);
		let usage = BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let from = shared.buffer("from", size, usage)?;
		let to = shared.buffer("to", size, usage)?;
		let copy = |times| {
			let mut encoder = shared.device.create_command_encoder(&Default::default());
			for _ in 0..times {
				encoder.copy_buffer_to_buffer(&from, 0, &to, 0, Some(size));
			}
			shared.queue.submit([encoder.finish()]);
			shared.wait()
		};
		// The first makes the memory real.
		copy(1)?;
		let start = Instant::now();
		copy(COPIES)?;
		Ok(copied_gbps(size, start.elapsed()))
	}

	fn start(&self, seed: Hash, shape: Shape, window: usize) -> Result<Box<dyn Run>, DeviceError> {
		Ok(Box::new(run::GpuRun::start(
			self.shared.clone(),
			seed,
			shape,
			window,
		)?))
	}
}

/// A kernel from its code. Binding 0 is its parameters, at an offset that each dispatch names.
fn kernel(
	device: &wgpu::Device,
	name: &str,
	code: &str,
	uses: &[Use],
) -> Result<Kernel, DeviceError> {
	let entry = |binding: usize, ty, dynamic| BindGroupLayoutEntry {
		binding: binding as u32,
		visibility: ShaderStages::COMPUTE,
		ty: BindingType::Buffer {
			ty,
			has_dynamic_offset: dynamic,
			min_binding_size: None,
		},
		count: None,
	};
	let mut entries = vec![entry(0, BufferBindingType::Uniform, true)];
	for (at, used) in uses.iter().enumerate() {
		let read_only = *used == Use::Read;
		entries.push(entry(
			at + 1,
			BufferBindingType::Storage { read_only },
			false,
		));
	}
	checked(device, || {
		let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
			label: Some(name),
			entries: &entries,
		});
		let source = wgpu::ShaderModuleDescriptor {
			label: Some(name),
			source: wgpu::ShaderSource::Wgsl(code.into()),
		};
		// SAFETY: the code is ours, takes nothing from anybody else, and its indices stay within the
		// buffers that are bound to it: they follow from the shape, which is checked before.
		let module = unsafe {
			device.create_shader_module_trusted(source, wgpu::ShaderRuntimeChecks::unchecked())
		};
		let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
			label: Some(name),
			bind_group_layouts: &[Some(&layout)],
			..Default::default()
		});
		let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
			label: Some(name),
			layout: Some(&pipeline_layout),
			module: &module,
			entry_point: Some("main"),
			compilation_options: wgpu::PipelineCompilationOptions {
				zero_initialize_workgroup_memory: false,
				..Default::default()
			},
			cache: None,
		});
		Kernel { layout, pipeline }
	})
}

/// Does something with a device, and returns the error that it met, if it met one.
fn checked<T>(device: &wgpu::Device, act: impl FnOnce() -> T) -> Result<T, DeviceError> {
	let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
	let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
	let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
	let value = act();
	let validation = pollster::block_on(validation.pop());
	let memory = pollster::block_on(memory.pop());
	let internal = pollster::block_on(internal.pop());
	match (memory, validation.or(internal)) {
		(Some(error), _) => Err(DeviceError::Memory(error.to_string())),
		(None, Some(error)) => Err(lost(error)),
		(None, None) => Ok(value),
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
	fn buffer(&self, label: &str, size: u64, usage: BufferUsages) -> Result<Buffer, DeviceError> {
		checked(&self.device, || {
			self.device.create_buffer(&BufferDescriptor {
				label: Some(label),
				size,
				usage,
				mapped_at_creation: false,
			})
		})
	}

	/// Binds whole buffers.
	fn bind(
		&self,
		kernel: &Kernel,
		params: &Buffer,
		size: u64,
		buffers: &[&Buffer],
	) -> Result<BindGroup, DeviceError> {
		let whole = buffers.iter().map(|buffer| buffer.as_entire_binding());
		self.bind_parts(kernel, params, size, whole.collect())
	}

	/// Binds parts of buffers.
	fn bind_parts(
		&self,
		kernel: &Kernel,
		params: &Buffer,
		size: u64,
		parts: Vec<BindingResource<'_>>,
	) -> Result<BindGroup, DeviceError> {
		let params = BindingResource::Buffer(wgpu::BufferBinding {
			buffer: params,
			offset: 0,
			size: std::num::NonZeroU64::new(size),
		});
		let mut entries = vec![BindGroupEntry {
			binding: 0,
			resource: params,
		}];
		for (at, resource) in parts.into_iter().enumerate() {
			entries.push(BindGroupEntry {
				binding: at as u32 + 1,
				resource,
			});
		}
		checked(&self.device, || {
			self.device.create_bind_group(&BindGroupDescriptor {
				label: None,
				layout: &kernel.layout,
				entries: &entries,
			})
		})
	}

	/// The walk's kernel over a window in so many buffers.
	fn walk_kernel(&self, buffers: usize) -> Result<Arc<Kernel>, DeviceError> {
		let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
		if let Some(kernel) = walks.get(&buffers) {
			return Ok(kernel.clone());
		}
		let mut uses = vec![Use::Write; 2];
		uses.resize(2 + buffers, Use::Read);
		let made = Arc::new(kernel(
			&self.device,
			"walk",
			&shaders::walk(buffers),
			&uses,
		)?);
		walks.insert(buffers, made.clone());
		Ok(made)
	}

	/// Waits until all that was submitted is done.
	fn wait(&self) -> Result<(), DeviceError> {
		self.device
			.poll(wgpu::PollType::wait_indefinitely())
			.map(|_| ())
			.map_err(lost)
	}

	/// The first `size` bytes of a buffer that can be mapped.
	fn read(&self, buffer: &Buffer, size: u64) -> Result<Vec<u8>, DeviceError> {
		let (done, result) = mpsc::channel();
		let slice = buffer.slice(..size);
		slice.map_async(wgpu::MapMode::Read, move |mapped| {
			// Nobody listens any more only where the wait below has failed.
			let _ = done.send(mapped);
		});
		self.wait()?;
		result.recv().map_err(lost)?.map_err(lost)?;
		let bytes = slice.get_mapped_range().map_err(lost)?.to_vec();
		buffer.unmap();
		Ok(bytes)
	}

	/// For what is not timed: the device, unless a benchmark has it.
	fn idle(&self) -> Result<std::sync::MutexGuard<'_, ()>, DeviceError> {
		let guard = self.work.lock().unwrap_or_else(PoisonError::into_inner);
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
