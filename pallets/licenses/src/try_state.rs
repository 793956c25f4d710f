//! The pallet's invariants: one function for each, with its number.

use crate::*;
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
	/// Checks the pallet's invariants.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		Self::check_supply()?;
		// A chain that was started without this pallet's genesis has neither a collection nor licenses.
		let Some(collection) = Collection::<T>::get() else {
			ensure!(Minted::<T>::get() == 0, "2: licenses without a collection");
			return Ok(());
		};
		Self::check_collection(collection)?;
		Self::check_mint_blocks()?;
		Self::check_items(collection)?;
		Self::check_sale_terms()?;
		Self::check_purchases()
	}

	/// Checks invariant 1: at most [`SUPPLY`] licenses were ever minted.
	fn check_supply() -> Result<(), TryRuntimeError> {
		ensure!(
			Minted::<T>::get() <= SUPPLY,
			"1: more licenses than the supply"
		);
		Ok(())
	}

	/// Checks invariant 2: the collection exists, belongs to the pallet's account, and its supply is
	/// [`SUPPLY`].
	fn check_collection(collection: CollectionIdOf<T>) -> Result<(), TryRuntimeError> {
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
		Ok(())
	}

	/// Checks invariant 3: ids are dense, that is exactly those below [`Minted`] have a block of minting,
	/// none in the future.
	fn check_mint_blocks() -> Result<(), TryRuntimeError> {
		let minted = Minted::<T>::get();
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
		Ok(())
	}

	/// Checks invariant 4: every item of the collection has an id below [`Minted`].
	fn check_items(collection: CollectionIdOf<T>) -> Result<(), TryRuntimeError> {
		let minted = Minted::<T>::get();
		for license in pallet_nfts::Item::<T>::iter_key_prefix(collection) {
			ensure!(license < minted, "4: an item that is not a license");
		}
		Ok(())
	}

	/// Checks invariant 5: the sale's terms are valid.
	fn check_sale_terms() -> Result<(), TryRuntimeError> {
		if let Some(round) = Sale::<T>::get() {
			ensure!(Self::ensure_terms(&round).is_ok(), "5: invalid terms");
		}
		Ok(())
	}

	/// Checks invariant 6: accounts bought at most as many licenses in the round of the sale as were minted
	/// in all.
	fn check_purchases() -> Result<(), TryRuntimeError> {
		if let Some(round) = Sale::<T>::get() {
			let bought = Purchases::<T>::iter_values()
				.filter(|bought| bought.round == round.starts)
				.try_fold(0u32, |sum, bought| sum.checked_add(bought.count))
				.ok_or("6: too many")?;
			ensure!(bought <= Minted::<T>::get(), "6: more bought than minted");
		}
		Ok(())
	}
}
