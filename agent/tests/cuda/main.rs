//! The CUDA backend on an emulated driver: the agent's own code loads the stub of `libcuda.so.1` in
//! `agent/cuda/emulator`, which runs the kernels of `agent/cuda` on the processor. Each case runs in its own
//! process, since a driver is loaded once.

mod cases;
mod driver;

use driver::{in_process, on, program};

/// Kernels of Ampere and newer, the simplest last.
const AMPERE: &str = "CUDA, Ampere's units, 128 × 256|CUDA, Ampere's units, 256 × 128|CUDA, Ampere's units, 128 × 128";
const TURING: &str = "CUDA, Turing's units, 128 × 256|CUDA, Turing's units, 256 × 128";
const HOPPER: &str =
	"CUDA, Hopper's units, 128 × 256|CUDA, Hopper's units, 128 × 256, copies apart";

/// Runs a case by name, in the process for it.
#[test]
#[ignore = "a case of another test, which runs it on an emulated driver"]
fn case() {
	cases::run(&std::env::var("KAISAR_CASE").expect("the tests of this file run it"));
}

/// Runs every kernel by itself, at all its shapes and in many orders, against plain code; and kernels with
/// faults, which must be detected.
#[test]
fn the_kernels_on_the_emulator() {
	let sources = [
		"test.cpp",
		"kernels.cpp",
		"machine.cpp",
		"instructions.cpp",
		"memory.cpp",
	];
	program("kernels", &sources, &[]);
}

/// The stub behaves like a driver.
#[test]
fn the_emulated_driver() {
	program("driver", &["test-driver.cpp"], &["../ptx"]);
}

#[test]
fn every_kind_of_gpu_comes_to_what_the_reference_does() {
	for (capability, kernels) in [
		("7.5", TURING.to_owned()),
		("8.0", AMPERE.to_owned()),
		("8.9", AMPERE.to_owned()),
		("9.0", format!("{HOPPER}|{AMPERE}")),
		("12.0", AMPERE.to_owned()),
	] {
		in_process("whole", &[on(capability), ("EXPECTED", &kernels)]);
	}
}

#[test]
fn larger_matrices_too() {
	in_process("larger", &[on("9.0")]);
	in_process("larger", &[on("8.6")]);
}

#[test]
fn an_old_driver_gets_what_it_reads_and_says_what_is_missing() {
	// A driver before CUDA 11.8 supports neither Hopper's kernels nor early starts.
	let said = in_process(
		"opened",
		&[
			on("9.0"),
			("KAISAR_EMULATED_DRIVER", "11040"),
			("EXPECTED", AMPERE),
		],
	);
	assert!(said.contains("525.60.13"), "{said}");
	let said = in_process(
		"opened",
		&[
			on("9.0"),
			("KAISAR_EMULATED_DRIVER", "11080"),
			("EXPECTED", AMPERE),
		],
	);
	assert!(
		said.contains("525.60.13") && !said.contains("520.61.05"),
		"{said}"
	);
	let said = in_process(
		"not_opened",
		&[on("8.6"), ("KAISAR_EMULATED_DRIVER", "10020")],
	);
	assert!(said.contains("450.36.06"), "{said}");
	// Without the functions of newer drivers.
	in_process(
		"whole",
		&[
			on("8.6"),
			("OLD_LIBRARY", "yes"),
			("KAISAR_EMULATED_DRIVER", "11000"),
			("EXPECTED", AMPERE),
		],
	);
}

#[test]
fn a_gpu_without_matrix_units_is_left_to_vulkan() {
	in_process("not_listed", &[on("7.0")]);
	in_process("not_listed", &[on("6.1")]);
}

#[test]
fn a_kernel_that_is_wrong_is_not_used() {
	let apart = format!("CUDA, Hopper's units, 128 × 256, copies apart|{AMPERE}");
	let said = in_process(
		"opened",
		&[
			on("9.0"),
			("KAISAR_EMULATED_WRONG", "product_hopper"),
			("EXPECTED", &apart),
		],
	);
	assert!(said.contains("a kernel cannot be used"), "{said}");
	for wrong in ["fill", "tree", "walk", "gather"] {
		let said = in_process("not_opened", &[on("9.0"), ("KAISAR_EMULATED_WRONG", wrong)]);
		assert!(
			said.contains("its results in a small trial differ from the processor's"),
			"{wrong}: {said}"
		);
	}
}

#[test]
fn where_cuda_fails_vulkan_is_used() {
	let said = in_process("fallback", &[on("9.0"), ("KAISAR_EMULATED_WRONG", "tree")]);
	assert!(said.contains("CUDA cannot be used"), "{said}");
}

#[test]
fn a_kernel_that_is_wrong_later_is_found_out_by_its_roots() {
	// The GPU's running hash is compared with the one that follows from its roots: a corrupted tree's root
	// does not match.
	let said = in_process(
		"damaged",
		&[on("8.6"), ("KAISAR_EMULATED_WRONG", "tree:600")],
	);
	assert!(
		said.contains("its running hash does not follow from its roots"),
		"{said}"
	);
}

#[test]
fn a_gpu_that_is_lost_is_opened_again() {
	// 700 is an illegal address, 719 a failed launch: the context is unusable afterwards.
	for failure in ["walk:300:700", "tree:700:719", "cuMemcpyDtoH_v2:200:719"] {
		let said = in_process("lost", &[on("8.6"), ("KAISAR_EMULATED_FAIL", failure)]);
		assert!(
			said.contains("reopening a GPU that was lost"),
			"{failure}: {said}"
		);
	}
}

#[test]
fn a_window_takes_what_there_is() {
	for case in ["little", "none"] {
		in_process(case, &[on("8.6"), ("KAISAR_EMULATED_MEMORY_MIB", "18")]);
	}
}

#[test]
fn what_is_measured_harms_no_openings() {
	for capability in ["9.0", "7.5"] {
		in_process("measured", &[on(capability)]);
	}
}

#[test]
fn several_gpus_run_together() {
	in_process("several", &[("KAISAR_EMULATED_DEVICES", "9.0,8.6")]);
}

#[test]
fn a_kernel_that_fails_costs_no_other() {
	let left = format!("CUDA, Hopper's units, 128 × 256, copies apart|{AMPERE}");
	in_process(
		"opened",
		&[
			on("9.0"),
			("KAISAR_EMULATED_FAIL", "product_hopper:1:719"),
			("EXPECTED", &left),
		],
	);
}
