//! The GPU classes: the table with which a genesis starts.
//!
//! An id never changes its meaning; governance appends new ones. 0 is "no GPU" and has no entry.
//!
//! Sources: ids, names and published scores are the network's own; memory is the least with which a class is
//! sold; peaks are the dense ones of the vendors' data sheets, as `docs/spec/09-tables.md` lists them. Those
//! of the A8000, A5000, A4000, RTX 4070 Ti SUPER, 3090 Ti and 3080 Ti still have to be checked against the
//! sheets.

use crate::separation::{self, TURN_OPS};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// The figures to which one GPU of a class is held: it proves the class if it reaches a fixed share of each.
/// State of the chain, changeable by governance.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	Debug,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
	Serialize,
	Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassReference {
	/// Turns of the GPU trial in 10 s.
	pub trial_turns: u32,
	/// Memory, in GB of 10⁹ bytes.
	pub memory_gb: u32,
	/// Whether both were measured with the network's own kernels on a GPU known to be of the class
	/// (`kaisar-agent calibrate`). Otherwise the turns are those of 4 Top/s, which every GPU exceeds by far,
	/// and the class earns nothing.
	pub calibrated: bool,
}

impl ClassReference {
	/// The highest values, about a hundred times today's hardware. An agent sizes its work by a reference.
	pub const MOST: Self = Self {
		trial_turns: 1 << 20,
		memory_gb: 4_096,
		calibrated: true,
	};

	/// The reference of a class about which nothing is known.
	pub const LEAST: Self = Self {
		trial_turns: UNCALIBRATED_TURNS,
		memory_gb: 4,
		calibrated: false,
	};

	/// Returns whether an agent can size its work by the reference.
	pub fn is_valid(&self) -> bool {
		(1..=Self::MOST.trial_turns).contains(&self.trial_turns)
			&& (1..=Self::MOST.memory_gb).contains(&self.memory_gb)
	}
}

/// Turns of the GPU trial in 10 s at 4 Top/s.
const UNCALIBRATED_TURNS: u32 = (10 * 4_000_000_000_000 / TURN_OPS) as u32;

/// The percentages of a vendor's peaks that the network's kernels are planned to reach.
const PLANNED_PRODUCTS: u32 = 60;
const PLANNED_BANDWIDTH: u32 = 85;

/// A vendor's dense peak figures for one GPU, to size trials and to plan references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peak {
	/// Int8 operations of the tensor cores, 10¹² a second (of DP4A for the V100); 0 for a GPU without
	/// either.
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
	/// The published score of one GPU, in hundredths.
	pub published: u32,
	/// The score that a genesis pays, in hundredths: the published one, or that of the weakest class whose
	/// GPU passes for this one ([`crate::separation`]).
	pub score: u32,
	/// The least memory with which the class is sold, in GB.
	pub memory_gb: u32,
	/// The vendor's peak figures, where they are known.
	pub peak: Option<Peak>,
	/// Turns of the GPU trial in 10 s, once the class is calibrated.
	pub measured: Option<u32>,
}

impl GpuClassInfo {
	/// Returns the reference of an uncalibrated class: its memory, and the turns of 4 Top/s.
	pub fn floor(&self) -> ClassReference {
		ClassReference {
			memory_gb: self.memory_gb,
			..ClassReference::LEAST
		}
	}

	/// Returns the measured reference; `None` until the class is calibrated.
	pub fn calibrated(&self) -> Option<ClassReference> {
		self.measured.map(|turns| self.with_turns(turns))
	}

	/// Returns the reference with which a genesis starts: the measured one, or the floor.
	pub fn reference(&self) -> ClassReference {
		self.calibrated().unwrap_or_else(|| self.floor())
	}

	/// Returns the reference that a calibration is expected to find: the pace at 60 % of the int8 peak and
	/// 85 % of the memory's. `None` without both figures.
	pub fn planned(&self) -> Option<ClassReference> {
		let Peak {
			int8_tops,
			memory_gbps,
		} = self.peak?;
		let turns = separation::turns(
			int8_tops * 10 * PLANNED_PRODUCTS,
			memory_gbps * 10 * PLANNED_BANDWIDTH,
		)?;
		Some(self.with_turns(turns))
	}

	fn with_turns(&self, trial_turns: u32) -> ClassReference {
		ClassReference {
			trial_turns,
			memory_gb: self.memory_gb,
			calibrated: true,
		}
	}

	/// Returns the class with a score below the published one.
	const fn pays(self, score: u32) -> Self {
		Self { score, ..self }
	}
}

const fn class(id: u16, name: &'static str, published: u32, memory_gb: u32) -> GpuClassInfo {
	GpuClassInfo {
		id,
		name,
		published,
		score: published,
		memory_gb,
		peak: None,
		measured: None,
	}
}

const fn known(
	id: u16,
	name: &'static str,
	published: u32,
	memory_gb: u32,
	int8_tops: u32,
	memory_gbps: u32,
) -> GpuClassInfo {
	let peak = Some(Peak {
		int8_tops,
		memory_gbps,
	});
	GpuClassInfo {
		peak,
		..class(id, name, published, memory_gb)
	}
}

