//! The HTTP service for the node: SCALE bodies, a bearer token, the loopback address.
//!
//! Every answer is immediate. Work runs in the background, and the node polls for its result.

use crate::{
	checker::{admission::Admissions, checks::Checks, rounds::Rounds},
	containers::Containers,
	gpu::{Card, Pool},
	host::{
		clock::wall_ms,
		report::{self, Events, Report, Status},
	},
	peer::dial::Peer,
	trial::hash::{Hash, key},
	worker::{claim, jobs::Jobs, plots::Plots, push::Committees},
};
use axum::{
	Extension, Router,
	body::Bytes,
	extract::{DefaultBodyLimit, FromRequest, Request, State},
	http::{StatusCode, header},
	middleware::{self, Next},
	response::{IntoResponse, Response},
	routing::post,
};
use codec::{DecodeWithMemTracking, Encode};
use hyper::server::conn::http1;
use hyper_util::{
	rt::{TokioIo, TokioTimer},
	service::TowerToHyperService,
};
use kaisar_primitives::agent::{
	AddressesFound, AgentStatus, MAX_CLAIM_ROUNDS, MAX_CLAIMS, MAX_SEATS, OrderRequest,
	PATH_ADDRESSES, PATH_CHECK, PATH_ORDER, PATH_PREPARE, PATH_PROVE, PATH_ROUND, PATH_SEATS,
	PATH_STATUS, PrepareRequest, ProveRequest, RoundStart, SeatAnswers, SeatRequest, decode_within,
};
use std::{
	collections::VecDeque,
	path::PathBuf,
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
	},
	time::{Duration, Instant},
};
use tokio::{
	net::TcpListener,
	sync::watch,
	task::{AbortHandle, JoinSet},
};

/// Maximum length of a body, in bytes: [`MAX_SEATS`] seats and a margin.
pub(crate) const MAX_BODY: usize = 256 * 1024;
/// Path of a request without a body; the answer is a [`Status`] in JSON, for the operators of the agent.
pub const PATH_REPORT: &str = "/v1/report";
/// Maximum number of unreachable agents in a report.
const MAX_WANTED: usize = 16;
/// Maximum number of connections: a node opens one per request, for each of its keys.
const MAX_CONNECTIONS: usize = 256;
/// Pause after a failed accept.
const AGAIN: Duration = Duration::from_millis(100);
/// Timeout of a request's headers, and of the whole request.
const ARRIVAL: Duration = Duration::from_secs(10);

/// The parts of an agent that answer its node.
pub(crate) struct NodeApi {
	/// The bearer token.
	pub token: String,
	/// The GPUs.
	pub gpus: Arc<Pool>,
	/// The recent events.
	pub report: Arc<Report>,
	/// The data folder.
	pub data: PathBuf,
	/// The plot.
	pub plots: Plots,
	/// The agent itself, and the addresses of others.
	pub peer: Arc<Peer>,
	/// The jobs.
	pub jobs: Arc<Jobs>,
	/// The committees of its workers.
	pub committees: Arc<Committees>,
	/// The workers that may push roots.
	pub admissions: Arc<Admissions>,
	/// The starts of rounds.
	pub rounds: Arc<Rounds>,
	/// The checks.
	pub checks: Arc<Checks>,
	/// The containers of its workers.
	pub containers: Containers,
}

