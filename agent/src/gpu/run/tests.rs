use super::*;
use crate::{
	gpu::{
		Gpu,
		vulkan::{Opened, Vulkan, tests::software},
	},
	trial::{
		device::{Device, Processor},
		matrix::{Ran, run_all, verify},
		sample::{Draw, Reader},
	},
};

const SIZE: Size = Size {
	n: 1_024,
	window: 2,
	turns: 2,
};
const BASE: Hash = [1; 32];
const START: Hash = [2; 32];
const DRAW: [Hash; 4] = [START, [3; 32], [4; 32], [5; 32]];

fn draw(nonce: u8) -> Draw {
	let [start, root, randomness, _] = &DRAW;
	Draw::new(start, root, randomness, &[nonce; 32])
}

fn filled(device: &Gpu<Vulkan>) -> Arc<GpuWindow<Vulkan>> {
	let seeds = crate::trial::matrix::Seeds::new(&BASE, &START, 0);
	let shared = device.0.shared().unwrap();
	let at = (SIZE.n, SIZE.window);
	let window = GpuWindow::fill(device.0.clone(), shared, seeds.fill, at, &|| true);
	Arc::new(window.unwrap())
}

fn run(window: Arc<dyn Window>) -> Result<Ran, DeviceError> {
	run_all(vec![window], &BASE, &START, SIZE, &|_, _| (), &|| true)
}

fn opened(ran: &Ran, nonce: u8) -> Result<Vec<u8>, DeviceError> {
	let mut out = Vec::new();
	ran.open(&draw(nonce), &mut out).map(|()| out)
}

fn is_right(ran: &Ran, nonce: u8, shown: &[u8]) {
	let marks = verify(
		&BASE,
		&START,
		&SIZE,
		ran.roots(),
		&draw(nonce),
		Reader::new(shown),
	);
	assert_eq!(marks.as_deref(), Ok(ran.marks()));
}

#[test]
fn a_gpu_that_is_lost_before_the_openings_is_opened_and_filled_again_for_them() {
	let device = software();
	let ran = run(filled(&device)).unwrap();
	let before = opened(&ran, 1).unwrap();
	is_right(&ran, 1, &before);
	for loss in [Opened::fail, Opened::destroy] {
		let lost = device.0.shared().unwrap();
		loss(&lost.backend);
		// A whole committee at once, as after a driver reset.
		std::thread::scope(|scope| {
			for _ in 0..3 {
				scope.spawn(|| assert!(opened(&ran, 1).unwrap() == before));
			}
		});
		assert!(!Arc::ptr_eq(&lost, &device.0.shared().unwrap()));
		assert!(
			lost.kept.lock().is_none(),
			"the dead device's memory is given back"
		);
	}
	// And for the next round.
	let again = run(filled(&device)).unwrap();
	assert_eq!(again.roots(), ran.roots());
}

#[test]
fn a_gpu_that_is_lost_in_the_trial_is_opened_again_for_the_next() {
	let device = software();
	let window = filled(&device);
	device.0.shared().unwrap().backend.destroy();
	assert!(matches!(run(window), Err(DeviceError::Lost(_))));
	assert!(run(filled(&device)).is_ok());
}

#[test]
fn a_trial_uses_only_what_its_fill_made() {
	let device = software();
	let window = filled(&device);
	let made = || device.0.shared().unwrap().backend.made();
	let before = made();
	run(window).unwrap();
	assert_eq!(made(), before);
}

#[test]
fn openings_give_way_to_a_trial_from_its_fill_to_its_end() {
	let device = software();
	let first = run(filled(&device)).unwrap();
	let shown = opened(&first, 1).unwrap();
	// A window that is filled but never run.
	let second = filled(&device);
	assert_eq!(opened(&first, 1), Err(DeviceError::Busy));
	drop(second);
	assert!(opened(&first, 1).unwrap() == shown);
	let second = run(filled(&device)).unwrap();
	// Each recomputes its lines, although the other has the memory.
	for ran in [&first, &second, &first] {
		assert!(opened(ran, 1).unwrap() == shown);
	}
	first.release();
	assert!(opened(&first, 1).unwrap() == shown);
}

#[test]
fn a_committee_has_the_steps_repeated_for_all() {
	const SEATS: u8 = 5;
	let device = software();
	let window = filled(&device);
	let ran = run(window.clone()).unwrap();
	let last = u64::from(STEPS * SIZE.turns);
	std::thread::scope(|scope| {
		for seat in 0..SEATS {
			let ran = &ran;
			scope.spawn(move || is_right(ran, seat, &opened(ran, seat).unwrap()));
		}
	});
	// Once for the requests present at the start, and once more for late ones.
	let repeated = window.repeated();
	assert!(
		(last / 2..=2 * last).contains(&repeated),
		"{repeated} steps"
	);
}

#[test]
fn roots_are_read_back_from_where_they_lie() {
	let places = |steps| -> Vec<(u32, u32)> {
		let all = read_back(steps).into_iter();
		all.map(|places| (places.start, places.end)).collect()
	};
	assert_eq!(places(0..48), [(0, 48)]);
	assert_eq!(places(0..ROOTS), [(0, ROOTS)]);
	assert_eq!(
		places(ROOTS - 16..ROOTS + 32),
		[(ROOTS - 16, ROOTS), (0, 32)]
	);
	assert_eq!(places(ROOTS + 16..2 * ROOTS + 16), [(16, ROOTS), (0, 16)]);
}

#[test]
fn a_window_that_another_processor_filled_is_the_same() {
	let window = filled(&software());
	let plain = Processor
		.fill(window.seed, SIZE.n, SIZE.window, &|| true)
		.unwrap();
	assert_eq!(window.roots(), plain.roots());
}
