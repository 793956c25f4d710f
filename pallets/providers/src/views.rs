//! What view functions show.

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
	/// It was deregistered.
	pub deregistered: bool,
	/// Its state.
	pub state: WorkerState,
	/// The first round in which the state counts.
	pub since: RoundIndex,
	/// Its mark, if any: the spot round that it is due in.
	pub forced: Option<Forced>,
	/// An order can be matched with it.
	pub listed: bool,
	/// The order it serves, if any.
	pub order: Option<OrderId>,
	/// What it claims.
	pub spec: WorkerSpec,
	/// What was last verified.
	pub profile: Option<Profile>,
	/// The owner's stake.
	pub own: Balance,
	/// The least that the owner must stake for what is claimed.
	pub minimum: Option<Balance>,
	/// All delegators' stake.
	pub delegated: Balance,
	/// What is unbonding, the owner's and the delegators'.
	pub unbonding: Balance,
	/// The most of all this that the queued slashes would take now.
	pub queued: Balance,
	/// The most that delegators can have staked together, if the owner set a cap; more is refused.
	pub delegation_cap: Option<Balance>,
	/// The part of its last 32 checks and deployments that it passed, of eight at least.
	pub reliability: Perbill,
	/// Rented blocks that are not proved yet.
	pub rented: BlockNumber,
	/// The start of the last round that confirmed it online.
	pub proved_at: Option<BlockNumber>,
	/// The part of its reward that all its stakers share now, the owner among them.
	pub commission: Perbill,
	/// The commission that is announced, and the first epoch in which it counts.
	pub next_commission: Option<(EpochIndex, Perbill)>,
	/// It is never matched below this price per GPU-hour, or core-hour without a GPU.
	pub price_floor: Balance,
	/// Its running score, if it has one.
	pub score: Option<RunningScore>,
}

/// A page of workers, and the number to continue from.
pub type WorkerPage<AccountId> = (Vec<(WorkerId, WorkerView<AccountId>)>, Option<WorkerId>);

/// A queued slash as a view function shows it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct SlashView<AccountId> {
	/// The worker whose pool it takes from.
	pub worker: WorkerId,
	/// Its level.
	pub level: SlashLevel,
	/// The part of the pool that it takes on its day.
	pub rate: Perquintill,
	/// What it would take of the pool as it is now.
	pub amount: Balance,
	/// The first block in which it may be applied.
	pub due: BlockNumber,
	/// The account that found the fault, if one did.
	pub finder: Option<AccountId>,
}

/// What an account delegates to a worker.
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
	/// Its shares.
	pub shares: Balance,
	/// What they are worth.
	pub value: Balance,
}

/// Stake on its way out, as a view function shows it.
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
	/// What it is worth now.
	pub value: Balance,
	/// The first block in which it may be withdrawn.
	pub until: BlockNumber,
}

impl<T: Config> Pallet<T> {
	/// A slash as [`Pallet::queued_slash`] shows it.
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

	/// A worker as [`Pallet::worker`] shows it.
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
