//! The cases, each in its own process with its own driver.

use kaisar_agent::{
	gpu::{self, Choice, Kernels, Options},
	trial::{
		device::{Device, DeviceError, Processor, Window},
		hash::Hash,
		matrix::{Ran, Seeds, Size, run_all, verify},
		sample::{Draw, Reader},
	},
};
use std::sync::Arc;

const BASE: Hash = [1; 32];
const START: Hash = [2; 32];
const SIZE: Size = Size {
	n: 256,
	window: 3,
	turns: 3,
};

/// Number of trials on a GPU that is lost in one of them.
const RUNS: usize = 8;

/// Runs a case by its name.
pub fn run(name: &str) {
	let _ = tracing_subscriber::fmt().with_ansi(false).try_init();
	match name {
		"whole" => whole(&*expected(), SIZE),
		"larger" => {
			let size = Size {
				n: 512,
				turns: 1,
				..SIZE
			};
			whole(&*device(), size);
		}
		"measured" => measured(&*device()),
		"opened" => drop(expected()),
		"not_opened" => {
			assert_eq!(cards(), 1, "it is listed");
			assert!(devices().is_empty());
		}
		"not_listed" => assert_eq!(cards(), 0),
		"fallback" => fallback(),
		"lost" => lost(),
		"damaged" => damaged(),
		"little" => little(),
		"none" => {
			let device = device();
			let none = device.fill([3; 32], 2_048, 8, &|| true).map(drop);
			assert!(matches!(none, Err(DeviceError::Memory(_))), "{none:?}");
		}
		"several" => several(),
		other => panic!("no case is called {other}"),
	}
}

fn options() -> Options {
	Options {
		choice: Choice::Hardware,
		kernels: Kernels::Fastest,
		..Default::default()
	}
}

fn cards() -> usize {
	gpu::cards(&options()).unwrap().len()
}

fn devices() -> Vec<Arc<dyn Device>> {
	gpu::open(&options())
}

fn device() -> Arc<dyn Device> {
	devices().pop().expect("the emulated driver shows a GPU")
}

/// Returns the GPU, and checks that its competing kernels are those in EXPECTED, in any order.
fn expected() -> Arc<dyn Device> {
	let expected = std::env::var("EXPECTED").unwrap();
	let mut expected: Vec<&str> = expected.split('|').collect();
	let device = device();
	let rated = device.kernels();
	let mut names: Vec<&str> = rated.iter().map(|rated| rated.kernel.as_str()).collect();
	expected.sort_unstable();
	names.sort_unstable();
	assert_eq!(names, expected);
	if names.len() > 1 {
		assert!(
			rated
				.iter()
				.all(|rated| rated.gops.is_some_and(|gops| gops > 0.0))
		);
	}
	device
}

fn filled(device: &dyn Device, number: u8, size: Size) -> Result<Arc<dyn Window>, DeviceError> {
	let seeds = Seeds::new(&BASE, &START, number);
	device
		.fill(seeds.fill, size.n, size.window, &|| true)
		.map(Arc::from)
}

fn run_of(windows: Vec<Arc<dyn Window>>, size: Size) -> Result<Ran, DeviceError> {
	run_all(windows, &BASE, &START, size, &|_, _| (), &|| true)
}

fn opened(ran: &Ran) -> Vec<u8> {
	let mut out = Vec::new();
	ran.open(&Draw::new(&START, &[3; 32], &[4; 32], &[5; 32]), &mut out)
		.unwrap();
	out
}

fn is_believed(ran: &Ran, shown: &[u8], size: Size) {
	let draw = Draw::new(&START, &[3; 32], &[4; 32], &[5; 32]);
	let marks = verify(&BASE, &START, &size, ran.roots(), &draw, Reader::new(shown));
	assert_eq!(marks.as_deref(), Ok(ran.marks()));
}

/// Compares a trial and its openings with the reference.
fn whole(device: &dyn Device, size: Size) {
	let here = run_of(vec![filled(&Processor, 0, size).unwrap()], size).unwrap();
	let window = filled(device, 0, size).unwrap();
	assert_eq!(window.matrices(), size.window);
	let there = run_of(vec![window], size).unwrap();
	assert_eq!(there.roots(), here.roots());
	let shown = opened(&there);
	assert!(shown == opened(&here));
	is_believed(&there, &shown, size);
	// Released memory is refilled.
	there.release();
	assert!(opened(&there) == shown);
	assert!(device.copy_gbps().unwrap() > 0.0);
}

