//! Containers, in a real engine of the test's own (`scripts/engine.sh`): Podman, or Docker's daemon if
//! `KAISAR_ENGINE` is `docker`.

#[path = "containers/isolation.rs"]
mod isolation;
#[path = "containers/templates.rs"]
mod templates;
#[path = "suite/world.rs"]
mod world;

use axum::{
	body::Body,
	extract::{Request, State},
	http::{StatusCode, header},
	response::{IntoResponse, Response},
};
use futures::StreamExt;
use kaisar_agent::{
	Agent,
	containers::{EngineChoice, Settings, Timeouts},
};
use kaisar_primitives::{
	DeployFailure,
	agent::{
		ContainerLimits, ContainerReport, ContainerState, Deployment, OrderRequest, PATH_ORDER,
	},
};
use sp_core::Pair;
use std::{
	io::Write,
	net::{SocketAddr, TcpListener},
	path::{Path, PathBuf},
	process::Command,
	sync::{
		Arc,
		atomic::{AtomicBool, Ordering},
	},
	time::{Duration, Instant},
};
use tempfile::TempDir;
use world::{TOKEN, WORKER, World, pair, until};

/// Timeout of an engine's action, which takes far less on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Time for several looks of a supervisor.
const LOOKS: Duration = Duration::from_secs(4);

/// The test's own engine, with the images of the tests.
struct Engine {
	dir: TempDir,
	port: u16,
}

fn script(dir: &Path, command: &str, arguments: &[&str]) -> String {
	let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/engine.sh");
	let output = Command::new(path)
		.arg(command)
		.arg(dir)
		.args(arguments)
		.output()
		.unwrap();
	assert!(
		output.status.success(),
		"engine.sh {command}: {}",
		String::from_utf8_lossy(&output.stderr)
	);
	String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Engine {
	fn start() -> Self {
		Self::with_registry(None)
	}

	fn with_registry(registry: Option<SocketAddr>) -> Self {
		let dir = tempfile::tempdir().unwrap();
		// If containers share the machine's network, tests must not share a port.
		let free = TcpListener::bind("127.0.0.1:0").unwrap();
		let port = free.local_addr().unwrap().port();
		let engine = Self { dir, port };
		let registry = registry.map(|address| address.to_string());
		let registry: Vec<&str> = registry.iter().map(String::as_str).collect();
		script(engine.dir(), "start", &registry);
		script(engine.dir(), "images", &[&port.to_string()]);
		engine
	}

	fn dir(&self) -> &Path {
		self.dir.path()
	}

	fn is_docker() -> bool {
		std::env::var("KAISAR_ENGINE").is_ok_and(|engine| engine == "docker")
	}

	/// Runs the engine's own command.
	fn client(&self, arguments: &[&str]) -> String {
		script(self.dir(), "client", arguments)
	}

	/// Stops a container from outside.
	async fn stop(&self, id: &str) {
		self.client(&["stop", "--time", "0", id]);
		self.cleaned(id).await;
	}

	/// Waits until the engine has cleaned up after a container that has ended. Podman's monitors do so in
	/// processes of their own, which name the engine's folder; a container that is started meanwhile may
	/// find its firewall chain gone.
	async fn cleaned(&self, id: &str) {
		let dir = self.dir().to_str().unwrap().as_bytes();
		let contains = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|seen| seen == part);
		let cleans = |process: std::fs::DirEntry| {
			let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
			contains(&command, dir)
				&& contains(&command, b"cleanup")
				&& contains(&command, id.as_bytes())
		};
		engine_says(|| !std::fs::read_dir("/proc").unwrap().flatten().any(cleans)).await;
	}

	/// Removes a container by force.
	fn remove(&self, id: &str) {
		if Self::is_docker() {
			self.client(&["rm", "--force", id]);
		} else {
			self.client(&["rm", "--force", "--time", "0", id]);
		}
	}

	fn halt(&self) {
		script(self.dir(), "halt", &[]);
	}

	fn start_again(&self) {
		script(self.dir(), "start", &[]);
	}

	/// Returns the ids of all containers.
	fn containers(&self) -> Vec<String> {
		self.client(&["ps", "--all", "--quiet", "--no-trunc"])
			.lines()
			.map(str::to_owned)
			.collect()
	}

	fn only(&self) -> String {
		let all = self.containers();
		assert_eq!(all.len(), 1, "{all:?}");
		all[0].clone()
	}

	fn inspect(&self, id: &str, format: &str) -> String {
		self.client(&["inspect", id, "--format", format])
	}

	fn settings(&self) -> Settings {
		let network = std::fs::read_to_string(self.dir().join("network")).unwrap();
		Settings {
			engine: EngineChoice::Socket(self.dir().join("engine.sock")),
			network: Some(network.trim().to_owned()),
			allow_lan: true,
			// Debian's Docker is.
			allow_old_engine: true,
			..Default::default()
		}
	}
}

