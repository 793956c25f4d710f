//! A network line for tests: a forwarder between an address it listens on and a target, for UDP or TCP.
//!
//! A client that connects to [`Line::address`] reaches the target as over a line with a delay, jitter, a
//! rate, and a chance that datagrams are lost or arrive twice. The settings can be changed, and the line
//! cut and mended, while traffic passes through. It needs no privileges and no kernel module. Both
//! directions have the same settings and are independent of each other.
//!
//! ```
//! # use kaisar_test_support::line::{Cut, Line, Settings};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! # let target = "127.0.0.1:9".parse().unwrap();
//! let settings = Settings {
//!     delay: Duration::from_millis(20),
//!     jitter: Duration::from_millis(5),
//!     loss: 0.01,
//!     rate: Some(50_000_000),
//!     ..Default::default()
//! };
//! let line = Line::udp("127.0.0.1:0".parse().unwrap(), target, settings, 1).await?;
//! // … connect a client to `line.address()`, then:
//! line.cut(Cut::Stall);
//! line.mend();
//! assert_eq!(line.counters().up.lost, 0);
//! # Ok(()) }
//! ```
//!
//! # UDP
//!
//! Each client address gets a socket of its own towards the target, so that the target tells clients
//! apart, as QUIC needs. Jitter is drawn anew for each datagram and so reorders them. A cut line drops
//! all datagrams, those on their way included. The kernel may lose more if the machine is too busy to
//! read them; that is not counted.
//!
//! # TCP
//!
//! TCP loses no bytes: it sends them again, and all that was sent after them waits. So a piece that is
//! lost by chance arrives late by [`Settings::resend`], and all behind it as well. Duplicates do not
//! exist. A cut either stalls the line, so that bytes stop and go on once it is mended, or resets all
//! connections ([`Cut`]).
//!
//! # Repeatability
//!
//! Chances are drawn from a generator with the seed given, in the order in which datagrams (UDP) or
//! pieces (TCP) reach the line. A test that sends in a fixed order sees the same ones lost every time.
//! Times are the machine's, to the millisecond: a busy machine makes a line slower, never faster.

mod shaper;
mod tcp;
mod udp;

use parking_lot::Mutex;
use shaper::Shaper;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
	net::{TcpListener, UdpSocket},
	sync::watch,
	task::AbortHandle,
};

/// The quality of a line, the same in both directions. The default is a perfect line.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
	/// Time from one end to the other.
	pub delay: Duration,
	/// Upper bound of the random addition to the delay.
	pub jitter: Duration,
	/// Probability that a datagram is lost, or a piece of TCP sent again; 0 to 1.
	pub loss: f64,
	/// Probability that a datagram arrives twice; 0 to 1.
	pub duplication: f64,
	/// Bits a second in each direction; unlimited if `None`.
	pub rate: Option<u64>,
	/// Longest time in the queue for the rate; a datagram that would wait longer is dropped. TCP is slowed
	/// down instead.
	pub queue: Duration,
	/// Extra delay of a lost piece of TCP.
	pub resend: Duration,
}

impl Default for Settings {
	fn default() -> Self {
		Self {
			delay: Duration::ZERO,
			jitter: Duration::ZERO,
			loss: 0.0,
			duplication: 0.0,
			rate: None,
			queue: Duration::from_millis(200),
			resend: Duration::from_millis(200),
		}
	}
}

impl Settings {
	/// # Panics
	///
	/// If a probability is not between 0 and 1, or the rate is 0 ([`Line::cut`] stops a line).
	fn check(&self) {
		for chance in [self.loss, self.duplication] {
			assert!((0.0..=1.0).contains(&chance), "not a probability: {chance}");
		}
		assert_ne!(self.rate, Some(0), "the rate of a line is 0");
	}
}

/// A way of cutting a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
	/// Datagrams are dropped. TCP connections stay open and nothing passes through them; new ones are
	/// accepted and reach the target once the line is mended.
	Stall,
	/// Datagrams are dropped. TCP connections are reset, new ones as well.
	Reset,
}

/// The traffic of a line since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
	/// From clients to the target.
	pub up: Direction,
	/// From the target to clients.
	pub down: Direction,
}

