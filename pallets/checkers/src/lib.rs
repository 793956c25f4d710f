//! # Checkers
//!
//! Operators of checker nodes, and the licences that are delegated to them.
//!
//! ## Terms
//!
//! - An *operator* is an account that runs a checker node. Each registration has a number of its
//!   own ([`OperatorId`]), so that all that hangs on a registration ends with it, at once.
//! - A *licence* gives its holder a place in the draw of committees. The holder *delegates* it to an
//!   operator, himself or another, and the operator sits for it.
//! - A licence is *active* in a round if it was delegated and accepted before the round began, and
//!   its operator was then registered, online and not banned.
//!
//! ## The flow
//!
//! 1. Carla registers as an operator: a deposit, a checker key, the key of her agent, and a proof
//!    that she holds both.
//! 2. Hans holds a licence and delegates it to Carla. It is `Pending` until she accepts, unless she
//!    accepts all, or is Hans.
//! 3. From the next round on the licence is drawn for committees, and Carla's node sits for it.
//! 4. Hans revokes: from the next round on it is not drawn any more. In the rounds that run it still
//!    is, so a committee never changes within its round.
//! 5. Carla goes offline for the weekend, and online again: none of her licences is drawn meanwhile.
//!    If her machine dies, three rounds with seats and without a reveal do the same.
//! 6. Carla deregisters: all delegations to her end at the next round, however many there are. She
//!    gets her deposit back, and what she earned stays hers.
//!
//! ## How a round is answered
//!
//! All changes count from [`Checks::next_round`]. A licence's [`Entry`] keeps its last span of
//! rounds and the one before, an operator's record the last value and the one before of its keys
//! and of being online ([`Timeline`]). A change that would forget what is in force in a running
//! round ([`Checks::oldest_round`]) is refused with [`Error::TooManyChanges`]: it is the third
//! within one committee's time, and whoever could make it could take licences out of a draw whose
//! seed is known.
//!
//! Entries lie in pages of [`PAGE_SIZE`], each entry of a fixed width, so a draw costs one read of a
//! page and the operator's record, with 30 licences or 29,998. [`ActiveLicences`] is kept up at each
//! change and not counted.
//!
//! ## Bans
//!
//! Incorrect calculations are recorded with their times ([`Operator::strikes`]). Bans are not
//! pronounced yet; [`Operator::ban`] has room for them, and every answer respects it. An operator
//! comes back from a ban by going online.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub use pallet::*;
pub use types::*;
pub use weights::WeightInfo;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod impls;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
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
use frame_system::pallet_prelude::*;
use kaisar_primitives::{
	AgentKey, CheckerKey, Checks, EpochIndex, KeyProof, LicenceId, LicenceInfo, OnPoolChange,
	OperatorId, PoolId, RoundIndex, WorkerId,
	keys::{KeyRole, is_zero},
};
use sp_core::H256;
use sp_runtime::{ArithmeticError, Perbill};

/// Balances of [`Config::Currency`].
pub type BalanceOf<T> =
	<<T as Config>::Currency as Inspect<<T as frame_system::Config>::AccountId>>::Balance;
/// An operator's record.
pub type OperatorOf<T> = Operator<<T as frame_system::Config>::AccountId, BalanceOf<T>>;
/// A licence's delegation.
pub type DelegationOf<T> = Delegation<<T as frame_system::Config>::AccountId>;

#[frame_support::pallet]
pub mod pallet {
	use super::*;

	const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// What the pallet needs of the runtime.
	#[pallet::config]
	pub trait Config: frame_system::Config<Hash = H256> {
		/// The overarching hold reason.
		type RuntimeHoldReason: From<HoldReason>;

		/// KAI, for the deposit.
		type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;

		/// Who holds which licence (Licenses).
		type Licences: LicenceInfo<Self::AccountId>;

		/// Rounds (Popw).
		type Checks: Checks;

		/// Told before licences or commissions change (Rewards).
		type OnPoolChange: OnPoolChange<Self::AccountId>;

		/// The running epoch (Rewards).
		type CurrentEpoch: Get<EpochIndex>;

		/// The time of day, in milliseconds.
		type Time: Time<Moment = u64>;

		/// The deposit of an operator. A parameter: 100 KAI.
		type Deposit: Get<BalanceOf<Self>>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The number of the next registration.
	#[pallet::storage]
	pub type NextOperator<T> = StorageValue<_, OperatorId, ValueQuery>;

