//! Scores: what a worker's or an operator's work counts for in an epoch.
//!
//! ```text
//! hardware = 2·A + 1·B + 3·C + 1·D + 1·E      A bandwidth, B CPU, C GPU, D disk, E memory
//! boost    = 1 + min(stake, MaxStake) / MaxStake
//! PoC     += Uptime  ·       boost · hardware
//! PoD     += Jobtime · W_j · boost · hardware
//! Checker  = correct · (1 − Error_Rate) = correct² / seats
//! ```
//!
//! Units: time in blocks, hardware in hundredths (scores have two decimals), boost in 10⁻⁹
//! ([`BOOST_ONE`]); a worker's score is their product, an exact integer, in 10⁻¹¹ of a block of
//! hardware score 1. A checker's score is in 10⁻⁹ ([`CHECKER_ONE`]) of a correct seat. Only ratios of
//! scores are ever paid by, so the unit does not matter.
//!
//! Largest figures: 255 GPUs of score 10 make a hardware of 7,654 (765,400 in hundredths), so an epoch
//! of 100,800 blocks, fully rented and boosted, is 4.6·10²⁰; 10⁶ such workers are 4.6·10²⁶, far
//! inside 128 bits.

use crate::{arith::mul_div, tiers::MAX_TIER};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// The highest score of one GPU that a class may be given, in hundredths: a thousand. With it, an epoch
/// of 10⁶ such workers with 255 GPUs each still fits.
pub const MAX_CLASS_SCORE: u32 = 100_000;
/// A boost of 1: no stake.
pub const BOOST_ONE: u64 = 1_000_000_000;
/// A checker's score of one correct seat, nothing missed.
pub const CHECKER_ONE: u128 = 1_000_000_000;

/// The tier scores and the weights. State of the chain, changeable by governance.
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
	Serialize,
	Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScoreTable {
	/// The score of tiers 0 … 4, in hundredths.
	pub tiers: [u16; 5],
	/// Weight of the bandwidth's tier.
	pub bandwidth: u16,
	/// Weight of the CPU's tier.
	pub cpu: u16,
	/// Weight of the GPUs' score.
	pub gpu: u16,
	/// Weight of the disk's tier.
	pub disk: u16,
	/// Weight of the memory's tier.
	pub memory: u16,
	/// `W_j`: what a block of rented time counts for, as PoD.
	pub job: u16,
}

impl Default for ScoreTable {
	/// The published weights and tier scores.
	fn default() -> Self {
		Self {
			tiers: [0, 20, 40, 60, 80],
			bandwidth: 2,
			cpu: 1,
			gpu: 3,
			disk: 1,
			memory: 1,
			job: 3,
		}
	}
}

/// A worker's verified hardware, as the score sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hardware {
	/// Bandwidth tier.
	pub bandwidth: u8,
	/// CPU tier.
	pub cpu: u8,
	/// Memory tier.
	pub memory: u8,
	/// Disk tier.
	pub disk: u8,
	/// The score of one GPU, in hundredths; 0 without a GPU.
	pub class_score: u32,
	/// Number of GPUs.
	pub gpu_count: u8,
}

impl ScoreTable {
	/// Whether a higher tier never scores less.
	pub fn is_valid(&self) -> bool {
		self.tiers.is_sorted()
	}

	/// The score of a tier, in hundredths. A tier that does not exist counts as the highest.
	pub fn tier(&self, tier: u8) -> u16 {
		self.tiers[usize::from(tier.min(MAX_TIER))]
	}

	/// The hardware score, in hundredths.
	///
	/// ```
	/// use kaisar_math::{Hardware, ScoreTable};
	/// // One RTX 4090 at home: 0.75 · 3 + 0.4 · 2 + 0.2 · 3
	/// let home =
	///     Hardware { bandwidth: 2, cpu: 1, memory: 1, disk: 1, class_score: 75, gpu_count: 1 };
	/// assert_eq!(ScoreTable::default().hardware(&home), 365);
	/// ```
	pub fn hardware(&self, hardware: &Hardware) -> u64 {
		let weighted = |weight: u16, tier: u8| u64::from(weight) * u64::from(self.tier(tier));
		// At most 2¹⁶ · 2³² · 2⁸ and four times 2³²: inside 64 bits.
		weighted(self.bandwidth, hardware.bandwidth)
			+ weighted(self.cpu, hardware.cpu)
			+ weighted(self.memory, hardware.memory)
			+ weighted(self.disk, hardware.disk)
			+ u64::from(self.gpu) * u64::from(hardware.class_score) * u64::from(hardware.gpu_count)
	}

