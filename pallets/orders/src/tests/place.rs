//! Tests of `place_order`.

use super::*;

#[test]
fn holds_the_full_price_and_waits() {
	ExtBuilder.build_and_execute(|| {
		let id = try_place(CARLA, ONE, 3, Plan::OnDemand, 0).unwrap();
		assert_eq!(held(CARLA), (3 * PRICE, 0));
		assert_eq!(
			events(),
			vec![Event::OrderPlaced {
				order: id,
				customer: CARLA,
				requirement: ONE,
				hours: 3,
				plan: Plan::OnDemand,
				unit_price: PRICE,
				charged: Money {
					kai: 3 * PRICE,
					credits: 0
				},
			}]
		);
		assert_eq!(Rentals::waiting(), 1);
		let ordered = Workloads::<Test>::get(id).unwrap();
		assert_eq!(
			(Image::Reference(ordered.run.image), ordered.client_key),
			(image(), client_key())
		);
	});
}

#[test]
fn boundary_of_the_price_limit() {
	ExtBuilder.build_and_execute(|| {
		let place = |max_price| {
			Rentals::place_order(
				signed(CARLA),
				ONE,
				workload(),
				2,
				Plan::OnDemand,
				max_price,
				0,
				client_key(),
			)
		};
		assert_noop!(place(2 * PRICE - 1), Error::<Test>::PriceAboveLimit);
		assert_ok!(place(2 * PRICE));
	});
}

#[test]
fn boundary_of_hours_by_plan() {
	ExtBuilder.build_and_execute(|| {
		for (plan, least) in [
			(Plan::OnDemand, 1),
			(Plan::Month, 720),
			(Plan::Quarter, 2_160),
		] {
			assert_noop!(
				try_place(CARLA, ONE, least - 1, plan, 0),
				Error::<Test>::TooFewHours
			);
			assert_ok!(try_place(CARLA, ONE, least, plan, 0));
			assert_noop!(
				try_place(CARLA, ONE, 8_761, plan, 0),
				Error::<Test>::TooManyHours
			);
			assert_ok!(try_place(CARLA, ONE, 8_760, plan, 0));
		}
		// 0.9 and 0.8 of the price.
		assert_eq!(order(2).ledger.charged, PRICE * 720 * 9 / 10);
		assert_eq!(order(4).ledger.charged, PRICE * 2_160 * 8 / 10);
	});
}

#[test]
fn fails_for_a_machine_that_cannot_be() {
	ExtBuilder.build_and_execute(|| {
		let fails = |requirement| {
			assert_noop!(
				try_place(CARLA, requirement, 1, Plan::OnDemand, 0),
				Error::<Test>::InvalidRequirement
			);
		};
		fails(Requirement {
			gpu_count: 0,
			..ONE
		});
		fails(Requirement {
			gpu_class: 0,
			..ONE
		});
		fails(Requirement { min_cpu: 5, ..ONE });
		fails(Requirement {
			min_bandwidth: 5,
			..ONE
		});
		fails(Requirement {
			min_memory: 5,
			..ONE
		});
		fails(Requirement { min_disk: 5, ..ONE });
		fails(Requirement {
			region: Some(*b"de"),
			..ONE
		});
		let fits = Requirement {
			min_cpu: 4,
			min_bandwidth: 4,
			min_memory: 4,
			min_disk: 4,
			region: Some(*b"DE"),
			..ONE
		};
		assert_ok!(try_place(CARLA, fits, 1, Plan::OnDemand, 0));
	});
}

#[test]
fn fails_for_a_class_without_a_price() {
	ExtBuilder.build_and_execute(|| {
		let other = Requirement {
			gpu_class: 12,
			..ONE
		};
		assert_noop!(
			try_place(CARLA, other, 1, Plan::OnDemand, 0),
			Error::<Test>::NoPrice
		);
	});
}

#[test]
fn fails_without_the_kai() {
	ExtBuilder.build_and_execute(|| {
		assert_noop!(
			try_place(77, ONE, 1, Plan::OnDemand, 0),
			TokenError::FundsUnavailable
		);
	});
}

#[test]
fn credits_are_used_up_to_the_price() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let credits = earn_credits(CARLA, 2);
		// One more than the account has.
		assert_noop!(
			try_place(CARLA, ONE, 5, Plan::OnDemand, credits + 1),
			Error::<Test>::InsufficientCredits
		);
		assert_noop!(
			try_place(DAN, ONE, 5, Plan::OnDemand, 1),
			Error::<Test>::InsufficientCredits
		);
		let first = try_place(CARLA, ONE, 1, Plan::OnDemand, Balance::MAX).unwrap();
		assert_eq!(
			order(first).ledger.escrow,
			Money {
				kai: 0,
				credits: PRICE
			}
		);
		assert_eq!(
			events()[0],
			Event::CreditsUsed {
				who: CARLA,
				order: first,
				amount: PRICE
			}
		);
		let second = try_place(CARLA, ONE, 2, Plan::OnDemand, PRICE).unwrap();
		assert_eq!(
			order(second).ledger.escrow,
			Money {
				kai: PRICE,
				credits: PRICE
			}
		);
		assert_eq!(
			Credits::<Test>::iter().count(),
			0,
			"nothing is left of an empty account"
		);
	});
}
