//! Delegating licenses.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{IsDelegated, Seats};

type E = Error<Test>;

fn delegate(holder: AccountId, license: LicenseId, operator: AccountId) -> DispatchResult {
	Checkers::delegate_license(signed(holder), license, operator)
}

fn accept(operator: AccountId, license: LicenseId) -> DispatchResult {
	Checkers::accept_delegation(signed(operator), license)
}

fn reject(operator: AccountId, license: LicenseId) -> DispatchResult {
	Checkers::reject_delegation(signed(operator), license)
}

fn revoke(holder: AccountId, license: LicenseId) -> DispatchResult {
	Checkers::revoke_delegation(signed(holder), license)
}

fn seats<const N: usize>(license: LicenseId, rounds: [RoundIndex; N]) -> [Option<OperatorId>; N] {
	rounds.map(|round| Checkers::seat(license, round))
}

#[test]
fn a_delegation_waits_for_the_operator() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(delegate(10, 3, 1));
		assert_eq!(
			last_event(),
			Event::DelegationRequested {
				license: 3,
				holder: 10,
				operator: 0
			}
		);
		assert!(Checkers::is_delegated(3));
		assert_eq!(Checkers::active(), 0);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Pending));
		assert_eq!(
			Checkers::license(3),
			Some(LicenseView {
				holder: 10,
				operator: Some((0, 1)),
				pending: true,
				seat: None
			})
		);
		assert_eq!(Told::get(), vec![]);

		rounds(4, 6);
		assert_ok!(accept(1, 3));
		assert_eq!(
			last_event(),
			Event::DelegationAccepted {
				license: 3,
				holder: 10,
				operator: 0,
				active_from: 6
			}
		);
		assert_eq!(
			Told::get(),
			vec![(PoolId::Checker(0), Some(10), 0, Perbill::from_percent(10))]
		);
		assert_eq!(seats(3, [0, 5, 6, 1_000]), [None, None, Some(0), Some(0)]);
		assert_eq!(Checkers::active(), 1);
		assert_eq!(Checkers::status(1), Some(CheckerStatus::Ready));
		assert_eq!(Members::<Test>::get(0, 10), 1);
		assert_eq!(
			Checkers::license(3),
			Some(LicenseView {
				holder: 10,
				operator: Some((0, 1)),
				pending: false,
				seat: Some(0)
			})
		);
	});
}

#[test]
fn ones_own_license_is_accepted_at_once() {
	ExtBuilder::build_and_execute(|| {
		register(10);
		assert_ok!(delegate(10, 3, 10));
		assert_eq!(
			last_event(),
			Event::DelegationAccepted {
				license: 3,
				holder: 10,
				operator: 0,
				active_from: 4
			}
		);
		assert_eq!(seats(3, [3, 4]), [None, Some(0)]);
	});
}

#[test]
fn auto_accept_accepts_at_once_but_not_what_waits() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		assert_ok!(delegate(10, 1, 1));
		assert_eq!(
			(Checkers::seat(0, 4), Checkers::seat(1, 4)),
			(None, Some(0))
		);
		assert_ok!(accept(1, 0));
		assert_eq!(Checkers::active(), 2);
	});
}

#[test]
fn one_operator_works_for_many_licenses_over_pages() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		for license in 0..600 {
			give(license, 10);
			assert_ok!(delegate(10, license, 1));
		}
		assert_eq!(Checkers::active(), 600);
		assert_eq!(Pages::<Test>::iter().count(), 3);
		assert_eq!(
			<Checkers as Seats<_>>::operator(0, 4).unwrap().licenses,
			600
		);
		assert_eq!(
			[255, 256, 511, 512, 599].map(|l| Checkers::seat(l, 4)),
			[Some(0); 5]
		);
		assert_eq!(Checkers::seat(600, 4), None);
	});
}

