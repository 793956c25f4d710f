//! The binary, started like by the node.

use crate::world::{World, ran, until};
use codec::{Decode, DecodeAll, Encode};
use kaisar_agent::trial::{
	device::{Device, Processor},
	job::Job,
};
use kaisar_math::ClassReference;
use kaisar_primitives::{
	AgentKey, BenchParams, WorkerSpec,
	agent::{AgentStatus, Attestation, PATH_PROVE, PATH_STATUS, Progress, ProveRequest},
};
use std::{
	path::PathBuf,
	process::Stdio,
	sync::Arc,
	time::{Duration, Instant},
};
use tokio::{
	io::{AsyncBufReadExt, BufReader},
	process::{Child, Command},
	time::timeout,
};

const LIMIT: Duration = Duration::from_secs(30);

fn start(dir: &std::path::Path) -> Child {
	command(dir).spawn().unwrap()
}

fn command(dir: &std::path::Path) -> Command {
	let mut command = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"));
	command
		.args([
			"run",
			"--listen",
			"127.0.0.1:0",
			"--bind",
			"127.0.0.1:0",
			"--exit-on-stdin-close",
		])
		.arg("--token-file")
		.arg(dir.join("token"))
		.arg("--key-file")
		.arg(dir.join("key"))
		.arg("--peers-dir")
		.arg(dir.join("peers"))
		.arg("--data-dir")
		.arg(dir.join("data"))
		.stdin(Stdio::piped())
		.stdout(Stdio::piped())
		.stderr(Stdio::null())
		.kill_on_drop(true);
	command
}

async fn ready(child: &mut Child) -> serde_json::Value {
	let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
	let line = timeout(LIMIT, lines.next_line())
		.await
		.unwrap()
		.unwrap()
		.unwrap();
	serde_json::from_str::<serde_json::Value>(&line).unwrap()["ready"].clone()
}

#[tokio::test]
async fn it_says_when_it_is_ready_serves_and_ends_with_its_parent() {
	let dir = tempfile::tempdir().unwrap();
	let mut child = start(dir.path());
	let said = ready(&mut child).await;
	let token = std::fs::read_to_string(dir.path().join("token")).unwrap();
	let body = reqwest::Client::new()
		.post(format!("{}{PATH_STATUS}", said["url"].as_str().unwrap()))
		.bearer_auth(token)
		.body(().encode())
		.send()
		.await
		.unwrap()
		.bytes()
		.await
		.unwrap();
	let status = AgentStatus::decode_all(&mut &body[..]).unwrap();
	let agent = said["agent"].as_str().unwrap().to_owned();
	assert_eq!(agent, format!("0x{}", hex::encode(status.agent)));
	assert!(!said["addrs"].as_array().unwrap().is_empty());
	assert!(
		dir.path().join("peers").join(&agent[2..]).exists(),
		"its addresses are published"
	);
	// A second agent in the same folder is refused.
	let second = timeout(LIMIT, start(dir.path()).wait())
		.await
		.unwrap()
		.unwrap();
	assert!(!second.success());
	// The node ends: its end of the pipe closes.
	let closed = Instant::now();
	drop(child.stdin.take());
	let status = timeout(LIMIT, child.wait()).await.unwrap().unwrap();
	assert!(status.success());
	assert!(closed.elapsed() < Duration::from_secs(10));
	// The key stays the same.
	let mut child = start(dir.path());
	assert_eq!(ready(&mut child).await["agent"], agent);
}

/// The manifest of Mesa's software driver.
fn software_driver() -> PathBuf {
	let dir = std::fs::read_dir("/usr/share/vulkan/icd.d").expect("mesa-vulkan-drivers is there");
	let is_it = |path: &PathBuf| path.to_string_lossy().contains("lvp_icd");
	let mut paths = dir.flatten().map(|entry| entry.path());
	paths
		.find(is_it)
		.expect("scripts/setup.sh installs mesa-vulkan-drivers")
}

