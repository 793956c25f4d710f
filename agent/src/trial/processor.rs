//! Processor and memory: the lanes of all claimed cores over the filled memory.

use super::{
	hash::{Compress, Hash, Running},
	judge::{self, MAX_LANES},
	lane::{
		self, Cells, Computed, Digest, Filled, LEGS, Lane, Run, STATE, State, WORDS, bytes_of,
		digest_of, keys_of, lane_key, pair, root_of, stage_key, stage_leaves,
	},
	memory::MappedMemory,
	sample::{Draw, Kind, Reader, Reject},
	tree::{Tree, TreeKey, path_length},
};
use parking_lot::Mutex;
use rayon::prelude::*;
use std::sync::Arc;

/// Number of samples over all lanes.
pub(super) const SAMPLES: u32 = 64;
/// Number of samples in the lane whose digests are all opened.
pub(super) const OF_LANE: u32 = 16;

/// Sizes of the lanes and of their memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
	/// Lanes, 1 … [`MAX_LANES`].
	pub lanes: u16,
	/// Stages of each, 1 … 2²⁰.
	pub stages: u32,
	/// Pages of the memory, at least one, at most those that show the highest tier.
	pub pages: u64,
}

impl Size {
	/// Maximum number of stages that are verified.
	const MAX_STAGES: u32 = 1 << 20;

	/// Fails if a size is out of range.
	pub fn check(&self) -> Result<(), Reject> {
		let within = (1..=MAX_LANES).contains(&self.lanes)
			&& (1..=Self::MAX_STAGES).contains(&self.stages)
			&& (1..=judge::MAX_PAGES).contains(&self.pages);
		within.then_some(()).ok_or(Reject::Size)
	}
}

/// Completed lanes.
pub struct Proof {
	base: Hash,
	size: Size,
	runs: Vec<Run>,
	tree: Tree,
	/// The memory, until it is released.
	memory: Mutex<Option<Arc<MappedMemory>>>,
}

fn lanes_key(start: &Hash) -> TreeKey {
	TreeKey::new(start, "lanes", 0)
}

/// A word of a leg of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct At {
	lane: u16,
	stage: u32,
	leg: usize,
	word: usize,
}

impl At {
	fn new(place: u64, size: &Size) -> Self {
		let (legs, word) = (place / WORDS as u64, place as usize % WORDS);
		let (stages, leg) = (legs / LEGS as u64, legs as usize % LEGS);
		Self {
			lane: (stages / u64::from(size.stages)) as u16,
			stage: (stages % u64::from(size.stages)) as u32,
			leg,
			word,
		}
	}
}

/// Returns the lane whose digests are all opened, which is the same for all seats, and the samples in the
/// order of the openings: those of that lane first.
fn samples(draw: &Draw, size: &Size) -> (u16, Vec<At>) {
	let each = u64::from(size.stages) * (LEGS * WORDS) as u64;
	let lane = draw.shared(size.lanes.into());
	let of_lane = draw.from(Kind::Lane, 0, 1, OF_LANE, each);
	let of_all = draw.places(Kind::Lanes, 0, SAMPLES, each * u64::from(size.lanes));
	let places = of_lane
		.into_iter()
		.map(|place| lane * each + place)
		.chain(of_all);
	(
		lane as u16,
		places.map(|place| At::new(place, size)).collect(),
	)
}

impl Proof {
	/// Runs the trial with this start over filled memory, all lanes in parallel. Returns `None` once
	/// `wanted` is false.
	pub fn run(
		base: &Hash,
		start: &Hash,
		size: Size,
		memory: impl Into<Arc<MappedMemory>>,
		wanted: impl Fn() -> bool + Sync,
	) -> Option<Self> {
		let memory = memory.into();
		let runs: Option<Vec<Run>> = std::thread::scope(|scope| {
			let running: Vec<_> = (0..size.lanes)
				.map(|number| {
					let (memory, wanted) = (&memory, &wanted);
					scope.spawn(move || {
						let lane = Lane::new(start, number);
						Run::new(lane, size.stages, &mut Filled(memory.cells()), wanted)
					})
				})
				.collect();
			running
				.into_iter()
				.map(|lane| lane.join().unwrap_or(None))
				.collect()
		});
		Some(Self::of_runs(base, start, size, runs?, Some(memory)))
	}

