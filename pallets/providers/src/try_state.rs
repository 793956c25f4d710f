//! The pallet's invariants: one function for each, with its number.

use super::*;
use alloc::collections::BTreeMap;
use sp_runtime::TryRuntimeError;

/// The records of all workers, read once.
type Records<T> = [(WorkerId, RecordOf<T>)];

impl<T: Config> Pallet<T> {
	/// Checks the pallet's invariants.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		let records: Vec<(WorkerId, RecordOf<T>)> = Workers::<T>::iter().collect();
		Self::check_pot(&records)?;
		Self::check_counters(&records)?;
		Self::check_keys(&records)?;
		Self::check_owners_index(&records)?;
		Self::check_pools(&records)?;
		Self::check_orders(&records)?;
		Self::check_pending_time(&records)?;
		Self::check_deregistered(&records)?;
		Self::check_marks(&records)?;
		Self::check_slashes(&records)?;
		Self::check_indices(&records)?;
		Self::check_totals(&records)?;
		Self::check_minimum_stake(&records)?;
		Self::check_charges(&records)?;
		Self::check_profiles(&records)?;
		Self::check_proofs_owed(&records)?;
		Self::check_standings(&records)
	}

	/// Checks invariant 1: the pot's balance covers all pools.
	fn check_pot(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let mut pot: Balance = 0;
		for (_, record) in records {
			let total = record.pool.total().map_err(|_| "1: a pool overflows")?;
			pot = pot.checked_add(total).ok_or("1: the pools overflow")?;
		}
		let balance = T::Currency::total_balance(&Self::pot());
		ensure!(balance >= pot, "1: the pot does not cover the pools");
		Ok(())
	}

	/// Checks invariant 2: every number below the next one has either a record or a note of departure; the
	/// counters are those of a recount.
	fn check_counters(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let next = NextWorkerId::<T>::get();
		let mut counts = StateCounts::default();
		for (worker, record) in records {
			ensure!(*worker < next, "2: a worker that was never registered");
			ensure!(
				!DepartedWorkers::<T>::contains_key(worker),
				"2: a worker with both a record and a note of departure"
			);
			if !record.is_gone() {
				*counts.of(record.state()) += 1;
			}
		}
		ensure!(counts == Counts::<T>::get(), "2: the counters drifted");
		let departed = DepartedWorkers::<T>::iter_keys().count() as u32;
		ensure!(
			records.len() as u32 + departed == next,
			"2: workers are missing"
		);
		Ok(())
	}

	/// Checks invariant 3: keys reserved for a registered worker are indexed to it; every indexed key is in
	/// its worker's record.
	fn check_keys(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let next_round = T::Checks::next_round();
		for (worker, record) in records {
			if record.is_gone() {
				continue;
			}
			for keys in record.reserved_keys(next_round) {
				ensure!(
					WorkerByKey::<T>::get(&keys.worker) == Some(*worker),
					"3: a worker key that is not indexed"
				);
				ensure!(
					WorkerByAgent::<T>::get(keys.agent) == Some(*worker),
					"3: an agent key that is not indexed"
				);
			}
		}
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
		Ok(())
	}

	/// Checks invariant 4: the owners' index holds exactly the workers that are not deregistered.
	fn check_owners_index(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let mut present = 0u32;
		for (worker, record) in records {
			let listed = WorkersByOwner::<T>::contains_key(&record.owner, worker);
			ensure!(
				listed != record.is_gone(),
				"4: the owners' index and the record disagree"
			);
			if !record.is_gone() {
				present += 1;
			}
		}
		ensure!(
			WorkersByOwner::<T>::iter().count() as u32 == present,
			"4: the index has other workers"
		);
		Ok(())
	}

	/// Checks invariant 5: a pool's shares are those of its delegations, and its unbonding shares those of
	/// the pieces of the current generation, the owner's and the delegators' apart; queues are in order and
	/// never empty; a part of value has shares, at no less than the lowest price; the number of entries is
	/// right.
	fn check_pools(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (worker, record) in records {
			Self::check_pool(*worker, record)?;
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

	/// Checks invariant 5 for one worker.
	fn check_pool(worker: WorkerId, record: &RecordOf<T>) -> Result<(), TryRuntimeError> {
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
			let (unbonding, sum) = if who == record.owner {
				(&pool.own_unbonding, &mut own)
			} else {
				(&pool.unbonding, &mut others)
			};
			for piece in queue {
				ensure!(
					piece.generation <= unbonding.generation,
					"5: a piece of a future generation"
				);
				if piece.generation == unbonding.generation {
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

	/// Checks invariant 6: a worker is `Rented` if and only if it has an order.
	fn check_orders(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			ensure!(
				(record.state() == WorkerState::Rented) == record.order.is_some(),
				"6: rented without an order, or an order without rent"
			);
		}
		Ok(())
	}

	/// Checks invariant 7: rented time is pending if and only if the worker is `Rented`, and does not start
	/// in the future.
	fn check_pending_time(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			ensure!(
				(record.state() == WorkerState::Rented) == record.time.since.is_some(),
				"7: rented without pending time, or pending time without rent"
			);
			ensure!(
				record.time.since.is_none_or(|since| since <= Self::now()),
				"7: pending time that starts in the future"
			);
		}
		Ok(())
	}

	/// Checks invariant 8: a deregistered worker is `Offline`, has no stake except unbonding stake, and
	/// records the block in which its delegators' has unbonded.
	fn check_deregistered(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			if !record.is_gone() {
				continue;
			}
			ensure!(
				record.state() == WorkerState::Offline,
				"8: deregistered but not offline"
			);
			ensure!(record.pool.own == 0, "8: deregistered with stake");
			ensure!(
				record.released_at.is_some(),
				"8: deregistered without a block of release"
			);
		}
		Ok(())
	}

	/// Checks invariant 9: marks name spot rounds, none further ahead than the longest delay.
	fn check_marks(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let last = T::Checks::next_round().saturating_add(SPOT_STEP * MAX_DELAY);
		for (_, record) in records {
			let Some(forced) = record.forced else {
				continue;
			};
			ensure!(
				forced.round.is_multiple_of(SPOT_STEP),
				"9: a mark for a census"
			);
			ensure!(forced.round <= last, "9: a mark beyond the longest delay");
		}
		Ok(())
	}

	/// Checks invariant 10: a worker's queued rates are the sum of its slashes' rates; no slash has a rate
	/// of zero; a slash to which findings are added is that worker's.
	fn check_slashes(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let mut queued = BTreeMap::<WorkerId, u128>::new();
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
		for (worker, record) in records {
			ensure!(
				record.queued.rates == queued.remove(worker).unwrap_or(0),
				"10: the queued rate is not the sum of the slashes"
			);
			for id in [record.queued.offline, record.queued.malice]
				.into_iter()
				.flatten()
			{
				ensure!(
					Slashes::<T>::get(id).is_some_and(|slash| slash.worker == *worker),
					"10: findings are added to another worker's slash, or to none"
				);
			}
		}
		ensure!(queued.is_empty(), "10: a slash of an unknown worker");
		Ok(())
	}

	/// Checks invariant 11: the indices hold only workers that can be rented, by their floors as last
	/// judged, each at its recorded place, without gaps; and all such workers that neither a bar nor a floor
	/// keeps out.
	fn check_indices(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let mut idle = 0u32;
		for (worker, record) in records {
			let free = record.state() == WorkerState::Online && !record.is_marked();
			let shelf = record.shelf().filter(|_| free);
			let Some(place) = record.place else {
				// A mark used up by an open check keeps its worker out until the check closes.
				let kept_out = record.barred_until > 0
					|| record.price_floor > 0
					|| T::Checks::is_open(*worker);
				ensure!(
					shelf.is_none() || kept_out,
					"11: a worker that can be rented is not listed"
				);
				continue;
			};
			let (gpu_class, gpu_count) =
				shelf.ok_or("11: a place of a worker that cannot be rented")?;
			ensure!(
				record.barred_until <= Self::now(),
				"11: a place of a barred worker"
			);
			idle += 1;
			for (region, position) in [
				(None, place.by_class),
				(Some(record.spec.region), place.by_region),
			] {
				let bucket = Bucket {
					gpu_class,
					gpu_count,
					region,
				};
				ensure!(
					Self::at(bucket, position) == Some(*worker),
					"11: a worker that is not at its place"
				);
			}
		}
		Self::check_buckets(idle)
	}

	/// Checks invariant 11 for the indices themselves, which hold `idle` workers.
	fn check_buckets(idle: u32) -> Result<(), TryRuntimeError> {
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

	/// Checks invariant 12: the totals, and those by class, are those of a recount.
	fn check_totals(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let mut hardware = Hardware::default();
		let mut classes = BTreeMap::<GpuClass, ClassTotals>::new();
		for (_, record) in records {
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
			} else {
				totals.online += 1;
				totals.gpus_online += u64::from(count);
			}
		}
		ensure!(hardware == Totals::<T>::get(), "12: the totals drifted");
		let kept: BTreeMap<_, _> = TotalsByClass::<T>::iter().collect();
		ensure!(classes == kept, "12: the totals of a class drifted");
		Ok(())
	}

	/// Checks invariant 13: a worker whose owner's stake a slash left below the minimum is not `Online`.
	fn check_minimum_stake(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			ensure!(
				!(record.short && record.state() == WorkerState::Online),
				"13: online below the minimum"
			);
		}
		Ok(())
	}

	/// Checks invariant 14: time is charged at most a day in advance, and at least a day by a second
	/// consecutive false proof.
	fn check_charges(records: &Records<T>) -> Result<(), TryRuntimeError> {
		let now = Self::now();
		for (_, record) in records {
			ensure!(
				record.charged_to <= now.saturating_add(DAYS),
				"14: charged more than a day in advance"
			);
			let Some(row) = record.false_proofs else {
				continue;
			};
			ensure!(
				row.in_a_row > 0 && row.since <= now,
				"14: an empty run, or one that starts in the future"
			);
			let day = row.since.saturating_add(DAYS);
			let charged =
				row.charged >= kaisar_math::stake::malice_rate(0) && record.charged_to >= day;
			ensure!(
				row.in_a_row == 1 || charged,
				"14: two consecutive false proofs but no day charged"
			);
		}
		Ok(())
	}

	/// Checks invariant 15: a profile never exceeds the claim.
	fn check_profiles(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			let bound = record.spec.bound();
			ensure!(
				record
					.profile
					.is_none_or(|profile| profile.lesser(&bound) == profile),
				"15: a profile beyond the claim"
			);
		}
		Ok(())
	}

	/// Checks invariant 16: only an `Online` or `Rented` worker has something to prove to remain so.
	fn check_proofs_owed(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			ensure!(
				matches!(record.state(), WorkerState::Online | WorkerState::Rented)
					|| !(record.unproved || record.below || record.undecided),
				"16: a worker that is away has something to prove"
			);
		}
		Ok(())
	}

	/// Checks invariant 17: a worker's states are in the order of their rounds.
	fn check_standings(records: &Records<T>) -> Result<(), TryRuntimeError> {
		for (_, record) in records {
			ensure!(record.standings.is_ordered(), "17: states out of order");
		}
		Ok(())
	}
}
