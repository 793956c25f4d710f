//! # Providers
//!
//! The registry of workers: who owns a machine, what it claims, what was verified, where it stands,
//! what it has at stake, and the time that it has not proved yet.
//!
//! ## Terms
//!
//! - **Provider**: an account that owns workers. **Worker**: one machine of it, known by its number.
//! - **Claim**: the hardware that the provider says is there ([`WorkerSpec`]). **Profile**: what a
//!   committee verified ([`Profile`](kaisar_primitives::Profile)).
//! - **Mark**, or *forced*: the one solitary check that a worker is due in.
//! - **Pending time**: blocks online and rented since the last proof. They are worth nothing before
//!   a check proves them.
//! - **Pool**: the owner's stake, the delegators' part, and what is unbonding of both.
//! - **Delegator**: an account that stakes on another's worker.
//! - **Idle**: `Online`, so that an order can be matched with it.
//!
//! ## The life of a worker, as a story
//!
//! Petra has a machine with one RTX 4090. Its node holds a worker key, its agent an agent key; both
//! sign that they belong to Petra's account. She calls [`register_worker`](Call::register_worker)
//! with the claim, the keys and her stake, and pays the fee and a storage deposit. The worker is
//! `Pending` and marked: it is due in the next spot round.
//!
//! The round starts, the machine attests its benchmark, a committee votes, and Popw closes the check
//! ([`closed`](kaisar_primitives::Workers::closed)). The profile supports the claim: the worker is
//! `Online`, and from here on time passes for it. Each census that confirms it credits what was
//! pending at the census' start. Had the profile not supported the claim, the worker would have
//! stayed `Pending` with [`Event::VerificationFailed`], and Petra would have corrected the claim
//! ([`update_worker`](Call::update_worker)) or asked again ([`go_online`](Call::go_online)), with a
//! delay of 1, 2, 4 … rounds.
//!
//! Carol sees that it is reliable and [stakes](Call::stake) on it: she gets shares of the delegators'
//! part of its pool, and of its reward.
//!
//! One night the machine is found offline: it is `Offline`, its pending time is void, and a part of its
//! pool is queued to be slashed. In the morning Petra calls `go_online`, and it is `Pending` and marked
//! again. Two days later somebody [applies](Call::apply_slash) the slash, for the bounty. It is Petra's
//! stake that bears it; if what is left is below the minimum, the worker is `Suspended` until she tops it
//! up.
//!
//! When she sells it she calls [`deregister_worker`](Call::deregister_worker): the deposit is back at
//! once, all stake unbonds, and when she and Carol have withdrawn theirs
//! ([`withdraw_unbonded`](Call::withdraw_unbonded)) nothing is left of the worker but a note of who owned
//! it, so that its last reward finds its way.
//!
//! ## Time
//!
//! A round sees a worker as it stood when the round started, so each change of state counts from the
//! next round ([`Standings`](kaisar_primitives::Standings)). A check that runs, or that the worker
//! is due in, goes on whatever its owner calls; calls that would disturb one fail with
//! [`Error::CheckRunning`]. [`PendingTime`] says how time is credited to the block.
//!
//! ## Stake
//!
//! All stake lies in the pallet's account ([`Pallet::pot`]); a pool says how much of it is a
//! worker's. Anyone may stake on a worker: the owner's stake is an amount, a delegator holds shares of
//! the rest. [`pool`] says what rounding leaves, and to whom. What is taken out unbonds, for a day longer
//! than a slash is deferred at the least.
//!
//! ## Slashing
//!
//! What a check finds is queued, and after a deferral anyone may apply it, for a bounty. One slash is one
//! write of the record and one transfer, however many delegators there are: the owner bears it first.
//! [`slashing`] says how findings add up, and who cannot move what meanwhile.
//!
//! ## Idle workers, and all of them
//!
//! Workers that are `Online` are in dense indices by GPU class, count and region ([`idle`]), from which
//! Orders draws; what all workers come to is kept as they change ([`totals`]).
//!
//! ## Size
//!
//! Nothing loops over workers or delegators. A check that confirms a worker reads and writes one item of
//! this pallet, its record.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod hardware;
pub mod idle;
mod lifecycle;
#[cfg(test)]
mod mock;
pub mod pool;
mod regions;
mod registry;
pub mod slashing;
mod staking;
#[cfg(test)]
mod tests;
pub mod totals;
#[cfg(any(
	feature = "try-runtime",
	feature = "runtime-benchmarks",
	feature = "std"
))]
mod try_state;
mod types;
mod views;
pub mod weights;

