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
		/// Fee for registering a worker, and for updating one, in KAI units. A worker's number and its
		/// verification are not free.
		///
		/// Limits: none; an owner who cannot pay it is refused until it is lowered.
		#[codec(index = 0)]
		pub static RegistrationFee: Balance = 10 * KAI;
		/// Minimum stake of a worker's owner, for any worker, in KAI units. With it an identity has
		/// something to lose: 8 KAI, if a census finds it absent after four hours.
		///
		/// Limits: at most the supply; with more, slashes could not be applied.
		#[codec(index = 1)]
		pub static BaseStake: Balance = 500 * KAI;
		/// Further minimum stake for each GPU and point of its class score, in KAI units. Whoever claims an
		/// H100 stakes for an H100: 2,500 KAI with the base.
		///
		/// Limits: at most the supply; with more, slashes could not be applied.
		#[codec(index = 2)]
		pub static StakePerScore: Balance = 200 * KAI;
		/// Maximum stake in one pool, in KAI units; at the maximum, the boost is 2. Stake beyond it would
		/// earn nothing.
		///
		/// Limits: none; at 0 no stake boosts, and an owner may reach its minimum above it.
		#[codec(index = 3)]
		pub static MaxStake: Balance = 50_000 * KAI;
		/// Duration of unbonding, in blocks: a week. It outlasts checks, at most 6.3 h in a census of 10⁶
		/// workers, and deferred slashes, two days and one more in which to apply them.
		///
		/// Limits: at least the deferral of slashes and a day, at most a year; a longer one would hold stake
		/// for ever.
		#[codec(index = 4)]
		pub static Unbonding: BlockNumber = 7 * DAYS;
		/// Deferral of a slash, in blocks. It leaves time to cancel a wrong one.
		///
		/// Limits: at most a year; a longer one would hold stake for ever.
		#[codec(index = 5)]
		pub static SlashDeferral: BlockNumber = 2 * DAYS;
		/// Part of a slash that the finder of the fault and the account that applies the slash share. It
		/// pays for the call, and is too little for the slashed to gain by reporting themselves.
		///
		/// Limits: 0 to 100 %, by its type.
		#[codec(index = 6)]
		pub static SlashBounty: Perbill = Perbill::from_percent(1);
	}

	/// Parameters of operators.
	#[dynamic_pallet_params]
	#[codec(index = 1)]
	pub mod checkers {
		/// Deposit of an operator, in KAI units. An operator's record, and a new start after a ban, cost
		/// something.
		///
		/// Limits: at least `RecordDeposit`, the part that pays for the record; each operator gets back what
		/// it paid.
		#[codec(index = 0)]
		pub static Deposit: Balance = 100 * KAI;
	}

	/// Parameters of rounds.
	#[dynamic_pallet_params]
	#[codec(index = 2)]
	pub mod popw {
		/// Length of each phase of a spot round, and of the interval between two spot rounds, in blocks.
		/// Five minutes have room for openings, bandwidth windows and votes.
		///
		/// Limits: 1 to 1,200; a wrong value is over after four hours.
		#[codec(index = 0)]
		pub static PhaseLength: BlockNumber = 25;
		/// Mean number of spot rounds without a census until one starts: each starts a census with a chance
		/// of 1 in this number. With 48, a census starts about every 4 hours.
		///
		/// Limits: 1 to 8,640; that is a census a month, and no census may credit more time than that.
		#[codec(index = 1)]
		pub static CheckPeriod: u32 = 48;
		/// Number of checks that a census phase of one `PhaseLength` is meant to carry. That many checks
		/// take half of a block's weight.
		///
		/// Limits: 1 to 1,000,000, the size of the network; a census's phase has at most 14,400 blocks.
		#[codec(index = 2)]
		pub static MaxDue: u32 = 40_000;
		/// Minimum total weight of a committee's seats. With 5, a party with a tenth of the active licenses
		/// holds more than half of 0.9 % of the committees, and more than three quarters of 0.05 %.
		///
		/// Limits: 1 to 15, the seats in a check's record.
		#[codec(index = 3)]
		pub static CommitteeSize: u8 = 5;
		/// Work in a trial. 0 is full size; only with the sizes of production are times and sizes evidence.
		///
		/// Limits: `n` 64 to 16,384, a power of two; `turns` at most 2²⁰; `stages` and `reads` 1 to 2²⁰;
		/// sizes in MiB at most the claim; `bandwidth_secs` at most 24, since a window and its votes have
		/// the last 8 blocks of a commit part. Agents refuse other sizes, and every worker would fail.
		#[codec(index = 4)]
		pub static Bench: BenchParams = BenchParams::FULL;
		/// Blocks from a round's start to its trial, in which agents prepare; at most `PhaseLength`. At 75
		/// MB/s a core fills 18 GB in that time.
		///
		/// Limits: at most `PhaseLength`; at most four spot rounds are in flight.
		#[codec(index = 5)]
		pub static TrialOffset: BlockNumber = 20;
		/// Minimum number of operators in a committee that decides; at most `CommitteeSize`. Three parties
		/// look at each worker.
		///
		/// Limits: 1 to `CommitteeSize`; with more, nothing would be decided.
		#[codec(index = 6)]
		pub static MinOperators: u8 = 3;
		/// Maximum time that one check of a rented worker can prove, in mean intervals between two checks.
		/// With 7, an honest worker loses time in less than 0.1 % of proofs.
		///
		/// Limits: 1 to 100.
		#[codec(index = 7)]
		pub static GapPeriods: u32 = 7;
	}

	/// Parameters of epochs and emission.
	#[dynamic_pallet_params]
	#[codec(index = 3)]
	pub mod rewards {
		/// Length of an epoch, in blocks; a change counts from the next epoch on. 14 days are the published
		/// length.
		///
		/// Limits: at least 1, at most a year; a longer epoch could not be shortened any more.
		#[codec(index = 0)]
		pub static EpochLength: BlockNumber = 14 * DAYS;
		/// Split of the emission. The values are the published ones: 50 % to providers, 20 % to checkers, 30
		/// % to validators and nominators.
		///
		/// Limits: 100 % together; what exceeds the whole is cut from the last share.
		#[codec(index = 1)]
		pub static Split: kaisar_math::emission::Split = kaisar_math::emission::Split::default();
		/// Division of the workers' part between PoC and PoD. `Automatic` is the one value that agrees with
		/// the published formula.
		///
		/// Limits: none.
		#[codec(index = 2)]
		pub static Ratio: kaisar_math::reward::Ratio = kaisar_math::reward::Ratio::Automatic;
		/// Cap on a worker's reward for the rented blocks of an epoch, PoC and PoD together, as a part of
		/// the protocol fees of its orders. With one half, renting from oneself costs half of the fee.
		///
		/// Limits: at most 1; above it, renting from oneself would pay.
		#[codec(index = 3)]
		pub static PodFeeCap: FixedU128 = FixedU128::from_rational(1, 2);
		/// Number of epochs for which totals are kept. 26 epochs are a year to settle in.
		///
		/// Limits: 1 to 260; an epoch keeps its promise, and after a wrong value one more goes with each.
		#[codec(index = 4)]
		pub static HistoryDepth: u32 = 26;
		/// Part of its score that a worker without GPUs keeps if it has as many cores as the highest tier
		/// requires; with fewer cores it keeps less. Splitting a server therefore does not pay.
		///
		/// Limits: 0 to 100 %, by its type.
		#[codec(index = 5)]
		pub static CpuOnlyWeight: Perbill = Perbill::from_percent(10);
		/// Whether GPUs of an uncalibrated class earn rewards and can be ordered. A class that nobody has
		/// proved earns nothing in production.
		///
		/// Limits: none.
		#[codec(index = 6)]
		pub static PayUncalibrated: bool = false;
	}

	/// Parameters of rentals.
	#[dynamic_pallet_params]
	#[codec(index = 4)]
	pub mod orders {
		/// Time for a worker to report that an order's container runs, in blocks. 75 blocks leave 15 minutes
		/// to pull and start an image.
		///
		/// Limits: 25 to 600; an agent gives up some blocks before, and reports why.
		#[codec(index = 0)]
		pub static DeployDeadline: BlockNumber = 75;
		/// Minimum charge, in blocks at the order's price, for an order that is canceled before its
		/// container runs, or that cannot be deployed by the customer's fault: a tenth of an hour. It is the
		/// price of a deployment that failed.
		///
		/// Limits: at most an hour; a failed deployment is not a rental.
		#[codec(index = 1)]
		pub static SetupBlocks: BlockNumber = 30;
		/// Time in which a worker is not matched after it failed to deploy by its provider's fault, in
		/// blocks. It leaves an hour to repair the machine.
		///
		/// Limits: at most 30 days.
		#[codec(index = 2)]
		pub static BarBlocks: BlockNumber = 300;
		/// Number of suitable workers after which a match draws no more. A match draws at most four times
		/// this number. The choice has a bounded weight; the further draws make up for misfits.
		///
		/// Limits: 1 to 32; half of a hook's weight has to do for a match.
		#[codec(index = 3)]
		pub static MatchDraws: u32 = 8;
		/// Bond of a report that a machine does not serve, in KAI units. A false report costs something,
		/// and its victim gets it.
		///
		/// Limits: none; a customer who cannot pay it is refused.
		#[codec(index = 4)]
		pub static IssueBond: Balance = 10 * KAI;
		/// Protocol's part of each payment to a provider. 10 % is the published part.
		///
		/// Limits: 0 to 100 %, by its type.
		#[codec(index = 5)]
		pub static ProtocolFee: Perbill = Perbill::from_percent(10);
		/// Part of the price that a customer pays under each plan. The discounts are the published ones: 10
		/// % for 30 days, 20 % for 90.
		///
		/// Limits: 0 to 100 %, by their type.
		#[codec(index = 6)]
		pub static Plans: PlanRates = PlanRates {
			month: Perbill::from_percent(90),
			quarter: Perbill::from_percent(80),
		};
		/// Interval between two looks at an order that waits for its last check, in blocks. It covers the
		/// wait for a spot round, and the round.
		///
		/// Limits: at least 1, at most a day; the agenda looks again.
		#[codec(index = 7)]
		pub static ClosingTimeout: BlockNumber = 150;
		/// Time for which a closed order can be looked up, in blocks: a week. Its record outlives what the
		/// customer paid for, so it is not kept for longer than programs need to see the end.
		///
		/// Limits: at least 1, at most a year, which is the longest order.
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
