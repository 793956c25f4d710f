//! The state that the tasks of the containers share: the desired and the actual state of each worker's
//! container.

use super::{
	brief::brief,
	engine::Engine,
	image::{Pulled, Reference},
	limits, network,
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
	DeployFailure, MAX_HOURS, MAX_PORTS, MAX_WORKLOAD, MAX_WORKLOAD_ITEMS, OrderId, WorkerId,
	agent::{ContainerReport, ContainerState, Deployment},
};
use parking_lot::Mutex;
use sp_core::H256;
use std::{
	collections::BTreeMap,
	net::{Ipv4Addr, SocketAddr},
	path::PathBuf,
	sync::{Arc, Once, atomic::AtomicBool},
	time::Duration,
};
use tokio::sync::mpsc;

/// Label with the agent's key.
pub(super) const LABEL_AGENT: &str = "kaisar.agent";
/// Label with the chain.
pub(super) const LABEL_GENESIS: &str = "kaisar.genesis";
/// Label with the worker.
pub(super) const LABEL_WORKER: &str = "kaisar.worker";
/// Label with the order.
pub(super) const LABEL_ORDER: &str = "kaisar.order";
/// Label with the ports to let through, the default first, since not every engine returns them later.
pub(super) const LABEL_PORTS: &str = "kaisar.ports";

/// Maximum time for which the agent keeps a container by its own clock, whatever a request asks: the longest
/// order and a week.
const MAX_KEEP_MS: u64 = (MAX_HOURS as u64 + 7 * 24) * 3_600 * 1_000;
/// Smallest move of a clock that is stored.
const CLOCK_MOVED_MS: u64 = 20_000;
/// Maximum number of capabilities in a request.
const MAX_CAPABILITIES: usize = 16;
/// Maximum length of a capability's name.
const MAX_CAPABILITY: usize = 32;

/// Choice of the engine that runs the containers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum EngineChoice {
	/// No engine: orders fail, so that customers get their money back at once.
	#[default]
	Off,
	/// The first that exists of `DOCKER_HOST`, `/var/run/docker.sock`, `/run/podman/podman.sock`.
	Find,
	/// The engine that listens on this socket.
	Socket(PathBuf),
}

/// Timeouts of the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
	/// Silence of the engine while an order waits for its deployment.
	pub engine: Duration,
	/// Silence of a registry during a pull.
	pub stalled: Duration,
	/// A whole pull.
	pub pull: Duration,
	/// Silence of a running container, unless its order sets a deadline.
	pub healthy: Duration,
	/// Time from the agent's start to the removal of containers that no request named.
	pub unclaimed: Duration,
	/// Interval of looks at the firewall table of the containers' networks.
	pub guard: Duration,
}

impl Default for Timeouts {
	fn default() -> Self {
		Self {
			engine: Duration::from_secs(60),
			stalled: Duration::from_secs(120),
			pull: Duration::from_secs(3_600),
			healthy: Duration::from_secs(300),
			unclaimed: Duration::from_secs(120),
			guard: Duration::from_secs(10),
		}
	}
}

/// Settings of the container supervisor.
#[derive(Clone, Debug)]
pub struct Settings {
	/// The engine.
	pub engine: EngineChoice,
	/// The engine's network for containers, in place of one for each order. `bridge` gives each its own
	/// address; `host` is for engines that cannot create networks, and lets a container reach every service
	/// that listens on the machine. Needs `allow_lan`.
	pub network: Option<String>,
	/// Containers may reach the machine and its network. Otherwise the agent serves no orders if it cannot
	/// keep them out.
	pub allow_lan: bool,
	/// The engine may be of any version, and NVIDIA's toolkit of an unknown one.
	pub allow_old_engine: bool,
	/// Resolvers of containers. Empty: public ones, or the engine's if containers may reach the network.
	pub resolvers: Vec<Ipv4Addr>,
	/// Stops containers of others while a customer pays.
	pub exclusive: bool,
	/// Timeouts.
	pub timeouts: Timeouts,
}

