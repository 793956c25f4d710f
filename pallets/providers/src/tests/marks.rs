//! Marks: workers due in an extra check, and workers that cannot be rented before it.

use super::*;

fn mark(round: RoundIndex, verify_only: bool) -> Option<Forced> {
	Some(Forced { round, verify_only })
}

fn listed() -> u32 {
	Providers::idle_workers(11, 1, None)
}

#[test]
fn a_verification_without_consensus_is_due_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		for _ in 0..3 {
			Popw::spot_check(worker, Outcome::NoConsensus);
			assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		}
		let after = record(worker);
		assert_eq!(
			(after.state(), after.failures, after.history),
			(WorkerState::Pending, 0, History::default())
		);
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(state(worker), WorkerState::Online);
	});
}

#[test]
fn a_census_without_consensus_buys_no_check_of_its_own() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		run_to(Providers::now() + 1_200);
		let proved = Popw::census(worker, Outcome::NoConsensus);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(record(worker).forced, None);
		assert_eq!(listed(), 1);
		// The next census pays for one interval, not for two.
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, INTERVAL);
	});
}

#[test]
fn two_censuses_in_a_row_without_consensus_mark_an_idle_worker() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::census(worker, Outcome::NoConsensus);
		// A census that found it online ends the run.
		Popw::census(worker, UNDECIDED);
		Popw::census(worker, Outcome::NoConsensus);
		assert_eq!(record(worker).forced, None);
		Popw::census(worker, Outcome::NoConsensus);
		assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		assert_eq!(listed(), 0);
		// The check proves no time, and renews the mark as long as it decides nothing.
		for outcome in [Outcome::NoConsensus, UNDECIDED] {
			let proved = Popw::spot_check(worker, outcome);
			assert_eq!((proved.idle, proved.rented), (0, 0));
			assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
			assert_eq!(listed(), 0);
		}
		assert_eq!(Popw::spot_check(worker, online(PROFILE)).idle, 0);
		assert_eq!(record(worker).forced, None);
		assert_eq!(listed(), 1);
	});
}

#[test]
fn no_consensus_does_not_mark_who_has_left() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::close(worker, Outcome::NoConsensus);
		assert_eq!(record(worker).forced, None);
		assert_eq!(state(worker), WorkerState::Offline);
	});
}

#[test]
fn no_consensus_while_rented_is_looked_at_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		run_to(Providers::now() + 100);
		assert_ok!(<Popw as Checks>::force(worker));
		assert_eq!(record(worker).forced, mark(Popw::next_round(), false));
		Popw::spot_check(worker, Outcome::NoConsensus);
		assert_eq!(record(worker).forced, mark(Popw::next_round(), false));
		// The time stays pending.
		let since = record(worker).time.since.unwrap();
		let proved = Popw::spot_check(worker, UNDECIDED);
		assert_eq!(
			proved.rented,
			Popw::start_of(Popw::next_round() - 2) - since
		);
		assert_eq!(record(worker).forced, None);
	});
}

#[test]
fn no_consensus_of_a_marked_check_outlasts_a_rental() {
	for outcome in [Outcome::NoConsensus, UNDECIDED] {
		ExtBuilder.build_and_execute(|| {
			let worker = register_online(ALICE, 1);
			Popw::census(worker, Outcome::NoConsensus);
			Popw::census(worker, Outcome::NoConsensus);
			let round = Popw::start_round(false);
			assert!(Popw::attest(worker, round), "marked by two in a row");
			rent(worker);
			Popw::close(worker, outcome);
			assert_eq!(record(worker).forced, None, "its customer has it");
			run_to(Providers::now() + 100);
			// The order is canceled before it is deployed.
			assert_ok!(<Providers as Market>::free(worker, false));
			assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		});
	}
}

