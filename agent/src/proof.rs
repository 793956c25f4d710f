//! One round's benchmark, all of it: the matrix chain, the CPU chains, the memory walk and the disk
//! walk, one after the other, each seeded by the root of the one before, under one attested root.

use crate::{
	chain::{self, Chain, ChainOpening, Shape},
	cpu, disk,
	hash::{Hash, SegmentOpening, Segments, hash},
	memory,
};
use codec::{Decode, Encode};
use kaisar_primitives::{
	AgentKey, BenchParams, MAX_COMMITTEE, RoundIndex, WorkerId, WorkerSpec,
	agent::{ProveRequest, SeatRequest},
};
use sp_core::H256;

/// The parts of a benchmark, in their order.
pub const STAGES: usize = 4;
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
}

/// How much a worker ran, as it says itself; under the attested root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Sizes {
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
		})
	}

	/// The job that a seat checks.
	pub fn of_seat(request: &SeatRequest) -> Result<Self, BadBench> {
		check_bench(&request.bench)?;
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
		})
	}

	/// Everything is seeded from this, so no proof serves two rounds, workers or agents.
	pub fn base(&self) -> Hash {
		let id = (self.genesis, self.round, self.seed, self.worker, self.agent).encode();
		hash("kaisar/agent 2026 base", &[&id, &self.bench.encode()])
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
		Sizes {
			lanes: spec.cpu_cores.clamp(1, MAX_LANES),
			memory_mib: sized(spec.memory_gb, bench.memory_mib, MAX_MEMORY_MIB).max(1),
			disk_mib: disk - disk % disk::SECTOR_MIB,
		}
	}

	/// Size of the matrix chain.
	pub fn shape(&self) -> Shape {
		Shape {
			n: self.bench.n as usize,
			steps: self.bench.steps as usize,
		}
	}

	fn chain_seed(&self) -> Hash {
		hash("kaisar/agent 2026 device", &[&self.base(), &[CPU_DEVICE]])
	}

	/// Longest openings that a worker may send, in bytes.
	pub fn openings_limit(&self) -> usize {
		let rows = self.bench.samples as usize * 2 * (self.bench.n as usize + 15 * 32 + 16);
		let roots = self.bench.steps as usize * 32;
		let segments = (cpu::SAMPLES + memory::SAMPLES + disk::SAMPLES) * 64 * 32;
		rows + roots + segments + 4_096
	}
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
	/// Roots of the matrix chain, the CPU chains, the memory walk and the disk walk.
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
}

/// A finished benchmark, ready to be opened.
pub struct Proof {
	base: Hash,
	chain: Chain,
	segments: usize,
	cpu: Segments,
	memory: Segments,
	disk: Segments,
	shape: Shape,
	samples: usize,
	/// Roots of its stages.
	pub roots: Roots,
	/// The root that is attested.
	pub root: Hash,
	/// How long each stage took here.
	pub took: [std::time::Duration; STAGES],
}

