//! Limits the connections of strangers: each needs a place at the door.
//!
//! A connection's key is known only after the handshake, so a place is taken before it, by the connection's
//! address, which a retry packet has validated. Many addresses are cheap only within one range, so ranges
//! are counted: /24 for IPv4, /64 for IPv6. Addresses from which a known key connected before have separate
//! places, so a flood from elsewhere does not keep them out.
//!
//! If the strangers' places are full, the oldest of the range with the most places gives way, once it is
//! older than [`Limits::tenure`]. Refusing the newest instead would let 13 connections a second hold 64
//! places for 5 s each. Without the tenure, many honest strangers at a time would push each other out before
//! any of them has sent its first message.

use iroh::endpoint::{Incoming, IncomingAddr};
use std::{
	collections::{BTreeMap, HashMap},
	net::IpAddr,
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	time::Duration,
};
use tokio::{
	sync::watch,
	time::{Instant, sleep_until},
};

/// Minimum interval between two searches of a full list of addresses for expired ones.
const SEARCH: Duration = Duration::from_secs(60);

/// Limits of a [`Door`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
	/// Number of strangers' places.
	pub strangers: usize,
	/// Strangers' places for one range of addresses.
	pub strangers_each: usize,
	/// Strangers' places for connections over relays, whose addresses show nothing.
	pub relayed: usize,
	/// Maximum time for which a stranger holds a place.
	pub time: Duration,
	/// Minimum time for which a stranger keeps a place before it may give way to a newcomer.
	pub tenure: Duration,
	/// Number of places for connections from a remembered address, or over a relay with a known key.
	pub expected: usize,
	/// Such places for one address, or one key.
	pub expected_each: usize,
	/// Maximum number of remembered addresses.
	pub remembered: usize,
}

impl Default for Limits {
	fn default() -> Self {
		Self {
			strangers: 64,
			strangers_each: 4,
			relayed: 16,
			time: Duration::from_secs(5),
			tenure: Duration::from_millis(500),
			expected: 256,
			expected_each: 8,
			remembered: 4_096,
		}
	}
}

/// Origin of a connection, as far as its address shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
	/// A range of IPv4 addresses, /24.
	V4([u8; 3]),
	/// A range of IPv6 addresses, /64.
	V6([u8; 8]),
	/// A relay. Each key is an origin of its own, since a relay reveals only keys.
	Relay([u8; 32]),
	/// Any other origin.
	Other,
}

impl Origin {
	/// Returns the range that an address belongs to.
	pub fn of_ip(ip: IpAddr) -> Self {
		match ip.to_canonical() {
			IpAddr::V4(ip) => {
				let [a, b, c, _] = ip.octets();
				Self::V4([a, b, c])
			}
			IpAddr::V6(ip) => {
				let [a, b, c, d, e, f, g, h, ..] = ip.octets();
				Self::V6([a, b, c, d, e, f, g, h])
			}
		}
	}

	fn of(from: &IncomingAddr) -> Self {
		match from {
			IncomingAddr::Ip(address) => Self::of_ip(address.ip()),
			IncomingAddr::Relay { endpoint_id, .. } => Self::Relay(*endpoint_id.as_bytes()),
			_ => Self::Other,
		}
	}

	fn is_ip(&self) -> bool {
		matches!(self, Self::V4(_) | Self::V6(_))
	}
}

/// Returns a connection whose address is validated. To others it sends a retry packet, to make them prove
/// their address, and returns `None`. A forged address costs no more than that packet.
pub fn validated(incoming: Incoming) -> Option<Incoming> {
	if incoming.remote_addr_validated() {
		return Some(incoming);
	}
	if let Err(error) = incoming.retry() {
		error.into_incoming().ignore();
	}
	None
}

/// Set of places, which limits the connections that are not authenticated yet. Clones share the places.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
	limits: Limits,
	state: Mutex<State>,
}

#[derive(Default)]
struct State {
	/// Strangers by number, the oldest first.
	strangers: BTreeMap<u64, Stranger>,
	next: u64,
	expected: BTreeMap<Known, usize>,
	expected_all: usize,
	/// Remembered addresses, each with its expiry.
	remembered: HashMap<IpAddr, Instant>,
	/// Time of the last search of a full list for expired addresses.
	searched: Option<Instant>,
}

struct Stranger {
	origin: Origin,
	since: Instant,
	/// Dropped when the place is taken away, which notifies the holder.
	_held: watch::Sender<()>,
}

/// Permit of a [`Door`]: a place there, which is free again when this value is dropped.
pub struct Permit {
	door: Arc<Shared>,
	origin: Origin,
	ip: Option<IpAddr>,
	kind: Kind,
	deadline: Instant,
}

