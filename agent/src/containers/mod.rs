//! # Containers
//!
//! A customer rents a container on the worker's machine. The node sends the *desired state* as an
//! [`OrderRequest`] every block or two; the agent reconciles the machine with it and reports the actual
//! state. No change is lost in between: after a restart of the node, the agent, the engine or the machine,
//! the next request is compared with the running containers.
//!
//! 1. A request with a [`Deployment`](kaisar_primitives::agent::Deployment) comes. Its image is pulled if
//!    the engine does not have it, and a container is created with labels that name its owner, within the
//!    order's limits and the machine's, without capabilities, mounts or privileges ([`limits`]).
//! 2. Its health check or its port answers: it is `Running`. Customers and checkers are admitted
//!    ([`Containers::served`]).
//! 3. A container that was stopped or removed from outside is started again. One that ended by itself is
//!    reported as ended ([`watch`]).
//! 4. A request without a deployment, or with another one, comes, or the deployment expires by the agent's
//!    own clock: the container is stopped and removed with all its data.
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
mod ping;
mod room;
mod run;
mod state;
mod supervisor;
mod sweep;
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
pub use state::{EngineChoice, Settings, Timeouts};
use state::{Key, LABEL_AGENT, Shared, Slot, View, Wanted, unknown};
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
pub struct Containers(Arc<Shared>);

/// The work behind [`Containers`], which starts only when it is run.
pub(crate) struct Work {
	shared: Arc<Shared>,
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
		for (_, wanted) in kept.load::<Wanted>(MAX_WORKERS) {
			let key = (wanted.genesis, wanted.worker);
			let _ = new.try_send(key);
			slots.insert(key, Slot::new(Some(wanted)));
		}
		let shared = Arc::new(Shared {
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
				return View::absent().report();
			}
			if slots.len() >= MAX_WORKERS {
				slots.retain(|_, slot| !slot.is_idle());
			}
			if slots.len() >= MAX_WORKERS || shared.new.try_send(key).is_err() {
				let mut view = View::absent();
				view.order = request.deployment.map(|deployment| deployment.order);
				view.state = unknown(&format!(
					"this agent serves too many workers (limit: {MAX_WORKERS}); run another agent for this one"
				));
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
				slot.changed(unknown("the container is being removed"));
				true
			}
			(Some(deployment), Some(wanted)) if wanted.deployment.order == deployment.order => {
				wanted.clocks(&deployment)
			}
			(Some(deployment), wanted) => {
				let order = deployment.order;
				*wanted = Some(Wanted::new(key, deployment));
				slot.changed(unknown("the container was not inspected yet"));
				slot.view.order = Some(order);
				true
			}
		};
		if kept {
			shared.keep(&key, slot.wanted.as_ref());
		}
		slot.view.report()
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

	/// Returns whether a key is the client of an order that this agent serves or will serve.
	pub fn is_client(&self, key: &ClientKey) -> bool {
		let slots = self.0.slots.lock();
		let mut wanted = slots.values().filter_map(|slot| slot.wanted.as_ref());
		wanted.any(|wanted| wanted.deployment.client == *key)
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
		while let Some(key) = self.new.recv().await {
			while tasks.try_join_next().is_some() {}
			tasks.spawn(supervisor::supervise(self.shared.clone(), key));
		}
	}
}
