//! The product on a GPU's matrix units ("tensor cores"), through Vulkan's cooperative matrices
//! (`VK_KHR_cooperative_matrix`): NVIDIA's, AMD's and Intel's by the same code.
//!
//! WGSL knows no cooperative matrices of bytes, so this kernel is written in SPIR-V, by a program. What it
//! computes is what [`super::shaders::step`] computes, bit for bit; bindings and parameters are the same.
//!
//! A workgroup computes a *tile* of the sums, each of its subgroups a *region* of it, in accumulators that the
//! hardware spreads over the subgroup's registers. Along `k`, a block of the rows of both matrices is in shared
//! memory while the next is on its way from memory into registers, and goes to the other half of shared memory.

use ash::{khr, vk};
use rspirv::{
	binary::Assemble,
	dr::{Builder, Error, Operand},
	spirv::{
		AddressingModel, BuiltIn, Capability, CooperativeMatrixLayout, CooperativeMatrixOperands,
		CooperativeMatrixUse, Decoration, ExecutionMode, ExecutionModel, FunctionControl,
		LoopControl, MemoryAccess, MemoryModel, MemorySemantics, Scope, SelectionControl,
		StorageClass, Word,
	},
};
use std::collections::BTreeMap;
use wgpu::Adapter;

/// What a matrix unit does at once: `m × k` signed bytes times `k × n` signed bytes, added to `m × n` sums of
/// 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
	/// Rows.
	pub m: u32,
	/// Columns.
	pub n: u32,
	/// Products a sum.
	pub k: u32,
}

/// How the work is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
	/// What the hardware does at once.
	pub unit: Unit,
	/// Sums of a subgroup: rows, columns.
	pub region: (u32, u32),
	/// Regions of a workgroup: down, across.
	pub regions: (u32, u32),
	/// Bytes of each row that are in shared memory at a time.
	pub depth: u32,
	/// Invocations of a subgroup.
	pub subgroup: u32,
}

/// Regions, and how many of them a workgroup has. What suits most devices comes first: not all may be tried.
const CUTS: [((u32, u32), (u32, u32)); 5] = [
	((64, 64), (2, 2)),
	((64, 32), (2, 4)),
	((64, 64), (4, 2)),
	((32, 32), (2, 2)),
	((16, 16), (2, 2)),
];
/// Bytes of each row that are in shared memory at a time.
const DEPTHS: [u32; 2] = [64, 32];
/// Sums that an invocation holds, at most: with more, no device has registers enough.
const MOST_SUMS: u32 = 128;
/// A unit's side, at most.
const MOST_SIDE: u32 = 256;
/// Between two rows in shared memory there are so many bytes more than a row has, so that the parts of eight
/// rows that are read together lie in different banks.
const PADDING: u32 = 16;
/// The same for the sums, which are read back row by row.
const SUMS_PADDING: u32 = 32;
/// Rows of tiles whose tiles are computed one below the other before it goes on to the right: what they read
/// stays in the cache.
const BAND: u32 = 8;

/// What a device must be asked for.
pub const FEATURES: wgpu::Features =
	wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::PASSTHROUGH_SHADERS);

/// All plans by which an adapter's matrix units can be used.
pub fn plans_of(adapter: &Adapter) -> Vec<Plan> {
	let (units, subgroup) = units(adapter);
	// Where a driver has units of several sizes, the smaller ones are parts of the largest.
	let largest = units
		.into_iter()
		.max_by_key(|unit| u64::from(unit.m) * u64::from(unit.n) * u64::from(unit.k));
	largest.map_or_else(Vec::new, |unit| plans(unit, subgroup, &adapter.limits()))
}

/// The units that an adapter says it has for signed bytes, and the invocations of its subgroups.
fn units(adapter: &Adapter) -> (Vec<Unit>, u32) {
	let none = (Vec::new(), 0);
	if !adapter.features().contains(FEATURES) {
		return none;
	}
	// SAFETY: what is asked is what the instance that the adapter belongs to can be asked, and nothing of it is
	// kept or destroyed.
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
		// A kernel that asks for nothing else has subgroups of this size and no other.
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
				tracing::warn!(%error, "a driver does not say what its matrix units are");
				none
			}
		}
	}
}

