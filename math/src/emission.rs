//! Emission by block number, its split, the checkers' reserve and the supply cap.
//!
//! Emission is a function of the block number alone, never of the clock: `emitted_until(n)` is the emission
//! of blocks 1 … n, and the emission of a range of blocks is a difference of two of those. So an epoch that
//! crosses the end of a period needs no special case, and the parts of any division of the chain's life into
//! ranges add up to the whole, to the unit. The reserve is released in the same way: `⌊reserve ·
//! emitted_until(n) / total⌋` is out after block `n`.

use crate::{KAI, arith::mul_div};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_arithmetic::Perbill;

/// The maximum supply: 1,000,000,000 KAI.
pub const MAX_SUPPLY: u128 = 1_000_000_000 * KAI;
/// The allocation of a production genesis: the supply less the emission, 590,032,000 KAI.
pub const GENESIS_ALLOCATION: u128 = MAX_SUPPLY - Schedule::KAISAR.total();
/// The part of the genesis allocation that is reserved for checkers: 118,006,400 KAI.
pub const CHECKERS_RESERVE: u128 = 118_006_400 * KAI;

/// A run of blocks with the same emission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
	/// The last block of the run; the first one follows the run before.
	pub last: u32,
	/// The emission of each block, in units of 10⁻¹⁸ KAI.
	pub per_block: u128,
}

/// Emission by block number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule(pub [Period; 3]);

impl Schedule {
	/// The published schedule: three periods of 10,512,000 blocks with 15, 13 and 11 KAI a block.
	pub const KAISAR: Self = Self([
		Period {
			last: 10_512_000,
			per_block: 15 * KAI,
		},
		Period {
			last: 21_024_000,
			per_block: 13 * KAI,
		},
		Period {
			last: 31_536_000,
			per_block: 11 * KAI,
		},
	]);

	/// Returns the emission of block `number`. The genesis block emits nothing.
	pub const fn per_block(&self, number: u32) -> u128 {
		if number == 0 {
			return 0;
		}
		let mut i = 0;
		while i < self.0.len() {
			if number <= self.0[i].last {
				return self.0[i].per_block;
			}
			i += 1;
		}
		0
	}

	/// Returns the emission of blocks 1 … `number`.
	pub const fn emitted_until(&self, number: u32) -> u128 {
		let (mut sum, mut before, mut i) = (0, 0, 0);
		while i < self.0.len() && number > before {
			let Period { last, per_block } = self.0[i];
			let to = if number < last { number } else { last };
			// At most 2³² blocks of at most some tens of KAI: far inside 128 bits.
			sum += (to - before) as u128 * per_block;
			before = last;
			i += 1;
		}
		sum
	}

	/// Returns the emission of the blocks after `after` up to and including `to`; 0 if there are none.
	pub const fn emitted(&self, after: u32, to: u32) -> u128 {
		self.emitted_until(to)
			.saturating_sub(self.emitted_until(after))
	}

	/// Returns the emission of all blocks.
	pub const fn total(&self) -> u128 {
		self.emitted_until(u32::MAX)
	}

	/// Returns the emission of all blocks after `number`.
	pub const fn left(&self, number: u32) -> u128 {
		self.total() - self.emitted_until(number)
	}

	/// Returns the part of a `reserve` that is out after block `number`: in step with the emission, and the
	/// last unit with the last block's.
	pub const fn released_until(&self, reserve: u128, number: u32) -> Option<u128> {
		mul_div(reserve, self.emitted_until(number), self.total())
	}

	/// Returns the part of a `reserve` that is released with the blocks after `after` up to `to`.
	pub const fn released(&self, reserve: u128, after: u32, to: u32) -> Option<u128> {
		match (
			self.released_until(reserve, to),
			self.released_until(reserve, after),
		) {
			(Some(to), Some(after)) => Some(to.saturating_sub(after)),
			_ => None,
		}
	}
}

/// The shares of the emission.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Split {
	/// The share of workers: providers and their delegators.
	pub providers: Perbill,
	/// The share of checkers and license holders.
	pub checkers: Perbill,
	/// The share of validators and nominators.
	pub validators: Perbill,
}

impl Default for Split {
	/// Returns the published split: 50 %, 20 %, 30 %.
	fn default() -> Self {
		Self {
			providers: Perbill::from_percent(50),
			checkers: Perbill::from_percent(20),
			validators: Perbill::from_percent(30),
		}
	}
}

/// An emission, split into amounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shares {
	/// The workers' part.
	pub providers: u128,
	/// The checkers' part.
	pub checkers: u128,
	/// The validators' part.
	pub validators: u128,
}

impl Split {
	/// Returns whether the shares sum to at most the whole.
	pub fn is_valid(&self) -> bool {
		let parts = [self.providers, self.checkers, self.validators];
		let sum: u64 = parts.iter().map(|part| u64::from(part.deconstruct())).sum();
		sum <= u64::from(Perbill::one().deconstruct())
	}

