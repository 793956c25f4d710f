//! Detects that this machine's clock is off, which nothing else reports: a clock that is ahead makes every
//! block look late, and a clock that is behind makes BABE refuse every block as one from the future.
//!
//! | Compared with this machine's clock | Shows |
//! | --- | --- |
//! | the slots of blocks that others made and that come in while the node is not syncing | a clock that is ahead |
//! | the stamps of other agents' address records, which are never from the future | a clock that is behind |
//! | the clock of an agent of this node, which may be on another machine | that agent's clock |
//!
//! Strangers cannot change the node's behavior here: a forged stamp causes at most a line in the log.

use crate::{addresses::Addresses, client::FullClient};
use futures::StreamExt;
use kaisar_runtime::opaque::Block;
use sc_client_api::BlockchainEvents;
use sp_consensus::{BlockOrigin, SyncOracle};
use sp_consensus_babe::SlotDuration;
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior};

/// Log target.
const LOG_TARGET: &str = "clock";
/// Largest difference, in milliseconds, that is not reported: blocks and records travel, and may wait.
const TOLERATED_MS: i64 = 30_000;
/// Interval between two reports of a difference that stays.
const AGAIN: Duration = Duration::from_secs(3_600);
/// Number of blocks that are compared. The one that arrived soonest after its slot counts.
const BLOCKS: usize = 10;
/// Minimum number of agents to compare stamps with. Their median counts, so one wrong clock does not.
const LEAST_AGENTS: usize = 3;
/// Interval between two comparisons with the stamps.
const LOOK: Duration = Duration::from_secs(60);

/// Returns this machine's time, in milliseconds since 1970.
pub fn now_ms() -> i64 {
	i64::try_from(*sp_timestamp::Timestamp::current()).unwrap_or(i64::MAX)
}

/// A duration in milliseconds, displayed in its two largest units.
struct Span(u64);

impl fmt::Display for Span {
	fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
		let seconds = self.0 / 1_000;
		match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
			(0, 0, 0) => write!(f, "{seconds} s"),
			(0, 0, minutes) => write!(f, "{minutes} min {} s", seconds % 60),
			(0, hours, minutes) => write!(f, "{hours} h {minutes} min"),
			(days, hours, _) => write!(f, "{days} d {hours} h"),
		}
	}
}

/// The last warning about one clock: the difference, and the time of the warning.
#[derive(Default)]
pub struct LastWarning(Option<(i64, Instant)>);

impl LastWarning {
	/// Returns a log line about the clock `whose`, which is `ahead` of `what` by this many milliseconds
	/// (behind, if negative). Returns `None` if the log already has it.
	pub fn of(&mut self, ahead: i64, whose: &str, what: &str, now: Instant) -> Option<String> {
		if ahead.abs() <= TOLERATED_MS {
			let before = self.0.take();
			return before.map(|_| format!("{whose} agrees with {what} again"));
		}
		if let Some((before, at)) = self.0
			&& (ahead - before).abs() <= TOLERATED_MS
			&& now.duration_since(at) < AGAIN
		{
			return None;
		}
		self.0 = Some((ahead, now));
		let direction = if ahead > 0 { "ahead of" } else { "behind" };
		Some(format!(
			"{whose} is {} {direction} {what}; at most {} is tolerated. Until it is set, blocks are refused or late, \
			 and rounds are missed. Set it by NTP, e.g. with `timedatectl set-ntp true`",
			Span(ahead.unsigned_abs()),
			Span(TOLERATED_MS.unsigned_abs()),
		))
	}

	/// Returns whether the clock was off at the last comparison.
	pub fn is_off(&self) -> bool {
		self.0.is_some()
	}
}

/// Returns how far this clock is ahead according to the last blocks: the least of their delays, in
/// milliseconds. Blocks cannot show that a clock is behind.
fn ahead_of_blocks(late: &VecDeque<i64>) -> Option<i64> {
	if late.len() < BLOCKS {
		return None;
	}
	late.iter().min().copied().map(|least| least.max(0))
}

/// Returns how far this clock is behind according to the stamps of others' records, as a negative number of
/// milliseconds, or 0. A record may be old, so only stamps from the future count.
fn behind_stamps(mut stamps: Vec<u64>, now: i64) -> Option<i64> {
	if stamps.len() < LEAST_AGENTS {
		return None;
	}
	stamps.sort_unstable();
	// Of an even number, the lower of the middle two.
	let median = stamps[(stamps.len() - 1) / 2];
	Some((now - i64::try_from(median).unwrap_or(i64::MAX)).min(0))
}

