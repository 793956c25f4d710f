//! The choice of the kernel for the product. Each candidate runs a small trial, together with all other
//! kernels that a trial needs, and its results are compared with the processor's. The correct ones compete,
//! and the fastest is used. Each has its own context, so a failing kernel harms no other. The result is
//! recorded (see [`Memo`]).

use super::{
	Cuda,
	code::{self, Code, Recipe},
	driver::{Listed, Version},
	memory::Memory,
};
use crate::{
	gpu::{
		Kernels,
		backend::{Backend, contained, lost},
		memo::Memo,
	},
	trial::{
		device::{Device, DeviceError, Matrix, Place, Processor, Rated, Shown, Spans},
		hash::{Compress, Hash, Running},
		matrix::{KEPT, STEPS, Size, turn_root},
	},
};
use std::{
	collections::BTreeMap,
	path::Path,
	sync::LazyLock,
	time::{Duration, Instant},
};

/// The small trial.
const KNOWN: Size = Size {
	n: 256,
	window: 2,
	turns: 2,
};
/// Seeds of the small trial's fill and turns.
const FILL_SEED: Hash = [0x6b; 32];
const SEED: Hash = [0x6c; 32];
/// A matrix of its fill that is not kept, and one that is.
const PASSING: u32 = 3;
const STAYING: u32 = 8;
/// Maximum rows of the timed products.
const TIMED: u32 = 4_096;
/// Maximum duration of a timed product: slow devices get smaller ones.
const LONG: Duration = Duration::from_millis(20);
/// Number of timings of each kernel, within [`LONG_RACE`]. The fastest counts, since disturbances only slow
/// down.
const TIMES: usize = 5;
const LONG_RACE: Duration = Duration::from_secs(1);
/// Minimum duration of a timing.
const EACH_TIME: Duration = Duration::from_millis(5);
/// Maximum products or turns in one timing.
const MOST_TIMES: u32 = 64;
/// Duration of work before the timings: the device's clocks take a while to rise.
const WARM_UP: Duration = Duration::from_millis(200);

/// The results of a trial.
#[derive(PartialEq, Eq)]
struct Outcome {
	fill: Vec<Hash>,
	steps: Vec<Hash>,
	running: Hash,
	shown: BTreeMap<Place, Shown>,
}

/// Returns the lines of the small trial to compare, by matrix.
fn asked() -> Vec<(Matrix, Vec<u32>)> {
	let last = KNOWN.lines() as u32 - 1;
	vec![
		(Matrix::Filled(PASSING), vec![0, 37]),
		(Matrix::Filled(STAYING), vec![last]),
		(Matrix::Step(STEPS * KNOWN.turns - 1), vec![1, last]),
	]
}

/// Binds nothing, since the trial has one GPU.
struct Alone;

impl Spans for Alone {
	fn bind(&mut self, _: u32, running: Running) -> Option<Running> {
		Some(running)
	}
}

/// The results of the small trial on the processor.
static EXPECTED: LazyLock<Result<Outcome, DeviceError>> = LazyLock::new(|| {
	let window = Processor.fill(FILL_SEED, KNOWN.n, KNOWN.window, &|| true)?;
	let begin = Running::new(&SEED);
	let steps = window.run(SEED, KNOWN, begin, &mut Alone)?;
	let mut running = begin;
	let mut hashes = Vec::new();
	for (turn, roots) in (0..).zip(steps.chunks(STEPS as usize)) {
		hashes.push(running);
		running.take(Compress::new(), &turn_root(&SEED, turn, roots));
	}
	let places = asked().into_iter().flat_map(|(matrix, lines)| {
		let place = move |line| Place { matrix, line };
		lines.into_iter().map(place)
	});
	Ok(Outcome {
		fill: window.roots().to_vec(),
		shown: window.show(SEED, KNOWN, &hashes, &places.collect())?,
		running: *running.state(),
		steps,
	})
});

