//! Missing cores and memory, and lanes that do not follow the rules.

use crate::model::secs;
use crate::{
	provers::{LATEST, Ran, Work, job, job_of, server},
	rules::{Off, SMALL},
	wire::{Found, Lab, OPEN_SEED},
};
use kaisar_agent::trial::{
	hash::{Compress, Hash},
	job::{Job, Sizes},
	judge,
	lane::{Cells, Filled, Lane, Run, WORDS, Way, keys_of},
	memory::MappedMemory,
	part::{Part, Resource},
	processor::{Proof, verify},
	proof::Challenge,
	ram::{CELL, CELLS, Page, fill_page},
	sample::{Draw, Kind, Reader, Reject},
};
use kaisar_math::tiers;
use kaisar_primitives::BenchParams;
use sp_core::H256;
use std::{collections::BTreeMap, sync::Arc};

/// Seconds of a leg on a core of a server (an EPYC of 2022): 3.5 µs. The judge counts 5.
const LEG: f64 = 3.5e-6;
/// Seconds in which a core fills a page.
const FILL: f64 = 190e-6;
/// Seconds of a read of an SSD.
const SSD_READ: f64 = 80e-6;

/// Legs of a lane.
fn legs(bench: &BenchParams) -> f64 {
	f64::from(bench.stages) * 32.0
}

/// Legs of a lane in production.
fn full_legs() -> f64 {
	legs(&BenchParams::FULL)
}

/// Memory with a part of the pages kept; the others are computed at each read.
struct Partly {
	base: Hash,
	pages: u64,
	/// Returns whether a page is kept.
	keeps: fn(u64) -> bool,
	kept: BTreeMap<u64, Box<Page>>,
	/// Number of computed pages, and of legs with at least one.
	computed: u64,
	legs: u64,
}

impl Partly {
	fn new(job: &Job, sizes: &Sizes, keeps: fn(u64) -> bool) -> Self {
		let base = job.base();
		let kept = (0..sizes.pages).filter(|page| keeps(*page));
		Self {
			kept: kept.map(|page| (page, page_of(&base, page))).collect(),
			base,
			pages: sizes.pages,
			keeps,
			computed: 0,
			legs: 0,
		}
	}
}

fn page_of(base: &Hash, number: u64) -> Box<Page> {
	let mut page = Box::new([[0; CELL]; CELLS]);
	fill_page(Compress::new(), base, number, &mut page);
	page
}

impl Cells for Partly {
	fn read(&mut self, cells: &[u64; WORDS], words: &mut [[u64; CELL / 8]; WORDS]) {
		let before = self.computed;
		for (words, cell) in words.iter_mut().zip(cells) {
			let (number, at) = (cell / CELLS as u64, (cell % CELLS as u64) as usize);
			let bytes = match self.kept.get(&number) {
				Some(page) => page[at],
				None => {
					assert!(!(self.keeps)(number));
					self.computed += 1;
					page_of(&self.base, number)[at]
				}
			};
			*words = std::array::from_fn(|word| {
				u64::from_le_bytes(*bytes[8 * word..].first_chunk().unwrap())
			});
		}
		self.legs += u64::from(self.computed > before);
	}

	fn count(&self) -> u64 {
		self.pages * CELLS as u64
	}
}

fn start(job: &Job) -> Hash {
	job.start(&Lab::trial_seed())
}

/// The whole memory of a job.
fn memory(job: &Job, sizes: &Sizes) -> Arc<MappedMemory> {
	let mut memory = MappedMemory::new(sizes.pages).unwrap();
	assert!(memory.fill(&job.base(), || true));
	Arc::new(memory)
}

/// The lanes of a job over these cells, all in one way. They are opened over the whole memory, which takes
/// no time that counts.
fn lanes(job: &Job, sizes: &Sizes, cells: &mut impl Cells, way: Way) -> Ran {
	lanes_from(&start(job), job, sizes, cells, way)
}

fn lanes_from(start: &Hash, job: &Job, sizes: &Sizes, cells: &mut impl Cells, way: Way) -> Ran {
	let size = job.processor(sizes);
	let run = |number| {
		let lane = Lane::new(start, number);
		Run::by(way, lane, size.stages, cells, || true).unwrap()
	};
	let runs = (0..sizes.lanes).map(run).collect();
	let memory = memory(job, sizes);
	let proof = Proof::of_runs(&job.base(), start, size, runs, Some(memory));
	Ran {
		roots: vec![proof.root()],
		open: Box::new(move |draw| {
			let mut out = Vec::new();
			proof.open(draw, &mut out);
			out
		}),
	}
}

