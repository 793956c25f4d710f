//! The members of pools: delegators of workers and license holders of operators, treated alike.
//!
//! A member's shares count for an epoch if they were held for all of it. So each pool and each member has
//! two figures: the current shares, and the eligible ones, held since the epoch began, which can only fall.
//! In every later epoch the two are the same, until the next change. So nothing has to be done when an epoch
//! ends, and one entry describes all epochs since.
//!
//! A settled reward raises the pool's rate by the earnings of an eligible share. A member whose shares were
//! all eligible has earned the difference of two rates. A member that joined or added during an epoch has
//! earned by fewer shares in it than after, and needs the rate at its end: a pool stores that rate
//! ([`Rates`]) when it leaves an epoch with such members, and removes it with the last of them.

use crate::{
	Config, Current, Error, Event, MemberPool, MemberPools, Members, NotedRate, Owed, Pallet,
	PoolMember, Rates, pallet::Carry, settlement::Terms,
};
use frame_support::{defensive, ensure, storage::with_storage_layer};
use kaisar_math::members::{self, PerShare};
use kaisar_primitives::{
	Balance, EpochIndex, OnPoolChange, PoolId, PoolTerms, PoolValue, SharesChange,
};
use sp_runtime::{
	DispatchError, DispatchResult,
	traits::{EnsureAddAssign, EnsureSubAssign, Zero},
};

impl MemberPool {
	/// Begins a later epoch, in which all current shares count. Returns the rate to store for the epoch that
	/// ended, if some member needs it.
	fn advance(&mut self, to: EpochIndex, owner: Balance) -> Option<(EpochIndex, NotedRate)> {
		let noted = (self.partial > 0).then_some((
			self.epoch,
			NotedRate {
				rate: self.rate,
				members: self.partial,
			},
		));
		self.epoch = to;
		self.eligible = self.shares;
		self.partial = 0;
		self.owner_least = owner;
		noted
	}

	/// Sets the shares of `member`. `None` if the sums do not add up.
	fn change(&mut self, member: &mut PoolMember, shares: u128, eligible: u128) -> Option<()> {
		let old = core::mem::replace(
			member,
			PoolMember {
				shares,
				eligible,
				..*member
			},
		);
		self.shares = self.shares.checked_sub(old.shares)?.checked_add(shares)?;
		self.eligible = self
			.eligible
			.checked_sub(old.eligible)?
			.checked_add(eligible)?;
		self.partial = self
			.partial
			.checked_sub(old.is_partial().into())?
			.checked_add(member.is_partial().into())?;
		Some(())
	}
}

impl<T: Config> Pallet<T> {
	fn advance(pool: PoolId, members: &mut MemberPool, to: EpochIndex, owner: Balance) {
		if members.epoch >= to {
			return;
		}
		if let Some((epoch, noted)) = members.advance(to, owner) {
			Rates::<T>::insert(pool, epoch, noted);
		}
	}

	/// Credits the members of a pool with their part of its `reward` of `epoch`, which is over, and brings
	/// them to epoch `now`. Returns that part.
	pub(crate) fn credit_members(
		pool: PoolId,
		epoch: EpochIndex,
		reward: Balance,
		now: EpochIndex,
		terms: Terms,
	) -> Result<Balance, DispatchError> {
		let Some(mut members) = MemberPools::<T>::get(pool) else {
			return Ok(0);
		};
		ensure!(
			members.epoch <= epoch,
			Self::inconsistent("members are never ahead of their pool's score")
		);
		// The terms at the end of `epoch`: every change since would have settled first.
		let PoolTerms { value, commission } = terms();
		Self::advance(pool, &mut members, epoch, value.owner);
		let part = members::part(
			reward,
			commission.in_epoch(epoch),
			&members::Members {
				owner: value.owner.min(members.owner_least),
				value: value.members,
				shares: value.shares,
				eligible: members.eligible,
			},
		);
		if part > 0 {
			members.rate = PerShare::of(part, members.eligible)
				.and_then(|earned| members.rate.checked_add(earned))
				.ok_or(Error::<T>::Overflow)?;
			members.left.ensure_add_assign(part)?;
			Self::deposit_event(Event::MembersRewarded {
				pool,
				epoch,
				amount: part,
			});
		}
		Self::advance(pool, &mut members, now, value.owner);
		MemberPools::<T>::insert(pool, members);
		Ok(part)
	}

	/// Brings the members of a pool, whose score is settled up to epoch `now`, to that epoch.
	pub(crate) fn roll_members(pool: PoolId, now: EpochIndex, terms: Terms) {
		if let Some(mut members) = MemberPools::<T>::get(pool)
			&& members.epoch < now
		{
			Self::advance(pool, &mut members, now, terms().value.owner);
			MemberPools::<T>::insert(pool, members);
		}
	}

	/// Notes the value of a worker's pool before a change: the owner's stake, which may be the least of the
	/// epoch, and whether the members' shares are worth nothing.
	fn note_value(pool: PoolId, value: &PoolValue) {
		if !matches!(pool, PoolId::Worker(_)) {
			return;
		}
		if let Some(mut members) = MemberPools::<T>::get(pool) {
			let worthless = value.members == 0 && value.shares > 0;
			if value.owner < members.owner_least || worthless != members.worthless {
				members.owner_least = members.owner_least.min(value.owner);
				members.worthless = worthless;
				MemberPools::<T>::insert(pool, members);
			}
		}
	}

