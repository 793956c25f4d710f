//! The command line.

use crate::{
	amount::{Kai, Share},
	classes,
	types::{Arch, Cuda, Image, Issue, Plan, Region, Requirement, WorkerSpec},
};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kaisar_tunnel::RelayUrl;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use subxt::utils::AccountId32;

const NOTES: &str = "\
Amounts are decimals of KAI with up to 18 digits after the point: 650, 12.5. With --json they are strings of
units of 10⁻¹⁸ KAI, shares are decimals, and errors are one JSON document on standard error.

Exit codes:
  0  done
  2  the command line is not right
  3  the node or the agent cannot be reached, or is of another version
  4  the chain refused the call; standard error has the error's name
  5  there is no such order, worker or account
  6  it did not happen in time, or the order was closed meanwhile
  7  the wallet, a key file, or a password";

/// Rents machines on Kaisar, and puts machines on it.
#[derive(Parser, Debug)]
#[command(name = "kaisar", version, about, after_help = NOTES, max_term_width = 110)]
pub struct Cli {
	#[command(flatten)]
	pub common: Common,
	#[command(subcommand)]
	pub command: Command,
}

/// Options of all commands.
#[derive(Args, Debug)]
pub struct Common {
	/// The node to ask.
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
	/// Print JSON.
	#[arg(long, global = true)]
	pub json: bool,
	/// Wait until a call's block is final, not only on the best chain.
	#[arg(long, global = true)]
	pub finalized: bool,
	/// Give up after so many seconds: for a call 120, for what is waited for besides 1,800.
	#[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
	pub timeout: Option<u64>,
}

impl Common {
	/// How long to wait for a call.
	pub fn call_timeout(&self) -> Duration {
		Duration::from_secs(self.timeout.unwrap_or(120))
	}

	/// How long to wait for what the chain and others do after it.
	pub fn wait_timeout(&self) -> Duration {
		Duration::from_secs(self.timeout.unwrap_or(1_800))
	}
}

/// Whose account it is.
#[derive(Args, Clone, Debug, Default)]
pub struct WalletArgs {
	/// The wallet file; by default ~/.config/kaisar/wallet.json.
	#[arg(long, global = true, env = "KAISAR_WALLET", value_name = "FILE")]
	pub wallet: Option<PathBuf>,
	/// A key instead of a wallet, as //Alice: for development, since others on this machine can see it.
	#[arg(long, global = true, value_name = "SECRET")]
	pub suri: Option<String>,
	/// A file with the wallet's password; without it KAISAR_PASSWORD, or a question.
	#[arg(long, global = true, value_name = "FILE")]
	pub password_file: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
	/// What a machine would cost.
	Quote {
		#[command(flatten)]
		machine: Machine,
		#[command(flatten)]
		term: Term,
	},
	/// Rents a machine and starts a container on it.
	Order(Order),
	/// Lists orders, or shows one.
	Orders {
		/// The order to show.
		order: Option<u32>,
		/// Orders of this account instead of the wallet's.
		#[arg(long, value_name = "ADDRESS", value_parser = account, conflicts_with = "order")]
		account: Option<AccountId32>,
		/// Closed ones too.
		#[arg(long, conflicts_with = "order")]
		all: bool,
	},
	/// Rents an order's machine for longer, at today's price.
	Extend {
		/// The order.
		order: u32,
		/// For how many hours more.
		#[arg(long, value_parser = clap::value_parser!(u32).range(1..=8_760))]
		hours: u32,
		/// The most that it may cost; by default today's quote and 5 %.
		#[arg(long, value_name = "KAI")]
		max_price: Option<Kai>,
	},
	/// Ends an order. What was used is paid, at least an hour; the rest becomes credits.
	Cancel {
		/// The order.
		order: u32,
	},
	/// Opens a local port that leads to the order's container, until the order is over or Ctrl-C.
	Connect {
		/// The order.
		order: u32,
		/// The container's port; by default the one that the image exposes.
		#[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
		port: Option<u16>,
		/// Where to listen; port 0 is any that is free.
		#[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
		listen: SocketAddr,
		/// The file with the client key with which it was ordered, if it was not the wallet's.
		#[arg(long, value_name = "FILE")]
		client_key: Option<PathBuf>,
		/// Relay that may be used if the agent's record names it. Repeatable; none by default.
		#[arg(long, value_name = "URL")]
		relay_url: Vec<RelayUrl>,
		/// Connect to private and loopback addresses too: for a chain on this machine or in this network.
		#[arg(long)]
		private_addresses: bool,
	},
	/// Says that an order's machine or container does not answer: it is checked, for a bond.
	Report {
		/// The order.
		order: u32,
		/// What is wrong.
		#[arg(long, value_enum, default_value_t = Issue::NotServing)]
		reason: Issue,
	},
	/// Closes an order that is past its end or its deadline, or whose worker failed. Anyone may.
	Close {
		/// The order.
		order: u32,
	},
	/// Registers this or another machine as a worker. Fills its plot first, if the agent's data is on this machine.
	Register(Register),
	/// Balance, credits, workers and what can be claimed of an account; or one worker.
	Status {
		/// The worker to show.
		worker: Option<u32>,
		/// This account instead of the wallet's.
		#[arg(long, value_name = "ADDRESS", value_parser = account, conflicts_with = "worker")]
		account: Option<AccountId32>,
	},
	/// Stakes KAI on a worker, one's own or another's.
	Stake {
		/// The worker.
		worker: u32,
		/// How much.
		#[arg(value_name = "KAI")]
		amount: Kai,
	},
	/// Takes stake back from a worker: it unbonds, and can be withdrawn after that.
	Unstake {
		/// The worker.
		worker: u32,
		/// How much, or all.
		#[arg(value_name = "KAI|all")]
		amount: AmountOrAll,
	},
	/// Withdraws stake that has unbonded.
	Withdraw {
		/// The worker.
		worker: u32,
	},
	/// Claims all rewards: of one's workers, of one's stake on others', of one's checker.
	Claim {
		/// Only of these workers.
		workers: Vec<u32>,
	},
	/// Brings a worker back: it is verified again.
	GoOnline {
		/// The worker.
		worker: u32,
	},
	/// Takes a worker off the network, until it is brought back.
	GoOffline {
		/// The worker.
		worker: u32,
	},
	/// Sets the price per GPU-hour (per core-hour without a GPU) below which a worker is never rented out.
	SetPrice {
		/// The worker.
		worker: u32,
		/// The price.
		#[arg(value_name = "KAI")]
		price: Kai,
	},
	/// Sets the most that others may delegate to a worker. What is there already stays.
	SetDelegationCap {
		/// The worker.
		worker: u32,
		/// The most; 0 for nothing more.
		#[arg(value_name = "KAI")]
		most: Kai,
	},
	/// Sets the part of a worker's reward that all who stake on it share, its owner included.
	SetCommission {
		/// The worker.
		worker: u32,
		/// The share.
		#[arg(value_name = "PERCENT", value_parser = Share::from_percent)]
		commission: Share,
	},
	/// Takes a worker off the network for good. Its stake unbonds.
	Deregister {
		/// The worker.
		worker: u32,
	},
	/// Makes a wallet: an encrypted file, and twelve words that bring it back.
	CreateWallet {
		/// A name for it, which browser extensions show.
		#[arg(long, default_value = "kaisar")]
		name: String,
	},
	/// Makes a wallet file of a recovery phrase, typed or piped in, or of a polkadot.js export.
	ImportWallet {
		/// A name for it, which browser extensions show.
		#[arg(long, default_value = "kaisar")]
		name: String,
		/// The encrypted JSON file of a browser extension, which keeps its password.
		#[arg(long, value_name = "FILE")]
		from: Option<PathBuf>,
	},
	/// Shows the wallet's address, and the client key with which it connects.
	Address,
	/// Lists the GPU classes, and what the tiers mean.
	Classes,
	/// Prints the completions for a shell.
	Completions {
		/// The shell.
		shell: Shell,
	},
}

