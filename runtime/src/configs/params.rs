//! Every number that governance can change, with its value in production.

use crate::{Balance, BlockNumber, Runtime};
use alloc::{vec, vec::Vec};
use frame_support::dynamic_params::{dynamic_pallet_params, dynamic_params};
use kaisar_primitives::{BenchParams, DAYS, KAI, PlanRates};
use sp_runtime::{FixedU128, Perbill};

/// The dynamic parameters.
#[dynamic_params(RuntimeParameters, pallet_parameters::Parameters::<Runtime>)]
pub mod dynamic_params {
	use super::*;

	/// Workers and stake.
	#[dynamic_pallet_params]
	#[codec(index = 0)]
	pub mod providers {
		/// Fee of registering and of updating a worker. A worker's number and its verification are not free.
		#[codec(index = 0)]
		pub static RegistrationFee: Balance = 10 * KAI;
		/// Least stake of any worker's owner, so that an identity has something to lose.
		#[codec(index = 1)]
		pub static BaseStake: Balance = 500 * KAI;
		/// Additional stake for each point of class score and GPU: whoever claims an H100 stakes for an
		/// H100.
		#[codec(index = 2)]
		pub static StakePerScore: Balance = 200 * KAI;
		/// Most stake in one pool. With it the boost is 2; stake beyond it would earn nothing.
		#[codec(index = 3)]
		pub static MaxStake: Balance = 50_000 * KAI;
		/// Blocks for which stake unbonds. They outlast checks and deferred slashes.
		#[codec(index = 4)]
		pub static Unbonding: BlockNumber = 7 * DAYS;
		/// Blocks for which a slash is deferred: the time to cancel a wrong one.
		#[codec(index = 5)]
		pub static SlashDeferral: BlockNumber = 2 * DAYS;
		/// The part of a slash that is shared between the account that found the fault and the one that
		/// applied the slash. It pays for the call, and is too little for the slashed to gain by reporting
		/// themselves.
		#[codec(index = 6)]
		pub static SlashBounty: Perbill = Perbill::from_percent(1);
	}

	/// Operators.
	#[dynamic_pallet_params]
	#[codec(index = 1)]
	pub mod checkers {
		/// The deposit of an operator: its record on chain, and a new start after a ban, cost something.
		#[codec(index = 0)]
		pub static Deposit: Balance = 100 * KAI;
	}

	/// Rounds.
	#[dynamic_pallet_params]
	#[codec(index = 2)]
	pub mod popw {
		/// Blocks of each of a spot round's phases, and between the starts of two spot rounds. Five minutes
		/// have room for openings, bandwidth windows and votes.
		#[codec(index = 0)]
		pub static PhaseLength: BlockNumber = 25;
		/// A spot round in which no census runs starts one with chance 1 in this number: one about every 4
		/// hours.
		#[codec(index = 1)]
		pub static CheckPeriod: u32 = 48;
		/// Checks that a census phase of one `PhaseLength` is meant to carry. That many take half of a
		/// block's weight.
		#[codec(index = 2)]
		pub static MaxDue: u32 = 40_000;
		/// Weight that a committee's seats have together, at least. With 5, a party with a tenth of the
		/// active licenses holds more than half of 0.9 % of the committees, and more than three quarters of
		/// 0.05 %.
		#[codec(index = 3)]
		pub static CommitteeSize: u8 = 5;
		/// Amount of work in a trial.
		#[codec(index = 4)]
		pub static Bench: BenchParams = BenchParams::FULL;
		/// Blocks from a round's start to its trial, in which agents prepare; at most `PhaseLength`. In 240
		/// s a core fills 18 GB at 75 MB/s.
		#[codec(index = 5)]
		pub static TrialOffset: BlockNumber = 20;
		/// The fewest operators with a seat in a committee that decides; at most `CommitteeSize`. Three
		/// parties look at each worker.
		#[codec(index = 6)]
		pub static MinOperators: u8 = 3;
		/// Mean intervals between two checks of a rented worker whose time one check can prove, at most.
		/// With 7, an honest worker loses time in less than 0.1 % of proofs.
		#[codec(index = 7)]
		pub static GapPeriods: u32 = 7;
	}

