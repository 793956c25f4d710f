//! Publishes and looks up the addresses of agents in the network's DHT.
//!
//! For a check, a worker's agent and the checkers' agents have to find each other without having met. Their
//! keys are on chain; their addresses change. So a node puts the signed record of each of its agents into
//! the Kademlia DHT under the hash of the agent's key, repeats this at intervals, and looks up every agent
//! that its own agents could not reach.
//!
//! Every node stores records for others, if they are authentic and of agents on chain. A record is stored,
//! and passed on to an agent, if it is signed with the key under whose hash it lies, and if its stamp is
//! neither older than the stored one nor in the future. The node sets the expiry itself. So garbage or an
//! old record cannot replace a good one. A store holds [`MAX_KEPT`] records and refuses more;
//! `docs/network.md` explains how a store can be filled, and at what cost.

use crate::client::FullClient;
use codec::Decode;
use futures::StreamExt;
use kaisar_primitives::{
	AgentKey,
	agent::{AHEAD_MS, AddressBook, AddressRecord, AddressesFound, address_key},
};
use kaisar_runtime::{
	Runtime,
	constants::SLOT_DURATION,
	opaque::{Block, Header},
};
use sc_client_api::{HeaderBackend, StorageKey, StorageProvider};
use sc_network::{
	Event, KademliaKey, NetworkDHTProvider, NetworkEventStream, event::DhtEvent,
	service::traits::NetworkService,
};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	time::Duration,
};
use tokio::{
	sync::{Notify, watch},
	time::{Instant, MissedTickBehavior},
};

/// Log target.
const LOG_TARGET: &str = "agents";
/// Interval between looks for due puts and lookups.
const TICK: Duration = Duration::from_secs(1);
/// Interval between puts of a record: peers forget records, and come and go.
const REPUBLISH: Duration = Duration::from_secs(10 * 60);
/// Intervals after the first puts: other nodes may learn later than this one that its agent is on chain.
const REPUBLISH_SOON: [Duration; 3] = [
	Duration::from_secs(15),
	Duration::from_secs(60),
	Duration::from_secs(3 * 60),
];
/// Interval until the next attempt to put a record that no peer took, or whose agent is not on chain yet.
const RETRY: Duration = Duration::from_secs(10);
/// Lifetime of a record stored for another node's agent, whatever expiry its sender asks for: six intervals
/// between two puts.
const KEEP: Duration = Duration::from_secs(60 * 60);
/// Lifetime of this node's own puts in its store: the 36 hours of litep2p's `record_ttl`, which polkadot-sdk
/// does not change, and a minute for the way there.
const KEEP_OWN: Duration = Duration::from_secs(36 * 60 * 60 + 60);
/// Time without a record from an agent of this node until its record is no longer published: the agent may
/// have moved away.
const SILENT: Duration = Duration::from_secs(10 * 60);
/// Maximum number of expired records dropped in a [`TICK`]. Each takes a query of the DHT.
const MAX_DROPPED: usize = 2;
/// Time from the expiry of a record until it is dropped.
const DROP_AFTER: Duration = Duration::from_secs(1);
/// Tolerance, in milliseconds, for stamps ahead of both this machine's clock and the chain's time. Agents
/// follow their own clocks at most [`AHEAD_MS`] beyond the chain's time.
const FUTURE_MS: u64 = 3 * AHEAD_MS;
/// Interval between DHT queries for an agent with a known record.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Interval between the first two queries for an agent without one; it doubles up to [`ASK_AGAIN`].
const ASK_SOON: Duration = Duration::from_secs(2);
/// Maximum number of records in one message to an agent.
const MAX_RECORDS: usize = 16;
/// Time until a record is sent again to an agent that still looks for its owner.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of agents that are looked up at a time.
const MAX_WANTED: usize = 1_024;
/// Maximum number of agents that are looked up at a time for users of the RPC: they must not keep agents
/// from finding each other.
const MAX_ASKED: usize = 64;
/// Time for which a record that was found for a user is kept: many users connect more than once.
const ASKED_FOR: Duration = Duration::from_secs(60);
/// Time before a user's lookup can be displaced by another's.
const ASKED_AT_LEAST: Duration = Duration::from_secs(2);
/// Interval between looks for the record that a user waits for.
const POLL: Duration = Duration::from_millis(100);
/// Maximum number of records in the DHT's store, those of this node's agents included: the default
/// `max_records` of litep2p and libp2p, which polkadot-sdk does not change.
const MAX_KEPT: usize = 1_024;
/// Number of records in the store above which expired ones are dropped.
const NEARLY_FULL: usize = MAX_KEPT - MAX_KEPT / 8;
/// Maximum number of stamps that outlast their records: less than 2 MB.
const MAX_PAST: usize = 16 * MAX_KEPT;

/// Part of the chain's state on which addresses depend.
pub trait ChainReader: Send + Sync {
	/// Returns whether the agent belongs to a worker or an operator.
	fn knows(&self, agent: &AgentKey) -> bool;

	/// Returns the time of the newest block, in milliseconds since 1970; 0 if there is none.
	fn time_ms(&self) -> u64;
}

impl ChainReader for FullClient {
	fn knows(&self, agent: &AgentKey) -> bool {
		let best = self.info().best_hash;
		let keys = [
			pallet_providers::WorkerByAgent::<Runtime>::hashed_key_for(agent),
			pallet_checkers::AgentKeys::<Runtime>::hashed_key_for(agent),
		];
		keys.into_iter()
			.any(|key| matches!(self.storage_hash(best, &StorageKey(key)), Ok(Some(_))))
	}

	fn time_ms(&self) -> u64 {
		let header = self.header(self.info().best_hash).ok().flatten();
		header.as_ref().and_then(slot_ms).unwrap_or(0)
	}
}

/// Returns the time at which a block's slot begins, in milliseconds since 1970.
fn slot_ms(header: &Header) -> Option<u64> {
	let slot = sc_consensus_babe::find_pre_digest::<Block>(header)
		.ok()?
		.slot();
	u64::from(slot).checked_mul(SLOT_DURATION)
}

