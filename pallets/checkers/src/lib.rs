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
//! ## Strikes and bans
//!
//! A lone vote "online" against a full committee of "offline" is an incorrect calculation, a
//! *strike* ([`Strike`]). Strikes are an account's, whatever its registrations, and some within a
//! short time ban it ([`banned_until`]): it has no seats from the next round on, until the time of
//! the ban is over and it goes online again. More than ten ban for good: the registration ends.
//!
//! 1. A cheat votes "online" for Wanda's worker, which is switched off. All others of the committee
//!    say "offline": a strike. A second one in the same week bans the cheat for 30 days.
//! 2. A malicious worker serves Carla alone. She, too, is alone with her vote and has a strike; but
//!    she has the worker agent's receipt, with which every check begins. Within a day her node annuls
//!    the strike with it, fee-less, and any ban that came of it is as if it had never been.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub use bans::*;
pub use pallet::*;
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
mod strikes;
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
use frame_system::{offchain::CreateAuthorizedTransaction, pallet_prelude::*};
use kaisar_primitives::{
	AgentKey, AgentSignature, CheckerKey, Checks, Commission, EpochIndex, KeyProof, LicenceId,
	LicenceInfo, OnPoolChange, OperatorId, PoolId, RoundIndex, SharesChange, Timeline, WorkerId,
	WorkerRegistry,
	authorized::ensure_signed_or_authorized,
	keys::{KeyRole, is_zero},
};
use sp_core::H256;
use sp_runtime::{
	Perbill,
	traits::{EnsureAdd, Zero},
};

/// The log target of this pallet.
const LOG_TARGET: &str = "runtime::checkers";

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
	pub trait Config:
		CreateAuthorizedTransaction<Call<Self>> + frame_system::Config<Hash = H256>
	{
		/// The overarching hold reason.
		type RuntimeHoldReason: From<HoldReason>;

		/// KAI, for the deposit.
		type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;

		/// Who holds which licence (Licenses).
		type Licences: LicenceInfo<Self::AccountId>;

		/// Rounds (Popw).
		type Checks: Checks;

		/// Whose agent signs receipts (Providers).
		type Workers: WorkerRegistry<Self::AccountId>;

		/// Observer of licenses and commissions (Rewards).
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

	/// The strikes of an account, over all its registrations, that were not annulled.
	#[pallet::storage]
	pub type StrikesOf<T: Config> =
		StorageMap<_, Blake2_128Concat, T::AccountId, Strikes, ValueQuery>;

	/// Whose a lone vote of [`StrikesOf`] is, by round and worker.
	#[pallet::storage]
	pub type LoneVotes<T: Config> =
		StorageMap<_, Twox64Concat, (RoundIndex, WorkerId), T::AccountId, OptionQuery>;

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
		/// An operator's lone vote said "online", and all others of a full tally "offline": a strike.
		/// More than one in a round are one strike.
		IncorrectCalculation {
			/// The operator.
			operator: OperatorId,
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
		},
		/// An operator is banned, or the ban that it is under lasts longer.
		CheckerBanned {
			/// The operator: the last registration of the account that has the strikes.
			operator: OperatorId,
			/// Until this time, in milliseconds of chain time; `u64::MAX` for good.
			until: u64,
			/// The first round without seats, unless an earlier ban was on.
			from_round: RoundIndex,
		},
		/// An operator has shown that it was served: its vote was none to be banned for.
		StrikeAnnulled {
			/// The operator that voted.
			operator: OperatorId,
			/// The worker.
			worker: WorkerId,
			/// The round.
			round: RoundIndex,
			/// Votes of this round that still make a strike.
			left: u32,
		},
		/// A ban is shorter since a strike was annulled, or over.
		BanRevised {
			/// The operator.
			operator: OperatorId,
			/// Until when it is banned now, in milliseconds of chain time; `None` if it is not.
			until: Option<u64>,
			/// If it is not, and is still registered: the first round in which it can have seats again.
			from_round: RoundIndex,
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
		/// No operator has a strike for this worker in this round.
		NoStrike,
		/// A strike can be annulled within a day, which is over.
		StrikeIsFinal,
		/// The receipt is no signature of the worker's agent for this checker in this round.
		InvalidReceipt,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// How an operator stands; `None` if the account is no registered operator, unless it is banned.
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

		/// The strikes of an account that were not annulled, by time.
		pub fn strikes_of(account: T::AccountId) -> alloc::vec::Vec<Strike> {
			StrikesOf::<T>::get(account).into_inner()
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
		/// Errors: [`Error::AlreadyRegistered`], [`Error::Banned`] (the account's last registration
		/// is), [`Error::ZeroKey`], [`Error::KeyInUse`],
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

		/// Brings the operator back into the draw, from the next round on: after it went offline, was
		/// put offline, or when the time of its ban is over.
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

		/// Annuls a strike: an operator was alone with its vote "online" because the worker served
		/// nobody else, and the worker agent's receipt shows it. If there are more such votes of the
		/// round ([`Pallet::strikes_of`]), the strike is gone with the last of them. A ban that
		/// the remaining strikes do not ask for is shortened, or over from the next round on. What a
		/// ban for good has ended stays so: the account may register again.
		///
		/// The origin is fee-less, or signed by anyone, who pays no fee if it succeeds: the receipt
		/// says all, and each can be used once.
		///
		/// - `worker`: the worker.
		/// - `round`: the round of the vote. There is one check of a worker in it, and at most one is
		///   alone in that.
		/// - `receipt`: ed25519 signature of the worker's agent over
		///   [`receipt_payload`](kaisar_primitives::keys::receipt_payload) for the round's seed and the
		///   checker key in force in it.
		///
		/// Errors: [`Error::NoStrike`], [`Error::StrikeIsFinal`] a day after it was found,
		/// [`Error::InvalidReceipt`], [`Error::TooManyChanges`].
		///
		/// Events: [`Event::StrikeAnnulled`], [`Event::BanRevised`] if a ban changed.
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
