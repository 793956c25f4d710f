//! The worker's side between agents: what it pushes, and what it serves to its committee.

use crate::{
	agent::{Inner, State, lock},
	bench::{
		device::DeviceError,
		hash::Hash,
		proof::{Openings, Proof},
		stage::Stage,
	},
	host::store::now_ms,
	peer::{
		bandwidth,
		wire::{self, ALPN, MAX_REPLY, MAX_REQUEST, Push, Refusal, Request, RootsReply, Which},
	},
	worker::doorkeeper::{self, Doorkeeper},
};
use anyhow::{Context, Result};
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream};
use kaisar_primitives::{AgentKey, AgentSignature, keys::receipt_payload};
use kaisar_tunnel::server::{Limits, Server};
use sp_core::Pair;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{Arc, Mutex},
	time::Duration,
};
use tokio::{
	sync::{Semaphore, watch},
	task::JoinSet,
	time::timeout,
};

/// Most connections of agents at a time. The tunnel's have places of their own.
const MAX_CONNECTIONS: usize = 1_024;
/// Most of them of one agent.
const MAX_CONNECTIONS_EACH: usize = 8;
/// How long a connection may stay without asking anything.
const IDLE: Duration = Duration::from_secs(120);
/// Longest that a request, or an answer other than openings, may take.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Longest that openings may take.
const OPENINGS_TIME: Duration = Duration::from_secs(60);
/// How often a checker may have a proof opened or its bandwidth measured (streams) in a round.
const MAX_SERVED: u32 = 24;

/// Accepts connections: of other agents, and those to the containers.
pub(crate) async fn accept(inner: Arc<Inner>) {
	let tunnels = Arc::new(Server::new(Doorkeeper(inner.clone()), Limits::default()));
	let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
	let each = Arc::new(Mutex::new(BTreeMap::<AgentKey, usize>::new()));
	let mut connections = JoinSet::new();
	while let Some(incoming) = inner.endpoint.accept().await {
		while connections.try_join_next().is_some() {}
		if doorkeeper::is_asked_for(&incoming) {
			let tunnels = tunnels.clone();
			connections.spawn(async move { tunnels.welcome(incoming).await });
			continue;
		}
		let Ok(place) = places.clone().try_acquire_owned() else {
			incoming.refuse();
			continue;
		};
		let (inner, each) = (inner.clone(), each.clone());
		connections.spawn(async move {
			if let Err(error) = welcome(inner, incoming, &each).await {
				tracing::debug!("connection: {error:#}");
			}
			drop(place);
		});
	}
}

/// Takes a connection, unless its agent has enough of them.
async fn welcome(
	inner: Arc<Inner>,
	incoming: Incoming,
	each: &Mutex<BTreeMap<AgentKey, usize>>,
) -> Result<()> {
	let connection = timeout(MESSAGE_TIME, incoming.accept()?).await??;
	if connection.alpn() != ALPN {
		connection.close(1u32.into(), b"not seen to ask for the tunnel");
		return Ok(());
	}
	let remote = AgentKey::from_raw(*connection.remote_id().as_bytes());
	{
		let mut each = lock(each);
		let count = each.entry(remote).or_default();
		if *count >= MAX_CONNECTIONS_EACH {
			connection.close(1u32.into(), b"too many connections");
			return Ok(());
		}
		*count += 1;
	}
	let result = converse(inner, &connection, remote).await;
	connection.close(0u32.into(), b"");
	let mut each = lock(each);
	if let Some(count) = each.get_mut(&remote) {
		*count -= 1;
		if *count == 0 {
			each.remove(&remote);
		}
	}
	result
}

async fn converse(inner: Arc<Inner>, connection: &Connection, remote: AgentKey) -> Result<()> {
	let mut streams = JoinSet::new();
	loop {
		tokio::select! {
			stream = timeout(IDLE, connection.accept_bi()) => {
				let Ok(stream) = stream else {
					if streams.is_empty() {
						return Ok(());
					}
					continue;
				};
				let (send, recv) = stream?;
				let inner = inner.clone();
				streams.spawn(async move {
					if let Err(error) = answer(&inner, remote, send, recv).await {
						tracing::debug!(remote = hex::encode(remote), "stream: {error:#}");
					}
				});
			},
			Some(_) = streams.join_next() => (),
		}
	}
}

