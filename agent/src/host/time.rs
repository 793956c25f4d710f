//! The clock of proofs and checks: the agent's clock, or one that a test drives. A test computes small sizes
//! and lets them arrive at the times of production.

use super::clock;
use std::{
	sync::{
		Arc,
		atomic::{AtomicI64, Ordering},
	},
	time::Duration,
};
use tokio::sync::watch;

/// Interval at which sleepers of a clock that follows the system's time look at it.
const LOOK: Duration = Duration::from_millis(20);

/// A clock, in milliseconds since about 1970. Its copies show the same time.
#[derive(Clone, Debug, Default)]
pub struct Time {
	driven: Option<Arc<watch::Sender<u64>>>,
	/// Milliseconds by which a test has set the system's time. Always 0 otherwise.
	set_by: Arc<AtomicI64>,
	/// The agent's clock jumps with the system's time. False, except in a test of the consequences.
	jumps: bool,
}

impl Time {
	/// Returns the agent's clock.
	pub fn real() -> Self {
		Self::default()
	}

	/// Returns a clock that jumps whenever the system's time is set, unlike the agent's.
	#[doc(hidden)]
	pub fn jumping() -> Self {
		Self {
			jumps: true,
			..Self::default()
		}
	}

	/// Sets the system's time ahead of the machine's for this clock and its copies.
	#[doc(hidden)]
	pub fn set_system_ahead(&self, ms: i64) {
		self.set_by.store(ms, Ordering::Relaxed);
	}

	fn as_set(&self, ms: u64) -> u64 {
		ms.saturating_add_signed(self.set_by.load(Ordering::Relaxed))
	}

	/// Returns a clock that starts at the agent's current time and stands still until it is
	/// [advanced](Self::advance).
	pub fn driven() -> Self {
		Self {
			driven: Some(Arc::new(watch::Sender::new(clock::now_ms()))),
			..Self::default()
		}
	}

	/// Advances a driven clock and wakes sleepers whose time has come. Has no effect on the real clock.
	pub fn advance(&self, by: Duration) {
		if let Some(driven) = &self.driven {
			driven.send_modify(|now| *now += by.as_millis() as u64);
		}
	}

	/// Returns the current time.
	pub fn now_ms(&self) -> u64 {
		match &self.driven {
			None if self.jumps => self.as_set(clock::now_ms()),
			None => clock::now_ms(),
			Some(driven) => *driven.borrow(),
		}
	}

	/// Returns the current date, in milliseconds since 1970: by the system's time, which may jump, or by the
	/// driven clock. Only the chain's dates are compared with it.
	pub fn wall_ms(&self) -> u64 {
		match &self.driven {
			None => self.as_set(clock::wall_ms()),
			Some(driven) => *driven.borrow(),
		}
	}

	/// Waits until the clock shows `at`.
	pub async fn sleep_until_ms(&self, at: u64) {
		match &self.driven {
			None if self.jumps => {
				while self.now_ms() < at {
					tokio::time::sleep(LOOK).await;
				}
			}
			None => {
				let wait = at.saturating_sub(clock::now_ms());
				tokio::time::sleep(Duration::from_millis(wait)).await;
			}
			// This clock holds the sender, so the channel does not close.
			Some(driven) => drop(driven.subscribe().wait_for(|now| *now >= at).await),
		}
	}

	/// Waits for a time.
	pub async fn sleep(&self, time: Duration) {
		let at = self.now_ms().saturating_add(time.as_millis() as u64);
		self.sleep_until_ms(at).await;
	}

	/// Returns the output of `work`, or `None` if it is not done when the clock shows `at`.
	pub async fn before_ms<T>(&self, at: u64, work: impl Future<Output = T>) -> Option<T> {
		tokio::select! {
			biased;
			output = work => Some(output),
			() = self.sleep_until_ms(at) => None,
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[tokio::test]
	async fn a_driven_clock_stands_still_until_it_is_advanced() {
		let time = Time::driven();
		let start = time.now_ms();
		let waiting = tokio::spawn({
			let time = time.clone();
			async move {
				time.sleep(Duration::from_secs(3_600)).await;
				time.now_ms()
			}
		});
		tokio::task::yield_now().await;
		time.advance(Duration::from_secs(3_599));
		tokio::task::yield_now().await;
		assert!(!waiting.is_finished());
		assert_eq!(time.now_ms(), start + 3_599_000);
		time.advance(Duration::from_secs(1));
		assert_eq!(waiting.await.unwrap(), start + 3_600_000);
	}

	#[tokio::test]
	async fn work_that_outlasts_its_time_is_dropped() {
		let time = Time::driven();
		let at = time.now_ms() + 10;
		assert_eq!(time.before_ms(at, async { 7 }).await, Some(7));
		let late = async {
			time.advance(Duration::from_millis(10));
			std::future::pending::<()>().await;
		};
		assert_eq!(time.before_ms(at, late).await, None);
	}

	#[tokio::test]
	async fn the_real_clock_advances() {
		let time = Time::real();
		let start = time.now_ms();
		time.sleep(Duration::from_millis(5)).await;
		assert!(time.now_ms() >= start + 5);
	}

	#[tokio::test]
	async fn the_agents_clock_ignores_changes_of_the_systems_time() {
		const HOUR: i64 = 3_600 * 1_000;
		for (time, jumps) in [(Time::real(), false), (Time::jumping(), true)] {
			let (start, wall) = (time.now_ms(), time.wall_ms());
			let sleeper = tokio::spawn({
				let time = time.clone();
				async move { time.sleep(Duration::from_secs(1_800)).await }
			});
			tokio::task::yield_now().await;
			time.set_system_ahead(HOUR);
			assert!(time.wall_ms() >= wall + HOUR as u64);
			assert_eq!(time.now_ms() >= start + HOUR as u64, jumps);
			tokio::time::sleep(5 * LOOK).await;
			assert_eq!(sleeper.is_finished(), jumps);
			sleeper.abort();
			time.set_system_ahead(-HOUR);
			assert!(time.wall_ms() < wall);
		}
	}
}
