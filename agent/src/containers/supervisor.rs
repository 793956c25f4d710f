//! Makes what runs for a worker what is wanted of it.
//!
//! A supervisor keeps next to nothing: at each look it asks the engine what there is, takes one step
//! towards what is wanted, and looks again. So it may be stopped at any point, and everything that
//! others do to a container in between is met the same way as what was left by a crash.

use super::{
	brief::brief,
	engine::{Engine, Fault},
	image::{Reference, is_final},
	limits::{self, GB, Gpus, HOST_NETWORK},
	state::{
		Key, LABEL_AGENT, LABEL_GENESIS, LABEL_ORDER, LABEL_PORTS, LABEL_WORKER, Shared, Wanted,
		failed, labels_of, unknown,
	},
	watch::Exit,
};
use crate::host::store::now_ms;
use bollard::models::{
	ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum as Status,
	ContainerSummary, HealthStatusEnum, ImageInspect,
};
use kaisar_primitives::{
	DeployFailure, OrderId,
	agent::{ContainerState, Deployment},
};
use std::{
	collections::HashMap,
	net::{Ipv4Addr, SocketAddr},
	sync::{Arc, atomic::Ordering},
	time::{Duration, Instant},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Time between two looks at what is wanted, and at what is not.
const TICK: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(60);
/// Time until an order that was served before, and cannot be now, is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often a pull, and how often a start, is tried before an order fails.
const TRIES: u32 = 3;
/// Pause after the first failed pull; it grows by as much with each.
const PULL_AGAIN: Duration = Duration::from_secs(5);
/// How long the engine may take to tell how a container ended.
const UNSURE: Duration = Duration::from_secs(3);
/// After how many revivals a container that nobody is known to have touched has ended by itself.
const DOUBTS: u32 = 3;
/// Longest pause between two revivals, in seconds, and how long a container has to run for them to be
/// forgotten.
const REVIVE_MOST: u64 = 300;
const STEADY: Duration = Duration::from_secs(600);
/// How long a port may take to accept, and how long it has to hold what it accepted.
const ACCEPT: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_millis(250);
/// By how much an engine may be late with the first probe of a health check.
const PROBE_LATE: Duration = Duration::from_secs(10);
/// What an engine takes for the interval and the timeout of a health check that names none.
const PROBE_DEFAULT: Duration = Duration::from_secs(30);
/// Most ports of a container that are let through.
const MAX_PORTS: usize = 16;

/// What a supervisor remembers of an order between two looks.
#[derive(Debug, Default)]
struct Run {
	order: Option<OrderId>,
	/// Whether the order was ever served: from then on it does not fail, it is made good.
	ran: bool,
	pulls: u32,
	starts: u32,
	/// What went wrong last.
	last: String,
	/// Since when the engine does not answer.
	silent: Option<Instant>,
	/// The container that the following is about.
	container: Option<String>,
	started: Option<Instant>,
	/// When it was last seen running.
	seen: Option<Instant>,
	/// Since when it answers.
	answers: Option<Instant>,
	/// Since when it does not run, and the engine has not told why.
	unsure: Option<Instant>,
	revived: u32,
	revive_at: Option<Instant>,
}

impl Run {
	fn started(&mut self, id: &str) {
		let now = Instant::now();
		self.container = Some(id.to_owned());
		self.started = Some(now);
		self.seen = Some(now);
		self.answers = None;
		self.unsure = None;
	}

	/// Whether a container that was taken away may be started again now. The pauses double.
	fn may_revive(&mut self) -> bool {
		let now = Instant::now();
		if self.revive_at.is_some_and(|at| now < at) {
			return false;
		}
		let pause = 1u64.checked_shl(self.revived).unwrap_or(u64::MAX);
		self.revive_at = Some(now + Duration::from_secs(pause.min(REVIVE_MOST)));
		self.revived = self.revived.saturating_add(1);
		true
	}
}

/// Supervises a worker until it is forgotten.
pub(super) async fn supervise(shared: Arc<Shared>, key: Key) {
	let Some(mut changed) = shared.changes(&key) else {
		return;
	};
	let mut run = Run::default();
	loop {
		changed.mark_unchanged();
		let Some((generation, wanted)) = shared.wanted(&key) else {
			return;
		};
		let order = wanted.as_ref().map(|wanted| wanted.deployment.order);
		if run.order != order {
			run = Run {
				order,
				..Default::default()
			};
		}
		run.ran = wanted.as_ref().is_some_and(|wanted| wanted.ran);
		let mut task = Task {
			shared: &shared,
			key: &key,
			generation,
			run: &mut run,
		};
		let ended = shared.watch.ended.notified();
		let step = async {
			let pause = task.step(wanted.as_ref()).await;
			tokio::select! {
				_ = tokio::time::sleep(pause) => (),
				_ = ended => (),
			}
		};
		tokio::select! {
			_ = step => (),
			// The slot is gone: another supervisor begins if the worker comes back.
			changed = changed.changed() => if changed.is_err() {
				return;
			},
		}
	}
}

/// One look at a worker.
struct Task<'a> {
	shared: &'a Shared,
	key: &'a Key,
	generation: u64,
	run: &'a mut Run,
}

