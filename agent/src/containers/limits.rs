//! What a container is given, and what it is not.

use bollard::models::{
	DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy,
	RestartPolicyNameEnum,
};
use kaisar_primitives::agent::{ContainerLimits, Deployment};
use std::{
	collections::HashMap,
	net::{Ipv4Addr, TcpListener},
	ops::Range,
	path::Path,
};

/// The name of the engine's network that is the machine's own.
pub(super) const HOST_NETWORK: &str = "host";
/// Most processes and threads in a container.
const MAX_PIDS: i64 = 16_384;
/// Part of its memory that a machine keeps for itself, and the least and most that it is.
const KEPT_MEMORY_PART: u64 = 16;
const KEPT_MEMORY_LEAST: u64 = 256 * 1024 * 1024;
const KEPT_MEMORY_MOST: u64 = 4 * 1024 * 1024 * 1024;
/// What a machine with more than one core keeps for itself, in billionths of a core.
const KEPT_NANO_CPUS: i64 = 250_000_000;
/// Largest log of a container's output that the engine keeps.
const LOG_SIZE: &str = "16m";
/// Ports of this machine that containers' ports are published at.
const PUBLISHED: Range<u16> = 20_000..30_000;
/// Bytes in a GB of an order.
pub(super) const GB: u64 = 1_000_000_000;

/// Capabilities that a template may name: what a program needs to change users and files of its own
/// container, and to listen on low ports. None of them reaches out of the container.
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

/// How GPUs are handed to a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gpus {
	/// By the engine, with NVIDIA's container toolkit.
	Nvidia,
	/// By their device files, which is all that AMD's and Intel's drivers need.
	Files,
}

/// The machine as far as it limits what can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Machine {
	pub cores: u16,
	/// In bytes.
	pub memory: u64,
	pub gpus: Option<Gpus>,
}

impl Machine {
	pub fn detect() -> Self {
		let mut system = sysinfo::System::new();
		system.refresh_memory();
		let gpus = if Path::new("/dev/nvidiactl").exists() {
			Some(Gpus::Nvidia)
		} else if Path::new("/dev/dri").exists() {
			Some(Gpus::Files)
		} else {
			None
		};
		Self {
			cores: u16::try_from(num_cpus::get()).unwrap_or(u16::MAX),
			memory: system.total_memory(),
			gpus,
		}
	}

	/// Bytes of memory for a container that asks for so many GB; all that can be given for 0.
	fn memory(&self, gb: u32) -> u64 {
		let kept = (self.memory / KEPT_MEMORY_PART).clamp(KEPT_MEMORY_LEAST, KEPT_MEMORY_MOST);
		let free = self.memory.saturating_sub(kept).max(self.memory / 2);
		match u64::from(gb) * GB {
			0 => free,
			asked => asked.min(free),
		}
	}

