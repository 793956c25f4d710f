//! Tests of lines over loopback, and of QUIC through a line between two network namespaces. The latter needs
//! root and iproute2 (`scripts/setup.sh` installs it).

use iroh::{
	Endpoint, EndpointAddr, SecretKey,
	endpoint::{Connection, presets},
};
use kaisar_test_support::{
	line::{Counters, Cut, Line, Settings},
	netns::Namespace,
};
use rand_chacha::{
	ChaCha8Rng,
	rand_core::{RngCore, SeedableRng},
};
use std::{
	collections::BTreeSet,
	io::{self, ErrorKind},
	net::{Ipv4Addr, SocketAddr},
	sync::mpsc,
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{TcpListener, TcpStream, UdpSocket},
	time::timeout,
};

/// Timeout of each wait; an idle machine needs far less.
const LIMIT: Duration = Duration::from_secs(60);
/// Time within which a forbidden event would happen.
const SHORT: Duration = Duration::from_millis(50);
const LOOPBACK: &str = "127.0.0.1:0";

fn ms(number: u64) -> Duration {
	Duration::from_millis(number)
}

/// Waits until the line has counted something.
async fn counted(line: &Line, fits: impl Fn(&Counters) -> bool) {
	let waited = timeout(LIMIT, async {
		while !fits(&line.counters()) {
			tokio::time::sleep(ms(1)).await;
		}
	});
	if waited.await.is_err() {
		panic!("it is still {:?}", line.counters());
	}
}

// --- UDP ----------------------------------------------------------------------------------------

async fn socket() -> UdpSocket {
	UdpSocket::bind(LOOPBACK).await.unwrap()
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
	let mut buffer = [0; 2_048];
	let received = timeout(LIMIT, socket.recv_from(&mut buffer)).await;
	let (bytes, from) = received.expect("it arrives").unwrap();
	(buffer[..bytes].to_vec(), from)
}

async fn udp(settings: Settings) -> (Line, UdpSocket, UdpSocket) {
	let (client, server) = (socket().await, socket().await);
	let listen = LOOPBACK.parse().unwrap();
	let line = Line::udp(listen, server.local_addr().unwrap(), settings, 1)
		.await
		.unwrap();
	client.connect(line.address()).await.unwrap();
	(line, client, server)
}

#[tokio::test]
async fn datagrams_of_several_clients_go_there_and_back_with_a_delay() {
	let delay = ms(30);
	let (line, first, server) = udp(Settings {
		delay,
		..Default::default()
	})
	.await;
	let second = socket().await;
	second.connect(line.address()).await.unwrap();
	let begun = Instant::now();
	first.send(b"from the first").await.unwrap();
	let (bytes, from_first) = receive(&server).await;
	assert_eq!(bytes, b"from the first");
	assert!(begun.elapsed() >= delay);
	second.send(b"from the second").await.unwrap();
	let (bytes, from_second) = receive(&server).await;
	assert_eq!(bytes, b"from the second");
	assert_ne!(from_first, from_second, "the target tells clients apart");
	server.send_to(b"to the first", from_first).await.unwrap();
	server.send_to(b"to the second", from_second).await.unwrap();
	assert_eq!(receive(&first).await.0, b"to the first");
	assert_eq!(receive(&second).await.0, b"to the second");
	assert!(begun.elapsed() >= 3 * delay);
	let counters = line.counters();
	assert_eq!((counters.up.taken, counters.up.forwarded), (2, 2));
	assert_eq!((counters.down.taken, counters.down.forwarded), (2, 2));
	assert_eq!((counters.up.bytes, counters.down.bytes), (29, 25));
}

#[tokio::test]
async fn datagrams_are_lost_as_the_seed_says() {
	let mut arrived = Vec::new();
	for _ in 0..2 {
		let (line, client, server) = udp(Settings {
			loss: 0.3,
			..Default::default()
		})
		.await;
		for number in 0..100 {
			client.send(&[number]).await.unwrap();
			// One after the other, so that they reach the line in this order.
			counted(&line, |counters| counters.up.taken > number.into()).await;
		}
		let lost = line.counters().up.lost;
		assert!((10..50).contains(&lost), "{lost}");
		let mut numbers = Vec::new();
		for _ in lost..100 {
			numbers.push(receive(&server).await.0[0]);
		}
		counted(&line, |counters| counters.up.forwarded + lost == 100).await;
		arrived.push(numbers);
	}
	assert_eq!(arrived[0], arrived[1]);
}

