//! The command line.

use crate::{
	amount::{Kai, Share},
	classes,
	types::{Arch, Cuda, Image, Issue, Plan, Region, Requirement, WorkerSpec},
	workload::Container,
};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kaisar_tunnel::RelayUrl;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use subxt::utils::AccountId32;

const NOTES: &str = "\
Amounts are in KAI, with up to 18 digits after the decimal point: 650, 12.5. With --json, amounts are strings
that count units of 10⁻¹⁸ KAI, shares are decimals, and an error is one JSON document on standard error.

Exit codes:
  0  success
  2  invalid command line or input
  3  the node or the agent is unreachable, or its version does not match this program
  4  the chain refused the call; standard error names the chain's error
  5  no such order, worker or port, or nothing to claim
  6  timeout, or the order was closed while the command waited
  7  the wallet, a key file or a password cannot be used";

/// Rents machines on the Kaisar network, and puts machines on it.
#[derive(Parser, Debug)]
#[command(name = "kaisar", version, about, after_help = NOTES, max_term_width = 110)]
pub struct Cli {
	#[command(flatten)]
	pub common: Common,
	#[command(subcommand)]
	pub command: Command,
}

/// Options that all commands share.
#[derive(Args, Debug)]
pub struct Common {
	/// WebSocket URL of the node.
	#[arg(
		long,
		global = true,
		env = "KAISAR_URL",
		default_value = "ws://127.0.0.1:9944",
		value_name = "URL"
	)]
	pub url: String,
	#[command(flatten)]
	pub wallet: WalletArgs,
	/// Print results and errors as JSON.
	#[arg(long, global = true)]
	pub json: bool,
	/// Wait until a call's block is finalized; by default a block of the best chain is enough.
	#[arg(long, global = true)]
	pub finalized: bool,
	/// Timeout in seconds (default: 120 for calls, 1800 for `order --wait` and `connect`).
	#[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
	pub timeout: Option<u64>,
}

impl Common {
	/// Returns the timeout of a call.
	pub fn call_timeout(&self) -> Duration {
		Duration::from_secs(self.timeout.unwrap_or(120))
	}

	/// Returns the timeout of what follows a call: matching, deployment, connecting.
	pub fn wait_timeout(&self) -> Duration {
		Duration::from_secs(self.timeout.unwrap_or(1_800))
	}
}

/// Options that choose the account.
#[derive(Args, Clone, Debug, Default)]
pub struct WalletArgs {
	/// Wallet file (default: ~/.config/kaisar/wallet.json).
	#[arg(long, global = true, env = "KAISAR_WALLET", value_name = "FILE")]
	pub wallet: Option<PathBuf>,
	/// Secret key instead of a wallet, e.g. //Alice. For development: others on this machine can see it.
	#[arg(long, global = true, value_name = "SECRET")]
	pub suri: Option<String>,
	/// File with the wallet's password (default: KAISAR_PASSWORD if it is set, otherwise a prompt).
	#[arg(long, global = true, value_name = "FILE")]
	pub password_file: Option<PathBuf>,
}

