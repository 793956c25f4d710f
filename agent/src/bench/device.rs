//! What runs the matrix chain and the walk over its memory: a GPU ([`crate::gpu`]) or, as the oracle
//! of every other implementation, the processor.

use crate::bench::{
	chain::{self, Chain, ChainOpening, Place, Position, Rows, Shape, Steps},
	hash::Hash,
	walk::{self, Done, LINE, Leg, LegOpening, State, Walk},
};
use std::{
	collections::BTreeSet,
	time::{Duration, Instant},
};

/// Most devices of one machine that are used.
pub const MAX_DEVICES: u8 = 16;

/// Why a device does not do what it should.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
	/// A benchmark runs on it; what is not timed waits.
	#[error("a benchmark runs on the device")]
	Busy,
	/// It has too little memory even for the matrices.
	#[error("too little memory on the device: {0}")]
	Memory(String),
	/// The driver failed, or the device is gone.
	#[error("the device failed: {0}")]
	Lost(String),
	/// It cannot compute a chain or a walk of this shape.
	#[error("the device cannot compute a chain of this shape")]
	Shape,
}

/// A kernel for the matrix product, and what it was found to do.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Rated {
	/// What it is, for people.
	pub kernel: String,
	/// 10⁹ operations a second, in a trial; a chain, with its trees, is somewhat slower. None if there was nothing to
	/// choose, and on software.
	pub gops: Option<f64>,
}

/// Something that computes chains.
pub trait Device: Send + Sync {
	/// Its name, for people. Never evidence.
	fn name(&self) -> String;

	/// Its name, and which one of that name it is: for messages about it.
	fn label(&self) -> String {
		self.name()
	}

	/// Its kernels for the matrix product, if it has several; the first is the one it uses.
	fn kernels(&self) -> Vec<Rated> {
		Vec::new()
	}

	/// What a plain copy within its memory does, in 10⁹ bytes a second, read and written ones: to set
	/// the walk beside.
	fn copy_gbps(&self) -> Result<f64, DeviceError>;

	/// Gets ready for a chain that keeps the last `window` of its `X_t`, or as many as there is room for: makes
	/// sure that the device works, and takes its memory. A device that fails here is left out of the benchmark.
	fn prepare(&self, shape: Shape, window: usize) -> Result<Box<dyn Ready>, DeviceError>;

	/// Gets ready and starts.
	fn start(&self, seed: Hash, shape: Shape, window: usize) -> Result<Box<dyn Run>, DeviceError> {
		self.prepare(shape, window)?.start(seed)
	}
}

/// A device that is ready for a chain. Its memory is its own until it is dropped.
pub trait Ready: Send {
	/// Computes the chain of `seed`. The clock runs.
	fn start(self: Box<Self>, seed: Hash) -> Result<Box<dyn Run>, DeviceError>;
}

/// A chain that a device computed, and what it keeps of it.
pub trait Run: Send + Sync {
	/// The tree over its steps.
	fn steps(&self) -> &Steps;

	/// How many of the last `X_t` it keeps.
	fn window(&self) -> usize;

	/// Walks over what it keeps, and returns the root of what the lanes kept. The clock runs.
	fn walk(&mut self, seed: Hash, walk: Walk) -> Result<Hash, DeviceError>;

	/// Opens positions of the chain and legs of the walk. Not timed.
	fn open(
		&self,
		positions: &[Position],
		legs: &[Leg],
	) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError>;

	/// How many steps were computed again for what was opened so far.
	fn recomputed(&self) -> u64 {
		0
	}

	/// Gives back what it keeps on the device. What is opened after that is computed again.
	fn release(&self) {}
}

/// What a run must be able to say for [`open_with`]: states of a stage, lines, and rows.
pub(crate) trait Source {
	/// The states after each leg of a stage.
	fn states(&mut self, stage: usize, lane: usize) -> Result<Vec<State>, DeviceError>;
	/// A line of the window.
	fn line(&mut self, line: usize) -> Result<[u8; LINE], DeviceError>;
	/// Rows of all steps, with their paths.
	fn rows(&mut self, wanted: &BTreeSet<Place>) -> Result<Rows, DeviceError>;
}

