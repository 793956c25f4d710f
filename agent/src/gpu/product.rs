//! Which kernel computes the product: the portable one, which every device runs, or one on its matrix units.
//!
//! Drivers are not to be trusted with it: some say that they have matrix units and play them in software, slower
//! than without; some crash; one may be wrong. So each kernel computes a product that is known, what is right
//! competes, and the fastest is taken. That a kernel crashed the driver is remembered (see [`Guard`]).

use super::{
	Kernels,
	kernel::{Code, Handle, Kernel, Use},
	shaders,
	tensor::{self, Plan},
};
use crate::{
	chain::{mix, row_of_a, row_of_x0},
	device::{DeviceError, Rated},
	hash::Hash,
};
use std::{
	fs, io,
	path::{Path, PathBuf},
	time::{Duration, Instant},
};
use wgpu::{Buffer, BufferUsages};

/// Rows of the product that is known.
const KNOWN: usize = 256;
/// Rows of the products that are timed.
const TIMED: usize = 4_096;
/// How often each is timed; the fastest counts, since what disturbs only slows down.
const TIMES: usize = 3;
/// Bytes of the parameters.
const PARAMS: u64 = 64;
const SEED: Hash = [0x6b; 32];
/// Any step will do.
const STEP: u32 = 0x0012_3456;

/// A kernel for the product.
pub(super) struct Product {
	kernel: Kernel,
	/// Rows and columns of sums that a workgroup computes.
	tile: (u32, u32),
	name: String,
}

impl Product {
	/// The one that runs on every device.
	fn portable(handle: &Handle) -> Result<Self, DeviceError> {
		let code = Code::Wgsl(shaders::step());
		let name = "portable, packed products of four bytes".to_owned();
		Self::new(handle, code, (shaders::TILE, shaders::TILE), name)
	}

	/// One on matrix units.
	fn tensor(handle: &Handle, plan: &Plan) -> Result<Self, DeviceError> {
		let code = tensor::kernel(plan)
			.map_err(|error| DeviceError::Lost(format!("a kernel that cannot be: {error}")))?;
		let name = format!("tensor, {plan}");
		Self::new(handle, Code::Spirv(code), plan.tile(), name)
	}

	fn new(
		handle: &Handle,
		code: Code,
		tile: (u32, u32),
		name: String,
	) -> Result<Self, DeviceError> {
		let uses = [Use::Read, Use::Read, Use::Write];
		Ok(Self {
			kernel: handle.kernel(&name, code, &uses)?,
			tile,
			name,
		})
	}

	pub fn kernel(&self) -> &Kernel {
		&self.kernel
	}

	/// Workgroups, across and down, for matrices of `n` rows.
	pub fn groups(&self, n: usize) -> (u32, u32) {
		let (rows, columns) = self.tile;
		(n as u32 / columns, n as u32 / rows)
	}
}

/// Matrices to try kernels on.
struct Trial<'a> {
	handle: &'a Handle,
	n: usize,
	params: Buffer,
	a: Buffer,
	x: Buffer,
	y: Buffer,
	staging: Buffer,
}

impl<'a> Trial<'a> {
	fn new(handle: &'a Handle, n: usize) -> Result<Self, DeviceError> {
		let size = (n * n) as u64;
		let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
		let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
		let mappable = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
		let trial = Self {
			handle,
			n,
			params: handle.buffer("trial: parameters", PARAMS, uniform)?,
			a: handle.buffer("trial: A", size, storage)?,
			x: handle.buffer("trial: X", size, storage)?,
			y: handle.buffer("trial: product", size, storage)?,
			staging: handle.buffer("trial: staging", size, mappable)?,
		};
		let mut params = [0; PARAMS as usize];
		params[..4].copy_from_slice(&(n as u32).to_le_bytes());
		params[4..8].copy_from_slice(&STEP.to_le_bytes());
		handle.queue.write_buffer(&trial.params, 0, &params);
		handle.queue.write_buffer(&trial.a, 0, &matrix(row_of_a, n));
		handle
			.queue
			.write_buffer(&trial.x, 0, &matrix(row_of_x0, n));
		Ok(trial)
	}

