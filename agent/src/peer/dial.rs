//! This agent among the others: its identity, its addresses, and its connections to them.

use super::{
	endpoint::{Peers, sign},
	mapping,
	network::{Located, Network, OwnAddresses, Unread},
	stamps::{RecordConclusion, Stamps},
	wire::{self, MAX_REPLY, Refusal, Request},
};
use crate::host::time::Time;
use anyhow::{Context, Result};
use codec::{DecodeWithMemTracking, Encode};
use iroh::{
	Endpoint, EndpointAddr, RelayUrl, Watcher,
	endpoint::{ConnectOptions, Connection, RecvStream, RelayStatus},
};
use kaisar_primitives::{
	AgentKey, AgentSignature,
	agent::{AddressBook, AddressRecord, AddressesFound},
};
use kaisar_tunnel::is_public;
use parking_lot::Mutex;
use sp_core::{Pair, ed25519};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
	io::AsyncRead,
	time::{Instant, sleep, timeout, timeout_at},
};

/// Timeout of a connection attempt.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time for an agent to answer before the node searches for newer addresses of it.
const DOUBT: Duration = Duration::from_secs(1);
/// Timeout of the search for an agent's addresses, if none are known.
const FIND_TIME: Duration = Duration::from_secs(2);
/// Interval of looks into the folder while no addresses are known.
const LOOK: Duration = Duration::from_millis(500);
/// Timeout of a request, and of an answer other than openings.
pub const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Timeout of openings: until they start to come, and again from there to their end.
pub const OPENINGS_TIME: Duration = Duration::from_secs(60);
/// Timeout of a checker's agent for memory for openings, before it reads them.
pub const MEMORY_TIME: Duration = Duration::from_secs(45);
/// Interval of looks for changed addresses.
const PUBLISH: Duration = Duration::from_secs(5);
/// Time for a gateway and a relay before the agent warns that it is not reachable from outside.
const GRACE: Duration = Duration::from_secs(15);

/// This agent's identity, endpoint and addresses.
pub struct Peer {
	pair: ed25519::Pair,
	key: AgentKey,
	endpoint: Endpoint,
	dial_options: ConnectOptions,
	unread: Unread,
	peers: Peers,
	located: Arc<Located>,
	relays: Vec<RelayUrl>,
	private: bool,
	stamps: Stamps,
	published: Mutex<Option<Published>>,
}

/// The address record that this agent last published.
struct Published {
	own_addresses: OwnAddresses,
	/// Record for agents on this machine.
	here: AddressRecord,
	/// Record for the DHT; empty if the agent is not reachable from elsewhere.
	elsewhere: Vec<u8>,
}

impl Peer {
	/// Binds the agent with this key pair to its network. `peers` is the folder of addresses, `data` the
	/// agent's own folder.
	pub async fn start(
		pair: ed25519::Pair,
		network: &Network,
		alpns: &[&[u8]],
		peers: &Path,
		data: &Path,
	) -> Result<Self> {
		let seed: [u8; 32] = pair.seed();
		let endpoint = network.endpoint(&seed, alpns).await?;
		let sockets = endpoint.bound_sockets();
		let ports = sockets.iter().map(SocketAddr::port).collect();
		Ok(Self {
			key: pair.public(),
			pair,
			located: Arc::new(Located::new(network, &endpoint)),
			relays: network.relays.clone(),
			private: network.publish_private,
			endpoint,
			dial_options: network.dial_options()?,
			unread: network.unread,
			peers: Peers::with_rule(peers, network.dial_rule(), ports)?,
			stamps: Stamps::new(data),
			published: Mutex::default(),
		})
	}

	/// Returns the agent's key.
	pub fn key(&self) -> AgentKey {
		self.key
	}

	/// Returns the agent's key pair.
	pub fn pair(&self) -> &ed25519::Pair {
		&self.pair
	}

	/// Returns the addresses of all agents.
	pub fn peers(&self) -> &Peers {
		&self.peers
	}

	/// Returns the endpoint.
	pub fn endpoint(&self) -> &Endpoint {
		&self.endpoint
	}

	/// Returns the bounds on unread bytes of its connections.
	pub fn unread(&self) -> &Unread {
		&self.unread
	}

	/// Signs a message.
	pub fn sign(&self, message: &[u8]) -> AgentSignature {
		self.pair.sign(message)
	}