/// Runs the small trial on a GPU.
fn outcome(gpu: &Cuda, memory: &Memory) -> Result<Outcome, DeviceError> {
	let fill = gpu.fill(memory, &FILL_SEED, true, &|| Ok(()))?;
	gpu.begin(memory, &SEED)?;
	gpu.set_running(memory, &Running::new(&SEED))?;
	let all = STEPS * KNOWN.turns;
	let x = gpu.steps(memory, &SEED, &KNOWN, 0..all, 0)?;
	let mut shown = BTreeMap::new();
	// The last tree is that of the last step.
	for (matrix, lines) in asked().into_iter().rev() {
		let (seed, x) = match matrix {
			Matrix::Filled(t) => (FILL_SEED, gpu.filled(memory, None, t)?),
			Matrix::Step(_) => (SEED, x),
		};
		let lines = gpu.show(memory, &seed, matrix, x, &lines)?;
		shown.extend(
			lines
				.into_iter()
				.map(|(line, one)| (Place { matrix, line }, one)),
		);
	}
	Ok(Outcome {
		fill,
		steps: gpu.roots(memory, 0..all)?,
		running: gpu.running(memory)?,
		shown,
	})
}

/// Opens a GPU with a kernel. Fails if its results are wrong.
fn open(listed: &Listed, base: &Code, recipe: &Recipe, early: bool) -> Result<Cuda, DeviceError> {
	contained(|| {
		let gpu = Cuda::open(listed, base, recipe, early)?;
		let memory = match gpu.take(KNOWN.n, KNOWN.window) {
			Ok(memory) if memory.matrices == KNOWN.window => memory,
			// A customer may hold all memory. Checkers verify the results later.
			Ok(_) | Err(DeviceError::Memory(_)) => {
				tracing::warn!(
					gpu = gpu.name,
					"too little free memory on a GPU to verify its kernels; using them unverified. Unless a \
					 customer uses the GPU, stop the program that holds its memory"
				);
				return Ok(gpu);
			}
			Err(error) => return Err(error),
		};
		let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
		if outcome(&gpu, &memory)? != *expected {
			return Err(lost(
				"its results in a small trial differ from the processor's",
			));
		}
		Ok(gpu)
	})
}

/// Opens a GPU with the best of the permitted kernels.
pub(super) fn choose(
	listed: &Listed,
	version: Version,
	kernels: Kernels,
	memory: Option<&Path>,
) -> Result<Cuda, DeviceError> {
	let mut fitting = code::fitting(listed, version);
	for code in &fitting.too_new {
		tracing::warn!(
			gpu = %listed.card,
			"the driver supports only {version}, so a GPU runs without its faster kernels ({}). Install driver {} or newer",
			code.name,
			code.driver
		);
	}
	// After a loss: without Hopper's own kernels, and without early launches.
	let careful = kernels == Kernels::Portable;
	if careful {
		fitting.recipes.retain(|recipe| !recipe.pairs);
	}
	let (Some(base), false) = (fitting.base, fitting.recipes.is_empty()) else {
		return Err(lost(format!(
			"its driver supports only {version}, too old for every kernel: install a newer driver"
		)));
	};
	let recipes = &fitting.recipes;
	let codes: Vec<String> = std::iter::once((base, ""))
		.chain(recipes.iter().map(|recipe| (recipe.code, recipe.name)))
		.map(|(code, name)| format!("{name} {}", blake3::hash(code.ptx.as_bytes()).to_hex()))
		.collect();
	let memo = memory.filter(|_| !careful).map(|dir| {
		let bus = listed
			.card
			.bus
			.map(|bus| bus.to_string())
			.unwrap_or_default();
		Memo::new(
			dir,
			[&listed.card.name, "CUDA", &version.to_string()],
			&bus,
			&codes,
		)
	});
	let attempt = memo.as_ref().map(Memo::attempt).transpose();
	let attempt = attempt.map_err(|refused| lost(refused.to_string()))?;
	let with = |recipe: &Recipe| open(listed, base, recipe, !careful);
	let chosen = best(recipes, memo.as_ref(), with);
	// Successful or not, the process survived.
	if let Some(attempt) = attempt {
		attempt.finish();
	}
	chosen
}

