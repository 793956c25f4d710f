//! The life of an order: placed, deployed, extended, canceled, over.

use crate::{pallet::*, *};
use frame_support::{
	ensure,
	traits::{Get, fungible::MutateHold},
};
use kaisar_primitives::{
	Balance, BlockNumber, Checks, CloseReason, DeployFailure, HOURS, Issue, MAX_HOURS, Market,
	OrderId, Plan, Requirement, WorkerId, WorkerRegistry, authorized::Signer,
};
use sp_runtime::{DispatchError, DispatchResult, SaturatedConversion};

/// The terms of an order that a customer asks for.
pub(crate) struct Terms {
	pub requirement: Requirement,
	pub hours: u32,
	pub plan: Plan,
	pub deploy_blocks: u16,
}

/// The customer's calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_place(
		who: T::AccountId,
		terms: Terms,
		ordered: Ordered,
		max_price: Balance,
		credits: Balance,
	) -> DispatchResult {
		let Terms {
			requirement,
			hours,
			plan,
			deploy_blocks,
		} = terms;
		let quote = Self::do_quote(&requirement, hours, plan)?;
		// A customer who holds a machine until the deadline pays for the time, and no more than the whole
		// price.
		ensure!(
			BlockNumber::from(deploy_blocks) <= hours.ensure_mul(HOURS)?,
			Error::<T>::InvalidWorkload
		);
		ensure!(quote.total <= max_price, Error::<T>::PriceAboveLimit);
		let credits = credits.min(quote.total);
		let charged = Money {
			kai: quote.total.ensure_sub(credits)?,
			credits,
		};
		let now = Self::now();
		let id = NextOrderId::<T>::get();
		NextOrderId::<T>::put(id.ensure_add(1)?);
		let mut order = Order {
			customer: who.clone(),
			requirement,
			plan,
			state: OrderState::Matching,
			worker: None,
			floor: 0,
			placed_at: now,
			matched_at: 0,
			deploy_blocks,
			deploy_by: 0,
			started_at: 0,
			ends_at: 0,
			closed_at: 0,
			segments: Default::default(),
			proved_to: 0,
			proved: 0,
			ending: None,
			down: false,
			issue: None,
			wake: 0,
			ledger: Ledger::default(),
		};
		let prices = quote.prices;
		Self::buy(&mut order, hours, prices)?;
		Self::charge(id, &mut order, charged)?;
		Self::enqueue(id, now)?;
		Orders::<T>::insert(id, order);
		Workloads::<T>::insert(id, ordered);
		OrdersByCustomer::<T>::insert(&who, id.to_be_bytes(), ());
		Self::deposit_event(Event::OrderPlaced {
			order: id,
			customer: who,
			requirement,
			hours,
			plan,
			unit_price: prices.of(plan),
			charged,
		});
		Ok(())
	}

	fn buy(order: &mut OrderOf<T>, hours: u32, prices: Prices) -> DispatchResult {
		order
			.segments
			.try_push(Segment { hours, prices })
			.map_err(|_| Error::<T>::TooManyExtensions.into())
	}

	pub(crate) fn do_extend(
		who: T::AccountId,
		id: OrderId,
		hours: u32,
		max_price: Balance,
	) -> DispatchResult {
		let mut order = Self::running_order(&who, id)?;
		ensure!(hours > 0, Error::<T>::TooFewHours);
		let all = order.hours().ensure_add(hours)?;
		ensure!(all <= MAX_HOURS, Error::<T>::TooManyHours);

		let Quote { prices, total, .. } = Self::price_hours(&order.requirement, hours, order.plan)?;
		let unit_price = prices.of(order.plan);
		ensure!(total <= max_price, Error::<T>::PriceAboveLimit);
		ensure!(unit_price >= order.floor, Error::<T>::PriceBelowFloor);
		Self::buy(&mut order, hours, prices)?;
		let money = Money {
			kai: total,
			credits: 0,
		};
		Self::charge(id, &mut order, money)?;
		let longer = hours.ensure_mul(HOURS)?;
		order.ends_at = order.ends_at.ensure_add(longer)?;
		let ends_at = order.ends_at;
		Self::schedule(id, &mut order, ends_at)?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderExtended {
			order: id,
			hours,
			unit_price,
			charged: total,
			ends_at,
		});
		Ok(())
	}

	pub(crate) fn do_cancel(who: T::AccountId, id: OrderId) -> DispatchResult {
		let mut order = Self::touched(id)?;
		ensure!(order.customer == who, Error::<T>::NotCustomer);
		match order.state {
			OrderState::Matching => {
				Self::refund_rest(&mut order)?;
				Self::conclude(id, order, CloseReason::Cancelled)
			}
			OrderState::Deploying => {
				Self::pay_setup(&mut order)?;
				Self::refund_rest(&mut order)?;
				Self::free(id, &order)?;
				Self::conclude(id, order, CloseReason::Cancelled)
			}
			OrderState::Active => {
				order.ends_at = order.ends_at.min(Self::now());
				Self::end(id, order, CloseReason::Cancelled)
			}
			OrderState::Closing | OrderState::Closed { .. } => Err(Error::<T>::WrongState.into()),
		}
	}

	pub(crate) fn do_report_issue(who: T::AccountId, id: OrderId, reason: Issue) -> DispatchResult {
		let mut order = Self::running_order(&who, id)?;
		ensure!(order.issue.is_none(), Error::<T>::IssueOpen);
		let worker = order.worker.ok_or(Error::<T>::Inconsistent)?;
		let bond = T::IssueBond::get();
		T::Currency::hold(&HoldReason::IssueBond.into(), &who, bond)?;
		order.issue = Some(OpenIssue {
			reason,
			bond,
			reported_at: Self::now(),
			undecided: 0,
		});
		T::Checks::force(worker)?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::IssueReported {
			order: id,
			worker,
			reason,
			bond,
		});
		Ok(())
	}

	/// Returns the customer's order if its paid time runs.
	fn running_order(who: &T::AccountId, id: OrderId) -> Result<OrderOf<T>, DispatchError> {
		let order = Self::touched(id)?;
		ensure!(order.customer == *who, Error::<T>::NotCustomer);
		ensure!(
			order.state == OrderState::Active && Self::now() < order.ends_at,
			Error::<T>::WrongState
		);
		Ok(order)
	}
}

