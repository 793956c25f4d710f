//! Plots that are missing, or not on a disk.

use crate::{
	lanes,
	provers::{LATEST, Ran, Work, job, server},
	rules::Off,
	wire::{Found, Lab, key_of},
};
use kaisar_agent::trial::{
	disk::{EXTENSIONS, Plot, Proof, Ready, STRANDS},
	hash::{Compress, Hash},
	job::Job,
	part::{Part, Resource},
	plot::{GROUP, NODE, NODES, Node, READ, Recipe, next_state, read_of, strand_seed},
	sample::{Kind, Reject},
};
use kaisar_primitives::BenchParams;
use sp_core::Pair;
use std::{collections::BTreeMap, io::Write};

/// Reads of a strand in production.
fn full_reads() -> f64 {
	f64::from(BenchParams::FULL.reads)
}

/// Seconds in which a core makes a node: 181 MB a second.
const MAKE: f64 = NODE as f64 / 181e6;
/// Reads a second of a strand on a fast SATA drive and on NVMe, eight strands side by side.
const SATA: f64 = 90_000.0 / 8.0;
const NVME: f64 = 600_000.0 / 8.0;

/// A change of a plot's files.
type Change = fn(&Recipe, &mut Files);

/// The files of a plot of one group.
struct Files {
	data: Vec<u8>,
	tree: Vec<u8>,
	roots: Vec<u8>,
}

/// Makes a plot of a recipe in a temporary folder, and changes it before it is read.
fn ready(job: &Job, recipe: Recipe, change: Option<Change>) -> Ready {
	let dir = tempfile::tempdir().unwrap();
	let groups = job.plan().groups;
	let mut plot = Plot::open(dir.path(), "test", recipe).unwrap();
	plot.grow(groups, 1, || true, |_| ()).unwrap();
	if let Some(change) = change {
		let paths = EXTENSIONS.map(|end| dir.path().join(format!("test.{end}")));
		let [data, tree, roots] = paths.each_ref().map(|path| std::fs::read(path).unwrap());
		let mut files = Files { data, tree, roots };
		change(plot.view().recipe(), &mut files);
		let Files { data, tree, roots } = files;
		for (path, bytes) in paths.iter().zip([data, tree, roots]) {
			// The files are open, so they are not replaced.
			std::fs::OpenOptions::new()
				.write(true)
				.open(path)
				.unwrap()
				.write_all(&bytes)
				.unwrap();
		}
	}
	let ready = Ready::new(plot.view(), job.disk(&job.plan()));
	ready.unwrap().unwrap()
}

fn run(job: &Job, recipe: Recipe) -> Ran {
	run_changed(job, recipe, None)
}

fn run_changed(job: &Job, recipe: Recipe, change: Option<Change>) -> Ran {
	let start = job.start(&Lab::trial_seed());
	let proof = Proof::run(ready(job, recipe, change), &start, || true).unwrap();
	Ran {
		roots: vec![proof.root()],
		open: Box::new(move |draw| {
			let mut out = Vec::new();
			proof.open(draw, &mut out).unwrap();
			out
		}),
	}
}

/// Runs the honest disk of a job.
pub fn honest(job: &Job) -> Ran {
	run(job, job.recipe())
}

fn disk(part: Part) -> bool {
	part == Part::Disk
}

async fn check(off: Off, work: Work) -> Found {
	Lab::new(off).await.check(work.show()).await
}

fn claim() -> Job {
	job(1, server(4, 8, 6_000))
}

/// Nodes of a group: some are kept, and the others are made when they are read.
struct Partly {
	recipe: Recipe,
	kept: BTreeMap<u32, Node>,
	/// Nodes made, and reads of the kept ones.
	made: u64,
	reads: u64,
}

impl Partly {
	fn new(recipe: Recipe, keeps: impl Fn(u32) -> bool) -> Self {
		let count = recipe.group_nodes();
		let mut nodes = vec![[[0; 64]; NODE / 64]; count as usize];
		assert!(recipe.make_group(Compress::new(), 0, &mut nodes, || true));
		let all = (0..).zip(nodes);
		Self {
			kept: all.filter(|(node, _)| keeps(*node)).collect(),
			recipe,
			made: 0,
			reads: 0,
		}
	}

	/// Returns a page. Its missing nodes are made once.
	fn read(&mut self, read: u64) -> [u8; READ] {
		let first = read as u32 * NODES as u32;
		let mut made = BTreeMap::new();
		let mut page = [0; READ];
		for (at, bytes) in page.as_chunks_mut::<NODE>().0.iter_mut().enumerate() {
			let node = self.node(first + at as u32, &mut made);
			*bytes = *node.as_flattened().first_chunk().unwrap();
		}
		self.made += made.len() as u64;
		page
	}

