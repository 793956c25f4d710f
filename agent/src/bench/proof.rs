//! One round's benchmark, all of it: the matrix chain, the walk over the GPUs' memory, the CPU chains,
//! the memory walk and the disk walk, one after the other, each seeded by the root of the one before,
//! under one attested root.

use crate::{
	bench::{
		chain::{self, Chain, ChainOpening, Shape},
		classes::Plan,
		cpu,
		device::{Device, DeviceError, Ready, Run},
		disk,
		hash::{Hash, SegmentOpening, Segments, hash},
		job::{Job, MAX_DISK_MIB, MAX_LANES, MAX_MEMORY_MIB, Sizes},
		memory,
		stage::{Stage, Stages},
		walk::{self, LegOpening, Walk},
	},
	host::memory::fillable_mib,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use sp_core::H256;
use std::{
	path::Path,
	sync::Arc,
	time::{Duration, Instant},
};

pub(crate) mod decode;
pub use decode::Counts;

/// Device number of the chain that runs on the CPU.
const CPU_DEVICE: u8 = 0xff;
/// Bytes of checkpoints of the chain that are kept.
const CHECKPOINT_BUDGET: usize = 512 << 20;

/// The root of the walk's stage where nothing was walked.
const NO_WALK: Hash = [0; 32];

/// The seed of a GPU's walk.
fn walk_seed(base: &Hash, device: u8, chain_root: &Hash) -> Hash {
	hash("kaisar/agent 2026 walk", &[base, &[device], chain_root])
}

/// The root of a stage that all GPUs ran at the same time.
fn root_of_devices(roots: &[Hash]) -> Hash {
	let parts: Vec<&[u8]> = roots.iter().map(|root| &root[..]).collect();
	hash("kaisar/agent 2026 devices", &parts)
}

/// Where a checker looks on one GPU.
fn device_open_seed(seed: &Hash, device: u8) -> Hash {
	hash("kaisar/agent 2026 open device", &[seed, &[device]])
}

/// Seed of a stage, from the root of the one before it.
fn seed_of(stage: Stage, base: &Hash, before: &Hash) -> Hash {
	hash(
		"kaisar/agent 2026 stage",
		&[base, &[stage.number()], before],
	)
}

/// The roots of the stages and what they add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Roots {
	/// How much was run.
	pub sizes: Sizes,
	/// Roots of the matrix chains, the GPUs' walks, the CPU chains, the memory walk and the disk walk.
	pub stages: Stages<Hash>,
}

impl Roots {
	/// The root that is attested.
	pub fn attested(&self, base: &Hash) -> Hash {
		hash("kaisar/agent 2026 root", &[base, &self.encode()])
	}
}

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
	/// Not even a small part of the memory can be had.
	#[error("no memory can be allocated for the walk")]
	Memory,
	/// The plot cannot be read or written.
	#[error("the disk plot: {0}")]
	Disk(#[from] std::io::Error),
	/// A part of the benchmark crashed.
	#[error("the benchmark crashed")]
	Crashed,
	/// Nobody wants it any more.
	#[error("the round has another seed by now")]
	Superseded,
}

/// What computed the chains.
enum Compute {
	Processor(Chain),
	Gpus(Vec<Gpu>),
}

/// A GPU's part.
struct Gpu {
	run: Box<dyn Run>,
	walk_root: Hash,
}

/// A finished benchmark, ready to be opened.
pub struct Proof {
	base: Hash,
	compute: Compute,
	segments: usize,
	cpu: Segments,
	memory: Segments,
	disk: Segments,
	shape: Shape,
	walk: Option<Walk>,
	samples: usize,
	/// Roots of its stages.
	pub roots: Roots,
	/// The root that is attested.
	pub root: Hash,
	/// How long each stage took here.
	pub took: Stages<Duration>,
}

/// Does something with each device at the same time. One that crashes is one that failed.
fn at_once<A: Send, B: Send>(
	on: impl IntoIterator<Item = A>,
	act: impl Fn(A) -> Result<B, DeviceError> + Sync,
) -> Vec<Result<B, DeviceError>> {
	std::thread::scope(|scope| {
		let act = &act;
		let running: Vec<_> = on
			.into_iter()
			.map(|each| scope.spawn(move || act(each)))
			.collect();
		let crashed = |_| Err(DeviceError::Lost("its driver or kernel crashed".into()));
		running
			.into_iter()
			.map(|each| each.join().unwrap_or_else(crashed))
			.collect()
	})
}

