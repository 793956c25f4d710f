//! # Proof of Physical Work
//!
//! Again and again, randomly drawn checkers prove what the machines of the network really do. This
//! pallet runs the rounds in which that happens, draws the committees, takes their votes and closes
//! the checks.
//!
//! ## Terms
//!
//! - **Round**: three phases of equal length, *attest*, *commit*, *reveal* ([`Phase`]). Spot rounds
//!   (even numbers) start every [`Config::PhaseLength`] blocks, so that one is in each phase at any
//!   time. The seed of spot round `2k` may start census `2k + 1`, which checks all idle workers at
//!   the same moment.
//! - **Due**: a worker that must attest in a round. Derived from its record, never stored as a list.
//! - **Check**: one worker's part of a round, opened by its attestation ([`Check`]).
//! - **Committee**: the operators who vote on a check, drawn by the round's seed.
//! - **Touch**: whatever changes a worker first closes a check of it that is over.
//!
//! ## The flow of one check
//!
//! 1. Block `s` starts a round. The numbers that matter (licenses, workers, parameters) are fixed
//!    before its extrinsics, the seed after them: nobody can place anything in between.
//! 2. A worker that is due has its agent run the benchmark from that seed, and attests the proof's
//!    root ([`Call::attest`]). The committee is drawn and the check is open.
//! 3. The committee's agents measure and verify. Each operator commits to its votes in batches
//!    ([`Call::commit`]) and reveals them a phase later ([`Call::reveal`]).
//! 4. With the last vote, or when the round is over and somebody touches the worker
//!    ([`Call::finalize`]), the check is closed: more than half of the committee's size decides.
//!    Workers, operators, rewards and orders are told through the traits of `kaisar-primitives`.
//! 5. Who was due and did not attest is offline, and anyone may say so ([`Call::report_absent`]).
//!
//! ## Cost
//!
//! A round's start is a fixed number of reads and writes, whatever the number of workers: it stores
//! one record. An attestation reads a license page for each draw and writes the worker's check and
//! a page of the round's list; a vote writes the check alone.
//!
//! The off-chain worker that drives all of it, fee-less, is in [`ocw`].

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

mod authorize;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod checks;
mod commitments;
mod committee;
mod forget;
pub mod ocw;
mod rounds;
mod tally;
mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use checks::signing_payload;
pub use kaisar_math::committee::MAX_DRAWS;
pub use pallet::*;
pub use tally::Tally;
pub use types::*;
pub use weights::WeightInfo;

/// Blocks for which the randomness of a block is stored: longer than any check waits for it.
pub const SEED_DEPTH: u32 = 4_096;
/// Spot rounds for which records are stored, with the census that each may have started. A little more than
/// a day at the default phase length, so that a strike can be annulled.
pub const ROUND_DEPTH: u32 = 320;
/// Maximum number of census rounds that run at the same time; all but one of them are being voted on.
pub const MAX_CENSUS: u32 = 8;
/// Workers in a page of a round's list.
pub const PAGE: u32 = 256;
/// Operators in a page of counters.
pub const COUNTERS_PAGE: u32 = 32;
/// Steps that one block takes to remove what is kept of past rounds: a page, a commitment that was not opened,
/// or a round without either.
pub const SWEEP: u32 = 8;
/// Maximum number of workers whose checks one [`Call::finalize`] closes.
pub const MAX_FINALIZE: u32 = 64;

