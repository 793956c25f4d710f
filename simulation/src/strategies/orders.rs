//! Tenants, and providers that do not want the orders they get.

use super::{Limit, PURSE, Scenario, Sides, as_is, one_at_home};
use crate::{
	actors::{Deployment, Desk, Mind, PartyId, Purse},
	network, physics,
};
use kaisar_primitives::{
	Balance, BlockNumber, DeployFailure, GpuClass, HOURS, Image, OrderId, Plan, Requirement,
	WorkerId, Workload,
};
use kaisar_runtime::{AccountId, Orders, Providers, Runtime};
use pallet_orders::{Call, OrderState};

/// Behavior of a tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
	/// Uses the machine for the paid time.
	Uses,
	/// Ends its container after this number of blocks.
	Ends(BlockNumber),
	/// Lets its container stop answering after this number of blocks.
	Silences(BlockNumber),
	/// Cancels the order after this number of blocks.
	Cancels(BlockNumber),
}

/// A customer that keeps a number of orders for one party's machines.
pub struct Customer {
	/// The party whose machines it rents.
	party: PartyId,
	/// Number of orders at a time.
	orders: usize,
	hours: u32,
	plan: Plan,
	manner: Manner,
	/// Number of placed orders, if it places only a limited number.
	placed: usize,
	most: usize,
}

impl Customer {
	/// Creates a customer that keeps this number of orders, of an hour each, for a party's machines.
	pub fn of(party: PartyId, orders: usize) -> Self {
		Self {
			party,
			orders,
			hours: 1,
			plan: Plan::OnDemand,
			manner: Manner::Uses,
			placed: 0,
			most: usize::MAX,
		}
	}

	/// Creates a tenant that places one order.
	fn once(party: PartyId, hours: u32, plan: Plan, manner: Manner) -> Self {
		Self {
			hours,
			plan,
			manner,
			most: 1,
			..Self::of(party, 1)
		}
	}

	/// Places orders of an hour until this number of the account's orders are open.
	pub fn keep(
		desk: &mut Desk,
		customer: &AccountId,
		most: usize,
		gpu_class: GpuClass,
		region: [u8; 2],
	) {
		let free = Providers::idle_workers(gpu_class, 1, Some(region)) as usize;
		let waiting = open_orders(customer, |state| state == OrderState::Matching);
		let all = open_orders(customer, |state| {
			!matches!(state, OrderState::Closed { .. })
		});
		for _ in waiting..free.min(most.saturating_sub(all - waiting)) {
			let call = order(gpu_class, region, 1, Plan::OnDemand);
			desk.send(customer, call);
		}
	}

	/// Returns the block in which an order began to run.
	fn started(order: OrderId) -> Option<BlockNumber> {
		let order = pallet_orders::Orders::<Runtime>::get(order)?;
		(order.state == OrderState::Active).then_some(order.started_at)
	}
}

/// Returns the number of an account's orders in these states.
fn open_orders(customer: &AccountId, of: impl Fn(OrderState) -> bool) -> usize {
	pallet_orders::OrdersByCustomer::<Runtime>::iter_key_prefix(customer)
		.filter_map(|id| pallet_orders::Orders::<Runtime>::get(u32::from_be_bytes(id)))
		.filter(|order| of(order.state))
		.count()
}

/// Returns an order for a machine with one GPU of a class in a region.
pub fn order(gpu_class: GpuClass, region: [u8; 2], hours: u32, plan: Plan) -> Call<Runtime> {
	let requirement = Requirement {
		gpu_class,
		gpu_count: 1,
		region: Some(region),
		..Default::default()
	};
	let image = b"registry.example/simulation:1".to_vec();
	let image = Image::Reference(image.try_into().expect("it is short"));
	Call::place_order {
		requirement,
		workload: Workload::of(image),
		hours,
		plan,
		max_price: Balance::MAX,
		credits: 0,
		client_key: sp_core::ed25519::Public::from_raw([7; 32]),
	}
}

impl Mind for Customer {
	fn purse(&self) -> Purse {
		Purse {
			accounts: vec![20 * PURSE],
			operators: Vec::new(),
		}
	}

	fn act(&mut self, desk: &mut Desk) {
		if !desk.is_open() {
			return;
		}
		let who = desk.account(0);
		let region = network::region(self.party);
		let open = open_orders(&who, |state| !matches!(state, OrderState::Closed { .. }));
		let free = Providers::idle_workers(physics::HOME_CLASS, 1, Some(region)) as usize;
		let waiting = open_orders(&who, |state| state == OrderState::Matching);
		for _ in open..self.orders.min(open + free.saturating_sub(waiting)) {
			if self.placed < self.most {
				self.placed += 1;
				desk.send(
					&who,
					order(physics::HOME_CLASS, region, self.hours, self.plan),
				);
			}
		}
		if let Manner::Cancels(after) = self.manner {
			let ids: Vec<_> = pallet_orders::OrdersByCustomer::<Runtime>::iter_key_prefix(&who)
				.map(u32::from_be_bytes)
				.collect();
			for order in ids {
				if Self::started(order).is_some_and(|start| desk.now() == start + after) {
					desk.send(&who, Call::cancel_order { order });
				}
			}
		}
	}

