//! The machine's memory.

use sysinfo::System;

/// Memory that can be had now, in MiB.
pub fn available_mib() -> u32 {
	let mut system = System::new();
	system.refresh_memory();
	let limit = system
		.cgroup_limits()
		.map_or(u64::MAX, |limits| limits.free_memory);
	u32::try_from(system.available_memory().min(limit) >> 20).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
	#[test]
	fn there_is_some() {
		assert!(super::available_mib() > 0);
	}
}