	/// Returns the parts of an emission, each rounded down. They never exceed the whole, whatever the
	/// percentages: an excess over 100 % is cut from the last.
	pub fn of(&self, emission: u128) -> Shares {
		let providers = self.providers.mul_floor(emission);
		let rest = emission - providers;
		let checkers = self.checkers.mul_floor(emission).min(rest);
		let validators = self.validators.mul_floor(emission).min(rest - checkers);
		Shares {
			providers,
			checkers,
			validators,
		}
	}
}

/// Returns the part of `wanted` that may be minted where `issued` exists, and `due` more is owed and not
/// minted yet.
pub const fn within_cap(wanted: u128, cap: u128, issued: u128, due: u128) -> u128 {
	let room = cap.saturating_sub(issued).saturating_sub(due);
	if wanted < room { wanted } else { room }
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::DAY;
	use proptest::prelude::*;

	const S: Schedule = Schedule::KAISAR;

	#[test]
	fn the_published_figures_hold() {
		assert_eq!(S.total(), 409_968_000 * KAI);
		assert_eq!(GENESIS_ALLOCATION, 590_032_000 * KAI);
		assert_eq!(Split::default().of(S.total()).checkers, 81_993_600 * KAI);
		assert_eq!(
			Split::default().of(S.total()).checkers + CHECKERS_RESERVE,
			200_000_000 * KAI
		);
		// 15 KAI × 7,200 blocks × 30 days × 50 % a month for providers.
		assert_eq!(
			Split::default().of(S.emitted(0, 30 * DAY)).providers,
			1_620_000 * KAI
		);
		assert!(Split::default().is_valid());
	}

	#[test]
	fn the_periods_end_where_they_should() {
		assert_eq!(S.per_block(0), 0);
		assert_eq!(S.emitted_until(0), 0);
		for (block, kai) in [
			(1, 15),
			(10_512_000, 15),
			(10_512_001, 13),
			(21_024_000, 13),
			(21_024_001, 11),
			(31_536_000, 11),
			(31_536_001, 0),
			(u32::MAX, 0),
		] {
			assert_eq!(S.per_block(block), kai * KAI, "block {block}");
			assert_eq!(S.emitted(block - 1, block), kai * KAI, "block {block}");
		}
		assert_eq!(S.left(31_536_000), 0);
		assert_eq!(S.left(31_535_999), 11 * KAI);
		assert_eq!(S.emitted(7, 7), 0);
		assert_eq!(S.emitted(8, 7), 0);
	}

	#[test]
	fn whole_life_by_epochs_adds_up_to_the_unit() {
		let (mut emitted, mut released, mut at) = (0, 0, 0);
		while at < 31_536_000 + 100_800 {
			let to = at + 100_800;
			emitted += S.emitted(at, to);
			released += S.released(CHECKERS_RESERVE, at, to).unwrap();
			at = to;
			assert_eq!(emitted, S.emitted_until(at));
		}
		assert_eq!(emitted, S.total());
		assert_eq!(released, CHECKERS_RESERVE);
	}

	#[test]
	fn a_split_over_the_whole_is_cut() {
		let split = Split {
			providers: Perbill::from_percent(80),
			checkers: Perbill::from_percent(30),
			validators: Perbill::from_percent(30),
		};
		assert!(!split.is_valid());
		assert_eq!(
			split.of(100),
			Shares {
				providers: 80,
				checkers: 20,
				validators: 0
			}
		);
	}

	#[test]
	fn the_cap_holds() {
		assert_eq!(within_cap(10, 100, 80, 5), 10);
		assert_eq!(within_cap(10, 100, 90, 5), 5);
		assert_eq!(within_cap(10, 100, 90, 10), 0);
		assert_eq!(within_cap(10, 100, 200, 10), 0);
	}

	proptest! {
		#[test]
		fn emission_is_the_sum_of_its_blocks(from in 0u32..32_000_000, blocks in 0u32..500) {
			let sum: u128 = (from + 1..=from + blocks).map(|block| S.per_block(block)).sum();
			prop_assert_eq!(S.emitted(from, from + blocks), sum);
		}

		#[test]
		fn ranges_join(a: u32, b: u32, c: u32, reserve in 0u128..=MAX_SUPPLY) {
			let mut at = [a, b, c];
			at.sort();
			let [a, b, c] = at;
			prop_assert_eq!(S.emitted(a, b) + S.emitted(b, c), S.emitted(a, c));
			prop_assert_eq!(
				S.released(reserve, a, b).unwrap() + S.released(reserve, b, c).unwrap(),
				S.released(reserve, a, c).unwrap()
			);
			prop_assert!(S.released_until(reserve, c).unwrap() <= reserve);
		}

		#[test]
		fn shares_never_exceed_the_emission(
			emission in 0u128..=MAX_SUPPLY,
			a in 0u32..=1_000_000_000, b in 0u32..=1_000_000_000, c in 0u32..=1_000_000_000,
		) {
			let split = Split {
				providers: Perbill::from_parts(a),
				checkers: Perbill::from_parts(b),
				validators: Perbill::from_parts(c),
			};
			let shares = split.of(emission);
			prop_assert!(shares.providers + shares.checkers + shares.validators <= emission);
			if split.is_valid() {
				prop_assert_eq!(shares.checkers, split.checkers.mul_floor(emission));
				prop_assert_eq!(shares.validators, split.validators.mul_floor(emission));
			}
		}
	}
}
