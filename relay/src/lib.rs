//! # The relay
//!
//! Agents behind a NAT that forwards no port connect through a relay: both connect to it, and it passes
//! their packets on. The packets are QUIC, encrypted between the two agents, so the relay cannot read them.
//! The relay is the server of `iroh-relay` with the few settings that an operator needs; `docs/network.md`
//! explains when one is needed.

#![warn(missing_docs)]

mod access;

use access::Guests;
use anyhow::{Context, Result};
use clap::Parser;
use iroh_relay::server::{
	CertConfig, ClientRateLimit, DEFAULT_CERT_RELOAD_INTERVAL, QuicConfig, RelayConfig, Server,
	ServerConfig, TlsConfig, reloading_resolver,
};
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc};

/// UDP port at which a relay with a certificate tells agents the address at which it sees them. iroh expects
/// this port.
const QUIC_PORT: u16 = 7_842;

/// Relay for agents that cannot be reached at any address.
#[derive(Parser, Clone, Debug)]
#[command(name = "kaisar-relay", version)]
pub struct Options {
	/// Address to listen on: HTTPS with --tls-cert, otherwise plain HTTP for a reverse proxy that has the
	/// certificate and passes WebSockets on.
	#[arg(long, value_name = "IP:PORT", default_value = "[::]:3340")]
	pub listen: SocketAddr,
	/// File with the certificate chain, in PEM. Read again once a day.
	#[arg(long, value_name = "FILE", requires = "tls_key")]
	pub tls_cert: Option<PathBuf>,
	/// File with the certificate's private key, in PEM.
	#[arg(long, value_name = "FILE", requires = "tls_cert")]
	pub tls_key: Option<PathBuf>,
	/// UDP address at which agents learn their own public address, so that they can connect without the
	/// relay. Only with --tls-cert [default: port 7842 of the address to listen on]
	#[arg(long, value_name = "IP:PORT", requires = "tls_cert")]
	pub quic_listen: Option<SocketAddr>,
	/// Maximum number of clients at a time; further ones are refused.
	#[arg(long, value_name = "COUNT", default_value_t = 10_000)]
	pub max_clients: usize,
	/// Maximum rate at which one client may send through the relay, in bytes a second. Openings need
	/// 1.5 MB/s.
	#[arg(long, value_name = "BYTES", default_value = "4000000")]
	pub client_rate: NonZeroU32,
	/// File with the keys that may use the relay, one a line in hex; `#` begins a comment. Read again when
	/// it changes. Without this option, every key may.
	#[arg(long, value_name = "FILE")]
	pub allow_file: Option<PathBuf>,
	/// Address at which to serve Prometheus metrics; none by default.
	#[arg(long, value_name = "IP:PORT")]
	pub metrics_listen: Option<SocketAddr>,
}

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
	server: Server,
}

impl Relay {
	/// Starts a relay, which serves when this returns.
	pub async fn start(options: Options) -> Result<Self> {
		let guests = Guests::new(options.max_clients, options.allow_file.clone())?;
		let mut relay = RelayConfig::new(options.listen);
		relay.access = Arc::new(guests);
		relay.limits.client_rx = Some(ClientRateLimit::new(options.client_rate));
		let mut config = ServerConfig::default();
		if let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) {
			let tls = tls(cert.clone(), key.clone()).await?;
			// With TLS the server requires a second, plain socket, for a test that agents do not make.
			relay.http_bind_addr = ([127, 0, 0, 1], 0).into();
			relay.tls = Some(TlsConfig::new(
				options.listen,
				CertConfig::Manual { server_config: tls },
			));
			let quic = options
				.quic_listen
				.unwrap_or_else(|| (options.listen.ip(), QUIC_PORT).into());
			config.quic = Some(QuicConfig::new(quic));
		}
		config.relay = Some(relay);
		config.metrics_addr = options.metrics_listen;
		let server = Server::spawn(config).await.with_context(|| {
			format!(
				"cannot serve at {}; a machine without IPv6 needs --listen 0.0.0.0:PORT",
				options.listen
			)
		})?;
		Ok(Self { server })
	}

	/// Returns the address that the relay listens on.
	pub fn addr(&self) -> Option<SocketAddr> {
		self.server.https_addr().or_else(|| self.server.http_addr())
	}

	/// Returns the UDP address at which agents learn their own, if the relay has a certificate.
	pub fn quic_addr(&self) -> Option<SocketAddr> {
		self.server.quic_addr()
	}

	/// Waits until the relay fails, and returns the error.
	pub async fn failed(&mut self) -> anyhow::Error {
		match self.server.join().await {
			Ok(Ok(())) => anyhow::anyhow!("the server ended without an error; start it again"),
			Ok(Err(error)) => error.into(),
			Err(error) => error.into(),
		}
	}

	/// Closes all connections and returns.
	pub async fn stop(self) -> Result<()> {
		Ok(self.server.shutdown().await?)
	}
}

async fn tls(cert: PathBuf, key: PathBuf) -> Result<rustls::ServerConfig> {
	let provider = Arc::new(rustls::crypto::ring::default_provider());
	let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
		.with_safe_default_protocol_versions()
		.context("TLS versions")?
		.with_no_client_auth();
	let what = format!(
		"cannot use the certificate {} and its key {}: this process must be able to read both, which must be PEM, the \
		 key without a password",
		cert.display(),
		key.display()
	);
	let resolver = reloading_resolver(&provider, cert, key, DEFAULT_CERT_RELOAD_INTERVAL)
		.await
		.map_err(anyhow::Error::from)
		.context(what)?;
	Ok(builder.with_cert_resolver(resolver))
}
