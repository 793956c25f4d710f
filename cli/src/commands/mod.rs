//! The commands.

mod claim;
mod connect;
mod orders;
mod plot;
mod providers;
mod status;
mod templates;
mod wallets;

use crate::{
	amount::Kai,
	args::{Cli, Command, Common},
	chain::{Chain, IncludedCall, InclusionWait},
	classes,
	failure::{Failure, Result},
	output::{self, Align, Output},
	wallet::Wallet,
};
use clap::CommandFactory;
use kaisar_math::{classes::CLASSES, tiers};
use kaisar_tunnel::DialRule;
use serde::Serialize;
use serde_json::json;
use subxt::{ext::scale_encode::EncodeAsFields, tx::DynamicPayload};

/// Context of a command: the shared options and the output.
pub struct Context {
	common: Common,
	output: Output,
}

impl Context {
	/// Connects to the node.
	async fn chain(&self) -> Result<Chain> {
		Chain::connect(&self.common.url).await
	}

	/// Opens and decrypts the wallet.
	fn wallet(&self) -> Result<Wallet> {
		Wallet::open(&self.common.wallet)
	}

	/// Returns how long to wait for a call, and for which state of its block.
	fn inclusion_wait(&self) -> InclusionWait {
		InclusionWait {
			finalized: self.common.finalized,
			timeout: self.common.call_timeout(),
		}
	}

	/// Submits a call from the wallet's account.
	async fn submit<Data: EncodeAsFields>(
		&self,
		chain: &Chain,
		wallet: &Wallet,
		call: &DynamicPayload<Data>,
	) -> Result<IncludedCall> {
		chain.submit(wallet, call, self.inclusion_wait()).await
	}

	/// Prints the outcome of a call: `text`, or `facts` in JSON with the call's block, extrinsic and fee.
	fn done(&self, done: &IncludedCall, facts: serde_json::Value, text: &str) -> Result<()> {
		let mut document = json!({
			"block": done.block,
			"block_hash": done.block_hash,
			"extrinsic": done.extrinsic,
			"fee": done.fee,
		});
		if let (Some(document), serde_json::Value::Object(facts)) =
			(document.as_object_mut(), facts)
		{
			document.extend(facts);
		}
		self.output.show(&document, || {
			let fee = done
				.fee
				.map_or(String::new(), |fee| format!(", fee {fee} KAI"));
			format!("{text}\nblock {}{fee}", done.block)
		})
	}
}

/// Runs the command.
pub async fn run(cli: Cli) -> Result<()> {
	let context = Context {
		output: Output {
			json: cli.common.json,
		},
		common: cli.common,
	};
	let context = &context;
	match cli.command {
		Command::Quote { machine, term } => orders::quote(context, &machine, term).await,
		Command::Order(order) => orders::order(context, &order).await,
		Command::Templates {
			template: Some(id),
			metadata,
		} => templates::show(context, id, metadata.as_deref()).await,
		Command::Templates { .. } => templates::list(context).await,
		Command::Orders {
			order: Some(order), ..
		} => orders::show(context, order).await,
		Command::Orders { account, all, .. } => orders::list(context, account, all).await,
		Command::Extend {
			order,
			hours,
			max_price,
		} => orders::extend(context, order, hours, max_price).await,
		Command::Cancel { order } => orders::cancel(context, order).await,
		Command::Report { order, reason } => orders::report(context, order, reason).await,
		Command::Close { order } => orders::close(context, order).await,
		Command::Connect {
			order,
			listen,
			client_key,
			relay_url,
			private_addresses,
		} => {
			let rule = DialRule {
				private: private_addresses,
				relays: relay_url,
			};
			connect::connect(context, order, &listen, client_key.as_deref(), rule).await
		}
		Command::Register(register) => providers::register(context, &register).await,
		Command::Status {
			worker: Some(worker),
			..
		} => status::worker(context, worker).await,
		Command::Status { account, .. } => status::account(context, account).await,
		Command::Stake { worker, amount } => providers::stake(context, worker, amount).await,
		Command::Unstake { worker, amount } => providers::unstake(context, worker, amount).await,
		Command::Withdraw { worker } => providers::withdraw(context, worker).await,
		Command::Claim { workers } => claim::claim(context, &workers).await,
		Command::GoOnline { worker } => providers::go_online(context, worker).await,
		Command::GoOffline { worker } => providers::go_offline(context, worker).await,
		Command::SetDelegationCap { worker, most } => {
			providers::set_delegation_cap(context, worker, most).await
		}
		Command::SetPrice { worker, price } => providers::set_price(context, worker, price).await,
		Command::SetCommission { worker, commission } => {
			providers::set_commission(context, worker, commission).await
		}
		Command::Deregister { worker } => providers::deregister(context, worker).await,
		Command::CreateWallet { name } => wallets::create(context, &name),
		Command::ImportWallet { name, from } => wallets::import(context, &name, from.as_deref()),
		Command::Address => wallets::address(context),
		Command::Classes => list_classes(context.output),
		Command::Completions { shell } => {
			let mut script = Vec::new();
			clap_complete::generate(shell, &mut Cli::command(), "kaisar", &mut script);
			output::print(&String::from_utf8_lossy(&script))
		}
	}
}

/// Lists the GPU classes and the tiers that this program knows.
fn list_classes(output: Output) -> Result<()> {
	#[derive(Serialize)]
	struct Class {
		id: u16,
		name: &'static str,
		memory_gb: u32,
	}
	let list: Vec<Class> = CLASSES
		.iter()
		.map(|class| Class {
			id: class.id,
			name: class.name,
			memory_gb: class.memory_gb,
		})
		.collect();
	let edges = json!({
		"bandwidth_mbps": tiers::BANDWIDTH,
		"cpu_cores": tiers::CPU,
		"memory_gb": tiers::MEMORY,
		"disk_gb": tiers::DISK,
	});
	output.show(&json!({ "classes": list, "tiers_from_1": edges }), || {
		let rows: Vec<Vec<String>> = list
			.iter()
			.map(|class| {
				vec![
					class.id.to_string(),
					classes::name(class.id),
					class.memory_gb.to_string(),
				]
			})
			.collect();
		let titles = [
			("ID", Align::Right),
			("CLASS", Align::Left),
			("GB", Align::Right),
		];
		let tier_rows: Vec<Vec<String>> = (0..=tiers::MAX_TIER)
			.map(|tier| {
				vec![
					tier.to_string(),
					classes::bandwidth(tier),
					classes::tier(&tiers::CPU, tier),
					classes::tier(&tiers::MEMORY, tier),
					classes::tier(&tiers::DISK, tier),
				]
			})
			.collect();
		let tier_titles = [
			("TIER", Align::Right),
			("DOWN/UP MB/S", Align::Left),
			("CPU CORES", Align::Left),
			("MEMORY GB", Align::Left),
			("DISK GB", Align::Left),
		];
		format!(
			"{}\n\n{}",
			output::table(&titles, &rows),
			output::table(&tier_titles, &tier_rows)
		)
	})
}

/// Formats a number of things: `1 worker`, `3 workers`.
fn counted(number: usize, thing: &str) -> String {
	if number == 1 {
		format!("1 {thing}")
	} else {
		format!("{number} {thing}s")
	}
}

/// Reports a worker that does not exist.
fn no_worker(worker: u32) -> Failure {
	Failure::not_found(format!("worker {worker} does not exist"))
		.advise("`kaisar status` lists your workers")
}

/// Formats an amount with its unit.
fn kai(amount: Kai) -> String {
	format!("{amount} KAI")
}
