//! Lanes: the work of one processor core in the trial.
//!
//! A lane is a chain of legs. In a leg, four chains of 768 steps run concurrently, which keeps a core's
//! multiplier and its first cache busy and is far too long for a GPU; then each of 16 words reads a cell
//! anywhere in the memory. Each 32 legs make a stage. A running hash over all earlier stages enters every
//! word of every leg, so that no part of a lane can be computed before the parts that precede it, and a lane
//! cannot be cut.

use super::{
	hash::{Compress, Hash, Running, key, place_u64, stream, u64_at},
	ram::{CELL, CELLS, Page, fill_page},
	tree::{Tree, TreeKey},
};
use chacha20::rand_core::Rng;
use std::collections::BTreeMap;

/// Number of words of a lane's state.
pub const WORDS: usize = 16;
/// Size of a lane's state, in bytes.
pub const STATE: usize = 8 * WORDS;
/// Number of words of a chain.
const CHAIN: usize = 4;
/// Number of steps of each word in a leg.
const STEPS: usize = 192;
/// Number of legs of a stage.
pub const LEGS: usize = 32;
/// Number of words of the table.
const TABLE: usize = 2_048;
const M: u64 = 0x9E37_79B9_7F4A_7C15;
const M2: u64 = 0xD1B5_4A32_D192_ED03;

/// A lane's state.
pub type State = [u64; WORDS];

/// A digest of a stage: the first half of its tree's root.
pub type Digest = [u8; 16];

/// Source of a lane's cells.
pub trait Cells {
	/// Reads the eight words of each cell, in the order of `cells`.
	fn read(&mut self, cells: &[u64; WORDS], words: &mut [[u64; CELL / 8]; WORDS]);
	/// Returns the number of cells.
	fn count(&self) -> u64;
}

/// Memory that holds all pages.
pub struct Filled<'a>(pub &'a [[u8; CELL]]);

impl Cells for Filled<'_> {
	#[inline]
	fn read(&mut self, cells: &[u64; WORDS], words: &mut [[u64; CELL / 8]; WORDS]) {
		for cell in cells {
			prefetch(&self.0[*cell as usize]);
		}
		for (words, cell) in words.iter_mut().zip(cells) {
			*words = words_of(&self.0[*cell as usize]);
		}
	}

	#[inline]
	fn count(&self) -> u64 {
		self.0.len() as u64
	}
}

/// Capacity of the cache of computed pages: 2 MiB.
const KEPT: usize = 64;

/// Memory of `pages` pages, each computed when it is read.
pub struct Computed<'a> {
	base: &'a Hash,
	pages: u64,
	kept: BTreeMap<u64, Box<Page>>,
}

impl<'a> Computed<'a> {
	/// Of the proof with this base.
	pub fn new(base: &'a Hash, pages: u64) -> Self {
		Self {
			base,
			pages,
			kept: BTreeMap::new(),
		}
	}

	/// The words of one cell.
	pub fn cell(&mut self, cell: u64) -> [u64; CELL / 8] {
		let number = cell / CELLS as u64;
		if self.kept.len() >= KEPT && !self.kept.contains_key(&number) {
			self.kept.clear();
		}
		let page = self.kept.entry(number).or_insert_with(|| {
			let mut page = Box::new([[0; CELL]; CELLS]);
			fill_page(Compress::new(), self.base, number, &mut page);
			page
		});
		words_of(&page[(cell % CELLS as u64) as usize])
	}
}

impl Cells for Computed<'_> {
	fn read(&mut self, cells: &[u64; WORDS], words: &mut [[u64; CELL / 8]; WORDS]) {
		for (words, cell) in words.iter_mut().zip(cells) {
			*words = self.cell(*cell);
		}
	}

	fn count(&self) -> u64 {
		self.pages * CELLS as u64
	}
}

#[inline]
fn words_of(cell: &[u8; CELL]) -> [u64; CELL / 8] {
	std::array::from_fn(|at| u64_at(cell, 8 * at))
}

