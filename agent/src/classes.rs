//! What a GPU of a class must do, and how much it is given to do.
//!
//! A class that was calibrated with this kernel ([`CALIBRATED`]) is held to 0.85 of its figures. None is
//! yet: until then the vendor's peaks, or the memory alone, give *floors* that every GPU of the class
//! clears by far with any sound kernel. They tell one amount of memory from another, and a GPU from an
//! ordinary processor; they do not tell a class from the next better one.

use crate::{
	chain::Shape,
	walk::{LINE, READS, Walk},
};
use kaisar_math::classes::{self, GpuClassInfo};

/// The share of a reference that supports a class, in hundredths.
pub const SHARE: u32 = 85;
/// Seconds that the chain of a calibrated class takes.
const CHAIN_SECS: f64 = 10.0;
/// Tenths of a second that the walk takes.
const WALK_TENTHS: u64 = 25;
/// Of a vendor's peak, the part that is a floor: a 64th of the tensor cores' products, which the
/// portable kernel does not use, and a quarter of the memory's bandwidth.
const FLOOR_OF_PRODUCTS: u64 = 64;
const FLOOR_OF_BANDWIDTH: u32 = 4;
/// The floor of throughput where no figures are known, in Gop/s, and that of GPUs that cannot multiply
/// packed bytes.
const LEAST_GOPS: u64 = 5_000;
const LEAST_GOPS_UNPACKED: u64 = 1_500;
/// The floor of bandwidth where no figures are known, in GB/s: no more than sizes the walk.
const LEAST_GBPS: u32 = 64;
/// Memory of a class of which nothing is known, in GB.
const LEAST_MEMORY_GB: u32 = 4;
/// Below this memory the matrices are smaller, in GB.
const SMALL_MEMORY_GB: u32 = 8;
/// Most steps of a GPU's chain.
pub const MAX_STEPS: usize = 1 << 16;
/// Lanes of the walk, and the legs of each of its stages.
const LANES: usize = 16_384;
const LEGS: usize = 128;

/// Figures that a class is held to, of one GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reference {
	/// Products and sums of the chain, 10⁹ a second.
	pub gops: u64,
	/// What the walk reads, 10⁹ bytes a second; 0 where it is not judged.
	pub gbps: u32,
	/// Memory, in GB of 10⁹ bytes.
	pub memory_gb: u32,
	/// Measured with this kernel; else a floor.
	pub calibrated: bool,
}

/// Figures that were measured with this kernel (`kaisar-agent calibrate`), by class.
pub const CALIBRATED: &[(u16, Reference)] = &[];

/// The least memory with which the classes are sold whose peaks are not in the table, in GB.
const MEMORY: [(u16, u32); 17] = [
	(6, 48),
	(7, 24),
	(8, 16),
	(13, 16),
	(14, 12),
	(15, 8),
	(19, 8),
	(21, 8),
	(22, 24),
	(24, 8),
	(26, 11),
	(27, 11),
	(28, 6),
	(29, 4),
	(30, 8),
	(31, 12),
	(32, 24),
];

/// What a class is held to. A class that governance added after this agent was built is held to the
/// least.
pub fn reference(class: u16) -> Reference {
	if let Some((_, reference)) = CALIBRATED.iter().find(|(id, _)| *id == class) {
		return *reference;
	}
	let memory_gb = MEMORY
		.iter()
		.find(|(id, _)| *id == class)
		.map_or(LEAST_MEMORY_GB, |(_, memory)| *memory);
	match classes::get(class).and_then(|class| class.peak) {
		Some(peak) => Reference {
			gops: match peak.int8_tops {
				0 => LEAST_GOPS_UNPACKED,
				tops => (u64::from(tops) * 1_000 / FLOOR_OF_PRODUCTS).max(LEAST_GOPS),
			},
			gbps: peak.memory_gbps / FLOOR_OF_BANDWIDTH,
			memory_gb: peak.memory_gb,
			calibrated: false,
		},
		None => Reference {
			gops: LEAST_GOPS,
			gbps: 0,
			memory_gb,
			calibrated: false,
		},
	}
}

/// How much each GPU of a worker does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
	/// What it is held to.
	pub reference: Reference,
	/// GPUs that are claimed, as far as they are used.
	pub devices: u8,
	/// Its walk, over the whole window.
	pub walk: Walk,
}

/// Operations of one step: a product and a sum for each of n³.
fn operations(n: usize) -> f64 {
	2.0 * (n as f64).powi(3)
}

