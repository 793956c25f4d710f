//! Property test: rentals of all kinds in any order, with rounds, failures, prices and slashes. After every
//! step the chain agrees with the plain model, to the unit, and in the end no order stays open.

use super::{
	model::{self, Act, Cause, Model, Placing},
	*,
};
use crate::OrderState::{Active, Closing, Deploying, Matching};
use frame_support::traits::fungible::MutateFreeze;
use kaisar_primitives::{Arch, DeployFailure, Issue, Plan, Requirement};
use pallet_providers::{SlashLevel, Slashes};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

/// The customer's limit on the price.
#[derive(Clone, Copy, Debug)]
enum Limit {
	Any,
	/// An amount in KAI.
	Kai(u32),
	None,
}

impl Limit {
	fn amount(self) -> Balance {
		match self {
			Self::Any => Balance::MAX,
			Self::Kai(kai) => Balance::from(kai) * KAI,
			Self::None => 0,
		}
	}
}

#[derive(Clone, Debug)]
enum Op {
	Place {
		who: AccountId,
		requirement: Requirement,
		hours: u32,
		plan: Plan,
		limit: Limit,
		/// In 255ths of the account's credits; with 255, one more than these.
		credits: u8,
		deploy_blocks: u16,
	},
	Confirm(u8),
	Fail(u8, DeployFailure),
	Exit(u8),
	Extend(u8, u32, Limit),
	Cancel(u8),
	Report(u8),
	Close(u8),
	/// Any of these calls, by an account without a right to it.
	Stranger(u8, u8),
	Manner(u8, Manner),
	/// Forces a check.
	Force(u8),
	/// Closes a worker's ended check.
	Finalize(u8),
	/// Reports an absence, in any round.
	Absent(u8),
	Blocks(u32),
	/// Skips hours in which only orders are processed.
	Leap(u32),
	SetPrice(GpuClass, Option<Balance>),
	SetCost(GpuClass, Option<(Balance, u128)>),
	Contingency(bool),
	Floor(u8, Balance),
	Register(AccountId, u8, u8),
	Update(u8, u8),
	GoOffline(u8),
	GoOnline(u8),
	Deregister(u8),
	Stake(u8, u32),
	Slash(u8, SlashLevel),
	CancelSlash(u8),
	ApplySlash(u8),
	Transfer(AccountId, AccountId, u32),
	/// Transfers an account's free balance away.
	Spend(AccountId),
	Freeze(AccountId, u32),
	Donate(u32),
	ClaimReward(u8),
}

fn customer() -> impl Strategy<Value = AccountId> {
	prop_oneof![5 => Just(CARLA), 4 => Just(DAN), 2 => Just(POOR), 2 => Just(PETRA), 1 => Just(7)]
}

fn requirement() -> impl Strategy<Value = Requirement> {
	let gpus = prop_oneof![
		20 => Just((11, 1, 0)),
		2 => Just((11, 2, 0)),
		2 => Just((1, 1, 0)),
		// In class 0 the required tier is the tier paid for.
		3 => (1..=4u8).prop_map(|tier| (0, 0, tier)),
		1 => prop_oneof![
			Just((7, 1, 0)),
			Just((0, 1, 1)),
			Just((0, 0, 0)),
			Just((11, 0, 0)),
			Just((11, 255, 0))
		],
	];
	let tiers = prop_oneof![
		14 => Just([0; 4]),
		3 => prop::array::uniform4(0..3u8),
		1 => prop::array::uniform4(0..6u8),
	];
	let region = prop_oneof![
		12 => Just(None),
		2 => Just(Some(*b"DE")),
		1 => Just(Some(*b"US")),
		1 => Just(Some(*b"de")),
	];
	let arch = prop_oneof![
		12 => Just(None),
		2 => Just(Some(Arch::Amd64)),
		1 => Just(Some(Arch::Arm64)),
	];
	(gpus, tiers, region, arch).prop_map(|((gpu_class, gpu_count, least), tiers, region, arch)| {
		Requirement {
			gpu_class,
			gpu_count,
			min_bandwidth: tiers[0],
			min_cpu: tiers[1].max(least),
			min_memory: tiers[2],
			min_disk: tiers[3],
			region,
			arch,
			..Default::default()
		}
	})
}

