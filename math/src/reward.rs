//! The division of an epoch's reward by its scores.
//!
//! ```text
//! PoC_Total_Reward = (1 − Ratio) · Epoch_Total_Reward
//! PoD_Total_Reward =       Ratio · Epoch_Total_Reward
//! reward(worker)   = PoC_idle + min(PoC_rented + PoD, PodFeeCap · fees)
//!   PoC_rented     = PoC score of rented blocks · PoC_Total_Reward / PoC_Total_Score
//!   PoD            = PoD score · PoD_Total_Reward / PoD_Total_Score
//!   PoC_idle       = PoC score of idle blocks
//!                    · (PoC_Total_Reward + PoD_Total_Reward − For_Rent) / their sum
//!   For_Rent       = min(all PoC_rented + all PoD, PodFeeCap · all fees)       of the epoch's totals
//! ```
//!
//! Each worker's minimum is at most either of its sides, so the minima sum to at most `For_Rent`, and each
//! of the two parts pays no more than it has. The difference between a worker's part of `For_Rent` and its
//! payment carries over; its part is its amount of that side which is the smaller one for the whole epoch.

use crate::{DAY, arith::mul_div};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_arithmetic::{FixedPointNumber, FixedU128, Perbill, traits::One};

/// The division of an epoch's provider reward between capacity (PoC) and demand (PoD).
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum Ratio {
	/// PoD's share is its share of all scores: the one value for which the two pots agree with `Worker_Score
	/// · Epoch_Total_Reward / Total_Score`.
	#[default]
	Automatic,
	/// PoD's share is fixed, but a unit of PoD never pays more than a unit of PoC.
	Fixed(Perbill),
}

/// An epoch's provider reward, divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pots {
	/// The part paid by PoC scores.
	pub poc: u128,
	/// The part paid by PoD scores.
	pub pod: u128,
	/// The part paid to nobody, which carries over to the next epoch.
	pub carried: u128,
}

impl Ratio {
	/// Divides an epoch's `total` reward by its total scores. `poc + pod + carried` is `total`, to the
	/// unit. `None` if the scores are out of range.
	///
	/// A pot without any score is carried over.
	///
	/// ```
	/// use kaisar_math::{Ratio, reward::Pots};
	/// let pots = Ratio::Automatic.pots(1_000, 300, 100);
	/// assert_eq!(pots, Some(Pots { poc: 750, pod: 250, carried: 0 }));
	/// ```
	pub fn pots(&self, total: u128, poc_score: u128, pod_score: u128) -> Option<Pots> {
		let (poc, pod) = match self {
			Self::Automatic => {
				let scores = poc_score.checked_add(pod_score)?;
				if scores == 0 {
					(0, 0)
				} else {
					(
						mul_div(total, poc_score, scores)?,
						mul_div(total, pod_score, scores)?,
					)
				}
			}
			Self::Fixed(ratio) => {
				let pod = ratio.mul_floor(total);
				let poc = if poc_score == 0 { 0 } else { total - pod };
				// pod / pod_score ≤ poc / poc_score. A result that does not fit is no limit.
				let limit = match (poc_score, pod_score) {
					(0, _) | (_, 0) => 0,
					_ => mul_div(poc, pod_score, poc_score).unwrap_or(u128::MAX),
				};
				(poc, pod.min(limit))
			}
		};
		// Two parts of a whole, each rounded down.
		let carried = total.checked_sub(poc.checked_add(pod)?)?;
		Some(Pots { poc, pod, carried })
	}
}

/// Returns the share of a score in a pot, `⌊score · pot / total⌋`; 0 where there is no score at all. `None`
/// if the score exceeds the total.
pub fn share(score: u128, pot: u128, total: u128) -> Option<u128> {
	match (score, total) {
		(0, _) => Some(0),
		_ if score > total => None,
		_ => mul_div(score, pot, total),
	}
}

/// Returns `PodFeeCap · fees`, the most that rented blocks may earn for the protocol fees that they paid,
/// rounded down. A cap above 1 counts as 1: beyond that, renting one's own machine would pay.
///
/// ```
/// use kaisar_math::reward::rent_limit;
/// use sp_arithmetic::FixedU128;
/// assert_eq!(rent_limit(FixedU128::from_rational(1, 2), 101), 50);
/// assert_eq!(rent_limit(FixedU128::from_rational(3, 2), 101), 101);
/// ```
pub fn rent_limit(cap: FixedU128, fees: u128) -> u128 {
	let cap = cap.min(FixedU128::one());
	// At most the fees.
	mul_div(cap.into_inner(), fees, FixedU128::DIV).unwrap_or(fees)
}

