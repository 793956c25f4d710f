//! A checker's side: saying which workers' agents may push, telling the agent of each round, having it check every seat, committing to the
//! votes, opening them, and reporting who is absent.

use super::{
	duty::{Batch, DUTIES, Duty, Mark, RECEIPTS, REREAD, duty_key, note},
	*,
};
use alloc::{collections::BTreeMap, vec::Vec};
use kaisar_math::committee::{batch_of, batches};
use kaisar_primitives::{
	AgentSignature, GpuClasses, OperatorId, OperatorInfo, Rentals, Seats, Verdict, WorkerRegistry,
	agent::{
		MAX_CLAIM_ROUNDS, MAX_CLAIMS, MAX_SEATS, PATH_CHECK, PATH_ROUND, PATH_SEATS, Progress,
		RoundStart, SeatAnswers, SeatClaim, SeatReply, SeatRequest, SeatRound, receipts_key,
	},
	commitment,
	offchain::{Agent, until},
};
use sp_runtime::BoundedVec;

/// Attested workers that one block looks through for seats, in so many parts.
const SCAN: u32 = 4_096;
/// Parts of a look through the list in one block.
const SCANS: u32 = 3;
/// Workers that one block looks at for absence, in each round.
const ABSENT_SCAN: u32 = 64;
/// Verdicts that all operators together mean to reveal in a block. A census of more than its phase can
/// take at this rate goes as fast as it must.
const VERDICTS_A_BLOCK: u64 = 4_000;

/// Most batches of claims that one block answers.
const CLAIM_BATCHES: usize = 16;
/// Time that one block takes to answer claims. The agent has the rest of its time to take the answers: one
/// that comes too late is lost, and the same claims would be handed out block after block.
const CLAIM_TIME: Duration = Duration::from_millis(500);

