//! Memory limits of the control groups that this process is in, its own and all above it, of version 1 and
//! 2.

use std::{
	fs,
	path::{Path, PathBuf},
};

/// Smallest value of version 1 that means no limit: the kernel writes the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// Memory limit of the control groups, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
	/// Lowest limit.
	pub total: u64,
	/// Minimum of the free memory under any limit; files that the kernel would drop count as free.
	pub available: u64,
}

/// Returns the limit on this process's memory; `None` without one.
pub fn memory() -> Option<Limit> {
	memory_under(Path::new("/"))
}

fn memory_under(root: &Path) -> Option<Limit> {
	let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
	let (mounts, groups) = (read("proc/self/mountinfo"), read("proc/self/cgroup"));
	let mut limit: Option<Limit> = None;
	for version in [Version::Two, Version::One] {
		let Some(mount) = mounts.lines().find_map(|line| version.mount(line)) else {
			continue;
		};
		let Some(group) = groups.lines().find_map(|line| version.group(line)) else {
			continue;
		};
		let top = root.join(mount.point.trim_start_matches('/'));
		// In a container, the mount may show only a part of the hierarchy.
		let below = Path::new(group)
			.strip_prefix(mount.root)
			.unwrap_or(Path::new(""));
		let mut dir = top.join(below);
		if !dir.is_dir() {
			dir.clone_from(&top);
		}
		while let Some(parent) = dir.starts_with(&top).then(|| dir.parent()) {
			if let Some(here) = version.limit(&dir) {
				let so_far = limit.unwrap_or(here);
				limit = Some(Limit {
					total: so_far.total.min(here.total),
					available: so_far.available.min(here.available),
				});
			}
			match parent {
				Some(parent) => dir = parent.into(),
				None => break,
			}
		}
	}
	limit
}

/// Mount point of a hierarchy, and the mounted part of it.
struct Mount<'a> {
	root: &'a str,
	point: &'a str,
}

#[derive(Clone, Copy)]
enum Version {
	One,
	Two,
}

