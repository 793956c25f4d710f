//! What the pallet stores of a worker: its record, its pending time and its history. Its stake is in
//! [`pool`](crate::pool).

use crate::{FalseProofs, Place, Queued, pool::StakePool};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_primitives::{
	AgentKey, Balance, BlockNumber, Commission, Forced, GpuClass, OrderId, PoolTerms, PoolValue,
	Profile, RoundIndex, Standings, Timeline, WorkerKey, WorkerSpec, WorkerState,
};
use scale_info::TypeInfo;
use sp_runtime::Perbill;

/// Least number of checks and deployments that reliability is a part of.
pub const LEAST_HISTORY: u8 = 8;

/// A worker's record: all that a check reads and writes, in one storage item.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct WorkerRecord<AccountId, Ticket> {
	/// The provider.
	pub owner: AccountId,
	/// The storage deposit. `None` once the worker is deregistered: the record then only stays until
	/// its last check is closed and its stake withdrawn.
	pub deposit: Option<Ticket>,
	/// When the stake of all its delegators has unbonded, once it is deregistered.
	pub released_at: Option<BlockNumber>,
	/// What it claims.
	pub spec: WorkerSpec,
	/// Its keys.
	pub keys: Timeline<WorkerKeys>,
	/// How it stands, and stood.
	pub standings: Standings,
	/// Its mark, if any: the spot round that it is due in.
	pub forced: Option<Forced>,
	/// What was last verified.
	pub profile: Option<Profile>,
	/// The last checks in a row that found its proof false, if any.
	pub false_proofs: Option<FalseProofs>,
	/// The last block that a finding charged; 0 if none was. Level 2 charges its first 24 h in advance.
	#[codec(compact)]
	pub charged_to: BlockNumber,
	/// Rented time that is not proved yet.
	pub time: PendingTime,
	/// The start of the last round that confirmed it online.
	pub proved_at: Option<BlockNumber>,
	/// Its last checks and deployments.
	pub history: History,
	/// An order of it was deployed, and no full check has supported its claim since.
	pub unproved: bool,
	/// Its last check, while `Online` or `Rented`, did not support its claim.
	pub below: bool,
	/// Its last census came to no consensus.
	pub undecided: bool,
	/// Consecutive failed verifications.
	pub failures: u8,
	/// The first round in which it may be verified again.
	pub retry_from: RoundIndex,
	/// It is never matched below this price per GPU-hour.
	#[codec(compact)]
	pub price_floor: Balance,
	/// The first round that credits idle time again, after a bar or a floor above the day's price.
	#[codec(compact)]
	pub waits_from: RoundIndex,
	/// The part of its reward that all its stakers share, the owner among them.
	pub commission: Commission,
	/// The most that its delegators can have staked together, if its owner set a cap; more is refused.
	pub delegation_cap: Option<Balance>,
	/// The order it serves, if any.
	pub order: Option<OrderId>,
	/// It is not matched before this block.
	#[codec(compact)]
	pub barred_until: BlockNumber,
	/// Its places in the indices of idle workers, while it can be rented.
	pub place: Option<Place>,
	/// A slash left its owner's stake below the minimum.
	pub short: bool,
	/// The slashes that are queued against it.
	pub queued: Queued,
	/// Its stake.
	pub pool: StakePool,
}

impl<AccountId, Ticket> WorkerRecord<AccountId, Ticket> {
	/// Its state now.
	pub fn state(&self) -> WorkerState {
		self.standings.now.value
	}

	/// Whether it was deregistered.
	pub fn is_gone(&self) -> bool {
		self.deposit.is_none()
	}

	/// Whether nothing is left of it but the record: it was deregistered, nobody has anything in its
	/// pool, and no slash is queued.
	pub fn is_empty(&self) -> bool {
		self.is_gone() && self.pool.is_empty() && self.queued == Queued::default()
	}

	/// The terms of its pool.
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

	/// The GPUs that count: those that were verified.
	pub fn gpus(&self) -> (GpuClass, u8) {
		self.profile
			.map_or((0, 0), |profile| (profile.gpu_class, profile.gpu_count))
	}

	/// Whether a check is still to come before an order can have the worker.
	pub fn is_marked(&self) -> bool {
		self.forced.is_some() || self.unproved
	}

	/// Returns the class and the count that it is listed by ([`shelf_of`]).
	pub fn shelf(&self) -> Option<(GpuClass, u8)> {
		self.profile.as_ref().and_then(shelf_of)
	}

	/// The keys that are reserved for it, where `next_round` is the next round to start: those in
	/// force and those that will be.
	pub fn reserved_keys(&self, next_round: RoundIndex) -> impl Iterator<Item = &WorkerKeys> {
		let newest_counts = self.keys.now.since < next_round;
		self.keys.values().take(if newest_counts { 1 } else { 2 })
	}
}

/// Returns the class and the count that a worker with this profile is listed by. Without a GPU the CPU
/// tier, from 1, is in place of the count. `None` if it has nothing that can be ordered.
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

/// What stays of a worker whose record is gone: enough to pay out what it earned.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, MaxEncodedLen, TypeInfo)]
pub struct Departed<AccountId> {
	/// The provider.
	pub owner: AccountId,
	/// The commission at the end.
	pub commission: Commission,
}

/// Rented time since the last proof. It grows while the worker is rented, and goes with its order.
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
	/// The first block that is not proved yet; `None` while the worker is not rented.
	pub since: Option<BlockNumber>,
}

impl PendingTime {
	/// The worker is rented from block `now` on.
	pub fn rent(now: BlockNumber) -> Self {
		Self { since: Some(now) }
	}

	/// Returns the blocks that are pending at block `at`.
	pub fn at(&self, at: BlockNumber) -> BlockNumber {
		self.since.map_or(0, |since| at.saturating_sub(since))
	}

	/// Voids the time up to block `now`.
	pub fn empty(&mut self, now: BlockNumber) {
		self.since = self.since.map(|since| since.max(now));
	}

	/// Takes out the time up to block `start`, and returns it, or `most` blocks if it is longer. Later time
	/// stays pending.
	pub fn credit(&mut self, start: BlockNumber, most: BlockNumber) -> BlockNumber {
		let blocks = self.at(start).min(most);
		self.empty(start);
		blocks
	}
}

/// The last 32 checks and deployments of a worker, as far as they are its provider's doing.
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
	/// One bit each, the last one lowest: whether the worker passed.
	pub bits: u32,
	/// Their number, at most 32.
	pub entries: u8,
}

impl History {
	/// Adds a check or a deployment.
	pub fn push(&mut self, passed: bool) {
		self.bits = (self.bits << 1) | u32::from(passed);
		self.entries = self.entries.saturating_add(1).min(32);
	}

	/// Returns the part that the worker passed. A new one has not failed, and has still to earn it: its first
	/// entries count as parts of eight.
	pub fn reliability(&self) -> Perbill {
		let of = self.entries.max(LEAST_HISTORY);
		Perbill::from_rational(self.bits.count_ones(), u32::from(of))
	}
}

/// Workers by state. Those that are deregistered are in none.
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
	/// The counter of `state`.
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
