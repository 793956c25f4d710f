//! Strategies against pages of memory, by their cost.

use super::{
	mends::mends,
	pages::{Depths, Figure, Graph, Kept, READS, Vectors, Works, longest},
	search::anneal,
	time::in_time,
};
use kaisar_agent::trial::{
	hash::Hash,
	ram::{CELLS, page_graph},
};
use rayon::prelude::*;

/// Base of the examined page.
pub const BASE: Hash = [3; 32];

/// Labels of all passes at equal distances, as many as `cells` of the page.
pub fn spread(graph: &Graph, cells: usize) -> Kept {
	let all = graph.labels();
	Kept::labels(graph, |label| {
		label * cells / all != (label + 1) * cells / all
	})
}

/// The last pass without `missing` cells at equal distances.
pub fn last_pass(graph: &Graph, missing: usize) -> Kept {
	let all = graph.cells;
	Kept::labels(graph, |label| {
		label
			.checked_sub(graph.last())
			.is_some_and(|at| at * missing / all == (at + 1) * missing / all)
	})
}

/// The labels with the highest score.
fn highest(graph: &Graph, cells: usize, score: impl Fn(usize) -> usize) -> Kept {
	let mut labels: Vec<usize> = (0..graph.labels()).collect();
	labels.sort_by_key(|label| std::cmp::Reverse(score(*label)));
	let mut kept = Kept::labels(graph, |_| false);
	labels[..cells]
		.iter()
		.for_each(|label| kept.label[*label] = true);
	kept
}

/// Inputs of the missing cells that no others give by xor, where the last pass is kept but for them: as many
/// further blocks are needed to have the cells without computing an earlier pass.
fn independent_inputs(graph: &Graph, kept: &Kept) -> usize {
	let mut basis: Vec<Vec<u64>> = Vec::new();
	for cell in (graph.last()..graph.labels()).filter(|cell| !kept.label[*cell]) {
		let mut input = vec![0u64; graph.labels() / 64];
		for block in graph.blocks[cell]
			.iter()
			.filter(|block| !kept.label[**block])
		{
			input[block / 64] ^= 1 << (block % 64);
		}
		for other in &basis {
			let lead = other.iter().position(|word| *word != 0).unwrap_or(0);
			if input[lead] >> other[lead].trailing_zeros() & 1 == 1 {
				input.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
			}
		}
		if input.iter().any(|word| *word != 0) {
			basis.push(input);
		}
	}
	basis.len()
}

fn row(graph: &Graph, name: &str, kept: &Kept) {
	let works = Works::of(graph, kept).cells(graph);
	let depths = Depths::of(graph, kept).cells(graph);
	let mean = |of: &[u32]| f64::from(of.iter().sum::<u32>()) / of.len() as f64;
	println!(
		"| {name} | {:.3} | {:.0} | {:.3} | {:.1} | {:.1} |",
		kept.share(graph),
		mean(&works),
		mean(&works) / graph.labels() as f64,
		mean(&depths),
		longest(&depths, 1.0, READS, f64::from),
	);
}

fn strategies(graph: &Graph, steps: usize) {
	let (all, last, cells) = (graph.labels(), graph.last(), graph.cells);
	println!("\n## Strategies\n");
	println!(
		"| kept of a page | share | compressions a read | of a page | in sequence | longest of 16 reads |"
	);
	println!("| --- | --- | --- | --- | --- | --- |");
	let keep = |keeps: &dyn Fn(usize) -> bool| Kept::labels(graph, keeps);
	row(graph, "nothing", &keep(&|_| false));
	row(
		graph,
		"every second of the last pass",
		&keep(&|l| l >= last && l % 2 == 0),
	);
	row(
		graph,
		"first half of it",
		&keep(&|l| l >= last && l < last + cells / 2),
	);
	row(
		graph,
		"second half of it",
		&keep(&|l| l >= last + cells / 2),
	);
	row(graph, "every sixth of all passes", &keep(&|l| l % 6 == 0));
	row(
		graph,
		"every fourth of the last two passes",
		&keep(&|l| l >= cells && l % 4 == 0),
	);
	row(
		graph,
		"a third of the last pass, every twelfth label before",
		&keep(&|l| {
			if l < last { l % 12 == 0 } else { l % 3 == 0 }
		}),
	);
	let mut dependents = vec![0; all];
	for label in 0..all {
		graph.blocks[label]
			.iter()
			.for_each(|block| dependents[*block] += 1);
	}
	row(
		graph,
		"labels with the most dependents",
		&highest(graph, cells / 2, |l| dependents[l]),
	);
	row(
		graph,
		"the same, the last pass counted twice",
		&highest(graph, cells / 2, |l| {
			2 * dependents[l] + if l >= last { 5 } else { 0 }
		}),
	);
	let mut folds = last_pass(graph, cells / 2);
	(0..all)
		.filter(|l| l % 8 == 0 && *l < last)
		.for_each(|l| folds.fold[l] = true);
	row(
		graph,
		"every second of the last pass, every eighth fold before",
		&folds,
	);
	let mut folds = Kept::labels(graph, |_| false);
	(0..all)
		.filter(|l| l % 3 == 0)
		.for_each(|l| folds.fold[l] = true);
	row(graph, "every third fold of all passes", &folds);
	let searches: Vec<(&str, usize, Kept)> = [
		(cells / 2, 0),
		(cells / 2, 1),
		(cells / 2, 2),
		(cells / 2, 3),
	]
	.into_iter()
	.chain([(51, 0), (51, 1), (51, 3), (5, 0), (1, 0), (1, 1)])
	.collect::<Vec<_>>()
	.into_par_iter()
	.map(|(missing, kind)| match kind {
		0 => {
			// Few missing cells are best sought from the last pass, many from all.
			let start = [last_pass(graph, missing), spread(graph, cells - missing)];
			let found = start.map(|start| anneal::<Works>(graph, &start, steps / 10, false, 1));
			let best = found
				.into_iter()
				.min_by_key(|kept| Works::of(graph, kept).value(graph) as u64);
			(
				"search for few compressions",
				missing,
				best.unwrap_or_else(|| spread(graph, cells - missing)),
			)
		}
		1 => (
			"search for short chains",
			missing,
			anneal::<Depths>(graph, &spread(graph, cells - missing), steps, false, 1),
		),
		2 => (
			"the same, halves too",
			missing,
			anneal::<Depths>(graph, &spread(graph, cells - missing), steps, true, 1),
		),
		_ => (
			"search for few vectors",
			missing,
			anneal::<Vectors>(graph, &spread(graph, cells - missing), steps, false, 1),
		),
	})
	.collect();
	for (name, _, kept) in &searches {
		row(graph, name, kept);
	}
	let tenth = last_pass(graph, 51);
	println!(
		"\nA tenth of the last pass missing: {} of 51 inputs are independent, so keeping xors of blocks saves nothing.",
		independent_inputs(graph, &tenth)
	);
	let nothing = Works::of(graph, &keep(&|_| false)).cells(graph);
	let pairs = nothing[..cells / 2].iter().sum::<u32>() as usize / (cells / 2);
	println!(
		"Xors of cells i and i + 256 kept: {pairs} compressions a read, those of the lower cell."
	);
}

/// All tables.
pub fn report(steps: usize) {
	let graph = Graph::new(page_graph(&BASE, 0), CELLS);
	println!("# Pages of memory");
	strategies(&graph, steps);
	let pace = in_time(&graph, steps);
	mends(&pace, steps);
}
