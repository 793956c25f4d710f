//! `kaisar-agent calibrate`: the figures that a class is held to, measured on a GPU that is known to be
//! of that class.

use super::{GpuArgs, bar, class, class_name, kernel_lines, rounded};
use anyhow::{Context, Result, ensure};
use clap::Args;
use kaisar_agent::bench::{
	classes::{Plan, by_driver_name},
	device::{Device, Rated},
	hash::Hash,
	walk::Walk,
};
use kaisar_math::{ClassReference, classes};
use rand::{TryRngCore, rngs::OsRng};
use serde::Serialize;
use std::{
	fmt::{self, Display, Formatter},
	time::Instant,
};

#[derive(Args)]
pub struct Calibrate {
	/// Print one line of JSON a GPU.
	#[arg(long)]
	json: bool,
	/// The class, by number or name; what the driver's name stands for by default.
	#[arg(long, value_parser = class)]
	class: Option<u16>,
	/// Memory with which the class is sold, in GB of 10⁹ bytes; needed for a class that this program does not know.
	#[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
	memory_gb: Option<u32>,
	#[command(flatten)]
	gpus: GpuArgs,
	/// Runs of which the median is taken.
	#[arg(long, default_value_t = 5)]
	runs: usize,
	/// Try the command out on so many MiB of the GPU's memory, in a few steps. The figures are then of
	/// no use.
	#[arg(long)]
	try_mib: Option<u32>,
}

/// What one run came to.
struct Figures {
	gops: f64,
	gbps: f64,
	window: usize,
}

/// Figures of a GPU. The fields are those of the JSON.
#[derive(Serialize)]
struct Report {
	class: u16,
	class_name: String,
	/// The device's name.
	device: String,
	kernels: Vec<Rated>,
	/// Measured on part of the memory, in a few steps: of no use as a reference.
	tried_only: bool,
	/// GPU and kernel were chosen as an agent chooses them.
	as_agents_do: bool,
	reference: ClassReference,
	memory_mib: usize,
	/// Spread of the runs, as a part of the highest.
	int8_gops_spread: f64,
	walk_mb_s_spread: f64,
	/// A plain copy.
	copy_mb_s: u32,
	walk_of_copy: f64,
	n: usize,
	steps: usize,
	runs: usize,
}

