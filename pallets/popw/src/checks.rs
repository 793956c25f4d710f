//! Checks: opened by an attestation, filled by reveals, closed once.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{defensive, ensure, traits::Defensive, weights::Weight};
use kaisar_primitives::{
	BlockNumber, CheckedWorkers, Checks, ClosedCheck, ClosedSeat, Closing, OnClosed, OperatorId,
	Outcome, Proved, RoundIndex, SeatResult, Seats, Verdict, Votes, WorkerId, WorkerInfo,
	WorkerRegistry,
	authorized::{Signer, genesis},
};
use sp_core::H256;
use sp_runtime::{BoundedVec, DispatchError, DispatchResult};

/// Counts of the checks that a call closed, for its weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Closed {
	/// Checks that only repeated the known facts.
	pub confirming: u32,
	/// All other checks.
	pub changing: u32,
	/// The weight that observers added ([`OnClosed::on_closed`]).
	pub observers: Weight,
}

impl Closed {
	fn add(&mut self, other: Self) {
		self.confirming = self.confirming.saturating_add(other.confirming);
		self.changing = self.changing.saturating_add(other.changing);
		self.observers = self.observers.saturating_add(other.observers);
	}
}

impl<T: Config> Pallet<T> {
	pub(crate) fn ensure_round(index: RoundIndex, phase: Phase) -> Result<Round, Error<T>> {
		let round = Rounds::<T>::get(index).ok_or(Error::<T>::UnknownRound)?;
		ensure!(round.phase(Self::now()) == phase, Error::<T>::WrongPhase);
		Ok(round)
	}

	/// What `attest` asks for, but for who sends it.
	pub(crate) fn ensure_attest(
		worker: WorkerId,
		round: RoundIndex,
	) -> Result<(Round, crate::committee::Due<T::AccountId>), Error<T>> {
		let round = Self::ensure_round(round, Phase::Attest)?;
		let due = Self::due(worker, &round)?;
		Ok((round, due))
	}

	/// Returns how many draws the committee took, and what old check was closed first.
	pub(crate) fn do_attest(
		signer: Signer<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
		root: [u8; 32],
	) -> Result<(u32, Closed), DispatchError> {
		let closed = Self::close_if_over(worker, None);
		let (round, due) = Self::ensure_attest(worker, round)?;
		ensure!(signer.stands_for(&due.info.owner), Error::<T>::NotOwner);

		let (committee, draws) = Self::draw_committee(worker, &due.info.owner, &round);
		let seats = BoundedVec::truncate_from(
			committee
				.iter()
				.map(|operator| Seat {
					operator: *operator,
					vote: None,
				})
				.collect(),
		);
		T::Workers::attested(worker, round.index)?;
		LastChecks::<T>::insert(
			worker,
			LastCheck::Open(Check {
				round: round.index,
				round_start: round.start,
				ends: round.ends(),
				attested_at: Self::now(),
				root,
				size: round.params.committee_size,
				committee: seats,
				verify_only: due.verify_only,
				full: due.full,
				rented: due.rented,
				max_gap: round.params.max_gap,
			}),
		);
		let position = AttestedCount::<T>::get(round.index);
		Attested::<T>::mutate(round.index, position / PAGE, |page| {
			page.try_push(worker)
				.defensive_proof("pages are filled one after the other")
		})
		.ok();
		AttestedCount::<T>::insert(round.index, position.saturating_add(1));
		Self::deposit_event(Event::Attested {
			worker,
			round: round.index,
			root,
			committee,
		});
		Ok((draws, closed))
	}

	/// What `commit` asks for, but for who sends it.
	pub(crate) fn ensure_commit(
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
	) -> Result<(Round, kaisar_primitives::OperatorInfo<T::AccountId>), Error<T>> {
		let round = Self::ensure_round(round, Phase::Commit)?;
		let info = T::Seats::operator(operator, round.index).ok_or(Error::<T>::UnknownOperator)?;
		ensure!(info.licenses > 0, Error::<T>::NoLicense);
		let limit = kaisar_math::committee::batch_limit(
			info.licenses,
			AttestedCount::<T>::get(round.index),
			round.params.committee_size.into(),
			round.active,
		);
		ensure!(u32::from(batch) < limit, Error::<T>::BatchTooHigh);
		let slot = (operator, Lane::of(round.index), batch);
		ensure!(
			Commitments::<T>::get(slot).is_none_or(|kept| kept.round < round.index),
			Error::<T>::AlreadyCommitted
		);
		Ok((round, info))
	}

