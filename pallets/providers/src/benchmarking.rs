//! Benchmarks of the calls. What closing a check costs, which a call may do first, is Popw's to
//! measure; it is added in `weights.rs`.

use super::*;
use frame_benchmarking::v2::*;
use frame_system::RawOrigin;
use kaisar_primitives::{KAI, Workers as Registry, keys::possession_payload};
use sp_core::crypto::KeyTypeId;
use sp_runtime::RuntimeAppPublic;

const AGENT_KEY_TYPE: KeyTypeId = KeyTypeId(*b"kagt");
const SPEC: WorkerSpec = WorkerSpec {
	gpu_class: 0,
	gpu_count: 0,
	cpu_cores: 8,
	memory_gb: 16,
	disk_gb: 100,
	download_mbps: 100,
	upload_mbps: 100,
	region: *b"DE",
};

/// Fresh keys, and their proof for an account.
fn keys_of<T: Config>(owner: &T::AccountId) -> (WorkerKeys, KeyProof) {
	let worker = WorkerKey::generate_pair(None);
	let agent = sp_io::crypto::ed25519_generate(AGENT_KEY_TYPE, None);
	let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default());
	let payload = possession_payload(KeyRole::Worker, genesis, owner);
	let key = worker
		.sign(&payload)
		.expect("the key is in the keystore")
		.into();
	let signature = sp_io::crypto::ed25519_sign(AGENT_KEY_TYPE, &agent, &payload)
		.expect("the key is in the keystore");
	(
		WorkerKeys { worker, agent },
		KeyProof {
			key,
			agent: signature,
		},
	)
}

fn provider<T: Config>() -> T::AccountId {
	let owner: T::AccountId = whitelisted_caller();
	T::Currency::mint_into(&owner, 1_000_000 * KAI).expect("there is room in the supply");
	owner
}

fn worker_of<T: Config>(owner: &T::AccountId) -> WorkerId {
	let (keys, _) = keys_of::<T>(owner);
	Pallet::<T>::benchmark_worker(owner, keys.worker, keys.agent)
}

fn state_of<T: Config>(worker: WorkerId) -> Option<WorkerState> {
	Workers::<T>::get(worker).map(|record| record.state())
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn register_worker() {
		let owner = provider::<T>();
		let (keys, proof) = keys_of::<T>(&owner);
		let amount = T::BaseStake::get();
		let worker = NextWorkerId::<T>::get();
		#[extrinsic_call]
		_(
			RawOrigin::Signed(owner),
			SPEC,
			keys.worker,
			keys.agent,
			amount,
			proof,
		);
		assert_eq!(state_of::<T>(worker), Some(WorkerState::Pending));
	}

	#[benchmark]
	fn update_worker() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, SPEC);
		assert_eq!(
			Workers::<T>::get(worker).map(|record| record.spec),
			Some(SPEC)
		);
	}

	#[benchmark]
	fn set_worker_keys() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		// The worst case: keys that are replaced before they are in force.
		let (before, proof) = keys_of::<T>(&owner);
		Pallet::<T>::do_set_keys(owner.clone(), worker, before, proof)?;
		let (keys, proof) = keys_of::<T>(&owner);
		#[extrinsic_call]
		_(
			RawOrigin::Signed(owner),
			worker,
			keys.worker.clone(),
			keys.agent,
			proof,
		);
		assert_eq!(WorkerByKey::<T>::get(keys.worker), Some(worker));
		Ok(())
	}

	#[benchmark]
	fn set_commission() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, Perbill::one());
		let commission = Workers::<T>::get(worker).map(|record| record.commission);
		assert_eq!(
			commission.map(|set| set.in_epoch(EpochIndex::MAX)),
			Some(Perbill::one())
		);
	}

	#[benchmark]
	fn set_price_floor() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, KAI);
		assert_eq!(
			Workers::<T>::get(worker).map(|record| record.price_floor),
			Some(KAI)
		);
	}

	#[benchmark]
	fn go_offline() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);
		assert_eq!(state_of::<T>(worker), Some(WorkerState::Offline));
	}

	#[benchmark]
	fn go_online() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		Pallet::<T>::do_go_offline(owner.clone(), worker)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);
		assert_eq!(state_of::<T>(worker), Some(WorkerState::Pending));
		Ok(())
	}

	#[benchmark]
	fn deregister_worker() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);
		assert!(Workers::<T>::get(worker).is_some_and(|record| record.is_gone()));
	}

	#[benchmark]
	fn stake() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		let before = Workers::<T>::get(worker).map(|record| record.pool.own);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, KAI);
		let after = Workers::<T>::get(worker).map(|record| record.pool.own);
		assert_eq!(after, before.map(|own| own + KAI));
	}

	#[benchmark]
	fn unstake() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		Pallet::<T>::do_stake(owner.clone(), worker, KAI)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, KAI);
		assert_eq!(
			Workers::<T>::get(worker).map(|record| record.pool.unbonding),
			Some(KAI)
		);
		Ok(())
	}

	#[benchmark]
	fn withdraw_unbonded() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		// The worst case: the last of a worker that was deregistered.
		Pallet::<T>::do_deregister(owner.clone(), worker)?;
		let until = Pallet::<T>::now() + Pallet::<T>::unbonding_period();
		frame_system::Pallet::<T>::set_block_number(until.into());
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);
		assert!(DepartedWorkers::<T>::contains_key(worker));
		Ok(())
	}

	impl_benchmark_test_suite!(Pallet, crate::mock::ExtBuilder.build(), crate::mock::Test);
}
