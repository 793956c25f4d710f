//! Calls that nodes send fee-less, as authorized transactions, or that an account signs and pays for.

use codec::Encode;
use frame_support::{
	ensure,
	pallet_prelude::{TransactionValidityWithRefund, Weight},
};
use frame_system::{
	ensure_authorized, ensure_signed,
	pallet_prelude::{BlockNumberFor, OriginFor},
};
use sp_core::{H256, sr25519};
use sp_runtime::{
	DispatchError,
	traits::BadOrigin,
	transaction_validity::{InvalidTransaction, TransactionPriority, ValidTransaction},
};

/// The sender of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signer<AccountId> {
	/// An account, which pays the fee.
	Account(AccountId),
	/// A node, by a signature that `authorize` has verified. Pays no fee.
	Authorized,
}

impl<AccountId> Signer<AccountId> {
	/// Returns the account, if the sender is one.
	pub fn account(self) -> Option<AccountId> {
		match self {
			Self::Account(account) => Some(account),
			Self::Authorized => None,
		}
	}

	/// Returns whether the call comes from `account`, or was authorized.
	pub fn stands_for(&self, account: &AccountId) -> bool
	where
		AccountId: PartialEq,
	{
		match self {
			Self::Account(signer) => signer == account,
			Self::Authorized => true,
		}
	}
}

/// Returns the sender of a call that is authorized, or signed by an account.
pub fn ensure_signed_or_authorized<T: frame_system::Config>(
	origin: OriginFor<T>,
) -> Result<Signer<T::AccountId>, BadOrigin> {
	if ensure_authorized(origin.clone()).is_ok() {
		return Ok(Signer::Authorized);
	}
	ensure_signed(origin).map(Signer::Account)
}

/// Returns the sender of a call that takes a node's `signature`. An account signs with its transaction
/// alone: fails with `unexpected` if it also gives a signature.
pub fn ensure_sender<T: frame_system::Config>(
	origin: OriginFor<T>,
	signature: &Option<sr25519::Signature>,
	unexpected: impl Into<DispatchError>,
) -> Result<Signer<T::AccountId>, DispatchError> {
	let sender = ensure_signed_or_authorized::<T>(origin)?;
	ensure!(
		sender == Signer::Authorized || signature.is_none(),
		unexpected.into()
	);
	Ok(sender)
}

/// Returns the hash of the genesis block. It binds signatures to this chain.
pub fn genesis<T: frame_system::Config<Hash = H256>>() -> H256 {
	frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default())
}

/// Returns the validity error by which the pool reports a pallet's error to the submitter:
/// `InvalidTransaction::Custom` of the error's index, so that a client can name the error.
pub fn refusal(error: impl Into<DispatchError>) -> InvalidTransaction {
	let index = match error.into() {
		DispatchError::Module(module) => module.error[0],
		_ => u8::MAX,
	};
	InvalidTransaction::Custom(index)
}

/// Accepts a fee-less call into the pool, for `blocks` blocks, at least one. Calls with the same tag
/// exclude each other.
pub fn accept(
	call: &'static str,
	tag: impl Encode,
	priority: TransactionPriority,
	blocks: u64,
) -> TransactionValidityWithRefund {
	ValidTransaction::with_tag_prefix(call)
		.priority(priority)
		.and_provides(tag)
		.longevity(blocks.max(1))
		.propagate(true)
		.build()
		.map(|valid| (valid, Weight::zero()))
}

/// Verifies that the signature is present, and is the key's over the payload.
pub fn verify(
	signature: &Option<sr25519::Signature>,
	payload: &[u8; 32],
	key: &[u8],
) -> Result<(), InvalidTransaction> {
	let signature = signature.as_ref().ok_or(InvalidTransaction::BadProof)?;
	let key = <[u8; 32]>::try_from(key).map_err(|_| InvalidTransaction::BadProof)?;
	if sp_io::crypto::sr25519_verify(signature, payload, &sr25519::Public::from_raw(key)) {
		Ok(())
	} else {
		Err(InvalidTransaction::BadProof)
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_core::Pair;
	use sp_runtime::ModuleError;

	#[test]
	fn an_error_is_named_by_its_index() {
		let error = DispatchError::Module(ModuleError {
			index: 33,
			error: [7, 0, 0, 0],
			message: None,
		});
		assert_eq!(refusal(error), InvalidTransaction::Custom(7));
		let other = refusal(DispatchError::BadOrigin);
		assert_eq!(other, InvalidTransaction::Custom(u8::MAX));
	}

	#[test]
	fn a_signature_is_the_keys_over_the_payload() {
		let (pair, other) = (
			sr25519::Pair::from_seed(&[1; 32]),
			sr25519::Pair::from_seed(&[2; 32]),
		);
		let signature = Some(pair.sign(&[3; 32]));
		let key: &[u8] = &pair.public().0;
		assert_eq!(verify(&signature, &[3; 32], key), Ok(()));
		for (signature, payload, key) in [
			(&None, [3; 32], key),
			(&signature, [4; 32], key),
			(&signature, [3; 32], &other.public().0[..]),
			(&signature, [3; 32], &key[..31]),
		] {
			assert_eq!(
				verify(signature, &payload, key),
				Err(InvalidTransaction::BadProof)
			);
		}
	}
}
