//! The invariants of the pallet's storage.

use crate::{pallet::*, *};
use alloc::{
	collections::{BTreeMap, BTreeSet},
	vec::Vec,
};
use frame_support::{ensure, traits::Get};
use kaisar_math::committee::batches;
use kaisar_primitives::{MAX_COMMITTEE, OperatorId, RoundIndex, RoundKind, Seats, WorkerRegistry};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
	/// Checks the invariants, numbered as in `docs/spec/04-popw.md`, "Invariants".
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		Self::try_rounds()?;
		Self::try_in_flight()?;
		Self::try_checks()?;
		Self::try_lists()?;
		Self::try_commitments()?;
		Self::try_counters()?;
		Self::try_numbers()?;
		Self::try_withheld()
	}

	/// Checks invariant 1: a round's record is filed under its own index, is of the past or present, and is
	/// not below the position of the removal of records. Its parts follow one another.
	fn try_rounds() -> Result<(), TryRuntimeError> {
		let next = NextRound::<T>::get();
		let dropped = Dropped::<T>::get();
		for (index, round) in Rounds::<T>::iter() {
			ensure!(index == round.index, "1: a round filed under another index");
			ensure!(
				RoundKind::of(index) == round.kind,
				"1: a round of another kind"
			);
			ensure!(index < next, "1: a round of the future");
			ensure!(index >= dropped, "1: a round below the removed ones");
			ensure!(
				round.start <= round.trial && round.phase_length > 0,
				"1: a round whose parts do not follow one another"
			);
			ensure!(
				(1..=round.committee_size).contains(&round.min_operators)
					&& u32::from(round.committee_size) <= MAX_COMMITTEE,
				"1: a committee out of bounds"
			);
			ensure!(
				round.trial_seed.is_some() || Self::now() <= round.trial,
				"1: a trial without a seed"
			);
		}
		Ok(())
	}

	/// Checks invariant 2: the rounds in flight have records that agree with them; at most one census runs;
	/// the next spot round starts within a phase.
	fn try_in_flight() -> Result<(), TryRuntimeError> {
		let now = Self::now();
		let running = Running::<T>::get();
		for flight in &running {
			let round =
				Rounds::<T>::get(flight.index).ok_or("2: a round in flight without a record")?;
			ensure!(
				(flight.trial, flight.ends) == (round.trial, round.ends()),
				"2: a round in flight that differs from its record"
			);
		}
		for (index, round) in Rounds::<T>::iter() {
			ensure!(
				now > round.ends() || running.iter().any(|flight| flight.index == index),
				"2: a round in flight that is not listed"
			);
		}
		ensure!(
			running.windows(2).all(|pair| pair[0].index < pair[1].index),
			"2: rounds in flight out of order"
		);
		let census = running
			.iter()
			.filter(|flight| flight.is_census() && flight.ends >= now);
		ensure!(census.count() <= 1, "2: two censuses at once");
		ensure!(
			NextStart::<T>::get() <= now.saturating_add(*params::PHASE_LENGTH.end()),
			"2: the next round is too far off"
		);
		Ok(())
	}

	/// Checks invariant 3: an open check is of a worker that exists, and of a round that has started. Its
	/// committee has different operators, each known while the check runs, and a size of at least the sum of
	/// their weights.
	fn try_checks() -> Result<(), TryRuntimeError> {
		let (now, next) = (Self::now(), NextRound::<T>::get());
		for (worker, last) in LastChecks::<T>::iter() {
			ensure!(
				last.round() < next,
				"3: a check of a round that has not started"
			);
			let LastCheck::Open(check) = last else {
				continue;
			};
			ensure!(
				T::Workers::info(worker, check.round).is_some(),
				"3: an open check of an unknown worker"
			);
			let weight: u32 = check
				.committee
				.iter()
				.map(|seat| u32::from(seat.weight))
				.sum();
			ensure!(
				weight <= u32::from(check.size)
					&& check.committee.iter().all(|seat| seat.weight > 0),
				"3: weights that do not fit the size"
			);
			let mut operators: Vec<_> = check.committee.iter().map(|seat| seat.operator).collect();
			operators.sort_unstable();
			operators.dedup();
			ensure!(
				operators.len() == check.committee.len(),
				"3: an operator with two seats"
			);
			let known = |operator| T::Seats::operator(operator, check.round).is_some();
			ensure!(
				now > check.ends || operators.into_iter().all(known),
				"3: a seat of an unknown operator"
			);
		}
		Ok(())
	}

	/// Checks invariant 4: a round's list has as many entries as its count, and no swept round has one.
	fn try_lists() -> Result<(), TryRuntimeError> {
		let next = NextRound::<T>::get();
		let swept = SweptTo::<T>::get();
		ensure!(
			swept.into_iter().all(|position| position <= next / 2),
			"4: swept into the future"
		);
		for (round, count) in AttestedCount::<T>::iter() {
			ensure!(
				!Self::is_swept(round),
				"4: a list of a round that was swept"
			);
			let listed: usize = Attested::<T>::iter_prefix(round)
				.map(|(_, page)| page.len())
				.sum();
			ensure!(
				listed == count as usize,
				"4: a list that does not fit its count"
			);
		}
		for (round, _, _) in Attested::<T>::iter() {
			ensure!(
				AttestedCount::<T>::contains_key(round),
				"4: a list without a count"
			);
		}
		Ok(())
	}

	/// Checks invariant 5: a commitment is in the lane of its round, and its round has started.
	fn try_commitments() -> Result<(), TryRuntimeError> {
		for ((_, lane, _), commitment) in Commitments::<T>::iter() {
			ensure!(
				lane == Lane::of(commitment.round),
				"5: a commitment in another lane"
			);
			ensure!(
				commitment.round < NextRound::<T>::get(),
				"5: a commitment of the future"
			);
		}
		Ok(())
	}

	/// Checks invariant 6: counters are of rounds that were not swept. An operator has no more commitments
	/// in a round than batches, and no more openings than commitments; in a round in flight the unopened
	/// ones are in its slots.
	fn try_counters() -> Result<(), TryRuntimeError> {
		let mut unopened = BTreeMap::<(RoundIndex, OperatorId), u32>::new();
		for ((operator, _, _), commitment) in Commitments::<T>::iter() {
			*unopened.entry((commitment.round, operator)).or_default() += 1;
		}
		for (round, page, counters) in CountersOf::<T>::iter() {
			ensure!(
				!Self::is_swept(round),
				"6: counters of a round that was swept"
			);
			let running = Self::is_in_flight(round);
			for (operator, counters) in (page * COUNTERS_PAGE..).zip(counters) {
				ensure!(
					counters.opened <= counters.committed,
					"6: more openings than commitments"
				);
				// The sweep decrements the seats of a round that is over.
				ensure!(
					!running || u32::from(counters.committed) <= batches(counters.seats),
					"6: more commitments than batches"
				);
				let left = u32::from(counters.committed.saturating_sub(counters.opened));
				let kept = unopened.get(&(round, operator)).copied().unwrap_or(0);
				ensure!(
					!running || left == kept,
					"6: commitments that are not in their slots"
				);
			}
		}
		Ok(())
	}

	/// Checks invariant 7: in a round in flight, the numbers of an operator's open seats differ and are
	/// below its count of seats.
	fn try_numbers() -> Result<(), TryRuntimeError> {
		let mut numbers = BTreeSet::new();
		for (_, last) in LastChecks::<T>::iter() {
			let LastCheck::Open(check) = last else {
				continue;
			};
			if !Self::is_in_flight(check.round) {
				continue;
			}
			for seat in &check.committee {
				let counters = Self::counters(seat.operator, check.round);
				ensure!(
					seat.number < counters.seats,
					"7: a seat above the count of seats"
				);
				ensure!(
					numbers.insert((check.round, seat.operator, seat.number)),
					"7: two seats of an operator with one number"
				);
			}
		}
		Ok(())
	}

	/// Checks invariant 8: a record of withheld commitments counts at least one, and is not of a later
	/// epoch.
	fn try_withheld() -> Result<(), TryRuntimeError> {
		let epoch = T::CurrentEpoch::get();
		for (_, withheld) in Withheld::<T>::iter() {
			ensure!(
				withheld.count > 0 && withheld.epoch <= epoch,
				"8: a record of no commitment, or of a later epoch"
			);
		}
		Ok(())
	}

	fn is_swept(round: RoundIndex) -> bool {
		round / 2 < SweptTo::<T>::get()[(round % 2) as usize]
	}

	fn is_in_flight(round: RoundIndex) -> bool {
		Rounds::<T>::get(round).is_some_and(|round| round.phase(Self::now()) != Phase::Over)
	}
}
