//! Prepares and runs the trials, one at a time.

use super::{
	jobs::{Jobs, Next, trial_of},
	plots::Plots,
	push::{Committees, Outbox, complete, post},
};
use crate::{
	gpu::Pool,
	host::{
		clock::wall_ms,
		memory::{fillable_again, fillable_now},
		report::{Benchmark, Report},
		store::now_ms,
	},
	peer::{
		dial::Peer,
		wire::{Push, Trial},
	},
	trial::{
		hash::Hash,
		job::{Job, Sizes},
		part::Part,
		run::{Machine, Prepared, Proof},
	},
};
use kaisar_primitives::AgentKey;
use std::{
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
	},
	time::{Duration, Instant},
};
use tokio::sync::watch;

/// The parts of an agent that its trials need.
pub struct Runner {
	/// The jobs.
	pub jobs: Arc<Jobs>,
	/// The committees, which get the parts.
	pub committees: Arc<Committees>,
	/// The agent, which signs the parts.
	pub peer: Arc<Peer>,
	/// The report for the operator.
	pub report: Arc<Report>,
	/// The GPUs. Each trial searches for them again, so that a late driver or a returned GPU costs at most
	/// one trial.
	pub gpus: Arc<Pool>,
	/// The plot.
	pub plots: Plots,
}

impl Runner {
	/// Runs until the agent stops.
	pub async fn run(self) {
		loop {
			match self.jobs.next().await {
				Next::Prepare {
					id,
					job,
					sizes,
					again,
					left,
					stop,
				} => {
					let left = (!again).then_some(left);
					self.prepare(id, job, sizes, left, stop).await;
				}
				next @ Next::Run { .. } => self.trial(next).await,
			}
		}
	}

	async fn prepare(
		&self,
		id: Hash,
		job: Job,
		sizes: Option<Sizes>,
		left: Option<Duration>,
		stop: Arc<AtomicBool>,
	) {
		let (round, worker) = (job.round, job.worker);
		tracing::info!(round, worker, "preparing a trial");
		let begun = Instant::now();
		let (gpus, plots) = (self.gpus.clone(), self.plots.clone());
		let prepared = tokio::task::spawn_blocking(move || {
			let plan = job.plan();
			plots.want(job.recipe(), plan.groups);
			// Growing takes memory too, so it is held before the memory is measured.
			let hold = plots.hold();
			let machine = Machine {
				devices: if plan.gpus > 0 {
					gpus.look()
				} else {
					Vec::new()
				},
				memory: fillable_now(),
				memory_again: fillable_again(),
				groups: plots.ready(&job.recipe()),
				undisturbed: Box::new(hold),
				plot: &|size| plots.take(&job.recipe(), size),
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			Prepared::new(&job, sizes, machine, left, &wanted)
		})
		.await;
		match prepared {
			Ok(Some(prepared)) => {
				tracing::info!(
					round,
					worker,
					took = ?begun.elapsed(),
					sizes = ?prepared.sizes(),
					"ready for a trial"
				);
				self.jobs.prepared(&id, Arc::new(prepared));
			}
			// Another seed is wanted; its job comes next.
			Ok(None) => (),
			Err(error) => self.fail(
				&id,
				(round, worker),
				format!("the preparation crashed: {error}"),
			),
		}
	}

	async fn trial(&self, next: Next) {
		let Next::Run {
			id,
			prepared,
			trial_seed,
			roots,
			committee,
			expires,
			stop,
		} = next
		else {
			return;
		};
		let job = prepared.job();
		let (round, worker) = (job.round, job.worker);
		let Some(trial) = trial_of(job, Some(trial_seed)) else {
			return;
		};
		// After a restart, nothing else has informed the committee.
		let outbox = self.tell_committee(trial, committee, expires);
		tracing::info!(round, worker, "a trial begins");
		let begun = Instant::now();
		let signer = self.peer.clone();
		let sender = outbox.clone();
		let running = prepared.clone();
		let proof = tokio::task::spawn_blocking(move || {
			let tell_all = |part: Part, root: Hash| {
				if let Some(outbox) = &sender {
					post(outbox, Push::signed(signer.pair(), trial, part, root));
				}
			};
			let wanted = || !stop.load(Ordering::Relaxed);
			running.run(trial_seed, &tell_all, &wanted)
		})
		.await;
		if let Some(outbox) = &outbox {
			complete(outbox, trial);
		}
		let proof = match proof {
			Ok(Some(proof)) => proof,
			Ok(None) => {
				tracing::info!(
					round,
					worker,
					"a trial is dropped: the chain has another seed"
				);
				return;
			}
			Err(error) => {
				return self.fail(&id, (round, worker), format!("the trial crashed: {error}"));
			}
		};
		let proof = match roots {
			Some(roots) => proof.attested(roots),
			None => proof,
		};
		self.say(&proof, begun.elapsed());
		self.jobs.done(&id, Arc::new(proof));
	}

	/// Starts to send a trial's parts to its committee.
	fn tell_committee(
		&self,
		trial: Trial,
		committee: Vec<AgentKey>,
		expires: u64,
	) -> Option<watch::Sender<Outbox>> {
		let keep_ms = expires.saturating_sub(now_ms());
		let of = (trial.genesis, trial.round, trial.worker);
		self.committees
			.prepare(of, committee, true, Duration::ZERO, keep_ms);
		self.committees.begin(trial)
	}

	/// Logs and reports a completed trial.
	fn say(&self, proof: &Proof, took: Duration) {
		let job = proof.prepared().job();
		let (round, worker) = (job.round, job.worker);
		tracing::info!(
			round,
			worker,
			root = hex::encode(proof.root()),
			?took,
			"a trial is done"
		);
		// By this agent's clock, without the network's delay.
		let (_, remarks) = proof.judged();
		if !remarks.is_empty() {
			tracing::warn!(
				round,
				worker,
				"the trial shows less than the claim: {}. Claim what `kaisar-agent detect` prints, or see what else \
				 uses the machine",
				remarks.join("; ")
			);
		}
		self.report.benchmark(Benchmark {
			at: wall_ms(),
			round,
			worker,
			took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
			root: Some(hex::encode(proof.root())),
			remarks,
		});
	}

	fn fail(&self, id: &Hash, (round, worker): (u32, u32), error: String) {
		tracing::error!(
			round,
			worker,
			error,
			"a trial failed: nothing is attested in this round"
		);
		self.report.benchmark(Benchmark {
			at: wall_ms(),
			round,
			worker,
			took_ms: 0,
			root: None,
			remarks: vec![error.clone()],
		});
		self.jobs.failed(id, error);
	}
}
