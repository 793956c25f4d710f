//! Walks over the parts of windows in few buffers and in many, reached by addresses and by branches.

use kaisar_agent::{
	gpu::{self, Choice, Cut, Options},
	trial::{
		device::Window,
		matrix::{Seeds, Size, run_all},
	},
};
use std::{error::Error, sync::Arc};

/// Buffers of the window.
const BUFFERS: [u32; 3] = [2, 16, 62];
/// Parts of the window that are measured separately.
pub const PARTS: u32 = 8;
/// Number of measurements of each, alternating; the median counts.
const ROUNDS: usize = 15;

/// Measures walks, and prints the results.
pub fn run(choice: Choice, n: u32) -> Result<(), Box<dyn Error>> {
	BUFFERS
		.iter()
		.try_for_each(|buffers| walks(choice, n, *buffers))
}

/// Measures walks over a window in `buffers` buffers, alternating between addresses and branches. Drivers
/// limit the number of bound buffers, so the window may be smaller by branches.
fn walks(choice: Choice, n: u32, buffers: u32) -> Result<(), Box<dyn Error>> {
	let matrix = u64::from(n) * u64::from(n);
	let matrices: u32 = match choice {
		Choice::Software => 62,
		_ => 496,
	};
	let mut windows = Vec::new();
	for branches in [false, true] {
		let options = Options {
			choice,
			cut: Cut {
				most: Some(u64::from(matrices.div_ceil(buffers)) * matrix),
				branches,
			},
			..Default::default()
		};
		let device = gpu::open(&options).into_iter().next();
		let device = device
			.ok_or("no GPU can be used here: `kaisar-agent detect` lists the machine's GPUs")?;
		let seeds = Seeds::new(&[1; 32], &[1; 32], 0);
		let window: Arc<dyn Window> = Arc::from(device.fill(seeds.fill, n, matrices, &|| true)?);
		let size = Size {
			n,
			window: window.matrices(),
			turns: 1,
		};
		// A device runs nothing else before its trial is over.
		let (base, tell) = ([1; 32], |_, _| ());
		run_all(vec![window.clone()], &base, &base, size, &tell, &|| true)?;
		windows.push((branches, window, vec![Vec::new(); PARTS as usize]));
	}
	for _ in 0..ROUNDS {
		for (_, window, rates) in &mut windows {
			for (rates, rate) in rates.iter_mut().zip(window.part_gbps(PARTS)?) {
				rates.push(rate);
			}
		}
	}
	println!(
		"walks over {} MiB in {buffers} buffers:",
		(u64::from(matrices) * matrix) >> 20
	);
	for (branches, window, mut rates) in windows {
		for rates in &mut rates {
			rates.sort_by(f64::total_cmp);
		}
		let medians: Vec<f64> = rates.iter().map(|rates| rates[rates.len() / 2]).collect();
		let sum: f64 = medians.iter().map(|rate| 1.0 / rate).sum();
		let shown: Vec<String> = medians.iter().map(|rate| format!("{rate:.3}")).collect();
		let (least, most) = medians
			.iter()
			.fold((f64::INFINITY, 0f64), |(least, most), rate| {
				(least.min(*rate), most.max(*rate))
			});
		println!(
			"  by {}, {} matrices: {:.3} GB/s; parts {}: the fastest {:.2} times the slowest",
			if branches { "branches" } else { "addresses" },
			window.matrices(),
			f64::from(PARTS) / sum,
			shown.join(" "),
			most / least
		);
	}
	Ok(())
}