	/// All registrations, those that have ended too.
	#[pallet::storage]
	pub type Operators<T: Config> =
		StorageMap<_, Twox64Concat, OperatorId, OperatorOf<T>, OptionQuery>;

	/// The last registration of an account, also when it has ended.
	#[pallet::storage]
	pub type NumberOf<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, OperatorId, OptionQuery>;

	/// Whose checker key it is, now or from the next round, or was until lately. That of an operator
	/// that has gone is free for whoever proves to hold it.
	#[pallet::storage]
	pub type CheckerKeys<T> =
		StorageMap<_, Blake2_128Concat, sp_core::sr25519::Public, OperatorId, OptionQuery>;

	/// The same for agent keys.
	#[pallet::storage]
	pub type AgentKeys<T> = StorageMap<_, Blake2_128Concat, AgentKey, OperatorId, OptionQuery>;

	/// Delegations, pending ones too, by licence. One whose operator has gone means nothing.
	#[pallet::storage]
	pub type Delegations<T: Config> =
		StorageMap<_, Twox64Concat, LicenceId, DelegationOf<T>, OptionQuery>;

	/// Licences that a holder has with an operator, accepted ones. Those of an operator that has gone
	/// stay as they were.
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

	/// The licence → operator table, in pages of [`PAGE_SIZE`].
	#[pallet::storage]
	pub type Pages<T> = StorageMap<_, Twox64Concat, u32, Page, ValueQuery>;

	/// Licences that will be active in the next round to start.
	#[pallet::storage]
	pub type ActiveLicences<T> = StorageValue<_, u32, ValueQuery>;