fn place() -> impl Strategy<Value = Op> {
	let term = prop_oneof![
		10 => (1..4u32, Just(Plan::OnDemand)),
		2 => (4..60u32, Just(Plan::OnDemand)),
		2 => (720..730u32, Just(Plan::Month)),
		2 => (2_160..2_165u32, Just(Plan::Quarter)),
		1 => (Just(8_760u32), Just(Plan::Quarter)),
		1 => (
			prop_oneof![Just(0u32), Just(719), Just(2_159), Just(8_761), Just(u32::MAX)],
			prop_oneof![Just(Plan::OnDemand), Just(Plan::Month), Just(Plan::Quarter)],
		),
	];
	let credits = prop_oneof![4 => Just(0u8), 4 => Just(254u8), 2 => any::<u8>()];
	let deploy_blocks = prop_oneof![
		8 => Just(0u16),
		1 => Just(75),
		1 => 75..=600u16,
		1 => prop_oneof![Just(1u16), Just(74), Just(601), Just(u16::MAX)],
	];
	(
		customer(),
		requirement(),
		term,
		limit(),
		credits,
		deploy_blocks,
	)
		.prop_map(
			|(who, requirement, (hours, plan), limit, credits, deploy_blocks)| Op::Place {
				who,
				requirement,
				hours,
				plan,
				limit,
				credits,
				deploy_blocks,
			},
		)
}

fn failure() -> impl Strategy<Value = DeployFailure> {
	use DeployFailure::{ImageUnavailable, NoEngine, SealedMissing, StartFailed, Unhealthy};
	prop_oneof![
		Just(ImageUnavailable),
		Just(Unhealthy),
		Just(SealedMissing),
		Just(NoEngine),
		Just(StartFailed),
	]
}

fn limit() -> impl Strategy<Value = Limit> {
	prop_oneof![8 => Just(Limit::Any), 2 => (0..40u32).prop_map(Limit::Kai), 1 => Just(Limit::None)]
}

fn manner() -> impl Strategy<Value = Manner> {
	prop_oneof![
		10 => Just(Manner::Fine),
		2 => Just(Manner::Doubted),
		2 => Just(Manner::Down),
		2 => Just(Manner::Gone),
		3 => Just(Manner::Split),
		1 => Just(Manner::Liar),
		1 => Just(Manner::Stripped),
		1 => Just(Manner::Silent),
		2 => Just(Manner::Ghost),
	]
}

fn price() -> impl Strategy<Value = Balance> {
	prop_oneof![
		6 => (1..8_000u32).prop_map(|milli| Balance::from(milli) * (KAI / 1_000) + 1),
		1 => Just(1),
		1 => 1..1_000_000_000u128,
		1 => prop_oneof![Just(Balance::MAX), Just(0)],
	]
}

fn class() -> impl Strategy<Value = GpuClass> {
	prop_oneof![4 => Just(11), 1 => Just(1), 2 => Just(0), 1 => Just(5)]
}

