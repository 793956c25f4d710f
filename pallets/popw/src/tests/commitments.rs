//! Tests that commitments bind: one opinion for each seat, and a price for unopened ones.

use super::{add_marked, attest_soon, attested, to_commit, to_end, to_reveal};
use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use kaisar_primitives::{Checks, Outcome, SeatResult, Verdict, Votes, WorkerState};

fn commit_batch(
	operator: u32,
	round: u32,
	batch: u16,
	votes: &Votes,
) -> sp_runtime::DispatchResult {
	let hash = hash_of(operator, round, batch, votes, [batch as u8; 32]);
	let origin = RuntimeOrigin::signed(operator_account(operator));
	Popw::commit(origin, operator, round, batch, hash, None)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Reveals a batch. Returns the numbers of votes counted and skipped.
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
	attested(3, || {
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
	attested(70, || {
		to_commit(0);
		// Seats 0 to 63 belong to batch 0, the other six to batch 1. Operator 0 commits to worker 0 in both.
		let up = all(0..64, good());
		let down = all([0, 65], Verdict::OFFLINE);
		assert_ok!(commit_batch(0, 0, 0, &up));
		assert_ok!(commit_batch(0, 0, 1, &down));
		assert_noop!(commit_batch(0, 0, 2, &down), Error::<Test>::BatchTooHigh);
		to_reveal(0);
		// It prefers the second opinion, and opens only that one.
		assert_eq!(reveal_batch(0, 0, 1, &down), (1, 1));
		assert_eq!(
			vote_of(0, 0),
			None,
			"the vote in the other batch is skipped"
		);
		assert_eq!(vote_of(65, 0), Some(Verdict::OFFLINE));
		// Nor does the first one count a second time.
		assert_eq!(reveal_batch(0, 0, 0, &up), (64, 0));
		assert_eq!(vote_of(0, 0), Some(good()));
	});
}

#[test]
fn an_operator_with_one_seat_has_one_batch() {
	attested(1, || {
		to_commit(0);
		let votes = one(0, good());
		assert_ok!(commit_batch(0, 0, 0, &votes));
		assert_noop!(commit_batch(0, 0, 1, &votes), Error::<Test>::BatchTooHigh);
		// An operator without a seat has no batch.
		add_operator(3, 10);
		assert_noop!(commit_batch(3, 0, 0, &votes), Error::<Test>::BatchTooHigh);
	});
}

#[test]
fn a_batch_without_a_vote_is_no_presence() {
	attested(1, || {
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

/// Has worker 0 attest in `round`, and operator 0 commit and not open its batch.
fn withhold(round: u32) {
	add_marked(0, round);
	attest_soon(0, round);
	to_commit(round);
	assert_ok!(commit_batch(0, round, 0, &one(0, good())));
	to_end(round);
	<Popw as Checks>::touch(0);
}

/// Returns the missed seats reported for an operator's unopened commitments.
fn unopened_of(operator: u32) -> Vec<u32> {
	heard(|heard| {
		let own = heard.unopened.iter().filter(|missed| missed.0 == operator);
		own.map(|missed| missed.1).collect()
	})
}

#[test]
fn withholding_costs_twice_as_much_each_time() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_marked(0, 0);
		run_to(2);
		let mut round = 0;
		for _ in 0..8 {
			withhold(round);
			round = NextRound::<Test>::get();
		}
		// Each is reported as soon as its round is swept. The withheld seats themselves are missed as well.
		assert_eq!(unopened_of(0), [2, 4, 8, 16, 32, 64, 64, 64]);
		heard(|heard| {
			let own = heard.credits.iter().filter(|credit| credit.0 == 0);
			assert!(own.into_iter().all(|credit| credit.3 == SeatResult::Missed));
		});
		// The count begins anew with the epoch.
		CurrentEpoch::set(1);
		for _ in 0..2 {
			withhold(round);
			round = NextRound::<Test>::get();
		}
		assert_eq!(unopened_of(0)[8..], [2, 4]);
		assert_eq!(Commitments::<Test>::iter().count(), 0);
	});
}

#[test]
fn a_new_registration_leaves_the_price_with_the_old_one() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_marked(0, 0);
		run_to(2);
		let mut round = 0;
		for _ in 0..3 {
			withhold(round);
			round = NextRound::<Test>::get();
		}
		add_marked(0, round);
		attest_soon(0, round);
		to_commit(round);
		assert_ok!(commit_batch(0, round, 0, &one(0, good())));
		// It leaves while its commitment is unopened, comes back with another number, and commits with that
		// one.
		to_reveal(round);
		let info = heard(|heard| heard.operators.remove(&0).unwrap());
		to_end(round);
		<Popw as Checks>::touch(0);
		add_operator(3, 0);
		heard(|heard| {
			heard.operators.insert(3, info);
			for operator in heard.licenses.values_mut() {
				*operator = if *operator == 0 { 3 } else { *operator };
			}
		});
		assert_eq!(
			unopened_of(0),
			[2, 4, 8, 16],
			"the old one pays for all of them"
		);
		let round = NextRound::<Test>::get();
		add_marked(0, round);
		attest_soon(0, round);
		to_commit(round);
		let by_new = RuntimeOrigin::signed(operator_account(0));
		assert_ok!(Popw::commit(by_new, 3, round, 0, Default::default(), None));
		to_end(round);
		assert_eq!((unopened_of(0).len(), unopened_of(3)), (4, vec![2]));
	});
}

