//! What the pallet stores: rounds and checks.

use crate::COUNTERS_PAGE;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use kaisar_primitives::{
	BenchParams, BlockNumber, EpochIndex, MAX_COMMITTEE, OperatorId, RoundIndex, RoundKind,
	Verdict, WorkerId,
};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::BoundedVec;

/// Parameters of a round, as they stood when it started. A change applies from the next round.
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
pub struct RoundParams {
	/// Seats that a committee is meant to have.
	pub committee_size: u8,
	/// Checks that a census phase of one `PhaseLength` is meant to carry.
	pub max_due: u32,
	/// Most blocks that one check credits.
	pub max_gap: BlockNumber,
	/// How much work the benchmark is.
	pub bench: BenchParams,
}

/// A round. Fixed at its start, and dropped when nothing can refer to it any more.
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
pub struct Round {
	/// Its index. Even for spot rounds, odd for a census.
	pub index: RoundIndex,
	/// Its kind.
	pub kind: RoundKind,
	/// Its first block, at whose end the seed is known. Attestations begin one block later.
	pub start: BlockNumber,
	/// Blocks of each of its three phases.
	pub phase_length: BlockNumber,
	/// Its parameters.
	pub params: RoundParams,
	/// Its seed.
	pub seed: H256,
	/// Licenses ever minted.
	pub minted: u32,
	/// Active licenses.
	pub active: u32,
	/// Workers `Online`.
	pub online: u32,
	/// Workers `Rented`.
	pub rented: u32,
}

/// Where a round is.
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
pub enum Phase {
	/// Its seed is being made; nothing may be sent yet.
	Starting,
	/// Workers attest.
	Attest,
	/// Checkers commit.
	Commit,
	/// Checkers reveal.
	Reveal,
	/// Over.
	Over,
}

impl Round {
	/// The phase that block `now` is in.
	pub fn phase(&self, now: BlockNumber) -> Phase {
		match now.checked_sub(self.start) {
			None | Some(0) => Phase::Starting,
			Some(age) if age <= self.phase_length => Phase::Attest,
			Some(age) if age <= self.phase_length.saturating_mul(2) => Phase::Commit,
			Some(age) if age <= self.phase_length.saturating_mul(3) => Phase::Reveal,
			Some(_) => Phase::Over,
		}
	}

	/// Whether a check of an earlier round that is open until block `until` leaves a worker less than half of
	/// this round's attest phase. A mark for this round is postponed then.
	pub fn is_taken_until(&self, until: BlockNumber) -> bool {
		until > self.start.saturating_add(self.phase_length / 2)
	}

	/// Returns the seed of its trial, from which agents work; `None` before the trial's block is over.
	pub fn trial_seed(&self) -> Option<H256> {
		Some(self.seed)
	}

	/// The last block of its attest phase.
	pub fn attest_ends(&self) -> BlockNumber {
		self.start.saturating_add(self.phase_length)
	}

	/// The last block of its commit phase.
	pub fn commit_ends(&self) -> BlockNumber {
		self.start
			.saturating_add(self.phase_length.saturating_mul(2))
	}

	/// The last block of its reveal phase.
	pub fn ends(&self) -> BlockNumber {
		self.start
			.saturating_add(self.phase_length.saturating_mul(3))
	}
}

/// A lane of commitments. Two spot rounds have commitments at the same time, one in its commit phase and the
/// one before it in its reveal phase, so they alternate between two lanes. One census runs at a time.
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
pub enum Lane {
	/// Spot rounds 0, 4, 8, …
	SpotA,
	/// Spot rounds 2, 6, 10, …
	SpotB,
	/// Census rounds.
	Census,
}

impl Lane {
	/// The lane of a round.
	pub fn of(round: RoundIndex) -> Self {
		match round % 4 {
			0 => Self::SpotA,
			2 => Self::SpotB,
			_ => Self::Census,
		}
	}
}

/// A commitment that was not opened yet.
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
pub struct Commitment {
	/// The round it is for.
	pub round: RoundIndex,
	/// `kaisar_primitives::commitment` of the votes.
	pub hash: H256,
}