	/// Creates the proof of lanes that have run by any rules; dishonest provers in tests have their own.
	#[doc(hidden)]
	pub fn of_runs(
		base: &Hash,
		start: &Hash,
		size: Size,
		runs: Vec<Run>,
		memory: Option<Arc<MappedMemory>>,
	) -> Self {
		let compress = Compress::new();
		let key = lanes_key(start);
		let leaves = runs.iter().enumerate();
		let leaves = leaves.map(|(number, run)| key.leaf(compress, number as u64, &run.root));
		Self {
			base: *base,
			size,
			tree: Tree::over(&key, 0, leaves.collect()),
			runs,
			memory: Mutex::new(memory),
		}
	}

	/// Returns its root.
	pub fn root(&self) -> Hash {
		self.tree.root()
	}

	/// Releases the memory. From then on, openings compute the pages they need.
	pub fn release(&self) {
		*self.memory.lock() = None;
	}

	/// Appends the openings of a draw to `out`, which takes all cores for a moment.
	pub fn open(&self, draw: &Draw, out: &mut Vec<u8>) {
		// Memory that is released meanwhile stays until the openings are complete.
		let memory = self.memory.lock().clone();
		match &memory {
			Some(memory) => self.open_over(draw, || Filled(memory.cells()), out),
			None => self.open_over(draw, || Computed::new(&self.base, self.size.pages), out),
		}
	}

	/// Does the same over other cells.
	#[doc(hidden)]
	pub fn open_over<C: Cells>(
		&self,
		draw: &Draw,
		cells: impl Fn() -> C + Sync,
		out: &mut Vec<u8>,
	) {
		let (lane, samples) = samples(draw, &self.size);
		out.extend_from_slice(self.runs[usize::from(lane)].digests().as_flattened());
		let words: Vec<Vec<u8>> = samples
			.into_par_iter()
			.map(|at| {
				let mut out = Vec::new();
				self.open_word(at, &mut cells(), &mut out);
				out
			})
			.collect();
		out.extend(words.into_iter().flatten());
	}

	fn open_word(&self, at: At, cells: &mut impl Cells, out: &mut Vec<u8>) {
		let run = &self.runs[usize::from(at.lane)];
		let (stage, seed) = (at.stage, *run.lane.seed());
		let Some((_, states)) = run.states(stage, cells) else {
			return;
		};
		let tree = |stage, states: &[State; LEGS]| {
			let key = stage_key(&seed, stage);
			Tree::over(&key, 0, stage_leaves(&key, states).to_vec())
		};
		out.extend_from_slice(run.last());
		out.extend_from_slice(&run.tree().root());
		out.extend_from_slice(self.tree.path(at.lane.into()).as_flattened());
		let open_stage = |stage: u32, out: &mut Vec<u8>| {
			out.extend_from_slice(run.running(stage));
			out.extend_from_slice(&run.digests()[stage as usize]);
			out.extend_from_slice(run.tree().path(stage as usize).as_flattened());
		};
		let open_state = |tree: &Tree, states: &[State; LEGS], leg: usize, out: &mut Vec<u8>| {
			out.extend_from_slice(&bytes_of(&states[leg]));
			out.extend_from_slice(tree.path(leg).as_flattened());
		};
		let here = tree(stage, &states);
		open_stage(stage, out);
		open_state(&here, &states, at.leg, out);
		if at.leg > 0 {
			open_state(&here, &states, at.leg - 1, out);
		} else if stage > 0
			&& let Some((_, before)) = run.states(stage - 1, cells)
		{
			open_stage(stage - 1, out);
			open_state(&tree(stage - 1, &before), &before, LEGS - 1, out);
		}
	}
}

/// Verifies the openings of a draw against the lanes' root.
pub fn verify(
	base: &Hash,
	start: &Hash,
	size: &Size,
	root: &Hash,
	draw: &Draw,
	shown: &mut Reader,
) -> Result<(), Reject> {
	size.check()?;
	let (lane, samples) = samples(draw, size);
	let whole = Whole::new(start, lane, shown.arrays(size.stages as usize)?);
	for at in samples {
		verify_word(base, start, size, root, &whole, at, shown)?;
	}
	Ok(())
}

/// The lane whose digests are all known.
struct Whole<'a> {
	lane: u16,
	digests: &'a [Digest],
	root: Hash,
}

