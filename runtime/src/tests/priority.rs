//! Signed transactions stay below fee-less calls, whatever they are and pay.

use super::on_preset;
use crate::{
	Balances, Executive, Runtime, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic,
	configs::extension,
	priority::{ChargeTransactionPayment, MAX_SIGNED},
};
use codec::{Decode, Encode};
use frame_support::{dispatch::GetDispatchInfo, traits::fungible::Mutate};
use kaisar_primitives::{Balance, KAI, Verdict};
use scale_info::TypeInfo;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
	generic::Era,
	traits::{TrailingZeroInput, TransactionExtension},
	transaction_validity::{
		InvalidTransaction, TransactionSource, TransactionValidityError, ValidTransaction,
	},
};

/// The largest tip that leaves room for everything else in a balance.
const LARGEST_TIP: Balance = Balance::MAX / 4;

/// A transaction of Alice's, who can pay any tip.
fn signed(call: RuntimeCall, tip: Balance) -> UncheckedExtrinsic {
	let extension: TxExtension = extension(0, Era::Immortal, tip);
	let payload = SignedPayload::new(call, extension).expect("its implicit parts are known");
	let signature = payload.using_encoded(|bytes| Sr25519Keyring::Alice.sign(bytes));
	let (call, extension, _) = payload.deconstruct();
	let sender = Sr25519Keyring::Alice.to_account_id();
	UncheckedExtrinsic::new_signed(call, sender.into(), signature.into(), extension)
}

fn validate(extrinsic: UncheckedExtrinsic) -> Result<ValidTransaction, TransactionValidityError> {
	Executive::validate_transaction(TransactionSource::External, extrinsic, Default::default())
}

fn with_rich_alice(test: impl FnOnce()) {
	on_preset("development", || {
		crate::System::set_block_number(1);
		Balances::set_balance(&Sr25519Keyring::Alice.to_account_id(), Balance::MAX / 2);
		test();
	});
}

/// Every call of the runtime, with the arguments that zero bytes encode.
fn every_call() -> Vec<RuntimeCall> {
	(0..=u8::MAX)
		.flat_map(|pallet| (0..=u8::MAX).map(move |call| [pallet, call]))
		.filter_map(|index| RuntimeCall::decode(&mut TrailingZeroInput::new(&index)).ok())
		.collect()
}

#[test]
fn no_call_that_is_signed_comes_before_a_fee_less_one() {
	with_rich_alice(|| {
		let calls = every_call();
		assert!(calls.len() > 150, "{} calls", calls.len());
		let mut validated = 0;
		for call in calls {
			match validate(signed(call.clone(), LARGEST_TIP)) {
				Ok(valid) => {
					assert!(valid.priority <= MAX_SIGNED, "{call:?}: {}", valid.priority);
					validated += 1;
				}
				// Inherents, which nobody can send, and calls that fill a block, which root alone makes.
				Err(TransactionValidityError::Invalid(
					InvalidTransaction::MandatoryValidation | InvalidTransaction::ExhaustsResources,
				)) => {}
				Err(error) => panic!("{call:?}: {error:?}"),
			}
		}
		assert!(validated > 140, "{validated} calls");
	});
}

/// The costliest call that an operator's account can sign: a reveal of 64 votes that is sure to fail.
fn reveal() -> RuntimeCall {
	RuntimeCall::Popw(pallet_popw::Call::reveal {
		operator: 0,
		round: 0,
		batch: 0,
		votes: vec![(0, Verdict::OFFLINE); 64]
			.try_into()
			.expect("64 votes are a batch"),
		salt: [0; 32],
		signature: None,
	})
}

#[test]
fn an_operational_call_without_a_tip_is_among_the_signed() {
	with_rich_alice(|| {
		let valid = validate(signed(reveal(), 0)).expect("it is valid");
		assert!(valid.priority <= MAX_SIGNED);
		assert!(valid.priority > 0);
	});
}

#[test]
fn tips_order_transactions_up_to_a_million_kai() {
	with_rich_alice(|| {
		let call = || RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
		let priority = |tip| validate(signed(call(), tip)).expect("it is valid").priority;
		let tips = [0, KAI / 1_000, KAI, 1_000 * KAI, 100_000 * KAI];
		assert!(tips.map(priority).is_sorted_by(|low, high| low < high));
	});
}

#[test]
fn wallets_see_the_extension_that_they_know() {
	type Known = pallet_transaction_payment::ChargeTransactionPayment<Runtime>;
	assert_eq!(
		<ChargeTransactionPayment as TransactionExtension<RuntimeCall>>::IDENTIFIER,
		"ChargeTransactionPayment"
	);
	assert_eq!(ChargeTransactionPayment::type_info(), Known::type_info());
	for tip in [0, 1, KAI, Balance::MAX] {
		assert_eq!(
			ChargeTransactionPayment::from(tip).encode(),
			Known::from(tip).encode()
		);
	}
	// It charges no less than before.
	let call = reveal();
	let known = <Known as TransactionExtension<RuntimeCall>>::weight(&Known::from(0), &call);
	assert_eq!(ChargeTransactionPayment::from(0).weight(&call), known);
	assert!(call.get_dispatch_info().total_weight().all_gt(known));
}
