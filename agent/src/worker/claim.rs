//! What this machine has, as the operating system tells it. A claim, never evidence.

use crate::{bench::classes, gpu};
use kaisar_primitives::{Arch, WorkerSpec};
use serde::Serialize;
use std::{path::Path, process::Command};
use sysinfo::{Disks, System};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Hardware {
	/// Logical CPU cores that this process may use.
	pub cpu_cores: u16,
	/// Memory, in GB of 10⁹ bytes.
	pub memory_gb: u32,
	/// Free disk where the agent keeps its data, in GB of 10⁹ bytes.
	pub disk_gb: u32,
	/// Speed of the fastest network interface, in Mb/s; 0 where it does not tell.
	pub link_mbps: u32,
	/// Display and 3D controllers on the PCI bus, `vendor:device`.
	pub pci_gpus: Vec<String>,
	/// GPUs that this agent can use for the benchmark, by the names that their driver gives them.
	pub gpus: Vec<String>,
	/// Major version of NVIDIA's driver, 0 for none.
	pub driver: u16,
	/// The CUDA version that the driver supports, 100 · major + minor, 0 for none.
	pub cuda: u16,
}

impl Hardware {
	/// Looks at this machine; `data` is where a plot would lie.
	pub fn detect(data: &Path) -> Self {
		let mut system = System::new();
		system.refresh_memory();
		let (driver, cuda) = nvidia_driver();
		Self {
			cpu_cores: num_cpus::get().min(usize::from(u16::MAX)) as u16,
			memory_gb: gigabytes(system.total_memory()),
			disk_gb: gigabytes(free_disk(data)),
			link_mbps: link_mbps(),
			pci_gpus: pci_gpus(),
			gpus: gpu::names(gpu::Choice::Hardware),
			driver,
			cuda,
		}
	}

	/// What is not as one might expect, in words.
	pub fn remarks(&self) -> Vec<String> {
		let mut remarks = Vec::new();
		if self.gpus.is_empty() {
			remarks.push(if self.pci_gpus.is_empty() {
				"no GPU was found: class 0".into()
			} else {
				format!(
					"{} GPU(s) on the PCI bus, but none with a Vulkan driver: class 0",
					self.pci_gpus.len()
				)
			});
		} else if self.class().is_none() {
			remarks.push(format!(
				"no class goes by the name of {}: class 0, unless you claim one",
				self.gpus.join(", ")
			));
		}
		if self.link_mbps == 0 {
			remarks.push(
				"no network interface tells its speed: pass --download-mbps and --upload-mbps"
					.into(),
			);
		}
		remarks
	}

	/// The class that the driver's name for the first GPU stands for, and how many have that name.
	fn class(&self) -> Option<(u16, u8)> {
		let class = classes::by_driver_name(self.gpus.first()?)?;
		let same = |name: &&String| classes::by_driver_name(name) == Some(class);
		let count = self.gpus.iter().filter(same).count();
		Some((class.id, u8::try_from(count).unwrap_or(u8::MAX)))
	}

	/// The claim to register. `download` and `upload` override what the interface tells.
	pub fn spec(&self, region: [u8; 2], download: Option<u32>, upload: Option<u32>) -> WorkerSpec {
		let (gpu_class, gpu_count) = self.class().unwrap_or_default();
		WorkerSpec {
			gpu_class,
			gpu_count,
			cpu_cores: self.cpu_cores,
			memory_gb: self.memory_gb,
			disk_gb: self.disk_gb,
			download_mbps: download.unwrap_or(self.link_mbps),
			upload_mbps: upload.unwrap_or(self.link_mbps),
			region,
			arch: if cfg!(target_arch = "aarch64") {
				Arch::Arm64
			} else {
				Arch::Amd64
			},
			driver: self.driver,
			cuda: self.cuda,
		}
	}
}

/// The major version of NVIDIA's driver and the CUDA version that it supports, as 100 · major + minor, from
/// what its `nvidia-smi` prints; zeros where there is none.
fn nvidia_driver() -> (u16, u16) {
	let output = Command::new("nvidia-smi").output();
	let said = output.map_or_else(
		|_| String::new(),
		|output| String::from_utf8_lossy(&output.stdout).into_owned(),
	);
	nvidia_versions(&said).unwrap_or_default()
}

fn nvidia_versions(said: &str) -> Option<(u16, u16)> {
	let after = |label: &str| {
		let version = said.split_once(label)?.1.split_whitespace().next()?;
		let mut parts = version.split('.').map(|part| part.parse::<u16>().ok());
		Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
	};
	let (driver, _) = after("Driver Version:")?;
	let cuda = after("CUDA Version:").unwrap_or_default();
	Some((driver, cuda.0.checked_mul(100)?.checked_add(cuda.1)?))
}

