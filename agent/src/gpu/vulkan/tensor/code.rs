//! A kernel under construction in SPIR-V: its types and variables, and general helpers, from sums to loops.

use super::{Plan, Unit};
use rspirv::{
	dr::{Builder, Error, Operand},
	spirv::{
		AddressingModel, BuiltIn, Capability, CooperativeMatrixUse, Decoration, LoopControl,
		MemoryAccess, MemoryModel, MemorySemantics, Scope, SelectionControl, StorageClass, Word,
	},
};
use std::collections::BTreeMap;

/// Memory semantics of barriers: writes to shared memory before the barrier are visible after it.
const SHARED: u32 = MemorySemantics::ACQUIRE_RELEASE.bits()
	| MemorySemantics::WORKGROUP_MEMORY.bits()
	| MemorySemantics::MAKE_AVAILABLE.bits()
	| MemorySemantics::MAKE_VISIBLE.bits();

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A kernel under construction. All values are unsigned 32-bit words unless stated otherwise.
pub struct Code {
	pub b: Builder,
	pub plan: Plan,
	pub constants: BTreeMap<u32, Word>,
	pub void: Word,
	pub bool: Word,
	pub u32: Word,
	/// The unit of data movement: a vector of words.
	pub element: Word,
	/// Types of the units' matrices.
	pub a: Word,
	pub x: Word,
	pub sums: Word,
	/// Global variables.
	pub params: Word,
	pub from_a: Word,
	pub from_x: Word,
	pub to: Word,
	pub shared: Word,
	pub group: Word,
	pub local: Word,
	pub subgroup: Word,
	pub subgroups: Word,
	pub lane: Word,
	pub pointers: Pointers,
}

/// Pointer types.
pub struct Pointers {
	pub param: Word,
	pub buffer: Word,
	pub word: Word,
	pub shared: Word,
	pub input: Word,
	pub local: Word,
	pub local_element: Word,
	pub local_sums: Word,
}

impl Code {
	pub fn new(plan: &Plan) -> Self {
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

	/// Declares the bindings, shared memory and the built-in inputs.
	fn globals(&mut self) {
		let plan = self.plan;
		let params = self.b.type_struct([self.u32, self.u32, self.u32]);
		for (member, offset) in [(0, 0), (1, 4), (2, 8)] {
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

	/// Makes the type of a buffer with items of `bytes` bytes.
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

	pub fn constant(&mut self, value: u32) -> Word {
		let (b, of) = (&mut self.b, self.u32);
		*self
			.constants
			.entry(value)
			.or_insert_with(|| b.constant_bit32(of, value))
	}

	pub fn add(&mut self, a: Word, b: Word) -> Result<Word> {
		self.b.i_add(self.u32, None, a, b)
	}

	pub fn mul(&mut self, a: Word, b: Word) -> Result<Word> {
		self.b.i_mul(self.u32, None, a, b)
	}

	pub fn plus(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.add(a, value)
	}

	pub fn times(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.mul(a, value)
	}

	pub fn over(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.b.u_div(self.u32, None, a, value)
	}

	pub fn modulo(&mut self, a: Word, value: u32) -> Result<Word> {
		let value = self.constant(value);
		self.b.u_mod(self.u32, None, a, value)
	}

	pub fn get(&mut self, variable: Word) -> Result<Word> {
		self.b.load(self.u32, None, variable, None, [])
	}

	pub fn set(&mut self, variable: Word, value: Word) -> Result<()> {
		self.b.store(variable, value, None, [])
	}

	/// Emits a loop whose variable advances from its present value by `step` while less than `end`.
	pub fn loop_below(
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

	pub fn only_if(
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

	/// Emits a barrier: all of a scope reach it, then see the others' writes to shared memory.
	pub fn barrier(&mut self, scope: Scope) -> Result<()> {
		let scope = self.constant(scope as u32);
		let shared = self.constant(SHARED);
		self.b.control_barrier(scope, scope, shared)
	}

	/// Returns the access flags for reads of shared memory in Vulkan's memory model.
	pub fn reads(&mut self) -> (Option<MemoryAccess>, [Operand; 1]) {
		let access = MemoryAccess::MAKE_POINTER_VISIBLE | MemoryAccess::NON_PRIVATE_POINTER;
		let scope = self.constant(Scope::Workgroup as u32);
		(Some(access), [Operand::IdScope(scope)])
	}

	/// Returns the access flags for writes.
	pub fn writes(&mut self) -> (Option<MemoryAccess>, [Operand; 1]) {
		let access = MemoryAccess::MAKE_POINTER_AVAILABLE | MemoryAccess::NON_PRIVATE_POINTER;
		let scope = self.constant(Scope::Workgroup as u32);
		(Some(access), [Operand::IdScope(scope)])
	}

	/// Returns a pointer to the element of shared memory at an index.
	pub fn shared(&mut self, index: Word) -> Result<Word> {
		self.b
			.access_chain(self.pointers.shared, None, self.shared, [index])
	}
}
