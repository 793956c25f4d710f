//! Tests of thousands of orders in the same block, with the weights of the chain and blocks as full as the
//! chain's.

use super::*;
use frame_support::dispatch::{GetDispatchInfo, PostDispatchInfo};
use kaisar_primitives::{CloseReason, Plan, Requirement, Standings};
use pallet_providers::{ClassTotals, Counts, Hardware, NextWorkerId, Totals, TotalsByClass};

/// A block of the chain: 4 s of a reference machine, a tenth of them for orders' hooks.
const MAX_BLOCK: Weight = Weight::from_parts(4 * WEIGHT_REF_TIME_PER_SECOND, u64::MAX);
const SHARE: Perbill = Perbill::from_percent(10);

/// A block that is being filled.
struct Filling {
	used: Weight,
}

impl Filling {
	/// Begins the next block, with the weight of its hooks before any transaction.
	fn begin() -> Self {
		forget_events();
		Observations::kill();
		System::set_block_number(now() + 1);
		let rounds = Popw::on_initialize(now());
		let rewards = Rewards::on_initialize(now());
		let orders = Rentals::on_initialize(now());
		assert!(orders.all_lte(SHARE * MAX_BLOCK), "{orders:?}");
		let base = frame_support::weights::constants::BlockExecutionWeight::get();
		let used = base
			.saturating_add(rounds)
			.saturating_add(rewards)
			.saturating_add(orders);
		assert!(used.all_lte(MAX_BLOCK), "{used:?}");
		Self { used }
	}

	/// Applies a transaction, if the block has room for its maximum weight.
	fn apply(&mut self, who: AccountId, call: &RuntimeCall) -> bool {
		let info = call.get_dispatch_info();
		let base = frame_support::weights::constants::ExtrinsicBaseWeight::get();
		let most = self
			.used
			.saturating_add(base)
			.saturating_add(info.total_weight());
		if most.any_gt(MAX_BLOCK) {
			return false;
		}
		let done: PostDispatchInfo = call.clone().dispatch(signed(who)).expect("it is admitted");
		let took = done.actual_weight.unwrap_or(info.total_weight());
		assert!(took.all_lte(info.total_weight()));
		self.used = self.used.saturating_add(base).saturating_add(took);
		true
	}

	/// Ends the block: hooks get the rest of its weight, unless other transactions took it.
	fn end(self, crowded: bool) {
		let left = if crowded {
			Weight::zero()
		} else {
			MAX_BLOCK.saturating_sub(self.used)
		};
		let orders = Rentals::on_idle(now(), left);
		assert!(orders.all_lte(left), "{orders:?} of {left:?}");
		Popw::on_finalize(now());
	}
}

/// Runs blocks without calls, or with others' calls that leave no room, until `waits` holds for none of
/// `orders`. Returns the number of blocks. The agenda processes the orders in order.
fn blocks_until_none(
	orders: &[OrderId],
	crowded: bool,
	waits: impl Fn(&OrderOf<World>) -> bool,
) -> u32 {
	let mut left = orders.iter().peekable();
	let mut blocks = 0;
	while left.peek().is_some() {
		Filling::begin().end(crowded);
		let is_done = |id: &&OrderId| !waits(&order(**id));
		assert!(
			left.next_if(is_done).is_some(),
			"a block in which nothing was done"
		);
		while left.next_if(is_done).is_some() {}
		blocks += 1;
	}
	blocks
}

fn order(id: OrderId) -> OrderOf<World> {
	Orders::<World>::get(id).expect("it is kept")
}

