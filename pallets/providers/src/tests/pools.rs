use super::*;

#[test]
fn knows_owners_of_workers_alone() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let owner = <Providers as Pools<AccountId>>::owner;
		assert_eq!(owner(PoolId::Worker(worker)), Some(ALICE));
		assert_eq!(owner(PoolId::Worker(worker + 1)), None);
		assert_eq!(owner(PoolId::Checker(0)), None);
		let terms = <Providers as Pools<AccountId>>::terms;
		assert_eq!(terms(PoolId::Checker(0)), PoolTerms::default());
		assert_eq!(terms(PoolId::Worker(7)), PoolTerms::default());
	});
}

#[test]
fn a_departed_worker_keeps_owner_and_commission() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		let commission = Perbill::from_percent(30);
		assert_ok!(Providers::set_commission(signed(ALICE), worker, commission));
		assert_ok!(Providers::deregister_worker(signed(ALICE), worker));
		run_to(Providers::now() + UNBONDING);
		assert_ok!(Providers::withdraw_unbonded(signed(ALICE), worker));
		let pool = PoolId::Worker(worker);
		assert_eq!(<Providers as Pools<AccountId>>::owner(pool), Some(ALICE));
		assert_eq!(
			<Providers as Pools<AccountId>>::terms(pool)
				.commission
				.in_epoch(2),
			commission
		);
	});
}
