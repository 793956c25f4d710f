//! A checker's work in a round, as its node stores it.

use super::*;
use alloc::{
	collections::{BTreeMap, BTreeSet},
	vec::Vec,
};
use codec::{Error, Input};
use kaisar_math::committee::batch_of;
use kaisar_primitives::{OperatorId, Verdict, Votes, agent::receipts_key};

/// Blocks whose attestations are read again at each block, since the block before may have had a rival.
pub const REREAD: BlockNumber = 2;

/// The work of this node for one operator in a round, and its progress. Stored in persistent local storage,
/// so that a restart in any part of the round continues where the work was.
///
/// Local storage does not follow the chain when it reorganizes. When the trial has another seed, everything
/// is dropped but the batches, which may be committed already.
#[derive(Default, Encode)]
pub struct RoundWork {
	/// The seed of the trial to which the other fields belong.
	pub seed: H256,
	/// Whether the agent acknowledged the round with this seed.
	pub acknowledged: bool,
	/// Progress through the list of attested workers at the last blocks, oldest first.
	pub marks: Vec<Mark>,
	/// Seats without a verdict.
	pub pending: Vec<WorkerId>,
	/// Seats with a verdict, whose votes are not settled.
	pub verdicts: Vec<(WorkerId, Verdict)>,
	/// Seats that the agent cannot check, or that had no verdict when their batch was settled.
	pub failed: Vec<WorkerId>,
	/// The settled batches of votes, by number: the votes revealed are the votes committed.
	pub batches: Vec<Batch>,
	/// Those seats in the three lists above whose batches are not settled. A seat that is missing here is
	/// neither checked nor voted on.
	pub unsettled: BTreeMap<WorkerId, UnsettledSeat>,
	/// Whether an earlier version stored this, without the unsettled seats.
	#[codec(skip)]
	pub lacks_unsettled: bool,
}

/// A seat whose batch is not settled, as of the state when the seat was found, so that thousands of seats
/// are scanned at each block without reading the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct UnsettledSeat {
	/// The number of the operator's seat.
	pub number: u32,
	/// The block that fixes the window of the worker's bandwidth; `None` if it is not measured.
	pub window: Option<BlockNumber>,
}

impl UnsettledSeat {
	/// Returns the batch to which the seat's vote belongs.
	pub fn batch(&self) -> u32 {
		batch_of(self.number)
	}
}

/// Salts must survive an upgrade: the encoding of an earlier version ends before the unsettled seats.
impl Decode for RoundWork {
	fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
		let (seed, acknowledged, marks, pending) = Decode::decode(input)?;
		let (verdicts, failed, batches) = Decode::decode(input)?;
		let lacks_unsettled = input.remaining_len()? == Some(0);
		Ok(Self {
			seed,
			acknowledged,
			marks,
			pending,
			verdicts,
			failed,
			batches,
			unsettled: if lacks_unsettled {
				BTreeMap::new()
			} else {
				Decode::decode(input)?
			},
			lacks_unsettled,
		})
	}
}

impl RoundWork {
	/// Returns the operator's work in a round, begun afresh if the stored one is of another chain.
	pub fn of(operator: OperatorId, round: &Round) -> Self {
		let work: Self = read(&round_work_key(operator, round.index)).unwrap_or_default();
		match round.trial_seed {
			Some(seed) if work.seed != seed => {
				StorageValueRef::persistent(&receipts_key(operator, round.index)).clear();
				Self {
					seed,
					batches: work.batches,
					..Default::default()
				}
			}
			_ => work,
		}
	}

	/// Returns the workers whose seats were found.
	pub fn known(&self) -> BTreeSet<WorkerId> {
		self.voted()
			.chain(self.pending.iter().copied())
			.chain(self.failed.iter().copied())
			.collect()
	}

	/// Returns the workers whose seats have a verdict.
	fn voted(&self) -> impl Iterator<Item = WorkerId> {
		let settled = self.batches.iter().flat_map(|batch| &batch.votes);
		settled.chain(&self.verdicts).map(|(worker, _)| *worker)
	}