/// A unit, if it multiplies signed bytes, within a subgroup, into sums that wrap.
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

/// The plans by which a unit can be used where subgroups have so many invocations.
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
	/// Rows and columns of sums that a workgroup computes.
	pub fn tile(&self) -> (u32, u32) {
		(
			self.region.0 * self.regions.0,
			self.region.1 * self.regions.1,
		)
	}

	/// Invocations of a workgroup.
	fn invocations(&self) -> u32 {
		self.regions.0 * self.regions.1 * self.subgroup
	}

	/// Bytes that are moved at a time.
	fn element(&self) -> u32 {
		self.unit.k.min(16)
	}

	/// Elements from one row in shared memory to the next.
	fn stride(&self) -> u32 {
		(self.depth + PADDING) / self.element()
	}

	/// Elements of each half of shared memory.
	fn half(&self) -> u32 {
		let (rows, columns) = self.tile();
		(rows + columns) * self.stride()
	}

	/// Elements that each invocation moves, of either matrix, for each block.
	fn moved(&self) -> (u32, u32) {
		let each = |rows: u32| rows * self.depth / self.element() / self.invocations();
		(each(self.tile().0), each(self.tile().1))
	}

	/// Units of a region: down, across.
	fn accumulators(&self) -> (u32, u32) {
		(self.region.0 / self.unit.m, self.region.1 / self.unit.n)
	}

	/// Elements from one row of sums to the next, where they are mixed.
	fn sums_stride(&self) -> u32 {
		(self.region.1 * 4 + SUMS_PADDING) / self.element()
	}

	/// Elements that a subgroup has for its sums there: a row of units.
	fn scratch(&self) -> u32 {
		self.unit.m * self.sums_stride()
	}

	/// Whether a device can run it, and whether all divisions come out even.
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

/// Row and column, in a block of so many columns, of the element that is moved as `index`-th. Of eight that follow each
/// other, which a device stores to shared memory at once, two lie beside each other in each of four rows, every second
/// one: so they lie in eight different places of its banks, whatever the block's depth. In memory, two are read whole.
#[cfg(test)]
fn place(index: u32, columns: u32) -> (u32, u32) {
	let (low, rest) = (index % 2, index / 2);
	let (middle, rest) = (rest % 4, rest / 4);
	let (high, rest) = (rest % (columns / 2), rest / (columns / 2));
	let (odd, eights) = (rest % 2, rest / 2);
	(8 * eights + 2 * middle + odd, 2 * high + low)
}

/// The kernel of a plan, in SPIR-V 1.5. The entry point is `main`.
pub fn kernel(plan: &Plan) -> Result<Vec<u32>> {
	let mut code = Code::new(plan);
	code.main()?;
	Ok(code.b.module().assemble())
}

/// What barriers order: what was written to shared memory before is read after.
const SHARED: u32 = MemorySemantics::ACQUIRE_RELEASE.bits()
	| MemorySemantics::WORKGROUP_MEMORY.bits()
	| MemorySemantics::MAKE_AVAILABLE.bits()
	| MemorySemantics::MAKE_VISIBLE.bits();

type Result<T, E = Error> = std::result::Result<T, E>;

/// A kernel that is being written. All values are unsigned, of 32 bits, unless they say otherwise.
struct Code {
	b: Builder,
	plan: Plan,
	constants: BTreeMap<u32, Word>,
	void: Word,
	bool: Word,
	u32: Word,
	/// What is moved at a time: a vector of words.
	element: Word,
	/// Matrices of the units.
	a: Word,
	x: Word,
	sums: Word,
	/// Variables of the module.
	params: Word,
	from_a: Word,
	from_x: Word,
	to: Word,
	shared: Word,
	group: Word,
	local: Word,
	subgroup: Word,
	subgroups: Word,
	lane: Word,
	pointers: Pointers,
}

/// Pointer types.
struct Pointers {
	param: Word,
	buffer: Word,
	word: Word,
	shared: Word,
	input: Word,
	local: Word,
	local_element: Word,
	local_sums: Word,
}

