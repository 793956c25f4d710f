//! Stamps of this agent's address records, and conclusions from other records of its key.
//!
//! The newest record of a key stands, wherever records are kept. So a stamp follows the clock, but it never
//! falls: it is above every stamp that this agent gave before, across restarts, and above every record of
//! its key that it meets. An agent whose data folder is lost is then reachable again as soon as it has met
//! its own old record.
//!
//! A stamp does not follow a clock into the future either, since nodes keep no such records: it is at most
//! [`AHEAD_MS`] beyond the chain's newest block, whose time the node reports. Before the first report it
//! counts up by one.
//!
//! The first newer record of its key that it did not sign since its start may be its own from before. The
//! second one comes from a second agent with the same key: a twin. Both notice: one publishes above the
//! other, which meets that record in turn. Each answers once in [`QUIET`], so that two of them do not outbid
//! each other without end.

use crate::host::store::now_ms;
use codec::{DecodeAll, Encode};
use kaisar_fs::{OWNER_ONLY, read_bounded, write_unsynced};
use kaisar_primitives::agent::AHEAD_MS;
use parking_lot::Mutex;
use std::{
	path::{Path, PathBuf},
	time::{Duration, Instant},
};

/// Minimum interval of answers to a twin, and of warnings about it.
const QUIET: Duration = Duration::from_secs(60 * 60);

/// The stamps of an agent's records.
pub struct Stamps {
	file: PathBuf,
	state: Mutex<State>,
}

struct State {
	/// Highest stamp that was given or met.
	last: u64,
	/// Time of the newest block that the node reported, in milliseconds since 1970; 0 before the first
	/// report.
	chain_ms: u64,
	/// A record of this key has come from elsewhere since the start, including one that this agent signed.
	met: bool,
	/// A record has come that is not older than its own and that this agent did not sign since the start.
	met_other: bool,
	/// Last answer to a twin.
	answered: Option<Instant>,
}

/// Conclusion from a record of this agent's own key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordConclusion {
	/// It is this agent's own record, or an older one.
	Nothing,
	/// It is newer than all that this agent published, and may be its own from before: publish again.
	Above,
	/// A twin published it: warn, and publish again.
	Twin,
	/// A twin published it, and the agent warned about it lately: do nothing.
	Known,
}

impl Stamps {
	/// Loads the stamps of the agent with this existing data folder.
	pub fn new(data: &Path) -> Self {
		let file = data.join("stamp");
		let last = match read_bounded(&file, 8) {
			Ok(bytes) => u64::decode_all(&mut &bytes[..]).ok(),
			Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
			Err(_) => None,
		};
		if last.is_none() {
			tracing::warn!(
				file = %file.display(),
				"cannot read the last stamp; if it was ahead of the clock, the agent is reachable again once it has \
				 met its own record"
			);
		}
		Self {
			file,
			state: Mutex::new(State {
				last: last.unwrap_or(0),
				chain_ms: 0,
				met: false,
				met_other: false,
				answered: None,
			}),
		}
	}

	/// Records the time of the chain's newest block, in milliseconds since 1970. Returns whether to publish
	/// again with a later stamp: after the first block, or once the node has synced far enough for stamps to
	/// follow the clock.
	pub fn follow_chain(&self, chain_ms: u64) -> bool {
		let now = now_ms();
		let lags = |chain_ms: u64| chain_ms.saturating_add(AHEAD_MS) < now;
		let mut state = self.state.lock();
		let before = state.chain_ms;
		state.chain_ms = before.max(chain_ms);
		let first = before == 0 && chain_ms > 0;
		first || (lags(before) && !lags(state.chain_ms))
	}

	/// Returns the stamp of a new record: this machine's time in milliseconds since 1970, as far as the
	/// chain's time allows it, and at least one more than any before.
	pub fn next(&self) -> u64 {
		let mut state = self.state.lock();
		let latest = match state.chain_ms {
			0 => 0,
			at => at.saturating_add(AHEAD_MS),
		};
		state.last = now_ms().min(latest).max(state.last.saturating_add(1));
		self.keep(state.last);
		state.last
	}

	/// Returns whether a record of this agent's key has come from elsewhere since the start.
	pub fn have_met(&self) -> bool {
		self.state.lock().met
	}

	/// Handles a record of this agent's key that came from elsewhere. `own`: this agent signed it since its
	/// start.
	pub fn meet(&self, stamp: u64, own: bool) -> RecordConclusion {
		let mut state = self.state.lock();
		state.met = true;
		if own {
			return RecordConclusion::Nothing;
		}
		if stamp < state.last {
			return RecordConclusion::Nothing;
		}
		let first = !std::mem::replace(&mut state.met_other, true);
		self.raise(&mut state, stamp);
		if first {
			return RecordConclusion::Above;
		}
		Self::answer(&mut state)
	}

