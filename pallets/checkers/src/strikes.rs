//! Strikes, the bans that follow from them, and annulling a strike.

use crate::*;
use frame_support::storage::with_storage_layer;
use kaisar_primitives::authorized::{accept, genesis};
use sp_runtime::transaction_validity::{
	InvalidTransaction, TransactionPriority, TransactionSource, TransactionValidityWithRefund,
};

/// Blocks for which a receipt remains valid in the pool.
const ANNUL_LONGEVITY: u64 = 64;

/// The result of annulling a vote.
pub(crate) struct Annulled<T: Config> {
	/// The account that voted.
	account: T::AccountId,
	/// Its registration at that time.
	operator: OperatorId,
	/// The account's strikes without the vote.
	strikes: Strikes,
	/// The number of remaining votes of the same round.
	left: u32,
	/// The registration whose ban changes, and the new end of the ban; `None` if the ban is over.
	revised: Option<(OperatorId, Option<u64>)>,
}

impl<T: Config> Pallet<T> {
	/// Records a lone vote "online" of the operator, and bans its account if its strikes call for it.
	///
	/// A strike that could not be annulled is not recorded: the trial's seed and the worker's agent must be
	/// known. They are known if the check is closed by its last reveal, within its round.
	pub(crate) fn strike(operator: OperatorId, worker: WorkerId, round: RoundIndex) {
		let Some(record) = Operators::<T>::get(operator).defensive() else {
			return;
		};
		let (Some(seed), Some(info)) = (
			T::Checks::round_seed(round),
			T::Workers::info(worker, round),
		) else {
			log::debug!(
				target: LOG_TARGET,
				"no strike for operator {operator}, worker {worker} and round {round}: a record is gone",
			);
			return;
		};
		let vote = LoneVote {
			worker,
			agent: info.agent,
		};
		if LoneVotes::<T>::contains_key((round, worker)) {
			return;
		}
		let account = record.account;
		let mut strikes = StrikesOf::<T>::get(&account);
		let kept = match strikes.iter_mut().find(|strike| strike.round == round) {
			Some(strike) => strike.votes.try_push(vote).is_ok(),
			None => {
				// When the list is full, the account is already banned for good, with a few to spare.
				strikes
					.try_push(Strike {
						operator,
						round,
						at: T::Time::now(),
						block: Self::block(),
						seed,
						key: record.keys.at_or_oldest(round).checker,
						votes: BoundedVec::truncate_from(alloc::vec![vote]),
					})
					.is_ok()
			}
		};
		if !kept {
			return;
		}
		StrikesOf::<T>::insert(&account, &strikes);
		LoneVotes::<T>::insert((round, worker), &account);
		Self::deposit_event(Event::IncorrectCalculation {
			operator,
			worker,
			round,
		});
		Self::enforce(&account, &strikes);
	}

	/// Bans the account's last registration if its strikes call for it.
	fn enforce(account: &T::AccountId, strikes: &Strikes) {
		let now = T::Time::now();
		let Some(until) =
			banned_until(strikes.iter().map(|strike| strike.at)).filter(|until| *until > now)
		else {
			return;
		};
		let Some(operator) = NumberOf::<T>::get(account).defensive() else {
			return;
		};
		let Some(record) = Operators::<T>::get(operator).defensive() else {
			return;
		};
		if record.ban.is_some_and(|ban| ban >= until) {
			return;
		}
		let (from_round, in_flight) = (T::Checks::next_round(), T::Checks::in_flight());
		let banned = Self::mutate_operator(operator, |record| {
			record.ban = Some(until);
			record.redraw(from_round, &in_flight);
			record.presence.count = 0;
			Ok(())
		});
		if banned.defensive().is_err() {
			return;
		}
		Self::deposit_event(Event::CheckerBanned {
			operator,
			until,
			from_round,
		});
		if until == u64::MAX && record.gone.is_none() {
			// If this ever fails, the operator is banned nevertheless, and can still deregister.
			let ended = with_storage_layer(|| Self::end_registration(operator, from_round));
			ended
				.defensive_proof("a deposit on hold can be released, and rewards settle")
				.ok();
		}
	}

