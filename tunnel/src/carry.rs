//! Carries a TCP connection over a QUIC stream.

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

/// Size of the buffer of each direction, in bytes.
const CHUNK: usize = 64 * 1024;
/// Time for which one direction may stay silent after the other has ended. A side that is gone looks the
/// same as one that has nothing more to send.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(600);
/// Timeout of the other endpoint's confirmation of the last bytes.
const LAST_BYTES: Duration = Duration::from_secs(10);

/// Both ends of a carried connection. If they are dropped before everything is carried, for whatever reason,
/// both are reset, so that neither side takes a part for the whole.
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

	/// Waits until the other endpoint has confirmed all bytes, after which the connection counts as carried.
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
			// A socket that is closed already cannot be reset, and need not be.
			let _ = self.tcp.set_zero_linger();
			let _ = self.send.reset(RESET.into());
			let _ = self.recv.stop(RESET.into());
		}
	}
}

/// Carries a TCP connection over a stream, until both directions have ended or one breaks.
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

/// Waits until both directions have ended. The second one fails once no byte has moved for
/// [`HALF_CLOSED_IDLE`].
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