#[tokio::test]
async fn a_driver_that_comes_after_the_agent_is_used_from_the_next_benchmark_on() {
	let dir = tempfile::tempdir().unwrap();
	let driver = dir.path().join("driver.json");
	let mut child = command(dir.path())
		.args(["--gpus", "software"])
		.env("VK_DRIVER_FILES", &driver)
		.env("VK_ICD_FILENAMES", &driver)
		.spawn()
		.unwrap();
	let said = ready(&mut child).await;
	let token = std::fs::read_to_string(dir.path().join("token")).unwrap();
	async fn ask<T: Decode>(said: &serde_json::Value, token: &str, path: &str, body: Vec<u8>) -> T {
		let url = format!("{}{path}", said["url"].as_str().unwrap());
		let request = reqwest::Client::new()
			.post(url)
			.bearer_auth(token)
			.body(body);
		let answer = request.send().await.unwrap().bytes().await.unwrap();
		T::decode_all(&mut &answer[..]).unwrap()
	}
	let gpus = async || {
		let status: AgentStatus = ask(&said, &token, PATH_STATUS, ().encode()).await;
		status.gpus
	};
	let world = World::new();
	let claim = |seed: u8| ProveRequest {
		spec: WorkerSpec {
			gpu_class: 11,
			gpu_count: 1,
			..world.spec
		},
		seed: sp_core::H256::repeat_byte(seed),
		reference: Some(ClassReference::LEAST),
		bench: BenchParams {
			n: 1_024,
			window_mib: 2,
			..world.bench
		},
		..world.prove_request()
	};
	let proved = async |seed: u8| {
		until(LIMIT, async || {
			match ask(&said, &token, PATH_PROVE, claim(seed).encode()).await {
				Progress::<Attestation>::Working => None,
				Progress::Done(attestation) => Some(attestation.root),
				Progress::Failed(error) => panic!("{error}"),
			}
		})
		.await
	};
	// A claim with a GPU, played by the processor here, and one without.
	let mut key = [0; 32];
	hex::decode_to_slice(&said["agent"].as_str().unwrap()[2..], &mut key).unwrap();
	let expected = |seed: u8, gpu: bool| {
		let job = Job::of_prove(&claim(seed), AgentKey::from_raw(key)).unwrap();
		let devices: Vec<Arc<dyn Device>> = match gpu {
			true => vec![Arc::new(Processor)],
			false => Vec::new(),
		};
		ran(&job, world.seed, &devices).root()
	};
	assert_eq!(gpus().await, 0);
	assert_eq!(proved(1).await, expected(1, false), "no driver yet");
	std::fs::copy(software_driver(), &driver).unwrap();
	assert_eq!(proved(2).await, expected(2, true));
	assert_eq!(gpus().await, 1, "as it is now");
	// It disappears again, like a GPU that falls off the bus.
	std::fs::remove_file(&driver).unwrap();
	assert_eq!(proved(3).await, expected(3, false));
	assert_eq!(gpus().await, 0);
}

#[tokio::test]
async fn gpus_are_listed_and_named() {
	let (good, out, err) = run(&["detect", "--gpus", "software"]).await;
	assert!(good, "{err}");
	let line = out.lines().find(|line| line.contains("llvmpipe"));
	let line = line.unwrap_or_else(|| panic!("{out}"));
	let uuid = line
		.split_whitespace()
		.find(|word| word.matches('-').count() == 4);
	let uuid = uuid.unwrap_or_else(|| panic!("no UUID: {line}"));
	for name in [uuid.to_owned(), format!("GPU-{}", uuid.to_uppercase())] {
		let (good, out, err) = run(&["detect", "--gpus", "software", "--gpu", &name]).await;
		assert!(good && out.contains("llvmpipe"), "{err}");
	}
	for command in ["detect", "bench", "calibrate"] {
		let (good, _, err) = run(&[command, "--gpus", "software", "--gpu", "fe:1f.0"]).await;
		assert!(
			!good && err.contains("0000:fe:1f.0") && err.contains(uuid),
			"{command}: {err}"
		);
	}
	let (good, _, err) = run(&["detect", "--gpu", "0"]).await;
	assert!(!good && err.contains("nvidia-smi -L"), "{err}");
}

#[tokio::test]
async fn detect_prints_a_claim() {
	let output = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"))
		.args([
			"detect",
			"--json",
			"--region",
			"DE",
			"--download-mbps",
			"90",
		])
		.output()
		.await
		.unwrap();
	assert!(output.status.success());
	let claim: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
	assert_eq!(claim["region"], "DE");
	assert_eq!(claim["download_mbps"], 90);
	assert_eq!(
		(&claim["gpu_class"], &claim["gpu_count"]),
		(&0.into(), &0.into())
	);
	assert!(claim["cpu_cores"].as_u64().unwrap() > 0);
	assert!(String::from_utf8_lossy(&output.stderr).contains("class 0"));
}

#[tokio::test]
async fn bench_proves_and_verifies() {
	let output = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"))
		.args([
			"bench",
			"--json",
			"--n",
			"128",
			"--stages",
			"2",
			"--memory-mib",
			"2",
			"--disk-mib",
			"4",
		])
		.output()
		.await
		.unwrap();
	assert!(
		output.status.success(),
		"{}",
		String::from_utf8_lossy(&output.stderr)
	);
	let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
	assert!(report["proof_bytes"].as_u64().unwrap() > 0);
	assert_eq!(
		(&report["class"], &report["full"]),
		(&0.into(), &false.into())
	);
	// The report has each claim and its shown amount.
	let resources = report["resources"].as_array().unwrap();
	for resource in resources {
		assert_eq!(resource["claim"], resource["shown"], "{resource}");
	}
	assert_eq!(resources[1]["name"], "CPU cores");
	assert!(resources[1]["seconds"].as_f64().is_some());
	assert_eq!(
		report["remarks"].as_array().map(Vec::len),
		Some(0),
		"{report}"
	);
	let cores = u32::try_from(num_cpus::get()).unwrap();
	let tier = report["tiers"]["cpu"].as_u64().unwrap();
	assert!(tier <= kaisar_math::tiers::cpu(cores).into(), "{tier}");
}

