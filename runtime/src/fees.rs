//! What a transaction costs, and who gets it.
//!
//! The base fee, of a transaction that does nothing, is about 0.001 KAI; work and length are
//! charged in proportion. The multiplier follows how full blocks are, as on the networks that this
//! rule was made for. Of fees and tips 80 % goes to the [validators' pot](FeePotId), which is paid
//! out with the era, and 20 % to the treasury. Fee-less calls (those of rounds) pay nothing.

use crate::{AccountId, Balances, Runtime};
use frame_support::{
	PalletId, parameter_types,
	traits::{
		Imbalance, OnUnbalanced,
		fungible::{Balanced, Credit},
	},
};
use kaisar_primitives::Balance;
use pallet_transaction_payment::{Multiplier, TargetedFeeAdjustment};
use sp_runtime::{FixedPointNumber, Perquintill, traits::AccountIdConversion};

parameter_types! {
	/// KAI units for a picosecond of work: 10 KAI for a second, 0.001 KAI for the base of a
	/// transaction.
	pub const FeePerRefTime: Balance = 10_000_000;
	/// KAI units for a byte of length: 0.000001 KAI.
	pub const FeePerByte: Balance = kaisar_primitives::MICRO_KAI;
	/// How many times more an operational transaction's tip counts in its priority.
	pub const OperationalFeeMultiplier: u8 = 5;
	/// The part of a block that normal transactions fill at which fees stand still.
	pub const TargetBlockFullness: Perquintill = Perquintill::from_percent(25);
	/// How fast the multiplier moves.
	pub AdjustmentVariable: Multiplier = Multiplier::saturating_from_rational(75, 1_000_000);
	/// The least that the multiplier can be.
	pub MinimumMultiplier: Multiplier = Multiplier::saturating_from_rational(1, 10u128);
	/// The most that it can be.
	pub MaximumMultiplier: Multiplier = Multiplier::from_u32(1_000_000);
	/// The pot of the validators' part of fees.
	pub const FeePotId: PalletId = PalletId(*b"kai/vfee");
	/// The treasury.
	pub const TreasuryPalletId: PalletId = PalletId(*b"kai/trsy");
}

/// Moves the fee multiplier with how full blocks are.
pub type FeeAdjustment = TargetedFeeAdjustment<
	Runtime,
	TargetBlockFullness,
	AdjustmentVariable,
	MinimumMultiplier,
	MaximumMultiplier,
>;

/// The part of a fee, in per cent, that the validators get. The treasury gets the rest.
pub const VALIDATORS_PART: u32 = 80;

/// The pot that holds the validators' part of fees until the era pays it out.
pub fn fee_pot() -> AccountId {
	FeePotId::get().into_account_truncating()
}

/// The treasury's account.
pub fn treasury() -> AccountId {
	TreasuryPalletId::get().into_account_truncating()
}

/// Splits fees and tips between the validators' pot and the treasury.
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
		// Either account may be too poor to exist yet; what cannot be put in is burnt, and is below
		// the existential deposit.
		drop(Balances::resolve(&fee_pot(), validators));
		drop(Balances::resolve(&treasury(), treasury_part));
	}
}
