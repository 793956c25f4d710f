//! The committees of this agent's workers: reserves places for their agents, introduces itself to them as
//! soon as a round has started, and sends them the parts of the trial, each as soon as it is known.
//!
//! A lookup that starts only when a part is ready ends too late: in a network of thousands, most members of
//! a committee were never met before. So the agent looks up and connects to all members at the round's
//! start, and keeps the connections for the roots.

use crate::{
	host::store::now_ms,
	peer::{
		dial::{Peer, ask},
		wire::{ALPN, CLOSE_ROOM, Introduced, Introduction, Push, Request, Trial},
	},
	trial::hash::key,
};
use anyhow::{Context, Result};
use iroh::endpoint::{Connection, ConnectionError};
use kaisar_primitives::{AgentKey, RoundIndex, WorkerId, agent::Prepared};
use kaisar_tunnel::Door;
use parking_lot::Mutex;
use sp_core::H256;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{
		Arc,
		atomic::{AtomicBool, AtomicU64, Ordering},
	},
	time::Duration,
};
use tokio::{
	sync::watch,
	task::AbortHandle,
	time::{Instant, sleep, sleep_until},
};

/// Maximum number of committees: for this agent's workers, and the rounds that they are due in.
const MAX_COMMITTEES: usize = 64;
/// Maximum number of agents of a committee.
const MAX_MEMBERS: usize = 64;
/// Maximum number of a member's addresses that the doors remember. The member names them itself.
const MAX_ADDRESSES: usize = 4;
/// Maximum time for which a committee is kept, whatever the node asks: a week, in milliseconds.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Pause before the first retry; it doubles with each.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest pause while no part waits.
const AGAIN_MOST: Duration = Duration::from_secs(5);
/// Longest pause while a root waits and the checker's clock runs.
const AGAIN_MOST_WAITING: Duration = Duration::from_secs(1);
/// Duration of a connection that resets the pauses.
const STEADY: Duration = Duration::from_secs(5);
/// Interval of reads of the file with the addresses of an agent on this machine.
const LOOK: Duration = Duration::from_secs(1);
/// Longest pause that a checker may request. The shortest is [`AGAIN`].
const COME_BACK_MOST: Duration = Duration::from_secs(15);
/// Pause after a checker's agent answered that it does not sit for the worker.
const DENIED: Duration = Duration::from_secs(5);

/// A worker in a round of a chain.
pub type RoundOf = (H256, RoundIndex, WorkerId);

/// Parts of a worker's trial in a round so far. On another fork they start again.
#[derive(Clone, Default)]
pub struct Outbox {
	/// The trial.
	trial: Option<Trial>,
	/// Its parts, in the order of their arrival.
	pushes: Vec<Push>,
	/// No further parts come.
	complete: bool,
}

impl Outbox {
	/// Returns whether it has more parts than the first `sent` of the trial `of`.
	fn has_more(&self, of: Option<Trial>, sent: usize) -> bool {
		let sent = if self.trial == of { sent } else { 0 };
		self.pushes.len() > sent
	}
}

/// A committee, and the tasks that hold its connections.
struct Committee {
	/// End of its round. Its links see changes.
	expires: Arc<AtomicU64>,
	/// Members; those that get roots have a link.
	members: BTreeMap<AgentKey, Option<Link>>,
	outbox: watch::Sender<Outbox>,
}

impl Committee {
	fn expires(&self) -> u64 {
		self.expires.load(Ordering::Relaxed)
	}
}

/// A task that keeps a connection to a member.
struct Link {
	task: AbortHandle,
	/// The member takes roots now, or has no room for idle connections and takes roots when they come.
	connected: Arc<AtomicBool>,
}

impl Drop for Link {
	fn drop(&mut self) {
		self.task.abort();
	}
}

/// All committees, under one lock.
pub struct Committees {
	peer: Arc<Peer>,
	/// Doors that remember the members' addresses.
	doors: Vec<Door>,
	all: Mutex<BTreeMap<RoundOf, Committee>>,
}

impl Committees {
	/// Creates an empty set. `doors` remember the members' addresses, so that a flood does not keep them
	/// out.
	pub fn new(peer: Arc<Peer>, doors: Vec<Door>) -> Self {
		Self {
			peer,
			doors,
			all: Mutex::default(),
		}
	}

