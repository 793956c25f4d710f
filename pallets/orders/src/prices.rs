//! Prices, and the validity of requirements.

use crate::{pallet::*, *};
use frame_support::{ensure, traits::EnsureOrigin};
use frame_system::{ensure_signed, pallet_prelude::OriginFor};
use kaisar_math::{
	price::{self, Utilization},
	tiers::MAX_TIER,
};
use kaisar_primitives::{
	Balance, GpuClass, GpuClasses, MAX_HOURS, Market, Plan, PlanRates, Requirement,
};
use sp_runtime::{DispatchError, DispatchResult, traits::Get};

impl<T: Config> kaisar_primitives::Prices for Pallet<T> {
	fn highest(class: GpuClass) -> Option<Balance> {
		PriceBook::<T>::get(class)?
			.reference
			.and_then(price::highest_price)
	}

	fn today(class: GpuClass) -> Option<Balance> {
		let entry = PriceBook::<T>::get(class)?;
		entry.reference?;
		Self::prices_of(class).ok().map(|prices| prices.on_demand)
	}
}

impl<T: Config> Pallet<T> {
	/// Ensures that the caller is governance or the oracle.
	pub(crate) fn ensure_pricing(origin: OriginFor<T>) -> DispatchResult {
		if T::AdminOrigin::ensure_origin(origin.clone()).is_ok() {
			return Ok(());
		}
		let who = ensure_signed(origin)?;
		ensure!(Oracle::<T>::get() == Some(who), DispatchError::BadOrigin);
		Ok(())
	}

	pub(crate) fn do_set_price(class: GpuClass, new: Option<Balance>) -> DispatchResult {
		ensure!(new != Some(0), Error::<T>::ZeroPrice);
		let mut entry = PriceBook::<T>::get(class).unwrap_or_default();
		let old = core::mem::replace(&mut entry.reference, new);
		Self::put_price(class, entry);
		Self::deposit_event(Event::PriceSet { class, old, new });
		Ok(())
	}

	pub(crate) fn do_set_cost(class: GpuClass, new: Option<Cost>) -> DispatchResult {
		let is_zero = new.is_some_and(|new| new.cost == 0 || new.multiplier == Default::default());
		ensure!(!is_zero, Error::<T>::ZeroPrice);
		let mut entry = PriceBook::<T>::get(class).unwrap_or_default();
		let old = core::mem::replace(&mut entry.cost, new);
		Self::put_price(class, entry);
		Self::deposit_event(Event::CostSet { class, old, new });
		Ok(())
	}

	fn put_price(class: GpuClass, entry: ClassPrice) {
		PriceBook::<T>::set(
			class,
			Some(entry).filter(|entry| *entry != ClassPrice::default()),
		);
	}

	/// Returns the current prices of a unit and hour of a class.
	pub(crate) fn prices_of(class: GpuClass) -> Result<Prices, Error<T>> {
		let entry = PriceBook::<T>::get(class).ok_or(Error::<T>::NoPrice)?;
		let (idle, rented) = T::Workers::use_of(class);
		let utilization = Utilization { idle, rented };
		if Contingency::<T>::get() {
			// No plan lowers the price in a contingency, in which machines cost more to run than they earn
			// otherwise.
			let Cost { cost, multiplier } = entry.cost.ok_or(Error::<T>::NoPrice)?;
			let price = price::contingency_price(cost, multiplier, utilization)
				.ok_or(Error::<T>::NoPrice)?;
			return Ok(Prices {
				on_demand: price,
				month: price,
				quarter: price,
			});
		}
		let reference = entry.reference.ok_or(Error::<T>::NoPrice)?;
		let rates: PlanRates = T::PlanRates::get();
		let price = |plan: Plan| {
			price::unit_price(reference, utilization, plan.rate(&rates)).ok_or(Error::<T>::NoPrice)
		};
		Ok(Prices {
			on_demand: price(Plan::OnDemand)?,
			month: price(Plan::Month)?,
			quarter: price(Plan::Quarter)?,
		})
	}

	/// Ensures that a machine can meet the requirement.
	pub(crate) fn ensure_requirement(requirement: &Requirement) -> Result<(), Error<T>> {
		let Requirement {
			gpu_class,
			gpu_count,
			min_bandwidth,
			min_cpu,
			min_memory,
			min_disk,
			region,
			..
		} = requirement;
		let tiers = [min_bandwidth, min_cpu, min_memory, min_disk];
		let known = (*gpu_class == 0) == (*gpu_count == 0)
			&& (*gpu_class != 0 || *min_cpu > 0)
			&& tiers.into_iter().all(|tier| *tier <= MAX_TIER)
			&& region.is_none_or(|code| code.iter().all(u8::is_ascii_uppercase));
		ensure!(known, Error::<T>::InvalidRequirement);
		Ok(())
	}

	/// Returns the current price of an order, or of more hours of it.
	pub(crate) fn price_hours(
		requirement: &Requirement,
		hours: u32,
		plan: Plan,
	) -> Result<Quote, DispatchError> {
		let prices = Self::prices_of(requirement.gpu_class)?;
		let units = price::units(
			requirement.gpu_class,
			requirement.gpu_count,
			requirement.min_cpu,
		);
		let total = price::total(prices.of(plan), units, hours).ok_or(ArithmeticError::Overflow)?;
		Ok(Quote {
			prices,
			units,
			total,
		})
	}

	/// Returns the current price of an order, if the order can be placed.
	pub(crate) fn do_quote(
		requirement: &Requirement,
		hours: u32,
		plan: Plan,
	) -> Result<Quote, DispatchError> {
		Self::ensure_requirement(requirement)?;
		ensure!(hours >= plan.least_hours(), Error::<T>::TooFewHours);
		ensure!(hours <= MAX_HOURS, Error::<T>::TooManyHours);
		ensure!(
			T::Classes::is_paid(requirement.gpu_class),
			Error::<T>::NoPrice
		);
		Self::price_hours(requirement, hours, plan)
	}
}
