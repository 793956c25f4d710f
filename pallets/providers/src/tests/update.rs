use super::*;

const MORE: WorkerSpec = WorkerSpec {
	disk_gb: 6_000,
	..SPEC
};

#[test]
fn takes_the_fee_and_has_the_worker_verified_again() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		let before = Balances::free_balance(ALICE);
		events();
		assert_ok!(Providers::update_worker(signed(ALICE), worker, MORE));

		assert_eq!(Balances::free_balance(ALICE), before - FEE);
		let next = Popw::next_round();
		let record = record(worker);
		assert_eq!(record.spec, MORE);
		assert_eq!(record.state(), WorkerState::Pending);
		assert_eq!(record.standings.at(next - 2), Some(&WorkerState::Online));
		assert_eq!(
			record.forced,
			Some(Forced {
				round: next,
				verify_only: true
			})
		);
		assert_eq!(
			events(),
			vec![
				Event::WorkerUpdated {
					worker,
					old: SPEC,
					new: MORE
				},
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Online,
					new: WorkerState::Pending,
					since: next
				},
				Event::WorkerForced {
					worker,
					round: next,
					verify_only: true
				},
			]
		);
	});
}

#[test]
fn brings_an_offline_worker_back() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::go_offline(signed(ALICE), worker));
		assert_ok!(Providers::update_worker(signed(ALICE), worker, MORE));
		assert_eq!(state(worker), WorkerState::Pending);
	});
}

#[test]
fn fails_for_a_claim_that_cannot_be() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		for (spec, error) in [
			(
				WorkerSpec {
					gpu_class: 12,
					..SPEC
				},
				Error::<Test>::UnknownGpuClass,
			),
			(
				WorkerSpec {
					gpu_count: 0,
					..SPEC
				},
				Error::<Test>::GpuCountMismatch,
			),
			(
				WorkerSpec {
					region: *b"XX",
					..SPEC
				},
				Error::<Test>::UnknownRegion,
			),
		] {
			assert_noop!(Providers::update_worker(signed(ALICE), worker, spec), error);
		}
	});
}

#[test]
fn boundary_of_the_minimum_of_the_new_claim() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let two = WorkerSpec {
			gpu_count: 2,
			..SPEC
		};
		assert_ok!(Providers::stake(signed(ALICE), worker, 150 * KAI - 1));
		assert_noop!(
			Providers::update_worker(signed(ALICE), worker, two),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(Providers::stake(signed(ALICE), worker, 1));
		assert_ok!(Providers::update_worker(signed(ALICE), worker, two));
	});
}

#[test]
fn fails_while_rented_or_suspended() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		put_into(worker, WorkerState::Rented);
		assert_noop!(
			Providers::update_worker(signed(ALICE), worker, MORE),
			Error::<Test>::WorkerRented
		);
		put_into(worker, WorkerState::Suspended);
		assert_noop!(
			Providers::update_worker(signed(ALICE), worker, MORE),
			Error::<Test>::WorkerSuspended
		);
	});
}

#[test]
fn fails_while_a_check_is_due_or_runs() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let call = || Providers::update_worker(signed(ALICE), worker, MORE);
		// Before its round starts no check is disturbed.
		assert_ok!(call());
		let round = Popw::start_round(false);
		// Due.
		assert_noop!(call(), Error::<Test>::CheckRunning);
		// Did not attest, but can still be reported.
		Popw::start_round(false);
		run_to(Providers::now() + 1);
		assert!(!Popw::is_due(worker));
		assert_noop!(call(), Error::<Test>::CheckRunning);
		assert!(Popw::absent(worker, round));
		assert_ok!(call());

		// The failure delays the next verification.
		Popw::start_round(false);
		assert_ok!(call());
		Popw::start_round(false);
		assert_noop!(call(), Error::<Test>::CheckRunning);
	});
}

#[test]
fn fails_while_a_check_is_open() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		assert_noop!(
			Providers::update_worker(signed(ALICE), worker, MORE),
			Error::<Test>::CheckRunning
		);
		Popw::close(worker, online(PROFILE));
		assert_ok!(Providers::update_worker(signed(ALICE), worker, MORE));
	});
}

#[test]
fn closes_a_check_that_is_over_first() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		Popw::pass();
		assert_ok!(Providers::update_worker(signed(ALICE), worker, MORE));
		assert!(!Popw::is_open(worker));
	});
}

#[test]
fn does_not_go_round_a_running_delay() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Popw::spot_check(worker, online(POOR));
		let retry = record(worker).retry_from;
		assert_eq!(retry, Popw::next_round() + 2);
		assert_ok!(Providers::update_worker(signed(ALICE), worker, SPEC));
		assert_eq!(
			record(worker).forced,
			Some(Forced {
				round: retry,
				verify_only: true
			})
		);
	});
}

#[test]
fn fails_where_the_fee_cannot_be_paid() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let left = Balances::free_balance(ALICE) - FEE;
		assert_ok!(Balances::transfer_allow_death(signed(ALICE), BOB, left));
		let call = RuntimeCall::Providers(Call::update_worker { worker, spec: MORE });
		assert_noop!(dispatch(call, signed(ALICE)), TokenError::Frozen);
	});
}