enum Kind {
	Stranger { id: u64, kept: watch::Receiver<()> },
	Expected(Known),
}

/// Reason to expect a connection: its address, or its key, which a relay has checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
	Ip(IpAddr),
	Key([u8; 32]),
}

impl Door {
	/// Creates a door with these limits.
	pub fn new(limits: Limits) -> Self {
		Self(Arc::new(Shared {
			limits,
			state: Mutex::default(),
		}))
	}

	/// Gives a place to a connection with a validated address. `knows` returns whether a key is known, since
	/// a relay reveals the key before the handshake. Returns `None` if the connection has to validate its
	/// address first, or if no place is free.
	pub fn enter(
		&self,
		incoming: Incoming,
		knows: impl Fn(&[u8; 32]) -> bool,
	) -> Option<(Incoming, Permit)> {
		let incoming = validated(incoming)?;
		match self.acquire(&incoming.remote_addr(), knows) {
			Some(permit) => Some((incoming, permit)),
			None => {
				incoming.refuse();
				None
			}
		}
	}

	/// Gives a place to a connection from a validated address. Returns `None` if no place is free.
	pub fn acquire(
		&self,
		from: &IncomingAddr,
		knows: impl Fn(&[u8; 32]) -> bool,
	) -> Option<Permit> {
		self.acquire_at(from, knows, Instant::now())
	}

	fn acquire_at(
		&self,
		from: &IncomingAddr,
		knows: impl Fn(&[u8; 32]) -> bool,
		now: Instant,
	) -> Option<Permit> {
		let ip = match from {
			IncomingAddr::Ip(address) => Some(address.ip().to_canonical()),
			_ => None,
		};
		let limits = &self.0.limits;
		let origin = Origin::of(from);
		let key = match origin {
			Origin::Relay(key) if knows(&key) => Some(Known::Key(key)),
			_ => None,
		};
		let mut state = self.0.lock();
		let known = key.or_else(|| Some(Known::Ip(ip.filter(|ip| state.remembers(ip, now))?)));
		let kind = match known {
			Some(known) if state.expect(known, limits) => Kind::Expected(known),
			_ => state.admit(origin, limits, now)?,
		};
		drop(state);
		Some(Permit {
			door: self.0.clone(),
			origin,
			ip,
			kind,
			deadline: now + limits.time,
		})
	}

	/// Remembers for this time that a known key connected from this address. If the list is full, no further
	/// address is remembered.
	pub fn remember(&self, ip: IpAddr, time: Duration) {
		self.remember_at(ip, time, Instant::now());
	}

	fn remember_at(&self, ip: IpAddr, time: Duration, now: Instant) {
		let mut state = self.0.lock();
		let ip = ip.to_canonical();
		let until = now + time;
		if let Some(known) = state.remembered.get_mut(&ip) {
			*known = until.max(*known);
			return;
		}
		// The list may have a million entries, so it is searched at intervals only.
		if state.remembered.len() >= self.0.limits.remembered
			&& state.searched.is_none_or(|last| last + SEARCH <= now)
		{
			state.searched = Some(now);
			state.remembered.retain(|_, until| *until > now);
		}
		if state.remembered.len() < self.0.limits.remembered {
			state.remembered.insert(ip, until);
		}
	}
}

impl Shared {
	fn lock(&self) -> MutexGuard<'_, State> {
		self.state.lock().unwrap_or_else(PoisonError::into_inner)
	}
}

impl State {
	fn remembers(&self, ip: &IpAddr, now: Instant) -> bool {
		self.remembered.get(ip).is_some_and(|until| *until > now)
	}

	/// Takes a place for an expected connection. Returns whether one was free.
	fn expect(&mut self, known: Known, limits: &Limits) -> bool {
		if self.expected_all >= limits.expected {
			return false;
		}
		let count = self.expected.entry(known).or_default();
		// A new entry is always counted, since `expected_each` is never 0.
		if *count >= limits.expected_each {
			return false;
		}
		*count += 1;
		self.expected_all += 1;
		true
	}

