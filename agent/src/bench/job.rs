//! A worker's benchmark of a round: whose it is, and how much work.

use crate::bench::{
	chain::{self, Shape},
	classes::Plan,
	cpu,
	device::MAX_DEVICES,
	disk,
	hash::{Hash, hash},
	memory,
	walk::{self, Walk},
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, MAX_COMMITTEE, RoundIndex, WorkerId, WorkerSpec,
	agent::{ProveRequest, SeatRequest},
};
use sp_core::H256;

/// Most lanes that are run: enough to show the highest tier of CPU.
pub const MAX_LANES: u16 = 144;
/// Most memory that is walked, in MiB: enough to show the highest tier.
pub const MAX_MEMORY_MIB: u32 = 560 * 1_024;
/// Most disk that is plotted, in MiB: enough to show the highest tier.
pub const MAX_DISK_MIB: u32 = 11_000 * 1_024;

/// The largest claim, in bytes, that `shown` bytes of memory or disk support: the inverse of the eighth that
/// [`Job::plan`] leaves to the system.
pub fn claim_of(shown: u64) -> u64 {
	shown.saturating_add(shown / 7)
}

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

/// Checks that this much work may be asked for, before anything is allocated for it.
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

/// A worker's benchmark of a round, and the work that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
	/// The chain.
	pub genesis: H256,
	/// The round.
	pub round: RoundIndex,
	/// The seed of its trial.
	pub seed: H256,
	/// The worker.
	pub worker: WorkerId,
	/// Its agent.
	pub agent: AgentKey,
	/// The worker's claim.
	pub spec: WorkerSpec,
	/// The amount of work.
	pub bench: BenchParams,
	/// Reference that a GPU of the claimed class is held to.
	pub reference: Option<ClassReference>,
}

/// Amount of work that a worker ran, by its own account; under the attested root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking)]
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

/// The job of a request. The two requests are messages of their own, and name these fields alike.
macro_rules! job_of {
	($request:expr, $agent:expr) => {
		Job {
			genesis: $request.genesis,
			round: $request.round,
			seed: $request.seed,
			worker: $request.worker,
			agent: $agent,
			spec: $request.spec,
			bench: $request.bench,
			reference: $request.reference,
		}
	};
}

impl Job {
	/// The job of a request to prove, by the agent with this key.
	pub fn of_prove(request: &ProveRequest, agent: AgentKey) -> Result<Self, BadBench> {
		job_of!(request, agent).checked(request.committee.len())
	}

	/// The job that a seat checks.
	pub fn of_seat(request: &SeatRequest) -> Result<Self, BadBench> {
		job_of!(request, request.agent).checked(usize::from(request.seats))
	}

	/// The job, if this much work may be asked for by so many seats.
	fn checked(self, seats: usize) -> Result<Self, BadBench> {
		check_bench(&self.bench)?;
		check_reference(&self.reference)?;
		if seats > MAX_COMMITTEE as usize {
			return Err(BadBench::Committee);
		}
		Ok(self)
	}

	/// Everything is seeded from this, so no proof serves two rounds, workers or agents.
	pub fn base(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		hash("kaisar/agent 2026 base", &[&id, &self.bench.encode()])
	}

	/// The root that a worker attests while it serves an order. It proves nothing but that its agent was
	/// asked in this round: whether the worker is there, the committee finds out.
	pub fn rented_root(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		hash("kaisar/agent 2026 rented", &[&id])
	}

	/// Amount of work that supports the whole claim.
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

	/// Work of each GPU, if any is claimed.
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

#[cfg(test)]
pub(crate) mod tests;
