//! Operations of Orders on a worker.

use super::*;

fn rent(worker: WorkerId) -> sp_runtime::DispatchResult {
	<Providers as Market>::rent(worker, 5)
}

fn free(worker: WorkerId) -> sp_runtime::DispatchResult {
	<Providers as Market>::free(worker, true)
}

fn candidate(worker: WorkerId) -> Option<kaisar_primitives::Candidate> {
	<Providers as Market>::candidate(worker)
}

#[test]
fn an_idle_worker_is_rented_and_freed() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		Popw::pass();
		assert_ok!(Providers::set_price_floor(signed(ALICE), worker, KAI));
		assert_eq!(
			candidate(worker),
			Some(kaisar_primitives::Candidate {
				profile: PROFILE,
				region: *b"DE",
				price_floor: KAI,
				reliability: Perbill::from_rational(1u32, 8),
				arch: Arch::Amd64,
				driver: 0,
				cuda: 0,
			})
		);
		events();
		assert_ok!(rent(worker));
		let since = Popw::next_round();
		assert_eq!(
			events(),
			vec![Event::WorkerStateChanged {
				worker,
				old: WorkerState::Online,
				new: WorkerState::Rented,
				since
			}]
		);
		assert_eq!(record(worker).order, Some(5));
		assert_eq!(candidate(worker), None);
		assert_eq!(Providers::idle_workers(11, 1, None), 0);
		run_to(Providers::now() + 40);
		assert_ok!(free(worker));
		assert_eq!(
			events(),
			vec![
				Event::WorkerStateChanged {
					worker,
					old: WorkerState::Rented,
					new: WorkerState::Online,
					since
				},
				Event::WorkerForced {
					worker,
					round: since,
					verify_only: true
				},
			]
		);
		assert_eq!(record(worker).order, None);
		assert_eq!(Providers::idle_workers(11, 1, Some(*b"DE")), 0);
		// A full check follows, which proves no time.
		let proved = Popw::spot_check(worker, online(PROFILE));
		assert_eq!((proved.idle, proved.rented), (0, 0));
		assert_eq!(Providers::idle_workers(11, 1, Some(*b"DE")), 1);
	});
}

#[test]
fn fails_for_who_is_not_idle() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		for state in [
			WorkerState::Pending,
			WorkerState::Rented,
			WorkerState::Offline,
			WorkerState::Suspended,
		] {
			put_into(worker, state);
			assert_noop!(rent(worker), Error::<Test>::WrongState);
			assert_eq!(candidate(worker), None);
		}
		assert_noop!(rent(9), Error::<Test>::UnknownWorker);
		assert_eq!(candidate(9), None);
	});
}

#[test]
fn only_a_rented_worker_is_freed() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		for state in [
			WorkerState::Pending,
			WorkerState::Online,
			WorkerState::Offline,
			WorkerState::Suspended,
		] {
			put_into(worker, state);
			assert_noop!(free(worker), Error::<Test>::WrongState);
		}
		assert_noop!(free(9), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn boundary_of_being_barred() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let until = Providers::now() + 300;
		let bar = <Providers as Market>::bar;
		assert_ok!(bar(worker, until));
		// Never shortened.
		assert_ok!(bar(worker, until - 1));
		assert_eq!(
			Providers::reliability(worker),
			Some(Perbill::from_rational(1u32, 8))
		);
		run_to(until - 1);
		assert_eq!(candidate(worker), None);
		run_to(until);
		assert!(candidate(worker).is_some());
		assert_noop!(bar(9, until), Error::<Test>::UnknownWorker);
	});
}

#[test]
fn who_lets_an_order_down_is_charged_since_its_last_proof() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(rent(worker));
		let fault = <Providers as Market>::fault;
		run_to(record(worker).proved_at.unwrap() + DAYS / 2);
		assert_ok!(fault(worker));
		let slash = Providers::queued_slash(0).unwrap();
		assert_eq!((slash.level, slash.amount), (SlashLevel::One, MINIMUM / 20));
		assert_noop!(fault(9), Error::<Test>::UnknownWorker);
	});
}
