//! Prints the tables of `docs/classes.md`: which GPUs pass for which classes, what a genesis pays, and how
//! many weaker GPUs a stronger one shows, by measured paces and by the peak figures. With `--write` it puts
//! them into the document. A test compares the two.

use kaisar_math::{
	ClassReference,
	classes::{CLASSES, GpuClassInfo, Peak},
	separation::{LEAST_MEMORY, LEAST_PACE, best_turns, copies, is_separated},
};
use std::{cmp::Reverse, fmt::Write};

/// The marks around the tables in the document.
const MARKS: [&str; 2] = ["<!-- class_table -->\n", "<!-- /class_table -->\n"];
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/classes.md");
/// The largest distance at which a separated pair is listed as close.
const CLOSE: f64 = 0.15;

/// A class of a table.
struct Row {
	class: GpuClassInfo,
	/// The measured reference, or a planned one as if measured. `None` without either.
	reference: Option<ClassReference>,
}

impl Row {
	fn turns(&self) -> Option<u32> {
		Some(self.reference?.trial_turns)
	}

	/// Returns the result of claiming this class with a GPU of `gpu`.
	fn claimed_with(&self, gpu: &Self) -> Claim {
		if u64::from(gpu.class.memory_gb) * 100 < u64::from(self.class.memory_gb) * LEAST_MEMORY {
			return Claim::LacksMemory;
		}
		let (owned, peak) = (gpu.reference.unwrap_or(gpu.class.floor()), gpu.class.peak);
		match (self.reference, best_turns(&owned, peak)) {
			(Some(class), Some(_)) if is_separated(&class, &owned, peak) => Claim::TooSlow,
			(Some(_), Some(_)) => Claim::Passes,
			_ => Claim::Unknown,
		}
	}

	/// Returns the best pace of `gpu` as a part of the pace that this class requires, at least 1 where it
	/// passes: by the planned reference, and by the peaks alone.
	fn shares(&self, gpu: &Self) -> Option<[f64; 2]> {
		let needed = f64::from(self.turns()?) * (LEAST_PACE as f64 / 100.0);
		let share = |reference: ClassReference, peak: Option<Peak>| {
			best_turns(&reference, peak).map(|best| best as f64 / needed)
		};
		Some([
			share(gpu.reference?, None)?,
			share(gpu.class.floor(), gpu.class.peak)?,
		])
	}
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
	LacksMemory,
	TooSlow,
	Passes,
	Unknown,
}

impl Claim {
	fn sign(self) -> char {
		match self {
			Self::LacksMemory => '.',
			Self::TooSlow => '-',
			Self::Passes => 'P',
			Self::Unknown => '?',
		}
	}
}

/// Returns the classes with their references, the best paid first.
fn rows(
	classes: impl Iterator<Item = GpuClassInfo>,
	reference: impl Fn(&GpuClassInfo) -> Option<ClassReference>,
) -> Vec<Row> {
	let mut rows: Vec<_> = classes
		.map(|class| Row {
			reference: reference(&class),
			class,
		})
		.collect();
	rows.sort_by_key(|row| (Reverse(row.class.published), Reverse(row.turns())));
	rows
}

fn name(row: &Row) -> String {
	let name = row.class.name.trim_start_matches("GPU_");
	name.replace("NVIDIA_TESLA_", "").replace('_', " ")
}

