//! Serves other agents: opens proofs and echoes bandwidth for committees, and takes the roots that workers
//! push.

use super::{
	doorkeeper::{self, Doorkeeper},
	jobs::Jobs,
};
use crate::{
	bench::{
		device::DeviceError,
		hash::Hash,
		proof::{Challenge, Openings, Proof},
	},
	peer::{
		bandwidth,
		dial::{MESSAGE_TIME, OPENINGS_TIME, Peer},
		wire::{self, ALPN, MAX_REQUEST, Push, Refusal, Request, RootsReply, Which},
	},
};
use anyhow::{Context, Result};
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream};
use kaisar_primitives::{AgentKey, AgentSignature};
use kaisar_tunnel::server::{Limits, Server};
use parking_lot::Mutex;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
	time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// Most connections of agents at a time. The tunnel's have places of their own.
const MAX_CONNECTIONS: usize = 1_024;
/// Most of them of one agent.
const MAX_CONNECTIONS_EACH: usize = 8;
/// How long a connection may stay without asking anything.
const IDLE: Duration = Duration::from_secs(120);

/// Takes a stage's root that a worker's agent sent and signed.
type Hear = dyn Fn(&AgentKey, &Push) + Send + Sync;

/// The parts that serve other agents, and the state that their connections share.
pub struct Serving {
	peer: Arc<Peer>,
	jobs: Arc<Jobs>,
	hear: Box<Hear>,
	/// Permits to compute openings where no GPU has to be waited for.
	computing: Arc<Semaphore>,
	opening: Arc<OpeningNow>,
	/// Connections of each agent.
	each: Mutex<BTreeMap<AgentKey, usize>>,
}

impl Serving {
	/// Serves the benchmarks of `peer`, with permits to compute openings where no GPU has to be waited for.
	/// `hear` takes the roots that workers push.
	pub fn new(
		peer: Arc<Peer>,
		jobs: Arc<Jobs>,
		computing: Arc<Semaphore>,
		hear: impl Fn(&AgentKey, &Push) + Send + Sync + 'static,
	) -> Self {
		Self {
			peer,
			jobs,
			hear: Box::new(hear),
			computing,
			opening: Arc::default(),
			each: Mutex::default(),
		}
	}
}

/// Accepts connections: of other agents, and those to the containers, where `doorkeeper` decides.
///
/// `iroh`'s `Router` would not do. Its filter sees a connection before the handshake, but cannot hold a place
/// for it until it ends, so handshakes would be unbounded; the tunnel counts its own places from that point
/// on. And its loop ends with the first handler that panics.
pub async fn accept(serving: Serving, doorkeeper: Doorkeeper) {
	let serving = Arc::new(serving);
	let tunnels = Arc::new(Server::new(doorkeeper, Limits::default()));
	let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
	let mut connections = JoinSet::new();
	while let Some(incoming) = serving.peer.endpoint().accept().await {
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
		let serving = serving.clone();
		connections.spawn(async move {
			if let Err(error) = welcome(serving, incoming).await {
				tracing::debug!("connection: {error:#}");
			}
			drop(place);
		});
	}
}

/// Takes a connection, unless its agent has enough of them.
async fn welcome(serving: Arc<Serving>, incoming: Incoming) -> Result<()> {
	let connection = timeout(MESSAGE_TIME, incoming.accept()?).await??;
	if connection.alpn() != ALPN {
		connection.close(1u32.into(), b"not seen to ask for the tunnel");
		return Ok(());
	}
	let remote = AgentKey::from_raw(*connection.remote_id().as_bytes());
	{
		let mut each = serving.each.lock();
		let count = each.entry(remote).or_default();
		if *count >= MAX_CONNECTIONS_EACH {
			connection.close(1u32.into(), b"too many connections");
			return Ok(());
		}
		*count += 1;
	}
	let result = converse(&serving, &connection, remote).await;
	connection.close(0u32.into(), b"");
	let mut each = serving.each.lock();
	if let Some(count) = each.get_mut(&remote) {
		*count -= 1;
		if *count == 0 {
			each.remove(&remote);
		}
	}
	result
}

async fn converse(serving: &Arc<Serving>, connection: &Connection, remote: AgentKey) -> Result<()> {
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
				let serving = serving.clone();
				streams.spawn(async move {
					if let Err(error) = serving.answer(remote, send, recv).await {
						tracing::debug!(remote = hex::encode(remote), "stream: {error:#}");
					}
				});
			},
			Some(_) = streams.join_next() => (),
		}
	}
}

