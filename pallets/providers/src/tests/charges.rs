//! Findings: the charges that follow from checks and orders, each span of time charged once.

use super::{slashing::*, *};
use kaisar_math::stake::{MALICE_RATE, offline_rate, rate_over, slash_at};
use sp_runtime::Perquintill;

#[test]
fn found_offline_is_charged_for_the_time_since_the_last_proof() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let gap = found_offline(worker, 1_200);
		let amount = slash_at(offline_rate(gap), POOL);
		let exact = POOL / 10 * Balance::from(gap) / Balance::from(DAYS);
		assert!(amount <= exact && amount + KAI / 1_000_000 > exact);
		let due = Providers::now() + DEFERRAL;
		assert_eq!(
			queued(0),
			SlashView {
				worker,
				level: SlashLevel::One,
				rate: offline_rate(gap),
				amount,
				due,
				finder: None,
			}
		);
		assert_eq!(
			events().last(),
			Some(&Event::SlashQueued {
				slash: 0,
				worker,
				level: SlashLevel::One,
				added: amount,
				amount,
				due
			})
		);
		assert_eq!(
			record(worker).queued,
			QueuedSlashes {
				rates: offline_rate(gap).deconstruct().into(),
				offline: Some(0),
				malice: None
			}
		);
		// Nothing is taken yet.
		assert_eq!(pool(worker).total(), Ok(POOL));
	});
}

#[test]
fn boundary_of_ten_per_cent_a_check() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_eq!(found_offline(worker, DAYS), DAYS);
		assert_eq!(queued(0).amount, POOL / 10);
	});
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert!(found_offline(worker, 5 * DAYS) > DAYS);
		assert_eq!(queued(0).amount, POOL / 10);
	});
}

#[test]
fn only_who_was_online_or_rented_at_the_rounds_start_is_slashed() {
	ExtBuilder.build_and_execute(|| {
		// Pending: it was never confirmed as working.
		let pending = register(ALICE, 1);
		let round = Popw::start_round(false);
		Popw::start_round(false);
		assert!(Popw::absent(pending, round));
		assert_eq!(record(pending).queued, QueuedSlashes::default());
		// Back online, and not verified yet.
		let back = register_online(ALICE, 2);
		Popw::pass();
		assert_ok!(Providers::go_offline(signed(ALICE), back));
		Popw::pass();
		assert_ok!(Providers::go_online(signed(ALICE), back));
		Popw::spot_check(back, Outcome::Offline);
		assert_eq!(record(back).queued, QueuedSlashes::default());
		// Leaving counts from the next round.
		let leaving = register_online(ALICE, 3);
		Popw::pass();
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::go_offline(signed(ALICE), leaving));
		assert!(Popw::attest(leaving, census));
		Popw::close(leaving, Outcome::Offline);
		assert!(record(leaving).queued.is_pending());
		// A rented one, found by a spot round.
		let rented = register_online(ALICE, 4);
		Popw::pass();
		assert_ok!(<Providers as Market>::rent(rented, 7));
		assert_ok!(<Popw as Checks>::force(rented));
		Popw::spot_check(rented, Outcome::Offline);
		assert!(record(rented).queued.is_pending());
		// It lost its order.
		assert_eq!(
			(state(rented), record(rented).order),
			(WorkerState::Offline, None)
		);
	});
}

#[test]
fn a_false_proof_is_an_accident_once_and_malice_twice() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_false(worker, None);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		found_false(worker, Some(&DAVE));
		assert_eq!(queued(0).level, SlashLevel::Two);
		assert_eq!((queued(0).amount, queued(0).finder), (POOL / 2, Some(DAVE)));
		assert_eq!(record(worker).queued.malice, Some(0));
	});
}

/// The first false proof takes away the class. Level 2 must not depend on the remaining profile.
#[test]
fn a_row_goes_on_when_its_first_proof_took_the_gpus_away() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		for in_a_row in 1..=2 {
			let census = Popw::start_round(true) + 1;
			assert!(Popw::attest(worker, census));
			Popw::close_with(worker, online(POOR), true);
			let record = record(worker);
			assert_eq!(record.profile.map(|profile| profile.gpu_class), Some(0));
			let row = record.false_proofs.map(|row| row.in_a_row);
			assert_eq!(row, Some(in_a_row));
		}
		assert_eq!(queued(0).level, SlashLevel::Two);
		assert_eq!(queued(0).amount, POOL / 2);
	});
}

