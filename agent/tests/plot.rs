//! `kaisar-agent plot`, as a process that is stopped, killed, and run beside an agent.

use kaisar_agent::{
	trial::{
		disk::{Plot, Proof, Ready, Size},
		plot::{NODE, Recipe},
	},
	worker::plots::{self, Effort, Plots},
};
use sp_core::{Pair, ed25519};
use std::{
	path::PathBuf,
	process::{Child, Command, Output, Stdio},
	time::{Duration, Instant},
};
use tempfile::TempDir;

const GENESIS: [u8; 32] = [7; 32];
const SEED: [u8; 32] = [9; 32];
/// Sizes above the limit of plots that are made at once.
const GROUP_MIB: u32 = 1;
const GROUPS: u32 = 300;

fn recipe() -> Recipe {
	let agent = ed25519::Pair::from_seed(&SEED).public();
	Recipe::new(&GENESIS, &agent.0, (GROUP_MIB << 20) / NODE as u32)
}

struct Machine {
	dir: TempDir,
}

impl Machine {
	fn new() -> Self {
		let dir = tempfile::tempdir().unwrap();
		std::fs::write(dir.path().join("key"), hex::encode(SEED)).unwrap();
		Self { dir }
	}

	fn data(&self) -> PathBuf {
		self.dir.path().join("data")
	}

	fn plot(&self, groups: u32, more: &[&str]) -> Command {
		let mut command = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"));
		command
			.arg("plot")
			.arg("--key-file")
			.arg(self.dir.path().join("key"))
			.arg("--data-dir")
			.arg(self.data())
			.arg(format!("--genesis=0x{}", hex::encode(GENESIS)))
			.arg(format!("--group-mib={GROUP_MIB}"))
			.arg(format!("--groups={groups}"))
			.args(more)
			.stdin(Stdio::null())
			.stdout(Stdio::piped())
			.stderr(Stdio::piped());
		command
	}

	fn groups(&self) -> u32 {
		let each = kaisar_agent::trial::disk::bytes_on_disk(&recipe());
		(plots::whole_bytes(&self.data(), &recipe()) / each) as u32
	}

	/// Waits until the plot has more groups.
	fn grows(&self, than: u32, child: &mut Child) {
		let begun = Instant::now();
		while self.groups() <= than {
			assert!(child.try_wait().unwrap().is_none(), "it ended");
			assert!(begun.elapsed() < Duration::from_secs(60));
			std::thread::sleep(Duration::from_millis(2));
		}
	}

	/// Returns the root of a trial over the first groups, which depends on all of their bytes.
	fn root(&self, groups: u32) -> [u8; 32] {
		let plot = Plot::open(&self.data().join("plot"), &recipe().name(), recipe()).unwrap();
		let size = Size { groups, reads: 1 };
		let ready = Ready::new(plot.view(), size).unwrap().unwrap();
		Proof::run(ready, &[1; 32], || true).unwrap().root()
	}
}

fn text(output: &Output) -> String {
	let both = [&output.stdout[..], &output.stderr[..]].concat();
	String::from_utf8(both).unwrap()
}

fn send(child: &Child, signal: libc::c_int) {
	// SAFETY: it is a child that was not waited for.
	assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

#[test]
fn a_plot_that_is_killed_again_and_again_is_whole_groups() {
	let (machine, other) = (Machine::new(), Machine::new());
	let mut there = 0;
	for time in 0..12 {
		let mut child = machine.plot(GROUPS, &[]).spawn().unwrap();
		machine.grows(there, &mut child);
		// In different phases of a group.
		std::thread::sleep(Duration::from_millis(time));
		child.kill().unwrap();
		child.wait().unwrap();
		there = machine.groups();
	}
	assert!(other.plot(there, &[]).output().unwrap().status.success());
	assert_eq!(machine.root(there), other.root(there));
}

#[test]
fn a_plot_that_is_interrupted_says_how_to_go_on_and_does() {
	let machine = Machine::new();
	let mut child = machine.plot(GROUPS, &[]).spawn().unwrap();
	machine.grows(0, &mut child);
	send(&child, libc::SIGINT);
	let output = child.wait_with_output().unwrap();
	assert!(!output.status.success());
	let said = text(&output);
	assert!(
		said.contains("stopped at") && said.contains("same command"),
		"{said}"
	);
	let there = machine.groups();
	assert!(there > 0 && there < GROUPS, "{there}");
	let output = machine.plot(there + 1, &[]).output().unwrap();
	assert!(output.status.success());
	let said = text(&output);
	assert!(said.contains("The plot of 0x"), "{said}");
	assert_eq!(machine.groups(), there + 1);
}

#[test]
fn beside_an_agent_the_agent_fills_the_plot() {
	let machine = Machine::new();
	let lock = plots::lock(&machine.data()).unwrap().unwrap();
	let agent = Plots::new(&machine.data()).unwrap();
	let _growing = agent.start(Effort::Background).unwrap();
	let output = machine.plot(3, &[]).output().unwrap();
	let said = text(&output);
	assert!(output.status.success(), "{said}");
	assert!(
		said.contains("An agent uses") && said.contains("kaisar-agent status"),
		"{said}"
	);
	assert_eq!(agent.ready(&recipe()), 3);
	// During a trial it waits, and can be left to the agent.
	let _hold = agent.hold();
	let child = machine.plot(4, &[]).spawn().unwrap();
	let plan = machine.data().join("plot/plan");
	let before = std::fs::read(&plan).unwrap();
	let begun = Instant::now();
	while std::fs::read(&plan).unwrap() == before {
		assert!(begun.elapsed() < Duration::from_secs(60));
		std::thread::sleep(Duration::from_millis(2));
	}
	send(&child, libc::SIGINT);
	let said = text(&child.wait_with_output().unwrap());
	assert!(said.contains("The agent continues."), "{said}");
	assert_eq!(agent.ready(&recipe()), 3);
	drop(lock);
}

#[test]
fn a_plot_without_a_chain_or_a_key_says_what_is_missing() {
	let machine = Machine::new();
	let output = |arguments: &[&str]| {
		let mut command = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"));
		let data = machine.data().display().to_string();
		let output = command
			.args(["plot", "--data-dir", &data])
			.args(arguments)
			.output()
			.unwrap();
		assert!(!output.status.success());
		text(&output)
	};
	let key = machine.dir.path().join("key").display().to_string();
	// No node listens on that port.
	let said = output(&["--key-file", &key, "--node=http://127.0.0.1:1"]);
	assert!(said.contains("pass --genesis"), "{said}");
	let said = output(&[
		"--key-file",
		"/not/here",
		"--genesis",
		&format!("0x{}", hex::encode(GENESIS)),
	]);
	assert!(said.contains("does not exist"), "{said}");
}
