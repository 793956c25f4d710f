//! `kaisar-agent status`: shows the state of a running agent.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header::AUTHORIZATION};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use kaisar_agent::{
	PATH_REPORT, now_wall_ms,
	report::{Benchmark, CompletedCheck, Engine, Status, Warning, gigabytes},
};
use kaisar_primitives::agent::MAX_ANSWER;
use serde::{Deserialize, Serialize};
use std::{
	fmt,
	path::{Path, PathBuf},
	process::ExitCode,
	time::Duration,
};

/// Name of the file in the data folder that locates a running agent.
const FILE: &str = "service.json";
/// Timeout of the agent's answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Exit code if something needs attention.
const ATTENTION: u8 = 3;
/// Largest difference between the agent's clock and this machine's that is not shown, in milliseconds.
const CLOCK_MS: u64 = 2_000;

/// Shows the state of a running agent. Exits with 0 if all is well, 3 if something needs attention, and 1 if
/// the agent does not answer.
#[derive(Args)]
pub struct StatusArgs {
	/// Data folder of the agent, or the folder above it. The agents of a node have theirs in
	/// `BASE-PATH/chains/CHAIN/agents/NAME`.
	#[arg(long, required_unless_present = "url", conflicts_with = "url")]
	data_dir: Option<PathBuf>,
	/// Base URL of the agent's HTTP service, instead of the data folder.
	#[arg(long, requires = "token_file")]
	url: Option<String>,
	/// File with the bearer token, with `--url`.
	#[arg(long, requires = "url")]
	token_file: Option<PathBuf>,
	/// Print JSON.
	#[arg(long)]
	json: bool,
}

/// Location of a running agent.
#[derive(Serialize, Deserialize)]
struct Service {
	url: String,
	token_file: PathBuf,
}

/// Writes the location of this agent's service to the data folder, readable to its own user only.
pub fn announce(data: &Path, url: &str, token_file: &Path) -> Result<()> {
	let service = Service {
		url: url.into(),
		token_file: std::path::absolute(token_file)?,
	};
	let path = data.join(FILE);
	kaisar_fs::write_unsynced(&path, &serde_json::to_vec(&service)?, kaisar_fs::OWNER_ONLY)
		.with_context(|| format!("cannot write {}", path.display()))
}

impl StatusArgs {
	fn service(&self) -> Result<Service> {
		if let (Some(url), Some(token_file)) = (self.url.clone(), self.token_file.clone()) {
			return Ok(Service { url, token_file });
		}
		let dir = self
			.data_dir
			.as_deref()
			.context("pass --data-dir or --url")?;
		let candidates = [dir.join(FILE), dir.join("data").join(FILE)];
		// A file that exists but cannot be read fails below, with the reason.
		let path = candidates.iter().find(|path| path.exists()).with_context(|| {
			format!(
				"no agent has run with the data folder {}: it has no {FILE}. If the folder belongs to another user, run \
				 this as that user",
				dir.display()
			)
		})?;
		let read = || {
			anyhow::Ok(serde_json::from_slice(&kaisar_fs::read_bounded(
				path, 4_096,
			)?)?)
		};
		read().with_context(|| format!("cannot read {}", path.display()))
	}
}

async fn ask(service: &Service) -> Result<Vec<u8>> {
	let token = kaisar_fs::read_bounded(&service.token_file, 4_096)
		.with_context(|| format!("cannot read {}", service.token_file.display()))?;
	let token = String::from_utf8(token).context("the token is not text")?;
	let url = service.url.trim_end_matches('/');
	let request = Request::post(format!("{url}{PATH_REPORT}"))
		.header(AUTHORIZATION, format!("Bearer {}", token.trim()))
		.body(Empty::<Bytes>::new())?;
	let client = Client::builder(TokioExecutor::new()).build_http();
	let answer = client
		.request(request)
		.await
		.with_context(|| format!("no agent answers at {url}: is it running?"))?;
	ensure!(
		answer.status() == StatusCode::OK,
		"the agent at {url} answers {}: {}",
		answer.status(),
		match answer.status() {
			StatusCode::UNAUTHORIZED => "the token is wrong; pass the agent's own --token-file",
			_ => "its version may differ from this program's",
		}
	);
	match Limited::new(answer.into_body(), MAX_ANSWER).collect().await {
		Ok(body) => Ok(body.to_bytes().to_vec()),
		Err(error) => bail!("the answer of the agent at {url} ended early: {error}"),
	}
}