/// Records of this node's agents, and records that were found for them. Clones share one state.
#[derive(Clone)]
pub struct Addresses(Arc<Inner>);

struct Inner {
	chain: Arc<dyn ChainReader>,
	state: Mutex<State>,
	/// Signal that an agent looks for a further agent, or publishes a new record.
	due: Notify,
	/// Number of records that were found.
	news: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
	/// Records of this node's agents that no newer one has replaced.
	own: BTreeMap<AgentKey, OwnRecord>,
	/// Agents that are looked up, with the time of the next query to the DHT.
	wanted: BTreeMap<AgentKey, Lookup>,
	/// Stamps and expiries of the records in the DHT's store, expired ones included. Without them an old
	/// record could replace the new one, since both are authentic.
	kept: BTreeMap<AgentKey, (u64, Instant)>,
	/// Stamps of the last [`MAX_PAST`] dropped records, each with the time of its drop: an old record must
	/// not return.
	past: BTreeMap<AgentKey, (u64, Instant)>,
}

impl State {
	/// Returns the newest stamp among an agent's stored records.
	fn newest(&self, agent: &AgentKey) -> Option<u64> {
		let stamp = self.kept.get(agent).or_else(|| self.past.get(agent));
		stamp.map(|(stamp, _)| *stamp)
	}

	/// Records that the store accepts a record.
	fn keep(&mut self, agent: AgentKey, stamp: u64, until: Instant) {
		self.past.remove(&agent);
		self.kept.insert(agent, (stamp, until));
	}

	/// Records that the store drops an agent's record.
	fn retire(&mut self, agent: AgentKey, now: Instant) {
		let Some((stamp, _)) = self.kept.remove(&agent) else {
			return;
		};
		self.past.insert(agent, (stamp, now));
		if self.past.len() > MAX_PAST {
			let oldest = self.past.iter().min_by_key(|(_, (_, at))| *at);
			if let Some(oldest) = oldest.map(|(agent, _)| *agent) {
				self.past.remove(&oldest);
			}
		}
	}

	/// Returns the number of records in the store, including those of own agents that are not stored yet.
	fn taken(&self) -> usize {
		let own = self.own.keys();
		self.kept.len() + own.filter(|agent| !self.kept.contains_key(agent)).count()
	}
}

/// Record of an agent of this node.
struct OwnRecord {
	record: Vec<u8>,
	stamp: u64,
	/// Time at which the agent last reported a record.
	noted: Instant,
	/// Time of the next put, if the agent is on chain.
	at: Instant,
	/// Number of puts since the agent is on chain.
	puts: usize,
}

/// Lookup of an agent.
struct Lookup {
	/// Agents of this node that look for it, and the record that was last sent to each.
	by: BTreeMap<AgentKey, Option<SentRecord>>,
	/// Lookup for users.
	asked: Option<UserLookup>,
	/// Stamp of an authentic record from the future, until another record is found. Such a record is not
	/// passed on. If many agents have one, this machine's clock is behind.
	ahead: Option<u64>,
	ask: Instant,
	/// Interval between the last query and the next.
	pause: Duration,
	/// Newest record that was found.
	found: Option<(AddressRecord, Vec<u8>)>,
}

/// A lookup for users.
#[derive(Clone, Copy)]
struct UserLookup {
	/// Time of the first request. It decides which lookup is displaced, so repeated requests cannot lock out
	/// other users.
	since: Instant,
	/// End of the lookup, unless a user asks again.
	until: Instant,
}

/// A record that an agent has received.
#[derive(Clone, Copy)]
struct SentRecord {
	stamp: u64,
	at: Instant,
}

/// Records to pass on to an agent.
pub struct Parcel {
	agent: AgentKey,
	owners: Vec<(AgentKey, u64)>,
	/// Message with the records.
	pub found: AddressesFound,
}

impl Lookup {
	/// Creates an entry that no agent and no user waits for yet.
	fn new(now: Instant) -> Self {
		Self {
			by: BTreeMap::new(),
			asked: None,
			ahead: None,
			ask: now,
			pause: ASK_SOON,
			found: None,
		}
	}

	/// Returns the lookup for users, if it is running.
	fn asked(&self, now: Instant) -> Option<UserLookup> {
		self.asked.filter(|asked| now < asked.until)
	}

	fn is_wanted(&self, now: Instant) -> bool {
		!self.by.is_empty() || self.asked(now).is_some()
	}

	/// Returns the record to send to an agent now, if one is due, and the time at which it was sent one
	/// before.
	fn due_for(&self, agent: &AgentKey, now: Instant) -> Option<(Option<Instant>, u64, &Vec<u8>)> {
		let sent = self.by.get(agent)?;
		let (record, bytes) = self.found.as_ref()?;
		let due = sent.is_none_or(|sent| sent.stamp < record.stamp || sent.at + TELL_AGAIN <= now);
		due.then_some((sent.map(|sent| sent.at), record.stamp, bytes))
	}
}

/// Returns this machine's time, in milliseconds since 1970.
fn clock_ms() -> u64 {
	*sp_timestamp::Timestamp::current()
}

/// Returns the record in bytes that arrived under `key`, if they are a record and belong there.
fn record_at(key: &[u8], bytes: &[u8]) -> Option<AddressRecord> {
	let agent = AgentKey::decode(&mut &bytes[..]).ok()?;
	(address_key(&agent) == key)
		.then(|| AddressRecord::read(&agent, bytes))
		.flatten()
}

impl Addresses {
	/// Creates an empty set for a chain.
	pub fn new(chain: Arc<dyn ChainReader>) -> Self {
		Self(Arc::new(Inner {
			chain,
			state: Mutex::default(),
			due: Notify::new(),
			news: watch::Sender::default(),
		}))
	}

