//! A checker's side: admitting workers' agents, announcing each round to the agent, having it check every
//! seat, committing to the votes, opening them, and reporting absent workers.

use super::{
	round_work::{
		Batch, Mark, RECEIPTS, REREAD, RoundWork, UnsettledSeat, WORK_LIST, note, round_work_key,
	},
	start::Started,
	*,
};
use alloc::{
	collections::{BTreeMap, BTreeSet},
	vec::Vec,
};
use kaisar_math::committee::{batch_of, batches};
use kaisar_primitives::{
	AgentSignature, GpuClasses, MAX_BATCH, OperatorId, OperatorInfo, Rentals, Seats, Verdict,
	WorkerRegistry,
	agent::{
		MAX_CLAIM_ROUNDS, MAX_CLAIMS, MAX_SEATS, PATH_CHECK, PATH_ROUND, PATH_SEATS, Progress,
		RoundStart, SeatAnswers, SeatClaim, SeatReply, SeatRequest, SeatRound, receipts_key,
	},
	commitment,
	offchain::{Agent, until},
};
use sp_runtime::BoundedVec;

/// Attested workers in one part of a scan for seats.
const SCAN: u32 = 256;
/// Maximum number of parts in one block.
const SCANS: u32 = 48;
/// Time after which a scan ends with its current part.
const SCAN_TIME: Duration = Duration::from_millis(300);
/// Maximum number of comparisons of batches with the state, where seats were in wrong batches, before they
/// are settled.
const CORRECTIONS: u32 = 4;
/// Part of the commit part, as one in this number, that is left when a batch stops to wait for seats without
/// a verdict: three blocks after the last windows remain to commit, and the waits of all batches do not end
/// in the last block.
const LAST_PART: BlockNumber = 4;
/// Workers that one block examines for absence, in each round.
const ABSENT_SCAN: u32 = 64;
/// The intended number of verdicts that all operators reveal in a block. A census that needs more than this
/// rate within its phase goes faster.
const VERDICTS_A_BLOCK: u64 = 4_000;

/// Maximum number of batches of claims that one block answers.
const CLAIM_BATCHES: usize = 16;
/// Time in which one block answers claims. The agent has the rest of its time to take the answers: one that
/// comes too late is lost, and the same claims would be handed out block after block.
const CLAIM_TIME: Duration = Duration::from_millis(500);

/// Does the due work of the operator that holds `key`.
pub fn serve<T: Config>(
	key: &CheckerKey,
	rounds: &[Round],
	started: &Started,
	now: BlockNumber,
	until: Timestamp,
) {
	let Some(operator) = T::Seats::by_key(key) else {
		return;
	};
	let agent = Agent::of(key.as_ref(), now, until);
	let scan_until = sp_io::offchain::timestamp().add(SCAN_TIME);

	for round in rounds {
		let Some((_, info)) = holder::<T>(key, round) else {
			continue;
		};
		let name = round_work_key(operator, round.index);
		let mut work = RoundWork::of(operator, round);
		work.acknowledged |= started.acknowledged.contains(&(operator, round.index));
		note(WORK_LIST, operator, round.index);
		let context = OperatorRound::<T> {
			key,
			operator,
			info,
			round,
			now,
		};
		match round.phase(now.saturating_add(1)) {
			Phase::Attest => context.check(&mut work, agent.as_ref(), scan_until),
			Phase::Commit => {
				context.check(&mut work, agent.as_ref(), scan_until);
				context.settle(&mut work);
				// The salt and the votes are on disk before their hash is anywhere else.
				StorageValueRef::persistent(&name).set(&work);
				context.commit(&work);
			}
			Phase::Reveal => context.reveal(&work),
			Phase::Prepare | Phase::Over => {}
		}
		StorageValueRef::persistent(&name).set(&work);
		context.report_absent();
	}
	admit::<T>(operator, key, rounds, now);
}

/// Returns the operator whose key in a round is `key`.
pub fn holder<T: Config>(
	key: &CheckerKey,
	round: &Round,
) -> Option<(OperatorId, OperatorInfo<T::AccountId>)> {
	let operator = T::Seats::by_key(key)?;
	let info = T::Seats::operator(operator, round.index)?;
	(info.key == *key).then_some((operator, info))
}

