//! `kaisar-agent kernels`: tests every kernel on this machine's GPUs against plain code.

use super::GpuArgs;
use anyhow::{Result, ensure};
use clap::Args;

#[derive(Args)]
pub struct KernelsArgs {
	/// Print one line of JSON per kernel.
	#[arg(long)]
	json: bool,
	#[command(flatten)]
	gpus: GpuArgs,
}

/// Runs the command.
pub fn run(args: &KernelsArgs) -> Result<()> {
	let tried = args.gpus.try_each()?;
	ensure!(
		!tried.is_empty(),
		"no driver lists a GPU on this machine: `kaisar-agent detect` shows the hardware that it has"
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
			"{right} of {} kernels compute the same as plain code.",
			tried.len()
		);
	}
	Ok(())
}
