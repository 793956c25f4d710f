//! Benchmarks of the calls and the hook. Each asserts its outcome.

use crate::*;
use frame_benchmarking::v2::*;
use frame_support::{
	assert_ok,
	traits::{EnsureOrigin, Get, Hooks, fungible::Mutate},
};
use frame_system::{RawOrigin, pallet_prelude::BlockNumberFor};
use kaisar_math::{ClassReference, RedeemTerm, ScoreTable, members::Exact, score::MAX_CLASS_SCORE};
use kaisar_primitives::*;
use sp_core::crypto::{ByteArray, UncheckedFrom};

fn agent(n: u8) -> AgentKey {
	AgentKey::unchecked_from([n; 32])
}

/// Returns the result of a check of eight H100.
fn proved() -> Proved {
	Proved {
		idle: 1_200,
		rented: 1_200,
		stake: 1_000 * KAI,
		profile: Profile {
			bandwidth: 4,
			cpu: 4,
			memory: 4,
			disk: 4,
			gpu_class: 1,
			gpu_count: 8,
		},
	}
}

/// Adds a worker with its owner, and a score and fees in the running epoch.
fn worker_to_settle<T: Config>() -> (T::AccountId, WorkerId) {
	let owner: T::AccountId = whitelisted_caller();
	let key = WorkerKey::from_slice(&[1; 32]).expect("32 bytes are a key");
	let worker = T::Workers::benchmark_worker(&owner, key, agent(2));
	assert_ok!(Pallet::<T>::do_proved(worker, &proved()));
	// Fees below its earnings, while all fees together are above: so an excess carries over.
	assert_ok!(Pallet::<T>::note_protocol_fee(worker, KAI));
	assert_ok!(Pallet::<T>::note_protocol_fee(
		worker + 1,
		1_000_000_000 * KAI
	));
	join::<T>(PoolId::Worker(worker), &account("delegator", 0, 0));
	(
		T::Pools::owner(PoolId::Worker(worker)).expect("it was just registered"),
		worker,
	)
}

/// Adds an operator with a score in the running epoch.
fn operator_to_settle<T: Config>(account: &T::AccountId) -> OperatorId {
	let key = CheckerKey::from_slice(&[3; 32]).expect("32 bytes are a key");
	let operator = T::Operators::benchmark_operator(account, key, agent(4));
	for result in [SeatResult::Correct, SeatResult::Dissenting] {
		let seat = ClosedSeat {
			operator,
			weight: 3,
			result,
		};
		assert_ok!(Pallet::<T>::do_seat(&seat));
	}
	join::<T>(PoolId::Checker(operator), &self::account("holder", 0, 0));
	operator
}

/// Makes `who` a member of a pool, with shares that do not count in the running epoch.
fn join<T: Config>(pool: PoolId, who: &T::AccountId) {
	let shares = SharesChange {
		who,
		before: 0,
		after: KAI,
	};
	assert_ok!(Pallet::<T>::on_change(
		pool,
		T::Pools::terms(pool),
		Some(shares)
	));
}

/// Gives an account vKAI, and the pot the KAI behind it.
fn grant_vkai<T: Config>(who: &T::AccountId, amount: Balance) {
	fund::<T>(Pot::Checkers, amount);
	VKai::<T>::insert(who, amount);
}

/// Increases the amount that a pot owes, and mints the KAI for it.
fn fund<T: Config>(pot: Pot, amount: Balance) {
	assert_ok!(T::Currency::mint_into(
		&Pallet::<T>::pot_account(pot),
		amount
	));
	Owed::<T>::mutate(pot, |owed| *owed += amount);
}