/// Measures the parts of a window's work, which must not change the openings of its run.
fn measured(device: &dyn Device) {
	let window = filled(device, 0, SIZE).unwrap();
	let ran = run_of(vec![window.clone()], SIZE).unwrap();
	let shown = opened(&ran);
	assert!(
		window
			.product_gops()
			.unwrap()
			.is_some_and(|gops| gops > 0.0)
	);
	assert!(window.reads_gbps().unwrap().is_some_and(|gbps| gbps > 0.0));
	let parts = window.part_gbps(SIZE.window).unwrap();
	assert_eq!(parts.len(), SIZE.window as usize);
	assert!(parts.iter().all(|gbps| *gbps > 0.0));
	assert!(opened(&ran) == shown);
}

/// If CUDA does not work, the same GPU is used through Vulkan. Here software Vulkan stands in for it, with
/// the UUID that CUDA's driver shows.
fn fallback() {
	let software = |kernels| Options {
		choice: Choice::Software,
		kernels,
		..Default::default()
	};
	// Without CUDA, which portable kernels exclude.
	let vulkan = gpu::cards(&software(Kernels::Portable)).unwrap();
	let uuid = vulkan[0].uuid.expect("Mesa reports a UUID").to_string();
	// SAFETY: no other thread of this process reads or writes variables yet.
	unsafe { std::env::set_var("KAISAR_EMULATED_UUID", uuid) };
	let cards = gpu::cards(&software(Kernels::Fastest)).unwrap();
	assert_eq!(
		cards.len(),
		vulkan.len(),
		"the same hardware is listed once"
	);
	let devices = gpu::open(&software(Kernels::Fastest));
	let kernels = devices[0].kernels();
	assert!(!kernels[0].kernel.starts_with("CUDA"), "{kernels:?}");
	let size = Size {
		n: 1_024,
		window: 2,
		turns: 1,
	};
	run_of(vec![filled(&*devices[0], 0, size).unwrap()], size).unwrap();
}

/// A GPU that fails once, somewhere in a fill, a run or openings, is reopened, and its results are correct.
fn lost() {
	let device = device();
	let here = run_of(vec![filled(&Processor, 0, SIZE).unwrap()], SIZE).unwrap();
	let mut runs_lost = 0;
	// Enough to reach the failure and beyond.
	for _ in 0..RUNS {
		// Work lost in a fill or in openings is repeated automatically.
		let ran = filled(&*device, 0, SIZE).and_then(|window| run_of(vec![window], SIZE));
		match ran {
			Ok(ran) => {
				assert_eq!(ran.roots(), here.roots());
				is_believed(&ran, &opened(&ran), SIZE);
			}
			Err(DeviceError::Lost(error)) => {
				runs_lost += 1;
				println!("a run was lost: {error}");
			}
			Err(error) => panic!("{error}"),
		}
	}
	assert!(runs_lost <= 1, "lost {runs_lost} times");
}

/// A GPU whose trees are corrupted from some launch on.
fn damaged() {
	let device = device();
	for _ in 0..RUNS {
		let ran = filled(&*device, 0, SIZE).and_then(|window| run_of(vec![window], SIZE));
		if let Err(error) = ran {
			println!("{error}");
			return;
		}
	}
	panic!("the corruption was not detected");
}

/// There is less room than requested.
fn little() {
	let device = device();
	let asked = 400;
	let window = device.fill([3; 32], 256, asked, &|| true).unwrap();
	let got = window.matrices();
	assert!((50..asked).contains(&got), "{got}");
	drop(window);
	// Its memory is free again.
	run_of(vec![filled(&*device, 0, SIZE).unwrap()], SIZE).unwrap();
}

/// Two GPUs of one worker, bound to each other before each span.
fn several() {
	let devices = devices();
	assert_eq!(devices.len(), 2);
	let of = |devices: [&dyn Device; 2]| {
		let windows = (0..)
			.zip(devices)
			.map(|(number, device)| filled(device, number, SIZE).unwrap());
		run_of(windows.collect(), SIZE).unwrap()
	};
	let there = of([&*devices[0], &*devices[1]]);
	let mixed = of([&*devices[1], &Processor]);
	assert_eq!(there.roots(), mixed.roots());
	assert_eq!(there.marks(), mixed.marks());
	let shown = opened(&there);
	is_believed(&there, &shown, SIZE);
}
