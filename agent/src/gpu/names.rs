//! Classes by the names that drivers give GPUs.

use kaisar_math::classes::{self, GpuClassInfo};

/// Returns the class that matches a driver's name for a GPU, to suggest a claim. It is not evidence.
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
