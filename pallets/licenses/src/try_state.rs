//! The pallet's invariants.

use crate::*;

impl<T: Config> Pallet<T> {
	/// Checks the invariants:
	///
	/// 1. At most [`SUPPLY`] licenses were ever minted.
	/// 2. The collection exists, belongs to the pallet's account, and its supply is [`SUPPLY`].
	/// 3. Ids are dense: exactly those below [`Minted`] have a block of minting, none in the future.
	/// 4. Every item of the collection has such an id.
	/// 5. The sale's terms are valid.
	/// 6. Accounts bought at most as many licenses in the round of the sale as were minted in all.
	pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
		let minted = Minted::<T>::get();
		ensure!(minted <= SUPPLY, "1: more licenses than the supply");

		let Some(collection) = Collection::<T>::get() else {
			ensure!(minted == 0, "2: licenses without a collection");
			return Ok(());
		};
		let owner =
			<pallet_nfts::Pallet<T> as nonfungibles_v2::Inspect<_>>::collection_owner(&collection);
		ensure!(
			owner == Some(Self::account_id()),
			"2: the collection has another owner"
		);
		ensure!(
			pallet_nfts::CollectionConfigOf::<T>::get(collection)
				.is_some_and(|config| config.max_supply == Some(SUPPLY)),
			"2: wrong supply"
		);

		let now = frame_system::Pallet::<T>::block_number();
		let mut times = 0u32;
		for (license, at) in MintedAt::<T>::iter() {
			ensure!(
				license < minted && at <= now,
				"3: a block of minting without a license, or in the future"
			);
			times = times.checked_add(1).ok_or("3: too many blocks")?;
		}
		ensure!(times == minted, "3: a license without its block of minting");

		for license in pallet_nfts::Item::<T>::iter_key_prefix(collection) {
			ensure!(license < minted, "4: an item that is not a license");
		}

		if let Some(round) = Sale::<T>::get() {
			ensure!(Self::ensure_terms(&round).is_ok(), "5: invalid terms");
			let bought = Purchases::<T>::iter_values()
				.filter(|bought| bought.round == round.starts)
				.try_fold(0u32, |sum, bought| sum.checked_add(bought.count))
				.ok_or("6: too many")?;
			ensure!(bought <= minted, "6: more bought than minted");
		}
		Ok(())
	}
}
