//! `kaisar-agent`: proves this machine's hardware, and verifies other machines.

mod cli;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use cli::{GpuArgs, bench, calibrate, kernels, measure, plot, status};
use kaisar_agent::{
	Agent, Config, Time, containers,
	peer::{measure::PeerName, network::Network},
	report::Warnings,
	worker::claim::{self, Hardware},
};
use kaisar_primitives::agent::PROVIDER_PORT;
use kaisar_tunnel::RelayUrl;
use std::{
	io::{Read, Write},
	net::{IpAddr, Ipv4Addr, SocketAddr},
	path::{Path, PathBuf},
	process::ExitCode,
	time::Duration,
};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// Proves this machine's hardware, and verifies other machines.
#[derive(Parser)]
#[command(name = "kaisar-agent", version)]
struct Cli {
	#[command(subcommand)]
	command: Command,
}

#[derive(Subcommand)]
enum Command {
	/// Runs the agent until it is stopped.
	Run(Box<Run>),
	/// Detects this machine's hardware and prints it as a claim to register.
	Detect(Detect),
	/// Runs a trial on this machine, opens and verifies it, and reports what a checker would find.
	Bench(bench::Bench),
	/// Measures this machine's GPUs as a reference for their class.
	Calibrate(calibrate::Calibrate),
	/// Tests every kernel on this machine's GPUs against plain code.
	Kernels(kernels::KernelsArgs),
	/// Measures the lines of other machines whose operators have this command's token.
	ServeMeasure(measure::ServeMeasure),
	/// Fills the plot before registration.
	Plot(plot::PlotArgs),
	/// Shows the state of a running agent.
	Status(status::StatusArgs),
}

#[derive(Args)]
struct Run {
	/// Loopback address of the HTTP service; port 0 for any.
	#[arg(long, default_value = "127.0.0.1:0")]
	listen: SocketAddr,
	/// File with the bearer token; created with a random token if missing.
	#[arg(long)]
	token_file: PathBuf,
	/// File with the seed of the agent's ed25519 key in hexadecimal; created with a random seed if missing.
	#[arg(long)]
	key_file: PathBuf,
	/// Folder in which agents publish their addresses.
	#[arg(long)]
	peers_dir: PathBuf,
	/// Folder for the plot and for all data that outlives a restart.
	#[arg(long)]
	data_dir: PathBuf,
	#[command(flatten)]
	network: NetworkArgs,
	/// Seconds to wait for a worker's receipt and roots. Without them, it is found offline.
	#[arg(long, default_value_t = 60, overrides_with = "patience")]
	patience: u64,
	/// Speed of this machine's own line, in Mb/s. A checker measures at a time only as many workers as the
	/// line carries, and gives no opinion on the bandwidth of the others. Without it, the line counts as
	/// fast enough for all.
	#[arg(long, value_name = "DOWN/UP", value_parser = own_line, overrides_with = "own_line")]
	own_line: Option<(u32, u32)>,
	/// Stop when standard input closes, because the node that started the agent ended.
	#[arg(long)]
	exit_on_stdin_close: bool,
	#[command(flatten)]
	gpus: GpuArgs,
	#[command(flatten)]
	containers: ContainerArgs,
}

#[derive(Args)]
struct NetworkArgs {
	/// UDP port of the QUIC endpoint on all interfaces, IPv4 and IPv6; 0 for any. Open it in the firewall.
	#[arg(long, default_value_t = PROVIDER_PORT, overrides_with = "port")]
	port: u16,
	/// Address and port of a single socket, instead of --port on all interfaces.
	#[arg(long, value_name = "IP:PORT")]
	bind: Option<SocketAddr>,
	/// Public address of this agent if no interface has it: behind 1:1 NAT or a forwarded port. Repeatable.
	/// Without a port, it has the agent's own.
	#[arg(long, value_name = "IP[:PORT]", value_parser = external)]
	external_address: Vec<SocketAddr>,
	/// Relay for agents behind NAT; the agent uses only the relays named here. Repeatable (default: none).
	#[arg(long, value_name = "URL")]
	relay_url: Vec<RelayUrl>,
	/// Do not ask the gateway to forward a port by UPnP, NAT-PMP or PCP.
	#[arg(long, overrides_with = "no_port_mapping")]
	no_port_mapping: bool,
	/// Publish private and loopback addresses too, and dial those of others: for private networks.
	#[arg(long, overrides_with = "publish_private")]
	publish_private: bool,
}

/// Parses two rates in Mb/s.
fn own_line(text: &str) -> Result<(u32, u32), String> {
	text.split_once('/')
		.and_then(|(down, up)| Some((down.parse().ok()?, up.parse().ok()?)))
		.ok_or_else(|| "expected DOWN/UP in whole Mb/s, e.g. 1000/500".into())
}

