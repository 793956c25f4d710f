//! Command line of the node.

use clap::Parser;
use std::{path::PathBuf, str::FromStr, time::Duration};

/// Command line of `kaisar-node`.
#[derive(Debug, Parser)]
pub struct Cli {
	/// Subcommand, which runs instead of a node.
	#[command(subcommand)]
	pub subcommand: Option<Subcommand>,

	/// Options of Substrate's node.
	#[clap(flatten)]
	pub run: sc_cli::RunCmd,

	/// Work that the node does for the network beyond following it.
	#[clap(flatten)]
	pub roles: Roles,

	/// When a development chain seals a block: `interval=MS` (every MS milliseconds), `instant` (as soon as
	/// a transaction arrives) or `manual` (only by the RPC `engine_createBlock`).
	#[arg(long, value_name = "MODE", default_value = "interval=1000")]
	pub sealing: Sealing,

	/// Folder in which to keep the compiled WASM, so that the next start does not compile it again. The node
	/// runs the code that it finds there: give nobody else write access.
	#[arg(long, value_name = "DIR")]
	pub wasm_cache: Option<PathBuf>,
}

/// Roles and their agents.
#[derive(Clone, Debug, Default, Parser)]
pub struct Roles {
	/// Run a provider's workers: attest their trials with the `kwrk` keys in the keystore.
	#[arg(long)]
	pub provider: bool,

	/// Run a checker: verify workers with the `kchk` keys in the keystore.
	#[arg(long)]
	pub checker: bool,

	/// Executable of the agent [default: `kaisar-agent` in the folder of this executable].
	#[arg(long, value_name = "FILE", conflicts_with = "agent_url")]
	pub agent_bin: Option<PathBuf>,

	/// Use the running agent at this address, http://HOST:PORT, instead of starting one.
	#[arg(long, value_name = "URL", requires = "agent_token_file")]
	pub agent_url: Option<String>,

	/// File with the bearer token of the agent at `--agent-url`.
	#[arg(long, value_name = "FILE", requires = "agent_url")]
	pub agent_token_file: Option<PathBuf>,

	/// Further argument for every agent that the node starts, e.g. `--agent-arg=--external-address=IP`.
	/// Repeatable.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub agent_arg: Vec<String>,

	/// Further argument for the provider's agent only, e.g.
	/// `--provider-agent-arg=--external-address=IP:PORT`. Repeatable.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub provider_agent_arg: Vec<String>,

	/// Further argument for the checker's agent only: on a node with both roles, the two agents cannot share
	/// a port. Repeatable.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub checker_agent_arg: Vec<String>,

	/// Start no agents. On a development chain, workers and checkers then act only where somebody else signs
	/// for them.
	#[arg(long, conflicts_with_all = ["agent_url", "agent_bin"])]
	pub no_agents: bool,
}

/// Sealing mode of a development chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
	/// At a fixed interval.
	Interval(Duration),
	/// As soon as a transaction arrives.
	Instant,
	/// Only by RPC.
	Manual,
}

impl FromStr for Sealing {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		match text {
			"instant" => return Ok(Self::Instant),
			"manual" => return Ok(Self::Manual),
			_ => {}
		}
		text.strip_prefix("interval=")
			.and_then(|millis| millis.parse().ok())
			.filter(|millis| *millis > 0)
			.map(|millis| Self::Interval(Duration::from_millis(millis)))
			.ok_or_else(|| {
				format!("`{text}` is not a mode; expected interval=MS, instant or manual")
			})
	}
}

/// Arguments of `staging-spec`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::staging::EXAMPLE)]
pub struct StagingSpec {
	/// JSON file with the validators' keys and the balances.
	#[arg(long, value_name = "FILE")]
	pub keys: PathBuf,

	/// Print the raw genesis storage, which every later version of the node can read, instead of the
	/// configuration.
	#[arg(long)]
	pub raw: bool,
}

/// Subcommands, which run instead of a node.
#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
	/// Generate, inspect and insert keys.
	#[command(subcommand)]
	Key(sc_cli::KeySubcommand),

	/// Build a chain specification (deprecated upstream in favor of `export-chain-spec`).
	#[allow(deprecated)]
	BuildSpec(sc_cli::BuildSpecCmd),

	/// Export a chain specification.
	ExportChainSpec(sc_cli::ExportChainSpecCmd),

	/// Build the chain spec of a staging chain: production's parameters, with the keys and balances of a
	/// file.
	StagingSpec(StagingSpec),

	/// Validate blocks.
	CheckBlock(sc_cli::CheckBlockCmd),

	/// Export blocks.
	ExportBlocks(sc_cli::ExportBlocksCmd),

	/// Export the state of a block as a chain specification.
	ExportState(sc_cli::ExportStateCmd),

	/// Import blocks.
	ImportBlocks(sc_cli::ImportBlocksCmd),

	/// Delete the chain's database.
	PurgeChain(sc_cli::PurgeChainCmd),

	/// Revert the chain to an earlier state.
	Revert(sc_cli::RevertCmd),
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn sealing_is_read_as_written() {
		assert_eq!("instant".parse(), Ok(Sealing::Instant));
		assert_eq!("manual".parse(), Ok(Sealing::Manual));
		assert_eq!(
			"interval=250".parse(),
			Ok(Sealing::Interval(Duration::from_millis(250)))
		);
		for wrong in [
			"interval=0",
			"interval=",
			"interval=x",
			"interval",
			"",
			"Instant",
		] {
			assert!(wrong.parse::<Sealing>().is_err(), "{wrong}");
		}
	}

	#[test]
	fn command_line_is_consistent() {
		use clap::CommandFactory;
		Cli::command().debug_assert();
		assert!(Cli::try_parse_from(["kaisar-node", "--agent-url", "http://x"]).is_err());
		assert!(Cli::try_parse_from(["kaisar-node", "--no-agents", "--agent-bin", "x"]).is_err());
		let cli = Cli::try_parse_from(["kaisar-node", "--dev"]).expect("the command line parses");
		assert_eq!(cli.sealing, Sealing::Interval(Duration::from_secs(1)));
	}
}
