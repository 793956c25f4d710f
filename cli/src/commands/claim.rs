//! Rewards: the claimable amounts, and their claims.

use super::{Context, counted, kai};
use crate::{
	amount::Kai,
	chain::{BlockState, IncludedCall},
	failure::{Failure, Result},
	types::PoolId,
	views,
};
use serde_json::json;
use subxt::{
	dynamic::{self, Value},
	ext::{
		scale_decode::DecodeAsType,
		scale_value::{Composite, value},
	},
	tx::DynamicPayload,
	utils::AccountId32,
};

/// Maximum number of claims in one transaction.
const BATCH: usize = 32;

/// Claimable amounts of an account.
pub struct Claims {
	/// KAI from each worker that it owns.
	pub owned: Vec<(u32, Kai)>,
	/// vKAI as a checker's operator.
	pub checker: Kai,
	/// Amounts as a member of pools: KAI from workers, vKAI from operators.
	pub delegations: Vec<(PoolId, Kai)>,
}

impl Claims {
	/// Returns the amount that the account can claim as owner of a worker.
	pub fn as_owner_of(&self, worker: u32) -> Kai {
		self.owned
			.iter()
			.find(|(id, _)| *id == worker)
			.map_or(Kai(0), |(_, amount)| *amount)
	}

	fn calls(&self) -> Vec<Claim> {
		let owned = self.owned.iter().map(|(worker, _)| Claim::Worker(*worker));
		let checker = (self.checker > Kai(0)).then_some(Claim::Checker);
		let members = self
			.delegations
			.iter()
			.map(|(pool, _)| Claim::Member(*pool));
		owned.chain(checker).chain(members).collect()
	}
}

/// A call that claims one reward.
#[derive(Clone, Copy)]
enum Claim {
	Worker(u32),
	Checker,
	Member(PoolId),
}

impl Claim {
	fn call(self) -> DynamicPayload<Composite<()>> {
		let (name, fields) = match self {
			Self::Worker(worker) => ("claim_worker", vec![("worker", value!(worker))]),
			Self::Checker => ("claim_checker", vec![]),
			Self::Member(pool) => {
				let (kind, id) = match pool {
					PoolId::Worker(id) => ("Worker", id),
					PoolId::Checker(id) => ("Checker", id),
				};
				let pool = Value::unnamed_variant(kind, [value!(id)]);
				("claim_delegation", vec![("pool", pool)])
			}
		};
		dynamic::transaction("Rewards", name, Composite::named(fields))
	}
}

/// Returns the amounts that an account can claim as owner, operator and member.
pub async fn of_account(at: &BlockState, account: AccountId32) -> Result<Claims> {
	let workers = views::workers_of(at, account).await?;
	let mut owned = views::of_each(workers, |worker| async move {
		Ok((
			worker,
			views::claimable_from(at, PoolId::Worker(worker)).await?,
		))
	})
	.await?;
	owned.retain(|(_, amount)| *amount > Kai(0));
	let mut delegations = views::delegations_of(at, account).await?;
	delegations.retain(|(_, amount)| *amount > Kai(0));
	Ok(Claims {
		owned,
		checker: views::claimable(at, account).await?,
		delegations,
	})
}

/// Returns the amounts that an account can claim from one worker, as its owner and as a member.
pub async fn from_worker(at: &BlockState, worker: u32, account: AccountId32) -> Result<Claims> {
	let pool = PoolId::Worker(worker);
	let owned = match views::worker(at, worker).await? {
		Some(record) if record.owner != account => Kai(0),
		// The rewards of a removed worker stay claimable; the chain checks the owner.
		_ => views::claimable_from(at, pool).await?,
	};
	let member = views::claimable_by(at, pool, account).await?;
	Ok(Claims {
		owned: (owned > Kai(0))
			.then_some((worker, owned))
			.into_iter()
			.collect(),
		checker: Kai(0),
		delegations: (member > Kai(0))
			.then_some((pool, member))
			.into_iter()
			.collect(),
	})
}

/// Claims all rewards, or those of the given workers.
pub async fn claim(context: &Context, workers: &[u32]) -> Result<()> {
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	let at = chain.best().await?;
	let account = wallet.account();
	let mut claims = Vec::new();
	if workers.is_empty() {
		claims.extend(of_account(&at, account).await?.calls());
	}
	for worker in workers {
		claims.extend(from_worker(&at, *worker, account).await?.calls());
	}
	if claims.is_empty() {
		return Err(Failure::not_found("there is nothing to claim")
			.named("NothingToClaim")
			.advise("rewards become claimable when their epoch ends; `kaisar status` shows them"));
	}
	let mut got = Got::default();
	let mut last = None;
	for part in claims.chunks(BATCH) {
		let done = match part {
			[claim] => context.submit(&chain, &wallet, &claim.call()).await?,
			part => {
				// All or none, so that the failing call's error is returned.
				let calls: Vec<Value> =
					part.iter().map(|claim| claim.call().into_value()).collect();
				let batch = dynamic::transaction("Utility", "batch_all", (calls,));
				context.submit(&chain, &wallet, &batch).await?
			}
		};
		got.add(&done)?;
		last = Some(done);
	}
	// Unreachable: `claims` is not empty.
	let Some(done) = last else {
		return Ok(());
	};
	let mut parts = Vec::new();
	if got.kai > Kai(0) {
		parts.push(kai(got.kai));
	}
	if got.vkai > Kai(0) {
		parts.push(format!("{} vKAI", got.vkai));
	}
	context.done(
		&done,
		json!({ "claims": claims.len(), "kai": got.kai, "vkai": got.vkai }),
		&format!(
			"claimed {} with {}",
			parts.join(" and "),
			counted(claims.len(), "claim")
		),
	)
}

/// Claimed amounts, summed from the chain's events.
#[derive(Default)]
struct Got {
	kai: Kai,
	vkai: Kai,
}

impl Got {
	fn add(&mut self, done: &IncludedCall) -> Result<()> {
		#[derive(DecodeAsType)]
		#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
		struct Claimed {
			amount: Kai,
		}
		#[derive(DecodeAsType)]
		#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
		struct Member {
			pool: PoolId,
			amount: Kai,
		}
		let mut put = |is_kai: bool, amount: Kai| {
			let sum = if is_kai {
				&mut self.kai
			} else {
				&mut self.vkai
			};
			*sum = Kai(sum.0.saturating_add(amount.0));
		};
		for Claimed { amount } in done.events("Rewards", "WorkerClaimed")? {
			put(true, amount);
		}
		for Claimed { amount } in done.events("Rewards", "CheckerClaimed")? {
			put(false, amount);
		}
		for Member { pool, amount } in done.events("Rewards", "DelegationClaimed")? {
			put(matches!(pool, PoolId::Worker(_)), amount);
		}
		Ok(())
	}
}