impl Plan {
	/// All of what a class must show.
	pub fn full(class: u16, devices: u8) -> Self {
		Self::of(reference(class), devices)
	}

	/// All of what a GPU with such figures must show.
	pub fn of(reference: Reference, devices: u8) -> Self {
		let n = if reference.memory_gb < SMALL_MEMORY_GB {
			4_096
		} else {
			8_192
		};
		let memory = u64::from(reference.memory_gb) * 950_000_000;
		// The matrices that are worked on take room of their own.
		let window = ((memory / (n * n) as u64).saturating_sub(4) as usize).max(1);
		let steps = (CHAIN_SECS * reference.gops as f64 * 1e9 / operations(n)) as usize;
		let stage = (LANES * LEGS * READS * LINE) as u64;
		let gbps = u64::from(reference.gbps.max(LEAST_GBPS));
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
				stages: (gbps * WALK_TENTHS * 100_000_000 / stage).max(1) as usize,
				legs: LEGS,
			},
		}
	}

	/// The same machinery in a few seconds, for development: of `memory_mib` and no more.
	pub fn scaled(class: u16, devices: u8, n: u32, steps: u32, memory_mib: u32) -> Self {
		let n = 1usize << n.clamp(1_024, 16_384).ilog2();
		let steps = (steps as usize).clamp(1, MAX_STEPS);
		let window = ((memory_mib as usize) << 20) / (n * n);
		Self {
			reference: reference(class),
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

	/// Seconds that the chain may take at the reference's pace.
	pub fn chain_secs(&self) -> f64 {
		let Shape { n, steps } = self.walk.shape;
		operations(n) * steps as f64 / (self.reference.gops as f64 * 1e9)
	}

	/// Seconds that the walk may take at the reference's pace.
	pub fn walk_secs(&self) -> f64 {
		let gbps = self.reference.gbps.max(LEAST_GBPS);
		self.walk.volume() as f64 / (f64::from(gbps) * 1e9)
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

	#[test]
	fn every_class_has_a_plan_that_can_be_run() {
		for class in &classes::CLASSES {
			let plan = Plan::full(class.id, 1);
			assert!(plan.walk.is_possible(), "{}", class.name);
			assert!(plan.walk.shape.steps >= plan.walk.window, "{}", class.name);
			let bytes = (plan.walk.window * plan.walk.shape.n * plan.walk.shape.n) as f64;
			let share = bytes / (f64::from(plan.reference.memory_gb) * 1e9);
			assert!((0.85..=0.95).contains(&share), "{}: {share}", class.name);
			assert!(
				plan.chain_secs() < 180.0 && plan.walk_secs() < 10.0,
				"{}",
				class.name
			);
			assert_eq!(
				plan.walk.shape.n,
				if plan.reference.memory_gb < 8 {
					4_096
				} else {
					8_192
				}
			);
		}
		assert!(
			Plan::full(9_999, 1).walk.is_possible(),
			"one that was added later"
		);
	}

	#[test]
	fn a_calibrated_class_runs_for_ten_seconds() {
		for (class, reference) in CALIBRATED {
			assert!(reference.calibrated);
			let plan = Plan::full(*class, 1);
			assert!((9.0..30.0).contains(&plan.chain_secs()));
		}
	}

	#[test]
	fn a_floor_is_below_what_the_vendor_names() {
		for class in &classes::CLASSES {
			let reference = reference(class.id);
			if let (Some(peak), false) = (class.peak, reference.calibrated) {
				assert!(reference.gops <= u64::from(peak.int8_tops) * 1_000 / 16 + LEAST_GOPS);
				assert!(reference.gbps * 2 < peak.memory_gbps);
				assert_eq!(reference.memory_gb, peak.memory_gb);
			}
		}
	}

	#[test]
	fn a_scaled_plan_stays_in_its_memory() {
		let plan = Plan::scaled(11, 2, 1_024, 4, 3);
		assert_eq!(
			(plan.walk.window, plan.walk.shape.n, plan.devices),
			(3, 1_024, 2)
		);
		let plan = Plan::scaled(11, 1, 64, 4, 64);
		assert_eq!((plan.walk.window, plan.walk.shape.n), (4, 1_024));
		assert!(plan.walk.is_possible());
		assert_eq!(Plan::scaled(11, 1, 5_000, 4, 1).walk.shape.n, 4_096);
		assert_eq!(Plan::scaled(11, 1, 5_000, 4, 1).walk.window, 1);
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
