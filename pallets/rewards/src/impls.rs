//! Epochs, scores, settlement and claims.

use crate::{
	CheckerClaims, CheckerScore, CheckerScores, ClassScores, Config, Current, EpochTotals, Epochs,
	Error, Event, LOG_TARGET, Oldest, Owed, Pallet, Reserve, RunningEpoch, Scores, Table, VKai,
	Validators, WorkerScore, WorkerScores, pallet::Carry,
};
use frame_support::{
	defensive, ensure,
	storage::with_storage_layer,
	traits::{
		Get,
		fungible::{Inspect, Mutate},
		tokens::Preservation,
	},
};
use kaisar_math::{
	Hardware, Schedule, ScoreTable,
	emission::within_cap,
	reward::{self, Pots as Divided, WorkerReward},
	score,
};
use kaisar_primitives::{
	Balance, BlockNumber, Checks, EpochIndex, GpuClass, OnClosed, OnPoolChange, OperatorId, PoolId,
	Pools, Pot, Pots, Proved, Seats, WorkerId,
};
use sp_runtime::{
	ArithmeticError, DispatchError, DispatchResult,
	traits::{AccountIdConversion, SaturatedConversion},
};

/// Most epochs that are dropped when one ends. One comes and one goes; the second lets the history
/// catch up after its depth was lowered.
const DROPS_PER_EPOCH: u32 = 2;

impl RunningEpoch {
	/// Whether block `now` is the first after the epoch.
	pub fn is_over(&self, now: BlockNumber) -> bool {
		now.saturating_sub(self.start) >= self.length
	}

	/// The block before the epoch's first.
	fn before(&self) -> BlockNumber {
		self.start.saturating_sub(1)
	}
}

fn add(a: u128, b: u128) -> Result<u128, DispatchError> {
	a.checked_add(b).ok_or(ArithmeticError::Overflow.into())
}

fn sub(a: u128, b: u128) -> Result<u128, DispatchError> {
	a.checked_sub(b).ok_or(ArithmeticError::Underflow.into())
}

// Accounts and emission.
impl<T: Config> Pallet<T> {
	/// The account of a pot.
	pub fn pot_account(pot: Pot) -> T::AccountId {
		T::PalletId::get().into_sub_account_truncating(match pot {
			Pot::Providers => b"prov",
			Pot::Checkers => b"chck",
		})
	}

	/// The account of the checkers' reserve.
	pub fn reserve_account() -> T::AccountId {
		T::PalletId::get().into_sub_account_truncating(b"rsrv")
	}

	/// What an account can pay out and still exist.
	#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
	pub(crate) fn free_of(account: &T::AccountId) -> Balance {
		T::Currency::reducible_balance(
			account,
			Preservation::Preserve,
			frame_support::traits::tokens::Fortitude::Polite,
		)
	}

	/// Gives the pots their existential deposit and the reserve its KAI, at genesis.
	pub(crate) fn found(reserve: Balance) -> DispatchResult {
		for pot in [Pot::Providers, Pot::Checkers] {
			let account = Self::pot_account(pot);
			let least = T::Currency::minimum_balance();
			if T::Currency::balance(&account) < least {
				T::Currency::mint_into(&account, least)?;
			}
			// Whatever else a preset put there is the first epoch's.
			Carry::<T>::insert(pot, sub(T::Currency::balance(&account), least)?);
		}
		if reserve > 0 {
			T::Currency::mint_into(&Self::reserve_account(), reserve)?;
			Reserve::<T>::put(reserve);
		}
		Ok(())
	}

	pub(crate) fn do_emission_left() -> Balance {
		let now = frame_system::Pallet::<T>::block_number().saturated_into();
		Schedule::KAISAR.left(now)
	}

	/// Brings the validators' due share up to block `until`, by today's split.
	fn note_validators(until: BlockNumber) -> Balance {
		let mut due = Validators::<T>::get();
		let emission = Schedule::KAISAR.emitted(due.until, until);
		let share = T::Split::get().of(emission).validators;
		match due.amount.checked_add(share) {
			Some(amount) => {
				due.amount = amount;
				due.until = due.until.max(until);
				Validators::<T>::put(due);
			}
			None => {
				defensive!("the emission is below 2¹²⁸");
			}
		}
		due.amount
	}