	/// Handles a newer record of this agent's key that replaced its own on this machine, where only a second
	/// agent could have written it.
	pub fn replaced(&self, stamp: u64) -> RecordConclusion {
		let mut state = self.state.lock();
		self.raise(&mut state, stamp);
		Self::answer(&mut state)
	}

	fn raise(&self, state: &mut State, stamp: u64) {
		if stamp > state.last {
			state.last = stamp;
			self.keep(stamp);
		}
	}

	fn answer(state: &mut State) -> RecordConclusion {
		if state.answered.is_some_and(|at| at.elapsed() < QUIET) {
			return RecordConclusion::Known;
		}
		state.answered = Some(Instant::now());
		RecordConclusion::Twin
	}

	fn keep(&self, last: u64) {
		if let Err(error) = write_unsynced(&self.file, &last.encode(), OWNER_ONLY) {
			tracing::warn!(
				%error,
				file = %self.file.display(),
				"cannot store the last stamp; free space on the disk, or let the agent write there"
			);
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const YEAR: u64 = 365 * 24 * 60 * 60 * 1_000;

	#[test]
	fn stamps_do_not_fall_when_the_clock_does() {
		let dir = tempfile::tempdir().unwrap();
		let stamps = Stamps::new(dir.path());
		let first = stamps.next();
		assert!(stamps.next() > first);
		// From the first block on, they follow the clock.
		assert!(
			!stamps.follow_chain(0)
				&& stamps.follow_chain(now_ms() - 60_000)
				&& !stamps.follow_chain(now_ms())
		);
		let clock = stamps.next();
		assert!(clock.abs_diff(now_ms()) < 60_000, "{clock}");
		// A run with a clock that was a year ahead.
		let ahead = now_ms() + YEAR;
		std::fs::write(dir.path().join("stamp"), ahead.encode()).unwrap();
		assert_eq!(Stamps::new(dir.path()).next(), ahead + 1);
		assert_eq!(Stamps::new(dir.path()).next(), ahead + 2);
		// The agent recovers from a damaged file when it meets its own record.
		std::fs::write(dir.path().join("stamp"), [1, 2]).unwrap();
		let stamps = Stamps::new(dir.path());
		assert!(stamps.next() < ahead);
		assert_eq!(stamps.meet(ahead + 2, false), RecordConclusion::Above);
		assert_eq!(stamps.next(), ahead + 3);
	}

	#[test]
	fn a_clock_that_is_ahead_gives_no_stamps_from_the_future() {
		let dir = tempfile::tempdir().unwrap();
		// By the chain's time, it is a year ago.
		let chain = now_ms() - YEAR;
		let stamps = Stamps::new(dir.path());
		assert_eq!(stamps.next(), 1, "nobody told the time yet");
		stamps.follow_chain(chain);
		assert_eq!(stamps.next(), chain + AHEAD_MS);
		assert_eq!(stamps.next(), chain + AHEAD_MS + 1, "and none falls");
		stamps.follow_chain(chain - 5);
		stamps.follow_chain(chain + 12_000);
		assert_eq!(stamps.next(), chain + AHEAD_MS + 12_000);
	}

	#[test]
	fn a_record_from_before_the_sync_is_published_again() {
		let dir = tempfile::tempdir().unwrap();
		let stamps = Stamps::new(dir.path());
		let now = now_ms();
		assert!(stamps.follow_chain(now - YEAR), "the first block");
		assert_eq!(stamps.next(), now - YEAR + AHEAD_MS);
		assert!(!stamps.follow_chain(now - YEAR / 2));
		assert!(stamps.follow_chain(now), "the clock counts from here on");
		assert!(stamps.next() >= now);
		assert!(!stamps.follow_chain(now + 6_000));
	}

	#[test]
	fn a_twin_is_met_once_in_a_while_and_own_records_are_none() {
		let dir = tempfile::tempdir().unwrap();
		let stamps = Stamps::new(dir.path());
		stamps.follow_chain(now_ms());
		let own = stamps.next();
		assert_eq!(stamps.meet(own, true), RecordConclusion::Nothing);
		// Old records from before its start are not a twin's, nor is the first newer one.
		assert_eq!(stamps.meet(own - 5, false), RecordConclusion::Nothing);
		assert_eq!(stamps.meet(own + 5, false), RecordConclusion::Above);
		assert_eq!(stamps.next(), own + 6);
		assert_eq!(stamps.meet(own + 6, true), RecordConclusion::Nothing);
		assert_eq!(stamps.meet(own + 7, false), RecordConclusion::Twin);
		assert!(stamps.next() > own + 7);
		assert_eq!(stamps.meet(own + YEAR, false), RecordConclusion::Known);
		assert_eq!(stamps.next(), own + YEAR + 1);
		// Two records with one stamp.
		assert_eq!(stamps.meet(own + YEAR + 1, false), RecordConclusion::Known);
		assert_eq!(stamps.meet(u64::MAX, false), RecordConclusion::Known);
		assert_eq!(stamps.next(), u64::MAX);
	}
}
