//! One round's benchmark, all of it: the matrix chain, the walk over the GPUs' memory, the CPU chains,
//! the memory walk and the disk walk, one after the other, each seeded by the root of the one before,
//! under one attested root.

use crate::bench::{
	chain::{self, Chain, ChainOpening, Shape},
	classes::Plan,
	cpu,
	device::{Device, DeviceError, Run},
	disk,
	hash::{Hash, SegmentOpening, Segments, hash},
	memory,
	walk::{self, LegOpening, Walk},
};
use codec::{Decode, Encode};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, MAX_COMMITTEE, RoundIndex, WorkerId, WorkerSpec,
	agent::{ProveRequest, SeatRequest},
};
use sp_core::H256;
use std::{
	sync::Arc,
	time::{Duration, Instant},
};

/// The parts of a benchmark, in their order: the matrix chain, the walk over the GPUs' memory, the CPU
/// chains, the memory walk, the disk walk.
pub const STAGES: usize = 5;
/// Most GPUs of a worker that are used.
pub const MAX_DEVICES: u8 = crate::bench::device::MAX_DEVICES;
/// Most lanes that are run: enough to show the highest tier of CPU.
pub const MAX_LANES: u16 = 144;
/// Most memory that is walked, in MiB: enough to show the highest tier.
pub const MAX_MEMORY_MIB: u32 = 560 * 1_024;
/// Most disk that is plotted, in MiB: enough to show the highest tier.
pub const MAX_DISK_MIB: u32 = 11_000 * 1_024;
/// Device number of the chain that runs on the CPU.
const CPU_DEVICE: u8 = 0xff;
/// Bytes of checkpoints of the chain that are kept.
const CHECKPOINT_BUDGET: usize = 512 << 20;

/// Why a request cannot be worked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadBench {
	/// `n` is not a multiple of 64 from 64 to 16,384.
	#[error("n must be a multiple of 64, from 64 to 16384")]
	N,
	/// No step or too many.
	#[error("steps must be from 1 to 4096")]
	Steps,
	/// No sample or too many.
	#[error("samples must be from 1 to 1024")]
	Samples,
	/// No segment or too many.
	#[error("segments must be from 1 to 65536")]
	Segments,
	/// A measurement of bandwidth is too long.
	#[error("a bandwidth measurement takes at most 60 s")]
	Bandwidth,
	/// More seats than a committee can have.
	#[error("the committee is too big")]
	Committee,
	/// Nothing that work can be sized by.
	#[error("the class' reference is out of range")]
	Reference,
}

/// Whether this much work may be asked for: checked before anything is allocated for it.
pub fn check_bench(bench: &BenchParams) -> Result<(), BadBench> {
	if !(64..=16_384).contains(&bench.n) || !bench.n.is_multiple_of(64) {
		return Err(BadBench::N);
	}
	if !(1..=4_096).contains(&bench.steps) {
		return Err(BadBench::Steps);
	}
	if !(1..=1_024).contains(&bench.samples) {
		return Err(BadBench::Samples);
	}
	if !(1..=65_536).contains(&bench.cpu_segments) {
		return Err(BadBench::Segments);
	}
	if bench.bandwidth_secs > 60 {
		return Err(BadBench::Bandwidth);
	}
	Ok(())
}

fn check_reference(reference: &Option<ClassReference>) -> Result<(), BadBench> {
	if reference.is_none_or(|reference| reference.is_valid()) {
		Ok(())
	} else {
		Err(BadBench::Reference)
	}
}

/// Whose benchmark of which round it is, and how much work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// Its seed.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// Its agent.
	pub agent: AgentKey,
	/// What it claims.
	pub spec: WorkerSpec,
	/// How much work it is.
	pub bench: BenchParams,
	/// What a GPU of the claimed class is held to.
	pub reference: Option<ClassReference>,
}

/// How much a worker ran, as it says itself; under the attested root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Sizes {
	/// GPUs that computed a chain each; 0 where the processor did.
	pub devices: u8,
	/// The last `X_t` that each of them kept and walked over.
	pub window: u32,
	/// Lanes of the CPU chains and of the memory walk.
	pub lanes: u16,
	/// Memory that was walked, in MiB.
	pub memory_mib: u32,
	/// Disk that was plotted, in MiB.
	pub disk_mib: u32,
}

