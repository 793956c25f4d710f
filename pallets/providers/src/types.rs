//! Types stored for a worker: its record, its pending time and its history. Its stake is in
//! [`pool`](crate::pool).

use crate::{FalseProofs, IndexPosition, QueuedSlashes, pool::StakePool};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_primitives::{
	AgentKey, Balance, BlockNumber, Commission, Forced, GpuClass, OrderId, PoolTerms, PoolValue,
	Profile, RoundIndex, Standings, Timeline, WorkerKey, WorkerSpec, WorkerState,
};
use scale_info::TypeInfo;
use sp_runtime::Perbill;

/// Minimum denominator of reliability: a shorter history counts as this many checks and deployments.
pub const LEAST_HISTORY: u8 = 8;
/// The number of last checks and deployments that count for reliability: one for each bit of
/// [`History::bits`].
const MAX_HISTORY: u8 = 32;

/// A worker's record: all that a check reads and writes, in one storage item.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct WorkerRecord<AccountId, Ticket> {
	/// The provider.
	pub owner: AccountId,
	/// The storage deposit. `None` once the worker is deregistered: the record then remains only until
	/// its last check is closed and its stake withdrawn.
	pub deposit: Option<Ticket>,
	/// The first block in which all its delegators' stake has unbonded; set when it is deregistered.
	pub released_at: Option<BlockNumber>,
	/// The claim.
	pub spec: WorkerSpec,
	/// The worker key and the agent key, by round.
	pub keys: Timeline<WorkerKeys>,
	/// The current state, and those of earlier rounds.
	pub standings: Standings,
	/// The mark, if any: the spot round in which it is due.
	pub forced: Option<Forced>,
	/// The profile verified last.
	pub profile: Option<Profile>,
	/// The run of consecutive checks that found its proof false, if the last one did.
	pub false_proofs: Option<FalseProofs>,
	/// The last block that a finding charged; 0 if none did. Level 2 charges its first 24 h in advance.
	#[codec(compact)]
	pub charged_to: BlockNumber,
	/// Rented time not yet proved.
	pub time: PendingTime,
	/// The start of the last round that confirmed it online.
	pub proved_at: Option<BlockNumber>,
	/// The last checks and deployments.
	pub history: History,
	/// Whether no full check has supported its claim since one of its orders was deployed.
	pub unproved: bool,
	/// Whether its last check, while `Online` or `Rented`, did not support its claim.
	pub below: bool,
	/// Whether its last census came to no consensus.
	pub undecided: bool,
	/// Consecutive failed verifications.
	pub failures: u8,
	/// The first round in which it may be verified again.
	pub retry_from: RoundIndex,
	/// The price per GPU-hour below which it is never matched.
	#[codec(compact)]
	pub price_floor: Balance,
	/// The first round that credits idle time again, after a bar or a floor above the day's price.
	#[codec(compact)]
	pub waits_from: RoundIndex,
	/// The part of its reward that all its stakers share, the owner included.
	pub commission: Commission,
	/// Maximum total stake of its delegators, if its owner set a cap; more is refused.
	pub delegation_cap: Option<Balance>,
	/// The order that it serves, if any.
	pub order: Option<OrderId>,
	/// The first block in which it can be matched again.
	#[codec(compact)]
	pub barred_until: BlockNumber,
	/// Its places in the indices of idle workers, while it can be rented.
	pub place: Option<IndexPosition>,
	/// Whether a slash left its owner's stake below the minimum.
	pub short: bool,
	/// The slashes queued against it.
	pub queued: QueuedSlashes,
	/// The stake.
	pub pool: StakePool,
}

impl<AccountId, Ticket> WorkerRecord<AccountId, Ticket> {
	/// Returns its current state.
	pub fn state(&self) -> WorkerState {
		self.standings.now.value
	}

	/// Returns whether it was deregistered.
	pub fn is_gone(&self) -> bool {
		self.deposit.is_none()
	}

	/// Returns whether only the record remains: the worker was deregistered, its pool has no entries, and
	/// no slash is queued.
	pub fn is_empty(&self) -> bool {
		self.is_gone() && self.pool.is_empty() && self.queued == QueuedSlashes::default()
	}

	/// Returns the terms of its pool.
	pub fn terms(&self) -> PoolTerms {
		PoolTerms {
			value: PoolValue {
				owner: self.pool.own,
				members: self.pool.delegated.value,
				shares: self.pool.delegated.shares,
			},
			commission: self.commission,
		}
	}

