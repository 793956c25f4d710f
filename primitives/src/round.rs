//! Rounds, verdicts and outcomes of checks.

use crate::{Balance, BlockNumber, Profile, RoundIndex};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::ops::RangeInclusive;
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::BoundedVec;

/// Maximum weight of a committee that a parameter can set, and so the maximum number of operators with a
/// seat.
pub const MAX_COMMITTEE: u32 = 15;
/// Maximum number of votes in a batch.
pub const MAX_BATCH: u32 = 64;

/// The two kinds of round, each in its own lane.
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
pub enum RoundKind {
	/// Starts every phase length; checks marked workers, and some of the rented ones.
	Spot,
	/// Checks all idle online workers at the same moment.
	Census,
}

impl RoundKind {
	/// Returns the kind of a round by its index: spot rounds are even, and `2k + 1` is the census that spot
	/// round `2k` may have started.
	pub fn of(index: RoundIndex) -> Self {
		if index.is_multiple_of(2) {
			Self::Spot
		} else {
			Self::Census
		}
	}
}

/// The amount of work in a trial. Fixed in a round's record, so that everyone measures the same.
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
pub struct BenchParams {
	/// Rows and columns of a GPU's matrices; a power of two.
	pub n: u32,
	/// Turns of a GPU; 0 for those of the class's reference.
	pub turns: u32,
	/// Memory that a GPU fills, in MiB; 0 for nearly all the memory of its class.
	pub window_mib: u32,
	/// Stages of each CPU lane.
	pub stages: u32,
	/// Memory that the lanes read, in MiB; 0 for all claimed memory, less the system's part.
	pub memory_mib: u32,
	/// Disk space of the plot, in MiB; 0 for all claimed disk, less the system's part.
	pub disk_mib: u32,
	/// Reads of each strand over the plot.
	pub reads: u32,
	/// Seconds of a bandwidth measurement, of which the first fifth is discarded.
	pub bandwidth_secs: u8,
}

impl BenchParams {
	/// The trial of production: 10 s on the smallest hardware that counts. Only its times and sizes are
	/// evidence; with any other figures the claim counts once its work is proved.
	pub const FULL: Self = Self {
		n: 4_096,
		turns: 0,
		window_mib: 0,
		stages: 62_504,
		memory_mib: 0,
		disk_mib: 0,
		reads: 5_000,
		bandwidth_secs: 10,
	};

	/// Limits of `n`.
	pub const N: RangeInclusive<u32> = 64..=16_384;
	/// Limits of `turns`.
	pub const TURNS: RangeInclusive<u32> = 0..=1 << 20;
	/// Limits of `stages`.
	pub const STAGES: RangeInclusive<u32> = 1..=1 << 20;
	/// Limits of `reads`.
	pub const READS: RangeInclusive<u32> = 1..=1 << 20;
	/// Limits of `bandwidth_secs`. A window and the votes share the last 8 blocks of a commit part: 3 until
	/// the window begins, at most 2 for it, and 3 to answer and to commit.
	pub const BANDWIDTH_SECS: RangeInclusive<u8> = 0..=24;

	/// Returns whether times and sizes are evidence: the work is that of [`FULL`](Self::FULL), whatever the
	/// time of the bandwidth measurement.
	pub fn is_full(&self) -> bool {
		Self {
			bandwidth_secs: Self::FULL.bandwidth_secs,
			..*self
		} == Self::FULL
	}

	/// Returns the same work with each figure within its limits. An agent refuses work outside them, and a
	/// worker that runs no trial fails the check: a wrong value would suspend every worker.
	///
	/// ```
	/// use kaisar_primitives::BenchParams;
	/// let bench = BenchParams { n: 1_000, stages: 0, ..BenchParams::FULL };
	/// assert_eq!((bench.held().n, bench.held().stages), (512, 1));
	/// assert_eq!(BenchParams::FULL.held(), BenchParams::FULL);
	/// ```
	pub fn held(self) -> Self {
		fn within<N: Ord + Copy>(value: N, limits: RangeInclusive<N>) -> N {
			value.clamp(*limits.start(), *limits.end())
		}
		let n = within(self.n, Self::N);
		Self {
			n: 1u32.checked_shl(n.ilog2()).unwrap_or(n),
			turns: within(self.turns, Self::TURNS),
			stages: within(self.stages, Self::STAGES),
			reads: within(self.reads, Self::READS),
			bandwidth_secs: within(self.bandwidth_secs, Self::BANDWIDTH_SECS),
			// An agent takes the claimed size, if that is smaller.
			window_mib: self.window_mib,
			memory_mib: self.memory_mib,
			disk_mib: self.disk_mib,
		}
	}
}

