//! Events of an agent for its operators, as `kaisar-agent status` prints them. Each part of the agent
//! records its events here; no part bases a decision on them.

use super::clock::wall_ms;
pub use super::disk::gigabytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
	collections::VecDeque,
	fmt::{self, Write as _},
	sync::LazyLock,
};
use tracing::{
	Event, Level, Subscriber,
	field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Maximum number of checks, and of warnings, in a report.
const MAX_LAST: usize = 16;
/// Maximum length of an event's text, in bytes. It keeps a whole report below the node's `MAX_ANSWER`.
const MAX_TEXT: usize = 1_024;

/// Cuts a text to [`MAX_TEXT`] bytes and replaces control characters: parts of it come from strangers, and
/// must not move a terminal's cursor.
fn bounded(text: String) -> String {
	let plain = |part: char| if part.is_control() { ' ' } else { part };
	let mut text: String = text.chars().map(plain).collect();
	if text.len() > MAX_TEXT {
		let end = text.floor_char_boundary(MAX_TEXT);
		text.truncate(end);
		text.push('…');
	}
	text
}

/// A GPU that the agent can use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gpu {
	/// Its name.
	pub name: String,
	/// Kernel that computes its products, once one is chosen.
	pub kernel: Option<String>,
}

/// Answer of the container engine to the last question.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Engine {
	/// Not asked yet.
	#[default]
	Unknown,
	/// Not used: this machine is not for rent.
	Off,
	/// It answers.
	Ready {
		/// Its socket.
		socket: String,
	},
	/// No engine was found, which is fine for an agent that only checks.
	Missing {
		/// Reason and remedy.
		why: String,
	},
	/// It does not answer, so no order can be deployed.
	Unreachable {
		/// Reason and remedy.
		why: String,
	},
	/// It answers, but containers would not be kept apart, so no order is deployed.
	Refused {
		/// Reason and remedy.
		why: String,
	},
}

/// A trial that has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Benchmark {
	/// End, in milliseconds since 1970.
	pub at: u64,
	/// The round.
	pub round: u32,
	/// The worker.
	pub worker: u32,
	/// Duration, in milliseconds.
	pub took_ms: u64,
	/// Attested root in hexadecimal; `None` if the trial failed.
	pub root: Option<String>,
	/// Reason of the failure, or the parts of the claim that the trial did not support.
	pub remarks: Vec<String>,
}

/// The trials since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Benchmarks {
	/// Completed trials.
	pub done: u64,
	/// Completed trials that showed less than the claim.
	pub short: u64,
	/// Failed trials.
	pub failed: u64,
	/// The last one.
	pub last: Option<Benchmark>,
}

/// A completed check of a worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompletedCheck {
	/// End, in milliseconds since 1970.
	pub at: u64,
	/// The round.
	pub round: u32,
	/// The worker.
	pub worker: u32,
	/// Short form of the verdict.
	pub verdict: String,
	/// Reasons: each attempt with its result and its limit.
	pub why: String,
}

/// The checks since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CheckSummary {
	/// Completed checks.
	pub made: u64,
	/// Checks that found the worker offline, or its customer's container silent.
	pub unserved: u64,
	/// Checks that found a false proof.
	pub unproved: u64,
	/// The last ones, the newest first.
	pub last: VecDeque<CompletedCheck>,
}

/// A line that the agent logged at `WARN` or `ERROR`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Warning {
	/// Last time it was logged, in milliseconds since 1970.
	pub at: u64,
	/// Number of times it was logged.
	pub times: u64,
	/// It is about another machine: a worker that was checked.
	pub of_others: bool,
	/// The line.
	pub text: String,
}

/// Events since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Events {
	/// GPUs that can be used.
	pub gpus: Vec<Gpu>,
	/// The container engine.
	pub engine: Engine,
	/// Last time another agent reached this one, in milliseconds since 1970: a checker that asked about a
	/// trial, or a worker that sent a root.
	pub reached_at: Option<u64>,
	/// The trials.
	pub benchmarks: Benchmarks,
	/// The checks.
	pub checks: CheckSummary,
}

/// Collects events from the parts of an agent.
#[derive(Default)]
pub struct Report(Mutex<Events>);