	/// Returns the numbers of the batches whose votes are settled.
	pub fn settled(&self) -> BTreeSet<u32> {
		self.batches
			.iter()
			.map(|batch| u32::from(batch.number))
			.collect()
	}

	/// Returns the workers whose votes are settled.
	pub fn votes_settled(&self) -> BTreeSet<WorkerId> {
		let votes = self.batches.iter().flat_map(|batch| &batch.votes);
		votes.map(|(worker, _)| *worker).collect()
	}
}

/// Progress through a list at a block.
#[derive(Encode, Decode)]
pub struct Mark {
	/// The block.
	pub block: BlockNumber,
	/// The running hash after the block, which differs on another chain.
	pub seed: H256,
	/// Entries read.
	pub position: u32,
}

/// Votes that go into one commitment.
#[derive(Encode, Decode)]
pub struct Batch {
	/// Its number.
	pub number: u16,
	pub votes: Votes,
	pub salt: [u8; 32],
}

/// Returns the local storage key of a [`RoundWork`].
pub fn round_work_key(operator: OperatorId, round: RoundIndex) -> Vec<u8> {
	(b"kaisar/popw/duty", operator, round).encode()
}

/// Local storage key of the list of this node's work: operators and rounds, under all numbers that these
/// ever had.
pub const WORK_LIST: &[u8] = b"kaisar/popw/duties";
/// Local storage key of the list of receipts that this node keeps, likewise.
pub const RECEIPTS: &[u8] = b"kaisar/popw/receipts";

/// Adds an entry to one of the two lists, unless it is there.
pub fn note(list: &[u8], operator: OperatorId, round: RoundIndex) {
	let mut all: Vec<(OperatorId, RoundIndex)> = read(list).unwrap_or_default();
	if !all.contains(&(operator, round)) {
		all.push((operator, round));
		StorageValueRef::persistent(list).set(&all);
	}
}

/// Retains the entries of a list that are `needed`.
fn retain(list: &[u8], mut needed: impl FnMut(OperatorId, RoundIndex) -> bool) {
	let mut all: Vec<(OperatorId, RoundIndex)> = read(list).unwrap_or_default();
	let before = all.len();
	all.retain(|(operator, round)| needed(*operator, *round));
	if all.len() < before {
		StorageValueRef::persistent(list).set(&all);
	}
}

/// Closes the checks that stand open in rounds that are over, and forgets those rounds; also forgets the
/// receipts of rounds whose record is gone, in which no strike can be annulled any more.
pub fn clean_up_all<T: Config>(rounds: &[Round], now: BlockNumber) {
	let runs = |index| rounds.iter().any(|round| round.index == index);
	let mut dropped = false;
	retain(WORK_LIST, |operator, round| {
		let needed = runs(round) || clean_up::<T>(operator, round, now);
		dropped |= !needed;
		needed
	});
	// No more often than once a round.
	if dropped {
		retain(RECEIPTS, |operator, round| {
			let needed = Rounds::<T>::contains_key(round);
			if !needed {
				StorageValueRef::persistent(&receipts_key(operator, round)).clear();
			}
			needed
		});
	}
}

/// Closes the checks that stand open in a round that is over, and then forgets the round. Returns whether it
/// is still needed.
fn clean_up<T: Config>(operator: OperatorId, round: RoundIndex, now: BlockNumber) -> bool {
	let name = round_work_key(operator, round);
	let work: RoundWork = read(&name).unwrap_or_default();
	let open: Vec<WorkerId> = work
		.voted()
		.chain(work.pending.iter().copied())
		.chain(work.failed.iter().copied())
		.filter(|worker| {
			matches!(
				LastChecks::<T>::get(worker),
				Some(LastCheck::Open(check)) if check.round == round && now > check.ends
			)
		})
		.collect();
	if open.is_empty() {
		let record = Rounds::<T>::get(round);
		// Its last block may still get a rival in which something can be opened.
		if record.is_some_and(|round| now <= round.ends().saturating_add(REREAD)) {
			return true;
		}
		StorageValueRef::persistent(&name).clear();
		return false;
	}
	let mut open = open;
	open.sort_unstable();
	open.dedup();
	finalize::<T>(open, now);
	true
}
