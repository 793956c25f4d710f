//! The lanes that one core can run with code that is faster than the agent's: several lanes on a thread, and
//! vectors. The timed code computes the same as [`Run`], tree and running hash included, and is compared
//! with it; a wave is compared too, and must differ.
//!
//! `cargo bench --profile dev -p kaisar-agent --bench lanes`; arguments: `gib=N` of memory (default: 4),
//! `json`, and `quick`, a tenth of the work.
//!
//! **In step** is the agent's order: word after word of a chain, four chains of each lane at a time. A
//! **wave** begins the first word of a leg while the others of the leg before still run: all 16 words of a
//! lane at a time, and 35 rounds in place of 128 for a stage. Two groups of lanes that take turns hide each
//! other's reads of memory.

#[path = "lanes/kernels.rs"]
mod kernels;

use kaisar_agent::trial::{
	hash::{Compress, Running, place_u64, u64_at},
	lane::{
		Filled, LEGS, Lane, Run, State, WORDS, digest_of, keys_of, lane_key, pair, stage_key,
		stage_leaves,
	},
	memory::MappedMemory,
	ram::{CELL, PAGE},
};
use kernels::{Kernel, TABLE};
#[cfg(not(unix))]
use std::time::Instant;
use std::{sync::Barrier, time::Duration};

/// Number of words of a chain.
const CHAIN: usize = 4;
const M2: u64 = 0xD1B5_4A32_D192_ED03;
/// Number of rounds of a wave through a stage.
const ROUNDS: usize = LEGS + CHAIN - 1;
/// Number of stages of a lane in production.
const STAGES: f64 = 62_504.0;
/// Time in which lanes show the same number of cores: 10 s, and 2 s of tolerance.
const IN_TIME: f64 = 12.0;
/// Number of runs of each; the fastest counts, since disturbances only slow a run down.
const TIMES: usize = 3;
const START: [u8; 32] = [2; 32];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
	InStep,
	Wave,
}

/// A way to run lanes on one thread.
#[derive(Clone, Copy)]
struct Way {
	order: Order,
	kernel: Kernel,
	/// Groups that take turns.
	groups: usize,
}

impl Way {
	/// Lanes of a group.
	fn lanes(&self) -> usize {
		self.kernel.words / self.kernel.per
	}

	fn name(&self) -> String {
		let order = match self.order {
			Order::InStep => "in step",
			Order::Wave => "wave",
		};
		let groups = if self.groups > 1 { ", in turns" } else { "" };
		format!("{order}, {}{groups}", self.kernel.name)
	}
}

/// A lane on its way through its stages.
struct Side {
	lane: Lane,
	running: Running,
	/// The state before the stage, its keys, and the states after its legs.
	before: State,
	keys: State,
	states: [State; LEGS],
	/// The words after their steps.
	stepped: State,
}

impl Side {
	fn new(number: usize) -> Self {
		let lane = Lane::new(&START, number as u16);
		Self {
			running: Running::new(lane.seed()),
			before: lane.first(),
			keys: [0; WORDS],
			states: [[0; WORDS]; LEGS],
			stepped: [0; WORDS],
			lane,
		}
	}

	/// The state before a leg.
	fn before(&self, leg: usize) -> &State {
		match leg {
			0 => &self.before,
			_ => &self.states[leg - 1],
		}
	}

	/// The word with which the steps of a leg begin; the one before it in its chain has been stepped.
	fn begin(&self, leg: usize, at: usize) -> u64 {
		let chained = match at % CHAIN {
			0 => 0,
			_ => self.stepped[at - 1],
		};
		self.before(leg)[at] ^ self.keys[at] ^ chained
	}

	/// The word after a leg, from its steps and its cell.
	fn end(&mut self, leg: usize, at: usize, memory: &[[u8; CELL]]) {
		let s = self.stepped[at];
		let cell = &memory[place_u64(s, memory.len() as u64) as usize];
		let mixed = (0..CELL / 8).fold(s, |s, word| {
			(s.rotate_left(9) ^ u64_at(cell, 8 * word)).wrapping_mul(M2)
		});
		// A wave does not have the last word of this leg yet, so it takes an older one.
		let last = match at % CHAIN {
			0 => self.stepped[at + CHAIN - 1],
			_ => 0,
		};
		self.states[leg][at] = mixed.wrapping_add(self.before(leg)[(at + 1) % WORDS]) ^ last;
	}

