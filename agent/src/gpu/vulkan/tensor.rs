//! The product on a GPU's matrix units ("tensor cores"), through Vulkan's cooperative matrices
//! (`VK_KHR_cooperative_matrix`): NVIDIA's, AMD's and Intel's by the same code.
//!
//! WGSL has no cooperative matrices of bytes, so this kernel is generated in SPIR-V. It computes the same as
//! [`super::shaders::step`], bit for bit, with the same bindings and parameters.
//!
//! A workgroup computes a *tile* of the sums, each of its subgroups a *region* of it, in accumulators that
//! the hardware spreads over the subgroup's registers. Along `k`, shared memory is double-buffered: while
//! one half holds a block of the rows of both matrices, the next block is loaded into registers, and then
//! stored in the other half.

mod code;
mod kernel;

use ash::{khr, vk};
use wgpu::Adapter;

pub use kernel::kernel;

/// The shape of a matrix unit's operation: `m × k` signed bytes times `k × n` signed bytes, added to `m × n`
/// sums of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
	/// Rows.
	pub m: u32,
	/// Columns.
	pub n: u32,
	/// Products per sum.
	pub k: u32,
}

/// The division of the work into tiles, regions and units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
	/// The hardware's operation.
	pub unit: Unit,
	/// Sums of a subgroup: rows, columns.
	pub region: (u32, u32),
	/// Regions of a workgroup: down, across.
	pub regions: (u32, u32),
	/// Bytes of each row in shared memory at a time.
	pub depth: u32,
	/// Invocations of a subgroup.
	pub subgroup: u32,
}

/// Regions, and their number in a workgroup. Those that suit most devices come first, since not all may be
/// tried.
const CUTS: [((u32, u32), (u32, u32)); 5] = [
	((64, 64), (2, 2)),
	((64, 32), (2, 4)),
	((64, 64), (4, 2)),
	((32, 32), (2, 2)),
	((16, 16), (2, 2)),
];
/// Bytes of each row in shared memory at a time.
const DEPTHS: [u32; 2] = [64, 32];
/// Maximum sums of an invocation: no device has enough registers for more.
const MOST_SUMS: u32 = 128;
/// Maximum side of a unit.
const MOST_SIDE: u32 = 256;
/// Padding in bytes after each row in shared memory, so that the parts of eight rows that are read together
/// lie in different banks.
const PADDING: u32 = 16;
/// Padding in bytes after each row of sums, which are read back row by row.
const SUMS_PADDING: u32 = 32;

/// Features that a device must support.
pub const FEATURES: wgpu::Features =
	wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::PASSTHROUGH_SHADERS);

/// Returns all plans that suit an adapter's matrix units.
pub fn plans_of(adapter: &Adapter) -> Vec<Plan> {
	let (units, subgroup) = units(adapter);
	// If a driver has units of several sizes, the smaller ones are parts of the largest.
	let largest = units
		.into_iter()
		.max_by_key(|unit| u64::from(unit.m) * u64::from(unit.n) * u64::from(unit.k));
	largest.map_or_else(Vec::new, |unit| plans(unit, subgroup, &adapter.limits()))
}

/// Returns the units that an adapter reports for signed bytes, and the invocations of its subgroups.
fn units(adapter: &Adapter) -> (Vec<Unit>, u32) {
	let none = (Vec::new(), 0);
	if !adapter.features().contains(FEATURES) {
		return none;
	}
	// SAFETY: the queries are valid for the adapter's own instance, and no handle is kept or destroyed.
	unsafe {
		let Some(adapter) = adapter.as_hal::<wgpu::hal::vulkan::Api>() else {
			return none;
		};
		let instance = adapter.shared_instance();
		let (vulkan, physical) = (instance.raw_instance(), adapter.raw_physical_device());
		let mut bytes = vk::PhysicalDeviceShaderFloat16Int8Features::default();
		let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut bytes);
		vulkan.get_physical_device_features2(physical, &mut features);
		if bytes.shader_int8 == vk::FALSE {
			return none;
		}
		// Subgroups have this size unless a kernel requests another.
		let mut subgroup = vk::PhysicalDeviceSubgroupProperties::default();
		let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut subgroup);
		vulkan.get_physical_device_properties2(physical, &mut properties);
		let cooperative = khr::cooperative_matrix::Instance::new(instance.entry(), vulkan);
		match cooperative.get_physical_device_cooperative_matrix_properties(physical) {
			Ok(units) => {
				let units = units.iter().filter_map(for_bytes).collect();
				(units, subgroup.subgroup_size)
			}
			Err(error) => {
				tracing::warn!(
					%error,
					"a GPU's driver does not list its matrix units; using a slower kernel. A newer driver may help"
				);
				none
			}
		}
	}
}

