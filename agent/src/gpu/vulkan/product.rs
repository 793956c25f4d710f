//! The choice of the kernel for the product: the portable one, which every device runs, or one on its matrix
//! units.
//!
//! Drivers cannot be trusted with matrix units: some emulate them in software, slower than the portable
//! kernel; some lose the device, or crash; one may be wrong. So each kernel computes a known product, the
//! correct ones compete, and the fastest is used. Each runs on its own handle, which is then dropped, so a
//! failing kernel harms no other. The result is recorded (see [`Memo`]).

use super::{
	kernel::{Code, Handle, Kernel, Use},
	shaders,
	tensor::{self, Plan},
};
use crate::{
	gpu::{
		Kernels,
		backend::{contained, lost},
		memo::Memo,
	},
	trial::{
		device::{DeviceError, Rated},
		hash::Hash,
		matrix::{byte_of, first, row_of_a},
	},
};
use std::{
	path::Path,
	time::{Duration, Instant},
};
use wgpu::{Adapter, Buffer, BufferUsages, DeviceType, Features};

/// Rows of the known product.
const KNOWN: usize = 256;
/// Rows of the timed products.
const TIMED: usize = 4_096;
/// Number of timings of each kernel. The fastest counts, since disturbances only slow down.
const TIMES: usize = 5;
/// Minimum duration of a timing, so that starting and waiting are a small part of it.
const EACH_TIME: Duration = Duration::from_millis(5);
/// Maximum products in one timing.
const MOST_PRODUCTS: usize = 64;
/// Duration of work before the timings: the device's clocks take a while to rise.
const WARM_UP: Duration = Duration::from_millis(200);
/// Time limit for compiling kernels: some drivers take seconds for one. Those compiled by then compete.
const MAKING: Duration = Duration::from_secs(15);
/// Size in bytes of the parameters: n, t and κ, in words.
pub(super) const PARAMS: u64 = 64;
const SEED: Hash = [0x6b; 32];
/// Any step and κ will do.
const STEP: u32 = 0x0012_3456;
const KAPPA: u32 = 0x89AB_CDEF;
/// Name of the portable kernel.
const PORTABLE: &str = "portable, packed products of four bytes";

/// A kernel for the product.
pub(super) struct Product {
	kernel: Kernel,
	/// Rows and columns of sums that a workgroup computes.
	tile: (u32, u32),
	name: String,
}

/// A kernel's recipe: a plan for matrix units, or `None` for the portable kernel.
pub(super) type Recipe = Option<Plan>;

fn name_of(recipe: &Recipe) -> String {
	match recipe {
		Some(plan) => format!("tensor, {plan}"),
		None => PORTABLE.into(),
	}
}

/// Makes the code of a recipe.
fn code_of(recipe: &Recipe) -> Result<Code, DeviceError> {
	match recipe {
		Some(plan) => tensor::kernel(plan)
			.map(Code::Spirv)
			.map_err(|error| lost(format!("cannot build a kernel: {error}"))),
		None => Ok(Code::Wgsl(shaders::step())),
	}
}

impl Product {
	fn new(handle: &Handle, recipe: &Recipe) -> Result<Self, DeviceError> {
		let tile = recipe.map_or((shaders::TILE, shaders::TILE), |plan| plan.tile());
		Self::of_code(handle, code_of(recipe)?, tile, name_of(recipe))
	}

