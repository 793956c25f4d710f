//! Workers: where they stand, and what is at stake on them.

use super::machine::{Profile, WorkerSpec};
use crate::amount::{Kai, Share};
use subxt::utils::AccountId32;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// A state of a worker.
	#[derive(Copy)]
	enum WorkerState { Pending, Online, Rented, Offline, Suspended }

	/// The solitary check that a worker is due in.
	#[derive(Copy)]
	struct Forced {
		/// The round.
		pub round: u32,
		/// It only verifies.
		pub verify_only: bool,
	}

	/// A worker, as `Providers.worker` shows it.
	struct Worker {
		/// The provider.
		pub owner: AccountId32,
		/// It was deregistered.
		pub deregistered: bool,
		/// Its state.
		pub state: WorkerState,
		/// The check it is due in.
		pub forced: Option<Forced>,
		/// It can be rented now.
		pub listed: bool,
		/// The order that it serves.
		pub order: Option<u32>,
		/// What it claims.
		pub spec: WorkerSpec,
		/// What was last verified.
		pub profile: Option<Profile>,
		/// The owner's stake.
		pub own: Kai,
		/// The least that it must be.
		pub minimum: Option<Kai>,
		/// All delegators' stake.
		pub delegated: Kai,
		/// What is unbonding.
		pub unbonding: Kai,
		/// What is queued to be slashed.
		pub queued: Kai,
		/// The most that its owner lets others delegate.
		pub delegation_cap: Option<Kai>,
		/// The part of its last checks and deployments that it passed.
		pub reliability: Share,
		/// Rented blocks that are not proved yet.
		pub rented: u32,
		/// The start of the last round that confirmed it.
		pub proved_at: Option<u32>,
		/// The part of its reward that all stakers share, the owner included.
		pub commission: Share,
		/// The commission that is announced, and from which epoch on.
		pub next_commission: Option<(u32, Share)>,
		/// It is not matched below this price per GPU-hour.
		pub price_floor: Kai,
	}

	/// Stake on its way out.
	#[derive(Copy)]
	struct Unbonding {
		/// What it is worth.
		pub value: Kai,
		/// The first block in which it may be withdrawn.
		pub until: u32,
	}

	/// What an account delegates to a worker.
	#[derive(Copy)]
	struct Delegation {
		/// What its shares are worth.
		pub value: Kai,
	}
}
