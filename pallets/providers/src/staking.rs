//! Stake: adding, unstaking, withdrawing and clearing it.

use super::*;

/// Maximum unbonding period and slash deferral, whatever the parameters say.
const MAX_PERIOD: BlockNumber = 365 * DAYS;

/// The calls.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_stake(who: T::AccountId, worker: WorkerId, amount: Balance) -> DispatchResult {
		ensure!(amount > 0, Error::<T>::ZeroAmount);
		let record = Self::registered(worker)?;
		if record.owner == who {
			Self::stake_own(who, worker, record, amount)
		} else {
			Self::delegate(who, worker, record, amount)
		}
	}

	fn stake_own(
		who: T::AccountId,
		worker: WorkerId,
		mut record: RecordOf<T>,
		amount: Balance,
	) -> DispatchResult {
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		let enough = Self::change_pool(worker, &mut record, |record| {
			let pool = &mut record.pool;
			pool.own.ensure_add_assign(amount)?;
			Self::ensure_cap(pool.bonded()?, pool.own, minimum)?;
			let enough = pool.own >= minimum;
			record.short &= !enough;
			Ok(enough)
		})?;
		T::Currency::transfer(&who, &Self::pot(), amount, Preservation::Preserve)?;
		Self::deposit_event(Event::Staked {
			worker,
			who,
			amount,
		});
		if enough && record.state() == WorkerState::Suspended {
			Self::set_state(worker, &mut record, WorkerState::Offline);
			Workers::<T>::insert(worker, record);
		}
		Ok(())
	}

	fn delegate(
		who: T::AccountId,
		worker: WorkerId,
		mut record: RecordOf<T>,
		amount: Balance,
	) -> DispatchResult {
		// The new stake would be slashed for a finding from before it came.
		ensure!(!record.queued.is_pending(), Error::<T>::SlashPending);
		ensure!(
			record.pool.delegated.is_open(),
			Error::<T>::DelegationClosed
		);
		Self::change_shares(worker, &mut record, &who, |record, held| {
			let pool = &mut record.pool;
			let bought = pool
				.delegated
				.add(amount)
				.ok_or(ArithmeticError::Overflow)?;
			let shares = held.ensure_add(bought)?;
			Self::ensure_delegation(pool, shares)?;
			ensure!(
				record
					.delegation_cap
					.is_none_or(|cap| pool.delegated.value <= cap),
				Error::<T>::DelegationCapReached
			);
			ensure!(
				pool.bonded()? <= T::MaxStake::get(),
				Error::<T>::StakeCapReached
			);
			if held == 0 {
				Self::add_entry(pool)?;
			}
			Ok((shares, ()))
		})?;
		T::Currency::transfer(&who, &Self::pot(), amount, Preservation::Preserve)?;
		Self::deposit_event(Event::Staked {
			worker,
			who,
			amount,
		});
		Ok(())
	}

	pub(crate) fn do_set_delegation_cap(
		who: T::AccountId,
		worker: WorkerId,
		new: Balance,
	) -> DispatchResult {
		let mut record = Self::owned(worker, &who)?;
		let old = record.delegation_cap.replace(new);
		Workers::<T>::insert(worker, record);
		Self::deposit_event(Event::DelegationCapSet { worker, old, new });
		Ok(())
	}

	pub(crate) fn do_unstake(
		who: T::AccountId,
		worker: WorkerId,
		amount: Balance,
	) -> DispatchResult {
		ensure!(amount > 0, Error::<T>::ZeroAmount);
		let record = Self::registered(worker)?;
		if record.owner == who {
			Self::unstake_own(who, worker, record, amount)
		} else {
			Self::undelegate(who, worker, record, amount)
		}
	}

	fn unstake_own(
		who: T::AccountId,
		worker: WorkerId,
		mut record: RecordOf<T>,
		amount: Balance,
	) -> DispatchResult {
		let left = record
			.pool
			.own
			.checked_sub(amount)
			.ok_or(Error::<T>::InsufficientStake)?;
		let minimum = Self::minimum_for(record.spec.gpu_class, record.spec.gpu_count)?;
		ensure!(left >= minimum, Error::<T>::StakeBelowMinimum);
		let room = T::MaxUnbonding::get().saturating_sub(1);
		let until = Self::unbonded_at()?;
		let queue = Self::change_pool(worker, &mut record, |record| {
			record.pool.own = left;
			Self::queued(worker, &who, record, amount, until, room)
		})?;
		Self::put_queue(worker, &who, queue, amount);
		Ok(())
	}

	fn undelegate(
		who: T::AccountId,
		worker: WorkerId,
		mut record: RecordOf<T>,
		amount: Balance,
	) -> DispatchResult {
		let until = Self::unbonded_at()?;
		let room = T::MaxUnbonding::get();
		let queue = Self::change_shares(worker, &mut record, &who, |record, held| {
			let pool = &mut record.pool;
			let worth = pool.delegated.worth(held).ok_or(Error::<T>::Defensive)?;
			ensure!(amount <= worth, Error::<T>::InsufficientStake);
			let burnt = pool
				.delegated
				.take(amount, held)
				.ok_or(ArithmeticError::Underflow)?;
			let left = held.ensure_sub(burnt)?;
			if left > 0 {
				Self::ensure_delegation(pool, left)?;
			} else {
				Self::drop_entry(pool)?;
			}
			let queue = Self::queued(worker, &who, record, amount, until, room)?;
			Ok((left, queue))
		})?;
		Self::put_queue(worker, &who, queue, amount);
		Ok(())
	}

	pub(crate) fn do_withdraw(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let mut record = Self::touched(worker)?;
		let owner = record.owner == who;
		let mut queue = Unbondings::<T>::get(worker, &who);
		// Delegators of a deregistered worker need not unstake.
		let released = record
			.released_at
			.map(|at| (at, Delegations::<T>::get(worker, &who)));
		let first = queue.iter().map(|piece| piece.until);
		let first = first.chain(released.filter(|(_, shares)| *shares > 0).map(|(at, _)| at));
		let first = first.min().filter(|until| *until <= Self::now());
		let first = first.ok_or(Error::<T>::NothingToWithdraw)?;
		let last = Self::withdrawn_to(&record);
		ensure!(
			last.is_some_and(|last| first <= last),
			Error::<T>::SlashPending
		);
		let is_ready = |until| last.is_some_and(|last| until <= last);

		let before = queue.len();
		let mut amount: Balance = 0;
		for piece in queue.iter().take_while(|piece| is_ready(piece.until)) {
			let worth = record
				.pool
				.unbonding_of(owner)
				.redeem(piece)
				.ok_or(ArithmeticError::Underflow)?;
			amount.ensure_add_assign(worth)?;
		}
		queue.retain(|piece| !is_ready(piece.until));
		let shares = released.map_or(0, |(at, shares)| if is_ready(at) { shares } else { 0 });
		let released = Self::redeem_all(worker, &mut record, &who, shares)?;
		let amount = amount.ensure_add(released)?;
		if before > 0 && queue.is_empty() {
			Self::drop_entry(&mut record.pool)?;
		}
		// The last withdrawal removes the record, which a check may still need.
		if record.is_empty() {
			Self::ensure_unchecked(worker, &record)?;
		}
		if amount > 0 {
			T::Currency::transfer(&Self::pot(), &who, amount, Preservation::Expendable)?;
		}
		Self::write_queue(worker, &who, queue);
		Self::deposit_event(Event::Withdrawn {
			worker,
			who,
			amount,
		});
		Self::store(worker, record)
	}

	pub(crate) fn do_clear_worthless(worker: WorkerId, who: T::AccountId) -> DispatchResult {
		let mut record = Self::touched(worker)?;
		let owner = record.owner == who;
		let held = Delegations::<T>::get(worker, &who);
		let worth = record.pool.delegated.worth(held);
		let shares = if worth.ok_or(Error::<T>::Defensive)? == 0 {
			held
		} else {
			0
		};
		let queue = Unbondings::<T>::get(worker, &who);
		let before = queue.len();
		let unbonding = record.pool.unbonding_of(owner);
		let mut kept = UnbondingsOf::<T>::default();
		for piece in queue {
			if unbonding.worth(&piece).ok_or(Error::<T>::Defensive)? == 0 {
				unbonding.redeem(&piece).ok_or(ArithmeticError::Underflow)?;
			} else {
				kept.try_push(piece).map_err(|_| Error::<T>::Defensive)?;
			}
		}
		let cleared = shares > 0 || kept.len() < before;
		// Of a deregistered worker, possibly only a check remained that is over by now.
		let over = record.is_empty() && Self::ensure_unchecked(worker, &record).is_ok();
		ensure!(cleared || over, Error::<T>::NothingWorthless);
		if before > 0 && kept.is_empty() {
			Self::drop_entry(&mut record.pool)?;
		}
		Self::redeem_all(worker, &mut record, &who, shares)?;
		Self::write_queue(worker, &who, kept);
		if cleared {
			Self::deposit_event(Event::WorthlessCleared {
				worker,
				who,
				shares,
			});
		}
		Self::store(worker, record)
	}
}

