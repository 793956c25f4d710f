//! The collection, and minting licenses into it.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};

type Nft = pallet_nfts::Pallet<Test>;

fn text(data: Option<Vec<u8>>) -> String {
	String::from_utf8(data.expect("there is metadata")).expect("it is text")
}

#[test]
fn genesis_mints_real_items_in_the_order_listed() {
	ExtBuilder::default()
		.licenses(1, 2)
		.licenses(2, 3)
		.build_and_execute(|| {
			assert_eq!(<Licenses as LicenseInfo<_>>::minted(), 5);
			let collection = Collection::<Test>::get().unwrap();
			for (license, holder) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2)] {
				assert_eq!(Licenses::holder_of(license), Some(account(holder)));
				assert_eq!(Nft::owner(collection, license), Some(account(holder)));
				assert!(pallet_nfts::Account::<Test>::contains_key((
					account(holder),
					collection,
					license
				)));
			}
			assert_eq!(Licenses::holder_of(5), None);
			assert_eq!(
				Nft::collection_owner(collection),
				Some(Licenses::account_id())
			);
		});
}

#[test]
fn wallets_see_name_and_number() {
	use nonfungibles_v2::Inspect;
	ExtBuilder::default().licenses(1, 13).build_and_execute(|| {
		let collection = Licenses::collection().unwrap();
		assert_eq!(
			text(<Nft as Inspect<_>>::attribute(&collection, &12, b"")),
			r#"{"name":"Kaisar Checker Node License #12","number":12}"#
		);
		assert_eq!(
			text(<Nft as Inspect<_>>::collection_attribute(&collection, b"")),
			r#"{"name":"Kaisar Checker Node License","supply":29998}"#
		);
	});
}

#[test]
fn genesis_takes_no_deposit() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		assert_eq!(Balances::reserved_balance(account(1)), 0);
		assert_eq!(Balances::reserved_balance(Licenses::account_id()), 0);
		assert_eq!(Balances::free_balance(Licenses::account_id()), 0);
	});
}

#[test]
fn nobody_else_mints_into_the_collection_or_changes_its_supply() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		let collection = Licenses::collection().unwrap();
		assert_noop!(
			Nfts::mint(
				RuntimeOrigin::signed(account(1)),
				collection,
				7,
				account(1),
				None
			),
			pallet_nfts::Error::<Test>::NoPermission
		);
		assert_noop!(
			Nfts::set_collection_max_supply(RuntimeOrigin::root(), collection, SUPPLY + 1),
			pallet_nfts::Error::<Test>::MaxSupplyLocked
		);
	});
}

#[test]
fn a_minted_license_is_told_and_dated() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		System::set_block_number(7);
		assert_eq!(<Licenses as LicenseInfo<_>>::mint(&account(3)), Ok(1));
		System::assert_last_event(
			Event::LicenseMinted {
				license: 1,
				to: account(3),
			}
			.into(),
		);
		assert_eq!(MintedAt::<Test>::get(1), Some(7));
		assert_eq!(MintedAt::<Test>::get(0), Some(0));
		assert_eq!(Licenses::unlocks_at(1), Some(7 + LOCK));
		assert_eq!(Licenses::unlocks_at(2), None);
	});
}

#[test]
fn boundary_29_998_and_not_one_more() {
	ExtBuilder::default()
		.licenses(1, SUPPLY - 1)
		.build_and_execute(|| {
			assert_eq!(Licenses::do_mint(&account(2)), Ok(SUPPLY - 1));
			assert_noop!(Licenses::do_mint(&account(2)), Error::<Test>::SoldOut);

			// A burnt license does not free a place.
			System::set_block_number(LOCK + 1);
			let collection = Licenses::collection().unwrap();
			assert_ok!(Nfts::burn(
				RuntimeOrigin::signed(account(2)),
				collection,
				SUPPLY - 1
			));
			assert_noop!(Licenses::do_mint(&account(2)), Error::<Test>::SoldOut);
			assert_eq!(Licenses::minted(), SUPPLY);
		});
}

#[test]
#[should_panic(expected = "the genesis licenses can be minted")]
fn genesis_fails_with_more_licenses_than_there_are() {
	ExtBuilder::default().licenses(1, SUPPLY + 1).build();
}

#[test]
fn fails_when_there_is_no_collection() {
	// As on a chain started without this pallet's genesis. The error is defensive, which panics in tests.
	sp_io::TestExternalities::new_empty().execute_with(|| {
		assert_eq!(Licenses::holder_of(0), None);
		assert!(std::panic::catch_unwind(|| Licenses::do_mint(&account(1))).is_err());
		Licenses::do_try_state().expect("nothing is there, nothing is wrong");
	});
}

#[test]
fn an_accounts_licenses_come_in_pages() {
	ExtBuilder::default()
		.licenses(1, 5)
		.licenses(2, 2)
		.build_and_execute(|| {
			let (mut found, mut cursor) = (Vec::new(), None);
			loop {
				let page = Licenses::licenses_of(account(1), cursor, 2);
				assert!(page.len() <= 2);
				cursor = page.last().copied();
				let is_last = page.len() < 2;
				found.extend(page);
				if is_last {
					break;
				}
			}
			found.sort_unstable();
			assert_eq!(found, [0, 1, 2, 3, 4]);
			assert_eq!(Licenses::licenses_of(account(2), None, u32::MAX).len(), 2);
			assert!(Licenses::licenses_of(account(3), None, 9).is_empty());
			assert!(Licenses::licenses_of(account(1), None, 0).is_empty());
		});
}
