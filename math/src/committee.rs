//! Committees: what a majority is, how a tier is agreed on, how many draws and batches there are, and
//! how likely a cheat is found.
//!
//! ## Chance of detection
//!
//! A prover that falsified a fraction `f` of its steps is caught by a checker that opens `s` of them
//! at random with probability `1 − (1 − f)^s`. With the 256 samples of production:
//!
//! | falsified | one checker | at least 3 of 5, each with its own samples |
//! | --- | --- | --- |
//! | 10 % | 1 − 2·10⁻¹² | the same, for all that matters |
//! | 1 % | 92.4 % | 99.6 % |
//! | 0.27 % | 50 % | 50 % |
//!
//! What is falsified is not computed, so a cheat that goes undetected saves next to nothing.

use crate::arith::mul_div_up;
use sp_arithmetic::{PerThing, Perquintill, traits::Saturating};

/// Most licenses that are drawn for a committee, whatever the parameters.
pub const MAX_DRAWS: u32 = 512;
/// Most votes in a batch.
pub const BATCH_SIZE: u32 = 64;

/// Whether `count` is more than half of `of`.
///
/// ```
/// use kaisar_math::committee::is_majority;
/// assert!(is_majority(3, 5) && !is_majority(2, 4) && !is_majority(0, 0));
/// ```
pub const fn is_majority(count: u32, of: u32) -> bool {
	count as u64 * 2 > of as u64
}

/// The item that more than half of `items` are, if there is one.
///
/// ```
/// use kaisar_math::committee::majority;
/// assert_eq!(majority(&[7, 8, 7]), Some(&7));
/// assert_eq!(majority(&[7, 8]), None);
/// ```
pub fn majority<T: PartialEq>(items: &[T]) -> Option<&T> {
	// The only one it can be, found by cancelling pairs that differ; then counted.
	let mut candidate = items.first()?;
	let mut lead = 0u32;
	for item in items {
		match (lead, item == candidate) {
			(0, _) => (candidate, lead) = (item, 1),
			(_, true) => lead += 1,
			(_, false) => lead -= 1,
		}
	}
	let count = items.iter().filter(|item| *item == candidate).count();
	is_majority(count as u32, items.len() as u32).then_some(candidate)
}

/// The median of the votes on a tier, which are sorted in place; the lower one of two middles. `None`
/// without votes.
///
/// ```
/// use kaisar_math::committee::median;
/// assert_eq!(median(&mut [4, 1, 2]), Some(2));
/// assert_eq!(median(&mut [1, 4]), Some(1));
/// assert_eq!(median(&mut []), None);
/// ```
pub fn median(tiers: &mut [u8]) -> Option<u8> {
	tiers.sort_unstable();
	tiers.get(tiers.len().checked_sub(1)? / 2).copied()
}

/// Whether a tier is no more than one step from the median.
pub const fn is_near(tier: u8, median: u8) -> bool {
	tier.abs_diff(median) <= 1
}

/// Most licenses that are drawn for a committee: `8 · CommitteeSize · ⌈minted / active⌉`, at most
/// [`MAX_DRAWS`]. None where no license is active.
///
/// ```
/// use kaisar_math::committee::draw_limit;
/// assert_eq!(draw_limit(5, 100, 50), 80);
/// assert_eq!(draw_limit(5, 29_998, 10), 512);
/// assert_eq!(draw_limit(5, 29_998, 0), 0);
/// ```
pub fn draw_limit(committee_size: u32, minted: u32, active: u32) -> u32 {
	if active == 0 {
		return 0;
	}
	8u32.saturating_mul(committee_size)
		.saturating_mul(minted.div_ceil(active))
		.min(MAX_DRAWS)
}

