//! Client side of the tunnel, which runs at the customer.

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

/// Timeout of connecting to the agent.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Timeout of the answer to the first message of a stream. The agent connects to the container before it
/// answers.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Time for which a stream without an answer has to stay open.
const STAYS_OPEN: Duration = Duration::from_secs(2);
/// Maximum number of local connections that are carried at a time: as many as the agent accepts. Others
/// wait.
const MAX_FORWARDED: usize = MAX_STREAMS as usize;
/// Pause of the local socket after an error of its own, rather than of one connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Location of an order's container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
	/// Genesis hash of the chain.
	pub genesis: [u8; 32],
	/// Id of the order.
	pub order: u32,
	/// Key of the worker's agent.
	pub agent: [u8; 32],
	/// Addresses of the agent.
	pub addresses: Vec<SocketAddr>,
	/// URLs of the relays in the agent's record.
	pub relays: Vec<String>,
	/// Limits on these addresses and relays, which come from a stranger.
	pub rule: DialRule,
}

/// Reason why a tunnel cannot be opened, or was closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TunnelError {
	/// The agent's key is invalid, or its record has no address that may be dialed.
	#[error(transparent)]
	Undialable(#[from] Undialable),
	/// No UDP socket can be opened.
	#[error("cannot open a UDP socket: {0}")]
	Bind(String),
	/// The agent does not answer at any address.
	#[error("cannot connect to the agent: {0}")]
	Unreachable(String),
	/// The agent refuses the connection or the stream.
	#[error("the agent refuses: {0}")]
	Refused(Refusal),
	/// The agent's answer is not a message of the protocol.
	#[error("the agent does not speak this protocol: {0}")]
	Protocol(String),
	/// The connection broke.
	#[error("the connection to the agent is lost: {0}")]
	Lost(String),
	/// This side closed the tunnel.
	#[error("the tunnel is closed")]
	Closed,
	/// The local socket cannot accept connections.
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
			ConnectionError::TimedOut => Self::Lost("the agent stopped answering".into()),
			error => Self::Lost(error.to_string()),
		}
	}
}

/// Connection to the worker's agent, through which the container of an order can be reached.
#[derive(Debug)]
pub struct Tunnel {
	connection: Connection,
	open: Open,
	/// Places of local connections, for all ports together.
	places: Arc<Semaphore>,
	/// Endpoint, if the tunnel has its own.
	endpoint: Option<Endpoint>,
}

impl Tunnel {
	/// Connects with the client's ed25519 secret, and asks whether the agent serves the order to it, on
	/// `port` of the container or on the port that the agent selects.
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

