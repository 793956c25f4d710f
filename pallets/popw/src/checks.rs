//! Checks: opened by an attestation, filled by reveals, closed once.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{defensive, ensure, traits::Defensive, weights::Weight};
use kaisar_primitives::{
	BlockNumber, CheckedWorkers, Checks, ClosedCheck, ClosedSeat, Closing, OnClosed, OperatorId,
	Outcome, Proved, RoundIndex, SeatResult, Seats, WorkerId, WorkerInfo, WorkerRegistry,
	authorized::Signer,
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
	/// Whether a check was closed.
	pub(crate) fn is_any(&self) -> bool {
		self.confirming > 0 || self.changing > 0
	}

	pub(crate) fn add(&mut self, other: Self) {
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
	///
	/// If that leaves a fee-less call nothing to do, it succeeds all the same: a failure would undo the
	/// closing, and the call could be sent again and again.
	pub(crate) fn do_attest(
		signer: Signer<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
		root: [u8; 32],
	) -> Result<(u32, Closed), DispatchError> {
		let closed = Self::close_if_over(worker, None);
		let (round, due) = match Self::ensure_attest(worker, round) {
			Err(_) if closed.is_any() && signer == Signer::Authorized => return Ok((0, closed)),
			checked => checked?,
		};
		ensure!(signer.stands_for(&due.info.owner), Error::<T>::NotOwner);

		let (committee, draws) = Self::draw_committee(worker, &due.info.owner, &round);
		let seats = BoundedVec::truncate_from(
			committee
				.iter()
				.map(|operator| Seat {
					operator: *operator,
					number: Self::take_number(*operator, round.index),
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

	/// Returns the weight of closing an old check and of the observers. As in [`Self::do_attest`], a fee-less
	/// call succeeds if it closed one and has nothing left to do.
	pub(crate) fn do_report_absent(
		reporter: Option<T::AccountId>,
		worker: WorkerId,
		round: RoundIndex,
	) -> Result<Weight, DispatchError> {
		let closed = Self::close_if_over(worker, None);
		let touch = Self::weight_of_touch(&closed);
		let round = match Self::ensure_absent(worker, round) {
			Err(_) if closed.is_any() && reporter.is_none() => return Ok(touch),
			checked => checked?,
		};
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
		let observers = T::OnClosed::on_closed(&ClosedCheck {
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
		Ok(touch.saturating_add(observers))
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
		ensure!(closed.is_any(), Error::<T>::NothingToFinalize);
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

	/// Returns the weight of a check that a call closed before it did its own work, if there was one.
	pub(crate) fn weight_of_touch(closed: &Closed) -> Weight {
		if closed.is_any() {
			Self::weight_of_closing(closed)
		} else {
			Weight::zero()
		}
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
	pub(crate) fn close(worker: WorkerId, check: Check, finder: Option<&T::AccountId>) -> Closed {
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
		Rounds::<T>::get(round)?.trial_seed()
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
	/// 5. An operator has no more commitments in a round than batches, and has opened no more of them. Those of
	///    a running round that are not opened are in its slots.
	/// 6. The numbers of an operator's seats in a running round differ, and are below their count.
	/// 7. What an operator withheld counts as something.
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
		Self::try_commitments()
	}
}