	/// `Uptime · boost · hardware`, for the blocks that a check proved online.
	pub fn poc(&self, online: u32, boost: u64, hardware: &Hardware) -> Option<u128> {
		u128::from(online)
			.checked_mul(boost.into())?
			.checked_mul(self.hardware(hardware).into())
	}

	/// `Jobtime · W_j · boost · hardware`, for the blocks that a check proved rented.
	pub fn pod(&self, rented: u32, boost: u64, hardware: &Hardware) -> Option<u128> {
		self.poc(rented, boost, hardware)?
			.checked_mul(self.job.into())
	}
}

/// `1 + min(stake, MaxStake) / MaxStake`, in units of 10⁻⁹: 1 … 2. Without a maximum there is no boost.
///
/// ```
/// use kaisar_math::score::{BOOST_ONE, boost};
/// assert_eq!(boost(500, 1_000), BOOST_ONE + BOOST_ONE / 2);
/// assert_eq!(boost(5_000, 1_000), 2 * BOOST_ONE);
/// ```
pub fn boost(stake: u128, max_stake: u128) -> u64 {
	let part = mul_div(stake.min(max_stake), BOOST_ONE.into(), max_stake).unwrap_or(0);
	// The part is at most `BOOST_ONE`.
	BOOST_ONE + part as u64
}

/// A checker's score of an epoch: `correct · (1 − Error_Rate)`, which is `correct² / seats`, in units
/// of [`CHECKER_ONE`], rounded down. 0 without seats.
///
/// `Checker_Score = Work_Contribution · Checker_Stake · (1 − Error_Rate)` with work per license, so
/// that it is linear in the licenses.
///
/// ```
/// use kaisar_math::score::{CHECKER_ONE, checker};
/// // 100 seats, 90 of them correct: 90 · 0.9
/// assert_eq!(checker(90, 100), 81 * CHECKER_ONE);
/// ```
pub fn checker(correct: u32, seats: u32) -> u128 {
	// Below 2⁶⁴ · 2³⁰.
	let square = u128::from(correct) * u128::from(correct) * CHECKER_ONE;
	square.checked_div(seats.into()).unwrap_or(0)
}

