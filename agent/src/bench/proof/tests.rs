use super::*;
use crate::bench::{
	device::Processor,
	job::tests::{BENCH, job, spec},
};
use kaisar_primitives::{AgentKey, BenchParams, WorkerSpec};
use proptest::prelude::*;
use std::sync::OnceLock;

fn challenge(byte: u8) -> Challenge {
	Challenge {
		open_seed: H256::repeat_byte(byte),
		nonce: [byte; 32],
		full: true,
	}
}

/// Decodes openings of a full check.
fn decoded(job: &Job, bytes: &[u8]) -> Result<Openings, codec::Error> {
	Openings::decode_within(bytes, &Counts::of(job, true))
}

fn proof() -> &'static Proof {
	static PROOF: OnceLock<Proof> = OnceLock::new();
	PROOF.get_or_init(|| {
		let dir = tempfile::tempdir().unwrap();
		prove(&job(), &[], dir.path(), |_, _| ()).unwrap()
	})
}

#[test]
fn a_proof_verifies_and_its_stages_are_told_in_order() {
	let dir = tempfile::tempdir().unwrap();
	let mut told = Vec::new();
	let proof = prove(&job(), &[], dir.path(), |stage, root| {
		told.push((stage, root))
	})
	.unwrap();
	let stages: Vec<_> = proof
		.roots
		.stages
		.iter()
		.map(|(stage, root)| (stage, *root))
		.collect();
	assert_eq!(told, stages);
	assert_eq!(proof.roots.sizes, job().plan());
	for full in [false, true] {
		let challenge = Challenge {
			full,
			..challenge(5)
		};
		let openings = proof.open(&challenge).unwrap();
		assert_eq!(verify(&job(), &proof.root, &challenge, &openings), Ok(()));
		assert!(openings.encoded_size() <= job().openings_limit());
	}
	// The same seed gives the same proof: a restart in the middle of a round loses nothing.
	assert_eq!(
		prove(&job(), &[], dir.path(), |_, _| ()).unwrap().root,
		proof.root
	);
}

#[test]
fn a_replayed_or_copied_proof_is_refused() {
	let (proof, challenge) = (proof(), challenge(5));
	let openings = proof.open(&challenge).unwrap();
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
	let openings = proof.open(&challenge(5)).unwrap();
	for sizes in [
		Sizes {
			devices: 1,
			..proof.roots.sizes
		},
		Sizes {
			window: 1,
			..proof.roots.sizes
		},
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
	let mut openings = proof.open(&challenge(5)).unwrap();
	openings.roots.sizes.memory_mib += 1;
	let root = openings.roots.attested(&job().base());
	// With another attested root other places are drawn: nothing fits any more.
	assert!(verify(&job(), &root, &challenge(5), &openings).is_err());
}

/// A worker with two GPUs, which the processor plays.
fn gpu_job() -> Job {
	Job {
		spec: WorkerSpec {
			gpu_class: 11,
			gpu_count: 2,
			..spec()
		},
		bench: BenchParams { steps: 3, ..BENCH },
		..job()
	}
}

fn devices(count: usize) -> Vec<Arc<dyn Device>> {
	(0..count)
		.map(|_| Arc::new(Processor) as Arc<dyn Device>)
		.collect()
}

fn gpu_proof() -> &'static Proof {
	static PROOF: OnceLock<Proof> = OnceLock::new();
	PROOF.get_or_init(|| {
		let dir = tempfile::tempdir().unwrap();
		prove(&gpu_job(), &devices(3), dir.path(), |_, _| ()).unwrap()
	})
}

fn gpus(openings: &mut Openings) -> &mut Vec<GpuOpening> {
	match &mut openings.compute {
		ComputeOpening::Gpus(gpus) => gpus,
		ComputeOpening::Processor(_) => panic!("the processor's"),
	}
}

#[test]
fn all_gpus_that_are_claimed_are_proved_under_one_root() {
	let proof = gpu_proof();
	let sizes = proof.roots.sizes;
	assert_eq!(
		(sizes.devices, sizes.window),
		(2, 2),
		"no more than is claimed"
	);
	let mut openings = proof.open(&challenge(5)).unwrap();
	assert!(openings.encoded_size() <= gpu_job().openings_limit());
	let check = |openings: &Openings| verify(&gpu_job(), &proof.root, &challenge(5), openings);
	assert_eq!(check(&openings), Ok(()));
	// Both have a chain and a walk of their own.
	let [one, two] = &gpus(&mut openings)[..] else {
		panic!("two")
	};
	assert_ne!(one.chain_root, two.chain_root);
	assert_ne!(one.walk_root, two.walk_root);
}