/// Returns the request that starts the agent's clock for a round's trial; `None` before its block. After
/// that block the clock would start too late: then the request is marked late, and the agent only keeps the
/// round's data.
pub fn round_start<T: Config>(round: &Round, now: BlockNumber) -> Option<RoundStart> {
	Some(RoundStart {
		genesis: genesis::<T>(),
		round: round.index,
		seed: round.seed,
		trial_seed: round.trial_seed?,
		keep_ms: keep_ms(round, now),
		late: now != round.trial,
	})
}

/// Answers which of the workers' agents that introduced themselves to the operator's agent it may admit:
/// those of workers for which the operator sits. It has its own time limit, so that it and the rest do not
/// delay each other.
///
/// Only claims of rounds in which the operator has this key are answered. While a key is replaced, two keys
/// have the same agent, and a "no" to the other's claims would hold for a whole round.
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
		// Unanswered claims are handed out again at the next block.
		let Some(claims) = agent.ask::<Vec<SeatClaim>>(PATH_SEATS, &request) else {
			return;
		};
		let named = |claim: &SeatClaim| rounds.iter().any(|round| round.round == claim.round);
		answers = claims
			.into_iter()
			.take(MAX_CLAIMS)
			.filter(named)
			// The other claims are handed out again.
			.take_while(|_| sp_io::offchain::timestamp() < ends)
			.map(|claim| (claim, sits_for::<T>(operator, &claim)))
			.collect();
		if answers.is_empty() {
			return;
		}
	}
}

/// Returns whether a worker has this agent and the operator sits for it. A false agent, which costs its
/// maker nothing but a key, is refused before any committee is drawn.
fn sits_for<T: Config>(operator: OperatorId, claim: &SeatClaim) -> bool {
	T::Workers::info(claim.worker, claim.round).is_some_and(|info| info.agent == claim.agent)
		&& Pallet::<T>::committee_of(claim.worker, claim.round)
			.iter()
			.any(|(other, _)| *other == operator)
}

/// A batch of votes that is not settled yet.
#[derive(Default)]
struct UnsettledBatch {
	votes: Vec<(WorkerId, Verdict)>,
	/// Its known seats without a vote.
	others: Vec<WorkerId>,
	/// Whether some of those still wait for a verdict.
	waits: bool,
	/// The last block after which it may still wait for verdicts.
	until: BlockNumber,
}

/// Context of the work for one operator in one round.
struct OperatorRound<'a, T: Config> {
	key: &'a CheckerKey,
	operator: OperatorId,
	info: OperatorInfo<T::AccountId>,
	round: &'a Round,
	now: BlockNumber,
}

