//! Passes the lines that an agent prints on to the node's log, at the level at which the agent logged them.
//!
//! An agent cannot flood the node's log: the same line passes once in ten minutes, and at most sixty lines
//! pass in a minute. Suppressed lines are counted, and the count is logged.

use log::Level;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Time in which the same line passes once.
const REPEAT: Duration = Duration::from_secs(10 * 60);
/// Time in which at most [`MAX_LINES`] lines pass.
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of lines that pass in a [`WINDOW`], of information and of warnings each.
const MAX_LINES: u32 = 60;
/// Maximum number of different lines whose repetitions are counted.
const MAX_KNOWN: usize = 256;
/// Maximum length of a logged line, in characters.
const MAX_TEXT: usize = 2_048;

/// A line for the node's log.
pub type Line = (Level, String);

/// A line that passed.
struct Known {
	since: Instant,
	level: Level,
	/// Repetitions that were suppressed since.
	more: u32,
}

/// Log lines of one agent.
pub struct Lines {
	/// Level of the last line that had one. Lines that follow it, such as a backtrace, get the same.
	last: Level,
	known: BTreeMap<String, Known>,
	/// Start of the window.
	window: Option<Instant>,
	/// Lines that passed in the window: of information, and of warnings.
	passed: [u32; 2],
	/// Lines that were suppressed in the window.
	held: u32,
}

/// Returns the level and the text of a line in the form of `tracing_subscriber`: time, level, target and
/// message. Returns `None` for a line of another form.
fn parse(line: &str) -> Option<(Level, &str)> {
	let (time, rest) = line.split_once(char::is_whitespace)?;
	let dated = time.starts_with(|first: char| first.is_ascii_digit()) && time.contains('T');
	let (level, text) = rest.trim_start().split_once(char::is_whitespace)?;
	let level = level.parse().ok().filter(|_| dated)?;
	let text = text.trim_start();
	// The node adds the agent's name; the agent's own modules tell a reader nothing.
	let message = text
		.split_once(": ")
		.filter(|(target, _)| target.starts_with("kaisar_agent") && !target.contains(' '));
	Some((level, message.map_or(text, |(_, message)| message)))
}

impl Lines {
	/// Creates a filter that has seen no line yet.
	pub fn new() -> Self {
		Self {
			last: Level::Debug,
			known: BTreeMap::new(),
			window: None,
			passed: [0; 2],
			held: 0,
		}
	}

	/// Takes a line and returns the lines to log: this one, unless it is suppressed, and counts of lines
	/// that were suppressed before.
	pub fn take(&mut self, line: &str, now: Instant) -> Vec<Line> {
		let mut out = self.due(now);
		let mut is_last = false;
		let (level, text) = match parse(line) {
			Some((level, text)) => {
				self.last = level;
				(level, text)
			}
			None => {
				// A panic, or an error that ended the agent, has no level of its own.
				is_last = line.contains("panicked at") || line.starts_with("Error: ");
				if is_last {
					self.last = Level::Error;
				}
				(self.last, line)
			}
		};
		if text.trim().is_empty() {
			return out;
		}
		let text: String = text.trim_end().chars().take(MAX_TEXT).collect();
		if level > Level::Info {
			// These are logged only where the user's filters ask for them.
			out.push((level, text));
			return out;
		}
		if let Some(known) = self.known.get_mut(&text) {
			known.more += 1;
			return out;
		}
		self.window.get_or_insert(now);
		// Information takes no room from warnings, and the reason of an agent's end is never suppressed.
		let passed = &mut self.passed[usize::from(level <= Level::Warn)];
		if *passed >= MAX_LINES && !is_last {
			self.held += 1;
			return out;
		}
		*passed += 1;
		if self.known.len() < MAX_KNOWN {
			let known = Known {
				since: now,
				level,
				more: 0,
			};
			self.known.insert(text.clone(), known);
		}
		out.push((level, text));
		out
	}

	/// Returns the counts of all suppressed lines, once the agent has ended.
	pub fn end(&mut self) -> Vec<Line> {
		let counted = |(text, known): (String, Known)| {
			(known.more > 0).then(|| (known.level, format!("{text} … and {} more", known.more)))
		};
		let mut out: Vec<Line> = std::mem::take(&mut self.known)
			.into_iter()
			.filter_map(counted)
			.collect();
		if self.held > 0 {
			out.push((
				Level::Warn,
				format!("… and {} more lines within a minute", self.held),
			));
		}
		out
	}