impl Serving {
	async fn answer(
		&self,
		remote: AgentKey,
		mut send: SendStream,
		mut recv: RecvStream,
	) -> Result<()> {
		let request: Request = timeout(MESSAGE_TIME, wire::read(&mut recv, MAX_REQUEST)).await??;
		match request {
			Request::Push(push) => {
				let reply: Result<(), Refusal> = if push.verify(&remote) {
					(self.hear)(&remote, &push);
					Ok(())
				} else {
					Err(Refusal::Bad)
				};
				reply_with(&mut send, &reply).await
			}
			Request::Hello(which) => {
				let served = self.jobs.served(&remote, &which);
				let reply: Result<AgentSignature, Refusal> = served.map(|_| {
					let payload = which.receipt_payload();
					self.peer.sign(&payload)
				});
				reply_with(&mut send, &reply).await
			}
			Request::Roots(which) => {
				let proof = self.jobs.proof(&remote, &which);
				let reply: RootsReply = proof.map(|proof| proof.roots);
				reply_with(&mut send, &reply).await
			}
			Request::Open(which, challenge) => {
				let reply = match self.may_open(&remote, &which) {
					Ok((proof, place)) => self.open(proof, place, challenge).await?,
					Err(refusal) => Err(refusal),
				};
				timeout(OPENINGS_TIME, wire::write(&mut send, &reply)).await??;
				finish(&mut send).await
			}
			Request::Bandwidth(which) => {
				let allowed = self.jobs.served(&remote, &which).and_then(|longest| {
					self.jobs.spend(&remote, &which)?;
					Ok(longest)
				});
				let reply: Result<(), Refusal> = allowed.map(|_| ());
				timeout(MESSAGE_TIME, wire::write(&mut send, &reply)).await??;
				if let Ok(longest) = allowed {
					let _ = timeout(longest, bandwidth::echo(recv, send)).await;
				}
				Ok(())
			}
		}
	}

	/// The proof that a checker may have opened now, and its place while that is done.
	fn may_open(
		&self,
		remote: &AgentKey,
		which: &Which,
	) -> Result<(Arc<Proof>, OpeningPlace), Refusal> {
		let proof = self.jobs.proof(remote, which)?;
		let place = OpeningPlace::take(&self.opening, (which.job_id(), *remote))?;
		self.jobs.spend(remote, which)?;
		Ok((proof, place))
	}

	async fn open(
		&self,
		proof: Arc<Proof>,
		place: OpeningPlace,
		challenge: Challenge,
	) -> Result<Result<Openings, Refusal>> {
		// A whole committee waits for a GPU together, so it takes no permits.
		let _permit = match proof.roots.sizes.devices {
			0 => Some(self.computing.acquire().await),
			_ => None,
		};
		let opened = tokio::task::spawn_blocking(move || {
			let opened = proof.open(&challenge);
			drop(place);
			opened
		})
		.await;
		Ok(opened
			.context("opening the proof")?
			.map_err(|error| match error {
				// It is asked again.
				DeviceError::Busy => Refusal::NotReady,
				error => {
					tracing::error!(%error, "a proof cannot be opened for a checker, which asks again");
					Refusal::NotServed
				}
			}))
	}
}

/// Which checkers' agents have which proofs opened just now.
type OpeningNow = Mutex<BTreeSet<(Hash, AgentKey)>>;

/// A checker's place among those whose openings are computed, held until they are: even if nobody waits
/// for them any more. Each has one, so that none makes the others wait for what it asks many times over.
struct OpeningPlace {
	all: Arc<OpeningNow>,
	id: (Hash, AgentKey),
}

impl OpeningPlace {
	fn take(all: &Arc<OpeningNow>, id: (Hash, AgentKey)) -> Result<Self, Refusal> {
		if all.lock().insert(id) {
			let all = all.clone();
			Ok(Self { all, id })
		} else {
			Err(Refusal::NotReady)
		}
	}
}

impl Drop for OpeningPlace {
	fn drop(&mut self) {
		self.all.lock().remove(&self.id);
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

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_checker_has_one_opening_of_a_proof_computed_at_a_time() {
		let all = Arc::<OpeningNow>::default();
		let agent = |byte| AgentKey::from_raw([byte; 32]);
		let place = OpeningPlace::take(&all, ([1; 32], agent(1))).unwrap();
		let again = OpeningPlace::take(&all, ([1; 32], agent(1)));
		assert_eq!(again.err(), Some(Refusal::NotReady));
		let _others = [([1; 32], agent(2)), ([2; 32], agent(1))]
			.map(|id| OpeningPlace::take(&all, id).unwrap());
		drop(place);
		assert!(OpeningPlace::take(&all, ([1; 32], agent(1))).is_ok());
	}
}
