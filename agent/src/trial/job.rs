//! A worker's trial of a round: its identity, and its amount of work.

use super::{
	disk,
	hash::{Hash, key},
	judge::{self, MAX_LANES},
	matrix,
	plot::{GROUP, NODE, NODES, Recipe},
	processor,
	ram::PAGE,
};
use codec::{Decode, DecodeWithMemTracking, Encode};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, MAX_COMMITTEE, RoundIndex, WorkerId, WorkerSpec,
	agent::{PrepareRequest, ProveRequest, SeatRequest},
};
use sp_core::H256;

/// Part of a GPU's memory that its window takes, in percent.
const WINDOW: u64 = 95;
/// Number of matrices that the window leaves free for the work itself.
const WORKING: u64 = 16;
const MIB: u64 = 1 << 20;

/// Reason for refusing work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadWork {
	/// A size of the work is out of range.
	#[error("a size of the round's work is out of range: {0:?}")]
	Bench(BenchParams),
	/// More seats than a committee can have.
	#[error("the committee has more than {max} seats", max = MAX_COMMITTEE)]
	Committee,
	/// The reference of the class is out of range.
	#[error("the reference of the class is out of range")]
	Reference,
}

/// A worker's trial of a round, without the seed of the trial.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
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
	/// Its claim.
	pub spec: WorkerSpec,
	/// The amount of work.
	pub bench: BenchParams,
	/// The reference of the claimed class.
	pub reference: Option<ClassReference>,
}

/// Sizes of the work that a worker runs, under the attested root. They are fixed before the trial and stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking)]
pub struct Sizes {
	/// GPUs.
	pub gpus: u8,
	/// Matrices in the window of each.
	pub window: u32,
	/// Lanes.
	pub lanes: u16,
	/// Pages of memory.
	pub pages: u64,
	/// Groups of the plot.
	pub groups: u32,
}

/// Bytes of a matrix.
fn matrix_bytes(n: u32) -> u64 {
	u64::from(n) * u64::from(n)
}

/// Returns the matrices in the whole window of a GPU of a class.
fn window_of(reference: &ClassReference, n: u32) -> u64 {
	let bytes = u64::from(reference.memory_gb) * 1_000_000_000 * WINDOW / 100;
	(bytes / matrix_bytes(n)).saturating_sub(WORKING)
}

/// Returns the bytes that a GPU needs for the smallest window that shows a class, and to work with it.
pub fn least_memory(reference: &ClassReference, n: u32) -> u64 {
	let window = (window_of(reference, n) * judge::SHARE).div_ceil(100);
	(window + WORKING) * matrix_bytes(n)
}

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
	/// Returns the job of a request to prepare, for the agent with this key.
	pub fn of_prepare(request: &PrepareRequest, agent: AgentKey) -> Result<Self, BadWork> {
		job_of!(request, agent).checked(request.committee.len())
	}

	/// Returns the job of a request to prove.
	pub fn of_prove(request: &ProveRequest, agent: AgentKey) -> Result<Self, BadWork> {
		job_of!(request, agent).checked(request.committee.len())
	}

	/// Returns the job that a seat checks.
	pub fn of_seat(request: &SeatRequest) -> Result<Self, BadWork> {
		job_of!(request, request.agent).checked(usize::from(request.seats))
	}

	/// Returns the job, if its work is in range.
	fn checked(self, seats: usize) -> Result<Self, BadWork> {
		if self.bench.held() != self.bench {
			return Err(BadWork::Bench(self.bench));
		}
		if self
			.reference
			.is_some_and(|reference| !reference.is_valid())
		{
			return Err(BadWork::Reference);
		}
		if seats > MAX_COMMITTEE as usize {
			return Err(BadWork::Committee);
		}
		Ok(self)
	}

	/// Returns the base of all prepared work: no work serves two rounds, workers or agents.
	pub fn base(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		key("base", &[&id, &self.bench.encode()])
	}

	/// Returns the start of all work in the trial.
	pub fn start(&self, trial_seed: &H256) -> Hash {
		key("start", &[&self.base(), trial_seed.as_bytes()])
	}

	/// Returns the root that a worker attests while it serves an order. It proves only that its agent got a
	/// request in this round; the committee finds out whether the worker is reachable.
	pub fn rented_root(&self) -> Hash {
		key("rented", &[&self.base()])
	}

	/// Returns the sizes that show the whole claim.
	pub fn plan(&self) -> Sizes {
		let (spec, bench) = (&self.spec, &self.bench);
		let pages = |mib: u32| u64::from(mib) * MIB / PAGE as u64;
		let pages = match bench.memory_mib {
			0 => judge::pages_planned(spec.memory_gb),
			mib => judge::pages_planned(spec.memory_gb).min(pages(mib)),
		};
		let group = self.recipe().group_bytes();
		let groups = match bench.disk_mib {
			0 => judge::groups_planned(spec.disk_gb, group),
			_ => u64::from(spec.disk_gb > 0),
		};
		let gpus = match spec.gpu_class {
			0 => 0,
			_ => spec.gpu_count.min(matrix::Size::MAX_GPUS as u8),
		};
		Sizes {
			gpus,
			window: if gpus == 0 { 0 } else { self.window() },
			lanes: spec.cpu_cores.clamp(1, MAX_LANES),
			// The lanes read at least one page, whatever is claimed.
			pages: pages.max(1),
			groups: u32::try_from(groups).unwrap_or(u32::MAX),
		}
	}

	/// Returns the matrices in the window of a GPU of the class.
	fn window(&self) -> u32 {
		let reference = self.reference.unwrap_or(ClassReference::LEAST);
		let matrices = match self.bench.window_mib {
			0 => window_of(&reference, self.bench.n),
			mib => (u64::from(mib) * MIB / matrix_bytes(self.bench.n))
				.min(window_of(&reference, self.bench.n)),
		};
		let most = matrix::Size::most_window(self.bench.n);
		u32::try_from(matrices.min(most)).unwrap_or(u32::MAX).max(2)
	}

	/// Returns the turns of each GPU.
	pub fn turns(&self) -> u32 {
		match self.bench.turns {
			0 => self.reference.unwrap_or(ClassReference::LEAST).trial_turns,
			turns => turns,
		}
	}

	/// Returns the sizes of a GPU's work.
	pub fn gpu(&self, sizes: &Sizes) -> matrix::Size {
		matrix::Size {
			n: self.bench.n,
			window: sizes.window,
			turns: self.turns(),
		}
	}

	/// Returns the sizes of the lanes.
	pub fn processor(&self, sizes: &Sizes) -> processor::Size {
		processor::Size {
			lanes: sizes.lanes,
			stages: self.bench.stages,
			pages: sizes.pages,
		}
	}

	/// Returns the sizes of the disk's trial.
	pub fn disk(&self, sizes: &Sizes) -> disk::Size {
		disk::Size {
			groups: sizes.groups,
			reads: self.bench.reads,
		}
	}

	/// Returns the recipe of the plot. On development chains the plot is one small group.
	pub fn recipe(&self) -> Recipe {
		let most = u64::from(GROUP);
		let nodes = match self.bench.disk_mib {
			0 => most,
			mib => (u64::from(mib) * MIB / NODE as u64).clamp(NODES as u64, most),
		};
		Recipe::new(&self.genesis.0, &self.agent.0, nodes as u32)
	}
}

#[cfg(test)]
pub(crate) mod tests;