	fn of_code(
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

	/// Returns the workgroups, across and down, for matrices of `n` rows.
	pub fn groups(&self, n: u32) -> (u32, u32) {
		let (rows, columns) = self.tile;
		(n / columns, n / rows)
	}
}

/// Matrices for trying kernels.
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
		params[8..12].copy_from_slice(&KAPPA.to_le_bytes());
		handle.queue.write_buffer(&trial.params, 0, &params);
		handle.queue.write_buffer(&trial.a, 0, &factor(n));
		let x = first(&SEED, n as u32);
		handle.queue.write_buffer(&trial.x, 0, &x);
		Ok(trial)
	}

	/// Runs a kernel's product `times` times, and returns the duration.
	fn compute(&self, product: &Product, times: usize) -> Result<Duration, DeviceError> {
		let bound = self.handle.bind(
			&product.kernel,
			&self.params,
			PARAMS,
			&[&self.a, &self.x, &self.y],
		)?;
		let mut encoder = self.handle.encoder();
		for _ in 0..times {
			let groups = product.groups(self.n as u32);
			product.kernel.dispatch(&mut encoder, &bound, 0, groups);
		}
		let start = Instant::now();
		self.handle.submit(encoder);
		self.handle.wait()?;
		Ok(start.elapsed())
	}

	/// Returns the product that a kernel computes.
	fn product(&self, product: &Product) -> Result<Vec<u8>, DeviceError> {
		// Another kernel's result must not pass for its own.
		let mut encoder = self.handle.encoder();
		encoder.clear_buffer(&self.y, 0, None);
		self.handle.submit(encoder);
		self.compute(product, 1)?;
		let mut encoder = self.handle.encoder();
		let size = (self.n * self.n) as u64;
		encoder.copy_buffer_to_buffer(&self.y, 0, &self.staging, 0, Some(size));
		self.handle.submit(encoder);
		self.handle.read(&self.staging, size)
	}

	/// Measures kernels, in 10⁹ operations per second. They alternate, so that a disturbance affects all.
	fn gops(&self, products: &[Product]) -> Result<Vec<f64>, DeviceError> {
		let mut counts = Vec::new();
		for product in products {
			self.compute(product, 1)?;
			let one = self.compute(product, 1)?.as_secs_f64().max(1e-9);
			let count = (EACH_TIME.as_secs_f64() / one).ceil() as usize;
			counts.push(count.clamp(1, MOST_PRODUCTS));
		}
		let start = Instant::now();
		while start.elapsed() < WARM_UP {
			for product in products {
				self.compute(product, 1)?;
			}
		}
		let mut best = vec![f64::INFINITY; products.len()];
		for _ in 0..TIMES {
			for ((product, count), best) in products.iter().zip(&counts).zip(&mut best) {
				let took = self.compute(product, *count)?.as_secs_f64();
				*best = best.min(took / *count as f64);
			}
		}
		let operations = 2.0 * (self.n as f64).powi(3);
		let gops = |seconds: f64| operations / seconds.max(1e-9) / 1e9;
		Ok(best.into_iter().map(gops).collect())
	}
}

/// Returns the fixed factor.
fn factor(n: usize) -> Vec<u8> {
	let n = n as u32;
	(0..n).flat_map(|i| row_of_a(&SEED, i, n)).collect()
}

/// Computes the known product on the processor.
fn expected(n: usize) -> Vec<u8> {
	let (a, x) = (factor(n), first(&SEED, n as u32));
	let mut out = Vec::with_capacity(n * n);
	for (i, a) in (0..).zip(a.chunks_exact(n)) {
		for (j, x) in (0..).zip(x.chunks_exact(n)) {
			let products = a.iter().zip(x);
			let sum = products.map(|(a, x)| i32::from(*a as i8) * i32::from(*x as i8));
			out.push(byte_of(sum.sum(), STEP, i, j, KAPPA));
		}
	}
	out
}

/// Returns whether a kernel computes the known product.
fn is_right(known: &Trial<'_>, product: &Product) -> Result<bool, DeviceError> {
	Ok(known.product(product)? == expected(known.n))
}

fn features(recipe: &Recipe) -> Features {
	match recipe {
		Some(_) => tensor::FEATURES,
		None => Features::empty(),
	}
}

/// The result of a competition.
pub(super) struct Competed {
	/// The correct kernels, the fastest first.
	pub rated: Vec<Rated>,
	/// Whether all kernels were compiled within the time limit.
	pub complete: bool,
}

/// Determines which kernels are correct, and their rates in products of `rows` rows.
pub(super) fn compete(
	adapter: &Adapter,
	recipes: &[Recipe],
	rows: usize,
) -> Result<Competed, DeviceError> {
	let start = Instant::now();
	let (mut usable, mut complete) = (Vec::new(), true);
	for recipe in recipes {
		if start.elapsed() > MAKING {
			complete = false;
			break;
		}
		match open(adapter, recipe, Vec::new()) {
			Ok(_) => usable.push(*recipe),
			// Not the kernel's fault.
			Err(error @ DeviceError::Memory(_)) => return Err(error),
			Err(error) => {
				tracing::warn!(
					kernel = name_of(recipe),
					%error,
					"a kernel cannot be used; choosing among the others. A newer driver may help"
				);
			}
		}
	}
	let rated = contained(|| {
		let handle = Handle::open(adapter, tensor::FEATURES)?;
		let made = usable.iter().map(|recipe| Product::new(&handle, recipe));
		let mut products: Vec<Product> = made.collect::<Result<_, _>>()?;
		let timed = Trial::new(&handle, rows)?;
		// Compared again at full load, if the portable kernel is there to compare with.
		let portable = products.iter().find(|product| product.name == PORTABLE);
		let expected = portable
			.map(|portable| timed.product(portable))
			.transpose()?;
		if let Some(expected) = expected {
			let mut alike = Vec::new();
			for product in products {
				if timed.product(&product)? == expected {
					alike.push(product);
				} else {
					tracing::warn!(
						kernel = product.name,
						"a kernel computes wrong products under load; choosing among the others. If this \
						 recurs, check the GPU's power and cooling"
					);
				}
			}
			products = alike;
		}
		let gops = timed.gops(&products)?;
		let rated = products.iter().zip(gops).map(|(product, gops)| Rated {
			kernel: product.name.clone(),
			gops: Some(gops),
		});
		Ok(rated.collect::<Vec<_>>())
	});
	let mut rated = rated?;
	let rate = |rated: &Rated| rated.gops.unwrap_or_default();
	rated.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
	Ok(Competed { rated, complete })
}