impl Task<'_> {
	/// Takes a step and says after how long to look again.
	async fn step(&mut self, wanted: Option<&Wanted>) -> Duration {
		let open = wanted.filter(|wanted| wanted.ended.is_none());
		let Some(engine) = self.shared.engine() else {
			match open {
				Some(wanted) if !wanted.ran => {
					self.fail(DeployFailure::StartFailed, "no container engine");
				}
				Some(_) => self.say(unknown("no container engine"), None),
				None => self.gone(wanted),
			}
			return IDLE;
		};
		match self.look(&engine, wanted).await {
			Ok(pause) => {
				self.run.silent = None;
				let left = wanted.map_or(u64::MAX, |wanted| {
					wanted.keep_until.saturating_sub(now_ms())
				});
				pause.min(Duration::from_millis(left))
			}
			Err(fault) => {
				let since = *self.run.silent.get_or_insert_with(Instant::now);
				tracing::debug!(%fault, order = self.run.order, "cannot be looked at");
				// Before it ever ran, its customer is better off with the money back.
				if open.is_some_and(|wanted| !wanted.ran)
					&& since.elapsed() > self.shared.settings.patience.engine
				{
					self.fail(DeployFailure::StartFailed, &fault.to_string());
				} else if wanted.is_none_or(|wanted| wanted.ended.is_none()) {
					self.say(unknown(&fault.to_string()), None);
				}
				TICK
			}
		}
	}

	async fn look(&mut self, engine: &Engine, wanted: Option<&Wanted>) -> Result<Duration, Fault> {
		let (genesis, worker) = labels_of(self.key);
		let labels = [
			format!("{LABEL_AGENT}={}", self.shared.agent),
			format!("{LABEL_GENESIS}={genesis}"),
			format!("{LABEL_WORKER}={worker}"),
		];
		let open = wanted.filter(|wanted| wanted.ended.is_none());
		let mut container = None;
		for found in engine.list(Some(&labels)).await? {
			let order = label(&found, LABEL_ORDER).and_then(|order| order.parse().ok());
			let Some(id) = found.id else { continue };
			if container.is_none() && open.is_some_and(|open| order == Some(open.deployment.order))
			{
				container = Some(id);
			} else {
				tracing::info!(order, container = id, "removing a container");
				engine.remove(&id).await?;
			}
		}
		let Some(wanted) = open else {
			self.gone(wanted);
			return Ok(IDLE);
		};
		match container {
			None if wanted.ran && !self.run.may_revive() => {
				self.say(
					unknown("it was taken away, and will be started again"),
					Some(&[]),
				);
				Ok(TICK)
			}
			None => self.deploy(engine, wanted).await,
			Some(id) => match engine.inspect(&id).await? {
				Some(found) => self.tend(engine, wanted, &id, &found).await,
				None => Ok(HOLD),
			},
		}
	}

	/// Makes the container, its image first.
	async fn deploy(&mut self, engine: &Engine, wanted: &Wanted) -> Result<Duration, Fault> {
		let deployment = &wanted.deployment;
		let reference = match Reference::parse(&deployment.image) {
			Ok(reference) => reference,
			Err(why) => return Ok(self.fail(DeployFailure::ImageUnavailable, why)),
		};
		let Some(image) = engine.image(reference.full()).await? else {
			return self.pull(engine, deployment, &reference).await;
		};
		self.shared.pulled.used(reference.full());
		let size = u64::try_from(image.size.unwrap_or(0)).unwrap_or(0);
		if too_large(size, deployment) {
			return Ok(self.fail(DeployFailure::ImageUnavailable, TOO_LARGE));
		}
		let ports = ports_of(&image, deployment.port);
		if ports.is_empty() {
			let why = "the image exposes no TCP port, and the order names none";
			return Ok(self.fail(DeployFailure::Unhealthy, why));
		}
		if !wanted.ran && self.run.starts >= TRIES {
			return Ok(self.start_failed());
		}
		self.run.starts = self.run.starts.saturating_add(1);
		self.say(ContainerState::Starting, Some(&[]));
		let host_config = match limits::host_config(
			deployment,
			&self.shared.machine,
			&self.shared.settings.network,
			&ports,
			self.shared.quota.load(Ordering::Relaxed),
		) {
			Ok(config) => config,
			Err(why) => return Ok(self.fail(DeployFailure::StartFailed, &why)),
		};
		let limited = host_config.storage_opt.is_some();
		let wants_gpus = host_config.device_requests.is_some();
		let (genesis, worker) = labels_of(self.key);
		let name = format!(
			"kaisar-{}-{worker}-{}-{}",
			deployment.order,
			&genesis[..8],
			&self.shared.agent[..8]
		);
		let numbers: Vec<String> = ports.iter().map(u16::to_string).collect();
		let body = ContainerCreateBody {
			image: Some(reference.full().into()),
			labels: Some(HashMap::from([
				(LABEL_AGENT.into(), self.shared.agent.clone()),
				(LABEL_GENESIS.into(), genesis),
				(LABEL_WORKER.into(), worker),
				(LABEL_ORDER.into(), deployment.order.to_string()),
				(LABEL_PORTS.into(), numbers.join(",")),
			])),
			exposed_ports: Some(numbers.iter().map(|port| format!("{port}/tcp")).collect()),
			host_config: Some(host_config),
			..Default::default()
		};
		let id = match engine.create(&name, body).await {
			Ok(id) => id,
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) if limited => {
				tracing::debug!(%fault, "trying without a limit of the storage");
				if self.shared.quota.swap(false, Ordering::Relaxed) {
					tracing::info!("the engine's storage does not limit what containers write");
				}
				self.run.starts -= 1;
				return Ok(Duration::ZERO);
			}
			Err(fault) => return Ok(self.not_started(fault)),
		};
		if wants_gpus && self.shared.machine.gpus == Some(Gpus::Nvidia) {
			let given = engine.inspect(&id).await?.is_some_and(|made| {
				made.host_config
					.and_then(|config| config.device_requests)
					.is_some_and(|requests| !requests.is_empty())
			});
			if !given {
				let why = "the container engine does not hand out GPUs";
				return Ok(self.fail(DeployFailure::StartFailed, why));
			}
		}
		self.start(engine, &id).await
	}

	async fn pull(
		&mut self,
		engine: &Engine,
		deployment: &Deployment,
		reference: &Reference,
	) -> Result<Duration, Fault> {
		if !reference.may_be_pulled() {
			let why = "the image is not here, and its registry has no public name";
			return Ok(self.fail(DeployFailure::ImageUnavailable, why));
		}
		if self.run.pulls >= TRIES {
			let why = std::mem::take(&mut self.run.last);
			return Ok(self.fail(DeployFailure::ImageUnavailable, &why));
		}
		self.run.pulls += 1;
		tracing::info!(
			order = deployment.order,
			image = reference.full(),
			"pulling an image"
		);
		self.say(ContainerState::Pulling { percent: 0 }, Some(&[]));
		self.shared.pulled.make_room(engine).await?;
		let patience = self.shared.settings.patience;
		let mut said = 0;
		let mut large = false;
		let pulled = engine.pull(reference.full(), patience.stalled, |layers| {
			large = too_large(layers.total(), deployment);
			if large {
				return Err(Fault::Refused(TOO_LARGE.into()));
			}
			let percent = layers.percent();
			if percent != said {
				said = percent;
				self.say(ContainerState::Pulling { percent }, None);
			}
			Ok(())
		});
		let pulled = tokio::time::timeout(patience.pull, pulled)
			.await
			.unwrap_or_else(|_| Err(Fault::Refused("the pull takes too long".into())));
		match pulled {
			Ok(()) => {
				self.shared.pulled.add(reference.full());
				Ok(Duration::ZERO)
			}
			Err(fault @ Fault::Silent(_)) => Err(fault),
			Err(fault) => {
				let why = brief(&fault.to_string());
				if large || is_final(&why) {
					return Ok(self.fail(DeployFailure::ImageUnavailable, &why));
				}
				tracing::warn!(order = deployment.order, why, "the image was not pulled");
				self.run.last = why;
				Ok(PULL_AGAIN * self.run.pulls)
			}
		}
	}

	/// Starts a container that is there. One that does not start is made anew.
	async fn start(&mut self, engine: &Engine, id: &str) -> Result<Duration, Fault> {
		self.say(ContainerState::Starting, Some(&[]));
		match engine.start(id).await {
			Ok(()) => {
				tracing::info!(order = self.run.order, container = id, "started");
				self.run.started(id);
				Ok(HOLD)
			}
			Err(fault @ Fault::Silent(_)) => Err(fault),
			Err(fault) => {
				let pause = self.not_started(fault);
				engine.remove(id).await?;
				Ok(pause)
			}
		}
	}

	fn not_started(&mut self, fault: Fault) -> Duration {
		tracing::warn!(order = self.run.order, %fault, "does not start");
		self.run.last = brief(&fault.to_string());
		TICK
	}

	fn start_failed(&mut self) -> Duration {
		let why = std::mem::take(&mut self.run.last);
		self.fail(DeployFailure::StartFailed, &why)
	}

	/// Sees to a container that is there.
	async fn tend(
		&mut self,
		engine: &Engine,
		wanted: &Wanted,
		id: &str,
		found: &ContainerInspectResponse,
	) -> Result<Duration, Fault> {
		self.name_container(id);
		let state = found.state.clone().unwrap_or_default();
		match state.status {
			Some(Status::RUNNING) => return Ok(self.watch_over(wanted, id, found).await),
			Some(Status::CREATED) => {
				if !wanted.ran && self.run.starts > TRIES {
					return Ok(self.start_failed());
				}
				self.run.starts = self.run.starts.saturating_add(1);
				return self.start(engine, id).await;
			}
			Some(Status::PAUSED) => {
				tracing::warn!(order = self.run.order, "was paused from outside");
				match engine.unpause(id).await {
					Err(fault @ Fault::Silent(_)) => return Err(fault),
					_ => return Ok(TICK),
				}
			}
			Some(Status::EXITED) => (),
			Some(Status::DEAD) => {
				engine.remove(id).await?;
				return Ok(Duration::ZERO);
			}
			// On its way from one to another.
			_ => return Ok(TICK),
		}
		let code = state.exit_code.unwrap_or(-1);
		let seen = self
			.run
			.seen
			.filter(|_| self.run.container.as_deref() == Some(id));
		let out_of_memory = state.oom_killed == Some(true);
		let mut exit = self.shared.watch.exit(id, code, out_of_memory, seen);
		if exit == Exit::Unsure {
			if self.run.unsure.get_or_insert_with(Instant::now).elapsed() < UNSURE {
				return Ok(HOLD);
			}
			exit = Exit::Doubtful;
		}
		if exit == Exit::Doubtful && self.run.revived >= DOUBTS {
			exit = Exit::Own;
		}
		let order = wanted.deployment.order;
		if wanted.ran {
			if exit == Exit::Own {
				tracing::info!(order, code, "ended by itself");
				self.end(ContainerState::Exited {
					code: i32::try_from(code).unwrap_or(-1),
				});
				return Ok(Duration::ZERO);
			}
			self.say(
				unknown("it was stopped, and will be started again"),
				Some(&[]),
			);
			if !self.run.may_revive() {
				return Ok(TICK);
			}
		} else {
			self.run.last = format!("it ended at once, with code {code}");
			if exit == Exit::Own || self.run.starts >= TRIES {
				return Ok(self.start_failed());
			}
			self.run.starts += 1;
		}
		tracing::warn!(
			order,
			code,
			?exit,
			"did not end by itself: starting it again"
		);
		self.start(engine, id).await
	}

	/// A container runs: does it answer?
	async fn watch_over(
		&mut self,
		wanted: &Wanted,
		id: &str,
		found: &ContainerInspectResponse,
	) -> Duration {
		if self.run.container.as_deref() != Some(id) {
			self.run.started(id);
		}
		let now = Instant::now();
		self.run.seen = Some(now);
		self.run.unsure = None;
		let started = *self.run.started.get_or_insert(now);
		let ports = reached_at(found);
		if let Some(since) = self.run.answers {
			if since.elapsed() > STEADY {
				self.run.revived = 0;
			}
		} else if answers(found, &ports, started.elapsed()).await {
			tracing::info!(order = wanted.deployment.order, "runs");
			self.run.answers = Some(now);
		} else if !wanted.ran && started.elapsed() > self.shared.settings.patience.healthy {
			return self.fail(
				DeployFailure::Unhealthy,
				"it runs, and neither its health check nor its port answers",
			);
		} else {
			self.say(ContainerState::Starting, Some(&[]));
			return TICK;
		}
		self.shared.update(self.key, self.generation, |slot| {
			slot.view.state = ContainerState::Running;
			slot.view.ports = ports;
			let first = slot.wanted.as_mut().filter(|wanted| !wanted.ran);
			first.is_some_and(|wanted| {
				wanted.ran = true;
				true
			})
		});
		TICK
	}

	/// Says how it is. `ports`: where it is reached from now on, if that changes.
	fn say(&self, state: ContainerState, ports: Option<&[(u16, SocketAddr)]>) {
		self.shared.update(self.key, self.generation, |slot| {
			slot.view.state = state;
			if let Some(ports) = ports {
				slot.view.ports = ports.to_vec();
			}
			false
		});
	}

	fn name_container(&self, id: &str) {
		self.shared.update(self.key, self.generation, |slot| {
			if slot.view.id.as_deref() != Some(id) {
				slot.view.id = Some(id.to_owned());
			}
			false
		});
	}

	/// There is no container, and none is wanted.
	fn gone(&self, wanted: Option<&Wanted>) {
		let ended = wanted.and_then(|wanted| wanted.ended.clone());
		self.shared.update(self.key, self.generation, |slot| {
			slot.view.order = wanted.map(|wanted| wanted.deployment.order);
			slot.view.state = ended.unwrap_or(ContainerState::Absent);
			slot.view.ports.clear();
			slot.view.id = None;
			false
		});
	}

	/// The order is over as far as this agent goes.
	fn end(&self, state: ContainerState) {
		self.shared.update(self.key, self.generation, |slot| {
			slot.view.state = state.clone();
			slot.view.ports.clear();
			if let Some(wanted) = &mut slot.wanted {
				wanted.ended = Some(state);
			}
			true
		});
	}

	/// The order cannot be deployed. Returns when to look again: at once, to clear up. An order that was
	/// served before stays wanted, and what is missing may come back.
	fn fail(&mut self, failure: DeployFailure, why: &str) -> Duration {
		tracing::warn!(order = self.run.order, ?failure, why, "cannot be deployed");
		if self.run.ran {
			self.run.pulls = 0;
			self.say(unknown(why), Some(&[]));
			return AGAIN;
		}
		self.end(failed(failure, why));
		Duration::ZERO
	}
}

