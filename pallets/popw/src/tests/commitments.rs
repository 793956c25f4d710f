//! Commitments bind: one opinion for each seat, and a price for what is not opened.

use super::{to_commit, to_end, to_reveal, while_attesting};
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Checks, Forced, Outcome, SeatResult, Verdict, Votes, WorkerState};

/// Workers `0 .. count` are due in the first round, in its attest phase.
fn crowd(count: u32, test: impl FnOnce()) {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		for worker in 0..count {
			mark(worker, 0);
		}
		run_to(2);
		while !Popw::is_due(0, 0) || attest(0, 0).is_err() {
			run_to(System::block_number() + 1);
		}
		for worker in 1..count {
			attest(worker, 0).unwrap();
		}
		test();
	});
}

fn mark(worker: u32, round: u32) {
	let forced = Forced {
		round,
		verify_only: true,
	};
	add_worker(worker, WorkerState::Pending, Some(forced));
}

fn commit_batch(
	operator: u32,
	round: u32,
	batch: u16,
	votes: &Votes,
) -> sp_runtime::DispatchResult {
	let hash = hash_of(operator, round, batch, votes, [batch as u8; 32]);
	let origin = RuntimeOrigin::signed(operator_account(operator));
	Popw::commit(origin, operator, round, batch, hash, None)
}

/// Reveals a batch; returns how many votes counted and how many were skipped.
fn reveal_batch(operator: u32, round: u32, batch: u16, votes: &Votes) -> (u32, u32) {
	let origin = RuntimeOrigin::signed(operator_account(operator));
	let salt = [batch as u8; 32];
	Popw::reveal(origin, operator, round, batch, votes.clone(), salt, None).unwrap();
	match System::events().pop().unwrap().event {
		RuntimeEvent::Popw(Event::Revealed {
			counted, skipped, ..
		}) => (counted, skipped),
		other => panic!("{other:?}"),
	}
}

fn all(workers: impl IntoIterator<Item = u32>, verdict: Verdict) -> Votes {
	let votes = workers.into_iter().map(|worker| (worker, verdict));
	votes.collect::<Vec<_>>().try_into().unwrap()
}

fn vote_of(worker: u32, operator: u32) -> Option<Verdict> {
	let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(worker) else {
		panic!("no open check")
	};
	let seat = check
		.committee
		.iter()
		.find(|seat| seat.operator == operator);
	seat.unwrap().vote
}

#[test]
fn seats_are_numbered_in_the_order_of_attestations() {
	crowd(3, || {
		let (seats, _) = Popw::seats(1, 0, 0, 10);
		let numbers: Vec<_> = seats
			.iter()
			.map(|seat| (seat.worker, seat.number))
			.collect();
		assert_eq!(numbers, [(0, 0), (1, 1), (2, 2)]);
	});
}

#[test]
fn two_opinions_on_one_seat_have_no_room() {
	crowd(70, || {
		to_commit(0);
		// Seats 0 to 63 belong to batch 0, the other six to batch 1. Operator 0 commits to worker 0 in both.
		let up = all(0..64, good());
		let down = all([0, 65], Verdict::OFFLINE);
		assert_ok!(commit_batch(0, 0, 0, &up));
		assert_ok!(commit_batch(0, 0, 1, &down));
		assert_noop!(commit_batch(0, 0, 2, &down), Error::<Test>::BatchTooHigh);
		to_reveal(0);
		// It likes the second opinion better, and opens that one alone.
		assert_eq!(reveal_batch(0, 0, 1, &down), (1, 1));
		assert_eq!(vote_of(0, 0), None, "the vote in the other batch is skipped");
		assert_eq!(vote_of(65, 0), Some(Verdict::OFFLINE));
		// Nor does the first one pass a second time.
		assert_eq!(reveal_batch(0, 0, 0, &up), (64, 0));
		assert_eq!(vote_of(0, 0), Some(good()));
	});
}

#[test]
fn an_operator_with_one_seat_has_one_batch() {
	while_attesting(|| {
		let round = Popw::rounds()[0];
		while attest(0, round.index).is_err() {
			run_to(System::block_number() + 1);
		}
		to_commit(0);
		let votes = one(0, good());
		assert_ok!(commit_batch(0, 0, 0, &votes));
		assert_noop!(commit_batch(0, 0, 1, &votes), Error::<Test>::BatchTooHigh);
		// Whoever has no seat has no batch at all.
		add_operator(3, 10);
		assert_noop!(commit_batch(3, 0, 0, &votes), Error::<Test>::BatchTooHigh);
	});
}

#[test]
fn a_batch_without_a_vote_is_no_presence() {
	crowd(1, || {
		to_commit(0);
		let none = Votes::default();
		assert_ok!(commit_batch(0, 0, 0, &none));
		assert_ok!(commit_batch(1, 0, 0, &one(0, good())));
		to_reveal(0);
		assert_eq!(reveal_batch(0, 0, 0, &none), (0, 0));
		assert_eq!(reveal_batch(1, 0, 0, &one(0, good())), (1, 0));
		heard(|heard| assert_eq!(heard.revealed, [(1, 0)]));
	});
}