pub use idle::{Bucket, BucketHead, INDEX_PAGE, IndexPage, Place};
pub use pallet::*;
pub use pool::{Leaving, Shared, Slashed, StakePool, Unbonding};
pub use slashing::{FalseTime, Queued, QueuedSlash, SlashId, SlashLevel};
pub use totals::{ClassTotals, Hardware, NetworkTotals};
pub use types::*;
pub use views::{DelegationView, UnbondingView, WorkerView};
pub use weights::WeightInfo;

use alloc::vec::Vec;
use frame_support::{
	PalletId, defensive,
	pallet_prelude::*,
	traits::{
		Consideration, Defensive, Footprint,
		fungible::{Inspect, Mutate},
		tokens::Preservation,
	},
};
use frame_system::pallet_prelude::*;
use kaisar_primitives::{
	AgentKey, Balance, BlockNumber, Checks, DAYS, EpochIndex, Forced, GpuClass, GpuClasses,
	KeyProof, Market, OnPoolChange, PoolId, PoolTerms, Pots, Profile, RoundIndex, RunningScores,
	SharesChange, Timeline, WorkerId, WorkerKey, WorkerSpec, WorkerState,
};
use sp_core::H256;
use sp_runtime::{
	ArithmeticError, Perbill,
	traits::{AccountIdConversion, EnsureAdd, EnsureSub, SaturatedConversion},
};

/// The longest delay before the next verification, in rounds: two weeks.
const MAX_DELAY: u32 = 4_096;

/// Most workers in one page of [`Pallet::workers_of`].
pub const MAX_PAGE: u32 = 256;

/// The record of a worker of this runtime.
pub type RecordOf<T> = WorkerRecord<<T as frame_system::Config>::AccountId, TicketOf<T>>;
/// The storage deposit of a worker.
pub type TicketOf<T> = <T as Config>::Consideration;
/// What an account has unbonding in a worker's pool.
pub type UnbondingsOf<T> = BoundedVec<Unbonding, <T as Config>::MaxUnbonding>;

#[frame_support::pallet]
pub mod pallet {
	use super::*;

	const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	#[pallet::config]
	pub trait Config: frame_system::Config<Hash = H256> {
		/// KAI.
		type Currency: Mutate<Self::AccountId> + Inspect<Self::AccountId, Balance = Balance>;

		/// The storage deposit of a worker, held in place.
		type Consideration: Consideration<Self::AccountId, Footprint>;

		/// Where the pot's account comes from.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// Who gets the fees: the treasury.
		type FeeDestination: Get<Self::AccountId>;

		/// Fee of registering and of updating a worker. *param*
		type RegistrationFee: Get<Balance>;

		/// Least stake of any worker's owner. *param*
		type BaseStake: Get<Balance>;

		/// Stake more for each whole point of class score and GPU. *param*
		type StakePerScore: Get<Balance>;

		/// Most stake in one pool. *param*
		type MaxStake: Get<Balance>;

		/// Blocks for which stake unbonds, at least. *param*
		type Unbonding: Get<BlockNumber>;

		/// Blocks for which a slash is deferred; stake unbonds at least a day longer. *param*
		type SlashDeferral: Get<BlockNumber>;

		/// Most pieces of stake that an account can have unbonding in a pool, one of which is kept for
		/// deregistering.
		#[pallet::constant]
		type MaxUnbonding: Get<u32>;

		/// The running reward epoch.
		type CurrentEpoch: Get<EpochIndex>;

		/// The table of GPU classes.
		type Classes: GpuClasses;

		/// Rounds and checks.
		type Checks: Checks;

		/// May slash by hand, and cancel slashes.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// The part of a slash that goes to who found the fault and who applied the slash. *param*
		type SlashBounty: Get<Perbill>;

		/// Where slashed KAI goes.
		type Pots: Pots<Self::AccountId>;

		/// Workers' running scores, for display.
		type Scores: RunningScores;

		/// Told before a pool changes.
		type OnPoolChange: OnPoolChange<Self::AccountId>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The number of the next worker; all below it were registered.
	#[pallet::storage]
	pub type NextWorkerId<T> = StorageValue<_, WorkerId, ValueQuery>;

