//! Who may reach a container: the order's customer while its time lasts, and checkers that have to find
//! out whether it answers. `kaisar_tunnel` does the rest.

use super::{jobs::Jobs, push::Committees};
use crate::{
	containers::{Containers, Served},
	host::store::now_ms,
};
use kaisar_primitives::{AgentKey, ClientKey, OrderId};
use kaisar_tunnel::{ALPN, Gate, Open, Pass, Refusal};
use std::{
	sync::Arc,
	time::{Duration, Instant},
};

/// What the tunnel asks of whoever runs the containers.
pub trait ServedOrders: Send + Sync + 'static {
	/// Where an order is served; `None` if it is not, or not now.
	fn served(&self, order: OrderId) -> Option<Served>;

	/// Whether a key is the client of any order.
	fn is_client(&self, key: &ClientKey) -> bool;
}

impl ServedOrders for Containers {
	fn served(&self, order: OrderId) -> Option<Served> {
		Containers::served(self, order)
	}

	fn is_client(&self, key: &ClientKey) -> bool {
		Containers::is_client(self, key)
	}
}

/// Whether a connection asks for the tunnel, as far as can be seen before it is accepted.
pub(crate) fn is_asked_for(incoming: &iroh::endpoint::Incoming) -> bool {
	let Some(mut offered) = incoming.decrypt().and_then(|initial| initial.alpns()) else {
		return false;
	};
	offered.any(|alpn| alpn.is_ok_and(|alpn| alpn == ALPN))
}

/// The agent at the tunnel's door.
pub(crate) struct Doorkeeper {
	/// The orders that the tunnel leads to.
	pub orders: Arc<dyn ServedOrders>,
	/// The jobs, whose committees may probe.
	pub jobs: Arc<Jobs>,
	/// The committees of rounds that have started.
	pub committees: Arc<Committees>,
}

impl Gate for Doorkeeper {
	fn knows(&self, client: &[u8; 32]) -> bool {
		let agent = AgentKey::from_raw(*client);
		self.orders.is_client(&ClientKey::from_raw(*client))
			|| self.jobs.knows(&agent)
			|| self.committees.knows(&agent)
	}

	fn admit(&self, client: &[u8; 32], open: &Open) -> Result<Pass, Refusal> {
		let served = self.orders.served(open.order);
		let served = served
			.filter(|served| served.genesis.0 == open.genesis)
			.ok_or(Refusal::NotServed)?;
		let (until, probe) = if served.client.0 == *client {
			if served
				.customer_until
				.is_some_and(|until| until <= Instant::now())
			{
				return Err(Refusal::Over);
			}
			(served.customer_until, false)
		} else {
			let until = probes_until(&self.jobs, &AgentKey::from_raw(*client), &served);
			(Some(until.ok_or(Refusal::NotServed)?), true)
		};
		let mut ports = served.ports.iter();
		let (_, address) = match open.port {
			None => ports.next().ok_or(Refusal::NotReady)?,
			Some(port) => ports
				.find(|(number, _)| *number == port)
				.ok_or(Refusal::NoSuchPort)?,
		};
		Ok(Pass {
			address: *address,
			until,
			probe,
		})
	}
}

/// Until when this checker's agent may probe the worker's container: for as long as it is in the
/// committee of a check of it that this agent keeps.
fn probes_until(jobs: &Jobs, checker: &AgentKey, served: &Served) -> Option<Instant> {
	let now = now_ms();
	jobs.checked_until(checker, served.genesis, served.worker)
		.filter(|expires| *expires > now)
		.map(|expires| Instant::now() + Duration::from_millis(expires - now))
}
