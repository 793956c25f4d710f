//! What each GPU does, beside yardsticks in the same run: the product and the whole chain beside cuBLAS's int8 product,
//! the walk beside a plain copy.
//!
//! `cargo bench --profile dev -p kaisar-agent --bench gpu`; with `-- software`, on software that plays a GPU, which shows
//! only that the bench works. cuBLAS is loaded if it is there, and nothing of CUDA is needed to build.

use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use cudarc::{
	cublas::{self, CudaBlas, result::gemm_ex, sys},
	driver::{self, CudaContext, DevicePtr, DevicePtrMut},
};
use kaisar_agent::{
	bench::{chain::Shape, device::Device, walk::Walk},
	gpu::{self, Choice},
};
use std::{error::Error, time::Instant};

/// Rows of the products by which an agent tries its kernels.
const TRIED: usize = 4_096;
/// Times that each is run; the fastest counts, since what disturbs only slows down.
const TIMES: usize = 5;

/// What is run.
struct Size {
	shape: Shape,
	/// `X_t` that the walk is over.
	window: usize,
	lanes: usize,
	stages: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
	let software = std::env::args().any(|argument| argument == "software");
	let (choice, size) = if software {
		let shape = Shape { n: 1_024, steps: 4 };
		let size = Size {
			shape,
			window: 4,
			lanes: 16,
			stages: 2,
		};
		(Choice::Software, size)
	} else {
		let shape = Shape {
			n: 8_192,
			steps: 128,
		};
		let size = Size {
			shape,
			// 8 GiB: no cache holds it.
			window: 128,
			lanes: 16_384,
			stages: 2,
		};
		(Choice::Hardware, size)
	};
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
	let yardsticks = (yardstick(TRIED), yardstick(size.shape.n));
	for device in devices {
		measure(&*device, &size, yardsticks)?;
	}
	Ok(())
}

fn of(figure: f64, yardstick: Option<f64>, name: &str) -> String {
	yardstick.map_or_else(String::new, |yardstick| {
		format!(", {:.0} % of {name}", 100.0 * figure / yardstick)
	})
}

fn measure(
	device: &dyn Device,
	size: &Size,
	(tried, whole): (Option<f64>, Option<f64>),
) -> Result<(), Box<dyn Error>> {
	let Size { shape, window, .. } = *size;
	println!("{}:", device.name());
	for rated in device.kernels() {
		let figure = rated.gops.map_or_else(
			|| "not timed".into(),
			|gops| format!("{gops:.0} Gop/s{}", of(gops, tried, "cuBLAS")),
		);
		println!("  product, n = {TRIED}: {figure}: {}", rated.kernel);
	}
	let mut chain = f64::INFINITY;
	let mut walked = f64::INFINITY;
	let mut volume = 0;
	for time in 0..TIMES as u8 {
		let start = Instant::now();
		let mut run = device.start([time; 32], shape, window)?;
		chain = chain.min(start.elapsed().as_secs_f64());
		let walk = Walk {
			shape,
			window: run.window(),
			lanes: size.lanes,
			stages: size.stages,
			legs: 128,
		};
		volume = walk.volume();
		let start = Instant::now();
		run.walk([time; 32], walk)?;
		walked = walked.min(start.elapsed().as_secs_f64());
	}
	let gops = 2.0 * (shape.n as f64).powi(3) * shape.steps as f64 / chain / 1e9;
	println!(
		"  chain, n = {}, {} steps, with fill and trees: {gops:.0} Gop/s{}",
		shape.n,
		shape.steps,
		of(gops, whole, "cuBLAS")
	);
	let copy = device.copy_gbps()?;
	let gbps = volume as f64 / walked / 1e9;
	println!(
		"  walk over {} MiB: {gbps:.1} GB/s{} ({copy:.1} GB/s read and written)",
		(window * shape.n * shape.n) >> 20,
		of(gbps, Some(copy), "a plain copy")
	);
	Ok(())
}

/// What cuBLAS does on the first NVIDIA GPU: products of n × n signed bytes, in the layout of the chain, into sums of 32
/// bits, in 10⁹ operations a second; and that GPU's name.
fn cublas_gops(n: usize) -> Result<(String, f64), Box<dyn Error>> {
	// SAFETY: it only looks whether the libraries can be loaded.
	if !unsafe { driver::sys::is_culib_present() && cublas::sys::is_culib_present() } {
		return Err("CUDA's driver or cuBLAS is not here".into());
	}
	let context = CudaContext::new(0)?;
	let stream = context.default_stream();
	let blas = CudaBlas::new(stream.clone())?;
	// As random as the chain's: what is regular takes less power.
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