/// All results, or the first error. Each error is logged with the label of its device.
fn all_of<B>(
	results: Vec<Result<B, DeviceError>>,
	labels: &[String],
) -> Result<Vec<B>, DeviceError> {
	for (result, gpu) in results.iter().zip(labels) {
		if let Err(error) = result {
			tracing::error!(
				gpu,
				%error,
				"a GPU failed in the benchmark, and with it no GPU of this machine is proved in this round. Check its \
				 driver (nvidia-smi, dmesg); --gpu leaves it out"
			);
		}
	}
	results.into_iter().collect()
}

/// Gets as many devices ready as are wanted, the first ones that work, and returns them with their labels.
/// One that fails here is left out, and the next takes its place.
fn ready(
	devices: &[Arc<dyn Device>],
	wanted: usize,
	prepare: impl Fn(&dyn Device) -> Result<Box<dyn Ready>, DeviceError> + Sync,
) -> (Vec<Box<dyn Ready>>, Vec<String>) {
	let (mut ready, mut labels) = (Vec::new(), Vec::new());
	let mut rest = devices;
	while ready.len() < wanted && !rest.is_empty() {
		let (next, after) = rest.split_at((wanted - ready.len()).min(rest.len()));
		rest = after;
		let prepared = at_once(next, |device| prepare(&**device));
		for (device, prepared) in next.iter().zip(prepared) {
			match prepared {
				Ok(each) => {
					ready.push(each);
					labels.push(device.label());
				}
				Err(error) => tracing::warn!(
					gpu = device.label(),
					%error,
					"a GPU is left out of this benchmark: it is tried again in the next one. Check its driver \
					 (nvidia-smi, dmesg), and that no other program holds its memory"
				),
			}
		}
	}
	(ready, labels)
}

/// Takes the time of the stages, and tells each stage's root as soon as it is there.
struct Stopwatch<F> {
	since: Instant,
	took: Stages<Duration>,
	told: F,
}

impl<F: FnMut(Stage, Hash)> Stopwatch<F> {
	fn start(told: F) -> Self {
		Self {
			since: Instant::now(),
			took: Stages::default(),
			told,
		}
	}

	/// A stage is done; the next one begins.
	fn done(&mut self, stage: Stage, root: Hash) -> Hash {
		self.took[stage] = self.since.elapsed();
		self.since = Instant::now();
		(self.told)(stage, root);
		root
	}
}

/// The chains and the walks over them, and what they came to.
struct Computed {
	compute: Compute,
	chain_root: Hash,
	walk_root: Hash,
	/// Number of `X_t` that each GPU kept.
	window: u32,
}

/// Runs the benchmark; `plots` is where the plot lies, `devices` are the GPUs. Each stage's root is
/// told as soon as it is there.
///
/// A worker that claims GPUs and has none does what one without would do: the proof says so, and no
/// class is supported by it.
pub fn prove(
	job: &Job,
	devices: &[Arc<dyn Device>],
	plots: &Path,
	told: impl FnMut(Stage, Hash),
) -> Result<Proof, ProveError> {
	prove_while(job, devices, plots, told, || true)
}

/// Does what [`prove`] does for as long as it is `wanted`, which is asked between parts.
pub fn prove_while(
	job: &Job,
	devices: &[Arc<dyn Device>],
	plots: &Path,
	told: impl FnMut(Stage, Hash),
	wanted: impl Fn() -> bool,
) -> Result<Proof, ProveError> {
	let go_on = || wanted().then_some(()).ok_or(ProveError::Superseded);
	let plan = job.plan();
	let base = job.base();
	let mut clock = Stopwatch::start(told);

	let mut plot = disk::Plot::open(plots, &job.agent)?;
	let computed = match job.gpu_plan().filter(|_| !devices.is_empty()) {
		Some(gpus) => prove_gpus_and_plot(job, &gpus, devices, &mut plot, &mut clock)?,
		None => None,
	};
	go_on()?;
	let computed = computed.unwrap_or_else(|| prove_processor(job, &mut plot, &mut clock));
	go_on()?;
	let sizes = Sizes {
		devices: match &computed.compute {
			Compute::Gpus(gpus) => gpus.len() as u8,
			Compute::Processor(_) => 0,
		},
		window: computed.window,
		lanes: plan.lanes,
		memory_mib: plan.memory_mib.min(fillable_mib()).max(1),
		disk_mib: plot.mib().min(plan.disk_mib),
	};
	let lanes = usize::from(sizes.lanes);
	let segments = job.bench.cpu_segments as usize;

	let seed = seed_of(Stage::Cpu, &base, &computed.walk_root);
	let cpu = cpu::compute(&seed, lanes, segments);
	let cpu_root = clock.done(Stage::Cpu, cpu.root());
	go_on()?;
	let seed = seed_of(Stage::Memory, &base, &cpu_root);
	let memory = memory::compute(&seed, lanes, sizes.memory_mib as usize);
	let memory = memory.ok_or(ProveError::Memory)?;
	let memory_root = clock.done(Stage::Memory, memory.root());
	go_on()?;
	let seed = seed_of(Stage::Disk, &base, &memory_root);
	let disk = plot.walk(&seed, sizes.disk_mib)?;
	let disk_root = clock.done(Stage::Disk, disk.root());

	let roots = Roots {
		sizes,
		stages: Stages::from_fn(|stage| match stage {
			Stage::Chain => computed.chain_root,
			Stage::Walk => computed.walk_root,
			Stage::Cpu => cpu_root,
			Stage::Memory => memory_root,
			Stage::Disk => disk_root,
		}),
	};
	let walk = job.walk(sizes.window).filter(|_| sizes.devices > 0);
	Ok(Proof {
		base,
		compute: computed.compute,
		segments,
		cpu,
		memory,
		disk,
		shape: walk.map_or(job.shape(), |walk| walk.shape),
		walk,
		samples: usize::from(job.bench.samples),
		roots,
		root: roots.attested(&base),
		took: clock.took,
	})
}