/// Runs the benchmark; `plots` is where the plot lies. Each stage's root is told as soon as it is
/// there.
pub fn prove(
	job: &Job,
	plots: &std::path::Path,
	mut told: impl FnMut(u8, Hash),
) -> Result<Proof, ProveError> {
	let plan = job.plan();
	let base = job.base();
	// Filling the plot is done once, and before the clock of any stage that is judged.
	let mut plot = disk::Plot::open(plots, &job.agent)?;
	let disk_mib = plot.grow(plan.disk_mib).min(plan.disk_mib);
	let memory_mib = plan
		.memory_mib
		.min((u64::from(crate::hardware::available_memory_mib()) * 9 / 10) as u32);
	let sizes = Sizes {
		lanes: plan.lanes,
		memory_mib: memory_mib.max(1),
		disk_mib,
	};
	let lanes = usize::from(sizes.lanes);
	let segments = job.bench.cpu_segments as usize;
	let mut took = [std::time::Duration::ZERO; STAGES];
	let mut clock = std::time::Instant::now();
	let mut done = |stage: usize, root: Hash| {
		took[stage] = clock.elapsed();
		clock = std::time::Instant::now();
		told(stage as u8, root);
		root
	};

	let chain = Chain::compute(job.chain_seed(), job.shape(), CHECKPOINT_BUDGET);
	let chain_root = done(0, chain.root());
	let cpu = cpu::compute(&next_seed(&base, 1, &chain_root), lanes, segments);
	let cpu_root = done(1, cpu.root());
	let memory = memory::compute(
		&next_seed(&base, 2, &cpu_root),
		lanes,
		sizes.memory_mib as usize,
	)
	.ok_or(ProveError::Memory)?;
	let memory_root = done(2, memory.root());
	let disk = plot.walk(&next_seed(&base, 3, &memory_root), sizes.disk_mib)?;
	let disk_root = done(3, disk.root());

	let roots = Roots {
		sizes,
		stages: [chain_root, cpu_root, memory_root, disk_root],
	};
	let root = roots.attested(&base);
	Ok(Proof {
		base,
		chain,
		segments,
		cpu,
		memory,
		disk,
		shape: job.shape(),
		samples: usize::from(job.bench.samples),
		roots,
		root,
		took,
	})
}

