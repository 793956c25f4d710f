//! Public keys, a worker's keys over time, and their proof of possession.

use crate::wrapper;
use std::fmt;
use subxt::ext::scale_encode::EncodeAsType;

/// A public key.
#[derive(Clone, Copy, PartialEq, Eq, EncodeAsType)]
#[encode_as_type(crate_path = "subxt::ext::scale_encode")]
pub struct Key(pub [u8; 32]);
wrapper!(Key, [u8; 32]);

impl fmt::Display for Key {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		write!(f, "0x{}", hex::encode(self.0))
	}
}

as_displayed!(Key);

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// The two keys of a worker.
	#[derive(Copy)]
	struct WorkerKeys {
		/// Key of the node.
		pub worker: Key,
		/// Key of the agent.
		pub agent: Key,
	}

	/// Keys, with the first round in which they count.
	#[derive(Copy)]
	struct DatedKeys {
		/// The keys.
		pub value: WorkerKeys,
		/// The round.
		pub since: u32,
	}

	/// The last two pairs of keys of a worker.
	#[derive(Copy)]
	struct KeyTimeline {
		/// The newest keys.
		pub now: DatedKeys,
		/// The keys before them, if any.
		pub before: Option<DatedKeys>,
	}

	/// Proof of possession of both keys.
	struct KeyProof {
		/// sr25519 signature of the worker key.
		pub key: Vec<u8>,
		/// ed25519 signature of the agent key.
		pub agent: Vec<u8>,
	}
}
