//! Tests of `reveal` and `finalize`: votes, and the closing of checks.

use super::while_attesting;
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Forced, Outcome, SeatResult, Verdict, Votes, WorkerState};
use sp_runtime::DispatchError;

/// Has worker 0 attest and all operators commit to `votes`, and runs to the first block of the reveal part.
fn committed(votes: [&Votes; 3]) {
	attest(0, 0).unwrap();
	run_to(12);
	for (operator, votes) in votes.into_iter().enumerate() {
		commit(operator as u32, 0, votes).unwrap();
	}
	run_to(22);
}

#[test]
fn the_last_vote_closes_the_check() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		assert_ok!(reveal(0, 0, &votes));
		assert_ok!(reveal(1, 0, &votes));
		assert!(is_open(0));
		assert_ok!(reveal(2, 0, &votes));
		assert!(!is_open(0));
		assert!(matches!(last_outcome(), Outcome::Online { .. }));
		assert_eq!(
			LastChecks::<Test>::get(0),
			Some(LastCheck::Closed {
				round: 0,
				at: 22,
				remeasure: false
			})
		);
		heard(|heard| {
			assert!(
				heard.proved.is_empty(),
				"a check that only verifies proves no time"
			);
			assert_eq!(heard.seats.len(), 3);
			assert!(heard.seats.iter().all(|(_, correct)| *correct));
			assert_eq!(heard.revealed, [(0, 0), (1, 0), (2, 0)]);
			assert_eq!(heard.workers[&0].standings.now.value, WorkerState::Online);
		});
		System::assert_has_event(
			Event::Revealed {
				operator: 2,
				round: 0,
				batch: 0,
				counted: 1,
				skipped: 0,
			}
			.into(),
		);
		assert!(
			Commitments::<Test>::iter().next().is_none(),
			"opened commitments are used up"
		);
	});
}

#[test]
fn fails_with_anothers_commitment() {
	while_attesting(|| {
		let votes = one(0, good());
		attest(0, 0).unwrap();
		run_to(12);
		commit(0, 0, &votes).unwrap();
		// Operator 1 copies operator 0's hash, and later its votes and salt.
		let stolen = Commitments::<Test>::get((0, Lane::SpotA, 0)).unwrap().hash;
		let copier = RuntimeOrigin::signed(operator_account(1));
		assert_ok!(Popw::commit(copier.clone(), 1, 0, 0, stolen, None));
		run_to(22);
		assert_noop!(
			Popw::reveal(copier, 1, 0, 0, votes, [0; 32], None),
			Error::<Test>::CommitmentMismatch
		);
	});
}

#[test]
fn fails_with_a_changed_vote_or_salt() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		assert_noop!(
			reveal(0, 0, &one(0, Verdict::OFFLINE)),
			Error::<Test>::CommitmentMismatch
		);
		let origin = RuntimeOrigin::signed(operator_account(0));
		assert_noop!(
			Popw::reveal(origin, 0, 0, 0, votes, [9; 32], None),
			Error::<Test>::CommitmentMismatch
		);
	});
}

#[test]
fn fails_too_early_too_late_and_twice() {
	while_attesting(|| {
		let votes = one(0, good());
		attest(0, 0).unwrap();
		run_to(12);
		commit(0, 0, &votes).unwrap();
		run_to(21);
		assert_noop!(reveal(0, 0, &votes), Error::<Test>::WrongPhase);
		run_to(31);
		assert_ok!(reveal(0, 0, &votes));
		assert_noop!(reveal(0, 0, &votes), Error::<Test>::NoCommitment);
		run_to(32);
		assert_noop!(reveal(0, 0, &votes), Error::<Test>::WrongPhase);
		assert_noop!(reveal(0, 100, &votes), Error::<Test>::UnknownRound);
	});
}

#[test]
fn fails_without_a_commitment_of_this_round() {
	while_attesting(|| {
		let votes = one(0, good());
		attest(0, 0).unwrap();
		run_to(12);
		commit(0, 0, &votes).unwrap();
		// The same lane, two rounds later.
		run_to(42);
		assert_noop!(reveal(0, 4, &votes), Error::<Test>::NoCommitment);
		assert_noop!(reveal(1, 4, &votes), Error::<Test>::NoCommitment);
	});
}