	/// Checks all conditions of annulling a vote, and returns the result.
	pub(crate) fn ensure_annul(
		worker: WorkerId,
		round: RoundIndex,
		receipt: &AgentSignature,
	) -> Result<Annulled<T>, Error<T>> {
		let account = LoneVotes::<T>::get((round, worker)).ok_or(Error::<T>::NoStrike)?;
		let mut strikes = StrikesOf::<T>::get(&account);
		let index = strikes
			.iter()
			.position(|strike| strike.round == round)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		let strike = strikes
			.get_mut(index)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		let place = strike
			.votes
			.iter()
			.position(|vote| vote.worker == worker)
			.defensive_ok_or(Error::<T>::Inconsistent)?;
		ensure!(
			strike.can_be_annulled(T::Time::now(), Self::block()),
			Error::<T>::StrikeIsFinal
		);
		let payload = strike.receipt_payload(genesis::<T>(), worker);
		let vote = strike.votes.remove(place);
		ensure!(
			sp_io::crypto::ed25519_verify(receipt, &payload, &vote.agent),
			Error::<T>::InvalidReceipt
		);
		let (operator, left) = (strike.operator, strike.votes.len() as u32);
		if left == 0 {
			strikes.remove(index);
		}
		let revised = Self::ensure_ban_revised(&account, &strikes)?;
		Ok(Annulled {
			account,
			operator,
			strikes,
			left,
			revised,
		})
	}

	pub(crate) fn do_annul_strike(
		worker: WorkerId,
		round: RoundIndex,
		receipt: &AgentSignature,
	) -> DispatchResult {
		let Annulled {
			account,
			operator,
			strikes,
			left,
			revised,
		} = Self::ensure_annul(worker, round, receipt)?;

		LoneVotes::<T>::remove((round, worker));
		if strikes.is_empty() {
			StrikesOf::<T>::remove(&account);
		} else {
			StrikesOf::<T>::insert(&account, &strikes);
		}
		Self::deposit_event(Event::StrikeAnnulled {
			operator,
			worker,
			round,
			left,
		});
		if let Some((operator, until)) = revised {
			let (from_round, in_flight) = (T::Checks::next_round(), T::Checks::in_flight());
			Self::mutate_operator(operator, |record| {
				record.ban = until;
				record.redraw(from_round, &in_flight);
				record.presence.count = 0;
				Ok(())
			})?;
			Self::deposit_event(Event::BanRevised {
				operator,
				until,
				from_round,
			});
		}
		Ok(())
	}

	/// Accepts a receipt that annuls a vote into the pool, whatever its source.
	pub(crate) fn authorize_annul_strike(
		_source: TransactionSource,
		worker: &WorkerId,
		round: &RoundIndex,
		receipt: &AgentSignature,
	) -> TransactionValidityWithRefund {
		Self::ensure_annul(*worker, *round, receipt).map_err(|error| match error {
			Error::<T>::NoStrike | Error::<T>::StrikeIsFinal => InvalidTransaction::Stale,
			Error::<T>::InvalidReceipt => InvalidTransaction::BadProof,
			_ => InvalidTransaction::Call,
		})?;
		accept(
			"checkers/annul",
			(round, worker),
			// Above all signed transactions, but below the calls of rounds, which cannot wait for a day.
			TransactionPriority::MAX / 2,
			ANNUL_LONGEVITY,
		)
	}

	/// Returns the end of the ban of the account's last registration under these strikes, if it is earlier
	/// than the present one. If they no longer call for a ban, it is over, and the operator is in the draw
	/// again.
	fn ensure_ban_revised(
		who: &T::AccountId,
		strikes: &Strikes,
	) -> Result<Option<(OperatorId, Option<u64>)>, Error<T>> {
		let operator = NumberOf::<T>::get(who).defensive_ok_or(Error::<T>::Inconsistent)?;
		let record = Operators::<T>::get(operator).defensive_ok_or(Error::<T>::Inconsistent)?;
		let until = banned_until(strikes.iter().map(|strike| strike.at)).unwrap_or(0);
		Ok(record.ban.filter(|ban| *ban > until).map(|_| {
			(
				operator,
				Some(until).filter(|until| *until > T::Time::now()),
			)
		}))
	}

	/// Returns the end of the operator's ban, in milliseconds, if it is banned now.
	pub(crate) fn banned_until(record: &OperatorOf<T>) -> Option<u64> {
		record.ban.filter(|until| T::Time::now() < *until)
	}

	/// Returns the current block.
	pub(crate) fn block() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}
}