	/// Ends a stage: tree, digest, running hash.
	fn take(&mut self, number: u32) {
		let key = stage_key(self.lane.seed(), number);
		let root = key.root_over(0, stage_leaves(&key, &self.states).to_vec());
		let digest = digest_of(&root);
		let over = lane_key(self.lane.seed());
		let leaf = pair(self.running.state(), &digest);
		std::hint::black_box(over.leaf(Compress::new(), u64::from(number), &leaf));
		self.running.take(Compress::new(), &digest);
		self.before = self.states[LEGS - 1];
	}
}

/// Lanes that are stepped together.
struct Group {
	lanes: Vec<Side>,
	tables: Vec<[u64; TABLE]>,
	words: Vec<u64>,
}

impl Group {
	fn new(way: &Way, first: usize) -> Self {
		let lanes: Vec<Side> = (first..first + way.lanes()).map(Side::new).collect();
		Self {
			tables: lanes.iter().map(|side| *side.lane.table()).collect(),
			words: vec![0; way.kernel.words],
			lanes,
		}
	}

	fn steps(&mut self, kernel: &Kernel) {
		// SAFETY: only kernels that this processor has are run.
		unsafe { (kernel.steps)(&self.tables, &mut self.words) };
	}

	/// Prefetches the cells of all stepped words.
	fn fetch(&self, memory: &[[u8; CELL]]) {
		for lane in &self.lanes {
			for s in lane.stepped {
				prefetch(&memory[place_u64(s, memory.len() as u64) as usize]);
			}
		}
	}

	/// The steps of a leg, word after word.
	fn leg(&mut self, kernel: &Kernel, leg: usize) {
		for word in 0..CHAIN {
			let places = || (0..WORDS / CHAIN).map(|chain| CHAIN * chain + word);
			for (lane, words) in self
				.lanes
				.iter()
				.zip(self.words.chunks_exact_mut(kernel.per))
			{
				for (at, word) in places().zip(words) {
					*word = lane.begin(leg, at);
				}
			}
			self.steps(kernel);
			let words = self.words.chunks_exact(kernel.per);
			for (lane, words) in self.lanes.iter_mut().zip(words) {
				for (at, word) in places().zip(words) {
					lane.stepped[at] = *word;
				}
			}
		}
	}

	fn end_leg(&mut self, leg: usize, memory: &[[u8; CELL]]) {
		for lane in &mut self.lanes {
			for at in 0..WORDS {
				lane.end(leg, at, memory);
			}
		}
	}

	/// A round of a wave: word `w` of each chain is in leg `round - w`.
	fn round(&mut self, kernel: &Kernel, round: usize) {
		for (lane, words) in self.lanes.iter().zip(self.words.chunks_exact_mut(WORDS)) {
			for (at, word) in words.iter_mut().enumerate() {
				if let Some(leg) = leg_of(round, at) {
					*word = lane.begin(leg, at);
				}
			}
		}
		self.steps(kernel);
		for (lane, words) in self.lanes.iter_mut().zip(self.words.chunks_exact(WORDS)) {
			lane.stepped.copy_from_slice(words);
		}
	}

	fn end_round(&mut self, round: usize, memory: &[[u8; CELL]]) {
		for lane in &mut self.lanes {
			// The last word of a chain is the furthest behind, and each needs the next one's before.
			for at in (0..WORDS).rev() {
				if let Some(leg) = leg_of(round, at) {
					lane.end(leg, at, memory);
				}
			}
		}
	}
}

/// The leg that a word is in, in a round of a wave.
fn leg_of(round: usize, at: usize) -> Option<usize> {
	let leg = round.checked_sub(at % CHAIN)?;
	(leg < LEGS).then_some(leg)
}

fn prefetch(cell: &[u8; CELL]) {
	#[cfg(target_arch = "x86_64")]
	// SAFETY: the call is only a hint, and the address is valid.
	unsafe {
		use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
		_mm_prefetch::<_MM_HINT_T0>(cell.as_ptr().cast());
	}
	#[cfg(not(target_arch = "x86_64"))]
	let _ = cell;
}

