//! Strategies against groups of a plot.

use super::{
	numbers::Numbers,
	plot::{Cost, Graph, NODES, READ, Search, cost, forward, in_order},
};
use kaisar_agent::trial::{
	hash::Compress,
	plot::{GROUP, NODE as NODE_BYTES, Recipe},
};
use rayon::prelude::*;
use std::time::Instant;

/// Number of pages that a figure is measured on.
const SAMPLE: usize = 256;
/// Cost of computing a node, in thousandths of a read: 0.5 µs on one of 16 cores, beside a million reads a
/// second.
const NODE: i64 = 30;

fn group(nodes: usize) -> Graph {
	let recipe = Recipe::new(&[1; 32], &[2; 32], nodes as u32);
	Graph::new(nodes, |node| {
		recipe.parents(0, node).map(|(parents, _)| parents)
	})
}

fn share(out: &[bool]) -> f64 {
	out.iter().filter(|out| **out).count() as f64 / out.len() as f64
}

fn row(name: &str, out: f64, cost: Cost) {
	println!(
		"| {name} | {:.1} % | {:.1} | {:.0} | {:.0} |",
		100.0 * out,
		cost.reads,
		cost.nodes,
		cost.depth
	);
}

fn head(title: &str) {
	println!("\n## {title}\n");
	println!("| left out | share | reads a page | nodes computed | in sequence |");
	println!("| --- | --- | --- | --- | --- |");
}

fn rules(graph: &Graph) {
	head(&format!("Rules, {} nodes", graph.nodes()));
	let mut numbers = Numbers::new(5);
	let rule = |name: &str, leaves: &mut dyn FnMut(usize) -> bool| {
		let out: Vec<bool> = (0..graph.nodes()).map(leaves).collect();
		row(name, share(&out), cost(graph, &out, in_order, SAMPLE));
	};
	for every in [20, 10, 5, 4, 2] {
		rule(&format!("each {every}th node"), &mut |node| {
			node % every == every - 1
		});
	}
	for percent in [5, 10, 20, 30] {
		rule(&format!("{percent} % at random"), &mut |_| {
			numbers.below(100) < percent
		});
	}
	for every in [20, 10, 5] {
		rule(&format!("each {every}th page"), &mut |node| {
			node / NODES % every == every - 1
		});
	}
	for (run, every) in [(256, 10), (4_096, 10), (256, 5), (4_096, 5)] {
		rule(
			&format!("{run} nodes of each {}", run * every),
			&mut |node| node / run % every == every - 1,
		);
	}
	rule(
		"an even number of ones in the index, of each eighth node",
		&mut |node| node % 8 == 7 && node.count_ones() % 2 == 0,
	);
	rule(
		"digits of base 4 never 3 (three lowest), of each second node",
		&mut |node| node % 2 == 1 && (1..4).all(|digit| node >> (2 * digit) & 3 != 3),
	);
	rule("the first tenth", &mut |node| node < graph.nodes() / 10);
	rule("the last tenth", &mut |node| {
		node >= graph.nodes() - graph.nodes() / 10
	});
	// One of four blocks of a node, in a separate kind of file: the same graph, four times the share.
	for percent in [5, 10] {
		rule(
			&format!(
				"block 3 of {} % of the nodes: {percent} % of the bytes",
				4 * percent
			),
			&mut |_| numbers.below(100) < 4 * percent,
		);
	}
}

/// Leaves nodes out from first to last, those that are cheap now.
fn in_one_go(graph: &Graph, most: &[i64]) {
	head(&format!(
		"From the first to the last, {} nodes",
		graph.nodes()
	));
	let found: Vec<(i64, Vec<bool>)> = most
		.par_iter()
		.map(|most| (*most, forward(graph, NODE, most * READ, 0.2)))
		.collect();
	for (most, out) in found {
		row(
			&format!("up to {most} reads"),
			share(&out),
			cost(graph, &out, in_order, SAMPLE),
		);
	}
}

/// Runs the search at rising prices of left-out nodes. Returns the left-out nodes at each price.
fn search(graph: &Graph, sweeps: usize, prices: &[f64]) -> Vec<Vec<bool>> {
	head(&format!("Search, {} nodes", graph.nodes()));
	let mut search = Search::new(graph, NODE);
	let mut numbers = Numbers::new(1);
	let each = prices.iter().map(|price| {
		let price = price * READ as f64;
		for sweep in 1..=sweeps {
			let heat = 0.3 * price * (1.0 - sweep as f64 / sweeps as f64);
			search.sweep(price, heat, &mut numbers);
			if sweep % 2 == 0 {
				search.sweep_pages(price, &mut numbers);
			}
		}
		row(
			&format!("a node for {:.1} reads", price / READ as f64),
			share(&search.out),
			cost(graph, &search.out, in_order, SAMPLE),
		);
		search.out.clone()
	});
	each.collect()
}