	/// Keeps a worker's committee for `keep_ms` milliseconds. If the worker `runs` the trial, connects to
	/// each new member, after this agent's own part of `spread`. Returns the number of members, and of those
	/// connected.
	pub fn prepare(
		&self,
		of: RoundOf,
		agents: impl IntoIterator<Item = AgentKey>,
		runs: bool,
		spread: Duration,
		keep_ms: u64,
	) -> Prepared {
		let own = self.peer.key();
		let agents: BTreeSet<_> = agents
			.into_iter()
			.filter(|agent| *agent != own)
			.take(MAX_MEMBERS)
			.collect();
		let expires = now_ms() + keep_ms.min(MAX_KEEP_MS);
		for agent in &agents {
			self.remember(agent, Duration::from_millis(keep_ms.min(MAX_KEEP_MS)));
		}
		let mut all = self.all.lock();
		if !all.contains_key(&of) && all.len() >= MAX_COMMITTEES {
			let first = all.iter().min_by_key(|(_, committee)| committee.expires());
			if let Some(first) = first.map(|(of, _)| *of) {
				all.remove(&first);
			}
		}
		let committee = all.entry(of).or_insert_with(|| Committee {
			expires: Arc::default(),
			members: BTreeMap::new(),
			outbox: watch::Sender::new(Outbox::default()),
		});
		committee.expires.store(expires, Ordering::Relaxed);
		// On another fork the members differ.
		committee.members.retain(|agent, _| agents.contains(agent));
		for agent in agents {
			let link = committee.members.entry(agent).or_default();
			if runs && link.as_ref().is_none_or(|link| link.task.is_finished()) {
				let (genesis, round, worker) = of;
				let connected = Arc::<AtomicBool>::default();
				let member = Member {
					connected: connected.clone(),
					peer: self.peer.clone(),
					agent,
					introduction: Introduction {
						genesis,
						round,
						worker,
					},
					outbox: committee.outbox.subscribe(),
					sent: 0,
					of: None,
					denied: false,
					wait: AGAIN,
					expires: committee.expires.clone(),
				};
				let delay = spread.mul_f64(share(&own, &agent, round));
				let task = tokio::spawn(member.serve(delay)).abort_handle();
				*link = Some(Link { task, connected });
			}
		}
		let links = committee.members.values().flatten();
		let connected = links.filter(|link| link.connected.load(Ordering::Relaxed));
		Prepared {
			members: committee.members.len() as u32,
			connected: connected.count() as u32,
		}
	}

	/// Starts a trial of a worker in a round, and returns the sender of its parts. `None` if the committee
	/// is not known.
	pub fn begin(&self, trial: Trial) -> Option<watch::Sender<Outbox>> {
		let all = self.all.lock();
		let committee = all.get(&(trial.genesis, trial.round, trial.worker))?;
		committee.outbox.send_replace(Outbox {
			trial: Some(trial),
			pushes: Vec::new(),
			complete: false,
		});
		Some(committee.outbox.clone())
	}

	/// Returns whether an agent is in a kept committee.
	pub fn knows(&self, agent: &AgentKey) -> bool {
		let now = now_ms();
		let all = self.all.lock();
		all.values()
			.any(|committee| committee.expires() > now && committee.members.contains_key(agent))
	}

	/// Drops committees of rounds that are over, and their connections.
	pub fn sweep(&self) {
		let now = now_ms();
		self.all
			.lock()
			.retain(|_, committee| committee.expires() > now);
	}

	/// Remembers the addresses that a member has published.
	fn remember(&self, agent: &AgentKey, time: Duration) {
		let Ok(addr) = self.peer.peers().lookup(agent) else {
			// The search for its addresses starts now.
			self.peer.peers().want(agent);
			return;
		};
		for address in addr.ip_addrs().take(MAX_ADDRESSES) {
			for door in &self.doors {
				door.remember(address.ip(), time);
			}
		}
	}
}

/// Adds a part to its trial. Drops a part of an abandoned trial.
pub fn post(outbox: &watch::Sender<Outbox>, push: Push) {
	outbox.send_modify(|outbox| {
		if outbox.trial == Some(push.trial) {
			outbox.pushes.push(push);
		}
	});
}

/// Records that a trial has no further parts.
pub fn complete(outbox: &watch::Sender<Outbox>, trial: Trial) {
	outbox.send_modify(|outbox| outbox.complete |= outbox.trial == Some(trial));
}

/// Returns a number from 0 to 1, fixed for an agent, a member of its committee and a round.
fn share(own: &AgentKey, member: &AgentKey, round: RoundIndex) -> f64 {
	let hash = key("spread", &[&own.0, &member.0, &round.to_le_bytes()]);
	f64::from(u16::from_le_bytes([hash[0], hash[1]])) / f64::from(u16::MAX)
}

/// State of the task that keeps a connection to a member.
struct Member {
	peer: Arc<Peer>,
	agent: AgentKey,
	introduction: Introduction,
	outbox: watch::Receiver<Outbox>,
	/// Number of sent parts of the trial `of`.
	sent: usize,
	of: Option<Trial>,
	/// The member takes roots now.
	connected: Arc<AtomicBool>,
	/// The member answered that it does not sit for the worker.
	denied: bool,
	/// Next pause.
	wait: Duration,
	/// End of the round, from the node's last request.
	expires: Arc<AtomicU64>,
}

/// Reason for the end of a connection to a member that did not fail.
enum SessionEnd {
	/// The last part was sent.
	Done,
	/// The member has no room for an idle connection.
	NoRoom,
	/// The member did not admit this agent.
	NotAdmitted,
}

