//! # Proof of Physical Work
//!
//! Randomly drawn checkers verify, again and again, the work of the network's machines. This pallet runs the
//! rounds in which that happens, draws the committees, takes their votes and closes the checks.
//!
//! ## Terms
//!
//! - **Round**: a *prepare* part up to the trial, then *attest*, *commit*, *reveal* of equal length
//!   ([`Phase`]). Spot rounds (even numbers) start every [`Config::PhaseLength`] blocks, so that at any time
//!   one round is in each part. The seed of spot round `2k` may start census `2k + 1`, which checks all idle
//!   workers at the same moment. One census runs at a time.
//! - **Trial**: the block of a round at whose end its second seed is known. All slow work is prepared before
//!   it, so only the work after it is measured.
//! - **Due**: obliged to attest in a round. Derived from a worker's record, never stored as a list.
//! - **Check**: one worker's part of a round, opened by its attestation ([`Check`]).
//! - **Committee**: the operators who vote on a check, drawn by the round's seed. A vote counts by the
//!   operator's weight, the number of draws that hit it.
//! - **Touch**: closing an ended check of a worker, before anything else changes the worker.
//!
//! ## The flow of one check
//!
//! 1. Block `s` starts a round. Its numbers of licenses and workers are those of [`NOTICE`] blocks before,
//!    and its seed is made after the block's extrinsics: nobody can place anything in between.
//! 2. The agent of a due worker prepares from that seed and, [`Config::TrialOffset`] blocks later, runs the
//!    trial from the trial seed. The worker attests the proof's root ([`Call::attest`]): the committee is
//!    drawn and the check is open.
//! 3. The committee's agents measure and verify. Each operator commits to its votes in batches
//!    ([`Call::commit`]) and reveals them a part later ([`Call::reveal`]).
//! 4. With the last vote, or when the round is over and somebody touches the worker ([`Call::finalize`]),
//!    the check is closed: every decision needs more than half of the committee's size ([`Tally`]). The
//!    result goes to workers, operators, rewards and orders through the traits of `kaisar-primitives`.
//! 5. A worker that was due and did not attest is offline, and anyone may report it
//!    ([`Call::report_absent`]).
//!
//! The same as a test:
//!
#![doc = docify::embed!("src/tests/story.rs", a_committee_of_three_verifies_a_new_worker)]
//!
//! And a worker that is absent:
//!
#![doc = docify::embed!("src/tests/story.rs", a_worker_that_does_not_attest_is_offline)]
//!
//! ## Cost
//!
//! A round's start takes a fixed number of reads and writes, whatever the number of workers: it stores one
//! record. An attestation reads a license page for each draw and writes the worker's check and a page of the
//! round's list; a vote writes the check alone.
//!
//! The off-chain worker in [`ocw`] drives all of this, fee-less.

#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]

extern crate alloc;

mod authorize;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod checks;
mod commitments;
mod committee;
pub mod ocw;
pub mod params;
mod rental;
mod rounds;
mod tally;
#[cfg(any(
	feature = "try-runtime",
	feature = "runtime-benchmarks",
	feature = "std"
))]
mod try_state;
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

/// Blocks for which the randomness of a block is stored: longer than any check needs it.
pub const SEED_DEPTH: u32 = 4_096;
/// Blocks for which the record of a round that is over is stored: a day and a little more, so that a strike
/// can be annulled.
pub const RECORD_DEPTH: u32 = 8_000;
/// Maximum number of rounds in flight, of which one is a census. A spot round waits for a free slot, which
/// happens only after `PhaseLength` was lowered.
pub const MAX_IN_FLIGHT: u32 = 8;
/// Minimum notice of a change, in blocks: it counts from the first spot round that starts at least this many
/// blocks later. So the author of the last blocks before a start, who may know its seed, gains nothing by
/// putting calls into them.
pub const NOTICE: u32 = 4;
/// Maximum length of a census' phase, in blocks: two days.
pub const MAX_CENSUS_PHASE: u32 = 14_400;
/// Workers in a page of a round's list.
pub const PAGE: u32 = 256;
/// Operators in a page of counters.
pub const COUNTERS_PAGE: u32 = 32;
/// Maximum number of steps by which one block removes the storage of past rounds: a page, a slot of a
/// commitment, or a round without either. Every operator of a single license may have a page of counters of
/// its own in each spot round: 29,998 in 25 blocks at the very most, and 24,000 with 10⁴ rented workers
/// checked.
pub const SWEEP: u32 = 1_024;
/// Maximum number of unopened commitments that one block counts against their operators.
pub const SWEEP_UNOPENED: u32 = 64;
/// Maximum number of workers whose checks one [`Call::finalize`] closes.
pub const MAX_FINALIZE: u32 = 64;

