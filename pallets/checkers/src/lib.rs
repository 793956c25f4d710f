//! # Checkers
//!
//! Operators of checker nodes, and the licenses that are delegated to them.
//!
//! ## Terms
//!
//! - An *operator* is an account that runs a checker node. Each registration has its own number
//!   ([`OperatorId`]), so that everything tied to a registration ends with it, at once.
//! - A *license* gives its holder a place in the draw of committees. The holder *delegates* it to an
//!   operator, which may be the holder itself, and the operator sits for it.
//! - A license is *active* in a round if it was delegated and accepted before the round began, and
//!   its operator was registered, online and not banned at that time.
//!
//! ## The flow
//!
//! 1. Carla registers as an operator: she gives a deposit, a checker key, the key of her agent, and a proof
//!    that she holds both keys.
//! 2. Hans holds a license and delegates it to Carla. It is `Pending` until she accepts; it would be
//!    accepted at once if she accepted all delegations automatically, or if Hans were his own operator.
//! 3. From the next round on the license is drawn for committees, and Carla's node sits for it.
//! 4. Hans revokes the delegation: from the next round on the license is not drawn. In running rounds it
//!    still is, so a committee never changes within its round.
//! 5. Carla goes offline for the weekend, and online again: meanwhile none of her licenses is drawn. If her
//!    machine fails, three consecutive rounds with seats and without a reveal put her offline, too.
//! 6. Carla deregisters: all delegations to her end at the next round, whatever their number. Her deposit
//!    is released except for 1 KAI, and her earned rewards stay hers.
//! 7. A year later her last epoch has expired. Anyone may then prune her record, which releases the last
//!    KAI.
//!
//! The same as tests. Steps 1 to 4:
#![doc = docify::embed!("src/tests/story.rs", a_holder_delegates_a_license_and_revokes_it)]
//!
//! Steps 5 to 7:
#![doc = docify::embed!("src/tests/story.rs", an_operator_pauses_fails_and_leaves)]
//!
//! ## Queries for a round
//!
//! All changes count from [`Checks::next_round`]. An operator's record keeps its keys and whether it is in
//! the draw for all rounds in flight ([`History`], [`Checks::in_flight`]), so an operator may go online or
//! set new keys at any time, however long a census takes. A license's [`Entry`] keeps two spans of rounds.
//! A third span that would overwrite one in force in a running round is refused with
//! [`Error::TooManyChanges`]: it could remove a license from a draw whose seed is already known.
//!
//! Entries lie in pages of [`PAGE_SIZE`], each entry of a fixed width, so a draw costs one read of a page
//! and the operator's record, with 30 licenses or 29,998. [`ActiveLicenses`] is updated with each change
//! instead of being counted.
//!
//! ## Strikes and bans
//!
//! A lone vote "online" against a full committee of "offline" is an incorrect calculation, a *strike*
//! ([`Strike`]). Strikes belong to an account, across its registrations, and several within a short time
//! ban it ([`banned_until`]): it has no seats from the next round on, until the ban is over and it goes
//! online again. More than ten ban it for good: the registration ends.
//!
//! 1. A cheat votes "online" for Wanda's worker, which is switched off. All other votes of the committee
//!    are "offline": a strike. A second one in the same week bans the cheat for 30 days.
//! 2. A malicious worker serves Carla alone. She, too, is alone with her vote and gets a strike; but she
//!    has the worker agent's receipt, with which every check begins. Until a day and 7,200 blocks have
//!    passed, her node can annul the strike with the receipt, free of fees; a ban that followed from the
//!    strike is lifted or shortened accordingly.
//!
//! The same as a test:
#![doc = docify::embed!("src/tests/story.rs", a_cheat_is_banned_and_a_receipt_lifts_a_ban)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub use bans::*;
pub use pallet::*;
pub use prune::MAX_PRUNED;
pub use types::*;
pub use weights::WeightInfo;

mod bans;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod delegations;
mod impls;
#[cfg(test)]
mod mock;
mod ocw;
mod operators;
mod prune;
mod strikes;
#[cfg(test)]
mod tests;
#[cfg(any(
	feature = "try-runtime",
	feature = "runtime-benchmarks",
	feature = "std"
))]
mod try_state;
mod types;
pub mod weights;

