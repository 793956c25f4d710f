//! Due workers, and the draw of their committees.

use crate::{pallet::*, rounds::draw, *};
use alloc::vec::Vec;
use kaisar_math::{
	committee::{Drawing, draw_limit},
	rounds::rented_chance,
};
use kaisar_primitives::{
	OperatorId, RoundIndex, RoundKind, Seats, WorkerId, WorkerInfo, WorkerRegistry, WorkerState,
};
use sp_core::H256;

/// Owners of whom one, on average, has its workers checked in full in a round without a mark. The windows of
/// bandwidth delay the votes: with one owner in 16 measured, a batch of 64 seats waits for four windows on
/// average.
const FULL_IN: u128 = 16;
/// Maximum number of attested workers that one call of the view function `seats` examines: a view has no
/// weight limit, and an operator with seats at 10⁶ workers reads them in 245 pages.
const SEATS_PAGE: u32 = 4_096;

/// A worker that is due, with the data that its check needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Due<AccountId> {
	pub info: WorkerInfo<AccountId>,
	/// Whether bandwidth and disk are measured too.
	pub full: bool,
	/// Whether it was rented when the round started.
	pub rented: bool,
	/// Whether a measurement of bandwidth and disk is pending, which a check of a rented worker does not
	/// make.
	pub remeasure: bool,
}

/// The operators of a committee, with their weights.
pub(crate) type Drawn = Vec<(OperatorId, u32)>;

/// Returns the license of draw `j`: `H(b"kaisar/seat", seed, worker, j) mod minted`. With at most 2³²
/// licenses the bias of taking the remainder of 128 bits is below 2⁻⁹⁶.
pub(crate) fn drawn(seed: H256, worker: WorkerId, j: u32, minted: u32) -> Option<u32> {
	draw(b"kaisar/seat", seed, (worker, j))
		.checked_rem(u128::from(minted))
		.and_then(|license| u32::try_from(license).ok())
}

impl<T: Config> Pallet<T> {
	/// Returns the data for the worker's check in `round`, if the worker is due in it and has not attested
	/// in it or in a later one. Decided on the worker's state at the round's start.
	pub(crate) fn due(worker: WorkerId, round: &Round) -> Result<Due<T::AccountId>, Error<T>> {
		let info = T::Workers::info(worker, round.index).ok_or(Error::<T>::UnknownWorker)?;
		let last = LastChecks::<T>::get(worker);
		Self::ensure_due(worker, &info, last.as_ref(), round)?;

		let rented = Self::is_rented(&info, round);
		let remeasure = last.is_some_and(|last| last.remeasure());
		let is_drawn = || draw(b"kaisar/full", round.seed, &info.owner).is_multiple_of(FULL_IN);
		// In a census, too, a mark requires a full check, which uses the mark up.
		let full =
			!rented && (info.profile.is_none() || info.forced.is_some() || remeasure || is_drawn());
		Ok(Due {
			info,
			full,
			rented,
			remeasure,
		})
	}

	fn is_rented(info: &WorkerInfo<T::AccountId>, round: &Round) -> bool {
		info.standings.at(round.index) == Some(&WorkerState::Rented)
	}

	pub(crate) fn ensure_due(
		worker: WorkerId,
		info: &WorkerInfo<T::AccountId>,
		last: Option<&LastCheck>,
		round: &Round,
	) -> Result<(), Error<T>> {
		if let Some(last) = last {
			if last.round() >= round.index {
				return Err(Error::<T>::AlreadyAttested);
			}
			// Only one check of a worker is open at any time.
			if matches!(last, LastCheck::Open(check) if Self::now() <= check.ends) {
				return Err(Error::<T>::CheckOpen);
			}
			// A worker that could not prepare with the others is not judged by the round's clock.
			if last.open_at(round.start) {
				return Err(Error::<T>::NotDue);
			}
		}
		let is_idle = info.standings.at(round.index) == Some(&WorkerState::Online);
		let is_marked = info.forced.is_some_and(|mark| mark.round == round.index);
		let is_due = match round.kind {
			RoundKind::Census => is_idle,
			// An idle worker is due instead in the census of the same block, which covers every idle one.
			RoundKind::Spot if is_marked => {
				!is_idle || !Rounds::<T>::contains_key(round.index.saturating_add(1))
			}
			RoundKind::Spot => Self::is_rented(info, round) && Self::rented_is_drawn(worker, round),
		};
		if is_due {
			Ok(())
		} else {
			Err(Error::<T>::NotDue)
		}
	}

