//! The first block.

use crate::{mock::*, *};
use kaisar_primitives::{IsDelegated, Pools, Seats};
use sp_runtime::BuildStorage;

fn entry(n: u8) -> (AccountId, CheckerKey, AgentKey, Perbill, bool) {
	(
		n.into(),
		ring(n).checker(),
		ring(n).agent(),
		Perbill::from_percent(n.into()),
		n == 2,
	)
}

fn build(
	operators: Vec<(AccountId, CheckerKey, AgentKey, Perbill, bool)>,
	delegations: Vec<(LicenseId, AccountId)>,
	test: impl FnOnce(),
) {
	let balances = pallet_balances::GenesisConfig::<Test> {
		balances: (1..=20).map(|account| (account, FUNDS)).collect(),
		..Default::default()
	};
	let mut ext: sp_io::TestExternalities = RuntimeGenesisConfig {
		balances,
		..Default::default()
	}
	.build_storage()
	.unwrap()
	.into();
	ext.execute_with(|| {
		for (license, holder) in [(0, 1), (1, 1), (2, 2), (3, 10), (4, 10)] {
			give(license, holder);
		}
		GenesisConfig::<Test> {
			operators,
			delegations,
		}
		.build();
		test();
		Checkers::do_try_state().expect("the invariants hold");
	});
}

#[test]
fn operators_and_delegations_are_active_from_round_0() {
	let operators = vec![entry(1), entry(2)];
	build(operators, vec![(0, 1), (1, 1), (2, 2), (3, 2)], || {
		let seats = |round| [0, 1, 2, 3, 4].map(|license| Checkers::seat(license, round));
		assert_eq!(seats(0), [Some(0), Some(0), Some(1), Some(1), None]);
		assert_eq!(Checkers::active(), 4);
		assert_eq!(Checkers::number(&1), Some(0));
		assert_eq!(Checkers::number(&2), Some(1));
		assert_eq!(Checkers::by_key(&ring(2).checker()), Some(1));
		let info = <Checkers as Seats<_>>::operator(1, 0).unwrap();
		assert_eq!((info.account, info.licenses), (2, 2));
		assert_eq!((info.key, info.agent), (ring(2).checker(), ring(2).agent()));
		assert_eq!(
			Checkers::terms(PoolId::Checker(1)).commission.in_epoch(0),
			Perbill::from_percent(2)
		);
		assert!(!record(0).auto_accept && record(1).auto_accept);
		assert!(Checkers::is_delegated(3) && !Checkers::is_delegated(4));
		assert_eq!((held(1), held(2)), (DEPOSIT, DEPOSIT));
	});
}

#[test]
#[should_panic(expected = "KeyInUse")]
fn fails_with_a_key_twice() {
	let mut second = entry(2);
	second.1 = ring(1).checker();
	build(vec![entry(1), second], vec![], || ());
}

#[test]
#[should_panic(expected = "the genesis licenses are minted")]
fn fails_with_an_unknown_license() {
	build(vec![entry(1)], vec![(99, 1)], || ());
}

#[test]
#[should_panic(expected = "UnknownOperator")]
fn fails_with_an_unknown_operator() {
	build(vec![entry(1)], vec![(0, 2)], || ());
}

#[test]
#[should_panic(expected = "a genesis license is delegated once")]
fn fails_with_a_license_twice() {
	build(vec![entry(1)], vec![(0, 1), (0, 1)], || ());
}