/// Runs the honest lanes of a job.
pub fn honest(job: &Job, sizes: &Sizes) -> Ran {
	honest_under(job, sizes, Lab::trial_seed())
}

/// Does the same for the trial with another seed.
pub fn honest_under(job: &Job, sizes: &Sizes, seed: H256) -> Ran {
	let memory = memory(job, sizes);
	let cells = &mut Filled(memory.cells());
	lanes_from(&job.start(&seed), job, sizes, cells, Way::HONEST)
}

/// Returns the seconds of this number of lanes on some cores, with legs of this length.
pub fn after(lanes: u16, cores: f64, leg: f64) -> f64 {
	(f64::from(lanes) / cores).max(1.0) * full_legs() * leg
}

async fn check(off: Off, work: Work) -> Found {
	Lab::new(off).await.check(work.show()).await
}

fn tiers_of(found: &Found) -> [u8; 3] {
	let verdict = &found.verdict;
	assert!(verdict.timed, "{found:?}");
	[verdict.cpu, verdict.memory, verdict.disk]
}

fn processor(part: Part) -> bool {
	part == Part::Processor
}

/// Returns the number of lanes with which some cores show most, and the cores that they show.
fn best(cores: f64, leg: f64) -> (u16, u32) {
	let all = (1..=144).map(|lanes| (lanes, shown_by(lanes, cores, leg)));
	all.max_by_key(|(_, shown)| *shown).unwrap()
}

/// Returns the cores that lanes on some cores show.
fn shown_by(lanes: u16, cores: f64, leg: f64) -> u32 {
	judge::cores(lanes, Some(secs(after(lanes, cores, leg))))
}

