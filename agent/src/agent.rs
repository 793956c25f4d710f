//! A running agent: its keys and endpoint, the benchmarks that it runs, the checks that it makes, and
//! what it keeps of both over a restart.

use crate::{
	bench::{
		device::Device,
		evidence::Clock,
		hash::{Hash, hash},
		job::Job,
		proof::{self, Proof},
		stage::{Stage, Stages},
	},
	checker::check,
	containers::{self, Containers},
	gpu,
	host::store::{Store, now_ms},
	node_api,
	peer::{
		endpoint,
		endpoint::Peers,
		wire::{self, Push, job_id},
	},
	worker::{doorkeeper::Orders, serve},
};
use anyhow::{Context, Result, ensure};
use codec::{Decode, Encode};
use iroh::Endpoint;
use kaisar_primitives::{
	AgentKey, CheckerKey, RoundIndex,
	agent::{
		AgentStatus, Attestation, Checked, Progress, ProveRequest, RoundStart, SeatReply,
		SeatRequest,
	},
};
use sp_core::{H256, Pair, ed25519};
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::PathBuf,
	sync::{Arc, Mutex, MutexGuard, PoisonError},
	time::Duration,
};
use tokio::{
	sync::{Semaphore, mpsc, watch},
	task::JoinSet,
};

/// Most benchmarks that are kept or wait at a time.
pub const MAX_JOBS: usize = 32;
/// Most checks that are kept at a time.
pub const MAX_CHECKS: usize = 8_192;
/// Most checks that are made at a time.
const CHECKS_AT_ONCE: usize = 16;
/// Most rounds of which the start is kept.
const MAX_ROUNDS: usize = 1_024;
/// Most workers of whose progress is kept what was heard, before any check asked for it.
const MAX_HEARD: usize = 65_536;
/// The same, of one agent.
const MAX_HEARD_EACH: usize = 256;
/// Longest that anything is kept, whatever is asked: a week.
const MAX_KEEP_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// How long a proof that nobody opens keeps the GPUs' memory.
const GPU_MEMORY_KEPT_MS: u64 = 600 * 1_000;
/// How long what was heard, or checked, is kept where the round's start is not known.
const DEFAULT_KEEP_MS: u64 = 3_600 * 1_000;

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

/// How far a benchmark is.
pub(crate) enum State {
	/// Waits or runs.
	Working,
	/// Is done.
	Done(Arc<Proof>),
	/// The worker serves an order, and runs no benchmark: this is what it attests.
	Present(Hash),
	/// Cannot be done.
	Failed(String),
}

impl State {
	fn progress(&self) -> Progress<Attestation> {
		match self {
			Self::Working => Progress::Working,
			Self::Done(proof) => Progress::Done(Attestation { root: proof.root }),
			Self::Present(root) => Progress::Done(Attestation { root: *root }),
			Self::Failed(error) => Progress::Failed(error.clone()),
		}
	}
}

/// A benchmark that this agent was asked to run.
pub(crate) struct Entry {
	pub job: Job,
	pub committee: Vec<(CheckerKey, AgentKey)>,
	pub state: State,
	pub expires: u64,
	/// Roots of the stages as they come, for the committee.
	pub told: watch::Sender<Vec<Push>>,
	/// How often each checker's agent was served something that costs.
	pub served: BTreeMap<AgentKey, u32>,
	/// When it was last opened, or done.
	pub used: u64,
}

enum Check {
	Working,
	Done(Checked),
	Failed(String),
}

/// A chain, a round and its seed.
type RoundId = (H256, RoundIndex, H256);

#[derive(Encode, Decode)]
struct KeptRound {
	start: RoundStart,
	at: u64,
}

/// The signed roots of one worker's stages, and when they came.
#[derive(Clone, Default, Encode, Decode)]
pub(crate) struct Heard {
	pub at: Stages<Option<u64>>,
	pub roots: Stages<Option<Hash>>,
}

