//! The cost of recomputing pages of memory and nodes of a plot if a part of them is kept, on the real
//! graphs, by rules and by searches. `docs/recomputation.md` has the results.
//!
//! `cargo bench --profile dev --workspace --bench recompute` takes about five minutes on two cores.
//! Arguments after `--`: `memory` or `plot` runs one of the two; `steps=100000` is the number of steps of a
//! search for a page; `nodes=14` is the power of two of the nodes of a plot's search, with `sweeps=4` at
//! each price; `up-to=18` is that of the largest group whose nodes are left out in one pass.

#[cfg(target_arch = "x86_64")]
#[path = "recompute/avx512.rs"]
mod avx512;
#[path = "recompute/disk.rs"]
mod disk;
#[path = "recompute/memory.rs"]
mod memory;
#[path = "recompute/mends.rs"]
mod mends;
#[path = "recompute/numbers.rs"]
mod numbers;
#[path = "recompute/pages.rs"]
mod pages;
#[path = "recompute/plot.rs"]
mod plot;
#[path = "recompute/search.rs"]
mod search;
#[path = "recompute/time.rs"]
mod time;
#[path = "recompute/wide.rs"]
mod wide;

use std::time::Instant;

fn main() {
	let arguments: Vec<String> = std::env::args().collect();
	let number = |name: &str, default| {
		let value =
			|argument: &String| argument.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
		arguments.iter().find_map(value).unwrap_or(default)
	};
	let named = |name: &str| arguments.iter().any(|argument| argument == name);
	let all = !named("memory") && !named("plot");
	let start = Instant::now();
	if all || named("memory") {
		memory::report(number("steps", 100_000));
	}
	if all || named("plot") {
		disk::report(
			number("nodes", 14) as u32,
			number("sweeps", 4),
			number("up-to", 18) as u32,
		);
	}
	println!("\n{:.0} s", start.elapsed().as_secs_f64());
}
