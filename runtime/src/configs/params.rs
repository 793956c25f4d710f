//! Parameters that governance can change, with their values in production.

use crate::{Balance, BlockNumber, Runtime};
use alloc::{vec, vec::Vec};
use frame_support::dynamic_params::{dynamic_pallet_params, dynamic_params};
use kaisar_primitives::{BenchParams, DAYS, KAI, PlanRates};
use sp_runtime::{FixedU128, Perbill};

/// Dynamic parameters.
#[dynamic_params(RuntimeParameters, pallet_parameters::Parameters::<Runtime>)]
pub mod dynamic_params {
	use super::*;

	/// Parameters of workers and stake.
	#[dynamic_pallet_params]
	#[codec(index = 0)]
	pub mod providers {
		/// Fee for registering a worker, and for updating one, in KAI units.
		#[codec(index = 0)]
		pub static RegistrationFee: Balance = 10 * KAI;
		/// Minimum stake of a worker's owner, for any worker, in KAI units.
		#[codec(index = 1)]
		pub static BaseStake: Balance = 500 * KAI;
		/// Further minimum stake for each GPU and point of its class score, in KAI units.
		#[codec(index = 2)]
		pub static StakePerScore: Balance = 200 * KAI;
		/// Maximum stake in one pool, in KAI units; at the maximum, the boost is 2.
		#[codec(index = 3)]
		pub static MaxStake: Balance = 50_000 * KAI;
		/// Duration of unbonding, in blocks.
		#[codec(index = 4)]
		pub static Unbonding: BlockNumber = 7 * DAYS;
		/// Deferral of a slash, in blocks.
		#[codec(index = 5)]
		pub static SlashDeferral: BlockNumber = 2 * DAYS;
		/// Part of a slash that the finder of the fault and the account that applies the slash share.
		#[codec(index = 6)]
		pub static SlashBounty: Perbill = Perbill::from_percent(1);
	}

	/// Parameters of operators.
	#[dynamic_pallet_params]
	#[codec(index = 1)]
	pub mod checkers {
		/// Deposit of an operator, in KAI units.
		#[codec(index = 0)]
		pub static Deposit: Balance = 100 * KAI;
	}

	/// Parameters of rounds.
	#[dynamic_pallet_params]
	#[codec(index = 2)]
	pub mod popw {
		/// Length of each phase of a spot round, and of the interval between two spot rounds, in blocks.
		#[codec(index = 0)]
		pub static PhaseLength: BlockNumber = 25;
		/// Mean number of spot rounds without a census until one starts: each starts a census with a chance
		/// of 1 in this number.
		#[codec(index = 1)]
		pub static CheckPeriod: u32 = 48;
		/// Number of checks that a census phase of one `PhaseLength` is meant to carry.
		#[codec(index = 2)]
		pub static MaxDue: u32 = 40_000;
		/// Minimum total weight of a committee's seats.
		#[codec(index = 3)]
		pub static CommitteeSize: u8 = 5;
		/// Work in a trial.
		#[codec(index = 4)]
		pub static Bench: BenchParams = BenchParams::FULL;
		/// Blocks from a round's start to its trial, in which agents prepare; at most `PhaseLength`.
		#[codec(index = 5)]
		pub static TrialOffset: BlockNumber = 20;
		/// Minimum number of operators in a committee that decides; at most `CommitteeSize`.
		#[codec(index = 6)]
		pub static MinOperators: u8 = 3;
		/// Maximum time that one check of a rented worker can prove, in mean intervals between two checks.
		#[codec(index = 7)]
		pub static GapPeriods: u32 = 7;
	}

	/// Parameters of epochs and emission.
	#[dynamic_pallet_params]
	#[codec(index = 3)]
	pub mod rewards {
		/// Length of an epoch, in blocks; a change counts from the next epoch on.
		#[codec(index = 0)]
		pub static EpochLength: BlockNumber = 14 * DAYS;
		/// Split of the emission.
		#[codec(index = 1)]
		pub static Split: kaisar_math::emission::Split = kaisar_math::emission::Split::default();
		/// Division of the workers' part between PoC and PoD.
		#[codec(index = 2)]
		pub static Ratio: kaisar_math::reward::Ratio = kaisar_math::reward::Ratio::Automatic;
		/// Cap on a worker's reward for the rented blocks of an epoch, PoC and PoD together, as a part of
		/// the protocol fees of its orders.
		#[codec(index = 3)]
		pub static PodFeeCap: FixedU128 = FixedU128::from_rational(1, 2);
		/// Number of epochs for which totals are kept.
		#[codec(index = 4)]
		pub static HistoryDepth: u32 = 26;
		/// Part of its score that a worker without GPUs keeps if it has as many cores as the highest tier
		/// requires; with fewer cores it keeps less.
		#[codec(index = 5)]
		pub static CpuOnlyWeight: Perbill = Perbill::from_percent(10);
		/// Whether GPUs of an uncalibrated class earn rewards and can be ordered.
		#[codec(index = 6)]
		pub static PayUncalibrated: bool = false;
	}

