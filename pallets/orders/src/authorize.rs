//! Fee-less calls of workers' nodes: the pool admits only calls that will succeed.
//!
//! Every check of the call is made here first, and the signature, which costs most, last. Each of the calls
//! ends the state that it requires, so an order yields at most one block's worth of them: the pool cannot be
//! flooded.

use crate::pallet::*;
use frame_support::pallet_prelude::{TransactionSource, TransactionValidityWithRefund};
use kaisar_primitives::{
	BlockNumber, Checks, DeployFailure, OrderId, WorkerId, WorkerRegistry,
	authorized::{self, genesis, refusal},
	order_payload,
};
use sp_core::sr25519;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionPriority};

/// Blocks for which a report of an exit may wait in a pool.
const REPORT_LONGEVITY: BlockNumber = 64;

/// Maps an error to the refusal that the submitter sees.
fn refuse<T: Config>(error: Error<T>) -> InvalidTransaction {
	match error {
		// Done already, or overtaken.
		Error::WrongState | Error::DeadlineOver | Error::WorkerLost => InvalidTransaction::Stale,
		other => refusal(other),
	}
}

fn accept(
	call: &'static str,
	order: OrderId,
	blocks: BlockNumber,
) -> TransactionValidityWithRefund {
	// Below the calls of rounds, whose phases do not wait.
	authorized::accept(call, order, TransactionPriority::MAX / 2, blocks.into())
}

impl<T: Config> Pallet<T> {
	/// Verifies that the worker serves the order and that its key signed the payload.
	fn verify(
		id: OrderId,
		worker: WorkerId,
		signature: &Option<sr25519::Signature>,
		payload: &[u8; 32],
	) -> Result<(), InvalidTransaction> {
		let info = T::Workers::info(worker, T::Checks::next_round())
			.filter(|info| info.order == Some(id))
			.ok_or_else(|| refuse::<T>(Error::WorkerLost))?;
		authorized::verify(signature, payload, info.key.as_ref())
	}

	pub(crate) fn authorize_confirm(
		_source: TransactionSource,
		id: &OrderId,
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (order, worker) = Self::ensure_deploying(*id).map_err(refuse::<T>)?;
		let payload = order_payload(b"kaisar/confirm_deployment", genesis::<T>(), (id,));
		Self::verify(*id, worker, signature, &payload)?;
		accept(
			"orders/deployment",
			*id,
			order.deploy_by.saturating_sub(Self::now()),
		)
	}

	pub(crate) fn authorize_fail(
		_source: TransactionSource,
		id: &OrderId,
		reason: &DeployFailure,
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (order, worker) = Self::ensure_deploying(*id).map_err(refuse::<T>)?;
		let payload = order_payload(b"kaisar/fail_deployment", genesis::<T>(), (id, reason));
		Self::verify(*id, worker, signature, &payload)?;
		accept(
			"orders/deployment",
			*id,
			order.deploy_by.saturating_sub(Self::now()),
		)
	}

	pub(crate) fn authorize_exit(
		_source: TransactionSource,
		id: &OrderId,
		code: &i32,
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (_, worker) = Self::ensure_served(*id).map_err(refuse::<T>)?;
		let payload = order_payload(b"kaisar/report_exit", genesis::<T>(), (id, code));
		Self::verify(*id, worker, signature, &payload)?;
		accept("orders/exit", *id, REPORT_LONGEVITY)
	}
}
