//! One run of the benchmark on a GPU: its chain, its walk, its openings.

use super::{
	Opener, Shared, Timed,
	chain::{GpuChain, Tasks},
	desk::{Desk, Ticket},
	kernel::Kernel,
	memory::{Memory, NOWHERE, PARAMS_STRIDE, STORAGE},
	shaders,
};
use crate::bench::{
	chain::{ChainOpening, Place, Position, Rows, Shape, Steps, rows_of},
	device::{DeviceError, Ready, Run, Source, open_with},
	hash::Hash,
	walk::{Done, KEPT, Kept, LINE, Leg, LegOpening, State, WORDS, Walk, first},
};
use std::{
	collections::{BTreeMap, BTreeSet},
	ops::Range,
	sync::{
		Arc,
		atomic::{AtomicU64, Ordering},
	},
};
use wgpu::{BindGroup, Buffer, BufferUsages};

/// Bytes of a stage's parameters.
const WALK_PARAMS: u64 = 32;

static IDS: AtomicU64 = AtomicU64::new(0);

/// A GPU with the memory for a chain.
pub(super) struct GpuReady {
	opener: Arc<Opener>,
	shared: Arc<Shared>,
	shape: Shape,
	memory: Memory,
	/// Nothing else runs on the device until the walk is over.
	timed: Timed,
}

impl GpuReady {
	/// Takes the memory, and has the device write to it: one that does not work fails here.
	pub fn new(
		opener: Arc<Opener>,
		shared: Arc<Shared>,
		shape: Shape,
		window: usize,
	) -> Result<Self, DeviceError> {
		let Shape { n, steps } = shape;
		if !(1_024..=16_384).contains(&n) || !n.is_power_of_two() || steps == 0 || window == 0 {
			return Err(DeviceError::Shape);
		}
		let timed = Timed::begin(&shared);
		let work = shared.work.lock();
		// What the run before keeps makes room first.
		*shared.kept.lock() = None;
		shared.handle.wait()?;
		let memory = Memory::new(&shared, shape, window)?;
		shared.walk_kernel(memory.ring.len())?;
		let chain = GpuChain {
			shared: shared.clone(),
			seed: [0; 32],
			shape,
		};
		chain.begin(&memory)?;
		drop(work);
		Ok(Self {
			opener,
			shared,
			shape,
			memory,
			timed,
		})
	}
}

impl Ready for GpuReady {
	fn start(self: Box<Self>, seed: Hash) -> Result<Box<dyn Run>, DeviceError> {
		let shared = self.shared.clone();
		// What fails in the middle of a chain is opened again before it is used again.
		let run = shared.noting_loss(|| GpuRun::start(*self, seed))?;
		Ok(Box::new(run))
	}
}

/// A chain that a GPU computed.
struct GpuRun {
	/// Names it among the runs of all devices.
	id: u64,
	opener: Arc<Opener>,
	/// The chain on the device that computed it. Openings may have to open the device anew.
	chain: GpuChain,
	steps: Steps,
	window: usize,
	done: Option<Done>,
	/// Who waits for rows that are not kept.
	desk: Desk,
	/// Steps that were computed again.
	recomputed: AtomicU64,
	/// From the start until the walk is over, nothing else runs on the device.
	timed: Option<Timed>,
}

impl GpuRun {
	fn start(ready: GpuReady, seed: Hash) -> Result<Self, DeviceError> {
		let GpuReady {
			opener,
			shared,
			shape,
			memory,
			timed,
		} = ready;
		let steps = shape.steps;
		let work = shared.work.lock();
		let chain = GpuChain {
			shared: shared.clone(),
			seed,
			shape,
		};
		chain.begin(&memory)?;
		chain.go(
			&memory,
			0..steps,
			Tasks {
				trees: true,
				keep: true,
				timed: true,
			},
		)?;
		let bytes = chain.fetch(&memory, &[(&memory.roots, 0, steps as u64 * 32)])?;
		let roots: Vec<Hash> = bytes
			.chunks_exact(32)
			.map(|root| std::array::from_fn(|at| root[at]))
			.collect();
		let window = memory.window;
		let id = IDS.fetch_add(1, Ordering::Relaxed);
		*shared.kept.lock() = Some((id, Arc::new(memory)));
		drop(work);
		Ok(Self {
			id,
			opener,
			chain,
			steps: Steps::new(&roots),
			window,
			done: None,
			desk: Desk::default(),
			recomputed: AtomicU64::new(0),
			timed: Some(timed),
		})
	}

