//! Tiers 0 … 4 of measured figures.
//!
//! | tier | bandwidth (down and up, Mb/s, both) | CPU cores | memory GB | disk GB |
//! | --- | --- | --- | --- | --- |
//! | 0 | below 75 / 75 | < 4 | < 4 | < 100 |
//! | 1 | ≥ 75 / 75 | 4 … 31 | 4 … 31 | 100 … 511 |
//! | 2 | ≥ 400 / 300 | 32 … 63 | 32 … 127 | 512 … 5,119 |
//! | 3 | ≥ 800 / 600 | 64 … 128 | 128 … 512 | 5,120 … 10,240 |
//! | 4 | ≥ 1,600 / 1,200 | > 128 | > 512 | > 10,240 |
//!
//! Tier 1 starts at the published minimum machine, so a smaller machine is worth nothing.

/// The highest tier.
pub const MAX_TIER: u8 = 4;

/// The minimum download and upload, in Mb/s, of tiers 1 … 4.
pub const BANDWIDTH: [(u32, u32); 4] = [(75, 75), (400, 300), (800, 600), (1_600, 1_200)];
/// The minimum number of cores of tiers 1 … 4.
pub const CPU: [u32; 4] = [4, 32, 64, 129];
/// The minimum memory, in GB, of tiers 1 … 4.
pub const MEMORY: [u32; 4] = [4, 32, 128, 513];
/// The minimum disk, in GB, of tiers 1 … 4.
pub const DISK: [u32; 4] = [100, 512, 5_120, 10_241];

/// Returns the tier of a measured bandwidth, in Mb/s: the highest that both directions reach.
///
/// ```
/// use kaisar_math::tiers::bandwidth;
/// assert_eq!(bandwidth(1_000, 700), 3);
/// assert_eq!(bandwidth(1_000, 74), 0);
/// ```
pub fn bandwidth(download_mbps: u32, upload_mbps: u32) -> u8 {
	BANDWIDTH
		.iter()
		.take_while(|(down, up)| download_mbps >= *down && upload_mbps >= *up)
		.count() as u8
}

/// Returns the tier of a number of CPU cores.
pub fn cpu(cores: u32) -> u8 {
	tier(&CPU, cores)
}

/// Returns the fewest cores of a CPU tier, for which an order of class 0 pays and by which a machine without
/// a GPU is scored. A tier above the highest counts as the highest.
///
/// ```
/// use kaisar_math::tiers::cores;
/// assert_eq!([0, 1, 2, 3, 4].map(cores), [0, 4, 32, 64, 129]);
/// ```
pub fn cores(tier: u8) -> u32 {
	match tier.min(MAX_TIER).checked_sub(1) {
		None => 0,
		Some(index) => CPU[usize::from(index)],
	}
}

/// Returns the tier of an amount of memory, in GB.
pub fn memory(gb: u32) -> u8 {
	tier(&MEMORY, gb)
}

/// Returns the tier of an amount of disk, in GB.
pub fn disk(gb: u32) -> u8 {
	tier(&DISK, gb)
}

fn tier(least: &[u32; 4], figure: u32) -> u8 {
	least.iter().take_while(|least| figure >= **least).count() as u8
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn the_published_edges_hold() {
		for (down, up, tier) in [
			(0, 0, 0),
			(74, 75, 0),
			(75, 74, 0),
			(75, 75, 1),
			(399, 300, 1),
			(400, 299, 1),
			(400, 300, 2),
			(799, 10_000, 2),
			(800, 600, 3),
			(1_600, 1_199, 3),
			(1_600, 1_200, 4),
			(u32::MAX, u32::MAX, 4),
		] {
			assert_eq!(bandwidth(down, up), tier, "{down}/{up}");
		}
		for (cores, tier) in [
			(0, 0),
			(3, 0),
			(4, 1),
			(31, 1),
			(32, 2),
			(63, 2),
			(64, 3),
			(128, 3),
			(129, 4),
			(u32::MAX, 4),
		] {
			assert_eq!(cpu(cores), tier, "{cores} cores");
		}
		for (gb, tier) in [
			(0, 0),
			(3, 0),
			(4, 1),
			(31, 1),
			(32, 2),
			(127, 2),
			(128, 3),
			(512, 3),
			(513, 4),
		] {
			assert_eq!(memory(gb), tier, "{gb} GB of memory");
		}
		for (gb, tier) in [
			(0, 0),
			(99, 0),
			(100, 1),
			(511, 1),
			(512, 2),
			(5_119, 2),
			(5_120, 3),
			(10_240, 3),
			(10_241, 4),
		] {
			assert_eq!(disk(gb), tier, "{gb} GB of disk");
		}
	}

	proptest! {
		#[test]
		fn more_is_never_a_lower_tier(a: u32, b: u32, more_a: u32, more_b: u32) {
			let (c, d) = (a.saturating_add(more_a), b.saturating_add(more_b));
			prop_assert!(bandwidth(a, b) <= bandwidth(c, d));
			prop_assert!(cpu(a) <= cpu(c) && cpu(c) <= MAX_TIER);
			// No machine is scored by more cores than it has.
			prop_assert!(cores(cpu(a)) <= a && cpu(cores(cpu(a))) == cpu(a));
			prop_assert!(memory(a) <= memory(c) && memory(c) <= MAX_TIER);
			prop_assert!(disk(a) <= disk(c) && disk(c) <= MAX_TIER);
		}
	}
}
