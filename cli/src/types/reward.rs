//! Rewards: the pools that earn, and their members' claims.

use crate::amount::Kai;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// A pool that earns rewards.
	#[derive(Copy)]
	enum PoolId {
		/// A worker.
		Worker(u32),
		/// A checker's operator.
		Checker(u32),
	}

	/// A page of an account's claims as a member of pools.
	struct DelegationPage {
		/// Pools, with the claimable amount of each.
		pub claims: Vec<(PoolId, Kai)>,
		/// Cursor of the next page, if any.
		pub next: Option<PoolId>,
	}
}