/// Tries each kernel of a GPU, with early launches and without.
pub(super) fn try_each(
	listed: &Listed,
	version: Version,
) -> Vec<(String, Result<(), DeviceError>)> {
	let fitting = code::fitting(listed, version);
	let mut tried = Vec::new();
	for code in fitting.too_new {
		let error = format!(
			"the driver supports only {version}: install driver {} or newer",
			code.driver
		);
		tried.push((format!("CUDA, {}", code.name), Err(lost(error))));
	}
	for recipe in &fitting.recipes {
		for early in [true, false] {
			let order = if early { "" } else { ", one after the other" };
			let opened = match fitting.base {
				Some(base) => open(listed, base, recipe, early).map(|_| ()),
				None => Err(lost(
					"the driver is too old for the other kernels of a trial: install a newer driver",
				)),
			};
			tried.push((format!("{}{order}", recipe.name), opened));
		}
	}
	tried
}

fn best(
	recipes: &[Recipe],
	memo: Option<&Memo>,
	open: impl Fn(&Recipe) -> Result<Cuda, DeviceError>,
) -> Result<Cuda, DeviceError> {
	if let Some(rated) = memo.and_then(Memo::choice)
		&& let Some(recipe) = rated
			.first()
			.and_then(|first| recipes.iter().find(|recipe| recipe.name == first.kernel))
	{
		match open(recipe) {
			Ok(gpu) => return Ok(Cuda { rated, ..gpu }),
			// The machine has changed since: choose again.
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(
					error,
					"the kernel chosen earlier failed on a GPU; choosing again"
				);
			}
			Err(error) => return Err(error),
		}
	}
	if let Some(memo) = memo {
		memo.forget();
	}
	let (mut usable, mut failed) = (Vec::new(), None);
	for recipe in recipes {
		match open(recipe) {
			Ok(gpu) => usable.push(gpu),
			// Not the kernel's fault.
			Err(error @ DeviceError::Memory(_)) => return Err(error),
			Err(error) => {
				tracing::warn!(
					kernel = recipe.name,
					%error,
					"a kernel cannot be used; choosing among the others. A newer driver may help"
				);
				failed = Some(error);
			}
		}
	}
	if usable.is_empty() {
		return Err(failed.unwrap_or_else(|| lost("no kernel exists for this GPU")));
	}
	let rated = contained(|| compete(&usable))?;
	let first = rated.first().map(|first| first.kernel.clone());
	let chosen = usable
		.into_iter()
		.find(|gpu| Some(gpu.product.recipe.name) == first.as_deref());
	let chosen = chosen.ok_or_else(|| {
		lost("no kernel computes correctly under load: check the GPU's power and cooling")
	})?;
	if let Some(memo) = memo.filter(|_| rated.len() > 1) {
		memo.choose(&rated);
	}
	Ok(Cuda { rated, ..chosen })
}

/// Work to time.
struct Timed<'a> {
	gpu: &'a Cuda,
	memory: Memory,
}

impl<'a> Timed<'a> {
	fn new(gpu: &'a Cuda, n: u32) -> Result<Self, DeviceError> {
		let memory = gpu.take(n, KNOWN.window)?;
		// Any window serves, as long as all kernels have the same.
		for t in (0..).step_by(KEPT as usize).map_while(|t| memory.kept(t)) {
			gpu.rows(&memory, t, 1, &FILL_SEED)?;
		}
		let timed = Self { gpu, memory };
		timed.begin()?;
		Ok(timed)
	}

	fn begin(&self) -> Result<(), DeviceError> {
		let Self { gpu, memory } = self;
		gpu.begin(memory, &SEED)?;
		gpu.set_running(memory, &Running::new(&SEED))
	}

	fn products(&self, times: u32) -> Result<Duration, DeviceError> {
		let Self { gpu, memory } = self;
		gpu.context.timed(|| gpu.products(memory, times))
	}

