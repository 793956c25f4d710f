//! Types of the pallet's storage: rounds and checks.

use crate::{COUNTERS_PAGE, rounds::draw};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::pallet_prelude::ConstU32;
use kaisar_primitives::{
	BenchParams, BlockNumber, EpochIndex, MAX_COMMITTEE, MILLISECS_PER_BLOCK, OperatorId,
	RoundIndex, RoundKind, Verdict, WorkerId,
};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::BoundedVec;

/// Blocks of a commit part after the last block that can fix a window.
const AFTER_WINDOW: BlockNumber = 8;
/// Block times from a block that fixes a window to the window.
const WINDOW_DELAY: u64 = 3;

/// A round. Fixed at its start except for the trial seed, and removed about a day after its end. A change of
/// a parameter counts from the next round.
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
	/// The index: even for spot rounds, odd for a census.
	pub index: RoundIndex,
	/// The kind of the round.
	pub kind: RoundKind,
	/// The first block, at whose end the seed is known.
	pub start: BlockNumber,
	/// The block of the trial, at whose end the trial seed is known. Attestations begin one block later.
	pub trial: BlockNumber,
	/// Blocks of the attest, commit and reveal part, each.
	pub phase_length: BlockNumber,
	/// The intended weight of a committee.
	pub committee_size: u8,
	/// The minimum number of operators that decide.
	pub min_operators: u8,
	/// Checks for which a phase of one `PhaseLength` is planned.
	pub max_due: u32,
	/// The most blocks that a check of this round may credit: rented ones in a spot round; in a census the
	/// idle ones for which it stands.
	pub credit: BlockNumber,
	/// The amount of work in the trial.
	pub bench: BenchParams,
	/// Its seed.
	pub seed: H256,
	/// The seed of the trial; `None` before the trial.
	pub trial_seed: Option<H256>,
	/// Licenses ever minted.
	pub minted: u32,
	/// Active licenses.
	pub active: u32,
	/// Workers that are `Online`.
	pub online: u32,
	/// Workers that are `Rented`.
	pub rented: u32,
}

/// The part of a round to which a block belongs.
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
	/// The seed is known, the trial seed is not: nothing may be sent yet.
	Prepare,
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
	/// Returns the part of the round to which block `now` belongs.
	pub fn phase(&self, now: BlockNumber) -> Phase {
		match now {
			_ if now <= self.trial => Phase::Prepare,
			_ if now <= self.attest_ends() => Phase::Attest,
			_ if now <= self.commit_ends() => Phase::Commit,
			_ if now <= self.ends() => Phase::Reveal,
			_ => Phase::Over,
		}
	}

	/// Returns the last block of the attest part.
	pub fn attest_ends(&self) -> BlockNumber {
		self.trial.saturating_add(self.phase_length)
	}

	/// Returns the last block of the commit part.
	pub fn commit_ends(&self) -> BlockNumber {
		self.attest_ends().saturating_add(self.phase_length)
	}

	/// Returns the last block of the reveal part.
	pub fn ends(&self) -> BlockNumber {
		self.commit_ends().saturating_add(self.phase_length)
	}

	/// Returns the block of the commit part that fixes the time at which the bandwidth of all workers of an
	/// owner is measured: the last block of the attest part + 1 + `H(b"kaisar/window", seed, owner) mod (L −
	/// 8)`, L being the length of the part. In the 8 blocks after it the window begins and ends, and votes
	/// are committed. A part of fewer than 10 blocks is too short for that, and has all windows in its first
	/// block.
	pub fn window_block<AccountId: Encode>(&self, owner: &AccountId) -> BlockNumber {
		let blocks = self.phase_length.saturating_sub(AFTER_WINDOW).max(1);
		let place = draw(b"kaisar/window", self.seed, owner)
			.checked_rem(blocks.into())
			.and_then(|place| BlockNumber::try_from(place).ok())
			.unwrap_or(0);
		self.attest_ends().saturating_add(1).saturating_add(place)
	}

	/// Returns the milliseconds from the time of a block that fixes a window to the start of the window.
	pub fn window_delay_ms(&self) -> u64 {
		WINDOW_DELAY.saturating_mul(self.block_time_ms())
	}

	/// Returns the first block by whose time the window fixed by `block` is over.
	pub fn window_over(&self, block: BlockNumber) -> BlockNumber {
		let length = u64::from(self.bench.bandwidth_secs).saturating_mul(1_000);
		let blocks = self
			.window_delay_ms()
			.saturating_add(length)
			.div_ceil(self.block_time_ms());
		block.saturating_add(BlockNumber::try_from(blocks).unwrap_or(BlockNumber::MAX))
	}

	/// Returns the block time by which windows are planned: a slot, where the trial is that of production. A
	/// development chain, which has a smaller trial, may seal a block a second.
	fn block_time_ms(&self) -> u64 {
		if self.bench.is_full() {
			MILLISECS_PER_BLOCK
		} else {
			1_000
		}
	}
}

/// The rounds that start in this block, without their seeds.
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
pub struct Start {
	/// The spot round.
	pub spot: Round,
	/// The census that its seed may start as well.
	pub census: Round,
	/// The census starts with chance 1 in this number.
	pub check_period: u32,
}

