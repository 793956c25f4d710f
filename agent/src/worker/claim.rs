//! The claim to register: the hardware of this machine, as far as its agent can prove it. It is not
//! evidence.

use crate::{
	gpu::{Card, by_driver_name, list},
	host::{
		disk::{GB, Space, gigabytes},
		memory::{HostMemory, fillable},
	},
	trial::{
		disk::bytes_on_disk,
		job::least_memory,
		judge,
		plot::{GROUP, Recipe},
		ram::PAGE,
	},
	worker::plots::plotted_bytes,
};
use kaisar_math::{classes::GpuClassInfo, tiers};
use kaisar_primitives::{Arch, BenchParams, WorkerSpec};
use serde::Serialize;
use std::{
	fs,
	path::{Path, PathBuf},
	process::Command,
	time::Duration,
};

/// Maximum number of cores that the chain accepts.
const MAX_CORES: usize = 1_024;
/// Maximum memory that the chain accepts.
const MAX_MEMORY_GB: u64 = 24_576;
/// Maximum disk that the chain accepts.
const MAX_DISK_GB: u64 = 1_048_576;
/// Timeout of NVIDIA's `nvidia-smi`.
const SMI_TIME: Duration = Duration::from_secs(10);
/// Minimum of the spare memory: other programs may take it between now and a later check without the claim
/// failing.
const SPARE_MEMORY: u64 = GB;
/// Divisor of all memory that gives the spare memory, if that is more.
const SPARE_MEMORY_PART: u64 = 32;
/// Drivers of a hypervisor's virtual network cards, whose speeds are fictitious.
const MADE_UP_CARDS: [&str; 5] = ["virtio_net", "vmxnet3", "hv_netvsc", "xen-netfront", "vif"];

/// Hardware of this machine.
#[derive(Clone, Debug, Serialize)]
pub struct Hardware {
	/// The processor.
	pub cores: Cores,
	/// The memory.
	#[serde(skip)]
	pub memory: HostMemory,
	/// Disk of the agent's data.
	pub disk: Disk,
	/// Link to the internet; `None` if no interface reports its speed.
	pub link: Option<Link>,
	/// Display and 3D controllers on the PCI bus, `vendor:device`.
	pub pci_gpus: Vec<String>,
	/// GPUs that this agent proves, in order of use.
	pub gpus: Vec<Card>,
	/// Major version of NVIDIA's driver, 0 for none.
	pub driver: u16,
	/// CUDA version that the driver supports, 100 · major + minor, 0 for none.
	pub cuda: u16,
}

/// Logical cores.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Cores {
	/// Cores that this process may use by its affinity and its control groups' quota.
	pub usable: usize,
	/// Cores that its affinity allows.
	pub allowed: usize,
	/// Cores of the machine.
	pub all: usize,
}

/// A disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Disk {
	/// Free part.
	pub free: u64,
	/// Whole size.
	pub total: u64,
	/// Size of the agent's plots.
	pub plot: u64,
}

impl Disk {
	/// Returns the disk's space without the plot.
	fn without_plot(&self) -> Space {
		Space {
			free: self.free.saturating_add(self.plot),
			total: self.total,
		}
	}

	/// Returns the bytes that plots leave free.
	fn reserve(&self) -> u64 {
		self.without_plot().reserve()
	}

	/// Returns the bytes of the largest possible plot, in whole groups.
	fn plottable(&self) -> u64 {
		let recipe = Recipe::new(&[0; 32], &[0; 32], GROUP);
		let groups = self.without_plot().beyond_reserve() / bytes_on_disk(&recipe);
		groups * recipe.group_bytes()
	}
}

/// Speed of a network interface's link: an upper bound of the line behind it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Link {
	/// Name of the interface.
	pub name: String,
	/// Speed in Mb/s.
	pub mbps: u32,
}

