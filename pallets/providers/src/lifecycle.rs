//! The life of a worker: registration, changes, absence and return, deregistration; and its state.

use super::*;
use kaisar_math::emission::MAX_SUPPLY;
use kaisar_primitives::{AnnounceError, Commission};

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_register(
		who: T::AccountId,
		spec: WorkerSpec,
		keys: WorkerKeys,
		stake: Balance,
		proof: KeyProof,
	) -> DispatchResult {
		let minimum = Self::ensure_spec(&spec)?;
		Self::ensure_keys(&who, None, &keys, &proof)?;
		ensure!(stake >= minimum, Error::<T>::StakeBelowMinimum);
		Self::ensure_cap(stake, stake, minimum)?;

		let worker = Self::insert(&who, spec, keys, stake)?;
		let fee = T::RegistrationFee::get();
		T::Currency::transfer(&who, &T::FeeDestination::get(), fee, Preservation::Preserve)?;
		T::Currency::transfer(&who, &Self::pot(), stake, Preservation::Preserve)?;
		Self::deposit_event(Event::WorkerRegistered {
			worker,
			owner: who,
			spec,
			stake,
		});
		Self::mutate(worker, |record| {
			Self::schedule_verification(worker, record);
			Ok(())
		})
	}

	pub(crate) fn do_update(
		who: T::AccountId,
		worker: WorkerId,
		spec: WorkerSpec,
	) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		ensure!(
			record.state() != WorkerState::Suspended,
			Error::<T>::WorkerSuspended
		);
		Self::ensure_unchecked(worker, &record)?;
		let minimum = Self::ensure_spec(&spec)?;
		ensure!(record.pool.own >= minimum, Error::<T>::StakeBelowMinimum);

		let fee = T::RegistrationFee::get();
		T::Currency::transfer(&who, &T::FeeDestination::get(), fee, Preservation::Preserve)?;
		Self::deposit_event(Event::WorkerUpdated {
			worker,
			old: record.spec,
			new: spec,
		});
		// Remove it from the totals while the record still has the claim it was counted by.
		Self::set_state(worker, &mut record, WorkerState::Pending);
		record.spec = spec;
		record.profile = record.profile.map(|profile| profile.lesser(&spec.bound()));
		Self::schedule_verification(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	pub(crate) fn do_set_commission(
		who: T::AccountId,
		worker: WorkerId,
		new: Perbill,
	) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		let epoch = T::CurrentEpoch::get();
		let old = record.commission.in_epoch(epoch);
		let from = Self::change_pool(worker, &mut record, |record| {
			record
				.commission
				.announce(new, epoch)
				.map_err(Self::announce_error)
		})?;
		Self::deposit_event(Event::CommissionSet {
			worker,
			old,
			new,
			from,
		});
		Ok(())
	}

	fn announce_error(error: AnnounceError) -> DispatchError {
		match error {
			AnnounceError::Pending => Error::<T>::CommissionPending.into(),
			AnnounceError::LastEpoch => ArithmeticError::Overflow.into(),
		}
	}

	pub(crate) fn do_set_price_floor(
		who: T::AccountId,
		worker: WorkerId,
		new: Balance,
	) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		let could_be_rented = Self::floor_is_within(&record, T::Prices::today);
		let old = core::mem::replace(&mut record.price_floor, new);
		if !could_be_rented && new < old {
			record.waits_from = T::Checks::next_round();
		}
		Self::relist(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::PriceFloorSet { worker, old, new });
		Ok(())
	}

	pub(crate) fn do_go_offline(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		match record.state() {
			WorkerState::Pending | WorkerState::Online => {}
			WorkerState::Suspended => return Err(Error::<T>::WorkerSuspended.into()),
			WorkerState::Offline | WorkerState::Rented => {
				return Err(Error::<T>::WrongState.into());
			}
		}

		Self::leave(worker, &mut record, WorkerState::Offline);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	pub(crate) fn do_go_online(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		match record.state() {
			WorkerState::Pending | WorkerState::Offline => {}
			WorkerState::Suspended => return Err(Error::<T>::WorkerSuspended.into()),
			WorkerState::Online | WorkerState::Rented => return Err(Error::<T>::WrongState.into()),
		}
		let next_round = T::Checks::next_round();
		ensure!(
			record.forced.is_none_or(|forced| forced.round < next_round),
			Error::<T>::AlreadyDue
		);
		Self::ensure_unchecked(worker, &record)?;
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		ensure!(record.pool.own >= minimum, Error::<T>::StakeBelowMinimum);

		Self::set_state(worker, &mut record, WorkerState::Pending);
		Self::schedule_verification(worker, &mut record);
		Workers::<T>::insert(worker, record);
		Ok(())
	}

	pub(crate) fn do_deregister(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		Self::ensure_not_rented(&record)?;
		let ticket = record
			.deposit
			.take()
			.defensive()
			.ok_or(Error::<T>::Defensive)?;

		let amount = record.pool.own;
		let until = Self::unbonded_at()?;
		let queue = Self::change_pool(worker, &mut record, |record| {
			if amount == 0 {
				return Ok(None);
			}
			record.pool.own = 0;
			// The last place in the queue is reserved for this.
			let room = T::MaxUnbonding::get();
			Self::queued(worker, &who, record, amount, until, room).map(Some)
		})?;
		if let Some(queue) = queue {
			Self::put_queue(worker, &who, queue, amount);
		}
		// Delegated stake unbonds in place.
		record.released_at = Some(until);
		ticket.drop(&who)?;
		// From here on no counter includes the worker, whatever its state.
		Self::count(record.state(), None);
		Self::leave(worker, &mut record, WorkerState::Offline);
		WorkersByOwner::<T>::remove(&who, worker);
		Self::deposit_event(Event::WorkerDeregistered { worker, owner: who });
		Self::store(worker, record)
	}
}

