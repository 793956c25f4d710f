//! The share of memory that can be hidden in time.

use super::{
	memory::{BASE, last_pass, spread},
	pages::{
		Depths, Figure, Graph, Kept, READS, Vectors, Works, longest, plan, vectors_of_needs,
		vectors_until,
	},
	search::anneal,
	wide,
};
use kaisar_agent::trial::{
	hash::Compress,
	judge::LATEST,
	lane::{Filled, LEGS, Lane},
	ram::{CELL, CELLS, PAGE, fill_page},
};
use kaisar_primitives::round::BenchParams;
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Bits that name sixteen places of 512.
const PLACES: usize = 16 * 9;
/// Speed of a core, as a multiple of this one's.
pub const FASTER: f64 = 2.5;

/// The least time of many tries, in seconds.
pub fn seconds(mut run: impl FnMut()) -> f64 {
	let tries = (0..300).map(|_| {
		let start = Instant::now();
		run();
		start.elapsed().as_secs_f64()
	});
	tries.fold(f64::INFINITY, f64::min)
}

/// A core's pace: seconds of a compression, of a vector of sixteen, and of a leg.
pub struct Pace {
	pub compression: f64,
	pub vector: f64,
	pub leg: f64,
}

impl Pace {
	/// The time by which one leg may exceed an honest leg on a core that is `speed` times as fast, if all
	/// legs together take `limit`.
	pub fn slack(&self, limit: Duration, speed: f64) -> f64 {
		let legs = f64::from(BenchParams::default().stages) * LEGS as f64;
		limit.as_secs_f64() / legs - self.leg / speed
	}
}

/// A way to keep pages, with the cost of each cell and the hidden share of a page.
pub struct Way {
	pub name: String,
	pub works: Vec<u32>,
	pub depths: Vec<u32>,
	pub vectors: Vec<u32>,
	pub needs: Vec<u32>,
	pub hides: f64,
	/// With the order of all labels in each page.
	pub with_order: f64,
	/// With the places of all blocks.
	pub with_places: f64,
}

pub fn way(graph: &Graph, name: String, kept: &Kept) -> Way {
	let plan = plan(graph, kept);
	let computed = plan.iter().map(Vec::len).sum::<usize>();
	let unknown = (1..graph.labels())
		.filter(|l| !kept.label[*l] && !kept.label[l - 1])
		.count();
	let which = graph.labels();
	let order = computed * (plan.len().max(2).ilog2() as usize + 1);
	let bits = (8 * PAGE) as f64;
	let hides = 1.0 - kept.share(graph);
	Way {
		name,
		works: Works::of(graph, kept).cells(graph),
		depths: Depths::of(graph, kept).cells(graph),
		vectors: vectors_until(graph, &plan),
		needs: vectors_of_needs(graph, kept),
		hides,
		with_order: hides - (which + order) as f64 / bits,
		with_places: hides - (which + order + PLACES * unknown) as f64 / bits,
	}
}

/// The share of memory that is hidden where as many pages are kept in a way as leave a leg this many
/// seconds.
pub fn hidden(
	ways: &[Way],
	slack: f64,
	cost: impl Fn(&Way, f64) -> f64,
	hides: impl Fn(&Way) -> f64,
) -> (f64, &str) {
	let best = ways.iter().map(|way| {
		let (mut low, mut high) = (0.0, 1.0);
		for _ in 0..40 {
			let share = (low + high) / 2.0;
			if cost(way, share) <= slack {
				low = share
			} else {
				high = share
			}
		}
		(low * hides(way).max(0.0), &way.name[..])
	});
	best.fold(
		(0.0, "none"),
		|best, one| if one.0 > best.0 { one } else { best },
	)
}

