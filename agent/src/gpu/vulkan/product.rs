//! Which kernel computes the product: the portable one, which every device runs, or one on its matrix units.
//!
//! Drivers are not to be trusted with it: some say that they have matrix units and play them in software, slower
//! than without; some lose the device, or crash; one may be wrong. So each kernel computes a product that is known, what
//! is right competes, and the fastest is taken. Each does so on a handle of its own, which is then given up: what it does
//! to it harms no other. What came of it is remembered (see [`Memo`]).

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

/// Rows of the product that is known.
const KNOWN: usize = 256;
/// Rows of the products that are timed.
const TIMED: usize = 4_096;
/// How often each is timed; the fastest counts, since what disturbs only slows down.
const TIMES: usize = 5;
/// How long each time takes at least, so that what it costs to begin and to wait is little of it.
const EACH_TIME: Duration = Duration::from_millis(5);
/// Products of one time, at most.
const MOST_PRODUCTS: usize = 64;
/// How long the device works before anything is timed: its clocks take a while to rise.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long kernels are made: some drivers take seconds for one. What is made by then competes.
const MAKING: Duration = Duration::from_secs(15);
/// Bytes of the parameters: n, t and κ, in words.
pub(super) const PARAMS: u64 = 64;
const SEED: Hash = [0x6b; 32];
/// Any step and κ will do.
const STEP: u32 = 0x0012_3456;
const KAPPA: u32 = 0x89AB_CDEF;
/// What the portable kernel is called.
const PORTABLE: &str = "portable, packed products of four bytes";

/// A kernel for the product.
pub(super) struct Product {
	kernel: Kernel,
	/// Rows and columns of sums that a workgroup computes.
	tile: (u32, u32),
	name: String,
}

/// What makes a kernel: a plan for matrix units, or none for the portable one.
pub(super) type Recipe = Option<Plan>;

fn name_of(recipe: &Recipe) -> String {
	match recipe {
		Some(plan) => format!("tensor, {plan}"),
		None => PORTABLE.into(),
	}
}

