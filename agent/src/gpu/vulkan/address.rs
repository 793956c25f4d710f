//! Reads through buffer addresses, which WGSL lacks.
//!
//! A binding names one buffer, so a kernel over many buffers needs a branch for each; addresses need none. A
//! kernel that uses them is written in WGSL with a placeholder function for the read, and translated to
//! SPIR-V with `wgpu`'s own settings; there the function gets its body. `wgpu` enables addresses only for
//! ray tracing, so the layer below it makes the device and the buffers.

use crate::{gpu::backend::lost, trial::device::DeviceError};
use ash::{khr, vk};
use rspirv::{
	binary::Assemble,
	dr::{Builder, Operand, load_words},
	spirv::{
		AddressingModel, Capability, Decoration, MemoryAccess, MemoryModel, StorageClass, Word,
	},
};
use std::fmt::Display;
use wgpu::{
	Adapter, Buffer, BufferDescriptor, BufferUses, Device, DeviceDescriptor, Features, Queue,
	hal::{self, Device as _, vulkan::Api},
	naga::{
		back::spv::{self, Options, WriterFlags, ZeroInitializeWorkgroupMemoryMode},
		front::wgsl,
		valid::{Capabilities, ValidationFlags, Validator},
	},
};

/// Name of the placeholder function: it takes an address, in two words, and an index, and returns a
/// `vec4<u32>`.
pub const READ: &str = "at_address";

/// Bytes of a read.
const READ_BYTES: u32 = 16;

/// Features of `wgpu` that kernels with addresses need.
pub const FEATURES: Features = Features::PASSTHROUGH_SHADERS;

/// Returns whether an adapter supports buffer addresses, and kernels that use them.
pub fn has(adapter: &Adapter) -> bool {
	if !adapter.features().contains(FEATURES) {
		return false;
	}
	// SAFETY: the queries are valid for the adapter's own instance, and no handle is kept or destroyed.
	unsafe {
		let Some(adapter) = adapter.as_hal::<Api>() else {
			return false;
		};
		let capabilities = adapter.physical_device_capabilities();
		let instance = adapter.shared_instance();
		let version = capabilities.properties().api_version;
		// SPIR-V 1.5 and `vkGetBufferDeviceAddress` came with Vulkan 1.2.
		if instance.instance_api_version().min(version) < vk::API_VERSION_1_2
			|| !capabilities.supports_extension(khr::buffer_device_address::NAME)
		{
			return false;
		}
		let mut addresses = vk::PhysicalDeviceBufferDeviceAddressFeatures::default();
		let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut addresses);
		let vulkan = instance.raw_instance();
		vulkan.get_physical_device_features2(adapter.raw_physical_device(), &mut features);
		addresses.buffer_device_address == vk::TRUE
	}
}

/// Opens an adapter that [`has`] addresses, with addresses enabled.
pub fn open(
	adapter: &Adapter,
	descriptor: &DeviceDescriptor<'_>,
) -> Result<(Device, Queue), DeviceError> {
	let mut addresses =
		vk::PhysicalDeviceBufferDeviceAddressFeatures::default().buffer_device_address(true);
	let addresses = &mut addresses;
	// SAFETY: features and limits are the adapter's, which has the extension and the feature that are added;
	// `wgpu` adds neither to a device without ray tracing. The device is handed to the adapter that made it.
	unsafe {
		let device = {
			let adapter = adapter.as_hal::<Api>();
			let adapter = adapter.ok_or_else(|| lost("its adapter is not Vulkan's: a bug"))?;
			adapter.open_with_callback(
				descriptor.required_features,
				&descriptor.required_limits,
				&descriptor.memory_hints,
				Some(Box::new(move |args| {
					args.extensions.push(khr::buffer_device_address::NAME);
					*args.create_info = std::mem::take(args.create_info).push_next(addresses);
				})),
			)
		};
		adapter
			.create_device_from_hal(device.map_err(lost)?, descriptor)
			.map_err(lost)
	}
}

/// Makes a buffer on a device opened for addresses, and returns it with its address. `wgpu` does not track
/// uses by address: the caller must hold the buffer until they are over.
pub fn buffer(
	device: &Device,
	descriptor: &BufferDescriptor<'_>,
) -> Result<(Buffer, u64), DeviceError> {
	// SAFETY: the buffer is handed to the device that made it, and allows all uses that the descriptor
	// names.
	unsafe {
		let (made, address) = {
			let hal = device.as_hal::<Api>();
			let hal = hal.ok_or_else(|| lost("its device is not Vulkan's: a bug"))?;
			let made = hal.create_buffer(&hal::BufferDescriptor {
				label: descriptor.label,
				size: descriptor.size,
				// The last one gives the storage buffer an address.
				usage: BufferUses::COPY_SRC
					| BufferUses::COPY_DST
					| BufferUses::STORAGE_READ_ONLY
					| BufferUses::STORAGE_READ_WRITE
					| BufferUses::ACCELERATION_STRUCTURE_SCRATCH,
				memory_flags: hal::MemoryFlags::empty(),
			});
			let made = made.map_err(|error| match error {
				hal::DeviceError::OutOfMemory => DeviceError::Memory(error.to_string()),
				error => lost(error),
			})?;
			let info = vk::BufferDeviceAddressInfo::default().buffer(made.raw_handle());
			let address = hal.raw_device().get_buffer_device_address(&info);
			(made, address)
		};
		let buffer = device.create_buffer_from_hal::<Api>(made, descriptor);
		Ok((buffer, address))
	}
}