impl Hardware {
	/// Detects this machine's hardware. `data` is the folder for the plot, `gpus` are the GPUs to prove.
	pub fn detect(data: &Path, gpus: Vec<Card>) -> Self {
		let (driver, cuda) = nvidia_driver();
		Self {
			cores: Cores::detect(),
			memory: HostMemory::now(),
			disk: Disk::detect(data),
			link: link(Path::new("/")),
			pci_gpus: pci_gpus(),
			gpus,
			driver,
			cuda,
		}
	}

	/// Returns the GB of memory that the agent can show even if other programs take the spare memory until
	/// then.
	fn memory_gb(&self) -> u64 {
		let HostMemory {
			total, available, ..
		} = self.memory;
		shown_memory(total, available.saturating_sub(spare_memory(total)))
	}

	/// Returns the GB of disk that the agent can show, with the reserve left free.
	fn disk_gb(&self) -> u64 {
		let shown = judge::disk_gb(self.disk.plottable(), Some(Duration::ZERO));
		u64::from(shown).min(self.disk.total / GB).min(MAX_DISK_GB)
	}

	/// Returns remarks for the operator: assumptions, limits of the claim, and remedies.
	pub fn remarks(&self) -> Vec<String> {
		let mut remarks = self.gpu_remarks();
		remarks.extend(self.core_remark());
		remarks.extend(self.memory_remarks());
		remarks.extend(self.disk_remarks());
		remarks
	}

	fn gpu_remarks(&self) -> Vec<String> {
		let Some(first) = self.gpus.first() else {
			return vec![if self.pci_gpus.is_empty() {
				"no GPU was found: class 0".into()
			} else {
				format!(
					"{} GPU(s) on the PCI bus, but no driver lists them: class 0. Install the vendor's driver and \
					 libvulkan1",
					self.pci_gpus.len()
				)
			}];
		};
		let mut remarks = Vec::new();
		match by_driver_name(&first.name) {
			None => remarks.push(format!(
				"the name of {first} fits no class: class 0, unless you claim one. To prove another GPU, name it with \
				 --gpu"
			)),
			Some(class) if !has_memory(first, class) => remarks.push(format!(
				"{first} has {} GB of memory, but {} is sold with {}: too little to support the class, so class 0",
				first.memory / GB,
				class.name,
				class.memory_gb
			)),
			Some(_) => (),
		}
		let used = usize::from(self.class().map_or(0, |(_, count)| count));
		if used > 0 && used < self.gpus.len() {
			let left: Vec<String> = self.gpus[used..].iter().map(ToString::to_string).collect();
			remarks.push(format!(
				"a worker has one class: this claim is for {used} × {} and leaves out {}. Name the GPUs of one class \
				 with --gpu, claim all of them as the lowest class among them, or register a second worker with its \
				 own agent and its own share of cores, memory and disk",
				first.name,
				left.join(", ")
			));
		}
		remarks
	}

	fn core_remark(&self) -> Option<String> {
		let Cores {
			usable,
			allowed,
			all,
		} = self.cores;
		let why = if usable < allowed {
			"the CPU quota of its control group (systemd: CPUQuota=, Docker: --cpus)"
		} else if allowed < all {
			"its CPU affinity (systemd: CPUAffinity= or AllowedCPUs=, Docker: --cpuset-cpus)"
		} else {
			return None;
		};
		Some(format!(
			"{usable} of the machine's {all} cores: {why} limits this process"
		))
	}

	fn memory_remarks(&self) -> Vec<String> {
		let HostMemory {
			total,
			available,
			is_limited,
		} = self.memory;
		let mut remarks = Vec::new();
		if is_limited {
			remarks.push(format!(
				"memory: a control group limits this process to {} (systemd: MemoryMax=, Docker: --memory)",
				gigabytes(total)
			));
		}
		let claimed = self.memory_gb();
		remarks.push(format!(
			"memory: {} of {} are available now; the claim of {claimed} GB holds while other programs take up to {} \
			 more. Run this while all usual programs run, the node too",
			gigabytes(available),
			gigabytes(total),
			gigabytes(spare_memory(total))
		));
		let tier = tiers::memory(u32::try_from(claimed).unwrap_or(u32::MAX));
		if let Some(next) = tiers::MEMORY
			.get(usize::from(tier))
			.map(|gb| u64::from(*gb))
			&& total >= next * GB
		{
			let needed = available_for(next) + spare_memory(total);
			remarks.push(format!(
				"memory: tier {} takes {next} GB, for which {} must be available: {} more than now",
				tier + 1,
				gigabytes(needed),
				gigabytes(needed.saturating_sub(available))
			));
		}
		remarks
	}

