//! The yardstick of products: cuBLAS, loaded if present. Building needs no part of CUDA.

use super::TIMES;
use chacha20::{
	ChaCha8Rng,
	rand_core::{Rng, SeedableRng},
};
use cudarc::{
	cublas::{self, CudaBlas, result::gemm_ex, sys},
	driver::{self, CudaContext, DevicePtr, DevicePtrMut},
};
use std::{error::Error, time::Instant};

/// Number of products timed together.
const TOGETHER: u32 = 16;

/// Returns the rate of cuBLAS on the first NVIDIA GPU in 10⁹ operations per second: products of n × n signed
/// bytes, in the layout of the trial, into sums of 32 bits.
pub fn gops(n: usize) -> Result<f64, Box<dyn Error>> {
	// SAFETY: it only checks whether the libraries can be loaded.
	if !unsafe { driver::sys::is_culib_present() && cublas::sys::is_culib_present() } {
		return Err("CUDA's driver or cuBLAS is not installed".into());
	}
	let context = CudaContext::new(0)?;
	let stream = context.default_stream();
	let blas = CudaBlas::new(stream.clone())?;
	// As random as the trial's: regular data takes less power.
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
		// SAFETY: the matrices are n × n, of the stated types, on the device; the factors 1 and 0 outlive
		// the call, which reads them at once.
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
		for _ in 0..TOGETHER {
			multiply()?;
		}
		stream.synchronize()?;
		best = best.min(start.elapsed().as_secs_f64() / f64::from(TOGETHER));
	}
	Ok(2.0 * (n as f64).powi(3) / best / 1e9)
}
