//! The worker's side: runs all its GPUs together, and opens their work.

use super::{
	READS, STEPS, Samples, Seeds, Size, bind, fill_tree, first_hash, line_at, line_of,
	lines_of_row, mark_of, place_in_window, read, root_of, step_kappa, step_of, turn_root,
	turn_tree, words_of,
};
use crate::trial::{
	device::{DeviceError, Matrix, Place, Shown, Spans, Window},
	hash::{Compress, Hash, Running},
	sample::Draw,
	tree::Tree,
};
use parking_lot::{Condvar, Mutex};
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
};

/// The running hashes of a worker's GPUs, derived from the roots of their turns.
pub(super) struct Hashes {
	/// Before each turn, by GPU.
	pub before: Vec<Vec<Running>>,
	/// After the last turn.
	pub last: Vec<Running>,
	pub marks: Vec<Hash>,
}

/// Derives the running hashes of GPUs with these seeds, fill roots and roots of turns.
pub(super) fn run_over(size: &Size, gpus: &[(&Seeds, &Hash, &[Hash])]) -> Hashes {
	let mut running: Vec<Running> = gpus
		.iter()
		.map(|(seeds, fill, _)| first_hash(seeds, fill))
		.collect();
	let mut before: Vec<Vec<Running>> = gpus.iter().map(|_| Vec::new()).collect();
	let mut marks = Vec::new();
	for turn in 0..size.turns {
		if size.span_begins(turn) {
			marks.extend(size.mark_at(turn).map(|mark| mark_of(mark, &running)));
			bind(&mut running);
		}
		for ((running, before), (_, _, turns)) in running.iter_mut().zip(&mut before).zip(gpus) {
			before.push(*running);
			running.take(Compress::new(), &turns[turn as usize]);
		}
	}
	marks.extend(size.mark_at(size.turns).map(|mark| mark_of(mark, &running)));
	Hashes {
		before,
		last: running,
		marks,
	}
}

/// The place where the GPUs of a worker meet after each span.
struct Meeting<'a> {
	size: Size,
	count: usize,
	state: Mutex<Met>,
	turned: Condvar,
	tell: &'a (dyn Fn(u8, Hash) + Sync),
	wanted: &'a (dyn Fn() -> bool + Sync),
}

struct Met {
	/// The running hashes of the GPUs that have come.
	come: BTreeMap<u8, Running>,
	/// The hashes of all, bound, since the last meeting.
	bound: Vec<Running>,
	/// Meetings so far.
	meetings: u32,
	/// A GPU failed, or the work is no longer wanted: no GPU waits any longer.
	over: bool,
}

impl Meeting<'_> {
	/// Waits for all other GPUs after `turns` turns, and returns the GPU's hash bound to theirs. `None` once
	/// the run is over.
	fn meet(&self, number: u8, turns: u32, running: Running) -> Option<Running> {
		let mut met = self.state.lock();
		met.over |= !(self.wanted)();
		if met.over {
			self.turned.notify_all();
			return None;
		}
		met.come.insert(number, running);
		if met.come.len() == self.count {
			let mut all: Vec<Running> = std::mem::take(&mut met.come).into_values().collect();
			if let Some(mark) = self.size.mark_at(turns) {
				(self.tell)(mark, mark_of(mark, &all));
			}
			bind(&mut all);
			met.bound = all;
			met.meetings += 1;
			self.turned.notify_all();
		} else {
			let now = met.meetings;
			self.turned
				.wait_while(&mut met, |met| met.meetings == now && !met.over);
			if met.meetings == now {
				return None;
			}
		}
		met.bound.get(usize::from(number)).copied()
	}

	/// Ends the run for all.
	fn end(&self) {
		self.state.lock().over = true;
		self.turned.notify_all();
	}
}

/// One GPU at the meeting. If it leaves early, even by a panic, the run is over for all.
struct Seat<'a> {
	meeting: &'a Meeting<'a>,
	number: u8,
	/// The turn before which it was last bound, and the hash.
	since: (u32, Running),
	done: bool,
}