	pub(crate) fn do_commit(
		signer: Signer<T::AccountId>,
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		hash: H256,
	) -> DispatchResult {
		let (round, info) = Self::ensure_commit(operator, round, batch)?;
		ensure!(signer.stands_for(&info.account), Error::<T>::NotOperator);
		Commitments::<T>::insert(
			(operator, Lane::of(round.index), batch),
			Commitment {
				round: round.index,
				hash,
			},
		);
		Self::deposit_event(Event::Committed {
			operator,
			round: round.index,
			batch,
		});
		Ok(())
	}

	/// What `reveal` asks for, but for who sends it.
	pub(crate) fn ensure_reveal(
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		votes: &Votes,
		salt: &[u8; 32],
	) -> Result<(Round, kaisar_primitives::OperatorInfo<T::AccountId>), Error<T>> {
		let round = Self::ensure_round(round, Phase::Reveal)?;
		let info = T::Seats::operator(operator, round.index).ok_or(Error::<T>::UnknownOperator)?;
		let kept = Commitments::<T>::get((operator, Lane::of(round.index), batch))
			.filter(|kept| kept.round == round.index)
			.ok_or(Error::<T>::NoCommitment)?;
		let hash = kaisar_primitives::commitment(
			genesis::<T>(),
			round.index,
			operator,
			batch,
			votes,
			salt,
		);
		ensure!(hash == kept.hash, Error::<T>::CommitmentMismatch);
		Ok((round, info))
	}

	/// Returns what checks it closed.
	pub(crate) fn do_reveal(
		signer: Signer<T::AccountId>,
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		votes: &Votes,
		salt: &[u8; 32],
	) -> Result<Closed, DispatchError> {
		let (round, info) = Self::ensure_reveal(operator, round, batch, votes, salt)?;
		ensure!(signer.stands_for(&info.account), Error::<T>::NotOperator);

		Commitments::<T>::remove((operator, Lane::of(round.index), batch));
		T::Seats::revealed(operator, round.index);
		let (mut counted, mut closed) = (0u32, Closed::default());
		for (worker, verdict) in votes {
			if let Some(closes) = Self::vote(operator, round.index, *worker, *verdict) {
				counted = counted.saturating_add(1);
				closed.add(closes);
			}
		}
		let skipped = (votes.len() as u32).saturating_sub(counted);
		Self::deposit_event(Event::Revealed {
			operator,
			round: round.index,
			batch,
			counted,
			skipped,
		});
		Ok(closed)
	}

	/// Counts one vote. `None` if it does not count, else what it closed.
	fn vote(
		operator: OperatorId,
		round: RoundIndex,
		worker: WorkerId,
		verdict: Verdict,
	) -> Option<Closed> {
		let Some(LastCheck::Open(mut check)) = LastChecks::<T>::get(worker) else {
			return None;
		};
		if check.round != round {
			return None;
		}
		let seat = check
			.committee
			.iter_mut()
			.find(|seat| seat.operator == operator)?;
		if seat.vote.is_some() {
			return None;
		}
		seat.vote = Some(verdict);
		if check.committee.iter().all(|seat| seat.vote.is_some()) {
			return Some(Self::close(worker, check, None));
		}
		LastChecks::<T>::insert(worker, LastCheck::Open(check));
		Some(Closed::default())
	}

	/// What `report_absent` asks for.
	pub(crate) fn ensure_absent(worker: WorkerId, round: RoundIndex) -> Result<Round, Error<T>> {
		let round = Rounds::<T>::get(round).ok_or(Error::<T>::UnknownRound)?;
		ensure!(
			matches!(round.phase(Self::now()), Phase::Commit | Phase::Reveal),
			Error::<T>::WrongPhase
		);
		Self::due(worker, &round)?;
		Ok(round)
	}

	pub(crate) fn do_report_absent(
		reporter: Option<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
	) -> DispatchResult {
		<Self as Checks>::touch(worker);
		let round = Self::ensure_absent(worker, round)?;
		let closing = Closing {
			round: round.index,
			round_start: round.start,
			outcome: Outcome::Offline,
			rented: false,
			full: false,
			credit: 0,
			false_proof: false,
			slashes: true,
		};
		let order = T::Workers::info(worker, round.index).and_then(|info| info.order);
		T::Workers::absent(worker, &closing, reporter.as_ref())?;
		T::OnClosed::on_closed(&ClosedCheck {
			worker,
			order,
			closing: &closing,
			proved: Proved::default(),
			seats: &[],
		});
		// It was due in this round once, and is not any more.
		LastChecks::<T>::insert(
			worker,
			LastCheck::Closed {
				round: round.index,
				at: Self::now(),
			},
		);
		Self::deposit_event(Event::AbsentReported {
			worker,
			round: round.index,
			reporter,
		});
		Ok(())
	}

	/// Whether the worker has a check that is over and not closed.
	pub(crate) fn is_over(worker: WorkerId) -> bool {
		matches!(
			LastChecks::<T>::get(worker),
			Some(LastCheck::Open(check)) if Self::now() > check.ends
		)
	}

