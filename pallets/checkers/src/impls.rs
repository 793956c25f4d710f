//! The interfaces to other pallets: [`Seats`] for Popw, [`Pools`] for Rewards, [`IsDelegated`] for the
//! collection's locker.

use crate::*;
use kaisar_primitives::{IsDelegated, OperatorInfo, PoolTerms, Pools, SeatResult, Seats};

impl<T: Config> Seats<T::AccountId> for Pallet<T> {
	fn minted() -> u32 {
		T::Licenses::minted()
	}

	fn active() -> u32 {
		ActiveLicenses::<T>::get()
	}

	fn seat(license: LicenseId, round: RoundIndex) -> Option<OperatorId> {
		let (page, index) = place(license);
		let operator = Pages::<T>::get(page).get(index)?.at(round)?;
		let record = Operators::<T>::get(operator)?;
		record.sits(round).then_some(operator)
	}

	fn operator(operator: OperatorId, round: RoundIndex) -> Option<OperatorInfo<T::AccountId>> {
		let record = Operators::<T>::get(operator)?;
		let keys = record.keys.at_or_oldest(round);
		Some(OperatorInfo {
			key: keys.checker_key(),
			agent: keys.agent,
			licenses: if record.sits(round) {
				*record.licenses.at_or_oldest(round)
			} else {
				0
			},
			account: record.account,
		})
	}

	fn number(account: &T::AccountId) -> Option<OperatorId> {
		Self::ensure_operator_of(account)
			.ok()
			.map(|(operator, _)| operator)
	}

	fn by_key(key: &CheckerKey) -> Option<OperatorId> {
		CheckerKeys::<T>::get(AsRef::<sp_core::sr25519::Public>::as_ref(key))
	}

	fn revealed(operator: OperatorId, round: RoundIndex) {
		let Some(mut record) = Operators::<T>::get(operator).defensive() else {
			return;
		};
		// Only the latest round matters, and one write a round is enough.
		if record.presence.revealed.is_none_or(|last| last < round) {
			record.presence.revealed = Some(round);
			record.presence.count = 0;
			Operators::<T>::insert(operator, record);
		}
	}

	fn credit(
		operator: OperatorId,
		worker: WorkerId,
		round: RoundIndex,
		_weight: u32,
		result: SeatResult,
		lone: bool,
	) {
		if lone {
			Self::strike(operator, worker, round);
		}
		if result == SeatResult::Missed {
			Self::missed(operator, round);
		}
	}

	#[cfg(feature = "runtime-benchmarks")]
	fn benchmark_operator(account: &T::AccountId, key: CheckerKey, agent: AgentKey) -> OperatorId {
		use frame_support::traits::fungible::Unbalanced;
		use sp_runtime::traits::Saturating;
		let funds = T::Deposit::get()
			.saturating_add(T::Currency::minimum_balance())
			.saturating_mul(2u32.into());
		T::Currency::increase_balance(account, funds, Precision::Exact)
			.expect("the account can be funded");
		let operator = Self::insert_operator(account, Keys::new(&key, &agent), Perbill::zero(), 0)
			.expect("the operator can be registered");
		let license = T::Licenses::mint(account).expect("a license can be minted");
		let delegation = Delegation {
			holder: account.clone(),
			operator,
			accepted: false,
		};
		Self::accept(license, delegation, 0).expect("it can be delegated");
		operator
	}
}

impl<T: Config> Pallet<T> {
	/// Records that the operator had a seat in `round` and did not reveal a vote for it. Counts consecutive
	/// rounds without any reveal.
	///
	/// Checks of a round are closed once its reveals are over, but in any order: a round counts once,
	/// provided that no later one was counted before, and that the operator revealed neither in it nor
	/// later.
	fn missed(operator: OperatorId, round: RoundIndex) {
		// A check that was never closed can outlast its operator's record.
		let Some(record) = Operators::<T>::get(operator) else {
			return;
		};
		let Presence {
			revealed,
			missed,
			count,
		} = record.presence;
		let is_new = record.gone.is_none()
			&& record.is_online()
			&& round >= record.in_draw.now.since
			&& revealed.is_none_or(|last| last < round)
			&& missed.is_none_or(|last| last < round);
		if !is_new {
			return;
		}
		let count = count.saturating_add(1);
		let leaves = count >= MAX_MISSED_ROUNDS;
		let from_round = T::Checks::next_round();
		let changed = Self::mutate_operator(operator, |record| {
			record.presence.missed = Some(round);
			record.presence.count = count;
			if leaves {
				record.presence.count = 0;
				record.online = false;
				record.redraw(from_round, &T::Checks::in_flight());
			}
			Ok(())
		});
		if changed.defensive().is_ok() && leaves {
			Self::deposit_event(Event::WentOffline {
				operator,
				from_round,
				missed: true,
			});
		}
	}
}

impl<T: Config> Pools<T::AccountId> for Pallet<T> {
	fn owner(pool: PoolId) -> Option<T::AccountId> {
		let PoolId::Checker(operator) = pool else {
			return None;
		};
		Operators::<T>::get(operator).map(|record| record.account)
	}

	/// After its end a registration keeps the licenses that it had.
	fn terms(pool: PoolId) -> PoolTerms {
		let PoolId::Checker(operator) = pool else {
			return PoolTerms::default();
		};
		Operators::<T>::get(operator).map_or_else(PoolTerms::default, |record| record.terms())
	}

	fn shares(pool: PoolId, who: &T::AccountId) -> u128 {
		let PoolId::Checker(operator) = pool else {
			return 0;
		};
		Members::<T>::get(operator, who).into()
	}
}

impl<T: Config> IsDelegated for Pallet<T> {
	fn is_delegated(license: LicenseId) -> bool {
		Self::delegation(license).is_some()
	}
}