	/// Workers, those included that were deregistered and still have a check, stake or a slash. (Numbers
	/// are given out in order, so they need no hash.)
	#[pallet::storage]
	pub type Workers<T: Config> = StorageMap<_, Identity, WorkerId, RecordOf<T>>;

	/// Workers whose record is gone.
	#[pallet::storage]
	pub type DepartedWorkers<T: Config> = StorageMap<_, Identity, WorkerId, Departed<T::AccountId>>;

	/// Worker keys that are taken. One that was replaced may still be here: it is free once its
	/// successor is in force ([`WorkerRecord::reserved_keys`]).
	///
	/// Not hashed: whoever would lengthen the trie's paths by keys that begin alike has to find each of
	/// them by trying, prove that it holds it, and stake for a worker.
	#[pallet::storage]
	pub type WorkerByKey<T> = StorageMap<_, Identity, WorkerKey, WorkerId>;

	/// Agent keys that are taken, likewise.
	#[pallet::storage]
	pub type WorkerByAgent<T> = StorageMap<_, Identity, AgentKey, WorkerId>;

	/// The workers of each provider, without those that were deregistered.
	#[pallet::storage]
	pub type WorkersByOwner<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, WorkerId, ()>;

	/// What unbonds, by worker and account, oldest first.
	#[pallet::storage]
	pub type Unbondings<T: Config> = StorageDoubleMap<
		_,
		Twox64Concat,
		WorkerId,
		Blake2_128Concat,
		T::AccountId,
		UnbondingsOf<T>,
		ValueQuery,
	>;

	/// Workers by state, kept as they change.
	#[pallet::storage]
	pub type Counts<T> = StorageValue<_, StateCounts, ValueQuery>;

	/// Delegators' shares, by worker and account.
	#[pallet::storage]
	pub type Delegations<T: Config> = StorageDoubleMap<
		_,
		Twox64Concat,
		WorkerId,
		Blake2_128Concat,
		T::AccountId,
		Balance,
		ValueQuery,
	>;

	/// The number of the next slash.
	#[pallet::storage]
	pub type NextSlashId<T> = StorageValue<_, SlashId, ValueQuery>;

	/// Slashes that are queued.
	#[pallet::storage]
	pub type Slashes<T: Config> = StorageMap<_, Identity, SlashId, QueuedSlash<T::AccountId>>;

	/// What the workers that are `Online` or `Rented` have together.
	#[pallet::storage]
	pub type Totals<T> = StorageValue<_, Hardware, ValueQuery>;

	/// Those workers by GPU class.
	#[pallet::storage]
	pub type TotalsByClass<T> = StorageMap<_, Identity, GpuClass, ClassTotals, ValueQuery>;

	/// The indices of idle workers: how long each bucket is, and its first page.
	#[pallet::storage]
	pub type BucketHeads<T> = StorageMap<_, Identity, Bucket, BucketHead, ValueQuery>;

	/// Their pages after the first, without gaps.
	#[pallet::storage]
	pub type BucketPages<T> = StorageMap<_, Identity, (Bucket, u32), IndexPage, ValueQuery>;

