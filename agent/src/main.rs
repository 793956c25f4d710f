//! `kaisar-agent`: proves what this machine does, and verifies others.

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
	net::{IpAddr, SocketAddr},
	path::{Path, PathBuf},
	process::ExitCode,
	time::Duration,
};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// Proves what this machine does, and verifies others.
#[derive(Parser)]
#[command(name = "kaisar-agent", version)]
struct Cli {
	#[command(subcommand)]
	command: Command,
}

#[derive(Subcommand)]
enum Command {
	/// Runs the agent until it is told to stop.
	Run(Box<Run>),
	/// Says what this machine has, as a claim to register.
	Detect(Detect),
	/// Runs a trial here, opens it, verifies it, and reports what a checker would find.
	Bench(bench::Bench),
	/// Measures the GPUs here as a reference for their class.
	Calibrate(calibrate::Calibrate),
	/// Tries every kernel on the GPUs here against plain code.
	Kernels(kernels::KernelsArgs),
	/// Measures the lines of other machines, whose operators get a token from this one's.
	ServeMeasure(measure::ServeMeasure),
	/// Fills the plot ahead of registering.
	Plot(plot::PlotArgs),
	/// Asks a running agent how it is.
	Status(status::StatusArgs),
}

#[derive(Args)]
struct Run {
	/// Loopback address of the HTTP service; port 0 for any.
	#[arg(long, default_value = "127.0.0.1:0")]
	listen: SocketAddr,
	/// File with the bearer token; made with a random one if it is not there.
	#[arg(long)]
	token_file: PathBuf,
	/// File with the hex seed of the agent's ed25519 key; made with a random one if it is not there.
	#[arg(long)]
	key_file: PathBuf,
	/// Folder in which agents publish their addresses.
	#[arg(long)]
	peers_dir: PathBuf,
	/// Folder for the plot and for what outlives a restart.
	#[arg(long)]
	data_dir: PathBuf,
	#[command(flatten)]
	network: NetworkArgs,
	/// Seconds after which a worker that serves nothing is found offline.
	#[arg(long, default_value_t = 60, overrides_with = "patience")]
	patience: u64,
	/// Speed of this machine's own line, in Mb/s. A checker measures no more workers at a time than it carries, and has
	/// no opinion on the bandwidth of the others. Without it the line counts as fast enough for all.
	#[arg(long, value_name = "DOWN/UP", value_parser = own_line, overrides_with = "own_line")]
	own_line: Option<(u32, u32)>,
	/// Stop when standard input closes: the node that started the agent is gone.
	#[arg(long)]
	exit_on_stdin_close: bool,
	#[command(flatten)]
	gpus: GpuArgs,
	#[command(flatten)]
	containers: ContainerArgs,
}

#[derive(Args)]
struct NetworkArgs {
	/// UDP port of the QUIC endpoint on all interfaces, IPv4 and IPv6; 0 for any. The firewall must pass it.
	#[arg(long, default_value_t = PROVIDER_PORT, overrides_with = "port")]
	port: u16,
	/// Address and port of the only socket, instead of --port on all interfaces.
	#[arg(long, value_name = "IP:PORT")]
	bind: Option<SocketAddr>,
	/// Public address at which others reach this agent, where no interface has it: behind 1:1 NAT or a forwarded
	/// port. Repeatable. The port is the agent's own unless given.
	#[arg(long, value_name = "IP[:PORT]", value_parser = external)]
	external_address: Vec<SocketAddr>,
	/// Relay for agents behind NAT; only named relays are ever used. Repeatable; none by default.
	#[arg(long, value_name = "URL")]
	relay_url: Vec<RelayUrl>,
	/// Do not ask the gateway to forward a port, by UPnP, NAT-PMP and PCP.
	#[arg(long, overrides_with = "no_port_mapping")]
	no_port_mapping: bool,
	/// Publish private and loopback addresses too, and connect to those of others: for networks of your own.
	#[arg(long, overrides_with = "publish_private")]
	publish_private: bool,
}

/// Two rates in Mb/s.
fn own_line(text: &str) -> Result<(u32, u32), String> {
	text.split_once('/')
		.and_then(|(down, up)| Some((down.parse().ok()?, up.parse().ok()?)))
		.ok_or_else(|| format!("{text} is not DOWN/UP in whole Mb/s, as 1000/500"))
}

