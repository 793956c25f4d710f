//! Limits of claims, and whether a verified profile supports a claim.

use core::ops::RangeInclusive;
use kaisar_primitives::{GpuClass, Profile, WorkerSpec};

/// The number of GPUs of a worker that has any.
pub const GPUS: RangeInclusive<u8> = 1..=16;
/// Maximum hardware threads of a claim: more than a machine has, and far more than the highest tier, beyond
/// which no trial shows anything.
pub const MAX_CPU_CORES: u16 = 1_024;
/// Maximum memory of a claim, in GB, for the same reason.
pub const MAX_MEMORY_GB: u32 = 24_576;
/// Maximum disk of a claim, in GB, for the same reason.
pub const MAX_DISK_GB: u32 = 1_048_576;

/// Returns whether a worker can have this number of GPUs of the class.
pub fn gpus_fit(class: GpuClass, count: u8) -> bool {
	if class == 0 {
		count == 0
	} else {
		GPUS.contains(&count)
	}
}

/// Returns whether the claim lacks processors, memory or disk.
pub fn has_zero(spec: &WorkerSpec) -> bool {
	spec.cpu_cores == 0 || spec.memory_gb == 0 || spec.disk_gb == 0
}

/// Returns whether the claim exceeds the size of any machine.
pub fn is_too_large(spec: &WorkerSpec) -> bool {
	spec.cpu_cores > MAX_CPU_CORES || spec.memory_gb > MAX_MEMORY_GB || spec.disk_gb > MAX_DISK_GB
}

/// Returns whether the profile has the claimed GPUs, processors and memory. Bandwidth and disk are not
/// compared, and count as verified: others can flood a line, and the plot is rebuilt slowly after an order.
pub fn supports(profile: &Profile, spec: &WorkerSpec) -> bool {
	let bound = spec.bound();
	let shown = |profile: &Profile| {
		let Profile {
			gpu_class,
			gpu_count,
			cpu,
			memory,
			..
		} = *profile;
		(gpu_class, gpu_count, cpu, memory)
	};
	shown(&profile.lesser(&bound)) == shown(&bound)
}

#[cfg(test)]
mod tests {
	use super::*;
	use kaisar_primitives::Arch;

	const SPEC: WorkerSpec = WorkerSpec {
		gpu_class: 11,
		gpu_count: 2,
		cpu_cores: 32,
		memory_gb: 128,
		disk_gb: 512,
		download_mbps: 400,
		upload_mbps: 300,
		region: *b"DE",
		arch: Arch::Amd64,
		driver: 0,
		cuda: 0,
	};
	const PROFILE: Profile = Profile {
		bandwidth: 2,
		cpu: 2,
		memory: 3,
		disk: 2,
		gpu_class: 11,
		gpu_count: 2,
	};

	#[test]
	fn what_reaches_the_claim_supports_it() {
		assert!(supports(&PROFILE, &SPEC));
		let better = Profile {
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: 4,
			gpu_count: 8,
			..PROFILE
		};
		assert!(supports(&better, &SPEC));
	}

	#[test]
	fn bandwidth_and_disk_do_not_bear_on_it() {
		let flooded = Profile {
			bandwidth: 0,
			disk: 0,
			..PROFILE
		};
		assert!(supports(&flooded, &SPEC));
	}

	#[test]
	fn one_tier_less_does_not() {
		for worse in [
			Profile { cpu: 1, ..PROFILE },
			Profile {
				memory: 2,
				..PROFILE
			},
			Profile {
				gpu_count: 1,
				..PROFILE
			},
			Profile {
				gpu_class: 12,
				..PROFILE
			},
			Profile {
				gpu_class: 0,
				gpu_count: 0,
				..PROFILE
			},
		] {
			assert!(!supports(&worse, &SPEC), "{worse:?}");
		}
	}
}