	/// Why the pallet holds KAI.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The storage deposit of a worker.
		WorkerDeposit,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A worker was registered. It is `Pending`.
		WorkerRegistered {
			/// The worker.
			worker: WorkerId,
			/// The provider.
			owner: T::AccountId,
			/// What it claims.
			spec: WorkerSpec,
			/// The owner's stake.
			stake: Balance,
		},
		/// A worker's claim was changed.
		WorkerUpdated {
			/// The worker.
			worker: WorkerId,
			/// What it claimed.
			old: WorkerSpec,
			/// What it claims.
			new: WorkerSpec,
		},
		/// A worker gets new keys.
		WorkerKeysSet {
			/// The worker.
			worker: WorkerId,
			/// The new worker key.
			worker_key: WorkerKey,
			/// The new agent key.
			agent_key: AgentKey,
			/// The first round in which they count.
			from: RoundIndex,
		},
		/// A worker gets a new commission.
		CommissionSet {
			/// The worker.
			worker: WorkerId,
			/// The commission now.
			old: Perbill,
			/// The new commission.
			new: Perbill,
			/// The first epoch in which it counts.
			from: EpochIndex,
		},
		/// A worker's price floor was changed.
		PriceFloorSet {
			/// The worker.
			worker: WorkerId,
			/// The floor before, per GPU-hour.
			old: Balance,
			/// The floor now.
			new: Balance,
		},
		/// A worker's state changed.
		WorkerStateChanged {
			/// The worker.
			worker: WorkerId,
			/// Its state before.
			old: WorkerState,
			/// Its state now.
			new: WorkerState,
			/// The first round in which it counts.
			since: RoundIndex,
		},
		/// A worker is due in a solitary check.
		WorkerForced {
			/// The worker.
			worker: WorkerId,
			/// The spot round.
			round: RoundIndex,
			/// It only verifies, and credits no time.
			verify_only: bool,
		},
		/// A worker was deregistered.
		WorkerDeregistered {
			/// The worker.
			worker: WorkerId,
			/// The provider.
			owner: T::AccountId,
		},
		/// The last of a worker was withdrawn, and its record is gone.
		WorkerRemoved {
			/// The worker.
			worker: WorkerId,
		},
		/// The profile of a `Pending` worker does not support its claim.
		VerificationFailed {
			/// The worker.
			worker: WorkerId,
			/// What was verified.
			profile: Profile,
		},
		/// A worker was found offline. Its pending time is void.
		FoundOffline {
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
			/// Its state when it was found.
			state: WorkerState,
			/// The start of the last round that confirmed it.
			last_proof: Option<BlockNumber>,
			/// It attested, and a committee found it offline; if not, it did not even attest.
			attested: bool,
			/// Who reported that it did not attest, if an account did.
			finder: Option<T::AccountId>,
		},
		/// More than half of the votes found a worker's proof false, or no GPU where one was verified.
		FalseProofFound {
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
			/// How many checks in a row.
			in_a_row: u8,
		},
		/// Stake was added.
		Staked {
			/// The worker.
			worker: WorkerId,
			/// Whose.
			who: T::AccountId,
			/// How much.
			amount: Balance,
		},
		/// Stake began to unbond.
		Unstaked {
			/// The worker.
			worker: WorkerId,
			/// Whose.
			who: T::AccountId,
			/// How much.
			amount: Balance,
			/// The first block in which it may be withdrawn.
			until: BlockNumber,
		},
		/// Stake that had unbonded was withdrawn.
		Withdrawn {
			/// The worker.
			worker: WorkerId,
			/// Whose.
			who: T::AccountId,
			/// How much.
			amount: Balance,
		},
		/// A rented worker was there, but the customer's container did not answer.
		ServiceDown {
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
			/// The start of the round that confirmed it before.
			last_proof: Option<BlockNumber>,
		},
		/// A slash was queued, or one that is queued was added to.
		SlashQueued {
			/// The slash.
			slash: SlashId,
			/// The worker.
			worker: WorkerId,
			/// Its level.
			level: SlashLevel,
			/// What was added.
			added: Balance,
			/// What is queued with it.
			amount: Balance,
			/// The first block in which it may be applied.
			due: BlockNumber,
		},
		/// A slash was cancelled.
		SlashCancelled {
			/// The slash.
			slash: SlashId,
			/// The worker.
			worker: WorkerId,
			/// Its level.
			level: SlashLevel,
			/// What would have been slashed.
			amount: Balance,
		},
		/// A worker's pool was slashed.
		Slashed {
			/// The worker.
			worker: WorkerId,
			/// The slash, if it was queued.
			slash: Option<SlashId>,
			/// Its level.
			level: SlashLevel,
			/// Of the owner's stake.
			own: Balance,
			/// Of what the owner had unbonding.
			own_unbonding: Balance,
			/// Of the delegators' stake.
			delegated: Balance,
			/// Of what they had unbonding.
			unbonding: Balance,
		},
		/// A bounty was paid out of a slash.
		BountyPaid {
			/// The worker that was slashed.
			worker: WorkerId,
			/// Who found the fault, or applied the slash.
			who: T::AccountId,
			/// How much.
			amount: Balance,
		},
		/// Shares that are worth nothing were cleared.
		WorthlessCleared {
			/// The worker.
			worker: WorkerId,
			/// Whose.
			who: T::AccountId,
			/// Shares of the delegators' stake; none where it was unbonding pieces alone.
			shares: Balance,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// There is no such worker, or it was deregistered.
		UnknownWorker,
		/// The worker is another's.
		NotOwner,
		/// A key is all zeroes.
		ZeroKey,
		/// A key is another worker's.
		KeyInUse,
		/// The signatures of the keys are not those of this account on this chain.
		BadProof,
		/// There is no such GPU class.
		UnknownGpuClass,
		/// A GPU class without a GPU, or a GPU without a class.
		GpuCountMismatch,
		/// The region is not a country code of ISO 3166-1.
		UnknownRegion,
		/// The owner's stake would be under the minimum of what is claimed.
		StakeBelowMinimum,
		/// The pool would be above the most that it may hold.
		StakeCapReached,
		/// There is not as much stake.
		InsufficientStake,
		/// An amount of 0.
		ZeroAmount,
		/// The worker serves an order.
		WorkerRented,
		/// The worker is suspended until its stake is topped up.
		WorkerSuspended,
		/// The worker is in a state in which this cannot be done.
		WrongState,
		/// The worker is due in a round that is still to come.
		AlreadyDue,
		/// A check of the worker runs, or it is due in a round that runs.
		CheckRunning,
		/// There is no room for another piece of unbonding stake: withdraw first, or wait.
		TooManyUnbondings,
		/// Nothing has unbonded yet.
		NothingToWithdraw,
		/// All numbers of workers are used.
		TooManyWorkers,
		/// Something impossible happened; it is a defect.
		Defensive,
		/// What would move is at stake in a slash that is queued. It can move once that was applied or
		/// cancelled.
		SlashPending,
		/// No such slash is queued.
		UnknownSlash,
		/// The slash may not be applied yet.
		SlashDeferred,
		/// The slash may be applied already, and not be cancelled any more.
		DeferralOver,
		/// There is nothing that could be slashed.
		NothingToSlash,
		/// All of the delegators' stake was slashed, and their shares are not cleared yet.
		DelegationClosed,
		/// The delegation would be worth less than the existential deposit.
		DelegationTooSmall,
		/// What the account has in the pool is worth something, or there is nothing.
		NothingWorthless,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// A worker with its state, profile, stake, reliability and running score.
		pub fn worker(worker: WorkerId) -> Option<WorkerView<T::AccountId>> {
			Self::view_of(worker, Workers::<T>::get(worker)?)
		}

		/// Workers of an account, those that were deregistered left out: at most `limit` (and
		/// [`MAX_PAGE`]) of them, in no order that means anything, after `cursor`, the last one of the
		/// page before. There are no more where fewer come than were asked for.
		pub fn workers_of(
			owner: T::AccountId,
			cursor: Option<WorkerId>,
			limit: u32,
		) -> Vec<WorkerId> {
			let ids = match cursor {
				None => WorkersByOwner::<T>::iter_key_prefix(&owner),
				Some(last) => WorkersByOwner::<T>::iter_key_prefix_from(
					&owner,
					WorkersByOwner::<T>::hashed_key_for(&owner, last),
				),
			};
			ids.take(limit.min(MAX_PAGE) as usize).collect()
		}

		/// Workers by state.
		pub fn counts() -> StateCounts {
			Counts::<T>::get()
		}

		/// The least stake of the owner of a worker that claims these GPUs; `None` for an unknown class.
		pub fn minimum_stake(gpu_class: GpuClass, gpu_count: u8) -> Option<Balance> {
			Self::minimum_for(gpu_class, gpu_count).ok()
		}

		/// The share of a worker's last 32 checks that confirmed it.
		pub fn reliability(worker: WorkerId) -> Option<Perbill> {
			Workers::<T>::get(worker).map(|record| record.history.reliability())
		}

		/// The network in figures: workers by state, GPUs by class, cores, memory, disk, bandwidth.
		pub fn network() -> NetworkTotals {
			NetworkTotals {
				registered: NextWorkerId::<T>::get(),
				workers: Counts::<T>::get(),
				hardware: Totals::<T>::get(),
				// As many as there are GPU classes.
				classes: TotalsByClass::<T>::iter().collect(),
			}
		}

		/// Idle workers with that many verified GPUs of a class, in a region or in all of them.
		pub fn idle_workers(gpu_class: GpuClass, gpu_count: u8, region: Option<[u8; 2]>) -> u32 {
			<Self as Market>::idle(gpu_class, gpu_count, region)
		}

		/// What an account delegates to a worker.
		pub fn delegation(worker: WorkerId, who: T::AccountId) -> DelegationView {
			let shares = Delegations::<T>::get(worker, who);
			let value = Workers::<T>::get(worker)
				.and_then(|record| record.pool.delegated.worth(shares))
				.unwrap_or(0);
			DelegationView { shares, value }
		}

		/// What an account has unbonding in a worker's pool, oldest first.
		pub fn unbonding(worker: WorkerId, who: T::AccountId) -> Vec<UnbondingView> {
			let Some(mut record) = Workers::<T>::get(worker) else {
				return Vec::new();
			};
			let owner = record.owner == who;
			let leaving = *record.pool.leaving(owner);
			Unbondings::<T>::get(worker, who)
				.into_iter()
				.map(|piece| UnbondingView {
					value: leaving.worth(&piece).unwrap_or(0),
					until: piece.until,
				})
				.collect()
		}

		/// A slash that is queued.
		pub fn queued_slash(slash: SlashId) -> Option<QueuedSlash<T::AccountId>> {
			Slashes::<T>::get(slash)
		}

		/// Online and rented blocks of a worker that are not proved yet.
		pub fn pending_time(worker: WorkerId) -> Option<(BlockNumber, BlockNumber)> {
			let record = Workers::<T>::get(worker)?;
			let mark = record.time.at(record.state(), Self::now());
			Some((mark.online, mark.rented))
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Registers a worker of the caller.
		///
		/// Takes the fee and a storage deposit, moves the stake into the pot. The worker is `Pending`
		/// and due in the next round, which verifies what it claims.
		///
		/// Origin: signed, the provider.
		///
		/// - `spec`: what the worker claims; units as in [`WorkerSpec`].
		/// - `worker_key`, `agent_key`: its keys, unique across workers.
		/// - `stake`: the owner's stake, in units of 10⁻¹⁸ KAI; at least the minimum for the claim.
		/// - `proof`: signatures of both keys over
		///   [`possession_payload`](kaisar_primitives::keys::possession_payload).
		///
		/// Errors: `UnknownGpuClass`, `GpuCountMismatch`, `UnknownRegion`, `ZeroKey`, `KeyInUse`,
		/// `BadProof`, `StakeBelowMinimum`, `StakeCapReached`, `TooManyWorkers`, and those of the token.
		///
		/// Events: `WorkerRegistered`, `WorkerForced`.
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::register_worker())]
		pub fn register_worker(
			origin: OriginFor<T>,
			spec: WorkerSpec,
			worker_key: WorkerKey,
			agent_key: AgentKey,
			#[pallet::compact] stake: Balance,
			proof: KeyProof,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_register(
				who,
				spec,
				WorkerKeys {
					worker: worker_key,
					agent: agent_key,
				},
				stake,
				proof,
			)
		}

