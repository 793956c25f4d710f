//! # Containers
//!
//! A customer rents a container on the worker's machine. The node sends the *desired state* as an
//! [`OrderRequest`] every block or two; the agent reconciles the machine with it and reports the actual
//! state. No change is lost in between: after a restart of the node, the agent, the engine or the machine,
//! the next request is compared with the running containers.
//!
//! 1. A request with a [`Deployment`](kaisar_primitives::agent::Deployment) comes. Its image is pulled if
//!    the engine does not have it, and a container is created with labels that name its owner, with the
//!    order's arguments, environment and ports, within the order's limits and the machine's, without
//!    capabilities, mounts or privileges ([`limits`]).
//! 2. Its health check or its first port answers: it is `Running`. Customers and checkers are admitted
//!    ([`Containers::served`]).
//! 3. A container that was stopped or removed from outside is started again. One that ended by itself is
//!    reported as ended ([`watch`]).
//! 4. A request without a deployment, or with another one, comes, or the deployment expires by the agent's
//!    own clock: the container is stopped and removed with all its data.
//!
//! A container is on a network of its own, from which it reaches the public Internet and nothing more
//! ([`network`]).
//!
//! The first deployment of an order stands; later requests only move its clocks. So an edited template does
//! not remove a running container.
//!
//! `docs/containers.md` describes a provider's setup, and what a container may and may not do.

mod brief;
mod engine;
mod foreign;
mod image;
mod inspect;
mod layers;
mod limits;
mod network;
mod ping;
mod room;
mod run;
mod state;
mod supervisor;
mod sweep;
mod versions;
mod watch;

use crate::{
	gpu::Pool,
	host::{
		report::Report,
		store::{Store, now_ms},
	},
};
use kaisar_primitives::{
	AgentKey, ClientKey, OrderId, WorkerId,
	agent::{ContainerReport, OrderRequest},
};
use parking_lot::Mutex;
pub use room::Room;
use sp_core::H256;
use state::{ActualState, DesiredState, Key, LABEL_AGENT, SupervisorState, WorkerSlot, unknown};
pub use state::{EngineChoice, Settings, Timeouts};
use std::{
	collections::BTreeMap,
	net::SocketAddr,
	path::Path,
	sync::{Arc, atomic::AtomicBool},
	time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};
use watch::Watch;

/// Maximum number of workers whose containers an agent runs.
const MAX_WORKERS: usize = 16;

/// Address of an order's container, and the client that may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Served {
	/// The chain.
	pub genesis: H256,
	/// The worker.
	pub worker: WorkerId,
	/// Key that may connect.
	pub client: ClientKey,
	/// Ports of the container and their addresses, the default first; empty while it does not answer.
	pub ports: Vec<(u16, SocketAddr)>,
	/// End of the customer's time; `None` before its start.
	pub customer_until: Option<Instant>,
}

/// The containers of an agent's workers.
#[derive(Clone)]
pub struct Containers(Arc<SupervisorState>);

/// The work behind [`Containers`], which starts only when it is run.
pub(crate) struct Work {
	shared: Arc<SupervisorState>,
	new: mpsc::Receiver<Key>,
}

impl Containers {
	/// Loads the desired states from before the last stop. Nothing happens until the work is run.
	pub(crate) fn new(
		settings: Settings,
		agent: AgentKey,
		data_dir: &Path,
		gpus: Arc<Pool>,
		room: Arc<dyn Room>,
		report: Arc<Report>,
	) -> std::io::Result<(Self, Work)> {
		let (new, added) = mpsc::channel(2 * MAX_WORKERS);
		let kept = Store::new(data_dir, "orders")?;
		let mut slots = BTreeMap::new();
		for (_, desired) in kept.load::<DesiredState>(MAX_WORKERS) {
			let key = (desired.genesis, desired.worker);
			let _ = new.try_send(key);
			slots.insert(key, WorkerSlot::new(Some(desired)));
		}
		let shared = Arc::new(SupervisorState {
			agent: hex::encode(agent),
			gpus,
			found: Mutex::default(),
			room,
			quota: AtomicBool::new(true),
			slots: Mutex::new(slots),
			watch: Arc::new(Watch::default()),
			kept,
			pulled: image::Pulled::new(data_dir)?,
			new,
			settings,
			report,
			firewall: network::Firewall::default(),
		});
		let work = Work {
			shared: shared.clone(),
			new: added,
		};
		Ok((Self(shared), work))
	}

