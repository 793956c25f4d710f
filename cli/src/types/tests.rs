//! Checks these types against the chain's own.

use super::{
	image::{Capability, Image, Text, Workload},
	keys::{DatedKeys, Key, KeyProof, KeyTimeline},
	machine::{Arch, Cuda, Region, Requirement, WorkerSpec},
	order::{CloseReason, Issue, Money, Order, OrderState, Plan, Quote},
	reward::{DelegationPage, PoolId},
	worker::{Worker, WorkerState},
};
use crate::amount::{Kai, Share};
use kaisar_primitives::order;
use subxt::{
	ext::{scale_decode::DecodeAsType, scale_encode::EncodeAsType},
	utils::AccountId32,
};

/// Encodes a value of the chain and decodes it as this program does.
fn seen<Theirs: codec::Encode + scale_info::TypeInfo + 'static, Ours: DecodeAsType>(
	value: &Theirs,
) -> Ours {
	let (id, types) = register::<Theirs>();
	let bytes = value.encode();
	let mut rest = &bytes[..];
	let ours = Ours::decode_as_type(&mut rest, id, &types).expect("it is laid out as expected");
	assert!(rest.is_empty(), "all of it is read");
	ours
}

/// Encodes a value of this program and decodes it as the chain does.
fn as_theirs<Theirs: codec::Decode + scale_info::TypeInfo + 'static>(
	ours: &impl EncodeAsType,
) -> Theirs {
	let (id, types) = register::<Theirs>();
	let bytes = ours
		.encode_as_type(id, &types)
		.expect("it has a place for everything");
	codec::DecodeAll::decode_all(&mut &bytes[..]).expect("it is laid out as expected")
}

fn register<T: scale_info::TypeInfo + 'static>() -> (u32, scale_info::PortableRegistry) {
	let mut registry = scale_info::Registry::new();
	let id = registry.register_type(&scale_info::meta_type::<T>()).id;
	(id, registry.into())
}

#[test]
fn arguments_are_encoded_as_the_chain_expects() {
	let requirement = Requirement {
		gpu_class: 11,
		gpu_count: 2,
		min_bandwidth: 1,
		min_cpu: 2,
		min_memory: 3,
		min_disk: 4,
		region: Some(Region(*b"DE")),
		arch: Some(Arch::Arm64),
		min_driver: Some(570),
		min_cuda: Some(Cuda(1_208)),
	};
	let theirs: order::Requirement = as_theirs(&requirement);
	assert_eq!(
		(theirs.gpu_class, theirs.gpu_count, theirs.region),
		(11, 2, Some(*b"DE"))
	);
	let tiers = (
		theirs.min_bandwidth,
		theirs.min_cpu,
		theirs.min_memory,
		theirs.min_disk,
	);
	assert_eq!(tiers, (1, 2, 3, 4));
	let platform = (theirs.arch, theirs.min_driver, theirs.min_cuda);
	assert_eq!(
		platform,
		(Some(kaisar_primitives::Arch::Arm64), Some(570), Some(1_208))
	);
	assert_eq!(seen::<_, Requirement>(&theirs), requirement);

	for (ours, theirs) in [
		(Plan::OnDemand, order::Plan::OnDemand),
		(Plan::Month, order::Plan::Month),
		(Plan::Quarter, order::Plan::Quarter),
	] {
		assert_eq!(as_theirs::<order::Plan>(&ours), theirs);
	}
	for (ours, theirs) in [
		(Issue::Unreachable, order::Issue::Unreachable),
		(Issue::NotServing, order::Issue::NotServing),
		(Issue::Other, order::Issue::Other),
	] {
		assert_eq!(as_theirs::<order::Issue>(&ours), theirs);
	}
	let image: Image = "nginx:1.27".parse().expect("it is an image");
	let order::Image::Reference(reference) = as_theirs(&image) else {
		panic!("it is a reference");
	};
	assert_eq!(reference.to_vec(), b"nginx:1.27");
	assert_eq!(
		as_theirs::<order::Image>(&Image::Template(7)),
		order::Image::Template(7)
	);
	let workload = Workload {
		args: vec![Text(b"--model".to_vec()), Text(vec![])],
		env: vec![Text(b"A=1".to_vec())],
		ports: vec![8_080, 22],
		deploy_blocks: 75,
		..Workload::of(image)
	};
	let theirs: order::Workload = as_theirs(&workload);
	assert!(theirs.is_valid());
	let args: Vec<&[u8]> = theirs.args.iter().map(|item| &item[..]).collect();
	assert_eq!(args, [&b"--model"[..], b""]);
	assert_eq!(theirs.env[0].to_vec(), b"A=1");
	assert_eq!(theirs.ports.to_vec(), [8_080, 22]);
	assert_eq!((theirs.deploy_blocks, theirs.sealed), (75, false));
	let key = Key([9; 32]);
	assert_eq!(as_theirs::<order::ClientKey>(&key).0, key.0);
	assert_eq!(
		as_theirs::<kaisar_primitives::Balance>(&Kai(u128::MAX)),
		u128::MAX
	);
	assert_eq!(
		as_theirs::<codec::Compact<u128>>(&Kai(5)),
		codec::Compact(5)
	);
	let share: sp_runtime::Perbill = as_theirs(&Share(75_000_000));
	assert_eq!(share, sp_runtime::Perbill::from_parts(75_000_000));

	let spec = WorkerSpec {
		gpu_class: 1,
		gpu_count: 8,
		cpu_cores: 128,
		memory_gb: 1_024,
		disk_gb: 10_000,
		download_mbps: 2_000,
		upload_mbps: 1_000,
		region: Region(*b"FR"),
		arch: Arch::Arm64,
		driver: 570,
		cuda: Cuda(1_208),
	};
	let theirs: kaisar_primitives::WorkerSpec = as_theirs(&spec);
	assert_eq!(seen::<_, WorkerSpec>(&theirs), spec);
	assert_eq!((theirs.upload_mbps, theirs.region), (1_000, *b"FR"));
	assert_eq!((theirs.driver, theirs.cuda), (570, 1_208));

	let proof = KeyProof {
		key: vec![1; 64],
		agent: vec![2; 64],
	};
	let theirs: kaisar_primitives::KeyProof = as_theirs(&proof);
	assert_eq!((theirs.key.0, theirs.agent.0), ([1; 64], [2; 64]));
	let pool: kaisar_primitives::PoolId = as_theirs(&PoolId::Checker(3));
	assert_eq!(pool, kaisar_primitives::PoolId::Checker(3));
}

