//! How much a GPU of a class is given to do.
//!
//! What it is held to comes from the chain's class table, with the request to prove or to check: one
//! reference for everyone in a round. One that was measured with this network's kernel
//! (`kaisar-agent calibrate`) tells the class from the next one; until there is one, a *floor* from the
//! vendor's peaks, or the memory alone, is what every GPU of the class clears by far with any sound
//! kernel. Floors tell one amount of memory from another, and a GPU from an ordinary processor; they do
//! not tell a class from the next better one.

use crate::bench::{
	chain::Shape,
	walk::{LINE, READS, Walk},
};
pub use kaisar_math::classes::GpuClassInfo;
use kaisar_math::{ClassReference, classes};

/// The share of a reference that supports a class, in hundredths.
pub const SHARE: u32 = 85;
/// Seconds that the chain of a calibrated class takes.
const CHAIN_SECS: f64 = 10.0;
/// Milliseconds that the walk takes.
const WALK_MS: u64 = 2_500;
/// What sizes the walk where it is not judged, in MB/s.
const UNJUDGED_MB_S: u32 = 64_000;
/// Below this memory the matrices are smaller, in GB.
const SMALL_MEMORY_GB: u32 = 8;
/// Most steps of a GPU's chain.
pub const MAX_STEPS: usize = 1 << 16;
/// Lanes of the walk, and the legs of each of its stages.
const LANES: usize = 16_384;
const LEGS: usize = 128;

/// How much each GPU of a worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
	/// What it is held to.
	pub reference: ClassReference,
	/// GPUs that are claimed, as far as they are used.
	pub devices: u8,
	/// Its walk, over the whole window.
	pub walk: Walk,
}

/// Operations of one step: a product and a sum for each of n³.
fn operations(n: usize) -> f64 {
	2.0 * (n as f64).powi(3)
}

/// What sizes the walk, in MB/s.
fn walk_mb_s(reference: &ClassReference) -> u64 {
	match reference.walk_mb_s {
		0 => UNJUDGED_MB_S.into(),
		mb_s => mb_s.into(),
	}
}

impl Plan {
	/// All of what GPUs that are held to this must show.
	pub fn full(reference: ClassReference, devices: u8) -> Self {
		let n = if reference.memory_gb < SMALL_MEMORY_GB {
			4_096
		} else {
			8_192
		};
		let memory = u64::from(reference.memory_gb) * 950_000_000;
		// The matrices that are worked on take room of their own.
		let window = ((memory / (n * n) as u64).saturating_sub(4) as usize).max(1);
		let steps = (CHAIN_SECS * f64::from(reference.int8_gops) * 1e9 / operations(n)) as usize;
		let stage = (LANES * LEGS * READS * LINE) as u64;
		let walked = walk_mb_s(&reference) * WALK_MS * 1_000;
		Self {
			reference,
			devices,
			walk: Walk {
				shape: Shape {
					n,
					steps: steps.max(window).min(MAX_STEPS),
				},
				window,
				lanes: LANES,
				stages: (walked / stage).max(1) as usize,
				legs: LEGS,
			},
		}
	}

	/// The same machinery in a few seconds, for development: of `memory_mib` and no more.
	pub fn scaled(
		reference: ClassReference,
		devices: u8,
		n: u32,
		steps: u32,
		memory_mib: u32,
	) -> Self {
		let n = 1usize << n.clamp(1_024, 16_384).ilog2();
		let steps = (steps as usize).clamp(1, MAX_STEPS);
		let window = ((memory_mib as usize) << 20) / (n * n);
		Self {
			reference,
			devices,
			walk: Walk {
				shape: Shape { n, steps },
				window: window.clamp(1, steps),
				lanes: 64,
				stages: 2,
				legs: 8,
			},
		}
	}

	/// Bytes that a GPU needs for the least window that supports the class, and for the matrices that are
	/// worked on.
	pub fn least_memory(&self) -> u64 {
		let n = self.walk.shape.n as u64;
		let window = (self.walk.window as u64 * u64::from(SHARE)).div_ceil(100);
		(window + 4) * n * n
	}

	/// Seconds that the chain may take at the reference's pace.
	pub fn chain_secs(&self) -> f64 {
		let Shape { n, steps } = self.walk.shape;
		operations(n) * steps as f64 / (f64::from(self.reference.int8_gops) * 1e9)
	}

	/// Seconds that the walk may take at the reference's pace.
	pub fn walk_secs(&self) -> f64 {
		self.walk.volume() as f64 / (walk_mb_s(&self.reference) as f64 * 1e6)
	}
}

