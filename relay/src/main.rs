//! `kaisar-relay` passes packets between agents that cannot be reached at any address.

use anyhow::Result;
use clap::Parser;
use kaisar_relay::{Options, Relay};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
	let filter = tracing_subscriber::EnvFilter::try_from_default_env()
		.unwrap_or_else(|_| "info,iroh_relay=warn".into());
	tracing_subscriber::fmt()
		.with_env_filter(filter)
		.with_writer(std::io::stderr)
		.with_ansi(false)
		.init();
	let options = Options::parse();
	let encrypted = options.tls_cert.is_some();
	let mut relay = Relay::start(options).await?;
	if let Some(addr) = relay.addr() {
		let kind = if encrypted { "HTTPS" } else { "plain HTTP" };
		tracing::info!("the relay serves {kind} at {addr}");
	}
	if let Some(addr) = relay.quic_addr() {
		tracing::info!("agents learn their public address at UDP {addr}");
	}
	let mut terminate = signal(SignalKind::terminate())?;
	tokio::select! {
		error = relay.failed() => return Err(error),
		_ = tokio::signal::ctrl_c() => (),
		_ = terminate.recv() => (),
	}
	tracing::info!("stopping");
	relay.stop().await
}
