//! A checker's side: telling the agent of each round, having it check every seat, committing to the
//! votes, opening them, and saying who is absent.

use super::*;
use alloc::vec::Vec;
use kaisar_primitives::{
	AgentSignature, GpuClasses, OperatorId, OperatorInfo, Rentals, Seats, Verdict, Votes,
	WorkerRegistry,
	agent::{
		MAX_SEATS, PATH_CHECK, PATH_ROUND, Progress, RoundStart, SeatReply, SeatRequest,
		receipts_key,
	},
	commitment,
	offchain::Agent,
};
use sp_runtime::BoundedVec;

/// Attested workers that one block looks through for seats.
const SCAN: u32 = 4_096;
/// Workers that one block looks at for absence, in each round.
const ABSENT_SCAN: u32 = 64;
/// Verdicts that all operators together mean to reveal in a block. A census of more than its phase can
/// take at this rate goes as fast as it must.
const VERDICTS_A_BLOCK: u64 = 4_000;

/// What this node has to do in a round for one operator, and how far it is. Kept in persistent local
/// storage, so that a restart in any phase goes on where it was.
#[derive(Default, Encode, Decode)]
struct Duty {
	/// The agent knows of the round.
	told: bool,
	/// Attested workers that were looked through.
	cursor: u32,
	/// Seats without a verdict.
	pending: Vec<WorkerId>,
	/// Seats with one.
	verdicts: Vec<(WorkerId, Verdict)>,
	/// The votes, once they are settled: what was committed is what is revealed.
	batches: Vec<(Votes, [u8; 32])>,
}

fn duty_key(operator: OperatorId, round: RoundIndex) -> Vec<u8> {
	(b"kaisar/popw/duty", operator, round).encode()
}

/// Rounds in which the operator has a duty on this node.
fn duties_key(operator: OperatorId) -> Vec<u8> {
	(b"kaisar/popw/duties", operator).encode()
}

/// Does what is due for the operator that holds `key`.
pub fn serve<T: Config>(key: &CheckerKey, rounds: &[Round], now: BlockNumber, until: Timestamp) {
	let Some(operator) = T::Seats::by_key(key) else {
		return;
	};
	let agent = Agent::of(key.as_ref(), now, until);
	let mut duties: Vec<RoundIndex> = read(&duties_key(operator)).unwrap_or_default();

	for round in rounds {
		let Some(info) = T::Seats::operator(operator, round.index) else {
			continue;
		};
		if info.key != *key {
			continue;
		}
		let name = duty_key(operator, round.index);
		let mut duty: Duty = read(&name).unwrap_or_default();
		if !duties.contains(&round.index) {
			duties.push(round.index);
			StorageValueRef::persistent(&duties_key(operator)).set(&duties);
			// No strike of so long ago can be annulled any more.
			if let Some(old) = round.index.checked_sub(2 * ROUND_DEPTH) {
				for old in [old, old.saturating_add(1)] {
					StorageValueRef::persistent(&receipts_key(operator, old)).clear();
				}
			}
		}
		let side = Side::<T> {
			key,
			operator,
			info,
			round,
			now,
		};
		match round.phase(now.saturating_add(1)) {
			Phase::Attest => side.check(&mut duty, agent.as_ref()),
			Phase::Commit => {
				side.check(&mut duty, agent.as_ref());
				side.settle(&mut duty);
				// The salt and the votes are on disk before their hash is anywhere else.
				StorageValueRef::persistent(&name).set(&duty);
				side.commit(&duty);
			}
			Phase::Reveal => side.reveal(&duty),
			Phase::Prepare | Phase::Over => {}
		}
		StorageValueRef::persistent(&name).set(&duty);
		side.report_absent();
	}

	duties.retain(|index| {
		if rounds.iter().any(|round| round.index == *index) {
			return true;
		}
		clean_up::<T>(operator, *index, now)
	});
	StorageValueRef::persistent(&duties_key(operator)).set(&duties);
}

/// A round is over: closes the checks that still stand open in it. Returns whether there is more to
/// do.
fn clean_up<T: Config>(operator: OperatorId, round: RoundIndex, now: BlockNumber) -> bool {
	let name = duty_key(operator, round);
	let duty: Duty = read(&name).unwrap_or_default();
	let open: Vec<WorkerId> = duty
		.verdicts
		.iter()
		.map(|(worker, _)| *worker)
		.chain(duty.pending.iter().copied())
		.filter(|worker| {
			matches!(
				LastChecks::<T>::get(worker),
				Some(LastCheck::Open(check)) if check.round == round && now > check.ends
			)
		})
		.collect();
	if open.is_empty() {
		StorageValueRef::persistent(&name).clear();
		for batch in 0..duty.batches.len() as u16 {
			forget((b"commit", operator, round, batch));
			forget((b"reveal", operator, round, batch));
		}
		return false;
	}
	let mut open = open;
	open.sort_unstable();
	open.dedup();
	finalize::<T>(open, now);
	true
}

/// One operator in one round.
struct Side<'a, T: Config> {
	key: &'a CheckerKey,
	operator: OperatorId,
	info: OperatorInfo<T::AccountId>,
	round: &'a Round,
	now: BlockNumber,
}

