//! Rounds: the length of a census, the chance of being due, and the time that a check may credit.

/// Spot rounds between two checks of a rented worker, on average, where the network carries them: an hour of
/// production's rounds of 25 blocks. What is not proved yet is then an hour's rent on average.
const RENTED_PERIOD: u64 = 12;
/// Part of `MaxDue` that the rented workers due in one spot round may come to, on average, as one in this
/// number: marked workers and a running census take the rest of the blocks.
const RENTED_PART: u64 = 4;

/// A chance, `num` in `den`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chance {
	/// Number of favorable cases.
	pub num: u64,
	/// Number of all cases; never 0.
	pub den: u64,
}

impl Chance {
	/// Returns whether the chance comes true for a uniformly random number. The bias is below 2⁻⁶⁴ · `den`.
	pub const fn happens(&self, random: u128) -> bool {
		random % (self.den as u128) < self.num as u128
	}
}

/// Returns the chance that a spot round starts a census: 1 in `CheckPeriod`.
pub fn census_chance(check_period: u32) -> Chance {
	Chance {
		num: 1,
		den: check_period.max(1).into(),
	}
}

/// Returns the chance that a rented worker is due in a spot round: `min(1/12, MaxDue / (4 · rented))`.
///
/// ```
/// use kaisar_math::rounds::{Chance, rented_chance};
/// assert_eq!(rented_chance(40_000, 10), Chance { num: 1, den: 12 });
/// assert_eq!(rented_chance(40_000, 1_000_000), Chance { num: 40_000, den: 4_000_000 });
/// ```
pub fn rented_chance(max_due: u32, rented: u32) -> Chance {
	let (num, den) = (u64::from(max_due), RENTED_PART * u64::from(rented));
	// num / den < 1 / 12
	if num * RENTED_PERIOD < den {
		Chance { num, den }
	} else {
		Chance {
			num: 1,
			den: RENTED_PERIOD,
		}
	}
}

/// Returns the length of each phase of a census, in blocks: `PhaseLength · ⌈n / MaxDue⌉` for `n` online
/// workers, at least one `PhaseLength`.
///
/// ```
/// use kaisar_math::rounds::census_phase;
/// assert_eq!(census_phase(25, 1_000_000, 40_000), 625);
/// assert_eq!(census_phase(25, 0, 40_000), 25);
/// ```
pub fn census_phase(phase_length: u32, online: u32, max_due: u32) -> u32 {
	phase_length.saturating_mul(online.div_ceil(max_due.max(1)).max(1))
}

/// Returns the most rented blocks that a check may credit, MaxGap: `GapPeriods · PhaseLength · ⌈1 / c⌉` plus
/// the round's length, c being the chance that a rented worker is due in a spot round.
///
/// ```
/// use kaisar_math::rounds::{rented_chance, rented_gap};
/// assert_eq!(rented_gap(7, 25, rented_chance(40_000, 10), 95), 2_195);
/// ```
pub fn rented_gap(gap_periods: u32, phase_length: u32, chance: Chance, length: u32) -> u32 {
	let rounds = chance.den.div_ceil(chance.num.max(1));
	gap_periods
		.saturating_mul(phase_length)
		.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
		.saturating_add(length)
}

/// Returns the mean interval between two censuses of this length, which a census credits to an idle worker,
/// in blocks.
///
/// No census starts while one runs, so the next can start with the first spot round after its end, at a
/// multiple of `PhaseLength`; from there on each spot round starts one with chance 1 / `CheckPeriod`, which
/// takes `CheckPeriod − 1` more of them on average.
///
/// ```
/// use kaisar_math::rounds::census_interval;
/// assert_eq!(census_interval(48, 25, 95), 1_275);
/// ```
pub fn census_interval(check_period: u32, phase_length: u32, length: u32) -> u32 {
	let phase_length = phase_length.max(1);
	// A census runs in its last block too: if its length is a multiple, it blocks the round of that block.
	let blocked = (length / phase_length).saturating_add(1);
	check_period
		.saturating_sub(1)
		.saturating_add(blocked)
		.saturating_mul(phase_length)
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn figures_of_production() {
		assert_eq!(census_chance(48), Chance { num: 1, den: 48 });
		assert_eq!(census_chance(0), Chance { num: 1, den: 1 });
		// Every 4.2 hours on average, 6.5 and 10.2 in large networks.
		for (phase, length, interval) in [(25, 95, 1_275), (250, 770, 1_950), (625, 1_895, 3_075)] {
			assert_eq!(20 + 3 * phase, length);
			assert_eq!(census_interval(48, 25, length), interval);
		}
		// Development: each spot round starts one, if it can. T = 8: 38 blocks, the next after 40.
		assert_eq!(census_interval(1, 10, 38), 40);
		assert_eq!(census_interval(0, 10, 40), 50);
		assert_eq!(census_interval(u32::MAX, 25, 95), u32::MAX);
		assert_eq!(
			rented_gap(7, 25, rented_chance(40_000, 1_000_000), 95),
			17_595
		);
		assert_eq!(rented_gap(u32::MAX, 25, rented_chance(1, 1), 95), u32::MAX);
		assert_eq!(census_phase(25, 40_000, 40_000), 25);
		assert_eq!(census_phase(25, 40_001, 40_000), 50);
		assert_eq!(census_phase(10, 5, 0), 50);
		// The boundary: 12 · 40,000 = 4 · 120,000.
		assert_eq!(rented_chance(40_000, 120_000), Chance { num: 1, den: 12 });
		assert_eq!(
			rented_chance(40_000, 120_001),
			Chance {
				num: 40_000,
				den: 480_004
			}
		);
		assert_eq!(rented_chance(0, 0), Chance { num: 1, den: 12 });
	}

	#[test]
	fn chances() {
		let chance = Chance { num: 1, den: 12 };
		assert_eq!(
			(0..1_200u128)
				.filter(|random| chance.happens(*random))
				.count(),
			100
		);
		assert!(Chance { num: 1, den: 1 }.happens(u128::MAX));
		assert!(!Chance { num: 0, den: 4 }.happens(0));
	}

	#[test]
	fn a_census_credits_the_mean_interval_between_censuses() {
		// Spot rounds every 25 blocks, each with a chance of 1 in 8; lengths that are a multiple of 25 and
		// that are not.
		for length in [75u64, 95, 100, 770] {
			let (mut state, mut now, mut last, mut censuses) = (7u64, 0u64, None, 0u64);
			let mut first = 0;
			while censuses < 20_000 {
				state ^= state << 13;
				state ^= state >> 7;
				state ^= state << 17;
				let runs = last.is_some_and(|start| now <= start + length);
				if !runs && census_chance(8).happens(u128::from(state >> 8)) {
					if last.is_none() {
						first = now;
					}
					last = Some(now);
					censuses += 1;
				}
				now += 25;
			}
			let span = last.expect("some started") - first;
			let credited = u64::from(census_interval(8, 25, length as u32)) * (censuses - 1);
			// The mean of 20,000 intervals deviates by 0.6 % at most in five standard deviations.
			assert!(
				span.abs_diff(credited) * 100 <= credited,
				"{length}: {credited} of {span}"
			);
		}
	}

	proptest! {
		#[test]
		fn no_more_are_due_than_a_spot_round_can_carry(max_due in 1u32..100_000, rented in 0u32..1_000_000) {
			let Chance { num, den } = rented_chance(max_due, rented);
			prop_assert!(num * 12 <= den);
			// The expected number is at most a quarter of `MaxDue`.
			prop_assert!(u128::from(rented) * u128::from(num) * 4 <= u128::from(max_due) * u128::from(den));
		}
	}
}
