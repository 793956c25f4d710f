//! Number and seed of the cases of property tests. They are the same every time, unless `scripts/soak.sh`
//! sets others.

use proptest::test_runner::{Config, RngSeed};

/// Environment variable with the factor by which property tests try more cases.
const TIMES: &str = "KAISAR_PROPERTY_TIMES";

/// Returns the number of cases: `usual`, multiplied by the environment variable `KAISAR_PROPERTY_TIMES` if
/// it is set.
pub fn cases(usual: u32) -> u32 {
	let times: u32 = std::env::var(TIMES).map_or(1, |times| {
		times.parse().expect("KAISAR_PROPERTY_TIMES is a number")
	});
	usual.checked_mul(times).expect("the number of cases fits")
}

/// Returns the seed of the cases: `usual`, or the environment variable `PROPTEST_RNG_SEED` if it is set.
pub fn seed(usual: u64) -> RngSeed {
	match Config::default().rng_seed {
		RngSeed::Random => RngSeed::Fixed(usual),
		asked => asked,
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn the_usual_holds_where_nothing_else_is_asked_for() {
		if std::env::var_os(TIMES).is_none() {
			assert_eq!(cases(96), 96);
		}
		if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
			assert_eq!(seed(7), RngSeed::Fixed(7));
		}
	}
}
