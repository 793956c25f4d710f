//! Runs the benchmarks, one at a time.

use super::{
	jobs::{JobState, Jobs, Turn},
	push::push,
};
use crate::{
	bench::{
		device::Device,
		evidence,
		hash::Hash,
		proof::{self, ProveError},
	},
	host::{
		clock::wall_ms,
		report::{Benchmark, Report},
	},
	peer::{dial::Peer, wire::Push},
};
use std::{
	path::PathBuf,
	sync::{Arc, atomic::Ordering},
	time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Runs one benchmark at a time, in the order in which they were asked for. The plot lies in `plots`.
pub async fn run_jobs(
	jobs: Arc<Jobs>,
	peer: Arc<Peer>,
	report: Arc<Report>,
	devices: Vec<Arc<dyn Device>>,
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
		let (signer, devices, plots) = (peer.clone(), devices.clone(), plots.clone());
		let (run, begun) = (job.clone(), Instant::now());
		let result = tokio::task::spawn_blocking(move || {
			let tell = |stage, root| {
				let push = Push::signed(signer.pair(), id, stage, root);
				told.send_modify(|all| all.push(push));
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			proof::prove_while(&run, &devices, &plots, tell, wanted)
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