/// Prefetches a cell from memory.
#[inline]
pub(super) fn prefetch(cell: &[u8; CELL]) {
	#[cfg(target_arch = "x86_64")]
	// SAFETY: the call is only a hint, and the address is valid.
	unsafe {
		use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
		_mm_prefetch::<_MM_HINT_T0>(cell.as_ptr().cast());
	}
	#[cfg(not(target_arch = "x86_64"))]
	let _ = cell;
}

/// A lane: its table, and its first state.
pub struct Lane {
	seed: Hash,
	table: Box<[u64; TABLE]>,
}

impl Lane {
	/// The seed of lane `number` of the trial with this start.
	pub fn seed_of(start: &Hash, number: u16) -> Hash {
		key("lane", &[start, &number.to_le_bytes()])
	}

	/// Lane `number` of the trial with this start.
	pub fn new(start: &Hash, number: u16) -> Self {
		let seed = Self::seed_of(start, number);
		let mut words = stream(&seed, 0, 0);
		let mut table = Box::new([0; TABLE]);
		table.fill_with(|| words.next_u64());
		Self { seed, table }
	}

	/// Returns its seed.
	pub fn seed(&self) -> &Hash {
		&self.seed
	}

	/// Returns its table.
	#[doc(hidden)]
	pub fn table(&self) -> &[u64; TABLE] {
		&self.table
	}

	/// Returns its state before the first stage.
	pub fn first(&self) -> State {
		let mut words = stream(&self.seed, 1, 0);
		std::array::from_fn(|_| words.next_u64())
	}

	/// The steps of the words of one chain up to word `last` of it, 0 … 3.
	#[inline]
	fn chain(&self, kappa: &[u64; CHAIN], words: &mut [u64; CHAIN], last: usize) {
		for at in 0..=last {
			let mut s = words[at] ^ kappa[at] ^ if at == 0 { 0 } else { words[at - 1] };
			for _ in 0..STEPS {
				s = self.step(s);
			}
			words[at] = s;
		}
	}

	#[inline(always)]
	fn step(&self, s: u64) -> u64 {
		(s ^ self.table[(s >> 53) as usize])
			.wrapping_mul(M)
			.rotate_left(23)
	}

	/// The whole state after a leg of a stage with these [`keys_of`].
	#[inline]
	pub fn leg(&self, kappa: &State, before: &State, cells: &mut impl Cells) -> State {
		let mut s = *before;
		// Interleave the steps of the four chains, so that each hides the others' latency.
		for word in 0..CHAIN {
			let mut side: [u64; WORDS / CHAIN] = std::array::from_fn(|chain| {
				let at = CHAIN * chain + word;
				s[at] ^ kappa[at] ^ if word == 0 { 0 } else { s[at - 1] }
			});
			for _ in 0..STEPS {
				for s in &mut side {
					*s = self.step(*s);
				}
			}
			for (chain, value) in side.into_iter().enumerate() {
				s[CHAIN * chain + word] = value;
			}
		}
		let count = cells.count();
		let places = s.map(|word| place_u64(word, count));
		let mut words = [[0; CELL / 8]; WORDS];
		cells.read(&places, &mut words);
		let mixed: State = std::array::from_fn(|at| mix(s[at], &words[at]));
		std::array::from_fn(|at| {
			let last = if at.is_multiple_of(CHAIN) {
				s[at + CHAIN - 1]
			} else {
				0
			};
			mixed[at].wrapping_add(before[(at + 1) % WORDS]) ^ last
		})
	}