	/// Operators and delegations of the first block, active from round 0.
	#[pallet::genesis_config]
	#[derive(frame_support::DefaultNoBound)]
	pub struct GenesisConfig<T: Config> {
		/// Account, checker key, agent key, commission, auto-accept.
		pub operators: alloc::vec::Vec<(T::AccountId, CheckerKey, AgentKey, Perbill, bool)>,
		/// Licences and the accounts of the operators that they are delegated to and accepted by.
		pub delegations: alloc::vec::Vec<(LicenceId, T::AccountId)>,
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
					T::Licences::holder(*license).expect("the genesis licences are minted");
				let (operator, _) = Pallet::<T>::ensure_operator_of(account)
					.expect("the operators of genesis delegations are registered");
				assert!(
					Pallet::<T>::delegation(*license).is_none(),
					"a genesis licence is delegated once"
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

	/// Why funds are on hold.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The deposit of a registered operator.
		OperatorDeposit,
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// An operator was registered.
		CheckerRegistered {
			/// Its number.
			operator: OperatorId,
			/// Its account.
			account: T::AccountId,
			/// Its checker key.
			checker_key: CheckerKey,
			/// Its agent's key.
			agent_key: AgentKey,
			/// The licence holders' part of its rewards.
			commission: Perbill,
			/// The first round in which it can have seats.
			from_round: RoundIndex,
		},
		/// An operator has new keys.
		CheckerKeysSet {
			/// The operator.
			operator: OperatorId,
			/// The old checker key, in force before `from_round`.
			old_checker_key: CheckerKey,
			/// The old agent key.
			old_agent_key: AgentKey,
			/// The new checker key.
			checker_key: CheckerKey,
			/// The new agent key.
			agent_key: AgentKey,
			/// The first round of the new ones.
			from_round: RoundIndex,
		},
		/// An operator announced another commission.
		CommissionSet {
			/// The operator.
			operator: OperatorId,
			/// In force until then.
			old: Perbill,
			/// In force from then on.
			new: Perbill,
			/// The first epoch of the new one.
			from_epoch: EpochIndex,
		},
		/// An operator accepts delegations by itself, or no longer.
		AutoAcceptSet {
			/// The operator.
			operator: OperatorId,
			/// Before.
			old: bool,
			/// Now.
			new: bool,
		},
		/// A holder asked an operator to sit for a licence.
		DelegationRequested {
			/// The licence.
			license: LicenceId,
			/// Its holder.
			holder: T::AccountId,
			/// The operator.
			operator: OperatorId,
		},
		/// An operator sits for a licence.
		DelegationAccepted {
			/// The licence.
			license: LicenceId,
			/// Its holder.
			holder: T::AccountId,
			/// The operator.
			operator: OperatorId,
			/// The first round.
			active_from: RoundIndex,
		},
		/// An operator will not sit for a licence.
		DelegationRejected {
			/// The licence.
			license: LicenceId,
			/// Its holder.
			holder: T::AccountId,
			/// The operator.
			operator: OperatorId,
		},
		/// A holder took a licence back.
		DelegationRevoked {
			/// The licence.
			license: LicenceId,
			/// Its holder.
			holder: T::AccountId,
			/// The operator.
			operator: OperatorId,
			/// The first round in which the operator does not sit for it.
			inactive_from: RoundIndex,
		},
		/// An operator has no new seats.
		WentOffline {
			/// The operator.
			operator: OperatorId,
			/// From this round on.
			from_round: RoundIndex,
			/// It did not choose so, but had seats in three rounds in a row and revealed nothing.
			missed: bool,
		},
		/// An operator can be drawn again.
		WentOnline {
			/// The operator.
			operator: OperatorId,
			/// From this round on.
			from_round: RoundIndex,
		},
		/// A registration ended, with all its delegations.
		CheckerDeregistered {
			/// The operator.
			operator: OperatorId,
			/// Its account.
			account: T::AccountId,
			/// The first round in which it is not registered.
			from_round: RoundIndex,
		},
		/// An operator's lone vote said "online", and all others of a full tally "offline".
		IncorrectCalculation {
			/// The operator.
			operator: OperatorId,
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The account is a registered operator already.
		AlreadyRegistered,
		/// The caller is no registered operator.
		NotRegistered,
		/// The account is no registered operator.
		UnknownOperator,
		/// A key of all zeroes.
		ZeroKey,
		/// Another operator has the key.
		KeyInUse,
		/// The signatures do not prove that the caller holds the keys.
		InvalidProof,
		/// The licence was never minted, or is burnt.
		UnknownLicense,
		/// The caller does not hold the licence.
		NotHolder,
		/// The licence is delegated already, or waits for an operator's answer.
		AlreadyDelegated,
		/// The licence is not delegated.
		NotDelegated,
		/// The delegation was made to another operator.
		NotOperator,
		/// The delegation was accepted already.
		AlreadyAccepted,
		/// The operator is offline already.
		AlreadyOffline,
		/// The operator is online already.
		AlreadyOnline,
		/// The operator is banned.
		Banned,
		/// A round still runs in which an earlier value counts that this change would forget. Try
		/// again when it is over.
		TooManyChanges,
		/// Something that cannot be.
		Inconsistent,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// How an operator stands; `None` if the account is no registered operator.
		pub fn status(account: T::AccountId) -> Option<CheckerStatus> {
			Self::status_of(&account)
		}

		/// The number and the record of an account's last registration.
		pub fn operator_of(account: T::AccountId) -> Option<(OperatorId, OperatorOf<T>)> {
			let operator = NumberOf::<T>::get(account)?;
			Operators::<T>::get(operator).map(|record| (operator, record))
		}

		/// A licence and its delegation; `None` if nobody holds it.
		pub fn license(license: LicenceId) -> Option<LicenseView<T::AccountId>> {
			Self::license_view(license)
		}

		/// Licences that will be active in the next round to start.
		pub fn active_licenses() -> u32 {
			ActiveLicences::<T>::get()
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Registers the caller as an operator. It can have seats from the next round on.
		///
		/// The origin is signed, by an account that is no operator now. Puts [`Config::Deposit`] on
		/// hold.
		///
		/// - `checker_key`: sr25519, key type `kchk`; signs commitments and reveals.
		/// - `agent_key`: ed25519, the identity of the operator's agent.
		/// - `commission`: the part of the operator's rewards that goes to licence holders.
		/// - `proof`: both keys' signatures of `possession_payload` for this account.
		///
		/// Errors: [`Error::AlreadyRegistered`], [`Error::ZeroKey`], [`Error::KeyInUse`],
		/// [`Error::InvalidProof`], those of the currency.
		///
		/// Event: [`Event::CheckerRegistered`].
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

		/// Gives the operator other keys, from the next round on. Rounds that run go on with the old
		/// ones.
		///
		/// The origin is signed by a registered operator.
		///
		/// - `checker_key`, `agent_key`: the new keys; one of them may be the old one.
		/// - `proof`: both keys' signatures of `possession_payload` for this account.
		///
		/// Errors: [`Error::NotRegistered`], [`Error::ZeroKey`], [`Error::KeyInUse`],
		/// [`Error::InvalidProof`], [`Error::TooManyChanges`].
		///
		/// Event: [`Event::CheckerKeysSet`].
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

		/// Announces another commission. It is in force after one whole epoch's notice: from the epoch
		/// after the next one. An announcement that is not in force yet is replaced.
		///
		/// The origin is signed by a registered operator.
		///
		/// - `commission`: the part of the operator's rewards that goes to licence holders.
		///
		/// Errors: [`Error::NotRegistered`].
		///
		/// Event: [`Event::CommissionSet`].
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::set_commission())]
		pub fn set_commission(origin: OriginFor<T>, commission: Perbill) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_commission(&who, commission)
		}