	fn disk_remarks(&self) -> Vec<String> {
		let mut remarks = vec![format!(
			"disk: {} free and {} plotted, less the {} that stay free (20 GB, or 5 % of the disk)",
			gigabytes(self.disk.free),
			gigabytes(self.disk.plot),
			gigabytes(self.disk.reserve())
		)];
		if self.disk_gb() == 0 {
			remarks.push(
				"disk: nothing can be claimed, but a worker needs at least 1 GB. Free space, or name another disk \
				 with --data-dir"
					.into(),
			);
		}
		remarks
	}

	/// Returns a remark on the assumed bandwidth, for a claim without a measurement.
	pub fn bandwidth_remark(&self) -> String {
		match &self.link {
			Some(Link { name, mbps }) => format!(
				"bandwidth: {mbps} Mb/s down and up is the speed of the link of {name}, an upper bound: the line behind \
				 it may be slower, and a claim above the line's speed fails. Measure it with --measure, or pass \
				 --download-mbps and --upload-mbps"
			),
			None => "bandwidth: no network card reports its speed, so 0 is claimed. Measure it with --measure, or \
			         pass --download-mbps and --upload-mbps"
				.into(),
		}
	}

	/// Returns the class of the first GPU by the driver's name, and the number of GPUs from the first on
	/// that have it.
	fn class(&self) -> Option<(u16, u8)> {
		let class = by_driver_name(&self.gpus.first()?.name)?;
		let same =
			|card: &&Card| by_driver_name(&card.name) == Some(class) && has_memory(card, class);
		let count = self.gpus.iter().take_while(same).count();
		(count > 0).then(|| (class.id, u8::try_from(count).unwrap_or(u8::MAX)))
	}

	/// Formats the GPUs, one a line: bus id, UUID, name and memory.
	pub fn gpu_list(&self) -> String {
		list(&self.gpus)
	}