fn gigabytes(bytes: u64) -> u32 {
	u32::try_from(bytes / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Free disk on which `path` lies, in GB of 10⁹ bytes.
pub fn free_disk_gb(path: &Path) -> u32 {
	gigabytes(free_disk(path))
}

/// Free bytes on the disk on which `path`, or its nearest parent that exists, lies.
fn free_disk(path: &Path) -> u64 {
	let there = path
		.ancestors()
		.find_map(|path| path.canonicalize().ok())
		.unwrap_or_else(|| "/".into());
	Disks::new_with_refreshed_list()
		.list()
		.iter()
		.filter(|disk| there.starts_with(disk.mount_point()))
		.max_by_key(|disk| disk.mount_point().components().count())
		.map_or(0, |disk| disk.available_space())
}

fn link_mbps() -> u32 {
	let Ok(interfaces) = std::fs::read_dir("/sys/class/net") else {
		return 0;
	};
	interfaces
		.flatten()
		.filter(|interface| interface.file_name() != "lo")
		.filter_map(|interface| std::fs::read_to_string(interface.path().join("speed")).ok())
		.filter_map(|speed| speed.trim().parse::<i64>().ok())
		.filter_map(|speed| u32::try_from(speed).ok())
		.max()
		.unwrap_or(0)
}

fn pci_gpus() -> Vec<String> {
	let Ok(devices) = std::fs::read_dir("/sys/bus/pci/devices") else {
		return Vec::new();
	};
	let mut found: Vec<_> = devices
		.flatten()
		.filter_map(|device| {
			let read = |name: &str| std::fs::read_to_string(device.path().join(name)).ok();
			let class = read("class")?;
			// 0x0300 is a VGA controller, 0x0302 a 3D controller.
			(class.starts_with("0x0300") || class.starts_with("0x0302")).then_some(())?;
			let part = |name: &str| Some(read(name)?.trim().trim_start_matches("0x").to_owned());
			Some(format!("{}:{}", part("vendor")?, part("device")?))
		})
		.collect();
	found.sort();
	found
}

/// A claim as the command line and the scripts read it.
pub fn spec_json(spec: &WorkerSpec) -> serde_json::Value {
	serde_json::json!({
		"gpu_class": spec.gpu_class,
		"gpu_count": spec.gpu_count,
		"cpu_cores": spec.cpu_cores,
		"memory_gb": spec.memory_gb,
		"disk_gb": spec.disk_gb,
		"download_mbps": spec.download_mbps,
		"upload_mbps": spec.upload_mbps,
		"region": String::from_utf8_lossy(&spec.region),
		"arch": match spec.arch {
			Arch::Amd64 => "amd64",
			Arch::Arm64 => "arm64",
		},
		"driver": spec.driver,
		"cuda": spec.cuda,
	})
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn this_machine_is_found() {
		let dir = tempfile::tempdir().unwrap();
		let found = Hardware::detect(&dir.path().join("not/there/yet"));
		assert!(found.cpu_cores > 0);
		assert!(found.memory_gb > 0);
		let spec = found.spec(*b"DE", Some(100), None);
		assert_eq!(spec_json(&spec)["region"], "DE");
		assert_eq!(spec_json(&spec)["download_mbps"], 100);
	}

	#[test]
	fn a_drivers_versions_are_read() {
		let said =
			"| NVIDIA-SMI 570.86.15    Driver Version: 570.86.15    CUDA Version: 12.8     |";
		assert_eq!(nvidia_versions(said), Some((570, 1_208)));
		assert_eq!(
			nvidia_versions("Driver Version: 470.1 CUDA Version: N/A"),
			Some((470, 0))
		);
		assert_eq!(nvidia_versions("NVIDIA-SMI has failed"), None);
	}

	#[test]
	fn a_claim_names_the_class_that_the_driver_names() {
		let dir = tempfile::tempdir().unwrap();
		let with = |gpus: &[&str]| Hardware {
			gpus: gpus.iter().map(ToString::to_string).collect(),
			..Hardware::detect(dir.path())
		};
		let said = |found: &Hardware| found.remarks().iter().any(|said| said.contains("class 0"));
		for (gpus, class, count) in [
			(&["NVIDIA GeForce RTX 4090"; 2][..], 11, 2),
			(&["NVIDIA A10", "NVIDIA GeForce RTX 4090"], 10, 1),
			(&["Something else"], 0, 0),
			(&[], 0, 0),
		] {
			let found = with(gpus);
			let spec = found.spec(*b"DE", None, None);
			assert_eq!((spec.gpu_class, spec.gpu_count), (class, count), "{gpus:?}");
			assert_eq!(said(&found), class == 0, "{gpus:?}");
		}
	}
}