/// Changes of pools. Stake, delegators' shares and the commission of a registered worker change only here,
/// and Rewards is notified of each change.
impl<T: Config> Pallet<T> {
	/// Changes the pool of a worker, writes the record, and notifies Rewards.
	pub(crate) fn change_pool<R>(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		change: impl FnOnce(&mut RecordOf<T>) -> Result<R, DispatchError>,
	) -> Result<R, DispatchError> {
		let before = record.terms();
		let result = change(record)?;
		Workers::<T>::insert(worker, &*record);
		Self::pool_changed(worker, before, None)?;
		Ok(result)
	}

	/// Does the same for a change of a delegator's shares. `change` takes the shares that `who` holds, and
	/// returns the shares it holds afterwards.
	fn change_shares<R>(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		who: &T::AccountId,
		change: impl FnOnce(&mut RecordOf<T>, Balance) -> Result<(Balance, R), DispatchError>,
	) -> Result<R, DispatchError> {
		let terms = record.terms();
		let before = Delegations::<T>::get(worker, who);
		let (after, result) = change(record, before)?;
		if after == 0 {
			Delegations::<T>::remove(worker, who);
		} else {
			Delegations::<T>::insert(worker, who, after);
		}
		Workers::<T>::insert(worker, &*record);
		let shares = SharesChange { who, before, after };
		Self::pool_changed(worker, terms, Some(shares))?;
		Ok(result)
	}

