//! Priorities of transactions, in three bands.
//!
//! | Band | Transactions |
//! | --- | --- |
//! | `u64::MAX` | fee-less calls of rounds, whose phases do not wait |
//! | `u64::MAX / 2` | fee-less calls of orders, `finalize` and `annul_strike` |
//! | at most [`MAX_SIGNED`] | every signed transaction, whatever its class, fee or tip |
//!
//! `pallet-transaction-payment` computes priorities for tokens with 10 to 12 decimals. With KAI's 18, every
//! operational call, and every other one with a tip of 0.0013 KAI, would have the highest priority possible,
//! and anyone who fills blocks with them would keep attestations and votes out. So fee and tip are first
//! divided by [`UNIT`], and the resulting priority is capped.

use crate::{Runtime, RuntimeCall, RuntimeOrigin, constants::RuntimeBlockWeights, fees};
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::{dispatch::Pays, weights::Weight};
use kaisar_primitives::Balance;
use pallet_transaction_payment::{ChargeTransactionPayment as Charge, Pre, Val};
use scale_info::{Type, TypeInfo};
use sp_runtime::{
	DispatchResult,
	traits::{
		DispatchInfoOf, Implication, PostDispatchInfoOf, TransactionExtension, ValidateResult,
	},
	transaction_validity::{TransactionPriority, TransactionSource, TransactionValidityError},
};

/// Highest priority of a signed transaction.
pub const MAX_SIGNED: TransactionPriority = TransactionPriority::MAX / 4;

/// Number of KAI units that count as one in a priority: nine decimals remain. Tips keep their order up to
/// about a million KAI a transaction.
pub const UNIT: Balance = 1_000_000_000;

/// Extension that charges fees as `pallet-transaction-payment` does, keeps signed transactions below
/// fee-less calls, and records the work that paid nothing, which [`fees::FeeAdjustment`] leaves out. To
/// wallets it is that pallet's extension: its name, type and encoding are the same.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct ChargeTransactionPayment(Charge<Runtime>);

impl ChargeTransactionPayment {
	/// Creates the extension of a transaction with this tip, in KAI units.
	pub fn from(tip: Balance) -> Self {
		Self(Charge::from(tip))
	}
}

impl TypeInfo for ChargeTransactionPayment {
	type Identity = <Charge<Runtime> as TypeInfo>::Identity;

	fn type_info() -> Type {
		Charge::<Runtime>::type_info()
	}
}

impl TransactionExtension<RuntimeCall> for ChargeTransactionPayment {
	const IDENTIFIER: &'static str =
		<Charge<Runtime> as TransactionExtension<RuntimeCall>>::IDENTIFIER;
	type Implicit = ();
	type Val = <Charge<Runtime> as TransactionExtension<RuntimeCall>>::Val;
	type Pre = <Charge<Runtime> as TransactionExtension<RuntimeCall>>::Pre;

	/// Returns the weight of the pallet's extension, and of the record of work that paid nothing.
	fn weight(&self, call: &RuntimeCall) -> Weight {
		let note = <Runtime as frame_system::Config>::DbWeight::get().reads_writes(1, 1);
		self.0.weight(call).saturating_add(note)
	}

	fn validate(
		&self,
		origin: RuntimeOrigin,
		call: &RuntimeCall,
		info: &DispatchInfoOf<RuntimeCall>,
		len: usize,
		implicit: (),
		implication: &impl Implication,
		source: TransactionSource,
	) -> ValidateResult<Self::Val, RuntimeCall> {
		let (mut valid, val, origin) =
			self.0
				.validate(origin, call, info, len, implicit, implication, source)?;
		if let Val::Charge {
			tip, fee_with_tip, ..
		} = &val
		{
			let priority =
				Charge::<Runtime>::get_priority(info, len, tip / UNIT, fee_with_tip / UNIT);
			valid.priority = priority.min(MAX_SIGNED);
		}
		Ok((valid, val, origin))
	}

	fn prepare(
		self,
		val: Self::Val,
		origin: &RuntimeOrigin,
		call: &RuntimeCall,
		info: &DispatchInfoOf<RuntimeCall>,
		len: usize,
	) -> Result<Self::Pre, TransactionValidityError> {
		self.0.prepare(val, origin, call, info, len)
	}

	fn post_dispatch_details(
		pre: Self::Pre,
		info: &DispatchInfoOf<RuntimeCall>,
		post_info: &PostDispatchInfoOf<RuntimeCall>,
		len: usize,
		result: &DispatchResult,
	) -> Result<Weight, TransactionValidityError> {
		if matches!(pre, Pre::NoCharge { .. }) || post_info.pays_fee(info) == Pays::No {
			let base = RuntimeBlockWeights::get().get(info.class).base_extrinsic;
			fees::note_free(post_info.calc_actual_weight(info).saturating_add(base));
		}
		Charge::<Runtime>::post_dispatch_details(pre, info, post_info, len, result)
	}
}
