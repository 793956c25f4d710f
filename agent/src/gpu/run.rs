//! A window on a GPU, its run and its openings.

mod measure;

use super::{
	Opener, Shared, Source, Timed,
	backend::{Backend, ROOTS, lost},
	desk::{Desk, Run, Ticket},
};
use crate::trial::{
	device::{DeviceError, Matrix, Place, Shown, Spans, Window},
	hash::{Compress, Hash, Running},
	matrix::{KEPT, STEPS, Size, filled_of, turn_root},
};
use parking_lot::Mutex;
use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{
		Arc,
		atomic::{AtomicU64, Ordering},
	},
};

/// Steps to repeat between two checks of the queue of requests.
const LOOK: u32 = 128;

static IDS: AtomicU64 = AtomicU64::new(0);

/// The contents of a trial's two matrices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
	/// Nothing usable.
	Nowhere,
	/// The result of `done` steps of a run, whose walks cover `size.window` matrices.
	Steps { seed: Hash, size: Size, done: u32 },
}

/// The memory of one window on a GPU.
pub(super) struct Held<B: Backend> {
	memory: B::Memory,
	/// The contents of the trial's matrices, and the index of the one that holds the result. Used by the
	/// thread that has the device.
	at: Mutex<(At, usize)>,
}

impl<B: Backend> Held<B> {
	fn new(memory: B::Memory) -> Arc<Self> {
		Arc::new(Self {
			memory,
			at: Mutex::new((At::Nowhere, 0)),
		})
	}
}

/// A device and the memory of a window on it, both used by one thread at a time.
struct On<'a, B: Backend> {
	shared: &'a Shared<B>,
	memory: &'a B::Memory,
}

/// A filled window on a GPU.
pub(super) struct GpuWindow<S: Source> {
	/// Unique among the windows of all devices.
	id: u64,
	opener: Arc<Opener<S>>,
	/// The device that was filled and that runs. Openings may have to reopen it.
	shared: Arc<Shared<S::Backend>>,
	seed: Hash,
	n: u32,
	matrices: u32,
	roots: Vec<Hash>,
	/// Requests for lines that are not kept.
	desk: Desk,
	/// Number of steps repeated for openings.
	repeated: AtomicU64,
	/// Reserves the device for this window, from the fill to the end of the run.
	timed: Mutex<Option<Timed<S::Backend>>>,
}

impl<S: Source> GpuWindow<S> {
	/// Allocates the memory and fills it.
	pub fn fill(
		opener: Arc<Opener<S>>,
		shared: Arc<Shared<S::Backend>>,
		seed: Hash,
		(n, window): (u32, u32),
		wanted: &(dyn Fn() -> bool + Sync),
	) -> Result<Self, DeviceError> {
		let size = Size {
			n,
			window,
			turns: 1,
		};
		if n < S::Backend::LEAST_ROWS || size.check().is_err() {
			return Err(DeviceError::Shape);
		}
		let go_on = || {
			if wanted() {
				Ok(())
			} else {
				Err(DeviceError::Canceled)
			}
		};
		let timed = Timed::begin(&shared);
		let work = shared.work.lock();
		// Frees the previous window first.
		*shared.kept.lock() = None;
		let gpu = &shared.backend;
		gpu.wait()?;
		let memory = gpu.take(n, window)?;
		let roots = gpu.fill(&memory, &seed, true, &go_on)?;
		let matrices = S::Backend::matrices(&memory);
		let id = IDS.fetch_add(1, Ordering::Relaxed);
		*shared.kept.lock() = Some((id, Held::new(memory)));
		drop(work);
		Ok(Self {
			id,
			opener,
			shared,
			seed,
			n,
			matrices,
			roots,
			desk: Desk::default(),
			repeated: AtomicU64::new(0),
			timed: Mutex::new(Some(timed)),
		})
	}

	/// Returns its memory on a device, if still allocated.
	fn kept(&self, shared: &Shared<S::Backend>) -> Option<Arc<Held<S::Backend>>> {
		let kept = shared.kept.lock();
		let own = kept.as_ref().filter(|(id, _)| *id == self.id);
		own.map(|(_, held)| held.clone())
	}

	/// Returns its memory, refilled if another window replaced it, it was released, or the device was lost.
	fn held(&self, shared: &Shared<S::Backend>) -> Result<Arc<Held<S::Backend>>, DeviceError> {
		if let Some(held) = self.kept(shared) {
			return Ok(held);
		}
		*shared.kept.lock() = None;
		let gpu = &shared.backend;
		gpu.wait()?;
		let memory = gpu.take(self.n, self.matrices)?;
		if S::Backend::matrices(&memory) < self.matrices {
			return Err(DeviceError::Memory(
				"less is free than when the window was first filled; another program may hold some"
					.into(),
			));
		}
		gpu.fill(&memory, &self.seed, false, &|| shared.give_way())?;
		let held = Held::new(memory);
		*shared.kept.lock() = Some((self.id, held.clone()));
		Ok(held)
	}