#[test]
fn one_gpu_does_not_stand_for_two() {
	let proof = gpu_proof();
	let good = proof.open(&challenge(5)).unwrap();
	let check = |openings: &Openings| verify(&gpu_job(), &proof.root, &challenge(5), openings);
	// The same opening twice, in the other order, one alone, one too many.
	for order in [&[0, 0][..], &[1, 1], &[1, 0], &[0], &[], &[0, 1, 1]] {
		let mut openings = good.clone();
		let all = gpus(&mut openings).clone();
		*gpus(&mut openings) = order.iter().map(|at| all[*at].clone()).collect();
		assert!(check(&openings).is_err(), "{order:?}");
	}
	// Under a root that is made to fit: the second has another seed than the first.
	let mut openings = good.clone();
	let one = gpus(&mut openings)[0].clone();
	*gpus(&mut openings) = vec![one.clone(), one.clone()];
	openings.roots.stages[Stage::Chain] = root_of_devices(&[one.chain_root, one.chain_root]);
	openings.roots.stages[Stage::Walk] = root_of_devices(&[one.walk_root, one.walk_root]);
	let root = openings.roots.attested(&gpu_job().base());
	assert!(verify(&gpu_job(), &root, &challenge(5), &openings).is_err());
}

#[test]
fn a_processors_proof_is_none_of_a_gpu() {
	let dir = tempfile::tempdir().unwrap();
	let proof = prove(&gpu_job(), &[], dir.path(), |_, _| ()).unwrap();
	assert_eq!(
		(proof.roots.sizes.devices, proof.roots.sizes.window),
		(0, 0)
	);
	let openings = proof.open(&challenge(5)).unwrap();
	let job = gpu_job();
	assert_eq!(verify(&job, &proof.root, &challenge(5), &openings), Ok(()));
	// It says that it was a GPU's.
	let mut forged = openings.clone();
	(forged.roots.sizes.devices, forged.roots.sizes.window) = (1, 1);
	let root = forged.roots.attested(&job.base());
	assert_eq!(
		verify(&job, &root, &challenge(5), &forged),
		Err(Reject::Sizes)
	);
	// And a GPU's proof is none of the processor's.
	let mut forged = gpu_proof().open(&challenge(5)).unwrap();
	(forged.roots.sizes.devices, forged.roots.sizes.window) = (0, 0);
	let root = forged.roots.attested(&job.base());
	assert_eq!(
		verify(&job, &root, &challenge(5), &forged),
		Err(Reject::Sizes)
	);
}

#[test]
fn a_gpu_with_less_memory_says_so() {
	struct Small;
	impl Device for Small {
		fn name(&self) -> String {
			"small".into()
		}
		fn copy_gbps(&self) -> Result<f64, DeviceError> {
			Err(DeviceError::Shape)
		}
		fn prepare(&self, shape: Shape, _: usize) -> Result<Box<dyn Ready>, DeviceError> {
			Processor.prepare(shape, 1)
		}
	}
	let job = gpu_job();
	let dir = tempfile::tempdir().unwrap();
	let devices: Vec<Arc<dyn Device>> = vec![Arc::new(Processor), Arc::new(Small)];
	let proof = prove(&job, &devices, dir.path(), |_, _| ()).unwrap();
	assert_eq!(proof.roots.sizes.window, 1, "all walk over as much");
	let openings = proof.open(&challenge(5)).unwrap();
	assert_eq!(verify(&job, &proof.root, &challenge(5), &openings), Ok(()));
	// Its openings do not serve for more.
	let mut forged = openings.clone();
	forged.roots.sizes.window = 2;
	let root = forged.roots.attested(&job.base());
	assert!(verify(&job, &root, &challenge(5), &forged).is_err());
}

/// A device that fails: before the trial, with a crash, in its chain, or after its chain is told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Broken {
	Before,
	WithACrash,
	InItsChain,
	InItsWalk,
}

struct NoWalk(Box<dyn Run>);

