//! Sends the roots of the stages to the committee, each as soon as it is there.

use crate::{
	bench::stage::Stage,
	host::store::now_ms,
	peer::{
		dial::{Peer, ask},
		wire::{ALPN, Push, Request},
	},
};
use anyhow::Context;
use iroh::endpoint::Connection;
use kaisar_primitives::AgentKey;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Pause before the first further try; it doubles with each.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest pause between two tries.
const AGAIN_MOST: Duration = Duration::from_secs(10);

/// Sends one checker's agent the roots of the stages, each as soon as it is there.
pub async fn push(
	peer: Arc<Peer>,
	agent: AgentKey,
	mut told: watch::Receiver<Vec<Push>>,
	expires: u64,
) {
	let mut sent = 0;
	let mut wait = AGAIN;
	let mut connection: Option<Connection> = None;
	let mut last = false;
	while !last && now_ms() < expires {
		let result = async {
			let connection = match &connection {
				Some(connection) if connection.close_reason().is_none() => connection,
				_ => connection.insert(peer.connect(&agent, ALPN).await?),
			};
			let next = told.wait_for(|all| all.len() > sent).await?[sent].clone();
			let stage = next.stage();
			ask::<()>(connection, &Request::Push(next))
				.await?
				.context("refused")?;
			anyhow::Ok(stage)
		}
		.await;
		match result {
			Ok(stage) => {
				sent += 1;
				last = stage == Some(Stage::LAST);
			}
			Err(error) => {
				// All that could be told is told, and the benchmark has failed.
				if told.has_changed().is_err() && told.borrow().len() <= sent {
					return;
				}
				tracing::debug!(agent = hex::encode(agent), "push: {error:#}");
				connection = None;
				tokio::time::sleep(wait).await;
				wait = (wait * 2).min(AGAIN_MOST);
			}
		}
	}
}
