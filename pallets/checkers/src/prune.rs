//! Removal of the records of operators that have deregistered.
//!
//! A record outlives its registration while committees of rounds in flight name it, its pool's last epoch
//! can be settled, or a strike can still be annulled. When all that is over, anyone may prune it, and the
//! part of the deposit that paid for it is released.
//!
//! An operator may have had any number of members and commitments, so a call removes at most [`MAX_PRUNED`]
//! of them, and the record with the last.

use crate::*;
use kaisar_primitives::RetiredPools;

/// Maximum number of members and commitments that one call removes.
pub const MAX_PRUNED: u32 = 32;

impl<T: Config> Pallet<T> {
	/// Ensures that nothing needs the operator's record.
	pub(crate) fn ensure_prunable(operator: OperatorId) -> Result<OperatorOf<T>, Error<T>> {
		let record = Operators::<T>::get(operator).ok_or(Error::<T>::UnknownOperator)?;
		let gone = record.gone.ok_or(Error::<T>::StillNeeded)?;
		let strikes = StrikesOf::<T>::get(&record.account);
		// An account's strikes ban its last registration.
		let is_last = NumberOf::<T>::get(&record.account) == Some(operator);
		let has_strikes = strikes
			.iter()
			.any(|strike| is_last || strike.operator == operator);
		let has_seats = T::Checks::in_flight()
			.into_iter()
			.any(|round| record.is_registered(round));
		ensure!(
			!has_strikes
				&& !has_seats
				&& T::RetiredPools::has_expired(PoolId::Checker(operator), gone.epoch),
			Error::<T>::StillNeeded
		);
		Ok(record)
	}

	/// Removes the data of an operator. Returns the number of members and commitments removed.
	pub(crate) fn do_prune(operator: OperatorId) -> Result<u32, DispatchError> {
		let record = Self::ensure_prunable(operator)?;
		let mut removed = Self::remove_members(operator, MAX_PRUNED)?;
		removed = removed.saturating_add(T::Checks::forget_operator(
			operator,
			MAX_PRUNED.saturating_sub(removed),
		));
		if removed >= MAX_PRUNED {
			// There may be more.
			return Ok(removed);
		}
		Self::drop_keys(operator, &record);
		if NumberOf::<T>::get(&record.account) == Some(operator) {
			NumberOf::<T>::remove(&record.account);
		}
		Operators::<T>::remove(operator);
		T::Currency::release(
			&HoldReason::OperatorDeposit.into(),
			&record.account,
			record.deposit,
			Precision::Exact,
		)?;
		Self::deposit_event(Event::CheckerPruned { operator });
		Ok(removed)
	}

	/// Takes the licenses of at most `limit` members out of the operator's pool, and pays each what it can
	/// claim.
	fn remove_members(operator: OperatorId, limit: u32) -> Result<u32, DispatchError> {
		let members: alloc::vec::Vec<_> = Members::<T>::iter_prefix(operator)
			.take(limit as usize)
			.collect();
		for (who, licenses) in &members {
			Self::change_pool(operator, Some((who, 0)), |record| {
				let others = record.licenses.now.value.ensure_sub(*licenses)?;
				record.licenses.now.value = others;
				Ok(())
			})?;
			T::RetiredPools::pay_out(PoolId::Checker(operator), who)?;
		}
		Ok(members.len() as u32)
	}

	/// Removes the keys of a registration that has ended from the indices, if no round in flight needs
	/// them.
	pub(crate) fn drop_keys_of_gone(operator: OperatorId, in_flight: &[RoundIndex]) {
		if let Some(record) = Operators::<T>::get(operator)
			&& !in_flight.iter().any(|round| record.is_registered(*round))
		{
			Self::drop_keys(operator, &record);
		}
	}

	/// Removes an operator's keys from the indices, unless another operator has them by now.
	pub(crate) fn drop_keys(operator: OperatorId, record: &OperatorOf<T>) {
		for Keys { checker, agent } in record.keys.values() {
			if CheckerKeys::<T>::get(checker) == Some(operator) {
				CheckerKeys::<T>::remove(checker);
			}
			if AgentKeys::<T>::get(agent) == Some(operator) {
				AgentKeys::<T>::remove(agent);
			}
		}
	}
}
