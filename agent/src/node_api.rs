//! The HTTP service for the node: SCALE bodies, a bearer token, the loopback address.
//!
//! Every answer is immediate; work goes on in the background and is asked for again.

use crate::{
	bench::hash::{Hash, hash},
	checker::{admission::Admissions, checks::Checks, rounds::Rounds},
	containers::Containers,
	peer::dial::Peer,
	worker::{jobs::Jobs, push::Committees},
};
use axum::{
	Router,
	body::Bytes,
	extract::{DefaultBodyLimit, FromRequest, Request, State},
	http::{StatusCode, header},
	middleware::{self, Next},
	response::{IntoResponse, Response},
	routing::post,
};
use codec::{Decode, DecodeAll, Encode};
use kaisar_primitives::agent::{
	AddressBook, AddressesFound, AgentStatus, MAX_CLAIM_ROUNDS, MAX_CLAIMS, MAX_SEATS,
	OrderRequest, PATH_ADDRESSES, PATH_CHECK, PATH_ORDER, PATH_PREPARE, PATH_PROVE, PATH_ROUND,
	PATH_SEATS, PATH_STATUS, PrepareRequest, ProveRequest, RoundStart, SeatAnswers, SeatRequest,
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};

/// Longest body that is read, in bytes: [`MAX_SEATS`] seats and room to spare.
const MAX_BODY: usize = 256 * 1024;
/// Longest that a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The parts of an agent that its node asks.
pub(crate) struct NodeApi {
	/// The bearer token.
	pub token: String,
	/// Answer to a status request.
	pub status: AgentStatus,
	/// The agent itself, and the addresses of others.
	pub peer: Arc<Peer>,
	/// Its benchmarks.
	pub jobs: Arc<Jobs>,
	/// The committees of its workers.
	pub committees: Arc<Committees>,
	/// The workers that may push roots.
	pub admissions: Arc<Admissions>,
	/// When rounds began.
	pub rounds: Arc<Rounds>,
	/// Its checks.
	pub checks: Arc<Checks>,
	/// Its workers' containers.
	pub containers: Containers,
}

impl NodeApi {
	/// Serves until the agent stops.
	pub(crate) async fn serve(self, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
		let stop = async move {
			let _ = stopping.wait_for(|stopping| *stopping).await;
		};
		if let Err(error) = axum::serve(listener, self.router())
			.with_graceful_shutdown(stop)
			.await
		{
			tracing::error!(%error, "the HTTP service ended");
		}
	}

	fn router(self) -> Router {
		let token = token_hash(&self.token);
		Router::new()
			.route(PATH_ROUND, post(round).with_state(self.rounds))
			.route(
				PATH_PREPARE,
				post(prepare).with_state(self.committees.clone()),
			)
			.route(
				PATH_PROVE,
				post(prove).with_state((self.jobs, self.committees)),
			)
			.route(PATH_SEATS, post(seats).with_state(self.admissions))
			.route(PATH_CHECK, post(check).with_state(self.checks))
			.route(PATH_STATUS, post(status).with_state(self.status))
			.route(PATH_ADDRESSES, post(addresses).with_state(self.peer))
			.route(PATH_ORDER, post(order).with_state(self.containers))
			.layer(DefaultBodyLimit::max(MAX_BODY))
			// Outside of everything else: who has no token is not listened to, nor learns what there is.
			.layer(middleware::from_fn_with_state(token, guard))
	}
}

/// Tokens are compared by this, in constant time.
fn token_hash(token: &str) -> Hash {
	hash("kaisar/agent 2026 token", &[token.as_bytes()])
}

