//! Serves other agents: opens proofs and echoes bandwidth for committees, and takes the roots that workers
//! push.
//!
//! A connection has a stranger's place at the [`Door`] until its key is known, right after the handshake.
//! Agents of committees and admitted agents have their own places, bounded per key. A stranger may introduce
//! itself once and nothing else.

use super::{
	doorkeeper::{self, Doorkeeper},
	jobs::Jobs,
	push::Committees,
};
use crate::{
	peer::{
		bandwidth,
		dial::{MEMORY_TIME, MESSAGE_TIME, OPENINGS_TIME, Peer},
		wire::{
			self, ALPN, CLOSE_ROOM, Introduced, Introduction, MAX_REQUEST, OpeningsReply,
			ProofRequest, Push, Refusal, Request, RootsReply,
		},
	},
	trial::{
		hash::Hash,
		part::Resource,
		proof::Challenge,
		run::{NotOpened, Proof},
	},
};
use anyhow::{Context, Result};
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream};
use kaisar_primitives::{AgentKey, AgentSignature};
use kaisar_tunnel::{
	Door, Server,
	places::{self, Permit},
	server::Limits,
};
use parking_lot::Mutex;
use std::{
	collections::{BTreeMap, BTreeSet, VecDeque},
	sync::Arc,
	time::{Duration, Instant},
};
use tokio::{
	sync::{Semaphore, watch},
	task::JoinSet,
	time::{sleep, timeout},
};

/// Maximum number of connections per agent of a committee.
const MAX_COMMITTEE_EACH: usize = 8;
/// Maximum number of connections of all admitted agents. Each takes some 50 KB.
const MAX_ADMITTED: usize = 4_096;
/// Maximum number of connections per admitted agent: one, and an earlier one that is not known to be lost
/// yet.
const MAX_ADMITTED_EACH: usize = 2;
/// Time for which a connection may stay without asking anything: longer than the prepare parts of two
/// rounds, of 240 s each. A connection that is made at the start of one waits for the roots.
const IDLE: Duration = Duration::from_secs(600);
/// Time for which computed openings are kept, for a checker whose connection broke.
const KEPT_TIME: Duration = Duration::from_secs(60);
/// Maximum size of the kept openings, in bytes: 64 MiB. Those of thirteen GPUs are larger and are not kept.
const MAX_KEPT: usize = 64 << 20;

/// Limits of the agents' door. An operator that sits for half of a census of 10⁶ workers remembers their
/// addresses, 50 bytes each.
pub const DOOR: fn() -> places::Limits = || places::Limits {
	expected: 2_048,
	remembered: 1 << 20,
	..places::Limits::default()
};

/// The checker's side of this agent: takes messages from workers' agents.
pub trait Inbox: Send + Sync + 'static {
	/// Returns whether an agent is admitted in any round.
	fn knows(&self, agent: &AgentKey) -> bool;

	/// Takes an introduction of `agent`, whose connection has this place.
	fn introduce(&self, agent: &AgentKey, introduction: &Introduction, place: Origin)
	-> Introduced;

	/// Takes a part of a trial from an agent that is admitted for that worker and has signed it.
	fn receive(&self, agent: &AgentKey, push: &Push) -> Result<(), Refusal>;
}

/// Origin of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
	/// Range of addresses that it counts for.
	pub range: places::Origin,
	/// Address, if it has one.
	pub ip: Option<std::net::IpAddr>,
}

/// The parts that serve other agents, and the state that their connections share.
pub struct Serving {
	peer: Arc<Peer>,
	jobs: Arc<Jobs>,
	committees: Arc<Committees>,
	inbox: Box<dyn Inbox>,
	door: Door,
	/// Permits to compute openings that need no GPU.
	computing: Arc<Semaphore>,
	opening: Arc<OpeningNow>,
	opened: Arc<Mutex<Opened>>,
	members: Arc<Mutex<Members>>,
}

