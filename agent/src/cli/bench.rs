//! `kaisar-agent bench`: what a committee would find of this machine, found by itself.

use super::{
	GpuArgs, bar, class,
	report::{Measured, Report},
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use codec::Encode;
use kaisar_agent::{
	bench::{
		device::Device,
		disk,
		job::{self, Job},
		proof::{self, Challenge, Counts, Openings},
		stage::{Stage, Stages},
	},
	worker::claim::Hardware,
};
use kaisar_math::{ClassReference, classes};
use kaisar_primitives::BenchParams;
use sp_core::{H256, Pair, ed25519};
use std::{
	path::{Path, PathBuf},
	sync::Arc,
	time::Instant,
};

/// What is said while each stage runs.
const DOING: Stages<&str> = Stages([
	"matrix chain",
	"walk over the GPUs' memory",
	"processor",
	"memory",
	"disk",
]);

#[derive(Args)]
pub struct Bench {
	/// Print one line of JSON.
	#[arg(long)]
	json: bool,
	/// The production benchmark: all of the memory and disk that are there, the whole chain. Takes
	/// minutes, and hours where the disk is to be filled.
	#[arg(long)]
	full: bool,
	#[command(flatten)]
	gpus: GpuArgs,
	/// The class to claim, by number or name; what the driver's name stands for by default.
	#[arg(long, value_parser = class)]
	class: Option<u16>,
	/// What the chain holds the class to, as JSON of `rewards.classReference`; the floor that a chain starts
	/// with by default.
	#[arg(long, value_parser = reference)]
	reference: Option<ClassReference>,
	/// Rows and columns of the matrices, a multiple of 64; a power of two from 1,024 on a GPU.
	#[arg(long, default_value_t = 1_024, conflicts_with = "full")]
	n: u32,
	/// Steps of the chain.
	#[arg(long, default_value_t = 8, conflicts_with = "full")]
	steps: u32,
	/// Samples that are opened.
	#[arg(long, default_value_t = 256)]
	samples: u16,
	/// Segments of the CPU chain of each core.
	#[arg(long, default_value_t = 64, conflicts_with = "full")]
	cpu_segments: u32,
	/// Memory to walk over, of the machine and of each GPU, in MiB.
	#[arg(long, default_value_t = 64, conflicts_with = "full")]
	memory_mib: u32,
	/// Disk to plot, in MiB.
	#[arg(long, default_value_t = 64)]
	disk_mib: u32,
	/// Folder for the plot; a temporary one by default.
	#[arg(long)]
	data_dir: Option<PathBuf>,
}

fn reference(text: &str) -> Result<ClassReference> {
	let reference: ClassReference = serde_json::from_str(text)?;
	ensure!(reference.is_valid(), "a figure is out of range");
	Ok(reference)
}

/// Runs it.
pub fn run(args: &Bench) -> Result<()> {
	let data = args.data_dir.clone().unwrap_or_else(|| {
		std::env::temp_dir().join(format!("kaisar-bench-{}", std::process::id()))
	});
	let found = Hardware::detect(&data, args.gpus.cards()?);
	let disk_mib = args.disk_mib.max(disk::SECTOR_MIB);
	let bench = if args.full {
		BenchParams {
			samples: args.samples,
			disk_mib,
			bandwidth_secs: 0,
			..Default::default()
		}
	} else {
		BenchParams {
			n: args.n,
			steps: args.steps,
			samples: args.samples,
			cpu_segments: args.cpu_segments,
			memory_mib: args.memory_mib.max(1),
			disk_mib,
			bandwidth_secs: 0,
		}
	};
	job::check_bench(&bench)?;
	let devices = args.gpus.open()?;
	let mut spec = found.spec(*b"ZZ", Some(0), Some(0));
	if let Some(class) = args.class {
		ensure!(
			class == 0 || !devices.is_empty(),
			"there is no GPU here that could support a class"
		);
		spec.gpu_class = class;
		spec.gpu_count = if class == 0 { 0 } else { devices.len() as u8 };
	} else if devices.is_empty() {
		(spec.gpu_class, spec.gpu_count) = (0, 0);
	}
	let known = classes::get(spec.gpu_class).map(|class| class.floor());
	let reference = args.reference.or(known);
	ensure!(
		spec.gpu_class == 0 || reference.is_some(),
		"nothing is known of class {}: pass --reference",
		spec.gpu_class
	);
	let job = Job {
		genesis: H256::zero(),
		round: 0,
		seed: H256::repeat_byte(0x5e),
		worker: 0,
		agent: ed25519::Pair::from_seed(&[0xbe; 32]).public(),
		spec,
		bench,
		reference,
	};
	let measured = measure(&job, &devices, &data, args.json);
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
			"Note: scaled down: it shows that everything works, not how big the machine is (--full does)."
		);
	}
	Ok(())
}

fn measure(job: &Job, devices: &[Arc<dyn Device>], dir: &Path, quiet: bool) -> Result<Measured> {
	let bar = bar(Stage::COUNT as u64 + 3, quiet);
	bar.set_message("filling the plot");
	let start = Instant::now();
	let mut plot = disk::Plot::open(dir, &job.agent)?;
	let before = plot.mib();
	let plotted = plot.grow(job.plan().disk_mib).saturating_sub(before);
	drop(plot);
	let plot_time = start.elapsed();
	bar.inc(1);
	bar.set_message(DOING[Stage::Chain]);
	let start = Instant::now();
	let proof = proof::prove(job, devices, dir, |stage, _| {
		bar.inc(1);
		let next = Stage::of_number(stage.number() + 1);
		bar.set_message(next.map_or("openings", |stage| DOING[stage]));
	})?;
	let prove_time = start.elapsed();
	let challenge = Challenge {
		open_seed: H256::repeat_byte(9),
		nonce: [7; 32],
		full: true,
	};
	let start = Instant::now();
	let bytes = proof.open(&challenge)?.encode();
	let open_time = start.elapsed();
	bar.inc(1);
	bar.set_message("verification");
	// On one core, as the bound is.
	let alone = rayon::ThreadPoolBuilder::new()
		.num_threads(1)
		.build()
		.context("a thread to verify on")?;
	let start = Instant::now();
	alone.install(|| {
		let openings = Openings::decode_within(&bytes, &Counts::of(job, challenge.full))?;
		proof::verify(job, &proof.root, &challenge, &openings)?;
		anyhow::Ok(())
	})?;
	let verify_time = start.elapsed();
	bar.finish_and_clear();
	Ok(Measured {
		proof,
		plotted,
		plot_time,
		prove_time,
		opened: bytes.len(),
		open_time,
		verify_time,
	})
}
