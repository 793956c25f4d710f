//! # Containers
//!
//! What a customer rents is a container on the worker's machine. The node sends the *desired state*, as
//! [`OrderRequest`], at every block or two; the agent makes it so and keeps it so, and answers how far it
//! is. Nothing that happens in between is lost by that: a restart of the node, the agent, the engine or
//! the machine ends in the next request being compared with what runs.
//!
//! 1. A request with a [`Deployment`] comes. Its image is pulled if the engine does not have it, and a
//!    container is made of it with labels that say whose it is, within the order's limits and the
//!    machine's, without capabilities, mounts or privileges ([`limits`]).
//! 2. Its health check or its port answers: it is `Running`. Customers and checkers are let in
//!    ([`Containers::served`]).
//! 3. What is taken away from outside is started again; what ended by itself has ended, and is said so
//!    ([`watch`]).
//! 4. A request without a deployment, or with another, comes, or the agent's own clock says that nobody
//!    wants it any more: the container is stopped and removed with all that it wrote.
//!
//! For an order the first deployment stands; requests that follow only move its clocks. So a template
//! that is edited does not take away a container that runs.
//!
//! `docs/containers.md` says what a provider sets up, and what a container may and may not do.

mod engine;
mod foreign;
mod image;
mod limits;
mod supervisor;
mod watch;

use crate::{
	agent::lock,
	bench::hash::hash,
	host::store::{Store, now_ms},
};
use codec::{Decode, Encode};
use engine::{Engine, brief};
use image::Reference;
use kaisar_primitives::{
	AgentKey, ClientKey, DeployFailure, MAX_HOURS, OrderId, WorkerId,
	agent::{ContainerReport, ContainerState, Deployment, OrderRequest},
};
use limits::Machine;
use sp_core::H256;
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::{Path, PathBuf},
	sync::{Arc, Mutex, Once, atomic::AtomicBool},
	time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
use watch::Watch;

/// Labels of the containers: the agent's key, the chain, the worker, the order, and the ports that are
/// let through, the default first (not every engine tells later what it was told).
pub(crate) const LABEL_AGENT: &str = "kaisar.agent";
const LABEL_GENESIS: &str = "kaisar.genesis";
const LABEL_WORKER: &str = "kaisar.worker";
const LABEL_ORDER: &str = "kaisar.order";
const LABEL_PORTS: &str = "kaisar.ports";

/// Most workers of whom an agent runs containers.
const MAX_WORKERS: usize = 16;
/// Longest that a container is kept by the agent's own clock, whatever is asked: the longest order and a
/// week.
const MAX_KEEP_MS: u64 = (MAX_HOURS as u64 + 7 * 24) * 3_600 * 1_000;
/// By how much a clock has to move to be written down again.
const CLOCK_MOVED_MS: u64 = 20_000;
/// Most capabilities in a request, and the longest name of one.
const MAX_CAPABILITIES: usize = 16;
const MAX_CAPABILITY: usize = 32;
/// How often the agent looks for what should not be there.
const SWEEP: Duration = Duration::from_secs(5);
/// How many of those looks go by between two searches for programs on the GPUs.
const GPU_SWEEPS: u32 = 12;

/// Which engine runs the containers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Choice {
	/// None: orders are answered with a failure, so that customers get their money back at once.
	#[default]
	Off,
	/// The first that there is of `DOCKER_HOST`, `/var/run/docker.sock`, `/run/podman/podman.sock`.
	Find,
	/// The one that listens on this socket.
	Socket(PathBuf),
}

/// How long the agent waits before it gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
	/// An engine that does not answer while an order is to be deployed.
	pub engine: Duration,
	/// A registry that sends nothing.
	pub stalled: Duration,
	/// A pull as a whole.
	pub pull: Duration,
	/// A container that runs and does not answer.
	pub healthy: Duration,
	/// Containers of which nobody has said anything since the agent started.
	pub unclaimed: Duration,
}

impl Default for Patience {
	fn default() -> Self {
		Self {
			engine: Duration::from_secs(60),
			stalled: Duration::from_secs(120),
			pull: Duration::from_secs(3_600),
			healthy: Duration::from_secs(300),
			unclaimed: Duration::from_secs(120),
		}
	}
}