/// Removes the containers of this agent's that are of no worker it knows.
pub(super) async fn remove_unclaimed(shared: &Shared) -> Result<(), Fault> {
	let Some(engine) = shared.engine() else {
		return Ok(());
	};
	let labels = [format!("{LABEL_AGENT}={}", shared.agent)];
	for found in engine.list(Some(&labels)).await? {
		let of = |name| label(&found, name).unwrap_or_default();
		if shared.knows(of(LABEL_GENESIS), of(LABEL_WORKER)) {
			continue;
		}
		if let Some(id) = &found.id {
			tracing::info!(container = id, "removing a container that nobody claims");
			engine.remove(id).await?;
		}
	}
	Ok(())
}

const TOO_LARGE: &str = "the image is larger than the order's disk";

fn too_large(bytes: u64, deployment: &Deployment) -> bool {
	let disk = u64::from(deployment.limits.disk_gb) * GB;
	disk > 0 && bytes > disk
}

fn label<'a>(container: &'a ContainerSummary, name: &str) -> Option<&'a str> {
	let labels = container.labels.as_ref()?;
	labels.get(name).map(String::as_str)
}

/// The TCP ports to let through: the default, then what the image exposes, from low to high.
fn ports_of(image: &ImageInspect, default: Option<u16>) -> Vec<u16> {
	let config = image.config.as_ref();
	let exposed = config.and_then(|config| config.exposed_ports.as_ref());
	let mut ports: Vec<u16> = exposed
		.into_iter()
		.flatten()
		.filter_map(|port| match port.split_once('/') {
			Some((port, "tcp")) => port.parse().ok(),
			Some(_) => None,
			None => port.parse().ok(),
		})
		.filter(|port| *port > 0 && Some(*port) != default)
		.collect();
	ports.sort_unstable();
	ports.dedup();
	let mut all: Vec<u16> = default.into_iter().chain(ports).collect();
	all.truncate(MAX_PORTS);
	all
}

