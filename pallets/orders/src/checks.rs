//! What a check of its worker comes to for an order.

use crate::{pallet::*, *};
use frame_support::{storage::with_storage_layer, weights::Weight};
use kaisar_primitives::{
	Balance, BlockNumber, Checks, CloseReason, ClosedCheck, Closing, OnClosed, OrderId, Outcome,
	Rentals, WorkerId,
};
use sp_runtime::{DispatchError, DispatchResult};

/// Checks without consensus after which the customer's word is not against the provider's any longer: the
/// tail is paid, a bond goes back.
pub const MAX_UNDECIDED: u8 = 2;
/// Times that the agenda finds a check that is not over before it counts it as none.
pub const MAX_PENDING: u8 = 16;
/// Times that it finds none before the tail goes back to the customer.
pub const MAX_MISSING: u8 = 2;

impl<T: Config> OnClosed for Pallet<T> {
	/// A failure here must not keep Popw from closing the check: the order is put aside, and the agenda
	/// returns to it.
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
		match closing.outcome {
			// The registry has taken the order from it, whatever round found it.
			Outcome::Offline => Self::fail_worker(id, order),
			Outcome::Online { service: false, .. } => {
				// A round that began before the worker had this order cannot speak of it; nor can any
				// before its container was there.
				if order.is_served() && closing.round_start > order.matched_at {
					Self::found_down(id, order);
				}
				Ok(())
			}
			Outcome::Online { service: true, .. } => {
				Self::confirmed(id, order, worker, closing, check.proved.rented)
			}
			Outcome::NoConsensus => Self::undecided(id, order, closing),
		}
	}

	/// The container did not answer. That stands, even if the money cannot be dealt with at once: then the
	/// agenda tries again.
	fn found_down(id: OrderId, mut order: OrderOf<T>) {
		order.failed = true;
		Orders::<T>::insert(id, &order);
		if let Err(error) = with_storage_layer(|| Self::fail_worker(id, order)) {
			Self::put_aside(id, error);
		}
	}

	/// The worker let the order down: what was proved is paid, all else goes back in its kind.
	pub(crate) fn fail_worker(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		Self::pay_proved(id, &mut order)?;
		Self::refund_rest(&mut order)?;
		Self::free(id, &order, false)?;
		Self::conclude(id, order, CloseReason::WorkerFailed)
	}

	/// The worker was there and the container answered; `rented` blocks of the time before the round were
	/// proved.
	fn confirmed(
		id: OrderId,
		mut order: OrderOf<T>,
		worker: WorkerId,
		closing: &Closing,
		rented: BlockNumber,
	) -> DispatchResult {
		if !order.is_served() {
			return Ok(());
		}
		let start = closing.round_start;
		let mut again = false;
		if let Some(issue) = order.issue {
			if start >= issue.reported_at {
				Self::try_lose_bond(id, &mut order);
			} else {
				again = true;
			}
		}
		prove(&mut order, start, rented);
		if order.ending.is_some() {
			if start >= order.ends_at {
				return Self::finish(id, order);
			}
			again = true;
		}
		Self::try_pay_proved(id, &mut order);
		Orders::<T>::insert(id, order);
		if again {
			// The check that is waited for was not this one, and its mark may have been used up by it.
			T::Checks::force(worker)?;
		}
		Ok(())
	}

	/// A check came to no consensus. The registry has made the worker due again.
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
				// Half of the network says that it was there: the provider has the benefit of the doubt.
				prove(&mut order, ends_at, BlockNumber::MAX);
				return Self::finish(id, order);
			}
		}
		Orders::<T>::insert(id, order);
		Ok(())
	}

	/// The check that an order's end waited for has proved the rest of its time. That stands, even if the money
	/// cannot be dealt with at once: then the agenda tries again.
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

	/// Closes an order at its end, for the reason that it ended.
	fn close_ended(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		let reason = order.ending.ok_or(Error::<T>::Inconsistent)?.reason;
		Self::settle(id, &mut order)?;
		Self::free(id, &order, false)?;
		Self::conclude(id, order, reason)
	}

	/// Deals with all the money of an order that was served. What was proved is paid, and the rest goes back in
	/// its kind; but where the customer has cancelled, what was not used becomes credits. Then a tail that no
	/// check proved is the only thing that goes back in its kind.
	pub(crate) fn settle(id: OrderId, order: &mut OrderOf<T>) -> DispatchResult {
		match order.ending {
			Some(Ending {
				reason: CloseReason::Cancelled,
				proved,
				..
			}) => {
				if proved {
					let due = Self::due_cancelled(order)?;
					Self::pay_up_to(id, order, due)?;
				} else {
					Self::pay_proved(id, order)?;
					let tail = Self::unproved_tail(order)?;
					Self::refund(order, tail)?;
				}
				Self::credit_rest(order)
			}
			_ => {
				Self::pay_proved(id, order)?;
				Self::refund_rest(order)
			}
		}
	}

	/// What a cancelled order would have had to pay yet, had its tail been proved.
	fn unproved_tail(order: &OrderOf<T>) -> Result<Balance, DispatchError> {
		let mut proved = order.clone();
		let ends_at = proved.ends_at;
		prove(&mut proved, ends_at, BlockNumber::MAX);
		let due = Self::due_cancelled(&proved)?;
		let paid = order.ledger.gross()?;
		let left = order.ledger.escrow.total()?;
		Ok(due.saturating_sub(paid).min(left))
	}

	/// An order that waits for its last check is looked at. If that is under way, it is waited for, but not
	/// for ever; if there is none, it is forced again, and at last done without.
	pub(crate) fn look(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		let (Some(mut ending), Some(worker)) = (order.ending, order.worker) else {
			return Err(Error::<T>::Inconsistent.into());
		};
		if ending.proved {
			return Self::close_ended(id, order);
		}
		let coming = T::Checks::is_open(worker) || T::Checks::is_due(worker);
		if coming && ending.pending < MAX_PENDING {
			ending.pending += 1;
		} else {
			ending.missing = ending.missing.saturating_add(1);
			if ending.missing >= MAX_MISSING {
				return Self::close_ended(id, order);
			}
			T::Checks::force(worker)?;
		}
		order.ending = Some(ending);
		let next = Self::now().saturating_add(Self::closing_timeout());
		Self::schedule(id, &mut order, next)?;
		Orders::<T>::insert(id, order);
		Ok(())
	}
}

/// A check proved the order's time up to block `to`, but no more than `most` blocks of it.
fn prove<AccountId>(order: &mut Order<AccountId>, to: BlockNumber, most: BlockNumber) {
	let to = to.min(order.ends_at);
	let blocks = to.saturating_sub(order.proved_to).min(most);
	order.proved = order.proved.saturating_add(blocks);
	order.proved_to = order.proved_to.max(to);
}
