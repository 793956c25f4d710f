//! Tests of the off-chain worker, with an agent that gives the test's answers.

use super::*;
use codec::{Decode, Encode};
use frame_support::{
	pallet_prelude::TransactionSource,
	traits::{Authorize, Hooks},
};
use kaisar_primitives::{
	Ports, WorkloadItems,
	agent::{
		AgentConfig, ContainerLimits, ContainerReport, ContainerState, Deployment, OrderRequest,
		PATH_ORDER, config_key,
	},
	keys::WORKER_KEY_TYPE,
};
use parking_lot::RwLock;
use sp_core::{
	Pair,
	offchain::{
		OffchainDbExt, OffchainWorkerExt, TransactionPoolExt,
		testing::{
			OffchainState, PendingRequest, PoolState, TestOffchainExt, TestTransactionPoolExt,
		},
	},
};
use sp_keystore::{Keystore, KeystoreExt, testing::MemoryKeystore};
use sp_runtime::{BoundedVec, offchain::storage::StorageValueRef};
use std::sync::Arc;

const URL: &str = "http://127.0.0.1:9";

struct Node {
	ext: sp_io::TestExternalities,
	agent: Arc<RwLock<OffchainState>>,
	pool: Arc<RwLock<PoolState>>,
}

impl Node {
	/// Returns a node with the key of worker 0, to which order 0 was matched.
	fn new(workload: Workload) -> Self {
		Self::with(workload, |_| ())
	}

	/// Returns the same, with a worker changed by `machine` before the match.
	fn with(workload: Workload, machine: impl FnOnce(&mut Machine)) -> Self {
		let mut ext = ExtBuilder.build();
		let (offchain, agent) = TestOffchainExt::new();
		let (transactions, pool) = TestTransactionPoolExt::new();
		let keystore = MemoryKeystore::new();
		let key = pair(0).public();
		keystore
			.insert(WORKER_KEY_TYPE, "//worker/0", key.as_ref())
			.unwrap();
		ext.register_extension(OffchainDbExt::new(offchain.clone()));
		ext.register_extension(OffchainWorkerExt::new(offchain));
		ext.register_extension(TransactionPoolExt::new(transactions));
		ext.register_extension(KeystoreExt::from(Arc::new(keystore) as Arc<dyn Keystore>));
		ext.execute_with(|| {
			let config = AgentConfig {
				url: URL.into(),
				token: "secret".into(),
			};
			StorageValueRef::persistent(&config_key(key.as_ref())).set(&config);
			let worker = add_machine(PETRA);
			with_machine(worker, machine);
			assert_ok!(Rentals::set_template(
				RuntimeOrigin::root(),
				1,
				Some(template())
			));
			assert_ok!(Rentals::place_order(
				signed(CARLA),
				ONE,
				workload,
				1,
				Plan::OnDemand,
				Balance::MAX,
				0,
				client_key(),
			));
			run_to(3);
			assert_eq!(order(0).worker, Some(0));
		});
		Self { ext, agent, pool }
	}

	/// Runs the off-chain worker, with an agent that is asked to run `deployment` and reports `state`.
	/// Returns the call that follows.
	fn work(&mut self, deployment: Deployment, state: ContainerState) -> Option<Call<Test>> {
		let report = ContainerReport {
			order: Some(0),
			state,
		};
		self.ask(Some(deployment), report)
	}

