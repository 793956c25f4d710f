//! Licenses that are still locked.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};

fn transfer(from: u8, license: u32, to: u8) -> DispatchResult {
	Nfts::transfer(
		RuntimeOrigin::signed(account(from)),
		Licenses::collection().unwrap(),
		license,
		account(to),
	)
}

fn burn(from: u8, license: u32) -> DispatchResult {
	Nfts::burn(
		RuntimeOrigin::signed(account(from)),
		Licenses::collection().unwrap(),
		license,
	)
}

#[test]
fn boundary_a_license_moves_when_its_year_is_over() {
	ExtBuilder::default().licenses(1, 2).build_and_execute(|| {
		System::set_block_number(LOCK - 1);
		assert!(Licenses::is_locked(0));
		assert_noop!(transfer(1, 0, 2), pallet_nfts::Error::<Test>::ItemLocked);
		assert_noop!(burn(1, 1), pallet_nfts::Error::<Test>::ItemLocked);

		System::set_block_number(LOCK);
		assert!(!Licenses::is_locked(0));
		assert_ok!(transfer(1, 0, 2));
		assert_eq!(Licenses::holder_of(0), Some(account(2)));
		// The year counts from the minting, not from the last transfer.
		assert_ok!(transfer(2, 0, 3));
		assert_ok!(burn(1, 1));
	});
}

#[test]
fn a_young_license_cannot_be_bought_or_swapped_away() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		let collection = Licenses::collection().unwrap();
		assert_ok!(Nfts::set_price(
			RuntimeOrigin::signed(account(1)),
			collection,
			0,
			Some(5),
			None
		));
		assert_noop!(
			Nfts::buy_item(RuntimeOrigin::signed(account(2)), collection, 0, 5),
			pallet_nfts::Error::<Test>::ItemLocked
		);
		assert_ok!(Nfts::approve_transfer(
			RuntimeOrigin::signed(account(1)),
			collection,
			0,
			account(2),
			None
		));
		assert_noop!(transfer(2, 0, 2), pallet_nfts::Error::<Test>::ItemLocked);

		// Nor for another license, which is just as young.
		assert_ok!(Licenses::do_mint(&account(2)));
		assert_ok!(Nfts::create_swap(
			RuntimeOrigin::signed(account(1)),
			collection,
			0,
			collection,
			Some(1),
			None,
			1_000
		));
		assert_noop!(
			Nfts::claim_swap(
				RuntimeOrigin::signed(account(2)),
				collection,
				1,
				collection,
				0,
				None
			),
			pallet_nfts::Error::<Test>::ItemLocked
		);
	});
}

#[test]
fn a_delegated_license_does_not_move_however_old() {
	ExtBuilder::default().licenses(1, 2).build_and_execute(|| {
		System::set_block_number(LOCK);
		Delegated::set(&vec![0]);
		assert_noop!(transfer(1, 0, 2), pallet_nfts::Error::<Test>::ItemLocked);
		assert_noop!(burn(1, 0), pallet_nfts::Error::<Test>::ItemLocked);
		assert_ok!(transfer(1, 1, 2));
		Delegated::set(&vec![]);
		assert_ok!(transfer(1, 0, 2));
	});
}

#[test]
fn a_burnt_id_stays_empty() {
	ExtBuilder::default().licenses(1, 2).build_and_execute(|| {
		System::set_block_number(LOCK);
		assert_ok!(burn(1, 0));
		assert_eq!(Licenses::holder_of(0), None);
		assert_eq!(Licenses::minted(), 2);
		assert_eq!(Licenses::do_mint(&account(2)), Ok(2));
		assert_eq!(Licenses::holder_of(0), None);
		assert_noop!(transfer(1, 0, 2), pallet_nfts::Error::<Test>::UnknownItem);
	});
}

#[test]
fn other_collections_are_free() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		assert_ok!(Nfts::force_create(
			RuntimeOrigin::root(),
			account(5),
			pallet_nfts::CollectionConfig {
				settings: pallet_nfts::CollectionSettings::all_enabled(),
				max_supply: None,
				mint_settings: Default::default(),
			}
		));
		let other = 1;
		assert_ne!(Licenses::collection(), Some(other));
		assert_ok!(Nfts::mint(
			RuntimeOrigin::signed(account(5)),
			other,
			0,
			account(5),
			None
		));
		assert_ok!(Nfts::transfer(
			RuntimeOrigin::signed(account(5)),
			other,
			0,
			account(6)
		));
	});
}
