//! Buying licenses.

use crate::{mock::*, *};
use frame_support::{BoundedVec, assert_noop, assert_ok, hypothetically};
use sp_runtime::{DispatchError, Perbill, TokenError};

type E = Error<Test>;
type Round = SaleRoundOf<Test>;

const PRICE: u128 = 2_600;

/// Listed accounts and referred buyers pay 2,080. Account 2 is listed, account 1 owns a license.
fn first_round() -> Round {
	Round {
		price: PRICE,
		public: false,
		whitelist_discount: Perbill::from_percent(20),
		referral_discount: Perbill::from_percent(20),
		referral_commission: Perbill::from_percent(10),
		per_account_limit: 5,
		starts: 1,
		ends: 50,
	}
}

/// Everyone pays 2,600, or 2,470 with a referrer.
fn second_round() -> Round {
	Round {
		public: true,
		whitelist_discount: Perbill::zero(),
		referral_discount: Perbill::from_percent(5),
		starts: 50,
		ends: 90,
		..first_round()
	}
}

fn with_sale(round: Round, test: impl FnOnce()) {
	ExtBuilder::default()
		.licenses(1, 1)
		.sale(round, &[2])
		.build_and_execute(test);
}

fn buy(who: u8, count: u32, referrer: Option<u8>) -> DispatchResult {
	let referrer = referrer.map(account);
	Licenses::purchase(RuntimeOrigin::signed(account(who)), count, referrer)
}

fn set(round: Option<Round>) {
	assert_ok!(Licenses::set_sale(RuntimeOrigin::root(), round));
}

fn list(accounts: &[u8], listed: bool) -> DispatchResult {
	let accounts: Vec<_> = accounts.iter().map(|n| account(*n)).collect();
	let accounts = BoundedVec::truncate_from(accounts);
	Licenses::set_whitelist(RuntimeOrigin::root(), accounts, listed)
}

fn has(n: u8) -> u128 {
	Balances::free_balance(account(n))
}

fn treasury() -> u128 {
	Balances::free_balance(Treasury::get())
}

fn events() -> Vec<Event<Test>> {
	System::read_events_for_pallet::<Event<Test>>()
}

#[test]
fn a_listed_buyer_pays_less_and_the_treasury_gets_it_all() {
	with_sale(first_round(), || {
		assert_ok!(buy(2, 3, None));
		assert_eq!(has(2), FUNDS - 3 * 2_080);
		assert_eq!(treasury(), 3 * 2_080);
		for license in [1, 2, 3] {
			assert_eq!(Licenses::holder_of(license), Some(account(2)));
			assert_eq!(MintedAt::<Test>::get(license), Some(1));
			assert!(Licenses::is_locked(license));
		}
		assert_eq!(Licenses::minted(), 4);
		let minted = |license| Event::LicenseMinted {
			license,
			to: account(2),
		};
		assert_eq!(
			events(),
			[
				minted(1),
				minted(2),
				minted(3),
				Event::LicensePurchased {
					who: account(2),
					first: 1,
					count: 3,
					paid: 3 * 2_080,
					referrer: None
				}
			]
		);
	});
}

#[test]
fn a_referrer_brings_a_discount_and_earns_of_what_is_paid() {
	with_sale(first_round(), || {
		assert_ok!(buy(3, 2, Some(1)));
		assert_eq!(has(3), FUNDS - 2 * 2_080);
		assert_eq!(has(1), FUNDS + 2 * 208);
		assert_eq!(treasury(), 2 * 1_872);
		assert_eq!(
			events().first(),
			Some(&Event::ReferralPaid {
				referrer: account(1),
				buyer: account(3),
				amount: 416
			})
		);
		assert_eq!(
			events().last(),
			Some(&Event::LicensePurchased {
				who: account(3),
				first: 1,
				count: 2,
				paid: 4_160,
				referrer: Some(account(1))
			})
		);
	});
}

#[test]
fn discounts_do_not_add_up_and_the_larger_holds() {
	for (whitelist, referral, paid) in [(20, 5, 2_080), (5, 20, 2_080), (20, 20, 2_080)] {
		let round = Round {
			whitelist_discount: Perbill::from_percent(whitelist),
			referral_discount: Perbill::from_percent(referral),
			..first_round()
		};
		with_sale(round, || {
			assert_ok!(buy(2, 1, Some(1)));
			assert_eq!(has(2), FUNDS - paid);
			assert_eq!(has(1), FUNDS + paid / 10);
			assert_eq!(treasury(), paid - paid / 10);
		});
	}
}

