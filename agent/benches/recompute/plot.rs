//! The graph of a plot's group, an attacker's left-out part, and the cost of a page's read.

use super::numbers::Numbers;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of a page.
pub const NODES: usize = 16;

/// Lists, one after the other.
struct Lists {
	starts: Vec<u32>,
	all: Vec<u32>,
}

impl Lists {
	fn of(&self, at: usize) -> &[u32] {
		&self.all[self.starts[at] as usize..self.starts[at + 1] as usize]
	}
}

/// A group's nodes, by their parents. Two equal parents cancel out.
pub struct Graph {
	parents: Lists,
	children: Lists,
}

impl Graph {
	pub fn new<const N: usize>(nodes: usize, parents: impl Fn(u32) -> Option<[u32; N]>) -> Self {
		let (mut starts, mut all) = (vec![0], Vec::with_capacity(N * nodes));
		for node in 0..nodes as u32 {
			let mut parents = parents(node).map_or(Vec::new(), |parents| parents.to_vec());
			parents.sort_unstable();
			for same in parents.chunk_by(|a, b| a == b) {
				all.extend(same.iter().take(same.len() % 2));
			}
			starts.push(all.len() as u32);
		}
		let parents = Lists { starts, all };
		let mut starts = vec![0u32; nodes + 1];
		for parent in &parents.all {
			starts[*parent as usize + 1] += 1;
		}
		for node in 0..nodes {
			starts[node + 1] += starts[node];
		}
		let (mut free, mut all) = (starts.clone(), vec![0; parents.all.len()]);
		for node in 0..nodes {
			for parent in parents.of(node) {
				let free = &mut free[*parent as usize];
				all[*free as usize] = node as u32;
				*free += 1;
			}
		}
		let children = Lists { starts, all };
		Self { parents, children }
	}

	pub fn nodes(&self) -> usize {
		self.parents.starts.len() - 1
	}

	pub fn pages(&self) -> usize {
		self.nodes() / NODES
	}

	pub fn parents_of(&self, node: usize) -> &[u32] {
		self.parents.of(node)
	}
}

/// The average cost of a page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
	/// Reads of 4 KiB, the page's own included.
	pub reads: f64,
	/// Nodes computed.
	pub nodes: f64,
	/// Nodes computed one after the other.
	pub depth: f64,
}

/// The cost of a sample of pages, where the kept nodes lie in the pages that `place` names.
pub fn cost(graph: &Graph, out: &[bool], place: impl Fn(usize) -> u32, sample: usize) -> Cost {
	let step = (graph.pages() / sample).max(1);
	let (mut all, mut count) = (Cost::default(), 0.0);
	let mut seen = vec![u32::MAX; graph.nodes()];
	let mut numbers = Numbers::new(9);
	for first in (0..graph.pages()).step_by(step) {
		// A different place in each part, since rules have periods.
		let page = first + numbers.below(step);
		let mut pages = BTreeSet::new();
		let mut computed = Vec::new();
		let mut open: Vec<u32> = (page * NODES..(page + 1) * NODES)
			.map(|node| node as u32)
			.collect();
		while let Some(node) = open.pop() {
			let at = node as usize;
			if !out[at] {
				pages.insert(place(at));
			} else if std::mem::replace(&mut seen[at], page as u32) != page as u32 {
				computed.push(node);
				open.extend(graph.parents.of(at));
			}
		}
		computed.sort_unstable();
		let mut depths = BTreeMap::new();
		for node in &computed {
			let parents = graph.parents.of(*node as usize).iter();
			let most = parents
				.filter_map(|parent| depths.get(parent))
				.max()
				.unwrap_or(&0);
			depths.insert(*node, most + 1);
		}
		all.reads += pages.len() as f64;
		all.nodes += computed.len() as f64;
		all.depth += f64::from(*depths.values().max().unwrap_or(&0));
		count += 1.0;
	}
	Cost {
		reads: all.reads / count,
		nodes: all.nodes / count,
		depth: all.depth / count,
	}
}

/// A node's page where nodes lie in their order.
pub fn in_order(node: usize) -> u32 {
	(node / NODES) as u32
}

/// Cost of a read, in the unit of a search.
pub const READ: i64 = 1_000;

/// A search over the nodes that are left out. It knows the cost of every page at any time.
pub struct Search<'a> {
	graph: &'a Graph,
	/// Cost of computing a node.
	node: i64,
	pub out: Vec<bool>,
	/// The pages to read and the nodes to compute for each node that is left out, sorted: pages first, then
	/// nodes, after the number of pages.
	needs: Vec<Vec<u32>>,
	/// The cost of each page.
	costs: Vec<i64>,
	stamps: Vec<u32>,
	stamp: u32,
}

impl<'a> Search<'a> {
	pub fn new(graph: &'a Graph, node: i64) -> Self {
		Self {
			graph,
			node,
			out: vec![false; graph.nodes()],
			needs: vec![Vec::new(); graph.nodes()],
			costs: vec![READ; graph.pages()],
			stamps: vec![0; graph.pages() + graph.nodes()],
			stamp: 0,
		}
	}

