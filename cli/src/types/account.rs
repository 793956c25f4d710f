//! Accounts.

use crate::amount::Kai;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// Balances of an account.
	#[derive(Copy, Default)]
	struct Balances {
		/// Balance that is not on hold; part of it can be frozen.
		pub free: Kai,
		/// Balance on hold: deposits, stake, and escrow of orders.
		pub reserved: Kai,
		/// Part of the free and the held balance that must stay.
		pub frozen: Kai,
	}
}
