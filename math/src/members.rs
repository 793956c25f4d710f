//! The earnings of a pool's members: a worker's delegators, an operator's license holders.
//!
//! A pool's reward of an epoch is divided once, whoever its members are, and credited to a **rate**: the
//! earnings of one share since the pool began ([`PerShare`]). A member who has held `s` shares while the
//! rate went from `a` to `b` has earned `s · (b − a)`, over one epoch or a hundred.
//!
//! ```text
//! members' part = reward · Commission · eligible value / (owner's stake + eligible value)
//! eligible value = members' value · eligible shares / all shares
//! rate          += members' part / eligible shares
//! ```
//!
//! An operator's pool has no owner's stake: its whole commission is the members'.
//!
//! Rates and amounts owed have 128 binary places after the point ([`Exact`]). A pot of all KAI is below 2⁹⁰
//! units, and the product of a rate and the shares by which it was divided is never more than the amount
//! divided, so everything stays far below 2²⁵⁶. A member with all the stake that a pool can have, below 2⁷⁶
//! units, loses less than 2⁻⁵⁰ of a unit an epoch.

use codec::{Decode, Encode, MaxEncodedLen};
use primitive_types::{U256, U512};
use scale_info::TypeInfo;
use sp_arithmetic::{PerThing, Perbill};

/// Binary places after the point.
const PLACES: usize = 128;

/// An amount of money with its fraction, in units of 2⁻¹²⁸ of a balance's unit.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Default,
	Encode,
	Decode,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Exact(U256);

impl Exact {
	/// Returns a whole amount.
	pub fn from_whole(amount: u128) -> Self {
		Self(U256::from(amount) << PLACES)
	}

	/// Returns the whole units.
	pub fn whole(self) -> u128 {
		// The part above the point has 128 bits.
		(self.0 >> PLACES).low_u128()
	}

	/// Takes the whole units out and leaves the fraction.
	///
	/// ```
	/// use kaisar_math::members::PerShare;
	/// let rate = PerShare::of(10, 4).unwrap();
	/// let mut owed = rate.earned(PerShare::default(), 1).unwrap();
	/// assert_eq!(owed.take_whole(), 2);
	/// let half = owed;
	/// assert_eq!(half.whole(), 0);
	/// assert_eq!(half.checked_add(half).unwrap().whole(), 1);
	/// ```
	pub fn take_whole(&mut self) -> u128 {
		let whole = self.whole();
		self.0 -= U256::from(whole) << PLACES;
		whole
	}

	/// Returns the sum, if it fits.
	pub fn checked_add(self, other: Self) -> Option<Self> {
		self.0.checked_add(other.0).map(Self)
	}
}

/// The earnings of one share since its pool began. Never falls.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Default,
	Encode,
	Decode,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct PerShare(U256);

impl PerShare {
	/// Returns `amount` divided among `shares`, rounded down at the 128th place. `None` without shares.
	pub fn of(amount: u128, shares: u128) -> Option<Self> {
		(U256::from(amount) << PLACES)
			.checked_div(shares.into())
			.map(Self)
	}

	/// Returns the sum, if it fits.
	pub fn checked_add(self, other: Self) -> Option<Self> {
		self.0.checked_add(other.0).map(Self)
	}

	/// Returns the earnings of `shares` while the rate went from `since` to this one. `None` if it fell, or
	/// if the product does not fit.
	pub fn earned(self, since: Self, shares: u128) -> Option<Exact> {
		self.0
			.checked_sub(since.0)?
			.checked_mul(shares.into())
			.map(Exact)
	}
}

/// The figures of a pool at the end of an epoch, by which its reward is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Members {
	/// The owner's own stake, in units of 10⁻¹⁸ KAI; 0 in an operator's pool.
	pub owner: u128,
	/// The value of all members' shares: units of 10⁻¹⁸ KAI, or licenses.
	pub value: u128,
	/// The sum of all members' shares.
	pub shares: u128,
	/// The shares that were held for the whole epoch.
	pub eligible: u128,
}

