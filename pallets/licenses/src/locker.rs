//! The lock on transfers and burning of licenses.

use crate::{Collection, CollectionIdOf, Config, Pallet};
use core::marker::PhantomData;
use frame_support::traits::tokens::Locker;
use kaisar_primitives::{IsDelegated, LicenseId};

/// The `Locker` that the runtime gives to `pallet-nfts`: a license is locked while it is too young, or
/// while `Delegations` reports it as delegated. Items of other collections are not locked.
pub struct LicenseLocker<T, Delegations>(PhantomData<(T, Delegations)>);

impl<T: Config, Delegations: IsDelegated> Locker<CollectionIdOf<T>, LicenseId>
	for LicenseLocker<T, Delegations>
{
	fn is_locked(collection: CollectionIdOf<T>, item: LicenseId) -> bool {
		Collection::<T>::get() == Some(collection)
			&& (Pallet::<T>::is_locked(item) || Delegations::is_delegated(item))
	}
}
