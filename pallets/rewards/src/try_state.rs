//! The invariants of the pallet's storage, numbered as in `docs/spec/05-rewards.md`, "Invariants".

use crate::{
	CheckerClaims, CheckerScores, ClassReferences, ClassScores, Config, Current, Epochs,
	MemberPool, MemberPools, Members, NextRedemptionId, Oldest, Owed, Pallet, PoolMember, Rates,
	Redemptions, Scores, VKai, Validators, WorkerScores, pallet::Carry,
};
use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::{
	ensure,
	traits::{Get, fungible::Inspect},
};
use kaisar_math::{
	members::Exact,
	reward::{WorkerReward, rent_limit},
};
use kaisar_primitives::{Balance, EpochIndex, PoolId, Pools, Pot};
use sp_runtime::{
	TryRuntimeError,
	traits::{EnsureAdd, EnsureAddAssign},
};

impl<T: Config> Pallet<T> {
	/// Checks the invariants. The fourth, that a repeated claim pays nothing, whatever the order of claims,
	/// is left to tests.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		Self::try_epochs()?;
		Self::try_classes()?;
		Self::try_fees()?;
		Self::try_owed()?;
		Self::try_pots()?;
		Self::try_scores()?;
		Self::try_unsettled()?;
		Self::try_members()?;
		Self::try_claims()?;
		Self::try_rates()
	}

	/// Checks invariant 0: an epoch has blocks; the supply is within its cap; the validators' share is noted
	/// up to the running epoch; the history holds the epochs from the oldest kept to the last one.
	fn try_epochs() -> Result<(), TryRuntimeError> {
		let current = Current::<T>::get();
		ensure!(current.length > 0, "0: an epoch has blocks");
		ensure!(
			Validators::<T>::get().until.saturating_add(1) >= current.start,
			"0: validators are due for all blocks of past epochs"
		);
		ensure!(
			T::Currency::total_issuance() <= T::MaxSupply::get(),
			"0: the supply is within its cap"
		);
		for (epoch, totals) in Epochs::<T>::iter() {
			ensure!(
				(Oldest::<T>::get()..current.index).contains(&epoch) && totals.expires > epoch,
				"0: the history ends where it should"
			);
		}
		Ok(())
	}

	/// Checks invariant 0: a class with references has a score, and its references are valid and in the
	/// order of their rounds.
	fn try_classes() -> Result<(), TryRuntimeError> {
		for (class, all) in ClassReferences::<T>::iter() {
			ensure!(
				ClassScores::<T>::contains_key(class),
				"0: a class with a reference has a score"
			);
			ensure!(
				!all.is_empty() && all.is_sorted_by(|before, after| before.since < after.since),
				"0: references are in the order of their rounds"
			);
			ensure!(
				all.iter()
					.all(|dated| dated.value.is_none_or(|one| one.is_valid())),
				"0: work can be sized by every reference"
			);
		}
		Ok(())
	}

	/// Checks invariant 1: rented blocks are paid by their fees, of an epoch and of a worker.
	fn try_fees() -> Result<(), TryRuntimeError> {
		for totals in Epochs::<T>::iter_values() {
			ensure!(
				totals.rent_reward <= totals.poc_reward.ensure_add(totals.pod_reward)?
					&& totals.rent_reward <= rent_limit(totals.pod_fee_cap, totals.fees),
				"1: rented blocks are paid by their fees"
			);
		}
		for record in WorkerScores::<T>::iter_values() {
			let Some(totals) = Epochs::<T>::get(record.epoch) else {
				continue;
			};
			ensure!(
				Self::reward_of_worker(&record, &totals)?.rent
					<= rent_limit(totals.pod_fee_cap, record.fees),
				"1: rented blocks are paid by their fees"
			);
		}
		Ok(())
	}

	/// Checks invariant 1: the amount that each pot owes is the sum of what can be claimed from it.
	fn try_owed() -> Result<(), TryRuntimeError> {
		let current = Current::<T>::get();
		let mut providers = 0u128;
		for record in WorkerScores::<T>::iter_values() {
			ensure!(
				record.epoch <= current.index,
				"1: no score is of the future"
			);
			providers.ensure_add_assign(record.claimable)?;
		}
		let mut checkers = 0u128;
		for amount in CheckerClaims::<T>::iter_values().chain(VKai::<T>::iter_values()) {
			checkers.ensure_add_assign(amount)?;
		}
		let mut ids = BTreeSet::new();
		for open in Redemptions::<T>::iter_values() {
			ensure!(!open.is_empty(), "1: no account without redemptions");
			for redemption in open {
				ensure!(
					ids.insert(redemption.id) && redemption.id < NextRedemptionId::<T>::get(),
					"1: redemptions have numbers of their own"
				);
				checkers.ensure_add_assign(redemption.pays)?;
			}
		}
		for (pool, members) in MemberPools::<T>::iter() {
			let owed = match Self::pot_of(pool) {
				Pot::Providers => &mut providers,
				Pot::Checkers => &mut checkers,
			};
			owed.ensure_add_assign(members.left)?;
		}
		ensure!(
			providers == Owed::<T>::get(Pot::Providers),
			"1: owed to workers' owners and delegators"
		);
		ensure!(
			checkers == Owed::<T>::get(Pot::Checkers),
			"1: owed to operators, license holders and whoever has vKAI"
		);
		Ok(())
	}

	/// Checks invariant 1: Σ paid + Σ claimable ≤ Σ put into a pot, per pot and per epoch; the pot covers
	/// what it owes.
	fn try_pots() -> Result<(), TryRuntimeError> {
		for pot in [Pot::Providers, Pot::Checkers] {
			let mut all = Carry::<T>::get(pot).ensure_add(Owed::<T>::get(pot))?;
			for totals in Epochs::<T>::iter_values() {
				let shared = match pot {
					Pot::Providers => totals.rent_reward.ensure_add(totals.idle_reward)?,
					Pot::Checkers => totals.checker_reward,
				};
				ensure!(
					totals.left(pot) <= shared,
					"1: no epoch pays more than it has"
				);
				all.ensure_add_assign(totals.left(pot))?;
			}
			ensure!(
				Self::free_of(&Self::pot_account(pot)) >= all,
				"1: a pot covers what it owes"
			);
		}
		Ok(())
	}

	/// Checks invariant 2: an epoch's total score = Σ of its pools' scores; in a past epoch at least that of
	/// those not settled yet.
	fn try_scores() -> Result<(), TryRuntimeError> {
		let current = Current::<T>::get();
		let mut sums = BTreeMap::<EpochIndex, (Scores, Balance)>::new();
		for record in WorkerScores::<T>::iter_values() {
			let (sum, fees) = sums.entry(record.epoch).or_default();
			sum.idle.ensure_add_assign(record.idle)?;
			sum.rented.ensure_add_assign(record.rented)?;
			sum.pod.ensure_add_assign(record.pod)?;
			fees.ensure_add_assign(record.fees)?;
		}
		for record in CheckerScores::<T>::iter_values() {
			ensure!(
				record.correct <= record.seats,
				"2: no more correct seats than seats"
			);
			let (sum, _) = sums.entry(record.epoch).or_default();
			sum.checkers.ensure_add_assign(record.score())?;
		}
		let running = sums.remove(&current.index).unwrap_or_default();
		ensure!(
			running == (current.scores, current.fees),
			"2: the running totals are the sums of the scores"
		);
		for (epoch, (sum, fees)) in sums {
			let Some(totals) = Epochs::<T>::get(epoch) else {
				continue;
			};
			ensure!(
				sum.idle <= totals.scores.idle
					&& sum.rented <= totals.scores.rented
					&& sum.pod <= totals.scores.pod
					&& sum.checkers <= totals.scores.checkers
					&& fees <= totals.fees,
				"2: no more scores than their total"
			);
		}
		Ok(())
	}

	/// Checks invariant 1: an epoch still has the rewards of all workers and operators not settled for it.
	fn try_unsettled() -> Result<(), TryRuntimeError> {
		let mut unpaid = BTreeMap::<EpochIndex, (Balance, Balance)>::new();
		for record in WorkerScores::<T>::iter_values() {
			if let Some(totals) = Epochs::<T>::get(record.epoch) {
				let WorkerReward {
					idle,
					rent,
					carried,
				} = Self::reward_of_worker(&record, &totals)?;
				let workers = &mut unpaid.entry(record.epoch).or_default().0;
				let due = idle.ensure_add(rent)?.ensure_add(carried)?;
				workers.ensure_add_assign(due)?;
			}
		}
		for record in CheckerScores::<T>::iter_values() {
			if let Some(totals) = Epochs::<T>::get(record.epoch) {
				let checkers = &mut unpaid.entry(record.epoch).or_default().1;
				checkers.ensure_add_assign(Self::reward_of_checker(&record, &totals)?)?;
			}
		}
		for (epoch, (workers, checkers)) in unpaid {
			let totals = Epochs::<T>::get(epoch).ok_or("2: just read")?;
			ensure!(
				workers <= totals.providers_left && checkers <= totals.checkers_left,
				"1: an epoch covers what is not settled of it"
			);
		}
		Ok(())
	}

	/// Checks invariant 3: a pool's eligible shares = Σ of its members' eligible shares; likewise its other
	/// figures about its members.
	fn try_members() -> Result<(), TryRuntimeError> {
		let mut sums = BTreeMap::<PoolId, MemberPool>::new();
		for (who, pool, member) in Members::<T>::iter() {
			let members = MemberPools::<T>::get(pool).ok_or("3: a member's pool is there")?;
			ensure!(member.epoch <= members.epoch, "3: no member is ahead");
			let ended = T::Pools::terms(pool).value.shares == 0;
			ensure!(
				ended || T::Pools::shares(pool, &who) == member.shares,
				"3: a member has the shares that the registry says"
			);
			let sum = sums.entry(pool).or_insert_with(|| MemberPool::new(0, 0));
			let running = member.epoch == members.epoch;
			sum.shares.ensure_add_assign(member.shares)?;
			sum.eligible.ensure_add_assign(if running {
				member.eligible
			} else {
				member.shares
			})?;
			sum.members = sum.members.saturating_add(1);
			if running && member.is_partial() {
				sum.partial = sum.partial.saturating_add(1);
			}
		}
		for (pool, members) in MemberPools::<T>::iter() {
			let sum = sums.remove(&pool).ok_or("3: no pool without members")?;
			ensure!(
				members.eligible == sum.eligible,
				"3: a pool's eligible shares are its members'"
			);
			ensure!(
				members.shares == sum.shares,
				"3: a pool's shares are its members'"
			);
			ensure!(
				(members.members, members.partial) == (sum.members, sum.partial),
				"3: a pool counts its members"
			);
			let value = T::Pools::terms(pool).value;
			ensure!(
				value.shares == 0 || value.shares == members.shares,
				"3: a pool has the shares that the registry says"
			);
		}
		Ok(())
	}

	/// Checks invariant 1: a pool has the amounts that its members can claim.
	fn try_claims() -> Result<(), TryRuntimeError> {
		let mut sums = BTreeMap::<PoolId, Exact>::new();
		for (_, pool, member) in Members::<T>::iter() {
			let members = MemberPools::<T>::get(pool).ok_or("3: a member's pool is there")?;
			let due = Self::due_to(pool, &members, &member)?;
			let owed = sums.entry(pool).or_default();
			*owed = owed.checked_add(due).ok_or("3: owed is in range")?;
		}
		for (pool, members) in MemberPools::<T>::iter() {
			let owed = sums.remove(&pool).unwrap_or_default();
			ensure!(
				owed <= Exact::from_whole(members.left),
				"1: a pool covers what its members can claim"
			);
		}
		Ok(())
	}

	/// Checks invariant 3: a pool's rate at the end of a past epoch is stored exactly for the members whose
	/// eligible shares differed in that epoch.
	fn try_rates() -> Result<(), TryRuntimeError> {
		let mut notes = BTreeMap::<(PoolId, EpochIndex), u32>::new();
		for (_, pool, member) in Members::<T>::iter() {
			let members = MemberPools::<T>::get(pool).ok_or("3: a member's pool is there")?;
			if member.epoch != members.epoch && member.is_partial() {
				let count = notes.entry((pool, member.epoch)).or_default();
				*count = count.saturating_add(1);
			}
		}
		for (pool, epoch, noted) in Rates::<T>::iter() {
			ensure!(
				notes.remove(&(pool, epoch)) == Some(noted.members),
				"3: a rate is noted for as many as need it"
			);
		}
		ensure!(notes.is_empty(), "3: every rate that is needed is noted");
		Ok(())
	}

	/// Returns the amount that a member can claim, as far as its pool is settled.
	fn due_to(
		pool: PoolId,
		members: &MemberPool,
		member: &PoolMember,
	) -> Result<Exact, TryRuntimeError> {
		let mut since = member.seen;
		let mut owed = member.owed;
		let mut eligible = member.shares;
		if member.epoch == members.epoch {
			eligible = member.eligible;
		} else if member.is_partial() {
			let noted = Rates::<T>::get(pool, member.epoch).ok_or("3: a rate is noted")?;
			let earned = noted.rate.earned(since, member.eligible);
			owed = earned
				.and_then(|earned| owed.checked_add(earned))
				.ok_or("3: owed is in range")?;
			since = noted.rate;
		}
		members
			.rate
			.earned(since, eligible)
			.and_then(|earned| owed.checked_add(earned))
			.ok_or(TryRuntimeError::Other("3: owed is in range"))
	}
}
