//! The shell of an agent: it builds the parts, runs them, and stops them.
//!
//! Each part locks for itself and calls no other part meanwhile, with one exception: a sweep of the jobs gives
//! GPU memory back, so the lock of the jobs comes before a GPU's. Where one part has two locks, its own file
//! says which comes first.

use crate::{
	bench::device::Device,
	checker::{check::Checker, checks::Checks, rounds::Rounds},
	containers::{self, Containers},
	gpu,
	host::{
		clock::Clock,
		report::{Gpu, Report},
	},
	node_api::NodeApi,
	peer::{
		dial::Peer,
		endpoint::{self, Peers},
		wire::{self, Push},
	},
	worker::{
		doorkeeper::{Doorkeeper, ServedOrders},
		jobs::Jobs,
		run::run_jobs,
		serve::{self, Serving},
	},
};
use anyhow::{Context, Result, ensure};
use kaisar_primitives::AgentKey;
use sp_core::{Pair, ed25519};
use std::{fs::File, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
	net::TcpListener,
	sync::{Semaphore, watch},
	task::JoinSet,
	time::{sleep, timeout},
};

/// Time between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(10);
/// Longest that connections may take to be closed.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Config {
	/// Loopback address of the HTTP service; port 0 for any.
	pub listen: SocketAddr,
	/// Bearer token of the HTTP service.
	pub token: String,
	/// Seed of the agent's ed25519 key.
	pub secret: [u8; 32],
	/// Folder in which agents publish their addresses.
	pub peers_dir: PathBuf,
	/// Folder of the plot and of what is kept over a restart.
	pub data_dir: PathBuf,
	/// Relay to use, if any.
	pub relay_url: Option<String>,
	/// Address of the QUIC endpoint; any port on all interfaces if not given.
	pub bind: Option<SocketAddr>,
	/// How long a worker may take to serve a check before it is found offline.
	pub patience: Duration,
	/// Which GPUs are used, and how.
	pub gpus: gpu::Options,
	/// How customers' containers are run.
	pub containers: containers::Settings,
}

impl Config {
	/// Fails on settings that are wrong whatever the machine is.
	fn check(&self) -> Result<()> {
		ensure!(
			self.listen.ip().is_loopback(),
			"the HTTP service listens on a loopback address only"
		);
		ensure!(
			self.token.len() >= 16,
			"the token must have at least 16 characters"
		);
		Ok(())
	}

	/// The data folder, locked: two agents never share one, and with it the machine.
	fn lock_data(&self) -> Result<File> {
		std::fs::create_dir_all(&self.data_dir)
			.with_context(|| format!("cannot make {}", self.data_dir.display()))?;
		let lock = File::create(self.data_dir.join("lock"))?;
		lock.try_lock()
			.with_context(|| format!("another agent uses {}", self.data_dir.display()))?;
		Ok(lock)
	}
}

/// An agent that runs until it is dropped or stopped.
pub struct Agent {
	peer: Arc<Peer>,
	containers: Containers,
	/// True once the agent is to stop.
	stopping: watch::Sender<bool>,
	url: String,
	tasks: JoinSet<()>,
	// Held for as long as the agent runs.
	_lock: File,
}

impl Agent {
	/// Starts an agent: when this returns it serves.
	pub async fn start(config: Config) -> Result<Self> {
		Self::start_with(config, |containers| Arc::new(containers)).await
	}

