//! The report of `kaisar-agent bench`: JSON for programs, lines for people.

use super::{bench::Opened, class_name, kernel_lines, rounded};
use kaisar_agent::trial::{
	device::{Device, Rated},
	job::Job,
	run::Proof,
	verdict::Figure,
};
use serde::Serialize;
use std::{
	fmt::{self, Display, Formatter},
	sync::Arc,
	time::Duration,
};

/// A trial, and the times of its steps.
pub struct Measured {
	pub proof: Proof,
	pub plot_time: Duration,
	pub prepare_time: Duration,
	pub trial_time: Duration,
	pub opened: Vec<Opened>,
}

/// Verdict on a machine, with its figures. The fields are those of the JSON.
#[derive(Serialize)]
pub struct Report {
	/// Attested root.
	root: String,
	/// The trial was the one of production, whose figures count.
	full: bool,
	claimed_class: u16,
	claimed_gpus: u8,
	class: u16,
	class_name: String,
	gpu_count: u8,
	/// The class's reference was measured. A class without one earns nothing in production.
	class_is_calibrated: bool,
	tiers: Tiers,
	/// Claimed and shown amount of each resource.
	resources: Vec<Resource>,
	turns: u32,
	stages: u32,
	plot_seconds: f64,
	prepare_seconds: f64,
	filled_mb_per_second: f64,
	trial_seconds: f64,
	openings: Vec<Openings>,
	/// Bytes of all openings.
	proof_bytes: usize,
	/// Seconds of one core to verify them.
	verify_seconds: f64,
	/// Names of the devices.
	gpus: Vec<String>,
	/// Kernels of each device.
	kernels: Vec<Vec<Rated>>,
	/// Claims that are not shown, with figures.
	remarks: Vec<String>,
}

/// Tiers that the trial shows. Bandwidth takes a committee.
#[derive(Serialize)]
struct Tiers {
	cpu: u8,
	memory: u8,
	disk: u8,
}

#[derive(Serialize)]
struct Resource {
	name: &'static str,
	claim: u32,
	shown: u32,
	/// Seconds after which its mark came, if it came.
	seconds: Option<f64>,
	/// Seconds by which the mark must come to show the whole amount.
	limit_seconds: f64,
}

#[derive(Serialize)]
struct Openings {
	of: String,
	bytes: usize,
	open_seconds: f64,
	verify_seconds: f64,
}

fn seconds(time: Duration) -> f64 {
	rounded(time.as_secs_f64())
}

impl Report {
	/// Creates the report on a job that was measured on these devices.
	pub fn new(job: &Job, measured: &Measured, devices: &[Arc<dyn Device>]) -> Self {
		let proof = &measured.proof;
		let (verdict, remarks) = proof.judged();
		let resource = |figure: Figure| Resource {
			name: figure.name,
			claim: figure.claim,
			shown: figure.shown,
			seconds: figure.after.map(seconds),
			limit_seconds: seconds(figure.limit),
		};
		let openings = |opened: &Opened| Openings {
			of: opened.resource.to_string(),
			bytes: opened.bytes,
			open_seconds: seconds(opened.open_time),
			verify_seconds: seconds(opened.verify_time),
		};
		let filled = proof.roots().sizes.pages as f64 * kaisar_agent::trial::ram::PAGE as f64 / 1e6;
		let verify = measured.opened.iter().map(|opened| opened.verify_time);
		Self {
			root: format!("0x{}", hex::encode(proof.root())),
			full: job.bench.is_full(),
			claimed_class: job.spec.gpu_class,
			claimed_gpus: job.spec.gpu_count,
			class: verdict.gpu_class,
			class_name: class_name(verdict.gpu_class),
			gpu_count: verdict.gpu_count,
			class_is_calibrated: job.reference.is_some_and(|reference| reference.calibrated),
			tiers: Tiers {
				cpu: verdict.cpu,
				memory: verdict.memory,
				disk: verdict.disk,
			},
			resources: proof.figures().into_iter().map(resource).collect(),
			turns: job.turns(),
			stages: job.bench.stages,
			plot_seconds: seconds(measured.plot_time),
			prepare_seconds: seconds(measured.prepare_time),
			filled_mb_per_second: rounded(filled / measured.prepare_time.as_secs_f64().max(1e-9)),
			trial_seconds: seconds(measured.trial_time),
			openings: measured.opened.iter().map(openings).collect(),
			proof_bytes: measured.opened.iter().map(|opened| opened.bytes).sum(),
			verify_seconds: seconds(verify.sum()),
			gpus: devices.iter().map(|device| device.name()).collect(),
			kernels: devices.iter().map(|device| device.kernels()).collect(),
			remarks,
		}
	}
}

impl Display for Report {
	fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
		let Self { tiers, .. } = self;
		writeln!(to, "A checker would find on this machine:")?;
		let class = match self.claimed_gpus {
			0 => "0, no GPU".into(),
			claimed => {
				let held = if self.class_is_calibrated {
					"its measured reference"
				} else {
					"a class that is not calibrated and earns nothing in production"
				};
				let name = class_name(self.claimed_class);
				let count = self.gpu_count;
				format!("{count} of {claimed} × {name} shown (against {held})")
			}
		};
		line(to, "class", &class)?;
		let text = format!(
			"CPU {}, memory {}, disk {}; bandwidth takes a committee",
			tiers.cpu, tiers.memory, tiers.disk
		);
		line(to, "tiers", &text)?;
		writeln!(
			to,
			"  {:<14} {:>8} {:>8} {:>9} {:>9}",
			"", "claim", "shown", "after", "limit"
		)?;
		for Resource {
			name,
			claim,
			shown,
			seconds,
			limit_seconds,
		} in &self.resources
		{
			let after = seconds.map_or("never".into(), |seconds| format!("{seconds:.2} s"));
			let limit = match self.full {
				true => format!("{limit_seconds:.2} s"),
				false => "none".into(),
			};
			writeln!(
				to,
				"  {name:<14} {claim:>8} {shown:>8} {after:>9} {limit:>9}"
			)?;
		}
		for kernels in &self.kernels {
			write!(to, "{}", kernel_lines(kernels))?;
		}
		let text = format!(
			"prepared in {:?} s ({:.0} MB/s of memory), run in {:?} s",
			self.prepare_seconds, self.filled_mb_per_second, self.trial_seconds
		);
		line(to, "trial", &text)?;
		for Openings {
			of,
			bytes,
			open_seconds,
			verify_seconds,
		} in &self.openings
		{
			let text = format!(
				"{bytes} bytes of {of}, opened in {open_seconds:?} s, verified on one core in {verify_seconds:?} s"
			);
			line(to, "openings", &text)?;
		}
		for remark in &self.remarks {
			line(to, "below claim", remark)?;
		}
		Ok(())
	}
}

/// Writes one line of a report: a label and a text.
fn line(to: &mut Formatter<'_>, label: &str, text: &str) -> fmt::Result {
	writeln!(to, "  {label:<14} {text}")
}