fn op() -> impl Strategy<Value = Op> {
	let order = any::<u8>;
	let worker = || 0..10u8;
	let level = prop_oneof![
		4 => Just(SlashLevel::One),
		3 => Just(SlashLevel::Two),
		1 => Just(SlashLevel::Three),
	];
	let party = || prop_oneof![Just(CARLA), Just(DAN), Just(POOR), Just(PAUL), Just(8)];
	let life = prop_oneof![
		14 => place(),
		3 => order().prop_map(Op::Confirm),
		3 => (order(), failure()).prop_map(|(id, reason)| Op::Fail(id, reason)),
		3 => order().prop_map(Op::Exit),
		6 => (order(), prop_oneof![6 => 1..3u32, 1 => Just(0), 1 => any::<u32>()], limit())
			.prop_map(|(id, hours, limit)| Op::Extend(id, hours, limit)),
		6 => order().prop_map(Op::Cancel),
		5 => order().prop_map(Op::Report),
		2 => order().prop_map(Op::Close),
		2 => (order(), any::<u8>()).prop_map(|(id, act)| Op::Stranger(id, act)),
	];
	let rounds = prop_oneof![
		6 => (worker(), manner()).prop_map(|(worker, manner)| Op::Manner(worker, manner)),
		6 => worker().prop_map(Op::Force),
		1 => worker().prop_map(Op::Finalize),
		1 => worker().prop_map(Op::Absent),
		16 => (1..12u32).prop_map(Op::Blocks),
		6 => (12..90u32).prop_map(Op::Blocks),
		4 => (1..4u32).prop_map(Op::Leap),
		1 => prop_oneof![Just(24u32), Just(721), Just(2_161)].prop_map(Op::Leap),
	];
	let rest = prop_oneof![
		3 => (class(), prop::option::weighted(0.9, price()))
			.prop_map(|(class, price)| Op::SetPrice(class, price)),
		2 => (class(), prop::option::weighted(0.8, (price(), 0..5_000_000_000_000_000_000u128)))
			.prop_map(|(class, cost)| Op::SetCost(class, cost)),
		1 => any::<bool>().prop_map(Op::Contingency),
		2 => (worker(), price()).prop_map(|(worker, price)| Op::Floor(worker, price)),
		1 => (prop_oneof![Just(PETRA), Just(PAUL)], 1..14u8, any::<u8>())
			.prop_map(|(owner, seed, spec)| Op::Register(owner, seed, spec)),
		1 => (worker(), any::<u8>()).prop_map(|(worker, spec)| Op::Update(worker, spec)),
		1 => worker().prop_map(Op::GoOffline),
		5 => worker().prop_map(Op::GoOnline),
		1 => worker().prop_map(Op::Deregister),
		3 => (worker(), 1..500u32).prop_map(|(worker, kai)| Op::Stake(worker, kai)),
		2 => (worker(), level).prop_map(|(worker, level)| Op::Slash(worker, level)),
		1 => any::<u8>().prop_map(Op::CancelSlash),
		2 => any::<u8>().prop_map(Op::ApplySlash),
		2 => (party(), party(), any::<u32>()).prop_map(|(from, to, parts)| Op::Transfer(from, to, parts)),
		1 => customer().prop_map(Op::Spend),
		1 => (customer(), prop_oneof![Just(0u32), any::<u32>()])
			.prop_map(|(who, kai)| Op::Freeze(who, kai)),
		1 => any::<u32>().prop_map(Op::Donate),
		1 => worker().prop_map(Op::ClaimReward),
	];
	prop_oneof![6 => life, 6 => rounds, 1 => rest]
}

/// A running world, with its model.
struct Run {
	model: Model,
	actors: Actors,
	/// The number of full comparisons.
	checked: u32,
}

impl Run {
	/// Returns a world with a few verified workers, one of which most customers want.
	fn new(fleet: &[u8]) -> Self {
		let mut run = Self {
			model: Model::new(),
			actors: Actors::default(),
			checked: 0,
		};
		for (at, choice) in [0].iter().chain(fleet).enumerate() {
			let owner = if at % 3 == 0 { PAUL } else { PETRA };
			run.outside(
				registration(owner, 100 + at as u8, spec(*choice)),
				signed(owner),
			);
		}
		// They are due in the next round that starts at least four blocks from now.
		run.blocks(6 * PHASE);
		for worker in 0..=fleet.len() as WorkerId {
			assert_eq!(record(worker).state(), WorkerState::Online);
		}
		run
	}

	/// Runs the next block, with all hooks and the calls of workers and checkers.
	fn block(&mut self) {
		self.finish_block();
		self.start_block(now() + 1);
		for (who, call) in self.actors.calls() {
			// Some come too late: the call before opened or closed the check.
			let _ = dispatch(call, signed(who));
			self.model.absorb(Cause::Other);
		}
		for id in self.model.deployed_now() {
			self.act(self.provider_of(id), Act::Confirm(id));
		}
	}

	fn finish_block(&mut self) {
		let before = now();
		Rentals::on_idle(before, PLENTY);
		self.model.absorb(Cause::Hook);
		Popw::on_finalize(before);
		forget_events();
	}

	fn start_block(&mut self, block: BlockNumber) {
		System::set_block_number(block);
		Popw::on_initialize(block);
		Rewards::on_initialize(block);
		self.model.rewarded();
		forget_events();
		self.model.look_around();
		Rentals::on_initialize(block);
		self.model.absorb(Cause::Hook);
		self.model.on_time();
	}

