//! Limits on dialing the addresses in a stranger's record.
//!
//! An agent's record comes from a stranger, and dialing it sends packets to the addresses in it. So only
//! public addresses are dialed, and only relays that the dialing side has configured itself. A record can
//! then not make its reader probe a private network or open connections to any host.

use iroh::{EndpointAddr, PublicKey, RelayUrl};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Maximum number of addresses of one record that are dialed: an attempt sends a packet to each of them.
pub const MAX_DIALED: usize = 16;

/// Limits on the addresses and relays that are dialed. By default, public addresses are dialed, and no
/// relay.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DialRule {
	/// Whether private and loopback addresses are dialed too, for networks on one machine or in one LAN.
	pub private: bool,
	/// Relays that may be used.
	pub relays: Vec<RelayUrl>,
}

/// Reason why no part of a record may be dialed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undialable {
	/// The agent's key is not an ed25519 key.
	#[error("the agent's key is not an ed25519 key")]
	BadKey,
	/// Every address and relay of the record is refused by the rule.
	#[error(
		"the agent's record has no address that may be dialed: {private} are private, and {} are relays \
		 that are not configured here{}",
		relays.len(),
		listed(relays)
	)]
	Refused {
		/// Number of addresses that are not public.
		private: usize,
		/// Relays that the rule does not allow.
		relays: Vec<RelayUrl>,
	},
}

fn listed(relays: &[RelayUrl]) -> String {
	if relays.is_empty() {
		return String::new();
	}
	let urls: Vec<_> = relays.iter().map(ToString::to_string).collect();
	format!(" ({})", urls.join(", "))
}

impl DialRule {
	/// Returns the part of a record that this rule allows to dial.
	pub fn apply(
		&self,
		agent: &[u8; 32],
		addresses: impl IntoIterator<Item = SocketAddr>,
		relays: impl IntoIterator<Item = RelayUrl>,
	) -> Result<EndpointAddr, Undialable> {
		let key = PublicKey::from_bytes(agent).map_err(|_| Undialable::BadKey)?;
		let (dialed, private): (Vec<_>, Vec<_>) = addresses
			.into_iter()
			.partition(|address| self.allows(*address));
		let (known, foreign): (Vec<_>, Vec<_>) = relays
			.into_iter()
			.partition(|relay| self.relays.contains(relay));
		if dialed.is_empty() && known.is_empty() {
			return Err(Undialable::Refused {
				private: private.len(),
				relays: foreign,
			});
		}
		let mut addr = EndpointAddr::new(key);
		for address in dialed.into_iter().take(MAX_DIALED) {
			addr = addr.with_ip_addr(address);
		}
		for relay in known {
			addr = addr.with_relay_url(relay);
		}
		Ok(addr)
	}

	fn allows(&self, address: SocketAddr) -> bool {
		address.port() != 0 && (is_public(address.ip()) || self.private && is_host(address.ip()))
	}
}

/// Returns whether an address belongs to a single host, public or private.
fn is_host(ip: IpAddr) -> bool {
	let ip = ip.to_canonical();
	let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
	!(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

/// Returns whether an address is one at which any host of the internet can be reached. Addresses that embed
/// another, such as those of 6to4 and Teredo, are not: the embedded one may be private.
pub fn is_public(ip: IpAddr) -> bool {
	match ip.to_canonical() {
		IpAddr::V4(ip) => is_public_v4(ip),
		IpAddr::V6(ip) => is_public_v6(ip),
	}
}

/// Returns whether an address is public by IANA's registry of special-purpose IPv4 addresses.
fn is_public_v4(ip: Ipv4Addr) -> bool {
	let special = match ip.octets() {
		// This network.
		[0, ..] => true,
		// Addresses shared behind a provider's NAT.
		[100, b, ..] => b & 0xc0 == 64,
		// Protocol assignments, 6to4 relays.
		[192, 0, 0, _] | [192, 88, 99, _] => true,
		// Benchmarks.
		[198, 18 | 19, ..] => true,
		// Multicast, reserved, broadcast.
		[224..=255, ..] => true,
		_ => false,
	};
	!(special || ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation())
}

/// Returns whether an address is global unicast, outside of IANA's special-purpose ranges.
fn is_public_v6(ip: Ipv6Addr) -> bool {
	let special = match ip.segments() {
		// Protocol assignments, which include Teredo; documentation; 6to4.
		[0x2001, second, ..] => second < 0x200 || second == 0xdb8,
		[0x2002, ..] => true,
		[0x3fff, second, ..] => second < 0x1000,
		_ => false,
	};
	ip.segments()[0] & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
	use super::*;

	const KEY: [u8; 32] = [
		0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
		0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
		0x51, 0x1a,
	];

	fn relay(url: &str) -> RelayUrl {
		url.parse().unwrap()
	}

	#[test]
	fn addresses_of_special_ranges_are_not_public() {
		for public in [
			"1.1.1.1",
			"100.63.0.1",
			"100.128.0.1",
			"172.15.0.1",
			"172.32.0.1",
			"203.0.112.1",
			"2a01:4f8::1",
			"2001:4860::8888",
			"::ffff:1.1.1.1",
		] {
			assert!(is_public(public.parse().unwrap()), "{public}");
		}
		for special in [
			"0.0.0.0",
			"10.1.2.3",
			"100.64.0.1",
			"127.0.0.1",
			"169.254.169.254",
			"172.16.0.1",
			"172.31.255.255",
			"192.0.0.8",
			"192.168.1.1",
			"198.18.0.1",
			"198.51.100.1",
			"203.0.113.1",
			"224.0.0.1",
			"240.0.0.1",
			"255.255.255.255",
			"::",
			"::1",
			"::ffff:192.168.1.1",
			"64:ff9b::a00:1",
			"2001:0:1::1",
			"2001:db8::1",
			"2002:a00:1::1",
			"3fff::1",
			"fc00::1",
			"fe80::1",
			"ff02::1",
		] {
			assert!(!is_public(special.parse().unwrap()), "{special}");
		}
	}

	#[test]
	fn a_hostile_record_reaches_public_addresses_and_own_relays_only() {
		let rule = DialRule {
			private: false,
			relays: vec![relay("https://ours.example")],
		};
		let private: Vec<SocketAddr> = [
			"127.0.0.1:9944",
			"192.168.1.1:53",
			"169.254.169.254:80",
			"[fe80::1]:1",
			"[::ffff:10.0.0.1]:5",
			"1.1.1.1:0",
		]
		.map(|address| address.parse().unwrap())
		.to_vec();
		let theirs = [
			relay("http://192.168.1.1:8080"),
			relay("https://theirs.example"),
		];
		let refused = rule.apply(&KEY, private.clone(), theirs.clone());
		assert_eq!(
			refused,
			Err(Undialable::Refused {
				private: 6,
				relays: theirs.to_vec(),
			})
		);
		let many = (1..=99).map(|host| SocketAddr::from(([1, 1, 1, host], 7)));
		let relays = theirs.into_iter().chain([relay("https://ours.example")]);
		let addr = rule
			.apply(&KEY, private.clone().into_iter().chain(many), relays)
			.unwrap();
		assert_eq!(addr.ip_addrs().count(), MAX_DIALED);
		assert!(addr.ip_addrs().all(|address| is_public(address.ip())));
		assert_eq!(
			addr.relay_urls().collect::<Vec<_>>(),
			[&relay("https://ours.example")]
		);
		let local = DialRule {
			private: true,
			..rule
		};
		let addr = local.apply(&KEY, private, []).unwrap();
		assert_eq!(addr.ip_addrs().count(), 5, "port 0 cannot be dialed");
	}
}