#[test]
fn a_good_proof_in_between_ends_the_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_false(worker, None);
		Popw::census(worker, online(PROFILE));
		assert_eq!(record(worker).false_proofs, None);
		found_false(worker, None);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		// A check without consensus decides nothing.
		Popw::census(worker, Outcome::NoConsensus);
		Popw::pass();
		found_false(worker, None);
		assert_eq!(queued(0).amount, POOL / 2);
	});
}

#[test]
fn malice_that_goes_on_is_charged_by_time_after_the_first_day() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let since = found_false(worker, None);
		found_false(worker, None);
		run_to(since + DAYS / 2);
		found_false(worker, None);
		assert_eq!(queued(0).amount, POOL / 2, "the first day was charged");
		run_to(since + DAYS + DAYS / 2 - PHASE);
		let at = found_false(worker, None);
		assert_eq!(at - since, DAYS + DAYS / 2);
		assert_eq!(queued(0).amount, POOL / 2 + POOL / 4);
		// Never more than the whole pool.
		run_to(queued(0).due - 2 * PHASE);
		let at = found_false(worker, None);
		let lasted = Balance::from(at - since);
		let exact = POOL / 2 * lasted / Balance::from(DAYS);
		assert!(exact - queued(0).amount < KAI / 1_000_000);
		run_to(queued(0).due + 10 * DAYS);
		found_false(worker, None);
		assert_eq!(record(worker).queued.most(), Perquintill::one());
		found_false(worker, None);
		assert_eq!(record(worker).queued.most(), Perquintill::one());
		assert_eq!(at_stake(worker), POOL);
	});
}

#[test]
fn a_false_proof_proves_no_time() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		let proved = Popw::close_with(worker, online(PROFILE), true);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(Providers::pending_time(worker), Some(0));
	});
}

#[test]
fn a_tenant_that_stops_listening_costs_its_provider_no_stake() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		assert_ok!(<Providers as Market>::rent(worker, 7));
		run_to(record(worker).proved_at.unwrap() + 1_440 - PHASE);
		assert_ok!(<Popw as Checks>::force(worker));
		let silent = Outcome::Online {
			profile: Some(PROFILE),
			service: false,
		};
		let proved = Popw::spot_check(worker, silent);
		assert_eq!(proved.rented, 0);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		// Closing the order is up to its customer.
		assert_eq!(state(worker), WorkerState::Rented);
	});
}

#[test]
fn topping_up_does_not_hide_from_a_check_that_is_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		by_hand(worker, SlashLevel::One);
		pass_deferral();
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::apply_slash(signed(ALICE), 0));
		Popw::start_round(false);
		assert_ok!(Providers::stake(signed(ALICE), worker, MINIMUM));
		assert_eq!(state(worker), WorkerState::Offline);
		assert!(Popw::absent(worker, census));
		assert!(record(worker).queued.is_pending());
	});
}

/// A machine fails, is matched, misses its deadline, and misses the check after that.
#[test]
fn a_missed_deployment_and_the_check_after_it_charge_the_time_once() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let proved = record(worker).proved_at.unwrap();
		run_to(proved + 1_200);
		assert_ok!(<Providers as Market>::rent(worker, 7));
		run_to(proved + 1_276);
		assert_ok!(<Providers as Market>::fault(worker));
		assert_eq!(queued(0).rate, offline_rate(1_276));
		assert_eq!(record(worker).charged_to, proved + 1_276);
		// Another fault in the same block has nothing left to charge.
		assert_ok!(<Providers as Market>::fault(worker));
		assert_eq!(queued(0).rate, offline_rate(1_276));
		assert_ok!(<Providers as Market>::free(worker, false));
		// The next check finds it, whichever that is.
		let census = Popw::start_round(true) + 1;
		Popw::start_round(false);
		assert!(Popw::absent(worker, census) || Popw::absent(worker, census - 1));
		let at = Popw::start_of(census);
		assert!(at > proved + 1_276);
		assert_eq!(record(worker).charged_to, at);
		let all = offline_rate(at - proved);
		assert!(queued(0).rate > offline_rate(1_276) && queued(0).rate <= all);
		assert!(all - queued(0).rate < Perquintill::from_parts(10));
	});
}