#[tokio::test]
async fn jitter_reorders_datagrams_and_loses_none() {
	let (line, client, server) = udp(Settings {
		jitter: ms(50),
		..Default::default()
	})
	.await;
	for number in 0..100 {
		client.send(&[number]).await.unwrap();
	}
	let mut numbers = Vec::new();
	for _ in 0..100 {
		numbers.push(receive(&server).await.0[0]);
	}
	assert!(!numbers.is_sorted(), "{numbers:?}");
	let different: BTreeSet<u8> = numbers.iter().copied().collect();
	assert_eq!(different.len(), 100);
	let counters = line.counters().up;
	assert!(counters.reordered > 0);
	assert_eq!((counters.forwarded, counters.lost), (100, 0));
}

#[tokio::test]
async fn datagrams_arrive_twice_and_overflow_a_slow_line() {
	let (line, client, server) = udp(Settings {
		duplication: 1.0,
		..Default::default()
	})
	.await;
	client.send(b"once").await.unwrap();
	assert_eq!(receive(&server).await.0, b"once");
	assert_eq!(receive(&server).await.0, b"once");
	assert_eq!(line.counters().up.duplicated, 1);
	// 1,000 bytes take a second, and the queue holds a tenth of it.
	line.set(Settings {
		rate: Some(8_000),
		queue: ms(100),
		..Default::default()
	});
	let begun = Instant::now();
	for _ in 0..3 {
		client.send(&[0; 1_000]).await.unwrap();
	}
	counted(&line, |counters| counters.up.overflowed == 2).await;
	assert_eq!(receive(&server).await.0.len(), 1_000);
	assert!(begun.elapsed() >= ms(1_000));
}

#[tokio::test]
async fn a_cut_line_drops_what_is_on_its_way() {
	let (line, client, server) = udp(Settings::default()).await;
	client.send(b"before").await.unwrap();
	assert_eq!(receive(&server).await.0, b"before");
	// The delay is long enough for a busy machine to cut the line in time.
	line.set(Settings {
		delay: ms(1_000),
		..Default::default()
	});
	client.send(b"on its way").await.unwrap();
	counted(&line, |counters| counters.up.taken == 2).await;
	line.cut(Cut::Stall);
	client.send(b"while it is cut").await.unwrap();
	counted(&line, |counters| counters.up.cut == 2).await;
	line.mend();
	line.set(Settings::default());
	client.send(b"after").await.unwrap();
	assert_eq!(receive(&server).await.0, b"after");
	assert_eq!(line.counters().up.forwarded, 2);
}

// --- TCP ----------------------------------------------------------------------------------------

/// Opens a line to a server that echoes.
async fn echo(settings: Settings) -> Line {
	let listener = TcpListener::bind(LOOPBACK).await.unwrap();
	let target = listener.local_addr().unwrap();
	tokio::spawn(async move {
		while let Ok((mut stream, _)) = listener.accept().await {
			tokio::spawn(async move {
				let (mut from, mut to) = stream.split();
				let _ = tokio::io::copy(&mut from, &mut to).await;
				// This fails if the line has already closed the connection.
				let _ = to.shutdown().await;
			});
		}
	});
	Line::tcp(LOOPBACK.parse().unwrap(), target, settings, 1)
		.await
		.unwrap()
}

async fn connect(line: &Line) -> TcpStream {
	TcpStream::connect(line.address()).await.unwrap()
}

/// Sends some bytes, and reads the same number back.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
	stream.write_all(bytes).await.unwrap();
	let mut back = vec![0; bytes.len()];
	let read = timeout(LIMIT, stream.read_exact(&mut back)).await;
	read.expect("it arrives").unwrap();
	assert!(back == bytes);
}

/// Reads from a new connection. It may be reset before it is known to be open.
async fn read_new(line: &Line) -> io::Result<usize> {
	let mut stream = TcpStream::connect(line.address()).await?;
	stream.read(&mut [0]).await
}

async fn is_reset(read: impl Future<Output = io::Result<usize>>) {
	let ended = timeout(LIMIT, read).await.expect("it ends");
	assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn data(bytes: usize) -> Vec<u8> {
	let mut data = vec![0; bytes];
	ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut data);
	data
}

