//! Server side of the tunnel, which runs in the agent.

use crate::{
	ALPN, MAX_STREAMS, carry,
	places::{Door, Permit},
	probe,
	wire::{self, CLOSE_BAD, CLOSE_DONE, Open, Purpose, Refusal, WireError},
};
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream, VarInt};
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	time::{Duration, Instant},
};
use tokio::{
	net::TcpStream,
	sync::{OwnedSemaphorePermit, Semaphore},
	task::JoinSet,
	time::{sleep_until, timeout},
};

/// Timeout of connecting to the container, and of sending an answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Interval between questions to the gate whether a connection may stay.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Time for which the door remembers the address of an admitted client.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Limits of a server on clients that its gate knows. The [`Door`] limits strangers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
	/// Time for a connection to be admitted, and for a stream to send its first message.
	pub newcomer_time: Duration,
	/// Maximum number of connections of admitted customers.
	pub connections: usize,
	/// Maximum number of connections of checkers that probe. Customers do not count against it.
	pub probes: usize,
	/// Maximum number of admitted connections of one key, and of those not admitted yet.
	pub connections_each: usize,
	/// Maximum number of streams of all connections.
	pub streams: usize,
	/// Time for which an admitted connection stays while the gate does not know the order: its container may
	/// be restarting.
	pub grace: Duration,
}

impl Default for Limits {
	fn default() -> Self {
		Self {
			newcomer_time: Duration::from_secs(10),
			connections: 256,
			probes: 64,
			connections_each: 4,
			// Four times the streams that one key can have.
			streams: 1_024,
			grace: Duration::from_secs(15),
		}
	}
}

/// Permissions of clients, decided by the part of the agent that runs the containers.
pub trait Gate: Send + Sync + 'static {
	/// Returns whether this client may be admitted for any order. It is called right after the handshake,
	/// and must not wait: an unknown client is disconnected at once.
	fn knows(&self, client: &[u8; 32]) -> bool;

	/// Returns the pass for a stream of `client` that begins with `open`, or the reason to refuse it. It is
	/// called for each stream, and every second as long as the connection lasts; it must not wait.
	fn admit(&self, client: &[u8; 32], open: &Open) -> Result<Pass, Refusal>;
}

/// Permission to connect to a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
	/// Address of the container's port.
	pub address: SocketAddr,
	/// End of the permission; without one it lasts until the gate refuses.
	pub until: Option<Instant>,
	/// Whether the client may only test if the container answers: it has to send [`PROBE`], and gets no more
	/// than one byte of the answer.
	///
	/// [`PROBE`]: crate::probe::PROBE
	pub probe: bool,
}

/// Server of the tunnel.
pub struct Server<G> {
	gate: G,
	door: Door,
	limits: Limits,
	newcomers_each: Arc<Counts<[u8; 32]>>,
	connections: Arc<Semaphore>,
	probes: Arc<Semaphore>,
	connections_each: Arc<Counts<[u8; 32]>>,
	streams: Arc<Semaphore>,
}

impl<G: Gate> Server<G> {
	/// Creates a server that admits the clients that the gate admits. Until a connection's key is known, the
	/// connection has a place at `door`.
	pub fn new(gate: G, door: Door, limits: Limits) -> Self {
		Self {
			gate,
			door,
			limits,
			newcomers_each: Arc::default(),
			connections: Arc::new(Semaphore::new(limits.connections)),
			probes: Arc::new(Semaphore::new(limits.probes)),
			connections_each: Arc::default(),
			streams: Arc::new(Semaphore::new(limits.streams)),
		}
	}

