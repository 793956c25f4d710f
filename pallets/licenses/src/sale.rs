//! The sale of licenses.

use crate::*;
use frame_support::traits::{
	fungible::Mutate,
	tokens::{Fortitude, Preservation, Provenance, nonfungibles_v2::InspectEnumerable},
};
use sp_runtime::{
	TokenError,
	traits::{EnsureAddAssign, EnsureMul, EnsureSub, Zero},
};

/// An account's purchases after this one, and the price.
pub(crate) type PurchaseOf<T> = (Bought<BlockNumberFor<T>>, Quote<BalanceOf<T>>);

/// Guards.
impl<T: Config> Pallet<T> {
	/// Ensures that these terms can be offered.
	pub(crate) fn ensure_terms(round: &SaleRoundOf<T>) -> Result<(), Error<T>> {
		ensure!(!round.price.is_zero(), Error::<T>::ZeroPrice);
		ensure!(
			!round.whitelist_discount.is_one() && !round.referral_discount.is_one(),
			Error::<T>::FullDiscount
		);
		ensure!(round.per_account_limit > 0, Error::<T>::ZeroLimit);
		ensure!(round.starts < round.ends, Error::<T>::EmptyRound);
		Ok(())
	}

	/// Ensures that a round of the sale is running, and returns it.
	fn ensure_open() -> Result<SaleRoundOf<T>, Error<T>> {
		let now = frame_system::Pallet::<T>::block_number();
		Sale::<T>::get()
			.filter(|round| round.starts <= now && now < round.ends)
			.ok_or(Error::<T>::SaleClosed)
	}

	/// Ensures that `referrer` can refer `buyer`.
	fn ensure_referrer(buyer: &T::AccountId, referrer: &T::AccountId) -> Result<(), Error<T>> {
		ensure!(referrer != buyer, Error::<T>::SelfReferral);
		let collection = Collection::<T>::get().ok_or(Error::<T>::NoCollection)?;
		let mut owned = <pallet_nfts::Pallet<T> as InspectEnumerable<_>>::owned_in_collection(
			&collection,
			referrer,
		);
		ensure!(owned.next().is_some(), Error::<T>::ReferrerWithoutLicense);
		Ok(())
	}

	/// Ensures that the buyer can pay all of `paid` and keep its account, which it needs for using its
	/// licenses, and that `payee` can receive its part.
	fn ensure_paid(
		who: &T::AccountId,
		paid: BalanceOf<T>,
		payee: &T::AccountId,
		part: BalanceOf<T>,
	) -> DispatchResult {
		let has = T::Payment::reducible_balance(who, Preservation::Preserve, Fortitude::Polite);
		ensure!(has >= paid, TokenError::FundsUnavailable);
		if !part.is_zero() {
			T::Payment::can_deposit(payee, part, Provenance::Extant).into_result()?;
		}
		Ok(())
	}

	/// Checks all conditions of a purchase but the buyer's balance. Returns the account's purchases in this
	/// round after it, and the price.
	pub(crate) fn ensure_purchase(
		who: &T::AccountId,
		count: u32,
		referrer: Option<&T::AccountId>,
	) -> Result<PurchaseOf<T>, DispatchError> {
		ensure!(count > 0, Error::<T>::ZeroCount);
		ensure!(count <= MAX_PURCHASE, Error::<T>::TooManyAtOnce);
		let round = Self::ensure_open()?;
		if let Some(referrer) = referrer {
			Self::ensure_referrer(who, referrer)?;
		}
		let listed = Whitelist::<T>::contains_key(who);
		ensure!(
			round.public || listed || referrer.is_some(),
			Error::<T>::NotEligible
		);
		let bought = Self::bought_by(who, &round)
			.checked_add(count)
			.filter(|bought| *bought <= round.per_account_limit)
			.ok_or(Error::<T>::AccountLimitExceeded)?;
		let left = SUPPLY
			.checked_sub(Minted::<T>::get())
			.defensive_ok_or(Error::<T>::SoldOut)?;
		ensure!(left > 0, Error::<T>::SoldOut);
		ensure!(count <= left, Error::<T>::NotEnoughLeft);
		let bought = Bought {
			round: round.starts,
			count: bought,
		};
		Ok((
			bought,
			Self::quote_for(&round, count, listed, referrer.is_some())?,
		))
	}
}