/// Counts of one operator in a round.
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
pub struct Counters {
	/// Seats. They are numbered from 0 in the order of attestations.
	pub seats: u32,
	/// Commitments.
	pub committed: u16,
	/// Commitments that were opened.
	pub opened: u16,
}

impl Counters {
	/// The page of an operator, and its place in it.
	pub(crate) fn place(operator: OperatorId) -> (u32, usize) {
		(
			operator / COUNTERS_PAGE,
			(operator % COUNTERS_PAGE) as usize,
		)
	}

	/// Whether a commitment may still be in its slot. Without a seat left none is: a later round overwrote it.
	pub(crate) fn withholds(&self) -> bool {
		self.opened < self.committed && self.seats > 0
	}
}

/// Commitments that an operator did not open.
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
pub struct WithheldBatches {
	/// The epoch of the last one.
	pub epoch: EpochIndex,
	/// Their number in that epoch.
	pub count: u32,
	/// The missed seats that they count as, until the operator commits again.
	pub missed: u32,
}

/// A seat of a committee.
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
pub struct Seat {
	/// Who sits on it.
	pub operator: OperatorId,
	/// The number of seats that the operator had before it in the round. It decides the vote's batch.
	pub number: u32,
	/// Its vote, once revealed.
	pub vote: Option<Verdict>,
}

/// The committee of a check.
pub type Committee = BoundedVec<Seat, ConstU32<MAX_COMMITTEE>>;

/// A check that is open. It carries what closing it needs, so that it never depends on a round's
/// record that may be gone.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Check {
	/// Its round.
	pub round: RoundIndex,
	/// The round's first block.
	pub round_start: BlockNumber,
	/// The last block of the round.
	pub ends: BlockNumber,
	/// The block in which the worker attested.
	pub attested_at: BlockNumber,
	/// The root of its benchmark.
	pub root: [u8; 32],
	/// Seats that the committee was meant to have: majorities are of this number.
	pub size: u8,
	/// The seats that were filled.
	pub committee: Committee,
	/// It only verifies and credits no time.
	pub verify_only: bool,
	/// Bandwidth and disk are measured too.
	pub full: bool,
	/// The worker is rented: it is checked for liveness and service alone.
	pub rented: bool,
	/// Most blocks that it credits.
	pub max_gap: BlockNumber,
}

/// The last check of a worker. There is at most one, and its round only ever grows.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum LastCheck {
	/// It is open.
	Open(Check),
	/// It is closed.
	Closed {
		/// Its round.
		round: RoundIndex,
		/// The block in which it was over: the last vote's, or the end of its round.
		at: BlockNumber,
	},
}

impl LastCheck {
	/// The round of the check.
	pub fn round(&self) -> RoundIndex {
		match self {
			Self::Open(check) => check.round,
			Self::Closed { round, .. } => *round,
		}
	}

	/// The last block in which it is open, or was.
	pub fn until(&self) -> BlockNumber {
		match self {
			Self::Open(check) => check.ends,
			Self::Closed { at, .. } => *at,
		}
	}

	/// Whether the check was open at the start of a round that began in block `start`.
	pub fn open_at(&self, start: BlockNumber) -> bool {
		match self {
			Self::Open(check) => check.attested_at <= start && check.ends >= start,
			Self::Closed { at, .. } => *at >= start,
		}
	}
}

/// A seat as a view function lists it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct SeatView {
	/// The worker that was attested.
	pub worker: WorkerId,
	/// The block in which it attested.
	pub attested_at: BlockNumber,
	/// The root it attested.
	pub root: [u8; 32],
	/// Seats that were filled.
	pub seats: u8,
	/// Bandwidth and disk are measured too.
	pub full: bool,
	/// The worker is rented.
	pub rented: bool,
	/// The number of the operator's seat in the round. Its vote belongs to batch `⌊number / 64⌋`.
	pub number: u32,
	/// This operator has voted on it.
	pub voted: bool,
}