fn score(hundredths: u32) -> String {
	format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn percent(part: f64) -> String {
	format!("{:.0} %", part * 100.0)
}

fn classes(out: &mut String, rows: &[Row]) {
	out.push_str(
		"\n**The classes whose peak figures are known.** *Turns* of the GPU trial in 10 s, as planned. *By*: the\n\
		 lowest-paid GPUs that pass.\n\n\
		 | id | class | GB | turns | published | paid | by |\n\
		 | --- | --- | --- | --- | --- | --- | --- |\n",
	);
	for row in rows {
		let by: Vec<_> = rows
			.iter()
			.filter(|gpu| gpu.class.published < row.class.published)
			.filter(|gpu| gpu.class.published == row.class.score)
			.filter(|gpu| row.claimed_with(gpu) == Claim::Passes)
			.map(name)
			.collect();
		let _ = writeln!(
			out,
			"| {} | {} | {} | {} | {} | {} | {} |",
			row.class.id,
			name(row),
			row.class.memory_gb,
			row.turns().map_or("–".into(), |turns| turns.to_string()),
			score(row.class.published),
			score(row.class.score),
			by.join(", "),
		);
	}
}

fn matrix(out: &mut String, rows: &[Row], title: &str, cell: impl Fn(&Row, &Row) -> String) {
	let _ = writeln!(out, "\n{title}\n\n```text");
	out.push_str("    ");
	for gpu in rows {
		let _ = write!(out, "{:>4}", gpu.class.id);
	}
	out.push('\n');
	for class in rows {
		let _ = write!(out, "{:>4}", class.class.id);
		for gpu in rows {
			let _ = write!(out, "{:>4}", cell(class, gpu));
		}
		let _ = writeln!(out, "  {}", name(class));
	}
	out.push_str("```\n");
}

fn not_separated(out: &mut String, rows: &[Row]) {
	out.push_str(
		"\n**Pairs that are not separated**, of a class and a GPU of a lower published score.\n\n\
		 | class | passes with | published | paid |\n\
		 | --- | --- | --- | --- |\n",
	);
	for class in rows {
		let cheaper: Vec<_> = rows
			.iter()
			.filter(|gpu| gpu.class.published < class.class.published)
			.filter(|gpu| class.claimed_with(gpu) == Claim::Passes)
			.map(name)
			.collect();
		if !cheaper.is_empty() {
			let _ = writeln!(
				out,
				"| {} | {} | {} | {} |",
				name(class),
				cheaper.join(", "),
				score(class.class.published),
				score(class.class.score),
			);
		}
	}
}

fn close(out: &mut String, rows: &[Row]) {
	out.push_str(
		"\n**Pairs that are barely separated.** The best pace of the cheaper GPU, as a share of the pace that the class\n\
		 requires: with a kernel 1.25 times as good as planned, and at 0.9 of its peaks. From 100 % on it passes.\n\n\
		 | class | paid | GPU | paid | 1.25 × planned | 0.9 of its peaks |\n\
		 | --- | --- | --- | --- | --- | --- |\n",
	);
	for class in rows {
		for gpu in rows {
			if gpu.class.score >= class.class.score || class.claimed_with(gpu) != Claim::TooSlow {
				continue;
			}
			let Some([planned, peaks]) = class.shares(gpu) else {
				continue;
			};
			if planned.max(peaks) > 1.0 - CLOSE {
				let _ = writeln!(
					out,
					"| {} | {} | {} | {} | {} | {} |",
					name(class),
					score(class.class.score),
					name(gpu),
					score(gpu.class.score),
					percent(planned),
					percent(peaks),
				);
			}
		}
	}
}

fn shown(strong: &Row, weak: &Row) -> Option<u32> {
	copies(&strong.reference?, &weak.reference?)
}

fn paying_copies(out: &mut String, rows: &[Row]) {
	out.push_str(
		"\n**Copies that pay.** *Together* is what the copies are paid, *÷ n* the most that the weaker class may be\n\
		 paid if the copies are not to earn more than the GPU itself.\n\n\
		 | GPU | paid | shows | each | together | ÷ n |\n\
		 | --- | --- | --- | --- | --- | --- |\n",
	);
	for strong in rows {
		for weak in rows {
			let (Some(count), own) = (shown(strong, weak), strong.class.score) else {
				continue;
			};
			let together = count * weak.class.score;
			if count > 1 && together > own {
				let _ = writeln!(
					out,
					"| {} | {} | {count} × {} | {} | {} | {} |",
					name(strong),
					score(own),
					name(weak),
					score(weak.class.score),
					score(together),
					score(own / count),
				);
			}
		}
	}
}

fn separation(out: &mut String, rows: &[Row]) {
	matrix(
		out,
		rows,
		"**Separation of all pairs.** A row is a class, a column the GPU that it is claimed with, by id. `P`: it\n\
		 passes. `.`: it lacks the memory. `-`: it is too slow. `?`: its pace is unknown.",
		|class, gpu| class.claimed_with(gpu).sign().to_string(),
	);
}

fn all_copies(out: &mut String, rows: &[Row]) {
	matrix(
		out,
		rows,
		"**Copies of all pairs.** A row is a GPU, a column the class of which it shows this number.",
		|strong, weak| match shown(strong, weak) {
			None => "?".into(),
			Some(count) => count.to_string(),
		},
	);
}

/// Returns the tables by measurements.
pub fn calibrated(classes: &[GpuClassInfo]) -> String {
	let mut out = String::from("\n## By what was measured\n");
	if classes.iter().all(|class| class.measured.is_none()) {
		out.push_str("\nNo class is calibrated.\n");
		return out;
	}
	// A GPU whose pace is neither measured nor known from its peaks has no row.
	let known = |class: &&GpuClassInfo| class.measured.is_some() || class.peak.is_some();
	let rows = rows(
		classes.iter().filter(known).copied(),
		GpuClassInfo::calibrated,
	);
	separation(&mut out, &rows);
	all_copies(&mut out, &rows);
	paying_copies(&mut out, &rows);
	out
}

/// Returns the tables planned by the peak figures.
fn planned() -> String {
	let known = CLASSES.iter().filter(|class| class.peak.is_some());
	let rows = rows(known.copied(), GpuClassInfo::planned);
	let mut out = String::from("\n## By the peak figures\n");
	classes(&mut out, &rows);
	separation(&mut out, &rows);
	not_separated(&mut out, &rows);
	close(&mut out, &rows);
	all_copies(&mut out, &rows);
	paying_copies(&mut out, &rows);
	out
}

/// Returns all tables.
fn tables() -> String {
	format!("{}{}\n", calibrated(&CLASSES), planned())
}

/// Returns the document's text, the range of its tables, and their intended text.
pub fn document() -> (String, core::ops::Range<usize>, String) {
	let text = std::fs::read_to_string(PATH).expect("the document is there");
	let [begin, end] = MARKS.map(|mark| text.find(mark).expect("the marks are there"));
	(text, begin + MARKS[0].len()..end, tables())
}

#[allow(dead_code, reason = "the test uses the document alone")]
fn main() {
	let (mut text, place, tables) = document();
	println!("{tables}");
	if std::env::args().any(|arg| arg == "--write") {
		text.replace_range(place, &tables);
		std::fs::write(PATH, text).expect("the document can be written");
	}
}
