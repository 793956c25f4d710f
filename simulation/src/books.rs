//! The balance sheet of a party.
//!
//! | Item | Value |
//! | --- | --- |
//! | accounts | free and held KAI: escrow, bonds and deposits are on hold on them |
//! | stake | own and delegated, bonded and unbonding, less what the queued slashes would take |
//! | rewards | rewards that could be claimed now, settled or not |
//! | vKAI | at full value, as after 180 days; redemptions at the amount that they pay |
//! | credits | at face value, for which they can buy |
//!
//! The score of the running epoch is not included: its value is not known before the epoch's end.

use crate::actors::Party;
use kaisar_primitives::{Balance, PoolId};
use kaisar_runtime::{AccountId, Providers, Rewards, Runtime, System};
use pallet_providers::{RecordOf, pool::Unbonding, pool::UnbondingStake};

/// Returns an account's balance in KAI, vKAI and credits.
fn purse(who: &AccountId) -> Balance {
	let data = System::account(who).data;
	let redemptions: Balance = Rewards::redemptions_of(who.clone())
		.iter()
		.map(|redemption| redemption.pays)
		.sum();
	let credits = pallet_orders::Credits::<Runtime>::get(who);
	data.free
		+ data.reserved
		+ Rewards::claimable(who.clone())
		+ Rewards::vkai(who.clone())
		+ redemptions
		+ credits
		+ credits_in_escrow(who)
}

/// Returns the credits that an account's orders hold.
fn credits_in_escrow(who: &AccountId) -> Balance {
	pallet_orders::OrdersByCustomer::<Runtime>::iter_key_prefix(who)
		.filter_map(|id| pallet_orders::Orders::<Runtime>::get(u32::from_be_bytes(id)))
		.map(|order| order.ledger.escrow.credits)
		.sum()
}

fn unbonding(part: &UnbondingStake, pieces: &[Unbonding]) -> Balance {
	pieces.iter().filter_map(|piece| part.worth(piece)).sum()
}

/// Returns a record as if its queued slashes had been applied.
fn slashed(mut record: RecordOf<Runtime>) -> RecordOf<Runtime> {
	record.pool.slash(record.queued.most());
	record
}

/// Returns an account's stake on a worker, and the worker's rewards that it can claim.
fn stake(worker: u32, who: &AccountId) -> Balance {
	let mut sum = Rewards::claimable_by(PoolId::Worker(worker), who.clone());
	let Some(record) = pallet_providers::Workers::<Runtime>::get(worker).map(slashed) else {
		return sum;
	};
	let pieces = pallet_providers::Unbondings::<Runtime>::get(worker, who);
	let is_owner = record.owner == *who;
	let pool = &record.pool;
	if is_owner {
		sum += pool.own + unbonding(&pool.own_unbonding, &pieces);
		sum += Rewards::claimable_from(PoolId::Worker(worker));
	} else {
		let shares = pallet_providers::Delegations::<Runtime>::get(worker, who);
		sum += pool.delegated.worth(shares).unwrap_or(0);
		sum += unbonding(&pool.unbonding, &pieces);
	}
	sum
}

/// Returns the value of everything that a party owns.
pub fn worth(party: &Party) -> Balance {
	let accounts: Balance = party.accounts.iter().map(purse).sum();
	let workers = party.workers.iter().chain(&party.pools);
	let stakes: Balance = workers
		.flat_map(|worker| party.accounts.iter().map(|who| stake(*worker, who)))
		.sum();
	let licenses: Balance = party
		.operators
		.iter()
		.flat_map(|operator| {
			let pool = PoolId::Checker(*operator);
			party
				.accounts
				.iter()
				.map(move |who| Rewards::claimable_by(pool, who.clone()))
		})
		.sum();
	accounts + stakes + licenses
}

/// Returns the total KAI of all accounts.
pub fn all_kai() -> Balance {
	frame_system::Account::<Runtime>::iter_values()
		.map(|account| account.data.free + account.data.reserved)
		.sum()
}

/// Returns the total stake in the records of all pools, and the balance of the account that holds stakes.
pub fn all_stake() -> (Balance, Balance) {
	let pools = pallet_providers::Workers::<Runtime>::iter_values()
		.map(|record| record.pool.total().unwrap_or(0))
		.sum();
	(pools, System::account(Providers::pot()).data.free)
}