/// The class that a driver's name for a GPU stands for: what its owner will want to claim, and no
/// evidence of anything.
pub fn by_driver_name(name: &str) -> Option<&'static GpuClassInfo> {
	let plain = |text: &str| {
		text.to_ascii_uppercase()
			.replace(['-', ' '], "_")
			.replace("GEFORCE_", "")
			.replace("QUADRO_", "")
			.replace("TESLA_", "")
			.replace("NVIDIA_", "")
			.replace("GPU_", "")
	};
	let wanted = plain(name);
	let known: &[(&str, u16)] = &[
		("H100_80GB_HBM3", 1),
		("H100_PCIE", 2),
		("A100_80GB_PCIE", 3),
		("A100_PCIE_80GB", 3),
		("A100_SXM4_80GB", 4),
		("RTX_4070_TI_SUPER", 13),
		("H200", 33),
	];
	let by_hand = known.iter().find(|(name, _)| *name == wanted);
	by_hand
		.and_then(|(_, id)| classes::get(*id))
		.or_else(|| {
			let same = |class: &&GpuClassInfo| plain(class.name) == wanted;
			classes::CLASSES.iter().find(same)
		})
		.or_else(|| {
			// `Tesla V100-SXM2-16GB`, `Tesla P100-PCIE-16GB`.
			let first = wanted.split('_').next().unwrap_or_default();
			let same = |class: &&GpuClassInfo| plain(class.name) == first;
			classes::CLASSES.iter().find(same)
		})
}

#[cfg(test)]
mod tests {
	use super::*;

	fn runs(plan: &Plan, what: &str) {
		let memory_gb = plan.reference.memory_gb;
		assert!(plan.walk.is_possible(), "{what}");
		assert!(plan.walk.shape.steps >= plan.walk.window, "{what}");
		let bytes = (plan.walk.window * plan.walk.shape.n * plan.walk.shape.n) as f64;
		let share = bytes / (f64::from(memory_gb) * 1e9);
		assert!((0.85..=0.95).contains(&share), "{what}: {share}");
		let n = if memory_gb < 8 { 4_096 } else { 8_192 };
		assert_eq!(plan.walk.shape.n, n, "{what}");
	}

	#[test]
	fn every_class_has_a_plan_that_can_be_run() {
		for class in &classes::CLASSES {
			let plan = Plan::full(class.floor(), 1);
			runs(&plan, class.name);
			assert!(
				plan.chain_secs() < 180.0 && plan.walk_secs() < 10.0,
				"{}",
				class.name
			);
		}
		runs(
			&Plan::full(ClassReference::LEAST, 1),
			"one of which nothing is known",
		);
	}

	#[test]
	fn whatever_governance_may_set_can_be_run() {
		let most = ClassReference::MOST;
		for int8_gops in [1, 100_000, most.int8_gops] {
			for walk_mb_s in [0, 1, 800_000, most.walk_mb_s] {
				for memory_gb in [1, 7, 8, 80, most.memory_gb] {
					let reference = ClassReference {
						int8_gops,
						walk_mb_s,
						memory_gb,
						calibrated: false,
					};
					assert!(reference.is_valid());
					let plan = Plan::full(reference, 16);
					assert!(plan.walk.is_possible(), "{reference:?}");
					assert!(plan.walk.shape.steps <= MAX_STEPS, "{reference:?}");
				}
			}
		}
	}

	#[test]
	fn a_calibrated_class_runs_for_as_long_as_it_is_meant_to() {
		let measured = ClassReference {
			int8_gops: 98_765,
			walk_mb_s: 812_345,
			memory_gb: 24,
			calibrated: true,
		};
		let plan = Plan::full(measured, 1);
		runs(&plan, "measured");
		assert!((9.9..10.1).contains(&plan.chain_secs()), "{plan:?}");
		assert!((2.3..2.6).contains(&plan.walk_secs()), "{plan:?}");
	}

	#[test]
	fn a_scaled_plan_stays_in_its_memory() {
		let scaled = |n, steps, mib| Plan::scaled(ClassReference::LEAST, 2, n, steps, mib);
		let plan = scaled(1_024, 4, 3);
		assert_eq!(
			(plan.walk.window, plan.walk.shape.n, plan.devices),
			(3, 1_024, 2)
		);
		let plan = scaled(64, 4, 64);
		assert_eq!((plan.walk.window, plan.walk.shape.n), (4, 1_024));
		assert!(plan.walk.is_possible());
		assert_eq!(scaled(5_000, 4, 1).walk.shape.n, 4_096);
		assert_eq!(scaled(5_000, 4, 1).walk.window, 1);
	}

	#[test]
	fn drivers_names_are_understood() {
		for (name, class) in [
			("NVIDIA GeForce RTX 4090", 11),
			("NVIDIA GeForce RTX 3060 Ti", 19),
			("NVIDIA GeForce RTX 3060", 30),
			("NVIDIA H100 80GB HBM3", 1),
			("NVIDIA H100 PCIe", 2),
			("NVIDIA H200", 33),
			("NVIDIA A100-SXM4-80GB", 4),
			("NVIDIA A100 80GB PCIe", 3),
			("NVIDIA A10", 10),
			("NVIDIA A40", 9),
			("Tesla T4", 20),
			("Tesla V100-SXM2-16GB", 25),
			("NVIDIA RTX A6000", 5),
			("Quadro RTX A6000", 5),
			("NVIDIA GeForce GTX 1080 Ti", 26),
			("NVIDIA GeForce RTX 4070 Ti SUPER", 13),
		] {
			assert_eq!(
				by_driver_name(name).map(|class| class.id),
				Some(class),
				"{name}"
			);
		}
		for name in [
			"llvmpipe (LLVM 15.0.6, 256 bits)",
			"",
			"AMD Radeon RX 7900 XTX",
		] {
			assert!(by_driver_name(name).is_none(), "{name}");
		}
	}
}