	/// The validators' and nominators' share of the emission that was not taken yet, up to the block
	/// before this one. Whoever calls it must mint it: for the era payout of `pallet-staking`.
	pub fn take_validators_share() -> Balance {
		let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
		let amount = Self::note_validators(now.saturating_sub(1));
		Validators::<T>::mutate(|due| due.amount = 0);
		within_cap(
			amount,
			T::MaxSupply::get(),
			T::Currency::total_issuance(),
			0,
		)
	}

	/// Mints into a pot as much of `amount` as the cap has room for.
	fn mint_into_pot(pot: Pot, amount: Balance, validators: Balance) -> Balance {
		let issued = T::Currency::total_issuance();
		let amount = within_cap(amount, T::MaxSupply::get(), issued, validators);
		if amount == 0 {
			return 0;
		}
		match T::Currency::mint_into(&Self::pot_account(pot), amount) {
			Ok(minted) => minted,
			Err(error) => {
				defensive!("a pot exists, and the supply is below its cap", error);
				0
			}
		}
	}

	/// Moves into the checker pot the part of the reserve that goes out with the epoch's blocks.
	fn release_reserve(after: BlockNumber, to: BlockNumber) -> Balance {
		let Some(part) = Schedule::KAISAR.released(Reserve::<T>::get(), after, to) else {
			defensive!("a part of the reserve is not more than the reserve");
			return 0;
		};
		if part == 0 {
			return 0;
		}
		let (from, into) = (Self::reserve_account(), Self::pot_account(Pot::Checkers));
		match T::Currency::transfer(&from, &into, part, Preservation::Expendable) {
			Ok(moved) => moved,
			Err(error) => {
				defensive!("the reserve holds what is not out yet", error);
				0
			}
		}
	}
}

// Epochs.
impl<T: Config> Pallet<T> {
	/// Ends the epoch that runs; `now` is the first block of the next. Mints, notes, opens, drops.
	pub(crate) fn end_epoch(current: RunningEpoch, now: BlockNumber) {
		let RunningEpoch {
			index,
			start,
			scores,
			..
		} = current;
		let end = now.saturating_sub(1);
		let due = Self::note_validators(end);
		let shares = T::Split::get().of(Schedule::KAISAR.emitted(current.before(), end));
		let providers = Self::mint_into_pot(Pot::Providers, shares.providers, due);
		let checkers = Self::mint_into_pot(Pot::Checkers, shares.checkers, due);
		let reserve = Self::release_reserve(current.before(), end);

		let (mut carry_providers, mut carry_checkers) = (
			Carry::<T>::get(Pot::Providers),
			Carry::<T>::get(Pot::Checkers),
		);
		// All KAI there is: sums of it are far from 2¹²⁸.
		let providers = carry_providers.saturating_add(providers);
		let checkers = carry_checkers
			.saturating_add(checkers)
			.saturating_add(reserve);

		let divided = T::Ratio::get()
			.pots(providers, scores.poc, scores.pod)
			.unwrap_or_else(|| {
				defensive!("scores are below 2¹²⁸");
				Divided {
					carried: providers,
					..Default::default()
				}
			});
		carry_providers = divided.carried;
		let checker_reward = if scores.checkers == 0 { 0 } else { checkers };
		carry_checkers = checkers.saturating_sub(checker_reward);

		let totals = EpochTotals {
			start,
			end,
			scores,
			poc_reward: divided.poc,
			pod_reward: divided.pod,
			checker_reward,
			pod_fee_cap: T::PodFeeCap::get(),
			providers_left: divided.poc.saturating_add(divided.pod),
			checkers_left: checker_reward,
		};
		Epochs::<T>::insert(index, totals);

		let next = index.saturating_add(1);
		for dropped in Self::drop_epochs(next) {
			carry_providers = carry_providers.saturating_add(dropped.providers_left);
			carry_checkers = carry_checkers.saturating_add(dropped.checkers_left);
		}
		Carry::<T>::insert(Pot::Providers, carry_providers);
		Carry::<T>::insert(Pot::Checkers, carry_checkers);
		Current::<T>::put(RunningEpoch {
			index: next,
			start: now,
			length: T::EpochLength::get().max(1),
			scores: Scores::default(),
		});
		log::info!(target: LOG_TARGET, "epoch {index} ended with block {end}: {totals:?}");
		Self::deposit_event(Event::EpochEnded {
			epoch: index,
			providers: totals.providers_left,
			checkers: checker_reward,
			poc_score: scores.poc,
			pod_score: scores.pod,
			checker_score: scores.checkers,
		});
	}