impl Report {
	/// Returns the events since the start.
	pub fn events(&self) -> Events {
		self.0.lock().clone()
	}

	/// Records the engine's answer. Returns whether it changed.
	pub fn engine(&self, engine: Engine) -> bool {
		let mut events = self.0.lock();
		let changed = events.engine != engine;
		events.engine = engine;
		changed
	}

	/// Records that another agent reached this one.
	pub fn reached(&self) {
		self.0.lock().reached_at = Some(wall_ms());
	}

	/// Records a trial that has ended.
	pub fn benchmark(&self, mut benchmark: Benchmark) {
		benchmark.remarks.truncate(MAX_LAST);
		benchmark.remarks = benchmark.remarks.into_iter().map(bounded).collect();
		let benchmarks = &mut self.0.lock().benchmarks;
		match &benchmark.root {
			None => benchmarks.failed += 1,
			Some(_) => {
				benchmarks.done += 1;
				benchmarks.short += u64::from(!benchmark.remarks.is_empty());
			}
		}
		benchmarks.last = Some(benchmark);
	}

	/// Records a check that has ended: `served` if the worker, or its customer's container, answered;
	/// `proved` if the worker proved its attested root.
	pub fn check(&self, served: bool, proved: bool, mut check: CompletedCheck) {
		check.why = bounded(check.why);
		let checks = &mut self.0.lock().checks;
		checks.made += 1;
		checks.unserved += u64::from(!served);
		checks.unproved += u64::from(served && !proved);
		checks.last.push_front(check);
		checks.last.truncate(MAX_LAST);
	}
}

/// Last lines at `WARN` or `ERROR`. Like the log, they belong to the whole process.
static WARNINGS: LazyLock<Mutex<VecDeque<Warning>>> = LazyLock::new(Mutex::default);

/// Returns the last lines at `WARN` or `ERROR`, the newest first.
pub fn warnings() -> Vec<Warning> {
	WARNINGS.lock().iter().cloned().collect()
}

/// Log layer that records lines at `WARN` or `ERROR` for [`warnings`].
pub struct Warnings;

/// Message and fields of a line, as the log prints them.
#[derive(Default)]
struct Line {
	message: String,
	fields: String,
}

impl Visit for Line {
	fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
		// Writing to a string never fails.
		let _ = match field.name() {
			"message" => write!(self.message, "{value:?}"),
			name => write!(self.fields, " {name}={value:?}"),
		};
	}
}

impl<S: Subscriber> Layer<S> for Warnings {
	fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
		let metadata = event.metadata();
		let target = metadata.target();
		// Libraries' lines are only in the log: they need no attention. The engine has an entry of its own.
		let is_noted = target.starts_with("kaisar") && !target.ends_with("containers::ping");
		if *metadata.level() > Level::WARN || !is_noted {
			return;
		}
		let mut line = Line::default();
		event.record(&mut line);
		let text = bounded(line.message + &line.fields);
		let of_others = target.contains("::checker");
		let at = wall_ms();
		let mut warnings = WARNINGS.lock();
		let known = warnings.iter().position(|warning| warning.text == text);
		let times = known
			.and_then(|known| warnings.remove(known))
			.map_or(0, |known| known.times);
		warnings.push_front(Warning {
			at,
			times: times + 1,
			of_others,
			text,
		});
		keep_last(&mut warnings);
	}
}

/// Drops all but the last [`MAX_LAST`] warnings of each kind, so that warnings about other machines do not
/// displace the agent's own.
fn keep_last(warnings: &mut VecDeque<Warning>) {
	let mut kept = [0; 2];
	warnings.retain(|warning| {
		let kept = &mut kept[usize::from(warning.of_others)];
		*kept += 1;
		*kept <= MAX_LAST
	});
}

/// The agent's disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
	/// The agent's data folder.
	pub folder: String,
	/// Free part of its disk, in GB of 10⁹ bytes.
	pub free_gb: u32,
	/// Size of the plot, in bytes.
	pub plot: u64,
	/// Planned size of the plot for the claim, in bytes.
	pub plot_wanted: u64,
}