	/// Times turns with their walks and trees: a kernel that leaves room for those is worth more than its
	/// products show.
	fn turns(&self, times: u32) -> Result<Duration, DeviceError> {
		let Self { gpu, memory } = self;
		let size = Size {
			n: memory.n,
			window: memory.matrices,
			turns: times,
		};
		let steps = || {
			gpu.steps(memory, &SEED, &size, 0..STEPS * times, 0)
				.map(|_| ())
		};
		gpu.context.timed(steps)
	}

	/// Returns the bytes of a product, then the roots of a turn.
	fn bytes(&self) -> Result<Vec<u8>, DeviceError> {
		let Self { gpu, memory } = self;
		self.begin()?;
		self.products(1)?;
		let product = memory.trial.x[1].start();
		let mut bytes = gpu.context.read(product, memory.matrix())?;
		self.turns(1)?;
		bytes.extend(gpu.roots(memory, 0..STEPS)?.as_flattened());
		Ok(bytes)
	}
}

/// Returns the fastest timing of each kernel. The kernels alternate, so that a disturbance affects all.
fn fastest<'a>(
	all: &[Timed<'a>],
	work: impl Fn(&Timed<'a>, u32) -> Result<Duration, DeviceError>,
) -> Result<Vec<f64>, DeviceError> {
	let start = Instant::now();
	let (mut best, mut counts) = (Vec::new(), Vec::new());
	for one in all {
		let took = work(one, 1)?.as_secs_f64().max(1e-9);
		best.push(took);
		let count = (EACH_TIME.as_secs_f64() / took).ceil() as u32;
		counts.push(count.clamp(1, MOST_TIMES));
	}
	for _ in 0..TIMES {
		if start.elapsed() > LONG_RACE {
			break;
		}
		for ((one, count), best) in all.iter().zip(&counts).zip(&mut best) {
			*best = best.min(work(one, *count)?.as_secs_f64() / f64::from(*count));
		}
	}
	Ok(best)
}

/// Measures kernels, and returns them by the pace of their turns, the fastest first. Excludes those whose
/// results differ from those of the last, which is the simplest. A single kernel is not measured.
fn compete(usable: &[Cuda]) -> Result<Vec<Rated>, DeviceError> {
	if let [only] = usable {
		return Ok(vec![Rated {
			kernel: only.product.recipe.name.into(),
			gops: None,
		}]);
	}
	let timed = |n| {
		let each = usable.iter().map(|gpu| Timed::new(gpu, n));
		each.collect::<Result<Vec<_>, _>>()
	};
	let mut n = KNOWN.n;
	let mut all = timed(n)?;
	loop {
		let mut slowest = Duration::ZERO;
		for one in &all {
			slowest = slowest.max(one.products(1)?);
		}
		// Doubling the rows multiplies the work by eight.
		if n >= TIMED || 8 * slowest > LONG {
			break;
		}
		n *= 2;
		drop(all);
		all = timed(n)?;
	}
	let expected = all.last().map(Timed::bytes).transpose()?;
	let mut alike = Vec::new();
	for one in all {
		if Some(one.bytes()?) == expected {
			alike.push(one);
		} else {
			tracing::warn!(
				gpu = one.gpu.name,
				kernel = one.gpu.product.recipe.name,
				"a kernel computes wrong products under load; choosing among the others. If this recurs, check \
				 the GPU's power and cooling"
			);
		}
	}
	let start = Instant::now();
	while start.elapsed() < WARM_UP {
		for one in &alike {
			one.products(1)?;
		}
	}
	let products = fastest(&alike, Timed::products)?;
	let turns = fastest(&alike, Timed::turns)?;
	let operations = 2.0 * f64::from(n).powi(3);
	let rated = alike.iter().zip(products).map(|(one, secs)| Rated {
		kernel: one.gpu.product.recipe.name.into(),
		gops: Some(operations / secs.max(1e-9) / 1e9),
	});
	let mut rated: Vec<(f64, Rated)> = turns.into_iter().zip(rated).collect();
	rated.sort_by(|a, b| a.0.total_cmp(&b.0));
	Ok(rated.into_iter().map(|(_, rated)| rated).collect())
}