	/// Takes the epochs out of the history that are too old when `running` begins, at most
	/// [`DROPS_PER_EPOCH`] of them.
	fn drop_epochs(running: EpochIndex) -> impl Iterator<Item = EpochTotals> {
		let oldest = Oldest::<T>::get();
		let first = running.saturating_sub(T::HistoryDepth::get().max(1));
		let until = first
			.min(oldest.saturating_add(DROPS_PER_EPOCH))
			.max(oldest);
		if until > oldest {
			Oldest::<T>::put(until);
		}
		(oldest..until).filter_map(Epochs::<T>::take)
	}
}

// Scores.
impl<T: Config> Pallet<T> {
	/// The score of one GPU of a class, in hundredths: 0 without a GPU, `None` for an unknown class.
	pub fn score_of_class(class: GpuClass) -> Option<u32> {
		if class == 0 {
			Some(0)
		} else {
			ClassScores::<T>::get(class)
		}
	}

	fn do_proved(worker: WorkerId, proved: &Proved) -> DispatchResult {
		let profile = &proved.profile;
		let hardware = Hardware {
			bandwidth: profile.bandwidth,
			cpu: profile.cpu,
			memory: profile.memory,
			disk: profile.disk,
			class_score: Self::score_of_class(profile.gpu_class).unwrap_or(0),
			gpu_count: profile.gpu_count,
		};
		let table = Table::<T>::get();
		let boost = score::boost(proved.stake, T::MaxStake::get());
		let poc = table
			.poc(proved.online, boost, &hardware)
			.ok_or(Error::<T>::Overflow)?;
		let pod = table
			.pod(proved.rented, boost, &hardware)
			.ok_or(Error::<T>::Overflow)?;

		let mut current = Current::<T>::get();
		let mut record = WorkerScores::<T>::get(worker).unwrap_or_default();
		Self::roll_worker(worker, &mut record, current.index)?;
		record.poc = add(record.poc, poc)?;
		record.pod = add(record.pod, pod)?;
		current.scores.poc = add(current.scores.poc, poc)?;
		current.scores.pod = add(current.scores.pod, pod)?;
		WorkerScores::<T>::insert(worker, record);
		Current::<T>::put(current);
		Ok(())
	}

	fn do_seat(operator: OperatorId, correct: bool) -> DispatchResult {
		let mut current = Current::<T>::get();
		let mut record = CheckerScores::<T>::get(operator).unwrap_or_default();
		Self::roll_checker(operator, &mut record, current.index)?;
		let old = record.score();
		let overflow = || DispatchError::from(ArithmeticError::Overflow);
		record.seats = record.seats.checked_add(1).ok_or_else(overflow)?;
		record.correct = record
			.correct
			.checked_add(correct.into())
			.ok_or_else(overflow)?;
		// By difference: a wrong seat lowers the score.
		current.scores.checkers = add(sub(current.scores.checkers, old)?, record.score())?;
		CheckerScores::<T>::insert(operator, record);
		Current::<T>::put(current);
		Ok(())
	}

	/// Notes a protocol fee that an order of the worker paid, which raises what the worker may earn as
	/// PoD in the running epoch. The fee itself goes where the caller sends it.
	pub fn note_protocol_fee(worker: WorkerId, amount: Balance) -> DispatchResult {
		with_storage_layer(|| {
			let mut record = WorkerScores::<T>::get(worker).unwrap_or_default();
			Self::roll_worker(worker, &mut record, Current::<T>::get().index)?;
			record.fees = add(record.fees, amount)?;
			WorkerScores::<T>::insert(worker, record);
			Ok(())
		})
	}

	pub(crate) fn do_set_score_table(table: ScoreTable) -> DispatchResult {
		ensure!(table.is_valid(), Error::<T>::InvalidScoreTable);
		let old = Table::<T>::get();
		Table::<T>::put(table);
		Self::deposit_event(Event::ScoreTableSet { old, new: table });
		Ok(())
	}

	pub(crate) fn do_set_class_score(class: GpuClass, new: u32) -> DispatchResult {
		ensure!(
			class > 0 && new <= score::MAX_CLASS_SCORE,
			Error::<T>::InvalidClassScore
		);
		let old = ClassScores::<T>::get(class);
		ClassScores::<T>::insert(class, new);
		Self::deposit_event(Event::ClassScoreSet { class, old, new });
		Ok(())
	}
}

