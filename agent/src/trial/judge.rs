//! Plans the work for a claim, and turns sizes and arrival times into figures. Figures are absolute, never a
//! share of the claim.
//!
//! | figure | shown; t is the arrival of the resource's root |
//! | --- | --- |
//! | GPUs | those with all marks in time, the last by 13.8 s, and at least 0.85 of the planned window |
//! | CPU cores | ⌊lanes · min(1, 10 s / (t − 2 s))⌋ |
//! | memory | the bytes filled, and max(2 GB, a seventh of them) for the system |
//! | disk | the bytes plotted, and max(20 GB, a seventh of them), if t ≤ 12 s |

use super::ram::PAGE;
use std::time::Duration;

/// Bytes of a GB.
const GB: u64 = 1_000_000_000;
/// Number of lanes that show the highest tier, and a few more.
pub const MAX_LANES: u16 = 144;
/// Memory that shows the highest tier: 449 GB, with a seventh for the system 513.
pub const MAX_MEMORY: u64 = 449 * GB;
/// Plot that shows the highest tier: 8,961 GB, with a seventh 10,241.
pub const MAX_PLOT: u64 = 8_961 * GB;
/// Pages of [`MAX_MEMORY`].
pub const MAX_PAGES: u64 = MAX_MEMORY.div_ceil(PAGE as u64);
/// Minimum for the system, of the memory and of a disk.
const SYSTEM_MEMORY: u64 = 2 * GB;
const SYSTEM_DISK: u64 = 20 * GB;
/// A system's part of larger memories and disks: this fraction of the proved bytes.
const SYSTEM: u64 = 7;
/// Duration of a lane at 5 µs a leg, and of a GPU's turns at the reference's pace.
pub const LENGTH: Duration = Duration::from_secs(10);
/// Total tolerance for importing the trial's block later than the checker, sending and scheduling.
pub const TOLERANCE: Duration = Duration::from_secs(2);
/// Tolerance of marks before the last. The first is due after 0.74 s, and nodes may import the trial's block
/// 2.5 s apart: with 2 s, one honest worker in 150 would lose its class.
pub const MARK_TOLERANCE: Duration = Duration::from_millis(2_500);
/// Latest arrival of a root; a later one proves nothing.
pub const LATEST: Duration = Duration::from_secs(20);
/// Latest arrival of the disk's root: 4,000 reads per second.
pub const DISK_LATEST: Duration = Duration::from_secs(12);
/// Share of the reference's pace, and of the planned window, that a GPU must reach to show a class, in
/// percent. A busy GPU of the class runs at 89 and keeps it; with a lower share a GPU would need less than
/// 1.45 times the reference's pace to show two.
pub const SHARE: u64 = 85;

/// Ratio of a line's speed to the measured rate: up to a tenth of a line goes to headers, to the other
/// direction's acknowledgements, and to probing its speed.
const LINE_OF_MEASURED: (u64, u64) = (10, 9);

/// Speed of a worker's line for all seats together, estimated by one checker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
	/// Towards the worker, in Mb/s.
	pub down_mbps: u32,
	/// From the worker, in Mb/s.
	pub up_mbps: u32,
}

/// Returns the speed of a line with a measured rate of `mbps`, in Mb/s.
pub fn line_of_measured(mbps: u32) -> u32 {
	let line = u64::from(mbps) * LINE_OF_MEASURED.0 / LINE_OF_MEASURED.1;
	u32::try_from(line).unwrap_or(u32::MAX)
}

/// Returns the bytes to fill to prove `gb`, at most `most`.
fn shown_by(gb: u32, system: u64, most: u64) -> u64 {
	let claimed = u64::from(gb) * GB;
	let small = claimed.saturating_sub(system);
	let large = claimed / (SYSTEM + 1) * SYSTEM + claimed % (SYSTEM + 1) * SYSTEM / (SYSTEM + 1);
	// The lesser of the two suffices, since the system's part is the larger of its two forms.
	small.min(large.saturating_add(1)).min(most)
}

/// Returns the GB that `bytes` prove.
fn showing(bytes: u64, system: u64) -> u32 {
	if bytes == 0 {
		return 0;
	}
	let with_system = bytes.saturating_add(system.max(bytes / SYSTEM));
	u32::try_from(with_system / GB).unwrap_or(u32::MAX)
}

/// Returns the bytes of memory to fill for a claim of `gb` GB.
pub fn memory_planned(gb: u32) -> u64 {
	shown_by(gb, SYSTEM_MEMORY, MAX_MEMORY)
}

/// Returns the whole pages to fill for a claim of `gb` GB, rounded up so that the whole claim is shown.
pub fn pages_planned(gb: u32) -> u64 {
	memory_planned(gb).div_ceil(PAGE as u64)
}

/// Returns the groups to plot for a claim of `gb` GB, in groups of `group` bytes.
pub fn groups_planned(gb: u32, group: u64) -> u64 {
	disk_planned(gb).div_ceil(group)
}

/// Returns the bytes of disk to plot for a claim of `gb` GB.
pub fn disk_planned(gb: u32) -> u64 {
	shown_by(gb, SYSTEM_DISK, MAX_PLOT)
}