	/// Takes the desired state of a worker and returns its actual state.
	pub fn order(&self, request: OrderRequest) -> ContainerReport {
		let shared = &self.0;
		let key = (request.genesis, request.worker);
		let mut slots = shared.slots.lock();
		if !slots.contains_key(&key) {
			if request.deployment.is_none() && shared.engine().is_none() {
				return ActualState::absent().report();
			}
			if slots.len() >= MAX_WORKERS {
				slots.retain(|_, slot| !slot.is_idle());
			}
			if slots.len() >= MAX_WORKERS || shared.new.try_send(key).is_err() {
				let mut actual = ActualState::absent();
				actual.order = request.deployment.map(|deployment| deployment.order);
				actual.state = unknown(&format!(
					"this agent serves too many workers (limit: {MAX_WORKERS}); run another agent for this one"
				));
				return actual.report();
			}
			slots.insert(key, WorkerSlot::new(None));
		}
		let Some(slot) = slots.get_mut(&key) else {
			return ActualState::absent().report();
		};
		let kept = match (request.deployment, &mut slot.desired) {
			(None, None) => false,
			(None, desired @ Some(_)) => {
				*desired = None;
				slot.changed(unknown("the container is being removed"));
				true
			}
			(Some(deployment), Some(desired)) if desired.deployment.order == deployment.order => {
				desired.clocks(&deployment)
			}
			(Some(deployment), desired) => {
				let order = deployment.order;
				*desired = Some(DesiredState::new(key, deployment));
				slot.changed(unknown("the container was not inspected yet"));
				slot.actual.order = Some(order);
				true
			}
		};
		if kept {
			shared.keep(&key, slot.desired.as_ref());
		}
		slot.actual.report()
	}

	/// Returns whether a customer rents the machine now.
	pub(crate) fn are_rented(&self) -> bool {
		self.0.rented().is_some()
	}

	/// Returns where an order is served; `None` if this agent does not serve it, or it is over.
	///
	/// The container has ports from its first answer until it is known to be down: a restart of the engine
	/// does not disconnect the customer.
	pub fn served(&self, order: OrderId) -> Option<Served> {
		let now = now_ms();
		let until = |until: u64| Instant::now() + Duration::from_millis(until.saturating_sub(now));
		let slots = self.0.slots.lock();
		slots.values().find_map(|slot| {
			let desired = slot.desired.as_ref().filter(|desired| {
				desired.deployment.order == order
					&& desired.keep_until > now
					&& desired.ended.is_none()
			})?;
			Some(Served {
				genesis: desired.genesis,
				worker: desired.worker,
				client: desired.deployment.client,
				ports: slot.actual.ports.clone(),
				customer_until: desired.serve_until.map(until),
			})
		})
	}

	/// Returns whether a key is the client of an order that this agent serves or will serve.
	pub fn is_client(&self, key: &ClientKey) -> bool {
		let slots = self.0.slots.lock();
		let mut desired = slots.values().filter_map(|slot| slot.desired.as_ref());
		desired.any(|desired| desired.deployment.client == *key)
	}
}

impl Work {
	/// Runs the supervisors until it is dropped. Containers keep running without them.
	pub(crate) async fn run(mut self) {
		let mut tasks = JoinSet::new();
		let shared = self.shared.clone();
		tasks.spawn(watch::follow(
			shared.watch.clone(),
			format!("{LABEL_AGENT}={}", shared.agent),
			move || shared.engine(),
		));
		tasks.spawn(sweep::sweep(self.shared.clone()));
		tasks.spawn(ping::ping(self.shared.clone()));
		tasks.spawn(network::guard(self.shared.clone()));
		while let Some(key) = self.new.recv().await {
			while tasks.try_join_next().is_some() {}
			tasks.spawn(supervisor::supervise(self.shared.clone(), key));
		}
	}
}
