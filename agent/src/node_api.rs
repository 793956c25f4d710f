//! The HTTP service for the node: SCALE bodies, a bearer token, the loopback address.
//!
//! Every answer is immediate; work goes on in the background and is asked for again.

use crate::{
	agent::Inner,
	bench::hash::{Hash, hash},
};
use axum::{
	Router,
	body::Bytes,
	extract::{DefaultBodyLimit, Request, State},
	http::{StatusCode, header},
	middleware::{self, Next},
	response::{IntoResponse, Response},
	routing::post,
};
use codec::{Decode, DecodeAll, Encode};
use kaisar_primitives::agent::{
	AddressBook, AddressesFound, MAX_SEATS, OrderRequest, PATH_ADDRESSES, PATH_CHECK, PATH_ORDER,
	PATH_PROVE, PATH_ROUND, PATH_STATUS, ProveRequest, RoundStart, SeatRequest,
};
use std::{sync::Arc, time::Duration};

/// Longest body that is read, in bytes: [`MAX_SEATS`] seats and room to spare.
const MAX_BODY: usize = 256 * 1024;
/// Longest that a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Tokens are compared by this, in constant time.
pub(crate) fn token_hash(token: &str) -> Hash {
	hash("kaisar/agent 2026 token", &[token.as_bytes()])
}

/// Serves until the agent stops.
pub(crate) async fn serve(inner: Arc<Inner>, listener: tokio::net::TcpListener) {
	let mut stopping = inner.stopping.subscribe();
	let stop = async move {
		let _ = stopping.wait_for(|stopping| *stopping).await;
	};
	if let Err(error) = axum::serve(listener, router(inner))
		.with_graceful_shutdown(stop)
		.await
	{
		tracing::error!(%error, "the HTTP service ended");
	}
}

fn router(inner: Arc<Inner>) -> Router {
	Router::new()
		.route(PATH_ROUND, post(round))
		.route(PATH_PROVE, post(prove))
		.route(PATH_CHECK, post(check))
		.route(PATH_STATUS, post(status))
		.route(PATH_ADDRESSES, post(addresses))
		.route(PATH_ORDER, post(order))
		.layer(DefaultBodyLimit::max(MAX_BODY))
		// Outside of everything else: who has no token is not listened to, nor learns what there is.
		.layer(middleware::from_fn_with_state(inner.clone(), guard))
		.with_state(inner)
}

async fn guard(State(inner): State<Arc<Inner>>, request: Request, next: Next) -> Response {
	let token = request
		.headers()
		.get(header::AUTHORIZATION)
		.and_then(|value| value.to_str().ok())
		.and_then(|value| value.strip_prefix("Bearer "));
	// `blake3::Hash` compares in constant time.
	let fits = token.is_some_and(|token| {
		blake3::Hash::from_bytes(token_hash(token)) == blake3::Hash::from_bytes(inner.token)
	});
	if !fits {
		return refuse(StatusCode::UNAUTHORIZED, "a bearer token is needed");
	}
	match tokio::time::timeout(ARRIVAL, next.run(request)).await {
		Ok(response) => response,
		Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
	}
}

fn decode<T: Decode>(body: &Bytes) -> Option<T> {
	T::decode_all(&mut &body[..]).ok()
}

fn answer<T: Encode>(value: &T) -> Response {
	(
		[(header::CONTENT_TYPE, "application/octet-stream")],
		value.encode(),
	)
		.into_response()
}

fn refuse(status: StatusCode, why: &'static str) -> Response {
	(status, why).into_response()
}

const GARBAGE: &str = "the body is not what it should be";

async fn round(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	let Some(start) = decode::<RoundStart>(&body) else {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	};
	inner.round(start);
	answer(&())
}

async fn prove(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	let Some(request) = decode::<ProveRequest>(&body) else {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	};
	match inner.prove(request) {
		Some(progress) => answer(&progress),
		None => refuse(StatusCode::SERVICE_UNAVAILABLE, "too many benchmarks"),
	}
}

async fn check(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	let Some(requests) = decode::<Vec<SeatRequest>>(&body) else {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	};
	if requests.len() > MAX_SEATS {
		return refuse(StatusCode::BAD_REQUEST, "too many seats");
	}
	answer(&inner.check(requests))
}

async fn status(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	if decode::<()>(&body).is_none() {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	}
	answer(&inner.status())
}

async fn addresses(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	let Some(found) = decode::<AddressesFound>(&body) else {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	};
	for record in &found.records {
		if let Some(agent) = inner.peers.accept(record) {
			tracing::info!(agent = hex::encode(agent), "found in the DHT");
		}
	}
	answer(&AddressBook {
		agent: inner.key,
		record: inner.peers.record(&inner.key).unwrap_or_default(),
		wanted: inner.peers.wanted(),
	})
}

async fn order(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
	let Some(request) = decode::<OrderRequest>(&body) else {
		return refuse(StatusCode::BAD_REQUEST, GARBAGE);
	};
	answer(&inner.containers.order(request))
}
