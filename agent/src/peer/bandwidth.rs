//! Bandwidth between two agents.
//!
//! The checker sends ChaCha8 bytes of a seed that only it knows, in chunks, over several streams, and
//! marks the chunks that it wants back. The worker answers each in order: with the chunk itself if it is
//! wanted and the upload keeps up, otherwise with the chunk's hash. Both prove that the chunk came down; the
//! first also that it went up. The checker counts by its own clock and drops the first fifth.
//!
//! All seats together offer a little less than a line of the claimed tier carries, and want back as much as
//! its upload carries ([`Offer`]). So a line with an honest claim is never full: every seat gets its whole
//! offer through, no seat takes from another, and no packet is lost. The part of a claim above its tier has
//! no effect and is not measured.

use crate::trial::{
	hash::{Hash, stream},
	judge::Rates,
};
use chacha20::rand_core::Rng;
use kaisar_math::tiers::{self, BANDWIDTH};
use parking_lot::Mutex;
use std::{
	sync::{
		Arc,
		atomic::{AtomicU64, Ordering},
	},
	time::Duration,
};
use tokio::{
	io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
	sync::mpsc,
	time::Instant,
};

/// Number of streams of a measurement.
pub const STREAMS: usize = 4;
/// Length of a chunk, in bytes.
pub const CHUNK: usize = 32 * 1024;
/// Number of chunks that wait for the upload before the worker answers with hashes.
const BACKLOG: usize = 32;
const HASH: u8 = 0;
const ECHO: u8 = 1;
/// Offered part of a line, in hundredths. The rest is for the packets' headers, a seventeenth, and the other
/// direction's acknowledgements.
const OFFERED: u64 = 93;

/// Reason why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum BandwidthError {
	/// The worker answered with other bytes than the checker sent.
	#[error("the worker echoed other bytes than were sent")]
	Forged,
	/// The stream ended or broke.
	#[error("the stream ended or broke: {0}")]
	Io(#[from] std::io::Error),
}

/// The bytes that one stream of a seat sends, and the part of them that it wants back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
	/// Interval of chunks.
	interval: Duration,
	/// Number of chunks of which `back` are wanted back.
	of: u32,
	/// Number of chunks out of `of` that are wanted back.
	back: u32,
}

impl Offer {
	/// Returns a seat's part of the offer to a worker with this claim, in Mb/s down and up: enough for the
	/// claim's tier. `None` if the claim is below the lowest tier.
	pub fn for_claim(down_mbps: u32, up_mbps: u32, seats: u8) -> Option<Self> {
		let tier = usize::from(tiers::bandwidth(down_mbps, up_mbps));
		let (down, up) = BANDWIDTH[tier.checked_sub(1)?];
		let streams = u64::from(seats.max(1)) * STREAMS as u64;
		// 1 Mb/s is 1 bit per microsecond.
		let nanos = CHUNK as u64 * 8 * streams * 1_000 * 100 / (u64::from(down) * OFFERED);
		Some(Self {
			interval: Duration::from_nanos(nanos),
			of: down,
			back: up,
		})
	}

	/// Returns an offer at this rate, with all chunks wanted back.
	pub fn steady(bytes_per_second: u64) -> Self {
		Self {
			interval: Duration::from_secs_f64(CHUNK as f64 / bytes_per_second.max(1) as f64),
			of: 1,
			back: 1,
		}
	}

	/// Returns the bits per second that all streams of the seat send, and those that they want back.
	fn bits(&self) -> (u64, u64) {
		let nanos = self.interval.as_nanos().max(1);
		let sent = CHUNK as u128 * 8 * STREAMS as u128 * 1_000_000_000 / nanos;
		let sent = u64::try_from(sent).unwrap_or(u64::MAX);
		let back = u128::from(sent) * u128::from(self.back) / u128::from(self.of.max(1));
		(sent, back as u64)
	}

	/// Returns whether a chunk is wanted back. Such chunks are spread evenly.
	fn wants_back(&self, chunk: u64) -> bool {
		let until = |chunk: u64| chunk * u64::from(self.back) / u64::from(self.of);
		until(chunk + 1) > until(chunk)
	}
}

