//! Reconciles a worker's container with its desired state.
//!
//! A supervisor keeps almost no state: at each look it asks the engine for the actual state, takes one step
//! towards the desired one, and looks again. So it can be stopped at any point, and interference from
//! outside is handled like the remains of a crash.

use super::{
	brief::brief,
	engine::{Engine, Fault},
	image::{Reference, is_final},
	inspect::{answers, has_gpus, label, ports_of, reached_at},
	limits::{self, GB, Machine},
	network,
	run::{Run, STEADY},
	state::{
		DesiredState, Key, LABEL_AGENT, LABEL_GENESIS, LABEL_ORDER, LABEL_PORTS, LABEL_WORKER,
		SupervisorState, failed, labels_of, unknown,
	},
	watch::Exit,
};
use crate::host::store::now_ms;
use bollard::models::{
	ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum as Status, HostConfig,
};
use kaisar_primitives::{
	DeployFailure,
	agent::{ContainerState, Deployment},
};
use std::{
	collections::HashMap,
	net::SocketAddr,
	sync::{Arc, atomic::Ordering},
	time::{Duration, Instant},
};

/// Interval of looks at a worker with an order.
const TICK: Duration = Duration::from_secs(1);
/// Interval of looks at a worker without an order.
const IDLE: Duration = Duration::from_secs(60);
/// Pause before a retry of an order that was served before and cannot be served now.
const AGAIN: Duration = Duration::from_secs(10);
/// Number of pulls, and of starts, before an order fails.
const TRIES: u32 = 3;
/// Pause after the first failed pull; it grows by the same amount with each failure.
const PULL_AGAIN: Duration = Duration::from_secs(5);
/// Time from a container's start to the first look at it.
const SOON: Duration = Duration::from_millis(250);

/// Supervises a worker until its slot is removed.
pub(super) async fn supervise(shared: Arc<SupervisorState>, key: Key) {
	let Some(mut changed) = shared.changes(&key) else {
		return;
	};
	let mut run = Run::default();
	loop {
		changed.mark_unchanged();
		let Some((generation, desired)) = shared.desired(&key) else {
			return;
		};
		let order = desired.as_ref().map(|desired| desired.deployment.order);
		if run.order != order {
			run = Run {
				order,
				..Default::default()
			};
		}
		run.ran = desired.as_ref().is_some_and(|desired| desired.ran);
		let mut task = Task {
			shared: &shared,
			key: &key,
			generation,
			run: &mut run,
		};
		let ended = shared.watch.ended.notified();
		let step = async {
			let pause = task.step(desired.as_ref()).await;
			tokio::select! {
				_ = tokio::time::sleep(pause) => (),
				_ = ended => (),
			}
		};
		tokio::select! {
			_ = step => (),
			// The slot was removed: another supervisor starts if the worker comes back.
			changed = changed.changed() => if changed.is_err() {
				return;
			},
		}
	}
}

/// A look at a worker.
struct Task<'a> {
	shared: &'a SupervisorState,
	key: &'a Key,
	generation: u64,
	run: &'a mut Run,
}

