//! Addresses of agents, signed by them.
//!
//! Agents of one machine share a folder of them. For all others, the agent names the agents that it searches
//! for to its node, which asks the network's DHT, where every node publishes its agent's record. Only the
//! agent itself is trusted: a record counts if its key signed it, and the newest one stands.

use anyhow::{Context, Result};
use codec::{Decode, Encode};
use iroh::EndpointAddr;
use kaisar_fs::{BY_UMASK, read_bounded, write_unsynced};
use kaisar_primitives::{
	AgentKey,
	agent::{AddressRecord, MAX_RECORD},
};
use kaisar_tunnel::DialRule;
use parking_lot::Mutex;
use sp_core::{Pair, ed25519};
use std::{
	collections::BTreeMap,
	path::{Path, PathBuf},
	sync::Arc,
	time::{Duration, Instant},
};
use tokio::sync::watch;

/// Maximum number of agents to search for.
const MAX_WANTED: usize = 1_024;
/// Time for which the search for an agent continues after the last attempt to reach it.
const WANTED_FOR: Duration = Duration::from_secs(60);
/// Maximum number of remembered records of agents on other machines; the least recently used are dropped.
const MAX_FOUND: usize = 4_096;
/// Interval of searches for records of this agent's own key.
const SELF_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Duration of such a search.
const SELF_FOR: Duration = Duration::from_secs(20);

/// Signed addresses of agents, and the agents to search for.
///
/// Agents of this machine write their records to a folder. Records of others come from the DHT and are kept
/// in memory. Since strangers signed them, they are dialed by a [`DialRule`].
#[derive(Clone)]
pub struct Peers {
	dir: PathBuf,
	shared: Arc<Shared>,
}

struct Shared {
	rule: DialRule,
	/// UDP ports of this agent.
	ports: Vec<u16>,
	wanted: Mutex<BTreeMap<AgentKey, Instant>>,
	found: Mutex<BTreeMap<AgentKey, FoundRecord>>,
	/// Number of records that came.
	news: watch::Sender<u64>,
	started: Instant,
}

struct FoundRecord {
	record: AddressRecord,
	used: Instant,
}

impl Peers {
	/// Opens the folder; creates it if it is missing. Records of strangers are dialed at public addresses
	/// only.
	pub fn new(dir: &Path) -> std::io::Result<Self> {
		Self::with_rule(dir, DialRule::default(), Vec::new())
	}

	/// Does the same with another rule for the records of strangers, for an agent at these UDP ports.
	pub fn with_rule(dir: &Path, rule: DialRule, ports: Vec<u16>) -> std::io::Result<Self> {
		std::fs::create_dir_all(dir)?;
		Ok(Self {
			dir: dir.into(),
			shared: Arc::new(Shared {
				rule,
				ports,
				wanted: Mutex::default(),
				found: Mutex::default(),
				news: watch::Sender::new(0),
				started: Instant::now(),
			}),
		})
	}

	fn file(&self, agent: &AgentKey) -> PathBuf {
		self.dir.join(hex::encode(agent.0))
	}

	/// Writes the record of an agent of this machine to the folder.
	pub fn store(&self, record: &AddressRecord) -> std::io::Result<()> {
		write_unsynced(&self.file(&record.agent), &record.encode(), BY_UMASK)
	}

	/// Signs the addresses of an agent of this machine, and writes the record to the folder.
	pub fn publish(&self, pair: &ed25519::Pair, addr: &EndpointAddr, stamp: u64) -> Result<()> {
		let addresses = addr.ip_addrs().map(ToString::to_string).collect();
		let relays = addr.relay_urls().map(ToString::to_string).collect();
		self.store(&sign(pair, addresses, relays, stamp))?;
		Ok(())
	}

	/// Returns the record of an agent of this machine.
	pub fn record(&self, agent: &AgentKey) -> Option<AddressRecord> {
		let bytes = read_bounded(&self.file(agent), MAX_RECORD as u64).ok()?;
		AddressRecord::read(agent, &bytes)
	}