/// The pages of kept nodes where each missing node's kept parents lie together.
fn together(graph: &Graph, out: &[bool]) -> Vec<u32> {
	let mut place = vec![u32::MAX; graph.nodes()];
	let mut next = 0;
	let mut put = |node: usize| {
		if !out[node] && place[node] == u32::MAX {
			place[node] = next / NODES as u32;
			next += 1;
		}
	};
	for node in (0..graph.nodes()).filter(|node| out[*node]) {
		graph
			.parents_of(node)
			.iter()
			.for_each(|parent| put(*parent as usize));
	}
	(0..graph.nodes()).for_each(&mut put);
	place
}

/// Other ways to keep the nodes that a search does not leave out.
fn ways(graph: &Graph, found: &[Vec<bool>]) {
	head(&format!(
		"Other ways to keep the rest, {} nodes",
		graph.nodes()
	));
	for out in found {
		let percent = 100.0 * share(out);
		let place = together(graph, out);
		row(
			&format!("{percent:.0} %, parents side by side"),
			share(out),
			cost(graph, out, |node| place[node], SAMPLE),
		);
		// Parents that many pages need, in RAM: their pages cost no read.
		let mut needed: Vec<(usize, u32)> = vec![(0, 0); graph.pages()];
		needed
			.iter_mut()
			.enumerate()
			.for_each(|(page, needed)| needed.1 = page as u32);
		for node in (0..graph.nodes()).filter(|node| out[*node]) {
			for parent in graph
				.parents_of(node)
				.iter()
				.filter(|parent| !out[**parent as usize])
			{
				needed[*parent as usize / NODES].0 += 1;
			}
		}
		needed.sort_unstable_by(|a, b| b.cmp(a));
		for part in [100, 10] {
			let mut held = vec![false; graph.pages()];
			needed[..graph.pages() / part]
				.iter()
				.for_each(|(_, page)| held[*page as usize] = true);
			// All pages in RAM count as one.
			row(
				&format!(
					"{percent:.0} %, the {} most needed in RAM",
					if part == 100 { "hundredth" } else { "tenth" }
				),
				share(out),
				cost(
					graph,
					out,
					|node| {
						let page = in_order(node);
						if held[page as usize] { u32::MAX } else { page }
					},
					SAMPLE,
				),
			);
		}
	}
}

/// The first nodes of a group left out, which need no read: they are computed from the seed.
fn beginning(graph: &Graph) {
	head(&format!(
		"The beginning of a group, {} nodes",
		graph.nodes()
	));
	for part in [50, 25, 12] {
		let out: Vec<bool> = (0..graph.nodes())
			.map(|node| node < graph.nodes() / part)
			.collect();
		row(
			&format!("the first {}", graph.nodes() / part),
			share(&out),
			cost(graph, &out, in_order, SAMPLE),
		);
	}
	let recipe = Recipe::new(&[1; 32], &[2; 32], GROUP);
	for part in [50, 25, 12] {
		let mut nodes = vec![[[0; 64]; NODE_BYTES / 64]; GROUP as usize / part];
		let start = Instant::now();
		recipe.make_group(Compress::new(), 0, &mut nodes, || true);
		let seconds = start.elapsed().as_secs_f64();
		println!(
			"\nThe first {} nodes of a group of 1 GiB: {:.0} ms, {:.2} µs a node.",
			nodes.len(),
			1e3 * seconds,
			1e6 * seconds / nodes.len() as f64
		);
	}
}

/// All tables, on groups of 2^`log` nodes: the search on `log`, the rest on up to 2^`large`.
pub fn report(log: u32, sweeps: usize, large: u32) {
	println!("\n# Groups of a plot");
	let graph = group(1 << log);
	rules(&graph);
	let found = search(
		&graph,
		sweeps,
		&[5.0, 6.5, 8.0, 9.5, 11.0, 14.0, 18.0, 24.0, 32.0],
	);
	let chosen: Vec<Vec<bool>> = found.iter().skip(3).step_by(2).cloned().collect();
	ways(&graph, &chosen);
	let most = [24, 48, 80, 160, 320, 640];
	for size in (log..=large).rev().step_by(2) {
		let graph = group(1 << size);
		if size == large {
			beginning(&graph);
		}
		// The needs of all nodes are in memory.
		in_one_go(&graph, &most[..if size < 20 { most.len() } else { 4 }]);
	}
}