/// Creates `count` orders of Carla's in one state, each with a worker of Petra's that serves it: copies of a
/// real order and of a real worker.
fn crowd(count: u32, state: OrderState) -> Vec<OrderId> {
	HookWeight::set(&(SHARE * MAX_BLOCK));
	let call = registration(PETRA, 1, spec(0));
	dispatch(call, signed(PETRA)).expect("it can be registered");
	let mut actors = Actors::default();
	while record(0).state() != WorkerState::Online {
		Popw::on_finalize(now());
		System::set_block_number(now() + 1);
		Popw::on_initialize(now());
		for (who, call) in actors.calls() {
			dispatch(call, signed(who)).expect("it is due");
		}
	}
	let requirement = Requirement {
		gpu_class: 11,
		gpu_count: 1,
		..Default::default()
	};
	let placing = model::Placing {
		requirement,
		hours: 1,
		plan: Plan::OnDemand,
		max_price: Balance::MAX,
		credits: 0,
		deploy_blocks: 0,
	};
	let place = model::Act::Place(placing).call();
	dispatch(place, signed(CARLA)).expect("it can be placed");

	let (mut worker, mut order) = (record(0), order(0));
	let workload = Workloads::<World>::get(0).expect("it was placed");
	QueueEnds::<World>::kill();
	let _ = Queue::<World>::clear(u32::MAX, None);
	pallet_providers::Workers::<World>::remove(0);
	let _ = pallet_providers::WorkerByKey::<World>::clear(u32::MAX, None);
	let _ = pallet_providers::WorkerByAgent::<World>::clear(u32::MAX, None);
	let _ = pallet_providers::BucketHeads::<World>::clear(u32::MAX, None);
	worker.standings = Standings::new(WorkerState::Rented, 0);
	worker.place = None;
	worker.forced = None;
	order.state = state;
	order.matched_at = now();
	order.deploy_by = now() + DEADLINE;
	if state == OrderState::Active {
		order.started_at = now();
		order.proved_to = now();
		order.ends_at = now() + HOURS;
	}
	let due = match state {
		OrderState::Active => order.ends_at,
		_ => order.deploy_by + 1,
	};
	worker.time = pallet_providers::PendingTime::rent(now());
	for id in 0..count {
		let mut worker = worker.clone();
		let mut key = [7; 32];
		key[..4].copy_from_slice(&id.to_le_bytes());
		worker.keys.now.value.worker = WorkerKey::from(sr25519::Public::from_raw(key));
		worker.keys.now.value.agent = AgentKey::from_raw(key);
		worker.order = Some(id);
		pallet_providers::WorkerByKey::<World>::insert(&worker.keys.now.value.worker, id);
		pallet_providers::WorkerByAgent::<World>::insert(worker.keys.now.value.agent, id);
		pallet_providers::Workers::<World>::insert(id, worker);
		pallet_providers::WorkersByOwner::<World>::insert(PETRA, id, ());
		let mut order = order.clone();
		order.worker = Some(id);
		order.wake = 0;
		Rentals::schedule(id, &mut order, due).expect("an entry can be added");
		Orders::<World>::insert(id, order);
		Workloads::<World>::insert(id, workload.clone());
		OrdersByCustomer::<World>::insert(CARLA, id.to_be_bytes(), ());
	}
	// The counts of the copies.
	NextWorkerId::<World>::put(count);
	NextOrderId::<World>::put(count);
	Counts::<World>::mutate(|counts| {
		counts.online = 0;
		counts.rented = count;
	});
	let one = Hardware::of(&worker.spec, 1);
	let times = u64::from(count);
	Totals::<World>::put(Hardware {
		gpus: one.gpus * times,
		cpu_cores: one.cpu_cores * times,
		memory_gb: one.memory_gb * times,
		disk_gb: one.disk_gb * times,
		download_mbps: one.download_mbps * times,
		upload_mbps: one.upload_mbps * times,
	});
	let totals = ClassTotals {
		rented: count,
		gpus_rented: times,
		..Default::default()
	};
	TotalsByClass::<World>::insert(11, totals);
	use frame_support::traits::fungible::{Mutate, MutateHold};
	let others = Balance::from(count - 1);
	let escrow = others * order.ledger.escrow.kai;
	Balances::hold(&HoldReason::Escrow.into(), &CARLA, escrow).expect("Carla is rich");
	let stake = others * worker.pool.own;
	Balances::mint_into(&Providers::pot(), stake).expect("there is KAI enough");

	// Up to the block before, in which nothing is due.
	System::set_block_number(due - 1);
	AgendaCursor::<World>::put(Cursor {
		block: due,
		position: 0,
	});
	invariants();
	(0..count).collect()
}

/// Returns 10,000, unless the environment sets another number.
fn many() -> u32 {
	std::env::var("KAISAR_MANY").map_or(10_000, |many| many.parse().expect("a number"))
}

#[test]
fn ten_thousand_orders_that_end_together_end_within_a_few_blocks() {
	// Empty blocks, and blocks in which hooks get only their share.
	for (crowded, most) in [(false, 2), (true, 18)] {
		world(1).execute_with(|| {
			let orders = crowd(many(), OrderState::Active);
			let active = |order: &OrderOf<World>| order.state == OrderState::Active;
			let blocks = blocks_until_none(&orders, crowded, active);
			println!("crowded: {crowded}, {blocks} blocks");
			assert!(blocks <= most, "{blocks} blocks");
			invariants();
			invariants_of_others();
			for id in orders {
				let forced = record(id).forced.expect("its last check is forced");
				assert!(!forced.verify_only);
			}
		});
	}
}

#[test]
fn thousands_of_deadlines_that_pass_together_are_dealt_with_in_a_few_blocks() {
	world(1).execute_with(|| {
		let orders = crowd(many() / 5, OrderState::Deploying);
		let open = |order: &OrderOf<World>| !order.is_closed();
		let blocks = blocks_until_none(&orders, false, open);
		println!("{blocks} blocks");
		assert!(blocks <= 5, "{blocks} blocks");
		invariants();
		invariants_of_others();
		assert_eq!(Counts::<World>::get().online, orders.len() as u32);
		for id in orders {
			let order = order(id);
			let reason = CloseReason::DeployFailed;
			assert_eq!(order.state, OrderState::Closed { reason });
			assert!(
				order.ledger.refunded.kai == order.ledger.charged && record(id).order.is_none()
			);
		}
	});
}