/// State of an agent.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
	/// Version of the agent.
	pub version: String,
	/// Its key in hexadecimal.
	pub agent: String,
	/// Its wall clock, in milliseconds since 1970.
	pub clock_ms: u64,
	/// Seconds since its start.
	pub up_secs: u64,
	/// Addresses that it publishes, as `IP:PORT`.
	pub addresses: Vec<String>,
	/// Relays that it publishes.
	pub relays: Vec<String>,
	/// Keys, in hexadecimal, of agents that it could not reach lately.
	pub wanted: Vec<String>,
	/// Its disk.
	pub disk: Disk,
	/// Events since the start.
	#[serde(flatten)]
	pub events: Events,
	/// The last lines of its log at `WARN` or `ERROR`, the newest first.
	pub warnings: Vec<Warning>,
}

/// Time for which a warning needs attention, in milliseconds: one hour.
const WARNED_FOR_MS: u64 = 3_600 * 1_000;
/// Time for checkers to ask about a trial, in milliseconds: the phases after it take ten minutes.
const ASKED_WITHIN_MS: u64 = 600 * 1_000;

impl Status {
	/// Lists the conditions that need attention, each with its remedy.
	pub fn attention(&self) -> Vec<String> {
		let mut all = Vec::new();
		let is_worker = self.events.benchmarks.last.is_some();
		match &self.events.engine {
			Engine::Missing { why } if is_worker => {
				all.push(format!("No orders can be served: {why}"))
			}
			Engine::Unreachable { why } | Engine::Refused { why } => {
				all.push(format!("No orders can be served: {why}"))
			}
			_ => {}
		}
		if self.addresses.is_empty() && self.relays.is_empty() {
			all.push(
				"No address is published, so other agents cannot reach this one. Check the network, or \
				 name an address with --external-address."
					.into(),
			);
		}
		if let Some(last) = &self.events.benchmarks.last {
			let outcome = match last.root {
				None => "failed",
				Some(_) => "supports less than the claim",
			};
			if !last.remarks.is_empty() {
				all.push(format!(
					"The trial of round {} {outcome}: {}.",
					last.round,
					last.remarks.join("; ")
				));
			}
			let waited = self.clock_ms.saturating_sub(last.at);
			let reached = self.events.reached_at.is_some_and(|at| at >= last.at);
			if last.root.is_some() && !reached && waited > ASKED_WITHIN_MS {
				all.push(format!(
					"No checker has asked about the trial of round {} in the {} minutes since it ended. \
					 Check that the agent's UDP port is open and forwarded, or use a relay.",
					last.round,
					waited / 60_000
				));
			}
		}
		let recent = |warning: &&Warning| {
			!warning.of_others && self.clock_ms.saturating_sub(warning.at) < WARNED_FOR_MS
		};
		let warned = self.warnings.iter().filter(recent).count();
		if warned > 0 {
			all.push(format!("{warned} warning(s) in the last hour; see below."));
		}
		all
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use tracing_subscriber::layer::SubscriberExt;

	fn check(round: u32) -> CompletedCheck {
		CompletedCheck {
			at: 1,
			round,
			worker: 7,
			verdict: "offline".into(),
			why: "é".repeat(MAX_TEXT),
		}
	}

	#[test]
	fn warnings_about_others_do_not_displace_the_agents_own() {
		let warning = |number: usize, of_others| Warning {
			at: 1,
			times: 1,
			of_others,
			text: number.to_string(),
		};
		let mut warnings = VecDeque::from([warning(0, false)]);
		for number in 1..100 {
			warnings.push_front(warning(number, true));
			keep_last(&mut warnings);
		}
		assert_eq!(warnings.len(), MAX_LAST + 1);
		assert!(warnings.contains(&warning(0, false)) && warnings.contains(&warning(99, true)));
	}

	#[test]
	fn a_report_counts_all_events_and_keeps_the_last_with_bounded_texts() {
		let report = Report::default();
		for round in 0..40 {
			report.check(round % 2 == 0, round % 4 == 0, check(round));
		}
		let checks = report.events().checks;
		assert_eq!(
			(checks.made, checks.unserved, checks.unproved),
			(40, 20, 10)
		);
		assert_eq!((checks.last.len(), checks.last[0].round), (MAX_LAST, 39));
		assert!(checks.last[0].why.len() <= MAX_TEXT + 3);
		let benchmark = |root: Option<&str>, remarks: &[&str]| Benchmark {
			at: 1,
			round: 4,
			worker: 7,
			took_ms: 5,
			root: root.map(Into::into),
			remarks: remarks.iter().map(ToString::to_string).collect(),
		};
		report.benchmark(benchmark(Some("00"), &[]));
		report.benchmark(benchmark(Some("00"), &["slow"]));
		report.benchmark(benchmark(None, &["crashed"]));
		let all = report.events().benchmarks;
		assert_eq!((all.done, all.short, all.failed), (2, 1, 1));
	}

	#[test]
	fn attention_lists_what_the_provider_can_mend() {
		let mut status = Status {
			addresses: vec!["1.2.3.4:5".into()],
			clock_ms: 10_000_000,
			..Default::default()
		};
		let attention = |status: &Status| status.attention().join(" ");
		assert_eq!(attention(&status), "");
		status.events.engine = Engine::Unreachable {
			why: "permission denied".into(),
		};
		assert!(attention(&status).contains("permission denied"));
		status.events.engine = Engine::Refused {
			why: "nft is missing".into(),
		};
		assert!(attention(&status).contains("nft is missing"));
		let why = "no container engine".into();
		status.events.engine = Engine::Missing { why };
		assert_eq!(attention(&status), "", "it may only check");
		status.events.engine = Engine::Off;
		status.warnings = vec![Warning {
			at: 9_000_000,
			times: 1,
			of_others: true,
			text: "worker 7 is offline".into(),
		}];
		assert_eq!(attention(&status), "", "it is another's");
		status.warnings[0].of_others = false;
		assert!(attention(&status).contains("1 warning"));
		status.warnings[0].at = status.clock_ms - WARNED_FOR_MS + 1;
		assert!(attention(&status).contains("warning"), "within an hour");
		status.clock_ms += 1;
		assert_eq!(attention(&status), "");
		status.events.benchmarks.last = Some(Benchmark {
			at: status.clock_ms - ASKED_WITHIN_MS,
			round: 4,
			worker: 7,
			took_ms: 1,
			root: Some("00".into()),
			remarks: Vec::new(),
		});
		assert_eq!(attention(&status), "", "checkers may still come");
		status.clock_ms += 1;
		assert!(attention(&status).contains("No checker has asked"));
		status.events.reached_at = Some(status.clock_ms);
		assert_eq!(attention(&status), "");
		status.addresses.clear();
		assert!(attention(&status).contains("No address"));
	}

	#[test]
	fn warnings_are_recorded_once_each_and_lower_levels_never() {
		let subscriber = tracing_subscriber::registry().with(Warnings);
		tracing::subscriber::with_default(subscriber, || {
			for _ in 0..3 {
				tracing::warn!(path = "/plot", "the plot of this test cannot grow");
			}
			tracing::info!("of this test, all is well");
			tracing::warn!(target: "iroh::relay", "of this test: a library's");
			tracing::warn!(target: "kaisar_agent::checker::check", "of this test: offline");
		});
		let mut all = warnings();
		all.retain(|warning| warning.text.contains("of this test"));
		let found: Vec<_> = all
			.iter()
			.map(|warning| (warning.text.as_str(), warning.times, warning.of_others))
			.collect();
		assert_eq!(
			found,
			[
				("of this test: offline", 1, true),
				("the plot of this test cannot grow path=\"/plot\"", 3, false),
			]
		);
	}

	#[test]
	fn the_longest_status_fits_an_answer() {
		let report = Report::default();
		for round in 0..40 {
			report.check(false, false, check(round));
		}
		let warning = Warning {
			at: 1,
			times: 1,
			of_others: false,
			text: bounded("x".repeat(10 * MAX_TEXT)),
		};
		let status = Status {
			events: report.events(),
			warnings: vec![warning; MAX_LAST],
			addresses: vec!["[1234:5678:9abc:def0:1234:5678:9abc:def0]:12345".into(); 32],
			..Default::default()
		};
		let json = serde_json::to_string(&status).unwrap();
		assert!(
			json.len() < kaisar_primitives::agent::MAX_ANSWER,
			"{}",
			json.len()
		);
		assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
	}
}
