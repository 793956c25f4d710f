//! `detect --measure` over loopback: a real peer, a real line, and strangers.

use crate::world::until;
use kaisar_agent::peer::{
	measure::{Host, PeerName, measure},
	network::Network,
};
use std::{
	process::Stdio,
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncBufReadExt, BufReader},
	process::Command,
	time::timeout,
};

const LIMIT: Duration = Duration::from_secs(60);

async fn host(mbps: u32) -> Host {
	Host::bind("127.0.0.1:0".parse().unwrap(), mbps)
		.await
		.unwrap()
}

fn name_of(host: &Host) -> PeerName {
	let names = host.names();
	assert_eq!(names.len(), 1, "where it listens: {names:?}");
	names[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_measures_who_has_its_token_at_no_more_than_it_allows() {
	let host = host(90).await;
	let name = name_of(&host);
	let serving = tokio::spawn(host.serve(LIMIT));
	// The link has a gigabit; the peer offers less, and the remarks say so.
	let line = timeout(LIMIT, measure(&name, Some(1_000)))
		.await
		.unwrap()
		.unwrap();
	assert_eq!(line.offered_mbps, 90);
	assert!(
		(1..=90).contains(&line.down_mbps) && (1..=90).contains(&line.up_mbps),
		"{line:?}"
	);
	assert!(line.tier <= 1);
	// Strangers with a wrong token.
	let text = name.to_string();
	let (key, rest) = text.split_once('.').unwrap();
	let (_, address) = rest.split_once('@').unwrap();
	let guessed: PeerName = format!("{key}.{}@{address}", "00".repeat(16))
		.parse()
		.unwrap();
	let error = timeout(LIMIT, measure(&guessed, None))
		.await
		.unwrap()
		.unwrap_err();
	assert!(
		format!("{error:#}").contains("does not know this token"),
		"{error:#}"
	);
	// A name with another agent's key.
	let other: PeerName = format!("{}.{rest}", "ab".repeat(32)).parse().unwrap();
	assert!(
		timeout(LIMIT, measure(&other, None))
			.await
			.unwrap()
			.is_err()
	);
	serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time() {
	let host = host(50).await;
	let name = name_of(&host);
	timeout(LIMIT, host.serve(Duration::from_millis(200)))
		.await
		.unwrap();
	let error = timeout(LIMIT, measure(&name, None))
		.await
		.unwrap()
		.unwrap_err();
	assert!(
		format!("{error:#}").contains("does not answer"),
		"{error:#}"
	);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_say_nothing_do_not_keep_others_out() {
	let host = host(60).await;
	let name = name_of(&host);
	let serving = tokio::spawn(host.serve(LIMIT * 2));
	let text = name.to_string();
	let (secrets, address) = text.split_once('@').unwrap();
	let key = hex::decode(&secrets[..64]).unwrap();
	let id = iroh::PublicKey::from_bytes(&key.try_into().unwrap()).unwrap();
	let addr = iroh::EndpointAddr::new(id).with_ip_addr(address.parse().unwrap());
	// More strangers than places. They are dropped after some seconds.
	let mut silent = Vec::new();
	for _ in 0..12 {
		let endpoint = Network::local([127, 0, 0, 1].into())
			.endpoint(&rand::random(), &[])
			.await
			.unwrap();
		let connecting = endpoint.connect(addr.clone(), b"kaisar/measure/1");
		let connection = timeout(Duration::from_secs(2), connecting).await;
		silent.push((endpoint, connection));
	}
	let line = until(LIMIT, async || measure(&name, Some(60)).await.ok()).await;
	assert!(line.down_mbps > 0);
	serving.abort();
}

#[tokio::test]
async fn detect_measures_with_a_peer_and_claims_what_it_found() {
	let agent = env!("CARGO_BIN_EXE_kaisar-agent");
	let mut peer = Command::new(agent)
		.args([
			"serve-measure",
			"--bind",
			"127.0.0.1:0",
			"--mbps",
			"85",
			"--minutes",
			"2",
		])
		.stdout(Stdio::piped())
		.stderr(Stdio::null())
		.kill_on_drop(true)
		.spawn()
		.unwrap();
	let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines();
	let line = timeout(LIMIT, lines.next_line())
		.await
		.unwrap()
		.unwrap()
		.unwrap();
	// Run the printed command.
	let words: Vec<&str> = line.split(' ').collect();
	let ["kaisar-agent", command @ ..] = &words[..] else {
		panic!("{line}")
	};
	let begun = Instant::now();
	let output = Command::new(agent)
		.args(command)
		.args(["--json", "--region", "DE"])
		.output()
		.await
		.unwrap();
	let said = String::from_utf8_lossy(&output.stderr);
	assert!(output.status.success(), "{said}");
	assert!(begun.elapsed() < LIMIT);
	let claim: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
	for field in ["download_mbps", "upload_mbps"] {
		let mbps = claim[field].as_u64().unwrap();
		assert!((1..=85).contains(&mbps), "{claim}");
	}
	assert!(
		said.contains("measured with") && said.contains("the line may be faster"),
		"{said}"
	);
	assert!(
		!said.contains(line.split(['.', '@']).nth(1).unwrap()),
		"no token in what is printed"
	);
	// No peer listens: an error, and no claim.
	drop(peer);
	let bad = "detect --measure 00.11@127.0.0.1:9";
	let output = Command::new(agent)
		.args(bad.split(' '))
		.output()
		.await
		.unwrap();
	let said = String::from_utf8_lossy(&output.stderr);
	assert!(
		!output.status.success() && said.contains("serve-measure"),
		"{said}"
	);
}
