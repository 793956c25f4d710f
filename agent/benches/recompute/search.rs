//! The search for the labels of a page to keep.

use super::{
	numbers::Numbers,
	pages::{Figure, Graph, Kept},
};

/// Simulated annealing over the kept labels, at a constant number of bytes. `folds` lets it keep halves.
pub fn anneal<F: Figure>(
	graph: &Graph,
	start: &Kept,
	steps: usize,
	folds: bool,
	seed: u64,
) -> Kept {
	let mut numbers = Numbers::new(seed);
	let mut kept = start.clone();
	let mut figure = F::new(graph);
	figure.update(graph, &kept, 0);
	let mut tried = figure.clone();
	let mut value = figure.value(graph);
	let (mut best, mut least) = (kept.clone(), value);
	let hottest = 0.02 * value.max(1.0);
	for step in 0..steps {
		let heat = hottest * 1e-4f64.powf(step as f64 / steps as f64);
		let Some(changes) = propose(graph, &kept, folds, &mut numbers) else {
			continue;
		};
		let from = changes.iter().map(|(label, _)| *label).min().unwrap_or(0);
		flip(&mut kept, &changes);
		tried.update(graph, &kept, from);
		let now = tried.value(graph);
		if now <= value || numbers.unit() < ((value - now) / heat).exp() {
			value = now;
			figure.copy_from(&tried, from);
			if value < least {
				least = value;
				best = kept.clone();
			}
		} else {
			flip(&mut kept, &changes);
			tried.copy_from(&figure, from);
		}
	}
	best
}

/// Adds labels that are not kept, and removes kept ones.
fn flip(kept: &mut Kept, changes: &[(usize, bool)]) {
	for (label, fold) in changes {
		let of = if *fold {
			&mut kept.fold
		} else {
			&mut kept.label
		};
		of[*label] = !of[*label];
	}
}

/// A swap of kept labels for others of the same size.
fn propose(
	graph: &Graph,
	kept: &Kept,
	folds: bool,
	numbers: &mut Numbers,
) -> Option<Vec<(usize, bool)>> {
	let kind = if folds { numbers.below(6) } else { 0 };
	let mut find = |of: &[bool], is: bool| {
		(0..200).find_map(|_| {
			let label = match numbers.below(2) {
				0 => graph.last() + numbers.below(graph.cells),
				_ => numbers.below(graph.labels()),
			};
			(of[label] == is).then_some(label)
		})
	};
	let mut two = |is| {
		let (one, other) = (find(&kept.fold, is)?, find(&kept.fold, is)?);
		(one != other).then_some([(one, true), (other, true)])
	};
	Some(match kind {
		4 => {
			let [one, other] = two(false)?;
			vec![one, other, (find(&kept.label, true)?, false)]
		}
		5 => {
			let [one, other] = two(true)?;
			vec![one, other, (find(&kept.label, false)?, false)]
		}
		3 => vec![
			(find(&kept.fold, true)?, true),
			(find(&kept.fold, false)?, true),
		],
		_ => vec![
			(find(&kept.label, true)?, false),
			(find(&kept.label, false)?, false),
		],
	})
}