/// Compares the clock as long as the node runs.
pub async fn run(
	client: Arc<FullClient>,
	sync: Arc<dyn SyncOracle + Send + Sync>,
	slot: SlotDuration,
	addresses: Addresses,
) {
	let mut blocks = client.import_notification_stream();
	let mut ticker = tokio::time::interval(LOOK);
	ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
	let mut late = VecDeque::new();
	let (mut by_blocks, mut by_stamps) = (LastWarning::default(), LastWarning::default());
	let whose = "This machine's clock";
	loop {
		let said = tokio::select! {
			block = blocks.next() => {
				let Some(block) = block else { return };
				// Blocks of a sync, and blocks made here, show nothing about the time.
				let counts = block.is_new_best
					&& block.origin == BlockOrigin::NetworkBroadcast
					&& !sync.is_major_syncing();
				let Ok(digest) = sc_consensus_babe::find_pre_digest::<Block>(&block.header) else {
					continue;
				};
				if !counts {
					continue;
				}
				let at = digest.slot().timestamp(slot).map_or(i64::MAX, |at| at.as_millis() as i64);
				late.push_back(now_ms() - at);
				if late.len() > BLOCKS {
					late.pop_front();
				}
				ahead_of_blocks(&late)
					.and_then(|ahead| by_blocks.of(ahead, whose, "the chain's newest blocks", Instant::now()))
					.map(|said| (said, by_blocks.is_off()))
			}
			_ = ticker.tick() => {
				behind_stamps(addresses.stamps(), now_ms())
					.and_then(|behind| by_stamps.of(behind, whose, "most other agents' clocks", Instant::now()))
					.map(|said| (said, by_stamps.is_off()))
			}
		};
		if let Some((text, is_off)) = said {
			log(&text, is_off);
		}
	}
}

/// Comparison with the clock of an agent of this node.
#[derive(Default)]
pub struct AgentClock(LastWarning);

impl AgentClock {
	/// Logs a difference between the clock of an agent, read just now, and this machine's.
	pub fn compare(&mut self, name: &str, clock_ms: u64) {
		let clock = i64::try_from(clock_ms).unwrap_or(i64::MAX);
		let whose = format!("The clock of the agent {name}");
		let ahead = clock.saturating_sub(now_ms());
		if let Some(text) = self
			.0
			.of(ahead, &whose, "this node's clock", Instant::now())
		{
			log(&text, self.0.is_off());
		}
	}
}

fn log(text: &str, is_off: bool) {
	if is_off {
		log::warn!(target: LOG_TARGET, "{text}");
	} else {
		log::info!(target: LOG_TARGET, "{text}");
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const HOUR: i64 = 3_600_000;

	#[test]
	fn a_clock_that_is_ahead_sees_every_block_late() {
		// The clocks agree: some blocks are late, and one author was quick.
		let mut late: VecDeque<i64> = (0..BLOCKS as i64)
			.map(|block| 200 + 9_000 * block)
			.collect();
		assert_eq!(ahead_of_blocks(&late), Some(200));
		late.iter_mut().for_each(|late| *late += 6 * HOUR);
		assert_eq!(ahead_of_blocks(&late), Some(6 * HOUR + 200));
		late.pop_front();
		assert_eq!(ahead_of_blocks(&late), None, "too few blocks");
		// The clock is behind: BABE accepts blocks that are a little early.
		let early: VecDeque<i64> = [-500; BLOCKS].into();
		assert_eq!(ahead_of_blocks(&early), Some(0));
	}

	#[test]
	fn boundary_a_clock_that_is_behind_sees_stamps_from_the_future() {
		let now = 1_000 * HOUR;
		let at = |ahead: i64| (now + ahead) as u64;
		assert_eq!(
			behind_stamps(vec![at(6 * HOUR); 2], now),
			None,
			"too few agents"
		);
		let stamps = vec![at(6 * HOUR), at(5 * HOUR), at(7 * HOUR)];
		assert_eq!(behind_stamps(stamps, now), Some(-6 * HOUR));
		// Old records show nothing, nor does one agent whose own clock is ahead.
		let stamps = vec![at(-30 * HOUR), at(-HOUR), at(9 * HOUR)];
		assert_eq!(behind_stamps(stamps, now), Some(0));
		let stamps = vec![at(-HOUR), at(-HOUR), at(9 * HOUR), u64::MAX];
		assert_eq!(behind_stamps(stamps, now), Some(0), "half of them");
	}

	#[test]
	fn boundary_a_difference_is_said_when_it_changes_and_every_hour() {
		let mut said = LastWarning::default();
		let begin = Instant::now();
		let mut of =
			|ahead: i64, after: Duration| said.of(ahead, "The clock", "blocks", begin + after);
		assert_eq!(of(TOLERATED_MS, Duration::ZERO), None);
		let first = of(TOLERATED_MS + 1, Duration::ZERO).expect("the clock is off");
		assert!(
			first.contains("30 s ahead of blocks; at most 30 s"),
			"{first}"
		);
		assert_eq!(
			of(2 * TOLERATED_MS, Duration::from_secs(1)),
			None,
			"much the same"
		);
		let more =
			of(6 * HOUR + 120_000, Duration::from_secs(2)).expect("the difference has changed");
		assert!(
			more.contains("6 h 2 min ahead") && more.contains("NTP"),
			"{more}"
		);
		let soon = Duration::from_secs(2) + AGAIN;
		assert_eq!(
			of(6 * HOUR + 130_000, soon - Duration::from_millis(1)),
			None
		);
		assert!(of(6 * HOUR + 130_000, soon).is_some(), "an hour later");
		let behind = of(-26 * HOUR, soon).expect("the difference has changed");
		assert!(behind.contains("1 d 2 h behind blocks"), "{behind}");
		assert_eq!(
			of(0, soon),
			Some("The clock agrees with blocks again".into()),
			"once"
		);
		assert_eq!(of(0, soon), None);
	}
}