impl Serving {
	/// Serves the trials of `peer`, with permits to compute openings that need no GPU. Strangers have places
	/// at `door`; `inbox` takes introductions and roots.
	pub fn new(
		peer: Arc<Peer>,
		jobs: Arc<Jobs>,
		committees: Arc<Committees>,
		door: Door,
		computing: Arc<Semaphore>,
		inbox: impl Inbox,
	) -> Self {
		Self {
			peer,
			jobs,
			committees,
			inbox: Box::new(inbox),
			door,
			computing,
			opening: Arc::default(),
			opened: Arc::default(),
			members: Arc::default(),
		}
	}
}

/// Accepts connections: of other agents, and those to the containers, where `doorkeeper` decides and
/// newcomers have places at `tunnels`.
///
/// `iroh`'s `Router` would not do. Its filter sees a connection before the handshake, but cannot hold a
/// place for it until it ends, so handshakes would be unbounded; the tunnel counts its own places from that
/// point on. And its loop ends with the first handler that panics.
pub async fn accept(serving: Serving, doorkeeper: Doorkeeper, tunnels: Door) {
	let serving = Arc::new(serving);
	let tunnels = Arc::new(Server::new(doorkeeper, tunnels, Limits::default()));
	let mut connections = JoinSet::new();
	while let Some(incoming) = serving.peer.endpoint().accept().await {
		while connections.try_join_next().is_some() {}
		let Some(incoming) = places::validated(incoming) else {
			continue;
		};
		if doorkeeper::is_asked_for(&incoming) {
			let tunnels = tunnels.clone();
			connections.spawn(async move { tunnels.welcome(incoming).await });
			continue;
		}
		let knows = |key: &[u8; 32]| serving.standing(&AgentKey::from_raw(*key)).is_some();
		let Some((incoming, permit)) = serving.door.enter(incoming, knows) else {
			continue;
		};
		let serving = serving.clone();
		connections.spawn(async move {
			if let Err(error) = welcome(serving, incoming, permit).await {
				tracing::debug!("connection: {error:#}");
			}
		});
	}
}

/// Accepts a connection, unless its agent has the maximum number.
async fn welcome(serving: Arc<Serving>, incoming: Incoming, mut permit: Permit) -> Result<()> {
	let accepting = incoming.accept()?;
	let connection = tokio::select! {
		connection = accepting => connection?,
		() = permit.revoked() => return Ok(()),
	};
	if connection.alpn() != ALPN {
		connection.close(1u32.into(), b"not seen to ask for the tunnel");
		return Ok(());
	}
	let remote = AgentKey::from_raw(*connection.remote_id().as_bytes());
	let origin = Origin {
		range: permit.origin(),
		ip: permit.ip(),
	};
	if serving.standing(&remote).is_none() {
		tokio::select! {
			met = serving.meet(&connection, remote, origin) => met?,
			() = permit.revoked() => (),
		}
	}
	let member = serving
		.standing(&remote)
		.and_then(|standing| Member::take(&serving.members, remote, standing));
	drop(permit);
	let Some(member) = member else {
		connection.close(1u32.into(), b"no place");
		return Ok(());
	};
	let result = converse(&serving, &connection, remote, origin, member).await;
	match result {
		Ok(Ended::GaveWay) => connection.close(CLOSE_ROOM.into(), b"come back with a root"),
		_ => connection.close(0u32.into(), b""),
	}
	result.map(drop)
}

/// Reason for the end of a connection that did not break.
enum Ended {
	/// It sent no request for too long.
	Idle,
	/// Another connection took its place.
	GaveWay,
}

async fn converse(
	serving: &Arc<Serving>,
	connection: &Connection,
	remote: AgentKey,
	origin: Origin,
	mut member: Member,
) -> Result<Ended> {
	let mut streams = JoinSet::new();
	loop {
		tokio::select! {
			stream = timeout(IDLE, connection.accept_bi()) => {
				let Ok(stream) = stream else {
					if streams.is_empty() {
						return Ok(Ended::Idle);
					}
					continue;
				};
				let (send, recv) = stream?;
				member.used();
				let (serving, connection) = (serving.clone(), connection.clone());
				streams.spawn(async move {
					let answered = serving.answer(&connection, remote, origin, send, recv);
					if let Err(error) = answered.await {
						tracing::debug!(remote = hex::encode(remote), "stream: {error:#}");
					}
				});
			},
			Some(_) = streams.join_next() => (),
			() = member.withdrawn() => return Ok(Ended::GaveWay),
		}
	}
}

