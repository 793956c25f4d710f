//! # Providers
//!
//! The registry of workers: the owner of each machine, its claim, its verified hardware, its state, its
//! stake, and its time not yet proved.
//!
//! ## Terms
//!
//! - **Provider**: an account that owns workers. **Worker**: one machine of a provider, identified by its
//!   number.
//! - **Claim**: the hardware that the provider declares ([`WorkerSpec`]). **Profile**: the hardware that a
//!   committee verified ([`Profile`]).
//! - **Mark**, or *forced*: the spot round in which a worker is due once. If a census starts in the same
//!   block, an idle worker is due in the census instead, whose check is then full and uses up the mark.
//! - **Pending time**: rented blocks since the last proof. They are worth nothing before a check proves
//!   them.
//! - **Pool**: the owner's stake, the delegators' stake, and the unbonding stake of both.
//! - **Delegator**: an account that stakes on a worker that it does not own.
//! - **Idle**: `Online`, that is verified and not rented. **Listed**: idle, and an order can be matched
//!   with it now.
//!
//! ## The life of a worker, as a story
//!
//! Petra has a machine with one RTX 4090. Its node holds a worker key, its agent an agent key; both sign
//! that they belong to Petra's account. She calls [`register_worker`](Call::register_worker) with the
//! claim, the keys and her stake, and pays the fee and a storage deposit. The worker is `Pending` and
//! marked, so it is due in the next spot round.
//!
//! The round starts, the machine attests its trial, a committee votes, and Popw closes the check
//! ([`closed`](kaisar_primitives::CheckedWorkers::closed)). The profile supports the claim: the worker is
//! `Online`, and listed. Each census that confirms it credits the mean interval between two censuses. Had
//! the profile not supported the claim, the worker would have stayed `Pending` with
//! [`Event::VerificationFailed`], and Petra would have corrected the claim
//! ([`update_worker`](Call::update_worker)) or requested another verification
//! ([`go_online`](Call::go_online)), delayed by 1, 2, 4 … rounds.
//!
//! A customer's order takes it. Checks that find it serving credit the rented blocks since the last one.
//! When the order ends, the worker is marked, and not listed until a full check supports its claim.
//!
//! Carol sees that it is reliable and [stakes](Call::stake) on it: she gets shares of the delegators' part
//! of its pool, and with them a part of its reward.
//!
//! One night the machine is found offline: it is `Offline`, its pending time is void, and a part of its
//! pool is queued to be slashed. In the morning Petra calls `go_online`, and it is `Pending` and marked
//! again. Two days later another account [applies](Call::apply_slash) the slash, for the bounty: Petra and
//! Carol lose the same part of their stake in the pool. If Petra's remaining stake is below the minimum,
//! the worker is `Suspended` until she tops it up.
//!
//! When she sells the machine she calls [`deregister_worker`](Call::deregister_worker): the deposit is
//! released at once, and all stake unbonds. Once she and Carol have withdrawn theirs
//! ([`withdraw_unbonded`](Call::withdraw_unbonded)), only a note of the worker's owner remains, so that its
//! last reward can be paid.
//!
//! The same as tests. The machine is verified, earns and is rented:
#![doc = docify::embed!("src/tests/story.rs", a_machine_is_verified_earns_and_is_rented)]
//!
//! It is found offline, and the slash is applied:
#![doc = docify::embed!("src/tests/story.rs", owner_and_delegator_lose_the_same_part)]
//!
//! Petra sells it:
#![doc = docify::embed!("src/tests/story.rs", a_machine_is_sold)]
//!
//! ## Time
//!
//! A round sees a worker in its state at the round's start, so each change of state counts from the next
//! round, and the record keeps the states that rounds in flight need ([`Standings`]). A check that is
//! running, or in which the worker is due, goes on whatever its owner calls; calls that would disturb one
//! fail with [`Error::CheckRunning`]. Idle time is sampled by censuses, rented time is pending
//! ([`PendingTime`]).
//!
//! ## Stake
//!
//! All stake is held by the pallet's account ([`Pallet::pot`]); a pool records the part that belongs to a
//! worker. Anyone may stake on a worker: the owner's stake is an amount, a delegator holds shares of the
//! rest. [`pool`] describes rounding, and its beneficiaries. Unstaked amounts unbond, for at least a day
//! longer than a slash is deferred.
//!
//! ## Slashing
//!
//! A check's finding is queued as a rate, and after a deferral anyone may apply it, for a bounty. A slash
//! is one write of the record and one transfer, whatever the number of delegators: every part of the pool
//! loses the same rate. [`slashing`] describes the sum of several findings, and the stake that cannot move
//! while a slash is queued.
//!
//! ## Idle workers, and totals
//!
//! Workers that can be rented now are in dense indices by GPU class, count and region ([`idle`]), from
//! which Orders draws; totals over all workers are updated with every change ([`totals`]).
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
mod checks;
mod hardware;
pub mod idle;
mod keys;
mod lifecycle;
mod market;
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

