//! Captured committees: the frequency with which a coalition holds most of one.
//!
//! The runtime itself draws the committees, by random seeds of rounds, on a chain whose operators hold
//! licenses as the row describes. Beside the frequency is the binomial probability for a committee of five.
//! A larger committee, to which operators were added until three have a seat, gives a coalition less.

use crate::{
	chain::Author,
	network::{self, Checker, Network, Rules},
	store::Store,
};
use codec::Encode;
use kaisar_math::committee::{exceeds_three_quarters, is_majority};
use kaisar_primitives::{OperatorId, RoundIndex, RoundKind, WorkerId};
use kaisar_runtime::{Popw, Runtime};
use pallet_popw::{Round, Rounds};
use serde::Serialize;
use std::collections::BTreeSet;

/// Total number of active licenses.
const LICENSES: u32 = 1_000;
/// Number of workers whose committees are drawn.
const WORKERS: u32 = 100;
/// Weight of a committee.
pub const SIZE: u32 = 5;

/// The distribution of the licenses that are not the coalition's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Honest {
	/// Each license is held by an operator of its own.
	Small,
	/// One operator holds 60 % of them.
	OneOf60,
	/// Each of two operators holds 35 % of them.
	TwoOf35,
}

impl Honest {
	/// All distributions.
	pub const ALL: [Self; 3] = [Self::Small, Self::OneOf60, Self::TwoOf35];

	/// Returns the name in the table.
	pub fn name(self) -> &'static str {
		match self {
			Self::Small => "all small",
			Self::OneOf60 => "one with 60 %",
			Self::TwoOf35 => "two with 35 %",
		}
	}

	fn pools(self) -> &'static [u32] {
		match self {
			Self::Small => &[],
			Self::OneOf60 => &[60],
			Self::TwoOf35 => &[35, 35],
		}
	}
}

/// The licenses of a coalition, and of those around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Setting {
	/// Coalition's part of the active licenses, in percent.
	pub percent: u32,
	/// Whether each of them is in an account of its own; otherwise three accounts hold them.
	pub many_accounts: bool,
	/// The distribution of the others.
	pub honest: Honest,
	/// Part of the other licenses whose operators do nothing, in percent.
	pub dead: u32,
}

/// Frequencies of capture in a setting.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Capture {
	/// The setting.
	pub setting: Setting,
	/// Number of committees drawn.
	pub drawn: u32,
	/// Part in which the coalition has more than half of the size: it can pass a false claim, or fail an
	/// honest worker.
	pub majority: f64,
	/// Binomial probability of such a majority in a committee of five.
	pub majority_exact: f64,
	/// Part in which it has more than three quarters: it can have an honest worker slashed.
	pub slash: f64,
	/// Binomial probability of more than three quarters in a committee of five.
	pub slash_exact: f64,
	/// Part in which nothing is decided if the coalition votes against the truth and dead seats do not vote.
	pub undecided: f64,
	/// Part in which it has more than half in the better of two draws: the author of a round's first block
	/// can withhold it to get a second draw, at the price of the block's reward.
	pub majority_of_two: f64,
}

/// Returns the probability of at least `least` hits of `n`.
fn at_least(least: u32, n: u32, p: f64) -> f64 {
	let choose = |k: u32| {
		(0..k).fold(1.0, |product, i| {
			product * f64::from(n - i) / f64::from(i + 1)
		})
	};
	(least..=n)
		.map(|k| choose(k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32))
		.sum()
}

/// Returns the probability of more than half of a committee of [`SIZE`].
pub fn majority(p: f64) -> f64 {
	at_least(SIZE / 2 + 1, SIZE, p)
}

/// Returns the probability of more than three quarters of a committee of [`SIZE`].
pub fn slashes(p: f64) -> f64 {
	at_least(SIZE * 3 / 4 + 1, SIZE, p)
}

/// Splits licenses over this number of accounts.
fn split(licenses: u32, accounts: u32) -> impl Iterator<Item = u32> {
	(0..accounts).map(move |n| licenses / accounts + u32::from(n < licenses % accounts))
}

/// A chain whose operators hold licenses as a setting describes.
struct Board {
	store: Store,
	/// Operators of the coalition.
	own: BTreeSet<OperatorId>,
	/// Operators that do nothing.
	dead: BTreeSet<OperatorId>,
}

