//! Tests that signed transactions stay below fee-less calls, whatever the call, fee or tip.

use super::{begin_block, every_call, on_preset};
use crate::{
	Balances, Executive, Nonce, Runtime, RuntimeCall, SignedPayload, TransactionPayment,
	TxExtension, UncheckedExtrinsic,
	configs::extension,
	fees::{self, FeeAdjustment},
	priority::{ChargeTransactionPayment, MAX_SIGNED},
};
use codec::Encode;
use frame_support::{
	dispatch::{DispatchClass, GetDispatchInfo},
	traits::fungible::Mutate,
	weights::{Weight, constants::WEIGHT_REF_TIME_PER_SECOND},
};
use kaisar_primitives::{Balance, KAI, Verdict};
use pallet_transaction_payment::Multiplier;
use scale_info::TypeInfo;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
	generic::Era,
	traits::{Convert, One, TransactionExtension},
	transaction_validity::{
		InvalidTransaction, TransactionSource, TransactionValidityError, ValidTransaction,
	},
};

/// Largest tip that leaves room for everything else in a balance.
const LARGEST_TIP: Balance = Balance::MAX / 4;

/// Returns a transaction of Alice, who can pay any tip.
fn signed(call: RuntimeCall, tip: Balance) -> UncheckedExtrinsic {
	signed_at(0, call, tip)
}

fn signed_at(nonce: Nonce, call: RuntimeCall, tip: Balance) -> UncheckedExtrinsic {
	let extension: TxExtension = extension(nonce, Era::Immortal, tip);
	let payload = SignedPayload::new(call, extension).expect("the implicit parts are known");
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
				// These are inherents, which nobody can send, and calls that fill a block, which only root
				// makes.
				Err(TransactionValidityError::Invalid(
					InvalidTransaction::MandatoryValidation | InvalidTransaction::ExhaustsResources,
				)) => {}
				Err(error) => panic!("{call:?}: {error:?}"),
			}
		}
		assert!(validated > 140, "{validated} calls");
	});
}

/// Returns the most expensive call that an operator's account can sign: a reveal of 64 votes that always
/// fails.
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
		let valid = validate(signed(reveal(), 0)).expect("the transaction is valid");
		assert!(valid.priority <= MAX_SIGNED);
		assert!(valid.priority > 0);
	});
}

#[test]
fn tips_order_transactions_up_to_a_million_kai() {
	with_rich_alice(|| {
		let call = || RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
		let priority = |tip| {
			validate(signed(call(), tip))
				.expect("the transaction is valid")
				.priority
		};
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
	// Its weight is not less than the pallet's.
	let call = reveal();
	let known = <Known as TransactionExtension<RuntimeCall>>::weight(&Known::from(0), &call);
	assert!(
		ChargeTransactionPayment::from(0)
			.weight(&call)
			.all_gte(known)
	);
	assert!(call.get_dispatch_info().total_weight().all_gt(known));
}

/// Runs a block with this number of reveals that fail, and returns the fee multiplier after it.
fn multiplier_after(reveals: Nonce) -> Multiplier {
	let mut multiplier = Multiplier::default();
	with_rich_alice(|| {
		begin_block(2, 150_000_002);
		for nonce in 0..reveals {
			let applied = Executive::apply_extrinsic(signed_at(nonce, reveal(), 0));
			// The call fails, and its fee is charged.
			assert!(matches!(applied, Ok(Err(_))), "{applied:?}");
		}
		Executive::finalize_block();
		multiplier = TransactionPayment::next_fee_multiplier();
	});
	multiplier
}

#[test]
fn a_flood_of_operational_calls_makes_itself_dearer() {
	assert!(multiplier_after(0) < Multiplier::one());
	assert!(multiplier_after(16) > Multiplier::one());
}

#[test]
fn work_that_pays_nothing_moves_no_fee() {
	with_rich_alice(|| {
		let after = |free: bool| {
			crate::System::set_block_consumed_resources(Weight::zero(), 0);
			let work = Weight::from_parts(2 * WEIGHT_REF_TIME_PER_SECOND, 0);
			crate::System::register_extra_weight_unchecked(work, DispatchClass::Operational);
			if free {
				fees::note_free(work);
			}
			FeeAdjustment::convert(Multiplier::one())
		};
		let quiet = {
			crate::System::set_block_consumed_resources(Weight::zero(), 0);
			FeeAdjustment::convert(Multiplier::one())
		};
		assert_eq!(after(true), quiet);
		assert!(after(false) > Multiplier::one());
		// A record of free work counts only in its own block.
		assert!(after(false) > Multiplier::one());
	});
}
