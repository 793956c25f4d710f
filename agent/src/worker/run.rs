//! Runs the benchmarks, one at a time.

use super::{
	jobs::{JobState, Jobs, Turn, trial_of},
	push::{Committees, tell},
};
use crate::{
	bench::{
		evidence,
		hash::Hash,
		proof::{self, ProveError},
	},
	gpu::Pool,
	host::{
		clock::wall_ms,
		report::{Benchmark, Report},
		store::now_ms,
	},
	peer::{dial::Peer, wire::Push},
};
use std::{
	path::PathBuf,
	sync::{Arc, atomic::Ordering},
	time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Runs one benchmark at a time, in the order in which they were asked for. The plot lies in `plots`. The
/// GPUs are looked for again before each: a driver that came late, or a GPU that is back, has cost one
/// benchmark at most.
pub async fn run_jobs(
	jobs: Arc<Jobs>,
	committees: Arc<Committees>,
	peer: Arc<Peer>,
	report: Arc<Report>,
	gpus: Arc<Pool>,
	plots: PathBuf,
	mut queue: mpsc::Receiver<Hash>,
) {
	while let Some(id) = queue.recv().await {
		let Some(turn) = jobs.turn(&id) else { continue };
		let Turn {
			job,
			committee,
			expires,
			stop,
			done,
		} = turn;
		// After a restart nobody else has.
		let trial = trial_of(&job);
		let of = (trial.genesis, trial.round, trial.worker);
		let keep_ms = expires.saturating_sub(now_ms());
		committees.prepare(of, committee, true, Duration::ZERO, keep_ms);
		let told = committees.begin(trial);
		if let Some(proof) = done {
			for (stage, root) in proof.roots.stages.iter() {
				if let Some(told) = &told {
					tell(told, Push::signed(peer.pair(), trial, stage, *root));
				}
			}
			continue;
		}
		tracing::info!(round = job.round, worker = job.worker, "benchmark begins");
		let (round, worker) = (job.round, job.worker);
		let (signer, gpus, plots) = (peer.clone(), gpus.clone(), plots.clone());
		let (run, begun) = (job.clone(), Instant::now());
		let result = tokio::task::spawn_blocking(move || {
			let tell_all = |stage, root| {
				if let Some(told) = &told {
					tell(told, Push::signed(signer.pair(), trial, stage, root));
				}
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			let devices = match run.gpu_plan() {
				Some(_) => gpus.look(),
				None => Vec::new(),
			};
			proof::prove_while(&run, &devices, &plots, tell_all, wanted)
		})
		.await;
		let ended = |root: Option<Hash>, remarks: Vec<String>| Benchmark {
			at: wall_ms(),
			round,
			worker,
			took_ms: begun.elapsed().as_millis() as u64,
			root: root.map(hex::encode),
			remarks,
		};
		let state = match result {
			Ok(Ok(proof)) => {
				tracing::info!(
					round,
					worker,
					root = hex::encode(proof.root),
					took = ?proof.took.0,
					"benchmark done"
				);
				// By this clock, without the way to a checker.
				let times = proof.took.map(Some);
				let sizes = &proof.roots.sizes;
				let remarks = evidence::shortfalls(&job, sizes, &times, Duration::ZERO);
				if !remarks.is_empty() {
					tracing::warn!(
						round,
						worker,
						"the benchmark supports less than the claim: {}. Claim what `kaisar-agent detect` says, or see \
						 what else uses the machine",
						remarks.join("; ")
					);
				}
				report.benchmark(ended(Some(proof.root), remarks));
				JobState::Done(Arc::new(proof))
			}
			Ok(Err(ProveError::Superseded)) => {
				tracing::info!(
					round,
					worker,
					"benchmark dropped: the round has another seed"
				);
				JobState::Superseded
			}
			Ok(Err(error)) => JobState::Failed(error.to_string()),
			Err(error) => JobState::Failed(format!("the benchmark crashed: {error}")),
		};
		if let JobState::Failed(error) = &state {
			tracing::error!(
				round,
				worker,
				error,
				"the benchmark failed: nothing is attested in this round"
			);
			report.benchmark(ended(None, vec![error.clone()]));
		}
		jobs.finish(&id, state);
	}
}
