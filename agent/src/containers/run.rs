//! The state of a supervisor between two looks at an order, and its decisions on it.

use super::watch::Exit;
use kaisar_primitives::OrderId;
use std::time::{Duration, Instant};

/// Time for the engine to report the cause of a container's end.
const UNSURE: Duration = Duration::from_secs(3);
/// Number of revivals after which an end of unknown cause counts as the program's own.
const DOUBTS: u32 = 3;
/// Longest pause between two revivals, in seconds.
const REVIVE_MOST: u64 = 300;
/// Time that a container has to run for its revivals to be forgotten.
pub(super) const STEADY: Duration = Duration::from_secs(600);

/// State of a supervisor between two looks at an order.
#[derive(Debug, Default)]
pub(super) struct Run {
	pub order: Option<OrderId>,
	/// The order was served before: its faults are repaired, and it no longer fails.
	pub ran: bool,
	pub pulls: u32,
	pub starts: u32,
	/// Last error.
	pub last: String,
	/// Start of the engine's silence.
	pub silent: Option<Instant>,
	/// Id of the container that the fields below describe.
	pub container: Option<String>,
	pub started: Option<Instant>,
	/// Last time it was seen running.
	pub seen: Option<Instant>,
	/// Time of its first answer.
	pub answers: Option<Instant>,
	/// Time since which it has been down without a reported cause.
	pub unsure: Option<Instant>,
	/// The supervisor stopped it for another start.
	pub stopped_here: bool,
	pub revived: u32,
	pub revive_at: Option<Instant>,
}

impl Run {
	/// Records that a container was started, or was found running.
	pub fn started(&mut self, id: &str) {
		let now = Instant::now();
		self.container = Some(id.to_owned());
		self.started = Some(now);
		self.seen = Some(now);
		self.answers = None;
		self.unsure = None;
		self.stopped_here = false;
	}

	/// Returns whether a container that was stopped or removed from outside may be started again now. The
	/// pauses double.
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

	/// Decides the cause of a container's end; `None` while the engine may still report it.
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
	fn pauses_between_revivals_grow() {
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
	fn an_exit_is_settled_once_the_engine_had_time_to_report_its_cause() {
		let mut run = Run::default();
		assert_eq!(run.settle(Exit::Own), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Foreign), Some(Exit::Foreign));
		assert_eq!(run.settle(Exit::Doubtful), Some(Exit::Doubtful));
		assert_eq!(run.settle(Exit::Unsure), None);
		run.unsure = Instant::now().checked_sub(UNSURE);
		assert_eq!(run.settle(Exit::Unsure), Some(Exit::Doubtful));
		// After `DOUBTS` revivals, an end of unknown cause is the program's own.
		run.revived = DOUBTS;
		assert_eq!(run.settle(Exit::Unsure), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Doubtful), Some(Exit::Own));
		assert_eq!(run.settle(Exit::Foreign), Some(Exit::Foreign));
	}
}