/// Its code.
fn code_of(recipe: &Recipe) -> Result<Code, DeviceError> {
	match recipe {
		Some(plan) => tensor::kernel(plan)
			.map(Code::Spirv)
			.map_err(|error| lost(format!("a kernel that cannot be: {error}"))),
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

	/// Workgroups, across and down, for matrices of `n` rows.
	pub fn groups(&self, n: u32) -> (u32, u32) {
		let (rows, columns) = self.tile;
		(n / columns, n / rows)
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
		params[8..12].copy_from_slice(&KAPPA.to_le_bytes());
		handle.queue.write_buffer(&trial.params, 0, &params);
		handle.queue.write_buffer(&trial.a, 0, &factor(n));
		let x = first(&SEED, n as u32);
		handle.queue.write_buffer(&trial.x, 0, &x);
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
			let groups = product.groups(self.n as u32);
			product.kernel.dispatch(&mut encoder, &bound, 0, groups);
		}
		let start = Instant::now();
		self.handle.submit(encoder);
		self.handle.wait()?;
		Ok(start.elapsed())
	}

	/// The product, as a kernel computes it.
	fn product(&self, product: &Product) -> Result<Vec<u8>, DeviceError> {
		// What another kernel left behind is not to be taken for its work.
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

	/// What kernels do, in 10⁹ operations a second. They take turns, so that what disturbs, disturbs all.
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

/// The fixed factor.
fn factor(n: usize) -> Vec<u8> {
	let n = n as u32;
	(0..n).flat_map(|i| row_of_a(&SEED, i, n)).collect()
}

/// The known product, in plain code.
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

/// Whether a kernel computes the product that is known.
fn is_right(known: &Trial<'_>, product: &Product) -> Result<bool, DeviceError> {
	Ok(known.product(product)? == expected(known.n))
}

fn features(recipe: &Recipe) -> Features {
	match recipe {
		Some(_) => tensor::FEATURES,
		None => Features::empty(),
	}
}

/// What came of a competition.
pub(super) struct Competed {
	/// The kernels that are right, the fastest first.
	pub rated: Vec<Rated>,
	/// None was left out for want of time.
	pub complete: bool,
}

/// Finds out which kernels are right, and how fast they are, by products of so many rows.
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
			// That is not the kernel's fault.
			Err(error @ DeviceError::Memory(_)) => return Err(error),
			Err(error) => {
				tracing::warn!(kernel = name_of(recipe), %error, "a kernel cannot be used");
			}
		}
	}
	let rated = contained(|| {
		let handle = Handle::open(adapter, tensor::FEATURES)?;
		let made = usable.iter().map(|recipe| Product::new(&handle, recipe));
		let mut products: Vec<Product> = made.collect::<Result<_, _>>()?;
		let timed = Trial::new(&handle, rows)?;
		// The same again at full load, where there is something to compare with.
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
						"a kernel computes wrong products under load and is not used"
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

/// A device with the kernel that it is used with.
pub(super) struct Chosen {
	pub handle: Handle,
	pub product: Product,
	/// The kernels that are right, the fastest first.
	pub rated: Vec<Rated>,
}

/// Opens an adapter with a kernel, unless that kernel is wrong.
fn open(adapter: &Adapter, recipe: &Recipe, rated: Vec<Rated>) -> Result<Chosen, DeviceError> {
	contained(|| {
		let handle = Handle::open(adapter, features(recipe))?;
		let product = Product::new(&handle, recipe)?;
		match Trial::new(&handle, KNOWN) {
			Ok(known) => {
				if !is_right(&known, &product)? {
					return Err(lost("it does not compute what it should"));
				}
			}
			// All memory is a customer's. What it computes is checked later, by others.
			Err(DeviceError::Memory(error)) => {
				tracing::warn!(error, "a GPU has too little free memory to try a kernel");
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

/// The plans for an adapter's matrix units.
fn plans(adapter: &Adapter, software: bool) -> Vec<Plan> {
	let mut plans = tensor::plans_of(adapter);
	if software {
		// The least takes the compiler the least time.
		plans.drain(..plans.len().saturating_sub(1));
	}
	plans
}

/// Tries each kernel that there is for an adapter.
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

/// Opens an adapter with the best of the kernels that may be used.
pub(super) fn choose(
	adapter: &Adapter,
	kernels: Kernels,
	memory: Option<&Path>,
) -> Result<Chosen, DeviceError> {
	let software = adapter.get_info().device_type == DeviceType::Cpu;
	let plans = match kernels {
		Kernels::Portable => Vec::new(),
		// It would be slower there; its compiler alone takes long.
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
				tracing::warn!(name, %error, "the matrix units of a GPU cannot be used; a slower kernel is");
				rated.push(Rated {
					kernel: format!("tensor, not used: {error}"),
					gops: None,
				});
			}
		}
	}
	if !portable {
		return Err(lost("it has no matrix units that can be used"));
	}
	let used = Rated {
		kernel: PORTABLE.into(),
		gops: None,
	};
	rated.insert(0, used);
	open(adapter, &None, rated)
}

/// Opens an adapter with the best of some kernels, those on its matrix units among them.
pub(super) fn on_units(
	adapter: &Adapter,
	recipes: &[Recipe],
	rows: usize,
	memory: Option<&Path>,
) -> Result<Chosen, DeviceError> {
	let memo = match memory {
		Some(dir) => {
			// Another code by the same name is another kernel.
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
	// Whatever came of it, the process lives.
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
			// It is no longer what it was: that is found out anew.
			Err(DeviceError::Lost(error)) => tracing::warn!(
				error,
				"the device was lost with the kernel chosen earlier; choosing again"
			),
			other => return other,
		}
	}
	if let Some(memo) = memo {
		memo.forget();
	}
	let Competed { rated, complete } = match recipes {
		// There is nothing to choose.
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
	let recipe = recipe.ok_or_else(|| lost("no kernel computes what it should"))?;
	let chosen = open(adapter, &recipe, rated)?;
	if let Some(memo) = memo.filter(|_| complete) {
		memo.choose(&chosen.rated);
	}
	Ok(chosen)
}

/// Whether the kernel of a plan is right on an adapter; the error says what is wrong.
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
