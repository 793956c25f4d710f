//! Output: results on standard output, as text or JSON; progress on standard error.

use crate::failure::{Failure, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::{
	io::{self, IsTerminal, Write},
	time::Duration,
};

/// Printer of a command's results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
	/// One JSON document instead of text.
	pub json: bool,
}

impl Output {
	/// Prints a result, in JSON as an indented document.
	pub fn show<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
		let text = if self.json {
			serde_json::to_string_pretty(value).map_err(|error| {
				Failure::usage(format!("cannot format the result as JSON: {error}"))
			})?
		} else {
			text()
		};
		print(&text)
	}

	/// Prints an event on one line, in JSON too, since more may follow.
	pub fn line<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
		let text = if self.json {
			serde_json::to_string(value).map_err(|error| {
				Failure::usage(format!("cannot format the result as JSON: {error}"))
			})?
		} else {
			text()
		};
		print(&text)
	}
}

/// Prints to standard output. A closed pipe is not an error: its reader has read enough.
pub fn print(text: &str) -> Result<()> {
	let mut out = io::stdout().lock();
	let line = if text.ends_with('\n') { "" } else { "\n" };
	match write!(out, "{text}{line}").and_then(|()| out.flush()) {
		Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::usage(format!(
			"cannot write to standard output: {error}"
		))),
		_ => Ok(()),
	}
}

/// Progress on standard error: a spinner on a terminal; elsewhere a line for each change, or nothing.
pub struct Progress {
	bar: Option<ProgressBar>,
	lines: bool,
	last: String,
}

impl Progress {
	/// Starts the progress of a long wait. With `--json` and without a terminal it prints nothing.
	pub fn start(output: Output, text: impl Into<String>) -> Self {
		Self::new(!output.json, text.into())
	}

	/// Starts the progress of a short wait, shown on terminals only.
	pub fn spinner(text: impl Into<String>) -> Self {
		Self::new(false, text.into())
	}

	fn new(lines: bool, text: String) -> Self {
		let bar = io::stderr().is_terminal().then(|| {
			let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
			bar.set_style(ProgressStyle::default_spinner());
			bar.enable_steady_tick(Duration::from_millis(100));
			bar
		});
		let mut progress = Self {
			bar,
			lines,
			last: String::new(),
		};
		progress.say(text);
		progress
	}

	/// Shows the current step.
	pub fn say(&mut self, text: impl Into<String>) {
		let text = text.into();
		if text == self.last {
			return;
		}
		match &self.bar {
			Some(bar) => bar.set_message(text.clone()),
			None if self.lines => eprintln!("{text}"),
			None => (),
		}
		self.last = text;
	}

	/// Prints a line that stays.
	pub fn note(&mut self, text: impl AsRef<str>) {
		match &self.bar {
			Some(bar) => bar.println(text.as_ref()),
			None if self.lines => eprintln!("{}", text.as_ref()),
			None => (),
		}
	}
}

impl Drop for Progress {
	fn drop(&mut self) {
		if let Some(bar) = &self.bar {
			bar.finish_and_clear();
		}
	}
}

/// Alignment of a table's column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
	/// For text.
	Left,
	/// For numbers.
	Right,
}

/// Formats a table with a line of titles and aligned columns.
pub fn table(titles: &[(&str, Align)], rows: &[Vec<String>]) -> String {
	let width = |text: &str| text.chars().count();
	let widths: Vec<usize> = titles
		.iter()
		.enumerate()
		.map(|(i, (title, _))| {
			rows.iter()
				.filter_map(|row| row.get(i))
				.map(|cell| width(cell))
				.chain([width(title)])
				.max()
				.unwrap_or(0)
		})
		.collect();
	let line = |cells: &mut dyn Iterator<Item = &str>| {
		let mut line = String::new();
		for ((cell, width), (_, align)) in cells.zip(&widths).zip(titles) {
			match align {
				Align::Left => line += &format!("{cell:<width$}  "),
				Align::Right => line += &format!("{cell:>width$}  "),
			}
		}
		line.truncate(line.trim_end().len());
		line
	};
	let head = line(&mut titles.iter().map(|(title, _)| *title));
	let mut text = bold(&head);
	for row in rows {
		text.push('\n');
		text += &line(&mut row.iter().map(String::as_str));
	}
	text
}