/// Guards.
impl<T: Config> Pallet<T> {
	/// Touches the worker, so that a finished check is closed, and returns its record, even if it was
	/// deregistered.
	pub(crate) fn touched(worker: WorkerId) -> Result<RecordOf<T>, DispatchError> {
		T::Checks::touch(worker);
		Workers::<T>::get(worker).ok_or_else(|| Error::<T>::UnknownWorker.into())
	}

	/// Touches the worker and returns its record, provided that it is registered.
	pub(crate) fn registered(worker: WorkerId) -> Result<RecordOf<T>, DispatchError> {
		let record = Self::touched(worker)?;
		ensure!(!record.is_gone(), Error::<T>::UnknownWorker);
		Ok(record)
	}

	/// Touches the worker and returns its record, provided that it is registered and `who` owns it.
	pub(crate) fn owned(
		worker: WorkerId,
		who: &T::AccountId,
	) -> Result<RecordOf<T>, DispatchError> {
		let record = Self::registered(worker)?;
		ensure!(record.owner == *who, Error::<T>::NotOwner);
		Ok(record)
	}

	/// Ensures that the claim is valid, and returns the minimum stake for it.
	fn ensure_spec(spec: &WorkerSpec) -> Result<Balance, DispatchError> {
		ensure!(
			T::Classes::score(spec.gpu_class).is_some(),
			Error::<T>::UnknownGpuClass
		);
		ensure!(
			hardware::gpus_fit(spec.gpu_class, spec.gpu_count),
			Error::<T>::GpuCountMismatch
		);
		ensure!(regions::is_known(spec.region), Error::<T>::UnknownRegion);
		ensure!(!hardware::has_zero(spec), Error::<T>::ZeroHardware);
		ensure!(!hardware::is_too_large(spec), Error::<T>::ClaimTooLarge);
		Self::minimum_for(spec.gpu_class, spec.gpu_count)
	}

