//! The customer's side.

use crate::{
	ALPN, MAX_STREAMS, carry,
	dial::{DialRule, Undialable},
	probe::PROBE,
	wire::{self, CLOSE_DONE, Open, Purpose, Refusal, WireError},
};
use iroh::{
	Endpoint, EndpointAddr, RelayMode, RelayUrl, SecretKey,
	endpoint::{
		Connection, ConnectionError, QuicTransportConfig, RecvStream, SendStream, VarInt, presets,
	},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
	net::{TcpListener, TcpStream},
	sync::Semaphore,
	task::JoinSet,
	time::{sleep, timeout},
};

/// Longest that connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Longest that the answer to the first message of a stream may take. The agent connects to the
/// container before it answers.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// How long a stream has to stay open where nothing is answered.
const STAYS_OPEN: Duration = Duration::from_secs(2);
/// Most local connections that are carried at a time: as many as the agent takes. Others wait.
const MAX_FORWARDED: usize = MAX_STREAMS as usize;
/// How long the socket waits after an error that concerns it and not one connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where an order's container is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
	/// Genesis hash of the chain.
	pub genesis: [u8; 32],
	/// The order.
	pub order: u32,
	/// The key of the worker's agent.
	pub agent: [u8; 32],
	/// Its addresses.
	pub addresses: Vec<SocketAddr>,
	/// URLs of the relays that it can be reached through, as its record names them.
	pub relays: Vec<String>,
	/// Limits on the addresses and relays above: they come from a stranger.
	pub rule: DialRule,
}

/// Why there is no tunnel, or no longer one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TunnelError {
	/// The agent's key is not a key, or nothing of its record may be dialed.
	#[error(transparent)]
	Undialable(#[from] Undialable),
	/// No UDP socket can be had.
	#[error("cannot open a socket: {0}")]
	Bind(String),
	/// The agent does not answer, at any address.
	#[error("cannot connect to the agent: {0}")]
	Unreachable(String),
	/// The agent answers, and refuses.
	#[error("the agent refuses: {0}")]
	Refused(Refusal),
	/// The agent says what cannot be understood.
	#[error("the agent does not speak this protocol: {0}")]
	Protocol(String),
	/// There was a connection, and there is none now.
	#[error("the connection to the agent is lost: {0}")]
	Lost(String),
	/// This side closed it.
	#[error("the tunnel is closed")]
	Closed,
	/// The local port cannot be listened on.
	#[error("cannot accept local connections: {0}")]
	Local(String),
}

impl From<ConnectionError> for TunnelError {
	fn from(error: ConnectionError) -> Self {
		match error {
			ConnectionError::LocallyClosed => Self::Closed,
			ConnectionError::ApplicationClosed(close) => {
				match Refusal::of_close_code(close.error_code.into_inner()) {
					Some(refusal) => Self::Refused(refusal),
					None => Self::Lost("the agent closed it".into()),
				}
			}
			ConnectionError::TimedOut => Self::Lost("the agent does not answer any more".into()),
			error => Self::Lost(error.to_string()),
		}
	}
}

/// A connection to the worker's agent, over which the container of an order is reached.
#[derive(Debug)]
pub struct Tunnel {
	connection: Connection,
	open: Open,
	/// The endpoint, where it is this tunnel's own.
	endpoint: Option<Endpoint>,
}

impl Tunnel {
	/// Connects with the client's ed25519 secret and asks whether the order is served to it: on `port`
	/// of the container, or on the one that the agent takes for it.
	pub async fn open(
		secret: &[u8; 32],
		target: &Target,
		port: Option<u16>,
	) -> Result<Self, TunnelError> {
		let addr = address(target)?;
		let endpoint = bind(secret, target.rule.relays.clone()).await?;
		let opened = async {
			let connection = connect(&endpoint, addr).await?;
			Self::on(connection, target.genesis, target.order, port).await
		}
		.await;
		match opened {
			Ok(tunnel) => Ok(Self {
				endpoint: Some(endpoint),
				..tunnel
			}),
			Err(error) => {
				endpoint.close().await;
				Err(error)
			}
		}
	}