/// Command to run.
#[derive(Subcommand, Debug)]
pub enum Command {
	/// Shows the price of a machine.
	Quote {
		#[command(flatten)]
		machine: Machine,
		#[command(flatten)]
		term: Term,
	},
	/// Rents a machine and starts a container on it.
	Order(Order),
	/// Lists the chain's templates, or describes one. `kaisar order template:ID` orders it.
	Templates {
		/// Number of the template to describe.
		template: Option<u32>,
		/// Document with the template's name and text; the chain has only its hash, which must match.
		#[arg(long, value_name = "FILE", requires = "template")]
		metadata: Option<PathBuf>,
	},
	/// Lists orders, or shows one.
	Orders {
		/// Number of the order to show, with what its container runs.
		order: Option<u32>,
		/// List this account's orders instead of the wallet's.
		#[arg(long, value_name = "ADDRESS", value_parser = account, conflicts_with = "order")]
		account: Option<AccountId32>,
		/// List closed orders too; the chain keeps them for a week.
		#[arg(long, conflicts_with = "order")]
		all: bool,
	},
	/// Extends an order by some hours, at today's price.
	Extend {
		/// Number of the order.
		order: u32,
		/// Hours to add.
		#[arg(long, value_parser = clap::value_parser!(u32).range(1..=8_760))]
		hours: u32,
		/// Maximum price of the extension (default: today's quote plus 5 %).
		#[arg(long, value_name = "KAI")]
		max_price: Option<Kai>,
	},
	/// Ends an order. The time used is paid, one hour at least; the rest becomes credits.
	Cancel {
		/// Number of the order.
		order: u32,
	},
	/// Forwards local ports to the order's container, until the order ends or Ctrl-C is pressed.
	Connect {
		/// Number of the order.
		order: u32,
		/// Local address to listen on, and the container's port that it leads to (default: the order's
		/// first). Local port 0 takes any free port. Repeatable.
		#[arg(long, value_name = "IP:PORT[=PORT]", default_value = "127.0.0.1:0")]
		listen: Vec<Listen>,
		/// File with the client key that the order was placed with (default: the wallet's client key).
		#[arg(long, value_name = "FILE")]
		client_key: Option<PathBuf>,
		/// Relay to use if the agent's address record names it. Repeatable (default: none).
		#[arg(long, value_name = "URL")]
		relay_url: Vec<RelayUrl>,
		/// Dial private and loopback addresses too, for a chain on this machine or network.
		#[arg(long)]
		private_addresses: bool,
	},
	/// Reports that an order's machine or container does not respond. It holds a bond, and a check follows.
	Report {
		/// Number of the order.
		order: u32,
		/// Problem to report.
		#[arg(long, value_enum, default_value_t = Issue::NotServing)]
		reason: Issue,
	},
	/// Closes an order that is past its end or its deadline, or whose worker failed. Any account may do
	/// this.
	Close {
		/// Number of the order.
		order: u32,
	},
	/// Registers this or another machine as a worker. Fills its plot first if it finds the agent's data.
	Register(Register),
	/// Shows an account's balance, credits, workers and claimable rewards, or one worker.
	Status {
		/// Number of the worker to show.
		worker: Option<u32>,
		/// Show this account instead of the wallet's.
		#[arg(long, value_name = "ADDRESS", value_parser = account, conflicts_with = "worker")]
		account: Option<AccountId32>,
	},
	/// Stakes KAI on a worker, your own or another's.
	Stake {
		/// Number of the worker.
		worker: u32,
		/// Amount to stake.
		#[arg(value_name = "KAI")]
		amount: Kai,
	},
	/// Takes stake back from a worker. It unbonds first; `kaisar withdraw` then pays it out.
	Unstake {
		/// Number of the worker.
		worker: u32,
		/// Amount to take back, or all.
		#[arg(value_name = "KAI|all")]
		amount: AmountOrAll,
	},
	/// Withdraws stake that has finished unbonding.
	Withdraw {
		/// Number of the worker.
		worker: u32,
	},
	/// Claims all rewards: from your workers, from your delegations and from your checker.
	Claim {
		/// Claim from these workers only.
		workers: Vec<u32>,
	},
	/// Brings a worker back online. It is verified again.
	GoOnline {
		/// Number of the worker.
		worker: u32,
	},
	/// Takes a worker offline until `kaisar go-online`.
	GoOffline {
		/// Number of the worker.
		worker: u32,
	},
	/// Sets the minimum price per GPU-hour (core-hour without a GPU) at which a worker is rented out.
	SetPrice {
		/// Number of the worker.
		worker: u32,
		/// Minimum price.
		#[arg(value_name = "KAI")]
		price: Kai,
	},
	/// Sets the maximum stake that others may delegate to a worker. Existing delegations stay.
	SetDelegationCap {
		/// Number of the worker.
		worker: u32,
		/// Maximum delegated stake; 0 admits no new delegations.
		#[arg(value_name = "KAI")]
		most: Kai,
	},
	/// Sets the part of a worker's reward that all its stakers share, including its owner.
	SetCommission {
		/// Number of the worker.
		worker: u32,
		/// Part of the reward, in percent.
		#[arg(value_name = "PERCENT", value_parser = Share::from_percent)]
		commission: Share,
	},
	/// Takes a worker off the network for good. Its stake unbonds.
	Deregister {
		/// Number of the worker.
		worker: u32,
	},
	/// Creates a wallet: an encrypted file, and a recovery phrase of twelve words.
	CreateWallet {
		/// Name of the wallet, which browser extensions show.
		#[arg(long, default_value = "kaisar")]
		name: String,
	},
	/// Creates a wallet file from a recovery phrase, typed or piped in, or from a polkadot.js export.
	ImportWallet {
		/// Name of the wallet, which browser extensions show.
		#[arg(long, default_value = "kaisar")]
		name: String,
		/// Encrypted JSON file from a browser extension; its password stays the same.
		#[arg(long, value_name = "FILE")]
		from: Option<PathBuf>,
	},
	/// Shows the wallet's address and the client key that it connects with.
	Address,
	/// Lists the GPU classes and the tiers.
	Classes,
	/// Prints a completion script for a shell.
	Completions {
		/// Shell to complete for.
		shell: Shell,
	},
}

