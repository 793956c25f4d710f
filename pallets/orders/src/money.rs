//! Escrow, payments, refunds and credits. Every function moves money and records the move in the order's
//! ledger; the caller stores the order, in the same storage layer.

use crate::{pallet::*, *};
use frame_support::{
	ensure,
	storage::with_storage_layer,
	traits::{
		Get,
		fungible::{Inspect, Mutate, MutateHold},
		tokens::{DepositConsequence, Fortitude, Precision, Preservation, Provenance, Restriction},
	},
};
use kaisar_math::reward;
use kaisar_primitives::{Balance, Checks, OrderId, ProtocolFees, WorkerId, WorkerRegistry};
use sp_runtime::{DispatchError, DispatchResult, traits::AccountIdConversion};

/// Credits.
impl<T: Config> Pallet<T> {
	/// Returns the account that holds the KAI behind all credits.
	pub fn pot() -> T::AccountId {
		T::PalletId::get().into_account_truncating()
	}

	/// Gives the pot its existential deposit, at genesis.
	pub(crate) fn found_pot() -> DispatchResult {
		let (pot, least) = (Self::pot(), T::Currency::minimum_balance());
		let has = T::Currency::balance(&pot);
		if let Some(missing) = least.checked_sub(has).filter(|missing| *missing > 0) {
			T::Currency::mint_into(&pot, missing)?;
		}
		Ok(())
	}

	/// Gives credits to an account. The KAI behind them is in the pot already.
	fn give_credits(who: &T::AccountId, amount: Balance) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		Credits::<T>::try_mutate(who, |credits| credits.ensure_add_assign(amount))?;
		Self::deposit_event(Event::CreditsGiven {
			who: who.clone(),
			amount,
		});
		Ok(())
	}

	/// Moves an account's credits into an order's escrow.
	fn use_credits(who: &T::AccountId, order: OrderId, amount: Balance) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		let left = Credits::<T>::get(who)
			.checked_sub(amount)
			.ok_or(Error::<T>::InsufficientCredits)?;
		if left == 0 {
			Credits::<T>::remove(who);
		} else {
			Credits::<T>::insert(who, left);
		}
		Self::deposit_event(Event::CreditsUsed {
			who: who.clone(),
			order,
			amount,
		});
		Ok(())
	}
}

/// Moves into escrow and out of it.
impl<T: Config> Pallet<T> {
	/// Charges the customer: moves `money` into escrow.
	pub(crate) fn charge(id: OrderId, order: &mut OrderOf<T>, money: Money) -> DispatchResult {
		Self::use_credits(&order.customer, id, money.credits)?;
		if money.kai > 0 {
			T::Currency::hold(&HoldReason::Escrow.into(), &order.customer, money.kai)?;
		}
		order.ledger.escrow.ensure_add_assign(money)?;
		order.ledger.charged.ensure_add_assign(money.total()?)?;
		Ok(())
	}

	/// Moves held KAI to another account's free balance. KAI on hold for an order belongs to the order, so
	/// no freeze or lock on its customer's balance prevents the move.
	pub(crate) fn move_held(
		reason: HoldReason,
		from: &T::AccountId,
		to: &T::AccountId,
		amount: Balance,
	) -> DispatchResult {
		if amount > 0 {
			T::Currency::transfer_on_hold(
				&reason.into(),
				from,
				to,
				amount,
				Precision::Exact,
				Restriction::Free,
				Fortitude::Force,
			)?;
		}
		Ok(())
	}

	/// Moves money from escrow into the pot: its KAI joins that behind the credits.
	fn collect(order: &mut OrderOf<T>, amount: Balance) -> Result<Money, DispatchError> {
		let money = order
			.ledger
			.escrow
			.take(amount)
			.ok_or(Error::<T>::Inconsistent)?;
		Self::move_held(HoldReason::Escrow, &order.customer, &Self::pot(), money.kai)?;
		Ok(money)
	}

	/// Removes spent credits: the KAI behind them leaves the pot.
	fn spend(money: Money) -> DispatchResult {
		if money.credits > 0 {
			TotalCredits::<T>::try_mutate(|total| {
				*total = total
					.checked_sub(money.credits)
					.ok_or(Error::<T>::Inconsistent)?;
				Ok::<(), DispatchError>(())
			})?;
		}
		Ok(())
	}

	/// Returns the account that receives `amount`: `to`, or the treasury if the amount could not create
	/// `to`.
	pub(crate) fn payee(to: T::AccountId, amount: Balance) -> T::AccountId {
		if Self::can_take(&to, amount) {
			to
		} else {
			T::Treasury::get()
		}
	}

	fn can_take(to: &T::AccountId, amount: Balance) -> bool {
		T::Currency::can_deposit(to, amount, Provenance::Extant) == DepositConsequence::Success
	}

