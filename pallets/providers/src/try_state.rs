//! The pallet's invariants.

use super::*;
use sp_runtime::TryRuntimeError;

impl<T: Config> Pallet<T> {
	/// Checks the invariants:
	///
	/// 1. The pot's balance covers all pools.
	/// 2. Every number below the next one has either a record or a note of departure; the counters are
	///    those of a recount.
	/// 3. Keys reserved for a registered worker are indexed to it; every indexed key is in its worker's
	///    record.
	/// 4. The owners' index holds exactly the workers that are not deregistered.
	/// 5. A pool's shares are those of its delegations, and its unbonding shares those of the pieces of the
	///    current generation, the owner's and the delegators' apart; queues are in order and never empty; a
	///    part of value has shares, at no less than the lowest price; the number of entries is right.
	/// 6. A worker is `Rented` if and only if it has an order.
	/// 7. Rented time is pending if and only if the worker is `Rented`, and does not start in the future.
	/// 8. A deregistered worker is `Offline`, has no stake except unbonding stake, and records the block in
	///    which its delegators' has unbonded.
	/// 9. Marks name spot rounds, none further ahead than the longest delay.
	/// 10. A worker's queued rates are the sum of its slashes' rates; no slash has a rate of zero; a slash
	///     to which findings are added is that worker's.
	/// 11. The indices hold only workers that can be rented, by their floors as last judged, each at its
	///     recorded place, without gaps; and all such workers that neither a bar nor a floor keeps out.
	/// 12. The totals, and those by class, are those of a recount.
	/// 13. A worker whose owner's stake a slash left below the minimum is not `Online`.
	/// 14. Time is charged at most a day in advance, and at least a day by a second consecutive false
	///     proof.
	/// 15. A profile never exceeds the claim.
	/// 16. Only an `Online` or `Rented` worker has something to prove to remain so.
	/// 17. A worker's states are in the order of their rounds.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		let next = NextWorkerId::<T>::get();
		let next_round = T::Checks::next_round();
		let mut counts = StateCounts::default();
		let mut pot: Balance = 0;
		let (mut records, mut present) = (0u32, 0u32);
		let mut queued = alloc::collections::BTreeMap::<WorkerId, u128>::new();
		for (id, slash) in Slashes::<T>::iter() {
			ensure!(
				id < NextSlashId::<T>::get(),
				"10: a slash that was never queued"
			);
			let rate = u128::from(slash.rate.deconstruct());
			ensure!(rate > 0, "10: a slash with a rate of zero");
			let sum = queued.entry(slash.worker).or_default();
			*sum = sum.checked_add(rate).ok_or("10: slashes overflow")?;
		}

		for (worker, record) in Workers::<T>::iter() {
			ensure!(worker < next, "2: a worker that was never registered");
			ensure!(
				!DepartedWorkers::<T>::contains_key(worker),
				"2: a worker with both a record and a note of departure"
			);
			records += 1;
			let total = record.pool.total().map_err(|_| "1: a pool overflows")?;
			pot = pot.checked_add(total).ok_or("1: the pools overflow")?;

			let listed = WorkersByOwner::<T>::contains_key(&record.owner, worker);
			ensure!(
				listed != record.is_gone(),
				"4: the owners' index and the record disagree"
			);
			if record.is_gone() {
				ensure!(
					record.state() == WorkerState::Offline,
					"8: deregistered but not offline"
				);
				ensure!(record.pool.own == 0, "8: deregistered with stake");
				ensure!(
					record.released_at.is_some(),
					"8: deregistered without a block of release"
				);
			} else {
				present += 1;
				*counts.of(record.state()) += 1;
				for keys in record.reserved_keys(next_round) {
					ensure!(
						WorkerByKey::<T>::get(&keys.worker) == Some(worker),
						"3: a worker key that is not indexed"
					);
					ensure!(
						WorkerByAgent::<T>::get(keys.agent) == Some(worker),
						"3: an agent key that is not indexed"
					);
				}
			}

			Self::try_state_of_pool(worker, &record)?;
			ensure!(
				record.queued.rates == queued.remove(&worker).unwrap_or(0),
				"10: the queued rate is not the sum of the slashes"
			);
			Self::try_state_of_charges(&record)?;
			for id in [record.queued.offline, record.queued.malice]
				.into_iter()
				.flatten()
			{
				ensure!(
					Slashes::<T>::get(id).is_some_and(|slash| slash.worker == worker),
					"10: findings are added to another worker's slash, or to none"
				);
			}
			Self::try_state_of_checks(worker, &record)?;
			ensure!(
				!(record.short && record.state() == WorkerState::Online),
				"13: online below the minimum"
			);
			ensure!(
				(record.state() == WorkerState::Rented) == record.order.is_some(),
				"6: rented without an order, or an order without rent"
			);
		}