impl NodeApi {
	/// Serves until the agent stops. `axum::serve` would bound neither the connections nor the time for
	/// their headers, and any user of this machine can connect. When all places are taken, the oldest
	/// connection without a valid token is closed, so strangers cannot keep the node out.
	pub(crate) async fn serve(self, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
		let router = self.router();
		let mut connections = JoinSet::new();
		let mut held: VecDeque<(AbortHandle, Trusted)> = VecDeque::new();
		loop {
			let accepted = tokio::select! {
				accepted = listener.accept() => accepted,
				Some(_) = connections.join_next() => continue,
				_ = stopping.wait_for(|stopping| *stopping) => return,
			};
			let stream = match accepted {
				Ok((stream, _)) => stream,
				Err(error) => {
					tracing::warn!(%error, "the HTTP service cannot accept a connection; trying again");
					tokio::time::sleep(AGAIN).await;
					continue;
				}
			};
			held.retain(|(task, _)| !task.is_finished());
			if held.len() >= MAX_CONNECTIONS {
				let stranger = held.iter().position(|(_, trusted)| !trusted.is_set());
				match stranger.and_then(|at| held.remove(at)) {
					Some((task, _)) => task.abort(),
					None => continue,
				}
			}
			let trusted = Trusted::default();
			let service = router.clone().layer(Extension(trusted.clone()));
			let connection = http1::Builder::new()
				.timer(TokioTimer::new())
				.header_read_timeout(ARRIVAL)
				.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
			let task = connections.spawn(async move {
				if let Err(error) = connection.await {
					tracing::debug!(%error, "a connection of the HTTP service");
				}
			});
			held.push_back((task, trusted));
		}
	}

	fn router(self) -> Router {
		let token = token_hash(&self.token);
		let about = Arc::new(About {
			peer: self.peer.clone(),
			gpus: self.gpus,
			report: self.report,
			data: self.data,
			plots: self.plots,
			since: Instant::now(),
		});
		Router::new()
			.route(PATH_ROUND, post(round).with_state(self.rounds))
			.route(
				PATH_PREPARE,
				post(prepare).with_state((self.jobs.clone(), self.committees.clone())),
			)
			.route(
				PATH_PROVE,
				post(prove).with_state((self.jobs, self.committees)),
			)
			.route(PATH_SEATS, post(seats).with_state(self.admissions))
			.route(PATH_CHECK, post(check).with_state(self.checks))
			.route(PATH_STATUS, post(status).with_state(about.clone()))
			.route(PATH_REPORT, post(report).with_state(about))
			.route(PATH_ADDRESSES, post(addresses).with_state(self.peer))
			.route(PATH_ORDER, post(order).with_state(self.containers))
			.layer(DefaultBodyLimit::max(MAX_BODY))
			// The outermost layer: a client without the token reaches no route and learns no path.
			.layer(middleware::from_fn_with_state(token, guard))
	}
}

/// Set once a connection has shown the token.
#[derive(Clone, Default)]
struct Trusted(Arc<AtomicBool>);

impl Trusted {
	fn set(&self) {
		self.0.store(true, Ordering::Relaxed);
	}

	fn is_set(&self) -> bool {
		self.0.load(Ordering::Relaxed)
	}
}

/// Returns a token's hash, by which tokens are compared in constant time.
fn token_hash(token: &str) -> Hash {
	key("token", &[token.as_bytes()])
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
		return refuse(StatusCode::UNAUTHORIZED, "a valid bearer token is needed");
	}
	if let Some(trusted) = request.extensions().get::<Trusted>() {
		trusted.set();
	}
	match tokio::time::timeout(ARRIVAL, next.run(request)).await {
		Ok(response) => response,
		Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
	}
}

/// A SCALE body of a request or an answer.
struct Scale<T>(T);

impl<S: Send + Sync, T: DecodeWithMemTracking> FromRequest<S> for Scale<T> {
	type Rejection = Response;

	async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
		let body = Bytes::from_request(request, state)
			.await
			.map_err(IntoResponse::into_response)?;
		decode_within(&body, MAX_BODY).map(Self).map_err(|_| {
			refuse(
				StatusCode::BAD_REQUEST,
				"the body does not decode as this request",
			)
		})
	}
}

impl<T: Encode> IntoResponse for Scale<T> {
	fn into_response(self) -> Response {
		let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
		(kind, self.0.encode()).into_response()
	}
}

fn refuse(status: StatusCode, why: impl IntoResponse) -> Response {
	(status, why).into_response()
}

async fn round(State(rounds): State<Arc<Rounds>>, Scale(start): Scale<RoundStart>) -> Response {
	rounds.begin(start);
	Scale(()).into_response()
}

