//! Runs the binary as a script does, and checks its output and exit codes. Needs no node.

use serde_json::Value;
use std::{
	fs,
	io::Write,
	net::TcpListener,
	os::unix::fs::PermissionsExt,
	path::Path,
	process::{Command, Output, Stdio},
};

/// The development account //Alice.
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
/// Recovery phrase of that account.
const ALICE_PHRASE: &str =
	"bottom drive obey lake curtain smoke basket hold race lonely fit walk//Alice";

/// Returns the program's command, without this machine's settings.
fn kaisar(home: &Path) -> Command {
	let mut command = Command::new(env!("CARGO_BIN_EXE_kaisar"));
	command.env_clear().env("HOME", home).stdin(Stdio::null());
	command
}

fn run(command: &mut Command) -> Output {
	command.output().expect("the program starts")
}

fn code(output: &Output) -> i32 {
	output.status.code().expect("it ends by itself")
}

fn text(bytes: &[u8]) -> String {
	String::from_utf8(bytes.to_vec()).expect("it prints text")
}

fn json(bytes: &[u8]) -> Value {
	serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)))
}

fn home() -> tempfile::TempDir {
	tempfile::tempdir().expect("there is room")
}

/// Runs the command with `input` on its standard input.
fn pipe(command: &mut Command, input: &str) -> Output {
	let mut child = command
		.stdin(Stdio::piped())
		.stdout(Stdio::piped())
		.stderr(Stdio::piped())
		.spawn()
		.expect("the program starts");
	let mut stdin = child.stdin.take().expect("it is piped");
	stdin.write_all(input.as_bytes()).expect("it is read");
	drop(stdin);
	child.wait_with_output().expect("the program ends")
}

/// Returns the URL of a port without a listener: it was free, and the system does not reuse it at once.
fn nobody() -> String {
	let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
	let address = listener.local_addr().expect("it has an address");
	format!("ws://{address}")
}

#[test]
fn usage_errors_go_to_standard_error_and_exit_with_2() {
	let home = home();
	for line in [
		vec![],
		vec!["unknown"],
		vec!["quote"],
		vec!["quote", "--class", "rtx9999"],
		vec!["stake", "0", "1,5"],
		vec!["order", "a b", "--class", "none"],
		vec!["order", "nginx", "--class", "none", "--port", "53/udp"],
		vec!["order", "nginx", "--class", "none", "--env", "A"],
		vec!["order", "nginx", "--class", "none", "--env-file", "missing"],
		vec!["connect", "0", "--listen", "everywhere"],
	] {
		let output = run(kaisar(home.path()).args(&line));
		assert_eq!(code(&output), 2, "{line:?}");
		assert!(output.stdout.is_empty(), "{line:?}");
		assert!(!output.stderr.is_empty(), "{line:?}");
	}
}

#[test]
fn limits_of_an_order_are_checked_before_the_node_is_asked() {
	let home = home();
	let url = nobody();
	let order = |words: &[&str]| {
		let base = ["--url", &url, "--json", "order", "nginx", "--class", "none"];
		run(kaisar(home.path()).args(base).args(words))
	};
	for (words, says) in [
		(vec!["--port=80"; 9], "9 ports"),
		(vec!["--port=80"; 2], "named twice"),
		(vec!["--arg=a"; 65], "65 arguments"),
		(vec!["--deploy-minutes=9"], "from 15 to 120"),
		(
			vec!["--env=NVIDIA_VISIBLE_DEVICES=all"],
			"set by the worker's agent",
		),
	] {
		let output = order(&words);
		assert_eq!(code(&output), 2, "{says}");
		let failure = &json(&output.stderr)["error"];
		let message = failure["message"].as_str().expect("it is text");
		assert!(message.contains(says), "{message}");
		assert!(failure["advice"].is_string(), "{failure}");
	}
	// Within the limits, the node is asked.
	assert_eq!(code(&order(&["--arg", "--model", "--port=80"])), 3);
	let help = text(&run(kaisar(home.path()).args(["order", "--help"])).stdout);
	// Lines may break anywhere.
	let words: Vec<&str> = help.split_whitespace().collect();
	assert!(words.join(" ").contains("Public on the chain"), "{help}");
}