impl<'a> Whole<'a> {
	fn new(start: &Hash, lane: u16, digests: &'a [Digest]) -> Self {
		let compress = Compress::new();
		let seed = Lane::seed_of(start, lane);
		let mut running = Running::new(&seed);
		let key = lane_key(&seed);
		let mut leaves = Vec::with_capacity(digests.len());
		for (number, digest) in digests.iter().enumerate() {
			leaves.push(key.leaf(compress, number as u64, &pair(running.state(), digest)));
			running.take(compress, digest);
		}
		Self {
			lane,
			digests,
			root: root_of(running.state(), &key.root_over(0, leaves)),
		}
	}
}

fn verify_word(
	base: &Hash,
	start: &Hash,
	size: &Size,
	root: &Hash,
	whole: &Whole,
	at: At,
	shown: &mut Reader,
) -> Result<(), Reject> {
	let compress = Compress::new();
	let misplaced = Reject::Place(Kind::Lanes);
	let lane = Lane::new(start, at.lane);
	let (last, tree) = (shown.array()?, shown.array()?);
	let lane_root = root_of(last, tree);
	if at.lane == whole.lane && lane_root != whole.root {
		return Err(Reject::Place(Kind::Lane));
	}
	let (place, count) = (u64::from(at.lane), u64::from(size.lanes));
	let key = lanes_key(start);
	let leaf = key.leaf(compress, place, &lane_root);
	let path = shown.arrays(path_length(place, count))?;
	if key.climb(compress, 0, place, count, leaf, path) != Some(*root) {
		return Err(misplaced);
	}
	// A stage: the running hash before it, and its digest.
	let open_stage = |stage: u32, shown: &mut Reader| -> Result<(Running, Digest), Reject> {
		let (running, digest) = (shown.array()?, shown.array()?);
		let (place, count) = (u64::from(stage), u64::from(size.stages));
		let key = lane_key(lane.seed());
		let leaf = key.leaf(compress, place, &pair(running, digest));
		let path = shown.arrays(path_length(place, count))?;
		if key.climb(compress, 0, place, count, leaf, path) != Some(*tree) {
			return Err(misplaced);
		}
		if at.lane == whole.lane && whole.digests[stage as usize] != *digest {
			return Err(Reject::Place(Kind::Lane));
		}
		Ok((Running::at(*running, place), *digest))
	};
	let open_state = |stage: u32, digest: &Digest, leg: usize, shown: &mut Reader| {
		let bytes = shown.array::<STATE>()?;
		let key = stage_key(lane.seed(), stage);
		let (place, count) = (leg as u64, LEGS as u64);
		let leaf = key.leaf(compress, place, bytes);
		let path = shown.arrays(path_length(place, count))?;
		let top = key.climb(compress, 0, place, count, leaf, path);
		if top.is_none_or(|top| digest_of(&top) != *digest) {
			return Err(misplaced);
		}
		Ok(lane::state_of(bytes))
	};
	let (running, digest) = open_stage(at.stage, shown)?;
	let after = open_state(at.stage, &digest, at.leg, shown)?;
	let before = if at.leg > 0 {
		open_state(at.stage, &digest, at.leg - 1, shown)?
	} else if at.stage > 0 {
		let (mut before, digest) = open_stage(at.stage - 1, shown)?;
		let state = open_state(at.stage - 1, &digest, LEGS - 1, shown)?;
		before.take(compress, &digest);
		if before != running {
			return Err(misplaced);
		}
		state
	} else {
		if running != Running::new(lane.seed()) {
			return Err(misplaced);
		}
		lane.first()
	};
	let keys = keys_of(compress, &running);
	let word = lane.word(
		&keys,
		&before,
		at.word,
		&mut Computed::new(base, size.pages),
	);
	if word != after[at.word] {
		return Err(Reject::Wrong(Kind::Lanes));
	}
	Ok(())
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::trial::{lane::Way, sample::tests::believes_nothing_else};

	const SIZE: Size = Size {
		lanes: 3,
		stages: 5,
		pages: 8,
	};
	const BASE: Hash = [1; 32];
	const START: Hash = [2; 32];

	fn filled(size: &Size) -> MappedMemory {
		let mut memory = MappedMemory::new(size.pages).unwrap();
		assert!(memory.fill(&BASE, || true));
		memory
	}

	fn proof() -> Proof {
		Proof::run(&BASE, &START, SIZE, filled(&SIZE), || true).unwrap()
	}

	fn draw(nonce: u8) -> Draw {
		Draw::new(&START, &[3; 32], &[4; 32], &[nonce; 32])
	}

	fn checked(size: &Size, root: &Hash, draw: &Draw, shown: &[u8]) -> Result<(), Reject> {
		let mut reader = Reader::new(shown);
		verify(&BASE, &START, size, root, draw, &mut reader)?;
		reader.end()
	}

	#[test]
	fn what_was_run_is_believed_with_or_without_its_memory() {
		let proof = proof();
		let root = proof.root();
		for nonce in 0..4 {
			let mut shown = Vec::new();
			proof.open(&draw(nonce), &mut shown);
			assert_eq!(checked(&SIZE, &root, &draw(nonce), &shown), Ok(()));
			proof.release();
			let mut again = Vec::new();
			proof.open(&draw(nonce), &mut again);
			assert_eq!(shown, again);
		}
	}

	/// Returns the share of draws that detect a prover whose lanes follow these rules.
	fn found(way: impl Fn(u16) -> Way) -> f64 {
		let memory = filled(&LONG);
		let run = |number| {
			let lane = Lane::new(&START, number);
			let cells = &mut Filled(memory.cells());
			Run::by(way(number), lane, LONG.stages, cells, || true).unwrap()
		};
		let runs = (0..LONG.lanes).map(run).collect();
		let proof = Proof::of_runs(&BASE, &START, LONG, runs, None);
		let root = proof.root();
		let draws = 0..40u8;
		let found = draws.clone().filter(|nonce| {
			let mut shown = Vec::new();
			// Each draw is new, including the shared part.
			let draw = Draw::new(&START, &root, &[*nonce; 32], &[*nonce; 32]);
			proof.open(&draw, &mut shown);
			let mut reader = Reader::new(&shown);
			verify(&BASE, &START, &LONG, &root, &draw, &mut reader).is_err()
		});
		found.count() as f64 / draws.len() as f64
	}

	const LONG: Size = Size {
		lanes: 4,
		stages: 40,
		pages: 2,
	};

	#[test]
	fn lanes_that_ignore_what_ran_before_are_found_out() {
		assert_eq!(found(|_| Way::HONEST), 0.0, "the test itself is sound");
		// Cut in two at a made-up state: the second half is computed concurrently with the first, without
		// the hash over it.
		let cut = Way {
			keys: |stage, running| match stage {
				0..20 => keys_of(Compress::new(), running),
				_ => [7; WORDS],
			},
			begins: |stage, state| if stage == 20 { [9; WORDS] } else { state },
		};
		assert_eq!(found(|_| cut), 1.0, "half of all words are wrong");
		// Only a part of one lane.
		let tenth = Way {
			keys: |stage, running| match stage {
				36.. => [7; WORDS],
				_ => keys_of(Compress::new(), running),
			},
			..Way::HONEST
		};
		let share = found(|lane| if lane == 0 { tenth } else { Way::HONEST });
		assert!(share > 0.6, "2.5 % of all words: {share}");
	}

	#[test]
	fn boundary_sizes_outside_their_limits_are_refused() {
		for size in [
			Size { lanes: 0, ..SIZE },
			Size {
				lanes: MAX_LANES + 1,
				..SIZE
			},
			Size { stages: 0, ..SIZE },
			Size {
				stages: u32::MAX,
				..SIZE
			},
			Size { pages: 0, ..SIZE },
			Size {
				pages: 1 << 55,
				..SIZE
			},
		] {
			assert_eq!(checked(&size, &[0; 32], &draw(1), &[]), Err(Reject::Size));
		}
	}

	#[test]
	fn other_sizes_draws_roots_or_bytes_are_not() {
		let proof = proof();
		let root = proof.root();
		let mut shown = Vec::new();
		proof.open(&draw(1), &mut shown);
		for size in [
			Size { lanes: 4, ..SIZE },
			Size { stages: 6, ..SIZE },
			Size { pages: 9, ..SIZE },
		] {
			assert!(checked(&size, &root, &draw(1), &shown).is_err(), "{size:?}");
		}
		assert!(checked(&SIZE, &root, &draw(2), &shown).is_err());
		assert!(checked(&SIZE, &[0; 32], &draw(1), &shown).is_err());
		assert_eq!(
			checked(&SIZE, &root, &draw(1), &shown[1..]),
			Err(Reject::Place(Kind::Lane))
		);
		believes_nothing_else(&shown, 97, |shown| checked(&SIZE, &root, &draw(1), shown));
	}
}
