//! `kaisar-agent bench`: what a committee would find of this machine, found by itself.

use super::{GpuArgs, bar, class, class_name, print_kernels, rounded};
use anyhow::{Context, Result, ensure};
use clap::Args;
use codec::{DecodeAll, Encode};
use kaisar_agent::{
	bench::{
		cpu, disk, evidence,
		proof::{self, Challenge, Job, Openings, STAGES},
	},
	gpu,
	worker::claim::Hardware,
};
use kaisar_math::{ClassReference, classes};
use kaisar_primitives::{BenchParams, WorkerSpec};
use serde_json::{Value, json};
use sp_core::{H256, Pair, ed25519};
use std::{
	path::{Path, PathBuf},
	time::{Duration, Instant},
};

/// What is said while each stage runs.
const DOING: [&str; STAGES] = [
	"matrix chain",
	"walk over the GPUs' memory",
	"processor",
	"memory",
	"disk",
];

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
	let found = Hardware::detect(&data);
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
	proof::check_bench(&bench)?;
	let devices = gpu::open(&args.gpus.options(None));
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
	let names: Vec<String> = devices.iter().map(|device| device.name()).collect();
	let report = measure(&job, &devices, &data, args.json);
	if args.data_dir.is_none() {
		let _ = std::fs::remove_dir_all(&data);
	}
	let mut report = report?;
	report["gpus"] = json!(names);
	report["kernels"] = devices
		.iter()
		.map(|device| json!(device.kernels()))
		.collect();
	if args.json {
		println!("{report}");
		return Ok(());
	}
	print(&report, &spec);
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

fn measure(
	job: &Job,
	devices: &[std::sync::Arc<dyn kaisar_agent::bench::device::Device>],
	dir: &Path,
	quiet: bool,
) -> Result<Value> {
	let bench = &job.bench;
	let bar = bar(STAGES as u64 + 3, quiet);
	bar.set_message("filling the plot");
	let start = Instant::now();
	let mut plot = disk::Plot::open(dir, &job.agent)?;
	let before = plot.mib();
	let plotted = plot.grow(job.plan().disk_mib).saturating_sub(before);
	drop(plot);
	let plot_time = start.elapsed();
	bar.inc(1);
	bar.set_message(DOING[0]);
	let start = Instant::now();
	let proof = proof::prove(job, devices, dir, |stage, _| {
		bar.inc(1);
		bar.set_message(*DOING.get(usize::from(stage) + 1).unwrap_or(&"openings"));
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
		let openings = Openings::decode_all(&mut &bytes[..])?;
		proof::verify(job, &proof.root, &challenge, &openings)?;
		anyhow::Ok(())
	})?;
	let verify_time = start.elapsed();
	bar.finish_and_clear();

	let sizes = proof.roots.sizes;
	let times = proof.took.map(Some);
	let verdict = evidence::judge(job, &sizes, &times, Duration::ZERO, None, true);
	let seconds = |time: Duration| rounded(time.as_secs_f64());
	let rate = |amount: f64, time: Duration| rounded(amount / time.as_secs_f64().max(1e-9));
	let gpu = job.gpu_plan().filter(|_| sizes.devices > 0);
	let shape = gpu.map_or(job.shape(), |plan| plan.walk.shape);
	// A product and a sum are two operations.
	let operations = 2.0 * (shape.n as f64).powi(3) * shape.steps as f64;
	let walked = gpu.map_or(0, |plan| plan.walk.volume());
	let hashes = f64::from(bench.cpu_segments) * cpu::SEGMENT as f64;
	Ok(json!({
		"root": format!("0x{}", hex::encode(proof.root)),
		"claimed_class": job.spec.gpu_class,
		"claimed_gpus": job.spec.gpu_count,
		"class": verdict.gpu_class,
		"class_name": class_name(verdict.gpu_class),
		"gpu_count": verdict.gpu_count,
		"class_is_calibrated": gpu.is_some_and(|plan| plan.reference.calibrated),
		"tiers": { "cpu": verdict.cpu, "memory": verdict.memory, "disk": verdict.disk },
		"chain_n": shape.n,
		"chain_steps": shape.steps,
		"chain_seconds": seconds(proof.took[0]),
		"chain_gops": rate(operations / 1e9, proof.took[0]),
		"gpus_used": sizes.devices,
		"gpu_memory_mib": (sizes.window as usize * shape.n * shape.n) >> 20,
		"walk_seconds": seconds(proof.took[1]),
		"walk_gbps": rate(walked as f64 / 1e9, proof.took[1]),
		"cpu_seconds": seconds(proof.took[2]),
		"cpu_mhashes_per_core": rate(hashes / 1e6, proof.took[2]),
		"cpu_lanes": sizes.lanes,
		"memory_seconds": seconds(proof.took[3]),
		"memory_mib": sizes.memory_mib,
		"disk_seconds": seconds(proof.took[4]),
		"disk_mib": sizes.disk_mib,
		"plot_seconds": seconds(plot_time),
		"plot_mib_per_second": rate(f64::from(plotted), plot_time),
		"prove_seconds": seconds(prove_time),
		"open_seconds": seconds(open_time),
		"proof_bytes": bytes.len(),
		"verify_seconds": rounded(verify_time.as_secs_f64() * 1e3) / 1e3,
	}))
}

