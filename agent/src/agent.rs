//! The shell of an agent: builds its parts, runs them, and stops them.
//!
//! Each part has its own locks and calls no other part while it holds them, with one exception: a sweep of
//! the jobs returns GPU memory, so the lock of the jobs comes before a GPU's. If a part has two locks, its
//! file documents their order.

use crate::{
	checker::{
		admission::Admissions,
		check::{Checker, MEMORY_KIB, MEMORY_LARGE_KIB},
		checks::Checks,
		rounds::{MAX_HEARD, MAX_HEARD_EACH, Rounds},
		rules::{Protocol, Rules, secret_of},
	},
	containers::{self, Containers},
	gpu,
	host::{clock::Clock, report::Report, time::Time},
	node_api::NodeApi,
	peer::{
		bandwidth::OwnLine,
		dial::Peer,
		network::Network,
		wire::{self, Introduced, Introduction, Push, Refusal},
	},
	worker::{
		doorkeeper::{Doorkeeper, ServedOrders},
		jobs::Jobs,
		plots::{self, Effort, Growing, Plots},
		push::Committees,
		run::Runner,
		serve::{self, Inbox, Origin, Serving},
	},
};
use anyhow::{Context, Result, ensure};
use kaisar_primitives::{AgentKey, agent::SeatClaim};
use kaisar_tunnel::{Door, places};
use sp_core::{Pair, ed25519};
use std::{fs::File, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
	net::TcpListener,
	sync::{Semaphore, watch},
	task::JoinSet,
	time::{sleep, timeout},
};

/// Interval of sweeps for expired state.
const SWEEP: Duration = Duration::from_secs(10);
/// Timeout of closing the connections.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Time for the drivers of GPUs to answer before the agent serves without GPUs.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// Configuration of an agent.
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
	/// Folder of the plot and of state that outlives a restart.
	pub data_dir: PathBuf,
	/// Network settings: published addresses, and addresses that may be dialed.
	pub network: Network,
	/// Time for a worker to serve a check before it is found offline.
	pub patience: Duration,
	/// Speed of the agent's own line, down and up in Mb/s. Without it, the line counts as fast enough for
	/// all measurements.
	pub own_line: Option<(u32, u32)>,
	/// The clock.
	pub time: Time,
	/// Choice of GPUs and kernels.
	pub gpus: gpu::Options,
	/// Settings of customers' containers.
	pub containers: containers::Settings,
}

impl Config {
	/// Fails on settings that are wrong whatever the machine is.
	fn check(&self) -> Result<()> {
		ensure!(
			self.listen.ip().is_loopback(),
			"the HTTP service must listen on a loopback address, and {} is not one; pass e.g. --listen 127.0.0.1:0",
			self.listen
		);
		ensure!(
			self.token.len() >= 16,
			"the token must have at least 16 characters; remove the token file to create a new token"
		);
		self.network.check()
	}

	/// Locks the data folder: two agents must not share a folder, and with it the machine.
	fn lock_data(&self) -> Result<File> {
		let dir = self.data_dir.display();
		plots::lock(&self.data_dir)
			.with_context(|| format!("cannot use {dir}"))?
			.with_context(|| {
				format!("another agent uses {dir}: stop it, or name another --data-dir")
			})
	}
}

/// Bounds on the resources that others can use of an agent, and its rules for checks. Only tests that show
/// the purpose of a bound change it.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Bounds {
	/// Rules for checks.
	pub rules: Arc<dyn Rules>,
	/// Limits of the agents' door.
	pub door: places::Limits,
	/// Memory for openings, in KiB: all of it, and the part for large ones.
	pub memory_kib: (u32, u32),
	/// Maximum number of trials whose parts are kept: of all agents, and of one.
	pub heard: (usize, usize),
	/// The node must confirm a worker's agent before its parts are taken.
	pub admission: bool,
	/// Bandwidth over a relay counts.
	pub relayed_counts: bool,
}

impl Default for Bounds {
	fn default() -> Self {
		Self {
			rules: Arc::new(Protocol),
			door: serve::DOOR(),
			memory_kib: (MEMORY_KIB, MEMORY_LARGE_KIB),
			heard: (MAX_HEARD, MAX_HEARD_EACH),
			admission: true,
			relayed_counts: false,
		}
	}
}

