//! Commitments and their opening: one opinion for each seat, fixed before any vote is seen.
//!
//! An operator's seats in a round are numbered in the order of attestations, and number `k` belongs to batch
//! `⌊k / 64⌋`. So nobody chooses the batch of a vote, and there is no second batch for another opinion on
//! the same seat. An operator that does not open a commitment pays in missed seats, twice as many each time
//! within an epoch. Rewards counts them as soon as the omission is noted, whether or not the operator still
//! exists.

use crate::{checks::ClosedCounts, pallet::*, rounds::SweepCounts, *};
use frame_support::{ensure, traits::Get};
use kaisar_math::committee::{batch_of, batches, unopened_seats};
use kaisar_primitives::{
	OnUnopened, OperatorId, OperatorInfo, RoundIndex, Seats, Verdict, Votes, WorkerId,
	authorized::{Signer, genesis},
};
use sp_core::H256;
use sp_runtime::DispatchError;

impl<T: Config> Pallet<T> {
	/// Makes every check of `commit` except that of the sender.
	pub(crate) fn ensure_commit(
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
	) -> Result<(Round, OperatorInfo<T::AccountId>), Error<T>> {
		let round = Self::ensure_round(round, Phase::Commit)?;
		let info = T::Seats::operator(operator, round.index).ok_or(Error::<T>::UnknownOperator)?;
		ensure!(info.licenses > 0, Error::<T>::NoLicense);
		let seats = Self::counters(operator, round.index).seats;
		ensure!(u32::from(batch) < batches(seats), Error::<T>::BatchTooHigh);
		let slot = (operator, Lane::of(round.index), batch);
		// An earlier round of the lane is over: no round starts before that is certain.
		let is_free = Commitments::<T>::get(slot).is_none_or(|kept| kept.round < round.index);
		ensure!(is_free, Error::<T>::AlreadyCommitted);
		Ok((round, info))
	}

	/// Stores a commitment. Returns the number of older unopened commitments that it overwrote: 0 or 1.
	pub(crate) fn do_commit(
		signer: Signer<T::AccountId>,
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		hash: H256,
	) -> Result<u32, DispatchError> {
		let (round, info) = Self::ensure_commit(operator, round, batch)?;
		ensure!(signer.stands_for(&info.account), Error::<T>::NotOperator);
		let slot = (operator, Lane::of(round.index), batch);
		// The sweep has not reached the old one yet.
		let overwrites = Commitments::<T>::contains_key(slot);
		if overwrites {
			Self::withheld(operator);
		}
		let commitment = Commitment {
			round: round.index,
			hash,
		};
		Commitments::<T>::insert(slot, commitment);
		Self::mutate_counters(operator, round.index, |counters| {
			counters.committed = counters.committed.saturating_add(1);
		});
		Self::deposit_event(Event::Committed {
			operator,
			round: round.index,
			batch,
		});
		Ok(u32::from(overwrites))
	}