/// A device and its chosen kernel.
pub(super) struct Chosen {
	pub handle: Handle,
	pub product: Product,
	/// The correct kernels, the fastest first.
	pub rated: Vec<Rated>,
}

/// Opens an adapter with a kernel. Fails if the kernel's results are wrong.
fn open(adapter: &Adapter, recipe: &Recipe, rated: Vec<Rated>) -> Result<Chosen, DeviceError> {
	contained(|| {
		let handle = Handle::open(adapter, features(recipe))?;
		let product = Product::new(&handle, recipe)?;
		match Trial::new(&handle, KNOWN) {
			Ok(known) => {
				if !is_right(&known, &product)? {
					return Err(lost("its results differ from the processor's"));
				}
			}
			// A customer may hold all memory. Checkers verify the results later.
			Err(DeviceError::Memory(error)) => {
				tracing::warn!(
					error,
					"too little free memory on a GPU to verify a kernel; using it unverified. Unless a \
					 customer uses the GPU, stop the program that holds its memory"
				);
			}
			Err(error) => return Err(error),
		}
		Ok(Chosen {
			handle,
			product,
			rated,
		})
	})
}

/// Returns the plans for an adapter's matrix units.
fn plans(adapter: &Adapter, software: bool) -> Vec<Plan> {
	let mut plans = tensor::plans_of(adapter);
	if software {
		// The smallest one, which compiles fastest.
		plans.drain(..plans.len().saturating_sub(1));
	}
	plans
}

/// Tries each kernel of an adapter.
pub(super) fn try_each(adapter: &Adapter) -> Vec<(String, Result<(), DeviceError>)> {
	let software = adapter.get_info().device_type == DeviceType::Cpu;
	let plans = plans(adapter, software).into_iter().map(Some);
	let recipes = std::iter::once(None).chain(plans);
	let tried = |recipe| {
		(
			format!("Vulkan, {}", name_of(&recipe)),
			open(adapter, &recipe, Vec::new()).map(|_| ()),
		)
	};
	recipes.map(tried).collect()
}

/// Opens an adapter with the best of the permitted kernels.
pub(super) fn choose(
	adapter: &Adapter,
	kernels: Kernels,
	memory: Option<&Path>,
) -> Result<Chosen, DeviceError> {
	let software = adapter.get_info().device_type == DeviceType::Cpu;
	let plans = match kernels {
		Kernels::Portable => Vec::new(),
		// Slower there; compiling alone takes long.
		Kernels::Fastest if software => Vec::new(),
		Kernels::Fastest | Kernels::Tensor => plans(adapter, software),
	};
	let portable = kernels != Kernels::Tensor;
	let mut rated = Vec::new();
	if !plans.is_empty() {
		let mut recipes: Vec<Recipe> = plans.into_iter().map(Some).collect();
		if portable {
			recipes.insert(0, None);
		}
		match on_units(adapter, &recipes, TIMED, memory) {
			Ok(chosen) => return Ok(chosen),
			Err(error) => {
				let name = adapter.get_info().name;
				tracing::warn!(
					name,
					%error,
					"a GPU's matrix units cannot be used; using a slower kernel. A newer driver may help"
				);
				rated.push(Rated {
					kernel: format!("tensor, not used: {error}"),
					gops: None,
				});
			}
		}
	}
	if !portable {
		return Err(lost("it has no usable matrix units"));
	}
	let used = Rated {
		kernel: PORTABLE.into(),
		gops: None,
	};
	rated.insert(0, used);
	open(adapter, &None, rated)
}

