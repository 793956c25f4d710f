//! Command line: it selects strategies and a network, plays them, and prints the results.

use clap::{Parser, ValueEnum};
use kaisar_primitives::KAI;
use kaisar_simulation::{
	authors, capture, floods,
	network::{Network, Rules},
	play::{self, Outcome, Pair, Players},
	report::Report,
	strategies::{self, Limit, Scenario},
};
use std::{process::ExitCode, time::Instant};

/// Minimum number of workers in a network: a coalition's own must not be most of it.
const LEAST_WORKERS: u32 = 20;
/// Maximum number of workers in a network: the size for which the chain is designed.
const MOST_WORKERS: u32 = 1_000_000;

/// Plays strategies against the runtime, and compares their earnings with those of honest parties.
///
/// Each strategy is played twice in the same network with the same randomness: once as it is, and once with
/// an honest party with the same machines, licenses and KAI in its place. The ratio is 1 + (earnings of the
/// strategy − earnings of honesty) / earnings of honesty. Registration fees are printed apart, as entry.
///
/// Without --censuses the play is short: phases of ten blocks, a census about every sixty blocks, one epoch
/// of 400 blocks. With --censuses, phases and censuses are production's.
#[derive(Parser, Debug)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
	/// Number of workers in the honest network around the strategies
	#[arg(long, default_value_t = 100, value_name = "N",
		value_parser = clap::value_parser!(u32).range(LEAST_WORKERS as i64..=MOST_WORKERS as i64))]
	workers: u32,
	/// Use production's phases, and play for this many mean intervals between censuses
	#[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
	censuses: Option<u32>,
	/// Seed of all randomness
	#[arg(long, default_value_t = 1, value_name = "SEED")]
	seed: u64,
	/// Play each strategy with this number of seeds, from --seed on; more than one gives a standard error
	#[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
	seeds: u64,
	/// Play these strategies only; see --list
	#[arg(long, value_name = "NAME", num_args = 1..)]
	strategy: Vec<String>,
	/// Play all strategies as small groups in one network, twice in all, instead of one after the other
	#[arg(long)]
	together: bool,
	/// Print these tables only [default: strategies, and all others unless --strategy is given]
	#[arg(long, value_enum, num_args = 1..)]
	table: Vec<Table>,
	/// Number of committees drawn for each row of the capture table
	#[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u32).range(200..=10_000_000))]
	committees: u32,
	/// Check all invariants of the runtime at the end of each play
	#[arg(long)]
	check: bool,
	/// Print JSON instead of tables
	#[arg(long)]
	json: bool,
	/// List the strategies with their limits, and exit
	#[arg(long)]
	list: bool,
}

/// A table of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Table {
	/// Earnings of each strategy, compared with honesty
	Strategies,
	/// Frequencies with which a coalition holds most of a committee
	Capture,
	/// Costs of floods of signed calls, and the attestations they keep out
	Floods,
	/// Orders that an author can draw to its own workers
	Authors,
}

fn main() -> ExitCode {
	let arguments = Arguments::parse();
	match run(&arguments) {
		Ok(text) => {
			print!("{text}");
			ExitCode::SUCCESS
		}
		Err(error) => {
			eprintln!("error: {error}");
			ExitCode::from(2)
		}
	}
}

/// Returns the strategies with these names, or all strategies if none is named.
fn chosen(names: &[String]) -> Result<Vec<Scenario>, String> {
	if names.is_empty() {
		return Ok(strategies::all());
	}
	names
		.iter()
		.map(|name| {
			strategies::by_name(name)
				.ok_or_else(|| format!("no strategy is called {name}; --list shows all names"))
		})
		.collect()
}

fn list(scenarios: &[Scenario]) -> String {
	scenarios
		.iter()
		.map(|it| {
			let limit = match it.limit {
				Limit::Honest => "at most 1 % above honesty".into(),
				Limit::Documented { most, heading } => format!("at most {most} times: {heading}"),
				Limit::Harm { heading } => format!("harm: {heading}"),
			};
			format!("{}\n    {}\n    {limit}\n", it.name, it.about)
		})
		.collect()
}

fn run(arguments: &Arguments) -> Result<String, String> {
	let scenarios = chosen(&arguments.strategy)?;
	if arguments.list {
		return Ok(list(&scenarios));
	}
	let workers = arguments.workers;
	let rules = match arguments.censuses {
		Some(censuses) => Rules::production(workers, censuses),
		None => Rules::short(),
	};
	let network = Network::of(workers, rules, arguments.seed);
	let wants = |table| {
		let by_default = table == Table::Strategies || arguments.strategy.is_empty();
		arguments.table.contains(&table) || (arguments.table.is_empty() && by_default)
	};
	let mut report = Report::of(&network, arguments.seeds, arguments.together);
	if wants(Table::Strategies) {
		play_strategies(arguments, &scenarios, &network, &mut report)?;
	}
	if wants(Table::Capture) {
		report.capture = capture::settings()
			.into_iter()
			.map(|setting| capture::measure(setting, arguments.committees, arguments.seed))
			.collect();
	}
	if wants(Table::Floods) {
		for flood in floods::Flood::ALL {
			for tip in [0, KAI] {
				report.floods.push(floods::measure(flood, tip, &network));
			}
		}
	}
	if wants(Table::Authors) {
		report.authors = (0..=4)
			.map(|calls| authors::order_draws(calls, 500, arguments.seed))
			.collect();
	}
	if arguments.json {
		let mut text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
		text.push('\n');
		Ok(text)
	} else {
		Ok(report.tables())
	}
}

fn play_strategies(
	arguments: &Arguments,
	scenarios: &[Scenario],
	network: &Network,
	report: &mut Report,
) -> Result<(), String> {
	let broken =
		|error| format!("an invariant of the runtime does not hold, which is a bug: {error:?}");
	let seeds = || {
		(0..arguments.seeds).map(|n| Network {
			seed: network.seed + n,
			..network.clone()
		})
	};
	let started = Instant::now();
	if arguments.together {
		let mut pairs: Vec<(Scenario, Vec<Pair>)> = Vec::new();
		for network in seeds() {
			let (played, figures) =
				play::together(scenarios, &network, arguments.check).map_err(broken)?;
			report.plays.push(figures);
			for (place, (scenario, pair)) in played.into_iter().enumerate() {
				match pairs.get_mut(place) {
					Some((_, of_all)) => of_all.push(pair),
					None => pairs.push((scenario, vec![pair])),
				}
			}
			eprintln!("seed {}: {:.0?}", network.seed, started.elapsed());
		}
		let outcomes = pairs
			.into_iter()
			.map(|(scenario, pairs)| Outcome::of(&scenario, network.workers, pairs));
		report.strategies.extend(outcomes);
		return Ok(());
	}
	let mut players = Players::new(arguments.check);
	for scenario in scenarios {
		let pairs = seeds()
			.map(|network| players.pair(scenario, &network))
			.collect::<Result<Vec<_>, _>>()
			.map_err(broken)?;
		eprintln!("{}: {:.0?}", scenario.name, started.elapsed());
		let outcome = Outcome::of(scenario, network.workers, pairs);
		report.strategies.push(outcome);
	}
	Ok(())
}
