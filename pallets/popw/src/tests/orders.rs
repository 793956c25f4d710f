//! Tests of the reports of checks to Orders.

use super::while_attesting;
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Checks, OnClosed, Outcome, Verdict};

/// Has worker 0 serve this order.
fn rent(order: u32) {
	heard(|heard| {
		if let Some(info) = heard.workers.get_mut(&0) {
			info.order = Some(order);
		}
	});
}

/// Returns the round for which worker 0 is marked.
fn forced() -> Option<u32> {
	heard(|heard| heard.workers[&0].forced.map(|forced| forced.round))
}

fn orders_checked() -> Vec<(u32, u32, Outcome)> {
	heard(|heard| heard.orders_checked.clone())
}

/// Has all three operators vote; the last vote closes the check.
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
		assert_eq!(orders_checked(), [(7, 0, last_outcome())]);
	});
}

#[test]
fn an_order_that_is_lost_with_the_check_is_told_too() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		rent(7);
		vote(Verdict::OFFLINE);
		assert_eq!(orders_checked(), [(7, 0, Outcome::Offline)]);
	});
	while_attesting(|| {
		rent(8);
		run_to(12);
		assert_ok!(Popw::report_absent(RuntimeOrigin::signed(1), 0, 0));
		assert_eq!(orders_checked(), [(8, 0, Outcome::Offline)]);
	});
}

#[test]
fn nobody_is_told_where_nothing_is_rented() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		vote(good());
		assert!(orders_checked().is_empty());
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
		finalized(None) + <Registry as OnClosed>::max_weight()
	);
}

#[test]
fn a_mark_for_a_round_that_an_open_check_takes_is_postponed() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(5);
		// The worker is forced in the next round, whose attest part ends before this check.
		assert_ok!(<Popw as Checks>::force(0));
		assert_eq!(forced(), Some(2));
		run_to(15);
		assert!(!Popw::is_due(0, 2), "another check of it is open");
		let votes = one(0, good());
		for operator in 0..3 {
			assert_ok!(commit(operator, 0, &votes));
		}
		run_to(22);
		for operator in 0..3 {
			assert_ok!(reveal(operator, 0, &votes));
		}
		assert_eq!(forced(), Some(6), "round 4 starts in block 21");
		let absent = Popw::report_absent(RuntimeOrigin::signed(1), 0, 2);
		assert_noop!(absent, Error::<Test>::NotDue);
		run_to(33);
		assert!(Popw::is_due(0, 6));
		assert_ok!(attest(0, 6));
	});
}

#[test]
fn a_check_that_nobody_closed_makes_no_worker_absent() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(5);
		assert_ok!(<Popw as Checks>::force(0));
		// Round 0 ends in block 31, round 2 in block 41.
		run_to(35);
		// The report closes the ended check, which uses it up.
		assert_ok!(Popw::report_absent(RuntimeOrigin::signed(1), 0, 2));
		assert!(!is_open(0));
		heard(|heard| assert!(heard.absent.is_empty()));
		assert_eq!(forced(), Some(8), "round 8 starts in block 41");
		let again = Popw::report_absent(RuntimeOrigin::signed(1), 0, 2);
		assert_noop!(again, Error::<Test>::NotDue);
	});
}

#[test]
fn a_mark_outlives_its_round_while_an_old_check_is_open() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(5);
		assert_ok!(<Popw as Checks>::force(0));
		assert_eq!(forced(), Some(2));
		let mut committee = Popw::committee(0, 0);
		committee.sort_by_key(|(_, weight)| *weight);
		let votes = one(0, good());
		run_to(12);
		for (operator, _) in &committee[1..] {
			assert_ok!(commit(*operator, 0, &votes));
		}
		run_to(22);
		for (operator, _) in &committee[1..] {
			assert_ok!(reveal(*operator, 0, &votes));
		}
		// Round 2 was over in block 41, and the check of round 0 is closed only now.
		run_to(45);
		<Popw as Checks>::touch(0);
		assert!(!is_open(0));
		assert_eq!(forced(), Some(10), "round 10 starts in block 51");
	});
}
