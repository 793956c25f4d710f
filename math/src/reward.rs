//! From an epoch's reward and its scores to what each is paid.
//!
//! ```text
//! PoC_Total_Reward = (1 − Ratio) · Epoch_Total_Reward
//! PoD_Total_Reward =       Ratio · Epoch_Total_Reward
//! reward(worker)   = PoC_Worker_Score · PoC_Total_Reward / PoC_Total_Score
//!                  + PoD_Worker_Score · PoD_Total_Reward / PoD_Total_Score
//! ```

use crate::{DAY, arith::mul_div};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_arithmetic::{FixedPointNumber, FixedU128, Perbill};

/// How an epoch's provider reward is divided between capacity (PoC) and demand (PoD).
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
	/// PoD's share is its share of all scores. The one value for which the two pots agree with
	/// `Worker_Score · Epoch_Total_Reward / Total_Score`.
	#[default]
	Automatic,
	/// PoD's share is fixed, but a unit of PoD never pays more than a unit of PoC.
	Fixed(Perbill),
}

/// An epoch's provider reward, divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pots {
	/// Paid by PoC scores.
	pub poc: u128,
	/// Paid by PoD scores.
	pub pod: u128,
	/// Paid to nobody: carries over to the next epoch.
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
				// pod / pod_score ≤ poc / poc_score. The result that does not fit is no limit.
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

/// `⌊score · pot / total⌋`: what a score is paid from a pot; 0 where there is no score at all. `None`
/// if the score is more than the total, which is no share.
pub fn share(score: u128, pot: u128, total: u128) -> Option<u128> {
	match (score, total) {
		(0, _) => Some(0),
		_ if score > total => None,
		_ => mul_div(score, pot, total),
	}
}

/// The most that a worker may earn as PoD for the protocol fees that its orders paid: `cap · fees`.
///
/// ```
/// use kaisar_math::reward::pod_limit;
/// use sp_arithmetic::FixedU128;
/// assert_eq!(pod_limit(FixedU128::from_rational(3, 2), 100), Some(150));
/// ```
pub fn pod_limit(cap: FixedU128, fees: u128) -> Option<u128> {
	mul_div(cap.into_inner(), fees, FixedU128::DIV)
}

/// What a worker earned in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkerReward {
	/// For its capacity.
	pub poc: u128,
	/// For its rented time, limited by its fees.
	pub pod: u128,
	/// What it would have earned beyond the limit: carries over in the pot.
	pub carried: u128,
}

/// What a worker's scores earn from the pots of an epoch whose total scores are given. `limit` is the
/// most it may earn as PoD ([`pod_limit`]).
pub fn worker(
	scores: (u128, u128),
	totals: (u128, u128),
	pots: (u128, u128),
	limit: u128,
) -> Option<WorkerReward> {
	let poc = share(scores.0, pots.0, totals.0)?;
	let earned = share(scores.1, pots.1, totals.1)?;
	let pod = earned.min(limit);
	Some(WorkerReward {
		poc,
		pod,
		carried: earned - pod,
	})
}

/// How long a redemption of vKAI lasts.
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
	/// How long it lasts, in blocks.
	pub const fn blocks(self) -> u32 {
		match self {
			Self::Days30 => 30 * DAY,
			Self::Days90 => 90 * DAY,
			Self::Days180 => 180 * DAY,
		}
	}

	/// What it pays in the end, in KAI; the rest returns to the checker pot at once.
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

/// Takes a fee of a payment: `(fee, rest)`, the fee rounded down. For the protocol's part of a rental,
/// and for the era pot's part of transaction fees.
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
		let pots = Ratio::Automatic.pots(total, poc, pod).unwrap();
		let reward = worker((700, 600), (poc, pod), (pots.poc, pots.pod), u128::MAX).unwrap();
		assert_eq!(reward.poc + reward.pod, total * 1_300 / 10_000);
		assert_eq!(reward.carried, 0);
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
		// As many units of each: as much for each.
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
	fn the_limit_of_fees() {
		let earned = worker((1, 1), (2, 2), (100, 100), 20).unwrap();
		assert_eq!(
			earned,
			WorkerReward {
				poc: 50,
				pod: 20,
				carried: 30
			}
		);
		assert_eq!(pod_limit(FixedU128::from_u32(1), 7), Some(7));
		assert_eq!(pod_limit(FixedU128::from_u32(0), 7), Some(0));
		assert_eq!(pod_limit(FixedU128::from_inner(u128::MAX), u128::MAX), None);
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
			scores in prop::collection::vec((0..=SCORES / 1_000, 0..=SCORES / 1_000), 1..40),
			ratio in ratio(), total in 0..=SUPPLY, limit in 0..=SUPPLY,
		) {
			let totals = scores.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
			let pots = ratio.pots(total, totals.0, totals.1).unwrap();
			let mut paid = 0;
			let mut carried = 0;
			for one in &scores {
				let reward = worker(*one, totals, (pots.poc, pots.pod), limit).unwrap();
				prop_assert!(reward.pod <= limit);
				paid += reward.poc + reward.pod;
				carried += reward.carried;
			}
			prop_assert!(paid + carried + pots.carried <= total);
			// Rounding loses less than two units a worker.
			prop_assert!(total - (paid + carried + pots.carried) < 2 + 2 * scores.len() as u128);
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
