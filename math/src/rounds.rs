//! Rounds: how long a census takes, who is due by chance, and how much time a check may credit.

/// A chance, `num` in `den`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chance {
	/// Favourable.
	pub num: u64,
	/// Of so many; never 0.
	pub den: u64,
}

impl Chance {
	/// Whether it comes true for a uniformly random number. The bias is below 2⁻⁶⁴ · `den`.
	pub const fn happens(&self, random: u128) -> bool {
		random % (self.den as u128) < self.num as u128
	}
}

/// The chance that a spot round starts a census: 1 in `CheckPeriod`.
pub fn census_chance(check_period: u32) -> Chance {
	Chance {
		num: 1,
		den: check_period.max(1).into(),
	}
}

/// The chance that a rented worker is due in a spot round: `min(1/12, MaxDue / (4 · rented))`.
///
/// ```
/// use kaisar_math::rounds::{Chance, rented_chance};
/// assert_eq!(rented_chance(40_000, 10), Chance { num: 1, den: 12 });
/// assert_eq!(rented_chance(40_000, 1_000_000), Chance { num: 40_000, den: 4_000_000 });
/// ```
pub fn rented_chance(max_due: u32, rented: u32) -> Chance {
	let (num, den) = (u64::from(max_due), 4 * u64::from(rented));
	// num / den < 1 / 12
	if num * 12 < den {
		Chance { num, den }
	} else {
		Chance { num: 1, den: 12 }
	}
}

/// The length of each of a census' phases, in blocks: `PhaseLength · ⌈n / MaxDue⌉`, and at least one
/// `PhaseLength`.
///
/// ```
/// use kaisar_math::rounds::census_phase;
/// assert_eq!(census_phase(25, 1_000_000, 40_000), 625);
/// assert_eq!(census_phase(25, 0, 40_000), 25);
/// ```
pub fn census_phase(phase_length: u32, online: u32, max_due: u32) -> u32 {
	phase_length.saturating_mul(online.div_ceil(max_due.max(1)).max(1))
}

/// The most blocks that a check may credit: `4 · CheckPeriod · PhaseLength`.
pub fn max_gap(check_period: u32, phase_length: u32) -> u32 {
	4u32.saturating_mul(check_period)
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
		// Every 4 hours on average, and a gap of four of those: 16 hours.
		assert_eq!(max_gap(48, 25), 4_800);
		assert_eq!(census_phase(25, 40_000, 40_000), 25);
		assert_eq!(census_phase(25, 40_001, 40_000), 50);
		assert_eq!(census_phase(10, 5, 0), 50);
		// The edge: 12 · 40,000 = 4 · 120,000.
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
