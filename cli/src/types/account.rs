//! Accounts.

use crate::amount::Kai;

chain_types! {
	"subxt::ext::scale_decode" "subxt::ext::scale_encode"

	/// What an account has in the token's pallet.
	#[derive(Copy, Default)]
	struct Balances {
		/// At its disposal, but for what is frozen.
		pub free: Kai,
		/// On hold: deposits, and what orders hold.
		pub reserved: Kai,
		/// Of what is free and on hold, this must stay.
		pub frozen: Kai,
	}
}
