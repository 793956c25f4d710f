//! The portable kernel against the reference, bit for bit, on Mesa's software Vulkan
//! (`mesa-vulkan-drivers`, which `scripts/setup.sh` installs): the same code and the same driver
//! interface as on a GPU, only slower.

use kaisar_agent::{
	bench::{
		chain::{Position, Shape, positions, verify},
		device::{Device, DeviceError, Processor, Run},
		job::Job,
		proof::{self, Challenge, prove},
		walk::{self, Leg, Walk},
	},
	gpu::{self, Choice},
};
use kaisar_primitives::{AgentKey, BenchParams, WorkerSpec};
use sp_core::H256;
use std::sync::{Arc, Barrier};

const SHAPE: Shape = Shape { n: 1_024, steps: 5 };
const WALK: Walk = Walk {
	shape: SHAPE,
	window: 2,
	lanes: 16,
	stages: 2,
	legs: 3,
};
const SEED: [u8; 32] = [0x5a; 32];

/// A software GPU. It is an error, not a reason to skip, that there is none.
fn device() -> Arc<dyn Device> {
	// What a driver does not like is said.
	let _ = tracing_subscriber::fmt().with_test_writer().try_init();
	gpu::open(&Choice::Software.into())
		.pop()
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers and libvulkan1")
}

fn legs() -> Vec<Leg> {
	[(0, 0, 0), (3, 1, 2), (15, 0, 1), (7, 1, 0)]
		.map(|(lane, stage, leg)| Leg { lane, stage, leg })
		.to_vec()
}

fn started(device: &dyn Device, window: usize) -> Box<dyn Run> {
	device.start(SEED, SHAPE, window).unwrap()
}

#[test]
fn chain_and_walk_are_those_of_the_reference() {
	let device = device();
	let mut here = started(&Processor, 2);
	// It keeps more than is walked over.
	let mut there = started(&*device, 3);
	assert_eq!(there.window(), 3);
	assert_eq!(
		here.steps().tops(),
		there.steps().tops(),
		"every step's root"
	);
	let root = here.walk([7; 32], WALK).unwrap();
	assert_eq!(
		there.walk([7; 32], WALK).unwrap(),
		root,
		"every lane's states"
	);

	let at = positions(&[9; 32], SHAPE, 24);
	assert!(at.iter().any(|at| at.t == 0) && at.iter().any(|at| at.t == 4));
	let expected = here.open(&at, &legs()).unwrap();
	let check = |run: &dyn Run| {
		let (chain, walked) = run.open(&at, &legs()).unwrap();
		assert_eq!((&chain, &walked), (&expected.0, &expected.1));
		let root_of_chain = run.steps().root();
		assert_eq!(verify(&SEED, SHAPE, &root_of_chain, &at, &chain), Ok(()));
		let tops = &chain.tops;
		assert_eq!(
			walk::verify(&[7; 32], &WALK, tops, &root, &legs(), &walked),
			Ok(())
		);
	};
	check(&*there);
	// Its memory was given back, and then taken by another chain: it computes what it needs again.
	there.release();
	check(&*there);
	let mut other = device.start([1; 32], SHAPE, 1).unwrap();
	other.walk([1; 32], Walk { window: 1, ..WALK }).unwrap();
	check(&*there);
	check(&*there);
}

#[test]
fn a_committee_has_the_chain_computed_again_once() {
	const SEATS: u8 = 6;
	let mut run = started(&*device(), 1);
	run.walk([7; 32], Walk { window: 1, ..WALK }).unwrap();
	let lost = (SHAPE.steps - 1) as u64;
	let asked = |seat: u8| positions(&[seat; 32], SHAPE, 24);
	let root = run.steps().root();
	let all_at_once = |run: &dyn Run| {
		let before = run.recomputed();
		let ready = Barrier::new(SEATS.into());
		std::thread::scope(|scope| {
			for seat in 0..SEATS {
				let ready = &ready;
				scope.spawn(move || {
					let at = asked(seat);
					assert!(at.iter().any(|at| at.t == 1), "it needs what is not kept");
					ready.wait();
					let (chain, _) = run.open(&at, &[]).unwrap();
					assert_eq!(verify(&SEED, SHAPE, &root, &at, &chain), Ok(()));
				});
			}
		});
		run.recomputed() - before
	};
	// Once around for those who were there when it began, and once more at the most for who came late.
	let again = all_at_once(&*run);
	assert!((lost..=2 * lost).contains(&again), "{again} steps");
	// What another benchmark took away is filled again, and they are served meanwhile.
	run.release();
	let again = all_at_once(&*run);
	let filled = SHAPE.steps as u64;
	assert!((filled..=filled + lost).contains(&again), "{again} steps");
}