	/// Runs all turns.
	fn turns(
		&self,
		seed: &Hash,
		size: &Size,
		mut running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError> {
		let shared = &*self.shared;
		let _work = shared.work.lock();
		let held = self.kept(shared);
		let held = held.ok_or_else(|| lost("the window is no longer in its memory"))?;
		let (gpu, memory) = (&shared.backend, &held.memory);
		let mut at = held.at.lock();
		*at = (At::Nowhere, 0);
		gpu.begin(memory, seed)?;
		let mut roots: Vec<Hash> = Vec::new();
		let (mut x, mut turn) = (0, 0);
		while turn < size.turns {
			if size.span_begins(turn) {
				running = spans.bind(turn, running).ok_or(DeviceError::Canceled)?;
			}
			gpu.set_running(memory, &running)?;
			// The turns of the span whose roots can be read back together.
			let most = (turn + ROOTS / STEPS).min(size.turns);
			let end = (turn + 1..most).find(|turn| size.span_begins(*turn));
			let end = end.unwrap_or(most);
			x = gpu.steps(memory, seed, size, STEPS * turn..STEPS * end, x)?;
			let places = read_back(STEPS * turn..STEPS * end);
			for places in places {
				roots.extend(gpu.roots(memory, places)?);
			}
			for turn in turn..end {
				let of_turn = &roots[(STEPS * turn) as usize..][..STEPS as usize];
				running.take(Compress::new(), &turn_root(seed, turn, of_turn));
			}
			if gpu.running(memory)? != *running.state() {
				return Err(lost(
					"its running hash does not follow from its roots: it computes wrongly; test it with \
					 `kaisar-agent kernels`",
				));
			}
			turn = end;
		}
		let done = STEPS * size.turns;
		*at = (
			At::Steps {
				seed: *seed,
				size: *size,
				done,
			},
			x,
		);
		Ok(roots)
	}

	/// Computes the requested lines on a device, and serves all other requests meanwhile.
	fn show_on(
		&self,
		shared: &Shared<S::Backend>,
		run: &Run,
		hashes: &[Running],
		ticket: &Ticket<'_>,
	) -> Result<(), DeviceError> {
		while let Some(_going) = ticket.wait() {
			let _work = shared.idle()?;
			let held = self.held(shared)?;
			let on = On {
				shared,
				memory: &held.memory,
			};
			let mut at = held.at.lock();
			// The contents are valid again only once the number of finished steps is known.
			let (from, x) = std::mem::replace(&mut *at, (At::Nowhere, 0));
			let mut from = match from {
				At::Steps { seed, size, done } if (seed, size) == *run => Some((done, x)),
				_ => None,
			};
			while !ticket.is_served() {
				self.show_fill(&on, run)?;
				if ticket.is_served() {
					break;
				}
				from = Some(self.show_steps(&on, run, hashes, from)?);
			}
			*at = match from {
				Some((done, x)) => {
					let (seed, size) = *run;
					(At::Steps { seed, size, done }, x)
				}
				None => (At::Nowhere, 0),
			};
		}
		Ok(())
	}

	/// Serves the requested lines of the fill.
	fn show_fill(&self, on: &On<'_, S::Backend>, run: &Run) -> Result<(), DeviceError> {
		let (mut next, mut before) = (0, None);
		while let Some(matrix @ Matrix::Filled(t)) = self.desk.first(run, Matrix::Filled(next)..) {
			on.shared.give_way()?;
			let mut x = 0;
			if !t.is_multiple_of(KEPT) {
				x = on.shared.backend.filled(on.memory, before, t)?;
				before = Some((t, x));
			}
			self.serve(on, run, matrix, x)?;
			next = t + 1;
		}
		Ok(())
	}

	fn serve(
		&self,
		on: &On<'_, S::Backend>,
		run: &Run,
		matrix: Matrix,
		x: usize,
	) -> Result<(), DeviceError> {
		let lines = self.desk.wanted(run, matrix);
		let seed = match matrix {
			Matrix::Filled(_) => &self.seed,
			Matrix::Step(_) => &run.0,
		};
		let gpu = &on.shared.backend;
		let shown = gpu.show(on.memory, seed, matrix, x, &lines)?;
		self.desk.serve(run, matrix, &shown);
		Ok(())
	}

	/// Repeats the steps, from the present state or from the beginning, up to the next step with requested
	/// lines, and serves those. Returns the number of finished steps and the place of the result.
	fn show_steps(
		&self,
		on: &On<'_, S::Backend>,
		run: &Run,
		hashes: &[Running],
		from: Option<(u32, usize)>,
	) -> Result<(u32, usize), DeviceError> {
		let (seed, size) = run;
		let (gpu, memory) = (&on.shared.backend, on.memory);
		let after = |done: u32| match self.desk.first(run, Matrix::Step(done)..) {
			Some(Matrix::Step(step)) => Some(step),
			_ => None,
		};
		let (mut done, mut x, wanted) = match from {
			Some((done, x)) if let Some(wanted) = after(done) => (done, x, wanted),
			_ => {
				gpu.begin(memory, seed)?;
				let first = after(0).ok_or_else(|| lost("no step's line is requested: a bug"))?;
				(0, 0, first)
			}
		};
		while done <= wanted {
			on.shared.give_way()?;
			let turn = done / STEPS;
			if done.is_multiple_of(STEPS) {
				let running = hashes.get(turn as usize);
				gpu.set_running(memory, running.ok_or(DeviceError::Shape)?)?;
			}
			// The running hash changes before each span, so none crosses a span's beginning.
			let most = (done + LOOK).min(wanted + 1);
			let spans = (turn + 1..).take_while(|turn| STEPS * turn < most);
			let end = spans
				.filter(|turn| size.span_begins(*turn))
				.map(|turn| STEPS * turn)
				.next()
				.unwrap_or(most);
			x = gpu.steps(memory, seed, size, done..end, x)?;
			self.repeated
				.fetch_add((end - done).into(), Ordering::Relaxed);
			done = end;
			if done <= wanted {
				gpu.wait()?;
				self.show_fill(on, run)?;
			}
		}
		self.serve(on, run, Matrix::Step(wanted), x)?;
		Ok((done, x))
	}

	/// Returns the number of steps repeated for openings.
	#[cfg(test)]
	pub fn repeated(&self) -> u64 {
		self.repeated.load(Ordering::Relaxed)
	}
}

/// Returns the places of the roots of these steps.
fn read_back(steps: std::ops::Range<u32>) -> Vec<std::ops::Range<u32>> {
	let (from, to) = (steps.start % ROOTS, steps.end % ROOTS);
	let all = if from < to {
		[from..to, 0..0]
	} else {
		[from..ROOTS, 0..to]
	};
	all.into_iter()
		.filter(|places| !places.is_empty())
		.collect()
}

impl<S: Source> Drop for GpuWindow<S> {
	fn drop(&mut self) {
		self.release();
	}
}

impl<S: Source> Window for GpuWindow<S> {
	fn matrices(&self) -> u32 {
		self.matrices
	}