// Settlement.
impl<T: Config> Pallet<T> {
	/// What a worker's score earns from the totals of its epoch.
	fn reward_of_worker(
		record: &WorkerScore,
		totals: &EpochTotals,
	) -> Result<WorkerReward, DispatchError> {
		// A limit beyond 2¹²⁸ is none.
		let limit = reward::pod_limit(totals.pod_fee_cap, record.fees).unwrap_or(Balance::MAX);
		reward::worker(
			(record.poc, record.pod),
			(totals.scores.poc, totals.scores.pod),
			(totals.poc_reward, totals.pod_reward),
			limit,
		)
		.ok_or(Error::<T>::Overflow.into())
	}

	/// What an operator's score earns from the totals of its epoch.
	fn reward_of_checker(
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

	/// What of a pool's reward is its owner's. The members' part is too, where no member was eligible;
	/// members come with delegation, so that is always.
	fn split(_pool: PoolId, reward: Balance) -> Balance {
		reward
	}

	/// Settles a worker's record up to epoch `now`, which runs. The caller writes the record.
	fn roll_worker(worker: WorkerId, record: &mut WorkerScore, now: EpochIndex) -> DispatchResult {
		if record.epoch >= now {
			return Ok(());
		}
		let old = *record;
		*record = WorkerScore {
			epoch: now,
			claimable: old.claimable,
			..Default::default()
		};
		if old.poc == 0 && old.pod == 0 {
			return Ok(());
		}
		let (pool, epoch) = (PoolId::Worker(worker), old.epoch);
		let Some(mut totals) = Epochs::<T>::get(epoch) else {
			Self::deposit_event(Event::Expired { pool, epoch });
			return Ok(());
		};
		let WorkerReward { poc, pod, carried } = Self::reward_of_worker(&old, &totals)?;
		let reward = add(poc, pod)?;
		totals.providers_left = sub(totals.providers_left, add(reward, carried)?)?;
		record.claimable = add(old.claimable, Self::split(pool, reward))?;
		Self::grow::<Owed<T>>(Pot::Providers, reward)?;
		Self::grow::<Carry<T>>(Pot::Providers, carried)?;
		Epochs::<T>::insert(epoch, totals);
		Self::deposit_event(Event::Settled {
			pool,
			epoch,
			reward,
			carried,
		});
		Ok(())
	}

	/// Settles an operator's record up to epoch `now`, which runs: its account is credited. The caller
	/// writes the record.
	fn roll_checker(
		operator: OperatorId,
		record: &mut CheckerScore,
		now: EpochIndex,
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
			// Its reward is left in the epoch and carries over with it.
			defensive!("an operator that had a seat has an account");
			return Ok(());
		};
		let reward = Self::reward_of_checker(&old, &totals)?;
		totals.checkers_left = sub(totals.checkers_left, reward)?;
		CheckerClaims::<T>::try_mutate(&account, |claim| {
			*claim = add(*claim, Self::split(pool, reward))?;
			Ok::<_, DispatchError>(())
		})?;
		Self::grow::<Owed<T>>(Pot::Checkers, reward)?;
		Epochs::<T>::insert(epoch, totals);
		Self::deposit_event(Event::Settled {
			pool,
			epoch,
			reward,
			carried: 0,
		});
		Ok(())
	}

	fn grow<M>(pot: Pot, amount: Balance) -> DispatchResult
	where
		M: frame_support::StorageMap<Pot, Balance, Query = Balance>,
	{
		if amount == 0 {
			return Ok(());
		}
		M::try_mutate(pot, |sum| {
			*sum = add(*sum, amount)?;
			Ok(())
		})
	}

	/// Settles a pool that has a score of an earlier epoch; nothing to do for another.
	fn roll(pool: PoolId) -> DispatchResult {
		let now = Current::<T>::get().index;
		match pool {
			PoolId::Worker(worker) => {
				let Some(mut record) = WorkerScores::<T>::get(worker) else {
					return Ok(());
				};
				if record.epoch < now {
					Self::roll_worker(worker, &mut record, now)?;
					WorkerScores::<T>::insert(worker, record);
				}
			}
			PoolId::Checker(operator) => {
				let Some(mut record) = CheckerScores::<T>::get(operator) else {
					return Ok(());
				};
				if record.epoch < now {
					Self::roll_checker(operator, &mut record, now)?;
					CheckerScores::<T>::insert(operator, record);
				}
			}
		}
		Ok(())
	}