type Account = sp_runtime::AccountId32;

#[test]
fn an_order_is_decoded_completely() {
	use kaisar_primitives::{CloseReason as Why, OrderId};
	use pallet_orders as theirs;
	let prices = theirs::Prices {
		on_demand: 100,
		month: 90,
		quarter: 80,
	};
	let money = |kai, credits| theirs::Money { kai, credits };
	let item = |text: &[u8]| order::WorkloadItem::try_from(text.to_vec()).expect("it is short");
	let run = theirs::Template {
		args: vec![item(b"lab")].try_into().expect("it is one"),
		env: vec![item(b"A=1")].try_into().expect("it is one"),
		ports: vec![8_080].try_into().expect("it is one"),
		metadata: Some(sp_core::H256::repeat_byte(6)),
		capabilities: vec![theirs::Capability::Kill]
			.try_into()
			.expect("it is one"),
		..theirs::Template::of(b"nginx".to_vec().try_into().expect("it is short"))
	};
	let order = theirs::Order::<Account> {
		customer: Account::new([7; 32]),
		requirement: Default::default(),
		plan: order::Plan::Month,
		state: theirs::OrderState::Closed {
			reason: Why::WorkerFailed,
		},
		worker: Some(4),
		floor: 1,
		placed_at: 10,
		matched_at: 12,
		deploy_blocks: 75,
		deploy_by: 87,
		started_at: 20,
		ends_at: 320,
		closed_at: 330,
		segments: vec![theirs::Segment { hours: 1, prices }]
			.try_into()
			.expect("it is one"),
		proved_to: 300,
		proved: 280,
		ending: None,
		down: false,
		issue: Some(theirs::OpenIssue {
			reason: order::Issue::Other,
			bond: 10,
			reported_at: 30,
			undecided: 1,
		}),
		wake: 400,
		ledger: theirs::Ledger {
			charged: 100,
			escrow: money(1, 2),
			paid: 50,
			fees: 5,
			setup: 3,
			refunded: money(30, 4),
			credited: 5,
		},
	};
	let view = theirs::OrderView {
		id: 9,
		order,
		workload: Some(theirs::Ordered {
			template: Some(3),
			run,
			sealed: true,
			failover: false,
			client_key: order::ClientKey::from_raw([8; 32]),
		}),
		hours: 1,
		used: 93,
	};
	let page = (vec![view], Some(10 as OrderId));
	let (orders, next): (Vec<Order>, Option<u32>) = seen(&page);
	assert_eq!((orders.len(), next), (1, Some(10)));
	let seen = &orders[0];
	assert_eq!((seen.id, seen.hours, seen.used), (9, 1, Kai(93)));
	assert_eq!(seen.order.customer, AccountId32([7; 32]));
	assert_eq!(
		seen.order.state,
		OrderState::Closed {
			reason: CloseReason::WorkerFailed
		}
	);
	assert_eq!((seen.order.plan, seen.order.worker), (Plan::Month, Some(4)));
	let times = (
		seen.order.placed_at,
		seen.order.deploy_by,
		seen.order.started_at,
	);
	assert_eq!(times, (10, 87, 20));
	assert_eq!(
		(seen.order.ends_at, seen.order.closed_at, seen.order.proved),
		(320, 330, 280)
	);
	assert_eq!(seen.order.segments[0].prices.of(Plan::Quarter), Kai(80));
	assert_eq!(seen.order.issue.expect("there is one").bond, Kai(10));
	let ledger = seen.order.ledger;
	assert_eq!(
		(ledger.charged, ledger.paid, ledger.fees),
		(Kai(100), Kai(50), Kai(5))
	);
	assert_eq!((ledger.setup, ledger.credited), (Kai(3), Kai(5)));
	assert_eq!(
		ledger.escrow.text(),
		"0.000000000000000001 KAI and 0.000000000000000002 KAI in credits"
	);
	assert_eq!(
		ledger.refunded,
		Money {
			kai: Kai(30),
			credits: Kai(4)
		}
	);
	let workload = seen.workload.as_ref().expect("it is known");
	assert_eq!(workload.run.image.to_string(), "nginx");
	assert_eq!(
		(workload.template, &workload.run.ports[..]),
		(Some(3), &[8_080][..])
	);
	assert_eq!(workload.run.args, [Text(b"lab".to_vec())]);
	assert_eq!(workload.run.env, [Text(b"A=1".to_vec())]);
	assert_eq!(workload.run.capabilities, [Capability::Kill]);
	assert_eq!(workload.run.metadata, Some(Key([6; 32])));
	assert!(workload.sealed && !workload.failover);
	assert_eq!(workload.client_key, Key([8; 32]));

	// The state is in the same JSON field for every state.
	let json = serde_json::to_value(seen).expect("it is JSON");
	assert_eq!(
		(&json["state"], &json["reason"]),
		(&"Closed".into(), &"WorkerFailed".into())
	);
	assert_eq!(json["ledger"]["charged"], "100");
	let quote = theirs::Quote {
		prices,
		units: 2,
		total: 200,
	};
	assert_eq!(self::seen::<_, Quote>(&quote).total, Kai(200));
}

