//! Tests of the price book, the contingency, the oracle and templates.

use super::*;
use sp_runtime::FixedU128;

fn root() -> RuntimeOrigin {
	RuntimeOrigin::root()
}

#[test]
fn governance_and_the_oracle_set_prices_and_nobody_else() {
	ExtBuilder.build_and_execute(|| {
		assert_noop!(
			Rentals::set_price(signed(ORACLE), 5, Some(1)),
			DispatchError::BadOrigin
		);
		assert_ok!(Rentals::set_oracle(root(), Some(ORACLE)));
		assert_ok!(Rentals::set_price(signed(ORACLE), 5, Some(7)));
		assert_ok!(Rentals::set_price(root(), 5, Some(8)));
		let cost = Cost {
			cost: 3,
			multiplier: FixedU128::from_u32(2),
		};
		assert_ok!(Rentals::set_cost(signed(ORACLE), 5, Some(cost)));
		assert_noop!(
			Rentals::set_contingency(signed(ORACLE), true),
			DispatchError::BadOrigin
		);
		assert_eq!(
			events(),
			vec![
				Event::OracleSet {
					old: None,
					new: Some(ORACLE)
				},
				Event::PriceSet {
					class: 5,
					old: None,
					new: Some(7)
				},
				Event::PriceSet {
					class: 5,
					old: Some(7),
					new: Some(8)
				},
				Event::CostSet {
					class: 5,
					old: None,
					new: Some(cost)
				},
			]
		);
		assert_ok!(Rentals::set_oracle(root(), None));
		assert_noop!(
			Rentals::set_price(signed(ORACLE), 5, Some(1)),
			DispatchError::BadOrigin
		);
		// A class without price and cost has no entry.
		assert_ok!(Rentals::set_price(root(), 5, None));
		assert_ok!(Rentals::set_cost(root(), 5, None));
		assert!(!PriceBook::<Test>::contains_key(5));
	});
}

#[test]
fn a_price_is_never_zero() {
	ExtBuilder.build_and_execute(|| {
		assert_noop!(
			Rentals::set_price(root(), 5, Some(0)),
			Error::<Test>::ZeroPrice
		);
		for (cost, multiplier) in [(0, FixedU128::from_u32(1)), (1, FixedU128::from_u32(0))] {
			assert_noop!(
				Rentals::set_cost(root(), 5, Some(Cost { cost, multiplier })),
				Error::<Test>::ZeroPrice
			);
		}
		// Nor does a plan make the price zero, whatever rates governance sets.
		Rates::set(&kaisar_primitives::PlanRates {
			month: Perbill::zero(),
			quarter: Perbill::zero(),
		});
		assert_eq!(Rentals::price(CLASS).unwrap().quarter, 1);
	});
}

#[test]
fn the_price_follows_utilization() {
	ExtBuilder.build_and_execute(|| {
		for _ in 0..4 {
			add_machine(PETRA);
		}
		let price = || Rentals::price(CLASS).unwrap().on_demand;
		assert_eq!(price(), REFERENCE * 75 / 100);
		deployed(CARLA, 1);
		// A quarter of the workers is rented: 0.75 + 0.20 / 16.
		assert_eq!(price(), REFERENCE * 7_625 / 10_000);
		for _ in 0..3 {
			deployed(CARLA, 1);
		}
		assert_eq!(price(), REFERENCE * 95 / 100);
	});
}

#[test]
fn in_a_contingency_it_follows_costs_and_no_plan_lowers_it() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		assert_ok!(Rentals::set_contingency(root(), true));
		assert_eq!(
			events(),
			vec![Event::ContingencySet {
				old: false,
				new: true
			}]
		);
		assert_eq!(Rentals::price(CLASS), None);
		assert_noop!(
			try_place(CARLA, ONE, 1, Plan::OnDemand, 0),
			Error::<Test>::NoPrice
		);
		let cost = Cost {
			cost: 2 * KAI,
			multiplier: FixedU128::from_rational(3, 2),
		};
		assert_ok!(Rentals::set_cost(root(), CLASS, Some(cost)));
		let all = |price| Prices {
			on_demand: price,
			month: price,
			quarter: price,
		};
		assert_eq!(Rentals::price(CLASS), Some(all(3 * KAI)));
		deployed(CARLA, 1);
		// All workers are rented: twice the price.
		assert_eq!(Rentals::price(CLASS), Some(all(6 * KAI)));
		assert_ok!(Rentals::set_contingency(root(), false));
		assert_eq!(
			Rentals::price(CLASS).unwrap().on_demand,
			REFERENCE * 95 / 100
		);
	});
}

