//! Workers: their state and their stake.

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
		/// It verifies the worker without counting its time.
		pub verify_only: bool,
	}

	/// Answer of `Providers.worker`.
	struct Worker {
		/// The provider.
		pub owner: AccountId32,
		/// It was deregistered.
		pub deregistered: bool,
		/// Its state.
		pub state: WorkerState,
		/// Solitary check that it is due in.
		pub forced: Option<Forced>,
		/// It can be rented now.
		pub listed: bool,
		/// The order that it serves.
		pub order: Option<u32>,
		/// Claimed hardware.
		pub spec: WorkerSpec,
		/// Last verified hardware.
		pub profile: Option<Profile>,
		/// The owner's stake.
		pub own: Kai,
		/// Minimum of the owner's stake.
		pub minimum: Option<Kai>,
		/// Stake of all delegators.
		pub delegated: Kai,
		/// Stake that is unbonding.
		pub unbonding: Kai,
		/// Stake that queued slashes will take.
		pub queued: Kai,
		/// Maximum of the delegated stake, set by the owner.
		pub delegation_cap: Option<Kai>,
		/// Part of its last checks and deployments that it passed.
		pub reliability: Share,
		/// Rented blocks that are not proved yet.
		pub rented: u32,
		/// First block of the last round that confirmed it.
		pub proved_at: Option<u32>,
		/// Part of its reward that all stakers share, the owner included.
		pub commission: Share,
		/// Announced commission, with its first epoch.
		pub next_commission: Option<(u32, Share)>,
		/// Minimum price per GPU-hour (core-hour without a GPU) of a match.
		pub price_floor: Kai,
	}

	/// Stake that is unbonding.
	#[derive(Copy)]
	struct Unbonding {
		/// Its value.
		pub value: Kai,
		/// First block in which it can be withdrawn.
		pub until: u32,
	}

	/// An account's delegation to a worker.
	#[derive(Copy)]
	struct Delegation {
		/// Value of its shares.
		pub value: Kai,
	}
}