async fn prepare(
	State((jobs, committees)): State<(Arc<Jobs>, Arc<Committees>)>,
	Scale(request): Scale<PrepareRequest>,
) -> Response {
	if let Err(error) = jobs.prepare(&request) {
		tracing::warn!(
			round = request.round,
			worker = request.worker,
			error,
			"cannot prepare a trial"
		);
	}
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
		return refuse(
			StatusCode::BAD_REQUEST,
			format!("too many answers (limit: {MAX_CLAIMS}) or rounds (limit: {MAX_CLAIM_ROUNDS})"),
		);
	}
	Scale(admissions.answer(answers)).into_response()
}

async fn prove(
	State((jobs, committees)): State<(Arc<Jobs>, Arc<Committees>)>,
	Scale(request): Scale<ProveRequest>,
) -> Response {
	// A node that started in the middle of the round has not sent `prepare`.
	committees.prepare(
		(request.genesis, request.round, request.worker),
		request.committee.iter().map(|(_, agent)| *agent),
		request.order.is_none(),
		Duration::ZERO,
		request.keep_ms,
	);
	match jobs.prove(&request) {
		Ok(progress) => Scale(progress).into_response(),
		Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, error),
	}
}

async fn check(
	State(checks): State<Arc<Checks>>,
	Scale(requests): Scale<Vec<SeatRequest>>,
) -> Response {
	if requests.len() > MAX_SEATS {
		return refuse(
			StatusCode::BAD_REQUEST,
			format!("too many seats (limit: {MAX_SEATS})"),
		);
	}
	Scale(checks.check(requests)).into_response()
}

/// The state behind the two status routes.
struct About {
	peer: Arc<Peer>,
	gpus: Arc<Pool>,
	report: Arc<Report>,
	data: PathBuf,
	plots: Plots,
	since: Instant,
}

async fn status(State(about): State<Arc<About>>, Scale(()): Scale<()>) -> Response {
	let gpus = about.gpus.count();
	Scale(AgentStatus {
		version: env!("CARGO_PKG_VERSION").into(),
		agent: about.peer.key(),
		gpus: u8::try_from(gpus).unwrap_or(u8::MAX),
		clock_ms: wall_ms(),
	})
	.into_response()
}

async fn report(State(about): State<Arc<About>>) -> Response {
	// It reads the disk.
	match tokio::task::spawn_blocking(move || about.report()).await {
		Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
		Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
	}
}

/// Describes a GPU for the report.
fn described((card, kernel): (Card, Option<String>)) -> report::Gpu {
	report::Gpu {
		name: card.to_string(),
		kernel,
	}
}

impl About {
	fn report(&self) -> Vec<u8> {
		let (key, peers) = (self.peer.key(), self.peer.peers());
		let (addresses, relays) = self.peer.published();
		let mut wanted = peers.wanted();
		wanted.truncate(MAX_WANTED);
		let progress = self.plots.progress();
		let status = Status {
			version: env!("CARGO_PKG_VERSION").into(),
			agent: hex::encode(key),
			clock_ms: wall_ms(),
			up_secs: self.since.elapsed().as_secs(),
			addresses,
			relays,
			wanted: wanted.iter().map(hex::encode).collect(),
			disk: report::Disk {
				folder: self.data.display().to_string(),
				free_gb: claim::free_disk_gb(&self.data),
				plot: progress.plotted,
				plot_wanted: progress.wanted,
			},
			events: Events {
				gpus: self.gpus.used().into_iter().map(described).collect(),
				..self.report.events()
			},
			warnings: report::warnings(),
		};
		serde_json::to_vec(&status).unwrap_or_default()
	}
}

async fn addresses(State(peer): State<Arc<Peer>>, Scale(found): Scale<AddressesFound>) -> Response {
	Scale(peer.exchange(&found)).into_response()
}

async fn order(
	State(containers): State<Containers>,
	Scale(request): Scale<OrderRequest>,
) -> Response {
	Scale(containers.order(request)).into_response()
}
