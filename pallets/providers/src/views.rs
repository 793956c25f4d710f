//! Types that view functions return.

use super::*;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use kaisar_primitives::{OrderId, RunningScore};
use scale_info::TypeInfo;
use sp_runtime::Perquintill;

/// A worker as a view function shows it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct WorkerView<AccountId> {
	/// The provider.
	pub owner: AccountId,
	/// Whether it was deregistered.
	pub deregistered: bool,
	/// The current state.
	pub state: WorkerState,
	/// The first round in which the state counts.
	pub since: RoundIndex,
	/// The mark, if any: the spot round in which it is due.
	pub forced: Option<Forced>,
	/// Whether an order can be matched with it.
	pub listed: bool,
	/// The order that it serves, if any.
	pub order: Option<OrderId>,
	/// The claim.
	pub spec: WorkerSpec,
	/// The profile verified last.
	pub profile: Option<Profile>,
	/// The owner's stake.
	pub own: Balance,
	/// The owner's minimum stake for the claim.
	pub minimum: Option<Balance>,
	/// All delegators' stake.
	pub delegated: Balance,
	/// The unbonding stake, the owner's and the delegators' together.
	pub unbonding: Balance,
	/// The maximum amount that the queued slashes together would take now, of all of this stake.
	pub queued: Balance,
	/// Maximum total stake of the delegators, if the owner set a cap; more is refused.
	pub delegation_cap: Option<Balance>,
	/// The part of its last 32 checks and deployments that it passed; the divisor is eight at least.
	pub reliability: Perbill,
	/// The number of rented blocks not yet proved.
	pub rented: BlockNumber,
	/// The start of the last round that confirmed it online.
	pub proved_at: Option<BlockNumber>,
	/// The commission in force: the part of its reward that all its stakers share, the owner included.
	pub commission: Perbill,
	/// The announced commission, and the first epoch in which it counts.
	pub next_commission: Option<(EpochIndex, Perbill)>,
	/// The price per GPU-hour, or per core-hour without a GPU, below which it is never matched.
	pub price_floor: Balance,
	/// The running score, if it has one.
	pub score: Option<RunningScore>,
}

/// A page of workers, and the number to continue from.
pub type WorkerPage<AccountId> = (Vec<(WorkerId, WorkerView<AccountId>)>, Option<WorkerId>);

/// A queued slash as a view function shows it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct SlashView<AccountId> {
	/// The worker whose pool it is taken from.
	pub worker: WorkerId,
	/// The level.
	pub level: SlashLevel,
	/// The part of the pool that it takes when applied.
	pub rate: Perquintill,
	/// The amount that it would take of the pool as it is now.
	pub amount: Balance,
	/// The first block in which it may be applied.
	pub due: BlockNumber,
	/// The account that found the fault, if one did.
	pub finder: Option<AccountId>,
}

/// An account's delegation to a worker.
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
pub struct DelegationView {
	/// Shares of the worker's delegated stake.
	pub shares: Balance,
	/// The current value of the shares.
	pub value: Balance,
}

/// A piece of unbonding stake as a view function shows it.
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
pub struct UnbondingView {
	/// The current value.
	pub value: Balance,
	/// The first block in which it may be withdrawn.
	pub until: BlockNumber,
}

impl<T: Config> Pallet<T> {
	/// Returns a slash as [`Pallet::queued_slash`] shows it.
	pub(crate) fn slash_view(slash: QueuedSlash<T::AccountId>) -> SlashView<T::AccountId> {
		let QueuedSlash {
			worker,
			level,
			rate,
			due,
			finder,
		} = slash;
		let pool = Workers::<T>::get(worker).map(|record| record.pool);
		let amount = pool.and_then(|pool| pool.slashed_at(rate).ok());
		SlashView {
			worker,
			level,
			rate,
			amount: amount.unwrap_or(0),
			due,
			finder,
		}
	}

	/// Returns a worker as [`Pallet::worker`] shows it.
	pub(crate) fn view_of(
		worker: WorkerId,
		record: RecordOf<T>,
	) -> Option<WorkerView<T::AccountId>> {
		let pool = &record.pool;
		let unbonding = pool.own_unbonding.part.value;
		let epoch = T::CurrentEpoch::get();
		Some(WorkerView {
			deregistered: record.is_gone(),
			state: record.state(),
			since: record.standings.now.since,
			forced: record.forced,
			listed: record.place.is_some(),
			order: record.order,
			spec: record.spec,
			profile: record.profile,
			own: pool.own,
			minimum: Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count).ok(),
			delegated: pool.delegated.value,
			unbonding: unbonding.checked_add(pool.unbonding.part.value)?,
			queued: pool.slashed_at(record.queued.most()).ok()?,
			delegation_cap: record.delegation_cap,
			reliability: record.history.reliability(),
			rented: record.time.at(Self::now()),
			proved_at: record.proved_at,
			commission: record.commission.in_epoch(epoch),
			next_commission: record.commission.announced(epoch),
			price_floor: record.price_floor,
			score: T::Scores::of_worker(worker),
			owner: record.owner,
		})
	}
}