#[derive(Encode, Decode)]
struct KeptHeard {
	agent: AgentKey,
	job: Hash,
	heard: Heard,
}

/// What the tasks of an agent share.
pub(crate) struct Inner {
	pub pair: ed25519::Pair,
	pub key: AgentKey,
	pub token: Hash,
	pub endpoint: Endpoint,
	pub peers: Peers,
	pub patience: Duration,
	pub data_dir: PathBuf,
	pub devices: Vec<Arc<dyn Device>>,
	pub containers: Containers,
	/// Where the orders are served that the tunnel leads to.
	pub orders: Arc<dyn Orders>,
	pub jobs: Mutex<BTreeMap<Hash, Entry>>,
	queue: mpsc::Sender<Hash>,
	checks: Mutex<BTreeMap<Hash, (u64, Check)>>,
	rounds: Mutex<BTreeMap<RoundId, (u64, u64)>>,
	heard: Mutex<BTreeMap<(AgentKey, Hash), (u64, Heard)>>,
	/// Checks that may run at a time.
	pub checking: Semaphore,
	/// Openings that may be verified at a time, or computed where no GPU has to be waited for.
	pub computing: Semaphore,
	/// Which checkers' agents have which proofs opened just now.
	pub opening: Arc<serve::OpeningNow>,
	kept_jobs: Store,
	kept_checks: Store,
	kept_rounds: Store,
	kept_heard: Store,
	/// True once the agent is to stop.
	pub stopping: watch::Sender<bool>,
}