	/// Returns whether the worker is due in a round in flight and has not attested in it.
	pub(crate) fn is_due_now(worker: WorkerId) -> bool {
		let now = Self::now();
		let last = LastChecks::<T>::get(worker);
		let mut running = Self::in_flight(now);
		if let Some(last) = &last {
			running.retain(|round| round.index > last.round());
		}
		if running.is_empty() {
			return false;
		}
		// The keys may differ from round to round; they do not decide whether it is due.
		let Some(info) = T::Workers::info(worker, NextRound::<T>::get()) else {
			return false;
		};
		running
			.iter()
			.filter_map(|round| Rounds::<T>::get(round.index))
			.any(|round| Self::ensure_due(worker, &info, last.as_ref(), &round).is_ok())
	}

	/// Returns whether the worker may be due in a round that starts in this block, or so soon that no change
	/// counts in it. A round's seed, and so whether it starts a census, is known at the end of its first
	/// block.
	pub(crate) fn may_be_due_soon(worker: WorkerId) -> bool {
		let starting = Starting::<T>::get().map(|start| start.spot.index);
		let mut fixed = starting
			.into_iter()
			.chain((NextRound::<T>::get()..Self::counts_from()).step_by(2))
			.peekable();
		// The keys may differ from round to round; they do not decide whether it may be due.
		let Some(info) = fixed
			.peek()
			.and_then(|round| T::Workers::info(worker, *round))
		else {
			return false;
		};
		fixed.any(|round| {
			matches!(
				info.standings.at(round),
				Some(WorkerState::Online | WorkerState::Rented)
			) || info.forced.is_some_and(|mark| mark.round == round)
		})
	}

	/// Returns whether a rented worker is drawn: with chance min(1/12, `MaxDue` / (4 · rented)).
	fn rented_is_drawn(worker: WorkerId, round: &Round) -> bool {
		let number = draw(b"kaisar/rented", round.seed, worker);
		rented_chance(round.max_due, round.rented).happens(number)
	}

	/// Draws the committee of a worker whose owner is `owner`. Returns also the number of draws.
	pub(crate) fn draw_committee(
		worker: WorkerId,
		owner: &T::AccountId,
		round: &Round,
	) -> (Drawn, u32) {
		let size = u32::from(round.committee_size);
		let mut drawing = Drawing::new(size, round.min_operators.into());
		let mut draws = 0;
		for j in 0..draw_limit(size, round.minted, round.active) {
			if drawing.is_complete() {
				break;
			}
			draws = j.saturating_add(1);
			let Some(license) = drawn(round.seed, worker, j, round.minted) else {
				break;
			};
			let Some(operator) = T::Seats::seat(license, round.index) else {
				continue;
			};
			// Its account is looked up once: an operator with a seat is not the owner's.
			let may_sit = drawing.seats(&operator)
				|| T::Seats::operator(operator, round.index)
					.is_some_and(|info| info.account != *owner);
			if may_sit {
				drawing.hit(operator);
			}
		}
		(drawing.into_seats(), draws)
	}

	/// Returns the committee of a worker in a round: as stored in its check, or as it would be drawn.
	pub(crate) fn committee_of(worker: WorkerId, round: RoundIndex) -> Drawn {
		if let Some(LastCheck::Open(check)) = LastChecks::<T>::get(worker)
			&& check.round == round
		{
			return check
				.committee
				.iter()
				.map(|seat| (seat.operator, seat.weight.into()))
				.collect();
		}
		let Some(round) = Rounds::<T>::get(round) else {
			return Vec::new();
		};
		match T::Workers::info(worker, round.index) {
			Some(info) => Self::draw_committee(worker, &info.owner, &round).0,
			None => Vec::new(),
		}
	}

	/// Returns the seats of an operator among up to `limit` workers that attested in a round.
	pub(crate) fn seats_of(
		operator: OperatorId,
		round: RoundIndex,
		cursor: u32,
		limit: u32,
	) -> (Vec<SeatView>, Option<u32>) {
		let count = AttestedCount::<T>::get(round);
		let end = cursor.saturating_add(limit.min(SEATS_PAGE)).min(count);
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
					weight: seat.weight,
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