	fn node(&mut self, node: u32, made: &mut BTreeMap<u32, Node>) -> Node {
		if let Some(kept) = self.kept.get(&node) {
			self.reads += 1;
			return *kept;
		}
		if let Some(made) = made.get(&node) {
			return *made;
		}
		let parents = self.recipe.parents(0, node).map(|(parents, _)| parents);
		let there: BTreeMap<u32, Node> = parents
			.into_iter()
			.flatten()
			.map(|parent| (parent, self.node(parent, made)))
			.collect();
		let compress = Compress::new();
		let one = self
			.recipe
			.node(compress, 0, node, |_, parent| there[&parent]);
		made.insert(node, one);
		one
	}
}

/// Runs the strands over a plot that is partly there, and returns their last states, with the nodes that
/// were made and read for each page.
fn strands(job: &Job, root: &Hash, plot: &mut Partly) -> (Vec<Hash>, f64, f64) {
	let start = job.start(&Lab::trial_seed());
	let all = u64::from(plot.recipe.group_nodes()) / NODES as u64;
	let last = (0..STRANDS)
		.map(|strand| {
			let seed = strand_seed(&start, root, strand);
			let mut state = seed;
			for _ in 0..job.bench.reads {
				let page = plot.read(read_of(&state, all));
				state = next_state(&seed, &state, &page);
			}
			state
		})
		.collect();
	let pages = f64::from(STRANDS * job.bench.reads);
	(last, plot.made as f64 / pages, plot.reads as f64 / pages)
}

/// Asserts that a plot of which these nodes are kept is shown too late, though all else fits. In production
/// `scale` times as many nodes are made for a page as in a group of 4,096.
async fn is_not_shown(keeps: fn(u32) -> bool, scale: f64) {
	let job = claim();
	let recipe = job.recipe();
	// The root was computed when the plot was made; the prover needs no other part of it.
	let root = plot_root(&job);
	let (whole, made, _) = strands(&job, &root, &mut Partly::new(job.recipe(), |_| true));
	assert_eq!(made, 0.0);
	let (partly, made, reads) = strands(&job, &root, &mut Partly::new(recipe, keeps));
	// It computes the same: only its time differs from a prover that keeps all.
	assert_eq!(partly, whole);
	// Eight cores make nodes, one for each strand, and the kept ones are read from NVMe.
	let page = scale * made * MAKE + (reads / NODES as f64).max(1.0) / NVME;
	let after = full_reads() * page;
	assert!(after > 12.0, "{after} s: {made} made, {reads} read a page");
	let late = || Work::new(&job).with_disk(honest(&job), after.min(LATEST));
	let found = check(Off::None, late()).await;
	assert_eq!(
		(found.verdict.disk, found.verdict.proof),
		(0, true),
		"{found:?}"
	);
	let found = check(Off::Lateness(disk), late()).await;
	assert_eq!(found.verdict.disk, 3, "{found:?}");
	let twin = Work::new(&job).with_disk(honest(&job), full_reads() / SATA);
	assert_eq!(check(Off::None, twin).await.verdict.disk, 3);
}