/// The published form: `work per license · licenses · (1 − Error_Rate)`, the error rate in per cent.
/// In units of [`CHECKER_ONE`].
///
/// ```
/// use kaisar_math::score::{CHECKER_ONE, checker_published};
/// assert_eq!(checker_published(50, 2, 10), Some(90 * CHECKER_ONE));
/// ```
pub fn checker_published(work_per_license: u32, licenses: u32, error_percent: u8) -> Option<u128> {
	let right = 100u128.checked_sub(error_percent.into())?;
	let work = u128::from(work_per_license) * u128::from(licenses);
	mul_div(work.checked_mul(CHECKER_ONE)?, right, 100)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{KAI, classes::CLASSES};
	use proptest::prelude::*;

	const MAX_STAKE: u128 = 50_000 * KAI;

	#[test]
	fn typical_machines() {
		let table = ScoreTable::default();
		// 8×H100 in a data centre: 3 · 10 · 8 + (2 + 1 + 1 + 1) · 0.8
		let centre = Hardware {
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: 4,
			class_score: 1_000,
			gpu_count: 8,
		};
		assert_eq!(table.hardware(&centre), 24_400);
		// No GPU, the least of everything.
		let least = Hardware {
			bandwidth: 1,
			cpu: 1,
			memory: 1,
			disk: 1,
			..Default::default()
		};
		assert_eq!(table.hardware(&least), 100);
		assert_eq!(table.hardware(&Hardware::default()), 0);
		// A day online with the full stake, a third of it rented.
		let boost = boost(MAX_STAKE, MAX_STAKE);
		assert_eq!(
			table.poc(7_200, boost, &centre),
			Some(7_200 * 2_000_000_000 * 24_400)
		);
		assert_eq!(
			table.pod(2_400, boost, &centre),
			table.poc(7_200, boost, &centre)
		);
	}

	#[test]
	fn boost_has_its_bounds() {
		assert_eq!(boost(0, MAX_STAKE), BOOST_ONE);
		assert_eq!(boost(MAX_STAKE / 2, MAX_STAKE), BOOST_ONE * 3 / 2);
		assert_eq!(boost(MAX_STAKE, MAX_STAKE), 2 * BOOST_ONE);
		assert_eq!(boost(u128::MAX, MAX_STAKE), 2 * BOOST_ONE);
		assert_eq!(boost(1, 0), BOOST_ONE);
		assert_eq!(boost(u128::MAX, u128::MAX), 2 * BOOST_ONE);
	}

	#[test]
	fn checkers_worked_example() {
		// 50 verifications a license, error rate 10 %, 2 licenses.
		assert_eq!(checker_published(50, 2, 10), Some(90 * CHECKER_ONE));
		assert_eq!(checker_published(50, 2, 101), None);
		// 100 seats, of which 90 were correct: 90 · (1 − 0.1).
		assert_eq!(checker(90, 100), 81 * CHECKER_ONE);
		assert_eq!(checker(0, 0), 0);
		assert_eq!(checker(0, 10), 0);
		assert_eq!(checker(10, 10), 10 * CHECKER_ONE);
		assert_eq!(
			checker(u32::MAX, u32::MAX),
			u128::from(u32::MAX) * CHECKER_ONE
		);
	}

	#[test]
	fn the_whole_network_fits() {
		let table = ScoreTable::default();
		let most = Hardware {
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: 4,
			class_score: 1_000,
			gpu_count: u8::MAX,
		};
		let one = table.pod(100_800, 2 * BOOST_ONE, &most).unwrap();
		// A million of them, over 26 epochs, and a pot of all KAI: the products stay in range.
		let all = one.checked_mul(1_000_000 * 26).unwrap();
		assert_eq!(
			mul_div(1_000_000_000 * KAI, all, all),
			Some(1_000_000_000 * KAI)
		);
	}

	fn hardware() -> impl Strategy<Value = Hardware> {
		(
			0u8..=4,
			0u8..=4,
			0u8..=4,
			0u8..=4,
			0usize..=CLASSES.len(),
			any::<u8>(),
		)
			.prop_map(
				|(bandwidth, cpu, memory, disk, class, gpu_count)| Hardware {
					bandwidth,
					cpu,
					memory,
					disk,
					class_score: class.checked_sub(1).map_or(0, |i| CLASSES[i].score),
					gpu_count,
				},
			)
	}

	proptest! {
		#[test]
		fn more_never_scores_less(
			hardware in hardware(),
			online in 0u32..1_000_000, more in 0u32..1_000_000,
			stake in 0u128..100_000 * KAI, added in 0u128..100_000 * KAI,
		) {
			let table = ScoreTable::default();
			let (small, large) = (boost(stake, MAX_STAKE), boost(stake + added, MAX_STAKE));
			prop_assert!(small <= large && large <= 2 * BOOST_ONE);
			let score = table.poc(online, small, &hardware).unwrap();
			prop_assert!(score <= table.poc(online + more, large, &hardware).unwrap());
			let better = Hardware { bandwidth: 4, cpu: 4, memory: 4, disk: 4, ..hardware };
			prop_assert!(table.hardware(&hardware) <= table.hardware(&better));
			// Time in two pieces scores as in one.
			prop_assert_eq!(
				score + table.poc(more, small, &hardware).unwrap(),
				table.poc(online + more, small, &hardware).unwrap()
			);
		}

		#[test]
		fn a_wrong_seat_never_pays(correct in 0u32..1_000_000, wrong in 0u32..1_000_000) {
			let seats = correct + wrong;
			prop_assert!(checker(correct, seats + 1) <= checker(correct, seats) || seats == 0);
			prop_assert!(checker(correct + 1, seats + 1) >= checker(correct, seats));
			prop_assert!(checker(correct, seats) <= u128::from(correct) * CHECKER_ONE);
		}

		#[test]
		fn licenses_count_once(correct in 0u32..1_000, wrong in 0u32..1_000, k in 1u32..1_000) {
			// k times the licenses, and with them the seats: k times the score.
			let (one, all) = (checker(correct, correct + wrong), checker(k * correct, k * (correct + wrong)));
			prop_assert!(all >= one * u128::from(k) && all - one * u128::from(k) < u128::from(k));
		}
	}
}
