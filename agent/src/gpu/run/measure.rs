//! Rates of each part of a window's work by itself, for benches.

use super::{At, GpuWindow};
use crate::{
	gpu::backend::{Backend, Source},
	trial::{device::DeviceError, matrix::READS},
};
use std::time::Instant;

/// Target duration in seconds of the repetitions that are timed together, and their maximum number.
const EACH_TIME: f64 = 0.02;
const MOST: f64 = 128.0;
/// Number of timings of products and reads. The fastest counts, since disturbances only slow down.
const TIMES: usize = 5;

type Memory<S> = <<S as Source>::Backend as Backend>::Memory;

impl<S: Source> GpuWindow<S> {
	/// Walks over equal parts of the window, and returns their read rates in 10⁹ bytes per second.
	pub(super) fn parts(&self, parts: u32) -> Result<Vec<f64>, DeviceError> {
		self.alone(|gpu, memory| {
			let parts = parts.min(self.matrices);
			let bound =
				|part: u32| (u64::from(self.matrices) * u64::from(part) / u64::from(parts)) as u32;
			let read = f64::from(self.n).powi(2) * READS as f64;
			let rate = |part: u32| {
				let walk = |times| gpu.walk(memory, bound(part)..bound(part + 1), times);
				Ok(read / secs_of_one(gpu, &walk, 1)? / 1e9)
			};
			(0..parts).map(rate).collect()
		})
	}

	/// Returns the rate of products alone, in 10⁹ operations per second.
	pub(super) fn products(&self) -> Result<f64, DeviceError> {
		self.alone(|gpu, memory| {
			let secs = secs_of_one(gpu, &|times| gpu.products(memory, times), TIMES)?;
			Ok(2.0 * f64::from(self.n).powi(3) / secs / 1e9)
		})
	}

	/// Returns the rate of the yardstick of walks in 10⁹ bytes per second, if the backend has one.
	pub(super) fn reads(&self) -> Result<Option<f64>, DeviceError> {
		self.alone(|gpu, memory| {
			let Some(bytes) = gpu.reads(memory, 1).transpose()? else {
				return Ok(None);
			};
			let read = |times| {
				gpu.reads(memory, times)
					.map_or(Ok(()), |read| read.map(|_| ()))
			};
			Ok(Some(bytes as f64 / secs_of_one(gpu, &read, TIMES)? / 1e9))
		})
	}

	/// Measures while nothing else runs on the device. Overwrites the trial's matrices.
	fn alone<T>(
		&self,
		measure: impl Fn(&S::Backend, &Memory<S>) -> Result<T, DeviceError>,
	) -> Result<T, DeviceError> {
		let shared = self.opener.shared()?;
		let _work = shared.idle()?;
		let held = self.held(&shared)?;
		let (gpu, memory) = (&shared.backend, &held.memory);
		*held.at.lock() = (At::Nowhere, 0);
		gpu.begin(memory, &self.seed)?;
		gpu.wait()?;
		measure(gpu, memory)
	}
}

/// Returns the seconds that a piece of work takes: the fastest of `runs` runs of many repetitions.
fn secs_of_one<B: Backend>(
	gpu: &B,
	work: &dyn Fn(u32) -> Result<(), DeviceError>,
	runs: usize,
) -> Result<f64, DeviceError> {
	let run = |times| {
		let start = Instant::now();
		work(times)?;
		gpu.wait()?;
		Ok(start.elapsed().as_secs_f64().max(1e-9) / f64::from(times))
	};
	let times = (EACH_TIME / run(1)?).clamp(1.0, MOST) as u32;
	let mut best = f64::INFINITY;
	for _ in 0..runs {
		best = best.min(run(times)?);
	}
	Ok(best)
}
