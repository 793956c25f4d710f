//! The price of renting a machine.
//!
//! A class has a price for one **unit** and hour: a GPU, or a CPU core of a machine without a GPU. It is an
//! exact fraction of the price book's figure, rounded **up** once, to the unit of 10⁻¹⁸ KAI. From there on
//! everything is a product of whole numbers: the price of an order is exactly unit price × units × hours,
//! and the price of its first blocks ([`used`]) is rounded **down**, in favor of the payer.

use crate::tiers;
use primitive_types::U256;
use sp_arithmetic::{FixedPointNumber, FixedU128, PerThing, Perbill};

/// Price of a unit where no worker is rented, in parts of [`REFERENCE`]: 0.75 of the reference.
const IDLE: u32 = 15;
/// Addition to that price where every worker is rented, in parts of [`REFERENCE`]: 0.20 of the reference. It
/// grows with the square of the utilization, so prices rise when few workers are left, and stay below the
/// reference.
const RISE: u32 = 4;
/// Parts of the reference price, the smallest number in which both shares are whole.
const REFERENCE: u32 = 20;

/// Blocks in an hour of the chain's time.
pub const HOUR: u32 = crate::DAY / 24;

/// The utilization of a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Utilization {
	/// Number of idle workers.
	pub idle: u32,
	/// Number of rented workers.
	pub rented: u32,
}

impl Utilization {
	/// Returns the rented workers, and all workers, at least 1.
	fn fraction(self) -> (U256, U256) {
		let all = U256::from(self.idle) + U256::from(self.rented);
		(self.rented.into(), all.max(U256::one()))
	}
}

/// Returns `⌈numerator / denominator⌉`; `None` if the denominator is 0 or the result does not fit.
fn ceil(numerator: U256, denominator: U256) -> Option<u128> {
	let quotient = numerator.checked_div(denominator)?;
	let rest = numerator.checked_rem(denominator)?;
	let up = if rest.is_zero() {
		quotient
	} else {
		quotient.checked_add(U256::one())?
	};
	up.try_into().ok()
}

/// Returns the price of a unit and hour: `⌈reference · (0.75 + 0.20 · utilization²) · plan⌉`, never zero.
/// `None` on overflow.
///
/// ```
/// use kaisar_math::price::{Utilization, unit_price};
/// use sp_arithmetic::Perbill;
/// let half = Utilization { idle: 5, rented: 5 };
/// assert_eq!(unit_price(1_000, half, Perbill::one()), Some(800));
/// assert_eq!(unit_price(1_000, half, Perbill::from_percent(90)), Some(720));
/// ```
pub fn unit_price(reference: u128, utilization: Utilization, plan: Perbill) -> Option<u128> {
	let (rented, all) = utilization.fraction();
	// 0.75 + 0.20 · r² / n² = (15 n² + 4 r²) / (20 n²), of at most 72 bits.
	let (squared, whole) = (rented * rented, all * all);
	let part = whole * U256::from(IDLE) + squared * U256::from(RISE);
	let numerator = U256::from(reference)
		.checked_mul(part)?
		.checked_mul(plan.deconstruct().into())?;
	ceil(
		numerator,
		whole * U256::from(REFERENCE) * U256::from(Perbill::ACCURACY),
	)
	.map(|price| price.max(1))
}

/// Returns the highest on-demand price that a reference allows, at full utilization: 0.95 of it.
///
/// ```
/// assert_eq!(kaisar_math::price::highest_price(1_000), Some(950));
/// ```
pub fn highest_price(reference: u128) -> Option<u128> {
	let full = Utilization { idle: 0, rented: 1 };
	unit_price(reference, full, Perbill::one())
}

/// Returns the price of a unit and hour in a contingency: `⌈(1 + utilization) · cost · multiplier⌉`. `None`
/// on overflow.
///
/// ```
/// use kaisar_math::price::{Utilization, contingency_price};
/// use sp_arithmetic::FixedU128;
/// let half = Utilization { idle: 5, rented: 5 };
/// assert_eq!(contingency_price(100, FixedU128::from_u32(2), half), Some(300));
/// ```
pub fn contingency_price(
	cost: u128,
	multiplier: FixedU128,
	utilization: Utilization,
) -> Option<u128> {
	let (rented, all) = utilization.fraction();
	let numerator = U256::from(cost)
		.checked_mul(multiplier.into_inner().into())?
		.checked_mul(all + rented)?;
	ceil(numerator, all * U256::from(FixedU128::DIV))
}

/// Returns the units for which an order pays: the GPUs; for a machine without a GPU the fewest cores of the
/// CPU tier that it gets.
///
/// ```
/// use kaisar_math::price::units;
/// assert_eq!(units(11, 8, 4), 8);
/// assert_eq!([1, 2, 3, 4].map(|tier| units(0, 0, tier)), [4, 32, 64, 129]);
/// ```
pub fn units(gpu_class: u16, gpu_count: u8, cpu_tier: u8) -> u32 {
	match gpu_class {
		0 => tiers::cores(cpu_tier),
		_ => gpu_count.into(),
	}
}