#[test]
fn no_order_comes_between_an_order_and_its_full_check() {
	ExtBuilder.build_and_execute(|| {
		// The GPU was moved to another machine after the verification, and the owner rents its worker
		// without a gap.
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		free(worker);
		assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		let rent_again = || <Providers as Market>::rent(worker, 6);
		let out = || {
			assert_eq!(listed(), 0);
			assert_eq!(<Providers as Market>::candidate(worker), None);
			assert_noop!(rent_again(), Error::<Test>::AlreadyDue);
			assert_ok!(<Providers as Market>::review(worker));
			assert_eq!(listed(), 0);
		};
		out();
		// Not while the check is open, nor after a check that decides nothing.
		for outcome in [Outcome::NoConsensus, UNDECIDED] {
			let round = Popw::start_round(false);
			assert!(Popw::attest(worker, round));
			assert_eq!(record(worker).forced, None);
			out();
			Popw::close(worker, outcome);
			out();
		}
		// Nor by a census that is not full, nor by a false proof.
		let round = Popw::start_round(true);
		assert!(Popw::attest(worker, round + 1));
		Popw::close_as(worker, online(PROFILE), None, |closing| {
			closing.full = false;
		});
		out();
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		Popw::close_with(worker, online(PROFILE), true);
		out();
		// Nor by a check that finds the remaining hardware.
		Popw::spot_check(worker, online(POOR));
		assert_eq!(Providers::idle_workers(0, 1, None), 0);
		assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		out();
		// The second such check ends it.
		Popw::spot_check(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Pending);
		assert_noop!(rent_again(), Error::<Test>::WrongState);
	});
}

#[test]
fn a_full_check_that_supports_the_claim_lists_it_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		free(worker);
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(listed(), 1);
		rent(worker);
	});
}

#[test]
fn a_full_check_in_a_census_uses_a_mark_up() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		free(worker);
		// The census of the same block replaces the spot round.
		let round = Popw::start_round(true);
		assert_eq!(Popw::due(worker, round), None);
		assert_eq!(Popw::due(worker, round + 1), Some(true));
		assert!(Popw::attest(worker, round + 1));
		assert_eq!(Popw::close(worker, online(PROFILE)).idle, INTERVAL);
		assert_eq!(record(worker).forced, None);
		assert_eq!(listed(), 1);
	});
}

#[test]
fn a_census_that_decides_nothing_leaves_the_mark_for_the_next_round() {
	for outcome in [Outcome::NoConsensus, UNDECIDED] {
		ExtBuilder.build_and_execute(|| {
			// One worker back from an order, and one that two censuses could not decide.
			let (back, doubtful) = (register_online(ALICE, 1), register_online(BOB, 2));
			rent(back);
			for _ in 0..2 {
				Popw::census(doubtful, Outcome::NoConsensus);
			}
			free(back);
			let round = Popw::next_round();
			assert_eq!(record(back).forced, mark(round, true));
			assert_eq!(record(doubtful).forced, mark(round, true));
			Popw::start_round(true);
			for worker in [back, doubtful] {
				assert!(Popw::attest(worker, round + 1));
				Popw::close(worker, outcome);
				assert_eq!(record(worker).forced, mark(round + 2, true));
			}
			assert_eq!(listed(), 0);
			Popw::start_round(false);
			for worker in [back, doubtful] {
				assert!(Popw::attest(worker, round + 2));
				Popw::close(worker, online(PROFILE));
			}
			assert_eq!(listed(), 2);
		});
	}
}

#[test]
fn a_census_from_before_the_order_does_not_prove_what_it_left() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_long_census(400);
		assert!(Popw::attest(worker, census));
		// An hour's order fits into a long census.
		rent(worker);
		run_to(Providers::now() + 300);
		free(worker);
		Popw::close_as(worker, online(PROFILE), None, |closing| closing.full = true);
		assert!(record(worker).unproved);
		assert_eq!(listed(), 0);
		Popw::pass();
		assert_noop!(
			<Providers as Market>::rent(worker, 6),
			Error::<Test>::AlreadyDue
		);
	});
}

#[test]
fn a_check_of_the_rented_worker_leaves_the_mark_after_its_order() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert_eq!(Popw::due(worker, round), Some(false));
		// The order ends before the worker attests. The round sees the worker as it was at the start.
		free(worker);
		assert_eq!(record(worker).forced, mark(round, false));
		assert!(Popw::attest(worker, round));
		Popw::close(worker, UNDECIDED);
		assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		assert_eq!(listed(), 0);
	});
}

