//! A hostile container on its order's network, and what the agent does where it cannot have one. The engine
//! has a network namespace of its own, and the agent of a test runs in it: it is the test's machine.

use super::{
	Engine, LIMIT, Node, engine_says, script, web,
	world::{WORKER, until},
};
use kaisar_agent::containers::{EngineChoice, Settings};
use kaisar_primitives::DeployFailure;
use kaisar_test_support::netns::{Namespace, ip};
use std::{
	io::{Read, Write},
	net::{SocketAddr, TcpListener, TcpStream},
	path::Path,
	process::Command,
	sync::Arc,
	thread,
	time::Duration,
};

/// Address of the machine on the Internet, and of a server there.
const MACHINE_WAN: [u8; 4] = [203, 0, 113, 2];
const SERVER: [u8; 4] = [203, 0, 113, 1];
/// Address of the machine in the provider's network, and of a neighbor there.
const MACHINE_LAN: [u8; 4] = [192, 168, 77, 1];
const NEIGHBOR: [u8; 4] = [192, 168, 77, 2];
/// The neighbor answers for the cloud, too.
const METADATA: &str = "169.254.169.254";
/// Port of all listeners but the containers'.
const PORT: u16 = 7_000;
/// Port of the images.
const WEB_PORT: u16 = 8_080;

/// An engine on a machine with two lines.
struct Place {
	engine: Engine,
	machine: Namespace,
	lan: Namespace,
	_internet: Namespace,
}

impl Place {
	fn new() -> Arc<Self> {
		let engine = Engine {
			dir: tempfile::tempdir().unwrap(),
			port: WEB_PORT,
		};
		let started =
			Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/engine.sh"))
				.arg("start")
				.arg(engine.dir())
				.env("KAISAR_ENGINE_NAMESPACE", "own")
				.output()
				.unwrap();
		assert!(
			started.status.success(),
			"{}",
			String::from_utf8_lossy(&started.stderr)
		);
		script(engine.dir(), "images", &[&WEB_PORT.to_string()]);
		let holder = std::fs::read_to_string(engine.dir().join("holder.pid")).unwrap();
		let machine = Namespace::of_process(holder.trim().parse().unwrap());
		let (lan, internet) = (Namespace::new(), Namespace::new());
		machine.join(MACHINE_LAN.into(), &lan, NEIGHBOR.into(), "lan");
		machine.join(MACHINE_WAN.into(), &internet, SERVER.into(), "wan");
		let (gateway, neighbor) = (dotted(MACHINE_LAN), dotted(NEIGHBOR));
		ip(&format!("-n {} addr add {METADATA}/32 dev lan", lan.name()));
		ip(&format!(
			"-n {} route add default via {gateway}",
			lan.name()
		));
		ip(&format!(
			"-n {} route add {METADATA}/32 via {neighbor}",
			machine.name()
		));
		for namespace in [&machine, &lan, &internet] {
			listen(namespace);
		}
		Arc::new(Self {
			engine,
			machine,
			lan,
			_internet: internet,
		})
	}

	/// Runs a test on the machine.
	fn run(self: &Arc<Self>, test: impl AsyncFnOnce(Arc<Self>) + Send + 'static) {
		let place = self.clone();
		let ran = self.machine.spawn(async move || test(place).await).join();
		if let Err(panic) = ran {
			std::panic::resume_unwind(panic);
		}
	}

	fn settings(&self) -> Settings {
		let mut settings = Settings {
			engine: EngineChoice::Socket(self.engine.dir().join("engine.sock")),
			// Debian's Docker is.
			allow_old_engine: true,
			..Default::default()
		};
		settings.timeouts.guard = Duration::from_secs(1);
		settings
	}

	/// Returns the id of an order's container.
	fn container(&self, order: u32) -> String {
		let filter = format!("label=kaisar.order={order}");
		self.engine
			.client(&["ps", "--quiet", "--no-trunc", "--filter", &filter])
	}

	/// Returns whether a container gets an answer.
	fn reaches(&self, id: &str, host: &str, port: u16) -> bool {
		let get = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port} || true");
		let answer = self.engine.client(&["exec", id, "sh", "-c", &get]);
		answer.contains("reached") || answer.contains("200 OK")
	}

	/// Returns an address of a container's network: `IPAddress` or `Gateway`.
	fn address(&self, id: &str, field: &str) -> String {
		let format = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}");
		self.engine.inspect(id, &format)
	}

	/// Returns whether the engine has networks of orders.
	fn has_networks(&self) -> bool {
		let names = self
			.engine
			.client(&["network", "ls", "--format", "{{.Name}}"]);
		names.lines().any(|name| name.starts_with("kaisar-"))
	}
}

/// Answers every connection in a namespace with a word.
fn listen(namespace: &Namespace) {
	let bound = namespace.spawn(async || TcpListener::bind(("0.0.0.0", PORT)).unwrap());
	// A socket stays in its namespace.
	let listener = bound.join().unwrap();
	thread::spawn(move || {
		for mut stream in listener.incoming().flatten() {
			let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
			let _ = stream.read(&mut [0; 64]);
			let _ = stream.write_all(b"reached\n");
		}
	});
}

/// Runs nft in the namespace of this thread. Returns whether it succeeds.
fn nft(arguments: &[&str]) -> bool {
	Command::new("nft")
		.args(arguments)
		.output()
		.unwrap()
		.status
		.success()
}