	/// The same over a connection, with ALPN [`ALPN`], of an endpoint that there is already.
	pub async fn on(
		connection: Connection,
		genesis: [u8; 32],
		order: u32,
		port: Option<u16>,
	) -> Result<Self, TunnelError> {
		let open = Open {
			genesis,
			order,
			port,
			purpose: Purpose::Connect,
		};
		let asked = Open {
			purpose: Purpose::Ask,
			..open
		};
		begin(&connection, &asked).await?;
		Ok(Self {
			connection,
			open,
			endpoint: None,
		})
	}

	/// One stream to the container's port.
	pub async fn stream(&self) -> Result<(SendStream, RecvStream), TunnelError> {
		begin(&self.connection, &self.open).await
	}

	/// Whether the container answers: with any byte, or by staying open for two seconds. An error says why
	/// it was not even reached.
	pub async fn answers(&self) -> Result<bool, TunnelError> {
		let (mut send, mut recv) = self.stream().await?;
		if send.write_all(PROBE).await.is_err() {
			return Ok(false);
		}
		match timeout(STAYS_OPEN, recv.read(&mut [0])).await {
			Ok(Ok(Some(length))) => Ok(length > 0),
			Ok(Ok(None) | Err(_)) => Ok(false),
			// Nothing was said, and nothing broke: not even the way there.
			Err(_) => Ok(self.is_open()),
		}
	}

	/// Accepts local TCP connections and carries each over a stream of its own, until the tunnel closes:
	/// it only returns with the reason. A connection that the container does not take is closed.
	pub async fn forward(&self, listener: TcpListener) -> Result<(), TunnelError> {
		let places = Arc::new(Semaphore::new(MAX_FORWARDED));
		let mut carried = JoinSet::new();
		loop {
			let place = places.clone().acquire_owned().await;
			let accepted = tokio::select! {
				accepted = listener.accept() => accepted,
				reason = self.closed() => return Err(reason),
				Some(ended) = carried.join_next() => {
					if let Ok(Err(error)) = ended {
						return Err(error);
					}
					continue;
				}
			};
			match accepted {
				Ok((tcp, from)) => {
					let (connection, open) = (self.connection.clone(), self.open);
					carried.spawn(async move {
						let _place = place;
						forward_one(tcp, from, &connection, &open).await
					});
				}
				Err(error) if is_of_one_connection(&error) => (),
				Err(error) if is_passing(&error) => {
					tracing::warn!(%error, "cannot accept a local connection");
					sleep(ACCEPT_PAUSE).await;
				}
				Err(error) => return Err(TunnelError::Local(error.to_string())),
			}
		}
	}

	/// Waits until the tunnel is closed and says why.
	pub async fn closed(&self) -> TunnelError {
		self.connection.closed().await.into()
	}

	/// Whether nobody has closed it yet.
	pub fn is_open(&self) -> bool {
		self.connection.close_reason().is_none()
	}

	/// Whether what is sent goes over a relay now, rather than directly.
	pub fn is_relayed(&self) -> bool {
		let paths = self.connection.paths();
		paths
			.iter()
			.any(|path| path.is_selected() && path.is_relay())
	}

	/// Closes the tunnel.
	pub async fn close(self) {
		self.connection.close(CLOSE_DONE.into(), b"");
		if let Some(endpoint) = &self.endpoint {
			endpoint.close().await;
		}
	}
}

/// Returns what may be dialed of the agent's record. Relays that are not URLs are left out.
fn address(target: &Target) -> Result<EndpointAddr, Undialable> {
	let relays = target.relays.iter().filter_map(|url| url.parse().ok());
	target
		.rule
		.apply(&target.agent, target.addresses.iter().copied(), relays)
}

