//! A port that the gateway forwards to this agent, if it speaks UPnP, NAT-PMP or PCP.
//!
//! iroh requests a mapping only with a relay, so the agent requests one itself. A machine with a public IPv4
//! address, or with an address that its operator named, needs none.

use super::network::Located;
use iroh::Endpoint;
use kaisar_tunnel::is_public;
use std::{
	net::{IpAddr, SocketAddr},
	num::NonZeroU16,
	sync::Arc,
	time::Duration,
};
use tokio::time::{sleep, timeout};

/// Interval of tries while no port is mapped.
const AGAIN: Duration = Duration::from_secs(60);
/// Interval of probes of the gateway while a port is mapped. `portmapper` renews a mapping by the protocol
/// that the last probe found, and forgets the protocol after ten minutes.
const PROBE: Duration = Duration::from_secs(5 * 60);
/// Timeout of a probe.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// Time for the endpoint to list the addresses of its interfaces.
const SETTLE: Duration = Duration::from_secs(1);

/// Keeps a mapping while one is needed, and records the mapped address. Never ends.
pub async fn keep(endpoint: Endpoint, located: Arc<Located>) {
	sleep(SETTLE).await;
	let Some(port) = mappable_port(&endpoint) else {
		tracing::info!(
			"no port is mapped: the agent does not listen on an IPv4 address of a network"
		);
		return std::future::pending().await;
	};
	let client = portmapper::Client::new(portmapper::Config::default());
	let mut external = client.watch_external_address();
	loop {
		if located.needs_mapping() {
			// Without a probe, it tries UPnP only.
			let _ = timeout(PROBE_TIME, client.probe()).await;
			// Requests a mapping if this port has none.
			client.update_local_port(port);
		} else {
			client.deactivate();
		}
		let pause = match *external.borrow() {
			Some(_) => PROBE,
			None => AGAIN,
		};
		if let Ok(Ok(())) = timeout(pause, external.changed()).await {
			let mapped = external.borrow_and_update().map(SocketAddr::V4);
			if let Some(lost) = located.set_mapped(mapped) {
				endpoint.remove_external_addr(&lost).await;
			}
			if let Some(mapped) = mapped {
				endpoint.add_external_addr(mapped).await;
			}
			say(mapped, port);
		}
	}
}

fn say(mapped: Option<SocketAddr>, port: NonZeroU16) {
	match mapped {
		Some(mapped) if is_public(mapped.ip()) => {
			tracing::info!("the gateway forwards UDP {mapped} to this agent's port {port}");
		}
		Some(mapped) => tracing::warn!(
			"the gateway forwards UDP {mapped} to this agent's port {port}, but that address is private too: the \
			 gateway is behind another one, or the provider's. Ask the provider for a public address, or use a \
			 relay (--relay-url)"
		),
		None => tracing::warn!(
			"the gateway no longer forwards a UDP port to this agent; the agent asks for one again"
		),
	}
}

/// Returns the port of the IPv4 socket, if hosts of a network can send to it.
fn mappable_port(endpoint: &Endpoint) -> Option<NonZeroU16> {
	let sockets = endpoint.bound_sockets();
	let mut ours = sockets.iter().filter(|socket| match socket.ip() {
		IpAddr::V4(ip) => !ip.is_loopback(),
		IpAddr::V6(_) => false,
	});
	NonZeroU16::new(ours.next()?.port())
}