	/// Takes a place for a stranger. Returns `None` if none is free.
	fn admit(&mut self, origin: Origin, limits: &Limits, now: Instant) -> Option<Kind> {
		let mut counts = BTreeMap::<Origin, usize>::new();
		for stranger in self.strangers.values() {
			*counts.entry(stranger.origin).or_default() += 1;
		}
		let relayed = counts.iter().filter(|(origin, _)| !origin.is_ip());
		let relayed: usize = relayed.map(|(_, count)| count).sum();
		let mine = counts.get(&origin).copied().unwrap_or(0);
		let each = if origin.is_ip() {
			limits.strangers_each
		} else {
			1
		};
		if mine >= each {
			self.make_room(limits, now, &counts, |other| *other == origin)?;
		} else if !origin.is_ip() && relayed >= limits.relayed {
			self.make_room(limits, now, &counts, |other| !other.is_ip())?;
		} else if self.strangers.len() >= limits.strangers {
			self.make_room(limits, now, &counts, |_| true)?;
		}
		let id = self.next;
		self.next += 1;
		let (held, kept) = watch::channel(());
		self.strangers.insert(
			id,
			Stranger {
				origin,
				since: now,
				_held: held,
			},
		);
		Some(Kind::Stranger { id, kept })
	}

	/// Frees the place of the oldest stranger of the origin with the most places, among those that `may_go`
	/// and are past their tenure. Returns `None` if there is none.
	fn make_room(
		&mut self,
		limits: &Limits,
		now: Instant,
		counts: &BTreeMap<Origin, usize>,
		may_go: impl Fn(&Origin) -> bool,
	) -> Option<()> {
		let oldest = self
			.strangers
			.iter()
			.filter(|(_, stranger)| {
				may_go(&stranger.origin) && stranger.since + limits.tenure <= now
			})
			// `max_by_key` returns the last of equals, which has to be the oldest.
			.rev()
			.max_by_key(|(_, stranger)| counts.get(&stranger.origin).copied().unwrap_or(0))
			.map(|(id, _)| *id)?;
		self.strangers.remove(&oldest);
		Some(())
	}
}

impl Permit {
	/// Returns the origin of the connection.
	pub fn origin(&self) -> Origin {
		self.origin
	}

	/// Returns the IP address of the connection, if it has one.
	pub fn ip(&self) -> Option<IpAddr> {
		self.ip
	}

	/// Waits until the connection loses the place: its time is over, or a newcomer has taken it.
	pub async fn revoked(&mut self) {
		match &mut self.kind {
			Kind::Stranger { kept, .. } => tokio::select! {
				_ = kept.changed() => (),
				() = sleep_until(self.deadline) => (),
			},
			Kind::Expected(_) => sleep_until(self.deadline).await,
		}
	}
}

