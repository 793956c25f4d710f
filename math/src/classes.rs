//! The GPU classes: the table that a genesis starts with.
//!
//! Ids never change their meaning; governance appends. 0 is "no GPU" and has no entry.

/// A vendor's dense peak figures of one GPU, to size the benchmark and to seed its references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peak {
	/// Memory in GB.
	pub memory_gb: u32,
	/// Int8 operations, 10¹² a second, of the tensor cores (DP4A for the V100); 0 where there are none.
	pub int8_tops: u32,
	/// Memory bandwidth in GB/s.
	pub memory_gbps: u32,
}

/// A GPU class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GpuClassInfo {
	/// Its id.
	pub id: u16,
	/// Its name.
	pub name: &'static str,
	/// The score of one GPU, in hundredths.
	pub score: u32,
	/// Its peak figures; without them a class is checked for memory and a floor of throughput only.
	pub peak: Option<Peak>,
}

const fn class(id: u16, name: &'static str, score: u32) -> GpuClassInfo {
	GpuClassInfo {
		id,
		name,
		score,
		peak: None,
	}
}

const fn known(
	id: u16,
	name: &'static str,
	score: u32,
	memory_gb: u32,
	int8_tops: u32,
	memory_gbps: u32,
) -> GpuClassInfo {
	GpuClassInfo {
		id,
		name,
		score,
		peak: Some(Peak {
			memory_gb,
			int8_tops,
			memory_gbps,
		}),
	}
}

/// All classes, by id from 1 up without a gap.
pub const CLASSES: [GpuClassInfo; 33] = [
	known(1, "GPU_H100_80GB_SXM", 1_000, 80, 1_979, 3_350),
	known(2, "GPU_H100_80GB_PCIE", 1_000, 80, 1_513, 2_000),
	known(3, "GPU_A100_80GB_PCIE", 500, 80, 624, 1_935),
	known(4, "GPU_A100_80GB_NVLINK", 500, 80, 624, 2_039),
	known(5, "GPU_RTX_A6000", 150, 48, 310, 768),
	class(6, "GPU_RTX_A8000", 100),
	class(7, "GPU_RTX_A5000", 75),
	class(8, "GPU_RTX_A4000", 40),
	known(9, "GPU_A40", 200, 48, 299, 696),
	known(10, "GPU_A10", 75, 24, 250, 600),
	known(11, "GPU_RTX_4090", 75, 24, 661, 1_008),
	known(12, "GPU_RTX_4080", 50, 16, 390, 717),
	class(13, "GPU_RTX_4070S_TI", 25),
	class(14, "GPU_RTX_4070", 25),
	class(15, "GPU_RTX_4060_TI", 25),
	known(16, "GPU_RTX_3090", 50, 24, 284, 936),
	known(17, "GPU_RTX_3080", 25, 10, 238, 760),
	known(18, "GPU_RTX_3070", 25, 8, 163, 448),
	class(19, "GPU_RTX_3060_TI", 25),
	known(20, "GPU_NVIDIA_TESLA_T4", 40, 16, 130, 320),
	class(21, "GPU_NVIDIA_TESLA_P4", 25),
	class(22, "GPU_NVIDIA_TESLA_P40", 25),
	known(23, "GPU_NVIDIA_TESLA_P100", 25, 16, 0, 732),
	class(24, "GPU_GTX_1080", 25),
	known(25, "GPU_NVIDIA_TESLA_V100", 75, 16, 63, 900),
	class(26, "GPU_GTX_1080_TI", 25),
	class(27, "GPU_RTX_2080_TI", 25),
	class(28, "GPU_RTX_3050", 25),
	class(29, "GPU_RTX_3050_TI", 25),
	class(30, "GPU_RTX_3060", 25),
	class(31, "GPU_RTX_3080_TI", 40),
	class(32, "GPU_RTX_3090_TI", 75),
	known(33, "GPU_H200_141GB_SXM", 1_000, 141, 1_979, 4_800),
];

/// The entry of a class; `None` for 0 and for ids that are not in the table.
///
/// ```
/// use kaisar_math::classes::get;
/// assert_eq!(get(11).unwrap().name, "GPU_RTX_4090");
/// assert!(get(0).is_none() && get(34).is_none());
/// ```
pub fn get(id: u16) -> Option<&'static GpuClassInfo> {
	CLASSES.get(usize::from(id).checked_sub(1)?)
}

/// The score of one GPU of a class, in hundredths. 0 for no GPU, `None` for an unknown class.
pub fn score(id: u16) -> Option<u32> {
	if id == 0 {
		Some(0)
	} else {
		get(id).map(|class| class.score)
	}
}

/// The class of that name.
pub fn by_name(name: &str) -> Option<&'static GpuClassInfo> {
	CLASSES.iter().find(|class| class.name == name)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn ids_are_dense_and_names_unique() {
		for (i, class) in CLASSES.iter().enumerate() {
			assert_eq!(usize::from(class.id), i + 1);
			assert_eq!(get(class.id), Some(class));
			assert_eq!(by_name(class.name), Some(class));
			assert!((25..=1_000).contains(&class.score));
		}
		assert_eq!(score(0), Some(0));
		assert_eq!(score(33), Some(1_000));
		assert_eq!(score(34), None);
		assert_eq!(by_name("GPU_RTX_9999"), None);
	}
}