/// Does what is due for the operator that holds `key`.
pub fn serve<T: Config>(key: &CheckerKey, rounds: &[Round], now: BlockNumber, until: Timestamp) {
	let Some(operator) = T::Seats::by_key(key) else {
		return;
	};
	let agent = Agent::of(key.as_ref(), now, until);

	for round in rounds {
		let Some(info) = T::Seats::operator(operator, round.index) else {
			continue;
		};
		if info.key != *key {
			continue;
		}
		let name = duty_key(operator, round.index);
		let mut duty = Duty::of(operator, round);
		note(DUTIES, operator, round.index);
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
	admit::<T>(operator, key, rounds, now);
}

/// Says which of the workers' agents that introduced themselves to the operator's agent it may admit: those
/// of workers that the operator sits for. Has a time of its own, so that neither waits for the other.
///
/// Only claims of rounds in which the operator has this key are answered. While a key is replaced, two keys
/// have the same agent, and a no to the other's claims would hold for a whole round.
fn admit<T: Config>(operator: OperatorId, key: &CheckerKey, rounds: &[Round], now: BlockNumber) {
	let next = now.saturating_add(1);
	let sits_in = |round: &&Round| {
		matches!(round.phase(next), Phase::Prepare | Phase::Attest)
			&& T::Seats::operator(operator, round.index).is_some_and(|info| info.key == *key)
	};
	let rounds: Vec<SeatRound> = rounds
		.iter()
		.filter(sits_in)
		.take(MAX_CLAIM_ROUNDS)
		.map(|round| SeatRound {
			round: round.index,
			seed: round.seed,
			keep_ms: keep_ms(round, now),
		})
		.collect();
	if rounds.is_empty() {
		return;
	}
	let Some(agent) = Agent::of(key.as_ref(), now, until()) else {
		return;
	};
	let ends = sp_io::offchain::timestamp().add(CLAIM_TIME);
	let mut answers = Vec::new();
	for _ in 0..=CLAIM_BATCHES {
		let request = SeatAnswers {
			genesis: genesis::<T>(),
			rounds: rounds.clone(),
			answers,
		};
		// What it was asked last is asked again at the next block.
		let Some(claims) = agent.ask::<Vec<SeatClaim>>(PATH_SEATS, &request) else {
			return;
		};
		let named = |claim: &SeatClaim| rounds.iter().any(|round| round.round == claim.round);
		answers = claims
			.into_iter()
			.take(MAX_CLAIMS)
			.filter(named)
			// The others are handed out again.
			.take_while(|_| sp_io::offchain::timestamp() < ends)
			.map(|claim| (claim, sits_for::<T>(operator, &claim)))
			.collect();
		if answers.is_empty() {
			return;
		}
	}
}

/// Whether a worker has this agent and the operator sits for it. A false agent, which costs others nothing
/// but a key, is found before any committee is drawn.
fn sits_for<T: Config>(operator: OperatorId, claim: &SeatClaim) -> bool {
	T::Workers::info(claim.worker, claim.round).is_some_and(|info| info.agent == claim.agent)
		&& Pallet::<T>::committee_of(claim.worker, claim.round)
			.iter()
			.any(|(other, _)| *other == operator)
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
	/// Finds the operator's seats among the attested workers. Reads again what the last blocks added: one of
	/// them may have had a rival, with other attestations or in another order. Where the chain it knew is gone
	/// altogether, it begins anew.
	fn find_seats(&self, duty: &mut Duty) {
		duty.marks.retain(|mark| {
			mark.block < self.now && BlockSeeds::<T>::get(mark.block) == Some(mark.seed)
		});
		let settled = duty
			.marks
			.iter()
			.rfind(|mark| mark.block.saturating_add(REREAD) <= self.now);
		let mut position = settled.map_or(0, |mark| mark.position);
		let mut found = Vec::new();
		for _ in 0..SCANS {
			let (seats, next) =
				Pallet::<T>::seats_of(self.operator, self.round.index, position, SCAN);
			found.extend(seats.into_iter().map(|seat| seat.worker));
			position = next.unwrap_or_else(|| AttestedCount::<T>::get(self.round.index));
			if next.is_none() {
				break;
			}
		}
		if !found.is_empty() {
			let known = duty.known();
			found.retain(|worker| !known.contains(worker));
			duty.pending.extend(found);
		}
		if let Some(seed) = BlockSeeds::<T>::get(self.now) {
			duty.marks.push(Mark {
				block: self.now,
				seed,
				position,
			});
		}
		let old = duty.marks.len().saturating_sub(REREAD as usize + 1);
		duty.marks.drain(..old);
	}

	/// Whether the whole list of attested workers was read.
	fn has_read_all(&self, duty: &Duty) -> bool {
		let read = duty.marks.last().map_or(0, |mark| mark.position);
		read == AttestedCount::<T>::get(self.round.index)
	}

	/// Tells the agent of the round, finds seats, and collects verdicts.
	fn check(&self, duty: &mut Duty, agent: Option<&Agent>) {
		self.find_seats(duty);
		let Some(agent) = agent else { return };

		if !duty.told {
			let start = RoundStart {
				genesis: genesis::<T>(),
				round: self.round.index,
				seed: duty.seed,
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
			.filter_map(|worker| self.request(*worker, duty.seed))
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
					duty.failed.push(duty.pending.remove(position));
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
		note(RECEIPTS, self.operator, self.round.index);
		let name = receipts_key(self.operator, self.round.index);
		let mut receipts: Vec<(WorkerId, AgentSignature)> = read(&name).unwrap_or_default();
		receipts.extend(served);
		StorageValueRef::persistent(&name).set(&receipts);
	}

	/// Returns the worker's open check in this round and the number of the operator's seat in it.
	fn seat(&self, worker: WorkerId) -> Option<(Check, u32)> {
		let Some(LastCheck::Open(check)) = LastChecks::<T>::get(worker) else {
			return None;
		};
		let seat = check
			.committee
			.iter()
			.find(|seat| seat.operator == self.operator && check.round == self.round.index)?;
		let number = seat.number;
		Some((check, number))
	}

	/// Returns what the agent has to know to check a worker; `None` until the block after its attestation,
	/// whose randomness the openings are drawn from.
	fn request(&self, worker: WorkerId, seed: H256) -> Option<SeatRequest> {
		let (check, _) = self.seat(worker)?;
		let open_seed = BlockSeeds::<T>::get(check.attested_at.saturating_add(1))?;
		let info = T::Workers::info(worker, self.round.index)?;
		Some(SeatRequest {
			genesis: genesis::<T>(),
			round: self.round.index,
			seed,
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

	/// Settles the votes once every seat has its verdict, or when the phase is nearly over, and cuts them by
	/// the seats' batches. A seat without a verdict gets no vote then.
	fn settle(&self, duty: &mut Duty) {
		if !duty.batches.is_empty() || duty.verdicts.is_empty() {
			return;
		}
		// Of an attestation that did not stand nothing is to come.
		duty.pending.retain(|worker| self.seat(*worker).is_some());
		let next = self.now.saturating_add(1);
		let length = self.round.phase_length;
		let first = self
			.round
			.attest_ends()
			.saturating_add(1)
			.saturating_add(spread(self.key.as_ref(), self.round.seed, length / 3));
		let last = self.round.commit_ends().saturating_sub((length / 4).max(1));
		let complete = duty.pending.is_empty() && self.has_read_all(duty) && next >= first;
		if !complete && next < last {
			return;
		}
		let mut votes = BTreeMap::<u32, Vec<(WorkerId, Verdict)>>::new();
		for (worker, verdict) in &duty.verdicts {
			if let Some((_, number)) = self.seat(*worker) {
				let batch = votes.entry(batch_of(number)).or_default();
				batch.push((*worker, *verdict));
			}
		}
		let batches = votes.into_iter().filter_map(|(number, votes)| {
			Some(Batch {
				number: u16::try_from(number).ok()?,
				votes: BoundedVec::truncate_from(votes),
				salt: sp_io::offchain::random_seed(),
			})
		});
		duty.batches = batches.collect();
	}

	/// Whether a commitment to the batch is on chain and was not opened.
	fn is_kept(&self, batch: u16) -> bool {
		Commitments::<T>::get((self.operator, Lane::of(self.round.index), batch))
			.is_some_and(|kept| kept.round == self.round.index)
	}

	/// Whether a call for a batch was not sent lately on this chain.
	fn may_send(&self, call: &'static [u8; 6], batch: u16) -> bool {
		let sent: Sent = (
			call,
			self.operator,
			self.round.index,
			batch,
			self.round.seed,
		);
		may_send(sent, self.now)
	}

	/// Submits the commitments that are not on chain yet.
	fn commit(&self, duty: &Duty) {
		for Batch {
			number,
			votes,
			salt,
		} in &duty.batches
		{
			let batch = *number;
			if self.is_kept(batch) || !self.may_send(b"commit", batch) {
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

	/// Returns the first block in which batch `batch` of `batches` may be revealed.
	///
	/// Seats are numbered in the order of attestations, so the votes of one worker's committee are in about the
	/// same part of everyone's batches and come in about the same blocks. Were operators to reveal each at a
	/// time of its own, most checks would be closed at the end of the phase, with the last of their votes:
	/// closing costs more than voting, and those blocks would be five times as full.
	fn reveal_from(&self, batch: u16, batches: u32) -> BlockNumber {
		let attested = u64::from(AttestedCount::<T>::get(self.round.index));
		let votes = attested.saturating_mul(u64::from(self.round.committee_size));
		let blocks = super::window(votes, VERDICTS_A_BLOCK, self.round.phase_length);
		// Its place in its part of the window, so that not all send in the first block of it.
		let part = blocks.div_ceil(batches.max(1));
		let place = spread(self.key.as_ref(), self.round.seed, part);
		let before = u64::from(blocks)
			.saturating_mul(batch.into())
			.checked_div(batches.into())
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
		let seats = Pallet::<T>::counters(self.operator, self.round.index).seats;
		for Batch {
			number,
			votes,
			salt,
		} in &duty.batches
		{
			let batch = *number;
			if next < self.reveal_from(batch, batches(seats)) {
				break;
			}
			if !self.is_kept(batch) || !self.may_send(b"reveal", batch) {
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

	/// Reports who was due and did not attest, among a few workers drawn by the key and the block: all
	/// checkers together look at everyone many times over.
	///
	/// A worker with an old check that is over is not reported before that is closed, which may change whether
	/// it is due. The pool bans a call for a while that it found invalid once, and reports of a worker in a
	/// round all look the same.
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
			if Pallet::<T>::is_over(worker) {
				finalize::<T>(alloc::vec![worker], self.now);
				continue;
			}
			let sent: Sent = (b"absent", worker, self.round.index, 0, self.round.seed);
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
