//! Shares against exact arithmetic: the holdings of every delegator if nothing were ever rounded.

use super::*;
use kaisar_math::stake::slash_at;
use proptest::prelude::*;
use sp_core::U512;
use sp_runtime::Perquintill;

/// A non-negative fraction, in lowest terms.
#[derive(Clone, Copy, Debug)]
struct Exact {
	num: U512,
	den: U512,
}

impl Exact {
	const ZERO: Self = Self {
		num: U512::zero(),
		den: U512::one(),
	};

	fn new(num: U512, den: U512) -> Self {
		let (mut a, mut b) = (num, den);
		while !b.is_zero() {
			(a, b) = (b, a % b);
		}
		Self {
			num: num / a,
			den: den / a,
		}
	}

	fn add(self, whole: u128) -> Self {
		Self::new(self.num + U512::from(whole) * self.den, self.den)
	}

	/// Subtracts `whole`, and returns the remainder, 0 at least, and the missing amount.
	fn sub(self, whole: u128) -> (Self, u128) {
		let whole = U512::from(whole) * self.den;
		if whole > self.num {
			let missing = (whole - self.num + self.den - 1) / self.den;
			(Self::ZERO, missing.low_u128())
		} else {
			(Self::new(self.num - whole, self.den), 0)
		}
	}

	fn times(self, num: u128, den: u128) -> Self {
		Self::new(
			self.num.checked_mul(num.into()).expect("it fits"),
			self.den.checked_mul(den.into()).expect("it fits"),
		)
	}

	/// Returns whether `whole` is within `tolerance`.
	fn is_near(self, whole: u128, tolerance: u128) -> bool {
		let (whole, tolerance) = (
			U512::from(whole) * self.den,
			U512::from(tolerance) * self.den,
		);
		self.num + tolerance >= whole && whole + tolerance >= self.num
	}
}

#[derive(Clone, Copy, Debug)]
enum Op {
	/// A member adds an amount.
	Stake(usize, u64),
	/// A member takes out a part, in 255ths, of the value of its shares.
	Unstake(usize, u8),
	/// A part, in 255ths, of the whole is slashed.
	Slash(u8),
}

const MEMBERS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
	let amount = prop_oneof![1u64..100, 1_000u64..1_000_000, 1u64 << 30..1 << 40];
	prop_oneof![
		4 => (0..MEMBERS, amount).prop_map(|(member, amount)| Op::Stake(member, amount)),
		3 => (0..MEMBERS, any::<u8>()).prop_map(|(member, part)| Op::Unstake(member, part)),
		1 => any::<u8>().prop_map(Op::Slash),
	]
}

/// Returns the maximum value that one step may shift between members: the price of a share, rounded up, and
/// the rounded unit.
fn grain(part: &SharedStake) -> u128 {
	1 + part.value.div_ceil(part.shares.max(1))
}

