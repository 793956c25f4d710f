//! What Orders are told of checks.

use super::while_attesting;
use crate::mock::*;
use frame_support::assert_ok;
use kaisar_primitives::{OnClosed, Outcome, Verdict};

/// Worker 0 serves this order.
fn rent(order: u32) {
	heard(|heard| {
		if let Some(info) = heard.workers.get_mut(&0) {
			info.order = Some(order);
		}
	});
}

fn told() -> Vec<(u32, u32, Outcome)> {
	heard(|heard| heard.orders_checked.clone())
}

/// All three operators vote, and the check is closed by the last.
fn vote(verdict: Verdict) {
	let votes = one(0, verdict);
	run_to(12);
	for operator in 0..3 {
		assert_ok!(commit(operator, 0, &votes));
	}
	run_to(22);
	for operator in 0..3 {
		assert_ok!(reveal(operator, 0, &votes));
	}
	assert!(!is_open(0));
}

#[test]
fn a_check_of_a_worker_that_serves_an_order_is_told() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		rent(7);
		vote(good());
		assert_eq!(told(), [(7, 0, last_outcome())]);
	});
}

#[test]
fn an_order_that_is_lost_with_the_check_is_told_too() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		rent(7);
		vote(Verdict::OFFLINE);
		assert_eq!(told(), [(7, 0, Outcome::Offline)]);
	});
	while_attesting(|| {
		rent(8);
		run_to(12);
		assert_ok!(Popw::report_absent(RuntimeOrigin::signed(1), 0, 0));
		assert_eq!(told(), [(8, 0, Outcome::Offline)]);
	});
}

#[test]
fn nobody_is_told_where_nothing_is_rented() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		vote(good());
		assert!(told().is_empty());
	});
}

#[test]
fn telling_of_an_order_is_paid_for() {
	let finalized = |order: Option<u32>| {
		let mut weight = None;
		while_attesting(|| {
			attest(0, 0).unwrap();
			if let Some(order) = order {
				rent(order);
			}
			run_to(32);
			let workers = vec![0].try_into().unwrap();
			weight = Popw::finalize(RuntimeOrigin::signed(1), workers)
				.unwrap()
				.actual_weight;
		});
		weight.unwrap()
	};
	assert_eq!(
		finalized(Some(7)),
		finalized(None) + <Registry as OnClosed>::weight_of_order_checked()
	);
}