impl Version {
	/// Returns the mount of the hierarchy, if a line of `mountinfo` describes it.
	fn mount(self, line: &str) -> Option<Mount<'_>> {
		let (mount, system) = line.split_once(" - ")?;
		let mut fields = mount.split(' ').skip(3);
		let (root, point) = (fields.next()?, fields.next()?);
		let mut system = system.split(' ');
		let (kind, options) = (system.next()?, system.nth(1).unwrap_or_default());
		let is_it = match self {
			Self::Two => kind == "cgroup2",
			Self::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
		};
		is_it.then_some(Mount { root, point })
	}

	/// Returns the group of this process, if a line of `/proc/self/cgroup` names it.
	fn group(self, line: &str) -> Option<&str> {
		let mut parts = line.splitn(3, ':');
		let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
		let is_it = match self {
			Self::Two => number == "0" && controllers.is_empty(),
			Self::One => controllers
				.split(',')
				.any(|controller| controller == "memory"),
		};
		is_it.then_some(path)
	}

	/// Returns the limit of one group, if it has one.
	fn limit(self, dir: &Path) -> Option<Limit> {
		let (most, used, dropped) = match self {
			Self::Two => ("memory.max", "memory.current", "inactive_file "),
			Self::One => (
				"memory.limit_in_bytes",
				"memory.usage_in_bytes",
				"total_inactive_file ",
			),
		};
		let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
		// The value `max` fails to parse: no limit.
		let total = number(dir.join(most)).filter(|total| *total < NO_LIMIT)?;
		let used = number(dir.join(used)).unwrap_or(0);
		let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
		let dropped = stat
			.lines()
			.find_map(|line| line.strip_prefix(dropped)?.trim().parse::<u64>().ok());
		let used = used.saturating_sub(dropped.unwrap_or(0));
		Some(Limit {
			total,
			available: total.saturating_sub(used),
		})
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const GIB: u64 = 1 << 30;

	/// A machine with fake files.
	struct Machine(tempfile::TempDir);

	impl Machine {
		fn new(mountinfo: &str, cgroup: &str) -> Self {
			let machine = Self(tempfile::tempdir().unwrap());
			machine.file("proc/self/mountinfo", mountinfo);
			machine.file("proc/self/cgroup", cgroup);
			machine
		}

		fn file(&self, path: &str, text: &str) {
			let path = self.0.path().join(path);
			fs::create_dir_all(path.parent().unwrap()).unwrap();
			fs::write(path, text).unwrap();
		}

		fn two(&self, group: &str, most: &str, used: u64, inactive: u64) {
			let file = |name, text: String| {
				self.file(&format!("sys/fs/cgroup/{group}{name}"), &text);
			};
			file("memory.max", format!("{most}\n"));
			file("memory.current", format!("{used}\n"));
			let stat = format!("anon 7\nfile 9\ninactive_file {inactive}\nactive_file 1\n");
			file("memory.stat", stat);
		}

		fn limit(&self) -> Option<(u64, u64)> {
			let limit = memory_under(self.0.path())?;
			Some((limit.total / GIB, limit.available / GIB))
		}
	}

	const TWO: &str =
		"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

	#[test]
	fn a_slice_above_limits_too() {
		let machine = Machine::new(TWO, "0::/kaisar.slice/kaisar-provider.service\n");
		machine.two("kaisar.slice/kaisar-provider.service/", "max", 3 * GIB, 0);
		assert_eq!(machine.limit(), None);
		machine.two("kaisar.slice/", &(8 * GIB).to_string(), 5 * GIB, 2 * GIB);
		assert_eq!(machine.limit(), Some((8, 5)), "files can be dropped");
		let own = (6 * GIB).to_string();
		machine.two("kaisar.slice/kaisar-provider.service/", &own, 5 * GIB, 0);
		assert_eq!(machine.limit(), Some((6, 1)));
	}

	#[test]
	fn a_containers_limit_is_found_where_its_mount_shows_it() {
		// With a namespace of its own it is at the top; without one, under the container's name.
		let machine = Machine::new(TWO, "0::/\n");
		machine.two("", &(4 * GIB).to_string(), GIB, 0);
		assert_eq!(machine.limit(), Some((4, 3)));
		let part = TWO.replace(" / /sys", " /docker/abc /sys");
		for group in ["0::/docker/abc\n", "0::/docker/abc/deeper\n", "0::/../..\n"] {
			let machine = Machine::new(&part, group);
			machine.two("", &(4 * GIB).to_string(), GIB, 0);
			assert_eq!(machine.limit(), Some((4, 3)), "{group}");
		}
	}

	#[test]
	fn version_1_limits_too() {
		let machine = Machine::new(
			"1 2 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
			 3 4 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			"12:cpu,cpuacct:/a\n4:memory:/a/b\n0::/c\n",
		);
		let file = |group: &str, name: &str, value: u64| {
			let path = format!("sys/fs/cgroup/memory/{group}memory.{name}");
			machine.file(&path, &format!("{value}\n"));
		};
		// The kernel's value for no limit.
		file("", "limit_in_bytes", 9_223_372_036_854_771_712);
		file("a/b/", "limit_in_bytes", 9_223_372_036_854_771_712);
		assert_eq!(machine.limit(), None);
		file("a/", "limit_in_bytes", 16 * GIB);
		file("a/", "usage_in_bytes", 6 * GIB);
		machine.file(
			"sys/fs/cgroup/memory/a/memory.stat",
			"total_inactive_file 1073741824\n",
		);
		assert_eq!(machine.limit(), Some((16, 11)));
	}

	#[test]
	fn without_control_groups_there_is_no_limit() {
		assert_eq!(Machine::new("", "").limit(), None);
		assert_eq!(memory_under(Path::new("/nowhere")), None);
	}
}
