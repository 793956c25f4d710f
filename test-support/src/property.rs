//! How many cases a property test tries, and which: the same every time, unless `scripts/soak.sh` asks for more
//! and for others.

use proptest::test_runner::{Config, RngSeed};

/// How many times as many cases a property test is to try.
const TIMES: &str = "KAISAR_PROPERTY_TIMES";

/// The number of cases: `usual`, or as many times that as the environment says in `KAISAR_PROPERTY_TIMES`.
pub fn cases(usual: u32) -> u32 {
	let times: u32 = std::env::var(TIMES).map_or(1, |times| times.parse().expect("it is a number"));
	usual.checked_mul(times).expect("it is a number of cases")
}

/// What the cases are made from: `usual`, or what the environment says in `PROPTEST_RNG_SEED`.
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
