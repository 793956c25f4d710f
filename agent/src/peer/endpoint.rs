//! Where agents are: the QUIC endpoint, and addresses signed by their agents.
//!
//! Agents of one machine share a folder of them. For all others the agent tells its node whom it looks
//! for, and its node asks the network's DHT, where every agent's node leaves its agent's record. Nobody
//! is believed but the agent itself: a record counts if its key signed it, and the newest one stands.

use anyhow::{Context, Result};
use codec::{Decode, Encode};
use iroh::{
	Endpoint, EndpointAddr, PublicKey, RelayMode, RelayUrl, SecretKey,
	endpoint::{QuicTransportConfig, VarInt, presets},
};
use kaisar_fs::{BY_UMASK, read_bounded, write_unsynced};
use kaisar_primitives::{
	AgentKey,
	agent::{AddressRecord, MAX_RECORD},
};
use parking_lot::Mutex;
use sp_core::{Pair, ed25519};
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::{Path, PathBuf},
	sync::Arc,
	time::{Duration, Instant},
};

/// Most addresses of this agent that are published.
const MAX_ADDRS: usize = 16;
/// Most agents that are looked for at a time.
const MAX_WANTED: usize = 1_024;
/// For how long an agent is looked for after somebody last wanted to reach it.
const WANTED_FOR: Duration = Duration::from_secs(60);

/// Binds the endpoint whose identity is the agent's key, for connections of these ALPNs. It looks nothing
/// up, and uses no relay but the one that is named.
pub async fn bind(
	secret: &[u8; 32],
	bind: Option<SocketAddr>,
	relay: Option<&str>,
	alpns: &[&[u8]],
) -> Result<Endpoint> {
	let idle = Duration::from_secs(30).try_into().context("idle timeout")?;
	let transport = QuicTransportConfig::builder()
		.max_concurrent_bidi_streams(VarInt::from_u32(16))
		.max_concurrent_uni_streams(VarInt::from_u32(0))
		.max_idle_timeout(Some(idle))
		.keep_alive_interval(Duration::from_secs(5))
		.build();
	let relay = match relay {
		Some(url) => RelayMode::custom([url.parse::<RelayUrl>().context("the relay's URL")?]),
		None => RelayMode::Disabled,
	};
	let mut builder = Endpoint::builder(presets::Minimal)
		.secret_key(SecretKey::from_bytes(secret))
		.alpns(alpns.iter().map(|alpn| alpn.to_vec()).collect())
		.relay_mode(relay)
		.transport_config(transport);
	if let Some(addr) = bind {
		builder = builder
			.clear_ip_transports()
			.bind_addr(addr)
			.context("address to bind")?;
	}
	builder
		.bind()
		.await
		.context("cannot bind the QUIC endpoint")
}

/// A folder with a file of signed addresses for each agent, and a list of whom to look for.
#[derive(Clone, Debug)]
pub struct Peers {
	dir: PathBuf,
	wanted: Arc<Mutex<BTreeMap<AgentKey, Instant>>>,
}

impl Peers {
	/// The folder, made if need be.
	pub fn new(dir: &Path) -> std::io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		Ok(Self {
			dir: dir.into(),
			wanted: Arc::default(),
		})
	}

	fn file(&self, agent: &AgentKey) -> PathBuf {
		self.dir.join(hex::encode(agent.0))
	}

	/// Publishes where this agent is.
	pub fn publish(&self, pair: &ed25519::Pair, addr: &EndpointAddr, stamp: u64) -> Result<()> {
		let agent = pair.public();
		let addresses: Vec<_> = addr
			.ip_addrs()
			.take(MAX_ADDRS)
			.map(ToString::to_string)
			.collect();
		let relays: Vec<_> = addr.relay_urls().take(4).map(ToString::to_string).collect();
		let signature = pair.sign(&AddressRecord::payload(&agent, &addresses, &relays, stamp));
		let record = AddressRecord {
			agent,
			addresses,
			relays,
			stamp,
			signature,
		};
		write_unsynced(&self.file(&agent), &record.encode(), BY_UMASK)?;
		Ok(())
	}

	/// The record as it is published, for the DHT.
	pub fn record(&self, agent: &AgentKey) -> Option<Vec<u8>> {
		read_bounded(&self.file(agent), MAX_RECORD as u64).ok()
	}

	/// Keeps a record that somebody found, if it is one and newer than what is known. Returns whose it
	/// is then.
	pub fn accept(&self, bytes: &[u8]) -> Option<AgentKey> {
		let agent = AgentKey::decode(&mut &bytes[..]).ok()?;
		let record = AddressRecord::read(&agent, bytes)?;
		let known = self
			.record(&agent)
			.and_then(|bytes| AddressRecord::read(&agent, &bytes));
		if known.is_some_and(|known| known.stamp >= record.stamp) {
			return None;
		}
		match write_unsynced(&self.file(&agent), bytes, BY_UMASK) {
			Ok(()) => Some(agent),
			Err(error) => {
				tracing::warn!(%error, "cannot keep an agent's addresses. Free space on the disk of the peers' folder");
				None
			}
		}
	}

	/// The agent cannot be reached with what is known of it: it is to be looked for.
	pub fn want(&self, agent: &AgentKey) {
		let mut wanted = self.wanted.lock();
		if wanted.len() < MAX_WANTED || wanted.contains_key(agent) {
			wanted.insert(*agent, Instant::now());
		}
	}

	/// It was reached.
	pub fn reached(&self, agent: &AgentKey) {
		self.wanted.lock().remove(agent);
	}

	/// Whom to look for.
	pub fn wanted(&self) -> Vec<AgentKey> {
		let mut wanted = self.wanted.lock();
		wanted.retain(|_, since| since.elapsed() < WANTED_FOR);
		wanted.keys().copied().collect()
	}

	/// Looks an agent up and checks its signature.
	pub fn lookup(&self, agent: &AgentKey) -> Result<EndpointAddr> {
		let bytes = self.record(agent).context("no address published")?;
		let record = AddressRecord::read(agent, &bytes)
			.context("what is published is not the agent's own record")?;
		let id = PublicKey::from_bytes(&agent.0).context("not a key")?;
		let mut addr = EndpointAddr::new(id);
		for ip in record.addresses {
			addr = addr.with_ip_addr(ip.parse().context("address")?);
		}
		for relay in record.relays {
			addr = addr.with_relay_url(relay.parse().context("relay")?);
		}
		Ok(addr)
	}
}

