use super::*;
use crate::{
	bench::{
		chain::{self, positions},
		device::Device,
		walk,
	},
	gpu::{self, kernel::Handle},
};

#[test]
fn rows_of_eight_chunks_are_hashed_alike() {
	// The full size, but for the product, which would take software minutes.
	let shape = Shape { n: 8_192, steps: 1 };
	let device = gpu::adapters(gpu::Choice::Software)
		.pop()
		.map(|adapter| gpu::Gpu::open(&adapter, &gpu::Choice::Software.into()).unwrap())
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers");
	let shared = device.0.shared().unwrap();
	let memory = Memory::new(&shared, shape, 1).unwrap();
	let gpu = GpuChain {
		shared,
		seed: [4; 32],
		shape,
	};
	gpu.begin(&memory).unwrap();
	let mut rows = Rows::new();
	let wanted = [0, 1, 511, 512, 4_096, 8_191];
	gpu.rows(&memory, 0, &wanted, &mut rows).unwrap();
	let mut x = vec![0; shape.n * shape.n];
	for (row, bytes) in x.chunks_exact_mut(shape.n).enumerate() {
		chain::row_of_x0(&[4; 32], row, bytes);
	}
	let tree = chain::step_tree(&x, shape.n, 0);
	for row in wanted {
		let (bytes, path) = &rows[&(0, row)];
		assert!(*bytes == x[row * shape.n..][..shape.n], "row {row}");
		assert_eq!(*path, tree.path(row), "row {row}");
	}
}

fn software() -> gpu::Gpu {
	gpu::adapters(gpu::Choice::Software)
		.pop()
		.map(|adapter| gpu::Gpu::open(&adapter, &gpu::Choice::Software.into()).unwrap())
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers")
}

const SHAPE: Shape = Shape { n: 1_024, steps: 4 };
const WALK: Walk = Walk {
	shape: SHAPE,
	window: 2,
	lanes: 8,
	stages: 1,
	legs: 2,
};

#[test]
fn a_gpu_that_is_lost_before_the_openings_is_opened_again_for_them() {
	let device = software();
	let mut run = device.start([1; 32], SHAPE, 2).unwrap();
	let root = run.walk([2; 32], WALK).unwrap();
	let at = positions(&[3; 32], SHAPE, 8);
	let legs = [Leg {
		lane: 3,
		stage: 0,
		leg: 1,
	}];
	let before = run.open(&at, &legs).unwrap();
	for loss in [Handle::fail, Handle::destroy] {
		let lost = device.0.shared().unwrap();
		loss(&lost.handle);
		// A whole committee at once, as after a driver's reset.
		std::thread::scope(|scope| {
			for _ in 0..3 {
				scope.spawn(|| assert_eq!(run.open(&at, &legs).unwrap(), before));
			}
		});
		assert!(!Arc::ptr_eq(&lost, &device.0.shared().unwrap()));
		assert!(
			lost.kept.lock().is_none(),
			"the dead device's memory is given back"
		);
	}
	let (chain, walked) = before;
	let chain_root = run.steps().root();
	assert_eq!(
		chain::verify(&[1; 32], SHAPE, &chain_root, &at, &chain),
		Ok(())
	);
	let verified = walk::verify(&[2; 32], &WALK, &chain.tops, &root, &legs, &walked);
	assert_eq!(verified, Ok(()));
	// And for the next round.
	let again = device.start([1; 32], SHAPE, 2).unwrap();
	assert_eq!(again.steps().root(), chain_root);
}

#[test]
fn a_gpu_that_is_lost_in_the_trial_is_opened_again_for_the_next() {
	let device = software();
	let ready = device.prepare(SHAPE, 2).unwrap();
	device.0.shared().unwrap().handle.destroy();
	assert!(matches!(ready.start([1; 32]), Err(DeviceError::Lost(_))));
	let mut run = device.start([1; 32], SHAPE, 2).unwrap();
	device.0.shared().unwrap().handle.destroy();
	assert!(matches!(run.walk([2; 32], WALK), Err(DeviceError::Lost(_))));
	drop(run);
	let mut run = device.start([1; 32], SHAPE, 2).unwrap();
	assert!(run.walk([2; 32], WALK).is_ok());
}

#[test]
fn memory_that_is_made_ready_and_not_used_is_given_back() {
	let device = software();
	let mut run = device.start([1; 32], SHAPE, 1).unwrap();
	run.walk([2; 32], Walk { window: 1, ..WALK }).unwrap();
	let at = positions(&[3; 32], SHAPE, 2);
	let opened = run.open(&at, &[]).unwrap();
	let ready = device.prepare(SHAPE, 1).unwrap();
	assert_eq!(
		run.open(&at, &[]),
		Err(DeviceError::Busy),
		"a benchmark begins"
	);
	drop(ready);
	assert_eq!(run.open(&at, &[]).unwrap(), opened);
}
