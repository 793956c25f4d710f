//! # Licenses
//!
//! Checker licenses: the right to seats in committees, as items that wallets understand.
//!
//! ## Overview
//!
//! A *license* is an item of **one `pallet-nfts` collection** that this pallet's account owns, so
//! wallets, explorers and markets already know how to show, transfer and sell it. License ids are
//! dense from 0, at most [`SUPPLY`] are ever minted, and an id is never used twice: a burnt license
//! stays an empty draw.
//!
//! ## The life of a license
//!
//! 1. It is minted, at genesis or when it is bought. The collection's own supply limit counts living
//!    items only, so the limit that holds is the counter [`Minted`].
//! 2. For [`Config::LockPeriod`] (365 days) it can be neither transferred nor burnt, nor can it while it is
//!    delegated to an operator, pending delegations included. `pallet-nfts` asks its `Locker` before it
//!    moves or burns an item: [`LicenseLocker`] over this pallet and the pallet that keeps delegations.
//! 3. After that it is an item like any other.
//!
//! The lock runs in blocks of the chain's time (12 s), as all of the chain's times do. That holds
//! for licenses of the genesis block too, which has no time of day.
//!
//! The same as a test:
#![doc = docify::embed!("src/tests/story.rs", a_license_is_locked_and_then_an_item_like_any_other)]
//!
//! ## The sale
//!
//! Governance sets a round of the sale ([`SaleRound`]), one at a time, and ends it. The first is for
//! accounts on a whitelist and for those with a referrer, the second for all; they differ only in their
//! terms:
//!
//! | | price | who | whitelist | with a referrer | commission |
//! | --- | --- | --- | --- | --- | --- |
//! | round 1 | 2,600 KAI | listed, or with a referrer | −20 % | −20 % | 10 % |
//! | round 2 | 2,600 KAI | anyone | – | −5 % | 10 % |
//!
//! 1. Wanda is on the whitelist and buys three licenses for 2,080 KAI each. All of it goes to the
//!    treasury.
//! 2. Bob is not, but names Wanda as his referrer, who owns a license: he also pays 2,080 KAI, of which
//!    Wanda gets 208.
//! 3. Carl has no referrer, and waits for the second round.
//!
//! A purchase mints all of its licenses or none, and takes the KAI only then. [`Pallet::quote`] returns the
//! price of a purchase, or the reason why it would fail.
//!
//! The three purchases as a test:
#![doc = docify::embed!("src/tests/story.rs", licenses_are_sold_in_two_rounds)]
//!
//! ## Genesis
//!
//! [`GenesisConfig::licenses`](pallet::GenesisConfig) lists accounts and the number of licenses of each, in
//! the order of their ids. The collection is created there, through `pallet-nfts`' own `force_create` with
//! the root origin: it needs no deposits, and `pallet-nfts` must accept root. In the runtime, this pallet
//! comes before the one that keeps delegations.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub use locker::LicenseLocker;
pub use pallet::*;
pub use types::*;
pub use weights::WeightInfo;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod locker;
#[cfg(test)]
mod mock;
mod sale;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "try-runtime", feature = "std"))]
mod try_state;
mod types;
pub mod weights;

use alloc::format;
use frame_support::{
	PalletId,
	pallet_prelude::*,
	traits::{
		DefensiveOption,
		fungible::{Inspect, Mutate},
		tokens::nonfungibles_v2,
	},
};
use frame_system::{RawOrigin, pallet_prelude::*};
use kaisar_primitives::{LicenseId, LicenseInfo, MAX_PAGE};
use sp_runtime::traits::{AccountIdConversion, EnsureAdd, StaticLookup};

/// Maximum number of licenses ever minted, a term of the network's sale.
pub const SUPPLY: u32 = 29_998;
/// The name of the collection.
pub const COLLECTION_NAME: &str = "Kaisar Checker Node License";
/// Maximum length of the metadata that this pallet writes, in bytes; `pallet-nfts`' `StringLimit` must be
/// at least this.
pub const MAX_METADATA: u32 = 128;

/// Maximum number of licenses in one purchase, so that its weight is bounded.
pub const MAX_PURCHASE: u32 = 100;
/// Maximum number of accounts that one call puts on the whitelist, or takes off it, so that its weight is
/// bounded.
pub const MAX_LISTED: u32 = 1_000;

/// Balances of [`Config::Payment`].
pub type BalanceOf<T> =
	<<T as Config>::Payment as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
/// A round of the sale.
pub type SaleRoundOf<T> = SaleRound<BalanceOf<T>, BlockNumberFor<T>>;
/// Identifier of a collection in `pallet-nfts`.
pub type CollectionIdOf<T> = <T as pallet_nfts::Config>::CollectionId;

