//! The agent's side.

use crate::{
	ALPN, MAX_STREAMS, carry, probe,
	wire::{self, CLOSE_BAD, CLOSE_DONE, Open, Purpose, Refusal, WireError},
};
use iroh::endpoint::{Connection, Incoming, IncomingAddr, RecvStream, SendStream};
use std::{
	collections::BTreeMap,
	net::{IpAddr, SocketAddr},
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	time::{Duration, Instant},
};
use tokio::{
	net::TcpStream,
	sync::{OwnedSemaphorePermit, Semaphore},
	task::JoinSet,
	time::{sleep_until, timeout},
};

/// How long connecting to the container, or sending an answer, may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How often the gate is asked whether a connection may stay.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a server takes at most. Those that are let in have places of their own, so that a crowd before
/// the door takes nothing from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
	/// Connections at a time of those that were not let in yet.
	pub newcomers: usize,
	/// Of them from one IP address, or over relays.
	pub newcomers_each: usize,
	/// How long a newcomer has until it has said what it wants and was let in; as long as any stream has
	/// to say what it is for.
	pub newcomer_time: Duration,
	/// Connections at a time of those that were let in.
	pub connections: usize,
	/// Of them of one key.
	pub connections_each: usize,
	/// Streams at a time, of all connections.
	pub streams: usize,
	/// How long who was let in stays while the gate knows nothing of the order: a container that is
	/// started again is not the end of its order.
	pub grace: Duration,
}

impl Default for Limits {
	fn default() -> Self {
		Self {
			newcomers: 128,
			newcomers_each: 16,
			newcomer_time: Duration::from_secs(10),
			connections: 256,
			connections_each: 4,
			// Four times what one key can have.
			streams: 1_024,
			grace: Duration::from_secs(15),
		}
	}
}

/// Who may go where: what the tunnel asks of whoever runs the containers.
pub trait Gate: Send + Sync + 'static {
	/// Where a stream of `client` leads that begins with `open`, or why nowhere. It is asked at each
	/// stream, and every second for as long as the connection lasts; it must not wait.
	fn admit(&self, client: &[u8; 32], open: &Open) -> Result<Pass, Refusal>;
}

/// Leave to go somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
	/// Where the container's port is reached.
	pub address: SocketAddr,
	/// Until when; until the gate says otherwise if not given.
	pub until: Option<Instant>,
	/// Leave to find out whether something answers there, and to nothing else: what is said has to be
	/// [`PROBE`], and no more than a byte of the answer comes back.
	///
	/// [`PROBE`]: crate::probe::PROBE
	pub probe: bool,
}

/// The tunnel's server.
pub struct Server<G> {
	gate: G,
	limits: Limits,
	newcomers: Arc<Semaphore>,
	newcomers_each: Arc<Counts<Option<IpAddr>>>,
	connections: Arc<Semaphore>,
	connections_each: Arc<Counts<[u8; 32]>>,
	streams: Arc<Semaphore>,
}

/// A newcomer's place, held from before the handshake until it is let in.
pub struct Place {
	_place: OwnedSemaphorePermit,
	_each: Count<Option<IpAddr>>,
	since: tokio::time::Instant,
}

impl<G: Gate> Server<G> {
	/// A server that lets in whom the gate does.
	pub fn new(gate: G, limits: Limits) -> Self {
		Self {
			gate,
			limits,
			newcomers: Arc::new(Semaphore::new(limits.newcomers)),
			newcomers_each: Arc::default(),
			connections: Arc::new(Semaphore::new(limits.connections)),
			connections_each: Arc::default(),
			streams: Arc::new(Semaphore::new(limits.streams)),
		}
	}