/// An endpoint whose identity is the client's key. It accepts nothing, looks nothing up, and uses no
/// relays but those that are given.
async fn bind(secret: &[u8; 32], relays: Vec<RelayUrl>) -> Result<Endpoint, TunnelError> {
	// The window of a stream stays as it is, 1.25 MB: noq 1.4 gives up a connection when more than 2,048
	// packets of a stream wait to be read, and with a bigger window one lost packet can make that many.
	let transport = QuicTransportConfig::builder()
		.max_concurrent_bidi_streams(VarInt::from_u32(0))
		.max_concurrent_uni_streams(VarInt::from_u32(0))
		.keep_alive_interval(Duration::from_secs(5))
		.build();
	let relays = if relays.is_empty() {
		RelayMode::Disabled
	} else {
		RelayMode::custom(relays)
	};
	Endpoint::builder(presets::Minimal)
		.secret_key(SecretKey::from_bytes(secret))
		.relay_mode(relays)
		.transport_config(transport)
		.bind()
		.await
		.map_err(|error| TunnelError::Bind(error.to_string()))
}

async fn connect(endpoint: &Endpoint, addr: EndpointAddr) -> Result<Connection, TunnelError> {
	match timeout(CONNECT_TIME, endpoint.connect(addr, ALPN)).await {
		Ok(Ok(connection)) => Ok(connection),
		Ok(Err(error)) => Err(TunnelError::Unreachable(format!("{error:#}"))),
		Err(_) => Err(TunnelError::Unreachable(format!(
			"no answer in {} s",
			CONNECT_TIME.as_secs()
		))),
	}
}

/// Opens a stream and waits for the agent's answer.
async fn begin(
	connection: &Connection,
	open: &Open,
) -> Result<(SendStream, RecvStream), TunnelError> {
	let begun = timeout(ANSWER_TIME, async {
		let (mut send, mut recv) = connection.open_bi().await?;
		wire::write(&mut send, open)
			.await
			.map_err(|error| broken(connection, error))?;
		let answer: Result<(), Refusal> = wire::read(&mut recv)
			.await
			.map_err(|error| broken(connection, error))?;
		answer.map_err(TunnelError::Refused)?;
		Ok((send, recv))
	});
	begun
		.await
		.unwrap_or_else(|_| Err(TunnelError::Lost("the agent does not answer".into())))
}

/// Why a stream broke: because the connection did, where that is so.
fn broken(connection: &Connection, error: WireError) -> TunnelError {
	match connection.close_reason() {
		Some(reason) => reason.into(),
		None if error.is_garbage() => TunnelError::Protocol(error.to_string()),
		None => TunnelError::Lost(error.to_string()),
	}
}

/// Carries one local connection. An error is one that ends the tunnel.
async fn forward_one(
	tcp: TcpStream,
	from: SocketAddr,
	connection: &Connection,
	open: &Open,
) -> Result<(), TunnelError> {
	match begin(connection, open).await {
		Ok((send, recv)) => {
			if let Err(error) = carry(tcp, send, recv).await {
				tracing::debug!(%from, %error, "a local connection broke");
			}
			Ok(())
		}
		Err(error) => {
			// It was not connected: a reset says so better than an empty answer.
			let _ = tcp.set_zero_linger();
			if matches!(&error, TunnelError::Refused(refusal) if refusal.is_final()) {
				return Err(error);
			}
			tracing::warn!(%from, "a local connection is closed: {error}");
			Ok(())
		}
	}
}

/// Whether the error of `accept` is of the connection that was to be accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
	use std::io::ErrorKind::*;
	matches!(
		error.kind(),
		ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted
	)
}

/// Whether the error of `accept` may go by: the process or the system has too many files open.
fn is_passing(error: &std::io::Error) -> bool {
	const ENFILE: i32 = 23;
	const EMFILE: i32 = 24;
	matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
		|| error.kind() == std::io::ErrorKind::OutOfMemory
}
