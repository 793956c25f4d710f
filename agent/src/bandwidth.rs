//! Bandwidth between two agents.
//!
//! The checker sends ChaCha8 bytes of a seed that only it knows, in chunks, over several streams.
//! The worker answers each chunk in its order: with the chunk itself as long as its upload keeps up,
//! else with the chunk's hash. Both prove that the chunk came down; the first also that it went up.
//! The checker counts by its own clock and drops the first fifth.
//!
//! It sends no faster than a twentieth above its share of what is claimed: more would prove nothing
//! more, and would take from the other seats.

use crate::hash::{Hash, stream};
use chacha20::rand_core::Rng;
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

/// Streams of one measurement.
pub const STREAMS: usize = 4;
/// Bytes of a chunk.
pub const CHUNK: usize = 32 * 1024;
/// Chunks that wait for the upload before the worker answers with hashes.
const BACKLOG: usize = 16;
const HASH: u8 = 0;
const ECHO: u8 = 1;

/// What a worker's line does, all seats together, as one checker estimates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
	/// Towards the worker, in Mb/s.
	pub down_mbps: u32,
	/// From the worker, in Mb/s.
	pub up_mbps: u32,
}

/// Why a measurement came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BandwidthError {
	/// The worker answered with bytes that are not those sent.
	#[error("the worker echoed other bytes")]
	Forged,
	/// The stream ended or broke.
	#[error("the stream: {0}")]
	Io(#[from] std::io::Error),
}

/// The worker's side of one stream, until the checker ends it.
pub async fn echo<R, W>(mut from: R, mut to: W) -> std::io::Result<()>
where
	R: AsyncRead + Unpin,
	W: AsyncWrite + Unpin,
{
	let (queue, mut queued) = mpsc::channel::<(u8, Vec<u8>)>(BACKLOG * 16);
	let read = async move {
		loop {
			let mut chunk = vec![0u8; CHUNK];
			if from.read_exact(&mut chunk).await.is_err() {
				return;
			}
			let waiting = queue.max_capacity() - queue.capacity();
			let answer = if waiting < BACKLOG {
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

/// Most seconds that are counted each by itself.
const SECONDS: usize = 60;

/// Bytes that one checker saw go each way, in each second of the time that counts.
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
	fn count(&self, second: usize, echoed: bool) {
		self.down[second].fetch_add(CHUNK as u64, Ordering::Relaxed);
		if echoed {
			self.up[second].fetch_add(CHUNK as u64, Ordering::Relaxed);
		}
	}

	/// The estimate for the whole line: as many times what this checker saw as there are seats, in the
	/// median second, so that one that something held up does not count.
	pub fn rates(&self, window: Window, seats: u8) -> Rates {
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

/// When a measurement begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Window {
	start: Instant,
	length: Duration,
}

impl Window {
	/// A window of `length` from `start`.
	pub fn new(start: Instant, length: Duration) -> Self {
		Self { start, length }
	}

	fn dropped(&self) -> Duration {
		self.length / 5
	}

	fn counted(&self) -> Duration {
		self.length - self.dropped()
	}

	/// When it is over.
	pub fn end(&self) -> Instant {
		self.start + self.length
	}

	/// Into how many parts of about a second the time that counts is divided, and how long each is.
	fn seconds(&self) -> (usize, Duration) {
		let seconds = self.counted().as_secs().clamp(1, SECONDS as u64);
		(seconds as usize, self.counted() / seconds as u32)
	}

	/// The second in which something came, if it counts.
	fn second(&self, now: Instant) -> Option<usize> {
		let since = now.checked_duration_since(self.start + self.dropped())?;
		let (seconds, length) = self.seconds();
		let second = (since.as_nanos() / length.as_nanos().max(1)) as usize;
		(second < seconds && now < self.end()).then_some(second)
	}
}

/// The checker's side of one stream: sends within the window at up to `bytes_per_second`, and
/// counts what comes back.
pub async fn measure<R, W>(
	mut from: R,
	mut to: W,
	secret: Hash,
	number: u64,
	window: Window,
	bytes_per_second: u64,
	counter: Arc<Counter>,
) -> Result<(), BandwidthError>
where
	R: AsyncRead + Unpin,
	W: AsyncWrite + Unpin,
{
	let send = async move {
		let mut source = stream(&secret, number);
		let mut chunk = vec![0u8; CHUNK];
		let pace = Duration::from_secs_f64(CHUNK as f64 / bytes_per_second.max(1) as f64);
		let mut next = window.start;
		while next < window.end() {
			tokio::time::sleep_until(next).await;
			if Instant::now() >= window.end() {
				break;
			}
			source.fill_bytes(&mut chunk);
			// A worker may stop reading at any time; what came back counts.
			if tokio::time::timeout_at(window.end(), to.write_all(&chunk))
				.await
				.is_err()
			{
				break;
			}
			// What a stall of up to half a second held back is made up for.
			let earliest = Instant::now().checked_sub(Duration::from_millis(500));
			next = (next + pace).max(earliest.unwrap_or(window.start));
		}
		let _ = to.shutdown().await;
	};
	let receive = async move {
		let mut source = stream(&secret, number);
		let mut sent = vec![0u8; CHUNK];
		let mut came = vec![0u8; CHUNK];
		loop {
			let tag = match tokio::time::timeout_at(window.end(), from.read_u8()).await {
				Ok(Ok(tag)) => tag,
				// The window is over, or the worker ended the stream.
				_ => return Ok(()),
			};
			let length = match tag {
				HASH => 32,
				ECHO => CHUNK,
				_ => return Err(BandwidthError::Forged),
			};
			let came = &mut came[..length];
			match tokio::time::timeout_at(window.end(), from.read_exact(came)).await {
				Ok(Ok(_)) => (),
				_ => return Ok(()),
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
			if let Some(second) = window.second(Instant::now()) {
				counter.count(second, tag == ECHO);
			}
		}
	};
	tokio::select! {
		result = receive => result,
		// When all is sent, what is under way may still come until the window is over.
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
		let window = Window::new(Instant::now(), Duration::from_millis(500));
		let measured = measure(from, to, [7; 32], 2, window, rate, counter.clone());
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
		let window = Window::new(start, Duration::from_secs(10));
		let counter = Counter::default();
		assert_eq!(window.second(start + Duration::from_millis(1_999)), None);
		assert_eq!(window.second(start + Duration::from_secs(10)), None);
		// A hundred chunks a second, none in two of the seconds, and a thousand in a third.
		for second in 2..10 {
			let at = window.second(start + Duration::from_secs(second)).unwrap();
			let chunks = match second {
				3 | 4 => 0,
				5 => 1_000,
				_ => 100,
			};
			(0..chunks).for_each(|_| counter.count(at, second > 6));
		}
		let rates = counter.rates(window, 3);
		// 3 · 100 · 32 KiB · 8 bits; of the uploads, three seconds of eight are not the median.
		assert_eq!((rates.down_mbps, rates.up_mbps), (78, 0));
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