	/// Returns the claim to register. `download` and `upload` override the speed of the link.
	pub fn spec(&self, region: [u8; 2], download: Option<u32>, upload: Option<u32>) -> WorkerSpec {
		let (gpu_class, gpu_count) = self.class().unwrap_or_default();
		let link = self.link.as_ref().map_or(0, |link| link.mbps);
		WorkerSpec {
			gpu_class,
			gpu_count,
			cpu_cores: self.cores.usable.min(MAX_CORES) as u16,
			memory_gb: self.memory_gb() as u32,
			disk_gb: self.disk_gb() as u32,
			download_mbps: download.unwrap_or(link),
			upload_mbps: upload.unwrap_or(link),
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

fn spare_memory(total: u64) -> u64 {
	SPARE_MEMORY.max(total / SPARE_MEMORY_PART)
}

/// Returns the GB of memory that a check counts, from the bytes of all memory and of available memory.
fn shown_memory(total: u64, available: u64) -> u64 {
	let page = PAGE as u64;
	// The lanes read at least one page, whatever is claimed.
	let filled = (fillable(available) / page).max(1) * page;
	let shown = judge::memory_gb(filled, Some(Duration::ZERO));
	u64::from(shown).min(total / GB).min(MAX_MEMORY_GB)
}

/// Returns the bytes that must be available for a check to count `gb` GB of memory.
fn available_for(gb: u64) -> u64 {
	// `shown_memory` is monotonic: bisect for the smallest sufficient value.
	let (mut short, mut enough) = (0, 4 * gb * GB);
	while enough - short > 1 {
		let middle = short + (enough - short) / 2;
		if shown_memory(u64::MAX, middle) >= gb {
			enough = middle;
		} else {
			short = middle;
		}
	}
	enough
}

/// Returns whether a GPU has the memory that its class must fill; true if the driver does not report it.
fn has_memory(card: &Card, class: &GpuClassInfo) -> bool {
	card.memory == 0 || card.memory >= least_memory(&class.floor(), BenchParams::FULL.n)
}

impl Cores {
	fn detect() -> Self {
		let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
		let usable = std::thread::available_parallelism().map_or(1, usize::from);
		let status = read("/proc/self/status");
		let allowed = status
			.lines()
			.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
			.map_or(0, count_list);
		let all = count_list(&read("/sys/devices/system/cpu/online"));
		let allowed = allowed.max(usable);
		Self {
			usable,
			allowed,
			all: all.max(allowed),
		}
	}
}

/// Returns the number of members of a list such as `0-3,8`; 0 for any other text.
fn count_list(text: &str) -> usize {
	let part = |part: &str| {
		let (first, last) = part.split_once('-').unwrap_or((part, part));
		let number = |text: &str| text.trim().parse::<usize>().ok();
		Some((number(last)? + 1).saturating_sub(number(first)?))
	};
	text.trim().split(',').filter_map(part).sum()
}

/// Returns the major version of NVIDIA's driver and the CUDA version that it supports, as 100 · major +
/// minor, from the output of `nvidia-smi`; zeros without a driver.
fn nvidia_driver() -> (u16, u16) {
	let (sender, receiver) = std::sync::mpsc::channel();
	// If the driver hangs, the program never ends, not even when it is killed.
	std::thread::spawn(move || sender.send(Command::new("nvidia-smi").output()));
	let output = match receiver.recv_timeout(SMI_TIME) {
		Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).into_owned(),
		_ => String::new(),
	};
	nvidia_versions(&output).unwrap_or_default()
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

impl Disk {
	/// Returns the disk that holds `path`, or its nearest existing parent.
	fn detect(path: &Path) -> Self {
		let Space { free, total } = Space::of(path).unwrap_or_default();
		Self {
			free,
			total,
			plot: plotted_bytes(path),
		}
	}
}

/// Returns the free space of the disk that holds `path`, in GB of 10⁹ bytes.
pub fn free_disk_gb(path: &Path) -> u32 {
	u32::try_from(Disk::detect(path).free / GB).unwrap_or(u32::MAX)
}

/// Returns the link to the internet: the one of the default route; without such a route, or if it goes
/// through a tunnel, the fastest card. If the default route's card reports no speed, other cards' speeds say
/// nothing about it. `root` is `/` except in tests.
fn link(root: &Path) -> Option<Link> {
	let net = root.join("sys/class/net");
	let named = |name: String| {
		let mbps = speed(&net.join(&name), 0)?;
		Some(Link { name, mbps })
	};
	let routes = default_interfaces(root);
	let is_card = |name: &String| net.join(name).join("device").exists();
	let through_a_card = routes.iter().any(is_card);
	let fastest = |links: &mut dyn Iterator<Item = Link>| links.max_by_key(|link| link.mbps);
	let routed = fastest(&mut routes.into_iter().filter_map(named));
	if through_a_card {
		return routed;
	}
	routed.or_else(|| {
		let all = fs::read_dir(&net).into_iter().flatten().flatten();
		let all = all.filter_map(|entry| entry.file_name().into_string().ok());
		fastest(&mut all.filter_map(named))
	})
}

/// Returns the interfaces of the default routes of IPv4 and IPv6.
fn default_interfaces(root: &Path) -> Vec<String> {
	let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
	let mut names = Vec::new();
	for line in read("proc/net/route").lines().skip(1) {
		let fields: Vec<&str> = line.split_whitespace().collect();
		if let [name, "00000000", _, _, _, _, _, "00000000", ..] = fields[..] {
			names.push(name.to_owned());
		}
	}
	for line in read("proc/net/ipv6_route").lines() {
		let fields: Vec<&str> = line.split_whitespace().collect();
		if let [to, "00", .., name] = fields[..]
			&& to.bytes().all(|byte| byte == b'0')
			&& name != "lo"
		{
			names.push(name.to_owned());
		}
	}
	names
}

/// Returns the Mb/s of an interface's link. Bridges, bonds and VLANs have the speed of the interfaces below
/// them; virtual interfaces have none, whatever the kernel reports.
fn speed(interface: &Path, depth: usize) -> Option<u32> {
	if interface.join("device").exists() {
		let driver = fs::read_link(interface.join("device/driver")).unwrap_or_default();
		let driver = driver.file_name().unwrap_or_default().to_string_lossy();
		if MADE_UP_CARDS.contains(&&*driver) {
			return None;
		}
		let speed = fs::read_to_string(interface.join("speed")).ok()?;
		return speed.trim().parse().ok().filter(|speed| *speed > 0);
	}
	// Deep enough for a VLAN on a bond on cards.
	if depth > 4 {
		return None;
	}
	let lower = fs::read_dir(interface).into_iter().flatten().flatten();
	let lower: Vec<PathBuf> = lower
		.filter_map(|entry| entry.file_name().into_string().ok())
		.filter_map(|name| Some(interface.with_file_name(name.strip_prefix("lower_")?)))
		.collect();
	let speeds = lower.iter().filter_map(|lower| speed(lower, depth + 1));
	let mode = fs::read_to_string(interface.join("bonding/mode"));
	match mode {
		Ok(mode) if !mode.starts_with("active-backup") => speeds.reduce(u32::saturating_add),
		_ => speeds.max(),
	}
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

/// Formats a claim as the command line and scripts read it.
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
	use crate::gpu::{Kind, tests::card};
	use proptest::prelude::*;
	use std::os::unix::fs::symlink;

	#[test]
	fn this_machines_hardware_is_detected() {
		let dir = tempfile::tempdir().unwrap();
		let found = Hardware::detect(&dir.path().join("not/there/yet"), Vec::new());
		assert!(found.cores.usable > 0 && found.cores.usable <= found.cores.all);
		assert!(found.memory.total >= found.memory.available);
		assert!(found.disk.total >= found.disk.free && found.disk.total > 0);
		let spec = found.spec(*b"DE", Some(100), None);
		assert_eq!(spec_json(&spec)["region"], "DE");
		assert_eq!(spec_json(&spec)["download_mbps"], 100);
		assert!(found.remarks().iter().any(|text| text.contains("memory: ")));
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

	/// Returns a machine for tests.
	fn machine() -> Hardware {
		Hardware {
			cores: Cores {
				usable: 16,
				allowed: 16,
				all: 16,
			},
			memory: HostMemory {
				total: 64 * GB,
				available: 60 * GB,
				is_limited: false,
			},
			disk: Disk {
				free: 800 * GB,
				total: 1_000 * GB,
				plot: 0,
			},
			link: None,
			pci_gpus: Vec::new(),
			gpus: Vec::new(),
			driver: 0,
			cuda: 0,
		}
	}

	fn says(found: &Hardware, part: &str) -> bool {
		found.remarks().iter().any(|text| text.contains(part))
	}

	#[test]
	fn a_claim_is_for_the_first_gpus_of_one_class() {
		let with = |gpus: &[(&str, u64)]| Hardware {
			gpus: gpus
				.iter()
				.map(|(name, gb)| card(name, Kind::Discrete, "01:00.0", *gb))
				.collect(),
			..machine()
		};
		let (fast, slow) = ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090");
		for (gpus, class, count) in [
			(&[(fast, 24), (fast, 24)][..], 11, 2),
			(&[("NVIDIA A10", 24), (fast, 24)], 10, 1),
			(&[(fast, 24), (slow, 24), (fast, 24)], 11, 1),
			(&[("Something else", 24)], 0, 0),
			// Sold with 24 GB, but here with 8: no window of it supports the class.
			(&[(fast, 8)], 0, 0),
			(&[(fast, 24), (fast, 8)], 11, 1),
			// The driver does not report its memory.
			(&[(fast, 0)], 11, 1),
			(&[], 0, 0),
		] {
			let found = with(gpus);
			let spec = found.spec(*b"DE", None, None);
			assert_eq!((spec.gpu_class, spec.gpu_count), (class, count), "{gpus:?}");
			assert_eq!(says(&found, "class 0"), class == 0, "{gpus:?}");
			let mixed = usize::from(count) < gpus.len() && class != 0;
			assert_eq!(says(&found, "a worker has one class"), mixed, "{gpus:?}");
		}
	}

	/// Returns the cores, memory and disk that a full check finds on a machine with this claim, if the agent
	/// fulfills the claim's plan as far as it can and no part is slow.
	fn shown(spec: WorkerSpec, available: u64, plottable: u64) -> [u32; 3] {
		let now = Some(Duration::ZERO);
		let page = PAGE as u64;
		let pages = judge::pages_planned(spec.memory_gb)
			.min(fillable(available) / page)
			.max(1);
		// The plot is grown to the plan: it must leave the reserve.
		let plot = judge::groups_planned(spec.disk_gb, 1 << 30) << 30;
		assert!(plot <= plottable, "{spec:?}");
		[
			judge::cores(spec.cpu_cores.min(judge::MAX_LANES), now),
			judge::memory_gb(pages * page, now),
			judge::disk_gb(plot, now),
		]
	}

	/// Returns the claim, as far as a check counts it.
	fn claimed(spec: &WorkerSpec) -> [u32; 3] {
		[
			u32::from(spec.cpu_cores).min(144),
			spec.memory_gb.min(513),
			spec.disk_gb.min(10_241),
		]
	}

	proptest! {
		#![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

		#[test]
		fn a_check_finds_what_detect_claims(
			usable in 1usize..300,
			total in 1_000_000_000u64..2_000_000_000_000,
			used in 0u64..1_000_000,
			taken in 0u64..=1_000_000,
			disk in 1_000_000_000u64..50_000_000_000_000,
			filled in 0u64..1_000_000,
			plotted in 0u64..1_000_000,
		) {
			// Parts of a million reach memory that is nearly all in use, and claims at a tier's edge.
			let part = |of: u64, part: u64| (u128::from(of) * u128::from(part) / 1_000_000) as u64;
			let available = total - part(total, used);
			let free = disk - part(disk, filled);
			let found = Hardware {
				cores: Cores { usable, allowed: usable, all: usable },
				memory: HostMemory { total, available, is_limited: false },
				disk: Disk { free, total: disk, plot: part(disk - free, plotted) },
				..machine()
			};
			let spec = found.spec(*b"DE", None, None);
			// Others take memory until the check.
			let later = available.saturating_sub(part(spare_memory(total), taken));
			let shown = shown(spec, later, found.disk.plottable());
			for (shown, claimed) in shown.into_iter().zip(claimed(&spec)) {
				prop_assert!(shown >= claimed, "{spec:?}: {shown}");
			}
			prop_assert!(u64::from(spec.memory_gb) * GB <= total && u64::from(spec.disk_gb) * GB <= disk);
			// The claim covers all that the machine can show.
			let all = WorkerSpec { memory_gb: u32::MAX, ..spec };
			let most = self::shown(all, available.saturating_sub(spare_memory(total)), u64::MAX)[1];
			prop_assert!(u64::from(spec.memory_gb) >= u64::from(most).min(total / GB));
		}
	}

	#[test]
	fn a_32_gb_machine_claims_what_it_can_show() {
		const GIB: u64 = 1 << 30;
		// Sold with 32 GB; the kernel has 31.2 GiB.
		let total = 31 * GIB + GIB / 5;
		let with = |available| Hardware {
			memory: HostMemory {
				total,
				available,
				is_limited: false,
			},
			..machine()
		};
		let found = |spec, available| tiers::memory(shown(spec, available, 1_000 * GB)[1]);
		// A server has tier 2, and keeps it with another GB in use.
		let server = with(total - 2 * GB);
		let spec = server.spec(*b"DE", None, None);
		assert!(spec.memory_gb >= 32, "{spec:?}");
		assert_eq!(found(spec, total - 2 * GB), 2);
		assert_eq!(found(spec, total - 3 * GB), 2);
		assert!(!says(&server, "tier 2 takes"));
		// A desktop cannot show all of its memory: it claims less, and a remark says what tier 2 takes.
		let desktop = with(total - 6 * GB);
		let spec = desktop.spec(*b"DE", None, None);
		assert_eq!(
			(tiers::memory(spec.memory_gb), found(spec, total - 7 * GB)),
			(1, 1)
		);
		let all = WorkerSpec {
			memory_gb: (total / GB) as u32,
			..spec
		};
		assert_eq!(
			(tiers::memory(all.memory_gb), found(all, total - 6 * GB)),
			(2, 1)
		);
		assert!(
			says(&desktop, "tier 2 takes 32 GB"),
			"{:?}",
			desktop.remarks()
		);
		let needed = available_for(32) + spare_memory(total);
		assert!(with(needed).spec(*b"DE", None, None).memory_gb >= 32);
		assert!(with(needed - GB / 10).spec(*b"DE", None, None).memory_gb < 32);
	}

	#[test]
	fn remarks_name_the_limits_of_a_container() {
		let found = Hardware {
			cores: Cores {
				usable: 2,
				allowed: 16,
				all: 16,
			},
			memory: HostMemory {
				total: 4 << 30,
				available: 3 << 30,
				is_limited: true,
			},
			..machine()
		};
		let spec = found.spec(*b"DE", None, None);
		assert!(spec.memory_gb < 4 && spec.cpu_cores == 2, "{spec:?}");
		assert!(says(
			&found,
			"a control group limits this process to 4.3 GB"
		));
		assert!(says(&found, "2 of the machine's 16 cores: the CPU quota"));
		let pinned = Hardware {
			cores: Cores {
				usable: 2,
				allowed: 2,
				all: 16,
			},
			..machine()
		};
		assert!(says(&pinned, "CPU affinity"));
		assert!(!says(&machine(), "cores: ") && !says(&machine(), "control group"));
		assert_eq!(count_list("0-3,8\n"), 5);
		assert_eq!(count_list(""), 0);
	}

	#[test]
	fn a_disk_keeps_its_reserve() {
		let with = |free, total, plot| Hardware {
			disk: Disk {
				free: free * GB,
				total: total * GB,
				plot: plot * GB,
			},
			..machine()
		};
		let claim = |found: &Hardware| found.spec(*b"DE", None, None).disk_gb;
		// 100 − 20 GB are plotted, in whole groups, and the 20 GB count.
		assert_eq!(claim(&with(100, 100, 0)), 98);
		assert_eq!(
			claim(&with(30, 100, 70)),
			98,
			"what is plotted already counts"
		);
		// 5 % of 10 TB stay free, and a seventh counts.
		let large = claim(&with(9_000, 10_000, 0));
		assert!((9_630..=9_640).contains(&large), "{large}");
		assert_eq!(
			claim(&with(10_000, 10_000, 0)),
			10_000,
			"no more than there is"
		);
		let full = with(20, 100, 0);
		assert_eq!(claim(&full), 0);
		assert!(says(&full, "nothing can be claimed"));
	}

	/// Fake `/sys` and `/proc` with network interfaces.
	struct Net(tempfile::TempDir);

	impl Net {
		fn new() -> Self {
			Self(tempfile::tempdir().unwrap())
		}

		fn file(&self, path: &str, text: &str) {
			let path = self.0.path().join(path);
			fs::create_dir_all(path.parent().unwrap()).unwrap();
			fs::write(path, text).unwrap();
		}

		fn interface(&self, name: &str, speed: &str, lower: &[&str]) {
			self.file(&format!("sys/class/net/{name}/speed"), speed);
			for lower in lower {
				let link = format!("sys/class/net/{name}/lower_{lower}");
				symlink(format!("../{lower}"), self.0.path().join(link)).unwrap();
			}
		}

		fn card(&self, name: &str, speed: &str, driver: &str) {
			self.interface(name, speed, &[]);
			let device = self.0.path().join(format!("sys/class/net/{name}/device"));
			fs::create_dir_all(&device).unwrap();
			symlink(format!("/drivers/{driver}"), device.join("driver")).unwrap();
		}

		fn route(&self, name: &str) {
			let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
			let lan = format!("{name} 0000A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n");
			let default = format!("{name} 00000000 0100A8C0 0003 0 0 100 00000000 0 0 0\n");
			self.file("proc/net/route", &format!("{head}{lan}{default}"));
		}

		fn mbps(&self) -> u32 {
			link(self.0.path()).map_or(0, |link| link.mbps)
		}
	}

	#[test]
	fn a_virtual_interfaces_speed_is_never_claimed() {
		let net = Net::new();
		// Interfaces of any host with a container.
		net.interface("lo", "", &[]);
		net.interface("veth1a2b3c", "10000\n", &[]);
		net.interface("tun0", "10\n", &[]);
		net.interface("docker0", "10000\n", &["veth1a2b3c"]);
		assert_eq!(net.mbps(), 0);
		net.route("docker0");
		assert_eq!(net.mbps(), 0);
		// A hypervisor's virtual card.
		net.card("ens3", "10000\n", "vmxnet3");
		assert_eq!(net.mbps(), 0);
		// One that is down, and a wireless one, which reports no speed.
		net.card("eth9", "-1\n", "igb");
		net.card("wlan0", "", "iwlwifi");
		assert_eq!(net.mbps(), 0);
		net.card("eth0", "1000\n", "e1000e");
		assert_eq!(net.mbps(), 1_000);
		let found = Hardware {
			link: link(net.0.path()),
			..machine()
		};
		assert!(
			found
				.bandwidth_remark()
				.contains("the link of eth0, an upper bound")
		);
		assert!(machine().bandwidth_remark().contains("--measure"));
	}

	#[test]
	fn the_link_of_the_default_route_counts() {
		let net = Net::new();
		net.card("eth0", "1000\n", "igb");
		net.card("eth1", "1000\n", "igb");
		net.card("storage", "100000\n", "mlx5_core");
		assert_eq!(net.mbps(), 100_000, "no route");
		net.route("eth0");
		assert_eq!(net.mbps(), 1_000);
		// A bridge of virtual machines, and a VLAN on a bond.
		net.interface("br0", "10000\n", &["eth0", "veth1"]);
		net.interface("veth1", "10000\n", &[]);
		net.route("br0");
		assert_eq!(net.mbps(), 1_000);
		net.interface("bond0", "2000\n", &["eth0", "eth1"]);
		net.file("sys/class/net/bond0/bonding/mode", "802.3ad 4\n");
		net.interface("bond0.7", "2000\n", &["bond0"]);
		net.route("bond0.7");
		assert_eq!(net.mbps(), 2_000);
		net.file("sys/class/net/bond0/bonding/mode", "active-backup 1\n");
		assert_eq!(net.mbps(), 1_000, "one at a time");
		// IPv6 alone.
		net.file("proc/net/route", "");
		let zeros = "0".repeat(32);
		let line =
			format!("{zeros} 00 {zeros} 00 fe800000000000000000000000000001 400 1 0 3 eth1\n");
		net.file("proc/net/ipv6_route", &line);
		assert_eq!(link(net.0.path()).unwrap().name, "eth1");
		// A wireless card reports no speed, and another card's speed says nothing about this route.
		net.card("wlan0", "", "iwlwifi");
		net.file("proc/net/ipv6_route", "");
		net.route("wlan0");
		assert_eq!(link(net.0.path()).map(|link| link.mbps), None);
	}
}
