//! Status reports of an agent: `kaisar-agent status`, its exit codes, and the log.

use crate::world::{CHECKERS, TOKEN, WORKER, World, rogue, until};
use codec::{Decode, Encode};
use kaisar_agent::{
	Agent, PATH_REPORT,
	peer::wire::{self, Request, RootsReply},
	report::{Engine, Status},
};
use kaisar_primitives::{
	Verdict,
	agent::{PATH_ROUND, RoundStart},
};
use sp_core::H256;
use std::{
	fs::{self, Permissions},
	os::unix::{
		fs::{MetadataExt, PermissionsExt, chown},
		net::UnixListener,
	},
	path::Path,
	process::Stdio,
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
	net::TcpStream,
	process::{Child, Command},
	time::timeout,
};

const LIMIT: Duration = Duration::from_secs(30);

async fn report(world: &World, agent: &Agent) -> Status {
	let (code, body) = world.raw(agent, PATH_REPORT, TOKEN, Vec::new()).await;
	assert_eq!(code, 200);
	serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_and_says_nothing_keeps_the_node_out_for_seconds_at_most() {
	let world = World::new();
	let agent = world.agent(WORKER).await;
	let address = agent.url().trim_start_matches("http://").to_owned();
	let mut silent = Vec::new();
	for _ in 0..300 {
		let mut stream = TcpStream::connect(&address).await.unwrap();
		stream
			.write_all(b"POST /v1/status HTTP/1.1\r\n")
			.await
			.unwrap();
		silent.push(stream);
	}
	// The time that an off-chain worker waits: strangers give way at once.
	let answered = timeout(Duration::from_secs(5), report(&world, &agent)).await;
	assert!(answered.is_ok(), "the node gets a place");
	let mut bytes = Vec::new();
	let ended = timeout(LIMIT, silent[0].read_to_end(&mut bytes)).await;
	assert!(ended.is_ok(), "it is not held for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_and_a_benchmark_say_how_they_ended_and_why() {
	let world = World::new();
	let checker = world.agent_with(CHECKERS[0], Duration::from_secs(2)).await;
	let first = report(&world, &checker).await;
	assert_eq!(
		(first.events.checks.made, first.events.reached_at),
		(0, None)
	);
	// No agent has the worker's key.
	let checked = world
		.check(&checker, world.seat(CHECKERS[0], [5; 32]))
		.await;
	assert_eq!(checked.verdict, Verdict::OFFLINE);
	let checks = report(&world, &checker).await.events.checks;
	assert_eq!((checks.made, checks.unserved, checks.unproved), (1, 1, 0));
	let last = &checks.last[0];
	assert_eq!(
		(last.round, last.worker, last.verdict.as_str()),
		(4, 7, "offline")
	);
	for part in [
		"within 2 s",
		"no address of the agent is known",
		"no receipt",
	] {
		assert!(last.why.contains(part), "{part}: {}", last.why);
	}

	// An agent has the key, but does not open the attested root.
	let act = async |send: &mut iroh::endpoint::SendStream, request: Request| {
		let _ = match request {
			Request::Hello(which) => wire::write(send, &crate::world::receipt(&which)).await,
			Request::Open(..) => wire::write(send, &Err::<(), _>(wire::Refusal::Spent)).await,
			_ => wire::write(send, &RootsReply::Ok(crate::attacks::roots())).await,
		};
	};
	let root = crate::attacks::attested(&world, &crate::attacks::roots());
	let mut request = world.seat(CHECKERS[0], root);
	request.full = false;
	tokio::select! {
		checked = world.check(&checker, request) => assert_eq!(checked.verdict.cpu, 0),
		() = rogue(&world, act) => unreachable!(),
	}
	let checks = report(&world, &checker).await.events.checks;
	// The check was served, and nothing contradicts the root.
	assert_eq!((checks.made, checks.unserved, checks.unproved), (2, 1, 0));
	let verdict = &checks.last[0].verdict;
	assert!(verdict.contains("CPU 0, memory 0"), "{verdict}");
	assert!(
		checks.last[0].why.contains("asked too often"),
		"{}",
		checks.last[0].why
	);

	// The worker itself.
	let worker = world.agent(WORKER).await;
	world.start_round(std::slice::from_ref(&checker)).await;
	let root = world.prove(&worker).await;
	let ran = report(&world, &worker).await;
	assert_eq!(
		(ran.events.benchmarks.done, ran.events.benchmarks.failed),
		(1, 0)
	);
	let last = ran.events.benchmarks.last.unwrap();
	assert_eq!(last.root, Some(hex::encode(root)));
	assert_eq!((last.round, last.worker), (4, 7));
	assert!(ran.disk.plot >= 8 << 20 && !ran.addresses.is_empty());
	assert_eq!(ran.events.engine, Engine::Off);
	// The worker reaches the checker with its roots, once the checker's node has admitted it.
	until(LIMIT, async || {
		world.answer_claims(&checker, |_| true).await;
		report(&world, &checker).await.events.reached_at
	})
	.await;
	let checked = world.check(&checker, world.seat(CHECKERS[0], root)).await;
	assert!(checked.verdict.proof);
	assert!(
		report(&world, &worker).await.events.reached_at.is_some(),
		"by the checker"
	);
	let checks = report(&world, &checker).await.events.checks;
	assert!(
		checks.last[0].verdict.starts_with("proved"),
		"{}",
		checks.last[0].verdict
	);
	assert!(
		checks.last[0].why.contains("Mb/s measured"),
		"{}",
		checks.last[0].why
	);
	assert_eq!(checks.last.len(), 3);
}

fn agent(binary: &Path, dir: &Path, more: &[&str]) -> Command {
	let mut command = Command::new(binary);
	command
		.args(["run", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1:0"])
		.args(["--gpus", "off", "--exit-on-stdin-close"])
		.arg("--token-file")
		.arg(dir.join("token"))
		.arg("--key-file")
		.arg(dir.join("key"))
		.arg("--peers-dir")
		.arg(dir.join("peers"))
		.arg("--data-dir")
		.arg(dir.join("data"))
		.args(more)
		.stdin(Stdio::piped())
		.stdout(Stdio::piped())
		.stderr(Stdio::piped())
		.kill_on_drop(true);
	command
}

fn binary() -> &'static Path {
	Path::new(env!("CARGO_BIN_EXE_kaisar-agent"))
}

/// Waits for the first line that contains `part`.
async fn line(lines: impl tokio::io::AsyncRead + Unpin, part: &str) -> String {
	let mut lines = BufReader::new(lines).lines();
	let found = async {
		loop {
			let line = lines.next_line().await.unwrap();
			let line = line.unwrap_or_else(|| panic!("it ended before it said {part}"));
			if line.contains(part) {
				return line;
			}
		}
	};
	timeout(LIMIT, found).await.unwrap()
}

/// Waits until an agent serves, and returns its URL.
async fn ready(child: &mut Child) -> String {
	let said = line(child.stdout.as_mut().unwrap(), "ready").await;
	let said: serde_json::Value = serde_json::from_str(&said).unwrap();
	said["ready"]["url"].as_str().unwrap().into()
}

async fn status(args: &[&str]) -> (Option<i32>, String, String) {
	let output = Command::new(binary()).arg("status").args(args).output();
	let output = timeout(LIMIT, output).await.unwrap().unwrap();
	let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
	(
		output.status.code(),
		text(&output.stdout),
		text(&output.stderr),
	)
}

#[tokio::test]
async fn status_asks_a_running_agent_and_exits_by_what_needs_attention() {
	let dir = tempfile::tempdir().unwrap();
	let path = dir.path().to_str().unwrap();
	let (code, _, error) = status(&["--data-dir", path]).await;
	assert_eq!(code, Some(1));
	assert!(
		error.contains("no agent has run with the data folder"),
		"{error}"
	);

	// This machine may have only private addresses, which are not published by default.
	let arguments = ["--no-engine", "--publish-private"];
	let mut child = agent(binary(), dir.path(), &arguments).spawn().unwrap();
	let url = ready(&mut child).await;
	// Found by the data folder, or by the folder above it.
	let data = format!("{path}/data");
	for folder in [path, &data] {
		let (code, text, error) = status(&["--data-dir", folder]).await;
		assert_eq!(code, Some(0), "{text}{error}");
		assert!(text.contains("Nothing needs attention"), "{text}");
		assert!(text.contains("not used: no orders are served"), "{text}");
	}
	let service = dir.path().join("data/service.json");
	assert_eq!(fs::metadata(service).unwrap().mode() & 0o777, 0o600);
	let token = format!("{path}/token");
	let (code, json, _) = status(&["--url", &url, "--token-file", &token, "--json"]).await;
	assert_eq!(code, Some(0));
	let json: serde_json::Value = serde_json::from_str(&json).unwrap();
	assert_eq!(json["engine"]["state"], "off");
	assert_eq!(json["attention"], serde_json::json!([]));
	let wrong = dir.path().join("wrong");
	fs::write(&wrong, "another token").unwrap();
	let wrong = wrong.to_str().unwrap();
	let (code, _, error) = status(&["--url", &url, "--token-file", wrong]).await;
	assert_eq!(code, Some(1));
	assert!(error.contains("the token is wrong"), "{error}");

	// It has ended.
	drop(child.stdin.take());
	timeout(LIMIT, child.wait()).await.unwrap().unwrap();
	let (code, _, error) = status(&["--data-dir", path]).await;
	assert_eq!(code, Some(1));
	assert!(error.contains("is it running?"), "{error}");
}

#[tokio::test]
async fn an_engine_that_cannot_be_used_is_said_at_once_with_what_to_do() {
	let dir = tempfile::tempdir().unwrap();
	let path = dir.path().to_str().unwrap();
	let socket = format!("{path}/engine.sock");
	let mut child = agent(binary(), dir.path(), &["--engine", &socket])
		.spawn()
		.unwrap();
	let warned = line(child.stderr.as_mut().unwrap(), "no orders can be served").await;
	assert!(
		warned.contains("WARN") && warned.contains("there is no socket"),
		"{warned}"
	);
	ready(&mut child).await;
	let (code, text, _) = status(&["--data-dir", path]).await;
	assert_eq!(code, Some(3), "{text}");
	for part in [
		"engine           does not answer: there is no socket",
		"Needs attention:\n- No orders can be served",
	] {
		assert!(text.contains(part), "{part}: {text}");
	}
}

#[tokio::test]
async fn a_socket_that_the_agents_user_may_not_open_names_the_group_to_join() {
	let dir = tempfile::tempdir().unwrap();
	let data = dir.path().join("agent");
	fs::create_dir(&data).unwrap();
	let socket = dir.path().join("engine.sock");
	let _listener = UnixListener::bind(&socket).unwrap();
	let owner = fs::metadata(&socket).unwrap();
	// Like Docker's socket. If this test is not root, its owner has no access either.
	fs::set_permissions(&socket, Permissions::from_mode(0o060)).unwrap();
	let program = dir.path().join("kaisar-agent");
	let shown = socket.to_str().unwrap();
	let mut command = match owner.uid() {
		0 => {
			// Another user may not look into the target folder.
			fs::copy(binary(), &program).unwrap();
			let nobody = 65_534;
			for path in [dir.path(), &program] {
				fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
			}
			chown(&data, Some(nobody), Some(nobody)).unwrap();
			let mut command = agent(&program, &data, &["--engine", shown]);
			command.uid(nobody).gid(nobody);
			command
		}
		_ => agent(binary(), &data, &["--engine", shown]),
	};
	let mut child = command.spawn().unwrap();
	let warned = line(child.stderr.as_mut().unwrap(), "no orders can be served").await;
	for part in ["WARN", "permission denied on", "usermod -aG", "restart"] {
		assert!(warned.contains(part), "{part}: {warned}");
	}
}

/// Tells a running agent that a round began, so that it keeps its start.
async fn begin(dir: &Path, url: &str, round: u32, keep_ms: u64) {
	let start = RoundStart {
		genesis: H256::repeat_byte(1),
		round,
		seed: H256::repeat_byte(7),
		trial_seed: H256::repeat_byte(2),
		late: false,
		keep_ms,
	};
	let answer = reqwest::Client::new()
		.post(format!("{url}{PATH_ROUND}"))
		.bearer_auth(fs::read_to_string(dir.join("token")).unwrap().trim())
		.body(start.encode())
		.send()
		.await
		.unwrap();
	assert!(answer.status().is_success());
}

/// Changes the data folder to that of an agent that ran with a wrong clock, by this offset, which was
/// corrected since.
fn as_if_off_by(dir: &Path, hours: i64) {
	let moved = |at: u64| at.checked_add_signed(hours * 3_600_000).unwrap();
	for file in fs::read_dir(dir.join("data/rounds")).unwrap() {
		let path = file.unwrap().path();
		let bytes = fs::read(&path).unwrap();
		let (mut expires, rest) = (&bytes[..8], &bytes[8..]);
		let expires = moved(u64::decode(&mut expires).unwrap());
		fs::write(path, [expires.encode(), rest.to_vec()].concat()).unwrap();
	}
	let path = dir.join("data/clock.json");
	let Ok(bytes) = fs::read(&path) else { return };
	let mut clock: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
	for at in ["/now_ms", "/reading/wall_ms"] {
		let at = clock.pointer_mut(at).unwrap();
		*at = moved(at.as_u64().unwrap()).into();
	}
	fs::write(path, clock.to_string()).unwrap();
}

#[tokio::test]
async fn what_is_kept_until_a_date_survives_a_clock_that_is_hours_off() {
	for hours in [-6, 6] {
		let dir = tempfile::tempdir().unwrap();
		let mut child = agent(binary(), dir.path(), &["--no-engine"])
			.spawn()
			.unwrap();
		let url = ready(&mut child).await;
		let short = Duration::from_millis(500);
		begin(dir.path(), &url, 2, short.as_millis() as u64).await;
		let begun = Instant::now();
		begin(dir.path(), &url, 4, 600_000).await;
		let kept = || {
			fs::read_dir(dir.path().join("data/rounds"))
				.unwrap()
				.count()
		};
		assert_eq!(kept(), 2);
		drop(child.stdin.take());
		timeout(LIMIT, child.wait()).await.unwrap().unwrap();
		as_if_off_by(dir.path(), hours);
		tokio::time::sleep(short.saturating_sub(begun.elapsed())).await;
		let mut child = agent(binary(), dir.path(), &["--no-engine"])
			.spawn()
			.unwrap();
		ready(&mut child).await;
		assert_eq!(
			kept(),
			1,
			"off by {hours} h: the one whose time is not over"
		);
	}
}