/// Where the ports of a running container are reached from this machine.
fn reached_at(found: &ContainerInspectResponse) -> Vec<(u16, SocketAddr)> {
	let labels = found
		.config
		.as_ref()
		.and_then(|config| config.labels.as_ref());
	let ports = labels
		.and_then(|labels| labels.get(LABEL_PORTS))
		.into_iter()
		.flat_map(|ports| ports.split(','))
		.take(MAX_PORTS)
		.filter_map(|port| port.parse::<u16>().ok());
	let host = found.host_config.as_ref();
	if host.and_then(|host| host.network_mode.as_deref()) == Some(HOST_NETWORK) {
		return ports
			.map(|port| (port, (Ipv4Addr::LOCALHOST, port).into()))
			.collect();
	}
	let published = found
		.network_settings
		.as_ref()
		.and_then(|settings| settings.ports.as_ref());
	ports
		.filter_map(|port| {
			let bindings = published?.get(&format!("{port}/tcp"))?.as_ref()?;
			let address = bindings.iter().find_map(|binding| {
				let ip: Ipv4Addr = binding.host_ip.as_deref()?.parse().ok()?;
				let host_port: u16 = binding.host_port.as_deref()?.parse().ok()?;
				Some(SocketAddr::from((ip, host_port)))
			});
			Some((port, address?))
		})
		.collect()
}