#[test]
fn rows_of_two_chunks_are_hashed_alike() {
	let shape = Shape { n: 2_048, steps: 1 };
	let walk = Walk {
		shape,
		window: 1,
		..WALK
	};
	let mut here = Processor.start(SEED, shape, 1).unwrap();
	let mut there = device().start(SEED, shape, 1).unwrap();
	assert_eq!(here.steps().root(), there.steps().root());
	assert_eq!(here.walk(SEED, walk), there.walk(SEED, walk));
	let at = [Position {
		t: 0,
		i: 2_047,
		j: 1_025,
	}];
	let opened = there.open(&at, &[]).unwrap();
	assert_eq!(opened, here.open(&at, &[]).unwrap());
}

#[test]
fn what_is_not_timed_gives_way_to_a_benchmark() {
	let device = device();
	let mut first = started(&*device, 1);
	first.walk([1; 32], Walk { window: 1, ..WALK }).unwrap();
	let at = positions(&[9; 32], SHAPE, 2);
	let expected = first.open(&at, &[]).unwrap();
	// From the start of the next one until its walk is over.
	let mut second = started(&*device, 1);
	assert_eq!(first.open(&at, &[]), Err(DeviceError::Busy));
	second.walk([2; 32], Walk { window: 1, ..WALK }).unwrap();
	assert_eq!(first.open(&at, &[]).unwrap(), expected);
	// One that is given up does not block the device.
	drop(started(&*device, 1));
	assert!(first.open(&at, &[]).is_ok());
}

#[test]
fn what_cannot_be_computed_is_refused() {
	let device = device();
	for shape in [
		Shape { n: 512, steps: 2 },
		Shape { n: 1_536, steps: 2 },
		Shape {
			n: 32_768,
			steps: 2,
		},
		Shape { n: 1_024, steps: 0 },
	] {
		assert_eq!(device.start(SEED, shape, 1).err(), Some(DeviceError::Shape));
	}
	// 256 MiB a matrix: software has buffers of 128 MiB.
	let large = Shape {
		n: 16_384,
		steps: 1,
	};
	assert!(matches!(
		device.start(SEED, large, 1).err(),
		Some(DeviceError::Memory(_))
	));
	let mut run = started(&*device, 1);
	assert_eq!(
		run.walk([1; 32], WALK),
		Err(DeviceError::Shape),
		"more than is kept"
	);
}

#[test]
fn several_gpus_prove_at_the_same_time() {
	let job = Job {
		genesis: H256::repeat_byte(1),
		round: 4,
		seed: H256::repeat_byte(2),
		worker: 7,
		agent: AgentKey::from_raw([3; 32]),
		spec: WorkerSpec {
			gpu_class: 11,
			gpu_count: 2,
			cpu_cores: 2,
			memory_gb: 8,
			region: *b"DE",
			..Default::default()
		},
		bench: BenchParams {
			n: 1_024,
			steps: 3,
			samples: 16,
			cpu_segments: 2,
			memory_mib: 2,
			disk_mib: 4,
			bandwidth_secs: 0,
		},
		reference: None,
	};
	let dir = tempfile::tempdir().unwrap();
	let proof_of =
		|devices: &[Arc<dyn Device>]| prove(&job, devices, dir.path(), |_, _| ()).unwrap();
	let proof = proof_of(&[device(), device()]);
	assert_eq!(
		(proof.roots.sizes.devices, proof.roots.sizes.window),
		(2, 2)
	);
	let challenge = Challenge {
		open_seed: H256::repeat_byte(9),
		nonce: [9; 32],
		full: true,
	};
	let openings = proof.open(&challenge).unwrap();
	assert_eq!(
		proof::verify(&job, &proof.root, &challenge, &openings),
		Ok(())
	);
	// A GPU and the processor in its place come to the same.
	assert_eq!(proof_of(&[device(), Arc::new(Processor)]).root, proof.root);
}
