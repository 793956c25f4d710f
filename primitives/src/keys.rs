//! Keys of workers, checkers and agents, and the payloads that they sign.

use crate::{RoundIndex, WorkerId};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::{H256, crypto::KeyTypeId, ed25519};
use sp_io::hashing::blake2_256;

/// Key type of worker keys in the node's keystore.
pub const WORKER_KEY_TYPE: KeyTypeId = KeyTypeId(*b"kwrk");
/// Key type of checker keys in the node's keystore.
pub const CHECKER_KEY_TYPE: KeyTypeId = KeyTypeId(*b"kchk");

mod worker_app {
	use sp_application_crypto::{app_crypto, sr25519};
	app_crypto!(sr25519, super::WORKER_KEY_TYPE);
}
mod checker_app {
	use sp_application_crypto::{app_crypto, sr25519};
	app_crypto!(sr25519, super::CHECKER_KEY_TYPE);
}

/// A worker's key: sr25519, key type `kwrk`. The node signs attestations with it.
pub type WorkerKey = worker_app::Public;
/// A checker's key: sr25519, key type `kchk`. The node signs commitments and reveals with it.
pub type CheckerKey = checker_app::Public;
/// An agent's key: ed25519, the identity of its QUIC endpoint.
pub type AgentKey = ed25519::Public;
/// Signature of an agent key.
pub type AgentSignature = ed25519::Signature;

/// Returns whether a key is all zeroes, a value that is never a usable key.
pub fn is_zero(key: &impl AsRef<[u8]>) -> bool {
	key.as_ref().iter().all(|byte| *byte == 0)
}

/// The role of the keys that are proved. Part of the signed payload, so that a proof for one role is
/// invalid for the other.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub enum KeyRole {
	/// Keys of a worker.
	Worker,
	/// Keys of a checker.
	Checker,
}

/// Proof that an account holds a node key and an agent key: both sign [`possession_payload`].
#[derive(
	Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct KeyProof {
	/// sr25519 signature of the worker or checker key.
	pub key: sp_core::sr25519::Signature,
	/// ed25519 signature of the agent key.
	pub agent: ed25519::Signature,
}

impl KeyProof {
	/// Returns whether both signatures are valid for `account` on the chain with this genesis.
	pub fn verify<AccountId: Encode>(
		&self,
		role: KeyRole,
		genesis: H256,
		account: &AccountId,
		key: &[u8; 32],
		agent: &AgentKey,
	) -> bool {
		let payload = possession_payload(role, genesis, account);
		sp_io::crypto::sr25519_verify(
			&self.key,
			&payload,
			&sp_core::sr25519::Public::from_raw(*key),
		) && sp_io::crypto::ed25519_verify(&self.agent, &payload, agent)
	}
}

/// Returns the payload that both keys sign to prove that `account` holds them: `H(b"kaisar/keys", role,
/// genesis hash, account)`.
///
/// It names neither the keys, each of which is proved by its own signature, nor a date: a proof is valid
/// for `account` alone, forever.
pub fn possession_payload<AccountId: Encode>(
	role: KeyRole,
	genesis: H256,
	account: &AccountId,
) -> [u8; 32] {
	(b"kaisar/keys", role, genesis, account).using_encoded(blake2_256)
}

/// Returns the payload that a worker's agent signs for each checker before serving it, its *receipt*:
/// `H(b"kaisar/receipt", genesis hash, round, seed of the round's trial, worker, checker's key)`. A receipt
/// annuls a strike.
pub fn receipt_payload(
	genesis: H256,
	round: RoundIndex,
	seed: H256,
	worker: WorkerId,
	checker: &CheckerKey,
) -> [u8; 32] {
	(b"kaisar/receipt", genesis, round, seed, worker, checker).using_encoded(blake2_256)
}