/// Whether a container's health check is content. Where there is none, or the engine does not run it
/// (Podman without systemd), its port decides.
async fn answers(
	found: &ContainerInspectResponse,
	ports: &[(u16, SocketAddr)],
	running: Duration,
) -> bool {
	let health = found.state.as_ref().and_then(|state| state.health.as_ref());
	match health.and_then(|health| health.status) {
		Some(HealthStatusEnum::HEALTHY) => return true,
		Some(HealthStatusEnum::UNHEALTHY) => return false,
		Some(HealthStatusEnum::STARTING) => {
			let probed = health
				.and_then(|health| health.log.as_ref())
				.is_some_and(|log| !log.is_empty());
			if probed || running < first_probe(found) {
				return false;
			}
		}
		_ => (),
	}
	match ports.first() {
		Some((_, address)) => accepts(*address).await,
		None => false,
	}
}

/// By when an engine that runs health checks has run the first.
fn first_probe(found: &ContainerInspectResponse) -> Duration {
	let check = found
		.config
		.as_ref()
		.and_then(|config| config.healthcheck.as_ref());
	let of = |nanos: Option<i64>| match nanos.and_then(|nanos| u64::try_from(nanos).ok()) {
		None | Some(0) => PROBE_DEFAULT,
		Some(nanos) => Duration::from_nanos(nanos),
	};
	let interval = of(check.and_then(|check| check.interval));
	let timeout = of(check.and_then(|check| check.timeout));
	interval.saturating_add(timeout).saturating_add(PROBE_LATE)
}