	/// One word after a leg, with the steps of its chain alone, and its one cell.
	pub fn word(&self, kappa: &State, before: &State, word: usize, cells: &mut Computed) -> u64 {
		let chain = word / CHAIN;
		let of_chain = |state: &State| std::array::from_fn(|at| state[CHAIN * chain + at]);
		let mut words: [u64; CHAIN] = of_chain(before);
		// A leg's first word waits for the last word of the leg before: otherwise the words of a chain could
		// run concurrently.
		let first = word.is_multiple_of(CHAIN);
		let upto = if first { CHAIN - 1 } else { word % CHAIN };
		self.chain(&of_chain(kappa), &mut words, upto);
		let s = words[word % CHAIN];
		let cell = cells.cell(place_u64(s, cells.count()));
		let last = if first { words[CHAIN - 1] } else { 0 };
		mix(s, &cell).wrapping_add(before[(word + 1) % WORDS]) ^ last
	}

	/// The states after each leg of a stage with these keys that begins with this state.
	pub fn stage(&self, kappa: &State, before: &State, cells: &mut impl Cells) -> [State; LEGS] {
		let mut s = *before;
		std::array::from_fn(|_| {
			s = self.leg(kappa, &s, cells);
			s
		})
	}
}

#[inline]
fn mix(mut s: u64, cell: &[u64; CELL / 8]) -> u64 {
	for word in cell {
		s = (s.rotate_left(9) ^ word).wrapping_mul(M2);
	}
	s
}

/// A state as bytes.
pub fn bytes_of(state: &State) -> [u8; STATE] {
	let mut bytes = [0; STATE];
	for (bytes, word) in bytes.chunks_exact_mut(8).zip(state) {
		bytes.copy_from_slice(&word.to_le_bytes());
	}
	bytes
}

/// A state from its bytes.
pub fn state_of(bytes: &[u8; STATE]) -> State {
	std::array::from_fn(|at| u64_at(bytes, 8 * at))
}

/// The tree over the states of stage `number` of the lane with this seed.
pub fn stage_key(seed: &Hash, number: u32) -> TreeKey {
	TreeKey::new(seed, "stage", u64::from(number))
}

/// The leaves of a stage.
pub fn stage_leaves(key: &TreeKey, states: &[State; LEGS]) -> [Hash; LEGS] {
	let pieces: [[u8; STATE]; LEGS] = std::array::from_fn(|at| bytes_of(&states[at]));
	let mut leaves = [[0; 32]; LEGS];
	key.leaves(0, &pieces, &mut leaves);
	leaves
}

/// The digest of a root.
pub fn digest_of(root: &Hash) -> Digest {
	let mut digest = [0; 16];
	digest.copy_from_slice(&root[..16]);
	digest
}

/// Returns the keys of a stage: the hash over all stages before it, expanded to a word for each word of the
/// state. With one word in place of these, a prover could leave it out, and only one sample in a hundred
/// would detect it.
pub fn keys_of(compress: Compress, running: &Running) -> State {
	let mut bytes = [0; STATE];
	for (half, block) in (0..).zip(bytes.as_chunks_mut::<64>().0) {
		*block = compress.whole(running.state(), &[0; 64], 1 << 63 | half);
	}
	state_of(&bytes)
}

/// The rules by which a lane goes from stage to stage. Only dishonest provers in tests have others than
/// [`Way::HONEST`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Way {
	/// The keys of a stage.
	pub keys: fn(u32, &Running) -> State,
	/// The first state of a stage, from the state after the stage before.
	pub begins: fn(u32, State) -> State,
}

impl Way {
	/// The way that a verifier accepts.
	pub const HONEST: Self = Self {
		keys: |_, running| keys_of(Compress::new(), running),
		begins: |_, state| state,
	};
}

/// A completed lane.
pub struct Run {
	way: Way,
	/// The lane.
	pub lane: Lane,
	/// The state before each stage.
	starts: Vec<State>,
	/// The running hash before each stage.
	hashes: Vec<Hash>,
	/// The running hash after the last.
	last: Hash,
	/// Each stage's digest.
	digests: Vec<Digest>,
	/// Over the pairs of running hash and digest.
	tree: Tree,
	/// The lane's root.
	pub root: Hash,
}

/// The pair that is a leaf of a lane's tree: the running hash before a stage, and the stage's digest.
pub fn pair(running: &Hash, digest: &Digest) -> [u8; 48] {
	let mut bytes = [0; 48];
	bytes[..32].copy_from_slice(running);
	bytes[32..].copy_from_slice(digest);
	bytes
}