impl Drop for Engine {
	fn drop(&mut self) {
		// A test that panics has already reported its error.
		let stopped = std::panic::catch_unwind(|| script(self.dir(), "stop", &[]));
		assert!(
			stopped.is_ok() || std::thread::panicking(),
			"it does not stop"
		);
	}
}

fn deployment(order: u32, image: &str) -> Deployment {
	Deployment {
		order,
		image: image.into(),
		args: Vec::new(),
		env: Vec::new(),
		ports: Vec::new(),
		capabilities: Vec::new(),
		client: pair(50).public(),
		limits: ContainerLimits::default(),
		answer_ms: None,
		serve_ms: None,
		keep_ms: 600_000,
	}
}

fn web(order: u32) -> Deployment {
	deployment(order, "localhost/kaisar-web:1")
}

/// A worker's node.
struct Node {
	world: World,
}

impl Node {
	fn new(settings: Settings) -> Self {
		// For the output of a failed test.
		let _ = tracing_subscriber::fmt()
			.with_env_filter("kaisar_agent=debug")
			.with_test_writer()
			.try_init();
		let mut world = World::new();
		world.containers = settings;
		Self { world }
	}

	async fn agent(&self) -> Agent {
		self.world.agent(WORKER).await
	}

	async fn ask(&self, agent: &Agent, deployment: Option<&Deployment>) -> ContainerReport {
		let request = OrderRequest {
			genesis: self.world.genesis,
			worker: 7,
			deployment: deployment.cloned(),
		};
		self.world.ask(agent, PATH_ORDER, request).await
	}

	/// Polls like at each block until the container has the state; a forbidden state in between ends the
	/// test.
	async fn wait(
		&self,
		agent: &Agent,
		deployment: Option<&Deployment>,
		fits: impl Fn(&ContainerState) -> bool,
	) -> ContainerReport {
		let mut last = None;
		let waited = tokio::time::timeout(LIMIT, async {
			until(2 * LIMIT, async || {
				let report = self.ask(agent, deployment).await;
				last = Some(report.clone());
				fits(&report.state).then_some(report)
			})
			.await
		})
		.await;
		waited.unwrap_or_else(|_| panic!("it is still {last:?}"))
	}

	async fn running(&self, agent: &Agent, deployment: &Deployment) -> SocketAddr {
		let report = self
			.wait(agent, Some(deployment), |state| {
				assert!(
					!matches!(
						state,
						ContainerState::Failed { .. } | ContainerState::Exited { .. }
					),
					"{state:?}"
				);
				*state == ContainerState::Running
			})
			.await;
		assert_eq!(report.order, Some(deployment.order));
		agent.containers().served(deployment.order).unwrap().ports[0].1
	}

	async fn failed(&self, agent: &Agent, deployment: &Deployment) -> (DeployFailure, String) {
		let report = self
			.wait(agent, Some(deployment), |state| {
				assert_ne!(*state, ContainerState::Running);
				matches!(state, ContainerState::Failed { .. })
			})
			.await;
		assert_eq!(report.order, Some(deployment.order));
		match report.state {
			ContainerState::Failed { failure, message } => (failure, message),
			other => panic!("{other:?}"),
		}
	}

	async fn absent(&self, agent: &Agent) {
		let report = self
			.wait(agent, None, |state| *state == ContainerState::Absent)
			.await;
		assert_eq!(report.order, None);
	}

	async fn page(&self, address: SocketAddr, path: &str) -> Result<String, reqwest::Error> {
		let url = format!("http://{address}{path}");
		let answer = self.world.client.get(url).timeout(LIMIT).send().await?;
		answer.text().await
	}
}

/// Polls the engine until a condition holds.
async fn engine_says(mut fits: impl FnMut() -> bool) {
	until(LIMIT, async || fits().then_some(())).await;
}