use frame_support::{
	pallet_prelude::*,
	traits::{
		Defensive, DefensiveOption, DefensiveResult, Time,
		fungible::{Inspect, MutateHold},
		tokens::Precision,
	},
};
use frame_system::{offchain::CreateAuthorizedTransaction, pallet_prelude::*};
use kaisar_primitives::{
	AgentKey, AgentSignature, BlockNumber, CheckerKey, Checks, Commission, EpochIndex, History,
	KeyProof, LicenseId, LicenseInfo, MAX_PAGE, OnPoolChange, OperatorId, PoolId, RetiredPools,
	RoundIndex, SharesChange, Timeline, WorkerId, WorkerRegistry,
	authorized::ensure_signed_or_authorized,
	keys::{KeyRole, is_zero},
};
use sp_core::H256;
use sp_runtime::{
	Perbill,
	traits::{EnsureAdd, EnsureSub, SaturatedConversion},
};

/// The log target of this pallet.
pub(crate) const LOG_TARGET: &str = "runtime::checkers";

/// Balances of [`Config::Currency`].
pub type BalanceOf<T> =
	<<T as Config>::Currency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
/// An operator's record.
pub type OperatorOf<T> = Operator<<T as frame_system::Config>::AccountId, BalanceOf<T>>;
/// A license's delegation.
pub type DelegationOf<T> = Delegation<<T as frame_system::Config>::AccountId>;

#[frame_support::pallet]
pub mod pallet {
	use super::*;

	const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// The pallet's configuration by the runtime.
	#[pallet::config]
	pub trait Config:
		CreateAuthorizedTransaction<Call<Self>> + frame_system::Config<Hash = H256>
	{
		/// The overarching hold reason.
		type RuntimeHoldReason: From<HoldReason>;

		/// KAI, for the deposit.
		type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;

		/// The licenses and their holders (Licenses).
		type Licenses: LicenseInfo<Self::AccountId>;

		/// Rounds (Popw).
		type Checks: Checks;

		/// The workers whose agents sign receipts (Providers).
		type Workers: WorkerRegistry<Self::AccountId>;

		/// Observer of licenses and commissions (Rewards).
		type OnPoolChange: OnPoolChange<Self::AccountId>;

		/// The pools of deregistered operators (Rewards).
		type RetiredPools: RetiredPools<Self::AccountId>;

		/// The current epoch (Rewards).
		type CurrentEpoch: Get<EpochIndex>;

		/// The time of day, in milliseconds.
		type Time: Time<Moment = u64>;

		/// The deposit of an operator: 100 KAI; at least `RecordDeposit`. *Param.*
		type Deposit: Get<BalanceOf<Self>>;

		/// The part of the deposit that stays on hold until the record is pruned: 1 KAI. The minimum
		/// deposit.
		#[pallet::constant]
		type RecordDeposit: Get<BalanceOf<Self>>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The number of the next registration.
	#[pallet::storage]
	pub type NextOperator<T> = StorageValue<_, OperatorId, ValueQuery>;

	/// All registrations, including those that have ended and are not pruned.
	#[pallet::storage]
	pub type Operators<T: Config> =
		StorageMap<_, Twox64Concat, OperatorId, OperatorOf<T>, OptionQuery>;

	/// The last registration of an account, even if it has ended, until it is pruned.
	#[pallet::storage]
	pub type NumberOf<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, OperatorId, OptionQuery>;

	/// The operator of each checker key: of a key in force, one set for the next round, or one replaced
	/// lately. The key of a deregistered operator may be used by anyone who proves to hold it. Its entry is
	/// removed with the operator's record, or at the account's next registration after the operator's last
	/// round.
	#[pallet::storage]
	pub type CheckerKeys<T> =
		StorageMap<_, Blake2_128Concat, sp_core::sr25519::Public, OperatorId, OptionQuery>;

	/// The operator of each agent key, under the same rules as [`CheckerKeys`].
	#[pallet::storage]
	pub type AgentKeys<T> = StorageMap<_, Blake2_128Concat, AgentKey, OperatorId, OptionQuery>;

	/// Delegations, pending ones included, by license. A delegation to a deregistered operator has no
	/// effect.
	#[pallet::storage]
	pub type Delegations<T: Config> =
		StorageMap<_, Twox64Concat, LicenseId, DelegationOf<T>, OptionQuery>;

	/// The number of a holder's licenses with an operator, accepted ones only. For a deregistered operator
	/// the number stays until its record is pruned.
	#[pallet::storage]
	pub type Members<T: Config> = StorageDoubleMap<
		_,
		Twox64Concat,
		OperatorId,
		Blake2_128Concat,
		T::AccountId,
		u32,
		ValueQuery,
	>;

	/// The table from license to operator, in pages of [`PAGE_SIZE`].
	#[pallet::storage]
	pub type Pages<T> = StorageMap<_, Twox64Concat, u32, Page, ValueQuery>;

	/// The strikes of an account, over all its registrations, without annulled ones.
	#[pallet::storage]
	pub type StrikesOf<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Strikes, ValueQuery>;

	/// The account behind each lone vote in [`StrikesOf`], by round and worker.
	#[pallet::storage]
	pub type LoneVotes<T: Config> =
		StorageMap<_, Twox64Concat, (RoundIndex, WorkerId), T::AccountId, OptionQuery>;

	/// The number of licenses that will be active in the next round to start.
	#[pallet::storage]
	pub type ActiveLicenses<T> = StorageValue<_, u32, ValueQuery>;

	/// Operators and delegations of the first block, active from round 0.
	#[pallet::genesis_config]
	#[derive(frame_support::DefaultNoBound)]
	pub struct GenesisConfig<T: Config> {
		/// Account, checker key, agent key, commission, auto-accept.
		pub operators: alloc::vec::Vec<(T::AccountId, CheckerKey, AgentKey, Perbill, bool)>,
		/// Licenses, and the accounts of the operators that they are delegated to and accepted by.
		pub delegations: alloc::vec::Vec<(LicenseId, T::AccountId)>,
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			for (account, checker, agent, commission, auto_accept) in &self.operators {
				let keys = Keys::new(checker, agent);
				let operator = Pallet::<T>::insert_operator(account, keys, *commission, 0)
					.expect("the genesis operators can be registered");
				Operators::<T>::mutate(operator, |record| {
					record
						.as_mut()
						.expect("it was just inserted; qed")
						.auto_accept = *auto_accept;
				});
			}
			for (license, account) in &self.delegations {
				let holder =
					T::Licenses::holder(*license).expect("the genesis licenses are minted");
				let (operator, _) = Pallet::<T>::ensure_operator_of(account)
					.expect("the operators of genesis delegations are registered");
				assert!(
					Pallet::<T>::delegation(*license).is_none(),
					"a genesis license is delegated once"
				);
				let delegation = Delegation {
					holder,
					operator,
					accepted: false,
				};
				Pallet::<T>::accept(*license, delegation, 0)
					.expect("the genesis delegations can be accepted");
			}
		}
	}

