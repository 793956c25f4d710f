//! Effects of checks on a worker's state and stake.

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
		// The lesser of the profiles is the empty one before the check.
		assert_eq!(proved.profile, Profile::default());
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
		let slashed = kaisar_math::stake::slash_at(kaisar_math::stake::offline_rate(gap), MINIMUM);
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
		assert_eq!(Providers::pending_time(worker), Some(0));
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
		// It was to be verified and was not: that counts as a failure.
		assert_eq!(record(worker).failures, 1);
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
		assert_eq!(Providers::pending_time(worker), Some(0));
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
fn false_proofs_are_counted_in_a_row() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		events();
		for in_a_row in [1, 2] {
			let census = Popw::start_round(true) + 1;
			assert!(Popw::attest(worker, census));
			Popw::close_with(worker, online(PROFILE), true);
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
		assert_eq!(record(worker).false_proofs, None);
	});
}

#[test]
fn fails_for_an_unknown_worker() {
	ExtBuilder.build_and_execute(|| {
		let round = Popw::start_round(false);
		let closing = Popw::closing(round, Outcome::Offline);
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
fn found_offline_by_too_few_for_a_slash() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		assert_ok!(<Popw as Checks>::force(worker));
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		let last_proof = record(worker).proved_at;
		events();
		// More than half of the committee's size, but not more than three quarters.
		Popw::close_as(worker, Outcome::Offline, Some(&BOB), |closing| {
			closing.slashes = false;
		});
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![
				Event::FoundOffline {
					worker,
					round,
					state: WorkerState::Rented,
					last_proof,
					attested: true,
					finder: Some(BOB),
				},
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Rented,
					new: WorkerState::Offline,
					since
				},
			]
		);
		assert_eq!(record(worker).order, None);
		assert_eq!(record(worker).queued, QueuedSlashes::default());
	});
}

#[test]
fn a_service_that_is_down_is_not_its_providers_fault() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		rent(worker);
		run_to(Providers::now() + DAYS);
		assert_ok!(<Popw as Checks>::force(worker));
		let (history, last_proof) = (record(worker).history, record(worker).proved_at);
		events();
		let silent = Outcome::Online {
			profile: None,
			service: false,
		};
		let proved = Popw::spot_check(worker, silent);
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert!(events().contains(&Event::ServiceDown {
			worker,
			round: Popw::next_round() - 2,
			last_proof
		}));
		// No slash, no mark against it, and closing the order is up to its customer.
		assert_eq!(record(worker).queued, QueuedSlashes::default());
		assert_eq!(record(worker).history, history);
		assert_eq!(state(worker), WorkerState::Rented);
	});
}
