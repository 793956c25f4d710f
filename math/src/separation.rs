//! Separation and copies: whether a cheaper GPU passes for a class, and as how many weaker GPUs a stronger
//! one can pass.
//!
//! Both compare the figures that the GPU trial measures: the memory that it fills, and the *pace*, the turns
//! that a GPU makes in 10 s. A turn is eight products of matrices of n = 4,096 and eight walks through
//! memory ([`turns`]). A GPU passes for a class with 0.85 of a window of 0.95 of the memory, and within 13.8
//! s, which is 0.73 of the reference's pace.
//!
//! ```
//! use kaisar_math::{classes, separation::is_separated};
//! let reference = |id| classes::get(id).unwrap().planned().unwrap();
//! let (a40, a8000, rtx_3090) = (reference(9), reference(6), reference(16));
//! // An A8000 passes for an A40. An RTX 3090 lacks the memory.
//! assert!(!is_separated(&a40, &a8000, None));
//! assert!(is_separated(&a40, &rtx_3090, None));
//! ```
//!
//! Source: *Separation* and *Copies* in `docs/spec/09-tables.md`; the trial is that of the agent.

use crate::{
	ClassReference,
	classes::{GpuClassInfo, Peak},
};
use alloc::vec::Vec;

/// The trial's nominal time, in milliseconds.
const TRIAL_MS: u128 = 10_000;
/// The time by which a GPU's last mark must arrive, in milliseconds: 10 / 0.85 + 2.0 s, without the part
/// that may arrive late.
const DEADLINE_MS: u128 = 13_800;
/// Multiplications and additions of a turn: eight products of n × n matrices, n = 4,096.
pub(crate) const TURN_OPS: u64 = 8 * 2 * 4_096 * 4_096 * 4_096;
/// Bytes that a turn's walks read: eight steps of 16,384 lanes with 8 reads of 1,024 bytes each.
const TURN_BYTES: u64 = 8 * 16_384 * 8 * 1_024;
/// Overhead of trees and launches: a tenth more.
const OVERHEAD: (u64, u64) = (11, 10);

/// Share of a class's memory below which a GPU cannot pass for the class, in per cent: 0.85 of a window of
/// 0.95 of the memory passes, and a vendor's GB of GPU memory has 2³⁰ bytes.
pub const LEAST_MEMORY: u64 = 75;
/// Share of a reference's pace below which a GPU fails, in per cent: a trial of 10 s may take 13.8 s.
pub const LEAST_PACE: u64 = 73;
/// Pace of the best possible kernel, in per cent of that of the kernel with which the reference was
/// measured.
const BETTER_KERNEL: u64 = 125;
/// Share of its peaks that any kernel may reach on an unmeasured GPU, in per cent.
const BEST_OF_PEAKS: u64 = 90;

/// Share of a GPU's memory that a window takes, and share of a window that a GPU has to prove, in per cent.
const WINDOW: u128 = 95;
const LEAST_WINDOW: u128 = 85;
/// Times that a GPU which passes for several must return to each window in a trial, for marks to be in time.
const SWEEPS: u128 = 5;
/// Combined pace of several chains on one GPU, in per cent of one chain's pace. Measured on an H200: two
/// take 1.58 times the time of one, three 2.33 times (`scripts/gpu-attacks.sh`).
const TOGETHER: u128 = 130;
/// Speed at which windows are copied from the host's memory, in MB/s: 76 GB in 1.4 s, as PCIe 5 × 16 does.
const COPY_MB_S: u128 = 54_000;

/// Returns the turns of the GPU trial in 10 s, by the speed of products in 10⁹ operations a second and that
/// of walks in 10⁶ bytes a second. `None` if either is 0.
///
/// ```
/// use kaisar_math::separation::turns;
/// // An H200 at 60 and 85 % of its peaks: 1.3 ms a turn
/// assert_eq!(turns(1_187_400, 4_080_000), Some(7_644));
/// ```
pub fn turns(int8_gops: u32, walk_mb_s: u32) -> Option<u32> {
	// Both in picoseconds: at most 10¹⁵ each.
	let products = (TURN_OPS * 1_000).checked_div(int8_gops.into())?;
	let walks = (TURN_BYTES * 1_000_000).checked_div(walk_mb_s.into())?;
	let (part, whole) = OVERHEAD;
	let turn = u128::from(products + walks) * u128::from(part) / u128::from(whole);
	let trial = TRIAL_MS * 1_000_000_000;
	u32::try_from(trial.checked_div(turn)?).ok()
}