#[frame_support::pallet]
pub mod pallet {
	use super::*;

	const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// The pallet's configuration by the runtime.
	#[pallet::config]
	pub trait Config: frame_system::Config + pallet_nfts::Config<ItemId = LicenseId> {
		/// The id from which the pallet's account, the owner of the collection, is derived.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// Blocks after its minting in which a license can be neither transferred nor burnt: 365 days.
		#[pallet::constant]
		type LockPeriod: Get<BlockNumberFor<Self>>;

		/// KAI, the currency of the sale.
		type Payment: Mutate<Self::AccountId>;

		/// The account that receives the price, less the referrer's part: the treasury's.
		type Treasury: Get<Self::AccountId>;

		/// May set the sale and its whitelist: governance.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The collection of all licenses. Set at genesis, never changed.
	#[pallet::storage]
	pub type Collection<T: Config> = StorageValue<_, CollectionIdOf<T>, OptionQuery>;

	/// The number of licenses ever minted, burnt ones included. All ids are below it.
	#[pallet::storage]
	pub type Minted<T: Config> = StorageValue<_, u32, ValueQuery>;

	/// The block in which a license was minted. The entry stays when the license is burnt.
	#[pallet::storage]
	pub type MintedAt<T: Config> =
		StorageMap<_, Twox64Concat, LicenseId, BlockNumberFor<T>, OptionQuery>;

	/// The round of the sale that is set, whether it is upcoming, running or over.
	#[pallet::storage]
	pub type Sale<T: Config> = StorageValue<_, SaleRoundOf<T>, OptionQuery>;

	/// Accounts that may buy before others, or at a discount.
	#[pallet::storage]
	pub type Whitelist<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

	/// The licenses an account bought in the last round in which it bought any.
	#[pallet::storage]
	pub type Purchases<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Bought<BlockNumberFor<T>>, OptionQuery>;

