//! Whether what was verified supports what was claimed.

use kaisar_math::tiers;
use kaisar_primitives::{Profile, WorkerSpec};

/// Whether the profile has the claimed GPUs, and reaches the tier of every other claimed figure.
pub fn supports(profile: &Profile, spec: &WorkerSpec) -> bool {
	profile.gpu_class == spec.gpu_class
		&& profile.gpu_count >= spec.gpu_count
		&& profile.bandwidth >= tiers::bandwidth(spec.download_mbps, spec.upload_mbps)
		&& profile.cpu >= tiers::cpu(spec.cpu_cores.into())
		&& profile.memory >= tiers::memory(spec.memory_gb)
		&& profile.disk >= tiers::disk(spec.disk_gb)
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
	fn what_reaches_every_tier_supports_the_claim() {
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
	fn one_tier_less_does_not() {
		for worse in [
			Profile {
				bandwidth: 1,
				..PROFILE
			},
			Profile { cpu: 1, ..PROFILE },
			Profile {
				memory: 2,
				..PROFILE
			},
			Profile { disk: 1, ..PROFILE },
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
