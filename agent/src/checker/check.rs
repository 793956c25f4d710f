//! Measures and verifies one worker.

use super::{probe, rounds::Rounds};
use crate::{
	bench::{
		evidence::{self, Rates},
		hash::Hash,
		job::Job,
		proof::{self, Challenge, Counts, Openings, Reject, Roots},
	},
	peer::{
		bandwidth::{self, Counter, Offer, STREAMS, Window},
		dial::{Peer, ask, ask_openings},
		wire::{self, ALPN, MAX_REPLY, Refusal, Request, RootsReply, Which},
	},
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use iroh::endpoint::Connection;
use kaisar_primitives::{
	AgentSignature, Verdict,
	agent::{Checked, SeatRequest},
};
use rand::{TryRngCore, rngs::OsRng};
use sp_core::{Pair, ed25519};
use std::{
	fmt::Display,
	sync::Arc,
	time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
	sync::Semaphore,
	time::{Instant, sleep, timeout, timeout_at},
};

/// Between two tries to reach a worker.
const RETRY: Duration = Duration::from_millis(500);

fn random() -> Result<[u8; 32]> {
	let mut bytes = [0; 32];
	OsRng
		.try_fill_bytes(&mut bytes)
		.map_err(|error| anyhow!("no randomness: {error}"))?;
	Ok(bytes)
}

/// This agent as one that checks workers.
pub struct Checker {
	peer: Arc<Peer>,
	rounds: Arc<Rounds>,
	/// Permits to verify openings.
	computing: Arc<Semaphore>,
	/// Time for a worker to serve a check before it is found offline.
	patience: Duration,
}

impl Checker {
	/// The agent `peer`, with its clock.
	pub fn new(
		peer: Arc<Peer>,
		rounds: Arc<Rounds>,
		computing: Arc<Semaphore>,
		patience: Duration,
	) -> Self {
		Self {
			peer,
			rounds,
			computing,
			patience,
		}
	}

	/// Its clock.
	pub fn rounds(&self) -> &Rounds {
		&self.rounds
	}

	/// Checks one worker. Always comes to a verdict, and says why: a worker that cannot be reached or serves
	/// nothing for as long as the checker has patience is offline; one that is rented, and is there, does not
	/// serve its customer.
	pub async fn check(&self, job: &Job, request: &SeatRequest) -> (Checked, String) {
		let deadline = Instant::now() + self.patience;
		let mut receipt = None;
		let mut rates = None;
		let mut attempt = 0u32;
		let mut last = String::from("a connection that came to no end");
		let give_up = |receipt: Option<AgentSignature>, tries: u32, last: &str| {
			let verdict = match receipt {
				Some(_) if request.rented => present(job, request, false),
				_ => Verdict::OFFLINE,
			};
			let hello = match receipt {
				Some(_) => "it gave its receipt, and no more",
				None => "it gave no receipt",
			};
			let why = format!(
				"{tries} tries within {} s, of which the last one failed with: {last}; {hello}. If many workers are \
				 found offline, look at this machine's own network",
				self.patience.as_secs()
			);
			(Checked { verdict, receipt }, why)
		};
		loop {
			let limit = deadline + Duration::from_secs(u64::from(job.bench.bandwidth_secs) + 2);
			let tried = timeout_at(
				limit,
				self.try_check(job, request, &mut receipt, &mut rates),
			)
			.await;
			match tried {
				Ok(Ok((verdict, why))) => return (Checked { verdict, receipt }, why),
				Ok(Err(error)) => {
					// Said once in a while, not at each try.
					if attempt.is_power_of_two() {
						tracing::debug!(worker = request.worker, attempt, "not yet: {error:#}");
					}
					last = format!("{error:#}");
				}
				Err(_) => return give_up(receipt, attempt + 1, &last),
			}
			attempt += 1;
			if Instant::now() + RETRY >= deadline {
				return give_up(receipt, attempt, &last);
			}
			sleep(RETRY).await;
		}
	}

	/// One try. An error means that the worker did not serve; it may yet.
	async fn try_check(
		&self,
		job: &Job,
		request: &SeatRequest,
		receipt: &mut Option<AgentSignature>,
		rates: &mut Option<Measured>,
	) -> Result<(Verdict, String)> {
		let which = Which {
			genesis: job.genesis,
			round: job.round,
			seed: job.seed,
			worker: job.worker,
			checker: request.checker.clone(),
		};
		let connection = self.peer.connect(&job.agent, ALPN).await?;
		let signature: AgentSignature = ask(&connection, &Request::Hello(which.clone()))
			.await?
			.context("receipt")?;
		let payload = which.receipt_payload();
		if !ed25519::Pair::verify(&signature, payload, &job.agent) {
			bail!("the receipt is not the worker's");
		}
		*receipt = Some(signature);
		if request.rented {
			return self.try_rented(job, request).await;
		}

		// First, since all seats do it at the same time.
		if request.full && rates.is_none() && job.bench.bandwidth_secs > 0 {
			*rates = Some(measure(&connection, job, request, &which).await);
		}

		// A checker that heard nothing asks; what it hears only now came only now.
		let roots: RootsReply = ask(&connection, &Request::Roots(which.clone())).await?;
		self.rounds.hear_all(job, &roots.context("roots")?.stages);
		let challenge = Challenge {
			open_seed: request.open_seed,
			nonce: random()?,
			full: request.full,
		};
		let reply = ask_openings(
			&connection,
			&Request::Open(which, challenge),
			job.openings_limit(),
			&Counts::of(job, request.full),
		)
		.await;
		let verified = match reply {
			Ok(Ok(openings)) => self.verify(job, &request.root, challenge, openings).await?,
			Ok(Err(refusal @ (Refusal::NotReady | Refusal::NotServed))) => bail!("{refusal}"),
			// It has served, and what it serves is no proof.
			Ok(Err(refusal)) => Err(anyhow!("openings refused: {refusal}")),
			Err(error)
				if error
					.downcast_ref::<wire::WireError>()
					.is_some_and(is_garbage) =>
			{
				Err(error)
			}
			Err(error) => return Err(error),
		};
		let rtt = round_trip(&connection);
		connection.close(0u32.into(), b"done");
		Ok(match verified {
			Ok(roots) => {
				let clock = self.rounds.clock(job, &roots.stages);
				let times = evidence::times(job, &roots.sizes, &clock);
				tracing::debug!(worker = request.worker, times = ?times.0, ?rtt, "timed");
				let found = rates.as_ref().map(|measured| measured.rates);
				let verdict = Verdict {
					// It was told when the trial began.
					timed: clock.start.is_some(),
					..evidence::judge(job, &roots.sizes, &times, rtt, found, request.full)
				};
				let mut why = evidence::shortfalls(job, &roots.sizes, &times, rtt);
				if clock.start.is_none() {
					why.push(
						"this agent was not told when the round began, so no time counts".into(),
					);
				}
				why.extend(rates.as_ref().map(|measured| measured.remark.clone()));
				if why.is_empty() {
					why.push("all that is claimed and was opened is supported".into());
				}
				(verdict, why.join("; "))
			}
			Err(error) => {
				// That nothing was shown needs no clock.
				let verdict = Verdict {
					online: true,
					service: true,
					timed: true,
					..Verdict::OFFLINE
				};
				(
					verdict,
					format!("it showed no proof of what it attested: {error:#}"),
				)
			}
		})
	}

	/// One try to find the container of a rented worker answering. Where no order is served yet, or any more,
	/// there is none to ask.
	async fn try_rented(&self, job: &Job, request: &SeatRequest) -> Result<(Verdict, String)> {
		if let Some(order) = request.order {
			let answers = probe::answers(&self.peer, request, order).await?;
			ensure!(answers, "the container closes what it is asked on");
		}
		let why = match request.order {
			Some(order) => format!("it is rented, and the container of order {order} answers"),
			None => "it is rented, and there".into(),
		};
		Ok((present(job, request, true), why))
	}

	async fn verify(
		&self,
		job: &Job,
		root: &Hash,
		challenge: Challenge,
		openings: Openings,
	) -> Result<Result<Roots>> {
		let _permit = self.computing.acquire().await;
		let (job, root) = (job.clone(), *root);
		let verified: Result<Roots, Reject> = tokio::task::spawn_blocking(move || {
			proof::verify(&job, &root, &challenge, &openings).map(|()| openings.roots)
		})
		.await?;
		Ok(verified.map_err(Into::into))
	}
}

/// The verdict on a rented worker that is there. It ran nothing that could be measured.
fn present(job: &Job, request: &SeatRequest, service: bool) -> Verdict {
	Verdict {
		online: true,
		service,
		timed: true,
		proof: request.root == job.rented_root(),
		..Verdict::OFFLINE
	}
}

/// Whether a worker answered with bytes that make no answer, rather than with nothing.
fn is_garbage(error: &wire::WireError) -> bool {
	matches!(
		error,
		wire::WireError::TooLong(..) | wire::WireError::Decode(_)
	)
}

fn round_trip(connection: &Connection) -> Duration {
	connection
		.paths()
		.iter()
		.filter(|path| path.is_selected())
		.map(|path| path.rtt())
		.min()
		.unwrap_or_default()
}

fn relayed(connection: &Connection) -> bool {
	let paths = connection.paths();
	let mut selected = paths.iter().filter(|path| path.is_selected()).peekable();
	selected.peek().is_none() || selected.any(|path| !path.is_ip())
}

/// A worker's bandwidth, and a remark on how it was found.
struct Measured {
	rates: Rates,
	remark: String,
}

impl Measured {
	fn none(why: impl Display) -> Self {
		Self {
			rates: Rates::default(),
			remark: format!("no bandwidth counts: {why}"),
		}
	}
}

/// Measures bandwidth over a few streams. A worker that forges what it echoes, or that can be
/// reached over a relay only, has none.
async fn measure(
	connection: &Connection,
	job: &Job,
	request: &SeatRequest,
	which: &Which,
) -> Measured {
	let (down, up) = (job.spec.download_mbps, job.spec.upload_mbps);
	let Some(offer) = Offer::for_claim(down, up, request.seats) else {
		return Measured::none("the claim is below the lowest tier");
	};
	let length = Duration::from_secs(u64::from(job.bench.bandwidth_secs));
	// All seats begin at the same time, without a word between them: at the next multiple of a fifth
	// of the measurement, by the clock on the wall.
	let grid = (length / 5).max(Duration::from_secs(1)).as_millis() as u64;
	let wall = SystemTime::now()
		.duration_since(UNIX_EPOCH)
		.unwrap_or_default()
		.as_millis() as u64;
	let start = Instant::now() + Duration::from_millis(grid - wall % grid);
	let window = Window::new(start, length);
	let counter = Arc::new(Counter::default());
	let secret = match random() {
		Ok(secret) => secret,
		Err(error) => return Measured::none(error),
	};
	let streams = (0..STREAMS as u64).map(|number| {
		let counter = counter.clone();
		async move {
			let begin = async {
				let (mut send, mut recv) = connection.open_bi().await?;
				wire::write(&mut send, &Request::Bandwidth(which.clone())).await?;
				let reply: Result<(), Refusal> = wire::read(&mut recv, MAX_REPLY).await?;
				reply?;
				anyhow::Ok((send, recv))
			};
			let (send, recv) = timeout(Duration::from_secs(5), begin).await??;
			bandwidth::measure(recv, send, secret, number, window, offer, counter).await?;
			anyhow::Ok(())
		}
	});
	let results = futures::future::join_all(streams).await;
	for result in results {
		if let Err(error) = result {
			tracing::debug!(worker = request.worker, "bandwidth: {error:#}");
			if error.downcast_ref::<bandwidth::BandwidthError>().is_some() {
				return Measured::none(format!("{error:#}"));
			}
		}
	}
	if relayed(connection) {
		return Measured::none("the worker was reached over a relay only");
	}
	let rates = counter.rates(window, request.seats);
	let Rates { down_mbps, up_mbps } = rates;
	Measured {
		rates,
		remark: format!("{down_mbps}/{up_mbps} Mb/s measured down/up of {down}/{up} claimed"),
	}
}
