//! Claims, and views of claimable amounts.

use crate::{
	CheckerClaims, Config, DelegationPage, Error, Event, MemberPools, Members, Owed, Pallet, VKai,
	WorkerScores,
};
use frame_support::{
	ensure,
	storage::{TransactionOutcome, with_transaction},
	traits::{fungible::Mutate, tokens::Preservation},
};
use kaisar_primitives::{Balance, Checks, MAX_PAGE, PoolId, Pools, Pot, Seats, WorkerId};
use sp_runtime::{
	DispatchError, DispatchResult,
	traits::{EnsureAddAssign, EnsureSub, EnsureSubAssign},
};

impl<T: Config> Pallet<T> {
	/// Pays `amount` that a pot owes, in KAI.
	pub(crate) fn pay(pot: Pot, who: &T::AccountId, amount: Balance) -> DispatchResult {
		let owed = Owed::<T>::get(pot).ensure_sub(amount)?;
		let account = Self::pot_account(pot);
		T::Currency::transfer(&account, who, amount, Preservation::Preserve)?;
		Owed::<T>::insert(pot, owed);
		Ok(())
	}

	/// Credits claimable earnings as vKAI: the checker pot owes as much as before.
	fn credit_vkai(who: &T::AccountId, amount: Balance) -> DispatchResult {
		VKai::<T>::try_mutate(who, |vkai| {
			vkai.ensure_add_assign(amount)?;
			Ok(())
		})
	}

	pub(crate) fn do_claim_worker(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let owner = T::Pools::owner(PoolId::Worker(worker)).ok_or(Error::<T>::UnknownPool)?;
		ensure!(owner == who, Error::<T>::NotOwner);
		T::Checks::touch(worker);
		Self::roll(PoolId::Worker(worker))?;
		let mut record = WorkerScores::<T>::get(worker).ok_or(Error::<T>::NothingToClaim)?;
		let amount = core::mem::take(&mut record.claimable);
		ensure!(amount > 0, Error::<T>::NothingToClaim);
		Self::pay(Pot::Providers, &who, amount)?;
		WorkerScores::<T>::insert(worker, record);
		Self::deposit_event(Event::WorkerClaimed {
			worker,
			who,
			amount,
		});
		Ok(())
	}

	pub(crate) fn do_claim_checker(who: T::AccountId) -> DispatchResult {
		if let Some(operator) = T::Operators::number(&who) {
			Self::roll(PoolId::Checker(operator))?;
		}
		let amount = CheckerClaims::<T>::take(&who);
		ensure!(amount > 0, Error::<T>::NothingToClaim);
		Self::credit_vkai(&who, amount)?;
		Self::deposit_event(Event::CheckerClaimed { who, amount });
		Ok(())
	}

	pub(crate) fn do_claim_delegation(who: T::AccountId, pool: PoolId) -> DispatchResult {
		ensure!(T::Pools::owner(pool).is_some(), Error::<T>::UnknownPool);
		Self::roll(pool)?;
		let mut member = Members::<T>::get(&who, pool).ok_or(Error::<T>::NothingToClaim)?;
		let mut members = MemberPools::<T>::get(pool)
			.ok_or_else(|| Self::inconsistent("a pool with a member is there"))?;
		Self::roll_member(pool, &members, &mut member)?;
		let amount = member.owed.take_whole();
		ensure!(amount > 0, Error::<T>::NothingToClaim);
		members.left.ensure_sub_assign(amount)?;
		match pool {
			PoolId::Worker(_) => Self::pay(Pot::Providers, &who, amount)?,
			PoolId::Checker(_) => Self::credit_vkai(&who, amount)?,
		}
		Self::keep_member(pool, &who, members, member)?;
		Self::deposit_event(Event::DelegationClaimed { pool, who, amount });
		Ok(())
	}

	/// Returns the result of `work` and rolls its writes back, so that a view takes the same path as the
	/// call whose outcome it shows.
	fn tried(work: impl FnOnce() -> Result<Balance, DispatchError>) -> Balance {
		// A pool that cannot be settled has nothing to claim.
		with_transaction(|| TransactionOutcome::Rollback(work())).unwrap_or(0)
	}

	pub(crate) fn do_claimable_from(pool: PoolId) -> Balance {
		Self::tried(|| match pool {
			PoolId::Worker(worker) => {
				Self::roll(pool)?;
				Ok(WorkerScores::<T>::get(worker).map_or(0, |record| record.claimable))
			}
			PoolId::Checker(_) => {
				let Some(account) = T::Pools::owner(pool) else {
					return Ok(0);
				};
				let settled = CheckerClaims::<T>::get(&account);
				Self::roll(pool)?;
				Ok(CheckerClaims::<T>::get(&account).ensure_sub(settled)?)
			}
		})
	}

	pub(crate) fn do_claimable(who: &T::AccountId) -> Balance {
		Self::tried(|| {
			if let Some(operator) = T::Operators::number(who) {
				Self::roll(PoolId::Checker(operator))?;
			}
			Ok(CheckerClaims::<T>::get(who))
		})
	}

	pub(crate) fn do_claimable_delegation(pool: PoolId, who: &T::AccountId) -> Balance {
		Self::tried(|| {
			Self::roll(pool)?;
			let (Some(mut member), Some(members)) =
				(Members::<T>::get(who, pool), MemberPools::<T>::get(pool))
			else {
				return Ok(0);
			};
			Self::roll_member(pool, &members, &mut member)?;
			Ok(member.owed.whole())
		})
	}

	pub(crate) fn do_delegations(
		who: &T::AccountId,
		after: Option<PoolId>,
		limit: u32,
	) -> DelegationPage {
		let limit = limit.clamp(1, MAX_PAGE) as usize;
		let pools = match after {
			None => Members::<T>::iter_key_prefix(who),
			Some(pool) => {
				let start = Members::<T>::hashed_key_for(who, pool);
				Members::<T>::iter_key_prefix_from(who, start)
			}
		};
		let claims: alloc::vec::Vec<_> = pools
			.take(limit)
			.map(|pool| (pool, Self::do_claimable_delegation(pool, who)))
			.collect();
		let next = (claims.len() == limit)
			.then(|| claims.last().map(|(pool, _)| *pool))
			.flatten();
		DelegationPage { claims, next }
	}
}