/// What the whole kernel knows.
struct Known {
	/// Words of a row, elements of a row.
	row_words: Word,
	row_elements: Word,
	t: Word,
	/// The tile's first row and column.
	first_i: Word,
	first_j: Word,
	me: Word,
	/// Where the region is in the tile.
	region_i: Word,
	region_j: Word,
	/// Where the subgroup's sums go to be mixed.
	scratch: Word,
}

/// The variables of the entry point.
struct Variables {
	k: Word,
	half: Word,
	next: Vec<Word>,
	sums: Vec<Word>,
}

impl Code {
	fn new(plan: &Plan) -> Self {
		let mut b = Builder::new();
		b.set_version(1, 5);
		for capability in [
			Capability::Shader,
			Capability::Int8,
			Capability::GroupNonUniform,
			Capability::VulkanMemoryModel,
			Capability::CooperativeMatrixKHR,
		] {
			b.capability(capability);
		}
		b.extension("SPV_KHR_cooperative_matrix");
		b.memory_model(AddressingModel::Logical, MemoryModel::Vulkan);
		let void = b.type_void();
		let bool = b.type_bool();
		let u32 = b.type_int(32, 0);
		let i32 = b.type_int(32, 1);
		let i8 = b.type_int(8, 1);
		let element = b.type_vector(u32, plan.element() / 4);
		let mut code = Self {
			plan: *plan,
			constants: BTreeMap::new(),
			void,
			bool,
			u32,
			element,
			a: 0,
			x: 0,
			sums: 0,
			params: 0,
			from_a: 0,
			from_x: 0,
			to: 0,
			shared: 0,
			group: 0,
			local: 0,
			subgroup: 0,
			subgroups: 0,
			lane: 0,
			pointers: Pointers {
				param: b.type_pointer(None, StorageClass::Uniform, u32),
				buffer: b.type_pointer(None, StorageClass::StorageBuffer, element),
				word: b.type_pointer(None, StorageClass::StorageBuffer, u32),
				shared: b.type_pointer(None, StorageClass::Workgroup, element),
				input: b.type_pointer(None, StorageClass::Input, u32),
				local: b.type_pointer(None, StorageClass::Function, u32),
				local_element: b.type_pointer(None, StorageClass::Function, element),
				local_sums: 0,
			},
			b,
		};
		let Unit { m, n, k } = plan.unit;
		code.a = code.matrix(i8, m, k, CooperativeMatrixUse::MatrixAKHR);
		code.x = code.matrix(i8, k, n, CooperativeMatrixUse::MatrixBKHR);
		code.sums = code.matrix(i32, m, n, CooperativeMatrixUse::MatrixAccumulatorKHR);
		code.pointers.local_sums = code.b.type_pointer(None, StorageClass::Function, code.sums);
		code.globals();
		code
	}

	fn matrix(&mut self, of: Word, rows: u32, columns: u32, used: CooperativeMatrixUse) -> Word {
		let [scope, rows, columns, used] =
			[Scope::Subgroup as u32, rows, columns, used as u32].map(|value| self.constant(value));
		self.b
			.type_cooperative_matrix_khr(of, scope, rows, columns, used)
	}

	/// Declares what is bound, shared memory, and what the hardware tells.
	fn globals(&mut self) {
		let plan = self.plan;
		let params = self.b.type_struct([self.u32, self.u32]);
		for (member, offset) in [(0, 0), (1, 4)] {
			self.b.member_decorate(
				params,
				member,
				Decoration::Offset,
				[Operand::LiteralBit32(offset)],
			);
		}
		self.b.decorate(params, Decoration::Block, []);
		let elements = self.buffer(self.element, plan.element());
		let words = self.buffer(self.u32, 4);
		self.params = self.bound(params, StorageClass::Uniform, 0);
		self.from_a = self.bound(elements, StorageClass::StorageBuffer, 1);
		self.from_x = self.bound(elements, StorageClass::StorageBuffer, 2);
		self.to = self.bound(words, StorageClass::StorageBuffer, 3);
		for read in [self.from_a, self.from_x] {
			self.b.decorate(read, Decoration::NonWritable, []);
		}
		let size = self.constant(2 * plan.half());
		let array = self.b.type_array(self.element, size);
		let pointer = self.b.type_pointer(None, StorageClass::Workgroup, array);
		self.shared = self
			.b
			.variable(pointer, None, StorageClass::Workgroup, None);
		let three = self.b.type_vector(self.u32, 3);
		self.group = self.input(three, BuiltIn::WorkgroupId);
		self.local = self.input(self.u32, BuiltIn::LocalInvocationIndex);
		self.subgroup = self.input(self.u32, BuiltIn::SubgroupId);
		self.subgroups = self.input(self.u32, BuiltIn::NumSubgroups);
		self.lane = self.input(self.u32, BuiltIn::SubgroupLocalInvocationId);
	}