	/// Parameters of rentals.
	#[dynamic_pallet_params]
	#[codec(index = 4)]
	pub mod orders {
		/// Time for a worker to report that an order's container runs, in blocks.
		#[codec(index = 0)]
		pub static DeployDeadline: BlockNumber = 75;
		/// Minimum charge, in blocks at the order's price, for an order that is canceled before its
		/// container runs, or that cannot be deployed by the customer's fault: a tenth of an hour.
		#[codec(index = 1)]
		pub static SetupBlocks: BlockNumber = 30;
		/// Time in which a worker is not matched after it failed to deploy by its provider's fault, in
		/// blocks.
		#[codec(index = 2)]
		pub static BarBlocks: BlockNumber = 300;
		/// Number of suitable workers after which a match draws no more. A match draws at most four times
		/// this number.
		#[codec(index = 3)]
		pub static MatchDraws: u32 = 8;
		/// Bond of a report that a machine does not serve, in KAI units.
		#[codec(index = 4)]
		pub static IssueBond: Balance = 10 * KAI;
		/// Protocol's part of each payment to a provider.
		#[codec(index = 5)]
		pub static ProtocolFee: Perbill = Perbill::from_percent(10);
		/// Part of the price that a customer pays under each plan.
		#[codec(index = 6)]
		pub static Plans: PlanRates = PlanRates {
			month: Perbill::from_percent(90),
			quarter: Perbill::from_percent(80),
		};
		/// Interval between two looks at an order that waits for its last check, in blocks.
		#[codec(index = 7)]
		pub static ClosingTimeout: BlockNumber = 150;
		/// Time for which a closed order can be looked up, in blocks.
		#[codec(index = 8)]
		pub static History: BlockNumber = 7 * DAYS;
	}
}

#[cfg(feature = "runtime-benchmarks")]
impl Default for RuntimeParameters {
	fn default() -> Self {
		Self::Popw(dynamic_params::popw::Parameters::Bench(
			dynamic_params::popw::Bench,
			Some(BenchParams::FULL),
		))
	}
}

/// Trial of development networks: it takes about a second on one core of any machine. Its times and sizes
/// are not evidence: a worker that proves the trial in full is believed to have the machine that it claims.
pub const SHORT_BENCH: BenchParams = BenchParams {
	n: 1_024,
	turns: 4,
	window_mib: 8,
	stages: 64,
	memory_mib: 64,
	disk_mib: 64,
	reads: 32,
	bandwidth_secs: 1,
};

/// Returns the values of short rounds and epochs, for development networks: a spot round every 10 blocks, a
/// census whenever none runs, and an epoch of 200 blocks, in which a machine can be checked, rented and
/// paid.
pub fn short() -> Vec<RuntimeParameters> {
	use dynamic_params::{orders, popw, rewards};
	vec![
		RuntimeParameters::Popw(popw::Parameters::PhaseLength(popw::PhaseLength, Some(10))),
		RuntimeParameters::Popw(popw::Parameters::TrialOffset(popw::TrialOffset, Some(8))),
		RuntimeParameters::Popw(popw::Parameters::CheckPeriod(popw::CheckPeriod, Some(1))),
		RuntimeParameters::Popw(popw::Parameters::CommitteeSize(
			popw::CommitteeSize,
			Some(3),
		)),
		RuntimeParameters::Popw(popw::Parameters::Bench(popw::Bench, Some(SHORT_BENCH))),
		RuntimeParameters::Rewards(rewards::Parameters::EpochLength(
			rewards::EpochLength,
			Some(200),
		)),
		RuntimeParameters::Rewards(rewards::Parameters::PayUncalibrated(
			rewards::PayUncalibrated,
			Some(true),
		)),
		RuntimeParameters::Orders(orders::Parameters::ClosingTimeout(
			orders::ClosingTimeout,
			Some(60),
		)),
	]
}