impl<T: Config> Side<'_, T> {
	/// Tells the agent of the round, finds seats, and collects verdicts.
	fn check(&self, duty: &mut Duty, agent: Option<&Agent>) {
		let (seats, cursor) =
			Pallet::<T>::seats_of(self.operator, self.round.index, duty.cursor, SCAN);
		duty.cursor = cursor.unwrap_or_else(|| AttestedCount::<T>::get(self.round.index));
		for seat in &seats {
			if !duty.pending.contains(&seat.worker)
				&& !duty
					.verdicts
					.iter()
					.any(|(worker, _)| *worker == seat.worker)
			{
				duty.pending.push(seat.worker);
			}
		}
		let Some(agent) = agent else { return };

		if !duty.told {
			let start = RoundStart {
				genesis: genesis::<T>(),
				round: self.round.index,
				seed: self.round.seed,
				keep_ms: keep_ms(self.round, self.now),
			};
			duty.told = agent.ask::<()>(PATH_ROUND, &start).is_some();
		}
		if !duty.batches.is_empty() {
			return;
		}
		let asked: Vec<SeatRequest> = duty
			.pending
			.iter()
			.filter_map(|worker| self.request(*worker))
			.take(MAX_SEATS)
			.collect();
		if asked.is_empty() {
			return;
		}
		let Some(replies) = agent.ask::<Vec<SeatReply>>(PATH_CHECK, &asked) else {
			return;
		};
		let mut served = Vec::new();
		for reply in replies {
			// An agent that answers what it was not asked is not listened to.
			let Some(position) = duty
				.pending
				.iter()
				.position(|worker| *worker == reply.worker)
			else {
				continue;
			};
			match reply.progress {
				// Those that wait go to the end, so that all get their turn.
				Progress::Working => {
					let worker = duty.pending.remove(position);
					duty.pending.push(worker);
				}
				Progress::Done(checked) => {
					duty.pending.remove(position);
					duty.verdicts.push((reply.worker, checked.verdict));
					served.extend(checked.receipt.map(|receipt| (reply.worker, receipt)));
				}
				// The agent cannot check this one: no vote, rather than a false one.
				Progress::Failed(reason) => {
					duty.pending.remove(position);
					log::warn!(
						target: LOG_TARGET,
						"operator {}: worker {} cannot be checked: {reason}",
						self.operator,
						reply.worker,
					);
				}
			}
		}
		self.keep_receipts(served);
	}

	/// Keeps what shows that workers served this checker, should it be alone with that.
	fn keep_receipts(&self, served: Vec<(WorkerId, AgentSignature)>) {
		if served.is_empty() {
			return;
		}
		let name = receipts_key(self.operator, self.round.index);
		let mut receipts: Vec<(WorkerId, AgentSignature)> = read(&name).unwrap_or_default();
		receipts.extend(served);
		StorageValueRef::persistent(&name).set(&receipts);
	}

	/// What the agent has to know to check a worker; `None` until the block after its attestation is
	/// there, whose randomness the openings are drawn from.
	fn request(&self, worker: WorkerId) -> Option<SeatRequest> {
		let Some(LastCheck::Open(check)) = LastChecks::<T>::get(worker) else {
			return None;
		};
		if check.round != self.round.index {
			return None;
		}
		let open_seed = BlockSeeds::<T>::get(check.attested_at.saturating_add(1))?;
		let info = T::Workers::info(worker, self.round.index)?;
		Some(SeatRequest {
			genesis: genesis::<T>(),
			round: self.round.index,
			seed: self.round.seed,
			worker,
			agent: info.agent,
			spec: info.spec,
			bench: self.round.bench,
			reference: T::Classes::reference(info.spec.gpu_class, self.round.index),
			root: check.root,
			open_seed,
			checker: self.key.clone(),
			seats: check.committee.len() as u8,
			full: check.full,
			rented: check.rented,
			order: info
				.order
				.filter(|order| check.rented && T::Rentals::serves(*order)),
		})
	}

	/// Settles the votes once every seat has its verdict, or when the phase is nearly over. What has
	/// no verdict then gets no vote.
	fn settle(&self, duty: &mut Duty) {
		if !duty.batches.is_empty() || duty.verdicts.is_empty() {
			return;
		}
		let next = self.now.saturating_add(1);
		let length = self.round.phase_length;
		let all_seen = duty.cursor == AttestedCount::<T>::get(self.round.index);
		let first = self
			.round
			.attest_ends()
			.saturating_add(1)
			.saturating_add(spread(self.key.as_ref(), self.round.seed, length / 3));
		let last = self.round.commit_ends().saturating_sub((length / 4).max(1));
		let complete = duty.pending.is_empty() && all_seen && next >= first;
		if !complete && next < last {
			return;
		}
		duty.verdicts.sort_unstable_by_key(|(worker, _)| *worker);
		duty.batches = duty
			.verdicts
			.chunks(kaisar_primitives::MAX_BATCH as usize)
			.map(|chunk| {
				(
					BoundedVec::truncate_from(chunk.to_vec()),
					sp_io::offchain::random_seed(),
				)
			})
			.collect();
	}

	/// Submits the commitments that are not on chain yet.
	fn commit(&self, duty: &Duty) {
		for (batch, (votes, salt)) in duty.batches.iter().enumerate() {
			let batch = batch as u16;
			let slot = (self.operator, Lane::of(self.round.index), batch);
			let there =
				Commitments::<T>::get(slot).is_some_and(|kept| kept.round == self.round.index);
			let sent: Sent = (b"commit", self.operator, self.round.index, batch);
			if there || !may_send(sent, self.now) {
				continue;
			}
			let genesis = genesis::<T>();
			let hash = commitment(genesis, self.round.index, self.operator, batch, votes, salt);
			let payload = crate::checks::signing_payload(
				b"kaisar/commit",
				genesis,
				self.round.seed,
				(self.operator, self.round.index, batch, hash),
			);
			let Some(signature) = self.key.sign(&payload) else {
				continue;
			};
			let call = Call::commit {
				operator: self.operator,
				round: self.round.index,
				batch,
				hash,
				signature: Some(signature.into()),
			};
			if submit::<T, _>(call) {
				log::info!(
					target: LOG_TARGET,
					"operator {}: committing to {} votes in round {}",
					self.operator,
					votes.len(),
					self.round.index,
				);
			}
		}
	}

	/// The first block in which a batch may be revealed.
	///
	/// Votes are in the order of their workers, so the votes of one worker's committee are in about the
	/// same part of everyone's batches and come in about the same blocks. Were operators to reveal each
	/// at a time of its own, most checks would be closed at the end of the phase, with the last of their
	/// votes: closing costs more than voting, and those blocks would be five times as full.
	fn reveal_from(&self, batch: u16, batches: usize) -> BlockNumber {
		let attested = u64::from(AttestedCount::<T>::get(self.round.index));
		let votes = attested.saturating_mul(u64::from(self.round.committee_size));
		let blocks = super::window(votes, VERDICTS_A_BLOCK, self.round.phase_length);
		// Its place in its part of the window, so that not all send in the first block of it.
		let part = blocks.div_ceil(u32::try_from(batches).unwrap_or(u32::MAX).max(1));
		let place = spread(self.key.as_ref(), self.round.seed, part);
		let before = u64::from(blocks)
			.saturating_mul(batch.into())
			.checked_div(batches as u64)
			.unwrap_or(0);
		self.round
			.commit_ends()
			.saturating_add(1)
			.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
			.saturating_add(place)
	}

	/// Submits the reveals of commitments that are on chain and not opened.
	fn reveal(&self, duty: &Duty) {
		let next = self.now.saturating_add(1);
		for (batch, (votes, salt)) in duty.batches.iter().enumerate() {
			let batch = batch as u16;
			if next < self.reveal_from(batch, duty.batches.len()) {
				break;
			}
			let slot = (self.operator, Lane::of(self.round.index), batch);
			let there =
				Commitments::<T>::get(slot).is_some_and(|kept| kept.round == self.round.index);
			let sent: Sent = (b"reveal", self.operator, self.round.index, batch);
			if !there || !may_send(sent, self.now) {
				continue;
			}
			let payload = crate::checks::signing_payload(
				b"kaisar/reveal",
				genesis::<T>(),
				self.round.seed,
				(self.operator, self.round.index, batch, votes, salt),
			);
			let Some(signature) = self.key.sign(&payload) else {
				continue;
			};
			let call = Call::reveal {
				operator: self.operator,
				round: self.round.index,
				batch,
				votes: votes.clone(),
				salt: *salt,
				signature: Some(signature.into()),
			};
			if submit::<T, _>(call) {
				log::info!(
					target: LOG_TARGET,
					"operator {}: revealing {} votes in round {}",
					self.operator,
					votes.len(),
					self.round.index,
				);
			}
		}
	}

	/// Says who was due and did not attest, among a few workers drawn by the key and the block: all
	/// checkers together look at everyone many times over.
	fn report_absent(&self) {
		let next = self.now.saturating_add(1);
		if !matches!(self.round.phase(next), Phase::Commit | Phase::Reveal)
			|| self.info.licenses == 0
		{
			return;
		}
		let registered = T::Workers::counts().registered;
		let draw = BlockSeeds::<T>::get(self.now).unwrap_or_default();
		let from = spread(self.key.as_ref(), draw, registered);
		for offset in 0..ABSENT_SCAN.min(registered) {
			let worker = from
				.saturating_add(offset)
				.checked_rem(registered)
				.unwrap_or(0);
			if Pallet::<T>::due(worker, self.round).is_err() {
				continue;
			}
			let sent: Sent = (b"absent", worker, self.round.index, 0);
			if may_send(sent, self.now) {
				let call = Call::report_absent {
					worker,
					round: self.round.index,
				};
				if submit::<T, _>(call) {
					log::info!(
						target: LOG_TARGET,
						"operator {}: worker {worker} is absent in round {}",
						self.operator,
						self.round.index,
					);
				}
			}
		}
	}
}
