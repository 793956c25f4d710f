//! The life of a license, and the sale, of the crate's documentation, as tests that it shows.

use crate::{mock::*, *};
use frame_support::{assert_noop, assert_ok};
use sp_runtime::Perbill;

#[test]
#[docify::export]
fn a_license_is_locked_and_then_an_item_like_any_other() {
	let [wanda, bob] = [1, 2].map(account);
	// Wanda gets a license at genesis.
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		let collection = Licenses::collection().unwrap();
		let transfer = || {
			let origin = RuntimeOrigin::signed(wanda.clone());
			Nfts::transfer(origin, collection, 0, bob.clone())
		};

		// It is locked for a time.
		assert_eq!(Licenses::unlocks_at(0), Some(LOCK));
		System::set_block_number(LOCK - 1);
		assert_noop!(transfer(), pallet_nfts::Error::<Test>::ItemLocked);

		// Later it is locked only while it is delegated to an operator.
		System::set_block_number(LOCK);
		Delegated::set(&vec![0]);
		assert_noop!(transfer(), pallet_nfts::Error::<Test>::ItemLocked);
		Delegated::set(&vec![]);
		assert_ok!(transfer());
		assert_eq!(Licenses::holder_of(0), Some(bob.clone()));

		// Once it is burnt, its id is never used again.
		let origin = RuntimeOrigin::signed(bob.clone());
		assert_ok!(Nfts::burn(origin, collection, 0));
		assert_eq!(Licenses::holder_of(0), None);
		assert_eq!(Licenses::minted(), 1);
	});
}

#[test]
#[docify::export]
fn licenses_are_sold_in_two_rounds() {
	let [wanda, bob, carl] = [1, 2, 3].map(account);
	let first_round = SaleRound {
		price: 2_600,
		public: false,
		whitelist_discount: Perbill::from_percent(20),
		referral_discount: Perbill::from_percent(20),
		referral_commission: Perbill::from_percent(10),
		per_account_limit: 5,
		starts: 1,
		ends: 50,
	};
	// Wanda, account 1, is on the whitelist.
	let test = ExtBuilder::default().sale(first_round, &[1]);
	test.build_and_execute(|| {
		let balance = |who: &AccountId| Balances::free_balance(who);
		let buy = |who: &AccountId, count, referrer| {
			Licenses::purchase(RuntimeOrigin::signed(who.clone()), count, referrer)
		};

		// Wanda buys three licenses. All of the price goes to the treasury.
		assert_ok!(buy(&wanda, 3, None));
		assert_eq!(balance(&wanda), FUNDS - 3 * 2_080);
		assert_eq!(balance(&Treasury::get()), 3 * 2_080);

		// Bob names Wanda as his referrer, who gets a tenth of the price that he pays.
		assert_ok!(buy(&bob, 1, Some(wanda.clone())));
		assert_eq!(balance(&bob), FUNDS - 2_080);
		assert_eq!(balance(&wanda), FUNDS - 3 * 2_080 + 208);
		assert_eq!(Licenses::holder_of(3), Some(bob.clone()));

		// Carl has no referrer, and waits for the second round.
		assert_noop!(buy(&carl, 1, None), Error::<Test>::NotEligible);
		let second_round = SaleRound {
			public: true,
			whitelist_discount: Perbill::zero(),
			referral_discount: Perbill::from_percent(5),
			starts: 50,
			ends: 90,
			..first_round
		};
		assert_ok!(Licenses::set_sale(
			RuntimeOrigin::root(),
			Some(second_round)
		));
		System::set_block_number(50);
		assert_ok!(buy(&carl, 1, None));
		assert_eq!(balance(&carl), FUNDS - 2_600);
		assert_eq!(
			System::read_events_for_pallet::<Event<Test>>().last(),
			Some(&Event::LicensePurchased {
				who: carl.clone(),
				first: 4,
				count: 1,
				paid: 2_600,
				referrer: None
			})
		);
	});
}
