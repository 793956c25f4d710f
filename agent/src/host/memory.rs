//! The machine's memory.

use super::cgroup;
use sysinfo::System;

/// Minimum of the available memory that a trial leaves free, in bytes.
const LEFT_LEAST: u64 = 512 << 20;
/// Divisor of the available memory that gives the part that a trial leaves free, if that is more.
const LEFT_PART: u64 = 20;

/// Memory of this process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostMemory {
	/// The machine's memory, or the control group's limit if that is lower.
	pub total: u64,
	/// Part that is available now.
	pub available: u64,
	/// A control group limits it below the machine's.
	pub is_limited: bool,
}

impl HostMemory {
	/// Reads the memory of the machine and the limits of its control groups.
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

/// Returns the bytes that a trial fills of `available` ones. The rest is for programs that run or start
/// meanwhile.
pub fn fillable(available: u64) -> u64 {
	available.saturating_sub((available / LEFT_PART).max(LEFT_LEAST))
}

/// Returns the memory that a trial can fill now, in bytes.
pub fn fillable_now() -> u64 {
	fillable(HostMemory::now().available)
}

/// Returns the memory that a trial can fill now if it was planned before, in bytes. It leaves a quarter less
/// free than [`fillable_now`], so that the earlier plan still fits.
pub fn fillable_again() -> u64 {
	let available = HostMemory::now().available;
	available.saturating_sub((available / LEFT_PART).max(LEFT_LEAST) / 4 * 3)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn this_machine_has_memory() {
		let now = HostMemory::now();
		assert!(0 < now.available && now.available <= now.total, "{now:?}");
		assert!(fillable_now() > 0);
	}

	#[test]
	fn a_control_group_limits_the_memory() {
		const GIB: u64 = 1 << 30;
		let limit = |total, available| {
			let limit = cgroup::Limit {
				total: total * GIB,
				available: available * GIB,
			};
			HostMemory::limited(64 * GIB, 60 * GIB, Some(limit))
		};
		let memory = limit(4, 3);
		assert_eq!((memory.total, memory.available), (4 * GIB, 3 * GIB));
		assert!(memory.is_limited);
		// A limit above the machine's memory has no effect.
		let memory = limit(128, 100);
		assert_eq!((memory.total, memory.available), (64 * GIB, 60 * GIB));
		assert!(!memory.is_limited);
	}

	#[test]
	fn a_trial_leaves_memory_for_others() {
		assert_eq!(fillable(100 << 30), 95 << 30);
		assert_eq!(fillable(4 << 30), (4 << 30) - LEFT_LEAST);
		assert_eq!(fillable(1 << 20), 0);
	}
}
