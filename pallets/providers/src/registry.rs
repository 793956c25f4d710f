//! The registry as other pallets see it: [`WorkerRegistry`] for all of them, [`Pools`] for Rewards. Reports
//! of Popw are in [`checks`], those of Orders in [`market`].

use super::*;
use kaisar_primitives::{PoolTerms, PoolValue, Pools, WorkerCounts, WorkerInfo, WorkerRegistry};

impl<T: Config> WorkerRegistry<T::AccountId> for Pallet<T> {
	fn info(worker: WorkerId, round: RoundIndex) -> Option<WorkerInfo<T::AccountId>> {
		let record = Workers::<T>::get(worker)?;
		let keys = record.keys.at_or_oldest(round).clone();
		Some(WorkerInfo {
			owner: record.owner,
			key: keys.worker,
			agent: keys.agent,
			standings: record.standings,
			forced: record.forced,
			spec: record.spec,
			profile: record.profile,
			order: record.order,
		})
	}

	fn by_key(key: &WorkerKey) -> Option<WorkerId> {
		WorkerByKey::<T>::get(key)
	}

	fn counts() -> WorkerCounts {
		let StateCounts { online, rented, .. } = Counts::<T>::get();
		WorkerCounts {
			registered: NextWorkerId::<T>::get(),
			online,
			rented,
		}
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_worker(owner: &T::AccountId, key: WorkerKey, agent: AgentKey) -> WorkerId {
		let spec = WorkerSpec {
			region: *b"DE",
			..Default::default()
		};
		let stake = T::BaseStake::get();
		T::Consideration::ensure_successful(owner, Self::footprint());
		let _ = T::Currency::mint_into(&Self::pot(), stake).defensive();
		let keys = WorkerKeys { worker: key, agent };
		Self::insert(owner, spec, keys, stake).defensive_unwrap_or_default()
	}
}

impl<T: Config> Pools<T::AccountId> for Pallet<T> {
	fn owner(pool: PoolId) -> Option<T::AccountId> {
		let PoolId::Worker(worker) = pool else {
			return None;
		};
		Workers::<T>::get(worker)
			.map(|record| record.owner)
			.or_else(|| DepartedWorkers::<T>::get(worker).map(|departed| departed.owner))
	}

	/// The owner's part of a deregistered worker's pool is 0; its delegators keep their shares until they
	/// withdraw.
	fn terms(pool: PoolId) -> PoolTerms {
		let PoolId::Worker(worker) = pool else {
			return PoolTerms::default();
		};
		Workers::<T>::get(worker)
			.map(|record| record.terms())
			.or_else(|| {
				DepartedWorkers::<T>::get(worker).map(|departed| PoolTerms {
					value: PoolValue::default(),
					commission: departed.commission,
				})
			})
			.unwrap_or_default()
	}

	fn shares(pool: PoolId, who: &T::AccountId) -> u128 {
		match pool {
			PoolId::Worker(worker) => Delegations::<T>::get(worker, who),
			PoolId::Checker(_) => 0,
		}
	}
}