/// Opens positions and legs of a run.
pub(crate) fn open_with(
	source: &mut impl Source,
	steps: &Steps,
	done: Option<&Done>,
	positions: &[Position],
	legs: &[Leg],
) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError> {
	let mut wanted = chain::rows_of(positions);
	let traced = match done {
		Some(done) => {
			let states = legs
				.iter()
				.map(|leg| source.states(leg.stage, leg.lane))
				.collect::<Result<_, _>>()?;
			let traced = walk::trace(done, legs, states, |line| source.line(line))?;
			wanted.extend(traced.rows(done.walk()));
			Some((done, traced))
		}
		None => None,
	};
	let rows = source.rows(&wanted)?;
	let missing = || DeviceError::Lost("a row that was asked for is missing".into());
	let chain = steps.open(positions, &rows).ok_or_else(missing)?;
	let legs = match traced {
		Some((done, traced)) => walk::open(done, steps, legs, traced, &rows).ok_or_else(missing)?,
		None => Vec::new(),
	};
	Ok((chain, legs))
}

/// Bytes that are copied at a time, and how often.
pub(crate) const COPIED: usize = 64 << 20;
pub(crate) const COPIES: u32 = 32;

/// The rate of [`COPIES`] copies of so many bytes, each read and written.
pub(crate) fn copied_gbps(bytes: u64, took: Duration) -> f64 {
	(2 * bytes * u64::from(COPIES)) as f64 / took.as_secs_f64().max(1e-9) / 1e9
}

/// The processor and its memory as a device: the reference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processor;

struct ProcessorRun {
	chain: Chain,
	window: usize,
	done: Option<Done>,
}

impl Device for Processor {
	fn name(&self) -> String {
		"the processor".into()
	}

	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		let (from, mut to) = (vec![1u8; COPIED], vec![0u8; COPIED]);
		let start = Instant::now();
		for _ in 0..COPIES {
			to.copy_from_slice(std::hint::black_box(&from));
			std::hint::black_box(&mut to);
		}
		Ok(copied_gbps(COPIED as u64, start.elapsed()))
	}

	fn prepare(&self, shape: Shape, window: usize) -> Result<Box<dyn Ready>, DeviceError> {
		Ok(Box::new(ProcessorReady { shape, window }))
	}
}

struct ProcessorReady {
	shape: Shape,
	window: usize,
}

impl Ready for ProcessorReady {
	fn start(self: Box<Self>, seed: Hash) -> Result<Box<dyn Run>, DeviceError> {
		Ok(Box::new(ProcessorRun {
			chain: Chain::compute(seed, self.shape, usize::MAX),
			window: self.window.min(self.shape.steps),
			done: None,
		}))
	}
}

impl ProcessorRun {
	fn x(&self, t: usize) -> &[u8] {
		// With an unlimited budget all of them are kept.
		self.chain.kept(t).unwrap_or_default()
	}
}

impl Run for ProcessorRun {
	fn steps(&self) -> &Steps {
		self.chain.steps()
	}

	fn window(&self) -> usize {
		self.window
	}

	fn walk(&mut self, seed: Hash, walk: Walk) -> Result<Hash, DeviceError> {
		if !walk.is_possible() || walk.window > self.window {
			return Err(DeviceError::Shape);
		}
		let done = walk::compute(seed, walk, |t| self.x(t));
		let root = done.root();
		self.done = Some(done);
		Ok(root)
	}