		/// Changes what a worker claims.
		///
		/// Takes the fee. The worker is `Pending` and due in the next round, or the first one after a
		/// running delay; what it had pending is not credited any more.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker, not `Rented` or `Suspended`, and in no check.
		/// - `spec`: what it claims from now on; the owner's stake must reach its minimum.
		///
		/// Errors: `UnknownWorker`, `NotOwner`, `WorkerRented`, `WorkerSuspended`, `CheckRunning`,
		/// `UnknownGpuClass`, `GpuCountMismatch`, `UnknownRegion`, `StakeBelowMinimum`, and those of the
		/// token.
		///
		/// Events: `WorkerUpdated`, `WorkerStateChanged`, `WorkerForced`.
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::update_worker())]
		pub fn update_worker(
			origin: OriginFor<T>,
			worker: WorkerId,
			spec: WorkerSpec,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_update(who, worker, spec)
		}

		/// Gives a worker new keys, from the next round.
		///
		/// The old ones stay reserved until then. Keys that were set before and are not in force yet are
		/// replaced.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker.
		/// - `worker_key`, `agent_key`: its new keys, unique across workers; either may stay as it is.
		/// - `proof`: as in [`register_worker`](Self::register_worker).
		///
		/// Errors: `UnknownWorker`, `NotOwner`, `ZeroKey`, `KeyInUse`, `BadProof`, and `CheckRunning`
		/// where a round runs that needs the keys before the present ones.
		///
		/// Events: `WorkerKeysSet`.
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::set_worker_keys())]
		pub fn set_worker_keys(
			origin: OriginFor<T>,
			worker: WorkerId,
			worker_key: WorkerKey,
			agent_key: AgentKey,
			proof: KeyProof,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let keys = WorkerKeys {
				worker: worker_key,
				agent: agent_key,
			};
			Self::do_set_keys(who, worker, keys, proof)
		}

		/// Sets the delegators' share of a worker's reward, after one whole epoch's notice. It replaces
		/// one that was announced and does not count yet.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker.
		/// - `commission`: the share, in parts of 10⁹.
		///
		/// Errors: `UnknownWorker`, `NotOwner`.
		///
		/// Events: `CommissionSet`.
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::set_commission())]
		pub fn set_commission(
			origin: OriginFor<T>,
			worker: WorkerId,
			commission: Perbill,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_commission(who, worker, commission)
		}

		/// Sets the price below which a worker is never matched. Orders that run are not touched.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker.
		/// - `price_per_gpu_hour`: the floor, in units of 10⁻¹⁸ KAI; 0 for none.
		///
		/// Errors: `UnknownWorker`, `NotOwner`.
		///
		/// Events: `PriceFloorSet`.
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::set_price_floor())]
		pub fn set_price_floor(
			origin: OriginFor<T>,
			worker: WorkerId,
			#[pallet::compact] price_per_gpu_hour: Balance,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_price_floor(who, worker, price_per_gpu_hour)
		}

		/// Takes a worker away. It counts from the next round: a check that runs, or that the worker is
		/// due in, goes on. A check that would only have verified it, in a round still to come, does not.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker, `Pending` or `Online`.
		///
		/// Errors: `UnknownWorker`, `NotOwner`, `WorkerRented`, `WorkerSuspended`, `WrongState`.
		///
		/// Events: `WorkerStateChanged`.
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::go_offline())]
		pub fn go_offline(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_offline(who, worker)
		}

		/// Brings a worker back, or has one verified again whose verification failed.
		///
		/// The worker is `Pending` and due in the next round, or the first one after a running delay;
		/// what it had pending is not credited any more.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker, `Offline` or `Pending`, and in no check.
		///
		/// Errors: `UnknownWorker`, `NotOwner`, `WorkerRented`, `WorkerSuspended`, `WrongState`,
		/// `AlreadyDue`, `CheckRunning`, `StakeBelowMinimum`.
		///
		/// Events: `WorkerStateChanged`, `WorkerForced`.
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::go_online())]
		pub fn go_online(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_online(who, worker)
		}

		/// Takes a worker away for good. It counts from the next round, as for
		/// [`go_offline`](Self::go_offline). The deposit is released, and all stake unbonds, the delegators'
		/// too.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker, not `Rented`.
		///
		/// Errors: `UnknownWorker`, `NotOwner`, `WorkerRented`.
		///
		/// Events: `Unstaked`, `WorkerStateChanged`, `WorkerDeregistered`.
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::deregister_worker())]
		pub fn deregister_worker(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_deregister(who, worker)
		}

		/// Adds stake to a worker's pool: the owner's own, or a delegator's, who gets shares. A `Suspended`
		/// worker whose owner reaches the minimum is `Offline` again.
		///
		/// Origin: signed, anyone.
		///
		/// - `worker`: the worker.
		/// - `amount`: in units of 10⁻¹⁸ KAI.
		///
		/// Errors: `ZeroAmount`, `UnknownWorker`, `StakeCapReached` (the owner may always reach the
		/// minimum), and those of the token; for a delegator also `SlashPending` where a queued slash would
		/// reach delegators, `DelegationClosed`, `DelegationTooSmall`.
		///
		/// Events: `Staked`, `WorkerStateChanged`.
		#[pallet::call_index(8)]
		#[pallet::weight(T::WeightInfo::stake())]
		pub fn stake(
			origin: OriginFor<T>,
			worker: WorkerId,
			#[pallet::compact] amount: Balance,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_stake(who, worker, amount)
		}

		/// Takes stake out of a worker's pool. It unbonds, can still be slashed, and may be withdrawn
		/// when that is over.
		///
		/// Delegators of a worker that was deregistered need not call this: their stake has begun to unbond
		/// with the owner's.
		///
		/// Origin: signed, whoever has stake there.
		///
		/// - `worker`: the worker.
		/// - `amount`: in units of 10⁻¹⁸ KAI. The owner's minimum must stay; of a delegation all or at least
		///   the existential deposit.
		///
		/// Errors: `ZeroAmount`, `UnknownWorker`, `InsufficientStake`, `TooManyUnbondings`; for the owner
		/// `StakeBelowMinimum`; for a delegator `SlashPending` where a queued slash would reach delegators, and
		/// `DelegationTooSmall`.
		///
		/// Events: `Unstaked`.
		#[pallet::call_index(9)]
		#[pallet::weight(T::WeightInfo::unstake())]
		pub fn unstake(
			origin: OriginFor<T>,
			worker: WorkerId,
			#[pallet::compact] amount: Balance,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_unstake(who, worker, amount)
		}

		/// Pays out what the caller had unbonding in a worker's pool and has unbonded; to a delegator of a
		/// worker that was deregistered, also what it delegated. Where that was the last of a worker that
		/// was deregistered, its record goes.
		///
		/// Origin: signed, whoever has something unbonding.
		///
		/// - `worker`: the worker, deregistered or not.
		///
		/// Errors: `UnknownWorker`, `NothingToWithdraw`, `SlashPending` where a queued slash would reach what
		/// is withdrawn, and `CheckRunning` where a check of a deregistered worker goes on.
		///
		/// Events: `Withdrawn`, `WorkerRemoved`.
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::withdraw_unbonded())]
		pub fn withdraw_unbonded(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_withdraw(who, worker)
		}

		/// Slashes a worker by hand: 10 % of its pool (level 1) or 50 % (level 2) after the deferral, or all
		/// of it at once (level 3). All goes to the provider pot.
		///
		/// Origin: `AdminOrigin`.
		///
		/// - `worker`: the worker, deregistered or not.
		/// - `level`: the level.
		///
		/// Errors: `UnknownWorker`, `NothingToSlash`.
		///
		/// Events: `SlashQueued`, or `Slashed` and `WorkerStateChanged`.
		#[pallet::call_index(11)]
		#[pallet::weight(T::WeightInfo::slash())]
		pub fn slash(origin: OriginFor<T>, worker: WorkerId, level: SlashLevel) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_slash(worker, level)
		}

		/// Cancels a slash that is queued.
		///
		/// Origin: `AdminOrigin`.
		///
		/// - `id`: the slash, before its day.
		///
		/// Errors: `UnknownSlash`, `DeferralOver`.
		///
		/// Events: `SlashCancelled`.
		#[pallet::call_index(12)]
		#[pallet::weight(T::WeightInfo::cancel_slash())]
		pub fn cancel_slash(origin: OriginFor<T>, id: SlashId) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_cancel_slash(id)
		}

		/// Applies a slash whose deferral is over. The caller gets the bounty, and shares it with the account
		/// that found the fault, if one did. Where the owner's stake is below the minimum then, the worker
		/// is `Suspended`, or will be when its order closes.
		///
		/// Origin: signed, anyone.
		///
		/// - `id`: the slash.
		///
		/// Errors: `UnknownSlash`, `SlashDeferred`.
		///
		/// Events: `Slashed`, `BountyPaid`, `WorkerStateChanged`, `WorkerRemoved`.
		#[pallet::call_index(13)]
		#[pallet::weight(T::WeightInfo::apply_slash())]
		pub fn apply_slash(origin: OriginFor<T>, id: SlashId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_apply_slash(who, id)
		}

		/// Clears what an account has in a worker's pool and slashes have made worthless: so the worker can
		/// be delegated to again, or its record can go. It goes, too, where a deregistered worker has
		/// nothing left and only a check was in the way.
		///
		/// Origin: signed, anyone.
		///
		/// - `worker`: the worker, deregistered or not.
		/// - `who`: whose shares.
		///
		/// Errors: `UnknownWorker`, `NothingWorthless`.
		///
		/// Events: `WorthlessCleared`, `WorkerRemoved`.
		#[pallet::call_index(14)]
		#[pallet::weight(T::WeightInfo::clear_worthless())]
		pub fn clear_worthless(
			origin: OriginFor<T>,
			worker: WorkerId,
			who: T::AccountId,
		) -> DispatchResult {
			ensure_signed(origin)?;
			Self::do_clear_worthless(worker, who)
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn integrity_test() {
			assert!(
				T::MaxUnbonding::get() >= 2,
				"one to unstake, one to deregister"
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
