//! The tunnel to an order's container.

use super::{
	Context,
	orders::{find, order_over},
};
use crate::{
	args::Listen,
	chain::Chain,
	failure::{Failure, Kind, Result},
	output::Progress,
	types::{Key, Order, OrderState},
	views, wallet,
};
use kaisar_primitives::{AgentKey, agent::AddressRecord};
use kaisar_tunnel::{DialRule, Refusal, Target, Tunnel, TunnelError, Undialable};
use serde_json::json;
use std::{net::TcpListener, path::Path, time::Duration};
use tokio::{
	signal::unix::{Signal, SignalKind, signal},
	time::{Instant, sleep},
};

/// Pause before the first retry; each retry doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between retries.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Forwards local ports to an order's container until the order ends or a signal stops the program.
pub async fn connect(
	context: &Context,
	order: u32,
	listen: &[Listen],
	client_key: Option<&Path>,
	rule: DialRule,
) -> Result<()> {
	let secret = match client_key {
		Some(path) => wallet::read_client_secret(path)?,
		None => context.wallet()?.client_secret(),
	};
	let connection = Connection {
		context,
		order,
		secret,
		locals: listen.iter().map(Local::open).collect::<Result<_>>()?,
		rule,
	};
	connection.keep(Stop::new()?).await
}

/// A local socket, and the container's port that it leads to.
struct Local {
	listener: TcpListener,
	/// Without one, the order's first.
	port: Option<u16>,
}

impl Local {
	fn open(listen: &Listen) -> Result<Self> {
		let at = listen.at;
		let listener = TcpListener::bind(at)
			.and_then(|listener| {
				listener.set_nonblocking(true)?;
				Ok(listener)
			})
			.map_err(|error| {
				Failure::usage(format!("cannot listen on {at}: {error}"))
					.advise("--listen 127.0.0.1:0 takes any free port")
			})?;
		Ok(Self {
			listener,
			port: listen.port,
		})
	}

	/// Returns a handle of the socket for one tunnel. The socket itself outlives it.
	fn listener(&self) -> Result<tokio::net::TcpListener> {
		self.listener
			.try_clone()
			.and_then(tokio::net::TcpListener::from_std)
			.map_err(|error| Failure::usage(format!("cannot accept local connections: {error}")))
	}
}

/// Ctrl-C or a termination signal. A signal that arrives between two waits is kept.
struct Stop {
	interrupt: Signal,
	terminate: Signal,
}

impl Stop {
	fn new() -> Result<Self> {
		let cannot = |error| Failure::usage(format!("cannot handle signals: {error}"));
		Ok(Self {
			interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
			terminate: signal(SignalKind::terminate()).map_err(cannot)?,
		})
	}

	/// Returns the result of `work`, or `None` if a signal comes first.
	async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
		tokio::select! {
			done = work => Some(done),
			_ = self.interrupt.recv() => None,
			_ = self.terminate.recv() => None,
		}
	}
}

struct Connection<'context> {
	context: &'context Context,
	order: u32,
	secret: [u8; 32],
	/// At least one.
	locals: Vec<Local>,
	/// Addresses and relays of the agent's record that may be dialed.
	rule: DialRule,
}