/// Requirements on the machine. An order rents a whole machine.
#[derive(Args, Clone, Debug)]
pub struct Machine {
	/// GPU class, e.g. rtx4090, GPU_RTX_4090 or 11; or none. `kaisar classes` lists them.
	#[arg(long, value_parser = classes::parse, value_name = "CLASS")]
	class: u16,
	/// Number of GPUs (default: 1, or 0 with --class none).
	#[arg(long, value_name = "GPUS")]
	count: Option<u8>,
	/// Minimum bandwidth tier, 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_bandwidth: u8,
	/// Minimum CPU tier, 0 to 4. Without GPUs it is the exact tier, 1 to 4, and sets the price.
	#[arg(long, value_name = "TIER", value_parser = tier())]
	min_cpu: Option<u8>,
	/// Minimum memory tier, 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_memory: u8,
	/// Minimum disk tier, 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_disk: u8,
	/// Country that the machine must be in, e.g. DE.
	#[arg(long, value_name = "COUNTRY")]
	region: Option<Region>,
	/// Processor architecture that the machine must have.
	#[arg(long, value_enum)]
	arch: Option<Arch>,
	/// Minimum major version of the GPU's driver.
	#[arg(long, value_name = "VERSION")]
	min_driver: Option<u16>,
	/// Minimum CUDA version that the driver supports, e.g. 12.8.
	#[arg(long, value_name = "VERSION")]
	min_cuda: Option<Cuda>,
}

impl Machine {
	/// Returns the requirement in the chain's form.
	pub fn requirement(&self) -> Requirement {
		Requirement {
			gpu_class: self.class,
			gpu_count: self.count.unwrap_or(u8::from(self.class != 0)),
			min_bandwidth: self.min_bandwidth,
			min_cpu: self.min_cpu.unwrap_or(u8::from(self.class == 0)),
			min_memory: self.min_memory,
			min_disk: self.min_disk,
			region: self.region,
			arch: self.arch,
			min_driver: self.min_driver,
			min_cuda: self.min_cuda,
		}
	}
}

/// Length and plan of an order.
#[derive(Args, Clone, Copy, Debug)]
pub struct Term {
	/// Hours to rent (default: the plan's minimum).
	#[arg(long, value_parser = clap::value_parser!(u32).range(1..=8_760))]
	hours: Option<u32>,
	/// Commitment, which lowers the price: month is at least 720 hours, quarter 2,160.
	#[arg(long, value_enum, default_value_t = Plan::OnDemand)]
	pub plan: Plan,
}

impl Term {
	/// Returns the hours to rent.
	pub fn hours(self) -> u32 {
		self.hours.unwrap_or(self.plan.least_hours())
	}
}

/// An order to place.
#[derive(Args, Debug)]
pub struct Order {
	/// OCI image to run, e.g. docker.io/nginxinc/nginx-unprivileged:1.27, or template:ID of the chain's
	/// list.
	pub image: Image,
	#[command(flatten)]
	pub container: Container,
	#[command(flatten)]
	pub machine: Machine,
	#[command(flatten)]
	pub term: Term,
	/// Maximum price of the whole order (default: today's quote plus 5 %).
	#[arg(long, value_name = "KAI")]
	pub max_price: Option<Kai>,
	/// Credits to pay with (default: all of the account's).
	#[arg(long, value_name = "KAI")]
	pub credits: Option<Kai>,
	/// File with the client key that may connect, created if missing (default: the wallet's client key).
	#[arg(long, value_name = "FILE")]
	pub client_key: Option<PathBuf>,
	/// Wait until the container runs.
	#[arg(long)]
	pub wait: bool,
}

