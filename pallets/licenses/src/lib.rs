//! # Licenses
//!
//! Checker licences: who may have a seat in a committee, as items that wallets understand.
//!
//! ## Overview
//!
//! A *licence* is an item of **one `pallet-nfts` collection** that this pallet's account owns, so
//! wallets, explorers and markets already know how to show, transfer and sell it. Licence ids are
//! dense from 0, at most [`SUPPLY`] are ever minted, and an id is never used twice: a burnt licence
//! stays an empty draw.
//!
//! ## The life of a licence
//!
//! 1. It is minted, here at genesis; a sale comes with its own calls. The collection's own supply
//!    limit counts living items only, so the limit that holds is the counter [`Minted`].
//! 2. For [`Config::LockPeriod`] (365 days) it can be neither transferred nor burnt, and neither
//!    while it is delegated to an operator, pending delegations included. `pallet-nfts` asks its
//!    `Locker` before it moves or burns an item: [`LicenceLocker`] over this pallet and the pallet
//!    that keeps delegations.
//! 3. After that it is an item like any other.
//!
//! The lock runs in blocks of the chain's time (12 s), as all of the chain's times do. That holds
//! for licences of the genesis block too, which has no time of day.
//!
//! ## Genesis
//!
//! [`GenesisConfig::licences`](pallet::GenesisConfig) lists accounts and how many licences each
//! gets, in the order of their ids. The collection is created there, through `pallet-nfts`' own
//! `force_create` with the root origin: it needs no deposits, and `pallet-nfts` must accept root.
//! This pallet stands before the one that keeps delegations in the runtime.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub use pallet::*;

mod locker;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use locker::LicenceLocker;

use alloc::format;
use frame_support::{
	PalletId,
	pallet_prelude::*,
	traits::{DefensiveOption, tokens::nonfungibles_v2},
};
use frame_system::{RawOrigin, pallet_prelude::*};
use kaisar_primitives::{LicenceId, LicenceInfo};
use sp_runtime::traits::{AccountIdConversion, StaticLookup};

/// Most licences that are ever minted.
pub const SUPPLY: u32 = 29_998;
/// Name of the collection.
pub const COLLECTION_NAME: &str = "Kaisar Checker Node License";
/// Longest metadata that this pallet writes; `pallet-nfts`' `StringLimit` is no less.
pub const MAX_METADATA: u32 = 128;

/// Identifier of a collection in `pallet-nfts`.
pub type CollectionIdOf<T> = <T as pallet_nfts::Config>::CollectionId;

#[frame_support::pallet]
pub mod pallet {
	use super::*;

	const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// What the pallet needs of the runtime.
	#[pallet::config]
	pub trait Config: frame_system::Config + pallet_nfts::Config<ItemId = LicenceId> {
		/// The pallet's account, owner of the collection, is derived from it.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// Blocks from its minting in which a licence can be neither transferred nor burnt: 365 days.
		#[pallet::constant]
		type LockPeriod: Get<BlockNumberFor<Self>>;
	}

	/// The collection of all licences. Set at genesis, never changed.
	#[pallet::storage]
	pub type Collection<T: Config> = StorageValue<_, CollectionIdOf<T>, OptionQuery>;

	/// Licences ever minted, the burnt ones included. Ids are below it.
	#[pallet::storage]
	pub type Minted<T: Config> = StorageValue<_, u32, ValueQuery>;

	/// The block in which a licence was minted. Stays when it is burnt.
	#[pallet::storage]
	pub type MintedAt<T: Config> =
		StorageMap<_, Twox64Concat, LicenceId, BlockNumberFor<T>, OptionQuery>;

