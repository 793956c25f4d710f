//! The graph of a page, an attacker's kept part, and the cost of a read.

use super::wide::WIDTH;

/// Reads of a leg, which do not depend on each other.
pub const READS: i32 = 16;
/// Words of a set of labels.
const WORDS: usize = 24;

/// A set of labels.
type Set = [u64; WORDS];

/// A page's labels. Each takes the fold of the one before it, and the blocks of some others.
pub struct Graph {
	pub blocks: Vec<Vec<usize>>,
	/// Cells of the page: the last labels.
	pub cells: usize,
}

impl Graph {
	pub fn new(blocks: Vec<Vec<usize>>, cells: usize) -> Self {
		Self { blocks, cells }
	}

	pub fn labels(&self) -> usize {
		self.blocks.len()
	}

	/// The first label of the last pass.
	pub fn last(&self) -> usize {
		self.labels() - self.cells
	}
}

/// The labels and folds of labels that an attacker keeps.
#[derive(Clone)]
pub struct Kept {
	pub label: Vec<bool>,
	pub fold: Vec<bool>,
}

impl Kept {
	pub fn labels(graph: &Graph, keeps: impl FnMut(usize) -> bool) -> Self {
		Self {
			label: (0..graph.labels()).map(keeps).collect(),
			fold: vec![false; graph.labels()],
		}
	}

	/// The share of a page's bytes.
	pub fn share(&self, graph: &Graph) -> f64 {
		let count = |of: &[bool]| of.iter().filter(|kept| **kept).count();
		(count(&self.label) as f64 + count(&self.fold) as f64 / 2.0) / graph.cells as f64
	}

	/// Returns whether a label waits for the one before it.
	fn chained(&self, label: usize) -> bool {
		label > 0 && !self.label[label - 1] && !self.fold[label - 1]
	}
}

/// A figure to minimize, which a change at a label alters from that label on.
pub trait Figure: Clone {
	fn new(graph: &Graph) -> Self;
	fn update(&mut self, graph: &Graph, kept: &Kept, from: usize);
	fn value(&self, graph: &Graph) -> f64;
	fn copy_from(&mut self, other: &Self, from: usize);

	fn of(graph: &Graph, kept: &Kept) -> Self {
		let mut figure = Self::new(graph);
		figure.update(graph, kept, 0);
		figure
	}
}

/// The labels to compute for each label.
#[derive(Clone)]
pub struct Works(Vec<Set>);

impl Figure for Works {
	fn new(graph: &Graph) -> Self {
		assert!(graph.labels() <= 64 * WORDS);
		Self(vec![[0; WORDS]; graph.labels()])
	}

	fn update(&mut self, graph: &Graph, kept: &Kept, from: usize) {
		for label in from..graph.labels() {
			let mut set = [0; WORDS];
			if !kept.label[label] {
				let mut add = |other: &Set| set.iter_mut().zip(other).for_each(|(a, b)| *a |= b);
				if kept.chained(label) {
					add(&self.0[label - 1]);
				}
				for block in &graph.blocks[label] {
					if !kept.label[*block] {
						add(&self.0[*block]);
					}
				}
				set[label / 64] |= 1 << (label % 64);
			}
			self.0[label] = set;
		}
	}

	fn value(&self, graph: &Graph) -> f64 {
		f64::from(self.cells(graph).iter().sum::<u32>())
	}

	fn copy_from(&mut self, other: &Self, from: usize) {
		self.0[from..].copy_from_slice(&other.0[from..]);
	}
}

impl Works {
	/// The compressions of each cell.
	pub fn cells(&self, graph: &Graph) -> Vec<u32> {
		let count = |set: &Set| set.iter().map(|word| word.count_ones()).sum();
		self.0[graph.last()..].iter().map(count).collect()
	}
}

/// The longest chain to compute for each label.
#[derive(Clone)]
pub struct Depths(pub Vec<u16>);

impl Figure for Depths {
	fn new(graph: &Graph) -> Self {
		Self(vec![0; graph.labels()])
	}

	fn update(&mut self, graph: &Graph, kept: &Kept, from: usize) {
		for label in from..graph.labels() {
			self.0[label] = if kept.label[label] {
				0
			} else {
				let chain = if kept.chained(label) {
					self.0[label - 1]
				} else {
					0
				};
				let blocks = graph.blocks[label].iter().map(|block| self.0[*block]);
				1 + blocks.fold(chain, u16::max)
			};
		}
	}

	/// The longest of a leg's reads.
	fn value(&self, graph: &Graph) -> f64 {
		longest_of(graph, &self.0[graph.last()..], |depth| depth as f64)
	}

	fn copy_from(&mut self, other: &Self, from: usize) {
		self.0[from..].copy_from_slice(&other.0[from..]);
	}
}