pub use idle::{Bucket, BucketHead, INDEX_PAGE, IndexPage, IndexPosition};
pub use pallet::*;
pub use pool::{SharedStake, Slashed, StakePool, Unbonding, UnbondingStake};
pub use slashing::{FalseProofs, QueuedSlash, QueuedSlashes, SlashId, SlashLevel};
pub use totals::{ClassTotals, Hardware, NetworkTotals};
pub use types::*;
pub use views::{DelegationView, SlashView, UnbondingView, WorkerPage, WorkerView};
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
	KeyProof, MAX_PAGE, Market, OnPoolChange, PoolId, PoolTerms, Pots, Prices, Profile, RoundIndex,
	RunningScores, SharesChange, Standings, Timeline, WorkerId, WorkerKey, WorkerSpec, WorkerState,
};
use sp_core::H256;
use sp_runtime::{
	ArithmeticError, Perbill,
	traits::{
		AccountIdConversion, EnsureAdd, EnsureAddAssign, EnsureSub, EnsureSubAssign,
		SaturatedConversion,
	},
};

/// Maximum delay before the next verification, in spot rounds: two weeks.
const MAX_DELAY: u32 = 4_096;
/// Spot rounds have even numbers.
const SPOT_STEP: RoundIndex = 2;

/// The record of a worker of this runtime.
pub type RecordOf<T> = WorkerRecord<<T as frame_system::Config>::AccountId, TicketOf<T>>;
/// The storage deposit of a worker.
pub type TicketOf<T> = <T as Config>::Consideration;
/// The unbonding pieces of an account in a worker's pool.
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

		/// The storage deposit of a worker, held on its owner's account.
		type Consideration: Consideration<Self::AccountId, Footprint>;

		/// The id from which the pot's account is derived.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// The account that receives the fees: the treasury's.
		type FeeDestination: Get<Self::AccountId>;

		/// The fee of registering or updating a worker. The call fails if its owner cannot pay it. *Param.*
		type RegistrationFee: Get<Balance>;

		/// The minimum stake of a worker's owner, before GPUs; at most the supply of KAI. *Param.*
		type BaseStake: Get<Balance>;

		/// The stake added to the minimum for each whole point of class score and GPU; at most the supply of
		/// KAI. *Param.*
		type StakePerScore: Get<Balance>;

		/// The maximum stake in one pool, which an owner may exceed to reach its minimum. *Param.*
		type MaxStake: Get<Balance>;

		/// The minimum number of blocks for which stake unbonds, at most a year. *Param.*
		type Unbonding: Get<BlockNumber>;

		/// The number of blocks for which a slash is deferred, at most a year; stake unbonds at least a day
		/// longer. *Param.*
		type SlashDeferral: Get<BlockNumber>;

		/// The maximum number of pieces of stake that an account can have unbonding in a pool. One of them
		/// is reserved for deregistering.
		#[pallet::constant]
		type MaxUnbonding: Get<u32>;

		/// The current reward epoch.
		type CurrentEpoch: Get<EpochIndex>;

		/// The table of GPU classes.
		type Classes: GpuClasses;

		/// Rounds and checks.
		type Checks: Checks;

		/// Prices of orders, against which workers' price floors are compared.
		type Prices: Prices;

		/// May slash by hand, and cancel slashes.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// The part of a slash that is shared between the reporter and the account that applies the slash.
		/// *Param.*
		type SlashBounty: Get<Perbill>;

		/// Receives slashed KAI.
		type Pots: Pots<Self::AccountId>;

		/// Workers' running scores, for display.
		type Scores: RunningScores;

		/// The observer of pool changes.
		type OnPoolChange: OnPoolChange<Self::AccountId>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The number of the next worker. All lower numbers were assigned.
	#[pallet::storage]
	pub type NextWorkerId<T> = StorageValue<_, WorkerId, ValueQuery>;

	/// Workers, including deregistered ones while they have a check, stake or a slash. Numbers are assigned
	/// in order, so they need no hash.
	#[pallet::storage]
	pub type Workers<T: Config> = StorageMap<_, Identity, WorkerId, RecordOf<T>>;

	/// Workers whose record was removed.
	#[pallet::storage]
	pub type DepartedWorkers<T: Config> = StorageMap<_, Identity, WorkerId, Departed<T::AccountId>>;

	/// Worker keys in use. A replaced key may still be in the map: it is free once its successor is in force
	/// ([`WorkerRecord::reserved_keys`]).
	///
	/// Not hashed: to lengthen the trie's paths with keys that begin alike, an attacker has to find each of
	/// them by trial, prove that it holds the key, and stake for a worker.
	#[pallet::storage]
	pub type WorkerByKey<T> = StorageMap<_, Identity, WorkerKey, WorkerId>;

	/// Agent keys in use, under the same rules as [`WorkerByKey`].
	#[pallet::storage]
	pub type WorkerByAgent<T> = StorageMap<_, Identity, AgentKey, WorkerId>;

	/// The workers of each provider, without deregistered ones.
	#[pallet::storage]
	pub type WorkersByOwner<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, WorkerId, ()>;

	/// Unbonding pieces of stake, by worker and account, oldest first.
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

	/// The number of workers in each state, updated with every change.
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

	/// Queued slashes.
	#[pallet::storage]
	pub type Slashes<T: Config> = StorageMap<_, Identity, SlashId, QueuedSlash<T::AccountId>>;

	/// The hardware of all `Online` and `Rented` workers together.
	#[pallet::storage]
	pub type Totals<T> = StorageValue<_, Hardware, ValueQuery>;

	/// The number of `Online` and `Rented` workers and of their GPUs, by GPU class.
	#[pallet::storage]
	pub type TotalsByClass<T> = StorageMap<_, Identity, GpuClass, ClassTotals, ValueQuery>;

	/// The indices of idle workers: the length of each bucket, and its first page.
	#[pallet::storage]
	pub type BucketHeads<T> = StorageMap<_, Identity, Bucket, BucketHead, ValueQuery>;

	/// The pages of each bucket after the first, without gaps.
	#[pallet::storage]
	pub type BucketPages<T> = StorageMap<_, Identity, (Bucket, u32), IndexPage, ValueQuery>;

	/// Reasons for which the pallet holds KAI.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The storage deposit of a worker.
		WorkerDeposit,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	#[allow(missing_docs)]
	pub enum Event<T: Config> {
		/// A worker was registered. It is `Pending`.
		WorkerRegistered {
			worker: WorkerId,
			owner: T::AccountId,
			/// The worker's claim.
			spec: WorkerSpec,
			/// The owner's stake.
			stake: Balance,
		},
		/// A worker's claim was changed.
		WorkerUpdated {
			worker: WorkerId,
			old: WorkerSpec,
			new: WorkerSpec,
		},
		/// New keys of a worker were set.
		WorkerKeysSet {
			worker: WorkerId,
			worker_key: WorkerKey,
			agent_key: AgentKey,
			/// The first round in which they count.
			from: RoundIndex,
		},
		/// A new commission of a worker was announced.
		CommissionSet {
			worker: WorkerId,
			/// The commission in force.
			old: Perbill,
			new: Perbill,
			/// The first epoch in which the new commission counts.
			from: EpochIndex,
		},
		/// A worker's price floor was changed.
		PriceFloorSet {
			worker: WorkerId,
			/// The floor before, per GPU-hour.
			old: Balance,
			/// The floor now, per GPU-hour.
			new: Balance,
		},
		/// A worker's delegation cap was changed.
		DelegationCapSet {
			worker: WorkerId,
			/// The cap before; `None` if there was none.
			old: Option<Balance>,
			new: Balance,
		},
		/// A worker's state changed.
		WorkerStateChanged {
			worker: WorkerId,
			old: WorkerState,
			new: WorkerState,
			/// The first round in which the new state counts.
			since: RoundIndex,
		},
		/// A worker was marked: it is due once more. If it is idle, and a census starts with the spot
		/// round, its check in the census uses up the mark.
		WorkerForced {
			worker: WorkerId,
			/// The spot round that the mark is for.
			round: RoundIndex,
			/// Whether the check only verifies, and credits no time.
			verify_only: bool,
		},
		/// A worker was deregistered.
		WorkerDeregistered {
			worker: WorkerId,
			owner: T::AccountId,
		},
		/// The record of a deregistered worker was removed, because nothing was left in its pool.
		WorkerRemoved { worker: WorkerId },
		/// The profile of a `Pending` worker does not support its claim, or that of an `Online` one in the
		/// second consecutive check. The worker is `Pending` until its owner updates the claim or requests
		/// another verification.
		VerificationFailed { worker: WorkerId, profile: Profile },
		/// The profile of a worker does not support its claim. The worker stays in its state with that
		/// profile; a second consecutive such check makes an `Online` worker `Pending`.
		ClaimUnsupported {
			worker: WorkerId,
			round: RoundIndex,
			profile: Profile,
		},
		/// A worker was found offline, which voided its pending time.
		FoundOffline {
			worker: WorkerId,
			round: RoundIndex,
			/// Its state when it was found.
			state: WorkerState,
			/// The start of the last round that confirmed it; `None` if no round has.
			last_proof: Option<BlockNumber>,
			/// Whether a committee found it offline after it attested; otherwise it did not attest.
			attested: bool,
			/// The account that reported the missing attestation, or closed the check; `None` if no account
			/// did.
			finder: Option<T::AccountId>,
		},
		/// More than half of a committee found that an opening contradicts the worker's attested root.
		FalseProofFound {
			worker: WorkerId,
			round: RoundIndex,
			/// The number of consecutive checks that found this with more than three quarters. A check with
			/// fewer votes is not counted.
			in_a_row: u8,
		},
		/// Stake was added.
		Staked {
			worker: WorkerId,
			/// The owner, or a delegator.
			who: T::AccountId,
			amount: Balance,
		},
		/// Stake began to unbond.
		Unstaked {
			worker: WorkerId,
			/// The owner, or a delegator.
			who: T::AccountId,
			amount: Balance,
			/// The first block in which it may be withdrawn.
			until: BlockNumber,
		},
		/// Unbonded stake was withdrawn.
		Withdrawn {
			worker: WorkerId,
			/// The owner, or a delegator.
			who: T::AccountId,
			amount: Balance,
		},
		/// A rented worker was online, but the customer's container did not answer. The check proves no
		/// rented time; nothing is slashed.
		ServiceDown {
			worker: WorkerId,
			round: RoundIndex,
			/// The start of the last round that confirmed it before; `None` if no round has.
			last_proof: Option<BlockNumber>,
		},
		/// A slash was queued, or a queued slash was increased.
		SlashQueued {
			slash: SlashId,
			worker: WorkerId,
			level: SlashLevel,
			/// The amount added, of the pool in this block.
			added: Balance,
			/// The total amount of the queued slash, of the pool in this block. It is queued as a rate.
			amount: Balance,
			/// The first block in which it may be applied.
			due: BlockNumber,
		},
		/// A slash was canceled.
		SlashCancelled {
			slash: SlashId,
			worker: WorkerId,
			level: SlashLevel,
			/// The amount that it would have taken in this block.
			amount: Balance,
		},
		/// A worker's pool was slashed.
		Slashed {
			worker: WorkerId,
			/// `None` if the slash was never queued.
			slash: Option<SlashId>,
			level: SlashLevel,
			/// The amount taken from the owner's stake.
			own: Balance,
			/// The amount taken from the owner's unbonding stake.
			own_unbonding: Balance,
			/// The amount taken from the delegators' stake.
			delegated: Balance,
			/// The amount taken from the delegators' unbonding stake.
			unbonding: Balance,
		},
		/// A bounty was paid out of a slash.
		BountyPaid {
			/// The worker that was slashed.
			worker: WorkerId,
			/// The account that found the fault, or applied the slash.
			who: T::AccountId,
			amount: Balance,
		},
		/// Worthless shares were cleared.
		WorthlessCleared {
			worker: WorkerId,
			/// The account that held them.
			who: T::AccountId,
			/// Shares of the delegators' stake; zero if only unbonding pieces were cleared.
			shares: Balance,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// No worker has this number, or it was deregistered.
		UnknownWorker,
		/// The caller does not own the worker.
		NotOwner,
		/// A key is all zeroes.
		ZeroKey,
		/// Another worker uses the key. A deregistered worker keeps its keys until no check can be held
		/// against it: at the latest until all rounds that saw it are over and its check is closed.
		KeyInUse,
		/// The signatures of the keys were not made for this account on this chain. Sign again with both
		/// keys.
		BadProof,
		/// No GPU class has this number.
		UnknownGpuClass,
		/// The number of GPUs does not fit the class: 1 to 16 of a class, none without one.
		GpuCountMismatch,
		/// The region is not an ISO 3166-1 country code.
		UnknownRegion,
		/// The owner's stake would be below the minimum for the claim. Stake more, or claim less
		/// hardware.
		StakeBelowMinimum,
		/// The pool's stake would exceed its maximum, the parameter `MaxStake`.
		StakeCapReached,
		/// The amount exceeds the account's stake in the pool.
		InsufficientStake,
		/// The amount is zero.
		ZeroAmount,
		/// The worker serves an order. Wait until the order is closed.
		WorkerRented,
		/// The worker is suspended until its stake is topped up.
		WorkerSuspended,
		/// The worker's state does not allow the call: it is already in the requested state, or not in the
		/// required one.
		WrongState,
		/// The worker is already marked. Wait for its check.
		AlreadyDue,
		/// Something can still be held against the worker: its check is open, it is due in a running round
		/// and has not attested, or its absence can still be reported. Retry once the round is over.
		CheckRunning,
		/// The account has the maximum number of unbonding pieces in this pool. Withdraw first, or wait.
		TooManyUnbondings,
		/// None of the account's stake in the pool has finished unbonding. Unstake first, or wait.
		NothingToWithdraw,
		/// An announced commission is not in force yet. Wait for its epoch.
		CommissionPending,
		/// All worker numbers are used.
		TooManyWorkers,
		/// Unreachable state; a bug.
		Defensive,
		/// A slash is queued: delegators cannot join, and stake that finished unbonding less than the slash
		/// deferral and a day ago cannot be withdrawn. Apply the slash once it is due, or wait.
		SlashPending,
		/// No slash with this number is queued.
		UnknownSlash,
		/// The slash may not be applied before its deferral ends. Wait for its due block.
		SlashDeferred,
		/// The slash can no longer be canceled: its deferral has ended.
		DeferralOver,
		/// The pool has no stake to slash.
		NothingToSlash,
		/// All delegated stake was slashed, and the worthless shares were not cleared yet. Clear them first.
		DelegationClosed,
		/// The delegation would be worth less than the existential deposit, 0.001 KAI.
		DelegationTooSmall,
		/// The delegated stake would exceed the cap that the worker's owner set.
		DelegationCapReached,
		/// The account's stake in the pool still has value, or the account has none.
		NothingWorthless,
		/// The claim has no processors, no memory or no disk.
		ZeroHardware,
		/// The claim exceeds 1,024 hardware threads, 24,576 GB of memory or 1,048,576 GB of disk.
		ClaimTooLarge,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns a worker with its state, profile, stake, reliability and running score.
		pub fn worker(worker: WorkerId) -> Option<WorkerView<T::AccountId>> {
			Self::view_of(worker, Workers::<T>::get(worker)?)
		}

		/// Returns workers from number `from` on, including deregistered ones, and the number to continue
		/// from; `None` at the end of the list. Covers `limit` numbers, from 1 to [`MAX_PAGE`], and skips
		/// removed workers.
		pub fn workers(from: WorkerId, limit: u32) -> WorkerPage<T::AccountId> {
			let end = NextWorkerId::<T>::get();
			let next = from.saturating_add(limit.clamp(1, MAX_PAGE)).min(end);
			let page = (from..next)
				.filter_map(|worker| Some((worker, Self::worker(worker)?)))
				.collect();
			(page, (next < end).then_some(next))
		}

		/// Returns workers of an account, without deregistered ones: at most `limit` and at most
		/// [`MAX_PAGE`], in no particular order, after `cursor`, the last worker of the previous page. A
		/// page with fewer is the last one.
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

		/// Returns the number of workers in each state.
		pub fn counts() -> StateCounts {
			Counts::<T>::get()
		}

		/// Returns the minimum stake of the owner of a worker that claims these GPUs; `None` for an unknown
		/// class.
		pub fn minimum_stake(gpu_class: GpuClass, gpu_count: u8) -> Option<Balance> {
			Self::minimum_for(gpu_class, gpu_count).ok()
		}

		/// Returns the part of a worker's last 32 checks and deployments that it passed; the divisor is at
		/// least eight. Only its provider's faults count against it.
		pub fn reliability(worker: WorkerId) -> Option<Perbill> {
			Workers::<T>::get(worker).map(|record| record.history.reliability())
		}

		/// Returns totals of the network: workers by state, GPUs by class, cores, memory, disk, bandwidth.
		pub fn network() -> NetworkTotals {
			NetworkTotals {
				registered: NextWorkerId::<T>::get(),
				workers: Counts::<T>::get(),
				hardware: Totals::<T>::get(),
				// One entry for each GPU class.
				classes: TotalsByClass::<T>::iter().collect(),
			}
		}

		/// Returns the number of workers that can be rented with this number of verified GPUs of a class,
		/// in one region or in all. In class 0 the number is the verified CPU tier, from 1.
		pub fn idle_workers(gpu_class: GpuClass, gpu_count: u8, region: Option<[u8; 2]>) -> u32 {
			<Self as Market>::idle(gpu_class, gpu_count, region)
		}

		/// Returns the shares an account holds of a worker's delegated stake, and their value.
		pub fn delegation(worker: WorkerId, who: T::AccountId) -> DelegationView {
			let shares = Delegations::<T>::get(worker, who);
			let value = Workers::<T>::get(worker)
				.and_then(|record| record.pool.delegated.worth(shares))
				.unwrap_or(0);
			DelegationView { shares, value }
		}

		/// Returns the unbonding pieces of an account in a worker's pool, oldest first.
		pub fn unbonding(worker: WorkerId, who: T::AccountId) -> Vec<UnbondingView> {
			let Some(mut record) = Workers::<T>::get(worker) else {
				return Vec::new();
			};
			let owner = record.owner == who;
			let unbonding = *record.pool.unbonding_of(owner);
			Unbondings::<T>::get(worker, who)
				.into_iter()
				.map(|piece| UnbondingView {
					value: unbonding.worth(&piece).unwrap_or(0),
					until: piece.until,
				})
				.collect()
		}

		/// Returns a queued slash, with the amount that it would take now.
		pub fn queued_slash(slash: SlashId) -> Option<SlashView<T::AccountId>> {
			Slashes::<T>::get(slash).map(Self::slash_view)
		}

		/// Returns queued slashes, with the amount that each would take now: at most `limit` and at most
		/// [`MAX_PAGE`], in no particular order, after `cursor`, the last slash of the previous page. A
		/// page with fewer is the last one.
		pub fn slashes(
			cursor: Option<SlashId>,
			limit: u32,
		) -> Vec<(SlashId, SlashView<T::AccountId>)> {
			let slashes = match cursor {
				None => Slashes::<T>::iter(),
				Some(last) => Slashes::<T>::iter_from(Slashes::<T>::hashed_key_for(last)),
			};
			slashes
				.take(limit.min(MAX_PAGE) as usize)
				.map(|(id, slash)| (id, Self::slash_view(slash)))
				.collect()
		}

		/// Returns the number of a worker's rented blocks not yet proved.
		pub fn pending_time(worker: WorkerId) -> Option<BlockNumber> {
			Workers::<T>::get(worker).map(|record| record.time.at(Self::now()))
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Registers a worker of the caller.
		///
		/// Takes the fee and a storage deposit, and moves the stake into the pot. The worker is `Pending`
		/// and due in the next round, which verifies its claim.
		///
		/// # Origin
		/// Signed, by the provider, who becomes the worker's owner.
		///
		/// # Parameters
		/// - `spec`: the worker's claim; units as in [`WorkerSpec`].
		/// - `worker_key`: the worker's key, unique across workers.
		/// - `agent_key`: the agent's key, unique across workers.
		/// - `stake`: the owner's stake, in units of 10⁻¹⁸ KAI; at least the minimum for the claim.
		/// - `proof`: signatures of both keys over
		///   [`possession_payload`](kaisar_primitives::keys::possession_payload).
		///
		/// # Errors
		/// - [`Error::UnknownGpuClass`], [`Error::GpuCountMismatch`], [`Error::UnknownRegion`],
		///   [`Error::ZeroHardware`], [`Error::ClaimTooLarge`]: the claim is invalid.
		/// - [`Error::ZeroKey`], [`Error::KeyInUse`]: a key is all zeroes, or belongs to another worker.
		/// - [`Error::BadProof`]: a signature is not one for the caller on this chain.
		/// - [`Error::StakeBelowMinimum`]: the stake is below the minimum for the claim.
		/// - [`Error::StakeCapReached`]: the stake exceeds [`Config::MaxStake`] and the minimum for the
		///   claim.
		/// - [`Error::TooManyWorkers`]: all worker numbers are used.
		/// - The currency's error if the account has too little KAI.
		///
		/// # Events
		/// - [`Event::WorkerRegistered`].
		/// - [`Event::WorkerForced`].
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

		/// Changes the claim of a worker.
		///
		/// Takes the fee. The worker is `Pending` and due in the next round, or in the first one after a
		/// running delay.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker, neither `Rented` nor `Suspended`.
		/// - `spec`: the new claim; the owner's stake must reach its minimum.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::WorkerRented`]: the worker serves an order.
		/// - [`Error::WorkerSuspended`]: the worker is suspended until its stake is topped up.
		/// - [`Error::CheckRunning`]: a check can still be held against the worker.
		/// - [`Error::UnknownGpuClass`], [`Error::GpuCountMismatch`], [`Error::UnknownRegion`],
		///   [`Error::ZeroHardware`], [`Error::ClaimTooLarge`]: the claim is invalid.
		/// - [`Error::StakeBelowMinimum`]: the owner's stake is below the minimum for the new claim.
		/// - The currency's error if the account has too little KAI for the fee.
		///
		/// # Events
		/// - [`Event::WorkerUpdated`].
		/// - [`Event::WorkerStateChanged`]: the worker was not `Pending`.
		/// - [`Event::WorkerForced`].
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

		/// Sets new keys of a worker, from the next round on.
		///
		/// The old keys stay reserved until then. Keys that were set before and are not in force yet are
		/// replaced.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `worker_key`: the new worker key, unique across workers; may stay the same.
		/// - `agent_key`: the new agent key, unique across workers; may stay the same.
		/// - `proof`: signatures of both keys, as for [`register_worker`](Self::register_worker).
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::ZeroKey`], [`Error::KeyInUse`]: a key is all zeroes, or belongs to another worker.
		/// - [`Error::BadProof`]: a signature is not one for the caller on this chain.
		/// - [`Error::CheckRunning`]: a running round needs the keys before the present ones.
		///
		/// # Events
		/// [`Event::WorkerKeysSet`]
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

		/// Announces a worker's commission: the part of its reward that its stakers, the owner included,
		/// share by value.
		///
		/// It counts after one whole epoch's notice.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `commission`: the part that stakers share, in parts of 10⁹.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::CommissionPending`]: an announced commission is not in force yet.
		///
		/// # Events
		/// [`Event::CommissionSet`]
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

		/// Sets the price below which a worker is never matched.
		///
		/// Running orders are not affected.
		///
		/// With a floor above the highest price of its class the worker is not listed, and above today's
		/// price it earns no idle time; after lowering such a floor it earns idle time from the next round.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `price_per_gpu_hour`: the floor, in units of 10⁻¹⁸ KAI, per core and hour without a GPU; 0 for
		///   none.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		///
		/// # Events
		/// [`Event::PriceFloorSet`]
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

		/// Takes a worker offline.
		///
		/// The change counts from the next round: a check that is running, or in which the worker is due,
		/// goes on. A mark for a later round is dropped.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker, `Pending` or `Online`.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::WorkerRented`]: the worker serves an order.
		/// - [`Error::WorkerSuspended`]: the worker is suspended until its stake is topped up.
		/// - [`Error::WrongState`]: the worker is already `Offline`.
		///
		/// # Events
		/// [`Event::WorkerStateChanged`]
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::go_offline())]
		pub fn go_offline(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_offline(who, worker)
		}

		/// Brings a worker back, or has one verified again after a failed verification.
		///
		/// The worker is `Pending` and due in the next round, or in the first one after a running delay.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker, `Offline` or `Pending`.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::WorkerRented`]: the worker serves an order.
		/// - [`Error::WorkerSuspended`]: the worker is suspended until its stake is topped up.
		/// - [`Error::WrongState`]: the worker is `Online`.
		/// - [`Error::AlreadyDue`]: the worker is already marked.
		/// - [`Error::CheckRunning`]: a check can still be held against the worker.
		/// - [`Error::StakeBelowMinimum`]: the owner's stake is below the minimum for the claim.
		///
		/// # Events
		/// - [`Event::WorkerStateChanged`]: the worker was `Offline`.
		/// - [`Event::WorkerForced`].
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::go_online())]
		pub fn go_online(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_online(who, worker)
		}

		/// Deregisters a worker for good.
		///
		/// The change counts from the next round, as for [`go_offline`](Self::go_offline). The deposit is
		/// released, and all stake unbonds, including the delegators'.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker, not `Rented`.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::WorkerRented`]: the worker serves an order.
		///
		/// # Events
		/// - [`Event::Unstaked`]: the owner has stake.
		/// - [`Event::WorkerStateChanged`]: the worker was not `Offline`.
		/// - [`Event::WorkerDeregistered`].
		/// - [`Event::WorkerRemoved`]: the pool is empty, and no check is in the way.
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::deregister_worker())]
		pub fn deregister_worker(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_deregister(who, worker)
		}

		/// Adds stake to a worker's pool: to the owner's stake, or as a delegation, for which the caller
		/// gets shares.
		///
		/// A `Suspended` worker whose owner reaches the minimum is `Offline` again.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `amount`: the stake to add, in units of 10⁻¹⁸ KAI.
		///
		/// # Errors
		/// - [`Error::ZeroAmount`]: the amount is zero.
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::StakeCapReached`]: the pool would exceed [`Config::MaxStake`]; an owner may exceed it
		///   to reach its minimum.
		/// - [`Error::SlashPending`], [`Error::DelegationClosed`], [`Error::DelegationTooSmall`],
		///   [`Error::DelegationCapReached`]: the caller is a delegator.
		/// - The currency's error if the account has too little KAI.
		///
		/// # Events
		/// - [`Event::Staked`].
		/// - [`Event::WorkerStateChanged`]: a `Suspended` worker is `Offline` again.
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

		/// Takes stake out of a worker's pool.
		///
		/// The stake unbonds, can still be slashed meanwhile, and may be withdrawn afterwards.
		///
		/// Delegators of a deregistered worker need not call this: their stake began to unbond with the
		/// owner's.
		///
		/// # Origin
		/// Signed, by an account with stake in the pool.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `amount`: the stake to take out, in units of 10⁻¹⁸ KAI. The owner must keep the minimum for
		///   the claim; a delegator takes out all, or keeps at least the existential deposit.
		///
		/// # Errors
		/// - [`Error::ZeroAmount`]: the amount is zero.
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::InsufficientStake`]: the amount exceeds the caller's stake.
		/// - [`Error::TooManyUnbondings`]: the caller has the maximum number of unbonding pieces in this
		///   pool.
		/// - [`Error::StakeBelowMinimum`]: the owner would keep less than the minimum for the claim.
		/// - [`Error::DelegationTooSmall`]: a delegator would keep less than the existential deposit.
		///
		/// # Events
		/// [`Event::Unstaked`]
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

		/// Pays out the caller's unbonded stake in a worker's pool; to a delegator of a deregistered
		/// worker, also its delegation.
		///
		/// While a slash is queued, stake waits until it has been unbonded for the slash deferral and a
		/// day. If the withdrawal empties the pool of a deregistered worker, its record is removed.
		///
		/// # Origin
		/// Signed, by an account with unbonding stake in the pool.
		///
		/// # Parameters
		/// - `worker`: the worker, deregistered or not.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no worker has this number, or its record was removed.
		/// - [`Error::NothingToWithdraw`]: none of the caller's stake has finished unbonding.
		/// - [`Error::SlashPending`]: a slash is queued, and nothing has been unbonded for long enough.
		/// - [`Error::CheckRunning`]: it is the last withdrawal, but a check can still be held against the
		///   worker.
		///
		/// # Events
		/// - [`Event::Withdrawn`].
		/// - [`Event::WorkerRemoved`]: the pool of a deregistered worker is empty.
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::withdraw_unbonded())]
		pub fn withdraw_unbonded(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_withdraw(who, worker)
		}

		/// Slashes a worker by hand: 10 % of every part of its pool (level 1) or 50 % (level 2) after the
		/// deferral, or all of it at once (level 3).
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `worker`: the worker, deregistered or not.
		/// - `level`: the level, which sets the rate.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no worker has this number, or its record was removed.
		/// - [`Error::NothingToSlash`]: the pool has no stake.
		///
		/// # Events
		/// - [`Event::SlashQueued`]: level 1 or 2.
		/// - [`Event::Slashed`]: level 3.
		/// - [`Event::WorkerStateChanged`]: level 3 suspended the worker.
		/// - [`Event::WorkerRemoved`]: level 3 emptied the pool of a deregistered worker.
		#[pallet::call_index(11)]
		#[pallet::weight(T::WeightInfo::slash())]
		pub fn slash(origin: OriginFor<T>, worker: WorkerId, level: SlashLevel) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_slash(worker, level)
		}

		/// Cancels a queued slash.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `id`: the slash, before its deferral ends.
		///
		/// # Errors
		/// - [`Error::UnknownSlash`]: no slash with this number is queued.
		/// - [`Error::DeferralOver`]: the deferral of the slash has ended.
		///
		/// # Events
		/// - [`Event::SlashCancelled`].
		/// - [`Event::WorkerRemoved`]: nothing else was left of a deregistered worker.
		#[pallet::call_index(12)]
		#[pallet::weight(T::WeightInfo::cancel_slash())]
		pub fn cancel_slash(origin: OriginFor<T>, id: SlashId) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_cancel_slash(id)
		}

		/// Applies a slash whose deferral has ended: takes its rate of every part of the pool.
		///
		/// The caller gets the bounty, and shares it with the account that found the fault, if an account
		/// did. If the owner's stake is then below the minimum, the worker is `Suspended`, at once or when
		/// its order closes.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `id`: the slash.
		///
		/// # Errors
		/// - [`Error::UnknownSlash`]: no slash with this number is queued.
		/// - [`Error::SlashDeferred`]: the deferral of the slash has not ended.
		///
		/// # Events
		/// - [`Event::Slashed`].
		/// - [`Event::BountyPaid`]: for each account that gets a part of the bounty.
		/// - [`Event::WorkerStateChanged`]: the slash suspended the worker.
		/// - [`Event::WorkerRemoved`]: the pool of a deregistered worker is empty.
		#[pallet::call_index(13)]
		#[pallet::weight(T::WeightInfo::apply_slash())]
		pub fn apply_slash(origin: OriginFor<T>, id: SlashId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_apply_slash(who, id)
		}

		/// Clears shares and unbonding pieces of an account that slashes have made worthless, so that the
		/// worker can be delegated to again, or its record removed.
		///
		/// The record is also removed if a deregistered worker has nothing else left, and only a check kept
		/// it.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `worker`: the worker, deregistered or not.
		/// - `who`: the account that holds the shares or the pieces.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no worker has this number, or its record was removed.
		/// - [`Error::NothingWorthless`]: the account's stake in the pool still has value, or it has none.
		///
		/// # Events
		/// - [`Event::WorthlessCleared`]: the account had worthless shares or pieces.
		/// - [`Event::WorkerRemoved`]: the pool of a deregistered worker is empty.
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

		/// Sets the maximum total stake of a worker's delegators.
		///
		/// Existing delegations stay; new ones above the cap are refused. A new worker has no cap of its
		/// own.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `most`: the cap, in units of 10⁻¹⁸ KAI; 0 refuses all delegation.
		///
		/// # Errors
		/// - [`Error::UnknownWorker`]: no registered worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		///
		/// # Events
		/// [`Event::DelegationCapSet`]
		#[pallet::call_index(15)]
		#[pallet::weight(T::WeightInfo::set_delegation_cap())]
		pub fn set_delegation_cap(
			origin: OriginFor<T>,
			worker: WorkerId,
			#[pallet::compact] most: Balance,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_delegation_cap(who, worker, most)
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn integrity_test() {
			assert!(
				T::MaxUnbonding::get() >= 2,
				"one piece to unstake, one to deregister"
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