/// A checker's own line, which its concurrent measurements share.
#[derive(Default)]
pub struct OwnLine {
	/// Bits per second that it can send and receive. `None` if the operator does not name them: it is never
	/// full.
	most: Option<(u64, u64)>,
	/// Bits per second that measurements take now.
	taken: Mutex<(u64, u64)>,
}

impl OwnLine {
	/// Creates a line of this speed, up and down in Mb/s.
	pub fn of_mbps(up: u32, down: u32) -> Self {
		let bits = |mbps: u32| u64::from(mbps) * 1_000_000;
		Self {
			most: Some((bits(up), bits(down))),
			taken: Mutex::default(),
		}
	}

	/// Takes the part of the line that an offer needs, until the result is dropped. `None` if the line is
	/// full: the measurement would find the speed of the checker's line, not the worker's.
	pub fn take(&self, offer: &Offer) -> Option<Reservation<'_>> {
		let (sent, back) = offer.bits();
		let mut taken = self.taken.lock();
		let (up, down) = (taken.0.saturating_add(sent), taken.1.saturating_add(back));
		if self.most.is_some_and(|most| up > most.0 || down > most.1) {
			return None;
		}
		*taken = (up, down);
		Some(Reservation {
			line: self,
			sent,
			back,
		})
	}
}

/// A part of a checker's own line.
pub struct Reservation<'a> {
	line: &'a OwnLine,
	sent: u64,
	back: u64,
}

impl Drop for Reservation<'_> {
	fn drop(&mut self) {
		let mut taken = self.line.taken.lock();
		*taken = (
			taken.0.saturating_sub(self.sent),
			taken.1.saturating_sub(self.back),
		);
	}
}

/// Runs the worker's side of one stream, until the checker ends it.
pub async fn echo<R, W>(mut from: R, mut to: W) -> std::io::Result<()>
where
	R: AsyncRead + Unpin,
	W: AsyncWrite + Unpin,
{
	let (queue, mut queued) = mpsc::channel::<(u8, Vec<u8>)>(BACKLOG * 8);
	let read = async move {
		loop {
			let mut chunk = vec![0u8; CHUNK];
			let Ok(wanted) = from.read_u8().await else {
				return;
			};
			if from.read_exact(&mut chunk).await.is_err() {
				return;
			}
			let waiting = queue.max_capacity() - queue.capacity();
			let answer = if wanted == ECHO && waiting < BACKLOG {
				(ECHO, chunk)
			} else {
				(HASH, blake3::hash(&chunk).as_bytes().to_vec())
			};
			if queue.send(answer).await.is_err() {
				return;
			}
		}
	};
	let write = async move {
		while let Some((tag, bytes)) = queued.recv().await {
			to.write_all(&[tag]).await?;
			to.write_all(&bytes).await?;
		}
		to.shutdown().await
	};
	let ((), written) = tokio::join!(read, write);
	written
}

/// Maximum number of seconds with their own counters.
const SECONDS: usize = 60;

/// Bytes that one checker counted in each direction, for each second of the time that counts.
pub struct Counter {
	down: [AtomicU64; SECONDS],
	up: [AtomicU64; SECONDS],
}

impl Default for Counter {
	fn default() -> Self {
		Self {
			down: [const { AtomicU64::new(0) }; SECONDS],
			up: [const { AtomicU64::new(0) }; SECONDS],
		}
	}
}

impl Counter {
	/// Counts a chunk that came in this time. If the time spans several seconds, each gets its part: a chunk
	/// is a tenth of a stream's bytes in a second of a slow line.
	fn count(&self, window: &MeasureWindow, from: Instant, to: Instant, echoed: bool) {
		for (second, part) in window.parts(from, to) {
			let bytes = (CHUNK as f64 * part) as u64;
			self.down[second].fetch_add(bytes, Ordering::Relaxed);
			if echoed {
				self.up[second].fetch_add(bytes, Ordering::Relaxed);
			}
		}
	}