/// Parses an IP address and its port; port 0 if none is given.
fn external(text: &str) -> Result<SocketAddr, String> {
	let ip = text.trim_start_matches('[').trim_end_matches(']');
	text.parse()
		.or_else(|_| ip.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)))
		.map_err(|_| {
			"not an address; expected e.g. 1.2.3.4, 1.2.3.4:30500 or [2a01:db8::1]:30500".into()
		})
}

/// Parses the address of a resolver that every container reaches.
fn resolver(text: &str) -> Result<Ipv4Addr, String> {
	let address = text
		.parse::<Ipv4Addr>()
		.map_err(|_| "not an IPv4 address; expected e.g. 1.1.1.1")?;
	if kaisar_tunnel::is_public(address.into()) {
		Ok(address)
	} else {
		Err("not a public address, and containers reach no others".into())
	}
}

impl From<NetworkArgs> for Network {
	fn from(args: NetworkArgs) -> Self {
		Self {
			bind: args.bind,
			port: args.port,
			external: args.external_address,
			relays: args.relay_url,
			map_ports: !args.no_port_mapping,
			publish_private: args.publish_private,
			..Self::default()
		}
	}
}

#[derive(Args)]
struct ContainerArgs {
	/// Socket of the container engine, Docker or Podman (default: the first that exists of DOCKER_HOST,
	/// /var/run/docker.sock and /run/podman/podman.sock).
	#[arg(long, value_name = "SOCKET", overrides_with_all = ["engine", "no_engine"])]
	engine: Option<PathBuf>,
	/// Run no containers: this machine is not for rent. If --engine is given too, the last one counts.
	#[arg(long, overrides_with_all = ["engine", "no_engine"])]
	no_engine: bool,
	/// Let containers reach this machine and its network. Without it, the agent gives each order a network
	/// with a way to the public Internet only, and serves no orders if it cannot.
	#[arg(long, overrides_with = "allow_lan")]
	allow_lan: bool,
	/// The engine's network for containers, instead of one for each order; only with --allow-lan. With
	/// `host`, a container reaches every service that listens on this machine; for tests only.
	#[arg(long, value_name = "NETWORK", overrides_with = "container_network")]
	container_network: Option<String>,
	/// Public resolver of containers. Repeatable (default: 1.1.1.1 and 9.9.9.9; with --allow-lan, those of
	/// this machine).
	#[arg(long, value_name = "IP", value_parser = resolver)]
	container_dns: Vec<Ipv4Addr>,
	/// Use an engine of any version: Docker before 28, or Podman before 4. Also answers for a version of
	/// NVIDIA's container toolkit that cannot be read.
	#[arg(long, overrides_with = "allow_old_engine")]
	allow_old_engine: bool,
	/// Stop all containers that this agent did not start while a customer pays for this machine.
	#[arg(long)]
	exclusive: bool,
}

impl From<ContainerArgs> for containers::Settings {
	fn from(args: ContainerArgs) -> Self {
		Self {
			engine: match args.engine {
				_ if args.no_engine => containers::EngineChoice::Off,
				Some(socket) => containers::EngineChoice::Socket(socket),
				None => containers::EngineChoice::Find,
			},
			network: args.container_network,
			allow_lan: args.allow_lan,
			allow_old_engine: args.allow_old_engine,
			resolvers: args.container_dns,
			exclusive: args.exclusive,
			..Default::default()
		}
	}
}

#[derive(Args)]
struct Detect {
	/// Print the claim as one line of JSON.
	#[arg(long)]
	json: bool,
	/// Country code, ISO 3166-1 alpha-2, e.g. DE.
	#[arg(long, default_value = "ZZ")]
	region: String,
	/// Download bandwidth to claim, in Mb/s (default: the measured one, or the speed of the network card's
	/// link).
	#[arg(long)]
	download_mbps: Option<u32>,
	/// Upload bandwidth to claim, in Mb/s (default: the measured one, or the speed of the network card's
	/// link).
	#[arg(long)]
	upload_mbps: Option<u32>,
	/// Peer that measures the bandwidth, by the name that its `kaisar-agent serve-measure` prints. Of
	/// several, the best result counts.
	#[arg(long, value_name = "PEER", num_args = 1..)]
	measure: Vec<PeerName>,
	/// Folder for the plot: the agent's data folder.
	#[arg(long, default_value = ".")]
	data_dir: PathBuf,
	#[command(flatten)]
	gpus: GpuArgs,
}

/// Standard error with one line per event: texts from others, e.g. the reason of a closed connection, cannot
/// start a line that a reader would take for the agent's.
struct OneLine(std::io::Stderr);

