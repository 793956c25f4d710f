//! The commands that measure or ask.

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

/// Which GPUs to use.
#[derive(Clone, Copy, Default, ValueEnum)]
enum Gpus {
	/// None.
	Off,
	/// All that CUDA's driver or a Vulkan driver shows.
	#[default]
	Hardware,
	/// Software that plays a GPU too: for tests.
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

/// Which kernels may compute the matrix product.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum KernelArg {
	/// The fastest that is right, on each GPU.
	#[default]
	Fastest,
	/// The one that runs on every GPU, through Vulkan.
	Portable,
	/// One on matrix units (tensor cores); a GPU that has none is not used.
	Tensor,
}

/// How GPUs are used.
#[derive(Args)]
pub struct GpuArgs {
	/// Which GPUs to use.
	#[arg(long, value_enum, default_value_t)]
	gpus: Gpus,
	/// A GPU to use, by its PCI bus id (0000:01:00.0, 01:00.0) or its UUID (GPU-…, as `nvidia-smi -L` prints
	/// it); repeat it for several, in order of use. All GPUs by default, the most capable first. `detect` lists
	/// them.
	#[arg(long = "gpu", value_name = "GPU")]
	names: Vec<GpuName>,
	/// Which kernels may compute the matrix product.
	#[arg(long, value_enum, default_value_t)]
	kernel: KernelArg,
}

impl GpuArgs {
	/// The GPUs to use, in order of use; fails on a name that fits none.
	pub fn cards(&self) -> Result<Vec<Card>> {
		Ok(gpu::cards(&self.options(None))?)
	}

	/// The same, opened.
	pub fn open(&self) -> Result<Vec<Arc<dyn Device>>> {
		self.cards()?;
		Ok(gpu::open(&self.options(None)))
	}

	/// Tries every kernel on them.
	pub fn try_each(&self) -> Result<Vec<Tried>> {
		Ok(gpu::try_each(&self.options(None))?)
	}

	/// Whether GPUs and kernels are chosen as an agent chooses them.
	pub fn as_agents_do(&self) -> bool {
		matches!(
			(self.gpus, self.kernel),
			(Gpus::Hardware, KernelArg::Fastest)
		)
	}

	/// The options; that a kernel crashes the driver is remembered in a folder, if there is one.
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

/// A class by its number or its name. Governance may have added some that this program does not know; they go by
/// number.
fn class(text: &str) -> Result<u16> {
	if let Ok(id) = text.parse() {
		return Ok(id);
	}
	let name = text.to_ascii_uppercase();
	let known = classes::by_name(&name).or_else(|| classes::by_name(&format!("GPU_{name}")));
	Ok(known
		.with_context(|| format!("there is no class {text}"))?
		.id)
}

/// The name of a class.
fn class_name(id: u16) -> String {
	match classes::get(id) {
		Some(class) => class.name.into(),
		None if id == 0 => "no GPU".into(),
		None => format!("class {id}"),
	}
}

/// A bar of steps on the terminal; none where the output is for a program or no terminal is there.
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

/// Three decimals are enough for anybody who reads them.
fn rounded(value: f64) -> f64 {
	(value * 1e3).round() / 1e3
}

/// A line for each kernel of a device; the first is used.
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