	/// Opens a tunnel over an existing connection with the ALPN [`ALPN`].
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
		let tunnel = Self {
			connection,
			open,
			places: Arc::new(Semaphore::new(MAX_FORWARDED)),
			endpoint: None,
		};
		tunnel.ask(port).await?;
		Ok(tunnel)
	}

	/// Asks whether the agent serves the order on a port of the container; `None` for its first.
	pub async fn ask(&self, port: Option<u16>) -> Result<(), TunnelError> {
		let asked = Open {
			port,
			purpose: Purpose::Ask,
			..self.open
		};
		begin(&self.connection, &asked).await.map(|_| ())
	}

	/// Opens a stream to the port for which the tunnel was opened.
	pub async fn stream(&self) -> Result<(SendStream, RecvStream), TunnelError> {
		begin(&self.connection, &self.open).await
	}

	/// Returns whether the container answers, either with any byte or by staying open for two seconds. Fails
	/// if the container was not reached at all.
	pub async fn answers(&self) -> Result<bool, TunnelError> {
		let (mut send, mut recv) = self.stream().await?;
		if send.write_all(PROBE).await.is_err() {
			return Ok(false);
		}
		match timeout(STAYS_OPEN, recv.read(&mut [0])).await {
			Ok(Ok(Some(length))) => Ok(length > 0),
			Ok(Ok(None) | Err(_)) => Ok(false),
			// No byte arrived, and nothing broke, unless the connection itself is closed.
			Err(_) => Ok(self.is_open()),
		}
	}

	/// Accepts local TCP connections and carries each over a stream of its own to the port for which the
	/// tunnel was opened, until the tunnel closes; then it returns the reason. A connection that the
	/// container does not accept is closed.
	pub async fn forward(&self, listener: TcpListener) -> Result<(), TunnelError> {
		self.forward_to(listener, self.open.port).await
	}

	/// Does the same to another port of the container; `None` for its first. Several ports can be forwarded
	/// at a time.
	pub async fn forward_to(
		&self,
		listener: TcpListener,
		port: Option<u16>,
	) -> Result<(), TunnelError> {
		let open = Open { port, ..self.open };
		let mut carried = JoinSet::new();
		loop {
			let place = self.places.clone().acquire_owned().await;
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
					let connection = self.connection.clone();
					carried.spawn(async move {
						let _place = place;
						forward_one(tcp, from, &connection, &open).await
					});
				}
				Err(error) if is_of_one_connection(&error) => (),
				Err(error) if is_passing(&error) => {
					tracing::warn!(%error, "cannot accept a local connection; trying again");
					sleep(ACCEPT_PAUSE).await;
				}
				Err(error) => return Err(TunnelError::Local(error.to_string())),
			}
		}
	}

	/// Waits until the tunnel is closed, and returns the reason.
	pub async fn closed(&self) -> TunnelError {
		self.connection.closed().await.into()
	}

	/// Returns whether the tunnel is still open.
	pub fn is_open(&self) -> bool {
		self.connection.close_reason().is_none()
	}

	/// Returns whether packets go over a relay now, rather than directly.
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

/// Returns the part of the agent's record that may be dialed. Relays that are not URLs are left out.
fn address(target: &Target) -> Result<EndpointAddr, Undialable> {
	let relays = target.relays.iter().filter_map(|url| url.parse().ok());
	target
		.rule
		.apply(&target.agent, target.addresses.iter().copied(), relays)
}

/// Creates an endpoint with the client's key. It accepts no connections, makes no lookups, and uses only the
/// given relays.
async fn bind(secret: &[u8; 32], relays: Vec<RelayUrl>) -> Result<Endpoint, TunnelError> {
	// The window of a stream stays at the default of 1.25 MB: noq 1.4 closes a connection if more than 2,048
	// packets of a stream wait to be read, and with a larger window one lost packet can make that many wait.
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
			"no answer within {} s",
			CONNECT_TIME.as_secs()
		))),
	}
}

/// Opens a stream, and waits for the agent's answer.
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
	begun.await.unwrap_or_else(|_| {
		Err(TunnelError::Lost(
			"the agent does not answer a new stream".into(),
		))
	})
}

/// Returns the reason why a stream broke: that of the connection, if the connection is closed too.
fn broken(connection: &Connection, error: WireError) -> TunnelError {
	match connection.close_reason() {
		Some(reason) => reason.into(),
		None if error.is_garbage() => TunnelError::Protocol(error.to_string()),
		None => TunnelError::Lost(error.to_string()),
	}
}

/// Carries one local connection. Fails only with an error that ends the tunnel.
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
			// The container was not reached. A reset shows this better than an empty answer.
			let _ = tcp.set_zero_linger();
			if matches!(&error, TunnelError::Refused(refusal) if refusal.is_final()) {
				return Err(error);
			}
			tracing::warn!(%from, "closed a local connection: {error}");
			Ok(())
		}
	}
}

/// Returns whether an error of `accept` concerns only the connection to accept.
fn is_of_one_connection(error: &std::io::Error) -> bool {
	use std::io::ErrorKind::*;
	matches!(
		error.kind(),
		ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted
	)
}

/// Returns whether an error of `accept` is temporary: the process or the system has too many open files.
fn is_passing(error: &std::io::Error) -> bool {
	/// Linux: the system has too many open files, and so has the process.
	const ENFILE: i32 = 23;
	const EMFILE: i32 = 24;
	matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
		|| error.kind() == std::io::ErrorKind::OutOfMemory
}
