//! Benchmarks of the calls, each in its most expensive case.

use crate::{Pallet as Licenses, *};
use frame_benchmarking::v2::*;
use frame_support::traits::{EnsureOrigin, fungible::Unbalanced, tokens::Precision};
use sp_runtime::{
	Perbill, SaturatedConversion,
	traits::{Bounded, Saturating},
};

/// Returns a price far above any existential deposit.
fn price<T: Config>() -> BalanceOf<T> {
	T::Payment::minimum_balance().saturating_mul(1_000u32.into())
}

fn round<T: Config>() -> SaleRoundOf<T> {
	SaleRound {
		price: price::<T>(),
		public: false,
		whitelist_discount: Perbill::from_percent(20),
		referral_discount: Perbill::from_percent(20),
		referral_commission: Perbill::from_percent(10),
		per_account_limit: u32::MAX,
		starts: 0u32.into(),
		ends: BlockNumberFor::<T>::max_value(),
	}
}

fn admin<T: Config>() -> Result<T::RuntimeOrigin, BenchmarkError> {
	T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)
}

fn funded<T: Config>(name: &'static str, amount: BalanceOf<T>) -> T::AccountId {
	let who = account::<T::AccountId>(name, 0, 0);
	T::Payment::increase_balance(&who, amount, Precision::Exact).expect("it can be funded");
	who
}

/// Creates the collection, if a test's genesis did not.
fn found<T: Config>() {
	if Collection::<T>::get().is_none() {
		Licenses::<T>::create_collection().expect("it can be created");
	}
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn set_sale() -> Result<(), BenchmarkError> {
		let origin = admin::<T>()?;
		Licenses::<T>::set_sale(origin.clone(), Some(round::<T>()))?;
		let new = SaleRound {
			public: true,
			..round::<T>()
		};
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, Some(new));
		assert_eq!(Sale::<T>::get(), Some(new));
		Ok(())
	}

	#[benchmark]
	fn set_whitelist(n: Linear<0, MAX_LISTED>) -> Result<(), BenchmarkError> {
		let origin = admin::<T>()?;
		let accounts: BoundedVec<_, ConstU32<MAX_LISTED>> = (0..n)
			.map(|index| account::<T::AccountId>("listed", index, 0))
			.collect::<alloc::vec::Vec<_>>()
			.try_into()
			.expect("there are no more");
		let last = accounts.last().cloned();
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, accounts, true);
		assert!(last.is_none_or(|last| Whitelist::<T>::contains_key(last)));
		assert_eq!(Whitelist::<T>::iter().count(), n as usize);
		Ok(())
	}

	#[benchmark]
	fn purchase(n: Linear<1, MAX_PURCHASE>) -> Result<(), BenchmarkError> {
		found::<T>();
		Licenses::<T>::set_sale(admin::<T>()?, Some(round::<T>()))?;
		let referrer = funded::<T>("referrer", price::<T>());
		Licenses::<T>::do_mint(&referrer)?;
		let before = T::Payment::balance(&referrer);
		let funds = price::<T>().saturating_mul((n + 1).into());
		let buyer = funded::<T>("buyer", funds);
		Whitelist::<T>::insert(&buyer, ());
		let first = Minted::<T>::get();
		#[extrinsic_call]
		_(RawOrigin::Signed(buyer.clone()), n, Some(referrer.clone()));
		assert_eq!(Minted::<T>::get(), first + n);
		assert_eq!(Licenses::<T>::holder_of(first + n - 1), Some(buyer.clone()));
		let full: u128 = price::<T>().saturating_mul(n.into()).saturated_into();
		let paid: u128 = funds
			.saturating_sub(T::Payment::balance(&buyer))
			.saturated_into();
		let commission: u128 = T::Payment::balance(&referrer)
			.saturating_sub(before)
			.saturated_into();
		assert_eq!((paid, commission), (full * 8 / 10, full * 8 / 100));
		Ok(())
	}

	impl_benchmark_test_suite!(Licenses, mock::ExtBuilder::default().build(), mock::Test);
}
