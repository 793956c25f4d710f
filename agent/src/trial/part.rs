//! The parts of a trial that a worker signs and sends, each as soon as it is known.

use codec::{Decode, DecodeWithMemTracking, Encode};
use std::fmt;

/// Maximum number of marks of a worker's GPUs.
pub const MARKS: u8 = 16;
/// Number of parts.
pub const PARTS: usize = MARKS as usize + 2;

/// A part of a trial. On the wire it is a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
	/// A mark of the GPUs, below [`MARKS`]: the hash over their running hashes after a number of turns.
	Mark(u8),
	/// The root of the lanes.
	Processor,
	/// The root of the strands over the plot.
	Disk,
}

impl Part {
	/// Iterates over all parts.
	pub fn all() -> impl Iterator<Item = Self> {
		(0..PARTS as u8).filter_map(Self::of_number)
	}

	/// Returns the part with a number on the wire. `None` if the number is invalid.
	pub fn of_number(number: u8) -> Option<Self> {
		match number {
			0..MARKS => Some(Self::Mark(number)),
			MARKS => Some(Self::Processor),
			number if usize::from(number) + 1 == PARTS => Some(Self::Disk),
			_ => None,
		}
	}

	/// Returns its number on the wire and in hashes.
	pub const fn number(self) -> u8 {
		match self {
			Self::Mark(mark) => mark,
			Self::Processor => MARKS,
			Self::Disk => MARKS + 1,
		}
	}
}

impl fmt::Display for Part {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		match self {
			Self::Mark(mark) => write!(f, "mark {mark} of the GPUs"),
			Self::Processor => f.write_str("processor and memory"),
			Self::Disk => f.write_str("the disk"),
		}
	}
}

/// A value for each part. It is encoded as an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Parts<T>([T; PARTS]);

impl<T: Copy> Parts<T> {
	/// Creates the map with one value for all parts.
	pub fn all(value: T) -> Self {
		Self([value; PARTS])
	}

	/// Returns the value of a part.
	pub fn get(&self, part: Part) -> T {
		self.0[usize::from(part.number())]
	}

	/// Changes the value of a part.
	pub fn set(&mut self, part: Part, value: T) {
		self.0[usize::from(part.number())] = value;
	}

	/// Iterates over the parts with their values.
	pub fn iter(&self) -> impl Iterator<Item = (Part, T)> {
		Part::all().zip(self.0)
	}
}

impl<T: Copy + Default> Default for Parts<T> {
	fn default() -> Self {
		Self::all(T::default())
	}
}

/// A resource that is opened separately.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking,
)]
pub enum Resource {
	/// All GPUs of the worker.
	#[codec(index = 0)]
	Gpus,
	/// Processor and memory.
	#[codec(index = 1)]
	Processor,
	/// The disk.
	#[codec(index = 2)]
	Disk,
}

impl Resource {
	/// All of them.
	pub const ALL: [Self; 3] = [Self::Gpus, Self::Processor, Self::Disk];
}

impl fmt::Display for Resource {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.write_str(match self {
			Self::Gpus => "the GPUs",
			Self::Processor => "processor and memory",
			Self::Disk => "the disk",
		})
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn each_part_has_its_own_number() {
		for (number, part) in (0..).zip(Part::all()) {
			assert_eq!(
				(part.number(), Part::of_number(number)),
				(number, Some(part))
			);
		}
		assert_eq!(Part::all().count(), PARTS);
		assert_eq!(Part::of_number(PARTS as u8), None);
		let mut values = Parts::<u8>::default();
		values.set(Part::Disk, 3);
		let changed: Vec<_> = values.iter().filter(|(_, value)| *value != 0).collect();
		assert_eq!(changed, [(Part::Disk, 3)]);
		assert_eq!(values.encode().len(), PARTS);
	}
}