	/// Accepts a connection that requests the tunnel, and serves it if the gate knows its key.
	pub async fn welcome(&self, incoming: Incoming) {
		let Some((incoming, mut permit)) = self.door.enter(incoming, |key| self.gate.knows(key))
		else {
			return;
		};
		let Ok(accepting) = incoming.accept() else {
			return;
		};
		let accepted = tokio::select! {
			accepted = accepting => accepted,
			() = permit.revoked() => return,
		};
		match accepted {
			Ok(connection) if connection.alpn() == ALPN => self.serve(&connection, permit).await,
			Ok(connection) => connection.close(CLOSE_BAD.into(), b""),
			Err(error) => tracing::debug!(%error, "a handshake failed"),
		}
	}

	/// Serves a connection until it ends, or may no longer stay. All its streams have to be of the order for
	/// which it was first admitted.
	async fn serve(&self, connection: &Connection, permit: Permit) {
		let client = *connection.remote_id().as_bytes();
		if !self.gate.knows(&client) {
			connection.close(Refusal::NotServed.close_code().into(), b"");
			return;
		}
		let most = self.limits.connections_each;
		let Some(count) = Counts::take(&self.newcomers_each, client, most) else {
			connection.close(Refusal::Busy.close_code().into(), b"");
			return;
		};
		let ip = permit.ip();
		drop(permit);
		let mut check = tokio::time::Instant::now() + self.limits.newcomer_time;
		let mut newcomer = Some(count);
		let mut missing: Option<Instant> = None;
		let mut let_in: Option<Member> = None;
		let mut opening = JoinSet::new();
		let mut serving = JoinSet::new();
		let code = loop {
			tokio::select! {
				stream = connection.accept_bi() => match stream {
					Ok((send, recv)) => {
						opening.spawn(timeout(self.limits.newcomer_time, opened(send, recv)));
					}
					Err(_) => break CLOSE_DONE,
				},
				Some(opened) = opening.join_next() => {
					let (open, send, recv) = match opened {
						Ok(Ok(Ok(opened))) => opened,
						Ok(Ok(Err(error))) if error.is_garbage() => {
							tracing::debug!(remote = %connection.remote_id(), %error, "a bad client");
							break CLOSE_BAD;
						}
						// The stream sent no message, or not in time, and is closed.
						_ => continue,
					};
					let admitted = self.admit(&client, &open, let_in.as_ref());
					let leads = admitted.and_then(|(pass, entered)| {
						let place = self.streams.clone().try_acquire_owned();
						let place = place.map_err(|_| Refusal::Busy)?;
						if let Some(entered) = entered {
							let_in = Some(entered);
							newcomer = None;
							if let Some(ip) = ip {
								self.door.remember(ip, REMEMBERED);
							}
							connection.set_max_concurrent_bi_streams(MAX_STREAMS.into());
							// From here on, only the window of each stream limits it.
							connection.set_receive_window(VarInt::from_u32(u32::MAX));
							check = next_check(&pass);
						}
						Ok((pass, place))
					});
					serving.spawn(serve_stream(open.purpose, leads, send, recv));
				},
				Some(_) = serving.join_next() => (),
				() = sleep_until(check) => match &let_in {
					None => break Refusal::NotServed.close_code(),
					Some(member) => match self.gate.admit(&client, &member.open) {
						Ok(pass) => {
							missing = None;
							check = next_check(&pass);
						}
						Err(Refusal::Over) => break Refusal::Over.close_code(),
						Err(Refusal::NotServed)
							if missing.get_or_insert_with(Instant::now).elapsed()
								>= self.limits.grace =>
						{
							break Refusal::NotServed.close_code();
						}
						Err(refusal) => {
							if refusal != Refusal::NotServed {
								missing = None;
							}
							check = (Instant::now() + ASK_AGAIN).into();
						}
					},
				},
			}
		};
		// Close before the streams are dropped, so that all of them break, and none of them ends.
		connection.close(code.into(), b"");
		drop(newcomer);
	}