impl Job {
	/// The job of a request to prove, by the agent with this key.
	pub fn of_prove(request: &ProveRequest, agent: AgentKey) -> Result<Self, BadBench> {
		check_bench(&request.bench)?;
		check_reference(&request.reference)?;
		if request.committee.len() > MAX_COMMITTEE as usize {
			return Err(BadBench::Committee);
		}
		Ok(Self {
			genesis: request.genesis,
			round: request.round,
			seed: request.seed,
			worker: request.worker,
			agent,
			spec: request.spec,
			bench: request.bench,
			reference: request.reference,
		})
	}

	/// The job that a seat checks.
	pub fn of_seat(request: &SeatRequest) -> Result<Self, BadBench> {
		check_bench(&request.bench)?;
		check_reference(&request.reference)?;
		if u32::from(request.seats) > MAX_COMMITTEE {
			return Err(BadBench::Committee);
		}
		Ok(Self {
			genesis: request.genesis,
			round: request.round,
			seed: request.seed,
			worker: request.worker,
			agent: request.agent,
			spec: request.spec,
			bench: request.bench,
			reference: request.reference,
		})
	}

	/// Everything is seeded from this, so no proof serves two rounds, workers or agents.
	pub fn base(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		hash("kaisar/agent 2026 base", &[&id, &self.bench.encode()])
	}

	/// What a worker attests that serves an order. It proves nothing but that its agent was asked in this
	/// round: whether the worker is there, the committee finds out.
	pub fn rented_root(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		hash("kaisar/agent 2026 rented", &[&id])
	}

	/// How much must be run to support the whole claim.
	pub fn plan(&self) -> Sizes {
		let (spec, bench) = (&self.spec, &self.bench);
		let sized = |claimed_gb: u32, param: u32, most: u32| {
			// GB of 10⁹ bytes to MiB. An eighth is left to the system.
			let claimed = u64::from(claimed_gb) * 1_000_000_000 / (1 << 20);
			let wanted = if param == 0 {
				claimed * 7 / 8
			} else {
				claimed.min(u64::from(param))
			};
			u32::try_from(wanted).unwrap_or(u32::MAX).min(most)
		};
		let disk = sized(spec.disk_gb, bench.disk_mib, MAX_DISK_MIB);
		let gpu = self.gpu_plan();
		Sizes {
			devices: gpu.map_or(0, |plan| plan.devices),
			window: gpu.map_or(0, |plan| plan.walk.window as u32),
			lanes: spec.cpu_cores.clamp(1, MAX_LANES),
			memory_mib: sized(spec.memory_gb, bench.memory_mib, MAX_MEMORY_MIB).max(1),
			disk_mib: disk - disk % disk::SECTOR_MIB,
		}
	}

	/// How much each GPU must do, where any is claimed.
	pub fn gpu_plan(&self) -> Option<Plan> {
		let (spec, bench) = (&self.spec, &self.bench);
		let devices = spec.gpu_count.min(MAX_DEVICES);
		if spec.gpu_class == 0 || devices == 0 {
			return None;
		}
		let reference = self.reference.unwrap_or(ClassReference::LEAST);
		Some(match bench.memory_mib {
			0 => Plan::full(reference, devices),
			mib => Plan::scaled(reference, devices, bench.n, bench.steps, mib),
		})
	}

	/// Size of the matrix chain of a worker without a GPU.
	pub fn shape(&self) -> Shape {
		Shape {
			n: self.bench.n as usize,
			steps: self.bench.steps as usize,
		}
	}

	/// The walk that each GPU makes over so many `X_t`.
	pub fn walk(&self, window: u32) -> Option<Walk> {
		self.gpu_plan().map(|plan| Walk {
			window: window as usize,
			..plan.walk
		})
	}

	/// One seed a GPU, and one for the processor: no chain serves two of them.
	pub fn chain_seed(&self, device: u8) -> Hash {
		hash("kaisar/agent 2026 device", &[&self.base(), &[device]])
	}