	/// Billionths of cores for a container that asks for so many cores; all that can be given for 0.
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

/// The capabilities to add, from what a template names.
pub(super) fn capabilities(named: &[String]) -> Result<Vec<String>, String> {
	let mut added = Vec::new();
	for name in named {
		let bare = name.strip_prefix("CAP_").unwrap_or(name);
		if !CAPABILITIES.contains(&bare) {
			return Err(format!("the capability {bare} is not given to containers"));
		}
		if !added.iter().any(|added| added == bare) {
			added.push(bare.to_owned());
		}
	}
	Ok(added)
}

/// A port of this machine to publish a container's port at, if one is found that nothing listens on.
///
/// It lies below what systems give to those that ask for any port. Podman can leave a forwarding rule behind
/// when a container ends: at an engine's own choice that rule would take a port from a program that has
/// nothing to do with containers, whose clients then wait for an answer in vain.
fn free_port() -> Option<u16> {
	let mut ports = std::iter::repeat_with(|| rand::random_range(PUBLISHED)).take(64);
	ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// What the engine is told of a container's surroundings. `quota`: whether the engine's storage can
/// limit what a container writes.
pub(super) fn host_config(
	deployment: &Deployment,
	machine: &Machine,
	network: &str,
	ports: &[u16],
	quota: bool,
) -> Result<HostConfig, String> {
	let ContainerLimits {
		gpus,
		cpu_cores,
		memory_gb,
		disk_gb,
	} = deployment.limits;
	let memory = i64::try_from(machine.memory(memory_gb)).unwrap_or(i64::MAX);
	let own_network = network != HOST_NETWORK;
	let publish = |port: &u16| {
		let binding = PortBinding {
			host_ip: Some("127.0.0.1".into()),
			// Without one it is the engine's choice.
			host_port: Some(free_port().map_or_else(String::new, |port| port.to_string())),
		};
		(format!("{port}/tcp"), Some(vec![binding]))
	};
	let (device_requests, devices) = match (gpus, machine.gpus) {
		(0, _) => (None, None),
		(_, None) => return Err("no GPU that could be handed to a container".into()),
		(gpus, Some(Gpus::Nvidia)) => (
			Some(vec![DeviceRequest {
				count: Some(gpus.into()),
				capabilities: Some(vec![vec!["gpu".into()]]),
				..Default::default()
			}]),
			None,
		),
		(_, Some(Gpus::Files)) => (
			None,
			Some(
				["/dev/dri", "/dev/kfd"]
					.into_iter()
					.filter(|path| Path::new(path).exists())
					.map(|path| DeviceMapping {
						path_on_host: Some(path.into()),
						path_in_container: Some(path.into()),
						cgroup_permissions: Some("rw".into()),
					})
					.collect(),
			),
		),
	};
	Ok(HostConfig {
		nano_cpus: Some(machine.nano_cpus(cpu_cores)),
		memory: Some(memory),
		// Memory and swap together: no swap.
		memory_swap: Some(memory),
		// Counts as memory; what trains on several processes passes its data through it.
		shm_size: Some(memory / 2),
		pids_limit: Some(MAX_PIDS),
		storage_opt: (quota && disk_gb > 0)
			.then(|| HashMap::from([("size".into(), format!("{disk_gb}G"))])),
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
		// Low ports are free for all inside: nothing else listens in that network.
		sysctls: own_network
			.then(|| HashMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "0".into())])),
		..Default::default()
	})
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_core::ed25519;

	const MACHINE: Machine = Machine {
		cores: 8,
		memory: 32 * GB,
		gpus: None,
	};

	fn deployment(limits: ContainerLimits) -> Deployment {
		Deployment {
			order: 1,
			image: "a".into(),
			port: None,
			capabilities: Vec::new(),
			client: ed25519::Public::default(),
			limits,
			serve_ms: None,
			keep_ms: 1,
		}
	}

	#[test]
	fn a_container_gets_what_is_asked_and_leaves_the_machine_something() {
		assert_eq!(MACHINE.memory(16), 16 * GB);
		assert_eq!(MACHINE.memory(32), 30 * GB);
		assert_eq!(MACHINE.memory(0), 30 * GB);
		assert_eq!(MACHINE.memory(u32::MAX), 30 * GB);
		assert_eq!(MACHINE.nano_cpus(4), 4_000_000_000);
		assert_eq!(MACHINE.nano_cpus(8), 7_750_000_000);
		assert_eq!(MACHINE.nano_cpus(u16::MAX), 7_750_000_000);
		let small = Machine {
			cores: 1,
			memory: 300_000_000,
			gpus: None,
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
	fn nothing_of_the_machine_is_shared() {
		let limits = ContainerLimits {
			disk_gb: 20,
			..Default::default()
		};
		let config = host_config(&deployment(limits), &MACHINE, "bridge", &[80], true).unwrap();
		assert_eq!(config.memory, config.memory_swap);
		assert_eq!(config.storage_opt.unwrap()["size"], "20G");
		assert!(config.binds.is_none() && config.mounts.is_none() && config.pid_mode.is_none());
		let ports = config.port_bindings.unwrap();
		let binding = &ports["80/tcp"].as_ref().unwrap()[0];
		assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
		// Programs that ask the system for any port never get this one.
		let port = binding.host_port.as_deref().unwrap().parse().unwrap();
		assert!(PUBLISHED.contains(&port));
		let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
		let least: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
		assert!(PUBLISHED.end <= least);
		let config =
			host_config(&deployment(limits), &MACHINE, HOST_NETWORK, &[80], false).unwrap();
		assert!(config.port_bindings.is_none() && config.sysctls.is_none());
		assert!(config.storage_opt.is_none());
	}

	#[test]
	fn gpus_are_given_or_it_is_said_that_there_are_none() {
		let limits = ContainerLimits {
			gpus: 2,
			..Default::default()
		};
		let config =
			|machine: &Machine| host_config(&deployment(limits), machine, "bridge", &[], true);
		assert!(config(&MACHINE).is_err());
		let nvidia = Machine {
			gpus: Some(Gpus::Nvidia),
			..MACHINE
		};
		let requests = config(&nvidia).unwrap().device_requests.unwrap();
		assert_eq!(requests[0].count, Some(2));
		assert_eq!(requests[0].capabilities.as_ref().unwrap()[0], ["gpu"]);
	}
}
