//! # Rewards
//!
//! What the network emits, who earned which part of it, and how it is claimed.
//!
//! ## Terms
//!
//! - **Epoch**: a run of blocks whose scores share one reward. Dense from 0.
//! - **Pool** ([`PoolId`]): what earns. A worker, with its delegators; an operator, with its licence
//!   holders.
//! - **Pot** ([`Pot`]): one of two accounts that hold what is to be paid, one for workers and one for
//!   checkers.
//! - **PoC**, **PoD**: the scores for capacity (time proved online) and for demand (time proved rented).
//! - **vKAI**: what checkers are paid in. A balance of this pallet that cannot be transferred, backed
//!   unit by unit by KAI in the checker pot.
//!
//! ## The story of a reward
//!
//! 1. A check of a worker closes. [`OnClosed`] adds the proved time, weighed by stake and hardware, to
//!    the worker's running score and to the epoch's total, and counts each seat for its operator.
//! 2. The epoch's last block is over. In the next block's `on_initialize` the emission of its blocks is
//!    minted into the pots, in one step, the totals are noted ([`EpochTotals`]), and the next epoch
//!    begins. That is all: the same reads and writes for ten workers and for a million.
//! 3. The first touch of a pool in a later epoch **settles** it: its score's share of the noted totals
//!    becomes claimable. A touch is the next score, a change of its stake ([`OnPoolChange`]), a claim, or
//!    anyone's [`Pallet::settle`]. The commission's part of it is divided among the **members** who were
//!    there for the whole epoch: a worker's delegators, or an operator's licence holders.
//! 4. The owner claims ([`Pallet::claim_worker`]): KAI. The operator claims ([`Pallet::claim_checker`]):
//!    vKAI. A member claims ([`Pallet::claim_delegation`]): KAI from a worker, vKAI from an operator.
//! 5. Whoever has vKAI redeems it ([`Pallet::redeem`]) for KAI: all of it after 180 days, half after
//!    90, a quarter after 30. What is given up is the checker pot's again at once.
//!
//! ## Where each unit is
//!
//! A pot's balance is, less its existential deposit, the sum of three: what waits for the running
//! epoch's end ([`Carry`]), what is noted for past epochs and not settled ([`EpochTotals::left`]), and
//! what is settled and not paid ([`Owed`]). Nothing is ever between them. What is not paid to anyone
//! (no scores, the limits on PoD) goes to [`Carry`] at once; what rounding left, and what expired, when
//! the epoch is dropped from the history.
//!
//! So the time at which a worker is settled decides for which epoch its PoD excess carries over, and
//! nothing else depends on the order or the time of any call. Since anyone may settle, nobody can hold
//! an excess back.
//!
//! ## Members
//!
//! A member's shares count for an epoch if they were there for the whole of it: what is added counts
//! from the next epoch, what is taken away loses the running one's part. How that is kept with one
//! entry a pool and one a member, whatever the number of either and of epochs, is told in
//! `members.rs`. The owner of a worker shares by what it had at stake all the time, too: by the least
//! of the epoch, so that nobody can stake for the last block of it.
//!
//! ## What comes later
//!
//! The validators' share of the emission is noted, and counted against the supply's cap, but minted
//! by `pallet-staking`, for which there is [`Pallet::take_validators_share`].

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod claims;
mod epochs;
mod members;
#[cfg(test)]
mod mock;
mod pots;
mod scores;
mod settlement;
#[cfg(test)]
mod tests;
#[cfg(any(
	feature = "try-runtime",
	feature = "runtime-benchmarks",
	feature = "std"
))]
mod try_state;
mod types;
mod vkai;
pub mod weights;

pub use pallet::*;
pub use scores::{CheckerScores, SCORE_PAGE};
pub use types::*;
pub use weights::WeightInfo;

/// Where the pallet logs.
pub(crate) const LOG_TARGET: &str = "runtime::rewards";