		/// Says whether delegations to the operator need to be accepted. Pending ones stay pending.
		///
		/// The origin is signed by a registered operator.
		///
		/// - `on`: accept all from now on.
		///
		/// Errors: [`Error::NotRegistered`].
		///
		/// Event: [`Event::AutoAcceptSet`].
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::set_auto_accept())]
		pub fn set_auto_accept(origin: OriginFor<T>, on: bool) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_set_auto_accept(&who, on)
		}

		/// Asks an operator to sit for a licence. It is accepted at once, and active from the next
		/// round on, if the operator accepts all or is the holder; else it waits.
		///
		/// The origin is signed by the licence's holder.
		///
		/// - `license`: the licence.
		/// - `operator`: the operator's account.
		///
		/// Errors: [`Error::UnknownLicense`], [`Error::NotHolder`], [`Error::AlreadyDelegated`],
		/// [`Error::UnknownOperator`], [`Error::TooManyChanges`].
		///
		/// Events: [`Event::DelegationRequested`], or [`Event::DelegationAccepted`].
		#[pallet::call_index(4)]
		#[pallet::weight(T::WeightInfo::delegate_license())]
		pub fn delegate_license(
			origin: OriginFor<T>,
			license: LicenceId,
			operator: T::AccountId,
		) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_delegate(&who, license, &operator)
		}

		/// Accepts a delegation. The licence is active from the next round on.
		///
		/// The origin is signed by the operator that it was made to.
		///
		/// - `license`: the licence.
		///
		/// Errors: [`Error::NotRegistered`], [`Error::NotDelegated`], [`Error::NotOperator`],
		/// [`Error::AlreadyAccepted`], [`Error::TooManyChanges`].
		///
		/// Event: [`Event::DelegationAccepted`].
		#[pallet::call_index(5)]
		#[pallet::weight(T::WeightInfo::accept_delegation())]
		pub fn accept_delegation(origin: OriginFor<T>, license: LicenceId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_accept(&who, license)
		}

		/// Rejects a delegation that waits. The licence is free again.
		///
		/// The origin is signed by the operator that it was made to.
		///
		/// - `license`: the licence.
		///
		/// Errors: [`Error::NotRegistered`], [`Error::NotDelegated`], [`Error::NotOperator`],
		/// [`Error::AlreadyAccepted`].
		///
		/// Event: [`Event::DelegationRejected`].
		#[pallet::call_index(6)]
		#[pallet::weight(T::WeightInfo::reject_delegation())]
		pub fn reject_delegation(origin: OriginFor<T>, license: LicenceId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_reject(&who, license)
		}

		/// Takes a licence back, accepted or waiting. It is inactive from the next round on.
		///
		/// The origin is signed by the licence's holder.
		///
		/// - `license`: the licence.
		///
		/// Errors: [`Error::UnknownLicense`], [`Error::NotHolder`], [`Error::NotDelegated`].
		///
		/// Event: [`Event::DelegationRevoked`].
		#[pallet::call_index(7)]
		#[pallet::weight(T::WeightInfo::revoke_delegation())]
		pub fn revoke_delegation(origin: OriginFor<T>, license: LicenceId) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_revoke(&who, license)
		}

		/// Takes the operator out of the draw, from the next round on. Seats that it has in running
		/// rounds stay, and so do delegations.
		///
		/// The origin is signed by a registered operator.
		///
		/// Errors: [`Error::NotRegistered`], [`Error::AlreadyOffline`], [`Error::TooManyChanges`].
		///
		/// Event: [`Event::WentOffline`].
		#[pallet::call_index(8)]
		#[pallet::weight(T::WeightInfo::go_offline())]
		pub fn go_offline(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_offline(&who)
		}

		/// Brings the operator back into the draw, from the next round on.
		///
		/// The origin is signed by a registered operator.
		///
		/// Errors: [`Error::NotRegistered`], [`Error::AlreadyOnline`], [`Error::Banned`],
		/// [`Error::TooManyChanges`].
		///
		/// Event: [`Event::WentOnline`].
		#[pallet::call_index(9)]
		#[pallet::weight(T::WeightInfo::go_online())]
		pub fn go_online(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_go_online(&who)
		}

		/// Ends the registration. All its delegations end at the next round; the deposit is released
		/// now; seats in running rounds and what was earned stay the operator's.
		///
		/// The origin is signed by a registered operator.
		///
		/// Errors: [`Error::NotRegistered`], those of the currency.
		///
		/// Event: [`Event::CheckerDeregistered`].
		#[pallet::call_index(10)]
		#[pallet::weight(T::WeightInfo::deregister_checker())]
		pub fn deregister_checker(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::do_deregister(&who)
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}

