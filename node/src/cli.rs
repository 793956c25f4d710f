//! The command line.

use clap::Parser;
use std::{path::PathBuf, str::FromStr, time::Duration};

/// Command line of `kaisar-node`.
#[derive(Debug, Parser)]
pub struct Cli {
	/// What to do instead of running a node.
	#[command(subcommand)]
	pub subcommand: Option<Subcommand>,

	/// How to run the node.
	#[clap(flatten)]
	pub run: sc_cli::RunCmd,

	/// What the node does for the network beyond following it.
	#[clap(flatten)]
	pub roles: Roles,

	/// When a development chain seals a block: `interval=MS` (every so many milliseconds), `instant`
	/// (as soon as there is a transaction) or `manual` (by `engine_createBlock` alone).
	#[arg(long, value_name = "HOW", default_value = "interval=1000")]
	pub sealing: Sealing,

	/// Keep the compiled WASM in this folder, so that the next start does not compile it again. The node
	/// runs what it finds there: nobody else may write to it.
	#[arg(long, value_name = "DIR")]
	pub wasm_cache: Option<PathBuf>,
}

/// Roles and their agents.
#[derive(Clone, Debug, Default, Parser)]
pub struct Roles {
	/// Run workers of a provider: attest their trials with the `kwrk` keys in the keystore.
	#[arg(long)]
	pub provider: bool,

	/// Run a checker: verify workers with the `kchk` keys in the keystore.
	#[arg(long)]
	pub checker: bool,

	/// The agent's executable. By default the `kaisar-agent` beside this one.
	#[arg(long, value_name = "FILE", conflicts_with = "agent_url")]
	pub agent_bin: Option<PathBuf>,

	/// Use an agent that runs already, at this address, instead of starting one.
	#[arg(long, value_name = "URL", requires = "agent_token_file")]
	pub agent_url: Option<String>,

	/// The file that holds the bearer token of the agent at `--agent-url`.
	#[arg(long, value_name = "FILE", requires = "agent_url")]
	pub agent_token_file: Option<PathBuf>,

	/// One more argument for each agent that the node starts, as `--agent-arg=--external-address=IP`.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub agent_arg: Vec<String>,

	/// One more argument for the provider's agent alone, as `--provider-agent-arg=--external-address=IP:PORT`.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub provider_agent_arg: Vec<String>,

	/// One more argument for the checker's agent alone: with both roles a port is one agent's.
	#[arg(long, value_name = "ARG", allow_hyphen_values = true)]
	pub checker_agent_arg: Vec<String>,

	/// Start no agents. A development chain then leaves workers and checkers to whoever signs for
	/// them.
	#[arg(long, conflicts_with_all = ["agent_url", "agent_bin"])]
	pub no_agents: bool,
}

/// When a development chain seals a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
	/// Every so often.
	Interval(Duration),
	/// As soon as there is a transaction.
	Instant,
	/// When told to by RPC.
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
			.ok_or_else(|| format!("`{text}` is none of interval=MS, instant, manual"))
	}
}

/// Arguments of `staging-spec`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::staging::EXAMPLE)]
pub struct StagingSpec {
	/// JSON file with the validators' keys and the balances.
	#[arg(long, value_name = "FILE")]
	pub keys: PathBuf,

	/// Print the raw genesis storage, which every later version of the node reads, instead of the configuration.
	#[arg(long)]
	pub raw: bool,
}

/// What to do instead of running a node.
#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
	/// Key management.
	#[command(subcommand)]
	Key(sc_cli::KeySubcommand),

	/// Build a chain specification (deprecated upstream in favour of `export-chain-spec`).
	#[allow(deprecated)]
	BuildSpec(sc_cli::BuildSpecCmd),

	/// Export a chain specification.
	ExportChainSpec(sc_cli::ExportChainSpecCmd),

	/// Build the chain spec of a staging chain: production's numbers, with the keys and balances of a file.
	StagingSpec(StagingSpec),

	/// Validate blocks.
	CheckBlock(sc_cli::CheckBlockCmd),

	/// Export blocks.
	ExportBlocks(sc_cli::ExportBlocksCmd),

	/// Export the state of a block as a chain specification.
	ExportState(sc_cli::ExportStateCmd),

	/// Import blocks.
	ImportBlocks(sc_cli::ImportBlocksCmd),

	/// Remove the whole chain.
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
		let cli = Cli::try_parse_from(["kaisar-node", "--dev"]).expect("it is a command line");
		assert_eq!(cli.sealing, Sealing::Interval(Duration::from_secs(1)));
	}
}
