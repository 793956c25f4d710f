//! Runs the benchmarks, one at a time.

use super::{
	jobs::{JobState, Jobs, Turn, trial_of},
	push::{Committees, tell},
};
use crate::{
	bench::{
		device::Device,
		hash::Hash,
		proof::{self, ProveError},
	},
	host::store::now_ms,
	peer::{dial::Peer, wire::Push},
};
use std::{
	path::PathBuf,
	sync::{Arc, atomic::Ordering},
	time::Duration,
};
use tokio::sync::mpsc;

/// Runs one benchmark at a time, in the order in which they were asked for. The plot lies in `plots`.
pub async fn run_jobs(
	jobs: Arc<Jobs>,
	committees: Arc<Committees>,
	peer: Arc<Peer>,
	devices: Vec<Arc<dyn Device>>,
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
		} = turn;
		// After a restart nobody else has.
		let trial = trial_of(&job);
		let of = (trial.genesis, trial.round, trial.worker);
		let keep_ms = expires.saturating_sub(now_ms());
		committees.prepare(of, committee, true, Duration::ZERO, keep_ms);
		let told = committees.begin(trial);
		tracing::info!(round = job.round, worker = job.worker, "benchmark begins");
		let (round, worker) = (job.round, job.worker);
		let (signer, devices, plots) = (peer.clone(), devices.clone(), plots.clone());
		let result = tokio::task::spawn_blocking(move || {
			let tell_all = |stage, root| {
				if let Some(told) = &told {
					tell(told, Push::signed(signer.pair(), trial, stage, root));
				}
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			proof::prove_while(&job, &devices, &plots, tell_all, wanted)
		})
		.await;
		let state = match result {
			Ok(Ok(proof)) => {
				tracing::info!(
					round,
					worker,
					root = hex::encode(proof.root),
					took = ?proof.took.0,
					"benchmark done"
				);
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
			tracing::error!(round, worker, error, "benchmark failed");
		}
		jobs.finish(&id, state);
	}
}
