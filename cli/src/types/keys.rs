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
		/// The node's.
		pub worker: Key,
		/// The agent's.
		pub agent: Key,
	}

	/// Keys and the first round in which they count.
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

	/// Both keys' proof of possession.
	struct KeyProof {
		/// sr25519, of the worker key.
		pub key: Vec<u8>,
		/// ed25519, of the agent key.
		pub agent: Vec<u8>,
	}
}
