//! What dApps and nodes ask for.

use super::*;

#[test]
fn a_quote_is_what_is_charged_or_why_not() {
	ExtBuilder.build_and_execute(|| {
		let quote = Rentals::quote(ONE, 720, Plan::Month).unwrap();
		let id = try_place(CARLA, ONE, 720, Plan::Month, 0).unwrap();
		assert_eq!(quote.total, order(id).ledger.charged);
		assert_eq!((quote.units, quote.prices.month), (1, PRICE * 9 / 10));
		assert_eq!(
			Rentals::quote(ONE, 719, Plan::Month),
			Err(Error::<Test>::TooFewHours.into())
		);
		let unknown = Requirement {
			gpu_class: 77,
			..ONE
		};
		assert_eq!(
			Rentals::quote(unknown, 1, Plan::OnDemand),
			Err(Error::<Test>::NoPrice.into())
		);
		let bad = Requirement {
			gpu_count: 0,
			..ONE
		};
		assert_eq!(
			Rentals::quote(bad, 1, Plan::OnDemand),
			Err(Error::<Test>::InvalidRequirement.into())
		);
	});
}

#[test]
fn an_order_is_shown_with_what_it_runs_and_has_used() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 2);
		run_to(order(id).started_at + HOURS);
		check(worker, now(), Verdict::Fine);
		let view = Rentals::order(id).unwrap();
		assert_eq!((view.id, view.hours, view.used), (id, 2, PRICE));
		assert_eq!(view.workload.as_ref().unwrap().client_key, client_key());
		assert_eq!(Rentals::order_of(worker), Some(view));
		assert_eq!(Rentals::order(id + 1), None);
		check(worker, now(), Verdict::Offline);
		assert_eq!(Rentals::order_of(worker), None);
	});
}

#[test]
fn a_customers_orders_come_in_pages() {
	ExtBuilder.build_and_execute(|| {
		let ids: Vec<_> = (0..5).map(|_| place(CARLA, 1)).collect();
		place(DAN, 1);
		let (page, next) = Rentals::orders_of(CARLA, 0, 3);
		let numbers: Vec<_> = page.iter().map(|view| view.id).collect();
		assert_eq!((numbers, next), (ids[..3].to_vec(), Some(ids[3])));
		let (page, next) = Rentals::orders_of(CARLA, 3, 100);
		let numbers: Vec<_> = page.iter().map(|view| view.id).collect();
		assert_eq!((numbers, next), (ids[3..].to_vec(), None));
		assert_eq!(Rentals::orders_of(ANYONE, 0, 100), (vec![], None));
		assert_eq!(Rentals::orders_of(CARLA, 2, 0), (vec![], Some(ids[2])));
		assert_eq!(Rentals::orders_of(CARLA, u32::MAX, 9), (vec![], None));
	});
}

#[test]
fn a_page_of_orders_reads_no_more_than_itself() {
	ExtBuilder.build_and_execute(|| {
		// Numbers of one, two and four bytes, in the index only: whoever reads more of it fails.
		let known: Vec<_> = (0..3).map(|_| place(CARLA, 1)).collect();
		let others = [255u32, 256, 65_535, 65_536, u32::MAX];
		for id in others {
			OrdersByCustomer::<Test>::insert(CARLA, id.to_be_bytes(), ());
		}
		let mut read = Vec::new();
		let mut from = Some(0);
		while let Some(start) = from {
			let (page, next) = Rentals::orders_of(CARLA, start, 1);
			read.extend(page.into_iter().map(|view| view.id));
			assert!(next.is_none_or(|next| next > start));
			from = next;
			// All in their order, which that of little-endian bytes is not.
			let expected = known.iter().chain(&others).find(|id| **id > start);
			assert_eq!(next.as_ref(), expected);
		}
		assert_eq!(read, known);
		for id in others {
			OrdersByCustomer::<Test>::remove(CARLA, id.to_be_bytes());
		}
	});
}

#[test]
fn the_book_comes_in_pages() {
	ExtBuilder.build_and_execute(|| {
		let entry = |reference| ClassPrice {
			reference: Some(reference),
			cost: None,
		};
		assert_eq!(
			Rentals::price_book(0, 12),
			vec![(0, entry(KAI / 10)), (CLASS, entry(REFERENCE))]
		);
		assert_eq!(Rentals::price_book(1, 10), vec![]);
		assert_eq!(Rentals::price_book(u16::MAX, u32::MAX), vec![]);
		assert_eq!(Rentals::price(77), None);
	});
}

#[test]
fn credits_and_the_queue_are_shown() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 3);
		assert_eq!(
			(Rentals::credits(CARLA), Rentals::credits(DAN)),
			(credits, 0)
		);
		place(DAN, 1);
		assert_eq!(Rentals::waiting(), 1);
	});
}

#[test]
fn popws_node_is_told_whose_container_has_to_answer() {
	use kaisar_primitives::Rentals as _;
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		assert!(!Rentals::serves(id));
		matched(id);
		assert!(!Rentals::serves(id));
		confirm(id);
		assert!(Rentals::serves(id));
		run_to(order(id).ends_at);
		assert!(Rentals::serves(id));
		check(0, now(), Verdict::Fine);
		assert!(!Rentals::serves(id));
		assert!(!Rentals::serves(9));
	});
}
