//! Tensor kernels on Mesa's software Vulkan, which has units of 8 × 8 × 8 from Mesa 26.1 on. If the
//! machine's Mesa is older, these tests rerun themselves with the one that `scripts/mesa.sh` installs beside
//! it.

use super::{kernel::place, *};
use crate::{
	gpu::{
		Choice, Gpu, Kernels,
		vulkan::{Vulkan, adapters, product},
	},
	trial::{
		device::{Device, DeviceError, Processor, Rated, Spans},
		hash::{Running, key},
		matrix::Size,
	},
};
use std::{
	path::PathBuf,
	process::{Command, Stdio},
};

/// Known units and their subgroup sizes: Mesa's software, NVIDIA, AMD and Intel.
const KNOWN: [(Unit, u32); 8] = [
	(unit(8, 8, 8), 8),
	(unit(16, 16, 32), 32),
	(unit(16, 8, 32), 32),
	(unit(16, 16, 16), 32),
	(unit(16, 16, 16), 64),
	(unit(8, 16, 32), 16),
	(unit(8, 16, 32), 32),
	(unit(8, 8, 32), 32),
];

const fn unit(m: u32, n: u32, k: u32) -> Unit {
	Unit { m, n, k }
}

/// Makes a command that runs with Mesa's newer driver and its libraries.
pub fn with_newer_mesa(program: impl AsRef<std::ffi::OsStr>) -> Command {
	let run = std::env::var_os("KAISAR_MESA")
		.map(PathBuf::from)
		.or_else(|| {
			let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
			let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
			cache
				.or_else(home)
				.map(|cache| cache.join("kaisar/mesa-26.1"))
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

/// Finds software Vulkan, whatever else the machine has.
fn software() -> Vec<Adapter> {
	let mut found = adapters(Choice::Software);
	found.retain(|adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu);
	found
}

/// Returns a software adapter with matrix units; `None` if the test ran in another process.
fn adapter(test: &str) -> Option<Adapter> {
	let mut found = software();
	found.retain(|adapter| !units(adapter).0.is_empty());
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

fn opened(adapter: &Adapter, kernels: Kernels) -> Result<Gpu<Vulkan>, DeviceError> {
	let source = Vulkan::new(adapter.clone(), &Choice::Software.into());
	Gpu::open(source, kernels)
}

/// Other GPUs that change the running hash in each span.
struct Bound;

impl Spans for Bound {
	fn bind(&mut self, turn: u32, running: Running) -> Option<Running> {
		let state = key("test", &[running.state()]);
		Some(Running::at(state, turn.into()))
	}
}

#[test]
fn fill_and_turns_are_those_of_the_reference() {
	let Some(adapter) = adapter("fill_and_turns_are_those_of_the_reference") else {
		return;
	};
	let gpu = opened(&adapter, Kernels::Tensor).unwrap();
	let kernels = gpu.kernels();
	assert!(
		kernels[0].kernel.starts_with("tensor, 8×8×8"),
		"{kernels:?}"
	);
	let size = Size {
		n: 1_024,
		window: 2,
		turns: 2,
	};
	let there = gpu.fill([3; 32], size.n, size.window, &|| true).unwrap();
	let here = Processor
		.fill([3; 32], size.n, size.window, &|| true)
		.unwrap();
	assert_eq!(here.roots(), there.roots());
	// The device derives κ of each turn and walk itself.
	let running = Running::over(&[&[4; 32]]);
	let expected = here.run([5; 32], size, running, &mut Bound);
	assert_eq!(there.run([5; 32], size, running, &mut Bound), expected);
	// An agent would not choose it on software.
	let gpu = opened(&adapter, Kernels::Fastest).unwrap();
	assert!(gpu.kernels()[0].kernel.starts_with("portable"));
}

#[test]
fn plans_of_several_sizes_are_right() {
	let Some(adapter) = adapter("plans_of_several_sizes_are_right") else {
		return;
	};
	let mut plans = plans_of(&adapter);
	assert!(plans.iter().any(|plan| plan.tile() == (64, 64)));
	// Larger plans take the compiler most of a minute.
	plans.retain(|plan| plan.region == (16, 16) || plan.depth == 32);
	assert_eq!(plans.len(), 3);
	for plan in plans {
		product::try_plan(&adapter, &plan).unwrap();
	}
}

#[test]
fn plans_for_the_units_of_gpus_are_right() {
	let Some(adapter) = adapter("plans_for_the_units_of_gpus_are_right") else {
		return;
	};
	// Mesa's software accepts units that are multiples of its own, as in `VK_NV_cooperative_matrix2`. So
	// kernels for GPUs run, except for the size of their subgroups.
	for unit in [
		unit(16, 16, 32),
		unit(16, 8, 32),
		unit(16, 16, 16),
		unit(8, 16, 32),
	] {
		let mut plans = plans(unit, 8, &adapter.limits());
		plans.retain(|plan| plan.region == (16, 16));
		assert_eq!(plans.len(), 2, "{unit:?}");
		for plan in plans {
			product::try_plan(&adapter, &plan).unwrap();
		}
	}
}

#[test]
fn what_is_right_and_fastest_is_used_and_remembered() {
	let Some(adapter) = adapter("what_is_right_and_fastest_is_used_and_remembered") else {
		return;
	};
	let plan = plans_of(&adapter).pop();
	// A plan for other hardware: its kernel cannot compute this product here.
	let wrong = plan.map(|plan| Plan {
		subgroup: 2 * plan.subgroup,
		..plan
	});
	let dir = tempfile::tempdir().unwrap();
	let files = || -> Vec<PathBuf> {
		let files = std::fs::read_dir(dir.path()).unwrap();
		files.map(|file| file.unwrap().path()).collect()
	};
	let open = |recipes: &[_]| {
		let memory = Some(dir.path());
		product::on_units(&adapter, recipes, 512, memory).map(|chosen| chosen.rated)
	};
	let found = open(&[None, wrong, plan]).unwrap();
	let gops = |at: usize| found[at].gops.unwrap();
	assert_eq!(found.len(), 2, "{found:?}");
	assert!(gops(0) >= gops(1) && gops(1) > 0.0);
	// The attempt is over; the choice is recorded and reused.
	let [kept] = &files()[..] else {
		panic!("{:?}", files());
	};
	// Whole numbers: fractions may lose their last bit in text.
	let others = found.iter().rev().zip([2.0, 1.0]);
	let others: Vec<Rated> = others
		.map(|(rated, gops)| Rated {
			kernel: rated.kernel.clone(),
			gops: Some(gops),
		})
		.collect();
	std::fs::write(kept, serde_json::to_vec(&others).unwrap()).unwrap();
	assert_eq!(open(&[None, wrong, plan]), Ok(others));
	// A recorded kernel that is wrong now is forgotten.
	let name = format!("tensor, {}", wrong.unwrap());
	std::fs::write(kept, format!("[{{\"kernel\":\"{name}\",\"gops\":1.0}}]")).unwrap();
	assert_eq!(open(&[None, wrong, plan]).unwrap().len(), 2);
	// If no kernel is correct none is used, and only the other choice remains on record.
	assert!(open(&[wrong, wrong]).is_err());
	assert_eq!(files(), std::slice::from_ref(kept));
}

#[test]
fn what_is_moved_at_once_lies_in_different_banks() {
	for (unit, subgroup) in KNOWN {
		for plan in plans(unit, subgroup, &roomy()) {
			let columns = plan.depth / plan.element();
			let rows = plan.tile().0;
			let places: Vec<_> = (0..rows * columns).map(|at| place(at, columns)).collect();
			let mut all = places.clone();
			all.sort_unstable();
			all.dedup();
			assert_eq!(all.len() as u32, rows * columns, "{plan}: each once");
			assert!(
				all.iter()
					.all(|(row, column)| *row < rows && *column < columns)
			);
			// Shared memory has 128 bytes of banks; eight invocations store 16 bytes each at once.
			let at_once = 128 / plan.element();
			for eight in places.chunks_exact(at_once as usize) {
				let bank = |(row, column): &(u32, u32)| {
					(row * (plan.depth + PADDING) + column * plan.element()) % 128
				};
				let mut banks: Vec<u32> = eight.iter().map(bank).collect();
				banks.sort_unstable();
				banks.dedup();
				assert_eq!(banks.len() as u32, at_once, "{plan}: {eight:?}");
			}
		}
	}
}

/// The limits of a large GPU.
fn roomy() -> wgpu::Limits {
	wgpu::Limits {
		max_compute_workgroup_storage_size: 48 << 10,
		max_compute_invocations_per_workgroup: 1_024,
		max_compute_workgroup_size_x: 1_024,
		..Default::default()
	}
}

#[test]
fn kernels_for_all_known_units_are_valid() {
	let dir = tempfile::tempdir().unwrap();
	for (unit, subgroup) in KNOWN {
		let found = plans(unit, subgroup, &roomy());
		assert!(found.len() >= 3, "{unit:?}");
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
	let found = plans(unit, 32, &limits);
	assert!(!found.is_empty());
	for plan in &found {
		let bytes = 2 * plan.half() * plan.element();
		assert!(bytes <= 32 << 10 && plan.invocations() <= 128, "{plan}");
		// Tiles divide even the smallest matrices.
		assert_eq!((1_024 % plan.tile().0, 1_024 % plan.tile().1), (0, 0));
	}
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
		Unit {
			m: 1 << 31,
			n: 1 << 31,
			k: 1 << 31,
		},
	] {
		assert_eq!(plans(odd, 32, &limits), []);
	}
	for subgroup in [0, 48, 1 << 31] {
		assert_eq!(plans(unit, subgroup, &limits), []);
	}
}

#[test]
fn a_device_without_units_is_not_used_where_they_are_asked_for() {
	let adapters = software();
	assert!(!adapters.is_empty());
	for adapter in adapters {
		let is_used = opened(&adapter, Kernels::Tensor).is_ok();
		assert_eq!(is_used, !units(&adapter).0.is_empty());
	}
}
