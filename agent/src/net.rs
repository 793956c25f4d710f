//! Where agents are: the QUIC endpoint, and addresses signed by their agents in a folder.

use crate::{
	hash::{Hash, hash},
	wire::ALPN,
};
use anyhow::{Context, Result, bail, ensure};
use codec::Encode;
use iroh::{
	Endpoint, EndpointAddr, PublicKey, RelayMode, RelayUrl, SecretKey,
	endpoint::{QuicTransportConfig, VarInt, presets},
};
use kaisar_primitives::{AgentKey, AgentSignature};
use serde::{Deserialize, Serialize};
use sp_core::{Pair, ed25519};
use std::{
	io::{Read, Write},
	net::SocketAddr,
	path::{Path, PathBuf},
	time::Duration,
};

/// Longest address file that is read, in bytes.
const MAX_RECORD: u64 = 16 * 1024;
/// Most addresses of an agent.
const MAX_ADDRS: usize = 32;

/// Binds the endpoint whose identity is the agent's key. It looks nothing up, and uses no relay but
/// the one that is named.
pub async fn bind(
	secret: &[u8; 32],
	bind: Option<SocketAddr>,
	relay: Option<&str>,
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
		.alpns(vec![ALPN.to_vec()])
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

/// Where an agent says it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
	agent: String,
	addrs: Vec<SocketAddr>,
	relays: Vec<String>,
	stamp: u64,
	signature: String,
}

fn payload(agent: &AgentKey, addrs: &[SocketAddr], relays: &[String], stamp: u64) -> Hash {
	let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
	hash(
		"kaisar/agent 2026 address",
		&[&(agent, addrs, relays, stamp).encode()],
	)
}

/// Writes a file in one step: nobody ever sees half of it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
	let name = path.file_name().unwrap_or_default().to_string_lossy();
	let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
	let mut file = std::fs::File::create(&temporary)?;
	file.write_all(bytes)?;
	drop(file);
	std::fs::rename(&temporary, path)
}

/// Reads a file unless it is longer than `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
	let mut bytes = Vec::new();
	std::fs::File::open(path)?
		.take(limit + 1)
		.read_to_end(&mut bytes)?;
	if bytes.len() as u64 > limit {
		return Err(std::io::Error::other("the file is too long"));
	}
	Ok(bytes)
}

/// A folder with a file of signed addresses for each agent.
#[derive(Clone, Debug)]
pub struct Peers {
	dir: PathBuf,
}

impl Peers {
	/// The folder, made if need be.
	pub fn new(dir: &Path) -> std::io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		Ok(Self { dir: dir.into() })
	}

	fn file(&self, agent: &AgentKey) -> PathBuf {
		self.dir.join(hex::encode(agent.0))
	}

	/// Publishes where this agent is.
	pub fn publish(&self, pair: &ed25519::Pair, addr: &EndpointAddr, stamp: u64) -> Result<()> {
		let agent = pair.public();
		let addrs: Vec<_> = addr.ip_addrs().copied().take(MAX_ADDRS).collect();
		let relays: Vec<_> = addr.relay_urls().take(4).map(ToString::to_string).collect();
		let signature = pair.sign(&payload(&agent, &addrs, &relays, stamp));
		let record = Record {
			agent: hex::encode(agent.0),
			addrs,
			relays,
			stamp,
			signature: hex::encode(signature.0),
		};
		write_whole(&self.file(&agent), &serde_json::to_vec_pretty(&record)?)?;
		Ok(())
	}

	/// Looks an agent up and checks its signature.
	pub fn lookup(&self, agent: &AgentKey) -> Result<EndpointAddr> {
		let bytes = read_bounded(&self.file(agent), MAX_RECORD).context("no address published")?;
		let record: Record = serde_json::from_slice(&bytes).context("not an address record")?;
		ensure!(
			record.agent == hex::encode(agent.0),
			"the record of another agent"
		);
		ensure!(
			record.addrs.len() <= MAX_ADDRS && record.relays.len() <= 4,
			"too many addresses"
		);
		let mut signature = [0; 64];
		hex::decode_to_slice(&record.signature, &mut signature).context("signature")?;
		let payload = payload(agent, &record.addrs, &record.relays, record.stamp);
		if !ed25519::Pair::verify(&AgentSignature::from_raw(signature), payload, agent) {
			bail!("the addresses are not signed by their agent");
		}
		let id = PublicKey::from_bytes(&agent.0).context("not a key")?;
		let mut addr = EndpointAddr::new(id);
		for ip in record.addrs {
			addr = addr.with_ip_addr(ip);
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
		for bad in [
			String::from_utf8(good.clone())
				.unwrap()
				.replace("4711", "4712")
				.into_bytes(),
			good[..good.len() / 2].to_vec(),
			Vec::new(),
			vec![b' '; 10 << 20],
			vec![0xff; 100],
		] {
			std::fs::write(peers.file(&pair(1).public()), bad).unwrap();
			assert!(peers.lookup(&pair(1).public()).is_err());
		}
	}
}