	/// The same, with orders that are served elsewhere than in the containers that the agent runs.
	#[doc(hidden)]
	pub async fn start_with(
		config: Config,
		orders: impl FnOnce(Containers) -> Arc<dyn ServedOrders>,
	) -> Result<Self> {
		config.check()?;
		let lock = config.lock_data()?;
		let data = config.data_dir;
		// Before anything is dated.
		let clock = Clock::resume(&data);
		let report = Arc::new(Report::default());
		let alpns = [wire::ALPN, kaisar_tunnel::ALPN];
		let relay = config.relay_url.as_deref();
		let endpoint = endpoint::bind(&config.secret, config.bind, relay, &alpns).await?;
		let devices = open_gpus(config.gpus).await?;
		report.gpus(devices.iter().map(|device| described(&**device)).collect());
		let pair = ed25519::Pair::from_seed(&config.secret);
		let key = pair.public();
		let (containers, supervising) =
			Containers::new(config.containers, key, &data, report.clone())?;
		let peer = Arc::new(Peer::new(pair, endpoint, Peers::new(&config.peers_dir)?));
		let rounds = Arc::new(Rounds::new(&data)?);
		let (jobs, queued) = Jobs::new(&data, key, report.clone())?;
		let jobs = Arc::new(jobs);
		let cores = std::thread::available_parallelism().map_or(1, usize::from);
		let computing = Arc::new(Semaphore::new(cores.max(2)));
		let stopping = watch::Sender::new(false);
		let checker = Checker::new(
			peer.clone(),
			rounds.clone(),
			computing.clone(),
			config.patience,
		);
		let checks = Arc::new(Checks::new(
			&data,
			checker,
			report.clone(),
			stopping.subscribe(),
		)?);
		peer.publish().context("cannot publish the addresses")?;
		let listener = TcpListener::bind(config.listen)
			.await
			.with_context(|| format!("cannot listen on {}", config.listen))?;
		let url = format!("http://{}", listener.local_addr()?);
		let serving = Serving::new(peer.clone(), jobs.clone(), computing, {
			let (rounds, report) = (rounds.clone(), report.clone());
			move |agent: &AgentKey, push: &Push| {
				report.reached();
				rounds.hear(agent, push);
			}
		});
		let doorkeeper = Doorkeeper {
			orders: orders(containers.clone()),
			jobs: jobs.clone(),
		};
		let node_api = NodeApi {
			token: config.token,
			report: report.clone(),
			data: data.clone(),
			peer: peer.clone(),
			jobs: jobs.clone(),
			rounds: rounds.clone(),
			checks: checks.clone(),
			containers: containers.clone(),
		};
		let mut tasks = JoinSet::new();
		tasks.spawn(run_jobs(
			jobs.clone(),
			peer.clone(),
			report,
			devices,
			data,
			queued,
		));
		tasks.spawn({
			let peer = peer.clone();
			async move { peer.keep_published().await }
		});
		tasks.spawn(sweep(jobs, rounds, checks, containers.clone(), clock));
		tasks.spawn(supervising.run());
		tasks.spawn(serve::accept(serving, doorkeeper));
		tasks.spawn(node_api.serve(listener, stopping.subscribe()));
		Ok(Self {
			peer,
			containers,
			stopping,
			url,
			tasks,
			_lock: lock,
		})
	}

	/// Base URL of the HTTP service.
	pub fn url(&self) -> &str {
		&self.url
	}

	/// The agent's key.
	pub fn key(&self) -> AgentKey {
		self.peer.key()
	}

	/// The containers of its workers.
	pub fn containers(&self) -> &Containers {
		&self.containers
	}

	/// Addresses of the QUIC endpoint.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		self.peer.addrs()
	}

	/// Stops serving, closes the connections and returns.
	pub async fn stop(mut self) {
		self.stopping.send_replace(true);
		let _ = timeout(CLOSE_TIME, self.peer.endpoint().close()).await;
		self.tasks.shutdown().await;
	}
}

/// The GPUs, opened.
async fn open_gpus(options: gpu::Options) -> Result<Vec<Arc<dyn Device>>> {
	// Drivers may take their time, and may block.
	let devices = tokio::task::spawn_blocking(move || gpu::open(&options))
		.await
		.context("looking for GPUs")?;
	for device in &devices {
		let Gpu { name, kernel } = described(&**device);
		tracing::info!(name, kernel, "using a GPU");
	}
	Ok(devices)
}

/// A GPU for the report: its name, and the kernel that is used.
fn described(device: &dyn Device) -> Gpu {
	Gpu {
		name: device.name(),
		kernel: device
			.kernels()
			.into_iter()
			.next()
			.map(|rated| rated.kernel),
	}
}

/// Drops what has expired, every now and then, and keeps the clock.
async fn sweep(
	jobs: Arc<Jobs>,
	rounds: Arc<Rounds>,
	checks: Arc<Checks>,
	containers: Containers,
	mut clock: Clock,
) {
	loop {
		sleep(SWEEP).await;
		clock.save();
		jobs.sweep(containers.are_rented());
		checks.sweep();
		rounds.sweep();
	}
}
