//! Which kernel computes the product. Each is tried in a small trial against the plain code, together with all others that
//! a trial needs; what is right competes, and the fastest is taken. Each has a context of its own: what it does to it harms
//! no other. What came of it is remembered (see [`Memo`]).

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
/// Seeds of its fill and of its turns.
const FILL_SEED: Hash = [0x6b; 32];
const SEED: Hash = [0x6c; 32];
/// A matrix of its fill that does not stay, and one that does.
const PASSING: u32 = 3;
const STAYING: u32 = 8;
/// Rows of the products that are timed, at most.
const TIMED: u32 = 4_096;
/// Longest that one of them takes, so that a slow device has smaller ones.
const LONG: Duration = Duration::from_millis(20);
/// How often each is timed, unless that takes long; the fastest counts, since what disturbs only slows down.
const TIMES: usize = 5;
const LONG_RACE: Duration = Duration::from_secs(1);
/// How long each time takes at least.
const EACH_TIME: Duration = Duration::from_millis(5);
/// Products or turns of one time, at most.
const MOST_TIMES: u32 = 64;
/// How long the device works before anything is timed: its clocks take a while to rise.
const WARM_UP: Duration = Duration::from_millis(200);

/// What a trial comes to.
#[derive(PartialEq, Eq)]
struct Outcome {
	fill: Vec<Hash>,
	steps: Vec<Hash>,
	running: Hash,
	shown: BTreeMap<Place, Shown>,
}

/// Lines of the small trial that are shown, by their matrices.
fn asked() -> Vec<(Matrix, Vec<u32>)> {
	let last = KNOWN.lines() as u32 - 1;
	vec![
		(Matrix::Filled(PASSING), vec![0, 37]),
		(Matrix::Filled(STAYING), vec![last]),
		(Matrix::Step(STEPS * KNOWN.turns - 1), vec![1, last]),
	]
}

/// Binds nothing: there is one GPU.
struct Alone;

impl Spans for Alone {
	fn bind(&mut self, _: u32, running: Running) -> Option<Running> {
		Some(running)
	}
}

/// What the small trial comes to in plain code.
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

/// What it comes to on a GPU.
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

/// Opens a GPU with a kernel, unless it does not compute what it should.
fn open(listed: &Listed, base: &Code, recipe: &Recipe, early: bool) -> Result<Cuda, DeviceError> {
	contained(|| {
		let gpu = Cuda::open(listed, base, recipe, early)?;
		let memory = match gpu.take(KNOWN.n, KNOWN.window) {
			Ok(memory) if memory.matrices == KNOWN.window => memory,
			// All memory is a customer's. What it computes is checked later, by others.
			Ok(_) | Err(DeviceError::Memory(_)) => {
				tracing::warn!(
					gpu = gpu.name,
					"a GPU has too little free memory to try its kernels"
				);
				return Ok(gpu);
			}
			Err(error) => return Err(error),
		};
		let expected = EXPECTED.as_ref().map_err(Clone::clone)?;
		if outcome(&gpu, &memory)? != *expected {
			return Err(lost("a small trial on it does not come to what it should"));
		}
		Ok(gpu)
	})
}

/// Opens a GPU with the best of the kernels that may be used.
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
			"the driver knows {version}: a GPU is used without its faster kernels ({}). Install driver {} or newer",
			code.name,
			code.driver
		);
	}
	// After a loss: without what is Hopper's alone, and one after the other.
	let careful = kernels == Kernels::Portable;
	if careful {
		fitting.recipes.retain(|recipe| !recipe.pairs);
	}
	let (Some(base), false) = (fitting.base, fitting.recipes.is_empty()) else {
		return Err(lost(format!(
			"its driver knows {version}, which is too old for all kernels"
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
	// Whatever came of it, the process lives.
	if let Some(attempt) = attempt {
		attempt.finish();
	}
	chosen
}

/// Tries each kernel that there is for a GPU, beginning early and one after the other.
pub(super) fn try_each(
	listed: &Listed,
	version: Version,
) -> Vec<(String, Result<(), DeviceError>)> {
	let fitting = code::fitting(listed, version);
	let mut tried = Vec::new();
	for code in fitting.too_new {
		let error = format!(
			"the driver knows {version}: driver {} or newer is needed",
			code.driver
		);
		tried.push((format!("CUDA, {}", code.name), Err(lost(error))));
	}
	for recipe in &fitting.recipes {
		for early in [true, false] {
			let order = if early { "" } else { ", one after the other" };
			let opened = match fitting.base {
				Some(base) => open(listed, base, recipe, early).map(|_| ()),
				None => Err(lost("the driver is too old for what surrounds it")),
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
			// It is no longer what it was: that is found out anew.
			Err(DeviceError::Lost(error)) => {
				tracing::warn!(
					error,
					"a GPU was lost with the kernel chosen earlier; choosing again"
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
			// That is not the kernel's fault.
			Err(error @ DeviceError::Memory(_)) => return Err(error),
			Err(error) => {
				tracing::warn!(kernel = recipe.name, %error, "a kernel cannot be used");
				failed = Some(error);
			}
		}
	}
	if usable.is_empty() {
		return Err(failed.unwrap_or_else(|| lost("there is no kernel for it")));
	}
	let rated = contained(|| compete(&usable))?;
	let first = rated.first().map(|first| first.kernel.clone());
	let chosen = usable
		.into_iter()
		.find(|gpu| Some(gpu.product.recipe.name) == first.as_deref());
	let chosen = chosen.ok_or_else(|| lost("no kernel computes what it should under load"))?;
	if let Some(memo) = memo.filter(|_| rated.len() > 1) {
		memo.choose(&rated);
	}
	Ok(Cuda { rated, ..chosen })
}

/// Work that is timed.
struct Timed<'a> {
	gpu: &'a Cuda,
	memory: Memory,
}

impl<'a> Timed<'a> {
	fn new(gpu: &'a Cuda, n: u32) -> Result<Self, DeviceError> {
		let memory = gpu.take(n, KNOWN.window)?;
		// Any window will do, as long as it is the same for all.
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

	/// Turns, with their walks and trees: a kernel that leaves room for those is worth more than its products say.
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

	/// The bytes that a product comes to, and the roots of a turn.
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

/// The fastest of some times, by turns of all, so that what disturbs, disturbs all.
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

/// Measures kernels, and returns them by the pace of their turns, the fastest first. Leaves out those that come to something
/// else than the last, which is the plainest. One alone is not measured.
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
		// Twice the rows are eight times the work.
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
				"a kernel computes wrong products under load and is not used"
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
