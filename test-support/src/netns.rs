//! Network namespaces for tests, joined by cables. Needs root and iproute2.
//!
//! A namespace has its own addresses, routes and ports, so a test that runs its machines in namespaces
//! sees no other test's traffic and none of the machine's.

use std::{
	fs::File,
	net::Ipv4Addr,
	os::fd::AsRawFd,
	path::Path,
	process::Command,
	sync::atomic::{AtomicU32, Ordering},
	thread::JoinHandle,
};

/// Prefix of the names of all namespaces made here.
const PREFIX: &str = "kaisar-test-";

/// Runs `ip` with arguments that are separated by spaces.
///
/// # Panics
///
/// If it fails.
pub fn ip(arguments: &str) {
	let done = Command::new("ip")
		.args(arguments.split_whitespace())
		.output()
		.expect("iproute2 is installed");
	assert!(
		done.status.success(),
		"ip {arguments}: {}",
		String::from_utf8_lossy(&done.stderr)
	);
}

/// A network namespace, removed when it is dropped.
pub struct Namespace {
	name: String,
}

impl Namespace {
	/// Makes a namespace with a loopback device and nothing more.
	///
	/// # Panics
	///
	/// Without root or iproute2.
	#[expect(
		clippy::new_without_default,
		reason = "it makes something outside of the process"
	)]
	pub fn new() -> Self {
		let name = next_name();
		ip(&format!("netns add {name}"));
		let namespace = Self { name };
		ip(&format!("-n {} link set lo up", namespace.name));
		namespace
	}

	/// Returns the namespace of a process. It is only named here: it ends with its processes.
	///
	/// # Panics
	///
	/// Without root or iproute2, and if the process does not exist.
	pub fn of_process(process: u32) -> Self {
		let name = next_name();
		ip(&format!("netns attach {name} {process}"));
		Self { name }
	}

	/// Returns its name, as `ip -n` takes it.
	pub fn name(&self) -> &str {
		&self.name
	}

	/// Joins two namespaces with a cable, a pair of veth devices. `cable` names the device in both; each
	/// end is an address of a network with 24 bits.
	pub fn join(&self, at: Ipv4Addr, other: &Self, other_at: Ipv4Addr, cable: &str) {
		let (here, there) = (&self.name, &other.name);
		ip(&format!(
			"-n {here} link add {cable} type veth peer name {cable} netns {there}"
		));
		for (name, address) in [(here, at), (there, other_at)] {
			ip(&format!("-n {name} addr add {address}/24 dev {cable}"));
			ip(&format!("-n {name} link set {cable} up"));
		}
	}

	/// Runs a future in the namespace, on a thread with a runtime of its own.
	pub fn spawn<T: Send + 'static>(
		&self,
		act: impl AsyncFnOnce() -> T + Send + 'static,
	) -> JoinHandle<T> {
		let path = format!("/run/netns/{}", self.name);
		std::thread::spawn(move || {
			let file = File::open(path).expect("the namespace exists");
			// SAFETY: it only changes the namespace in which this thread, and the threads it starts, create
			// sockets.
			let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
			assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
			tokio::runtime::Builder::new_multi_thread()
				.worker_threads(2)
				.enable_all()
				.build()
				.expect("a runtime starts")
				.block_on(act())
		})
	}
}

impl Drop for Namespace {
	fn drop(&mut self) {
		remove(&self.name);
	}
}

/// Returns a name that no other namespace has.
fn next_name() -> String {
	static NEXT: AtomicU32 = AtomicU32::new(0);
	remove_left_over();
	let number = NEXT.fetch_add(1, Ordering::Relaxed);
	format!("{PREFIX}{}-{number}", std::process::id())
}

/// Removes the namespaces of tests that were killed.
fn remove_left_over() {
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

fn remove(name: &str) {
	// Another test may have removed it.
	let _ = Command::new("ip").args(["netns", "del", name]).output();
}