/// The chain on the processor, and no walk.
fn prove_processor(
	job: &Job,
	plot: &mut disk::Plot,
	clock: &mut Stopwatch<impl FnMut(Stage, Hash)>,
) -> Computed {
	// Filling the plot is done once, and before the clock of any stage that is judged.
	plot.grow(job.plan().disk_mib);
	let chain = Chain::compute(job.chain_seed(CPU_DEVICE), job.shape(), CHECKPOINT_BUDGET);
	Computed {
		chain_root: clock.done(Stage::Chain, chain.root()),
		walk_root: clock.done(Stage::Walk, NO_WALK),
		compute: Compute::Processor(chain),
		window: 0,
	}
}

/// The chains and the walks of all GPUs, while the processor fills what is missing of the plot. `None`
/// if a GPU fails: what the worker can do without one it still does.
fn prove_gpus_and_plot(
	job: &Job,
	plan: &Plan,
	devices: &[Arc<dyn Device>],
	plot: &mut disk::Plot,
	clock: &mut Stopwatch<impl FnMut(Stage, Hash)>,
) -> Result<Option<Computed>, ProveError> {
	let mib = job.plan().disk_mib;
	std::thread::scope(|scope| {
		let filling = scope.spawn(move || plot.grow(mib));
		let computed = prove_gpus(job, plan, devices, clock);
		filling.join().map_err(|_| ProveError::Crashed)?;
		Ok(computed
			.inspect_err(|error| tracing::error!(
				%error,
				"no GPU is proved in this round, and the worker counts as one without. See the system's log for the \
				 GPU's driver"
			))
			.ok())
	})
}

/// The chains and the walks of all GPUs, each stage on all of them at the same time. A GPU that does not
/// work is left out before they begin; one that fails afterwards fails all.
fn prove_gpus(
	job: &Job,
	plan: &Plan,
	devices: &[Arc<dyn Device>],
	clock: &mut Stopwatch<impl FnMut(Stage, Hash)>,
) -> Result<Computed, DeviceError> {
	let (ready, labels) = ready(devices, usize::from(plan.devices), |device| {
		device.prepare(plan.walk.shape, plan.walk.window)
	});
	if ready.is_empty() {
		return Err(DeviceError::Lost("no GPU works".into()));
	}
	let runs = at_once(ready.into_iter().enumerate(), |(number, ready)| {
		ready.start(job.chain_seed(number as u8))
	});
	let runs = all_of(runs, &labels)?;
	let roots: Vec<Hash> = runs.iter().map(|run| run.steps().root()).collect();
	let chain_root = clock.done(Stage::Chain, root_of_devices(&roots));
	let window = runs.iter().map(|run| run.window()).min().unwrap_or(0);
	let walk = Walk {
		window,
		..plan.walk
	};
	let seed = seed_of(Stage::Walk, &job.base(), &chain_root);
	let gpus = at_once(runs.into_iter().enumerate(), |(number, mut run)| {
		let walk_root = run.walk(walk_seed(&seed, number as u8, &roots[number]), walk)?;
		Ok(Gpu { run, walk_root })
	});
	let gpus = all_of(gpus, &labels)?;
	let roots: Vec<Hash> = gpus.iter().map(|gpu| gpu.walk_root).collect();
	Ok(Computed {
		chain_root,
		walk_root: clock.done(Stage::Walk, root_of_devices(&roots)),
		compute: Compute::Gpus(gpus),
		window: window as u32,
	})
}

