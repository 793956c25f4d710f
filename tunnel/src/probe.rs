//! Finding out whether a container answers, without a customer's key.
//!
//! A checker connects as a customer does, and says what any server can be told: [`PROBE`]. A web server
//! answers it. One that speaks another language says something of its own, or waits to be spoken to; so a
//! stream that stays open for a while counts as well. One that is closed at once does not: nobody serves
//! there.
//!
//! A checker is a stranger to the customer. What the agent lets through for it is therefore this one
//! request, and of the answer no more than its first byte.

use crate::carry::Ends;
use iroh::endpoint::{RecvStream, SendStream};
use std::{io, time::Duration};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::TcpStream,
	time::timeout,
};

/// What is said.
pub const PROBE: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Longest that a probe may take at the agent.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// The agent's part: lets a probe through to the container, and nothing else.
pub(crate) async fn let_through(
	tcp: TcpStream,
	send: SendStream,
	recv: RecvStream,
) -> io::Result<()> {
	let mut ends = Ends::new(tcp, send, recv);
	let probed = async {
		let mut said = [0; PROBE.len()];
		let read = ends.recv.read_exact(&mut said).await;
		read.map_err(io::Error::other)?;
		if said != PROBE {
			return Err(io::ErrorKind::PermissionDenied.into());
		}
		ends.tcp.write_all(PROBE).await?;
		let mut answer = [0];
		let length = ends.tcp.read(&mut answer).await?;
		ends.send.write_all(&answer[..length]).await?;
		ends.send.finish().map_err(io::Error::other)
	};
	timeout(PROBE_TIME, probed).await??;
	ends.delivered().await
}