	/// Returns whether a stamp is further in the future than [`FUTURE_MS`].
	fn is_future(&self, stamp: u64) -> bool {
		// An old block's time is behind the clock, and does not count.
		let now = clock_ms().max(self.0.chain.time_ms());
		stamp > now.saturating_add(FUTURE_MS)
	}

	fn state(&self) -> MutexGuard<'_, State> {
		self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
	}

	/// Returns the message to an agent whose key is not known yet: no records, and the chain's time.
	pub fn hello(&self) -> AddressesFound {
		AddressesFound {
			records: Vec::new(),
			chain_ms: self.0.chain.time_ms(),
		}
	}

	/// Returns the records to send to an agent of this node now: first those that it does not have yet, then
	/// those that it received longest ago. An agent that cannot be reached stays wanted, and must not keep
	/// the others' records back.
	pub fn found_for(&self, agent: &AgentKey) -> Parcel {
		let now = Instant::now();
		let hello = self.hello();
		let state = self.state();
		let mut due: Vec<_> = state
			.wanted
			.iter()
			.filter_map(|(owner, entry)| Some((entry.due_for(agent, now)?, owner)))
			.collect();
		due.sort_by_key(|((sent_at, ..), _)| *sent_at);
		due.truncate(MAX_RECORDS);
		Parcel {
			agent: *agent,
			owners: due
				.iter()
				.map(|((_, stamp, _), owner)| (**owner, *stamp))
				.collect(),
			found: AddressesFound {
				records: due
					.iter()
					.map(|((_, _, bytes), _)| (*bytes).clone())
					.collect(),
				..hello
			},
		}
	}

	/// Records that the agent has received a parcel.
	pub fn mark_received(&self, parcel: &Parcel) {
		let at = Instant::now();
		let mut state = self.state();
		for (owner, stamp) in &parcel.owners {
			let entry = state.wanted.get_mut(owner);
			if let Some(sent) = entry.and_then(|entry| entry.by.get_mut(&parcel.agent)) {
				*sent = Some(SentRecord { stamp: *stamp, at });
			}
		}
	}

	/// Returns whether a record is due for an agent now.
	pub fn has_for(&self, agent: &AgentKey) -> bool {
		let now = Instant::now();
		let state = self.state();
		let mut entries = state.wanted.values();
		entries.any(|entry| entry.due_for(agent, now).is_some())
	}

	/// Returns whether an agent looks for others whose record is unknown.
	pub fn misses_for(&self, agent: &AgentKey) -> bool {
		let state = self.state();
		let mut entries = state.wanted.iter();
		entries.any(|(owner, entry)| {
			owner != agent && entry.found.is_none() && entry.by.contains_key(agent)
		})
	}

	/// Returns a receiver that is notified of every record that is found.
	pub fn news(&self) -> watch::Receiver<u64> {
		self.0.news.subscribe()
	}

	/// Returns an agent's newest encoded record, for a user of this node. Queries the DHT if this node has
	/// none, which may take a few seconds. Returns `None` if the agent is not on chain, if no record arrives
	/// in time, or if this node has none and too many other lookups are running.
	pub async fn locate(&self, agent: &AgentKey, patience: Duration) -> Option<Vec<u8>> {
		let since = Instant::now();
		if !self.0.chain.knows(agent) {
			return None;
		}
		let runs = self.ask_for(agent, since);
		loop {
			if let Some(record) = self.known(agent) {
				return Some(record);
			}
			if !runs || since.elapsed() >= patience {
				return None;
			}
			tokio::time::sleep(POLL).await;
		}
	}

	/// Returns an agent's newest known record.
	fn known(&self, agent: &AgentKey) -> Option<Vec<u8>> {
		let state = self.state();
		let own = state.own.get(agent).map(|own| &own.record);
		let found = || {
			let (_, bytes) = state.wanted.get(agent)?.found.as_ref()?;
			Some(bytes)
		};
		own.or_else(found).cloned()
	}

	/// Starts a lookup for a user. At [`MAX_ASKED`] lookups the oldest gives way, once it is
	/// [`ASKED_AT_LEAST`] old, so that users start at most 32 queries a second. Returns whether the lookup
	/// runs.
	fn ask_for(&self, agent: &AgentKey, now: Instant) -> bool {
		let mut state = self.state();
		if state.own.contains_key(agent) {
			return true;
		}
		state.wanted.retain(|_, entry| entry.is_wanted(now));
		let asked = state.wanted.iter().filter_map(|(key, entry)| {
			let asked = entry.asked(now).filter(|_| key != agent)?;
			Some((asked.since, *key))
		});
		let asked: BTreeSet<_> = asked.collect();
		if asked.len() >= MAX_ASKED
			&& let Some((since, oldest)) = asked.first()
			&& let Some(entry) = state.wanted.get_mut(oldest)
		{
			if now < *since + ASKED_AT_LEAST {
				return false;
			}
			entry.asked = None;
			if entry.by.is_empty() {
				state.wanted.remove(oldest);
			}
		}
		let entry = state
			.wanted
			.entry(*agent)
			.or_insert_with(|| Lookup::new(now));
		entry.asked = Some(UserLookup {
			since: entry.asked(now).map_or(now, |asked| asked.since),
			until: now + ASKED_FOR,
		});
		self.0.due.notify_one();
		true
	}

	/// Takes the report of an agent of this node: its record, and the agents that it looks for. Forgets
	/// those that it no longer looks for.
	pub fn take_report(&self, book: AddressBook) {
		let now = Instant::now();
		let mut state = self.state();
		if let Some(record) = AddressRecord::read(&book.agent, &book.record)
			&& Some(record.stamp) >= state.newest(&book.agent)
		{
			let own = state.own.entry(book.agent).or_insert_with(|| OwnRecord {
				record: Vec::new(),
				stamp: 0,
				noted: now,
				at: now,
				puts: 0,
			});
			own.noted = now;
			if own.record != book.record {
				own.record = book.record;
				own.stamp = record.stamp;
				own.at = now;
				self.0.due.notify_one();
			}
		}
		let wanted_now: BTreeSet<_> = book.wanted.iter().copied().collect();
		state.wanted.retain(|wanted, entry| {
			if !wanted_now.contains(wanted) {
				entry.by.remove(&book.agent);
			}
			entry.is_wanted(now)
		});
		for wanted in book.wanted {
			if state.wanted.len() >= MAX_WANTED && !state.wanted.contains_key(&wanted) {
				break;
			}
			let entry = state
				.wanted
				.entry(wanted)
				.or_insert_with(|| Lookup::new(now));
			entry.by.entry(book.agent).or_insert(None);
			if entry.ask <= now {
				self.0.due.notify_one();
			}
		}
	}

	/// Returns the stamps of the records of other nodes' agents, as far as this node's own agents look for
	/// them: users of the RPC could choose whom to look up.
	pub fn stamps(&self) -> Vec<u64> {
		let state = self.state();
		let found = state
			.wanted
			.iter()
			.filter(|(agent, entry)| !entry.by.is_empty() && !state.own.contains_key(agent));
		let stamp = |entry: &Lookup| entry.found.as_ref().map(|(record, _)| record.stamp);
		found
			.filter_map(|(_, entry)| stamp(entry).max(entry.ahead))
			.collect()
	}

	/// Returns the records to put into the DHT now: only of agents on chain, since no node stores others.
	fn to_put(&self, now: Instant) -> Vec<(AgentKey, Vec<u8>)> {
		// The chain's state is read without the lock.
		let due: Vec<_> = {
			let mut state = self.state();
			state.own.retain(|_, own| now < own.noted + SILENT);
			let due = state.own.iter().filter(|(_, own)| own.at <= now);
			due.map(|(agent, _)| *agent).collect()
		};
		let known: BTreeSet<_> = due
			.iter()
			.filter(|agent| self.0.chain.knows(agent))
			.collect();
		let mut state = self.state();
		let mut put = Vec::new();
		for agent in &due {
			let Some(own) = state.own.get_mut(agent) else {
				continue;
			};
			if !known.contains(agent) {
				(own.at, own.puts) = (now + RETRY, 0);
				continue;
			}
			own.at = now + REPUBLISH_SOON.get(own.puts).copied().unwrap_or(REPUBLISH);
			own.puts += 1;
			put.push((*agent, own.record.clone()));
			let stamp = own.stamp;
			state.keep(*agent, stamp, now + KEEP_OWN);
		}
		put
	}

	/// Returns DHT keys of expired records, at most [`MAX_DROPPED`], if the store is [`NEARLY_FULL`].
	/// litep2p's store drops an expired record only when it is read, and counts it against its limit until
	/// then.
	fn to_drop(&self, now: Instant) -> Vec<[u8; 32]> {
		let mut state = self.state();
		if state.taken() < NEARLY_FULL {
			return Vec::new();
		}
		let kept = state.kept.iter();
		let over = kept.filter(|(_, (_, until))| *until + DROP_AFTER <= now);
		let over: Vec<_> = over.map(|(agent, _)| *agent).take(MAX_DROPPED).collect();
		for agent in &over {
			state.retire(*agent, now);
		}
		over.iter().map(address_key).collect()
	}

	/// Returns the agents to look up in the DHT now.
	fn to_get(&self, now: Instant) -> Vec<AgentKey> {
		let mut state = self.state();
		let due = state
			.wanted
			.iter_mut()
			.filter(|(_, entry)| entry.ask <= now);
		due.map(|(agent, entry)| {
			entry.ask = now + entry.pause;
			entry.pause = match entry.found {
				Some(_) => ASK_AGAIN,
				None => (entry.pause * 2).min(ASK_AGAIN),
			};
			*agent
		})
		.collect()
	}

	/// Takes bytes that were found under `key`.
	fn take_found(&self, key: &[u8], bytes: Vec<u8>) {
		let Some(record) = record_at(key, &bytes) else {
			return;
		};
		if self.is_future(record.stamp) {
			if let Some(entry) = self.state().wanted.get_mut(&record.agent) {
				entry.ahead = entry.ahead.max(Some(record.stamp));
			}
			return;
		}
		if let Some(entry) = self.state().wanted.get_mut(&record.agent) {
			let newer = entry
				.found
				.as_ref()
				.is_none_or(|(known, _)| known.stamp < record.stamp);
			if newer {
				entry.found = Some((record, bytes));
				entry.ahead = None;
				self.0.news.send_modify(|count| *count += 1);
			}
		}
	}

	/// Returns the expiry with which to store these bytes under `key`, if they are an authentic record of an
	/// agent on chain, with a stamp that is neither in the future nor older than the stored one.
	fn keeps(&self, key: &[u8], bytes: &[u8], now: Instant) -> Option<Instant> {
		// The signature is checked last, since it costs most.
		let agent = AgentKey::decode(&mut &bytes[..]);
		if !agent.is_ok_and(|agent| address_key(&agent) == key && self.0.chain.knows(&agent)) {
			return None;
		}
		let record = record_at(key, bytes).filter(|it| !self.is_future(it.stamp))?;
		let mut state = self.state();
		let own = state.own.get(&record.agent).map(|own| own.stamp);
		if own.max(state.newest(&record.agent)) > Some(record.stamp) {
			return None;
		}
		let stored = state.kept.get(&record.agent).map(|(_, until)| *until);
		if stored.is_none() && state.taken() >= MAX_KEPT {
			return None;
		}
		if own < Some(record.stamp) {
			state.own.remove(&record.agent);
		}
		// In the store, no record replaces one that expires later, and this node's own puts do expire later.
		let until = now + KEEP;
		let until = stored.map_or(until, |stored| stored.max(until));
		state.keep(record.agent, record.stamp, until);
		Some(until)
	}

	/// Schedules another put under `key`, which no peer accepted: the node may have no peer yet.
	fn not_put(&self, key: &[u8]) {
		for (agent, own) in &mut self.state().own {
			if address_key(agent) == key {
				own.at = Instant::now() + RETRY;
			}
		}
	}
}

