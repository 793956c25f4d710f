//! The commands other than `run` and `detect`.

pub mod bench;
pub mod calibrate;
pub mod kernels;
pub mod measure;
pub mod plot;
mod report;
pub mod status;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use kaisar_agent::{
	gpu::{self, Card, Choice, GpuName, Kernels, Options, Tried},
	trial::device::{Device, Rated},
};
use kaisar_math::classes;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Source of GPUs.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Gpus {
	/// No GPU.
	Off,
	/// All GPUs that CUDA's driver or a Vulkan driver lists.
	#[default]
	Hardware,
	/// Software renderers too, for tests.
	Software,
}

impl From<Gpus> for Choice {
	fn from(gpus: Gpus) -> Self {
		match gpus {
			Gpus::Off => Self::Off,
			Gpus::Hardware => Self::Hardware,
			Gpus::Software => Self::Software,
		}
	}
}

/// Kernels that may compute the matrix product.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum KernelArg {
	/// The fastest correct kernel of each GPU.
	#[default]
	Fastest,
	/// The Vulkan kernel that runs on every GPU.
	Portable,
	/// A kernel on matrix units (tensor cores); GPUs without them are not used.
	Tensor,
}

/// Options that choose GPUs and kernels.
#[derive(Args)]
pub struct GpuArgs {
	/// Source of GPUs.
	#[arg(long, value_enum, default_value_t)]
	gpus: Gpus,
	/// GPU to use, by its PCI bus id (0000:01:00.0, 01:00.0) or its UUID (GPU-…, from `nvidia-smi -L`).
	/// Repeatable, in order of use (default: all GPUs, the most capable first). `detect` lists them.
	#[arg(long = "gpu", value_name = "GPU")]
	names: Vec<GpuName>,
	/// Kernels that may compute the matrix product.
	#[arg(long, value_enum, default_value_t)]
	kernel: KernelArg,
}

impl GpuArgs {
	/// Returns the GPUs to use, in order of use. Fails if a name fits no GPU.
	pub fn cards(&self) -> Result<Vec<Card>> {
		Ok(gpu::cards(&self.options(None))?)
	}

	/// Opens the GPUs to use.
	pub fn open(&self) -> Result<Vec<Arc<dyn Device>>> {
		self.cards()?;
		Ok(gpu::open(&self.options(None)))
	}

	/// Tests every kernel on the GPUs to use.
	pub fn try_each(&self) -> Result<Vec<Tried>> {
		Ok(gpu::try_each(&self.options(None))?)
	}

	/// Returns whether GPUs and kernels are chosen as an agent chooses them.
	pub fn as_agents_do(&self) -> bool {
		matches!(
			(self.gpus, self.kernel),
			(Gpus::Hardware, KernelArg::Fastest)
		)
	}

	/// Returns the options. Kernels that crash the driver are remembered in the folder, if one is given.
	pub fn options(&self, memory: Option<PathBuf>) -> Options {
		Options {
			choice: self.gpus.into(),
			names: self.names.clone(),
			kernels: match self.kernel {
				KernelArg::Fastest => Kernels::Fastest,
				KernelArg::Portable => Kernels::Portable,
				KernelArg::Tensor => Kernels::Tensor,
			},
			memory,
			..Default::default()
		}
	}
}

/// Parses a class by its number or its name. Governance may have added classes that this program does not
/// know, so any number is accepted.
fn class(text: &str) -> Result<u16> {
	if let Ok(id) = text.parse() {
		return Ok(id);
	}
	let name = text.to_ascii_uppercase();
	let known = classes::by_name(&name).or_else(|| classes::by_name(&format!("GPU_{name}")));
	Ok(known
		.with_context(|| {
			format!(
				"no GPU class is named {text}; give its number, or a name from `kaisar classes`"
			)
		})?
		.id)
}

/// Returns the name of a class.
fn class_name(id: u16) -> String {
	match classes::get(id) {
		Some(class) => class.name.into(),
		None if id == 0 => "no GPU".into(),
		None => format!("class {id}"),
	}
}

/// Returns a bar of steps on the terminal. It stays hidden if the output is for a program or not a terminal.
fn bar(steps: u64, hidden: bool) -> ProgressBar {
	if hidden {
		return ProgressBar::hidden();
	}
	let bar = ProgressBar::new(steps);
	if let Ok(style) =
		ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} {msg}, {elapsed}")
	{
		bar.set_style(style);
	}
	bar.enable_steady_tick(Duration::from_millis(120));
	bar
}

/// Rounds to three decimals.
fn rounded(value: f64) -> f64 {
	(value * 1e3).round() / 1e3
}

/// Formats a line for each kernel of a device; the device uses the first.
fn kernel_lines(kernels: &[Rated]) -> String {
	let line = |(at, rated): (usize, &Rated)| {
		let label = if at == 0 { "kernel" } else { "" };
		let kernel = &rated.kernel;
		match rated.gops {
			Some(gops) => format!("  {label:<14} {gops:.0} Gop/s: {kernel}\n"),
			None => format!("  {label:<14} {kernel}\n"),
		}
	};
	kernels.iter().enumerate().map(line).collect()
}
