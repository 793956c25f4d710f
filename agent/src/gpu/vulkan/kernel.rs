//! An open device, its buffers, and the kernels that run on it.

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

/// Timeout for work submitted together, which takes a fraction of a second.
const LONGEST: Duration = Duration::from_secs(60);

/// A kernel's access to a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
	/// Read only.
	Read,
	/// Read and written.
	Write,
}

/// A kernel's code. Its entry point is `main`.
pub(super) enum Code {
	/// WGSL, which runs on every device.
	Wgsl(String),
	/// SPIR-V, for code that WGSL cannot express. The device's features must allow it.
	Spirv(Vec<u32>),
}

impl Code {
	/// Returns a hash of the code.
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

/// A compiled kernel, ready to be bound.
pub(super) struct Kernel {
	layout: BindGroupLayout,
	pipeline: ComputePipeline,
}

/// An open device and its queue.
pub(super) struct Handle {
	device: wgpu::Device,
	pub queue: wgpu::Queue,
	pub limits: wgpu::Limits,
	/// Whether its buffers can have addresses.
	pub addresses: bool,
	/// Set once the device is lost or rejects work: its results no longer count.
	failed: Arc<AtomicBool>,
	/// Number of kernels, buffers and bindings made.
	#[cfg(test)]
	made: std::sync::atomic::AtomicU32,
}

impl Handle {
	/// Opens an adapter with its maximum limits.
	pub fn open(adapter: &Adapter, features: wgpu::Features) -> Result<Self, DeviceError> {
		let limits = adapter.limits();
		let descriptor = |features| wgpu::DeviceDescriptor {
			label: Some("kaisar"),
			required_features: features,
			required_limits: limits.clone(),
			// SAFETY: the only experimental features in use are cooperative matrices and passthrough
			// shaders, which are our own code.
			experimental_features: unsafe { ExperimentalFeatures::enabled() },
			..Default::default()
		};
		let with_addresses = || {
			let opened = address::open(adapter, &descriptor(features | address::FEATURES));
			opened
				.inspect_err(|error| {
					tracing::warn!(
						%error,
						"cannot open a GPU with buffer addresses; opening it without, which makes walks over \
						 many buffers slow. A newer driver may help"
					)
				})
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
			// Dropping the device is not a loss.
			if reason != wgpu::DeviceLostReason::Destroyed {
				tracing::warn!(
					message,
					"a GPU is lost: its driver was reset or crashed; reopening it before its next use. Check dmesg"
				);
				flag.store(true, Ordering::SeqCst);
			}
		});
		let flag = failed.clone();
		device.on_uncaptured_error(Arc::new(move |error| {
			tracing::warn!(
				%error,
				"a GPU rejected its work; reopening it before its next use. If this recurs, update its driver"
			);
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

	/// Runs `act` on the device, and returns the error it caused, if any.
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

	/// Compiles a kernel. Binding 0 is its parameters, at an offset that each dispatch sets.
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
			// SAFETY: the code is our own and takes no outside input. Its indices stay within the buffers
			// that are bound, or whose addresses are: they follow from the shape, which is checked before,
			// and on matrix units from the number of subgroups, which the kernel checks.
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
							// Only for shader languages that do not state it themselves.
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

	/// Makes a buffer with an address, on a device that supports them. Work that uses the address does not
	/// hold the buffer: see [`Self::hold`].
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

	/// Holds something until all submitted work is done.
	pub fn hold(&self, held: impl Send + 'static) {
		self.queue.on_submitted_work_done(move || drop(held));
	}

	/// Returns whether the device was lost or rejected work.
	pub fn has_failed(&self) -> bool {
		self.failed.load(Ordering::SeqCst)
	}

	/// Marks the device failed: it must be reopened before its next use.
	pub fn fail(&self) {
		self.failed.store(true, Ordering::SeqCst);
	}

	/// Destroys the device, as when the GPU falls off the bus.
	#[cfg(test)]
	pub fn destroy(&self) {
		self.device.destroy();
	}

	/// Returns the number of kernels, buffers and bindings made.
	#[cfg(test)]
	pub fn made(&self) -> u32 {
		self.made.load(Ordering::SeqCst)
	}

	/// Waits until all submitted work is done. A driver that hangs counts as a lost device.
	pub fn wait(&self) -> Result<(), DeviceError> {
		let done = wgpu::PollType::Wait {
			submission_index: None,
			timeout: Some(LONGEST),
		};
		contained(|| self.device.poll(done).map(|_| ()).map_err(lost))?;
		if self.has_failed() {
			return Err(lost("it was lost, or rejected its work"));
		}
		Ok(())
	}

	/// Reads the first `size` bytes of a mappable buffer.
	pub fn read(&self, buffer: &Buffer, size: u64) -> Result<Vec<u8>, DeviceError> {
		let (done, result) = mpsc::channel();
		let slice = buffer.slice(..size);
		slice.map_async(wgpu::MapMode::Read, move |mapped| {
			// The receiver is gone only if the wait below failed.
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
	/// Dispatches workgroups in a new pass, with the parameters at an offset.
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

	/// Dispatches workgroups in an open pass.
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