impl Write for OneLine {
	/// Writes an event, which ends with the only line break.
	fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
		let (body, end) = match event.split_last() {
			Some((b'\n', body)) => (body, &b"\n"[..]),
			_ => (event, &b""[..]),
		};
		let mut line: Vec<u8> = body
			.iter()
			.map(|byte| if byte.is_ascii_control() { b' ' } else { *byte })
			.collect();
		line.extend(end);
		self.0.write_all(&line)?;
		Ok(event.len())
	}

	fn flush(&mut self) -> std::io::Result<()> {
		self.0.flush()
	}
}

fn main() -> Result<ExitCode> {
	let filter = tracing_subscriber::EnvFilter::try_from_default_env()
		.unwrap_or_else(|_| "info,iroh=warn,noq=warn,noq_proto=warn".into());
	let log = tracing_subscriber::fmt::layer()
		.with_writer(|| OneLine(std::io::stderr()))
		.with_ansi(false);
	tracing_subscriber::registry()
		.with(filter)
		.with(log)
		.with(Warnings)
		.init();
	match Cli::parse().command {
		Command::Status(args) => return status::run(&args),
		Command::Run(args) => tokio::runtime::Runtime::new()?.block_on(run(*args)),
		Command::Detect(args) => detect(args),
		Command::Bench(args) => bench::run(&args),
		Command::Calibrate(args) => calibrate::run(&args),
		Command::Kernels(args) => kernels::run(&args),
		Command::ServeMeasure(args) => {
			tokio::runtime::Runtime::new()?.block_on(measure::serve(args))
		}
		Command::Plot(args) => plot::run(&args),
	}?;
	Ok(ExitCode::SUCCESS)
}

/// Returns the text of a small file. Creates a missing file with 32 random bytes in hexadecimal, readable to
/// its owner only.
fn secret_file(path: &Path) -> Result<String> {
	if !path.exists() {
		use rand::{TryRngCore, rngs::OsRng};
		let mut bytes = [0; 32];
		OsRng
			.try_fill_bytes(&mut bytes)
			.context("the system gives no random numbers")?;
		if let Some(dir) = path.parent() {
			std::fs::create_dir_all(dir)?;
		}
		kaisar_fs::write_new(path, hex::encode(bytes).as_bytes(), kaisar_fs::OWNER_ONLY)
			.with_context(|| format!("cannot create {}", path.display()))?;
	}
	let bytes = kaisar_fs::read_bounded(path, 4_096)
		.with_context(|| format!("cannot read {}", path.display()))?;
	Ok(String::from_utf8(bytes)
		.with_context(|| format!("{} is not text", path.display()))?
		.trim()
		.to_owned())
}

fn key_of(path: &Path) -> Result<[u8; 32]> {
	let text = secret_file(path)?;
	let mut seed = [0; 32];
	hex::decode_to_slice(text.trim_start_matches("0x"), &mut seed)
		.with_context(|| format!("{} must hold 32 bytes in hexadecimal", path.display()))?;
	Ok(seed)
}

async fn run(args: Run) -> Result<()> {
	let agent = Agent::start(Config {
		listen: args.listen,
		token: secret_file(&args.token_file)?,
		secret: key_of(&args.key_file)?,
		peers_dir: args.peers_dir,
		data_dir: args.data_dir.clone(),
		network: args.network.into(),
		patience: Duration::from_secs(args.patience),
		own_line: args.own_line,
		time: Time::real(),
		gpus: args.gpus.options(Some(args.data_dir.clone())),
		containers: args.containers.into(),
	})
	.await?;
	if let Err(error) = status::announce(&args.data_dir, agent.url(), &args.token_file) {
		tracing::warn!("`kaisar-agent status` needs --url and --token-file: {error:#}");
	}
	println!(
		"{}",
		serde_json::json!({ "ready": {
			"url": agent.url(),
			"agent": format!("0x{}", hex::encode(agent.key())),
			"addrs": agent.addrs(),
		}})
	);
	tracing::info!(url = agent.url(), agent = hex::encode(agent.key()), "ready");
	// Drivers may answer late or never, so nothing waits for this thread.
	std::thread::spawn(move || {
		// The search for GPUs reports names that fit none.
		let Ok(cards) = args.gpus.cards() else { return };
		for remark in Hardware::detect(&args.data_dir, cards).remarks() {
			tracing::info!("{remark}");
		}
	});

	// A thread of its own: a read of standard input cannot be canceled.
	let (closed, stdin_closed) = tokio::sync::oneshot::channel();
	if args.exit_on_stdin_close {
		std::thread::spawn(move || {
			let mut buffer = [0; 256];
			while matches!(std::io::stdin().read(&mut buffer), Ok(read) if read > 0) {}
			let _ = closed.send(());
		});
	} else {
		std::mem::forget(closed);
	}
	let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
	let why = tokio::select! {
		_ = stdin_closed => "standard input is closed",
		_ = tokio::signal::ctrl_c() => "interrupted",
		_ = terminate.recv() => "terminated",
	};
	tracing::info!("{why}; stopping");
	agent.stop().await;
	// A trial that still runs on a blocking thread would keep the process alive.
	std::process::exit(0)
}