	fn roots(&self) -> &[Hash] {
		&self.roots
	}

	fn run(
		&self,
		seed: Hash,
		size: Size,
		running: Running,
		spans: &mut dyn Spans,
	) -> Result<Vec<Hash>, DeviceError> {
		if size.n != self.n || size.window > self.matrices || size.check().is_err() {
			return Err(DeviceError::Shape);
		}
		let timed = self.timed.lock().take();
		let _timed = timed.unwrap_or_else(|| Timed::begin(&self.shared));
		// A device that fails during a run is reopened before its next use.
		self.shared
			.noting_loss(|| self.turns(&seed, &size, running, spans))
	}

	fn show(
		&self,
		seed: Hash,
		size: Size,
		hashes: &[Running],
		wanted: &BTreeSet<Place>,
	) -> Result<BTreeMap<Place, Shown>, DeviceError> {
		let is_there = |place: &Place| {
			let matrix = match place.matrix {
				Matrix::Filled(t) => t < filled_of(self.matrices),
				Matrix::Step(step) => step < STEPS * size.turns,
			};
			matrix && u64::from(place.line) < size.lines()
		};
		let fits = size.n == self.n && size.window <= self.matrices && size.check().is_ok();
		if !fits || hashes.len() != size.turns as usize || !wanted.iter().all(is_there) {
			return Err(DeviceError::Shape);
		}
		let run = (seed, size);
		// The thread that has the device may serve it before its turn comes.
		let ticket = self.desk.ticket(run, wanted.clone());
		// The result is the same on any device: one lost since is reopened and refilled.
		self.opener
			.with(|shared| self.show_on(&shared, &run, hashes, &ticket))?;
		Ok(ticket.take())
	}

	fn part_gbps(&self, parts: u32) -> Result<Vec<f64>, DeviceError> {
		self.parts(parts)
	}

	fn product_gops(&self) -> Result<Option<f64>, DeviceError> {
		self.products().map(Some)
	}

	fn reads_gbps(&self) -> Result<Option<f64>, DeviceError> {
		self.reads()
	}

	fn release(&self) {
		// On the device that ran, and on the one that made openings. A device that is being reopened holds
		// nothing yet, and is not worth the wait.
		let newest = self.opener.shared.try_lock().map(|shared| shared.clone());
		for shared in newest.iter().chain([&self.shared]) {
			let mut kept = shared.kept.lock();
			if kept.as_ref().is_some_and(|(id, _)| *id == self.id) {
				*kept = None;
			}
		}
	}
}

#[cfg(test)]
mod tests;
