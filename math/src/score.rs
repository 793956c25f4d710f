//! Scores: the value of a worker's or an operator's work in an epoch.
//!
//! ```text
//! hardware = 2·A + 1·B + 3·C + 1·D + 1·E      A bandwidth, B CPU, C GPU, D disk, E memory
//! boost    = 1 + min(stake, MaxStake) / MaxStake
//! w        = CpuOnlyWeight · cores / 129 if C = 0, else 1
//! PoC     += Uptime  ·       boost · hardware · w
//! PoD     += Jobtime · W_j · boost · hardware · w
//! Checker  = correct · (1 − Error_Rate) = correct² / seats
//! ```
//!
//! `cores` are the fewest of the CPU's tier ([`tiers::cores`]), as in prices.
//!
//! Units: time in blocks, hardware in hundredths (scores have two decimals), boost in 10⁻⁹ ([`BOOST_ONE`]);
//! a worker's score is their product in 10⁻¹¹ of a block of hardware score 1, exact with GPUs and rounded
//! down without. A checker's score is in 10⁻⁹ ([`CHECKER_ONE`]) of a correct seat. Payments depend only on
//! ratios of scores, so the unit does not matter.
//!
//! Largest figures: 255 GPUs of score 10 give a hardware of 7,654 (765,400 in hundredths), so an epoch of
//! 100,800 blocks, fully rented and boosted, is 4.6·10²⁰; 10⁶ such workers are 4.6·10²⁶, far inside 128
//! bits.

use crate::{
	arith::mul_div,
	tiers::{self, MAX_TIER},
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_arithmetic::{PerThing, Perbill};

/// The maximum score of one GPU of a class, in hundredths: a thousand. With it, an epoch of 10⁶ such workers
/// with 255 GPUs each still fits.
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
	/// `W_j`: the weight of a block of rented time, as PoD.
	pub job: u16,
}

impl Default for ScoreTable {
	/// Returns the published weights and tier scores.
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

/// A worker's verified hardware, as input of the score.
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
	/// The score of one GPU, in hundredths; 0 without a GPU, and for a class that is not paid.
	pub class_score: u32,
	/// Number of GPUs.
	pub gpu_count: u8,
}

impl Hardware {
	/// Returns `w` as a fraction: 1 with GPUs that score. Without, `cpu_only` for a machine of the highest
	/// CPU tier, and proportionally less for one with fewer cores.
	///
	/// ```
	/// use kaisar_math::Hardware;
	/// use sp_arithmetic::Perbill;
	/// let server = Hardware { cpu: 3, ..Default::default() };
	/// let (part, whole) = server.weight(Perbill::from_percent(10));
	/// assert_eq!(part * 1_290, whole * 64);
	/// ```
	pub fn weight(&self, cpu_only: Perbill) -> (u128, u128) {
		if self.class_score > 0 && self.gpu_count > 0 {
			return (1, 1);
		}
		let cores = |tier| u128::from(tiers::cores(tier));
		(
			u128::from(cpu_only.deconstruct()) * cores(self.cpu),
			u128::from(Perbill::ACCURACY) * cores(MAX_TIER),
		)
	}
}

impl ScoreTable {
	/// Returns whether no tier scores less than a lower one.
	pub fn is_valid(&self) -> bool {
		self.tiers.is_sorted()
	}

	/// Returns the score of a tier, in hundredths. A tier above the highest counts as the highest.
	pub fn tier(&self, tier: u8) -> u16 {
		self.tiers[usize::from(tier.min(MAX_TIER))]
	}

	/// Returns the hardware score, in hundredths.
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

	/// Returns `Uptime · boost · hardware · w`, for blocks that a check proved online, rounded down. `None`
	/// on overflow.
	pub fn poc(
		&self,
		online: u32,
		boost: u64,
		hardware: &Hardware,
		cpu_only: Perbill,
	) -> Option<u128> {
		self.weighed(online, boost, 1, hardware, cpu_only)
	}

