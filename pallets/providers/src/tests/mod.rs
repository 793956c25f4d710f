//! Tests, by call.

mod checks;
mod commission;
mod deregister;
mod keys;
mod online;
mod pools;
mod property;
mod register;
mod stake;
mod time;
mod update;
mod views;

pub use crate::{mock::*, *};
pub use frame_support::{assert_noop, assert_ok};
pub use kaisar_primitives::{KAI, Outcome, Pools, Workers as Registry};
pub use sp_runtime::{DispatchError, TokenError, traits::Dispatchable};

/// The origin of an account.
pub fn signed(account: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(account)
}

/// Every call that needs the worker's owner.
pub fn owner_calls(worker: WorkerId) -> Vec<RuntimeCall> {
	let WorkerKeys {
		worker: worker_key,
		agent: agent_key,
	} = keys(77);
	let mut calls = vec![
		Call::update_worker { worker, spec: SPEC },
		Call::set_commission {
			worker,
			commission: Perbill::from_percent(1),
		},
		Call::set_price_floor {
			worker,
			price_per_gpu_hour: 1,
		},
		Call::go_offline { worker },
		Call::go_online { worker },
		Call::deregister_worker { worker },
		Call::stake { worker, amount: 1 },
		Call::unstake { worker, amount: 1 },
	];
	calls.push(Call::set_worker_keys {
		worker,
		worker_key,
		agent_key,
		proof: proof(77, BOB),
	});
	calls.into_iter().map(RuntimeCall::Providers).collect()
}

/// Dispatches as the runtime does: a call that fails changes nothing.
pub fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> sp_runtime::DispatchResult {
	call.dispatch(origin)
		.map(|_| ())
		.map_err(|error| error.error)
}

#[test]
fn owner_calls_fail_for_another_account() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		for call in owner_calls(worker) {
			assert_noop!(dispatch(call, signed(BOB)), Error::<Test>::NotOwner);
		}
	});
}

#[test]
fn owner_calls_fail_for_an_unknown_worker() {
	ExtBuilder.build_and_execute(|| {
		register(ALICE, 1);
		for call in owner_calls(1) {
			assert_noop!(dispatch(call, signed(ALICE)), Error::<Test>::UnknownWorker);
		}
		assert_noop!(
			Providers::withdraw_unbonded(signed(ALICE), 1),
			Error::<Test>::UnknownWorker
		);
	});
}

#[test]
fn calls_fail_for_other_origins() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let WorkerKeys {
			worker: worker_key,
			agent: agent_key,
		} = keys(2);
		let mut calls = owner_calls(worker);
		calls.push(RuntimeCall::Providers(Call::withdraw_unbonded { worker }));
		calls.push(RuntimeCall::Providers(Call::register_worker {
			spec: SPEC,
			worker_key,
			agent_key,
			stake: MINIMUM,
			proof: proof(2, ALICE),
		}));
		assert_eq!(calls.len(), 11, "all calls");
		for call in calls {
			for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
				assert_noop!(dispatch(call.clone(), origin), DispatchError::BadOrigin);
			}
		}
	});
}

#[test]
fn owner_calls_fail_for_a_deregistered_worker() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		for call in owner_calls(worker) {
			assert_noop!(dispatch(call, signed(ALICE)), Error::<Test>::UnknownWorker);
		}
	});
}
