//! Classifies the ends of containers by the engine's events.
//!
//! An exit counts as the program's own only if the agent received the engine's events throughout, and none
//! was a signal or a stop from outside. A machine that is switched off, an engine that restarts, a provider
//! who stops a container by hand: none of them is an exit of the customer's program.

use super::engine::Engine;
use bollard::models::EventMessage;
use futures::StreamExt;
use parking_lot::Mutex;
use std::{
	collections::BTreeMap,
	sync::Arc,
	time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Maximum number of containers whose end is remembered.
const MAX_ENDINGS: usize = 1_024;
/// Time that a stream without events has to stay open to count as accepted.
const SETTLED: Duration = Duration::from_secs(1);
/// Pause before the next subscription.
const AGAIN: Duration = Duration::from_secs(2);
/// Exit code of SIGKILL, which no program in a container can send to its first process.
const KILLED: i64 = 137;

/// State of the subscription to the engine's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Listening {
	#[default]
	Not,
	/// Requested at that time, and not refused yet.
	Perhaps(Instant),
	/// Without a gap since that time.
	Since(Instant),
}

/// Events of a container since its last start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ending {
	/// It received a signal or a stop from outside.
	touched: bool,
	/// Its first process ended.
	ended: bool,
}

/// Cause of a container's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
	/// Its program ended by itself.
	Own,
	/// It was ended from outside.
	Foreign,
	/// The cause cannot be known.
	Doubtful,
	/// The cause is not known yet; more events may come.
	Unsure,
}

/// Events of the engine.
#[derive(Debug, Default)]
pub(super) struct Watch {
	listening: Mutex<Listening>,
	endings: Mutex<BTreeMap<String, Ending>>,
	/// Wakes the supervisors when a container ends.
	pub ended: Notify,
}

impl Watch {
	fn note(&self, event: EventMessage) {
		let Some(id) = event.actor.and_then(|actor| actor.id) else {
			return;
		};
		let mut endings = self.endings.lock();
		if endings.len() >= MAX_ENDINGS && !endings.contains_key(&id) {
			endings.clear();
		}
		match event.action.as_deref() {
			// Podman names some of them in the past tense.
			Some("start") => drop(endings.remove(&id)),
			Some("kill" | "stop" | "remove" | "destroy") => {
				endings.entry(id).or_default().touched = true;
			}
			Some("die" | "died") => {
				endings.entry(id).or_default().ended = true;
				drop(endings);
				self.ended.notify_waiters();
			}
			_ => (),
		}
	}

	/// Returns the cause of the end of a container that was last seen running at `seen`.
	pub fn exit(&self, id: &str, code: i64, out_of_memory: bool, seen: Option<Instant>) -> Exit {
		let listening = *self.listening.lock();
		let before = |since: Instant| seen.is_some_and(|seen| since <= seen);
		let ending = self.endings.lock().get(id).copied().unwrap_or_default();
		if ending.touched {
			return Exit::Foreign;
		}
		match listening {
			_ if code == KILLED && !out_of_memory => Exit::Doubtful,
			Listening::Since(since) if before(since) && ending.ended => Exit::Own,
			Listening::Since(since) | Listening::Perhaps(since) if before(since) => Exit::Unsure,
			_ => Exit::Doubtful,
		}
	}
}

/// Follows the engine's events about containers with this label for as long as the agent runs. Calls
/// `engine` for the current engine before each subscription.
pub(super) async fn follow(
	watch: Arc<Watch>,
	label: String,
	engine: impl Fn() -> Option<Arc<Engine>>,
) {
	loop {
		if let Some(engine) = engine()
			&& let Ok(stream) = engine.events(&label).await
		{
			let mut stream = std::pin::pin!(stream);
			// The engine does not confirm a subscription, but it refuses one soon.
			let begun = Instant::now();
			let listening = |now| *watch.listening.lock() = now;
			listening(Listening::Perhaps(begun));
			let first = tokio::time::timeout(SETTLED, stream.next()).await;
			if !matches!(first, Ok(None | Some(Err(_)))) {
				listening(Listening::Since(begun));
				let first = futures::stream::iter(first.ok().flatten());
				let mut events = first.chain(stream);
				while let Some(Ok(event)) = events.next().await {
					watch.note(event);
				}
				tracing::debug!("the engine's events have ended");
			}
			listening(Listening::Not);
		}
		tokio::time::sleep(AGAIN).await;
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::EventActor;

	fn event(watch: &Watch, action: &str) {
		watch.note(EventMessage {
			action: Some(action.into()),
			actor: Some(EventActor {
				id: Some("c".into()),
				attributes: None,
			}),
			..Default::default()
		});
	}

	fn listening() -> (Watch, Option<Instant>) {
		let watch = Watch::default();
		*watch.listening.lock() = Listening::Since(Instant::now());
		(watch, Some(Instant::now()))
	}

	#[test]
	fn an_exit_is_the_programs_own_if_it_was_seen_and_nothing_touched_the_container() {
		let (watch, seen) = listening();
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Unsure);
		event(&watch, "die");
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Own);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Own);
		assert_eq!(watch.exit("c", 137, true, seen), Exit::Own);
		assert_eq!(watch.exit("c", 137, false, seen), Exit::Doubtful);
		event(&watch, "start");
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Unsure);
	}

	#[test]
	fn an_exit_is_not_the_programs_own_after_a_stop_or_a_gap_in_the_events() {
		let (watch, seen) = listening();
		event(&watch, "kill");
		event(&watch, "die");
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Foreign);
		event(&watch, "start");
		event(&watch, "died");
		assert_eq!(watch.exit("c", 0, false, None), Exit::Doubtful);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Own);
		// The engine was away in between.
		let now = Instant::now();
		*watch.listening.lock() = Listening::Since(now);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Doubtful);
		*watch.listening.lock() = Listening::Not;
		assert_eq!(watch.exit("c", 0, false, Some(now)), Exit::Doubtful);
		// The subscription is not confirmed yet.
		*watch.listening.lock() = Listening::Perhaps(now);
		assert_eq!(watch.exit("c", 0, false, Some(now)), Exit::Unsure);
		assert_eq!(watch.exit("c", 137, false, Some(now)), Exit::Doubtful);
	}

	#[test]
	fn the_number_of_remembered_ends_is_bounded() {
		let watch = Watch::default();
		for id in 0..3 * MAX_ENDINGS {
			watch.note(EventMessage {
				action: Some("die".into()),
				actor: Some(EventActor {
					id: Some(id.to_string()),
					attributes: None,
				}),
				..Default::default()
			});
		}
		assert!(watch.endings.lock().len() <= MAX_ENDINGS);
	}
}