/// Reason why an agent has its own places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
	/// It is in the committee of one of this agent's workers.
	Committee,
	/// It belongs to a worker that this agent's operator sits for.
	Admitted,
}

impl Serving {
	/// Returns the standing of an agent; `None` for a stranger.
	fn standing(&self, agent: &AgentKey) -> Option<Standing> {
		if self.jobs.knows(agent) || self.committees.knows(agent) {
			Some(Standing::Committee)
		} else if self.inbox.knows(agent) {
			Some(Standing::Admitted)
		} else {
			None
		}
	}

	/// Serves a stranger, which may introduce itself.
	async fn meet(&self, connection: &Connection, remote: AgentKey, origin: Origin) -> Result<()> {
		let (mut send, mut recv) = connection.accept_bi().await?;
		let request: Request = wire::read(&mut recv, MAX_REQUEST).await?;
		let reply = match request {
			Request::Introduce(introduction) => {
				Ok(self.inbox.introduce(&remote, &introduction, origin))
			}
			_ => Err(Refusal::NotServed),
		};
		wire::write(&mut send, &reply).await?;
		send.finish()?;
		if reply != Ok(Introduced::Admitted) {
			// Wait until the answer has arrived: closing the connection would overtake it.
			let _ = send.stopped().await;
		}
		Ok(())
	}

	async fn answer(
		&self,
		connection: &Connection,
		remote: AgentKey,
		origin: Origin,
		mut send: SendStream,
		mut recv: RecvStream,
	) -> Result<()> {
		let request: Request = timeout(MESSAGE_TIME, wire::read(&mut recv, MAX_REQUEST)).await??;
		match request {
			Request::Push(push) => {
				let reply = self.inbox.receive(&remote, &push);
				reply_with(&mut send, &reply).await
			}
			Request::Introduce(introduction) => {
				let introduced = self.inbox.introduce(&remote, &introduction, origin);
				reply_with(&mut send, &Ok(introduced)).await
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
				let reply: RootsReply = self.jobs.roots(&remote, &which);
				reply_with(&mut send, &reply).await
			}
			Request::Open(which, resource, challenge) => {
				let reply = match self.may_open(&remote, &which, resource) {
					Ok((proof, place)) => {
						let opened = self.open(proof, place, challenge).await?;
						if opened.as_ref().err() == Some(&Refusal::NotReady) {
							// Another trial has the GPU: this does not count as an answer.
							self.jobs.give_back(&remote, &which);
						}
						opened
					}
					Err(refusal) => Err(refusal),
				};
				let write = async {
					match reply {
						Ok(openings) => wire::write_opened(&mut send, &openings).await,
						Err(refusal) => wire::write(&mut send, &OpeningsReply::Err(refusal)).await,
					}
				};
				timeout(MEMORY_TIME + OPENINGS_TIME, write).await??;
				finish(&mut send).await
			}
			Request::Bandwidth(which) => {
				let allowed = self.jobs.served(&remote, &which).and_then(|longest| {
					self.jobs.spend(&remote, &which)?;
					Ok(longest)
				});
				let reply: Result<(), Refusal> = allowed.map(|_| ());
				if reply.is_ok() {
					self.peer.unread().widen(connection);
				}
				timeout(MESSAGE_TIME, wire::write(&mut send, &reply)).await??;
				if let Ok(longest) = allowed {
					let _ = timeout(longest, bandwidth::echo(recv, send)).await;
				}
				Ok(())
			}
		}
	}