#[test]
fn delegating_fails_with_a_license_that_is_not_there() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_noop!(delegate(10, 99, 1), E::UnknownLicense);
		assert_noop!(delegate(10, u32::MAX, 1), E::UnknownLicense);
		burn(5);
		assert_noop!(delegate(10, 5, 1), E::UnknownLicense);
		assert_noop!(revoke(10, 5), E::UnknownLicense);
		assert_noop!(revoke(10, 99), E::UnknownLicense);
		assert_eq!(Checkers::license(5), None);
	});
}

#[test]
fn delegating_fails_for_who_does_not_hold_it() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_noop!(delegate(1, 0, 1), E::NotHolder);
		assert_noop!(delegate(11, 0, 1), E::NotHolder);
		assert_ok!(delegate(10, 0, 1));
		assert_noop!(revoke(1, 0), E::NotHolder);
		assert_noop!(revoke(11, 0), E::NotHolder);
	});
}

#[test]
fn delegating_fails_with_an_unknown_operator() {
	ExtBuilder::build_and_execute(|| {
		assert_noop!(delegate(10, 0, 1), E::UnknownOperator);
		register(1);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		assert_noop!(delegate(10, 0, 1), E::UnknownOperator);
	});
}

#[test]
fn delegating_fails_when_delegated() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		register(2);
		assert_ok!(delegate(10, 0, 1));
		assert_noop!(delegate(10, 0, 1), E::AlreadyDelegated);
		assert_noop!(delegate(10, 0, 2), E::AlreadyDelegated);
		assert_ok!(accept(1, 0));
		assert_noop!(delegate(10, 0, 2), E::AlreadyDelegated);
	});
}

#[test]
fn answering_fails_for_the_wrong_operator() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		register(2);
		assert_ok!(delegate(10, 0, 1));
		assert_noop!(accept(2, 0), E::NotOperator);
		assert_noop!(reject(2, 0), E::NotOperator);
		// Nor may the holder accept.
		assert_noop!(accept(10, 0), E::NotRegistered);
	});
}

#[test]
fn answering_fails_without_a_delegation() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_noop!(accept(1, 0), E::NotDelegated);
		assert_noop!(reject(1, 0), E::NotDelegated);
		assert_noop!(revoke(10, 0), E::NotDelegated);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(revoke(10, 0));
		assert_noop!(accept(1, 0), E::NotDelegated);
		assert_noop!(revoke(10, 0), E::NotDelegated);
	});
}

#[test]
fn answering_fails_when_it_was_accepted() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(accept(1, 0));
		assert_noop!(accept(1, 0), E::AlreadyAccepted);
		assert_noop!(reject(1, 0), E::AlreadyAccepted);
	});
}

#[test]
fn a_rejected_license_is_free() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		register(2);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(reject(1, 0));
		assert_eq!(
			last_event(),
			Event::DelegationRejected {
				license: 0,
				holder: 10,
				operator: 0
			}
		);
		assert!(!Checkers::is_delegated(0));
		assert_eq!(Told::get(), vec![]);
		assert_ok!(delegate(10, 0, 2));
	});
}

#[test]
fn a_revoked_license_works_on_in_running_rounds() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(accept(1, 0));
		rounds(4, 8);
		Told::set(&vec![]);
		assert_ok!(revoke(10, 0));
		assert_eq!(
			last_event(),
			Event::DelegationRevoked {
				license: 0,
				holder: 10,
				operator: 0,
				inactive_from: 8
			}
		);
		assert_eq!(
			Told::get(),
			vec![(PoolId::Checker(0), Some(10), 1, Perbill::from_percent(10))]
		);
		assert_eq!(seats(0, [3, 4, 7, 8]), [None, Some(0), Some(0), None]);
		assert_eq!(Checkers::active(), 0);
		assert!(!Checkers::is_delegated(0));
		assert_eq!(Members::<Test>::iter().count(), 0);
		let licenses = |round| <Checkers as Seats<_>>::operator(0, round).unwrap().licenses;
		assert_eq!((licenses(7), licenses(8)), (1, 0));
	});
}

#[test]
fn what_waits_can_be_revoked_without_a_trace() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(revoke(10, 0));
		assert!(!Checkers::is_delegated(0));
		assert_eq!(Told::get(), vec![]);
		assert_eq!(seats(0, [4]), [None]);
	});
}

