//! Stake: the least that an owner must stake, shares of a pool, slashes and bounties.

use crate::{DAY, arith::mul_div};
use sp_arithmetic::Perbill;

/// The owner's minimum stake: `BaseStake + StakePerScore · class score · GPU count`, the class score in
/// hundredths. `None` on overflow.
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

/// The delay, in rounds, before the next try after that many failed verifications in a row: 1, 2, 4 …
/// No delay without a failure; the doubling ends at 2³⁰, which is ten thousand years.
pub fn retry_delay(failures: u32) -> u32 {
	match failures.checked_sub(1) {
		None => 0,
		Some(doublings) => 1 << doublings.min(30),
	}
}

/// The shares that `amount` buys in a pool worth `value` with `shares` out, rounded down. An empty pool
/// starts at a share a unit. `None` on overflow, or where shares are out that are worth nothing.
pub fn shares_for(amount: u128, shares: u128, value: u128) -> Option<u128> {
	if shares == 0 {
		Some(amount)
	} else {
		mul_div(amount, shares, value)
	}
}

/// What `part` of a pool's `shares` is worth, rounded down.
pub fn value_of(part: u128, shares: u128, value: u128) -> Option<u128> {
	if part == 0 {
		Some(0)
	} else {
		mul_div(part, value, shares)
	}
}

/// A slash by time: `rate` of the pool for each 24 h, pro rata over `blocks`, at most `rate` at once.
///
/// ```
/// use kaisar_math::stake::slash_by_time;
/// use sp_arithmetic::Perbill;
/// let rate = Perbill::from_percent(10);
/// assert_eq!(slash_by_time(1_000, rate, 3_600), Some(50));
/// assert_eq!(slash_by_time(1_000, rate, 100_000), Some(100));
/// ```
pub fn slash_by_time(pool: u128, rate: Perbill, blocks: u32) -> Option<u128> {
	mul_div(rate.mul_floor(pool), blocks.min(DAY).into(), DAY.into())
}

/// Divides a slash between the owner, who is first, and the delegators: `(owner, delegators)`.
pub fn slash_order(amount: u128, owner: u128, delegators: u128) -> (u128, u128) {
	let first = amount.min(owner);
	(first, (amount - first).min(delegators))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::KAI;
	use proptest::prelude::*;

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
	fn the_owner_is_slashed_first() {
		assert_eq!(slash_order(10, 30, 100), (10, 0));
		assert_eq!(slash_order(50, 30, 100), (30, 20));
		assert_eq!(slash_order(500, 30, 100), (30, 100));
	}

	#[test]
	fn slashes_stop_at_the_rate() {
		let rate = Perbill::from_percent(10);
		assert_eq!(slash_by_time(1_000 * KAI, rate, 0), Some(0));
		assert_eq!(slash_by_time(1_000 * KAI, rate, DAY), Some(100 * KAI));
		assert_eq!(slash_by_time(1_000 * KAI, rate, DAY + 1), Some(100 * KAI));
		assert_eq!(slash_by_time(1_000 * KAI, rate, DAY / 4), Some(25 * KAI));
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
		fn more_claimed_stakes_more(score in 0u32..2_000, count in 0u8..255) {
			let least = |score, count| minimum(500 * KAI, 200 * KAI, score, count).unwrap();
			prop_assert!(least(score, count) <= least(score + 1, count));
			prop_assert!(least(score, count) <= least(score, count + 1));
		}
	}
}