/// How containers are run.
#[derive(Clone, Debug)]
pub struct Settings {
	/// The engine.
	pub engine: Choice,
	/// The engine's network that containers are in. `bridge` gives each its own address; `host` is for
	/// engines that cannot make networks, and shows a container all that listens on the machine.
	pub network: String,
	/// Whether containers of others are stopped while a customer pays.
	pub exclusive: bool,
	/// When to give up.
	pub patience: Patience,
}

impl Default for Settings {
	fn default() -> Self {
		Self {
			engine: Choice::Off,
			network: "bridge".into(),
			exclusive: false,
			patience: Patience::default(),
		}
	}
}

/// Where an order is served, and to whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
	/// The chain.
	pub genesis: H256,
	/// The worker.
	pub worker: WorkerId,
	/// The key that may connect.
	pub client: ClientKey,
	/// The container's ports and where each is reached, the default first; none while it does not
	/// answer.
	pub ports: Vec<(u16, SocketAddr)>,
	/// Until when the customer may connect; `None` while its time has not begun.
	pub customer_until: Option<Instant>,
}

/// A worker of a chain.
type Key = (H256, WorkerId);

/// An order that is wanted, as it is kept over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Wanted {
	genesis: H256,
	worker: WorkerId,
	/// As it was first told.
	deployment: Deployment,
	/// When the agent removes the container by itself, by [`now_ms`].
	keep_until: u64,
	/// When the customer's time is over.
	serve_until: Option<u64>,
	/// Whether it ever ran.
	ran: bool,
	/// How it ended, once it has.
	ended: Option<ContainerState>,
}

/// How a worker's container is, as the supervisor saw it.
#[derive(Clone, Debug)]
struct View {
	order: Option<OrderId>,
	state: ContainerState,
	ports: Vec<(u16, SocketAddr)>,
	/// The container, if there is one.
	id: Option<String>,
}

/// A worker that the node asked about.
struct Slot {
	wanted: Option<Wanted>,
	view: View,
	/// Counts how often another thing was wanted.
	generation: tokio::sync::watch::Sender<u64>,
}

/// What the tasks of [`Containers`] share.
struct Shared {
	/// The agent's key in hex: several agents may use one engine.
	agent: String,
	settings: Settings,
	machine: Machine,
	found: Mutex<Option<Arc<Engine>>>,
	/// Cleared once the engine's storage turns out not to limit what a container writes.
	quota: AtomicBool,
	slots: Mutex<BTreeMap<Key, Slot>>,
	watch: Watch,
	kept: Store,
	pulled: image::Pulled,
	new: mpsc::Sender<Key>,
}

/// The containers of an agent's workers.
#[derive(Clone)]
pub struct Containers(Arc<Shared>);

/// The work behind [`Containers`]: nothing is done before it is run.
pub(crate) struct Work {
	shared: Arc<Shared>,
	new: mpsc::Receiver<Key>,
}

impl Containers {
	/// Reads what was wanted before the last stop. The work has to be run for anything to happen.
	pub(crate) fn new(
		settings: Settings,
		agent: AgentKey,
		data_dir: &Path,
	) -> std::io::Result<(Self, Work)> {
		let (new, added) = mpsc::channel(2 * MAX_WORKERS);
		let kept = Store::new(data_dir, "orders")?;
		let mut slots = BTreeMap::new();
		for (_, wanted) in kept.load::<Wanted>().into_iter().take(MAX_WORKERS) {
			let key = (wanted.genesis, wanted.worker);
			let _ = new.try_send(key);
			slots.insert(key, Slot::new(Some(wanted)));
		}
		let shared = Arc::new(Shared {
			agent: hex::encode(agent),
			machine: Machine::detect(),
			found: Mutex::default(),
			quota: AtomicBool::new(true),
			slots: Mutex::new(slots),
			watch: Watch::default(),
			kept,
			pulled: image::Pulled::new(data_dir)?,
			new,
			settings,
		});
		match (shared.engine(), &shared.settings.engine) {
			(Some(engine), _) => {
				tracing::info!(socket = %engine.socket().display(), "the container engine");
			}
			(None, Choice::Off) => tracing::info!("no container engine is used: no orders"),
			(None, _) => tracing::warn!(
				"no container engine was found: orders cannot be deployed. Install Docker or Podman, or \
				 name its socket with --engine"
			),
		}
		let work = Work {
			shared: shared.clone(),
			new: added,
		};
		Ok((Self(shared), work))
	}