	/// Returns the estimate for the whole line: this checker's count times the number of seats, in the
	/// median second, so that single delayed seconds do not count.
	pub fn rates(&self, window: MeasureWindow, seats: u8) -> Rates {
		let (seconds, length) = window.seconds();
		let mbps = |bytes: &[AtomicU64; SECONDS]| {
			let mut bytes: Vec<u64> = bytes[..seconds]
				.iter()
				.map(|bytes| bytes.load(Ordering::Relaxed))
				.collect();
			bytes.sort_unstable();
			let bits = bytes[(seconds - 1) / 2].saturating_mul(8 * u64::from(seats.max(1)));
			u32::try_from(bits / length.as_micros().max(1) as u64).unwrap_or(u32::MAX)
		};
		Rates {
			down_mbps: mbps(&self.down),
			up_mbps: mbps(&self.up),
		}
	}
}

/// Start and length of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct MeasureWindow {
	start: Instant,
	length: Duration,
}

impl MeasureWindow {
	/// Creates a window of `length` from `start`.
	pub fn new(start: Instant, length: Duration) -> Self {
		Self { start, length }
	}

	fn dropped(&self) -> Duration {
		self.length / 5
	}

	fn counted(&self) -> Duration {
		self.length - self.dropped()
	}

	/// Returns its end.
	pub fn end(&self) -> Instant {
		self.start + self.length
	}

	/// Returns the number and the length of the parts, of about a second each, of the time that counts.
	fn seconds(&self) -> (usize, Duration) {
		let seconds = self.counted().as_secs().clamp(1, SECONDS as u64);
		(seconds as usize, self.counted() / seconds as u32)
	}

	/// Returns the counting seconds that a time overlaps, with the part of the time in each.
	fn parts(&self, from: Instant, to: Instant) -> impl Iterator<Item = (usize, f64)> {
		let (seconds, length) = self.seconds();
		let begin = self.start + self.dropped();
		let whole = to
			.saturating_duration_since(from)
			.max(Duration::from_nanos(1));
		// A time of zero length lies in one second.
		let from = from.min(to.checked_sub(whole).unwrap_or(from));
		(0..seconds).filter_map(move |second| {
			let start = begin + length * second as u32;
			let (first, last) = (from.max(start), to.min(start + length));
			let within = last.saturating_duration_since(first);
			(!within.is_zero()).then(|| (second, within.as_secs_f64() / whole.as_secs_f64()))
		})
	}
}