	/// Keeps a record from elsewhere, if it is valid and newer than the known one. Returns its agent then.
	pub fn accept(&self, bytes: &[u8]) -> Option<AgentKey> {
		let agent = AgentKey::decode(&mut &bytes[..]).ok()?;
		let record = AddressRecord::read(&agent, bytes)?;
		if self
			.newest(&agent)
			.is_some_and(|(known, _)| known.stamp >= record.stamp)
		{
			return None;
		}
		let mut found = self.shared.found.lock();
		if found.len() >= MAX_FOUND && !found.contains_key(&agent) {
			let oldest = found.iter().min_by_key(|(_, found)| found.used);
			if let Some(oldest) = oldest.map(|(agent, _)| *agent) {
				found.remove(&oldest);
			}
		}
		let used = Instant::now();
		found.insert(agent, FoundRecord { record, used });
		drop(found);
		self.shared.news.send_modify(|count| *count += 1);
		Some(agent)
	}

	/// Returns the newest record of an agent, and whether it comes from an agent of this machine.
	fn newest(&self, agent: &AgentKey) -> Option<(AddressRecord, bool)> {
		let here = self.record(agent);
		let mut found = self.shared.found.lock();
		let there = found.get_mut(agent).map(|found| {
			found.used = Instant::now();
			found.record.clone()
		});
		match (here, there) {
			(Some(here), Some(there)) if there.stamp > here.stamp => Some((there, false)),
			(Some(here), _) => Some((here, true)),
			(None, there) => Some((there?, false)),
		}
	}

	/// Records that an agent cannot be reached at its known addresses, or has none. The node searches for
	/// it.
	pub fn want(&self, agent: &AgentKey) {
		let mut wanted = self.shared.wanted.lock();
		if wanted.len() < MAX_WANTED || wanted.contains_key(agent) {
			wanted.insert(*agent, Instant::now());
		}
	}

	/// Records that an agent was reached.
	pub fn reached(&self, agent: &AgentKey) {
		self.shared.wanted.lock().remove(agent);
	}

	/// Returns the agents that the node should search for.
	pub fn wanted(&self) -> Vec<AgentKey> {
		let mut wanted = self.shared.wanted.lock();
		wanted.retain(|_, since| since.elapsed() < WANTED_FOR);
		wanted.keys().copied().collect()
	}

	/// Returns whether a search for records of this agent's own key is due: they reveal a twin.
	pub fn wants_itself(&self) -> bool {
		let since = self.shared.started.elapsed().as_secs();
		since % SELF_AGAIN.as_secs() < SELF_FOR.as_secs()
	}

	/// Subscribes to new records.
	pub fn news(&self) -> watch::Receiver<u64> {
		self.shared.news.subscribe()
	}

	/// Returns the stamp of an agent's record from elsewhere.
	pub fn found_stamp(&self, agent: &AgentKey) -> Option<u64> {
		let found = self.shared.found.lock();
		found.get(agent).map(|found| found.record.stamp)
	}

	/// Returns the addresses at which an agent may be dialed: those in the folder of an agent of this
	/// machine, or those of a stranger's record that the rule allows.
	pub fn lookup(&self, agent: &AgentKey) -> Result<EndpointAddr> {
		let (record, here) = self
			.newest(agent)
			.context("no address of the agent is known")?;
		let rule = DialRule {
			private: here || self.shared.rule.private,
			relays: self.shared.rule.relays.clone(),
		};
		// A loopback address with one of this agent's own ports leads to itself: agents of several network
		// namespaces, each with its own loopback, may share the folder.
		let is_itself = |address: &std::net::SocketAddr| {
			address.ip().is_loopback() && self.shared.ports.contains(&address.port())
		};
		let addresses = record.addresses.iter();
		let relays = record.relays.iter();
		Ok(rule.apply(
			&agent.0,
			addresses
				.filter_map(|address| address.parse().ok())
				.filter(|address| !is_itself(address)),
			relays.filter_map(|relay| relay.parse().ok()),
		)?)
	}
}