#[tokio::test]
async fn a_stream_arrives_whole_whatever_is_lost() {
	let delay = ms(10);
	let line = echo(Settings {
		delay,
		jitter: ms(10),
		loss: 0.1,
		resend: ms(10),
		..Default::default()
	})
	.await;
	let mut stream = connect(&line).await;
	let begun = Instant::now();
	let sent = data(1 << 20);
	let (mut from, mut to) = stream.split();
	let write = async {
		to.write_all(&sent).await.unwrap();
		to.shutdown().await.unwrap();
	};
	let mut received = Vec::new();
	let read = from.read_to_end(&mut received);
	let ((), read) = timeout(LIMIT, async { tokio::join!(write, read) })
		.await
		.expect("its end arrives");
	read.unwrap();
	assert!(received == sent);
	assert!(begun.elapsed() >= 2 * delay);
	let counters = line.counters();
	assert_eq!((counters.up.bytes, counters.down.bytes), (1 << 20, 1 << 20));
	assert!(counters.up.lost > 0 && counters.down.lost > 0);
}

#[tokio::test]
async fn a_rate_slows_a_stream_down() {
	// 100 KB take 200 ms in one direction, and no time in the other.
	let line = echo(Settings {
		rate: Some(4_000_000),
		..Default::default()
	})
	.await;
	let mut stream = connect(&line).await;
	let begun = Instant::now();
	exchange(&mut stream, &data(100_000)).await;
	assert!(begun.elapsed() >= ms(200));
}

#[tokio::test]
async fn a_stalled_stream_goes_on_once_the_line_is_mended() {
	let line = echo(Settings::default()).await;
	let mut stream = connect(&line).await;
	exchange(&mut stream, b"before").await;
	line.cut(Cut::Stall);
	stream.write_all(b"while it is cut").await.unwrap();
	counted(&line, |counters| counters.up.taken == 2).await;
	let mut back = [0; 15];
	assert!(timeout(SHORT, stream.read(&mut back)).await.is_err());
	// A new connection waits as well.
	let mut other = connect(&line).await;
	other.write_all(b"new").await.unwrap();
	assert_eq!(line.counters().up.forwarded, 1);
	line.mend();
	timeout(LIMIT, stream.read_exact(&mut back))
		.await
		.unwrap()
		.unwrap();
	assert_eq!(&back, b"while it is cut");
	timeout(LIMIT, other.read_exact(&mut back[..3]))
		.await
		.unwrap()
		.unwrap();
	assert_eq!(&back[..3], b"new");
}

#[tokio::test]
async fn a_reset_ends_connections_and_refuses_new_ones_until_it_is_mended() {
	let line = echo(Settings::default()).await;
	let mut stream = connect(&line).await;
	exchange(&mut stream, b"before").await;
	line.cut(Cut::Reset);
	is_reset(stream.read(&mut [0])).await;
	is_reset(read_new(&line)).await;
	line.mend();
	exchange(&mut connect(&line).await, b"after").await;
}

#[tokio::test]
async fn a_connection_to_nobody_is_reset() {
	let nobody = {
		let listener = TcpListener::bind(LOOPBACK).await.unwrap();
		listener.local_addr().unwrap()
	};
	let line = Line::tcp(LOOPBACK.parse().unwrap(), nobody, Settings::default(), 1)
		.await
		.unwrap();
	is_reset(read_new(&line)).await;
	// A dropped line no longer listens.
	let address = line.address();
	drop(line);
	timeout(LIMIT, async {
		while TcpStream::connect(address).await.is_ok() {
			tokio::task::yield_now().await;
		}
	})
	.await
	.unwrap();
}

// --- QUIC, between two namespaces ---------------------------------------------------------------

const ALPN: &[u8] = b"kaisar/test/line";
const SERVER: [u8; 32] = [1; 32];
/// Size of each of two transfers, in bytes.
const BYTES: usize = 2 << 20;

async fn endpoint(secret: [u8; 32], at: Ipv4Addr) -> Endpoint {
	Endpoint::builder(presets::Minimal)
		.secret_key(SecretKey::from_bytes(&secret))
		.alpns(vec![ALPN.to_vec()])
		.clear_ip_transports()
		.bind_addr(SocketAddr::from((at, 0)))
		.unwrap()
		.bind()
		.await
		.unwrap()
}

