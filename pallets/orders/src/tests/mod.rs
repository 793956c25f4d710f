//! Tests, by call.

mod agenda;
mod authorize;
mod cancel;
mod close;
mod deploy;
mod draws;
mod ending;
mod exit;
mod extend;
mod issue;
mod matching;
mod ocw;
mod params;
mod payment;
mod place;
mod prices;
mod story;
mod tricks;
mod views;
mod workload;
mod world;

pub use crate::{mock::*, *};
pub use frame_support::{assert_noop, assert_ok};
pub use kaisar_primitives::{
	Balance, BlockNumber, CloseReason, DeployFailure, HOURS, Image, Issue, KAI, Plan, Requirement,
	WorkerState, Workload,
};
pub use sp_runtime::{DispatchError, Perbill, TokenError, traits::Dispatchable};

/// Returns the origin of an account.
pub fn signed(account: AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(account)
}

/// Returns the amounts on hold on an account: for orders, for reports.
pub fn held(who: AccountId) -> (Balance, Balance) {
	use frame_support::traits::fungible::InspectHold;
	let of = |reason: HoldReason| Balances::balance_on_hold(&reason.into(), &who);
	(of(HoldReason::Escrow), of(HoldReason::IssueBond))
}

/// Gives an account credits in the ordinary way: by a canceled order. Returns them.
pub fn earn_credits(who: AccountId, hours: u32) -> Balance {
	let (id, worker) = deployed(who, hours + 1);
	next_block();
	assert_ok!(Rentals::cancel_order(signed(who), id));
	check(worker, now(), Verdict::Fine);
	assert_eq!(state(id), closed(CloseReason::Cancelled));
	// It can be rented again.
	check(worker, now(), Verdict::Fine);
	let credits = Credits::<Test>::get(who);
	assert_eq!(credits, PRICE * Balance::from(hours));
	events();
	credits
}

/// Returns every call that needs the order's customer.
pub fn customer_calls(order: u32) -> Vec<RuntimeCall> {
	[
		Call::extend_order {
			order,
			hours: 1,
			max_price: Balance::MAX,
		},
		Call::cancel_order { order },
		Call::report_issue {
			order,
			reason: Issue::Other,
		},
	]
	.map(RuntimeCall::Rentals)
	.to_vec()
}

/// Returns every call that needs the worker's owner, or the worker's key.
pub fn worker_calls(
	order: u32,
	signature: Option<sp_core::sr25519::Signature>,
) -> Vec<RuntimeCall> {
	[
		Call::confirm_deployment { order, signature },
		Call::fail_deployment {
			order,
			reason: DeployFailure::Unhealthy,
			signature,
		},
		Call::report_exit {
			order,
			code: 1,
			signature,
		},
	]
	.map(RuntimeCall::Rentals)
	.to_vec()
}

/// Returns every call of governance.
pub fn governed_calls() -> Vec<RuntimeCall> {
	[
		Call::set_price {
			class: 5,
			reference: Some(1),
		},
		Call::set_cost {
			class: 5,
			cost: None,
		},
		Call::set_contingency { on: true },
		Call::set_oracle { oracle: None },
		Call::set_template {
			id: 0,
			template: None,
		},
	]
	.map(RuntimeCall::Rentals)
	.to_vec()
}

/// Dispatches as the runtime does: a failed call changes nothing.
pub fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> sp_runtime::DispatchResult {
	call.dispatch(origin)
		.map(|_| ())
		.map_err(|error| error.error)
}

#[test]
fn calls_fail_for_other_origins() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = deployed(CARLA, 1);
		let mut calls = customer_calls(id);
		calls.push(RuntimeCall::Rentals(Call::close_order { order: id }));
		calls.push(RuntimeCall::Rentals(Call::place_order {
			requirement: ONE,
			workload: workload(),
			hours: 1,
			plan: Plan::OnDemand,
			max_price: Balance::MAX,
			credits: 0,
			client_key: client_key(),
		}));
		let workers = worker_calls(id, None);
		let governed = governed_calls();
		assert_eq!(
			calls.len() + workers.len() + governed.len(),
			13,
			"all calls"
		);
		for call in calls.into_iter().chain(workers) {
			for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
				assert_noop!(dispatch(call.clone(), origin), DispatchError::BadOrigin);
			}
		}
		for call in governed {
			for origin in [signed(CARLA), RuntimeOrigin::none()] {
				assert_noop!(dispatch(call.clone(), origin), DispatchError::BadOrigin);
			}
		}
	});
}

#[test]
fn calls_fail_for_another_account_and_for_an_unknown_order() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, _) = placed(CARLA, 1);
		for call in [0, 1].map(|at| worker_calls(id, None)[at].clone()) {
			assert_noop!(dispatch(call, signed(CARLA)), Error::<Test>::NotOwner);
		}
		confirm(id);
		let exit = worker_calls(id, None)[2].clone();
		assert_noop!(dispatch(exit, signed(CARLA)), Error::<Test>::NotOwner);
		for call in customer_calls(id) {
			assert_noop!(dispatch(call, signed(DAN)), Error::<Test>::NotCustomer);
		}
		let signature = Some(sp_core::sr25519::Signature::from_raw([1; 64]));
		for call in worker_calls(id, signature) {
			assert_noop!(
				dispatch(call, signed(PETRA)),
				Error::<Test>::SignatureNotExpected
			);
		}
		let unknown = customer_calls(9)
			.into_iter()
			.chain(worker_calls(9, None))
			.chain([RuntimeCall::Rentals(Call::close_order { order: 9 })]);
		for call in unknown {
			assert_noop!(dispatch(call, signed(CARLA)), Error::<Test>::UnknownOrder);
		}
	});
}

#[test]
fn genesis_founds_the_pot_and_the_book() {
	ExtBuilder.build_and_execute(|| {
		assert_eq!(free(Rentals::pot()), ED);
		assert_eq!(Rentals::price(CLASS).unwrap().on_demand, PRICE);
	});
}
