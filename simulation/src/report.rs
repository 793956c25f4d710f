//! Reports, as tables for people and as JSON for programs.

use crate::{
	authors::OrderDraws,
	capture::{Capture, Honest},
	floods::Flooded,
	network::Network,
	play::{Figures, Outcome},
};
use serde::Serialize;
use std::fmt::Write;

/// Results of all plays and measurements.
#[derive(Debug, Default, Serialize)]
pub struct Report {
	/// Number of workers in the honest network.
	pub workers: u32,
	/// Number of its operators, with ten licenses each, or two if workers are fewer than a thousand.
	pub operators: u32,
	/// Number of blocks from the opening to the end.
	pub blocks: u32,
	/// First seed.
	pub seed: u64,
	/// Number of plays of each strategy.
	pub seeds: u64,
	/// Whether the strategies were played in one network.
	pub together: bool,
	/// Figures of the plays in which all strategies were together.
	pub plays: Vec<Figures>,
	/// Outcomes of the strategies.
	pub strategies: Vec<Outcome>,
	/// Frequencies of capture.
	pub capture: Vec<Capture>,
	/// Results of floods.
	pub floods: Vec<Flooded>,
	/// Orders that an author can draw to its own workers.
	pub authors: Vec<OrderDraws>,
}

impl Report {
	/// Creates an empty report on a network.
	pub fn of(network: &Network, seeds: u64, together: bool) -> Self {
		Self {
			workers: network.workers,
			operators: network.operators,
			blocks: network.rules.epoch_length * network.rules.epochs,
			seed: network.seed,
			seeds,
			together,
			..Default::default()
		}
	}

	/// Returns the report as tables.
	pub fn tables(&self) -> String {
		let mut text = String::new();
		self.write(&mut text).expect("a string takes everything");
		text
	}

	fn write(&self, to: &mut String) -> std::fmt::Result {
		if !self.strategies.is_empty() {
			writeln!(
				to,
				"{} workers, {} operators, {} blocks, {} seed{} from {}{}",
				self.workers,
				self.operators,
				self.blocks,
				self.seeds,
				if self.seeds == 1 { "" } else { "s" },
				self.seed,
				if self.together {
					", all strategies in one network"
				} else {
					""
				},
			)?;
			for it in &self.plays {
				writeln!(
					to,
					"seed {}: {} censuses, {} checks closed, {} of them offline, {} undecided; {} transactions, {} MB of state",
					it.seed,
					it.counts.censuses,
					it.counts.checks,
					it.counts.offline,
					it.counts.undecided,
					it.carried.succeeded + it.carried.failed,
					it.bytes / 1_000_000,
				)?;
			}
			writeln!(to)?;
			strategies(to, &self.strategies)?;
		}
		if !self.capture.is_empty() {
			capture(to, &self.capture)?;
		}
		if !self.floods.is_empty() {
			floods(to, &self.floods)?;
		}
		if !self.authors.is_empty() {
			authors(to, &self.authors)?;
		}
		Ok(())
	}
}

/// Formats a number with decimals by its size.
fn number(value: f64) -> String {
	match value.abs() {
		size if size < 0.000_05 => "0".into(),
		size if size < 0.1 => format!("{value:.4}"),
		size if size < 100.0 => format!("{value:.2}"),
		_ => format!("{value:.0}"),
	}
}

/// Formats a part as a percentage.
fn percent(part: f64) -> String {
	match part * 100.0 {
		0.0 => "0".into(),
		value if value.abs() < 0.1 => format!("{value:.3} %"),
		value if value < 10.0 => format!("{value:.2} %"),
		value => format!("{value:.1} %"),
	}
}

