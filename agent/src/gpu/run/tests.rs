use super::*;
use crate::{
	bench::{
		chain::{self, Position},
		device::Device,
	},
	gpu,
};

#[test]
fn rows_of_eight_chunks_are_hashed_alike() {
	// The full size, but for the product, which would take software minutes.
	let shape = Shape { n: 8_192, steps: 1 };
	let device = gpu::adapters(gpu::Choice::Software)
		.pop()
		.map(|adapter| gpu::Gpu::open(&adapter, &gpu::Choice::Software.into()).unwrap())
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers");
	let shared = device.shared().unwrap();
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

#[test]
fn a_device_that_was_lost_is_opened_again() {
	let shape = Shape { n: 1_024, steps: 1 };
	let device = gpu::adapters(gpu::Choice::Software)
		.pop()
		.map(|adapter| gpu::Gpu::open(&adapter, &gpu::Choice::Software.into()).unwrap())
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers");
	let before = device.start([1; 32], shape, 1).unwrap();
	device.shared().unwrap().handle.fail();
	let at = [Position { t: 0, i: 1, j: 2 }];
	assert!(before.open(&at, &[]).is_err());
	let after = device.start([1; 32], shape, 1).unwrap();
	assert_eq!(before.steps().root(), after.steps().root());
}