fn print(report: &Value, spec: &WorkerSpec) {
	let text = |name: &str| match &report[name] {
		Value::String(text) => text.clone(),
		other => other.to_string(),
	};
	let line = |name: &str, value: String| println!("  {name:<14} {value}");
	println!("What a checker would find of this machine:");
	if spec.gpu_count > 0 {
		let held = if report["class_is_calibrated"] == true {
			"its measured figures"
		} else {
			"floors: not calibrated yet"
		};
		line(
			"class",
			format!(
				"{} of {} × {} supported (against {held})",
				text("gpu_count"),
				spec.gpu_count,
				class_name(spec.gpu_class),
			),
		);
	} else {
		line("class", "0, no GPU".into());
	}
	let tiers = &report["tiers"];
	line(
		"tiers",
		format!(
			"CPU {}, memory {}, disk {}; bandwidth takes a committee",
			tiers["cpu"], tiers["memory"], tiers["disk"]
		),
	);
	let runs_on = match text("gpus_used").as_str() {
		"0" => "the processor".to_owned(),
		used => format!("{used} GPU(s), each"),
	};
	line(
		"matrix chain",
		format!(
			"{} Gop/s on {runs_on} (n = {}, {} steps, {} s)",
			text("chain_gops"),
			text("chain_n"),
			text("chain_steps"),
			text("chain_seconds"),
		),
	);
	for kernels in report["kernels"].as_array().into_iter().flatten() {
		print_kernels(kernels);
	}
	if report["gpus_used"] != 0 {
		line(
			"GPU memory",
			format!(
				"{} GB/s over {} MiB ({} s)",
				text("walk_gbps"),
				text("gpu_memory_mib"),
				text("walk_seconds")
			),
		);
	}
	line(
		"processor",
		format!(
			"{} Mhash/s a core on {} cores ({} s)",
			text("cpu_mhashes_per_core"),
			text("cpu_lanes"),
			text("cpu_seconds")
		),
	);
	line(
		"memory",
		format!(
			"{} MiB filled and walked in {} s",
			text("memory_mib"),
			text("memory_seconds")
		),
	);
	line(
		"disk",
		format!(
			"{} MiB, 256 reads in {} s; filled at {} MiB/s",
			text("disk_mib"),
			text("disk_seconds"),
			text("plot_mib_per_second")
		),
	);
	line(
		"proof",
		format!(
			"{} bytes, opened in {} s, verified on one core in {} s",
			text("proof_bytes"),
			text("open_seconds"),
			text("verify_seconds")
		),
	);
}
