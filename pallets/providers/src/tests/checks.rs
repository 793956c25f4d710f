//! What checks do to a worker.

use super::*;

#[test]
fn a_profile_that_supports_the_claim_brings_it_online() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		// The mark is used up.
		assert_eq!(record(worker).forced, None);
		events();
		let proved = Popw::close(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented, proved.stake), (0, 0, MINIMUM));
		assert_eq!(proved.profile, PROFILE);
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![Event::WorkerStateChanged {
				worker,
				old: WorkerState::Pending,
				new: WorkerState::Online,
				since
			}]
		);
		let record = record(worker);
		assert_eq!(record.profile, Some(PROFILE));
		assert_eq!(record.standings.at(round), Some(&WorkerState::Pending));
		assert_eq!(record.standings.at(since), Some(&WorkerState::Online));
		assert_eq!(record.proved_at, Some(Popw::start_of(round)));
	});
}

#[test]
fn one_that_does_not_leaves_it_pending() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		events();
		Popw::close(worker, online(POOR));
		assert_eq!(
			events(),
			vec![Event::VerificationFailed {
				worker,
				profile: POOR
			}]
		);
		assert_eq!(state(worker), WorkerState::Pending);
		assert_eq!(record(worker).profile, Some(POOR));
		assert_eq!(record(worker).forced, None);
		assert_eq!(record(worker).failures, 1);
	});
}

#[test]
fn a_census_credits_up_to_its_start_and_leaves_the_rest_pending() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let since = Providers::now();
		run_to(since + 100);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		let start = Popw::start_of(census);
		run_to(start + 60);
		let proved = Popw::close(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (start - since, 0));
		assert_eq!(Providers::pending_time(worker), Some((60, 0)));
		// The next one credits from there.
		let proved = Popw::census(worker, online(PROFILE));
		assert_eq!(proved.idle, 60 + PHASE);
	});
}

#[test]
fn boundary_of_the_longest_gap() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		run_to(Providers::now() + MAX_GAP - PHASE);
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, MAX_GAP);
		run_to(Providers::now() + MAX_GAP - PHASE + 1);
		assert_eq!(Popw::census(worker, online(PROFILE)).idle, MAX_GAP);
		assert_eq!(Providers::pending_time(worker), Some((0, 0)));
	});
}

#[test]
fn rented_time_is_online_time_too() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		run_to(Providers::now() + 100);
		put_into(worker, WorkerState::Rented);
		run_to(Providers::now() + 40);
		put_into(worker, WorkerState::Online);
		assert_eq!(Providers::pending_time(worker), Some((140, 40)));
		assert_ok!(<Popw as Checks>::force(worker));
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (140 + PHASE, 40));
	});
}

#[test]
fn the_longest_gap_holds_for_both_together() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		put_into(worker, WorkerState::Rented);
		run_to(Providers::now() + 2 * MAX_GAP);
		assert_ok!(<Popw as Checks>::force(worker));
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (MAX_GAP, MAX_GAP));
	});
}

#[test]
fn found_offline_by_a_committee() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let verified = record(worker).proved_at;
		run_to(Providers::now() + 100);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		events();
		let proved = Popw::close(worker, Outcome::Offline);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		let since = Popw::next_round();
		let gap = Popw::start_of(census) - verified.unwrap();
		let slashed = MINIMUM / 10 * Balance::from(gap) / Balance::from(DAYS);
		assert_eq!(
			events(),
			vec![
				Event::FoundOffline {
					worker,
					round: census,
					state: WorkerState::Online,
					last_proof: verified,
					attested: true,
					finder: None,
				},
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Online,
					new: WorkerState::Offline,
					since
				},
				Event::SlashQueued {
					slash: 0,
					worker,
					level: SlashLevel::One,
					added: slashed,
					amount: slashed,
					due: Providers::now() + DEFERRAL
				},
			]
		);
		assert_eq!(Providers::pending_time(worker), Some((0, 0)));
		assert_eq!(record(worker).failures, 0);
		// Its owner may bring it back at once.
		assert_ok!(Providers::go_online(signed(ALICE), worker));
	});
}

#[test]
fn found_absent_by_an_account() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		Popw::start_round(false);
		events();
		assert!(Popw::absent(worker, round));
		assert!(!Popw::absent(worker, round));
		assert!(matches!(
			events()[0],
			Event::FoundOffline {
				state: WorkerState::Pending,
				attested: false,
				finder: Some(BOB),
				last_proof: None,
				..
			}
		));
		assert_eq!(state(worker), WorkerState::Offline);
		assert_eq!(record(worker).forced, None);
		// It was to be verified, and was not: that counts as a failure.
		assert_eq!(record(worker).failures, 1);
	});
}

#[test]
fn no_consensus_forces_again_and_keeps_what_is_pending() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let proved = Popw::census(worker, Outcome::NoConsensus);
		assert_eq!(proved.idle, 0);
		let round = Popw::next_round();
		assert_eq!(
			record(worker).forced,
			Some(Forced {
				round,
				verify_only: false
			})
		);
		assert_eq!(state(worker), WorkerState::Online);
		assert_eq!(record(worker).history.checks, 1);
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!(proved.idle, 2 * PHASE);
	});
}

#[test]
fn no_consensus_on_a_verification_only_verifies_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Popw::spot_check(worker, Outcome::NoConsensus);
		let round = Popw::next_round();
		assert_eq!(
			record(worker).forced,
			Some(Forced {
				round,
				verify_only: true
			})
		);
		assert_eq!(
			(state(worker), record(worker).failures),
			(WorkerState::Pending, 0)
		);
	});
}