/// Returns the largest of the costs of `reads` reads on average, where a share of the pages is so.
pub fn longest(units: &[u32], share: f64, reads: i32, cost: impl Fn(u32) -> f64) -> f64 {
	let mut sorted = units.to_vec();
	sorted.sort_unstable();
	// The pages that are whole cost nothing.
	let (mut before, mut mean) = ((1.0 - share).powi(reads), 0.0);
	for (at, units) in sorted.iter().enumerate() {
		let below = 1.0 - share + share * (at + 1) as f64 / sorted.len() as f64;
		let all = below.powi(reads);
		mean += (all - before) * cost(*units);
		before = all;
	}
	mean
}

/// The same for all pages and a leg, by depths.
fn longest_of(graph: &Graph, depths: &[u16], cost: impl Fn(usize) -> f64) -> f64 {
	let mut counts = vec![0u32; graph.labels() + 1];
	for depth in depths {
		counts[usize::from(*depth)] += 1;
	}
	let (mut below, mut before, mut mean) = (0, 0.0, 0.0);
	for (depth, count) in counts
		.into_iter()
		.enumerate()
		.filter(|(_, count)| *count > 0)
	{
		below += count;
		let all = (f64::from(below) / graph.cells as f64).powi(READS);
		mean += (all - before) * cost(depth);
		before = all;
	}
	mean
}

impl Depths {
	/// The chain of each cell.
	pub fn cells(&self, graph: &Graph) -> Vec<u32> {
		self.0[graph.last()..]
			.iter()
			.map(|depth| u32::from(*depth))
			.collect()
	}
}

/// The vectors to compute for each label where one core computes a page level by level.
#[derive(Clone)]
pub struct Vectors(Depths);

impl Figure for Vectors {
	fn new(graph: &Graph) -> Self {
		Self(Depths::new(graph))
	}

	fn update(&mut self, graph: &Graph, kept: &Kept, from: usize) {
		self.0.update(graph, kept, from);
	}

	/// The longest of a leg's reads, each on a separate core.
	fn value(&self, graph: &Graph) -> f64 {
		let mut until = vec![0usize; graph.labels() + 1];
		for depth in &self.0.0 {
			until[usize::from(*depth)] += 1;
		}
		let mut all = 0;
		for (depth, labels) in until.iter_mut().enumerate() {
			all += if depth > 0 { labels.div_ceil(WIDTH) } else { 0 };
			*labels = all;
		}
		longest_of(graph, &self.0.0[graph.last()..], |depth| {
			until[depth] as f64
		})
	}

	fn copy_from(&mut self, other: &Self, from: usize) {
		self.0.copy_from(&other.0, from);
	}
}

/// The vectors in which one core computes what is not kept, each as soon as its parents are known.
pub fn plan(graph: &Graph, kept: &Kept) -> Vec<Vec<u16>> {
	let depths = Depths::of(graph, kept);
	let mut rest: Vec<usize> = (0..graph.labels())
		.filter(|label| !kept.label[*label])
		.collect();
	rest.sort_by_key(|label| depths.0[*label]);
	let mut known = kept.label.clone();
	let mut plan = Vec::new();
	while !rest.is_empty() {
		let ready = |label: usize| {
			(!kept.chained(label) || known[label - 1])
				&& graph.blocks[label].iter().all(|block| known[*block])
		};
		let vector: Vec<usize> = rest
			.iter()
			.copied()
			.filter(|label| ready(*label))
			.take(WIDTH)
			.collect();
		vector.iter().for_each(|label| known[*label] = true);
		rest.retain(|label| !known[*label]);
		plan.push(vector.into_iter().map(|label| label as u16).collect());
	}
	plan
}

/// The vectors of a plan until each cell is known.
pub fn vectors_until(graph: &Graph, plan: &[Vec<u16>]) -> Vec<u32> {
	let mut vectors = vec![0; graph.labels()];
	for (at, labels) in plan.iter().enumerate() {
		labels
			.iter()
			.for_each(|label| vectors[usize::from(*label)] = at as u32 + 1);
	}
	vectors.split_off(graph.last())
}

/// The vectors that each cell takes where only what it needs is computed.
pub fn vectors_of_needs(graph: &Graph, kept: &Kept) -> Vec<u32> {
	let works = Works::of(graph, kept);
	let cells = graph.last()..graph.labels();
	cells
		.map(|cell| {
			let needs = &works.0[cell];
			let others = Kept {
				label: (0..graph.labels())
					.map(|l| needs[l / 64] >> (l % 64) & 1 == 0)
					.collect(),
				fold: kept.fold.clone(),
			};
			plan(graph, &others).len() as u32
		})
		.collect()
}
