//! The state that the tasks of the containers share: what is wanted of each worker, and how its
//! container is.

use super::{
	brief::brief,
	engine::Engine,
	image::{Pulled, Reference},
	limits,
	room::Room,
	watch::Watch,
};
use crate::{
	gpu::Pool,
	host::{
		report::Report,
		store::{Store, now_ms},
	},
	trial::hash::key,
};
use codec::{Decode, Encode};
use kaisar_primitives::{
	DeployFailure, MAX_HOURS, OrderId, WorkerId,
	agent::{ContainerReport, ContainerState, Deployment},
};
use parking_lot::Mutex;
use sp_core::H256;
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::PathBuf,
	sync::{Arc, Once, atomic::AtomicBool},
	time::Duration,
};
use tokio::sync::mpsc;

/// Labels of the containers: the agent's key, the chain, the worker, the order, and the ports that are
/// let through, the default first (not every engine tells later what it was told).
pub(super) const LABEL_AGENT: &str = "kaisar.agent";
pub(super) const LABEL_GENESIS: &str = "kaisar.genesis";
pub(super) const LABEL_WORKER: &str = "kaisar.worker";
pub(super) const LABEL_ORDER: &str = "kaisar.order";
pub(super) const LABEL_PORTS: &str = "kaisar.ports";

/// Longest that a container is kept by the agent's own clock, whatever is asked: the longest order and a
/// week.
const MAX_KEEP_MS: u64 = (MAX_HOURS as u64 + 7 * 24) * 3_600 * 1_000;
/// By how much a clock has to move to be written down again.
const CLOCK_MOVED_MS: u64 = 20_000;
/// Most capabilities in a request, and the longest name of one.
const MAX_CAPABILITIES: usize = 16;
const MAX_CAPABILITY: usize = 32;

/// Which engine runs the containers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum EngineChoice {
	/// None: orders are answered with a failure, so that customers get their money back at once.
	#[default]
	Off,
	/// The first that there is of `DOCKER_HOST`, `/var/run/docker.sock`, `/run/podman/podman.sock`.
	Find,
	/// The one that listens on this socket.
	Socket(PathBuf),
}

/// Timeouts of the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
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

impl Default for Timeouts {
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

/// Settings of the container supervisor.
#[derive(Clone, Debug)]
pub struct Settings {
	/// The engine.
	pub engine: EngineChoice,
	/// The engine's network that containers are in. `bridge` gives each its own address; `host` is for
	/// engines that cannot make networks, and shows a container all that listens on the machine.
	pub network: String,
	/// Whether containers of others are stopped while a customer pays.
	pub exclusive: bool,
	/// When to give up.
	pub timeouts: Timeouts,
}

impl Default for Settings {
	fn default() -> Self {
		Self {
			engine: EngineChoice::Off,
			network: "bridge".into(),
			exclusive: false,
			timeouts: Timeouts::default(),
		}
	}
}

/// A worker of a chain.
pub(super) type Key = (H256, WorkerId);

/// An order that is wanted, as it is kept over a restart.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct Wanted {
	pub genesis: H256,
	pub worker: WorkerId,
	/// As it was first told.
	pub deployment: Deployment,
	/// When the agent removes the container by itself, by [`now_ms`].
	pub keep_until: u64,
	/// When the customer's time is over.
	pub serve_until: Option<u64>,
	/// Whether it ever ran.
	pub ran: bool,
	/// The exit, once the container has ended.
	pub ended: Option<ContainerState>,
}

/// How a worker's container is, as the supervisor saw it.
#[derive(Clone, Debug)]
pub(super) struct View {
	pub order: Option<OrderId>,
	pub state: ContainerState,
	pub ports: Vec<(u16, SocketAddr)>,
	/// The container, if there is one.
	pub id: Option<String>,
}

/// A worker that the node asked about.
pub(super) struct Slot {
	pub wanted: Option<Wanted>,
	pub view: View,
	/// Counts how often another thing was wanted.
	pub generation: tokio::sync::watch::Sender<u64>,
}

/// What the tasks of [`Containers`](super::Containers) share.
pub(super) struct Shared {
	/// The agent's key in hex: several agents may use one engine.
	pub agent: String,
	pub settings: Settings,
	/// The GPUs that are proved.
	pub gpus: Arc<Pool>,
	/// Locked last, where the slots are locked too.
	pub found: Mutex<Option<Arc<Engine>>>,
	/// The tenant of the disk that gives way to orders.
	pub room: Arc<dyn Room>,
	/// Cleared once the engine's storage turns out not to limit what a container writes.
	pub quota: AtomicBool,
	pub slots: Mutex<BTreeMap<Key, Slot>>,
	pub watch: Arc<Watch>,
	pub kept: Store,
	pub pulled: Pulled,
	pub new: mpsc::Sender<Key>,
	/// Log of the engine's answers.
	pub report: Arc<Report>,
}

impl Shared {
	/// The engine, looked for again for as long as there is none.
	pub fn engine(&self) -> Option<Arc<Engine>> {
		let mut found = self.found.lock();
		if found.is_none() {
			let socket = match &self.settings.engine {
				EngineChoice::Off => None,
				EngineChoice::Socket(path) => Some(path.clone()),
				EngineChoice::Find => find_socket(),
			};
			*found = socket.map(|path| Arc::new(Engine::new(&path)));
		}
		found.clone()
	}

	/// Keeps what is wanted of a worker over a restart. The slots are locked meanwhile, so that the file is
	/// of the last change.
	pub fn keep(&self, (genesis, worker): &Key, wanted: Option<&Wanted>) {
		let name = key("order file", &[&(genesis, worker).encode()]);
		match wanted {
			// It is not forgotten when its time is over: the container has to go.
			Some(wanted) => self.kept.put(&name, u64::MAX, wanted),
			None => self.kept.remove(&name),
		}
	}

