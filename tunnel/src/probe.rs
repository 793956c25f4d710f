//! Tests whether a container answers, without a customer's key.
//!
//! A checker connects as a customer does, and sends a request that any server can receive: [`PROBE`]. A web
//! server answers it. A server of another protocol sends something of its own, or waits for the client; so a
//! stream that stays open for a while counts as well. A stream that is closed at once does not: no server is
//! there.
//!
//! A checker is a stranger to the customer. So the agent lets only this one request through for it, and
//! returns no more than the first byte of the answer.

use crate::carry::Ends;
use iroh::endpoint::{RecvStream, SendStream};
use std::{io, time::Duration};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::TcpStream,
	time::timeout,
};

/// Request that a checker sends.
pub const PROBE: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// Timeout of a probe at the agent.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// Lets a probe through to the container, and nothing else. This is the agent's part.
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