/// Runs the checker's side of one stream: sends the offer within the window, and counts the answers.
pub async fn measure<R, W>(
	mut from: R,
	mut to: W,
	secret: Hash,
	number: u64,
	window: MeasureWindow,
	offer: Offer,
	counter: Arc<Counter>,
) -> Result<(), BandwidthError>
where
	R: AsyncRead + Unpin,
	W: AsyncWrite + Unpin,
{
	// Number of chunks that were sent, which limits the valid answers.
	let sent = Arc::new(AtomicU64::new(0));
	let answerable = sent.clone();
	let send = async move {
		let mut source = stream(&secret, number as u32, 0);
		// The tag, and the chunk.
		let mut message = vec![0u8; 1 + CHUNK];
		let mut next = window.start;
		while next < window.end() {
			tokio::time::sleep_until(next).await;
			if Instant::now() >= window.end() {
				break;
			}
			let chunk = sent.fetch_add(1, Ordering::Relaxed);
			message[0] = if offer.wants_back(chunk) { ECHO } else { HASH };
			source.fill_bytes(&mut message[1..]);
			// A worker may stop reading at any time; chunks that came back count.
			if tokio::time::timeout_at(window.end(), to.write_all(&message))
				.await
				.is_err()
			{
				break;
			}
			// Make up for chunks that a stall of up to half a second delayed.
			let earliest = Instant::now().checked_sub(Duration::from_millis(500));
			next = (next + offer.interval).max(earliest.unwrap_or(window.start));
		}
		let _ = to.shutdown().await;
	};
	let receive = async move {
		let mut source = stream(&secret, number as u32, 0);
		let mut sent = vec![0u8; CHUNK];
		let mut came = vec![0u8; CHUNK];
		let mut last = window.start;
		for chunk in 0.. {
			let tag = match tokio::time::timeout_at(window.end(), from.read_u8()).await {
				Ok(Ok(tag)) => tag,
				// The window is over, or the worker ended the stream.
				_ => return Ok(()),
			};
			let length = match tag {
				HASH => 32,
				ECHO if offer.wants_back(chunk) => CHUNK,
				_ => return Err(BandwidthError::Forged),
			};
			let came = &mut came[..length];
			match tokio::time::timeout_at(window.end(), from.read_exact(came)).await {
				Ok(Ok(_)) => (),
				_ => return Ok(()),
			}
			if chunk >= answerable.load(Ordering::Relaxed) {
				return Err(BandwidthError::Forged);
			}
			source.fill_bytes(&mut sent);
			let fits = if tag == ECHO {
				came == sent
			} else {
				*came == blake3::hash(&sent).as_bytes()[..]
			};
			if !fits {
				return Err(BandwidthError::Forged);
			}
			let now = Instant::now();
			counter.count(&window, last, now, tag == ECHO);
			last = now;
		}
		Ok(())
	};
	tokio::select! {
		result = receive => result,
		// After the last chunk is sent, answers may come until the window is over.
		_ = async { send.await; tokio::time::sleep_until(window.end()).await } => Ok(()),
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	async fn run(
		worker: impl AsyncFnOnce(tokio::io::DuplexStream) -> std::io::Result<()>,
		rate: u64,
	) -> (Result<(), BandwidthError>, Rates) {
		let (here, there) = tokio::io::duplex(1 << 20);
		let (from, to) = tokio::io::split(here);
		let counter = Arc::new(Counter::default());
		let window = MeasureWindow::new(Instant::now(), Duration::from_millis(500));
		let offer = Offer::steady(rate);
		let measured = measure(from, to, [7; 32], 2, window, offer, counter.clone());
		let (measured, _) = tokio::join!(measured, worker(there));
		(measured, counter.rates(window, 3))
	}

	async fn honest(there: tokio::io::DuplexStream) -> std::io::Result<()> {
		let (from, to) = tokio::io::split(there);
		echo(from, to).await
	}

	#[tokio::test]
	async fn an_honest_worker_is_measured_in_both_directions() {
		let (measured, rates) = run(honest, 4 << 20).await;
		measured.unwrap();
		// 4 MiB/s are 33 Mb/s, three seats 100.
		assert!((60..=130).contains(&rates.down_mbps), "{rates:?}");
		assert!(
			rates.up_mbps <= rates.down_mbps && rates.up_mbps > 40,
			"{rates:?}"
		);
	}

	#[test]
	fn a_second_that_was_held_up_does_not_count() {
		let start = Instant::now();
		let window = MeasureWindow::new(start, Duration::from_secs(10));
		let counter = Counter::default();
		// A hundred chunks per second, none in two of the seconds, and a thousand in a third.
		for second in 0..11 {
			let chunks = match second {
				3 | 4 => 0,
				5 => 1_000,
				_ => 100,
			};
			let at = |chunk: u32| {
				start + Duration::from_secs(second) + Duration::from_secs(1) * chunk / chunks
			};
			for chunk in 0..chunks {
				counter.count(&window, at(chunk), at(chunk + 1), second > 6);
			}
		}
		let rates = counter.rates(window, 3);
		// 3 · 100 · 32 KiB · 8 bits; of the uploads, three seconds of eight are not the median.
		assert_eq!((rates.down_mbps, rates.up_mbps), (78, 0));
	}

	#[test]
	fn what_is_offered_is_a_little_less_than_the_line_of_the_tier() {
		let rate = |offer: Offer, seats: u64| {
			let streams = seats * STREAMS as u64;
			(CHUNK as u64 * 8 * streams * 1_000) / offer.interval.as_nanos() as u64
		};
		for (claim, seats, line) in [
			((75, 75), 5, 75),
			((399, 900), 3, 75),
			((400, 300), 1, 400),
			((10_000, 1_199), 15, 800),
			((u32::MAX, u32::MAX), 3, 1_600),
		] {
			let offer = Offer::for_claim(claim.0, claim.1, seats).unwrap();
			let offered = rate(offer, seats.into());
			assert!(
				(line * 92 / 100..line).contains(&offered),
				"{claim:?}: {offered}"
			);
		}
		assert_eq!(Offer::for_claim(74, 900, 3), None);
		// The offer wants back as much as the upload of the tier carries.
		for (claim, back) in [((75, 75), 4), ((400, 300), 3), ((1_600, 1_200), 3)] {
			let offer = Offer::for_claim(claim.0, claim.1, 3).unwrap();
			for from in [0, 1, 1_000_001] {
				let wanted = (from..from + 4).filter(|chunk| offer.wants_back(*chunk));
				assert_eq!(wanted.count(), back, "{claim:?}");
			}
		}
	}

	#[test]
	fn a_checkers_own_line_is_full_when_its_measurements_together_exceed_it() {
		// A tier 4 claim before four seats: 372 Mb/s to the worker, 279 back.
		let offer = Offer::for_claim(1_600, 1_200, 4).unwrap();
		let line = OwnLine::of_mbps(800, 1_000);
		let first = line.take(&offer).unwrap();
		let second = line.take(&offer).unwrap();
		assert!(line.take(&offer).is_none());
		drop(first);
		assert!(line.take(&offer).is_some());
		drop(second);
		assert_eq!(*line.taken.lock(), (0, 0));
		assert!(OwnLine::of_mbps(1_000, 200).take(&offer).is_none());
		let unnamed = OwnLine::default();
		let all: Vec<_> = (0..1_000).map_while(|_| unnamed.take(&offer)).collect();
		assert_eq!(all.len(), 1_000);
	}

	#[test]
	fn a_chunk_counts_in_the_seconds_in_which_it_came() {
		let start = Instant::now();
		let window = MeasureWindow::new(start, Duration::from_secs(10));
		let at = |millis| start + Duration::from_millis(millis);
		let parts = |from, to| window.parts(at(from), at(to)).collect::<Vec<_>>();
		assert_eq!(parts(0, 1_999), []);
		assert_eq!(parts(10_000, 10_001), []);
		assert_eq!(parts(2_100, 2_200), [(0, 1.0)]);
		assert_eq!(parts(1_500, 2_500), [(0, 0.5)]);
		assert_eq!(parts(2_500, 4_500), [(0, 0.25), (1, 0.5), (2, 0.25)]);
		assert_eq!(parts(9_000, 11_000), [(7, 0.5)]);
		assert_eq!(parts(3_500, 3_500), [(1, 1.0)], "a moment");
	}

	#[tokio::test]
	async fn a_worker_that_sends_back_what_is_not_wanted_is_found_out() {
		let (here, mut there) = tokio::io::duplex(1 << 20);
		let (from, to) = tokio::io::split(here);
		let window = MeasureWindow::new(Instant::now(), Duration::from_millis(500));
		let offer = Offer {
			of: 4,
			back: 3,
			..Offer::steady(1 << 20)
		};
		let measured = measure(from, to, [7; 32], 2, window, offer, Arc::default());
		let worker = async {
			// The first of four is not wanted back; the worker sends it anyway.
			let mut message = vec![0; 1 + CHUNK];
			there.read_exact(&mut message).await?;
			assert_eq!(message[0], HASH);
			message[0] = ECHO;
			there.write_all(&message).await
		};
		let (measured, _) = tokio::join!(measured, worker);
		assert!(matches!(measured, Err(BandwidthError::Forged)));
	}

	#[tokio::test]
	async fn a_worker_that_makes_bytes_up_is_found_out() {
		for tag in [HASH, ECHO, 9] {
			let (measured, _) = run(
				async |mut there| {
					there.write_all(&[tag]).await?;
					let _ = there.write_all(&vec![0x5a; CHUNK]).await;
					tokio::time::sleep(Duration::from_millis(100)).await;
					Ok(())
				},
				1 << 20,
			)
			.await;
			assert!(matches!(measured, Err(BandwidthError::Forged)), "tag {tag}");
		}
	}

	#[tokio::test]
	async fn a_silent_worker_gets_nothing_and_holds_nobody_up() {
		let start = Instant::now();
		let (measured, rates) = run(
			async |_there| {
				tokio::time::sleep(Duration::from_millis(700)).await;
				Ok(())
			},
			1 << 30,
		)
		.await;
		measured.unwrap();
		assert_eq!(rates, Rates::default());
		assert!(start.elapsed() < Duration::from_secs(2));
	}
}
