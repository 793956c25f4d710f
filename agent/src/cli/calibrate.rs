//! `kaisar-agent calibrate`: measures the reference of a class on a GPU that is known to be of that class.

use super::{GpuArgs, bar, class, class_name, kernel_lines, rounded};
use anyhow::{Context, Result, ensure};
use clap::Args;
use kaisar_agent::{
	gpu::by_driver_name,
	trial::{
		device::{Device, Rated, Window},
		hash::Hash,
		job::Job,
		judge::LENGTH,
		matrix::{Seeds, Size, run_all},
	},
};
use kaisar_math::{ClassReference, classes};
use kaisar_primitives::{AgentKey, BenchParams, WorkerSpec};
use rand::{TryRngCore, rngs::OsRng};
use serde::Serialize;
use sp_core::H256;
use std::{
	fmt::{self, Display, Formatter},
	sync::Arc,
	time::Instant,
};

/// Turns of the first run, which sizes the others.
const FIRST: u32 = 64;
/// Turns of each run with `--try-mib`.
const TRIED: u32 = 2;
/// Rows of the matrices with `--try-mib`.
const TRIED_N: u32 = 1_024;

#[derive(Args)]
pub struct Calibrate {
	/// Print one line of JSON per GPU.
	#[arg(long)]
	json: bool,
	/// Class of the GPU, by number or name (default: the class of the driver's name).
	#[arg(long, value_parser = class)]
	class: Option<u16>,
	/// Memory that the class is sold with, in GB of 10⁹ bytes. Needed for a class that this program does not
	/// know.
	#[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
	memory_gb: Option<u32>,
	#[command(flatten)]
	gpus: GpuArgs,
	/// Number of runs; the figures are their median.
	#[arg(long, default_value_t = 5)]
	runs: usize,
	/// Try the command on this number of MiB of the GPU's memory, in a few turns. The figures are then no
	/// reference.
	#[arg(long)]
	try_mib: Option<u32>,
}

/// Figures of a GPU. The fields are those of the JSON.
#[derive(Serialize)]
struct Report {
	class: u16,
	class_name: String,
	/// The device's name.
	device: String,
	kernels: Vec<Rated>,
	/// Measured on part of the memory, in a few turns; not a reference.
	tried_only: bool,
	/// GPU and kernel were chosen as an agent chooses them.
	as_agents_do: bool,
	reference: ClassReference,
	memory_mib: u64,
	fill_secs: f64,
	turn_ms: f64,
	/// Difference of the slowest and the fastest run, as a part of the slowest.
	spread: f64,
	/// Time of a turn's products at the kernel's rate, if it was timed.
	products_ms: Option<f64>,
	/// Time of the memory traffic of a turn's walks at the rate of a plain copy.
	walks_ms: f64,
	/// Rate of a plain copy.
	copy_mb_s: u32,
	n: u32,
	turns: u32,
	runs: usize,
}

impl Display for Report {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let Self {
			class,
			reference,
			turn_ms,
			walks_ms,
			..
		} = self;
		writeln!(to, "{:?} as {:?}:", self.device, self.class_name)?;
		write!(to, "{}", kernel_lines(&self.kernels))?;
		writeln!(
			to,
			"  turns          {} in 10 s, {turn_ms:?} ms each (n = {}, {} turns)",
			reference.trial_turns, self.n, self.turns
		)?;
		if let Some(products_ms) = self.products_ms {
			writeln!(
				to,
				"  products       {products_ms:?} ms of it at the kernel's rate"
			)?;
			let rest = rounded(turn_ms - products_ms - walks_ms);
			writeln!(to, "  trees and rest {rest:?} ms")?;
		}
		writeln!(
			to,
			"  walks          {walks_ms:?} ms of it at the rate of a plain copy, {} MB/s",
			self.copy_mb_s
		)?;
		writeln!(
			to,
			"  memory         {} MiB filled in {:?} s",
			self.memory_mib, self.fill_secs
		)?;
		writeln!(
			to,
			"  median of {} runs; they differ by {:?}",
			self.runs, self.spread
		)?;
		if self.tried_only {
			writeln!(
				to,
				"  Tried on part of the memory: these figures are not a reference for the class."
			)
		} else if !self.as_agents_do {
			writeln!(
				to,
				"  GPUs or kernels were not chosen as an agent chooses them: not a reference for the class."
			)
		} else {
			let reference = serde_json::to_value(reference).map_err(|_| fmt::Error)?;
			writeln!(
				to,
				"  for governance: rewards.setClassReference({class}, {reference})"
			)
		}
	}
}

/// Runs the command.
pub fn run(args: &Calibrate) -> Result<()> {
	ensure!(
		(1..=100).contains(&args.runs),
		"--runs must be from 1 to 100"
	);
	let devices = args.gpus.open()?;
	ensure!(
		!devices.is_empty(),
		"this machine has no usable GPU; `kaisar-agent detect` lists its GPUs"
	);
	for device in devices {
		let name = device.name();
		let class = args
			.class
			.or_else(|| by_driver_name(&name).map(|class| class.id))
			.filter(|class| *class > 0)
			.with_context(|| format!("the GPU's name {name} fits no class: pass --class"))?;
		let report = calibrate(&*device, class, args)?;
		if args.json {
			println!("{}", serde_json::to_string(&report)?);
		} else {
			print!("{report}");
		}
	}
	Ok(())
}