	/// Returns `Jobtime · W_j · boost · hardware · w`, for blocks that a check proved rented, rounded down.
	/// `None` on overflow.
	pub fn pod(
		&self,
		rented: u32,
		boost: u64,
		hardware: &Hardware,
		cpu_only: Perbill,
	) -> Option<u128> {
		self.weighed(rented, boost, self.job, hardware, cpu_only)
	}

	fn weighed(
		&self,
		blocks: u32,
		boost: u64,
		job: u16,
		hardware: &Hardware,
		cpu_only: Perbill,
	) -> Option<u128> {
		let full = u128::from(blocks)
			.checked_mul(boost.into())?
			.checked_mul(self.hardware(hardware).into())?
			.checked_mul(job.into())?;
		let (part, whole) = hardware.weight(cpu_only);
		mul_div(full, part, whole)
	}
}

/// Returns the boost, `1 + min(stake, MaxStake) / MaxStake`, in units of 10⁻⁹: 1 … 2. Without a maximum
/// there is no boost.
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

/// Returns a checker's score of an epoch: `correct · (1 − Error_Rate)`, which is `correct² / seats`, in
/// units of [`CHECKER_ONE`], rounded down. 0 without seats.
///
/// This is `Checker_Score = Work_Contribution · Checker_Stake · (1 − Error_Rate)` with work per license, so
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

