//! Tests of `attest`, and of the workers that are due.

use super::{mark, seated, while_attesting};
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Forced, RoundKind, Standings, WorkerState};
use sp_runtime::DispatchError;

#[test]
fn opens_the_check_with_its_committee() {
	while_attesting(|| {
		assert_ok!(attest(0, 0));
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(0) else {
			panic!("no check")
		};
		assert_eq!(
			(check.round, check.root, check.size, check.attested_at),
			(0, [7; 32], 4, 2)
		);
		assert!(check.full && !check.rented);
		assert_eq!((check.credit, check.min_operators), (0, 3));
		let committee: Vec<_> = check
			.committee
			.iter()
			.map(|seat| (seat.operator, u32::from(seat.weight)))
			.collect();
		assert_eq!(committee, Popw::committee(0, 0));
		System::assert_last_event(
			Event::Attested {
				worker: 0,
				round: 0,
				root: [7; 32],
				committee: committee.clone(),
			}
			.into(),
		);
		assert_eq!(seated(0, 0), [0, 1, 2]);
		assert_eq!(Attested::<Test>::get(0, 0).to_vec(), [0]);
	});
}

#[test]
fn fails_for_others_than_the_owner() {
	while_attesting(|| {
		let origin = RuntimeOrigin::signed(owner(0) + 1);
		assert_noop!(
			Popw::attest(origin, 0, 0, [7; 32], None),
			Error::<Test>::NotOwner
		);
		let unsigned = Popw::attest(RuntimeOrigin::none(), 0, 0, [7; 32], None);
		assert_noop!(unsigned, DispatchError::BadOrigin);
		let root = Popw::attest(RuntimeOrigin::root(), 0, 0, [7; 32], None);
		assert_noop!(root, DispatchError::BadOrigin);
	});
}

#[test]
fn fails_when_signed_twice() {
	while_attesting(|| {
		let signature = Some(sp_core::sr25519::Signature::from_raw([0; 64]));
		assert_noop!(
			Popw::attest(RuntimeOrigin::signed(owner(0)), 0, 0, [7; 32], signature),
			Error::<Test>::SignatureNotExpected
		);
	});
}

