//! What must always hold.

use super::*;
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
	/// What must always hold:
	///
	/// 1. The pot's balance covers all pools.
	/// 2. Every number below the next one has a record or a note of departure, and not both; the
	///    counters are those of a recount.
	/// 3. Keys that a worker has reserved are filed under it, and under no other; what is filed is a
	///    worker's.
	/// 4. The owners' index holds exactly the workers that are not deregistered.
	/// 5. A pool's unbonding shares are those of its queues; queues are in order and never empty; what
	///    is delegated has shares.
	/// 6. A worker is `Rented` exactly if it has an order.
	/// 7. Pending time: rented is at most online, marks are in order and not of the future.
	/// 8. A deregistered worker is `Offline` and has no stake but what is unbonding.
	/// 9. Marks name spot rounds.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		let next = NextWorkerId::<T>::get();
		let next_round = T::Checks::next_round();
		let mut counts = StateCounts::default();
		let mut pot: Balance = 0;
		let (mut records, mut present) = (0u32, 0u32);

		for (worker, record) in Workers::<T>::iter() {
			ensure!(worker < next, "2: a worker that was never registered");
			ensure!(
				!DepartedWorkers::<T>::contains_key(worker),
				"2: a worker that has departed and has not"
			);
			records += 1;
			let total = record.pool.total().ok_or("1: a pool overflows")?;
			pot = pot.checked_add(total).ok_or("1: the pools overflow")?;

			let listed = WorkersByOwner::<T>::contains_key(&record.owner, worker);
			ensure!(
				listed != record.is_gone(),
				"4: the owner's index does not fit"
			);
			if record.is_gone() {
				ensure!(
					record.state() == WorkerState::Offline,
					"8: deregistered and not offline"
				);
				ensure!(record.pool.own == 0, "8: deregistered with stake");
			} else {
				present += 1;
				*counts.of(record.state()) += 1;
				for keys in record.reserved_keys(next_round) {
					ensure!(
						WorkerByKey::<T>::get(&keys.worker) == Some(worker),
						"3: a worker key that is not filed"
					);
					ensure!(
						WorkerByAgent::<T>::get(keys.agent) == Some(worker),
						"3: an agent key that is not filed"
					);
				}
			}

			let mut shares: Balance = 0;
			for (_, queue) in Unbondings::<T>::iter_prefix(worker) {
				ensure!(!queue.is_empty(), "5: an empty queue");
				ensure!(
					queue.windows(2).all(|pair| pair[0].until < pair[1].until),
					"5: a queue out of order"
				);
				for piece in queue {
					shares = shares
						.checked_add(piece.shares)
						.ok_or("5: shares overflow")?;
				}
			}
			ensure!(
				shares == record.pool.unbonding_shares,
				"5: unbonding shares do not add up"
			);
			ensure!(
				record.pool.delegated == 0 || record.pool.shares > 0,
				"5: delegated stake without shares"
			);
			ensure!(
				(record.state() == WorkerState::Rented) == record.order.is_some(),
				"6: an order without rent, or rent without an order"
			);
			let PendingTime { before, last } = record.time;
			ensure!(
				before.rented <= before.online && last.rented <= last.online,
				"7: more rented than online time"
			);
			ensure!(
				before.at <= last.at && last.at <= Self::now(),
				"7: marks out of order"
			);
			ensure!(
				record
					.forced
					.is_none_or(|forced| forced.round.is_multiple_of(2)),
				"9: a mark for a census"
			);
		}

		let balance = T::Currency::total_balance(&Self::pot());
		ensure!(balance >= pot, "1: the pot does not cover the pools");
		ensure!(counts == Counts::<T>::get(), "2: the counters drifted");
		let departed = DepartedWorkers::<T>::iter_keys().count() as u32;
		ensure!(records + departed == next, "2: workers are missing");
		ensure!(
			WorkersByOwner::<T>::iter().count() as u32 == present,
			"4: the index has others"
		);
		for (key, worker) in WorkerByKey::<T>::iter() {
			let record = Workers::<T>::get(worker).ok_or("3: a key of nobody")?;
			let next = record
				.next_keys
				.as_ref()
				.is_some_and(|(_, keys)| keys.worker == key);
			ensure!(
				record.keys.worker == key || next,
				"3: a key that is not the worker's"
			);
		}
		for (key, worker) in WorkerByAgent::<T>::iter() {
			let record = Workers::<T>::get(worker).ok_or("3: an agent key of nobody")?;
			let next = record
				.next_keys
				.as_ref()
				.is_some_and(|(_, keys)| keys.agent == key);
			ensure!(
				record.keys.agent == key || next,
				"3: an agent key that is not the worker's"
			);
		}
		for (worker, _, _) in Unbondings::<T>::iter() {
			ensure!(
				Workers::<T>::contains_key(worker),
				"5: a queue of a worker that is gone"
			);
		}
		Ok(())
	}
}