	/// Reasons for which the pallet holds KAI.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The deposit of a registered operator, or the part of it for the record of a deregistered one.
		OperatorDeposit,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	#[allow(missing_docs)]
	pub enum Event<T: Config> {
		/// An operator was registered.
		CheckerRegistered {
			operator: OperatorId,
			account: T::AccountId,
			checker_key: CheckerKey,
			agent_key: AgentKey,
			/// The license holders' part of its rewards.
			commission: Perbill,
			/// The first round in which it can have seats.
			from_round: RoundIndex,
		},
		/// New keys of an operator were set.
		CheckerKeysSet {
			operator: OperatorId,
			/// In force before `from_round`.
			old_checker_key: CheckerKey,
			/// In force before `from_round`.
			old_agent_key: AgentKey,
			checker_key: CheckerKey,
			agent_key: AgentKey,
			/// The first round of the new keys.
			from_round: RoundIndex,
		},
		/// A new commission of an operator was announced.
		CommissionSet {
			operator: OperatorId,
			/// The commission in force until `from_epoch`.
			old: Perbill,
			new: Perbill,
			/// The first epoch of the new commission.
			from_epoch: EpochIndex,
		},
		/// An operator switched the automatic acceptance of delegations on or off.
		AutoAcceptSet {
			operator: OperatorId,
			old: bool,
			new: bool,
		},
		/// A holder asked an operator to sit for a license.
		DelegationRequested {
			license: LicenseId,
			holder: T::AccountId,
			operator: OperatorId,
		},
		/// An operator accepted a delegation, and sits for the license.
		DelegationAccepted {
			license: LicenseId,
			holder: T::AccountId,
			operator: OperatorId,
			/// The first round in which the license is active.
			active_from: RoundIndex,
		},
		/// An operator rejected a delegation.
		DelegationRejected {
			license: LicenseId,
			holder: T::AccountId,
			operator: OperatorId,
		},
		/// A holder revoked a delegation.
		DelegationRevoked {
			license: LicenseId,
			holder: T::AccountId,
			operator: OperatorId,
			/// The first round in which the operator no longer sits for the license.
			inactive_from: RoundIndex,
		},
		/// An operator went offline, or was put offline. It gets no new seats.
		WentOffline {
			operator: OperatorId,
			/// The first round without seats.
			from_round: RoundIndex,
			/// Whether it was put offline, after three consecutive rounds with seats and without a reveal.
			missed: bool,
		},
		/// An operator went online, and can be drawn again.
		WentOnline {
			operator: OperatorId,
			/// The first round in which it can have seats.
			from_round: RoundIndex,
		},
		/// A registration ended, with all its delegations.
		CheckerDeregistered {
			operator: OperatorId,
			account: T::AccountId,
			/// The first round in which it is not registered.
			from_round: RoundIndex,
		},
		/// The record of a deregistered operator was removed, with its keys, commitments and pool.
		CheckerPruned { operator: OperatorId },
		/// An operator's lone vote said "online", and all others of a full tally "offline": a strike.
		/// Several such votes in a round are one strike.
		IncorrectCalculation {
			operator: OperatorId,
			worker: WorkerId,
			round: RoundIndex,
		},
		/// An operator was banned, or its ban was extended.
		CheckerBanned {
			/// The last registration of the account that has the strikes.
			operator: OperatorId,
			/// The end of the ban, in milliseconds of chain time; `u64::MAX` for good.
			until: u64,
			/// The first round without seats, unless an earlier ban was in force.
			from_round: RoundIndex,
		},
		/// A lone vote was annulled by the receipt of the worker's agent. The strike ends with its last
		/// vote.
		StrikeAnnulled {
			/// The operator that voted.
			operator: OperatorId,
			worker: WorkerId,
			round: RoundIndex,
			/// The number of remaining votes of this round's strike; 0 if the strike ended.
			left: u32,
		},
		/// A ban was shortened or lifted, because a strike was annulled.
		BanRevised {
			operator: OperatorId,
			/// The end of the ban now, in milliseconds of chain time; `None` if it was lifted.
			until: Option<u64>,
			/// The first round in which the operator can have seats again, if its ban was lifted and it is
			/// still registered.
			from_round: RoundIndex,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The caller is already a registered operator.
		AlreadyRegistered,
		/// The caller is not a registered operator.
		NotRegistered,
		/// The account is not a registered operator, or no record has this number.
		UnknownOperator,
		/// A key is all zeroes.
		ZeroKey,
		/// Another operator uses the key.
		KeyInUse,
		/// The signatures do not prove that the caller holds the keys.
		InvalidProof,
		/// The license was never minted, or is burnt.
		UnknownLicense,
		/// The caller does not hold the license.
		NotHolder,
		/// The license is already delegated, accepted or pending. Revoke the delegation first.
		AlreadyDelegated,
		/// The license is not delegated.
		NotDelegated,
		/// The delegation was made to another operator.
		NotOperator,
		/// The delegation was already accepted.
		AlreadyAccepted,
		/// The operator is already offline.
		AlreadyOffline,
		/// The operator is already online.
		AlreadyOnline,
		/// The operator is banned. Go online, or register, once the ban has ended.
		Banned,
		/// The license was moved twice, and running rounds still need both operators that it worked for.
		/// Try again once one of these rounds is over.
		TooManyChanges,
		/// Unreachable state; a bug.
		Inconsistent,
		/// No operator has a strike for this worker in this round.
		NoStrike,
		/// The window to annul the strike has closed: more than a day and more than 7,200 blocks have
		/// passed.
		StrikeIsFinal,
		/// The receipt was not signed by the worker's agent for this checker in this round.
		InvalidReceipt,
		/// An announced commission is not in force yet. Wait for its epoch.
		CommissionPending,
		/// The operator is still registered, or a running round, its last epoch or a strike still needs its
		/// record. Try again later.
		StillNeeded,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns an operator's status; `None` if the account is not a registered operator, unless it is
		/// banned.
		pub fn status(account: T::AccountId) -> Option<CheckerStatus> {
			Self::status_of(&account)
		}

		/// Returns the number and the record of an account's last registration.
		pub fn operator_of(account: T::AccountId) -> Option<(OperatorId, OperatorOf<T>)> {
			let operator = NumberOf::<T>::get(account)?;
			Operators::<T>::get(operator).map(|record| (operator, record))
		}

		/// Returns operators from number `from` on, and the number to continue from; `None` at the end of
		/// the list. Covers `limit` numbers, from 1 to [`MAX_PAGE`], and skips removed records.
		pub fn operators(
			from: OperatorId,
			limit: u32,
		) -> (
			alloc::vec::Vec<(OperatorId, OperatorOf<T>)>,
			Option<OperatorId>,
		) {
			let end = NextOperator::<T>::get();
			let next = from.saturating_add(limit.clamp(1, MAX_PAGE)).min(end);
			let page = (from..next)
				.filter_map(|operator| Some((operator, Operators::<T>::get(operator)?)))
				.collect();
			(page, (next < end).then_some(next))
		}

		/// Returns a license and its delegation; `None` if the license has no holder.
		pub fn license(license: LicenseId) -> Option<LicenseView<T::AccountId>> {
			Self::license_view(license)
		}

		/// Returns the strikes of an account that were not annulled, by time.
		pub fn strikes_of(account: T::AccountId) -> alloc::vec::Vec<Strike> {
			StrikesOf::<T>::get(account).into_inner()
		}

		/// Returns the number of licenses that will be active in the next round to start.
		pub fn active_licenses() -> u32 {
			ActiveLicenses::<T>::get()
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Registers the caller as an operator, and holds [`Config::Deposit`].
		///
		/// The operator can have seats from the next round on.
		///
		/// # Origin
		/// Signed, by an account that is not an operator now.
		///
		/// # Parameters
		/// - `checker_key`: sr25519, key type `kchk`; signs commitments and reveals.
		/// - `agent_key`: ed25519, the identity of the operator's agent.
		/// - `commission`: the part of the operator's rewards that goes to license holders, in parts of 10⁹.
		/// - `proof`: both keys' signatures of `possession_payload` for this account.
		///
		/// # Errors
		/// - [`Error::AlreadyRegistered`]: the caller is already a registered operator.
		/// - [`Error::Banned`]: the account's last registration is banned.
		/// - [`Error::ZeroKey`], [`Error::KeyInUse`]: a key is all zeroes, or belongs to another operator.
		/// - [`Error::InvalidProof`]: the signatures do not prove that the caller holds the keys.
		/// - The currency's error if the account has too little KAI for the deposit.
		///
		/// # Events
		/// [`Event::CheckerRegistered`]
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::register_checker())]
		pub fn register_checker(
			origin: OriginFor<T>,
			checker_key: CheckerKey,
			agent_key: AgentKey,
			commission: Perbill,
			proof: KeyProof,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_register(
				&who,
				Keys::new(&checker_key, &agent_key),
				commission,
				&proof,
			)
		}

