//! The pace of each GPU, beside yardsticks in the same run: fill and turns beside the same products by cuBLAS, and walks
//! beside a plain copy.
//!
//! `cargo bench --profile dev -p kaisar-agent --bench gpu`; with `-- software`, on software that plays a GPU, which shows
//! only that the bench works. cuBLAS is loaded if it is there, and nothing of CUDA is needed to build.
//!
//! With `-- walks` (or `-- software walks`) it measures walks alone: over the parts of windows that lie in few buffers and
//! in many, reached by addresses and by branches. No part may be more than twice as slow as another by addresses.

use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use cudarc::{
	cublas::{self, CudaBlas, result::gemm_ex, sys},
	driver::{self, CudaContext, DevicePtr, DevicePtrMut},
};
use kaisar_agent::{
	gpu::{self, Choice, Cut, Options},
	trial::{
		device::{Device, Window},
		matrix::{KEPT, STEPS, Seeds, Size, run_all},
	},
};
use std::{error::Error, sync::Arc, time::Instant};

/// Times that each is run; the fastest counts, since what disturbs only slows down.
const TIMES: usize = 5;
/// Buffers of the window of the walks.
const BUFFERS: [u32; 3] = [2, 16, 62];
/// Parts of the window whose walks are measured apart.
const PARTS: u32 = 8;
/// Times that they are, in turns; the median counts.
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
	let software = std::env::args().any(|argument| argument == "software");
	let (choice, size) = if software {
		let size = Size {
			n: 1_024,
			window: 4,
			turns: 1,
		};
		(Choice::Software, size)
	} else {
		let size = Size {
			n: 4_096,
			// 8 GiB: no cache holds it.
			window: 512,
			turns: 640,
		};
		(Choice::Hardware, size)
	};
	if std::env::args().any(|argument| argument == "walks") {
		return BUFFERS
			.iter()
			.try_for_each(|buffers| walks(choice, size.n, *buffers));
	}
	let devices = gpu::open(&choice.into());
	if devices.is_empty() {
		println!("There is no GPU here that can be used.");
	}
	let yardstick = |n| match cublas_gops(n) {
		Ok((name, gops)) => {
			println!("cuBLAS, {name}, int8 product, n = {n}: {gops:.0} Gop/s");
			Some(gops)
		}
		Err(why) => {
			println!("cuBLAS: none ({why})");
			None
		}
	};
	let cublas = yardstick(size.n as usize);
	for device in devices {
		measure(&*device, size, cublas)?;
	}
	Ok(())
}

fn of(figure: f64, yardstick: Option<f64>, name: &str) -> String {
	yardstick.map_or_else(String::new, |yardstick| {
		format!(", {:.0} % of {name}", 100.0 * figure / yardstick)
	})
}

fn measure(device: &dyn Device, size: Size, cublas: Option<f64>) -> Result<(), Box<dyn Error>> {
	let Size { n, window, turns } = size;
	println!("{}:", device.name());
	for rated in device.kernels() {
		let figure = rated.gops.map_or_else(
			|| "not timed".into(),
			|gops| format!("{gops:.0} Gop/s{}", of(gops, cublas, "cuBLAS")),
		);
		println!("  product: {figure}: {}", rated.kernel);
	}
	let mut filled = f64::INFINITY;
	let mut ran = f64::INFINITY;
	for time in 0..TIMES as u8 {
		let seeds = Seeds::new(&[time; 32], &[time; 32], 0);
		let start = Instant::now();
		let window = device.fill(seeds.fill, n, window, &|| true)?;
		filled = filled.min(start.elapsed().as_secs_f64());
		let window: Arc<dyn Window> = Arc::from(window);
		let start = Instant::now();
		let (base, tell) = ([time; 32], |_, _| ());
		run_all(vec![window], &base, &base, size, &tell, &|| true)?;
		ran = ran.min(start.elapsed().as_secs_f64());
	}
	let operations = 2.0 * f64::from(n).powi(3);
	let gops = |products: u32, secs: f64| operations * f64::from(products) / secs / 1e9;
	let fill = gops((window - 1) * KEPT, filled);
	println!(
		"  fill of {} MiB, with trees: {filled:.2} s, {fill:.0} Gop/s{}",
		(u64::from(window) * u64::from(n) * u64::from(n)) >> 20,
		of(fill, cublas, "cuBLAS")
	);
	let turn = ran / f64::from(turns) * 1e3;
	println!(
		"  a turn: {turn:.3} ms, {:.0} turns in 10 s",
		10_000.0 / turn
	);
	let products = STEPS / 2;
	let best = device.kernels().first().and_then(|rated| rated.gops);
	for (gops, name) in [(best, "its kernel"), (cublas, "cuBLAS")] {
		if let Some(gops) = gops {
			let ms = operations * f64::from(products) / gops / 1e6;
			println!("  products of a turn at the rate of {name}: {ms:.3} ms");
		}
	}
	// Each line is read and written, and reads eight others.
	let bytes = f64::from(products) * 10.0 * f64::from(n).powi(2);
	let copy = device.copy_gbps()?;
	println!(
		"  walks of a turn at the rate of a plain copy, {copy:.1} GB/s: {:.3} ms",
		bytes / copy / 1e6
	);
	Ok(())
}