/// A lock that outlives a panic of another holder: what it guards is always whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
	mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
	/// Notes that a round began. The first time counts.
	pub fn round(&self, start: RoundStart) {
		let at = now_ms();
		let expires = at + start.keep_ms.min(MAX_KEEP_MS);
		let id = (start.genesis, start.round, start.seed);
		let mut rounds = lock(&self.rounds);
		if rounds.contains_key(&id) {
			return;
		}
		if rounds.len() >= MAX_ROUNDS {
			let oldest = rounds
				.iter()
				.min_by_key(|(_, (_, expires))| *expires)
				.map(|(id, _)| *id);
			if let Some(oldest) = oldest {
				rounds.remove(&oldest);
				self.kept_rounds.remove(&round_name(&oldest));
			}
		}
		rounds.insert(id, (at, expires));
		drop(rounds);
		tracing::debug!(round = start.round, "round began");
		self.kept_rounds
			.put(&round_name(&id), expires, &KeptRound { start, at });
	}

	/// When the round began by this agent's clock, and how long what belongs to it is kept.
	fn round_clock(&self, id: &RoundId) -> Option<(u64, u64)> {
		lock(&self.rounds).get(id).copied()
	}

	/// Takes a request to prove and says how far it is. `None` where there is no room for more.
	pub fn prove(&self, request: ProveRequest) -> Option<Progress<Attestation>> {
		let job = match Job::of_prove(&request, self.key) {
			Ok(job) => job,
			Err(error) => return Some(Progress::Failed(error.to_string())),
		};
		let id = job_id(&job.genesis, job.round, &job.seed, job.worker);
		let mut jobs = lock(&self.jobs);
		if let Some(entry) = jobs.get(&id) {
			// What is running or attested does not change, neither for another claim nor for an order.
			return Some(match &entry.state {
				State::Failed(_) if entry.job != job => Progress::Working,
				state => state.progress(),
			});
		}
		if jobs.len() >= MAX_JOBS {
			return None;
		}
		let expires = now_ms() + request.keep_ms.min(MAX_KEEP_MS);
		let entry = Entry::new(job, &request, expires);
		let progress = entry.state.progress();
		if progress == Progress::Working {
			self.queue.try_send(id).ok()?;
		}
		jobs.insert(id, entry);
		drop(jobs);
		self.kept_jobs.put(&id, expires, &request);
		Some(progress)
	}

	/// Takes requests to check and says how far each is.
	pub fn check(self: &Arc<Self>, requests: Vec<SeatRequest>) -> Vec<SeatReply> {
		requests
			.into_iter()
			.map(|request| SeatReply {
				worker: request.worker,
				progress: self.check_one(request),
			})
			.collect()
	}

	fn check_one(self: &Arc<Self>, request: SeatRequest) -> Progress<Checked> {
		let id = hash("kaisar/agent 2026 check", &[&request.encode()]);
		let mut checks = lock(&self.checks);
		match checks.get(&id) {
			Some((_, Check::Working)) => return Progress::Working,
			Some((_, Check::Done(checked))) => return Progress::Done(checked.clone()),
			Some((_, Check::Failed(error))) => return Progress::Failed(error.clone()),
			None => (),
		}
		if checks.len() >= MAX_CHECKS {
			// The node asks again, and until then something expires.
			return Progress::Working;
		}
		let round = (request.genesis, request.round, request.seed);
		let expires = self
			.round_clock(&round)
			.map_or(now_ms() + DEFAULT_KEEP_MS, |(_, expires)| expires);
		let job = match Job::of_seat(&request) {
			Ok(job) => job,
			Err(error) => {
				checks.insert(id, (expires, Check::Failed(error.to_string())));
				return Progress::Failed(error.to_string());
			}
		};
		checks.insert(id, (expires, Check::Working));
		drop(checks);
		let inner = self.clone();
		tokio::spawn(async move {
			let mut stopping = inner.stopping.subscribe();
			let work = async {
				let _permit = inner.checking.acquire().await;
				check::check(&inner, &job, &request).await
			};
			let checked = tokio::select! {
				checked = work => checked,
				_ = stopping.wait_for(|stopping| *stopping) => return,
			};
			tracing::info!(
				worker = request.worker,
				round = request.round,
				verdict = ?checked.verdict,
				"checked"
			);
			inner.kept_checks.put(&id, expires, &(id, &checked));
			lock(&inner.checks).insert(id, (expires, Check::Done(checked)));
		});
		Progress::Working
	}

	/// Notes a stage's root as it comes from a worker's agent.
	pub fn hear(&self, agent: &AgentKey, push: &Push) {
		if let Some(stage) = push.stage() {
			self.note(agent, push.job, stage, push.root);
		}
	}

	/// Notes the roots that a worker's agent named when it was asked. What was heard before stands.
	pub fn note_all(&self, job: &Job, stages: &Stages<Hash>) {
		let id = job_id(&job.genesis, job.round, &job.seed, job.worker);
		for (stage, root) in stages.iter() {
			self.note(&job.agent, id, stage, *root);
		}
	}

	fn note(&self, agent: &AgentKey, job: Hash, stage: Stage, root: Hash) {
		let now = now_ms();
		let id = (*agent, job);
		let mut all = lock(&self.heard);
		if !all.contains_key(&id) {
			let from = (*agent, [0; 32]);
			let to = (*agent, [0xff; 32]);
			let theirs = all
				.range(from..=to)
				.map(|(id, (expires, _))| (*expires, *id));
			if theirs.clone().count() >= MAX_HEARD_EACH
				&& let Some((_, oldest)) = theirs.min()
			{
				all.remove(&oldest);
			}
			if all.len() >= MAX_HEARD {
				let oldest = all
					.iter()
					.min_by_key(|(_, (expires, _))| *expires)
					.map(|(id, _)| *id);
				if let Some(oldest) = oldest {
					all.remove(&oldest);
				}
			}
		}
		let (expires, heard) = all
			.entry(id)
			.or_insert_with(|| (now + DEFAULT_KEEP_MS, Heard::default()));
		if heard.at[stage].is_some() {
			return;
		}
		heard.at[stage] = Some(now);
		heard.roots[stage] = Some(root);
		if stage == Stage::LAST {
			let kept = KeptHeard {
				agent: *agent,
				job,
				heard: heard.clone(),
			};
			let expires = *expires;
			drop(all);
			self.kept_heard.put(&heard_name(&id), expires, &kept);
		}
	}

	/// When a worker's stages came whose roots turned out to be these, by this agent's clock.
	pub fn clock(&self, job: &Job, stages: &Stages<Hash>) -> Clock {
		let start = self
			.round_clock(&(job.genesis, job.round, job.seed))
			.map(|(at, _)| at);
		let id = (
			job.agent,
			job_id(&job.genesis, job.round, &job.seed, job.worker),
		);
		let heard = lock(&self.heard)
			.get(&id)
			.map(|(_, heard)| heard.clone())
			.unwrap_or_default();
		let heard = Stages::from_fn(|stage| heard.at[stage].zip(heard.roots[stage]));
		Clock::of_heard(start, &heard, stages, now_ms())
	}

	/// What the agent says of itself.
	pub fn status(&self) -> AgentStatus {
		AgentStatus {
			version: env!("CARGO_PKG_VERSION").into(),
			agent: self.key,
			gpus: u8::try_from(self.devices.len()).unwrap_or(u8::MAX),
			seen: None,
		}
	}

	fn load(&self) {
		for (expires, kept) in self.kept_rounds.load::<KeptRound>() {
			let id = (kept.start.genesis, kept.start.round, kept.start.seed);
			lock(&self.rounds).insert(id, (kept.at, expires));
		}
		for (expires, kept) in self.kept_heard.load::<KeptHeard>() {
			lock(&self.heard).insert((kept.agent, kept.job), (expires, kept.heard));
		}
		for (expires, (id, checked)) in self.kept_checks.load::<(Hash, Checked)>() {
			lock(&self.checks).insert(id, (expires, Check::Done(checked)));
		}
		for (expires, request) in self.kept_jobs.load::<ProveRequest>() {
			let Ok(job) = Job::of_prove(&request, self.key) else {
				continue;
			};
			let id = job_id(&job.genesis, job.round, &job.seed, job.worker);
			let (round, worker) = (job.round, job.worker);
			let entry = Entry::new(job, &request, expires);
			if matches!(entry.state, State::Working) {
				if self.queue.try_send(id).is_err() {
					continue;
				}
				tracing::info!(round, worker, "computing a proof again");
			}
			lock(&self.jobs).insert(id, entry);
		}
	}

	fn sweep(&self) {
		let now = now_ms();
		// A customer's programs need the GPUs' memory more than a proof does.
		let rented = self.containers.are_rented();
		lock(&self.jobs).retain(|id, entry| {
			if let State::Done(proof) = &entry.state
				&& (rented || entry.used + GPU_MEMORY_KEPT_MS < now)
			{
				proof.release();
			}
			// What runs is never dropped: there is one at a time.
			let stays = entry.expires > now || matches!(entry.state, State::Working);
			if !stays {
				self.kept_jobs.remove(id);
			}
			stays
		});
		lock(&self.checks).retain(|id, (expires, _)| {
			let stays = *expires > now;
			if !stays {
				self.kept_checks.remove(id);
			}
			stays
		});
		lock(&self.rounds).retain(|id, (_, expires)| {
			let stays = *expires > now;
			if !stays {
				self.kept_rounds.remove(&round_name(id));
			}
			stays
		});
		lock(&self.heard).retain(|id, (expires, _)| {
			let stays = *expires > now;
			if !stays {
				self.kept_heard.remove(&heard_name(id));
			}
			stays
		});
	}
}