/// The log target of this pallet.
pub(crate) const LOG_TARGET: &str = "runtime::popw";

#[frame_support::pallet]
pub mod pallet {
	use super::{checks::AttestEffect, *};
	use alloc::vec::Vec;
	use frame_support::{pallet_prelude::*, traits::Time};
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

		/// The current epoch: an operator's unopened commitments are counted within one.
		type CurrentEpoch: Get<EpochIndex>;

		/// The orders whose containers a checker's agent probes.
		type Rentals: Rentals;

		/// The references that GPUs of a class are held to.
		type Classes: GpuClasses;

		/// The VRF output of the current block, in `on_finalize`. BABE must finalize before this pallet and
		/// use secondary VRF slots, so that every block has one.
		type VrfOutput: Get<Option<[u8; 32]>>;

		/// The chain's time, in milliseconds since 1970.
		type Time: Time<Moment = u64>;

		/// Blocks of a spot round's attest, commit and reveal part, each, and between the starts of two spot
		/// rounds; held to [`params::PHASE_LENGTH`]. *Param.*
		type PhaseLength: Get<BlockNumber>;

		/// Blocks of a round's prepare part, from its start to its trial; held to `PhaseLength`, so that
		/// no more than four spot rounds are in flight. *Param.*
		type TrialOffset: Get<BlockNumber>;

		/// Spot rounds, while no census runs, of which one starts a census on average; held to
		/// [`params::CHECK_PERIOD`]. *Param.*
		type CheckPeriod: Get<u32>;

		/// The most that one check credits a rented worker, in mean intervals between its checks; held to
		/// [`params::GAP_PERIODS`]. *Param.*
		type GapPeriods: Get<u32>;

		/// Checks for which a census phase of one `PhaseLength` is planned; held to [`params::MAX_DUE`].
		/// *Param.*
		type MaxDue: Get<u32>;

		/// The intended weight of a committee; held to [`params::COMMITTEE_SIZE`]. *Param.*
		type CommitteeSize: Get<u8>;

		/// The minimum number of operators in a committee that can decide; held to 1 … `CommitteeSize`.
		/// *Param.*
		type MinOperators: Get<u8>;

		/// The amount of work in a trial; held to the limits of agents ([`BenchParams::held`]). *Param.*
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

	/// The round that this block starts, without its seed yet. Removed at the block's end.
	#[pallet::storage]
	pub type Starting<T> = StorageValue<_, Start>;

	/// The rounds to which other records can still refer.
	#[pallet::storage]
	pub type Rounds<T> = StorageMap<_, Twox64Concat, RoundIndex, Round>;

	/// The rounds that were in flight when the last one started, including that one, in the order of their
	/// starts.
	#[pallet::storage]
	pub type Running<T> =
		StorageValue<_, BoundedVec<InFlight, ConstU32<MAX_IN_FLIGHT>>, ValueQuery>;

	/// The position of the removal of old records: no round below it has one.
	#[pallet::storage]
	pub type Dropped<T> = StorageValue<_, RoundIndex, ValueQuery>;

	/// The numbers of the network at the start of each of the last [`NOTICE`] blocks, oldest first.
	#[pallet::storage]
	pub type Recent<T> = StorageValue<_, BoundedVec<Numbers, ConstU32<NOTICE>>, ValueQuery>;

	/// The last check of each worker. At most one is open, so storage does not grow with the number of
	/// rounds.
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

