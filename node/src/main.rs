//! # The node
//!
//! `kaisar-node`: BABE and GRANDPA over ParityDB, and with `--provider` or `--checker` the agents
//! that prove this machine and check others ([`agents`]). `--dev` is a chain of one machine that
//! seals a block every second ([`dev`]).

// sc-cli's and sc-service's errors are as large as they are.
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