	/// Has a kernel compute the product, so many times.
	fn compute(&self, product: &Product, times: usize) -> Result<Duration, DeviceError> {
		let bound = self.handle.bind(
			&product.kernel,
			&self.params,
			PARAMS,
			&[&self.a, &self.x, &self.y],
		)?;
		let mut encoder = self.handle.encoder();
		for _ in 0..times {
			let groups = product.groups(self.n);
			product.kernel.dispatch(&mut encoder, &bound, 0, groups);
		}
		let start = Instant::now();
		self.handle.submit(encoder);
		self.handle.wait()?;
		Ok(start.elapsed())
	}

	/// Whether a kernel's product is the one it should be.
	fn is_right(&self, product: &Product, expected: &[u8]) -> Result<bool, DeviceError> {
		// What another kernel left behind is not to be taken for its work.
		let mut encoder = self.handle.encoder();
		encoder.clear_buffer(&self.y, 0, None);
		self.handle.submit(encoder);
		self.compute(product, 1)?;
		let mut encoder = self.handle.encoder();
		let size = (self.n * self.n) as u64;
		encoder.copy_buffer_to_buffer(&self.y, 0, &self.staging, 0, Some(size));
		self.handle.submit(encoder);
		Ok(self.handle.read(&self.staging, size)? == expected)
	}

	/// What a kernel does, in 10⁹ operations a second.
	fn gops(&self, product: &Product) -> Result<f64, DeviceError> {
		// The first time also makes memory real and clocks high.
		let mut best = self.compute(product, 1)?;
		for _ in 0..TIMES {
			best = best.min(self.compute(product, 1)?);
		}
		let operations = 2.0 * (self.n as f64).powi(3);
		Ok(operations / best.as_secs_f64().max(1e-9) / 1e9)
	}
}

fn matrix(row: fn(&Hash, usize, &mut [u8]), n: usize) -> Vec<u8> {
	let mut out = vec![0; n * n];
	for (index, bytes) in out.chunks_exact_mut(n).enumerate() {
		row(&SEED, index, bytes);
	}
	out
}

/// The product that is known: what [`crate::chain`] says that it is.
fn expected(n: usize) -> Vec<u8> {
	let (a, x) = (matrix(row_of_a, n), matrix(row_of_x0, n));
	let mut out = Vec::with_capacity(n * n);
	for (i, a) in a.chunks_exact(n).enumerate() {
		for (j, x) in x.chunks_exact(n).enumerate() {
			let products = a.iter().zip(x);
			let sum = products.map(|(a, x)| i32::from(*a as i8) * i32::from(*x as i8));
			out.push(mix(sum.sum(), STEP, i as u32, j as u32) as u8);
		}
	}
	out
}

/// How the kernel is chosen.
pub(super) struct Rules<'a> {
	/// Which may be taken.
	pub kernels: Kernels,
	/// The device is software: nothing is timed, and of several plans the least is taken, since compiling is what
	/// takes its time there.
	pub software: bool,
	/// Remembers kernels that crash the driver.
	pub guard: Option<Guard<'a>>,
}

/// The kernel to use, and what those that are right were found to do, it first.
pub(super) fn choose(
	handle: &Handle,
	mut plans: Vec<Plan>,
	rules: &Rules<'_>,
) -> Result<(Product, Vec<Rated>), DeviceError> {
	if rules.kernels == Kernels::Portable {
		plans.clear();
	}
	if rules.software {
		plans.drain(..plans.len().saturating_sub(1));
		if rules.kernels == Kernels::Fastest {
			plans.clear();
		}
	}
	let mut trying = None;
	if let Some(guard) = rules.guard.as_ref().filter(|_| !plans.is_empty()) {
		trying = guard.begin();
		if trying.is_none() {
			plans.clear();
		}
	}
	let known = Trial::new(handle, KNOWN)?;
	let expected = expected(KNOWN);
	let mut right = Vec::new();
	let mut consider = |made: Result<Product, DeviceError>| match made {
		Ok(product) => match known.is_right(&product, &expected) {
			Ok(true) => right.push(product),
			Ok(false) => tracing::warn!(kernel = product.name, "it computes something else"),
			Err(error) => tracing::warn!(kernel = product.name, %error, "it does not run"),
		},
		Err(error) => tracing::warn!(%error, "a kernel cannot be made"),
	};
	for plan in &plans {
		consider(Product::tensor(handle, plan));
	}
	if rules.kernels != Kernels::Tensor {
		consider(Product::portable(handle));
	}
	let mut rated = Vec::new();
	if rules.software || right.len() < 2 {
		rated.extend(right.into_iter().map(|product| (product, None)));
	} else {
		let timed = Trial::new(handle, TIMED)?;
		for product in right {
			let gops = timed.gops(&product)?;
			rated.push((product, Some(gops)));
		}
		let rate = |gops: &Option<f64>| gops.unwrap_or_default();
		rated.sort_by(|(_, a), (_, b)| rate(b).total_cmp(&rate(a)));
	}
	drop(trying);
	let found = rated.iter().map(|(product, gops)| Rated {
		kernel: product.name.clone(),
		gops: *gops,
	});
	let found = found.collect();
	match rated.into_iter().next() {
		Some((product, _)) => Ok((product, found)),
		None if rules.kernels == Kernels::Tensor => Err(DeviceError::Lost(
			"it has no matrix units that can be used".into(),
		)),
		None => Err(DeviceError::Lost(
			"no kernel computes what it should".into(),
		)),
	}
}