/// Returns whether the exact price of a share did not fall.
fn price_holds(before: &SharedStake, after: &SharedStake) -> bool {
	let product = |a: u128, b: u128| U512::from(a) * U512::from(b);
	after.shares == 0 || product(after.value, before.shares) >= product(before.value, after.shares)
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(1_000),
		rng_seed: kaisar_test_support::property::seed(5),
		..ProptestConfig::default()
	})]

	/// Value is neither created nor lost; each member has the value of exact arithmetic, except for the
	/// rounding of the steps so far; and all shares together are never worth more than the whole.
	#[test]
	fn shares_are_worth_what_they_should(ops in prop::collection::vec(op(), 1..60)) {
		let mut pool = StakePool::default();
		let mut shares = [0u128; MEMBERS];
		let mut exact = [Exact::ZERO; MEMBERS];
		let (mut put_in, mut taken_out, mut slashed) = (0u128, 0u128, 0u128);
		let (mut tolerance, mut slashes) = (0u128, 0);
		for op in ops {
			let before = pool.delegated;
			tolerance += grain(&before);
			match op {
				Op::Stake(member, amount) => {
					let amount = amount.into();
					if !pool.delegated.is_open() {
						prop_assert_eq!(pool.delegated.add(amount), None);
						continue;
					}
					shares[member] += pool.delegated.add(amount).unwrap();
					exact[member] = exact[member].add(amount);
					put_in += amount;
				},
				Op::Unstake(member, part) => {
					let worth = pool.delegated.worth(shares[member]).unwrap();
					let amount = worth * u128::from(part) / 255;
					if amount == 0 {
						continue;
					}
					shares[member] -= pool.delegated.take(amount, shares[member]).unwrap();
					let (left, missing) = exact[member].sub(amount);
					exact[member] = left;
					// The excess came from others' rounding.
					prop_assert!(missing <= tolerance);
					taken_out += amount;
				},
				Op::Slash(part) => {
					// The exact fractions grow with each slash.
					if slashes == 8 || pool.delegated.value == 0 {
						continue;
					}
					slashes += 1;
					let rate = Perquintill::from_rational(u64::from(part), 255);
					let amount = slash_at(rate, before.value);
					let taken = pool.slash(rate).delegated;
					// The requested amount, or all if the remainder would be below the lowest price.
					prop_assert!(taken == amount || taken == before.value);
					slashed += taken;
					for claim in &mut exact {
						*claim = claim.times(before.value - taken, before.value);
					}
				},
			}
			// Joining and leaving never cost the other members anything.
			if !matches!(op, Op::Slash(_)) {
				prop_assert!(price_holds(&before, &pool.delegated));
			}
			tolerance += grain(&pool.delegated);
			let value = pool.delegated.value;
			prop_assert_eq!(put_in, taken_out + slashed + value);
			let mut all = 0;
			for (member, exact) in exact.iter().enumerate() {
				let worth = pool.delegated.worth(shares[member]).unwrap();
				prop_assert!(
					exact.is_near(worth, tolerance),
					"{} is not within {} of {:?}", worth, tolerance, exact
				);
				all += worth;
			}
			prop_assert!(all <= value);
			prop_assert_eq!(shares.iter().sum::<u128>(), pool.delegated.shares);
		}
		// The last member to leave gets the last unit.
		for held in shares {
			pool.delegated.redeem(held).unwrap();
		}
		prop_assert!(pool.delegated == SharedStake::default() || !pool.delegated.is_open());
	}

	/// Going in and out again, at any price and in any number of steps, gains nothing, and costs the others
	/// nothing.
	#[test]
	fn no_round_trip_pays(
		value in 1u128..1 << 60,
		factor in 1u128..1 << 31,
		more: u64,
		amounts in prop::collection::vec(1u128..1 << 60, 1..8),
		parts in prop::collection::vec(1u8..=255, 1..8),
	) {
		// Any price above the lowest one, including prices above a unit.
		let shares = (value * factor + u128::from(more)) / factor.min(3);
		prop_assume!(shares > 0);
		let mut part = SharedStake { value, shares };
		let mut held = 0;
		for amount in &amounts {
			let before = part;
			held += part.add(*amount).unwrap();
			prop_assert!(price_holds(&before, &part));
		}
		let mut back = 0;
		for by in parts.into_iter().chain([255]) {
			let worth = part.worth(held).unwrap();
			let amount = worth * u128::from(by) / 255;
			let before = part;
			if amount > 0 {
				held -= part.take(amount, held).unwrap();
				back += amount;
			}
			prop_assert!(price_holds(&before, &part));
		}
		let put_in: u128 = amounts.iter().sum();
		prop_assert!(back <= put_in, "{} out of {}", back, put_in);
	}

	/// Unbonding stake keeps its value, less slashes, in every generation.
	#[test]
	fn unbonding_creates_no_value(
		ops in prop::collection::vec((0u8..3, 1u64..1 << 40, any::<prop::sample::Index>()), 1..80)
	) {
		let mut pool = StakePool::default();
		let mut pieces: Vec<Unbonding> = Vec::new();
		let (mut put_in, mut taken_out, mut slashed) = (0u128, 0u128, 0u128);
		for (kind, amount, index) in ops {
			match kind {
				0 => {
					pieces.push(pool.unbonding.add(amount.into(), 0).unwrap());
					put_in += u128::from(amount);
				},
				1 if !pieces.is_empty() => {
					let piece = pieces.swap_remove(index.index(pieces.len()));
					let worth = pool.unbonding.worth(&piece).unwrap();
					prop_assert_eq!(pool.unbonding.redeem(&piece), Some(worth));
					taken_out += worth;
				},
				_ => {
					let rate = Perquintill::from_rational(amount, 1 << 40);
					let before = pool.unbonding;
					let taken = pool.slash(rate);
					slashed += taken.unbonding;
					prop_assert_eq!(taken.total(), Ok(taken.unbonding));
					if pool.unbonding.part.value == 0 && before.part.value > 0 {
						prop_assert_eq!(pool.unbonding.generation, before.generation + 1);
					}
				},
			}
			prop_assert_eq!(put_in, taken_out + slashed + pool.unbonding.part.value);
			let worth: u128 =
				pieces.iter().map(|piece| pool.unbonding.worth(piece).unwrap()).sum();
			prop_assert!(worth <= pool.unbonding.part.value);
		}
		for piece in pieces {
			taken_out += pool.unbonding.redeem(&piece).unwrap();
		}
		prop_assert_eq!(pool.unbonding.part, SharedStake::default());
		prop_assert_eq!(put_in, taken_out + slashed);
	}
}

/// An action in a pool between two slashes.
#[derive(Clone, Copy, Debug)]
enum Move {
	OwnerStakes(u64),
	/// A part, in 255ths, begins to unbond.
	OwnerLeaves(u8),
	DelegatorStakes(u64),
	DelegatorsLeave(u8),
	/// A part of the unbonding stake is paid out.
	OwnerIsPaid(u8),
	DelegatorsArePaid(u8),
	/// In parts of 10⁶.
	Slash(u32),
}