/// A worker to register.
#[derive(Args, Debug)]
pub struct Register {
	/// Base path of the node on this machine; it holds the worker's key and the agent's.
	#[arg(long, value_name = "FOLDER", conflicts_with_all = ["worker_suri", "worker_key_file", "agent_suri", "agent_key_file"])]
	pub node_dir: Option<PathBuf>,
	/// File with the password of the node's keystore, if it has one.
	#[arg(long, value_name = "FILE", requires = "node_dir")]
	pub keystore_password_file: Option<PathBuf>,
	/// File with the worker key's phrase or seed.
	#[arg(long, value_name = "FILE", conflicts_with = "worker_suri")]
	pub worker_key_file: Option<PathBuf>,
	/// Phrase, seed or path of the worker key, for development.
	#[arg(long, value_name = "SECRET")]
	pub worker_suri: Option<String>,
	/// Key file of the agent: agents/provider/key in the node's folder of the chain.
	#[arg(long, value_name = "FILE", conflicts_with = "agent_suri")]
	pub agent_key_file: Option<PathBuf>,
	/// Phrase, seed or path of the agent key, for development.
	#[arg(long, value_name = "SECRET")]
	pub agent_suri: Option<String>,
	/// Stake (default: the minimum for the claimed GPUs).
	#[arg(long, value_name = "KAI")]
	pub stake: Option<Kai>,
	/// Output of `kaisar-agent detect --json`: a file, or - for standard input.
	#[arg(long, value_name = "FILE")]
	pub spec: Option<PathBuf>,
	/// Register without filling the plot first. The agent fills it later; until then less disk counts.
	#[arg(long)]
	pub no_plot: bool,
	#[command(flatten)]
	pub hardware: Hardware,
}

/// Hardware that the machine claims. These options override --spec.
#[derive(Args, Debug, Default)]
pub struct Hardware {
	/// GPU class, or none. `kaisar classes` lists them.
	#[arg(long, value_parser = classes::parse, value_name = "CLASS")]
	pub class: Option<u16>,
	/// Number of GPUs of that class.
	#[arg(long, value_name = "GPUS")]
	pub count: Option<u8>,
	/// Number of CPU cores.
	#[arg(long)]
	pub cpu_cores: Option<u16>,
	/// Memory in GB.
	#[arg(long, value_name = "GB")]
	pub memory: Option<u32>,
	/// Disk in GB.
	#[arg(long, value_name = "GB")]
	pub disk: Option<u32>,
	/// Download bandwidth in Mb/s.
	#[arg(long, value_name = "MBPS")]
	pub download: Option<u32>,
	/// Upload bandwidth in Mb/s.
	#[arg(long, value_name = "MBPS")]
	pub upload: Option<u32>,
	/// Country that the machine is in, e.g. DE.
	#[arg(long, value_name = "COUNTRY")]
	pub region: Option<Region>,
	/// Processor architecture (default: amd64).
	#[arg(long, value_enum)]
	pub arch: Option<Arch>,
	/// Major version of the GPU's driver.
	#[arg(long, value_name = "VERSION")]
	pub driver: Option<u16>,
	/// CUDA version that the driver supports, e.g. 12.8.
	#[arg(long, value_name = "VERSION")]
	pub cuda: Option<Cuda>,
}

impl Hardware {
	/// Returns the claim: these options on top of the detected hardware. Fails with the names of those
	/// missing.
	pub fn claim(&self, detected: Option<WorkerSpec>) -> Result<WorkerSpec, Vec<&'static str>> {
		let mut missing = Vec::new();
		let mut say = |name, given: Option<u32>, found: Option<u32>| {
			given.or(found).unwrap_or_else(|| {
				missing.push(name);
				0
			})
		};
		let found = |field: fn(&WorkerSpec) -> u32| detected.as_ref().map(field);
		let class = self
			.class
			.or(detected.map(|spec| spec.gpu_class))
			.unwrap_or(0);
		let gpus = if self.class.is_some() {
			u8::from(class != 0)
		} else {
			detected.map_or(0, |spec| spec.gpu_count)
		};
		// Lossless: both sources of the value are u16.
		let narrow = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
		let spec = WorkerSpec {
			gpu_class: class,
			gpu_count: self.count.unwrap_or(gpus),
			cpu_cores: narrow(say(
				"--cpu-cores",
				self.cpu_cores.map(u32::from),
				found(|spec| spec.cpu_cores.into()),
			)),
			memory_gb: say("--memory", self.memory, found(|spec| spec.memory_gb)),
			disk_gb: say("--disk", self.disk, found(|spec| spec.disk_gb)),
			download_mbps: say(
				"--download",
				self.download,
				found(|spec| spec.download_mbps),
			),
			upload_mbps: say("--upload", self.upload, found(|spec| spec.upload_mbps)),
			region: match self.region.or(detected.map(|spec| spec.region)) {
				Some(region) => region,
				None => {
					missing.push("--region");
					Region(*b"ZZ")
				}
			},
			arch: self
				.arch
				.or(detected.map(|spec| spec.arch))
				.unwrap_or(Arch::Amd64),
			driver: self
				.driver
				.or(detected.map(|spec| spec.driver))
				.unwrap_or_default(),
			cuda: self
				.cuda
				.or(detected.map(|spec| spec.cuda))
				.unwrap_or_default(),
		};
		if missing.is_empty() {
			Ok(spec)
		} else {
			Err(missing)
		}
	}
}