impl Entry {
	fn new(job: Job, request: &ProveRequest, expires: u64) -> Self {
		let state = match request.order {
			Some(_) => State::Present(job.rented_root()),
			None => State::Working,
		};
		Self {
			job,
			committee: request.committee.clone(),
			state,
			expires,
			told: watch::Sender::new(Vec::new()),
			served: BTreeMap::new(),
			used: now_ms(),
		}
	}
}

fn round_name(id: &RoundId) -> Hash {
	hash("kaisar/agent 2026 round file", &[&id.encode()])
}

fn heard_name(id: &(AgentKey, Hash)) -> Hash {
	hash("kaisar/agent 2026 heard file", &[&id.encode()])
}

/// Runs one benchmark at a time, in the order in which they were asked for.
async fn run_jobs(inner: Arc<Inner>, mut queue: mpsc::Receiver<Hash>) {
	let mut pushing = JoinSet::new();
	while let Some(id) = queue.recv().await {
		while pushing.try_join_next().is_some() {}
		let (job, committee, told, expires) = {
			let jobs = lock(&inner.jobs);
			let Some(entry) = jobs.get(&id) else { continue };
			(
				entry.job.clone(),
				entry.committee.clone(),
				entry.told.clone(),
				entry.expires,
			)
		};
		if expires <= now_ms() {
			if let Some(entry) = lock(&inner.jobs).get_mut(&id) {
				entry.state = State::Failed("its round is over".into());
			}
			continue;
		}
		for (_, agent) in committee
			.into_iter()
			.filter(|(_, agent)| *agent != inner.key)
		{
			pushing.spawn(serve::push(inner.clone(), agent, told.subscribe(), expires));
		}
		tracing::info!(round = job.round, worker = job.worker, "benchmark begins");
		let (round, worker) = (job.round, job.worker);
		let (pair, dir) = (inner.pair, inner.data_dir.clone());
		let devices = inner.devices.clone();
		let result = tokio::task::spawn_blocking(move || {
			proof::prove(&job, &devices, &dir, |stage, root| {
				let push = Push::signed(&pair, id, stage, root);
				told.send_modify(|all| all.push(push));
			})
		})
		.await;
		let state = match result {
			Ok(Ok(proof)) => {
				tracing::info!(
					round,
					worker,
					root = hex::encode(proof.root),
					took = ?proof.took.0,
					"benchmark done"
				);
				State::Done(Arc::new(proof))
			}
			Ok(Err(error)) => State::Failed(error.to_string()),
			Err(error) => State::Failed(format!("the benchmark crashed: {error}")),
		};
		if let State::Failed(error) = &state {
			tracing::error!(round, worker, error, "benchmark failed");
		}
		if let Some(entry) = lock(&inner.jobs).get_mut(&id) {
			entry.state = state;
			entry.used = now_ms();
		}
	}
}