/// A round in flight.
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
pub struct InFlight {
	/// The round.
	pub index: RoundIndex,
	/// The block of its trial.
	pub trial: BlockNumber,
	/// Its last block.
	pub ends: BlockNumber,
}

impl InFlight {
	/// Returns whether the round is a census.
	pub fn is_census(&self) -> bool {
		RoundKind::of(self.index) == RoundKind::Census
	}
}

/// Numbers of the network at the start of a block. A round takes those of [`crate::NOTICE`] blocks before.
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
pub struct Numbers {
	/// Licenses ever minted.
	pub minted: u32,
	/// Active licenses.
	pub active: u32,
	/// Workers that are `Online`.
	pub online: u32,
	/// Workers that are `Rented`.
	pub rented: u32,
}

/// A lane of commitments. Two spot rounds have commitments at the same time, one in its commit part and the
/// one before it in its reveal part, so they alternate between two lanes. One census runs at a time.
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
	/// Returns the lane of a round.
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
	/// The round of its votes.
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
	/// Opened commitments.
	pub opened: u16,
}

impl Counters {
	/// Returns the page of an operator, and its index in the page.
	pub(crate) fn place(operator: OperatorId) -> (u32, usize) {
		(
			operator / COUNTERS_PAGE,
			(operator % COUNTERS_PAGE) as usize,
		)
	}

	/// Returns whether a commitment may still be in its slot. Without a seat left none is: a later round
	/// overwrote it.
	pub(crate) fn withholds(&self) -> bool {
		self.opened < self.committed && self.seats > 0
	}
}

/// The number of commitments that an operator did not open in an epoch.
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
	/// The epoch of the last unopened commitment.
	pub epoch: EpochIndex,
	/// The number of unopened commitments in that epoch.
	pub count: u32,
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
	/// The operator that holds the seat.
	pub operator: OperatorId,
	/// The number of draws that hit the operator, which is the weight of its vote.
	pub weight: u8,
	/// The number of the operator's earlier seats in the round, which decides the vote's batch.
	pub number: u32,
	/// The vote, once revealed.
	pub vote: Option<Verdict>,
}

/// The committee of a check.
pub type Committee = BoundedVec<Seat, ConstU32<MAX_COMMITTEE>>;

/// An open check. It carries everything that closing it needs, so that it never depends on a round's record
/// that may have been removed.
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
	/// The root of its trial.
	pub root: [u8; 32],
	/// The size: the sum of all weights, and at least the intended one. Every decision needs more than half
	/// of it.
	pub size: u8,
	/// The minimum number of operators that decide.
	pub min_operators: u8,
	/// The operators of the committee, with their weights and votes.
	pub committee: Committee,
	/// Whether bandwidth and disk are measured too.
	pub full: bool,
	/// Whether the worker is rented: only its presence and service are checked.
	pub rented: bool,
	/// Whether a measurement of bandwidth and disk was pending (see [`LastCheck::Closed`]).
	pub remeasure: bool,
	/// Blocks that the check may credit (`Closing::credit`).
	pub credit: BlockNumber,
}

/// The last check of a worker, at most one. Its round only ever grows.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum LastCheck {
	/// The check is open.
	Open(Check),
	/// The check is closed.
	Closed {
		/// Its round.
		round: RoundIndex,
		/// The block in which it was over: that of the last vote, or the end of its round.
		at: BlockNumber,
		/// Whether the next check measures bandwidth and disk too: this one lowered a tier, or was to
		/// measure them and decided nothing.
		remeasure: bool,
	},
}

impl LastCheck {
	/// Returns the round of the check.
	pub fn round(&self) -> RoundIndex {
		match self {
			Self::Open(check) => check.round,
			Self::Closed { round, .. } => *round,
		}
	}

	/// Returns the last block in which the check is or was open.
	pub fn until(&self) -> BlockNumber {
		match self {
			Self::Open(check) => check.ends,
			Self::Closed { at, .. } => *at,
		}
	}

	/// Returns whether the check was open at the start of a round that began in block `start`, or was opened
	/// since.
	pub fn open_at(&self, start: BlockNumber) -> bool {
		self.until() >= start
	}

	/// Returns whether the next check measures bandwidth and disk too.
	pub fn remeasure(&self) -> bool {
		matches!(self, Self::Closed { remeasure, .. } if *remeasure)
	}
}

/// A seat as a view function lists it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct SeatView {
	/// The worker that attested.
	pub worker: WorkerId,
	/// The block in which it attested.
	pub attested_at: BlockNumber,
	/// The attested root.
	pub root: [u8; 32],
	/// The number of operators in the committee.
	pub seats: u8,
	/// The number of draws that hit this operator.
	pub weight: u8,
	/// Whether bandwidth and disk are measured too.
	pub full: bool,
	/// Whether the worker is rented.
	pub rented: bool,
	/// The number of the operator's seat in the round. The vote belongs to batch `⌊number / 64⌋`.
	pub number: u32,
	/// Whether this operator has voted.
	pub voted: bool,
}