	/// The type of a buffer of so many bytes an item.
	fn buffer(&mut self, item: Word, bytes: u32) -> Word {
		let array = self.b.type_runtime_array(item);
		let stride = [Operand::LiteralBit32(bytes)];
		self.b.decorate(array, Decoration::ArrayStride, stride);
		let buffer = self.b.type_struct([array]);
		let offset = [Operand::LiteralBit32(0)];
		self.b
			.member_decorate(buffer, 0, Decoration::Offset, offset);
		self.b.decorate(buffer, Decoration::Block, []);
		buffer
	}

	fn bound(&mut self, of: Word, class: StorageClass, binding: u32) -> Word {
		let pointer = self.b.type_pointer(None, class, of);
		let variable = self.b.variable(pointer, None, class, None);
		for (decoration, value) in [
			(Decoration::DescriptorSet, 0),
			(Decoration::Binding, binding),
		] {
			self.b
				.decorate(variable, decoration, [Operand::LiteralBit32(value)]);
		}
		variable
	}

	fn input(&mut self, of: Word, what: BuiltIn) -> Word {
		let pointer = self.b.type_pointer(None, StorageClass::Input, of);
		let variable = self.b.variable(pointer, None, StorageClass::Input, None);
		self.b
			.decorate(variable, Decoration::BuiltIn, [Operand::BuiltIn(what)]);
		variable
	}

	fn constant(&mut self, value: u32) -> Word {
		let (b, of) = (&mut self.b, self.u32);
		*self
			.constants
			.entry(value)
			.or_insert_with(|| b.constant_bit32(of, value))
	}

	fn add(&mut self, a: Word, b: Word) -> Result<Word> {
		self.b.i_add(self.u32, None, a, b)
	}

	fn mul(&mut self, a: Word, b: Word) -> Result<Word> {
		self.b.i_mul(self.u32, None, a, b)
	}

	fn plus(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.add(a, value)
	}

	fn times(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.mul(a, value)
	}

	fn over(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.b.u_div(self.u32, None, a, value)
	}

	fn modulo(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.b.u_mod(self.u32, None, a, value)
	}

	fn get(&mut self, variable: Word) -> Result<Word> {
		self.b.load(self.u32, None, variable, None, [])
	}

	fn set(&mut self, variable: Word, value: Word) -> Result<()> {
		self.b.store(variable, value, None, [])
	}

	/// A loop whose variable goes from what it is, by steps, as long as it is less than `end`.
	fn loop_below(
		&mut self,
		variable: Word,
		end: Word,
		step: Word,
		body: impl FnOnce(&mut Self) -> Result<()>,
	) -> Result<()> {
		let [header, check, inside, next, after] = std::array::from_fn(|_| self.b.id());
		self.b.branch(header)?;
		self.b.begin_block(Some(header))?;
		self.b.loop_merge(after, next, LoopControl::NONE, [])?;
		self.b.branch(check)?;
		self.b.begin_block(Some(check))?;
		let value = self.get(variable)?;
		let goes_on = self.b.u_less_than(self.bool, None, value, end)?;
		self.b.branch_conditional(goes_on, inside, after, [])?;
		self.b.begin_block(Some(inside))?;
		body(self)?;
		self.b.branch(next)?;
		self.b.begin_block(Some(next))?;
		let value = self.get(variable)?;
		let value = self.add(value, step)?;
		self.set(variable, value)?;
		self.b.branch(header)?;
		self.b.begin_block(Some(after))?;
		Ok(())
	}

	fn only_if(
		&mut self,
		condition: Word,
		body: impl FnOnce(&mut Self) -> Result<()>,
	) -> Result<()> {
		let [inside, after] = std::array::from_fn(|_| self.b.id());
		self.b.selection_merge(after, SelectionControl::NONE)?;
		self.b.branch_conditional(condition, inside, after, [])?;
		self.b.begin_block(Some(inside))?;
		body(self)?;
		self.b.branch(after)?;
		self.b.begin_block(Some(after))?;
		Ok(())
	}