/// The work of one worker, or of all, in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
	/// PoC score of idle blocks.
	pub idle: u128,
	/// PoC score of rented blocks.
	pub rented: u128,
	/// PoD score.
	pub pod: u128,
	/// The protocol fees that orders paid.
	pub fees: u128,
}

impl Work {
	/// Returns the PoC score of all blocks.
	pub fn poc(&self) -> Option<u128> {
		self.idle.checked_add(self.rented)
	}
}

/// The division of a past epoch's reward: its work, and the amounts that pay for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Division {
	/// All workers' work.
	pub work: Work,
	/// `PodFeeCap`.
	pub cap: FixedU128,
	/// `PoC_Total_Reward`.
	pub poc: u128,
	/// `PoD_Total_Reward`.
	pub pod: u128,
	/// `For_Rent`, the most that rented blocks are paid.
	pub rent: u128,
	/// The amount that idle blocks share; 0 without any.
	pub idle: u128,
}

impl Division {
	/// Divides an epoch's `total` reward by its work. The part that neither rented nor idle blocks get
	/// carries over. `None` if the scores are out of range.
	pub fn new(total: u128, ratio: Ratio, cap: FixedU128, work: Work) -> Option<Self> {
		let scores = work.poc()?;
		let Pots { poc, pod, .. } = ratio.pots(total, scores, work.pod)?;
		let all = poc.checked_add(pod)?;
		let rent = share(work.rented, poc, scores)?
			.checked_add(pod)?
			.min(rent_limit(cap, work.fees));
		let idle = if work.idle == 0 {
			0
		} else {
			all.checked_sub(rent)?
		};
		Some(Self {
			work,
			cap,
			poc,
			pod,
			rent,
			idle,
		})
	}

	/// Returns the reward of one worker's work. `None` if it exceeds the work of all.
	pub fn pay(&self, own: &Work) -> Option<WorkerReward> {
		let earned = share(own.rented, self.poc, self.work.poc()?)?.checked_add(share(
			own.pod,
			self.pod,
			self.work.pod,
		)?)?;
		let limit = rent_limit(self.cap, own.fees);
		let rent = earned.min(limit);
		// Its part of `For_Rent`, by the side that is the smaller one for the whole epoch.
		let part = if self.rent == rent_limit(self.cap, self.work.fees) {
			limit
		} else {
			earned
		};
		Some(WorkerReward {
			idle: share(own.idle, self.idle, self.work.idle)?,
			rent,
			carried: part - rent,
		})
	}
}

/// A worker's reward of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerReward {
	/// The reward for idle blocks.
	pub idle: u128,
	/// The reward for rented blocks, PoC and PoD together, limited by its fees.
	pub rent: u128,
	/// The rest of its part of `For_Rent`, which carries over in the pot.
	pub carried: u128,
}

/// The term of a redemption of vKAI.
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
pub enum RedeemTerm {
	/// 30 days, for 25 %.
	Days30,
	/// 90 days, for 50 %.
	Days90,
	/// 180 days, for all of it.
	Days180,
}

impl RedeemTerm {
	/// Returns the length of the term, in blocks.
	pub const fn blocks(self) -> u32 {
		match self {
			Self::Days30 => 30 * DAY,
			Self::Days90 => 90 * DAY,
			Self::Days180 => 180 * DAY,
		}
	}

	/// Returns the KAI that `amount` vKAI pays at the end; the rest returns to the checker pot at once.
	///
	/// ```
	/// use kaisar_math::RedeemTerm::*;
	/// assert_eq!([Days30, Days90, Days180].map(|term| term.pays(10_000)), [2_500, 5_000, 10_000]);
	/// ```
	pub fn pays(self, amount: u128) -> u128 {
		let part = match self {
			Self::Days30 => Perbill::from_percent(25),
			Self::Days90 => Perbill::from_percent(50),
			Self::Days180 => Perbill::one(),
		};
		part.mul_floor(amount)
	}
}

