use super::*;

#[test]
fn takes_fee_deposit_and_stake_and_marks_the_worker() {
	ExtBuilder.build_and_execute(|| {
		Popw::start_round(false);
		events();
		assert_ok!(try_register(ALICE, 1, SPEC, MINIMUM));

		assert_eq!(Balances::free_balance(TREASURY), KAI + FEE);
		assert_eq!(pot(), MINIMUM);
		let held = Balances::reserved_balance(ALICE);
		assert_eq!(
			held,
			KAI + u128::from(Providers::footprint().size) * KAI / 1_000
		);
		assert_eq!(Balances::free_balance(ALICE), FUNDS - FEE - MINIMUM - held);

		let record = record(0);
		assert_eq!(record.owner, ALICE);
		assert_eq!(record.spec, SPEC);
		assert_eq!(record.keys.now.value, keys(1));
		assert_eq!(
			record.pool,
			StakePool {
				own: MINIMUM,
				..Default::default()
			}
		);
		assert_eq!(record.standings.at(0), None);
		assert_eq!(record.standings.at(2), Some(&WorkerState::Pending));
		assert_eq!(
			record.forced,
			Some(Forced {
				round: 2,
				verify_only: true
			})
		);
		assert_eq!(
			Counts::<Test>::get(),
			StateCounts {
				pending: 1,
				..Default::default()
			}
		);
		assert_eq!(Popw::changes(), vec![], "a new pool has nothing to settle");
		assert_eq!(
			events(),
			vec![
				Event::WorkerRegistered {
					worker: 0,
					owner: ALICE,
					spec: SPEC,
					stake: MINIMUM
				},
				Event::WorkerForced {
					worker: 0,
					round: 2,
					verify_only: true
				},
			]
		);
	});
}

#[test]
fn numbers_are_dense() {
	ExtBuilder.build_and_execute(|| {
		assert_eq!(register(ALICE, 1), 0);
		assert_eq!(register(BOB, 2), 1);
		assert_eq!(register(ALICE, 3), 2);
		assert_eq!(
			<Providers as WorkerRegistry<AccountId>>::counts().registered,
			3
		);
	});
}

#[test]
fn a_worker_without_a_gpu_stakes_the_base() {
	ExtBuilder.build_and_execute(|| {
		let spec = WorkerSpec {
			gpu_class: 0,
			gpu_count: 0,
			..SPEC
		};
		assert_noop!(
			try_register(ALICE, 1, spec, BASE - 1),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(try_register(ALICE, 1, spec, BASE));
	});
}

#[test]
fn boundary_of_the_minimum_stake() {
	ExtBuilder.build_and_execute(|| {
		assert_noop!(
			try_register(ALICE, 1, SPEC, MINIMUM - 1),
			Error::<Test>::StakeBelowMinimum
		);
		assert_ok!(try_register(ALICE, 1, SPEC, MINIMUM));
	});
}

#[test]
fn boundary_of_the_stake_cap() {
	ExtBuilder.build_and_execute(|| {
		assert_noop!(
			try_register(ALICE, 1, SPEC, MAX_STAKE + 1),
			Error::<Test>::StakeCapReached
		);
		assert_ok!(try_register(ALICE, 1, SPEC, MAX_STAKE));
	});
}

#[test]
fn the_owner_may_reach_a_minimum_above_the_cap() {
	ExtBuilder.build_and_execute(|| {
		let spec = WorkerSpec {
			gpu_class: 1,
			gpu_count: 16,
			..SPEC
		};
		let minimum = 160_500 * KAI;
		StakePerScore::set(&(1_000 * KAI));
		assert!(minimum > MAX_STAKE);
		assert_noop!(
			try_register(ALICE, 1, spec, minimum + 1),
			Error::<Test>::StakeCapReached
		);
		assert_ok!(try_register(ALICE, 1, spec, minimum));
	});
}

#[test]
fn fails_for_a_claim_that_cannot_be() {
	ExtBuilder.build_and_execute(|| {
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
					gpu_class: u16::MAX,
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
					gpu_class: 0,
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
			(
				WorkerSpec {
					region: *b"de",
					..SPEC
				},
				Error::<Test>::UnknownRegion,
			),
			(
				WorkerSpec {
					region: [0; 2],
					..SPEC
				},
				Error::<Test>::UnknownRegion,
			),
		] {
			assert_noop!(try_register(ALICE, 1, spec, MAX_STAKE), error);
		}
	});
}