async fn guard(State(expected): State<Hash>, request: Request, next: Next) -> Response {
	let token = request
		.headers()
		.get(header::AUTHORIZATION)
		.and_then(|value| value.to_str().ok())
		.and_then(|value| value.strip_prefix("Bearer "));
	// `blake3::Hash` compares in constant time.
	let fits = token.is_some_and(|token| {
		blake3::Hash::from_bytes(token_hash(token)) == blake3::Hash::from_bytes(expected)
	});
	if !fits {
		return refuse(StatusCode::UNAUTHORIZED, "a bearer token is needed");
	}
	match tokio::time::timeout(ARRIVAL, next.run(request)).await {
		Ok(response) => response,
		Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
	}
}

/// A body in SCALE: of a request, which is all of it, and of an answer.
struct Scale<T>(T);

impl<S: Send + Sync, T: Decode> FromRequest<S> for Scale<T> {
	type Rejection = Response;

	async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
		let body = Bytes::from_request(request, state)
			.await
			.map_err(IntoResponse::into_response)?;
		T::decode_all(&mut &body[..])
			.map(Self)
			.map_err(|_| refuse(StatusCode::BAD_REQUEST, "the body is not what it should be"))
	}
}

impl<T: Encode> IntoResponse for Scale<T> {
	fn into_response(self) -> Response {
		let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
		(kind, self.0.encode()).into_response()
	}
}

fn refuse(status: StatusCode, why: &'static str) -> Response {
	(status, why).into_response()
}

async fn round(State(rounds): State<Arc<Rounds>>, Scale(start): Scale<RoundStart>) -> Response {
	rounds.begin(start);
	Scale(()).into_response()
}

async fn prepare(
	State(committees): State<Arc<Committees>>,
	Scale(request): Scale<PrepareRequest>,
) -> Response {
	let prepared = committees.prepare(
		(request.genesis, request.round, request.worker),
		request.committee.iter().map(|(_, agent)| *agent),
		request.runs,
		Duration::from_millis(request.spread_ms),
		request.keep_ms,
	);
	Scale(prepared).into_response()
}

async fn seats(
	State(admissions): State<Arc<Admissions>>,
	Scale(answers): Scale<SeatAnswers>,
) -> Response {
	if answers.answers.len() > MAX_CLAIMS || answers.rounds.len() > MAX_CLAIM_ROUNDS {
		return refuse(StatusCode::BAD_REQUEST, "too many answers or rounds");
	}
	Scale(admissions.answer(answers)).into_response()
}

async fn prove(
	State((jobs, committees)): State<(Arc<Jobs>, Arc<Committees>)>,
	Scale(request): Scale<ProveRequest>,
) -> Response {
	// A node that started in the middle of the round has not told of it.
	committees.prepare(
		(request.genesis, request.round, request.worker),
		request.committee.iter().map(|(_, agent)| *agent),
		request.order.is_none(),
		Duration::ZERO,
		request.keep_ms,
	);
	match jobs.prove(request) {
		Some(progress) => Scale(progress).into_response(),
		None => refuse(StatusCode::SERVICE_UNAVAILABLE, "too many benchmarks"),
	}
}

async fn check(
	State(checks): State<Arc<Checks>>,
	Scale(requests): Scale<Vec<SeatRequest>>,
) -> Response {
	if requests.len() > MAX_SEATS {
		return refuse(StatusCode::BAD_REQUEST, "too many seats");
	}
	Scale(checks.check(requests)).into_response()
}

async fn status(State(status): State<AgentStatus>, Scale(()): Scale<()>) -> Response {
	Scale(status).into_response()
}

async fn addresses(State(peer): State<Arc<Peer>>, Scale(found): Scale<AddressesFound>) -> Response {
	for record in &found.records {
		if let Some(agent) = peer.peers().accept(record) {
			tracing::info!(agent = hex::encode(agent), "found in the DHT");
		}
	}
	Scale(AddressBook {
		agent: peer.key(),
		record: peer.peers().record(&peer.key()).unwrap_or_default(),
		wanted: peer.peers().wanted(),
	})
	.into_response()
}

async fn order(
	State(containers): State<Containers>,
	Scale(request): Scale<OrderRequest>,
) -> Response {
	Scale(containers.order(request)).into_response()
}