	/// Takes what is wanted of a worker and says how it is.
	pub fn order(&self, request: OrderRequest) -> ContainerReport {
		let shared = &self.0;
		let key = (request.genesis, request.worker);
		let mut slots = lock(&shared.slots);
		if !slots.contains_key(&key) {
			if request.deployment.is_none() && shared.engine().is_none() {
				return View::absent().report();
			}
			if slots.len() >= MAX_WORKERS {
				slots.retain(|_, slot| !slot.is_idle());
			}
			if slots.len() >= MAX_WORKERS || shared.new.try_send(key).is_err() {
				let mut view = View::absent();
				view.order = request.deployment.map(|deployment| deployment.order);
				view.state = unknown("this agent has too many workers");
				return view.report();
			}
			slots.insert(key, Slot::new(None));
		}
		let Some(slot) = slots.get_mut(&key) else {
			return View::absent().report();
		};
		let kept = match (request.deployment, &mut slot.wanted) {
			(None, None) => false,
			(None, wanted @ Some(_)) => {
				*wanted = None;
				slot.changed(unknown("it is being removed"));
				true
			}
			(Some(deployment), Some(wanted)) if wanted.deployment.order == deployment.order => {
				wanted.clocks(&deployment)
			}
			(Some(deployment), wanted) => {
				let order = deployment.order;
				*wanted = Some(Wanted::new(key, deployment));
				slot.changed(unknown("not looked at yet"));
				slot.view.order = Some(order);
				true
			}
		};
		if kept {
			shared.keep(&key, slot.wanted.as_ref());
		}
		slot.view.report()
	}

	/// Whether the machine is a customer's now.
	pub(crate) fn are_rented(&self) -> bool {
		self.0.rented().is_some()
	}

	/// Where an order is served; `None` if it is none of this agent's, or over.
	///
	/// It has ports from when it answers until it is known not to: an engine that is restarted does not
	/// cut the customer off.
	pub fn served(&self, order: OrderId) -> Option<Served> {
		let now = now_ms();
		let until = |until: u64| Instant::now() + Duration::from_millis(until.saturating_sub(now));
		let slots = lock(&self.0.slots);
		slots.values().find_map(|slot| {
			let wanted = slot.wanted.as_ref().filter(|wanted| {
				wanted.deployment.order == order
					&& wanted.keep_until > now
					&& wanted.ended.is_none()
			})?;
			Some(Served {
				genesis: wanted.genesis,
				worker: wanted.worker,
				client: wanted.deployment.client,
				ports: slot.view.ports.clone(),
				customer_until: wanted.serve_until.map(until),
			})
		})
	}
}

impl Work {
	/// Runs the supervisors until it is dropped. Containers go on without them.
	pub(crate) async fn run(mut self) {
		let mut tasks = JoinSet::new();
		tasks.spawn(watch::follow(self.shared.clone()));
		tasks.spawn(sweep(self.shared.clone()));
		while let Some(key) = self.new.recv().await {
			while tasks.try_join_next().is_some() {}
			tasks.spawn(supervisor::supervise(self.shared.clone(), key));
		}
	}
}

impl Shared {
	/// The engine, looked for again for as long as there is none.
	fn engine(&self) -> Option<Arc<Engine>> {
		let mut found = lock(&self.found);
		if found.is_none() {
			let socket = match &self.settings.engine {
				Choice::Off => None,
				Choice::Socket(path) => Some(path.clone()),
				Choice::Find => find_socket(),
			};
			*found = socket.map(|path| Arc::new(Engine::new(&path)));
		}
		found.clone()
	}

