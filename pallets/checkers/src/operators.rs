//! Registrations: keys, commission, going online and offline, deregistering.

use crate::*;
use kaisar_primitives::{AnnounceError, authorized::genesis};
use sp_runtime::ArithmeticError;

/// Guards.
impl<T: Config> Pallet<T> {
	/// Returns the number and the record of the account's present registration.
	pub(crate) fn ensure_operator_of(
		account: &T::AccountId,
	) -> Result<(OperatorId, OperatorOf<T>), Error<T>> {
		let operator = NumberOf::<T>::get(account).ok_or(Error::<T>::UnknownOperator)?;
		let record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		ensure!(record.gone.is_none(), Error::<T>::UnknownOperator);
		Ok((operator, record))
	}

	/// Does the same for a caller, with a different error.
	pub(crate) fn ensure_caller(
		who: &T::AccountId,
	) -> Result<(OperatorId, OperatorOf<T>), Error<T>> {
		Self::ensure_operator_of(who).map_err(|error| match error {
			Error::<T>::UnknownOperator => Error::<T>::NotRegistered,
			other => other,
		})
	}

	/// Ensures that the account's last registration is not banned: registering again does not end a ban.
	pub(crate) fn ensure_not_banned(who: &T::AccountId) -> Result<(), Error<T>> {
		let banned = NumberOf::<T>::get(who)
			.and_then(Operators::<T>::get)
			.and_then(|record| Self::banned_until(&record));
		ensure!(banned.is_none(), Error::<T>::Banned);
		Ok(())
	}

	/// Ensures that `operator`, or a new one, can use the keys.
	pub(crate) fn ensure_keys_free(
		keys: &Keys,
		operator: Option<OperatorId>,
	) -> Result<(), Error<T>> {
		ensure!(
			!is_zero(&keys.checker) && !is_zero(&keys.agent),
			Error::<T>::ZeroKey
		);
		let holders = [
			CheckerKeys::<T>::get(keys.checker),
			AgentKeys::<T>::get(keys.agent),
		];
		for holder in holders.into_iter().flatten() {
			ensure!(
				Some(holder) == operator || Self::has_gone(holder),
				Error::<T>::KeyInUse
			);
		}
		Ok(())
	}

	/// Ensures that the account holds the keys.
	pub(crate) fn ensure_possession(
		who: &T::AccountId,
		keys: &Keys,
		proof: &KeyProof,
	) -> Result<(), Error<T>> {
		ensure!(
			proof.verify(
				KeyRole::Checker,
				genesis::<T>(),
				who,
				&keys.checker.0,
				&keys.agent
			),
			Error::<T>::InvalidProof
		);
		Ok(())
	}