fn a_move() -> impl Strategy<Value = Move> {
	let amount = || prop_oneof![1u64..100, 1_000u64..1_000_000, 1u64 << 30..1 << 40];
	prop_oneof![
		2 => amount().prop_map(Move::OwnerStakes),
		2 => any::<u8>().prop_map(Move::OwnerLeaves),
		2 => amount().prop_map(Move::DelegatorStakes),
		2 => any::<u8>().prop_map(Move::DelegatorsLeave),
		1 => any::<u8>().prop_map(Move::OwnerIsPaid),
		1 => any::<u8>().prop_map(Move::DelegatorsArePaid),
		4 => (0..=1_000_000u32).prop_map(Move::Slash),
	]
}

/// Pays out a part of the unbonding shares, as if one piece held them.
fn pay_out(unbonding: &mut UnbondingStake, part: u8) {
	let shares = unbonding.part.shares * u128::from(part) / 255;
	unbonding.part.redeem(shares).unwrap();
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(1_000),
		rng_seed: kaisar_test_support::property::seed(6),
		..ProptestConfig::default()
	})]

	/// A slash takes the same rate of each part of a pool, rounded down, or the whole of a part whose shares
	/// would fall below the lowest price, however stake moved between the parts before.
	#[test]
	fn every_part_loses_the_same_rate(moves in prop::collection::vec(a_move(), 1..60)) {
		let mut pool = StakePool::default();
		for step in moves {
			match step {
				Move::OwnerStakes(amount) => pool.own += u128::from(amount),
				Move::OwnerLeaves(part) => {
					let amount = pool.own * u128::from(part) / 255;
					pool.own_unbonding.add(amount, 0).unwrap();
					pool.own -= amount;
				},
				Move::DelegatorStakes(amount) => {
					pool.delegated.add(amount.into());
				},
				Move::DelegatorsLeave(part) => {
					let shares = pool.delegated.shares * u128::from(part) / 255;
					let amount = pool.delegated.redeem(shares).unwrap();
					pool.unbonding.add(amount, 0).unwrap();
				},
				Move::OwnerIsPaid(part) => pay_out(&mut pool.own_unbonding, part),
				Move::DelegatorsArePaid(part) => pay_out(&mut pool.unbonding, part),
				Move::Slash(rate) => {
					let rate = Perquintill::from_rational(u64::from(rate), 1_000_000);
					let before = pool;
					let expected = pool.slashed_at(rate).unwrap();
					let taken = pool.slash(rate);
					prop_assert_eq!(taken.total(), Ok(expected));
					prop_assert_eq!(before.total().unwrap() - expected, pool.total().unwrap());
					prop_assert_eq!(taken.own, slash_at(rate, before.own));
					let parts = [
						(taken.own_unbonding, before.own_unbonding.part),
						(taken.delegated, before.delegated),
						(taken.unbonding, before.unbonding.part),
					];
					for (taken, part) in parts {
						let exact = slash_at(rate, part.value);
						let least = part.shares.div_ceil(kaisar_math::stake::SHARES_PER_UNIT);
						let ends = exact > 0 && part.value - exact < least;
						prop_assert_eq!(taken, if ends { part.value } else { exact });
					}
				},
			}
		}
	}
}

#[test]
fn a_price_that_falls_too_low_is_the_end_of_a_part() {
	let mut pool = StakePool::default();
	pool.delegated.add(1 << 40).unwrap();
	// Down to the lowest price: a unit for 2^32 shares.
	let half = Perquintill::from_percent(50);
	for _ in 0..32 {
		pool.slash(half);
	}
	assert_eq!(pool.delegated.value, 1 << 8);
	assert!(pool.delegated.is_open());
	// The shares for all existing KAI fit.
	let mut rich = pool.delegated;
	assert!(rich.add(1_000_000_000 * KAI).is_some());
	// A little less, and the whole is taken.
	let percent = Perquintill::from_percent(1);
	assert_eq!(pool.slash(percent).delegated, 1 << 8);
	assert!(!pool.delegated.is_open());
	assert_eq!(pool.delegated.add(1), None);
}

#[test]
fn more_than_there_is_cannot_be_taken() {
	let mut part = SharedStake::default();
	let held = part.add(100).unwrap();
	assert_eq!(part.take(101, held), None);
	assert_eq!(part.take(60, held / 2), None);
	assert_eq!(part.worth(held + 1), None);
	assert_eq!(part.redeem(held + 1), None);
	assert_eq!(part.take(100, held), Some(held));
	assert_eq!(part, SharedStake::default());
	let all = Perquintill::one();
	assert_eq!(StakePool::default().slash(all), Slashed::default());
}
