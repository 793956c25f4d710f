//! Network namespaces as hosts. They need root and iproute2 (`scripts/setup.sh` installs it).
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{fs::File, os::fd::AsRawFd, path::Path, process::Command, thread::JoinHandle};

/// Runs `ip` with these arguments, and panics if it fails.
pub fn ip(arguments: &str) {
	run("ip", &arguments.split_whitespace().collect::<Vec<_>>());
}

/// Runs a program, and panics if it fails.
pub fn run(program: &str, arguments: &[&str]) {
	let done = Command::new(program)
		.args(arguments)
		.output()
		.unwrap_or_else(|error| panic!("{program}: {error}"));
	assert!(
		done.status.success(),
		"{program} {}: {}",
		arguments.join(" "),
		String::from_utf8_lossy(&done.stderr)
	);
}

/// Removes the namespaces of tests that were killed.
pub fn remove_left_over() {
	let Ok(names) = std::fs::read_dir("/run/netns") else {
		return;
	};
	for name in names.flatten() {
		let name = name.file_name().to_string_lossy().into_owned();
		let process = name.strip_prefix(PREFIX).and_then(|rest| {
			let (process, _) = rest.split_once('-')?;
			process.parse::<u32>().ok()
		});
		if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
			remove(&name);
		}
	}
}

/// Removes a namespace.
pub fn remove(name: &str) {
	let _ = Command::new("ip").args(["netns", "del", name]).status();
}

/// What the names of all namespaces of these tests begin with.
pub const PREFIX: &str = "kaisar-netns-";

/// Runs something in a namespace, on a thread of its own whose runtime stays in it.
pub fn within<T: Send + 'static>(
	name: String,
	act: impl AsyncFnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
	std::thread::spawn(move || {
		let file = File::open(format!("/run/netns/{name}")).expect("the namespace is there");
		// SAFETY: it changes nothing but where this thread's sockets are made.
		let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
		assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
		tokio::runtime::Builder::new_multi_thread()
			.worker_threads(2)
			.enable_all()
			.build()
			.expect("a runtime")
			.block_on(act())
	})
}