	/// Returns whether the registration has ended. Its record may be pruned.
	pub(crate) fn has_gone(operator: OperatorId) -> bool {
		Operators::<T>::get(operator).is_none_or(|record| record.gone.is_some())
	}
}

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_register(
		who: &T::AccountId,
		keys: Keys,
		commission: Perbill,
		proof: &KeyProof,
	) -> DispatchResult {
		ensure!(
			Self::ensure_operator_of(who).is_err(),
			Error::<T>::AlreadyRegistered
		);
		Self::ensure_not_banned(who)?;
		Self::ensure_keys_free(&keys, None)?;
		Self::ensure_possession(who, &keys, proof)?;
		let from_round = T::Checks::next_round();
		let operator = Self::insert_operator(who, keys, commission, from_round)?;
		Self::deposit_event(Event::CheckerRegistered {
			operator,
			account: who.clone(),
			checker_key: keys.checker_key(),
			agent_key: keys.agent,
			commission,
			from_round,
		});
		Ok(())
	}

	/// Writes a registration that counts from round `from` on. Calls have checked everything but the
	/// deposit; genesis makes its own checks.
	pub(crate) fn insert_operator(
		who: &T::AccountId,
		keys: Keys,
		commission: Perbill,
		from: RoundIndex,
	) -> Result<OperatorId, DispatchError> {
		ensure!(
			Self::ensure_operator_of(who).is_err(),
			Error::<T>::AlreadyRegistered
		);
		Self::ensure_keys_free(&keys, None)?;
		let operator = NextOperator::<T>::get();
		let next = operator.ensure_add(1)?;
		// The record's part is always held, whatever the parameter says.
		let deposit = T::Deposit::get().max(T::RecordDeposit::get());
		T::Currency::hold(&HoldReason::OperatorDeposit.into(), who, deposit)?;

		let in_flight = T::Checks::in_flight();
		if let Some(last) = NumberOf::<T>::get(who) {
			Self::drop_keys_of_gone(last, &in_flight);
		}
		let mut in_draw = History::new(false, 0);
		in_draw.change(true, from, &in_flight);
		NextOperator::<T>::put(next);
		NumberOf::<T>::insert(who, operator);
		CheckerKeys::<T>::insert(keys.checker, operator);
		AgentKeys::<T>::insert(keys.agent, operator);
		Operators::<T>::insert(
			operator,
			Operator {
				account: who.clone(),
				keys: History::new(keys, 0),
				in_draw,
				licenses: Timeline::new(0, from),
				gone: None,
				commission: Commission::new(commission, 0),
				auto_accept: false,
				deposit,
				presence: Presence::default(),
				online: true,
				ban: None,
			},
		);
		Ok(operator)
	}

	pub(crate) fn do_set_keys(who: &T::AccountId, keys: Keys, proof: &KeyProof) -> DispatchResult {
		let (operator, mut record) = Self::ensure_caller(who)?;
		Self::ensure_keys_free(&keys, Some(operator))?;
		Self::ensure_possession(who, &keys, proof)?;
		let from_round = T::Checks::next_round();

		let old = *record.keys.at_or_oldest(from_round.saturating_sub(1));
		let before: alloc::vec::Vec<_> = record.keys.values().copied().collect();
		record
			.keys
			.change(keys, from_round, &T::Checks::in_flight());
		let kept = || record.keys.values();
		for dropped in before {
			if !kept().any(|keys| keys.checker == dropped.checker) {
				CheckerKeys::<T>::remove(dropped.checker);
			}
			if !kept().any(|keys| keys.agent == dropped.agent) {
				AgentKeys::<T>::remove(dropped.agent);
			}
		}
		CheckerKeys::<T>::insert(keys.checker, operator);
		AgentKeys::<T>::insert(keys.agent, operator);
		Operators::<T>::insert(operator, record);
		Self::deposit_event(Event::CheckerKeysSet {
			operator,
			old_checker_key: old.checker_key(),
			old_agent_key: old.agent,
			checker_key: keys.checker_key(),
			agent_key: keys.agent,
			from_round,
		});
		Ok(())
	}

	pub(crate) fn do_set_commission(who: &T::AccountId, new: Perbill) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		let epoch = T::CurrentEpoch::get();
		let old = record.commission.in_epoch(epoch);
		let from_epoch = Self::change_pool(operator, None, |record| {
			let announced = record.commission.announce(new, epoch);
			announced.map_err(|error| match error {
				AnnounceError::Pending => Error::<T>::CommissionPending.into(),
				AnnounceError::LastEpoch => ArithmeticError::Overflow.into(),
			})
		})?;
		Self::deposit_event(Event::CommissionSet {
			operator,
			old,
			new,
			from_epoch,
		});
		Ok(())
	}

	pub(crate) fn do_set_auto_accept(who: &T::AccountId, new: bool) -> DispatchResult {
		let (operator, mut record) = Self::ensure_caller(who)?;
		let old = core::mem::replace(&mut record.auto_accept, new);
		Operators::<T>::insert(operator, record);
		Self::deposit_event(Event::AutoAcceptSet { operator, old, new });
		Ok(())
	}

	pub(crate) fn do_go_offline(who: &T::AccountId) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		ensure!(record.is_online(), Error::<T>::AlreadyOffline);
		let from_round = T::Checks::next_round();
		Self::mutate_operator(operator, |record| {
			record.online = false;
			record.redraw(from_round, &T::Checks::in_flight());
			record.presence.count = 0;
			Ok(())
		})?;
		Self::deposit_event(Event::WentOffline {
			operator,
			from_round,
			missed: false,
		});
		Ok(())
	}

	pub(crate) fn do_go_online(who: &T::AccountId) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		ensure!(!record.is_online(), Error::<T>::AlreadyOnline);
		ensure!(Self::banned_until(&record).is_none(), Error::<T>::Banned);
		let from_round = T::Checks::next_round();
		Self::mutate_operator(operator, |record| {
			record.online = true;
			record.ban = None;
			record.redraw(from_round, &T::Checks::in_flight());
			// Presence starts afresh.
			record.presence.count = 0;
			Ok(())
		})?;
		Self::deposit_event(Event::WentOnline {
			operator,
			from_round,
		});
		Ok(())
	}

	pub(crate) fn do_deregister(who: &T::AccountId) -> DispatchResult {
		let (operator, _) = Self::ensure_caller(who)?;
		Self::end_registration(operator, T::Checks::next_round())
	}

	/// Ends a registration that is in force until the start of round `from_round`, with all its
	/// delegations, however many. The record remains, and with it its part of the deposit.
	pub(crate) fn end_registration(operator: OperatorId, from_round: RoundIndex) -> DispatchResult {
		let record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		let kept = record.deposit.min(T::RecordDeposit::get());
		let released = record.deposit.ensure_sub(kept)?;
		Self::change_pool(operator, None, |record| {
			record.gone = Some(Gone {
				from_round,
				epoch: T::CurrentEpoch::get(),
			});
			record.deposit = kept;
			Ok(())
		})?;
		T::Currency::release(
			&HoldReason::OperatorDeposit.into(),
			&record.account,
			released,
			Precision::Exact,
		)?;
		Self::deposit_event(Event::CheckerDeregistered {
			operator,
			account: record.account,
			from_round,
		});
		Ok(())
	}

	/// Changes the pool of an operator, and the licenses of one `member` if given, and notifies Rewards.
	/// All changes of pools go through here.
	pub(crate) fn change_pool<R>(
		operator: OperatorId,
		member: Option<(&T::AccountId, u32)>,
		change: impl FnOnce(&mut OperatorOf<T>) -> Result<R, DispatchError>,
	) -> Result<R, DispatchError> {
		let (terms, result) =
			Self::mutate_operator(operator, |record| Ok((record.terms(), change(record)?)))?;
		let shares = member.map(|(who, after)| {
			let before = Members::<T>::get(operator, who);
			if after == 0 {
				Members::<T>::remove(operator, who);
			} else {
				Members::<T>::insert(operator, who, after);
			}
			SharesChange {
				who,
				before: before.into(),
				after: after.into(),
			}
		});
		T::OnPoolChange::on_change(PoolId::Checker(operator), terms, shares)?;
		Ok(result)
	}

	/// Changes a record and keeps [`ActiveLicenses`] in step: every change that can alter the number of
	/// an operator's active licenses goes through here.
	pub(crate) fn mutate_operator<R>(
		operator: OperatorId,
		change: impl FnOnce(&mut OperatorOf<T>) -> Result<R, DispatchError>,
	) -> Result<R, DispatchError> {
		let mut record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		let before = record.active();
		let result = change(&mut record)?;
		let after = record.active();
		if before != after {
			let active = ActiveLicenses::<T>::get()
				.checked_sub(before)
				.and_then(|others| others.checked_add(after))
				.defensive_ok_or(Error::<T>::Inconsistent)?;
			ActiveLicenses::<T>::put(active);
		}
		Operators::<T>::insert(operator, record);
		Ok(result)
	}

	pub(crate) fn status_of(account: &T::AccountId) -> Option<CheckerStatus> {
		let operator = NumberOf::<T>::get(account)?;
		let record = Operators::<T>::get(operator).defensive()?;
		if let Some(until) = Self::banned_until(&record) {
			return Some(CheckerStatus::Banned { until });
		}
		if record.gone.is_some() {
			return None;
		}
		Some(if !record.is_online() {
			CheckerStatus::Offline
		} else if T::Checks::is_seated(operator) {
			CheckerStatus::Checking
		} else if record.licenses.now.value == 0 {
			CheckerStatus::Pending
		} else {
			CheckerStatus::Ready
		})
	}
}