fn dotted(address: [u8; 4]) -> String {
	std::net::Ipv4Addr::from(address).to_string()
}

#[test]
fn a_hostile_container_reaches_the_internet_and_nothing_more() {
	Place::new().run(async |place| {
		let engine = &place.engine;
		// A container of the provider's, on a network that does not keep others out.
		engine.client(&["network", "create", "others"]);
		let other = engine.client(&[
			"run",
			"--detach",
			"--network",
			"others",
			"localhost/kaisar-web:1",
		]);
		let other_address = place.address(&other, "IPAddress");
		let near = [
			(dotted(MACHINE_WAN), PORT),
			(dotted(MACHINE_LAN), PORT),
			(dotted(NEIGHBOR), PORT),
			(METADATA.to_owned(), PORT),
		];

		// All listeners answer a container that may reach them.
		let mut node = Node::new(Settings {
			allow_lan: true,
			..place.settings()
		});
		let agent = node.agent().await;
		node.running(&agent, &web(1)).await;
		let id = place.container(1);
		for (host, port) in &near {
			assert!(place.reaches(&id, host, *port), "{host}");
		}
		node.absent(&agent).await;
		engine_says(|| !place.has_networks()).await;
		agent.stop().await;

		node.world.containers = place.settings();
		let agent = node.agent().await;
		let table = format!("kaisar_{}", &hex::encode(agent.key())[..8]);
		let is_held = || nft(&["list", "table", "inet", &table]);
		let address = node.running(&agent, &web(2)).await;
		assert!(is_held());
		// The tunnel's end reaches it.
		assert!(address.ip().is_loopback());
		assert!(node.page(address, "/").await.is_ok());
		let id = place.container(2);
		assert!(place.reaches(&id, &dotted(SERVER), PORT), "the Internet");
		let gateway = place.address(&id, "Gateway");
		for (host, port) in near
			.iter()
			.cloned()
			.chain([(gateway, PORT), (other_address, WEB_PORT)])
		{
			assert!(!place.reaches(&id, &host, port), "{host}");
		}
		let resolvers = engine.inspect(&id, "{{.HostConfig.Dns}}");
		assert_eq!(resolvers, "[1.1.1.1 9.9.9.9]");
		// The neighbor, whose router the machine is, does not reach it past the tunnel.
		let own: SocketAddr = format!("{}:{WEB_PORT}", place.address(&id, "IPAddress"))
			.parse()
			.unwrap();
		let connect = move || TcpStream::connect_timeout(&own, Duration::from_secs(2)).is_ok();
		assert!(connect(), "the machine does");
		assert!(!place.lan.spawn(async move || connect()).join().unwrap());

		// Another program removes the table, or changes it.
		assert!(nft(&["delete", "table", "inet", &table]));
		until(LIMIT, async || is_held().then_some(())).await;
		assert!(nft(&["flush", "chain", "inet", &table, "to_host"]));
		let is_whole = || {
			let listed = Command::new("nft")
				.args(["list", "chain", "inet", &table, "to_host"])
				.output()
				.unwrap();
			String::from_utf8_lossy(&listed.stdout).contains("drop")
		};
		until(LIMIT, async || is_whole().then_some(())).await;
		assert!(!place.reaches(&id, &dotted(MACHINE_LAN), PORT));
		assert!(node.page(address, "/").await.is_ok());

		// Network and table go with the order.
		node.absent(&agent).await;
		engine_says(|| !place.has_networks()).await;
		until(LIMIT, async || (!is_held()).then_some(())).await;

		// So they do if the agent lost its folder.
		node.running(&agent, &web(3)).await;
		assert!(place.has_networks() && is_held());
		agent.stop().await;
		std::fs::remove_dir_all(node.world.path().join(WORKER.to_string())).unwrap();
		node.world.containers.timeouts.unclaimed = Duration::from_secs(1);
		let agent = node.agent().await;
		engine_says(|| !place.has_networks()).await;
		until(LIMIT, async || (!is_held()).then_some(())).await;
		agent.stop().await;
	});
}

#[test]
fn a_machine_that_cannot_keep_containers_apart_is_not_rented() {
	Place::new().run(async |place| {
		let refused = async |settings: Settings| {
			let node = Node::new(settings);
			let agent = node.agent().await;
			let (failure, message) = node.failed(&agent, &web(1)).await;
			assert_eq!(failure, DeployFailure::NoEngine);
			node.absent(&agent).await;
			agent.stop().await;
			message
		};
		let why = refused(Settings {
			network: Some("bridge".into()),
			..place.settings()
		})
		.await;
		assert!(
			why.contains("--container-network") && why.contains("--allow-lan"),
			"{why}"
		);
		if Engine::is_docker() {
			let version = place
				.engine
				.client(&["version", "--format", "{{.Server.Version}}"]);
			let major: u32 = version.split('.').next().unwrap().parse().unwrap();
			if major < 28 {
				let why = refused(Settings {
					allow_old_engine: false,
					..place.settings()
				})
				.await;
				assert!(
					why.contains(&version.replace("+dfsg1", "")) && why.contains("too old"),
					"{why}"
				);
			}
		}
		assert!(!place.has_networks());
	});
}