	/// The chain on a device: its own, or one that was opened anew since.
	fn on(&self, shared: Arc<Shared>) -> GpuChain {
		let GpuChain { seed, shape, .. } = self.chain;
		GpuChain {
			shared,
			seed,
			shape,
		}
	}

	/// The memory of this run on the device, filled again if another run took its place, or the device was
	/// lost.
	fn memory(&self, chain: &GpuChain) -> Result<Arc<Memory>, DeviceError> {
		let shared = &chain.shared;
		if let Some((id, memory)) = &*shared.kept.lock()
			&& *id == self.id
		{
			return Ok(memory.clone());
		}
		*shared.kept.lock() = None;
		shared.handle.wait()?;
		let memory = Memory::new(shared, chain.shape, self.window)?;
		if memory.window < self.window {
			return Err(DeviceError::Memory("less is free than before".into()));
		}
		chain.begin(&memory)?;
		self.along(chain, &memory, 0..chain.shape.steps, true)?;
		let memory = Arc::new(memory);
		*shared.kept.lock() = Some((self.id, memory.clone()));
		Ok(memory)
	}

	/// The first step that is kept.
	fn oldest(&self) -> usize {
		self.chain.shape.steps - self.window + 1
	}

	/// Goes along the chain again, from the `X_t` at the range's start, which is there, to the one at its
	/// end, and serves on the way all who wait for what it passes.
	fn along(
		&self,
		chain: &GpuChain,
		memory: &Memory,
		range: Range<usize>,
		keep: bool,
	) -> Result<(), DeviceError> {
		let tasks = Tasks {
			trees: false,
			keep,
			timed: false,
		};
		// Until it is known how far it came.
		memory.at.store(NOWHERE, Ordering::Relaxed);
		let mut at = range.start;
		loop {
			let wanted = self.desk.wanted(at);
			if !wanted.is_empty() {
				chain.shared.give_way()?;
				let mut rows = Rows::new();
				chain.rows(memory, at, &wanted, &mut rows)?;
				self.desk.serve(&rows);
			}
			if at == range.end {
				break;
			}
			let next = self.desk.first(at + 1..=range.end).unwrap_or(range.end);
			chain.go(memory, at..next, tasks)?;
			self.recomputed
				.fetch_add((next - at) as u64, Ordering::Relaxed);
			at = next;
		}
		memory.at.store(at, Ordering::Relaxed);
		Ok(())
	}

	/// Goes on along the chain until all that a ticket waits for is there: from where the last one
	/// stopped to the end of what is not kept, and around again.
	fn wait_for(
		&self,
		chain: &GpuChain,
		memory: &Memory,
		ticket: &Ticket<'_>,
	) -> Result<(), DeviceError> {
		while let Some((_, last)) = ticket.missing() {
			let from = match memory.at.load(Ordering::Relaxed) {
				at if at <= last => at,
				_ => {
					memory.at.store(NOWHERE, Ordering::Relaxed);
					chain.begin(memory)?;
					0
				}
			};
			self.along(chain, memory, from..last, false)?;
		}
		Ok(())
	}

	/// Walks over the window.
	fn walked(&self, seed: Hash, walk: Walk) -> Result<Done, DeviceError> {
		let shared = &self.chain.shared;
		let _work = shared.work.lock();
		let memory = match &*shared.kept.lock() {
			Some((id, memory)) if *id == self.id => memory.clone(),
			_ => return Err(DeviceError::Lost("the window is gone".into())),
		};
		let Walk { lanes, stages, .. } = walk;
		let walking = Walking::new(shared, &memory, lanes, stages, walk.legs)?;
		let mut firsts = Vec::with_capacity(lanes * KEPT);
		for lane in 0..lanes {
			let (state, digest) = first(&seed, lane);
			firsts.extend(Kept { state, digest }.bytes());
		}
		shared.handle.queue.write_buffer(&walking.kept, 0, &firsts);
		walking.write_params(shared, &memory, &walk, (lanes, stages), false);
		for stage in 0..stages {
			let mut encoder = shared.handle.encoder();
			let groups = (lanes as u32 / shaders::LANES, 1);
			let bound = &walking.bound;
			self.chain
				.dispatch(&mut encoder, &walking.kernel, bound, stage, groups);
			shared.handle.submit(encoder);
			shared.handle.wait()?;
		}
		let size = (lanes * stages * KEPT) as u64;
		let bytes = self
			.chain
			.fetch(&memory, &[(&walking.kept, (lanes * KEPT) as u64, size)])?;
		let kept = bytes
			.chunks_exact(KEPT)
			.map(|kept| Kept::of_bytes(&std::array::from_fn(|at| kept[at])))
			.collect();
		Ok(Done::new(walk, seed, kept))
	}

