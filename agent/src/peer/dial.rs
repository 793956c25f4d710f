//! This agent among the others: who it is, where it is, and how it reaches them.

use super::{
	endpoint::{Peers, sign},
	mapping,
	network::{Located, Network, Place, Unread},
	stamps::{Met, Stamps},
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

/// Longest that a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time an agent has to answer before its node looks for newer addresses of it.
const DOUBT: Duration = Duration::from_secs(1);
/// Longest wait for addresses of an agent, where none are known.
const FIND_TIME: Duration = Duration::from_secs(2);
/// Time between two looks into the folder while no addresses are known.
const LOOK: Duration = Duration::from_millis(500);
/// Longest that a request, or an answer other than openings, may take.
pub const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Longest that openings may take: until they come, and from there on.
pub const OPENINGS_TIME: Duration = Duration::from_secs(60);
/// Longest that a checker's agent waits for memory for openings, before it reads them.
pub const MEMORY_TIME: Duration = Duration::from_secs(45);
/// Time between two looks at whether the addresses have changed.
const PUBLISH: Duration = Duration::from_secs(5);
/// Time that a gateway and a relay have until it is said that nobody outside can reach the agent.
const GRACE: Duration = Duration::from_secs(15);

/// This agent, as others know it.
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

/// The record that this agent last published.
struct Published {
	place: Place,
	/// For agents of this machine.
	here: AddressRecord,
	/// For the DHT; empty where nobody elsewhere could reach the agent.
	elsewhere: Vec<u8>,
}

impl Peer {
	/// The agent with this key pair, bound to its network. `peers` is the folder of addresses, `data` the
	/// agent's own.
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

	/// Its key.
	pub fn key(&self) -> AgentKey {
		self.key
	}

	/// Its key pair.
	pub fn pair(&self) -> &ed25519::Pair {
		&self.pair
	}

	/// The addresses of all agents.
	pub fn peers(&self) -> &Peers {
		&self.peers
	}

	/// Its endpoint.
	pub fn endpoint(&self) -> &Endpoint {
		&self.endpoint
	}

	/// Bounds on bytes that its connections hold.
	pub fn unread(&self) -> &Unread {
		&self.unread
	}

	/// Signs a message.
	pub fn sign(&self, message: &[u8]) -> AgentSignature {
		self.pair.sign(message)
	}

	/// Addresses of its endpoint, for agents of this machine.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		self.located.place(&self.endpoint).here
	}

	/// Addresses and relays at which agents of other machines find it now.
	pub fn published(&self) -> (Vec<String>, Vec<String>) {
		let published = self.published.lock();
		let place = published.as_ref().map(|published| &published.place);
		let texts = |place: &Place| {
			(
				place.published.iter().map(ToString::to_string).collect(),
				place.relays.iter().map(ToString::to_string).collect(),
			)
		};
		place.map(texts).unwrap_or_default()
	}

	/// Publishes where it is.
	pub fn publish(&self) -> Result<()> {
		// Until all is done: who finds the new record in the folder must find it here too, or takes it for a twin's.
		let mut published = self.published.lock();
		let place = self.located.place(&self.endpoint);
		let stamp = self.stamps.next();
		let record = |addrs: &[SocketAddr]| {
			let addresses = addrs.iter().map(ToString::to_string).collect();
			let relays = place.relays.iter().map(ToString::to_string).collect();
			sign(&self.pair, addresses, relays, stamp)
		};
		let here = record(&place.here);
		self.peers.leave(&here)?;
		let elsewhere = match (&place.published[..], &place.relays[..]) {
			([], []) => Vec::new(),
			(addrs, _) => record(addrs).encode(),
		};
		*published = Some(Published {
			place,
			here,
			elsewhere,
		});
		Ok(())
	}

	/// Publishes where it is whenever that changes, or its record in the folder is gone; keeps a port mapped
	/// if it may; says so if nobody outside can reach it.
	pub async fn keep_published(&self) {
		tokio::join!(
			self.keep_record(),
			self.keep_mapping(),
			self.warn_if_private()
		);
	}

	async fn keep_record(&self) {
		loop {
			let place = self.located.place(&self.endpoint);
			let found = self.peers.record(&self.key);
			// The lock must not be held below.
			let (moved, own) = match &*self.published.lock() {
				Some(last) => (last.place != place, Some(last.here.clone())),
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
				"cannot publish the addresses; make room, or let the agent write to its folders"
			);
		}
	}

	/// Warns once each time that the agent has become unreachable from outside, or that its relay is away.
	async fn warn_if_private(&self) {
		let (mut warned, mut away) = (false, false);
		loop {
			sleep(GRACE).await;
			let place = self.located.place(&self.endpoint);
			let reachable = self.private
				|| !self.relays.is_empty()
				|| place.published.iter().any(|addr| is_public(addr.ip()));
			let fault = self.relay_fault();
			if fault.is_some() != std::mem::replace(&mut away, fault.is_some())
				&& let Some(fault) = fault
			{
				tracing::warn!(
					"no relay serves this agent: {fault}. Agents that need one cannot reach it; check --relay-url, and \
					 that the relay runs and lets this agent's key in. The agent goes on trying"
				);
			}
			if reachable {
				warned = false;
			} else if !std::mem::replace(&mut warned, true) {
				let addresses: Vec<_> = place.here.iter().map(ToString::to_string).collect();
				tracing::warn!(
					"agents on other machines cannot reach this one: its addresses are private ({}), no gateway \
					 forwards a port to it, and it has no relay. Workers are found offline like this. Forward the UDP \
					 port to this machine and start the agent with --external-address IP:PORT, or use a relay with \
					 --relay-url, or use --publish-private on a network of your own",
					addresses.join(", ")
				);
			}
		}
	}

	/// Returns why no relay serves the agent, if it names relays and none is connected.
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

	/// Takes records that the node found, and returns what the node is to publish and to look for.
	pub fn exchange(&self, found: &AddressesFound) -> AddressBook {
		if self.stamps.hear(found.chain_ms) {
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
			// First: the node may not look for as many as a large round has.
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

	/// Notes a record of this agent's own key that lay somewhere: an old one of its own, or a twin's.
	fn meet(&self, record: &AddressRecord) {
		let own = self.published.lock().as_ref().is_some_and(|published| {
			*record == published.here || record.encode() == published.elsewhere
		});
		self.conclude(self.stamps.meet(record.stamp, own), record);
	}

	fn conclude(&self, met: Met, record: &AddressRecord) {
		match met {
			Met::Nothing | Met::Known => return,
			Met::Above => tracing::info!(
				stamp = record.stamp,
				"an address record of this agent from before is newer than its own; publishing above it"
			),
			Met::Twin => tracing::warn!(
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

	/// Opens a connection to an agent at its published addresses. An agent without any, or that does not answer
	/// there, is looked for meanwhile, and newer addresses are dialed as soon as they come.
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
							// It never closes: this agent holds the sender.
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
			timeout(CONNECT_TIME, connect).await.context("no answer")?
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

/// Asks something that has a short answer.
pub async fn ask<T: DecodeWithMemTracking>(
	connection: &Connection,
	request: &Request,
) -> Result<Result<T, Refusal>> {
	let mut answer = say(connection, request).await?;
	Ok(timeout(MESSAGE_TIME, wire::read(&mut answer, MAX_REPLY)).await??)
}

/// Openings of which nothing but the length has come.
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

	/// Their length, in bytes.
	pub fn length(&self) -> usize {
		self.length
	}

	/// Reads them, while they come at the least pace.
	pub async fn read(mut self, time: &Time) -> Result<Vec<u8>> {
		Ok(wire::read_paced(&mut self.rest, self.length, OPENINGS_TIME, time).await?)
	}
}

/// Sends a request on a stream of its own, and returns where the answer comes.
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

	/// Sends 16 MB, this number of bytes in each 10 ms. Returns whether they were read, and the seconds that took.
	async fn read_at(bytes: usize) -> (bool, u64) {
		let time = Time::driven();
		let (mut send, recv) = duplex(64 << 10);
		let sending = async {
			send.write_u32_le(16 * MB as u32 + 1).await?;
			// It computes for a long time before.
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
	async fn boundary_openings_that_drip_are_given_up() {
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