impl Member {
	/// Connects, introduces itself, and sends the roots, until the round is over.
	async fn serve(mut self, delay: Duration) {
		// A root that is ready does not wait for the delay of introductions.
		tokio::select! {
			() = sleep(delay) => (),
			_ = self.outbox.wait_for(|outbox| !outbox.pushes.is_empty()) => (),
		}
		while now_ms() < self.expires.load(Ordering::Relaxed) {
			let end = self.session().await;
			let admitted = matches!(end, Ok(SessionEnd::NoRoom));
			self.connected.store(admitted, Ordering::Relaxed);
			match end {
				Ok(SessionEnd::Done) => {
					// All parts are sent, unless another fork wins.
					let of = self.of;
					if self
						.outbox
						.wait_for(|outbox| outbox.trial != of)
						.await
						.is_err()
					{
						return;
					}
				}
				// The member has no room even for a connection that sends.
				Ok(SessionEnd::NoRoom) if self.has_more() => self.pause().await,
				Ok(SessionEnd::NoRoom) => {
					let (of, sent) = (self.of, self.sent);
					let more = |outbox: &Outbox| outbox.has_more(of, sent);
					if self.outbox.wait_for(more).await.is_err() {
						return;
					}
				}
				Ok(SessionEnd::NotAdmitted) => (),
				Err(error) => {
					tracing::debug!(agent = hex::encode(self.agent), "push: {error:#}");
					self.pause().await;
				}
			}
		}
	}

	/// Serves one connection.
	async fn session(&mut self) -> Result<SessionEnd> {
		let connection = self.peer.connect(&self.agent, ALPN).await?;
		let introduce = Request::Introduce(self.introduction);
		let introduced: Introduced = ask(&connection, &introduce)
			.await?
			.context("the introduction was refused")?;
		match introduced {
			Introduced::Admitted => (),
			Introduced::ComeBack { ms } => {
				connection.close(0u32.into(), b"");
				let pause = Duration::from_millis(ms.into()).clamp(AGAIN, COME_BACK_MOST);
				sleep(pause).await;
				return Ok(SessionEnd::NotAdmitted);
			}
			Introduced::Denied => {
				connection.close(0u32.into(), b"");
				if !std::mem::replace(&mut self.denied, true) {
					tracing::warn!(
						agent = hex::encode(self.agent),
						worker = self.introduction.worker,
						round = self.introduction.round,
						"a checker's agent answers that it does not sit for this worker; trying again"
					);
				}
				sleep(DENIED).await;
				return Ok(SessionEnd::NotAdmitted);
			}
		}
		self.connected.store(true, Ordering::Relaxed);
		let since = Instant::now();
		loop {
			let push = tokio::select! {
				push = self.next() => match push? {
					Some(push) => push,
					None => {
						connection.close(0u32.into(), b"done");
						return Ok(SessionEnd::Done);
					}
				},
				reason = connection.closed() => {
					if since.elapsed() >= STEADY {
						self.wait = AGAIN;
					}
					return match reason {
						ConnectionError::ApplicationClosed(close)
							if close.error_code == CLOSE_ROOM.into() =>
						{
							Ok(SessionEnd::NoRoom)
						}
						reason => Err(reason.into()),
					};
				}
			};
			self.send(&connection, push).await?;
		}
	}

	/// Waits for the next part to send. `None` once all are sent.
	async fn next(&mut self) -> Result<Option<Push>> {
		loop {
			{
				let outbox = self.outbox.borrow_and_update();
				if outbox.trial != self.of {
					self.of = outbox.trial;
					self.sent = 0;
				}
				if let Some(push) = outbox.pushes.get(self.sent) {
					return Ok(Some(push.clone()));
				}
				if outbox.complete {
					return Ok(None);
				}
			}
			self.outbox.changed().await?;
		}
	}

	async fn send(&mut self, connection: &Connection, push: Push) -> Result<()> {
		ask::<()>(connection, &Request::Push(push))
			.await?
			.context("the root was refused")?;
		self.sent += 1;
		self.wait = AGAIN;
		Ok(())
	}

	fn has_more(&self) -> bool {
		self.outbox.borrow().has_more(self.of, self.sent)
	}

	/// Waits before the next try. Ends early if a new part comes, or if the agent publishes other addresses.
	async fn pause(&mut self) {
		self.outbox.mark_unchanged();
		let most = if self.has_more() {
			AGAIN_MOST_WAITING
		} else {
			AGAIN_MOST
		};
		let until = Instant::now() + self.wait.min(most);
		self.wait = (self.wait * 2).min(AGAIN_MOST);
		let peer = self.peer.clone();
		let peers = peer.peers();
		let record = peers.record(&self.agent);
		let found = peers.found_stamp(&self.agent);
		let mut news = peers.news();
		while Instant::now() < until {
			tokio::select! {
				changed = self.outbox.changed() => {
					if changed.is_err() {
						sleep_until(until).await;
					}
					self.wait = AGAIN;
					return;
				},
				// The channel never closes: the peer holds the sender.
				_ = news.changed() => {
					if peers.found_stamp(&self.agent) != found {
						self.wait = AGAIN;
						return;
					}
				},
				() = sleep_until(until.min(Instant::now() + LOOK)) => {
					if peers.record(&self.agent) != record {
						self.wait = AGAIN;
						return;
					}
				},
			}
		}
	}
}