#[test]
fn a_fast_core_counts_for_less_than_three() {
	// By the agent's lanes, and by three of them on a thread, which take 1.5 times less: `benches/lanes.rs`.
	assert_eq!(best(16.0, LEG).1, 27);
	assert_eq!(best(16.0, LEG / 1.5).1, 41);
	// A slow server's cores count fully.
	assert_eq!(best(16.0, 5e-6).1, 19);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_4000_cores_and_4_pb_shows_what_the_machine_has() {
	// 16 cores and 64 GB. The plan ends at 144 lanes and 449 GB; it runs all of them, or as many as count
	// for most.
	let large = job(1, server(4_000, 4_000_000, 4_000_000_000));
	let (most, shown_cores) = best(16.0, LEG);
	assert_eq!(shown_cores, 27);
	for ran_lanes in [144, most] {
		let sizes = Sizes {
			lanes: ran_lanes,
			pages: large.plan().pages / 7,
			..large.plan()
		};
		let work = || {
			let after = after(ran_lanes, 16.0, LEG);
			let disk = crate::plots::honest(&large);
			Work::of(&large, sizes)
				.with_processor(honest(&large, &sizes), after)
				.with_disk(disk, 9.0)
		};
		let found = check(Off::None, work()).await;
		let shown = if ran_lanes == most { [1, 2] } else { [0, 0] };
		assert_eq!(tiers_of(&found)[..2], shown, "{ran_lanes}: {found:?}");
		if ran_lanes == most {
			// Its share of the plan would count as that share of the claim.
			let found = check(Off::Absolute, work()).await;
			assert_eq!(tiers_of(&found)[..2], [4, 4], "{found:?}");
		}
	}
	// The honest twin claims its own hardware.
	let small = job(1, server(16, 64, 0));
	let work =
		Work::new(&small).with_processor(honest(&small, &small.plan()), after(16, 16.0, LEG));
	assert_eq!(tiers_of(&check(Off::None, work).await), [1, 2, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_lanes_than_cores_are_late() {
	for (lanes, cores, leg, shown) in [
		// 20.4 s.
		(40, 20.0, 5.1e-6, 0),
		// 17.3 s: only the two seconds of tolerance count.
		(34, 20.0, 5.1e-6, 22),
		(20, 20.0, 5.1e-6, 20),
		(144, 16.0, LEG, 0),
		// A GPU, 144 lanes in step: 52 s on an H200 (`scripts/gpu-attacks.sh`).
		(144, 144.0, 26e-6, 0),
	] {
		assert_eq!(shown_by(lanes, cores, leg), shown);
		let job = job(1, server(lanes, 4, 0));
		let work = || {
			let ran = honest(&job, &job.plan());
			Work::new(&job).with_processor(ran, after(lanes, cores, leg))
		};
		let found = check(Off::None, work()).await;
		let tier = tiers::cpu(shown);
		assert_eq!(found.verdict.cpu, tier, "{lanes} on {cores}: {found:?}");
		if shown == 0 {
			let found = check(Off::Lateness(processor), work()).await;
			assert_eq!(found.verdict.cpu, tiers::cpu(lanes.into()), "{found:?}");
		}
	}
}

/// Asserts that four lanes do not show memory with only these pages kept, and would show it if they were not
/// late. All missing pages of a leg are fetched at once, in these seconds: by as many further cores, or from
/// a drive.
async fn memory_is_not_shown(keeps: fn(u64) -> bool, secs_of_missing: f64) {
	let bench = BenchParams { stages: 2, ..SMALL };
	let job = job_of(1, server(4, 8, 0), bench);
	let plan = job.plan();
	let whole = honest(&job, &plan);
	let work = || {
		let mut cells = Partly::new(&job, &plan, keeps);
		let ran = lanes(&job, &plan, &mut cells, Way::HONEST);
		// It computes the same: only its time differs from a prover that keeps all.
		assert_eq!(ran.roots, whole.roots);
		let missing = cells.legs as f64 / (4.0 * legs(&bench));
		let after = after(4, 4.0, LEG + missing * secs_of_missing);
		(
			Work::new(&job).with_processor(ran, after.min(LATEST)),
			after,
		)
	};
	let (late, after_secs) = work();
	assert!(after_secs > 40.0, "{after_secs} s");
	assert_eq!(tiers_of(&check(Off::None, late).await), [0, 0, 0]);
	let off = Off::Lateness(processor);
	assert_eq!(tiers_of(&check(off, work().0).await), [1, 1, 0]);
	let twin = Work::new(&job).with_processor(whole, after(4, 4.0, LEG));
	assert_eq!(tiers_of(&check(Off::None, twin).await), [1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_not_there_is_computed_too_late() {
	memory_is_not_shown(|_| false, FILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_which_half_is_there_is_too_late() {
	memory_is_not_shown(|page| page.is_multiple_of(2), FILL).await;
	// With a sixteenth missing, two of three legs wait for a page.
	memory_is_not_shown(|page| !page.is_multiple_of(16), FILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_on_an_ssd_is_too_late() {
	memory_is_not_shown(|page| page.is_multiple_of(2), SSD_READ).await;
	// Not excluded: a source that answers within the 6 µs that a leg has to spare.
	let fast = 5e-6;
	assert!(after(4, 4.0, LEG + fast) < 20.0);
}

/// Lanes whose second half runs concurrently with the first, from a made-up state and with made-up hashes.
const CUT: Way = Way {
	keys: |stage, running| match stage {
		0..4 => keys_of(Compress::new(), running),
		_ => [7; WORDS],
	},
	begins: |stage, state| if stage == 4 { [9; WORDS] } else { state },
};

fn is_of_lanes(reject: Reject) -> bool {
	matches!(
		reject,
		Reject::Wrong(Kind::Lanes) | Reject::Place(Kind::Lanes | Kind::Lane)
	)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_are_cut_contradict_their_roots() {
	// A core of a third of the pace is late, and in time with lanes in two pieces.
	const SLOW: f64 = 10.2e-6;
	let job = job(1, server(4, 8, 0));
	let plan = job.plan();
	let work = |way: Way, pieces: f64| {
		let memory = memory(&job, &plan);
		let ran = lanes(&job, &plan, &mut Filled(memory.cells()), way);
		Work::new(&job).with_processor(ran, after(4, 4.0, SLOW / pieces))
	};
	let found = check(Off::None, work(CUT, 2.0)).await;
	assert!(!found.verdict.proof, "{found:?}");
	assert!(is_of_lanes(found.rejected(Resource::Processor).unwrap()));
	let off = Off::Rejections(Resource::Processor, is_of_lanes);
	assert_eq!(tiers_of(&check(off, work(CUT, 2.0)).await), [1, 1, 0]);
	let found = check(Off::None, work(Way::HONEST, 1.0)).await;
	assert_eq!(tiers_of(&found), [0, 0, 0]);
	let twin = Work::new(&job).with_processor(honest(&job, &plan), after(4, 4.0, LEG));
	assert_eq!(tiers_of(&check(Off::None, twin).await), [1, 1, 0]);
}

/// Cells that are not read in some legs.
struct Skipping<'a> {
	inner: Filled<'a>,
	leg: u32,
	/// One of this number of legs is left out.
	each: u32,
	/// Number in place of the cell.
	made_up: u64,
}

impl Cells for Skipping<'_> {
	fn read(&mut self, cells: &[u64; WORDS], words: &mut [[u64; CELL / 8]; WORDS]) {
		self.leg += 1;
		match self.leg.is_multiple_of(self.each) {
			true => *words = [[self.made_up; CELL / 8]; WORDS],
			false => self.inner.read(cells, words),
		}
	}

	fn count(&self) -> u64 {
		self.inner.count()
	}
}

/// Lanes that leave out legs, and open the work that they ran.
struct Lazy {
	job: Job,
	memory: Arc<MappedMemory>,
	each: u32,
	made_up: u64,
	proof: Proof,
}

impl Lazy {
	fn run(job: &Job, memory: &Arc<MappedMemory>, each: u32, made_up: u64) -> Self {
		let size = job.processor(&job.plan());
		let run = |number| {
			let cells = &mut Self::cells(memory, each, made_up);
			Run::new(Lane::new(&start(job), number), size.stages, cells, || true).unwrap()
		};
		let runs = (0..size.lanes).map(run).collect();
		Self {
			job: job.clone(),
			memory: memory.clone(),
			each,
			made_up,
			proof: Proof::of_runs(&job.base(), &start(job), size, runs, None),
		}
	}

	fn cells(memory: &MappedMemory, each: u32, made_up: u64) -> Skipping<'_> {
		Skipping {
			inner: Filled(memory.cells()),
			leg: 0,
			each,
			made_up,
		}
	}

	fn open(&self, draw: &Draw) -> Vec<u8> {
		let mut out = Vec::new();
		// A stage has 32 legs: the left-out ones are at the same places in each.
		let cells = || Self::cells(&self.memory, self.each, self.made_up);
		self.proof.open_over(draw, cells, &mut out);
		out
	}

	/// The attested root.
	fn root(&self) -> Hash {
		let mut work = Work::new(&self.job);
		work.processor = Some(Ran {
			roots: vec![self.proof.root()],
			open: Box::new(|_| Vec::new()),
		});
		work.roots().root(&self.job)
	}

	/// Returns whether a challenge under this root detects it.
	fn is_found(&self, root: &Hash, challenge: &Challenge) -> bool {
		let (job, start) = (&self.job, start(&self.job));
		let draw = challenge.draw(job, &Lab::trial_seed(), root);
		let size = job.processor(&job.plan());
		let (opened, root) = (self.open(&draw), self.proof.root());
		let shown = &mut Reader::new(&opened);
		verify(&job.base(), &start, &size, &root, &draw, shown).is_err()
	}

	fn ran(self) -> Ran {
		Ran {
			roots: vec![self.proof.root()],
			open: Box::new(move |draw| self.open(draw)),
		}
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legs_that_are_left_out_are_found_unless_the_draw_is_known() {
	// One leg of 32: 3 % of all.
	const EACH: u32 = 32;
	let job = job(1, server(4, 8, 0));
	let memory = memory(&job, &job.plan());
	let run = |made_up| Lazy::run(&job, &memory, EACH, made_up);
	// Checkers with unknown secrets detect it as often as 80 samples hit 3 %: 92 of 100 times.
	let lazy = run(0);
	let checkers = 100u8;
	let found = (0..checkers)
		.filter(|secret| {
			let root = [*secret; 32];
			let challenge = Challenge::new(&[*secret; 32], &root, OPEN_SEED);
			lazy.is_found(&root, &challenge)
		})
		.count();
	assert!((80..=99).contains(&found), "{found} of {checkers}");
	// A prover that knows the checker's secret and the chain's randomness tries until the draw misses its
	// gaps.
	let is_found = |made_up: &u64| {
		let lazy = run(*made_up);
		let root = lazy.root();
		lazy.is_found(&root, &Lab::challenge(&root))
	};
	let lucky = (0..1_000).find(|made_up| !is_found(made_up)).unwrap();
	// A core that is late by 2 % is in time with 3 % less work, and shows its memory.
	const SLOW: f64 = 10.2e-6;
	let less = 1.0 - 1.0 / f64::from(EACH);
	let work = |made_up| {
		let after = after(4, 4.0, SLOW * less);
		Work::new(&job).with_processor(run(made_up).ran(), after)
	};
	let found = check(Off::None, work(lucky)).await;
	assert_eq!(tiers_of(&found), [0, 1, 0]);
	let whole = Work::new(&job).with_processor(honest(&job, &job.plan()), after(4, 4.0, SLOW));
	assert_eq!(tiers_of(&check(Off::None, whole).await), [0, 0, 0]);
	// A prover that does not know them is detected as often as above.
	let unlucky = (0..).find(is_found).unwrap();
	let found = check(Off::None, work(unlucky)).await;
	assert!(!found.verdict.proof, "{found:?}");
	let honest = Work::new(&job).with_processor(honest(&job, &job.plan()), after(4, 4.0, LEG));
	assert_eq!(tiers_of(&check(Off::None, honest).await), [1, 1, 0]);
}