impl Board {
	fn new(setting: &Setting, seed: u64) -> Self {
		let own = LICENSES * setting.percent / 100;
		let accounts = if setting.many_accounts {
			own
		} else {
			own.min(3)
		};
		let rest = LICENSES - own;
		let mut holdings: Vec<u32> = split(own, accounts).collect();
		let own: BTreeSet<OperatorId> = (0..holdings.len() as OperatorId).collect();
		let pools: Vec<u32> = setting
			.honest
			.pools()
			.iter()
			.map(|percent| rest * percent / 100)
			.collect();
		let small = rest - pools.iter().sum::<u32>();
		let first_small = (holdings.len() + pools.len()) as OperatorId;
		holdings.extend(pools);
		holdings.extend(std::iter::repeat_n(1, small as usize));
		let dead = (first_small..first_small + (rest * setting.dead / 100).min(small)).collect();
		let checkers: Vec<_> = (0..)
			.zip(holdings)
			.map(|(number, licenses)| Checker {
				account: network::account(1, number),
				licenses,
			})
			.collect();
		let network = Network {
			workers: WORKERS,
			operators: 0,
			licenses: 0,
			rules: Rules::short(),
			seed,
		};
		let author = Author::new(seed);
		let mut store = Store::default();
		store.execute_with(|| network::build(&network, &author, &[], &checkers));
		Self { store, own, dead }
	}

	/// Draws the committees of all workers in a round with this seed, as `(own, dead, size)` by weight.
	fn draw(&mut self, seed: u64) -> Vec<(u32, u32, u32)> {
		let Self { store, own, dead } = self;
		let round = Round {
			index: ROUND,
			kind: RoundKind::Census,
			start: 1,
			trial: 1,
			phase_length: 1,
			committee_size: SIZE as u8,
			min_operators: 3,
			max_due: 1,
			credit: 0,
			bench: Default::default(),
			seed: sp_io::hashing::blake2_256(&(b"capture", seed).encode()).into(),
			trial_seed: None,
			minted: LICENSES,
			active: LICENSES,
			online: WORKERS,
			rented: 0,
		};
		store.execute_with(|| {
			Rounds::<Runtime>::insert(ROUND, round);
			(0..WORKERS)
				.map(|worker: WorkerId| {
					let committee = Popw::committee(worker, ROUND);
					let weigh = |of: &BTreeSet<OperatorId>| {
						committee
							.iter()
							.filter(|(operator, _)| of.contains(operator))
							.map(|(_, weight)| *weight)
							.sum()
					};
					let size = committee.iter().map(|(_, weight)| *weight).sum::<u32>();
					(weigh(own), weigh(dead), size.max(SIZE))
				})
				.collect()
		})
	}
}

/// Round for which committees are drawn.
const ROUND: RoundIndex = 1;

/// Draws this number of committees in a setting, and counts captures.
pub fn measure(setting: Setting, committees: u32, seed: u64) -> Capture {
	let mut board = Board::new(&setting, seed);
	let (mut half, mut most, mut none, mut of_two) = (0u32, 0u32, 0u32, 0u32);
	let mut before: Vec<bool> = Vec::new();
	let rounds = committees.div_ceil(WORKERS).max(2) / 2 * 2;
	for round in 0..rounds {
		let drawn = board.draw(seed.wrapping_mul(1_000_003).wrapping_add(round.into()));
		let captured: Vec<bool> = drawn
			.iter()
			.map(|(own, _, size)| is_majority(*own, *size))
			.collect();
		for ((own, dead, size), captured) in drawn.into_iter().zip(&captured) {
			half += u32::from(*captured);
			most += u32::from(exceeds_three_quarters(own, size));
			let truth = is_majority(size - own - dead, size);
			none += u32::from(!truth && !captured);
		}
		if round % 2 == 1 {
			of_two += captured
				.iter()
				.zip(&before)
				.map(|(now, before)| u32::from(*now || *before))
				.sum::<u32>();
		}
		before = captured;
	}
	let drawn = rounds * WORKERS;
	let part = |count: u32, of: u32| f64::from(count) / f64::from(of);
	let p = f64::from(setting.percent) / 100.0;
	Capture {
		setting,
		drawn,
		majority: part(half, drawn),
		majority_exact: majority(p),
		slash: part(most, drawn),
		slash_exact: slashes(p),
		undecided: part(none, drawn),
		majority_of_two: part(of_two, drawn / 2),
	}
}

/// Returns the settings of the table.
pub fn settings() -> Vec<Setting> {
	let mut all = Vec::new();
	for honest in Honest::ALL {
		for many_accounts in [false, true] {
			for dead in [0, 5] {
				for percent in [1, 5, 10, 15, 20, 33] {
					all.push(Setting {
						percent,
						many_accounts,
						honest,
						dead,
					});
				}
			}
		}
	}
	all
}

#[cfg(test)]
mod tests {
	use super::*;

	/// Tests rows of the table of *Committees* in `docs/popw.md`.
	#[test]
	fn the_binomial_figures_are_those_of_the_documents() {
		for (percent, half, most) in [
			(5, 0.0012, 0.00003),
			(10, 0.0086, 0.00046),
			(33, 0.205, 0.044),
		] {
			let p = f64::from(percent) / 100.0;
			assert!(
				(majority(p) / half - 1.0).abs() < 0.05,
				"{percent} %: {}",
				majority(p)
			);
			assert!(
				(slashes(p) / most - 1.0).abs() < 0.05,
				"{percent} %: {}",
				slashes(p)
			);
		}
	}
}