fn wrong(error: impl Display) -> DeviceError {
	lost(format!("cannot build a kernel: {error}"))
}

/// Translates a kernel to SPIR-V 1.5, with the read in place of the placeholder.
pub fn kernel(code: &str) -> Result<Vec<u32>, DeviceError> {
	let module = wgsl::parse_str(code).map_err(wrong)?;
	let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
		.validate(&module)
		.map_err(wrong)?;
	let options = Options {
		lang_version: (1, 5),
		// Names, to find the function by.
		flags: WriterFlags::DEBUG,
		// Bindings have the numbers in the code.
		fake_missing_bindings: true,
		// The checks that `ShaderRuntimeChecks::unchecked` omits.
		zero_initialize_workgroup_memory: ZeroInitializeWorkgroupMemoryMode::None,
		force_loop_bounding: false,
		emit_int_div_checks: false,
		..Default::default()
	};
	let words = spv::write_vec(&module, &info, &options, None).map_err(wrong)?;
	with_read(&words)
}

/// Gives the placeholder function its body.
fn with_read(words: &[u32]) -> Result<Vec<u32>, DeviceError> {
	let mut b = Builder::new_from_module(load_words(words).map_err(wrong)?);
	b.capability(Capability::PhysicalStorageBufferAddresses);
	b.memory_model(
		AddressingModel::PhysicalStorageBuffer64,
		MemoryModel::GLSL450,
	);
	let word = b.type_int(32, 0);
	let vector = b.type_vector(word, READ_BYTES / 4);
	let buffer = buffer_of(&mut b, vector);
	let class = StorageClass::PhysicalStorageBuffer;
	let to_buffer = b.type_pointer(None, class, buffer);
	let to_vector = b.type_pointer(None, class, vector);
	let zero = b.constant_bit32(word, 0);
	b.select_function_by_name(READ).map_err(wrong)?;
	let selected = b.selected_function();
	let function = selected.and_then(|at| b.module_mut().functions.get_mut(at));
	let function = function.ok_or_else(|| wrong("it does not read by address"))?;
	let parameters = function.parameters.iter().map(|one| one.result_id);
	let [Some(address), Some(index)] = parameters.collect::<Vec<_>>()[..] else {
		return Err(wrong("its read by address has other parameters"));
	};
	function.blocks.clear();
	let mut body = || {
		b.begin_block(None)?;
		let buffer = b.bitcast(to_buffer, None, address)?;
		let at = b.access_chain(to_vector, None, buffer, [zero, index])?;
		let aligned = [Operand::LiteralBit32(READ_BYTES)];
		let value = b.load(vector, None, at, Some(MemoryAccess::ALIGNED), aligned)?;
		b.ret_value(value)
	};
	body().map_err(wrong)?;
	Ok(b.module().assemble())
}

/// Makes the type of a buffer of vectors.
fn buffer_of(b: &mut Builder, vector: Word) -> Word {
	// New ids: an existing type already has decorations.
	let [array, buffer] = std::array::from_fn(|_| b.id());
	b.type_runtime_array_id(Some(array), vector);
	let stride = [Operand::LiteralBit32(READ_BYTES)];
	b.decorate(array, Decoration::ArrayStride, stride);
	b.type_struct_id(Some(buffer), [array]);
	b.decorate(buffer, Decoration::Block, []);
	let offset = [Operand::LiteralBit32(0)];
	b.member_decorate(buffer, 0, Decoration::Offset, offset);
	b.member_decorate(buffer, 0, Decoration::NonWritable, []);
	buffer
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::gpu::vulkan::{shaders, tensor::tests::with_newer_mesa};

	#[test]
	fn a_kernel_that_reads_by_addresses_is_valid() {
		let words = kernel(&shaders::walk_by_addresses()).unwrap();
		let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
		let dir = tempfile::tempdir().unwrap();
		let file = dir.path().join("walk.spv");
		std::fs::write(&file, bytes).unwrap();
		let output = with_newer_mesa("spirv-val")
			.args(["--target-env", "vulkan1.2"])
			.arg(&file)
			.output()
			.unwrap();
		let said = String::from_utf8_lossy(&output.stderr);
		assert!(output.status.success(), "{said}");
	}

	#[test]
	fn a_kernel_without_reads_is_refused() {
		assert!(kernel(&shaders::walk_by_branches(2)).is_err());
		assert!(kernel("nothing").is_err());
	}
}
