//! The command line: which strategies to play, in which network, and how to print what came of it.

use clap::Parser;
use kaisar_simulation::{
	network::{Network, Rules},
	play::{self, Outcome},
	strategies,
};
use std::time::Instant;

#[derive(Parser)]
struct Arguments {
	#[arg(long, default_value_t = 100)]
	workers: u32,
	#[arg(long, default_value_t = 1)]
	seed: u64,
	#[arg(long, default_value_t = 1)]
	seeds: u64,
	#[arg(long)]
	strategy: Vec<String>,
}

fn main() {
	let arguments = Arguments::parse();
	for scenario in strategies::all() {
		if !arguments.strategy.is_empty()
			&& !arguments.strategy.iter().any(|name| name == scenario.name)
		{
			continue;
		}
		let started = Instant::now();
		let pairs = (0..arguments.seeds)
			.map(|n| {
				let network = Network::of(arguments.workers, Rules::short(), arguments.seed + n);
				play::pair(&scenario, &network, true).expect("invariants hold")
			})
			.collect();
		let outcome = Outcome::of(&scenario, arguments.workers, pairs);
		println!(
			"{:24} ratio {:?} ± {:?} strat {:.4} honest {:.4} entry {:.3} harm {:?} spared {:.3} holds {} ({:.1?})",
			outcome.name,
			outcome.ratio,
			outcome.error,
			outcome.mean(|it| it.strategic),
			outcome.mean(|it| it.honest),
			outcome.mean(|it| it.entry),
			outcome.harm(),
			outcome.mean(|it| it.spared),
			outcome.holds(),
			started.elapsed()
		);
	}
}
