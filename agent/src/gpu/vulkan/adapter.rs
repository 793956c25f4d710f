//! Adapters: the devices that Vulkan drivers show.

use crate::gpu::{Card, Choice, Kind, Uuid, Vendor};
use ash::vk;
use std::collections::BTreeSet;
use wgpu::{Adapter, DeviceType};

/// PCI vendor id of NVIDIA.
const NVIDIA: u32 = 0x10de;
/// PCI vendor id of AMD.
const AMD: u32 = 0x1002;

fn instance() -> wgpu::Instance {
	wgpu::Instance::new(wgpu::InstanceDescriptor {
		backends: wgpu::Backends::VULKAN,
		..wgpu::InstanceDescriptor::new_without_display_handle()
	})
}

/// Returns the adapters of a choice, each piece of hardware once.
pub fn adapters(choice: Choice) -> Vec<Adapter> {
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
	found
}

/// Describes an adapter.
pub fn card_of(adapter: &Adapter) -> Card {
	let info = adapter.get_info();
	let (uuid, memory) = identity(adapter).unwrap_or_default();
	Card {
		kind: match info.device_type {
			DeviceType::DiscreteGpu => Kind::Discrete,
			DeviceType::VirtualGpu => Kind::Virtual,
			DeviceType::IntegratedGpu => Kind::Integrated,
			DeviceType::Cpu | DeviceType::Other => Kind::Software,
		},
		vendor: match info.vendor {
			NVIDIA => Vendor::Nvidia,
			AMD => Vendor::Amd,
			_ => Vendor::Other,
		},
		bus: info.device_pci_bus_id.parse().ok(),
		uuid,
		memory,
		name: info.name,
	}
}

/// Returns an adapter's UUID and its bytes of memory, from Vulkan.
fn identity(adapter: &Adapter) -> Option<(Option<Uuid>, u64)> {
	// SAFETY: the queries are valid for the adapter's own instance, and no handle is kept or destroyed.
	unsafe {
		let adapter = adapter.as_hal::<wgpu::hal::vulkan::Api>()?;
		let instance = adapter.shared_instance();
		let (vulkan, physical) = (instance.raw_instance(), adapter.raw_physical_device());
		let memory = vulkan.get_physical_device_memory_properties(physical);
		let heaps = memory.memory_heaps_as_slice().iter();
		let most = heaps
			.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL))
			.map(|heap| heap.size)
			.max();
		let properties = vulkan.get_physical_device_properties(physical);
		let known = instance.instance_api_version().min(properties.api_version);
		let uuid = (known >= vk::API_VERSION_1_1).then(|| {
			let mut id = vk::PhysicalDeviceIDProperties::default();
			let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut id);
			vulkan.get_physical_device_properties2(physical, &mut properties);
			id.device_uuid
		});
		Some((uuid.and_then(Uuid::new), most.unwrap_or(0)))
	}
}
