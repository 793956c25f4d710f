//! Runs the benchmarks, one at a time.

use super::{
	jobs::{JobState, Jobs, Turn},
	push::push,
};
use crate::{
	bench::{
		hash::Hash,
		proof::{self, ProveError},
	},
	gpu::Pool,
	peer::{dial::Peer, wire::Push},
};
use std::{
	path::PathBuf,
	sync::{Arc, atomic::Ordering},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Runs one benchmark at a time, in the order in which they were asked for. The plot lies in `plots`. The
/// GPUs are looked for again before each: a driver that came late, or a GPU that is back, has cost one
/// benchmark at most.
pub async fn run_jobs(
	jobs: Arc<Jobs>,
	peer: Arc<Peer>,
	gpus: Arc<Pool>,
	plots: PathBuf,
	mut queue: mpsc::Receiver<Hash>,
) {
	let mut pushing = JoinSet::new();
	while let Some(id) = queue.recv().await {
		while pushing.try_join_next().is_some() {}
		let Some(turn) = jobs.turn(&id) else { continue };
		let Turn {
			job,
			committee,
			told,
			expires,
			stop,
		} = turn;
		for agent in committee.into_iter().filter(|agent| *agent != peer.key()) {
			pushing.spawn(push(peer.clone(), agent, told.subscribe(), expires));
		}
		tracing::info!(round = job.round, worker = job.worker, "benchmark begins");
		let (round, worker) = (job.round, job.worker);
		let (signer, gpus, plots) = (peer.clone(), gpus.clone(), plots.clone());
		let result = tokio::task::spawn_blocking(move || {
			let tell = |stage, root| {
				let push = Push::signed(signer.pair(), id, stage, root);
				told.send_modify(|all| all.push(push));
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			let devices = match job.gpu_plan() {
				Some(_) => gpus.look(),
				None => Vec::new(),
			};
			proof::prove_while(&job, &devices, &plots, tell, wanted)
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