/// Sends calls as fast as blocks have room for them. Returns the number of blocks.
fn send(calls: Sent) -> u32 {
	let mut blocks = 0;
	let mut calls = calls.into_iter().peekable();
	while calls.peek().is_some() {
		let mut block = Filling::begin();
		let mut sent = 0;
		while calls
			.next_if(|(who, call)| block.apply(*who, call))
			.is_some()
		{
			sent += 1;
		}
		assert!(sent > 0, "a call that fits into no block");
		block.end(false);
		blocks += 1;
	}
	blocks
}

/// Runs blocks without calls, up to a phase of the round.
fn wait_for(round: RoundIndex, phase: Phase) {
	let next = |it: &pallet_popw::Round| it.index == round && it.phase(now() + 1) == phase;
	while !Popw::rounds().iter().any(next) {
		Filling::begin().end(false);
	}
}

/// Creates orders that all end in one block. Returns them and the round in which their last checks are due,
/// whose phases last half an hour, as on the chain.
fn due_together(count: u32) -> (Vec<OrderId>, RoundIndex) {
	let orders = crowd(count, OrderState::Active);
	PhaseLength::set(&25);
	blocks_until_none(&orders, false, |order| order.state == OrderState::Active);
	let forced = record(0).forced.expect("its last check is forced");
	assert!(orders.iter().all(|id| record(*id).forced == Some(forced)));
	(orders, forced.round)
}

#[test]
fn ten_thousand_workers_that_fail_in_the_same_round_lose_their_orders() {
	world(1).execute_with(|| {
		let (orders, round) = due_together(many());
		wait_for(round, Phase::Commit);
		let absent = |worker: &OrderId| {
			let call = pallet_popw::Call::report_absent {
				worker: *worker,
				round,
			};
			(ANYONE, call.into())
		};
		let blocks = send(orders.iter().map(absent).collect());
		println!("{blocks} blocks");
		assert!(blocks <= 10, "{blocks} blocks");
		invariants();
		invariants_of_others();
		assert_eq!(Counts::<World>::get().offline, orders.len() as u32);
		for id in orders {
			let order = order(id);
			let reason = CloseReason::WorkerFailed;
			assert_eq!(order.state, OrderState::Closed { reason });
			assert_eq!(order.ledger.refunded.kai, order.ledger.charged);
		}
	});
}

#[test]
fn a_thousand_last_checks_in_the_same_round_close_their_orders() {
	world(1).execute_with(|| {
		let (orders, round) = due_together(many() / 10);
		wait_for(round, Phase::Attest);
		let attest = |worker: &OrderId| {
			let call = pallet_popw::Call::attest {
				worker: *worker,
				round,
				root: [7; 32],
				signature: None,
			};
			(PETRA, call.into())
		};
		let attesting = send(orders.iter().map(attest).collect());
		wait_for(round, Phase::Commit);
		let (commits, reveals) = Actors::default().batches(round);
		let committing = send(commits);
		wait_for(round, Phase::Reveal);
		let revealing = send(reveals);
		println!(
			"{attesting} blocks of attestations, {committing} of commitments, {revealing} of reveals"
		);
		assert!(revealing <= 2, "{revealing} blocks");
		invariants();
		invariants_of_others();
		for id in orders {
			let order = order(id);
			let reason = CloseReason::Expired;
			assert_eq!(order.state, OrderState::Closed { reason });
			assert_eq!(order.ledger.gross(), Ok(order.ledger.charged));
		}
	});
}

#[test]
fn whatever_touches_a_worker_weighs_what_its_check_can_cost_an_order() {
	type Own = <World as Config>::WeightInfo;
	// An ended check is closed, and pays the order that its worker serves, or ends it.
	let closing = Own::match_order(0, 1, 0).saturating_sub(Own::match_order(0, 0, 0));
	let touch = closing.saturating_add(<Rentals as OnClosed>::max_weight());
	for (call, weight) in [
		("confirm_deployment", Own::confirm_deployment()),
		("fail_deployment", Own::fail_deployment()),
		("report_exit", Own::report_exit()),
		("extend_order", Own::extend_order()),
		("cancel_order", Own::cancel_order()),
		("report_issue", Own::report_issue()),
		("close_order", Own::close_order()),
		("agenda", Own::agenda_other()),
	] {
		assert!(weight.all_gte(touch), "{call}: {weight:?} of {touch:?}");
	}
}
