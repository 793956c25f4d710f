//! Stake: an owner's minimum stake, shares of a pool, slashes and bounties.

use crate::{
	DAY,
	arith::{mul_div, mul_div_up},
};
use sp_arithmetic::{Perbill, Perquintill};

/// Returns the owner's minimum stake: `BaseStake + StakePerScore · class score · GPU count`, the class score
/// in hundredths. `None` on overflow.
///
/// ```
/// use kaisar_math::{KAI, stake::minimum};
/// // 8×H100: 500 + 200 · 10 · 8
/// assert_eq!(minimum(500 * KAI, 200 * KAI, 1_000, 8), Some(16_500 * KAI));
/// // No GPU
/// assert_eq!(minimum(500 * KAI, 200 * KAI, 0, 0), Some(500 * KAI));
/// ```
pub fn minimum(base: u128, per_score: u128, class_score: u32, gpu_count: u8) -> Option<u128> {
	let hundredths = u128::from(class_score) * u128::from(gpu_count);
	base.checked_add(mul_div(per_score, hundredths, 100)?)
}

/// Returns the delay, in rounds, before the next try after `failures` failed verifications in a row: 1, 2, 4
/// … No delay without a failure; the doubling ends at 2³⁰, which is ten thousand years.
pub fn retry_delay(failures: u32) -> u32 {
	match failures.checked_sub(1) {
		None => 0,
		Some(doublings) => 1 << doublings.min(30),
	}
}

/// Maximum number of shares for one unit of value. A slash that would leave less value takes the rest too:
/// so a share keeps a price, and the shares of all KAI fit into 128 bits.
pub const SHARES_PER_UNIT: u128 = 1 << 32;

/// Rate of level 1, found offline: of the pool, for each 24 h since the last proof, and the most at once. An
/// accident, however long, therefore costs a tenth, and four hours between two censuses cost 1.67 %.
pub const OFFLINE_RATE: Perbill = Perbill::from_percent(10);
/// Rate of level 2, malice or mass error: of the pool, for each 24 h, of which the first are due at
/// once. Two days of false proofs therefore cost the whole pool.
pub const MALICE_RATE: Perbill = Perbill::from_percent(50);

/// Returns the shares that `amount` buys in a pool worth `value` with `shares` outstanding, rounded down. An
/// empty pool starts at a share a unit. `None` on overflow, or where the outstanding shares are worth
/// nothing.
pub fn shares_for(amount: u128, shares: u128, value: u128) -> Option<u128> {
	if shares == 0 {
		Some(amount)
	} else {
		mul_div(amount, shares, value)
	}
}

/// Returns the shares that pay for taking `amount` out of a pool worth `value`, rounded up, so that the
/// remaining members never lose by it. `None` on overflow, or where the shares are worth nothing.
pub fn shares_of(amount: u128, shares: u128, value: u128) -> Option<u128> {
	mul_div_up(amount, shares, value)
}

/// Returns the value of `part` of a pool's `shares`, rounded down. `None` on overflow, or without shares.
pub fn value_of(part: u128, shares: u128, value: u128) -> Option<u128> {
	if part == 0 {
		Some(0)
	} else {
		mul_div(part, value, shares)
	}
}

/// Returns the rate of a slash by time: `daily` for each 24 h, pro rata over `blocks`, at most 1. Rounded
/// down, so the rates of the parts of a period never sum to more than the rate of the whole.
///
/// ```
/// use kaisar_math::stake::{MALICE_RATE, rate_over};
/// use sp_arithmetic::Perquintill;
/// assert_eq!(rate_over(MALICE_RATE, 10_800), Perquintill::from_percent(75));
/// assert_eq!(rate_over(MALICE_RATE, 100_000), Perquintill::one());
/// ```
pub fn rate_over(daily: Perbill, blocks: u32) -> Perquintill {
	let billionths = u128::from(daily.deconstruct()) * u128::from(blocks);
	let whole = u128::from(Perbill::one().deconstruct()) * u128::from(DAY);
	Perquintill::from_rational(billionths.min(whole), whole)
}