	fn blocks(&mut self, blocks: u32) {
		for _ in 0..blocks {
			self.block();
		}
	}

	/// Lets time pass without rounds and calls: runs only the blocks in which the agenda has work, and those
	/// before them.
	fn leap(&mut self, blocks: BlockNumber) {
		let target = now() + blocks;
		// Waiting orders are matched or closed.
		self.blocks(3);
		while now() < target {
			// A round's trial must not be missed.
			let prepares = || {
				let mut rounds = Popw::rounds().into_iter();
				pallet_popw::Starting::<World>::exists() || rounds.any(|round| now() < round.trial)
			};
			while prepares() {
				self.block();
			}
			let next = AgendaLen::<World>::iter_keys()
				.filter(|at| *at > now())
				.min();
			let next = next.unwrap_or(target).min(target);
			if next > now() + 2 {
				self.finish_block();
				AgendaCursor::<World>::mutate(|cursor| {
					let cursor = cursor.as_mut().expect("it has begun");
					assert_eq!(cursor.position, 0);
					cursor.block = next - 1;
				});
				self.start_block(next - 1);
			}
			self.block();
		}
	}

	/// Closes all ended checks, so that the next step closes none.
	fn touch_all(&mut self) {
		let over: Vec<_> = workers()
			.map(|(worker, _)| worker)
			.filter(|worker| is_over(*worker))
			.collect();
		for worker in over {
			<Popw as Checks>::touch(worker);
			self.model.absorb(Cause::Other);
		}
	}

	/// Makes a call that has nothing to do with orders.
	fn outside(&mut self, call: impl Into<RuntimeCall>, origin: RuntimeOrigin) {
		self.touch_all();
		let _ = dispatch(call, origin);
		self.model.absorb(Cause::Other);
		self.model.outside();
	}

	/// Makes a call of an order.
	fn act(&mut self, who: AccountId, act: Act) {
		let expected = self.model.expects(who, &act);
		let done = dispatch(act.call(), signed(who));
		if let Some(expected) = expected {
			assert_eq!(done.is_ok(), expected, "{act:?} by {who}: {done:?}");
		}
		assert_ne!(done, Err(Error::<World>::Inconsistent.into()));
		self.model.absorb(match done {
			Ok(()) => Cause::Call(who, act),
			// The call was rolled back.
			Err(_) => Cause::Other,
		});
	}

	/// Chooses an order, mostly an open one if there is any.
	fn order(&self, choice: u8, wanted: impl Fn(&OrderState) -> bool) -> OrderId {
		let next = NextOrderId::<World>::get();
		let choice = OrderId::from(choice);
		let fit: Vec<_> = self
			.model
			.orders
			.iter()
			.filter(|(_, order)| wanted(&order.state))
			.map(|(id, _)| *id)
			.collect();
		if choice > 240 || fit.is_empty() {
			choice % (next + 2)
		} else {
			fit[choice as usize % fit.len()]
		}
	}

	fn customer_of(&self, id: OrderId) -> AccountId {
		self.model.order(id).map_or(CARLA, |order| order.customer)
	}

	fn provider_of(&self, id: OrderId) -> AccountId {
		self.model
			.order(id)
			.and_then(|order| order.worker)
			.map_or(PETRA, |worker| record(worker).owner)
	}

	/// Chooses a worker, mostly a rented one if there is any.
	fn worker(&self, choice: u8) -> WorkerId {
		let rented: Vec<_> = workers()
			.filter(|(_, record)| record.state() == WorkerState::Rented)
			.map(|(worker, _)| worker)
			.collect();
		if choice < 6 && !rented.is_empty() {
			rented[usize::from(choice) % rented.len()]
		} else {
			choice.into()
		}
	}

	/// Returns the owner of a worker.
	fn owner(&self, worker: u8) -> AccountId {
		Records::<World>::get(WorkerId::from(worker)).map_or(PETRA, |record| record.owner)
	}

	fn root(&mut self, call: Call<World>) -> bool {
		let done = dispatch(call, RuntimeOrigin::root()).is_ok();
		self.model.absorb(Cause::Other);
		done
	}

