//! A worker's side: announcing the round and its committee to the agent, starting the trial, attesting, and
//! keeping the proof available for the openings.

use super::{start::Started, *};
use alloc::vec::Vec;
use kaisar_primitives::{
	AgentKey, GpuClasses, MILLISECS_PER_BLOCK, OrderId, RoundKind, Seats, WorkerInfo,
	WorkerRegistry, WorkerState,
	agent::{
		Attestation, PATH_PREPARE, PATH_PROVE, PrepareRequest, Prepared, Progress, ProveRequest,
	},
	offchain::Agent,
};

/// The intended number of attestations of all workers in a block. A census that needs more than this rate
/// within its phase goes faster.
const ATTESTATIONS_A_BLOCK: u64 = 1_000;

/// The maximum rate of introductions, a second, to an operator that sits for all workers of a round.
const INTRODUCTIONS_A_SECOND: u64 = 500;

/// Does the due work of the worker that holds `key`.
pub fn serve<T: Config>(
	key: &WorkerKey,
	rounds: &[Round],
	started: &Started,
	now: BlockNumber,
	until: Timestamp,
) {
	let Some(worker) = T::Workers::by_key(key) else {
		return;
	};
	let Some(agent) = Agent::of(key.as_ref(), now, until) else {
		return;
	};
	let next = now.saturating_add(1);
	for round in rounds {
		let Some((_, info)) = holder::<T>(key, round) else {
			continue;
		};
		match round.phase(next) {
			Phase::Prepare if Pallet::<T>::due(worker, round).is_ok() => {
				prepare::<T>(worker, &info, round, &agent, now);
			}
			Phase::Attest if Pallet::<T>::due(worker, round).is_ok() => {
				let progress = match started.proofs.get(&(worker, round.index)) {
					Some(progress) => Some(progress.clone()),
					None => prove::<T>(worker, &info, round, &agent, now),
				};
				if let Some(root) = progress.and_then(|progress| root(worker, round, progress, now))
				{
					attest::<T>(key, worker, &info, round, root, now);
				}
			}
			// The committee asks for openings now. An agent that has restarted must compute the proof again,
			// which it does when it is asked.
			Phase::Attest | Phase::Commit if has_open_check::<T>(worker, round.index) => {
				let progress = prove::<T>(worker, &info, round, &agent, now);
				progress.and_then(|progress| root(worker, round, progress, now));
			}
			_ => {}
		}
	}
	if Pallet::<T>::is_over(worker) {
		finalize::<T>(alloc::vec![worker], now);
	}
}

/// Returns the worker whose key in a round is `key`.
pub fn holder<T: Config>(
	key: &WorkerKey,
	round: &Round,
) -> Option<(WorkerId, WorkerInfo<T::AccountId>)> {
	let worker = T::Workers::by_key(key)?;
	let info = T::Workers::info(worker, round.index)?;
	(info.key == *key).then_some((worker, info))
}

fn has_open_check<T: Config>(worker: WorkerId, round: RoundIndex) -> bool {
	matches!(
		LastChecks::<T>::get(worker),
		Some(LastCheck::Open(check)) if check.round == round
	)
}

/// Returns the keys and agents of a worker's committee in a round.
fn committee<T: Config>(worker: WorkerId, round: &Round) -> Vec<(CheckerKey, AgentKey)> {
	Pallet::<T>::committee_of(worker, round.index)
		.into_iter()
		.filter_map(|(operator, _)| T::Seats::operator(operator, round.index))
		.map(|operator| (operator.key, operator.agent))
		.collect()
}

/// Returns the worker's order, if it is rented in the round and so runs no trial.
fn rented_for<T: Config>(info: &WorkerInfo<T::AccountId>, round: &Round) -> Option<OrderId> {
	info.order
		.filter(|_| info.standings.at(round.index) == Some(&WorkerState::Rented))
}

/// Returns the number of workers that are due in a round.
fn due(round: &Round) -> u64 {
	match round.kind {
		RoundKind::Census => u64::from(round.online),
		RoundKind::Spot => u64::from(round.rented),
	}
}