#[tokio::test]
async fn an_order_is_deployed_serves_and_goes() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	node.absent(&agent).await;
	assert_eq!(agent.containers().served(1), None);

	let mut order = web(1);
	let first = node.ask(&agent, Some(&order)).await;
	assert_eq!(first.order, Some(1));
	assert_ne!(first.state, ContainerState::Running, "it answers at once");
	let waiting = agent.containers().served(1).unwrap();
	assert!(waiting.ports.is_empty(), "nothing is served yet");
	let address = node.running(&agent, &order).await;
	assert!(address.ip().is_loopback());
	assert_eq!(
		node.page(address, "/").await.unwrap(),
		"a page of kaisar-web\n"
	);
	let served = agent.containers().served(1).unwrap();
	assert_eq!((served.genesis, served.worker), (node.world.genesis, 7));
	assert_eq!((served.client, served.customer_until), (order.client, None));
	assert_eq!(served.ports, [(engine.port, address)]);

	// Its time begins. The first deployment stands, even if its template is edited.
	let container = engine.only();
	order.serve_ms = Some(100_000);
	order.image = "localhost/kaisar-deaf:1".into();
	node.running(&agent, &order).await;
	let left = agent
		.containers()
		.served(1)
		.unwrap()
		.customer_until
		.unwrap()
		- Instant::now();
	assert!(left > Duration::from_secs(90) && left <= Duration::from_secs(100));
	assert_eq!(engine.only(), container);

	// The next order takes its place.
	let next = node.running(&agent, &web(2)).await;
	assert_ne!(engine.only(), container);
	assert_eq!(agent.containers().served(1), None);
	assert!(node.page(next, "/").await.is_ok());

	let answer = node.ask(&agent, None).await;
	assert_ne!(answer.state, ContainerState::Running);
	assert_eq!(agent.containers().served(2), None, "at once");
	node.absent(&agent).await;
	assert_eq!(engine.containers(), [] as [String; 0]);
	assert!(node.page(next, "/").await.is_err());
}

#[tokio::test]
async fn a_container_gets_its_arguments_its_environment_and_its_ports() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let lines = async |address: SocketAddr, path: &str| -> Vec<String> {
		let page = node.page(address, path).await.unwrap();
		page.lines().map(str::to_owned).collect()
	};
	let all_ports =
		|order: u32| -> Vec<(u16, SocketAddr)> { agent.containers().served(order).unwrap().ports };

	// Without any, those of the image.
	let image = "localhost/kaisar-tell:1";
	let address = node.running(&agent, &deployment(1, image)).await;
	assert_eq!(all_ports(1), [(engine.port, address)]);
	assert_eq!(lines(address, "/arguments").await, ["own", "arguments"]);
	let environment = lines(address, "/environment").await;
	assert!(environment.contains(&"GREETING=image".into()));
	assert!(
		environment.contains(&"NVIDIA_MOFED=disabled".into()),
		"an image opens no device: {environment:?}"
	);

	// If containers share the machine's network, these are ports of the machine.
	let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
	let mut ports = free.map(|listener| listener.local_addr().unwrap().port());
	// The order's first port is not the lowest.
	ports.sort_by_key(|port| std::cmp::Reverse(*port));
	let mut order = deployment(2, image);
	order.args = ["--model", "two words", ""].map(String::from).to_vec();
	order.env = vec![
		"GREETING=first".into(),
		// The first port listens last, so all do when it answers.
		format!("PORTS={} {}", ports[1], ports[0]),
		"GREETING=a=b".into(),
		"NVIDIA_VISIBLE_DEVICES=all".into(),
	];
	order.ports = ports.to_vec();
	node.running(&agent, &order).await;
	let served = all_ports(2);
	let numbers: Vec<u16> = served.iter().map(|(port, _)| *port).collect();
	assert_eq!(numbers, ports);
	for (port, address) in served {
		assert_eq!(lines(address, "/").await, [format!("port {port}")]);
		let arguments = lines(address, "/arguments").await;
		assert_eq!(arguments, ["--model", "two words", ""]);
		let environment = lines(address, "/environment").await;
		let of = |name: &str| -> Vec<&str> {
			let values = environment.iter().filter_map(|line| line.split_once('='));
			values
				.filter(|(other, _)| *other == name)
				.map(|(_, value)| value)
				.collect()
		};
		assert_eq!(of("GREETING"), ["a=b"]);
		assert_eq!(of("NVIDIA_VISIBLE_DEVICES"), ["void"]);
	}
}

#[tokio::test]
async fn an_order_can_give_its_container_more_time_to_answer() {
	let engine = Engine::start();
	let mut settings = engine.settings();
	settings.timeouts.healthy = Duration::ZERO;
	let node = Node::new(settings);
	let agent = node.agent().await;
	let (failure, _) = node
		.failed(&agent, &deployment(1, "localhost/kaisar-deaf:1"))
		.await;
	assert_eq!(failure, DeployFailure::Unhealthy);
	let mut patient = deployment(2, "localhost/kaisar-deaf:1");
	patient.answer_ms = Some(4_000);
	let since = Instant::now();
	let (failure, _) = node.failed(&agent, &patient).await;
	assert_eq!(failure, DeployFailure::Unhealthy);
	assert!(since.elapsed() >= Duration::from_secs(4));
}