/// Runs lanes from number `first` on, and returns their last running hashes.
fn run(way: &Way, first: usize, stages: u32, memory: &[[u8; CELL]]) -> Vec<[u8; 32]> {
	let number = |group: usize| first + group * way.lanes();
	let mut groups: Vec<Group> = (0..way.groups)
		.map(|group| Group::new(way, number(group)))
		.collect();
	let rounds = match way.order {
		Order::InStep => LEGS,
		Order::Wave => ROUNDS,
	};
	let end = |group: &mut Group, round: usize| match way.order {
		Order::InStep => group.end_leg(round, memory),
		Order::Wave => group.end_round(round, memory),
	};
	for stage in 0..stages {
		for lane in groups.iter_mut().flat_map(|group| &mut group.lanes) {
			lane.keys = keys_of(Compress::new(), &lane.running);
		}
		for round in 0..rounds {
			for group in &mut groups {
				if round > 0 {
					end(group, round - 1);
				}
				match way.order {
					Order::InStep => group.leg(&way.kernel, round),
					Order::Wave => group.round(&way.kernel, round),
				}
				group.fetch(memory);
			}
		}
		for group in &mut groups {
			end(group, rounds - 1);
			for lane in &mut group.lanes {
				lane.take(stage);
			}
		}
	}
	let lanes = groups.iter().flat_map(|group| &group.lanes);
	lanes.map(|lane| *lane.running.state()).collect()
}

/// Runs the part of a lane that all ways share: keys, trees and running hashes of some stages.
fn hashes(number: usize, stages: u32) {
	let mut side = Side::new(number);
	for stage in 0..stages {
		side.keys = keys_of(Compress::new(), &side.running);
		side.take(stage);
	}
}

/// The agent's own lanes, one after the other.
fn honest(first: usize, lanes: usize, stages: u32, memory: &[[u8; CELL]]) -> Vec<[u8; 32]> {
	let run = |number: usize| {
		let lane = Lane::new(&START, number as u16);
		Run::new(lane, stages, &mut Filled(memory), || true).map(|run| *run.last())
	};
	(first..first + lanes).filter_map(run).collect()
}

/// The time that each of some threads takes for its part; all begin together, each on its own processor.
fn timed(processors: &[usize], part: impl Fn(usize) + Sync) -> f64 {
	let begin = Barrier::new(processors.len());
	let times = std::thread::scope(|scope| {
		let threads: Vec<_> = (0..processors.len())
			.map(|number| {
				let (part, begin) = (&part, &begin);
				scope.spawn(move || {
					pin(processors[number]);
					begin.wait();
					let start = spent();
					part(number);
					spent() - start
				})
			})
			.collect();
		let times = threads.into_iter().map(|thread| thread.join());
		times.collect::<Result<Vec<Duration>, _>>()
	});
	let times = times.expect("no thread panics");
	times.into_iter().max().unwrap_or_default().as_secs_f64()
}

/// Returns the time that this thread ran, if the system reports it: other programs do not count.
fn spent() -> Duration {
	#[cfg(unix)]
	{
		let mut time = libc::timespec {
			tv_sec: 0,
			tv_nsec: 0,
		};
		// SAFETY: it writes one time.
		unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
		Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
	}
	#[cfg(not(unix))]
	{
		static BEGINNING: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
		BEGINNING.elapsed()
	}
}

/// Pins this thread to one processor, if the system can.
fn pin(processor: usize) {
	#[cfg(target_os = "linux")]
	// SAFETY: the set is plain data of the given size.
	unsafe {
		let mut set: libc::cpu_set_t = std::mem::zeroed();
		libc::CPU_SET(processor, &mut set);
		libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
	}
	#[cfg(not(target_os = "linux"))]
	let _ = processor;
}

/// The processors of a list as the kernel writes it: `0-3,8`.
fn processors(list: &str) -> Vec<usize> {
	let range = |part: &str| {
		let (from, to) = part.split_once('-').unwrap_or((part, part));
		Some(from.parse().ok()?..=to.parse().ok()?)
	};
	let ranges = list.trim().split(',').filter_map(range);
	ranges.flatten().collect()
}

fn system(file: &str) -> String {
	std::fs::read_to_string(format!("/sys/devices/system/cpu/{file}")).unwrap_or_default()
}

/// Measured figures, and their output.
struct Report {
	json: bool,
	/// Time of a leg by the agent's code, alone on a core.
	honest: f64,
}

impl Report {
	fn head(&self) {
		if !self.json {
			println!(
				"{:<46} {:>6} {:>10} {:>9} {:>6} {:>6}",
				"way", "lanes", "µs a round", "µs a lane", "×", "cores"
			);
		}
	}