/// Returns the pace that a GPU of a class may reach with the best possible kernel: 1.25 times the
/// reference's if that was measured, and otherwise that of 0.9 of the vendor's peaks. `None` if neither is
/// known.
pub fn best_turns(gpu: &ClassReference, peak: Option<Peak>) -> Option<u64> {
	if gpu.calibrated {
		return Some(u64::from(gpu.trial_turns) * BETTER_KERNEL / 100);
	}
	let Peak {
		int8_tops,
		memory_gbps,
	} = peak?;
	let part = |peak: u32| u32::try_from(u64::from(peak) * 10 * BEST_OF_PEAKS).ok();
	turns(part(int8_tops)?, part(memory_gbps)?).map(u64::from)
}

/// Returns whether no GPU of the class `gpu`, with the vendor's `peak` figures, passes for the class of the
/// reference `class`: its memory is below 0.75 of the class's, or its [best pace](best_turns) below 0.73 of
/// the reference's. Where the best pace is unknown, memory alone decides.
///
/// 0.75, since 0.85 of a window of 0.95 passes, and a vendor's GB of GPU memory has 2³⁰ bytes.
pub fn is_separated(class: &ClassReference, gpu: &ClassReference, peak: Option<Peak>) -> bool {
	if u64::from(gpu.memory_gb) * 100 < u64::from(class.memory_gb) * LEAST_MEMORY {
		return true;
	}
	best_turns(gpu, peak).is_some_and(|best| best * 100 < u64::from(class.trial_turns) * LEAST_PACE)
}

/// A class, as input of the rule of separation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scored {
	/// The reference to which its GPUs are held, and which they are measured to reach.
	pub reference: ClassReference,
	/// The vendor's peak figures, for an uncalibrated class.
	pub peak: Option<Peak>,
	/// The score of one GPU, in hundredths.
	pub score: u32,
}

/// Returns the scores that can be paid, in the order of the classes: of two classes that are not separated
/// both get the lower one, since both can be claimed with the cheaper GPU. Lowering a class's score makes it
/// the cheaper one for others, which are lowered in their turn.
pub fn payable(classes: &[Scored]) -> Vec<u32> {
	let mut paid: Vec<u32> = classes.iter().map(|class| class.score).collect();
	loop {
		let before = paid.clone();
		for (class, pays) in classes.iter().zip(paid.iter_mut()) {
			*pays = classes
				.iter()
				.zip(&before)
				.filter(|(gpu, score)| {
					*score < pays && !is_separated(&class.reference, &gpu.reference, gpu.peak)
				})
				.map(|(_, score)| *score)
				.min()
				.unwrap_or(*pays);
		}
		// Each pass lowers a score to another one in the list, or ends the loop.
		if paid == before {
			return paid;
		}
	}
}

/// Returns the classes whose pace was measured or can be planned, with that reference and the published
/// scores. A planned reference counts as if it had been measured.
pub fn planned(classes: &[GpuClassInfo]) -> Vec<(&GpuClassInfo, Scored)> {
	classes
		.iter()
		.filter_map(|class| {
			let scored = Scored {
				reference: class.calibrated().or_else(|| class.planned())?,
				peak: class.peak,
				score: class.published,
			};
			Some((class, scored))
		})
		.collect()
}