/// A local address to listen on, and the container's port that it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen {
	/// The local address.
	pub at: SocketAddr,
	/// The container's port; without one, the order's first.
	pub port: Option<u16>,
}

impl std::str::FromStr for Listen {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		let (at, port) = match text.split_once('=') {
			Some((at, port)) => (at, Some(tcp_port(port)?)),
			None => (text, None),
		};
		let at = at
			.parse()
			.map_err(|_| "expected an address, e.g. 127.0.0.1:8080 or 127.0.0.1:2222=22")?;
		Ok(Self { at, port })
	}
}

/// Parses a TCP port of a container, as `8080` or `8080/tcp`.
pub fn tcp_port(text: &str) -> Result<u16, String> {
	let number = match text.split_once('/') {
		None | Some((_, "tcp")) => text.trim_end_matches("/tcp"),
		Some((_, "udp")) => {
			return Err("UDP is not supported: the tunnel carries TCP; name a TCP port".into());
		}
		Some((_, other)) => return Err(format!("unknown protocol {other}; name a TCP port")),
	};
	match number.parse() {
		Ok(0) | Err(_) => Err("expected a TCP port from 1 to 65535, e.g. 8080".into()),
		Ok(port) => Ok(port),
	}
}

/// An amount, or all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountOrAll {
	/// A given amount.
	Amount(Kai),
	/// The whole amount.
	All,
}

impl std::str::FromStr for AmountOrAll {
	type Err = String;

	fn from_str(text: &str) -> Result<Self, String> {
		match text {
			"all" => Ok(Self::All),
			text => text.parse().map(Self::Amount),
		}
	}
}

fn tier() -> clap::builder::RangedI64ValueParser<u8> {
	clap::value_parser!(u8).range(0..=4)
}

/// Parses an account's address, in any network's SS58 format.
fn account(text: &str) -> Result<AccountId32, String> {
	use sp_core::crypto::Ss58Codec;
	sp_core::crypto::AccountId32::from_ss58check_with_version(text)
		.map(|(account, _)| AccountId32(account.into()))
		.map_err(|_| "not an SS58 address of an account".into())
}

#[cfg(test)]
mod tests {
	use super::*;
	use clap::CommandFactory;

	fn parse(line: &str) -> Result<Cli, clap::Error> {
		Cli::try_parse_from(line.split_whitespace())
	}

	#[test]
	fn the_command_line_is_well_formed() {
		Cli::command().debug_assert();
	}

	#[test]
	fn a_machine_has_one_gpu_by_default() {
		let requirement = |line: &str| match parse(line).map(|cli| cli.command) {
			Ok(Command::Quote { machine, term }) => (machine.requirement(), term.hours()),
			other => panic!("{other:?}"),
		};
		let (gpu, hours) = requirement("kaisar quote --class rtx4090");
		assert_eq!(
			(gpu.gpu_class, gpu.gpu_count, gpu.region, hours),
			(11, 1, None, 1)
		);
		let (cpu, _) = requirement("kaisar quote --class none --min-cpu 2 --region de");
		assert_eq!((cpu.gpu_class, cpu.gpu_count, cpu.min_cpu), (0, 0, 2));
		assert_eq!(cpu.region, Some(Region(*b"DE")));
		let (several, hours) = requirement("kaisar quote --class 1 --count 8 --plan quarter");
		assert_eq!((several.gpu_count, hours), (8, 2_160));
	}

