//! `kaisar-agent bench`: runs a trial of this machine and judges it as a committee would, by its own clock.

use super::{
	GpuArgs, bar, class,
	report::{Measured, Report},
};
use crate::key_of;
use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;
use kaisar_agent::{
	fillable_again, fillable_now,
	trial::{
		device::Device,
		job::Job,
		part::{Part, Resource},
		proof::{self, Challenge},
		run::{Machine, Prepared, Proof},
	},
	worker::{
		claim::Hardware,
		plots::{self, Plots},
	},
};
use kaisar_math::{ClassReference, classes};
use kaisar_primitives::BenchParams;
use sp_core::{H256, Pair, ed25519};
use std::{
	path::{Path, PathBuf},
	sync::Arc,
	time::{Duration, Instant},
};

/// Seed of the trial. On a chain it is unpredictable.
const SEED: H256 = H256::repeat_byte(0x5e);
/// Length of a round's prepare part in production: 20 blocks.
const PREPARE: Duration = Duration::from_secs(240);
/// A checker's challenge.
const CHALLENGE: Challenge = Challenge {
	open_seed: H256::repeat_byte(9),
	nonce: [7; 32],
};

#[derive(Args)]
pub struct Bench {
	/// Print one line of JSON.
	#[arg(long)]
	json: bool,
	/// Run the trial of production: 10 s over all memory and all GPUs, after they are filled. A committee
	/// finds the same figures. Without it, a small trial shows that everything works.
	#[arg(long)]
	full: bool,
	#[command(flatten)]
	gpus: GpuArgs,
	/// GPU class to claim, by number or name (default: the class of the driver's name).
	#[arg(long, value_parser = class)]
	class: Option<u16>,
	/// Reference of the class, as JSON of `rewards.classReference` (default: the one that a chain starts
	/// with).
	#[arg(long, value_parser = reference)]
	reference: Option<ClassReference>,
	/// Rows and columns of the matrices: a power of two from 64 to 16,384, on a GPU from 1,024.
	#[arg(long, default_value_t = 1_024, conflicts_with = "full")]
	n: u32,
	/// Number of turns of each GPU.
	#[arg(long, default_value_t = 4, conflicts_with = "full")]
	turns: u32,
	/// Memory that each GPU fills, in MiB.
	#[arg(long, default_value_t = 8, conflicts_with = "full")]
	window_mib: u32,
	/// Number of stages of each CPU lane.
	#[arg(long, default_value_t = 64, conflicts_with = "full")]
	stages: u32,
	/// Memory that the lanes read, in MiB.
	#[arg(long, default_value_t = 64, conflicts_with = "full")]
	memory_mib: u32,
	/// Size of the plot, in MiB.
	#[arg(long, default_value_t = 64, conflicts_with = "full")]
	disk_mib: u32,
	/// Number of reads of each strand over the plot.
	#[arg(long, default_value_t = 32, conflicts_with = "full")]
	reads: u32,
	/// Folder of the plot: with --full the agent's data folder (default: a temporary folder).
	#[arg(long)]
	data_dir: Option<PathBuf>,
	/// With --full: file with the seed, in hexadecimal, of the agent's key that the plot in the folder
	/// belongs to. Without it the trial proves no disk.
	#[arg(long, requires_all = ["full", "data_dir", "genesis"])]
	key_file: Option<PathBuf>,
	/// With --full: hash of the first block of the chain that the plot belongs to.
	#[arg(long, value_name = "HASH", requires = "key_file")]
	genesis: Option<H256>,
}

fn reference(text: &str) -> Result<ClassReference> {
	let reference: ClassReference = serde_json::from_str(text)?;
	ensure!(
		reference.is_valid(),
		"trialTurns must be from 1 to {}, memoryGb from 1 to {}",
		ClassReference::MOST.trial_turns,
		ClassReference::MOST.memory_gb
	);
	Ok(reference)
}

impl Bench {
	/// Returns the work to do.
	fn work(&self) -> Result<BenchParams> {
		let bench = match self.full {
			true => BenchParams::FULL,
			false => BenchParams {
				n: self.n,
				turns: self.turns.max(1),
				window_mib: self.window_mib.max(1),
				stages: self.stages,
				memory_mib: self.memory_mib.max(1),
				disk_mib: self.disk_mib.max(1),
				reads: self.reads,
				bandwidth_secs: 0,
			},
		};
		ensure!(
			bench.held() == bench,
			"a size is out of range: the nearest possible sizes are {:?}",
			bench.held()
		);
		Ok(bench)
	}
}