impl Default for Settings {
	fn default() -> Self {
		Self {
			engine: EngineChoice::Off,
			network: None,
			allow_lan: false,
			allow_old_engine: false,
			resolvers: Vec::new(),
			exclusive: false,
			timeouts: Timeouts::default(),
		}
	}
}

/// A worker of a chain.
pub(super) type Key = (H256, WorkerId);

/// Desired state of a worker: an order's deployment. Stored for the next start.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct DesiredState {
	pub genesis: H256,
	pub worker: WorkerId,
	/// First deployment of the order, with the newest client key.
	pub deployment: Deployment,
	/// Time at which the agent removes the container by itself, by [`now_ms`].
	pub keep_until: u64,
	/// End of the customer's time, by [`now_ms`].
	pub serve_until: Option<u64>,
	/// End of the time for the container's first answer, by [`now_ms`], if the order sets it.
	pub answer_by: Option<u64>,
	/// The container ran once.
	pub ran: bool,
	/// Final state, once the order has ended or failed here.
	pub ended: Option<ContainerState>,
}

/// Actual state of a worker's container, from the supervisor's last look.
#[derive(Clone, Debug)]
pub(super) struct ActualState {
	pub order: Option<OrderId>,
	pub state: ContainerState,
	pub ports: Vec<(u16, SocketAddr)>,
	/// Id of the container, if it exists.
	pub id: Option<String>,
}

/// A worker that the node asked about.
pub(super) struct WorkerSlot {
	pub desired: Option<DesiredState>,
	pub actual: ActualState,
	/// Counts the changes of the desired state.
	pub generation: tokio::sync::watch::Sender<u64>,
}

/// State that the tasks of [`Containers`](super::Containers) share.
pub(super) struct SupervisorState {
	/// The agent's key in hex: several agents may use one engine.
	pub agent: String,
	pub settings: Settings,
	/// GPUs that the agent proves.
	pub gpus: Arc<Pool>,
	/// The engine. Locked after the slots, if both are locked.
	pub found: Mutex<Option<Arc<Engine>>>,
	/// Tenant of the disk that gives way to orders.
	pub room: Arc<dyn Room>,
	/// The engine's storage can limit a container's data, as far as is known.
	pub quota: AtomicBool,
	pub slots: Mutex<BTreeMap<Key, WorkerSlot>>,
	pub watch: Arc<Watch>,
	pub kept: Store,
	pub pulled: Pulled,
	pub new: mpsc::Sender<Key>,
	/// Log of the engine's answers.
	pub report: Arc<Report>,
	/// Firewall table of the containers' networks.
	pub firewall: network::Firewall,
}

impl SupervisorState {
	/// Returns the engine. Searches for it at each call until it is found.
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

	/// Stores the desired state of a worker for the next start. The caller holds the lock of the slots, so
	/// that the file has the last change.
	pub fn keep(&self, (genesis, worker): &Key, desired: Option<&DesiredState>) {
		let name = key("order file", &[&(genesis, worker).encode()]);
		match desired {
			// Stored without an expiry date: an expired order's container must still be removed.
			Some(desired) => self.kept.put(&name, u64::MAX, desired),
			None => self.kept.remove(&name),
		}
	}

	/// Returns the desired state of a worker and its count of changes. Drops a deployment that expired by
	/// the agent's own clock. `None` if the worker is not known any more.
	pub fn desired(&self, key: &Key) -> Option<(u64, Option<DesiredState>)> {
		let mut slots = self.slots.lock();
		let slot = slots.get_mut(key)?;
		if let Some(desired) = &slot.desired
			&& desired.keep_until <= now_ms()
		{
			tracing::info!(
				order = desired.deployment.order,
				"the order's time is over by this agent's clock, and the node did not extend it: removing its container"
			);
			slot.desired = None;
			slot.changed(unknown("the container is being removed"));
			self.keep(key, None);
		}
		let generation = *slot.generation.borrow();
		Some((generation, slot.desired.clone()))
	}

