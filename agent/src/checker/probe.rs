//! Asks a rented worker's container for an answer.

use crate::peer::dial::Peer;
use kaisar_primitives::{OrderId, agent::SeatRequest};
use kaisar_tunnel::{ALPN, Tunnel};

/// Returns whether the container of an order answers a checker, as it would a customer.
pub async fn answers(peer: &Peer, request: &SeatRequest, order: OrderId) -> anyhow::Result<bool> {
	let connection = peer.connect(&request.agent, ALPN).await?;
	let tunnel = Tunnel::on(connection, request.genesis.0, order, None).await?;
	let answers = tunnel.answers().await;
	tunnel.close().await;
	Ok(answers?)
}
