//! Pages of other kinds and legs of another order, for this bench only.

use super::{
	memory::{BASE, spread},
	numbers::Numbers,
	pages::{Depths, Figure, Graph, READS, longest},
	search::anneal,
	time::{FASTER, Pace, Way, hidden, seconds, way},
	wide,
};
use kaisar_agent::trial::{
	hash::{Compress, fold, place_u32, u32_at},
	judge::{DISK_LATEST, LATEST},
	ram::{CELL, CELLS, fill_page},
};
use rayon::prelude::*;

/// Blocks that enter each label of a page of these passes and draws, drawn by other numbers.
fn other_page(passes: usize, draws: usize) -> Graph {
	let mut numbers = Numbers::new(7);
	let mut blocks: Vec<Vec<usize>> = Vec::new();
	for label in 0..passes * CELLS {
		let (pass, at) = (label / CELLS, label % CELLS);
		let mut of = Vec::new();
		let count = if pass == 0 { at } else { CELLS };
		let drawn = (0..if count > 0 { draws } else { 0 }).map(|_| numbers.below(count));
		let all: Vec<usize> = drawn.chain((pass > 0).then_some(at)).collect();
		for from in all {
			let block = if from < at {
				label - at + from
			} else {
				label - at + from - CELLS
			};
			match of.iter().position(|other| *other == block) {
				Some(same) => drop(of.swap_remove(same)),
				None => of.push(block),
			}
		}
		blocks.push(of);
	}
	Graph::new(blocks, CELLS)
}

/// Fills a page in passes over blocks, of which `DRAWS` enter at a time.
fn fill_other<const DRAWS: usize>(passes: usize, page: &mut [[u8; CELL]]) {
	let mut last = wide::first(&BASE, 0);
	for label in 0..passes * CELLS {
		let (pass, at) = (label / CELLS, label % CELLS);
		let (count, mut input) = if pass == 0 {
			(at, [0; CELL])
		} else {
			(CELLS, page[at])
		};
		for word in 0..if count > 0 { DRAWS } else { 0 } {
			let from = &page[place_u32(u32_at(&last, 4 * word), count as u32) as usize];
			input
				.iter_mut()
				.zip(from)
				.for_each(|(byte, other)| *byte ^= other);
		}
		last = Compress::new().whole(&fold(&last), &input, label as u64);
		page[at] = last;
	}
}

/// The same search on pages of other kinds, which no code has. A leg has 16 reads side by side, or four of
/// four that wait for each other.
pub fn mends(pace: &Pace, steps: usize) {
	println!("\n## Other pages\n");
	println!("| passes, draws | hidden | chain of 16 reads | four times that of 4 |");
	println!("| --- | --- | --- | --- |");
	let kinds = [(3, 4), (3, 8), (3, 16), (4, 4), (4, 16), (6, 4), (6, 16)];
	let jobs: Vec<_> = kinds
		.iter()
		.flat_map(|kind| [51, 128, 256].map(|missing| (*kind, missing)))
		.collect();
	let rows: Vec<String> = jobs
		.into_par_iter()
		.map(|((passes, draws), missing)| {
			let graph = other_page(passes, draws);
			let start = spread(&graph, CELLS - missing);
			let chains = [false, true].map(|halves| {
				Depths::of(&graph, &anneal::<Depths>(&graph, &start, steps, halves, 3))
					.cells(&graph)
			});
			let least = |reads| {
				chains
					.iter()
					.map(|chains| longest(chains, 1.0, reads, f64::from))
					.fold(f64::INFINITY, f64::min)
			};
			let hidden = missing as f64 / CELLS as f64;
			format!(
				"| {passes}, {draws} | {hidden:.2} | {:.0} | {:.0} |",
				least(READS),
				4.0 * least(READS / 4)
			)
		})
		.collect();
	rows.iter().for_each(|row| println!("{row}"));
	println!(
		"\n| passes, draws, reads of a leg | vectors | {FASTER} times as fast | any cores | {FASTER} times as fast |"
	);
	println!("| --- | --- | --- | --- | --- |");
	for draws in [4, 16] {
		let graph = other_page(3, draws);
		let jobs: Vec<(usize, bool)> = [26, 51, 77, 128, 192, 256, 384]
			.into_iter()
			.flat_map(|m| [(m, false), (m, true)])
			.collect();
		let ways: Vec<Way> = jobs
			.into_par_iter()
			.map(|(missing, halves)| {
				let start = spread(&graph, CELLS - missing);
				way(
					&graph,
					String::new(),
					&anneal::<Depths>(&graph, &start, steps, halves, 4),
				)
			})
			.collect();
		for (name, rounds, limit) in [
			("16 side by side", 1, LATEST),
			("four times four", 4, LATEST),
			("16 side by side, 12 s", 1, DISK_LATEST),
			("four times four, 12 s", 4, DISK_LATEST),
		] {
			let reads = READS / rounds;
			// Where a chain waits for each read, none may take longer.
			let early = if rounds == 1 { 0.75 * pace.leg } else { 0.0 };
			let leg = |units: &[u32], share, unit: f64, speed: f64| {
				f64::from(rounds)
					* longest(units, share, reads, |units| {
						((f64::from(units) * unit - early) / speed).max(0.0)
					})
			};
			let share = |speed: f64, any: bool| {
				let cost = |way: &Way, share| match any {
					true => leg(&way.depths, share, pace.compression, speed),
					false => leg(&way.vectors, share, pace.vector, speed),
				};
				100.0
					* hidden(&ways, pace.slack(limit, speed), cost, |way| {
						if any { way.hides } else { way.with_order }
					})
					.0
			};
			println!(
				"| 3, {draws}, {name} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
				share(1.0, false),
				share(FASTER, false),
				share(1.0, true),
				share(FASTER, true)
			);
		}
	}
	let mut page = vec![[0; CELL]; CELLS];
	let mut expected = Box::new([[0; CELL]; CELLS]);
	fill_page(Compress::new(), &BASE, 0, &mut expected);
	fill_other::<16>(3, &mut page);
	assert!(
		page[..] == expected[..],
		"a page of 3 passes and 16 draws is that of the definitions"
	);
	for (passes, draws, fill) in [
		(3, 4, fill_other::<4> as fn(usize, &mut [[u8; CELL]])),
		(3, 8, fill_other::<8>),
		(3, 16, fill_other::<16>),
		(4, 16, fill_other::<16>),
		(6, 4, fill_other::<4>),
	] {
		let took = seconds(|| fill(passes, &mut page));
		println!(
			"\n{passes} passes, {draws} draws: a page fills in {:.0} µs.",
			took * 1e6
		);
	}
}
