//! Rewards: the pools that earn, and their members' claims.

use crate::amount::Kai;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// Something that earns.
	#[derive(Copy)]
	enum PoolId {
		/// A worker.
		Worker(u32),
		/// A checker's operator.
		Checker(u32),
	}

	/// A page of what an account can claim as a member.
	struct DelegationPage {
		/// Pools, and what each pays now.
		pub claims: Vec<(PoolId, Kai)>,
		/// After which pool to ask on.
		pub next: Option<PoolId>,
	}
}
