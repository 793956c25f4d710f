//! The emulated driver, and processes that use it.

use std::{
	path::{Path, PathBuf},
	process::Command,
	sync::LazyLock,
};

/// An environment variable of the driver or of a case.
pub type Variable<'a> = (&'a str, &'a str);

/// A driver with one GPU of a compute capability.
pub fn on(capability: &str) -> Variable<'_> {
	("KAISAR_EMULATED_DEVICES", capability)
}

/// Runs a case in a process that loads the emulated driver, and returns all its output.
pub fn in_process(case: &str, variables: &[Variable<'_>]) -> String {
	let old = variables.iter().any(|(name, _)| *name == "OLD_LIBRARY");
	let output = Command::new(std::env::current_exe().unwrap())
		.args(["--ignored", "--exact", "case", "--nocapture"])
		.env("KAISAR_CASE", case)
		.env("LD_LIBRARY_PATH", built(old))
		.envs(variables.iter().copied())
		.output()
		.unwrap();
	let said =
		[output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
	let said = said.concat();
	assert!(
		output.status.success(),
		"{case} with {variables:?}:\n{said}"
	);
	said
}

/// Builds a program of the emulator's folder, with the driver's library or with the emulator itself, and
/// runs it. Panics if either fails.
pub fn program(name: &str, sources: &[&str], arguments: &[&str]) {
	let folder = built(false);
	let emulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/emulator");
	let to = folder.join(name);
	let compiler = std::env::var("CXX").unwrap_or("c++".into());
	let mut build = Command::new(compiler);
	build
		.args(["-std=c++17", "-O2", "-pthread", "-DKAISAR_EMULATED"])
		.args(sources)
		.arg("-o")
		.arg(&to);
	let mut run = Command::new(&to);
	run.args(arguments).env("LD_LIBRARY_PATH", &folder);
	if !sources.contains(&"machine.cpp") {
		build.arg(folder.join("libcuda.so.1"));
	}
	for command in [&mut build, &mut run] {
		let output = command.current_dir(&emulator).output().unwrap();
		let said = [output.stdout, output.stderr].concat();
		let said = String::from_utf8_lossy(&said);
		assert!(output.status.success(), "{name}:\n{said}");
	}
}

/// Builds the driver's library, and returns its folder. `old` omits the functions that drivers before CUDA
/// 11.8 lack.
fn built(old: bool) -> PathBuf {
	static BUILT: LazyLock<[PathBuf; 2]> = LazyLock::new(|| [build(false), build(true)]);
	BUILT[usize::from(old)].clone()
}

fn build(old: bool) -> PathBuf {
	let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda/emulator");
	let folder =
		Path::new(env!("CARGO_TARGET_TMPDIR")).join(if old { "libcuda-old" } else { "libcuda" });
	std::fs::create_dir_all(&folder).unwrap();
	let mut build = Command::new(sources.join("build.sh"));
	build.arg(folder.join("libcuda.so.1"));
	if old {
		build.arg("-DKAISAR_OLD_DRIVER");
	}
	let output = build.output().unwrap();
	let said = String::from_utf8_lossy(&output.stderr);
	assert!(
		output.status.success(),
		"the emulated driver cannot be built: {said}"
	);
	folder
}