/// Returns the published form: `work per license · licenses · (1 − Error_Rate)`, the error rate in per cent.
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
	const CPU_ONLY: Perbill = Perbill::from_percent(10);

	#[test]
	fn typical_machines() {
		let table = ScoreTable::default();
		// 8×H100 in a data center: 3 · 10 · 8 + (2 + 1 + 1 + 1) · 0.8
		let center = Hardware {
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: 4,
			class_score: 1_000,
			gpu_count: 8,
		};
		assert_eq!(table.hardware(&center), 24_400);
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
			table.poc(7_200, boost, &center, CPU_ONLY),
			Some(7_200 * 2_000_000_000 * 24_400)
		);
		assert_eq!(
			table.pod(2_400, boost, &center, CPU_ONLY),
			table.poc(7_200, boost, &center, CPU_ONLY)
		);
	}

	#[test]
	fn every_machine_weighs_four_times_as_much_rented_as_idle() {
		let table = ScoreTable::default();
		for (cpu, class_score) in [(1, 0), (2, 0), (3, 0), (4, 0), (1, 75)] {
			let machine = Hardware {
				bandwidth: 2,
				cpu,
				memory: cpu,
				disk: cpu,
				class_score,
				gpu_count: 1,
			};
			let poc = table.poc(7_200, BOOST_ONE, &machine, CPU_ONLY).unwrap();
			let pod = table.pod(7_200, BOOST_ONE, &machine, CPU_ONLY).unwrap();
			assert!(poc > 0 && pod.abs_diff(3 * poc) <= 3, "{machine:?}");
			// Without `w` in PoD four cores would weigh 968 times as much.
			let (part, whole) = machine.weight(CPU_ONLY);
			let bare = 1 + 3 * whole / part;
			assert_eq!(
				bare,
				match (class_score, cpu) {
					(0, 1) => 968,
					(0, 2) => 121,
					(0, 3) => 61,
					(0, 4) => 31,
					_ => 4,
				}
			);
		}
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
		let one = table.pod(100_800, 2 * BOOST_ONE, &most, CPU_ONLY).unwrap();
		// A million of them, over 26 epochs, and a pot of all KAI: the products stay in range.
		let all = one.checked_mul(1_000_000 * 26).unwrap();
		assert_eq!(
			mul_div(1_000_000_000 * KAI, all, all),
			Some(1_000_000_000 * KAI)
		);
	}

	/// A server without a GPU: cores, GB of memory and of disk, Mb/s in both directions.
	#[derive(Clone, Copy, Debug)]
	struct Server {
		cores: u32,
		memory: u32,
		disk: u32,
		line: u32,
	}

	impl Server {
		/// Returns its score of an epoch, without a boost: each identity into which a machine is split needs
		/// a stake of its own.
		fn score(self) -> u128 {
			let hardware = Hardware {
				bandwidth: tiers::bandwidth(self.line, self.line),
				cpu: tiers::cpu(self.cores),
				memory: tiers::memory(self.memory),
				disk: tiers::disk(self.disk),
				..Default::default()
			};
			let table = ScoreTable::default();
			table.poc(100_800, BOOST_ONE, &hardware, CPU_ONLY).unwrap()
		}

		/// Returns one of `parts` equal parts. Each has the whole line, as if lines were measured one after
		/// the other.
		fn part(self, parts: u32) -> Self {
			Self {
				cores: self.cores / parts,
				memory: self.memory / parts,
				disk: self.disk / parts,
				..self
			}
		}

		/// Returns its score in `parts` parts over its score in one.
		fn split(self, parts: u32) -> f64 {
			(self.part(parts).score() * u128::from(parts)) as f64 / self.score() as f64
		}
	}

	#[test]
	fn a_server_split_in_parts_earns_no_more() {
		// 64 cores, with 2 to 16 GB of memory and 16 to 250 GB of disk each, and lines of all kinds.
		for (memory, disk, line) in [
			(128, 1_000, 100),
			(256, 4_000, 1_000),
			(512, 16_000, 1_000),
			(1_024, 16_000, 10_000),
		] {
			let server = Server {
				cores: 64,
				memory,
				disk,
				line,
			};
			for parts in [2, 4, 16, 64] {
				let ratio = server.split(parts);
				println!("{server:?} in {parts}: {ratio:.2}");
				assert!(ratio < 1.0, "{server:?} in {parts}: {ratio}");
			}
			assert_eq!(server.split(64), 0.0, "a core is worth nothing");
		}
	}

	#[test]
	fn a_server_between_two_tiers_gains_by_a_split_and_next_to_nothing() {
		// A tier counts as its fewest cores, as in prices. So in one piece the cores above a boundary earn
		// nothing, and in parts they do. A part of four cores earns little for the stake that each part
		// needs: a 4090 at home earns more than two hundred times as much for its stake.
		let home = Hardware {
			bandwidth: 2,
			cpu: 1,
			memory: 1,
			disk: 1,
			class_score: 75,
			gpu_count: 1,
		};
		let table = ScoreTable::default();
		let home = table.poc(100_800, BOOST_ONE, &home, CPU_ONLY).unwrap() / 650;
		for (from, to, most) in [(4, 31, 6.5), (32, 63, 1.5), (64, 128, 2.0), (129, 257, 2.0)] {
			let mut worst = (0.0, 0, 0);
			for (cores, per_core) in
				(from..=to).flat_map(|cores| (1..=16).map(move |gb| (cores, gb)))
			{
				for parts in 2..=cores / 4 {
					let server = Server {
						cores,
						memory: cores * per_core,
						disk: cores * per_core * 25,
						line: 10_000,
					};
					let ratio = server.split(parts);
					if ratio > worst.0 {
						worst = (ratio, cores, parts);
					}
					if cores / parts < 32 {
						assert!(server.part(parts).score() / 500 * 200 < home);
					}
				}
			}
			println!("{from} to {to} cores: {worst:?}");
			assert!(worst.0 <= most, "{worst:?}");
		}
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
			let poc = |online, boost, hardware| table.poc(online, boost, hardware, CPU_ONLY).unwrap();
			let score = poc(online, small, &hardware);
			prop_assert!(score <= poc(online + more, large, &hardware));
			let better = Hardware { bandwidth: 4, cpu: 4, memory: 4, disk: 4, ..hardware };
			prop_assert!(score <= poc(online, small, &better));
			// Time in two pieces scores as in one, except for rounding.
			let (two, one) = (score + poc(more, small, &hardware), poc(online + more, small, &hardware));
			prop_assert!(two <= one && one - two <= 1);
			let gpus = hardware.class_score > 0 && hardware.gpu_count > 0;
			prop_assert!(two == one || !gpus);
			// Unpaid GPUs count as none.
			let unpaid = Hardware { class_score: 0, ..hardware };
			let none = Hardware { class_score: 0, gpu_count: 0, ..hardware };
			prop_assert_eq!(poc(online, small, &unpaid), poc(online, small, &none));
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
