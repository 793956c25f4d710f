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
//! - **Pool**: the owner's stake, the delegators' part, and what is unbonding.
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
//! One night the machine is found offline: it is `Offline`, its pending time is void. In the morning
//! Petra calls `go_online`, and it is `Pending` and marked again. When she sells it she calls
//! [`deregister_worker`](Call::deregister_worker): the deposit is back at once, the stake unbonds,
//! and when she has withdrawn it ([`withdraw_unbonded`](Call::withdraw_unbonded)) nothing is left of
//! the worker but a note of who owned it, so that its last reward finds its way.
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
//! worker's. So a slash is one transfer. Delegators' shares and slashes have their place in
//! [`StakePool`]; until they are there, only a worker's owner can stake ([`Error::NotOwner`]).
//!
//! ## Size
//!
//! Nothing loops over workers. A check that confirms a worker reads and writes one item of this
//! pallet, its record.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod hardware;
#[cfg(test)]
mod mock;
mod regions;
mod registry;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
mod try_state;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::*;
pub use weights::WeightInfo;

use alloc::vec::Vec;
use frame_support::{
	PalletId,
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
	KeyProof, OnPoolChange, PoolId, Profile, RoundIndex, WorkerId, WorkerKey, WorkerSpec,
	WorkerState,
	keys::{self, KeyRole},
};
use sp_core::H256;
use sp_runtime::{
	ArithmeticError, Perbill,
	traits::{AccountIdConversion, SaturatedConversion},
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

		/// Told before a pool changes.
		type OnPoolChange: OnPoolChange<Self::AccountId>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The number of the next worker; all below it were registered.
	#[pallet::storage]
	pub type NextWorkerId<T> = StorageValue<_, WorkerId, ValueQuery>;

	/// Workers, those included that were deregistered and still have a check or stake.
	#[pallet::storage]
	pub type Workers<T: Config> = StorageMap<_, Twox64Concat, WorkerId, RecordOf<T>>;

	/// Workers whose record is gone.
	#[pallet::storage]
	pub type DepartedWorkers<T: Config> =
		StorageMap<_, Twox64Concat, WorkerId, Departed<T::AccountId>>;

	/// Worker keys that are taken. One that was replaced may still be here: it is free once its
	/// successor is in force ([`WorkerRecord::reserved_keys`]).
	#[pallet::storage]
	pub type WorkerByKey<T> = StorageMap<_, Blake2_128Concat, WorkerKey, WorkerId>;

	/// Agent keys that are taken, likewise.
	#[pallet::storage]
	pub type WorkerByAgent<T> = StorageMap<_, Blake2_128Concat, AgentKey, WorkerId>;

	/// The workers of each provider, without those that were deregistered.
	#[pallet::storage]
	pub type WorkersByOwner<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Twox64Concat, WorkerId, ()>;

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
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// A worker's whole record.
		pub fn worker(worker: WorkerId) -> Option<RecordOf<T>> {
			Workers::<T>::get(worker)
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
		/// [`go_offline`](Self::go_offline). The deposit is released, and the owner's stake unbonds.
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

		/// Adds stake to a worker's pool. A `Suspended` worker whose owner reaches the minimum is
		/// `Offline` again.
		///
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker.
		/// - `amount`: in units of 10⁻¹⁸ KAI.
		///
		/// Errors: `ZeroAmount`, `UnknownWorker`, `NotOwner`, `StakeCapReached` (the owner may always
		/// reach the minimum), and those of the token.
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
		/// Origin: signed, the worker's owner.
		///
		/// - `worker`: the worker.
		/// - `amount`: in units of 10⁻¹⁸ KAI; the minimum must stay.
		///
		/// Errors: `ZeroAmount`, `UnknownWorker`, `NotOwner`, `InsufficientStake`, `StakeBelowMinimum`,
		/// `TooManyUnbondings`.
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

		/// Pays out what the caller had unbonding in a worker's pool and has unbonded. Where that was
		/// the last of a worker that was deregistered, its record goes.
		///
		/// Origin: signed, whoever has something unbonding.
		///
		/// - `worker`: the worker, deregistered or not.
		///
		/// Errors: `UnknownWorker`, `NothingToWithdraw`, and `CheckRunning` where a check of a
		/// deregistered worker goes on.
		///
		/// Events: `Withdrawn`, `WorkerRemoved`.
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::withdraw_unbonded())]
		pub fn withdraw_unbonded(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_withdraw(who, worker)
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

/// The calls.
impl<T: Config> Pallet<T> {
	fn do_register(
		who: T::AccountId,
		spec: WorkerSpec,
		keys: WorkerKeys,
		stake: Balance,
		proof: KeyProof,
	) -> DispatchResult {
		let minimum = Self::ensure_spec(&spec)?;
		Self::ensure_keys(&who, None, &keys, &proof)?;
		ensure!(stake >= minimum, Error::<T>::StakeBelowMinimum);
		Self::ensure_cap(stake, stake, minimum)?;

		let worker = Self::insert(&who, spec, keys, stake)?;
		let fee = T::RegistrationFee::get();
		T::Currency::transfer(&who, &T::FeeDestination::get(), fee, Preservation::Preserve)?;
		T::Currency::transfer(&who, &Self::pot(), stake, Preservation::Preserve)?;
		Self::deposit_event(Event::WorkerRegistered {
			worker,
			owner: who,
			spec,
			stake,
		});
		Self::mutate(worker, |record| {
			Self::schedule_verification(worker, record);
			Ok(())
		})
	}

	fn do_update(who: T::AccountId, worker: WorkerId, spec: WorkerSpec) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		ensure!(
			record.state() != WorkerState::Suspended,
			Error::<T>::WorkerSuspended
		);
		Self::ensure_unchecked(worker, &record)?;
		let minimum = Self::ensure_spec(&spec)?;
		ensure!(record.pool.own >= minimum, Error::<T>::StakeBelowMinimum);

		let fee = T::RegistrationFee::get();
		T::Currency::transfer(&who, &T::FeeDestination::get(), fee, Preservation::Preserve)?;
		let old = core::mem::replace(&mut record.spec, spec);
		Self::deposit_event(Event::WorkerUpdated {
			worker,
			old,
			new: spec,
		});
		Self::set_state(worker, &mut record, WorkerState::Pending);
		Self::schedule_verification(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	fn do_set_keys(
		who: T::AccountId,
		worker: WorkerId,
		keys: WorkerKeys,
		proof: KeyProof,
	) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		Self::ensure_keys(&who, Some(worker), &keys, &proof)?;
		let next_round = T::Checks::next_round();
		if let Some((from, present)) = record.next_keys.clone()
			&& from < next_round
		{
			// The keys before the present ones are forgotten: no round may need them.
			if from > T::Checks::oldest_round() {
				Self::ensure_unchecked(worker, &record)?;
			}
			record.next_keys = None;
			Self::release_keys(worker, &core::mem::replace(&mut record.keys, present));
		}

		if let Some((_, replaced)) = record.next_keys.take() {
			Self::release_keys(worker, &replaced);
		}
		let (worker_key, agent_key) = (keys.worker.clone(), keys.agent);
		record.next_keys = Some((next_round, keys));
		for keys in record.reserved_keys(next_round) {
			Self::reserve_keys(worker, keys);
		}
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::WorkerKeysSet {
			worker,
			worker_key,
			agent_key,
			from: next_round,
		});
		Ok(())
	}

	fn do_set_commission(who: T::AccountId, worker: WorkerId, new: Perbill) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		let epoch = T::CurrentEpoch::get();
		let old = record.commission.in_epoch(epoch);
		let from = record
			.commission
			.announce(new, epoch)
			.ok_or(ArithmeticError::Overflow)?;

		T::OnPoolChange::before_change(PoolId::Worker(worker), None)?;
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::CommissionSet {
			worker,
			old,
			new,
			from,
		});
		Ok(())
	}

	fn do_set_price_floor(who: T::AccountId, worker: WorkerId, new: Balance) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		let old = core::mem::replace(&mut record.price_floor, new);
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::PriceFloorSet { worker, old, new });
		Ok(())
	}

	fn do_go_offline(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		match record.state() {
			WorkerState::Pending | WorkerState::Online => {}
			WorkerState::Suspended => return Err(Error::<T>::WorkerSuspended.into()),
			WorkerState::Offline | WorkerState::Rented => {
				return Err(Error::<T>::WrongState.into());
			}
		}

		Self::leave(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	fn do_go_online(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		match record.state() {
			WorkerState::Pending | WorkerState::Offline => {}
			WorkerState::Suspended => return Err(Error::<T>::WorkerSuspended.into()),
			WorkerState::Online | WorkerState::Rented => return Err(Error::<T>::WrongState.into()),
		}
		let next_round = T::Checks::next_round();
		ensure!(
			record.forced.is_none_or(|forced| forced.round < next_round),
			Error::<T>::AlreadyDue
		);
		Self::ensure_unchecked(worker, &record)?;
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		ensure!(record.pool.own >= minimum, Error::<T>::StakeBelowMinimum);

		Self::set_state(worker, &mut record, WorkerState::Pending);
		Self::schedule_verification(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	fn do_deregister(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::touched(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		let ticket = record
			.deposit
			.take()
			.defensive()
			.ok_or(Error::<T>::Defensive)?;

		T::OnPoolChange::before_change(PoolId::Worker(worker), Some(&who))?;
		let amount = record.pool.own;
		if amount > 0 {
			// The last place in the queue is kept for this.
			Self::unbond(worker, &who, &mut record, amount, T::MaxUnbonding::get())?;
		}
		ticket.drop(&who)?;
		// From here on the worker is in no counter, whatever its state.
		Self::count(record.state(), None);
		Self::leave(worker, &mut record);
		WorkersByOwner::<T>::remove(&who, worker);
		// A check that goes on needs the keys, and frees them when it is closed.
		if !T::Checks::is_open(worker) && !T::Checks::is_due(worker) {
			Self::release_all_keys(worker, &record);
		}
		Self::deposit_event(Event::WorkerDeregistered { worker, owner: who });
		if record.pool.is_empty() && Self::ensure_unchecked(worker, &record).is_ok() {
			Self::remove(worker, record)
		} else {
			Workers::<T>::insert(worker, record);
			Ok(())
		}
	}

	fn do_stake(who: T::AccountId, worker: WorkerId, amount: Balance) -> DispatchResult {
		ensure!(amount > 0, Error::<T>::ZeroAmount);
		let mut record = Self::touched(worker, &who)?;
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		let mut pool = record.pool;
		pool.own = pool
			.own
			.checked_add(amount)
			.ok_or(ArithmeticError::Overflow)?;
		let bonded = pool.bonded().ok_or(ArithmeticError::Overflow)?;
		Self::ensure_cap(bonded, pool.own, minimum)?;

		T::OnPoolChange::before_change(PoolId::Worker(worker), Some(&who))?;
		T::Currency::transfer(&who, &Self::pot(), amount, Preservation::Preserve)?;
		record.pool = pool;
		Self::deposit_event(Event::Staked {
			worker,
			who,
			amount,
		});
		if record.state() == WorkerState::Suspended && pool.own >= minimum {
			Self::set_state(worker, &mut record, WorkerState::Offline);
		}
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	fn do_unstake(who: T::AccountId, worker: WorkerId, amount: Balance) -> DispatchResult {
		ensure!(amount > 0, Error::<T>::ZeroAmount);
		let mut record = Self::touched(worker, &who)?;
		let left = record
			.pool
			.own
			.checked_sub(amount)
			.ok_or(Error::<T>::InsufficientStake)?;
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		ensure!(left >= minimum, Error::<T>::StakeBelowMinimum);

		T::OnPoolChange::before_change(PoolId::Worker(worker), Some(&who))?;
		let room = T::MaxUnbonding::get().saturating_sub(1);
		Self::unbond(worker, &who, &mut record, amount, room)?;
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	fn do_withdraw(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		T::Checks::touch(worker);
		let mut record = Workers::<T>::get(worker).ok_or(Error::<T>::UnknownWorker)?;
		if record.is_gone() {
			Self::ensure_unchecked(worker, &record)?;
		}
		let now = Self::now();
		let mut queue = Unbondings::<T>::get(worker, &who);
		let mut amount: Balance = 0;
		for piece in queue.iter().take_while(|piece| piece.until <= now) {
			let worth = record
				.pool
				.withdraw(piece.shares)
				.ok_or(ArithmeticError::Underflow)?;
			amount = amount.checked_add(worth).ok_or(ArithmeticError::Overflow)?;
		}
		let before = queue.len();
		queue.retain(|piece| piece.until > now);
		ensure!(queue.len() < before, Error::<T>::NothingToWithdraw);

		T::Currency::transfer(&Self::pot(), &who, amount, Preservation::Expendable)?;
		if queue.is_empty() {
			Unbondings::<T>::remove(worker, &who);
		} else {
			Unbondings::<T>::insert(worker, &who, queue);
		}
		Self::deposit_event(Event::Withdrawn {
			worker,
			who,
			amount,
		});
		if record.is_gone() && record.pool.is_empty() {
			Self::remove(worker, record)
		} else {
			Workers::<T>::insert(worker, record);
			Ok(())
		}
	}
}

/// Guards.
impl<T: Config> Pallet<T> {
	/// Touches the worker, so that a check that is over is closed, and returns its record if it is
	/// `who`'s.
	fn touched(worker: WorkerId, who: &T::AccountId) -> Result<RecordOf<T>, DispatchError> {
		T::Checks::touch(worker);
		let record = Workers::<T>::get(worker)
			.filter(|record| !record.is_gone())
			.ok_or(Error::<T>::UnknownWorker)?;
		ensure!(record.owner == *who, Error::<T>::NotOwner);
		Ok(record)
	}

	/// The claim is one that can be made. Returns the least stake for it.
	fn ensure_spec(spec: &WorkerSpec) -> Result<Balance, DispatchError> {
		ensure!(
			T::Classes::score(spec.gpu_class).is_some(),
			Error::<T>::UnknownGpuClass
		);
		ensure!(
			(spec.gpu_class == 0) == (spec.gpu_count == 0),
			Error::<T>::GpuCountMismatch
		);
		ensure!(regions::is_known(spec.region), Error::<T>::UnknownRegion);
		Self::minimum_for(spec.gpu_class, spec.gpu_count)
	}

	/// The keys are `who`'s, and no worker's but `worker`.
	fn ensure_keys(
		who: &T::AccountId,
		worker: Option<WorkerId>,
		keys: &WorkerKeys,
		proof: &KeyProof,
	) -> DispatchResult {
		ensure!(
			!keys::is_zero(&keys.worker) && !keys::is_zero(&keys.agent),
			Error::<T>::ZeroKey
		);
		let next_round = T::Checks::next_round();
		let taken = |holder: Option<WorkerId>, is_it: &dyn Fn(&WorkerKeys) -> bool| {
			holder
				.filter(|holder| Some(*holder) != worker)
				.and_then(Workers::<T>::get)
				.is_some_and(|record| record.reserved_keys(next_round).any(is_it))
		};
		let by_key = WorkerByKey::<T>::get(&keys.worker);
		ensure!(
			!taken(by_key, &|held| held.worker == keys.worker),
			Error::<T>::KeyInUse
		);
		let by_agent = WorkerByAgent::<T>::get(keys.agent);
		ensure!(
			!taken(by_agent, &|held| held.agent == keys.agent),
			Error::<T>::KeyInUse
		);

		let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default());
		let key = <&[u8; 32]>::try_from(keys.worker.as_ref() as &[u8])
			.map_err(|_| Error::<T>::Defensive)?;
		ensure!(
			proof.verify(KeyRole::Worker, genesis, who, key, &keys.agent),
			Error::<T>::BadProof
		);
		Ok(())
	}

	/// The pool is not above the most it may hold, except where the owner only reaches the minimum.
	fn ensure_cap(bonded: Balance, own: Balance, minimum: Balance) -> DispatchResult {
		ensure!(
			bonded <= T::MaxStake::get() || own <= minimum,
			Error::<T>::StakeCapReached
		);
		Ok(())
	}

	fn ensure_not_rented(record: &RecordOf<T>) -> DispatchResult {
		ensure!(
			record.state() != WorkerState::Rented,
			Error::<T>::WorkerRented
		);
		Ok(())
	}

	/// No check of the worker runs, and no running round can still have one of it: so its owner may
	/// change what a check goes by.
	fn ensure_unchecked(worker: WorkerId, record: &RecordOf<T>) -> DispatchResult {
		ensure!(
			!T::Checks::is_open(worker) && !T::Checks::is_due(worker),
			Error::<T>::CheckRunning
		);
		// It may have been due and not have attested, and can still be reported.
		let running = T::Checks::oldest_round()..T::Checks::next_round();
		let due = record
			.forced
			.is_some_and(|forced| running.contains(&forced.round));
		let seen_online = record.standings.before.is_some_and(|before| {
			matches!(before.state, WorkerState::Online | WorkerState::Rented)
				&& record.standings.now.since > running.start
		});
		ensure!(!due && !seen_online, Error::<T>::CheckRunning);
		Ok(())
	}
}

/// What calls and checks have in common.
impl<T: Config> Pallet<T> {
	/// The account that holds all stake.
	pub fn pot() -> T::AccountId {
		T::PalletId::get().into_account_truncating()
	}

	pub(crate) fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Blocks for which stake unbonds: a day longer than slashes are deferred, at least.
	pub fn unbonding_period() -> BlockNumber {
		T::Unbonding::get().max(T::SlashDeferral::get().saturating_add(DAYS))
	}

	/// What a worker's entries take together: the record, two keys, and its place among its owner's.
	pub fn footprint() -> Footprint {
		let keys = 2 * <(WorkerKey, WorkerId)>::max_encoded_len();
		let owner = <(T::AccountId, WorkerId)>::max_encoded_len();
		Footprint::from_parts(1, RecordOf::<T>::max_encoded_len() + keys + owner)
	}

	fn minimum_for(gpu_class: GpuClass, gpu_count: u8) -> Result<Balance, DispatchError> {
		let score = T::Classes::score(gpu_class).ok_or(Error::<T>::UnknownGpuClass)?;
		let (base, per_score) = (T::BaseStake::get(), T::StakePerScore::get());
		kaisar_math::stake::minimum(base, per_score, score, gpu_count)
			.ok_or_else(|| ArithmeticError::Overflow.into())
	}

	pub(crate) fn mutate<R>(
		worker: WorkerId,
		change: impl FnOnce(&mut RecordOf<T>) -> Result<R, DispatchError>,
	) -> Result<R, DispatchError> {
		Workers::<T>::try_mutate(worker, |record| {
			change(record.as_mut().ok_or(Error::<T>::UnknownWorker)?)
		})
	}

	/// Enters a new worker, `Pending`, and takes its deposit.
	pub(crate) fn insert(
		owner: &T::AccountId,
		spec: WorkerSpec,
		keys: WorkerKeys,
		stake: Balance,
	) -> Result<WorkerId, DispatchError> {
		let worker = NextWorkerId::<T>::get();
		let next = worker.checked_add(1).ok_or(Error::<T>::TooManyWorkers)?;
		let deposit = T::Consideration::new(owner, Self::footprint())?;
		T::OnPoolChange::before_change(PoolId::Worker(worker), Some(owner))?;

		NextWorkerId::<T>::put(next);
		Self::reserve_keys(worker, &keys);
		WorkersByOwner::<T>::insert(owner, worker, ());
		Self::count(None, WorkerState::Pending);
		let record = WorkerRecord {
			owner: owner.clone(),
			deposit: Some(deposit),
			spec,
			keys,
			next_keys: None,
			standings: kaisar_primitives::Standings::new(
				WorkerState::Pending,
				T::Checks::next_round(),
			),
			forced: None,
			profile: None,
			gpu_stood: false,
			false_proofs: 0,
			time: PendingTime::empty(Self::now()),
			proved_at: None,
			history: History::default(),
			failures: 0,
			retry_from: 0,
			price_floor: 0,
			commission: Commission::default(),
			order: None,
			pool: StakePool {
				own: stake,
				..Default::default()
			},
		};
		Workers::<T>::insert(worker, record);
		Ok(worker)
	}

	/// Moves the worker to `new`, counted from the next round.
	pub(crate) fn set_state(worker: WorkerId, record: &mut RecordOf<T>, new: WorkerState) {
		let old = record.state();
		if old == new {
			return;
		}
		let since = T::Checks::next_round();
		record.time.change(old, new, Self::now());
		record.standings.change(new, since);
		if !record.is_gone() {
			Self::count(old, new);
		}
		Self::deposit_event(Event::WorkerStateChanged {
			worker,
			old,
			new,
			since,
		});
	}

	/// The owner takes the worker away. A check in a round still to come goes on as well, unless it
	/// would only have verified the worker.
	fn leave(worker: WorkerId, record: &mut RecordOf<T>) {
		let next_round = T::Checks::next_round();
		record.forced = record
			.forced
			.filter(|forced| !forced.verify_only || forced.round < next_round);
		Self::set_state(worker, record, WorkerState::Offline);
	}

	/// Marks the worker for the first round in which it may be verified.
	fn schedule_verification(worker: WorkerId, record: &mut RecordOf<T>) {
		let round = T::Checks::next_round().max(record.retry_from);
		Self::set_forced(
			worker,
			record,
			Forced {
				round,
				verify_only: true,
			},
		);
	}

	pub(crate) fn set_forced(worker: WorkerId, record: &mut RecordOf<T>, forced: Forced) {
		record.forced = Some(forced);
		let Forced { round, verify_only } = forced;
		Self::deposit_event(Event::WorkerForced {
			worker,
			round,
			verify_only,
		});
	}

	/// A verification failed: the next one waits 1, 2, 4 … rounds.
	pub(crate) fn delay_verification(record: &mut RecordOf<T>) {
		record.failures = record.failures.saturating_add(1);
		let delay = kaisar_math::stake::retry_delay(record.failures.into()).min(MAX_DELAY);
		// Spot rounds have even numbers.
		let delay: RoundIndex = 2 * delay;
		record.retry_from = T::Checks::next_round().saturating_add(delay);
	}

	/// Counts a worker that leaves one state and enters another.
	fn count(old: impl Into<Option<WorkerState>>, new: impl Into<Option<WorkerState>>) {
		Counts::<T>::mutate(|counts| {
			if let Some(old) = old.into() {
				let count = counts.of(old);
				*count = count.checked_sub(1).defensive_unwrap_or(0);
			}
			if let Some(new) = new.into() {
				let count = counts.of(new);
				*count = count.checked_add(1).defensive_unwrap_or(u32::MAX);
			}
		})
	}

	/// Moves `amount` of the owner's stake into the queue, where at most `room` pieces may be then.
	fn unbond(
		worker: WorkerId,
		who: &T::AccountId,
		record: &mut RecordOf<T>,
		amount: Balance,
		room: u32,
	) -> DispatchResult {
		let until = Self::now()
			.checked_add(Self::unbonding_period())
			.ok_or(ArithmeticError::Overflow)?;
		let mut queue = Unbondings::<T>::get(worker, who);
		// The period may have been shortened: the queue stays in order.
		let until = queue.last().map_or(until, |last| last.until.max(until));
		let shares = record
			.pool
			.unbond_own(amount)
			.ok_or(ArithmeticError::Overflow)?;
		match queue.last_mut().filter(|last| last.until == until) {
			Some(last) => {
				last.shares = last
					.shares
					.checked_add(shares)
					.ok_or(ArithmeticError::Overflow)?;
			}
			None => {
				ensure!((queue.len() as u32) < room, Error::<T>::TooManyUnbondings);
				queue
					.try_push(Unbonding { shares, until })
					.map_err(|_| Error::<T>::TooManyUnbondings)?;
			}
		}
		Unbondings::<T>::insert(worker, who, queue);
		Self::deposit_event(Event::Unstaked {
			worker,
			who: who.clone(),
			amount,
			until,
		});
		Ok(())
	}

	fn reserve_keys(worker: WorkerId, keys: &WorkerKeys) {
		WorkerByKey::<T>::insert(&keys.worker, worker);
		WorkerByAgent::<T>::insert(keys.agent, worker);
	}

	/// Frees keys, unless another worker has them by now.
	fn release_keys(worker: WorkerId, keys: &WorkerKeys) {
		if WorkerByKey::<T>::get(&keys.worker) == Some(worker) {
			WorkerByKey::<T>::remove(&keys.worker);
		}
		if WorkerByAgent::<T>::get(keys.agent) == Some(worker) {
			WorkerByAgent::<T>::remove(keys.agent);
		}
	}

	pub(crate) fn release_all_keys(worker: WorkerId, record: &RecordOf<T>) {
		Self::release_keys(worker, &record.keys);
		if let Some((_, keys)) = &record.next_keys {
			Self::release_keys(worker, keys);
		}
	}

	/// Removes the record of a deregistered worker that has nothing left.
	fn remove(worker: WorkerId, record: RecordOf<T>) -> DispatchResult {
		T::OnPoolChange::before_change(PoolId::Worker(worker), None)?;
		Self::release_all_keys(worker, &record);
		let WorkerRecord {
			owner, commission, ..
		} = record;
		Workers::<T>::remove(worker);
		DepartedWorkers::<T>::insert(worker, Departed { owner, commission });
		Self::deposit_event(Event::WorkerRemoved { worker });
		Ok(())
	}
}
