//! A license offered for sale that works for an operator: it changes hands only once it is not delegated,
//! and its old holder's offers and permissions end with the sale.

use super::*;
use frame_support::assert_noop;
use kaisar_primitives::{IsDelegated, Seats};

type NftsError = pallet_nfts::Error<World>;

fn collection() -> u32 {
	Licenses::collection().expect("there is one")
}

fn buy(n: u8, license: LicenseId) -> DispatchResult {
	Nfts::buy_item(signed(n), collection(), license, 500)
}

/// Has account `n` claim the swap of license 2 for license 0, which account 10 offered.
fn swap(n: u8) -> DispatchResult {
	let (own, wanted) = (2, 0);
	Nfts::claim_swap(signed(n), collection(), own, collection(), wanted, None)
}

/// Account 10 holds licenses 0 and 1, account 11 license 2, all old enough to move. License 0 is offered
/// for 500 and for license 2, and account 12 may transfer it; its delegation to operator 0 is accepted or
/// pending.
fn offered_and_delegated(accepted: bool, test: impl FnOnce()) {
	world(&[(10, 2), (11, 1)], || {
		register(1);
		run_to(LOCK + 1);
		assert_ok!(Checkers::set_auto_accept(signed(1), accepted));
		assert_ok!(Checkers::delegate_license(signed(10), 0, account(1)));
		let id = collection();
		assert_ok!(Nfts::set_price(signed(10), id, 0, Some(500), None));
		assert_ok!(Nfts::approve_transfer(signed(10), id, 0, account(12), None));
		let wanted = Some(2);
		assert_ok!(Nfts::create_swap(signed(10), id, 0, id, wanted, None, 900));
		test();
	});
}

#[test]
fn a_delegated_license_can_be_offered_and_nobody_gets_it() {
	for accepted in [true, false] {
		offered_and_delegated(accepted, || {
			let locked = DispatchError::from(NftsError::ItemLocked);
			assert_noop!(buy(11, 0), locked);
			assert_noop!(transfer(12, 0, 12), locked);
			assert_noop!(transfer(10, 0, 12), locked);
			assert_noop!(swap(11), locked);
			assert_noop!(burn(10, 0), locked);
			assert_eq!(Licenses::holder_of(0), Some(account(10)));
			assert!(Checkers::is_delegated(0));
		});
	}
}

#[test]
fn a_sale_ends_all_that_the_old_holder_allowed() {
	offered_and_delegated(true, || {
		assert_ok!(Checkers::revoke_delegation(signed(10), 0));
		let from = <Popw as Checks>::next_round();
		let before = Balances::free_balance(account(10));
		assert_ok!(buy(11, 0));
		assert_eq!(Balances::free_balance(account(10)), before + 500);
		assert_eq!(Licenses::holder_of(0), Some(account(11)));
		// Neither the price, nor the permission, nor the swap survives the sale.
		assert_noop!(buy(13, 0), NftsError::NotForSale);
		assert_noop!(transfer(12, 0, 12), NftsError::NoPermission);
		assert_noop!(swap(11), NftsError::UnknownSwap);
		// In running rounds it still works as before; from the next one on for the new holder's choice.
		assert_eq!(
			Checkers::seat(0, from - 1),
			None,
			"it was delegated in this round"
		);
		let not_holder = DispatchError::from(Error::<World>::NotHolder);
		assert_noop!(
			Checkers::delegate_license(signed(10), 0, account(1)),
			not_holder
		);
		assert_ok!(Checkers::delegate_license(signed(11), 0, account(1)));
		assert_eq!(Checkers::seat(0, from), Some(0));
		assert_noop!(Checkers::revoke_delegation(signed(10), 0), not_holder);
		assert_eq!(Members::<World>::get(0, account(11)), 1);
	});
}
