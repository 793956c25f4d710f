//! The agent's place in the network: its socket, and the addresses that it publishes.

use anyhow::{Context, Result, bail, ensure};
use iroh::{
	Endpoint, RelayMode, RelayUrl, SecretKey,
	endpoint::{
		BindOpts, ConnectOptions, Connection, PortmapperConfig, QuicTransportConfig, VarInt,
		presets,
	},
};
use kaisar_primitives::agent::PROVIDER_PORT;
use kaisar_tunnel::{DialRule, is_public};
use parking_lot::Mutex;
use std::{
	net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
	time::Duration,
};
use tokio::sync::Notify;

/// Maximum number of published addresses of this agent.
pub const MAX_ADDRS: usize = 16;

/// Bounds on received bytes that are not read yet: memory that the other side can fill.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Unread {
	/// Bytes of an accepted connection. An agent's requests are short.
	pub accepted: VarInt,
	/// Bytes of a dialed connection, or of one that measures bandwidth: those of four streams with their own
	/// bound of 1.25 MB each.
	pub busy: VarInt,
	/// Streams that a dialed agent may open: none, since it only answers.
	pub streams: VarInt,
}

impl Default for Unread {
	fn default() -> Self {
		Self {
			accepted: VarInt::from_u32(64 << 10),
			busy: VarInt::from_u32(5_000_000),
			streams: VarInt::from_u32(0),
		}
	}
}

impl Unread {
	/// Raises the bound of a connection whose bandwidth is about to be measured.
	pub fn widen(&self, connection: &Connection) {
		connection.set_receive_window(self.busy);
	}
}

/// Network settings of an agent: addresses it publishes, and addresses it may dial.
#[derive(Clone, Debug)]
pub struct Network {
	/// Address of the only socket, in place of `port` on all interfaces.
	pub bind: Option<SocketAddr>,
	/// UDP port on all interfaces, IPv4 and IPv6; 0 for any.
	pub port: u16,
	/// Addresses at which others reach this agent, but that no interface of this machine has. Port 0 stands
	/// for the agent's own port.
	pub external: Vec<SocketAddr>,
	/// Relays that it uses: for itself, and to dial others.
	pub relays: Vec<RelayUrl>,
	/// Ask the gateway to forward a port.
	pub map_ports: bool,
	/// Publish private addresses too, and dial those of others.
	pub publish_private: bool,
	/// Bounds on bytes that are not read yet. Only tests of their purpose change them.
	#[doc(hidden)]
	pub unread: Unread,
}

impl Default for Network {
	fn default() -> Self {
		Self {
			bind: None,
			port: PROVIDER_PORT,
			external: Vec::new(),
			relays: Vec::new(),
			map_ports: true,
			publish_private: false,
			unread: Unread::default(),
		}
	}
}

/// Returns the settings of a connection on which the other side may open this number of streams and may fill
/// this number of unread bytes.
fn transport(streams: VarInt, unread: VarInt) -> Result<QuicTransportConfig> {
	let idle = Duration::from_secs(30)
		.try_into()
		.context("the idle timeout is invalid")?;
	Ok(QuicTransportConfig::builder()
		.max_concurrent_bidi_streams(streams)
		.max_concurrent_uni_streams(VarInt::from_u32(0))
		.receive_window(unread)
		.max_idle_timeout(Some(idle))
		.keep_alive_interval(Duration::from_secs(5))
		.build())
}

impl Network {
	/// Returns a network on this machine only: any port of this address, without requests to the outside.
	pub fn local(ip: IpAddr) -> Self {
		Self {
			bind: Some((ip, 0).into()),
			map_ports: false,
			publish_private: true,
			..Self::default()
		}
	}

	/// Returns the rule by which this agent dials others.
	pub fn dial_rule(&self) -> DialRule {
		DialRule {
			private: self.publish_private,
			relays: self.relays.clone(),
		}
	}

	/// Returns the options with which this agent dials others.
	pub fn dial_options(&self) -> Result<ConnectOptions> {
		let transport = transport(self.unread.streams, self.unread.busy)?;
		Ok(ConnectOptions::new().with_transport_config(transport))
	}

	/// Binds the endpoint whose identity is the agent's key, for connections of these ALPNs. It uses no
	/// discovery service, and only the relays of this network.
	pub async fn endpoint(&self, secret: &[u8; 32], alpns: &[&[u8]]) -> Result<Endpoint> {
		let transport = transport(VarInt::from_u32(16), self.unread.accepted)?;
		let relays = match &self.relays[..] {
			[] => RelayMode::Disabled,
			relays => RelayMode::custom(relays.iter().cloned()),
		};
		let mut builder = Endpoint::builder(presets::Minimal)
			.secret_key(SecretKey::from_bytes(secret))
			.alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
			.relay_mode(relays)
			// The agent requests mappings itself (`super::mapping`).
			.portmapper_config(PortmapperConfig::Disabled)
			.transport_config(transport)
			.clear_ip_transports();
		builder = match self.bind {
			Some(addr) => builder
				.bind_addr(addr)
				.with_context(|| format!("cannot bind UDP {addr}; choose another with --bind"))?,
			None => {
				let port = self.free_port()?;
				builder
					.bind_addr((Ipv4Addr::UNSPECIFIED, port))
					.context("cannot bind the IPv4 port; choose another with --port")?
					// A machine may have no IPv6.
					.bind_addr_with_opts(
						(Ipv6Addr::UNSPECIFIED, port),
						BindOpts::default().set_is_required(false),
					)
					.context("cannot bind the IPv6 port; choose another with --port")?
			}
		};
		let endpoint = builder.bind().await.with_context(|| match self.bind {
			Some(addr) => {
				format!("cannot bind UDP {addr}; choose another address or port with --bind")
			}
			None => format!(
				"cannot bind UDP port {}; choose another with --port",
				self.port
			),
		})?;
		for external in self.external(&endpoint) {
			endpoint.add_external_addr(external).await;
		}
		Ok(endpoint)
	}

