//! The commands that measure.

pub mod bench;
pub mod calibrate;

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use kaisar_agent::gpu::Choice;
use kaisar_math::classes;
use std::time::Duration;

/// Which GPUs to use.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Gpus {
	/// None.
	Off,
	/// All that have a Vulkan driver.
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

/// A class by its number or its name.
fn class(text: &str) -> Result<u16> {
	if let Ok(id) = text.parse::<u16>() {
		classes::score(id).with_context(|| format!("there is no class {id}"))?;
		return Ok(id);
	}
	let name = text.to_ascii_uppercase();
	let known = classes::by_name(&name).or_else(|| classes::by_name(&format!("GPU_{name}")));
	Ok(known
		.with_context(|| format!("there is no class {text}"))?
		.id)
}

/// The name of a class.
fn class_name(id: u16) -> &'static str {
	classes::get(id).map_or("no GPU", |class| class.name)
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
