//! A worker's side: the benchmark, its attestation, and staying there for the openings.

use super::*;
use kaisar_primitives::{
	AgentKey, GpuClasses, RoundKind, Seats, WorkerInfo, WorkerRegistry, WorkerState,
	agent::{Attestation, PATH_PROVE, Progress, ProveRequest},
	offchain::Agent,
};

/// Attestations that all workers together mean to send in a block. A census of more than its phase can
/// take at this rate goes as fast as it must.
const ATTESTATIONS_A_BLOCK: u64 = 1_000;

/// Does what is due for the worker that holds `key`.
pub fn serve<T: Config>(key: &WorkerKey, rounds: &[Round], now: BlockNumber, until: Timestamp) {
	let Some(worker) = T::Workers::by_key(key) else {
		return;
	};
	let Some(agent) = Agent::of(key.as_ref(), now, until) else {
		return;
	};
	let next = now.saturating_add(1);
	for round in rounds {
		let Some(info) = T::Workers::info(worker, round.index) else {
			continue;
		};
		if info.key != *key {
			continue;
		}
		match round.phase(next) {
			Phase::Attest if Pallet::<T>::due(worker, round).is_ok() => {
				attest::<T>(key, worker, &info, round, &agent, now);
			}
			// The committee asks for openings now: an agent that has restarted must compute the
			// proof again, which it does when it is asked.
			Phase::Attest | Phase::Commit if has_open_check::<T>(worker, round.index) => {
				prove::<T>(worker, &info, round, &agent, now);
			}
			_ => {}
		}
	}
	if Pallet::<T>::is_over(worker) {
		finalize::<T>(alloc::vec![worker], now);
	}
}

fn has_open_check<T: Config>(worker: WorkerId, round: RoundIndex) -> bool {
	matches!(
		LastChecks::<T>::get(worker),
		Some(LastCheck::Open(check)) if check.round == round
	)
}

fn prove<T: Config>(
	worker: WorkerId,
	info: &WorkerInfo<T::AccountId>,
	round: &Round,
	agent: &Agent,
	now: BlockNumber,
) -> Option<[u8; 32]> {
	let seed = round.trial_seed?;
	let committee = Pallet::<T>::committee_of(worker, round.index)
		.into_iter()
		.filter_map(|(operator, _)| T::Seats::operator(operator, round.index))
		.map(|operator| (operator.key, operator.agent))
		.collect::<alloc::vec::Vec<(CheckerKey, AgentKey)>>();
	let request = ProveRequest {
		genesis: genesis::<T>(),
		round: round.index,
		seed,
		worker,
		spec: info.spec,
		bench: round.bench,
		reference: T::Classes::reference(info.spec.gpu_class, round.index),
		order: info
			.order
			.filter(|_| info.standings.at(round.index) == Some(&WorkerState::Rented)),
		committee,
		keep_ms: keep_ms(round, now),
	};
	match agent.ask::<Progress<Attestation>>(PATH_PROVE, &request)? {
		Progress::Working => None,
		Progress::Done(attestation) => Some(attestation.root),
		Progress::Failed(reason) => {
			if may_send((b"failed", worker, round.index), now) {
				log::warn!(
					target: LOG_TARGET,
					"worker {worker}: no proof for round {}: {reason}",
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
	agent: &Agent,
	now: BlockNumber,
) {
	let Some(root) = prove::<T>(worker, info, round, agent, now) else {
		return;
	};
	// The clock that counts has stopped with the signed root's arrival at the checkers; only the
	// submission is spread. An order that came since the round's start waits for no more than the check.
	let is_matched =
		info.order.is_some() && info.standings.at(round.index) != Some(&WorkerState::Rented);
	let due = match round.kind {
		RoundKind::Census => u64::from(round.online),
		RoundKind::Spot => u64::from(round.rented),
	};
	let blocks = super::window(due, ATTESTATIONS_A_BLOCK, round.phase_length);
	let before = round.attest_ends().saturating_sub(round.phase_length);
	let place = spread(key.as_ref(), round.seed, blocks);
	let first = before
		.saturating_add(1)
		.saturating_add(if is_matched { 0 } else { place });
	let sent: Sent = (b"attest", worker, round.index, 0, round.seed);
	// An old check that is over is closed first: the attestation would be used up for that.
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
		log::warn!(target: LOG_TARGET, "worker {worker}: the keystore does not sign");
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