fn detect(args: Detect) -> Result<()> {
	const REGION: &str = "--region must be two upper-case letters, e.g. DE";
	let region: [u8; 2] = args.region.as_bytes().try_into().context(REGION)?;
	ensure!(region.iter().all(u8::is_ascii_uppercase), REGION);
	let found = Hardware::detect(&args.data_dir, args.gpus.cards()?);
	let measured = measure::line(&args.measure, found.link.as_ref())?;
	let line = measured.as_ref().map(|measured| measured.line);
	let download = args.download_mbps.or(line.map(|line| line.down_mbps));
	let upload = args.upload_mbps.or(line.map(|line| line.up_mbps));
	let spec = found.spec(region, download, upload);
	let json = claim::spec_json(&spec);
	let mut remarks = found.remarks();
	if let Some(measured) = measured {
		remarks.extend(measured.remarks);
	} else if download.is_none() || upload.is_none() {
		remarks.push(found.bandwidth_remark());
	}
	if args.json {
		println!("{json}");
		if !found.gpus.is_empty() {
			eprintln!("GPUs, in order of use:\n{}", found.gpu_list());
		}
		for remark in remarks {
			eprintln!("{remark}");
		}
		return Ok(());
	}
	println!("Claim of this machine:\n{json:#}");
	if !found.gpus.is_empty() {
		println!("GPUs, in order of use:\n{}", found.gpu_list());
	}
	if !found.pci_gpus.is_empty() {
		println!("On the PCI bus: {}", found.pci_gpus.join(", "));
	}
	for remark in remarks {
		println!("Note: {remark}");
	}
	Ok(())
}

#[cfg(test)]
mod tests {
	use super::*;

	fn settings(arguments: &[&str]) -> Result<containers::Settings, clap::Error> {
		let needed = [
			"x",
			"run",
			"--token-file=t",
			"--key-file=k",
			"--peers-dir=p",
			"--data-dir=d",
		];
		let cli = Cli::try_parse_from(needed.iter().chain(arguments))?;
		let Command::Run(run) = cli.command else {
			panic!()
		};
		Ok(run.containers.into())
	}

	#[test]
	fn containers_are_kept_out_of_the_network_unless_a_flag_lets_them_in() {
		let default = settings(&[]).unwrap();
		assert!(!default.allow_lan && !default.allow_old_engine);
		assert_eq!((default.network, default.resolvers.len()), (None, 0));
		let given = settings(&[
			"--allow-lan",
			"--allow-lan",
			"--allow-old-engine",
			"--allow-old-engine",
			"--container-network=a",
			"--container-network=b",
			"--container-dns=9.9.9.9",
			"--container-dns=8.8.8.8",
		])
		.unwrap();
		assert!(given.allow_lan && given.allow_old_engine);
		assert_eq!(given.network.as_deref(), Some("b"));
		assert_eq!(
			given.resolvers,
			[Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(8, 8, 8, 8)]
		);
		for private in ["192.168.1.1", "127.0.0.53", "fd00::1", "dns"] {
			assert!(
				settings(&["--container-dns", private]).is_err(),
				"{private}"
			);
		}
	}

	#[test]
	fn the_last_of_engine_and_no_engine_counts() {
		let engine = |arguments: &[&str]| settings(arguments).unwrap().engine;
		let socket = containers::EngineChoice::Socket("/s".into());
		assert_eq!(engine(&["--no-engine", "--engine=/s"]), socket);
		assert_eq!(
			engine(&["--engine=/s", "--no-engine"]),
			containers::EngineChoice::Off
		);
		assert_eq!(engine(&[]), containers::EngineChoice::Find);
		// A node repeats options: its own, those for all of its agents, and those for one of them.
		let repeated = ["--no-engine", "--no-engine", "--engine=/a", "--engine=/s"];
		assert_eq!(engine(&repeated), socket);
		engine(&["--port=1", "--port=2", "--patience=5", "--patience=6"]);
		engine(&[
			"--no-port-mapping",
			"--no-port-mapping",
			"--publish-private",
			"--publish-private",
		]);
	}
}
