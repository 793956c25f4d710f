//! Benchmarks of the calls. A call may first close a check: Popw measures the cost of that, and
//! `weights.rs` adds it.

use super::*;
use frame_benchmarking::v2::*;
use frame_system::RawOrigin;
use kaisar_primitives::{
	Arch, KAI, WorkerRegistry,
	keys::{KeyRole, possession_payload},
};
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
	arch: Arch::Amd64,
	driver: 0,
	cuda: 0,
};

/// Returns new keys, and their proof for an account.
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
	<Pallet<T> as WorkerRegistry<T::AccountId>>::benchmark_worker(owner, keys.worker, keys.agent)
}

fn state_of<T: Config>(worker: WorkerId) -> Option<WorkerState> {
	Workers::<T>::get(worker).map(|record| record.state())
}

/// Returns another account with funds.
fn delegator<T: Config>(number: u32) -> T::AccountId {
	let who: T::AccountId = account("delegator", number, 0);
	T::Currency::mint_into(&who, 1_000_000 * KAI).expect("there is room in the supply");
	who
}

/// Returns an idle worker that is not the last in its two buckets, so that removing it moves another one.
fn idle_worker<T: Config>(owner: &T::AccountId) -> WorkerId {
	let mut first = None;
	for _ in 0..2 {
		let worker = worker_of::<T>(owner);
		Pallet::<T>::mutate(worker, |record| {
			record.forced = None;
			record.proved_at = Some(0);
			Pallet::<T>::set_state(worker, record, WorkerState::Online);
			// Long enough ago that no running round saw it in another state.
			record.standings = Standings::new(WorkerState::Online, 0);
			Ok(())
		})
		.expect("the worker exists");
		first = first.or(Some(worker));
	}
	first.expect("there are two")
}

fn pool_of<T: Config>(worker: WorkerId) -> StakePool {
	Workers::<T>::get(worker)
		.map(|record| record.pool)
		.unwrap_or_default()
}

/// Returns a worker with a delegator, and a queued slash of level 2 that affects the delegator.
fn slashed_worker<T: Config>(owner: &T::AccountId) -> (WorkerId, T::AccountId, SlashId) {
	let worker = idle_worker::<T>(owner);
	let who = delegator::<T>(0);
	let amount = T::BaseStake::get().saturating_mul(4);
	Pallet::<T>::do_stake(who.clone(), worker, amount).expect("it can be staked on");
	let id = NextSlashId::<T>::get();
	Pallet::<T>::do_slash(worker, SlashLevel::Two).expect("there is something to slash");
	(worker, who, id)
}

fn pass<T: Config>(blocks: BlockNumber) {
	let now = Pallet::<T>::now() + blocks;
	frame_system::Pallet::<T>::set_block_number(now.into());
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
		let worker = idle_worker::<T>(&owner);
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
		let (replaced, _) = keys_of::<T>(&owner);
		let later = T::Checks::next_round().saturating_add(1);
		Pallet::<T>::mutate(worker, |record| {
			record.keys.change(replaced, later);
			Ok(())
		})?;
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
	fn set_delegation_cap() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, KAI);
		assert_eq!(
			Workers::<T>::get(worker).and_then(|record| record.delegation_cap),
			Some(KAI)
		);
	}

	#[benchmark]
	fn go_offline() {
		let owner = provider::<T>();
		let worker = idle_worker::<T>(&owner);
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
		let worker = idle_worker::<T>(&owner);
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker);
		assert!(Workers::<T>::get(worker).is_some_and(|record| record.is_gone()));
	}

	#[benchmark]
	fn stake() {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		// The worst case: the stake of a new delegator.
		let who = delegator::<T>(0);
		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()), worker, KAI);
		assert_eq!(Delegations::<T>::get(worker, who), KAI);
	}

	#[benchmark]
	fn unstake() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		let who = delegator::<T>(0);
		Pallet::<T>::do_stake(who.clone(), worker, 2 * KAI)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who), worker, KAI);
		assert_eq!(pool_of::<T>(worker).unbonding.part.value, KAI);
		Ok(())
	}

	#[benchmark]
	fn withdraw_unbonded() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		// The worst case: the last withdrawal from a deregistered worker, by a delegator with both kinds of
		// stake.
		let who = delegator::<T>(0);
		Pallet::<T>::do_stake(who.clone(), worker, 2 * KAI)?;
		Pallet::<T>::do_unstake(who.clone(), worker, KAI)?;
		Pallet::<T>::do_deregister(owner.clone(), worker)?;
		pass::<T>(Pallet::<T>::unbonding_period());
		Pallet::<T>::do_withdraw(owner, worker)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(who), worker);
		assert!(DepartedWorkers::<T>::contains_key(worker));
		Ok(())
	}

	#[benchmark]
	fn slash() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let (worker, _, _) = slashed_worker::<T>(&owner);
		let origin =
			T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, worker, SlashLevel::Three);
		assert_eq!(pool_of::<T>(worker).total(), Ok(0));
		assert_eq!(state_of::<T>(worker), Some(WorkerState::Suspended));
		Ok(())
	}

	#[benchmark]
	fn cancel_slash() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let (worker, _, id) = slashed_worker::<T>(&owner);
		let origin =
			T::AdminOrigin::try_successful_origin().map_err(|_| BenchmarkError::Weightless)?;
		#[extrinsic_call]
		_(origin as T::RuntimeOrigin, id);
		assert_eq!(Slashes::<T>::get(id), None);
		assert_eq!(
			Workers::<T>::get(worker).map(|record| record.queued),
			Some(QueuedSlashes::default())
		);
		Ok(())
	}

	#[benchmark]
	fn apply_slash() {
		let owner = provider::<T>();
		let (worker, finder, id) = slashed_worker::<T>(&owner);
		Slashes::<T>::mutate(id, |queued| {
			if let Some(queued) = queued {
				queued.finder = Some(finder);
			}
		});
		pass::<T>(T::SlashDeferral::get());
		let who = delegator::<T>(1);
		let before = T::Currency::balance(&who);
		#[extrinsic_call]
		_(RawOrigin::Signed(who.clone()), id);
		assert!(T::Currency::balance(&who) > before);
		assert_eq!(state_of::<T>(worker), Some(WorkerState::Suspended));
	}

	#[benchmark]
	fn clear_worthless() -> Result<(), BenchmarkError> {
		let owner = provider::<T>();
		let worker = worker_of::<T>(&owner);
		let who = delegator::<T>(0);
		Pallet::<T>::do_stake(who.clone(), worker, 2 * KAI)?;
		Pallet::<T>::do_unstake(who.clone(), worker, KAI)?;
		Pallet::<T>::do_slash(worker, SlashLevel::Three)?;
		#[extrinsic_call]
		_(RawOrigin::Signed(owner), worker, who.clone());
		assert!(!Delegations::<T>::contains_key(worker, &who));
		assert!(!Unbondings::<T>::contains_key(worker, who));
		Ok(())
	}

	impl_benchmark_test_suite!(Pallet, crate::mock::ExtBuilder.build(), crate::mock::Test);
}