#[test]
fn machines_without_a_gpu_are_paid_by_the_core() {
	ExtBuilder.build_and_execute(|| {
		let price = KAI / 10 * 75 / 100;
		for (tier, cores) in [(1, 4), (2, 32), (3, 64), (4, 129)] {
			let requirement = Requirement {
				min_cpu: tier,
				..Default::default()
			};
			let quote = Rentals::quote(requirement, 2, Plan::OnDemand).unwrap();
			assert_eq!(
				(quote.units, quote.total),
				(cores, price * 2 * u128::from(cores))
			);
		}
		for tier in [0, 5] {
			let requirement = Requirement {
				min_cpu: tier,
				..Default::default()
			};
			assert_eq!(
				Rentals::quote(requirement, 2, Plan::OnDemand),
				Err(Error::<Test>::InvalidRequirement.into())
			);
		}
	});
}

#[test]
fn templates_are_set_and_removed() {
	ExtBuilder.build_and_execute(|| {
		let template = Template {
			capabilities: sp_runtime::BoundedVec::truncate_from(vec![Capability::NetBindService]),
			..Template::of(reference("jupyter"))
		};
		let bad = Template {
			image: reference("--privileged"),
			..template.clone()
		};
		assert_noop!(
			Rentals::set_template(root(), 1, Some(bad)),
			Error::<Test>::InvalidImage
		);
		assert_ok!(Rentals::set_template(root(), 1, Some(template.clone())));
		assert_eq!(Rentals::template(1), Some(template.clone()));
		assert_ok!(Rentals::set_template(root(), 1, None));
		assert_eq!(Rentals::template(1), None);
		assert_eq!(
			events(),
			vec![
				Event::TemplateSet {
					id: 1,
					old: None,
					new: Some(template.clone())
				},
				Event::TemplateSet {
					id: 1,
					old: Some(template),
					new: None
				},
			]
		);
	});
}

#[test]
fn capabilities_have_the_names_that_engines_know() {
	let all = [
		Capability::Chown,
		Capability::DacOverride,
		Capability::Fowner,
		Capability::Kill,
		Capability::NetBindService,
		Capability::SetGid,
		Capability::SetUid,
	];
	let names: std::collections::BTreeSet<_> = all.map(Capability::name).into();
	assert_eq!(names.len(), all.len());
	assert!(
		names
			.iter()
			.all(|name| !name.starts_with("CAP_") && !name.contains("SYS"))
	);
	// Agents refuse capabilities that are not in their own list.
	let agents = include_str!("../../../../agent/src/containers/limits.rs");
	let (_, list) = agents.split_once("const CAPABILITIES").expect("a list");
	let (list, _) = list.split_once("];").expect("its end");
	for name in names {
		assert!(list.contains(&format!("\"{name}\"")), "{name}");
	}
}

#[test]
fn providers_are_told_the_highest_price_and_todays() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let of = |class| {
			(
				<Rentals as kaisar_primitives::Prices>::highest(class),
				<Rentals as kaisar_primitives::Prices>::today(class),
			)
		};
		let highest = REFERENCE * 95 / 100;
		assert_eq!(of(CLASS), (Some(highest), Some(PRICE)));
		deployed(CARLA, 1);
		assert_eq!(of(CLASS), (Some(highest), Some(highest)));
		// An odd reference is rounded up.
		assert_ok!(Rentals::set_price(root(), 5, Some(7)));
		assert_eq!(of(5), (Some(7), Some(6)));
		assert_ok!(Rentals::set_price(root(), 5, Some(1)));
		assert_eq!(of(5), (Some(1), Some(1)));
		let cost = Cost {
			cost: 2,
			multiplier: FixedU128::from_u32(1),
		};
		assert_ok!(Rentals::set_cost(root(), 5, Some(cost)));
		assert_ok!(Rentals::set_price(root(), 5, None));
		assert_eq!(of(5), (None, None));
		assert_ok!(Rentals::set_contingency(root(), true));
		assert_eq!(of(5), (None, None));
		assert_eq!(of(77), (None, None));
	});
}

#[test]
fn a_class_that_is_not_paid_cannot_be_ordered() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(DAN, 1);
		Unpaid::insert(CLASS, ());
		assert_noop!(
			try_place(CARLA, ONE, 1, Plan::OnDemand, 0),
			Error::<Test>::NoPrice
		);
		assert_eq!(
			Rentals::quote(ONE, 1, Plan::OnDemand),
			Err(Error::<Test>::NoPrice.into())
		);
		// A running order can be extended.
		assert_ok!(Rentals::extend_order(signed(DAN), id, 1, Balance::MAX));
		Unpaid::remove(CLASS);
		assert_ok!(try_place(CARLA, ONE, 1, Plan::OnDemand, 0));
	});
}

#[test]
fn a_class_whose_price_was_removed_can_neither_be_ordered_nor_extended() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		assert_ok!(Rentals::set_price(root(), CLASS, None));
		assert_noop!(
			try_place(DAN, ONE, 1, Plan::OnDemand, 0),
			Error::<Test>::NoPrice
		);
		assert_noop!(
			Rentals::extend_order(signed(CARLA), id, 1, Balance::MAX),
			Error::<Test>::NoPrice
		);
		assert_ok!(Rentals::cancel_order(signed(CARLA), id));
	});
}
