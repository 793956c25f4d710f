//! Measurement of a line before registration, by another operator's machine.
//!
//! A check measures bandwidth with a committee, for a registered worker. Before that, an operator can only
//! guess the claim. Here a friend's machine takes the role of the committee: it sends what a committee would
//! send ([`super::bandwidth`]) and returns the measured rates. It does so for clients with its token, one at
//! a time, at a rate and for a time that its operator set. Strangers get a handshake and nothing else.

use super::{
	bandwidth::{self, Counter, MeasureWindow, Offer, STREAMS},
	network::{Located, Network, Unread},
	wire::{self, MAX_REPLY, MAX_REQUEST},
};
use crate::trial::{
	hash::Hash,
	judge::{Rates, line_of_measured},
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use codec::{Decode, DecodeWithMemTracking, Encode};
use iroh::{
	Endpoint, EndpointAddr, PublicKey,
	endpoint::{Connection, Incoming, RecvStream, SendStream},
};
use kaisar_math::tiers;
use rand::{TryRngCore, rngs::OsRng};
use std::{
	fmt::{self, Display, Formatter},
	net::SocketAddr,
	str::FromStr,
	sync::Arc,
	time::Duration,
};
use tokio::{
	sync::Semaphore,
	task::JoinSet,
	time::{Instant, sleep, timeout},
};

const ALPN: &[u8] = b"kaisar/measure/1";
/// Maximum length of a measurement, in seconds.
const MOST_SECONDS: u8 = 15;
/// Requested length of a measurement, in seconds.
const SECONDS: u8 = 5;
/// Maximum number of connections.
const CONNECTIONS: usize = 8;
/// Time for a connection to show its token.
const TOKEN_TIME: Duration = Duration::from_secs(5);
/// Timeout of a message.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Time from the opening of the streams to the measurement.
const LEAD: Duration = Duration::from_millis(300);
/// Mb/s offered to a line of unknown speed: more than the highest tier takes.
pub const UNKNOWN_MBPS: u32 = 2_000;
/// Number of requests to a peer that measures another line.
const TRIES: u32 = 20;
/// Pause between these requests.
const BUSY_WAIT: Duration = Duration::from_secs(3);

type Token = [u8; 16];

fn random<const N: usize>() -> Result<[u8; N]> {
	let mut bytes = [0; N];
	OsRng
		.try_fill_bytes(&mut bytes)
		.map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
	Ok(bytes)
}

/// A peer that measures: its key, its token and its address, as `KEY.TOKEN@HOST:PORT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerName {
	key: Hash,
	token: Token,
	address: SocketAddr,
}

impl Display for PeerName {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let (key, token) = (hex::encode(self.key), hex::encode(self.token));
		write!(to, "{key}.{token}@{}", self.address)
	}
}

impl fmt::Debug for PeerName {
	/// Without the token.
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		write!(to, "{}@{}", hex::encode(self.key), self.address)
	}
}

/// The text is not the name of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected KEY.TOKEN@ADDRESS:PORT, from the peer's `kaisar-agent serve-measure`")]
pub struct BadPeer;

impl FromStr for PeerName {
	type Err = BadPeer;

	fn from_str(text: &str) -> Result<Self, BadPeer> {
		let (secrets, address) = text.trim().split_once('@').ok_or(BadPeer)?;
		let (key, token) = secrets.split_once('.').ok_or(BadPeer)?;
		let mut name = Self {
			key: [0; 32],
			token: [0; 16],
			address: address.parse().map_err(|_| BadPeer)?,
		};
		hex::decode_to_slice(key, &mut name.key).map_err(|_| BadPeer)?;
		hex::decode_to_slice(token, &mut name.token).map_err(|_| BadPeer)?;
		Ok(name)
	}
}

/// Rate that is offered to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
enum Offered {
	/// This number of Mb/s, all wanted back, to measure the line's speed.
	All(u32),
	/// The offer of a committee to a worker with this claim, down and up.
	Claim(u32, u32),
}

/// A request to measure.
#[derive(Clone, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
struct Ask {
	token: Token,
	offered: Offered,
	seconds: u8,
}

/// A peer's answer to a request that it grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
struct Granted {
	/// Maximum that it offers, in Mb/s.
	most_mbps: u32,
	seconds: u8,
}

