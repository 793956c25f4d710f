//! Decides the fate of each datagram or piece in one direction of a line, without sockets or clocks.

use super::Settings;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use tokio::time::Instant;

/// The fate of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
	/// It arrives, and once more if it is duplicated.
	Arrives { at: Instant, again: Option<Instant> },
	/// Chance lost it.
	Lost,
	/// The queue for the rate is full.
	Overflows,
}

/// The fate of a piece of a TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
	/// Time at which the line can take the next one.
	pub sent: Instant,
	/// Time at which it arrives, unless a piece before it is late.
	pub at: Instant,
	/// Whether it had to be sent again.
	pub lost: bool,
}

/// Draws fates by the settings.
pub(super) struct Shaper {
	random: ChaCha8Rng,
	/// Time at which the line has sent everything in its queue.
	free: Option<Instant>,
}

impl Shaper {
	/// Takes one of the random streams of a seed.
	pub fn new(seed: u64, stream: u64) -> Self {
		let mut random = ChaCha8Rng::seed_from_u64(seed);
		random.set_stream(stream);
		Self { random, free: None }
	}

	pub fn datagram(&mut self, settings: &Settings, now: Instant, bytes: usize) -> Fate {
		// Every datagram draws for every setting, so that one setting does not change the hits of another.
		let lost = self.hits(settings.loss);
		let twice = self.hits(settings.duplication);
		let jitter = [self.jitter(settings), self.jitter(settings)];
		let free = self.free.map_or(now, |free| free.max(now));
		if settings.rate.is_some() && free - now > settings.queue {
			return Fate::Overflows;
		}
		let sent = self.send(settings, free, bytes);
		if lost {
			return Fate::Lost;
		}
		let arrives = |jitter| sent + settings.delay + jitter;
		Fate::Arrives {
			at: arrives(jitter[0]),
			again: twice.then(|| arrives(jitter[1])),
		}
	}

	pub fn piece(&mut self, settings: &Settings, now: Instant, bytes: usize) -> Piece {
		let lost = self.hits(settings.loss);
		let jitter = self.jitter(settings);
		let free = self.free.map_or(now, |free| free.max(now));
		let sent = self.send(settings, free, bytes);
		let resend = if lost {
			settings.resend
		} else {
			Duration::ZERO
		};
		Piece {
			sent,
			at: sent + settings.delay + jitter + resend,
			lost,
		}
	}