impl Display for Report {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let Self {
			class,
			reference,
			n,
			steps,
			..
		} = self;
		writeln!(to, "{:?} as {:?}:", self.device, self.class_name)?;
		write!(to, "{}", kernel_lines(&self.kernels))?;
		writeln!(
			to,
			"  throughput     {} Gop/s (n = {n}, {steps} steps)",
			reference.int8_gops
		)?;
		writeln!(
			to,
			"  memory         {} MB/s, {:?} of a plain copy's {}; {} MiB kept",
			reference.walk_mb_s, self.walk_of_copy, self.copy_mb_s, self.memory_mib
		)?;
		writeln!(
			to,
			"  of {} runs; they differ by {:?} and {:?}",
			self.runs, self.int8_gops_spread, self.walk_mb_s_spread
		)?;
		if self.tried_only {
			writeln!(
				to,
				"  Tried only: these figures say nothing about the class."
			)
		} else if !self.as_agents_do {
			writeln!(
				to,
				"  Not as an agent would measure by itself: not what the class is to be held to."
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

/// Runs it.
pub fn run(args: &Calibrate) -> Result<()> {
	ensure!((1..=100).contains(&args.runs), "from 1 to 100 runs");
	let devices = args.gpus.open()?;
	ensure!(!devices.is_empty(), "there is no GPU here that can be used");
	for device in devices {
		let name = device.name();
		let class = args
			.class
			.or_else(|| by_driver_name(&name).map(|class| class.id))
			.filter(|class| *class > 0)
			.with_context(|| format!("no class goes by the name of {name}: pass --class"))?;
		let report = calibrate(&*device, class, args)?;
		if args.json {
			println!("{}", serde_json::to_string(&report)?);
		} else {
			print!("{report}");
		}
	}
	Ok(())
}

fn calibrate(device: &dyn Device, class: u16, args: &Calibrate) -> Result<Report> {
	let known = classes::get(class).map(|class| class.floor());
	let memory_gb = args
		.memory_gb
		.or(known.map(|floor| floor.memory_gb))
		.with_context(|| format!("nothing is known of class {class}: pass --memory-gb"))?;
	let floor = ClassReference {
		memory_gb,
		..known.unwrap_or(ClassReference::LEAST)
	};
	ensure!(floor.is_valid(), "a figure is out of range");
	let bar = bar(args.runs as u64 + 2, args.json);
	bar.set_message("plain copy");
	let copy = device.copy_gbps()?;
	bar.inc(1);
	let first = match args.try_mib {
		Some(mib) => Plan::scaled(floor, 1, 1_024, 2, mib),
		None => Plan::full(floor, 1),
	};
	bar.set_message("first run, to size the others");
	let sized = once(device, &first)?;
	let plan = match args.try_mib {
		Some(_) => first,
		None => Plan::full(
			ClassReference {
				int8_gops: whole(sized.gops),
				walk_mb_s: whole(sized.gbps * 1e3),
				..floor
			},
			1,
		),
	};
	bar.inc(1);
	let mut all = Vec::new();
	for number in 1..=args.runs {
		bar.set_message(format!("run {number}"));
		all.push(once(device, &plan)?);
		bar.inc(1);
	}
	bar.finish_and_clear();
	let median = |of: fn(&Figures) -> f64| {
		let mut values: Vec<f64> = all.iter().map(of).collect();
		values.sort_by(f64::total_cmp);
		values[values.len() / 2]
	};
	let spread = |of: fn(&Figures) -> f64| {
		let values = || all.iter().map(of);
		let least = values().fold(f64::INFINITY, f64::min);
		let most = values().fold(0.0, f64::max);
		rounded((most - least) / most.max(1e-9))
	};
	let shape = plan.walk.shape;
	let window = all.iter().map(|figures| figures.window).min().unwrap_or(0);
	let gbps = median(|figures| figures.gbps);
	let memory_gb = if window < plan.walk.window {
		// The GPU has less than the class is sold with: what would be planned for what it has.
		u32::try_from(window * shape.n * shape.n / 950_000_000).unwrap_or(u32::MAX)
	} else {
		floor.memory_gb
	};
	let kernels = device.kernels();
	// Matrix units that could not be used this time may be used the next.
	let as_agents_do = args.gpus.as_agents_do()
		&& (kernels.len() < 2 || kernels.iter().all(|rated| rated.gops.is_some()));
	let reference = ClassReference {
		int8_gops: whole(median(|figures| figures.gops)),
		walk_mb_s: whole(gbps * 1e3),
		memory_gb,
		// What agents do by themselves is what a class is held to.
		calibrated: args.try_mib.is_none() && as_agents_do,
	};
	Ok(Report {
		class,
		class_name: class_name(class),
		device: device.name(),
		kernels,
		tried_only: args.try_mib.is_some(),
		as_agents_do,
		reference,
		memory_mib: (window * shape.n * shape.n) >> 20,
		int8_gops_spread: spread(|figures| figures.gops),
		walk_mb_s_spread: spread(|figures| figures.gbps),
		copy_mb_s: whole(copy * 1e3),
		walk_of_copy: rounded(gbps / copy.max(1e-9)),
		n: shape.n,
		steps: shape.steps,
		runs: args.runs,
	})
}

/// A figure as the chain's table takes it.
fn whole(figure: f64) -> u32 {
	figure.floor().clamp(1.0, f64::from(u32::MAX)) as u32
}

fn once(device: &dyn Device, plan: &Plan) -> Result<Figures> {
	// Nothing of the run before is of use to the next.
	let mut seed: Hash = [0; 32];
	OsRng.try_fill_bytes(&mut seed).context("no randomness")?;
	let shape = plan.walk.shape;
	let start = Instant::now();
	let mut run = device.start(seed, shape, plan.walk.window)?;
	let chain = start.elapsed().as_secs_f64();
	let walk = Walk {
		window: run.window(),
		..plan.walk
	};
	let start = Instant::now();
	run.walk(seed, walk)?;
	let walked = start.elapsed().as_secs_f64();
	let operations = 2.0 * (shape.n as f64).powi(3) * shape.steps as f64;
	Ok(Figures {
		gops: operations / chain / 1e9,
		gbps: walk.volume() as f64 / walked / 1e9,
		window: run.window(),
	})
}