/// Returns the exact price of `hours` of `units`. `None` on overflow.
pub fn total(unit_price: u128, units: u32, hours: u32) -> Option<u128> {
	unit_price
		.checked_mul(units.into())?
		.checked_mul(hours.into())
}

/// Returns the price of the first `blocks` of use, where time was bought in `segments` of `(blocks, unit
/// price)`, one after the other: exact, and rounded down once. Blocks beyond all segments cost nothing more.
/// `None` on overflow.
///
/// ```
/// use kaisar_math::price::used;
/// // An hour at 30 and an hour at 60, of 2 units.
/// let segments = [(300, 30), (300, 60)];
/// assert_eq!(used(segments, 2, 150), Some(30));
/// assert_eq!(used(segments, 2, 450), Some(60 + 60));
/// assert_eq!(used(segments, 2, 10_000), Some(60 + 120));
/// ```
pub fn used(
	segments: impl IntoIterator<Item = (u32, u128)>,
	units: u32,
	blocks: u32,
) -> Option<u128> {
	let (mut left, mut sum) = (blocks, 0u128);
	for (length, unit_price) in segments {
		let part = left.min(length);
		left -= part;
		sum = sum.checked_add(unit_price.checked_mul(part.into())?)?;
		if left == 0 {
			break;
		}
	}
	sum.checked_mul(units.into())?.checked_div(u128::from(HOUR))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::KAI;
	use proptest::prelude::*;

	const RATES: [Perbill; 3] = [
		Perbill::one(),
		Perbill::from_percent(90),
		Perbill::from_percent(80),
	];

	#[test]
	fn the_published_factors_hold() {
		for (idle, rented, percent) in [(0, 0, 75), (10, 0, 75), (0, 10, 95), (5, 5, 80)] {
			let utilization = Utilization { idle, rented };
			assert_eq!(
				unit_price(100 * KAI, utilization, Perbill::one()),
				Some(percent * KAI),
				"{idle} idle, {rented} rented"
			);
		}
		assert_eq!(HOUR, 300);
	}

	#[test]
	fn a_price_is_never_zero_and_never_wraps() {
		let full = Utilization {
			idle: 0,
			rented: u32::MAX,
		};
		let most = Utilization {
			idle: u32::MAX,
			rented: u32::MAX,
		};
		for rate in RATES {
			assert_eq!(unit_price(1, Utilization::default(), rate), Some(1));
			assert!(unit_price(u128::MAX, full, rate).is_some());
			assert!(unit_price(u128::MAX, most, rate).is_some());
		}
		let least = FixedU128::from_inner(1);
		assert_eq!(contingency_price(1, least, Utilization::default()), Some(1));
		let huge = FixedU128::from_inner(u128::MAX);
		assert_eq!(contingency_price(u128::MAX, huge, full), None);
		assert_eq!(total(u128::MAX, 2, 1), None);
		assert_eq!(used([(300, u128::MAX)], 1, 300), None);
	}

	proptest! {
		#[test]
		fn a_unit_price_is_the_exact_fraction_rounded_up(
			reference in 1u64..,
			idle in 0u32..1_000,
			rented in 0u32..1_000,
			parts in 1u32..=1_000_000_000,
		) {
			let utilization = Utilization { idle, rented };
			let price = unit_price(reference.into(), utilization, Perbill::from_parts(parts)).unwrap();
			let n = U256::from((idle + rented).max(1));
			let r = U256::from(rented);
			let exact = U256::from(reference)
				* (n * n * U256::from(75) + r * r * U256::from(20))
				* U256::from(parts);
			let over = n * n * U256::from(100) * U256::from(1_000_000_000u64);
			prop_assert!(U256::from(price) * over >= exact);
			prop_assert!(U256::from(price - 1) * over < exact);
		}

		#[test]
		fn more_use_and_a_lesser_plan_never_cost_less(
			reference in 1u128..1_000_000_000 * KAI,
			idle in 0u32..1_000_000,
			rented in 0u32..1_000_000,
			more in 0u32..1_000_000,
		) {
			let prices = RATES.map(|rate| unit_price(reference, Utilization { idle, rented }, rate).unwrap());
			prop_assert!(prices[0] >= prices[1] && prices[1] >= prices[2]);
			let busier = Utilization { idle: idle.saturating_sub(more), rented: rented + more.min(idle) };
			prop_assert!(unit_price(reference, busier, RATES[0]).unwrap() >= prices[0]);
			prop_assert!(prices[0] <= reference, "never above the reference");
		}

		#[test]
		fn use_adds_up_to_the_total_and_never_falls(
			segments in prop::collection::vec((1u32..9_000, 0u128..1_000 * KAI), 1..8),
			units in 1u32..256,
			steps in prop::collection::vec(0u32..100_000, 1..20),
		) {
			let bought = segments.iter().map(|(hours, price)| (hours * HOUR, *price));
			let all: u128 = segments.iter().map(|(hours, price)| total(*price, units, *hours).unwrap()).sum();
			let (mut at, mut before) = (0u32, 0);
			for step in steps {
				at += step;
				let cost = used(bought.clone(), units, at).unwrap();
				prop_assert!(cost >= before && cost <= all);
				before = cost;
			}
			prop_assert_eq!(used(bought, units, u32::MAX), Some(all));
		}
	}
}