#[test]
fn delegated_and_revoked_before_a_round_it_never_counts() {
	ExtBuilder::build_and_execute(|| {
		register(10);
		assert_ok!(delegate(10, 0, 10));
		assert_ok!(revoke(10, 0));
		assert_eq!(seats(0, [3, 4, 5]), [None; 3]);
		assert_eq!(Checkers::active(), 0);
	});
}

#[test]
fn delegated_to_another_both_sit_in_their_rounds() {
	ExtBuilder::build_and_execute(|| {
		register(10);
		register(1);
		assert_ok!(Checkers::set_auto_accept(signed(1), true));
		assert_ok!(delegate(10, 0, 10));
		rounds(4, 8);
		assert_ok!(revoke(10, 0));
		assert_ok!(delegate(10, 0, 1));
		assert_eq!(seats(0, [3, 4, 7, 8]), [None, Some(0), Some(0), Some(1)]);
		assert_eq!(Checkers::active(), 1);
		// Back and forth before the round starts: only the last change counts.
		assert_ok!(revoke(10, 0));
		assert_ok!(delegate(10, 0, 10));
		assert_ok!(revoke(10, 0));
		assert_ok!(delegate(10, 0, 1));
		assert_eq!(seats(0, [3, 4, 7, 8]), [None, Some(0), Some(0), Some(1)]);
	});
}

#[test]
fn revoked_and_delegated_again_to_the_same_it_goes_on() {
	ExtBuilder::build_and_execute(|| {
		register(10);
		assert_ok!(delegate(10, 0, 10));
		rounds(4, 8);
		assert_ok!(revoke(10, 0));
		assert_ok!(delegate(10, 0, 10));
		assert_eq!(seats(0, [4, 7, 8]), [Some(0); 3]);
		assert_eq!(Pages::<Test>::get(0)[0].before, Span::default());
	});
}

#[test]
fn boundary_a_third_operator_waits_until_the_first_ones_rounds_are_over() {
	ExtBuilder::build_and_execute(|| {
		for operator in [10, 1, 2] {
			register(operator);
			assert_ok!(Checkers::set_auto_accept(signed(operator), true));
		}
		assert_ok!(delegate(10, 0, 10));
		rounds(4, 8);
		assert_ok!(revoke(10, 0));
		assert_ok!(delegate(10, 0, 1));
		rounds(7, 10);
		assert_ok!(revoke(10, 0));
		// Round 7 is running, and in it the license works for account 10.
		assert_noop!(delegate(10, 0, 2), E::TooManyChanges);
		assert_eq!(seats(0, [7, 9, 10]), [Some(0), Some(1), None]);
		rounds(8, 12);
		assert_ok!(delegate(10, 0, 2));
		assert_eq!(seats(0, [8, 9, 10, 12]), [Some(1), Some(1), None, Some(2)]);
	});
}

#[test]
fn a_license_of_an_operator_that_has_gone_is_free() {
	ExtBuilder::build_and_execute(|| {
		register(1);
		register(2);
		assert_ok!(Checkers::set_auto_accept(signed(2), true));
		assert_ok!(delegate(10, 0, 1));
		assert_ok!(delegate(10, 1, 1));
		assert_ok!(accept(1, 0));
		rounds(4, 8);
		assert_ok!(Checkers::deregister_checker(signed(1)));
		// Accepted or pending, both delegations have ended.
		for license in [0, 1] {
			assert!(!Checkers::is_delegated(license));
			assert_noop!(revoke(10, license), E::NotDelegated);
		}
		// A new holder delegates it, although the old holder's delegation was never removed.
		give(0, 11);
		assert_noop!(delegate(10, 0, 2), E::NotHolder);
		assert_ok!(delegate(11, 0, 2));
		assert_ok!(delegate(10, 1, 2));
		assert_eq!(seats(0, [4, 7, 8]), [Some(0), Some(0), Some(1)]);
		assert_eq!(seats(1, [4, 7, 8]), [None, None, Some(1)]);
		assert_eq!(Members::<Test>::get(1, 11), 1);
	});
}