impl Spans for Seat<'_> {
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running> {
		let bound = self.meeting.meet(self.number, turn, running)?;
		self.since = (turn, bound);
		Some(bound)
	}
}

impl Drop for Seat<'_> {
	fn drop(&mut self) {
		if !self.done {
			self.meeting.end();
		}
	}
}

/// A GPU of a worker after its run.
struct Gpu {
	window: Arc<dyn Window>,
	seeds: Seeds,
	/// The tree over the matrices of its fill, and their roots.
	fill: Tree,
	filled: Vec<Hash>,
	/// The roots of its steps, and of its turns.
	steps: Vec<Hash>,
	turns: Vec<Hash>,
	/// The running hash before each turn.
	hashes: Vec<Running>,
}

/// A worker's GPUs after their run.
pub struct Ran {
	size: Size,
	gpus: Vec<Gpu>,
	roots: Vec<Hash>,
	marks: Vec<Hash>,
}

/// Runs all GPUs of a worker together, from the trial's start, and calls `tell` with the number and the hash
/// of each mark as soon as it is known; all GPUs wait for it. If one fails, all end with its error; they end
/// with [`DeviceError::Canceled`] after the span in which `wanted` turns false.
pub fn run_all(
	windows: Vec<Arc<dyn Window>>,
	base: &Hash,
	start: &Hash,
	size: Size,
	tell: &(dyn Fn(u8, Hash) + Sync),
	wanted: &(dyn Fn() -> bool + Sync),
) -> Result<Ran, DeviceError> {
	if size.check().is_err() || windows.is_empty() || windows.len() > Size::MAX_GPUS {
		return Err(DeviceError::Shape);
	}
	let filled = size.filled() as usize;
	let mut gpus = Vec::new();
	for (number, window) in (0..).zip(windows) {
		let roots = window.roots().get(..filled);
		let Some(roots) = roots.filter(|_| window.matrices() >= size.window) else {
			return Err(DeviceError::Memory(format!(
				"{} matrices are in its window, of {}",
				window.matrices(),
				size.window
			)));
		};
		let seeds = Seeds::new(base, start, number);
		gpus.push(Gpu {
			fill: fill_tree(&seeds.fill, roots),
			filled: roots.to_vec(),
			seeds,
			window,
			steps: Vec::new(),
			turns: Vec::new(),
			hashes: Vec::new(),
		});
	}
	let meeting = Meeting {
		size,
		count: gpus.len(),
		state: Mutex::new(Met {
			come: BTreeMap::new(),
			bound: Vec::new(),
			meetings: 0,
			over: false,
		}),
		turned: Condvar::new(),
		tell,
		wanted,
	};
	let results: Vec<Result<(), DeviceError>> = std::thread::scope(|scope| {
		let meeting = &meeting;
		let threads: Vec<_> = (0..)
			.zip(&mut gpus)
			.map(|(number, gpu)| scope.spawn(move || gpu.run(number, meeting)))
			.collect();
		let lost = || Err(DeviceError::Lost("its thread panicked".into()));
		threads
			.into_iter()
			.map(|thread| thread.join().unwrap_or_else(|_| lost()))
			.collect()
	});
	// The other GPUs were canceled only because of it.
	let mut errors: Vec<DeviceError> = results.into_iter().filter_map(Result::err).collect();
	errors.sort_by_key(|error| *error == DeviceError::Canceled);
	if let Some(error) = errors.into_iter().next() {
		return Err(error);
	}
	let fills: Vec<Hash> = gpus.iter().map(|gpu| gpu.fill.root()).collect();
	let heads: Vec<_> = gpus
		.iter()
		.zip(&fills)
		.map(|(gpu, fill)| (&gpu.seeds, fill, &gpu.turns[..]))
		.collect();
	let Hashes {
		before,
		last,
		marks,
	} = run_over(&size, &heads);
	let roots = last
		.iter()
		.zip(&fills)
		.map(|(last, fill)| root_of(last.state(), fill))
		.collect();
	for (gpu, before) in gpus.iter_mut().zip(before) {
		gpu.hashes = before;
	}
	Ok(Ran {
		size,
		gpus,
		roots,
		marks,
	})
}

