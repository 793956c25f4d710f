//! Committees: drawing, majorities, agreement on a tier, and the chance of detection.
//!
//! ## Chance of detection
//!
//! A prover that falsified a fraction `f` of its steps is caught by a checker that opens `s` of them at
//! random with probability `1 − (1 − f)^s`. With the 256 samples of production:
//!
//! | falsified | one checker | at least 3 of 5, each with its own samples |
//! | --- | --- | --- |
//! | 10 % | 1 − 2·10⁻¹² | the same, for all that matters |
//! | 1 % | 92.4 % | 99.6 % |
//! | 0.27 % | 50 % | 50 % |
//!
//! A cheat saves the computation of the falsified steps only, so one that goes undetected saves next to
//! nothing.

use alloc::vec::Vec;
use sp_arithmetic::{PerThing, Perquintill, traits::Saturating};

/// Maximum number of licenses drawn for a committee, whatever the parameters.
pub const MAX_DRAWS: u32 = 512;
/// Draws for each unit of a committee's size, as long as all licenses are active. Operators with several
/// hits and the worker's owner cost some of them; they run out only where few operators hold nearly all
/// licenses.
const DRAWS_A_SEAT: u32 = 8;
/// Maximum number of votes in a batch.
pub const BATCH_SIZE: u32 = 64;

/// Returns whether `count` is more than half of `of`.
///
/// ```
/// use kaisar_math::committee::is_majority;
/// assert!(is_majority(3, 5) && !is_majority(2, 4) && !is_majority(0, 0));
/// ```
pub const fn is_majority(count: u32, of: u32) -> bool {
	count as u64 * 2 > of as u64
}

/// Returns whether `count` is more than three quarters of `of`, which a slash needs.
///
/// ```
/// use kaisar_math::committee::exceeds_three_quarters;
/// assert!(exceeds_three_quarters(4, 5) && !exceeds_three_quarters(3, 4) && !exceeds_three_quarters(0, 0));
/// ```
pub const fn exceeds_three_quarters(count: u32, of: u32) -> bool {
	count as u64 * 4 > of as u64 * 3
}

/// Returns the highest value that votes of more than half of `size` reach, each a value and a weight; 0 if
/// there is none. So no minority of the committee raises a value, whoever missed or abstained.
///
/// ```
/// use kaisar_math::committee::reached;
/// assert_eq!(reached(&[(4, 2), (2, 1), (0, 2)], 5), 2);
/// assert_eq!(reached(&[(4, 2)], 5), 0);
/// ```
pub fn reached(votes: &[(u8, u32)], size: u32) -> u8 {
	let weight_of = |least: u8| {
		votes
			.iter()
			.filter(|(value, _)| *value >= least)
			.fold(0u32, |sum, (_, weight)| sum.saturating_add(*weight))
	};
	votes
		.iter()
		.map(|(value, _)| *value)
		.filter(|value| is_majority(weight_of(*value), size))
		.max()
		.unwrap_or(0)
}

/// A committee that is being drawn.
///
/// The first hit on an operator gives it a seat of weight 1, and each further hit adds 1 to the weight. When
/// the weights sum to the size, only operators without a seat are added, until enough operators sit. So the
/// odds are binomial in licenses, whether their holder splits them over operators or bundles them.
///
/// ```
/// use kaisar_math::committee::Drawing;
/// let mut drawing = Drawing::new(3, 3);
/// for operator in ["a", "a", "b", "a", "c", "d"] {
///     drawing.hit(operator);
/// }
/// assert_eq!(drawing.into_seats(), [("a", 2), ("b", 1), ("c", 1)]);
/// ```
#[derive(Clone, Debug)]
pub struct Drawing<Operator> {
	size: u32,
	min_operators: u32,
	weight: u32,
	seats: Vec<(Operator, u32)>,
}

impl<Operator: PartialEq> Drawing<Operator> {
	/// Returns an empty committee of this size, with at least this many operators.
	pub const fn new(size: u32, min_operators: u32) -> Self {
		Self {
			size,
			min_operators,
			weight: 0,
			seats: Vec::new(),
		}
	}

	/// Returns whether no further hit changes the committee.
	pub fn is_complete(&self) -> bool {
		self.weight >= self.size && self.seats.len() >= self.min_operators as usize
	}

	/// Returns whether the operator has a seat.
	pub fn seats(&self, operator: &Operator) -> bool {
		self.seats.iter().any(|(seated, _)| seated == operator)
	}