/// Reason why a peer refuses to measure.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, thiserror::Error,
)]
enum Denied {
	#[error("the peer does not know this token: ask its operator for a new one")]
	Token,
	#[error("the peer is measuring another line: try again later")]
	Busy,
	#[error("the claim is below the lowest tier, so there is nothing to measure")]
	NoTier,
}

/// An endpoint that measures the lines of clients with its token.
pub struct Host {
	endpoint: Endpoint,
	located: Located,
	token: Token,
	most_mbps: u32,
}

impl Host {
	/// Binds to an address, with a new key and token. It offers at most `most_mbps` Mb/s.
	pub async fn bind(address: SocketAddr, most_mbps: u32) -> Result<Self> {
		ensure!(most_mbps > 0, "--mbps must be at least 1");
		let network = Network {
			bind: Some(address),
			map_ports: false,
			publish_private: true,
			..Network::default()
		};
		let endpoint = network.endpoint(&random()?, &[ALPN]).await?;
		Ok(Self {
			located: Located::new(&network, &endpoint),
			endpoint,
			token: random()?,
			most_mbps,
		})
	}

	/// Returns the names to give to other operators, one for each address of this machine.
	pub fn names(&self) -> Vec<PeerName> {
		let mut addresses = self.located.addresses(&self.endpoint).here;
		// The loopback address is useless to others, unless there is no other address.
		if addresses.iter().any(|address| !address.ip().is_loopback()) {
			addresses.retain(|address| !address.ip().is_loopback());
		}
		addresses
			.into_iter()
			.map(|address| self.name_at(address))
			.collect()
	}

	/// Returns the name with a given address, e.g. the one that a router forwards.
	pub fn name_at(&self, address: SocketAddr) -> PeerName {
		PeerName {
			key: *self.endpoint.id().as_bytes(),
			token: self.token,
			address,
		}
	}

	/// Serves for the given time.
	pub async fn serve(self, time: Duration) {
		let places = Arc::new(Semaphore::new(CONNECTIONS));
		let measuring = Arc::new(Semaphore::new(1));
		let (token, most_mbps) = (self.token, self.most_mbps);
		let mut tasks = JoinSet::new();
		let serving = async {
			while let Some(incoming) = self.endpoint.accept().await {
				while tasks.try_join_next().is_some() {}
				// Send nothing more to an address before it is validated.
				if !incoming.remote_addr_validated() {
					let _ = incoming.retry();
					continue;
				}
				let Ok(place) = places.clone().try_acquire_owned() else {
					incoming.refuse();
					continue;
				};
				let measuring = measuring.clone();
				tasks.spawn(async move {
					let _place = place;
					if let Err(error) = host(incoming, token, most_mbps, &measuring).await {
						tracing::info!("a line was not measured: {error:#}");
					}
				});
			}
		};
		let _ = timeout(time, serving).await;
		tasks.shutdown().await;
		self.endpoint.close().await;
	}
}

/// Serves one connection. Each measurement is requested by a message of its own.
async fn host(
	incoming: Incoming,
	token: Token,
	most_mbps: u32,
	measuring: &Semaphore,
) -> Result<()> {
	let connection = timeout(TOKEN_TIME, incoming.accept()?)
		.await
		.context("the handshake timed out")??;
	let mut known = false;
	loop {
		let limit = if known { MESSAGE_TIME * 2 } else { TOKEN_TIME };
		let asked = async {
			let (send, mut recv) = connection.accept_bi().await?;
			let ask: Ask = wire::read(&mut recv, MAX_REQUEST).await?;
			anyhow::Ok((send, ask))
		};
		let (mut send, ask) = match timeout(limit, asked).await {
			Ok(Ok(asked)) => asked,
			// The client has all its measurements.
			_ if known => return Ok(()),
			Ok(Err(error)) => return Err(error),
			Err(_) => bail!("the client sent no token within {} s", TOKEN_TIME.as_secs()),
		};
		// Hashes compare in constant time.
		known = blake3::hash(&ask.token) == blake3::hash(&token);
		if known {
			Unread::default().widen(&connection);
		}
		let permit = measuring.try_acquire();
		let offer = offer(ask.offered, most_mbps);
		let denied = match (&permit, &offer) {
			_ if !known => Some(Denied::Token),
			(Err(_), _) => Some(Denied::Busy),
			(_, None) => Some(Denied::NoTier),
			_ => None,
		};
		let granted = Granted {
			most_mbps,
			seconds: ask.seconds.clamp(1, MOST_SECONDS),
		};
		let reply = denied.map_or(Ok(granted), Err);
		timeout(MESSAGE_TIME, wire::write(&mut send, &reply)).await??;
		let (Ok(granted), Some(offer)) = (reply, offer) else {
			let _ = send.finish();
			if !known {
				let _ = timeout(MESSAGE_TIME, send.stopped()).await;
				bail!("the client sent a wrong token");
			}
			continue;
		};
		let rates = offer_to(&connection, offer, granted.seconds).await?;
		tracing::info!(
			peer = %connection.remote_id(),
			down_mbps = rates.down_mbps,
			up_mbps = rates.up_mbps,
			"measured a line"
		);
		timeout(
			MESSAGE_TIME,
			wire::write(&mut send, &(rates.down_mbps, rates.up_mbps)),
		)
		.await??;
		let _ = send.finish();
	}
}