	/// Returns the addresses of its endpoint for agents on this machine.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		self.located.addresses(&self.endpoint).here
	}

	/// Returns the addresses and relays that it publishes to agents on other machines.
	pub fn published(&self) -> (Vec<String>, Vec<String>) {
		let published = self.published.lock();
		let own_addresses = published.as_ref().map(|published| &published.own_addresses);
		let texts = |own_addresses: &OwnAddresses| {
			(
				own_addresses
					.published
					.iter()
					.map(ToString::to_string)
					.collect(),
				own_addresses
					.relays
					.iter()
					.map(ToString::to_string)
					.collect(),
			)
		};
		own_addresses.map(texts).unwrap_or_default()
	}

	/// Publishes its addresses.
	pub fn publish(&self) -> Result<()> {
		// Held to the end: a reader that finds the new record in the folder but not here would take it for a
		// twin's.
		let mut published = self.published.lock();
		let own_addresses = self.located.addresses(&self.endpoint);
		let stamp = self.stamps.next();
		let record = |addrs: &[SocketAddr]| {
			let addresses = addrs.iter().map(ToString::to_string).collect();
			let relays = own_addresses
				.relays
				.iter()
				.map(ToString::to_string)
				.collect();
			sign(&self.pair, addresses, relays, stamp)
		};
		let here = record(&own_addresses.here);
		self.peers.store(&here)?;
		let elsewhere = match (&own_addresses.published[..], &own_addresses.relays[..]) {
			([], []) => Vec::new(),
			(addrs, _) => record(addrs).encode(),
		};
		*published = Some(Published {
			own_addresses,
			here,
			elsewhere,
		});
		Ok(())
	}

	/// Publishes its addresses whenever they change or its record in the folder is gone, keeps a port mapped
	/// if it may, and warns if it is not reachable from outside.
	pub async fn keep_published(&self) {
		tokio::join!(
			self.keep_record(),
			self.keep_mapping(),
			self.warn_if_private()
		);
	}

	async fn keep_record(&self) {
		loop {
			let own_addresses = self.located.addresses(&self.endpoint);
			let found = self.peers.record(&self.key);
			// The lock must be released before the code below.
			let (moved, own) = match &*self.published.lock() {
				Some(last) => (last.own_addresses != own_addresses, Some(last.here.clone())),
				None => (true, None),
			};
			match (found, own) {
				(Some(found), Some(own)) if found.stamp > own.stamp => {
					self.conclude(self.stamps.replaced(found.stamp), &found);
				}
				(found, own) if moved || found != own => self.publish_or_say(),
				_ => (),
			}
			let _ = timeout(PUBLISH, self.located.changed.notified()).await;
		}
	}

	async fn keep_mapping(&self) {
		if self.located.may_map() {
			mapping::keep(self.endpoint.clone(), self.located.clone()).await;
		}
	}

	fn publish_or_say(&self) {
		if let Err(error) = self.publish() {
			tracing::warn!(
				%error,
				"cannot publish the addresses; free space on the disk, or let the agent write to its folders"
			);
		}
	}

	/// Warns once each time that the agent has become unreachable from outside, or that its relay is away.
	async fn warn_if_private(&self) {
		let (mut warned, mut away) = (false, false);
		loop {
			sleep(GRACE).await;
			let own_addresses = self.located.addresses(&self.endpoint);
			let reachable = self.private
				|| !self.relays.is_empty()
				|| own_addresses
					.published
					.iter()
					.any(|addr| is_public(addr.ip()));
			let fault = self.relay_fault();
			if fault.is_some() != std::mem::replace(&mut away, fault.is_some())
				&& let Some(fault) = fault
			{
				tracing::warn!(
					"no relay serves this agent: {fault}. Agents that need one cannot reach it. Check --relay-url, and \
					 that the relay runs and admits this agent's key. The agent keeps trying"
				);
			}
			if reachable {
				warned = false;
			} else if !std::mem::replace(&mut warned, true) {
				let addresses: Vec<_> =
					own_addresses.here.iter().map(ToString::to_string).collect();
				tracing::warn!(
					"agents on other machines cannot reach this one: its addresses are private ({}), no gateway \
					 forwards a port to it, and it has no relay. Checkers will find its workers offline. Forward the \
					 UDP port to this machine and start the agent with --external-address IP:PORT, use a relay with \
					 --relay-url, or use --publish-private on a network of your own",
					addresses.join(", ")
				);
			}
		}
	}

	/// Returns the reason why no relay serves the agent, if it names relays and none is connected.
	fn relay_fault(&self) -> Option<String> {
		if self.relays.is_empty() {
			return None;
		}
		let relays = self.endpoint.home_relay_status().get();
		if relays.iter().any(RelayStatus::is_connected) {
			return None;
		}
		let faults = relays.iter().filter_map(|relay| {
			let error = relay.last_error()?;
			Some(format!("{}: {error}", relay.url()))
		});
		Some(
			faults
				.reduce(|all, fault| format!("{all}; {fault}"))
				.unwrap_or_else(|| "none of them answers".into()),
		)
	}

	/// Takes records that the node found. Returns the record for the node to publish, and the agents to
	/// search for.
	pub fn exchange(&self, found: &AddressesFound) -> AddressBook {
		if self.stamps.follow_chain(found.chain_ms) {
			self.publish_or_say();
		}
		for bytes in &found.records {
			match AddressRecord::read(&self.key, bytes) {
				Some(record) => self.meet(&record),
				None => {
					if let Some(agent) = self.peers.accept(bytes) {
						tracing::debug!(agent = hex::encode(agent), "found in the DHT");
					}
				}
			}
		}
		let mut wanted = self.peers.wanted();
		if self.peers.wants_itself() || !self.stamps.have_met() {
			// First, since the node may search for fewer agents than a large round has.
			wanted.insert(0, self.key);
		}
		let published = self.published.lock();
		AddressBook {
			agent: self.key,
			record: published
				.as_ref()
				.map_or_else(Vec::new, |published| published.elsewhere.clone()),
			wanted,
		}
	}

	/// Handles a record of this agent's own key from elsewhere: an old one of its own, or a twin's.
	fn meet(&self, record: &AddressRecord) {
		let own = self.published.lock().as_ref().is_some_and(|published| {
			*record == published.here || record.encode() == published.elsewhere
		});
		self.conclude(self.stamps.meet(record.stamp, own), record);
	}

	fn conclude(&self, conclusion: RecordConclusion, record: &AddressRecord) {
		match conclusion {
			RecordConclusion::Nothing | RecordConclusion::Known => return,
			RecordConclusion::Above => tracing::info!(
				stamp = record.stamp,
				"an earlier address record of this agent has a newer stamp; publishing above it"
			),
			RecordConclusion::Twin => tracing::warn!(
				"another agent runs with this agent's key 0x{}: it publishes the addresses {}, this one {}. Checks \
				 reach one or the other, and proofs that differ are slashed. Stop one of them; a second machine \
				 needs a key and a worker of its own",
				hex::encode(self.key),
				record.addresses.join(", "),
				self.addrs()
					.iter()
					.map(ToString::to_string)
					.collect::<Vec<_>>()
					.join(", "),
			),
		}
		self.publish_or_say();
	}

	/// Opens a connection to an agent at its published addresses. If it has none, or does not answer, the
	/// search for it runs meanwhile, and newer addresses are dialed as soon as they come.
	pub async fn connect(&self, agent: &AgentKey, alpn: &[u8]) -> Result<Connection> {
		let connection = self.find_and_dial(agent, alpn).await;
		match &connection {
			Ok(_) => self.peers.reached(agent),
			Err(_) => self.peers.want(agent),
		}
		connection
	}

	async fn find_and_dial(&self, agent: &AgentKey, alpn: &[u8]) -> Result<Connection> {
		let mut news = self.peers.news();
		let deadline = Instant::now() + FIND_TIME;
		loop {
			news.borrow_and_update();
			let stamp = self.peers.found_stamp(agent);
			match self.peers.lookup(agent) {
				Ok(addr) => {
					let newer = async {
						while self.peers.found_stamp(agent) == stamp {
							// The channel never closes: this agent holds the sender.
							let _ = news.changed().await;
						}
					};
					tokio::select! {
						dialed = self.dial(agent, addr, alpn) => return dialed,
						() = newer => (),
					}
				}
				Err(error) => {
					self.peers.want(agent);
					if Instant::now() >= deadline {
						return Err(error);
					}
					let look = deadline.min(Instant::now() + LOOK);
					let _ = timeout_at(look, news.changed()).await;
				}
			}
		}
	}

	async fn dial(&self, agent: &AgentKey, addr: EndpointAddr, alpn: &[u8]) -> Result<Connection> {
		let dialing = async {
			let options = self.dial_options.clone();
			let connect = async {
				let connecting = self.endpoint.connect_with_opts(addr, alpn, options);
				anyhow::Ok(connecting.await?.await?)
			};
			timeout(CONNECT_TIME, connect)
				.await
				.with_context(|| format!("no answer within {} s", CONNECT_TIME.as_secs()))?
		};
		tokio::pin!(dialing);
		match timeout(DOUBT, &mut dialing).await {
			Ok(dialed) => dialed,
			Err(_) => {
				self.peers.want(agent);
				dialing.await
			}
		}
	}
}