/// Measures walks over a window in this number of buffers, by addresses and by branches in turns. Drivers limit what can
/// be bound, so the window may be smaller by branches.
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
		let device = device.ok_or("There is no GPU here that can be used.")?;
		let seeds = Seeds::new(&[1; 32], &[1; 32], 0);
		let window: Arc<dyn Window> = Arc::from(device.fill(seeds.fill, n, matrices, &|| true)?);
		let size = Size {
			n,
			window: window.matrices(),
			turns: 1,
		};
		// Nothing else runs on a device before its trial is over.
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

/// The rate of cuBLAS on the first NVIDIA GPU, and its name: products of n × n signed bytes, in the layout of the trial,
/// into sums of 32 bits, in 10⁹ operations a second.
fn cublas_gops(n: usize) -> Result<(String, f64), Box<dyn Error>> {
	// SAFETY: it only looks whether the libraries can be loaded.
	if !unsafe { driver::sys::is_culib_present() && cublas::sys::is_culib_present() } {
		return Err("CUDA's driver or cuBLAS is not here".into());
	}
	let context = CudaContext::new(0)?;
	let stream = context.default_stream();
	let blas = CudaBlas::new(stream.clone())?;
	// As random as the trial's: what is regular takes less power.
	let random = |seed: u8| -> Vec<i8> {
		let mut bytes = vec![0; n * n];
		ChaCha8Rng::from_seed([seed; 32]).fill_bytes(&mut bytes);
		bytes.into_iter().map(|byte| byte as i8).collect()
	};
	let a = stream.clone_htod(&random(1))?;
	let x = stream.clone_htod(&random(2))?;
	let mut sums = stream.alloc_zeros::<i32>(n * n)?;
	let (one, zero) = (1i32, 0i32);
	let side = i32::try_from(n)?;
	let mut multiply = || -> Result<(), Box<dyn Error>> {
		let (a, _a) = a.device_ptr(&stream);
		let (x, _x) = x.device_ptr(&stream);
		let (sums, _sums) = sums.device_ptr_mut(&stream);
		// SAFETY: the matrices are n × n, of the types that are named, on the device; the factors outlive the call,
		// which reads them at once.
		unsafe {
			gemm_ex(
				*blas.handle(),
				sys::cublasOperation_t::CUBLAS_OP_T,
				sys::cublasOperation_t::CUBLAS_OP_N,
				side,
				side,
				side,
				(&raw const one).cast(),
				a as *const _,
				sys::cudaDataType::CUDA_R_8I,
				side,
				x as *const _,
				sys::cudaDataType::CUDA_R_8I,
				side,
				(&raw const zero).cast(),
				sums as *mut _,
				sys::cudaDataType::CUDA_R_32I,
				side,
				sys::cublasComputeType_t::CUBLAS_COMPUTE_32I,
				sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
			)?;
		}
		Ok(())
	};
	let mut best = f64::INFINITY;
	for _ in 0..=TIMES {
		let start = Instant::now();
		for _ in 0..8 {
			multiply()?;
		}
		stream.synchronize()?;
		best = best.min(start.elapsed().as_secs_f64() / 8.0);
	}
	Ok((context.name()?, 2.0 * (n as f64).powi(3) / best / 1e9))
}