impl Drop for Permit {
	fn drop(&mut self) {
		let mut state = self.door.lock();
		match &self.kind {
			Kind::Stranger { id, .. } => {
				state.strangers.remove(id);
			}
			Kind::Expected(known) => {
				state.expected_all -= 1;
				if let Some(count) = state.expected.get_mut(known) {
					*count -= 1;
					if *count == 0 {
						state.expected.remove(known);
					}
				}
			}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use std::net::SocketAddr;

	fn ip(text: &str) -> IncomingAddr {
		IncomingAddr::Ip(SocketAddr::new(text.parse().unwrap(), 1))
	}

	fn relay_key(key: u8) -> [u8; 32] {
		*iroh::SecretKey::from_bytes(&[key; 32]).public().as_bytes()
	}

	fn v4(range: usize, host: u8) -> IncomingAddr {
		ip(&format!("10.{}.{}.{host}", range / 256, range % 256))
	}

	/// A door with a clock that only the test moves.
	struct Test {
		door: Door,
		now: Instant,
	}

	impl Test {
		fn new(limits: Limits) -> Self {
			Self {
				door: Door::new(limits),
				now: Instant::now(),
			}
		}

		fn place(&self, from: &IncomingAddr) -> Option<Permit> {
			self.door
				.acquire_at(from, |key| *key == relay_key(99), self.now)
		}

		fn remember(&self, ip: &str) {
			let minute = Duration::from_secs(60);
			self.door.remember_at(ip.parse().unwrap(), minute, self.now);
		}

		fn holds(&self, permit: &Permit) -> bool {
			match &permit.kind {
				Kind::Stranger { id, .. } => self.door.0.lock().strangers.contains_key(id),
				Kind::Expected(_) => true,
			}
		}
	}

	#[test]
	fn a_range_has_four_places_and_a_newcomer_takes_the_oldest_after_its_tenure() {
		let mut test = Test::new(Limits::default());
		let mut places: Vec<_> = (1..=4)
			.map(|host| test.place(&v4(7, host)).unwrap())
			.collect();
		assert!(test.place(&v4(7, 5)).is_none(), "all four are fresh");
		assert!(test.place(&v4(8, 1)).is_some(), "another range has its own");
		test.now += Duration::from_millis(500);
		let _fifth = test.place(&v4(7, 5)).unwrap();
		assert!(!test.holds(&places[0]) && test.holds(&places[1]));
		// A place that was taken away does not become free a second time.
		drop(places.remove(0));
		let _sixth = test.place(&v4(7, 6)).unwrap();
		assert!(!test.holds(&places[0]) && test.holds(&places[1]));
	}

	#[test]
	fn an_ipv6_host_is_one_range_whatever_addresses_it_has() {
		let test = Test::new(Limits::default());
		let from = |range: &str, host: usize| ip(&format!("2001:db8:0:{range}::{host:x}"));
		let places: Vec<_> = (1..=100)
			.filter_map(|host| test.place(&from("1", host)))
			.collect();
		assert_eq!(places.len(), 4);
		assert!(test.place(&from("2", 1)).is_some());
		// An IPv4-mapped IPv6 address counts as an IPv4 address.
		let mapped: Vec<_> = (1..=10)
			.filter_map(|host| test.place(&ip(&format!("::ffff:10.0.7.{host}"))))
			.collect();
		assert_eq!(mapped.len(), 4);
		assert!(test.place(&v4(7, 99)).is_none());
	}

	#[test]
	fn a_full_door_takes_from_the_range_with_the_most_places() {
		let mut test = Test::new(Limits::default());
		let single = test.place(&v4(1_000, 1)).unwrap();
		let crowd: Vec<_> = (0..63)
			.map(|number| test.place(&v4(number / 4, number as u8)).unwrap())
			.collect();
		assert!(
			test.place(&v4(2_000, 1)).is_none(),
			"nobody is past its tenure"
		);
		test.now += Duration::from_secs(1);
		let newcomers: Vec<_> = (0..40)
			.map(|range| test.place(&v4(2_000 + range, 1)))
			.collect();
		assert!(newcomers.iter().all(Option::is_some));
		assert!(test.holds(&single), "it is older than all that gave way");
		assert_eq!(crowd.iter().filter(|place| test.holds(place)).count(), 23);
	}

	#[tokio::test]
	async fn nobody_stays_longer_than_its_time_or_after_it_gave_way() {
		let door = Door::new(Limits {
			strangers: 1,
			time: Duration::from_millis(50),
			tenure: Duration::ZERO,
			..Limits::default()
		});
		let mut first = door.acquire(&v4(1, 1), |_| false).unwrap();
		first.revoked().await;
		let mut second = door.acquire(&v4(2, 1), |_| false).unwrap();
		second.deadline += Duration::from_secs(3_600);
		let _third = door.acquire(&v4(3, 1), |_| false).unwrap();
		second.revoked().await;
	}

	#[test]
	fn who_comes_from_a_remembered_address_needs_no_strangers_place() {
		let mut test = Test::new(Limits {
			remembered: 1,
			..Limits::default()
		});
		test.remember("10.9.9.9");
		test.remember("10.9.9.8");
		let _crowd: Vec<_> = (0..64)
			.map(|range| test.place(&v4(range, 1)).unwrap())
			.collect();
		let places: Vec<_> = (0..10)
			.filter_map(|_| test.place(&ip("10.9.9.9")))
			.collect();
		assert_eq!(places.len(), 8, "the maximum for one address");
		assert!(
			test.place(&ip("10.9.9.8")).is_none(),
			"one address is remembered, no more"
		);
		drop(places);
		assert!(test.place(&ip("10.9.9.9")).is_some());
		test.now += Duration::from_secs(61);
		test.remember("10.9.9.8");
		let expected = test.place(&ip("10.9.9.8")).unwrap();
		assert!(
			matches!(expected.kind, Kind::Expected(_)),
			"the other has expired"
		);
	}

	#[test]
	fn relays_have_a_share_of_the_places_and_a_key_one_of_it() {
		let test = Test::new(Limits::default());
		let relayed = |key: u8| IncomingAddr::Relay {
			url: "http://relay.example".parse().unwrap(),
			endpoint_id: iroh::PublicKey::from_bytes(&relay_key(key)).unwrap(),
		};
		let place = test.place(&relayed(0)).unwrap();
		assert!(test.place(&relayed(0)).is_none());
		let places: Vec<_> = (1..=40)
			.filter_map(|key| test.place(&relayed(key)))
			.collect();
		assert_eq!(places.len(), 15);
		assert!(test.place(&v4(1, 1)).is_some());
		let known: Vec<_> = (0..10).filter_map(|_| test.place(&relayed(99))).collect();
		assert_eq!(known.len(), 8, "a key that is known needs none of them");
		drop(place);
		assert!(test.place(&relayed(98)).is_some());
	}
}