/// An agent that runs until it is dropped or stopped.
pub struct Agent {
	peer: Arc<Peer>,
	containers: Containers,
	/// True once the agent stops.
	stopping: watch::Sender<bool>,
	url: String,
	tasks: JoinSet<()>,
	_growing: Growing,
	// Held while the agent runs.
	_lock: File,
}

impl Agent {
	/// Starts an agent. When this returns, the agent serves.
	pub async fn start(config: Config) -> Result<Self> {
		Self::start_with(config, |containers| Arc::new(containers)).await
	}

	/// Starts an agent whose orders are served elsewhere than in its own containers.
	#[doc(hidden)]
	pub async fn start_with(
		config: Config,
		orders: impl FnOnce(Containers) -> Arc<dyn ServedOrders>,
	) -> Result<Self> {
		Self::start_within(config, Bounds::default(), orders).await
	}

	/// Starts an agent within other bounds.
	#[doc(hidden)]
	pub async fn start_within(
		config: Config,
		bounds: Bounds,
		orders: impl FnOnce(Containers) -> Arc<dyn ServedOrders>,
	) -> Result<Self> {
		config.check()?;
		let lock = config.lock_data()?;
		let data = config.data_dir;
		// Before any value gets a date.
		let clock = Clock::resume(&data);
		let report = Arc::new(Report::default());
		let alpns = [wire::ALPN, kaisar_tunnel::ALPN];
		let pair = ed25519::Pair::from_seed(&config.secret);
		let key = pair.public();
		let peer = Peer::start(pair, &config.network, &alpns, &config.peers_dir, &data).await?;
		let peer = Arc::new(peer);
		let gpus = look_for_gpus(config.gpus).await?;
		let plots = Plots::new(&data).context("cannot open the plot's folder")?;
		let (containers, supervising) = Containers::new(
			config.containers,
			key,
			&data,
			gpus.clone(),
			Arc::new(plots.clone()),
			report.clone(),
		)?;
		plots.rented(containers.are_rented());
		let growing = plots
			.start(Effort::Background)
			.context("cannot start the thread that fills the plot")?;
		let time = config.time;
		let rounds = Arc::new(Rounds::new(
			&data,
			time.clone(),
			bounds.heard.0,
			bounds.heard.1,
		)?);
		let jobs = Arc::new(Jobs::new(&data, key, report.clone())?);
		let (door, tunnels) = (Door::new(bounds.door), Door::new(places::Limits::default()));
		let doors = vec![door.clone(), tunnels.clone()];
		let committees = Arc::new(Committees::new(peer.clone(), doors));
		let admissions = Arc::new(Admissions::new(door.clone()));
		let cores = std::thread::available_parallelism().map_or(1, usize::from);
		let computing = Arc::new(Semaphore::new(cores.max(2)));
		let stopping = watch::Sender::new(false);
		let checker = Checker::new(
			peer.clone(),
			secret_of(peer.pair()),
			rounds.clone(),
			computing.clone(),
			time,
			config
				.own_line
				.map_or_else(OwnLine::default, |(down, up)| OwnLine::of_mbps(up, down)),
			config.patience,
		)
		.by(bounds.rules)
		.bounded(
			bounds.memory_kib.0,
			bounds.memory_kib.1,
			bounds.relayed_counts,
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
		let serving = Serving::new(
			peer.clone(),
			jobs.clone(),
			committees.clone(),
			door,
			computing,
			Pushed {
				admissions: admissions.clone(),
				rounds: rounds.clone(),
				report: report.clone(),
				admission: bounds.admission,
			},
		);
		let doorkeeper = Doorkeeper {
			orders: orders(containers.clone()),
			jobs: jobs.clone(),
			committees: committees.clone(),
		};
		let node_api = NodeApi {
			token: config.token,
			gpus: gpus.clone(),
			report: report.clone(),
			data,
			plots: plots.clone(),
			peer: peer.clone(),
			jobs: jobs.clone(),
			committees: committees.clone(),
			admissions: admissions.clone(),
			rounds: rounds.clone(),
			checks: checks.clone(),
			containers: containers.clone(),
		};
		let mut tasks = JoinSet::new();
		let runner = Runner {
			jobs: jobs.clone(),
			committees: committees.clone(),
			peer: peer.clone(),
			report,
			gpus,
			plots: plots.clone(),
		};
		tasks.spawn(runner.run());
		tasks.spawn({
			let peer = peer.clone();
			async move { peer.keep_published().await }
		});
		tasks.spawn(sweep(
			jobs,
			committees,
			admissions,
			rounds,
			checks,
			containers.clone(),
			clock,
		));
		tasks.spawn({
			let containers = containers.clone();
			async move {
				loop {
					sleep(SWEEP).await;
					plots.rented(containers.are_rented());
				}
			}
		});
		tasks.spawn(supervising.run());
		tasks.spawn(serve::accept(serving, doorkeeper, tunnels));
		tasks.spawn(node_api.serve(listener, stopping.subscribe()));
		Ok(Self {
			peer,
			containers,
			stopping,
			url,
			tasks,
			_growing: growing,
			_lock: lock,
		})
	}

	/// Returns the base URL of the HTTP service.
	pub fn url(&self) -> &str {
		&self.url
	}

	/// Returns the agent's key.
	pub fn key(&self) -> AgentKey {
		self.peer.key()
	}

	/// Returns the containers of its workers.
	pub fn containers(&self) -> &Containers {
		&self.containers
	}

	/// Returns the addresses of the QUIC endpoint.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		self.peer.addrs()
	}