/// An IP address, with the port if one is given; otherwise port 0.
fn external(text: &str) -> Result<SocketAddr, String> {
	let ip = text.trim_start_matches('[').trim_end_matches(']');
	text.parse()
		.or_else(|_| ip.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)))
		.map_err(|_| {
			"not an address; expected e.g. 1.2.3.4, 1.2.3.4:30500 or [2a01:db8::1]:30500".into()
		})
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
	/// Socket of the container engine, Docker's or Podman's; by default the first that there is of
	/// DOCKER_HOST, /var/run/docker.sock and /run/podman/podman.sock.
	#[arg(long, value_name = "SOCKET", overrides_with_all = ["engine", "no_engine"])]
	engine: Option<PathBuf>,
	/// Run no containers: this machine is not for rent. Of this and --engine the last one counts.
	#[arg(long, overrides_with_all = ["engine", "no_engine"])]
	no_engine: bool,
	/// The engine's network for containers. With `host` a container sees all that listens on this
	/// machine: only for tests.
	#[arg(long, value_name = "NETWORK", default_value = "bridge")]
	container_network: String,
	/// Stop all containers of others while a customer pays for this machine.
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
			exclusive: args.exclusive,
			..Default::default()
		}
	}
}

#[derive(Args)]
struct Detect {
	/// Print one line of JSON with the fields of the claim.
	#[arg(long)]
	json: bool,
	/// Country code, ISO 3166-1 alpha-2.
	#[arg(long, default_value = "ZZ")]
	region: String,
	/// Download bandwidth to claim, in Mb/s; by default what is measured, or the speed of the network card's
	/// link.
	#[arg(long)]
	download_mbps: Option<u32>,
	/// Upload bandwidth to claim, in Mb/s; by default what is measured, or the speed of the network card's
	/// link.
	#[arg(long)]
	upload_mbps: Option<u32>,
	/// Have a peer measure the bandwidth, as its `kaisar-agent serve-measure` names it; with several, the best
	/// counts.
	#[arg(long, value_name = "PEER", num_args = 1..)]
	measure: Vec<PeerName>,
	/// Folder in which the plot will lie.
	#[arg(long, default_value = ".")]
	data_dir: PathBuf,
	#[command(flatten)]
	gpus: GpuArgs,
}

/// Standard error, an event a line: what others wrote, as the reason of a closed connection, makes no line of its own
/// that a reader would take for the agent's.
struct OneLine(std::io::Stderr);

impl Write for OneLine {
	/// Takes an event, which ends with the only line break.
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

/// The hex in a small file, made with 32 random bytes, for the owner only, if it is not there.
fn secret_file(path: &Path) -> Result<String> {
	if !path.exists() {
		use rand::{TryRngCore, rngs::OsRng};
		let mut bytes = [0; 32];
		OsRng.try_fill_bytes(&mut bytes).context("no randomness")?;
		if let Some(dir) = path.parent() {
			std::fs::create_dir_all(dir)?;
		}
		kaisar_fs::write_new(path, hex::encode(bytes).as_bytes(), kaisar_fs::OWNER_ONLY)
			.with_context(|| path.display().to_string())?;
	}
	let bytes = kaisar_fs::read_bounded(path, 4_096).with_context(|| path.display().to_string())?;
	Ok(String::from_utf8(bytes)
		.context("not text")?
		.trim()
		.to_owned())
}

fn key_of(path: &Path) -> Result<[u8; 32]> {
	let text = secret_file(path)?;
	let mut seed = [0; 32];
	hex::decode_to_slice(text.trim_start_matches("0x"), &mut seed)
		.with_context(|| format!("{} must hold 32 bytes in hex", path.display()))?;
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
	// It asks drivers, which may take their time or never answer: nothing waits for it.
	std::thread::spawn(move || {
		// What a name that fits no GPU means is said where they are looked for.
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
	// A trial that still runs on a blocking thread would keep the process.
	std::process::exit(0)
}

fn detect(args: Detect) -> Result<()> {
	let region: [u8; 2] = args.region.as_bytes().try_into().context("two letters")?;
	ensure!(
		region.iter().all(u8::is_ascii_uppercase),
		"a region is two upper-case letters"
	);
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
	println!("This machine, as a claim:\n{json:#}");
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

	#[test]
	fn of_an_engine_and_none_the_last_one_counts() {
		let engine = |arguments: &[&str]| {
			let needed = [
				"x",
				"run",
				"--token-file=t",
				"--key-file=k",
				"--peers-dir=p",
				"--data-dir=d",
			];
			let cli = Cli::try_parse_from(needed.iter().chain(arguments)).unwrap();
			let Command::Run(run) = cli.command else {
				panic!()
			};
			containers::Settings::from(run.containers).engine
		};
		let socket = containers::EngineChoice::Socket("/s".into());
		assert_eq!(engine(&["--no-engine", "--engine=/s"]), socket);
		assert_eq!(
			engine(&["--engine=/s", "--no-engine"]),
			containers::EngineChoice::Off
		);
		assert_eq!(engine(&[]), containers::EngineChoice::Find);
		// As a node passes its own, those for all of its agents and those for one of them.
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
