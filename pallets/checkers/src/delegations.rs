//! Delegations of licenses to operators.

use crate::*;

/// Guards.
impl<T: Config> Pallet<T> {
	/// Ensures that `who` holds the license.
	pub(crate) fn ensure_holder(who: &T::AccountId, license: LicenseId) -> Result<(), Error<T>> {
		let holder = T::Licenses::holder(license).ok_or(Error::<T>::UnknownLicense)?;
		ensure!(holder == *who, Error::<T>::NotHolder);
		Ok(())
	}

	/// Returns the delegation of the license if it is pending and made to `operator`.
	pub(crate) fn ensure_pending(
		license: LicenseId,
		operator: OperatorId,
	) -> Result<DelegationOf<T>, Error<T>> {
		let delegation = Self::delegation(license).ok_or(Error::<T>::NotDelegated)?;
		ensure!(delegation.operator == operator, Error::<T>::NotOperator);
		ensure!(!delegation.accepted, Error::<T>::AlreadyAccepted);
		Ok(delegation)
	}

	/// Returns the license's delegation, unless its operator has deregistered.
	pub(crate) fn delegation(license: LicenseId) -> Option<DelegationOf<T>> {
		Delegations::<T>::get(license).filter(|delegation| !Self::has_gone(delegation.operator))
	}
}

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_delegate(
		who: &T::AccountId,
		license: LicenseId,
		account: &T::AccountId,
	) -> DispatchResult {
		Self::ensure_holder(who, license)?;
		ensure!(
			Self::delegation(license).is_none(),
			Error::<T>::AlreadyDelegated
		);
		let (operator, record) = Self::ensure_operator_of(account)?;

		let delegation = Delegation {
			holder: who.clone(),
			operator,
			accepted: false,
		};
		if record.auto_accept || who == account {
			return Self::accept(license, delegation, T::Checks::next_round());
		}
		Delegations::<T>::insert(license, delegation);
		Self::deposit_event(Event::DelegationRequested {
			license,
			holder: who.clone(),
			operator,
		});
		Ok(())
	}

	pub(crate) fn do_accept(who: &T::AccountId, license: LicenseId) -> DispatchResult {
		let (operator, _) = Self::ensure_caller(who)?;
		let delegation = Self::ensure_pending(license, operator)?;
		Self::accept(license, delegation, T::Checks::next_round())
	}

	/// Makes the license active for the operator of `delegation`, which must be registered, from round
	/// `from` on. The license must not have another accepted delegation to a registered operator.
	pub(crate) fn accept(
		license: LicenseId,
		mut delegation: DelegationOf<T>,
		from: RoundIndex,
	) -> DispatchResult {
		let operator = delegation.operator;
		let (page, index) = place(license);
		let mut entries = Pages::<T>::get(page);
		while entries.len() <= index {
			entries
				.try_push(Entry::default())
				.defensive_map_err(|_| Error::<T>::Inconsistent)?;
		}
		let entry = entries
			.get_mut(index)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		if entry.now.is_open() {
			// Its operator has deregistered, which ended the span without a write here. If the operator's
			// record is pruned, the span ended before all rounds in flight.
			entry.now = Operators::<T>::get(entry.now.operator)
				.and_then(|record| record.gone)
				.map_or(Span::default(), |gone| {
					entry.now.close(gone.from_round);
					entry.now
				});
		}
		ensure!(
			entry.begin(operator, from, &T::Checks::in_flight()),
			Error::<T>::TooManyChanges
		);
		let members = Members::<T>::get(operator, &delegation.holder).ensure_add(1)?;

		Pages::<T>::insert(page, entries);
		Self::change_pool(operator, Some((&delegation.holder, members)), |record| {
			let licenses = record.licenses.now.value.ensure_add(1)?;
			record
				.licenses
				.change_count(licenses, from, T::Checks::oldest_round());
			Ok(())
		})?;
		delegation.accepted = true;
		Delegations::<T>::insert(license, &delegation);
		Self::deposit_event(Event::DelegationAccepted {
			license,
			holder: delegation.holder,
			operator,
			active_from: from,
		});
		Ok(())
	}

	pub(crate) fn do_reject(who: &T::AccountId, license: LicenseId) -> DispatchResult {
		let (operator, _) = Self::ensure_caller(who)?;
		let delegation = Self::ensure_pending(license, operator)?;
		Delegations::<T>::remove(license);
		Self::deposit_event(Event::DelegationRejected {
			license,
			holder: delegation.holder,
			operator,
		});
		Ok(())
	}

	pub(crate) fn do_revoke(who: &T::AccountId, license: LicenseId) -> DispatchResult {
		Self::ensure_holder(who, license)?;
		let delegation = Self::delegation(license).ok_or(Error::<T>::NotDelegated)?;
		let operator = delegation.operator;
		let inactive_from = T::Checks::next_round();

		if delegation.accepted {
			Self::end_span(license, &delegation, inactive_from)?;
		}
		Delegations::<T>::remove(license);
		Self::deposit_event(Event::DelegationRevoked {
			license,
			holder: who.clone(),
			operator,
			inactive_from,
		});
		Ok(())
	}

	/// Ends the activity of an accepted delegation at the start of round `until`.
	pub(crate) fn end_span(
		license: LicenseId,
		delegation: &DelegationOf<T>,
		until: RoundIndex,
	) -> DispatchResult {
		let Delegation {
			holder, operator, ..
		} = delegation;
		let (page, index) = place(license);
		let mut entries = Pages::<T>::get(page);
		let entry = entries
			.get_mut(index)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		let members = Members::<T>::get(operator, holder)
			.checked_sub(1)
			.defensive_ok_or(Error::<T>::Inconsistent)?;

		entry.now.close(until);
		Pages::<T>::insert(page, entries);
		Self::change_pool(*operator, Some((holder, members)), |record| {
			let licenses = record
				.licenses
				.now
				.value
				.checked_sub(1)
				.defensive_ok_or(Error::<T>::Inconsistent)?;
			record
				.licenses
				.change_count(licenses, until, T::Checks::oldest_round());
			Ok(())
		})
	}

	pub(crate) fn license_view(license: LicenseId) -> Option<LicenseView<T::AccountId>> {
		use kaisar_primitives::Seats;
		let holder = T::Licenses::holder(license)?;
		let delegation = Self::delegation(license);
		let operator = delegation.as_ref().and_then(|delegation| {
			let record = Operators::<T>::get(delegation.operator)?;
			Some((delegation.operator, record.account))
		});
		Some(LicenseView {
			holder,
			operator,
			pending: delegation.is_some_and(|delegation| !delegation.accepted),
			seat: <Self as Seats<T::AccountId>>::seat(license, T::Checks::next_round()),
		})
	}
}
