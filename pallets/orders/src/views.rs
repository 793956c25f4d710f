//! The results of view functions.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use kaisar_primitives::{GpuClass, MAX_PAGE, OrderId, TemplateId};

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

	/// Returns a page of a customer's orders: a range of the index, read no further than one entry beyond
	/// it.
	pub(crate) fn page_of(
		customer: &T::AccountId,
		from: OrderId,
		limit: u32,
	) -> (Vec<OrderView<T::AccountId>>, Option<OrderId>) {
		let mut ids = match from.checked_sub(1) {
			Some(before) => OrdersByCustomer::<T>::iter_key_prefix_from(
				customer,
				OrdersByCustomer::<T>::hashed_key_for(customer, before.to_be_bytes()),
			),
			None => OrdersByCustomer::<T>::iter_key_prefix(customer),
		}
		.map(OrderId::from_be_bytes);
		let limit = limit.min(MAX_PAGE) as usize;
		let page = ids.by_ref().take(limit).filter_map(Self::view_of).collect();
		(page, ids.next())
	}

	pub(crate) fn templates_after(
		after: Option<TemplateId>,
		limit: u32,
	) -> Vec<(TemplateId, Template)> {
		let templates = match after {
			Some(id) => Templates::<T>::iter_from_key(id),
			None => Templates::<T>::iter(),
		};
		templates.take(limit.min(MAX_PAGE) as usize).collect()
	}

	pub(crate) fn book_from(from: GpuClass, limit: u32) -> Vec<(GpuClass, ClassPrice)> {
		(from..=GpuClass::MAX)
			.take(limit.min(MAX_PAGE) as usize)
			.filter_map(|class| Some((class, PriceBook::<T>::get(class)?)))
			.collect()
	}
}
