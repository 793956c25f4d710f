//! A checker's work in a round, as its node stores it.

use super::*;
use alloc::{
	collections::{BTreeMap, BTreeSet},
	vec::Vec,
};
use codec::{Error, Input};
use kaisar_math::committee::batch_of;
use kaisar_primitives::{OperatorId, Verdict, Votes, agent::receipts_key};

/// Blocks whose attestations are read again at each block: the block before may have had a rival.
pub const REREAD: BlockNumber = 2;

/// The work of this node in a round for one operator, and its progress. Kept in persistent local storage, so
/// that a restart in any phase goes on where it was.
///
/// Local storage does not follow the chain when it reorganizes. Everything but the batches, which may be
/// committed to already, is dropped when the trial has another seed.
#[derive(Default, Encode)]
pub struct Duty {
	/// The trial's seed that the rest belongs to.
	pub seed: H256,
	/// The agent knows of the round with this seed.
	pub told: bool,
	/// Progress through the list of attested workers at the last blocks, oldest first.
	pub marks: Vec<Mark>,
	/// Seats without a verdict.
	pub pending: Vec<WorkerId>,
	/// Seats with one, whose votes are not settled.
	pub verdicts: Vec<(WorkerId, Verdict)>,
	/// Seats that the agent cannot check, or that had no verdict when their batch was settled.
	pub failed: Vec<WorkerId>,
	/// The votes that are settled, by their numbers: what was committed is what is revealed.
	pub batches: Vec<Batch>,
	/// The places of the seats in the three lists above whose batches are not settled. A seat without one is
	/// neither asked for nor voted on.
	pub places: BTreeMap<WorkerId, Place>,
	/// An earlier version stored this, without places.
	#[codec(skip)]
	pub is_unplaced: bool,
}

/// The place of a seat in a round, as the state had it when the seat was found: thousands of seats are
/// looked through at each block without reading the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Place {
	/// The number of the operator's seat.
	pub number: u32,
	/// The block that fixes when the worker's bandwidth is measured; `None` if it is not.
	pub window: Option<BlockNumber>,
}

impl Place {
	/// Returns the batch that the seat's vote belongs to.
	pub fn batch(&self) -> u32 {
		batch_of(self.number)
	}
}

/// Salts outlive an upgrade: what an earlier version stored ends before the places.
impl Decode for Duty {
	fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
		let (seed, told, marks, pending) = Decode::decode(input)?;
		let (verdicts, failed, batches) = Decode::decode(input)?;
		let is_unplaced = input.remaining_len()? == Some(0);
		Ok(Self {
			seed,
			told,
			marks,
			pending,
			verdicts,
			failed,
			batches,
			places: if is_unplaced {
				BTreeMap::new()
			} else {
				Decode::decode(input)?
			},
			is_unplaced,
		})
	}
}

impl Duty {
	/// Returns the operator's work in a round, or begins it anew if it is of another chain.
	pub fn of(operator: OperatorId, round: &Round) -> Self {
		let duty: Self = read(&duty_key(operator, round.index)).unwrap_or_default();
		match round.trial_seed {
			Some(seed) if duty.seed != seed => {
				StorageValueRef::persistent(&receipts_key(operator, round.index)).clear();
				Self {
					seed,
					batches: duty.batches,
					..Default::default()
				}
			}
			_ => duty,
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
	/// The running hash after it. Another chain has another one.
	pub seed: H256,
	/// Entries that were read.
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

/// Local storage key of a [`Duty`].
pub fn duty_key(operator: OperatorId, round: RoundIndex) -> Vec<u8> {
	(b"kaisar/popw/duty", operator, round).encode()
}

/// Local storage key of this node's duties: operators, under all the numbers that they ever had, and rounds.
pub const DUTIES: &[u8] = b"kaisar/popw/duties";
/// Local storage key of the list of receipts that this node keeps, likewise.
pub const RECEIPTS: &[u8] = b"kaisar/popw/receipts";

/// Adds an entry to one of the two lists, unless it has it.
pub fn note(list: &[u8], operator: OperatorId, round: RoundIndex) {
	let mut all: Vec<(OperatorId, RoundIndex)> = read(list).unwrap_or_default();
	if !all.contains(&(operator, round)) {
		all.push((operator, round));
		StorageValueRef::persistent(list).set(&all);
	}
}

/// Keeps the entries of a list that are `needed`.
fn retain(list: &[u8], mut needed: impl FnMut(OperatorId, RoundIndex) -> bool) {
	let mut all: Vec<(OperatorId, RoundIndex)> = read(list).unwrap_or_default();
	let before = all.len();
	all.retain(|(operator, round)| needed(*operator, *round));
	if all.len() < before {
		StorageValueRef::persistent(list).set(&all);
	}
}

/// Closes what stands open in rounds that are over, and forgets those rounds; and the receipts of rounds
/// whose record is gone, in which no strike can be annulled any more.
pub fn clean_up_all<T: Config>(rounds: &[Round], now: BlockNumber) {
	let runs = |index| rounds.iter().any(|round| round.index == index);
	let mut dropped = false;
	retain(DUTIES, |operator, round| {
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
	let name = duty_key(operator, round);
	let duty: Duty = read(&name).unwrap_or_default();
	let open: Vec<WorkerId> = duty
		.voted()
		.chain(duty.pending.iter().copied())
		.chain(duty.failed.iter().copied())
		.filter(|worker| {
			matches!(
				LastChecks::<T>::get(worker),
				Some(LastCheck::Open(check)) if check.round == round && now > check.ends
			)
		})
		.collect();
	if open.is_empty() {
		let record = Rounds::<T>::get(round);
		// Its last block may yet have a rival in which something can be opened.
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
