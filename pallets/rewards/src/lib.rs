//! # Rewards
//!
//! Mints the network's emission, divides it among workers and checkers, and pays their claims.
//!
//! ## Terms
//!
//! - **Epoch**: a run of blocks whose scores share one reward. Numbered from 0 without gaps.
//! - **Pool** ([`PoolId`](kaisar_primitives::PoolId)): an earner. A worker, with its delegators; an
//!   operator, with its license holders.
//! - **Pot** ([`Pot`](kaisar_primitives::Pot)): one of two accounts that hold rewards until they are paid,
//!   one for workers and one for checkers.
//! - **PoC**, **PoD**: the scores for capacity (time proved online) and for demand (time proved rented).
//! - **vKAI**: the currency in which checkers are paid. A balance of this pallet that cannot be transferred,
//!   backed unit by unit by KAI in the checker pot.
//!
//! ## The story of a reward
//!
//! 1. A check of a worker closes. [`OnClosed`](kaisar_primitives::OnClosed) adds the proved time, idle and
//!    rented apart, weighed by stake and hardware, to the worker's running score and to the epoch's total,
//!    and counts each seat by its weight for its operator. Commitments that were never opened count as
//!    missed seats ([`OnUnopened`](kaisar_primitives::OnUnopened)). The protocol fee of the rented time is
//!    noted beside the scores.
//! 2. The epoch's last block is over. In the next block's `on_initialize` the emission of its blocks is
//!    minted into the pots, in one step, the totals are stored ([`EpochTotals`]), and the next epoch begins.
//!    That is all: the same reads and writes for ten workers as for a million.
//! 3. The first touch of a pool in a later epoch **settles** it: its score's share of the stored totals
//!    becomes claimable. A touch is the next score, a change of its stake
//!    ([`OnPoolChange`](kaisar_primitives::OnPoolChange)), a claim, or anyone's [`Pallet::settle`]. The
//!    commission's part of it is divided among the **members** that held shares for the whole epoch: a
//!    worker's delegators, or an operator's license holders.
//! 4. A worker's owner claims KAI ([`Pallet::claim_worker`]), an operator vKAI ([`Pallet::claim_checker`]),
//!    a member KAI from a worker and vKAI from an operator ([`Pallet::claim_delegation`]).
//! 5. A holder of vKAI redeems it ([`Pallet::redeem`]) for KAI: all of it after 180 days, half after 90, a
//!    quarter after 30. The forfeited part returns to the checker pot at once.
//!
//! The same as a test, for a worker:
//!
#![doc = docify::embed!("src/tests/story.rs", a_worker_earns_and_its_owner_claims)]
//!
//! And for an operator:
//!
#![doc = docify::embed!("src/tests/story.rs", an_operator_redeems_its_vkai_after_ninety_days)]
//!
//! ## Where each unit is
//!
//! A pot's balance, less its existential deposit, is the sum of three: KAI that waits for the running
//! epoch's end ([`Carry`]), KAI of past epochs that is not settled ([`EpochTotals::left`]), and KAI that is
//! settled and not paid ([`Owed`]). Nothing is ever between them. KAI that is paid to nobody goes to
//! [`Carry`]: at the epoch's end where there are no scores or a fixed ratio leaves an excess; at a worker's
//! settlement the excess over its fee cap; and the rest of rounding and expired rewards when the epoch is
//! dropped from the history.
//!
//! So the time at which a worker is settled decides to which epoch that excess carries over, and nothing
//! else depends on the order or the time of any call. Since anyone may settle, nobody can hold an excess
//! back. The amount that the cap withholds from all rented blocks together goes to idle blocks of the same
//! epoch.
//!
//! ## Members
//!
//! A member's shares count for an epoch if they were held for the whole of it: added shares count from the
//! next epoch, and withdrawn shares lose the running epoch's reward. `members.rs` describes how one entry a
//! pool and one a member suffice for that, whatever the number of either and of epochs. The owner of a
//! worker, too, shares by the least stake that it had in the epoch, so that nobody can stake for its last
//! block only.
//!
//! ## What comes later
//!
//! The validators' share of the emission is recorded, and counted against the supply's cap, but minted by
//! `pallet-staking`, which takes it by [`Pallet::take_validators_share`].

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
mod retired;
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