	/// Ensures that the pool does not exceed its maximum, unless the owner only reaches the minimum.
	pub(crate) fn ensure_cap(bonded: Balance, own: Balance, minimum: Balance) -> DispatchResult {
		ensure!(
			bonded <= T::MaxStake::get() || own <= minimum,
			Error::<T>::StakeCapReached
		);
		Ok(())
	}

	pub(crate) fn ensure_not_rented(record: &RecordOf<T>) -> DispatchResult {
		ensure!(
			record.state() != WorkerState::Rented,
			Error::<T>::WorkerRented
		);
		Ok(())
	}

	/// Ensures that nothing can still be held against the worker, so that its owner may change what a check
	/// relies on.
	pub(crate) fn ensure_unchecked(worker: WorkerId, record: &RecordOf<T>) -> DispatchResult {
		// A mark for a round that is about to start cannot be moved either.
		let fixed = record.forced.is_some_and(Self::is_in_flight);
		ensure!(
			!fixed && !T::Checks::is_held(worker),
			Error::<T>::CheckRunning
		);
		Ok(())
	}
}

/// Helpers shared by calls and checks.
impl<T: Config> Pallet<T> {
	/// Returns the account that holds all stake.
	pub fn pot() -> T::AccountId {
		T::PalletId::get().into_account_truncating()
	}

	pub(crate) fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Returns the size of a worker's entries together: the record, two keys, and its place among its
	/// owner's.
	pub fn footprint() -> Footprint {
		let keys = 2 * <(WorkerKey, WorkerId)>::max_encoded_len();
		let owner = <(T::AccountId, WorkerId)>::max_encoded_len();
		Footprint::from_parts(1, RecordOf::<T>::max_encoded_len() + keys + owner)
	}

	pub(crate) fn minimum_for(
		gpu_class: GpuClass,
		gpu_count: u8,
	) -> Result<Balance, DispatchError> {
		let score = T::Classes::score(gpu_class).ok_or(Error::<T>::UnknownGpuClass)?;
		// Capping at the supply of KAI keeps every product from overflowing, so calls fail with their own
		// errors.
		let [base, per_score] =
			[T::BaseStake::get(), T::StakePerScore::get()].map(|amount| amount.min(MAX_SUPPLY));
		kaisar_math::stake::minimum(base, per_score, score, gpu_count)
			.ok_or_else(|| ArithmeticError::Overflow.into())
	}

	/// Changes a record, and then lists or unlists the worker as needed.
	pub(crate) fn mutate<R>(
		worker: WorkerId,
		change: impl FnOnce(&mut RecordOf<T>) -> Result<R, DispatchError>,
	) -> Result<R, DispatchError> {
		Workers::<T>::try_mutate(worker, |record| {
			let record = record.as_mut().ok_or(Error::<T>::UnknownWorker)?;
			let result = change(record)?;
			Self::relist(worker, record);
			Ok(result)
		})
	}

	/// Inserts a new worker, `Pending`, and takes its deposit.
	pub(crate) fn insert(
		owner: &T::AccountId,
		spec: WorkerSpec,
		keys: WorkerKeys,
		stake: Balance,
	) -> Result<WorkerId, DispatchError> {
		let worker = NextWorkerId::<T>::get();
		let next = worker.checked_add(1).ok_or(Error::<T>::TooManyWorkers)?;
		let deposit = T::Consideration::new(owner, Self::footprint())?;

		NextWorkerId::<T>::put(next);
		Self::reserve_keys(worker, &keys);
		WorkersByOwner::<T>::insert(owner, worker, ());
		Self::count(None, WorkerState::Pending);
		let record = WorkerRecord {
			owner: owner.clone(),
			deposit: Some(deposit),
			released_at: None,
			spec,
			keys: Timeline::new(keys, 0),
			standings: Standings::new(WorkerState::Pending, T::Checks::next_round()),
			forced: None,
			profile: None,
			false_proofs: None,
			charged_to: 0,
			time: PendingTime::default(),
			proved_at: None,
			history: History::default(),
			unproved: false,
			below: false,
			undecided: false,
			failures: 0,
			retry_from: 0,
			price_floor: 0,
			waits_from: 0,
			commission: Commission::default(),
			delegation_cap: None,
			order: None,
			barred_until: 0,
			place: None,
			short: false,
			queued: QueuedSlashes::default(),
			pool: StakePool::new(stake),
		};
		Workers::<T>::insert(worker, record);
		Ok(worker)
	}