		/// Sets new keys of the operator, from the next round on.
		///
		/// Running rounds use the old ones.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Parameters
		/// - `checker_key`: the new checker key; may stay the same.
		/// - `agent_key`: the new agent key; may stay the same.
		/// - `proof`: both keys' signatures of `possession_payload` for this account.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::ZeroKey`], [`Error::KeyInUse`]: a key is all zeroes, or belongs to another operator.
		/// - [`Error::InvalidProof`]: the signatures do not prove that the caller holds the keys.
		///
		/// # Events
		/// [`Event::CheckerKeysSet`]
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::set_checker_keys())]
		pub fn set_checker_keys(
			origin: OriginFor<T>,
			checker_key: CheckerKey,
			agent_key: AgentKey,
			proof: KeyProof,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_keys(&who, Keys::new(&checker_key, &agent_key), &proof)
		}

		/// Announces a new commission.
		///
		/// It is in force after one whole epoch's notice: from the epoch after the next one.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Parameters
		/// - `commission`: the part of the operator's rewards that goes to license holders, in parts of 10⁹.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::CommissionPending`]: an announced commission is not in force yet.
		///
		/// # Events
		/// [`Event::CommissionSet`]
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::set_commission())]
		pub fn set_commission(origin: OriginFor<T>, commission: Perbill) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_commission(&who, commission)
		}

		/// Sets whether delegations to the operator are accepted automatically.
		///
		/// Pending delegations stay pending.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Parameters
		/// - `on`: whether to accept all delegations from now on.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		///
		/// # Events
		/// [`Event::AutoAcceptSet`]
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::set_auto_accept())]
		pub fn set_auto_accept(origin: OriginFor<T>, on: bool) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_auto_accept(&who, on)
		}

		/// Asks an operator to sit for a license.
		///
		/// If the operator accepts all delegations, or is the holder, the delegation is accepted at once,
		/// and active from the next round on; otherwise it is pending until the operator answers.
		///
		/// # Origin
		/// Signed, by the license's holder.
		///
		/// # Parameters
		/// - `license`: the license.
		/// - `operator`: the operator's account.
		///
		/// # Errors
		/// - [`Error::UnknownLicense`]: the license was never minted, or is burnt.
		/// - [`Error::NotHolder`]: the caller does not hold the license.
		/// - [`Error::AlreadyDelegated`]: the license is already delegated, accepted or pending.
		/// - [`Error::UnknownOperator`]: the account is not a registered operator.
		/// - [`Error::TooManyChanges`]: the delegation would be accepted at once, and running rounds still
		///   need both operators that the license worked for before.
		///
		/// # Events
		/// - [`Event::DelegationRequested`]: the delegation is pending.
		/// - [`Event::DelegationAccepted`]: the delegation is accepted at once.
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::delegate_license())]
		pub fn delegate_license(
			origin: OriginFor<T>,
			license: LicenseId,
			operator: T::AccountId,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_delegate(&who, license, &operator)
		}

		/// Accepts a delegation.
		///
		/// The license is active from the next round on.
		///
		/// # Origin
		/// Signed, by the operator to which the license is delegated.
		///
		/// # Parameters
		/// - `license`: the license.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::NotDelegated`]: the license is not delegated.
		/// - [`Error::NotOperator`]: the delegation was made to another operator.
		/// - [`Error::AlreadyAccepted`]: the delegation was already accepted.
		/// - [`Error::TooManyChanges`]: running rounds still need both operators that the license worked
		///   for before.
		///
		/// # Events
		/// [`Event::DelegationAccepted`]
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::accept_delegation())]
		pub fn accept_delegation(origin: OriginFor<T>, license: LicenseId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_accept(&who, license)
		}

		/// Rejects a pending delegation.
		///
		/// The license can be delegated again.
		///
		/// # Origin
		/// Signed, by the operator to which the license is delegated.
		///
		/// # Parameters
		/// - `license`: the license.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::NotDelegated`]: the license is not delegated.
		/// - [`Error::NotOperator`]: the delegation was made to another operator.
		/// - [`Error::AlreadyAccepted`]: the delegation was already accepted.
		///
		/// # Events
		/// [`Event::DelegationRejected`]
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::reject_delegation())]
		pub fn reject_delegation(origin: OriginFor<T>, license: LicenseId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_reject(&who, license)
		}

		/// Revokes the delegation of a license, accepted or pending.
		///
		/// The license is inactive from the next round on.
		///
		/// # Origin
		/// Signed, by the license's holder.
		///
		/// # Parameters
		/// - `license`: the license.
		///
		/// # Errors
		/// - [`Error::UnknownLicense`]: the license was never minted, or is burnt.
		/// - [`Error::NotHolder`]: the caller does not hold the license.
		/// - [`Error::NotDelegated`]: the license is not delegated.
		///
		/// # Events
		/// [`Event::DelegationRevoked`]
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::revoke_delegation())]
		pub fn revoke_delegation(origin: OriginFor<T>, license: LicenseId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_revoke(&who, license)
		}

		/// Takes the operator out of the draw, from the next round on.
		///
		/// It keeps its seats in running rounds, and its delegations.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::AlreadyOffline`]: the operator is already offline, or banned.
		///
		/// # Events
		/// [`Event::WentOffline`]
		#[pallet::call_index(8)]
		#[pallet::weight(T::WeightInfo::go_offline())]
		pub fn go_offline(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_offline(&who)
		}

		/// Brings the operator back into the draw, from the next round on: after it went offline, was put
		/// offline, or after its ban has ended.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - [`Error::AlreadyOnline`]: the operator is already online.
		/// - [`Error::Banned`]: the ban has not ended.
		///
		/// # Events
		/// [`Event::WentOnline`]
		#[pallet::call_index(9)]
		#[pallet::weight(T::WeightInfo::go_online())]
		pub fn go_online(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_online(&who)
		}

		/// Ends the registration.
		///
		/// All its delegations end at the next round. The deposit is released at once, except for
		/// [`Config::RecordDeposit`], which pays for the record until it is pruned. The operator keeps its
		/// seats in running rounds and its earned rewards.
		///
		/// # Origin
		/// Signed, by a registered operator.
		///
		/// # Errors
		/// - [`Error::NotRegistered`]: the caller is not a registered operator.
		/// - The currency's error if the deposit cannot be released.
		///
		/// # Events
		/// [`Event::CheckerDeregistered`]
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::deregister_checker())]
		pub fn deregister_checker(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_deregister(&who)
		}

		/// Annuls a lone vote "online", and the strike with its last vote.
		///
		/// The operator was alone with its vote because the worker served no other operator; the receipt of
		/// the worker's agent proves it. A strike may have several votes ([`Pallet::strikes_of`]), and ends
		/// with the last of them. A ban that the remaining strikes do not call for is shortened, or lifted
		/// from the next round on. A registration ended by a ban for good stays ended; the account may
		/// register again.
		///
		/// # Origin
		/// Fee-less, or signed by any account, which pays no fee if the call succeeds: the receipt is proof
		/// enough, and each can be used once.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `round`: the round of the vote; it has one check of the worker, with at most one lone vote.
		/// - `receipt`: the ed25519 signature of the worker's agent over
		///   [`receipt_payload`](kaisar_primitives::keys::receipt_payload) for the seed of the round's
		///   trial and the checker key in force in the round.
		///
		/// # Errors
		/// - [`Error::NoStrike`]: no operator has a strike for this worker in this round.
		/// - [`Error::StrikeIsFinal`]: the strike is more than a day and more than 7,200 blocks old.
		/// - [`Error::InvalidReceipt`]: the receipt was not signed by the worker's agent for this checker
		///   in this round.
		///
		/// # Events
		/// - [`Event::StrikeAnnulled`].
		/// - [`Event::BanRevised`]: a ban changed.
		#[pallet::call_index(11)]
		#[pallet::weight((T::WeightInfo::annul_strike(), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_annul_strike())]
		#[pallet::authorize(Self::authorize_annul_strike)]
		pub fn annul_strike(
			origin: OriginFor<T>,
			worker: WorkerId,
			round: RoundIndex,
			receipt: AgentSignature,
		) -> DispatchResultWithPostInfo {
			ensure_signed_or_authorized::<T>(origin)?;
			Self::do_annul_strike(worker, round, &receipt)?;
			Ok(Pays::No.into())
		}

		/// Removes the record of a deregistered operator once nothing needs it, with its keys, commitments
		/// and pool, and releases the rest of its deposit.
		///
		/// Members of the pool are paid what they can claim.
		///
		/// A call removes at most [`MAX_PRUNED`] members and commitments. If it removes that many, call it
		/// again: the record is removed by the first call that removes fewer.
		///
		/// # Origin
		/// Signed, by any account.
		///
		/// # Parameters
		/// - `operator`: the number of the registration.
		///
		/// # Errors
		/// - [`Error::UnknownOperator`]: no record has this number.
		/// - [`Error::StillNeeded`]: the operator is registered, or a running round, its last epoch or a
		///   strike needs the record.
		/// - The currency's error if the deposit cannot be released.
		///
		/// # Events
		/// [`Event::CheckerPruned`]: the record is removed
		#[pallet::call_index(12)]
		#[pallet::weight(T::WeightInfo::prune_checker(MAX_PRUNED))]
		pub fn prune_checker(
			origin: OriginFor<T>,
			operator: OperatorId,
		) -> DispatchResultWithPostInfo {
			ensure_signed(origin)?;
			let removed = Self::do_prune(operator)?;
			Ok(Some(T::WeightInfo::prune_checker(removed)).into())
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn offchain_worker(_: BlockNumberFor<T>) {
			ocw::run::<T>();
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