/// Returns the sizes that an agent would plan for a GPU with this memory.
fn planned(class: u16, memory_gb: u32, try_mib: Option<u32>) -> Size {
	let (n, window_mib) = match try_mib {
		Some(mib) => (TRIED_N, mib.max(1)),
		None => (BenchParams::FULL.n, 0),
	};
	let job = Job {
		genesis: H256::zero(),
		round: 0,
		seed: H256::zero(),
		worker: 0,
		agent: AgentKey::from_raw([0; 32]),
		spec: WorkerSpec {
			gpu_class: class,
			gpu_count: 1,
			..Default::default()
		},
		bench: BenchParams {
			n,
			window_mib,
			..BenchParams::FULL
		},
		reference: Some(ClassReference {
			memory_gb,
			..ClassReference::LEAST
		}),
	};
	job.gpu(&job.plan())
}

fn random() -> Result<Hash> {
	let mut seed: Hash = [0; 32];
	OsRng
		.try_fill_bytes(&mut seed)
		.context("the system gives no random numbers")?;
	Ok(seed)
}

/// Runs turns as agents do, and returns the seconds per turn.
fn turn_secs(window: &Arc<dyn Window>, base: &Hash, size: Size) -> Result<f64> {
	// A new seed, so that a run cannot reuse work of the one before.
	let seed = random()?;
	let start = Instant::now();
	run_all(vec![window.clone()], base, &seed, size, &|_, _| (), &|| {
		true
	})?;
	Ok(start.elapsed().as_secs_f64() / f64::from(size.turns))
}

fn calibrate(device: &dyn Device, class: u16, args: &Calibrate) -> Result<Report> {
	let memory_gb = args
		.memory_gb
		.or(classes::get(class).map(|class| class.memory_gb))
		.with_context(|| format!("the memory of class {class} is not known: pass --memory-gb"))?;
	ensure!(
		(1..=ClassReference::MOST.memory_gb).contains(&memory_gb),
		"--memory-gb must be from 1 to {}",
		ClassReference::MOST.memory_gb
	);
	let bar = bar(args.runs as u64 + 3, args.json);
	bar.set_message("plain copy");
	let copy = device.copy_gbps()?;
	bar.inc(1);
	bar.set_message("fill");
	let plan = planned(class, memory_gb, args.try_mib);
	let base = random()?;
	let seeds = Seeds::new(&base, &base, 0);
	let start = Instant::now();
	let window: Arc<dyn Window> =
		Arc::from(device.fill(seeds.fill, plan.n, plan.window, &|| true)?);
	let fill_secs = start.elapsed().as_secs_f64();
	bar.inc(1);
	bar.set_message("first run, to size the others");
	let first = Size {
		window: window.matrices(),
		turns: if args.try_mib.is_some() { TRIED } else { FIRST },
		..plan
	};
	let secs = turn_secs(&window, &base, first)?;
	let size = match args.try_mib {
		Some(_) => first,
		None => Size {
			turns: turns_at(secs),
			..first
		},
	};
	bar.inc(1);
	let mut all = Vec::new();
	for number in 1..=args.runs {
		bar.set_message(format!("run {number}"));
		all.push(turn_secs(&window, &base, size)?);
		bar.inc(1);
	}
	bar.finish_and_clear();
	all.sort_by(f64::total_cmp);
	let secs = all[all.len() / 2];
	let (least, most) = (all[0], all[all.len() - 1]);
	let n = f64::from(size.n);
	let memory_gb = if size.window < plan.window {
		// The GPU has less than the class is sold with.
		least_gb(size)
	} else {
		memory_gb
	};
	let kernels = device.kernels();
	let gops = kernels.first().and_then(|rated| rated.gops);
	// Matrix units that could not be used in this run may be used in the next.
	let as_agents_do = args.gpus.as_agents_do()
		&& (kernels.len() < 2 || kernels.iter().all(|rated| rated.gops.is_some()));
	// A walk reads eight other lines for each line that it reads and writes.
	let walked = 8.0 * 10.0 * n * n;
	Ok(Report {
		class,
		class_name: class_name(class),
		device: device.name(),
		tried_only: args.try_mib.is_some(),
		as_agents_do,
		reference: ClassReference {
			trial_turns: turns_at(secs),
			memory_gb,
			// Agents are held to the figures of their own choice of GPUs and kernels.
			calibrated: args.try_mib.is_none() && as_agents_do,
		},
		memory_mib: (u64::from(size.window) * u64::from(size.n) * u64::from(size.n)) >> 20,
		fill_secs: rounded(fill_secs),
		turn_ms: rounded(secs * 1e3),
		spread: rounded((most - least) / most.max(1e-9)),
		products_ms: gops.map(|gops| rounded(8.0 * 2.0 * n.powi(3) / gops / 1e6)),
		walks_ms: rounded(walked / copy.max(1e-9) / 1e6),
		copy_mb_s: (copy * 1e3).clamp(1.0, f64::from(u32::MAX)) as u32,
		kernels,
		n: size.n,
		turns: size.turns,
		runs: args.runs,
	})
}

/// Returns the turns that fit into the trial at this pace.
fn turns_at(secs: f64) -> u32 {
	let turns = LENGTH.as_secs_f64() / secs.max(1e-9);
	turns.clamp(1.0, f64::from(ClassReference::MOST.trial_turns)) as u32
}

/// Returns the largest memory of a class for which no more than this window is planned, in GB.
fn least_gb(size: Size) -> u32 {
	let fits = |gb: &u32| planned(1, *gb, None).window <= size.window;
	(1..=ClassReference::MOST.memory_gb)
		.take_while(fits)
		.last()
		.unwrap_or(1)
}
