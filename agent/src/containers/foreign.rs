//! What runs on the machine besides: other containers, and other programs on the GPUs.

use super::{
	brief::brief,
	engine::Fault,
	state::{LABEL_AGENT, Shared},
};
use bollard::models::ContainerSummary;
use std::{fs, path::Path};

/// Most processes, and most open files of each, that are looked at.
const MAX_PROCESSES: usize = 65_536;
const MAX_FILES: usize = 4_096;

/// Stops every container that this agent did not start. Returns how many were stopped.
pub(super) async fn stop_others(shared: &Shared) -> Result<usize, Fault> {
	let Some(engine) = shared.engine() else {
		return Ok(0);
	};
	let mut stopped = 0;
	for container in engine.list(None).await? {
		if is_ours(&container, &shared.agent) {
			continue;
		}
		let Some(id) = &container.id else { continue };
		tracing::warn!(
			container = id,
			names = ?container.names,
			"stopping a container that this agent did not start: a customer pays for the machine (--exclusive)"
		);
		match engine.stop(id).await {
			Ok(()) => stopped += 1,
			Err(Fault::NotThere(_)) => (),
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) => {
				tracing::warn!(container = id, %fault, "a container of others cannot be stopped")
			}
		}
	}
	Ok(stopped)
}

fn is_ours(container: &ContainerSummary, agent: &str) -> bool {
	container
		.labels
		.as_ref()
		.and_then(|labels| labels.get(LABEL_AGENT))
		.is_some_and(|label| label == agent)
}

/// Programs that have a GPU's device open, are not in one of these containers, and are not this one:
/// `(pid, name)`. Only what the agent may look at is found, so it takes root to see everything.
pub(super) fn gpu_programs(proc: &Path, containers: &[String]) -> Vec<(u32, String)> {
	let Ok(entries) = fs::read_dir(proc) else {
		return Vec::new();
	};
	entries
		.flatten()
		.filter_map(|entry| {
			let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
			Some((pid, entry.path()))
		})
		.filter(|(pid, _)| *pid != std::process::id())
		.take(MAX_PROCESSES)
		.filter(|(_, dir)| {
			fs::read_dir(dir.join("fd")).is_ok_and(|files| {
				files
					.flatten()
					.take(MAX_FILES)
					.filter_map(|file| fs::read_link(file.path()).ok())
					.any(|target| is_gpu(&target))
			})
		})
		.filter(|(_, dir)| {
			let group = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
			!containers.iter().any(|id| group.contains(id.as_str()))
		})
		.map(|(pid, dir)| {
			let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
			(pid, brief(&name))
		})
		.collect()
}

/// The devices that computing needs; a screen's are left alone.
fn is_gpu(path: &Path) -> bool {
	let Some(path) = path.to_str() else {
		return false;
	};
	path == "/dev/kfd"
		|| path.starts_with("/dev/dri/renderD")
		|| path
			.strip_prefix("/dev/nvidia")
			.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
	use super::*;
	use std::os::unix::fs::symlink;

	fn process(proc: &Path, pid: u32, name: &str, group: &str, files: &[&str]) {
		let dir = proc.join(pid.to_string());
		fs::create_dir_all(dir.join("fd")).unwrap();
		fs::write(dir.join("comm"), format!("{name}\n")).unwrap();
		fs::write(dir.join("cgroup"), format!("0::/{group}\n")).unwrap();
		for (number, file) in files.iter().enumerate() {
			symlink(file, dir.join("fd").join(number.to_string())).unwrap();
		}
	}

	#[test]
	fn programs_on_a_gpu_are_found_except_the_customers_and_the_agent() {
		let dir = tempfile::tempdir().unwrap();
		let proc = dir.path();
		process(
			proc,
			10,
			"miner",
			"user.slice",
			&["/dev/null", "/dev/nvidia0"],
		);
		process(proc, 11, "train", "docker-abc.scope", &["/dev/nvidia0"]);
		process(
			proc,
			12,
			"desktop",
			"user.slice",
			&["/dev/nvidiactl", "/dev/dri/card0"],
		);
		process(proc, 13, "render", "user.slice", &["/dev/dri/renderD128"]);
		process(proc, std::process::id(), "agent", "", &["/dev/nvidia0"]);
		fs::write(proc.join("meminfo"), "").unwrap();
		let mut found = gpu_programs(proc, &["abc".into()]);
		found.sort();
		assert_eq!(found, [(10, "miner".into()), (13, "render".into())]);
		assert_eq!(gpu_programs(&proc.join("nowhere"), &[]), []);
	}
}
