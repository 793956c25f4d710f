//! Which worker gets an order.
//!
//! Orders wait in a queue, oldest first. One that was placed in block `N` is matched in `N + 2` at the
//! earliest, with the randomness of block `N + 1`, which nobody knew when it was placed. One that has to wait
//! longer, because blocks were full of others, is matched with the randomness of the block before, which
//! nobody knew any sooner; with that of `N + 1` a provider could by then move the worker of its choice to the
//! place that will be drawn.
//!
//! A few idle workers are drawn, those that do not fit are dropped, and the best of the rest serves the order:
//! the most reliable, then the one with most bandwidth, then by lot. Where there are no more idle workers than
//! draws, all of them are looked at. A worker that is due in a check and has not attested is passed over: a
//! benchmark would run while the customer pays. An order that found none but such workers waits for them for a
//! while ([`PATIENCE`]): they are busy for some minutes, and a customer who is sent away comes back.

use crate::{pallet::*, *};
use alloc::vec::Vec;
use codec::Encode;
use frame_support::{storage::with_storage_layer, traits::Get, weights::Weight};
use kaisar_primitives::{
	Balance, BlockNumber, BlockSeed, Candidate, Checks, CloseReason, Market, OrderId, Requirement,
	WorkerId,
};
use sp_core::H256;
use sp_io::hashing::blake2_256;
use sp_runtime::{DispatchError, DispatchResult, Perbill};

/// Blocks between placing an order and the first in which it can be matched.
pub const MATCH_DELAY: BlockNumber = 2;

/// Blocks for which an order waits where all workers that fit are due in a check: a spot round's phase, at the
/// end of which each of them has attested or is missing.
pub const PATIENCE: BlockNumber = 30;
/// Blocks until such an order is back in the queue.
const AGAIN: BlockNumber = 5;

/// Most candidates of an order whose open check is looked after; those beyond are passed over.
pub const MAX_TOUCHED: u32 = 2;

/// What decides between candidates: reliability, bandwidth tier, lot. The greatest is the best.
type Rank = (Perbill, u8, u64);

/// `H(b"kaisar/match", seed, order, j)`: 64 bits for the position, 64 for the lot. The bias of taking a
/// remainder of 64 bits is below 2⁻³².
fn draw(seed: H256, order: OrderId, j: u32) -> (u64, u64) {
	let hash = (b"kaisar/match", seed, order, j).using_encoded(blake2_256);
	let part = |from: usize| {
		hash[from..from + 8]
			.iter()
			.fold(0u64, |number, byte| (number << 8) | u64::from(*byte))
	};
	(part(0), part(8))
}

/// Whether a worker is what was asked for, at this price of a unit and hour.
fn fits(candidate: &Candidate, requirement: &Requirement, unit_price: Balance) -> bool {
	let Candidate {
		profile,
		region,
		price_floor,
		..
	} = candidate;
	(profile.gpu_class, profile.gpu_count) == (requirement.gpu_class, requirement.gpu_count)
		&& profile.bandwidth >= requirement.min_bandwidth
		&& profile.cpu >= requirement.min_cpu
		&& profile.memory >= requirement.min_memory
		&& profile.disk >= requirement.min_disk
		&& requirement.region.is_none_or(|asked| asked == *region)
		&& *price_floor <= unit_price
}

impl<T: Config> Pallet<T> {
	/// Puts an order at the queue's end.
	pub(crate) fn enqueue(order: OrderId, placed_at: BlockNumber) -> DispatchResult {
		QueueEnds::<T>::try_mutate(|ends| {
			Queue::<T>::insert(ends.tail, Waiting { order, placed_at });
			ends.tail = ends.tail.ensure_add(1)?;
			Ok(())
		})
	}

	/// Matches the orders at the queue's head, as many as the budget allows. Returns what it took.
	///
	/// The loop ends with the budget, or with the queue: no more turns than orders were placed.
	pub(crate) fn match_orders(now: BlockNumber, budget: Weight) -> Weight {
		let mut used = T::WeightInfo::match_orders();
		let mut ends = QueueEnds::<T>::get();
		if ends.head == ends.tail {
			return used;
		}
		let Some(seed) = now.checked_sub(1).and_then(T::Seeds::seed_of) else {
			return used;
		};
		let most = T::MatchDraws::get();
		let one = T::WeightInfo::match_order(most, MAX_TOUCHED);
		let from = ends.head;
		while ends.head < ends.tail {
			// Reading an entry is a part of the least that one can cost.
			if used.saturating_add(one).any_gt(budget) {
				break;
			}
			let Some(Waiting { order, placed_at }) = Queue::<T>::get(ends.head) else {
				ends.head += 1;
				continue;
			};
			if now < placed_at.saturating_add(MATCH_DELAY) {
				break;
			}
			Queue::<T>::remove(ends.head);
			ends.head += 1;
			used = used.saturating_add(match with_storage_layer(|| Self::match_one(order, seed)) {
				Ok(Some((draws, touched))) => T::WeightInfo::match_order(draws, touched),
				Ok(None) => T::WeightInfo::match_nothing(),
				Err(error) => {
					Self::put_aside(order, error);
					one
				}
			});
		}
		if ends.head != from {
			QueueEnds::<T>::put(ends);
		}
		used
	}