	/// Opens positions and legs on a device.
	fn open_on(
		&self,
		shared: Arc<Shared>,
		positions: &[Position],
		legs: &[Leg],
	) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError> {
		// Before it is this one's turn: whoever has the device serves it too.
		let mut missing = rows_of(positions);
		missing.retain(|(t, _)| *t < self.oldest());
		let ticket = self.desk.ticket(missing);
		let _work = shared.idle()?;
		let chain = self.on(shared.clone());
		let mut source = Opening {
			run: self,
			memory: self.memory(&chain)?,
			chain,
			ticket,
		};
		open_with(
			&mut source,
			&self.steps,
			self.done.as_ref(),
			positions,
			legs,
		)
	}
}

impl Drop for GpuRun {
	fn drop(&mut self) {
		self.release();
	}
}

/// The walk over the window in some memory.
struct Walking {
	kernel: Arc<Kernel>,
	params: Buffer,
	kept: Buffer,
	traced: Buffer,
	bound: BindGroup,
}

impl Walking {
	/// With room for what `lanes` lanes keep before and after so many stages.
	fn new(
		shared: &Shared,
		memory: &Memory,
		lanes: usize,
		stages: usize,
		legs: usize,
	) -> Result<Self, DeviceError> {
		let kernel = shared.walk_kernel(memory.ring.len())?;
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let params = shared
			.handle
			.buffer("stages", stages as u64 * PARAMS_STRIDE, uniform)?;
		let kept = shared
			.handle
			.buffer("kept", ((stages + 1) * lanes * KEPT) as u64, STORAGE)?;
		let traced_size = shaders::LANES as usize * legs * WORDS * 4;
		let traced = shared
			.handle
			.buffer("traced", traced_size as u64, STORAGE)?;
		let mut buffers = vec![&kept, &traced];
		buffers.extend(&memory.ring);
		let bound = shared
			.handle
			.bind(&kernel, &params, WALK_PARAMS, &buffers)?;
		Ok(Self {
			kernel,
			params,
			kept,
			traced,
			bound,
		})
	}

	/// Writes the parameters of all stages of a walk by `lanes` lanes; to trace, one by four.
	fn write_params(
		&self,
		shared: &Shared,
		memory: &Memory,
		walk: &Walk,
		(lanes, stages): (usize, usize),
		trace: bool,
	) {
		let mut bytes = vec![0; stages * PARAMS_STRIDE as usize];
		for (stage, to) in bytes.chunks_exact_mut(PARAMS_STRIDE as usize).enumerate() {
			let values = [
				walk.shape.n,
				walk.lines(),
				memory.slots,
				lanes,
				walk.legs,
				stage,
				// The window may be larger than what is walked over: the newest end counts.
				memory.window - walk.window,
				usize::from(trace),
			];
			for (to, value) in to.chunks_exact_mut(4).zip(values) {
				to.copy_from_slice(&(value as u32).to_le_bytes());
			}
		}
		shared.handle.queue.write_buffer(&self.params, 0, &bytes);
	}
}

impl Run for GpuRun {
	fn steps(&self) -> &Steps {
		&self.steps
	}

	fn window(&self) -> usize {
		self.window
	}

	fn walk(&mut self, seed: Hash, walk: Walk) -> Result<Hash, DeviceError> {
		if !walk.is_possible() || walk.window > self.window || walk.shape != self.chain.shape {
			return Err(DeviceError::Shape);
		}
		let shared = self.chain.shared.clone();
		let done = shared.noting_loss(|| self.walked(seed, walk))?;
		let root = done.root();
		self.done = Some(done);
		self.timed = None;
		Ok(root)
	}