	/// Returns the pass for a stream, and for the first stream the admission of its connection.
	fn admit(
		&self,
		client: &[u8; 32],
		open: &Open,
		let_in: Option<&Member>,
	) -> Result<(Pass, Option<Member>), Refusal> {
		if let_in.is_some_and(|member| !member.open.is_of_order_of(open)) {
			return Err(Refusal::NotServed);
		}
		let pass = self.gate.admit(client, open)?;
		if let_in.is_some() {
			return Ok((pass, None));
		}
		let each = Counts::take(
			&self.connections_each,
			*client,
			self.limits.connections_each,
		);
		let places = if pass.probe {
			&self.probes
		} else {
			&self.connections
		};
		let place = places.clone().try_acquire_owned();
		let member = Member {
			open: *open,
			_place: place.map_err(|_| Refusal::Busy)?,
			_each: each.ok_or(Refusal::Busy)?,
		};
		Ok((pass, Some(member)))
	}
}

/// Admission of a connection.
struct Member {
	/// Message for which it was admitted.
	open: Open,
	_place: OwnedSemaphorePermit,
	_each: Count<[u8; 32]>,
}

/// Returns the time of the next question to the gate: at the latest, the end of the pass.
fn next_check(pass: &Pass) -> tokio::time::Instant {
	let soon = Instant::now() + ASK_AGAIN;
	pass.until.map_or(soon, |until| until.min(soon)).into()
}

/// Reads the first message of a stream.
async fn opened(
	send: SendStream,
	mut recv: RecvStream,
) -> Result<(Open, SendStream, RecvStream), WireError> {
	let open = wire::read(&mut recv).await?;
	Ok((open, send, recv))
}

async fn serve_stream(
	purpose: Purpose,
	leads: Result<(Pass, OwnedSemaphorePermit), Refusal>,
	mut send: SendStream,
	recv: RecvStream,
) {
	let connected = match (&leads, purpose) {
		(Err(refusal), _) => Err(*refusal),
		(Ok(_), Purpose::Ask) => Ok(None),
		(Ok((pass, _)), Purpose::Connect) => {
			match timeout(ANSWER_TIME, TcpStream::connect(pass.address)).await {
				Ok(Ok(tcp)) => Ok(Some(tcp)),
				_ => Err(Refusal::NotReady),
			}
		}
	};
	let answer = connected.as_ref().map(|_| ()).map_err(|refusal| *refusal);
	let sent = timeout(ANSWER_TIME, wire::write(&mut send, &answer)).await;
	if let (Ok(Ok(())), Ok(Some(tcp)), Ok((pass, _place))) = (sent, connected, leads) {
		let carried = if pass.probe {
			probe::let_through(tcp, send, recv).await
		} else {
			carry(tcp, send, recv).await
		};
		if let Err(error) = carried {
			tracing::debug!(%error, "a stream broke");
		}
	}
}

/// Number of holders of each key.
struct Counts<K>(Mutex<BTreeMap<K, usize>>);

impl<K> Default for Counts<K> {
	fn default() -> Self {
		Self(Mutex::default())
	}
}

/// One counted holder, as long as this value is kept.
struct Count<K: Ord> {
	counts: Arc<Counts<K>>,
	key: K,
}

impl<K: Ord + Copy> Counts<K> {
	fn lock(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
		self.0.lock().unwrap_or_else(PoisonError::into_inner)
	}

	/// Counts a further holder of a key. Returns `None` if there are `most` already.
	fn take(counts: &Arc<Self>, key: K, most: usize) -> Option<Count<K>> {
		let mut all = counts.lock();
		let count = all.entry(key).or_default();
		// A new entry is always counted, since `most` is never 0.
		if *count >= most {
			return None;
		}
		*count += 1;
		drop(all);
		Some(Count {
			counts: counts.clone(),
			key,
		})
	}
}

impl<K: Ord> Drop for Count<K> {
	fn drop(&mut self) {
		let mut all = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
		if let Some(count) = all.get_mut(&self.key) {
			*count -= 1;
			if *count == 0 {
				all.remove(&self.key);
			}
		}
	}
}