	/// Takes all `shares` of a delegator out of the pool, and returns their value. Changes nothing if
	/// `shares` is zero.
	fn redeem_all(
		worker: WorkerId,
		record: &mut RecordOf<T>,
		who: &T::AccountId,
		shares: Balance,
	) -> Result<Balance, DispatchError> {
		if shares == 0 {
			return Ok(0);
		}
		Self::change_shares(worker, record, who, |record, held| {
			let pool = &mut record.pool;
			let worth = pool
				.delegated
				.redeem(held)
				.ok_or(ArithmeticError::Underflow)?;
			Self::drop_entry(pool)?;
			Ok((0, worth))
		})
	}

	/// Notifies Rewards of a change that was written.
	pub(crate) fn pool_changed(
		worker: WorkerId,
		before: PoolTerms,
		shares: Option<SharesChange<T::AccountId>>,
	) -> DispatchResult {
		T::OnPoolChange::on_change(PoolId::Worker(worker), before, shares)
	}
}

/// Helpers shared by the calls.
impl<T: Config> Pallet<T> {
	/// Returns the number of blocks for which stake unbonds: at least a day more than slashes are deferred.
	pub fn unbonding_period() -> BlockNumber {
		let unbonding = T::Unbonding::get().min(MAX_PERIOD);
		unbonding.max(Self::slash_deferral().saturating_add(DAYS))
	}