	/// `finder` shares the bounty of what ends in a slash.
	pub(crate) fn do_finalize(
		workers: &[WorkerId],
		finder: Option<&T::AccountId>,
	) -> Result<Closed, DispatchError> {
		let mut closed = Closed::default();
		for worker in workers {
			closed.add(Self::close_if_over(*worker, finder));
		}
		ensure!(closed != Closed::default(), Error::<T>::NothingToFinalize);
		Ok(closed)
	}

	/// A worker that was marked for a round while an earlier check of it was open, in block `at` for the last
	/// time, could not attest in it: it is due in the next one. Else it would be found absent for a check that
	/// it was not let into.
	fn postpone_mark(
		worker: WorkerId,
		closed: RoundIndex,
		at: BlockNumber,
		info: Option<&WorkerInfo<T::AccountId>>,
	) {
		let marked = info
			.and_then(|info| info.forced)
			.filter(|forced| forced.round > closed)
			.and_then(|forced| Rounds::<T>::get(forced.round))
			.filter(|round| round.is_taken_until(at));
		if let Some(round) = marked {
			let moved = T::Workers::postpone(worker, round.index, NextRound::<T>::get());
			let _ = moved.defensive_proof("the registry refuses nothing that Popw sends");
		}
	}

	/// Returns the most that the observers of `n` closed checks can take.
	pub(crate) fn max_weight_of_observers(n: u32) -> Weight {
		T::OnClosed::max_weight().saturating_mul(n.into())
	}

	/// Returns the weight of checks that were closed outside a reveal.
	pub(crate) fn weight_of_closing(closed: &Closed) -> Weight {
		T::WeightInfo::finalize(closed.confirming, closed.changing).saturating_add(closed.observers)
	}

	/// Closes the worker's check if it is over.
	fn close_if_over(worker: WorkerId, finder: Option<&T::AccountId>) -> Closed {
		match LastChecks::<T>::get(worker) {
			Some(LastCheck::Open(check)) if Self::now() > check.ends => {
				Self::close(worker, check, finder)
			}
			_ => Closed::default(),
		}
	}

	/// Closes a check: tallies it, then informs the registries and the observers. Once a check. `finder` is
	/// the account that closed it when nobody else had.
	fn close(worker: WorkerId, check: Check, finder: Option<&T::AccountId>) -> Closed {
		let info = T::Workers::info(worker, check.round);
		let old = info.as_ref().and_then(|info| info.profile.as_ref());
		let tally = Tally::of(&check, old);
		let at = Self::now().min(check.ends);
		LastChecks::<T>::insert(
			worker,
			LastCheck::Closed {
				round: check.round,
				at,
			},
		);

		let closing = Closing {
			round: check.round,
			round_start: check.round_start,
			outcome: tally.outcome,
			rented: check.rented,
			full: check.full,
			credit: if check.verify_only { 0 } else { check.max_gap },
			false_proof: tally.false_proof,
			slashes: tally.false_proof || tally.outcome == Outcome::Offline,
		};
		// The registry refuses nothing that Popw sends. Should it ever do so, the check is closed
		// nevertheless, so that nobody is stuck, and its seats are paid.
		let (order, proved) = match T::Workers::closed(worker, &closing, finder) {
			Ok(proved) => {
				Self::postpone_mark(worker, check.round, at, info.as_ref());
				(info.as_ref().and_then(|info| info.order), proved)
			}
			Err(_) => {
				if info.is_some() {
					defensive!("the registry refused a check that is closed");
				}
				(None, Proved::default())
			}
		};

		let Check {
			verify_only, full, ..
		} = check;
		let decided = tally.outcome != Outcome::NoConsensus;
		let mut votes = 0u32;
		let mut seats = Vec::with_capacity(check.committee.len());
		for (index, seat) in check.committee.iter().enumerate() {
			let (result, lone) = tally.seat(&check, index);
			votes = votes.saturating_add(u32::from(seat.vote.is_some()));
			// Without consensus nobody is paid or punished; a missed seat still counts as missed.
			if decided || result == SeatResult::Missed {
				T::Seats::credit(seat.operator, worker, check.round, 1, result, lone);
			}
			if decided {
				seats.push(ClosedSeat {
					operator: seat.operator,
					weight: 1,
					result,
				});
			}
		}
		let observers = T::OnClosed::on_closed(&ClosedCheck {
			worker,
			order,
			closing: &closing,
			proved,
			seats: &seats,
		});
		Self::deposit_event(Event::CheckClosed {
			worker,
			round: check.round,
			outcome: tally.outcome,
			votes,
		});
		// A check that only says again what is known writes little; any other may change the worker's
		// state and profile and all that is counted of them, queue a slash, or strike a checker.
		let confirms = matches!(tally.outcome, Outcome::Online { .. }) && !verify_only && !full;
		Closed {
			confirming: u32::from(confirms),
			changing: u32::from(!confirms),
			observers,
		}
	}
}