	#[test]
	fn values_out_of_range_are_refused() {
		for line in [
			"kaisar",
			"kaisar quote",
			"kaisar quote --class nothing-like-it",
			"kaisar quote --class 11 --min-cpu 5",
			"kaisar quote --class 11 --hours 0",
			"kaisar quote --class 11 --hours 8761",
			"kaisar quote --class 11 --region Germany",
			"kaisar order --class 11",
			"kaisar order nginx --class 11 --max-price 1e3",
			"kaisar order nginx --class 11 --port 8080/udp",
			"kaisar order nginx --class 11 --port 0",
			"kaisar order nginx --class 11 --deploy-minutes soon",
			"kaisar orders 1 --all",
			"kaisar templates nginx",
			"kaisar templates --metadata file",
			"kaisar connect 1 --listen localhost",
			"kaisar connect 1 --listen 127.0.0.1:0=0",
			"kaisar connect 1 --listen 127.0.0.1:0=22/udp",
			"kaisar connect 1 --listen 127.0.0.1=22",
			"kaisar stake 1 -5",
			"kaisar status --account 5Nobody",
			"kaisar set-commission 1 101",
			"kaisar register --node-dir data --agent-suri //Agent",
		] {
			let error = parse(line).expect_err(line);
			assert_eq!(error.exit_code(), 2, "{line}");
		}
	}

	#[test]
	fn connect_listens_once_for_each_port() {
		let listens = |line: &str| match parse(line).map(|cli| cli.command) {
			Ok(Command::Connect { listen, .. }) => listen
				.into_iter()
				.map(|listen| (listen.at.to_string(), listen.port))
				.collect::<Vec<_>>(),
			other => panic!("{other:?}"),
		};
		assert_eq!(
			listens("kaisar connect 7"),
			[("127.0.0.1:0".to_owned(), None)]
		);
		assert_eq!(
			listens("kaisar connect 7 --listen [::1]:80=8080 --listen 127.0.0.1:2222=22/tcp"),
			[
				("[::1]:80".to_owned(), Some(8_080)),
				("127.0.0.1:2222".to_owned(), Some(22))
			]
		);
	}

	#[test]
	fn ports_are_those_of_tcp() {
		assert_eq!(tcp_port("8080"), Ok(8_080));
		assert_eq!(tcp_port("65535/tcp"), Ok(65_535));
		for (text, says) in [
			("8080/udp", "UDP is not supported"),
			("8080/sctp", "unknown protocol sctp"),
			("0", "1 to 65535"),
			("65536", "1 to 65535"),
			("/tcp", "1 to 65535"),
			("http", "1 to 65535"),
		] {
			let error = tcp_port(text).expect_err(text);
			assert!(error.contains(says), "{text}: {error}");
		}
	}

	#[test]
	fn global_options_stand_anywhere() {
		for line in [
			"kaisar --json --url ws://x:1 orders",
			"kaisar orders --json --url ws://x:1",
		] {
			let cli = parse(line).expect(line);
			assert!(cli.common.json);
			assert_eq!(cli.common.url, "ws://x:1");
		}
	}

	#[test]
	fn options_override_the_detected_hardware() {
		let found = WorkerSpec {
			gpu_class: 11,
			gpu_count: 2,
			cpu_cores: 16,
			memory_gb: 64,
			disk_gb: 900,
			download_mbps: 1_000,
			upload_mbps: 500,
			region: Region(*b"DE"),
			arch: Arch::Arm64,
			driver: 570,
			cuda: Cuda(1_208),
		};
		assert_eq!(Hardware::default().claim(Some(found)), Ok(found));

		let given = Hardware {
			upload: Some(100),
			count: Some(1),
			..Default::default()
		};
		let claim = given.claim(Some(found)).expect("nothing is missing");
		assert_eq!(
			(claim.upload_mbps, claim.gpu_count, claim.gpu_class),
			(100, 1, 11)
		);

		let missing = given.claim(None).expect_err("most is missing");
		assert_eq!(
			missing,
			[
				"--cpu-cores",
				"--memory",
				"--disk",
				"--download",
				"--region"
			]
		);
		let without = Hardware {
			class: Some(0),
			..Default::default()
		};
		let claim = without.claim(Some(found)).expect("nothing is missing");
		assert_eq!((claim.gpu_class, claim.gpu_count), (0, 0));
	}

	#[test]
	fn all_or_an_amount() {
		assert_eq!("all".parse(), Ok(AmountOrAll::All));
		assert_eq!(
			"1".parse(),
			Ok(AmountOrAll::Amount("1".parse().expect("it is one")))
		);
		assert!("some".parse::<AmountOrAll>().is_err());
	}
}