	/// Keeps what is wanted of a worker over a restart.
	fn keep(&self, (genesis, worker): &Key, wanted: Option<&Wanted>) {
		let name = hash(
			"kaisar/agent 2026 order file",
			&[&(genesis, worker).encode()],
		);
		match wanted {
			// It is not forgotten when its time is over: the container has to go.
			Some(wanted) => self.kept.put(&name, u64::MAX, wanted),
			None => self.kept.remove(&name),
		}
	}

	/// What is wanted of a worker now, and the count of changes at which it is. What nobody wants any
	/// more by the agent's own clock is forgotten. `None` if the worker itself is.
	fn wanted(&self, key: &Key) -> Option<(u64, Option<Wanted>)> {
		let mut slots = lock(&self.slots);
		let slot = slots.get_mut(key)?;
		if let Some(wanted) = &slot.wanted
			&& wanted.keep_until <= now_ms()
		{
			tracing::info!(
				order = wanted.deployment.order,
				"its time is over, and nobody said otherwise"
			);
			slot.wanted = None;
			slot.changed(unknown("it is being removed"));
			self.keep(key, None);
		}
		let generation = *slot.generation.borrow();
		Some((generation, slot.wanted.clone()))
	}

	/// Hears when something else is wanted of a worker.
	fn changes(&self, key: &Key) -> Option<tokio::sync::watch::Receiver<u64>> {
		lock(&self.slots)
			.get(key)
			.map(|slot| slot.generation.subscribe())
	}

	/// Changes a worker's slot, unless something else is wanted by now.
	fn update(&self, key: &Key, generation: u64, change: impl FnOnce(&mut Slot) -> bool) {
		let mut slots = lock(&self.slots);
		if let Some(slot) = slots.get_mut(key)
			&& *slot.generation.borrow() == generation
			&& change(slot)
		{
			self.keep(key, slot.wanted.as_ref());
		}
	}

	/// Ids of the containers that run for orders; `None` where there is no order.
	fn rented(&self) -> Option<Vec<String>> {
		let slots = lock(&self.slots);
		let mut rented = slots
			.values()
			.filter(|slot| slot.wanted.as_ref().is_some_and(|it| it.ended.is_none()))
			.peekable();
		rented.peek()?;
		Some(rented.filter_map(|slot| slot.view.id.clone()).collect())
	}

	/// Whether a container is of a worker that this agent knows of.
	fn knows(&self, genesis: &str, worker: &str) -> bool {
		lock(&self.slots).keys().any(|key| {
			let (known_genesis, known_worker) = labels_of(key);
			known_genesis == genesis && known_worker == worker
		})
	}
}

/// The values of [`LABEL_GENESIS`] and [`LABEL_WORKER`].
fn labels_of((genesis, worker): &Key) -> (String, String) {
	(hex::encode(genesis), worker.to_string())
}

impl Slot {
	fn new(wanted: Option<Wanted>) -> Self {
		let mut view = View::absent();
		view.state = unknown("not looked at yet");
		view.order = wanted.as_ref().map(|wanted| wanted.deployment.order);
		Self {
			wanted,
			view,
			generation: tokio::sync::watch::Sender::new(0),
		}
	}

	/// Another thing is wanted from now on.
	fn changed(&mut self, state: ContainerState) {
		self.view.state = state;
		self.view.ports.clear();
		self.generation.send_modify(|generation| *generation += 1);
	}

	fn is_idle(&self) -> bool {
		self.wanted.is_none() && self.view.state == ContainerState::Absent
	}
}

impl View {
	fn absent() -> Self {
		Self {
			order: None,
			state: ContainerState::Absent,
			ports: Vec::new(),
			id: None,
		}
	}

	fn report(&self) -> ContainerReport {
		ContainerReport {
			order: self.order,
			state: self.state.clone(),
		}
	}
}

impl Wanted {
	/// What a request asks for. What cannot be deployed has ended before it began.
	fn new((genesis, worker): Key, mut deployment: Deployment) -> Self {
		let ended = inadmissible(&deployment).map(|(failure, message)| failed(failure, &message));
		if ended.is_some() {
			// It may be of any length, and is not needed any more.
			deployment.image.clear();
			deployment.capabilities.clear();
		}
		let mut wanted = Self {
			genesis,
			worker,
			keep_until: 0,
			serve_until: None,
			ran: false,
			ended,
			deployment,
		};
		let deployment = wanted.deployment.clone();
		wanted.clocks(&deployment);
		wanted
	}