async fn answer(
	inner: &Inner,
	remote: AgentKey,
	mut send: SendStream,
	mut recv: RecvStream,
) -> Result<()> {
	let request: Request = timeout(MESSAGE_TIME, wire::read(&mut recv, MAX_REQUEST)).await??;
	match request {
		Request::Push(push) => {
			let reply: Result<(), Refusal> = if push.verify(&remote) {
				inner.hear(&remote, &push);
				Ok(())
			} else {
				Err(Refusal::Bad)
			};
			reply_with(&mut send, &reply).await
		}
		Request::Hello(which) => {
			let reply: Result<AgentSignature, Refusal> = served(inner, &remote, &which).map(|_| {
				let payload = receipt_payload(which.genesis, which.seed, &which.checker);
				inner.pair.sign(&payload)
			});
			reply_with(&mut send, &reply).await
		}
		Request::Roots(which) => {
			let reply: RootsReply = proof(inner, &remote, &which).map(|proof| proof.roots);
			reply_with(&mut send, &reply).await
		}
		Request::Open(which, challenge) => {
			let proof = proof(inner, &remote, &which).and_then(|proof| {
				let place = Place::take(&inner.opening, (which.job_id(), remote))?;
				spend(inner, &remote, &which).map(|()| (proof, place))
			});
			let reply: Result<Openings, Refusal> = match proof {
				Ok((proof, place)) => {
					// A whole committee waits for a GPU together, so it takes no permits.
					let _permit = match proof.roots.sizes.devices {
						0 => Some(inner.computing.acquire().await),
						_ => None,
					};
					let opened = tokio::task::spawn_blocking(move || {
						let opened = proof.open(&challenge);
						drop(place);
						opened
					})
					.await;
					opened
						.context("opening the proof")?
						.map_err(|error| match error {
							// It is asked again.
							DeviceError::Busy => Refusal::NotReady,
							error => {
								tracing::error!(%error, "a proof cannot be opened");
								Refusal::NotServed
							}
						})
				}
				Err(refusal) => Err(refusal),
			};
			timeout(OPENINGS_TIME, wire::write(&mut send, &reply)).await??;
			finish(&mut send).await
		}
		Request::Bandwidth(which) => {
			let allowed = served(inner, &remote, &which)
				.and_then(|longest| spend(inner, &remote, &which).map(|()| longest));
			let reply: Result<(), Refusal> = allowed.map(|_| ());
			timeout(MESSAGE_TIME, wire::write(&mut send, &reply)).await??;
			if let Ok(longest) = allowed {
				let _ = timeout(longest, bandwidth::echo(recv, send)).await;
			}
			Ok(())
		}
	}
}

/// Which checkers' agents have which proofs opened just now.
pub(crate) type OpeningNow = Mutex<BTreeSet<(Hash, AgentKey)>>;

/// A checker's place among those whose openings are computed, held until they are: even if nobody waits
/// for them any more. Each has one, so that none makes the others wait for what it asks many times over.
struct Place {
	all: Arc<OpeningNow>,
	id: (Hash, AgentKey),
}

impl Place {
	fn take(all: &Arc<OpeningNow>, id: (Hash, AgentKey)) -> Result<Self, Refusal> {
		if lock(all).insert(id) {
			let all = all.clone();
			Ok(Self { all, id })
		} else {
			Err(Refusal::NotReady)
		}
	}
}

impl Drop for Place {
	fn drop(&mut self) {
		lock(&self.all).remove(&self.id);
	}
}

async fn reply_with<T: codec::Encode>(
	send: &mut SendStream,
	reply: &Result<T, Refusal>,
) -> Result<()> {
	timeout(MESSAGE_TIME, wire::write(send, reply)).await??;
	finish(send).await
}

async fn finish(send: &mut SendStream) -> Result<()> {
	send.finish()?;
	Ok(())
}

/// Whether this agent runs or ran that benchmark and the asker is in its committee under that key;
/// returns the longest that a bandwidth measurement of it may take.
fn served(inner: &Inner, remote: &AgentKey, which: &Which) -> Result<Duration, Refusal> {
	let jobs = lock(&inner.jobs);
	let entry = jobs.get(&which.job_id()).ok_or(Refusal::NotServed)?;
	let known = entry
		.committee
		.iter()
		.any(|(key, agent)| *key == which.checker && agent == remote);
	if !known || entry.expires <= now_ms() {
		return Err(Refusal::NotServed);
	}
	Ok(Duration::from_secs(
		u64::from(entry.job.bench.bandwidth_secs) + 10,
	))
}