	/// Gives the operator of a drawn license a seat, or adds to its weight.
	pub fn hit(&mut self, operator: Operator) {
		if self.is_complete() {
			return;
		}
		let seat = self
			.seats
			.iter_mut()
			.find(|(seated, _)| *seated == operator);
		match seat {
			Some((_, weight)) if self.weight < self.size => {
				*weight = weight.saturating_add(1);
			}
			Some(_) => return,
			None => self.seats.push((operator, 1)),
		}
		self.weight = self.weight.saturating_add(1);
	}

	/// Returns the operators, in the order in which they were drawn, and their weights.
	pub fn into_seats(self) -> Vec<(Operator, u32)> {
		self.seats
	}
}

/// Returns whether a vote on a tier or a count is within one step of the decision.
pub const fn is_near(vote: u8, decided: u8) -> bool {
	vote.abs_diff(decided) <= 1
}

/// Returns the maximum number of licenses drawn for a committee: `8 · CommitteeSize · ⌈minted / active⌉`, at
/// most [`MAX_DRAWS`]; 0 where no license is active.
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
	DRAWS_A_SEAT
		.saturating_mul(committee_size)
		.saturating_mul(minted.div_ceil(active))
		.min(MAX_DRAWS)
}

/// Returns the batch of an operator's seat with this number in a round, counted from 0.
///
/// ```
/// use kaisar_math::committee::batch_of;
/// assert_eq!((batch_of(0), batch_of(63), batch_of(64)), (0, 0, 1));
/// ```
pub const fn batch_of(number: u32) -> u32 {
	number / BATCH_SIZE
}

/// Returns the number of batches of an operator's seats in a round: each has 64, the last one the rest.
///
/// ```
/// use kaisar_math::committee::batches;
/// assert_eq!((batches(0), batches(64), batches(65)), (0, 1, 2));
/// ```
pub const fn batches(seats: u32) -> u32 {
	seats.div_ceil(BATCH_SIZE)
}

/// Returns the number of missed seats for an operator's `n`-th unopened commitment of an epoch: `2ⁿ`, at
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

