//! Tests of fee-less calls: the pool refuses calls that would fail, and carries those that work.

use super::*;
use codec::Encode;
use frame_support::{pallet_prelude::TransactionSource, traits::Authorize};
use kaisar_primitives::order_payload;
use sp_core::{Pair, sr25519};
use sp_runtime::transaction_validity::{
	InvalidTransaction, TransactionValidityError, ValidTransaction,
};

fn pool(call: Call<Test>) -> Result<ValidTransaction, InvalidTransaction> {
	RuntimeCall::from(call)
		.authorize(TransactionSource::External)
		.expect("the call can be authorized")
		.map(|(valid, _)| valid)
		.map_err(|error| match error {
			TransactionValidityError::Invalid(invalid) => invalid,
			other => panic!("{other:?}"),
		})
}

fn send(call: Call<Test>) -> sp_runtime::DispatchResult {
	dispatch(call.into(), frame_system::RawOrigin::Authorized.into())
}

fn sign<const N: usize>(
	worker: u32,
	domain: &[u8; N],
	arguments: impl Encode,
) -> Option<sr25519::Signature> {
	let payload = order_payload(
		domain,
		kaisar_primitives::authorized::genesis::<Test>(),
		arguments,
	);
	Some(pair(worker).sign(&payload))
}

fn confirm_call(order: u32, signature: Option<sr25519::Signature>) -> Call<Test> {
	Call::confirm_deployment { order, signature }
}

fn good_confirm(order: u32, worker: u32) -> Call<Test> {
	confirm_call(order, sign(worker, b"kaisar/confirm_deployment", (order,)))
}

fn good_fail(order: u32, worker: u32) -> Call<Test> {
	let reason = DeployFailure::StartFailed;
	Call::fail_deployment {
		order,
		reason,
		signature: sign(worker, b"kaisar/fail_deployment", (order, reason)),
	}
}

fn good_exit(order: u32, worker: u32) -> Call<Test> {
	Call::report_exit {
		order,
		code: -1,
		signature: sign(worker, b"kaisar/report_exit", (order, -1i32)),
	}
}

#[test]
fn an_order_is_deployed_and_ends_fee_less() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		let valid = pool(good_confirm(id, worker)).unwrap();
		assert_eq!(valid.longevity, u64::from(DEADLINE));
		// The pool keeps one of the two calls that report the deployment's result.
		assert_eq!(
			valid.provides,
			pool(good_fail(id, worker)).unwrap().provides
		);
		assert_ok!(send(good_confirm(id, worker)));
		assert_eq!(state(id), OrderState::Active);
		let exit = pool(good_exit(id, worker)).unwrap();
		assert_ne!(exit.provides, valid.provides);
		assert_ok!(send(good_exit(id, worker)));
		assert_eq!(state(id), closed(CloseReason::Exited));
	});
}

#[test]
fn a_deployment_fails_fee_less() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		assert_ok!(pool(good_fail(id, worker)));
		assert_ok!(send(good_fail(id, worker)));
		assert_eq!(state(id), closed(CloseReason::DeployFailed));
	});
}

#[test]
fn what_would_fail_is_refused() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let id = place(CARLA, 1);
		assert_eq!(
			pool(good_confirm(id, 0)),
			Err(InvalidTransaction::Stale),
			"not matched yet"
		);
		let (_, worker) = matched(id);
		assert_eq!(pool(good_exit(id, worker)), Err(InvalidTransaction::Stale));
		assert!(matches!(
			pool(good_confirm(7, worker)),
			Err(InvalidTransaction::Custom(_))
		));
		frame_support::hypothetically!({
			System::set_block_number(order(id).deploy_by + 1);
			assert_eq!(
				pool(good_confirm(id, worker)),
				Err(InvalidTransaction::Stale)
			);
			assert_eq!(pool(good_fail(id, worker)), Err(InvalidTransaction::Stale));
		});
		frame_support::hypothetically!({
			with_machine(worker, |machine| machine.order = None);
			assert_eq!(
				pool(good_confirm(id, worker)),
				Err(InvalidTransaction::Stale)
			);
		});
		assert_ok!(send(good_confirm(id, worker)));
		// A call that succeeded is refused a second time.
		assert_eq!(
			pool(good_confirm(id, worker)),
			Err(InvalidTransaction::Stale)
		);
		assert_eq!(pool(good_fail(id, worker)), Err(InvalidTransaction::Stale));
	});
}

#[test]
fn anothers_signature_is_none() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = placed(CARLA, 1);
		let bad = Err(InvalidTransaction::BadProof);
		assert_eq!(pool(confirm_call(id, None)), bad);
		// Another worker's key, another order, another call, another argument.
		assert_eq!(
			pool(confirm_call(
				id,
				sign(worker + 1, b"kaisar/confirm_deployment", (id,))
			)),
			bad
		);
		assert_eq!(
			pool(confirm_call(
				id,
				sign(worker, b"kaisar/confirm_deployment", (id + 1,))
			)),
			bad
		);
		assert_eq!(
			pool(confirm_call(id, sign(worker, b"kaisar/report_exit", (id,)))),
			bad
		);
		let other = Call::fail_deployment {
			order: id,
			reason: DeployFailure::Unhealthy,
			signature: sign(
				worker,
				b"kaisar/fail_deployment",
				(id, DeployFailure::StartFailed),
			),
		};
		assert_eq!(pool(other), bad);
		confirm(id);
		let other = Call::report_exit {
			order: id,
			code: 0,
			signature: sign(worker, b"kaisar/report_exit", (id, 1i32)),
		};
		assert_eq!(pool(other), bad);
	});
}

#[test]
fn a_fee_less_call_that_comes_too_late_is_used_up() {
	ExtBuilder.build_and_execute(|| {
		add_machine(PETRA);
		let (id, worker) = deployed(CARLA, 1);
		with_machine(worker, |machine| {
			machine.open = Some((now() + 1, Some(Verdict::Offline)))
		});
		assert_ok!(pool(good_exit(id, worker)));
		// The touch ends the order; if the call failed, that would be undone and it could be sent again.
		assert_ok!(send(good_exit(id, worker)));
		assert_eq!(state(id), closed(CloseReason::WorkerFailed));
		assert_eq!(pool(good_exit(id, worker)), Err(InvalidTransaction::Stale));
	});
}
