//! Types of the sale.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_runtime::Perbill;

/// A round of the sale.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
	Serialize,
	Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SaleRound<Balance, BlockNumber> {
	/// The price of a license, before any discount.
	pub price: Balance,
	/// Whether anyone may buy. Otherwise only accounts on the whitelist, and buyers with a referrer.
	pub public: bool,
	/// Discount for accounts on the whitelist.
	pub whitelist_discount: Perbill,
	/// Discount for referred buyers. Discounts do not add up; the larger one applies.
	pub referral_discount: Perbill,
	/// The referrer's part of the buyer's payment.
	pub referral_commission: Perbill,
	/// Maximum number of licenses that an account may buy in this round. A round is identified by its first
	/// block: a sale set again with the same first block is the same round with other terms.
	pub per_account_limit: u32,
	/// The first block.
	pub starts: BlockNumber,
	/// The first block after the round.
	pub ends: BlockNumber,
}

/// An account's purchases in the last round in which it bought anything.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Bought<BlockNumber> {
	/// The first block of that round.
	pub round: BlockNumber,
	/// The number of licenses.
	pub count: u32,
}

/// The price of a purchase, and the shares of its recipients.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Quote<Balance> {
	/// The total that the buyer pays.
	pub paid: Balance,
	/// The referrer's part of it. The rest goes to the treasury.
	pub commission: Balance,
	/// The discount included in it.
	pub discount: Perbill,
}
