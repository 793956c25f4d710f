//! Payments into the pots, and the protocol's part of rentals.

use crate::{Config, Current, Event, Pallet, WorkerScores, pallet::Carry};
use frame_support::{
	storage::with_storage_layer,
	traits::{
		Get,
		fungible::{Inspect, Mutate},
		tokens::{DepositConsequence, Preservation, Provenance},
	},
};
use kaisar_math::Schedule;
use kaisar_primitives::{Balance, BlockNumber, PoolId, Pot, Pots, ProtocolFees, WorkerId};
use sp_runtime::{
	DispatchResult,
	traits::{EnsureAddAssign, EnsureSub, SaturatedConversion},
};

impl<T: Config> Pallet<T> {
	/// Returns whether this block or a later one emits anything.
	pub(crate) fn emission_runs() -> bool {
		let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
		Schedule::KAISAR.left(now.saturating_sub(1)) > 0
	}

	fn can_take(account: &T::AccountId, amount: Balance) -> bool {
		let taken = T::Currency::can_deposit(account, amount, Provenance::Extant);
		taken == DepositConsequence::Success
	}

	/// Notes a protocol fee that an order of the worker paid, which raises the maximum reward of the
	/// worker's rented blocks in the running epoch.
	pub(crate) fn note_protocol_fee(worker: WorkerId, amount: Balance) -> DispatchResult {
		let mut current = Current::<T>::get();
		let mut record = WorkerScores::<T>::get(worker).unwrap_or_default();
		let terms = Self::terms_of(PoolId::Worker(worker));
		Self::roll_worker(worker, &mut record, current.index, &terms)?;
		record.fees.ensure_add_assign(amount)?;
		current.fees.ensure_add_assign(amount)?;
		WorkerScores::<T>::insert(worker, record);
		Current::<T>::put(current);
		Ok(())
	}
}

impl<T: Config> Pots<T::AccountId> for Pallet<T> {
	fn put(pot: Pot, from: &T::AccountId, amount: Balance) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		with_storage_layer(|| {
			let account = Self::pot_account(pot);
			T::Currency::transfer(from, &account, amount, Preservation::Expendable)?;
			Self::grow::<Carry<T>>(pot, amount)?;
			Self::deposit_event(Event::PotFunded {
				pot,
				from: from.clone(),
				amount,
			});
			Ok(())
		})
	}
}

impl<T: Config> ProtocolFees<T::AccountId> for Pallet<T> {
	fn pay(worker: WorkerId, from: &T::AccountId, amount: Balance) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		with_storage_layer(|| {
			Self::note_protocol_fee(worker, amount)?;
			let treasury = T::Treasury::get();
			if !Self::emission_runs() {
				let half = amount / 2;
				<Self as Pots<T::AccountId>>::put(Pot::Checkers, from, half)?;
				<Self as Pots<T::AccountId>>::put(Pot::Providers, from, amount.ensure_sub(half)?)?;
			} else if Self::can_take(&treasury, amount) {
				T::Currency::transfer(from, &treasury, amount, Preservation::Expendable)?;
			} else {
				// A treasury that has spent all its KAI cannot receive less than an existential deposit. The
				// payment must not fail for that.
				<Self as Pots<T::AccountId>>::put(Pot::Providers, from, amount)?;
			}
			Self::deposit_event(Event::ProtocolFeePaid {
				worker,
				from: from.clone(),
				amount,
			});
			Ok(())
		})
	}
}
