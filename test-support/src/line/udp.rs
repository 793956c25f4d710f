//! Forwards datagrams. Each client has a socket of its own towards the target. Datagrams in flight wait in
//! one heap, ordered by arrival time.

use super::{Shared, Way, shaper::Fate};
use parking_lot::Mutex;
use std::{
	cmp::Reverse,
	collections::{BinaryHeap, HashMap},
	net::{Ipv4Addr, Ipv6Addr, SocketAddr},
	sync::Arc,
};
use tokio::{
	net::UdpSocket,
	sync::Notify,
	task::JoinSet,
	time::{Instant, sleep_until},
};

/// Cap on the clients of a line; datagrams of further ones are dropped as if the line were cut.
const MAX_CLIENTS: usize = 1_024;
/// Size of the longest datagram.
const MAX_BYTES: usize = 65_535;

/// Forwards until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, front: UdpSocket) {
	let air = Arc::new(Air {
		shared,
		front,
		flights: Mutex::default(),
		changed: Notify::new(),
	});
	let mut tasks = JoinSet::new();
	tasks.spawn(deliver(air.clone()));
	let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
	let mut buffer = vec![0; MAX_BYTES];
	loop {
		// An error concerns an earlier datagram, to a client that is gone.
		let Ok((bytes, client)) = air.front.recv_from(&mut buffer).await else {
			continue;
		};
		if !clients.contains_key(&client) {
			let back = if clients.len() < MAX_CLIENTS {
				towards(air.shared.target).await.ok()
			} else {
				None
			};
			let Some(back) = back.map(Arc::new) else {
				let mut lane = air.shared.lane(Way::Up);
				lane.counters.taken += 1;
				lane.counters.cut += 1;
				continue;
			};
			tasks.spawn(answers(air.clone(), back.clone(), client));
			clients.insert(client, back);
		}
		let to = To::Target(clients[&client].clone());
		air.take(Way::Up, &buffer[..bytes], to);
	}
}

/// Opens a socket that sends to the target.
async fn towards(target: SocketAddr) -> std::io::Result<UdpSocket> {
	let any: SocketAddr = match target {
		SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
		SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
	};
	let socket = UdpSocket::bind(any).await?;
	socket.connect(target).await?;
	Ok(socket)
}

/// Takes the datagrams that the target sends to one client.
async fn answers(air: Arc<Air>, back: Arc<UdpSocket>, client: SocketAddr) {
	let mut buffer = vec![0; MAX_BYTES];
	loop {
		// An error means that the target was not listening when an earlier datagram arrived; it may be now.
		if let Ok(bytes) = back.recv(&mut buffer).await {
			air.take(Way::Down, &buffer[..bytes], To::Client(client));
		}
	}
}

/// Sends datagrams when they are due.
async fn deliver(air: Arc<Air>) {
	// The highest place that has arrived, by direction.
	let mut latest = [0; 2];
	loop {
		let next = air.flights.lock().peek().map(|Reverse(flight)| flight.at);
		match next {
			None => air.changed.notified().await,
			Some(at) => {
				tokio::select! {
					() = sleep_until(at) => air.land(&mut latest).await,
					() = air.changed.notified() => {},
				}
			}
		}
	}
}

enum To {
	Target(Arc<UdpSocket>),
	Client(SocketAddr),
}

/// A datagram in flight.
struct Flight {
	at: Instant,
	/// Its number among those of its direction.
	place: u64,
	again: bool,
	way: Way,
	to: Arc<To>,
	bytes: Arc<[u8]>,
}

impl Flight {
	fn key(&self) -> (Instant, u64, bool) {
		(self.at, self.place, self.again)
	}
}

impl PartialEq for Flight {
	fn eq(&self, other: &Self) -> bool {
		self.key() == other.key()
	}
}

impl Eq for Flight {}

impl PartialOrd for Flight {
	fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
		Some(self.cmp(other))
	}
}

impl Ord for Flight {
	fn cmp(&self, other: &Self) -> std::cmp::Ordering {
		self.key().cmp(&other.key())
	}
}

/// The sockets of a line and its datagrams in flight.
struct Air {
	shared: Arc<Shared>,
	front: UdpSocket,
	flights: Mutex<BinaryHeap<Reverse<Flight>>>,
	/// Signals a new datagram in flight.
	changed: Notify,
}

impl Air {
	fn take(&self, way: Way, bytes: &[u8], to: To) {
		let control = self.shared.control.borrow().clone();
		let mut lane = self.shared.lane(way);
		lane.counters.taken += 1;
		let place = lane.counters.taken;
		if control.cut.is_some() {
			lane.counters.cut += 1;
			return;
		}
		let fate = lane
			.shaper
			.datagram(&control.settings, Instant::now(), bytes.len());
		match fate {
			Fate::Lost => lane.counters.lost += 1,
			Fate::Overflows => lane.counters.overflowed += 1,
			Fate::Arrives { at, again } => {
				drop(lane);
				let (to, bytes) = (Arc::new(to), Arc::<[u8]>::from(bytes));
				let mut flights = self.flights.lock();
				for (at, again) in [(Some(at), false), (again, true)] {
					let Some(at) = at else { continue };
					flights.push(Reverse(Flight {
						at,
						place,
						again,
						way,
						to: to.clone(),
						bytes: bytes.clone(),
					}));
				}
				drop(flights);
				self.changed.notify_one();
			}
		}
	}

	/// Sends all datagrams that are due by now.
	async fn land(&self, latest: &mut [u64; 2]) {
		let now = Instant::now();
		loop {
			let flight = {
				let mut flights = self.flights.lock();
				match flights.peek() {
					Some(Reverse(flight)) if flight.at <= now => flights.pop(),
					_ => None,
				}
			};
			let Some(Reverse(flight)) = flight else {
				return;
			};
			if self.shared.is_cut() {
				self.shared.lane(flight.way).counters.cut += 1;
				continue;
			}
			// The datagram is counted before it is sent, so that the counters are right when it is received.
			{
				let counters = &mut self.shared.lane(flight.way).counters;
				counters.forwarded += 1;
				counters.bytes += flight.bytes.len() as u64;
				counters.duplicated += u64::from(flight.again);
				let latest = &mut latest[flight.way as usize];
				counters.reordered += u64::from(flight.place < *latest);
				*latest = flight.place.max(*latest);
			}
			// The receiver may be gone, as on any line.
			let _ = match &*flight.to {
				To::Target(back) => back.send(&flight.bytes).await,
				To::Client(client) => self.front.send_to(&flight.bytes, client).await,
			};
		}
	}
}
