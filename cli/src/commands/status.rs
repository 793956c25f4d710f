//! The state of accounts and workers.

use super::{
	Context, claim, kai,
	orders::image,
	providers::{describe, find},
	templates,
};
use crate::{
	amount::Kai,
	chain::BlockState,
	classes,
	failure::Result,
	output::{Align, Facts, bold, table, time, when},
	types::{PoolId, Profile, Unbonding, Worker},
	views,
	wallet::Wallet,
};
use serde::Serialize;
use serde_json::json;
use subxt::utils::AccountId32;

/// A worker of an account.
#[derive(Serialize)]
struct Owned {
	id: u32,
	#[serde(flatten)]
	worker: Worker,
	claimable: Kai,
}

/// Shows an account.
pub async fn account(context: &Context, account: Option<AccountId32>) -> Result<()> {
	let account = match account {
		Some(account) => account,
		None => Wallet::account_of(&context.common.wallet)?,
	};
	let at = context.chain().await?.best().await?;
	let balances = views::balances(&at, account).await?;
	let credits = views::credits(&at, account).await?;
	let vkai = views::vkai(&at, account).await?;
	let claims = claim::of_account(&at, account).await?;
	let ids = views::workers_of(&at, account).await?;
	let (at_block, claims_of) = (&at, &claims);
	let workers = views::of_each(ids, |id| async move {
		Ok(Owned {
			id,
			worker: find(at_block, id).await?,
			claimable: claims_of.as_owner_of(id),
		})
	})
	.await?;
	let document = json!({
		"block": at.number(),
		"address": account,
		"free": balances.free,
		"reserved": balances.reserved,
		"frozen": balances.frozen,
		"credits": credits,
		"vkai": vkai,
		"claimable_vkai": claims.checker,
		"delegations": claims.delegations,
		"workers": workers,
	});
	context.output.show(&document, || {
		let some = |amount: Kai| (amount.0 > 0).then(|| kai(amount));
		let vkai_of = |amount: Kai| (amount.0 > 0).then_some(amount);
		let mut text = Facts::default()
			.add("Account", account)
			.add("Free", kai(balances.free))
			.maybe("On hold", some(balances.reserved))
			.maybe("Frozen", some(balances.frozen))
			.maybe("Credits", some(credits))
			.maybe("vKAI", vkai_of(vkai))
			.maybe("Claimable vKAI", vkai_of(claims.checker))
			.text();
		if !workers.is_empty() {
			text += &format!("\n\n{}", worker_table(&workers));
		}
		if !claims.delegations.is_empty() {
			let rows: Vec<Vec<String>> = claims
				.delegations
				.iter()
				.map(|(pool, amount)| match pool {
					PoolId::Worker(id) => vec![format!("worker {id}"), kai(*amount)],
					PoolId::Checker(id) => vec![format!("checker {id}"), format!("{amount} vKAI")],
				})
				.collect();
			let titles = [("MEMBER OF", Align::Left), ("CLAIMABLE", Align::Right)];
			text += &format!("\n\n{}", table(&titles, &rows));
		}
		text
	})
}

fn worker_table(workers: &[Owned]) -> String {
	let rows: Vec<Vec<String>> = workers
		.iter()
		.map(|owned| {
			let worker = &owned.worker;
			vec![
				owned.id.to_string(),
				state(worker),
				worker
					.order
					.map_or_else(String::new, |order| order.to_string()),
				classes::gpus(worker.spec.gpu_class, worker.spec.gpu_count),
				worker.own.to_string(),
				worker.delegated.to_string(),
				worker.reliability.to_string(),
				owned.claimable.to_string(),
			]
		})
		.collect();
	table(
		&[
			("WORKER", Align::Right),
			("STATE", Align::Left),
			("ORDER", Align::Right),
			("GPUS", Align::Left),
			("STAKE", Align::Right),
			("DELEGATED", Align::Right),
			("RELIABILITY", Align::Right),
			("CLAIMABLE", Align::Right),
		],
		&rows,
	)
}