	/// What is wanted of a worker now, and the count of changes at which it is. What nobody wants any
	/// more by the agent's own clock is forgotten. `None` if the worker itself is.
	pub fn wanted(&self, key: &Key) -> Option<(u64, Option<Wanted>)> {
		let mut slots = self.slots.lock();
		let slot = slots.get_mut(key)?;
		if let Some(wanted) = &slot.wanted
			&& wanted.keep_until <= now_ms()
		{
			tracing::info!(
				order = wanted.deployment.order,
				"the order's time is over by this agent's clock, and the node did not extend it: removing its container"
			);
			slot.wanted = None;
			slot.changed(unknown("it is being removed"));
			self.keep(key, None);
		}
		let generation = *slot.generation.borrow();
		Some((generation, slot.wanted.clone()))
	}

	/// Hears when something else is wanted of a worker.
	pub fn changes(&self, key: &Key) -> Option<tokio::sync::watch::Receiver<u64>> {
		self.slots
			.lock()
			.get(key)
			.map(|slot| slot.generation.subscribe())
	}

	/// Changes a worker's slot, unless something else is wanted by now.
	pub fn update(&self, key: &Key, generation: u64, change: impl FnOnce(&mut Slot) -> bool) {
		let mut slots = self.slots.lock();
		if let Some(slot) = slots.get_mut(key)
			&& *slot.generation.borrow() == generation
			&& change(slot)
		{
			self.keep(key, slot.wanted.as_ref());
		}
	}

	/// Ids of the containers that run for orders; `None` where there is no order.
	pub fn rented(&self) -> Option<Vec<String>> {
		let slots = self.slots.lock();
		let mut rented = slots
			.values()
			.filter(|slot| slot.wanted.as_ref().is_some_and(|it| it.ended.is_none()))
			.peekable();
		rented.peek()?;
		Some(rented.filter_map(|slot| slot.view.id.clone()).collect())
	}

	/// Whether a container is of a worker that this agent knows of.
	pub fn knows(&self, genesis: &str, worker: &str) -> bool {
		self.slots.lock().keys().any(|key| {
			let (known_genesis, known_worker) = labels_of(key);
			known_genesis == genesis && known_worker == worker
		})
	}
}

/// The values of [`LABEL_GENESIS`] and [`LABEL_WORKER`].
pub(super) fn labels_of((genesis, worker): &Key) -> (String, String) {
	(hex::encode(genesis), worker.to_string())
}

impl Slot {
	pub fn new(wanted: Option<Wanted>) -> Self {
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
	pub fn changed(&mut self, state: ContainerState) {
		self.view.state = state;
		self.view.ports.clear();
		self.generation.send_modify(|generation| *generation += 1);
	}

	pub fn is_idle(&self) -> bool {
		self.wanted.is_none() && self.view.state == ContainerState::Absent
	}
}

impl View {
	pub fn absent() -> Self {
		Self {
			order: None,
			state: ContainerState::Absent,
			ports: Vec::new(),
			id: None,
		}
	}

	pub fn report(&self) -> ContainerReport {
		ContainerReport {
			order: self.order,
			state: self.state.clone(),
		}
	}
}

impl Wanted {
	/// What a request asks for. What cannot be deployed has ended before it began.
	pub fn new((genesis, worker): Key, mut deployment: Deployment) -> Self {
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

	/// Moves the clocks and takes the client's key; whether that is to be written down.
	pub fn clocks(&mut self, deployment: &Deployment) -> bool {
		let now = now_ms();
		let keep = now + deployment.keep_ms.min(MAX_KEEP_MS);
		let serve = deployment.serve_ms.map(|ms| now + ms.min(MAX_KEEP_MS));
		let moved = self.keep_until.abs_diff(keep) > CLOCK_MOVED_MS
			|| match (self.serve_until, serve) {
				(Some(before), Some(after)) => before.abs_diff(after) > CLOCK_MOVED_MS,
				(before, after) => before != after,
			};
		let another = self.deployment.client != deployment.client;
		self.keep_until = keep;
		self.serve_until = serve;
		self.deployment.client = deployment.client;
		moved || another
	}
}

/// Why a deployment is not even tried.
pub(super) fn inadmissible(deployment: &Deployment) -> Option<(DeployFailure, String)> {
	if let Err(why) = Reference::parse(&deployment.image) {
		return Some((DeployFailure::ImageUnavailable, why.into()));
	}
	let named = &deployment.capabilities;
	if named.len() > MAX_CAPABILITIES || named.iter().any(|name| name.len() > MAX_CAPABILITY) {
		return Some((
			DeployFailure::ImageUnavailable,
			"too many capabilities".into(),
		));
	}
	if let Err(why) = limits::capabilities(named) {
		return Some((DeployFailure::ImageUnavailable, why));
	}
	(deployment.port == Some(0)).then(|| (DeployFailure::Unhealthy, "0 is no port".into()))
}

pub(super) fn unknown(message: &str) -> ContainerState {
	ContainerState::Unknown {
		message: brief(message),
	}
}

pub(super) fn failed(failure: DeployFailure, message: &str) -> ContainerState {
	ContainerState::Failed {
		failure,
		message: brief(message),
	}
}

/// The socket of an engine on this machine.
pub(super) fn find_socket() -> Option<PathBuf> {
	let named = std::env::var("DOCKER_HOST").ok();
	let named = named.as_deref().and_then(|host| {
		let path = host.strip_prefix("unix://");
		if path.is_none() && !host.is_empty() {
			static SAID: Once = Once::new();
			SAID.call_once(|| {
				tracing::warn!(
					host,
					"ignoring DOCKER_HOST: not a local socket (unix://PATH)"
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