#[tokio::test]
async fn a_container_has_its_limits_and_no_privileges() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let mut order = web(1);
	order.limits = ContainerLimits {
		gpus: 0,
		cpu_cores: 1,
		memory_gb: 1,
		// The tests' storage has no limits, so the container is created without one.
		disk_gb: 1,
	};
	let address = node.running(&agent, &order).await;
	let id = engine.only();
	let inspect = |format: &str| engine.inspect(&id, format);
	assert_eq!(inspect("{{.HostConfig.NanoCpus}}"), "1000000000");
	assert_eq!(inspect("{{.HostConfig.Memory}}"), "1000000000");
	assert_eq!(inspect("{{.HostConfig.MemorySwap}}"), "1000000000");
	assert_eq!(inspect("{{.HostConfig.ShmSize}}"), "500000000");
	assert_eq!(inspect("{{.HostConfig.PidsLimit}}"), "16384");
	assert_eq!(inspect("{{.HostConfig.Privileged}}"), "false");
	assert_eq!(inspect("{{.HostConfig.RestartPolicy.Name}}"), "no");
	// Its order has no GPU, whatever its image requests from NVIDIA's runtime.
	let environment = inspect("{{.Config.Env}}");
	assert!(
		environment.contains("NVIDIA_VISIBLE_DEVICES=void"),
		"{environment}"
	);
	assert_eq!(inspect("{{.Mounts}} {{.HostConfig.Binds}}"), "[] []");
	let own = if Engine::is_docker() { "" } else { "private" };
	assert_eq!(inspect("{{.HostConfig.PidMode}}"), own);
	if Engine::is_docker() {
		let caps = inspect("{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}");
		assert_eq!(caps, "[ALL] []");
	} else {
		assert_eq!(inspect("{{.EffectiveCaps}} {{.BoundingCaps}}"), "[] []");
	}
	let labels = inspect("{{range $name, $value := .Config.Labels}}{{$name}}={{$value}} {{end}}");
	for label in [
		format!("kaisar.agent={}", hex::encode(agent.key())),
		format!("kaisar.genesis={}", hex::encode(node.world.genesis)),
		"kaisar.worker=7".into(),
		"kaisar.order=1".into(),
	] {
		assert!(labels.contains(&label), "{label}: {labels}");
	}
	// The same holds inside, for a program that runs as root.
	let status = node.page(address, "/cgi-bin/self").await.unwrap();
	let field = |status: &str, name: &str| {
		let line = status.lines().find(|line| line.starts_with(name)).unwrap();
		line.split_whitespace().nth(1).unwrap().to_owned()
	};
	assert_eq!(field(&status, "Uid:"), "0");
	for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
		assert_eq!(field(&status, set), "0000000000000000", "{set}");
	}
	assert_eq!(field(&status, "NoNewPrivs:"), "1");
	assert_eq!(field(&status, "Seccomp:"), "2");

	// Only the template's capabilities.
	let mut order = web(2);
	order.capabilities = vec!["CAP_NET_BIND_SERVICE".into()];
	let address = node.running(&agent, &order).await;
	let status = node.page(address, "/cgi-bin/self").await.unwrap();
	assert_eq!(field(&status, "CapBnd:"), "0000000000000400");
	// All of the machine, except the part that it keeps for itself.
	let memory: u64 = engine
		.inspect(&engine.only(), "{{.HostConfig.Memory}}")
		.parse()
		.unwrap();
	let all = std::fs::read_to_string("/proc/meminfo").unwrap();
	let all: u64 = field(&all, "MemTotal:").parse::<u64>().unwrap() * 1_024;
	assert!(memory < all && memory >= all / 2);
}