#[test]
fn overwriting_a_commitment_tells_at_once_and_is_paid_for() {
	attested(1, || {
		to_commit(0);
		let slot = (0, Lane::SpotA, 0);
		let origin = || RuntimeOrigin::signed(operator_account(0));
		let hash = hash_of(0, 0, 0, &one(0, good()), [0; 32]);
		let free = Popw::commit(origin(), 0, 0, 0, hash, None).unwrap();
		to_end(0);
		assert_eq!(unopened_of(0), [2]);
		// The sweep is behind: it has not reached the next one.
		let old = Commitment { round: 0, hash };
		Commitments::<Test>::insert(slot, old);
		let round = NextRound::<Test>::get().next_multiple_of(4);
		add_marked(1, round);
		attest_soon(1, round);
		to_commit(round);
		let dear = Popw::commit(origin(), 0, round, 0, hash, None).unwrap();
		assert_eq!(unopened_of(0), [2, 4]);
		let weight = |info: frame_support::dispatch::PostDispatchInfo| info.actual_weight.unwrap();
		assert_eq!(weight(free), <() as WeightInfo>::commit(0));
		assert_eq!(weight(dear), <() as WeightInfo>::commit(1));
		<Popw as Checks>::touch(0);
	});
}

#[test]
fn who_opens_everything_owes_nothing_and_nothing_is_kept() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		add_marked(0, 0);
		run_to(2);
		for _ in 0..3 {
			let index = Popw::rounds()
				.iter()
				.map(|round| round.index)
				.max()
				.unwrap();
			add_marked(0, index);
			attest_soon(0, index);
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
	attested(200, || {
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
		assert_eq!(unopened_of(0), [2, 4, 8]);
		assert!(unopened_of(1).is_empty());
		assert_eq!(unopened_of(2), [2, 4, 8, 16]);
		Popw::finalize(
			RuntimeOrigin::signed(1),
			(0..64).collect::<Vec<_>>().try_into().unwrap(),
		)
		.unwrap();
	});
}

#[test]
fn nothing_that_can_be_opened_is_overwritten() {
	attested(1, || {
		to_commit(0);
		let votes = one(0, good());
		assert_ok!(commit_batch(0, 0, 0, &votes));
		// Later rounds are a tenth as long. Those of the same lane would reach their commit part before this
		// one is over.
		PhaseLength::set(1);
		let reveals = Rounds::<Test>::get(0).unwrap().commit_ends() + 1;
		while System::block_number() < reveals {
			run_to(System::block_number() + 1);
			for round in Popw::rounds() {
				let commits = round.phase(System::block_number()) == Phase::Commit;
				if commits && round.index > 0 {
					Popw::take_number(0, round.index);
					let _ = commit_batch(0, round.index, 0, &votes);
				}
			}
		}
		assert_eq!(reveal_batch(0, 0, 0, &votes), (1, 0));
	});
}

#[test]
fn a_census_and_the_spot_rounds_beside_it_have_lanes_of_their_own() {
	ExtBuilder::default().operators(3).build_and_execute(|| {
		CheckPeriod::set(1);
		MaxDue::set(1);
		for worker in 0..3 {
			add_worker(worker, WorkerState::Online, None);
		}
		// The census takes three times as long as a spot round.
		run_to(2);
		attest_soon(0, 1);
		to_commit(1);
		assert_ok!(commit_batch(0, 1, 0, &one(0, good())));
		let first = NextRound::<Test>::get() - 2;
		let (second, of_first, of_second) = (first + 2, one(10, good()), one(11, good()));
		add_marked(10, first);
		add_marked(11, second);
		attest_soon(10, first);
		to_commit(first);
		assert_ok!(commit_batch(0, first, 0, &of_first));
		attest_soon(11, second);
		to_commit(second);
		assert_ok!(commit_batch(0, second, 0, &of_second));
		assert_eq!(Commitments::<Test>::iter().count(), 3);
		// Each of them can be opened.
		assert_eq!(reveal_batch(0, first, 0, &of_first), (1, 0));
		to_reveal(second);
		assert_eq!(reveal_batch(0, second, 0, &of_second), (1, 0));
		to_reveal(1);
		assert_eq!(reveal_batch(0, 1, 0, &one(0, good())), (1, 0));
	});
}

#[test]
fn nothing_stays_of_an_operator_that_is_forgotten() {
	attested(130, || {
		to_commit(0);
		for batch in 0..3 {
			let from = u32::from(batch) * 64;
			let votes = all(from..(from + 64).min(130), good());
			assert_ok!(commit_batch(0, 0, batch, &votes));
		}
		to_end(0);
		for worker in 0..130 {
			<Popw as Checks>::touch(worker);
		}
		// The sweep reported the commitments that it removed; another one is in another lane.
		assert_eq!(unopened_of(0), [2, 4, 8]);
		assert_eq!(
			Withheld::<Test>::get(0),
			Some(WithheldBatches { epoch: 0, count: 3 })
		);
		let left = Commitment {
			round: 1,
			hash: Default::default(),
		};
		Commitments::<Test>::insert((0, Lane::Census, 0), left);
		assert_eq!(<Popw as Checks>::forget_operator(0, 1), 1);
		assert_eq!(<Popw as Checks>::forget_operator(0, 5), 1);
		assert_eq!(<Popw as Checks>::forget_operator(0, 5), 0);
		assert_eq!(Commitments::<Test>::iter().count(), 0);
		assert_eq!(Withheld::<Test>::iter().count(), 0);
	});
}