	fn open(
		&self,
		positions: &[Position],
		legs: &[Leg],
	) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError> {
		struct Memory<'a>(&'a ProcessorRun);
		impl Source for Memory<'_> {
			fn states(&mut self, stage: usize, lane: usize) -> Result<Vec<State>, DeviceError> {
				let done = self.0.done.as_ref().ok_or(DeviceError::Shape)?;
				let before = done.before(stage, lane).state;
				Ok(walk::stage_states(done.walk(), before, |t| self.0.x(t)))
			}
			fn line(&mut self, line: usize) -> Result<[u8; LINE], DeviceError> {
				let done = self.0.done.as_ref().ok_or(DeviceError::Shape)?;
				Ok(walk::line_of(done.walk(), line, |t| self.0.x(t)))
			}
			fn rows(&mut self, wanted: &BTreeSet<Place>) -> Result<Rows, DeviceError> {
				Ok(self.0.chain.rows(wanted))
			}
		}
		let steps = self.chain.steps();
		open_with(
			&mut Memory(self),
			steps,
			self.done.as_ref(),
			positions,
			legs,
		)
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::bench::{
		chain::{Tops, positions, verify},
		proof::decode::{leg, list},
		walk::{READS, WalkError},
	};
	use codec::Encode;
	use proptest::prelude::*;
	use std::sync::OnceLock;

	const SHAPE: Shape = Shape { n: 1_024, steps: 3 };
	const WALK: Walk = Walk {
		shape: SHAPE,
		window: 2,
		lanes: 8,
		stages: 2,
		legs: 3,
	};

	struct Made {
		run: Box<dyn Run>,
		root: Hash,
		tops: Tops,
	}

	fn made() -> &'static Made {
		static MADE: OnceLock<Made> = OnceLock::new();
		MADE.get_or_init(|| {
			let mut run = Processor.start([1; 32], SHAPE, 2).unwrap();
			let root = run.walk([2; 32], WALK).unwrap();
			let tops = run.steps().tops();
			Made { run, root, tops }
		})
	}

	fn check(legs: &[Leg], openings: &[LegOpening]) -> Result<(), WalkError> {
		walk::verify(&[2; 32], &WALK, &made().tops, &made().root, legs, openings)
	}

	fn all_legs() -> Vec<Leg> {
		(0..WALK.lanes)
			.flat_map(|lane| {
				(0..WALK.stages)
					.flat_map(move |stage| (0..WALK.legs).map(move |leg| Leg { lane, stage, leg }))
			})
			.collect()
	}

	#[test]
	fn every_leg_opens_and_verifies() {
		let at = positions(&[3; 32], SHAPE, 16);
		let legs = all_legs();
		let (chain, walked) = made().run.open(&at, &legs).unwrap();
		let root = made().run.steps().root();
		assert_eq!(verify(&[1; 32], SHAPE, &root, &at, &chain), Ok(()));
		assert_eq!(check(&legs, &walked), Ok(()));
		assert_eq!(walked[0].lines.len(), READS);
	}

	#[test]
	fn a_leg_of_another_place_or_walk_is_refused() {
		let leg = |lane, stage, leg| Leg { lane, stage, leg };
		let legs = [leg(3, 1, 1)];
		let (_, walked) = made().run.open(&[], &legs).unwrap();
		for other in [leg(2, 1, 1), leg(3, 1, 2), leg(3, 0, 1), leg(3, 1, 0)] {
			assert!(check(&[other], &walked).is_err(), "{other:?}");
		}
		let made = made();
		let less = Walk { window: 1, ..WALK };
		let verify = |seed: &Hash, walk: &Walk, root: &Hash| {
			walk::verify(seed, walk, &made.tops, root, &legs, &walked)
		};
		assert_eq!(verify(&[2; 32], &WALK, &made.root), Ok(()));
		assert!(verify(&[2; 32], &less, &made.root).is_err(), "less memory");
		assert!(verify(&[2; 32], &WALK, &[9; 32]).is_err(), "another root");
		assert_eq!(
			verify(&[2; 32], &Walk { window: 9, ..WALK }, &made.root),
			Err(WalkError::Shape)
		);
		assert_eq!(
			verify(&[2; 32], &Walk { lanes: 0, ..WALK }, &made.root),
			Err(WalkError::Shape)
		);
		let first = [leg(3, 0, 0)];
		let (_, walked) = made.run.open(&[], &first).unwrap();
		assert_eq!(
			walk::verify(&[7; 32], &WALK, &made.tops, &made.root, &first, &walked),
			Err(WalkError::Digest),
			"another seed"
		);
	}

	#[test]
	fn memory_that_is_not_there_is_found_out() {
		// A worker that keeps only the newer half of the window and reads the older half as zeros:
		// each of its lanes comes to states of its own, and its openings show the chain's lines.
		struct Half(Box<dyn Run>);
		let chain = Chain::compute([1; 32], SHAPE, usize::MAX);
		let zeros = vec![0u8; SHAPE.n * SHAPE.n];
		let x = |t: usize| {
			if t == SHAPE.steps {
				chain.kept(t).unwrap()
			} else {
				&zeros[..]
			}
		};
		let done = walk::compute([2; 32], WALK, x);
		let half = Half(Processor.start([1; 32], SHAPE, 2).unwrap());
		let legs = all_legs();
		let states = legs
			.iter()
			.map(|leg| walk::stage_states(&WALK, done.before(leg.stage, leg.lane).state, x))
			.collect();
		let traced = walk::trace(&done, &legs, states, |line| {
			Ok::<_, DeviceError>(walk::line_of(&WALK, line, x))
		})
		.unwrap();
		let rows = chain.rows(&traced.rows(&WALK));
		let openings = walk::open(&done, half.0.steps(), &legs, traced, &rows).unwrap();
		let found = legs
			.iter()
			.zip(&openings)
			.filter(|(leg, opening)| {
				let opening = std::slice::from_ref(*opening);
				let verified = walk::verify(
					&[2; 32],
					&WALK,
					&made().tops,
					&done.root(),
					&[**leg],
					opening,
				);
				verified.is_err()
			})
			.count();
		assert_eq!(
			found,
			legs.len(),
			"32 reads, each with an even chance to be missed"
		);
	}

	#[test]
	fn skipped_legs_are_found_when_they_are_drawn() {
		// The second stage is made up, digest and all: the leg that does not lead on is found.
		let kept: Vec<walk::Kept> = (0..WALK.lanes * WALK.stages)
			.map(|index| {
				let (state, digest) = walk::first(&[8; 32], index);
				walk::Kept { state, digest }
			})
			.collect();
		let done = Done::new(WALK, [2; 32], kept);
		let chain = Chain::compute([1; 32], SHAPE, usize::MAX);
		let x = |t: usize| chain.kept(t).unwrap();
		let legs = [Leg {
			lane: 1,
			stage: 1,
			leg: 2,
		}];
		let states = vec![walk::stage_states(&WALK, done.before(1, 1).state, x)];
		let traced = walk::trace(&done, &legs, states, |line| {
			Ok::<_, DeviceError>(walk::line_of(&WALK, line, x))
		})
		.unwrap();
		let rows = chain.rows(&traced.rows(&WALK));
		let openings = walk::open(&done, chain.steps(), &legs, traced, &rows).unwrap();
		assert_eq!(
			walk::verify(
				&[2; 32],
				&WALK,
				&chain.steps().tops(),
				&done.root(),
				&legs,
				&openings
			),
			Err(WalkError::Digest)
		);
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

		#[test]
		fn one_flipped_bit_of_a_walk_is_rejected(bit in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
			let legs = [*at.get(&all_legs())];
			let (_, walked) = made().run.open(&[], &legs).unwrap();
			let mut bytes = walked.encode();
			let bit = bit.index(bytes.len() * 8);
			bytes[bit / 8] ^= 1 << (bit % 8);
			let accepted = list(&mut &bytes[..], legs.len(), |input| leg(input, WALK.legs))
				.is_ok_and(|other| check(&legs, &other).is_ok());
			prop_assert!(!accepted);
		}
	}
}