#[tokio::test]
async fn what_cannot_be_deployed_fails_with_its_reason() {
	let engine = Engine::start();
	let mut settings = engine.settings();
	settings.timeouts.healthy = Duration::from_secs(2);
	let node = Node::new(settings);
	let agent = node.agent().await;
	let mut order = 0;
	let mut of = |image: &str| {
		order += 1;
		deployment(order, image)
	};
	use DeployFailure::{ContainerExited, ImageUnavailable, PlatformMismatch, Unhealthy};
	for (deployment, failure, says) in [
		(
			of("localhost/no-such-image:1"),
			ImageUnavailable,
			"no public name",
		),
		(of("10.0.0.1/a"), ImageUnavailable, "no public name"),
		(
			of("registry.invalid/a"),
			ImageUnavailable,
			"registry.invalid",
		),
		(of("--privileged"), ImageUnavailable, "malformed"),
		(of(&"a".repeat(100_000)), ImageUnavailable, "255"),
		(
			of("localhost/kaisar-broken:1"),
			ContainerExited,
			"no-such-command",
		),
		(of("localhost/kaisar-end:1"), ContainerExited, "code 3"),
		(of("localhost/kaisar-deaf:1"), Unhealthy, "answers"),
		(
			of("localhost/kaisar-portless:1"),
			Unhealthy,
			"exposes no TCP port",
		),
	] {
		let (found, message) = node.failed(&agent, &deployment).await;
		assert_eq!(found, failure, "{}: {message}", deployment.order);
		assert!(message.contains(says) && message.len() <= 256, "{message}");
		assert_eq!(agent.containers().served(deployment.order), None);
	}
	for (capability, says) in [
		("SYS_ADMIN", "do not get"),
		(&*"A".repeat(99), "at most 32"),
	] {
		let mut deployment = of("localhost/kaisar-web:1");
		deployment.capabilities = vec![capability.into()];
		let (found, message) = node.failed(&agent, &deployment).await;
		assert_eq!(found, ImageUnavailable);
		assert!(message.contains(says), "{message}");
	}
	let mut ports = of("localhost/kaisar-web:1");
	ports.ports = vec![80, 80];
	let (found, message) = node.failed(&agent, &ports).await;
	assert!(
		found == Unhealthy && message.contains("none twice"),
		"{message}"
	);
	let mut gpus = of("localhost/kaisar-web:1");
	gpus.limits.gpus = 1;
	let (found, message) = node.failed(&agent, &gpus).await;
	assert!(
		found == PlatformMismatch && message.contains("GPU"),
		"{message}"
	);
	// A failed order leaves nothing behind, and stays failed.
	engine_says(|| engine.containers().is_empty()).await;
	node.failed(&agent, &gpus).await;
	// Another owner's container of the same name is left alone.
	let name = format!(
		"kaisar-90-7-{}-{}",
		&hex::encode(node.world.genesis)[..8],
		&hex::encode(agent.key())[..8]
	);
	engine.client(&["create", "--name", &name, "localhost/kaisar-web:1"]);
	let (found, message) = node.failed(&agent, &web(90)).await;
	assert!(
		found == ContainerExited && message.contains("in use"),
		"{message}"
	);
	assert_eq!(engine.containers().len(), 1);
}

#[tokio::test]
async fn a_container_that_ends_by_itself_has_exited() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let order = deployment(1, "localhost/kaisar-exit:1");
	let address = node.running(&agent, &order).await;
	node.page(address, "/cgi-bin/exit").await.unwrap();
	let exited = ContainerState::Exited { code: 3 };
	node.wait(&agent, Some(&order), |state| *state == exited)
		.await;
	assert_eq!(agent.containers().served(1), None);
	engine_says(|| engine.containers().is_empty()).await;
	let past = if Engine::is_docker() {
		// Docker drops the fraction of the end's second: the end is a second ahead.
		["--since=1", "--until=-1s"].as_slice()
	} else {
		["--stream=false"].as_slice()
	};
	let starts = engine.client(&[&["events", "--filter", "event=start"], past].concat());
	let ours = starts.lines().filter(|line| line.contains("kaisar-exit"));
	assert_eq!(ours.count(), 1, "believed at once: {starts}");
	// It is not started again, nor after a restart of the agent.
	agent.stop().await;
	let agent = node.agent().await;
	node.wait(&agent, Some(&order), |state| *state == exited)
		.await;
	assert_eq!(engine.containers(), [] as [String; 0]);
	node.absent(&agent).await;
}

#[tokio::test]
async fn what_is_taken_away_from_outside_is_started_again() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let order = web(1);
	node.running(&agent, &order).await;
	let first = engine.only();
	engine.client(&["kill", &first]);
	engine_says(|| engine.inspect(&first, "{{.State.Running}}") == "true").await;
	let address = node.running(&agent, &order).await;
	assert!(node.page(address, "/").await.is_ok());
	engine.client(&["pause", &first]);
	engine_says(|| engine.inspect(&first, "{{.State.Paused}}") == "false").await;
	engine.remove(&first);
	engine_says(|| engine.containers().iter().any(|id| *id != first)).await;
	let address = node.running(&agent, &order).await;
	assert!(node.page(address, "/").await.is_ok());
	assert_ne!(engine.only(), first);
	// With its image, too: the order was served before, so this is repaired and does not fail it.
	let second = engine.only();
	engine.client(&["rmi", "--force", "localhost/kaisar-web:1"]);
	if Engine::is_docker() {
		// Podman removes the containers of an image with it, Docker does not.
		engine.remove(&second);
	}
	node.wait(&agent, Some(&order), |state| {
		assert!(!matches!(state, ContainerState::Failed { .. }));
		matches!(state, ContainerState::Unknown { message } if message.contains("does not have the image"))
	})
	.await;
	script(engine.dir(), "images", &[&engine.port.to_string()]);
	let address = node.running(&agent, &order).await;
	assert!(node.page(address, "/").await.is_ok());
}

