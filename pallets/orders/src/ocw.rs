//! The off-chain worker: at each imported block it sends the agent of each of this node's workers its
//! deployment, and submits the container's state on chain, fee-less.
//!
//! It sends the whole deployment each time, not the changes, so a restart of the node, the agent or the
//! container engine loses nothing.

use crate::{pallet::*, *};
use alloc::{
	string::{String, ToString},
	vec::Vec,
};
use codec::Encode;
use kaisar_primitives::{
	BlockNumber, Checks, DeployFailure, HOURS, MILLISECS_PER_BLOCK, OrderId, WorkerId, WorkerInfo,
	WorkerKey, WorkerRegistry, WorkloadItems,
	agent::{
		ContainerLimits, ContainerReport, ContainerState, Deployment, OrderRequest, PATH_ORDER,
	},
	authorized::genesis,
	offchain::{self, Agent, ORDERS_LOCK, forget, may_send, read, submit},
	order_payload,
};
use sp_runtime::{
	RuntimeAppPublic,
	offchain::{
		Duration, Timestamp,
		storage::StorageValueRef,
		storage_lock::{StorageLock, Time},
	},
};

/// Timeout of the lock, for a node that dies while it holds it.
const LOCK: Duration = Duration::from_millis(10_000);
/// Blocks between two messages to an agent that has nothing to run.
const IDLE: BlockNumber = 20;
/// Blocks before its deadline at which an unfinished deployment is given up: a slow registry or an image
/// that does not answer is the customer's fault, a deadline that passes is the provider's.
const GIVE_UP: BlockNumber = 5;
/// Blocks beyond the chain's own time for which an agent keeps a container without a message. A stalled
/// chain sends none, and paid time stalls with it: the container has to be running when the chain resumes. A
/// longer time costs only the provider's own machine, since a customer is let in no longer than `serve_ms`.
const GRACE: BlockNumber = 24 * HOURS;

/// Runs after block `now` was imported.
pub fn run<T: Config>(now: BlockNumber) {
	let workers = WorkerKey::all();
	if workers.is_empty() {
		return;
	}
	let mut lock = StorageLock::<Time>::with_deadline(ORDERS_LOCK, LOCK);
	let Ok(_guard) = lock.try_lock() else { return };

	let until = offchain::until();
	for key in &workers {
		serve::<T>(key, now, until);
	}
}

/// Serves the worker that holds `key`.
fn serve<T: Config>(key: &WorkerKey, now: BlockNumber, until: Timestamp) {
	let Some(worker) = T::Workers::by_key(key) else {
		return;
	};
	let Some(info) = T::Workers::info(worker, T::Checks::next_round()) else {
		return;
	};
	if info.key != *key {
		return;
	}
	let order = info
		.order
		.and_then(|id| Some((id, Orders::<T>::get(id)?)))
		.filter(|(_, order)| order.is_placed());
	let Some((id, order)) = order.filter(|(_, order)| !is_held_back::<T>(worker, order, now))
	else {
		nothing_to_run::<T>(key, worker, now, until);
		return;
	};
	let Some(deployment) = deployment::<T>(id, &order, &info, now) else {
		return;
	};
	let Some(agent) = Agent::of(key.as_ref(), now, until) else {
		return;
	};
	StorageValueRef::persistent(&idle_key(worker)).clear();
	let request = OrderRequest {
		genesis: genesis::<T>(),
		worker,
		deployment: Some(deployment),
	};
	let Some(report) = agent.ask::<ContainerReport>(PATH_ORDER, &request) else {
		return;
	};
	// An agent that reports another order has not caught up yet.
	if report.order == Some(id) {
		submit_state::<T>(key, id, &order, report.state, now);
	}
}

/// Returns whether an order's deployment waits: the machine still owes proofs from before it was rented, and
/// proof and container must not share it. The wait ends in time for the whole of the deployment, however
/// long the proof takes.
fn is_held_back<T: Config>(worker: WorkerId, order: &OrderOf<T>, now: BlockNumber) -> bool {
	let starts_at = order
		.deploy_by
		.saturating_sub(Pallet::<T>::deploy_blocks_of(order));
	order.state == OrderState::Deploying
		&& now < starts_at
		&& T::Checks::proves_until(worker).is_some_and(|until| now <= until)
}

/// Returns the local storage key of the block of the last message to an agent with nothing to run.
fn idle_key(worker: WorkerId) -> Vec<u8> {
	(b"kaisar/orders/idle", worker).encode()
}

/// Tells an agent that it has nothing to run, at once and then every [`IDLE`] blocks: it may have restarted.
fn nothing_to_run<T: Config>(
	key: &WorkerKey,
	worker: WorkerId,
	now: BlockNumber,
	until: Timestamp,
) {
	let name = idle_key(worker);
	let informed_at = read::<BlockNumber>(&name);
	if informed_at.is_some_and(|at| now >= at && now - at < IDLE) {
		return;
	}
	let Some(agent) = Agent::of(key.as_ref(), now, until) else {
		return;
	};
	let request = OrderRequest {
		genesis: genesis::<T>(),
		worker,
		deployment: None,
	};
	if agent.ask::<ContainerReport>(PATH_ORDER, &request).is_some() {
		StorageValueRef::persistent(&name).set(&now);
	}
}

