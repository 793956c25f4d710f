//! Tests of the account named as the finder of a fault.

use super::while_attesting;
use crate::mock::*;
use frame_support::assert_ok;

fn named() -> Vec<(u32, Option<u64>)> {
	heard(|heard| heard.finders.clone())
}

#[test]
fn who_closes_a_check_that_nobody_closed_is() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(32);
		let workers = vec![0].try_into().unwrap();
		assert_ok!(Popw::finalize(RuntimeOrigin::signed(7), workers));
		assert_eq!(named(), [(0, Some(7))]);
	});
}

#[test]
fn the_last_voter_is_not() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		let votes = one(0, good());
		run_to(12);
		for operator in 0..3 {
			commit(operator, 0, &votes).unwrap();
		}
		run_to(22);
		for operator in 0..3 {
			reveal(operator, 0, &votes).unwrap();
		}
		assert_eq!(named(), [(0, None)]);
	});
}

#[test]
fn who_only_touches_it_is_not() {
	use kaisar_primitives::Checks;
	while_attesting(|| {
		attest(0, 0).unwrap();
		run_to(32);
		<Popw as Checks>::touch(0);
		assert_eq!(named(), [(0, None)]);
	});
}