	/// Subscribes to changes of a worker's desired state.
	pub fn changes(&self, key: &Key) -> Option<tokio::sync::watch::Receiver<u64>> {
		self.slots
			.lock()
			.get(key)
			.map(|slot| slot.generation.subscribe())
	}

	/// Changes a worker's slot, unless its desired state has changed since `generation`.
	pub fn update(&self, key: &Key, generation: u64, change: impl FnOnce(&mut WorkerSlot) -> bool) {
		let mut slots = self.slots.lock();
		if let Some(slot) = slots.get_mut(key)
			&& *slot.generation.borrow() == generation
			&& change(slot)
		{
			self.keep(key, slot.desired.as_ref());
		}
	}

	/// Returns the ids of the containers that run for orders; `None` without an order.
	pub fn rented(&self) -> Option<Vec<String>> {
		let slots = self.slots.lock();
		let mut rented = slots
			.values()
			.filter(|slot| slot.desired.as_ref().is_some_and(|it| it.ended.is_none()))
			.peekable();
		rented.peek()?;
		Some(rented.filter_map(|slot| slot.actual.id.clone()).collect())
	}

	/// Returns whether the labels name a worker that this agent knows.
	pub fn knows(&self, genesis: &str, worker: &str) -> bool {
		self.slots.lock().keys().any(|key| {
			let (known_genesis, known_worker) = labels_of(key);
			known_genesis == genesis && known_worker == worker
		})
	}
}

/// Returns the values of [`LABEL_GENESIS`] and [`LABEL_WORKER`].
pub(super) fn labels_of((genesis, worker): &Key) -> (String, String) {
	(hex::encode(genesis), worker.to_string())
}

impl WorkerSlot {
	pub fn new(desired: Option<DesiredState>) -> Self {
		let mut actual = ActualState::absent();
		actual.state = unknown("the container was not inspected yet");
		actual.order = desired.as_ref().map(|desired| desired.deployment.order);
		Self {
			desired,
			actual,
			generation: tokio::sync::watch::Sender::new(0),
		}
	}

	/// Announces a change of the desired state.
	pub fn changed(&mut self, state: ContainerState) {
		self.actual.state = state;
		self.actual.ports.clear();
		self.generation.send_modify(|generation| *generation += 1);
	}

	pub fn is_idle(&self) -> bool {
		self.desired.is_none() && self.actual.state == ContainerState::Absent
	}
}

impl ActualState {
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

impl DesiredState {
	/// Creates the desired state of a request. A deployment that cannot be admitted has already ended.
	pub fn new((genesis, worker): Key, mut deployment: Deployment) -> Self {
		let ended = inadmissible(&deployment).map(|(failure, message)| failed(failure, &message));
		if ended.is_some() {
			// They may have any length, and are no longer needed.
			deployment.image.clear();
			deployment.args.clear();
			deployment.env.clear();
			deployment.ports.clear();
			deployment.capabilities.clear();
		}
		let mut desired = Self {
			genesis,
			worker,
			keep_until: 0,
			serve_until: None,
			answer_by: deployment
				.answer_ms
				.map(|ms| now_ms() + ms.min(MAX_KEEP_MS)),
			ran: false,
			ended,
			deployment,
		};
		let deployment = desired.deployment.clone();
		desired.clocks(&deployment);
		desired
	}

