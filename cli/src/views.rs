//! The chain's view functions and storage items, one typed function each.
//!
//! The names of view functions and storage items appear only here; commands use typed values.
//! Where the chain answers in pages, these functions fetch all of them.

use crate::{
	amount::Kai,
	chain::BlockState,
	failure::Result,
	types::{
		Balances, Delegation, DelegationPage, KeyTimeline, Order, Plan, PoolId, Quote, Requirement,
		Template, Unbonding, Worker,
	},
};
use futures::{StreamExt, TryStreamExt, stream};
use subxt::{ext::scale_decode::DecodeAsType, utils::AccountId32};

/// Entries of a page.
const PAGE: u32 = 64;
/// Requests to the node in flight at a time, for an account with many workers.
const AT_ONCE: usize = 16;

/// `System.Account`: the balances of an account, all zero if the chain has no record of it.
pub async fn balances(at: &BlockState, account: AccountId32) -> Result<Balances> {
	#[derive(Default, DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Account {
		data: Balances,
	}
	let found: Option<Account> = at.storage("System", "Account", (account,)).await?;
	Ok(found.unwrap_or_default().data)
}

/// `Orders.quote`: the current price of a machine. Fails if the chain refuses to quote it.
pub async fn quote(at: &BlockState, machine: Requirement, hours: u32, plan: Plan) -> Result<Quote> {
	at.try_view("Orders", "quote", (machine, hours, plan)).await
}

/// `Orders.credits`: an account's credits.
pub async fn credits(at: &BlockState, account: AccountId32) -> Result<Kai> {
	at.view("Orders", "credits", (account,)).await
}

/// `Orders.order`: an order, while the chain keeps it.
pub async fn order(at: &BlockState, order: u32) -> Result<Option<Order>> {
	at.view("Orders", "order", (order,)).await
}

/// `Orders.orders_of`: all orders of an account that the chain keeps.
pub async fn orders_of(at: &BlockState, account: AccountId32) -> Result<Vec<Order>> {
	let mut orders = Vec::new();
	let mut from = 0u32;
	loop {
		let (page, next): (Vec<Order>, Option<u32>) = at
			.view("Orders", "orders_of", (account, from, PAGE))
			.await?;
		orders.extend(page);
		match next {
			Some(next) => from = next,
			None => return Ok(orders),
		}
	}
}

/// `Orders.templates`: the chain's list of templates, in ascending order.
pub async fn templates(at: &BlockState) -> Result<Vec<(u32, Template)>> {
	let mut templates: Vec<(u32, Template)> = Vec::new();
	loop {
		let after = templates.last().map(|(id, _)| *id);
		let page: Vec<(u32, Template)> = at.view("Orders", "templates", (after, PAGE)).await?;
		let last = page.len() < PAGE as usize;
		templates.extend(page);
		if last {
			templates.sort_by_key(|(id, _)| *id);
			return Ok(templates);
		}
	}
}

/// `Orders.template`: a template of the chain's list.
pub async fn template(at: &BlockState, template: u32) -> Result<Option<Template>> {
	at.view("Orders", "template", (template,)).await
}

/// `Providers.worker`: a worker.
pub async fn worker(at: &BlockState, worker: u32) -> Result<Option<Worker>> {
	at.view("Providers", "worker", (worker,)).await
}

/// `Providers.workers_of`: all workers of an account, in ascending order.
pub async fn workers_of(at: &BlockState, account: AccountId32) -> Result<Vec<u32>> {
	let mut workers: Vec<u32> = Vec::new();
	loop {
		let cursor = workers.last().copied();
		let page: Vec<u32> = at
			.view("Providers", "workers_of", (account, cursor, PAGE))
			.await?;
		let last = page.len() < PAGE as usize;
		workers.extend(page);
		if last {
			workers.sort_unstable();
			return Ok(workers);
		}
	}
}

