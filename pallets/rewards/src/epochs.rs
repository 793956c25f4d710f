//! Emission, and the end of an epoch.

use crate::{
	Config, Current, EpochTotals, Epochs, Event, LOG_TARGET, Oldest, Pallet, Reserve, RunningEpoch,
	Scores, Validators, pallet::Carry,
};
use core::ops::RangeInclusive;
use frame_support::{
	defensive,
	traits::{
		Get,
		fungible::{Inspect, Mutate},
		tokens::Preservation,
	},
};
use kaisar_math::{DAY, Schedule, Split, emission::within_cap, reward::Division};
use kaisar_primitives::{Balance, BlockNumber, EpochIndex, Pot};
use sp_runtime::{
	DispatchResult,
	traits::{AccountIdConversion, EnsureSub, SaturatedConversion},
};

/// Maximum number of epochs dropped when one ends. Each end adds one epoch; dropping two lets the history
/// catch up after its depth was lowered.
const DROPS_PER_EPOCH: u32 = 2;
/// Maximum number of blocks of an epoch, a year's: a longer epoch could not be shortened in time, since a
/// change of the length counts from the next epoch.
pub(crate) const MAX_LENGTH: BlockNumber = 365 * DAY;
/// Limits of [`Config::HistoryDepth`]: at most ten years of production's epochs. An epoch keeps the time
/// promised at its end, so a wrong value could not be taken back.
pub(crate) const HISTORY_DEPTH: RangeInclusive<EpochIndex> = 1..=260;

impl RunningEpoch {
	/// Begins an epoch with the current parameters.
	pub(crate) fn begin<T: Config>(index: EpochIndex, start: BlockNumber) -> Self {
		Self {
			index,
			start,
			length: T::EpochLength::get().clamp(1, MAX_LENGTH),
			split: T::Split::get(),
			scores: Scores::default(),
			fees: 0,
		}
	}

	/// Returns whether block `now` is after the epoch.
	pub fn is_over(&self, now: BlockNumber) -> bool {
		now.saturating_sub(self.start) >= self.length
	}

	/// Returns the block before the epoch's first.
	fn before(&self) -> BlockNumber {
		self.start.saturating_sub(1)
	}
}

// Accounts and emission.
impl<T: Config> Pallet<T> {
	/// Returns the account of a pot.
	pub fn pot_account(pot: Pot) -> T::AccountId {
		T::PalletId::get().into_sub_account_truncating(match pot {
			Pot::Providers => b"prov",
			Pot::Checkers => b"chck",
		})
	}

	/// Returns the account of the checkers' reserve.
	pub fn reserve_account() -> T::AccountId {
		T::PalletId::get().into_sub_account_truncating(b"rsrv")
	}

