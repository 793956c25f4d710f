//! The pallet's invariants: one function for each, with its number.

use crate::*;
use alloc::{collections::BTreeMap, vec::Vec};
use frame_support::traits::fungible::InspectHold;
use kaisar_primitives::Seats;
use sp_runtime::{TryRuntimeError, traits::EnsureAddAssign};

impl<T: Config> Pallet<T> {
	/// Checks the pallet's invariants.
	pub fn do_try_state() -> Result<(), TryRuntimeError> {
		Self::check_numbers()?;
		Self::check_deposits()?;
		Self::check_keys()?;
		Self::check_delegations()?;
		Self::check_spans()?;
		Self::check_members()?;
		Self::check_active_licenses()?;
		Self::check_strikes()?;
		Self::check_bans()?;
		Self::check_draw()
	}

	/// Checks invariant 1: numbers are below the next one, and an account's number is that of its last
	/// registration that is not pruned; of all registrations of an account only the last can be in force.
	fn check_numbers() -> Result<(), TryRuntimeError> {
		let next = NextOperator::<T>::get();
		for (operator, record) in Operators::<T>::iter() {
			ensure!(operator < next, "1: a number not assigned yet");
			let last = NumberOf::<T>::get(&record.account);
			ensure!(
				last.is_none_or(|last| last >= operator),
				"1: an account with an outdated number"
			);
			ensure!(
				record.gone.is_some() || last == Some(operator),
				"1: two registrations in force"
			);
		}
		for (account, operator) in NumberOf::<T>::iter() {
			let record = Operators::<T>::get(operator).ok_or("1: a number without a record")?;
			ensure!(record.account == account, "1: a number of another account");
		}
		Ok(())
	}

	/// Checks invariant 2: the deposits of an account's records are on hold, and nothing else is; the
	/// deposit of an ended registration is at most the part for the record.
	fn check_deposits() -> Result<(), TryRuntimeError> {
		let mut deposits = BTreeMap::<Vec<u8>, BalanceOf<T>>::new();
		for record in Operators::<T>::iter_values() {
			let deposit = deposits.entry(record.account.encode()).or_default();
			deposit.ensure_add_assign(record.deposit)?;
			ensure!(
				record.gone.is_none() || record.deposit <= T::RecordDeposit::get(),
				"2: a deposit above the part for the record"
			);
		}
		for record in Operators::<T>::iter_values() {
			let held =
				T::Currency::balance_on_hold(&HoldReason::OperatorDeposit.into(), &record.account);
			ensure!(
				deposits.get(&record.account.encode()) == Some(&held),
				"2: the deposits differ from the amount on hold"
			);
		}
		Ok(())
	}

	/// Checks invariant 3: for a registered operator, every key that counts in a round in flight or from now
	/// on is indexed to it, and every indexed key is in a record.
	fn check_keys() -> Result<(), TryRuntimeError> {
		for (operator, record) in Operators::<T>::iter() {
			if record.gone.is_some() {
				continue;
			}
			for keys in record.keys.values() {
				ensure!(
					CheckerKeys::<T>::get(keys.checker) == Some(operator)
						&& AgentKeys::<T>::get(keys.agent) == Some(operator),
					"3: a key that is not indexed"
				);
			}
		}
		for (key, operator) in CheckerKeys::<T>::iter() {
			let record = Operators::<T>::get(operator).ok_or("3: a key without a record")?;
			ensure!(
				record.keys.values().any(|keys| keys.checker == key),
				"3: a checker key that is no longer used"
			);
		}
		for (key, operator) in AgentKeys::<T>::iter() {
			let record = Operators::<T>::get(operator).ok_or("3: a key without a record")?;
			ensure!(
				record.keys.values().any(|keys| keys.agent == key),
				"3: an agent key that is no longer used"
			);
		}
		Ok(())
	}

	/// Checks invariant 4: an accepted delegation to a registered operator has an open span with it; no
	/// other license has an open span with a registered operator. The delegation's holder holds the license.
	fn check_delegations() -> Result<(), TryRuntimeError> {
		let mut open = BTreeMap::<LicenseId, OperatorId>::new();
		for (license, Entry { now, .. }) in Self::entries()? {
			if now.is_open() && !now.is_empty() && !Self::has_gone(now.operator) {
				open.insert(license, now.operator);
			}
		}
		for (license, delegation) in Delegations::<T>::iter() {
			if Self::has_gone(delegation.operator) {
				continue;
			}
			ensure!(
				T::Licenses::holder(license).as_ref() == Some(&delegation.holder),
				"4: a delegation by an account that is not the holder"
			);
			if delegation.accepted {
				ensure!(
					open.remove(&license) == Some(delegation.operator),
					"4: accepted but not active"
				);
			} else {
				ensure!(!open.contains_key(&license), "4: pending and active");
			}
		}
		ensure!(open.is_empty(), "4: active but not delegated");
		Ok(())
	}

	/// Checks invariant 5: a license's two spans do not overlap.
	fn check_spans() -> Result<(), TryRuntimeError> {
		for (_, Entry { now, before }) in Self::entries()? {
			ensure!(
				now.is_empty() || before.is_empty() || before.until <= now.from,
				"5: spans overlap"
			);
			ensure!(!before.is_open(), "5: an old span is open");
		}
		Ok(())
	}