impl<T: Config> OperatorRound<'_, T> {
	/// Finds the operator's seats among the attested workers. Reads the additions of the last blocks again:
	/// one of these may have had a rival, with other attestations or in another order. If none of the blocks
	/// at which it read is on this chain, it begins anew.
	fn find_seats(&self, work: &mut RoundWork, scan_until: Timestamp) {
		work.marks.retain(|mark| {
			mark.block < self.now && BlockSeeds::<T>::get(mark.block) == Some(mark.seed)
		});
		let settled = work
			.marks
			.iter()
			.rfind(|mark| mark.block.saturating_add(REREAD) <= self.now);
		let mut position = settled.map_or(0, |mark| mark.position);
		let mut before = None;
		for _ in 0..SCANS {
			let (seats, next) =
				Pallet::<T>::seats_of(self.operator, self.round.index, position, SCAN);
			for seat in seats {
				let (known, voted, settled) = before
					.get_or_insert_with(|| (work.known(), work.votes_settled(), work.settled()));
				self.note_seat(work, &seat, voted, settled);
				if !known.insert(seat.worker) {
					continue;
				}
				if work.unsettled.contains_key(&seat.worker) {
					work.pending.push(seat.worker);
				} else {
					work.failed.push(seat.worker);
				}
			}
			position = next.unwrap_or_else(|| AttestedCount::<T>::get(self.round.index));
			// Leave time to ask the agent in this run.
			if next.is_none() || sp_io::offchain::timestamp() >= scan_until {
				break;
			}
		}
		if let Some(seed) = BlockSeeds::<T>::get(self.now) {
			work.marks.push(Mark {
				block: self.now,
				seed,
				position,
			});
		}
		let old = work.marks.len().saturating_sub(REREAD as usize + 1);
		work.marks.drain(..old);
	}

	/// Notes a seat as unsettled, with its number, which may differ on another chain; not so if its vote or
	/// batch is settled.
	fn note_seat(
		&self,
		work: &mut RoundWork,
		seat: &SeatView,
		voted: &BTreeSet<WorkerId>,
		settled: &BTreeSet<u32>,
	) {
		let worker = seat.worker;
		if voted.contains(&worker) || settled.contains(&batch_of(seat.number)) {
			work.unsettled.remove(&worker);
			return;
		}
		match work.unsettled.get_mut(&worker) {
			Some(known) => known.number = seat.number,
			None => {
				let new = self.unsettled_seat(worker, seat.number, seat.full, seat.rented);
				work.unsettled.insert(worker, new);
			}
		}
	}

	/// Notes the unsettled seats that an earlier version found. Runs once, after an upgrade.
	fn note_all_seats(&self, work: &mut RoundWork) {
		if !core::mem::take(&mut work.lacks_unsettled) {
			return;
		}
		let (voted, settled) = (work.votes_settled(), work.settled());
		for worker in work.known() {
			if let Some((check, number)) = self.seat(worker)
				&& !voted.contains(&worker)
				&& !settled.contains(&batch_of(number))
			{
				let seat = self.unsettled_seat(worker, number, check.full, check.rented);
				work.unsettled.insert(worker, seat);
			}
		}
	}

	/// Announces the round to the agent, finds seats, and collects verdicts.
	fn check(&self, work: &mut RoundWork, agent: Option<&Agent>, scan_until: Timestamp) {
		if !work.acknowledged
			&& let (Some(agent), Some(start)) = (agent, round_start::<T>(self.round, self.now))
		{
			work.acknowledged = agent.ask::<()>(PATH_ROUND, &start).is_some();
		}
		self.note_all_seats(work);
		self.find_seats(work, scan_until);
		let Some(agent) = agent else { return };
		let asked = self.requests(work);
		if asked.is_empty() {
			return;
		}
		let Some(replies) = agent.ask::<Vec<SeatReply>>(PATH_CHECK, &asked) else {
			return;
		};
		// Answers about other seats are ignored.
		let mut asked: BTreeSet<WorkerId> = asked.iter().map(|seat| seat.worker).collect();
		let (mut working, mut served) = (Vec::new(), Vec::new());
		let mut answered = BTreeSet::new();
		for reply in replies {
			let worker = reply.worker;
			if !asked.remove(&worker) {
				continue;
			}
			answered.insert(worker);
			match reply.progress {
				Progress::Working => working.push(worker),
				Progress::Done(checked) => {
					work.verdicts.push((worker, checked.verdict));
					served.extend(checked.receipt.map(|receipt| (worker, receipt)));
				}
				// The agent cannot check this seat: no vote, rather than a false one.
				Progress::Failed(reason) => {
					work.failed.push(worker);
					log::warn!(
						target: LOG_TARGET,
						"operator {}: worker {worker} cannot be checked and gets no vote: {reason}",
						self.operator,
					);
				}
			}
		}
		work.pending.retain(|worker| !answered.contains(worker));
		// Waiting seats go to the end, so that all get their turn.
		work.pending.extend(working);
		self.keep_receipts(served);
	}

	/// Stores the receipts that prove that workers served this checker, in case its vote is the only one
	/// "online".
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

	/// Returns the seats that the agent is to check. Those whose bandwidth is to be measured now come first:
	/// a window is over before all seats of a large census had their turn. Reads no more of the state than
	/// these need.
	fn requests(&self, work: &mut RoundWork) -> Vec<SeatRequest> {
		let window_of = |worker: &WorkerId| Some((*worker, work.unsettled.get(worker)?.window));
		let (measured, others): (Vec<_>, Vec<_>) = work
			.pending
			.iter()
			.filter_map(window_of)
			.partition(|(_, window)| self.is_measured_now(*window));
		let mut asked = Vec::new();
		let mut gone = BTreeSet::new();
		for (worker, _) in measured.into_iter().chain(others) {
			if asked.len() == MAX_SEATS {
				break;
			}
			match self.seat(worker) {
				Some((check, _)) => asked.extend(self.request(worker, &check, work.seed)),
				// The attestation was dropped with its chain. If it returns, the seat is found again.
				None => {
					gone.insert(worker);
				}
			}
		}
		if !gone.is_empty() {
			work.pending.retain(|worker| !gone.contains(worker));
			work.unsettled.retain(|worker, _| !gone.contains(worker));
		}
		asked
	}

	/// Returns the block that fixes the bandwidth window of an owner's workers; `None` if their bandwidth is
	/// not measured.
	fn window(&self, owner: &T::AccountId, full: bool, rented: bool) -> Option<BlockNumber> {
		let is_measured = full && !rented && self.round.bench.bandwidth_secs > 0;
		is_measured.then(|| self.round.window_block(owner))
	}

	/// Returns the entry of a worker's unsettled seat.
	fn unsettled_seat(
		&self,
		worker: WorkerId,
		number: u32,
		full: bool,
		rented: bool,
	) -> UnsettledSeat {
		let measured = (full && !rented).then(|| T::Workers::info(worker, self.round.index));
		UnsettledSeat {
			number,
			window: measured
				.flatten()
				.and_then(|info| self.window(&info.owner, full, rented)),
		}
	}

	/// Returns whether the window fixed by a block has been fixed and is not over, or only just.
	fn is_measured_now(&self, window: Option<BlockNumber>) -> bool {
		self.now > self.round.attest_ends()
			&& window.is_some_and(|block| (block..=self.answered(block)).contains(&self.now))
	}

	/// Returns the block by which the agent has answered for the window fixed by `block`: the one after it.
	fn answered(&self, block: BlockNumber) -> BlockNumber {
		self.round.window_over(block).saturating_add(1)
	}

	/// Returns the request to check a worker; `None` until the block after its attestation, from whose
	/// randomness the openings are drawn.
	fn request(&self, worker: WorkerId, check: &Check, trial_seed: H256) -> Option<SeatRequest> {
		let open_seed = BlockSeeds::<T>::get(check.attested_at.saturating_add(1))?;
		let info = T::Workers::info(worker, self.round.index)?;
		let window = self
			.window(&info.owner, check.full, check.rented)
			.and_then(|block| window::begins::<T>(self.round, block, self.now));
		Some(SeatRequest {
			genesis: genesis::<T>(),
			round: self.round.index,
			seed: self.round.seed,
			trial_seed,
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
			window,
			rented: check.rented,
			order: info
				.order
				.filter(|order| check.rented && T::Rentals::serves(*order)),
		})
	}

	/// Settles the votes of each batch in which every seat has its verdict, or of all batches when the part
	/// is nearly over. A seat without a verdict then gets no vote.
	///
	/// Each batch is settled by itself: a sixteenth of the owners are measured in windows all over the part.
	/// If all votes waited for the last of them, a large census would have all commitments in its last
	/// blocks.
	fn settle(&self, work: &mut RoundWork) {
		let next = self.now.saturating_add(1);
		let length = self.round.phase_length;
		let first = self
			.round
			.attest_ends()
			.saturating_add(1)
			.saturating_add(spread(self.key.as_ref(), self.round.seed, length / 3));
		if next < first {
			return;
		}
		let mut ready = self.ready(work);
		for _ in 0..CORRECTIONS {
			if !self.correct(work, &ready) {
				break;
			}
			ready = self.ready(work);
		}
		if ready.is_empty() {
			return;
		}
		let mut voted = BTreeSet::new();
		for (number, batch) in ready {
			let Ok(number) = u16::try_from(number) else {
				continue;
			};
			voted.extend(batch.votes.iter().map(|(worker, _)| *worker));
			work.batches.push(Batch {
				number,
				votes: BoundedVec::truncate_from(batch.votes),
				salt: sp_io::offchain::random_seed(),
			});
		}
		work.batches.sort_unstable_by_key(|batch| batch.number);
		work.verdicts.retain(|(worker, _)| !voted.contains(worker));
		let settled = work.settled();
		let RoundWork {
			pending,
			failed,
			unsettled,
			..
		} = work;
		let is_over = |seat: &UnsettledSeat| settled.contains(&seat.batch());
		let of_it = |worker: &mut WorkerId| unsettled.get(worker).is_some_and(is_over);
		failed.extend(pending.extract_if(.., of_it));
		unsettled.retain(|_, seat| !is_over(seat));
	}

	/// Returns the batches to settle now.
	fn ready(&self, work: &RoundWork) -> BTreeMap<u32, UnsettledBatch> {
		let next = self.now.saturating_add(1);
		let seats = Pallet::<T>::counters(self.operator, self.round.index).seats;
		let settled = work.settled();
		let mut batches = self.unsettled_batches(work);
		batches.retain(|number, batch| {
			// A seat that moved there on another chain.
			if settled.contains(number) {
				return false;
			}
			let size = seats
				.saturating_sub(number.saturating_mul(MAX_BATCH))
				.min(MAX_BATCH);
			let known = batch.votes.len().saturating_add(batch.others.len());
			let is_complete = !batch.waits && known >= size as usize;
			!batch.votes.is_empty() && (is_complete || next > batch.until)
		});
		batches
	}

	/// Compares the seats of batches with the state, since seats may have been noted on another chain.
	/// Returns whether a seat's batch was wrong.
	fn correct(&self, work: &mut RoundWork, batches: &BTreeMap<u32, UnsettledBatch>) -> bool {
		let mut wrong = false;
		for (index, batch) in batches {
			let votes = batch.votes.iter().map(|(worker, _)| *worker);
			for worker in votes.chain(batch.others.iter().copied()) {
				let number = self.seat(worker).map(|(_, number)| number);
				if number.is_some_and(|number| batch_of(number) == *index) {
					continue;
				}
				wrong = true;
				match (number, work.unsettled.get_mut(&worker)) {
					(Some(number), Some(seat)) => seat.number = number,
					_ => {
						work.unsettled.remove(&worker);
					}
				}
			}
		}
		wrong
	}

	/// Returns the seats whose votes are not settled, by batch.
	fn unsettled_batches(&self, work: &RoundWork) -> BTreeMap<u32, UnsettledBatch> {
		let (length, ends) = (self.round.phase_length, self.round.commit_ends());
		let early = ends
			.saturating_sub((length / LAST_PART).max(1))
			.saturating_sub(1);
		let mut batches = BTreeMap::<u32, UnsettledBatch>::new();
		let mut count = |worker: WorkerId, verdict: Option<Verdict>, waits: bool| {
			let Some(seat) = work.unsettled.get(&worker) else {
				return;
			};
			let batch = batches.entry(seat.batch()).or_default();
			match verdict {
				Some(verdict) => batch.votes.push((worker, verdict)),
				None => batch.others.push(worker),
			}
			batch.until = batch.until.max(early);
			if waits {
				batch.waits = true;
				if let Some(block) = seat.window {
					// At least one block remains for the commitment.
					let answered = self.answered(block).min(ends.saturating_sub(1));
					batch.until = batch.until.max(answered);
				}
			}
		};
		for worker in &work.failed {
			count(*worker, None, false);
		}
		for worker in &work.pending {
			count(*worker, None, true);
		}
		for (worker, verdict) in &work.verdicts {
			count(*worker, Some(*verdict), false);
		}
		batches
	}

	/// Returns whether an unopened commitment to the batch is on chain.
	fn is_kept(&self, batch: u16) -> bool {
		Commitments::<T>::get((self.operator, Lane::of(self.round.index), batch))
			.is_some_and(|kept| kept.round == self.round.index)
	}

	/// Returns whether a call for a batch was not sent lately on this chain.
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
	fn commit(&self, work: &RoundWork) {
		for Batch {
			number,
			votes,
			salt,
		} in &work.batches
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
	/// Seats are numbered in the order of attestations, so the votes of one worker's committee are in about
	/// the same part of every operator's batches, and come in about the same blocks. If each operator
	/// revealed at a time of its own, most checks would be closed at the end of the phase, with the last of
	/// their votes: closing costs more than voting, and those blocks would be five times as full.
	fn reveal_from(&self, batch: u16, batches: u32) -> BlockNumber {
		let attested = u64::from(AttestedCount::<T>::get(self.round.index));
		let votes = attested.saturating_mul(u64::from(self.round.committee_size));
		let blocks = super::spread_over(votes, VERDICTS_A_BLOCK, self.round.phase_length);
		// Its position in its part of the window, so that operators do not all send in the first block.
		let part = blocks.div_ceil(batches.max(1));
		let offset = spread(self.key.as_ref(), self.round.seed, part);
		let before = u64::from(blocks)
			.saturating_mul(batch.into())
			.checked_div(batches.into())
			.unwrap_or(0);
		self.round
			.commit_ends()
			.saturating_add(1)
			.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
			.saturating_add(offset)
	}

	/// Submits the reveals of unopened commitments that are on chain.
	fn reveal(&self, work: &RoundWork) {
		let next = self.now.saturating_add(1);
		let seats = Pallet::<T>::counters(self.operator, self.round.index).seats;
		for Batch {
			number,
			votes,
			salt,
		} in &work.batches
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

	/// Reports workers that were due and did not attest, among a few drawn by the key and the block: all
	/// checkers together examine every worker many times over.
	///
	/// A worker with an old check that is over is not reported before that is closed, which may change
	/// whether it is due. The pool bans a call for a while that it once found invalid, and all reports of a
	/// worker in a round are the same.
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