#[test]
fn in_the_second_round_anyone_buys_at_the_full_price() {
	with_sale(second_round(), || {
		System::set_block_number(50);
		assert_ok!(buy(3, 1, None));
		assert_eq!(has(3), FUNDS - 2_600);
		// The whitelist gives no discount now.
		assert_ok!(buy(2, 1, None));
		assert_eq!(has(2), FUNDS - 2_600);
		// A referrer does; a buyer can be one.
		assert_ok!(buy(4, 1, Some(3)));
		assert_eq!(has(4), FUNDS - 2_470);
		assert_eq!(has(3), FUNDS - 2_600 + 247);
		assert_eq!(treasury(), 2 * 2_600 + 2_470 - 247);
	});
}

#[test]
fn what_does_not_divide_is_nobodys_loss() {
	// A third off 1,000,003, and a third of the rest.
	let round = Round {
		price: 1_000_003,
		public: true,
		referral_discount: Perbill::from_rational(1u32, 3),
		referral_commission: Perbill::from_rational(1u32, 3),
		..first_round()
	};
	with_sale(round, || {
		let third = |amount: u128| Perbill::from_rational(1u32, 3).mul_floor(amount);
		let paid = 1_000_003 - third(1_000_003);
		assert_ok!(Balances::mint_into(&account(3), 1_000_000));
		assert_ok!(buy(3, 1, Some(1)));
		assert_eq!(has(3), FUNDS + 1_000_000 - paid);
		assert_eq!(has(1), FUNDS + third(paid));
		assert_eq!(treasury(), paid - third(paid));
	});
}

#[test]
fn a_quote_is_what_is_paid() {
	with_sale(first_round(), || {
		for (who, count, referrer) in [(2, 3, None), (3, 2, Some(1)), (2, 1, Some(1))] {
			let before = (has(who), has(1));
			let quote = Licenses::quote(account(who), count, referrer.map(account)).unwrap();
			assert_ok!(buy(who, count, referrer));
			assert_eq!(quote.paid, before.0 - has(who));
			assert_eq!(quote.commission, has(1) - before.1);
			assert_eq!(quote.discount, Perbill::from_percent(20));
		}
		assert_eq!(
			Licenses::quote(account(3), 1, None),
			Err(E::NotEligible.into())
		);
		assert!(Licenses::is_whitelisted(account(2)) && !Licenses::is_whitelisted(account(3)));
		assert_eq!(Licenses::sale(), Some(first_round()));
	});
}

#[test]
fn boundary_a_sale_runs_from_its_first_block_to_before_its_end() {
	with_sale(
		Round {
			starts: 10,
			ends: 20,
			..first_round()
		},
		|| {
			for (block, open) in [(9, false), (10, true), (19, true), (20, false)] {
				System::set_block_number(block);
				if open {
					assert_ok!(buy(2, 1, None));
				} else {
					assert_noop!(buy(2, 1, None), E::SaleClosed);
				}
			}
		},
	);
}

#[test]
fn fails_when_no_sale_is_set() {
	ExtBuilder::default().licenses(1, 1).build_and_execute(|| {
		assert_noop!(buy(2, 1, None), E::SaleClosed);
		set(Some(second_round()));
		set(None);
		System::set_block_number(60);
		assert_noop!(buy(2, 1, None), E::SaleClosed);
	});
}

#[test]
fn boundary_the_count_is_1_to_100() {
	let round = Round {
		price: 1,
		per_account_limit: 1_000,
		..first_round()
	};
	with_sale(round, || {
		assert_noop!(buy(2, 0, None), E::ZeroCount);
		assert_noop!(buy(2, MAX_PURCHASE + 1, None), E::TooManyAtOnce);
		assert_noop!(buy(2, u32::MAX, None), E::TooManyAtOnce);
		assert_ok!(buy(2, MAX_PURCHASE, None));
		assert_ok!(buy(2, 1, None));
	});
}

#[test]
fn fails_for_who_is_neither_listed_nor_referred() {
	with_sale(first_round(), || {
		assert_noop!(buy(3, 1, None), E::NotEligible);
		// Owning a license is not enough.
		assert_noop!(buy(1, 1, None), E::NotEligible);
		assert_ok!(list(&[3], true));
		assert_ok!(buy(3, 1, None));
		assert_ok!(list(&[3], false));
		assert_noop!(buy(3, 1, None), E::NotEligible);
	});
}

#[test]
fn fails_when_one_refers_oneself() {
	with_sale(first_round(), || {
		assert_noop!(buy(1, 1, Some(1)), E::SelfReferral);
		// Not even an account that could buy without a referrer.
		assert_noop!(buy(2, 1, Some(2)), E::SelfReferral);
	});
}

