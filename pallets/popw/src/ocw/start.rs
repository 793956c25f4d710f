//! The start of a trial, in the off-chain worker's run on the trial's block.
//!
//! The clocks of all workers and checkers start at that block, and a block later means 12 s less. So the
//! start waits neither for the run of the block before, which may hold the lock, nor for an agent that
//! failed in it: the agents of all keys are asked at once, whatever is noted about them. Nothing about the
//! round is stored before the lock is taken. An agent may get the request twice: the first one counts.

use super::{checker, worker, *};
use alloc::{
	collections::{BTreeMap, BTreeSet},
	vec::Vec,
};
use kaisar_primitives::{
	OperatorId,
	agent::{Attestation, PATH_PROVE, PATH_ROUND, Progress},
	offchain::Agent,
};

/// The answers of agents to the start of a trial.
#[derive(Default)]
pub struct Started {
	/// The progress of this node's workers.
	pub proofs: BTreeMap<(WorkerId, RoundIndex), Progress<Attestation>>,
	/// The operators whose agents acknowledged the round.
	pub acknowledged: BTreeSet<(OperatorId, RoundIndex)>,
}

/// Starts the trials of block `now` on the agents of this node's keys.
pub fn start<T: Config>(
	workers: &[WorkerKey],
	checkers: &[CheckerKey],
	rounds: &[Round],
	now: BlockNumber,
) -> Started {
	let mut started = Started::default();
	let begins = |round: &&Round| round.trial == now && round.trial_seed.is_some();
	let rounds: Vec<&Round> = rounds.iter().filter(begins).collect();
	let mut proofs = Vec::new();
	let mut starts = Vec::new();
	for round in rounds {
		for key in workers {
			let Some((worker, info)) = worker::holder::<T>(key, round) else {
				continue;
			};
			if Pallet::<T>::due(worker, round).is_err() {
				continue;
			}
			let request = worker::prove_request::<T>(worker, &info, round, now);
			let asked =
				request.and_then(|request| Agent::start(key.as_ref(), now, PATH_PROVE, &request));
			proofs.extend(asked.map(|asked| ((worker, round.index), asked)));
		}
		for key in checkers {
			let Some((operator, _)) = checker::holder::<T>(key, round) else {
				continue;
			};
			let request = checker::round_start::<T>(round, now);
			let asked = request
				.and_then(|request| Agent::start::<()>(key.as_ref(), now, PATH_ROUND, &request));
			starts.extend(asked.map(|asked| ((operator, round.index), asked)));
		}
	}
	for (name, asked) in proofs {
		started
			.proofs
			.extend(asked.answer().map(|answer| (name, answer)));
	}
	for (name, asked) in starts {
		started.acknowledged.extend(asked.answer().map(|()| name));
	}
	started
}