	/// Moves the clocks and takes the client's key. Returns whether the change must be stored.
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

/// Returns the reason why a deployment is refused without a try.
pub(super) fn inadmissible(deployment: &Deployment) -> Option<(DeployFailure, String)> {
	if let Err(why) = Reference::parse(&deployment.image) {
		return Some((DeployFailure::ImageUnavailable, why.into()));
	}
	let named = &deployment.capabilities;
	if named.len() > MAX_CAPABILITIES || named.iter().any(|name| name.len() > MAX_CAPABILITY) {
		return Some((
			DeployFailure::ImageUnavailable,
			format!(
				"a template names at most {MAX_CAPABILITIES} capabilities of at most {MAX_CAPABILITY} bytes each"
			),
		));
	}
	if let Err(why) = limits::capabilities(named) {
		return Some((DeployFailure::ImageUnavailable, why));
	}
	let Deployment {
		args, env, ports, ..
	} = deployment;
	let items = || args.iter().chain(env);
	let bytes: usize = items().map(String::len).sum();
	if args.len().max(env.len()) > MAX_WORKLOAD_ITEMS as usize || bytes > MAX_WORKLOAD as usize {
		return Some((
			DeployFailure::ImageUnavailable,
			format!(
				"an order has at most {MAX_WORKLOAD_ITEMS} arguments and as many variables, of {MAX_WORKLOAD} \
				 bytes together"
			),
		));
	}
	let named = |variable: &String| variable.find('=').is_some_and(|end| end > 0);
	if items().any(|item| item.contains('\0')) || !env.iter().all(named) {
		return Some((
			DeployFailure::ImageUnavailable,
			"an argument has a zero byte, or a variable is not NAME=VALUE".into(),
		));
	}
	let differ = |(index, port): (usize, &u16)| *port > 0 && !ports[..index].contains(port);
	let served = ports.len() <= MAX_PORTS as usize && ports.iter().enumerate().all(differ);
	(!served).then(|| {
		(
			DeployFailure::Unhealthy,
			format!("an order names at most {MAX_PORTS} ports, none of them 0 and none twice"),
		)
	})
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

/// Finds the socket of an engine on this machine.
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
	// A named socket is used even if it does not exist yet.
	named.map(PathBuf::from).or_else(|| {
		["/var/run/docker.sock", "/run/podman/podman.sock"]
			.map(PathBuf::from)
			.into_iter()
			.find(|path| path.exists())
	})
}

#[cfg(test)]
mod tests {
	use super::*;
	use kaisar_primitives::agent::ContainerLimits;
	use sp_core::ed25519;

	#[test]
	fn a_workload_beyond_the_limits_fails_without_a_try() {
		let with = |change: &dyn Fn(&mut Deployment)| {
			let mut deployment = Deployment {
				order: 1,
				image: "nginx".into(),
				args: vec!["a".into(); 64],
				env: vec!["A=1".into(); 64],
				ports: (1..=8).collect(),
				capabilities: Vec::new(),
				client: ed25519::Public::default(),
				limits: ContainerLimits::default(),
				answer_ms: None,
				serve_ms: None,
				keep_ms: 1,
			};
			change(&mut deployment);
			inadmissible(&deployment)
		};
		assert_eq!(with(&|_| ()), None);
		assert_eq!(with(&|it| it.args = vec!["a".repeat(2_048 - 3 * 64)]), None);
		let image = DeployFailure::ImageUnavailable;
		let unhealthy = DeployFailure::Unhealthy;
		type Change<'a> = &'a dyn Fn(&mut Deployment);
		let cases: [(Change, _, _); 9] = [
			(&|it| it.args.push("a".into()), image, "64 arguments"),
			(&|it| it.env.push("A=1".into()), image, "as many variables"),
			(
				&|it| it.args = vec!["a".repeat(2_049 - 3 * 64)],
				image,
				"2048 bytes",
			),
			(&|it| it.args[0] = "\0".into(), image, "zero byte"),
			(&|it| it.env[0] = "A".into(), image, "NAME=VALUE"),
			(&|it| it.env[0] = "=A".into(), image, "NAME=VALUE"),
			(&|it| it.ports.push(9), unhealthy, "at most 8 ports"),
			(&|it| it.ports[1] = 0, unhealthy, "none of them 0"),
			(&|it| it.ports[1] = 1, unhealthy, "none twice"),
		];
		for (change, expected, says) in cases {
			let (failure, message) = with(change).expect(says);
			assert_eq!(failure, expected, "{message}");
			assert!(message.contains(says), "{message}");
		}
	}
}