/// Shows a worker, and the wallet's holdings in it if there is a wallet.
pub async fn worker(context: &Context, id: u32) -> Result<()> {
	let at = context.chain().await?.best().await?;
	let worker = find(&at, id).await?;
	let mine = match Wallet::account_of(&context.common.wallet) {
		Ok(account) => Some(mine(&at, id, account).await?),
		// Without a wallet, show the worker alone.
		Err(_) => None,
	};
	let served = match worker.order {
		Some(order) => views::order(&at, order).await?,
		None => None,
	};
	let workload = served.as_ref().and_then(|order| order.workload.as_ref());
	let document = json!({
		"block": at.number(),
		"id": id,
		"worker": worker,
		"workload": workload,
		"mine": mine,
	});
	let now = at.number();
	context.output.show(&document, || {
		let some = |amount: Kai| (amount.0 > 0).then(|| kai(amount));
		let mut facts = Facts::default()
			.add("Worker", id)
			.add("State", state(&worker))
			.add("Owner", worker.owner)
			.maybe("Order", worker.order);
		if let (Some(order), Some(workload)) = (&served, workload) {
			facts = templates::describe(facts.add("Image", image(order)), &workload.run);
		}
		let mut text = facts
			.add("Claimed", describe(&worker.spec))
			.add(
				"Verified",
				worker.profile.map_or("nothing yet".into(), verified),
			)
			.maybe("Proved at", worker.proved_at.map(|block| when(block, now)))
			.maybe(
				"Rented, not proved yet",
				(worker.rented > 0).then(|| time(worker.rented)),
			)
			.add("Reliability", worker.reliability)
			.add("Stake", kai(worker.own))
			.maybe("Minimum stake", worker.minimum.map(kai))
			.maybe("Delegated", some(worker.delegated))
			.maybe("Delegation cap", worker.delegation_cap.map(kai))
			.maybe("Unbonding", some(worker.unbonding))
			.maybe("Queued slashes", some(worker.queued))
			.add("Commission", worker.commission)
			.maybe(
				"",
				worker
					.next_commission
					.map(|(epoch, share)| format!("{share} from epoch {epoch} on")),
			)
			.add(
				"Price floor",
				format!(
					"{} per {}-hour",
					kai(worker.price_floor),
					match worker.spec.gpu_class {
						0 => "core",
						_ => "GPU",
					}
				),
			)
			.text();
		if let Some(mine) = mine.filter(|mine| !mine.is_empty()) {
			let mut facts = Facts::default()
				.maybe("Delegated", some(mine.delegated))
				.maybe("Claimable", some(mine.claimable));
			for piece in &mine.unbonding {
				facts = facts.add(
					"Unbonding",
					format!("{} until {}", kai(piece.value), when(piece.until, now)),
				);
			}
			text += &format!("\n\n{}\n{}", bold("This wallet"), facts.text());
		}
		text
	})
}

/// Holdings of an account in a worker's pool, without an owner's stake.
#[derive(Serialize)]
struct Mine {
	delegated: Kai,
	claimable: Kai,
	unbonding: Vec<Unbonding>,
}

impl Mine {
	fn is_empty(&self) -> bool {
		self.delegated == Kai(0) && self.claimable == Kai(0) && self.unbonding.is_empty()
	}
}

async fn mine(at: &BlockState, worker: u32, account: AccountId32) -> Result<Mine> {
	let delegation = views::delegation(at, worker, account).await?;
	let claims = claim::from_worker(at, worker, account).await?;
	let member = claims
		.delegations
		.first()
		.map_or(Kai(0), |(_, amount)| *amount);
	Ok(Mine {
		delegated: delegation.value,
		claimable: Kai(claims.as_owner_of(worker).0.saturating_add(member.0)),
		unbonding: views::unbonding(at, worker, account).await?,
	})
}

fn state(worker: &Worker) -> String {
	let state = format!("{:?}", worker.state);
	match worker.forced {
		_ if worker.deregistered => "Deregistered".into(),
		Some(forced) => format!("{state}, due in round {}", forced.round),
		None => state,
	}
}

fn verified(profile: Profile) -> String {
	format!(
		"{}; tiers: bandwidth {}, CPU {}, memory {}, disk {}",
		classes::gpus(profile.gpu_class, profile.gpu_count),
		profile.bandwidth,
		profile.cpu,
		profile.memory,
		profile.disk
	)
}
