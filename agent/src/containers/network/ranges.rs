//! Addresses that a container must not reach, as ranges without overlaps.

use std::{fmt, net::Ipv4Addr};

/// Networks that are not of the public Internet, as address and number of bits.
///
/// Documentation networks (RFC 5737) are missing: nothing answers there.
const NOT_PUBLIC: [(Ipv4Addr, u8); 11] = [
	// This network: RFC 791, 3.2.
	(Ipv4Addr::new(0, 0, 0, 0), 8),
	// Private: RFC 1918.
	(Ipv4Addr::new(10, 0, 0, 0), 8),
	// Shared by customers of a carrier: RFC 6598. Alibaba Cloud's metadata is at 100.100.100.200.
	(Ipv4Addr::new(100, 64, 0, 0), 10),
	// Loopback: RFC 1122, 3.2.1.3.
	(Ipv4Addr::new(127, 0, 0, 0), 8),
	// Link-local: RFC 3927. Most clouds' metadata is at 169.254.169.254.
	(Ipv4Addr::new(169, 254, 0, 0), 16),
	// Private: RFC 1918.
	(Ipv4Addr::new(172, 16, 0, 0), 12),
	// Protocol assignments: RFC 6890. Oracle Cloud's metadata was at 192.0.0.192.
	(Ipv4Addr::new(192, 0, 0, 0), 24),
	// Relays of 6to4: RFC 7526.
	(Ipv4Addr::new(192, 88, 99, 0), 24),
	// Private: RFC 1918.
	(Ipv4Addr::new(192, 168, 0, 0), 16),
	// Benchmarks of network devices: RFC 2544.
	(Ipv4Addr::new(198, 18, 0, 0), 15),
	// Multicast, reserved, and broadcast: RFC 5771, RFC 1112, RFC 919.
	(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Services of clouds for their own machines at public addresses.
const OF_CLOUDS: [(Ipv4Addr, u8); 1] = [
	// Azure's host: certificates, secrets and DNS of the provider's virtual network (Microsoft: "What is IP
	// address 168.63.129.16?").
	(Ipv4Addr::new(168, 63, 129, 16), 32),
];

/// A range of addresses with both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Range {
	pub first: Ipv4Addr,
	pub last: Ipv4Addr,
}

impl fmt::Display for Range {
	/// Writes the range as nft reads it.
	fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
		let Self { first, last } = self;
		if first == last {
			write!(formatter, "{first}")
		} else {
			write!(formatter, "{first}-{last}")
		}
	}
}

impl Range {
	/// Returns the network with an address and a number of bits; `None` with more than 32.
	pub fn network(address: Ipv4Addr, bits: u8) -> Option<Self> {
		let hosts = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
		(bits <= 32).then(|| Self {
			first: (address.to_bits() & !hosts).into(),
			last: (address.to_bits() | hosts).into(),
		})
	}

	/// Parses a network, e.g. `172.17.0.0/16`. An IPv6 network is `None`.
	pub fn parse(text: &str) -> Option<Self> {
		let (address, bits) = text.split_once('/')?;
		Self::network(address.parse().ok()?, bits.parse().ok()?)
	}
}

/// Returns the same addresses as few ranges in ascending order.
pub(super) fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
	ranges.sort_unstable();
	let mut merged: Vec<Range> = Vec::new();
	for range in ranges {
		match merged.last_mut() {
			Some(last) if range.first.to_bits() <= last.last.to_bits().saturating_add(1) => {
				last.last = last.last.max(range.last);
			}
			_ => merged.push(range),
		}
	}
	merged
}

/// Returns all ranges that a container must not reach on a machine whose engine has these networks.
pub(super) fn near(of_engine: impl IntoIterator<Item = Range>) -> Vec<Range> {
	let fixed = NOT_PUBLIC.iter().chain(&OF_CLOUDS);
	let fixed = fixed.filter_map(|(address, bits)| Range::network(*address, *bits));
	merged(fixed.chain(of_engine).collect())
}

#[cfg(test)]
mod tests {
	use super::*;

	fn ranges(texts: &[&str]) -> Vec<Range> {
		texts.iter().filter_map(|text| Range::parse(text)).collect()
	}

	#[test]
	fn a_network_is_a_range() {
		let shown = |text: &str| Range::parse(text).map(|range| range.to_string());
		assert_eq!(
			shown("172.17.3.4/16").as_deref(),
			Some("172.17.0.0-172.17.255.255")
		);
		assert_eq!(shown("1.2.3.4/32").as_deref(), Some("1.2.3.4"));
		assert_eq!(
			shown("9.9.9.9/0").as_deref(),
			Some("0.0.0.0-255.255.255.255")
		);
		for text in ["1.2.3.4", "1.2.3.4/33", "1.2.3/8", "fd00::/8", ""] {
			assert_eq!(Range::parse(text), None, "{text}");
		}
	}

	#[test]
	fn ranges_that_touch_or_overlap_are_one() {
		let all = ranges(&[
			"255.255.255.0/24",
			"10.0.1.0/24",
			"10.0.0.0/24",
			"10.0.0.128/25",
			"10.0.3.0/24",
			"255.0.0.0/8",
		]);
		let merged: Vec<String> = merged(all).iter().map(ToString::to_string).collect();
		assert_eq!(
			merged,
			[
				"10.0.0.0-10.0.1.255",
				"10.0.3.0-10.0.3.255",
				"255.0.0.0-255.255.255.255"
			]
		);
	}

	fn is_near(near: &[Range], address: Ipv4Addr) -> bool {
		near.iter()
			.any(|range| (range.first..=range.last).contains(&address))
	}

	#[test]
	fn all_but_the_internet_is_near() {
		let near = near([]);
		let is_public = |address: Ipv4Addr| !is_near(&near, address);
		for address in [
			"0.0.0.1",
			"10.1.2.3",
			"100.64.0.1",
			"100.127.255.255",
			"100.100.100.200",
			"127.0.0.1",
			"168.63.129.16",
			"169.254.169.254",
			"172.16.0.1",
			"172.31.255.255",
			"192.0.0.192",
			"192.168.1.1",
			"198.19.255.255",
			"224.0.0.251",
			"240.0.0.1",
			"255.255.255.255",
		] {
			assert!(!is_public(address.parse().unwrap()), "{address}");
		}
		for address in [
			"1.1.1.1",
			"9.255.255.255",
			"11.0.0.0",
			"100.63.255.255",
			"100.128.0.0",
			"168.63.129.17",
			"172.32.0.0",
			"192.0.1.0",
			"192.169.0.0",
			"203.0.113.1",
			"223.255.255.255",
		] {
			assert!(is_public(address.parse().unwrap()), "{address}");
		}
	}

	#[test]
	fn the_tunnel_and_containers_agree_on_what_is_public() {
		let near = near([]);
		for high in 0..=u16::MAX {
			for low in [0, 1, 99 << 8, 113 << 8, 0x8000, u16::MAX] {
				let address = Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
				let agree = is_near(&near, address) != kaisar_tunnel::is_public(address.into());
				assert!(agree || address.is_documentation(), "{address}");
			}
		}
	}

	#[test]
	fn networks_of_the_engine_are_near_even_if_they_are_public() {
		let with = near(ranges(&["20.1.0.0/16", "172.17.0.0/16"]));
		let one: Ipv4Addr = "20.1.2.3".parse().unwrap();
		assert!(!is_near(&near([]), one) && is_near(&with, one));
		assert_eq!(with.len(), near([]).len() + 1);
	}
}