	/// Longest openings that a worker may send, in bytes.
	pub fn openings_limit(&self) -> usize {
		const HASH: usize = size_of::<Hash>();
		let chain = |shape: Shape| {
			// A row, its two paths, and what their lengths take.
			let row = shape.n + (chain::MAX_DEPTH + chain::MAX_DEPTH) * HASH + 16;
			usize::from(self.bench.samples) * 2 * row + chain::MAX_TOPS * HASH
		};
		let compute = match self.gpu_plan() {
			Some(plan) => {
				let line = walk::LINE + 3 * chain::MAX_DEPTH * HASH + 16;
				let states = plan.walk.legs * walk::WORDS * 4 + 2 * (walk::KEPT + 32 * HASH);
				let legs = walk::SAMPLES * (states + walk::READS * line + 64);
				usize::from(plan.devices) * (chain(plan.walk.shape) + legs + 256)
			}
			None => 0,
		};
		let segments = (cpu::SAMPLES + memory::SAMPLES + disk::SAMPLES) * 64 * HASH;
		compute.max(chain(self.shape())) + segments + 4_096
	}
}

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

/// Seed of the stage after the one with this root.
fn next_seed(base: &Hash, stage: u8, before: &Hash) -> Hash {
	hash("kaisar/agent 2026 stage", &[base, &[stage], before])
}

/// The roots of the stages and what they add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Roots {
	/// How much was run.
	pub sizes: Sizes,
	/// Roots of the matrix chains, the GPUs' walks, the CPU chains, the memory walk and the disk walk.
	pub stages: [Hash; STAGES],
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
	pub took: [Duration; STAGES],
}

