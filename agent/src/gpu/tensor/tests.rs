//! Tensor kernels on Mesa's software Vulkan, which has units of 8 × 8 × 8 from Mesa 26.1 on. Where the machine's own
//! Mesa is older, these tests run themselves again with the one that `scripts/mesa.sh` puts beside it.

use super::*;
use crate::{
	chain::{Position, Shape},
	device::{Device, Processor},
	gpu::{self, Choice, Gpu, Kernels, Options},
	walk::Walk,
};
use std::{
	path::PathBuf,
	process::{Command, Stdio},
	sync::Arc,
};

/// The units that are known, with the sizes of subgroups there: of Mesa's software, of NVIDIA, of AMD and Intel.
const KNOWN: [(Unit, &[u32]); 6] = [
	(Unit { m: 8, n: 8, k: 8 }, &[8]),
	(
		Unit {
			m: 16,
			n: 16,
			k: 32,
		},
		&[32],
	),
	(Unit { m: 16, n: 8, k: 32 }, &[32]),
	(
		Unit {
			m: 16,
			n: 16,
			k: 16,
		},
		&[32, 64],
	),
	(Unit { m: 8, n: 16, k: 32 }, &[8, 16, 32]),
	(Unit { m: 8, n: 8, k: 32 }, &[8, 16, 32]),
];

/// Runs a program with Mesa's newer driver, and what it needs.
fn with_newer_mesa(program: impl AsRef<std::ffi::OsStr>) -> Command {
	let run = std::env::var_os("KAISAR_MESA")
		.map(PathBuf::from)
		.or_else(|| {
			let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
			let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
			cache.or_else(home).map(|cache| cache.join("kaisar/mesa"))
		});
	let run = run.unwrap_or_default().join("run");
	assert!(
		run.exists(),
		"{} is missing: scripts/setup.sh makes it",
		run.display()
	);
	let mut command = Command::new(run);
	command.arg(program);
	command
}

/// An adapter with matrix units, in software. `None` if the test did its work in another process.
fn adapter(test: &str) -> Option<Adapter> {
	let mut found = gpu::adapters(Choice::Software);
	found.retain(|adapter| !units(adapter).is_empty());
	let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
	if let Some(adapter) = found.pop() {
		return Some(adapter);
	}
	assert!(
		std::env::var_os("KAISAR_MESA_INSIDE").is_none(),
		"this Mesa has no matrix units either"
	);
	let output = with_newer_mesa(std::env::current_exe().unwrap())
		.args(["--exact", "--nocapture", &name])
		.env("KAISAR_MESA_INSIDE", "yes")
		.stdin(Stdio::null())
		.output()
		.unwrap();
	let said = String::from_utf8_lossy(&output.stdout);
	assert!(
		output.status.success() && said.contains("1 passed"),
		"{said}{}",
		String::from_utf8_lossy(&output.stderr)
	);
	None
}

fn options(kernels: Kernels) -> Options {
	Options {
		choice: Choice::Software,
		kernels,
		memory: None,
	}
}

#[test]
fn the_chain_is_that_of_the_reference() {
	let Some(adapter) = adapter("the_chain_is_that_of_the_reference") else {
		return;
	};
	let gpu = Gpu::open(&adapter, &options(Kernels::Tensor)).unwrap();
	let kernels = gpu.kernels();
	assert!(
		kernels[0].kernel.starts_with("tensor, 8×8×8"),
		"{kernels:?}"
	);
	let shape = Shape { n: 1_024, steps: 3 };
	let walk = Walk {
		shape,
		window: 2,
		lanes: 16,
		stages: 1,
		legs: 2,
	};
	let mut there = gpu.start([3; 32], shape, 2).unwrap();
	let mut here = Processor.start([3; 32], shape, 2).unwrap();
	assert_eq!(here.steps().tops(), there.steps().tops());
	assert_eq!(here.walk([5; 32], walk), there.walk([5; 32], walk));
	// Also what is not kept, and is computed again.
	let at = [(0, 1_023, 77), (2, 5, 512)].map(|(t, i, j)| Position { t, i, j });
	assert!(here.open(&at, &[]) == there.open(&at, &[]));
	// Software is not timed, so nothing says that it is faster than the portable kernel.
	let gpu = Gpu::open(&adapter, &options(Kernels::Fastest)).unwrap();
	assert!(gpu.kernels()[0].kernel.starts_with("portable"));
}

