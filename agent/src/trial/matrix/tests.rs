use super::*;
use crate::trial::{
	device::{Device, DeviceError, Place, Processor, Shown, Spans, Window},
	sample::{Reader, tests::believes_nothing_else},
};
use parking_lot::Mutex;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{
		Arc,
		atomic::{AtomicU32, Ordering},
	},
};

const BASE: Hash = [1; 32];
const START: Hash = [2; 32];
const SIZE: Size = Size {
	n: 64,
	window: 3,
	turns: 5,
};

fn draw(nonce: u8) -> Draw {
	Draw::new(&START, &[3; 32], &[4; 32], &[nonce; 32])
}

/// A window filled in plain code.
fn filled(number: u8, window: u32) -> Arc<dyn Window> {
	let seeds = Seeds::new(&BASE, &START, number);
	let window = Processor.fill(seeds.fill, SIZE.n, window, &|| true);
	Arc::from(window.unwrap())
}

fn run_size(windows: Vec<Arc<dyn Window>>, size: Size) -> Result<(Ran, Vec<Hash>), DeviceError> {
	let told = Mutex::new(BTreeMap::new());
	let tell = |mark, hash| {
		assert_eq!(told.lock().insert(mark, hash), None, "each mark once");
	};
	let ran = run_all(windows, &BASE, &START, size, &tell, &|| true)?;
	let told = told.into_inner();
	assert!(told.keys().copied().eq(0..size.marks()), "{told:?}");
	Ok((ran, told.into_values().collect()))
}

fn run(count: u8) -> Ran {
	let windows = (0..count).map(|number| filled(number, SIZE.window));
	run_size(windows.collect(), SIZE).unwrap().0
}

fn shown(ran: &Ran, draw: &Draw) -> Vec<u8> {
	let mut out = Vec::new();
	ran.open(draw, &mut out).unwrap();
	out
}

fn checked(size: &Size, roots: &[Hash], draw: &Draw, shown: &[u8]) -> Result<Vec<Hash>, Reject> {
	verify(&BASE, &START, size, roots, draw, Reader::new(shown))
}

#[test]
fn what_was_run_is_believed_and_its_marks_are_those_that_were_sent() {
	for count in [1, 2, 3] {
		// A device may hold more than it walks over.
		let windows = (0..count).map(|number| filled(number, SIZE.window + 1));
		let (ran, told) = run_size(windows.collect(), SIZE).unwrap();
		assert_eq!(ran.marks(), told);
		for nonce in 0..2 {
			let shown = shown(&ran, &draw(nonce));
			let marks = checked(&SIZE, ran.roots(), &draw(nonce), &shown);
			assert_eq!(marks, Ok(told.clone()));
		}
		ran.release();
		let again = shown(&ran, &draw(7));
		assert!(checked(&SIZE, ran.roots(), &draw(7), &again).is_ok());
	}
}

#[test]
fn the_gpus_of_a_worker_are_bound_to_each_other() {
	let alone = run(1);
	let both = run(2);
	assert!(!both.roots().contains(&alone.roots()[0]));
	assert_ne!(both.roots()[0], both.roots()[1]);
	// The first span is not bound: the first mark depends only on the number of GPUs, two.
	assert_ne!(alone.marks(), both.marks());
	// Neither of the two is accepted alone, nor both in another order.
	let shown = shown(&both, &draw(1));
	let [one, other] = both.roots() else {
		unreachable!()
	};
	assert!(checked(&SIZE, &[*one], &draw(1), &shown).is_err());
	let turned = [*other, *one];
	assert_eq!(checked(&SIZE, &turned, &draw(1), &shown), Err(Reject::Root));
}

#[test]
fn other_sizes_draws_roots_or_bytes_are_not() {
	let ran = run(1);
	let good = shown(&ran, &draw(1));
	for size in [
		Size { n: 128, ..SIZE },
		Size { window: 4, ..SIZE },
		Size { turns: 4, ..SIZE },
	] {
		assert!(
			checked(&size, ran.roots(), &draw(1), &good).is_err(),
			"{size:?}"
		);
	}
	assert!(checked(&SIZE, ran.roots(), &draw(2), &good).is_err());
	assert_eq!(
		checked(&SIZE, &[[0; 32]], &draw(1), &good),
		Err(Reject::Root)
	);
	believes_nothing_else(&good, 997, |shown| {
		checked(&SIZE, ran.roots(), &draw(1), shown).map(drop)
	});
}

/// A window that runs over one memory and opens another, or fails.
struct Odd {
	shown: Arc<dyn Window>,
	/// Memory of the run; its own if `None`.
	walked: Option<Arc<dyn Window>>,
	/// Spans after which it fails.
	fails: Option<(u32, fn() -> DeviceError)>,
	shows: AtomicU32,
}

