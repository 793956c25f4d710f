//! Runs `nft`, which changes and shows the kernel's firewall.

use serde_json::Value;
use std::{fs, io::ErrorKind, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command};

/// Names to try: an ordinary user's path has no folders of administrators.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];
/// Timeout of a run.
const RUN: Duration = Duration::from_secs(10);
/// Number of the capability that changing the firewall needs (capabilities(7): `CAP_NET_ADMIN`).
const NET_ADMIN: u32 = 12;

/// Obstacle to a firewall of the agent's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
	/// The agent may not change the firewall.
	Capability,
	/// `nft` is not installed.
	Program,
}

/// Returns whether this process can change the firewall, as far as can be seen without a change.
pub(super) async fn usable() -> Result<(), Obstacle> {
	let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
	if !may_administer(&status) {
		return Err(Obstacle::Capability);
	}
	run(&["--version"], "")
		.await
		.map(|_| ())
		.map_err(|_| Obstacle::Program)
}

/// Returns whether a process with this status, in the form of `/proc/PID/status`, has [`NET_ADMIN`].
fn may_administer(status: &str) -> bool {
	let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
	let effective = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
	effective.is_some_and(|set| set & (1 << NET_ADMIN) != 0)
}

/// Carries out commands, all of them or none.
pub(super) async fn apply(commands: &str) -> Result<(), String> {
	run(&["-f", "-"], commands).await.map(|_| ())
}

/// Returns a table in nft's JSON; `None` if it does not exist.
pub(super) async fn table(name: &str) -> Result<Option<Value>, String> {
	match run(&["-j", "list", "table", "inet", name], "").await {
		Ok(answer) => serde_json::from_str(&answer)
			.map(Some)
			.map_err(|error| format!("nft's answer is not JSON: {error}")),
		Err(why) if why.contains("No such file or directory") => Ok(None),
		Err(why) => Err(why),
	}
}

/// Deletes a table.
pub(super) async fn delete(name: &str) -> Result<(), String> {
	run(&["delete", "table", "inet", name], "")
		.await
		.map(|_| ())
}

/// Runs `nft` in the network namespace of this thread. Returns its output.
async fn run(arguments: &[&str], input: &str) -> Result<String, String> {
	for program in PROGRAMS {
		let started = Command::new(program)
			.args(arguments)
			// Its errors are read.
			.env("LC_ALL", "C")
			.current_dir("/")
			.stdin(Stdio::piped())
			.stdout(Stdio::piped())
			.stderr(Stdio::piped())
			.kill_on_drop(true)
			.spawn();
		let mut child = match started {
			Ok(child) => child,
			Err(error) if error.kind() == ErrorKind::NotFound => continue,
			Err(error) => return Err(format!("cannot run {program}: {error}")),
		};
		let ended = async {
			if let Some(mut stdin) = child.stdin.take() {
				// A program that ends before it has read everything says why.
				let _ = stdin.write_all(input.as_bytes()).await;
			}
			child.wait_with_output().await
		};
		let output = tokio::time::timeout(RUN, ended)
			.await
			.map_err(|_| format!("{program} took more than {} s", RUN.as_secs()))?
			.map_err(|error| format!("cannot run {program}: {error}"))?;
		if output.status.success() {
			return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
		}
		let errors = String::from_utf8_lossy(&output.stderr);
		return Err(format!("nft: {}", errors.trim()));
	}
	Err("nft is not installed".into())
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn the_capability_is_read_from_the_effective_set() {
		let status = |effective: &str| {
			may_administer(&format!(
				"Name:\tkaisar-agent\nCapPrm:\t000001ffffffffff\nCapEff:\t{effective}\nCapBnd:\t0\n"
			))
		};
		assert!(status("000001ffffffffff") && status("0000000000001000"));
		assert!(!status("0000000000000000") && !status("000001ffffffefff"));
		assert!(!status("x") && !may_administer(""));
	}
}