	/// Moves the clocks; whether by enough to be written down.
	fn clocks(&mut self, deployment: &Deployment) -> bool {
		let now = now_ms();
		let keep = now + deployment.keep_ms.min(MAX_KEEP_MS);
		let serve = deployment.serve_ms.map(|ms| now + ms.min(MAX_KEEP_MS));
		let moved = self.keep_until.abs_diff(keep) > CLOCK_MOVED_MS
			|| match (self.serve_until, serve) {
				(Some(before), Some(after)) => before.abs_diff(after) > CLOCK_MOVED_MS,
				(before, after) => before != after,
			};
		self.keep_until = keep;
		self.serve_until = serve;
		self.deployment.client = deployment.client;
		moved
	}
}

/// Why a deployment is not even tried.
fn inadmissible(deployment: &Deployment) -> Option<(DeployFailure, String)> {
	if let Err(why) = Reference::parse(&deployment.image) {
		return Some((DeployFailure::ImageUnavailable, why.into()));
	}
	let named = &deployment.capabilities;
	if named.len() > MAX_CAPABILITIES || named.iter().any(|name| name.len() > MAX_CAPABILITY) {
		return Some((DeployFailure::StartFailed, "too many capabilities".into()));
	}
	if let Err(why) = limits::capabilities(named) {
		return Some((DeployFailure::StartFailed, why));
	}
	(deployment.port == Some(0)).then(|| (DeployFailure::Unhealthy, "0 is no port".into()))
}

fn unknown(message: &str) -> ContainerState {
	ContainerState::Unknown {
		message: brief(message),
	}
}

fn failed(failure: DeployFailure, message: &str) -> ContainerState {
	ContainerState::Failed {
		failure,
		message: brief(message),
	}
}

/// The socket of an engine on this machine.
fn find_socket() -> Option<PathBuf> {
	let named = std::env::var("DOCKER_HOST").ok();
	let named = named.as_deref().and_then(|host| {
		let path = host.strip_prefix("unix://");
		if path.is_none() && !host.is_empty() {
			static SAID: Once = Once::new();
			SAID.call_once(|| {
				tracing::warn!(
					host,
					"DOCKER_HOST is no socket of this machine and is not used"
				);
			});
		}
		path
	});
	// What is named is taken whether it is there yet or not.
	named.map(PathBuf::from).or_else(|| {
		["/var/run/docker.sock", "/run/podman/podman.sock"]
			.map(PathBuf::from)
			.into_iter()
			.find(|path| path.exists())
	})
}

/// Removes what nobody claims, and stops what others run while a customer pays.
async fn sweep(shared: Arc<Shared>) {
	let begun = Instant::now();
	let mut unclaimed = true;
	let mut sweeps = 0u32;
	let mut seen = Vec::new();
	loop {
		tokio::time::sleep(SWEEP.min(shared.settings.patience.unclaimed)).await;
		if unclaimed && begun.elapsed() >= shared.settings.patience.unclaimed {
			unclaimed = supervisor::remove_unclaimed(&shared).await.is_err();
		}
		if !shared.settings.exclusive {
			continue;
		}
		let Some(rented) = shared.rented() else {
			continue;
		};
		if let Err(fault) = foreign::stop_others(&shared).await {
			tracing::debug!(%fault, "cannot look for other containers");
		}
		sweeps = sweeps.wrapping_add(1);
		if shared.machine.gpus.is_some() && sweeps % GPU_SWEEPS == 1 {
			let programs = tokio::task::spawn_blocking(move || {
				foreign::gpu_programs(Path::new("/proc"), &rented)
			});
			if let Ok(programs) = programs.await
				&& programs != seen
			{
				for (pid, name) in &programs {
					tracing::warn!(
						pid,
						name,
						"a customer pays for the GPUs, and another program uses them"
					);
				}
				seen = programs;
			}
		}
	}
}