/// The traffic of one direction, in datagrams (UDP) or pieces (TCP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
	/// Number that reached the line.
	pub taken: u64,
	/// Number that arrived at the other end, duplicates included.
	pub forwarded: u64,
	/// Bytes that arrived at the other end, duplicates included.
	pub bytes: u64,
	/// Number lost by chance; for TCP, number sent again.
	pub lost: u64,
	/// Number dropped because the line was cut.
	pub cut: u64,
	/// Number dropped because the queue for the rate was full.
	pub overflowed: u64,
	/// Number that arrived a second time.
	pub duplicated: u64,
	/// Number that arrived after one that had reached the line later.
	pub reordered: u64,
}

/// A direction, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
	Up = 0,
	Down = 1,
}

/// The part of a line that changes while it is in use.
#[derive(Clone, Debug)]
struct Control {
	settings: Settings,
	cut: Option<Cut>,
}

/// State shared by the tasks of a line.
struct Shared {
	target: SocketAddr,
	control: watch::Sender<Control>,
	lanes: [Mutex<Lane>; 2],
}

/// One direction.
struct Lane {
	shaper: Shaper,
	counters: Direction,
}

impl Shared {
	fn lane(&self, way: Way) -> parking_lot::MutexGuard<'_, Lane> {
		self.lanes[way as usize].lock()
	}

	fn is_cut(&self) -> bool {
		self.control.borrow().cut.is_some()
	}
}

/// A line in use. It ends, with all connections through it, when it is dropped.
pub struct Line {
	address: SocketAddr,
	shared: Arc<Shared>,
	task: AbortHandle,
}

impl Line {
	/// Forwards datagrams that arrive at `listen` to `target`, and back. `seed` makes losses repeatable.
	pub async fn udp(
		listen: SocketAddr,
		target: SocketAddr,
		settings: Settings,
		seed: u64,
	) -> io::Result<Self> {
		let socket = UdpSocket::bind(listen).await?;
		let address = socket.local_addr()?;
		let shared = Self::shared(target, settings, seed);
		let task = tokio::spawn(udp::run(shared.clone(), socket)).abort_handle();
		Ok(Self {
			address,
			shared,
			task,
		})
	}

	/// Forwards connections made to `listen` to `target`. `seed` makes losses repeatable.
	pub async fn tcp(
		listen: SocketAddr,
		target: SocketAddr,
		settings: Settings,
		seed: u64,
	) -> io::Result<Self> {
		let listener = TcpListener::bind(listen).await?;
		let address = listener.local_addr()?;
		let shared = Self::shared(target, settings, seed);
		let task = tokio::spawn(tcp::run(shared.clone(), listener)).abort_handle();
		Ok(Self {
			address,
			shared,
			task,
		})
	}

	fn shared(target: SocketAddr, settings: Settings, seed: u64) -> Arc<Shared> {
		settings.check();
		let lane = |way: Way| {
			Mutex::new(Lane {
				shaper: Shaper::new(seed, way as u64),
				counters: Direction::default(),
			})
		};
		let control = Control {
			settings,
			cut: None,
		};
		Arc::new(Shared {
			target,
			control: watch::Sender::new(control),
			lanes: [lane(Way::Up), lane(Way::Down)],
		})
	}

	/// Returns the address that clients connect to.
	pub fn address(&self) -> SocketAddr {
		self.address
	}

	/// Changes the quality for traffic that reaches the line from now on.
	pub fn set(&self, settings: Settings) {
		settings.check();
		self.shared
			.control
			.send_modify(|control| control.settings = settings);
	}

	/// Cuts the line until it is mended.
	pub fn cut(&self, how: Cut) {
		self.shared
			.control
			.send_modify(|control| control.cut = Some(how));
	}

	/// Lets traffic through again.
	pub fn mend(&self) {
		self.shared
			.control
			.send_modify(|control| control.cut = None);
	}

	/// Returns the traffic so far.
	pub fn counters(&self) -> Counters {
		Counters {
			up: self.shared.lane(Way::Up).counters,
			down: self.shared.lane(Way::Down).counters,
		}
	}
}

impl Drop for Line {
	fn drop(&mut self) {
		self.task.abort();
	}
}