	/// `leg` is the time in which each of `lanes` lanes of a core makes a leg.
	fn line(&self, name: &str, lanes: usize, leg: f64) {
		let each = leg / lanes as f64;
		let (times, cores) = (self.honest / each, IN_TIME / (STAGES * LEGS as f64 * each));
		let (leg, each) = (leg * 1e6, each * 1e6);
		if self.json {
			let line = |figure: &str, value: f64, unit: &str| {
				println!(
					"{{\"figure\":\"cores: {name}, {lanes} lanes: {figure}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}"
				);
			};
			line("a leg of a lane", each, "us");
			line("pace of the agent's", times, "times");
			line("shown by a core in 12 s", cores, "cores");
		} else {
			println!("{name:<46} {lanes:>6} {leg:>10.2} {each:>9.2} {times:>6.2} {cores:>6.2}");
		}
	}
}

fn main() {
	let arguments: Vec<String> = std::env::args().collect();
	let has = |name: &str| arguments.iter().any(|argument| argument == name);
	let gib = arguments.iter().find_map(|argument| {
		let gib = argument.strip_prefix("gib=")?;
		gib.parse::<u64>().ok()
	});
	let pages = (gib.unwrap_or(4) << 30) / PAGE as u64;
	let mut memory = MappedMemory::new(pages).expect("there is memory");
	memory.fill(&[1; 32], || true);
	let memory = memory.cells();
	// 0.1 s of a lane.
	let stages = if has("quick") { 800 } else { 8_000 };

	let mut ways: Vec<Way> = Vec::new();
	for (order, kernels) in [
		(Order::InStep, kernels::in_step()),
		(Order::Wave, kernels::wave()),
	] {
		for kernel in kernels.into_iter().filter(|kernel| kernel.needs.met()) {
			ways.extend([1, 2].map(|groups| Way {
				order,
				kernel,
				groups,
			}));
		}
	}
	for way in &ways {
		let lanes = way.lanes() * way.groups;
		let (ours, theirs) = (run(way, 1, 5, memory), honest(1, lanes, 5, memory));
		match way.order {
			Order::InStep => assert_eq!(ours, theirs, "{}, {lanes} lanes", way.name()),
			Order::Wave => assert_ne!(ours, theirs, "a leg's first word waits for the one before"),
		}
	}
	ways.retain(|way| way.order == Order::InStep);

	let best = |cpus: &[usize], part: &(dyn Fn(usize) + Sync)| {
		let times = (0..TIMES).map(|_| timed(cpus, part));
		times.fold(f64::INFINITY, f64::min)
	};
	let legs = |stages: u32| f64::from(stages) * LEGS as f64;
	let agent = |cpus: &[usize]| {
		let part = |number| drop(honest(number, 1, stages, memory));
		best(cpus, &part) / legs(stages)
	};
	let by = |way: &Way, cpus: &[usize]| {
		let lanes = way.lanes() * way.groups;
		let stages = (stages / lanes as u32).max(1);
		let part = |number| drop(run(way, number * lanes, stages, memory));
		best(cpus, &part) / legs(stages)
	};

	let report = Report {
		json: has("json"),
		honest: agent(&[0]),
	};
	report.head();
	report.line("the agent", 1, report.honest);
	let hashing = best(&[0], &|number| hashes(number, stages)) / legs(stages);
	report.line("its hashes alone", 1, hashing);
	let mut fastest: Option<(f64, &Way)> = None;
	for way in &ways {
		let (leg, lanes) = (by(way, &[0]), way.lanes() * way.groups);
		report.line(&way.name(), lanes, leg);
		let each = leg / lanes as f64;
		if fastest.is_none_or(|(least, _)| each < least) {
			fastest = Some((each, way));
		}
	}
	report.line("the agent again", 1, agent(&[0]));
	let Some((_, fastest)) = fastest else { return };
	let siblings = processors(&system("cpu0/topology/thread_siblings_list"));
	let all = processors(&system("online"));
	for (name, cpus) in [
		("both hardware threads of a core", siblings),
		("all processors", all),
	] {
		if cpus.len() < 2 {
			println!("{name}: there is one");
			continue;
		}
		let threads = cpus.len();
		// The count is of physical cores: the threads of a core share it.
		let shared = if name == "all processors" { 1 } else { threads };
		report.line(&format!("{name}: the agent"), shared, agent(&cpus));
		let lanes = fastest.lanes() * fastest.groups * shared;
		report.line(
			&format!("{name}: {}", fastest.name()),
			lanes,
			by(fastest, &cpus),
		);
	}
}
