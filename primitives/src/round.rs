//! Rounds, verdicts and what a check comes to.

use crate::{Balance, BlockNumber, Profile, RoundIndex};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::ops::RangeInclusive;
use frame_support::pallet_prelude::ConstU32;
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::BoundedVec;

/// Largest weight that a parameter can ask of a committee, and so the most operators with a seat.
pub const MAX_COMMITTEE: u32 = 15;
/// Most votes in a batch.
pub const MAX_BATCH: u32 = 64;

/// The two kinds of round, each in a lane of its own.
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
	/// The kind of a round by its index: spot rounds are even, and `2k + 1` is the census that spot
	/// round `2k` may have started.
	pub fn of(index: RoundIndex) -> Self {
		if index.is_multiple_of(2) {
			Self::Spot
		} else {
			Self::Census
		}
	}
}

/// Amount of work in a trial. Fixed in a round's record, so that everyone measures the same.
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
	/// Rows and columns of a GPU's matrices: a power of two.
	pub n: u32,
	/// Turns of a GPU; 0 for those of the class's reference.
	pub turns: u32,
	/// Memory that a GPU fills, in MiB; 0 for nearly all that its class has.
	pub window_mib: u32,
	/// Stages of each CPU lane.
	pub stages: u32,
	/// Memory that the lanes read, in MiB; 0 for all that is claimed, less the system's part.
	pub memory_mib: u32,
	/// Disk that the plot takes, in MiB; 0 for all that is claimed, less the system's part.
	pub disk_mib: u32,
	/// Reads of each strand over the plot.
	pub reads: u32,
	/// Seconds of a bandwidth measurement, of which the first fifth is dropped.
	pub bandwidth_secs: u8,
}

impl BenchParams {
	/// The trial of production: 10 s on the least hardware that counts. Only its times and sizes are evidence;
	/// with any other figures the claim counts once its work is proved.
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
	/// Limits of `bandwidth_secs`. A window and the votes have the last 8 blocks of a commit part: 3 until it
	/// begins, 2 for it at most, and 3 to answer and to commit.
	pub const BANDWIDTH_SECS: RangeInclusive<u8> = 0..=24;

	/// Returns whether times and sizes are evidence: the work is that of [`FULL`](Self::FULL), however long
	/// bandwidth is measured.
	pub fn is_full(&self) -> bool {
		Self {
			bandwidth_secs: Self::FULL.bandwidth_secs,
			..*self
		} == Self::FULL
	}

	/// Returns the same with each figure within its limits. An agent refuses work outside them, and whoever
	/// runs no trial fails the check: a wrong value would suspend every worker.
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
			// An agent takes what is claimed, where that is less.
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

/// What one checker found of one worker.
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
	/// The worker answered.
	pub online: bool,
	/// The rented container answers; true where nothing is rented.
	pub service: bool,
	/// The checker could judge times. If not, its vote says nothing of the hardware.
	pub timed: bool,
	/// No opening contradicts the attested root.
	pub proof: bool,
	/// Bandwidth tier, 0 … 4; [`NO_OPINION`](Self::NO_OPINION) where the checker's own line was full.
	pub bandwidth: u8,
	/// CPU tier, 0 … 4.
	pub cpu: u8,
	/// Memory tier, 0 … 4.
	pub memory: u8,
	/// Disk tier, 0 … 4.
	pub disk: u8,
	/// The claimed GPU class where the evidence supports it, else 0.
	pub gpu_class: u16,
	/// Number of GPUs for which the evidence supports it.
	pub gpu_count: u8,
}

impl Verdict {
	/// In place of a bandwidth tier: the checker has no opinion on it.
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

/// What a seat did in a check that was closed.
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
	/// Voted as the outcome, or close enough to it. Earns.
	Correct,
	/// Voted otherwise.
	Dissenting,
	/// Revealed no vote.
	Missed,
	/// Could not judge times. Does not earn, and is no error.
	Abstained,
}

/// What a check came to.
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
		/// What was verified, no more than the claim. `None` if no majority agreed on the hardware, so that
		/// what was known before stands.
		profile: Option<Profile>,
		/// The rented container answers, or nothing has to.
		service: bool,
	},
	/// More than half of the committee's size found it offline.
	Offline,
	/// Neither.
	NoConsensus,
}

/// A check that is being closed, as Popw tells the worker's registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Closing {
	/// The round.
	pub round: RoundIndex,
	/// The round's first block: time is credited up to there.
	pub round_start: BlockNumber,
	/// What it came to.
	pub outcome: Outcome,
	/// The worker was rented when the round began: the check showed only that it is there and that its
	/// service answers.
	pub rented: bool,
	/// Bandwidth and disk were measured too.
	pub full: bool,
	/// Blocks that it may credit. Of a rented worker, the most rented blocks ("MaxGap"); in a census, the idle
	/// blocks that it stands for if it decides the hardware; 0 in every other check.
	pub credit: BlockNumber,
	/// An opening contradicts the attested root, found by more than half of the committee's size.
	pub false_proof: bool,
	/// More than three quarters of the committee's size found what a slash is for: the worker offline, or its
	/// proof false. Also if it did not attest at all.
	pub slashes: bool,
}

/// What a closed check proved of a worker, as Rewards and Orders are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, TypeInfo)]
pub struct Proved {
	/// Idle blocks that a census stands for.
	pub idle: BlockNumber,
	/// Rented blocks since the last proof.
	pub rented: BlockNumber,
	/// The worker's whole pool at that moment, without what unbonds.
	pub stake: Balance,
	/// The lesser of its profiles before and after the check.
	pub profile: Profile,
}

/// Domain of a commitment's hash.
pub const COMMIT_DOMAIN: &[u8; 18] = b"kaisar/popw/commit";

/// The hash that `commit` takes and `reveal` opens:
/// `blake2_256(SCALE((b"kaisar/popw/commit", genesis, round, operator, batch, votes, salt)))`.
///
/// It is bound to its author by the operator's number, so another's commitment is of no use.
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
