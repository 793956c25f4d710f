//! The stages of a benchmark.

use codec::{Decode, DecodeWithMemTracking, Encode};
use std::{
	fmt,
	ops::{Index, IndexMut},
};

/// The stages of a benchmark, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
	/// The matrix chain.
	Chain,
	/// The walk over the GPUs' memory.
	Walk,
	/// The CPU chains.
	Cpu,
	/// The memory walk.
	Memory,
	/// The disk walk.
	Disk,
}

impl Stage {
	/// All of them.
	pub const ALL: [Self; 5] = [Self::Chain, Self::Walk, Self::Cpu, Self::Memory, Self::Disk];
	/// Number of stages.
	pub const COUNT: usize = Self::ALL.len();
	/// The last stage.
	pub const LAST: Self = Self::Disk;

	/// The stage of a number on the wire, from 0. `None` if there is no such stage.
	pub fn of_number(number: u8) -> Option<Self> {
		Self::ALL.get(usize::from(number)).copied()
	}

	/// Its number on the wire and in hashes, from 0.
	pub const fn number(self) -> u8 {
		self as u8
	}
}

impl fmt::Display for Stage {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.write_str(match self {
			Self::Chain => "the matrix chain",
			Self::Walk => "the walk over the GPUs' memory",
			Self::Cpu => "the CPU chains",
			Self::Memory => "the memory walk",
			Self::Disk => "the disk walk",
		})
	}
}

/// A value for each stage. It is encoded as an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub struct Stages<T>(pub [T; Stage::COUNT]);

impl<T> Stages<T> {
	/// Makes a value for each stage.
	pub fn from_fn(mut make: impl FnMut(Stage) -> T) -> Self {
		Self(Stage::ALL.map(&mut make))
	}

	/// Makes a value of each.
	pub fn map<U>(self, make: impl FnMut(T) -> U) -> Stages<U> {
		Stages(self.0.map(make))
	}

	/// Each stage with its value.
	pub fn iter(&self) -> impl Iterator<Item = (Stage, &T)> {
		Stage::ALL.into_iter().zip(&self.0)
	}
}

impl<T> Index<Stage> for Stages<T> {
	type Output = T;

	fn index(&self, stage: Stage) -> &T {
		&self.0[stage as usize]
	}
}

impl<T> IndexMut<Stage> for Stages<T> {
	fn index_mut(&mut self, stage: Stage) -> &mut T {
		&mut self.0[stage as usize]
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn numbers_are_those_of_the_order() {
		for (number, stage) in (0..).zip(Stage::ALL) {
			assert_eq!(stage.number(), number);
			assert_eq!(Stage::of_number(number), Some(stage));
			assert!(stage <= Stage::LAST);
		}
		assert_eq!(Stage::of_number(Stage::COUNT as u8), None);
	}

	#[test]
	fn values_are_encoded_as_an_array() {
		let mut values = Stages::from_fn(|stage| u32::from(stage.number()) * 7);
		values[Stage::Cpu] = 9;
		assert_eq!(values.encode(), [0u32, 7, 9, 21, 28].encode());
		let back = Stages::<u32>::decode(&mut &values.encode()[..]).unwrap();
		assert_eq!(back[Stage::Cpu], 9);
	}
}
