//! The runtime, driven natively block by block.
//!
//! A block has the same parts as on a node: BABE's header with a VRF output, the time, the hooks, the
//! transactions that the [pool](crate::pool) offers by priority, `on_idle`, `on_finalize`. A transaction
//! passes all of the runtime's extensions, so nonces, weights, limits of blocks, fees and priorities are the
//! chain's own. Only signatures are omitted, both of accounts and of nodes under fee-less calls. The driver
//! replaces all keystores.
//!
//! All functions of this module, and all reads of the runtime's storage anywhere in this crate, run within
//! [`Store::execute_with`](crate::store::Store::execute_with).

use codec::Encode;
use frame_support::{
	dispatch::{DispatchInfo, GetDispatchInfo},
	storage::with_transaction_unchecked,
	weights::Weight,
};
use kaisar_primitives::{Balance, BlockNumber};
use kaisar_runtime::{
	AccountId, Babe, Executive, Header, RuntimeCall, RuntimeEvent, RuntimeOrigin, System,
	TxExtension, UncheckedExtrinsic, configs::extension, constants::SLOT_DURATION,
};
use sp_core::{Pair, crypto::VrfSecret, sr25519};
use sp_runtime::{
	Digest, DigestItem, DispatchError, TransactionOutcome,
	generic::Era,
	traits::{Header as _, TransactionExtension, transaction_extension::DispatchTransaction},
	transaction_validity::{
		InvalidTransaction, TransactionPriority, TransactionSource, TransactionValidityError,
	},
};

/// Slot of block 0.
const FIRST_SLOT: u64 = 150_000_000;

/// Bytes of a signed transaction besides its call and its compact fields: format, signer and signature. A
/// test compares the length with that of a real transaction.
const SIGNED_BYTES: usize = 1 + 33 + 65 + 1 + 1;
/// Bytes of a fee-less transaction besides its call and its compact fields.
const GENERAL_BYTES: usize = 2 + 1 + 1;
/// Maximum length of a transaction's length prefix, in bytes.
const LENGTH_BYTES: usize = 2;

/// Returns the origin of an account.
pub fn signed(who: &AccountId) -> RuntimeOrigin {
	RuntimeOrigin::signed(who.clone())
}

/// The sender of a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sender {
	/// An account, which pays the fee and may tip.
	Account(AccountId, Balance),
	/// A node, which pays no fee. Its signature is omitted.
	Node,
}

impl Sender {
	/// Returns an account as a sender without a tip.
	pub fn of(who: &AccountId) -> Self {
		Self::Account(who.clone(), 0)
	}

	fn origin(&self) -> RuntimeOrigin {
		match self {
			Self::Account(who, _) => signed(who),
			Self::Node => frame_system::RawOrigin::Authorized.into(),
		}
	}

	fn extension(&self) -> TxExtension {
		match self {
			Self::Account(who, tip) => extension(System::account_nonce(who), Era::Immortal, *tip),
			Self::Node => extension(0, Era::Immortal, 0),
		}
	}
}

/// Returns the encoded length of a transaction, in bytes.
fn length(sender: &Sender, call: &RuntimeCall) -> usize {
	let call = call.encoded_size();
	match sender {
		Sender::Account(who, tip) => {
			let nonce = codec::Compact(System::account_nonce(who)).encoded_size();
			let tip = codec::Compact(*tip).encoded_size();
			LENGTH_BYTES + SIGNED_BYTES + nonce + tip + call
		}
		Sender::Node => LENGTH_BYTES + GENERAL_BYTES + 2 + call,
	}
}

fn info_of(extension: &TxExtension, call: &RuntimeCall) -> DispatchInfo {
	DispatchInfo {
		extension_weight: extension.weight(call),
		..call.get_dispatch_info()
	}
}

/// Returns the priority that the pool gives a signed transaction.
pub fn priority(
	sender: &Sender,
	call: &RuntimeCall,
) -> Result<TransactionPriority, TransactionValidityError> {
	let extension = sender.extension();
	let info = info_of(&extension, call);
	let (valid, _, _) = extension.validate_only(
		sender.origin(),
		call,
		&info,
		length(sender, call),
		TransactionSource::External,
		0,
	)?;
	Ok(valid.priority)
}

/// Applies a transaction in the running block. Returns the call's result, or the reason why the block cannot
/// carry the transaction.
pub fn apply(
	sender: &Sender,
	call: RuntimeCall,
) -> Result<Result<(), DispatchError>, TransactionValidityError> {
	let extension = sender.extension();
	let info = info_of(&extension, &call);
	let length = length(sender, &call);
	with_transaction_unchecked(|| {
		match extension.dispatch_transaction(sender.origin(), call, &info, length, 0) {
			Ok(result) => {
				System::note_applied_extrinsic(&result, info);
				let result = result.map(|_| ()).map_err(|error| error.error);
				TransactionOutcome::Commit(Ok(result))
			}
			Err(error) => TransactionOutcome::Rollback(Err(error)),
		}
	})
}