/// Runs something on each device at the same time. One that crashes is one that failed.
fn at_once<A: Send, B: Send>(
	on: impl IntoIterator<Item = A>,
	act: impl Fn(A) -> Result<B, DeviceError> + Sync,
) -> Result<Vec<B>, DeviceError> {
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

/// Runs the benchmark; `plots` is where the plot lies, `devices` are the GPUs. Each stage's root is
/// told as soon as it is there.
///
/// A worker that claims GPUs and has none does what one without would do: the proof says so, and no
/// class is supported by it.
pub fn prove(
	job: &Job,
	devices: &[Arc<dyn Device>],
	plots: &std::path::Path,
	mut told: impl FnMut(u8, Hash),
) -> Result<Proof, ProveError> {
	let plan = job.plan();
	let base = job.base();
	let mut took = [Duration::ZERO; STAGES];
	let mut clock = Instant::now();
	let mut done = |stage: usize, root: Hash| {
		took[stage] = clock.elapsed();
		clock = Instant::now();
		told(stage as u8, root);
		root
	};

	let mut plot = disk::Plot::open(plots, &job.agent)?;
	let gpus = match job.gpu_plan().filter(|_| !devices.is_empty()) {
		Some(gpus) => {
			// The processor fills what is missing of the plot meanwhile.
			let (plot, mib) = (&mut plot, plan.disk_mib);
			std::thread::scope(|scope| {
				let filling = scope.spawn(move || plot.grow(mib));
				let result = prove_gpus(job, &gpus, devices, &mut done);
				filling.join().map_err(|_| ProveError::Crashed)?;
				// What it can do without a GPU it still does.
				Ok::<_, ProveError>(
					result
						.inspect_err(|error| tracing::error!(%error, "no GPU is proved"))
						.ok(),
				)
			})?
		}
		None => None,
	};
	let (compute, chain_root, walk_root, window) = match gpus {
		Some(gpus) => gpus,
		None => {
			// Filling the plot is done once, and before the clock of any stage that is judged.
			plot.grow(plan.disk_mib);
			let seed = job.chain_seed(CPU_DEVICE);
			let chain = Chain::compute(seed, job.shape(), CHECKPOINT_BUDGET);
			let root = done(0, chain.root());
			let walk_root = done(1, NO_WALK);
			(Compute::Processor(chain), root, walk_root, 0)
		}
	};
	let disk_mib = plot.mib().min(plan.disk_mib);
	let memory_mib = plan
		.memory_mib
		.min((u64::from(crate::worker::claim::available_memory_mib()) * 9 / 10) as u32);
	let sizes = Sizes {
		devices: match &compute {
			Compute::Gpus(gpus) => gpus.len() as u8,
			Compute::Processor(_) => 0,
		},
		window,
		lanes: plan.lanes,
		memory_mib: memory_mib.max(1),
		disk_mib,
	};
	let lanes = usize::from(sizes.lanes);
	let segments = job.bench.cpu_segments as usize;

	let cpu = cpu::compute(&next_seed(&base, 2, &walk_root), lanes, segments);
	let cpu_root = done(2, cpu.root());
	let memory = memory::compute(
		&next_seed(&base, 3, &cpu_root),
		lanes,
		sizes.memory_mib as usize,
	)
	.ok_or(ProveError::Memory)?;
	let memory_root = done(3, memory.root());
	let disk = plot.walk(&next_seed(&base, 4, &memory_root), sizes.disk_mib)?;
	let disk_root = done(4, disk.root());

	let roots = Roots {
		sizes,
		stages: [chain_root, walk_root, cpu_root, memory_root, disk_root],
	};
	let root = roots.attested(&base);
	let walk = job.walk(sizes.window).filter(|_| sizes.devices > 0);
	Ok(Proof {
		base,
		compute,
		segments,
		cpu,
		memory,
		disk,
		shape: walk.map_or(job.shape(), |walk| walk.shape),
		walk,
		samples: usize::from(job.bench.samples),
		roots,
		root,
		took,
	})
}

/// The chains and the walks of all GPUs, each stage on all of them at the same time. Returns them, the
/// stages' roots, and how many `X_t` each GPU kept.
fn prove_gpus(
	job: &Job,
	plan: &Plan,
	devices: &[Arc<dyn Device>],
	done: &mut impl FnMut(usize, Hash) -> Hash,
) -> Result<(Compute, Hash, Hash, u32), DeviceError> {
	let base = job.base();
	let used = devices.iter().take(usize::from(plan.devices));
	let runs = at_once(used.enumerate(), |(number, device)| {
		let seed = job.chain_seed(number as u8);
		device.start(seed, plan.walk.shape, plan.walk.window)
	})?;
	let roots: Vec<Hash> = runs.iter().map(|run| run.steps().root()).collect();
	let chain_root = done(0, root_of_devices(&roots));
	let window = runs.iter().map(|run| run.window()).min().unwrap_or(0);
	let walk = Walk {
		window,
		..plan.walk
	};
	let gpus = at_once(runs.into_iter().enumerate(), |(number, mut run)| {
		let seed = walk_seed(
			&next_seed(&base, 1, &chain_root),
			number as u8,
			&roots[number],
		);
		let walk_root = run.walk(seed, walk)?;
		Ok(Gpu { run, walk_root })
	})?;
	let roots: Vec<Hash> = gpus.iter().map(|gpu| gpu.walk_root).collect();
	let walk_root = done(1, root_of_devices(&roots));
	Ok((Compute::Gpus(gpus), chain_root, walk_root, window as u32))
}

/// What a GPU shows.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
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
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ComputeOpening {
	/// The processor's only one.
	#[codec(index = 0)]
	Processor(ChainOpening),
	/// Each GPU's own, and its walk.
	#[codec(index = 1)]
	Gpus(Vec<GpuOpening>),
}

/// What a worker shows a checker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
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
				})?;
				ComputeOpening::Gpus(opened)
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
	let [_, walk_root, cpu_root, memory_root, disk_root] = &roots.stages;
	verify_compute(job, roots, &seed, &openings.compute)?;

	let segments = job.bench.cpu_segments as usize;
	let at = cpu::positions(&seed, lanes, segments);
	let stage = next_seed(&base, 2, walk_root);
	if !cpu::verify(&stage, lanes, segments, cpu_root, &at, &openings.cpu) {
		return Err(Reject::Cpu);
	}
	let at = memory::positions(&seed, lanes);
	let stage = next_seed(&base, 3, cpu_root);
	let mib = sizes.memory_mib as usize;
	if !memory::verify(&stage, lanes, mib, memory_root, &at, &openings.memory) {
		return Err(Reject::Memory);
	}
	let at = if challenge.full {
		disk::positions(&seed)
	} else {
		Vec::new()
	};
	let stage = next_seed(&base, 4, memory_root);
	if !disk::verify(
		&stage,
		&job.agent,
		sizes.disk_mib,
		disk_root,
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
	let [chain_root, walk_root, ..] = &roots.stages;
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
	let stage = next_seed(&job.base(), 1, chain_root);
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
pub(crate) mod tests;