#[tokio::test]
async fn an_agent_that_restarts_finds_its_containers() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let order = web(1);
	let address = node.running(&agent, &order).await;
	let container = engine.only();
	agent.stop().await;
	assert!(
		node.page(address, "/").await.is_ok(),
		"it goes on without the agent"
	);
	// It resumes from its stored state, before its node asks.
	let agent = node.agent().await;
	until(LIMIT, async || {
		let served = agent.containers().served(1)?;
		(!served.ports.is_empty()).then_some(())
	})
	.await;
	node.running(&agent, &order).await;
	assert_eq!(engine.only(), container);
	// It ended while the agent was down: the cause is unknown, so it is started again.
	agent.stop().await;
	engine.stop(&container).await;
	let agent = node.agent().await;
	let address = node.running(&agent, &order).await;
	assert_eq!(engine.only(), container);
	// The order was closed in the meantime.
	agent.stop().await;
	let agent = node.agent().await;
	node.absent(&agent).await;
	assert_eq!(engine.containers(), [] as [String; 0]);
	assert!(node.page(address, "/").await.is_err());
}

#[tokio::test]
async fn an_agent_that_lost_its_folder_removes_what_nobody_claims() {
	let engine = Engine::start();
	let mut settings = engine.settings();
	settings.timeouts.unclaimed = Duration::from_secs(1);
	let node = Node::new(settings);
	let agent = node.agent().await;
	node.running(&agent, &web(1)).await;
	engine.client(&["create", "--name", "others", "localhost/kaisar-web:1"]);
	agent.stop().await;
	std::fs::remove_dir_all(node.world.path().join(WORKER.to_string())).unwrap();
	let _agent = node.agent().await;
	engine_says(|| engine.containers().len() == 1).await;
	assert_eq!(
		engine.client(&["ps", "-a", "--format", "{{.Names}}"]),
		"others"
	);
}

#[tokio::test]
async fn an_engine_that_is_away_is_no_exit() {
	let engine = Engine::start();
	let mut settings = engine.settings();
	// A container that comes up without its ports is started once more.
	settings.timeouts.healthy = Duration::from_secs(10);
	let node = Node::new(settings);
	let agent = node.agent().await;
	let order = web(1);
	let address = node.running(&agent, &order).await;
	let container = engine.only();
	engine.halt();
	let is_unknown = |state: &ContainerState| {
		assert!(!matches!(state, ContainerState::Exited { .. }));
		matches!(state, ContainerState::Unknown { .. })
	};
	node.wait(&agent, Some(&order), is_unknown).await;
	// The container does not need the engine, nor does its customer.
	let served = agent.containers().served(1).unwrap();
	assert_eq!(served.ports, [(engine.port, address)]);
	if !Engine::is_docker() {
		// Docker publishes ports with processes that end with it.
		assert!(node.page(address, "/").await.is_ok());
	}
	engine.start_again();
	node.running(&agent, &order).await;
	assert_eq!(engine.only(), container);
	// It ends while the engine is down, like all of Docker's when it is stopped.
	let process = engine.inspect(&container, "{{.State.Pid}}");
	engine.halt();
	node.wait(&agent, Some(&order), is_unknown).await;
	assert!(
		Command::new("kill")
			.args(["-KILL", &process])
			.status()
			.unwrap()
			.success()
	);
	engine.cleaned(&container).await;
	engine.start_again();
	node.running(&agent, &order).await;
	assert_ne!(engine.inspect(&container, "{{.State.Pid}}"), process);
}

#[tokio::test]
async fn what_was_started_again_and_does_not_answer_is_started_once_more() {
	let engine = Engine::start();
	let mut settings = engine.settings();
	settings.timeouts.healthy = Duration::from_secs(10);
	let node = Node::new(settings);
	let agent = node.agent().await;
	let order = deployment(1, "localhost/kaisar-moody:1");
	node.running(&agent, &order).await;
	let container = engine.only();
	engine.stop(&container).await;
	let is_starting = |state: &ContainerState| *state == ContainerState::Starting;
	node.wait(&agent, Some(&order), is_starting).await;
	let address = node.running(&agent, &order).await;
	assert_eq!(engine.only(), container, "it keeps what it wrote");
	assert!(node.page(address, "/").await.is_ok());
}

#[tokio::test]
async fn an_order_that_nobody_asks_about_ends_by_the_agents_own_clock() {
	let engine = Engine::start();
	let node = Node::new(engine.settings());
	let agent = node.agent().await;
	let mut order = web(1);
	node.running(&agent, &order).await;
	order.keep_ms = 1_500;
	node.ask(&agent, Some(&order)).await;
	engine_says(|| engine.containers().is_empty()).await;
	assert_eq!(agent.containers().served(1), None);
	// The same if its time ended while the agent was stopped.
	order = web(2);
	node.running(&agent, &order).await;
	order.keep_ms = 10_000;
	node.ask(&agent, Some(&order)).await;
	agent.stop().await;
	let over = Instant::now() + Duration::from_millis(order.keep_ms);
	assert_eq!(engine.containers().len(), 1);
	tokio::time::sleep_until(over.into()).await;
	let agent = node.agent().await;
	assert_eq!(agent.containers().served(2), None);
	engine_says(|| engine.containers().is_empty()).await;
}

