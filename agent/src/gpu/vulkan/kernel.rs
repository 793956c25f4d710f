//! An opened device, its buffers, and the kernels that run on it.

use super::address;
use crate::{
	gpu::backend::{contained, lost},
	trial::device::DeviceError,
};
use std::{
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
		mpsc,
	},
	time::Duration,
};
use wgpu::{
	Adapter, BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout,
	BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingResource, BindingType, Buffer,
	BufferBindingType, BufferDescriptor, BufferUsages, CommandEncoder, ComputePass,
	ComputePassDescriptor, ComputePipeline, ExperimentalFeatures, PassthroughShaderEntryPoint,
	ShaderModuleDescriptor, ShaderModuleDescriptorPassthrough, ShaderSource, ShaderStages,
};

/// Longest that a driver may take for what is submitted together, a fraction of a second of work.
const LONGEST: Duration = Duration::from_secs(60);

/// How a kernel uses a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
	/// Reads it.
	Read,
	/// Writes it.
	Write,
}

/// A kernel's code. Its entry point is `main`.
pub(super) enum Code {
	/// In WGSL, which runs on every device.
	Wgsl(String),
	/// In SPIR-V, for what WGSL cannot say. `features` of the device must allow it.
	Spirv(Vec<u32>),
}

impl Code {
	/// Tells it from every other code.
	pub fn fingerprint(&self) -> String {
		let hash = match self {
			Self::Wgsl(code) => blake3::hash(code.as_bytes()),
			Self::Spirv(words) => {
				let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
				blake3::hash(&bytes)
			}
		};
		hash.to_hex().to_string()
	}
}

/// A kernel, ready to be bound.
pub(super) struct Kernel {
	layout: BindGroupLayout,
	pipeline: ComputePipeline,
}

/// A device that is open, and where its work is queued.
pub(super) struct Handle {
	device: wgpu::Device,
	pub queue: wgpu::Queue,
	pub limits: wgpu::Limits,
	/// Its buffers can have addresses.
	pub addresses: bool,
	/// The device is gone, or did not do what it was told: nothing that it says counts any more.
	failed: Arc<AtomicBool>,
	/// Kernels, buffers and bindings that were made.
	#[cfg(test)]
	made: std::sync::atomic::AtomicU32,
}

impl Handle {
	/// Opens an adapter, with all that it can hold.
	pub fn open(adapter: &Adapter, features: wgpu::Features) -> Result<Self, DeviceError> {
		let limits = adapter.limits();
		let descriptor = |features| wgpu::DeviceDescriptor {
			label: Some("kaisar"),
			required_features: features,
			required_limits: limits.clone(),
			// SAFETY: the only experimental parts in use are cooperative matrices, and kernels that wgpu passes on as
			// they are; these are ours.
			experimental_features: unsafe { ExperimentalFeatures::enabled() },
			..Default::default()
		};
		let with_addresses = || {
			let opened = address::open(adapter, &descriptor(features | address::FEATURES));
			opened
				.inspect_err(|error| tracing::warn!(%error, "a GPU cannot be opened for addresses"))
				.ok()
		};
		let opened = address::has(adapter).then(with_addresses).flatten();
		let addresses = opened.is_some();
		let (device, queue) = match opened {
			Some(opened) => opened,
			None => {
				let descriptor = descriptor(features);
				pollster::block_on(adapter.request_device(&descriptor)).map_err(lost)?
			}
		};
		let failed = Arc::new(AtomicBool::new(false));
		let flag = failed.clone();
		device.set_device_lost_callback(move |reason, message| {
			// Not where it is given back.
			if reason != wgpu::DeviceLostReason::Destroyed {
				tracing::warn!(message, "a GPU is lost: its driver was reset or crashed");
				flag.store(true, Ordering::SeqCst);
			}
		});
		let flag = failed.clone();
		device.on_uncaptured_error(Arc::new(move |error| {
			tracing::warn!(%error, "a GPU refuses its work; it is opened again when it is needed");
			flag.store(true, Ordering::SeqCst);
		}));
		Ok(Self {
			device,
			queue,
			limits,
			addresses,
			failed,
			#[cfg(test)]
			made: Default::default(),
		})
	}

	/// Does something with the device, and returns the error that it met, if it met one.
	fn checked<T>(&self, act: impl FnOnce(&wgpu::Device) -> T) -> Result<T, DeviceError> {
		#[cfg(test)]
		self.made.fetch_add(1, Ordering::SeqCst);
		let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
		let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
		let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
		let value = act(&self.device);
		let validation = pollster::block_on(validation.pop());
		let memory = pollster::block_on(memory.pop());
		let internal = pollster::block_on(internal.pop());
		match (memory, validation.or(internal)) {
			(Some(error), _) => Err(DeviceError::Memory(error.to_string())),
			(None, Some(error)) => Err(lost(error)),
			(None, None) => Ok(value),
		}
	}