/// Answers each stream with the hash of the bytes that arrived through it.
async fn answer_hashes(connection: Connection) {
	while let Ok((mut send, mut receive)) = connection.accept_bi().await {
		let mut hasher = blake3::Hasher::new();
		let mut buffer = vec![0; 64 << 10];
		while let Some(bytes) = receive.read(&mut buffer).await.unwrap() {
			hasher.update(&buffer[..bytes]);
		}
		send.write_all(hasher.finalize().as_bytes()).await.unwrap();
		send.finish().unwrap();
	}
}

/// Sends `data`, and asserts that all of it arrived.
async fn transfer(connection: &Connection, data: &[u8]) {
	let (mut send, mut receive) = connection.open_bi().await.unwrap();
	send.write_all(data).await.unwrap();
	send.finish().unwrap();
	let hash = receive.read_to_end(32).await.unwrap();
	assert_eq!(hash, blake3::hash(data).as_bytes());
}

/// The client, the line and the server are three machines in a row. Neither end has a route past the line.
#[test]
fn quic_survives_a_slow_lossy_line_that_is_cut() {
	let [near, near_line, far_line, far] = [[1, 1], [1, 2], [2, 1], [2, 2]]
		.map(|[network, host]| Ipv4Addr::new(10, 78, network, host));
	let (client, middle, server) = (Namespace::new(), Namespace::new(), Namespace::new());
	client.join(near, &middle, near_line, "near");
	middle.join(far_line, &server, far, "far");

	let (tell_target, target) = mpsc::channel();
	let (tell_done, done) = tokio::sync::oneshot::channel::<()>();
	let serving = server.spawn(async move || {
		let endpoint = endpoint(SERVER, far).await;
		tell_target.send(endpoint.bound_sockets()[0]).unwrap();
		let connection = endpoint.accept().await.unwrap().await.unwrap();
		tokio::select! {
			() = answer_hashes(connection) => {},
			_ = done => {},
		}
		endpoint.close().await;
	});

	let target = target.recv_timeout(LIMIT).unwrap();
	let (tell_line, line) = mpsc::channel();
	let (tell_end, end) = tokio::sync::oneshot::channel::<()>();
	let between = middle.spawn(async move || {
		let settings = Settings {
			delay: ms(5),
			jitter: ms(2),
			loss: 0.005,
			duplication: 0.005,
			rate: Some(40_000_000),
			..Default::default()
		};
		let listen = SocketAddr::from((near_line, 0));
		let line = Line::udp(listen, target, settings, 1).await.unwrap();
		let line = std::sync::Arc::new(line);
		tell_line.send(line.clone()).unwrap();
		let _ = end.await;
	});

	let line = line.recv_timeout(LIMIT).unwrap();
	let transferring = client.spawn(async move || {
		let endpoint = endpoint([2; 32], near).await;
		let server = SecretKey::from_bytes(&SERVER).public();
		let address = EndpointAddr::new(server).with_ip_addr(line.address());
		let connection = endpoint.connect(address, ALPN).await.unwrap();
		let data = data(BYTES);
		transfer(&connection, &data).await;
		// The line is cut when half of it went through, and mended a second later.
		let half = line.counters().up.bytes + BYTES as u64 / 2;
		let cut = async {
			counted(&line, |counters| counters.up.bytes >= half).await;
			line.cut(Cut::Stall);
			let before = line.counters();
			tokio::time::sleep(ms(1_000)).await;
			let during = line.counters();
			line.mend();
			assert!(during.up.cut > before.up.cut, "it was in use: {during:?}");
			during.up.forwarded
		};
		let (forwarded, ()) = tokio::join!(cut, transfer(&connection, &data));
		let counters = line.counters();
		assert!(
			counters.up.forwarded > forwarded,
			"it went on: {counters:?}"
		);
		endpoint.close().await;
		counters
	});

	let counters = transferring.join().unwrap();
	drop((tell_done, tell_end));
	between.join().unwrap();
	serving.join().unwrap();
	let (up, down) = (counters.up, counters.down);
	assert!(
		up.bytes as usize > 2 * BYTES,
		"all of it went through the line: {up:?}"
	);
	assert!(
		up.lost > 0 && up.duplicated > 0 && up.reordered > 0,
		"{up:?}"
	);
	assert!(down.forwarded > 0 && down.reordered > 0, "{down:?}");
}