	/// The progress of the removal of lists and counters, for spot rounds and for censuses: the number of
	/// rounds of the kind, from the first, of which nothing is stored.
	#[pallet::storage]
	pub type SweptTo<T> = StorageValue<_, [u32; 2], ValueQuery>;

	/// Commitments that were not opened yet, by operator, lane and batch. One that is still here at its
	/// round's end is removed with the round, or overwritten by a later round of the lane.
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

	/// The number of commitments that an operator did not open, in the epoch of the last one. Removed with
	/// the operator's record.
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
			/// Blocks of its attest, commit and reveal part, each.
			phase_length: BlockNumber,
		},
		/// A round's trial began; its seed is known from the end of this block.
		TrialStarted { round: RoundIndex, seed: H256 },
		/// A worker attested, which opened its check.
		Attested {
			worker: WorkerId,
			round: RoundIndex,
			/// The root of its trial.
			root: [u8; 32],
			/// The operators that sit, with their weights.
			committee: Vec<(OperatorId, u32)>,
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
			/// The number of votes counted.
			counted: u32,
			/// The number of votes skipped: the worker has no open check in this round, the operator has no
			/// seat or one of another batch, or has voted already.
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
			/// `None` if a checker's node reported it, fee-less.
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
		/// The round is not in the part that the call requires: it is too early, or too late.
		WrongPhase,
		/// The caller does not own the worker.
		NotOwner,
		/// The caller is not the operator.
		NotOperator,
		/// A signed extrinsic carries a second signature; `signature` must be `None`.
		SignatureNotExpected,
		/// The worker is not due in this round.
		NotDue,
		/// The worker already attested, or was reported absent, in this round or a later one.
		AlreadyAttested,
		/// A check of the worker is still open.
		CheckOpen,
		/// The operator has no active license in this round.
		NoLicense,
		/// The batch number is too high for the operator's seats in the round, 64 a batch.
		BatchTooHigh,
		/// The operator already committed to this batch of the round.
		AlreadyCommitted,
		/// The operator has no unopened commitment for this batch of the round.
		NoCommitment,
		/// The votes and the salt do not match the commitment.
		CommitmentMismatch,
		/// None of the workers has an open check whose round is over.
		NothingToFinalize,
	}

	#[pallet::view_functions]
	impl<T: Config> Pallet<T> {
		/// Returns the rounds in flight: their seed is known, and their reveal part is not over.
		pub fn rounds() -> Vec<Round> {
			Self::running_rounds(Self::now())
		}

		/// Returns whether `worker` is due in `round` and has not attested.
		pub fn is_due(worker: WorkerId, round: RoundIndex) -> bool {
			Rounds::<T>::get(round).is_some_and(|round| Self::due(worker, &round).is_ok())
		}

		/// Returns the committee of `worker` in `round`, operators with their weights: as it was drawn when
		/// the worker attested, or as it would be drawn now.
		pub fn committee(worker: WorkerId, round: RoundIndex) -> Vec<(OperatorId, u32)> {
			Self::committee_of(worker, round)
		}

		/// Returns the seats of `operator` among the workers that attested in `round`, and the position to
		/// continue from; `None` at the end of the list. It reads up to `limit` workers (at most 4,096) from
		/// position `cursor` on.
		pub fn seats(
			operator: OperatorId,
			round: RoundIndex,
			cursor: u32,
			limit: u32,
		) -> (Vec<SeatView>, Option<u32>) {
			Self::seats_of(operator, round, cursor, limit)
		}

		/// Returns the last check of `worker`; `None` if it never had one.
		pub fn last_check(worker: WorkerId) -> Option<LastCheck> {
			LastChecks::<T>::get(worker)
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Attests a worker's trial in a round, which opens the worker's check.
		///
		/// If an earlier check of the worker is over and still open, the call closes that check, succeeds
		/// and does nothing more.
		///
		/// # Origin
		/// Fee-less, with the worker key's signature; or signed, by the worker's owner, with `signature:
		/// None`.
		///
		/// # Parameters
		/// - `worker`: the worker, which must be due in the round.
		/// - `round`: the round, in its attest part.
		/// - `root`: the root of everything that the trial computed.
		/// - `signature`: the worker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/attest", genesis hash, seed, worker, round, root)`.
		///
		/// # Errors
		/// - [`Error::UnknownRound`]: no round has this number, or its record was removed.
		/// - [`Error::UnknownWorker`]: no worker has this number.
		/// - [`Error::WrongPhase`]: the round is not in its attest part.
		/// - [`Error::NotOwner`]: the caller does not own the worker.
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::AlreadyAttested`]: the worker attested, or was reported absent, in this round or a
		///   later one.
		/// - [`Error::CheckOpen`]: a check of the worker is still open.
		/// - [`Error::NotDue`]: the worker is not due in this round.
		///
		/// # Events
		/// - [`Event::Attested`].
		/// - [`Event::CheckClosed`] instead: an earlier check of the worker was over and still open.
		#[pallet::call_index(0)]
		#[pallet::weight((
			T::WeightInfo::attest(MAX_DRAWS).max(Pallet::<T>::max_weight_of_touch()),
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
			let weight = match Self::do_attest(signer, worker, round, root)? {
				AttestEffect::Opened { draws } => T::WeightInfo::attest(draws),
				AttestEffect::Touched(closed) => Self::weight_of_closing(&closed),
			};
			Ok(Some(weight).into())
		}

		/// Commits an operator to a batch of votes.
		///
		/// A vote belongs to the batch of its seat, `⌊number / 64⌋`; the view [`Pallet::seats`] lists the
		/// numbers. The n-th commitment of an operator in an epoch that is not opened by its round's end
		/// counts as 2ⁿ missed seats, at most 64.
		///
		/// # Origin
		/// Fee-less, with the checker key's signature; or signed, by the operator's account, with
		/// `signature: None`.
		///
		/// # Parameters
		/// - `operator`: the operator's number.
		/// - `round`: the round, in its commit part.
		/// - `batch`: the number of the batch, below `⌈seats of the operator in the round / 64⌉`.
		/// - `hash`: [`kaisar_primitives::commitment`] of the votes.
		/// - `signature`: the checker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/commit", genesis hash, seed, operator, round, batch, hash)`.
		///
		/// # Errors
		/// - [`Error::UnknownRound`]: no round has this number, or its record was removed.
		/// - [`Error::UnknownOperator`]: no operator has this number.
		/// - [`Error::WrongPhase`]: the round is not in its commit part.
		/// - [`Error::NotOperator`]: the caller is not the operator.
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::NoLicense`]: the operator has no active license in this round.
		/// - [`Error::BatchTooHigh`]: the operator has too few seats in the round for this batch.
		/// - [`Error::AlreadyCommitted`]: the operator already committed to this batch of the round.
		///
		/// # Events
		/// [`Event::Committed`]
		#[pallet::call_index(1)]
		#[pallet::weight((T::WeightInfo::commit(1), DispatchClass::Operational))]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_commit())]
		#[pallet::authorize(Self::authorize_commit)]
		pub fn commit(
			origin: OriginFor<T>,
			operator: OperatorId,
			round: RoundIndex,
			batch: u16,
			hash: H256,
			signature: Option<sr25519::Signature>,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_sender::<T>(origin, &signature, Error::<T>::SignatureNotExpected)?;
			let overwritten = Self::do_commit(signer, operator, round, batch, hash)?;
			Ok(Some(T::WeightInfo::commit(overwritten)).into())
		}

		/// Opens a commitment and counts its votes.
		///
		/// A reveal that matches its commitment uses it up and succeeds whatever its votes are. A vote for a
		/// worker without an open check in this round, without a seat, for a seat of another batch, or a
		/// second vote is skipped and counted as such, and cannot spoil the others.
		///
		/// # Origin
		/// As for [`Pallet::commit`].
		///
		/// # Parameters
		/// - `operator`: the operator's number, as committed.
		/// - `round`: the round, as committed, in its reveal part.
		/// - `batch`: the number of the batch, as committed.
		/// - `votes`: up to 64 workers with a verdict each.
		/// - `salt`: the salt of the commitment.
		/// - `signature`: the checker key's sr25519 signature of the `blake2_256` hash of the SCALE-encoded
		///   `(b"kaisar/reveal", genesis hash, seed, operator, round, batch, votes, salt)`.
		///
		/// # Errors
		/// - [`Error::UnknownRound`]: no round has this number, or its record was removed.
		/// - [`Error::UnknownOperator`]: no operator has this number.
		/// - [`Error::WrongPhase`]: the round is not in its reveal part.
		/// - [`Error::NotOperator`]: the caller is not the operator.
		/// - [`Error::SignatureNotExpected`]: a signed extrinsic carries a second signature.
		/// - [`Error::NoCommitment`]: the operator has no unopened commitment for this batch of the round.
		/// - [`Error::CommitmentMismatch`]: the votes and the salt do not match the commitment.
		///
		/// # Events
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

		/// Reports a worker that was due in a round and did not attest. The worker is found offline, once,
		/// without a vote.
		///
		/// If an earlier check of the worker is over and still open, the call closes that check, succeeds
		/// and does nothing more.
		///
		/// # Origin
		/// Signed, by any account, which pays no fee if the call succeeds; or fee-less, from a checker's
		/// node.
		///
		/// # Parameters
		/// - `worker`: the worker.
		/// - `round`: the round, in its commit or reveal part.
		///
		/// # Errors
		/// - [`Error::UnknownRound`]: no round has this number, or its record was removed.
		/// - [`Error::UnknownWorker`]: no worker has this number.
		/// - [`Error::WrongPhase`]: the round is in neither its commit nor its reveal part.
		/// - [`Error::AlreadyAttested`]: the worker attested, or was reported absent, in this round or a
		///   later one.
		/// - [`Error::CheckOpen`]: a check of the worker is still open.
		/// - [`Error::NotDue`]: the worker is not due in this round.
		///
		/// # Events
		/// - [`Event::AbsentReported`].
		/// - [`Event::CheckClosed`] instead: an earlier check of the worker was over and still open.
		#[pallet::call_index(3)]
		#[pallet::weight(
			T::WeightInfo::report_absent()
				.saturating_add(Pallet::<T>::max_weight_of_observers(1))
				.max(Pallet::<T>::max_weight_of_touch())
		)]
		#[pallet::weight_of_authorize(T::WeightInfo::authorize_report_absent())]
		#[pallet::authorize(Self::authorize_report_absent)]
		pub fn report_absent(
			origin: OriginFor<T>,
			worker: WorkerId,
			round: RoundIndex,
		) -> DispatchResultWithPostInfo {
			let signer = ensure_signed_or_authorized::<T>(origin)?;
			let weight = Self::do_report_absent(signer.account(), worker, round)?;
			Ok((Some(weight), Pays::No).into())
		}

		/// Closes checks whose round is over.
		///
		/// If one of them ends in a slash, the account that signed the call shares its bounty.
		///
		/// # Origin
		/// Signed, by any account; or fee-less, from a worker's or checker's node, if at least half of the
		/// checks can be closed and the workers are in ascending order.
		///
		/// # Parameters
		/// - `workers`: up to 64 workers; those without an open check whose round is over are skipped.
		///
		/// # Errors
		/// - [`Error::NothingToFinalize`]: none of the workers has an open check whose round is over.
		///
		/// # Events
		/// [`Event::CheckClosed`], for each closed check
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
			let skipped = (workers.len() as u32)
				.saturating_sub(closed.confirming)
				.saturating_sub(closed.changing);
			let looks = T::WeightInfo::authorize_finalize(1).saturating_mul(skipped.into());
			Ok(Some(Self::weight_of_closing(&closed).saturating_add(looks)).into())
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn on_initialize(_: BlockNumberFor<T>) -> Weight {
			let now = Self::now();
			// Before the start: a round that starts in this block has no record yet.
			let swept = Self::sweep();
			let numbers = Self::note_numbers();
			let starts = Self::start_round(now, numbers);
			T::WeightInfo::on_initialize(swept.steps, swept.unopened)
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
					MAX_BATCH > 0 && PAGE > 0 && SWEEP > 1 && SWEEP_UNOPENED > 0,
					"batches, pages and steps must not be empty"
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
