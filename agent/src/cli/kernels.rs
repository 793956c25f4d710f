//! `kaisar-agent kernels`: whether every kernel computes on this machine's GPUs what plain code does.

use super::GpuArgs;
use anyhow::{Result, ensure};
use clap::Args;

#[derive(Args)]
pub struct KernelsArgs {
	/// Print one line of JSON a kernel.
	#[arg(long)]
	json: bool,
	#[command(flatten)]
	gpus: GpuArgs,
}

/// Tries them.
pub fn run(args: &KernelsArgs) -> Result<()> {
	let tried = args.gpus.try_each()?;
	ensure!(
		!tried.is_empty(),
		"there is no GPU here that a driver shows: `kaisar-agent detect` lists what there is"
	);
	for one in &tried {
		if args.json {
			println!("{}", serde_json::to_string(one)?);
			continue;
		}
		match &one.error {
			None => println!("right    {}: {}", one.gpu, one.kernel),
			Some(error) => println!("not used {}: {}: {error}", one.gpu, one.kernel),
		}
	}
	let right = tried.iter().filter(|one| one.error.is_none()).count();
	ensure!(right > 0, "no kernel can be used: see the reasons above");
	if !args.json {
		println!(
			"{right} of {} kernels compute what plain code does.",
			tried.len()
		);
	}
	Ok(())
}
