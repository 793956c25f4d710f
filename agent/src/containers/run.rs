//! The memory of a supervisor between two looks at an order, and its decisions by that.

use super::watch::Exit;
use kaisar_primitives::OrderId;
use std::time::{Duration, Instant};

/// Time for the engine to report how a container ended.
const UNSURE: Duration = Duration::from_secs(3);
/// After how many revivals a container that nobody is known to have touched has ended by itself.
const DOUBTS: u32 = 3;
/// Longest pause between two revivals, in seconds, and how long a container has to run for them to be
/// forgotten.
const REVIVE_MOST: u64 = 300;
pub(super) const STEADY: Duration = Duration::from_secs(600);

/// The memory of a supervisor between two looks at an order.
#[derive(Debug, Default)]
pub(super) struct Run {
	pub order: Option<OrderId>,
	/// The order was served before: it does not fail any more, it is made good.
	pub ran: bool,
	pub pulls: u32,
	pub starts: u32,
	/// The last error.
	pub last: String,
	/// Since when the engine does not answer.
	pub silent: Option<Instant>,
	/// The container that the following is about.
	pub container: Option<String>,
	pub started: Option<Instant>,
	/// When it was last seen running.
	pub seen: Option<Instant>,
	/// Since when it answers.
	pub answers: Option<Instant>,
	/// Since when it does not run, and the engine has not told why.
	pub unsure: Option<Instant>,
	/// The supervisor itself stopped it, to start it once more.
	pub stopped_here: bool,
	pub revived: u32,
	pub revive_at: Option<Instant>,
}

impl Run {
	/// Notes that a container was started, or is met running.
	pub fn started(&mut self, id: &str) {
		let now = Instant::now();
		self.container = Some(id.to_owned());
		self.started = Some(now);
		self.seen = Some(now);
		self.answers = None;
		self.unsure = None;
		self.stopped_here = false;
	}

	/// Returns whether a container that was taken away may be started again now. The pauses double.
	pub fn may_revive(&mut self) -> bool {
		let now = Instant::now();
		if self.revive_at.is_some_and(|at| now < at) {
			return false;
		}
		let pause = 1u64.checked_shl(self.revived).unwrap_or(u64::MAX);
		self.revive_at = Some(now + Duration::from_secs(pause.min(REVIVE_MOST)));
		self.revived = self.revived.saturating_add(1);
		true
	}

	/// Decides what to make of a container that does not run any more. `None`: the engine may tell more
	/// yet.
	pub fn settle(&mut self, exit: Exit) -> Option<Exit> {
		let exit = match exit {
			Exit::Unsure => {
				if self.unsure.get_or_insert_with(Instant::now).elapsed() < UNSURE {
					return None;
				}
				Exit::Doubtful
			}
			exit => exit,
		};
		match exit {
			Exit::Doubtful if self.revived >= DOUBTS => Some(Exit::Own),
			exit => Some(exit),
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn revivals_come_at_growing_pauses() {
		let mut run = Run::default();
		assert!(run.may_revive() && !run.may_revive());
		for _ in 0..80 {
			run.revive_at = None;
			assert!(run.may_revive());
			let pause = run.revive_at.unwrap() - Instant::now();
			assert!(pause <= Duration::from_secs(REVIVE_MOST));
		}
	}

	#[test]
	fn an_exit_is_settled_once_the_engine_had_time_to_tell_more() {
		let mut run = Run::default();
		assert_eq!(run.settle(Exit::Own), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Foreign), Some(Exit::Foreign));
		assert_eq!(run.settle(Exit::Doubtful), Some(Exit::Doubtful));
		assert_eq!(run.settle(Exit::Unsure), None);
		run.unsure = Instant::now().checked_sub(UNSURE);
		assert_eq!(run.settle(Exit::Unsure), Some(Exit::Doubtful));
		// After so many revivals it ends by itself, whatever is known.
		run.revived = DOUBTS;
		assert_eq!(run.settle(Exit::Unsure), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Doubtful), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Foreign), Some(Exit::Foreign));
	}
}
