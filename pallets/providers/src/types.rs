//! What the pallet stores of a worker: its record and its pending time. Its stake is in
//! [`pool`](crate::pool).

use crate::{FalseTime, Place, Queued, pool::StakePool};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_primitives::{
	AgentKey, Balance, BlockNumber, Commission, Forced, GpuClass, OrderId, PoolTerms, PoolValue,
	Profile, RoundIndex, Standings, Timeline, WorkerKey, WorkerSpec, WorkerState,
};
use scale_info::TypeInfo;
use sp_runtime::Perbill;

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
	/// The solitary check it is due in, if any.
	pub forced: Option<Forced>,
	/// What was last verified.
	pub profile: Option<Profile>,
	/// Checks in a row in which more than half of the votes found its proof false.
	pub false_proofs: u8,
	/// The time that they cover.
	pub false_time: Option<FalseTime>,
	/// Time that is not proved yet.
	pub time: PendingTime,
	/// The start of the last round that confirmed it online.
	pub proved_at: Option<BlockNumber>,
	/// Its last checks.
	pub history: History,
	/// Verifications that failed since the last one that did not.
	pub failures: u8,
	/// The first round in which it may be verified again.
	pub retry_from: RoundIndex,
	/// It is never matched below this price per GPU-hour.
	#[codec(compact)]
	pub price_floor: Balance,
	/// The delegators' part of its reward.
	pub commission: Commission,
	/// The order it serves, if any.
	pub order: Option<OrderId>,
	/// It is not matched before this block.
	#[codec(compact)]
	pub barred_until: BlockNumber,
	/// Its places in the indices of idle workers, exactly while it is `Online`.
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

	/// The keys that are reserved for it, where `next_round` is the next round to start: those in
	/// force and those that will be.
	pub fn reserved_keys(&self, next_round: RoundIndex) -> impl Iterator<Item = &WorkerKeys> {
		let newest_counts = self.keys.now.since < next_round;
		self.keys.values().take(if newest_counts { 1 } else { 2 })
	}
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

/// Amounts of pending time at one block.
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
pub struct Mark {
	/// The block.
	pub at: BlockNumber,
	/// Blocks online, the rented ones included.
	pub online: BlockNumber,
	/// Blocks rented.
	pub rented: BlockNumber,
}

/// Time since the last proof, online and rented, in blocks.
///
/// The amounts grow with the worker's state and are brought up to date when the state changes. The
/// last two such moments are kept, because a round credits what was pending at its *start*, and the
/// state may have changed since.
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
	/// The last but one mark.
	pub before: Mark,
	/// The last mark. From there on the amounts grow as the worker's state says.
	pub last: Mark,
}

impl PendingTime {
	/// Nothing pending at block `at`.
	pub fn empty(at: BlockNumber) -> Self {
		let mark = Mark {
			at,
			online: 0,
			rented: 0,
		};
		Self {
			before: mark,
			last: mark,
		}
	}

	/// Whether online and rented time pass in `state`.
	fn passes(state: WorkerState) -> (bool, bool) {
		match state {
			WorkerState::Online => (true, false),
			WorkerState::Rented => (true, true),
			WorkerState::Pending | WorkerState::Offline | WorkerState::Suspended => (false, false),
		}
	}

	/// The amounts as they were at block `at`, where `state` is the state since the last mark.
	///
	/// Exact back to the mark before the last one; beyond it never more than was pending.
	pub fn at(&self, state: WorkerState, at: BlockNumber) -> Mark {
		let Self { before, last } = *self;
		if at >= last.at {
			let (online, rented) = Self::passes(state);
			let passed = at - last.at;
			let grown = |amount: BlockNumber, passes: bool| {
				if passes {
					amount.saturating_add(passed)
				} else {
					amount
				}
			};
			Mark {
				at,
				online: grown(last.online, online),
				rented: grown(last.rented, rented),
			}
		} else if at >= before.at {
			// Between two marks an amount grows with every block or not at all.
			let passed = at - before.at;
			let grown =
				|from: BlockNumber, to: BlockNumber| from + passed.min(to.saturating_sub(from));
			Mark {
				at,
				online: grown(before.online, last.online),
				rented: grown(before.rented, last.rented),
			}
		} else {
			let passed = before.at - at;
			Mark {
				at,
				online: before.online.saturating_sub(passed),
				rented: before.rented.saturating_sub(passed),
			}
		}
	}

	/// The state changes at block `now`.
	pub fn change(&mut self, from: WorkerState, to: WorkerState, now: BlockNumber) {
		if Self::passes(from) == Self::passes(to) {
			return;
		}
		let mark = self.at(from, now);
		if self.last.at < now {
			self.before = self.last;
		}
		self.last = mark;
	}

	/// Takes out what was pending at block `start`, and returns it: online and rented blocks,
	/// together at most `max_gap` (rented time is online time too). Later time stays pending.
	pub fn credit(
		&mut self,
		state: WorkerState,
		start: BlockNumber,
		max_gap: BlockNumber,
	) -> (BlockNumber, BlockNumber) {
		let due = self.at(state, start);
		let less = |mark: Mark| {
			if mark.at <= start {
				Mark {
					at: start,
					online: 0,
					rented: 0,
				}
			} else {
				Mark {
					at: mark.at,
					online: mark.online.saturating_sub(due.online),
					rented: mark.rented.saturating_sub(due.rented),
				}
			}
		};
		*self = Self {
			before: less(self.before),
			last: less(self.last),
		};
		let online = due.online.min(max_gap);
		(online, due.rented.min(online))
	}
}

/// The last 32 checks of a worker.
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
	/// One bit a check, the last one lowest: whether it confirmed the worker.
	pub bits: u32,
	/// How many checks there were, at most 32.
	pub checks: u8,
}

impl History {
	/// Adds a check.
	pub fn push(&mut self, confirmed: bool) {
		self.bits = (self.bits << 1) | u32::from(confirmed);
		self.checks = self.checks.saturating_add(1).min(32);
	}

	/// The share of the checks that confirmed the worker; none if there were none.
	pub fn reliability(&self) -> Perbill {
		if self.checks == 0 {
			return Perbill::zero();
		}
		Perbill::from_rational(self.bits.count_ones(), u32::from(self.checks))
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
