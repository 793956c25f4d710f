//! Tests of the view functions.

use super::*;
use kaisar_primitives::Arch;

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
		// Numbers of one, two and four bytes, in the index only: reading more of them fails.
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
			// In numeric order, which differs from that of little-endian bytes.
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
fn templates_come_in_pages() {
	ExtBuilder.build_and_execute(|| {
		assert_eq!(Rentals::templates(None, 10), vec![]);
		let template = |id: u32| Template::of(reference(&format!("image-{id}")));
		let ids = [0, 3, 7, 300, u32::MAX];
		for id in ids {
			assert_ok!(Rentals::set_template(
				RuntimeOrigin::root(),
				id,
				Some(template(id))
			));
		}
		for limit in 1..=6 {
			let mut read: Vec<(u32, Template)> = Vec::new();
			loop {
				let page = Rentals::templates(read.last().map(|(id, _)| *id), limit);
				let last = page.len() < limit as usize;
				read.extend(page);
				if last {
					break;
				}
			}
			read.sort_by_key(|(id, _)| *id);
			let expected: Vec<_> = ids.iter().map(|id| (*id, template(*id))).collect();
			assert_eq!(read, expected, "{limit}");
		}
		assert_eq!(Rentals::templates(None, 0), vec![]);
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

/// A change that makes a machine fail a condition.
type Spoil = fn(&mut Machine);

#[test]
fn the_workers_of_a_draw_are_shown_with_what_each_lacks() {
	ExtBuilder.build_and_execute(|| {
		let wish = Requirement {
			min_bandwidth: 2,
			min_cpu: 2,
			min_memory: 2,
			min_disk: 2,
			arch: Some(Arch::Amd64),
			min_driver: Some(535),
			min_cuda: Some(1_204),
			..ONE
		};
		let spoil: [(Lack, Spoil); 8] = [
			(Lack::Cpu, |machine| machine.profile.cpu = 1),
			(Lack::Bandwidth, |machine| machine.profile.bandwidth = 1),
			(Lack::Memory, |machine| machine.profile.memory = 1),
			(Lack::Disk, |machine| machine.profile.disk = 1),
			(Lack::Arch, |machine| machine.arch = Arch::Arm64),
			(Lack::Driver, |machine| machine.driver = 534),
			(Lack::Cuda, |machine| machine.cuda = 1_203),
			(Lack::Price, |machine| machine.floor = PRICE + 1),
		];
		let fine = add_machine(PETRA);
		let poor = add_machine(PETRA);
		with_machine(poor, |machine| {
			spoil.iter().for_each(|(_, spoil)| spoil(machine))
		});
		for (_, spoil) in spoil {
			with_machine(add_machine(PETRA), spoil);
		}
		let lacks = |page: &CandidatePage| -> Vec<_> {
			let shown = page.workers.iter();
			shown.map(|it| (it.worker, it.lacks.clone())).collect()
		};
		let all = Rentals::candidates(wish, Plan::OnDemand, 0, 100).unwrap();
		assert_eq!((all.idle, all.next), (10, None));
		let mut expected = vec![(fine, vec![]), (poor, spoil.map(|(lack, _)| lack).to_vec())];
		expected.extend(
			(2..)
				.zip(spoil)
				.map(|(at, (lack, _))| (fine + at, vec![lack])),
		);
		assert_eq!(lacks(&all), expected);

		// In pages, and no further than the limit.
		let first = Rentals::candidates(wish, Plan::OnDemand, 0, 4).unwrap();
		assert_eq!((first.idle, first.next), (10, Some(4)));
		let rest = Rentals::candidates(wish, Plan::OnDemand, 4, u32::MAX).unwrap();
		assert_eq!([lacks(&first), lacks(&rest)].concat(), expected);
		let beyond = Rentals::candidates(wish, Plan::OnDemand, u32::MAX, 9).unwrap();
		assert_eq!((lacks(&beyond), beyond.next), (vec![], None));

		// The worker shown as fitting is the one that gets the order.
		let id = try_place(CARLA, wish, 1, Plan::OnDemand, 0).unwrap();
		matched(id);
		assert_eq!(order(id).worker, Some(fine));
		// A cheaper plan is below more floors.
		with_machine(poor, |machine| machine.floor = PRICE * 95 / 100);
		let lacks_price = |plan| {
			let page = Rentals::candidates(ONE, plan, 0, 100).unwrap();
			let of_poor = page.workers.into_iter().find(|it| it.worker == poor);
			of_poor.unwrap().lacks == [Lack::Price]
		};
		assert!(!lacks_price(Plan::OnDemand) && lacks_price(Plan::Month));

		let unknown = Requirement {
			gpu_class: 77,
			..ONE
		};
		assert_eq!(
			Rentals::candidates(unknown, Plan::OnDemand, 0, 1),
			Err(Error::<Test>::NoPrice.into())
		);
		let bad = Requirement {
			gpu_count: 0,
			..ONE
		};
		assert_eq!(
			Rentals::candidates(bad, Plan::OnDemand, 0, 1),
			Err(Error::<Test>::InvalidRequirement.into())
		);
	});
}