/// Measures this core, and prints the share of memory that it can hide.
pub fn in_time(graph: &Graph, steps: usize) -> Pace {
	let mut page = Box::new([[0; CELL]; CELLS]);
	let fill = seconds(|| fill_page(Compress::new(), &BASE, 0, &mut page));
	let first = wide::first(&BASE, 0);
	let labels = wide::labels(graph, &first);
	assert_eq!(
		labels[graph.last()..],
		page[..],
		"the graph is that of the page"
	);
	let missing = [1, 2, 5, 10, 26, 51, 77, 128, 192, 256, 320, 384, 448];
	let jobs: Vec<(usize, usize)> = missing
		.iter()
		.flat_map(|m| (0..4).map(move |kind| (*m, kind)))
		.collect();
	let mut ways: Vec<(Way, Kept)> = jobs
		.into_par_iter()
		.map(|(missing, kind)| {
			let start = spread(graph, graph.cells - missing);
			let (name, kept) = match kind {
				0 => (
					"short chains",
					anneal::<Depths>(graph, &start, steps, false, 2),
				),
				1 => (
					"short chains, halves",
					anneal::<Depths>(graph, &start, steps, true, 2),
				),
				2 => (
					"few vectors",
					anneal::<Vectors>(graph, &start, steps, false, 2),
				),
				_ => {
					let start = last_pass(graph, missing);
					(
						"few compressions",
						anneal::<Works>(graph, &start, steps / 20, false, 2),
					)
				}
			};
			(way(graph, format!("{missing} cells, {name}"), &kept), kept)
		})
		.collect();
	let nothing = Kept::labels(graph, |_| false);
	ways.push((way(graph, "whole pages".into(), &nothing), nothing));
	let half = ways
		.iter()
		.find(|(way, _)| way.name == "256 cells, few vectors");
	let vector =
		half.and_then(|(_, kept)| wide::seconds(graph, &first, &labels, &plan(graph, kept)));
	let lane = Lane::new(&BASE, 0);
	let (kappa, mut state) = (lane.first(), lane.first());
	let leg =
		seconds(|| (0..64).for_each(|_| state = lane.leg(&kappa, &state, &mut Filled(&page[..]))))
			/ 64.0;
	let pace = Pace {
		compression: fill / graph.labels() as f64,
		vector: vector.unwrap_or(fill / graph.labels() as f64 * wide::WIDTH as f64),
		leg,
	};
	println!("\n## In time\n");
	println!(
		"A page fills in {:.0} µs, {:.0} ns a compression. A vector of 16 labels takes {:.0} ns{}. A leg over a page in \
		 the first cache takes {:.2} µs.\n",
		fill * 1e6,
		pace.compression * 1e9,
		pace.vector * 1e9,
		if vector.is_some() {
			""
		} else {
			" (no AVX-512 here: sixteen compressions)"
		},
		pace.leg * 1e6,
	);
	println!(
		"| ways to keep a page | hides | with its order | with all places | compressions | chain | vectors | of needs |"
	);
	println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
	for (way, _) in &ways {
		let leg = |of: &[u32]| longest(of, 1.0, READS, f64::from);
		println!(
			"| {} | {:.3} | {:.3} | {:.3} | {:.0} | {:.1} | {:.1} | {:.1} |",
			way.name,
			way.hides,
			way.with_order,
			way.with_places,
			leg(&way.works),
			leg(&way.depths),
			leg(&way.vectors),
			leg(&way.needs),
		);
	}
	let ways: Vec<Way> = ways.into_iter().map(|(way, _)| way).collect();
	println!("\n| attacker | this core | best way | {FASTER} times as fast | best way |");
	println!("| --- | --- | --- | --- | --- |");
	let mean = |of: &[u32]| f64::from(of.iter().sum::<u32>()) / of.len() as f64;
	// A chain comes to a word's new value three quarters of a chain after its cell is known.
	let waits = |units: &[u32], share, unit: f64, speed: f64| {
		let early = 0.75 * pace.leg / speed;
		longest(units, share, READS, |units| {
			(f64::from(units) * unit / speed - early).max(0.0)
		})
	};
	type Model<'a> = (
		&'a str,
		Box<dyn Fn(&Way, f64, f64) -> f64 + 'a>,
		fn(&Way) -> f64,
	);
	let models: [Model; 5] = [
		(
			"the lane's core alone",
			Box::new(|way, share, speed| {
				f64::from(READS) * share * mean(&way.works) * pace.compression / speed
			}),
			|way| way.hides,
		),
		(
			"16 more cores for each lane, a compression at a time",
			Box::new(|way, share, speed| waits(&way.works, share, pace.compression, speed)),
			|way| way.hides,
		),
		(
			"the same, vectors, each page's order kept",
			Box::new(|way, share, speed| waits(&way.vectors, share, pace.vector, speed)),
			|way| way.with_order,
		),
		(
			"the same, vectors, all places kept",
			Box::new(|way, share, speed| waits(&way.needs, share, pace.vector, speed)),
			|way| way.with_places,
		),
		(
			"as many cores as help, which exchange blocks in no time",
			Box::new(|way, share, speed| waits(&way.depths, share, pace.compression, speed)),
			|way| way.hides,
		),
	];
	for (name, cost, hides) in &models {
		let at = |speed: f64| {
			let slack = pace.slack(LATEST, speed);
			let (share, best) = hidden(&ways, slack, |way, share| cost(way, share, speed), hides);
			format!("{:.1} % | {best}", 100.0 * share)
		};
		println!("| {name} | {} | {} |", at(1.0), at(FASTER));
	}
	drop(models);
	pace
}