/// Addresses of an endpoint. The loopback address is among them, for agents on the same machine.
pub fn own_addr(endpoint: &Endpoint) -> EndpointAddr {
	let mut addr = endpoint.addr();
	for socket in endpoint.bound_sockets() {
		if socket.ip().is_unspecified() && socket.is_ipv4() {
			addr = addr.with_ip_addr(SocketAddr::from(([127, 0, 0, 1], socket.port())));
		} else if !socket.ip().is_unspecified() {
			addr = addr.with_ip_addr(socket);
		}
	}
	addr
}

#[cfg(test)]
mod tests {
	use super::*;

	fn pair(byte: u8) -> ed25519::Pair {
		ed25519::Pair::from_seed(&[byte; 32])
	}

	fn addr(pair: &ed25519::Pair) -> EndpointAddr {
		EndpointAddr::new(PublicKey::from_bytes(&pair.public().0).unwrap())
			.with_ip_addr("127.0.0.1:4711".parse().unwrap())
	}

	#[test]
	fn what_is_published_is_found() {
		let dir = tempfile::tempdir().unwrap();
		let peers = Peers::new(&dir.path().join("peers")).unwrap();
		assert!(peers.lookup(&pair(1).public()).is_err());
		peers.publish(&pair(1), &addr(&pair(1)), 1).unwrap();
		assert_eq!(peers.lookup(&pair(1).public()).unwrap(), addr(&pair(1)));
		let files = std::fs::read_dir(dir.path().join("peers")).unwrap().count();
		assert_eq!(files, 1, "nothing temporary stays");
	}

	#[test]
	fn forged_or_damaged_records_are_refused() {
		let dir = tempfile::tempdir().unwrap();
		let peers = Peers::new(dir.path()).unwrap();
		peers.publish(&pair(1), &addr(&pair(1)), 1).unwrap();
		let good = std::fs::read(peers.file(&pair(1).public())).unwrap();
		// Another agent's record under this name.
		std::fs::write(peers.file(&pair(2).public()), &good).unwrap();
		assert!(peers.lookup(&pair(2).public()).is_err());
		let mut changed = good.clone();
		changed[40] ^= 1;
		for bad in [
			changed,
			good[..good.len() / 2].to_vec(),
			[good.as_slice(), b"x"].concat(),
			Vec::new(),
			vec![b' '; 10 << 20],
			vec![0xff; 100],
		] {
			std::fs::write(peers.file(&pair(1).public()), bad).unwrap();
			assert!(peers.lookup(&pair(1).public()).is_err());
		}
	}

	#[test]
	fn a_record_that_is_found_counts_if_it_is_newer_and_the_agents_own() {
		let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
		let (mine, theirs) = (
			Peers::new(here.path()).unwrap(),
			Peers::new(there.path()).unwrap(),
		);
		let agent = pair(1).public();
		theirs.publish(&pair(1), &addr(&pair(1)), 5).unwrap();
		let record = theirs.record(&agent).unwrap();
		assert_eq!(mine.accept(&record), Some(agent));
		assert_eq!(mine.lookup(&agent).unwrap(), addr(&pair(1)));
		assert_eq!(mine.accept(&record), None, "it is no newer");
		theirs.publish(&pair(1), &addr(&pair(1)), 4).unwrap();
		let older = theirs.record(&agent).unwrap();
		assert_eq!(mine.accept(&older), None);
		let mut forged = record.clone();
		forged[..32].copy_from_slice(&pair(2).public().0);
		for bad in [forged, b"{}".to_vec(), vec![b' '; 1 << 20]] {
			assert_eq!(mine.accept(&bad), None);
		}
		assert_eq!(
			mine.record(&agent).unwrap(),
			record,
			"nothing else changed it"
		);
	}

	#[test]
	fn who_cannot_be_reached_is_looked_for_until_it_is() {
		let dir = tempfile::tempdir().unwrap();
		let peers = Peers::new(dir.path()).unwrap();
		assert!(peers.wanted().is_empty());
		peers.want(&pair(1).public());
		peers.want(&pair(1).public());
		assert_eq!(peers.wanted(), [pair(1).public()]);
		peers.reached(&pair(1).public());
		assert!(peers.wanted().is_empty());
	}
}
