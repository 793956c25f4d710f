//! # The node
//!
//! `kaisar-node` runs BABE and GRANDPA over ParityDB, and with `--provider` or `--checker` the agents that
//! prove this machine and check others ([`agents`]). With `--dev` it runs a chain on this machine alone,
//! which seals a block every second ([`dev`]).

// The errors of sc-cli and sc-service are large, and not ours to shrink.
#![allow(clippy::result_large_err)]

mod addresses;
mod agent_log;
mod agents;
mod chain_spec;
mod cli;
mod client;
mod command;
mod dev;
mod genesis;
mod rpc;
mod service;
mod staging;
mod wall_clock;

use std::process::ExitCode;

fn main() -> ExitCode {
	match command::run() {
		Ok(()) => ExitCode::SUCCESS,
		Err(error) => {
			eprintln!("Error: {error}");
			ExitCode::FAILURE
		}
	}
}