impl Run for NoWalk {
	fn steps(&self) -> &chain::Steps {
		self.0.steps()
	}
	fn window(&self) -> usize {
		self.0.window()
	}
	fn walk(&mut self, _: Hash, _: Walk) -> Result<Hash, DeviceError> {
		Err(DeviceError::Lost("the driver".into()))
	}
	fn open(
		&self,
		_: &[chain::Position],
		_: &[walk::Leg],
	) -> Result<(ChainOpening, Vec<LegOpening>), DeviceError> {
		Err(DeviceError::Busy)
	}
}

struct Doomed(Broken, Box<dyn Ready>);

impl Ready for Doomed {
	fn start(self: Box<Self>, seed: Hash) -> Result<Box<dyn Run>, DeviceError> {
		let run = self.1.start(seed)?;
		match self.0 {
			Broken::InItsWalk => Ok(Box::new(NoWalk(run))),
			_ => Err(DeviceError::Lost("the driver".into())),
		}
	}
}

impl Device for Broken {
	fn name(&self) -> String {
		"broken".into()
	}
	fn copy_gbps(&self) -> Result<f64, DeviceError> {
		Err(DeviceError::Shape)
	}
	fn prepare(&self, shape: Shape, window: usize) -> Result<Box<dyn Ready>, DeviceError> {
		match self {
			Self::Before => Err(DeviceError::Lost("the driver".into())),
			Self::WithACrash => panic!("as a driver may"),
			_ => Ok(Box::new(Doomed(*self, Processor.prepare(shape, window)?))),
		}
	}
}

#[test]
fn a_gpu_that_fails_leaves_a_worker_without_one() {
	let dir = tempfile::tempdir().unwrap();
	for broken in [
		Broken::Before,
		Broken::WithACrash,
		Broken::InItsChain,
		Broken::InItsWalk,
	] {
		let mut told = Vec::new();
		let devices: Vec<Arc<dyn Device>> = vec![Arc::new(broken)];
		let proof = prove(&gpu_job(), &devices, dir.path(), |stage, root| {
			told.push((stage, root));
		})
		.unwrap();
		assert_eq!(proof.roots.sizes.devices, 0, "{broken:?}");
		let stages = proof.roots.stages;
		let proved: Vec<_> = stages.iter().map(|(stage, root)| (stage, *root)).collect();
		assert!(
			told.ends_with(&proved),
			"{broken:?}: what is proved is told last"
		);
	}
}

#[test]
fn a_gpu_that_fails_before_the_trial_is_left_out_and_the_others_are_proved() {
	let dir = tempfile::tempdir().unwrap();
	let good = || Arc::new(Processor) as Arc<dyn Device>;
	let bad = |broken: Broken| Arc::new(broken) as Arc<dyn Device>;
	let before = || bad(Broken::Before);
	let crash = || bad(Broken::WithACrash);
	// Two are claimed.
	for (devices, proved) in [
		(vec![good(), before()], 1),
		(vec![before(), good()], 1),
		(vec![crash(), good()], 1),
		// One that is not claimed takes its place.
		(vec![before(), good(), crash(), good(), good()], 2),
		(vec![before(), crash()], 0),
		// In the trial it fails them all.
		(vec![good(), bad(Broken::InItsChain)], 0),
		(vec![bad(Broken::InItsWalk), good()], 0),
	] {
		let proof = prove(&gpu_job(), &devices, dir.path(), |_, _| ()).unwrap();
		assert_eq!(proof.roots.sizes.devices, proved);
		let openings = proof.open(&challenge(5)).unwrap();
		let verified = verify(&gpu_job(), &proof.root, &challenge(5), &openings);
		assert_eq!(verified, Ok(()));
	}
}

