//! Tests of the relay with endpoints that have no other way to each other.

use clap::Parser;
use iroh::{
	Endpoint, EndpointAddr, RelayMode, RelayUrl, SecretKey, Watcher,
	endpoint::{Connection, presets},
	tls::CaTlsConfig,
};
use kaisar_relay::{Options, Relay};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const ALPN: &[u8] = b"test";
const LIMIT: Duration = Duration::from_secs(30);

async fn relay(options: &[&str]) -> (Relay, u16) {
	let listen = ["kaisar-relay", "--listen", "127.0.0.1:0"];
	let options = Options::try_parse_from(listen.iter().chain(options)).unwrap();
	let relay = Relay::start(options).await.unwrap();
	let port = relay.addr().unwrap().port();
	(relay, port)
}

/// Creates an endpoint without an address, which only the relay can reach.
async fn endpoint(key: u8, relay: &RelayUrl, roots: CaTlsConfig) -> Endpoint {
	Endpoint::builder(presets::Minimal)
		.secret_key(SecretKey::from_bytes(&[key; 32]))
		.alpns(vec![ALPN.to_vec()])
		.relay_mode(RelayMode::custom([relay.clone()]))
		.ca_tls_config(roots)
		.clear_ip_transports()
		.bind()
		.await
		.unwrap()
}

/// Waits until the relay has admitted an endpoint.
async fn online(endpoint: &Endpoint) {
	timeout(LIMIT, endpoint.online()).await.unwrap();
}

async fn connect(from: &Endpoint, to: &Endpoint, relay: &RelayUrl) -> Connection {
	let addr = EndpointAddr::new(to.id()).with_relay_url(relay.clone());
	let accepting = to.clone();
	let accepted = tokio::spawn(async move { accepting.accept().await.unwrap().await.unwrap() });
	let connection = timeout(LIMIT, from.connect(addr, ALPN))
		.await
		.unwrap()
		.unwrap();
	accepted.await.unwrap();
	connection
}

#[tokio::test]
async fn two_endpoints_meet_over_http_and_others_are_refused() {
	let dir = tempfile::tempdir().unwrap();
	let list = dir.path().join("keys");
	let key = |byte: u8| SecretKey::from_bytes(&[byte; 32]).public();
	std::fs::write(
		&list,
		format!("{}\n{}\n", hex::encode(key(1)), hex::encode(key(2))),
	)
	.unwrap();
	let (_relay, port) = relay(&["--allow-file", list.to_str().unwrap()]).await;
	let url: RelayUrl = format!("http://127.0.0.1:{port}").parse().unwrap();
	let roots = CaTlsConfig::embedded;
	let (one, two) = (
		endpoint(1, &url, roots()).await,
		endpoint(2, &url, roots()).await,
	);
	online(&one).await;
	online(&two).await;
	connect(&one, &two, &url).await;
	let stranger = endpoint(3, &url, roots()).await;
	let refused = async {
		loop {
			let status = stranger.home_relay_status().get();
			let reason = status.iter().find_map(|relay| relay.auth_denied_reason());
			if let Some(reason) = reason {
				return reason.to_owned();
			}
			sleep(Duration::from_millis(50)).await;
		}
	};
	let reason = timeout(LIMIT, refused).await.unwrap();
	assert!(reason.contains("list"), "{reason}");
}

#[tokio::test]
async fn two_endpoints_meet_over_https() {
	let dir = tempfile::tempdir().unwrap();
	let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
	let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
	std::fs::write(&cert, made.cert.pem()).unwrap();
	std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
	let files = [
		"--tls-cert",
		cert.to_str().unwrap(),
		"--tls-key",
		key.to_str().unwrap(),
	];
	let (relay, port) = relay(&[&files[..], &["--quic-listen", "127.0.0.1:0"]].concat()).await;
	assert!(relay.quic_addr().is_some());
	let url: RelayUrl = format!("https://localhost:{port}").parse().unwrap();
	let roots = || CaTlsConfig::custom_roots([made.cert.der().clone()]);
	let (one, two) = (
		endpoint(1, &url, roots()).await,
		endpoint(2, &url, roots()).await,
	);
	online(&one).await;
	online(&two).await;
	connect(&one, &two, &url).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_named() {
	let options = [
		"kaisar-relay",
		"--tls-cert",
		"/none.pem",
		"--tls-key",
		"/none.key",
	];
	let refused = Relay::start(Options::try_parse_from(options).unwrap()).await;
	let text = refused.err().unwrap().to_string();
	assert!(text.contains("/none.pem") && text.contains("PEM"), "{text}");
	let half = ["kaisar-relay", "--tls-cert", "/none.pem"];
	assert!(Options::try_parse_from(half).is_err(), "the key is missing");
}