	/// Returns the proof that a checker may have opened now, and its place during that.
	fn may_open(
		&self,
		remote: &AgentKey,
		which: &ProofRequest,
		resource: Resource,
	) -> Result<(Arc<Proof>, OpeningPlace), Refusal> {
		let proof = self.jobs.proof(remote, which)?;
		let place = OpeningPlace::take(&self.opening, (which.job_id(), resource, *remote))?;
		self.jobs.spend(remote, which)?;
		Ok((proof, place))
	}

	/// Returns the openings that a place is for. Those of a challenge that was answered within a minute are
	/// kept: the connection may have broken since.
	async fn open(
		&self,
		proof: Arc<Proof>,
		place: OpeningPlace,
		challenge: Challenge,
	) -> Result<Result<Arc<Vec<u8>>, Refusal>> {
		if let Some(kept) = self
			.opened
			.lock()
			.get(&place.id, &challenge, Instant::now())
		{
			return Ok(Ok(kept));
		}
		let resource = place.id.1;
		// A whole committee waits for a GPU together, so it takes no permits.
		let _permit = match resource {
			Resource::Gpus => None,
			_ => Some(self.computing.acquire().await),
		};
		let opened = self.opened.clone();
		let runtime = tokio::runtime::Handle::current();
		let computing = tokio::task::spawn_blocking(move || {
			let openings = Arc::new(proof.open(resource, &challenge)?);
			// Keep the openings before the place is free, even if the checker no longer waits.
			if opened
				.lock()
				.keep(place.id, challenge, openings.clone(), Instant::now())
			{
				runtime.spawn(async move {
					sleep(KEPT_TIME).await;
					opened.lock().sweep(Instant::now());
				});
			}
			drop(place);
			Ok(openings)
		});
		let openings = computing.await.context("cannot open the proof")?;
		Ok(openings.map_err(|error| match error {
			// The checker asks again.
			NotOpened::Busy => Refusal::NotReady,
			NotOpened::Gone => Refusal::Gone,
		}))
	}
}

/// The last openings of each trial, resource and checker's agent, for [`KEPT_TIME`] and of [`MAX_KEPT`]
/// bytes at most.
#[derive(Default)]
struct Opened {
	/// The oldest first.
	kept: VecDeque<KeptOpenings>,
	bytes: usize,
}

struct KeptOpenings {
	id: OpeningId,
	challenge: Challenge,
	at: Instant,
	openings: Arc<Vec<u8>>,
}

impl Opened {
	fn get(&mut self, id: &OpeningId, challenge: &Challenge, now: Instant) -> Option<Arc<Vec<u8>>> {
		self.sweep(now);
		let mut kept = self.kept.iter();
		let kept = kept.find(|kept| kept.id == *id && kept.challenge == *challenge)?;
		Some(kept.openings.clone())
	}

	/// Keeps openings in place of older ones. Returns whether there is room.
	fn keep(
		&mut self,
		id: OpeningId,
		challenge: Challenge,
		openings: Arc<Vec<u8>>,
		now: Instant,
	) -> bool {
		self.sweep(now);
		self.drop_if(|kept| kept.id == id);
		let length = openings.capacity();
		if length > MAX_KEPT {
			return false;
		}
		while self.bytes + length > MAX_KEPT {
			self.drop_oldest();
		}
		self.bytes += length;
		self.kept.push_back(KeptOpenings {
			id,
			challenge,
			at: now,
			openings,
		});
		true
	}

	/// Drops expired openings.
	fn sweep(&mut self, now: Instant) {
		self.drop_if(|kept| now.saturating_duration_since(kept.at) >= KEPT_TIME);
	}

	fn drop_oldest(&mut self) {
		if let Some(kept) = self.kept.pop_front() {
			self.bytes -= kept.openings.capacity();
		}
	}

	fn drop_if(&mut self, over: impl Fn(&KeptOpenings) -> bool) {
		self.kept.retain(|kept| !over(kept));
		let kept = self.kept.iter();
		self.bytes = kept.map(|kept| kept.openings.capacity()).sum();
	}
}

/// The connections of agents that have a standing.
#[derive(Default)]
struct Members {
	next: u64,
	/// Number of connections of each agent of a committee.
	committee: BTreeMap<AgentKey, usize>,
	/// Connections of admitted agents.
	admitted: BTreeMap<u64, AdmittedConnection>,
}