/// Returns the deployment of an order for an agent. `None` if the order's workload is gone.
fn deployment<T: Config>(
	id: OrderId,
	order: &OrderOf<T>,
	info: &WorkerInfo<T::AccountId>,
	now: BlockNumber,
) -> Option<Deployment> {
	let Ordered {
		run, client_key, ..
	} = Workloads::<T>::get(id)?;
	let (serve, keep) = match order.state {
		OrderState::Active => {
			let left = order.ends_at.saturating_sub(now);
			(Some(left), left)
		}
		OrderState::Closing => (Some(0), 0),
		_ => (None, order.deploy_by.saturating_sub(now)),
	};
	let answer = (order.state == OrderState::Deploying && order.deploy_blocks != 0)
		.then(|| order.deploy_by.saturating_sub(now));
	let millis = |blocks: BlockNumber| u64::from(blocks).saturating_mul(MILLISECS_PER_BLOCK);
	Some(Deployment {
		order: id,
		image: String::from_utf8_lossy(&run.image).into_owned(),
		args: texts(&run.args),
		env: texts(&run.env),
		ports: run.ports.to_vec(),
		capabilities: run
			.capabilities
			.iter()
			.map(|capability| capability.name().to_string())
			.collect(),
		client: client_key,
		limits: ContainerLimits {
			gpus: order.requirement.gpu_count,
			cpu_cores: info.spec.cpu_cores,
			memory_gb: info.spec.memory_gb,
			disk_gb: info.spec.disk_gb,
		},
		answer_ms: answer.map(millis),
		serve_ms: serve.map(millis),
		keep_ms: millis(
			keep.saturating_add(Pallet::<T>::closing_timeout())
				.saturating_add(GRACE),
		),
	})
}

/// Returns arguments or variables as texts. Orders with others are refused when they are placed.
fn texts(items: &WorkloadItems) -> Vec<String> {
	items
		.iter()
		.map(|item| String::from_utf8_lossy(item).into_owned())
		.collect()
}

/// Submits the state of an order's container, if that changes the order.
fn submit_state<T: Config>(
	key: &WorkerKey,
	id: OrderId,
	order: &OrderOf<T>,
	state: ContainerState,
	now: BlockNumber,
) {
	let genesis = genesis::<T>();
	let deploying = order.state == OrderState::Deploying;
	let late = now.saturating_add(GIVE_UP) >= order.deploy_by;
	let sign = |payload: [u8; 32]| key.sign(&payload).map(|signature| Some(signature.into()));
	let fail = |reason: DeployFailure| {
		Some(Call::fail_deployment {
			order: id,
			reason,
			signature: sign(order_payload(
				b"kaisar/fail_deployment",
				genesis,
				(id, reason),
			))?,
		})
	};
	let (what, call) = match state {
		ContainerState::Running if deploying => {
			let payload = order_payload(b"kaisar/confirm_deployment", genesis, (id,));
			let call = sign(payload).map(|signature| Call::confirm_deployment {
				order: id,
				signature,
			});
			("its container runs".to_string(), call)
		}
		ContainerState::Failed { failure, message } if deploying => {
			(alloc::format!("{failure:?}: {message}"), fail(failure))
		}
		ContainerState::Pulling { percent } if deploying && late => (
			alloc::format!("the deadline is near with {percent} % of its image pulled"),
			fail(DeployFailure::ImageUnavailable),
		),
		ContainerState::Starting if deploying && late => (
			"the deadline is near and its container does not answer".to_string(),
			fail(DeployFailure::Unhealthy),
		),
		// A container that ends before its first answer was never deployed.
		ContainerState::Exited { code } if deploying => (
			alloc::format!("its container exited with code {code} before it answered"),
			fail(DeployFailure::ContainerExited),
		),
		ContainerState::Exited { code } => {
			let payload = order_payload(b"kaisar/report_exit", genesis, (id, code));
			let call = sign(payload).map(|signature| Call::report_exit {
				order: id,
				code,
				signature,
			});
			(
				alloc::format!("its container exited with code {code}"),
				call,
			)
		}
		// Nothing to submit: the deployment continues, or a committee has to find the fault.
		_ => return,
	};
	let sent = (b"order", id, order.state);
	if !may_send(sent, now) {
		return;
	}
	let Some(call) = call else {
		log::warn!(
			target: LOG_TARGET,
			"order {id}: the keystore cannot sign with the worker's key: check its files",
		);
		forget(sent);
		return;
	};
	if submit::<T, _>(call) {
		log::info!(target: LOG_TARGET, "order {id}: {what}");
	}
}