/// Publishes and looks up records as long as the node runs.
pub async fn run(addresses: Addresses, network: Arc<dyn NetworkService>) {
	let mut events = network.event_stream("agent-addresses");
	let mut ticker = tokio::time::interval(TICK);
	ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
	let look = || {
		let now = Instant::now();
		for (agent, record) in addresses.to_put(now) {
			network.put_value(KademliaKey::new(&address_key(&agent)), record);
		}
		for agent in addresses.to_get(now) {
			network.get_value(&KademliaKey::new(&address_key(&agent)));
		}
	};
	loop {
		tokio::select! {
			_ = ticker.tick() => {
				look();
				for key in addresses.to_drop(Instant::now()) {
					network.get_value(&KademliaKey::new(&key));
				}
			}
			() = addresses.0.due.notified() => look(),
			event = events.next() => match event {
				Some(Event::Dht(DhtEvent::ValueFound(found))) => {
					addresses.take_found(found.record.key.as_ref(), found.record.value);
				}
				Some(Event::Dht(DhtEvent::PutRecordRequest(key, bytes, publisher, _))) => {
					if let Some(until) = addresses.keeps(key.as_ref(), &bytes, Instant::now()) {
						network.store_record(key, bytes, publisher, Some(until.into_std()));
					}
				}
				Some(Event::Dht(DhtEvent::ValuePutFailed(key))) => {
					log::debug!(target: LOG_TARGET, "No peer accepts an agent's addresses yet; trying again in {} s", RETRY.as_secs());
					addresses.not_put(key.as_ref());
				}
				Some(_) => {}
				None => return,
			}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use codec::Encode;
	use sc_consensus_babe::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest};
	use sp_core::{Pair, ed25519};
	use sp_runtime::{Digest, DigestItem, traits::Header as _};

	/// A chain that knows all agents below byte 100, and whose time is this many milliseconds ahead of the
	/// clock.
	struct Knows(i64);

	impl ChainReader for Knows {
		fn knows(&self, agent: &AgentKey) -> bool {
			(100..=u8::MAX).all(|byte| *agent != super::tests::agent(byte))
		}

		fn time_ms(&self) -> u64 {
			(clock_ms() as i64 + self.0) as u64
		}
	}

	fn addresses() -> Addresses {
		Addresses::new(Arc::new(Knows(0)))
	}

	fn pair(byte: u8) -> ed25519::Pair {
		ed25519::Pair::from_seed(&[byte; 32])
	}

	fn agent(byte: u8) -> AgentKey {
		pair(byte).public()
	}

	fn record(byte: u8, stamp: u64) -> Vec<u8> {
		record_of(&pair(byte), stamp)
	}

	fn record_of(pair: &ed25519::Pair, stamp: u64) -> Vec<u8> {
		let (agent, addresses, relays) = (pair.public(), vec!["127.0.0.1:1".into()], Vec::new());
		let payload = AddressRecord::payload(&agent, &addresses, &relays, stamp);
		AddressRecord {
			agent,
			addresses,
			relays,
			stamp,
			signature: pair.sign(&payload),
		}
		.encode()
	}

	fn keeps(addresses: &Addresses, key: &[u8], bytes: &[u8]) -> bool {
		addresses.keeps(key, bytes, Instant::now()).is_some()
	}

	/// Returns the key pair of this number.
	fn numbered(number: usize) -> ed25519::Pair {
		let mut seed = [0; 32];
		seed[..8].copy_from_slice(&number.to_le_bytes());
		ed25519::Pair::from_seed(&seed)
	}

	/// Offers a record of this agent to the store, and returns whether the store accepts it.
	fn put(addresses: &Addresses, pair: &ed25519::Pair, stamp: u64) -> bool {
		let record = record_of(pair, stamp);
		keeps(addresses, &address_key(&pair.public()), &record)
	}

	fn book(byte: u8, record: Vec<u8>, wanted: &[u8]) -> AddressBook {
		AddressBook {
			agent: agent(byte),
			record,
			wanted: wanted.iter().map(|byte| agent(*byte)).collect(),
		}
	}

	#[test]
	fn a_record_is_put_when_it_changes_and_again_after_a_while() {
		let addresses = addresses();
		addresses.take_report(book(1, record(1, 1), &[]));
		let now = Instant::now();
		assert_eq!(addresses.to_put(now), [(agent(1), record(1, 1))]);
		addresses.take_report(book(1, record(1, 1), &[]));
		assert!(addresses.to_put(Instant::now()).is_empty());
		addresses.take_report(book(1, record(1, 2), &[]));
		assert_eq!(addresses.to_put(Instant::now()).len(), 1);
		assert_eq!(addresses.to_put(now + SILENT / 2).len(), 1);
		addresses.take_report(book(1, record(2, 3), &[]));
		addresses.take_report(book(1, Vec::new(), &[]));
		let nothing = addresses.to_put(Instant::now());
		assert!(nothing.is_empty(), "another agent's record is not put");
	}

	#[test]
	fn a_put_that_failed_is_tried_again() {
		let addresses = addresses();
		addresses.take_report(book(1, record(1, 1), &[]));
		addresses.to_put(Instant::now());
		addresses.not_put(&address_key(&agent(1)));
		assert!(addresses.to_put(Instant::now()).is_empty());
		assert_eq!(addresses.to_put(Instant::now() + RETRY).len(), 1);
	}

	#[test]
	fn the_newest_true_record_goes_to_those_who_look_for_it() {
		let addresses = addresses();
		addresses.take_report(book(1, Vec::new(), &[7]));
		addresses.take_report(book(2, Vec::new(), &[8]));
		let now = Instant::now();
		assert_eq!(addresses.to_get(now).len(), 2);
		assert!(addresses.to_get(now).is_empty(), "it was just asked for");
		let key = address_key(&agent(7));
		for bytes in [
			record(7, 5),
			record(7, 4),
			// Records that are newer, but another agent's, or altered, or empty.
			record(8, 9),
			[record(7, 9), vec![0]].concat(),
			Vec::new(),
		] {
			addresses.take_found(&key, bytes);
		}
		addresses.take_found(&address_key(&agent(9)), record(9, 1));
		let first = addresses.found_for(&agent(1));
		assert_eq!(first.found.records, [record(7, 5)]);
		assert!(addresses.found_for(&agent(2)).found.records.is_empty());
		assert!(addresses.has_for(&agent(1)), "it did not take it yet");
		addresses.mark_received(&first);
		assert!(!addresses.has_for(&agent(1)));
		addresses.take_found(&key, record(7, 6));
		let second = addresses.found_for(&agent(1));
		assert_eq!(second.found.records, [record(7, 6)]);
		addresses.take_report(book(1, Vec::new(), &[]));
		let reached = addresses.found_for(&agent(1));
		assert!(reached.found.records.is_empty(), "it was reached");
	}

	#[tokio::test(start_paused = true)]
	async fn the_unreachable_do_not_stand_before_the_others() {
		let addresses = addresses();
		let all: Vec<u8> = (10..50).collect();
		addresses.take_report(book(1, Vec::new(), &all));
		for byte in &all {
			addresses.take_found(&address_key(&agent(*byte)), record(*byte, 1));
		}
		// No agent is reached, so all stay wanted.
		let mut sent = BTreeSet::new();
		for _ in 0..3 {
			let parcel = addresses.found_for(&agent(1));
			assert!(parcel.found.records.len() <= MAX_RECORDS);
			addresses.mark_received(&parcel);
			addresses.take_report(book(1, Vec::new(), &all));
			for record in parcel.found.records {
				assert!(sent.insert(record), "each once");
			}
		}
		assert_eq!(sent.len(), all.len());
		assert!(!addresses.has_for(&agent(1)));
		tokio::time::advance(TELL_AGAIN).await;
		assert!(addresses.has_for(&agent(1)), "again after a while");
	}

	#[tokio::test(start_paused = true)]
	async fn a_missing_record_is_asked_for_soon_again_and_then_less_often() {
		let addresses = addresses();
		addresses.take_report(book(1, Vec::new(), &[7]));
		assert!(addresses.misses_for(&agent(1)));
		let began = Instant::now();
		let mut asked = Vec::new();
		while asked.len() < 5 {
			if !addresses.to_get(Instant::now()).is_empty() {
				asked.push(began.elapsed().as_secs());
			}
			tokio::time::advance(Duration::from_secs(1)).await;
		}
		assert_eq!(asked, [0, 2, 6, 14, 24]);
		addresses.take_found(&address_key(&agent(7)), record(7, 1));
		assert!(!addresses.misses_for(&agent(1)));
	}

	#[tokio::test]
	async fn a_user_hears_where_an_agent_is() {
		let addresses = addresses();
		// An agent of this node.
		addresses.take_report(book(1, record(1, 1), &[]));
		assert_eq!(addresses.locate(&agent(1), POLL).await, Some(record(1, 1)));
		// An agent whose record the DHT has.
		let asking = addresses.clone();
		let asked = tokio::spawn(async move { asking.locate(&agent(7), POLL * 100).await });
		while addresses.to_get(Instant::now()) != [agent(7)] {
			tokio::time::sleep(POLL).await;
		}
		// A report of an agent does not end the lookup.
		addresses.take_report(book(1, record(1, 1), &[]));
		addresses.take_found(&address_key(&agent(7)), record(7, 5));
		assert_eq!(asked.await.unwrap(), Some(record(7, 5)));
		// An agent whose record nobody has.
		assert_eq!(addresses.locate(&agent(8), POLL * 2).await, None);
	}

	#[tokio::test(start_paused = true)]
	async fn users_do_not_keep_agents_or_each_other_from_finding() {
		let addresses = addresses();
		for number in 0..=MAX_ASKED as u16 {
			let mut key = [9; 32];
			key[..2].copy_from_slice(&number.to_le_bytes());
			let room = addresses.ask_for(&AgentKey::from_raw(key), Instant::now());
			assert_eq!(room, usize::from(number) < MAX_ASKED);
			tokio::time::advance(Duration::from_millis(1)).await;
		}
		assert_eq!(addresses.state().wanted.len(), MAX_ASKED);
		tokio::time::advance(ASKED_AT_LEAST).await;
		// A further lookup displaces the oldest, but never an agent's lookup.
		addresses.take_report(book(1, Vec::new(), &[6]));
		addresses.ask_for(&agent(6), Instant::now());
		tokio::time::advance(Duration::from_millis(1)).await;
		for _ in 0..3 {
			addresses.ask_for(&agent(7), Instant::now());
		}
		assert_eq!(addresses.state().wanted.len(), MAX_ASKED);
		let due = addresses.to_get(Instant::now());
		assert!(due.contains(&agent(6)) && due.contains(&agent(7)));
		tokio::time::advance(ASKED_AT_LEAST).await;
		for number in 0..MAX_ASKED as u16 {
			let mut key = [8; 32];
			key[..2].copy_from_slice(&number.to_le_bytes());
			addresses.ask_for(&AgentKey::from_raw(key), Instant::now());
		}
		assert!(addresses.state().wanted.contains_key(&agent(6)));
		assert!(!addresses.state().wanted.contains_key(&agent(7)));
		// An agent that is not on chain is not looked up at all.
		assert_eq!(addresses.locate(&agent(100), POLL * 2).await, None);
		assert!(!addresses.state().wanted.contains_key(&agent(100)));
	}

	#[tokio::test(start_paused = true)]
	async fn a_user_who_repeats_lookups_does_not_lock_out_the_others() {
		let addresses = addresses();
		for _ in 0..3 {
			for number in 0..MAX_ASKED {
				addresses.ask_for(&numbered(number).public(), Instant::now());
			}
			tokio::time::advance(ASKED_AT_LEAST / 2).await;
		}
		assert!(addresses.ask_for(&agent(7), Instant::now()));
		assert_eq!(addresses.state().wanted.len(), MAX_ASKED);
		// Repeating a lookup still extends it.
		tokio::time::advance(ASKED_FOR / 2).await;
		assert!(addresses.ask_for(&agent(7), Instant::now()));
		tokio::time::advance(ASKED_FOR / 2).await;
		let state = addresses.state();
		assert!(state.wanted[&agent(7)].is_wanted(Instant::now()));
	}

	#[tokio::test(start_paused = true)]
	async fn a_known_record_needs_no_room_for_a_lookup() {
		let addresses = addresses();
		addresses.take_report(book(1, Vec::new(), &[7]));
		addresses.take_found(&address_key(&agent(7)), record(7, 1));
		for number in 0..MAX_ASKED {
			assert!(addresses.ask_for(&numbered(number).public(), Instant::now()));
		}
		assert!(!addresses.ask_for(&agent(7), Instant::now()));
		assert_eq!(addresses.locate(&agent(7), POLL).await, Some(record(7, 1)));
		assert_eq!(addresses.locate(&agent(8), POLL).await, None);
		// An agent that is not on chain displaces nobody.
		tokio::time::advance(ASKED_AT_LEAST).await;
		assert_eq!(addresses.locate(&agent(100), POLL).await, None);
		assert_eq!(addresses.state().wanted.len(), MAX_ASKED + 1);
	}

	#[tokio::test(start_paused = true)]
	async fn an_agent_is_published_once_the_chain_knows_it() {
		struct Registers(std::sync::atomic::AtomicBool);
		impl ChainReader for Registers {
			fn knows(&self, _: &AgentKey) -> bool {
				self.0.load(std::sync::atomic::Ordering::Relaxed)
			}

			fn time_ms(&self) -> u64 {
				0
			}
		}
		let chain = Arc::new(Registers(false.into()));
		let addresses = Addresses::new(chain.clone());
		let report = book(1, record(1, 1), &[]);
		let began = Instant::now();
		let mut put = Vec::new();
		for second in 0..900 {
			if second == 35 {
				chain.0.store(true, std::sync::atomic::Ordering::Relaxed);
			}
			addresses.take_report(report.clone());
			if !addresses.to_put(Instant::now()).is_empty() {
				put.push(began.elapsed().as_secs());
			}
			tokio::time::advance(TICK).await;
		}
		assert_eq!(put, [40, 55, 115, 295, 895]);
	}

	#[test]
	fn others_records_are_kept_if_they_belong_there() {
		let addresses = addresses();
		let key = address_key(&agent(7));
		assert!(keeps(&addresses, &key, &record(7, 1)));
		assert!(!keeps(&addresses, &key, &record(8, 2)));
		assert!(!keeps(&addresses, &address_key(&agent(8)), &record(7, 2)));
		let mut forged = record(7, 2);
		forged[40] ^= 1;
		assert!(!keeps(&addresses, &key, &forged));
		assert!(!keeps(&addresses, &key, &[]));
	}

	#[test]
	fn an_old_record_does_not_take_the_place_of_a_new_one() {
		let addresses = addresses();
		let key = address_key(&agent(7));
		assert!(keeps(&addresses, &key, &record(7, 5)));
		assert!(!keeps(&addresses, &key, &record(7, 4)));
		assert!(
			keeps(&addresses, &key, &record(7, 5)),
			"it is renewed as it is"
		);
		assert!(keeps(&addresses, &key, &record(7, 6)));
		assert!(!keeps(&addresses, &key, &record(7, 5)));
	}

	#[test]
	fn only_agents_on_chain_are_kept() {
		let addresses = addresses();
		for byte in [7, 99, 100, 200] {
			let kept = keeps(&addresses, &address_key(&agent(byte)), &record(byte, 1));
			assert_eq!(kept, byte < 100, "{byte}");
		}
	}

	#[test]
	fn boundary_no_stamp_from_the_future_is_kept_or_passed_on() {
		let key = address_key(&agent(7));
		for (chain, limit) in [
			(-3_600_000, FUTURE_MS as i64),
			(3_600_000, FUTURE_MS as i64 + 3_600_000),
		] {
			let addresses = Addresses::new(Arc::new(Knows(chain)));
			addresses.take_report(book(1, Vec::new(), &[7]));
			let at = |ahead: i64| record(7, (clock_ms() as i64 + ahead) as u64);
			for far in [at(limit + 10_000), record(7, u64::MAX)] {
				assert!(!keeps(&addresses, &key, &far));
				addresses.take_found(&key, far);
				assert!(!addresses.has_for(&agent(1)));
			}
			let near = at(limit - 10_000);
			assert!(keeps(&addresses, &key, &near));
			addresses.take_found(&key, near);
			assert!(addresses.has_for(&agent(1)));
		}
	}

	#[test]
	fn records_from_the_future_tell_that_the_clock_is_behind() {
		// The chain's time does not help: a node whose clock is six hours behind refuses all new blocks.
		let addresses = addresses();
		addresses.take_report(book(1, Vec::new(), &[7, 8, 9]));
		let ahead = clock_ms() + 6 * 3_600_000;
		for byte in [7, 8, 9] {
			addresses.take_found(&address_key(&agent(byte)), record(byte, ahead));
		}
		assert_eq!(addresses.stamps(), [ahead; 3]);
		assert!(!addresses.has_for(&agent(1)), "and are passed on to nobody");
		// One agent's clock was wrong, and is set again.
		let now = clock_ms();
		addresses.take_found(&address_key(&agent(7)), record(7, now));
		let mut stamps = addresses.stamps();
		stamps.sort_unstable();
		assert_eq!(stamps, [now, ahead, ahead]);
	}

	#[test]
	fn an_old_record_of_an_own_agent_is_not_kept() {
		let addresses = addresses();
		let key = address_key(&agent(1));
		addresses.take_report(book(1, record(1, 5), &[]));
		assert!(!keeps(&addresses, &key, &record(1, 4)));
		assert!(keeps(&addresses, &key, &record(1, 5)));
	}

	#[tokio::test(start_paused = true)]
	async fn boundary_as_many_are_kept_as_the_store_takes_and_each_for_its_time() {
		let addresses = addresses();
		let pairs: Vec<_> = (0..=MAX_KEPT).map(numbered).collect();
		let [last, first @ ..] = &pairs[..] else {
			unreachable!("there are some");
		};
		assert!(first.iter().all(|pair| put(&addresses, pair, 2)));
		assert!(!put(&addresses, last, 2), "there is no room");
		// A full store evicts nothing, so no old record can return.
		assert!(first.iter().all(|pair| !put(&addresses, pair, 1)));
		tokio::time::advance(KEEP / 2).await;
		assert!(put(&addresses, &first[0], 2), "it is renewed as it is");
		tokio::time::advance(KEEP / 2).await;
		// The store drops an expired record when it is read; until then there is no room.
		assert!(!put(&addresses, last, 2));
		assert!(
			addresses.to_drop(Instant::now()).is_empty(),
			"at the store's clock they may not be over"
		);
		tokio::time::advance(Duration::from_secs(1)).await;
		let dropped = addresses.to_drop(Instant::now());
		assert_eq!(dropped.len(), 2, "each takes a query of the whole DHT");
		assert!(!dropped.contains(&address_key(&first[0].public())));
		assert!(put(&addresses, last, 2));
		assert!(!put(&addresses, &first[0], 1), "this one is not over");
		let gone = |pair: &&ed25519::Pair| dropped.contains(&address_key(&pair.public()));
		let gone = first.iter().find(gone).expect("one was dropped");
		assert!(!put(&addresses, gone, 1), "its stamp outlasts the record");
		assert!(put(&addresses, gone, 2));
	}

	#[tokio::test(start_paused = true)]
	async fn nothing_is_dropped_while_there_is_room() {
		let addresses = addresses();
		assert!((0..100).all(|number| put(&addresses, &numbered(number), 2)));
		tokio::time::advance(2 * KEEP).await;
		assert!(addresses.to_drop(Instant::now()).is_empty());
		assert!(!put(&addresses, &numbered(0), 1), "no old record returns");
	}

	#[test]
	fn boundary_the_stamps_of_the_records_dropped_last_are_stored() {
		let mut state = State::default();
		let began = Instant::now();
		let agents: Vec<_> = (0..=MAX_PAST)
			.map(|number| {
				let mut key = [0; 32];
				// The oldest has the highest key.
				key[..8].copy_from_slice(&(!number).to_be_bytes());
				(
					AgentKey::from_raw(key),
					began + Duration::from_secs(number as u64),
				)
			})
			.collect();
		for (agent, at) in &agents {
			state.keep(*agent, 2, *at);
			state.retire(*agent, *at);
		}
		assert_eq!(state.past.len(), MAX_PAST);
		assert_eq!(state.newest(&agents[0].0), None);
		assert!(
			agents[1..]
				.iter()
				.all(|(agent, _)| state.newest(agent) == Some(2))
		);
		// A record that returns to the store is counted once.
		let (agent, at) = agents[1];
		state.keep(agent, 3, at);
		assert_eq!(
			(state.past.len(), state.newest(&agent)),
			(MAX_PAST - 1, Some(3))
		);
	}

	#[test]
	fn an_own_agent_takes_one_place_in_the_store() {
		let addresses = addresses();
		let own = numbered(0);
		addresses.take_report(AddressBook {
			agent: own.public(),
			record: record_of(&own, 2),
			wanted: Vec::new(),
		});
		addresses.to_put(Instant::now());
		assert!(put(&addresses, &own, 2), "another node sends it back");
		assert!((1..MAX_KEPT).all(|number| put(&addresses, &numbered(number), 2)));
		assert!(!put(&addresses, &numbered(MAX_KEPT), 2));
	}

	#[test]
	fn an_own_record_that_was_replaced_is_not_put_again() {
		let addresses = addresses();
		let key = address_key(&agent(1));
		addresses.take_report(book(1, record(1, 5), &[]));
		assert_eq!(addresses.to_put(Instant::now()).len(), 1);
		// The agent runs elsewhere now. Its copy here still runs.
		assert!(keeps(&addresses, &key, &record(1, 6)));
		addresses.take_report(book(1, record(1, 5), &[]));
		let later = Instant::now() + Duration::from_secs(60);
		assert!(addresses.to_put(later).is_empty());
		assert_eq!(addresses.known(&agent(1)), None);
		// The agent is back.
		addresses.take_report(book(1, record(1, 7), &[]));
		assert_eq!(addresses.to_put(Instant::now()), [(agent(1), record(1, 7))]);
	}

	#[tokio::test(start_paused = true)]
	async fn an_agent_that_is_away_is_not_published() {
		let addresses = addresses();
		addresses.take_report(book(1, record(1, 5), &[]));
		let mut puts = 0;
		for _ in 0..24 {
			puts += addresses.to_put(Instant::now()).len();
			tokio::time::advance(Duration::from_secs(5 * 60)).await;
		}
		assert!(puts < 4, "{puts} puts in two hours");
		assert_eq!(addresses.known(&agent(1)), None);
	}

	#[test]
	fn an_old_block_has_its_time_too() {
		let at = clock_ms() / SLOT_DURATION - 2 * 3_600_000 / SLOT_DURATION;
		let digest = PreDigest::SecondaryPlain(SecondaryPlainPreDigest {
			authority_index: 0,
			slot: at.into(),
		});
		let header = Header::new(
			1,
			Default::default(),
			Default::default(),
			Default::default(),
			Digest {
				logs: vec![DigestItem::babe_pre_digest(digest)],
			},
		);
		assert_eq!(slot_ms(&header), Some(at * SLOT_DURATION));
	}
}