#[test]
fn every_reason_has_a_meaning() {
	use kaisar_primitives::CloseReason as Why;
	for reason in [
		Why::NoSuitableWorker,
		Why::Expired,
		Why::Cancelled,
		Why::ImageFailed,
		Why::Exited,
		Why::ServiceDown,
		Why::DeployFailed,
		Why::WorkerFailed,
	] {
		let ours: CloseReason = seen(&reason);
		assert_eq!(format!("{ours:?}"), format!("{reason:?}"));
		assert!(!ours.meaning().is_empty());
	}
}

#[test]
fn a_worker_is_decoded_completely() {
	use kaisar_primitives as theirs;
	use sp_runtime::Perbill;
	let view = pallet_providers::WorkerView::<Account> {
		owner: Account::new([1; 32]),
		deregistered: false,
		state: theirs::WorkerState::Rented,
		since: 8,
		forced: Some(theirs::Forced {
			round: 10,
			verify_only: true,
		}),
		listed: true,
		order: Some(3),
		spec: theirs::WorkerSpec {
			cpu_cores: 4,
			region: *b"DE",
			..Default::default()
		},
		profile: Some(theirs::Profile {
			cpu: 1,
			..Default::default()
		}),
		own: 500,
		minimum: Some(400),
		delegated: 30,
		unbonding: 20,
		queued: 10,
		delegation_cap: Some(5),
		reliability: Perbill::from_percent(75),
		rented: 50,
		proved_at: Some(90),
		commission: Perbill::from_percent(5),
		next_commission: Some((2, Perbill::from_percent(6))),
		price_floor: 1,
		score: None,
	};
	let worker: Option<Worker> = seen(&Some(view));
	let worker = worker.expect("it is there");
	assert_eq!((worker.state, worker.order), (WorkerState::Rented, Some(3)));
	assert_eq!(worker.forced.expect("it is due").round, 10);
	assert_eq!(
		(worker.spec.cpu_cores, worker.spec.region),
		(4, Region(*b"DE"))
	);
	assert_eq!(
		(worker.own, worker.minimum, worker.delegated),
		(Kai(500), Some(Kai(400)), Kai(30))
	);
	assert_eq!(worker.reliability.to_string(), "75 %");
	assert_eq!(worker.next_commission, Some((2, Share(60_000_000))));

	let keys = |byte| pallet_providers::WorkerKeys {
		worker: sp_core::sr25519::Public::from_raw([byte; 32]).into(),
		agent: theirs::AgentKey::from_raw([byte + 1; 32]),
	};
	let mut timeline = theirs::Timeline::new(keys(1), 0);
	timeline.change(keys(3), 4);
	let ours: KeyTimeline = seen(&timeline);
	let dated = |keys: DatedKeys| (keys.since, keys.value.worker, keys.value.agent);
	assert_eq!(dated(ours.now), (4, Key([3; 32]), Key([4; 32])));
	assert_eq!(
		ours.before.map(dated),
		Some((0, Key([1; 32]), Key([2; 32])))
	);

	let page = pallet_rewards::DelegationPage {
		claims: vec![(theirs::PoolId::Worker(1), 5)],
		next: Some(theirs::PoolId::Checker(2)),
	};
	let page: DelegationPage = seen(&page);
	assert_eq!(page.claims, [(PoolId::Worker(1), Kai(5))]);
	assert_eq!(page.next, Some(PoolId::Checker(2)));
}
