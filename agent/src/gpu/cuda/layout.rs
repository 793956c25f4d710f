//! The parameters of the kernels in `agent/cuda/`, laid out like the structures in `agent/cuda/trial.h`.

use super::driver::Place;
use crate::trial::{hash::Hash, matrix::LINE};
use std::ffi::c_void;

/// Lines that a block of `tree` hashes.
pub const LEAVES: u32 = 128;
/// Threads of a walk's lane.
pub const LANE: u32 = 16;
/// Lanes of a block of `walk`.
pub const LANES: u32 = 16;
/// Reads of each lane of `reads`.
pub const YARDSTICK_READS: u32 = 64;
/// Threads of a block of `fill` and of `copy`.
pub const THREADS: u32 = 256;
/// Threads of a block of `gather`: one for each 16 bytes of a line.
pub const PARTS: u32 = (LINE / 16) as u32;
/// Rows of each part of a product that is marked done by itself.
pub const DONE_ROWS: u32 = 64;
/// Columns of such a part.
pub const DONE_COLUMNS: u32 = 256;
/// Size of [`State`] in bytes.
pub const STATE: u64 = size_of::<State>() as u64;

/// The values to derive from a tree's root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum After {
	/// Nothing.
	Nothing = 0,
	/// κ of the turn's next step.
	Step = 1,
	/// The turn's root, the running hash that takes it in, and κ of the next turn.
	Turn = 2,
}

/// The running hash, and κ of the next step.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct State {
	pub running: Hash,
	pub kappa: u32,
	pub unused: [u32; 3],
}

impl State {
	/// Returns its bytes on the GPU.
	pub fn bytes(&self) -> [u8; STATE as usize] {
		let mut out = [0; STATE as usize];
		out[..32].copy_from_slice(&self.running);
		out[32..36].copy_from_slice(&self.kappa.to_le_bytes());
		out
	}
}

/// An address on the GPU; 0 means none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Address(u64);

impl Address {
	pub const NONE: Self = Self(0);
}

impl From<Place> for Address {
	fn from(place: Place) -> Self {
		Self(place.address())
	}
}

/// Parameters of `fill`.
#[repr(C)]
pub struct Fill {
	pub rows: Address,
	pub n: u32,
	pub stream: u32,
	pub key: Hash,
}

/// Parameters of a product.
#[repr(C)]
pub struct Product {
	pub a: Address,
	pub x: Address,
	pub y: Address,
	pub state: Address,
	pub done: Address,
	pub n: u32,
	pub t: u32,
	pub epoch: u32,
	pub unused: u32,
}

/// Parameters of `tree`.
#[repr(C)]
pub struct Tree {
	pub lines: Address,
	pub nodes: Address,
	pub roots: Address,
	pub state: Address,
	pub arrived: Address,
	pub done: Address,
	pub count: u32,
	pub n: u32,
	pub epoch: u32,
	pub root: u32,
	pub first: u32,
	pub after: After,
	pub step: u32,
	pub one: u32,
	pub key: Hash,
	pub turn: Hash,
}

/// Parameters of `walk` and of `reads`.
#[repr(C)]
pub struct Walk {
	pub z: Address,
	pub window: Address,
	pub state: Address,
	pub lines: u32,
	pub unused: u32,
}

/// Parameters of `gather`.
#[repr(C)]
pub struct Gather {
	pub lines: Address,
	pub nodes: Address,
	pub which: Address,
	pub out: Address,
	pub count: u32,
	pub levels: u32,
}

/// Parameters of `copy`.
#[repr(C)]
pub struct Copy16 {
	pub from: Address,
	pub to: Address,
	pub count: u64,
}

/// Returns a structure as a kernel's parameter.
pub fn param<T>(value: &mut T) -> *mut c_void {
	(&raw mut *value).cast()
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::matrix::{READS, STEPS};
	use std::{collections::BTreeMap, mem::offset_of};

	const HEADER: &str = include_str!("../../../cuda/trial.h");

	/// Returns the constants of the header.
	fn numbers() -> BTreeMap<&'static str, u32> {
		let mut all = BTreeMap::new();
		for line in HEADER.lines() {
			let Some(rest) = line.strip_prefix("constexpr uint32_t ") else {
				continue;
			};
			for part in rest.trim_end_matches(';').split(", ") {
				let (name, value) = part.split_once(" = ").unwrap();
				if let Ok(value) = value.parse() {
					all.insert(name, value);
				}
			}
		}
		all
	}

	#[test]
	fn the_kernels_have_the_same_numbers() {
		let numbers = numbers();
		for (name, value) in [
			("LINE", LINE as u32),
			("STEPS", STEPS),
			("READS", READS as u32),
			("DONE_ROWS", DONE_ROWS),
			("DONE_COLUMNS", DONE_COLUMNS),
			("LEAVES", LEAVES),
			("YARDSTICK_READS", YARDSTICK_READS),
			("LANE", LANE),
			("LANES", LANES),
			("NOTHING", After::Nothing as u32),
			("STEP", After::Step as u32),
			("TURN", After::Turn as u32),
		] {
			assert_eq!(numbers.get(name), Some(&value), "{name} in trial.h");
		}
	}

	/// Returns the offsets of a structure's fields in the header, by the rules of C, and its size.
	fn fields(of: &str) -> (Vec<(String, usize)>, usize) {
		let start = HEADER.find(&format!("struct {of} {{")).unwrap();
		let body = &HEADER[start..][..HEADER[start..].find("};").unwrap()];
		let (mut at, mut widest, mut all) = (0usize, 1, Vec::new());
		for line in body.lines().skip(1).map(str::trim) {
			let Some(line) = line.strip_suffix(';') else {
				continue;
			};
			let (kind, name) = line.rsplit_once([' ', '*']).unwrap();
			let (name, times) = match name.split_once('[') {
				Some((name, times)) => (name, times.trim_end_matches(']').parse().unwrap()),
				None => (name, 1),
			};
			let (size, align) = match kind.trim() {
				_ if line.contains('*') => (8, 8),
				"uint32_t" => (4, 4),
				"uint64_t" => (8, 8),
				"Words" => (32, 4),
				other => panic!("{other} in {of}"),
			};
			at = at.next_multiple_of(align);
			all.push((name.to_owned(), at));
			at += size * times;
			widest = widest.max(align);
		}
		(all, at.next_multiple_of(widest))
	}

	macro_rules! alike {
		($kind:ident as $name:literal: $($field:ident),*) => {
			let ours = vec![$((stringify!($field).to_owned(), offset_of!($kind, $field))),*];
			assert_eq!(fields($name), (ours, size_of::<$kind>()), $name);
		};
	}

	#[test]
	fn the_kernels_have_the_same_parameters() {
		alike!(State as "State": running, kappa, unused);
		alike!(Fill as "Fill": rows, n, stream, key);
		alike!(Product as "Product": a, x, y, state, done, n, t, epoch, unused);
		alike!(Tree as "Tree": lines, nodes, roots, state, arrived, done, count, n, epoch, root, first, after, step,
			one, key, turn);
		alike!(Walk as "Walk": z, window, state, lines, unused);
		alike!(Gather as "Gather": lines, nodes, which, out, count, levels);
		alike!(Copy16 as "Copy": from, to, count);
	}
}