/// The machine that is asked for. An order rents a machine as a whole.
#[derive(Args, Clone, Debug)]
pub struct Machine {
	/// GPU class: rtx4090, GPU_RTX_4090, 11; or none. `kaisar classes` lists them.
	#[arg(long, value_parser = classes::parse, value_name = "CLASS")]
	class: u16,
	/// GPUs; by default 1, or none where the class is none.
	#[arg(long, value_name = "GPUS")]
	count: Option<u8>,
	/// Least bandwidth, a tier from 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_bandwidth: u8,
	/// Least CPU, a tier from 0 to 4. Without GPUs it is the tier, from 1, and what the price is for.
	#[arg(long, value_name = "TIER", value_parser = tier())]
	min_cpu: Option<u8>,
	/// Least memory, a tier from 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_memory: u8,
	/// Least disk, a tier from 0 to 4.
	#[arg(long, default_value_t = 0, value_name = "TIER", value_parser = tier())]
	min_disk: u8,
	/// The country that it has to be in, as DE.
	#[arg(long, value_name = "COUNTRY")]
	region: Option<Region>,
	/// The processor architecture that it must have.
	#[arg(long, value_enum)]
	arch: Option<Arch>,
	/// Least major version of the GPU's driver.
	#[arg(long, value_name = "VERSION")]
	min_driver: Option<u16>,
	/// Least CUDA version that the driver supports, as 12.8.
	#[arg(long, value_name = "VERSION")]
	min_cuda: Option<Cuda>,
}