/// All classes, by id from 1 on without gaps.
pub const CLASSES: [GpuClassInfo; 33] = [
	known(1, "GPU_H100_80GB_SXM", 1_000, 80, 1_979, 3_350),
	known(2, "GPU_H100_80GB_PCIE", 1_000, 80, 1_513, 2_000),
	known(3, "GPU_A100_80GB_PCIE", 500, 80, 624, 1_935),
	known(4, "GPU_A100_80GB_NVLINK", 500, 80, 624, 2_039),
	known(5, "GPU_RTX_A6000", 150, 48, 310, 768).pays(100),
	known(6, "GPU_RTX_A8000", 100, 48, 261, 672),
	known(7, "GPU_RTX_A5000", 75, 24, 222, 768).pays(50),
	known(8, "GPU_RTX_A4000", 40, 16, 153, 448).pays(25),
	known(9, "GPU_A40", 200, 48, 299, 696).pays(100),
	known(10, "GPU_A10", 75, 24, 250, 600).pays(50),
	known(11, "GPU_RTX_4090", 75, 24, 661, 1_008),
	known(12, "GPU_RTX_4080", 50, 16, 390, 717).pays(25),
	known(13, "GPU_RTX_4070S_TI", 25, 16, 353, 672),
	class(14, "GPU_RTX_4070", 25, 12),
	class(15, "GPU_RTX_4060_TI", 25, 8),
	known(16, "GPU_RTX_3090", 50, 24, 284, 936),
	known(17, "GPU_RTX_3080", 25, 10, 238, 760),
	known(18, "GPU_RTX_3070", 25, 8, 163, 448),
	class(19, "GPU_RTX_3060_TI", 25, 8),
	known(20, "GPU_NVIDIA_TESLA_T4", 40, 16, 130, 320).pays(25),
	class(21, "GPU_NVIDIA_TESLA_P4", 25, 8),
	class(22, "GPU_NVIDIA_TESLA_P40", 25, 24),
	known(23, "GPU_NVIDIA_TESLA_P100", 25, 16, 0, 732),
	class(24, "GPU_GTX_1080", 25, 8),
	known(25, "GPU_NVIDIA_TESLA_V100", 75, 16, 63, 900).pays(25),
	class(26, "GPU_GTX_1080_TI", 25, 11),
	class(27, "GPU_RTX_2080_TI", 25, 11),
	class(28, "GPU_RTX_3050", 25, 6),
	class(29, "GPU_RTX_3050_TI", 25, 4),
	class(30, "GPU_RTX_3060", 25, 8),
	known(31, "GPU_RTX_3080_TI", 40, 12, 273, 912).pays(25),
	known(32, "GPU_RTX_3090_TI", 75, 24, 320, 1_008).pays(50),
	known(33, "GPU_H200_141GB_SXM", 1_000, 141, 1_979, 4_800),
];

/// Returns the entry of a class; `None` for 0 and for ids that are not in the table.
///
/// ```
/// use kaisar_math::classes::get;
/// assert_eq!(get(11).unwrap().name, "GPU_RTX_4090");
/// assert!(get(0).is_none() && get(34).is_none());
/// ```
pub fn get(id: u16) -> Option<&'static GpuClassInfo> {
	CLASSES.get(usize::from(id).checked_sub(1)?)
}

/// Returns the score that a genesis pays for one GPU of a class, in hundredths: 0 for class 0, `None` for an
/// unknown class.
pub fn score(id: u16) -> Option<u32> {
	if id == 0 {
		Some(0)
	} else {
		get(id).map(|class| class.score)
	}
}

/// Returns the class with a name.
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
			assert!((25..=1_000).contains(&class.published));
		}
		assert_eq!(score(0), Some(0));
		assert_eq!(score(33), Some(1_000));
		assert_eq!(score(34), None);
		assert_eq!(by_name("GPU_RTX_9999"), None);
	}

	#[test]
	fn a_floor_is_below_every_planned_pace() {
		for class in &CLASSES {
			let floor = class.floor();
			assert!(floor.is_valid() && !floor.calibrated, "{}", class.name);
			assert_eq!(floor.memory_gb, class.memory_gb);
			if let Some(planned) = class.planned() {
				assert!(planned.is_valid() && planned.calibrated, "{}", class.name);
				assert!(
					floor.trial_turns * 8 < planned.trial_turns,
					"{}",
					class.name
				);
			}
		}
		assert_eq!(ClassReference::LEAST.trial_turns, 36);
		assert_eq!(get(33).unwrap().planned().unwrap().trial_turns, 7_644);
		assert_eq!(
			get(23).unwrap().planned(),
			None,
			"a P100 has no int8 figure"
		);
	}

	#[test]
	fn a_class_is_calibrated_once_its_turns_are_measured() {
		let class = *get(11).unwrap();
		let measured = GpuClassInfo {
			measured: Some(2_000),
			..class
		};
		let expected = ClassReference {
			trial_turns: 2_000,
			memory_gb: 24,
			calibrated: true,
		};
		assert_eq!(measured.calibrated(), Some(expected));
		assert_eq!(measured.reference(), expected);
		let unmeasured = GpuClassInfo {
			measured: None,
			..class
		};
		assert_eq!(unmeasured.calibrated(), None);
		assert_eq!(unmeasured.reference(), class.floor());
	}

	#[test]
	fn boundary_of_a_reference() {
		let (most, least) = (ClassReference::MOST, ClassReference::LEAST);
		assert!(most.is_valid() && least.is_valid());
		type Change = fn(&mut ClassReference);
		let bad: [Change; 4] = [
			|it| it.trial_turns += 1,
			|it| it.memory_gb += 1,
			|it| it.trial_turns = 0,
			|it| it.memory_gb = 0,
		];
		for (at, change) in bad.into_iter().enumerate() {
			let mut changed = most;
			change(&mut changed);
			assert!(!changed.is_valid(), "{at}");
		}
	}
}