	/// Licenses of the first block, and the sale that begins with it.
	#[pallet::genesis_config]
	#[derive(frame_support::DefaultNoBound)]
	pub struct GenesisConfig<T: Config> {
		/// Accounts and their number of licenses, in the order of the licenses' ids.
		pub licenses: alloc::vec::Vec<(T::AccountId, u32)>,
		/// The round of the sale, if one is set from the start.
		pub sale: Option<SaleRoundOf<T>>,
		/// Accounts on the whitelist.
		pub whitelist: alloc::vec::Vec<T::AccountId>,
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			Pallet::<T>::create_collection().expect("the genesis collection can be created; qed");
			for (account, count) in &self.licenses {
				for _ in 0..*count {
					Pallet::<T>::do_mint(account).expect("the genesis licenses can be minted");
				}
			}
			if let Some(round) = &self.sale {
				Pallet::<T>::ensure_terms(round).expect("the genesis sale can be set");
				Sale::<T>::put(round);
			}
			for account in &self.whitelist {
				Whitelist::<T>::insert(account, ());
			}
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	#[allow(missing_docs)]
	pub enum Event<T: Config> {
		/// A license was minted.
		LicenseMinted {
			license: LicenseId,
			to: T::AccountId,
		},
		/// Licenses were bought.
		LicensePurchased {
			/// The buyer, who holds them.
			who: T::AccountId,
			/// The first of them; the others have the next ids.
			first: LicenseId,
			count: u32,
			/// The total that the buyer paid.
			paid: BalanceOf<T>,
			/// `None` if the buyer named none.
			referrer: Option<T::AccountId>,
		},
		/// A referrer was paid its part of a purchase.
		ReferralPaid {
			referrer: T::AccountId,
			buyer: T::AccountId,
			amount: BalanceOf<T>,
		},
		/// A round of the sale was set, or the sale ended.
		SaleSet {
			/// `None` if no round was set.
			old: Option<SaleRoundOf<T>>,
			/// `None` if the sale ended.
			new: Option<SaleRoundOf<T>>,
		},
		/// Accounts were put on the whitelist, or taken off it.
		WhitelistSet {
			/// The number of accounts whose entry changed.
			changed: u32,
			/// Whether they were put on the whitelist; otherwise they were taken off it.
			listed: bool,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// All 29,998 licenses that can ever exist are minted.
		SoldOut,
		/// The collection does not exist: the chain was started without this pallet's genesis.
		NoCollection,
		/// No round of the sale is running.
		SaleClosed,
		/// The number of licenses is zero.
		ZeroCount,
		/// More than 100 licenses in one purchase. Buy them in several.
		TooManyAtOnce,
		/// This round is only for accounts on the whitelist and those with a referrer.
		NotEligible,
		/// The account would exceed the round's limit of licenses for each account.
		AccountLimitExceeded,
		/// Fewer licenses are left than requested.
		NotEnoughLeft,
		/// The buyer named itself as referrer.
		SelfReferral,
		/// The referrer owns no license.
		ReferrerWithoutLicense,
		/// The round's price is zero.
		ZeroPrice,
		/// A discount is the whole price.
		FullDiscount,
		/// The round's limit of licenses for each account is zero.
		ZeroLimit,
		/// The round does not end after it starts.
		EmptyRound,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns the collection of the licenses.
		pub fn collection() -> Option<CollectionIdOf<T>> {
			Collection::<T>::get()
		}

		/// Returns the number of licenses minted so far, burnt ones included.
		pub fn minted() -> u32 {
			Minted::<T>::get()
		}

		/// Returns the holder of a license; `None` if it was never minted or is burnt.
		pub fn holder_of(license: LicenseId) -> Option<T::AccountId> {
			<Self as LicenseInfo<T::AccountId>>::holder(license)
		}

		/// Returns licenses that an account holds: at most `limit` and at most [`MAX_PAGE`], in no
		/// particular order, after `cursor`, the last license of the previous page. A page with fewer is
		/// the last one.
		pub fn licenses_of(
			holder: T::AccountId,
			cursor: Option<LicenseId>,
			limit: u32,
		) -> alloc::vec::Vec<LicenseId> {
			Self::page_of(&holder, cursor, limit)
		}

		/// Returns the first block in which a license's age no longer locks it; `None` if it was never
		/// minted.
		pub fn unlocks_at(license: LicenseId) -> Option<BlockNumberFor<T>> {
			Self::unlock_block(license)
		}

		/// Returns the round of the sale that is set, whether it is upcoming, running or over.
		pub fn sale() -> Option<SaleRoundOf<T>> {
			Sale::<T>::get()
		}

		/// Returns whether the account is on the whitelist.
		pub fn is_whitelisted(who: T::AccountId) -> bool {
			Whitelist::<T>::contains_key(who)
		}

		/// Returns the current price of a purchase, or the reason why it would fail. Ignores the buyer's
		/// balance.
		pub fn quote(
			who: T::AccountId,
			count: u32,
			referrer: Option<T::AccountId>,
		) -> Result<Quote<BalanceOf<T>>, DispatchError> {
			Self::ensure_purchase(&who, count, referrer.as_ref()).map(|(_, quote)| quote)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Sets the round of the sale, or ends the sale.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `round`: the new terms; `None` ends the sale at once. If its first block is that of the
		///   present round, it is the same round with other terms, and earlier purchases count towards its
		///   limit; otherwise it is another round.
		///
		/// # Errors
		/// - [`Error::ZeroPrice`]: the price is zero.
		/// - [`Error::FullDiscount`]: a discount is the whole price.
		/// - [`Error::ZeroLimit`]: the limit of licenses for an account is zero.
		/// - [`Error::EmptyRound`]: the round does not end after it starts.
		///
		/// # Events
		/// [`Event::SaleSet`]
		#[pallet::call_index(0)]
		#[pallet::weight((<T as Config>::WeightInfo::set_sale(), DispatchClass::Operational))]
		pub fn set_sale(origin: OriginFor<T>, round: Option<SaleRoundOf<T>>) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_sale(round)
		}

		/// Puts accounts on the whitelist, or takes them off it.
		///
		/// Accounts already in the requested state are skipped.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `accounts`: the accounts, at most [`MAX_LISTED`] of them.
		/// - `listed`: whether to put them on the whitelist; otherwise they are taken off.
		///
		/// # Events
		/// [`Event::WhitelistSet`]
		#[pallet::call_index(1)]
		#[pallet::weight((
			<T as Config>::WeightInfo::set_whitelist(accounts.len() as u32),
			DispatchClass::Operational,
		))]
		pub fn set_whitelist(
			origin: OriginFor<T>,
			accounts: BoundedVec<T::AccountId, ConstU32<MAX_LISTED>>,
			listed: bool,
		) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_whitelist(&accounts, listed)
		}