	/// Occupies the line from `free` on for as long as the bytes take.
	fn send(&mut self, settings: &Settings, free: Instant, bytes: usize) -> Instant {
		let takes = settings.rate.map_or(Duration::ZERO, |rate| {
			Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64)
		});
		let sent = free + takes;
		self.free = Some(sent);
		sent
	}

	fn hits(&mut self, chance: f64) -> bool {
		self.random.random_bool(chance)
	}

	fn jitter(&mut self, settings: &Settings) -> Duration {
		settings.jitter.mul_f64(self.random.random())
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const MS: Duration = Duration::from_millis(1);

	fn arrivals(settings: &Settings, seed: u64, count: usize) -> Vec<Fate> {
		let mut shaper = Shaper::new(seed, 0);
		let now = Instant::now();
		(0..count)
			.map(|_| shaper.datagram(settings, now, 1_000))
			.collect()
	}

	fn at(fate: &Fate) -> Instant {
		match fate {
			Fate::Arrives { at, .. } => *at,
			other => panic!("{other:?}"),
		}
	}

	#[test]
	fn a_plain_line_changes_nothing() {
		let now = Instant::now();
		let mut shaper = Shaper::new(1, 0);
		for _ in 0..100 {
			let fate = shaper.datagram(&Settings::default(), now, 1_000);
			assert_eq!(
				fate,
				Fate::Arrives {
					at: now,
					again: None
				}
			);
		}
	}

	#[test]
	fn a_rate_spaces_datagrams_and_drops_those_that_wait_too_long() {
		// 1,000 bytes take a millisecond.
		let settings = Settings {
			rate: Some(8_000_000),
			delay: 5 * MS,
			queue: 10 * MS,
			..Default::default()
		};
		let fates = arrivals(&settings, 1, 20);
		let first = at(&fates[0]);
		for (place, fate) in fates.iter().enumerate() {
			if place <= 10 {
				assert_eq!(at(fate), first + MS * place as u32);
			} else {
				assert_eq!(*fate, Fate::Overflows, "{place}");
			}
		}
		// A line at rest lets the next ones through.
		let mut shaper = Shaper::new(1, 0);
		let now = Instant::now();
		for second in 0..5 {
			let now = now + Duration::from_secs(second);
			assert_eq!(at(&shaper.datagram(&settings, now, 1_000)), now + 6 * MS);
		}
	}

	#[test]
	fn chances_hit_as_often_as_they_say() {
		let settings = Settings {
			loss: 0.1,
			duplication: 0.3,
			..Default::default()
		};
		let fates = arrivals(&settings, 7, 10_000);
		let lost = fates.iter().filter(|fate| **fate == Fate::Lost).count();
		let twice = fates
			.iter()
			.filter(|fate| matches!(fate, Fate::Arrives { again: Some(_), .. }))
			.count();
		// Five standard deviations: the seed decides, so it either always passes or never.
		assert!(lost.abs_diff(1_000) < 150, "{lost}");
		assert!(twice.abs_diff(2_700) < 230, "{twice}");
		let always = Settings {
			loss: 1.0,
			..Default::default()
		};
		assert_eq!(arrivals(&always, 7, 100), [Fate::Lost; 100]);
	}

	#[test]
	fn jitter_reorders_datagrams_within_its_bounds() {
		let settings = Settings {
			delay: 10 * MS,
			jitter: 20 * MS,
			..Default::default()
		};
		let mut shaper = Shaper::new(3, 0);
		let now = Instant::now();
		let times: Vec<Duration> = (0..1_000)
			.map(|_| at(&shaper.datagram(&settings, now, 1_000)) - now)
			.collect();
		assert!(times.iter().all(|time| (10 * MS..=30 * MS).contains(time)));
		assert!(times.iter().min().unwrap() < &(11 * MS));
		assert!(times.iter().max().unwrap() > &(29 * MS));
		assert!(!times.is_sorted());
	}

	#[test]
	fn a_seed_repeats_and_a_setting_does_not_change_what_another_hits() {
		let lossy = Settings {
			loss: 0.2,
			..Default::default()
		};
		let losses = |settings: &Settings, seed| -> Vec<bool> {
			arrivals(settings, seed, 500)
				.iter()
				.map(|fate| *fate == Fate::Lost)
				.collect()
		};
		assert_eq!(losses(&lossy, 5), losses(&lossy, 5));
		assert_ne!(losses(&lossy, 5), losses(&lossy, 6));
		let worse = Settings {
			duplication: 0.5,
			jitter: MS,
			..lossy.clone()
		};
		assert_eq!(losses(&lossy, 5), losses(&worse, 5));
		// The two directions are not alike.
		let mut up = Shaper::new(5, 0);
		let mut down = Shaper::new(5, 1);
		let now = Instant::now();
		let of = |shaper: &mut Shaper| -> Vec<bool> {
			(0..500)
				.map(|_| shaper.datagram(&lossy, now, 1) == Fate::Lost)
				.collect()
		};
		assert_ne!(of(&mut up), of(&mut down));
	}

	#[test]
	fn a_piece_that_is_lost_comes_late() {
		let settings = Settings {
			delay: 5 * MS,
			loss: 1.0,
			rate: Some(8_000_000),
			resend: 100 * MS,
			..Default::default()
		};
		let mut shaper = Shaper::new(1, 0);
		let now = Instant::now();
		for place in 1..=3 {
			let sent = now + MS * place;
			assert_eq!(
				shaper.piece(&settings, now, 1_000),
				Piece {
					sent,
					at: sent + 105 * MS,
					lost: true
				}
			);
		}
	}
}