/// Guards.
impl<T: Config> Pallet<T> {
	/// The number and record of the operator that the account is now.
	fn ensure_operator_of(account: &T::AccountId) -> Result<(OperatorId, OperatorOf<T>), Error<T>> {
		let operator = NumberOf::<T>::get(account).ok_or(Error::<T>::UnknownOperator)?;
		let record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		ensure!(record.gone_from.is_none(), Error::<T>::UnknownOperator);
		Ok((operator, record))
	}

	/// The same for a caller, who has an error of his own.
	fn ensure_caller(who: &T::AccountId) -> Result<(OperatorId, OperatorOf<T>), Error<T>> {
		Self::ensure_operator_of(who).map_err(|error| match error {
			Error::<T>::UnknownOperator => Error::<T>::NotRegistered,
			other => other,
		})
	}

	/// That the keys can be those of `operator`, or of a new one.
	fn ensure_keys_free(keys: &Keys, operator: Option<OperatorId>) -> Result<(), Error<T>> {
		ensure!(
			!is_zero(&keys.checker) && !is_zero(&keys.agent),
			Error::<T>::ZeroKey
		);
		let holders = [
			CheckerKeys::<T>::get(keys.checker),
			AgentKeys::<T>::get(keys.agent),
		];
		for holder in holders.into_iter().flatten() {
			ensure!(
				Some(holder) == operator || Self::has_gone(holder),
				Error::<T>::KeyInUse
			);
		}
		Ok(())
	}

	/// That the account holds the keys.
	fn ensure_possession(
		who: &T::AccountId,
		keys: &Keys,
		proof: &KeyProof,
	) -> Result<(), Error<T>> {
		let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::from(0u32));
		ensure!(
			proof.verify(KeyRole::Checker, genesis, who, &keys.checker.0, &keys.agent),
			Error::<T>::InvalidProof
		);
		Ok(())
	}

	/// That `who` holds the licence.
	fn ensure_holder(who: &T::AccountId, license: LicenceId) -> Result<(), Error<T>> {
		let holder = T::Licences::holder(license).ok_or(Error::<T>::UnknownLicense)?;
		ensure!(holder == *who, Error::<T>::NotHolder);
		Ok(())
	}

	/// The delegation of the licence if it is pending and made to `operator`.
	fn ensure_pending(
		license: LicenceId,
		operator: OperatorId,
	) -> Result<DelegationOf<T>, Error<T>> {
		let delegation = Self::delegation(license).ok_or(Error::<T>::NotDelegated)?;
		ensure!(delegation.operator == operator, Error::<T>::NotOperator);
		ensure!(!delegation.accepted, Error::<T>::AlreadyAccepted);
		Ok(delegation)
	}

	/// Whether the registration has ended.
	fn has_gone(operator: OperatorId) -> bool {
		Operators::<T>::get(operator).is_none_or(|record| record.gone_from.is_some())
	}

	/// The licence's delegation, unless its operator has gone.
	fn delegation(license: LicenceId) -> Option<DelegationOf<T>> {
		Delegations::<T>::get(license).filter(|delegation| !Self::has_gone(delegation.operator))
	}
}

/// What the calls do.
impl<T: Config> Pallet<T> {
	fn do_register(
		who: &T::AccountId,
		keys: Keys,
		commission: Perbill,
		proof: &KeyProof,
	) -> DispatchResult {
		ensure!(
			Self::ensure_operator_of(who).is_err(),
			Error::<T>::AlreadyRegistered
		);
		Self::ensure_keys_free(&keys, None)?;
		Self::ensure_possession(who, &keys, proof)?;
		let from_round = T::Checks::next_round();
		let operator = Self::insert_operator(who, keys, commission, from_round)?;
		Self::deposit_event(Event::CheckerRegistered {
			operator,
			account: who.clone(),
			checker_key: keys.checker_key(),
			agent_key: keys.agent,
			commission,
			from_round,
		});
		Ok(())
	}