#[test]
fn fails_with_a_referrer_without_a_license() {
	with_sale(first_round(), || {
		assert_noop!(buy(3, 1, Some(4)), E::ReferrerWithoutLicense);
		assert_noop!(buy(2, 1, Some(3)), E::ReferrerWithoutLicense);
		// An item of another collection does not count, nor does a license that was sold or burnt.
		assert_ok!(Nfts::force_create(
			RuntimeOrigin::root(),
			account(4),
			pallet_nfts::CollectionConfig {
				settings: pallet_nfts::CollectionSettings::all_enabled(),
				max_supply: None,
				mint_settings: Default::default(),
			}
		));
		let origin = RuntimeOrigin::signed(account(4));
		assert_ok!(Nfts::mint(origin, 1, 0, account(4), None));
		assert_noop!(buy(3, 1, Some(4)), E::ReferrerWithoutLicense);
		set(Some(Round {
			starts: 1,
			ends: 1_000,
			..first_round()
		}));
		System::set_block_number(LOCK);
		assert_ok!(buy(3, 1, Some(1)));
		let collection = Licenses::collection().unwrap();
		let origin = RuntimeOrigin::signed(account(1));
		assert_ok!(Nfts::burn(origin, collection, 0));
		assert_noop!(buy(3, 1, Some(1)), E::ReferrerWithoutLicense);
	});
}

#[test]
fn boundary_an_account_buys_up_to_the_limit_in_a_round() {
	with_sale(first_round(), || {
		assert_noop!(buy(2, 6, None), E::AccountLimitExceeded);
		assert_ok!(buy(2, 4, None));
		assert_noop!(buy(2, 2, None), E::AccountLimitExceeded);
		assert_ok!(buy(2, 1, None));
		assert_noop!(buy(2, 1, Some(1)), E::AccountLimitExceeded);
		assert_eq!(
			Purchases::<Test>::get(account(2)),
			Some(Bought { round: 1, count: 5 })
		);
		// Other accounts have their own limits.
		assert_ok!(buy(3, 5, Some(2)));

		// The same round with other terms continues the count.
		set(Some(Round {
			price: 1,
			per_account_limit: 6,
			ends: 40,
			..first_round()
		}));
		assert_noop!(buy(2, 2, None), E::AccountLimitExceeded);
		assert_ok!(buy(2, 1, None));
		// Another round does not.
		set(Some(second_round()));
		System::set_block_number(50);
		assert_ok!(buy(2, 5, None));
		assert_noop!(buy(2, 1, None), E::AccountLimitExceeded);
	});
}

#[test]
fn a_limit_of_all_numbers_does_not_overflow() {
	let round = Round {
		per_account_limit: u32::MAX,
		..first_round()
	};
	with_sale(round, || {
		let bought = |count| Bought { round: 1, count };
		Purchases::<Test>::insert(account(2), bought(u32::MAX - 1));
		assert_noop!(buy(2, 2, None), E::AccountLimitExceeded);
		Purchases::<Test>::insert(account(2), bought(0));
	});
}

#[test]
fn boundary_the_last_licenses_are_sold_whole_or_not_at_all() {
	with_sale(first_round(), || {
		// As if all but two had been minted and burnt.
		hypothetically!({
			Minted::<Test>::put(SUPPLY - 2);
			assert_noop!(buy(2, 3, None), E::NotEnoughLeft);
			assert_eq!(has(2), FUNDS, "nothing is charged");
			assert_ok!(buy(2, 2, None));
			assert_eq!(Licenses::minted(), SUPPLY);
			assert_eq!(Licenses::holder_of(SUPPLY - 1), Some(account(2)));
			assert_noop!(buy(2, 1, None), E::SoldOut);
			assert_noop!(buy(3, 1, Some(1)), E::SoldOut);
		});
	});
}

#[test]
fn fails_when_the_buyer_cannot_pay() {
	let round = Round {
		price: FUNDS,
		..first_round()
	};
	with_sale(round, || {
		assert_noop!(buy(2, 2, None), TokenError::FundsUnavailable);
		assert_noop!(buy(9, 2, Some(1)), TokenError::FundsUnavailable);
		// Enough for the treasury, but not for the referrer.
		set(Some(Round {
			price: FUNDS + 1,
			referral_discount: Perbill::zero(),
			..round
		}));
		assert_noop!(buy(3, 1, Some(1)), TokenError::FundsUnavailable);
	});
}

