//! One chain on a GPU: its buffers, its walk, its openings.

use super::{
	Shared, Timed,
	desk::{Desk, Ticket},
	kernel::Kernel,
	shaders,
};
use crate::bench::{
	chain::{ChainOpening, Place, Position, Rows, Shape, Steps, rows_of},
	device::{DeviceError, Run, Source, open_with},
	hash::{Hash, Tree, TreeTag, derive},
	walk::{Done, KEPT, Kept, LINE, Leg, LegOpening, State, WORDS, Walk, first},
};
use std::{
	collections::{BTreeMap, BTreeSet},
	ops::Range,
	sync::{
		Arc, Mutex, PoisonError,
		atomic::{AtomicU64, AtomicUsize, Ordering},
	},
};
use wgpu::{BindGroup, BindingResource, Buffer, BufferUsages, CommandEncoder};

/// Bytes between the parameters of two dispatches.
const PARAMS_STRIDE: u64 = 256;
/// Bytes of a dispatch's parameters.
const PARAMS: u64 = 64;
/// Bytes of a stage's parameters.
const WALK_PARAMS: u64 = 32;
/// Steps that are submitted together, at most.
const BATCH: usize = 32;
/// Products that are submitted together: a fraction of a second on any GPU that is worth renting, and
/// far from where a driver takes a kernel to be stuck.
const BATCH_PRODUCTS: u64 = 1 << 42;
/// Bytes that are read back at a time.
const STAGING: u64 = 16 << 20;
/// Dispatches of a step.
const DISPATCHES: usize = 4;

/// The buffers of one chain. What nobody copies from is held by what it is bound to.
pub(super) struct Memory {
	/// `X_t` for even and for odd `t`.
	x: [Buffer; 2],
	leaves: Buffer,
	roots: Buffer,
	params: Buffer,
	staging: Buffer,
	ring: Vec<Buffer>,
	/// `X_t` that fit into one buffer of the ring.
	slots: usize,
	window: usize,
	bound: Bound,
	/// The step whose `X_t` lies in `x` since openings went there. Whoever has the device reads and
	/// writes it.
	at: AtomicUsize,
}

/// No step: what lies in `x` is of no use.
const NOWHERE: usize = usize::MAX;

