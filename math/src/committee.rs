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

/// The batch of an operator's seat with this number in a round, counted from 0.
///
/// ```
/// use kaisar_math::committee::batch_of;
/// assert_eq!((batch_of(0), batch_of(63), batch_of(64)), (0, 0, 1));
/// ```
pub const fn batch_of(number: u32) -> u32 {
	number / BATCH_SIZE
}

/// The number of batches that an operator's seats in a round make: each has 64, the last one the rest.
///
/// ```
/// use kaisar_math::committee::batches;
/// assert_eq!((batches(0), batches(64), batches(65)), (0, 1, 2));
/// ```
pub const fn batches(seats: u32) -> u32 {
	seats.div_ceil(BATCH_SIZE)
}

/// The missed seats that an operator's `n`-th commitment of an epoch counts as if it is not opened: `2ⁿ`, at
/// most 64. One crash is cheap, a habit is not.
///
/// ```
/// use kaisar_math::committee::unopened_seats;
/// assert_eq!([1, 2, 6, 7].map(unopened_seats), [2, 4, 64, 64]);
/// ```
pub const fn unopened_seats(n: u32) -> u32 {
	if n < BATCH_SIZE.ilog2() {
		1 << n
	} else {
		BATCH_SIZE
	}
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
		fn every_seat_has_one_batch_and_no_batch_more_than_64(seats in 0u32..10_000) {
			let mut sizes = std::vec![0u32; batches(seats) as usize];
			for number in 0..seats {
				sizes[batch_of(number) as usize] += 1;
			}
			let (last, full) = sizes.split_last().unwrap_or((&64, &[]));
			prop_assert!(full.iter().all(|size| *size == BATCH_SIZE));
			prop_assert!((1..=BATCH_SIZE).contains(last));
		}
	}
}