/// Returns the offer of each stream; `None` if a claim is below the lowest tier.
fn offer(offered: Offered, most_mbps: u32) -> Option<Offer> {
	match offered {
		Offered::All(mbps) => {
			let mbps = mbps.clamp(1, most_mbps);
			let streams = STREAMS as u64;
			Some(Offer::steady(u64::from(mbps) * 1_000_000 / 8 / streams))
		}
		Offered::Claim(down, up) => Offer::for_claim(down.min(most_mbps), up.min(most_mbps), 1),
	}
}

/// Runs the committee's side of a measurement.
async fn offer_to(connection: &Connection, offer: Offer, seconds: u8) -> Result<Rates> {
	let mut streams = Vec::new();
	for number in 0..STREAMS as u64 {
		let opened = async {
			let (send, mut recv) = connection.accept_bi().await?;
			let _: u8 = wire::read(&mut recv, MAX_REQUEST).await?;
			anyhow::Ok((number, send, recv))
		};
		streams.push(timeout(MESSAGE_TIME, opened).await??);
	}
	let secret: Hash = random()?;
	let window = MeasureWindow::new(Instant::now() + LEAD, Duration::from_secs(seconds.into()));
	let counter = Arc::new(Counter::default());
	let all = streams.into_iter().map(|(number, send, recv)| {
		let counter = counter.clone();
		bandwidth::measure(recv, send, secret, number, window, offer, counter)
	});
	for measured in futures::future::join_all(all).await {
		measured?;
	}
	Ok(counter.rates(window, 1))
}

/// A line, measured by a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
	/// Download to claim, in Mb/s.
	pub down_mbps: u32,
	/// Upload to claim, in Mb/s.
	pub up_mbps: u32,
	/// Tier of that claim, found by this peer in place of a committee.
	pub tier: u8,
	/// Maximum that the peer offered, in Mb/s; the line may be faster.
	pub offered_mbps: u32,
}

/// Lets a peer measure this machine's line. `link_mbps` is an upper bound of its speed, if one is known.
pub async fn measure(peer: &PeerName, link_mbps: Option<u32>) -> Result<Line> {
	let network = Network {
		port: 0,
		map_ports: false,
		..Network::default()
	};
	let endpoint = network.endpoint(&random()?, &[]).await?;
	let measured = measure_from(&endpoint, peer, link_mbps.unwrap_or(UNKNOWN_MBPS)).await;
	endpoint.close().await;
	measured.with_context(|| format!("the peer at {} did not measure", peer.address))
}

