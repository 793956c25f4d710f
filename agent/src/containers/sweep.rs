//! Removes, stops or logs containers and programs that should not run.

use super::{
	engine::Fault,
	foreign,
	inspect::label,
	network,
	state::{LABEL_AGENT, LABEL_GENESIS, LABEL_WORKER, SupervisorState},
};
use std::{
	path::Path,
	sync::Arc,
	time::{Duration, Instant},
};

/// Interval of searches for containers that should not run.
const SWEEP: Duration = Duration::from_secs(5);
/// Number of those searches per search for programs on the GPUs.
const GPU_SWEEPS: u32 = 12;

/// Removes this agent's unclaimed containers, and stops containers of others while a customer pays.
pub(super) async fn sweep(shared: Arc<SupervisorState>) {
	let begun = Instant::now();
	let mut unclaimed = true;
	let mut sweeps = 0u32;
	let mut seen = Vec::new();
	loop {
		tokio::time::sleep(SWEEP.min(shared.settings.timeouts.unclaimed)).await;
		if unclaimed && begun.elapsed() >= shared.settings.timeouts.unclaimed {
			unclaimed = remove_unclaimed(&shared).await.is_err();
		}
		if !shared.settings.exclusive {
			continue;
		}
		let Some(rented) = shared.rented() else {
			continue;
		};
		if let Err(fault) = foreign::stop_others(&shared).await {
			tracing::debug!(%fault, "cannot look for other containers");
		}
		sweeps = sweeps.wrapping_add(1);
		if shared.gpus.count() > 0 && sweeps % GPU_SWEEPS == 1 {
			let programs = tokio::task::spawn_blocking(move || {
				foreign::gpu_programs(Path::new("/proc"), &rented)
			});
			if let Ok(programs) = programs.await
				&& programs != seen
			{
				for (pid, name) in &programs {
					tracing::warn!(
						pid,
						name,
						"another program uses a GPU that a customer pays for. Stop the program, or the customer may leave"
					);
				}
				seen = programs;
			}
		}
	}
}

/// Removes this agent's containers and networks whose worker it does not know.
async fn remove_unclaimed(shared: &SupervisorState) -> Result<(), Fault> {
	let Some(engine) = shared.engine() else {
		return Ok(());
	};
	let labels = [format!("{LABEL_AGENT}={}", shared.agent)];
	for found in engine.list(Some(&labels)).await? {
		let of = |name| label(&found, name).unwrap_or_default();
		if shared.knows(of(LABEL_GENESIS), of(LABEL_WORKER)) {
			continue;
		}
		if let Some(id) = &found.id {
			tracing::info!(container = id, "removing a container of an unknown worker");
			engine.remove(id).await?;
		}
	}
	network::tidy_unknown(shared, &engine).await
}
