//! A worker: its claim, its verified profile, and its state.

use crate::{GpuClass, History, RoundIndex};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_math::tiers;
use scale_info::TypeInfo;

/// A processor architecture. Not verified.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum Arch {
	/// x86-64.
	#[default]
	Amd64,
	/// AArch64.
	Arm64,
}

/// Hardware as its provider claims it.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct WorkerSpec {
	/// GPU class, 0 for none.
	pub gpu_class: GpuClass,
	/// Number of GPUs; 0 if and only if the class is 0.
	pub gpu_count: u8,
	/// Hardware threads.
	pub cpu_cores: u16,
	/// Memory in GB.
	pub memory_gb: u32,
	/// Disk in GB.
	pub disk_gb: u32,
	/// Download bandwidth in Mb/s.
	pub download_mbps: u32,
	/// Upload bandwidth in Mb/s.
	pub upload_mbps: u32,
	/// Region: an ISO 3166-1 alpha-2 country code, upper case.
	pub region: [u8; 2],
	/// The processor architecture.
	pub arch: Arch,
	/// Major version of the GPU's driver, 0 for none. Not verified.
	pub driver: u16,
	/// The CUDA version that the driver supports, 100 · major + minor, 0 for none. Not verified.
	pub cuda: u16,
}

impl WorkerSpec {
	/// Returns the best profile that this claim allows.
	pub fn bound(&self) -> Profile {
		Profile {
			bandwidth: tiers::bandwidth(self.download_mbps, self.upload_mbps),
			cpu: tiers::cpu(self.cpu_cores.into()),
			memory: tiers::memory(self.memory_gb),
			disk: tiers::disk(self.disk_gb),
			gpu_class: self.gpu_class,
			gpu_count: self.gpu_count,
		}
	}
}

/// Hardware as a committee verified it. Tiers are 0 … 4 (`kaisar_math::tiers`).
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Profile {
	/// Bandwidth tier.
	pub bandwidth: u8,
	/// CPU tier.
	pub cpu: u8,
	/// Memory tier.
	pub memory: u8,
	/// Disk tier.
	pub disk: u8,
	/// GPU class that the evidence supports, 0 for none.
	pub gpu_class: GpuClass,
	/// Number of GPUs of that class.
	pub gpu_count: u8,
}

impl Profile {
	/// Returns the lesser of two profiles, field by field. GPUs of different classes have nothing in
	/// common.
	///
	/// The lesser of a profile and a claim's [`bound`](WorkerSpec::bound) is the profile that the claim
	/// allows, whatever a committee voted.
	pub fn lesser(&self, other: &Self) -> Self {
		let same = self.gpu_class == other.gpu_class;
		let gpu_count = self.gpu_count.min(other.gpu_count);
		let gpus = same && self.gpu_class != 0 && gpu_count > 0;
		Self {
			bandwidth: self.bandwidth.min(other.bandwidth),
			cpu: self.cpu.min(other.cpu),
			memory: self.memory.min(other.memory),
			disk: self.disk.min(other.disk),
			gpu_class: if gpus { self.gpu_class } else { 0 },
			gpu_count: if gpus { gpu_count } else { 0 },
		}
	}
}

/// The state of a worker.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum WorkerState {
	/// Registered, updated or back online, but not verified yet. Earns nothing.
	Pending,
	/// Verified and idle.
	Online,
	/// Verified and serving an order.
	Rented,
	/// Away, by choice or because a check found it offline.
	Offline,
	/// Its owner's stake is below the minimum after a slash.
	Suspended,
}

/// A worker's states, now and at the start of each round in flight. Round `r` sees a worker in its state at
/// the round's start, so every change of state names the next round.
pub type Standings = History<WorkerState>;

/// A mark: the spot round in which a worker is due once. If a census starts in the same block, an idle
/// worker is due in the census instead, and its check there uses up the mark.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Forced {
	/// The spot round in which it is due.
	pub round: RoundIndex,
	/// Whether the worker was not rented when it was marked: the check verifies its hardware and proves no
	/// time.
	pub verify_only: bool,
}

#[cfg(test)]
mod tests {
	use super::*;

	const PROFILE: Profile = Profile {
		bandwidth: 4,
		cpu: 1,
		memory: 4,
		disk: 0,
		gpu_class: 1,
		gpu_count: 255,
	};

	#[test]
	fn a_profile_never_exceeds_the_claim() {
		let spec = WorkerSpec {
			gpu_class: 1,
			gpu_count: 8,
			cpu_cores: 64,
			memory_gb: 32,
			disk_gb: 512,
			download_mbps: 75,
			upload_mbps: 75,
			..Default::default()
		};
		let bounded = PROFILE.lesser(&spec.bound());
		let expected = Profile {
			bandwidth: 1,
			cpu: 1,
			memory: 2,
			disk: 0,
			gpu_class: 1,
			gpu_count: 8,
		};
		assert_eq!(bounded, expected);
	}

	#[test]
	fn gpus_of_another_class_are_none() {
		for spec in [
			WorkerSpec::default(),
			WorkerSpec {
				gpu_class: 2,
				gpu_count: 8,
				..Default::default()
			},
		] {
			let bounded = PROFILE.lesser(&spec.bound());
			assert_eq!((bounded.gpu_class, bounded.gpu_count), (0, 0));
		}
	}
}