	fn open(
		&self,
		positions: &[Position],
		legs: &[Leg],
	) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError> {
		// A chain gives the same on any device: one that was lost since is opened again, and computes it again.
		self.opener
			.with(|shared| self.open_on(shared, positions, legs))
	}

	fn recomputed(&self) -> u64 {
		self.recomputed.load(Ordering::Relaxed)
	}

	fn release(&self) {
		// On the device that computed it, and on the one that openings were made on. One that is being opened anew
		// keeps nothing yet, and takes too long to wait for.
		let newest = self.opener.shared.try_lock().map(|shared| shared.clone());
		for shared in newest.iter().chain([&self.chain.shared]) {
			let mut kept = shared.kept.lock();
			if kept.as_ref().is_some_and(|(id, _)| *id == self.id) {
				*kept = None;
			}
		}
	}
}

/// A run that is being opened: the device is ours until it is done.
struct Opening<'a> {
	run: &'a GpuRun,
	chain: GpuChain,
	memory: Arc<Memory>,
	ticket: Ticket<'a>,
}

impl Source for Opening<'_> {
	fn states(&mut self, stage: usize, lane: usize) -> Result<Vec<State>, DeviceError> {
		let done = self.run.done.as_ref().ok_or(DeviceError::Shape)?;
		let (walk, chain) = (done.walk(), &self.chain);
		let shared = &chain.shared;
		// A walk of one stage by four lanes, the first of which is the one that is asked for.
		let lanes = shaders::LANES as usize;
		let walking = Walking::new(shared, &self.memory, lanes, 1, walk.legs)?;
		let before = done.before(stage, lane).bytes();
		shared.handle.queue.write_buffer(&walking.kept, 0, &before);
		walking.write_params(shared, &self.memory, walk, (lanes, 1), true);
		let mut encoder = shared.handle.encoder();
		chain.dispatch(&mut encoder, &walking.kernel, &walking.bound, 0, (1, 1));
		shared.handle.submit(encoder);
		let size = (walk.legs * WORDS * 4) as u64;
		let bytes = chain.fetch(&self.memory, &[(&walking.traced, 0, size)])?;
		let states = bytes.chunks_exact(WORDS * 4).map(|state| {
			std::array::from_fn(|at| {
				u32::from_le_bytes(std::array::from_fn(|byte| state[at * 4 + byte]))
			})
		});
		Ok(states.collect())
	}

	fn line(&mut self, line: usize) -> Result<[u8; LINE], DeviceError> {
		let n = self.chain.shape.n;
		let lines = n * n / LINE;
		let walked = self.run.done.as_ref().map_or(0, |done| done.walk().window);
		let slot = self.memory.window - walked + line / lines;
		let (buffer, offset) = self.chain.slot(&self.memory, slot);
		let offset = offset + (line % lines * LINE) as u64;
		let bytes = self
			.chain
			.fetch(&self.memory, &[(buffer, offset, LINE as u64)])?;
		Ok(std::array::from_fn(|at| bytes[at]))
	}

	fn rows(&mut self, wanted: &BTreeSet<Place>) -> Result<Rows, DeviceError> {
		let (run, chain, memory) = (self.run, &self.chain, &*self.memory);
		let (n, oldest) = (chain.shape.n, run.oldest());
		let there = |(t, row): &&Place| (1..=chain.shape.steps).contains(t) && *row < n;
		let wanted = wanted.iter().filter(there);
		let (kept, lost): (Vec<Place>, Vec<Place>) = wanted.partition(|(t, _)| *t >= oldest);
		let mut by_step: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
		for (t, row) in kept {
			by_step.entry(t).or_default().push(row);
		}
		let mut rows = Rows::new();
		for (t, wanted) in by_step {
			chain.shared.give_way()?;
			chain.kept_rows(memory, t, &wanted, &mut rows)?;
		}
		self.ticket.add(lost);
		run.wait_for(chain, memory, &self.ticket)?;
		rows.extend(self.ticket.take());
		Ok(rows)
	}
}

#[cfg(test)]
mod tests;
