//! Lines to workers' agents: the requests of a check, and their answers.

use super::probe;
use crate::{
	host::time::Time,
	peer::{
		bandwidth::{self, BandwidthError, Counter, MeasureWindow, Offer, STREAMS},
		dial::{Openings, Peer, ask, ask_openings},
		wire::{self, ALPN, MAX_REPLY, ProofRequest, Refusal, Request},
	},
	trial::{
		judge::Rates,
		part::Resource,
		proof::{Challenge, Roots},
	},
};
use anyhow::{Result, anyhow};
use codec::DecodeWithMemTracking;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use kaisar_primitives::{AgentKey, AgentSignature, OrderId, agent::SeatRequest};
use rand::{TryRngCore, rngs::OsRng};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Timeout of opening a stream of a measurement.
const STREAM_TIME: Duration = Duration::from_secs(5);

/// Reason why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
	/// The worker's agent refused.
	#[error("{0}")]
	Refused(Refusal),
	/// The connection broke, or no answer came in time.
	#[error("{0:#}")]
	Lost(anyhow::Error),
	/// The bytes are not an answer.
	#[error("not an answer: {0:#}")]
	Garbage(anyhow::Error),
}

impl NoAnswer {
	fn of(error: anyhow::Error) -> Self {
		let garbage = matches!(
			error.downcast_ref(),
			Some(wire::WireError::TooLong(..) | wire::WireError::Decode(_))
		);
		match garbage {
			true => Self::Garbage(error),
			false => Self::Lost(error),
		}
	}
}

/// Reason why a measurement found no bandwidth.
#[derive(Debug, thiserror::Error)]
pub enum NoBandwidth {
	/// The worker served no stream. It may be asked again.
	#[error("the worker did not serve the measurement: {0}")]
	NotServed(NoAnswer),
	/// The worker sent back other bytes.
	#[error("{0}")]
	Forged(BandwidthError),
	/// The worker is reachable only over a relay, which carried these rates.
	#[error("the worker was reached over a relay only")]
	Relayed(Rates),
	/// The system gives no random numbers.
	#[error("the system gives no random numbers: {0}")]
	Random(String),
}

/// Access of a checker to workers' agents.
pub trait Agents: Send + Sync + 'static {
	/// A connection to an agent.
	type Line: Line;

	/// Connects to an agent.
	fn connect(&self, agent: &AgentKey) -> impl Future<Output = Result<Self::Line>> + Send;

	/// Returns whether the container of an order answers.
	fn container(
		&self,
		request: &SeatRequest,
		order: OrderId,
	) -> impl Future<Output = Result<bool>> + Send;
}

/// Openings whose length has arrived.
pub trait Answer: Send + 'static {
	/// Returns their length, in bytes.
	fn length(&self) -> usize;

	/// Reads them. Fails if the sender is too slow by this clock.
	fn read(self, time: &Time) -> impl Future<Output = Result<Vec<u8>, NoAnswer>> + Send;
}

/// A connection to a worker's agent.
pub trait Line: Send + Sync {
	/// Openings that the agent starts to send.
	type Answer: Answer;

	/// Asks for the receipt.
	fn receipt(
		&self,
		which: &ProofRequest,
	) -> impl Future<Output = Result<AgentSignature, NoAnswer>> + Send;

	/// Asks for the roots.
	fn roots(&self, which: &ProofRequest) -> impl Future<Output = Result<Roots, NoAnswer>> + Send;

	/// Asks for the openings of a resource, of at most `limit` bytes, and waits for their length.
	fn open(
		&self,
		which: &ProofRequest,
		resource: Resource,
		challenge: Challenge,
		limit: usize,
	) -> impl Future<Output = Result<Self::Answer, NoAnswer>> + Send;

	/// Measures bandwidth in a window, as one of `seats`.
	fn bandwidth(
		&self,
		which: &ProofRequest,
		window: MeasureWindow,
		offer: Offer,
		seats: u8,
	) -> impl Future<Output = Result<Rates, NoBandwidth>> + Send;

	/// Closes the connection.
	fn close(&self);
}

impl Agents for Peer {
	type Line = Connection;

	async fn connect(&self, agent: &AgentKey) -> Result<Connection> {
		Self::connect(self, agent, ALPN).await
	}