/// Ends the running epoch, with a full history behind it.
fn next_epoch<T: Config>() {
	let current = Current::<T>::get();
	let now = current.start + current.length;
	frame_system::Pallet::<T>::set_block_number(now.into());
	Pallet::<T>::end_epoch(current, now);
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn settle() {
		let (owner, worker) = worker_to_settle::<T>();
		next_epoch::<T>();

		#[extrinsic_call]
		_(RawOrigin::Signed(owner), PoolId::Worker(worker));

		assert!(WorkerScores::<T>::get(worker).is_some_and(|record| record.claimable > 0));
		assert!(Carry::<T>::get(Pot::Providers) > 0);
	}

	#[benchmark]
	fn claim_worker() {
		let (owner, worker) = worker_to_settle::<T>();
		next_epoch::<T>();

		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);

		assert!(WorkerScores::<T>::get(worker).is_some_and(|record| record.claimable == 0));
	}

	#[benchmark]
	fn claim_checker() {
		let account: T::AccountId = whitelisted_caller();
		operator_to_settle::<T>(&account);
		next_epoch::<T>();

		#[extrinsic_call]
		_(RawOrigin::Signed(account.clone()));

		assert!(VKai::<T>::get(&account) > 0);
	}

	#[benchmark]
	fn claim_delegation() {
		// The worst case: KAI to pay, an epoch to settle with members in it, and a rate that the member
		// needs, since not all its shares counted.
		let (_, worker) = worker_to_settle::<T>();
		let (pool, who) = (PoolId::Worker(worker), whitelisted_caller::<T::AccountId>());
		join::<T>(pool, &who);
		next_epoch::<T>();
		assert_ok!(Pallet::<T>::settle(
			RawOrigin::Signed(who.clone()).into(),
			pool
		));
		fund::<T>(Pot::Providers, KAI);
		MemberPools::<T>::mutate(pool, |members| {
			members.as_mut().expect("it has members").left += KAI
		});
		Members::<T>::mutate(&who, pool, |member| {
			member.as_mut().expect("it is a member").owed = Exact::from_whole(KAI)
		});
		assert_ok!(Pallet::<T>::do_proved(worker, &proved()));
		next_epoch::<T>();

		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()), pool);

		assert!(Members::<T>::get(&who, pool).is_some_and(|member| member.owed.whole() == 0));
	}

	#[benchmark]
	fn redeem() {
		let who: T::AccountId = whitelisted_caller();
		grant_vkai::<T>(&who, 1_000 * T::MinRedemption::get());
		// The maximum number, less the one to come.
		for _ in 1..T::MaxRedemptions::get() {
			assert_ok!(Pallet::<T>::do_redeem(
				who.clone(),
				T::MinRedemption::get(),
				RedeemTerm::Days30
			));
		}

		#[extrinsic_call]
		_(
			RawOrigin::Signed(who.clone()),
			T::MinRedemption::get(),
			RedeemTerm::Days90,
		);

		assert_eq!(
			Redemptions::<T>::get(&who).len() as u32,
			T::MaxRedemptions::get()
		);
	}

	#[benchmark]
	fn withdraw_redemption() {
		let who: T::AccountId = whitelisted_caller();
		grant_vkai::<T>(&who, 1_000 * T::MinRedemption::get());
		for _ in 0..T::MaxRedemptions::get() {
			assert_ok!(Pallet::<T>::do_redeem(
				who.clone(),
				T::MinRedemption::get(),
				RedeemTerm::Days30
			));
		}
		let last = NextRedemptionId::<T>::get() - 1;
		frame_system::Pallet::<T>::set_block_number((RedeemTerm::Days30.blocks() + 1).into());

		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()), last);

		assert!(
			Redemptions::<T>::get(&who)
				.iter()
				.all(|open| open.id != last)
		);
	}

	#[benchmark]
	fn set_score_table() -> Result<(), BenchmarkError> {
		let origin =
			T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;
		let table = ScoreTable {
			gpu: 7,
			..Default::default()
		};

		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, table);

		assert_eq!(Table::<T>::get(), table);
		Ok(())
	}

	#[benchmark]
	fn set_class_score() -> Result<(), BenchmarkError> {
		let origin =
			T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;

		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, 1, MAX_CLASS_SCORE);

		assert_eq!(ClassScores::<T>::get(1), Some(MAX_CLASS_SCORE));
		Ok(())
	}

	#[benchmark]
	fn set_class_reference() -> Result<(), BenchmarkError> {
		let origin =
			T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;

		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, 1, Some(ClassReference::MOST));

		let newest = ClassReferences::<T>::get(1).last().copied();
		assert_eq!(
			newest.and_then(|dated| dated.value),
			Some(ClassReference::MOST)
		);
		Ok(())
	}

	#[benchmark]
	fn within_epoch() {
		let current = Current::<T>::get();
		let now: BlockNumberFor<T> = current.start.into();

		#[block]
		{
			Pallet::<T>::on_initialize(now);
		}

		assert_eq!(Current::<T>::get(), current);
	}

	#[benchmark]
	fn end_epoch() {
		let account: T::AccountId = whitelisted_caller();
		worker_to_settle::<T>();
		operator_to_settle::<T>(&account);
		// The worst case of an epoch's end: an epoch to drop.
		(0..T::HistoryDepth::get()).for_each(|_| next_epoch::<T>());
		let current = Current::<T>::get();
		let now: BlockNumberFor<T> = (current.start + current.length).into();

		#[block]
		{
			Pallet::<T>::on_initialize(now);
		}

		assert_eq!(Current::<T>::get().index, current.index + 1);
		assert!(Epochs::<T>::contains_key(current.index));
	}

	impl_benchmark_test_suite!(
		Pallet,
		crate::mock::ExtBuilder::default().build(),
		crate::mock::Test
	);
}