impl Default for BenchParams {
	fn default() -> Self {
		Self::FULL
	}
}

/// The findings of one checker about one worker.
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
pub struct Verdict {
	/// Whether the worker answered.
	pub online: bool,
	/// Whether the rented container answers; true if nothing is rented.
	pub service: bool,
	/// Whether the checker could judge times. Otherwise its vote says nothing about the hardware.
	pub timed: bool,
	/// Whether no opening contradicts the attested root.
	pub proof: bool,
	/// Bandwidth tier, 0 … 4; [`NO_OPINION`](Self::NO_OPINION) if the checker's own line was saturated.
	pub bandwidth: u8,
	/// CPU tier, 0 … 4.
	pub cpu: u8,
	/// Memory tier, 0 … 4.
	pub memory: u8,
	/// Disk tier, 0 … 4.
	pub disk: u8,
	/// The claimed GPU class if the evidence supports it, otherwise 0.
	pub gpu_class: u16,
	/// The number of GPUs for which the evidence supports the class.
	pub gpu_count: u8,
}

impl Verdict {
	/// The value in place of a bandwidth tier if the checker has no opinion on it.
	pub const NO_OPINION: u8 = 255;

	/// The verdict on a worker that did not answer.
	pub const OFFLINE: Self = Self {
		online: false,
		service: false,
		timed: false,
		proof: false,
		bandwidth: 0,
		cpu: 0,
		memory: 0,
		disk: 0,
		gpu_class: 0,
		gpu_count: 0,
	};
}

/// The votes of one reveal.
pub type Votes = BoundedVec<(crate::WorkerId, Verdict), ConstU32<MAX_BATCH>>;

/// The result of a seat in a closed check.
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
pub enum SeatResult {
	/// Voted as the outcome, or close enough. Earns.
	Correct,
	/// Voted differently.
	Dissenting,
	/// Revealed no vote.
	Missed,
	/// Could not judge times. Does not earn, but is not at fault.
	Abstained,
}

/// The outcome of a check.
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
pub enum Outcome {
	/// More than half of the committee's size found it online.
	Online {
		/// The verified profile, at most the claim. `None` if no majority agreed on the hardware, so that
		/// the previous profile stands.
		profile: Option<Profile>,
		/// Whether the rented container answers, or no container has to.
		service: bool,
	},
	/// More than half of the committee's size found it offline.
	Offline,
	/// No majority for either.
	NoConsensus,
}

/// A check that is being closed, as Popw reports it to the registry of workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Closing {
	/// The round.
	pub round: RoundIndex,
	/// The round's first block: time is credited up to it.
	pub round_start: BlockNumber,
	/// The outcome.
	pub outcome: Outcome,
	/// Whether the worker was rented when the round began: then the check showed only that it is online and
	/// that its service answers.
	pub rented: bool,
	/// Whether bandwidth and disk were measured too.
	pub full: bool,
	/// Maximum number of blocks to credit. For a rented worker, the limit of rented blocks ("MaxGap"); in a
	/// census that decides the hardware, the idle blocks that it stands for; 0 in every other check.
	pub credit: BlockNumber,
	/// Whether more than half of the committee's size found that an opening contradicts the attested root.
	pub false_proof: bool,
	/// Whether more than three quarters of the committee's size found a fault that is slashed: the worker
	/// offline, or its proof false. Also true if it did not attest at all.
	pub slashes: bool,
}

/// The time that a closed check proved for a worker, as reported to Rewards and Orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo)]
pub struct Proved {
	/// Idle blocks that a census stands for.
	pub idle: BlockNumber,
	/// Rented blocks since the last proof.
	pub rented: BlockNumber,
	/// The worker's whole pool at that moment, without unbonding stake.
	pub stake: Balance,
	/// The lesser of its profiles before and after the check.
	pub profile: Profile,
}

/// Domain separator of a commitment's hash.
pub const COMMIT_DOMAIN: &[u8; 18] = b"kaisar/popw/commit";

/// Returns the hash that `commit` takes and `reveal` opens: `blake2_256(SCALE((b"kaisar/popw/commit",
/// genesis, round, operator, batch, votes, salt)))`.
///
/// The operator's number binds it to its author, so that copying another operator's commitment is useless.
pub fn commitment(
	genesis: H256,
	round: RoundIndex,
	operator: crate::OperatorId,
	batch: u16,
	votes: &Votes,
	salt: &[u8; 32],
) -> H256 {
	(COMMIT_DOMAIN, genesis, round, operator, batch, votes, salt)
		.using_encoded(sp_io::hashing::blake2_256)
		.into()
}