/// Runs the command.
pub fn run(args: &StatusArgs) -> Result<ExitCode> {
	let service = args.service()?;
	let answer = tokio::runtime::Runtime::new()?.block_on(async {
		tokio::time::timeout(LIMIT, ask(&service))
			.await
			.with_context(|| format!("the agent does not answer within {} s", LIMIT.as_secs()))?
	})?;
	let status: Status = serde_json::from_slice(&answer)
		.context("cannot read the agent's answer; its version may differ from this program's")?;
	if args.json {
		let mut value = serde_json::to_value(&status)?;
		value["attention"] = status.attention().into();
		println!("{value}");
	} else {
		print!("{}", Words(&status, now_wall_ms()));
	}
	Ok(match status.attention().is_empty() {
		true => ExitCode::SUCCESS,
		false => ExitCode::from(ATTENTION),
	})
}

/// Formats a duration in words.
fn span(ms: u64) -> String {
	let seconds = ms / 1_000;
	match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
		(0, 0, 0) => format!("{seconds} s"),
		(0, 0, minutes) => format!("{minutes} min"),
		(0, hours, minutes) => format!("{hours} h {minutes} min"),
		(days, hours, _) => format!("{days} d {hours} h"),
	}
}

/// A status for people, at this machine's time.
struct Words<'a>(&'a Status, u64);

impl Words<'_> {
	fn ago(&self, at: u64) -> String {
		format!("{} ago", span(self.0.clock_ms.saturating_sub(at)))
	}

	fn benchmark(&self, benchmark: &Benchmark) -> String {
		let Benchmark {
			round,
			worker,
			took_ms,
			..
		} = benchmark;
		let outcome = match &benchmark.root {
			Some(root) => format!("root 0x{root}"),
			None => "failed".into(),
		};
		let mut text = format!(
			"round {round}, worker {worker}, {}: {:.1} s, {outcome}",
			self.ago(benchmark.at),
			*took_ms as f64 / 1e3
		);
		for remark in &benchmark.remarks {
			text += &format!("\n{:17}{remark}", "");
		}
		text
	}

	fn check(&self, check: &CompletedCheck) -> String {
		format!(
			"round {}, worker {}, {}: {}: {}",
			check.round,
			check.worker,
			self.ago(check.at),
			check.verdict,
			check.why
		)
	}

	fn warning(&self, warning: &Warning) -> String {
		let times = match warning.times {
			1 => String::new(),
			times => format!(", {times} times"),
		};
		format!("{}{times}: {}", self.ago(warning.at), warning.text)
	}
}

fn listed(all: &[String]) -> String {
	match all {
		[] => "none".into(),
		all => all.join(", "),
	}
}