/// `Providers.idle_workers`: the number of idle workers with these GPUs in this region, of any other tiers.
/// Machines without GPUs are listed by their CPU tier in place of a number of GPUs.
pub async fn idle_workers(at: &BlockState, machine: &Requirement) -> Result<u32> {
	let count = match machine.gpu_class {
		0 => machine.min_cpu,
		_ => machine.gpu_count,
	};
	let arguments = (machine.gpu_class, count, machine.region);
	at.view("Providers", "idle_workers", arguments).await
}

/// `Popw.Rounds`: `Bench.disk_mib` of the last round, the size in MiB of a development chain's plots; 0
/// where plots fill the claimed disk. `None` before the first round.
pub async fn plot_mib(at: &BlockState) -> Result<Option<u32>> {
	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Bench {
		disk_mib: u32,
	}
	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Round {
		bench: Bench,
	}
	let next: Option<u32> = at.storage("Popw", "NextRound", ()).await?;
	let Some(last) = next.and_then(|next| next.checked_sub(1)) else {
		return Ok(None);
	};
	let round: Option<Round> = at.storage("Popw", "Rounds", (last,)).await?;
	Ok(round.map(|round| round.bench.disk_mib))
}

/// `Providers.minimum_stake`: the minimum stake for a worker with these GPUs; `None` if the chain does not
/// have the class.
pub async fn minimum_stake(at: &BlockState, gpu_class: u16, gpu_count: u8) -> Result<Option<Kai>> {
	at.view("Providers", "minimum_stake", (gpu_class, gpu_count))
		.await
}

/// `Providers.delegation`: an account's delegation to a worker.
pub async fn delegation(at: &BlockState, worker: u32, account: AccountId32) -> Result<Delegation> {
	at.view("Providers", "delegation", (worker, account)).await
}

/// `Providers.unbonding`: an account's stake that is leaving a worker's pool.
pub async fn unbonding(
	at: &BlockState,
	worker: u32,
	account: AccountId32,
) -> Result<Vec<Unbonding>> {
	at.view("Providers", "unbonding", (worker, account)).await
}

/// `Providers.Workers`: a worker's keys.
pub async fn worker_keys(at: &BlockState, worker: u32) -> Result<Option<KeyTimeline>> {
	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Record {
		keys: KeyTimeline,
	}
	let found: Option<Record> = at.storage("Providers", "Workers", (worker,)).await?;
	Ok(found.map(|record| record.keys))
}

/// `Rewards.vkai`: the vKAI of an account.
pub async fn vkai(at: &BlockState, account: AccountId32) -> Result<Kai> {
	at.view("Rewards", "vkai", (account,)).await
}

/// `Rewards.claimable`: the vKAI that a checker's operator can claim.
pub async fn claimable(at: &BlockState, operator: AccountId32) -> Result<Kai> {
	at.view("Rewards", "claimable", (operator,)).await
}

/// `Rewards.claimable_from`: the amount that the owner of a pool can claim.
pub async fn claimable_from(at: &BlockState, pool: PoolId) -> Result<Kai> {
	at.view("Rewards", "claimable_from", (pool,)).await
}

/// `Rewards.claimable_by`: the amount that a member of a pool can claim.
pub async fn claimable_by(at: &BlockState, pool: PoolId, member: AccountId32) -> Result<Kai> {
	at.view("Rewards", "claimable_by", (pool, member)).await
}

/// `Rewards.delegations_of`: the pools that an account is a member of, with the claimable amount of each.
pub async fn delegations_of(at: &BlockState, account: AccountId32) -> Result<Vec<(PoolId, Kai)>> {
	let mut delegations = Vec::new();
	let mut after: Option<PoolId> = None;
	loop {
		let page: DelegationPage = at
			.view("Rewards", "delegations_of", (account, after, PAGE))
			.await?;
		delegations.extend(page.claims);
		match page.next {
			Some(next) => after = Some(next),
			None => return Ok(delegations),
		}
	}
}

/// Asks about each worker, several at a time, and returns the answers in the workers' order.
pub async fn of_each<T, Asked: Future<Output = Result<T>>>(
	workers: Vec<u32>,
	ask: impl Fn(u32) -> Asked,
) -> Result<Vec<T>> {
	stream::iter(workers)
		.map(ask)
		.buffered(AT_ONCE)
		.try_collect()
		.await
}