/// Whether the kernel of a plan is right on an adapter; the error says what is wrong.
#[cfg(test)]
pub(super) fn try_plan(adapter: &wgpu::Adapter, plan: &Plan) -> Result<(), String> {
	let handle =
		super::open_handle(adapter, tensor::FEATURES).map_err(|error| error.to_string())?;
	let right = || {
		let product = Product::tensor(&handle, plan)?;
		Trial::new(&handle, KNOWN)?.is_right(&product, &expected(KNOWN))
	};
	match right() {
		Ok(true) => Ok(()),
		Ok(false) => Err(format!("{plan}: it computes something else")),
		Err(error) => Err(format!("{plan}: {error}")),
	}
}

/// Unfinished attempts after which matrix units are left alone.
const MOST_ATTEMPTS: u32 = 2;

/// Remembers, in a folder, that matrix units are being tried on a device. A driver that crashes takes the agent
/// with it; the agent is started again, and after some such attempts leaves the matrix units alone.
pub(super) struct Guard<'a> {
	/// The folder.
	pub dir: &'a Path,
	/// The device and its driver: another driver is tried anew.
	pub device: String,
}

/// An attempt, until it is over.
struct Attempt(PathBuf);

impl Guard<'_> {
	fn begin(&self) -> Option<Attempt> {
		let name = blake3::hash(self.device.as_bytes()).to_hex();
		let path = self.dir.join(format!("trying-{}", &name[..16]));
		let before = match fs::read_to_string(&path) {
			Ok(text) => text.trim().parse().unwrap_or(0),
			Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
			Err(error) => {
				tracing::warn!(%error, path = %path.display(), "attempts cannot be counted");
				return None;
			}
		};
		if before >= MOST_ATTEMPTS {
			tracing::warn!(
				device = self.device,
				path = %path.display(),
				"its matrix units were tried {before} times and nothing came of it: the driver may crash. They \
				 are not used. To have them tried again, remove the file",
			);
			return None;
		}
		if let Err(error) = fs::write(&path, format!("{}\n", before + 1)) {
			tracing::warn!(%error, path = %path.display(), "attempts cannot be counted");
			return None;
		}
		Some(Attempt(path))
	}
}

impl Drop for Attempt {
	fn drop(&mut self) {
		if let Err(error) = fs::remove_file(&self.0) {
			tracing::warn!(%error, path = %self.0.display(), "cannot be removed");
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn attempts_that_came_to_nothing_are_the_last() {
		let dir = tempfile::tempdir().unwrap();
		let guard = |device: &str| Guard {
			dir: dir.path(),
			device: device.to_owned(),
		};
		// One that comes to its end, however often, is no reason to stop.
		for _ in 0..5 {
			assert!(guard("a").begin().is_some());
		}
		for _ in 0..MOST_ATTEMPTS {
			// As if the process ended.
			std::mem::forget(guard("a").begin().unwrap());
		}
		assert!(guard("a").begin().is_none());
		assert!(guard("a, with another driver").begin().is_some());
		// As the warning says.
		for file in fs::read_dir(dir.path()).unwrap() {
			fs::remove_file(file.unwrap().path()).unwrap();
		}
		assert!(guard("a").begin().is_some());
		// What cannot be written down is not tried.
		let gone = Guard {
			dir: &dir.path().join("gone"),
			device: "a".into(),
		};
		assert!(gone.begin().is_none());
	}
}