	/// Pays `amount` of the escrow for use: the protocol's part as a fee, the rest to the worker's owner.
	fn pay(
		id: OrderId,
		order: &mut OrderOf<T>,
		worker: WorkerId,
		amount: Balance,
	) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		let owner = T::Workers::info(worker, T::Checks::next_round())
			.ok_or(Error::<T>::Inconsistent)?
			.owner;
		let money = Self::collect(order, amount)?;
		Self::spend(money)?;
		let (mut fee, mut net) = reward::fee(amount, T::ProtocolFee::get());
		let to = Self::payee(owner, net);
		if !Self::can_take(&to, net) {
			// Neither the owner's account nor the treasury's exists: all of it becomes a fee.
			(fee, net) = (amount, 0);
		}
		if net > 0 {
			T::Currency::transfer(&Self::pot(), &to, net, Preservation::Preserve)?;
		}
		T::Fees::pay(worker, &Self::pot(), fee)?;
		order.ledger.paid.ensure_add_assign(net)?;
		order.ledger.fees.ensure_add_assign(fee)?;
		Self::deposit_event(Event::OrderPaid {
			order: id,
			worker,
			to,
			amount: net,
			fee,
			proved: order.proved,
		});
		Ok(())
	}

	/// Pays for use, up to `due` in total: never less than is paid already, never more than is in escrow.
	pub(crate) fn pay_up_to(id: OrderId, order: &mut OrderOf<T>, due: Balance) -> DispatchResult {
		let Some(worker) = order.worker else {
			return Ok(());
		};
		let paid = order.ledger.gross()?;
		let left = order.ledger.escrow.total()?;
		Self::pay(id, order, worker, due.saturating_sub(paid).min(left))
	}

	/// Pays for proved time.
	pub(crate) fn pay_proved(id: OrderId, order: &mut OrderOf<T>) -> DispatchResult {
		let due = order
			.cost(order.plan, order.proved)
			.ok_or(ArithmeticError::Overflow)?;
		Self::pay_up_to(id, order, due)
	}

	/// Pays for proved time. If that fails, the money stays in escrow, and the next payment or the order's
	/// end pays for it too: a proof must not be lost with a payment.
	pub(crate) fn try_pay_proved(id: OrderId, order: &mut OrderOf<T>) {
		let mut after = order.clone();
		match with_storage_layer(|| Self::pay_proved(id, &mut after)) {
			Ok(()) => *order = after,
			Err(error) => Self::note_failure(id, error),
		}
	}

	/// Pays the treasury for a deployment that failed by the customer's fault: for the time since the match,
	/// at least for `SetupBlocks`.
	pub(crate) fn pay_setup(order: &mut OrderOf<T>) -> DispatchResult {
		let since = Self::now().saturating_sub(order.matched_at);
		let due = order
			.cost(order.plan, since.max(Self::setup_blocks()))
			.ok_or(ArithmeticError::Overflow)?;
		Self::pay_treasury(order, due)
	}

	/// Pays the treasury, at most the amount in escrow. An amount that could not create the treasury's
	/// account is left to the customer.
	fn pay_treasury(order: &mut OrderOf<T>, due: Balance) -> DispatchResult {
		let amount = due.min(order.ledger.escrow.total()?);
		let treasury = T::Treasury::get();
		if amount > 0 && Self::can_take(&treasury, amount) {
			let money = Self::collect(order, amount)?;
			Self::spend(money)?;
			T::Currency::transfer(&Self::pot(), &treasury, amount, Preservation::Preserve)?;
			order.ledger.setup.ensure_add_assign(amount)?;
		}
		Ok(())
	}

	/// Refunds `amount` of the escrow, in the kind it was paid in: KAI first, since KAI that stays becomes
	/// credits, and credits stay credits.
	pub(crate) fn refund(order: &mut OrderOf<T>, amount: Balance) -> DispatchResult {
		let money = order
			.ledger
			.escrow
			.take_back(amount)
			.ok_or(Error::<T>::Inconsistent)?;
		if money.kai > 0 {
			T::Currency::release(
				&HoldReason::Escrow.into(),
				&order.customer,
				money.kai,
				Precision::Exact,
			)?;
		}
		Self::give_credits(&order.customer, money.credits)?;
		order.ledger.refunded.ensure_add_assign(money)?;
		Ok(())
	}

	/// Refunds the rest of the escrow.
	pub(crate) fn refund_rest(order: &mut OrderOf<T>) -> DispatchResult {
		let rest = order.ledger.escrow.total()?;
		Self::refund(order, rest)
	}

	/// Turns the rest of the escrow into credits.
	pub(crate) fn credit_rest(order: &mut OrderOf<T>) -> DispatchResult {
		let rest = order.ledger.escrow.total()?;
		let money = Self::collect(order, rest)?;
		TotalCredits::<T>::try_mutate(|total| total.ensure_add_assign(money.kai))?;
		Self::give_credits(&order.customer, rest)?;
		order.ledger.credited.ensure_add_assign(rest)?;
		Ok(())
	}
}