#[test]
fn boundary_what_a_job_has_is_decoded_and_one_more_is_not() {
	let shown = |job: &Job, proof: &Proof| {
		let openings = proof.open(&challenge(1)).unwrap();
		assert_eq!(decoded(job, &openings.encode()).unwrap(), openings);
		openings
	};
	let refused = |job: &Job, openings: &Openings, what: &str| {
		let error = decoded(job, &openings.encode()).unwrap_err().to_string();
		assert!(error.contains("more parts"), "{what}: {error}");
	};
	let small = shown(&job(), proof());
	type Of = fn(&mut Openings) -> &mut Vec<SegmentOpening>;
	let segments: [(&str, Of); 3] = [
		("cpu", |openings| &mut openings.cpu),
		("memory", |openings| &mut openings.memory),
		("disk", |openings| &mut openings.disk),
	];
	for (what, of) in segments {
		let mut more = small.clone();
		let first = of(&mut more)[0].clone();
		of(&mut more).push(first);
		refused(&job(), &more, what);
		let mut longer = small.clone();
		of(&mut longer)[0].path = vec![[0; 32]; 33];
		refused(&job(), &longer, what);
	}
	// Only a full check opens the disk.
	let error = Openings::decode_within(&small.encode(), &Counts::of(&job(), false));
	assert!(error.is_err());
	let large = shown(&gpu_job(), gpu_proof());
	// A job without a GPU has none to show.
	refused(&job(), &large, "no GPU");
	type Change = fn(&mut GpuOpening);
	let changes: [(&str, Change); 9] = [
		("samples", |gpu| {
			let first = gpu.chain.samples[0].clone();
			gpu.chain.samples.push(first);
		}),
		("row", |gpu| gpu.chain.samples[0].y.bytes.push(0)),
		("path", |gpu| {
			gpu.chain.samples[0].y.path = vec![[0; 32]; 17]
		}),
		("root path", |gpu| {
			gpu.chain.samples[0].y.root_path = vec![[0; 32]; 17]
		}),
		("tops", |gpu| gpu.chain.tops.0 = vec![[0; 32]; 1_025]),
		("legs", |gpu| {
			let first = gpu.walk[0].clone();
			gpu.walk.push(first);
		}),
		("states", |gpu| {
			let state = gpu.walk[0].after.state;
			gpu.walk[0].states.push(state);
		}),
		("lines", |gpu| {
			let first = gpu.walk[0].lines[0].clone();
			gpu.walk[0].lines.push(first);
		}),
		("line", |gpu| gpu.walk[0].lines[0].line.push(0)),
	];
	for (what, change) in changes {
		let mut more = large.clone();
		let ComputeOpening::Gpus(gpus) = &mut more.compute else {
			unreachable!("it has GPUs");
		};
		change(&mut gpus[0]);
		refused(&gpu_job(), &more, what);
	}
	let mut more = large.clone();
	let ComputeOpening::Gpus(gpus) = &mut more.compute else {
		unreachable!("it has GPUs");
	};
	let first = gpus[0].clone();
	gpus.push(first);
	refused(&gpu_job(), &more, "GPUs");
}

proptest! {
	#![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

	#[test]
	fn one_flipped_bit_anywhere_is_rejected(bit in any::<prop::sample::Index>(), byte: u8) {
		let challenge = challenge(byte);
		let mut bytes = proof().open(&challenge).unwrap().encode();
		let bit = bit.index(bytes.len() * 8);
		bytes[bit / 8] ^= 1 << (bit % 8);
		let accepted = decoded(&job(), &bytes)
			.is_ok_and(|other| verify(&job(), &proof().root, &challenge, &other).is_ok());
		prop_assert!(!accepted);
	}

	#[test]
	fn one_flipped_bit_of_a_gpus_openings_is_rejected(bit in any::<prop::sample::Index>(), byte: u8) {
		let challenge = challenge(byte);
		let mut bytes = gpu_proof().open(&challenge).unwrap().encode();
		let bit = bit.index(bytes.len() * 8);
		bytes[bit / 8] ^= 1 << (bit % 8);
		let accepted = decoded(&gpu_job(), &bytes)
			.is_ok_and(|other| verify(&gpu_job(), &gpu_proof().root, &challenge, &other).is_ok());
		prop_assert!(!accepted);
	}

	#[test]
	fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
		if let Ok(openings) = decoded(&job(), &bytes) {
			prop_assert!(verify(&job(), &proof().root, &challenge(1), &openings).is_err());
		}
	}
}

#[test]
fn what_nobody_wants_any_more_is_given_up_between_two_parts() {
	let dir = tempfile::tempdir().unwrap();
	let told = std::cell::RefCell::new(Vec::new());
	let tell = |stage, _| told.borrow_mut().push(stage);
	let wanted = || !told.borrow().contains(&Stage::Cpu);
	let proved = prove_while(&job(), &[], dir.path(), tell, wanted);
	assert!(matches!(proved, Err(ProveError::Superseded)));
	assert_eq!(told.into_inner(), [Stage::Chain, Stage::Walk, Stage::Cpu]);
}
