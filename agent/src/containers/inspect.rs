//! Reads the engine's answers about a container: its labels, its ports, its health.

use super::{limits::HOST_NETWORK, state::LABEL_PORTS};
use bollard::models::{
	ContainerInspectResponse, ContainerSummary, DeviceRequest, HealthStatusEnum, ImageInspect,
};
use kaisar_primitives::MAX_PORTS;
use std::{
	net::{Ipv4Addr, SocketAddr},
	time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Time for a port to accept a connection.
const ACCEPT: Duration = Duration::from_secs(1);
/// Time for which a port must hold a connection that it accepted.
const HOLD: Duration = Duration::from_millis(250);
/// Maximum delay of an engine's first probe of a health check.
const PROBE_LATE: Duration = Duration::from_secs(10);
/// An engine's default for the interval and for the timeout of a health check.
const PROBE_DEFAULT: Duration = Duration::from_secs(30);

/// Returns a label of a container.
pub(super) fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a str> {
	let labels = container.labels.as_ref()?;
	labels.get(name).map(String::as_str)
}

/// Returns the TCP ports to let through, the default first: those that the order names, or those that the
/// image exposes, in ascending order.
pub(super) fn ports_of(image: &ImageInspect, named: &[u16]) -> Vec<u16> {
	if !named.is_empty() {
		return named.to_vec();
	}
	let config = image.config.as_ref();
	let exposed = config.and_then(|config| config.exposed_ports.as_ref());
	let mut ports: Vec<u16> = exposed
		.into_iter()
		.flatten()
		.filter_map(|port| match port.split_once('/') {
			Some((port, "tcp")) => port.parse().ok(),
			Some(_) => None,
			None => port.parse().ok(),
		})
		.filter(|port| *port > 0)
		.collect();
	ports.sort_unstable();
	ports.dedup();
	ports.truncate(MAX_PORTS as usize);
	ports
}

/// Returns the local addresses of a running container's ports.
pub(super) fn reached_at(found: &ContainerInspectResponse) -> Vec<(u16, SocketAddr)> {
	let labels = found
		.config
		.as_ref()
		.and_then(|config| config.labels.as_ref());
	let ports = labels
		.and_then(|labels| labels.get(LABEL_PORTS))
		.into_iter()
		.flat_map(|ports| ports.split(','))
		.take(MAX_PORTS as usize)
		.filter_map(|port| port.parse::<u16>().ok());
	let host = found.host_config.as_ref();
	if host.and_then(|host| host.network_mode.as_deref()) == Some(HOST_NETWORK) {
		return ports
			.map(|port| (port, (Ipv4Addr::LOCALHOST, port).into()))
			.collect();
	}
	let published = found
		.network_settings
		.as_ref()
		.and_then(|settings| settings.ports.as_ref());
	ports
		.filter_map(|port| {
			let bindings = published?.get(&format!("{port}/tcp"))?.as_ref()?;
			let address = bindings.iter().find_map(|binding| {
				let ip: Ipv4Addr = binding.host_ip.as_deref()?.parse().ok()?;
				let host_port: u16 = binding.host_port.as_deref()?.parse().ok()?;
				Some(SocketAddr::from((ip, host_port)))
			});
			Some((port, address?))
		})
		.collect()
}

/// Returns whether the engine hands these GPUs to a container, by their ids. An engine may leave out a
/// request that it does not know.
pub(super) fn has_gpus(found: ContainerInspectResponse, wanted: &[DeviceRequest]) -> bool {
	let ids = |requests: &[DeviceRequest]| {
		let of_each = |request: &DeviceRequest| request.device_ids.clone().unwrap_or_default();
		let mut ids: Vec<String> = requests.iter().flat_map(of_each).collect();
		ids.sort();
		ids
	};
	let given = found
		.host_config
		.and_then(|config| config.device_requests)
		.unwrap_or_default();
	ids(&given) == ids(wanted)
}

/// Returns whether a container's health check succeeds. Without one, or if the engine does not run it
/// (Podman without systemd), its port decides.
pub(super) async fn answers(
	found: &ContainerInspectResponse,
	ports: &[(u16, SocketAddr)],
	running: Duration,
) -> bool {
	let health = found.state.as_ref().and_then(|state| state.health.as_ref());
	match health.and_then(|health| health.status) {
		Some(HealthStatusEnum::HEALTHY) => return true,
		Some(HealthStatusEnum::UNHEALTHY) => return false,
		Some(HealthStatusEnum::STARTING) => {
			let probed = health
				.and_then(|health| health.log.as_ref())
				.is_some_and(|log| !log.is_empty());
			if probed || running < first_probe(found) {
				return false;
			}
		}
		_ => (),
	}
	match ports.first() {
		Some((_, address)) => accepts(*address).await,
		None => false,
	}
}

/// Returns the time by which an engine that runs health checks has run the first.
fn first_probe(found: &ContainerInspectResponse) -> Duration {
	let check = found
		.config
		.as_ref()
		.and_then(|config| config.healthcheck.as_ref());
	let of = |nanos: Option<i64>| match nanos.and_then(|nanos| u64::try_from(nanos).ok()) {
		None | Some(0) => PROBE_DEFAULT,
		Some(nanos) => Duration::from_nanos(nanos),
	};
	let interval = of(check.and_then(|check| check.interval));
	let timeout = of(check.and_then(|check| check.timeout));
	interval.saturating_add(timeout).saturating_add(PROBE_LATE)
}

/// Returns whether something listens. An engine's own proxy accepts for a container that does not listen
/// yet, and closes at once: what is accepted has to hold.
async fn accepts(address: SocketAddr) -> bool {
	let Ok(Ok(mut stream)) = tokio::time::timeout(ACCEPT, TcpStream::connect(address)).await else {
		return false;
	};
	match tokio::time::timeout(HOLD, stream.read(&mut [0])).await {
		Ok(read) => matches!(read, Ok(1)),
		Err(_) => true,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::{
		ContainerConfig, ContainerState as ApiState, Health, HealthConfig, HealthcheckResult,
		HostConfig, ImageConfig, NetworkSettings, PortBinding,
	};
	use std::collections::HashMap;
	use tokio::net::TcpListener;

	fn exposing(ports: &[&str]) -> ImageInspect {
		ImageInspect {
			config: Some(ImageConfig {
				exposed_ports: Some(ports.iter().map(|port| (*port).into()).collect()),
				..Default::default()
			}),
			..Default::default()
		}
	}

	#[test]
	fn ports_are_those_named_or_the_lowest_exposed() {
		let image = exposing(&["443/tcp", "80/tcp", "53/udp", "80/tcp"]);
		assert_eq!(ports_of(&image, &[]), [80, 443]);
		assert_eq!(ports_of(&image, &[443]), [443]);
		assert_eq!(ports_of(&image, &[9_000, 80]), [9_000, 80]);
		assert!(ports_of(&exposing(&["x/tcp", "0/tcp", ""]), &[]).is_empty());
		assert!(ports_of(&ImageInspect::default(), &[]).is_empty());
		let many: Vec<String> = (1..100).map(|port| format!("{port}/tcp")).collect();
		let many: Vec<&str> = many.iter().map(String::as_str).collect();
		assert_eq!(ports_of(&exposing(&many), &[]), [1, 2, 3, 4, 5, 6, 7, 8]);
	}

	fn container(network: &str, bindings: &[(&str, &str, &str)]) -> ContainerInspectResponse {
		ContainerInspectResponse {
			config: Some(ContainerConfig {
				labels: Some(HashMap::from([(LABEL_PORTS.into(), "90,80,x".into())])),
				..Default::default()
			}),
			host_config: Some(HostConfig {
				network_mode: Some(network.into()),
				..Default::default()
			}),
			network_settings: Some(NetworkSettings {
				ports: Some(
					bindings
						.iter()
						.map(|(port, ip, host_port)| {
							let binding = PortBinding {
								host_ip: Some((*ip).into()),
								host_port: Some((*host_port).into()),
							};
							((*port).into(), Some(vec![binding]))
						})
						.collect(),
				),
				..Default::default()
			}),
			..Default::default()
		}
	}

	#[test]
	fn ports_are_reached_where_the_engine_says() {
		let found = container(
			"bridge",
			&[("80/tcp", "127.0.0.1", "40000"), ("90/tcp", "", "1")],
		);
		let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
		assert_eq!(reached_at(&found), [(80, at(40_000))]);
		assert_eq!(
			reached_at(&container("host", &[])),
			[(90, at(90)), (80, at(80))]
		);
	}

	#[test]
	fn an_engine_that_hands_out_no_gpus_or_others_is_found_out() {
		let request = |ids: &[&str]| DeviceRequest {
			device_ids: Some(ids.iter().map(|id| (*id).into()).collect()),
			..Default::default()
		};
		let given = |requests: Option<Vec<DeviceRequest>>| {
			let mut found = container("bridge", &[]);
			if let Some(config) = &mut found.host_config {
				config.device_requests = requests;
			}
			has_gpus(found, &[request(&["GPU-a", "GPU-b"])])
		};
		assert!(given(Some(vec![request(&["GPU-b", "GPU-a"])])));
		for other in [
			None,
			Some(vec![]),
			Some(vec![request(&["GPU-a"])]),
			Some(vec![DeviceRequest {
				count: Some(2),
				..Default::default()
			}]),
		] {
			assert!(!given(other));
		}
	}

	#[tokio::test]
	async fn a_port_that_accepts_and_closes_does_not_answer() {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		let address = listener.local_addr().unwrap();
		assert!(accepts(address).await, "it waits to be spoken to");
		let closing = tokio::spawn(async move {
			loop {
				drop(listener.accept().await);
			}
		});
		// The first connection of above is still in the queue.
		assert!(!accepts(address).await, "it closes at once");
		closing.abort();
		let _ = closing.await;
		assert!(!accepts(address).await, "nothing listens");
	}

	#[tokio::test]
	async fn a_health_check_decides_unless_the_engine_does_not_run_it() {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		let ports = [(80, listener.local_addr().unwrap())];
		let with = |status, probes: usize| {
			let mut found = container("bridge", &[]);
			found.state = Some(ApiState {
				health: Some(Health {
					status: Some(status),
					log: Some(vec![HealthcheckResult::default(); probes]),
					..Default::default()
				}),
				..Default::default()
			});
			if let Some(config) = &mut found.config {
				config.healthcheck = Some(HealthConfig {
					interval: Some(1_000_000_000),
					timeout: Some(1_000_000_000),
					..Default::default()
				});
			}
			found
		};
		let soon = Duration::from_secs(1);
		let late = Duration::from_secs(60);
		use HealthStatusEnum::{EMPTY, HEALTHY, STARTING, UNHEALTHY};
		assert!(answers(&with(HEALTHY, 1), &[], soon).await);
		assert!(!answers(&with(UNHEALTHY, 1), &ports, late).await);
		assert!(!answers(&with(STARTING, 0), &ports, soon).await);
		assert!(!answers(&with(STARTING, 1), &ports, late).await);
		assert!(answers(&with(STARTING, 0), &ports, late).await);
		assert!(answers(&with(EMPTY, 0), &ports, soon).await);
		assert!(!answers(&with(EMPTY, 0), &[], late).await);
	}
}