	/// All of a scope have come here, and see what the others wrote to shared memory.
	fn barrier(&mut self, scope: Scope) -> Result<()> {
		let scope = self.constant(scope as u32);
		let shared = self.constant(SHARED);
		self.b.control_barrier(scope, scope, shared)
	}

	/// How shared memory is read, in Vulkan's memory model.
	fn reads(&mut self) -> (Option<MemoryAccess>, [Operand; 1]) {
		let access = MemoryAccess::MAKE_POINTER_VISIBLE | MemoryAccess::NON_PRIVATE_POINTER;
		let scope = self.constant(Scope::Workgroup as u32);
		(Some(access), [Operand::IdScope(scope)])
	}

	/// How it is written.
	fn writes(&mut self) -> (Option<MemoryAccess>, [Operand; 1]) {
		let access = MemoryAccess::MAKE_POINTER_AVAILABLE | MemoryAccess::NON_PRIVATE_POINTER;
		let scope = self.constant(Scope::Workgroup as u32);
		(Some(access), [Operand::IdScope(scope)])
	}

	/// The element of shared memory at an index.
	fn shared(&mut self, index: Word) -> Result<Word> {
		self.b
			.access_chain(self.pointers.shared, None, self.shared, [index])
	}

	fn variables(&mut self) -> Variables {
		let (rows, columns) = self.plan.accumulators();
		let (of_a, of_x) = self.plan.moved();
		let mut variable = |pointer, count: u32| -> Vec<Word> {
			let one = |_| self.b.variable(pointer, None, StorageClass::Function, None);
			(0..count).map(one).collect()
		};
		let next = variable(self.pointers.local_element, of_a + of_x);
		let sums = variable(self.pointers.local_sums, rows * columns);
		let mut local = || variable(self.pointers.local, 1)[0];
		Variables {
			k: local(),
			half: local(),
			next,
			sums,
		}
	}

	fn main(&mut self) -> Result<()> {
		let of = self.b.type_function(self.void, []);
		let main = self
			.b
			.begin_function(self.void, None, FunctionControl::NONE, of)?;
		self.b.entry_point(
			ExecutionModel::GLCompute,
			main,
			"main",
			[
				self.params,
				self.from_a,
				self.from_x,
				self.to,
				self.shared,
				self.group,
				self.local,
				self.subgroup,
				self.subgroups,
				self.lane,
			],
		);
		let size = [self.plan.invocations(), 1, 1];
		self.b.execution_mode(main, ExecutionMode::LocalSize, size);
		self.b.begin_block(None)?;
		let variables = self.variables();
		// Where a driver makes subgroups of another size than it says, there would be no region or no room for some:
		// then nothing is computed, which is found out before the kernel is used.
		let subgroups = self.get(self.subgroups)?;
		let regions = self.constant(self.plan.regions.0 * self.plan.regions.1);
		let as_planned = self.b.i_equal(self.bool, None, subgroups, regions)?;
		self.only_if(as_planned, |code| code.tile(&variables))?;
		self.b.ret()?;
		self.b.end_function()
	}

	fn param(&mut self, member: u32) -> Result<Word> {
		let member = self.constant(member);
		let pointer = self
			.b
			.access_chain(self.pointers.param, None, self.params, [member])?;
		self.get(pointer)
	}

	/// The workgroup's number along one dimension.
	fn group(&mut self, dimension: u32) -> Result<Word> {
		let dimension = self.constant(dimension);
		let pointer = self
			.b
			.access_chain(self.pointers.input, None, self.group, [dimension])?;
		self.get(pointer)
	}

