//! A TCP connection over a stream.

use crate::wire::RESET;
use iroh::endpoint::{RecvStream, SendStream};
use std::{
	io,
	pin::pin,
	sync::atomic::{AtomicU64, Ordering},
	time::Duration,
};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::TcpStream,
	time::timeout,
};

/// Most bytes that are taken at a time.
const CHUNK: usize = 64 * 1024;
/// How long one direction may stay silent after the other has ended. A side that is gone for good looks
/// just like one that has no more to say.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(600);
/// How long the other endpoint may take to confirm the last bytes.
const LAST_BYTES: Duration = Duration::from_secs(10);

/// Both ends of what is carried. Dropped before all is carried, for whatever reason, it resets both:
/// nobody takes half of something for the whole.
pub(crate) struct Ends {
	pub tcp: TcpStream,
	pub send: SendStream,
	pub recv: RecvStream,
	whole: bool,
}

impl Ends {
	pub fn new(tcp: TcpStream, send: SendStream, recv: RecvStream) -> Self {
		Self {
			tcp,
			send,
			recv,
			whole: false,
		}
	}

	/// All is handed over: it is carried once the other endpoint has it.
	pub async fn delivered(mut self) -> io::Result<()> {
		let confirmed = timeout(LAST_BYTES, self.send.stopped()).await;
		self.whole = matches!(confirmed, Ok(Ok(None)));
		if self.whole {
			Ok(())
		} else {
			Err(io::ErrorKind::BrokenPipe.into())
		}
	}
}

impl Drop for Ends {
	fn drop(&mut self) {
		if !self.whole {
			// What is closed already cannot be reset, and need not be.
			let _ = self.tcp.set_zero_linger();
			let _ = self.send.reset(RESET.into());
			let _ = self.recv.stop(RESET.into());
		}
	}
}

/// Carries a TCP connection over a stream, until both directions have ended or one is broken.
pub async fn carry(tcp: TcpStream, send: SendStream, recv: RecvStream) -> io::Result<()> {
	tcp.set_nodelay(true)?;
	let mut ends = Ends::new(tcp, send, recv);
	let moved = AtomicU64::new(0);
	{
		let Ends {
			tcp, send, recv, ..
		} = &mut ends;
		let (mut from, mut to) = tcp.split();
		let outward = pin!(async {
			let stopped = send.stopped();
			let mut stopped = pin!(stopped);
			let mut buffer = vec![0; CHUNK];
			loop {
				let length = tokio::select! {
					read = from.read(&mut buffer) => read?,
					_ = &mut stopped => return Err(io::ErrorKind::BrokenPipe.into()),
				};
				if length == 0 {
					break;
				}
				send.write_all(&buffer[..length]).await?;
				moved.fetch_add(length as u64, Ordering::Relaxed);
			}
			send.finish().map_err(io::Error::other)
		});
		let inward = pin!(async {
			while let Some(bytes) = recv.read_chunk(CHUNK).await? {
				to.write_all(&bytes).await?;
				moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
			}
			to.shutdown().await
		});
		both(outward, inward, &moved).await?;
	}
	ends.delivered().await
}

/// Waits until both directions have ended, and for the second only as long as something moves.
async fn both(
	mut outward: impl Future<Output = io::Result<()>> + Unpin,
	mut inward: impl Future<Output = io::Result<()>> + Unpin,
	moved: &AtomicU64,
) -> io::Result<()> {
	let outward_ended = tokio::select! {
		ended = &mut outward => { ended?; true },
		ended = &mut inward => { ended?; false },
	};
	loop {
		let before = moved.load(Ordering::Relaxed);
		let ended = if outward_ended {
			timeout(HALF_CLOSED_IDLE, &mut inward).await
		} else {
			timeout(HALF_CLOSED_IDLE, &mut outward).await
		};
		match ended {
			Ok(ended) => return ended,
			Err(_) if moved.load(Ordering::Relaxed) == before => {
				return Err(io::ErrorKind::TimedOut.into());
			}
			Err(_) => (),
		}
	}
}