/// Most references that are kept of a class: that many less one can be set while a round runs.
pub const MAX_REFERENCES: u32 = 8;

/// Most pools in one page of [`Pallet::delegations_of`].
pub const MAX_PAGE: u32 = 256;

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use alloc::vec::Vec;
	use frame_support::{PalletId, pallet_prelude::*, traits::fungible};
	use frame_system::pallet_prelude::*;
	use kaisar_math::{ClassReference, Ratio, RedeemTerm, ScoreTable, Split, classes::CLASSES};
	use kaisar_primitives::{
		Balance, BlockNumber, Checks, Dated, EpochIndex, GpuClass, GpuClasses, PoolId, Pools, Pot,
		RoundIndex, Seats, WorkerId,
	};
	use sp_runtime::{FixedU128, traits::SaturatedConversion};

	/// The layout of the storage.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	#[pallet::config]
	pub trait Config: frame_system::Config {
		/// KAI.
		type Currency: fungible::Mutate<Self::AccountId, Balance = Balance>;

		/// Owners and commissions (Providers for workers, Checkers for operators).
		type Pools: Pools<Self::AccountId>;

		/// Which operator an account is (Checkers).
		type Operators: Seats<Self::AccountId>;

		/// Closes a worker's check that is over before it is settled (Popw).
		type Checks: Checks;

		/// Makes workers for the benchmarks (Providers).
		#[cfg(feature = "runtime-benchmarks")]
		type Workers: kaisar_primitives::WorkerRegistry<Self::AccountId>;

		/// May change the score tables.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// From which the accounts of the pots and of the reserve are derived.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// No more KAI than this ever exists.
		#[pallet::constant]
		type MaxSupply: Get<Balance>;

		/// Blocks of an epoch; counts from the next one. *Param.*
		type EpochLength: Get<BlockNumber>;

		/// How the emission is split. *Param.*
		type Split: Get<Split>;

		/// How the workers' part is divided between PoC and PoD. *Param.*
		type Ratio: Get<Ratio>;

		/// A worker's PoD reward of an epoch is at most this times the protocol fees its orders paid.
		/// *Param.*
		type PodFeeCap: Get<FixedU128>;

		/// The stake with which the boost is 2. *Param.*
		type MaxStake: Get<Balance>;

		/// For how many epochs totals are kept, at least 1. *Param.*
		type HistoryDepth: Get<EpochIndex>;

		/// Gets the protocol's part of rentals while the emission runs.
		type Treasury: Get<Self::AccountId>;

		/// The least vKAI that can be redeemed at once.
		#[pallet::constant]
		type MinRedemption: Get<Balance>;

		/// Most redemptions that an account can have open.
		#[pallet::constant]
		type MaxRedemptions: Get<u32>;

		/// Weights of the calls and the hook.
		type WeightInfo: WeightInfo;
	}

	/// The epoch that runs, with its scores.
	#[pallet::storage]
	pub type Current<T: Config> = StorageValue<_, RunningEpoch, ValueQuery>;

	/// The epochs that are over and not dropped: [`Oldest`] up to the one before [`Current`].
	#[pallet::storage]
	pub type Epochs<T: Config> = StorageMap<_, Twox64Concat, EpochIndex, EpochTotals>;

	/// The oldest epoch whose totals are kept.
	#[pallet::storage]
	pub type Oldest<T: Config> = StorageValue<_, EpochIndex, ValueQuery>;

	/// What each pot has for the running epoch besides its emission: put in, slashed in, carried over.
	#[pallet::storage]
	pub type Carry<T: Config> = StorageMap<_, Twox64Concat, Pot, Balance, ValueQuery>;

	/// What each pot owes: settled and not paid. For checkers that is all that is claimable, all vKAI,
	/// and what redemptions will pay.
	#[pallet::storage]
	pub type Owed<T: Config> = StorageMap<_, Twox64Concat, Pot, Balance, ValueQuery>;

	/// Running scores and claims of workers.
	#[pallet::storage]
	pub type WorkerScores<T: Config> = StorageMap<_, Twox64Concat, WorkerId, WorkerScore>;

	/// Running scores of operators, in pages of [`SCORE_PAGE`] by number. [`CheckerScores`] reads and
	/// writes them.
	#[pallet::storage]
	pub type CheckerScorePages<T: Config> = StorageMap<
		_,
		Twox64Concat,
		u32,
		BoundedVec<CheckerScore, ConstU32<SCORE_PAGE>>,
		ValueQuery,
	>;

	/// What an account earned as a checker and has not claimed. By account, since it may have had
	/// several operator numbers.
	#[pallet::storage]
	pub type CheckerClaims<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// vKAI by account.
	#[pallet::storage]
	pub type VKai<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// The pools that have members.
	#[pallet::storage]
	pub type MemberPools<T: Config> = StorageMap<_, Twox64Concat, PoolId, MemberPool>;

	/// Members, by account and pool: with shares, or with something to claim.
	#[pallet::storage]
	pub type Members<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Twox64Concat, PoolId, PoolMember>;

	/// Rates at the end of an epoch that some members of a pool need yet, at most one entry for each of
	/// them.
	#[pallet::storage]
	pub type Rates<T: Config> =
		StorageDoubleMap<_, Twox64Concat, PoolId, Twox64Concat, EpochIndex, NotedRate>;

	/// The redemptions of an account, oldest first.
	#[pallet::storage]
	pub type Redemptions<T: Config> = StorageMap<
		_,
		Blake2_128Concat,
		T::AccountId,
		BoundedVec<Redemption, T::MaxRedemptions>,
		ValueQuery,
	>;

	/// The number of the next redemption.
	#[pallet::storage]
	pub type NextRedemptionId<T: Config> = StorageValue<_, RedemptionId, ValueQuery>;

	/// Tier scores and weights.
	#[pallet::storage]
	pub type Table<T: Config> = StorageValue<_, ScoreTable, ValueQuery>;

	/// The score of one GPU of each class, in hundredths. A class without one is unknown.
	#[pallet::storage]
	pub type ClassScores<T: Config> = StorageMap<_, Twox64Concat, GpuClass, u32>;

	/// What one GPU of each class is held to, oldest first: the references by which rounds that are not
	/// over are measured, and the one that was set last. A class without one is held to the least.
	#[pallet::storage]
	pub type ClassReferences<T: Config> = StorageMap<
		_,
		Twox64Concat,
		GpuClass,
		BoundedVec<Dated<Option<ClassReference>>, ConstU32<MAX_REFERENCES>>,
		ValueQuery,
	>;

	/// The genesis allocation that is paid to checkers in step with the emission: the whole of it, what
	/// is out already included. What is left lies on [`Pallet::reserve_account`].
	#[pallet::storage]
	pub type Reserve<T: Config> = StorageValue<_, Balance, ValueQuery>;

	/// The validators' share of the emission that is not minted yet.
	#[pallet::storage]
	pub type Validators<T: Config> = StorageValue<_, ValidatorsDue, ValueQuery>;

	/// What the chain starts with.
	#[pallet::genesis_config]
	pub struct GenesisConfig<T: Config> {
		/// Allocated for checkers and minted to [`Pallet::reserve_account`]. On production
		/// `kaisar_math::emission::CHECKERS_RESERVE`.
		///
		/// Each pot that has less than the existential deposit is given it, so a preset that is to keep
		/// the supply to the unit must count both, or endow the pots itself.
		pub reserve: Balance,
		/// Tier scores and weights.
		pub score_table: ScoreTable,
		/// GPU classes, as `(class, score of one GPU in hundredths)`.
		pub class_scores: Vec<(GpuClass, u32)>,
		/// What one GPU of a class is held to.
		pub class_references: Vec<(GpuClass, ClassReference)>,
		#[doc(hidden)]
		pub _config: core::marker::PhantomData<T>,
	}

	impl<T: Config> Default for GenesisConfig<T> {
		fn default() -> Self {
			Self {
				reserve: 0,
				score_table: ScoreTable::default(),
				class_scores: CLASSES
					.iter()
					.map(|class| (class.id, class.score))
					.collect(),
				class_references: CLASSES
					.iter()
					.map(|class| (class.id, class.floor()))
					.collect(),
				_config: Default::default(),
			}
		}
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			assert!(
				self.score_table.is_valid(),
				"a higher tier never scores less"
			);
			Table::<T>::put(self.score_table);
			for (class, score) in &self.class_scores {
				assert!(
					*class > 0 && *score <= kaisar_math::score::MAX_CLASS_SCORE,
					"class scores"
				);
				assert!(!ClassScores::<T>::contains_key(class), "one score a class");
				ClassScores::<T>::insert(class, score);
			}
			for (class, reference) in &self.class_references {
				assert!(
					reference.is_valid() && ClassScores::<T>::contains_key(class),
					"class references"
				);
				assert!(
					!ClassReferences::<T>::contains_key(class),
					"one reference a class"
				);
				let dated = Dated {
					value: Some(*reference),
					since: 0,
				};
				ClassReferences::<T>::insert(class, BoundedVec::truncate_from(alloc::vec![dated]));
			}
			// The genesis block emits nothing and is in no epoch.
			Current::<T>::put(RunningEpoch {
				index: 0,
				start: 1,
				length: T::EpochLength::get().max(1),
				scores: Scores::default(),
			});
			Pallet::<T>::found(self.reserve).expect("pots and reserve can be founded at genesis");
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// An epoch ended. `providers` and `checkers` are what its scores share; what was carried over
		/// into the next is not in them.
		EpochEnded {
			/// The epoch.
			epoch: EpochIndex,
			/// What workers share, PoC and PoD together.
			providers: Balance,
			/// What operators share.
			checkers: Balance,
			/// Total PoC score.
			poc_score: u128,
			/// Total PoD score.
			pod_score: u128,
			/// Total score of the operators.
			checker_score: u128,
		},
		/// A pool's score of an epoch was settled.
		Settled {
			/// The pool.
			pool: PoolId,
			/// The epoch.
			epoch: EpochIndex,
			/// What it earned, now claimable.
			reward: Balance,
			/// What it would have earned as PoD, had its orders paid more fees; carried over.
			carried: Balance,
		},
		/// A pool's score was of an epoch that is not kept any more. It earned nothing.
		Expired {
			/// The pool.
			pool: PoolId,
			/// The epoch.
			epoch: EpochIndex,
		},
		/// A worker's reward was paid to its owner, in KAI.
		WorkerClaimed {
			/// The worker.
			worker: WorkerId,
			/// Its owner.
			who: T::AccountId,
			/// The amount.
			amount: Balance,
		},
		/// A checker's reward was paid, in vKAI.
		CheckerClaimed {
			/// The operator's account.
			who: T::AccountId,
			/// The amount.
			amount: Balance,
		},
		/// KAI was put into a pot, for the running epoch.
		PotFunded {
			/// The pot.
			pot: Pot,
			/// Where it came from.
			from: T::AccountId,
			/// The amount.
			amount: Balance,
		},
		/// Tier scores and weights were changed.
		ScoreTableSet {
			/// The old ones.
			old: ScoreTable,
			/// The new ones.
			new: ScoreTable,
		},
		/// A class' score was set.
		ClassScoreSet {
			/// The class.
			class: GpuClass,
			/// The old score, if it had one.
			old: Option<u32>,
			/// The new score.
			new: u32,
		},
		/// The members of a pool were credited with their part of what it was settled with.
		MembersRewarded {
			/// The pool.
			pool: PoolId,
			/// The epoch.
			epoch: EpochIndex,
			/// What they share.
			amount: Balance,
		},
		/// A member's part was paid: in KAI by a worker's pool, in vKAI by an operator's.
		DelegationClaimed {
			/// The pool.
			pool: PoolId,
			/// The delegator or licence holder.
			who: T::AccountId,
			/// The amount.
			amount: Balance,
		},
		/// vKAI was given up for KAI to come; what is not paid is the checker pot's.
		RedemptionStarted {
			/// Whose.
			who: T::AccountId,
			/// The redemption.
			id: RedemptionId,
			/// The vKAI.
			amount: Balance,
			/// The KAI.
			pays: Balance,
			/// The first block in which it can be withdrawn.
			due: BlockNumber,
		},
		/// A redemption was paid, in KAI.
		RedemptionWithdrawn {
			/// Whose.
			who: T::AccountId,
			/// The redemption.
			id: RedemptionId,
			/// The amount.
			amount: Balance,
		},
		/// The protocol's part of a rental was paid.
		ProtocolFeePaid {
			/// The worker that was rented.
			worker: WorkerId,
			/// Who paid it.
			from: T::AccountId,
			/// The amount.
			amount: Balance,
		},
		/// A class' reference was set, or taken away.
		ClassReferenceSet {
			/// The class.
			class: GpuClass,
			/// The one that was set before, if it had one.
			old: Option<ClassReference>,
			/// The new one.
			new: Option<ClassReference>,
			/// The first round that is measured by it.
			from: RoundIndex,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// No such worker or operator.
		UnknownPool,
		/// The worker belongs to another account.
		NotOwner,
		/// All that was earned has been claimed.
		NothingToClaim,
		/// A class is never 0, and its score at most 1,000.00.
		InvalidClassScore,
		/// A higher tier must not score less.
		InvalidScoreTable,
		/// A sum left the range that the network can reach. Should never happen.
		Overflow,
		/// What is kept of a pool and of its members does not fit together. Should never happen.
		Inconsistent,
		/// Less than can be redeemed at once.
		RedemptionTooSmall,
		/// The account has less vKAI.
		InsufficientVKai,
		/// The account has as many redemptions open as it can have.
		TooManyRedemptions,
		/// The account has no such redemption.
		UnknownRedemption,
		/// The redemption's term is not over.
		RedemptionNotDue,
		/// The class has no score.
		UnknownClass,
		/// A reference names throughput and memory, what was measured the walk too, and none of them is out
		/// of range.
		InvalidClassReference,
		/// As many references of the class were set since the oldest round that is not over as are kept.
		TooManyReferences,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// The epoch that runs, with its total scores so far.
		pub fn current_epoch() -> RunningEpoch {
			Current::<T>::get()
		}

		/// The totals of an epoch that is over, if they are kept.
		pub fn epoch_totals(epoch: EpochIndex) -> Option<EpochTotals> {
			Epochs::<T>::get(epoch)
		}

		/// A pool's running score. It may be of an earlier epoch, if nobody touched it since.
		pub fn running_score(pool: PoolId) -> Option<PoolScore> {
			match pool {
				PoolId::Worker(worker) => WorkerScores::<T>::get(worker).map(PoolScore::Worker),
				PoolId::Checker(operator) => {
					CheckerScores::<T>::get(operator).map(|counts| PoolScore::Checker {
						counts,
						score: counts.score(),
					})
				}
			}
		}

		/// What a pool's owner or operator can get from it now, in KAI or vKAI: for a worker all that
		/// `claim_worker` pays, for an operator what its unsettled score comes to.
		pub fn claimable_from(pool: PoolId) -> Balance {
			Self::do_claimable_from(pool)
		}

		/// What `claim_checker` credits to an account now, in vKAI.
		pub fn claimable(who: T::AccountId) -> Balance {
			Self::do_claimable(&who)
		}

		/// An account's vKAI.
		pub fn vkai(who: T::AccountId) -> Balance {
			VKai::<T>::get(who)
		}

		/// What `claim_delegation` pays a member of a pool now: KAI for a worker's, vKAI for an
		/// operator's.
		pub fn claimable_by(pool: PoolId, who: T::AccountId) -> Balance {
			Self::do_claimable_delegation(pool, &who)
		}

		/// The pools in which an account is a member, or was and has something to claim, with what
		/// `claim_delegation` pays from each; at most `limit` of them, [`MAX_PAGE`] at most.
		///
		/// With `claimable` for what it earned as an operator, and `claimable_from` for each worker
		/// that it owns, this is all that an account can claim.
		pub fn delegations_of(
			who: T::AccountId,
			after: Option<PoolId>,
			limit: u32,
		) -> DelegationPage {
			Self::do_delegations(&who, after, limit)
		}

		/// What is known of a pool's members, if it has any.
		pub fn pool_members(pool: PoolId) -> Option<MemberPool> {
			MemberPools::<T>::get(pool)
		}

		/// What is known of a member of a pool.
		pub fn member(pool: PoolId, who: T::AccountId) -> Option<PoolMember> {
			Members::<T>::get(who, pool)
		}

		/// The open redemptions of an account, oldest first.
		pub fn redemptions_of(who: T::AccountId) -> Vec<Redemption> {
			Redemptions::<T>::get(who).into_inner()
		}

		/// What all blocks to come emit.
		pub fn emission_left() -> Balance {
			Self::do_emission_left()
		}

		/// The score of one GPU of a class, in hundredths, if the class is known.
		pub fn class_score(class: GpuClass) -> Option<u32> {
			<Self as GpuClasses>::score(class)
		}

		/// What one GPU of a class is held to from the next round on, if the class has a reference.
		pub fn class_reference(class: GpuClass) -> Option<ClassReference> {
			Self::newest_reference(class)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Settles a pool: turns its score of an epoch that is over into what can be claimed. Nothing
		/// is left to do where it is settled already, which is no error.
		///
		/// - **Origin**: signed, anyone.
		/// - `pool`: the worker or operator.
		/// - **Errors**: `UnknownPool`.
		/// - **Events**: `Settled` or `Expired`, if there was something to settle.
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::settle())]
		pub fn settle(origin: OriginFor<T>, pool: PoolId) -> DispatchResult {
			ensure_signed(origin)?;
			Self::do_settle(pool)
		}

		/// Pays a worker's owner all that the worker has earned in the epochs that are over, in KAI.
		///
		/// - **Origin**: signed by the worker's owner.
		/// - `worker`: the worker; one that is gone can still be claimed for.
		/// - **Errors**: `UnknownPool`, `NotOwner`, `NothingToClaim`, and the currency's where the
		///   account is new and the amount below the existential deposit.
		/// - **Events**: `WorkerClaimed`, after `Settled` if the worker was not settled yet.
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::claim_worker())]
		pub fn claim_worker(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_worker(who, worker)
		}

		/// Credits the caller with all that it earned as a checker in the epochs that are over, in vKAI.
		///
		/// What an earlier operator number of the account earned in the epoch in which it deregistered
		/// must be settled once by [`Pallet::settle`] if nothing else did.
		///
		/// - **Origin**: signed by the operator's account, also after it has deregistered.
		/// - **Errors**: `NothingToClaim`.
		/// - **Events**: `CheckerClaimed`, after `Settled` if the operator was not settled yet.
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::claim_checker())]
		pub fn claim_checker(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_checker(who)
		}

		/// Pays a member of a pool all that it has earned there in the epochs that are over, however
		/// many: a delegator of a worker in KAI, a licence holder of an operator in vKAI.
		///
		/// - **Origin**: signed by the delegator or licence holder, also after it has left the pool.
		/// - `pool`: the worker, or the operator by its number; one that is gone can still be claimed
		///   from.
		/// - **Errors**: `UnknownPool`, `NothingToClaim`, and the currency's where the account is new and
		///   the amount below the existential deposit.
		/// - **Events**: `DelegationClaimed`, after `Settled` and `MembersRewarded` if the pool was not
		///   settled yet.
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::claim_delegation())]
		pub fn claim_delegation(origin: OriginFor<T>, pool: PoolId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_delegation(who, pool)
		}

		/// Gives up vKAI for KAI when a term is over: 25 % of it after 30 days, 50 % after 90, all of it
		/// after 180. The rest is the checker pot's again at once. It cannot be undone.
		///
		/// - **Origin**: signed by the account that has the vKAI.
		/// - `amount`: in vKAI, at least 1.
		/// - `term`: how long it takes.
		/// - **Errors**: `RedemptionTooSmall`, `InsufficientVKai`, `TooManyRedemptions`.
		/// - **Events**: `RedemptionStarted`.
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::redeem())]
		pub fn redeem(origin: OriginFor<T>, amount: Balance, term: RedeemTerm) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_redeem(who, amount, term)
		}

		/// Pays a redemption whose term is over, in KAI.
		///
		/// - **Origin**: signed by the account that redeemed.
		/// - `id`: the redemption.
		/// - **Errors**: `UnknownRedemption`, `RedemptionNotDue`.
		/// - **Events**: `RedemptionWithdrawn`.
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::withdraw_redemption())]
		pub fn withdraw_redemption(origin: OriginFor<T>, id: RedemptionId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_withdraw_redemption(who, id)
		}

		/// Sets the tier scores and weights. They hold for whatever is proved from now on.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `table`: scores in hundredths, weights as they are.
		/// - **Errors**: `InvalidScoreTable`.
		/// - **Events**: `ScoreTableSet`.
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::set_score_table())]
		pub fn set_score_table(origin: OriginFor<T>, table: ScoreTable) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_score_table(table)
		}

		/// Sets a class' score, or appends a class. It holds for whatever is proved from now on.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `class`: not 0, which is "no GPU".
		/// - `score`: of one GPU, in hundredths, at most 100,000.
		/// - **Errors**: `InvalidClassScore`.
		/// - **Events**: `ClassScoreSet`.
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::set_class_score())]
		pub fn set_class_score(
			origin: OriginFor<T>,
			class: GpuClass,
			score: u32,
		) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_class_score(class, score)
		}

		/// Sets what one GPU of a class is held to, as `kaisar-agent calibrate` prints it, or takes it away:
		/// then the class is held to the least. It counts for rounds that start from the next one on, so that
		/// all who measure in a round measure by the same.
		///
		/// - **Origin**: `AdminOrigin`.
		/// - `class`: one that has a score.
		/// - `reference`: throughput in 10⁹ operations a second, the walk in 10⁶ bytes a second, memory in GB.
		/// - **Errors**: `UnknownClass`, `InvalidClassReference`, `TooManyReferences`.
		/// - **Events**: `ClassReferenceSet`.
		#[pallet::call_index(8)]
		#[pallet::weight(T::WeightInfo::set_class_reference())]
		pub fn set_class_reference(
			origin: OriginFor<T>,
			class: GpuClass,
			reference: Option<ClassReference>,
		) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_class_reference(class, reference)
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		/// Ends the epoch whose last block is over. A fixed number of reads and writes.
		fn on_initialize(now: BlockNumberFor<T>) -> Weight {
			let now: BlockNumber = now.saturated_into();
			let current = Current::<T>::get();
			if !current.is_over(now) {
				return T::WeightInfo::within_epoch();
			}
			Self::end_epoch(current, now);
			T::WeightInfo::end_epoch()
		}

		fn integrity_test() {
			assert!(T::MaxSupply::get() > 0, "there is a supply");
			assert!(
				Self::pot_account(Pot::Providers) != Self::pot_account(Pot::Checkers)
					&& Self::pot_account(Pot::Checkers) != Self::reserve_account(),
				"the account type is too short to hold sub accounts",
			);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