impl Machine {
	/// As the chain takes it.
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

/// For how long.
#[derive(Args, Clone, Copy, Debug)]
pub struct Term {
	/// Hours; by default the fewest that the plan allows.
	#[arg(long, value_parser = clap::value_parser!(u32).range(1..=8_760))]
	hours: Option<u32>,
	/// For how long to commit, which lowers the price: month is 720 hours at least, quarter 2,160.
	#[arg(long, value_enum, default_value_t = Plan::OnDemand)]
	pub plan: Plan,
}

impl Term {
	/// Hours.
	pub fn hours(self) -> u32 {
		self.hours.unwrap_or(self.plan.least_hours())
	}
}

/// An order to place.
#[derive(Args, Debug)]
pub struct Order {
	/// What to run: an OCI image, as docker.io/library/nginx:1.27, or template:ID of the chain's list.
	pub image: Image,
	#[command(flatten)]
	pub machine: Machine,
	#[command(flatten)]
	pub term: Term,
	/// The most that it may cost in all; by default today's quote and 5 %.
	#[arg(long, value_name = "KAI")]
	pub max_price: Option<Kai>,
	/// Credits to pay with; by default all that there are.
	#[arg(long, value_name = "KAI")]
	pub credits: Option<Kai>,
	/// A file with the client key that may connect, made if it is not there; by default the wallet's own.
	#[arg(long, value_name = "FILE")]
	pub client_key: Option<PathBuf>,
	/// Wait until the container runs.
	#[arg(long)]
	pub wait: bool,
}

/// A worker to register.
#[derive(Args, Debug)]
pub struct Register {
	/// The node's base path, which has the worker's key and the agent's, on this machine.
	#[arg(long, value_name = "FOLDER", conflicts_with_all = ["worker_suri", "worker_key_file", "agent_suri", "agent_key_file"])]
	pub node_dir: Option<PathBuf>,
	/// A file with the password of the node's keystore, if it has one.
	#[arg(long, value_name = "FILE", requires = "node_dir")]
	pub keystore_password_file: Option<PathBuf>,
	/// A file with the worker key's phrase or seed.
	#[arg(long, value_name = "FILE", conflicts_with = "worker_suri")]
	pub worker_key_file: Option<PathBuf>,
	/// The worker key's phrase, seed or path: for development.
	#[arg(long, value_name = "SECRET")]
	pub worker_suri: Option<String>,
	/// The agent's key file: agents/provider/key in the chain's folder of the node.
	#[arg(long, value_name = "FILE", conflicts_with = "agent_suri")]
	pub agent_key_file: Option<PathBuf>,
	/// The agent key's phrase, seed or path: for development.
	#[arg(long, value_name = "SECRET")]
	pub agent_suri: Option<String>,
	/// The stake; by default the least that the claim needs.
	#[arg(long, value_name = "KAI")]
	pub stake: Option<Kai>,
	/// What `kaisar-agent detect --json` printed: a file, or - for standard input.
	#[arg(long, value_name = "FILE")]
	pub spec: Option<PathBuf>,
	/// Do not fill the plot first. The agent fills it later, and less disk counts until then.
	#[arg(long)]
	pub no_plot: bool,
	#[command(flatten)]
	pub hardware: Hardware,
}

/// What the machine claims. What is given here goes before what --spec says.
#[derive(Args, Debug, Default)]
pub struct Hardware {
	/// GPU class.
	#[arg(long, value_parser = classes::parse, value_name = "CLASS")]
	pub class: Option<u16>,
	/// GPUs of that class.
	#[arg(long, value_name = "GPUS")]
	pub count: Option<u8>,
	/// CPU cores.
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
	/// The country that it is in, as DE.
	#[arg(long, value_name = "COUNTRY")]
	pub region: Option<Region>,
	/// Its processor architecture; amd64 by default.
	#[arg(long, value_enum)]
	pub arch: Option<Arch>,
	/// Major version of the GPU's driver.
	#[arg(long, value_name = "VERSION")]
	pub driver: Option<u16>,
	/// The CUDA version that the driver supports, as 12.8.
	#[arg(long, value_name = "VERSION")]
	pub cuda: Option<Cuda>,
}

impl Hardware {
	/// The claim, on top of what was detected; what neither says is named.
	pub fn claim(&self, detected: Option<WorkerSpec>) -> Result<WorkerSpec, Vec<&'static str>> {
		let mut missing = Vec::new();
		let mut say = |name, told: Option<u32>, found: Option<u32>| {
			told.or(found).unwrap_or_else(|| {
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
		// They only get narrower by what they were before.
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

/// An amount, or all there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountOrAll {
	/// So much.
	Amount(Kai),
	/// All.
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

/// An account by its address, of any network's form.
fn account(text: &str) -> Result<AccountId32, String> {
	use sp_core::crypto::Ss58Codec;
	sp_core::crypto::AccountId32::from_ss58check_with_version(text)
		.map(|(account, _)| AccountId32(account.into()))
		.map_err(|_| "that is no address".into())
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
	fn a_machine_has_one_gpu_unless_it_is_said_otherwise() {
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
	fn what_is_out_of_range_is_refused() {
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
			"kaisar orders 1 --all",
			"kaisar connect 1 --port 0",
			"kaisar connect 1 --listen localhost",
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
	fn a_claim_is_what_was_told_on_top_of_what_was_found() {
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

		let told = Hardware {
			upload: Some(100),
			count: Some(1),
			..Default::default()
		};
		let claim = told.claim(Some(found)).expect("nothing is missing");
		assert_eq!(
			(claim.upload_mbps, claim.gpu_count, claim.gpu_class),
			(100, 1, 11)
		);

		let missing = told.claim(None).expect_err("most is missing");
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