/// Opens an adapter with the best of some kernels, including those on its matrix units.
pub(super) fn on_units(
	adapter: &Adapter,
	recipes: &[Recipe],
	rows: usize,
	memory: Option<&Path>,
) -> Result<Chosen, DeviceError> {
	let memo = match memory {
		Some(dir) => {
			// Different code under the same name is a different kernel.
			let codes = recipes
				.iter()
				.map(|recipe| Ok(code_of(recipe)?.fingerprint()))
				.collect::<Result<Vec<_>, DeviceError>>()?;
			let info = adapter.get_info();
			let model = [&*info.name, &*info.driver, &*info.driver_info];
			Some(Memo::new(dir, model, &info.device_pci_bus_id, &codes))
		}
		None => None,
	};
	let attempt = memo
		.as_ref()
		.map(Memo::attempt)
		.transpose()
		.map_err(|refused| lost(refused.to_string()))?;
	let chosen = best(adapter, recipes, rows, memo.as_ref());
	// Successful or not, the process survived.
	if let Some(attempt) = attempt {
		attempt.finish();
	}
	chosen
}

fn best(
	adapter: &Adapter,
	recipes: &[Recipe],
	rows: usize,
	memo: Option<&Memo>,
) -> Result<Chosen, DeviceError> {
	let of_name = |rated: &Rated| {
		let found = recipes
			.iter()
			.find(|recipe| name_of(recipe) == rated.kernel);
		found.copied()
	};
	if let Some(rated) = memo.and_then(Memo::choice)
		&& let Some(recipe) = rated.first().and_then(of_name)
	{
		match open(adapter, &recipe, rated) {
			// The machine has changed since: choose again.
			Err(DeviceError::Lost(error)) => tracing::warn!(
				error,
				"the kernel chosen earlier failed on a GPU; choosing again"
			),
			other => return other,
		}
	}
	if let Some(memo) = memo {
		memo.forget();
	}
	let Competed { rated, complete } = match recipes {
		// No choice to make.
		[only] => Competed {
			rated: vec![Rated {
				kernel: name_of(only),
				gops: None,
			}],
			complete: false,
		},
		_ => compete(adapter, recipes, rows)?,
	};
	let recipe = rated.first().and_then(of_name);
	let recipe = recipe.ok_or_else(|| lost("no kernel computes correctly"))?;
	let chosen = open(adapter, &recipe, rated)?;
	if let Some(memo) = memo.filter(|_| complete) {
		memo.choose(&chosen.rated);
	}
	Ok(chosen)
}

/// Checks the kernel of a plan on an adapter.
#[cfg(test)]
pub(super) fn try_plan(adapter: &Adapter, plan: &Plan) -> Result<(), DeviceError> {
	open(adapter, &Some(*plan), Vec::new()).map(|_| ())
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::gpu::{Choice, vulkan::adapters};

	fn adapter() -> Adapter {
		adapters(Choice::Software)
			.into_iter()
			.find(|adapter| adapter.get_info().device_type == DeviceType::Cpu)
			.expect("no Vulkan driver: scripts/setup.sh installs mesa-vulkan-drivers")
	}

	#[test]
	fn what_is_wrong_is_found_out() {
		let handle = Handle::open(&adapter(), Features::empty()).unwrap();
		let tile = (shaders::TILE, shaders::TILE);
		let made =
			|code: String| Product::of_code(&handle, Code::Wgsl(code), tile, "one of these".into());
		let good = shaders::step();
		let wrong = good.replace("0x2C1B3C6Du", "0x2C1B3C6Fu");
		let half = good.replace("k < words; k +=", "k < words / 2u; k +=");
		let unkeyed = good.replace(" + p.kappa", "");
		let idle = good
			.replace("y[at] =", "y[at] = 0u * ")
			.replace("y[at + 1u] =", "y[at + 1u] = 0u * ");
		for bad in [&wrong, &half, &unkeyed, &idle] {
			assert_ne!(*bad, good);
		}
		let known = Trial::new(&handle, KNOWN).unwrap();
		for (code, expected) in [
			(wrong, false),
			(good.clone(), true),
			(half, false),
			(unkeyed, false),
			(idle, false),
			(good, true),
		] {
			assert_eq!(is_right(&known, &made(code).unwrap()), Ok(expected));
		}
		assert!(made("nothing".into()).is_err());
	}
}