	/// Makes every check of `reveal` except that of the sender.
	pub(crate) fn ensure_reveal(
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		votes: &Votes,
		salt: &[u8; 32],
	) -> Result<(Round, OperatorInfo<T::AccountId>), Error<T>> {
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

	/// Opens a commitment and counts its votes. Returns counts of the checks that they closed.
	pub(crate) fn do_reveal(
		signer: Signer<T::AccountId>,
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		votes: &Votes,
		salt: &[u8; 32],
	) -> Result<ClosedCounts, DispatchError> {
		let (round, info) = Self::ensure_reveal(operator, round, batch, votes, salt)?;
		ensure!(signer.stands_for(&info.account), Error::<T>::NotOperator);

		Commitments::<T>::remove((operator, Lane::of(round.index), batch));
		Self::mutate_counters(operator, round.index, |counters| {
			counters.opened = counters.opened.saturating_add(1);
		});
		let (mut counted, mut closed) = (0u32, ClosedCounts::default());
		for (worker, verdict) in votes {
			if let Some(closes) = Self::vote(operator, round.index, batch, *worker, *verdict) {
				counted = counted.saturating_add(1);
				closed.add(closes);
			}
		}
		// A batch without a counted vote does not show that the operator is present.
		if counted > 0 {
			T::Seats::revealed(operator, round.index);
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

	/// Counts one vote. Returns counts of the check that it closed, if any; `None` if the vote does not
	/// count.
	fn vote(
		operator: OperatorId,
		round: RoundIndex,
		batch: u16,
		worker: WorkerId,
		verdict: Verdict,
	) -> Option<ClosedCounts> {
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
		if seat.vote.is_some() || batch_of(seat.number) != u32::from(batch) {
			return None;
		}
		seat.vote = Some(verdict);
		if check.committee.iter().all(|seat| seat.vote.is_some()) {
			return Some(Self::close(worker, check, None));
		}
		LastChecks::<T>::insert(worker, LastCheck::Open(check));
		Some(ClosedCounts::default())
	}

	/// Returns the counters of an operator in a round.
	pub(crate) fn counters(operator: OperatorId, round: RoundIndex) -> Counters {
		let (page, place) = Counters::place(operator);
		CountersOf::<T>::get(round, page)[place]
	}

	fn mutate_counters<R>(
		operator: OperatorId,
		round: RoundIndex,
		change: impl FnOnce(&mut Counters) -> R,
	) -> R {
		let (page, place) = Counters::place(operator);
		CountersOf::<T>::mutate(round, page, |counters| change(&mut counters[place]))
	}

	/// Assigns the number of the operator's next seat in a round, counted from 0.
	pub(crate) fn take_number(operator: OperatorId, round: RoundIndex) -> u32 {
		Self::mutate_counters(operator, round, |counters| {
			let number = counters.seats;
			counters.seats = number.saturating_add(1);
			number
		})
	}

	/// Counts a commitment that was not opened by its round's end, and has Rewards count the missed seats.
	fn withheld(operator: OperatorId) {
		let epoch = T::CurrentEpoch::get();
		let count = Withheld::<T>::mutate(operator, |kept| {
			let before = kept.filter(|record| record.epoch == epoch);
			let count = before.map_or(0, |record| record.count).saturating_add(1);
			*kept = Some(WithheldBatches { epoch, count });
			count
		});
		T::Unopened::on_unopened(operator, unopened_seats(count));
	}

	/// Removes at most `limit` entries of a removed operator: unopened commitments, and their record.
	/// Returns their number. Counters are removed with their rounds.
	pub(crate) fn do_forget_operator(operator: OperatorId, limit: u32) -> u32 {
		let commitments = Commitments::<T>::drain_prefix((operator,));
		let mut removed = commitments.take(limit as usize).count() as u32;
		if removed < limit && Withheld::<T>::take(operator).is_some() {
			removed = removed.saturating_add(1);
		}
		removed
	}

	/// Removes the counters of a round that is over, page by page, and the commitments that were not opened
	/// in it. Returns whether all are removed.
	pub(crate) fn sweep_counters(round: RoundIndex, swept: &mut SweepCounts) -> bool {
		// One iterator for all pages: it does not revisit those that it removed.
		let mut pages = CountersOf::<T>::iter_prefix(round);
		while !swept.is_full() {
			let Some((page, mut counters)) = pages.next() else {
				return true;
			};
			swept.step();
			if !Self::sweep_commitments(round, page, &mut counters, swept) {
				CountersOf::<T>::insert(round, page, counters);
				return false;
			}
			CountersOf::<T>::remove(round, page);
		}
		false
	}

	/// Removes the commitments that the operators of a page did not open in a round that is over. Returns
	/// whether all are removed.
	fn sweep_commitments(
		round: RoundIndex,
		page: u32,
		counters: &mut [Counters],
		swept: &mut SweepCounts,
	) -> bool {
		let first = page.saturating_mul(COUNTERS_PAGE);
		for (operator, counters) in (first..).zip(counters) {
			while counters.withholds() {
				if swept.is_full() {
					return false;
				}
				swept.step();
				// From the last batch to the first; the number of seats records the progress.
				let batch = batches(counters.seats).saturating_sub(1);
				counters.seats = batch.saturating_mul(kaisar_primitives::MAX_BATCH);
				let slot = (operator, Lane::of(round), batch as u16);
				if Commitments::<T>::get(slot).is_some_and(|kept| kept.round == round) {
					Commitments::<T>::remove(slot);
					counters.opened = counters.opened.saturating_add(1);
					Self::withheld(operator);
					swept.unopened = swept.unopened.saturating_add(1);
				}
			}
		}
		true
	}
}