	/// One tile: each subgroup sums up its region of it, and mixes the sums.
	fn tile(&mut self, v: &Variables) -> Result<()> {
		let plan = self.plan;
		let (rows, columns) = plan.tile();
		let n = self.param(0)?;
		let t = self.param(1)?;
		let row_words = self.over(n, 4)?;
		let row_elements = self.over(n, plan.element())?;
		// Bands of tiles, each from left to right.
		let (down, right) = (self.over(n, rows)?, self.over(n, columns)?);
		let (x, y) = (self.group(0)?, self.group(1)?);
		let number = self.mul(y, right)?;
		let number = self.add(number, x)?;
		let most = self.constant(BAND);
		let few = self.b.u_less_than(self.bool, None, down, most)?;
		let band = self.b.select(self.u32, None, few, down, most)?;
		let of_band = self.mul(band, right)?;
		let bands = self.b.u_div(self.u32, None, number, of_band)?;
		let within = self.b.u_mod(self.u32, None, number, of_band)?;
		let above = self.mul(bands, band)?;
		let down = self.b.u_mod(self.u32, None, within, band)?;
		let down = self.add(above, down)?;
		let right = self.b.u_div(self.u32, None, within, band)?;

		let me = self.get(self.local)?;
		let subgroup = self.get(self.subgroup)?;
		let region_i = self.over(subgroup, plan.regions.1)?;
		let region_j = self.modulo(subgroup, plan.regions.1)?;
		let known = Known {
			row_words,
			row_elements,
			t,
			first_i: self.times(down, rows)?,
			first_j: self.times(right, columns)?,
			me,
			region_i: self.times(region_i, plan.region.0)?,
			region_j: self.times(region_j, plan.region.1)?,
			scratch: self.times(subgroup, plan.scratch())?,
		};
		self.sum_up(v, &known)?;
		self.finish(v, &known)
	}

	/// The sums of a subgroup's region. When it is done, nobody reads the matrices in shared memory any more.
	fn sum_up(&mut self, v: &Variables, known: &Known) -> Result<()> {
		let plan = self.plan;
		let zero = self.constant(0);
		let none = self.b.constant_null(self.sums);
		for sums in &v.sums {
			self.set(*sums, none)?;
		}
		self.set(v.k, zero)?;
		self.set(v.half, zero)?;
		self.fetch(v, known, zero)?;
		self.put(v, known, zero)?;
		self.barrier(Scope::Workgroup)?;
		let block = self.constant(plan.depth / plan.element());
		let end = known.row_elements;
		self.loop_below(v.k, end, block, |code| {
			let k = code.get(v.k)?;
			let next = code.add(k, block)?;
			let more = code.b.u_less_than(code.bool, None, next, end)?;
			let half = code.get(v.half)?;
			let size = code.constant(plan.half());
			let other = code.b.i_sub(code.u32, None, size, half)?;
			code.only_if(more, |code| code.fetch(v, known, next))?;
			code.products(v, known, half)?;
			code.only_if(more, |code| code.put(v, known, other))?;
			code.set(v.half, other)?;
			code.barrier(Scope::Workgroup)
		})
	}

	/// Starts to load a block of both matrices, from element `k` of each row on.
	fn fetch(&mut self, v: &Variables, known: &Known, k: Word) -> Result<()> {
		let (of_a, _) = self.plan.moved();
		for (at, next) in v.next.iter().enumerate() {
			let at = at as u32;
			let (from, first, at) = if at < of_a {
				(self.from_a, known.first_i, at)
			} else {
				(self.from_x, known.first_j, at - of_a)
			};
			let (row, column) = self.place(known, at)?;
			let row = self.add(first, row)?;
			let index = self.mul(row, known.row_elements)?;
			let index = self.add(index, column)?;
			let index = self.add(index, k)?;
			let zero = self.constant(0);
			let pointer = self
				.b
				.access_chain(self.pointers.buffer, None, from, [zero, index])?;
			let value = self.b.load(self.element, None, pointer, None, [])?;
			self.b.store(*next, value, None, [])?;
		}
		Ok(())
	}

	/// Puts what was loaded into a half of shared memory: rows of `A`, then rows of `X`.
	fn put(&mut self, v: &Variables, known: &Known, half: Word) -> Result<()> {
		let (of_a, _) = self.plan.moved();
		let (rows, _) = self.plan.tile();
		for (at, next) in v.next.iter().enumerate() {
			let at = at as u32;
			let (first, at) = if at < of_a {
				(0, at)
			} else {
				(rows, at - of_a)
			};
			let (row, column) = self.place(known, at)?;
			let row = self.plus(row, first)?;
			let index = self.times(row, self.plan.stride())?;
			let index = self.add(index, column)?;
			let index = self.add(index, half)?;
			let pointer = self.shared(index)?;
			let value = self.b.load(self.element, None, *next, None, [])?;
			let (access, scope) = self.writes();
			self.b.store(pointer, value, access, scope)?;
		}
		Ok(())
	}