struct Bound {
	fill: [BindGroup; 2],
	step: [BindGroup; 2],
	leaves: [BindGroup; 2],
	reduce: [BindGroup; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
	mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parameters of a dispatch, as the kernels read them.
fn params(n: usize, t: usize, level: usize, pairs: usize, out: usize, key: &Hash) -> [u8; 64] {
	let mut bytes = [0; 64];
	for (at, value) in [n, t, level, pairs, out].into_iter().enumerate() {
		bytes[at * 4..][..4].copy_from_slice(&(value as u32).to_le_bytes());
	}
	bytes[32..].copy_from_slice(key);
	bytes
}

impl Memory {
	/// Room for a chain, and for as much of its window as there is.
	fn new(shared: &Shared, shape: Shape, window: usize) -> Result<Self, DeviceError> {
		let Shape { n, steps } = shape;
		let matrix = (n * n) as u64;
		let most = shared
			.handle
			.limits
			.max_buffer_size
			.min(shared.handle.limits.max_storage_buffer_binding_size);
		if matrix > most {
			return Err(DeviceError::Memory(format!(
				"a buffer takes {most} bytes at most, a matrix {matrix}"
			)));
		}
		let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let mappable = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
		let a = shared.handle.buffer("A", matrix, storage)?;
		let x = [
			shared.handle.buffer("X even", matrix, storage)?,
			shared.handle.buffer("X odd", matrix, storage)?,
		];
		let leaves = shared.handle.buffer("leaves", n as u64 * 32, storage)?;
		let nodes = shared.handle.buffer("nodes", n as u64 * 32, storage)?;
		let roots = shared.handle.buffer("roots", steps as u64 * 32, storage)?;
		let entries = (BATCH * DISPATCHES) as u64;
		let params = shared
			.handle
			.buffer("parameters", entries * PARAMS_STRIDE, uniform)?;
		let staging = shared.handle.buffer("staging", STAGING, mappable)?;
		let slots = (most / matrix) as usize;
		// The walk binds two buffers more.
		let buffers = shared.handle.limits.max_storage_buffers_per_shader_stage as usize;
		let window = window.min(steps).min(slots * buffers.saturating_sub(2));
		let mut ring = Vec::new();
		let (mut room, mut wanted) = (0, slots);
		while room < window && wanted > 0 {
			wanted = wanted.min(window - room);
			match shared
				.handle
				.buffer("window", wanted as u64 * matrix, storage)
			{
				Ok(buffer) => {
					ring.push(buffer);
					room += wanted;
					// Only the last buffer may be smaller than the others.
					if wanted < slots {
						break;
					}
				}
				Err(DeviceError::Memory(error)) => {
					tracing::debug!(
						name = shared.name,
						room,
						window,
						error,
						"less memory than that"
					);
					wanted /= 2;
				}
				Err(error) => return Err(error),
			}
		}
		if room == 0 {
			return Err(DeviceError::Memory("none is left for the window".into()));
		}
		let bind =
			|kernel, buffers: &[&Buffer]| shared.handle.bind(kernel, &params, PARAMS, buffers);
		let [even, odd] = &x;
		let bound = Bound {
			fill: [bind(&shared.fill, &[&a])?, bind(&shared.fill, &[even])?],
			step: [
				bind(shared.product.kernel(), &[&a, even, odd])?,
				bind(shared.product.kernel(), &[&a, odd, even])?,
			],
			leaves: [
				bind(&shared.leaves, &[even, &leaves])?,
				bind(&shared.leaves, &[odd, &leaves])?,
			],
			reduce: [
				bind(&shared.reduce, &[&leaves, &nodes])?,
				bind(&shared.reduce, &[&nodes, &roots])?,
			],
		};
		Ok(Self {
			x,
			leaves,
			roots,
			params,
			staging,
			ring,
			slots,
			window: room,
			bound,
			at: AtomicUsize::new(NOWHERE),
		})
	}
}

/// What is done on the way along a chain.
#[derive(Clone, Copy)]
struct Tasks {
	/// The trees over the rows.
	trees: bool,
	/// What belongs to the window goes into it.
	keep: bool,
	/// The clock runs; else a benchmark that begins comes first.
	timed: bool,
}

static IDS: AtomicU64 = AtomicU64::new(0);

/// What a chain on a GPU needs to be computed.
struct Chain {
	shared: Arc<Shared>,
	seed: Hash,
	shape: Shape,
}

impl Chain {
	fn dispatch(
		&self,
		encoder: &mut CommandEncoder,
		kernel: &Kernel,
		bound: &BindGroup,
		entry: usize,
		groups: (u32, u32),
	) {
		let offset = entry as u32 * PARAMS_STRIDE as u32;
		kernel.dispatch(encoder, bound, offset, groups);
	}

	fn write_params(&self, memory: &Memory, entries: &[[u8; 64]]) {
		let mut bytes = vec![0; entries.len() * PARAMS_STRIDE as usize];
		for (to, from) in bytes.chunks_exact_mut(PARAMS_STRIDE as usize).zip(entries) {
			to[..64].copy_from_slice(from);
		}
		self.shared
			.handle
			.queue
			.write_buffer(&memory.params, 0, &bytes);
	}

	/// Fills `A` and `X_0`.
	fn begin(&self, memory: &Memory) -> Result<(), DeviceError> {
		let n = self.shape.n;
		let keys = ["chain/A", "chain/X0"].map(|purpose| derive(&self.seed, purpose));
		self.write_params(memory, &keys.map(|key| params(n, 0, 0, 0, 0, &key)));
		let mut encoder = self.shared.handle.encoder();
		let groups = ((n * n / 64).div_ceil(256) as u32, 1);
		for (entry, bound) in memory.bound.fill.iter().enumerate() {
			self.dispatch(&mut encoder, &self.shared.fill, bound, entry, groups);
		}
		self.shared.handle.submit(encoder);
		self.shared.handle.wait()
	}

	/// How many steps are submitted together.
	fn batch(&self) -> usize {
		let products = (self.shape.n as u64).pow(3).max(1);
		(BATCH_PRODUCTS / products).clamp(1, BATCH as u64) as usize
	}

	/// Goes from `X_t` at the range's start to the one at its end.
	fn go(&self, memory: &Memory, range: Range<usize>, tasks: Tasks) -> Result<(), DeviceError> {
		let Shape { n, steps } = self.shape;
		let none = [0; 32];
		let product = &self.shared.product;
		let chunks = (n * n / LINE) as u32 / shaders::CHUNKS;
		let groups = n / shaders::LEAVES as usize;
		let mut t = range.start;
		while t < range.end {
			if !tasks.timed {
				self.shared.give_way()?;
			}
			let count = self.batch().min(range.end - t);
			let mut entries = Vec::with_capacity(count * DISPATCHES);
			for t in t..t + count {
				entries.push(params(n, t, 0, 0, 0, &none));
				entries.push(params(n, t + 1, 0, 0, 0, &none));
				entries.push(params(n, 0, 0, shaders::LEAVES as usize / 2, 0, &none));
				let level = shaders::LEAVES.trailing_zeros() as usize;
				entries.push(params(n, 0, level, groups / 2, t * 2, &none));
			}
			self.write_params(memory, &entries);
			let mut encoder = self.shared.handle.encoder();
			for at in 0..count {
				let (t, entry) = (t + at, at * DISPATCHES);
				let odd = t % 2;
				let step = &memory.bound.step[odd];
				self.dispatch(
					&mut encoder,
					product.kernel(),
					step,
					entry,
					product.groups(n),
				);
				if tasks.trees {
					let leaves = &memory.bound.leaves[1 - odd];
					self.dispatch(
						&mut encoder,
						&self.shared.leaves,
						leaves,
						entry + 1,
						(chunks, 1),
					);
					let [low, high] = &memory.bound.reduce;
					let reduce = &self.shared.reduce;
					self.dispatch(&mut encoder, reduce, low, entry + 2, (groups as u32, 1));
					self.dispatch(&mut encoder, reduce, high, entry + 3, (1, 1));
				}
				let oldest = steps - memory.window + 1;
				if tasks.keep && t + 1 >= oldest {
					let (buffer, offset) = self.slot(memory, t + 1 - oldest);
					let x = &memory.x[1 - odd];
					encoder.copy_buffer_to_buffer(x, 0, buffer, offset, Some((n * n) as u64));
				}
			}
			self.shared.handle.submit(encoder);
			self.shared.handle.wait()?;
			t += count;
		}
		Ok(())
	}

	/// Where in the ring a slot of the window is.
	fn slot<'a>(&self, memory: &'a Memory, slot: usize) -> (&'a Buffer, u64) {
		let matrix = (self.shape.n * self.shape.n) as u64;
		let buffer = &memory.ring[slot / memory.slots];
		(buffer, (slot % memory.slots) as u64 * matrix)
	}

	/// Copies parts of buffers to where they can be read, and reads them.
	fn fetch(
		&self,
		memory: &Memory,
		parts: &[(&Buffer, u64, u64)],
	) -> Result<Vec<u8>, DeviceError> {
		let pieces = parts.iter().flat_map(|(buffer, offset, length)| {
			(0..*length).step_by(STAGING as usize).map(move |from| {
				let size = STAGING.min(length - from);
				(*buffer, offset + from, size)
			})
		});
		let mut out = Vec::new();
		let mut pieces = pieces.peekable();
		while pieces.peek().is_some() {
			let mut encoder = self.shared.handle.encoder();
			let mut size = 0;
			while let Some((buffer, offset, length)) =
				pieces.next_if(|(_, _, length)| size + length <= STAGING)
			{
				encoder.copy_buffer_to_buffer(buffer, offset, &memory.staging, size, Some(length));
				size += length;
			}
			self.shared.handle.submit(encoder);
			out.extend(self.shared.handle.read(&memory.staging, size)?);
		}
		Ok(out)
	}

	/// Some rows of `X_t`, which lies in `memory.x[t % 2]`, with their paths.
	fn rows(
		&self,
		memory: &Memory,
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let (bound, x) = (&memory.bound.leaves[t % 2], &memory.x[t % 2]);
		self.rows_of(memory, (bound, x, 0), t, wanted, rows)
	}

	/// The same of an `X_t` of the window. What lies in `memory.x` stays.
	fn kept_rows(
		&self,
		memory: &Memory,
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let Shape { n, steps } = self.shape;
		let (buffer, offset) = self.slot(memory, t + memory.window - steps - 1);
		let x = BindingResource::Buffer(wgpu::BufferBinding {
			buffer,
			offset,
			size: std::num::NonZeroU64::new((n * n) as u64),
		});
		let parts = vec![x, memory.leaves.as_entire_binding()];
		let kernel = &self.shared.leaves;
		let bound = self
			.shared
			.handle
			.bind_parts(kernel, &memory.params, PARAMS, parts)?;
		self.rows_of(memory, (&bound, buffer, offset), t, wanted, rows)
	}

	/// The same of an `X_t` that lies at an offset in a buffer and is bound to the leaves' kernel.
	fn rows_of(
		&self,
		memory: &Memory,
		(bound, x, offset): (&BindGroup, &Buffer, u64),
		t: usize,
		wanted: &[usize],
		rows: &mut Rows,
	) -> Result<(), DeviceError> {
		let n = self.shape.n;
		self.write_params(memory, &[params(n, t, 0, 0, 0, &[0; 32])]);
		let mut encoder = self.shared.handle.encoder();
		let chunks = (n * n / LINE) as u32 / shaders::CHUNKS;
		self.dispatch(&mut encoder, &self.shared.leaves, bound, 0, (chunks, 1));
		self.shared.handle.submit(encoder);
		let mut parts = vec![(&memory.leaves, 0, n as u64 * 32)];
		let place = |row: &usize| (x, offset + (row * n) as u64, n as u64);
		parts.extend(wanted.iter().map(place));
		let bytes = self.fetch(memory, &parts)?;
		let (leaves, bytes) = bytes.split_at(n * 32);
		let leaves = leaves
			.chunks_exact(32)
			.map(|leaf| std::array::from_fn(|at| leaf[at]))
			.collect();
		let tree = Tree::new(TreeTag::Rows, leaves);
		for (row, bytes) in wanted.iter().zip(bytes.chunks_exact(n)) {
			rows.insert((t, *row), (bytes.to_vec(), tree.path(*row)));
		}
		Ok(())
	}
}

/// A chain that a GPU computed.
pub(super) struct GpuRun {
	/// Names it among the runs of all devices.
	id: u64,
	chain: Chain,
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
	pub(super) fn start(
		shared: Arc<Shared>,
		seed: Hash,
		shape: Shape,
		window: usize,
	) -> Result<Self, DeviceError> {
		let Shape { n, steps } = shape;
		if !(1_024..=16_384).contains(&n) || !n.is_power_of_two() || steps == 0 || window == 0 {
			return Err(DeviceError::Shape);
		}
		let timed = Timed::begin(&shared);
		let work = lock(&shared.work);
		// What the run before keeps makes room first.
		*lock(&shared.kept) = None;
		shared.handle.wait()?;
		let memory = Memory::new(&shared, shape, window)?;
		let chain = Chain {
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
		*lock(&shared.kept) = Some((id, Arc::new(memory)));
		drop(work);
		Ok(Self {
			id,
			chain,
			steps: Steps::new(&roots),
			window,
			done: None,
			desk: Desk::default(),
			recomputed: AtomicU64::new(0),
			timed: Some(timed),
		})
	}

	/// What is kept of this run on the device, filled again if another run took its place.
	fn memory(&self) -> Result<Arc<Memory>, DeviceError> {
		let shared = &self.chain.shared;
		if let Some((id, memory)) = &*lock(&shared.kept)
			&& *id == self.id
		{
			return Ok(memory.clone());
		}
		*lock(&shared.kept) = None;
		shared.handle.wait()?;
		let memory = Memory::new(shared, self.chain.shape, self.window)?;
		if memory.window < self.window {
			return Err(DeviceError::Memory("less is free than before".into()));
		}
		self.chain.begin(&memory)?;
		self.along(&memory, 0..self.chain.shape.steps, true)?;
		let memory = Arc::new(memory);
		*lock(&shared.kept) = Some((self.id, memory.clone()));
		Ok(memory)
	}

	/// The first step that is kept.
	fn oldest(&self) -> usize {
		self.chain.shape.steps - self.window + 1
	}

	/// Goes along the chain again, from the `X_t` at the range's start, which is there, to the one at its
	/// end, and serves on the way all who wait for what it passes.
	fn along(&self, memory: &Memory, range: Range<usize>, keep: bool) -> Result<(), DeviceError> {
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
				self.chain.shared.give_way()?;
				let mut rows = Rows::new();
				self.chain.rows(memory, at, &wanted, &mut rows)?;
				self.desk.serve(&rows);
			}
			if at == range.end {
				break;
			}
			let next = self.desk.first(at + 1..=range.end).unwrap_or(range.end);
			self.chain.go(memory, at..next, tasks)?;
			self.recomputed
				.fetch_add((next - at) as u64, Ordering::Relaxed);
			at = next;
		}
		memory.at.store(at, Ordering::Relaxed);
		Ok(())
	}

