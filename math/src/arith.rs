//! Multiplication and division through 256 bits.

use sp_arithmetic::{Rounding, helpers_128bit::multiply_by_rational_with_rounding};

/// Returns `⌊a · b / c⌋`, the product taken in 256 bits. `None` if `c` is 0 or the result does not fit.
///
/// ```
/// use kaisar_math::mul_div;
/// assert_eq!(mul_div(u128::MAX, 10, 20), Some(u128::MAX / 2));
/// assert_eq!(mul_div(2, 2, 3), Some(1));
/// assert_eq!(mul_div(1, 1, 0), None);
/// assert_eq!(mul_div(u128::MAX, 2, 1), None);
/// ```
pub const fn mul_div(a: u128, b: u128, c: u128) -> Option<u128> {
	multiply_by_rational_with_rounding(a, b, c, Rounding::Down)
}

/// Returns `⌈a · b / c⌉`, likewise.
pub const fn mul_div_up(a: u128, b: u128, c: u128) -> Option<u128> {
	multiply_by_rational_with_rounding(a, b, c, Rounding::Up)
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	proptest! {
		#[test]
		fn agrees_with_plain_arithmetic_where_that_fits(a: u64, b: u64, c in 1u64..) {
			let product = u128::from(a) * u128::from(b);
			let c = u128::from(c);
			prop_assert_eq!(mul_div(a.into(), b.into(), c), Some(product / c));
			prop_assert_eq!(mul_div_up(a.into(), b.into(), c), Some(product.div_ceil(c)));
		}

		#[test]
		fn a_part_is_never_more_than_the_whole(a: u128, c in 1u128.., part: u128) {
			let part = part % c;
			let down = mul_div(a, part, c).unwrap();
			let rest = mul_div(a, c - part, c).unwrap();
			prop_assert!(down <= a);
			// Two parts that make the whole lose at most one unit between them.
			prop_assert!(down + rest <= a && a - (down + rest) <= 1);
		}
	}
}