fn strategies(to: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
	writeln!(
		to,
		"| strategy | ratio to honesty | KAI | honest KAI | entry KAI | victim loses KAI | limit |"
	)?;
	writeln!(to, "| --- | --- | --- | --- | --- | --- | --- |")?;
	for it in outcomes {
		let ratio = match (it.ratio, it.error) {
			(Some(ratio), Some(error)) => format!("{ratio:.3} ± {error:.3}"),
			(Some(ratio), None) => format!("{ratio:.3}"),
			(None, _) => "–".into(),
		};
		let limit = match it.documented {
			Some(_) if it.most > 1.01 => "documented",
			_ if !it.holds() => "**above 1.01**",
			_ => "1.01",
		};
		writeln!(
			to,
			"| `{}` | {ratio} | {} | {} | {} | {} | {limit} |",
			it.name,
			number(it.mean(|pair| pair.strategic)),
			number(it.mean(|pair| pair.honest)),
			number(it.mean(|pair| pair.entry)),
			it.harm().map_or("–".into(), number),
		)?;
	}
	writeln!(to)
}

/// Formats a figure of a setting, for each distribution of the others' licenses.
fn by_others(rows: &[&Capture], of: impl Fn(&Capture) -> f64) -> String {
	let figures: Vec<String> = rows.iter().map(|it| percent(of(it))).collect();
	figures.join(", ")
}

fn capture(to: &mut String, rows: &[Capture]) -> std::fmt::Result {
	let names: Vec<&str> = Honest::ALL.iter().map(|honest| honest.name()).collect();
	writeln!(
		to,
		"{} committees a row. Where figures are three, the other licenses are held by: {}.",
		rows.first().map_or(0, |it| it.drawn),
		names.join(", "),
	)?;
	writeln!(to)?;
	writeln!(
		to,
		"| share | accounts | dead | more than half | exact | more than ¾ | exact | undecided | best of two draws |"
	)?;
	writeln!(
		to,
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
	)?;
	let mut alike: Vec<Vec<&Capture>> = Vec::new();
	for it in rows {
		let key = |it: &Capture| {
			(
				it.setting.percent,
				it.setting.many_accounts,
				it.setting.dead,
			)
		};
		match alike.iter_mut().find(|all| key(all[0]) == key(it)) {
			Some(all) => all.push(it),
			None => alike.push(vec![it]),
		}
	}
	for all in alike {
		let first = all[0];
		writeln!(
			to,
			"| {} % | {} | {} % | {} | {} | {} | {} | {} | {} |",
			first.setting.percent,
			if first.setting.many_accounts {
				"many"
			} else {
				"three"
			},
			first.setting.dead,
			by_others(&all, |it| it.majority),
			percent(first.majority_exact),
			by_others(&all, |it| it.slash),
			percent(first.slash_exact),
			by_others(&all, |it| it.undecided),
			by_others(&all, |it| it.majority_of_two),
		)?;
	}
	writeln!(to)
}

fn floods(to: &mut String, rows: &[Flooded]) -> std::fmt::Result {
	writeln!(
		to,
		"| flood | tip KAI | blocks | full | KAI a block | fees grow a block | attested | without a flood | \
		 absent by it |"
	)?;
	writeln!(
		to,
		"| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
	)?;
	for it in rows {
		writeln!(
			to,
			"| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
			it.flood.name(),
			number(it.tip),
			it.blocks,
			percent(it.fullness),
			number(it.cost),
			percent(it.dearer),
			it.attested,
			it.without,
			it.absent,
		)?;
	}
	writeln!(to)
}

fn authors(to: &mut String, rows: &[OrderDraws]) -> std::fmt::Result {
	writeln!(
		to,
		"| calls in the block | orders | own part of idle workers | orders got without | with the best choice |"
	)?;
	writeln!(to, "| --- | --- | --- | --- | --- |")?;
	for it in rows {
		writeln!(
			to,
			"| {} | {} | {} | {} | {} |",
			it.calls,
			it.orders,
			percent(it.own),
			percent(it.without),
			percent(it.with),
		)?;
	}
	writeln!(to)
}
