//! Fills a worker's plot before it is registered, by `kaisar-agent plot` on its machine.

use super::Context;
use crate::{
	args::Register,
	chain::Chain,
	failure::{Failure, Result},
	keys,
	types::WorkerSpec,
	views,
};
use std::{
	fmt,
	io::ErrorKind,
	path::{Path, PathBuf},
	process::{Command, Stdio},
};

/// Name of the agent's program.
const AGENT: &str = "kaisar-agent";
/// Largest disk claim that needs no plot, in GB.
const NO_PLOT_GB: u32 = 20;

/// A call of `kaisar-agent plot`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Filling {
	key: PathBuf,
	data: PathBuf,
	genesis: [u8; 32],
	disk_gb: u32,
}

impl Filling {
	fn arguments(&self) -> Vec<String> {
		vec![
			"plot".into(),
			"--key-file".into(),
			self.key.display().to_string(),
			"--data-dir".into(),
			self.data.display().to_string(),
			"--genesis".into(),
			format!("0x{}", hex::encode(self.genesis)),
			"--disk-gb".into(),
			self.disk_gb.to_string(),
		]
	}
}

impl fmt::Display for Filling {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		write!(f, "{AGENT} {}", self.arguments().join(" "))
	}
}

/// Fills the plot for a claim if the agent's data folder is on this machine; otherwise prints the command
/// to run on the worker's machine. Returns whether it filled the plot, which can take hours.
pub async fn fill(
	context: &Context,
	args: &Register,
	chain: &Chain,
	spec: &WorkerSpec,
) -> Result<bool> {
	if args.no_plot || spec.disk_gb <= NO_PLOT_GB {
		return Ok(false);
	}
	// Plots of development chains are small; the agent makes them at once.
	if views::plot_mib(&chain.best().await?).await? != Some(0) {
		return Ok(false);
	}
	let here = agent_of(args)?;
	let (key, data) = here
		.clone()
		.unwrap_or(("KEY-FILE".into(), "DATA-FOLDER".into()));
	let filling = Filling {
		key,
		data,
		genesis: chain.genesis(),
		disk_gb: spec.disk_gb,
	};
	let note = |text: &str| {
		if !context.output.json {
			eprintln!("{text}");
		}
	};
	let elsewhere = || {
		note(&format!(
			"cannot fill the plot from this machine; until it is filled, less disk counts. Run on the worker's \
			 machine:\n  {filling}"
		));
		Ok(false)
	};
	if here.is_none() {
		return elsewhere();
	}
	note("filling the plot; with --no-plot the agent fills it later");
	let (program, arguments) = (program(), filling.arguments());
	let running = tokio::task::spawn_blocking(move || {
		Command::new(program)
			.args(arguments)
			.stdin(Stdio::null())
			.stdout(Stdio::from(std::io::stderr()))
			.status()
	});
	let failed = |why: String| {
		Failure::over(format!("filling the plot failed: {why}")).advise(format!(
			"run `{filling}`, then this command again; or register with --no-plot: the agent fills the plot \
			 later, and less disk counts until then"
		))
	};
	match running.await {
		Ok(Ok(status)) if status.success() => Ok(true),
		Ok(Ok(status)) => Err(failed(format!("{AGENT} ended with {status}"))),
		Ok(Err(error)) if error.kind() == ErrorKind::NotFound => elsewhere(),
		Ok(Err(error)) => Err(failed(error.to_string())),
		Err(error) => Err(failed(error.to_string())),
	}
}

/// Returns the key file and the data folder of the agent, if they are on this machine.
fn agent_of(args: &Register) -> Result<Option<(PathBuf, PathBuf)>> {
	let key = match (&args.node_dir, &args.agent_key_file) {
		(Some(folder), _) => keys::agent_key_file(folder)?,
		(None, Some(key)) => key.clone(),
		(None, None) => return Ok(None),
	};
	// The data folder is beside the key file, but not beside a copy of it.
	let data = key.parent().unwrap_or(Path::new("")).join("data");
	Ok(data.is_dir().then_some((key, data)))
}

/// Returns the path of the agent's program: beside this program, otherwise a name for the search path.
fn program() -> PathBuf {
	let beside = std::env::current_exe()
		.ok()
		.and_then(|own| Some(own.parent()?.join(AGENT)));
	match beside {
		Some(beside) if beside.is_file() => beside,
		_ => AGENT.into(),
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::args::{Cli, Command as Parsed};
	use clap::Parser;

	fn register(arguments: &[&str]) -> Register {
		let all = ["kaisar", "register"].iter().chain(arguments);
		match Cli::try_parse_from(all).expect("it is valid").command {
			Parsed::Register(register) => register,
			_ => panic!("it is another command"),
		}
	}

	#[test]
	fn the_plot_is_filled_where_the_agent_keeps_its_data() {
		let dir = tempfile::tempdir().expect("a folder");
		let node = dir.path().join("node");
		let agent = node.join("chains/kaisar/agents/provider");
		std::fs::create_dir_all(agent.join("data")).expect("folders");
		let key = agent.join("key");
		std::fs::write(&key, "00").expect("a file");
		let copy = dir.path().join("copy");
		std::fs::write(&copy, "00").expect("a file");
		let of = |option: &str, value: &Path| {
			let value = value.display().to_string();
			agent_of(&register(&[option, &value])).expect("it is found")
		};
		let here = Some((key.clone(), agent.join("data")));
		assert_eq!(of("--node-dir", &node), here);
		assert_eq!(of("--agent-key-file", &key), here);
		assert_eq!(of("--agent-key-file", &copy), None);
		assert_eq!(agent_of(&register(&["--agent-suri", "//A"])), Ok(None));
		std::fs::remove_dir(agent.join("data")).expect("it is empty");
		assert_eq!(of("--node-dir", &node), None, "it never ran");
		assert!(agent_of(&register(&["--node-dir", "/nowhere"])).is_err());
	}

	#[test]
	fn the_command_to_run_is_whole() {
		let filling = Filling {
			key: "k".into(),
			data: "d".into(),
			genesis: [1; 32],
			disk_gb: 500,
		};
		let genesis = "01".repeat(32);
		assert_eq!(
			filling.to_string(),
			format!(
				"kaisar-agent plot --key-file k --data-dir d --genesis 0x{genesis} --disk-gb 500"
			)
		);
	}
}
