//! The report of `kaisar-agent bench`: JSON for programs, lines for people.

use super::{class_name, kernel_lines, rounded};
use kaisar_agent::bench::{
	cpu,
	device::{Device, Rated},
	disk, evidence,
	job::Job,
	proof::Proof,
	stage::Stage,
};
use serde::Serialize;
use std::{
	fmt::{self, Display, Formatter},
	sync::Arc,
	time::Duration,
};

/// A proof, and the time that everything about it took.
pub struct Measured {
	pub proof: Proof,
	/// MiB of the plot that were filled.
	pub plotted: u32,
	pub plot_time: Duration,
	pub prove_time: Duration,
	/// Bytes of the openings.
	pub opened: usize,
	pub open_time: Duration,
	pub verify_time: Duration,
}

/// The verdict on a machine, and the figures behind it. The fields are those of the JSON.
#[derive(Serialize)]
pub struct Report {
	/// The attested root.
	root: String,
	claimed_class: u16,
	claimed_gpus: u8,
	class: u16,
	class_name: String,
	gpu_count: u8,
	/// The class is held to measured figures.
	class_is_calibrated: bool,
	tiers: Tiers,
	chain_n: usize,
	chain_steps: usize,
	chain_seconds: f64,
	chain_gops: f64,
	gpus_used: u8,
	gpu_memory_mib: usize,
	walk_seconds: f64,
	walk_gbps: f64,
	cpu_seconds: f64,
	cpu_mhashes_per_core: f64,
	cpu_lanes: u16,
	memory_seconds: f64,
	memory_mib: u32,
	disk_seconds: f64,
	disk_mib: u32,
	plot_seconds: f64,
	plot_mib_per_second: f64,
	prove_seconds: f64,
	open_seconds: f64,
	proof_bytes: usize,
	verify_seconds: f64,
	/// Names of the devices.
	gpus: Vec<String>,
	/// Kernels of each device.
	kernels: Vec<Vec<Rated>>,
}

/// Tiers that the evidence supports. Bandwidth takes a committee.
#[derive(Serialize)]
struct Tiers {
	cpu: u8,
	memory: u8,
	disk: u8,
}

impl Report {
	/// The report on a job that was measured on these devices.
	pub fn new(job: &Job, measured: &Measured, devices: &[Arc<dyn Device>]) -> Self {
		let proof = &measured.proof;
		let (sizes, took) = (proof.roots.sizes, &proof.took);
		let verdict = evidence::judge(job, &sizes, &took.map(Some), Duration::ZERO, None, true);
		let seconds = |time: Duration| rounded(time.as_secs_f64());
		let rate = |amount: f64, time: Duration| rounded(amount / time.as_secs_f64().max(1e-9));
		let gpu = job.gpu_plan().filter(|_| sizes.devices > 0);
		let shape = gpu.map_or(job.shape(), |plan| plan.walk.shape);
		// A product and a sum are two operations.
		let operations = 2.0 * (shape.n as f64).powi(3) * shape.steps as f64;
		let walked = gpu.map_or(0, |plan| plan.walk.volume());
		let hashes = f64::from(job.bench.cpu_segments) * cpu::SEGMENT as f64;
		Self {
			root: format!("0x{}", hex::encode(proof.root)),
			claimed_class: job.spec.gpu_class,
			claimed_gpus: job.spec.gpu_count,
			class: verdict.gpu_class,
			class_name: class_name(verdict.gpu_class),
			gpu_count: verdict.gpu_count,
			class_is_calibrated: gpu.is_some_and(|plan| plan.reference.calibrated),
			tiers: Tiers {
				cpu: verdict.cpu,
				memory: verdict.memory,
				disk: verdict.disk,
			},
			chain_n: shape.n,
			chain_steps: shape.steps,
			chain_seconds: seconds(took[Stage::Chain]),
			chain_gops: rate(operations / 1e9, took[Stage::Chain]),
			gpus_used: sizes.devices,
			gpu_memory_mib: (sizes.window as usize * shape.n * shape.n) >> 20,
			walk_seconds: seconds(took[Stage::Walk]),
			walk_gbps: rate(walked as f64 / 1e9, took[Stage::Walk]),
			cpu_seconds: seconds(took[Stage::Cpu]),
			cpu_mhashes_per_core: rate(hashes / 1e6, took[Stage::Cpu]),
			cpu_lanes: sizes.lanes,
			memory_seconds: seconds(took[Stage::Memory]),
			memory_mib: sizes.memory_mib,
			disk_seconds: seconds(took[Stage::Disk]),
			disk_mib: sizes.disk_mib,
			plot_seconds: seconds(measured.plot_time),
			plot_mib_per_second: rate(f64::from(measured.plotted), measured.plot_time),
			prove_seconds: seconds(measured.prove_time),
			open_seconds: seconds(measured.open_time),
			proof_bytes: measured.opened,
			verify_seconds: rounded(measured.verify_time.as_secs_f64() * 1e3) / 1e3,
			gpus: devices.iter().map(|device| device.name()).collect(),
			kernels: devices.iter().map(|device| device.kernels()).collect(),
		}
	}
}