fn plot_root(job: &Job) -> Hash {
	let mut opened = Vec::new();
	let proof = Proof::run(ready(job, job.recipe(), None), &[0; 32], || true).unwrap();
	let draw = kaisar_agent::trial::sample::Draw::new(&[0; 32], &[0; 32], &[0; 32], &[0; 32]);
	proof.open(&draw, &mut opened).unwrap();
	// Openings begin with it.
	*opened.first_chunk().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plot_that_is_not_there_is_made_too_late() {
	// Nearly all nodes before a page are made for it, in a group of any size.
	is_not_shown(|_| false, f64::from(GROUP) / 4_096.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plot_of_which_half_is_there_is_read_too_late() {
	// A larger group needs more; the model does not count that.
	is_not_shown(|node| node.is_multiple_of(2), 1.0).await;
	// Whole pages are kept or not.
	is_not_shown(|node| (node / NODES as u32).is_multiple_of(2), 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plot_on_a_spinning_disk_is_read_too_late() {
	let job = claim();
	// 8 strands share 120 to 250 reads a second.
	let slow = || Work::new(&job).with_disk(honest(&job), full_reads() / 30.0);
	assert_eq!(check(Off::None, slow()).await.verdict.disk, 0);
	assert_eq!(check(Off::Lateness(disk), slow()).await.verdict.disk, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plot_in_ram_that_is_claimed_too_leaves_no_memory_to_fill() {
	// 128 GB of RAM for a claim of 128 GB of memory and 100 GB of disk. Missing pages are computed.
	let job = job(1, server(16, 128, 100));
	let plan = job.plan();
	let on_time = (lanes::after(16, 16.0, 3.5e-6), full_reads() / 1e6);
	// The plot has 80 GB of the RAM, so seven of ten pages are computed; or the plot is.
	let pages_late = lanes::after(16, 16.0, 3.5e-6 + 0.7 * 16.0 * 173e-6);
	let plot_late = full_reads() * f64::from(GROUP) / 2.0 * MAKE;
	let work = |processor: f64, disk: f64| {
		Work::new(&job)
			.with_processor(lanes::honest(&job, &plan), processor.min(LATEST))
			.with_disk(honest(&job), disk.min(LATEST))
	};
	for (processor, disk, shown) in [
		(pages_late, on_time.1, [0, 0, 1]),
		(on_time.0, plot_late, [1, 3, 0]),
	] {
		let found = check(Off::None, work(processor, disk)).await;
		assert_eq!(tiers_of(&found), shown, "{found:?}");
	}
	let off = Off::Lateness(|part| part == Part::Processor);
	let found = check(off, work(pages_late, on_time.1)).await;
	assert_eq!(tiers_of(&found), [1, 3, 1]);
	// Not excluded: 208 GB of RAM hold both, without a disk.
	let found = check(Off::None, work(on_time.0, on_time.1)).await;
	assert_eq!(tiers_of(&found), [1, 3, 1]);
}

fn tiers_of(found: &Found) -> [u8; 3] {
	let verdict = &found.verdict;
	assert!(verdict.proof && verdict.timed, "{found:?}");
	[verdict.cpu, verdict.memory, verdict.disk]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plot_for_two_workers_is_of_one_of_them() {
	let (first, second) = (job(1, server(4, 8, 6_000)), job(2, server(4, 8, 6_000)));
	assert_ne!(key_of(1).public(), key_of(2).public());
	let work = |recipe: Recipe| Work::new(&second).with_disk(run(&second, recipe), 5.0);
	let found = check(Off::None, work(first.recipe())).await;
	assert!(!found.verdict.proof, "{found:?}");
	let reject = found.rejected(Resource::Disk).unwrap();
	assert!(is_of_disk(reject), "{reject:?}");
	let off = Off::Rejections(Resource::Disk, is_of_disk);
	assert_eq!(check(off, work(first.recipe())).await.verdict.disk, 3);
	let found = check(Off::None, work(second.recipe())).await;
	assert_eq!(found.verdict.disk, 3, "{found:?}");
}

/// Zeros in place of one page of twenty, whose hashes are kept.
fn discard_pages(_: &Recipe, files: &mut Files) {
	for page in files.data.chunks_exact_mut(READ).step_by(20) {
		page.fill(0);
	}
}

/// Made-up nodes in place of one of twenty, with matching trees.
fn make_nodes_up(recipe: &Recipe, files: &mut Files) {
	for node in files.data.chunks_exact_mut(NODE).step_by(20) {
		node.fill(7);
	}
	let of = |node: &[u8]| std::array::from_fn(|at| *node[64 * at..].first_chunk().unwrap());
	let nodes: Vec<Node> = files.data.chunks_exact(NODE).map(of).collect();
	let hashes = recipe.read_hashes(0, &nodes);
	files.tree = hashes.as_flattened().to_vec();
	files.roots = recipe.group_tree(0, hashes).root().to_vec();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_are_thrown_away_and_nodes_that_are_made_up_are_found() {
	let job = claim();
	let changes: [(Change, Reject); 2] = [
		(discard_pages, Reject::Place(Kind::Disk)),
		(make_nodes_up, Reject::Wrong(Kind::Disk)),
	];
	for (change, expected) in changes {
		let work = || {
			let ran = run_changed(&job, job.recipe(), Some(change));
			Work::new(&job).with_disk(ran, 9.0)
		};
		let found = check(Off::None, work()).await;
		assert!(!found.verdict.proof, "{found:?}");
		assert_eq!(found.rejected(Resource::Disk), Some(expected));
		let off = Off::Rejections(Resource::Disk, is_of_disk);
		assert_eq!(check(off, work()).await.verdict.disk, 3);
	}
	let twin = Work::new(&job).with_disk(honest(&job), 9.0);
	assert_eq!(check(Off::None, twin).await.verdict.disk, 3);
}

fn is_of_disk(reject: Reject) -> bool {
	matches!(
		reject,
		Reject::Place(Kind::Disk) | Reject::Wrong(Kind::Disk)
	)
}
