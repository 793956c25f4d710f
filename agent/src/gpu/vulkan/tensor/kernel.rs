//! The kernel of a plan.

use super::{
	Plan, Unit,
	code::{Code, Result},
};
use rspirv::{
	binary::Assemble,
	spirv::{
		CooperativeMatrixLayout, CooperativeMatrixOperands, ExecutionMode, ExecutionModel,
		FunctionControl, Scope, StorageClass, Word,
	},
};

/// Rows of tiles in a band: tiles are computed down the band before moving right, so that their inputs stay
/// in the cache.
const BAND: u32 = 8;

/// Makes the kernel of a plan, in SPIR-V 1.5. The entry point is `main`.
pub fn kernel(plan: &Plan) -> Result<Vec<u32>> {
	let mut code = Code::new(plan);
	code.main()?;
	Ok(code.b.module().assemble())
}

/// Values that the whole kernel uses.
struct Known {
	/// Words and elements of a row.
	row_words: Word,
	row_elements: Word,
	/// `t · 0x9E3779B1 + κ`.
	offset: Word,
	/// The tile's first row and column.
	first_i: Word,
	first_j: Word,
	me: Word,
	/// The region's first row and column in the tile.
	region_i: Word,
	region_j: Word,
	/// The subgroup's scratch space, where its sums are mixed.
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
		// If a driver's subgroups differ in size from what it reports, some would have no region or no room.
		// Then nothing is computed, which the check before the kernel's use detects.
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

	/// Loads the workgroup's number along one dimension.
	fn group(&mut self, dimension: u32) -> Result<Word> {
		let dimension = self.constant(dimension);
		let pointer = self
			.b
			.access_chain(self.pointers.input, None, self.group, [dimension])?;
		self.get(pointer)
	}

	/// Computes one tile: each subgroup sums up its region, and mixes the sums.
	fn tile(&mut self, v: &Variables) -> Result<()> {
		let plan = self.plan;
		let (rows, columns) = plan.tile();
		let n = self.param(0)?;
		let t = self.param(1)?;
		let kappa = self.param(2)?;
		let offset = self.times(t, 0x9E37_79B1)?;
		let offset = self.add(offset, kappa)?;
		let row_words = self.over(n, 4)?;
		let row_elements = self.over(n, plan.element())?;
		// Tiles in bands, each from left to right.
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
			offset,
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

	/// Computes the sums of a subgroup's region. Afterwards no invocation reads the matrices in shared
	/// memory.
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

	/// Starts loading a block of both matrices, from element `k` of each row on.
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

	/// Stores the loaded block in a half of shared memory: rows of `A`, then rows of `X`.
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

	/// Computes the row and column, within a block, of an invocation's `at`-th element: see `place`.
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

	/// Loads a unit's matrix from shared memory: `row` is its first row there, `k` its first element.
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
				// A row of X is a column of the factor that A is multiplied by.
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

	/// Mixes the sums, a row of units at a time, through shared memory: the assignment of sums to
	/// invocations is unspecified.
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

	/// Mixes four adjacent sums of a row of units whose first sum is at `(i, j)`, and writes them as one
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
		// h = sum ^ (t · 0x9E3779B1 + i · 0x85EBCA77 + j · 0xC2B2AE3D + κ)
		let of_i = self.times(i, 0x85EB_CA77)?;
		let place = self.add(known.offset, of_i)?;
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

/// Returns the row and column of the `index`-th element moved, in a block of `columns` columns. Of eight
/// consecutive elements, which a device stores to shared memory at once, each of four rows, every second
/// one, has two adjacent ones: so they lie in eight different places of its banks, whatever the block's
/// depth. In memory, two adjacent elements are read together.
#[cfg(test)]
pub fn place(index: u32, columns: u32) -> (u32, u32) {
	let (low, rest) = (index % 2, index / 2);
	let (middle, rest) = (rest % 4, rest / 4);
	let (high, rest) = (rest % (columns / 2), rest / (columns / 2));
	let (odd, eights) = (rest % 2, rest / 2);
	(8 * eights + 2 * middle + odd, 2 * high + low)
}