	fn step(&mut self, op: &Op) {
		match *op {
			Op::Place {
				who,
				requirement,
				hours,
				plan,
				limit,
				credits,
				deploy_blocks,
			} => {
				let credits = self.credits_of(who, credits);
				let placing = Placing {
					requirement,
					hours,
					plan,
					max_price: limit.amount(),
					credits,
					deploy_blocks,
				};
				self.act(who, Act::Place(placing));
			}
			Op::Confirm(choice) => self.confirm(choice),
			Op::Fail(choice, reason) => self.fail(choice, reason),
			Op::Exit(choice) => self.exit(choice),
			Op::Extend(choice, hours, limit) => self.extend(choice, hours, limit),
			Op::Cancel(choice) => self.cancel(choice),
			Op::Report(choice) => self.report_issue(choice),
			Op::Close(choice) => self.close(choice),
			Op::Stranger(choice, act) => self.act_as_stranger(choice, act),
			Op::Manner(worker, manner) => self.set_manner(worker, manner),
			Op::Force(worker) => self.force_check(worker),
			Op::Finalize(worker) => self.finalize(worker),
			Op::Absent(worker) => self.report_absent(worker),
			Op::Blocks(blocks) => self.blocks(blocks),
			Op::Leap(hours) => self.leap(hours * HOURS),
			Op::SetPrice(class, reference) => self.set_price(class, reference),
			Op::SetCost(class, cost) => self.set_cost(class, cost),
			Op::Contingency(on) => self.set_contingency(on),
			Op::Transfer(from, to, parts) => self.transfer(from, to, parts),
			Op::Spend(who) => self.spend(who),
			Op::Freeze(who, kai) => self.freeze(who, kai),
			Op::Donate(parts) => self.donate(parts),
			Op::Register(owner, seed, choice) => self.register(owner, seed, choice),
			_ => self.step_of_worker(op),
		}
	}

	/// Returns the credits to use: `parts` of 254 of the account's, with 255 one more than it has.
	fn credits_of(&self, who: AccountId, parts: u8) -> Balance {
		let has = self.model.credits_of(who);
		match parts {
			255 => has + 1,
			parts => has / 254 * Balance::from(parts) + has % 254 * Balance::from(parts == 254),
		}
	}

	/// Confirms a deployment.
	fn confirm(&mut self, choice: u8) {
		let id = self.order(choice, |state| *state == Deploying);
		self.act(self.provider_of(id), Act::Confirm(id));
	}

	/// Reports a failed deployment.
	fn fail(&mut self, choice: u8, reason: DeployFailure) {
		let id = self.order(choice, |state| *state == Deploying);
		self.act(self.provider_of(id), Act::Fail(id, reason));
	}

	/// Reports a container's exit.
	fn exit(&mut self, choice: u8) {
		let id = self.order(choice, |state| matches!(state, Active | Closing));
		self.act(self.provider_of(id), Act::Exit(id, 137));
	}

	/// Extends an order.
	fn extend(&mut self, choice: u8, hours: u32, limit: Limit) {
		let id = self.order(choice, |state| *state == Active);
		self.act(self.customer_of(id), Act::Extend(id, hours, limit.amount()));
	}

	/// Cancels an order.
	fn cancel(&mut self, choice: u8) {
		let id = self.order(choice, |state| {
			matches!(state, Matching | Deploying | Active)
		});
		self.act(self.customer_of(id), Act::Cancel(id));
	}

	/// Reports an issue.
	fn report_issue(&mut self, choice: u8) {
		let id = self.order(choice, |state| *state == Active);
		self.act(self.customer_of(id), Act::Report(id, Issue::NotServing));
	}

	/// Closes an order that is due.
	fn close(&mut self, choice: u8) {
		let id = self.order(choice, |state| matches!(state, Closing | Deploying));
		self.act(ANYONE, Act::Close(id));
	}

	/// Makes a call by an account without a right to it.
	fn act_as_stranger(&mut self, choice: u8, act: u8) {
		let id = self.order(choice, |state| !matches!(state, OrderState::Closed { .. }));
		let acts = [
			Act::Confirm(id),
			Act::Fail(id, DeployFailure::Unhealthy),
			Act::Exit(id, 0),
			Act::Extend(id, 1, Balance::MAX),
			Act::Cancel(id),
			Act::Report(id, Issue::Other),
		];
		self.act(ANYONE, acts[usize::from(act) % acts.len()]);
	}