/// Signs a record of an agent's addresses and relays.
pub fn sign(
	pair: &ed25519::Pair,
	addresses: Vec<String>,
	relays: Vec<String>,
	stamp: u64,
) -> AddressRecord {
	let agent = pair.public();
	let signature = pair.sign(&AddressRecord::payload(&agent, &addresses, &relays, stamp));
	AddressRecord {
		agent,
		addresses,
		relays,
		stamp,
		signature,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use iroh::PublicKey;

	fn pair(byte: u8) -> ed25519::Pair {
		ed25519::Pair::from_seed(&[byte; 32])
	}

	fn at(pair: &ed25519::Pair, address: &str) -> EndpointAddr {
		EndpointAddr::new(PublicKey::from_bytes(&pair.public().0).unwrap())
			.with_ip_addr(address.parse().unwrap())
	}

	fn addr(pair: &ed25519::Pair) -> EndpointAddr {
		at(pair, "127.0.0.1:4711")
	}

	fn signed(byte: u8, addresses: &[&str], relays: &[&str], stamp: u64) -> Vec<u8> {
		let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
		sign(&pair(byte), all(addresses), all(relays), stamp).encode()
	}

	#[test]
	fn published_addresses_are_found() {
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
		let dir = tempfile::tempdir().unwrap();
		let peers = Peers::new(dir.path()).unwrap();
		let agent = pair(1).public();
		let public = |port: u16| format!("1.2.3.4:{port}");
		let record = signed(1, &[&public(5)], &[], 5);
		assert_eq!(peers.accept(&record), Some(agent));
		assert_eq!(peers.lookup(&agent).unwrap(), at(&pair(1), &public(5)));
		assert_eq!(peers.accept(&record), None, "it is no newer");
		assert_eq!(peers.accept(&signed(1, &[&public(4)], &[], 4)), None);
		let mut forged = record.clone();
		forged[..32].copy_from_slice(&pair(2).public().0);
		for bad in [forged, b"{}".to_vec(), vec![b' '; 1 << 20]] {
			assert_eq!(peers.accept(&bad), None);
		}
		assert_eq!(peers.lookup(&agent).unwrap(), at(&pair(1), &public(5)));
		assert_eq!(
			std::fs::read_dir(dir.path()).unwrap().count(),
			0,
			"nothing of a stranger is on the disk"
		);
		// The record of an agent of this machine stands, unless it moved away.
		peers.publish(&pair(1), &addr(&pair(1)), 5).unwrap();
		assert_eq!(peers.lookup(&agent).unwrap(), addr(&pair(1)));
		assert!(peers.accept(&signed(1, &[&public(6)], &[], 6)).is_some());
		assert_eq!(peers.lookup(&agent).unwrap(), at(&pair(1), &public(6)));
	}

	#[test]
	fn a_strangers_record_names_no_private_hosts_and_no_relays() {
		let dir = tempfile::tempdir().unwrap();
		let hosts = ["192.168.1.1:53", "127.0.0.1:9944", "[fd00::1]:5", "?"];
		let relays = ["http://192.168.1.1/", "https://theirs.example/", "?"];
		let hostile = signed(1, &hosts, &relays, 1);
		let agent = pair(1).public();
		let peers = Peers::new(dir.path()).unwrap();
		peers.accept(&hostile).unwrap();
		let refused = peers.lookup(&agent).unwrap_err().to_string();
		assert!(refused.contains("3 are private"), "{refused}");
		// They hide nothing: public addresses in the same record are dialed.
		let mixed = [&hosts[..], &["1.2.3.4:5"]].concat();
		peers.accept(&signed(1, &mixed, &relays, 2)).unwrap();
		assert_eq!(peers.lookup(&agent).unwrap(), at(&pair(1), "1.2.3.4:5"));
		let rule = DialRule {
			private: true,
			relays: vec![relays[1].parse().unwrap()],
		};
		let own = Peers::with_rule(dir.path(), rule, vec![9_944]).unwrap();
		own.accept(&hostile).unwrap();
		let addr = own.lookup(&agent).unwrap();
		assert_eq!((addr.ip_addrs().count(), addr.relay_urls().count()), (2, 1));
		// An address of this agent itself is not dialed, even from a shared folder.
		assert!(addr.ip_addrs().all(|addr| !addr.ip().is_loopback()));
		own.store(&AddressRecord::read(&agent, &hostile).unwrap())
			.unwrap();
		assert_eq!(own.lookup(&agent).unwrap().ip_addrs().count(), 2);
	}

	#[test]
	fn strangers_fill_no_memory() {
		let dir = tempfile::tempdir().unwrap();
		let peers = Peers::new(dir.path()).unwrap();
		for number in 0..MAX_FOUND as u32 + 10 {
			let mut seed = [9; 32];
			seed[..4].copy_from_slice(&number.to_le_bytes());
			let pair = ed25519::Pair::from_seed(&seed);
			let record = sign(&pair, vec!["1.2.3.4:5".into()], Vec::new(), 1);
			assert!(peers.accept(&record.encode()).is_some());
		}
		assert_eq!(peers.shared.found.lock().len(), MAX_FOUND);
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