	/// Stops the agent and closes its connections.
	pub async fn stop(mut self) {
		self.stopping.send_replace(true);
		let _ = timeout(CLOSE_TIME, self.peer.endpoint().close()).await;
		self.tasks.shutdown().await;
	}
}

/// Inbox of a checker: takes introductions and roots from workers' agents.
struct Pushed {
	admissions: Arc<Admissions>,
	rounds: Arc<Rounds>,
	report: Arc<Report>,
	/// Only admitted agents may push. Always true, except in a test of its purpose.
	admission: bool,
}

impl Inbox for Pushed {
	fn knows(&self, agent: &AgentKey) -> bool {
		!self.admission || self.admissions.knows(agent)
	}

	fn introduce(
		&self,
		agent: &AgentKey,
		introduction: &Introduction,
		origin: Origin,
	) -> Introduced {
		let claim = SeatClaim {
			round: introduction.round,
			worker: introduction.worker,
			agent: *agent,
		};
		self.admissions
			.introduce(introduction.genesis, claim, origin)
	}

	fn receive(&self, agent: &AgentKey, push: &Push) -> Result<(), Refusal> {
		let claim = SeatClaim {
			round: push.trial.round,
			worker: push.trial.worker,
			agent: *agent,
		};
		// The cheaper test first.
		if self.admission
			&& !self.admissions.admits(push.trial.genesis, &claim)
			&& !self.rounds.is_asked(agent, &push.trial)
		{
			return Err(Refusal::NotServed);
		}
		if !push.verify(agent) {
			return Err(Refusal::Bad);
		}
		self.report.reached();
		self.rounds.receive(agent, push);
		Ok(())
	}
}

/// Returns the GPUs after a first search.
async fn look_for_gpus(options: gpu::Options) -> Result<Arc<gpu::Pool>> {
	let gpus = Arc::new(gpu::Pool::new(options));
	let looking = gpus.clone();
	// Drivers may answer late or never; all work without GPUs starts meanwhile.
	let look = tokio::task::spawn_blocking(move || looking.look());
	match timeout(LOOK_TIME, look).await {
		Ok(looked) => drop(looked.context("the search for GPUs failed")?),
		Err(_) => tracing::warn!(
			"a GPU's driver has not answered in {} s: the agent runs without its GPUs until it does. See whether \
			 nvidia-smi or vulkaninfo hang too, and restart the machine if they do",
			LOOK_TIME.as_secs()
		),
	}
	Ok(gpus)
}

/// Drops expired state and saves the clock at each interval.
async fn sweep(
	jobs: Arc<Jobs>,
	committees: Arc<Committees>,
	admissions: Arc<Admissions>,
	rounds: Arc<Rounds>,
	checks: Arc<Checks>,
	containers: Containers,
	mut clock: Clock,
) {
	loop {
		sleep(SWEEP).await;
		clock.save();
		committees.sweep();
		admissions.sweep();
		jobs.sweep(containers.are_rented());
		checks.sweep();
		rounds.sweep();
	}
}
