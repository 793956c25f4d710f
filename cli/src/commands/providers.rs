//! Commands of providers and delegators: workers and stake.

use super::{Context, counted, kai, no_worker, plot};
use crate::{
	amount::{Kai, Share},
	args::{AmountOrAll, Register},
	chain::BlockState,
	classes,
	failure::{Failure, Result},
	keys::{self, Keys},
	keystore::read_text,
	output::when,
	types::{Arch, Cuda, Worker, WorkerSpec},
	views,
	wallet::read_secret,
};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use subxt::{
	dynamic,
	ext::{scale_decode::DecodeAsType, scale_encode::EncodeAsFields},
	tx::DynamicPayload,
	utils::AccountId32,
};

/// Registers a worker.
pub async fn register(context: &Context, args: &Register) -> Result<()> {
	let detected = args.spec.as_deref().map(read_spec).transpose()?;
	let spec = args.hardware.claim(detected).map_err(|missing| {
		Failure::usage(format!(
			"missing hardware description: {}",
			missing.join(", ")
		))
		.advise(
			"give these options, or `kaisar-agent detect --json --region DE … | kaisar register --spec - …`",
		)
	})?;
	let keys = worker_keys(args)?;
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	let at = chain.best().await?;
	let least = views::minimum_stake(&at, spec.gpu_class, spec.gpu_count).await?;
	let least = least.ok_or_else(|| {
		Failure::refused(
			"Providers.UnknownGpuClass",
			format!("the chain has no GPU class {}", spec.gpu_class),
		)
		.advise("`kaisar classes` lists the classes")
	})?;
	let stake = args.stake.unwrap_or(least);
	let chain = match plot::fill(context, args, &chain, &spec).await? {
		// Filling takes hours, and the connection may be lost by then.
		true => context.chain().await?,
		false => chain,
	};
	let (worker_key, agent_key) = keys.public();
	let proof = keys.proof(chain.genesis(), &wallet.account().0);
	let call = dynamic::transaction(
		"Providers",
		"register_worker",
		(spec, worker_key, agent_key, stake, proof),
	);
	let done = context.submit(&chain, &wallet, &call).await?;

	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Registered {
		worker: u32,
	}
	let Registered { worker } = done.expect_event("Providers", "WorkerRegistered")?;
	context.done(
		&done,
		json!({
			"worker": worker,
			"stake": stake,
			"spec": spec,
			"worker_key": worker_key,
			"agent_key": agent_key,
		}),
		&format!(
			"worker {worker} is registered: {}, stake {}; it is verified in the next round, see `kaisar status {worker}`",
			describe(&spec),
			kai(stake)
		),
	)
}

/// Reads the worker's keys from the sources that the command line names.
fn worker_keys(args: &Register) -> Result<Keys> {
	if let Some(folder) = &args.node_dir {
		let password = match &args.keystore_password_file {
			Some(path) => Some(read_text(path)?.trim_end_matches(['\r', '\n']).to_owned()),
			None => None,
		};
		return Keys::of_node(folder, password.as_deref());
	}
	let missing = |what: &str| {
		Failure::usage(format!("no {what} given"))
			.advise("give --node-dir, or --worker-key-file and --agent-key-file")
	};
	let worker = match (&args.worker_suri, &args.worker_key_file) {
		(Some(suri), _) => keys::worker_key(suri, None)?,
		(None, Some(path)) => keys::worker_key(&read_text(path)?, None)?,
		(None, None) => return Err(missing("worker key")),
	};
	let agent = match (&args.agent_suri, &args.agent_key_file) {
		(Some(suri), _) => keys::agent_key(suri)?,
		(None, Some(path)) => keys::agent_of(path)?,
		(None, None) => return Err(missing("agent key")),
	};
	Ok(Keys { worker, agent })
}

/// Reads the output of `kaisar-agent detect --json`.
fn read_spec(path: &Path) -> Result<WorkerSpec> {
	let text = if path == Path::new("-") {
		read_secret("Output of `kaisar-agent detect --json`: ")?
	} else {
		read_text(path)?
	};
	parse_spec(&text)
}