	/// A kernel from its code. Binding 0 is its parameters, at an offset that each dispatch names.
	pub fn kernel(&self, name: &str, code: Code, uses: &[Use]) -> Result<Kernel, DeviceError> {
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
			let ty = BufferBindingType::Storage { read_only };
			entries.push(entry(at + 1, ty, false));
		}
		self.checked(|device| {
			let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
				label: Some(name),
				entries: &entries,
			});
			// SAFETY: the code is ours, takes nothing from anybody else, and its indices stay within the
			// buffers that are bound to it, or whose addresses are: they follow from the shape, which is checked
			// before, and, in what uses matrix units, from the number of subgroups, which the kernel checks.
			let module = unsafe {
				match code {
					Code::Wgsl(code) => {
						let source = ShaderModuleDescriptor {
							label: Some(name),
							source: ShaderSource::Wgsl(code.into()),
						};
						let unchecked = wgpu::ShaderRuntimeChecks::unchecked();
						device.create_shader_module_trusted(source, unchecked)
					}
					Code::Spirv(code) => {
						let entry_points = vec![PassthroughShaderEntryPoint {
							name: "main".into(),
							// Only where the shader's language does not say it itself.
							workgroup_size: (1, 1, 1),
						}];
						device.create_shader_module_passthrough(ShaderModuleDescriptorPassthrough {
							label: Some(name),
							entry_points: entry_points.into(),
							spirv: Some(code.into()),
							..Default::default()
						})
					}
				}
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

	pub fn buffer(
		&self,
		label: &str,
		size: u64,
		usage: BufferUsages,
	) -> Result<Buffer, DeviceError> {
		self.checked(|device| {
			device.create_buffer(&BufferDescriptor {
				label: Some(label),
				size,
				usage,
				mapped_at_creation: false,
			})
		})
	}

	/// Makes a buffer with an address, on a device that has them. Work that uses the address does not hold the buffer:
	/// see [`Self::hold`].
	pub fn addressed(
		&self,
		label: &str,
		size: u64,
		usage: BufferUsages,
	) -> Result<(Buffer, u64), DeviceError> {
		let descriptor = BufferDescriptor {
			label: Some(label),
			size,
			usage,
			mapped_at_creation: false,
		};
		self.checked(|device| address::buffer(device, &descriptor))?
	}

	/// Binds whole buffers.
	pub fn bind(
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
	pub fn bind_parts(
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
		self.checked(|device| {
			device.create_bind_group(&BindGroupDescriptor {
				label: None,
				layout: &kernel.layout,
				entries: &entries,
			})
		})
	}

	pub fn encoder(&self) -> CommandEncoder {
		self.device.create_command_encoder(&Default::default())
	}

	pub fn submit(&self, encoder: CommandEncoder) {
		self.queue.submit([encoder.finish()]);
	}

	/// Holds something until all that was submitted is done.
	pub fn hold(&self, held: impl Send + 'static) {
		self.queue.on_submitted_work_done(move || drop(held));
	}

	/// Whether the device is gone, or did not do what it was told.
	pub fn has_failed(&self) -> bool {
		self.failed.load(Ordering::SeqCst)
	}

	/// Notes that the device is of no use any more: it is opened again before it is used again.
	pub fn fail(&self) {
		self.failed.store(true, Ordering::SeqCst);
	}

	/// Has the driver take the device away, as it does where the GPU falls off the bus.
	#[cfg(test)]
	pub fn destroy(&self) {
		self.device.destroy();
	}

	/// Returns the number of kernels, buffers and bindings that were made.
	#[cfg(test)]
	pub fn made(&self) -> u32 {
		self.made.load(Ordering::SeqCst)
	}

	/// Waits until all that was submitted is done. A driver that hangs has lost the device.
	pub fn wait(&self) -> Result<(), DeviceError> {
		let done = wgpu::PollType::Wait {
			submission_index: None,
			timeout: Some(LONGEST),
		};
		contained(|| self.device.poll(done).map(|_| ()).map_err(lost))?;
		if self.has_failed() {
			return Err(lost("it did not do what it was told"));
		}
		Ok(())
	}

	/// The first `size` bytes of a buffer that can be mapped.
	pub fn read(&self, buffer: &Buffer, size: u64) -> Result<Vec<u8>, DeviceError> {
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
}

impl Kernel {
	/// Runs a number of workgroups, with the parameters at an offset.
	pub fn dispatch(
		&self,
		encoder: &mut CommandEncoder,
		bound: &BindGroup,
		offset: u32,
		groups: (u32, u32),
	) {
		let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
		self.dispatch_in(&mut pass, bound, offset, groups);
	}

	/// The same in a pass that has begun.
	pub fn dispatch_in(
		&self,
		pass: &mut ComputePass<'_>,
		bound: &BindGroup,
		offset: u32,
		(across, down): (u32, u32),
	) {
		pass.set_pipeline(&self.pipeline);
		pass.set_bind_group(0, bound, &[offset]);
		pass.dispatch_workgroups(across, down, 1);
	}
}