impl Connection<'_> {
	/// Connects, and reconnects whenever the connection is lost, for as long as the order is served.
	async fn keep(&self, mut stop: Stop) -> Result<()> {
		let order = self.order;
		let limit = self.context.common.wait_timeout();
		let mut progress =
			Progress::start(self.context.output, format!("looking for order {order}"));
		let mut waiting_since = Instant::now();
		let mut pause = FIRST_PAUSE;
		let mut told = false;
		loop {
			let Some(opened) = stop.or(self.open(&mut progress)).await else {
				return Ok(());
			};
			let failure = match opened {
				Ok(tunnel) => {
					pause = FIRST_PAUSE;
					if !std::mem::replace(&mut told, true) {
						self.tell()?;
					}
					let how = if tunnel.is_relayed() {
						", through a relay"
					} else {
						""
					};
					progress.say(format!(
						"order {order} is connected{how}; press Ctrl-C to end"
					));
					let why = stop.or(self.forward(&tunnel)).await;
					tunnel.close().await;
					let Some(why) = why.transpose()? else {
						return Ok(());
					};
					waiting_since = Instant::now();
					of_tunnel(order, &why)
				}
				Err(failure) => failure,
			};
			// An unreachable node or agent may come back; any other failure is final.
			if failure.kind != Kind::Unreachable {
				return Err(failure);
			}
			if waiting_since.elapsed() >= limit {
				return Err(failure);
			}
			progress.note(failure.to_string());
			progress.say(format!("reconnecting to order {order}"));
			if stop.or(sleep(pause)).await.is_none() {
				return Ok(());
			}
			pause = (pause * 2).min(LAST_PAUSE);
		}
	}

	/// Finds the order's worker on the chain and opens a tunnel to its agent.
	async fn open(&self, progress: &mut Progress) -> Result<Tunnel> {
		let chain = self.context.chain().await?;
		let found = self.served(&chain, progress).await?;
		let worker = found
			.order
			.worker
			.ok_or_else(|| Failure::unreachable(format!("order {} has no worker", self.order)))?;
		let mut last = None;
		for agent in agents(&chain, worker).await? {
			match self.open_at(&chain, agent).await {
				Ok(tunnel) => return Ok(tunnel),
				Err(failure) => last = Some(failure),
			}
		}
		Err(last.unwrap_or_else(|| {
			Failure::unreachable(format!("worker {worker} is no longer registered"))
		}))
	}

	async fn open_at(&self, chain: &Chain, agent: Key) -> Result<Tunnel> {
		let key = AgentKey::from_raw(agent.0);
		let record = chain
			.agent_address(agent.0)
			.await?
			// The agent's signature keeps a node from forging the record.
			.and_then(|bytes| AddressRecord::read(&key, &bytes))
			.ok_or_else(|| {
				Failure::unreachable(format!(
					"the node has no address record of the worker's agent {agent}"
				))
				.advise(format!(
					"the agent may be offline; `kaisar report {} --reason unreachable` has it checked",
					self.order
				))
			})?;
		let target = Target {
			genesis: chain.genesis(),
			order: self.order,
			agent: agent.0,
			addresses: record
				.addresses
				.iter()
				.filter_map(|address| address.parse().ok())
				.collect(),
			relays: record.relays,
			rule: self.rule.clone(),
		};
		let refused = |error: TunnelError| of_tunnel(self.order, &error);
		let mut ports = self.locals.iter().map(|local| local.port);
		let first = ports.next().flatten();
		let tunnel = Tunnel::open(&self.secret, &target, first)
			.await
			.map_err(refused)?;
		for port in ports {
			if let Err(error) = tunnel.ask(port).await {
				tunnel.close().await;
				return Err(refused(error));
			}
		}
		Ok(tunnel)
	}

	/// Waits until the order's container runs.
	async fn served(&self, chain: &Chain, progress: &mut Progress) -> Result<Order> {
		let limit = self.context.common.wait_timeout();
		let deadline = Instant::now() + limit;
		let mut at = chain.best().await?;
		let mut blocks = None;
		loop {
			let found = find(&at, self.order).await?;
			let own = Key(wallet::client_key(&self.secret).0);
			let ordered = found.workload.as_ref().map(|workload| workload.client_key);
			if let Some(key) = ordered.filter(|key| *key != own) {
				return Err(Failure::wallet(format!(
					"order {} admits the client key {key}, not {own}",
					self.order
				))
				.advise(
					"name the file of the admitted key with --client-key, or use the wallet that placed the order",
				));
			}
			match found.order.state {
				OrderState::Active => return Ok(found),
				OrderState::Closing | OrderState::Closed { .. } => return Err(order_over(&found)),
				OrderState::Matching | OrderState::Deploying => (),
			}
			progress.say(format!(
				"order {} is {}; waiting until it runs",
				self.order,
				found.order.state.text()
			));
			let blocks = match &mut blocks {
				Some(blocks) => blocks,
				None => blocks.insert(chain.blocks().await?),
			};
			at = tokio::time::timeout_at(deadline, blocks.next())
				.await
				.map_err(|_| {
					Failure::over(format!(
						"order {} is not running after {} s",
						self.order,
						limit.as_secs()
					))
					.advise("the order continues; --timeout waits longer")
				})??;
		}
	}

	/// Prints the local addresses, one a line.
	fn tell(&self) -> Result<()> {
		let order = self.order;
		for Local { listener, port } in &self.locals {
			let local = listener
				.local_addr()
				.map_err(|error| Failure::usage(format!("cannot read the local port: {error}")))?;
			let document = json!({ "order": order, "listening": local, "port": port });
			self.context.output.line(&document, || match port {
				None => format!("order {order} is at {local}"),
				Some(port) => format!("port {port} of order {order} is at {local}"),
			})?;
		}
		Ok(())
	}

	/// Forwards local connections until the tunnel closes, and returns the reason.
	async fn forward(&self, tunnel: &Tunnel) -> Result<TunnelError> {
		let mut forwards = Vec::new();
		for local in &self.locals {
			forwards.push(Box::pin(tunnel.forward_to(local.listener()?, local.port)));
		}
		let (ended, ..) = futures::future::select_all(forwards).await;
		Ok(match ended {
			Err(error) => error,
			Ok(()) => TunnelError::Closed,
		})
	}
}

/// Returns the agents of a worker, the newest first: replaced keys stay in force for one round at most.
async fn agents(chain: &Chain, worker: u32) -> Result<Vec<Key>> {
	let at = chain.best().await?;
	let keys = views::worker_keys(&at, worker).await?;
	Ok(keys.map_or_else(Vec::new, |keys| {
		let newest = keys.now.value.agent;
		let before = keys.before.map(|keys| keys.value.agent);
		core::iter::once(newest)
			.chain(before.filter(|agent| *agent != newest))
			.collect()
	}))
}

/// Converts an error of a tunnel, or of opening one.
fn of_tunnel(order: u32, error: &TunnelError) -> Failure {
	match error {
		TunnelError::Refused(Refusal::Over) => {
			Failure::over(format!("the paid time of order {order} is over"))
				.named("Over")
				.advise("`kaisar order` places a new one")
		}
		TunnelError::Refused(refusal @ Refusal::NoSuchPort { .. }) => Failure::not_found(refusal)
			.advise(
				"name one of them, as --listen 127.0.0.1:0=PORT; an order's ports are those of \
				 `kaisar order --port`, or those that its image exposes",
			),
		TunnelError::Undialable(Undialable::Refused { .. }) => Failure::unreachable(error).advise(
			"if the agent is in your own network, pass --private-addresses; if you trust a relay that it \
			 names, pass --relay-url URL",
		),
		TunnelError::Local(_) => Failure::usage(error),
		error => Failure::unreachable(error),
	}
}
