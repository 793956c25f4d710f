//! The machine's memory.

use super::cgroup;
use sysinfo::System;

/// The least that a trial leaves of the memory that can be had, in bytes.
const LEFT_LEAST: u64 = 512 << 20;
/// The part of it that a trial leaves.
const LEFT_PART: u64 = 20;

/// Memory in bytes, as far as this process may have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
	/// The machine's, or the control group's limit where that is lower.
	pub total: u64,
	/// The part that can be had now.
	pub available: u64,
	/// Whether a control group limits it below the machine's.
	pub is_limited: bool,
}

impl Memory {
	/// Looks at the machine and at its control groups.
	pub fn now() -> Self {
		let mut system = System::new();
		system.refresh_memory();
		Self::limited(
			system.total_memory(),
			system.available_memory(),
			cgroup::memory(),
		)
	}

	fn limited(total: u64, available: u64, limit: Option<cgroup::Limit>) -> Self {
		match limit {
			Some(limit) => Self {
				total: total.min(limit.total),
				available: available.min(limit.available),
				is_limited: limit.total < total,
			},
			None => Self {
				total,
				available,
				is_limited: false,
			},
		}
	}
}

/// Returns the bytes that a trial fills of `available` ones. The rest is for programs that run, and start,
/// meanwhile.
pub fn fillable(available: u64) -> u64 {
	available.saturating_sub((available / LEFT_PART).max(LEFT_LEAST))
}

/// Returns the memory that a trial can fill now, in bytes.
pub fn fillable_now() -> u64 {
	fillable(Memory::now().available)
}

/// Returns the memory that a trial can fill now where that was planned before, in bytes: what is left then
/// is a quarter less, so that a plan fits once more.
pub fn fillable_again() -> u64 {
	let available = Memory::now().available;
	available.saturating_sub((available / LEFT_PART).max(LEFT_LEAST) / 4 * 3)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn there_is_some() {
		let now = Memory::now();
		assert!(0 < now.available && now.available <= now.total, "{now:?}");
		assert!(fillable_now() > 0);
	}

	#[test]
	fn a_control_group_limits_what_can_be_had() {
		const GIB: u64 = 1 << 30;
		let limit = |total, available| {
			let limit = cgroup::Limit {
				total: total * GIB,
				available: available * GIB,
			};
			Memory::limited(64 * GIB, 60 * GIB, Some(limit))
		};
		let memory = limit(4, 3);
		assert_eq!((memory.total, memory.available), (4 * GIB, 3 * GIB));
		assert!(memory.is_limited);
		// One that is higher than what there is limits nothing.
		let memory = limit(128, 100);
		assert_eq!((memory.total, memory.available), (64 * GIB, 60 * GIB));
		assert!(!memory.is_limited);
	}

	#[test]
	fn something_is_left_for_others() {
		assert_eq!(fillable(100 << 30), 95 << 30);
		assert_eq!(fillable(4 << 30), (4 << 30) - LEFT_LEAST);
		assert_eq!(fillable(1 << 20), 0);
	}
}
