//! `kaisar-agent plot`: fills the plot before registration.

use crate::key_of;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, header::CONTENT_TYPE};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use indicatif::{ProgressBar, ProgressStyle};
use kaisar_agent::{
	report::gigabytes,
	trial::{
		disk::bytes_on_disk,
		judge,
		plot::{GROUP, NODE, NODES, Recipe},
	},
	worker::{
		claim::Hardware,
		plots::{self, Effort, Plots},
	},
};
use sp_core::{H256, Pair, ed25519};
use std::{
	io::IsTerminal,
	os::unix::fs::MetadataExt,
	path::{Path, PathBuf},
	time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Interval of looks at the progress.
const LOOK: Duration = Duration::from_millis(200);
/// Interval of progress lines without a terminal.
const LINE: Duration = Duration::from_secs(60);
/// Timeout of the node's answer.
const ASK: Duration = Duration::from_secs(10);
/// Maximum length of the node's answer, in bytes.
const ANSWER: usize = 4_096;

/// Fills the plot before registration, with all cores. You can stop it at any time; the next run continues
/// there. While an agent uses the data folder, the agent fills the plot, and this shows its progress.
#[derive(Args)]
pub struct PlotArgs {
	/// File with the seed of the agent's ed25519 key in hexadecimal. The plot belongs to this key.
	#[arg(long)]
	key_file: PathBuf,
	/// Folder for the plot: the agent's data folder.
	#[arg(long)]
	data_dir: PathBuf,
	/// Disk to claim, in GB (default: what `detect` claims). The plot takes 7/8 of it, or 20 GB less.
	#[arg(long, value_name = "GB")]
	disk_gb: Option<u32>,
	/// Hash of the chain's first block, since the plot belongs to one chain (default: the node's answer).
	#[arg(long, value_name = "HASH")]
	genesis: Option<H256>,
	/// URL of the node to ask for the chain.
	#[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9944")]
	node: String,
	/// Size of the only group, in MiB: `Bench.disk_mib` of a development chain.
	#[arg(long, value_name = "MIB", hide = true)]
	group_mib: Option<u32>,
	/// Number of groups, regardless of the claim: for tests.
	#[arg(long, hide = true, conflicts_with = "disk_gb")]
	groups: Option<u32>,
}

impl PlotArgs {
	fn recipe(&self, agent: &ed25519::Public) -> Result<Recipe> {
		let genesis = match self.genesis {
			Some(genesis) => genesis,
			None => genesis_of(&self.node).with_context(|| {
				format!(
					"cannot get the hash of the chain's first block from the node at {}; pass --genesis",
					self.node
				)
			})?,
		};
		let nodes = self.group_mib.map_or(GROUP, |mib| {
			let nodes = (u64::from(mib) << 20) / NODE as u64;
			nodes.clamp(NODES as u64, GROUP.into()) as u32
		});
		Ok(Recipe::new(&genesis.0, &agent.0, nodes))
	}

	/// Returns the number of groups that the plot of the claim has.
	fn planned(&self, recipe: &Recipe) -> u32 {
		let claimed = || {
			let found = Hardware::detect(&self.data_dir, Vec::new());
			found.spec(*b"ZZ", Some(0), Some(0)).disk_gb
		};
		self.groups.unwrap_or_else(|| {
			let gb = self.disk_gb.unwrap_or_else(claimed);
			let groups = judge::groups_planned(gb, recipe.group_bytes());
			u32::try_from(groups).unwrap_or(u32::MAX)
		})
	}
}

/// Runs the command.
pub fn run(args: &PlotArgs) -> Result<()> {
	ensure!(
		args.key_file.exists(),
		"{} does not exist: the node creates it when it first starts with --provider",
		args.key_file.display()
	);
	check_owner(&args.data_dir)?;
	let agent = ed25519::Pair::from_seed(&key_of(&args.key_file)?).public();
	let recipe = args.recipe(&agent)?;
	let groups = args.planned(&recipe);
	ensure!(
		groups > 0,
		"there is no plot to fill: claims of up to 20 GB need none, and a plot needs more than 20 GB of disk"
	);
	let bytes = |groups: u32| u64::from(groups) * bytes_on_disk(&recipe);
	let runtime = tokio::runtime::Builder::new_current_thread()
		.enable_all()
		.build()?;
	let mut stop = {
		let _context = runtime.enter();
		Stop::new()?
	};
	let lock = plots::lock(&args.data_dir)
		.with_context(|| format!("cannot use {}", args.data_dir.display()))?;
	let fitting = if lock.is_some() {
		let plots = Plots::new(&args.data_dir)?;
		plots.want(recipe, groups);
		let fitting = plots.fitting(&recipe, groups)?;
		say_shortage(args, bytes(groups), bytes(fitting));
		let growing = plots.start(Effort::All)?;
		let progress = || match plots.failure() {
			Some(failure) => bail!("the plot cannot grow: {failure}"),
			None if plots.shortage().is_some_and(|groups| groups < fitting) => bail!(
				"something else filled the disk: the plot ends at {}. Free space, then run the same command again",
				gigabytes(plots.progress().plotted)
			),
			None => Ok(plots.progress().plotted),
		};
		let done = runtime.block_on(follow(bytes(fitting), progress, &mut stop))?;
		drop(growing);
		ensure!(
			done,
			"stopped at {}. Run the same command again to continue, or start the agent, which continues by itself",
			gigabytes(plots.progress().plotted)
		);
		fitting
	} else {
		let there = plots::whole_bytes(&args.data_dir, &recipe);
		plots::write_plan(&args.data_dir, recipe, groups)?;
		let fitting = plots::fitting(&args.data_dir, &recipe, groups)?;
		println!(
			"An agent uses {}. It fills the plot by itself, with half of the cores, while it runs no trial and serves \
			 no order. You can stop this command; `kaisar-agent status --data-dir {}` shows the progress.",
			args.data_dir.display(),
			args.data_dir.display()
		);
		say_shortage(args, bytes(groups), bytes(fitting));
		let progress = || Ok(plots::whole_bytes(&args.data_dir, &recipe).max(there));
		if !runtime.block_on(follow(bytes(fitting), progress, &mut stop))? {
			println!("The agent continues.");
			return Ok(());
		}
		fitting
	};
	println!(
		"The plot of 0x{} has {}, which proves {} GB of disk.",
		hex::encode(agent),
		gigabytes(bytes(fitting)),
		judge::disk_gb(
			u64::from(fitting) * recipe.group_bytes(),
			Some(Duration::ZERO)
		)
	);
	Ok(())
}

/// Fails if the agent could not write to files that this user creates in its folder.
fn check_owner(data: &Path) -> Result<()> {
	let Ok(found) = data.metadata() else {
		return Ok(());
	};
	// SAFETY: it only returns this process's user.
	let own = unsafe { libc::geteuid() };
	ensure!(
		found.uid() == own,
		"{} belongs to user {}, but this runs as user {own}: run it as the agent's user, e.g. with sudo -u",
		data.display(),
		found.uid()
	);
	Ok(())
}

fn say_shortage(args: &PlotArgs, planned: u64, fitting: u64) {
	if fitting < planned {
		println!(
			"Note: only {} of the planned {} fit on the disk of {}, with 20 GB or 5 % of it left free. Free {} \
			 there, or claim less.",
			gigabytes(fitting),
			gigabytes(planned),
			args.data_dir.display(),
			gigabytes(planned - fitting)
		);
	}
}

/// Signals to stop the program, from its creation on.
struct Stop {
	interrupt: Signal,
	terminate: Signal,
}

impl Stop {
	fn new() -> Result<Self> {
		Ok(Self {
			interrupt: signal(SignalKind::interrupt())?,
			terminate: signal(SignalKind::terminate())?,
		})
	}

	async fn requested(&mut self) {
		tokio::select! {
			_ = self.interrupt.recv() => (),
			_ = self.terminate.recv() => (),
		}
	}
}

/// Shows the progress until the plot has `wanted` bytes. Returns false if a signal comes before.
async fn follow(wanted: u64, progress: impl Fn() -> Result<u64>, stop: &mut Stop) -> Result<bool> {
	let bar = if std::io::stderr().is_terminal() {
		ProgressBar::new(wanted)
	} else {
		ProgressBar::hidden()
	};
	let style = "{spinner} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
	bar.set_style(ProgressStyle::with_template(style)?);
	let (begun, first) = (Instant::now(), progress()?);
	let mut printed = Instant::now();
	bar.reset_elapsed();
	bar.set_position(first);
	bar.reset_eta();
	loop {
		let now = progress()?;
		bar.set_position(now);
		if now >= wanted {
			bar.finish_and_clear();
			return Ok(true);
		}
		if bar.is_hidden() && printed.elapsed() >= LINE {
			printed = Instant::now();
			eprintln!("{}", words(now, wanted, now - first, begun.elapsed()));
		}
		tokio::select! {
			_ = tokio::time::sleep(LOOK) => (),
			() = stop.requested() => break,
		}
	}
	bar.abandon();
	Ok(false)
}

/// Formats a line of progress, where `made` bytes were made in `time`.
fn words(now: u64, wanted: u64, made: u64, time: Duration) -> String {
	let rate = made as f64 / time.as_secs_f64().max(1e-3);
	let left = match made {
		0 => String::new(),
		_ => format!(
			", {:.0} MB/s, {:.0} min left",
			rate / 1e6,
			(wanted.saturating_sub(now) as f64 / rate / 60.0).ceil()
		),
	};
	format!("{} of {}{left}", gigabytes(now), gigabytes(wanted))
}

/// Asks a node for the hash of its chain's first block.
fn genesis_of(url: &str) -> Result<H256> {
	let question = br#"{"jsonrpc":"2.0","id":1,"method":"chain_getBlockHash","params":[0]}"#;
	let request = Request::post(url)
		.header(CONTENT_TYPE, "application/json")
		.body(Full::new(Bytes::from_static(question)))?;
	let ask = async {
		let client = Client::builder(TokioExecutor::new()).build_http();
		let answer = client.request(request).await?;
		let body = Limited::new(answer.into_body(), ANSWER).collect().await;
		body.map_err(|error| anyhow::anyhow!(error))
	};
	let runtime = tokio::runtime::Runtime::new()?;
	let body = runtime.block_on(async { tokio::time::timeout(ASK, ask).await })??;
	let answer: serde_json::Value = serde_json::from_slice(&body.to_bytes())?;
	serde_json::from_value(answer["result"].clone()).context("the answer has no hash")
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn progress_in_words_has_rate_and_time() {
		let gb = 1_000_000_000;
		let minute = Duration::from_secs(60);
		assert_eq!(
			words(20 * gb, 80 * gb, 12 * gb, minute),
			"20.0 GB of 80.0 GB, 200 MB/s, 5 min left"
		);
		assert_eq!(words(gb, 2 * gb, 0, minute), "1.0 GB of 2.0 GB");
	}
}