/// The tree over the pairs of a lane.
pub fn lane_key(seed: &Hash) -> TreeKey {
	TreeKey::new(seed, "lane", 0)
}

/// `K(root of lane; last hash, tree)`.
pub fn root_of(last: &Hash, tree: &Hash) -> Hash {
	key("root of lane", &[last, tree])
}

impl Run {
	/// Runs `stages` stages over these cells. Calls `wanted` before each stage, and returns `None` once it
	/// is false.
	pub fn new(
		lane: Lane,
		stages: u32,
		cells: &mut impl Cells,
		wanted: impl FnMut() -> bool,
	) -> Option<Self> {
		Self::by(Way::HONEST, lane, stages, cells, wanted)
	}

	/// Does the same by other rules.
	#[doc(hidden)]
	pub fn by(
		way: Way,
		lane: Lane,
		stages: u32,
		cells: &mut impl Cells,
		mut wanted: impl FnMut() -> bool,
	) -> Option<Self> {
		let compress = Compress::new();
		let mut running = Running::new(&lane.seed);
		let mut state = lane.first();
		let length = stages as usize;
		let (mut starts, mut digests) = (Vec::with_capacity(length), Vec::with_capacity(length));
		let (mut leaves, mut hashes) = (Vec::with_capacity(length), Vec::with_capacity(length));
		let over = lane_key(&lane.seed);
		for number in 0..stages {
			if !wanted() {
				return None;
			}
			state = (way.begins)(number, state);
			starts.push(state);
			let states = lane.stage(&(way.keys)(number, &running), &state, cells);
			state = states[LEGS - 1];
			let key = stage_key(&lane.seed, number);
			let root = key.root_over(0, stage_leaves(&key, &states).to_vec());
			let digest = digest_of(&root);
			leaves.push(over.leaf(compress, u64::from(number), &pair(running.state(), &digest)));
			hashes.push(*running.state());
			running.take(compress, &digest);
			digests.push(digest);
		}
		let tree = Tree::over(&over, 0, leaves);
		let root = root_of(running.state(), &tree.root());
		Some(Self {
			way,
			lane,
			starts,
			hashes,
			last: *running.state(),
			digests,
			tree,
			root,
		})
	}

	/// Returns its digests.
	pub fn digests(&self) -> &[Digest] {
		&self.digests
	}

	/// The running hash before a stage.
	pub fn running(&self, stage: u32) -> &Hash {
		&self.hashes[stage as usize]
	}

	/// The running hash after the last stage.
	pub fn last(&self) -> &Hash {
		&self.last
	}

	/// The tree over its stages.
	pub fn tree(&self) -> &Tree {
		&self.tree
	}