	/// Sets the manner of a worker.
	fn set_manner(&mut self, worker: u8, manner: Manner) {
		self.actors.manners.insert(self.worker(worker), manner);
	}

	/// Forces a check.
	fn force_check(&mut self, worker: u8) {
		let _ = <Popw as Checks>::force(self.worker(worker));
		self.model.absorb(Cause::Other);
	}

	/// Closes a worker's ended check.
	fn finalize(&mut self, worker: u8) {
		let workers = [self.worker(worker)].to_vec();
		let workers = workers.try_into().expect("one is not too many");
		let _ = dispatch(pallet_popw::Call::finalize { workers }, signed(ANYONE));
		self.model.absorb(Cause::Other);
	}

	/// Reports an absence in each round that runs.
	fn report_absent(&mut self, worker: u8) {
		for round in Popw::rounds() {
			let call = pallet_popw::Call::report_absent {
				worker: worker.into(),
				round: round.index,
			};
			let _ = dispatch(call, signed(ANYONE));
			self.model.absorb(Cause::Other);
		}
	}

	/// Sets the reference price of a class.
	fn set_price(&mut self, class: GpuClass, reference: Option<Balance>) {
		if self.root(Call::set_price { class, reference }) {
			assert_ne!(reference, Some(0));
			self.model.set_price(class, reference);
		}
	}

	/// Sets the cost of a class.
	fn set_cost(&mut self, class: GpuClass, cost: Option<(Balance, u128)>) {
		let cost = cost.map(|(cost, multiplier)| Cost {
			cost,
			multiplier: FixedU128::from_inner(multiplier),
		});
		if self.root(Call::set_cost { class, cost }) {
			self.model.set_cost(class, cost);
		}
	}

	/// Switches the contingency.
	fn set_contingency(&mut self, on: bool) {
		assert!(self.root(Call::set_contingency { on }));
		self.model.set_contingency(on);
	}

	/// Transfers a part of an account's first funds.
	fn transfer(&mut self, from: AccountId, to: AccountId, parts: u32) {
		let amount = FUNDS / Balance::from(u32::MAX) * Balance::from(parts);
		let call = pallet_balances::Call::transfer_allow_death {
			dest: to,
			value: if from == POOR {
				amount / 100_000
			} else {
				amount
			},
		};
		self.outside(call, signed(from));
	}

	/// Transfers an account's free balance away.
	fn spend(&mut self, who: AccountId) {
		let call = pallet_balances::Call::transfer_all {
			dest: ANYONE,
			keep_alive: false,
		};
		self.outside(call, signed(who));
	}

	/// Freezes an amount of KAI.
	fn freeze(&mut self, who: AccountId, kai: u32) {
		let amount = Balance::from(kai) * KAI;
		let _ = <Balances as MutateFreeze<_>>::set_freeze(b"whatever", &who, amount);
		self.model.absorb(Cause::Other);
	}

	/// Gives an amount to the pot.
	fn donate(&mut self, parts: u32) {
		let call = pallet_balances::Call::transfer_allow_death {
			dest: Rentals::pot(),
			value: Balance::from(parts),
		};
		self.outside(call, signed(DAN));
	}

	/// Registers a worker.
	fn register(&mut self, owner: AccountId, seed: u8, choice: u8) {
		self.outside(registration(owner, seed, spec(choice)), signed(owner));
	}