fn parse_spec(text: &str) -> Result<WorkerSpec> {
	#[derive(Deserialize)]
	struct Detected {
		gpu_class: u16,
		gpu_count: u8,
		cpu_cores: u16,
		memory_gb: u32,
		disk_gb: u32,
		download_mbps: u32,
		upload_mbps: u32,
		region: String,
		arch: Arch,
		driver: u16,
		cuda: u16,
	}
	let not_that = |why: &dyn std::fmt::Display| {
		Failure::usage(format!(
			"not the output of `kaisar-agent detect --json`: {why}"
		))
	};
	let found: Detected = serde_json::from_str(text).map_err(|error| not_that(&error))?;
	Ok(WorkerSpec {
		gpu_class: found.gpu_class,
		gpu_count: found.gpu_count,
		cpu_cores: found.cpu_cores,
		memory_gb: found.memory_gb,
		disk_gb: found.disk_gb,
		download_mbps: found.download_mbps,
		upload_mbps: found.upload_mbps,
		region: found.region.parse().map_err(|why: String| not_that(&why))?,
		arch: found.arch,
		driver: found.driver,
		cuda: Cuda(found.cuda),
	})
}

/// Describes a claim in one line.
pub fn describe(spec: &WorkerSpec) -> String {
	format!(
		"{}, {}, {} GB of memory, {} GB of disk, {}/{} Mb/s, in {}",
		classes::gpus(spec.gpu_class, spec.gpu_count),
		counted(spec.cpu_cores.into(), "core"),
		spec.memory_gb,
		spec.disk_gb,
		spec.download_mbps,
		spec.upload_mbps,
		spec.region
	)
}

/// Stakes on a worker.
pub async fn stake(context: &Context, worker: u32, amount: Kai) -> Result<()> {
	let call = dynamic::transaction("Providers", "stake", (worker, amount));
	let text = format!("staked {} on worker {worker}", kai(amount));
	act(context, worker, &call, json!({ "amount": amount }), text).await
}

/// Takes stake back.
pub async fn unstake(context: &Context, worker: u32, amount: AmountOrAll) -> Result<()> {
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	let at = chain.best().await?;
	let record = find(&at, worker).await?;
	let account = wallet.account();
	let amount = match amount {
		AmountOrAll::Amount(amount) => amount,
		AmountOrAll::All => all_of(&at, worker, &record, account).await?,
	};
	let call = dynamic::transaction("Providers", "unstake", (worker, amount));
	let done = context.submit(&chain, &wallet, &call).await?;

	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Unstaked {
		amount: Kai,
		until: u32,
	}
	let Unstaked { amount, until } = done.expect_event("Providers", "Unstaked")?;
	context.done(
		&done,
		json!({ "worker": worker, "amount": amount, "until": until }),
		&format!(
			"{} of worker {worker} is unbonding; `kaisar withdraw {worker}` pays it out from {} on",
			kai(amount),
			when(until, at.number())
		),
	)
}

/// Returns all stake that an account can take out of a worker's pool.
async fn all_of(
	at: &BlockState,
	worker: u32,
	record: &Worker,
	account: AccountId32,
) -> Result<Kai> {
	let amount = if record.owner == account {
		// The owner's minimum stays as long as the worker is registered.
		let least = record.minimum.unwrap_or_default();
		Kai(record.own.0.saturating_sub(least.0))
	} else {
		views::delegation(at, worker, account).await?.value
	};
	if amount == Kai(0) {
		return Err(Failure::refused(
			"Providers.ZeroAmount",
			format!("no stake can be taken from worker {worker}"),
		)
		.advise("the owner's minimum stays until the worker is deregistered"));
	}
	Ok(amount)
}

/// Withdraws stake that has unbonded.
pub async fn withdraw(context: &Context, worker: u32) -> Result<()> {
	let call = dynamic::transaction("Providers", "withdraw_unbonded", (worker,));
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	let done = context.submit(&chain, &wallet, &call).await?;

	#[derive(DecodeAsType)]
	#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
	struct Withdrawn {
		amount: Kai,
	}
	let withdrawn: Option<Withdrawn> = done.event("Providers", "Withdrawn")?;
	let amount = withdrawn.map(|withdrawn| withdrawn.amount);
	let text = match amount {
		Some(amount) => format!("withdrew {} from worker {worker}", kai(amount)),
		None => format!("withdrew the unbonded stake from worker {worker}"),
	};
	context.done(&done, json!({ "worker": worker, "amount": amount }), &text)
}