	/// Returns the port, if no other program has it: if only its IPv6 side were taken, iroh would run
	/// without IPv6.
	fn free_port(&self) -> Result<u16> {
		for ip in [
			IpAddr::from(Ipv4Addr::UNSPECIFIED),
			Ipv6Addr::UNSPECIFIED.into(),
		] {
			match UdpSocket::bind((ip, self.port)) {
				Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
					"UDP port {} is taken by another program, perhaps by a second agent on this machine; choose \
					 another with --port, and let the firewall pass it",
					self.port
				),
				_ => (),
			}
		}
		Ok(self.port)
	}

	/// Returns the external addresses, with their ports.
	fn external(&self, endpoint: &Endpoint) -> Vec<SocketAddr> {
		let sockets = endpoint.bound_sockets();
		let port = |addr: &SocketAddr| {
			let mut same = sockets
				.iter()
				.filter(|socket| socket.is_ipv4() == addr.is_ipv4());
			same.next().or(sockets.first()).map_or(0, SocketAddr::port)
		};
		self.external
			.iter()
			.map(|addr| match addr.port() {
				0 => SocketAddr::new(addr.ip(), port(addr)),
				_ => *addr,
			})
			.collect()
	}

	/// Fails on settings that are wrong on any machine.
	pub fn check(&self) -> Result<()> {
		for addr in &self.external {
			ensure!(
				self.publish_private || is_public(addr.ip()),
				"{addr} is not a public address, so agents elsewhere cannot reach it; name the address that others \
				 see, or add --publish-private for a network of your own"
			);
		}
		ensure!(
			self.external.len() <= MAX_ADDRS,
			"{} external addresses are named, but at most {MAX_ADDRS} are allowed; remove some --external-address",
			self.external.len()
		);
		Ok(())
	}
}

/// Addresses of this agent that its interfaces do not have.
pub struct Located {
	external: Vec<SocketAddr>,
	map_ports: bool,
	publish_private: bool,
	mapped: Mutex<Option<SocketAddr>>,
	/// Wakes the task that publishes the addresses.
	pub(super) changed: Notify,
}

/// This agent's addresses, the most reachable first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnAddresses {
	/// Addresses for agents on this machine, at most [`MAX_ADDRS`].
	pub here: Vec<SocketAddr>,
	/// Addresses for all other agents.
	pub published: Vec<SocketAddr>,
	/// Relays that reach it now.
	pub relays: Vec<RelayUrl>,
}

impl Located {
	/// Creates the state of a network's endpoint.
	pub fn new(network: &Network, endpoint: &Endpoint) -> Self {
		Self {
			external: network.external(endpoint),
			map_ports: network.map_ports,
			publish_private: network.publish_private,
			mapped: Mutex::default(),
			changed: Notify::new(),
		}
	}

	/// Returns whether the agent may ask the gateway for a port.
	pub fn may_map(&self) -> bool {
		self.map_ports && self.external.is_empty()
	}

	/// Returns whether packets to the internet leave from a private IPv4 address.
	pub(super) fn needs_mapping(&self) -> bool {
		routed().iter().any(|ip| ip.is_ipv4() && !is_public(*ip))
	}

	/// Records the address that the gateway forwards. Returns the previous one.
	pub(super) fn set_mapped(&self, mapped: Option<SocketAddr>) -> Option<SocketAddr> {
		let before = std::mem::replace(&mut *self.mapped.lock(), mapped);
		self.changed.notify_one();
		before
	}

	/// Returns the agent's current addresses.
	pub fn addresses(&self, endpoint: &Endpoint) -> OwnAddresses {
		let addr = endpoint.addr();
		let mut found: Vec<_> = addr.ip_addrs().copied().collect();
		for socket in endpoint.bound_sockets() {
			match socket.ip() {
				IpAddr::V4(ip) if ip.is_unspecified() => {
					found.push((Ipv4Addr::LOCALHOST, socket.port()).into());
				}
				IpAddr::V6(ip) if ip.is_unspecified() => {
					found.push((Ipv6Addr::LOCALHOST, socket.port()).into());
				}
				_ => found.push(socket),
			}
		}
		found.extend(*self.mapped.lock());
		let here = ranked(&self.external, found, &routed());
		let mut published: Vec<_> = here
			.iter()
			.copied()
			.filter(|addr| self.publish_private || is_public(addr.ip()))
			.collect();
		// On another machine, a loopback address leads to that machine's own agent. A network within one
		// machine may have no other addresses.
		if published.iter().any(|addr| !addr.ip().is_loopback()) {
			published.retain(|addr| !addr.ip().is_loopback());
		}
		OwnAddresses {
			here,
			published,
			relays: addr.relay_urls().take(4).cloned().collect(),
		}
	}
}