	/// Returns the GPUs that count: the verified ones.
	pub fn gpus(&self) -> (GpuClass, u8) {
		self.profile
			.map_or((0, 0), |profile| (profile.gpu_class, profile.gpu_count))
	}

	/// Returns whether the worker must pass a check before an order can be matched with it.
	pub fn is_marked(&self) -> bool {
		self.forced.is_some() || self.unproved
	}

	/// Returns the class and the count that it is listed by ([`shelf_of`]).
	pub fn shelf(&self) -> Option<(GpuClass, u8)> {
		self.profile.as_ref().and_then(shelf_of)
	}

	/// Returns the keys reserved for it, where `next_round` is the next round to start: those in force
	/// and those set for later.
	pub fn reserved_keys(&self, next_round: RoundIndex) -> impl Iterator<Item = &WorkerKeys> {
		let newest_counts = self.keys.now.since < next_round;
		self.keys.values().take(if newest_counts { 1 } else { 2 })
	}
}

/// Returns the class and the count by which a worker with this profile is listed. Without a GPU, the CPU
/// tier, from 1, takes the place of the count. `None` if it has nothing to order.
pub fn shelf_of(profile: &Profile) -> Option<(GpuClass, u8)> {
	let (class, count) = match profile.gpu_class {
		0 => (0, profile.cpu),
		class => (class, profile.gpu_count),
	};
	(count > 0).then_some((class, count))
}

/// The two keys of a worker.
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct WorkerKeys {
	/// The node's key.
	pub worker: WorkerKey,
	/// The agent's key.
	pub agent: AgentKey,
}

/// The remains of a worker whose record was removed: enough to pay out its rewards.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Departed<AccountId> {
	/// The provider.
	pub owner: AccountId,
	/// The commission when the record was removed.
	pub commission: Commission,
}

/// Rented time since the last proof. It grows while the worker is rented, and ends with its order.
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
pub struct PendingTime {
	/// The first block not yet proved; `None` while the worker is not rented.
	pub since: Option<BlockNumber>,
}

impl PendingTime {
	/// Returns the pending time of a worker rented from block `now` on.
	pub fn rent(now: BlockNumber) -> Self {
		Self { since: Some(now) }
	}

	/// Returns the number of blocks pending at block `at`.
	pub fn at(&self, at: BlockNumber) -> BlockNumber {
		self.since.map_or(0, |since| at.saturating_sub(since))
	}

	/// Voids the time up to block `now`.
	pub fn empty(&mut self, now: BlockNumber) {
		self.since = self.since.map(|since| since.max(now));
	}

	/// Removes the time up to block `start`, and returns it, or `most` blocks if it is longer. Later time
	/// stays pending.
	pub fn credit(&mut self, start: BlockNumber, most: BlockNumber) -> BlockNumber {
		let blocks = self.at(start).min(most);
		self.empty(start);
		blocks
	}
}

/// The last 32 checks and deployments of a worker. Only its provider's faults count as failures.
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
pub struct History {
	/// One bit each, the latest lowest; set if the worker passed.
	pub bits: u32,
	/// The number of entries, at most 32.
	pub entries: u8,
}

impl History {
	/// Adds a check or a deployment.
	pub fn push(&mut self, passed: bool) {
		self.bits = (self.bits << 1) | u32::from(passed);
		self.entries = self.entries.saturating_add(1).min(MAX_HISTORY);
	}

	/// Returns the part that the worker passed. A new worker has to earn its reliability first: with
	/// fewer than eight entries the divisor is still eight.
	pub fn reliability(&self) -> Perbill {
		let of = self.entries.max(LEAST_HISTORY);
		Perbill::from_rational(self.bits.count_ones(), u32::from(of))
	}
}

/// The number of workers in each state, without deregistered ones.
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
pub struct StateCounts {
	/// `Pending`.
	pub pending: u32,
	/// `Online`: verified and idle.
	pub online: u32,
	/// `Rented`.
	pub rented: u32,
	/// `Offline`.
	pub offline: u32,
	/// `Suspended`.
	pub suspended: u32,
}

impl StateCounts {
	/// Returns the counter of `state`.
	pub fn of(&mut self, state: WorkerState) -> &mut u32 {
		match state {
			WorkerState::Pending => &mut self.pending,
			WorkerState::Online => &mut self.online,
			WorkerState::Rented => &mut self.rented,
			WorkerState::Offline => &mut self.offline,
			WorkerState::Suspended => &mut self.suspended,
		}
	}
}