/// The worker's calls.
impl<T: Config> Pallet<T> {
	/// Makes every check of `confirm_deployment` and `fail_deployment` except that of the sender.
	pub(crate) fn ensure_deploying(id: OrderId) -> Result<(OrderOf<T>, WorkerId), Error<T>> {
		let order = Orders::<T>::get(id).ok_or(Error::<T>::UnknownOrder)?;
		ensure!(order.state == OrderState::Deploying, Error::<T>::WrongState);
		ensure!(Self::now() <= order.deploy_by, Error::<T>::DeadlineOver);
		let worker = order.worker.ok_or(Error::<T>::Inconsistent)?;
		Ok((order, worker))
	}

	/// Makes every check of `report_exit` except that of the sender.
	pub(crate) fn ensure_served(id: OrderId) -> Result<(OrderOf<T>, WorkerId), Error<T>> {
		let order = Orders::<T>::get(id).ok_or(Error::<T>::UnknownOrder)?;
		ensure!(order.is_served(), Error::<T>::WrongState);
		let worker = order.worker.ok_or(Error::<T>::Inconsistent)?;
		Ok((order, worker))
	}

	/// Touches the worker and returns the order as it is after that; `None` if that changed its state. The
	/// worker's call then succeeds and does nothing more: if it failed, the touch would be undone with it,
	/// and a fee-less call could be sent again and again.
	fn after_touch(
		signer: &Signer<T::AccountId>,
		id: OrderId,
		order: OrderOf<T>,
		worker: WorkerId,
	) -> Result<Option<OrderOf<T>>, DispatchError> {
		let info =
			T::Workers::info(worker, T::Checks::next_round()).ok_or(Error::<T>::Inconsistent)?;
		ensure!(signer.stands_for(&info.owner), Error::<T>::NotOwner);
		ensure!(info.order == Some(id), Error::<T>::WorkerLost);
		T::Checks::touch(worker);
		let after = Orders::<T>::get(id).ok_or(Error::<T>::Inconsistent)?;
		Ok(Some(after).filter(|after| after.state == order.state))
	}

	pub(crate) fn do_confirm(signer: Signer<T::AccountId>, id: OrderId) -> DispatchResult {
		let (order, worker) = Self::ensure_deploying(id)?;
		let Some(mut order) = Self::after_touch(&signer, id, order, worker)? else {
			return Ok(());
		};
		let now = Self::now();
		let length = order.hours().ensure_mul(HOURS)?;
		let ends_at = now.ensure_add(length)?;
		order.state = OrderState::Active;
		order.started_at = now;
		order.proved_to = now;
		order.ends_at = ends_at;
		Self::schedule(id, &mut order, ends_at)?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderDeployed {
			order: id,
			worker,
			ends_at,
		});
		Ok(())
	}

	pub(crate) fn do_fail(
		signer: Signer<T::AccountId>,
		id: OrderId,
		reason: DeployFailure,
	) -> DispatchResult {
		let (order, worker) = Self::ensure_deploying(id)?;
		let Some(mut order) = Self::after_touch(&signer, id, order, worker)? else {
			return Ok(());
		};
		Self::deposit_event(Event::DeploymentFailed {
			order: id,
			worker,
			reason,
		});
		if !reason.is_customers() {
			return Self::fail_deployment_of(id, order, worker);
		}
		Self::pay_setup(&mut order)?;
		Self::refund_rest(&mut order)?;
		Self::free(id, &order)?;
		Self::conclude(id, order, CloseReason::ImageFailed)
	}

	pub(crate) fn do_exit(signer: Signer<T::AccountId>, id: OrderId, code: i32) -> DispatchResult {
		let (order, worker) = Self::ensure_served(id)?;
		let Some(order) = Self::after_touch(&signer, id, order, worker)? else {
			return Ok(());
		};
		Self::deposit_event(Event::ContainerExited {
			order: id,
			worker,
			code,
		});
		Self::stop(id, order, CloseReason::Exited)
	}
}