	async fn container(&self, request: &SeatRequest, order: OrderId) -> Result<bool> {
		probe::answers(self, request, order).await
	}
}

/// Sends a request with a short answer.
async fn answer<T: DecodeWithMemTracking>(
	connection: &Connection,
	request: Request,
) -> Result<T, NoAnswer> {
	let reply = ask(connection, &request).await.map_err(NoAnswer::of)?;
	reply.map_err(NoAnswer::Refused)
}

impl Answer for Openings {
	fn length(&self) -> usize {
		Openings::length(self)
	}

	async fn read(self, time: &Time) -> Result<Vec<u8>, NoAnswer> {
		Openings::read(self, time).await.map_err(NoAnswer::of)
	}
}

impl Line for Connection {
	type Answer = Openings;

	async fn receipt(&self, which: &ProofRequest) -> Result<AgentSignature, NoAnswer> {
		answer(self, Request::Hello(which.clone())).await
	}

	async fn roots(&self, which: &ProofRequest) -> Result<Roots, NoAnswer> {
		answer(self, Request::Roots(which.clone())).await
	}

	async fn open(
		&self,
		which: &ProofRequest,
		resource: Resource,
		challenge: Challenge,
		limit: usize,
	) -> Result<Openings, NoAnswer> {
		let request = Request::Open(which.clone(), resource, challenge);
		let reply = ask_openings(self, &request, limit).await;
		reply.map_err(NoAnswer::of)?.map_err(NoAnswer::Refused)
	}

	async fn bandwidth(
		&self,
		which: &ProofRequest,
		window: MeasureWindow,
		offer: Offer,
		seats: u8,
	) -> Result<Rates, NoBandwidth> {
		let mut secret = [0; 32];
		let random = OsRng.try_fill_bytes(&mut secret);
		random.map_err(|error| NoBandwidth::Random(error.to_string()))?;
		let begun = (0..STREAMS).map(|_| begin(self, which));
		let begun = futures::future::join_all(begun).await;
		let mut streams = Vec::new();
		let mut refused = None;
		for stream in begun {
			match stream {
				Ok(stream) => streams.push(stream),
				Err(error) => refused = Some(error),
			}
		}
		if let Some(refused) = refused.filter(|_| streams.is_empty()) {
			return Err(NoBandwidth::NotServed(refused));
		}
		let counter = Arc::new(Counter::default());
		let streams = (0..).zip(streams).map(|(number, (send, recv))| {
			bandwidth::measure(recv, send, secret, number, window, offer, counter.clone())
		});
		for result in futures::future::join_all(streams).await {
			match result {
				Err(forged @ BandwidthError::Forged) => return Err(NoBandwidth::Forged(forged)),
				// Bytes that came back before the error count.
				Err(error) => tracing::debug!(worker = which.worker, "bandwidth: {error:#}"),
				Ok(()) => (),
			}
		}
		let rates = counter.rates(window, seats);
		match relayed(self) {
			true => Err(NoBandwidth::Relayed(rates)),
			false => Ok(rates),
		}
	}

	fn close(&self) {
		Connection::close(self, 0u32.into(), b"done");
	}
}

/// Opens a stream of a measurement.
async fn begin(
	connection: &Connection,
	which: &ProofRequest,
) -> Result<(SendStream, RecvStream), NoAnswer> {
	let begin = async {
		let (mut send, mut recv) = connection.open_bi().await?;
		wire::write(&mut send, &Request::Bandwidth(which.clone())).await?;
		let reply: Result<(), Refusal> = wire::read(&mut recv, MAX_REPLY).await?;
		anyhow::Ok(reply.map(|()| (send, recv)))
	};
	let begun = timeout(STREAM_TIME, begin).await;
	let begun =
		begun.map_err(|_| NoAnswer::Lost(anyhow!("no answer in {} s", STREAM_TIME.as_secs())))?;
	begun.map_err(NoAnswer::of)?.map_err(NoAnswer::Refused)
}

fn relayed(connection: &Connection) -> bool {
	let paths = connection.paths();
	let mut selected = paths.iter().filter(|path| path.is_selected()).peekable();
	selected.peek().is_none() || selected.any(|path| !path.is_ip())
}