async fn run(args: &[&str]) -> (bool, String, String) {
	let output = Command::new(env!("CARGO_BIN_EXE_kaisar-agent"))
		.args(args)
		.output()
		.await
		.unwrap();
	let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
	(
		output.status.success(),
		text(&output.stdout),
		text(&output.stderr),
	)
}

#[tokio::test]
async fn bench_runs_on_a_gpu_and_says_what_it_supports() {
	let small = [
		"--gpus",
		"software",
		"--class",
		"rtx_4090",
		"--turns",
		"2",
		"--window-mib",
		"2",
		"--stages",
		"2",
		"--memory-mib",
		"2",
		"--disk-mib",
		"4",
	];
	let (good, out, err) = run(&[&["bench", "--json"], &small[..]].concat()).await;
	assert!(good, "{err}");
	let report: serde_json::Value = serde_json::from_str(&out).unwrap();
	assert_eq!(
		(&report["claimed_class"], &report["gpu_count"]),
		(&11.into(), &1.into()),
		"{report}"
	);
	assert_eq!(
		(&report["turns"], &report["class_is_calibrated"]),
		(&2.into(), &false.into())
	);
	let gpus = &report["openings"][0];
	assert!(gpus["of"] == "the GPUs" && gpus["bytes"].as_u64().unwrap() > 0);
	// A chain's reference takes the place of the one that this program knows.
	let held = r#"{"trialTurns":9876,"memoryGb":24,"calibrated":true}"#;
	let held = ["bench", "--json", "--reference", held];
	let (good, out, err) = run(&[&held, &small[..]].concat()).await;
	assert!(good, "{err}");
	let report: serde_json::Value = serde_json::from_str(&out).unwrap();
	assert_eq!(report["class_is_calibrated"], true);
	// As text.
	let (good, out, _) = run(&[&["bench"], &small[..]].concat()).await;
	assert!(good);
	for part in [
		"1 of 1 × GPU_RTX_4090",
		"claim    shown",
		"memory GB",
		"bytes of the GPUs",
		"verified on one core",
	] {
		assert!(out.contains(part), "{part}: {out}");
	}
}

#[tokio::test]
async fn calibrate_prints_the_figures_of_a_class() {
	let (good, out, err) = run(&[
		"calibrate",
		"--json",
		"--gpus",
		"software",
		"--class",
		"11",
		"--runs",
		"2",
		"--try-mib",
		"1",
	])
	.await;
	assert!(good, "{err}");
	let report: serde_json::Value = serde_json::from_str(&out).unwrap();
	assert_eq!(report["class_name"], "GPU_RTX_4090");
	assert_eq!(report["tried_only"], true);
	for figure in ["copy_mb_s", "turn_ms", "walks_ms", "fill_secs"] {
		assert!(report[figure].as_f64().unwrap() > 0.0, "{figure}");
	}
	// In the form of the chain's call; a try-out does not count as measured.
	let reference: ClassReference = serde_json::from_value(report["reference"].clone()).unwrap();
	assert!(
		reference.is_valid() && !reference.calibrated,
		"{reference:?}"
	);
	assert_eq!(reference.memory_gb, 24);
	// A class that governance added later.
	let new = "calibrate --json --gpus software --class 900 --memory-gb 288 --runs 1 --try-mib 1";
	let (good, out, err) = run(&new.split(' ').collect::<Vec<_>>()).await;
	assert!(good, "{err}");
	let report: serde_json::Value = serde_json::from_str(&out).unwrap();
	assert_eq!(report["class_name"], "class 900");
	assert_eq!(report["reference"]["memoryGb"], 288);
	for (args, what) in [
		(&["calibrate", "--gpus", "off"][..], "no usable GPU"),
		(&["calibrate", "--gpus", "software"], "pass --class"),
		(
			&["calibrate", "--gpus", "software", "--class", "999"],
			"pass --memory-gb",
		),
		(
			&["bench", "--gpus", "software", "--class", "999"],
			"pass --reference",
		),
		(
			&["calibrate", "--gpus", "software", "--class", "voodoo"],
			"is named voodoo",
		),
		(
			&["bench", "--gpus", "off", "--class", "11"],
			"no usable GPU",
		),
		(&["bench", "--reference", "{}"], "--reference"),
	] {
		let (good, _, err) = run(args).await;
		assert!(!good && err.contains(what), "{args:?}: {err}");
	}
}