/// What a node signs for a fee-less call:
/// `blake2_256(SCALE((domain, genesis hash, seed, arguments before the signature)))`.
pub fn signing_payload<const N: usize>(
	domain: &[u8; N],
	genesis: H256,
	seed: H256,
	arguments: impl Encode,
) -> [u8; 32] {
	(domain, genesis, seed, arguments).using_encoded(sp_io::hashing::blake2_256)
}

impl<T: Config> Checks for Pallet<T> {
	fn next_round() -> RoundIndex {
		NextRound::<T>::get()
	}

	fn touch(worker: WorkerId) {
		Self::close_if_over(worker, None);
	}

	fn is_open(worker: WorkerId) -> bool {
		matches!(LastChecks::<T>::get(worker), Some(LastCheck::Open(_)))
	}

	fn is_due(worker: WorkerId) -> bool {
		Self::running_rounds(Self::now())
			.iter()
			.any(|round| Self::due(worker, round).is_ok())
	}

	fn force(worker: WorkerId) -> DispatchResult {
		T::Workers::force(worker, NextRound::<T>::get())
	}

	fn oldest_round() -> RoundIndex {
		let starting = Starting::<T>::get().map(|round| round.index);
		Self::running_rounds(Self::now())
			.iter()
			.map(|round| round.index)
			.chain(starting)
			.min()
			.unwrap_or_else(NextRound::<T>::get)
	}

	fn in_flight() -> Vec<RoundIndex> {
		let next = <Self as Checks>::next_round();
		let mut rounds: Vec<_> = Self::running_rounds(Self::now())
			.iter()
			.map(|round| round.index)
			.chain(Starting::<T>::get().map(|round| round.index))
			.chain((NextRound::<T>::get()..next).step_by(2))
			.collect();
		rounds.sort_unstable();
		rounds.dedup();
		rounds
	}

	fn forget_operator(operator: OperatorId, limit: u32) -> u32 {
		Self::do_forget_operator(operator, limit)
	}

	fn round_seed(round: RoundIndex) -> Option<H256> {
		Rounds::<T>::get(round).map(|round| round.seed)
	}

	/// Looks through the first few thousand workers that attested in each running round.
	fn is_seated(operator: OperatorId) -> bool {
		Self::running_rounds(Self::now()).iter().any(|round| {
			!Self::seats_of(operator, round.index, 0, PAGE * 16)
				.0
				.is_empty()
		})
	}
}

impl<T: Config> Pallet<T> {
	/// Numbered as in the specification and the module's documentation:
	///
	/// 1. A round's record is younger than [`ROUND_DEPTH`] and filed under its own index.
	/// 2. A check that is open has a committee no larger than its size, of different operators.
	/// 3. A round's list has as many entries as its count says.
	/// 4. A commitment is kept in the lane of its round, and its round has started.
	#[cfg(any(
		feature = "try-runtime",
		feature = "runtime-benchmarks",
		feature = "std"
	))]
	pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
		let next = NextRound::<T>::get();
		for (index, round) in Rounds::<T>::iter() {
			ensure!(index == round.index, "1: a round filed under another index");
			ensure!(index <= next.saturating_add(1), "1: a round of the future");
			ensure!(
				index.saturating_add(2 * ROUND_DEPTH).saturating_add(2) >= next,
				"1: a round that should be gone"
			);
		}
		for (_, last) in LastChecks::<T>::iter() {
			ensure!(
				last.round() < next,
				"2: a check of a round that has not started"
			);
			if let LastCheck::Open(check) = last {
				ensure!(
					check.committee.len() <= usize::from(check.size),
					"2: more seats than the size"
				);
				let mut operators: Vec<_> =
					check.committee.iter().map(|seat| seat.operator).collect();
				operators.sort_unstable();
				operators.dedup();
				ensure!(
					operators.len() == check.committee.len(),
					"2: an operator with two seats"
				);
			}
		}
		for (round, count) in AttestedCount::<T>::iter() {
			let listed: usize = Attested::<T>::iter_prefix(round)
				.map(|(_, page)| page.len())
				.sum();
			ensure!(
				listed == count as usize,
				"3: a list that does not fit its count"
			);
		}
		for ((_, lane, _), commitment) in Commitments::<T>::iter() {
			ensure!(
				lane == Lane::of(commitment.round),
				"4: a commitment in another lane"
			);
			ensure!(commitment.round < next, "4: a commitment of the future");
		}
		Ok(())
	}
}