	/// Writes a registration that counts from round `from` on. All but the deposit was checked for
	/// calls; genesis has its own.
	pub(crate) fn insert_operator(
		who: &T::AccountId,
		keys: Keys,
		commission: Perbill,
		from: RoundIndex,
	) -> Result<OperatorId, DispatchError> {
		ensure!(
			Self::ensure_operator_of(who).is_err(),
			Error::<T>::AlreadyRegistered
		);
		Self::ensure_keys_free(&keys, None)?;
		let operator = NextOperator::<T>::get();
		let next = operator.checked_add(1).ok_or(ArithmeticError::Overflow)?;
		let deposit = T::Deposit::get();
		T::Currency::hold(&HoldReason::OperatorDeposit.into(), who, deposit)?;

		NextOperator::<T>::put(next);
		NumberOf::<T>::insert(who, operator);
		CheckerKeys::<T>::insert(keys.checker, operator);
		AgentKeys::<T>::insert(keys.agent, operator);
		Operators::<T>::insert(
			operator,
			Operator {
				account: who.clone(),
				keys: Timeline::always(keys),
				online: Timeline {
					now: true,
					since: from,
					before: false,
				},
				licences: Timeline {
					now: 0,
					since: from,
					before: 0,
				},
				gone_from: None,
				commission: Commission {
					now: commission,
					next: None,
				},
				auto_accept: false,
				deposit,
				presence: Presence::default(),
				incorrect: 0,
				strikes: Default::default(),
				ban: None,
			},
		);
		Ok(operator)
	}

	fn do_set_keys(who: &T::AccountId, keys: Keys, proof: &KeyProof) -> DispatchResult {
		let (operator, mut record) = Self::ensure_caller(who)?;
		Self::ensure_keys_free(&keys, Some(operator))?;
		let from_round = T::Checks::next_round();
		ensure!(
			record
				.keys
				.may_change(from_round, T::Checks::oldest_round()),
			Error::<T>::TooManyChanges
		);
		Self::ensure_possession(who, &keys, proof)?;

		let forgotten = record.keys.change(keys, from_round);
		let Timeline { now, before, .. } = record.keys;
		if ![now.checker, before.checker].contains(&forgotten.checker) {
			CheckerKeys::<T>::remove(forgotten.checker);
		}
		if ![now.agent, before.agent].contains(&forgotten.agent) {
			AgentKeys::<T>::remove(forgotten.agent);
		}
		CheckerKeys::<T>::insert(keys.checker, operator);
		AgentKeys::<T>::insert(keys.agent, operator);
		Operators::<T>::insert(operator, record);
		Self::deposit_event(Event::CheckerKeysSet {
			operator,
			old_checker_key: before.checker_key(),
			old_agent_key: before.agent,
			checker_key: keys.checker_key(),
			agent_key: keys.agent,
			from_round,
		});
		Ok(())
	}

	fn do_set_commission(who: &T::AccountId, new: Perbill) -> DispatchResult {
		let (operator, mut record) = Self::ensure_caller(who)?;
		let epoch = T::CurrentEpoch::get();
		let from_epoch = epoch.checked_add(2).ok_or(ArithmeticError::Overflow)?;

		T::OnPoolChange::before_change(PoolId::Checker(operator), None)?;
		let old = record.commission.at(epoch);
		record.commission = Commission {
			now: old,
			next: Some((from_epoch, new)),
		};
		Operators::<T>::insert(operator, record);
		Self::deposit_event(Event::CommissionSet {
			operator,
			old,
			new,
			from_epoch,
		});
		Ok(())
	}

	fn do_set_auto_accept(who: &T::AccountId, new: bool) -> DispatchResult {
		let (operator, mut record) = Self::ensure_caller(who)?;
		let old = core::mem::replace(&mut record.auto_accept, new);
		Operators::<T>::insert(operator, record);
		Self::deposit_event(Event::AutoAcceptSet { operator, old, new });
		Ok(())
	}

	fn do_delegate(
		who: &T::AccountId,
		license: LicenceId,
		account: &T::AccountId,
	) -> DispatchResult {
		Self::ensure_holder(who, license)?;
		ensure!(
			Self::delegation(license).is_none(),
			Error::<T>::AlreadyDelegated
		);
		let (operator, record) = Self::ensure_operator_of(account)?;

		let delegation = Delegation {
			holder: who.clone(),
			operator,
			accepted: false,
		};
		if record.auto_accept || who == account {
			return Self::accept(license, delegation, T::Checks::next_round());
		}
		Delegations::<T>::insert(license, delegation);
		Self::deposit_event(Event::DelegationRequested {
			license,
			holder: who.clone(),
			operator,
		});
		Ok(())
	}