/// Names and values, one pair a line, the values aligned.
#[derive(Default)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
	/// Adds a line.
	pub fn add(mut self, name: impl Into<String>, value: impl ToString) -> Self {
		self.0.push((name.into(), value.to_string()));
		self
	}

	/// Adds a line if it has a value.
	pub fn maybe(self, name: impl Into<String>, value: Option<impl ToString>) -> Self {
		match value {
			Some(value) => self.add(name, value),
			None => self,
		}
	}

	/// Returns the lines as text.
	pub fn text(&self) -> String {
		let width = self
			.0
			.iter()
			.map(|(name, _)| name.chars().count())
			.max()
			.unwrap_or(0);
		let lines: Vec<String> = self
			.0
			.iter()
			.map(|(name, value)| format!("{name:<width$}  {value}"))
			.collect();
		lines.join("\n")
	}
}

/// Makes text bold if standard output takes colors.
pub fn bold(text: &str) -> String {
	if colored(&io::stdout()) {
		format!("\u{1b}[1m{text}\u{1b}[0m")
	} else {
		text.into()
	}
}

/// Returns whether a stream takes colors: it is a terminal, and `NO_COLOR` is not set.
pub fn colored(stream: &impl IsTerminal) -> bool {
	let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
	!plain && stream.is_terminal()
}

/// Formats a number of blocks as the chain's time, in its two largest units: `3 h 20 min`.
pub fn time(blocks: u32) -> String {
	let seconds = u64::from(blocks) * kaisar_primitives::MILLISECS_PER_BLOCK / 1_000;
	let (minutes, seconds) = (seconds / 60, seconds % 60);
	let (hours, minutes) = (minutes / 60, minutes % 60);
	let (days, hours) = (hours / 24, hours % 24);
	let parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")];
	let first = parts.iter().position(|(number, _)| *number > 0);
	let Some(first) = first else {
		return "0 s".into();
	};
	parts[first..]
		.iter()
		.take(2)
		.filter(|(number, _)| *number > 0)
		.map(|(number, unit)| format!("{number} {unit}"))
		.collect::<Vec<_>>()
		.join(" ")
}

/// Formats a block with its distance from block `now`.
pub fn when(block: u32, now: u32) -> String {
	match block.cmp(&now) {
		std::cmp::Ordering::Less => format!("block {block} ({} ago)", time(now - block)),
		std::cmp::Ordering::Equal => format!("block {block} (now)"),
		std::cmp::Ordering::Greater => format!("block {block} (in {})", time(block - now)),
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn columns_are_aligned_by_characters() {
		let rows = vec![
			vec!["1".into(), "Active".into(), "12.5".into()],
			vec!["20".into(), "Überlang".into(), "3".into()],
		];
		let titles = [
			("ID", Align::Right),
			("STATE", Align::Left),
			("PAID", Align::Right),
		];
		assert_eq!(
			table(&titles, &rows),
			"ID  STATE     PAID\n 1  Active    12.5\n20  Überlang     3"
		);
		assert_eq!(table(&titles, &[]), "ID  STATE  PAID");
	}

	#[test]
	fn facts_omit_names_without_a_value() {
		let facts = Facts::default()
			.add("State", "Active")
			.maybe("Worker", None::<u32>)
			.maybe("Ends at", Some(7));
		assert_eq!(facts.text(), "State    Active\nEnds at  7");
	}

	#[test]
	fn time_is_shown_in_its_two_largest_units() {
		for (blocks, text) in [
			(0, "0 s"),
			(1, "12 s"),
			(5, "1 min"),
			(6, "1 min 12 s"),
			(300, "1 h"),
			(301, "1 h"),
			(305, "1 h 1 min"),
			(7_200, "1 d"),
			(7_500, "1 d 1 h"),
			(u32::MAX, "596523 d 5 h"),
		] {
			assert_eq!(time(blocks), text, "{blocks}");
		}
		assert_eq!(when(300, 0), "block 300 (in 1 h)");
		assert_eq!(when(0, 300), "block 0 (1 h ago)");
		assert_eq!(when(5, 5), "block 5 (now)");
	}
}