	/// Goes on along the chain until all that a ticket waits for is there: from where the last one
	/// stopped to the end of what is not kept, and around again.
	fn wait_for(&self, memory: &Memory, ticket: &Ticket<'_>) -> Result<(), DeviceError> {
		while let Some((_, last)) = ticket.missing() {
			let from = match memory.at.load(Ordering::Relaxed) {
				at if at <= last => at,
				_ => {
					memory.at.store(NOWHERE, Ordering::Relaxed);
					self.chain.begin(memory)?;
					0
				}
			};
			self.along(memory, from..last, false)?;
		}
		Ok(())
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
		let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let params = shared
			.handle
			.buffer("stages", stages as u64 * PARAMS_STRIDE, uniform)?;
		let kept = shared
			.handle
			.buffer("kept", ((stages + 1) * lanes * KEPT) as u64, storage)?;
		let traced_size = shaders::LANES as usize * legs * WORDS * 4;
		let traced = shared
			.handle
			.buffer("traced", traced_size as u64, storage)?;
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
		let _work = lock(&shared.work);
		let memory = match &*lock(&shared.kept) {
			Some((id, memory)) if *id == self.id => memory.clone(),
			_ => return Err(DeviceError::Lost("the window is gone".into())),
		};
		let Walk { lanes, stages, .. } = walk;
		let walking = Walking::new(&shared, &memory, lanes, stages, walk.legs)?;
		let mut firsts = Vec::with_capacity(lanes * KEPT);
		for lane in 0..lanes {
			let (state, digest) = first(&seed, lane);
			firsts.extend(Kept { state, digest }.bytes());
		}
		shared.handle.queue.write_buffer(&walking.kept, 0, &firsts);
		walking.write_params(&shared, &memory, &walk, (lanes, stages), false);
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
		let done = Done::new(walk, seed, kept);
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
		// Before it is this one's turn: whoever has the device serves it too.
		let mut missing = rows_of(positions);
		missing.retain(|(t, _)| *t < self.oldest());
		let ticket = self.desk.ticket(missing);
		let _work = self.chain.shared.idle()?;
		let mut source = Opening {
			run: self,
			memory: self.memory()?,
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

	fn recomputed(&self) -> u64 {
		self.recomputed.load(Ordering::Relaxed)
	}

	fn release(&self) {
		let mut kept = lock(&self.chain.shared.kept);
		if kept.as_ref().is_some_and(|(id, _)| *id == self.id) {
			*kept = None;
		}
	}
}

/// A run that is being opened: the device is ours until it is done.
struct Opening<'a> {
	run: &'a GpuRun,
	memory: Arc<Memory>,
	ticket: Ticket<'a>,
}

impl Source for Opening<'_> {
	fn states(&mut self, stage: usize, lane: usize) -> Result<Vec<State>, DeviceError> {
		let done = self.run.done.as_ref().ok_or(DeviceError::Shape)?;
		let (walk, chain) = (done.walk(), &self.run.chain);
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
		let n = self.run.chain.shape.n;
		let lines = n * n / LINE;
		let walked = self.run.done.as_ref().map_or(0, |done| done.walk().window);
		let slot = self.memory.window - walked + line / lines;
		let (buffer, offset) = self.run.chain.slot(&self.memory, slot);
		let offset = offset + (line % lines * LINE) as u64;
		let bytes = self
			.run
			.chain
			.fetch(&self.memory, &[(buffer, offset, LINE as u64)])?;
		Ok(std::array::from_fn(|at| bytes[at]))
	}

	fn rows(&mut self, wanted: &BTreeSet<Place>) -> Result<Rows, DeviceError> {
		let (run, memory) = (self.run, &*self.memory);
		let (n, oldest) = (run.chain.shape.n, run.oldest());
		let there = |(t, row): &&Place| (1..=run.chain.shape.steps).contains(t) && *row < n;
		let wanted = wanted.iter().filter(there);
		let (kept, lost): (Vec<Place>, Vec<Place>) = wanted.partition(|(t, _)| *t >= oldest);
		let mut by_step: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
		for (t, row) in kept {
			by_step.entry(t).or_default().push(row);
		}
		let mut rows = Rows::new();
		for (t, wanted) in by_step {
			run.chain.shared.give_way()?;
			run.chain.kept_rows(memory, t, &wanted, &mut rows)?;
		}
		self.ticket.add(lost);
		run.wait_for(memory, &self.ticket)?;
		rows.extend(self.ticket.take());
		Ok(rows)
	}
}

#[cfg(test)]
mod tests;
