//! Checks of a worker that was rented meanwhile: they cover the machine as it was before the rental.
//!
//! A census that began before a rental continues for the worker: it attests, and opens the samples that its
//! checkers draw. Proof and container must not share the machine, so Orders delays the deployment until
//! then.

use crate::{pallet::*, *};
use frame_support::traits::Get;
use kaisar_primitives::{
	BlockNumber, RoundIndex, RoundKind, WorkerId, WorkerRegistry, WorkerState,
};

impl<T: Config> Pallet<T> {
	/// Returns whether an open check of the worker covers the time before its rental, which began in block
	/// `since`.
	pub(crate) fn check_looks_back(worker: WorkerId, since: BlockNumber) -> bool {
		matches!(
			LastChecks::<T>::get(worker),
			Some(LastCheck::Open(check)) if !check.rented || check.round_start <= since
		)
	}

	/// Returns the last block in which the machine of a rented worker may be needed for a proof from before
	/// its rental.
	///
	/// Openings take at most one `PhaseLength` from the attestation: a round of that length has room for
	/// them and for the votes. In a census of longer phases checkers ask as soon, since each takes on seats
	/// as fast as workers attest. The deadline does not wait for the bandwidth of a full check: in such a
	/// census its window may be hours away.
	pub(crate) fn last_block_of_proof(worker: WorkerId) -> Option<BlockNumber> {
		let now = Self::now();
		let last = LastChecks::<T>::get(worker);
		let opens = match &last {
			Some(LastCheck::Open(check)) if !check.rented => {
				let until = check.attested_at.saturating_add(Self::phase_length());
				Some(until.min(check.ends)).filter(|until| now <= *until)
			}
			_ => None,
		};
		opens.max(Self::last_block_if_due(worker, last.as_ref(), now))
	}

	/// Returns the same for a worker that is due as an idle one, or may be due in a census that starts soon.
	/// It attests at once: within a `PhaseLength` of the trial, or of now.
	fn last_block_if_due(
		worker: WorkerId,
		last: Option<&LastCheck>,
		now: BlockNumber,
	) -> Option<BlockNumber> {
		let info = T::Workers::info(worker, NextRound::<T>::get())?;
		let was_idle = |round: RoundIndex| info.standings.at(round) == Some(&WorkerState::Online);
		let phase = Self::phase_length();
		let running = Self::running_rounds(now);
		let due = running
			.iter()
			.filter(|round| now <= round.attest_ends() && was_idle(round.index))
			.filter(|round| Self::ensure_due(worker, &info, last, round).is_ok())
			.map(|round| {
				let attested = now.max(round.trial).saturating_add(phase);
				attested.min(round.attest_ends()).saturating_add(phase)
			})
			.max();

		// A change counts from the first round that starts `NOTICE` blocks later: the worker can still be
		// due in the census that an earlier one starts.
		let (next, start) = match Starting::<T>::get() {
			Some(Start { spot, .. }) => (spot.index, spot.start),
			None => {
				let start = NextStart::<T>::get().max(now.saturating_add(1));
				(NextRound::<T>::get(), start)
			}
		};
		let has_room = !running
			.iter()
			.any(|round| round.kind == RoundKind::Census && round.ends() >= start);
		let may_be_due = has_room && was_idle(next) && last.is_none_or(|last| !last.open_at(start));
		let coming = may_be_due.then(|| {
			start
				.saturating_add(T::TrialOffset::get().min(phase))
				.saturating_add(phase.saturating_mul(2))
		});
		due.max(coming)
	}
}