#[test]
fn fails_for_zero_keys() {
	ExtBuilder.build_and_execute(|| {
		let WorkerKeys { worker, agent } = keys(1);
		let zero = WorkerKey::from(sp_core::sr25519::Public::from_raw([0; 32]));
		let none = AgentKey::from_raw([0; 32]);
		for (worker, agent) in [(zero.clone(), agent), (worker, none), (zero, none)] {
			assert_noop!(
				Providers::register_worker(
					signed(ALICE),
					SPEC,
					worker,
					agent,
					MINIMUM,
					proof(1, ALICE)
				),
				Error::<Test>::ZeroKey
			);
		}
	});
}

#[test]
fn fails_for_keys_in_use() {
	ExtBuilder.build_and_execute(|| {
		register(ALICE, 1);
		assert_noop!(try_register(BOB, 1, SPEC, MINIMUM), Error::<Test>::KeyInUse);
		assert_noop!(
			try_register(ALICE, 1, SPEC, MINIMUM),
			Error::<Test>::KeyInUse
		);
		for (worker, agent) in [(1, 2), (2, 1)] {
			let call = Providers::register_worker(
				signed(BOB),
				SPEC,
				keys(worker).worker,
				keys(agent).agent,
				MINIMUM,
				KeyProof {
					key: proof(worker, BOB).key,
					agent: proof(agent, BOB).agent,
				},
			);
			assert_noop!(call, Error::<Test>::KeyInUse);
		}
	});
}

#[test]
fn fails_for_a_wrong_proof() {
	ExtBuilder.build_and_execute(|| {
		let WorkerKeys { worker, agent } = keys(1);
		let good = proof(1, ALICE);
		let checker = {
			use sp_core::{Pair, ed25519, sr25519};
			let payload = kaisar_primitives::keys::possession_payload(
				KeyRole::Checker,
				System::block_hash(0),
				&ALICE,
			);
			KeyProof {
				key: sr25519::Pair::from_seed(&[1; 32]).sign(&payload),
				agent: ed25519::Pair::from_seed(&[1; 32]).sign(&payload),
			}
		};
		for wrong in [
			// For another account, of other keys, for another role.
			proof(1, BOB),
			proof(2, ALICE),
			KeyProof {
				key: proof(2, ALICE).key,
				..good.clone()
			},
			KeyProof {
				agent: proof(2, ALICE).agent,
				..good
			},
			checker,
		] {
			assert_noop!(
				Providers::register_worker(
					signed(ALICE),
					SPEC,
					worker.clone(),
					agent,
					MINIMUM,
					wrong
				),
				Error::<Test>::BadProof
			);
		}
	});
}

#[test]
fn fails_where_the_money_does_not_reach() {
	ExtBuilder.build_and_execute(|| {
		let call = |owner| {
			let WorkerKeys {
				worker: worker_key,
				agent: agent_key,
			} = keys(1);
			RuntimeCall::Providers(Call::register_worker {
				spec: SPEC,
				worker_key,
				agent_key,
				stake: MINIMUM,
				proof: proof(1, owner),
			})
		};
		// An account without KAI, and one with exactly the stake.
		assert_noop!(dispatch(call(7), signed(7)), TokenError::FundsUnavailable);
		assert_ok!(Balances::transfer_allow_death(signed(ALICE), 8, MINIMUM));
		assert_noop!(dispatch(call(8), signed(8)), TokenError::FundsUnavailable);
	});
}

#[test]
fn fails_when_all_numbers_are_used() {
	ExtBuilder.build().execute_with(|| {
		NextWorkerId::<Test>::put(u32::MAX);
		assert_noop!(
			try_register(ALICE, 1, SPEC, MINIMUM),
			Error::<Test>::TooManyWorkers
		);
	});
}
