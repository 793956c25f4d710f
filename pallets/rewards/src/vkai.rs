//! Redemption of vKAI for KAI: all of it after a long term, a part of it after a shorter one.

use crate::{
	Config, Error, Event, NextRedemptionId, Owed, Pallet, Redemption, RedemptionId, Redemptions,
	VKai, pallet::Carry,
};
use frame_support::{ensure, traits::Get};
use kaisar_math::RedeemTerm;
use kaisar_primitives::{Balance, BlockNumber, Pot};
use sp_runtime::{
	DispatchResult,
	traits::{EnsureAdd, EnsureSub, SaturatedConversion},
};

impl<T: Config> Pallet<T> {
	pub(crate) fn do_redeem(
		who: T::AccountId,
		amount: Balance,
		term: RedeemTerm,
	) -> DispatchResult {
		ensure!(
			amount >= T::MinRedemption::get(),
			Error::<T>::RedemptionTooSmall
		);
		let rest = VKai::<T>::get(&who)
			.checked_sub(amount)
			.ok_or(Error::<T>::InsufficientVKai)?;
		let id = NextRedemptionId::<T>::get();
		let next = id.ensure_add(1)?;
		let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
		let due = now.ensure_add(term.blocks())?;
		let pays = term.pays(amount);
		let forfeited = amount.ensure_sub(pays)?;
		let owed = Owed::<T>::get(Pot::Checkers).ensure_sub(forfeited)?;
		let mut open = Redemptions::<T>::get(&who);
		open.try_push(Redemption { id, pays, due })
			.map_err(|_| Error::<T>::TooManyRedemptions)?;

		NextRedemptionId::<T>::put(next);
		Redemptions::<T>::insert(&who, open);
		if rest == 0 {
			VKai::<T>::remove(&who);
		} else {
			VKai::<T>::insert(&who, rest);
		}
		// The forfeited part belongs to the running epoch.
		Owed::<T>::insert(Pot::Checkers, owed);
		Self::grow::<Carry<T>>(Pot::Checkers, forfeited)?;
		Self::deposit_event(Event::RedemptionStarted {
			who,
			id,
			amount,
			pays,
			due,
		});
		Ok(())
	}

	pub(crate) fn do_withdraw_redemption(who: T::AccountId, id: RedemptionId) -> DispatchResult {
		let mut open = Redemptions::<T>::get(&who);
		let place = open
			.iter()
			.position(|redemption| redemption.id == id)
			.ok_or(Error::<T>::UnknownRedemption)?;
		let Redemption { pays, due, .. } = open.remove(place);
		let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
		ensure!(due <= now, Error::<T>::RedemptionNotDue);

		Self::pay(Pot::Checkers, &who, pays)?;
		if open.is_empty() {
			Redemptions::<T>::remove(&who);
		} else {
			Redemptions::<T>::insert(&who, open);
		}
		Self::deposit_event(Event::RedemptionWithdrawn {
			who,
			id,
			amount: pays,
		});
		Ok(())
	}
}