/// Settlement of an order that was served, at its end.
impl<T: Config> Pallet<T> {
	/// Settles an order whose paid time is over, whose worker failed, or that was canceled. Proved time is
	/// paid, and the rest is refunded in its kind. After a cancellation used time is paid, and the rest
	/// becomes credits; only a tail that no check proved, including the rest of a first hour, is refunded in
	/// its kind.
	pub(crate) fn settle_ended(id: OrderId, order: &mut OrderOf<T>) -> DispatchResult {
		if !order.is_cancelled() {
			Self::pay_proved(id, order)?;
			return Self::refund_rest(order);
		}
		if order.ending.is_some_and(|ending| ending.proved) {
			let due = order.proved_price().ok_or(ArithmeticError::Overflow)?;
			Self::pay_up_to(id, order, due)?;
		} else {
			let due = order.proved_cost().ok_or(ArithmeticError::Overflow)?;
			Self::pay_up_to(id, order, due)?;
			let tail = Self::unpaid(order)?;
			Self::refund(order, tail)?;
		}
		Self::credit_rest(order)
	}

	/// Settles an order whose container ended or did not answer. The customer pays for used time: the
	/// provider gets the proved part of it, the treasury the rest, so that neither ending a container nor
	/// pretending that it ended pays. The rest becomes credits. It is refunded in its kind if checks proved
	/// nothing yet, since a provider must not turn a customer's KAI into credits by reporting an exit at
	/// once; and if paid time was over, since then only time that checks lost is left.
	pub(crate) fn settle_stopped(id: OrderId, order: &mut OrderOf<T>) -> DispatchResult {
		Self::pay_proved(id, order)?;
		let unpaid = Self::unpaid(order)?;
		Self::pay_treasury(order, unpaid)?;
		let running = order.ending.is_none();
		if order.is_cancelled() || (running && order.proved > 0) {
			Self::credit_rest(order)
		} else {
			Self::refund_rest(order)
		}
	}

	/// Returns the price of used time that is not paid yet, at most the amount in escrow.
	fn unpaid(order: &OrderOf<T>) -> Result<Balance, DispatchError> {
		let due = order.run_price().ok_or(ArithmeticError::Overflow)?;
		let paid = order.ledger.gross()?;
		Ok(due.saturating_sub(paid).min(order.ledger.escrow.total()?))
	}
}

/// The bond of a report.
impl<T: Config> Pallet<T> {
	/// Resolves the issue of an order, if one is open: the bond is returned to the customer, or goes to the
	/// worker's owner.
	pub(crate) fn resolve_issue(
		id: OrderId,
		order: &mut OrderOf<T>,
		returned: bool,
	) -> DispatchResult {
		let Some(OpenIssue { bond, .. }) = order.issue.take() else {
			return Ok(());
		};
		let owner = || {
			let worker = order.worker?;
			let info = T::Workers::info(worker, T::Checks::next_round())?;
			Some(Self::payee(info.owner, bond))
		};
		// Held KAI is moved neither to the account that holds it nor to one that it could not create.
		let to = (!returned)
			.then(owner)
			.flatten()
			.filter(|to| *to != order.customer && Self::can_take(to, bond));
		let returned = to.is_none();
		match to {
			Some(to) => Self::move_held(HoldReason::IssueBond, &order.customer, &to, bond)?,
			None => {
				T::Currency::release(
					&HoldReason::IssueBond.into(),
					&order.customer,
					bond,
					Precision::Exact,
				)?;
			}
		}
		Self::deposit_event(Event::IssueResolved {
			order: id,
			returned,
			bond,
		});
		Ok(())
	}

	/// Gives the customer's bond to the provider. If that fails, the issue stays open, and the next check or
	/// the order's end resolves it: a proof must not be lost with a bond.
	pub(crate) fn try_lose_bond(id: OrderId, order: &mut OrderOf<T>) {
		let mut after = order.clone();
		match with_storage_layer(|| Self::resolve_issue(id, &mut after, false)) {
			Ok(()) => *order = after,
			Err(error) => Self::note_failure(id, error),
		}
	}

	/// Reports a failure in the log and by an event.
	pub(crate) fn note_failure(id: OrderId, error: DispatchError) {
		log::error!(target: LOG_TARGET, "order {id}: failed and will be retried: {error:?}");
		Self::deposit_event(Event::OrderFailed { order: id, error });
	}

	/// Ensures that the ledger of an order balances and its escrow is empty.
	pub(crate) fn ensure_settled(order: &OrderOf<T>) -> DispatchResult {
		let settled = order.ledger.balances() && order.ledger.escrow == Money::default();
		ensure!(settled, Error::<T>::Inconsistent);
		Ok(())
	}
}