	fn answers(&mut self, desk: &mut Desk, order: OrderId) -> bool {
		match self.manner {
			Manner::Silences(after) => {
				Self::started(order).is_none_or(|start| desk.now() < start + after)
			}
			_ => true,
		}
	}

	fn ends(&mut self, desk: &mut Desk, order: OrderId) -> bool {
		match self.manner {
			Manner::Ends(after) => {
				Self::started(order).is_some_and(|start| desk.now() >= start + after)
			}
			_ => false,
		}
	}
}

/// A provider that reports that the container ended, once a check has proved some of its time, because it
/// prefers to be idle. The report cannot be told from a true one. Bounded by payment for proved time only,
/// and by the full check that follows (`docs/orders.md`, *What an attack costs*, a provider that reports an
/// exit later).
struct FalseExit;

impl Mind for FalseExit {
	fn purse(&self) -> Purse {
		one_at_home().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		one_at_home().enter(desk);
	}

	fn act(&mut self, desk: &mut Desk) {
		for worker in desk.me.workers.clone() {
			let Some(view) = Orders::order_of(worker) else {
				continue;
			};
			let now = desk.now();
			if view.order.state == OrderState::Active && now == view.order.started_at + 30 {
				desk.send_free(Call::<Runtime>::report_exit {
					order: view.id,
					code: 0,
					signature: None,
				});
			}
		}
	}
}

/// A provider that reports of each order that its image is unavailable, because it prefers to be idle. The
/// customer pays for the set-up. Not bounded if an hour's emission is worth more than an hour's rent
/// (`docs/decisions.md`, *Known and open*, false `ImageUnavailable`).
struct FalseImage;

impl Mind for FalseImage {
	fn purse(&self) -> Purse {
		one_at_home().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		one_at_home().enter(desk);
	}

	fn deploys(&mut self, _: &mut Desk, _: OrderId, _: WorkerId) -> Deployment {
		Deployment::Fail(DeployFailure::ImageUnavailable)
	}
}

/// A provider that does not deploy its orders, and reports nothing. Bounded by a slash of level 1, by a bar,
/// and by its reliability (`docs/providers.md`, *Slashing*).
struct Ignores;

impl Mind for Ignores {
	fn purse(&self) -> Purse {
		one_at_home().purse()
	}

	fn enter(&mut self, desk: &mut Desk) {
		one_at_home().enter(desk);
	}

	fn deploys(&mut self, _: &mut Desk, _: OrderId, _: WorkerId) -> Deployment {
		Deployment::Ignore
	}
}

/// Returns the sides of a tenant and of an honest one. The victim is the provider.
fn tenant(provider: PartyId, hours: u32, plan: Plan, manner: Manner) -> Sides {
	Sides::beside(
		Customer::once(provider, hours, plan, manner),
		Customer::once(provider, hours, plan, Manner::Uses),
	)
	.with(one_at_home)
}

/// Returns the strategies of tenants and of providers with orders.
pub fn all() -> Vec<Scenario> {
	vec![
		Scenario {
			name: "tenant-ends",
			about: "Rents for two hours, and ends its container after half an hour.",
			limit: Limit::Honest,
			sides: |_, first| tenant(first + 1, 2, Plan::OnDemand, Manner::Ends(HOURS / 2)),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "tenant-silences",
			about: "Rents for two hours, and silences its container. The provider loses the pay for unproved time.",
			limit: Limit::Harm {
				heading: "docs/orders.md, What an attack costs: letting one's own container end, or silencing it",
			},
			sides: |_, first| tenant(first + 1, 2, Plan::OnDemand, Manner::Silences(HOURS / 2)),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "tenant-cancels",
			about: "Buys a plan of ninety days, and cancels after half an hour.",
			limit: Limit::Honest,
			sides: |_, first| tenant(first + 1, 2_160, Plan::Quarter, Manner::Cancels(HOURS / 2)),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "false-exit",
			about: "A provider that reports an exit of each container, to be idle in censuses.",
			limit: Limit::Documented {
				most: 2.5,
				heading: "docs/orders.md, What an attack costs: a provider that reports an exit later; docs/rewards.md: in a young network the \
					emission of an hour is worth more than the rent of it",
			},
			sides: |_, first| Sides::of(FalseExit, one_at_home()).with(|| Customer::of(first, 1)),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "false-image",
			about: "A provider that blames the image of each order, to be idle in censuses.",
			limit: Limit::Documented {
				most: 2.5,
				heading: "docs/decisions.md, Known and open: false ImageUnavailable; docs/rewards.md: in a young network \
					the emission of an hour is worth more than the rent of it",
			},
			sides: |_, first| Sides::of(FalseImage, one_at_home()).with(|| Customer::of(first, 1)),
			alone: false,
			rules: as_is,
		},
		Scenario {
			name: "ignored-orders",
			about: "A provider that deploys nothing, and reports nothing.",
			limit: Limit::Honest,
			sides: |_, first| Sides::of(Ignores, one_at_home()).with(|| Customer::of(first, 1)),
			alone: false,
			rules: as_is,
		},
	]
}
