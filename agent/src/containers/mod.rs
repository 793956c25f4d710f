//! # Containers
//!
//! What a customer rents is a container on the worker's machine. The node sends the *desired state*, as
//! [`OrderRequest`], at every block or two; the agent makes it so and keeps it so, and answers how far it
//! is. Nothing that happens in between is lost by that: a restart of the node, the agent, the engine or
//! the machine ends in the next request being compared with what runs.
//!
//! 1. A request with a [`Deployment`](kaisar_primitives::agent::Deployment) comes. Its image is pulled if
//!    the engine does not have it, and a container is made of it with labels that say whose it is, within
//!    the order's limits and the machine's, without capabilities, mounts or privileges ([`limits`]).
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

/// Most workers of whom an agent runs containers.
const MAX_WORKERS: usize = 16;

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

	/// Takes what is wanted of a worker and says how it is.
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

	/// Returns whether a key is the client of an order that this agent serves or is to serve.
	pub fn is_client(&self, key: &ClientKey) -> bool {
		let slots = self.0.slots.lock();
		let mut wanted = slots.values().filter_map(|slot| slot.wanted.as_ref());
		wanted.any(|wanted| wanted.deployment.client == *key)
	}
}

impl Work {
	/// Runs the supervisors until it is dropped. Containers go on without them.
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
