//! What keeps a licence from moving.

use crate::{Collection, CollectionIdOf, Config, Pallet};
use core::marker::PhantomData;
use frame_support::traits::tokens::Locker;
use kaisar_primitives::{IsDelegated, LicenceId};

/// The `Locker` that the runtime gives to `pallet-nfts`: a licence does not move while it is too
/// young, or delegated as `Delegations` knows. Items of other collections are free.
pub struct LicenceLocker<T, Delegations>(PhantomData<(T, Delegations)>);

impl<T: Config, Delegations: IsDelegated> Locker<CollectionIdOf<T>, LicenceId>
	for LicenceLocker<T, Delegations>
{
	fn is_locked(collection: CollectionIdOf<T>, item: LicenceId) -> bool {
		Collection::<T>::get() == Some(collection)
			&& (Pallet::<T>::is_locked(item) || Delegations::is_delegated(item))
	}
}