/// Brings a worker back online.
pub async fn go_online(context: &Context, worker: u32) -> Result<()> {
	let call = dynamic::transaction("Providers", "go_online", (worker,));
	let text = format!("worker {worker} is back online; one of the next rounds verifies it");
	act(context, worker, &call, json!({}), text).await
}

/// Takes a worker offline.
pub async fn go_offline(context: &Context, worker: u32) -> Result<()> {
	let call = dynamic::transaction("Providers", "go_offline", (worker,));
	let text = format!("worker {worker} is offline until `kaisar go-online {worker}`");
	act(context, worker, &call, json!({}), text).await
}

/// Sets a worker's price floor.
pub async fn set_price(context: &Context, worker: u32, price: Kai) -> Result<()> {
	let call = dynamic::transaction("Providers", "set_price_floor", (worker, price));
	let text = format!(
		"worker {worker} is not rented out below {} per GPU-hour (core-hour without a GPU)",
		kai(price)
	);
	act(context, worker, &call, json!({ "price": price }), text).await
}

/// Sets the maximum stake that others may delegate to a worker.
pub async fn set_delegation_cap(context: &Context, worker: u32, most: Kai) -> Result<()> {
	let call = dynamic::transaction("Providers", "set_delegation_cap", (worker, most));
	let text = format!(
		"worker {worker} accepts at most {} of delegated stake",
		kai(most)
	);
	act(context, worker, &call, json!({ "most": most }), text).await
}

/// Sets the part of the reward that all stakers share.
pub async fn set_commission(context: &Context, worker: u32, commission: Share) -> Result<()> {
	let call = dynamic::transaction("Providers", "set_commission", (worker, commission));
	let text =
		format!("stakers of worker {worker} share {commission} of its reward after a whole epoch");
	act(
		context,
		worker,
		&call,
		json!({ "commission": commission }),
		text,
	)
	.await
}

/// Takes a worker off the network for good.
pub async fn deregister(context: &Context, worker: u32) -> Result<()> {
	let call = dynamic::transaction("Providers", "deregister_worker", (worker,));
	let text =
		format!("worker {worker} is deregistered; its stake unbonds, see `kaisar status {worker}`");
	act(context, worker, &call, json!({}), text).await
}

/// Submits a call about a worker. Fails if the worker does not exist.
async fn act<Data: EncodeAsFields>(
	context: &Context,
	worker: u32,
	call: &DynamicPayload<Data>,
	facts: serde_json::Value,
	text: String,
) -> Result<()> {
	let wallet = context.wallet()?;
	let chain = context.chain().await?;
	find(&chain.best().await?, worker).await?;
	let done = context.submit(&chain, &wallet, call).await?;
	let mut facts = facts;
	facts["worker"] = worker.into();
	context.done(&done, facts, &text)
}

/// Returns a worker, or fails if it does not exist.
pub async fn find(at: &BlockState, worker: u32) -> Result<Worker> {
	views::worker(at, worker)
		.await?
		.ok_or_else(|| no_worker(worker))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{failure::Kind, types::Region};

	#[test]
	fn the_agents_output_is_read() {
		let text = r#"{"cpu_cores":2,"disk_gb":30,"download_mbps":100,"gpu_class":0,"gpu_count":0,
			"memory_gb":15,"region":"DE","upload_mbps":90,"arch":"arm64","driver":570,"cuda":1208}"#;
		let spec = parse_spec(text).expect("it is what it prints");
		assert_eq!(
			(spec.cpu_cores, spec.upload_mbps, spec.region),
			(2, 90, Region(*b"DE"))
		);
		assert_eq!(
			(spec.arch, spec.driver, spec.cuda),
			(Arch::Arm64, 570, Cuda(1_208))
		);
		assert_eq!(
			describe(&spec),
			"no GPU, 2 cores, 15 GB of memory, 30 GB of disk, 100/90 Mb/s, in DE"
		);
		for text in [
			"",
			"{}",
			"null",
			&text.replace("\"DE\"", "\"Germany\""),
			&text.replace("2,", "70000,"),
		] {
			let failure = parse_spec(text).expect_err(text);
			assert_eq!(failure.kind, Kind::Usage);
		}
	}
}