/// The second span is charged from the last block of the first, not from the last proof, even where one
/// finding charges its maximum of a day.
#[test]
fn a_long_absence_is_charged_once() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let proved = record(worker).proved_at.unwrap();
		assert_ok!(<Providers as Market>::rent(worker, 7));
		run_to(proved + 3 * DAYS);
		assert_ok!(<Providers as Market>::fault(worker));
		run_to(Providers::now() + 100);
		assert_ok!(<Providers as Market>::fault(worker));
		assert_eq!(queued(0).rate, percent(10) + offline_rate(100));
	});
}

#[test]
fn level_two_charges_by_difference_to_level_one() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let since = found_false(worker, None);
		// A missed deployment in between: level 1 from the last proof, before the run, to this block.
		assert_ok!(<Providers as Market>::rent(worker, 7));
		run_to(since + 1_000);
		assert_ok!(<Providers as Market>::fault(worker));
		let from = record(worker).proved_at.unwrap();
		assert!(from < since);
		assert_eq!(queued(0).rate, offline_rate(since + 1_000 - from));
		assert_ok!(<Providers as Market>::free(worker, false));
		Popw::pass();
		// The second false proof costs 50 %, less the 1,000 blocks of that day that level 1 charged.
		let check = found_false(worker, None);
		let malice = Providers::queued_slash(1).unwrap();
		assert_eq!(malice.rate, percent(50) - offline_rate(1_000));
		assert_eq!(record(worker).charged_to, since + DAYS);
		// Within that day level 1 charges nothing more.
		assert!(check < since + DAYS);
		let before = queued(0).rate;
		put_into(worker, WorkerState::Rented);
		assert_ok!(<Providers as Market>::fault(worker));
		assert_eq!(queued(0).rate, before);
		run_to(since + DAYS + 500);
		assert_ok!(<Providers as Market>::fault(worker));
		assert_eq!(queued(0).rate, before + offline_rate(500));
	});
}

/// A good proof between two runs does not have the same day charged twice.
#[test]
fn two_rows_within_a_day_charge_it_once() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		let first = found_false(worker, None);
		found_false(worker, None);
		assert_eq!(queued(0).rate, percent(50));
		Popw::census(worker, online(PROFILE));
		let second = found_false(worker, None);
		found_false(worker, None);
		// The second run's day ends later, by the time between the runs.
		let more = rate_over(MALICE_RATE, second - first);
		let [both, exact] = [queued(0).rate, percent(50) + more].map(|rate| rate.deconstruct());
		assert!(second > first && both.abs_diff(exact) <= 1);
	});
}

/// A check that too few found false, or in which too few voted, neither continues nor ends a run.
#[test]
fn too_few_votes_for_a_slash_neither_continue_nor_end_a_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		found_false(worker, None);
		// Three of five: it proves no time, and counts for nothing.
		for in_a_row in [1, 1] {
			events();
			let census = Popw::start_round(true) + 1;
			assert!(Popw::attest(worker, census));
			let proved = Popw::close_weakly(worker, online(PROFILE), true);
			assert_eq!((proved.idle, proved.rented), (0, 0));
			assert!(events().contains(&Event::FalseProofFound {
				worker,
				round: census,
				in_a_row
			}));
			assert_eq!(record(worker).queued, QueuedSlashes::default());
		}
		// The next check that counts is the second in the run.
		found_false(worker, None);
		assert_eq!(queued(0).rate, percent(50));
	});
}

#[test]
fn an_absence_found_by_too_few_costs_no_stake() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		run_to(record(worker).proved_at.unwrap() + DAYS);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		Popw::close_weakly(worker, Outcome::Offline, false);
		assert_eq!(state(worker), WorkerState::Offline);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
	});
}

/// A GPU that fell off the bus, or was not ready, in every check. No stake is lost.
#[test]
fn a_lost_gpu_is_never_slashed() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		for _ in 0..4 {
			if state(worker) == WorkerState::Online {
				Popw::census(worker, online(POOR));
			}
		}
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_eq!(record(worker).false_proofs, None);
		assert_eq!(pool(worker).total(), Ok(POOL));
	});
}

#[test]
fn a_check_of_a_deregistered_worker_still_finds_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = worker_with_stake();
		run_to(record(worker).proved_at.unwrap() + DAYS);
		let census = Popw::start_round(true) + 1;
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		Popw::start_round(false);
		assert!(Popw::absent(worker, census));
		assert_eq!(queued(0).amount, POOL / 10);
		pass_deferral();
		assert_ok!(Providers::apply_slash(signed(CAROL), 0));
		assert_eq!(pool(worker).own_unbonding.part.value, POOL / 10 * 9);
	});
}