/// Returns whether the block had no room for a transaction.
pub fn is_full(error: &TransactionValidityError) -> bool {
	matches!(
		error,
		TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources)
	)
}

/// The author of all blocks, and the header of the last one.
#[derive(Clone)]
pub struct Author {
	key: sr25519::Pair,
	parent: Option<Header>,
	/// Number of slots without a block so far, whose authors withheld it.
	skipped: u64,
}

impl Author {
	/// Creates the author, whose VRF outputs follow from the seed of a play.
	pub fn new(seed: u64) -> Self {
		let seed = sp_io::hashing::blake2_256(&(b"author", seed).encode());
		Self {
			key: sr25519::Pair::from_seed(&seed),
			parent: None,
			skipped: 0,
		}
	}

	/// Returns its BABE key.
	pub fn public(&self) -> sr25519::Public {
		self.key.public()
	}

	/// Returns the number of the next block.
	pub fn next(&self) -> BlockNumber {
		self.parent.as_ref().map_or(1, |parent| parent.number + 1)
	}

	/// Leaves the next slot without a block, as if its author withheld it.
	pub fn skip(&mut self) {
		self.skipped += 1;
	}

	fn slot(&self) -> u64 {
		FIRST_SLOT + u64::from(self.next()) + self.skipped
	}

	/// Begins the next block, and sets its time.
	pub fn begin(&mut self) {
		use sp_consensus_babe::digests::{PreDigest, SecondaryVRFPreDigest};
		let slot = self.slot();
		// The first block of a BABE epoch is signed for that epoch. Block 1 is in epoch 0, which it does not
		// begin.
		let (now, next) = (Babe::current_epoch(), Babe::next_epoch());
		let begins = self.next() > 1 && slot >= *next.start_slot;
		let epoch = if begins { next } else { now };
		let data = sp_consensus_babe::make_vrf_sign_data(
			&epoch.randomness,
			slot.into(),
			epoch.epoch_index,
		);
		let digest = PreDigest::SecondaryVRF(SecondaryVRFPreDigest {
			authority_index: 0,
			slot: slot.into(),
			vrf_signature: self.key.vrf_sign(&data),
		});
		let digest = DigestItem::PreRuntime(sp_consensus_babe::BABE_ENGINE_ID, digest.encode());
		let header = Header::new(
			self.next(),
			Default::default(),
			Default::default(),
			match &self.parent {
				Some(parent) => parent.hash(),
				// Genesis keeps the hash in its state, so that key proofs made for it stay valid.
				None => System::block_hash(0),
			},
			Digest { logs: vec![digest] },
		);
		Executive::initialize_block(&header);
		let time =
			UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(pallet_timestamp::Call::set {
				now: slot * SLOT_DURATION,
			}));
		let applied = Executive::apply_extrinsic(time);
		assert!(matches!(applied, Ok(Ok(()))), "the time: {applied:?}");
	}

	/// Ends the block, and returns its events and the weight used.
	pub fn end(&mut self) -> Block {
		let header = Executive::finalize_block();
		let block = Block {
			number: header.number,
			used: System::block_weight().total(),
			events: System::read_events_no_consensus()
				.map(|record| record.event)
				.collect(),
		};
		self.parent = Some(header);
		block
	}
}

/// A finished block.
#[derive(Default)]
pub struct Block {
	/// Its number.
	pub number: BlockNumber,
	/// Weight used in the block.
	pub used: Weight,
	/// Its events, in order.
	pub events: Vec<RuntimeEvent>,
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_runtime::MultiSignature;

	#[test]
	fn lengths_are_those_of_real_transactions() {
		crate::store::Store::default().execute_with(|| {
			let who = AccountId::from([1; 32]);
			let call = RuntimeCall::System(frame_system::Call::remark {
				remark: vec![7; 100],
			});
			for tip in [0, 1 << 40] {
				let real = UncheckedExtrinsic::new_signed(
					call.clone(),
					who.clone().into(),
					MultiSignature::Sr25519(Default::default()),
					extension(0, Era::Immortal, tip),
				);
				let sender = Sender::Account(who.clone(), tip);
				assert_eq!(length(&sender, &call), real.encoded_size());
			}
			let real =
				UncheckedExtrinsic::new_transaction(call.clone(), extension(0, Era::Immortal, 0));
			assert_eq!(length(&Sender::Node, &call), real.encoded_size());
		});
	}
}