/// Returns the number of GPUs of the class `weak` as which one of `strong` can pass for workers of different
/// claims, by its measured pace. `None` if the reference of `weak` requires nothing.
///
/// The trials of all of them must be over by 13.8 s, and marks make the GPU return to each window five
/// times. The part of the windows that does not fit into its memory side by side (0.85 of each is needed) is
/// copied from the host each time; going through them there and back, it copies only that part. Two or more
/// run at a higher pace together than one alone: while one multiplies, another walks.
///
/// ```
/// use kaisar_math::{classes, separation::copies};
/// let reference = |id| classes::get(id).unwrap().planned().unwrap();
/// // An H100 SXM passes for two A100, an RTX 4090 for two RTX 3090
/// assert_eq!(copies(&reference(1), &reference(4)), Some(2));
/// assert_eq!(copies(&reference(11), &reference(16)), Some(2));
/// ```
pub fn copies(strong: &ClassReference, weak: &ClassReference) -> Option<u32> {
	// In MB.
	let room = u128::from(strong.memory_gb) * 10 * WINDOW;
	let window = u128::from(weak.memory_gb) * WINDOW * LEAST_WINDOW / 10;
	let at_pace = |percent: u128| {
		let fast = u128::from(strong.trial_turns) * percent;
		let slow = u128::from(weak.trial_turns) * 100;
		let by_pace = (DEADLINE_MS * fast).checked_div(TRIAL_MS * slow)?;
		let side_by_side = room.checked_div(window)?;
		// count · TRIAL_MS · slow / fast + SWEEPS · (count · window − room) · 1,000 / COPY_MB_S ≤
		// DEADLINE_MS
		let copied = (fast * (DEADLINE_MS * COPY_MB_S + SWEEPS * 1_000 * room))
			.checked_div(TRIAL_MS * slow * COPY_MB_S + SWEEPS * 1_000 * window * fast)?;
		Some(by_pace.min(side_by_side.max(copied)))
	};
	if window > room {
		return Some(0);
	}
	let count = match at_pace(TOGETHER)? {
		0 | 1 => at_pace(100)?.min(1),
		several => several,
	};
	u32::try_from(count).ok()
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::classes::{CLASSES, get};
	use proptest::prelude::*;

	fn reference(id: u16) -> ClassReference {
		get(id).unwrap().planned().unwrap()
	}

	#[test]
	fn turns_take_as_long_as_planned() {
		// The figures of `docs/spec/09-tables.md`, in tenths of a millisecond: H200, H100 PCIe, A100, 4090,
		// 3090, T4.
		for (id, tenths) in [(33, 13), (2, 20), (4, 39), (11, 44), (16, 86), (20, 199)] {
			let turn = 100_000 / reference(id).trial_turns;
			assert!(turn.abs_diff(tenths) <= 1, "{id}: {turn}");
		}
		assert_eq!((turns(0, 1), turns(1, 0)), (None, None));
		assert!(turns(u32::MAX, u32::MAX).is_some());
	}

	#[test]
	fn boundary_of_separation() {
		let class = reference(16);
		let memory = |memory_gb| ClassReference { memory_gb, ..class };
		assert!(is_separated(&class, &memory(17), None));
		assert!(!is_separated(&class, &memory(18), None));
		// 0.73 / 1.25 = 0.584 of the pace.
		let slower = |per_mille: u32| ClassReference {
			trial_turns: class.trial_turns * per_mille / 1_000,
			..class
		};
		assert!(is_separated(&class, &slower(582), None));
		assert!(!is_separated(&class, &slower(586), None));
	}

	#[test]
	fn a_gpu_that_was_not_measured_may_reach_nine_tenths_of_its_peaks() {
		let (class, gpu) = (reference(2), get(4).unwrap());
		let floor = gpu.floor();
		assert_eq!(
			best_turns(&floor, gpu.peak),
			turns(561_600, 1_835_100).map(u64::from)
		);
		// Nothing is known about its pace: memory alone decides.
		assert_eq!(best_turns(&floor, None), None);
		assert!(!is_separated(&class, &floor, None));
		assert!(is_separated(&class, &get(17).unwrap().floor(), None));
		// Nor is anything separated from a class about which nothing is known.
		assert!(!is_separated(&ClassReference::LEAST, &class, None));
	}

	#[test]
	fn a_genesis_pays_what_separation_allows() {
		let planned = planned(&CLASSES);
		let scored: Vec<_> = planned.iter().map(|(_, scored)| *scored).collect();
		let payable = payable(&scored);
		for ((class, _), payable) in planned.iter().zip(payable) {
			assert_eq!(class.score, payable, "{}", class.name);
		}
		for class in &CLASSES {
			if class.planned().is_none() {
				assert_eq!(class.score, class.published, "{}", class.name);
			}
		}
		// As *Separation* in `docs/spec/09-tables.md` names them.
		let lowered = |score| {
			let lower = CLASSES
				.iter()
				.filter(move |class| class.score < class.published);
			lower
				.filter(move |class| class.score == score)
				.map(|class| class.id)
				.collect::<Vec<_>>()
		};
		assert_eq!(lowered(100), [5, 9]);
		assert_eq!(lowered(50), [7, 10, 32]);
		assert_eq!(lowered(25), [8, 12, 20, 25, 31]);
		assert_eq!(
			CLASSES
				.iter()
				.filter(|class| class.score != class.published)
				.count(),
			10
		);
		// And by whose GPUs: A8000, RTX 3090, RTX 4070 Ti SUPER.
		for (score, gpu) in [(100, 6), (50, 16), (25, 13)] {
			assert_eq!(get(gpu).unwrap().published, score);
			for class in lowered(score) {
				let passes = !is_separated(&reference(class), &reference(gpu), None);
				assert!(passes, "{gpu} as {class}");
			}
		}
	}

	/// Tests the barely separated pairs of *Separation* in `docs/spec/09-tables.md`.
	#[test]
	fn the_kernel_decides_whether_an_a100_passes_for_an_h100_and_a_3090_for_a_4090() {
		for (class, gpu) in [(2, 3), (2, 4), (11, 16)] {
			let (class, gpu) = (reference(class), reference(gpu));
			assert!(is_separated(&class, &gpu, None));
			let best = best_turns(&gpu, None).unwrap() as f64;
			let share = best / (f64::from(class.trial_turns) * LEAST_PACE as f64 / 100.0);
			assert!((0.87..0.93).contains(&share), "{share}");
		}
	}

	#[test]
	fn whoever_claims_with_a_cheaper_gpu_gains_nothing() {
		let planned = planned(&CLASSES);
		for (class, claimed) in &planned {
			for (gpu, owned) in &planned {
				let passes = !is_separated(&claimed.reference, &owned.reference, owned.peak);
				assert!(
					!passes || class.score <= gpu.score,
					"{} as {}",
					gpu.name,
					class.name
				);
			}
		}
	}

	#[test]
	fn a_lowered_class_lowers_those_that_it_passes_for() {
		let scored = |trial_turns, score| Scored {
			reference: ClassReference {
				trial_turns,
				memory_gb: 24,
				calibrated: true,
			},
			peak: None,
			score,
		};
		// Each passes for the next, and none for the one after.
		let chain = [scored(1_000, 10), scored(1_600, 20), scored(2_560, 40)];
		assert!(is_separated(&chain[2].reference, &chain[0].reference, None));
		assert_eq!(payable(&chain), [10, 10, 10]);
		assert_eq!(payable(&[chain[0], chain[2]]), [10, 40]);
		assert_eq!(payable(&[]), []);
	}

	/// Tests pairs of *Copies* in `docs/spec/09-tables.md`.
	#[test]
	fn copies_are_those_of_the_tables_and_more_where_chains_share_a_gpu() {
		let copies = |strong, weak| copies(&reference(strong), &reference(weak)).unwrap();
		// H100 SXM of A100; H200 of H100 PCIe; 4090 of 3090.
		assert_eq!((copies(1, 4), copies(33, 2), copies(11, 16)), (2, 2, 2));
		assert_eq!(copies(33, 1), 1);
		// H200 and H100 PCIe of A100: two and one, if they ran one after the other.
		assert_eq!((copies(33, 4), copies(2, 4)), (3, 2));
		// A window that does not fit, and a pace that does not suffice.
		assert_eq!((copies(1, 33), copies(16, 11)), (0, 0));
	}

	proptest! {
		#[test]
		fn a_stronger_gpu_never_shows_fewer(
			(turns, memory) in (1u32..=ClassReference::MOST.trial_turns, 1u32..=4_096),
			(more_turns, more_memory) in (0u32..100_000, 0u32..100),
			weak in 1usize..=CLASSES.len(),
		) {
			let strong = ClassReference {
				trial_turns: turns, memory_gb: memory, calibrated: true,
			};
			let stronger = ClassReference {
				trial_turns: turns + more_turns,
				memory_gb: memory + more_memory,
				calibrated: true,
			};
			if let Some(weak) = get(weak as u16).unwrap().planned() {
				prop_assert!(copies(&stronger, &weak) >= copies(&strong, &weak));
				// Nor does it pass for less.
				let passes = |gpu| !is_separated(&weak, gpu, None);
				prop_assert!(passes(&stronger) || !passes(&strong));
			}
			prop_assert_eq!(copies(&strong, &strong), Some(1));
			prop_assert!(!is_separated(&strong, &strong, None));
		}
	}
}