	/// Matches one order, or closes it. Returns how many workers were drawn for it, and how many of them were
	/// touched; `None` if it was cancelled.
	pub(crate) fn match_one(id: OrderId, seed: H256) -> Result<Option<(u32, u32)>, DispatchError> {
		let Some(mut order) =
			Orders::<T>::get(id).filter(|order| order.state == OrderState::Matching)
		else {
			return Ok(None);
		};
		let (candidates, draws) = Self::candidates(id, &order, seed);
		let (mut touched, mut busy) = (0, false);
		for (_, worker) in candidates {
			if T::Checks::is_due(worker) {
				busy = true;
				continue;
			}
			if let Some(floor) = Self::engage(id, &order, worker, &mut touched) {
				Self::assign(id, &mut order, worker, floor)?;
				return Ok(Some((draws, touched)));
			}
		}
		let now = Self::now();
		if busy && now < order.placed_at.saturating_add(PATIENCE) {
			Self::schedule(id, &mut order, now.saturating_add(AGAIN))?;
			Orders::<T>::insert(id, order);
		} else {
			Self::refund_rest(&mut order)?;
			Self::conclude(id, order, CloseReason::NoSuitableWorker)?;
		}
		Ok(Some((draws, touched)))
	}

	/// An order that waited, or that could not be dealt with, is back in the queue.
	pub(crate) fn match_again(id: OrderId, mut order: OrderOf<T>) -> DispatchResult {
		Self::enqueue(id, order.placed_at)?;
		order.wake = 0;
		Orders::<T>::insert(id, order);
		Ok(())
	}

	/// The workers that were drawn and fit, the best one first, and how many were drawn.
	fn candidates(id: OrderId, order: &OrderOf<T>, seed: H256) -> (Vec<(Rank, WorkerId)>, u32) {
		let Requirement {
			gpu_class,
			gpu_count,
			region,
			..
		} = order.requirement;
		let (idle, most) = (
			T::Workers::idle(gpu_class, gpu_count, region),
			T::MatchDraws::get(),
		);
		let draws = most.min(idle);
		let mut found = Vec::<(Rank, WorkerId)>::with_capacity(draws as usize);
		for j in 0..draws {
			let (random, lot) = draw(seed, id, j);
			let position = if idle <= most {
				Some(j)
			} else {
				random
					.checked_rem(idle.into())
					.and_then(|position| u32::try_from(position).ok())
			};
			let Some(worker) = position
				.and_then(|position| T::Workers::idle_at(gpu_class, gpu_count, region, position))
			else {
				continue;
			};
			if found.iter().any(|(_, known)| *known == worker) {
				continue;
			}
			let candidate = T::Workers::candidate(worker)
				.filter(|it| fits(it, &order.requirement, order.unit_price()));
			if let Some(Candidate {
				profile,
				reliability,
				..
			}) = candidate
			{
				found.push(((reliability, profile.bandwidth, lot), worker));
			}
		}
		found.sort_unstable_by(|a, b| b.cmp(a));
		(found, draws)
	}

	/// Rents the worker, if it can be had. Returns its price floor.
	fn engage(
		id: OrderId,
		order: &OrderOf<T>,
		worker: WorkerId,
		touched: &mut u32,
	) -> Option<Balance> {
		if T::Checks::is_open(worker) {
			// It may be over and not closed; then the worker may not be idle, or not what it was.
			if *touched >= MAX_TOUCHED {
				return None;
			}
			*touched += 1;
			T::Checks::touch(worker);
		}
		let Candidate { price_floor, .. } = T::Workers::candidate(worker)
			.filter(|it| fits(it, &order.requirement, order.unit_price()))?;
		with_storage_layer(|| T::Workers::rent(worker, id)).ok()?;
		Some(price_floor)
	}

	/// The order has a worker, which is to deploy it.
	fn assign(
		id: OrderId,
		order: &mut OrderOf<T>,
		worker: WorkerId,
		floor: Balance,
	) -> DispatchResult {
		let now = Self::now();
		let deadline = match order.deploy_blocks {
			0 => T::DeployDeadline::get(),
			blocks => blocks.into(),
		};
		let deploy_by = now.ensure_add(deadline)?;
		order.state = OrderState::Deploying;
		order.worker = Some(worker);
		order.floor = floor;
		order.matched_at = now;
		order.deploy_by = deploy_by;
		Self::schedule(id, order, deploy_by.saturating_add(1))?;
		Orders::<T>::insert(id, order);
		Self::deposit_event(Event::OrderMatched {
			order: id,
			worker,
			deploy_by,
		});
		Ok(())
	}
}
