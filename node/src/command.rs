//! Runs the node or the subcommand that the command line names.

use crate::{
	chain_spec,
	cli::{Cli, Subcommand},
	client, service, staging,
};
use kaisar_runtime::opaque::Block;
use sc_cli::SubstrateCli;
use sc_network::config::NetworkBackendType;
use sc_service::{ChainType, PartialComponents};

/// Default limit on transactions in the pool. In a census of 10⁶ workers, a phase of 625 blocks brings about
/// 81,000 commitments, and as many reveals; the pool holds what a hundred blocks carry.
const POOL_LIMIT: usize = 65_536;
/// Default limit on the size of the pool, in KiB.
const POOL_KBYTES: usize = 128 * 1_024;
/// Defaults of sc-cli, which the two limits above replace.
const SDK_POOL: (usize, usize) = (8_192, 20_480);

/// Log filters of a development chain, which keep the routine of every block out of the log.
const QUIET: [&str; 2] = ["sc_consensus_manual_seal=warn", "sc_basic_authorship=warn"];

impl SubstrateCli for Cli {
	fn impl_name() -> String {
		"Kaisar Node".into()
	}

	fn impl_version() -> String {
		env!("SUBSTRATE_CLI_IMPL_VERSION").into()
	}

	fn description() -> String {
		env!("CARGO_PKG_DESCRIPTION").into()
	}

	fn author() -> String {
		"Kaisar".into()
	}

	fn support_url() -> String {
		"https://github.com/".into()
	}

	fn copyright_start_year() -> i32 {
		2026
	}

	fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
		let spec = match chain_spec::load(id) {
			Some(spec) => spec?,
			None => chain_spec::ChainSpec::from_json_file(id.into())?,
		};
		Ok(Box::new(spec))
	}
}

/// Returns whether the chain seals its blocks itself, without BABE's clock.
fn is_manual(config: &sc_service::Configuration) -> bool {
	config.chain_spec.chain_type() == ChainType::Development
}

/// Parses the command line and runs it.
pub fn run() -> sc_cli::Result<()> {
	let mut cli = Cli::from_args();
	let pool = &mut cli.run.pool_config;
	if (pool.pool_limit, pool.pool_kbytes) == SDK_POOL {
		(pool.pool_limit, pool.pool_kbytes) = (POOL_LIMIT, POOL_KBYTES);
	}

	if cli.run.shared_params.is_dev() {
		// One log line a block is enough. The user's filters come later in the list, and win.
		cli.run
			.shared_params
			.log
			.splice(0..0, QUIET.map(String::from));
	}

	let wasm_cache = cli.wasm_cache.clone();
	let parts = |config: &sc_service::Configuration| {
		service::new_partial(config, is_manual(config), wasm_cache.as_deref())
	};

	match &cli.subcommand {
		Some(Subcommand::Key(command)) => command.run(&cli),
		#[allow(deprecated)]
		Some(Subcommand::BuildSpec(command)) => cli
			.create_runner(command)?
			.sync_run(|config| command.run(config.chain_spec, config.network)),
		Some(Subcommand::ExportChainSpec(command)) => {
			let spec = cli.load_spec(&command.chain)?;
			command.run(spec)
		}
		Some(Subcommand::StagingSpec(command)) => {
			let spec = staging::spec(&command.keys)?;
			println!("{}", spec.as_json(command.raw)?);
			Ok(())
		}
		Some(Subcommand::CheckBlock(command)) => cli.create_runner(command)?.async_run(|config| {
			let PartialComponents {
				client,
				task_manager,
				import_queue,
				..
			} = parts(&config)?;
			Ok((command.run(client, import_queue), task_manager))
		}),
		Some(Subcommand::ExportBlocks(command)) => {
			cli.create_runner(command)?.async_run(|config| {
				let PartialComponents {
					client,
					task_manager,
					..
				} = parts(&config)?;
				Ok((command.run(client, config.database), task_manager))
			})
		}
		Some(Subcommand::ExportState(command)) => cli.create_runner(command)?.async_run(|config| {
			let PartialComponents {
				client,
				task_manager,
				..
			} = parts(&config)?;
			Ok((command.run(client, config.chain_spec), task_manager))
		}),
		Some(Subcommand::ImportBlocks(command)) => {
			cli.create_runner(command)?.async_run(|config| {
				let PartialComponents {
					client,
					task_manager,
					import_queue,
					..
				} = parts(&config)?;
				Ok((command.run(client, import_queue), task_manager))
			})
		}
		Some(Subcommand::PurgeChain(command)) => cli
			.create_runner(command)?
			.sync_run(|config| command.run(config.database)),
		Some(Subcommand::Revert(command)) => cli.create_runner(command)?.async_run(|config| {
			let PartialComponents {
				client,
				task_manager,
				backend,
				..
			} = parts(&config)?;
			let aux = Box::new(
				|client: std::sync::Arc<client::FullClient>,
				 backend: std::sync::Arc<client::FullBackend>,
				 blocks| {
					sc_consensus_babe::revert(client.clone(), backend, blocks)?;
					sc_consensus_grandpa::revert(client, blocks)?;
					Ok(())
				},
			);
			Ok((command.run(client, backend, Some(aux)), task_manager))
		}),
		None => {
			let roles = cli.roles.clone();
			let sealing = cli.sealing;
			cli.create_runner(&cli.run)?
				.run_node_until_exit(|config| async move {
					let sealing = is_manual(&config).then_some(sealing);
					match config.network.network_backend {
						NetworkBackendType::Libp2p => {
							service::new_full::<sc_network::NetworkWorker<Block, _>>(
								config,
								roles,
								sealing,
								wasm_cache.as_deref(),
							)
						}
						NetworkBackendType::Litep2p => {
							service::new_full::<sc_network::Litep2pNetworkBackend>(
								config,
								roles,
								sealing,
								wasm_cache.as_deref(),
							)
						}
					}
					.map_err(sc_cli::Error::Service)
				})
		}
	}
}
