//! A container's resources, devices and privileges.

use crate::gpu::{Card, Kind, Pool, Vendor};
use bollard::models::{
	DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy,
	RestartPolicyNameEnum,
};
use kaisar_primitives::{
	RESERVED_ENV,
	agent::{ContainerLimits, Deployment},
};
use std::{
	collections::HashMap,
	fs,
	net::{Ipv4Addr, TcpListener},
	ops::Range,
	path::Path,
	sync::Arc,
};

/// Name of the engine's network that is the machine's own.
pub(super) const HOST_NETWORK: &str = "host";
/// Maximum number of processes and threads in a container.
const MAX_PIDS: i64 = 16_384;
/// Divisor of a machine's memory that gives the part kept for the machine itself, within the next two bounds
/// and never more than half.
const KEPT_MEMORY_PART: u64 = 16;
/// Minimum of the kept memory: a node and an agent need 2 GB.
const KEPT_MEMORY_LEAST: u64 = 2 * GB;
/// Maximum of the kept memory.
const KEPT_MEMORY_MOST: u64 = 4 * 1024 * 1024 * 1024;
/// Part of a core that a machine with several cores keeps for itself, in billionths.
const KEPT_NANO_CPUS: i64 = 250_000_000;
/// Maximum size of the log of a container's output that the engine keeps.
const LOG_SIZE: &str = "16m";
/// Ports of this machine at which containers' ports are published.
const PUBLISHED: Range<u16> = 20_000..30_000;
/// Bytes in an order's GB.
pub(super) const GB: u64 = 1_000_000_000;

/// Capabilities that a template may name, for programs that change users and files of their own container or
/// listen on low ports. None of them has an effect outside the container.
const CAPABILITIES: [&str; 10] = [
	"CHOWN",
	"DAC_OVERRIDE",
	"FOWNER",
	"FSETID",
	"KILL",
	"NET_BIND_SERVICE",
	"SETGID",
	"SETPCAP",
	"SETUID",
	"SYS_CHROOT",
];

/// The reserved variable that lists a container's GPUs, by UUID.
const VISIBLE_GPUS: &str = "NVIDIA_VISIBLE_DEVICES";

/// Means of handing a GPU to a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum GpuAccess {
	/// The engine, with NVIDIA's container toolkit, by this id.
	Engine(String),
	/// Device files, which suffice for AMD's and Intel's drivers.
	Files(Vec<String>),
}

impl GpuAccess {
	/// Returns the means for a GPU, or the reason why it cannot be handed to a container. `root` is `/`
	/// except in tests.
	fn of(card: &Card, root: &Path) -> Result<Self, String> {
		let exists = |path: &str| root.join(path.trim_start_matches('/')).exists();
		if card.kind == Kind::Software {
			return Err(format!(
				"{card}: a software renderer cannot be handed to a container"
			));
		}
		if card.vendor == Vendor::Nvidia {
			if !exists("/dev/nvidiactl") {
				return Err(format!(
					"{card}: /dev/nvidiactl is missing; load NVIDIA's driver, or run nvidia-modprobe"
				));
			}
			let uuid = card.uuid;
			let uuid = uuid.ok_or_else(|| format!("{card}: its driver reports no UUID"))?;
			return Ok(Self::Engine(format!("GPU-{uuid}")));
		}
		let bus = card
			.bus
			.ok_or_else(|| format!("{card}: its driver reports no PCI bus id"))?;
		let drm = root.join(format!("sys/bus/pci/devices/{bus}/drm"));
		let nodes = fs::read_dir(&drm).into_iter().flatten().flatten();
		// Never `card*`: those can set a screen's mode.
		let mut files: Vec<String> = nodes
			.filter_map(|node| node.file_name().into_string().ok())
			.filter(|name| name.starts_with("renderD"))
			.map(|name| format!("/dev/dri/{name}"))
			.filter(|path| exists(path))
			.collect();
		if files.is_empty() {
			return Err(format!(
				"{card}: it has no /dev/dri/renderD…; load its driver, then check {}",
				drm.display()
			));
		}
		files.sort();
		if card.vendor == Vendor::Amd && exists("/dev/kfd") {
			files.push("/dev/kfd".into());
		}
		Ok(Self::Files(files))
	}
}

/// Resources of the machine that limit containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Machine {
	pub cores: u16,
	/// In bytes.
	pub memory: u64,
	/// GPUs that the agent proves, in order of use.
	pub gpus: Vec<Card>,
}