struct AdmittedConnection {
	agent: AgentKey,
	used: Instant,
	/// Dropped when the place is withdrawn, which its holder sees.
	_held: watch::Sender<()>,
}

/// A connection's place among the [`Members`].
enum Member {
	Committee {
		all: Arc<Mutex<Members>>,
		agent: AgentKey,
	},
	Admitted {
		all: Arc<Mutex<Members>>,
		id: u64,
		kept: watch::Receiver<()>,
	},
}

impl Member {
	/// Takes a place for a further connection. An agent of a committee that has the maximum gets none. An
	/// admitted agent replaces its own oldest connection, and when all places are taken, the one that was
	/// idle longest.
	fn take(all: &Arc<Mutex<Members>>, agent: AgentKey, standing: Standing) -> Option<Self> {
		let mut members = all.lock();
		if standing == Standing::Committee {
			let count = members.committee.entry(agent).or_default();
			// At the maximum the entry existed before, so no empty entry stays.
			if *count >= MAX_COMMITTEE_EACH {
				return None;
			}
			*count += 1;
			let all = all.clone();
			return Some(Self::Committee { all, agent });
		}
		let own = members.admitted.iter();
		let mut own = own.filter(|(_, connection)| connection.agent == agent);
		let oldest = own.next().map(|(id, _)| *id);
		let gives_way = if own.count() + 1 >= MAX_ADMITTED_EACH {
			oldest
		} else if members.admitted.len() >= MAX_ADMITTED {
			let all = members.admitted.iter();
			let idle = all.min_by_key(|(_, connection)| connection.used);
			idle.map(|(id, _)| *id)
		} else {
			None
		};
		if let Some(id) = gives_way {
			members.admitted.remove(&id);
		}
		let id = members.next;
		members.next += 1;
		let (held, kept) = watch::channel(());
		let connection = AdmittedConnection {
			agent,
			used: Instant::now(),
			_held: held,
		};
		members.admitted.insert(id, connection);
		let all = all.clone();
		Some(Self::Admitted { all, id, kept })
	}

	/// Records a use of the connection.
	fn used(&self) {
		if let Self::Admitted { all, id, .. } = self
			&& let Some(connection) = all.lock().admitted.get_mut(id)
		{
			connection.used = Instant::now();
		}
	}

	/// Waits until the place is withdrawn.
	async fn withdrawn(&mut self) {
		match self {
			Self::Committee { .. } => std::future::pending().await,
			Self::Admitted { kept, .. } => {
				let _ = kept.changed().await;
			}
		}
	}
}

impl Drop for Member {
	fn drop(&mut self) {
		match self {
			Self::Committee { all, agent } => {
				let mut members = all.lock();
				if let Some(count) = members.committee.get_mut(agent) {
					*count -= 1;
					if *count == 0 {
						members.committee.remove(agent);
					}
				}
			}
			Self::Admitted { all, id, .. } => {
				all.lock().admitted.remove(id);
			}
		}
	}
}

/// Openings that are being computed: by trial, resource and checker's agent.
type OpeningNow = Mutex<BTreeSet<OpeningId>>;
type OpeningId = (Hash, Resource, AgentKey);

/// A checker's place among those whose openings are computed, held until they are, even if the checker no
/// longer waits. Each checker has one, so that repeated requests of one do not delay the others.
struct OpeningPlace {
	all: Arc<OpeningNow>,
	id: OpeningId,
}

