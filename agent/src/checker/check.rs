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

	/// Checks one worker. Always comes to a verdict: a worker that cannot be reached or serves nothing
	/// for as long as the checker has patience is offline; one that is rented, and is there, does not serve
	/// its customer.
	pub async fn check(&self, job: &Job, request: &SeatRequest) -> Checked {
		let deadline = Instant::now() + self.patience;
		let mut receipt = None;
		let mut rates = None;
		let mut attempt = 0u32;
		let give_up = |receipt: Option<AgentSignature>| {
			let verdict = match receipt {
				Some(_) if request.rented => present(job, request, false),
				_ => Verdict::OFFLINE,
			};
			tracing::info!(worker = request.worker, ?verdict, "no answer");
			Checked { verdict, receipt }
		};
		loop {
			let limit = deadline + Duration::from_secs(u64::from(job.bench.bandwidth_secs) + 2);
			let tried = timeout_at(
				limit,
				self.try_check(job, request, &mut receipt, &mut rates),
			)
			.await;
			match tried {
				Ok(Ok(verdict)) => return Checked { verdict, receipt },
				Ok(Err(error)) => {
					// Said once in a while, not at each try.
					if attempt.is_power_of_two() {
						tracing::debug!(worker = request.worker, attempt, "not yet: {error:#}");
					}
				}
				Err(_) => return give_up(receipt),
			}
			attempt += 1;
			if Instant::now() + RETRY >= deadline {
				return give_up(receipt);
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
		rates: &mut Option<Rates>,
	) -> Result<Verdict> {
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
				Verdict {
					// It was told when the trial began.
					timed: clock.start.is_some(),
					..evidence::judge(job, &roots.sizes, &times, rtt, *rates, request.full)
				}
			}
			Err(error) => {
				tracing::warn!(
					worker = request.worker,
					round = request.round,
					"no proof: {error:#}"
				);
				// That nothing was shown needs no clock.
				Verdict {
					online: true,
					service: true,
					timed: true,
					..Verdict::OFFLINE
				}
			}
		})
	}

	/// One try to find the container of a rented worker answering. Where no order is served yet, or any more,
	/// there is none to ask.
	async fn try_rented(&self, job: &Job, request: &SeatRequest) -> Result<Verdict> {
		if let Some(order) = request.order {
			let answers = probe::answers(&self.peer, request, order).await?;
			ensure!(answers, "the container closes what it is asked on");
		}
		Ok(present(job, request, true))
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

/// Measures bandwidth over a few streams. A worker that forges what it echoes, or that can be
/// reached over a relay only, has none.
async fn measure(
	connection: &Connection,
	job: &Job,
	request: &SeatRequest,
	which: &Which,
) -> Rates {
	let none = Rates::default();
	let (down, up) = (job.spec.download_mbps, job.spec.upload_mbps);
	let Some(offer) = Offer::for_claim(down, up, request.seats) else {
		return none;
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
	let Ok(secret) = random() else { return none };
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
				return none;
			}
		}
	}
	if relayed(connection) {
		tracing::debug!(
			worker = request.worker,
			"bandwidth over a relay does not count"
		);
		return none;
	}
	let rates = counter.rates(window, request.seats);
	tracing::debug!(worker = request.worker, ?rates, "bandwidth");
	rates
}