/// Returns the members' part of a pool's `reward`, rounded down; the rest is the owner's.
///
/// `commission` is the part that stakers share by value, the owner among them. Without an eligible share it
/// is all the owner's. Where neither the owner nor the members have anything left (the whole pool was
/// slashed), it is the members': they had their stake in the pool all the time, and the fault was not
/// theirs.
///
/// ```
/// use kaisar_math::members::{Members, part};
/// use sp_arithmetic::Perbill;
/// let pool = Members { owner: 600, value: 400, shares: 200, eligible: 100 };
/// // A fifth of 1,000 is shared between 600 of the owner's and 200 that were held all the time.
/// assert_eq!(part(1_000, Perbill::from_percent(20), &pool), 50);
/// ```
pub fn part(reward: u128, commission: Perbill, pool: &Members) -> u128 {
	if pool.eligible == 0 {
		return 0;
	}
	let wide = |a: u128, b: u128| U512::from(a) * U512::from(b);
	let (members, all) = match (pool.value, pool.owner) {
		(0, 0) => (U512::one(), U512::one()),
		(0, _) => return 0,
		(value, owner) => {
			let members = wide(value, pool.eligible);
			// Each product is below 2²⁵⁶.
			(members, members + wide(owner, pool.shares))
		}
	};
	// Below 2¹²⁸ · 2³⁰ · 2²⁵⁶, and then at most the reward.
	let shared = wide(reward, commission.deconstruct().into());
	let part = shared * members / (all * U512::from(Perbill::ACCURACY));
	part.low_u128()
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::KAI;
	use proptest::prelude::*;

	/// The whole supply.
	const SUPPLY: u128 = 1_000_000_000 * KAI;

	#[test]
	fn the_owner_is_split_off_first() {
		let all = Perbill::one();
		let pool = |owner, value, shares, eligible| Members {
			owner,
			value,
			shares,
			eligible,
		};
		// All shares were held all the time: by value.
		assert_eq!(part(1_000, all, &pool(300, 700, 7, 7)), 700);
		// No share was.
		assert_eq!(part(1_000, all, &pool(300, 700, 7, 0)), 0);
		// Licenses: no owner's stake, so all of it, whatever was held.
		assert_eq!(part(1_000, all, &pool(0, 3, 3, 1)), 1_000);
		assert_eq!(
			part(1_000, Perbill::from_percent(10), &pool(0, 3, 3, 1)),
			100
		);
		// Delegators who lost everything beside an owner who has staked again.
		assert_eq!(part(1_000, all, &pool(300, 0, 7, 7)), 0);
		// Everyone lost everything.
		assert_eq!(part(1_000, all, &pool(0, 0, 7, 7)), 1_000);
		// A pool that its registry has removed.
		assert_eq!(part(1_000, all, &pool(0, 0, 0, 7)), 1_000);
		assert_eq!(part(1_000, Perbill::zero(), &pool(0, 3, 3, 3)), 0);
		// The largest figures.
		let most = pool(u128::MAX, u128::MAX, u128::MAX, u128::MAX);
		assert_eq!(part(u128::MAX, all, &most), u128::MAX / 2);
		let most = pool(0, u128::MAX, u128::MAX, u128::MAX);
		assert_eq!(part(u128::MAX, all, &most), u128::MAX);
	}

	#[test]
	fn rates_have_their_bounds() {
		assert_eq!(PerShare::of(1, 0), None);
		let rate = PerShare::of(SUPPLY, 1).unwrap();
		assert_eq!(
			rate.earned(PerShare::default(), 1),
			Some(Exact::from_whole(SUPPLY))
		);
		assert_eq!(PerShare::default().earned(rate, 1), None);
		assert_eq!(
			PerShare::of(u128::MAX, 1)
				.unwrap()
				.earned(PerShare::default(), 2),
			None
		);
		assert_eq!(
			Exact::from_whole(u128::MAX).checked_add(Exact::from_whole(1)),
			None
		);
		assert_eq!(Exact::from_whole(u128::MAX).whole(), u128::MAX);
	}

	proptest! {
		#[test]
		fn members_never_earn_more_than_their_part(
			amounts in prop::collection::vec(0..=SUPPLY / 30, 1..30),
			held in prop::collection::vec(1..=1u128 << 100, 1..20),
		) {
			let shares: u128 = held.iter().sum();
			let mut rate = PerShare::default();
			for amount in &amounts {
				rate = rate.checked_add(PerShare::of(*amount, shares).unwrap()).unwrap();
			}
			let put: u128 = amounts.iter().sum();
			let mut paid = Exact::default();
			for one in &held {
				paid = paid.checked_add(rate.earned(PerShare::default(), *one).unwrap()).unwrap();
			}
			prop_assert!(paid <= Exact::from_whole(put));
			// Rounding keeps less than a unit, over all members and epochs.
			prop_assert!(paid.whole() + 1 >= put);
		}

		#[test]
		fn a_part_is_the_exact_fraction_rounded_down(
			reward in 0..=SUPPLY, parts in 0u32..=1_000_000_000,
			owner in 0..=50_000 * KAI, value in 1..=50_000 * KAI,
			shares in 1..=1u128 << 90, part_of in 0u32..=1_000,
		) {
			let commission = Perbill::from_parts(parts);
			let eligible = shares / 1_000 * u128::from(part_of);
			let pool = Members { owner, value, shares, eligible };
			let part = part(reward, commission, &pool);
			prop_assert!(part <= commission.mul_ceil(reward));
			// part ≤ x < part + 1 for x = reward · c · v / (o + v) with v = value · eligible / shares.
			let wide = |a: u128, b: u128| U512::from(a) * U512::from(b);
			let v = wide(value, eligible);
			let all = (v + wide(owner, shares)) * U512::from(1_000_000_000u32);
			let x = wide(reward, parts.into()) * v;
			if !v.is_zero() {
				prop_assert!(U512::from(part) * all <= x && x < U512::from(part + 1) * all);
			}
		}
	}
}
