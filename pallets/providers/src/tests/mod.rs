//! Tests, by call.

mod barred;
mod charges;
mod checks;
mod claims;
mod commission;
mod delegation;
mod deregister;
mod exact;
mod held;
mod idle;
mod keys;
mod machines;
mod marks;
mod online;
mod params;
mod pools;
mod property;
mod register;
mod reliability;
mod rent;
mod slashing;
mod stake;
mod standings;
mod story;
mod time;
mod update;
mod views;
mod waiting;

pub use crate::{mock::*, *};
pub use frame_support::{assert_noop, assert_ok};
pub use kaisar_primitives::{
	Arch, CheckedWorkers, KAI, Market, Outcome, Pools, WorkerRegistry, keys::KeyRole,
};
pub use sp_runtime::{DispatchError, TokenError, traits::Dispatchable};

/// Returns the signed origin of an account.
pub fn signed(account: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(account)
}

/// Returns every call that only the worker's owner may send.
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
		Call::set_delegation_cap { worker, most: KAI },
		Call::go_offline { worker },
		Call::go_online { worker },
		Call::deregister_worker { worker },
	];
	calls.push(Call::set_worker_keys {
		worker,
		worker_key,
		agent_key,
		proof: proof(77, BOB),
	});
	calls.into_iter().map(RuntimeCall::Providers).collect()
}

/// Returns every call that any account may send.
pub fn anyones_calls(worker: WorkerId) -> Vec<RuntimeCall> {
	vec![
		Call::stake {
			worker,
			amount: KAI,
		},
		Call::unstake {
			worker,
			amount: KAI,
		},
		Call::withdraw_unbonded { worker },
		Call::apply_slash { id: 0 },
		Call::clear_worthless { worker, who: CAROL },
	]
	.into_iter()
	.map(RuntimeCall::Providers)
	.collect()
}

/// Dispatches a call as the runtime does: if it fails, it changes nothing.
pub fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> sp_runtime::DispatchResult {
	call.dispatch(origin)
		.map(|_| ())
		.map_err(|error| error.error)
}

/// Rents a worker, as an order does.
pub fn rent(worker: WorkerId) {
	assert_ok!(<Providers as Market>::rent(worker, 5));
}

/// Frees a worker after a deployed order.
pub fn free(worker: WorkerId) {
	assert_ok!(<Providers as Market>::free(worker, true));
}

/// The outcome of a check that found the worker online, without agreement on its hardware.
pub const UNDECIDED: Outcome = Outcome::Online {
	profile: None,
	service: true,
};

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
		for call in anyones_calls(1) {
			if matches!(call, RuntimeCall::Providers(Call::apply_slash { .. })) {
				continue;
			}
			assert_noop!(dispatch(call, signed(ALICE)), Error::<Test>::UnknownWorker);
		}
		let slash = Call::slash {
			worker: 1,
			level: SlashLevel::One,
		};
		assert_noop!(
			dispatch(slash.into(), RuntimeOrigin::root()),
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
		calls.extend(anyones_calls(worker));
		calls.push(RuntimeCall::Providers(Call::register_worker {
			spec: SPEC,
			worker_key,
			agent_key,
			stake: MINIMUM,
			proof: proof(2, ALICE),
		}));
		let governed = [
			Call::slash {
				worker,
				level: SlashLevel::Three,
			},
			Call::cancel_slash { id: 0 },
		]
		.map(RuntimeCall::Providers);
		assert_eq!(calls.len() + governed.len(), 16, "all calls");
		for call in calls {
			for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
				assert_noop!(dispatch(call.clone(), origin), DispatchError::BadOrigin);
			}
		}
		for call in governed {
			for origin in [signed(ALICE), RuntimeOrigin::none()] {
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
		// Stake cannot be added, nor taken out before it has unbonded with the owner's.
		for who in [ALICE, CAROL] {
			assert_noop!(
				Providers::stake(signed(who), worker, KAI),
				Error::<Test>::UnknownWorker
			);
			assert_noop!(
				Providers::unstake(signed(who), worker, KAI),
				Error::<Test>::UnknownWorker
			);
		}
	});
}