/// The log target of this pallet.
pub const LOG_TARGET: &str = "runtime::popw";

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use alloc::vec::Vec;
	use frame_support::pallet_prelude::*;
	use frame_system::{offchain::CreateAuthorizedTransaction, pallet_prelude::*};
	use kaisar_primitives::{
		BenchParams, BlockNumber, CheckedWorkers, EpochIndex, GpuClasses, MAX_BATCH, OnClosed,
		OnUnopened, OperatorId, Outcome, Rentals, RoundIndex, Seats, Votes, WorkerId,
		WorkerRegistry,
		authorized::{ensure_sender, ensure_signed_or_authorized},
	};
	use sp_core::{H256, sr25519};

	/// The in-code storage version.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	#[pallet::config]
	pub trait Config:
		CreateAuthorizedTransaction<Call<Self>> + frame_system::Config<Hash = H256>
	{
		/// The registry of workers.
		type Workers: WorkerRegistry<Self::AccountId> + CheckedWorkers<Self::AccountId>;

		/// The operators that sit for licenses.
		type Seats: Seats<Self::AccountId>;

		/// The observer of closed checks.
		type OnClosed: OnClosed;

		/// The observer of commitments that were not opened.
		type Unopened: OnUnopened;

		/// The current epoch: commitments that an operator does not open are counted within one.
		type CurrentEpoch: Get<EpochIndex>;

		/// The orders, whose containers a checker's agent has to probe.
		type Rentals: Rentals;

		/// The references that GPUs of a class are held to.
		type Classes: GpuClasses;

		/// The VRF output of the current block, in `on_finalize`. BABE must finalize before this pallet and
		/// use secondary VRF slots, so that every block has one.
		type VrfOutput: Get<Option<[u8; 32]>>;

		/// Blocks of a spot round's phase, and between the starts of two spot rounds.
		type PhaseLength: Get<BlockNumber>;

		/// Spot rounds between two census rounds, on average.
		type CheckPeriod: Get<u32>;

		/// Checks that a census phase of one `PhaseLength` is meant to carry.
		type MaxDue: Get<u32>;

		/// Seats of a committee; at most `MAX_COMMITTEE`.
		type CommitteeSize: Get<u8>;

		/// The amount of work in the benchmark.
		type Bench: Get<BenchParams>;

		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// The hash over the VRF outputs of all blocks so far.
	#[pallet::storage]
	pub type RunningHash<T> = StorageValue<_, H256, ValueQuery>;

	/// The running hash after each of the last [`SEED_DEPTH`] blocks.
	#[pallet::storage]
	pub type BlockSeeds<T> = StorageMap<_, Twox64Concat, BlockNumber, H256>;

	/// The next spot round to start.
	#[pallet::storage]
	pub type NextRound<T> = StorageValue<_, RoundIndex, ValueQuery>;

	/// The block in which the next spot round starts.
	#[pallet::storage]
	pub type NextStart<T> = StorageValue<_, BlockNumber, ValueQuery>;

	/// The spot round that this block starts, without its seed yet. Removed at the block's end.
	#[pallet::storage]
	pub type Starting<T> = StorageValue<_, Round>;

	/// The rounds that something can still refer to.
	#[pallet::storage]
	pub type Rounds<T> = StorageMap<_, Twox64Concat, RoundIndex, Round>;

	/// The census rounds that were still running when the last one started, oldest first.
	#[pallet::storage]
	pub type CensusRounds<T> =
		StorageValue<_, BoundedVec<RoundIndex, ConstU32<MAX_CENSUS>>, ValueQuery>;

	/// The last check of each worker: at most one is open, and nothing piles up.
	#[pallet::storage]
	pub type LastChecks<T> = StorageMap<_, Twox64Concat, WorkerId, LastCheck>;

	/// The number of workers that attested in a round.
	#[pallet::storage]
	pub type AttestedCount<T> = StorageMap<_, Twox64Concat, RoundIndex, u32, ValueQuery>;

	/// The workers that attested in a round, in order, in pages of [`PAGE`].
	#[pallet::storage]
	pub type Attested<T> = StorageDoubleMap<
		_,
		Twox64Concat,
		RoundIndex,
		Twox64Concat,
		u32,
		BoundedVec<WorkerId, ConstU32<PAGE>>,
		ValueQuery,
	>;

	/// The position of the removal of old lists: the lists of rounds below it are removed.
	#[pallet::storage]
	pub type Swept<T> = StorageValue<_, RoundIndex, ValueQuery>;

	/// Commitments that were not opened yet, by operator, lane and batch. One that is left at its round's end
	/// is removed with the round, or overwritten by a later round of the lane.
	#[pallet::storage]
	pub type Commitments<T> = StorageNMap<
		_,
		(
			NMapKey<Twox64Concat, OperatorId>,
			NMapKey<Twox64Concat, Lane>,
			NMapKey<Twox64Concat, u16>,
		),
		Commitment,
	>;

	/// Counters of the operators in each round in flight, in pages of [`COUNTERS_PAGE`] operators.
	#[pallet::storage]
	pub type CountersOf<T> = StorageDoubleMap<
		_,
		Twox64Concat,
		RoundIndex,
		Twox64Concat,
		u32,
		[Counters; COUNTERS_PAGE as usize],
		ValueQuery,
	>;

	/// Commitments that operators did not open, until they commit in a later epoch.
	#[pallet::storage]
	pub type Withheld<T> = StorageMap<_, Twox64Concat, OperatorId, WithheldBatches>;

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	#[allow(missing_docs)]
	pub enum Event<T: Config> {
		/// A round started; its seed is known from the end of this block.
		RoundStarted {
			round: RoundIndex,
			kind: kaisar_primitives::RoundKind,
			seed: H256,
			/// Blocks of each of its phases.
			phase_length: BlockNumber,
		},
		/// A worker attested, which opened its check.
		Attested {
			worker: WorkerId,
			round: RoundIndex,
			/// The root of its benchmark.
			root: [u8; 32],
			/// The operators that were drawn.
			committee: Vec<OperatorId>,
		},
		/// An operator committed to a batch of votes.
		Committed {
			operator: OperatorId,
			round: RoundIndex,
			batch: u16,
		},
		/// An operator opened a commitment.
		Revealed {
			operator: OperatorId,
			round: RoundIndex,
			batch: u16,
			/// The number of votes that count.
			counted: u32,
			/// The number of votes skipped: no open check in this round, no seat, a seat of another batch, or
			/// a second vote.
			skipped: u32,
		},
		/// A check was closed.
		CheckClosed {
			worker: WorkerId,
			round: RoundIndex,
			outcome: Outcome,
			/// The number of votes revealed.
			votes: u32,
		},
		/// A worker that was due and did not attest was reported, and found offline.
		AbsentReported {
			worker: WorkerId,
			round: RoundIndex,
			/// The account that reported it; `None` if a checker's node did, fee-less.
			reporter: Option<T::AccountId>,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// No round has this number, or its record was removed.
		UnknownRound,
		/// No worker has this number.
		UnknownWorker,
		/// No operator has this number.
		UnknownOperator,
		/// The round is not in the phase that the call needs.
		WrongPhase,
		/// The caller does not own the worker.
		NotOwner,
		/// The caller is not the operator.
		NotOperator,
		/// The extrinsic is signed, so `signature` must be `None`.
		SignatureNotExpected,
		/// The worker is not due in this round.
		NotDue,
		/// The worker already attested in this round or a later one.
		AlreadyAttested,
		/// A check of the worker is still open.
		CheckOpen,
		/// The operator has no active license in this round.
		NoLicense,
		/// The batch is beyond the operator's own seats in the round, of which each batch has 64.
		BatchTooHigh,
		/// The operator already committed to this batch of the round, or its slot still holds a commitment of
		/// an earlier round that can be opened.
		AlreadyCommitted,
		/// The operator has no commitment for this batch of the round, or already opened it.
		NoCommitment,
		/// The votes and the salt do not match the commitment.
		CommitmentMismatch,
		/// None of the workers has an open check whose round is over.
		NothingToFinalize,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns the rounds that run now: seed known, reveal phase not over.
		pub fn rounds() -> Vec<Round> {
			Self::running_rounds(Self::now())
		}

		/// Returns whether `worker` is due in `round` and has not attested.
		pub fn is_due(worker: WorkerId, round: RoundIndex) -> bool {
			Rounds::<T>::get(round).is_some_and(|round| Self::due(worker, &round).is_ok())
		}

		/// Returns the operators that sit for `worker` in `round`: those that were drawn when it attested,
		/// or those that would be drawn now.
		pub fn committee(worker: WorkerId, round: RoundIndex) -> Vec<OperatorId> {
			Self::committee_of(worker, round)
		}

		/// Returns the seats of `operator` among the workers that attested in `round`, and the position to
		/// continue from, `None` at the end of the list. It looks at up to `limit` workers (at most 4,096)
		/// from position `cursor` on.
		pub fn seats(
			operator: OperatorId,
			round: RoundIndex,
			cursor: u32,
			limit: u32,
		) -> (Vec<SeatView>, Option<u32>) {
			Self::seats_of(operator, round, cursor, limit)
		}

		/// Returns the last check of `worker`.
		pub fn last_check(worker: WorkerId) -> Option<LastCheck> {
			LastChecks::<T>::get(worker)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Opens the worker's check in a round with the root of its benchmark.
		///
		/// An earlier check of the worker that is over is closed first. If the worker is not due any more then,
		/// a fee-less call succeeds and does nothing more.
		///
		/// ## Origin
		/// Fee-less with the worker key's signature, or signed by the worker's owner with `signature: None`.
		///
		/// ## Parameters
		/// - `worker`: the worker, which must be due in the round.
		/// - `round`: the round, in its attest phase.
		/// - `root`: the root of everything that the benchmark computed from the round's seed.
		/// - `signature`: the worker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/attest", genesis hash, seed, worker, round, root)`.
		///
		/// ## Errors
		/// - [`Error::UnknownRound`].
		/// - [`Error::UnknownWorker`].
		/// - [`Error::WrongPhase`]: the round is not in its attest phase.
		/// - [`Error::NotOwner`].
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::AlreadyAttested`].
		/// - [`Error::CheckOpen`].
		/// - [`Error::NotDue`].
		///
		/// ## Events
		/// - [`Event::Attested`].
		/// - [`Event::CheckClosed`]: an earlier check of the worker was over and still open.
		#[pallet::call_index(0)]
		#[pallet::weight((
			T::WeightInfo::attest(MAX_DRAWS)
				.saturating_add(T::WeightInfo::finalize(0, 1))
				.saturating_add(T::OnClosed::max_weight()),
			DispatchClass::Operational,
		))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_attest())]
		#[pallet::authorize(Self::authorize_attest)]
		pub fn attest(
			origin: OriginFor<T>,
			worker: WorkerId,
			round: RoundIndex,
			root: [u8; 32],
			signature: Option<sr25519::Signature>,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			let (draws, closed) = Self::do_attest(signer, worker, round, root)?;
			let touch = Self::weight_of_touch(&closed);
			Ok(Some(T::WeightInfo::attest(draws).saturating_add(touch)).into())
		}

		/// Commits to a batch of votes.
		///
		/// A vote belongs to the batch of its seat, `⌊number / 64⌋`; the view [`Pallet::seats`] tells the
		/// numbers. Commitments that were not opened by their round's end count as missed seats now: the n-th
		/// of the operator in an epoch as 2ⁿ, at most 64.
		///
		/// ## Origin
		/// Fee-less with the checker key's signature, or signed by the operator's account with
		/// `signature: None`.
		///
		/// ## Parameters
		/// - `operator`: the operator's number.
		/// - `round`: the round, in its commit phase.
		/// - `batch`: the number of the batch, below `⌈seats of the operator in the round / 64⌉`.
		/// - `hash`: [`kaisar_primitives::commitment`] of the votes.
		/// - `signature`: the checker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/commit", genesis hash, seed, operator, round, batch, hash)`.
		///
		/// ## Errors
		/// - [`Error::UnknownRound`].
		/// - [`Error::UnknownOperator`].
		/// - [`Error::WrongPhase`]: the round is not in its commit phase.
		/// - [`Error::NotOperator`].
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::NoLicense`].
		/// - [`Error::BatchTooHigh`].
		/// - [`Error::AlreadyCommitted`].
		///
		/// ## Events
		/// - [`Event::Committed`].
		#[pallet::call_index(1)]
		#[pallet::weight((T::WeightInfo::commit(), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_commit())]
		#[pallet::authorize(Self::authorize_commit)]
		pub fn commit(
			origin: OriginFor<T>,
			operator: OperatorId,
			round: RoundIndex,
			batch: u16,
			hash: H256,
			signature: Option<sr25519::Signature>,
		) -> DispatchResult {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			Self::do_commit(signer, operator, round, batch, hash)
		}

		/// Opens a commitment and counts its votes.
		///
		/// A reveal that matches its commitment uses it up and succeeds whatever its votes are. A vote for a
		/// worker without an open check in this round, without a seat, for a seat of another batch, or a second
		/// vote is skipped and counted as such, and cannot spoil the others.
		///
		/// ## Origin
		/// As for [`Pallet::commit`].
		///
		/// ## Parameters
		/// - `operator`: the operator's number, as committed.
		/// - `round`: the round, as committed, in its reveal phase.
		/// - `batch`: the number of the batch, as committed.
		/// - `votes`: up to 64 workers with a verdict each.
		/// - `salt`: the salt of the commitment.
		/// - `signature`: the checker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/reveal", genesis hash, seed, operator, round, batch, votes, salt)`.
		///
		/// ## Errors
		/// - [`Error::UnknownRound`].
		/// - [`Error::UnknownOperator`].
		/// - [`Error::WrongPhase`]: the round is not in its reveal phase.
		/// - [`Error::NotOperator`].
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::NoCommitment`].
		/// - [`Error::CommitmentMismatch`].
		///
		/// ## Events
		/// - [`Event::Revealed`].
		/// - [`Event::CheckClosed`]: for each check that the reveal completes.
		#[pallet::call_index(2)]
		#[pallet::weight((
			T::WeightInfo::reveal(votes.len() as u32, 0, votes.len() as u32)
				.saturating_add(Pallet::<T>::max_weight_of_observers(votes.len() as u32)),
			DispatchClass::Operational,
		))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_reveal(votes.len() as u32))]
		#[pallet::authorize(Self::authorize_reveal)]
		pub fn reveal(
			origin: OriginFor<T>,
			operator: OperatorId,
			round: RoundIndex,
			batch: u16,
			votes: Votes,
			salt: [u8; 32],
			signature: Option<sr25519::Signature>,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			let closed = Self::do_reveal(signer, operator, round, batch, &votes, &salt)?;
			let weight =
				T::WeightInfo::reveal(votes.len() as u32, closed.confirming, closed.changing)
					.saturating_add(closed.observers);
			Ok(Some(weight).into())
		}

		/// Reports that a worker was due in a round and did not attest. It is found offline, once, without a
		/// vote.
		///
		/// An earlier check of the worker that is over is closed first. If the worker is not due any more then,
		/// a fee-less call succeeds and does nothing more.
		///
		/// ## Origin
		/// Signed by any account, which pays no fee if the call succeeds; or fee-less from a checker's node.
		///
		/// ## Parameters
		/// - `worker`: the worker.
		/// - `round`: the round, in its commit or reveal phase.
		///
		/// ## Errors
		/// - [`Error::UnknownRound`].
		/// - [`Error::UnknownWorker`].
		/// - [`Error::WrongPhase`]: the round is in neither its commit nor its reveal phase.
		/// - [`Error::AlreadyAttested`].
		/// - [`Error::CheckOpen`].
		/// - [`Error::NotDue`].
		///
		/// ## Events
		/// - [`Event::AbsentReported`].
		/// - [`Event::CheckClosed`]: an earlier check of the worker was over and still open.
		#[pallet::call_index(3)]
		#[pallet::weight(
			T::WeightInfo::report_absent()
				.saturating_add(T::WeightInfo::finalize(0, 1))
				.saturating_add(Pallet::<T>::max_weight_of_observers(2))
		)]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_report_absent())]
		#[pallet::authorize(Self::authorize_report_absent)]
		pub fn report_absent(
			origin: OriginFor<T>,
			worker: WorkerId,
			round: RoundIndex,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_signed_or_authorized::<T>(origin)?;
			let touch = Self::do_report_absent(signer.account(), worker, round)?;
			let weight = T::WeightInfo::report_absent().saturating_add(touch);
			Ok((Some(weight), Pays::No).into())
		}

		/// Closes checks whose round is over. If one of them ends in a slash, an account that signed the
		/// call shares its bounty.
		///
		/// ## Origin
		/// Signed by any account; or fee-less from a worker's or checker's node, if every one of the checks
		/// can be closed and the workers are in ascending order.
		///
		/// ## Parameters
		/// - `workers`: up to 64 workers; those without an open check whose round is over are skipped.
		///
		/// ## Errors
		/// - [`Error::NothingToFinalize`].
		///
		/// ## Events
		/// - [`Event::CheckClosed`]: for each closed check.
		#[pallet::call_index(4)]
		#[pallet::weight(
			T::WeightInfo::finalize(0, workers.len() as u32)
				.saturating_add(Pallet::<T>::max_weight_of_observers(workers.len() as u32))
		)]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_finalize(workers.len() as u32))]
		#[pallet::authorize(Self::authorize_finalize)]
		pub fn finalize(
			origin: OriginFor<T>,
			workers: BoundedVec<WorkerId, ConstU32<MAX_FINALIZE>>,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_signed_or_authorized::<T>(origin)?;
			let closed = Self::do_finalize(&workers, signer.account().as_ref())?;
			Ok(Some(Self::weight_of_closing(&closed)).into())
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn on_initialize(_: BlockNumberFor<T>) -> Weight {
			let now = Self::now();
			// Before the start: a round that starts in this block has no record yet.
			let swept = Self::sweep();
			let starts = Self::start_round(now);
			T::WeightInfo::on_initialize(swept)
				.saturating_add(T::WeightInfo::on_finalize())
				.saturating_add(if starts {
					T::WeightInfo::start_round()
				} else {
					Weight::zero()
				})
		}

		fn on_finalize(_: BlockNumberFor<T>) {
			Self::fold_seed(Self::now());
		}

		fn integrity_test() {
			const {
				assert!(
					SEED_DEPTH > 2,
					"an attestation needs the seed of the block after it"
				);
				assert!(
					MAX_BATCH > 0 && PAGE > 0 && SWEEP > 0,
					"nothing can be done in steps of 0"
				);
			}
		}

		fn offchain_worker(_: BlockNumberFor<T>) {
			ocw::run::<T>(Self::now());
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}
	}
}
