//! Machines: a customer's requirement, a provider's claim, and a committee's verified profile.

use crate::wrapper;
use std::{fmt, str::FromStr};
use subxt::ext::scale_encode::EncodeAsType;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// A customer's requirement on a machine.
	#[derive(Copy)]
	struct Requirement {
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
		/// Minimum bandwidth tier.
		pub min_bandwidth: u8,
		/// Minimum CPU tier; without GPUs the exact tier.
		pub min_cpu: u8,
		/// Minimum memory tier.
		pub min_memory: u8,
		/// Minimum disk tier.
		pub min_disk: u8,
		/// Country of the machine.
		pub region: Option<Region>,
		/// Processor architecture.
		pub arch: Option<Arch>,
		/// Minimum major version of the GPU's driver.
		pub min_driver: Option<u16>,
		/// Minimum CUDA version.
		pub min_cuda: Option<Cuda>,
	}

	/// A processor architecture.
	#[derive(Copy, clap::ValueEnum, serde::Deserialize)]
	#[serde(rename_all = "lowercase")]
	enum Arch {
		/// x86-64.
		Amd64,
		/// AArch64.
		Arm64,
	}

	/// Hardware that a provider claims.
	#[derive(Copy)]
	struct WorkerSpec {
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
		/// CPU cores.
		pub cpu_cores: u16,
		/// Memory in GB.
		pub memory_gb: u32,
		/// Disk in GB.
		pub disk_gb: u32,
		/// Download bandwidth in Mb/s.
		pub download_mbps: u32,
		/// Upload bandwidth in Mb/s.
		pub upload_mbps: u32,
		/// Country of the machine.
		pub region: Region,
		/// Processor architecture.
		pub arch: Arch,
		/// Major version of the GPU's driver, 0 for none.
		pub driver: u16,
		/// CUDA version that the driver supports, 0 for none.
		pub cuda: Cuda,
	}

	/// Hardware that a committee verified, in tiers.
	#[derive(Copy)]
	struct Profile {
		/// Bandwidth tier.
		pub bandwidth: u8,
		/// CPU tier.
		pub cpu: u8,
		/// Memory tier.
		pub memory: u8,
		/// Disk tier.
		pub disk: u8,
		/// GPU class, 0 for none.
		pub gpu_class: u16,
		/// GPUs of that class.
		pub gpu_count: u8,
	}
}

impl fmt::Display for Arch {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.pad(match self {
			Self::Amd64 => "amd64",
			Self::Arm64 => "arm64",
		})
	}
}

/// A version of CUDA: 100 · major + minor.
#[derive(Clone, Copy, PartialEq, Eq, Default, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Cuda(pub u16);
wrapper!(Cuda, u16);

impl FromStr for Cuda {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		let parts = text.split_once('.').unwrap_or((text, "0"));
		let version = match (parts.0.parse::<u16>(), parts.1.parse::<u16>()) {
			(Ok(major), Ok(minor)) if minor < 100 => {
				major.checked_mul(100).map(|major| major + minor)
			}
			_ => None,
		};
		version
			.map(Self)
			.ok_or_else(|| "expected a CUDA version, e.g. 12.8".into())
	}
}

impl fmt::Display for Cuda {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		f.pad(&format!("{}.{}", self.0 / 100, self.0 % 100))
	}
}

as_displayed!(Cuda);

/// A country: two letters of ISO 3166-1.
#[derive(Clone, Copy, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Region(pub [u8; 2]);
wrapper!(Region, [u8; 2]);

impl FromStr for Region {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		match text.to_ascii_uppercase().as_bytes() {
			[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
			_ => Err("expected a two-letter country code, e.g. DE".into()),
		}
	}
}

impl fmt::Display for Region {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		// The chain admits only letters, but a node can answer anything.
		f.pad(&String::from_utf8_lossy(&self.0))
	}
}

as_displayed!(Region);

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn countries_are_two_letters() {
		assert_eq!("de".parse(), Ok(Region(*b"DE")));
		for text in ["", "D", "DEU", "D1", "DÉ"] {
			assert!(text.parse::<Region>().is_err(), "{text:?}");
		}
	}
}