/// Splits a payment into `(fee, rest)`, the fee rounded down. For the protocol's part of a rental, and for
/// the era pot's part of transaction fees.
///
/// ```
/// use kaisar_math::reward::fee;
/// use sp_arithmetic::Perbill;
/// assert_eq!(fee(105, Perbill::from_percent(10)), (10, 95));
/// ```
pub fn fee(payment: u128, rate: Perbill) -> (u128, u128) {
	let fee = rate.mul_floor(payment);
	(fee, payment - fee)
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::KAI;
	use proptest::prelude::*;

	/// More than any epoch's totals: 10⁶ workers at the largest score, over 26 epochs.
	const SCORES: u128 = 1_000_000 * 26 * 500_000_000_000_000_000_000;
	const SUPPLY: u128 = 1_000_000_000 * KAI;

	#[test]
	fn automatic_agrees_with_the_published_formula() {
		// Worker_Reward = Worker_Score · Epoch_Total_Reward / Total_Score, with W_j in it.
		let (poc, pod, total) = (7_000, 3_000, 1_000 * KAI);
		// Enough fees that nobody is limited.
		let work = |idle, rented, pod| Work {
			idle,
			rented,
			pod,
			fees: total,
		};
		let all = work(6_000, poc - 6_000, pod);
		let division = Division::new(total, Ratio::Automatic, FixedU128::one(), all).unwrap();
		let reward = division.pay(&work(500, 200, 600)).unwrap();
		assert_eq!(reward.idle + reward.rent, total * 1_300 / 10_000);
	}

	#[test]
	fn a_pot_without_scores_carries_over() {
		assert_eq!(
			Ratio::Automatic.pots(9, 0, 0),
			Some(Pots {
				carried: 9,
				..Default::default()
			})
		);
		assert_eq!(
			Ratio::Automatic.pots(9, 1, 0),
			Some(Pots {
				poc: 9,
				..Default::default()
			})
		);
		let half = Ratio::Fixed(Perbill::from_percent(50));
		assert_eq!(
			half.pots(10, 0, 0),
			Some(Pots {
				carried: 10,
				..Default::default()
			})
		);
		assert_eq!(
			half.pots(10, 4, 0),
			Some(Pots {
				poc: 5,
				pod: 0,
				carried: 5
			})
		);
	}

	#[test]
	fn fixed_never_pays_demand_more_than_capacity() {
		let half = Ratio::Fixed(Perbill::from_percent(50));
		// Equal units of each: equal amounts.
		assert_eq!(
			half.pots(1_000, 50, 50),
			Some(Pots {
				poc: 500,
				pod: 500,
				carried: 0
			})
		);
		// The first self-rental of an epoch cannot take half the pot.
		assert_eq!(
			half.pots(1_000, 500, 5),
			Some(Pots {
				poc: 500,
				pod: 5,
				carried: 495
			})
		);
		// More demand than capacity: no limit is reached.
		assert_eq!(
			half.pots(1_000, 50, 150),
			Some(Pots {
				poc: 500,
				pod: 500,
				carried: 0
			})
		);
		// All to demand: capacity pays nothing, so demand may not either.
		assert_eq!(
			Ratio::Fixed(Perbill::one()).pots(1_000, 50, 50),
			Some(Pots {
				poc: 0,
				pod: 0,
				carried: 1_000
			})
		);
	}

	#[test]
	fn what_the_cap_keeps_from_rented_blocks_goes_to_idle_ones() {
		let half = FixedU128::from_rational(1, 2);
		let work = |idle, rented, fees| Work {
			idle,
			rented,
			pod: 3 * rented,
			fees,
		};
		let divide = |all| Division::new(1_000, Ratio::Automatic, half, all).unwrap();
		// 50 of idle blocks, 50 + 150 of rented ones: 4 a unit.
		for (fees, rent, idle) in [
			(0, 0, 1_000),
			(1, 0, 1_000),
			(100, 50, 950),
			(1_600, 800, 200),
			(u128::MAX, 800, 200),
		] {
			let division = divide(work(50, 50, fees));
			assert_eq!((division.poc, division.pod), (400, 600));
			assert_eq!((division.rent, division.idle), (rent, idle), "{fees}");
			let paid = |idle, rent| WorkerReward {
				idle,
				rent,
				carried: 0,
			};
			assert_eq!(division.pay(&work(50, 50, fees)), Some(paid(idle, rent)));
		}
		// Nobody is idle: it carries over.
		assert_eq!(divide(work(0, 50, 100)).idle, 0);
	}

	#[test]
	fn fees_of_one_pay_nothing_to_another() {
		let work = |rented, fees| Work {
			idle: 0,
			rented,
			pod: 3 * rented,
			fees,
		};
		let paid = |rent, carried| {
			Some(WorkerReward {
				idle: 0,
				rent,
				carried,
			})
		};
		// Fees are short overall: the excess of the worker with too many fees carries over.
		let all = work(100, 300);
		let division = Division::new(1_000, Ratio::Automatic, FixedU128::one(), all).unwrap();
		assert_eq!(division.rent, 300);
		assert_eq!(division.pay(&work(75, 100)), paid(100, 0));
		assert_eq!(division.pay(&work(10, 200)), paid(100, 100));
		assert_eq!(division.pay(&work(15, 0)), paid(0, 0));
		// Fees are more than enough overall: the excess earnings of the worker with too few carry over.
		let all = work(100, 3_000);
		let division = Division::new(1_000, Ratio::Automatic, FixedU128::one(), all).unwrap();
		assert_eq!(division.rent, 1_000);
		assert_eq!(division.pay(&work(50, 3_000)), paid(500, 0));
		assert_eq!(division.pay(&work(50, 0)), paid(0, 500));
	}

	#[test]
	fn a_cap_above_one_is_one() {
		let huge = FixedU128::from_inner(u128::MAX);
		assert_eq!(rent_limit(huge, u128::MAX), u128::MAX);
		assert_eq!(rent_limit(FixedU128::one(), u128::MAX), u128::MAX);
		assert_eq!(rent_limit(FixedU128::from_u32(0), 7), 0);
	}

	#[test]
	fn a_share_is_never_of_more_than_the_whole() {
		assert_eq!(share(3, 100, 2), None);
		assert_eq!(share(0, 100, 0), Some(0));
		assert_eq!(share(1, 100, 0), None);
		assert_eq!(Ratio::Automatic.pots(1, u128::MAX, 1), None);
	}

	#[test]
	fn redemption_terms() {
		assert_eq!(RedeemTerm::Days30.blocks(), 216_000);
		assert_eq!(RedeemTerm::Days90.blocks(), 648_000);
		assert_eq!(RedeemTerm::Days180.blocks(), 1_296_000);
		assert_eq!(RedeemTerm::Days30.pays(3), 0);
		assert_eq!(RedeemTerm::Days180.pays(u128::MAX), u128::MAX);
	}

	fn ratio() -> impl Strategy<Value = Ratio> {
		prop_oneof![
			Just(Ratio::Automatic),
			(0u32..=1_000_000_000).prop_map(|parts| Ratio::Fixed(Perbill::from_parts(parts))),
		]
	}

	proptest! {
		#[test]
		fn pots_make_the_whole(
			ratio in ratio(), total in 0..=SUPPLY, poc in 0..=SCORES, pod in 0..=3 * SCORES,
		) {
			let pots = ratio.pots(total, poc, pod).unwrap();
			prop_assert_eq!(pots.poc + pots.pod + pots.carried, total);
			// A unit of PoD never pays more than a unit of PoC, up to the rounding of the pots.
			if let Ratio::Fixed(_) = ratio && poc > 0 && pod > 0 {
				prop_assert!(mul_div(pots.poc, pod, poc).is_none_or(|limit| pots.pod <= limit));
			}
		}

		#[test]
		fn shares_never_exceed_the_pot(
			all in prop::collection::vec(
				(0..=SCORES / 1_000, 0..=SCORES / 1_000, 0u128..=5, prop_oneof![Just(0), 0..=SUPPLY / 40])
					.prop_map(|(idle, rented, job, fees)| Work { idle, rented, pod: job * rented, fees }),
				1..40,
			),
			ratio in ratio(), total in 0..=SUPPLY, cap in 0..=2 * FixedU128::DIV,
		) {
			let cap = FixedU128::from_inner(cap);
			let work = all.iter().fold(Work::default(), |sum, one| Work {
				idle: sum.idle + one.idle,
				rented: sum.rented + one.rented,
				pod: sum.pod + one.pod,
				fees: sum.fees + one.fees,
			});
			let division = Division::new(total, ratio, cap, work).unwrap();
			prop_assert!(division.rent + division.idle <= total);
			let (mut idle, mut rent) = (0, 0);
			for one in &all {
				let reward = division.pay(one).unwrap();
				prop_assert!(reward.rent <= rent_limit(cap, one.fees) && reward.rent <= one.fees);
				idle += reward.idle;
				rent += reward.rent + reward.carried;
				// An idle unit is never paid less than a rented one.
				if one.idle > 0 {
					let as_rented = share(one.idle, division.poc, work.poc().unwrap()).unwrap();
					prop_assert!(reward.idle >= as_rented);
				}
			}
			prop_assert!(idle <= division.idle && rent <= division.rent);
			// Rounding loses less than three units a worker.
			let lost = division.idle - idle + division.rent - rent;
			prop_assert!(lost <= 3 * all.len() as u128, "{lost}");
			prop_assert!(division.rent <= rent_limit(cap, work.fees));
		}

		#[test]
		fn a_higher_score_is_never_paid_less(
			a in 0..=SCORES, more in 0..=SCORES, rest in 0..=SCORES, pot in 0..=SUPPLY,
		) {
			let total = a + more + rest;
			prop_assert!(share(a, pot, total).unwrap() <= share(a + more, pot, total).unwrap());
		}
	}
}