/// Sends a request with a short answer.
pub async fn ask<T: DecodeWithMemTracking>(
	connection: &Connection,
	request: &Request,
) -> Result<Result<T, Refusal>> {
	let mut answer = say(connection, request).await?;
	Ok(timeout(MESSAGE_TIME, wire::read(&mut answer, MAX_REPLY)).await??)
}

/// Openings of which only the length has come.
#[derive(Debug)]
pub struct Openings<R = RecvStream> {
	length: usize,
	rest: R,
}

/// Asks for openings of at most `limit` bytes.
pub async fn ask_openings(
	connection: &Connection,
	request: &Request,
	limit: usize,
) -> Result<Result<Openings, Refusal>> {
	Openings::await_length(say(connection, request).await?, limit).await
}

impl<R: AsyncRead + Unpin> Openings<R> {
	/// Waits for the length. A worker computes until then.
	async fn await_length(mut rest: R, limit: usize) -> Result<Result<Self, Refusal>> {
		let length = wire::read_openings_length(&mut rest, limit);
		let length = timeout(OPENINGS_TIME, length).await??;
		Ok(length.map(|length| Self { length, rest }))
	}

	/// Returns their length, in bytes.
	pub fn length(&self) -> usize {
		self.length
	}

	/// Reads them. Fails if they come more slowly than the minimum pace.
	pub async fn read(mut self, time: &Time) -> Result<Vec<u8>> {
		Ok(wire::read_paced(&mut self.rest, self.length, OPENINGS_TIME, time).await?)
	}
}

