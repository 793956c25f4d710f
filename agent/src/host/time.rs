//! The time by which proving and checking are judged: the agent's clock, or one that a test drives. A test computes
//! small sizes and has them arrive at the times of production.

use super::clock;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A clock, in milliseconds since about 1970. Its copies show the same time.
#[derive(Clone, Debug, Default)]
pub struct Time(Option<Arc<watch::Sender<u64>>>);

impl Time {
	/// The agent's clock.
	pub fn real() -> Self {
		Self(None)
	}

	/// A clock that shows the agent's current time and stands still until it is [advanced](Self::advance).
	pub fn driven() -> Self {
		Self(Some(Arc::new(watch::Sender::new(clock::now_ms()))))
	}

	/// Advances a driven clock. Sleepers whose time has come wake up. The real clock goes on by itself.
	pub fn advance(&self, by: Duration) {
		if let Some(driven) = &self.0 {
			driven.send_modify(|now| *now += by.as_millis() as u64);
		}
	}

	/// Returns the current time.
	pub fn now_ms(&self) -> u64 {
		match &self.0 {
			None => clock::now_ms(),
			Some(driven) => *driven.borrow(),
		}
	}

	/// Returns the current date, in milliseconds since 1970: by the system's time, which may jump, or by the driven
	/// clock. Only the chain's dates are compared with it.
	pub fn wall_ms(&self) -> u64 {
		match &self.0 {
			None => clock::wall_ms(),
			Some(driven) => *driven.borrow(),
		}
	}

	/// Waits until the clock shows `at`.
	pub async fn sleep_until_ms(&self, at: u64) {
		match &self.0 {
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
	async fn work_that_outlasts_its_time_is_given_up() {
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
	async fn the_real_clock_goes_on() {
		let time = Time::real();
		let start = time.now_ms();
		time.sleep(Duration::from_millis(5)).await;
		assert!(time.now_ms() >= start + 5);
	}
}