impl Machine {
	/// Detects the machine's resources for an order: a driver may have been installed since the last one.
	/// Blocks if GPUs are wanted.
	pub fn detect(gpus: Option<&Pool>) -> Self {
		let mut system = sysinfo::System::new();
		system.refresh_memory();
		let cards = |pool: &Pool| {
			pool.look();
			pool.cards()
		};
		Self {
			cores: u16::try_from(num_cpus::get()).unwrap_or(u16::MAX),
			memory: system.total_memory(),
			gpus: gpus.map_or_else(Vec::new, cards),
		}
	}

	/// Detects the machine's resources for an order without blocking the runtime.
	pub async fn detect_for(deployment: &Deployment, gpus: &Arc<Pool>) -> Result<Self, String> {
		let gpus = (deployment.limits.gpus > 0).then(|| gpus.clone());
		tokio::task::spawn_blocking(move || Self::detect(gpus.as_deref()))
			.await
			.map_err(|error| format!("cannot detect the machine's resources: {error}"))
	}

	/// Returns the means for an order's GPUs, which are the first that the agent proves.
	fn handed(&self, wanted: u8, root: &Path) -> Result<Vec<GpuAccess>, String> {
		let there = self.gpus.len();
		if there < usize::from(wanted) {
			return Err(format!(
				"the order wants {wanted} GPU(s), but this agent has {there} that it can use; \
				 `kaisar-agent detect` lists them"
			));
		}
		let cards = self.gpus.iter().take(wanted.into());
		cards.map(|card| GpuAccess::of(card, root)).collect()
	}

	/// Returns the bytes of memory for a container that asks for `gb` GB; for 0, all that can be given.
	fn memory(&self, gb: u32) -> u64 {
		let kept = (self.memory / KEPT_MEMORY_PART).clamp(KEPT_MEMORY_LEAST, KEPT_MEMORY_MOST);
		let free = self.memory.saturating_sub(kept).max(self.memory / 2);
		match u64::from(gb) * GB {
			0 => free,
			asked => asked.min(free),
		}
	}

	/// Returns the billionths of cores for a container that asks for `cores`; for 0, all that can be given.
	fn nano_cpus(&self, cores: u16) -> i64 {
		let all = i64::from(self.cores.max(1)) * 1_000_000_000;
		let free = if self.cores > 1 {
			all - KEPT_NANO_CPUS
		} else {
			all
		};
		match i64::from(cores) * 1_000_000_000 {
			0 => free,
			asked => asked.min(free),
		}
	}
}

/// Returns the capabilities to add for a template, or the reason why one is refused.
pub(super) fn capabilities(named: &[String]) -> Result<Vec<String>, String> {
	let mut added = Vec::new();
	for name in named {
		let bare = name.strip_prefix("CAP_").unwrap_or(name);
		if !CAPABILITIES.contains(&bare) {
			return Err(format!(
				"containers do not get the capability {bare}; allowed are {}",
				CAPABILITIES.join(", ")
			));
		}
		if !added.iter().any(|added| added == bare) {
			added.push(bare.to_owned());
		}
	}
	Ok(added)
}

/// Returns a container's environment, in addition to its image's: an order's variables, the last of each
/// name, and the reserved ones.
///
/// If NVIDIA's runtime is the engine's default, these select a container's devices, and an image can set
/// them too. So every container gets them, with the GPUs that the engine hands out for its order. Which
/// libraries of the driver it gets (`NVIDIA_DRIVER_CAPABILITIES`) is the customer's choice, as is what its
/// program loads (`LD_PRELOAD`): an image could do the same, and neither opens another device.
pub(super) fn environment(named: &[String], handed: Option<&[DeviceRequest]>) -> Vec<String> {
	let mut variables: Vec<(&str, String)> = Vec::new();
	for variable in named {
		let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
		variables.retain(|(other, _)| *other != name);
		variables.push((name, value.to_owned()));
	}
	for (name, none) in RESERVED_ENV {
		variables.retain(|(other, _)| *other != name);
		variables.push((name, none.to_owned()));
	}
	let ids: Vec<&str> = handed
		.into_iter()
		.flatten()
		.flat_map(|request| request.device_ids.iter().flatten())
		.map(String::as_str)
		.collect();
	if let Some((_, value)) = variables.iter_mut().find(|(name, _)| *name == VISIBLE_GPUS)
		&& !ids.is_empty()
	{
		*value = ids.join(",");
	}
	variables
		.into_iter()
		.map(|(name, value)| format!("{name}={value}"))
		.collect()
}

