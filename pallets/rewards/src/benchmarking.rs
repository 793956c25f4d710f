//! Benchmarks. Each asserts what it brought about.

use crate::*;
use frame_benchmarking::v2::*;
use frame_support::{
	assert_ok,
	traits::{EnsureOrigin, Get, Hooks},
};
use frame_system::{RawOrigin, pallet_prelude::BlockNumberFor};
use kaisar_math::{ScoreTable, score::MAX_CLASS_SCORE};
use kaisar_primitives::*;
use sp_core::crypto::{ByteArray, UncheckedFrom};

fn agent(n: u8) -> AgentKey {
	AgentKey::unchecked_from([n; 32])
}

/// A worker and its owner, with a score and fees in the running epoch.
fn worker_to_settle<T: Config>() -> (T::AccountId, WorkerId) {
	let owner: T::AccountId = whitelisted_caller();
	let key = WorkerKey::from_slice(&[1; 32]).expect("32 bytes are a key");
	let worker = T::Workers::benchmark_worker(&owner, key, agent(2));
	let profile = Profile {
		bandwidth: 4,
		cpu: 4,
		memory: 4,
		disk: 4,
		gpu_class: 1,
		gpu_count: 8,
	};
	let proved = Proved {
		online: 1_200,
		rented: 1_200,
		stake: 1_000 * KAI,
		profile,
	};
	Pallet::<T>::on_proved(worker, &proved);
	// Less than it earns, so that an excess carries over.
	assert_ok!(Pallet::<T>::note_protocol_fee(worker, KAI));
	(
		T::Pools::owner(PoolId::Worker(worker)).expect("it was just registered"),
		worker,
	)
}

/// An operator with a score in the running epoch.
fn operator_to_settle<T: Config>(account: &T::AccountId) -> OperatorId {
	let key = CheckerKey::from_slice(&[3; 32]).expect("32 bytes are a key");
	let operator = T::Operators::benchmark_operator(account, key, agent(4));
	(0..10).for_each(|n| Pallet::<T>::on_seat(operator, n > 0));
	operator
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
		// The most that an end can have to do: an epoch to drop.
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