#[test]
fn help_lists_the_exit_codes() {
	let home = home();
	let output = run(kaisar(home.path()).arg("--help"));
	assert_eq!(code(&output), 0);
	let help = text(&output.stdout);
	for word in [
		"Exit codes",
		"quote",
		"connect",
		"create-wallet",
		"KAISAR_URL",
	] {
		assert!(help.contains(word), "{word}");
	}
}

#[test]
fn completions_know_the_commands() {
	let home = home();
	for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
		let output = run(kaisar(home.path()).args(["completions", shell]));
		assert_eq!(code(&output), 0, "{shell}");
		assert!(text(&output.stdout).contains("create-wallet"), "{shell}");
	}
}

#[test]
fn bash_takes_its_completions() {
	let home = home();
	let output = run(kaisar(home.path()).args(["completions", "bash"]));
	let checked = pipe(Command::new("bash").args(["-n"]), &text(&output.stdout));
	assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));
}

#[test]
fn classes_are_listed_for_people_and_programs() {
	let home = home();
	let output = run(kaisar(home.path()).arg("classes"));
	assert!(text(&output.stdout).contains("RTX_4090"));
	// Not a terminal: no colors.
	assert!(!output.stdout.contains(&0x1b));

	let output = run(kaisar(home.path()).args(["classes", "--json"]));
	let list = json(&output.stdout);
	assert_eq!(list["classes"][10]["name"], "GPU_RTX_4090");
	assert_eq!(list["classes"][10]["id"], 11);
}

#[test]
fn fails_with_3_if_the_node_is_unreachable() {
	let home = home();
	let url = nobody();
	for line in [
		vec!["orders", "0"],
		vec!["status", "0"],
		vec!["quote", "--class", "none"],
		vec!["--suri", "//Alice", "cancel", "0"],
		vec!["--suri", "//Alice", "stake", "0", "1"],
	] {
		let output = run(kaisar(home.path()).args(["--url", &url]).args(&line));
		assert_eq!(code(&output), 3, "{line:?}: {}", text(&output.stderr));
		let told = text(&output.stderr);
		assert!(told.starts_with("error: ") && told.contains(&url), "{told}");
		assert_eq!(told.trim_end().lines().count(), 1, "{told}");
	}
	// The environment names it too.
	let output = run(kaisar(home.path())
		.env("KAISAR_URL", &url)
		.args(["status", "0"]));
	assert!(text(&output.stderr).contains(&url));

	let output = run(kaisar(home.path()).args(["--json", "--url", &url, "status", "0"]));
	assert_eq!(code(&output), 3);
	assert_eq!(json(&output.stderr)["error"]["kind"], "unreachable");
	assert!(output.stdout.is_empty());
}

#[test]
fn fails_with_3_if_the_server_does_not_speak_the_protocol() {
	let home = home();
	let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
	let url = format!("ws://{}", listener.local_addr().expect("it has an address"));
	let server = std::thread::spawn(move || {
		let (mut stream, _) = listener.accept().expect("it comes");
		stream
			.write_all(b"SSH-2.0-OpenSSH_9\r\n")
			.expect("it listens");
	});
	let output = run(kaisar(home.path()).args(["--url", &url, "status", "0"]));
	assert_eq!(code(&output), 3, "{}", text(&output.stderr));
	server.join().expect("it was asked");
	for url in ["nonsense", "ws://", "ftp://127.0.0.1", ""] {
		let output = run(kaisar(home.path()).args(["--url", url, "status", "0"]));
		assert_eq!(code(&output), 3, "{url:?}: {}", text(&output.stderr));
	}
}

