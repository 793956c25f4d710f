//! Who is due, and who sits.

use crate::{pallet::*, rounds::draw, *};
use alloc::vec::Vec;
use kaisar_math::{committee::draw_limit, rounds::rented_chance};
use kaisar_primitives::{
	OperatorId, RoundIndex, RoundKind, Seats, WorkerId, WorkerInfo, WorkerRegistry, WorkerState,
};
use sp_core::H256;

/// Why a worker is due, with what its check needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Due<AccountId> {
	pub info: WorkerInfo<AccountId>,
	/// The check only verifies.
	pub verify_only: bool,
	/// Bandwidth and disk are measured too.
	pub full: bool,
	/// It was rented when the round started.
	pub rented: bool,
}

/// The license of draw `j`: `H(b"kaisar/draw", seed, (worker, j)) mod minted`. With at most 2³²
/// licenses the bias of taking the remainder of 128 bits is below 2⁻⁹⁶.
pub(crate) fn drawn(seed: H256, worker: WorkerId, j: u32, minted: u32) -> Option<u32> {
	draw(b"kaisar/draw", seed, (worker, j))
		.checked_rem(u128::from(minted))
		.and_then(|license| u32::try_from(license).ok())
}

impl<T: Config> Pallet<T> {
	/// Whether the worker is due in `round` and has not attested in it or in a later one. Decided on
	/// the worker as it stood at the round's start.
	pub(crate) fn due(worker: WorkerId, round: &Round) -> Result<Due<T::AccountId>, Error<T>> {
		let info = T::Workers::info(worker, round.index).ok_or(Error::<T>::UnknownWorker)?;
		let last = LastChecks::<T>::get(worker);
		if let Some(last) = &last {
			if last.round() >= round.index {
				return Err(Error::<T>::AlreadyAttested);
			}
			// Only one check of a worker is open at any time.
			let now = Self::now();
			if matches!(last, LastCheck::Open(check) if now <= check.ends) {
				return Err(Error::<T>::CheckOpen);
			}
		}
		let was_open = last.as_ref().is_some_and(|last| last.open_at(round.start));
		let state = info.standings.at(round.index).copied();
		let forced = |index: RoundIndex| info.forced.filter(|forced| forced.round == index);

		let verify_only = match round.kind {
			RoundKind::Spot => match forced(round.index) {
				// What was open then is closed by now, and the mark was made for this round.
				Some(forced) => (!last
					.as_ref()
					.is_some_and(|last| round.is_taken_until(last.until())))
				.then_some(forced.verify_only),
				None => (!was_open
					&& state == Some(WorkerState::Rented)
					&& Self::rented_is_drawn(worker, round))
				.then_some(false),
			},
			// A worker that is forced in the spot round of the same block is checked there.
			RoundKind::Census => {
				let spot = round.index.saturating_sub(1);
				let in_spot =
					forced(spot).is_some() || last.is_some_and(|last| last.round() == spot);
				(!was_open && !in_spot && state == Some(WorkerState::Online)).then_some(false)
			}
		};
		let verify_only = verify_only.ok_or(Error::<T>::NotDue)?;
		let rented = state == Some(WorkerState::Rented);
		let full = !rented
			&& (info.profile.is_none()
				|| verify_only
				|| draw(b"kaisar/full", round.seed, worker).is_multiple_of(16));
		Ok(Due {
			info,
			verify_only,
			full,
			rented,
		})
	}

	/// A rented worker is drawn with probability min(1/12, `MaxDue` / (4 · rented)).
	fn rented_is_drawn(worker: WorkerId, round: &Round) -> bool {
		rented_chance(round.params.max_due, round.rented).happens(draw(
			b"kaisar/rented",
			round.seed,
			worker,
		))
	}

	/// Draws the committee of a worker whose owner is `owner`. Returns how many draws that took, too.
	pub(crate) fn draw_committee(
		worker: WorkerId,
		owner: &T::AccountId,
		round: &Round,
	) -> (Vec<OperatorId>, u32) {
		let size = usize::from(round.params.committee_size);
		let mut committee = Vec::with_capacity(size);
		let mut draws = 0;
		for j in 0..draw_limit(size as u32, round.minted, round.active) {
			if committee.len() == size {
				break;
			}
			draws = j.saturating_add(1);
			let Some(license) = drawn(round.seed, worker, j, round.minted) else {
				break;
			};
			let Some(operator) = T::Seats::seat(license, round.index) else {
				continue;
			};
			if committee.contains(&operator) {
				continue;
			}
			let owns =
				T::Seats::operator(operator, round.index).is_none_or(|info| info.account == *owner);
			if !owns {
				committee.push(operator);
			}
		}
		(committee, draws)
	}

	/// The committee of a worker in a round: as kept in its check, or as it would be drawn.
	pub(crate) fn committee_of(worker: WorkerId, round: RoundIndex) -> Vec<OperatorId> {
		if let Some(LastCheck::Open(check)) = LastChecks::<T>::get(worker)
			&& check.round == round
		{
			return check.committee.iter().map(|seat| seat.operator).collect();
		}
		let Some(round) = Rounds::<T>::get(round) else {
			return Vec::new();
		};
		match T::Workers::info(worker, round.index) {
			Some(info) => Self::draw_committee(worker, &info.owner, &round).0,
			None => Vec::new(),
		}
	}

	/// The seats of an operator among up to `limit` workers that attested in a round.
	pub(crate) fn seats_of(
		operator: OperatorId,
		round: RoundIndex,
		cursor: u32,
		limit: u32,
	) -> (Vec<SeatView>, Option<u32>) {
		let count = AttestedCount::<T>::get(round);
		let end = cursor.saturating_add(limit.min(4_096)).min(count);
		let mut seats = Vec::new();
		let mut page = (u32::MAX, Default::default());
		for position in cursor..end {
			if page.0 != position / PAGE {
				page = (position / PAGE, Attested::<T>::get(round, position / PAGE));
			}
			let Some(worker) = page.1.get((position % PAGE) as usize).copied() else {
				break;
			};
			let Some(LastCheck::Open(check)) = LastChecks::<T>::get(worker) else {
				continue;
			};
			if check.round != round {
				continue;
			}
			if let Some(seat) = check
				.committee
				.iter()
				.find(|seat| seat.operator == operator)
			{
				seats.push(SeatView {
					worker,
					attested_at: check.attested_at,
					root: check.root,
					seats: check.committee.len() as u8,
					full: check.full,
					rented: check.rented,
					number: seat.number,
					voted: seat.vote.is_some(),
				});
			}
		}
		(seats, (end < count).then_some(end))
	}
}