/// Returns the rate of level 1 for an absence of `blocks`: 10 % for each 24 h, at most 10 %.
///
/// ```
/// use kaisar_math::stake::offline_rate;
/// use sp_arithmetic::Perquintill;
/// assert_eq!(offline_rate(3_600), Perquintill::from_percent(5));
/// assert_eq!(offline_rate(100_000), Perquintill::from_percent(10));
/// ```
pub fn offline_rate(blocks: u32) -> Perquintill {
	rate_over(OFFLINE_RATE, blocks.min(DAY))
}

/// Returns the rate of level 2 for false proofs over `blocks`: 50 % for each 24 h, the first of them at
/// once.
pub fn malice_rate(blocks: u32) -> Perquintill {
	rate_over(MALICE_RATE, blocks.max(DAY))
}

/// Returns the amount that a slash at `rate` takes of `value`, rounded down: never more than the rate.
pub fn slash_at(rate: Perquintill, value: u128) -> u128 {
	let whole = Perquintill::one().deconstruct();
	// A part of `value` always fits.
	mul_div(value, rate.deconstruct().into(), whole.into()).unwrap_or(value)
}

/// Returns the amount taken of a part worth `value` with `shares` outstanding when `amount` is slashed: all
/// of it where less than a unit for [`SHARES_PER_UNIT`] shares would remain.
pub fn slash_shared(amount: u128, shares: u128, value: u128) -> u128 {
	match value.checked_sub(amount) {
		Some(left) if amount == 0 || left >= shares.div_ceil(SHARES_PER_UNIT) => amount,
		_ => value,
	}
}

