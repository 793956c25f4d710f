//! Forwards connections. Each direction of a connection is a pipe of pieces that arrive in the order in
//! which they were sent.

use super::{Cut, Shared, Way};
use std::{io, sync::Arc};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{
		TcpListener, TcpStream,
		tcp::{ReadHalf, WriteHalf},
	},
	sync::mpsc,
	task::JoinSet,
	time::{Instant, sleep_until},
};

/// Cap on the bytes of a piece.
const PIECE_BYTES: usize = 16 << 10;
/// Cap on the pieces in flight in one direction of a connection, 4 MiB. Beyond it a sender waits.
const MAX_PIECES: usize = 256;

/// Forwards until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
	let mut connections = JoinSet::new();
	loop {
		tokio::select! {
			accepted = listener.accept() => {
				// An error concerns a client that is gone already.
				if let Ok((client, _)) = accepted {
					connections.spawn(forward(shared.clone(), client));
				}
			},
			Some(_) = connections.join_next() => {},
		}
	}
}

/// Forwards one connection until both of its directions have ended, or one of them fails.
async fn forward(shared: Arc<Shared>, mut client: TcpStream) {
	let mut control = shared.control.subscribe();
	// The sender lives as long as the line, and so as this task: neither wait can fail.
	let open = control
		.wait_for(|control| control.cut != Some(Cut::Stall))
		.await;
	let open = open.is_ok_and(|control| control.cut.is_none());
	let server = if open {
		TcpStream::connect(shared.target).await.ok()
	} else {
		None
	};
	let Some(mut server) = server else {
		return reset(client);
	};
	let _ = (client.set_nodelay(true), server.set_nodelay(true));
	let ended = {
		let (from_client, to_client) = client.split();
		let (from_server, to_server) = server.split();
		let both = async {
			tokio::try_join!(
				pipe(&shared, Way::Up, from_client, to_server),
				pipe(&shared, Way::Down, from_server, to_client),
			)
		};
		tokio::select! {
			ended = both => ended.is_ok(),
			_ = control.wait_for(|control| control.cut == Some(Cut::Reset)) => false,
		}
	};
	if !ended {
		reset(client);
		reset(server);
	}
}

fn reset(stream: TcpStream) {
	// It may be closed already.
	let _ = stream.set_zero_linger();
}

/// Forwards one direction of a connection until its end.
async fn pipe(
	shared: &Shared,
	way: Way,
	mut from: ReadHalf<'_>,
	mut to: WriteHalf<'_>,
) -> io::Result<()> {
	let (send, mut arrive) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_PIECES);
	let read = async move {
		let mut buffer = vec![0; PIECE_BYTES];
		loop {
			let bytes = from.read(&mut buffer).await?;
			let settings = shared.control.borrow().settings.clone();
			let piece = {
				let mut lane = shared.lane(way);
				let piece = lane.shaper.piece(&settings, Instant::now(), bytes);
				if bytes > 0 {
					lane.counters.taken += 1;
					lane.counters.lost += u64::from(piece.lost);
				}
				piece
			};
			// The writing half has stopped, or the stream has ended.
			if send
				.send((piece.at, buffer[..bytes].to_vec()))
				.await
				.is_err() || bytes == 0
			{
				return io::Result::Ok(());
			}
			sleep_until(piece.sent).await;
		}
	};
	let write = async move {
		let mut control = shared.control.subscribe();
		while let Some((at, bytes)) = arrive.recv().await {
			sleep_until(at).await;
			let _ = control.wait_for(|control| control.cut.is_none()).await;
			// An empty piece is the end of the stream.
			if bytes.is_empty() {
				return to.shutdown().await;
			}
			{
				let counters = &mut shared.lane(way).counters;
				counters.forwarded += 1;
				counters.bytes += bytes.len() as u64;
			}
			to.write_all(&bytes).await?;
		}
		Ok(())
	};
	tokio::try_join!(read, write)?;
	Ok(())
}