	pub(crate) fn do_settle(pool: PoolId) -> DispatchResult {
		ensure!(T::Pools::owner(pool).is_some(), Error::<T>::UnknownPool);
		if let PoolId::Worker(worker) = pool {
			T::Checks::touch(worker);
		}
		Self::roll(pool)
	}
}

// Claims.
impl<T: Config> Pallet<T> {
	pub(crate) fn do_claim_worker(who: T::AccountId, worker: WorkerId) -> DispatchResult {
		let owner = T::Pools::owner(PoolId::Worker(worker)).ok_or(Error::<T>::UnknownPool)?;
		ensure!(owner == who, Error::<T>::NotOwner);
		T::Checks::touch(worker);
		Self::roll(PoolId::Worker(worker))?;
		let mut record = WorkerScores::<T>::get(worker).ok_or(Error::<T>::NothingToClaim)?;
		let amount = core::mem::take(&mut record.claimable);
		ensure!(amount > 0, Error::<T>::NothingToClaim);
		let owed = sub(Owed::<T>::get(Pot::Providers), amount)?;
		let pot = Self::pot_account(Pot::Providers);
		T::Currency::transfer(&pot, &who, amount, Preservation::Preserve)?;
		Owed::<T>::insert(Pot::Providers, owed);
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
		// From claimable to vKAI: the pot owes as much as before.
		VKai::<T>::try_mutate(&who, |vkai| {
			*vkai = add(*vkai, amount)?;
			Ok::<_, DispatchError>(())
		})?;
		Self::deposit_event(Event::CheckerClaimed { who, amount });
		Ok(())
	}

	pub(crate) fn do_claimable_from(pool: PoolId) -> Balance {
		let now = Current::<T>::get().index;
		let (settled, earned) = match pool {
			PoolId::Worker(worker) => {
				let record = WorkerScores::<T>::get(worker).unwrap_or_default();
				let earned = (record.epoch < now)
					.then(|| Epochs::<T>::get(record.epoch))
					.flatten()
					.and_then(|totals| Self::reward_of_worker(&record, &totals).ok())
					.and_then(|reward| reward.poc.checked_add(reward.pod));
				(record.claimable, earned)
			}
			PoolId::Checker(operator) => {
				let record = CheckerScores::<T>::get(operator).unwrap_or_default();
				let earned = (record.epoch < now)
					.then(|| Epochs::<T>::get(record.epoch))
					.flatten()
					.and_then(|totals| Self::reward_of_checker(&record, &totals).ok());
				(0, earned)
			}
		};
		settled.saturating_add(earned.unwrap_or(0))
	}

	pub(crate) fn do_claimable(who: &T::AccountId) -> Balance {
		let unsettled = T::Operators::number(who).map_or(0, |operator| {
			Self::do_claimable_from(PoolId::Checker(operator))
		});
		CheckerClaims::<T>::get(who).saturating_add(unsettled)
	}
}

impl<T: Config> OnClosed for Pallet<T> {
	fn on_proved(worker: WorkerId, proved: &Proved) {
		if let Err(error) = with_storage_layer(|| Self::do_proved(worker, proved)) {
			defensive!("what a check proves can be scored", (worker, error));
		}
	}

	fn on_seat(operator: OperatorId, correct: bool) {
		if let Err(error) = with_storage_layer(|| Self::do_seat(operator, correct)) {
			defensive!("a seat can be scored", (operator, error));
		}
	}
}

impl<T: Config> OnPoolChange<T::AccountId> for Pallet<T> {
	/// Settles the pool. Members are settled too once there are any.
	fn before_change(pool: PoolId, _member: Option<&T::AccountId>) -> DispatchResult {
		with_storage_layer(|| Self::roll(pool))
	}
}

impl<T: Config> Pots<T::AccountId> for Pallet<T> {
	fn put(pot: Pot, from: &T::AccountId, amount: Balance) -> DispatchResult {
		if amount == 0 {
			return Ok(());
		}
		with_storage_layer(|| {
			let account = Self::pot_account(pot);
			T::Currency::transfer(from, &account, amount, Preservation::Expendable)?;
			Self::grow::<Carry<T>>(pot, amount)?;
			Self::deposit_event(Event::PotFunded {
				pot,
				from: from.clone(),
				amount,
			});
			Ok(())
		})
	}
}