	/// Epochs and emission.
	#[dynamic_pallet_params]
	#[codec(index = 3)]
	pub mod rewards {
		/// Blocks of an epoch; counts from the next one. The published length, 14 days.
		#[codec(index = 0)]
		pub static EpochLength: BlockNumber = 14 * DAYS;
		/// How the emission is split: the published shares, 50 % to providers, 20 % to checkers, 30 % to
		/// validators and nominators.
		#[codec(index = 1)]
		pub static Split: kaisar_math::emission::Split = kaisar_math::emission::Split::default();
		/// How the workers' part is divided between PoC and PoD. `Automatic` is the one value that agrees
		/// with the published formula.
		#[codec(index = 2)]
		pub static Ratio: kaisar_math::reward::Ratio = kaisar_math::reward::Ratio::Automatic;
		/// Most that a worker earns for the rented blocks of an epoch, PoC and PoD together, as a part of
		/// the protocol fees of its orders. With one half, renting from oneself costs half of the fee.
		#[codec(index = 3)]
		pub static PodFeeCap: FixedU128 = FixedU128::from_rational(1, 2);
		/// The number of epochs for which totals are stored: a year to settle in.
		#[codec(index = 4)]
		pub static HistoryDepth: u32 = 26;
		/// The part of its score that a worker without GPUs keeps if it has as many cores as the highest
		/// tier asks for; with fewer it keeps less, so that splitting a server does not pay.
		#[codec(index = 5)]
		pub static CpuOnlyWeight: Perbill = Perbill::from_percent(10);
		/// Whether GPUs of a class that is not calibrated earn, and can be ordered. A class that nobody has
		/// proved earns nothing in production.
		#[codec(index = 6)]
		pub static PayUncalibrated: bool = false;
	}

	/// Rentals.
	#[dynamic_pallet_params]
	#[codec(index = 4)]
	pub mod orders {
		/// Blocks within which a worker has to report that an order's container runs: 15 minutes to pull and
		/// start an image.
		#[codec(index = 0)]
		pub static DeployDeadline: BlockNumber = 75;
		/// The fewest blocks of its price that an order costs if it was canceled before its container ran,
		/// or could not be deployed by the customer's fault: a tenth of an hour, the price of a deployment
		/// that failed.
		#[codec(index = 1)]
		pub static SetupBlocks: BlockNumber = 30;
		/// Blocks for which a worker is not matched after it could not deploy by its provider's fault: an
		/// hour to repair it.
		#[codec(index = 2)]
		pub static BarBlocks: BlockNumber = 300;
		/// Fitting workers after which a match draws no more; it draws four times as many at most, to make
		/// up for misfits. A choice at a bounded weight.
		#[codec(index = 3)]
		pub static MatchDraws: u32 = 8;
		/// The bond of a report that a machine does not serve: a false report costs it.
		#[codec(index = 4)]
		pub static IssueBond: Balance = 10 * KAI;
		/// The protocol's part of each payment to a provider: the published one.
		#[codec(index = 5)]
		pub static ProtocolFee: Perbill = Perbill::from_percent(10);
		/// The part of the price that each plan pays: the published discounts of 10 % for 30 days and 20 %
		/// for 90.
		#[codec(index = 6)]
		pub static Plans: PlanRates = PlanRates {
			month: Perbill::from_percent(90),
			quarter: Perbill::from_percent(80),
		};
		/// Blocks between two looks at an order whose last check has not come: the wait for a spot round,
		/// and the round.
		#[codec(index = 7)]
		pub static ClosingTimeout: BlockNumber = 150;
		/// Blocks for which a closed order can still be looked up: a week.
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

/// The trial of development: about a second on one core of any machine. Its times and sizes are not evidence:
/// a worker that proves it whole counts as what it claims.
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

/// The values of short rounds and epochs, for networks of development: a spot round every 10 blocks,
/// a census whenever none runs, an epoch of 200 blocks, in which a machine can be checked, rented and paid.
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
