use super::*;

const TEN: Perbill = Perbill::from_percent(10);
const TWENTY: Perbill = Perbill::from_percent(20);

fn pool(worker: WorkerId) -> PoolId {
	PoolId::Worker(worker)
}

#[test]
fn counts_after_one_whole_epoch() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Epoch::set(&3);
		events();
		Popw::changes();
		assert_ok!(Providers::set_commission(signed(ALICE), worker, TEN));
		assert_eq!(
			events(),
			vec![Event::CommissionSet {
				worker,
				old: Perbill::zero(),
				new: TEN,
				from: 5
			}]
		);
		// The pool is settled with the old figures.
		assert_eq!(Popw::changes(), vec![(pool(worker), None)]);
		for (epoch, expected) in [
			(3, Perbill::zero()),
			(4, Perbill::zero()),
			(5, TEN),
			(100, TEN),
		] {
			Epoch::set(&epoch);
			assert_eq!(
				<Providers as Pools<AccountId>>::terms(pool(worker))
					.commission
					.in_epoch(Epoch::get()),
				expected
			);
			assert_eq!(
				<Providers as Pools<AccountId>>::terms(pool(worker))
					.commission
					.in_epoch(epoch),
				expected
			);
		}
	});
}

#[test]
fn an_announced_commission_cannot_be_withdrawn_before_it_was_in_force() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Epoch::set(&5);
		assert_ok!(Providers::set_commission(
			signed(ALICE),
			worker,
			Perbill::one()
		));
		// Delegators join for epoch 7. In the last block before it the owner tries to keep everything.
		assert_ok!(Providers::stake(signed(CAROL), worker, KAI));
		for epoch in [5, 6] {
			Epoch::set(&epoch);
			assert_noop!(
				Providers::set_commission(signed(ALICE), worker, Perbill::zero()),
				Error::<Test>::CommissionPending
			);
		}
		Epoch::set(&7);
		assert_ok!(Providers::set_commission(
			signed(ALICE),
			worker,
			Perbill::zero()
		));
		let commission = |epoch| {
			<Providers as Pools<AccountId>>::terms(pool(worker))
				.commission
				.in_epoch(epoch)
		};
		assert_eq!(
			[7, 8, 9].map(commission),
			[100, 100, 0].map(Perbill::from_percent)
		);
	});
}

#[test]
fn what_counts_stays_until_the_next_one_does() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		assert_ok!(Providers::set_commission(signed(ALICE), worker, TEN));
		Epoch::set(&2);
		events();
		assert_ok!(Providers::set_commission(signed(ALICE), worker, TWENTY));
		assert_eq!(
			events(),
			vec![Event::CommissionSet {
				worker,
				old: TEN,
				new: TWENTY,
				from: 4
			}]
		);
		let commission = |epoch| {
			<Providers as Pools<AccountId>>::terms(pool(worker))
				.commission
				.in_epoch(epoch)
		};
		assert_eq!([2, 3, 4].map(commission), [TEN, TEN, TWENTY]);
	});
}

#[test]
fn boundary_the_last_epoch() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		Epoch::set(&(u32::MAX - 1));
		assert_noop!(
			Providers::set_commission(signed(ALICE), worker, TEN),
			sp_runtime::ArithmeticError::Overflow
		);
	});
}

#[test]
fn a_price_floor_is_set_with_its_event() {
	ExtBuilder.build_and_execute(|| {
		let worker = register(ALICE, 1);
		events();
		assert_ok!(Providers::set_price_floor(signed(ALICE), worker, 3 * KAI));
		assert_ok!(Providers::set_price_floor(signed(ALICE), worker, u128::MAX));
		assert_eq!(record(worker).price_floor, u128::MAX);
		assert_eq!(
			events(),
			vec![
				Event::PriceFloorSet {
					worker,
					old: 0,
					new: 3 * KAI
				},
				Event::PriceFloorSet {
					worker,
					old: 3 * KAI,
					new: u128::MAX
				},
			]
		);
	});
}