	/// Runs the off-chain worker, with an agent that expects this deployment and gives this answer. Returns
	/// the call that follows.
	fn ask(
		&mut self,
		deployment: Option<Deployment>,
		report: ContainerReport,
	) -> Option<Call<Test>> {
		let request = OrderRequest {
			genesis: self
				.ext
				.execute_with(kaisar_primitives::authorized::genesis::<Test>),
			worker: 0,
			deployment,
		};
		self.agent.write().expect_request(PendingRequest {
			method: "POST".into(),
			uri: format!("{URL}{PATH_ORDER}"),
			headers: vec![
				("Authorization".into(), "Bearer secret".into()),
				("Content-Type".into(), "application/octet-stream".into()),
			],
			body: request.encode(),
			sent: true,
			response: Some(report.encode()),
			..Default::default()
		});
		self.ext.execute_with(|| Rentals::offchain_worker(now()));
		let sent = std::mem::take(&mut self.pool.write().transactions);
		let call = sent.first().map(|bytes| {
			let call = Extrinsic::decode(&mut bytes.as_slice()).unwrap().function;
			let taken = self
				.ext
				.execute_with(|| call.authorize(TransactionSource::Local));
			taken
				.expect("an authorized call")
				.expect("the pool takes it");
			let RuntimeCall::Rentals(call) = call else {
				panic!("{call:?}")
			};
			call
		});
		assert!(sent.len() < 2);
		call
	}
}

fn items(texts: &[&str]) -> WorkloadItems {
	let item = |text: &&str| BoundedVec::truncate_from(text.as_bytes().to_vec());
	BoundedVec::truncate_from(texts.iter().map(item).collect())
}

fn template() -> Template {
	Template {
		args: items(&["lab"]),
		env: items(&["LANG=C"]),
		ports: BoundedVec::truncate_from(vec![8_888, 22]),
		capabilities: BoundedVec::truncate_from(vec![Capability::Chown]),
		..Template::of(reference("jupyter"))
	}
}

fn plain() -> Deployment {
	Deployment {
		order: 0,
		image: "docker.io/library/nginx:1.27".into(),
		args: vec![],
		env: vec![],
		ports: vec![],
		capabilities: vec![],
		client: client_key(),
		limits: ContainerLimits {
			gpus: 1,
			..Default::default()
		},
		answer_ms: None,
		serve_ms: None,
		keep_ms: u64::from(DEADLINE + TIMEOUT + 24 * HOURS) * 12_000,
	}
}

#[test]
fn a_failure_is_reported_as_the_agent_names_it() {
	for failure in [
		DeployFailure::ImageUnavailable,
		DeployFailure::ContainerExited,
		DeployFailure::Unhealthy,
		DeployFailure::SealedMissing,
		DeployFailure::NoEngine,
		DeployFailure::NoSpace,
		DeployFailure::PullFailed,
		DeployFailure::PlatformMismatch,
		DeployFailure::StartFailed,
	] {
		let mut node = Node::new(workload());
		let message = "as the engine says".into();
		let call = node.work(plain(), ContainerState::Failed { failure, message });
		assert!(
			matches!(
				call,
				Some(Call::fail_deployment { order: 0, reason, .. }) if reason == failure
			),
			"{call:?}"
		);
	}
}

#[test]
fn a_container_that_ends_before_it_answers_is_the_customers_failure() {
	let mut node = Node::new(workload());
	let call = node.work(plain(), ContainerState::Exited { code: 1 });
	let reason = DeployFailure::ContainerExited;
	assert!(
		matches!(call, Some(Call::fail_deployment { reason: told, .. }) if told == reason),
		"{call:?}"
	);
}

#[test]
fn a_running_container_is_confirmed() {
	let mut node = Node::new(workload());
	assert_eq!(node.work(plain(), ContainerState::Starting), None);
	let call = node.work(plain(), ContainerState::Running);
	assert!(matches!(
		call,
		Some(Call::confirm_deployment { order: 0, .. })
	));
}

#[test]
fn the_agent_gets_the_whole_workload() {
	let of_template = Workload::of(Image::Template(1));
	let own = Workload {
		args: items(&["notebook", "\u{fc}"]),
		env: items(&["LANG=de", "A=b=c"]),
		ports: Ports::truncate_from(vec![80, 443]),
		..of_template.clone()
	};
	let texts = |texts: &[&str]| texts.iter().map(|text| (*text).into()).collect::<Vec<_>>();
	for (workload, args, env, ports) in [
		(
			of_template,
			texts(&["lab"]),
			texts(&["LANG=C"]),
			vec![8_888, 22],
		),
		// The order's own arguments and ports replace the template's, its variables follow them.
		(
			own,
			texts(&["notebook", "\u{fc}"]),
			texts(&["LANG=C", "LANG=de", "A=b=c"]),
			vec![80, 443],
		),
	] {
		let mut node = Node::new(workload);
		let deployment = Deployment {
			image: "jupyter".into(),
			args,
			env,
			ports,
			capabilities: vec!["CHOWN".into()],
			..plain()
		};
		assert_eq!(node.work(deployment, ContainerState::Starting), None);
	}
}

