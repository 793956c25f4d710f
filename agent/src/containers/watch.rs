//! How containers end: what the engine tells of it as it happens.
//!
//! An exit is only believed where the engine was listened to throughout and told of no signal or stop
//! from outside. A machine that was switched off, an engine that was restarted, a provider who stops a
//! container by hand: none of them is an exit of the customer's program.

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

/// Most containers of which the end is remembered.
const MAX_ENDINGS: usize = 1_024;
/// How long a stream on which nothing comes has to hold to count as one.
const SETTLED: Duration = Duration::from_secs(1);
/// Pause before listening again.
const AGAIN: Duration = Duration::from_secs(2);
/// What SIGKILL leaves: no program in a container can send it to its first process.
const KILLED: i64 = 137;

/// Whether the engine is listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Listening {
	#[default]
	Not,
	/// It was asked then, and has not said no.
	Perhaps(Instant),
	/// Without a gap since then.
	Since(Instant),
}

/// What was told of a container since it last started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ending {
	/// Someone sent it a signal, or stopped it.
	touched: bool,
	/// Its first process ended.
	ended: bool,
}

/// What is to be made of a container that does not run any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
	/// Its program ended by itself.
	Own,
	/// It was ended from outside.
	Foreign,
	/// Nobody knows.
	Doubtful,
	/// More may be told yet.
	Unsure,
}

/// What the engine told.
#[derive(Debug, Default)]
pub(super) struct Watch {
	listening: Mutex<Listening>,
	endings: Mutex<BTreeMap<String, Ending>>,
	/// Something ended: the supervisors look sooner than they would.
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
			// Podman names some of them in the past.
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

	/// What to make of a container that was seen running at `seen` and does not run any more.
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

/// Listens to the engine for as long as the agent runs, for what it tells of containers with this label.
/// `engine` is asked which engine it is each time before it is listened to.
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
			// The engine does not say that it is listened to, but it says soon if it is not.
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

	fn told(watch: &Watch, action: &str) {
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
	fn an_exit_is_believed_if_it_was_heard_and_nobody_touched_the_container() {
		let (watch, seen) = listening();
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Unsure);
		told(&watch, "die");
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Own);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Own);
		assert_eq!(watch.exit("c", 137, true, seen), Exit::Own);
		assert_eq!(watch.exit("c", 137, false, seen), Exit::Doubtful);
		told(&watch, "start");
		assert_eq!(watch.exit("c", 3, false, seen), Exit::Unsure);
	}

	#[test]
	fn an_exit_is_not_believed_if_the_container_was_stopped_or_nobody_listened() {
		let (watch, seen) = listening();
		told(&watch, "kill");
		told(&watch, "die");
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Foreign);
		told(&watch, "start");
		told(&watch, "died");
		assert_eq!(watch.exit("c", 0, false, None), Exit::Doubtful);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Own);
		// The engine was away in between.
		let now = Instant::now();
		*watch.listening.lock() = Listening::Since(now);
		assert_eq!(watch.exit("c", 0, false, seen), Exit::Doubtful);
		*watch.listening.lock() = Listening::Not;
		assert_eq!(watch.exit("c", 0, false, Some(now)), Exit::Doubtful);
		// It is not known yet whether it is listened to.
		*watch.listening.lock() = Listening::Perhaps(now);
		assert_eq!(watch.exit("c", 0, false, Some(now)), Exit::Unsure);
		assert_eq!(watch.exit("c", 137, false, Some(now)), Exit::Doubtful);
	}

	#[test]
	fn what_is_remembered_is_bounded() {
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
