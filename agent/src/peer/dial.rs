//! This agent among the others: who it is, where it is, and how it reaches them.

use super::{
	endpoint::{Peers, own_addr},
	wire::{self, MAX_REPLY, OpeningsReply, Refusal, Request},
};
use crate::{bench::proof::Counts, host::store::now_ms};
use anyhow::{Context, Result};
use codec::DecodeWithMemTracking;
use iroh::{
	Endpoint,
	endpoint::{Connection, RecvStream},
};
use kaisar_primitives::{AgentKey, AgentSignature};
use sp_core::{Pair, ed25519};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{sleep, timeout};

/// Longest that a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest that a request, or an answer other than openings, may take.
pub const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Longest that openings may take.
pub const OPENINGS_TIME: Duration = Duration::from_secs(60);
/// Time between two looks at whether the addresses have changed.
const PUBLISH: Duration = Duration::from_secs(5);

/// This agent, as others know it.
pub struct Peer {
	pair: ed25519::Pair,
	key: AgentKey,
	endpoint: Endpoint,
	peers: Peers,
}

impl Peer {
	/// The agent with this key pair at this endpoint; `peers` are the addresses of all.
	pub fn new(pair: ed25519::Pair, endpoint: Endpoint, peers: Peers) -> Self {
		Self {
			key: pair.public(),
			pair,
			endpoint,
			peers,
		}
	}

	/// Its key.
	pub fn key(&self) -> AgentKey {
		self.key
	}

	/// Its key pair.
	pub fn pair(&self) -> &ed25519::Pair {
		&self.pair
	}

	/// Its endpoint.
	pub fn endpoint(&self) -> &Endpoint {
		&self.endpoint
	}

	/// The addresses of all agents.
	pub fn peers(&self) -> &Peers {
		&self.peers
	}

	/// Signs a message.
	pub fn sign(&self, message: &[u8]) -> AgentSignature {
		self.pair.sign(message)
	}

	/// Addresses of its endpoint.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		own_addr(&self.endpoint).ip_addrs().copied().collect()
	}

	/// Publishes where it is.
	pub fn publish(&self) -> Result<()> {
		self.peers
			.publish(&self.pair, &own_addr(&self.endpoint), now_ms())
	}

	/// Publishes where it is whenever that changes, or the record is gone.
	pub async fn keep_published(&self) {
		let mut last = None;
		loop {
			let addr = own_addr(&self.endpoint);
			if last.as_ref() != Some(&addr) || self.peers.record(&self.key).is_none() {
				match self.peers.publish(&self.pair, &addr, now_ms()) {
					Ok(()) => last = Some(addr),
					Err(error) => {
						tracing::warn!(%error, "cannot publish this agent's addresses, so others cannot find it")
					}
				}
			}
			sleep(PUBLISH).await;
		}
	}

	/// Opens a connection to an agent at its published addresses. One that is not there is looked for.
	pub async fn connect(&self, agent: &AgentKey, alpn: &[u8]) -> Result<Connection> {
		let reach = async {
			let addr = self.peers.lookup(agent)?;
			let connection = timeout(CONNECT_TIME, self.endpoint.connect(addr, alpn))
				.await
				.context("no answer")??;
			Ok(connection)
		};
		let connection = reach.await;
		match &connection {
			Ok(_) => self.peers.reached(agent),
			Err(_) => self.peers.want(agent),
		}
		connection
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

/// Asks for openings of at most `limit` bytes and so many of everything.
pub async fn ask_openings(
	connection: &Connection,
	request: &Request,
	limit: usize,
	counts: &Counts,
) -> Result<OpeningsReply> {
	let mut answer = say(connection, request).await?;
	let read = wire::read_openings(&mut answer, limit, counts);
	Ok(timeout(OPENINGS_TIME, read).await??)
}

/// Sends a request on a stream of its own, and returns where the answer comes.
async fn say(connection: &Connection, request: &Request) -> Result<RecvStream> {
	let (mut send, recv) = timeout(MESSAGE_TIME, connection.open_bi()).await??;
	timeout(MESSAGE_TIME, wire::write(&mut send, request)).await??;
	send.finish()?;
	Ok(recv)
}