impl Gpu {
	fn run(&mut self, number: u8, meeting: &Meeting) -> Result<(), DeviceError> {
		let size = meeting.size;
		let first = first_hash(&self.seeds, &self.fill.root());
		let mut seat = Seat {
			meeting,
			number,
			since: (0, first),
			done: false,
		};
		let steps = self.window.run(self.seeds.trial, size, first, &mut seat)?;
		let of_turns = steps.chunks_exact(STEPS as usize);
		if of_turns.len() != size.turns as usize || steps.len() % STEPS as usize != 0 {
			return Err(DeviceError::Lost("it returned too few roots".into()));
		}
		self.turns = (0..)
			.zip(of_turns)
			.map(|(turn, roots)| turn_root(&self.seeds.trial, turn, roots))
			.collect();
		self.steps = steps;
		let (turn, mut running) = seat.since;
		for root in &self.turns[turn as usize..] {
			running.take(Compress::new(), root);
		}
		let last = meeting.meet(number, size.turns, running);
		last.ok_or(DeviceError::Canceled)?;
		seat.done = true;
		Ok(())
	}
}

/// Requested and received lines of one GPU.
struct Lines<'a> {
	gpu: &'a Gpu,
	size: &'a Size,
	wanted: BTreeSet<Place>,
	shown: BTreeMap<Place, Shown>,
}

impl Lines<'_> {
	fn want(&mut self, matrix: Matrix, first: u64, count: usize) {
		let lines = (first as u32..).take(count);
		self.wanted.extend(lines.map(|line| Place { matrix, line }));
	}

	/// Gets the wanted lines that are missing.
	fn get(&mut self) -> Result<(), DeviceError> {
		let wanted = std::mem::take(&mut self.wanted);
		let missing: BTreeSet<Place> = wanted
			.into_iter()
			.filter(|place| !self.shown.contains_key(place))
			.collect();
		if !missing.is_empty() {
			let gpu = self.gpu;
			let shown = gpu
				.window
				.show(gpu.seeds.trial, *self.size, &gpu.hashes, &missing)?;
			self.shown.extend(shown);
		}
		Ok(())
	}

	fn line(&self, matrix: Matrix, line: u32) -> Result<&Shown, DeviceError> {
		self.shown
			.get(&Place { matrix, line })
			.ok_or_else(|| DeviceError::Lost("it does not show a line".into()))
	}

	/// Appends a matrix's root with its path, and lines of it with theirs.
	fn write(
		&self,
		matrix: Matrix,
		first: u64,
		count: usize,
		out: &mut Vec<u8>,
	) -> Result<(), DeviceError> {
		let gpu = self.gpu;
		match matrix {
			Matrix::Filled(t) => {
				out.extend_from_slice(&gpu.filled[t as usize]);
				out.extend_from_slice(gpu.fill.path(t as usize).as_flattened());
			}
			Matrix::Step(step) => {
				let turn = step / STEPS;
				let of_turn = &gpu.steps[(turn * STEPS) as usize..][..STEPS as usize];
				let tree = turn_tree(&gpu.seeds.trial, turn, of_turn);
				out.extend_from_slice(&gpu.steps[step as usize]);
				out.extend_from_slice(tree.path((step % STEPS) as usize).as_flattened());
			}
		}
		for line in (first as u32..).take(count) {
			let shown = self.line(matrix, line)?;
			out.extend_from_slice(&shown.line);
			out.extend_from_slice(shown.path.as_flattened());
		}
		Ok(())
	}
}

impl Ran {
	/// The root of each GPU.
	pub fn roots(&self) -> &[Hash] {
		&self.roots
	}

	/// The marks.
	pub fn marks(&self) -> &[Hash] {
		&self.marks
	}