	/// Returns the amount that an account can pay and still exist.
	#[cfg(any(
		feature = "try-runtime",
		feature = "runtime-benchmarks",
		feature = "std"
	))]
	pub(crate) fn free_of(account: &T::AccountId) -> Balance {
		T::Currency::reducible_balance(
			account,
			Preservation::Preserve,
			frame_support::traits::tokens::Fortitude::Polite,
		)
	}

	/// Gives the pots their existential deposit, and mints the reserve, at genesis.
	pub(crate) fn found_pots(reserve: Balance) -> DispatchResult {
		for pot in [Pot::Providers, Pot::Checkers] {
			let account = Self::pot_account(pot);
			let least = T::Currency::minimum_balance();
			if T::Currency::balance(&account) < least {
				T::Currency::mint_into(&account, least)?;
			}
			// Any further KAI that a preset put there belongs to the first epoch.
			Carry::<T>::insert(pot, T::Currency::balance(&account).ensure_sub(least)?);
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

	/// Adds the validators' share up to block `until`, by the split of the epoch to which it belongs, and
	/// returns the amount due. The end of each epoch is noted, so no block of an earlier one is left.
	fn note_validators(until: BlockNumber, split: Split) -> Balance {
		let mut due = Validators::<T>::get();
		let emission = Schedule::KAISAR.emitted(due.until, until);
		let share = split.of(emission).validators;
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

	/// Takes the validators' and nominators' share of the emission that was not taken yet, up to the block
	/// before this one. The caller must mint it: for the era payout of `pallet-staking`.
	pub fn take_validators_share() -> Balance {
		let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
		let split = Current::<T>::get().split;
		let amount = Self::note_validators(now.saturating_sub(1), split);
		Validators::<T>::mutate(|due| due.amount = 0);
		within_cap(
			amount,
			T::MaxSupply::get(),
			T::Currency::total_issuance(),
			0,
		)
	}

	/// Mints `amount` into a pot, as far as the cap allows. Returns the amount minted.
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

	/// Moves the part of the reserve that is released with the epoch's blocks into the checker pot.
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
	/// Returns the number of epochs for which an epoch that ends now is stored.
	fn history_depth() -> EpochIndex {
		T::HistoryDepth::get().clamp(*HISTORY_DEPTH.start(), *HISTORY_DEPTH.end())
	}

	/// Ends the running epoch: mints, stores the totals, begins the next epoch, and drops expired ones.
	/// `now` is the first block of the next epoch.
	pub(crate) fn end_epoch(current: RunningEpoch, now: BlockNumber) {
		let RunningEpoch {
			index,
			start,
			split,
			scores,
			fees,
			..
		} = current;
		let (end, next) = (now.saturating_sub(1), index.saturating_add(1));
		let due = Self::note_validators(end, split);
		let shares = split.of(Schedule::KAISAR.emitted(current.before(), end));
		let providers = Self::mint_into_pot(Pot::Providers, shares.providers, due);
		let checkers = Self::mint_into_pot(Pot::Checkers, shares.checkers, due);
		let reserve = Self::release_reserve(current.before(), end);

		let (mut carry_providers, mut carry_checkers) = (
			Carry::<T>::get(Pot::Providers),
			Carry::<T>::get(Pot::Checkers),
		);
		// Amounts of KAI: their sums are far below 2¹²⁸.
		let providers = carry_providers.saturating_add(providers);
		let checkers = carry_checkers
			.saturating_add(checkers)
			.saturating_add(reserve);

		let work = scores.work(fees);
		let (ratio, pod_fee_cap) = (T::Ratio::get(), T::PodFeeCap::get());
		let divided = Division::new(providers, ratio, pod_fee_cap, work).unwrap_or_else(|| {
			defensive!("scores are below 2¹²⁸");
			Division {
				work,
				..Default::default()
			}
		});
		// Both are parts of `providers`.
		let shared = divided.rent.saturating_add(divided.idle);
		carry_providers = providers.saturating_sub(shared);
		let checker_reward = if scores.checkers == 0 { 0 } else { checkers };
		carry_checkers = checkers.saturating_sub(checker_reward);

		let totals = EpochTotals {
			start,
			end,
			expires: next.saturating_add(Self::history_depth()),
			scores,
			fees,
			poc_reward: divided.poc,
			pod_reward: divided.pod,
			rent_reward: divided.rent,
			idle_reward: divided.idle,
			checker_reward,
			pod_fee_cap,
			providers_left: shared,
			checkers_left: checker_reward,
		};
		Epochs::<T>::insert(index, totals);

		for dropped in Self::drop_epochs(next) {
			carry_providers = carry_providers.saturating_add(dropped.providers_left);
			carry_checkers = carry_checkers.saturating_add(dropped.checkers_left);
		}
		Carry::<T>::insert(Pot::Providers, carry_providers);
		Carry::<T>::insert(Pot::Checkers, carry_checkers);
		Current::<T>::put(RunningEpoch::begin::<T>(next, now));
		log::info!(target: LOG_TARGET, "epoch {index} ended with block {end}: {totals:?}");
		Self::deposit_event(Event::EpochEnded {
			epoch: index,
			providers: shared,
			checkers: checker_reward,
			// This fits, since otherwise the division failed.
			poc_score: scores.idle.saturating_add(scores.rented),
			pod_score: scores.pod,
			checker_score: scores.checkers,
		});
	}

	/// Removes the epochs that expire when `running` begins from the history, oldest first, at most
	/// [`DROPS_PER_EPOCH`] of them. Each was promised its time when it ended, so a lower depth does not
	/// shorten it.
	fn drop_epochs(running: EpochIndex) -> impl Iterator<Item = EpochTotals> {
		let oldest = Oldest::<T>::get();
		let until = (oldest..running)
			.take(DROPS_PER_EPOCH as usize)
			.find(|epoch| Epochs::<T>::get(epoch).is_some_and(|totals| totals.expires > running))
			.unwrap_or_else(|| oldest.saturating_add(DROPS_PER_EPOCH).min(running));
		if until > oldest {
			Oldest::<T>::put(until);
		}
		(oldest..until).filter_map(Epochs::<T>::take)
	}
}
