//! Authors of blocks: their gains from putting calls of their own into a block, or from withholding one.
//!
//! **Withholding** the first block of a round, or of a trial, buys one other draw of the committees:
//! [`capture`](crate::capture) draws committees in pairs for it. **Calls before a start** count from the
//! next round on: the strategy `foresight` plays an owner that knows of each census four blocks ahead. This
//! module measures what remains, the draw of an order's worker: the author of the block after an order knows
//! the seed of the draw, and may move its own workers in the index, which changes the draw.

use crate::{
	chain::{self, Author, Sender},
	network::{self, Checker, Network, Rules},
	physics,
	store::Store,
	strategies::orders::order,
};
use kaisar_primitives::{KAI, Plan, WorkerId};
use kaisar_runtime::{AccountId, Runtime, RuntimeCall, RuntimeEvent};
use serde::Serialize;

/// Number of workers in the network, of which 28 have a 4090 and are idle.
const WORKERS: u32 = 40;

/// Frequencies with which an author's own worker gets an order.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct OrderDraws {
	/// Number of calls that the author can put into the block, in any combination.
	pub calls: u32,
	/// Number of orders.
	pub orders: u32,
	/// Author's part of all idle workers that fit.
	pub own: f64,
	/// Part of the orders that the author's workers get without any call.
	pub without: f64,
	/// Part of the orders that they can get by the best choice of calls.
	pub with: f64,
}

/// Makes a block of these calls from one account. Returns `None` if they do not fit: the block in which a
/// session ends carries no transactions.
fn block(author: &mut Author, who: &AccountId, calls: &[RuntimeCall]) -> Option<chain::Block> {
	author.begin();
	for call in calls {
		match chain::apply(&Sender::of(who), call.clone()) {
			Ok(Ok(())) => {}
			Err(error) if chain::is_full(&error) => return None,
			other => panic!("{call:?}: {other:?}"),
		}
	}
	Some(author.end())
}

/// Returns the worker that an order in block N gets if block N + 1 has these calls.
fn matched(
	store: &Store,
	author: &Author,
	who: &AccountId,
	calls: &[RuntimeCall],
) -> Option<WorkerId> {
	let (mut store, mut author) = (store.clone(), author.clone());
	store.execute_with(|| {
		block(&mut author, who, calls)?;
		let next = block(&mut author, who, &[])?;
		next.events.iter().find_map(|event| match event {
			RuntimeEvent::Orders(pallet_orders::Event::OrderMatched { worker, .. }) => {
				Some(*worker)
			}
			_ => None,
		})
	})
}

/// Measures the draws of this number of orders, with this number of calls of the author.
pub fn order_draws(calls: u32, orders: u32, seed: u64) -> OrderDraws {
	let network = Network {
		workers: WORKERS,
		operators: 0,
		licenses: 0,
		rules: Rules::short(),
		seed,
	};
	let checkers: Vec<_> = (0..3)
		.map(|number| Checker {
			account: network::account(1, number),
			licenses: 1,
		})
		.collect();
	let mut author = Author::new(seed);
	let customer = network::account(2, 0);
	let owner = network::background_owner(0);
	let is_own = |worker: &WorkerId| network::background_owner(*worker) == owner;
	let homes: Vec<WorkerId> = (0..WORKERS)
		.filter(|worker| network::background_claim(*worker).gpu_class == physics::HOME_CLASS)
		.collect();
	let own: Vec<WorkerId> = homes.iter().copied().filter(is_own).collect();
	let choices: Vec<RuntimeCall> = own
		.iter()
		.take(calls as usize)
		.map(|worker| pallet_providers::Call::<Runtime>::go_offline { worker: *worker }.into())
		.collect();
	let mut store = Store::default();
	store.execute_with(|| {
		network::build(
			&network,
			&author,
			&[(customer.clone(), 1_000 * KAI)],
			&checkers,
		);
		// Skips the first blocks, so that the workers' states count.
		for _ in 0..8 {
			block(&mut author, &customer, &[]);
		}
	});
	let (mut without, mut with, mut placed) = (0u32, 0u32, 0u32);
	while placed < orders {
		// The order's block is made on a copy, so the next order finds all workers idle again.
		let (mut after, mut next) = (store.clone(), author.clone());
		let call = order(physics::HOME_CLASS, network::REGION, 1, Plan::OnDemand);
		let carried = after.execute_with(|| block(&mut next, &customer, &[call.into()]));
		store.execute_with(|| block(&mut author, &customer, &[]));
		if carried.is_none() {
			continue;
		}
		placed += 1;
		let gets = |subset: u32| {
			let some: Vec<_> = (0..)
				.zip(&choices)
				.filter(|(place, _)| subset >> place & 1 == 1)
				.map(|(_, call)| call.clone())
				.collect();
			matched(&after, &next, &owner, &some).is_some_and(|worker| is_own(&worker))
		};
		without += u32::from(gets(0));
		with += u32::from((0..1 << choices.len()).any(gets));
	}
	let part = |count: u32| f64::from(count) / f64::from(orders);
	OrderDraws {
		calls,
		orders,
		own: own.len() as f64 / homes.len() as f64,
		without: part(without),
		with: part(with),
	}
}