/// Sends a request on its own stream, and returns the stream of the answer.
async fn say(connection: &Connection, request: &Request) -> Result<RecvStream> {
	let (mut send, recv) = timeout(MESSAGE_TIME, connection.open_bi()).await??;
	timeout(MESSAGE_TIME, wire::write(&mut send, request)).await??;
	send.finish()?;
	Ok(recv)
}

#[cfg(test)]
mod tests {
	use super::*;
	use tokio::io::{AsyncWriteExt, duplex};

	const MB: usize = 1_000_000;

	/// Sends 16 MB, `bytes` of them in each 10 ms. Returns whether they were read, and the seconds that it
	/// took.
	async fn read_at(bytes: usize) -> (bool, u64) {
		let time = Time::driven();
		let (mut send, recv) = duplex(64 << 10);
		let sending = async {
			send.write_u32_le(16 * MB as u32 + 1).await?;
			// The worker computes for a long time before.
			time.advance(2 * OPENINGS_TIME);
			send.write_u8(0).await?;
			for bytes in vec![7; 16 * MB].chunks(bytes) {
				send.write_all(bytes).await?;
				time.advance(Duration::from_millis(10));
				tokio::task::yield_now().await;
			}
			std::io::Result::Ok(())
		};
		let reading = async {
			let openings = Openings::await_length(recv, 16 * MB).await.unwrap();
			let openings = openings.unwrap();
			assert_eq!(openings.length(), 16 * MB);
			let began = time.now_ms();
			let read = openings.read(&time).await;
			let whole = read.is_ok_and(|bytes| bytes == vec![7; 16 * MB]);
			(whole, (time.now_ms() - began) / 1_000)
		};
		let (_, read) = tokio::join!(sending, reading);
		read
	}

	#[tokio::test]
	async fn boundary_openings_that_come_too_slowly_are_abandoned() {
		// At 1.05 MB/s, 0.8, and 100 bytes a second.
		assert!(read_at(10_500).await.0);
		let (whole, secs) = read_at(8_000).await;
		assert!(!whole && (13..=16).contains(&secs), "{secs}");
		let (whole, secs) = read_at(1).await;
		assert!(!whole && secs <= 4, "{secs}");
	}

	#[tokio::test]
	async fn boundary_openings_of_more_than_their_limit_are_not_awaited() {
		for (length, taken) in [(101u32, true), (102, false), (0, false)] {
			let mut bytes = length.to_le_bytes().to_vec();
			bytes.push(0);
			let openings = Openings::await_length(&bytes[..], 100).await;
			assert_eq!(openings.is_ok(), taken, "{length}");
		}
	}
}