		/// Buys licenses at the price of the running round.
		///
		/// Either all of them are minted to the caller, or none is and nothing is paid.
		///
		/// # Origin
		/// Signed, by the buyer.
		///
		/// # Parameters
		/// - `count`: the number of licenses, from 1 to [`MAX_PURCHASE`].
		/// - `referrer`: another account that owns a license: it gives the buyer the referral discount and
		///   gets the referral commission.
		///
		/// # Errors
		/// - [`Error::ZeroCount`], [`Error::TooManyAtOnce`]: the number of licenses is out of range.
		/// - [`Error::SaleClosed`]: no round of the sale is running.
		/// - [`Error::SelfReferral`], [`Error::ReferrerWithoutLicense`]: the referrer is the caller, or
		///   owns no license.
		/// - [`Error::NotEligible`]: the round is not public, and the caller is neither on the whitelist
		///   nor referred.
		/// - [`Error::AccountLimitExceeded`]: the account would exceed the round's limit.
		/// - [`Error::SoldOut`], [`Error::NotEnoughLeft`]: fewer licenses are left than requested, or none.
		/// - The currency's error if the buyer has too little KAI to pay and keep its account, or if a
		///   payee cannot receive its part.
		///
		/// # Events
		/// - [`Event::LicensePurchased`].
		/// - [`Event::ReferralPaid`]: the purchase has a referrer, and its commission is not zero.
		/// - [`Event::LicenseMinted`]: for each license.
		#[pallet::call_index(2)]
		#[pallet::weight(<T as Config>::WeightInfo::purchase((*count).min(MAX_PURCHASE)))]
		pub fn purchase(
			origin: OriginFor<T>,
			count: u32,
			referrer: Option<T::AccountId>,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_purchase(&who, count, referrer)
		}
	}

	#[pallet::extra_constants]
	impl<T: Config> Pallet<T> {
		/// Returns the maximum number of licenses ever minted.
		fn supply() -> u32 {
			SUPPLY
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn integrity_test() {
			assert!(
				<T as pallet_nfts::Config>::StringLimit::get() >= MAX_METADATA,
				"pallet-nfts' StringLimit is too small for the licenses' metadata",
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}

impl<T: Config> Pallet<T> {
	/// Returns the account that owns the collection.
	pub fn account_id() -> T::AccountId {
		T::PalletId::get().into_account_truncating()
	}

	/// Returns a page of an account's licenses, as [`Pallet::licenses_of`] shows it.
	pub(crate) fn page_of(
		holder: &T::AccountId,
		cursor: Option<LicenseId>,
		limit: u32,
	) -> alloc::vec::Vec<LicenseId> {
		use pallet_nfts::Account;
		let Some(collection) = Collection::<T>::get() else {
			return Default::default();
		};
		let prefix = (holder, collection);
		let held = match cursor {
			None => Account::<T>::iter_key_prefix(prefix),
			Some(last) => Account::<T>::iter_key_prefix_from(
				prefix,
				Account::<T>::hashed_key_for((holder, collection, last)),
			),
		};
		held.take(limit.min(MAX_PAGE) as usize).collect()
	}

	/// Returns whether the license is too young to be transferred or burnt; false for an id never minted.
	pub fn is_locked(license: LicenseId) -> bool {
		Self::unlock_block(license)
			.is_some_and(|unlocks| frame_system::Pallet::<T>::block_number() < unlocks)
	}

	/// Returns the first block in which the license is old enough.
	fn unlock_block(license: LicenseId) -> Option<BlockNumberFor<T>> {
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
	pub(crate) fn create_collection() -> DispatchResult {
		use pallet_nfts::{CollectionConfig, CollectionSetting, CollectionSettings, MintSettings};

		let id = pallet_nfts::NextCollectionId::<T>::get()
			.or_else(<CollectionIdOf<T> as frame_support::traits::Incrementable>::initial_value)
			.ok_or(Error::<T>::NoCollection)?;
		// The owner has no key, so settings that only it could change need no lock. The supply does, since
		// `ForceOrigin` could otherwise change it by mistake.
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

	/// Mints the next license to `to`, locked from this block on.
	///
	/// Fails with [`Error::SoldOut`] at the end of the supply.
	pub(crate) fn do_mint(to: &T::AccountId) -> Result<LicenseId, DispatchError> {
		let collection = Collection::<T>::get().defensive_ok_or(Error::<T>::NoCollection)?;
		let license = Minted::<T>::get();
		ensure!(license < SUPPLY, Error::<T>::SoldOut);
		let next = license.ensure_add(1)?;

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

impl<T: Config> LicenseInfo<T::AccountId> for Pallet<T> {
	fn minted() -> u32 {
		Minted::<T>::get()
	}

	fn holder(license: LicenseId) -> Option<T::AccountId> {
		let collection = Collection::<T>::get()?;
		<pallet_nfts::Pallet<T> as nonfungibles_v2::Inspect<_>>::owner(&collection, &license)
	}

	fn mint(to: &T::AccountId) -> Result<LicenseId, DispatchError> {
		Self::do_mint(to)
	}
}
