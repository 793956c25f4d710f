//! What dApps and nodes ask for.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use kaisar_primitives::{GpuClass, OrderId};

/// Most entries of a page.
pub const MAX_PAGE: u32 = 256;

impl<T: Config> Pallet<T> {
	pub(crate) fn view_of(id: OrderId) -> Option<OrderView<T::AccountId>> {
		let order = Orders::<T>::get(id)?;
		Some(OrderView {
			id,
			hours: order.hours(),
			used: order.cost(order.plan, order.proved)?,
			workload: Workloads::<T>::get(id),
			order,
		})
	}

	/// Numbers are keys of the index in the order of their bytes, so a page begins by sorting them: the
	/// orders of one customer that are open or were closed in the last days.
	pub(crate) fn page_of(
		customer: &T::AccountId,
		from: OrderId,
		limit: u32,
	) -> (Vec<OrderView<T::AccountId>>, Option<OrderId>) {
		let mut ids: Vec<OrderId> = OrdersByCustomer::<T>::iter_key_prefix(customer)
			.filter(|id| *id >= from)
			.collect();
		ids.sort_unstable();
		let limit = limit.min(MAX_PAGE) as usize;
		let next = ids.get(limit).copied();
		ids.truncate(limit);
		(ids.into_iter().filter_map(Self::view_of).collect(), next)
	}

	pub(crate) fn book_from(from: GpuClass, limit: u32) -> Vec<(GpuClass, ClassPrice)> {
		(from..=GpuClass::MAX)
			.take(limit.min(MAX_PAGE) as usize)
			.filter_map(|class| Some((class, PriceBook::<T>::get(class)?)))
			.collect()
	}
}
