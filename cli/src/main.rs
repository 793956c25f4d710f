//! # `kaisar`
//!
//! The command-line client: customers rent machines with it, providers put machines on the network,
//! delegators stake on them. `docs/cli.md` is its manual.
//!
//! | module | content |
//! | --- | --- |
//! | [`args`] | the command line |
//! | [`commands`] | the commands |
//! | [`chain`] | the connection to the node: reads, calls, and the reasons of failed calls |
//! | [`config`] | the chain's primitive types, for [`chain`] and [`wallet`] |
//! | [`views`] | one typed function for each view function and storage item that is read |
//! | [`types`], [`mod@wrapper`] | arguments of the chain's calls and answers of its view functions |
//! | [`workload`] | an order's container: its options and the chain's limits |
//! | [`wallet`], [`keystore`], [`keys`] | the account, its encrypted file, the keys of a worker |
//! | [`amount`], [`classes`] | KAI, shares and GPU classes as people write them |
//! | [`output`], [`failure`] | results, progress, errors and exit codes |
//!
//! Results go to standard output, everything else to standard error. Errors are reported as
//! [`Failure`]s, whose kind determines the exit code.

#![warn(missing_docs)]

mod amount;
mod args;
mod chain;
mod classes;
mod commands;
mod config;
mod failure;
mod keys;
mod keystore;
mod output;
mod types;
mod views;
mod wallet;
mod workload;
mod wrapper;

use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
	let cli = args::Cli::parse();
	let json = cli.common.json;
	// With --json, log only if RUST_LOG is set.
	let level = if json { "off" } else { "kaisar_tunnel=warn" };
	let filter = tracing_subscriber::EnvFilter::try_from_default_env()
		.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
	tracing_subscriber::fmt()
		.with_env_filter(filter)
		.with_writer(std::io::stderr)
		.without_time()
		.with_target(false)
		.with_ansi(output::colored(&std::io::stderr()))
		.init();

	let runtime = match tokio::runtime::Builder::new_multi_thread()
		.enable_all()
		.build()
	{
		Ok(runtime) => runtime,
		Err(error) => {
			return Failure::unreachable(format!("cannot start the program's threads: {error}"))
				.tell(json);
		}
	};
	match runtime.block_on(commands::run(cli)) {
		Ok(()) => ExitCode::SUCCESS,
		Err(failure) => failure.tell(json),
	}
}