impl Task<'_> {
	/// Takes a step and returns the time until the next look.
	async fn step(&mut self, desired: Option<&DesiredState>) -> Duration {
		let open = desired.filter(|desired| desired.ended.is_none());
		let Some(engine) = self.shared.engine() else {
			match open {
				Some(desired) if !desired.ran => {
					self.fail(
						DeployFailure::NoEngine,
						"this machine has no container engine",
					);
				}
				Some(_) => self.publish(unknown("this machine has no container engine"), None),
				None => self.publish_absent(desired),
			}
			return IDLE;
		};
		match self.look(&engine, desired).await {
			Ok(pause) => {
				self.run.silent = None;
				let left = desired.map_or(u64::MAX, |desired| {
					desired.keep_until.saturating_sub(now_ms())
				});
				pause.min(Duration::from_millis(left))
			}
			Err(fault) => {
				let since = *self.run.silent.get_or_insert_with(Instant::now);
				tracing::debug!(%fault, order = self.run.order, "cannot inspect the container");
				// Before the first run, the customer is better off with a refund.
				if open.is_some_and(|desired| !desired.ran)
					&& since.elapsed() > self.shared.settings.timeouts.engine
				{
					self.fail(DeployFailure::NoEngine, &fault.to_string());
				} else if desired.is_none_or(|desired| desired.ended.is_none()) {
					self.publish(unknown(&fault.to_string()), None);
				}
				TICK
			}
		}
	}

	async fn look(
		&mut self,
		engine: &Engine,
		desired: Option<&DesiredState>,
	) -> Result<Duration, Fault> {
		let (genesis, worker) = labels_of(self.key);
		let labels = [
			format!("{LABEL_AGENT}={}", self.shared.agent),
			format!("{LABEL_GENESIS}={genesis}"),
			format!("{LABEL_WORKER}={worker}"),
		];
		let open = desired.filter(|desired| desired.ended.is_none());
		let (mut container, mut removed) = (None, false);
		for found in engine.list(Some(&labels)).await? {
			let order = label(&found, LABEL_ORDER).and_then(|order| order.parse().ok());
			let Some(id) = found.id else { continue };
			if container.is_none() && open.is_some_and(|open| order == Some(open.deployment.order))
			{
				container = Some(id);
			} else {
				tracing::info!(order, container = id, "removing a container");
				engine.remove(&id).await?;
				removed = true;
			}
		}
		if removed || open.is_none() {
			let order = open.map(|open| open.deployment.order);
			network::tidy(self.shared, engine, self.key, order).await?;
		}
		let Some(desired) = open else {
			self.publish_absent(desired);
			return Ok(IDLE);
		};
		match container {
			None if desired.ran && !self.run.may_revive() => {
				self.publish(
					unknown("the container was removed from outside and will be started again"),
					Some(&[]),
				);
				Ok(TICK)
			}
			None => self.deploy(engine, desired).await,
			Some(id) => match engine.inspect(&id).await? {
				Some(found) => self.tend(engine, desired, &id, &found).await,
				None => Ok(SOON),
			},
		}
	}

	/// Creates the container, after its image.
	async fn deploy(&mut self, engine: &Engine, desired: &DesiredState) -> Result<Duration, Fault> {
		let deployment = &desired.deployment;
		let reference = match Reference::parse(&deployment.image) {
			Ok(reference) => reference,
			Err(why) => return Ok(self.fail(DeployFailure::ImageUnavailable, why)),
		};
		let plan = match network::plan(self.shared, engine).await? {
			Ok(plan) => plan,
			Err(why) => return Ok(self.fail(DeployFailure::NoEngine, &why)),
		};
		let disk = self.room(engine, deployment).await;
		let Some(image) = engine.image(reference.full()).await? else {
			return self.pull(engine, deployment, &reference).await;
		};
		self.shared.pulled.used(reference.full());
		let size = u64::try_from(image.size.unwrap_or(0)).unwrap_or(0);
		if too_large(size, deployment) {
			return Ok(self.fail(DeployFailure::ImageUnavailable, TOO_LARGE));
		}
		let ports = ports_of(&image, &deployment.ports);
		if ports.is_empty() {
			let why = "the image exposes no TCP port and the order names none";
			return Ok(self.fail(DeployFailure::Unhealthy, why));
		}
		if !desired.ran && self.run.starts >= TRIES {
			return Ok(self.start_failed());
		}
		self.run.starts = self.run.starts.saturating_add(1);
		self.publish(ContainerState::Starting, Some(&[]));
		let machine = match Machine::detect_for(deployment, &self.shared.gpus).await {
			Ok(machine) => machine,
			Err(why) => return Ok(self.fail(DeployFailure::PlatformMismatch, &why)),
		};
		let settings = &self.shared.settings;
		let order = deployment.order;
		let joined = match network::prepare(self.shared, engine, &plan, self.key, order).await? {
			Ok(joined) => joined,
			Err(why) => return Ok(self.fail(DeployFailure::NoEngine, &why)),
		};
		let mut host_config = match limits::host_config(
			deployment,
			&machine,
			&joined,
			&ports,
			disk.filter(|_| self.shared.quota.load(Ordering::Relaxed)),
		) {
			Ok(config) => config,
			Err(why) => return Ok(self.fail(DeployFailure::PlatformMismatch, &why)),
		};
		network::resolvers(&mut host_config, &plan, settings);
		if let Some(why) = network::gpu_refusal(&host_config, settings).await {
			return Ok(self.fail(DeployFailure::NoEngine, &why));
		}
		let gpus = host_config.device_requests.clone();
		let (name, body) = self.container(deployment, &reference, &ports, host_config);
		let id = match self.create(engine, &name, body).await {
			Ok(id) => id,
			Err(fault @ Fault::Silent(_)) => return Err(fault),
			Err(fault) => return Ok(self.not_started(fault)),
		};
		if let Some(gpus) = gpus
			&& !engine
				.inspect(&id)
				.await?
				.is_some_and(|found| has_gpus(found, &gpus))
		{
			let why = "the container engine does not hand out GPUs";
			return Ok(self.fail(DeployFailure::PlatformMismatch, why));
		}
		self.start(engine, &id).await
	}

	/// Frees disk for an order's data. Returns the bytes that it can have; `None` if the order has no disk
	/// limit.
	async fn room(&self, engine: &Engine, deployment: &Deployment) -> Option<u64> {
		let (order, asked) = (deployment.order, u64::from(deployment.limits.disk_gb) * GB);
		let store = engine.root().await.ok().flatten();
		let room = self.shared.room.clone();
		let making =
			tokio::task::spawn_blocking(move || room.make_room(order, asked, store.as_deref()));
		let given = making.await.unwrap_or(asked);
		// An engine takes 0 for no limit at all.
		(asked > 0).then(|| given.clamp(GB, asked))
	}

	/// Creates a container, without a storage limit if the engine's storage has none. A container that fails
	/// without the limit too proves nothing about the storage: otherwise an image that no engine accepts
	/// would free all later orders of their limit.
	async fn create(
		&self,
		engine: &Engine,
		name: &str,
		body: ContainerCreateBody,
	) -> Result<String, Fault> {
		let mut free = body.clone();
		let limit = free
			.host_config
			.as_mut()
			.and_then(|config| config.storage_opt.take());
		match engine.create(name, body).await {
			Err(Fault::Refused(why)) if limit.is_some() => {
				tracing::debug!(why, "trying without a limit of the storage");
				let made = engine.create(name, free).await?;
				if self.shared.quota.swap(false, Ordering::Relaxed) {
					tracing::info!("the engine's storage does not limit what containers write");
				}
				Ok(made)
			}
			made => made,
		}
	}

	/// Returns the name of an order's container and its description for the engine.
	fn container(
		&self,
		deployment: &Deployment,
		reference: &Reference,
		ports: &[u16],
		host_config: HostConfig,
	) -> (String, ContainerCreateBody) {
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
			// The image's entrypoint stays.
			cmd: (!deployment.args.is_empty()).then(|| deployment.args.clone()),
			env: Some(limits::environment(
				&deployment.env,
				host_config.device_requests.as_deref(),
			)),
			host_config: Some(host_config),
			..Default::default()
		};
		(name, body)
	}

	async fn pull(
		&mut self,
		engine: &Engine,
		deployment: &Deployment,
		reference: &Reference,
	) -> Result<Duration, Fault> {
		if !reference.may_be_pulled() {
			let why = "this machine does not have the image, and its registry has no public name";
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
		self.publish(ContainerState::Pulling { percent: 0 }, Some(&[]));
		self.shared.pulled.make_room(engine).await?;
		let timeouts = self.shared.settings.timeouts;
		let mut said = 0;
		let mut large = false;
		let pulled = engine.pull(reference.full(), timeouts.stalled, |layers| {
			large = too_large(layers.total(), deployment);
			if large {
				return Err(Fault::Refused(TOO_LARGE.into()));
			}
			let percent = layers.percent();
			if percent != said {
				said = percent;
				self.publish(ContainerState::Pulling { percent }, None);
			}
			Ok(())
		});
		let pulled = tokio::time::timeout(timeouts.pull, pulled)
			.await
			.unwrap_or_else(|_| {
				Err(Fault::Refused(format!(
					"the pull took more than {} s",
					timeouts.pull.as_secs()
				)))
			});
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
				tracing::warn!(
					order = deployment.order,
					why,
					"the pull failed; trying again"
				);
				self.run.last = why;
				Ok(PULL_AGAIN * self.run.pulls)
			}
		}
	}

	/// Starts an existing container. Removes it if it does not start, so that it is created again.
	async fn start(&mut self, engine: &Engine, id: &str) -> Result<Duration, Fault> {
		self.publish(ContainerState::Starting, Some(&[]));
		if let Err(why) = network::admit(self.shared, engine).await? {
			return Ok(self.fail(DeployFailure::NoEngine, &why));
		}
		match engine.start(id).await {
			Ok(()) => {
				let order = self.run.order.unwrap_or_default();
				let apart = network::is_apart(self.shared, engine, self.key, order, id).await?;
				if let Err(why) = apart {
					engine.remove(id).await?;
					return Ok(self.fail(DeployFailure::NoEngine, &why));
				}
				tracing::info!(
					order = self.run.order,
					container = id,
					"the container was started"
				);
				self.run.started(id);
				Ok(SOON)
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
		tracing::warn!(order = self.run.order, %fault, "the container did not start");
		self.run.last = brief(&fault.to_string());
		TICK
	}

	fn start_failed(&mut self) -> Duration {
		let why = std::mem::take(&mut self.run.last);
		// The cause is nearly always the image's command. Blaming the machine would let a customer bar any
		// provider.
		self.fail(DeployFailure::ContainerExited, &why)
	}

	/// Handles an existing container.
	async fn tend(
		&mut self,
		engine: &Engine,
		desired: &DesiredState,
		id: &str,
		found: &ContainerInspectResponse,
	) -> Result<Duration, Fault> {
		self.name_container(id);
		let state = found.state.clone().unwrap_or_default();
		match state.status {
			Some(Status::RUNNING) => return self.watch_over(engine, desired, id, found).await,
			Some(Status::CREATED) => {
				if !desired.ran && self.run.starts > TRIES {
					return Ok(self.start_failed());
				}
				self.run.starts = self.run.starts.saturating_add(1);
				return self.start(engine, id).await;
			}
			Some(Status::PAUSED) => {
				tracing::warn!(
					order = self.run.order,
					"the container was paused from outside: resuming it"
				);
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
			// Between two states.
			_ => return Ok(TICK),
		}
		let code = state.exit_code.unwrap_or(-1);
		let seen = self
			.run
			.seen
			.filter(|_| self.run.container.as_deref() == Some(id));
		let out_of_memory = state.oom_killed == Some(true);
		let exit = if self.run.stopped_here {
			Exit::Foreign
		} else {
			self.shared.watch.exit(id, code, out_of_memory, seen)
		};
		let Some(exit) = self.run.settle(exit) else {
			return Ok(SOON);
		};
		let order = desired.deployment.order;
		if desired.ran {
			if exit == Exit::Own {
				tracing::info!(order, code, "the container ended by itself");
				self.end(ContainerState::Exited {
					code: i32::try_from(code).unwrap_or(-1),
				});
				return Ok(Duration::ZERO);
			}
			self.publish(
				unknown("the container was stopped from outside and will be started again"),
				Some(&[]),
			);
			if !self.run.may_revive() {
				return Ok(TICK);
			}
		} else {
			self.run.last = format!("the container ended at once with exit code {code}");
			if exit == Exit::Own || self.run.starts >= TRIES {
				return Ok(self.start_failed());
			}
			self.run.starts += 1;
		}
		tracing::warn!(
			order,
			code,
			?exit,
			"the container did not end by itself: starting it again"
		);
		self.start(engine, id).await
	}

	/// Handles a running container: waits for its answer, and restarts one that came up halfway.
	async fn watch_over(
		&mut self,
		engine: &Engine,
		desired: &DesiredState,
		id: &str,
		found: &ContainerInspectResponse,
	) -> Result<Duration, Fault> {
		if self.run.container.as_deref() != Some(id) {
			self.run.started(id);
		}
		let now = Instant::now();
		self.run.seen = Some(now);
		self.run.unsure = None;
		// An earlier stop failed: from now on an end is the program's own.
		self.run.stopped_here = false;
		let started = *self.run.started.get_or_insert(now);
		let ports = reached_at(found);
		if let Some(since) = self.run.answers {
			if since.elapsed() > STEADY {
				self.run.revived = 0;
			}
		} else if answers(found, &ports, started.elapsed()).await {
			tracing::info!(order = desired.deployment.order, "the container runs");
			self.run.answers = Some(now);
		} else {
			let overdue = started.elapsed() > self.shared.settings.timeouts.healthy;
			let has_time = desired.answer_by.is_some_and(|by| now_ms() < by);
			if overdue && !desired.ran && !has_time {
				return Ok(self.fail(
					DeployFailure::Unhealthy,
					"the container runs, but neither its health check nor its first port answers",
				));
			}
			self.publish(ContainerState::Starting, Some(&[]));
			// A container that this agent restarted may have come up halfway: Podman's cleanup after a
			// container's end can remove the ports of its next start. A container that the agent did not
			// restart is the customer's to restart.
			if overdue && self.run.revived > 0 {
				tracing::warn!(
					order = desired.deployment.order,
					"the restarted container does not answer: stopping it for another start"
				);
				// The end is then not the program's own.
				self.run.stopped_here = true;
				engine.stop(id).await?;
			}
			return Ok(TICK);
		}
		self.shared.update(self.key, self.generation, |slot| {
			slot.actual.state = ContainerState::Running;
			slot.actual.ports = ports;
			let first = slot.desired.as_mut().filter(|desired| !desired.ran);
			first.is_some_and(|desired| {
				desired.ran = true;
				true
			})
		});
		Ok(TICK)
	}

	/// Publishes the container's state, and its ports' addresses if they change.
	fn publish(&self, state: ContainerState, ports: Option<&[(u16, SocketAddr)]>) {
		self.shared.update(self.key, self.generation, |slot| {
			slot.actual.state = state;
			if let Some(ports) = ports {
				slot.actual.ports = ports.to_vec();
			}
			false
		});
	}

	fn name_container(&self, id: &str) {
		self.shared.update(self.key, self.generation, |slot| {
			if slot.actual.id.as_deref() != Some(id) {
				slot.actual.id = Some(id.to_owned());
			}
			false
		});
	}

	/// Publishes that no container exists or is wanted.
	fn publish_absent(&self, desired: Option<&DesiredState>) {
		let ended = desired.and_then(|desired| desired.ended.clone());
		self.shared.update(self.key, self.generation, |slot| {
			slot.actual.order = desired.map(|desired| desired.deployment.order);
			slot.actual.state = ended.unwrap_or(ContainerState::Absent);
			slot.actual.ports.clear();
			slot.actual.id = None;
			false
		});
	}

	/// Ends the order on this agent with a final state.
	fn end(&self, state: ContainerState) {
		self.shared.update(self.key, self.generation, |slot| {
			slot.actual.state = state.clone();
			slot.actual.ports.clear();
			if let Some(desired) = &mut slot.desired {
				desired.ended = Some(state);
			}
			true
		});
	}

	/// Fails the order. Returns the time until the next look: none, to clean up. An order that was served
	/// before stays wanted, since the cause may pass.
	fn fail(&mut self, failure: DeployFailure, why: &str) -> Duration {
		tracing::warn!(
			order = self.run.order,
			?failure,
			why,
			"the order cannot be deployed"
		);
		if self.run.ran {
			self.run.pulls = 0;
			self.publish(unknown(why), Some(&[]));
			return AGAIN;
		}
		self.end(failed(failure, why));
		Duration::ZERO
	}
}

const TOO_LARGE: &str = "the image is larger than the order's disk";

fn too_large(bytes: u64, deployment: &Deployment) -> bool {
	let disk = u64::from(deployment.limits.disk_gb) * GB;
	disk > 0 && bytes > disk
}