/// Returns the bounty of a slash, rounded down, divided into the parts of the reporter, which found the
/// fault, and of the account that applied the slash: half each, the odd unit to the latter; all to the
/// latter where nobody reported it.
///
/// ```
/// use kaisar_math::stake::bounty;
/// use sp_arithmetic::Perbill;
/// let one = Perbill::from_percent(1);
/// assert_eq!(bounty(10_100, one, true), (50, 51));
/// assert_eq!(bounty(10_100, one, false), (0, 101));
/// ```
pub fn bounty(slashed: u128, rate: Perbill, found: bool) -> (u128, u128) {
	let all = rate.mul_floor(slashed);
	let finder = if found { all / 2 } else { 0 };
	(finder, all - finder)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::KAI;
	use proptest::prelude::*;
	use sp_arithmetic::traits::Saturating;

	#[test]
	fn minimum_by_claim() {
		let least = |score, count| minimum(500 * KAI, 200 * KAI, score, count).unwrap();
		assert_eq!(least(0, 0), 500 * KAI);
		assert_eq!(least(75, 1), 650 * KAI);
		assert_eq!(least(1_000, 1), 2_500 * KAI);
		assert_eq!(least(1_000, 255), 510_500 * KAI);
		assert_eq!(minimum(u128::MAX, 200 * KAI, 1, 1), None);
	}

	#[test]
	fn delays_double() {
		assert_eq!([0, 1, 2, 3, 4, 5].map(retry_delay), [0, 1, 2, 4, 8, 16]);
		assert_eq!(retry_delay(u32::MAX), 1 << 30);
	}

	#[test]
	fn what_is_left_below_the_least_price_is_taken_too() {
		let unit = SHARES_PER_UNIT;
		// A price at the minimum stays, one a unit lower does not.
		assert_eq!(slash_shared(90, 10 * unit, 100), 90);
		assert_eq!(slash_shared(91, 10 * unit, 100), 100);
		assert_eq!(slash_shared(90, 10 * unit + 1, 100), 100);
		assert_eq!(slash_shared(100, 10, 100), 100);
		assert_eq!(slash_shared(0, 10, 100), 0);
		assert_eq!(slash_shared(0, 0, 0), 0);
		// More than the value.
		assert_eq!(slash_shared(101, 10, 100), 100);
	}

	#[test]
	fn the_shares_of_all_kai_fit() {
		// The whole supply, joined at the minimum price by the whole supply.
		let supply = 1_000_000_000 * KAI;
		let shares = supply.checked_mul(SHARES_PER_UNIT).unwrap();
		let more = shares_for(supply, shares, supply).unwrap();
		assert!(shares.checked_add(more).is_some());
	}

	#[test]
	fn malice_is_charged_a_day_at_once_and_by_time_after_it() {
		let percent = Perquintill::from_percent;
		assert_eq!([0, 25, DAY].map(malice_rate), [percent(50); 3]);
		assert_eq!(malice_rate(DAY + DAY / 2), percent(75));
		assert_eq!(
			[2 * DAY, 3 * DAY, u32::MAX].map(malice_rate),
			[percent(100); 3]
		);
	}

	#[test]
	fn a_bounty_is_a_part_of_the_slash() {
		let one = Perbill::from_percent(1);
		assert_eq!(bounty(0, one, true), (0, 0));
		assert_eq!(bounty(99, one, true), (0, 0));
		assert_eq!(bounty(100, one, true), (0, 1));
		assert_eq!(bounty(200, one, true), (1, 1));
		assert_eq!(bounty(u128::MAX, Perbill::one(), false), (0, u128::MAX));
	}

	#[test]
	fn an_absence_is_charged_by_time_for_a_day_at_most() {
		let taken = |blocks| slash_at(offline_rate(blocks), 1_000 * KAI);
		assert_eq!(taken(0), 0);
		assert_eq!(taken(DAY), 100 * KAI);
		assert_eq!(taken(DAY + 1), 100 * KAI);
		assert_eq!(taken(DAY / 4), 25 * KAI);
	}

	#[test]
	fn a_rate_takes_no_more_than_there_is() {
		assert_eq!(slash_at(Perquintill::one(), u128::MAX), u128::MAX);
		assert_eq!(slash_at(Perquintill::zero(), u128::MAX), 0);
		assert_eq!(slash_at(Perquintill::from_percent(50), 1), 0);
	}

	proptest! {
		#[test]
		fn rounding_creates_no_value(
			value in 1u128..100_000 * KAI, shares in 1u128..100_000 * KAI, amount in 0u128..100_000 * KAI,
		) {
			// In and out again at once never pays, and takes nothing from who was there.
			let bought = shares_for(amount, shares, value).unwrap();
			let back = value_of(bought, shares + bought, value + amount).unwrap();
			prop_assert!(back <= amount);
			let others = value_of(shares, shares + bought, value + amount).unwrap();
			prop_assert!(others >= value_of(shares, shares, value).unwrap());
		}

		#[test]
		fn taking_an_exact_amount_never_costs_who_stays(
			value in 1u128..100_000 * KAI, shares in 1u128..100_000 * KAI, part: u128,
		) {
			let amount = part % (value + 1);
			let burnt = shares_of(amount, shares, value).unwrap();
			prop_assert!(burnt <= shares);
			prop_assert!(value_of(burnt, shares, value).unwrap() >= amount);
			let left = shares - burnt;
			if left > 0 {
				let before = value_of(left, shares, value).unwrap();
				prop_assert!(value_of(left, left, value - amount).unwrap() >= before);
			}
		}

		#[test]
		fn slashes_in_pieces_are_no_more_than_at_once(pool in 0u128..100_000 * KAI, a in 0u32..DAY, b in 0u32..DAY) {
			let over = |blocks| rate_over(MALICE_RATE, blocks);
			// Added to one slash.
			prop_assert!(over(a).saturating_add(over(b)) <= over(a + b));
			// Or one slash after another.
			let first = slash_at(over(a), pool);
			let second = slash_at(over(b), pool - first);
			prop_assert!(first + second <= slash_at(over(a + b), pool) + 1);
		}

		#[test]
		fn more_claimed_stakes_more(score in 0u32..2_000, count in 0u8..255) {
			let least = |score, count| minimum(500 * KAI, 200 * KAI, score, count).unwrap();
			prop_assert!(least(score, count) <= least(score + 1, count));
			prop_assert!(least(score, count) <= least(score, count + 1));
		}
	}
}