fn proof(inner: &Inner, remote: &AgentKey, which: &Which) -> Result<Arc<Proof>, Refusal> {
	served(inner, remote, which)?;
	match lock(&inner.jobs)
		.get(&which.job_id())
		.map(|entry| &entry.state)
	{
		Some(State::Done(proof)) => Ok(proof.clone()),
		Some(State::Working) => Err(Refusal::NotReady),
		Some(State::Present(_) | State::Failed(_)) | None => Err(Refusal::NotServed),
	}
}

/// Counts what costs. A flood of one checker does not take from the others.
fn spend(inner: &Inner, remote: &AgentKey, which: &Which) -> Result<(), Refusal> {
	let mut jobs = lock(&inner.jobs);
	let entry = jobs.get_mut(&which.job_id()).ok_or(Refusal::NotServed)?;
	let spent = entry.served.entry(*remote).or_default();
	if *spent >= MAX_SERVED {
		return Err(Refusal::Spent);
	}
	*spent += 1;
	entry.used = now_ms();
	Ok(())
}

/// Opens a connection to an agent at its published addresses. One that is not there is looked for.
pub(crate) async fn connect(inner: &Inner, agent: &AgentKey, alpn: &[u8]) -> Result<Connection> {
	let reach = async {
		let addr = inner.peers.lookup(agent)?;
		let connection = timeout(Duration::from_secs(5), inner.endpoint.connect(addr, alpn))
			.await
			.context("no answer")??;
		Ok(connection)
	};
	let connection = reach.await;
	match &connection {
		Ok(_) => inner.peers.reached(agent),
		Err(_) => inner.peers.want(agent),
	}
	connection
}

/// Asks something that has a short answer.
pub(crate) async fn ask<T: codec::Decode>(
	connection: &Connection,
	request: &Request,
	limit: usize,
) -> Result<Result<T, Refusal>> {
	let (mut send, mut recv) = timeout(MESSAGE_TIME, connection.open_bi()).await??;
	timeout(MESSAGE_TIME, wire::write(&mut send, request)).await??;
	send.finish()?;
	let time = if limit > MAX_REPLY {
		OPENINGS_TIME
	} else {
		MESSAGE_TIME
	};
	Ok(timeout(time, wire::read(&mut recv, limit)).await??)
}

/// Sends one checker's agent the roots of the stages, each as soon as it is there.
pub(crate) async fn push(
	inner: Arc<Inner>,
	agent: AgentKey,
	mut told: watch::Receiver<Vec<Push>>,
	expires: u64,
) {
	let mut sent = 0;
	let mut wait = Duration::from_millis(200);
	let mut connection: Option<Connection> = None;
	let mut last = false;
	while !last && now_ms() < expires {
		let result = async {
			let connection = match &connection {
				Some(connection) if connection.close_reason().is_none() => connection,
				_ => connection.insert(connect(&inner, &agent, ALPN).await?),
			};
			let next = told.wait_for(|all| all.len() > sent).await?[sent].clone();
			let stage = next.stage();
			ask::<()>(connection, &Request::Push(next), MAX_REPLY)
				.await?
				.context("refused")?;
			anyhow::Ok(stage)
		}
		.await;
		match result {
			Ok(stage) => {
				sent += 1;
				last = stage == Some(Stage::LAST);
			}
			Err(error) => {
				// All that could be told is told, and the benchmark has failed.
				if told.has_changed().is_err() && told.borrow().len() <= sent {
					return;
				}
				tracing::debug!(agent = hex::encode(agent), "push: {error:#}");
				connection = None;
				tokio::time::sleep(wait).await;
				wait = (wait * 2).min(Duration::from_secs(10));
			}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_checker_has_one_opening_of_a_proof_computed_at_a_time() {
		let all = Arc::<OpeningNow>::default();
		let agent = |byte| AgentKey::from_raw([byte; 32]);
		let place = Place::take(&all, ([1; 32], agent(1))).unwrap();
		let again = Place::take(&all, ([1; 32], agent(1)));
		assert_eq!(again.err(), Some(Refusal::NotReady));
		let _others =
			[([1; 32], agent(2)), ([2; 32], agent(1))].map(|id| Place::take(&all, id).unwrap());
		drop(place);
		assert!(Place::take(&all, ([1; 32], agent(1))).is_ok());
	}
}