impl Display for Report {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let Self {
			tiers,
			chain_gops,
			chain_n,
			chain_steps,
			chain_seconds,
			..
		} = self;
		writeln!(to, "What a checker would find of this machine:")?;
		let class = match self.claimed_gpus {
			0 => "0, no GPU".into(),
			claimed => {
				let held = if self.class_is_calibrated {
					"its measured figures"
				} else {
					"floors: not calibrated yet"
				};
				let name = class_name(self.claimed_class);
				let count = self.gpu_count;
				format!("{count} of {claimed} × {name} supported (against {held})")
			}
		};
		line(to, "class", &class)?;
		let text = format!(
			"CPU {}, memory {}, disk {}; bandwidth takes a committee",
			tiers.cpu, tiers.memory, tiers.disk
		);
		line(to, "tiers", &text)?;
		let runs_on = match self.gpus_used {
			0 => "the processor".to_owned(),
			used => format!("{used} GPU(s), each"),
		};
		let text = format!(
			"{chain_gops:?} Gop/s on {runs_on} (n = {chain_n}, {chain_steps} steps, {chain_seconds:?} s)"
		);
		line(to, "matrix chain", &text)?;
		for kernels in &self.kernels {
			write!(to, "{}", kernel_lines(kernels))?;
		}
		if self.gpus_used != 0 {
			let text = format!(
				"{:?} GB/s over {} MiB ({:?} s)",
				self.walk_gbps, self.gpu_memory_mib, self.walk_seconds
			);
			line(to, "GPU memory", &text)?;
		}
		let text = format!(
			"{:?} Mhash/s a core on {} cores ({:?} s)",
			self.cpu_mhashes_per_core, self.cpu_lanes, self.cpu_seconds
		);
		line(to, "processor", &text)?;
		let text = format!(
			"{} MiB filled and walked in {:?} s",
			self.memory_mib, self.memory_seconds
		);
		line(to, "memory", &text)?;
		let text = format!(
			"{} MiB, {} reads in {:?} s; filled at {:?} MiB/s",
			self.disk_mib,
			disk::READS,
			self.disk_seconds,
			self.plot_mib_per_second
		);
		line(to, "disk", &text)?;
		let text = format!(
			"{} bytes, opened in {:?} s, verified on one core in {:?} s",
			self.proof_bytes, self.open_seconds, self.verify_seconds
		);
		line(to, "proof", &text)
	}
}

/// One line of a report: a label, and what there is to say.
fn line(to: &mut Formatter<'_>, label: &str, text: &str) -> fmt::Result {
	writeln!(to, "  {label:<14} {text}")
}