/// The log target of this pallet.
pub(crate) const LOG_TARGET: &str = "runtime::rewards";

/// Maximum number of references stored for a class. One fewer can be set while a round runs.
pub const MAX_REFERENCES: u32 = 8;

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
	use sp_runtime::{FixedU128, Perbill, traits::SaturatedConversion};

	/// The in-code storage version.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	#[pallet::config]
	pub trait Config: frame_system::Config {
		/// KAI.
		type Currency: fungible::Mutate<Self::AccountId, Balance = Balance>;

		/// Owners and commissions of pools (Providers for workers, Checkers for operators).
		type Pools: Pools<Self::AccountId>;

		/// The operators by account (Checkers).
		type Operators: Seats<Self::AccountId>;

		/// Closes a worker's ended check before the worker is settled (Popw).
		type Checks: Checks;

		/// Creates workers for the benchmarks (Providers).
		#[cfg(feature = "runtime-benchmarks")]
		type Workers: kaisar_primitives::WorkerRegistry<Self::AccountId>;

		/// The origin that may change the score tables, classes and references.
		type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;

		/// The id from which the accounts of the pots and of the reserve are derived.
		#[pallet::constant]
		type PalletId: Get<PalletId>;

		/// The maximum supply of KAI.
		#[pallet::constant]
		type MaxSupply: Get<Balance>;

		/// Blocks of an epoch, from 1 to a year's; a change counts from the next epoch. *Param.*
		type EpochLength: Get<BlockNumber>;

		/// The split of the emission; an excess over 100 % is cut from the last share. A change counts from
		/// the next epoch. *Param.*
		type Split: Get<Split>;

		/// The ratio in which PoC and PoD divide the workers' part. *Param.*
		type Ratio: Get<Ratio>;

		/// The maximum reward of a worker's rented blocks in an epoch, PoC and PoD together, as a multiple
		/// of the protocol fees that its orders paid. At most 1, at which renting one's own machine costs
		/// nothing. *Param.*
		type PodFeeCap: Get<FixedU128>;

		/// The weight of a machine of the highest CPU tier without GPUs that score. One with fewer cores
		/// weighs proportionally less. *Param.*
		type CpuOnlyWeight: Get<Perbill>;

		/// Whether GPUs of uncalibrated classes score. For development. *Param.*
		type PayUncalibrated: Get<bool>;

		/// The stake at which the boost reaches 2; 0 disables the boost. *Param.*
		type MaxStake: Get<Balance>;

		/// The number of epochs for which the totals of an epoch that ends now are stored, 1 to 260.
		/// *Param.*
		type HistoryDepth: Get<EpochIndex>;

		/// The treasury's account, which receives the protocol's part of rentals during the emission.
		type Treasury: Get<Self::AccountId>;

		/// The minimum vKAI of a redemption.
		#[pallet::constant]
		type MinRedemption: Get<Balance>;

		/// The maximum number of open redemptions of an account.
		#[pallet::constant]
		type MaxRedemptions: Get<u32>;

		/// Weights of the calls and the hook.
		type WeightInfo: WeightInfo;
	}

	/// The current epoch, with its scores.
	#[pallet::storage]
	pub type Current<T: Config> = StorageValue<_, RunningEpoch, ValueQuery>;

	/// The totals of past epochs, from [`Oldest`] up to the one before [`Current`].
	#[pallet::storage]
	pub type Epochs<T: Config> = StorageMap<_, Twox64Concat, EpochIndex, EpochTotals>;

	/// The oldest epoch whose totals are stored.
	#[pallet::storage]
	pub type Oldest<T: Config> = StorageValue<_, EpochIndex, ValueQuery>;

	/// The KAI that each pot has for the current epoch on top of its emission: funded, slashed, or carried
	/// over.
	#[pallet::storage]
	pub type Carry<T: Config> = StorageMap<_, Twox64Concat, Pot, Balance, ValueQuery>;

	/// The KAI that each pot owes: settled and not paid. For checkers: everything claimable, all vKAI, and
	/// the payments of open redemptions.
	#[pallet::storage]
	pub type Owed<T: Config> = StorageMap<_, Twox64Concat, Pot, Balance, ValueQuery>;

	/// Running scores and claims of workers.
	#[pallet::storage]
	pub type WorkerScores<T: Config> = StorageMap<_, Twox64Concat, WorkerId, WorkerScore>;

	/// Running scores of operators, in pages of [`SCORE_PAGE`] by number. [`CheckerScores`] reads and writes
	/// them.
	#[pallet::storage]
	pub type CheckerScorePages<T: Config> = StorageMap<
		_,
		Twox64Concat,
		u32,
		BoundedVec<CheckerScore, ConstU32<SCORE_PAGE>>,
		ValueQuery,
	>;

	/// The unclaimed earnings of an account as a checker. By account, since it may have had several operator
	/// numbers.
	#[pallet::storage]
	pub type CheckerClaims<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// vKAI by account.
	#[pallet::storage]
	pub type VKai<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Balance, ValueQuery>;

	/// The pools that have members.
	#[pallet::storage]
	pub type MemberPools<T: Config> = StorageMap<_, Twox64Concat, PoolId, MemberPool>;

	/// Members, by account and pool: accounts with shares or with something to claim.
	#[pallet::storage]
	pub type Members<T: Config> =
		StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Twox64Concat, PoolId, PoolMember>;

	/// Rates at the end of an epoch that some members of a pool still need, at most one entry for each
	/// member.
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

	/// The score of one GPU of each class, in hundredths. A class without a score is unknown.
	#[pallet::storage]
	pub type ClassScores<T: Config> = StorageMap<_, Twox64Concat, GpuClass, u32>;

	/// The references to which one GPU of each class is held, oldest first: those of rounds that are not
	/// over yet, and the one set last. A class without a reference is held to the minimum.
	#[pallet::storage]
	pub type ClassReferences<T: Config> = StorageMap<
		_,
		Twox64Concat,
		GpuClass,
		BoundedVec<Dated<Option<ClassReference>>, ConstU32<MAX_REFERENCES>>,
		ValueQuery,
	>;

	/// The genesis allocation paid to checkers in step with the emission: the whole, including the part
	/// already paid. The remainder is on [`Pallet::reserve_account`].
	#[pallet::storage]
	pub type Reserve<T: Config> = StorageValue<_, Balance, ValueQuery>;

	/// The validators' share of the emission, not minted yet.
	#[pallet::storage]
	pub type Validators<T: Config> = StorageValue<_, ValidatorsDue, ValueQuery>;

	/// The state at genesis.
	#[pallet::genesis_config]
	pub struct GenesisConfig<T: Config> {
		/// KAI allocated for checkers and minted to [`Pallet::reserve_account`]. On production
		/// `kaisar_math::emission::CHECKERS_RESERVE`.
		///
		/// A pot with less than the existential deposit gets it, so a preset that must meet the supply to
		/// the unit has to count both deposits, or endow the pots itself.
		pub reserve: Balance,
		/// Tier scores and weights.
		pub score_table: ScoreTable,
		/// GPU classes, as `(class, score of one GPU in hundredths)`.
		pub class_scores: Vec<(GpuClass, u32)>,
		/// References to which one GPU of a class is held.
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
					.map(|class| (class.id, class.reference()))
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
				"a higher tier scores less than a lower one"
			);
			Table::<T>::put(self.score_table);
			for (class, score) in &self.class_scores {
				assert!(
					*class > 0 && *score <= kaisar_math::score::MAX_CLASS_SCORE,
					"a class is 0, or its score too high"
				);
				assert!(
					!ClassScores::<T>::contains_key(class),
					"a class has two scores"
				);
				ClassScores::<T>::insert(class, score);
			}
			for (class, reference) in &self.class_references {
				assert!(
					reference.is_valid() && ClassScores::<T>::contains_key(class),
					"a reference is invalid, or its class has no score"
				);
				assert!(
					!ClassReferences::<T>::contains_key(class),
					"a class has two references"
				);
				let dated = Dated {
					value: Some(*reference),
					since: 0,
				};
				ClassReferences::<T>::insert(class, BoundedVec::truncate_from(alloc::vec![dated]));
			}
			// The genesis block emits nothing and is in no epoch.
			Current::<T>::put(RunningEpoch::begin::<T>(0, 1));
			Pallet::<T>::found_pots(self.reserve)
				.expect("pots and reserve can be founded at genesis");
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	#[allow(missing_docs)]
	pub enum Event<T: Config> {
		/// An epoch ended.
		EpochEnded {
			epoch: EpochIndex,
			/// The KAI that workers share, for idle and for rented blocks together, without the part carried
			/// over to the next epoch.
			providers: Balance,
			/// The KAI that operators share, without the part carried over to the next epoch.
			checkers: Balance,
			/// The total PoC score.
			poc_score: u128,
			/// The total PoD score.
			pod_score: u128,
			/// The total score of the operators.
			checker_score: u128,
		},
		/// A pool's score of an epoch was settled.
		Settled {
			pool: PoolId,
			epoch: EpochIndex,
			/// The reward, claimable from now on.
			reward: Balance,
			/// The part of the worker's reward for rented blocks that the cap by protocol fees withholds; it
			/// carries over.
			carried: Balance,
		},
		/// A pool's score expired without a reward, because its epoch is no longer stored.
		Expired { pool: PoolId, epoch: EpochIndex },
		/// A worker's reward was paid to its owner, in KAI.
		WorkerClaimed {
			worker: WorkerId,
			/// The worker's owner.
			who: T::AccountId,
			amount: Balance,
		},
		/// A checker's reward was paid, in vKAI.
		CheckerClaimed {
			/// The operator's account.
			who: T::AccountId,
			amount: Balance,
		},
		/// KAI was put into a pot, for the current epoch.
		PotFunded {
			pot: Pot,
			from: T::AccountId,
			amount: Balance,
		},
		/// Tier scores and weights were changed.
		ScoreTableSet { old: ScoreTable, new: ScoreTable },
		/// The score of a class was set.
		ClassScoreSet {
			class: GpuClass,
			/// In hundredths; `None` if it had no score.
			old: Option<u32>,
			/// In hundredths.
			new: u32,
		},
		/// The members of a pool were credited with their part of a settled reward.
		MembersRewarded {
			pool: PoolId,
			epoch: EpochIndex,
			/// The amount that all members share.
			amount: Balance,
		},
		/// A member's part was paid: in KAI for a worker's pool, in vKAI for an operator's.
		DelegationClaimed {
			pool: PoolId,
			/// The delegator or license holder.
			who: T::AccountId,
			amount: Balance,
		},
		/// vKAI was exchanged for KAI paid later; the forfeited part went back to the checker pot.
		RedemptionStarted {
			who: T::AccountId,
			id: RedemptionId,
			/// The vKAI redeemed.
			amount: Balance,
			/// The KAI to be paid.
			pays: Balance,
			/// The first block in which the KAI can be withdrawn.
			due: BlockNumber,
		},
		/// A redemption was paid, in KAI.
		RedemptionWithdrawn {
			who: T::AccountId,
			id: RedemptionId,
			amount: Balance,
		},
		/// The protocol's part of a rental was paid.
		ProtocolFeePaid {
			/// The worker that was rented.
			worker: WorkerId,
			from: T::AccountId,
			amount: Balance,
		},
		/// The reference of a class was set or removed.
		ClassReferenceSet {
			class: GpuClass,
			/// The reference set last before; `None` if there was none.
			old: Option<ClassReference>,
			/// `None` if it was removed.
			new: Option<ClassReference>,
			/// The first round measured by it.
			from: RoundIndex,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// No worker or operator has this number.
		UnknownPool,
		/// The caller does not own the worker.
		NotOwner,
		/// The caller has nothing to claim from epochs that are over. Wait for the running epoch's end.
		NothingToClaim,
		/// The class is 0, or its score is above 1,000.00.
		InvalidClassScore,
		/// In the table a higher tier scores less than a lower one.
		InvalidScoreTable,
		/// A sum overflows the range that the network can reach; a bug.
		Overflow,
		/// The stored state of a pool and of its members is inconsistent; a bug.
		Inconsistent,
		/// The amount is below the minimum of a redemption, 1 vKAI.
		RedemptionTooSmall,
		/// The amount exceeds the account's vKAI. Claim first, or redeem less.
		InsufficientVKai,
		/// The account already has 32 open redemptions, which is the maximum. Withdraw one that is due.
		TooManyRedemptions,
		/// The account has no redemption with this number.
		UnknownRedemption,
		/// The redemption's term has not ended. Wait for its due block.
		RedemptionNotDue,
		/// The class has no score.
		UnknownClass,
		/// The reference's turns or memory are 0, or above their maximum: 1,048,576 turns, 4,096 GB.
		InvalidClassReference,
		/// The class has 8 references for rounds that are not over yet, which is the maximum.
		TooManyReferences,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns the current epoch, with its total scores so far.
		pub fn current_epoch() -> RunningEpoch {
			Current::<T>::get()
		}

		/// Returns the totals of a past epoch, if they are stored.
		pub fn epoch_totals(epoch: EpochIndex) -> Option<EpochTotals> {
			Epochs::<T>::get(epoch)
		}

		/// Returns a pool's running score. It may be of an earlier epoch, if nothing touched the pool since.
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

		/// Returns the amount that a pool's owner or operator can get from it now: for a worker the KAI that
		/// `claim_worker` pays, for an operator the vKAI value of its unsettled score.
		pub fn claimable_from(pool: PoolId) -> Balance {
			Self::do_claimable_from(pool)
		}

		/// Returns the vKAI that `claim_checker` credits to an account now.
		pub fn claimable(who: T::AccountId) -> Balance {
			Self::do_claimable(&who)
		}

		/// Returns an account's vKAI.
		pub fn vkai(who: T::AccountId) -> Balance {
			VKai::<T>::get(who)
		}

		/// Returns the amount that `claim_delegation` pays a member of a pool now: KAI for a worker's, vKAI
		/// for an operator's.
		pub fn claimable_by(pool: PoolId, who: T::AccountId) -> Balance {
			Self::do_claimable_delegation(pool, &who)
		}

		/// Returns the pools in which an account is a member, or was and has something to claim, with the
		/// amount that `claim_delegation` pays from each. It starts after pool `after` and lists at most
		/// `limit` pools, at most [`kaisar_primitives::MAX_PAGE`].
		///
		/// Together with `claimable` for its earnings as an operator, and `claimable_from` for each worker
		/// that it owns, this is everything that an account can claim.
		pub fn delegations_of(
			who: T::AccountId,
			after: Option<PoolId>,
			limit: u32,
		) -> DelegationPage {
			Self::do_delegations(&who, after, limit)
		}

		/// Returns the state of a pool's members, if it has any.
		pub fn pool_members(pool: PoolId) -> Option<MemberPool> {
			MemberPools::<T>::get(pool)
		}

		/// Returns the state of a member of a pool.
		pub fn member(pool: PoolId, who: T::AccountId) -> Option<PoolMember> {
			Members::<T>::get(who, pool)
		}

		/// Returns the open redemptions of an account, oldest first.
		pub fn redemptions_of(who: T::AccountId) -> Vec<Redemption> {
			Redemptions::<T>::get(who).into_inner()
		}

		/// Returns the emission of all future blocks.
		pub fn emission_left() -> Balance {
			Self::do_emission_left()
		}

		/// Returns the score of one GPU of a class, in hundredths, if the class is known.
		pub fn class_score(gpu_class: GpuClass) -> Option<u32> {
			<Self as GpuClasses>::score(gpu_class)
		}

		/// Returns the reference to which one GPU of a class is held from the next round on, if the class
		/// has one.
		pub fn class_reference(gpu_class: GpuClass) -> Option<ClassReference> {
			Self::newest_reference(gpu_class)
		}

		/// Returns the GPU classes from id `from` on, with name, score and reference. It reads `limit` ids,
		/// at most [`kaisar_primitives::MAX_PAGE`]; the next page begins after them. Ids end at 65,535.
		/// Class 0, no GPU, is left out.
		pub fn classes(from: GpuClass, limit: u32) -> Vec<ClassView> {
			Self::classes_from(from, limit)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Settles a pool: turns its score of a past epoch into a claimable reward.
		///
		/// A pool that is already settled stays as it is, which is not an error.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `pool`: the worker or operator.
		///
		/// # Errors
		/// - [`Error::UnknownPool`]: no worker or operator has this number.
		///
		/// # Events
		/// - [`Event::Settled`]: there was a score to settle.
		/// - [`Event::MembersRewarded`]: the pool has members that share the reward.
		/// - [`Event::Expired`]: the score's epoch is no longer stored.
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::settle())]
		pub fn settle(origin: OriginFor<T>, pool: PoolId) -> DispatchResult {
			ensure_signed(origin)?;
			Self::do_settle(pool)
		}

		/// Pays a worker's owner everything that the worker earned in past epochs, in KAI.
		///
		/// # Origin
		/// Signed, by the worker's owner.
		///
		/// # Parameters
		/// - `worker`: the worker, which may have been removed.
		///
		/// # Errors
		/// - [`Error::UnknownPool`]: no worker has this number.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::NothingToClaim`]: the worker has nothing to claim from epochs that are over.
		/// - The currency's error if the account is new and the amount below the existential deposit.
		///
		/// # Events
		/// - [`Event::Settled`], [`Event::MembersRewarded`], [`Event::Expired`]: the worker was not settled
		///   yet, as for [`Pallet::settle`].
		/// - [`Event::WorkerClaimed`].
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::claim_worker())]
		pub fn claim_worker(origin: OriginFor<T>, worker: WorkerId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_worker(who, worker)
		}

		/// Credits the caller with everything that it earned as a checker in past epochs, in vKAI.
		///
		/// Earnings of an account's earlier operator number, from the epoch in which it deregistered, must
		/// be settled once by [`Pallet::settle`] if nothing else settled them.
		///
		/// # Origin
		/// Signed, by the operator's account, also after it has deregistered.
		///
		/// # Errors
		/// - [`Error::NothingToClaim`]: the caller has nothing to claim from epochs that are over.
		///
		/// # Events
		/// - [`Event::Settled`], [`Event::MembersRewarded`], [`Event::Expired`]: the operator was not
		///   settled yet, as for [`Pallet::settle`].
		/// - [`Event::CheckerClaimed`].
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::claim_checker())]
		pub fn claim_checker(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_checker(who)
		}

		/// Pays a member of a pool everything that it earned there in past epochs, whatever their number: a
		/// delegator of a worker in KAI, a license holder of an operator in vKAI.
		///
		/// # Origin
		/// Signed, by the delegator or license holder, also after it has left the pool.
		///
		/// # Parameters
		/// - `pool`: the worker, or the operator by its number, which may have been removed.
		///
		/// # Errors
		/// - [`Error::UnknownPool`]: no worker or operator has this number.
		/// - [`Error::NothingToClaim`]: the caller has nothing to claim from epochs that are over.
		/// - The currency's error if the account is new and the amount below the existential deposit.
		///
		/// # Events
		/// - [`Event::Settled`], [`Event::MembersRewarded`], [`Event::Expired`]: the pool was not settled
		///   yet, as for [`Pallet::settle`].
		/// - [`Event::DelegationClaimed`].
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::claim_delegation())]
		pub fn claim_delegation(origin: OriginFor<T>, pool: PoolId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_claim_delegation(who, pool)
		}

		/// Redeems vKAI for KAI, paid after a term: 25 % of it after 30 days, 50 % after 90, all of it after
		/// 180.
		///
		/// The rest returns to the checker pot at once. A redemption cannot be undone.
		///
		/// # Origin
		/// Signed, by the account that has the vKAI.
		///
		/// # Parameters
		/// - `amount`: the vKAI to redeem, in units of 10⁻¹⁸ vKAI; at least [`Config::MinRedemption`], which
		///   is 1 vKAI.
		/// - `term`: the length of the wait.
		///
		/// # Errors
		/// - [`Error::RedemptionTooSmall`]: the amount is below [`Config::MinRedemption`].
		/// - [`Error::InsufficientVKai`]: the amount exceeds the account's vKAI.
		/// - [`Error::TooManyRedemptions`]: the account already has [`Config::MaxRedemptions`] open ones.
		///
		/// # Events
		/// [`Event::RedemptionStarted`]
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::redeem())]
		pub fn redeem(origin: OriginFor<T>, amount: Balance, term: RedeemTerm) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_redeem(who, amount, term)
		}

		/// Pays a redemption whose term has ended, in KAI.
		///
		/// # Origin
		/// Signed, by the account that redeemed.
		///
		/// # Parameters
		/// - `id`: the number of the redemption.
		///
		/// # Errors
		/// - [`Error::UnknownRedemption`]: the account has no redemption with this number.
		/// - [`Error::RedemptionNotDue`]: the redemption's term has not ended.
		///
		/// # Events
		/// [`Event::RedemptionWithdrawn`]
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::withdraw_redemption())]
		pub fn withdraw_redemption(origin: OriginFor<T>, id: RedemptionId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_withdraw_redemption(who, id)
		}

		/// Sets the tier scores and weights.
		///
		/// They apply to everything proved from now on.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `table`: scores in hundredths, and weights.
		///
		/// # Errors
		/// - [`Error::InvalidScoreTable`]: a higher tier scores less than a lower one.
		///
		/// # Events
		/// [`Event::ScoreTableSet`]
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::set_score_table())]
		pub fn set_score_table(origin: OriginFor<T>, table: ScoreTable) -> DispatchResult {
			T::AdminOrigin::ensure_origin(origin)?;
			Self::do_set_score_table(table)
		}

		/// Sets the score of a class, or appends a class.
		///
		/// The score applies to everything proved from now on.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `class`: the class, not 0, which is "no GPU".
		/// - `score`: the score of one GPU, in hundredths, at most 100,000.
		///
		/// # Errors
		/// - [`Error::InvalidClassScore`]: the class is 0, or the score above 100,000.
		///
		/// # Events
		/// [`Event::ClassScoreSet`]
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

		/// Sets or removes the reference to which one GPU of a class is held.
		///
		/// The reference counts for rounds that start from the next one on, so that everyone who measures in
		/// a round uses the same one. A class without a reference is held to the minimum.
		///
		/// # Origin
		/// [`Config::AdminOrigin`].
		///
		/// # Parameters
		/// - `class`: a class that has a score.
		/// - `reference`: turns of the GPU trial in 10 s, memory in GB, and whether both were measured, as
		///   `kaisar-agent calibrate` prints them; `None` removes the reference.
		///
		/// # Errors
		/// - [`Error::UnknownClass`]: the class has no score.
		/// - [`Error::InvalidClassReference`]: the turns or the memory are 0, or above their maximum.
		/// - [`Error::TooManyReferences`]: the class has 8 references for rounds that are not over yet.
		///
		/// # Events
		/// [`Event::ClassReferenceSet`]
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
		/// Ends the epoch if its last block is over, with a fixed number of reads and writes.
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
			assert!(T::MaxSupply::get() > 0, "`MaxSupply` must not be 0");
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