#[cfg(any(feature = "try-runtime", feature = "runtime-benchmarks", test))]
impl<T: Config> Pallet<T> {
	/// Checks what must always hold, numbered as in the specification (05-rewards). The third concerns
	/// delegators, who are not here yet; the fourth is a matter of tests.
	pub fn do_try_state() -> Result<(), sp_runtime::TryRuntimeError> {
		let current = Current::<T>::get();
		ensure!(current.length > 0, "0: an epoch has blocks");
		ensure!(
			T::Currency::total_issuance() <= T::MaxSupply::get(),
			"0: the supply is within its cap"
		);
		for (epoch, _) in Epochs::<T>::iter() {
			ensure!(
				(Oldest::<T>::get()..current.index).contains(&epoch),
				"0: the history ends where it should"
			);
		}

		// 1. Σ paid + Σ claimable ≤ Σ put into a pot, per pot and per epoch; the pot covers what is owed.
		let mut claimable = 0u128;
		for record in WorkerScores::<T>::iter_values() {
			ensure!(
				record.epoch <= current.index,
				"1: no score is of the future"
			);
			claimable = add(claimable, record.claimable)?;
		}
		ensure!(
			claimable == Owed::<T>::get(Pot::Providers),
			"1: owed to workers' owners"
		);
		let mut claimable = 0u128;
		for amount in CheckerClaims::<T>::iter_values().chain(VKai::<T>::iter_values()) {
			claimable = add(claimable, amount)?;
		}
		ensure!(
			claimable == Owed::<T>::get(Pot::Checkers),
			"1: owed to checkers"
		);
		for pot in [Pot::Providers, Pot::Checkers] {
			let mut all = add(Carry::<T>::get(pot), Owed::<T>::get(pot))?;
			for totals in Epochs::<T>::iter_values() {
				let shared = match pot {
					Pot::Providers => add(totals.poc_reward, totals.pod_reward)?,
					Pot::Checkers => totals.checker_reward,
				};
				ensure!(
					totals.left(pot) <= shared,
					"1: no epoch pays more than it has"
				);
				all = add(all, totals.left(pot))?;
			}
			ensure!(
				Self::free_of(&Self::pot_account(pot)) >= all,
				"1: a pot covers what it owes"
			);
		}

		// 2. An epoch's total score = Σ of its pools' scores; of a past one, of those not settled yet.
		let mut sums = alloc::collections::BTreeMap::<EpochIndex, Scores>::new();
		let mut unpaid = alloc::collections::BTreeMap::<EpochIndex, (Balance, Balance)>::new();
		for record in WorkerScores::<T>::iter_values() {
			let sum = sums.entry(record.epoch).or_default();
			sum.poc = add(sum.poc, record.poc)?;
			sum.pod = add(sum.pod, record.pod)?;
			if let Some(totals) = Epochs::<T>::get(record.epoch) {
				let WorkerReward { poc, pod, carried } = Self::reward_of_worker(&record, &totals)?;
				let unpaid = &mut unpaid.entry(record.epoch).or_default().0;
				*unpaid = add(*unpaid, add(add(poc, pod)?, carried)?)?;
			}
		}
		for record in CheckerScores::<T>::iter_values() {
			ensure!(
				record.correct <= record.seats,
				"2: no more correct seats than seats"
			);
			let sum = sums.entry(record.epoch).or_default();
			sum.checkers = add(sum.checkers, record.score())?;
			if let Some(totals) = Epochs::<T>::get(record.epoch) {
				let unpaid = &mut unpaid.entry(record.epoch).or_default().1;
				*unpaid = add(*unpaid, Self::reward_of_checker(&record, &totals)?)?;
			}
		}
		let running = sums.remove(&current.index).unwrap_or_default();
		ensure!(
			running == current.scores,
			"2: the running totals are the sums of the scores"
		);
		for (epoch, sum) in sums {
			let Some(totals) = Epochs::<T>::get(epoch) else {
				continue;
			};
			ensure!(
				sum.poc <= totals.scores.poc
					&& sum.pod <= totals.scores.pod
					&& sum.checkers <= totals.scores.checkers,
				"2: no more scores than their total"
			);
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
}