/// What a GPU shows.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct GpuOpening {
	/// The root of its chain.
	pub chain_root: Hash,
	/// The root of its walk.
	pub walk_root: Hash,
	/// Of its chain.
	pub chain: ChainOpening,
	/// Of its walk.
	pub walk: Vec<LegOpening>,
}

/// What is shown of the chains.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub enum ComputeOpening {
	/// The processor's only one.
	#[codec(index = 0)]
	Processor(ChainOpening),
	/// Each GPU's own, and its walk.
	#[codec(index = 1)]
	Gpus(Vec<GpuOpening>),
}

/// What a worker shows a checker.
#[derive(Clone, PartialEq, Eq, Debug, Encode)]
pub struct Openings {
	/// The roots under the attested one.
	pub roots: Roots,
	/// Of the matrix chains.
	pub compute: ComputeOpening,
	/// Of the CPU chains.
	pub cpu: Vec<SegmentOpening>,
	/// Of the memory walk.
	pub memory: Vec<SegmentOpening>,
	/// Of the disk walk; none where the check is not a full one.
	pub disk: Vec<SegmentOpening>,
}

/// What decides where a checker looks: nobody knows it before the attestation is on chain, and no
/// two checkers look at the same places.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
pub struct Challenge {
	/// Randomness of the block after the attestation.
	pub open_seed: H256,
	/// The checker's nonce.
	pub nonce: [u8; 32],
	/// Open the disk too.
	pub full: bool,
}

impl Challenge {
	fn seed(&self, base: &Hash, root: &Hash) -> Hash {
		hash(
			"kaisar/agent 2026 open",
			&[base, root, &self.open_seed.0, &self.nonce],
		)
	}
}

impl Proof {
	/// Opens what a checker asks for.
	pub fn open(&self, challenge: &Challenge) -> Result<Openings, DeviceError> {
		let seed = challenge.seed(&self.base, &self.root);
		let lanes = usize::from(self.roots.sizes.lanes);
		let open = |all: &Segments, at: Vec<usize>| at.into_iter().map(|at| all.open(at)).collect();
		let compute = match &self.compute {
			Compute::Processor(chain) => {
				let at = chain::positions(&seed, self.shape, self.samples);
				ComputeOpening::Processor(chain.open(&at))
			}
			Compute::Gpus(gpus) => {
				// Threads of their own, as each may wait for its device: a thread of the pool that waits for
				// another opening's turn could be the one that has the device.
				let opened = at_once(gpus.iter().enumerate(), |(number, gpu)| {
					let seed = device_open_seed(&seed, number as u8);
					let at = chain::positions(&seed, self.shape, self.samples);
					let legs = self
						.walk
						.map(|walk| walk::positions(&seed, &walk))
						.unwrap_or_default();
					let (chain, walk) = gpu.run.open(&at, &legs)?;
					Ok(GpuOpening {
						chain_root: gpu.run.steps().root(),
						walk_root: gpu.walk_root,
						chain,
						walk,
					})
				});
				ComputeOpening::Gpus(opened.into_iter().collect::<Result<_, _>>()?)
			}
		};
		Ok(Openings {
			roots: self.roots,
			compute,
			cpu: open(&self.cpu, cpu::positions(&seed, lanes, self.segments)),
			memory: open(&self.memory, memory::positions(&seed, lanes)),
			disk: if challenge.full {
				open(&self.disk, disk::positions(&seed))
			} else {
				Vec::new()
			},
		})
	}

	/// Gives the GPUs' memory back. What is opened after that is computed again.
	pub fn release(&self) {
		if let Compute::Gpus(gpus) = &self.compute {
			gpus.iter().for_each(|gpu| gpu.run.release());
		}
	}
}