	/// Row and column, within a block, of what an invocation moves as its `at`-th: see [`place`].
	fn place(&mut self, known: &Known, at: u32) -> Result<(Word, Word)> {
		let columns = self.plan.depth / self.plan.element();
		let index = self.plus(known.me, at * self.plan.invocations())?;
		let low = self.modulo(index, 2)?;
		let rest = self.over(index, 2)?;
		let middle = self.modulo(rest, 4)?;
		let rest = self.over(rest, 4)?;
		let high = self.modulo(rest, columns / 2)?;
		let rest = self.over(rest, columns / 2)?;
		let odd = self.modulo(rest, 2)?;
		let eights = self.over(rest, 2)?;
		let row = self.times(eights, 8)?;
		let middle = self.times(middle, 2)?;
		let row = self.add(row, middle)?;
		let high = self.times(high, 2)?;
		Ok((self.add(row, odd)?, self.add(high, low)?))
	}

	/// A unit's matrix from shared memory: `row` is its first row there, `k` its first element.
	fn unit(
		&mut self,
		of: Word,
		layout: CooperativeMatrixLayout,
		(half, row, k): (Word, Word, u32),
	) -> Result<Word> {
		let index = self.times(row, self.plan.stride())?;
		let index = self.plus(index, k)?;
		let index = self.add(index, half)?;
		let pointer = self.shared(index)?;
		let layout = self.constant(layout as u32);
		let stride = self.constant(self.plan.stride());
		let (access, scope) = self.reads();
		self.b
			.cooperative_matrix_load_khr(of, None, pointer, layout, Some(stride), access, scope)
	}

	/// Adds the products of a block to the sums.
	fn products(&mut self, v: &Variables, known: &Known, half: Word) -> Result<()> {
		let Unit { m, n, k } = self.plan.unit;
		let (down, across) = self.plan.accumulators();
		let (rows, _) = self.plan.tile();
		let signed = CooperativeMatrixOperands::MATRIX_A_SIGNED_COMPONENTS_KHR
			| CooperativeMatrixOperands::MATRIX_B_SIGNED_COMPONENTS_KHR
			| CooperativeMatrixOperands::MATRIX_C_SIGNED_COMPONENTS_KHR
			| CooperativeMatrixOperands::MATRIX_RESULT_SIGNED_COMPONENTS_KHR;
		for block in 0..self.plan.depth / k {
			let from = block * k / self.plan.element();
			let mut xs = Vec::new();
			for c in 0..across {
				let row = self.plus(known.region_j, rows + c * n)?;
				// A row of X is a column of what A is multiplied with.
				let layout = CooperativeMatrixLayout::ColumnMajorKHR;
				xs.push(self.unit(self.x, layout, (half, row, from))?);
			}
			for r in 0..down {
				let row = self.plus(known.region_i, r * m)?;
				let layout = CooperativeMatrixLayout::RowMajorKHR;
				let a = self.unit(self.a, layout, (half, row, from))?;
				for (c, x) in xs.iter().enumerate() {
					let variable = v.sums[(r * across) as usize + c];
					let sums = self.b.load(self.sums, None, variable, None, [])?;
					let sums = self.b.cooperative_matrix_mul_add_khr(
						self.sums,
						None,
						a,
						*x,
						sums,
						Some(signed),
					)?;
					self.set(variable, sums)?;
				}
			}
		}
		Ok(())
	}