/// Returns a port of this machine to publish a container's port at, if it finds one without a listener.
///
/// The port is below the system's ephemeral range. Podman can leave a forwarding rule behind when a
/// container ends: on a port of the engine's own choice, that rule could intercept the port of a program
/// that has nothing to do with containers, whose clients would then wait for an answer in vain.
fn free_port() -> Option<u16> {
	let mut ports = std::iter::repeat_with(|| rand::random_range(PUBLISHED)).take(64);
	ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// Returns the engine's requests for GPUs: by id, and by device file.
fn devices(handed: Vec<GpuAccess>) -> (Option<Vec<DeviceRequest>>, Option<Vec<DeviceMapping>>) {
	let (mut ids, mut files) = (Vec::new(), Vec::<String>::new());
	for each in handed {
		match each {
			GpuAccess::Engine(id) => ids.push(id),
			GpuAccess::Files(of_it) => files.extend(of_it),
		}
	}
	// Several GPUs share /dev/kfd.
	files.sort();
	files.dedup();
	let mapping = |path: String| DeviceMapping {
		path_on_host: Some(path.clone()),
		path_in_container: Some(path),
		cgroup_permissions: Some("rw".into()),
	};
	let request = |ids| DeviceRequest {
		device_ids: Some(ids),
		capabilities: Some(vec![vec!["gpu".into()]]),
		..Default::default()
	};
	(
		(!ids.is_empty()).then(|| vec![request(ids)]),
		(!files.is_empty()).then(|| files.into_iter().map(mapping).collect()),
	)
}

/// Returns a container's host configuration for the engine. `quota` is the number of bytes that it may
/// write, if the engine's storage can limit them.
pub(super) fn host_config(
	deployment: &Deployment,
	machine: &Machine,
	network: &str,
	ports: &[u16],
	quota: Option<u64>,
) -> Result<HostConfig, String> {
	let ContainerLimits {
		gpus,
		cpu_cores,
		memory_gb,
		..
	} = deployment.limits;
	let memory = i64::try_from(machine.memory(memory_gb)).unwrap_or(i64::MAX);
	let own_network = network != HOST_NETWORK;
	let publish = |port: &u16| {
		let binding = PortBinding {
			host_ip: Some("127.0.0.1".into()),
			// Without a free port, the engine chooses.
			host_port: Some(free_port().map_or_else(String::new, |port| port.to_string())),
		};
		(format!("{port}/tcp"), Some(vec![binding]))
	};
	let (device_requests, devices) = devices(machine.handed(gpus, Path::new("/"))?);
	Ok(HostConfig {
		nano_cpus: Some(machine.nano_cpus(cpu_cores)),
		memory: Some(memory),
		// Memory and swap together: no swap.
		memory_swap: Some(memory),
		// Counts as memory. Training on several processes passes its data through it.
		shm_size: Some(memory / 2),
		pids_limit: Some(MAX_PIDS),
		storage_opt: quota.map(|bytes| HashMap::from([("size".into(), bytes.to_string())])),
		log_config: Some(HostConfigLogConfig {
			typ: Some("json-file".into()),
			config: Some(HashMap::from([
				("max-size".into(), LOG_SIZE.into()),
				("max-file".into(), "1".into()),
			])),
		}),
		cap_drop: Some(vec!["ALL".into()]),
		cap_add: Some(capabilities(&deployment.capabilities)?),
		security_opt: Some(vec!["no-new-privileges".into()]),
		privileged: Some(false),
		device_requests,
		devices,
		restart_policy: Some(RestartPolicy {
			name: Some(RestartPolicyNameEnum::NO),
			maximum_retry_count: None,
		}),
		network_mode: Some(network.into()),
		port_bindings: own_network.then(|| ports.iter().map(publish).collect()),
		// Low ports need no privilege: nothing else listens in the container's own network.
		sysctls: own_network
			.then(|| HashMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "0".into())])),
		..Default::default()
	})
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::gpu::tests::card;
	use sp_core::ed25519;

	const MACHINE: Machine = Machine {
		cores: 8,
		memory: 32 * GB,
		gpus: Vec::new(),
	};

	fn deployment(limits: ContainerLimits) -> Deployment {
		Deployment {
			order: 1,
			image: "a".into(),
			args: Vec::new(),
			env: Vec::new(),
			ports: Vec::new(),
			capabilities: Vec::new(),
			client: ed25519::Public::default(),
			limits,
			answer_ms: None,
			serve_ms: None,
			keep_ms: 1,
		}
	}

	#[test]
	fn a_container_gets_the_requested_resources_and_leaves_some_to_the_machine() {
		assert_eq!(MACHINE.memory(16), 16 * GB);
		assert_eq!(MACHINE.memory(32), 30 * GB);
		assert_eq!(MACHINE.memory(0), 30 * GB);
		assert_eq!(MACHINE.memory(u32::MAX), 30 * GB);
		assert_eq!(MACHINE.nano_cpus(4), 4_000_000_000);
		assert_eq!(MACHINE.nano_cpus(8), 7_750_000_000);
		assert_eq!(MACHINE.nano_cpus(u16::MAX), 7_750_000_000);
		let middle = Machine {
			memory: 16 * GB,
			..MACHINE
		};
		assert_eq!(middle.memory(16), 14 * GB, "a node runs beside it");
		let small = Machine {
			cores: 1,
			memory: 300_000_000,
			gpus: Vec::new(),
		};
		assert_eq!(small.memory(1), 150_000_000);
		assert_eq!(small.nano_cpus(1), 1_000_000_000);
	}

	#[test]
	fn only_harmless_capabilities_are_given() {
		let named = |names: &[&str]| {
			let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
			capabilities(&names)
		};
		assert_eq!(named(&["CAP_CHOWN", "CHOWN"]).unwrap(), ["CHOWN"]);
		for name in ["SYS_ADMIN", "ALL", "NET_RAW", "MKNOD", "chown", ""] {
			assert!(named(&[name]).is_err(), "{name}");
		}
	}

	#[test]
	fn an_order_sets_its_variables_and_opens_no_device_with_them() {
		let set = |named: &[&str], handed: Option<&[DeviceRequest]>| {
			let named: Vec<String> = named.iter().map(|variable| (*variable).into()).collect();
			environment(&named, handed)
		};
		let none = set(&[], None);
		assert_eq!(none.len(), RESERVED_ENV.len());
		assert!(none.contains(&"NVIDIA_VISIBLE_DEVICES=void".into()));
		// The last of a name counts, in the place of the last.
		let twice = set(&["A=1", "B=", "A=2=3"], None);
		assert_eq!(twice[..2], ["B=", "A=2=3"]);
		assert_eq!(twice[2..], none);
		let greedy = [
			"NVIDIA_VISIBLE_DEVICES=all",
			"NVIDIA_MOFED=enabled",
			"NVIDIA_DRIVER_CAPABILITIES=all",
		];
		let without = set(&greedy, None);
		assert_eq!(without[0], "NVIDIA_DRIVER_CAPABILITIES=all");
		assert_eq!(without[1..], none);
		let handed = DeviceRequest {
			device_ids: Some(vec!["GPU-a".into(), "GPU-b".into()]),
			..Default::default()
		};
		let with = set(&greedy, Some(&[handed]));
		assert_eq!(with.len(), without.len());
		assert!(with.contains(&"NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b".into()));
		assert!(with.contains(&"NVIDIA_MOFED=disabled".into()));
	}

	#[test]
	fn nothing_of_the_machine_is_shared() {
		let limits = ContainerLimits::default();
		let quota = Some(20 * GB);
		let config = host_config(&deployment(limits), &MACHINE, "bridge", &[80], quota).unwrap();
		assert_eq!(config.memory, config.memory_swap);
		assert_eq!(config.storage_opt.unwrap()["size"], "20000000000");
		assert!(config.binds.is_none() && config.mounts.is_none() && config.pid_mode.is_none());
		let ports = config.port_bindings.unwrap();
		let binding = &ports["80/tcp"].as_ref().unwrap()[0];
		assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
		// The port is not in the system's ephemeral range.
		let port = binding.host_port.as_deref().unwrap().parse().unwrap();
		assert!(PUBLISHED.contains(&port));
		let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
		let least: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
		assert!(PUBLISHED.end <= least);
		let config = host_config(&deployment(limits), &MACHINE, HOST_NETWORK, &[80], None).unwrap();
		assert!(config.port_bindings.is_none() && config.sysctls.is_none());
		assert!(config.storage_opt.is_none());
	}

	/// Creates the device files and the PCI bus of a fake machine.
	fn files(root: &Path, paths: &[&str]) {
		for path in paths {
			let path = root.join(path);
			fs::create_dir_all(path.parent().unwrap()).unwrap();
			fs::write(path, "").unwrap();
		}
	}

	fn machine(gpus: Vec<Card>) -> Machine {
		Machine { gpus, ..MACHINE }
	}

	#[test]
	fn a_container_gets_the_gpus_that_are_proved_and_no_others() {
		let dir = tempfile::tempdir().unwrap();
		let root = dir.path();
		files(root, &["dev/nvidiactl"]);
		let proved = [
			card("NVIDIA GeForce RTX 4090", Kind::Discrete, "06:00.0", 24),
			card("NVIDIA GeForce RTX 4090", Kind::Discrete, "04:00.0", 24),
			card("NVIDIA GeForce RTX 3090", Kind::Discrete, "01:00.0", 24),
		];
		let ids: Vec<String> = proved
			.iter()
			.map(|card| format!("GPU-{}", card.uuid.unwrap()))
			.collect();
		let machine = machine(proved.to_vec());
		let requested = |wanted| {
			let (requests, files) = devices(machine.handed(wanted, root).unwrap());
			assert!(files.is_none());
			requests.map(|requests| requests[0].clone())
		};
		let two = requested(2).unwrap();
		assert_eq!(
			two.device_ids.as_deref(),
			Some(&ids[..2]),
			"the first of them"
		);
		assert_eq!(two.count, None, "an engine would take any");
		assert_eq!(two.capabilities.unwrap()[0], ["gpu"]);
		assert_eq!(requested(3).unwrap().device_ids.as_deref(), Some(&ids[..]));
		assert!(requested(0).is_none());
		let error = machine.handed(4, root).unwrap_err();
		assert!(
			error.contains("wants 4 GPU(s)") && error.contains("has 3"),
			"{error}"
		);
	}

	#[test]
	fn of_device_files_only_those_of_the_gpus_are_given() {
		let dir = tempfile::tempdir().unwrap();
		let root = dir.path();
		files(
			root,
			&[
				"dev/kfd",
				"dev/dri/card0",
				"dev/dri/card1",
				"dev/dri/renderD128",
				"dev/dri/renderD129",
				"dev/dri/renderD130",
				"sys/bus/pci/devices/0000:0b:00.0/drm/card0/dev",
				"sys/bus/pci/devices/0000:0b:00.0/drm/renderD128/dev",
				"sys/bus/pci/devices/0000:03:00.0/drm/card1/dev",
				"sys/bus/pci/devices/0000:03:00.0/drm/renderD129/dev",
				"sys/bus/pci/devices/0000:04:00.0/drm/renderD130/dev",
			],
		);
		let amd = |bus| card("AMD Radeon RX 7900 XTX", Kind::Discrete, bus, 24);
		let intel = Card {
			vendor: Vendor::Other,
			..card("Intel Arc B580", Kind::Discrete, "04:00.0", 12)
		};
		let given = |gpus: Vec<Card>| {
			let wanted = gpus.len() as u8;
			let (requests, files) = devices(machine(gpus).handed(wanted, root)?);
			assert!(requests.is_none());
			let files = files.unwrap_or_default();
			let paths = files.into_iter().filter_map(|file| file.path_on_host);
			Ok::<_, String>(paths.collect::<Vec<_>>())
		};
		assert_eq!(
			given(vec![amd("03:00.0")]).unwrap(),
			["/dev/dri/renderD129", "/dev/kfd"]
		);
		assert_eq!(given(vec![intel.clone()]).unwrap(), ["/dev/dri/renderD130"]);
		assert_eq!(
			given(vec![amd("0b:00.0"), intel, amd("03:00.0")]).unwrap(),
			[
				"/dev/dri/renderD128",
				"/dev/dri/renderD129",
				"/dev/dri/renderD130",
				"/dev/kfd"
			]
		);
		// The error names the GPU and the remedy.
		let error = given(vec![amd("07:00.0")]).unwrap_err();
		assert!(
			error.contains("0000:07:00.0") && error.contains("renderD"),
			"{error}"
		);
		// An NVIDIA GPU without its driver is not handed out by files; once the driver is loaded, it is
		// handed out.
		let nvidia = || vec![card("NVIDIA A100", Kind::Discrete, "03:00.0", 80)];
		let error = given(nvidia()).unwrap_err();
		assert!(error.contains("/dev/nvidiactl is missing"), "{error}");
		files(root, &["dev/nvidiactl"]);
		assert!(
			machine(nvidia()).handed(1, root).is_ok(),
			"found when an order comes"
		);
		let software = card("llvmpipe", Kind::Software, "", 4);
		assert!(given(vec![software]).is_err());
	}

	#[test]
	fn an_order_for_missing_gpus_fails_with_their_number() {
		let limits = ContainerLimits {
			gpus: 2,
			..Default::default()
		};
		let error = host_config(&deployment(limits), &MACHINE, "bridge", &[], None).unwrap_err();
		assert!(
			error.contains("wants 2 GPU(s)") && error.contains("has 0"),
			"{error}"
		);
	}
}