#[test]
fn no_consensus_does_not_force_who_has_left() {
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
fn a_leaving_worker_that_is_found_offline_stays_so() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		Popw::close(worker, Outcome::Offline);
		assert_eq!(state(worker), WorkerState::Offline);
		assert_eq!(Providers::pending_time(worker), Some((0, 0)));
	});
}

#[test]
fn a_suspended_worker_stays_so() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let census = Popw::start_round(true) + 1;
		assert!(Popw::attest(worker, census));
		put_into(worker, WorkerState::Suspended);
		Popw::close(worker, Outcome::Offline);
		assert_eq!(state(worker), WorkerState::Suspended);
	});
}

#[test]
fn a_weaker_profile_of_an_online_worker_is_noted_and_no_more() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let proved = Popw::census(worker, online(POOR));
		assert_eq!((proved.idle, proved.profile), (PHASE, POOR));
		assert_eq!(state(worker), WorkerState::Online);
	});
}

#[test]
fn false_proofs_are_counted_in_a_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		events();
		for in_a_row in [1, 2] {
			let census = Popw::start_round(true) + 1;
			assert!(Popw::attest(worker, census));
			Popw::close_with(worker, online(POOR), true);
			assert_eq!(
				events()[0],
				Event::FalseProofFound {
					worker,
					round: census,
					in_a_row
				}
			);
		}
		Popw::census(worker, online(PROFILE));
		assert_eq!(record(worker).false_proofs, 0);
	});
}

#[test]
fn reliability_is_of_the_last_32_checks() {
	let mut history = History::default();
	assert_eq!(history.reliability(), Perbill::zero());
	history.push(true);
	assert_eq!(history.reliability(), Perbill::one());
	for _ in 0..3 {
		history.push(false);
	}
	assert_eq!(history.reliability(), Perbill::from_percent(25));
	for _ in 0..32 {
		history.push(true);
	}
	assert_eq!(history.reliability(), Perbill::one());
	history.push(false);
	assert_eq!(history.reliability(), Perbill::from_rational(31u32, 32));
	assert_eq!(history.checks, 32);
}

#[test]
fn checks_enter_the_history() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let silent = Outcome::Online {
			profile: Some(PROFILE),
			service: false,
		};
		assert_ok!(<Providers as Market>::rent(worker, 5));
		Popw::pass();
		assert_ok!(<Popw as Checks>::force(worker));
		Popw::spot_check(worker, silent);
		assert_ok!(<Providers as Market>::free(worker, true));
		Popw::spot_check(worker, online(PROFILE));
		Popw::census(worker, Outcome::NoConsensus);
		Popw::census(worker, Outcome::Offline);
		let history = record(worker).history;
		assert_eq!((history.bits, history.checks), (0b1010, 4));
	});
}

#[test]
fn a_mark_is_postponed_as_it_is() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let postpone = <Providers as CheckedWorkers<AccountId>>::postpone;
		assert_ok!(<Popw as Checks>::force(worker));
		let mark = record(worker).forced.unwrap();
		assert_ok!(postpone(worker, mark.round + 2, mark.round + 4));
		assert_eq!(record(worker).forced, Some(mark));
		assert_ok!(postpone(worker, mark.round, mark.round + 4));
		let later = kaisar_primitives::Forced {
			round: mark.round + 4,
			..mark
		};
		assert_eq!(record(worker).forced, Some(later));
		assert_noop!(postpone(9, 0, 2), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn forcing_keeps_a_mark_that_is_still_due() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		let force = <Providers as CheckedWorkers<AccountId>>::force;
		let first = Popw::next_round();
		events();
		assert_ok!(force(worker, first));
		assert_eq!(
			events(),
			vec![Event::WorkerForced {
				worker,
				round: first,
				verify_only: false
			}]
		);
		Popw::start_round(false);
		assert_ok!(force(worker, first + 2));
		assert_eq!(record(worker).forced.unwrap().round, first);
		// It was never called on, and its round is over.
		Popw::pass();
		let later = Popw::next_round();
		assert_ok!(force(worker, later));
		assert_eq!(record(worker).forced.unwrap().round, later);
		assert_noop!(force(worker + 1, later), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn forcing_a_pending_worker_only_verifies_it() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Popw::spot_check(worker, online(POOR));
		assert_ok!(<Popw as Checks>::force(worker));
		assert!(record(worker).forced.unwrap().verify_only);
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
fn fails_for_an_unknown_worker() {
	ExtBuilder.build_and_execute(|| {
		let round = Popw::start_round(false);
		let closing = Popw::closing(round, Outcome::Offline, false);
		assert_noop!(
			<Providers as CheckedWorkers<AccountId>>::closed(3, &closing, None),
			Error::<Test>::UnknownWorker
		);
		assert_noop!(
			<Providers as CheckedWorkers<AccountId>>::absent(3, &closing, None),
			Error::<Test>::UnknownWorker
		);
		assert_noop!(
			<Providers as CheckedWorkers<AccountId>>::attested(3, round),
			Error::<Test>::UnknownWorker
		);
	});
}

#[test]
fn a_census_does_not_use_up_a_mark() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(true);
		assert!(Popw::attest(worker, round + 1));
		assert_eq!(
			record(worker).forced,
			Some(Forced {
				round,
				verify_only: false
			})
		);
	});
}