#[test]
fn every_plan_is_right_whatever_subgroups_the_driver_makes() {
	let Some(adapter) = adapter("every_plan_is_right_whatever_subgroups_the_driver_makes") else {
		return;
	};
	let limits = adapter.limits();
	let unit = units(&adapter)[0];
	// It makes subgroups of eight: with half as many expected they take two passes, with twice as many they
	// compute the same.
	let sized = [(8, 8), (4, 4), (16, 8)];
	let mut tried = 0;
	for (subgroup, least) in sized {
		let mut plans = plans(unit, subgroup, least, &limits);
		// What is larger takes its compiler most of a minute.
		plans.retain(|plan| match plan.region {
			(16, 16) => plan.depth == 32 || subgroup == 8,
			(32, 32) => plan.depth == 32 && subgroup == 8,
			_ => false,
		});
		for plan in plans {
			gpu::product::try_plan(&adapter, &plan).unwrap();
			tried += 1;
		}
	}
	assert_eq!(tried, 5);
}

#[test]
fn kernels_for_all_known_units_are_valid() {
	let limits = wgpu::Limits {
		max_compute_workgroup_storage_size: 48 << 10,
		max_compute_invocations_per_workgroup: 1_024,
		max_compute_workgroup_size_x: 1_024,
		..Default::default()
	};
	let dir = tempfile::tempdir().unwrap();
	for (unit, sizes) in KNOWN {
		let found: Vec<Plan> = sizes
			.iter()
			.flat_map(|size| plans(unit, *size, sizes[0], &limits))
			.collect();
		assert!(found.len() >= 5 * sizes.len(), "{unit:?}");
		for plan in found {
			let file = dir.path().join("kernel.spv");
			let words = kernel(&plan).unwrap();
			let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
			std::fs::write(&file, bytes).unwrap();
			let output = with_newer_mesa("spirv-val")
				.args(["--target-env", "vulkan1.3"])
				.arg(&file)
				.output()
				.unwrap();
			let said = String::from_utf8_lossy(&output.stderr);
			assert!(output.status.success(), "{plan}: {said}");
		}
	}
}

#[test]
fn what_a_device_cannot_hold_is_no_plan() {
	let unit = Unit {
		m: 16,
		n: 16,
		k: 32,
	};
	let limits = wgpu::Limits {
		max_compute_workgroup_storage_size: 32 << 10,
		max_compute_invocations_per_workgroup: 128,
		max_compute_workgroup_size_x: 128,
		..Default::default()
	};
	let found = plans(unit, 32, 32, &limits);
	assert!(!found.is_empty());
	for plan in &found {
		let bytes = 2 * plan.half() * plan.element();
		assert!(bytes <= 32 << 10 && plan.invocations() <= 128, "{plan}");
		// Every tile comes out even on the smallest matrices.
		assert_eq!((1_024 % plan.tile().0, 1_024 % plan.tile().1), (0, 0));
	}
	// Of subgroups that may be far smaller, not all have room for their sums.
	assert!(plans(unit, 32, 2, &limits).len() < found.len());
	for odd in [
		Unit { m: 12, ..unit },
		Unit { n: 2, ..unit },
		Unit { k: 4, ..unit },
		Unit {
			m: 128,
			n: 128,
			k: 128,
		},
		Unit { m: 0, n: 0, k: 0 },
	] {
		assert_eq!(plans(odd, 32, 32, &limits), []);
	}
	assert_eq!(plans(unit, 48, 48, &limits), []);
	assert_eq!(plans(unit, 0, 0, &limits), []);
}

#[test]
fn a_device_without_units_is_not_used_where_they_are_asked_for() {
	let of = |adapter: &Adapter| Gpu::open(adapter, &options(Kernels::Tensor)).map(Arc::new);
	for adapter in gpu::adapters(Choice::Software) {
		assert_eq!(of(&adapter).is_ok(), !units(&adapter).is_empty());
	}
}