/// What a worker shows a checker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Openings {
	/// The roots under the attested one.
	pub roots: Roots,
	/// Of the matrix chain.
	pub chain: ChainOpening,
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
	pub fn open(&self, challenge: &Challenge) -> Openings {
		let seed = challenge.seed(&self.base, &self.root);
		let lanes = usize::from(self.roots.sizes.lanes);
		let open = |all: &Segments, at: Vec<usize>| at.into_iter().map(|at| all.open(at)).collect();
		Openings {
			roots: self.roots,
			chain: self
				.chain
				.open(&chain::positions(&seed, self.shape, self.samples)),
			cpu: open(&self.cpu, cpu::positions(&seed, lanes, self.segments)),
			memory: open(&self.memory, memory::positions(&seed, lanes)),
			disk: if challenge.full {
				open(&self.disk, disk::positions(&seed))
			} else {
				Vec::new()
			},
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
	if sizes.lanes == 0
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
	let [chain_root, cpu_root, memory_root, disk_root] = &roots.stages;

	let shape = job.shape();
	let at = chain::positions(&seed, shape, usize::from(job.bench.samples));
	chain::verify(&job.chain_seed(), shape, chain_root, &at, &openings.chain)?;

	let segments = job.bench.cpu_segments as usize;
	let at = cpu::positions(&seed, lanes, segments);
	let stage = next_seed(&base, 1, chain_root);
	if !cpu::verify(&stage, lanes, segments, cpu_root, &at, &openings.cpu) {
		return Err(Reject::Cpu);
	}
	let at = memory::positions(&seed, lanes);
	let stage = next_seed(&base, 2, cpu_root);
	let mib = sizes.memory_mib as usize;
	if !memory::verify(&stage, lanes, mib, memory_root, &at, &openings.memory) {
		return Err(Reject::Memory);
	}
	let at = if challenge.full {
		disk::positions(&seed)
	} else {
		Vec::new()
	};
	let stage = next_seed(&base, 3, memory_root);
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

#[cfg(test)]
pub(crate) mod tests {
	use super::*;
	use proptest::prelude::*;
	use std::sync::OnceLock;

	/// Small enough for a test, and real.
	pub(crate) const BENCH: BenchParams = BenchParams {
		n: 64,
		steps: 4,
		samples: 8,
		cpu_segments: 2,
		memory_mib: 2,
		disk_mib: 4,
		bandwidth_secs: 1,
	};

	pub(crate) fn spec() -> WorkerSpec {
		WorkerSpec {
			cpu_cores: 2,
			memory_gb: 8,
			disk_gb: 10,
			download_mbps: 100,
			upload_mbps: 100,
			region: *b"DE",
			..Default::default()
		}
	}

	fn job() -> Job {
		Job {
			genesis: H256::repeat_byte(1),
			round: 4,
			seed: H256::repeat_byte(2),
			worker: 7,
			agent: AgentKey::from_raw([3; 32]),
			spec: spec(),
			bench: BENCH,
		}
	}

	fn challenge(byte: u8) -> Challenge {
		Challenge {
			open_seed: H256::repeat_byte(byte),
			nonce: [byte; 32],
			full: true,
		}
	}

	fn proof() -> &'static Proof {
		static PROOF: OnceLock<Proof> = OnceLock::new();
		PROOF.get_or_init(|| {
			let dir = tempfile::tempdir().unwrap();
			prove(&job(), dir.path(), |_, _| ()).unwrap()
		})
	}

	#[test]
	fn a_proof_verifies_and_its_stages_are_told_in_order() {
		let dir = tempfile::tempdir().unwrap();
		let mut told = Vec::new();
		let proof = prove(&job(), dir.path(), |stage, root| told.push((stage, root))).unwrap();
		let stages: Vec<_> = proof
			.roots
			.stages
			.iter()
			.enumerate()
			.map(|(at, root)| (at as u8, *root))
			.collect();
		assert_eq!(told, stages);
		assert_eq!(proof.roots.sizes, job().plan());
		for full in [false, true] {
			let challenge = Challenge {
				full,
				..challenge(5)
			};
			let openings = proof.open(&challenge);
			assert_eq!(verify(&job(), &proof.root, &challenge, &openings), Ok(()));
			assert!(openings.encoded_size() <= job().openings_limit());
		}
		// The same seed gives the same proof: a restart in the middle of a round loses nothing.
		assert_eq!(
			prove(&job(), dir.path(), |_, _| ()).unwrap().root,
			proof.root
		);
	}

	#[test]
	fn a_replayed_or_copied_proof_is_refused() {
		let (proof, challenge) = (proof(), challenge(5));
		let openings = proof.open(&challenge);
		let others = [
			(
				"another round's seed",
				Job {
					seed: H256::repeat_byte(9),
					..job()
				},
			),
			("another round", Job { round: 6, ..job() }),
			(
				"another chain",
				Job {
					genesis: H256::repeat_byte(9),
					..job()
				},
			),
			("another worker", Job { worker: 8, ..job() }),
			(
				"another agent",
				Job {
					agent: AgentKey::from_raw([4; 32]),
					..job()
				},
			),
			(
				"less work",
				Job {
					bench: BenchParams { steps: 5, ..BENCH },
					..job()
				},
			),
		];
		for (what, other) in others {
			assert_eq!(
				verify(&other, &proof.root, &challenge, &openings),
				Err(Reject::Root),
				"{what}"
			);
			// And with a root that is made to fit.
			let root = openings.roots.attested(&other.base());
			assert!(
				verify(&other, &root, &challenge, &openings).is_err(),
				"{what}"
			);
		}
		// Openings for one checker are of no use to another.
		let theirs = super::tests::challenge(6);
		assert!(verify(&job(), &proof.root, &theirs, &openings).is_err());
	}

	#[test]
	fn sizes_out_of_range_are_refused() {
		let proof = proof();
		let openings = proof.open(&challenge(5));
		for sizes in [
			Sizes {
				lanes: 0,
				..proof.roots.sizes
			},
			Sizes {
				lanes: MAX_LANES + 1,
				..proof.roots.sizes
			},
			Sizes {
				memory_mib: 0,
				..proof.roots.sizes
			},
			Sizes {
				memory_mib: u32::MAX,
				..proof.roots.sizes
			},
			Sizes {
				disk_mib: u32::MAX,
				..proof.roots.sizes
			},
			Sizes {
				disk_mib: 5,
				..proof.roots.sizes
			},
		] {
			let mut openings = openings.clone();
			openings.roots.sizes = sizes;
			let root = openings.roots.attested(&job().base());
			assert_eq!(
				verify(&job(), &root, &challenge(5), &openings),
				Err(Reject::Sizes)
			);
		}
	}

	#[test]
	fn a_claim_bigger_than_what_was_run_is_refused() {
		let proof = proof();
		let mut openings = proof.open(&challenge(5));
		openings.roots.sizes.memory_mib += 1;
		let root = openings.roots.attested(&job().base());
		// With another attested root other places are drawn: nothing fits any more.
		assert!(verify(&job(), &root, &challenge(5), &openings).is_err());
	}

	#[test]
	fn work_that_must_not_be_asked_for_is_refused() {
		assert_eq!(check_bench(&BENCH), Ok(()));
		assert_eq!(check_bench(&BenchParams::default()), Ok(()));
		for (bad, why) in [
			(BenchParams { n: 0, ..BENCH }, BadBench::N),
			(BenchParams { n: 65, ..BENCH }, BadBench::N),
			(
				BenchParams {
					n: u32::MAX - 63,
					..BENCH
				},
				BadBench::N,
			),
			(BenchParams { steps: 0, ..BENCH }, BadBench::Steps),
			(
				BenchParams {
					steps: u32::MAX,
					..BENCH
				},
				BadBench::Steps,
			),
			(
				BenchParams {
					samples: 0,
					..BENCH
				},
				BadBench::Samples,
			),
			(
				BenchParams {
					samples: u16::MAX,
					..BENCH
				},
				BadBench::Samples,
			),
			(
				BenchParams {
					cpu_segments: 0,
					..BENCH
				},
				BadBench::Segments,
			),
			(
				BenchParams {
					cpu_segments: u32::MAX,
					..BENCH
				},
				BadBench::Segments,
			),
			(
				BenchParams {
					bandwidth_secs: 61,
					..BENCH
				},
				BadBench::Bandwidth,
			),
		] {
			assert_eq!(check_bench(&bad), Err(why));
		}
	}

	#[test]
	fn the_plan_follows_the_claim_and_stays_within_bounds() {
		let all = BenchParams {
			memory_mib: 0,
			disk_mib: 0,
			..BENCH
		};
		let huge = WorkerSpec {
			cpu_cores: u16::MAX,
			memory_gb: u32::MAX,
			disk_gb: u32::MAX,
			..spec()
		};
		let plan = Job {
			bench: all,
			spec: huge,
			..job()
		}
		.plan();
		assert_eq!(plan.lanes, MAX_LANES);
		assert_eq!(plan.memory_mib, MAX_MEMORY_MIB);
		assert_eq!(plan.disk_mib, MAX_DISK_MIB);
		let plan = Job {
			bench: all,
			..job()
		}
		.plan();
		assert_eq!(
			plan.memory_mib,
			(8_000_000_000u64 / (1 << 20) * 7 / 8) as u32
		);
		let none = WorkerSpec::default();
		assert_eq!(
			Job {
				spec: none,
				..job()
			}
			.plan(),
			Sizes {
				lanes: 1,
				memory_mib: 1,
				disk_mib: 0
			}
		);
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

		#[test]
		fn one_flipped_bit_anywhere_is_rejected(bit in any::<prop::sample::Index>(), byte: u8) {
			let challenge = challenge(byte);
			let mut bytes = proof().open(&challenge).encode();
			let bit = bit.index(bytes.len() * 8);
			bytes[bit / 8] ^= 1 << (bit % 8);
			let accepted = Openings::decode(&mut &bytes[..])
				.is_ok_and(|other| verify(&job(), &proof().root, &challenge, &other).is_ok());
			prop_assert!(!accepted);
		}

		#[test]
		fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
			if let Ok(openings) = Openings::decode(&mut &bytes[..]) {
				prop_assert!(verify(&job(), &proof().root, &challenge(1), &openings).is_err());
			}
		}
	}
}