	/// Appends the openings of a draw of all GPUs. The work is repeated for it.
	pub fn open(&self, draw: &Draw, out: &mut Vec<u8>) -> Result<(), DeviceError> {
		for gpu in &self.gpus {
			out.extend_from_slice(&gpu.fill.root());
			out.extend_from_slice(gpu.turns.as_flattened());
		}
		let opened: Vec<Result<Vec<u8>, DeviceError>> = std::thread::scope(|scope| {
			let threads: Vec<_> = (0..)
				.zip(&self.gpus)
				.map(|(number, gpu)| {
					scope.spawn(move || {
						gpu.open(&Samples::new(draw, number, &self.size), &self.size)
					})
				})
				.collect();
			let lost = || Err(DeviceError::Lost("its thread panicked".into()));
			threads
				.into_iter()
				.map(|thread| thread.join().unwrap_or_else(|_| lost()))
				.collect()
		});
		for opened in opened {
			out.extend(opened?);
		}
		Ok(())
	}

	/// Releases the memory on the GPUs. Later openings fill it again.
	pub fn release(&self) {
		for gpu in &self.gpus {
			gpu.window.release();
		}
	}
}

impl Gpu {
	/// Returns the openings of these samples.
	fn open(&self, samples: &Samples, size: &Size) -> Result<Vec<u8>, DeviceError> {
		let n = size.n;
		let mut lines = Lines {
			gpu: self,
			size,
			wanted: BTreeSet::new(),
			shown: BTreeMap::new(),
		};
		// Matrices, and lines of them, in the order in which they are shown.
		let mut parts: Vec<(Matrix, u64, usize)> = Vec::new();
		for byte in &samples.fills {
			let (first, count) = lines_of_row(byte.j, n);
			parts.push((Matrix::Filled(byte.product), first, count));
			parts.push((Matrix::Filled(byte.product + 1), line_at(byte, n), 1));
		}
		for byte in &samples.products {
			let (first, count) = lines_of_row(byte.j, n);
			let step = step_of(byte.product, false);
			if let Some(before) = step.checked_sub(1) {
				parts.push((Matrix::Step(before), first, count));
			}
			parts.push((Matrix::Step(step), line_at(byte, n), 1));
		}
		for (matrix, first, count) in &parts {
			lines.want(*matrix, *first, *count);
		}
		for (walk, lane) in &samples.walks {
			let step = step_of(*walk, true);
			lines.want(Matrix::Step(step - 1), *lane, 1);
			lines.want(Matrix::Step(step), *lane, 1);
		}
		lines.get()?;
		// All lanes read at the same time: their next reads depend on the earlier ones.
		let mut lanes = Vec::new();
		for (walk, lane) in &samples.walks {
			let step = step_of(*walk, true);
			let running = &self.hashes[(step / STEPS) as usize];
			let kappa = step_kappa(running, &self.steps[step as usize - 1], step);
			let state = lines.line(Matrix::Step(step - 1), *lane as u32)?;
			lanes.push((kappa, words_of(&state.line), Vec::new()));
		}
		for _ in 0..READS {
			for (kappa, state, reads) in &mut lanes {
				let (t, line) = place_in_window(line_of(state, size.window_lines(), *kappa), size);
				reads.push((Matrix::Filled(t), line));
				lines.want(Matrix::Filled(t), line.into(), 1);
			}
			lines.get()?;
			for (_, state, reads) in &mut lanes {
				if let Some((matrix, line)) = reads.last() {
					*state = read(state, &lines.line(*matrix, *line)?.line);
				}
			}
		}
		let mut out = Vec::new();
		for (matrix, first, count) in parts {
			lines.write(matrix, first, count, &mut out)?;
		}
		for ((walk, lane), (_, _, reads)) in samples.walks.iter().zip(lanes) {
			let step = step_of(*walk, true);
			lines.write(Matrix::Step(step - 1), *lane, 1, &mut out)?;
			lines.write(Matrix::Step(step), *lane, 1, &mut out)?;
			for (matrix, line) in reads {
				lines.write(matrix, line.into(), 1, &mut out)?;
			}
		}
		Ok(out)
	}
}
