//! The effect of a worker's check on the order that it serves.

use crate::{pallet::*, *};
use frame_support::{storage::with_storage_layer, weights::Weight};
use kaisar_primitives::{
	BlockNumber, Checks, CloseReason, ClosedCheck, Closing, Market, OnClosed, OrderId, Outcome,
	Rentals, WorkerId,
};
use sp_runtime::DispatchResult;

/// Checks without consensus after which the provider has the benefit of the doubt: the tail is paid, and a
/// bond is returned.
pub const MAX_UNDECIDED: u8 = 2;
/// Visits of the agenda to an order that waits for its last check, before the tail is refunded.
pub const MAX_LOOKS: u8 = 16;

impl<T: Config> OnClosed for Pallet<T> {
	/// Applies the check to the order. A failure must not keep Popw from closing the check: the order is put
	/// aside, and the agenda returns to it.
	fn on_closed(check: &ClosedCheck) -> Weight {
		let Some(order) = check.order else {
			return Weight::zero();
		};
		if let Err(error) = with_storage_layer(|| Self::do_checked(order, check)) {
			Self::put_aside(order, error);
		}
		Self::max_weight()
	}

	fn max_weight() -> Weight {
		T::WeightInfo::on_order_checked()
	}
}

impl<T: Config> Rentals for Pallet<T> {
	fn serves(order: OrderId) -> bool {
		Orders::<T>::get(order).is_some_and(|order| order.is_served())
	}
}

impl<T: Config> Pallet<T> {
	fn do_checked(id: OrderId, check: &ClosedCheck) -> DispatchResult {
		let (worker, closing) = (check.worker, check.closing);
		let Some(order) =
			Orders::<T>::get(id).filter(|it| it.is_placed() && it.worker == Some(worker))
		else {
			return Ok(());
		};
		if order.down {
			return Self::stop(id, order, CloseReason::ServiceDown);
		}
		// A check of the worker as it was before it had this order is not evidence about the order. It
		// proves nothing, and takes nothing.
		let speaks = order.is_served() && closing.rented && closing.round_start > order.matched_at;
		match closing.outcome {
			// The registry has taken the order from the worker, whichever round found it offline.
			Outcome::Offline => Self::fail_worker(id, order),
			_ if !speaks => Self::ask_again(&order, worker),
			Outcome::Online { service: false, .. } => {
				Self::found_down(id, order);
				Ok(())
			}
			Outcome::Online { service: true, .. } => {
				Self::confirmed(id, order, worker, closing, check.proved.rented)
			}
			Outcome::NoConsensus => Self::undecided(id, order, closing),
		}
	}

	/// Forces another check if the order waits for one: this check was not it, but may have used up its
	/// mark.
	fn ask_again(order: &OrderOf<T>, worker: WorkerId) -> DispatchResult {
		if order.ending.is_some() || order.issue.is_some() {
			T::Checks::force(worker)?;
		}
		Ok(())
	}

	/// Closes an order whose container did not answer. The finding stands even if the money cannot be
	/// settled at once: then the agenda retries.
	fn found_down(id: OrderId, mut order: OrderOf<T>) {
		order.down = true;
		order.ends_at = order.ends_at.min(Self::now());
		Orders::<T>::insert(id, &order);
		if let Err(error) = with_storage_layer(|| Self::stop(id, order, CloseReason::ServiceDown)) {
			Self::put_aside(id, error);
		}
	}

	/// Closes an order whose worker was found offline: proved time is paid, and the rest is refunded in its
	/// kind. Of a canceled order only the tail is refunded: the rest was to become credits, whatever the
	/// worker does.
	pub(crate) fn fail_worker(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		Self::settle_ended(id, &mut order)?;
		Self::free(id, &order)?;
		Self::conclude(id, order, CloseReason::WorkerFailed)
	}

	/// Processes a check that found the container answering and proved `rented` blocks of the time before
	/// the round.
	fn confirmed(
		id: OrderId,
		mut order: OrderOf<T>,
		worker: WorkerId,
		closing: &Closing,
		rented: BlockNumber,
	) -> DispatchResult {
		let start = closing.round_start;
		if order.issue.is_some_and(|issue| start >= issue.reported_at) {
			Self::try_lose_bond(id, &mut order);
		}
		let first = order.proved == 0;
		order.prove(start, rented);
		if first && order.proved > 0 {
			T::Workers::deployed(worker)?;
		}
		if order.ending.is_some() && start >= order.ends_at {
			return Self::finish(id, order);
		}
		Self::try_pay_proved(id, &mut order);
		let waits = order.issue.is_some_and(|issue| start < issue.reported_at);
		Orders::<T>::insert(id, &order);
		if waits || order.ending.is_some() {
			Self::ask_again(&order, worker)?;
		}
		Ok(())
	}

	/// Processes a check without consensus. The registry has made the worker due again.
	fn undecided(id: OrderId, mut order: OrderOf<T>, closing: &Closing) -> DispatchResult {
		let start = closing.round_start;
		if let Some(issue) = order
			.issue
			.as_mut()
			.filter(|issue| start >= issue.reported_at)
		{
			issue.undecided = issue.undecided.saturating_add(1);
			if issue.undecided >= MAX_UNDECIDED {
				Self::resolve_issue(id, &mut order, true)?;
			}
		}
		let ends_at = order.ends_at;
		if let Some(ending) = order.ending.as_mut().filter(|_| start >= ends_at) {
			ending.undecided = ending.undecided.saturating_add(1);
			if ending.undecided >= MAX_UNDECIDED {
				// No consensus again: the provider has the benefit of the doubt.
				order.prove(ends_at, BlockNumber::MAX);
				return Self::finish(id, order);
			}
		}
		Orders::<T>::insert(id, order);
		Ok(())
	}

	/// Closes an order whose last check proved the rest of its time. The proof stands even if the money
	/// cannot be settled at once: then the agenda retries.
	fn finish(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		if let Some(ending) = order.ending.as_mut() {
			ending.proved = true;
		}
		Orders::<T>::insert(id, &order);
		if let Err(error) = with_storage_layer(|| Self::close_ended(id, order)) {
			Self::put_aside(id, error);
		}
		Ok(())
	}

	/// Closes an order at its end, for the reason in its [`Ending`].
	fn close_ended(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		let reason = order.ending.ok_or(Error::<T>::Inconsistent)?.reason;
		Self::settle_ended(id, &mut order)?;
		Self::free(id, &order)?;
		Self::conclude(id, order, reason)
	}

	/// Visits an order that waits for its last check. If no check is open or due, forces another one. At the
	/// last visit the order is closed without it. A visit does not count while a check that began before the
	/// match is open: until that is over, which it is with its round, no check of the order can begin.
	pub(crate) fn look(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		let (Some(mut ending), Some(worker)) = (order.ending, order.worker) else {
			return Err(Error::<T>::Inconsistent.into());
		};
		if !T::Checks::looks_back(worker, order.matched_at) {
			ending.looks = ending.looks.saturating_add(1);
		}
		if ending.proved || ending.looks >= MAX_LOOKS {
			return Self::close_ended(id, order);
		}
		if !T::Checks::is_open(worker) && !T::Checks::is_due(worker) {
			T::Checks::force(worker)?;
		}
		order.ending = Some(ending);
		let next = Self::now().saturating_add(Self::closing_timeout());
		Self::schedule(id, &mut order, next)?;
		Orders::<T>::insert(id, order);
		Ok(())
	}
}
