//! Keys of workers: proved by their owner, unique, and in force from the next round.
//!
//! A deregistered worker needs its keys while something can still be held against it: a round that starts
//! within the notice of a change sees the worker as it was, and finds its node by its key. After that
//! others may take the keys; until they do, or its record is removed, the keys stay registered to it.

use super::*;
use kaisar_primitives::{
	authorized::genesis,
	keys::{KeyRole, is_zero},
};

impl<T: Config> Pallet<T> {
	pub(crate) fn do_set_keys(
		who: T::AccountId,
		worker: WorkerId,
		keys: WorkerKeys,
		proof: KeyProof,
	) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		Self::ensure_keys(&who, Some(worker), &keys, &proof)?;
		let next_round = T::Checks::next_round();
		// The oldest keys are dropped: no running check may need them.
		if !record
			.keys
			.may_change(next_round, T::Checks::oldest_round())
		{
			Self::ensure_unchecked(worker, &record)?;
		}

		let (worker_key, agent_key) = (keys.worker.clone(), keys.agent);
		if let Some(dropped) = record.keys.change(keys, next_round) {
			Self::release_keys(worker, &dropped);
		}
		for keys in record.reserved_keys(next_round) {
			Self::reserve_keys(worker, keys);
		}
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::WorkerKeysSet {
			worker,
			worker_key,
			agent_key,
			from: next_round,
		});
		Ok(())
	}

	/// Ensures that `who` proved to hold the keys, and that no worker other than `worker` uses them.
	pub(crate) fn ensure_keys(
		who: &T::AccountId,
		worker: Option<WorkerId>,
		keys: &WorkerKeys,
		proof: &KeyProof,
	) -> DispatchResult {
		ensure!(
			!is_zero(&keys.worker) && !is_zero(&keys.agent),
			Error::<T>::ZeroKey
		);
		let next_round = T::Checks::next_round();
		let taken = |holder: Option<WorkerId>, is_it: &dyn Fn(&WorkerKeys) -> bool| {
			let Some(holder) = holder.filter(|holder| Some(*holder) != worker) else {
				return false;
			};
			Workers::<T>::get(holder).is_some_and(|record| {
				record.reserved_keys(next_round).any(is_it)
					&& !(record.is_gone() && Self::ensure_unchecked(holder, &record).is_ok())
			})
		};
		let by_key = WorkerByKey::<T>::get(&keys.worker);
		ensure!(
			!taken(by_key, &|held| held.worker == keys.worker),
			Error::<T>::KeyInUse
		);
		let by_agent = WorkerByAgent::<T>::get(keys.agent);
		ensure!(
			!taken(by_agent, &|held| held.agent == keys.agent),
			Error::<T>::KeyInUse
		);

		let key = <&[u8; 32]>::try_from(keys.worker.as_ref() as &[u8])
			.map_err(|_| Error::<T>::Defensive)?;
		ensure!(
			proof.verify(KeyRole::Worker, genesis::<T>(), who, key, &keys.agent),
			Error::<T>::BadProof
		);
		Ok(())
	}

	/// Registers keys to the worker.
	pub(crate) fn reserve_keys(worker: WorkerId, keys: &WorkerKeys) {
		WorkerByKey::<T>::insert(&keys.worker, worker);
		WorkerByAgent::<T>::insert(keys.agent, worker);
	}

	/// Frees keys, unless they are registered to another worker by now.
	fn release_keys(worker: WorkerId, keys: &WorkerKeys) {
		if WorkerByKey::<T>::get(&keys.worker) == Some(worker) {
			WorkerByKey::<T>::remove(&keys.worker);
		}
		if WorkerByAgent::<T>::get(keys.agent) == Some(worker) {
			WorkerByAgent::<T>::remove(keys.agent);
		}
	}

	/// Frees all keys of a deregistered worker.
	pub(crate) fn release_all_keys(worker: WorkerId, record: &RecordOf<T>) {
		for keys in record.keys.values() {
			Self::release_keys(worker, keys);
		}
	}
}