	/// Moves the worker to `new`, counted from the next round. It leaves the indices; if it can be rented,
	/// it is listed again when the record is written ([`mutate`](Self::mutate)).
	///
	/// The worker must have been touched: an open check belongs to a round in flight, whose state is
	/// recorded.
	pub(crate) fn set_state(worker: WorkerId, record: &mut RecordOf<T>, new: WorkerState) {
		let old = record.state();
		if old == new {
			return;
		}
		let since = T::Checks::next_round();
		Self::leave_indices(record);
		Self::take_off(record);
		let in_flight = T::Checks::in_flight();
		record.standings.change(new, since, &in_flight);
		Self::add_up(record);
		record.time = match new {
			WorkerState::Rented => PendingTime::rent(Self::now()),
			_ => PendingTime::default(),
		};
		if !matches!(new, WorkerState::Online | WorkerState::Rented) {
			// It will be verified before it returns.
			record.unproved = false;
			record.below = false;
			record.undecided = false;
		}
		if !record.is_gone() {
			Self::count(old, new);
		}
		Self::deposit_event(Event::WorkerStateChanged {
			worker,
			old,
			new,
			since,
		});
	}

	/// Moves the worker to `state`, in which it is away. A check in which it is due now goes on.
	pub(crate) fn leave(worker: WorkerId, record: &mut RecordOf<T>, state: WorkerState) {
		Self::drop_coming_mark(record);
		Self::set_state(worker, record, state);
	}

	/// Drops a mark for a round that has not started.
	pub(crate) fn drop_coming_mark(record: &mut RecordOf<T>) {
		let next_round = T::Checks::next_round();
		record.forced = record.forced.filter(|forced| forced.round < next_round);
	}

	/// Counts a worker that leaves one state and enters another.
	fn count(old: impl Into<Option<WorkerState>>, new: impl Into<Option<WorkerState>>) {
		Counts::<T>::mutate(|counts| {
			if let Some(old) = old.into() {
				let count = counts.of(old);
				*count = count.checked_sub(1).defensive_unwrap_or(0);
			}
			if let Some(new) = new.into() {
				let count = counts.of(new);
				*count = count.checked_add(1).defensive_unwrap_or(u32::MAX);
			}
		})
	}

	/// Writes the record, or removes it if the worker was deregistered, nothing of it remains, and no check
	/// of it is open.
	pub(crate) fn store(worker: WorkerId, record: RecordOf<T>) -> DispatchResult {
		if record.is_empty() && Self::ensure_unchecked(worker, &record).is_ok() {
			Self::remove(worker, record)
		} else {
			Workers::<T>::insert(worker, record);
			Ok(())
		}
	}

	/// Removes the record of a deregistered worker of which nothing remains.
	fn remove(worker: WorkerId, record: RecordOf<T>) -> DispatchResult {
		let terms = record.terms();
		Self::release_all_keys(worker, &record);
		let WorkerRecord {
			owner, commission, ..
		} = record;
		Workers::<T>::remove(worker);
		T::Checks::forget(worker);
		DepartedWorkers::<T>::insert(worker, Departed { owner, commission });
		Self::pool_changed(worker, terms, None)?;
		Self::deposit_event(Event::WorkerRemoved { worker });
		Ok(())
	}
}
