//! The agent's clock. It counts monotonically, across restarts too, so that a value with an expiry date
//! expires on time even if the system's time is set by hours in either direction.
//!
//! The clock starts at the system's time. After a restart within one boot of the machine it advances by the
//! time since the boot. After another boot it advances by the system's time, which the machine's hardware
//! clock kept meanwhile, but never backwards. A machine that boots with its time hours ahead cannot be
//! distinguished from one that was off for hours.

use kaisar_fs::{BY_UMASK, read_bounded, write_unsynced};
use serde::{Deserialize, Serialize};
use std::{
	path::{Path, PathBuf},
	sync::OnceLock,
	time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Name of the clock's file in the data folder.
const FILE: &str = "clock.json";
/// Maximum length of a file that is read, in bytes.
const MAX_FILE: u64 = 1_024;
/// Smallest change of the system's time that is logged.
const JUMP: Duration = Duration::from_secs(60);

/// Date and instant at which this process began to count.
static START: OnceLock<(u64, Instant)> = OnceLock::new();

/// Returns the system's time, in milliseconds since 1970. It may jump.
pub fn wall_ms() -> u64 {
	let since = SystemTime::now().duration_since(UNIX_EPOCH);
	since.unwrap_or_default().as_millis() as u64
}

/// Returns the agent's clock, in milliseconds since about 1970.
pub fn now_ms() -> u64 {
	let (date, start) = START.get_or_init(|| (wall_ms(), Instant::now()));
	date + start.elapsed().as_millis() as u64
}

/// The machine's clocks at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Reading {
	/// Id of the boot; `None` if the system has none.
	boot: Option<String>,
	/// Time since the boot, in milliseconds.
	up_ms: u64,
	/// The system's time, in milliseconds since 1970.
	wall_ms: u64,
}

impl Reading {
	fn now() -> Self {
		let read = |path: &str| std::fs::read_to_string(path).ok();
		let boot = read("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
		// Seconds with two decimals, suspended time included.
		let up = read("/proc/uptime")
			.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
		Self {
			boot: boot.filter(|_| up.is_some()),
			up_ms: (up.unwrap_or_default() * 1e3) as u64,
			wall_ms: wall_ms(),
		}
	}

	/// Returns the milliseconds from an earlier reading to this one.
	fn since(&self, earlier: &Self) -> u64 {
		if self.boot.is_some() && self.boot == earlier.boot {
			self.up_ms.saturating_sub(earlier.up_ms)
		} else {
			self.wall_ms.saturating_sub(earlier.wall_ms)
		}
	}
}

/// The agent's clock at a reading of the machine's clocks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Saved {
	now_ms: u64,
	reading: Reading,
}

impl Saved {
	/// Returns the agent's clock at a later reading.
	fn at(&self, reading: &Reading) -> u64 {
		self.now_ms + reading.since(&self.reading)
	}
}

/// The clock's file in a data folder.
pub struct Clock {
	path: PathBuf,
	last: Saved,
}

impl Clock {
	/// Resumes the clock of a data folder, unless this process already has a clock.
	pub fn resume(data: &Path) -> Self {
		let path = data.join(FILE);
		let saved = read_bounded(&path, MAX_FILE)
			.ok()
			.and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).ok());
		let reading = Reading::now();
		let date = saved.map_or(reading.wall_ms, |saved| saved.at(&reading));
		START.get_or_init(|| (date, Instant::now()));
		let last = Saved {
			now_ms: now_ms(),
			reading,
		};
		let mut clock = Self { path, last };
		clock.save();
		clock
	}

	/// Saves the clocks, so that the next start resumes from here. Logs a change of the system's time.
	pub fn save(&mut self) {
		let now = Saved {
			now_ms: now_ms(),
			reading: Reading::now(),
		};
		let set_by = set_by(&self.last, &now);
		if set_by.unsigned_abs() > JUMP.as_millis() as u64 {
			tracing::warn!(
				seconds = set_by / 1_000,
				"the system's time was set; this agent's own deadlines are not affected"
			);
		}
		self.last = now;
		let bytes = serde_json::to_vec(&self.last).unwrap_or_default();
		if let Err(error) = write_unsynced(&self.path, &bytes, BY_UMASK) {
			tracing::warn!(
				%error,
				path = %self.path.display(),
				"cannot save the clock for the next start; free space on its disk"
			);
		}
	}
}

/// Returns the milliseconds by which the system's time was set between two readings of one run.
fn set_by(before: &Saved, now: &Saved) -> i64 {
	let (before, now) = (&before.reading, &now.reading);
	if now.boot.is_none() {
		return 0;
	}
	(now.wall_ms as i64 - before.wall_ms as i64) - (now.up_ms as i64 - before.up_ms as i64)
}

#[cfg(test)]
mod tests {
	use super::*;

	const HOUR: u64 = 3_600 * 1_000;

	fn reading(boot: Option<&str>, up_ms: u64, wall_ms: u64) -> Reading {
		Reading {
			boot: boot.map(Into::into),
			up_ms,
			wall_ms,
		}
	}

	#[test]
	fn the_clock_resumes_after_a_restart_whatever_the_systems_time() {
		let now = 1_000 * HOUR;
		let saved = Saved {
			now_ms: now,
			reading: reading(Some("a"), 10_000, now),
		};
		for wall in [now - 6 * HOUR, now + 5_000, now + 6 * HOUR, 0] {
			let later = reading(Some("a"), 15_000, wall);
			assert_eq!(saved.at(&later), now + 5_000, "the system's time is {wall}");
		}
	}

	#[test]
	fn after_another_boot_it_follows_the_systems_time_and_never_goes_back() {
		let now = 1_000 * HOUR;
		let saved = Saved {
			// It began six hours behind, and the system's time was corrected since.
			now_ms: now - 6 * HOUR,
			reading: reading(Some("a"), 10_000_000, now),
		};
		let down = reading(Some("b"), 3_000, now + HOUR);
		assert_eq!(saved.at(&down), now - 5 * HOUR, "an hour has passed");
		let behind = reading(Some("b"), 3_000, now - 6 * HOUR);
		assert_eq!(saved.at(&behind), now - 6 * HOUR);
		// If the system has no id of the boot.
		let unknown = reading(None, 0, now + HOUR);
		assert_eq!(saved.at(&unknown), now - 5 * HOUR);
	}

	#[test]
	fn a_time_that_is_set_is_noticed() {
		let at = |up: u64, wall: u64| Saved {
			now_ms: 0,
			reading: reading(Some("a"), up, wall),
		};
		assert_eq!(set_by(&at(0, HOUR), &at(5_000, HOUR + 5_000)), 0);
		assert_eq!(
			set_by(&at(0, HOUR), &at(5_000, 7 * HOUR + 5_000)),
			6 * HOUR as i64
		);
		assert_eq!(
			set_by(&at(0, 7 * HOUR), &at(5_000, HOUR + 5_000)),
			-6 * HOUR as i64
		);
	}

	#[test]
	fn a_reading_has_the_boot_and_advances() {
		let first = Reading::now();
		assert!(first.boot.is_some() && first.up_ms > 0);
		let second = Reading::now();
		assert_eq!(first.boot, second.boot);
		assert!(second.up_ms >= first.up_ms && second.since(&first) < 60_000);
	}

	#[test]
	fn a_damaged_file_is_replaced() {
		let dir = tempfile::tempdir().unwrap();
		std::fs::write(dir.path().join(FILE), b"{}").unwrap();
		Clock::resume(dir.path());
		let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
		let saved: Saved = serde_json::from_slice(&bytes).unwrap();
		assert!(saved.now_ms <= now_ms());
	}
}