/// Returns the chance that `samples` openings detect a prover which falsified the fraction `faulty`: `1 − (1
/// − f)^s`.
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
		assert!(exceeds_three_quarters(4, 5) && !exceeds_three_quarters(3, 5));
		assert!(exceeds_three_quarters(3, 3) && !exceeds_three_quarters(2, 3));
		assert!(exceeds_three_quarters(u32::MAX, u32::MAX));
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

	/// A xorshift generator: the same committees in every run.
	struct Random(u64);

	impl Random {
		fn below(&mut self, limit: u32) -> u32 {
			self.0 ^= self.0 << 13;
			self.0 ^= self.0 >> 7;
			self.0 ^= self.0 << 17;
			((self.0 >> 16) % u64::from(limit)) as u32
		}
	}

	/// The operators of 1,000 active licenses: those of the attacker are numbers below `ATTACKERS`, and
	/// share `tenths` of a percent of all licenses; the others share the rest by `honest`.
	const ATTACKERS: u32 = 1_000;

	fn network(tenths: u32, accounts: u32, honest: &[u32]) -> Vec<u32> {
		let mut operators: Vec<u32> = (0..tenths).map(|license| license % accounts).collect();
		let rest = 1_000 - tenths;
		let mut of_pools = Vec::new();
		for (pool, percent) in honest.iter().enumerate() {
			let licenses = rest * percent / 100;
			of_pools.extend(core::iter::repeat_n(
				ATTACKERS + pool as u32,
				licenses as usize,
			));
		}
		// Each of the others operates one license.
		for small in 0..rest - of_pools.len() as u32 {
			of_pools.push(2 * ATTACKERS + small);
		}
		operators.extend(of_pools);
		operators
	}

	/// Returns the number of `trials` committees of five in which the attacker has more than half, and more
	/// than three quarters, of the size; both in millionths.
	fn captured(operators: &[u32], trials: u32) -> (u32, u32) {
		let (mut half, mut most) = (0u32, 0u32);
		let mut random = Random(0x9E37_79B9_7F4A_7C15);
		for _ in 0..trials {
			let mut drawing = Drawing::new(5, 3);
			for _ in 0..draw_limit(5, 1_000, 1_000) {
				drawing.hit(operators[random.below(1_000) as usize]);
			}
			let seats = drawing.into_seats();
			let size = seats.iter().map(|(_, weight)| weight).sum::<u32>().max(5);
			let of_attacker = seats
				.iter()
				.filter(|(operator, _)| *operator < ATTACKERS)
				.map(|(_, weight)| weight)
				.sum();
			half += u32::from(is_majority(of_attacker, size));
			most += u32::from(exceeds_three_quarters(of_attacker, size));
		}
		let millionths = |count: u32| (u64::from(count) * 1_000_000 / u64::from(trials)) as u32;
		(millionths(half), millionths(most))
	}

	/// Tests the table of *Committees* in `docs/popw.md`.
	#[test]
	fn the_odds_of_capture_are_those_of_the_documents() {
		// Share in tenths of a percent, and the published odds in millionths.
		for (tenths, half, most) in [
			(10, 10, 0),
			(50, 1_200, 30),
			(100, 8_600, 460),
			(150, 26_600, 2_200),
			(200, 57_900, 6_700),
			(330, 205_000, 44_000),
		] {
			let (found_half, found_most) = captured(&network(tenths, tenths, &[]), 200_000);
			// Five standard deviations of 200,000 draws.
			let slack = |odds: u32| 5 * (f64::from(odds) * 5.0).sqrt() as u32 + 60;
			assert!(
				found_half.abs_diff(half) <= slack(half),
				"{tenths}: {found_half} of {half}"
			);
			assert!(
				found_most.abs_diff(most) <= slack(most),
				"{tenths}: {found_most} of {most}"
			);
		}
	}

	/// Returns the weight that a license of a small operator earns, in hundredths of that of a pool's
	/// license.
	fn earned_by_small(pools: &[u32]) -> u64 {
		let operators = network(0, 1, pools);
		let mut random = Random(7);
		let (mut of_pools, mut of_small) = (0u64, 0u64);
		for _ in 0..40_000 {
			let mut drawing = Drawing::new(5, 3);
			for _ in 0..draw_limit(5, 1_000, 1_000) {
				drawing.hit(operators[random.below(1_000) as usize]);
			}
			for (operator, weight) in drawing.into_seats() {
				if operator < 2 * ATTACKERS {
					of_pools += u64::from(weight);
				} else {
					of_small += u64::from(weight);
				}
			}
		}
		let small = operators
			.iter()
			.filter(|operator| **operator >= 2 * ATTACKERS);
		let small = small.count() as u64;
		of_small * (1_000 - small) * 100 / (of_pools * small)
	}

	#[test]
	fn added_seats_earn_where_few_operators_hold_nearly_all() {
		let (one, two) = (earned_by_small(&[60]), earned_by_small(&[49, 50]));
		assert!((110..=135).contains(&one), "{one}");
		assert!((550..=850).contains(&two), "{two}");
	}

	#[test]
	fn nobody_gains_seats_by_splitting_or_from_others_that_bundle() {
		// An attacker with a tenth of all licenses. When an operator could have one seat only, honest pools
		// raised this from 0.86 % of committees to 3 to 30 %, and less if the attacker bundled its own
		// licenses.
		for accounts in [1, 3, 30, 100] {
			for honest in [&[][..], &[60], &[35, 35], &[80], &[98]] {
				let (half, most) = captured(&network(100, accounts, honest), 40_000);
				// Seats added to reach three operators enlarge the size: never above binomial.
				assert!(half <= 8_600 + 2_300, "{accounts}, {honest:?}: {half}");
				assert!(most <= 460 + 540, "{accounts}, {honest:?}: {most}");
			}
		}
	}

	proptest! {
		#[test]
		fn no_minority_lifts_a_value_and_a_majority_does(
			votes in prop::collection::vec((0u8..=4, 1u32..4), 0..8), missing in 0u32..8,
		) {
			let size = votes.iter().map(|(_, weight)| weight).sum::<u32>() + missing;
			let weight_of = |least: u8| {
				votes.iter().filter(|(value, _)| *value >= least).map(|(_, weight)| weight).sum::<u32>()
			};
			let value = reached(&votes, size);
			prop_assert!(value == 0 || is_majority(weight_of(value), size));
			prop_assert!(!is_majority(weight_of(value + 1), size));
		}

		#[test]
		fn a_committee_is_as_large_as_it_has_to_be(
			hits in prop::collection::vec(0u8..6, 0..64), size in 1u32..=15, least in 1u32..=15,
		) {
			let least = least.min(size);
			let mut drawing = Drawing::new(size, least);
			for hit in &hits {
				drawing.hit(*hit);
			}
			let complete = drawing.is_complete();
			let seats = drawing.into_seats();
			let weight: u32 = seats.iter().map(|(_, weight)| weight).sum();
			prop_assert!(seats.len() as u32 <= size && weight < size + least);
			prop_assert!(!complete || (weight >= size && seats.len() as u32 >= least));
			// Seats added to reach the minimum number have weight 1, so they are nobody's majority.
			let added: u32 = weight.saturating_sub(size);
			prop_assert!(seats.iter().rev().take(added as usize).all(|(_, weight)| *weight == 1));
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