async fn measure_from(endpoint: &Endpoint, peer: &PeerName, expected: u32) -> Result<Line> {
	let key = PublicKey::from_bytes(&peer.key).context("the peer's name has an invalid key")?;
	let addr = EndpointAddr::new(key).with_ip_addr(peer.address);
	let connection = timeout(MESSAGE_TIME, endpoint.connect(addr, ALPN))
		.await
		.context("it does not answer: check its address, and that its port is open for UDP")??;
	Unread::default().widen(&connection);
	let ask = |offered| ask(&connection, peer.token, offered);
	let (first, most_mbps) = ask(Offered::All(expected)).await?;
	let offered_mbps = expected.min(most_mbps);
	let line = |rates: Rates| {
		let down_mbps = line_of_measured(rates.down_mbps).min(offered_mbps);
		let up_mbps = line_of_measured(rates.up_mbps).min(offered_mbps);
		Line {
			down_mbps,
			up_mbps,
			tier: tiers::bandwidth(down_mbps, up_mbps),
			offered_mbps,
		}
	};
	let found = line(first);
	if found.tier == 0 {
		connection.close(0u32.into(), b"done");
		return Ok(found);
	}
	// Test whether the line carries a committee's offer for that claim all the time.
	let (second, _) = ask(Offered::Claim(found.down_mbps, found.up_mbps)).await?;
	connection.close(0u32.into(), b"done");
	let shown = line(second);
	Ok(if shown.tier >= found.tier {
		found
	} else {
		shown
	})
}

/// Requests one measurement, again while the peer is busy, and runs the worker's side of it. Returns the
/// rates that the peer measured, and the maximum that it offers.
async fn ask(connection: &Connection, token: Token, offered: Offered) -> Result<(Rates, u32)> {
	for _ in 0..TRIES {
		let (mut send, mut recv) = timeout(MESSAGE_TIME, connection.open_bi()).await??;
		let ask = Ask {
			token,
			offered,
			seconds: SECONDS,
		};
		timeout(MESSAGE_TIME, wire::write(&mut send, &ask)).await??;
		let reply: Result<Granted, Denied> =
			timeout(MESSAGE_TIME, wire::read(&mut recv, MAX_REPLY))
				.await
				.with_context(|| format!("no answer within {} s", MESSAGE_TIME.as_secs()))??;
		let granted = match reply {
			Ok(granted) => granted,
			Err(Denied::Busy) => {
				sleep(BUSY_WAIT).await;
				continue;
			}
			Err(denied) => bail!(denied),
		};
		let mut echoing = JoinSet::new();
		for number in 0..STREAMS as u8 {
			let (mut send, recv): (SendStream, RecvStream) =
				timeout(MESSAGE_TIME, connection.open_bi()).await??;
			timeout(MESSAGE_TIME, wire::write(&mut send, &number)).await??;
			echoing.spawn(bandwidth::echo(recv, send));
		}
		let limit = Duration::from_secs(granted.seconds.min(MOST_SECONDS).into()) + MESSAGE_TIME;
		let (down_mbps, up_mbps) = timeout(limit, wire::read(&mut recv, MAX_REPLY))
			.await
			.context("the measured rates did not come in time")??;
		let rates = Rates { down_mbps, up_mbps };
		return Ok((rates, granted.most_mbps));
	}
	bail!(
		"it was busy with other lines for {} s: try again later",
		u64::from(TRIES) * BUSY_WAIT.as_secs()
	)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_peers_name_parses_as_it_is_printed() {
		let name = PeerName {
			key: [0xab; 32],
			token: [0xcd; 16],
			address: "192.0.2.7:9701".parse().unwrap(),
		};
		assert_eq!(name.to_string().parse(), Ok(name));
		assert_eq!(format!(" {name}\n").parse(), Ok(name));
		assert!(!format!("{name:?}").contains("cdcd"), "no secret in a log");
		for bad in ["", "@", ".@1.2.3.4:5", "ab.cd@192.0.2.7:1", "192.0.2.7:1"] {
			assert_eq!(bad.parse::<PeerName>(), Err(BadPeer), "{bad}");
		}
	}

	#[test]
	fn an_offer_is_at_most_what_the_operator_allows() {
		for mbps in [0, 1, 100, 101, u32::MAX] {
			let within = Offered::All(mbps.clamp(1, 100));
			assert_eq!(offer(Offered::All(mbps), 100), offer(within, 100));
		}
		assert_ne!(offer(Offered::All(50), 100), offer(Offered::All(100), 100));
		let tier = |down, up, most| offer(Offered::Claim(down, up), most);
		assert_eq!(
			tier(2_000, 2_000, 500),
			tier(400, 300, 500),
			"a lower tier's line"
		);
		assert_eq!(tier(2_000, 2_000, 74), None);
	}
}