#[test]
fn a_wallet_is_created_once_and_opened_with_its_password() {
	let home = home();
	let output = run(kaisar(home.path())
		.env("KAISAR_PASSWORD", "correct horse")
		.args(["create-wallet", "--json"]));
	assert_eq!(code(&output), 0, "{}", text(&output.stderr));
	let made = json(&output.stdout);
	let path = home.path().join(".config/kaisar/wallet.json");
	assert_eq!(made["file"], path.display().to_string());
	let mode = fs::metadata(&path)
		.expect("it is there")
		.permissions()
		.mode();
	assert_eq!(mode & 0o777, 0o600);

	// The words are shown, but not on standard output, which a script may store.
	let shown = text(&output.stderr);
	let phrase = shown
		.lines()
		.map(str::trim)
		.find(|line| {
			line.split(' ').count() == 12
				&& line.bytes().all(|b| b.is_ascii_lowercase() || b == b' ')
		})
		.expect("the words are shown");
	assert!(!text(&output.stdout).contains(phrase));
	assert!(
		!fs::read_to_string(&path)
			.expect("it is there")
			.contains(phrase)
	);

	let before = fs::read(&path).expect("it is there");
	for again in [
		vec!["create-wallet"],
		vec!["import-wallet", "--suri", "//Alice"],
	] {
		let output = run(kaisar(home.path())
			.env("KAISAR_PASSWORD", "correct horse")
			.args(&again));
		assert_eq!(code(&output), 7);
		assert!(text(&output.stderr).contains("already exists"));
	}
	assert_eq!(fs::read(&path).expect("it is there"), before);

	let password = home.path().join("password");
	fs::write(&password, "correct horse\n").expect("it is written");
	let output = run(kaisar(home.path())
		.args(["address", "--json", "--password-file"])
		.arg(&password));
	assert_eq!(code(&output), 0, "{}", text(&output.stderr));
	let opened = json(&output.stdout);
	assert_eq!(opened["address"], made["address"]);

	// The words bring the same wallet back, with the same client key.
	let other = home.path().join("other.json");
	let output = pipe(
		kaisar(home.path())
			.env("KAISAR_PASSWORD", "another")
			.args(["import-wallet", "--wallet"])
			.arg(&other),
		phrase,
	);
	assert_eq!(code(&output), 0, "{}", text(&output.stderr));
	let output = run(kaisar(home.path())
		.env("KAISAR_PASSWORD", "another")
		.env("KAISAR_WALLET", &other)
		.args(["address", "--json"]));
	assert_eq!(json(&output.stdout), opened);
}

#[test]
fn fails_with_7_if_the_wallet_cannot_be_opened() {
	let home = home();
	let fails = |command: &mut Command, why: &str| {
		let output = run(command);
		assert_eq!(code(&output), 7, "{}", text(&output.stderr));
		assert!(
			text(&output.stderr).contains(why),
			"{}",
			text(&output.stderr)
		);
		assert!(output.stdout.is_empty());
	};
	fails(kaisar(home.path()).arg("address"), "create-wallet");
	fails(
		kaisar(home.path()).args(["address", "--suri", "no such words"]),
		"phrase",
	);

	let path = home.path().join("alice.json");
	let output = pipe(
		kaisar(home.path())
			.env("KAISAR_PASSWORD", "secret")
			.env("KAISAR_WALLET", &path)
			.arg("import-wallet"),
		&format!("{ALICE_PHRASE}\n"),
	);
	assert_eq!(code(&output), 0, "{}", text(&output.stderr));
	assert!(text(&output.stdout).contains(ALICE));

	let open = || {
		let mut command = kaisar(home.path());
		command.env("KAISAR_WALLET", &path).arg("address");
		command
	};
	fails(open().env("KAISAR_PASSWORD", "wrong"), "password is wrong");
	fails(
		open().args(["--password-file", "/no/such/file"]),
		"cannot read",
	);
	fs::write(&path, "{}").expect("it is written");
	fails(open().env("KAISAR_PASSWORD", "secret"), "not a wallet file");
}