	/// Takes a connection that asks for the tunnel, and serves it. Who does not show first that it is
	/// where it says costs nothing.
	pub async fn welcome(&self, incoming: Incoming) {
		if !incoming.remote_addr_validated() {
			if let Err(error) = incoming.retry() {
				error.into_incoming().ignore();
			}
			return;
		}
		let Some(place) = self.place(&incoming.remote_addr()) else {
			incoming.refuse();
			return;
		};
		let Ok(accepting) = incoming.accept() else {
			return;
		};
		match timeout(self.limits.newcomer_time, accepting).await {
			Ok(Ok(connection)) if connection.alpn() == ALPN => {
				self.serve(&connection, place).await;
			}
			Ok(Ok(connection)) => connection.close(CLOSE_BAD.into(), b""),
			Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
			Err(_) => (),
		}
	}

	/// A place for a newcomer from that address, which has been validated; `None` if there are too many.
	pub fn place(&self, from: &IncomingAddr) -> Option<Place> {
		let ip = match from {
			IncomingAddr::Ip(address) => Some(address.ip().to_canonical()),
			_ => None,
		};
		let each = Counts::take(&self.newcomers_each, ip, self.limits.newcomers_each)?;
		let place = self.newcomers.clone().try_acquire_owned().ok()?;
		Some(Place {
			_place: place,
			_each: each,
			since: tokio::time::Instant::now(),
		})
	}

	/// Serves a connection until it ends, or may not stay. All of its streams are of the order that it was
	/// let in for first.
	pub async fn serve(&self, connection: &Connection, place: Place) {
		let client = *connection.remote_id().as_bytes();
		let mut check = place.since + self.limits.newcomer_time;
		let mut newcomer = Some(place);
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
						// It said nothing, or not in time: the stream is gone.
						_ => continue,
					};
					let admitted = self.admit(&client, &open, let_in.as_ref());
					let leads = admitted.and_then(|(pass, entered)| {
						let place = self.streams.clone().try_acquire_owned();
						let place = place.map_err(|_| Refusal::Busy)?;
						if let Some(entered) = entered {
							let_in = Some(entered);
							newcomer = None;
							connection.set_max_concurrent_bi_streams(MAX_STREAMS.into());
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
		// Before its streams are dropped, so that all of them break, and none of them ends.
		connection.close(code.into(), b"");
		drop(newcomer);
	}

	/// Whether a stream may go where it wants to, and the place of its connection if it is the first.
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
		let place = self.connections.clone().try_acquire_owned();
		let member = Member {
			open: *open,
			_place: place.map_err(|_| Refusal::Busy)?,
			_each: each.ok_or(Refusal::Busy)?,
		};
		Ok((pass, Some(member)))
	}
}

/// A connection that was let in.
struct Member {
	/// What it was let in for.
	open: Open,
	_place: OwnedSemaphorePermit,
	_each: Count<[u8; 32]>,
}

/// When the gate is to be asked again: at the latest when the pass ends.
fn next_check(pass: &Pass) -> tokio::time::Instant {
	let soon = Instant::now() + ASK_AGAIN;
	pass.until.map_or(soon, |until| until.min(soon)).into()
}

/// Reads what a stream is for.
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
	let told = timeout(ANSWER_TIME, wire::write(&mut send, &answer)).await;
	if let (Ok(Ok(())), Ok(Some(tcp)), Ok((pass, _place))) = (told, connected, leads) {
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

/// How many there are of each of something.
struct Counts<K>(Mutex<BTreeMap<K, usize>>);

impl<K> Default for Counts<K> {
	fn default() -> Self {
		Self(Mutex::default())
	}
}

/// One of them, for as long as it is kept.
struct Count<K: Ord> {
	counts: Arc<Counts<K>>,
	key: K,
}

impl<K: Ord + Copy> Counts<K> {
	fn lock(&self) -> MutexGuard<'_, BTreeMap<K, usize>> {
		self.0.lock().unwrap_or_else(PoisonError::into_inner)
	}

	/// One more, unless there are `most` already.
	fn take(counts: &Arc<Self>, key: K, most: usize) -> Option<Count<K>> {
		let mut all = counts.lock();
		let count = all.entry(key).or_default();
		// An entry is made only to be counted: `most` is never 0.
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
