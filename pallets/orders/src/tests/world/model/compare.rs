//! The comparison of the model with the chain.

use super::{
	state::{accounts, total_of},
	*,
};
use kaisar_primitives::BlockSeed;
use std::collections::BTreeSet;

/// Assertions.
impl Model {
	/// Asserts, after the hooks of a block, that all due work was done.
	pub fn on_time(&mut self) {
		for (id, order) in &mut self.orders {
			let late = match order.state {
				OrderState::Matching => {
					// A skipped block has no seed.
					let rests = <Popw as Checks>::census_prepares()
						|| <Popw as BlockSeed>::seed_of(now() - 1).is_none()
						|| self.crowded;
					now() >= order.placed_at + 2 && !rests
				}
				OrderState::Deploying => now() > order.deploy_by,
				OrderState::Active => now() >= order.ends_at,
				// The agenda visits it sixteen times.
				OrderState::Closing => order.end.is_none_or(|end| now() > end.last_look()),
				OrderState::Closed { .. } => {
					now() >= order.closed_at + HISTORY && Orders::<World>::contains_key(id)
				}
			};
			assert!(!late, "{id} was forgotten: {order:?}");
		}
	}

	/// Returns the orders to deploy now: matched some blocks ago, a number that differs; some are never
	/// deployed.
	pub fn deployed_now(&self) -> Vec<OrderId> {
		self.orders
			.iter()
			.filter(|(id, order)| {
				let ready = order.matched_at + 1 + **id % 12;
				order.state == OrderState::Deploying && now() == ready && !id.is_multiple_of(8)
			})
			.map(|(id, _)| *id)
			.collect()
	}

	/// Compares the model with the chain.
	pub fn compare(&mut self) {
		self.orders.retain(|id, order| {
			let kept = Orders::<World>::contains_key(id);
			assert!(kept || (order.is_closed() && now() >= order.closed_at + HISTORY));
			kept
		});
		assert_eq!(
			Orders::<World>::iter_keys().count(),
			self.orders.len(),
			"no order comes of nothing"
		);
		for (id, plain) in &self.orders {
			let order = Orders::<World>::get(id).expect("it is kept");
			Self::compare_order(*id, plain, &order);
		}
		self.compare_money();
		self.compare_workers();
	}

	fn compare_order(id: OrderId, plain: &Plain, order: &OrderOf<World>) {
		let Ledger {
			charged,
			escrow,
			paid,
			fees,
			setup,
			refunded,
			credited,
		} = &order.ledger;
		let figures = (*charged, *paid, *fees, *setup, *credited);
		let same = (
			plain.charged.all(),
			plain.paid,
			plain.fees,
			plain.setup,
			plain.credited,
		);
		assert_eq!(figures, same, "{id}: {plain:?}");
		assert!(
			plain.escrow.is(escrow) && plain.refunded.is(refunded),
			"{id}: {plain:?}"
		);
		let whereabouts = plain.escrow.all()
			+ plain.paid
			+ plain.fees
			+ plain.setup
			+ plain.refunded.all()
			+ plain.credited;
		assert_eq!(plain.charged.all(), whereabouts, "{id}: to the unit");
		// Refunds are in their kind.
		assert!(plain.refunded.kai + plain.escrow.kai <= plain.charged.kai);
		assert!(plain.refunded.credits + plain.escrow.credits <= plain.charged.credits);
		let life = (
			order.state,
			order.worker,
			order.started_at,
			order.ends_at,
			order.proved_to,
			order.proved,
			order.issue.is_some(),
			order.ending.map(|ending| ending.reason),
		);
		let told = (
			plain.state,
			plain.worker,
			plain.started_at,
			plain.ends_at,
			plain.proved_to,
			plain.proved,
			plain.report.is_some(),
			plain.end.map(|end| end.reason),
		);
		assert_eq!(life, told, "{id}");
	}

	fn compare_money(&self) {
		let mut known = self.accounts.clone();
		known.retain(|_, amount| *amount > 0);
		assert_eq!(accounts(), known);
		let all: Balance = known.values().sum();
		assert_eq!(all, pallet_balances::TotalIssuance::<World>::get());

		let kept: BTreeMap<_, _> = Credits::<World>::iter().collect();
		let mut credits = self.credits.clone();
		credits.retain(|_, amount| *amount > 0);
		assert_eq!(kept, credits);
		let escrow = self.orders.values().map(|order| order.escrow.credits);
		let all = credits.values().copied().chain(escrow).sum::<Balance>();
		assert_eq!(TotalCredits::<World>::get(), all);
		// Credits are backed one to one, whatever others give to the pot.
		assert_eq!(total_of(Rentals::pot()), all + self.spare);

		let mut held = BTreeMap::<AccountId, (Balance, Balance)>::new();
		for order in self.orders.values() {
			let (escrow, bonds) = held.entry(order.customer).or_default();
			*escrow += order.escrow.kai;
			*bonds += if order.report.is_some() { BOND } else { 0 };
		}
		for who in known.keys() {
			use frame_support::traits::fungible::InspectHold;
			let of = |reason: HoldReason| Balances::balance_on_hold(&reason.into(), who);
			let on_hold = (of(HoldReason::Escrow), of(HoldReason::IssueBond));
			assert_eq!(on_hold, held.get(who).copied().unwrap_or_default(), "{who}");
		}
	}

	/// Asserts that a worker is rented exactly if one open order has it, and that the indices hold exactly
	/// the idle ones.
	fn compare_workers(&self) {
		let rented: BTreeMap<WorkerId, OrderId> = workers()
			.filter(|(_, record)| {
				assert_eq!(
					record.state() == WorkerState::Rented,
					record.order.is_some()
				);
				record.order.is_some()
			})
			.filter_map(|(worker, record)| Some((worker, record.order?)))
			.collect();
		let open: BTreeMap<WorkerId, OrderId> = self
			.orders
			.iter()
			.filter(|(_, order)| order.has_worker())
			.map(|(id, order)| (order.worker.expect("it has one"), *id))
			.collect();
		assert_eq!(rented, open);
		let placed = self.orders.values().filter(|order| order.has_worker());
		assert_eq!(placed.count(), open.len(), "no worker has two");

		// No worker that cannot be rented is in an index; Providers ensures that those that can are.
		let mut listed = BTreeSet::new();
		for (bucket, head) in pallet_providers::BucketHeads::<World>::iter() {
			for worker in head.first {
				assert!(listed.insert((bucket.region, worker)), "listed twice");
				let record = record(worker);
				assert_eq!(record.state(), WorkerState::Online);
				assert!(record.barred_until <= now() && !record.is_marked());
			}
		}
	}
}