#[test]
fn boundary_the_buyers_account_is_not_lost_to_the_price() {
	let at = |price| Round {
		price,
		public: true,
		..first_round()
	};
	with_sale(at(FUNDS), || {
		assert_noop!(buy(3, 1, None), TokenError::FundsUnavailable);
		set(Some(at(FUNDS - 1)));
		assert_ok!(buy(3, 1, None));
		assert_eq!(has(3), 1);
	});
}

#[test]
fn fails_when_the_commission_cannot_be_paid_out() {
	with_sale(first_round(), || {
		// The referrer's account fell below the existential deposit, but still owns its license.
		assert_ok!(Balances::force_set_balance(
			RuntimeOrigin::root(),
			account(1),
			0
		));
		MinimumBalance::set(&1_000);
		assert_noop!(buy(3, 1, Some(1)), TokenError::BelowMinimum);
		assert_ok!(buy(2, 1, None));
	});
}

#[test]
fn fails_when_the_price_is_no_number() {
	let round = Round {
		price: u128::MAX,
		..first_round()
	};
	with_sale(round, || {
		assert_noop!(
			buy(2, 2, None),
			sp_runtime::DispatchError::Arithmetic(sp_runtime::ArithmeticError::Overflow)
		);
	});
}

#[test]
fn a_commission_of_nothing_is_not_paid() {
	let round = Round {
		price: 10,
		referral_commission: Perbill::from_percent(5),
		..first_round()
	};
	with_sale(round, || {
		assert_ok!(buy(3, 1, Some(1)));
		assert_eq!(has(1), FUNDS);
		assert!(
			!events()
				.iter()
				.any(|event| matches!(event, Event::ReferralPaid { .. }))
		);
	});
}

#[test]
fn only_governance_sets_the_sale_and_its_whitelist() {
	with_sale(first_round(), || {
		let bad = DispatchError::BadOrigin;
		for origin in [RuntimeOrigin::signed(account(1)), RuntimeOrigin::none()] {
			assert_noop!(Licenses::set_sale(origin.clone(), None), bad);
			let accounts = BoundedVec::truncate_from(vec![account(3)]);
			assert_noop!(Licenses::set_whitelist(origin, accounts, true), bad);
		}
		for origin in [RuntimeOrigin::root(), RuntimeOrigin::none()] {
			assert_noop!(Licenses::purchase(origin, 1, None), bad);
		}
	});
}

#[test]
fn setting_the_sale_tells_old_and_new() {
	with_sale(first_round(), || {
		set(Some(second_round()));
		set(None);
		assert_eq!(
			events(),
			[
				Event::SaleSet {
					old: Some(first_round()),
					new: Some(second_round())
				},
				Event::SaleSet {
					old: Some(second_round()),
					new: None
				}
			]
		);
	});
}

#[test]
fn setting_the_sale_fails_with_impossible_terms() {
	with_sale(first_round(), || {
		for (round, error) in [
			(
				Round {
					price: 0,
					..first_round()
				},
				E::ZeroPrice,
			),
			(
				Round {
					whitelist_discount: Perbill::one(),
					..first_round()
				},
				E::FullDiscount,
			),
			(
				Round {
					referral_discount: Perbill::one(),
					..first_round()
				},
				E::FullDiscount,
			),
			(
				Round {
					per_account_limit: 0,
					..first_round()
				},
				E::ZeroLimit,
			),
			(
				Round {
					starts: 50,
					..first_round()
				},
				E::EmptyRound,
			),
		] {
			assert_noop!(
				Licenses::set_sale(RuntimeOrigin::root(), Some(round)),
				error
			);
		}
		// A round of one block is valid.
		set(Some(Round {
			starts: 49,
			..first_round()
		}));
	});
}

#[test]
fn the_whitelist_counts_who_is_new_on_it() {
	with_sale(first_round(), || {
		assert_ok!(list(&[2, 3, 3, 4], true));
		assert_ok!(list(&[4, 5], false));
		assert_ok!(list(&[], true));
		assert_eq!(
			[2, 3, 4, 5].map(|n| Licenses::is_whitelisted(account(n))),
			[true, true, false, false]
		);
		let told = |changed, listed| Event::WhitelistSet { changed, listed };
		assert_eq!(events(), [told(2, true), told(1, false), told(0, true)]);
	});
}

#[test]
#[should_panic(expected = "the genesis sale can be set")]
fn genesis_fails_with_impossible_terms() {
	let round = Round {
		price: 0,
		..first_round()
	};
	ExtBuilder::default().sale(round, &[]).build();
}