/// Announces the round and its committee to the agent, again at each block: the agent may have restarted.
fn prepare<T: Config>(
	worker: WorkerId,
	info: &WorkerInfo<T::AccountId>,
	round: &Round,
	agent: &Agent,
	now: BlockNumber,
) {
	// At the round's start, so that all have introduced themselves before the trial.
	let spread_ms = due(round).saturating_mul(1_000) / INTRODUCTIONS_A_SECOND;
	let trial_ms = u64::from(round.trial.saturating_sub(now)).saturating_mul(MILLISECS_PER_BLOCK);
	let request = PrepareRequest {
		genesis: genesis::<T>(),
		round: round.index,
		seed: round.seed,
		worker,
		spec: info.spec,
		bench: round.bench,
		reference: T::Classes::reference(info.spec.gpu_class, round.index),
		trial_ms,
		committee: committee::<T>(worker, round),
		runs: rented_for::<T>(info, round).is_none(),
		spread_ms: spread_ms.min(trial_ms / 2),
		keep_ms: keep_ms(round, now),
	};
	let prepared = agent.ask::<Prepared>(PATH_PREPARE, &request);
	let Some(Prepared { members, connected }) = prepared.filter(|_| request.runs) else {
		return;
	};
	// The trial is next: agents that are not connected by now will get the roots late.
	if round.trial == now.saturating_add(1) && connected < members {
		log::warn!(
			target: LOG_TARGET,
			"worker {worker}: {connected} of {members} checkers' agents are connected at the trial of round \
			{}; the others may get its roots late and find less hardware: see the agent's log",
			round.index,
		);
	}
}

/// Returns the request that starts a round's trial; `None` before its block.
pub fn prove_request<T: Config>(
	worker: WorkerId,
	info: &WorkerInfo<T::AccountId>,
	round: &Round,
	now: BlockNumber,
) -> Option<ProveRequest> {
	Some(ProveRequest {
		genesis: genesis::<T>(),
		round: round.index,
		seed: round.seed,
		trial_seed: round.trial_seed?,
		worker,
		spec: info.spec,
		bench: round.bench,
		reference: T::Classes::reference(info.spec.gpu_class, round.index),
		order: rented_for::<T>(info, round),
		committee: committee::<T>(worker, round),
		keep_ms: keep_ms(round, now),
	})
}

fn prove<T: Config>(
	worker: WorkerId,
	info: &WorkerInfo<T::AccountId>,
	round: &Round,
	agent: &Agent,
	now: BlockNumber,
) -> Option<Progress<Attestation>> {
	let request = prove_request::<T>(worker, info, round, now)?;
	agent.ask(PATH_PROVE, &request)
}

/// Returns the root of a proof that is finished.
fn root(
	worker: WorkerId,
	round: &Round,
	progress: Progress<Attestation>,
	now: BlockNumber,
) -> Option<[u8; 32]> {
	match progress {
		Progress::Working => None,
		Progress::Done(attestation) => Some(attestation.root),
		Progress::Failed(reason) => {
			if may_send((b"failed", worker, round.index), now) {
				log::warn!(
					target: LOG_TARGET,
					"worker {worker}: no proof for round {}: {reason}; see the agent's log",
					round.index,
				);
			}
			None
		}
	}
}

fn attest<T: Config>(
	key: &WorkerKey,
	worker: WorkerId,
	info: &WorkerInfo<T::AccountId>,
	round: &Round,
	root: [u8; 32],
	now: BlockNumber,
) {
	// The measured time ended when the signed root arrived at the checkers; only the submission is spread. A
	// worker that was matched since the round's start does not wait, since its order waits for the check.
	let is_matched =
		info.order.is_some() && info.standings.at(round.index) != Some(&WorkerState::Rented);
	let blocks = super::spread_over(due(round), ATTESTATIONS_A_BLOCK, round.phase_length);
	let before = round.attest_ends().saturating_sub(round.phase_length);
	let place = spread(key.as_ref(), round.seed, blocks);
	let first = before
		.saturating_add(1)
		.saturating_add(if is_matched { 0 } else { place });
	let sent: Sent = (b"attest", worker, round.index, 0, round.seed);
	// An old check that is over is closed first: otherwise that would use up the attestation.
	let waits = now.saturating_add(1) < first || Pallet::<T>::is_over(worker);
	if waits || !may_send(sent, now) {
		return;
	}
	let payload = crate::checks::signing_payload(
		b"kaisar/attest",
		genesis::<T>(),
		round.seed,
		(worker, round.index, root),
	);
	let Some(signature) = key.sign(&payload) else {
		log::warn!(
			target: LOG_TARGET,
			"worker {worker}: the keystore cannot sign with its key: check the keystore's files",
		);
		forget(sent);
		return;
	};
	let call = Call::attest {
		worker,
		round: round.index,
		root,
		signature: Some(signature.into()),
	};
	if submit::<T, _>(call) {
		log::info!(target: LOG_TARGET, "worker {worker}: attesting in round {}", round.index);
	}
}