#[test]
fn a_new_wallet_needs_a_password() {
	let home = home();
	let output = run(kaisar(home.path())
		.env("KAISAR_PASSWORD", "")
		.arg("create-wallet"));
	assert_eq!(code(&output), 7);
	assert!(text(&output.stderr).contains("needs a password"));
	assert!(!home.path().join(".config/kaisar/wallet.json").exists());
	// The phrase of a wallet that was not written is not shown either.
	assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[test]
fn an_export_of_polkadot_js_is_imported_as_it_is() {
	let home = home();
	let path = home.path().join("wallet.json");
	let export = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/polkadot-js.json");
	let import = |password: &str| {
		run(kaisar(home.path())
			.env("KAISAR_PASSWORD", password)
			.env("KAISAR_WALLET", &path)
			.args(["import-wallet", "--from", export]))
	};
	assert_eq!(code(&import("whoisbob")), 7);
	assert!(!path.exists());
	let output = import("whoisalice");
	assert_eq!(code(&output), 0, "{}", text(&output.stderr));
	assert!(text(&output.stdout).contains(ALICE));
	assert_eq!(
		json(&fs::read(&path).expect("it is there")),
		json(&fs::read(export).expect("it is there"))
	);
}

#[test]
fn errors_do_not_repeat_secrets() {
	let home = home();
	let secret = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0g";
	for line in [
		vec!["--suri", secret, "address"],
		vec![
			"register",
			"--worker-suri",
			secret,
			"--agent-suri",
			secret,
			"--cpu-cores",
			"1",
			"--memory",
			"1",
			"--disk",
			"1",
			"--download",
			"0",
			"--upload",
			"0",
			"--region",
			"DE",
		],
	] {
		let output = run(kaisar(home.path()).args(&line));
		assert_eq!(code(&output), 7);
		assert!(!text(&output.stderr).contains(secret));
	}
}

#[test]
fn register_fails_without_a_hardware_description() {
	let home = home();
	let output = run(kaisar(home.path()).args([
		"--suri",
		"//Provider",
		"register",
		"--worker-suri",
		"//W",
		"--agent-suri",
		"//A",
		"--memory",
		"1",
	]));
	assert_eq!(code(&output), 2);
	let told = text(&output.stderr);
	for option in [
		"--cpu-cores",
		"--disk",
		"--download",
		"--upload",
		"--region",
		"kaisar-agent detect",
	] {
		assert!(told.contains(option), "{option}: {told}");
	}
	let output = pipe(
		kaisar(home.path()).args([
			"--suri",
			"//Provider",
			"register",
			"--spec",
			"-",
			"--node-dir",
			"/nowhere",
		]),
		"not json",
	);
	assert_eq!(code(&output), 2, "{}", text(&output.stderr));
}

#[test]
fn connect_fails_on_a_taken_port_before_it_asks_the_node() {
	let home = home();
	let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
	let taken = listener
		.local_addr()
		.expect("it has an address")
		.to_string();
	let output =
		run(kaisar(home.path()).args(["--suri", "//Alice", "connect", "0", "--listen", &taken]));
	assert_eq!(code(&output), 2);
	assert!(text(&output.stderr).contains(&taken));
}

#[test]
fn connect_waits_for_the_node_until_the_timeout() {
	let home = home();
	let url = nobody();
	let output = run(kaisar(home.path()).args([
		"--suri",
		"//Alice",
		"--url",
		&url,
		"--timeout",
		"1",
		"connect",
		"0",
	]));
	assert_eq!(code(&output), 3, "{}", text(&output.stderr));
	assert!(output.stdout.is_empty());
}

#[test]
fn a_closed_pipe_is_not_an_error() {
	let home = home();
	let mut child = kaisar(home.path())
		.args(["completions", "bash"])
		.stdout(Stdio::piped())
		.stderr(Stdio::piped())
		.spawn()
		.expect("the program starts");
	drop(child.stdout.take());
	let output = child.wait_with_output().expect("the program ends");
	assert_eq!(code(&output), 0);
	assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}