	fn do_accept(who: &T::AccountId, license: LicenceId) -> DispatchResult {
		let (operator, _) = Self::ensure_caller(who)?;
		let delegation = Self::ensure_pending(license, operator)?;
		Self::accept(license, delegation, T::Checks::next_round())
	}

	/// Makes the licence active for the operator of `delegation`, who is registered, from round
	/// `from` on. It has no other that is accepted and whose operator is registered.
	pub(crate) fn accept(
		license: LicenceId,
		mut delegation: DelegationOf<T>,
		from: RoundIndex,
	) -> DispatchResult {
		let operator = delegation.operator;
		let (page, index) = place(license);
		let mut entries = Pages::<T>::get(page);
		while entries.len() <= index {
			entries
				.try_push(Entry::default())
				.defensive_map_err(|_| Error::<T>::Inconsistent)?;
		}
		let entry = entries
			.get_mut(index)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		if entry.now.is_open() {
			// Its operator has deregistered, which ended the span without a write here.
			let gone = Operators::<T>::get(entry.now.operator)
				.and_then(|record| record.gone_from)
				.defensive_ok_or(Error::<T>::Inconsistent)?;
			entry.now.close(gone);
		}
		ensure!(
			entry.may_begin(operator, from, T::Checks::oldest_round()),
			Error::<T>::TooManyChanges
		);
		let members = Members::<T>::get(operator, &delegation.holder)
			.checked_add(1)
			.ok_or(ArithmeticError::Overflow)?;

		T::OnPoolChange::before_change(PoolId::Checker(operator), Some(&delegation.holder))?;
		entry.begin(operator, from);
		Pages::<T>::insert(page, entries);
		Members::<T>::insert(operator, &delegation.holder, members);
		Self::mutate_operator(operator, |record| {
			let licences = record
				.licences
				.now
				.checked_add(1)
				.ok_or(ArithmeticError::Overflow)?;
			record
				.licences
				.change_count(licences, from, T::Checks::oldest_round());
			Ok(())
		})?;
		delegation.accepted = true;
		Delegations::<T>::insert(license, &delegation);
		Self::deposit_event(Event::DelegationAccepted {
			license,
			holder: delegation.holder,
			operator,
			active_from: from,
		});
		Ok(())
	}

	fn do_reject(who: &T::AccountId, license: LicenceId) -> DispatchResult {
		let (operator, _) = Self::ensure_caller(who)?;
		let delegation = Self::ensure_pending(license, operator)?;
		Delegations::<T>::remove(license);
		Self::deposit_event(Event::DelegationRejected {
			license,
			holder: delegation.holder,
			operator,
		});
		Ok(())
	}

	fn do_revoke(who: &T::AccountId, license: LicenceId) -> DispatchResult {
		Self::ensure_holder(who, license)?;
		let delegation = Self::delegation(license).ok_or(Error::<T>::NotDelegated)?;
		let operator = delegation.operator;
		let inactive_from = T::Checks::next_round();

		if delegation.accepted {
			Self::end_span(license, &delegation, inactive_from)?;
		}
		Delegations::<T>::remove(license);
		Self::deposit_event(Event::DelegationRevoked {
			license,
			holder: who.clone(),
			operator,
			inactive_from,
		});
		Ok(())
	}

	/// Ends the activity of an accepted delegation at the start of round `until`.
	fn end_span(
		license: LicenceId,
		delegation: &DelegationOf<T>,
		until: RoundIndex,
	) -> DispatchResult {
		let Delegation {
			holder, operator, ..
		} = delegation;
		let (page, index) = place(license);
		let mut entries = Pages::<T>::get(page);
		let entry = entries
			.get_mut(index)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		let members = Members::<T>::get(operator, holder)
			.checked_sub(1)
			.defensive_ok_or(Error::<T>::Inconsistent)?;

		T::OnPoolChange::before_change(PoolId::Checker(*operator), Some(holder))?;
		entry.now.close(until);
		Pages::<T>::insert(page, entries);
		if members == 0 {
			Members::<T>::remove(operator, holder);
		} else {
			Members::<T>::insert(operator, holder, members);
		}
		Self::mutate_operator(*operator, |record| {
			let licences = record
				.licences
				.now
				.checked_sub(1)
				.defensive_ok_or(Error::<T>::Inconsistent)?;
			record
				.licences
				.change_count(licences, until, T::Checks::oldest_round());
			Ok(())
		})
	}