impl Odd {
	fn new(number: u8) -> Self {
		Self {
			shown: filled(number, SIZE.window),
			walked: None,
			fails: None,
			shows: AtomicU32::new(0),
		}
	}
}

struct Failing<'a> {
	spans: &'a mut dyn Spans,
	left: u32,
}

impl Spans for Failing<'_> {
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running> {
		self.left = self.left.checked_sub(1)?;
		self.spans.bind(turn, running)
	}
}

impl Window for Odd {
	fn matrices(&self) -> u32 {
		self.shown.matrices()
	}

	fn roots(&self) -> &[Hash] {
		self.shown.roots()
	}

	fn run(
		&self,
		seed: Hash,
		size: Size,
		running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError> {
		let window = self.walked.as_ref().unwrap_or(&self.shown);
		let Some((left, error)) = self.fails else {
			return window.run(seed, size, running, spans);
		};
		let mut failing = Failing { spans, left };
		let result = window.run(seed, size, running, &mut failing);
		result.map_err(|canceled| {
			assert_eq!(canceled, DeviceError::Canceled);
			error()
		})
	}

	fn show(
		&self,
		seed: Hash,
		size: Size,
		hashes: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		self.shows.fetch_add(1, Ordering::Relaxed);
		let walked = self.walked.as_ref().unwrap_or(&self.shown);
		let (filled, steps): (BTreeSet<Place>, BTreeSet<Place>) = wanted
			.iter()
			.partition(|place| matches!(place.matrix, crate::trial::device::Matrix::Filled(_)));
		let mut shown = walked.show(seed, size, hashes, &steps)?;
		shown.extend(self.shown.show(seed, size, hashes, &filled)?);
		Ok(shown)
	}
}

#[test]
fn walks_over_another_window_are_found_out() {
	// It walks over another fill, and opens the true one.
	let other = Processor.fill([9; 32], SIZE.n, SIZE.window, &|| true);
	let lazy = Odd {
		walked: Some(Arc::from(other.unwrap())),
		..Odd::new(0)
	};
	let (ran, _) = run_size(vec![Arc::new(lazy)], SIZE).unwrap();
	let shown = shown(&ran, &draw(1));
	assert_eq!(
		checked(&SIZE, ran.roots(), &draw(1), &shown),
		Err(Reject::Wrong(Kind::Walk))
	);
	// The running hash begins with the fill.
	let seeds = Seeds::new(&BASE, &START, 0);
	let first = |window| {
		let roots = filled(0, window).roots().to_vec();
		first_hash(&seeds, &fill_tree(&seeds.fill, &roots).root())
	};
	assert_eq!(first(SIZE.window), first(SIZE.window));
	assert_ne!(first(SIZE.window), first(SIZE.window + 1));
}

#[test]
fn a_gpu_that_fails_in_a_span_ends_the_run_of_all() {
	let lost = || DeviceError::Lost("as a driver says".into());
	let panics: fn() -> DeviceError = || panic!("as a driver does");
	for after in [0, 2] {
		for (error, expected) in [
			(lost as fn() -> DeviceError, lost()),
			(panics, DeviceError::Lost("its thread panicked".into())),
		] {
			let failing = Odd {
				fails: Some((after, error)),
				..Odd::new(1)
			};
			let windows = vec![filled(0, SIZE.window), Arc::new(failing), filled(2, 3)];
			let told = AtomicU32::new(0);
			let tell = |_, _| {
				told.fetch_add(1, Ordering::Relaxed);
			};
			let result = run_all(windows, &BASE, &START, SIZE, &tell, &|| true);
			assert_eq!(result.err(), Some(expected));
			assert_eq!(told.into_inner(), after, "marks until then");
		}
	}
}

#[test]
fn a_run_that_is_not_wanted_ends_after_its_span() {
	for spans in [0, 3] {
		let told = AtomicU32::new(0);
		let tell = |_, _| {
			told.fetch_add(1, Ordering::Relaxed);
		};
		let wanted = || told.load(Ordering::Relaxed) < spans;
		let windows = vec![filled(0, SIZE.window), filled(1, SIZE.window)];
		let result = run_all(windows, &BASE, &START, SIZE, &tell, &wanted);
		assert_eq!(result.err(), Some(DeviceError::Canceled));
		assert_eq!(told.load(Ordering::Relaxed), spans);
	}
	let canceled = Processor.fill(BASE, SIZE.n, SIZE.window, &|| false);
	assert_eq!(canceled.err(), Some(DeviceError::Canceled));
}

#[test]
fn a_window_that_is_too_small_is_not_run() {
	let windows = || vec![filled(0, SIZE.window), filled(1, SIZE.window - 1)];
	let result = run_size(windows(), SIZE).map(drop);
	assert!(matches!(result, Err(DeviceError::Memory(_))));
	let small = Size {
		window: SIZE.window - 1,
		..SIZE
	};
	let (ran, told) = run_size(windows(), small).unwrap();
	let shown = shown(&ran, &draw(1));
	assert_eq!(checked(&small, ran.roots(), &draw(1), &shown), Ok(told));
	for size in [Size { turns: 0, ..SIZE }, Size { n: 96, ..SIZE }] {
		assert_eq!(run_size(windows(), size).map(drop), Err(DeviceError::Shape));
	}
	assert_eq!(
		run_size(Vec::new(), SIZE).map(drop),
		Err(DeviceError::Shape)
	);
}

#[test]
fn a_window_is_asked_for_lines_once_and_then_for_each_read() {
	let odd = Arc::new(Odd::new(0));
	let (ran, _) = run_size(vec![odd.clone()], SIZE).unwrap();
	shown(&ran, &draw(1));
	assert!(odd.shows.load(Ordering::Relaxed) <= 1 + READS as u32);
}

#[test]
fn a_changed_byte_of_a_product_sends_its_lanes_elsewhere() {
	let running = first_hash(&Seeds::new(&BASE, &START, 0), &[5; 32]);
	let lanes = |root: u8| step_kappa(&running, &[root; 32], 1);
	assert_ne!(lanes(1), lanes(2));
	assert_ne!(lanes(1), step_kappa(&running, &[1; 32], 3));
}

#[test]
fn as_many_samples_lie_in_what_stays_as_in_all_of_the_fill() {
	let size = Size {
		window: 1_000,
		..SIZE
	};
	let fills = Samples::new(&draw(1), 0, &size).fills;
	let kept = fills.iter().filter(|byte| byte.product % KEPT == KEPT - 1);
	assert!(kept.count() >= FILLS as usize);
	assert!(fills.iter().all(|byte| byte.product + 1 < size.filled()));
}

#[test]
fn boundary_sizes_outside_their_limits_are_refused() {
	for size in [
		Size { n: 0, ..SIZE },
		Size { n: 96, ..SIZE },
		Size { n: 32_768, ..SIZE },
		Size { window: 1, ..SIZE },
		Size {
			window: (1 << 20) + 1,
			..SIZE
		},
		Size {
			n: 4_096,
			window: 1 << 18,
			..SIZE
		},
		Size { turns: 0, ..SIZE },
	] {
		assert_eq!(
			checked(&size, &[[0; 32]], &draw(1), &[]),
			Err(Reject::Size),
			"{size:?}"
		);
	}
	for count in [0, 17, 256] {
		let many = vec![[0; 32]; count];
		assert_eq!(checked(&SIZE, &many, &draw(1), &[]), Err(Reject::Size));
	}
}

#[test]
fn spans_are_equal_and_the_last_has_the_rest() {
	let begins = |turns| {
		let size = Size { turns, ..SIZE };
		(0..turns)
			.filter(|turn| size.span_begins(*turn))
			.collect::<Vec<_>>()
	};
	assert!(begins(1).is_empty());
	assert_eq!(begins(3), [1, 2]);
	assert_eq!(begins(64).len(), 63);
	let many = begins(200);
	assert_eq!(many.len(), 63);
	assert_eq!((many[0], many[62]), (3, 189));
}

#[test]
fn marks_follow_spans_and_the_last_is_the_end() {
	for turns in (1..300).chain([1_000, 7_644, 1 << 20]) {
		let size = Size { turns, ..SIZE };
		let marks = size.marks();
		assert!((1..=MARKS).contains(&marks), "{turns}: {marks}");
		let ends: Vec<u32> = (0..marks).map(|mark| size.mark_turns(mark)).collect();
		assert!(ends.is_sorted_by(|a, b| a < b), "{turns}: {ends:?}");
		assert_eq!(ends.last(), Some(&turns));
		for (mark, end) in (0..).zip(&ends) {
			assert_eq!(size.mark_at(*end), Some(mark), "{turns}");
			assert!(*end == turns || size.span_begins(*end), "{turns}: {end}");
		}
		let due = (1..turns.min(2_000))
			.filter(|turn| size.span_begins(*turn) && size.mark_at(*turn).is_some());
		if turns <= 2_000 {
			assert_eq!(due.count() + 1, ends.len(), "{turns}");
		}
	}
	let ends = |turns| {
		let size = Size { turns, ..SIZE };
		(size.marks(), size.mark_turns(0), size.mark_turns(1))
	};
	// Every second of 17 spans; every fourth of 64.
	assert_eq!(ends(17), (9, 2, 4));
	assert_eq!(ends(640), (16, 40, 80));
}