impl OpeningPlace {
	fn take(all: &Arc<OpeningNow>, id: OpeningId) -> Result<Self, Refusal> {
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
	fn boundary_connections_of_admitted_agents_are_bounded_each_and_in_all() {
		let all = Arc::<Mutex<Members>>::default();
		let agent = |number: usize| {
			let mut key = [0; 32];
			key[..8].copy_from_slice(&number.to_le_bytes());
			AgentKey::from_raw(key)
		};
		let take = |number| Member::take(&all, agent(number), Standing::Admitted).unwrap();
		let own: Vec<_> = (0..5).map(|_| take(0)).collect();
		assert_eq!(all.lock().admitted.len(), MAX_ADMITTED_EACH);
		let others: Vec<_> = (1..=MAX_ADMITTED).map(take).collect();
		assert_eq!(all.lock().admitted.len(), MAX_ADMITTED);
		// Places of committees and of admitted agents are independent.
		let committee = || Member::take(&all, agent(0), Standing::Committee);
		let members: Vec<_> = (0..20).map_while(|_| committee()).collect();
		assert_eq!(members.len(), MAX_COMMITTEE_EACH);
		drop((own, others));
		assert!(all.lock().admitted.is_empty());
		drop(members);
		assert!(all.lock().committee.is_empty() && committee().is_some());
	}

	#[test]
	fn a_checker_has_one_place_for_openings_of_a_proof_at_a_time() {
		let all = Arc::<OpeningNow>::default();
		let agent = |byte| AgentKey::from_raw([byte; 32]);
		let first = ([1; 32], Resource::Disk, agent(1));
		let place = OpeningPlace::take(&all, first).unwrap();
		let again = OpeningPlace::take(&all, first);
		assert_eq!(again.err(), Some(Refusal::NotReady));
		let _others = [
			([1; 32], Resource::Disk, agent(2)),
			([2; 32], Resource::Disk, agent(1)),
			([1; 32], Resource::Processor, agent(1)),
		]
		.map(|id| OpeningPlace::take(&all, id).unwrap());
		drop(place);
		assert!(OpeningPlace::take(&all, first).is_ok());
	}

	fn challenge(byte: u8) -> Challenge {
		Challenge {
			open_seed: Default::default(),
			nonce: [byte; 32],
		}
	}

	fn id(agent: u8) -> OpeningId {
		([1; 32], Resource::Gpus, AgentKey::from_raw([agent; 32]))
	}

	#[test]
	fn openings_are_kept_for_their_checker_and_challenge_for_a_minute() {
		let mut opened = Opened::default();
		let now = Instant::now();
		let openings = Arc::new(vec![7; 100]);
		assert!(opened.keep(id(1), challenge(1), openings.clone(), now));
		let late = now + KEPT_TIME - Duration::from_millis(1);
		assert_eq!(opened.get(&id(1), &challenge(1), late), Some(openings));
		for (id, challenge) in [
			(id(2), challenge(1)),
			(id(1), challenge(2)),
			(([2; 32], Resource::Gpus, id(1).2), challenge(1)),
			(([1; 32], Resource::Disk, id(1).2), challenge(1)),
		] {
			assert_eq!(opened.get(&id, &challenge, now), None);
		}
		// Only the last openings are kept.
		let others = Arc::new(vec![8; 100]);
		assert!(opened.keep(id(1), challenge(2), others.clone(), late));
		assert_eq!(opened.get(&id(1), &challenge(1), late), None);
		assert_eq!(opened.get(&id(1), &challenge(2), late), Some(others));
		opened.sweep(late + KEPT_TIME);
		assert!(opened.kept.is_empty() && opened.bytes == 0);
	}

	#[test]
	fn boundary_the_oldest_of_the_kept_openings_gives_way() {
		let mut opened = Opened::default();
		let now = Instant::now();
		let openings = |bytes| Arc::new(vec![7; bytes]);
		assert!(!opened.keep(id(0), challenge(1), openings(MAX_KEPT + 1), now));
		for agent in 1..=3 {
			assert!(opened.keep(id(agent), challenge(1), openings(MAX_KEPT / 2), now));
		}
		assert_eq!(opened.bytes, MAX_KEPT);
		let kept = [1, 2, 3].map(|agent| opened.get(&id(agent), &challenge(1), now).is_some());
		assert_eq!(kept, [false, true, true]);
		assert!(opened.keep(id(4), challenge(1), openings(MAX_KEPT), now));
		assert_eq!((opened.kept.len(), opened.bytes), (1, MAX_KEPT));
	}
}