#[test]
fn fails_for_unknown_rounds_and_workers() {
	while_attesting(|| {
		assert_noop!(attest(0, 2), Error::<Test>::UnknownRound);
		assert_noop!(attest(0, 1), Error::<Test>::UnknownRound);
		assert_noop!(attest(9, 0), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn boundary_last_block_of_the_phase() {
	while_attesting(|| {
		run_to(11);
		assert_ok!(frame_support::hypothetically!(attest(0, 0)));
		run_to(12);
		assert_noop!(attest(0, 0), Error::<Test>::WrongPhase);
	});
}

#[test]
fn fails_when_already_attested() {
	while_attesting(|| {
		assert_ok!(attest(0, 0));
		assert_noop!(attest(0, 0), Error::<Test>::AlreadyAttested);
	});
}

#[test]
fn fails_while_a_check_is_open() {
	while_attesting(|| {
		assert_ok!(attest(0, 0));
		heard(|heard| {
			heard.workers.get_mut(&0).unwrap().forced = Some(Forced {
				round: 2,
				verify_only: false,
			});
		});
		run_to(13);
		assert_noop!(attest(0, 2), Error::<Test>::CheckOpen);
	});
}

#[test]
fn a_forced_worker_is_due_once() {
	while_attesting(|| {
		add_worker(
			1,
			WorkerState::Pending,
			Some(Forced {
				round: 2,
				verify_only: true,
			}),
		);
		add_worker(2, WorkerState::Online, None);
		assert!(Popw::is_due(0, 0));
		assert_noop!(attest(1, 0), Error::<Test>::NotDue);
		assert_noop!(attest(2, 0), Error::<Test>::NotDue);
		run_to(12);
		assert!(Popw::is_due(1, 2) && !Popw::is_due(0, 2) && !Popw::is_due(2, 2));
		run_to(22);
		assert!(!Popw::is_due(1, 4));
	});
}

#[test]
fn a_census_finds_all_idle_workers_as_they_stood_at_its_start() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		add_worker(0, WorkerState::Online, None);
		add_worker(1, WorkerState::Rented, None);
		add_worker(2, WorkerState::Pending, None);
		add_worker(3, WorkerState::Offline, None);
		add_worker(4, WorkerState::Suspended, None);
		// Online after the start, though in the round's first block.
		add_worker(5, WorkerState::Online, None);
		// Offline after the start.
		add_worker(6, WorkerState::Online, None);
		// Marked for the spot round of the same block: the census covers every idle worker.
		add_worker(7, WorkerState::Online, Some(mark(0)));
		// Marked and not idle: checked on its own.
		add_worker(8, WorkerState::Pending, Some(mark(0)));
		heard(|heard| {
			heard.workers.get_mut(&5).unwrap().standings = Standings::new(WorkerState::Online, 2);
			heard
				.workers
				.get_mut(&6)
				.unwrap()
				.standings
				.change(WorkerState::Offline, 2, &[0, 1]);
		});
		run_to(2);
		assert_eq!(Rounds::<Test>::get(1).unwrap().kind, RoundKind::Census);
		let due = |round| -> Vec<_> {
			(0..9)
				.filter(|worker| Popw::is_due(*worker, round))
				.collect()
		};
		assert_eq!(due(1), [0, 6, 7]);
		assert!(!due(0).contains(&7) && due(0).contains(&8));
		assert_ok!(attest(7, 1));
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(7) else {
			panic!("no check")
		};
		assert!(check.full, "the mark asks for it");
	});
}

#[test]
fn a_worker_with_a_check_open_at_the_start_is_not_due_in_the_census() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_worker(
			0,
			WorkerState::Online,
			Some(Forced {
				round: 0,
				verify_only: false,
			}),
		);
		add_worker(1, WorkerState::Online, None);
		run_to(2);
		assert_ok!(attest(0, 0));
		run_to(10);
		CheckPeriod::set(1);
		run_to(12);
		assert!(Popw::is_due(1, 3) && !Popw::is_due(0, 3));
		run_to(33);
		// Round 0 is over in block 31, before the census of block 31 … is counted from its end.
		<Popw as kaisar_primitives::Checks>::touch(0);
		assert!(
			!Popw::is_due(0, 3),
			"it was open at that round's start, whenever it was closed"
		);
	});
}

#[test]
fn rented_workers_are_drawn_one_in_twelve() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		for worker in 0..600 {
			add_worker(worker, WorkerState::Rented, None);
		}
		run_to(2);
		let due = (0..600).filter(|worker| Popw::is_due(*worker, 0)).count();
		// 600 draws of 1/12: mean 50, standard deviation 6.8.
		assert!((30..=70).contains(&due), "{due}");
		MaxDue::set(60);
		run_to(12);
		let due = (0..600).filter(|worker| Popw::is_due(*worker, 2)).count();
		// 60 / (4 · 600) = 1/40: mean 15, standard deviation 3.8.
		assert!((4..=28).contains(&due), "{due}");
	});
}

#[test]
fn owner_never_sits_on_its_own_worker_and_everyone_has_one_seat() {
	ExtBuilder::default().operators(6).build_and_execute(|| {
		CommitteeSize::set(5);
		for worker in 0..50 {
			add_worker(worker, WorkerState::Pending, Some(mark(0)));
		}
		heard(|heard| {
			for info in heard.workers.values_mut() {
				info.owner = operator_account(3);
			}
		});
		run_to(2);
		for worker in 0..50 {
			let operators = seated(worker, 0);
			assert!(!operators.contains(&3));
			assert!((3..=5).contains(&operators.len()), "{operators:?}");
			let mut distinct = operators.clone();
			distinct.dedup();
			assert_eq!(distinct, operators);
			let size: u32 = Popw::committee(worker, 0)
				.iter()
				.map(|(_, weight)| weight)
				.sum();
			assert!((5..8).contains(&size), "{size}");
		}
	});
}

#[test]
fn works_without_any_license() {
	ExtBuilder::default().build_and_execute(|| {
		add_worker(
			0,
			WorkerState::Pending,
			Some(Forced {
				round: 0,
				verify_only: true,
			}),
		);
		run_to(2);
		assert_ok!(attest(0, 0));
		run_to(32);
		<Popw as kaisar_primitives::Checks>::touch(0);
		assert_eq!(last_outcome(), kaisar_primitives::Outcome::NoConsensus);
	});
}