	/// Licences of the first block.
	#[pallet::genesis_config]
	#[derive(frame_support::DefaultNoBound)]
	pub struct GenesisConfig<T: Config> {
		/// Accounts and how many licences each gets, in the order of the licences' ids.
		pub licences: alloc::vec::Vec<(T::AccountId, u32)>,
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			Pallet::<T>::create_collection().expect("the genesis collection can be created; qed");
			for (account, count) in &self.licences {
				for _ in 0..*count {
					Pallet::<T>::do_mint(account).expect("the genesis licences can be minted");
				}
			}
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A licence was minted.
		LicenseMinted {
			/// The licence.
			license: LicenceId,
			/// Who holds it.
			to: T::AccountId,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// All licences that there will ever be are minted.
		SoldOut,
		/// There is no collection: the chain was started without this pallet's genesis.
		NoCollection,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// The collection of the licences.
		pub fn collection() -> Option<CollectionIdOf<T>> {
			Collection::<T>::get()
		}

		/// Licences minted so far, the burnt ones included.
		pub fn minted() -> u32 {
			Minted::<T>::get()
		}

		/// Who holds the licence; `None` if it was never minted or is burnt.
		pub fn holder_of(license: LicenceId) -> Option<T::AccountId> {
			<Self as LicenceInfo<T::AccountId>>::holder(license)
		}

		/// The first block in which age no longer keeps the licence from being transferred.
		pub fn unlocks_at(license: LicenceId) -> Option<BlockNumberFor<T>> {
			Self::unlock_block(license)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {}

	#[pallet::extra_constants]
	impl<T: Config> Pallet<T> {
		/// Most licences that are ever minted.
		fn supply() -> u32 {
			SUPPLY
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn integrity_test() {
			assert!(
				<T as pallet_nfts::Config>::StringLimit::get() >= MAX_METADATA,
				"pallet-nfts' StringLimit is too small for the licences' metadata",
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}

impl<T: Config> Pallet<T> {
	/// The account that owns the collection.
	pub fn account_id() -> T::AccountId {
		T::PalletId::get().into_account_truncating()
	}

	/// Whether the licence is too young to be transferred or burnt. What is no licence is not.
	pub fn is_locked(license: LicenceId) -> bool {
		Self::unlock_block(license)
			.is_some_and(|unlocks| frame_system::Pallet::<T>::block_number() < unlocks)
	}

	/// First block in which the licence is old enough.
	fn unlock_block(license: LicenceId) -> Option<BlockNumberFor<T>> {
		use sp_runtime::traits::CheckedAdd;
		// A block number that cannot be expressed is never reached.
		let minted = MintedAt::<T>::get(license)?;
		Some(
			minted
				.checked_add(&T::LockPeriod::get())
				.unwrap_or_else(sp_runtime::traits::Bounded::max_value),
		)
	}

	/// Creates the collection and names it. Only at genesis.
	fn create_collection() -> DispatchResult {
		use pallet_nfts::{CollectionConfig, CollectionSetting, CollectionSettings, MintSettings};

		let id = pallet_nfts::NextCollectionId::<T>::get()
			.or_else(<CollectionIdOf<T> as frame_support::traits::Incrementable>::initial_value)
			.ok_or(Error::<T>::NoCollection)?;
		// Nobody signs for the owner, so settings that only it could change need no lock but the
		// supply, which `ForceOrigin` could otherwise lift by mistake.
		let config = CollectionConfig {
			settings: CollectionSettings::from_disabled(
				CollectionSetting::DepositRequired | CollectionSetting::UnlockedMaxSupply,
			),
			max_supply: Some(SUPPLY),
			mint_settings: MintSettings::default(),
		};
		pallet_nfts::Pallet::<T>::force_create(
			RawOrigin::Root.into(),
			T::Lookup::unlookup(Self::account_id()),
			config,
		)?;
		<pallet_nfts::Pallet<T> as nonfungibles_v2::Mutate<_, _>>::set_collection_metadata(
			None,
			&id,
			format!("{{\"name\":\"{COLLECTION_NAME}\",\"supply\":{SUPPLY}}}").as_bytes(),
		)?;
		Collection::<T>::put(id);
		Ok(())
	}

	/// Mints the next licence to `to`, locked from this block on.
	///
	/// Fails with [`Error::SoldOut`] at the end of the supply.
	pub(crate) fn do_mint(to: &T::AccountId) -> Result<LicenceId, DispatchError> {
		let collection = Collection::<T>::get().defensive_ok_or(Error::<T>::NoCollection)?;
		let license = Minted::<T>::get();
		ensure!(license < SUPPLY, Error::<T>::SoldOut);
		let next = license
			.checked_add(1)
			.ok_or(sp_runtime::ArithmeticError::Overflow)?;

		<pallet_nfts::Pallet<T> as nonfungibles_v2::Mutate<_, _>>::mint_into(
			&collection,
			&license,
			to,
			&pallet_nfts::ItemConfig::default(),
			true,
		)?;
		<pallet_nfts::Pallet<T> as nonfungibles_v2::Mutate<_, pallet_nfts::ItemConfig>>::set_item_metadata(
			None,
			&collection,
			&license,
			format!("{{\"name\":\"{COLLECTION_NAME} #{license}\",\"number\":{license}}}").as_bytes(),
		)?;
		Minted::<T>::put(next);
		MintedAt::<T>::insert(license, frame_system::Pallet::<T>::block_number());
		Self::deposit_event(Event::LicenseMinted {
			license,
			to: to.clone(),
		});
		Ok(license)
	}
}

impl<T: Config> LicenceInfo<T::AccountId> for Pallet<T> {
	fn minted() -> u32 {
		Minted::<T>::get()
	}

	fn holder(licence: LicenceId) -> Option<T::AccountId> {
		let collection = Collection::<T>::get()?;
		<pallet_nfts::Pallet<T> as nonfungibles_v2::Inspect<_>>::owner(&collection, &licence)
	}

	fn mint(to: &T::AccountId) -> Result<LicenceId, DispatchError> {
		Self::do_mint(to)
	}
}

#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
impl<T: Config> Pallet<T> {
	/// Checks the invariants:
	///
	/// 1. No more than [`SUPPLY`] licences were ever minted.
	/// 2. The collection exists, belongs to the pallet's account, and its supply is [`SUPPLY`].
	/// 3. Ids are dense: exactly those below [`Minted`] have a time of minting, none in the future.
	/// 4. Every item of the collection has such an id.
	pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
		let minted = Minted::<T>::get();
		ensure!(minted <= SUPPLY, "1: more licences than there can be");

		let Some(collection) = Collection::<T>::get() else {
			ensure!(minted == 0, "2: licences without a collection");
			return Ok(());
		};
		let owner =
			<pallet_nfts::Pallet<T> as nonfungibles_v2::Inspect<_>>::collection_owner(&collection);
		ensure!(owner == Some(Self::account_id()), "2: not our collection");
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
				"3: a time of minting of no licence"
			);
			times = times.checked_add(1).ok_or("3: too many times")?;
		}
		ensure!(times == minted, "3: a licence without its time of minting");

		for license in pallet_nfts::Item::<T>::iter_key_prefix(collection) {
			ensure!(license < minted, "4: an item that is no licence");
		}
		Ok(())
	}
}