#[tokio::test]
async fn others_are_stopped_while_a_customer_pays_if_the_provider_says_so() {
	let engine = Engine::start();
	let foreign = engine.client(&["run", "--detach", "localhost/kaisar-deaf:1"]);
	let runs = || engine.inspect(&foreign, "{{.State.Running}}") == "true";
	let mut settings = engine.settings();
	// The agent looks for others as often.
	settings.timeouts.unclaimed = Duration::from_secs(1);
	let mut node = Node::new(settings.clone());
	let agent = node.agent().await;
	node.running(&agent, &web(1)).await;
	tokio::time::sleep(LOOKS).await;
	assert!(runs(), "not said");
	node.absent(&agent).await;
	agent.stop().await;

	settings.exclusive = true;
	node.world.containers = settings;
	let agent = node.agent().await;
	tokio::time::sleep(LOOKS).await;
	assert!(runs(), "nobody pays");
	let order = web(2);
	let address = node.running(&agent, &order).await;
	engine_says(|| !runs()).await;
	node.running(&agent, &order).await;
	assert!(node.page(address, "/").await.is_ok());
	assert_eq!(engine.containers().len(), 2, "it is stopped, not removed");
}

#[tokio::test]
async fn an_agent_without_an_engine_says_so() {
	let node = Node::new(Settings::default());
	let agent = node.agent().await;
	node.absent(&agent).await;
	let (failure, message) = node.failed(&agent, &web(1)).await;
	assert_eq!(failure, DeployFailure::NoEngine);
	assert_eq!(message, "this machine has no container engine");
	node.absent(&agent).await;
	agent.stop().await;
	// An engine that should run but does not answer gets some time.
	let node = Node::new(Settings {
		engine: EngineChoice::Socket(PathBuf::from("/nowhere/engine.sock")),
		timeouts: Timeouts {
			engine: Duration::from_secs(2),
			..Default::default()
		},
		..Default::default()
	});
	let agent = node.agent().await;
	let begun = Instant::now();
	node.wait(&agent, Some(&web(1)), |state| {
		matches!(state, ContainerState::Unknown { .. })
	})
	.await;
	let (failure, message) = node.failed(&agent, &web(1)).await;
	assert_eq!(failure, DeployFailure::NoEngine);
	assert!(message.contains("does not answer"), "{message}");
	assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn garbage_and_strangers_get_nothing() {
	let node = Node::new(Settings::default());
	let agent = node.agent().await;
	let post =
		async |token: &str, body: Vec<u8>| node.world.raw(&agent, PATH_ORDER, token, body).await.0;
	assert_eq!(post(TOKEN, vec![1, 2, 3]).await, 400);
	assert_eq!(post(TOKEN, Vec::new()).await, 400);
	let request = OrderRequest {
		genesis: node.world.genesis,
		worker: 7,
		deployment: None,
	};
	let body = codec::Encode::encode(&request);
	assert_eq!(post("another", body.clone()).await, 401);
	assert_eq!(post(TOKEN, body).await, 200);
	// The number of kept workers is bounded.
	for worker in 0..100 {
		let request = OrderRequest {
			genesis: node.world.genesis,
			worker,
			deployment: Some(web(worker)),
		};
		let report: ContainerReport = node.world.ask(&agent, PATH_ORDER, request).await;
		assert_eq!(report.order, Some(worker));
		if worker >= 16 {
			let full = matches!(&report.state, ContainerState::Unknown { message }
				if message.contains("too many"));
			assert!(full, "{report:?}");
		}
	}
}

/// An image in the test's own registry.
struct Registry {
	/// A layer, the image's configuration and its manifest, with their digests.
	layer: (String, Vec<u8>),
	config: (String, Vec<u8>),
	manifest: (String, Vec<u8>),
	/// The rest of the layer is not sent before this is set.
	open: AtomicBool,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(bytes: &[u8]) -> String {
	let mut file = tempfile::NamedTempFile::new().unwrap();
	file.write_all(bytes).unwrap();
	let output = Command::new("sha256sum").arg(file.path()).output().unwrap();
	assert!(output.status.success());
	let line = String::from_utf8(output.stdout).unwrap();
	format!("sha256:{}", line.split_whitespace().next().unwrap())
}

impl Registry {
	/// The image of kaisar-web with some weight, and a registry that has it as `web:1`.
	async fn serve(port: u16) -> (Arc<Self>, SocketAddr) {
		let dir = tempfile::tempdir().unwrap();
		let root = dir.path();
		for sub in ["bin", "www"] {
			std::fs::create_dir(root.join(sub)).unwrap();
		}
		std::fs::copy("/bin/busybox", root.join("bin/httpd")).unwrap();
		std::fs::write(root.join("www/index.html"), "pulled\n").unwrap();
		std::fs::write(root.join("weight"), vec![7; 8 << 20]).unwrap();
		let tar = Command::new("tar")
			.arg("-C")
			.arg(root)
			.args(["-c", "."])
			.output()
			.unwrap();
		assert!(tar.status.success());
		let layer = (digest(&tar.stdout), tar.stdout);
		let config = serde_json::json!({
			"architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
			"os": "linux",
			"config": {
				"Cmd": ["/bin/httpd", "-f", "-p", port.to_string(), "-h", "/www"],
				"ExposedPorts": { format!("{port}/tcp"): {} },
			},
			"rootfs": { "type": "layers", "diff_ids": [layer.0] },
		});
		let config = config.to_string().into_bytes();
		let config = (digest(&config), config);
		let manifest = serde_json::json!({
			"schemaVersion": 2,
			"mediaType": MANIFEST,
			"config": {
				"mediaType": "application/vnd.oci.image.config.v1+json",
				"digest": config.0,
				"size": config.1.len(),
			},
			"layers": [{
				"mediaType": "application/vnd.oci.image.layer.v1.tar",
				"digest": layer.0,
				"size": layer.1.len(),
			}],
		});
		let manifest = manifest.to_string().into_bytes();
		let registry = Arc::new(Self {
			layer,
			config,
			manifest: (digest(&manifest), manifest),
			open: AtomicBool::new(false),
		});
		let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
		let address = listener.local_addr().unwrap();
		let app = axum::Router::new()
			.fallback(answer)
			.with_state(registry.clone());
		tokio::spawn(async move { axum::serve(listener, app).await });
		(registry, address)
	}

	/// The layer in pieces: three quarters at once, the last after a signal.
	fn layer(self: Arc<Self>) -> Response {
		let size = self.layer.1.len();
		let pieces = futures::stream::iter(0..4).then(move |quarter| {
			let registry = self.clone();
			async move {
				while quarter == 3 && !registry.open.load(Ordering::SeqCst) {
					tokio::time::sleep(Duration::from_millis(10)).await;
				}
				let all = &registry.layer.1;
				let piece = &all[all.len() * quarter / 4..all.len() * (quarter + 1) / 4];
				Ok::<_, std::io::Error>(axum::body::Bytes::copy_from_slice(piece))
			}
		});
		([(header::CONTENT_LENGTH, size)], Body::from_stream(pieces)).into_response()
	}
}

async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> Response {
	let path = request.uri().path().to_owned();
	let manifest = &registry.manifest.0;
	if path == "/v2/" {
		StatusCode::OK.into_response()
	} else if path == "/v2/web/manifests/1" || path == format!("/v2/web/manifests/{manifest}") {
		let kind = [(header::CONTENT_TYPE, MANIFEST)];
		(kind, registry.manifest.1.clone()).into_response()
	} else if path == format!("/v2/web/blobs/{}", registry.config.0) {
		registry.config.1.clone().into_response()
	} else if path == format!("/v2/web/blobs/{}", registry.layer.0) {
		registry.layer()
	} else {
		let error = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
		(StatusCode::NOT_FOUND, error).into_response()
	}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_there_is_pulled() {
	let port = TcpListener::bind("127.0.0.1:0")
		.unwrap()
		.local_addr()
		.unwrap()
		.port();
	let (registry, address) = Registry::serve(port).await;
	let engine = Engine::with_registry(Some(address));
	let mut settings = engine.settings();
	settings.timeouts.stalled = Duration::from_secs(5);
	let node = Node::new(settings);
	let agent = node.agent().await;
	// An image that the registry does not have fails, and so does one that it stops sending.
	let (failure, message) = node
		.failed(&agent, &deployment(1, "registry.kaisar.test/other:1"))
		.await;
	assert_eq!(failure, DeployFailure::ImageUnavailable);
	assert!(message.contains("manifest unknown"), "{message}");

	let order = deployment(2, "registry.kaisar.test/web:1");
	node.wait(&agent, Some(&order), |state| {
		matches!(state, ContainerState::Pulling { .. })
	})
	.await;
	registry.open.store(true, Ordering::SeqCst);
	let container = node.running(&agent, &order).await;
	assert_eq!(node.page(container, "/").await.unwrap(), "pulled\n");
	// The next order for it does not wait, even if the registry is down.
	registry.open.store(false, Ordering::SeqCst);
	node.running(&agent, &deployment(3, "registry.kaisar.test/web:1"))
		.await;
}