	/// Settles a member up to the epoch of its pool. The caller stores the record.
	pub(crate) fn roll_member(
		pool: PoolId,
		members: &MemberPool,
		member: &mut PoolMember,
	) -> DispatchResult {
		if member.epoch == members.epoch {
			return Ok(());
		}
		let earned = |rate: PerShare, since, shares| {
			rate.earned(since, shares)
				.ok_or(DispatchError::from(Error::<T>::Overflow))
		};
		let mut since = member.seen;
		let mut owed = member.owed;
		if member.is_partial() {
			let rate = Self::take_note(pool, member.epoch)?;
			owed = owed
				.checked_add(earned(rate, since, member.eligible)?)
				.ok_or(Error::<T>::Overflow)?;
			since = rate;
		}
		owed = owed
			.checked_add(earned(members.rate, since, member.shares)?)
			.ok_or(Error::<T>::Overflow)?;
		*member = PoolMember {
			epoch: members.epoch,
			shares: member.shares,
			eligible: member.shares,
			seen: members.rate,
			owed,
		};
		Ok(())
	}

	/// Takes the rate that a pool stored at the end of `epoch`, for one of the members that need it.
	fn take_note(pool: PoolId, epoch: EpochIndex) -> Result<PerShare, DispatchError> {
		let NotedRate { rate, members } = Rates::<T>::get(pool, epoch)
			.ok_or_else(|| Self::inconsistent("a rate is noted for all members that need it"))?;
		match members.checked_sub(1) {
			None | Some(0) => Rates::<T>::remove(pool, epoch),
			Some(members) => Rates::<T>::insert(pool, epoch, NotedRate { rate, members }),
		}
		Ok(rate)
	}

	/// Stores a member and its pool. A member without shares and without a whole unit to claim, now or when
	/// the epoch is settled, is removed, and with the last member the pool; what rounding left in the pool
	/// carries over.
	pub(crate) fn keep_member(
		pool: PoolId,
		who: &T::AccountId,
		mut members: MemberPool,
		member: PoolMember,
	) -> DispatchResult {
		if member.shares > 0 || member.is_partial() || member.owed.whole() > 0 {
			Members::<T>::insert(who, pool, member);
		} else {
			Members::<T>::remove(who, pool);
			members.members = members
				.members
				.checked_sub(1)
				.ok_or_else(|| Self::inconsistent("a pool counts its members"))?;
		}
		if members.members > 0 {
			MemberPools::<T>::insert(pool, members);
			return Ok(());
		}
		MemberPools::<T>::remove(pool);
		let pot = Self::pot_of(pool);
		Owed::<T>::try_mutate(pot, |owed| {
			owed.ensure_sub_assign(members.left)?;
			Ok::<_, DispatchError>(())
		})?;
		Self::grow::<Carry<T>>(pot, members.left)
	}

	/// Sets a member's new shares. The pool must be settled.
	fn change_shares(
		pool: PoolId,
		owner: Balance,
		change: SharesChange<T::AccountId>,
	) -> DispatchResult {
		let SharesChange {
			who,
			before: old,
			after: new,
		} = change;
		let mut members = MemberPools::<T>::get(pool)
			.unwrap_or_else(|| MemberPool::new(Current::<T>::get().index, owner));
		let mut member = match Members::<T>::get(who, pool) {
			Some(member) => member,
			None => {
				members.members.ensure_add_assign(1)?;
				PoolMember::new(members.epoch, members.rate)
			}
		};
		Self::roll_member(pool, &members, &mut member)?;
		if member.shares != old {
			defensive!("a pool's registry tells of every change", (pool, old));
		}
		let eligible = if frame_system::Pallet::<T>::block_number().is_zero() {
			// Shares at genesis are held for the whole of the first epoch.
			new
		} else if members.worthless {
			// Anyone may clear such shares. They earned until they were slashed, and clearing them does not
			// take that from their holders.
			member.eligible
		} else {
			member.eligible.min(new)
		};
		members
			.change(&mut member, new, eligible)
			.ok_or_else(|| Self::inconsistent("a pool's shares are its members'"))?;
		Self::keep_member(pool, who, members, member)
	}

	/// Returns the error for a state that cannot occur, and reports it as a defect.
	pub(crate) fn inconsistent(why: &'static str) -> DispatchError {
		defensive!(why);
		Error::<T>::Inconsistent.into()
	}
}

impl<T: Config> OnPoolChange<T::AccountId> for Pallet<T> {
	/// Settles the pool on the terms before the change, then the member whose shares changed.
	fn on_change(
		pool: PoolId,
		before: PoolTerms,
		shares: Option<SharesChange<T::AccountId>>,
	) -> DispatchResult {
		with_storage_layer(|| {
			Self::roll_on(pool, &|| before)?;
			Self::note_value(pool, &before.value);
			match shares {
				Some(change) => Self::change_shares(pool, before.value.owner, change),
				None => Ok(()),
			}
		})
	}
}