	/// Recomputes a stage: the state before it, and those after each leg.
	pub fn states(&self, stage: u32, cells: &mut impl Cells) -> Option<(State, [State; LEGS])> {
		let start = self.starts.get(stage as usize)?;
		let running = Running::at(*self.running(stage), stage.into());
		let keys = (self.way.keys)(stage, &running);
		Some((*start, self.lane.stage(&keys, start, cells)))
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn memory(base: &Hash, pages: usize) -> Vec<[u8; CELL]> {
		let mut memory = vec![[0; CELL]; pages * CELLS];
		for (number, page) in memory.as_chunks_mut::<CELLS>().0.iter_mut().enumerate() {
			fill_page(Compress::new(), base, number as u64, page);
		}
		memory
	}

	#[test]
	fn a_word_of_a_leg_is_what_the_whole_leg_gives() {
		let (base, start) = ([1; 32], [2; 32]);
		let memory = memory(&base, 4);
		let lane = Lane::new(&start, 3);
		let kappa = keys_of(Compress::new(), &Running::new(lane.seed()));
		let mut before = lane.first();
		for _ in 0..4 {
			let after = lane.leg(&kappa, &before, &mut Filled(&memory));
			let mut computed = Computed::new(&base, 4);
			for (word, after) in after.iter().enumerate() {
				let one = lane.word(&kappa, &before, word, &mut computed);
				assert_eq!(one, *after, "word {word}");
			}
			before = after;
		}
	}

	#[test]
	fn a_leg_begins_after_the_last_word_of_each_chain() {
		// Otherwise the words of a lane run as a wave, which a GPU computes in time:
		// `benches/attacks/lanes.cu`.
		let memory = memory(&[1; 32], 4);
		let lane = Lane::new(&[2; 32], 3);
		let kappa = keys_of(Compress::new(), &Running::new(lane.seed()));
		let before = lane.first();
		let leg = |before: &State| lane.leg(&kappa, before, &mut Filled(&memory));
		for chain in 0..WORDS / CHAIN {
			let first = CHAIN * chain;
			let mut other = before;
			other[first + CHAIN - 1] ^= 1;
			assert_ne!(leg(&before)[first], leg(&other)[first], "chain {chain}");
		}
	}

	#[test]
	fn lanes_and_starts_differ() {
		let first = |start: u8, number| Lane::new(&[start; 32], number).first();
		assert_ne!(first(1, 0), first(1, 1));
		assert_ne!(first(1, 0), first(2, 0));
	}

	#[test]
	fn a_stage_depends_on_all_before_it() {
		let memory = memory(&[1; 32], 1);
		let run = |stages| {
			Run::new(Lane::new(&[2; 32], 0), stages, &mut Filled(&memory), || {
				true
			})
			.unwrap()
		};
		let (three, four) = (run(3), run(4));
		assert_eq!(three.digests(), &four.digests()[..3]);
		assert_ne!(three.root, four.root);
		let (start, states) = four.states(2, &mut Filled(&memory)).unwrap();
		let (next, _) = four.states(3, &mut Filled(&memory)).unwrap();
		assert_eq!(
			start,
			four.states(1, &mut Filled(&memory)).unwrap().1[LEGS - 1]
		);
		// The keys of two stages have no word in common, nor have two words of one.
		let keys = |stage: u32| {
			let running = Running::at(*four.running(stage), stage.into());
			keys_of(Compress::new(), &running)
		};
		let all: std::collections::BTreeSet<u64> = (0..4).flat_map(keys).collect();
		assert_eq!(all.len(), 4 * WORDS);
		assert_eq!(next, states[LEGS - 1]);
		assert!(four.states(4, &mut Filled(&memory)).is_none());
		assert!(Run::new(Lane::new(&[2; 32], 0), 3, &mut Filled(&memory), || false).is_none());
	}

	/// Lanes that the programs of `benches/attacks` compute too, over memory with numbered words: number,
	/// stages, cells, and the last running hash.
	#[test]
	fn lanes_are_what_the_attacks_compute() {
		let splitmix = |x: u64| {
			let x = (x + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
			let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
			let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
			x ^ x >> 31
		};
		let cells = 1u64 << 16;
		let words = (0..8 * cells).flat_map(|word| splitmix(word).to_le_bytes());
		let bytes: Vec<u8> = words.collect();
		let memory = bytes.as_chunks::<CELL>().0;
		let mut computed = String::new();
		for (number, stages) in [(0, 1), (1, 3), (143, 2)] {
			let run = Run::new(
				Lane::new(&[2; 32], number),
				stages,
				&mut Filled(memory),
				|| true,
			);
			let last = *run.unwrap().last();
			let words = [u64::from(number), u64::from(stages), cells]
				.into_iter()
				.chain([0, 8, 16, 24].map(|at| u64_at(&last, at)));
			let line: Vec<String> = words.map(|word| format!("0x{word:016x},")).collect();
			computed += &(line.join(" ") + "\n");
		}
		assert_eq!(
			computed,
			include_str!("../../benches/attacks/lanes-vectors.inc"),
			"after a change of the lanes, write what was computed into the file"
		);
	}
}