/// Why a proof is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reject {
	/// The roots do not make the attested one.
	#[error("the roots are not those attested")]
	Root,
	/// The sizes are not possible.
	#[error("the sizes are out of range")]
	Sizes,
	/// The matrix chain.
	#[error("matrix chain: {0}")]
	Chain(#[from] chain::ChainError),
	/// The walk over a GPU's memory.
	#[error("walk over a GPU's memory: {0}")]
	Walk(#[from] walk::WalkError),
	/// The CPU chains.
	#[error("a CPU segment does not fit")]
	Cpu,
	/// The memory walk.
	#[error("a memory segment does not fit")]
	Memory,
	/// The disk walk.
	#[error("a disk read does not fit")]
	Disk,
}

/// Checks openings against the attested root. No hardware is needed but one CPU core.
pub fn verify(
	job: &Job,
	attested: &Hash,
	challenge: &Challenge,
	openings: &Openings,
) -> Result<(), Reject> {
	let base = job.base();
	let roots = &openings.roots;
	if roots.attested(&base) != *attested {
		return Err(Reject::Root);
	}
	let sizes = roots.sizes;
	let plan = job.plan();
	if sizes.devices > plan.devices
		|| sizes.window > plan.window
		|| (sizes.devices == 0) != (sizes.window == 0)
		|| sizes.lanes == 0
		|| sizes.lanes > MAX_LANES
		|| sizes.memory_mib == 0
		|| sizes.memory_mib > MAX_MEMORY_MIB
		|| sizes.disk_mib > MAX_DISK_MIB
		|| !sizes.disk_mib.is_multiple_of(disk::SECTOR_MIB)
	{
		return Err(Reject::Sizes);
	}
	let seed = challenge.seed(&base, attested);
	let lanes = usize::from(sizes.lanes);
	let root = |stage| &roots.stages[stage];
	verify_compute(job, roots, &seed, &openings.compute)?;

	let segments = job.bench.cpu_segments as usize;
	let at = cpu::positions(&seed, lanes, segments);
	let stage = seed_of(Stage::Cpu, &base, root(Stage::Walk));
	let cpu_root = root(Stage::Cpu);
	if !cpu::verify(&stage, lanes, segments, cpu_root, &at, &openings.cpu) {
		return Err(Reject::Cpu);
	}
	let at = memory::positions(&seed, lanes);
	let stage = seed_of(Stage::Memory, &base, cpu_root);
	let memory_root = root(Stage::Memory);
	let mib = sizes.memory_mib as usize;
	if !memory::verify(&stage, lanes, mib, memory_root, &at, &openings.memory) {
		return Err(Reject::Memory);
	}
	let at = if challenge.full {
		disk::positions(&seed)
	} else {
		Vec::new()
	};
	let stage = seed_of(Stage::Disk, &base, memory_root);
	if !disk::verify(
		&stage,
		&job.agent,
		sizes.disk_mib,
		root(Stage::Disk),
		&at,
		&openings.disk,
	) {
		return Err(Reject::Disk);
	}
	Ok(())
}

/// Checks what is shown of the chains and of the walks over the GPUs' memory.
fn verify_compute(
	job: &Job,
	roots: &Roots,
	seed: &Hash,
	opening: &ComputeOpening,
) -> Result<(), Reject> {
	let samples = usize::from(job.bench.samples);
	let (chain_root, walk_root) = (&roots.stages[Stage::Chain], &roots.stages[Stage::Walk]);
	let devices = usize::from(roots.sizes.devices);
	let gpus = match (opening, job.walk(roots.sizes.window)) {
		(ComputeOpening::Processor(opening), _) if devices == 0 => {
			if *walk_root != NO_WALK {
				return Err(Reject::Root);
			}
			let shape = job.shape();
			let at = chain::positions(seed, shape, samples);
			let chain_seed = job.chain_seed(CPU_DEVICE);
			return Ok(chain::verify(&chain_seed, shape, chain_root, &at, opening)?);
		}
		(ComputeOpening::Gpus(gpus), Some(walk)) if devices > 0 && gpus.len() == devices => {
			(gpus, walk)
		}
		_ => return Err(Reject::Sizes),
	};
	let (gpus, walk) = gpus;
	let of = |root: fn(&GpuOpening) -> Hash| gpus.iter().map(root).collect::<Vec<_>>();
	if root_of_devices(&of(|gpu| gpu.chain_root)) != *chain_root
		|| root_of_devices(&of(|gpu| gpu.walk_root)) != *walk_root
	{
		return Err(Reject::Root);
	}
	let stage = seed_of(Stage::Walk, &job.base(), chain_root);
	for (number, gpu) in gpus.iter().enumerate() {
		let number = number as u8;
		let seed = device_open_seed(seed, number);
		let at = chain::positions(&seed, walk.shape, samples);
		let chain_seed = job.chain_seed(number);
		chain::verify(&chain_seed, walk.shape, &gpu.chain_root, &at, &gpu.chain)?;
		let legs = walk::positions(&seed, &walk);
		let walk_seed = walk_seed(&stage, number, &gpu.chain_root);
		let (tops, root) = (&gpu.chain.tops, &gpu.walk_root);
		walk::verify(&walk_seed, &walk, tops, root, &legs, &gpu.walk)?;
	}
	Ok(())
}

#[cfg(test)]
mod tests;