/// Steps that several calls share.
impl<T: Config> Pallet<T> {
	/// Returns the running block.
	pub(crate) fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Closes a check of the order's worker that is over, and returns the order as it is then.
	pub(crate) fn touched(id: OrderId) -> Result<OrderOf<T>, DispatchError> {
		let order = Orders::<T>::get(id).ok_or(Error::<T>::UnknownOrder)?;
		match order.worker.filter(|_| order.is_placed()) {
			Some(worker) => {
				T::Checks::touch(worker);
				Orders::<T>::get(id).ok_or_else(|| Error::<T>::UnknownOrder.into())
			}
			None => Ok(order),
		}
	}

	/// Returns the order's worker, if the worker serves this order by the registry.
	pub(crate) fn serving(id: OrderId, order: &OrderOf<T>) -> Option<WorkerId> {
		order.worker.filter(|worker| {
			T::Workers::info(*worker, T::Checks::next_round())
				.is_some_and(|info| info.order == Some(id))
		})
	}

	/// Frees the worker, unless the registry took the order from it before. After an order that was
	/// deployed, a full check has to support the worker's claim first.
	pub(crate) fn free(id: OrderId, order: &OrderOf<T>) -> DispatchResult {
		match Self::serving(id, order) {
			Some(worker) => T::Workers::free(worker, order.is_served()),
			None => Ok(()),
		}
	}

	/// Closes an order that its worker failed to deploy by its own fault: everything is refunded. The worker
	/// is barred, and reviewed at the bar's end.
	pub(crate) fn fail_deployment_of(
		id: OrderId,
		mut order: OrderOf<T>,
		worker: WorkerId,
	) -> DispatchResult {
		Self::refund_rest(&mut order)?;
		T::Workers::bar(worker, Self::bar_ends())?;
		Self::free(id, &order)?;
		Self::conclude(id, order, CloseReason::DeployFailed)
	}

	fn bar_ends() -> BlockNumber {
		Self::now().saturating_add(Self::bar_blocks())
	}

	/// Closes an order whose container ended, or does not answer on an online machine. The customer pays as
	/// for a cancellation, and nobody is slashed: the network cannot tell whose fault it was.
	pub(crate) fn stop(id: OrderId, mut order: OrderOf<T>, reason: CloseReason) -> DispatchResult {
		order.ends_at = order.ends_at.min(Self::now());
		Self::settle_stopped(id, &mut order)?;
		Self::free(id, &order)?;
		Self::conclude(id, order, reason)
	}

	/// Ends an order's paid time, and forces the check that proves the rest of it, for which the order
	/// waits.
	pub(crate) fn end(id: OrderId, mut order: OrderOf<T>, reason: CloseReason) -> DispatchResult {
		let worker = order.worker.ok_or(Error::<T>::Inconsistent)?;
		order.state = OrderState::Closing;
		order.ending = Some(Ending {
			reason,
			proved: false,
			undecided: 0,
			looks: 0,
		});
		let ends_at = order.ends_at;
		T::Checks::force(worker)?;
		let look = Self::now().saturating_add(Self::closing_timeout());
		Self::schedule(id, &mut order, look)?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderClosing {
			order: id,
			reason,
			ends_at,
		});
		Ok(())
	}

	/// Closes an order whose money is settled. An issue that no check has resolved is resolved in the
	/// customer's favor.
	pub(crate) fn conclude(
		id: OrderId,
		mut order: OrderOf<T>,
		reason: CloseReason,
	) -> DispatchResult {
		Self::resolve_issue(id, &mut order, true)?;
		Self::ensure_settled(&order)?;
		order.state = OrderState::Closed { reason };
		order.ending = None;
		order.closed_at = Self::now();
		let next = Self::after_close(&order, reason);
		Self::schedule(id, &mut order, next)?;
		Workloads::<T>::remove(id);
		let Ledger {
			paid,
			fees,
			setup,
			refunded,
			credited,
			..
		} = order.ledger;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderClosed {
			order: id,
			reason,
			paid,
			fee: fees.ensure_add(setup)?,
			refunded,
			credited,
		});
		Ok(())
	}

	/// Removes the record of a closed order.
	pub(crate) fn forget(id: OrderId, order: &OrderOf<T>) {
		Orders::<T>::remove(id);
		OrdersByCustomer::<T>::remove(&order.customer, id.to_be_bytes());
	}
}