/// Returns the cores proved by `lanes` lanes whose root arrived `arrival` after the trial's block.
pub fn cores(lanes: u16, arrival: Option<Duration>) -> u32 {
	let Some(arrival) = arrival.filter(|arrival| *arrival <= LATEST) else {
		return 0;
	};
	let took = arrival.saturating_sub(TOLERANCE).max(LENGTH);
	let shown = u128::from(lanes) * LENGTH.as_nanos() / took.as_nanos();
	u32::try_from(shown).unwrap_or(u32::MAX)
}

/// Returns the memory proved by filled bytes, in GB.
pub fn memory_gb(bytes: u64, arrival: Option<Duration>) -> u32 {
	match arrival {
		Some(arrival) if arrival <= LATEST => showing(bytes, SYSTEM_MEMORY),
		_ => 0,
	}
}

/// Returns the disk proved by plotted bytes, in GB.
pub fn disk_gb(bytes: u64, arrival: Option<Duration>) -> u32 {
	match arrival {
		Some(arrival) if arrival <= DISK_LATEST => showing(bytes, SYSTEM_DISK),
		_ => 0,
	}
}

/// Returns the latest arrival of a GPU's mark after `done` of `turns` turns: at [`SHARE`] of the reference's
/// pace, plus [`MARK_TOLERANCE`]. The last mark's limit has [`TOLERANCE`] instead, and no mark may come
/// later.
pub fn mark_limit(done: u32, turns: u32) -> Duration {
	let at_pace = |done: u32, turns: u32| {
		let nanos = LENGTH.as_nanos() * u128::from(done) * 100;
		let nanos = nanos / (u128::from(turns.max(1)) * u128::from(SHARE));
		Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
	};
	let last = at_pace(1, 1).saturating_add(TOLERANCE);
	let this = at_pace(done, turns).saturating_add(MARK_TOLERANCE);
	this.min(last)
}

/// Returns whether a window of `window` matrices reaches [`SHARE`] of the planned one.
pub fn is_enough(window: u32, planned: u32) -> bool {
	u64::from(window) * 100 >= u64::from(planned) * SHARE
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	const NOW: Option<Duration> = Some(Duration::ZERO);

	#[test]
	fn a_plan_that_is_done_shows_its_claim() {
		for gb in (0..=513).chain([600, u32::MAX]) {
			let shown = memory_gb(pages_planned(gb) * PAGE as u64, NOW);
			assert_eq!(
				shown,
				if gb <= 2 { 0 } else { gb.min(513) },
				"{gb} GB of memory"
			);
		}
		for gb in (0..=10_241)
			.step_by(7)
			.chain([100, 512, 5_120, 10_241, u32::MAX])
		{
			let group = 1 << 30;
			let shown = disk_gb(groups_planned(gb, group) * group, NOW);
			let claimed = if gb <= 20 { 0 } else { gb.min(10_241) };
			assert!(
				(claimed..=claimed + 2).contains(&shown),
				"{gb} GB of disk: {shown}"
			);
		}
	}

	#[test]
	fn the_time_of_lanes_counts_beyond_what_is_forgiven() {
		let at = |lanes, millis| cores(lanes, Some(Duration::from_millis(millis)));
		assert_eq!(at(20, 12_000), 20);
		assert_eq!(at(20, 12_001), 19);
		assert_eq!(at(34, 19_000), 20);
		assert_eq!(at(40, 22_000), 0);
		assert_eq!(at(144, 20_000), 80);
		assert_eq!(at(144, 20_001), 0);
		assert_eq!(cores(144, None), 0);
		assert_eq!(
			(disk_gb(GB, Some(DISK_LATEST)), disk_gb(GB, Some(LATEST))),
			(21, 0)
		);
	}

	#[test]
	fn marks_are_held_to_the_classs_share() {
		assert_eq!(mark_limit(100, 100), Duration::from_nanos(13_764_705_882));
		assert_eq!(mark_limit(50, 100), Duration::from_nanos(8_382_352_941));
		// None is later than the last.
		assert_eq!(mark_limit(99, 100), mark_limit(100, 100));
		assert!(is_enough(85, 100) && !is_enough(84, 100));
	}

	proptest! {
		#![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

		#[test]
		fn nothing_is_shown_beyond_what_was_run_in_time(
			lanes in 0u16..=200,
			bytes in 0u64..20_000 * GB,
			millis in 0u64..40_000,
			late in 0u64..10_000,
		) {
			let at = Duration::from_millis(millis);
			let shown = cores(lanes, Some(at));
			// A core is 10 s of a lane, and two seconds are forgiven.
			let secs = at.saturating_sub(TOLERANCE).as_secs_f64();
			prop_assert!(shown <= u32::from(lanes));
			prop_assert!(f64::from(shown) * secs <= f64::from(lanes) * 10.0 + 1e-6);
			let memory = u64::from(memory_gb(bytes, Some(at))) * GB;
			prop_assert!(memory <= bytes + (2 * GB).max(bytes / 7));
			let disk = u64::from(disk_gb(bytes, Some(at))) * GB;
			prop_assert!(disk <= bytes + (20 * GB).max(bytes / 7));
			if millis > 20_000 {
				prop_assert_eq!((shown, memory, disk), (0, 0, 0));
			}
			// Later is never more.
			let later = Some(at + Duration::from_millis(late));
			prop_assert!(cores(lanes, later) <= shown);
			prop_assert!(u64::from(memory_gb(bytes, later)) * GB <= memory);
			prop_assert!(u64::from(disk_gb(bytes, later)) * GB <= disk);
		}
	}
}
