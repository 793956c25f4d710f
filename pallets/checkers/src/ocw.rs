//! The off-chain worker: annuls the strikes of this node's operators for which it has a receipt.
//!
//! Popw's off-chain worker stores receipts in local storage ([`receipts_key`]). Each submission carries the
//! strike as its tag, so the pool keeps one for each strike; once it is on chain, the strike is gone, and
//! nothing more is submitted.

use crate::*;
use kaisar_primitives::{Seats, agent::receipts_key, offchain};
use sp_runtime::RuntimeAppPublic;

/// Runs after each imported block. Without strikes it reads only its operators' records and their empty
/// lists of strikes.
pub fn run<T: Config>() {
	for key in CheckerKey::all() {
		let record = <Pallet<T> as Seats<T::AccountId>>::by_key(&key).and_then(Operators::<T>::get);
		if let Some(record) = record {
			annul_all::<T>(&record.account);
		}
	}
}

fn annul_all<T: Config>(account: &T::AccountId) {
	let (now, block) = (T::Time::now(), Pallet::<T>::block());
	let strikes = StrikesOf::<T>::get(account);
	for strike in strikes
		.iter()
		.filter(|strike| strike.can_be_annulled(now, block))
	{
		let receipts: alloc::vec::Vec<(WorkerId, AgentSignature)> =
			offchain::read(&receipts_key(strike.operator, strike.round)).unwrap_or_default();
		for vote in &strike.votes {
			let Some((worker, receipt)) =
				receipts.iter().find(|(worker, _)| *worker == vote.worker)
			else {
				log::debug!(
					target: LOG_TARGET,
					"operator {}: no receipt for worker {} in round {}; the strike stands",
					strike.operator,
					vote.worker,
					strike.round,
				);
				continue;
			};
			submit::<T>(*worker, strike.round, *receipt);
		}
	}
}

fn submit<T: Config>(worker: WorkerId, round: RoundIndex, receipt: AgentSignature) {
	let call = Call::<T>::annul_strike {
		worker,
		round,
		receipt,
	};
	if offchain::submit::<T, Call<T>>(call) {
		log::info!(
			target: LOG_TARGET,
			"submitted the receipt that annuls the strike for worker {worker} in round {round}",
		);
	}
}
