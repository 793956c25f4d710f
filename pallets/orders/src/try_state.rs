//! The invariants of the pallet's storage.

use crate::{pallet::*, *};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{
	ensure,
	traits::fungible::{Inspect, InspectHold},
};
use kaisar_primitives::{Balance, Checks, OrderId, WorkerId, WorkerRegistry};
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
	/// Checks the invariants.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		Self::try_ledgers()?;
		Self::try_holds()?;
		Self::try_credits()?;
		Self::try_workers()?;
		Self::try_places()?;
		Self::try_time()?;
		Self::try_workloads()?;
		Self::try_down()
	}

	/// Checks invariant 1: the amount charged for an order is, to the unit, the sum of the amounts in
	/// escrow, paid, taken as fee, paid to the treasury, refunded and credited. The escrow of a closed order
	/// is empty.
	fn try_ledgers() -> Result<(), TryRuntimeError> {
		for order in Orders::<T>::iter_values() {
			ensure!(
				order.ledger.balances(),
				"1: an order's ledger does not balance"
			);
			ensure!(
				!order.is_closed() || order.ledger.escrow == Money::default(),
				"1: money in escrow of a closed order"
			);
		}
		Ok(())
	}

	/// Checks invariant 2: the KAI on hold on a customer's account for orders is that of their escrow, and
	/// for bonds that of its open issues.
	fn try_holds() -> Result<(), TryRuntimeError> {
		let mut expected = BTreeMap::<T::AccountId, (Balance, Balance)>::new();
		for order in Orders::<T>::iter_values() {
			let (escrow, bonds) = expected.entry(order.customer).or_default();
			*escrow = escrow
				.checked_add(order.ledger.escrow.kai)
				.ok_or("2: escrow overflows")?;
			if let Some(issue) = order.issue {
				*bonds = bonds.checked_add(issue.bond).ok_or("2: bonds overflow")?;
			}
		}
		for (who, (escrow, bonds)) in expected {
			let on_hold = |reason: HoldReason| T::Currency::balance_on_hold(&reason.into(), &who);
			ensure!(on_hold(HoldReason::Escrow) == escrow, "2: escrow drifted");
			ensure!(on_hold(HoldReason::IssueBond) == bonds, "2: bonds drifted");
		}
		Ok(())
	}

	/// Checks invariant 3: the sum of all credits is that of accounts and of escrow, and the pot has at
	/// least as much KAI above its existential deposit.
	fn try_credits() -> Result<(), TryRuntimeError> {
		let mut credits: Balance = 0;
		for order in Orders::<T>::iter_values() {
			credits = credits
				.checked_add(order.ledger.escrow.credits)
				.ok_or("3: credits overflow")?;
		}
		for amount in Credits::<T>::iter_values() {
			ensure!(amount > 0, "3: an account with no credits");
			credits = credits.checked_add(amount).ok_or("3: credits overflow")?;
		}
		ensure!(credits == TotalCredits::<T>::get(), "3: credits drifted");
		let backed = T::Currency::balance(&Self::pot())
			.checked_sub(T::Currency::minimum_balance())
			.ok_or("3: the pot is below its existential deposit")?;
		ensure!(credits <= backed, "3: credits without KAI");
		Ok(())
	}

	/// Checks invariant 4: an open order with a worker is the one that this worker serves; a worker serves
	/// no other.
	fn try_workers() -> Result<(), TryRuntimeError> {
		let round = T::Checks::next_round();
		let mut served = BTreeMap::<WorkerId, OrderId>::new();
		for (id, order) in Orders::<T>::iter() {
			if !order.is_placed() {
				continue;
			}
			let worker = order.worker.ok_or("4: an order without a worker")?;
			let info = T::Workers::info(worker, round).ok_or("4: a worker that does not exist")?;
			ensure!(
				info.order == Some(id),
				"4: a worker that does not serve its order"
			);
			ensure!(
				served.insert(worker, id).is_none(),
				"4: a worker with two orders"
			);
		}
		for worker in 0..T::Workers::counts().registered {
			if let Some(order) = T::Workers::info(worker, round).and_then(|info| info.order) {
				ensure!(
					served.get(&worker) == Some(&order),
					"4: a worker whose order has another worker or is closed"
				);
			}
		}
		Ok(())
	}

	/// Checks invariants 5 and 6: each order is in the queue, or in the agenda at the block that its record
	/// names.
	fn try_places() -> Result<(), TryRuntimeError> {
		let queued = Self::try_queue()?;
		let planned = Self::try_agenda()?;
		for (id, order) in Orders::<T>::iter() {
			if order.wake == 0 {
				ensure!(
					order.state == OrderState::Matching && queued.contains(&id),
					"5: an order in neither queue nor agenda"
				);
			} else {
				ensure!(
					planned.contains(&(order.wake, id)),
					"5: an order that is not in the agenda"
				);
			}
		}
		Ok(())
	}

	/// Checks invariant 6: the queue has no gaps. Returns the orders in it.
	fn try_queue() -> Result<BTreeSet<OrderId>, TryRuntimeError> {
		let QueueBounds { head, tail } = QueueEnds::<T>::get();
		ensure!(head <= tail, "6: a queue that ends before it begins");
		let mut queued = BTreeSet::new();
		for position in head..tail {
			let entry = Queue::<T>::get(position).ok_or("6: a gap in the queue")?;
			queued.insert(entry.order);
		}
		ensure!(
			Queue::<T>::iter_keys().count() as u64 == tail - head,
			"6: entries outside the queue"
		);
		Ok(queued)
	}

	/// Checks invariant 6: the agenda's pages match its lengths, and none is before the cursor. Returns its
	/// entries.
	fn try_agenda() -> Result<BTreeSet<(u32, OrderId)>, TryRuntimeError> {
		let cursor = AgendaCursor::<T>::get().unwrap_or_default();
		let mut planned = BTreeSet::new();
		let mut pages = 0;
		for (block, len) in AgendaLen::<T>::iter() {
			ensure!(block >= cursor.block, "6: entries before the cursor");
			let first = if block == cursor.block {
				cursor.position
			} else {
				0
			};
			for number in first / AGENDA_PAGE..len.div_ceil(AGENDA_PAGE) {
				pages += 1;
				let page = Agenda::<T>::get(block, number);
				let full = len.saturating_sub(number * AGENDA_PAGE).min(AGENDA_PAGE);
				ensure!(
					page.len() as u32 == full,
					"6: a page whose length differs from its count"
				);
				for (at, id) in page.into_iter().enumerate() {
					if number * AGENDA_PAGE + at as u32 >= first {
						planned.insert((block, id));
					}
				}
			}
		}
		ensure!(
			Agenda::<T>::iter_keys().count() == pages,
			"6: pages outside the agenda"
		);
		Ok(planned)
	}

	/// Checks invariant 7: an order has at least one segment; no more time was proved than bought; it is
	/// `Closing` exactly while it has an [`Ending`]; only a served order has an open issue.
	fn try_time() -> Result<(), TryRuntimeError> {
		for order in Orders::<T>::iter_values() {
			ensure!(!order.segments.is_empty(), "7: an order without a segment");
			let bought = order.hours().saturating_mul(kaisar_primitives::HOURS);
			ensure!(order.proved <= bought, "7: more was proved than was bought");
			ensure!(
				order.ending.is_some() == (order.state == OrderState::Closing),
				"7: closing without a reason, or a reason without closing"
			);
			ensure!(
				order.issue.is_none() || order.is_served(),
				"7: an issue of an order that is not served"
			);
		}
		Ok(())
	}

	/// Checks invariant 8: the workload of an order is stored exactly until the order is closed, and the
	/// index of its customer has the order; neither has anything more.
	fn try_workloads() -> Result<(), TryRuntimeError> {
		let (mut orders, mut open) = (0u32, 0u32);
		for (id, order) in Orders::<T>::iter() {
			ensure!(
				id < NextOrderId::<T>::get(),
				"8: an order with a number not given out yet"
			);
			ensure!(
				Workloads::<T>::contains_key(id) != order.is_closed(),
				"8: an open order without a workload, or a closed one with it"
			);
			ensure!(
				OrdersByCustomer::<T>::contains_key(&order.customer, id.to_be_bytes()),
				"8: an order missing from its customer's index"
			);
			orders += 1;
			open += u32::from(!order.is_closed());
		}
		ensure!(
			Workloads::<T>::iter_keys().count() as u32 == open
				&& OrdersByCustomer::<T>::iter_keys().count() as u32 == orders,
			"8: an entry of a removed order is left"
		);
		Ok(())
	}

	/// Checks invariant 9: an order whose container was found down has ended, and only its money remains to
	/// be settled.
	fn try_down() -> Result<(), TryRuntimeError> {
		for order in Orders::<T>::iter_values() {
			ensure!(
				!order.down
					|| order.is_closed()
					|| (order.is_served() && order.ends_at <= Self::now()),
				"9: an order that was found down and continues"
			);
		}
		Ok(())
	}
}
