use super::*;

fn set(worker: WorkerId, owner: AccountId, seed: u8) -> sp_runtime::DispatchResult {
	let keys = keys(seed);
	Providers::set_worker_keys(
		signed(owner),
		worker,
		keys.worker,
		keys.agent,
		proof(seed, owner),
	)
}

fn in_force(worker: WorkerId, round: RoundIndex) -> WorkerKeys {
	let info = <Providers as WorkerRegistry<AccountId>>::info(worker, round).unwrap();
	WorkerKeys {
		worker: info.key,
		agent: info.agent,
	}
}

#[test]
fn count_from_the_next_round() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		events();
		assert_ok!(set(worker, ALICE, 2));
		let next = Popw::next_round();
		let WorkerKeys {
			worker: worker_key,
			agent: agent_key,
		} = keys(2);
		assert_eq!(
			events(),
			vec![Event::WorkerKeysSet {
				worker,
				worker_key,
				agent_key,
				from: next
			}]
		);
		assert_eq!(in_force(worker, next - 1), keys(1));
		assert_eq!(in_force(worker, next), keys(2));
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::by_key(&keys(1).worker),
			Some(worker)
		);
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::by_key(&keys(2).worker),
			Some(worker)
		);
	});
}

#[test]
fn old_ones_stay_reserved_until_the_new_ones_are_in_force() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		assert_ok!(set(worker, ALICE, 2));
		for seed in [1, 2] {
			assert_noop!(
				try_register(BOB, seed, SPEC, MINIMUM),
				Error::<Test>::KeyInUse
			);
		}
		Popw::start_round(false);
		assert_noop!(try_register(BOB, 2, SPEC, MINIMUM), Error::<Test>::KeyInUse);
		assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::by_key(&keys(1).worker),
			Some(worker + 1)
		);

		// The first worker's next rotation does not touch the other's keys.
		Popw::pass();
		assert_ok!(set(worker, ALICE, 3));
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::by_key(&keys(1).worker),
			Some(worker + 1)
		);
	});
}

#[test]
fn may_be_replaced_before_they_are_in_force() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(set(worker, ALICE, 2));
		assert_ok!(set(worker, ALICE, 3));
		assert_ok!(try_register(BOB, 2, SPEC, MINIMUM));
		let round = Popw::start_round(false);
		assert_eq!(in_force(worker, round), keys(3));
	});
}

#[test]
fn may_be_taken_back_before_they_are_in_force() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(set(worker, ALICE, 2));
		assert_ok!(set(worker, ALICE, 1));
		let round = Popw::start_round(false);
		assert_eq!(in_force(worker, round), keys(1));
		assert_ok!(try_register(BOB, 2, SPEC, MINIMUM));
		assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
	});
}

#[test]
fn one_of_them_may_stay() {
	ExtBuilder.build_and_execute(|| {
		let worker = register_online(ALICE, 1);
		let mixed = || {
			Providers::set_worker_keys(
				signed(ALICE),
				worker,
				keys(2).worker,
				keys(1).agent,
				KeyProof {
					key: proof(2, ALICE).key,
					agent: proof(1, ALICE).agent,
				},
			)
		};
		assert_ok!(mixed());
		Popw::pass();
		assert_ok!(set(worker, ALICE, 3));
		Popw::pass();
		assert_ok!(set(worker, ALICE, 2));
		assert_ok!(try_register(BOB, 1, SPEC, MINIMUM));
	});
}

#[test]
fn twice_fails_while_a_check_by_the_oldest_runs() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let round = Popw::start_round(false);
		assert!(Popw::attest(worker, round));
		assert_ok!(set(worker, ALICE, 2));
		Popw::start_round(false);
		assert_noop!(set(worker, ALICE, 3), Error::<Test>::CheckRunning);
		assert_eq!(in_force(worker, round), keys(1));
		Popw::close(worker, online(PROFILE));
		assert_ok!(set(worker, ALICE, 3));
	});
}

#[test]
fn fails_for_bad_keys() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		register(BOB, 2);
		assert_noop!(set(worker, ALICE, 2), Error::<Test>::KeyInUse);
		let WorkerKeys { worker: key, agent } = keys(3);
		assert_noop!(
			Providers::set_worker_keys(signed(ALICE), worker, key.clone(), agent, proof(3, BOB)),
			Error::<Test>::BadProof
		);
		assert_noop!(
			Providers::set_worker_keys(
				signed(ALICE),
				worker,
				key,
				AgentKey::from_raw([0; 32]),
				proof(3, ALICE)
			),
			Error::<Test>::ZeroKey
		);
	});
}