/// Runs the command.
pub fn run(args: &Bench) -> Result<()> {
	let bench = args.work()?;
	let data = args.data_dir.clone().unwrap_or_else(|| {
		std::env::temp_dir().join(format!("kaisar-bench-{}", std::process::id()))
	});
	let found = Hardware::detect(&data, args.gpus.cards()?);
	let devices = args.gpus.open()?;
	let mut spec = found.spec(*b"ZZ", Some(0), Some(0));
	if let Some(class) = args.class {
		ensure!(
			class == 0 || !devices.is_empty(),
			"this machine has no usable GPU to show a class with; `kaisar-agent detect` lists its GPUs"
		);
		spec.gpu_class = class;
		spec.gpu_count = if class == 0 { 0 } else { devices.len() as u8 };
	} else if devices.is_empty() {
		(spec.gpu_class, spec.gpu_count) = (0, 0);
	}
	let known = classes::get(spec.gpu_class).map(|class| class.reference());
	let reference = args.reference.or(known);
	ensure!(
		spec.gpu_class == 0 || reference.is_some(),
		"class {} has no built-in reference: pass --reference",
		spec.gpu_class
	);
	let secret = match &args.key_file {
		Some(file) => {
			ensure!(file.exists(), "{} does not exist", file.display());
			key_of(file)?
		}
		None => [0xbe; 32],
	};
	let job = Job {
		genesis: args.genesis.unwrap_or_default(),
		round: 0,
		seed: SEED,
		worker: 0,
		agent: ed25519::Pair::from_seed(&secret).public(),
		spec,
		bench,
		reference,
	};
	let measured = measure(&job, &devices, &data, args.key_file.is_some(), args.json);
	if args.data_dir.is_none() {
		let _ = std::fs::remove_dir_all(&data);
	}
	let report = Report::new(&job, &measured?, &devices);
	if args.json {
		println!("{}", serde_json::to_string(&report)?);
		return Ok(());
	}
	print!("{report}");
	for remark in found
		.remarks()
		.iter()
		.filter(|remark| remark.contains("GPU"))
	{
		println!("Note: {remark}");
	}
	if !args.full {
		println!(
			"Note: this trial was scaled down. It shows that everything works; --full shows the machine's capacity."
		);
	}
	Ok(())
}

fn measure(
	job: &Job,
	devices: &[Arc<dyn Device>],
	dir: &Path,
	of_agent: bool,
	quiet: bool,
) -> Result<Measured> {
	let parts = 2 + u64::from(job.gpu(&job.plan()).marks()) * u64::from(job.plan().gpus > 0);
	let bar = bar(2 + parts + 2 * Resource::ALL.len() as u64, quiet);
	bar.set_message("filling the plot");
	let begun = Instant::now();
	let recipe = job.recipe();
	// An agent would grow the plot during the trial.
	let _lock = match of_agent {
		true => Some(
			plots::lock(dir)?
				.with_context(|| format!("an agent uses {}: stop it first", dir.display()))?,
		),
		false => None,
	};
	let plots = match (job.bench.is_full(), of_agent) {
		// Filling takes hours, so the trial uses the existing part.
		(true, true) => Some(dir.to_owned()),
		// Opening a plot with another key would remove the agent's plot.
		(true, false) => None,
		(false, _) => Some(dir.join("bench")),
	};
	let plots = plots.map(|dir| {
		Plots::new(&dir).with_context(|| format!("cannot use {} for the plot", dir.display()))
	});
	let plots = plots.transpose()?;
	if let Some(plots) = plots.as_ref().filter(|_| !job.bench.is_full()) {
		plots.want(recipe, job.plan().groups);
	}
	let groups = plots.as_ref().map_or(0, |plots| plots.ready(&recipe));
	let plot_time = begun.elapsed();
	bar.inc(1);
	bar.set_message("filling memory");
	let begun = Instant::now();
	let machine = Machine {
		devices: devices.to_vec(),
		undisturbed: Box::new(()),
		memory: fillable_now(),
		memory_again: fillable_again(),
		groups,
		plot: &|size| match &plots {
			Some(plots) => plots.take(&recipe, size),
			None => Ok(None),
		},
	};
	// As long as a round's prepare part.
	let prepared = Prepared::new(job, None, machine, Some(PREPARE), &|| true);
	let prepared = Arc::new(
		prepared.context("cannot fill the memory: see what else uses this machine's memory")?,
	);
	let prepare_time = begun.elapsed();
	bar.inc(1);
	bar.set_message("running the trial");
	let begun = Instant::now();
	let tell = |_: Part, _: [u8; 32]| bar.inc(1);
	let proof = prepared.run(SEED, &tell, &|| true);
	let proof = proof.context("the trial did not finish")?;
	let trial_time = begun.elapsed();
	let opened = open(&proof, &bar)?;
	bar.finish_and_clear();
	Ok(Measured {
		proof,
		plot_time,
		prepare_time,
		trial_time,
		opened,
	})
}

/// Size and times of a resource's openings.
pub struct Opened {
	pub resource: Resource,
	pub bytes: usize,
	pub open_time: Duration,
	pub verify_time: Duration,
}

/// Opens and verifies every resource that ran, on one core, since the limit of checkers is for one core.
fn open(proof: &Proof, bar: &ProgressBar) -> Result<Vec<Opened>> {
	let alone = rayon::ThreadPoolBuilder::new()
		.num_threads(1)
		.build()
		.context("cannot start the thread that verifies")?;
	let job = proof.prepared().job();
	let mut all = Vec::new();
	for resource in Resource::ALL {
		if !proof.roots().has(resource) {
			continue;
		}
		bar.set_message(format!("opening {resource}"));
		let begun = Instant::now();
		let openings = proof
			.open(resource, &CHALLENGE)
			.with_context(|| format!("cannot open {resource}"))?;
		let open_time = begun.elapsed();
		bar.inc(1);
		bar.set_message(format!("verifying {resource}"));
		let begun = Instant::now();
		let root = proof.root();
		let verified = alone.install(|| {
			proof::verify(
				job,
				&SEED,
				&root,
				proof.roots(),
				resource,
				&CHALLENGE,
				&openings,
			)
		});
		let rejected = |reject| anyhow::anyhow!("the verifier rejects {resource}: {reject:?}");
		verified.map_err(rejected)?;
		bar.inc(1);
		all.push(Opened {
			resource,
			bytes: openings.len(),
			open_time,
			verify_time: begun.elapsed(),
		});
	}
	Ok(all)
}