#[test]
fn fails_for_others_than_the_operator() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		let by =
			|origin, operator| Popw::reveal(origin, operator, 0, 0, votes.clone(), [0; 32], None);
		let other = RuntimeOrigin::signed(operator_account(1));
		assert_noop!(by(other, 0), Error::<Test>::NotOperator);
		assert_noop!(by(RuntimeOrigin::none(), 0), DispatchError::BadOrigin);
		let unknown = by(RuntimeOrigin::signed(5), 55);
		assert_noop!(unknown, Error::<Test>::UnknownOperator);
		let signature = Some(sp_core::sr25519::Signature::from_raw([0; 64]));
		let own = RuntimeOrigin::signed(operator_account(0));
		assert_noop!(
			Popw::reveal(own, 0, 0, 0, votes.clone(), [0; 32], signature),
			Error::<Test>::SignatureNotExpected
		);
	});
}

#[test]
fn bad_votes_are_skipped_and_counted_and_the_good_ones_stand() {
	while_attesting(|| {
		// Not due, unknown, due but not attested, and the same seat twice.
		add_worker(1, WorkerState::Online, None);
		add_worker(
			2,
			WorkerState::Pending,
			Some(Forced {
				round: 0,
				verify_only: true,
			}),
		);
		let votes: Votes = vec![
			(1, good()),
			(999, good()),
			(2, good()),
			(0, good()),
			(0, Verdict::OFFLINE),
		]
		.try_into()
		.unwrap();
		committed([&votes, &votes, &votes]);
		assert_ok!(reveal(0, 0, &votes));
		System::assert_last_event(
			Event::Revealed {
				operator: 0,
				round: 0,
				batch: 0,
				counted: 1,
				skipped: 4,
			}
			.into(),
		);
		let Some(LastCheck::Open(check)) = LastChecks::<Test>::get(0) else {
			panic!()
		};
		let seat = check
			.committee
			.iter()
			.find(|seat| seat.operator == 0)
			.unwrap();
		assert_eq!(seat.vote, Some(good()), "the first one counts");
	});
}

#[test]
fn a_vote_without_a_seat_is_skipped() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		// It has a seat only for another worker: the committee of this one was full.
		add_operator(3, 10);
		Popw::take_number(3, 0);
		let votes = one(0, good());
		run_to(12);
		commit(3, 0, &votes).unwrap();
		run_to(22);
		assert_ok!(reveal(3, 0, &votes));
		System::assert_last_event(
			Event::Revealed {
				operator: 3,
				round: 0,
				batch: 0,
				counted: 0,
				skipped: 1,
			}
			.into(),
		);
	});
}

#[test]
fn a_reveal_gives_back_the_weight_of_what_it_did_not_close() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		let by = |operator: u32| {
			let origin = RuntimeOrigin::signed(operator_account(operator));
			Popw::reveal(
				origin,
				operator,
				0,
				0,
				votes.clone(),
				[operator as u8; 32],
				None,
			)
			.unwrap()
			.actual_weight
			.unwrap()
		};
		let first = by(0);
		by(1);
		let last = by(2);
		assert_eq!(first, <() as WeightInfo>::reveal(1, 0, 0));
		assert_eq!(last, <() as WeightInfo>::reveal(1, 0, 1));
	});
}

#[test]
fn offline_by_majority() {
	while_attesting(|| {
		assert_eq!(Popw::committee(0, 0), [(1, 2), (0, 1), (2, 1)]);
		let (up, down) = (one(0, good()), one(0, Verdict::OFFLINE));
		committed([&up, &down, &down]);
		for (operator, votes) in [(0, &up), (1, &down), (2, &down)] {
			assert_ok!(reveal(operator, 0, votes));
		}
		assert_eq!(last_outcome(), Outcome::Offline);
		heard(|heard| {
			let mut credits = heard.credits.clone();
			credits.sort_by_key(|credit| credit.0);
			assert_eq!(
				credits,
				[
					// The lone vote "online" of a full tally, by a checker that did not check.
					(0, 0, 1, SeatResult::Dissenting, true),
					(1, 0, 2, SeatResult::Correct, false),
					(2, 0, 1, SeatResult::Correct, false),
				]
			);
			// Three of four are not more than three quarters.
			assert!(!heard.closed[0].1.slashes);
		});
	});
}

#[test]
fn half_of_the_weight_decides_nothing_whatever_the_number_of_operators() {
	while_attesting(|| {
		let (up, down) = (one(0, good()), one(0, Verdict::OFFLINE));
		committed([&down, &up, &down]);
		for (operator, votes) in [(0, &down), (1, &up), (2, &down)] {
			assert_ok!(reveal(operator, 0, votes));
		}
		// Two operators of weight 1 against one of weight 2.
		assert_eq!(last_outcome(), Outcome::NoConsensus);
		heard(|heard| assert!(heard.credits.is_empty() && heard.seats.is_empty()));
	});
}