	/// Returns the number of blocks for which a slash is deferred.
	pub(crate) fn slash_deferral() -> BlockNumber {
		T::SlashDeferral::get().min(MAX_PERIOD)
	}

	/// Returns the first block in which stake that begins to unbond now may be withdrawn.
	pub(crate) fn unbonded_at() -> Result<BlockNumber, DispatchError> {
		Ok(Self::now().ensure_add(Self::unbonding_period())?)
	}

	/// Returns the last block in which stake must have finished unbonding to be withdrawn now: this one,
	/// or, while a slash is queued, the block of the deferral and a day ago. `None` if the chain was not
	/// that old yet.
	fn withdrawn_to(record: &RecordOf<T>) -> Option<BlockNumber> {
		let wait = if record.queued.is_pending() {
			Self::slash_deferral().saturating_add(DAYS)
		} else {
			0
		};
		Self::now().checked_sub(wait)
	}

	/// Ensures that a delegation of this many shares is not dust.
	fn ensure_delegation(pool: &StakePool, shares: Balance) -> DispatchResult {
		let worth = pool.delegated.worth(shares).ok_or(Error::<T>::Defensive)?;
		ensure!(
			worth >= T::Currency::minimum_balance(),
			Error::<T>::DelegationTooSmall
		);
		Ok(())
	}

	/// Moves `amount` to the unbonding part until block `until`, and returns the account's queue with the
	/// new piece, at most `room` pieces long. Worthless pieces are removed to make room.
	pub(crate) fn queued(
		worker: WorkerId,
		who: &T::AccountId,
		record: &mut RecordOf<T>,
		amount: Balance,
		until: BlockNumber,
		room: u32,
	) -> Result<UnbondingsOf<T>, DispatchError> {
		let owner = record.owner == *who;
		let mut queue = Unbondings::<T>::get(worker, who);
		if queue.is_empty() {
			Self::add_entry(&mut record.pool)?;
		}
		// The period may have been shortened: the queue must stay in order.
		let until = queue.last().map_or(until, |last| last.until.max(until));
		let unbonding = record.pool.unbonding_of(owner);
		let piece = unbonding
			.add(amount, until)
			.ok_or(ArithmeticError::Overflow)?;
		queue.retain(|kept| kept.generation == piece.generation);
		match queue.last_mut().filter(|last| last.until == until) {
			Some(last) => {
				last.shares.ensure_add_assign(piece.shares)?;
			}
			None => {
				ensure!((queue.len() as u32) < room, Error::<T>::TooManyUnbondings);
				queue
					.try_push(piece)
					.map_err(|_| Error::<T>::TooManyUnbondings)?;
			}
		}
		Ok(queue)
	}

	/// Writes a queue to which `amount` was just added.
	pub(crate) fn put_queue(
		worker: WorkerId,
		who: &T::AccountId,
		queue: UnbondingsOf<T>,
		amount: Balance,
	) {
		let until = queue.last().map_or_else(Self::now, |last| last.until);
		Self::write_queue(worker, who, queue);
		Self::deposit_event(Event::Unstaked {
			worker,
			who: who.clone(),
			amount,
			until,
		});
	}

	fn write_queue(worker: WorkerId, who: &T::AccountId, queue: UnbondingsOf<T>) {
		if queue.is_empty() {
			Unbondings::<T>::remove(worker, who);
		} else {
			Unbondings::<T>::insert(worker, who, queue);
		}
	}

	fn add_entry(pool: &mut StakePool) -> DispatchResult {
		Ok(pool.entries.ensure_add_assign(1)?)
	}

	fn drop_entry(pool: &mut StakePool) -> DispatchResult {
		pool.entries = pool
			.entries
			.checked_sub(1)
			.defensive()
			.ok_or(Error::<T>::Defensive)?;
		Ok(())
	}
}
