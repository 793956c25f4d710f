//! The portable kernels against the reference, bit for bit, on Mesa's software Vulkan
//! (`mesa-vulkan-drivers`, which `scripts/setup.sh` installs): the same code and the same driver
//! interface as on a GPU, only slower.

use kaisar_agent::{
	gpu::{self, Choice},
	trial::{
		device::{Device, DeviceError, Matrix, Place, Processor, Spans, Window},
		hash::{Hash, Running, key},
		matrix::{Ran, Seeds, Size, run_all, verify},
		sample::{Draw, Reader},
	},
};
use std::{
	collections::BTreeSet,
	sync::{
		Arc,
		atomic::{AtomicU32, Ordering},
	},
};

const SIZE: Size = Size {
	n: 1_024,
	window: 3,
	turns: 2,
};
const BASE: Hash = [1; 32];
const START: Hash = [2; 32];

/// Returns a software GPU. Its absence is an error, not a reason to skip.
fn device() -> Arc<dyn Device> {
	// Shows the driver's complaints.
	let _ = tracing_subscriber::fmt().with_test_writer().try_init();
	gpu::open(&Choice::Software.into())
		.pop()
		.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers and libvulkan1")
}

fn filled(device: &dyn Device, number: u8, size: Size) -> Arc<dyn Window> {
	let seeds = Seeds::new(&BASE, &START, number);
	Arc::from(
		device
			.fill(seeds.fill, size.n, size.window, &|| true)
			.unwrap(),
	)
}

fn draw(nonce: u8) -> Draw {
	Draw::new(&START, &[3; 32], &[4; 32], &[nonce; 32])
}

fn run(windows: Vec<Arc<dyn Window>>, size: Size) -> Ran {
	run_all(windows, &BASE, &START, size, &|_, _| (), &|| true).unwrap()
}

fn opened(ran: &Ran, nonce: u8) -> Vec<u8> {
	let mut out = Vec::new();
	ran.open(&draw(nonce), &mut out).unwrap();
	out
}

/// Other GPUs that change the running hash in each span.
struct Bound(Vec<u32>);

impl Spans for Bound {
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running> {
		self.0.push(turn);
		let state = key("test", &[running.state()]);
		Some(Running::at(state, turn.into()))
	}
}

#[test]
fn every_root_is_that_of_the_reference() {
	let device = device();
	let size = Size {
		window: 8,
		turns: 3,
		..SIZE
	};
	let here = filled(&Processor, 0, size);
	// The window holds more than the run walks over.
	let more = Size {
		window: size.window + 1,
		..size
	};
	let there = filled(&*device, 0, more);
	assert_eq!((there.matrices(), there.roots().len()), (9, 65));
	assert_eq!(here.roots(), &there.roots()[..57], "of the fill");
	// Also at a start in the middle of the running hash.
	let running = Running::over(&[&[7; 32]]);
	let roots = |window: &dyn Window| {
		let mut bound = Bound(Vec::new());
		let roots = window.run([8; 32], size, running, &mut bound).unwrap();
		assert_eq!(bound.0, [1, 2]);
		roots
	};
	assert_eq!(roots(&*here), roots(&*there), "of all steps");
}

#[test]
fn openings_are_those_of_the_reference_and_believed() {
	let here = run(vec![filled(&Processor, 0, SIZE)], SIZE);
	let there = run(vec![filled(&*device(), 0, SIZE)], SIZE);
	assert_eq!(here.roots(), there.roots());
	let shown = opened(&there, 1);
	assert!(shown == opened(&here, 1));
	let marks = verify(
		&BASE,
		&START,
		&SIZE,
		there.roots(),
		&draw(1),
		Reader::new(&shown),
	);
	assert_eq!(marks.as_deref(), Ok(there.marks()));
}

#[test]
fn gpus_and_the_processor_run_together() {
	let size = Size { window: 2, ..SIZE };
	let [one, two]: [Arc<dyn Device>; 2] = [device(), device()];
	let plain: Arc<dyn Device> = Arc::new(Processor);
	let of = |devices: [&Arc<dyn Device>; 2]| {
		let windows = (0..)
			.zip(devices)
			.map(|(number, device)| filled(&**device, number, size));
		run(windows.collect(), size)
	};
	let both = of([&one, &two]);
	let mixed = of([&one, &plain]);
	assert_eq!(both.roots(), mixed.roots());
	assert_eq!(both.marks(), mixed.marks());
	let shown = opened(&mixed, 2);
	assert!(shown == opened(&both, 2));
	let reader = Reader::new(&shown);
	assert!(verify(&BASE, &START, &size, both.roots(), &draw(2), reader).is_ok());
}

#[test]
fn work_that_is_not_wanted_ends() {
	let device = device();
	let looks = AtomicU32::new(0);
	let wanted = || looks.fetch_add(1, Ordering::Relaxed) == 0;
	let canceled = device.fill(BASE, SIZE.n, 200, &wanted).map(drop);
	assert_eq!(canceled, Err(DeviceError::Canceled));
	assert_eq!(looks.into_inner(), 2);
	let small = Size {
		window: 2,
		turns: 2,
		..SIZE
	};
	let window = filled(&*device, 0, small);
	let wanted = AtomicU32::new(1);
	let tell = |_, _| wanted.store(0, Ordering::Relaxed);
	let is_wanted = || wanted.load(Ordering::Relaxed) == 1;
	let result = run_all(
		vec![window.clone()],
		&BASE,
		&START,
		small,
		&tell,
		&is_wanted,
	);
	assert_eq!(result.map(drop), Err(DeviceError::Canceled));
	// The window is still good.
	let ran = run(vec![window], small);
	assert_eq!(
		ran.roots(),
		run(vec![filled(&Processor, 0, small)], small).roots()
	);
}

#[test]
fn work_that_cannot_be_computed_is_refused() {
	let device = device();
	for (n, window) in [(512, 2), (1_536, 2), (32_768, 2), (1_024, 1), (1_024, 0)] {
		let result = device.fill(BASE, n, window, &|| true).map(drop);
		assert_eq!(result, Err(DeviceError::Shape), "{n}, {window}");
	}
	// 256 MiB a matrix: software has buffers of 128 MiB.
	let large = device.fill(BASE, 16_384, 2, &|| true).map(drop);
	assert!(matches!(large, Err(DeviceError::Memory(_))));
	let small = Size { window: 2, ..SIZE };
	let window = filled(&*device, 0, small);
	let running = Running::over(&[&BASE]);
	let mut bound = Bound(Vec::new());
	for size in [SIZE, Size { n: 2_048, ..small }, Size { turns: 0, ..small }] {
		assert_eq!(
			window.run(BASE, size, running, &mut bound),
			Err(DeviceError::Shape),
			"{size:?}"
		);
	}
	// It shows no lines that do not exist.
	window.run(BASE, small, running, &mut bound).unwrap();
	let hashes = [running; 2];
	let show = |matrix, line| {
		let places = BTreeSet::from([Place { matrix, line }]);
		window.show(BASE, small, &hashes, &places).map(drop)
	};
	assert_eq!(show(Matrix::Filled(8), 1_023), Ok(()));
	for (matrix, line) in [
		(Matrix::Filled(9), 0),
		(Matrix::Filled(8), 1_024),
		(Matrix::Step(32), 0),
	] {
		assert_eq!(show(matrix, line), Err(DeviceError::Shape), "{matrix:?}");
	}
}