	fn needs_of(&mut self, node: usize) -> Vec<u32> {
		self.stamp += 1;
		let mut needs = Vec::new();
		let (stamps, stamp) = (&mut self.stamps, self.stamp);
		let mut add = |page: u32| {
			if std::mem::replace(&mut stamps[page as usize], stamp) != stamp {
				needs.push(page);
			}
		};
		for parent in self.graph.parents.of(node) {
			match self.out[*parent as usize] {
				true => self.needs[*parent as usize]
					.iter()
					.for_each(|page| add(*page)),
				false => add(parent / NODES as u32),
			}
		}
		needs.push((self.graph.pages() + node) as u32);
		needs.sort_unstable();
		needs
	}

	fn cost_of(&mut self, page: usize) -> i64 {
		self.stamp += 1;
		let mut cost = 0;
		for node in page * NODES..(page + 1) * NODES {
			let own = [page as u32];
			let needs = if self.out[node] {
				&self.needs[node][..]
			} else {
				&own
			};
			for need in needs {
				let stamp = &mut self.stamps[*need as usize];
				if std::mem::replace(stamp, self.stamp) != self.stamp {
					cost += if (*need as usize) < self.graph.pages() {
						READ
					} else {
						self.node
					};
				}
			}
		}
		cost
	}

	/// Leaves nodes out, or keeps them again, if `accept` accepts the change of all costs for this change of
	/// their number.
	pub fn flip(&mut self, nodes: &[usize], accept: impl FnOnce(i64, i64) -> bool) -> bool {
		let mut open: BTreeSet<u32> = nodes.iter().map(|node| *node as u32).collect();
		let mut more = 0i64;
		for node in nodes {
			self.out[*node] = !self.out[*node];
			more += if self.out[*node] { 1 } else { -1 };
		}
		let mut before = Vec::new();
		let mut pages = BTreeSet::new();
		let mut toggled = open.clone();
		while let Some(node) = open.pop_first() {
			let at = node as usize;
			let needs = match self.out[at] {
				true => self.needs_of(at),
				false => Vec::new(),
			};
			if !toggled.remove(&node) && needs == self.needs[at] {
				continue;
			}
			before.push((at, std::mem::replace(&mut self.needs[at], needs)));
			pages.insert(at / NODES);
			let children = self.graph.children.of(at).iter();
			open.extend(children.filter(|child| self.out[**child as usize]));
		}
		let costs: Vec<(usize, i64)> = pages
			.iter()
			.map(|page| (*page, self.cost_of(*page)))
			.collect();
		let delta: i64 = costs
			.iter()
			.map(|(page, cost)| cost - self.costs[*page])
			.sum();
		if accept(delta, more) {
			for (page, cost) in costs {
				self.costs[page] = cost;
			}
			return true;
		}
		for (node, needs) in before {
			self.needs[node] = needs;
		}
		for node in nodes {
			self.out[*node] = !self.out[*node];
		}
		false
	}

	/// One look at each node, in random order: it is left out where that costs less than `price` reads.
	pub fn sweep(&mut self, price: f64, heat: f64, numbers: &mut Numbers) {
		for _ in 0..self.graph.nodes() {
			let node = numbers.below(self.graph.nodes());
			let luck = -heat * numbers.unit().max(1e-12).ln();
			self.flip(&[node], |reads, nodes| {
				reads as f64 - price * nodes as f64 <= luck
			});
		}
	}

	/// The same for whole pages.
	pub fn sweep_pages(&mut self, price: f64, numbers: &mut Numbers) {
		for _ in 0..self.graph.pages() {
			let page = numbers.below(self.graph.pages());
			let of = page * NODES..(page + 1) * NODES;
			let out = of.clone().filter(|node| self.out[*node]).count();
			let nodes: Vec<usize> = match out * 2 < NODES {
				true => of.filter(|node| !self.out[*node]).collect(),
				false => of.filter(|node| self.out[*node]).collect(),
			};
			self.flip(&nodes, |reads, nodes| (reads as f64) < price * nodes as f64);
		}
	}
}

/// Leaves nodes out in one go from the first to the last: those whose needs cost at most `most`. A node with
/// many children counts as dearer, by `weight` for each.
pub fn forward(graph: &Graph, node_cost: i64, most: i64, weight: f64) -> Vec<bool> {
	let mut search = Search::new(graph, node_cost);
	let pages = graph.pages() as u32;
	for node in 0..graph.nodes() {
		let needs = search.needs_of(node);
		let reads = needs.partition_point(|need| *need < pages);
		let cost = reads as i64 * READ + (needs.len() - reads) as i64 * node_cost;
		let children = graph.children.of(node).len() as f64;
		if cost as f64 + (cost - READ) as f64 * weight * children <= most as f64 {
			search.out[node] = true;
			search.needs[node] = needs;
		}
	}
	search.out
}