#[test]
fn an_order_with_its_own_deadline_gives_the_container_until_then() {
	let mut node = Node::new(Workload {
		deploy_blocks: 100,
		..workload()
	});
	let deployment = Deployment {
		answer_ms: Some(100 * 12_000),
		keep_ms: u64::from(100 + TIMEOUT + 24 * HOURS) * 12_000,
		..plain()
	};
	assert_eq!(node.work(deployment, ContainerState::Starting), None);
	node.ext.execute_with(|| confirm(0));
	let deployment = Deployment {
		serve_ms: Some(u64::from(HOURS) * 12_000),
		keep_ms: u64::from(HOURS + TIMEOUT + 24 * HOURS) * 12_000,
		..plain()
	};
	assert_eq!(node.work(deployment, ContainerState::Running), None);
}

#[test]
fn a_deployment_waits_while_the_machine_proves_what_it_was() {
	let idle = || ContainerReport {
		order: None,
		state: ContainerState::Absent,
	};
	let keep = |blocks: BlockNumber| u64::from(blocks + TIMEOUT + 24 * HOURS) * 12_000;
	let mut node = Node::with(workload(), |machine| machine.proves_until = Some(20));
	// All this time the agent is asked to run nothing.
	assert_eq!(node.ask(None, idle()), None);
	node.ext.execute_with(|| {
		for block in 4..20 {
			run_to(block);
			Rentals::offchain_worker(now());
		}
	});
	// The openings are over early: the worker deploys at once, and has more time for it.
	let mut early = Node::with(workload(), |machine| machine.proves_until = Some(20));
	early.ext.execute_with(|| {
		run_to(9);
		with_machine(0, |machine| machine.proves_until = Some(8));
	});
	let deployment = Deployment {
		keep_ms: keep(11 + DEADLINE),
		..plain()
	};
	assert_eq!(early.work(deployment, ContainerState::Starting), None);
	// The openings take longer than they may: the deployment still has all of its time.
	node.ext.execute_with(|| {
		with_machine(0, |machine| machine.proves_until = Some(1_000));
		run_to(20);
		assert_eq!(order(0).deploy_by, now() + DEADLINE);
	});
	let deployment = Deployment {
		keep_ms: keep(DEADLINE),
		..plain()
	};
	assert_eq!(node.work(deployment, ContainerState::Starting), None);
}

#[test]
fn a_container_that_runs_is_not_held_back_by_a_proof() {
	let mut node = Node::new(workload());
	node.ext.execute_with(|| {
		confirm(0);
		with_machine(0, |machine| machine.proves_until = Some(1_000));
	});
	let deployment = Deployment {
		serve_ms: Some(u64::from(HOURS) * 12_000),
		keep_ms: u64::from(HOURS + TIMEOUT + 24 * HOURS) * 12_000,
		..plain()
	};
	assert_eq!(node.work(deployment, ContainerState::Running), None);
}

#[test]
fn a_container_outlives_a_chain_that_stands_still() {
	let mut node = Node::new(workload());
	let (left, keep) = node.ext.execute_with(|| {
		confirm(0);
		run_to(order(0).ends_at - 1);
		(12_000, u64::from(1 + TIMEOUT + 24 * HOURS) * 12_000)
	});
	// The last message before the chain stalls. An agent that gets no further message removes the container
	// after `keep_ms`, and ends the customer's access after `serve_ms`.
	let last = Deployment {
		serve_ms: Some(left),
		keep_ms: keep,
		..plain()
	};
	assert_eq!(node.work(last, ContainerState::Running), None);
	assert!(keep > 24 * 3_600_000, "a day's stall costs no order");
}