#[test]
fn majority_is_of_the_size_and_not_of_the_votes() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		assert_ok!(reveal(0, 0, &votes));
		run_to(32);
		assert_ok!(Popw::finalize(
			RuntimeOrigin::signed(1),
			vec![0].try_into().unwrap()
		));
		assert_eq!(last_outcome(), Outcome::NoConsensus);
		heard(|heard| {
			assert!(heard.seats.is_empty(), "nobody is paid or punished");
			assert_eq!(heard.credits.len(), 2, "who revealed nothing is noted");
			assert!(
				heard
					.credits
					.iter()
					.all(|credit| credit.3 == SeatResult::Missed)
			);
			let forced = heard.workers[&0].forced;
			assert_eq!(
				forced,
				Some(Forced {
					round: 8,
					verify_only: true
				}),
				"due again"
			);
		});
	});
}

#[test]
fn a_majority_of_the_weight_suffices() {
	while_attesting(|| {
		let votes = one(0, good());
		committed([&votes, &votes, &votes]);
		assert_ok!(reveal(1, 0, &votes));
		assert_ok!(reveal(2, 0, &votes));
		run_to(32);
		assert_ok!(Popw::finalize(
			RuntimeOrigin::signed(1),
			vec![0].try_into().unwrap()
		));
		assert!(matches!(
			last_outcome(),
			Outcome::Online {
				profile: Some(_),
				..
			}
		));
		heard(|heard| {
			let missed = heard.credits.iter().find(|credit| credit.0 == 0).unwrap();
			assert_eq!((missed.2, missed.3), (1, SeatResult::Missed));
			assert!(heard.seats.contains(&(0, false)) && heard.seats.contains(&(1, true)));
		});
	});
}

#[test]
fn finalize_closes_only_what_is_over_and_only_once() {
	while_attesting(|| {
		attest(0, 0).unwrap();
		let of = |workers: Vec<u32>| {
			Popw::finalize(RuntimeOrigin::signed(1), workers.try_into().unwrap())
		};
		run_to(31);
		assert_noop!(of(vec![0]), Error::<Test>::NothingToFinalize);
		assert_noop!(of(vec![]), Error::<Test>::NothingToFinalize);
		run_to(32);
		let done = of(vec![7, 0, 0]).unwrap();
		// Reading each of the skipped workers is paid for, too.
		let looks = <() as WeightInfo>::authorize_finalize(1).saturating_mul(2);
		let weight = <() as WeightInfo>::finalize(0, 1).saturating_add(looks);
		assert_eq!(done.actual_weight, Some(weight));
		System::assert_last_event(
			Event::CheckClosed {
				worker: 0,
				round: 0,
				outcome: Outcome::NoConsensus,
				votes: 0,
			}
			.into(),
		);
		assert_noop!(of(vec![0]), Error::<Test>::NothingToFinalize);
		let unsigned = Popw::finalize(RuntimeOrigin::none(), vec![0].try_into().unwrap());
		assert_noop!(unsigned, DispatchError::BadOrigin);
	});
}

#[test]
fn seats_are_listed_page_by_page() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		let workers = 600;
		for worker in 0..workers {
			add_worker(
				worker,
				WorkerState::Pending,
				Some(Forced {
					round: 0,
					verify_only: true,
				}),
			);
		}
		run_to(2);
		for worker in 0..workers {
			attest(worker, 0).unwrap();
		}
		let mut found = Vec::new();
		let mut cursor = Some(0);
		while let Some(from) = cursor {
			let (seats, next) = Popw::seats(1, 0, from, 250);
			found.extend(seats.into_iter().map(|seat| seat.worker));
			cursor = next;
		}
		assert_eq!(found, (0..workers).collect::<Vec<_>>());
		assert_eq!(Attested::<Test>::iter_prefix(0).count(), 3);
		assert_eq!(Popw::seats(1, 0, 10_000, 10), (vec![], None));
		// One page is removed at a time once the round is over.
		run_to(60);
		assert_eq!(
			(
				Attested::<Test>::iter().count(),
				AttestedCount::<Test>::get(0)
			),
			(0, 0)
		);
		assert_eq!(Popw::seats(9, 0, 0, 10).0, vec![]);
	});
}
