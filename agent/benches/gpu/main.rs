//! The pace of each GPU, beside yardsticks in the same run: products beside cuBLAS, walks beside the least
//! work that reads the same lines, and both beside turns, of which trees and launches are the rest.
//!
//! `cargo bench --profile dev -p kaisar-agent --bench gpu`; with `-- json`, one line of JSON for each GPU
//! and size; with `-- software`, on software Vulkan, which shows only that the bench works.
//!
//! `-- walks` (or `-- software walks`) measures walks alone: over the parts of windows in few buffers and in
//! many, reached by addresses and by branches. By addresses, no part may be more than twice as slow as
//! another.

mod cublas;
mod walks;

use kaisar_agent::{
	gpu::{self, Choice},
	trial::{
		device::{Device, Rated, Window},
		matrix::{KEPT, STEPS, Seeds, Size, run_all},
	},
};
use serde::Serialize;
use std::{
	error::Error,
	fmt::{self, Display, Formatter},
	sync::Arc,
	time::Instant,
};

/// Number of runs of each. The fastest counts, since disturbances only slow down.
const TIMES: usize = 5;
/// Rows of a trial's matrices.
const ROWS: u32 = 4_096;
/// More matrices of that size than any GPU has memory for.
const ALL_MEMORY: u32 = 16_384;

/// Work to measure.
struct Case {
	size: Size,
	times: usize,
}

/// The measurements of a GPU at one size.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
	gpu: String,
	n: u32,
	window_mib: u64,
	/// Kernels for the product, as rated when the GPU was opened; the first is in use.
	kernels: Vec<Rated>,
	/// Products alone and by cuBLAS, in 10⁹ operations per second, or the reason why cuBLAS is missing.
	product_gops: Option<f64>,
	cublas_gops: Option<f64>,
	cublas_error: Option<String>,
	product_of_cublas: Option<f64>,
	/// The fill with its trees.
	fill_secs: f64,
	fill_gops: f64,
	turn_ms: f64,
	turns_in_10_s: u32,
	/// A turn's products and walks at the rates they reach alone, and the remaining part of the turn: trees,
	/// keys and launches that nothing hides.
	products_ms: Option<f64>,
	walks_ms: Option<f64>,
	rest: Option<f64>,
	/// Walks over the whole window and over its parts, in 10⁹ bytes of the window read per second.
	walk_gbps: Option<f64>,
	part_gbps: Vec<f64>,
	fastest_part_of_slowest: Option<f64>,
	/// The yardstick of walks, and a plain copy, counting bytes read and written.
	reads_gbps: Option<f64>,
	walk_of_reads: Option<f64>,
	copy_gbps: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
	let named = |name| std::env::args().any(|argument| argument == name);
	let (software, json) = (named("software"), named("json"));
	let choice = if software {
		Choice::Software
	} else {
		Choice::Hardware
	};
	if named("walks") {
		return walks::run(choice, if software { 1_024 } else { ROWS });
	}
	let case = |n, window, turns, times| Case {
		size: Size { n, window, turns },
		times,
	};
	let cases = if software {
		vec![case(1_024, 4, 1, 1)]
	} else {
		// 8 GiB, which no cache holds, in two sizes of matrices; then all memory.
		vec![
			case(ROWS, 512, 640, TIMES),
			case(2 * ROWS, 128, 100, TIMES),
			case(ROWS, ALL_MEMORY, 640, 1),
		]
	};
	let devices = gpu::open(&choice.into());
	if devices.is_empty() {
		return Err(
			"no GPU can be used here: `kaisar-agent detect` lists the machine's GPUs".into(),
		);
	}
	for Case { size, times } in cases {
		let cublas = cublas::gops(size.n as usize).map_err(|error| error.to_string());
		for device in &devices {
			let report = measure(&**device, size, times, &cublas)?;
			if json {
				println!("{}", serde_json::to_string(&report)?);
			} else {
				println!("{report}");
			}
		}
	}
	Ok(())
}

