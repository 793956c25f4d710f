//! Transaction fees, and their recipients.
//!
//! The base fee of a transaction that does nothing is about 0.001 KAI; work and length are charged in
//! proportion. The [multiplier](FeeAdjustment) follows the work that is paid for. Of fees and tips, 80 %
//! goes to the [validators' pot](FeePotId), which is paid out with the era, and 20 % to the treasury.
//! Fee-less calls (those of rounds) pay nothing.

use crate::{AccountId, Balances, System, constants::RuntimeBlockWeights};
use frame_support::{
	PalletId,
	dispatch::DispatchClass,
	pallet_prelude::ValueQuery,
	parameter_types, storage_alias,
	traits::{
		Imbalance, OnUnbalanced,
		fungible::{Balanced, Credit},
	},
	weights::Weight,
};
use kaisar_primitives::Balance;
use pallet_transaction_payment::{Multiplier, MultiplierUpdate};
use sp_runtime::{
	FixedPointNumber, Perquintill,
	traits::{AccountIdConversion, Convert, Saturating},
};

parameter_types! {
	/// Fee for a picosecond of work, in KAI units: 10 KAI for a second, 0.001 KAI for the base of a
	/// transaction.
	pub const FeePerRefTime: Balance = 10_000_000;
	/// Fee for a byte of length: 0.000001 KAI.
	pub const FeePerByte: Balance = kaisar_primitives::MICRO_KAI;
	/// Factor by which an operational transaction's tip counts more in its priority.
	pub const OperationalFeeMultiplier: u8 = 5;
	/// Load at which fees stay the same, as a part of the limit on ordinary transactions.
	pub const TargetBlockFullness: Perquintill = Perquintill::from_percent(25);
	/// Speed of the multiplier, `v` of [`FeeAdjustment`].
	pub AdjustmentVariable: Multiplier = Multiplier::saturating_from_rational(75, 1_000_000);
	/// Lower limit of the multiplier.
	pub MinimumMultiplier: Multiplier = Multiplier::saturating_from_rational(1, 10u128);
	/// Upper limit of the multiplier.
	pub MaximumMultiplier: Multiplier = Multiplier::from_u32(1_000_000);
	/// Id of the pot that holds the validators' part of fees.
	pub const FeePotId: PalletId = PalletId(*b"kai/vfee");
	/// Id of the treasury.
	pub const TreasuryPalletId: PalletId = PalletId(*b"kai/trsy");
}

/// Work in this block that paid nothing: of fee-less transactions, and of signed ones whose fee was
/// remitted.
#[storage_alias(verbatim)]
type FreeWork = StorageValue<KaisarFees, Weight, ValueQuery>;

/// Records work of a transaction in the running block that paid nothing.
pub fn note_free(work: Weight) {
	FreeWork::mutate(|free| *free = free.saturating_add(work));
}

/// Rule that moves the fee multiplier with the work that is paid for, of ordinary and operational
/// transactions alike, so that a flood becomes more expensive for whoever sends it. Rounds pay nothing, and
/// do not move the multiplier: those of a million workers would raise everybody's fees by 3 % a day.
///
/// With load `l`, target `t` and the limit `m` on ordinary transactions, all as work in a block, and `d = (l
/// − t) / m`, the multiplier changes by the factor `1 + v·d + (v·d)² / 2`, as on the networks that this rule
/// was made for.
pub struct FeeAdjustment;

impl FeeAdjustment {
	/// Returns the work in the running block that is paid for, and the limit on ordinary transactions, both
	/// in picoseconds. Takes the record of [`note_free`] out of storage.
	fn load() -> (u64, u64) {
		let weights = RuntimeBlockWeights::get();
		let most = weights
			.get(DispatchClass::Normal)
			.max_total
			.unwrap_or(weights.max_block);
		let done = System::block_weight();
		let done = done
			.get(DispatchClass::Normal)
			.saturating_add(*done.get(DispatchClass::Operational));
		let paid = done.saturating_sub(FreeWork::take());
		(paid.ref_time(), most.ref_time().max(1))
	}
}

impl Convert<Multiplier, Multiplier> for FeeAdjustment {
	/// Returns the next block's multiplier. Runs once, when a block ends.
	fn convert(previous: Multiplier) -> Multiplier {
		let (paid, most) = Self::load();
		let target = TargetBlockFullness::get() * most;
		let distance = Multiplier::saturating_from_rational(paid.abs_diff(target), most);
		let first = AdjustmentVariable::get().saturating_mul(distance);
		let second = first.saturating_mul(first) / Multiplier::from_u32(2);
		let previous = previous.max(Self::min());
		let next = if paid >= target {
			previous.saturating_add(first.saturating_add(second).saturating_mul(previous))
		} else {
			previous.saturating_sub(first.saturating_sub(second).saturating_mul(previous))
		};
		next.clamp(Self::min(), Self::max())
	}
}

impl MultiplierUpdate for FeeAdjustment {
	fn min() -> Multiplier {
		MinimumMultiplier::get()
	}
	fn max() -> Multiplier {
		MaximumMultiplier::get()
	}
	fn target() -> Perquintill {
		TargetBlockFullness::get()
	}
	fn variability() -> Multiplier {
		AdjustmentVariable::get()
	}
}

/// Validators' part of a fee, in percent. The treasury gets the rest.
pub const VALIDATORS_PART: u32 = 80;

/// Returns the account of the pot that holds the validators' part of fees until the era pays it out.
pub fn fee_pot() -> AccountId {
	FeePotId::get().into_account_truncating()
}

/// Returns the treasury's account.
pub fn treasury() -> AccountId {
	TreasuryPalletId::get().into_account_truncating()
}

/// Handler that splits fees and tips between the validators' pot and the treasury.
pub struct DealWithFees;

impl OnUnbalanced<Credit<AccountId, Balances>> for DealWithFees {
	fn on_unbalanceds(mut fees_then_tips: impl Iterator<Item = Credit<AccountId, Balances>>) {
		if let Some(mut fee) = fees_then_tips.next() {
			if let Some(tip) = fees_then_tips.next() {
				tip.merge_into(&mut fee);
			}
			Self::on_unbalanced(fee);
		}
	}

	fn on_nonzero_unbalanced(amount: Credit<AccountId, Balances>) {
		let (validators, treasury_part) = amount.ration(VALIDATORS_PART, 100 - VALIDATORS_PART);
		// Either account may not exist yet. An amount too small to create it is burned: it is below the
		// existential deposit.
		drop(Balances::resolve(&fee_pot(), validators));
		drop(Balances::resolve(&treasury(), treasury_part));
	}
}