	fn do_go_offline(who: &T::AccountId) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		ensure!(record.online.now, Error::<T>::AlreadyOffline);
		let from_round = T::Checks::next_round();
		ensure!(
			record
				.online
				.may_change(from_round, T::Checks::oldest_round()),
			Error::<T>::TooManyChanges
		);
		Self::set_online(operator, false, from_round)?;
		Self::deposit_event(Event::WentOffline {
			operator,
			from_round,
			missed: false,
		});
		Ok(())
	}

	fn do_go_online(who: &T::AccountId) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		ensure!(!record.online.now, Error::<T>::AlreadyOnline);
		ensure!(Self::banned_until(&record).is_none(), Error::<T>::Banned);
		let from_round = T::Checks::next_round();
		ensure!(
			record
				.online
				.may_change(from_round, T::Checks::oldest_round()),
			Error::<T>::TooManyChanges
		);
		Self::set_online(operator, true, from_round)?;
		Self::deposit_event(Event::WentOnline {
			operator,
			from_round,
		});
		Ok(())
	}

	/// Puts the operator on or off the draw from round `from` on, with a clean sheet of presence.
	fn set_online(operator: OperatorId, online: bool, from: RoundIndex) -> DispatchResult {
		Self::mutate_operator(operator, |record| {
			record.online.change(online, from);
			record.presence.count = 0;
			Ok(())
		})
	}

	fn do_deregister(who: &T::AccountId) -> DispatchResult {
		let (operator, record) = Self::ensure_caller(who)?;
		let from_round = T::Checks::next_round();

		T::OnPoolChange::before_change(PoolId::Checker(operator), None)?;
		T::Currency::release(
			&HoldReason::OperatorDeposit.into(),
			who,
			record.deposit,
			Precision::Exact,
		)?;
		Self::mutate_operator(operator, |record| {
			record.gone_from = Some(from_round);
			Ok(())
		})?;
		Self::deposit_event(Event::CheckerDeregistered {
			operator,
			account: who.clone(),
			from_round,
		});
		Ok(())
	}

	/// Changes a record and keeps [`ActiveLicences`] in step: every change of a record that can
	/// change how many of its licences are active goes through here.
	fn mutate_operator(
		operator: OperatorId,
		change: impl FnOnce(&mut OperatorOf<T>) -> DispatchResult,
	) -> DispatchResult {
		let mut record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		let before = record.active();
		change(&mut record)?;
		let after = record.active();
		if before != after {
			let active = ActiveLicences::<T>::get()
				.checked_sub(before)
				.and_then(|others| others.checked_add(after))
				.defensive_ok_or(Error::<T>::Inconsistent)?;
			ActiveLicences::<T>::put(active);
		}
		Operators::<T>::insert(operator, record);
		Ok(())
	}

	/// Until when the operator is banned, in milliseconds, if it is now.
	fn banned_until(record: &OperatorOf<T>) -> Option<u64> {
		let ban = record.ban?;
		(T::Time::now() < ban.until).then_some(ban.until)
	}

	fn status_of(account: &T::AccountId) -> Option<CheckerStatus> {
		let (operator, record) = Self::ensure_operator_of(account).ok()?;
		Some(if let Some(until) = Self::banned_until(&record) {
			CheckerStatus::Banned { until }
		} else if !record.online.now {
			CheckerStatus::Offline
		} else if T::Checks::is_seated(operator) {
			CheckerStatus::Checking
		} else if record.licences.now == 0 {
			CheckerStatus::Pending
		} else {
			CheckerStatus::Ready
		})
	}

	fn license_view(license: LicenceId) -> Option<LicenseView<T::AccountId>> {
		use kaisar_primitives::Seats;
		let holder = T::Licences::holder(license)?;
		let delegation = Self::delegation(license);
		let operator = delegation.as_ref().and_then(|delegation| {
			let record = Operators::<T>::get(delegation.operator)?;
			Some((delegation.operator, record.account))
		});
		Some(LicenseView {
			holder,
			operator,
			pending: delegation.is_some_and(|delegation| !delegation.accepted),
			seat: <Self as Seats<T::AccountId>>::seat(license, T::Checks::next_round()),
		})
	}
}