/// How many batches an operator may commit to in a round, its numbers being below it:
/// `1 + ⌈2 · licenses · n · CommitteeSize / (64 · active)⌉`, twice its fair share of the votes of `n`
/// workers, and one. None for an operator without an active license.
///
/// ```
/// use kaisar_math::committee::batch_limit;
/// assert_eq!(batch_limit(10, 1_000_000, 5, 29_998), 54);
/// assert_eq!(batch_limit(1, 0, 5, 1), 1);
/// assert_eq!(batch_limit(0, 1_000_000, 5, 29_998), 0);
/// ```
pub fn batch_limit(licenses: u32, workers: u32, committee_size: u32, active: u32) -> u32 {
	if licenses == 0 || active == 0 {
		return 0;
	}
	let votes = u128::from(workers) * u128::from(committee_size);
	// Below 2⁹⁷ before the division; what does not fit is no limit that anyone reaches.
	mul_div_up(
		votes,
		2 * u128::from(licenses),
		u128::from(BATCH_SIZE) * u128::from(active),
	)
	.and_then(|batches| u32::try_from(batches).ok())
	.map_or(u32::MAX, |batches| batches.saturating_add(1))
}

/// The chance that a prover which falsified the fraction `faulty` is found by `samples` openings:
/// `1 − (1 − f)^s`.
pub fn detection(faulty: Perquintill, samples: u32) -> Perquintill {
	let missed = faulty.left_from_one().saturating_pow(samples as usize);
	missed.left_from_one()
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn majorities() {
		assert!(is_majority(2, 3) && !is_majority(1, 3) && !is_majority(2, 5));
		assert!(is_majority(u32::MAX, u32::MAX));
		assert_eq!(majority::<u8>(&[]), None);
		assert_eq!(majority(&[(1, 2)]), Some(&(1, 2)));
		assert_eq!(majority(&[1, 2, 3]), None);
		assert_eq!(majority(&[1, 2, 2, 1, 2]), Some(&2));
	}

	#[test]
	fn limits_of_a_committee() {
		assert_eq!(draw_limit(3, 9, 9), 24);
		assert_eq!(draw_limit(5, 29_998, 29_998), 40);
		assert_eq!(draw_limit(5, 29_998, 29_997), 80);
		assert_eq!(draw_limit(15, u32::MAX, 1), MAX_DRAWS);
		// With 3,000 operators of ten licenses, about 1,700 votes each: 27 batches, twice that and one.
		assert_eq!(batch_limit(10, 1_000_000, 5, 30_000), 54);
		assert_eq!(batch_limit(1, 1, 3, 9), 2);
		assert_eq!(batch_limit(u32::MAX, u32::MAX, 15, 1), u32::MAX);
	}

	#[test]
	fn near_is_one_step() {
		assert!(is_near(2, 3) && is_near(3, 2) && is_near(0, 0) && !is_near(1, 3));
	}

	#[test]
	fn detection_as_documented() {
		let percent = |p| Perquintill::from_rational(p, 10_000u64);
		let found =
			|faulty, samples| detection(faulty, samples).deconstruct() / 1_000_000_000_000_000;
		assert_eq!(found(percent(100), 256), 923);
		assert_eq!(found(percent(27), 256), 499);
		assert_eq!(found(percent(1_000), 256), 999);
		assert_eq!(detection(Perquintill::zero(), 256), Perquintill::zero());
		assert_eq!(detection(Perquintill::one(), 1), Perquintill::one());
	}

	proptest! {
		#[test]
		fn median_is_between(mut tiers in prop::collection::vec(0u8..=4, 1..15)) {
			let (votes, len) = (tiers.clone(), tiers.len());
			let median = median(&mut tiers).unwrap();
			prop_assert!(votes.contains(&median));
			let below = votes.iter().filter(|tier| **tier < median).count();
			let above = votes.iter().filter(|tier| **tier > median).count();
			prop_assert!(below * 2 < len && above * 2 <= len);
		}

		#[test]
		fn a_majority_is_found_wherever_it_is(items in prop::collection::vec(0u8..3, 0..15)) {
			let expected = (0u8..3).find(|item| {
				items.iter().filter(|one| *one == item).count() * 2 > items.len()
			});
			prop_assert_eq!(majority(&items).copied(), expected);
		}

		#[test]
		fn batches_hold_the_fair_share(
			licenses in 1u32..1_000, others in 0u32..30_000, n in 0u32..1_000_000, size in 1u32..15,
		) {
			let active = licenses + others;
			let limit = batch_limit(licenses, n, size, active);
			let fair = u64::from(n) * u64::from(size) * u64::from(licenses) / u64::from(active);
			prop_assert!(u64::from(limit) * u64::from(BATCH_SIZE) >= 2 * fair);
		}
	}
}
