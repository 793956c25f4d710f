//! Emission, and the end of an epoch.

use crate::{
	Config, Current, EpochTotals, Epochs, Event, LOG_TARGET, Oldest, Pallet, Reserve, RunningEpoch,
	Scores, Validators, pallet::Carry,
};
use frame_support::{
	defensive,
	traits::{
		Get,
		fungible::{Inspect, Mutate},
		tokens::Preservation,
	},
};
use kaisar_math::{Schedule, emission::within_cap, reward::Pots as Divided};
use kaisar_primitives::{Balance, BlockNumber, EpochIndex, Pot};
use sp_runtime::{
	DispatchResult,
	traits::{AccountIdConversion, EnsureSub, SaturatedConversion},
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

	/// Gives the pots their existential deposit and the reserve its KAI, at genesis.
	pub(crate) fn found(reserve: Balance) -> DispatchResult {
		for pot in [Pot::Providers, Pot::Checkers] {
			let account = Self::pot_account(pot);
			let least = T::Currency::minimum_balance();
			if T::Currency::balance(&account) < least {
				T::Currency::mint_into(&account, least)?;
			}
			// Whatever else a preset put there is the first epoch's.
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
