//! Detects workloads that this agent did not start: other containers, and other programs on the GPUs.

use super::{
	brief::brief,
	engine::Fault,
	inspect::label,
	state::{LABEL_AGENT, SupervisorState},
};
use bollard::models::ContainerSummary;
use std::{fs, path::Path};

/// Maximum number of processes that are inspected.
const MAX_PROCESSES: usize = 65_536;
/// Maximum number of open files that are inspected per process.
const MAX_FILES: usize = 4_096;

/// Label of containers that `--exclusive` leaves alone.
const LABEL_KEEP: &str = "kaisar.keep";
/// Label of a project's containers in Docker Compose and Podman Compose.
const LABEL_PROJECT: &str = "com.docker.compose.project";
/// Files that an engine mounts into each container, from a folder with the container's id in its name.
const PUT_IN: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Stops every container that this agent did not start, except its own, those of its Compose project, and
/// those marked with [`LABEL_KEEP`]. Returns the number of stopped containers.
pub(super) async fn stop_others(shared: &SupervisorState) -> Result<usize, Fault> {
	let Some(engine) = shared.engine() else {
		return Ok(0);
	};
	let mut stopped = 0;
	for container in others(engine.list(None).await?, &shared.agent, Path::new("/proc")) {
		let Some(id) = &container.id else { continue };
		tracing::warn!(
			container = id,
			names = ?container.names,
			"stopping a container that this agent did not start: a customer pays for the machine (--exclusive)"
		);
		match engine.stop(id).await {
			Ok(()) => stopped += 1,
			Err(Fault::NotFound(_)) => (),
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) => {
				tracing::warn!(container = id, %fault, "cannot stop a container that this agent did not start; stop it by hand")
			}
		}
	}
	Ok(stopped)
}

/// Returns the containers to stop.
fn others(all: Vec<ContainerSummary>, agent: &str, proc: &Path) -> Vec<ContainerSummary> {
	let own = own_folders(proc);
	let is_own = |found: &ContainerSummary| {
		let id = found.id.as_deref().filter(|id| !id.is_empty());
		id.is_some_and(|id| own.iter().any(|folder| folder.contains(id)))
	};
	let project = all
		.iter()
		.find(|found| is_own(found))
		.and_then(|found| label(found, LABEL_PROJECT))
		.map(str::to_owned);
	let stays = |found: &ContainerSummary| {
		label(found, LABEL_AGENT) == Some(agent)
			|| label(found, LABEL_KEEP).is_some_and(|keep| keep != "false")
			|| is_own(found)
			|| project.is_some() && label(found, LABEL_PROJECT) == project.as_deref()
	};
	all.into_iter().filter(|found| !stays(found)).collect()
}

/// Returns folders and control groups whose names have the id of the container that this process runs in, or
/// whose network it shares. On a machine whose own files come from such a folder, others are included.
fn own_folders(proc: &Path) -> Vec<String> {
	let read = |file: &str| fs::read_to_string(proc.join("self").join(file)).unwrap_or_default();
	let mounts = read("mountinfo");
	let put_in = mounts.lines().filter_map(|mount| {
		let mut fields = mount.split(' ').skip(3);
		let (root, at) = (fields.next()?, fields.next()?);
		PUT_IN.contains(&at).then(|| root.to_owned())
	});
	put_in
		.chain(read("cgroup").lines().map(str::to_owned))
		.collect()
}

/// Returns the programs that have a GPU's device open, except this one and those in these containers, as
/// `(pid, name)`. It finds only processes that the agent may inspect: only root finds all.
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

/// Returns whether a path is a GPU's device for computing, not one of a screen.
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
	fn the_agents_own_and_marked_containers_are_not_stopped() {
		let dir = tempfile::tempdir().unwrap();
		let proc = dir.path().join("self");
		fs::create_dir(&proc).unwrap();
		let ids: Vec<String> = (0..7u8).map(|id| hex::encode([id; 32])).collect();
		let with = |id: usize, labels: &[(&str, &str)]| ContainerSummary {
			id: Some(ids[id].clone()),
			labels: Some(
				labels
					.iter()
					.map(|(name, value)| ((*name).into(), (*value).into()))
					.collect(),
			),
			..Default::default()
		};
		let all = vec![
			with(0, &[]),
			with(1, &[(LABEL_PROJECT, "kaisar")]),
			with(2, &[(LABEL_PROJECT, "kaisar")]),
			with(3, &[(LABEL_PROJECT, "shop")]),
			with(4, &[(LABEL_KEEP, "")]),
			with(5, &[(LABEL_AGENT, "ab")]),
			with(6, &[(LABEL_KEEP, "false"), (LABEL_AGENT, "cd")]),
		];
		let stopped = || {
			let others = others(all.clone(), "ab", dir.path());
			let place =
				|found: ContainerSummary| ids.iter().position(|id| Some(id) == found.id.as_ref());
			others.into_iter().filter_map(place).collect::<Vec<_>>()
		};
		// On the machine itself, which shows the mounts of all containers.
		let shm = format!(
			"7 1 0:9 / /var/lib/docker/containers/{}/mounts/shm rw - tmpfs shm rw\n",
			ids[1]
		);
		fs::write(proc.join("mountinfo"), &shm).unwrap();
		fs::write(proc.join("cgroup"), "0::/system.slice/kaisar.service\n").unwrap();
		assert_eq!(stopped(), [0, 1, 2, 3, 6]);
		// In a container, by its files, or by its control group.
		let hosts = format!(
			"8 1 8:1 /var/lib/docker/containers/{}/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n",
			ids[1]
		);
		fs::write(proc.join("mountinfo"), shm.clone() + &hosts).unwrap();
		assert_eq!(stopped(), [0, 3, 6], "with its project");
		fs::write(proc.join("mountinfo"), shm).unwrap();
		fs::write(
			proc.join("cgroup"),
			format!("0::/system.slice/docker-{}.scope\n", ids[0]),
		)
		.unwrap();
		assert_eq!(stopped(), [1, 2, 3, 6]);
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