		ensure!(queued.is_empty(), "10: a slash of an unknown worker");
		Self::try_state_of_indices()?;
		let balance = T::Currency::total_balance(&Self::pot());
		ensure!(balance >= pot, "1: the pot does not cover the pools");
		ensure!(counts == Counts::<T>::get(), "2: the counters drifted");
		let departed = DepartedWorkers::<T>::iter_keys().count() as u32;
		ensure!(records + departed == next, "2: workers are missing");
		ensure!(
			WorkersByOwner::<T>::iter().count() as u32 == present,
			"4: the index has other workers"
		);
		for (key, worker) in WorkerByKey::<T>::iter() {
			let record = Workers::<T>::get(worker).ok_or("3: a key of an unknown worker")?;
			ensure!(
				record.keys.values().any(|keys| keys.worker == key),
				"3: a key that is not the worker's"
			);
		}
		for (key, worker) in WorkerByAgent::<T>::iter() {
			let record = Workers::<T>::get(worker).ok_or("3: an agent key of an unknown worker")?;
			ensure!(
				record.keys.values().any(|keys| keys.agent == key),
				"3: an agent key that is not the worker's"
			);
		}
		let queues = Unbondings::<T>::iter_keys().map(|(worker, _)| worker);
		let delegations = Delegations::<T>::iter_keys().map(|(worker, _)| worker);
		for worker in queues.chain(delegations) {
			ensure!(
				Workers::<T>::contains_key(worker),
				"5: an entry of a removed worker"
			);
		}
		Ok(())
	}

	/// Checks invariants 7, 9, 11 and 15 to 17 for one worker.
	fn try_state_of_checks(worker: WorkerId, record: &RecordOf<T>) -> Result<(), TryRuntimeError> {
		let state = record.state();
		ensure!(
			(state == WorkerState::Rented) == record.time.since.is_some(),
			"7: rented without pending time, or pending time without rent"
		);
		ensure!(
			record.time.since.is_none_or(|since| since <= Self::now()),
			"7: pending time that starts in the future"
		);
		if let Some(forced) = record.forced {
			let last = T::Checks::next_round().saturating_add(SPOT_STEP * MAX_DELAY);
			ensure!(
				forced.round.is_multiple_of(SPOT_STEP),
				"9: a mark for a census"
			);
			ensure!(forced.round <= last, "9: a mark beyond the longest delay");
		}

		let free = state == WorkerState::Online && !record.is_marked() && record.shelf().is_some();
		if record.place.is_some() {
			ensure!(free, "11: a place of a worker that cannot be rented");
			ensure!(
				record.barred_until <= Self::now(),
				"11: a place of a barred worker"
			);
		} else {
			// A mark used up by an open check keeps its worker out until the check closes.
			let kept_out =
				record.barred_until > 0 || record.price_floor > 0 || T::Checks::is_open(worker);
			ensure!(
				!free || kept_out,
				"11: a worker that can be rented is not listed"
			);
		}

		let bound = record.spec.bound();
		ensure!(
			record
				.profile
				.is_none_or(|profile| profile.lesser(&bound) == profile),
			"15: a profile beyond the claim"
		);
		ensure!(
			matches!(state, WorkerState::Online | WorkerState::Rented)
				|| !(record.unproved || record.below || record.undecided),
			"16: a worker that is away has something to prove"
		);
		ensure!(record.standings.is_ordered(), "17: states out of order");
		Ok(())
	}

	/// Checks invariant 14 for one worker.
	fn try_state_of_charges(record: &RecordOf<T>) -> Result<(), TryRuntimeError> {
		let now = Self::now();
		ensure!(
			record.charged_to <= now.saturating_add(DAYS),
			"14: charged more than a day in advance"
		);
		let Some(row) = record.false_proofs else {
			return Ok(());
		};
		ensure!(
			row.in_a_row > 0 && row.since <= now,
			"14: an empty run, or one that starts in the future"
		);
		let day = row.since.saturating_add(DAYS);
		let charged = row.charged >= kaisar_math::stake::malice_rate(0) && record.charged_to >= day;
		ensure!(
			row.in_a_row == 1 || charged,
			"14: two consecutive false proofs but no day charged"
		);
		Ok(())
	}

	/// Checks invariant 5 for one worker.
	fn try_state_of_pool(worker: WorkerId, record: &RecordOf<T>) -> Result<(), TryRuntimeError> {
		let pool = &record.pool;
		let mut entries = 0u32;
		let mut delegated: Balance = 0;
		for (who, shares) in Delegations::<T>::iter_prefix(worker) {
			ensure!(who != record.owner, "5: an owner that delegates");
			ensure!(shares > 0, "5: an empty delegation");
			entries += 1;
			delegated = delegated.checked_add(shares).ok_or("5: shares overflow")?;
		}
		ensure!(
			delegated == pool.delegated.shares,
			"5: delegated shares do not add up"
		);

		let (mut own, mut others): (Balance, Balance) = (0, 0);
		for (who, queue) in Unbondings::<T>::iter_prefix(worker) {
			entries += 1;
			ensure!(!queue.is_empty(), "5: an empty queue");
			ensure!(
				queue.windows(2).all(|pair| pair[0].until < pair[1].until),
				"5: a queue out of order"
			);
			let (leaving, sum) = if who == record.owner {
				(&pool.own_unbonding, &mut own)
			} else {
				(&pool.unbonding, &mut others)
			};
			for piece in queue {
				ensure!(
					piece.generation <= leaving.generation,
					"5: a piece of a future generation"
				);
				if piece.generation == leaving.generation {
					*sum = sum.checked_add(piece.shares).ok_or("5: shares overflow")?;
				}
			}
		}
		let shares = (pool.own_unbonding.part.shares, pool.unbonding.part.shares);
		ensure!((own, others) == shares, "5: unbonding shares do not add up");
		ensure!(entries == pool.entries, "5: the number of entries is wrong");

		let least = kaisar_math::stake::SHARES_PER_UNIT;
		for part in [pool.own_unbonding.part, pool.delegated, pool.unbonding.part] {
			ensure!(
				part.value == 0 || part.shares > 0,
				"5: stake without shares"
			);
			ensure!(
				part.value == 0 || part.value >= part.shares / least,
				"5: shares below the lowest price"
			);
		}
		for part in [pool.own_unbonding.part, pool.unbonding.part] {
			ensure!(part.is_open(), "5: worthless shares of this generation");
		}
		Ok(())
	}

	/// Checks invariants 11 and 12.
	fn try_state_of_indices() -> Result<(), TryRuntimeError> {
		let mut hardware = Hardware::default();
		let mut classes = alloc::collections::BTreeMap::<GpuClass, ClassTotals>::new();
		let mut idle = 0u32;
		for (worker, record) in Workers::<T>::iter() {
			let state = record.state();
			if !matches!(state, WorkerState::Online | WorkerState::Rented) {
				continue;
			}
			let (class, count) = record.gpus();
			hardware = hardware
				.checked_add(&Hardware::of(&record.spec, count))
				.ok_or("12: the totals overflow")?;
			let totals = classes.entry(class).or_default();
			if state == WorkerState::Rented {
				totals.rented += 1;
				totals.gpus_rented += u64::from(count);
				continue;
			}
			totals.online += 1;
			totals.gpus_online += u64::from(count);
			let (Some(place), Some((class, count))) = (record.place, record.shelf()) else {
				continue;
			};
			idle += 1;
			for (region, position) in [
				(None, place.by_class),
				(Some(record.spec.region), place.by_region),
			] {
				let bucket = Bucket {
					gpu_class: class,
					gpu_count: count,
					region,
				};
				ensure!(
					Self::at(bucket, position) == Some(worker),
					"11: a worker that is not at its place"
				);
			}
		}
		ensure!(hardware == Totals::<T>::get(), "12: the totals drifted");
		let kept: alloc::collections::BTreeMap<_, _> = TotalsByClass::<T>::iter().collect();
		ensure!(classes == kept, "12: the totals of a class drifted");

		let (mut by_class, mut by_region) = (0u32, 0u32);
		for (bucket, head) in BucketHeads::<T>::iter() {
			ensure!(head.len > 0, "11: an empty bucket");
			let all = if bucket.region.is_none() {
				&mut by_class
			} else {
				&mut by_region
			};
			*all += head.len;
			for page in 0..head.len.div_ceil(INDEX_PAGE) {
				let len = if page == 0 {
					head.first.len()
				} else {
					BucketPages::<T>::get((bucket, page)).len()
				};
				let expected = (head.len - page * INDEX_PAGE).min(INDEX_PAGE);
				ensure!(len == expected as usize, "11: a gap");
			}
		}
		ensure!(
			(by_class, by_region) == (idle, idle),
			"11: an index has other workers"
		);
		for ((bucket, page), _) in BucketPages::<T>::iter() {
			let len = BucketHeads::<T>::get(bucket).len;
			ensure!(
				page > 0 && page < len.div_ceil(INDEX_PAGE),
				"11: a page beyond its bucket"
			);
		}
		Ok(())
	}
}