#[test]
fn an_order_that_was_never_deployed_leaves_no_mark() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		assert_ok!(<Popw as Checks>::force(worker));
		assert_ok!(<Providers as Market>::free(worker, false));
		assert_eq!(record(worker).forced, None);
		assert_eq!(listed(), 1);
	});
}

#[test]
fn leaving_and_coming_back_is_no_way_round_the_check() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		free(worker);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		assert_eq!(record(worker).forced, None);
		Popw::pass();
		assert_ok!(Providers::go_online(signed(ALICE), worker));
		assert_eq!(state(worker), WorkerState::Pending);
		Popw::spot_check(worker, online(POOR));
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn a_mark_whose_round_passed_is_made_anew() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		free(worker);
		// It did not attest, and was not reported.
		Popw::pass();
		Popw::pass();
		assert_eq!(listed(), 0);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		Popw::close_as(worker, online(PROFILE), None, |closing| {
			closing.full = false
		});
		assert_eq!(record(worker).forced, mark(Popw::next_round(), true));
		Popw::spot_check(worker, online(PROFILE));
		assert_eq!(listed(), 1);
	});
}

#[test]
fn a_mark_is_postponed_as_it_is() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let postpone = <Providers as CheckedWorkers<AccountId>>::postpone;
		rent(worker);
		assert_ok!(<Popw as Checks>::force(worker));
		let mark = record(worker).forced.unwrap();
		assert_ok!(postpone(worker, mark.round + 2, mark.round + 4));
		assert_eq!(record(worker).forced, Some(mark));
		events();
		assert_ok!(postpone(worker, mark.round, mark.round + 4));
		let later = Forced {
			round: mark.round + 4,
			..mark
		};
		assert_eq!(record(worker).forced, Some(later));
		assert_eq!(
			events(),
			vec![Event::WorkerForced {
				worker,
				round: later.round,
				verify_only: false
			}]
		);
		assert_noop!(postpone(9, 0, 2), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn forcing_keeps_a_mark_that_is_still_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		Popw::pass();
		let force = <Providers as CheckedWorkers<AccountId>>::force;
		let first = Popw::next_round();
		assert_ok!(force(worker, first));
		Popw::start_round(false);
		assert_ok!(force(worker, first + 2));
		assert_eq!(record(worker).forced.unwrap().round, first);
		// It was never checked, and the round is over.
		Popw::pass();
		let later = Popw::next_round();
		assert_ok!(force(worker, later));
		assert_eq!(record(worker).forced.unwrap().round, later);
		assert_noop!(force(worker + 1, later), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn only_a_rented_worker_is_marked_for_a_check_that_proves_time() {
	ExtBuilder.build_and_execute(|| {
		let pending = register(ALICE, 1);
		Popw::spot_check(pending, online(POOR));
		let idle = register_online(ALICE, 2);
		for worker in [pending, idle] {
			assert_ok!(<Popw as Checks>::force(worker));
			assert!(record(worker).forced.unwrap().verify_only);
		}
	});
}

#[test]
fn forcing_leaves_out_who_is_away() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		for state in [WorkerState::Offline, WorkerState::Suspended] {
			put_into(worker, state);
			assert_ok!(<Popw as Checks>::force(worker));
			assert_eq!(record(worker).forced, None);
		}
	});
}

#[test]
fn a_mark_does_not_follow_a_worker_that_has_left() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(<Popw as Checks>::force(worker));
		let mark = record(worker).forced.unwrap();
		assert_eq!(Popw::start_round(false), mark.round);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		assert_eq!(record(worker).forced, Some(mark));
		// An open check kept it out of the round, so Popw would postpone the mark: the worker would be
		// reported absent for having left, and could not come back before.
		let postpone = <Providers as CheckedWorkers<AccountId>>::postpone;
		assert_ok!(postpone(worker, mark.round, mark.round + 4));
		assert_eq!(record(worker).forced, None);
	});
}
