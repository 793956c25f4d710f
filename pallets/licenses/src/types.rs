//! What a sale is.

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
	/// Price of a license, before any discount.
	pub price: Balance,
	/// Anyone may buy. If not, only who is on the whitelist or has a referrer.
	pub public: bool,
	/// Off the price for who is on the whitelist.
	pub whitelist_discount: Perbill,
	/// Off the price for who has a referrer. Discounts do not add up: the larger holds.
	pub referral_discount: Perbill,
	/// The referrer's part of what the buyer pays.
	pub referral_commission: Perbill,
	/// Licenses that an account may buy in this round. The round is known by its first block: a sale
	/// that is set again with the same one is the same round with other terms.
	pub per_account_limit: u32,
	/// The first block.
	pub starts: BlockNumber,
	/// The first block no more.
	pub ends: BlockNumber,
}

/// What an account bought in the last round in which it bought anything.
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
	/// Licenses.
	pub count: u32,
}

/// What a purchase costs, and who gets it.
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
	/// What the buyer pays in all.
	pub paid: Balance,
	/// The part of it that the referrer gets. The rest is the treasury's.
	pub commission: Balance,
	/// The discount that is in it.
	pub discount: Perbill,
}