/// Whether something listens. An engine's own proxy accepts for a container that does not listen yet,
/// and closes at once: what is accepted has to hold.
async fn accepts(address: SocketAddr) -> bool {
	let Ok(Ok(mut stream)) = tokio::time::timeout(ACCEPT, TcpStream::connect(address)).await else {
		return false;
	};
	match tokio::time::timeout(HOLD, stream.read(&mut [0])).await {
		Ok(read) => matches!(read, Ok(1)),
		Err(_) => true,
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use bollard::models::{
		ContainerConfig, ContainerState as ApiState, Health, HealthConfig, HealthcheckResult,
		HostConfig, ImageConfig, NetworkSettings, PortBinding,
	};
	use tokio::net::TcpListener;

	fn exposing(ports: &[&str]) -> ImageInspect {
		ImageInspect {
			config: Some(ImageConfig {
				exposed_ports: Some(ports.iter().map(|port| (*port).into()).collect()),
				..Default::default()
			}),
			..Default::default()
		}
	}

	#[test]
	fn the_default_port_is_the_one_named_or_the_lowest() {
		let image = exposing(&["443/tcp", "80/tcp", "53/udp", "80/tcp"]);
		assert_eq!(ports_of(&image, None), [80, 443]);
		assert_eq!(ports_of(&image, Some(443)), [443, 80]);
		assert_eq!(ports_of(&image, Some(9_000)), [9_000, 80, 443]);
		assert!(ports_of(&exposing(&["x/tcp", "0/tcp", ""]), None).is_empty());
		assert!(ports_of(&ImageInspect::default(), None).is_empty());
		let many: Vec<String> = (1..100).map(|port| format!("{port}/tcp")).collect();
		let many: Vec<&str> = many.iter().map(String::as_str).collect();
		assert_eq!(ports_of(&exposing(&many), Some(99)).len(), MAX_PORTS);
	}

	fn container(network: &str, bindings: &[(&str, &str, &str)]) -> ContainerInspectResponse {
		ContainerInspectResponse {
			config: Some(ContainerConfig {
				labels: Some(HashMap::from([(LABEL_PORTS.into(), "90,80,x".into())])),
				..Default::default()
			}),
			host_config: Some(HostConfig {
				network_mode: Some(network.into()),
				..Default::default()
			}),
			network_settings: Some(NetworkSettings {
				ports: Some(
					bindings
						.iter()
						.map(|(port, ip, host_port)| {
							let binding = PortBinding {
								host_ip: Some((*ip).into()),
								host_port: Some((*host_port).into()),
							};
							((*port).into(), Some(vec![binding]))
						})
						.collect(),
				),
				..Default::default()
			}),
			..Default::default()
		}
	}

	#[test]
	fn ports_are_reached_where_the_engine_says() {
		let found = container(
			"bridge",
			&[("80/tcp", "127.0.0.1", "40000"), ("90/tcp", "", "1")],
		);
		let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
		assert_eq!(reached_at(&found), [(80, at(40_000))]);
		assert_eq!(
			reached_at(&container("host", &[])),
			[(90, at(90)), (80, at(80))]
		);
	}

	#[tokio::test]
	async fn a_port_that_accepts_and_closes_does_not_answer() {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		let address = listener.local_addr().unwrap();
		assert!(accepts(address).await, "it waits to be spoken to");
		let closing = tokio::spawn(async move {
			loop {
				drop(listener.accept().await);
			}
		});
		// The first connection of above is still in the queue.
		assert!(!accepts(address).await, "it closes at once");
		closing.abort();
		let _ = closing.await;
		assert!(!accepts(address).await, "nothing listens");
	}

	#[tokio::test]
	async fn a_health_check_decides_unless_the_engine_does_not_run_it() {
		let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
		let ports = [(80, listener.local_addr().unwrap())];
		let with = |status, probes: usize| {
			let mut found = container("bridge", &[]);
			found.state = Some(ApiState {
				health: Some(Health {
					status: Some(status),
					log: Some(vec![HealthcheckResult::default(); probes]),
					..Default::default()
				}),
				..Default::default()
			});
			if let Some(config) = &mut found.config {
				config.healthcheck = Some(HealthConfig {
					interval: Some(1_000_000_000),
					timeout: Some(1_000_000_000),
					..Default::default()
				});
			}
			found
		};
		let soon = Duration::from_secs(1);
		let late = Duration::from_secs(60);
		use HealthStatusEnum::{EMPTY, HEALTHY, STARTING, UNHEALTHY};
		assert!(answers(&with(HEALTHY, 1), &[], soon).await);
		assert!(!answers(&with(UNHEALTHY, 1), &ports, late).await);
		assert!(!answers(&with(STARTING, 0), &ports, soon).await);
		assert!(!answers(&with(STARTING, 1), &ports, late).await);
		assert!(answers(&with(STARTING, 0), &ports, late).await);
		assert!(answers(&with(EMPTY, 0), &ports, soon).await);
		assert!(!answers(&with(EMPTY, 0), &[], late).await);
	}

	#[test]
	fn revivals_come_at_growing_pauses() {
		let mut run = Run::default();
		assert!(run.may_revive() && !run.may_revive());
		for _ in 0..80 {
			run.revive_at = None;
			assert!(run.may_revive());
			let pause = run.revive_at.unwrap() - Instant::now();
			assert!(pause <= Duration::from_secs(REVIVE_MOST));
		}
	}
}