	/// Returns the counts of suppressed lines whose time is over.
	pub fn due(&mut self, now: Instant) -> Vec<Line> {
		let mut out = Vec::new();
		self.known.retain(|text, known| {
			let stays = now.duration_since(known.since) < REPEAT;
			if !stays && known.more > 0 {
				out.push((known.level, format!("{text} … and {} more", known.more)));
			}
			stays
		});
		if self
			.window
			.is_some_and(|since| now.duration_since(since) >= WINDOW)
		{
			if self.held > 0 {
				let text = format!("… and {} more lines within a minute", self.held);
				out.push((Level::Warn, text));
			}
			(self.window, self.passed, self.held) = (None, [0; 2], 0);
		}
		out
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn line(level: &str, text: &str) -> String {
		format!("2026-11-27T07:00:00.000000Z {level:>5} kaisar_agent::gpu: {text}")
	}

	fn texts(lines: Vec<Line>) -> Vec<String> {
		lines.into_iter().map(|(_, text)| text).collect()
	}

	#[test]
	fn a_line_keeps_its_level() {
		let mut lines = Lines::new();
		let now = Instant::now();
		for (name, level) in [
			("ERROR", Level::Error),
			("WARN", Level::Warn),
			("INFO", Level::Info),
			("DEBUG", Level::Debug),
			("TRACE", Level::Trace),
		] {
			let text = format!("a GPU cannot be used: {name}");
			let took = lines.take(&line(name, &text), now);
			assert_eq!(took, [(level, text)]);
		}
		// The target of another crate stays.
		let other = "2026-11-27T07:00:00Z  WARN iroh::magicsock: a relay is gone";
		assert_eq!(
			lines.take(other, now),
			[(Level::Warn, "iroh::magicsock: a relay is gone".into())]
		);
	}

	#[test]
	fn lines_without_a_level_have_that_of_what_they_belong_to() {
		let mut lines = Lines::new();
		let now = Instant::now();
		let mut levels = |line: &str| -> Vec<Level> {
			let took = lines.take(line, now);
			took.into_iter().map(|(level, _)| level).collect()
		};
		// A driver may print before the agent logs anything.
		assert_eq!(levels("libEGL warning: no display"), [Level::Debug]);
		assert_eq!(levels(&line("WARN", "more than a line")), [Level::Warn]);
		assert_eq!(levels("its second line"), [Level::Warn]);
		assert_eq!(levels(&line("DEBUG", "fine")), [Level::Debug]);
		assert_eq!(
			levels("thread 'main' panicked at src/main.rs:1:"),
			[Level::Error]
		);
		assert_eq!(levels("   0: rust_begin_unwind"), [Level::Error]);
		assert_eq!(levels("Error: another agent uses /data"), [Level::Error]);
		assert!(levels("").is_empty() && levels("\u{fffd} WARN x").len() == 1);
	}

	#[test]
	fn boundary_the_same_line_passes_once_in_a_while() {
		let mut lines = Lines::new();
		let begin = Instant::now();
		let same = line("WARN", "the disk is full");
		assert_eq!(texts(lines.take(&same, begin)), ["the disk is full"]);
		for second in 1..13 {
			let now = begin + Duration::from_secs(second);
			assert!(lines.take(&same, now).is_empty());
		}
		assert!(
			lines
				.due(begin + REPEAT - Duration::from_millis(1))
				.is_empty()
		);
		assert_eq!(
			texts(lines.take(&same, begin + REPEAT)),
			["the disk is full … and 12 more", "the disk is full"]
		);
		assert!(
			lines.due(begin + REPEAT * 3).is_empty(),
			"nothing was held back"
		);
	}

	#[test]
	fn boundary_a_chatty_agent_passes_so_many_lines_a_minute() {
		let mut lines = Lines::new();
		let begin = Instant::now();
		let passed = (0..MAX_LINES + 5)
			.filter(|number| {
				let line = line("INFO", &format!("line {number}"));
				!lines.take(&line, begin).is_empty()
			})
			.count();
		assert_eq!(passed, MAX_LINES as usize);
		let warning = line("WARN", "what explains it");
		assert_eq!(
			lines.take(&warning, begin).len(),
			1,
			"news takes no room from it"
		);
		for number in 0..MAX_LINES {
			lines.take(&line("ERROR", &format!("error {number}")), begin);
		}
		let end = lines.take("Error: another agent uses the folder", begin);
		assert_eq!(end.len(), 1, "the reason of its end always passes");
		let debug = line("DEBUG", "for who asks");
		assert_eq!(lines.take(&debug, begin).len(), 1, "it is not counted");
		let later = begin + WINDOW;
		assert_eq!(
			texts(lines.take(&line("WARN", "news"), later)),
			["… and 6 more lines within a minute", "news"]
		);
	}

	#[test]
	fn what_is_remembered_and_logged_is_bounded() {
		let mut lines = Lines::new();
		let begin = Instant::now();
		for minute in 0..20 {
			for number in 0..MAX_LINES {
				let text = format!("{minute} {number} {}", "x".repeat(10_000));
				let took = lines.take(&line("WARN", &text), begin + WINDOW * minute);
				assert!(
					took.iter()
						.all(|(_, text)| text.chars().count() <= MAX_TEXT)
				);
			}
		}
		assert!(lines.known.len() <= MAX_KNOWN);
	}
}