impl<T: Config> Pallet<T> {
	/// Returns the number of licenses that the account bought in `round`.
	fn bought_by(who: &T::AccountId, round: &SaleRoundOf<T>) -> u32 {
		Purchases::<T>::get(who)
			.filter(|bought| bought.round == round.starts)
			.map_or(0, |bought| bought.count)
	}

	/// Computes the price. The buyer's payment is rounded up and the referrer's part down, to the smallest
	/// unit of KAI; the treasury gets the remainder.
	fn quote_for(
		round: &SaleRoundOf<T>,
		count: u32,
		listed: bool,
		referred: bool,
	) -> Result<Quote<BalanceOf<T>>, DispatchError> {
		let discount = [
			(listed, round.whitelist_discount),
			(referred, round.referral_discount),
		]
		.into_iter()
		.filter_map(|(holds, discount)| holds.then_some(discount))
		.max()
		.unwrap_or_default();
		let full = round.price.ensure_mul(count.into())?;
		let paid = full.ensure_sub(discount.mul_floor(full))?;
		let commission = if referred {
			round.referral_commission.mul_floor(paid)
		} else {
			Zero::zero()
		};
		Ok(Quote {
			paid,
			commission,
			discount,
		})
	}

	pub(crate) fn do_set_sale(new: Option<SaleRoundOf<T>>) -> DispatchResult {
		if let Some(round) = &new {
			Self::ensure_terms(round)?;
		}
		let old = Sale::<T>::get();
		Sale::<T>::set(new);
		Self::deposit_event(Event::SaleSet { old, new });
		Ok(())
	}

	pub(crate) fn do_set_whitelist(accounts: &[T::AccountId], listed: bool) -> DispatchResult {
		let mut changed = 0u32;
		for who in accounts {
			if Whitelist::<T>::contains_key(who) == listed {
				continue;
			}
			if listed {
				Whitelist::<T>::insert(who, ());
			} else {
				Whitelist::<T>::remove(who);
			}
			changed.ensure_add_assign(1)?;
		}
		Self::deposit_event(Event::WhitelistSet { changed, listed });
		Ok(())
	}

	pub(crate) fn do_purchase(
		who: &T::AccountId,
		count: u32,
		referrer: Option<T::AccountId>,
	) -> DispatchResult {
		let (bought, quote) = Self::ensure_purchase(who, count, referrer.as_ref())?;
		let Quote {
			paid, commission, ..
		} = quote;
		let rest = paid.ensure_sub(commission)?;

		let treasury = T::Treasury::get();
		Self::ensure_paid(who, paid, &treasury, rest)?;
		if let Some(referrer) = &referrer {
			Self::ensure_paid(who, paid, referrer, commission)?;
		}

		T::Payment::transfer(who, &treasury, rest, Preservation::Preserve)?;
		if let Some(referrer) = referrer.as_ref().filter(|_| !commission.is_zero()) {
			T::Payment::transfer(who, referrer, commission, Preservation::Preserve)?;
			Self::deposit_event(Event::ReferralPaid {
				referrer: referrer.clone(),
				buyer: who.clone(),
				amount: commission,
			});
		}
		let first = Minted::<T>::get();
		for _ in 0..count {
			Self::do_mint(who)?;
		}
		Purchases::<T>::insert(who, bought);
		Self::deposit_event(Event::LicensePurchased {
			who: who.clone(),
			first,
			count,
			paid,
			referrer,
		});
		Ok(())
	}
}