/// Returns the best of these addresses, in this order: those that the operator named, public ones, loopback
/// addresses for agents on this machine, those of the interface that leads to the internet, and other
/// private ones. A machine may have more bridges than a record has places.
fn ranked(external: &[SocketAddr], found: Vec<SocketAddr>, routed: &[IpAddr]) -> Vec<SocketAddr> {
	let rank = |addr: &SocketAddr| match addr.ip() {
		_ if external.contains(addr) => 0,
		ip if is_public(ip) => 1,
		ip if ip.is_loopback() => 2,
		ip if routed.contains(&ip) => 3,
		_ => 4,
	};
	let mut all: Vec<_> = external.iter().copied().chain(found).collect();
	all.retain(|addr| !is_link_local(addr.ip()));
	all.sort_unstable_by_key(|addr| (rank(addr), *addr));
	all.dedup();
	all.truncate(MAX_ADDRS);
	all
}

/// Returns whether an address is useless to another host without the name of that host's interface.
fn is_link_local(ip: IpAddr) -> bool {
	match ip {
		IpAddr::V4(ip) => ip.is_link_local(),
		IpAddr::V6(ip) => ip.is_unicast_link_local(),
	}
}

/// Returns the source addresses of this machine's packets to the internet. Sends no packet.
fn routed() -> Vec<IpAddr> {
	let leaving = |from: IpAddr, to: IpAddr| {
		let socket = UdpSocket::bind((from, 0)).ok()?;
		socket.connect((to, 53)).ok()?;
		Some(socket.local_addr().ok()?.ip())
	};
	let v4 = leaving(
		Ipv4Addr::UNSPECIFIED.into(),
		Ipv4Addr::new(1, 1, 1, 1).into(),
	);
	let anywhere = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
	let v6 = leaving(Ipv6Addr::UNSPECIFIED.into(), anywhere.into());
	v4.into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests {
	use super::*;

	fn addr(text: &str) -> SocketAddr {
		text.parse().unwrap()
	}

	#[test]
	fn bridges_do_not_push_the_real_addresses_out() {
		let mut found: Vec<_> = (1..=20)
			.map(|bridge| addr(&format!("172.20.{bridge}.1:5")))
			.collect();
		let own = ["192.168.1.7:5", "203.1.2.3:5", "[2a01::7]:5", "127.0.0.1:5"].map(addr);
		found.extend(own);
		found.push(addr("[fe80::1]:5"));
		let external = [addr("9.9.9.9:77")];
		let ranked = ranked(&external, found, &["192.168.1.7".parse().unwrap()]);
		assert_eq!(ranked.len(), MAX_ADDRS);
		assert_eq!(
			ranked[..5],
			[
				external[0],
				addr("203.1.2.3:5"),
				addr("[2a01::7]:5"),
				addr("127.0.0.1:5"),
				addr("192.168.1.7:5")
			]
		);
	}

	#[tokio::test]
	async fn a_loopback_address_is_published_only_where_there_is_no_other() {
		let everywhere = Network {
			port: 0,
			map_ports: false,
			publish_private: true,
			..Network::default()
		};
		for network in [Network::local(Ipv4Addr::LOCALHOST.into()), everywhere] {
			let endpoint = network.endpoint(&[7; 32], &[]).await.unwrap();
			let own = Located::new(&network, &endpoint).addresses(&endpoint);
			let is_loopback = |addr: &&SocketAddr| addr.ip().is_loopback();
			assert!(own.here.iter().any(|addr| addr.ip().is_loopback()));
			let others = own.here.iter().filter(|addr| !is_loopback(addr)).count();
			let published = own.published.iter().filter(is_loopback).count();
			assert_eq!(published == 0, others > 0, "{own:?}");
			endpoint.close().await;
		}
	}

	#[tokio::test]
	async fn a_taken_port_is_named_with_what_to_do() {
		let taken = UdpSocket::bind("[::]:0").unwrap();
		let network = Network {
			port: taken.local_addr().unwrap().port(),
			..Network::default()
		};
		let refused = network.endpoint(&[1; 32], &[b"x"]).await.unwrap_err();
		let text = format!("{refused:#}");
		assert!(text.contains("--port"), "{text}");
		assert!(text.contains(&network.port.to_string()), "{text}");
	}

	#[test]
	fn external_addresses_are_public() {
		let mut network = Network {
			external: vec![addr("10.0.0.1:0")],
			..Network::default()
		};
		let refused = network.check().unwrap_err().to_string();
		assert!(refused.contains("--publish-private"), "{refused}");
		network.publish_private = true;
		network.check().unwrap();
	}
}