	/// Does a step of owners, governance or delegators with workers.
	fn step_of_worker(&mut self, op: &Op) {
		use pallet_providers::Call as Do;
		let queued = |choice: u8| {
			let mut ids: Vec<_> = Slashes::<World>::iter_keys().collect();
			ids.sort_unstable();
			let index = usize::from(choice) % ids.len().max(1);
			ids.get(index).copied().unwrap_or_default()
		};
		let (origin, call): (RuntimeOrigin, Do<World>) = match *op {
			Op::Floor(worker, price) => (
				signed(self.owner(worker)),
				Do::set_price_floor {
					worker: worker.into(),
					price_per_gpu_hour: price,
				},
			),
			Op::Update(worker, choice) => (
				signed(self.owner(worker)),
				Do::update_worker {
					worker: worker.into(),
					spec: spec(choice),
				},
			),
			Op::GoOffline(worker) => {
				let call = Do::go_offline {
					worker: worker.into(),
				};
				(signed(self.owner(worker)), call)
			}
			Op::GoOnline(worker) => {
				let call = Do::go_online {
					worker: worker.into(),
				};
				(signed(self.owner(worker)), call)
			}
			Op::Deregister(worker) => {
				let call = Do::deregister_worker {
					worker: worker.into(),
				};
				(signed(self.owner(worker)), call)
			}
			Op::Stake(worker, kai) => {
				let call = Do::stake {
					worker: worker.into(),
					amount: Balance::from(kai) * KAI,
				};
				(signed(self.owner(worker)), call)
			}
			Op::Slash(worker, level) => (
				RuntimeOrigin::root(),
				Do::slash {
					worker: self.worker(worker),
					level,
				},
			),
			Op::CancelSlash(choice) => {
				let id = queued(choice);
				(RuntimeOrigin::root(), Do::cancel_slash { id })
			}
			Op::ApplySlash(choice) => {
				let id = queued(choice);
				(signed(ANYONE), Do::apply_slash { id })
			}
			Op::ClaimReward(worker) => {
				let call = pallet_rewards::Call::claim_worker {
					worker: worker.into(),
				};
				let origin = signed(self.owner(worker));
				return self.outside(call, origin);
			}
			_ => unreachable!("{op:?} is not of a worker"),
		};
		self.outside(call, origin);
	}

	/// Brings everything to its end: orders with long to go are canceled, the others reach their end, with
	/// workers and checkers as they are. No order stays open, and in the end none is stored.
	fn finish(&mut self) {
		let long = |order: &model::Plain| match order.state {
			Matching | Deploying => order.hours() > 4,
			Active => order.ends_at > now() + 4 * HOURS,
			_ => false,
		};
		let ids: Vec<_> = self.model.orders.keys().copied().collect();
		for id in ids {
			// A check that another cancellation closed may have ended the order.
			if let Some(order) = self.model.order(id).filter(|order| long(order)) {
				self.act(order.customer, Act::Cancel(id));
			}
		}
		// The others are matched, deployed or not, and reach their end.
		self.blocks(3);
		self.leap(600 + 5 * HOURS);
		// Sixteen visits to orders that wait for their last check.
		let bound = now() + 16 * TIMEOUT;
		while self.model.orders.values().any(|order| !order.is_closed()) {
			assert!(now() < bound, "an order stays open");
			self.block();
		}
		self.check();
		// The last entry of the agenda may be that of an order which was canceled long before its end.
		let last = AgendaLen::<World>::iter_keys().max().unwrap_or_default();
		self.leap(last.saturating_sub(now()) + 1);
		self.check();
		assert!(self.model.orders.is_empty());
		assert_eq!(Orders::<World>::iter().count(), 0);
		assert_eq!(AgendaLen::<World>::iter().count(), 0);
		assert_eq!(OrdersByCustomer::<World>::iter().count(), 0);
		invariants_of_others();
	}

	fn check(&mut self) {
		invariants();
		self.model.compare();
		// Comparisons take most of the time.
		self.checked += 1;
		if self.checked.is_multiple_of(8) {
			invariants_of_others();
		}
	}
}

/// Runs a sequence in a world with some workers, in which checks are frequent or rare.
fn lives(late: bool, often: bool, fleet: &[u8], ops: &[Op]) {
	// After the emission's end, fees go into the pots.
	let first = if late { 400_000_000 } else { 1 };
	world(first).execute_with(|| {
		CheckPeriod::set(&if often { 8 } else { u32::MAX });
		let mut run = Run::new(fleet);
		for op in ops {
			run.step(op);
			run.check();
		}
		run.finish();
	});
}

proptest! {
	#![proptest_config(ProptestConfig {
		cases: kaisar_test_support::property::cases(64),
		rng_seed: kaisar_test_support::property::seed(6),
		failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
		..ProptestConfig::default()
	})]

	#[test]
	fn rentals_are_those_of_a_plain_model(
		late in prop::bool::weighted(0.2),
		often in prop::bool::weighted(0.7),
		fleet in prop::collection::vec(any::<u8>(), 2..6),
		ops in prop::collection::vec(op(), 20..200),
	) {
		lives(late, often, &fleet, &ops);
	}
}