/// Publishes this agent's addresses whenever they change, or the file is gone.
async fn publish(inner: Arc<Inner>) {
	let mut last = None;
	loop {
		let addr = endpoint::own_addr(&inner.endpoint);
		if last.as_ref() != Some(&addr) || inner.peers.record(&inner.key).is_none() {
			match inner.peers.publish(&inner.pair, &addr, now_ms()) {
				Ok(()) => last = Some(addr),
				Err(error) => tracing::warn!(%error, "cannot publish the addresses"),
			}
		}
		tokio::time::sleep(Duration::from_secs(5)).await;
	}
}

async fn sweep(inner: Arc<Inner>) {
	loop {
		tokio::time::sleep(Duration::from_secs(10)).await;
		inner.sweep();
	}
}

/// An agent that runs until it is dropped or stopped.
pub struct Agent {
	inner: Arc<Inner>,
	url: String,
	tasks: JoinSet<()>,
	// Held for as long as the agent runs: two agents never share a folder, and with it the machine.
	_lock: std::fs::File,
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
		orders: impl FnOnce(Containers) -> Arc<dyn Orders>,
	) -> Result<Self> {
		ensure!(
			config.listen.ip().is_loopback(),
			"the HTTP service listens on a loopback address only"
		);
		ensure!(
			config.token.len() >= 16,
			"the token must have at least 16 characters"
		);
		std::fs::create_dir_all(&config.data_dir)
			.with_context(|| format!("cannot make {}", config.data_dir.display()))?;
		let lock_file = std::fs::File::create(config.data_dir.join("lock"))?;
		lock_file
			.try_lock()
			.with_context(|| format!("another agent uses {}", config.data_dir.display()))?;
		let pair = ed25519::Pair::from_seed(&config.secret);
		let alpns = [wire::ALPN, kaisar_tunnel::ALPN];
		let relay = config.relay_url.as_deref();
		let endpoint = endpoint::bind(&config.secret, config.bind, relay, &alpns).await?;
		// Drivers may take their time, and may block.
		let devices = tokio::task::spawn_blocking(move || gpu::open(&config.gpus))
			.await
			.context("looking for GPUs")?;
		for device in &devices {
			let used = device.kernels().into_iter().next();
			let kernel = used.map(|rated| rated.kernel);
			tracing::info!(name = device.name(), kernel, "a GPU");
		}
		let (containers, supervising) =
			Containers::new(config.containers, pair.public(), &config.data_dir)?;
		let (queue, queued) = mpsc::channel(MAX_JOBS);
		let cores = std::thread::available_parallelism().map_or(1, usize::from);
		let inner = Arc::new(Inner {
			key: pair.public(),
			pair,
			token: node_api::token_hash(&config.token),
			endpoint,
			peers: Peers::new(&config.peers_dir)?,
			patience: config.patience,
			jobs: Mutex::default(),
			queue,
			checks: Mutex::default(),
			rounds: Mutex::default(),
			heard: Mutex::default(),
			checking: Semaphore::new(CHECKS_AT_ONCE),
			computing: Semaphore::new(cores.max(2)),
			opening: Arc::default(),
			kept_jobs: Store::new(&config.data_dir, "jobs")?,
			kept_checks: Store::new(&config.data_dir, "checks")?,
			kept_rounds: Store::new(&config.data_dir, "rounds")?,
			kept_heard: Store::new(&config.data_dir, "heard")?,
			data_dir: config.data_dir,
			devices,
			orders: orders(containers.clone()),
			containers,
			stopping: watch::Sender::new(false),
		});
		inner.load();
		inner
			.peers
			.publish(&inner.pair, &endpoint::own_addr(&inner.endpoint), now_ms())
			.context("cannot publish the addresses")?;
		let listener = tokio::net::TcpListener::bind(config.listen)
			.await
			.with_context(|| format!("cannot listen on {}", config.listen))?;
		let url = format!("http://{}", listener.local_addr()?);
		let mut tasks = JoinSet::new();
		tasks.spawn(run_jobs(inner.clone(), queued));
		tasks.spawn(publish(inner.clone()));
		tasks.spawn(sweep(inner.clone()));
		tasks.spawn(supervising.run());
		tasks.spawn(serve::accept(inner.clone()));
		tasks.spawn(node_api::serve(inner.clone(), listener));
		Ok(Self {
			inner,
			url,
			tasks,
			_lock: lock_file,
		})
	}

	/// Base URL of the HTTP service.
	pub fn url(&self) -> &str {
		&self.url
	}

	/// The agent's key.
	pub fn key(&self) -> AgentKey {
		self.inner.key
	}

	/// The containers of its workers.
	pub fn containers(&self) -> &Containers {
		&self.inner.containers
	}

	/// Addresses of the QUIC endpoint.
	pub fn addrs(&self) -> Vec<SocketAddr> {
		endpoint::own_addr(&self.inner.endpoint)
			.ip_addrs()
			.copied()
			.collect()
	}

	/// Stops serving, closes the connections and returns.
	pub async fn stop(mut self) {
		self.inner.stopping.send_replace(true);
		let close = self.inner.endpoint.close();
		let _ = tokio::time::timeout(Duration::from_secs(3), close).await;
		self.tasks.shutdown().await;
	}
}
