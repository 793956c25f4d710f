//! Fee-less calls: the pool admits only calls that will succeed, or will at least be used up.
//!
//! Every check of the call is made here first, and the signature, which costs most, last. A call that first
//! closes an old check of its worker succeeds and does nothing more: it is used up by that.
//!
//! The calls of a round have the highest priority, closing half of it; the runtime keeps all signed
//! transactions below both, whatever their tip. A transaction lives no longer than its phase. Two copies
//! provide the same tag, so the pool keeps one.

use crate::{checks::signing_payload, pallet::*, *};
use alloc::vec::Vec;
use frame_support::pallet_prelude::{TransactionSource, TransactionValidityWithRefund, Weight};
use kaisar_primitives::{
	BlockNumber, OperatorId, RoundIndex, Votes, WorkerId,
	authorized::{self, genesis, refusal, verify},
};
use sp_core::{H256, sr25519};
use sp_runtime::{
	BoundedVec,
	traits::ConstU32,
	transaction_validity::{InvalidTransaction, TransactionPriority, ValidTransaction},
};

/// Maps an error to the refusal that the submitter sees.
fn refuse<T: Config>(error: Error<T>) -> InvalidTransaction {
	match error {
		Error::WrongPhase => InvalidTransaction::Future,
		Error::AlreadyAttested | Error::AlreadyCommitted | Error::NoCommitment => {
			InvalidTransaction::Stale
		}
		other => refusal(other),
	}
}

/// Admits a call of a round until block `until`, with the highest priority.
fn accept(
	call: &'static str,
	tag: impl codec::Encode,
	until: BlockNumber,
	now: BlockNumber,
) -> TransactionValidityWithRefund {
	let blocks = until.saturating_sub(now);
	authorized::accept(call, tag, TransactionPriority::MAX, blocks.into())
}

impl<T: Config> Pallet<T> {
	pub(crate) fn authorize_attest(
		_source: TransactionSource,
		worker: &WorkerId,
		round: &RoundIndex,
		root: &[u8; 32],
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (round, due) = Self::ensure_attest(*worker, *round).map_err(refuse::<T>)?;
		let payload = signing_payload(
			b"kaisar/attest",
			genesis::<T>(),
			round.seed,
			(worker, round.index, root),
		);
		verify(signature, &payload, due.info.key.as_ref())?;
		accept(
			"popw/attest",
			(worker, round.index),
			round.attest_ends(),
			Self::now(),
		)
	}

	pub(crate) fn authorize_commit(
		_source: TransactionSource,
		operator: &OperatorId,
		round: &RoundIndex,
		batch: &u16,
		hash: &H256,
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (round, info) = Self::ensure_commit(*operator, *round, *batch).map_err(refuse::<T>)?;
		let payload = signing_payload(
			b"kaisar/commit",
			genesis::<T>(),
			round.seed,
			(operator, round.index, batch, hash),
		);
		verify(signature, &payload, info.key.as_ref())?;
		accept(
			"popw/commit",
			(operator, round.index, batch),
			round.commit_ends(),
			Self::now(),
		)
	}

	pub(crate) fn authorize_reveal(
		_source: TransactionSource,
		operator: &OperatorId,
		round: &RoundIndex,
		batch: &u16,
		votes: &Votes,
		salt: &[u8; 32],
		signature: &Option<sr25519::Signature>,
	) -> TransactionValidityWithRefund {
		let (round, info) =
			Self::ensure_reveal(*operator, *round, *batch, votes, salt).map_err(refuse::<T>)?;
		let payload = signing_payload(
			b"kaisar/reveal",
			genesis::<T>(),
			round.seed,
			(operator, round.index, batch, votes, salt),
		);
		verify(signature, &payload, info.key.as_ref())?;
		accept(
			"popw/reveal",
			(operator, round.index, batch),
			round.ends(),
			Self::now(),
		)
	}

	/// Needs no signature: the chain verifies the absence itself, and each counts once.
	pub(crate) fn authorize_report_absent(
		_source: TransactionSource,
		worker: &WorkerId,
		round: &RoundIndex,
	) -> TransactionValidityWithRefund {
		let (round, _) = Self::ensure_absent(*worker, *round).map_err(refuse::<T>)?;
		accept(
			"popw/absent",
			(worker, round.index),
			round.ends(),
			Self::now(),
		)
	}

	/// Needs no signature: each check is closed once. At least half of the workers must have one that is
	/// over, so that a list stays valid while others close some of its checks, and no list is carried for
	/// few. They must be in ascending order, so that a list cannot be sent in many permutations.
	pub(crate) fn authorize_finalize(
		_source: TransactionSource,
		workers: &BoundedVec<WorkerId, ConstU32<MAX_FINALIZE>>,
	) -> TransactionValidityWithRefund {
		let sorted = workers.windows(2).all(|pair| pair[0] < pair[1]);
		let over: Vec<WorkerId> = workers
			.iter()
			.copied()
			.filter(|worker| Self::is_over(*worker))
			.collect();
		if over.is_empty() || !sorted || over.len().saturating_mul(2) < workers.len() {
			return Err(refuse::<T>(Error::NothingToFinalize).into());
		}
		// A tag for each check that it closes, so that overlapping lists do not fill a block together. The
		// other workers have none: a list excludes no other from the pool for checks that it does not close.
		let mut valid = ValidTransaction::with_tag_prefix("popw/finalize")
			.priority(TransactionPriority::MAX / 2)
			.longevity(u64::from(Self::phase_length()))
			.propagate(true);
		for worker in over {
			valid = valid.and_provides(worker);
		}
		valid.build().map(|valid| (valid, Weight::zero()))
	}
}