fn measure(
	device: &dyn Device,
	size: Size,
	times: usize,
	cublas: &Result<f64, String>,
) -> Result<Report, Box<dyn Error>> {
	let Size { n, turns, .. } = size;
	let copy_gbps = device.copy_gbps()?;
	let (mut filled, mut ran) = (f64::INFINITY, f64::INFINITY);
	let mut last = None;
	for time in 0..times as u8 {
		// Memory holds only one window.
		drop(last.take());
		let seeds = Seeds::new(&[time; 32], &[time; 32], 0);
		let start = Instant::now();
		let window: Arc<dyn Window> =
			Arc::from(device.fill(seeds.fill, n, size.window, &|| true)?);
		filled = filled.min(start.elapsed().as_secs_f64());
		let size = Size {
			window: window.matrices(),
			..size
		};
		let start = Instant::now();
		let (base, tell) = ([time; 32], |_, _| ());
		run_all(vec![window.clone()], &base, &base, size, &tell, &|| true)?;
		ran = ran.min(start.elapsed().as_secs_f64());
		last = Some(window);
	}
	let window = last.ok_or("no run was made")?;
	let matrices = window.matrices();
	let operations = 2.0 * f64::from(n).powi(3);
	let turn_ms = ran / f64::from(turns) * 1e3;
	let products = f64::from(STEPS / 2);
	let product_gops = window.product_gops()?;
	let products_ms = product_gops.map(|gops| products * operations / gops / 1e6);
	let part_gbps = window.part_gbps(walks::PARTS)?;
	let walk_gbps = window.part_gbps(1)?.first().copied();
	let walks_ms = walk_gbps.map(|gbps| products * 8.0 * f64::from(n).powi(2) / gbps / 1e6);
	let (least, most) = part_gbps
		.iter()
		.fold((f64::INFINITY, 0f64), |(least, most), rate| {
			(least.min(*rate), most.max(*rate))
		});
	let reads_gbps = window.reads_gbps()?;
	let cublas_gops = cublas.as_ref().ok().copied();
	Ok(Report {
		gpu: device.name(),
		n,
		window_mib: (u64::from(matrices) * u64::from(n) * u64::from(n)) >> 20,
		kernels: device.kernels(),
		product_gops,
		cublas_gops,
		cublas_error: cublas.as_ref().err().cloned(),
		product_of_cublas: of(product_gops, cublas_gops),
		fill_secs: filled,
		fill_gops: operations * f64::from((matrices - 1) * KEPT) / filled / 1e9,
		turn_ms,
		turns_in_10_s: (10_000.0 / turn_ms) as u32,
		products_ms,
		walks_ms,
		rest: products_ms
			.zip(walks_ms)
			.map(|(products, walks)| 1.0 - (products + walks) / turn_ms),
		walk_gbps,
		fastest_part_of_slowest: (least > 0.0 && most > 0.0).then_some(most / least),
		part_gbps,
		walk_of_reads: of(walk_gbps, reads_gbps),
		reads_gbps,
		copy_gbps,
	})
}

fn of(figure: Option<f64>, yardstick: Option<f64>) -> Option<f64> {
	figure
		.zip(yardstick)
		.map(|(figure, yardstick)| figure / yardstick)
}

/// Formats a figure with a unit, or `none`.
fn figure(figure: Option<f64>, digits: usize, unit: &str) -> String {
	figure.map_or_else(
		|| "none".into(),
		|figure| format!("{figure:.digits$}{unit}"),
	)
}

fn percent(part: Option<f64>) -> String {
	figure(part.map(|part| 100.0 * part), 0, " %")
}

impl Display for Report {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		writeln!(
			to,
			"{}, n = {}, a window of {} MiB:",
			self.gpu, self.n, self.window_mib
		)?;
		for rated in &self.kernels {
			let gops = figure(rated.gops, 0, " Gop/s");
			writeln!(to, "  rated when opened: {gops}: {}", rated.kernel)?;
		}
		writeln!(
			to,
			"  product: {}, {} of cuBLAS, {}{}",
			figure(self.product_gops, 0, " Gop/s"),
			percent(self.product_of_cublas),
			figure(self.cublas_gops, 0, " Gop/s"),
			self.cublas_error
				.as_ref()
				.map_or_else(String::new, |error| format!(" ({error})"))
		)?;
		writeln!(
			to,
			"  fill, with trees: {:.2} s, {:.0} Gop/s",
			self.fill_secs, self.fill_gops
		)?;
		writeln!(
			to,
			"  a turn: {:.3} ms, {} in 10 s; products {}, walks {}, the rest {}",
			self.turn_ms,
			self.turns_in_10_s,
			figure(self.products_ms, 3, " ms"),
			figure(self.walks_ms, 3, " ms"),
			percent(self.rest)
		)?;
		let parts: Vec<String> = self
			.part_gbps
			.iter()
			.map(|rate| format!("{rate:.2}"))
			.collect();
		writeln!(
			to,
			"  walk: {}, {} of bare reads, {}; by parts {}: the fastest {} times the slowest",
			figure(self.walk_gbps, 2, " GB/s"),
			percent(self.walk_of_reads),
			figure(self.reads_gbps, 2, " GB/s"),
			parts.join(" "),
			figure(self.fastest_part_of_slowest, 2, "")
		)?;
		write!(to, "  a plain copy: {:.2} GB/s", self.copy_gbps)
	}
}