	/// Returns the entries of all licenses.
	fn entries() -> Result<Vec<(LicenseId, Entry)>, TryRuntimeError> {
		let mut all = Vec::new();
		for (page, entries) in Pages::<T>::iter() {
			for (index, entry) in (0u32..).zip(entries) {
				let license = page
					.checked_mul(PAGE_SIZE)
					.and_then(|first| first.checked_add(index))
					.ok_or("5: a page beyond all licenses")?;
				all.push((license, entry));
			}
		}
		Ok(all)
	}

	/// Checks invariant 6: the numbers of an operator's licenses, and of a holder's licenses with it, equal
	/// the numbers of its accepted delegations.
	fn check_members() -> Result<(), TryRuntimeError> {
		let mut members = BTreeMap::<(OperatorId, Vec<u8>), u32>::new();
		let mut operators = BTreeMap::<OperatorId, u32>::new();
		for delegation in Delegations::<T>::iter_values() {
			if !delegation.accepted || Self::has_gone(delegation.operator) {
				continue;
			}
			let key = (delegation.operator, delegation.holder.encode());
			*members.entry(key).or_default() += 1;
			*operators.entry(delegation.operator).or_default() += 1;
		}
		for (operator, record) in Operators::<T>::iter() {
			ensure!(
				record.gone.is_some()
					|| record.licenses.now.value == operators.get(&operator).copied().unwrap_or(0),
				"6: an operator's licenses miscounted"
			);
		}
		for (operator, holder, count) in Members::<T>::iter() {
			ensure!(count > 0, "6: a member without licenses");
			ensure!(
				Operators::<T>::contains_key(operator),
				"6: a member of an unknown operator"
			);
			ensure!(
				Self::has_gone(operator)
					|| members.remove(&(operator, holder.encode())) == Some(count),
				"6: a member's licenses miscounted"
			);
		}
		ensure!(members.is_empty(), "6: a member is missing");
		Ok(())
	}

	/// Checks invariant 7: the active licenses are those that have a seat in the next round.
	fn check_active_licenses() -> Result<(), TryRuntimeError> {
		let next_round = T::Checks::next_round();
		let mut active = 0u32;
		for (license, _) in Self::entries()? {
			if <Self as Seats<T::AccountId>>::seat(license, next_round).is_some() {
				active = active.checked_add(1).ok_or("7: too many")?;
			}
		}
		ensure!(
			active == ActiveLicenses::<T>::get(),
			"7: active licenses miscounted"
		);
		Ok(())
	}

	/// Checks invariant 8: an account's strikes are in order of time, one for a round, each with at least
	/// one vote; the index holds exactly their votes.
	fn check_strikes() -> Result<(), TryRuntimeError> {
		let mut votes = 0usize;
		for (account, strikes) in StrikesOf::<T>::iter() {
			ensure!(!strikes.is_empty(), "8: an empty list of strikes");
			ensure!(
				strikes.is_sorted_by_key(|strike| strike.at),
				"8: strikes out of order"
			);
			for (index, strike) in strikes.iter().enumerate() {
				ensure!(
					strikes
						.iter()
						.take(index)
						.all(|other| other.round != strike.round),
					"8: two strikes in a round"
				);
				ensure!(!strike.votes.is_empty(), "8: a strike without a vote");
				for vote in &strike.votes {
					ensure!(
						LoneVotes::<T>::get((strike.round, vote.worker)).as_ref() == Some(&account),
						"8: a vote that is not indexed"
					);
					votes = votes.checked_add(1).ok_or("8: too many votes")?;
				}
			}
			ensure!(
				NumberOf::<T>::contains_key(&account),
				"8: strikes of an account without a registration"
			);
		}
		ensure!(
			LoneVotes::<T>::iter().count() == votes,
			"8: indexed votes without a strike"
		);
		Ok(())
	}

	/// Checks invariant 9: the last registration of an account is banned as its strikes call for; a
	/// registration banned for good has ended.
	fn check_bans() -> Result<(), TryRuntimeError> {
		let now = T::Time::now();
		for (account, operator) in NumberOf::<T>::iter() {
			let record = Operators::<T>::get(operator).ok_or("1: a number without a record")?;
			let strikes = StrikesOf::<T>::get(&account);
			let until = banned_until(strikes.iter().map(|strike| strike.at)).unwrap_or(0);
			match record.ban {
				Some(ban) => {
					ensure!(ban == until, "9: a ban that strikes do not call for");
					ensure!(
						until != u64::MAX || record.gone.is_some(),
						"9: banned for good but registered"
					);
				}
				None => ensure!(until <= now, "9: strikes without a ban"),
			}
		}
		Ok(())
	}

	/// Checks invariant 10: an operator is in the draw, from the next round on, if and only if it is online
	/// and not banned. Histories are in order of rounds.
	fn check_draw() -> Result<(), TryRuntimeError> {
		for record in Operators::<T>::iter_values() {
			ensure!(
				record.in_draw.now.value == record.is_online(),
				"10: in the draw but not online, or the reverse"
			);
			ensure!(
				record.in_draw.is_ordered() && record.keys.is_ordered(),
				"10: a history out of order"
			);
		}
		Ok(())
	}
}