impl fmt::Display for Words<'_> {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		let Self(status, here) = self;
		let events = &status.events;
		let mut line = |label: &str, text: &str| writeln!(f, "{label:<16} {text}");
		line("agent", &format!("0x{}", status.agent))?;
		line(
			"version",
			&format!("{}, up {}", status.version, span(status.up_secs * 1_000)),
		)?;
		if here.abs_diff(status.clock_ms) > CLOCK_MS {
			let direction = if status.clock_ms > *here {
				"ahead of"
			} else {
				"behind"
			};
			let by = span(here.abs_diff(status.clock_ms));
			line(
				"clock",
				&format!("{by} {direction} this machine's: set both by NTP"),
			)?;
		}
		let gpus: Vec<_> = events
			.gpus
			.iter()
			.map(|gpu| match &gpu.kernel {
				Some(kernel) => format!("{} ({kernel})", gpu.name),
				None => gpu.name.clone(),
			})
			.collect();
		line("GPUs", &listed(&gpus))?;
		let engine = match &events.engine {
			Engine::Unknown => "not asked yet",
			Engine::Off => "not used: no orders are served",
			Engine::Ready { socket } => &format!("answers at {socket}"),
			Engine::Missing { why } => why,
			Engine::Unreachable { why } => &format!("does not answer: {why}"),
			Engine::Refused { why } => &format!("not used: {why}"),
		};
		line("engine", engine)?;
		let disk = &status.disk;
		line(
			"disk",
			&format!(
				"{} GB free in {}; the plot has {} of {}",
				disk.free_gb,
				disk.folder,
				gigabytes(disk.plot),
				gigabytes(disk.plot_wanted)
			),
		)?;
		line("addresses", &listed(&status.addresses))?;
		line("relays", &listed(&status.relays))?;
		let reached = match events.reached_at {
			Some(at) => &self.ago(at),
			None => "by no other agent since the start",
		};
		line("reached", reached)?;
		let wanted = match status.wanted.len() {
			0 => "none".into(),
			count => format!("{count} agent(s): {}", listed(&status.wanted)),
		};
		line("not reached", &wanted)?;
		let all = &events.benchmarks;
		line(
			"trials",
			&format!(
				"{} done, {} of them below the claim; {} failed",
				all.done, all.short, all.failed
			),
		)?;
		if let Some(last) = &all.last {
			line("  last", &self.benchmark(last))?;
		}
		let all = &events.checks;
		line(
			"checks",
			&format!(
				"{} made: {} not served, {} with a false proof",
				all.made, all.unserved, all.unproved
			),
		)?;
		for check in &all.last {
			line("", &self.check(check))?;
		}
		if !status.warnings.is_empty() {
			line("warnings", "")?;
		}
		for warning in &status.warnings {
			line("", &self.warning(warning))?;
		}
		let attention = status.attention();
		if attention.is_empty() {
			return writeln!(f, "\nNothing needs attention.");
		}
		writeln!(f, "\nNeeds attention:")?;
		for text in attention {
			writeln!(f, "- {text}")?;
		}
		Ok(())
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use kaisar_agent::report::{CheckSummary, Disk, Events};

	#[test]
	fn a_status_in_words_has_all_parts() {
		let status = Status {
			version: "1.2.3".into(),
			agent: "ab".into(),
			clock_ms: 10_000_000,
			up_secs: 3 * 3_600,
			wanted: vec!["cd".into()],
			disk: Disk {
				folder: "/data".into(),
				free_gb: 21,
				plot: 3_221_225_472,
				plot_wanted: 1_200_000_000_000,
			},
			events: Events {
				engine: Engine::Unreachable {
					why: "permission denied".into(),
				},
				checks: CheckSummary {
					made: 1,
					unserved: 1,
					last: [CompletedCheck {
						at: 9_940_000,
						round: 4,
						worker: 7,
						verdict: "offline".into(),
						why: "no answer within 60 s".into(),
					}]
					.into(),
					..Default::default()
				},
				..Default::default()
			},
			..Default::default()
		};
		let text = Words(&status, 10_000_000 - 7_200_000).to_string();
		for part in [
			"0xab",
			"1.2.3, up 3 h 0 min",
			"21 GB free in /data; the plot has 3.2 GB of 1200.0 GB",
			"2 h 0 min ahead of this machine's",
			"does not answer: permission denied",
			"not reached      1 agent(s): cd",
			"1 made: 1 not served",
			"round 4, worker 7, 1 min ago: offline: no answer within 60 s",
			"by no other agent",
			"Needs attention:\n- No orders",
		] {
			assert!(text.contains(part), "{part}: {text}");
		}
		let well = Status {
			addresses: vec!["1.2.3.4:5".into()],
			..Default::default()
		};
		let text = Words(&well, 0).to_string();
		assert!(
			text.contains("Nothing needs attention") && !text.contains("clock"),
			"{text}"
		);
	}
}
