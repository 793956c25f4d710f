//! Settlement: a pool's score of an epoch that is over becomes a claimable reward.

use crate::{
	CheckerClaims, CheckerScore, CheckerScores, Config, Current, EpochTotals, Epochs, Error, Event,
	Owed, Pallet, WorkerScore, WorkerScores, pallet::Carry,
};
use frame_support::ensure;
use kaisar_math::reward::{self, Work, WorkerReward};
use kaisar_primitives::{
	Balance, Checks, EpochIndex, OperatorId, PoolId, PoolTerms, Pools, Pot, WorkerId,
};
use sp_runtime::{
	DispatchError, DispatchResult,
	traits::{EnsureAdd, EnsureAddAssign, EnsureSub, EnsureSubAssign},
};

/// The terms on which a pool is settled, computed only where needed: most calls find the pool settled.
pub(crate) type Terms<'a> = &'a dyn Fn() -> PoolTerms;

impl<T: Config> Pallet<T> {
	/// Returns the reward of a worker's score, by the totals of its epoch.
	pub(crate) fn reward_of_worker(
		record: &WorkerScore,
		totals: &EpochTotals,
	) -> Result<WorkerReward, DispatchError> {
		totals
			.division()
			.pay(&record.work())
			.ok_or(Error::<T>::Overflow.into())
	}

	/// Returns the reward of an operator's score, by the totals of its epoch.
	pub(crate) fn reward_of_checker(
		record: &CheckerScore,
		totals: &EpochTotals,
	) -> Result<Balance, DispatchError> {
		reward::share(
			record.score(),
			totals.checker_reward,
			totals.scores.checkers,
		)
		.ok_or(Error::<T>::Overflow.into())
	}

	/// Settles a worker's record up to the running epoch, `now`. The caller stores the record.
	pub(crate) fn roll_worker(
		worker: WorkerId,
		record: &mut WorkerScore,
		now: EpochIndex,
		terms: Terms,
	) -> DispatchResult {
		if record.epoch >= now {
			return Ok(());
		}
		let old = *record;
		*record = WorkerScore {
			epoch: now,
			claimable: old.claimable,
			..Default::default()
		};
		if old.work() == Work::default() {
			return Ok(());
		}
		let (pool, epoch) = (PoolId::Worker(worker), old.epoch);
		let Some(mut totals) = Epochs::<T>::get(epoch) else {
			Self::deposit_event(Event::Expired { pool, epoch });
			return Ok(());
		};
		let WorkerReward {
			idle,
			rent,
			carried,
		} = Self::reward_of_worker(&old, &totals)?;
		let reward = idle.ensure_add(rent)?;
		totals.providers_left = totals
			.providers_left
			.ensure_sub(reward.ensure_add(carried)?)?;
		Epochs::<T>::insert(epoch, totals);
		Self::grow::<Carry<T>>(Pot::Providers, carried)?;
		let owners = Self::settled(pool, epoch, reward, carried, now, terms)?;
		record.claimable = old.claimable.ensure_add(owners)?;
		Ok(())
	}

	/// Settles an operator's record up to the running epoch, `now`, and credits its account. The caller
	/// stores the record.
	pub(crate) fn roll_checker(
		operator: OperatorId,
		record: &mut CheckerScore,
		now: EpochIndex,
		terms: Terms,
	) -> DispatchResult {
		if record.epoch >= now {
			return Ok(());
		}
		let old = *record;
		*record = CheckerScore {
			epoch: now,
			..Default::default()
		};
		if old.correct == 0 {
			return Ok(());
		}
		let (pool, epoch) = (PoolId::Checker(operator), old.epoch);
		let Some(mut totals) = Epochs::<T>::get(epoch) else {
			Self::deposit_event(Event::Expired { pool, epoch });
			return Ok(());
		};
		let Some(account) = T::Pools::owner(pool) else {
			// The operator's record was pruned before the check with its seat was closed. The reward stays
			// in the epoch and carries over with it.
			return Ok(());
		};
		let reward = Self::reward_of_checker(&old, &totals)?;
		totals.checkers_left.ensure_sub_assign(reward)?;
		Epochs::<T>::insert(epoch, totals);
		let owners = Self::settled(pool, epoch, reward, 0, now, terms)?;
		if owners > 0 {
			CheckerClaims::<T>::try_mutate(&account, |claim| {
				claim.ensure_add_assign(owners)?;
				Ok::<_, DispatchError>(())
			})?;
		}
		Ok(())
	}

	/// Records that a pool's `reward` of `epoch` is owed from now on, and credits the members with their
	/// part. Returns the owner's.
	fn settled(
		pool: PoolId,
		epoch: EpochIndex,
		reward: Balance,
		carried: Balance,
		now: EpochIndex,
		terms: Terms,
	) -> Result<Balance, DispatchError> {
		Self::grow::<Owed<T>>(Self::pot_of(pool), reward)?;
		Self::deposit_event(Event::Settled {
			pool,
			epoch,
			reward,
			carried,
		});
		let members = Self::credit_members(pool, epoch, reward, now, terms)?;
		Ok(reward.ensure_sub(members)?)
	}

	/// Returns the pot that pays a pool.
	pub(crate) fn pot_of(pool: PoolId) -> Pot {
		match pool {
			PoolId::Worker(_) => Pot::Providers,
			PoolId::Checker(_) => Pot::Checkers,
		}
	}

	pub(crate) fn grow<M>(pot: Pot, amount: Balance) -> DispatchResult
	where
		M: frame_support::StorageMap<Pot, Balance, Query = Balance>,
	{
		if amount == 0 {
			return Ok(());
		}
		M::try_mutate(pot, |sum| {
			sum.ensure_add_assign(amount)?;
			Ok(())
		})
	}

	/// Settles a pool's score of an earlier epoch, and brings its members to the running one. Changes
	/// nothing if both are done.
	///
	/// The score comes first: a pool's members are never ahead of it.
	pub(crate) fn roll(pool: PoolId) -> DispatchResult {
		Self::roll_on(pool, &Self::terms_of(pool))
	}

	/// Does the same on the given terms, those that held until now.
	pub(crate) fn roll_on(pool: PoolId, terms: Terms) -> DispatchResult {
		let now = Current::<T>::get().index;
		match pool {
			PoolId::Worker(worker) => {
				if let Some(mut record) = WorkerScores::<T>::get(worker)
					&& record.epoch < now
				{
					Self::roll_worker(worker, &mut record, now, terms)?;
					WorkerScores::<T>::insert(worker, record);
				}
			}
			PoolId::Checker(operator) => {
				if let Some(mut record) = CheckerScores::<T>::get(operator)
					&& record.epoch < now
				{
					Self::roll_checker(operator, &mut record, now, terms)?;
					CheckerScores::<T>::insert(operator, record);
				}
			}
		}
		Self::roll_members(pool, now, terms);
		Ok(())
	}

	/// Returns the pool's current terms, for a pool that no call is changing.
	pub(crate) fn terms_of(pool: PoolId) -> impl Fn() -> PoolTerms {
		move || T::Pools::terms(pool)
	}

	pub(crate) fn do_settle(pool: PoolId) -> DispatchResult {
		ensure!(T::Pools::owner(pool).is_some(), Error::<T>::UnknownPool);
		if let PoolId::Worker(worker) = pool {
			T::Checks::touch(worker);
		}
		Self::roll(pool)
	}
}