/// Returns the unit if it multiplies signed bytes, within a subgroup, into sums that wrap.
fn for_bytes(unit: &vk::CooperativeMatrixPropertiesKHR<'_>) -> Option<Unit> {
	let (byte, sum) = (vk::ComponentTypeKHR::SINT8, vk::ComponentTypeKHR::SINT32);
	let wanted = [unit.a_type, unit.b_type] == [byte; 2]
		&& [unit.c_type, unit.result_type] == [sum; 2]
		&& unit.scope == vk::ScopeKHR::SUBGROUP
		&& unit.saturating_accumulation == vk::FALSE;
	wanted.then_some(Unit {
		m: unit.m_size,
		n: unit.n_size,
		k: unit.k_size,
	})
}

/// Returns the plans that suit a unit and subgroups of `subgroup` invocations.
fn plans(unit: Unit, subgroup: u32, limits: &wgpu::Limits) -> Vec<Plan> {
	let cuts = CUTS.into_iter().flat_map(|(region, regions)| {
		DEPTHS.map(|depth| Plan {
			unit,
			region,
			regions,
			depth,
			subgroup,
		})
	});
	cuts.filter(|plan| plan.fits(limits)).collect()
}

impl Plan {
	/// Returns the rows and columns of sums that a workgroup computes.
	pub fn tile(&self) -> (u32, u32) {
		(
			self.region.0 * self.regions.0,
			self.region.1 * self.regions.1,
		)
	}

	/// Returns the invocations of a workgroup.
	fn invocations(&self) -> u32 {
		self.regions.0 * self.regions.1 * self.subgroup
	}

	/// Returns the size in bytes of an element: the bytes moved at a time.
	fn element(&self) -> u32 {
		self.unit.k.min(16)
	}

	/// Returns the elements from one row in shared memory to the next.
	fn stride(&self) -> u32 {
		(self.depth + PADDING) / self.element()
	}

	/// Returns the elements of each half of shared memory.
	fn half(&self) -> u32 {
		let (rows, columns) = self.tile();
		(rows + columns) * self.stride()
	}

	/// Returns the elements of either matrix that each invocation moves per block.
	fn moved(&self) -> (u32, u32) {
		let each = |rows: u32| rows * self.depth / self.element() / self.invocations();
		(each(self.tile().0), each(self.tile().1))
	}

	/// Returns the units of a region: down, across.
	fn accumulators(&self) -> (u32, u32) {
		(self.region.0 / self.unit.m, self.region.1 / self.unit.n)
	}

	/// Returns the elements from one row of sums to the next while they are mixed.
	fn sums_stride(&self) -> u32 {
		(self.region.1 * 4 + SUMS_PADDING) / self.element()
	}

	/// Returns the elements of a subgroup's scratch space for its sums: a row of units.
	fn scratch(&self) -> u32 {
		self.unit.m * self.sums_stride()
	}

	/// Returns whether a device can run it and all divisions are exact.
	fn fits(&self, limits: &wgpu::Limits) -> bool {
		let Unit { m, n, k } = self.unit;
		let sizes = [m, n, k, self.subgroup];
		let even = |side: u32| side.is_power_of_two() && side <= MOST_SIDE;
		if !sizes.into_iter().all(even) || k < 8 || n < 4 {
			return false;
		}
		let (rows, columns) = self.tile();
		let invocations = self.invocations();
		let elements = |rows: u32| rows * self.depth / self.element();
		let subgroups = self.regions.0 * self.regions.1;
		self.region.0 >= m
			&& self.region.1 >= n
			&& self.depth >= k
			&& self.region.0 * self.region.1 <= MOST_SUMS * self.subgroup
			&& invocations <= limits.max_compute_invocations_per_workgroup
			&& invocations <= limits.max_compute_workgroup_size_x
			&& elements(rows) >= invocations
			&& elements(columns) >= invocations
			&& 2 * self.half() * self.element() <= limits.max_compute_workgroup_storage_size
			&& subgroups * self.scratch() <= 2 * self.half()
	}
}

impl std::fmt::Display for Plan {
	fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
		let Unit { m, n, k } = self.unit;
		let (rows, columns) = self.tile();
		let (down, across) = self.region;
		write!(
			f,
			"{m}×{n}×{k} units, {rows}×{columns} tiles of {down}×{across}, {} deep, subgroups of {}",
			self.depth, self.subgroup
		)
	}
}

#[cfg(test)]
pub mod tests;