/// Has worker 0 attest in `round`, and operator 0 commit and keep its batch shut.
fn withhold(round: u32) {
	mark(0, round);
	while attest(0, round).is_err() {
		run_to(System::block_number() + 1);
	}
	to_commit(round);
	assert_ok!(commit_batch(0, round, 0, &one(0, good())));
	to_end(round);
	<Popw as Checks>::touch(0);
}

#[test]
fn withholding_costs_twice_as_much_each_time() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		mark(0, 0);
		run_to(2);
		let mut round = 0;
		for _ in 0..8 {
			withhold(round);
			round = NextRound::<Test>::get();
		}
		let told = |heard: &mut Heard| {
			let missed: Vec<_> = heard.unopened.iter().map(|(_, missed)| *missed).collect();
			assert!(heard.unopened.iter().all(|(operator, _)| *operator == 0));
			missed
		};
		// Each is told with the commitment after it. The withheld seats themselves are missed as well.
		heard(|heard| {
			assert_eq!(told(heard), [2, 4, 8, 16, 32, 64, 64]);
			let own = heard.credits.iter().filter(|credit| credit.0 == 0);
			assert!(own.into_iter().all(|credit| credit.2 == SeatResult::Missed));
		});
		// The count begins anew with the epoch; what is owed stays.
		CurrentEpoch::set(1);
		for _ in 0..2 {
			withhold(round);
			round = NextRound::<Test>::get();
		}
		heard(|heard| assert_eq!(told(heard)[7..], [64, 2]));
		assert_eq!(Commitments::<Test>::iter().count(), 0);
	});
}

#[test]
fn who_opens_everything_owes_nothing_and_nothing_is_kept() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		mark(0, 0);
		run_to(2);
		for _ in 0..3 {
			let index = Popw::rounds()
				.iter()
				.map(|round| round.index)
				.max()
				.unwrap();
			mark(0, index);
			while attest(0, index).is_err() {
				run_to(System::block_number() + 1);
			}
			to_commit(index);
			for operator in 0..3 {
				assert_ok!(commit(operator, index, &one(0, good())));
			}
			to_reveal(index);
			for operator in 0..3 {
				assert_ok!(reveal(operator, index, &one(0, good())));
			}
			assert!(matches!(last_outcome(), Outcome::Online { .. }));
			to_end(index);
		}
		run_to(System::block_number() + 50);
		heard(|heard| assert!(heard.unopened.is_empty()));
		assert_eq!(CountersOf::<Test>::iter().count(), 0);
		assert_eq!(Withheld::<Test>::iter().count(), 0);
	});
}

#[test]
fn a_crash_in_a_large_round_is_counted_by_batches_and_swept_in_steps() {
	crowd(200, || {
		to_commit(0);
		// Four batches each; operator 0 opens one, operator 1 all, operator 2 none.
		for operator in 0..3 {
			for batch in 0..4u16 {
				let from = u32::from(batch) * 64;
				let votes = all(from..(from + 64).min(200), good());
				assert_ok!(commit_batch(operator, 0, batch, &votes));
			}
		}
		to_reveal(0);
		reveal_batch(0, 0, 2, &all(128..192, good()));
		for batch in 0..4u16 {
			let from = u32::from(batch) * 64;
			reveal_batch(1, 0, batch, &all(from..(from + 64).min(200), good()));
		}
		to_end(0);
		run_to(System::block_number() + 5);
		assert_eq!(Commitments::<Test>::iter().count(), 0);
		assert_eq!(CountersOf::<Test>::iter_prefix(0).count(), 0);
		let missed = |operator| Withheld::<Test>::get(operator).map(|kept| kept.missed);
		assert_eq!(missed(0), Some(2 + 4 + 8));
		assert_eq!(missed(1), None);
		assert_eq!(missed(2), Some(2 + 4 + 8 + 16));
		Popw::finalize(
			RuntimeOrigin::signed(1),
			(0..64).collect::<Vec<_>>().try_into().unwrap(),
		)
		.unwrap();
	});
}

#[test]
fn nothing_that_can_be_opened_is_overwritten() {
	crowd(1, || {
		to_commit(0);
		let votes = one(0, good());
		assert_ok!(commit_batch(0, 0, 0, &votes));
		// A later round of the lane that is in its commit phase too early, as after a change of phases.
		let later = Round {
			index: 4,
			..Rounds::<Test>::get(0).unwrap()
		};
		frame_support::hypothetically!({
			Rounds::<Test>::insert(4, later);
			CountersOf::<Test>::insert(4, 0, CountersOf::<Test>::get(0, 0));
			assert_noop!(
				commit_batch(0, 4, 0, &votes),
				Error::<Test>::AlreadyCommitted
			);
		});
		to_reveal(0);
		assert_eq!(reveal_batch(0, 0, 0, &votes), (1, 0));
	});
}