	/// Mixes the sums, a row of units at a time: which invocation holds which of them is the driver's secret, so
	/// they go through shared memory.
	fn finish(&mut self, v: &Variables, known: &Known) -> Result<()> {
		let plan = self.plan;
		let Unit { m, n, .. } = plan.unit;
		let (down, across) = plan.accumulators();
		let row_words = plan.region.1 / 4;
		let each = (m * row_words).div_ceil(plan.subgroup);
		let lane = self.get(self.lane)?;
		for r in 0..down {
			for c in 0..across {
				let index = self.plus(known.scratch, c * n * 4 / plan.element())?;
				let pointer = self.shared(index)?;
				let variable = v.sums[(r * across + c) as usize];
				let sums = self.b.load(self.sums, None, variable, None, [])?;
				let layout = self.constant(CooperativeMatrixLayout::RowMajorKHR as u32);
				let stride = self.constant(plan.sums_stride());
				let (access, scope) = self.writes();
				self.b.cooperative_matrix_store_khr(
					pointer,
					sums,
					layout,
					Some(stride),
					access,
					scope,
				)?;
			}
			self.barrier(Scope::Subgroup)?;
			let i = self.add(known.first_i, known.region_i)?;
			let i = self.plus(i, r * m)?;
			let j = self.add(known.first_j, known.region_j)?;
			for at in 0..each {
				let word = self.plus(lane, at * plan.subgroup)?;
				let end = self.constant(m * row_words);
				let there = self.b.u_less_than(self.bool, None, word, end)?;
				self.only_if(there, |code| {
					let row = code.over(word, row_words)?;
					let column = code.modulo(word, row_words)?;
					code.word(known, (row, column), (i, j))
				})?;
			}
			self.barrier(Scope::Subgroup)?;
		}
		Ok(())
	}

	/// Mixes four sums next to each other, of a row of units whose first sum is at `(i, j)`, and writes them as one
	/// word.
	fn word(
		&mut self,
		known: &Known,
		(row, column): (Word, Word),
		(i, j): (Word, Word),
	) -> Result<()> {
		let element_words = self.plan.element() / 4;
		let elements = 4 / element_words;
		let first = self.times(row, self.plan.sums_stride())?;
		let first = self.add(known.scratch, first)?;
		let within = self.times(column, elements)?;
		let first = self.add(first, within)?;
		let mut loaded = Vec::new();
		for at in 0..elements {
			let index = self.plus(first, at)?;
			let pointer = self.shared(index)?;
			let (access, scope) = self.reads();
			loaded.push(self.b.load(self.element, None, pointer, access, scope)?);
		}
		let i = self.add(i, row)?;
		let column = self.times(column, 4)?;
		let j = self.add(j, column)?;
		// h = sum ^ (t · 0x9E3779B1 + i · 0x85EBCA77 + j · 0xC2B2AE3D)
		let place = self.times(known.t, 0x9E37_79B1)?;
		let of_i = self.times(i, 0x85EB_CA77)?;
		let place = self.add(place, of_i)?;
		let of_j = self.times(j, 0xC2B2_AE3D)?;
		let place = self.add(place, of_j)?;
		let mut packed = self.constant(0);
		for at in 0..4 {
			let element = loaded[(at / element_words) as usize];
			let sum = self
				.b
				.composite_extract(self.u32, None, element, [at % element_words])?;
			let place = self.plus(place, 0xC2B2_AE3D_u32.wrapping_mul(at))?;
			let mut h = self.b.bitwise_xor(self.u32, None, sum, place)?;
			for (shift, factor) in [(15, 0x2C1B_3C6D), (12, 0x297A_2D39)] {
				h = self.folded(h, shift)?;
				h = self.times(h, factor)?;
			}
			h = self.folded(h, 15)?;
			let high = self.constant(24);
			h = self.b.shift_right_logical(self.u32, None, h, high)?;
			let to = self.constant(8 * at);
			h = self.b.shift_left_logical(self.u32, None, h, to)?;
			packed = self.b.bitwise_or(self.u32, None, packed, h)?;
		}
		let index = self.mul(i, known.row_words)?;
		let column = self.over(j, 4)?;
		let index = self.add(index, column)?;
		let zero = self.constant(0);
		let pointer = self
			.b
			.access_chain(self.pointers.word, None, self.to, [zero, index])?;
		self.set(pointer, packed)
	}

	/// `h ^ (h >> shift)`
	fn folded(&mut self, h: Word, shift: u32) -> Result<Word> {
		let shift = self.constant(shift);
		let high = self.b.shift_right_logical(self.u32, None, h, shift)?;
		self.b.bitwise_xor(self.u32, None, h, high)
	}
}

#[cfg(test)]
mod tests;
