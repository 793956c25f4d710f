//! Access to containers: for the order's customer during its time, and for checkers that test whether it
//! answers. `kaisar_tunnel` does the rest.

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

/// Source of served orders, which the tunnel leads to.
pub trait ServedOrders: Send + Sync + 'static {
	/// Returns where an order is served; `None` if it is not served now.
	fn served(&self, order: OrderId) -> Option<Served>;

	/// Returns whether a key is the client of any order.
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

/// Returns whether a connection asks for the tunnel, as far as visible before it is accepted.
pub(crate) fn is_asked_for(incoming: &iroh::endpoint::Incoming) -> bool {
	let Some(mut offered) = incoming.decrypt().and_then(|initial| initial.alpns()) else {
		return false;
	};
	offered.any(|alpn| alpn.is_ok_and(|alpn| alpn == ALPN))
}

/// Access control of the tunnel.
pub(crate) struct Doorkeeper {
	/// Orders that the tunnel leads to.
	pub orders: Arc<dyn ServedOrders>,
	/// Jobs, whose committees may probe.
	pub jobs: Arc<Jobs>,
	/// Committees of rounds that have started.
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
		let first = served.ports.first().ok_or(Refusal::NotReady)?;
		let (_, address) = match open.port {
			None => first,
			Some(asked) => {
				let mut ports = served.ports.iter();
				let found = ports.find(|(number, _)| *number == asked);
				found.ok_or_else(|| Refusal::NoSuchPort {
					asked,
					served: served.ports.iter().map(|(number, _)| *number).collect(),
				})?
			}
		};
		Ok(Pass {
			address: *address,
			until,
			probe,
		})
	}
}

/// Returns the end of the time in which this checker's agent may probe the worker's container: as long as it
/// is in the committee of a check that this agent keeps.
fn probes_until(jobs: &Jobs, checker: &AgentKey, served: &Served) -> Option<Instant> {
	let now = now_ms();
	jobs.checked_until(checker, served.genesis, served.worker)
		.filter(|expires| *expires > now)
		.map(|expires| Instant::now() + Duration::from_millis(expires - now))
}
